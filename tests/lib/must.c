#include "must.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static bool is_in_test;

void must_enter_test(void)
{
	is_in_test = true;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void must_fail(const char *format, ...)
{
	char text[4096];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (is_in_test)
		ck_abort_msg("%s", text);
	(void)fprintf(stderr, "%s\n", text);
	exit(1);
}

struct deadline deadline_in_ms(uint64_t ms)
{
	return (struct deadline){ .at_us = clock_mono_us() + ms * 1000 };
}

int deadline_left_ms(struct deadline d)
{
	uint64_t now_us = clock_mono_us();

	return now_us >= d.at_us ? 0 : (int)((d.at_us - now_us + 999) / 1000);
}

bool deadline_has_passed(struct deadline d)
{
	return clock_mono_us() >= d.at_us;
}

void must_pause(void)
{
	(void)poll(NULL, 0, 10);
}

bool must_wait_readable(int fd, struct deadline d)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };

	for (;;) {
		int count = poll(&wanted, 1, deadline_left_ms(d));

		if (count > 0)
			return true;
		if (count < 0 && errno != EINTR)
			must_fail("poll: %s", strerror(errno));
		if (deadline_has_passed(d))
			return false;
	}
}

char *must_read_file(const char *path, size_t *len_out)
{
	size_t room = 64 * 1024;
	size_t len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return NULL;
	if (fd < 0)
		must_fail("%s: %s", path, strerror(errno));
	char *text = malloc(room + 1);

	for (;;) {
		if (text == NULL)
			must_fail("%s: out of memory", path);
		ssize_t count = read(fd, text + len, room - len);

		if (count < 0)
			must_fail("%s: %s", path, strerror(errno));
		if (count == 0)
			break;
		len += (size_t)count;
		if (len == room) {
			room *= 2;
			text = realloc(text, room + 1);
		}
	}
	(void)close(fd);
	text[len] = '\0';
	if (len_out != NULL)
		*len_out = len;
	return text;
}

void must_write_file(const char *path, mode_t mode, const char *text)
{
	size_t len = strlen(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	if (fd < 0 || fchmod(fd, mode) != 0 || write(fd, text, len) != (ssize_t)len ||
		close(fd) != 0)
		must_fail("%s: %s", path, strerror(errno));
}

void must_make_folder(char *path, size_t room)
{
	const char *base = getenv("TMPDIR");

	if (base == NULL || strlen(base) > 40)
		base = "/tmp";
	must_format(path, room, "%s/sallyport.XXXXXX", base);
	if (mkdtemp(path) == NULL)
		must_fail("%s: %s", path, strerror(errno));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

void must_remove_folder(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
		must_fail("remove %s: %s", path, strerror(errno));
}

void must_format(char *to, size_t room, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int len = vsnprintf(to, room, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= room)
		must_fail("\"%s\" and so on does not fit into %zu bytes", to, room);
}

/* Reads what is there into what room is left; what does not fit is dropped. False at the end.
 */
static bool gather(int fd, char *to, size_t room, size_t *len)
{
	char bytes[4096];
	ssize_t count = read(fd, bytes, sizeof bytes);

	if (count <= 0)
		return count < 0 && errno == EINTR;
	size_t kept = (size_t)count;

	if (kept > room - 1 - *len)
		kept = room - 1 - *len;
	memcpy(to + *len, bytes, kept);
	*len += kept;
	to[*len] = '\0';
	return true;
}

static void exec_command(const char *const *argv, const int *out, const int *err)
{
	int nothing = open("/dev/null", O_RDONLY);

	(void)dup2(nothing, STDIN_FILENO);
	(void)dup2(out[1], STDOUT_FILENO);
	(void)dup2(err[1], STDERR_FILENO);
	(void)execv(argv[0], (char *const *)(uintptr_t)argv);
	(void)dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

void must_run(const char *const *argv, uint64_t within_ms, struct command_result *out)
{
	struct deadline d = deadline_in_ms(within_ms);
	size_t out_len = 0;
	size_t err_len = 0;
	int pipes[2][2];

	*out = (struct command_result){ 0 };
	if (pipe2(pipes[0], O_CLOEXEC) != 0 || pipe2(pipes[1], O_CLOEXEC) != 0)
		must_fail("pipe: %s", strerror(errno));
	pid_t pid = fork();

	if (pid < 0)
		must_fail("fork: %s", strerror(errno));
	if (pid == 0)
		exec_command(argv, pipes[0], pipes[1]);
	(void)close(pipes[0][1]);
	(void)close(pipes[1][1]);
	struct pollfd wanted[2] = {
		{ .fd = pipes[0][0], .events = POLLIN },
		{ .fd = pipes[1][0], .events = POLLIN },
	};

	while (wanted[0].fd >= 0 || wanted[1].fd >= 0) {
		if (deadline_has_passed(d)) {
			(void)kill(pid, SIGKILL);
			must_fail("%s %s did not end within %llu ms: %s", argv[0],
				argv[1] == NULL ? "" : argv[1], (unsigned long long)within_ms,
				out->err);
		}
		if (poll(wanted, 2, deadline_left_ms(d)) <= 0)
			continue;
		if (wanted[0].revents != 0 &&
			!gather(wanted[0].fd, out->out, sizeof out->out, &out_len))
			wanted[0].fd = -1;
		if (wanted[1].revents != 0 &&
			!gather(wanted[1].fd, out->err, sizeof out->err, &err_len))
			wanted[1].fd = -1;
	}
	(void)close(pipes[0][0]);
	(void)close(pipes[1][0]);
	int status = 0;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			must_fail("waitpid: %s", strerror(errno));
	}
	out->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const char *test_source_folder(void)
{
	return TEST_SOURCE_FOLDER;
}

const char *test_bin_folder(void)
{
	const char *asked = getenv("SALLYPORT_BIN");

	return asked != NULL ? asked : TEST_BIN_FOLDER;
}

bool must_is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
	return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
	return false;
#endif
}
