/* bench_plan.h - what one round of a measurement does, and when its next request is due.
 *
 * The same plan drives the floor and the daemons, so both are asked in the same way.
 * Layer: tests. Uses: base. */
#ifndef SALLYPORT_BENCH_PLAN_H
#define SALLYPORT_BENCH_PLAN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"

enum { BENCH_MAX_IN_FLIGHT = 1024 };

struct bench_plan {
	uint64_t calls;     /* measured ones */
	uint64_t warmup;    /* before them, not measured */
	uint64_t pace_ms;   /* from one start to the next; 0 = back to back */
	uint64_t most_ms;   /* ends after this long even if calls are left; 0 = never */
	unsigned in_flight; /* requests under way at once, 1..BENCH_MAX_IN_FLIGHT */
	const volatile sig_atomic_t *is_over; /* NULL, or: nothing more begins once it is set */
};

struct bench_result {
	struct hist hist;
	uint64_t took_us; /* the measured part */
	uint64_t errors;  /* what did not get the answer it should */
};

/* Sleeps until the request number `index` of a round that began at start_us is due; at once
 * when the plan is not paced or that moment has passed. */
void bench_pace(const struct bench_plan *plan, uint64_t start_us, uint64_t index);

/* Microseconds from now until that request is due, 0 when it is. */
uint64_t bench_pace_left_us(const struct bench_plan *plan, uint64_t start_us, uint64_t index);

bool bench_time_is_up(const struct bench_plan *plan, uint64_t start_us);

double bench_per_second(const struct bench_result *result);

#endif
