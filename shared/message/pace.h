/* pace.h - how many publishes of a stored lane may be on their way at once, and when none may.
 *
 * The window doubles while confirms come, up to where it was last found too wide, then widens one
 * by one. It is halved when calls grow slow, for a drain takes the machine from them. When the
 * far queue is full it is closed for a while, and opens again with one.
 * Pure. Layer: message. Uses: base. Never: a clock. Thread: the owner's. */
#ifndef SALLYPORT_MESSAGE_PACE_H
#define SALLYPORT_MESSAGE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/backoff.h"

struct pace {
	unsigned window;
	unsigned max;
	unsigned threshold; /* up to here it doubles */
	unsigned credit;    /* confirms towards one more */
	bool calls_are_slow;
	uint64_t narrowed_at_us;
	uint64_t resume_at_us; /* nothing goes before */
	struct backoff full;
	struct backoff unroutable;
};

/* Takes: max, at least 1. It begins with the whole of it. */
void pace_init(struct pace *p, unsigned max);

/* A publish was confirmed. */
void pace_confirmed(struct pace *p, uint64_t now_us);

/* The queue would not take one: `random` is any 64 random bits. Of what was on its way together
 * only the first refusal counts. */
void pace_refused(struct pace *p, uint64_t now_us, uint64_t random);

/* No queue would: the topology is not there. */
void pace_unroutable(struct pace *p, uint64_t now_us, uint64_t random);

/* One did not get as far as the network: nothing goes for a moment, the window stays. */
void pace_choked(struct pace *p, uint64_t now_us);

/* Calls take longer than they should: tell it as often as it is noticed. */
void pace_slow(struct pace *p, uint64_t now_us);

/* They do not any more. */
void pace_fast(struct pace *p);

/* A new link: nothing is known against it. */
void pace_restart(struct pace *p);

/* May one more go, when so many are on their way? */
bool pace_allows(const struct pace *p, unsigned flying, uint64_t now_us);

#endif
