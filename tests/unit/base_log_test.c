/* Log lines as a supervisor sees them, and the last line of a bug. */
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
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

/* How the log may stand when nobody reads it. */
enum { NOT_SETTLED = 0, SETTLED, NWAYS };
enum reader { PIPE = 0, SOCKET, TERMINAL, NREADERS };

/* Standard error becomes one end, the other is returned. */
static int capture_by(enum reader reader)
{
	int ends[2] = { -1, -1 };
	struct termios raw;

	switch (reader) {
	case PIPE:
		ck_assert_int_eq(pipe(ends), 0);
		break;
	case SOCKET:
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		break;
	case TERMINAL:
		ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
		ck_assert_int_ge(ends[0], 0);
		ck_assert_int_eq(grantpt(ends[0]), 0);
		ck_assert_int_eq(unlockpt(ends[0]), 0);
		ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY);
		ck_assert_int_eq(tcgetattr(ends[1], &raw), 0);
		cfmakeraw(&raw);
		ck_assert_int_eq(tcsetattr(ends[1], TCSANOW, &raw), 0);
		break;
	case NREADERS:
		break;
	}
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	close(ends[1]);
	return ends[0];
}

/* All that is there, to be freed. */
static char *read_all(int fd)
{
	enum { MOST = 4 * 1024 * 1024 };
	char *text = malloc(MOST);
	size_t len = 0;
	ssize_t got;

	ck_assert_ptr_nonnull(text);
	while ((got = read(fd, text + len, MOST - 1 - len)) > 0)
		len += (size_t)got;
	text[len] = '\0';
	return text;
}

/* What the lines that tell of lost ones add up to. */
static uint64_t told(const char *text)
{
	static const char event[] = "event=log-lines-lost count=";
	uint64_t sum = 0;

	for (const char *at = strstr(text, event); at != NULL; at = strstr(at + 1, event))
		sum += strtoull(at + sizeof(event) - 1, NULL, 10);
	return sum;
}

/* With the bug this hangs, and the test's time limit says so. */
START_TEST(a_line_that_nobody_reads_is_dropped_and_counted_and_the_next_one_says_so)
{
	enum { LINES = 20000 };
	int fd = capture_by((enum reader)(_i / NWAYS));
	uint64_t before = *log_lost();

	log_open("testing", LOG_INFO);
	if (_i % NWAYS == SETTLED)
		log_settle();
	for (int i = 0; i < LINES; i++)
		log_info("event=x n=%d padding=%0200d", i, 0);
	uint64_t lost = *log_lost() - before;

	ck_assert_uint_gt(lost, 0);
	ck_assert_uint_lt(lost, LINES);
	ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
	/* A terminal makes room now and then by itself. */
	char *text = read_all(fd);
	uint64_t sum = told(text);

	ck_assert_ptr_nonnull(strstr(text, " n=0 "));
	free(text);
	log_info("event=y");
	text = read_all(fd);
	ck_assert_uint_eq(sum + told(text), lost);
	ck_assert_ptr_nonnull(strstr(text, "event=y\n"));
	free(text);
	log_info("event=z");
	text = read_all(fd);
	ck_assert_uint_eq(told(text), 0);
	ck_assert_ptr_nonnull(strstr(text, "event=z\n"));
	free(text);
	log_unsettle();
	close(fd);
}
END_TEST

/* RLIMIT_FSIZE ends a write in its middle, as a disk does that fills up. */
START_TEST(a_line_that_the_disk_cut_short_does_not_run_into_the_next)
{
	char path[] = "/tmp/sallyport-log-XXXXXX";
	int fd = mkstemp(path);
	struct rlimit limit = { .rlim_cur = 40, .rlim_max = RLIM_INFINITY };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
	log_open("testing", LOG_INFO);
	log_settle();
	ck_assert_int_eq(sigaction(SIGXFSZ, &ignore, NULL), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	log_info("event=first");
	log_info("event=second");
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	log_info("event=third");
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	char *text = read_all(fd);

	ck_assert_uint_eq(strcspn(text, "\n"), 40);
	ck_assert_int_eq(strncmp(text + 40, "\nt=", 3), 0);
	ck_assert_ptr_nonnull(strstr(text, "event=log-lines-lost count=2\nt="));
	ck_assert_ptr_nonnull(strstr(text, "event=third\n"));
	free(text);
	log_unsettle();
	close(fd);
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
	tcase_add_loop_test(tc,
		a_line_that_nobody_reads_is_dropped_and_counted_and_the_next_one_says_so, 0,
		NREADERS * NWAYS);
	tcase_add_test(tc, a_line_that_the_disk_cut_short_does_not_run_into_the_next);
	tcase_add_test(tc, levels_have_names);
	tcase_add_test_raise_signal(tc, a_bug_ends_the_process, SIGABRT);
	tcase_add_test(tc, what_holds_is_no_bug);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
