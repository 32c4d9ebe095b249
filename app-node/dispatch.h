/* dispatch.h - which piece of work may run now: so many at once per operation, one at a time
 * per key, and no web host before its turn.
 *
 * Pure: work goes in, work that may run comes out, and so does what has to give way. Operations
 * take turns; within one the web hosts do, and while several are about each finds a slot soon,
 * whatever the others do. Within one host's share flow.h says who is next.
 * Layer: app-node. Uses: base, contract, flow. Never: a loop, a socket, a clock. Thread: the
 * owner's. */
#ifndef SALLYPORT_NODE_DISPATCH_H
#define SALLYPORT_NODE_DISPATCH_H

#include <stdbool.h>

#include "app-node/flow.h"
#include "contract/contract.h"

RB_HEAD(flows, flow);

/* One per operation of the contract. */
struct lane {
	struct node node; /* in dispatch->open while it has READY work and room to run */
	struct flows flows;
	struct node turns; /* flows with READY work, served in turn */
	struct node seen;  /* all flows, the longest unseen first */
	unsigned seen_count;
	bool is_stored;
	uint64_t limit; /* RUNNING at most */
	uint64_t running;
	uint64_t deadline_us;
	uint64_t typical_us; /* what one run takes, as far as is known; 0: nothing is */
};

struct dispatch_limits {
	unsigned running;        /* of all operations: connections to the handlers */
	unsigned running_of_one; /* of all operations, from one web host */
	unsigned waiting;        /* calls of one operation from one web host */
	size_t waiting_bytes;    /* of all calls of one web host */
};

struct dispatch {
	struct dispatch_limits limits;
	struct lane *lanes;
	unsigned lane_count;
	struct node open;    /* lanes, served in turn */
	struct node surplus; /* works */
	unsigned work_count; /* all that is in */
	unsigned running;
	unsigned stored_running;
};

/* What came in. */
struct demand {
	const struct operation *op; /* of the contract given to dispatch_init() */
	struct origin *origin;
	struct span key;  /* empty: none */
	size_t bytes;     /* of memory that it holds while it waits */
	uint64_t now_us;  /* monotonic */
	uint64_t ends_us; /* when its caller gives up; 0: nobody waits */
};

/* One lane per operation, its limit as the contract says.
 * Takes:   limits, all of them above 0.
 * Returns: ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err dispatch_init(struct dispatch *d, const struct contract *contract,
	const struct dispatch_limits *limits);

/* Nothing may be in any more. A zeroed dispatch is fine. */
void dispatch_fini(struct dispatch *d);

/* Takes:   w is yours and must not move until dispatch_remove(); the key is copied.
 * Returns: ERR_OK, or ERR_NOMEM and w is not in. */
WARN_UNUSED enum err dispatch_add(struct dispatch *d, struct work *w,
	const struct contract *contract, const struct demand *demand);

/* The next work that may run: it is RUNNING now. NULL when there is none. */
struct work *dispatch_next(struct dispatch *d, uint64_t now_us);

/* The next call that has to give way: answer it and remove it. NULL when there is none. */
struct work *dispatch_surplus(struct dispatch *d);

/* When a waiting call is beyond help: it cannot be served in time any more. */
uint64_t dispatch_too_late_us(const struct dispatch *d, const struct work *w);

/* One run of w took so long. */
void dispatch_learn(struct dispatch *d, const struct work *w, uint64_t took_us);

/* RUNNING -> RESTING, and when its rest is over READY again, first of its key, last of its
 * flow. */
void dispatch_rest(struct dispatch *d, struct work *w);
void dispatch_wake(struct dispatch *d, struct work *w);

/* That web host is gone; nothing of its may be in any more. */
void dispatch_forget(struct dispatch *d, const struct origin *origin);

/* Takes w out, whatever its state; the next of its key is READY. */
void dispatch_remove(struct dispatch *d, struct work *w);

#endif
