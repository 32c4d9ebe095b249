/* Mistakes of a file, all at once, in order, bounded. */
#include "base/report.h"
#include "unit/unit.h"

static struct buf shown;

static const char *formatted(const struct report *r)
{
	buf_init(&shown, MIB(1));
	report_format(r, &shown);
	buf_byte(&shown, '\0');
	ck_assert_int_eq(buf_status(&shown), ERR_OK);
	return shown.at;
}

START_TEST(mistakes_come_by_file_then_by_line)
{
	struct report r;

	report_init(&r);
	ck_assert(report_is_empty(&r));
	report_add(&r, "b.conf", 7, 3, LITERAL("x.y"), "is %d", 5);
	report_add(&r, "b.conf", 0, 0, LITERAL("z"), "is missing");
	report_add(&r, "a.conf", 1, 0, LITERAL(""), "is odd");
	report_add(&r, "b.conf", 2, 9, LITERAL("n"), "later in the line");
	report_add(&r, "b.conf", 2, 1, LITERAL("m"), "earlier in the line");
	ck_assert(!report_is_empty(&r));
	ck_assert_str_eq(formatted(&r), "b.conf:2:1: m: earlier in the line\n"
					"b.conf:2:9: n: later in the line\n"
					"b.conf:7:3: x.y: is 5\n"
					"b.conf: z: is missing\n"
					"a.conf:1: is odd\n");
	buf_fini(&shown);
	report_fini(&r);
	report_fini(&r);
}
END_TEST

START_TEST(what_does_not_fit_is_counted)
{
	struct report r;

	report_init(&r);
	for (unsigned i = 0; i < REPORT_MAX_MISTAKES + 7; i++)
		report_add(&r, "f", i + 1, 1, LITERAL("k"), "wrong");
	ck_assert_uint_eq(r.count, REPORT_MAX_MISTAKES);
	ck_assert_uint_eq(r.dropped, 7);
	ck_assert_ptr_nonnull(strstr(formatted(&r), "\nand 7 more\n"));
	buf_fini(&shown);
	report_fini(&r);
}
END_TEST

START_TEST(hostile_names_and_long_texts_stay_one_line)
{
	static char text[3000];
	struct report r;

	memset(text, 'x', sizeof(text) - 1);
	report_init(&r);
	report_add(&r, "f\n", 1, 1, LITERAL("k\nerror: \x1b"), "%s", text);
	const char *line = formatted(&r);

	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	ck_assert_int_eq(strncmp(line, "f\\x0a:1:1: k\\x0aerror: \\x1b: xxx", 30), 0);
	ck_assert_uint_lt(strlen(line), 800);
	buf_fini(&shown);
	report_fini(&r);
}
END_TEST

static const struct {
	const char *word;
	const char *nearest;
} words[] = {
	{ "deadlin", "deadline" },
	{ "dedaline", "deadline" },
	{ "Deadline", "deadline" },
	{ "deadlines", "deadline" },
	{ "knid", "kind" },
	{ "kin", "kind" },
	{ "tll", "ttl" },
	{ "ttl", "ttl" },
	{ "concurency", "concurrency" },
	{ "koncurrencie", "concurrency" },
	{ "koncurencie", NULL },
	{ "colour", NULL },
	{ "x", NULL },
	{ "", NULL },
	{ "xyz", NULL },
};

START_TEST(the_nearest_name_is_offered_and_nothing_far_fetched)
{
	static const char *const names[] = { "kind", "deadline", "ttl", "concurrency" };
	const char *nearest = report_nearest(
		span_of(words[_i].word), names, ARRAY_COUNT(names));

	if (words[_i].nearest == NULL)
		ck_assert_ptr_null(nearest);
	else
		ck_assert_pstr_eq(nearest, words[_i].nearest);
}
END_TEST

START_TEST(a_giant_word_is_near_nothing)
{
	static const char *const names[] = { "kind" };
	static char word[100000];

	memset(word, 'k', sizeof(word));
	ck_assert_ptr_null(report_nearest((struct span){ word, sizeof(word) }, names, 1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/report");
	TCase *tc = tcase_create("report");

	tcase_add_test(tc, mistakes_come_by_file_then_by_line);
	tcase_add_test(tc, what_does_not_fit_is_counted);
	tcase_add_test(tc, hostile_names_and_long_texts_stay_one_line);
	tcase_add_loop_test(tc, the_nearest_name_is_offered_and_nothing_far_fetched, 0,
		(int)ARRAY_COUNT(words));
	tcase_add_test(tc, a_giant_word_is_near_nothing);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
