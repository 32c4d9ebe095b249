/* dispatch.h - which piece of work may run now: so many at once per operation, one at a time
 * per key.
 *
 * Pure: work goes in, work that may run comes out. The order of one key is the order of
 * admission, retries included: who rests keeps the place at the head, and those behind wait;
 * other keys go on. Operations take turns, and within one the work that could run longest runs
 * first, so that nothing starves.
 * Layer: app-node. Uses: base, contract. Never: a loop, a socket. Thread: the owner's. */
#ifndef SALLYPORT_NODE_DISPATCH_H
#define SALLYPORT_NODE_DISPATCH_H

#include <uv/tree.h>

#include "base/list.h"
#include "base/span.h"
#include "contract/contract.h"

/*           +----------------------- rest over ----------------------+
 *           v                                                        |
 *  (in) -> READY -> RUNNING -> (out)    RUNNING -- has to rest -> RESTING -> (out)
 *    \       ^
 *     +-> BEHIND   another one of the same key is ahead                      */
enum work_state {
	WORK_OUT = 0,
	WORK_BEHIND,
	WORK_READY,
	WORK_RUNNING,
	WORK_RESTING,
};

struct chain;

/* Lives in its owner. */
struct work {
	struct node queued;  /* READY: in its lane */
	struct node chained; /* in its key's chain, unless it has no key */
	enum work_state state;
	unsigned lane;       /* index of the operation */
	struct chain *chain; /* NULL: no key, no order */
};

/* One per operation of the contract. */
struct lane {
	struct node node; /* in dispatch->open while it has READY work and room to run */
	struct node ready;
	uint64_t limit; /* RUNNING at most */
	uint64_t running;
};

RB_HEAD(chains, chain);

struct dispatch {
	struct lane *lanes;
	unsigned lane_count;
	struct node open; /* lanes, served in turn */
	struct chains chains;
	unsigned work_count; /* all that is in */
	unsigned running;
};

/* One lane per operation, limits as the contract says. Returns ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err dispatch_init(struct dispatch *d, const struct contract *contract);

/* Nothing may be in any more. A zeroed dispatch is fine. */
void dispatch_fini(struct dispatch *d);

/* Takes: op of the contract given to dispatch_init(); key is copied, empty = none.
 * Returns: ERR_OK, or ERR_NOMEM and w is not in. */
WARN_UNUSED enum err dispatch_add(struct dispatch *d, struct work *w,
	const struct contract *contract, const struct operation *op, struct span key);

/* The next work that may run: it is RUNNING now. NULL when there is none. */
struct work *dispatch_next(struct dispatch *d);

/* RUNNING -> RESTING, and when its rest is over READY again, first of its key, last of its
 * lane. */
void dispatch_rest(struct dispatch *d, struct work *w);
void dispatch_wake(struct dispatch *d, struct work *w);

/* Takes w out, whatever its state; the next of its key is READY. */
void dispatch_remove(struct dispatch *d, struct work *w);

#endif
