/* The words behind the program's name. */
#include "daemon/command.h"

#include <stdio.h>
#include <unistd.h>

#include "unit/unit.h"

static const struct command commands[] = {
	{ "run", NULL, 0, 0, "does the work" },
	{ "check", NULL, 0, 0, "looks at the config" },
	{ "call", "OPERATION [BODY]", 1, 2, "asks and waits" },
};

static const struct command_flag flags[] = {
	{ "--config", "FILE", " run check ", "the config file" },
	{ "--ready-fd", "N", " run ", "says ready there" },
	{ "--json", NULL, NULL, "writes JSON" },
};

static const struct command_set set = { "prog", "A program.", commands, ARRAY_COUNT(commands),
	flags, ARRAY_COUNT(flags) };

static struct command_line line;
static struct buf wrong;

static void setup(void)
{
	buf_init(&wrong, KIB(4));
}

static void teardown(void)
{
	buf_fini(&wrong);
}

enum { WORDS_MAX = 24 };

static enum err parse(const char *const *words)
{
	char *argv[WORDS_MAX + 2] = { (char *)(uintptr_t) "prog" };
	int argc = 1;

	for (; words[argc - 1] != NULL; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
	enum err err = command_parse(&set, argc, argv, &line, &wrong);

	ck_assert((err == ERR_OK) == (wrong.len == 0));
	return err;
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(flags_may_stand_anywhere_and_take_their_value_in_two_ways)
{
	ck_assert_int_eq(PARSE("run", "--config", "a.conf", "--ready-fd=1"), ERR_OK);
	ck_assert_int_eq(line.wish, COMMAND_RUN);
	ck_assert_str_eq(line.command->name, "run");
	ck_assert_str_eq(command_value(&line, "--config"), "a.conf");
	ck_assert_str_eq(command_value(&line, "--ready-fd"), "1");
	ck_assert(!command_has(&line, "--json"));
	ck_assert_int_eq(PARSE("--config=a=b", "--json", "check"), ERR_OK);
	ck_assert_str_eq(command_value(&line, "--config"), "a=b");
	ck_assert(command_has(&line, "--json"));
}
END_TEST

START_TEST(operands_go_to_the_command)
{
	ck_assert_int_eq(PARSE("call", "quote.price", "--json", "-"), ERR_OK);
	ck_assert_uint_eq(line.operand_count, 2);
	ck_assert_str_eq(line.operands[0], "quote.price");
	ck_assert_str_eq(line.operands[1], "-"); /* a dash alone is no flag */
	ck_assert_int_eq(PARSE("call", "--", "--json", "--"), ERR_OK);
	ck_assert_str_eq(line.operands[0], "--json");
	ck_assert_str_eq(line.operands[1], "--");
	ck_assert(!command_has(&line, "--json"));
}
END_TEST

START_TEST(help_and_version_win_over_everything_behind_them)
{
	ck_assert_int_eq(PARSE("--help"), ERR_OK);
	ck_assert_int_eq(line.wish, COMMAND_HELP);
	ck_assert_int_eq(PARSE("run", "-h", "--nonsense"), ERR_OK);
	ck_assert_int_eq(line.wish, COMMAND_HELP);
	ck_assert_int_eq(PARSE("--version"), ERR_OK);
	ck_assert_int_eq(line.wish, COMMAND_VERSION);
}
END_TEST

static const struct {
	const char *words[WORDS_MAX];
	const char *said;
} bad[] = {
	{ { NULL }, "which command? prog --help lists them" },
	{ { "rum" }, "\"rum\" is no command; did you mean \"run\"?" },
	{ { "dance" }, "\"dance\" is no command; prog --help lists them" },
	{ { "run", "--confg", "x" }, "unknown flag --confg; did you mean --config?" },
	{ { "run", "--confg=x" }, "unknown flag --confg; did you mean --config?" },
	{ { "run", "-x" }, "unknown flag -x; prog --help lists them" },
	{ { "run", "--config" }, "--config needs a value: --config FILE" },
	{ { "run", "--config=" }, "--config needs a value: --config FILE" },
	{ { "run", "--config", "" }, "--config needs a value: --config FILE" },
	{ { "run", "--config", "a", "--config", "b" }, "--config is given twice" },
	{ { "run", "--json", "--json" }, "--json is given twice" },
	{ { "run", "--json=yes" }, "--json takes no value" },
	{ { "check", "--ready-fd", "3" }, "--ready-fd means nothing to \"check\"" },
	{ { "run", "fast" }, "what is \"fast\"? usage: prog run" },
	{ { "call" }, "usage: prog call OPERATION [BODY]" },
	{ { "call", "a", "b", "c\n" },
		"what is \"c\\x0a\"? usage: prog call OPERATION [BODY]" },
	{ { "call", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14",
		  "15", "16", "17" },
		"too many words" },
};

START_TEST(a_mistake_is_told_with_what_would_be_right)
{
	ck_assert_int_eq(parse(bad[_i].words), ERR_INPUT);
	expect_span(buf_span(&wrong), bad[_i].said);
}
END_TEST

START_TEST(a_descriptor_must_be_open)
{
	int fd;
	int ends[2];

	ck_assert_int_eq(PARSE("run"), ERR_OK);
	ck_assert_int_eq(command_fd(&line, "--ready-fd", &fd, &wrong), ERR_OK);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(pipe(ends), 0);
	char number[2] = { (char)('0' + ends[1]), '\0' };

	ck_assert_int_lt(ends[1], 10);
	ck_assert_int_eq(PARSE("run", "--ready-fd", number), ERR_OK);
	ck_assert_int_eq(command_fd(&line, "--ready-fd", &fd, &wrong), ERR_OK);
	ck_assert_int_eq(fd, ends[1]);
	close(ends[1]);
	ck_assert_int_eq(command_fd(&line, "--ready-fd", &fd, &wrong), ERR_INPUT);
	ck_assert_ptr_nonnull(memmem(wrong.at, wrong.len, "is not open", 11));
	buf_clear(&wrong);
	ck_assert_int_eq(PARSE("run", "--ready-fd", "3x"), ERR_OK);
	ck_assert_int_eq(command_fd(&line, "--ready-fd", &fd, &wrong), ERR_INPUT);
	expect_span(buf_span(&wrong), "--ready-fd: \"3x\" is not a file descriptor");
	buf_clear(&wrong);
	ck_assert_int_eq(PARSE("run", "--ready-fd", "99999999999"), ERR_OK);
	ck_assert_int_eq(command_fd(&line, "--ready-fd", &fd, &wrong), ERR_INPUT);
	ck_assert_int_eq(fd, -1);
	close(ends[0]);
}
END_TEST

START_TEST(a_number_is_whole_and_above_0)
{
	static const char *const none[] = { "abc", "0", "-1", "1.5", "5s", " 1",
		"18446744073709551616" };
	uint64_t number = 7;

	ck_assert_int_eq(PARSE("run"), ERR_OK);
	ck_assert_int_eq(command_number(&line, "--ready-fd", &number, &wrong), ERR_OK);
	ck_assert_uint_eq(number, 0);
	ck_assert_int_eq(PARSE("run", "--ready-fd", "250"), ERR_OK);
	ck_assert_int_eq(command_number(&line, "--ready-fd", &number, &wrong), ERR_OK);
	ck_assert_uint_eq(number, 250);
	for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
		char said[128];

		ck_assert_int_eq(PARSE("run", "--ready-fd", none[i]), ERR_OK);
		ck_assert_int_eq(
			command_number(&line, "--ready-fd", &number, &wrong), ERR_INPUT);
		snprintf(said, sizeof(said),
			"prog run: --ready-fd \"%s\" is not a whole number from 1", none[i]);
		expect_span(buf_span(&wrong), said);
		buf_clear(&wrong);
	}
}
END_TEST

START_TEST(usage_names_every_command_and_flag)
{
	command_usage(&set, &wrong);
	buf_byte(&wrong, '\0');
	ck_assert_int_eq(strncmp(wrong.at, "usage: prog COMMAND", 19), 0);
	ck_assert_ptr_nonnull(
		strstr(wrong.at, "\n  call OPERATION [BODY]\n      asks and waits\n"));
	ck_assert_ptr_nonnull(strstr(wrong.at, "\n  --config FILE\n      the config file\n"));
	ck_assert_ptr_nonnull(strstr(wrong.at, "\n  --json\n"));
	ck_assert_ptr_nonnull(strstr(wrong.at, "-h, --help"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon/command");
	TCase *tc = tcase_create("command");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, flags_may_stand_anywhere_and_take_their_value_in_two_ways);
	tcase_add_test(tc, operands_go_to_the_command);
	tcase_add_test(tc, help_and_version_win_over_everything_behind_them);
	tcase_add_loop_test(
		tc, a_mistake_is_told_with_what_would_be_right, 0, (int)ARRAY_COUNT(bad));
	tcase_add_test(tc, a_descriptor_must_be_open);
	tcase_add_test(tc, a_number_is_whole_and_above_0);
	tcase_add_test(tc, usage_names_every_command_and_flag);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
