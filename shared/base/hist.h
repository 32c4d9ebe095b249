/* hist.h - a histogram of durations in microseconds, log-linear, at most 3 % off per value.
 *
 * 32 linear steps per power of two, from 1 us to about 71 minutes; beyond that it saturates.
 * Layer: base. Uses: libc. Thread: the owner's. */
#ifndef SALLYPORT_BASE_HIST_H
#define SALLYPORT_BASE_HIST_H

#include <stddef.h>
#include <stdint.h>

enum { HIST_STEPS = 32, HIST_SLOTS = 28 * HIST_STEPS };

struct hist {
	uint64_t slot[HIST_SLOTS];
	uint64_t count;
	uint64_t sum_us;
	uint64_t max_us;
};

void hist_init(struct hist *h);
void hist_add(struct hist *h, uint64_t us);

/* The value below or at which `part` (0..1) of all values lie, 0 when empty. */
uint64_t hist_quantile_us(const struct hist *h, double part);

/* How many values are <= us, to the resolution of a slot. */
uint64_t hist_count_up_to(const struct hist *h, uint64_t us);

#endif
