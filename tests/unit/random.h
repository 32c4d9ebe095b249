/* random.h - numbers that look random and are the same in every run.
 *
 * Layer: tests. Uses: libc. */
#ifndef SALLYPORT_TESTS_UNIT_RANDOM_H
#define SALLYPORT_TESTS_UNIT_RANDOM_H

#include <stdint.h>

/* The next number after *state (xorshift64), which it becomes. It must not be 0. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
