#include "base/hist.h"

enum { STEP_BITS = 5 };

/* Values below 2 * HIST_STEPS have a slot each; above, each power of two has HIST_STEPS slots.
 */
static size_t slot_of(uint64_t us)
{
	if (us < 2 * HIST_STEPS)
		return (size_t)us;
	int top = 63 - __builtin_clzll(us);
	int shift = top - STEP_BITS;
	size_t slot = (size_t)(shift + 1) * HIST_STEPS + (size_t)((us >> shift) - HIST_STEPS);

	return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

/* The largest value that falls into the slot. */
static uint64_t slot_top_us(size_t slot)
{
	if (slot < 2 * HIST_STEPS)
		return slot;
	int shift = (int)(slot / HIST_STEPS) - 1;

	return ((uint64_t)(slot % HIST_STEPS + HIST_STEPS + 1) << shift) - 1;
}

void hist_init(struct hist *h)
{
	*h = (struct hist){ 0 };
}

void hist_add(struct hist *h, uint64_t us)
{
	h->slot[slot_of(us)]++;
	h->count++;
	h->sum_us += us;
	if (us > h->max_us)
		h->max_us = us;
}

uint64_t hist_quantile_us(const struct hist *h, double part)
{
	if (h->count == 0)
		return 0;
	uint64_t rank = (uint64_t)(part * (double)h->count + 0.5);

	if (rank == 0)
		rank = 1;
	if (rank >= h->count)
		return h->max_us;
	uint64_t seen = 0;

	for (size_t i = 0; i < HIST_SLOTS; i++) {
		seen += h->slot[i];
		if (seen >= rank)
			return slot_top_us(i) < h->max_us ? slot_top_us(i) : h->max_us;
	}
	return h->max_us;
}

uint64_t hist_count_up_to(const struct hist *h, uint64_t us)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < HIST_SLOTS && slot_top_us(i) <= us; i++)
		seen += h->slot[i];
	return seen;
}
