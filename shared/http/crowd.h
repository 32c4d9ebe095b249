/* crowd.h - when there are too many connections: which one gives way. A pure decision.
 *
 * Layer: http. Uses: nothing. Thread: any. */
#ifndef SALLYPORT_HTTP_CROWD_H
#define SALLYPORT_HTTP_CROWD_H

#include <stdbool.h>
#include <stdint.h>

/* Who gives way first stands first; the last one never does. */
enum crowd_rank {
	CROWD_STRANGER = 0, /* never sent a whole request */
	CROWD_STUCK,        /* leaves its answer unread */
	CROWD_IDLE,         /* did, and sends nothing whole now */
	CROWD_BUSY,         /* is being answered */
};

struct crowd_member {
	enum crowd_rank rank;
	uint64_t since_ms; /* loop clock: when it came to be so */
};

/* a goes before b. Within a rank the older one goes. */
static inline bool crowd_goes_first(struct crowd_member a, struct crowd_member b)
{
	return a.rank != b.rank ? a.rank < b.rank : a.since_ms < b.since_ms;
}

#endif
