/* Hostile JSON in, correct JSON out. */
#include "contract/json.h"

#include <math.h>
#include <stdio.h>

#include "base/text.h"
#include "unit/json_oracle.h"
#include "unit/random.h"
#include "unit/unit.h"

static const struct json_limits limits = { .max_bytes = 65536 };
static struct json_doc doc;
static struct json_failure failure;

/* A copy of the exact size, so that the sanitizer sees a read past the end. */
static char *copy;

static enum err open_with(struct span text, struct json_limits rules)
{
	free(copy);
	copy = malloc(text.len == 0 ? 1 : text.len);
	ck_assert_ptr_nonnull(copy);
	if (text.len > 0)
		memcpy(copy, text.at, text.len);
	enum err err = json_open((struct span){ copy, text.len }, rules, &doc, &failure);

	ck_assert((err == ERR_OK) == (doc.tokens != NULL));
	ck_assert((err == ERR_OK) == (failure.text[0] == '\0'));
	ck_assert_uint_le(failure.at_byte, text.len);
	return err;
}

static enum err open_text(struct span text)
{
	return open_with(text, limits);
}

static const struct {
	const char *text;
	enum json_kind kind;
} good[] = {
	{ "{}", JSON_OBJECT },
	{ " { \"a\" : [ 1 , -2.5e3 , true , false , null , \"x\" ] } \r\n\t", JSON_OBJECT },
	{ "[]", JSON_ARRAY },
	{ "\"\\u00e9\\ud83d\\ude00\\n\"", JSON_TEXT },
	{ "\"\xc3\xa9\xf0\x9f\x98\x80\"", JSON_TEXT },
	{ "0", JSON_INTEGER },
	{ "-0", JSON_INTEGER },
	{ "9223372036854775807", JSON_INTEGER },
	{ "-9223372036854775808", JSON_INTEGER },
	{ "1e308", JSON_REAL },
	{ "true", JSON_TRUE },
	{ "false", JSON_FALSE },
	{ "null", JSON_NULL },
	{ "{\"a\":1,\"A\":2,\"\":3}", JSON_OBJECT },
};

START_TEST(json_is_accepted_whatever_stands_at_the_top)
{
	ck_assert_int_eq(open_text(span_of(good[_i].text)), ERR_OK);
	ck_assert_int_eq(doc.tokens[0].kind, good[_i].kind);
	ck_assert_uint_eq(doc.tokens[0].next, doc.count);
	ck_assert_int_eq(json_top_is_object(&doc), good[_i].kind == JSON_OBJECT);
	json_close(&doc);
	json_close(&doc);
}
END_TEST

static const struct span bad[] = {
	LITERAL(""),
	LITERAL(" "),
	LITERAL("{"),
	LITERAL("[1,2"),
	LITERAL("{\"a\":1,}"),
	LITERAL("[1,]"),
	LITERAL("[,1]"),
	LITERAL("{a:1}"),
	LITERAL("{'a':1}"),
	LITERAL("{\"a\" 1}"),
	LITERAL("{\"a\":1 \"b\":2}"),
	LITERAL("{\"a\":1}x"),
	LITERAL("{\"a\":1}{}"),
	LITERAL("{\"a\":1}\0"),
	LITERAL("\0{\"a\":1}"),
	LITERAL("{\"a\":1,\"a\":2}"),
	LITERAL("{\"a\":1,\"\\u0061\":2}"),
	LITERAL("{\"x\":[{\"a\":1,\"b\":2,\"a\":3}]}"),
	LITERAL("{\"a\":\"\\u0000\"}"),
	LITERAL("{\"\\u0000\":1}"),
	LITERAL("{\"a\":\"x\0y\"}"),
	LITERAL("\"a\nb\""),
	LITERAL("\"\t\""),
	LITERAL("\"\\x41\""),
	LITERAL("\"\\ud800\""),
	LITERAL("\"\\ud800\\u0041\""),
	LITERAL("\"\\udc00\""),
	LITERAL("\"\\u12\""),
	LITERAL("\"\xff\""),
	LITERAL("\"\xc0\xaf\""),
	LITERAL("\"\xed\xa0\x80\""),
	LITERAL("\"\xe2\x82\""),
	LITERAL("\"\xf4\x90\x80\x80\""),
	LITERAL("\xef\xbb\xbf{}"),
	LITERAL("\xff\xfe{\0}\0"),
	LITERAL("01"),
	LITERAL("+1"),
	LITERAL(".5"),
	LITERAL("1."),
	LITERAL("1e"),
	LITERAL("0x10"),
	LITERAL("NaN"),
	LITERAL("Infinity"),
	LITERAL("-Infinity"),
	LITERAL("1e309"),
	LITERAL("-1e309"),
	LITERAL("9223372036854775808"),
	LITERAL("-9223372036854775809"),
	LITERAL("99999999999999999999999999999999"),
	LITERAL("tru"),
	LITERAL("True"),
	LITERAL("nulll"),
	LITERAL("// c\n1"),
	LITERAL("/* c */ 1"),
};

START_TEST(what_is_not_strict_json_is_refused)
{
	ck_assert_int_eq(open_text(bad[_i]), ERR_INPUT);
	for (const char *c = failure.text; *c != '\0'; c++)
		ck_assert(*c >= 0x20 && *c < 0x7f); /* fit for a log line */
}
END_TEST

START_TEST(the_place_of_a_fault_is_told)
{
	ck_assert_int_eq(open_text(LITERAL("{\"sku\": \"A-1\", \"quantity\": }")), ERR_INPUT);
	ck_assert_uint_ge(failure.at_byte, 27);
	ck_assert_uint_le(failure.at_byte, 28);
	ck_assert_int_eq(open_text(LITERAL("[[1],[2],x]")), ERR_INPUT);
	ck_assert_uint_ge(failure.at_byte, 9);
}
END_TEST

START_TEST(size_is_capped_before_anything_is_parsed)
{
	static char text[65537];

	memset(text, ' ', sizeof(text));
	text[0] = '1';
	ck_assert_int_eq(open_text((struct span){ text, 65536 }), ERR_OK);
	json_close(&doc);
	ck_assert_int_eq(open_text((struct span){ text, 65537 }), ERR_FULL);
	ck_assert_str_eq(failure.text, "too large");
}
END_TEST

/* _i levels of arrays and objects in turn; brackets inside strings do not count. */
START_TEST(depth_is_capped_exactly)
{
	struct buf text;

	buf_init(&text, KIB(64));
	for (int i = 0; i < _i; i++)
		buf_text(&text, i % 2 == 0 ? "[\"[[[{{{\\\"\"," : "{\"a]\":");
	buf_text(&text, "1");
	for (int i = _i - 1; i >= 0; i--)
		buf_text(&text, i % 2 == 0 ? "]" : "}");
	ck_assert_int_eq(open_text(buf_span(&text)), _i <= JSON_MAX_DEPTH ? ERR_OK : ERR_INPUT);
	if (_i > JSON_MAX_DEPTH)
		ck_assert_str_eq(failure.text, "nested too deep");
	json_close(&doc);
	if (_i > 0 && _i <= JSON_MAX_DEPTH) {
		struct json_limits tight = { .max_bytes = 65536, .max_depth = (unsigned)_i };

		ck_assert_int_eq(json_open(buf_span(&text), tight, &doc, &failure), ERR_OK);
		json_close(&doc);
		if (--tight.max_depth > 0)
			ck_assert_int_eq(
				json_open(buf_span(&text), tight, &doc, &failure), ERR_INPUT);
	}
	buf_fini(&text);
}
END_TEST

START_TEST(a_hundred_thousand_brackets_are_refused_and_not_a_stack_overflow)
{
	static char text[60000];
	static const char opens[] = "[{";

	for (size_t kind = 0; kind < 2; kind++) {
		memset(text, opens[kind], sizeof(text));
		ck_assert_int_eq(open_text((struct span){ text, sizeof(text) }), ERR_INPUT);
	}
}
END_TEST

START_TEST(a_member_is_given_as_text)
{
	struct span value;

	ck_assert_int_eq(
		open_text(LITERAL("{\"s\":\"caf\xc3\xa9 \\\"q\\\"\",\"e\":\"\",\"n\":42,"
				  "\"m\":-9223372036854775808,\"r\":1.5,\"b\":true,"
				  "\"z\":null,\"o\":{\"s\":1},\"a\":[]}")),
		ERR_OK);
	ck_assert_int_eq(json_string_member(&doc, "s", &value), ERR_OK);
	expect_span(value, "caf\xc3\xa9 \"q\"");
	ck_assert_int_eq(json_string_member(&doc, "e", &value), ERR_OK);
	expect_span(value, "");
	ck_assert_int_eq(json_string_member(&doc, "n", &value), ERR_OK);
	expect_span(value, "42");
	ck_assert_int_eq(json_string_member(&doc, "m", &value), ERR_OK);
	expect_span(value, "-9223372036854775808");
	ck_assert_int_eq(json_string_member(&doc, "r", &value), ERR_INPUT);
	ck_assert_int_eq(json_string_member(&doc, "b", &value), ERR_INPUT);
	ck_assert_int_eq(json_string_member(&doc, "z", &value), ERR_INPUT);
	ck_assert_int_eq(json_string_member(&doc, "o", &value), ERR_INPUT);
	ck_assert_int_eq(json_string_member(&doc, "a", &value), ERR_INPUT);
	ck_assert_int_eq(json_string_member(&doc, "x", &value), ERR_NOT_FOUND);
	json_close(&doc);
	ck_assert_int_eq(open_text(LITERAL("[\"s\"]")), ERR_OK);
	ck_assert_int_eq(json_string_member(&doc, "s", &value), ERR_NOT_FOUND);
	json_close(&doc);
	/* One that is closed holds nothing. */
	ck_assert(!json_top_is_object(&doc));
	ck_assert_int_eq(json_string_member(&doc, "s", &value), ERR_NOT_FOUND);
	ck_assert(!json_member_is(&doc, "s", LITERAL("s")));
}
END_TEST

START_TEST(keys_and_texts_mean_the_same_however_they_are_written)
{
	struct span value;

	ck_assert_int_eq(open_text(LITERAL("{\"\\u0061\\/\\\"\":\"\\u00e9\\ud83d\\ude00\\t\","
					   "\"n\":-0,\"long\":\"\\u20ac\"}")),
		ERR_OK);
	ck_assert_int_eq(json_string_member(&doc, "a/\"", &value), ERR_OK);
	expect_span(value, "\xc3\xa9\xf0\x9f\x98\x80\t");
	ck_assert_int_eq(json_string_member(&doc, "long", &value), ERR_OK);
	expect_span(value, "\xe2\x82\xac");
	ck_assert_int_eq(json_string_member(&doc, "n", &value), ERR_OK);
	expect_span(value, "0");
	ck_assert(json_member_is(&doc, "a/\"", LITERAL("\xc3\xa9\xf0\x9f\x98\x80\t")));
	ck_assert(!json_member_is(&doc, "a/\"", LITERAL("\xc3\xa9\xf0\x9f\x98\x80")));
	ck_assert(!json_member_is(&doc, "a/\"", LITERAL("\xc3\xa9\xf0\x9f\x98\x80\t\t")));
	ck_assert(json_member_is(&doc, "n", LITERAL("0")));
	ck_assert(!json_member_is(&doc, "n", LITERAL("-0")));
	ck_assert(!json_member_is(&doc, "x", LITERAL("0")));
	json_close(&doc);
	ck_assert(!json_member_is(&doc, "n", LITERAL("0")));
}
END_TEST

/* Writes _i members; the key that comes twice stands first and last. */
START_TEST(a_key_that_comes_twice_is_found_among_however_many)
{
	int counts[] = { 2, 7, 8, 9, 10, 100, 5000 };
	struct buf text;
	char member[32];

	buf_init(&text, KIB(64));
	buf_text(&text, "{\"k\\u0030\":1");
	for (int i = 1; i < counts[_i]; i++) {
		snprintf(member, sizeof(member), ",\"k%d\":%d", i, i);
		buf_text(&text, member);
	}
	size_t unique = buf_span(&text).len;

	buf_text(&text, "}");
	ck_assert_int_eq(open_text(buf_span(&text)), ERR_OK);
	ck_assert_uint_eq(doc.tokens[0].size, (unsigned)counts[_i]);
	json_close(&doc);
	buf_fini(&text);

	buf_init(&text, KIB(64));
	buf_append(&text, (struct span){ copy, unique });
	buf_text(&text, ",\"k0\":[]}");
	ck_assert_int_eq(open_text(buf_span(&text)), ERR_INPUT);
	ck_assert_uint_eq(failure.at_byte, unique + 2);
	buf_fini(&text);
}
END_TEST

START_TEST(tokens_lead_from_sibling_to_sibling)
{
	ck_assert_int_eq(
		open_text(LITERAL("[1,{\"a\":[true,null],\"b\":\"x\"},-2.5]")), ERR_OK);
	const struct json_token *t = doc.tokens;

	ck_assert_uint_eq(t[0].size, 3);
	ck_assert_uint_eq(doc.count, 10);
	ck_assert_int_eq(t[1].kind, JSON_INTEGER);
	ck_assert_uint_eq(t[1].next, 2);
	ck_assert_int_eq(t[2].kind, JSON_OBJECT);
	ck_assert_uint_eq(t[2].size, 2);
	ck_assert_uint_eq(t[2].next, 9);
	ck_assert_int_eq(t[3].kind, JSON_KEY);
	ck_assert_int_eq(t[4].kind, JSON_ARRAY);
	ck_assert_uint_eq(t[4].size, 2);
	ck_assert_uint_eq(t[4].next, 7);
	ck_assert_int_eq(t[8].kind, JSON_TEXT);
	ck_assert_int_eq(doc.text[t[8].at], 'x');
	ck_assert_int_eq(t[9].kind, JSON_REAL);
	json_close(&doc);
}
END_TEST

/* Just within what an ordinary stack array holds, and beyond. */
START_TEST(many_values_are_held_too)
{
	struct buf text;

	buf_init(&text, KIB(64));
	buf_text(&text, "[0");
	for (int i = 1; i < _i * 40; i++)
		buf_text(&text, ",0");
	buf_text(&text, "]");
	ck_assert_int_eq(open_text(buf_span(&text)), ERR_OK);
	ck_assert_uint_eq(doc.count, doc.tokens[0].size + 1);
	json_close(&doc);
	buf_fini(&text);
}
END_TEST

START_TEST(damaged_json_is_refused_or_read_as_another_reader_does)
{
	static const char body[] =
		"{\"customer\":\"c-1\\u00e9\",\"lines\":[{\"sku\":\"A\",\"n\":2},"
		"{\"sku\":\"\\ud83d\\ude00\",\"n\":-1.5e3}],\"a\":12345678901234567,\"b\":0.1,"
		"\"c\":\"\xe2\x82\xac\",\"d\":1e30,\"gift\":false,\"note\":null}";
	uint64_t state = 0x2545f4914f6cdd1d + (uint64_t)_i;
	int read = 0;

	for (int round = 0; round < 20000; round++) {
		char text[sizeof(body)];
		size_t len = sizeof(body) - 1;
		struct span value;

		memcpy(text, body, len);
		for (uint64_t damage = 1 + next_random(&state) % 3; damage > 0; damage--) {
			static const char bytes[] = "{}[]\",:\\u0\x80\xff\n -e.abcdn9";

			text[next_random(&state) % len] =
				bytes[next_random(&state) % (sizeof(bytes) - 1)];
		}
		if (next_random(&state) % 8 == 0)
			len = next_random(&state) % len;
		enum err err = open_text((struct span){ text, len });

		ck_assert(err == ERR_OK || err == ERR_INPUT);
		ck_assert_msg((err == ERR_OK) == is_json_to_another((struct span){ text, len }),
			"%s: %.*s", failure.text, (int)len, text);
		if (err == ERR_OK) {
			read++;
			(void)!json_string_member(&doc, "customer", &value);
		}
		json_close(&doc);
	}
	ck_assert_int_gt(read, 1000);
}
END_TEST

/* ---- writing ---- */

/* What the standard allows and messages may not have. */
START_TEST(tools_may_read_what_messages_may_not_have)
{
	static const char *const texts[] = { "\"\\u0000\"", "{\"a\":1,\"b\":2,\"\\u0061\":3}",
		"9223372036854775808", "1e400", "-1e999999999999999999",
		"{\"\\u0000\":[],\"\\u0000\":[]}" };
	static const char *const never[] = { "\"\\ud800\"", "01", "\"\xc0\x80\"", "[1,]", "" };
	struct json_limits open_limits = {
		.max_bytes = 65536,
		.max_depth = JSON_DEEPEST,
		.rules = JSON_OPEN,
	};

	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		ck_assert_int_eq(open_text(span_of(texts[i])), ERR_INPUT);
		ck_assert_int_eq(open_with(span_of(texts[i]), open_limits), ERR_OK);
		ck_assert_int_eq(doc.tokens[0].has_twins, texts[i][0] == '{');
		json_close(&doc);
	}
	for (size_t i = 0; i < ARRAY_COUNT(never); i++)
		ck_assert_int_eq(open_with(span_of(never[i]), open_limits), ERR_INPUT);
}
END_TEST

START_TEST(tools_may_read_deeper_to_a_limit)
{
	struct json_limits open_limits = {
		.max_bytes = 65536,
		.max_depth = JSON_DEEPEST,
		.rules = JSON_OPEN,
	};
	char text[2 * JSON_DEEPEST + 2];

	memset(text, '[', JSON_DEEPEST);
	memset(text + JSON_DEEPEST, ']', JSON_DEEPEST);
	ck_assert_int_eq(
		open_with((struct span){ text, 2 * JSON_DEEPEST }, open_limits), ERR_OK);
	json_close(&doc);
	memset(text, '[', JSON_DEEPEST + 1);
	memset(text + JSON_DEEPEST + 1, ']', JSON_DEEPEST + 1);
	ck_assert_int_eq(
		open_with((struct span){ text, sizeof(text) }, open_limits), ERR_INPUT);
}
END_TEST

START_TEST(a_text_is_walked_by_its_characters)
{
	static const int meant[] = { 'a', 0xe9, 0xe9, 0x1f600, 0x1f600, '/', '\n', 0x20ac,
		0xffff };

	ck_assert_int_eq(
		open_text(LITERAL("\"a\xc3\xa9\\u00e9\xf0\x9f\x98\x80\\ud83d\\ude00\\/\\n"
				  "\xe2\x82\xac\\uffff\"")),
		ERR_OK);
	struct json_walk walk = json_walk_begin(&doc, doc.tokens);

	for (size_t i = 0; i < ARRAY_COUNT(meant); i++)
		ck_assert_int_eq(json_walk_character(&walk), meant[i]);
	ck_assert_int_eq(json_walk_character(&walk), -1);
	ck_assert_int_eq(json_walk_character(&walk), -1);
	ck_assert_uint_eq(json_text_length(&doc, doc.tokens), ARRAY_COUNT(meant));
	json_close(&doc);
	ck_assert_int_eq(open_text(LITERAL("\"\"")), ERR_OK);
	ck_assert_uint_eq(json_text_length(&doc, doc.tokens), 0);
	walk = json_walk_begin(&doc, doc.tokens);
	ck_assert_int_eq(json_walk_character(&walk), -1);
	json_close(&doc);
	ck_assert_int_eq(open_text(LITERAL("\"\xc3\xa9x\xf0\x9f\x98\x80\"")), ERR_OK);
	ck_assert_uint_eq(json_text_length(&doc, doc.tokens), 3);
	json_close(&doc);
}
END_TEST

START_TEST(what_is_written_is_json_with_commas_where_they_belong)
{
	struct buf b;
	struct json_writer w;

	buf_init(&b, KIB(4));
	json_write_init(&w, &b);
	json_write_object(&w);
	json_write_text_member(&w, "a", "x");
	json_write_text_member(&w, "none", NULL);
	json_write_u64_member(&w, "max", UINT64_MAX);
	json_write_key(&w, "list");
	json_write_array(&w);
	json_write_u64(&w, 0);
	json_write_object(&w);
	json_write_object_end(&w);
	json_write_array(&w);
	json_write_array_end(&w);
	json_write_object(&w);
	json_write_bool_member(&w, "t", true);
	json_write_bool_member(&w, "f", false);
	json_write_object_end(&w);
	json_write_double(&w, 0.25);
	json_write_double(&w, (double)NAN);
	json_write_double(&w, (double)INFINITY);
	json_write_null(&w);
	json_write_array_end(&w);
	json_write_key(&w, "raw");
	json_write_raw(&w, LITERAL("{\"b\":[1]}"));
	json_write_span_member(&w, "s", LITERAL("y"));
	json_write_object_end(&w);
	expect_span(buf_span(&b),
		"{\"a\":\"x\",\"none\":null,\"max\":18446744073709551615,\"list\":["
		"0,{},[],{\"t\":true,\"f\":false},0.25,null,null,null],"
		"\"raw\":{\"b\":[1]},\"s\":\"y\"}");
	buf_fini(&b);
}
END_TEST

START_TEST(every_byte_is_escaped_so_that_it_comes_back)
{
	struct buf b;
	struct json_writer w;
	struct span value;
	char all[127];

	for (int i = 1; i < 128; i++)
		all[i - 1] = (char)i;
	buf_init(&b, KIB(4));
	json_write_init(&w, &b);
	json_write_object(&w);
	json_write_span_member(&w, "k", (struct span){ all, sizeof(all) });
	json_write_span_member(&w, "u", LITERAL("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
	json_write_span_member(&w, "bad",
		LITERAL("a\xff\xe2\x82"
			"b\xed\xa0\x80"));
	json_write_object_end(&w);
	ck_assert_int_eq(open_text(buf_span(&b)), ERR_OK);
	ck_assert_int_eq(json_string_member(&doc, "k", &value), ERR_OK);
	ck_assert(span_equals(value, (struct span){ all, sizeof(all) }));
	ck_assert_int_eq(json_string_member(&doc, "u", &value), ERR_OK);
	expect_span(value, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	ck_assert_int_eq(json_string_member(&doc, "bad", &value), ERR_OK);
	expect_span(value, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
			   "b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	json_close(&doc);
	buf_fini(&b);
}
END_TEST

START_TEST(random_bytes_always_make_valid_json)
{
	uint64_t state = 0x9e3779b97f4a7c15ull;

	for (int round = 0; round < 2000; round++) {
		char bytes[64];
		struct buf b;
		struct json_writer w;

		for (size_t i = 0; i < sizeof(bytes); i++) {
			bytes[i] = (char)next_random(&state);
			bytes[i] = bytes[i] == 0 ? 1 : bytes[i];
		}
		buf_init(&b, KIB(4));
		json_write_init(&w, &b);
		json_write_text(
			&w, (struct span){ bytes, next_random(&state) % sizeof(bytes) });
		ck_assert_int_eq(open_text(buf_span(&b)), ERR_OK);
		ck_assert(text_is_utf8(buf_span(&b)));
		json_close(&doc);
		buf_fini(&b);
	}
}
END_TEST

START_TEST(what_does_not_fit_sticks_to_the_buffer)
{
	struct buf b;
	struct json_writer w;

	buf_init(&b, 10);
	json_write_init(&w, &b);
	json_write_object(&w);
	json_write_text_member(&w, "key", "long enough");
	json_write_object_end(&w);
	ck_assert_int_eq(buf_status(&b), ERR_FULL);
	buf_fini(&b);
}
END_TEST

/* Each of these orders makes no JSON. */
START_TEST(writing_in_a_wrong_order_is_our_bug)
{
	struct buf b;
	struct json_writer w;

	buf_init(&b, KIB(4));
	json_write_init(&w, &b);
	switch (_i) {
	case 0:
		json_write_null(&w);
		json_write_null(&w);
		break;
	case 1:
		json_write_object(&w);
		json_write_null(&w);
		break;
	case 2:
		json_write_key(&w, "a");
		break;
	case 3:
		json_write_object(&w);
		json_write_key(&w, "a");
		json_write_key(&w, "b");
		break;
	case 4:
		json_write_object(&w);
		json_write_key(&w, "a");
		json_write_object_end(&w);
		break;
	case 5:
		json_write_object(&w);
		json_write_array_end(&w);
		break;
	case 6:
		json_write_array_end(&w);
		break;
	case 7:
		for (int i = 0; i <= JSON_MAX_DEPTH; i++)
			json_write_array(&w);
		break;
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("contract/json");
	TCase *tc = tcase_create("json");

	tcase_add_loop_test(
		tc, json_is_accepted_whatever_stands_at_the_top, 0, (int)ARRAY_COUNT(good));
	tcase_add_loop_test(tc, what_is_not_strict_json_is_refused, 0, (int)ARRAY_COUNT(bad));
	tcase_add_test(tc, the_place_of_a_fault_is_told);
	tcase_add_test(tc, size_is_capped_before_anything_is_parsed);
	tcase_add_loop_test(tc, depth_is_capped_exactly, 0, 36);
	tcase_add_test(tc, a_hundred_thousand_brackets_are_refused_and_not_a_stack_overflow);
	tcase_add_test(tc, a_member_is_given_as_text);
	tcase_add_test(tc, keys_and_texts_mean_the_same_however_they_are_written);
	tcase_add_loop_test(tc, a_key_that_comes_twice_is_found_among_however_many, 0, 7);
	tcase_add_test(tc, tokens_lead_from_sibling_to_sibling);
	tcase_add_loop_test(tc, many_values_are_held_too, 1, 20);
	tcase_add_loop_test(tc, damaged_json_is_refused_or_read_as_another_reader_does, 0, 8);
	tcase_add_test(tc, tools_may_read_what_messages_may_not_have);
	tcase_add_test(tc, tools_may_read_deeper_to_a_limit);
	tcase_add_test(tc, a_text_is_walked_by_its_characters);
	tcase_add_test(tc, what_is_written_is_json_with_commas_where_they_belong);
	tcase_add_test(tc, every_byte_is_escaped_so_that_it_comes_back);
	tcase_add_test(tc, random_bytes_always_make_valid_json);
	tcase_add_test(tc, what_does_not_fit_sticks_to_the_buffer);
	tcase_add_loop_test_raise_signal(
		tc, writing_in_a_wrong_order_is_our_bug, SIGABRT, 0, 8);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
