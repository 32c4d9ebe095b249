/* proxy.h - a bad network between a daemon and its broker: a TCP proxy on 127.0.0.1 that can
 * delay, trickle, swallow, cut and reset.
 *
 * Runs in a thread of the test's process. TLS goes through untouched.
 * Layer: tests. Uses: must, pthread. Thread: functions belong to the test's own. */
#ifndef SALLYPORT_TEST_PROXY_H
#define SALLYPORT_TEST_PROXY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"

enum { PROXY_CONNECTIONS = 32 };

enum proxy_mode {
	PROXY_PASS = 0,   /* a good network */
	PROXY_DELAY,      /* every byte arrives that much later */
	PROXY_TRICKLE,    /* so many bytes a millisecond each way, in pieces of one */
	PROXY_BLACK_HOLE, /* takes everything, delivers nothing, closes nothing */
};

struct proxy_tunnel;

struct proxy {
	uint16_t port; /* where to connect */
	int listen_fd;
	int wake[2];
	pthread_t thread;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t changed;
	uint16_t target;
	enum proxy_mode mode;
	uint64_t delay_ms;
	unsigned bytes_per_ms;
	bool is_refusing; /* new connections are closed at once */
	bool is_stopping;
	enum proxy_end { PROXY_END_NOT = 0, PROXY_END_CUT, PROXY_END_RESET } ending;
	unsigned accepted; /* connections in all */
	unsigned open;
	struct proxy_tunnel *tunnels[PROXY_CONNECTIONS]; /* the thread's own */
};

/* Listens on a free port of 127.0.0.1 and passes on to `target` there. */
void must_proxy_start(struct proxy *p, uint16_t target);

/* A zeroed proxy is fine. */
void proxy_stop(struct proxy *p);

/* For the bytes that come from now on. */
void proxy_pass(struct proxy *p);
void proxy_delay(struct proxy *p, uint64_t ms);
void proxy_trickle(struct proxy *p, unsigned bytes_per_ms);
void proxy_swallow(struct proxy *p);

/* Ends all connections, in order (FIN) or not (RST). Returns when it is done. */
void proxy_cut(struct proxy *p);
void proxy_reset(struct proxy *p);

/* New connections are closed at once, or no longer. */
void proxy_refuse(struct proxy *p);
void proxy_admit(struct proxy *p);

/* Waits until so many connections have been made in all. */
void must_proxy_accept(struct proxy *p, unsigned count, uint64_t within_ms);

#endif
