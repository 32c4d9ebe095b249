/* must.h - what every test needs to say: this must hold now, or the test has failed.
 *
 * must_… functions end the test with a sentence when they cannot do what they are called. They
 * belong to the test's own thread; helpers that run in others keep a text for it instead.
 * Layer: tests. Uses: base, check. */
#ifndef SALLYPORT_TEST_MUST_H
#define SALLYPORT_TEST_MUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

/* Ends the test; outside a test (see must_enter_test) the program, exit 1. */
NORETURN void must_fail(const char *format, ...) PRINTF_LIKE(1, 2);

/* From here on failures are check's business. Also: this process dies with its parent. */
void must_enter_test(void);

/* A moment to wait for, on the monotonic clock. */
struct deadline {
	uint64_t at_us;
};

struct deadline deadline_in_ms(uint64_t ms);

/* For poll(2): milliseconds left, rounded up, 0 when it has passed. */
int deadline_left_ms(struct deadline d);

bool deadline_has_passed(struct deadline d);

/* A few milliseconds between two looks at a thing that tells nobody when it changes. Only in
 * loops with a deadline. */
void must_pause(void);

/* Waits until fd is readable (or closed by the other side). False when the deadline passed. */
bool must_wait_readable(int fd, struct deadline d);

/* The whole file, NUL-terminated, to be freed; NULL when it does not exist. */
char *must_read_file(const char *path, size_t *len_out);
void must_write_file(const char *path, mode_t mode, const char *text);

/* A new folder with a short path, so that sockets fit into it. */
void must_make_folder(char *path, size_t room);

/* The folder and everything in it; no error when it is not there. */
void must_remove_folder(const char *path);

/* snprintf that has to fit. */
void must_format(char *to, size_t room, const char *format, ...) PRINTF_LIKE(3, 4);

struct command_result {
	int exit_code; /* 128 + signal when killed by one */
	char out[32 * 1024];
	char err[8 * 1024];
};

/* Runs a program (argv[0] is its path, the list ends with NULL) and waits for its end.
 * What it prints beyond the room is cut. Must end before the deadline. */
void must_run(const char *const *argv, uint64_t within_ms, struct command_result *out);

/* The folder of the sources, and that of the built programs (SALLYPORT_BIN overrides it). */
const char *test_source_folder(void);
const char *test_bin_folder(void);

/* Built with a sanitizer: memory is kept for a while after it was freed, times are longer. */
bool must_is_sanitized(void);

#endif
