/* Log lines as a supervisor sees them, and the last line of a bug. */
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/log.h"
#include "unit/unit.h"

static int pipe_out;

/* From here on standard error is a pipe that captured() reads. */
static void capture(void)
{
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	close(ends[1]);
	pipe_out = ends[0];
}

static const char *captured(void)
{
	static char text[8192];
	ssize_t got = read(pipe_out, text, sizeof(text) - 1);

	text[got < 0 ? 0 : got] = '\0';
	return text;
}

START_TEST(a_line_has_time_level_part_and_what_was_said)
{
	regex_t form;

	ck_assert_int_eq(
		regcomp(&form,
			"^t=20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{6}Z level=warn "
			"part=testing event=x n=7\n$",
			REG_EXTENDED | REG_NOSUB),
		0);
	capture();
	log_open("testing", LOG_INFO);
	errno = EXDEV;
	log_warn("event=%s n=%d", "x", 7);
	ck_assert_int_eq(errno, EXDEV);
	ck_assert_int_eq(regexec(&form, captured(), 0, NULL, 0), 0);
	regfree(&form);
}
END_TEST

START_TEST(what_is_finer_than_wanted_is_not_written)
{
	capture();
	log_open("testing", LOG_WARN);
	ck_assert(log_wants(LOG_ERROR));
	ck_assert(!log_wants(LOG_INFO));
	log_info("event=x");
	log_debug("event=x");
	ck_assert_str_eq(captured(), "");
	log_error("event=x");
	ck_assert_ptr_nonnull(strstr(captured(), "level=error"));
}
END_TEST

/* Lines around the longest: always one line, never more than 2048 bytes, cut at the end. */
START_TEST(a_line_that_is_too_long_is_cut_and_still_one_line)
{
	char text[4000];
	size_t len = (size_t)_i;

	capture();
	memset(text, 'x', len);
	text[len] = '\0';
	log_error("%s", text);
	const char *seen = captured();
	size_t seen_len = strlen(seen);

	ck_assert_uint_le(seen_len, 2048);
	ck_assert_ptr_eq(strchr(seen, '\n'), seen + seen_len - 1);
	if (len < 1900)
		ck_assert_uint_eq(strspn(strstr(seen, "xx"), "x"), len);
	else
		ck_assert_uint_ge(seen_len, 1900);
}
END_TEST

START_TEST(levels_have_names)
{
	enum log_level level;

	ck_assert_int_eq(log_level_parse(LITERAL("debug"), &level), ERR_OK);
	ck_assert_int_eq(level, LOG_DEBUG);
	ck_assert_int_eq(log_level_parse(LITERAL("error"), &level), ERR_OK);
	ck_assert_int_eq(level, LOG_ERROR);
	ck_assert_int_eq(log_level_parse(LITERAL("Error"), &level), ERR_INPUT);
	ck_assert_int_eq(log_level_parse(LITERAL(""), &level), ERR_INPUT);
}
END_TEST

START_TEST(a_bug_ends_the_process)
{
	BUG_ON(1 + 1 == 2);
}
END_TEST

START_TEST(what_holds_is_no_bug)
{
	BUG_ON(1 + 1 == 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/log");
	TCase *tc = tcase_create("log");

	tcase_add_test(tc, a_line_has_time_level_part_and_what_was_said);
	tcase_add_test(tc, what_is_finer_than_wanted_is_not_written);
	tcase_add_loop_test(tc, a_line_that_is_too_long_is_cut_and_still_one_line, 1000, 1003);
	tcase_add_loop_test(tc, a_line_that_is_too_long_is_cut_and_still_one_line, 1960, 2060);
	tcase_add_loop_test(tc, a_line_that_is_too_long_is_cut_and_still_one_line, 3990, 3992);
	tcase_add_test(tc, levels_have_names);
	tcase_add_test_raise_signal(tc, a_bug_ends_the_process, SIGABRT);
	tcase_add_test(tc, what_holds_is_no_bug);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
