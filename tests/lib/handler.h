/* handler.h - the back end of a test: an HTTP worker on a Unix socket that does what the test
 * tells it to, and remembers what it was asked.
 *
 * Runs in threads of the test's process; each connection has its own.
 * Layer: tests. Uses: must, pthread. Thread: functions belong to the test's own. */
#ifndef SALLYPORT_TEST_HANDLER_H
#define SALLYPORT_TEST_HANDLER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

enum {
	HANDLER_RULES = 16,
	HANDLER_REQUESTS = 100000, /* remembered; more are only counted */
	HANDLER_BODY_KEPT = 256,   /* bytes of a body that are remembered */
	HANDLER_CONNECTIONS = 256,
};

/* What to do with a request once it is in. */
enum handler_act {
	HANDLER_ECHO = 0, /* 200 and its own body */
	HANDLER_ANSWER,   /* rule.status and rule.body */
	HANDLER_HOLD,     /* nothing, until handler_release(): then as HANDLER_ANSWER */
	HANDLER_CLOSE,    /* closes the connection without a byte */
	HANDLER_HALF,     /* the beginning of an answer, then closes */
	HANDLER_GARBAGE,  /* bytes that are no HTTP */
	HANDLER_HUGE,     /* 200 and a body of rule.huge_bytes */
};

struct handler_rule {
	char op[64]; /* "" = every operation without a rule of its own */
	enum handler_act act;
	int status;
	const char *body;    /* borrowed; NULL = "{}" */
	const char *headers; /* borrowed "Name: value\r\n" lines, or NULL */
	size_t huge_bytes;
};

struct handler_request {
	char op[64];
	char id[40];         /* Sallyport-Id */
	char host[48];       /* Sallyport-Host */
	char key[136];       /* Sallyport-Key */
	int64_t attempt;     /* Sallyport-Attempt, -1 = missing */
	int64_t deadline_ms; /* Sallyport-Deadline-Ms, -1 = missing */
	char body[HANDLER_BODY_KEPT + 1];
	size_t body_len;
};

struct handler {
	char socket_path[128];
	char url[144]; /* for `handlers =` */
	int listen_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t changed;
	struct handler_rule rules[HANDLER_RULES];
	unsigned rule_count;
	struct handler_request *requests; /* HANDLER_REQUESTS */
	unsigned request_count;           /* in all */
	unsigned held;                    /* waiting for a release right now */
	unsigned releases;                /* so many of those may go on */
	bool is_stopping;
	int fds[HANDLER_CONNECTIONS]; /* open connections, -1 = free */
	unsigned thread_count;
};

/* Listens on <folder>/<name>.sock; echoes everything. */
void must_handler_start(struct handler *h, const char *folder, const char *name);

/* Closes everything and waits for its threads. A zeroed handler is fine. */
void handler_stop(struct handler *h);

/* From now on; replaces the rule of the same operation. */
void handler_set_rule(struct handler *h, const struct handler_rule *rule);

/* Lets `count` held requests be answered, or as many as come to be held. */
void handler_release(struct handler *h, unsigned count);

/* Waits until so many requests have come in all. Fails when the time is over. */
void must_handler_get(struct handler *h, unsigned count, uint64_t within_ms);

/* Waits until so many are held. */
void must_handler_hold(struct handler *h, unsigned count, uint64_t within_ms);

unsigned handler_count(struct handler *h);

/* Connections that are open right now. */
unsigned handler_connections(struct handler *h);

/* The request number `index` from 0, as it came. */
void must_handler_request(struct handler *h, unsigned index, struct handler_request *out);

/* How many different ids the remembered requests of an operation have. */
unsigned handler_distinct_ids(struct handler *h, const char *op);

/* Waits until they are at least so many. */
void must_handler_distinct(
	struct handler *h, const char *op, unsigned count, uint64_t within_ms);

#endif
