#include "daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/span.h"
#include "base/text.h"
#include "must.h"

enum { READY_MS = 15000, STOP_MS = 15000, READY_FD = 3, TAIL_BYTES = 2500 };

void must_daemon_init(struct daemon *d, const char *program, const char *folder,
	const char *name, const char *config_text)
{
	*d = (struct daemon){ .program = program, .ready_fd = -1 };
	must_format(d->config, sizeof d->config, "%s/%s.conf", folder, name);
	must_format(d->log, sizeof d->log, "%s/%s.log", folder, name);
	must_daemon_configure(d, config_text);
	must_write_file(d->log, 0600, "");
}

void must_daemon_configure(struct daemon *d, const char *config_text)
{
	must_write_file(d->config, 0600, config_text);
}

/* The end of the log, to be freed, for a failure's sentence. */
static char *log_tail(const struct daemon *d, const char **from)
{
	size_t len = 0;
	char *text = must_read_file(d->log, &len);

	*from = text == NULL ? "" : len > TAIL_BYTES ? text + len - TAIL_BYTES : text;
	return text;
}

static void exec_daemon(const struct daemon *d, int ready_fd, int log_fd)
{
	char path[512];
	int nothing = open("/dev/null", O_RDONLY);
	struct rlimit limit = { .rlim_cur = d->fd_limit, .rlim_max = d->fd_limit };

	if (d->fd_limit > 0 && setrlimit(RLIMIT_NOFILE, &limit) != 0)
		_exit(127);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(nothing, STDIN_FILENO);
	(void)dup2(log_fd, STDOUT_FILENO);
	(void)dup2(log_fd, STDERR_FILENO);
	if (dup2(ready_fd, READY_FD) != READY_FD)
		_exit(127);
	if (ready_fd == READY_FD)
		(void)fcntl(ready_fd, F_SETFD, 0);
	(void)snprintf(path, sizeof path, "%s/%s", test_bin_folder(), d->program);
	(void)execl(path, d->program, "run", "--config", d->config, "--ready-fd", "3",
		(char *)NULL);
	(void)dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

void must_daemon_launch(struct daemon *d)
{
	int ends[2];
	int log_fd = open(d->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	if (d->pid != 0)
		must_fail("%s runs already", d->program);
	if (log_fd < 0 || pipe2(ends, O_CLOEXEC) != 0)
		must_fail("%s: %s", d->log, strerror(errno));
	daemon_skip_log(d);
	d->pid = fork();
	if (d->pid < 0)
		must_fail("fork: %s", strerror(errno));
	if (d->pid == 0)
		exec_daemon(d, ends[1], log_fd);
	(void)close(ends[1]);
	(void)close(log_fd);
	if (d->ready_fd >= 0)
		(void)close(d->ready_fd);
	d->ready_fd = ends[0];
}

bool daemon_becomes_ready(struct daemon *d, uint64_t within_ms)
{
	struct deadline deadline = deadline_in_ms(within_ms);
	char line[8] = "";

	if (d->ready_fd < 0)
		return true;
	if (!must_wait_readable(d->ready_fd, deadline))
		return false;
	if (read(d->ready_fd, line, sizeof line - 1) != 6 || strcmp(line, "ready\n") != 0)
		return false;
	(void)close(d->ready_fd);
	d->ready_fd = -1;
	return true;
}

void must_daemon_start(struct daemon *d)
{
	const char *tail;

	must_daemon_launch(d);
	if (daemon_becomes_ready(d, READY_MS))
		return;
	(void)log_tail(d, &tail);
	must_fail("%s did not get ready; its log ends with:\n%s", d->program, tail);
}

void must_daemon_terminate(struct daemon *d)
{
	if (kill(d->pid, SIGTERM) != 0)
		must_fail("kill %s: %s", d->program, strerror(errno));
}

void must_daemon_reload(struct daemon *d)
{
	if (kill(d->pid, SIGHUP) != 0)
		must_fail("kill %s: %s", d->program, strerror(errno));
}

static void forget(struct daemon *d)
{
	d->pid = 0;
	if (d->ready_fd >= 0)
		(void)close(d->ready_fd);
	d->ready_fd = -1;
}

static int pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		must_fail("pidfd_open: %s", strerror(errno));
	return fd;
}

int must_daemon_end(struct daemon *d, uint64_t within_ms)
{
	const char *tail;
	int status = 0;
	int fd = pidfd(d->pid);
	bool has_ended = must_wait_readable(fd, deadline_in_ms(within_ms));

	(void)close(fd);
	if (!has_ended) {
		(void)log_tail(d, &tail);
		must_fail("%s did not end within %llu ms; its log ends with:\n%s", d->program,
			(unsigned long long)within_ms, tail);
	}
	if (waitpid(d->pid, &status, 0) != d->pid)
		must_fail("waitpid: %s", strerror(errno));
	forget(d);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void must_daemon_stop(struct daemon *d)
{
	const char *tail;

	if (!daemon_runs(d)) {
		(void)log_tail(d, &tail);
		must_fail("%s had ended by itself; its log ends with:\n%s", d->program, tail);
	}
	must_daemon_terminate(d);
	int code = must_daemon_end(d, STOP_MS);

	if (code != 0) {
		(void)log_tail(d, &tail);
		must_fail("%s ended with exit code %d; its log ends with:\n%s", d->program,
			code, tail);
	}
	must_daemon_log_be_clean(d);
}

void must_daemon_kill(struct daemon *d)
{
	if (kill(d->pid, SIGKILL) != 0)
		must_fail("kill %s: %s", d->program, strerror(errno));
	int code = must_daemon_end(d, STOP_MS);

	if (code != 128 + SIGKILL)
		must_fail("%s was not there to be killed: exit code %d", d->program, code);
}

bool daemon_runs(const struct daemon *d)
{
	siginfo_t info = { 0 };

	if (d->pid == 0)
		return false;
	if (waitid(P_PID, (id_t)d->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
		return false;
	return info.si_pid == 0;
}

/* The end of the first line from *text on that contains `wanted`, or NULL. */
static const char *find_line(const char *text, const char *wanted)
{
	const char *found = strstr(text, wanted);

	return found == NULL ? NULL : strchr(found, '\n');
}

bool daemon_has_logged(const struct daemon *d, const char *text)
{
	size_t len = 0;
	char *log = must_read_file(d->log, &len);
	bool has = log != NULL && d->log_mark <= len &&
		   find_line(log + d->log_mark, text) != NULL;

	free(log);
	return has;
}

static bool look(struct daemon *d, const char *text)
{
	size_t len = 0;
	char *log = must_read_file(d->log, &len);
	const char *end = log == NULL || d->log_mark > len ? NULL
							   : find_line(log + d->log_mark, text);

	if (end != NULL)
		d->log_mark = (size_t)(end - log) + 1;
	free(log);
	return end != NULL;
}

void expect_log(struct daemon *d, const char *text, uint64_t within_ms)
{
	struct deadline deadline = deadline_in_ms(within_ms);
	char events[4096];
	const char *tail;
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0 || inotify_add_watch(fd, d->log, IN_MODIFY) < 0)
		must_fail("inotify %s: %s", d->log, strerror(errno));
	while (!look(d, text)) {
		if (!must_wait_readable(fd, deadline)) {
			(void)log_tail(d, &tail);
			must_fail(
				"%s did not log \"%s\" within %llu ms; its log ends with:\n%s",
				d->program, text, (unsigned long long)within_ms, tail);
		}
		while (read(fd, events, sizeof events) > 0)
			;
	}
	(void)close(fd);
}

void daemon_skip_log(struct daemon *d)
{
	size_t len = 0;

	free(must_read_file(d->log, &len));
	d->log_mark = len;
}

void daemon_allow_error(struct daemon *d, const char *text)
{
	if (d->allowed_count == DAEMON_ALLOWED)
		must_fail("more than %d kinds of errors allowed", DAEMON_ALLOWED);
	d->allowed[d->allowed_count++] = text;
}

static bool contains(struct span line, const char *text)
{
	return memmem(line.at, line.len, text, strlen(text)) != NULL;
}

static bool is_allowed(const struct daemon *d, struct span line)
{
	for (unsigned i = 0; i < d->allowed_count; i++) {
		if (contains(line, d->allowed[i]))
			return true;
	}
	return false;
}

void must_daemon_log_be_clean(const struct daemon *d)
{
	size_t len = 0;
	char *log = must_read_file(d->log, &len);
	struct span rest = { .at = log, .len = len };

	while (rest.len != 0) {
		struct span line = text_cut(&rest, '\n');

		if (contains(line, "Sanitizer") || contains(line, "runtime error"))
			must_fail("%s: %s", d->program, line.at);
		if (contains(line, " level=error ") && !is_allowed(d, line))
			must_fail("%s logged an unexpected error: %.*s", d->program,
				SPAN_ARG(line));
	}
	free(log);
}

uint64_t must_daemon_rss_kib(const struct daemon *d)
{
	char path[64];
	uint64_t kib = 0;

	must_format(path, sizeof path, "/proc/%d/status", (int)d->pid);
	char *text = must_read_file(path, NULL);
	const char *line = text == NULL ? NULL : strstr(text, "\nVmRSS:");

	if (line == NULL)
		must_fail("%s has no memory: it has ended", d->program);
	struct span value = span_of(line + strlen("\nVmRSS:"));

	value = text_trim(text_cut(&value, 'k'));
	if (text_parse_u64(value, &kib) != ERR_OK)
		must_fail("VmRSS: \"%.*s\"", SPAN_ARG(value));
	free(text);
	return kib;
}

unsigned must_daemon_fds(const struct daemon *d)
{
	char path[64];
	unsigned count = 0;

	must_format(path, sizeof path, "/proc/%d/fd", (int)d->pid);
	DIR *folder = opendir(path);

	if (folder == NULL)
		must_fail("%s: %s", path, strerror(errno));
	for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
		count += entry->d_name[0] != '.';
	(void)closedir(folder);
	return count;
}

void must_daemon_fds_fall(const struct daemon *d, unsigned most, uint64_t within_ms)
{
	struct deadline deadline = deadline_in_ms(within_ms);
	unsigned fds;

	while ((fds = must_daemon_fds(d)) > most) {
		if (deadline_has_passed(deadline))
			must_fail("%s has %u file descriptors, not at most %u, after %llu ms",
				d->program, fds, most, (unsigned long long)within_ms);
		must_pause();
	}
}
