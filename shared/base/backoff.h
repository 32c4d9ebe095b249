/* backoff.h - how long to wait before the next try: doubling, capped, with full jitter.
 *
 * The wait is drawn evenly from [first_ms, ceiling), the ceiling doubling with every failure,
 * so a hundred daemons that lost one broker do not come back in step.
 * Layer: base. Uses: libc. */
#ifndef SALLYPORT_BASE_BACKOFF_H
#define SALLYPORT_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint64_t first_ms;   /* the shortest wait */
	uint64_t longest_ms; /* no ceiling above this */
	uint64_t ceiling_ms; /* of the next wait */
};

void backoff_init(struct backoff *b, uint64_t first_ms, uint64_t longest_ms);

/* After a success: the next wait is a first one again. */
void backoff_reset(struct backoff *b);

/* The next wait in milliseconds, first_ms <= wait <= longest_ms. `random` is any 64 random
 * bits. */
uint64_t backoff_next_ms(struct backoff *b, uint64_t random);

#endif
