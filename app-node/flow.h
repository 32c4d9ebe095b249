/* flow.h - the work of one operation from one web host: in which order it may run, and which of
 * it gives way when there is too much.
 *
 * Stored work waits as long as it takes: oldest first, one at a time per key, retries included.
 * A call is of use to its caller for some milliseconds. The oldest goes first as long as all
 * come to their turn in good time; once the oldest has waited half of its time, the newest goes
 * first, for it has the most time left, and a slot is never spent on an answer that comes too
 * late. Calls that cannot be served in the time left are surplus: to be refused at once.
 * Pure. Layer: app-node. Uses: base. Never: a loop, a socket, a clock. Thread: the owner's. */
#ifndef SALLYPORT_NODE_FLOW_H
#define SALLYPORT_NODE_FLOW_H

#include <stddef.h>
#include <stdint.h>
#include <uv/tree.h>

#include "base/err.h"
#include "base/list.h"
#include "base/macro.h"
#include "base/span.h"

/*           +----------------------- rest over ----------------------+
 *           v                                                        |
 *  (in) -> READY -> RUNNING -> (out)    RUNNING -- has to rest -> RESTING -> (out)
 *    \      ^  \
 *     \     |   +-> SURPLUS -> (out)   a call that gives way
 *      +-> BEHIND   another one of the same key is ahead                      */
enum work_state {
	WORK_OUT = 0,
	WORK_BEHIND,
	WORK_READY,
	WORK_RUNNING,
	WORK_RESTING,
	WORK_SURPLUS,
};

struct chain;
struct flow;

/* Lives in its owner. */
struct work {
	struct node queued;  /* READY: in its flow; SURPLUS: with the others that give way */
	struct node chained; /* in its key's chain, unless it has no key */
	enum work_state state;
	struct flow *flow;
	struct chain *chain; /* NULL: no key, no order */
	size_t bytes;        /* what it holds while it waits */
	uint64_t came_us;    /* monotonic */
	uint64_t ends_us;    /* monotonic: its caller gives up; 0: nobody waits */
};

/* One web host, whatever the operation. Lives in its owner; zeroed with origin_init(). */
struct origin {
	struct node flows;  /* those with READY work */
	size_t ready_bytes; /* of calls */
	unsigned running;
};

RB_HEAD(chains, chain);

struct flow {
	RB_ENTRY(flow) by_origin; /* in its lane */
	struct node turn;         /* in its lane while it has READY work */
	struct node seen;         /* in its lane, the longest unseen first */
	struct node of_origin;    /* in origin->flows while it has READY work */
	struct origin *origin;
	unsigned lane; /* index of the operation */
	struct node ready;
	struct chains chains;
	unsigned work_count; /* all that is in */
	unsigned ready_count;
	size_t ready_bytes;
	unsigned running;
	uint64_t seen_us; /* monotonic: the last work came, or more still waits */
};

void origin_init(struct origin *o);

void flow_init(struct flow *f, struct origin *origin, unsigned lane);

/* Takes w in; it is READY, or BEHIND.
 * Takes:   w's bytes, came_us and ends_us are filled in; key is copied, empty = none.
 * Returns: ERR_OK, or ERR_NOMEM and w is not in. */
WARN_UNUSED enum err flow_add(struct flow *f, struct work *w, struct span key);

/* The work that should run next if typical_us is what one run takes; NULL: none is READY. Calls
 * that cannot be served any more move to `surplus`. */
struct work *flow_next(
	struct flow *f, uint64_t now_us, uint64_t typical_us, struct node *surplus);

/* READY -> RUNNING, RUNNING -> RESTING -> READY, READY -> SURPLUS. */
void flow_run(struct flow *f, struct work *w);
void flow_rest(struct flow *f, struct work *w);
void flow_wake(struct flow *f, struct work *w);
void flow_give_way(struct flow *f, struct work *w, struct node *surplus);

/* Takes w out, whatever its state; the next of its key is READY. */
void flow_remove(struct flow *f, struct work *w);

/* When it is too late to begin with w: what one run takes before its end, yet never more than
 * half of its time, for a guess must not refuse what has just come, and never so little that a
 * refusal would come too late itself. UINT64_MAX: never. */
uint64_t flow_too_late_us(const struct work *w, uint64_t typical_us);

/* The READY one that came first; NULL if there is none. */
struct work *flow_oldest(const struct flow *f);

#endif
