/* proxy.h - a bad network between a daemon and its broker, in a thread of the test's process.
 *
 * What it can do to the bytes is told in order.h and done by network.h.
 * Layer: tests. Uses: must, fault, pthread. Thread: functions belong to the test's own. */
#ifndef SALLYPORT_TEST_PROXY_H
#define SALLYPORT_TEST_PROXY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "network.h"

struct proxy {
	uint16_t port; /* where to connect */
	uv_loop_t loop;
	uv_async_t wake;
	pthread_t thread;
	struct network network; /* the thread's own */
	pthread_mutex_t lock;   /* guards everything below */
	pthread_cond_t changed;
	bool has_order;
	struct order order;
	bool is_stopping;
	uint64_t accepted_count; /* as the network's */
	uint64_t fired_count;
	unsigned open_count;
};

/* Listens on a free port of 127.0.0.1 and passes on to `target` there. */
void must_proxy_start(struct proxy *p, uint16_t target);

/* A zeroed proxy is fine. */
void proxy_stop(struct proxy *p);

/* Any order, as order.h has it: "cut up 100". Returns when it is carried out; connections that
 * it ends are closed then. */
void must_proxy(struct proxy *p, const char *order);

/* The same for those that are needed most. */
void proxy_pass(struct proxy *p);
void proxy_delay(struct proxy *p, uint64_t ms);
void proxy_trickle(struct proxy *p, unsigned bytes_per_ms);
void proxy_swallow(struct proxy *p);
void proxy_cut(struct proxy *p);
void proxy_reset(struct proxy *p);
void proxy_refuse(struct proxy *p);
void proxy_admit(struct proxy *p);

/* Waits until so many connections have been made in all. */
void must_proxy_accept(struct proxy *p, unsigned count, uint64_t within_ms);

/* Waits until what waits for byte N has happened so often in all. */
void must_proxy_fire(struct proxy *p, unsigned count, uint64_t within_ms);

#endif
