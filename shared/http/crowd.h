/* crowd.h - when there are too many connections: which one gives way. A pure decision.
 *
 * Layer: http. Uses: nothing. Thread: any. */
#ifndef SALLYPORT_HTTP_CROWD_H
#define SALLYPORT_HTTP_CROWD_H

#include <stdbool.h>
#include <stdint.h>

/* A good client needs less from its connect, or from the first byte of a request, to the last
 * byte; less to take its answer; and less until its next request while it is at work. */
enum { CROWD_PATIENCE_MS = 1000, CROWD_SPARED_SHARE = 8 };

/* What a connection is at. */
enum crowd_deed {
	CROWD_LEAVES = 0, /* has had its last answer */
	CROWD_ASKS,       /* has sent no whole request yet */
	CROWD_ASKS_AGAIN, /* was answered, and has sent a part of its next request */
	CROWD_TAKES,      /* is to read an answer */
	CROWD_RESTS,      /* was answered, and sends nothing now */
	CROWD_WAITS,      /* for an answer of ours */
};

/* Who gives way first stands first; the last one never does. */
enum crowd_rank {
	CROWD_LEAVING = 0,
	CROWD_STALLED, /* half a request, or none, for too long */
	CROWD_STUCK,   /* an answer unread for too long */
	CROWD_QUIET,   /* just came, or rests for long: who did so last is the last to go */
	CROWD_AT_WORK, /* was answered, or asks again, just now: spared, see crowd_spares() */
	CROWD_BUSY,
};

struct crowd_member {
	enum crowd_rank rank;
	uint64_t order; /* smaller: has been so for longer */
};

static inline enum crowd_rank crowd_rank(enum crowd_deed deed, uint64_t age_ms)
{
	bool is_old = age_ms >= CROWD_PATIENCE_MS;

	switch (deed) {
	case CROWD_LEAVES:
		return CROWD_LEAVING;
	case CROWD_ASKS:
		return is_old ? CROWD_STALLED : CROWD_QUIET;
	case CROWD_ASKS_AGAIN:
		return is_old ? CROWD_STALLED : CROWD_AT_WORK;
	case CROWD_TAKES:
		return is_old ? CROWD_STUCK : CROWD_BUSY;
	case CROWD_RESTS:
		return is_old ? CROWD_QUIET : CROWD_AT_WORK;
	case CROWD_WAITS:
		break;
	}
	return CROWD_BUSY;
}

/* Strangers cannot push out who is at work, as long as these are few. Are they more, then neither
 * can they keep strangers out: they are like all who are quiet. */
static inline bool crowd_spares(uint64_t at_work_count, uint64_t count)
{
	return at_work_count <= count / CROWD_SPARED_SHARE;
}

/* a goes before b. */
static inline bool crowd_goes_first(struct crowd_member a, struct crowd_member b)
{
	return a.rank != b.rank ? a.rank < b.rank : a.order < b.order;
}

#endif
