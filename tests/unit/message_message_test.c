/* The names of operations, the content types, who sent what: message/message.h. And the ids
 * that all of it hangs on: base/id.h. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "message/message.h"
#include "unit.h"

START_TEST(an_operation_has_a_name_of_lower_case_letters_digits_and_single_dots)
{
	static const char *const good[] = { "a", "0", "_", "quote.price", "order.place2",
		"a.b.c.d", "_a._b", "x_y",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	static const char *const bad[] = { "", ".", "..", ".a", "a.", "a..b", "Quote", "a-b",
		"a b", "a/b", "a\n", "../a", "a%2e", "\xc3\xa4",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };

	for (size_t i = 0; i < ARRAY_COUNT(good); i++)
		ck_assert_msg(message_type_is_valid(span_of(good[i])), "'%s'", good[i]);
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
		ck_assert_msg(!message_type_is_valid(span_of(bad[i])), "'%s'", bad[i]);
	ck_assert(!message_type_is_valid((struct span){ .at = "a\0b", .len = 3 }));
	ck_assert(!message_type_is_valid((struct span){ 0 }));
}
END_TEST

START_TEST(no_byte_but_the_allowed_ones_is_part_of_a_name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_.";

	for (int c = 0; c < 256; c++) {
		char name[3] = { 'a', (char)c, 'b' };
		bool is_allowed = c != 0 && strchr(allowed, c) != NULL;

		ck_assert_msg(message_type_is_valid((struct span){ .at = name, .len = 3 }) ==
				      is_allowed,
			"byte %d", c);
	}
}
END_TEST

START_TEST(two_content_types_exist_and_nothing_near_them)
{
	enum message_content content = MESSAGE_PROBLEM;

	ck_assert_int_eq(message_content_parse(span_of("application/json"), &content), ERR_OK);
	ck_assert_int_eq(content, MESSAGE_JSON);
	ck_assert_int_eq(
		message_content_parse(span_of("application/problem+json"), &content), ERR_OK);
	ck_assert_int_eq(content, MESSAGE_PROBLEM);
	static const char *const bad[] = { "", "application/jso", "application/json ",
		"application/json; charset=utf-8", "Application/JSON", "text/plain" };

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		ck_assert_int_eq(message_content_parse(span_of(bad[i]), &content), ERR_INPUT);
		ck_assert_int_eq(content, MESSAGE_PROBLEM);
	}
	for (int i = MESSAGE_JSON; i <= MESSAGE_PROBLEM; i++) {
		const char *text = message_content_type((enum message_content)i);

		ck_assert_int_eq(message_content_parse(span_of(text), &content), ERR_OK);
		ck_assert_int_eq(content, i);
	}
}
END_TEST

START_TEST(an_id_carries_its_millisecond_its_version_and_its_variant)
{
	struct id id;

	id_make(&id, 0x0123456789ab);
	struct id_text text = id_format(&id);

	ck_assert_int_eq(strncmp(text.at, "01234567-89ab-7", 15), 0);
	ck_assert(strchr("89ab", text.at[19]) != NULL);
	ck_assert_uint_eq(strlen(text.at), ID_TEXT_LEN);
}
END_TEST

START_TEST(an_id_survives_text_and_back)
{
	for (int i = 0; i < 10000; i++) {
		struct id id;
		struct id again;

		id_make(&id, clock_unix_ms());
		struct id_text text = id_format(&id);

		ck_assert_int_eq(id_parse(span_of(text.at), &again), ERR_OK);
		ck_assert_int_eq(id_compare(&id, &again), 0);
	}
}
END_TEST

static int by_bytes(const void *a, const void *b)
{
	return id_compare(a, b);
}

START_TEST(no_two_ids_of_one_millisecond_are_equal)
{
	enum { COUNT = 100000 };
	struct id *ids = calloc(COUNT, sizeof(*ids));

	ck_assert_ptr_nonnull(ids);
	for (int i = 0; i < COUNT; i++)
		id_make(&ids[i], 1);
	qsort(ids, COUNT, sizeof(*ids), by_bytes);
	for (int i = 1; i < COUNT; i++)
		ck_assert_int_ne(id_compare(&ids[i - 1], &ids[i]), 0);
	free(ids);
}
END_TEST

START_TEST(upper_case_is_read_and_written_lower)
{
	struct id id;

	ck_assert_int_eq(
		id_parse(span_of("01890A5D-AC96-774B-BCCE-B302099A8057"), &id), ERR_OK);
	ck_assert_str_eq(id_format(&id).at, "01890a5d-ac96-774b-bcce-b302099a8057");
}
END_TEST

START_TEST(what_is_no_version_7_uuid_is_refused)
{
	static const char good[] = "01890a5d-ac96-774b-bcce-b302099a8057";
	static const char *const bad[] = {
		"",
		"01890a5d-ac96-774b-bcce-b302099a805",   /* short */
		"01890a5d-ac96-774b-bcce-b302099a80577", /* long */
		"01890a5d-ac96-474b-bcce-b302099a8057",  /* version 4 */
		"01890a5d-ac96-774b-ccce-b302099a8057",  /* another variant */
		"01890a5d-ac96-774b-7cce-b302099a8057",
		"01890a5dac96-774b-bcce-b302099a8057-",
		"{1890a5d-ac96-774b-bcce-b302099a805}",
	};
	struct id id;

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
		ck_assert_msg(
			id_parse(span_of(bad[i]), &id) == ERR_INPUT, "'%s' was taken", bad[i]);
	/* Every other byte in every place. */
	for (size_t at = 0; at < ID_TEXT_LEN; at++) {
		for (int c = 0; c < 256; c++) {
			char text[ID_TEXT_LEN];

			memcpy(text, good, sizeof(text));
			text[at] = (char)c;
			bool is_dash_place = at == 8 || at == 13 || at == 18 || at == 23;
			bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
				      (c >= 'A' && c <= 'F');
			bool is_good = is_dash_place ? c == '-' : is_hex;

			if (at == 14)
				is_good = c == '7';
			if (at == 19)
				is_good = is_hex && strchr("89abAB", c) != NULL;
			ck_assert_msg((id_parse((struct span){ .at = text, .len = ID_TEXT_LEN },
					       &id) == ERR_OK) == is_good,
				"byte %d at %zu", c, at);
		}
	}
}
END_TEST

START_TEST(a_sender_counts_from_one_and_says_who_and_when)
{
	struct sender s;
	struct message m = { .seq = 99 };
	uint64_t before_us = clock_unix_us();

	sender_init(&s, "web.web1.g1");
	for (uint64_t n = 1; n <= 3; n++) {
		sender_stamp(&s, &m);
		ck_assert_uint_eq(m.seq, n);
		ck_assert_uint_eq(m.epoch, s.epoch);
		ck_assert(span_is(m.user_id, "web.web1.g1"));
		ck_assert_uint_ge(m.sent_unix_us, before_us);
		ck_assert_uint_le(m.sent_unix_us, clock_unix_us());
	}
}
END_TEST

START_TEST(an_epoch_fits_into_a_signed_header_and_is_never_the_same)
{
	uint64_t last = 0;
	uint64_t all_bits = 0;

	for (int i = 0; i < 1000; i++) {
		struct sender s;

		sender_init(&s, "web.web1.g1");
		ck_assert_uint_le(s.epoch, INT64_MAX);
		ck_assert_uint_ne(s.epoch, last);
		last = s.epoch;
		all_bits |= s.epoch;
	}
	ck_assert_int_ge(__builtin_popcountll(all_bits), 60);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("message");
	TCase *names = tcase_create("names");
	TCase *ids = tcase_create("ids");
	TCase *senders = tcase_create("senders");

	tcase_set_timeout(ids, 30);
	tcase_add_test(
		names, an_operation_has_a_name_of_lower_case_letters_digits_and_single_dots);
	tcase_add_test(names, no_byte_but_the_allowed_ones_is_part_of_a_name);
	tcase_add_test(names, two_content_types_exist_and_nothing_near_them);
	tcase_add_test(ids, an_id_carries_its_millisecond_its_version_and_its_variant);
	tcase_add_test(ids, an_id_survives_text_and_back);
	tcase_add_test(ids, no_two_ids_of_one_millisecond_are_equal);
	tcase_add_test(ids, upper_case_is_read_and_written_lower);
	tcase_add_test(ids, what_is_no_version_7_uuid_is_refused);
	tcase_add_test(senders, a_sender_counts_from_one_and_says_who_and_when);
	tcase_add_test(senders, an_epoch_fits_into_a_signed_header_and_is_never_the_same);
	suite_add_tcase(s, names);
	suite_add_tcase(s, ids);
	suite_add_tcase(s, senders);
	return unit_run(s);
}
