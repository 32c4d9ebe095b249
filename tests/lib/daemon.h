/* daemon.h - one of our daemons as a real process: started by its readiness, watched by its
 * log, ended by its exit code.
 *
 * Layer: tests. Uses: must. Thread: the test's. */
#ifndef SALLYPORT_TEST_DAEMON_H
#define SALLYPORT_TEST_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

enum { DAEMON_PATH_MAX = 128, DAEMON_ALLOWED = 8 };

struct daemon {
	const char *program; /* webapp-agent, app-node; borrowed */
	char config[DAEMON_PATH_MAX];
	char log[DAEMON_PATH_MAX];
	pid_t pid;                           /* 0 = does not run */
	int ready_fd;                        /* -1 once it was ready */
	size_t log_mark;                     /* expect_log() looks behind it */
	const char *allowed[DAEMON_ALLOWED]; /* parts of error lines that the test expects */
	unsigned allowed_count;
	unsigned fd_limit; /* descriptors that it may have at its next start; 0: as we */
};

/* Writes <folder>/<name>.conf; nothing runs yet. Texts of program are borrowed. */
void must_daemon_init(struct daemon *d, const char *program, const char *folder,
	const char *name, const char *config_text);

/* Writes the configuration anew, for the next start. */
void must_daemon_configure(struct daemon *d, const char *config_text);

/* Starts it and waits for its readiness. */
void must_daemon_start(struct daemon *d);

/* Starts it and does not wait. */
void must_daemon_launch(struct daemon *d);

/* Is or becomes ready before the deadline. */
bool daemon_becomes_ready(struct daemon *d, uint64_t within_ms);

/* SIGTERM, exit 0 within the time, no unexpected error in its log. */
void must_daemon_stop(struct daemon *d);

/* SIGTERM only. */
void must_daemon_terminate(struct daemon *d);

/* SIGHUP only. */
void must_daemon_reload(struct daemon *d);

/* Waits for its end. Returns the exit code, 128 + signal when killed by one. */
int must_daemon_end(struct daemon *d, uint64_t within_ms);

void must_daemon_kill(struct daemon *d);

/* Runs still: it has neither exited nor been killed. */
bool daemon_runs(const struct daemon *d);

/* Waits for a line that contains the text, behind the one that the last call found. Fails with
 * the log's end when the time is over. */
void expect_log(struct daemon *d, const char *text, uint64_t within_ms);

/* From now on only what is logged later. */
void daemon_skip_log(struct daemon *d);

/* True when a line behind the mark contains the text already. Moves nothing. */
bool daemon_has_logged(const struct daemon *d, const char *text);

/* Error lines with this text (borrowed) do not fail the test. */
void daemon_allow_error(struct daemon *d, const char *text);

/* Fails when the log has a level=error line that was not allowed, or a sanitizer's report. */
void must_daemon_log_be_clean(const struct daemon *d);

/* From /proc. */
uint64_t must_daemon_rss_kib(const struct daemon *d);
unsigned must_daemon_fds(const struct daemon *d);

/* Waits until it has at most so many file descriptors. */
void must_daemon_fds_fall(const struct daemon *d, unsigned most, uint64_t within_ms);

#endif
