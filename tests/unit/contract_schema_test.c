/* Schemas of a contract: the shorthand, what is told about a value that does not fit, and what is told
 * about a schema that cannot be. The keywords of JSON Schema are tried by tests/scripts/schema_test.py. */
#include "contract/schema.h"

#include <stdio.h>

#include "base/buf.h"
#include "contract/number.h"
#include "contract/pattern.h"
#include "contract/unicode.h"
#include "unit/unit.h"

static struct report report;
static struct schema *schema;
static struct buf shown;

static void setup(void)
{
	report_init(&report);
	buf_init(&shown, MIB(1));
	schema = NULL;
}

static void teardown(void)
{
	report_fini(&report);
	schema_destroy(schema);
	buf_fini(&shown);
}

static const char *shown_report(void)
{
	buf_clear(&shown);
	report_format(&report, &shown);
	buf_byte(&shown, '\0');
	return shown.at;
}

static enum err compile(const char *yaml, enum schema_side side)
{
	struct yaml_tree tree;
	struct path path = { NULL, span_of("params") };

	schema_destroy(schema);
	schema = NULL;
	ck_assert_msg(yaml_open(span_of(yaml), "c", &report, &tree) == ERR_OK, "%s: %s", yaml,
		shown_report());
	struct schema_source source = {
		.node = tree.root,
		.path = &path,
		.file = "c",
		.report = &report,
	};
	enum err err = schema_create_shorthand(&source, side, &schema);

	yaml_close(&tree); /* a schema needs nothing of it */
	return err;
}

static void must_compile(const char *yaml)
{
	ck_assert_msg(compile(yaml, SCHEMA_TO_APP) == ERR_OK, "%s: %s", yaml, shown_report());
}

static enum err check_value(const char *json, struct schema_failure *failure)
{
	struct json_limits limits = { .max_bytes = MIB(1) };
	struct json_failure malformed;
	struct json_doc doc;

	ck_assert_msg(json_open(span_of(json), limits, &doc, &malformed) == ERR_OK, "%s: %s",
		json, malformed.text);
	enum err err = schema_check(schema, &doc, 0, failure);

	json_close(&doc);
	return err;
}

/* ---- the shorthand ---- */

static const struct {
	const char *type;
	const char *fits[8];
	const char * not [12];
} types[] = {
	{ "text(3)", { "\"\"", "\"abc\"", "\"\\u00e9\xc3\xa9\xf0\x9f\x98\x80\"" },
		{ "\"abcd\"", "1", "null", "[]" } },
	{ "text( 3 )", { "\"abc\"" }, { "\"abcd\"" } },
	{ "id", { "\"c-7\"", "\"A_1.b:c@d\"", "7", "0", "9223372036854775807", "\"x\"" },
		{ "\"\"", "\"a b\"", "\"\xc3\xa9\"", "-1", "1.5", "true", "null", "\"a/b\"",
			"1e30" } },
	{ "int", { "0", "-9223372036854775808", "9223372036854775807", "1.0", "2e3" },
		{ "1.5", "\"1\"", "1e19", "null", "true" } },
	{ "1..1000", { "1", "1000", "1.0", "1e3" },
		{ "0", "1001", "-5", "1.5", "\"5\"", "1e4" } },
	{ "-5..-5", { "-5", "-5.0" }, { "-4", "-6", "5" } },
	{ "-10..10", { "-10", "0", "10", "-0" }, { "-11", "11" } },
	{ "bool", { "true", "false" }, { "0", "1", "\"true\"", "null" } },
	{ "time", { "\"2024-02-29T12:00:00Z\"", "\"2024-02-29T12:00:00.5+01:00\"" },
		{ "\"2024-02-29\"", "\"12:00\"", "\"2024-02-30T12:00:00Z\"", "7", "\"\"" } },
	{ "email", { "\"a@b.org\"" }, { "\"a\"", "\"\"", "\"a@b c\"", "1" } },
	{ "one_of(placed, sent)", { "\"placed\"", "\"sent\"" },
		{ "\"packed\"", "\"\"", "\" sent\"", "null" } },
	{ "one_of(1, 'b c', \"d\")", { "\"1\"", "\"b c\"", "\"d\"" }, { "1", "\"b\"" } },
	{ "list(2){text(3)}", { "[]", "[\"a\"]", "[\"a\",\"abc\"]" },
		{ "[1]", "[\"abcd\"]", "[\"a\",\"b\",\"c\"]", "{}", "null" } },
	{ "list(2){1..3}", { "[1,3]" }, { "[0]", "[4]" } },
	{ "list(3){sku: text(4), quantity?: 1..9}",
		{ "[]", "[{\"sku\":\"a\"}]",
			"[{\"sku\":\"a\",\"quantity\":9},{\"sku\":\"b\"}]" },
		{ "[{}]", "[{\"quantity\":1}]", "[{\"sku\":\"a\",\"more\":1}]", "[[]]",
			"[null]", "[{\"sku\":\"a\",\"quantity\":10}]" } },
	{ "{}", { "{}" }, { "{\"a\":1}", "[]", "null" } },
	{ "{a: int, b?: bool, c: text(3)?}",
		{ "{\"a\":1}", "{\"a\":1,\"b\":true,\"c\":\"x\"}", "{\"c\":\"x\",\"a\":1}",
			"{\"\\u0061\":1}" },
		{ "{}", "{\"b\":true}", "{\"a\":1,\"d\":1}", "{\"a\":1,\"b\":null}", "[]",
			"{\"a?\":1}" } },
	{ "{a: {b: {c: int}, d?: {}}}",
		{ "{\"a\":{\"b\":{\"c\":1}}}", "{\"a\":{\"b\":{\"c\":1},\"d\":{}}}" },
		{ "{\"a\":{}}", "{\"a\":{\"b\":{}}}",
			"{\"a\":{\"b\":{\"c\":1},\"d\":{\"e\":1}}}" } },
	{ "{a: {schema: {type: [string, 'null'], maxLength: 2}}, b: int}",
		{ "{\"a\":null,\"b\":1}", "{\"a\":\"xy\",\"b\":1}" },
		{ "{\"a\":\"xyz\",\"b\":1}", "{\"a\":1,\"b\":1}", "{\"b\":1}" } },
	{ "{schema: text(3)}", { "{\"schema\":\"x\"}" }, { "{}", "{\"schema\":1}" } },
	{ "{schema: {type: object, properties: {n: {$ref: '#/$defs/n'}}, $defs: {n: {type: "
	  "integer}}}}",
		{ "{}", "{\"n\":1}" }, { "{\"n\":\"x\"}", "{\"m\":1}" } },
};

START_TEST(a_type_takes_what_it_says)
{
	struct schema_failure failure;

	must_compile(types[_i].type);
	for (size_t i = 0; i < ARRAY_COUNT(types[_i].fits) && types[_i].fits[i] != NULL; i++)
		ck_assert_msg(check_value(types[_i].fits[i], &failure) == ERR_OK,
			"%s should take %s: %s", types[_i].type, types[_i].fits[i],
			failure.text);
	for (size_t i = 0; i < ARRAY_COUNT(types[_i].not ) && types[_i].not [i] != NULL; i++)
		ck_assert_msg(check_value(types[_i].not [i], &failure) == ERR_INPUT,
			"%s should not take %s", types[_i].type, types[_i].not [i]);
}
END_TEST

/* ---- what is told about a value ---- */

static const struct {
	const char *yaml;
	const char *json;
	const char *pointer;
	const char *rule;
	const char *text;
} failures[] = {
	{ "{a: int}", "[]", "", "type", "is array, must be object" },
	{ "{a: int}", "{}", "", "required", "\"a\" is missing" },
	{ "{a: int}", "{\"a\":1.5}", "/a", "type", "is no integer, must be integer" },
	{ "{quantity: int}", "{\"quantity\":1,\"quantty\":2}", "/quantty",
		"additionalProperties", "no such member; did you mean \"quantity\"?" },
	{ "{a: int}", "{\"a\":1,\"zzzz\":{}}", "/zzzz", "additionalProperties",
		"no such member" },
	{ "{a: id}", "{\"a\":true}", "/a", "type", "is boolean, must be integer or string" },
	{ "{a: text(2)}", "{\"a\":\"\xc3\xa9\xc3\xa9\xc3\xa9\"}", "/a", "maxLength",
		"has 3 characters, at most 2" },
	{ "{a: 1..9}", "{\"a\":10}", "/a", "maximum", "is above 9" },
	{ "{a: 1..9}", "{\"a\":0}", "/a", "minimum", "is below 1" },
	{ "{a: time}", "{\"a\":\"x\"}", "/a", "format", "is no date-time" },
	{ "{a: one_of(x, y)}", "{\"a\":\"z\"}", "/a", "enum",
		"is none of the 2 values that may stand here" },
	{ "{l: list(2){a: int}}", "{\"l\":[{\"a\":1},{\"a\":\"x\"}]}", "/l/1/a", "type",
		"is string, must be integer" },
	{ "{l: list(2){a: int}}", "{\"l\":[{\"a\":1},{\"a\":1},{\"a\":1}]}", "/l", "maxItems",
		"has 3 items, at most 2" },
	{ "{a: {b: int}}", "{\"a\":{\"b\":1,\"x/y~z\":2}}", "/a/x~1y~0z",
		"additionalProperties", "no such member" },
	{ "{schema: {type: object, additionalProperties: {type: integer}}}",
		"{\"\\u00e9\\n\":\"x\"}", "/\xc3\xa9\n", "type", "is string, must be integer" },
	{ "{a: {schema: {type: array, items: {type: integer}, uniqueItems: true}}}",
		"{\"a\":[1,2,1.0]}", "/a", "uniqueItems", "items 0 and 2 are equal" },
	{ "{a: {schema: {type: integer, multipleOf: 5}}}", "{\"a\":7}", "/a", "multipleOf",
		"is no multiple of 5" },
	{ "{a: {schema: {type: number, exclusiveMinimum: 0.5}}}", "{\"a\":0.5}", "/a",
		"exclusiveMinimum", "is not above 0.5" },
	{ "{a: {schema: {type: integer, not: {const: 1}}}}", "{\"a\":1}", "/a", "not",
		"is as it must not be" },
	{ "{a: {schema: {anyOf: [{type: integer}, {type: 'null'}]}}}", "{\"a\":\"x\"}", "/a",
		"anyOf", "is as none of the 2 alternatives says" },
	{ "{a: {schema: {oneOf: [{type: integer}, {type: number}]}}}", "{\"a\":1}", "/a",
		"oneOf", "is as 2 of the alternatives say, only one may fit" },
	{ "{a: {schema: {type: string, pattern: '^x'}}}", "{\"a\":\"y\"}", "/a", "pattern",
		"does not fit the pattern" },
};

START_TEST(a_failure_says_where_and_why)
{
	struct schema_failure failure;

	must_compile(failures[_i].yaml);
	ck_assert_int_eq(check_value(failures[_i].json, &failure), ERR_INPUT);
	ck_assert_str_eq(failure.pointer, failures[_i].pointer);
	ck_assert_str_eq(failure.rule, failures[_i].rule);
	ck_assert_str_eq(failure.text, failures[_i].text);
}
END_TEST

START_TEST(a_pointer_is_cut_at_its_size)
{
	struct schema_failure failure;
	char json[2000];

	must_compile("{a: int}");
	json[0] = '{';
	json[1] = '"';
	memset(json + 2, '/', 1000);
	snprintf(json + 1002, 100, "\":1,\"a\":1}");
	ck_assert_int_eq(check_value(json, &failure), ERR_INPUT);
	ck_assert_uint_eq(strlen(failure.pointer), SCHEMA_POINTER_BYTES - 1);
	ck_assert(strncmp(failure.pointer, "/~1~1", 5) == 0);
}
END_TEST

/* ---- what is told about a schema ---- */

static const struct {
	const char *yaml;
	const char *said;
} bad[] = {
	{ "{a: txt(3)}", "c:1:5: params.a: no type \"txt(3)\"; did you mean \"text\"?\n" },
	{ "{a: text}", "c:1:5: params.a: say how long it may be: text(200)\n" },
	{ "{a: text(0)}",
		"c:1:5: params.a: in the parentheses stands a number from 1 to 65536\n" },
	{ "{a: text(65537)}",
		"c:1:5: params.a: in the parentheses stands a number from 1 to 65536\n" },
	{ "{a: text()}",
		"c:1:5: params.a: in the parentheses stands a number from 1 to 65536\n" },
	{ "{a: list(3)}", "c:1:5: params.a: say of what: list(50){sku: text(32)}, or "
			  "list(50){text(32)}\n" },
	{ "{a: list(10001){int}}",
		"c:1:5: params.a: in the parentheses stands a number from 1 to 10000\n" },
	{ "{a: text(3){int}}",
		"c:1:5: params.a: only a list has braces: list(50){sku: text(32)}\n" },
	{ "{a: 9..1}", "c:1:5: params.a: the range ends before it begins\n" },
	{ "{a: 0..9223372036854775808}",
		"c:1:5: params.a: the ends of a range are whole numbers within 64 bits\n" },
	{ "{a: one_of()}",
		"c:1:5: params.a: in the parentheses stand words: one_of(placed, sent)\n" },
	{ "{a: one_of(x,,y)}",
		"c:1:5: params.a: in the parentheses stand words: one_of(placed, sent)\n" },
	{ "{a b: int}",
		"c:1:2: params.a b: not a name: 1 to 64 letters, digits, \"-\", \"_\" and "
		"\".\", with a \"?\" behind it if it may be missing\n" },
	{ "{a: int, a?: int}", "c:1:10: params.a?: this name stands here already\n" },
	{ "{l: list(2){a: int, b: txt(3)}}",
		"c:1:24: params.l.b: no type \"txt(3)\"; did you mean \"text\"?\n" },
	{ "{a: {schema: {typ: integer}}}",
		"c:1:14: params.a.schema: anything would pass here; say what it is, for "
		"example "
		"{type: string, maxLength: 100}\n"
		"c:1:15: params.a.schema.typ: unknown keyword; did you mean \"type\"?\n" },
	{ "{a: {schema: {type: string, maxLength: 70000}}}",
		"c:1:40: params.a.schema.maxLength: 70000 is too much; at most 65536\n" },
	{ "{schema: {type: object, additionalProperties: true}}",
		"c:1:47: params.schema.additionalProperties: true would let anything cross; "
		"name "
		"the members in properties, or say what others may be: additionalProperties: "
		"{type: string, maxLength: 100}\n" },
	{ "{schema: {type: object, properties: {a: int}}}",
		"c:1:41: params.schema.properties.a: must be a schema: a map of keywords, for "
		"example {type: string}; shorthand types stand outside of a schema\n" },
	{ "{schema: {type: object, properties: {a: {type: array}}}}",
		"c:1:41: params.schema.properties.a: the list may hold anything; say what: "
		"items: "
		"{type: integer}\n" },
	{ "{schema: {type: object, patternProperties: {}}}",
		"c:1:25: params.schema.patternProperties: this keyword is not supported; name "
		"the "
		"members in properties\n" },
	{ "{schema: {type: object, properties: {a: {$ref: '#/$defs/x'}}}}",
		"c:1:48: params.schema.properties.a.$ref: \"#/$defs/x\" leads nowhere\n" },
	{ "{schema: {type: object, properties: {a: {type: string, pattern: '(a'}}}}",
		"c:1:65: params.schema.properties.a.pattern: the ) of a group is missing (at "
		"byte 3 of the pattern)\n" },
	{ "{schema: {type: object, required: [a]}}",
		"c:1:36: params.schema: \"a\" is required, but not in properties: nothing "
		"could "
		"pass\n" },
	{ "{a: {schema: {enum: [007]}}}", "c:1:22: params.a.schema.enum: quote it if it is a "
					  "text; numbers are written as "
					  "in JSON\n" },
	/* all at once */
	{ "{a: txt(3), b: text, c: {schema: {type: texts}}}",
		"c:1:5: params.a: no type \"txt(3)\"; did you mean \"text\"?\n"
		"c:1:16: params.b: say how long it may be: text(200)\n"
		"c:1:41: params.c.schema.type: must be one of null, boolean, integer, number, "
		"string, array, object\n" },
};

START_TEST(a_schema_that_cannot_be_is_told_with_its_place)
{
	ck_assert_int_eq(compile(bad[_i].yaml, SCHEMA_TO_APP), ERR_INPUT);
	ck_assert_ptr_null(schema);
	ck_assert_str_eq(shown_report(), bad[_i].said);
}
END_TEST

START_TEST(towards_the_web_somebody_may_say_that_anything_goes)
{
	static const char yaml[] = "{schema: {type: object, additionalProperties: true}}";
	struct schema_failure failure;

	ck_assert_int_eq(compile(yaml, SCHEMA_TO_WEB), ERR_OK);
	ck_assert_int_eq(check_value("{\"a\":[{}]}", &failure), ERR_OK);
	ck_assert_int_eq(compile(yaml, SCHEMA_TO_APP), ERR_INPUT);
}
END_TEST

START_TEST(a_schema_can_be_asked_what_it_is)
{
	must_compile("{a: int, b?: text(3)}");
	ck_assert(schema_is_object(schema));
	ck_assert(schema_has_member(schema, LITERAL("b")));
	ck_assert(!schema_has_member(schema, LITERAL("c")));
	must_compile("{schema: {$ref: '#/$defs/x', $defs: {x: {type: object, properties: {a: "
		     "{type: integer}}}}}}");
	ck_assert(schema_is_object(schema));
	ck_assert(schema_has_member(schema, LITERAL("a")));
	must_compile("{schema: {type: [object, 'null']}}");
	ck_assert(!schema_is_object(schema));
	must_compile("int");
	ck_assert(!schema_is_object(schema));
}
END_TEST

/* ---- its parts ---- */

START_TEST(numbers_are_compared_as_written)
{
	static const struct {
		const char *a;
		const char *b;
		int order;
	} pairs[] = {
		{ "0", "-0.000e5", 0 },
		{ "1", "10e-1", 0 },
		{ "120", "1.2e2", 0 },
		{ "-1", "1", -1 },
		{ "-2", "-1", -1 },
		{ "0.1", "0.09999999999999999999999999", 1 },
		{ "99", "100", -1 },
		{ "1e400", "1e399", 1 },
		{ "-1e400", "-1e399", -1 },
		{ "1e-400", "0", 1 },
		{ "123456789012345678901234567890", "123456789012345678901234567891", -1 },
		{ "1.5", "1.50", 0 },
		{ "105", "1050e-1", 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
		struct number a = number_read(span_of(pairs[i].a));
		struct number b = number_read(span_of(pairs[i].b));
		int order = number_compare(&a, &b);

		ck_assert_msg((order > 0) - (order < 0) == pairs[i].order, "%s and %s",
			pairs[i].a, pairs[i].b);
		ck_assert_int_eq(number_compare(&b, &a) > 0, pairs[i].order < 0);
		if (pairs[i].order == 0)
			ck_assert_uint_eq(number_hash(&a), number_hash(&b));
	}
}
END_TEST

START_TEST(numbers_within_64_bits_are_found)
{
	static const struct {
		const char *text;
		bool is;
		int64_t value;
	} all[] = {
		{ "9223372036854775807", true, INT64_MAX },
		{ "-9223372036854775808", true, INT64_MIN },
		{ "9223372036854775808", false, 0 },
		{ "-9223372036854775809", false, 0 },
		{ "1e18", true, 1000000000000000000 },
		{ "1e19", false, 0 },
		{ "12.50e1", true, 125 },
		{ "1.5", false, 0 },
		{ "0e999", true, 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		struct number n = number_read(span_of(all[i].text));
		int64_t value = 0;

		ck_assert_msg(number_to_i64(&n, &value) == all[i].is, "%s", all[i].text);
		ck_assert_int_eq(value, all[i].value);
	}
}
END_TEST

START_TEST(categories_have_their_names)
{
	ck_assert_int_eq(unicode_category_of('A'), UNICODE_LU);
	ck_assert_int_eq(unicode_category_of(0x10ffff), UNICODE_CN);
	ck_assert_int_eq(unicode_category_of(0), UNICODE_CC);
	ck_assert_int_eq(unicode_category_of(0x1f600), UNICODE_SO);
	ck_assert_uint_eq(unicode_named(LITERAL("L")), unicode_named(LITERAL("Letter")));
	ck_assert_uint_eq(unicode_named(LITERAL("Nd")), 1u << UNICODE_ND);
	ck_assert_uint_eq(unicode_named(LITERAL("")), 0);
	ck_assert_uint_eq(unicode_named(LITERAL("L Letter")), 0);
	ck_assert_uint_eq(unicode_named(LITERAL("ette")), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("contract/schema");
	TCase *tc = tcase_create("schema");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, a_type_takes_what_it_says, 0, ARRAY_COUNT(types));
	tcase_add_loop_test(tc, a_failure_says_where_and_why, 0, ARRAY_COUNT(failures));
	tcase_add_test(tc, a_pointer_is_cut_at_its_size);
	tcase_add_loop_test(
		tc, a_schema_that_cannot_be_is_told_with_its_place, 0, ARRAY_COUNT(bad));
	tcase_add_test(tc, towards_the_web_somebody_may_say_that_anything_goes);
	tcase_add_test(tc, a_schema_can_be_asked_what_it_is);
	tcase_add_test(tc, numbers_are_compared_as_written);
	tcase_add_test(tc, numbers_within_64_bits_are_found);
	tcase_add_test(tc, categories_have_their_names);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
