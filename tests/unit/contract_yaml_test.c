/* YAML read strictly, with places that are true, and the shorthand that YAML itself refuses. */
#include "contract/yaml.h"

#include <stdio.h>

#include "base/buf.h"
#include "unit/random.h"
#include "unit/unit.h"

static struct report report;
static struct yaml_tree tree;
static struct buf shown;

static void setup(void)
{
	report_init(&report);
	buf_init(&shown, MIB(4));
}

static void teardown(void)
{
	report_fini(&report);
	yaml_close(&tree);
	yaml_close(&tree);
	buf_fini(&shown);
}

/* From a copy of the exact size, so that the sanitizer sees a read past the end. */
static enum err open_text(struct span text)
{
	char *copy = malloc(text.len == 0 ? 1 : text.len);

	ck_assert_ptr_nonnull(copy);
	if (text.len > 0)
		memcpy(copy, text.at, text.len);
	enum err err = yaml_open((struct span){ copy, text.len }, "t", &report, &tree);

	free(copy);
	ck_assert((err == ERR_OK) == report_is_empty(&report));
	return err;
}

/* {a: 'b', c: [d]} of any tree, in one line. */
static void show(const struct yaml_node *node)
{
	if (node->kind == YAML_SCALAR) {
		buf_format(&shown, node->is_quoted ? "'%s'" : "%s", node->text.at);
		ck_assert_uint_eq(strlen(node->text.at), node->text.len);
		if (node->tail != NULL)
			show(node->tail);
		return;
	}
	size_t count = 0;

	buf_text(&shown, node->kind == YAML_MAP ? "{" : "[");
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		buf_text(&shown, count++ == 0 ? "" : ", ");
		if (node->kind == YAML_MAP)
			buf_format(&shown, "%s: ", n->key.at);
		show(n);
	}
	ck_assert_uint_eq(count, node->count);
	buf_text(&shown, node->kind == YAML_MAP ? "}" : "]");
}

static const char *shown_tree(void)
{
	buf_clear(&shown);
	show(tree.root);
	buf_byte(&shown, '\0');
	ck_assert_int_eq(buf_status(&shown), ERR_OK);
	return shown.at;
}

static const char *shown_report(void)
{
	buf_clear(&shown);
	report_format(&report, &shown);
	buf_byte(&shown, '\0');
	return shown.at;
}

static const struct {
	const char *text;
	const char *tree;
} good[] = {
	{ "a: 1\nb: two\n", "{a: 1, b: two}" },
	{ "{}", "{}" },
	{ "[]", "[]" },
	{ "x", "x" },
	{ "--- x\n", "x" },
	{ "---\na: 1\n...\n", "{a: 1}" },
	{ "a:\nb: ~\nc: null\n", "{a: , b: ~, c: null}" },
	{ "a: yes\nb: 'no'\nc: \"on\"\n", "{a: yes, b: 'no', c: 'on'}" },
	{ "a:\n  - 1\n  - {b: 2}\n  - - 3\n", "{a: [1, {b: 2}, [3]]}" },
	{ "a: 'it''s'\nb: \"q\\\"\\u00e9\"\n", "{a: 'it's', b: 'q\"\xc3\xa9'}" },
	{ "a: |\n  one\n  two\nb: >\n  three\n  four\n",
		"{a: 'one\ntwo\n', b: 'three four\n'}" },
	{ "a: # nothing\n  b # c\n", "{a: b}" },
	{ "a: {b: 1, c: [2, 3]} # {\n", "{a: {b: 1, c: [2, 3]}}" },
	{ "web*: {deny: [\"admin.*\"]}", "{web*: {deny: ['admin.*']}}" },
	{ "a: \"\\u2028\"\r\nb: 1\r\n", "{a: '\xe2\x80\xa8', b: 1}" },
	{ "'a': 1\n\"b\": 2\n", "{a: 1, b: 2}" },
	{ "? a\n: 1\n", "{a: 1}" },
	/* JSON is read too */
	{ "{\"a\":[1,2.5,true,null,\"x\\n\\/\"],\"b\":{}}",
		"{a: [1, 2.5, true, null, 'x\n/'], b: {}}" },
	{ "{\n\t\"a\":\t1\n}\n", "{a: 1}" },
	/* the shorthand */
	{ "a: text(32)", "{a: text(32)}" },
	{ "{a: text(32), b: 1..5}", "{a: text(32), b: 1..5}" },
	{ "{a: one_of(b, c), d: e}", "{a: one_of(b, c), d: e}" },
	{ "{a: one_of(b,c), d: last-answer(10m)}", "{a: one_of(b,c), d: last-answer(10m)}" },
	{ "[one_of(a, b), f(g(h, i), j)]", "[one_of(a, b), f(g(h, i), j)]" },
	{ "a: collection(prices, sku)", "{a: collection(prices, sku)}" },
	{ "{a: f(b: c)}", "{a: f(b: c)}" },
	{ "a: f(b: c) # d", "{a: f(b: c)}" },
	{ "{a: f({[]}), b: 1}", "{a: f({[]}), b: 1}" },
	{ "{a?: text(5), b?: int}", "{a?: text(5), b?: int}" },
	{ "{a: list(50){b: text(32), c: 1..5}}", "{a: list(50){b: text(32), c: 1..5}}" },
	{ "a: list(50){b: text(32), c: 1..5}\nd: e\n",
		"{a: list(50){b: text(32), c: 1..5}, d: e}" },
	{ "[list(1){}, x]", "[list(1){}, x]" },
	{ "{a: list(2){b: list(3){c: one_of(d, e)}, f: g}, h: i}",
		"{a: list(2){b: list(3){c: one_of(d, e)}, f: g}, h: i}" },
	{ "a: list(2){\n  b: c, # } not here\n\n  'd': \"}\"\n}\ne: f\n",
		"{a: list(2){b: c, d: '}'}, e: f}" },
	{ "{a: list(2){\r\n\tb: c\r\n}, d: e}", "{a: list(2){b: c}, d: e}" },
	{ "{a: list(2){b: [c, d]}}", "{a: list(2){b: [c, d]}}" },
	/* what looks like it and is not */
	{ "{a: \"f(\", b: \")\", c: 'g(h, i){j}'}", "{a: 'f(', b: ')', c: 'g(h, i){j}'}" },
	{ "a: see f(b and c\nd: e) there\n", "{a: see f(b and c, d: e) there}" },
	{ "a: f (b) c\n", "{a: f (b) c}" },
	{ "{a: f(b, c: d}", "{a: f(b, c: d}" },
	{ "a: |\n  f(b, \"c){d: e\n\n  'g\nh: one_of(i, j)\n",
		"{a: 'f(b, \"c){d: e\n\n'g\n', h: one_of(i, j)}" },
	{ "- |\n f(\"\n- {a: f(b, c)}\n", "['f(\"\n', {a: f(b, c)}]" },
	{ "-   |\n  \"f(\n  x\n- {a: f(b, c)}\n", "['\"f(\nx\n', {a: f(b, c)}]" },
	{ "a: [f(b, c), 'it''s', d ]\ne: {\"f\":g(h, i)}\n",
		"{a: [f(b, c), 'it's', d], e: {f: g(h, i)}}" },
	{ "- a: |\n    'x\n  b: f(c, d)\n", "[{a: ''x\n', b: f(c, d)}]" },
	{ "# f(a, {b\nc: d # it's f(\ne: {f: g(h, i)}\n", "{c: d, e: {f: g(h, i)}}" },
	{ "a: don't\nb: {c: f(d, e)}\n", "{a: don't, b: {c: f(d, e)}}" },
	{ "{a: don't, b: f(c, d), e: it's}", "{a: don't, b: f(c, d), e: it's}" },
};

START_TEST(a_document_becomes_the_tree_that_it_shows)
{
	ck_assert_msg(open_text(span_of(good[_i].text)) == ERR_OK, "%s: %s", good[_i].text,
		shown_report());
	ck_assert_str_eq(shown_tree(), good[_i].tree);
}
END_TEST

static const struct {
	struct span text;
	const char *said; /* the whole report */
} bad[] = {
	{ LITERAL(""), "t: the file is empty\n" },
	{ LITERAL("# only this\n"), "t: the file is empty\n" },
	{ LITERAL("a: 1\na: 2\n"), "t:2:1: a: this key is written already in line 1\n" },
	{ LITERAL("x: {a: 1, b: 2,\n a: 2, a: 3}\n"),
		"t:2:2: x.a: this key is written already in line 1\n"
		"t:2:8: x.a: this key is written already in line 2\n" },
	{ LITERAL("a: list(1){b: 1, b: 2}"),
		"t:1:18: a.b: this key is written already in line 1\n" },
	{ LITERAL("a: &x 1\nb: *x\n"),
		"t:1:4: a: anchors are not allowed; write the value out, or quote it\n"
		"t:2:4: b: aliases are not allowed; a value that begins with * must be "
		"quoted\n" },
	{ LITERAL("*.x: 1"), "t:1:2: a value that begins with * or & must be quoted\n" },
	{ LITERAL("a: !!str 1"),
		"t:1:4: a: tags are not allowed; write the value without \"!\"\n" },
	{ LITERAL("a: ! 1"),
		"t:1:4: a: tags are not allowed; write the value without \"!\"\n" },
	{ LITERAL("%YAML 1.1\n--- a\n"), "t:1:1: directives (%YAML, %TAG) are not allowed\n" },
	{ LITERAL("--- a\n--- b\n"), "t:2:1: only one document may stand in the file\n" },
	{ LITERAL("a: 1\n...\nb: 2\n"), "t:3:1: only one document may stand in the file\n" },
	{ LITERAL("{a: 1}: 2"), "t:1:1: a key must be plain text\n" },
	{ LITERAL("? [a]\n: 2"), "t:1:3: a key must be plain text\n" },
	{ LITERAL("a: b: c\n"),
		"t:1:5: a second \": \" in one line; quote the value, or begin a new line\n" },
	{ LITERAL("a: {b: 1\nc: 2\n"), "t:2:2: a: a \",\" or the closing \"}\" is missing\n" },
	{ LITERAL("a: [b\n"), "t:2:1: a: a \",\" or the closing \"]\" is missing\n" },
	{ LITERAL("a: \"b\n"), "t:2:1: a: the file ends inside a quoted text\n" },
	{ LITERAL("a:\n\tb: 1\n"),
		"t:2:1: a: a value may not begin like this; quote it (tabs may not indent)\n" },
	{ LITERAL("a: @b\n"),
		"t:1:4: a: a value may not begin like this; quote it (tabs may not indent)\n" },
	{ LITERAL("a: 1\n  b: 2\n"),
		"t:2:4: a second \": \" in one line; quote the value, or begin a new line\n" },
	{ LITERAL("a: list(1){b: 1} c"),
		"t:1:4: a: nothing may follow the \"}\" of a shorthand\n" },
	{ LITERAL("a: list(1){b: {c: d}"),
		"t:1:13: a second \": \" in one line; quote the value, or begin a new line\n" },
	{ LITERAL("a: list(1){b c: &x d, e: *y}"),
		"t:1:17: a.b c: anchors are not allowed; write the value out, or quote it\n"
		"t:1:26: a.e: aliases are not allowed; a value that begins with * must be "
		"quoted\n" },
	{ LITERAL("a: 1\nb: \0\n"), "t:2:4: control characters are not allowed\n" },
	{ LITERAL("\xc3\xa9\x1b"), "t:1:2: control characters are not allowed\n" },
	{ LITERAL("a: 1\nb: \xff\n"), "t:2:1: not UTF-8\n" },
	{ LITERAL("\xff\xfe"
		  "a\0"),
		"t:1:4: control characters are not allowed\n" },
	{ LITERAL("a: \xee\x80\x80"), "t:1:4: characters of private use are not allowed\n" },
	{ LITERAL("a: \"\\uE00C\""), "t:1:4: a: characters of private use are not allowed\n" },
	{ LITERAL("a: \"\\uE000\""), "t:1:4: a: characters of private use are not allowed\n" },
};

START_TEST(what_is_wrong_is_said_with_its_place)
{
	ck_assert_int_eq(open_text(bad[_i].text), ERR_INPUT);
	ck_assert_str_eq(shown_report(), bad[_i].said);
}
END_TEST

START_TEST(mistakes_that_leave_the_rest_readable_leave_a_tree)
{
	ck_assert_int_eq(open_text(LITERAL("a: &x 1\na: 2\nb: 3\n")), ERR_INPUT);
	ck_assert_uint_eq(report.count, 2);
	ck_assert_ptr_nonnull(tree.root);
	expect_span(yaml_member(tree.root, "b")->text, "3");
}
END_TEST

START_TEST(places_are_counted_in_characters_inside_tails_too)
{
	const struct yaml_node *n;

	ck_assert_int_eq(
		open_text(LITERAL("\xc3\xa9: {\xe2\x82\xac: f(\xc3\xa9, x), b: list(2){\n"
				  "  \xc3\xa9: 1, c: list(1){\xc3\xa9\xc3\xa9: [7]}}, d: 2}\n"
				  "e: 3\n")),
		ERR_OK);
	n = yaml_member(tree.root, "\xc3\xa9");
	ck_assert_uint_eq(n->column, 4);
	const struct yaml_node *b = yaml_member(n, "b");

	ck_assert_uint_eq(b->key_column, 17);
	ck_assert_uint_eq(b->column, 20);
	ck_assert_uint_eq(b->tail->column, 27);
	const struct yaml_node *c = yaml_member(b->tail, "c");

	ck_assert_uint_eq(c->line, 2);
	ck_assert_uint_eq(c->key_column, 9);
	const struct yaml_node *seven = yaml_member(c->tail, "\xc3\xa9\xc3\xa9")->first;

	ck_assert_uint_eq(seven->line, 2);
	ck_assert_uint_eq(seven->column, 25);
	ck_assert_uint_eq(yaml_member(n, "d")->line, 2);
	ck_assert_uint_eq(yaml_member(n, "d")->column, 34);
	ck_assert_uint_eq(yaml_member(tree.root, "e")->line, 3);
	ck_assert_ptr_null(yaml_member(tree.root, "f"));
	ck_assert_ptr_null(yaml_member(seven, "f"));
	ck_assert_ptr_null(yaml_member(NULL, "f"));
}
END_TEST

START_TEST(only_an_unquoted_nothing_is_null)
{
	ck_assert_int_eq(
		open_text(LITERAL("[~, null, '', 'null', \"~\", 0, list(1){}, {a: }]")),
		ERR_OK);
	const struct yaml_node *n = tree.root->first;

	for (int i = 0; i < 8; i++, n = n->next)
		ck_assert_int_eq(yaml_is_null(n), i < 2);
	ck_assert(yaml_is_null(tree.root->first->next));
}
END_TEST

/* Nested _i deep, as plain braces and as tails, and both mixed. */
START_TEST(depth_is_capped_exactly)
{
	static const char *const opens[] = { "[", "{a: ", "f(1){a: " };
	static const char *const closes[] = { "]", "}", "}" };

	for (size_t kind = 0; kind < ARRAY_COUNT(opens); kind++) {
		struct buf text;
		/* A tail is as deep as its scalar is, and one more. */
		int levels = kind == 2 ? (_i + 1) / 2 : _i;

		buf_init(&text, MIB(1));
		for (int i = 1; i < levels; i++)
			buf_text(&text, opens[kind]);
		buf_text(&text, "x");
		for (int i = 1; i < levels; i++)
			buf_text(&text, closes[kind]);
		ck_assert_int_eq(
			open_text(buf_span(&text)), _i <= YAML_MAX_DEPTH ? ERR_OK : ERR_INPUT);
		buf_fini(&text);
		if (_i > YAML_MAX_DEPTH)
			ck_assert_ptr_nonnull(strstr(shown_report(), "nested deeper"));
		yaml_close(&tree);
		report_fini(&report);
	}
}
END_TEST

START_TEST(the_count_of_nodes_is_capped)
{
	for (int extra = 0; extra < 2; extra++) {
		struct buf text;

		buf_init(&text, MIB(1));
		buf_text(&text, "[");
		for (int i = 0; i < YAML_MAX_NODES - 1 + extra; i++)
			buf_text(&text, "x,");
		buf_text(&text, "]");
		ck_assert_int_eq(open_text(buf_span(&text)), extra == 0 ? ERR_OK : ERR_INPUT);
		buf_fini(&text);
		yaml_close(&tree);
	}
}
END_TEST

START_TEST(the_size_is_capped)
{
	char *text = malloc(YAML_MAX_BYTES + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', YAML_MAX_BYTES + 1);
	ck_assert_int_eq(
		yaml_open((struct span){ text, YAML_MAX_BYTES }, "t", &report, &tree), ERR_OK);
	yaml_close(&tree);
	ck_assert_int_eq(
		yaml_open((struct span){ text, YAML_MAX_BYTES + 1 }, "t", &report, &tree),
		ERR_INPUT);
	ck_assert_str_eq(shown_report(), "t: larger than 1 MiB\n");
	free(text);
}
END_TEST

/* The largest file of each of these, within the time that the test case has. */
START_TEST(no_row_of_open_signs_takes_long)
{
	static const char *const pieces[] = { "f(", "f(){", "{f(){", "f(){\"", "{", "[", "- ",
		"? ", "a: ", "'", "f(){'", "a: {", "f(){\n", "f(x){#\n", "f(){a}", "&", "!",
		"\xc3\xa9" };
	struct buf text;

	buf_init(&text, YAML_MAX_BYTES);
	while (text.len + 8 < YAML_MAX_BYTES)
		buf_text(&text, pieces[_i]);
	enum err err = open_text(buf_span(&text));

	ck_assert(err == ERR_OK || err == ERR_INPUT);
	buf_fini(&text);
}
END_TEST

/* Whatever is cut off, doubled, changed or swapped in a file: an answer, no crash, no leak, and
 * a report exactly when it is refused. */
START_TEST(a_damaged_file_is_refused_or_read_but_never_breaks_anything)
{
	static const char *const pieces[] = { "f(", ")", "{", "}", "[", "]", ",", ": ", ":",
		"- ", "\"", "'", "\n", "\n  ", "# ", "|", ">", "&a", "*a", "!", "? ",
		"list(3){", "~", "\t", "\\", "%", "\xc3\xa9", "\xee\x80\x8c", "\xff", "\r\n",
		"---", "..." };
	uint64_t state = 0x9e3779b97f4a7c15ull + (uint64_t)_i * 977;

	for (int round = 0; round < 1500; round++) {
		struct buf text;

		buf_init(&text, KIB(64));
		buf_text(&text, good[next_random(&state) % ARRAY_COUNT(good)].text);
		for (uint64_t damage = next_random(&state) % 4; damage > 0; damage--) {
			const char *piece = pieces[next_random(&state) % ARRAY_COUNT(pieces)];
			size_t at = text.len == 0 ? 0 : next_random(&state) % text.len;
			size_t cut = next_random(&state) % 3;
			struct buf next;

			buf_init(&next, KIB(64));
			buf_append(&next, (struct span){ text.at, at });
			buf_text(&next, piece);
			buf_append(&next, span_after(buf_span(&text), at + cut));
			buf_fini(&text);
			text = next;
		}
		enum err err = open_text(buf_span(&text));

		ck_assert(err == ERR_OK || err == ERR_INPUT);
		if (err == ERR_OK)
			shown_tree();
		yaml_close(&tree);
		report_fini(&report);
		buf_fini(&text);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("contract/yaml");
	TCase *tc = tcase_create("yaml");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(
		tc, a_document_becomes_the_tree_that_it_shows, 0, (int)ARRAY_COUNT(good));
	tcase_add_loop_test(tc, what_is_wrong_is_said_with_its_place, 0, (int)ARRAY_COUNT(bad));
	tcase_add_test(tc, mistakes_that_leave_the_rest_readable_leave_a_tree);
	tcase_add_test(tc, places_are_counted_in_characters_inside_tails_too);
	tcase_add_test(tc, only_an_unquoted_nothing_is_null);
	tcase_add_loop_test(tc, depth_is_capped_exactly, 30, 36);
	tcase_add_test(tc, the_count_of_nodes_is_capped);
	tcase_add_test(tc, the_size_is_capped);
	tcase_add_loop_test(tc, no_row_of_open_signs_takes_long, 0, 18);
	tcase_add_loop_test(
		tc, a_damaged_file_is_refused_or_read_but_never_breaks_anything, 0, 10);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
