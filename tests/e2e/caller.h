/* caller.h - threads that call without a pause, each on a keep-alive connection, and count what
 * they are answered.
 *
 * Layer: tests. Uses: testlib, pthread. Thread: functions belong to the test's own. */
#ifndef SALLYPORT_E2E_CALLER_H
#define SALLYPORT_E2E_CALLER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CALLER_MAX_STATUS = 600, CALLER_MAX_THREADS = 64 };

struct caller;

struct caller_thread {
	struct caller *caller;
	unsigned index;
	pthread_t thread;
	uint64_t by_status[CALLER_MAX_STATUS];
	uint64_t broken;  /* connections that ended without an answer */
	uint64_t strange; /* answers 200 with somebody else's body */
	uint64_t slowest_us;
	uint64_t calls;
};

/* What all threads together were answered. */
struct caller_sum {
	uint64_t calls;
	uint64_t fine;   /* 200 or 202 */
	uint64_t others; /* any other status */
	uint64_t broken;
	uint64_t strange;
	uint64_t slowest_us;
	uint64_t by_status[CALLER_MAX_STATUS];
};

struct caller {
	const char *socket_path; /* borrowed, like path */
	const char *path;        /* /v1/call/quote.price */
	uint64_t most;           /* requests of each thread, 0 = until it is stopped */
	uint64_t pause_us;       /* between two requests */
	atomic_bool is_stopping;
	atomic_uint_fast64_t answered; /* so far, by all */
	unsigned thread_count;
	struct caller_thread threads[CALLER_MAX_THREADS];
};

/* Each request's body names its thread and number, so that an echo can be told from another's.
 */
void must_caller_start(struct caller *c, const char *socket_path, const char *path,
	unsigned threads, uint64_t most, uint64_t pause_us);

/* Waits until each thread has had its share. */
void caller_finish(struct caller *c, struct caller_sum *out);

/* Ends it after the requests under way. */
void caller_stop(struct caller *c, struct caller_sum *out);

/* Everything was answered 200 or 202, each with its own. Says how many of what otherwise. */
void expect_all_fine(const struct caller_sum *sum);

#endif
