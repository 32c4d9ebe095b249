/* clock.h - the two clocks: monotonic for what waits, wall for what is written down.
 *
 * Layer: base. Uses: libc. Thread: any. */
#ifndef SALLYPORT_BASE_CLOCK_H
#define SALLYPORT_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC: never goes back, means nothing outside this machine. */
uint64_t clock_mono_us(void);

/* CLOCK_REALTIME since 1970-01-01 UTC; may jump. */
uint64_t clock_unix_us(void);

static inline uint64_t clock_unix_ms(void)
{
	return clock_unix_us() / 1000;
}

#endif
