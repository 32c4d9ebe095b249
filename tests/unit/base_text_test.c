/* Numbers, durations, sizes and names from text: all of it or an error. */
#include "base/text.h"
#include "unit/unit.h"

static const struct {
	const char *text;
	enum err err;
	uint64_t value;
} numbers[] = {
	{ "0", ERR_OK, 0 },
	{ "7", ERR_OK, 7 },
	{ "18446744073709551615", ERR_OK, UINT64_MAX },
	{ "18446744073709551616", ERR_INPUT, 0 },
	{ "99999999999999999999999", ERR_INPUT, 0 },
	{ "", ERR_INPUT, 0 },
	{ "00", ERR_INPUT, 0 },
	{ "07", ERR_INPUT, 0 },
	{ "+7", ERR_INPUT, 0 },
	{ "-7", ERR_INPUT, 0 },
	{ " 7", ERR_INPUT, 0 },
	{ "7 ", ERR_INPUT, 0 },
	{ "0x7", ERR_INPUT, 0 },
	{ "7.0", ERR_INPUT, 0 },
};

START_TEST(a_number_is_digits_only)
{
	uint64_t value = 4711;
	enum err err = text_parse_u64(span_of(numbers[_i].text), &value);

	ck_assert_int_eq(err, numbers[_i].err);
	ck_assert_uint_eq(value, err == ERR_OK ? numbers[_i].value : 4711);
}
END_TEST

static const struct {
	const char *text;
	enum err err;
	uint64_t ms;
} durations[] = {
	{ "250ms", ERR_OK, 250 },
	{ "5s", ERR_OK, 5000 },
	{ "10m", ERR_OK, 600000 },
	{ "1h", ERR_OK, 3600000 },
	{ "3d", ERR_OK, 259200000 },
	{ "0", ERR_OK, 0 },
	{ "0s", ERR_OK, 0 },
	{ "5", ERR_INPUT, 0 },
	{ "ms", ERR_INPUT, 0 },
	{ "5 s", ERR_INPUT, 0 },
	{ "5S", ERR_INPUT, 0 },
	{ "5sec", ERR_INPUT, 0 },
	{ "5s ", ERR_INPUT, 0 },
	{ "1.5s", ERR_INPUT, 0 },
	{ "-5s", ERR_INPUT, 0 },
	{ "", ERR_INPUT, 0 },
	{ "213503982334d", ERR_OK, 213503982334ull * 86400000 },
	{ "213503982335d", ERR_INPUT, 0 },
};

START_TEST(a_duration_has_a_unit_and_never_overflows)
{
	uint64_t ms = 4711;
	enum err err = text_parse_duration_ms(span_of(durations[_i].text), &ms);

	ck_assert_int_eq(err, durations[_i].err);
	ck_assert_uint_eq(ms, err == ERR_OK ? durations[_i].ms : 4711);
}
END_TEST

static const struct {
	const char *text;
	enum err err;
	uint64_t bytes;
} sizes[] = {
	{ "17", ERR_OK, 17 },
	{ "64KiB", ERR_OK, 65536 },
	{ "1MiB", ERR_OK, 1048576 },
	{ "2GiB", ERR_OK, 2147483648 },
	{ "64KB", ERR_INPUT, 0 },
	{ "64kib", ERR_INPUT, 0 },
	{ "64K", ERR_INPUT, 0 },
	{ "KiB", ERR_INPUT, 0 },
	{ "17179869184GiB", ERR_INPUT, 0 },
};

START_TEST(a_size_is_bytes_or_has_a_binary_unit)
{
	uint64_t bytes = 4711;
	enum err err = text_parse_size_bytes(span_of(sizes[_i].text), &bytes);

	ck_assert_int_eq(err, sizes[_i].err);
	ck_assert_uint_eq(bytes, err == ERR_OK ? sizes[_i].bytes : 4711);
}
END_TEST

START_TEST(yes_and_true_are_true_and_nothing_else_is_guessed)
{
	static const char *const others[] = { "", "y", "Yes", "YES", "on", "1", "true " };
	bool value = false;

	ck_assert_int_eq(text_parse_bool(LITERAL("yes"), &value), ERR_OK);
	ck_assert(value);
	ck_assert_int_eq(text_parse_bool(LITERAL("no"), &value), ERR_OK);
	ck_assert(!value);
	ck_assert_int_eq(text_parse_bool(LITERAL("true"), &value), ERR_OK);
	ck_assert(value);
	ck_assert_int_eq(text_parse_bool(LITERAL("false"), &value), ERR_OK);
	ck_assert(!value);
	for (size_t i = 0; i < ARRAY_COUNT(others); i++)
		ck_assert_int_eq(text_parse_bool(span_of(others[i]), &value), ERR_INPUT);
}
END_TEST

START_TEST(trimming_takes_blanks_and_tabs_off_both_ends)
{
	expect_span(text_trim(LITERAL(" \t a b\t ")), "a b");
	expect_span(text_trim(LITERAL("ab")), "ab");
	ck_assert_uint_eq(text_trim(LITERAL(" \t ")).len, 0);
	ck_assert_uint_eq(text_trim((struct span){ 0 }).len, 0);
}
END_TEST

START_TEST(cutting_gives_every_piece_and_tells_the_last_from_an_empty_one)
{
	struct span rest = LITERAL("a,,b,");

	expect_span(text_cut(&rest, ','), "a");
	expect_span(text_cut(&rest, ','), "");
	expect_span(text_cut(&rest, ','), "b");
	ck_assert_ptr_nonnull(rest.at); /* there was a comma: an empty piece follows */
	expect_span(text_cut(&rest, ','), "");
	ck_assert_ptr_null(rest.at);
	ck_assert_uint_eq(text_cut(&rest, ',').len, 0);
}
END_TEST

static const struct {
	struct span text;
	bool is_utf8;
} utf8[] = {
	{ LITERAL(""), true },
	{ LITERAL("plain\n\t\x7f"), true },
	{ LITERAL("a\0b"), true },
	{ LITERAL("\xc2\x80"), true },
	{ LITERAL("\xdf\xbf"), true },
	{ LITERAL("\xe0\xa0\x80"), true },
	{ LITERAL("\xed\x9f\xbf"), true },
	{ LITERAL("\xef\xbf\xbf"), true },
	{ LITERAL("\xf0\x90\x80\x80"), true },
	{ LITERAL("\xf4\x8f\xbf\xbf"), true },
	{ LITERAL("\x80"), false },
	{ LITERAL("\xc0\x80"), false },
	{ LITERAL("\xc1\xbf"), false },
	{ LITERAL("\xc2"), false },
	{ LITERAL("\xc2 "), false },
	{ LITERAL("\xe0\x9f\xbf"), false },
	{ LITERAL("\xe2\x82"), false },
	{ LITERAL("\xe2\x82 "), false },
	{ LITERAL("\xed\xa0\x80"), false },
	{ LITERAL("\xf0\x8f\xbf\xbf"), false },
	{ LITERAL("\xf0\x90\x80"), false },
	{ LITERAL("\xf4\x90\x80\x80"), false },
	{ LITERAL("\xf5\x80\x80\x80"), false },
	{ LITERAL("\xff"), false },
	{ LITERAL("fine\xe2\x82\xac then not \xe2\x28\xa1"), false },
};

START_TEST(utf8_is_strict)
{
	/* A copy of the exact size lets the sanitizer see a read past the end. */
	char *copy = malloc(utf8[_i].text.len + 1);

	ck_assert_ptr_nonnull(copy);
	char *tight = realloc(copy, utf8[_i].text.len == 0 ? 1 : utf8[_i].text.len);

	ck_assert_ptr_nonnull(tight);
	memcpy(tight, utf8[_i].text.at, utf8[_i].text.len);
	ck_assert_int_eq(
		text_is_utf8((struct span){ tight, utf8[_i].text.len }), utf8[_i].is_utf8);
	free(tight);
}
END_TEST

/* Every code point, encoded by the book, and every two-byte text. */
START_TEST(utf8_agrees_with_the_definition)
{
	for (unsigned c = 0; c <= 0x10ffff; c++) {
		char bytes[4];
		size_t len;

		if (c < 0x80) {
			bytes[0] = (char)c;
			len = 1;
		} else if (c < 0x800) {
			bytes[0] = (char)(0xc0 | c >> 6);
			bytes[1] = (char)(0x80 | (c & 0x3f));
			len = 2;
		} else if (c < 0x10000) {
			bytes[0] = (char)(0xe0 | c >> 12);
			bytes[1] = (char)(0x80 | (c >> 6 & 0x3f));
			bytes[2] = (char)(0x80 | (c & 0x3f));
			len = 3;
		} else {
			bytes[0] = (char)(0xf0 | c >> 18);
			bytes[1] = (char)(0x80 | (c >> 12 & 0x3f));
			bytes[2] = (char)(0x80 | (c >> 6 & 0x3f));
			bytes[3] = (char)(0x80 | (c & 0x3f));
			len = 4;
		}
		bool is_surrogate = c >= 0xd800 && c <= 0xdfff;

		if (text_is_utf8((struct span){ bytes, len }) == is_surrogate)
			ck_abort_msg("U+%04X", c);
	}
	for (unsigned pair = 0; pair < 0x10000; pair++) {
		char bytes[2] = { (char)(pair >> 8), (char)pair };
		unsigned first = pair >> 8;
		unsigned second = pair & 0xff;
		bool wanted = (first < 0x80 && second < 0x80) ||
			      (first >= 0xc2 && first <= 0xdf && second >= 0x80 &&
				      second <= 0xbf);

		if (text_is_utf8((struct span){ bytes, 2 }) != wanted)
			ck_abort_msg("%02x %02x", first, second);
	}
}
END_TEST

START_TEST(a_name_is_letters_digits_and_three_signs)
{
	ck_assert(text_is_name(LITERAL("web-1_b.C"), 9));
	ck_assert(!text_is_name(LITERAL("web-1_b.C"), 8));
	ck_assert(!text_is_name(LITERAL(""), 9));
	ck_assert(!text_is_name(LITERAL("web 1"), 9));
	ck_assert(!text_is_name(LITERAL("web/1"), 9));
	ck_assert(!text_is_name(LITERAL("w\0b"), 9));
	ck_assert(!text_is_name(LITERAL("w\xc3\xa9"), 9));
}
END_TEST

START_TEST(foreign_text_is_shown_without_surprises)
{
	struct text_shown shown = text_show(
		LITERAL("a \"b\" \\ \n\x1b[0m \xff\0 end \xc3\xa9"));

	ck_assert_str_eq(shown.at, "a \\\"b\\\" \\\\ \\x0a\\x1b[0m \\xff\\x00 end \\xc3\\xa9");
	ck_assert_str_eq(text_show((struct span){ 0 }).at, "");
}
END_TEST

START_TEST(long_foreign_text_is_cut_and_says_so)
{
	char text[400];

	/* Every length, of bytes that take one, two and four places. */
	for (size_t len = 0; len <= sizeof(text); len++) {
		static const char fillers[] = { 'a', '"', '\n' };

		for (size_t f = 0; f < sizeof(fillers); f++) {
			memset(text, fillers[f], len);
			struct text_shown shown = text_show((struct span){ text, len });
			size_t places = f == 0 ? len : f == 1 ? 2 * len : 4 * len;
			size_t shown_len = strlen(shown.at);

			ck_assert_uint_lt(shown_len, sizeof(shown.at));
			if (shown_len != places)
				ck_assert_str_eq(shown.at + shown_len - 3, "...");
			if (places <= 250)
				ck_assert_uint_eq(shown_len, places);
		}
	}
}
END_TEST

START_TEST(a_hexadecimal_digit_has_a_value_and_nothing_else_has)
{
	static const char digits[] = "0123456789abcdefABCDEF";

	for (int c = -128; c < 128; c++) {
		const char *at = c == 0 ? NULL : strchr(digits, c);
		int wanted = at == NULL ? -1 : (int)(at - digits);

		ck_assert_int_eq(text_hex_value((char)c), wanted < 16 ? wanted : wanted - 6);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/text");
	TCase *tc = tcase_create("text");

	tcase_add_loop_test(tc, a_number_is_digits_only, 0, (int)ARRAY_COUNT(numbers));
	tcase_add_loop_test(
		tc, a_duration_has_a_unit_and_never_overflows, 0, (int)ARRAY_COUNT(durations));
	tcase_add_loop_test(
		tc, a_size_is_bytes_or_has_a_binary_unit, 0, (int)ARRAY_COUNT(sizes));
	tcase_add_test(tc, yes_and_true_are_true_and_nothing_else_is_guessed);
	tcase_add_test(tc, trimming_takes_blanks_and_tabs_off_both_ends);
	tcase_add_test(tc, cutting_gives_every_piece_and_tells_the_last_from_an_empty_one);
	tcase_add_loop_test(tc, utf8_is_strict, 0, (int)ARRAY_COUNT(utf8));
	tcase_add_test(tc, utf8_agrees_with_the_definition);
	tcase_add_test(tc, a_name_is_letters_digits_and_three_signs);
	tcase_add_test(tc, foreign_text_is_shown_without_surprises);
	tcase_add_test(tc, long_foreign_text_is_cut_and_says_so);
	tcase_add_test(tc, a_hexadecimal_digit_has_a_value_and_nothing_else_has);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
