/* timer.h - timers that stop at once and need no closing: a tree of due times over one
 * uv_timer_t.
 *
 * A call has a deadline, a publish a confirm time-out: many, short-lived, mostly cancelled.
 * These live inside their owner, who may free them right after timer_cancel().
 * Layer: loop. Uses: base, libuv. Thread: the loop's. */
#ifndef SALLYPORT_LOOP_TIMER_H
#define SALLYPORT_LOOP_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"

typedef void (*timer_fn)(struct timer *timer);

struct timer {
	RB_ENTRY(timer) entry;
	struct loop *loop;
	timer_fn fn;
	uint64_t due_at_ms; /* loop clock */
	uint64_t seq;       /* equal due times fire in the order they were set */
	bool is_set;
};

/* fn fires on the loop thread, never from inside timer_after(); it is the last touch of the
 * timer, which may be set again or freed inside. */
void timer_init(struct timer *t, struct loop *l, timer_fn fn);

/* Sets or sets anew: due `ms` from now, and never early. */
void timer_after(struct timer *t, uint64_t ms);

/* Harmless when not set, or on a zeroed timer. */
void timer_cancel(struct timer *t);

#endif
