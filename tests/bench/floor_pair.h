/* floor_pair.h - two bare rabbitmq-c processes that do the round trip of a call through the
 * topology of a crossing: the floor nobody gets below with this broker and this TLS.
 *
 * The caller publishes into x.forapp/call and takes answers from FORWEB.reply; the responder, a
 * forked process, takes from FORAPP.call and publishes into x.forweb/reply. Transient messages,
 * manual acknowledgement. Nobody else may use that crossing meanwhile.
 * Layer: tests. Uses: base, bench_amqp. */
#ifndef SALLYPORT_FLOOR_PAIR_H
#define SALLYPORT_FLOOR_PAIR_H

#include <sys/types.h>

#include "bench_amqp.h"
#include "bench_plan.h"

enum floor_links {
	FLOOR_ONE_LINK = 1,  /* each process publishes and consumes on one connection */
	FLOOR_TWO_LINKS = 2, /* one connection for each direction, as the daemons have it */
};

struct floor_config {
	struct bench_broker broker;
	struct bench_identity web;
	struct bench_identity app;
	size_t body_bytes;
	enum floor_links links;
};

/* What one process holds: with one link, `out` and `in` are the same connection. */
struct floor_side {
	struct bench_link link[2];
	struct bench_link *out;
	struct bench_link *in;
};

struct floor_pair {
	struct floor_config config;
	struct floor_side caller;
	pid_t responder; /* 0 = none */
	char *body;      /* owned */
	uint64_t seq;    /* of the next call; never used twice in the life of a pair */
	uint64_t nonce;  /* tells our replies from what an earlier run left in the queue */
};

/* Forks the responder and returns once it consumes. config's texts are borrowed until close.
 * Call it before any thread exists. Returns ERR_OK, ERR_LINK, ERR_REFUSED, ERR_NOMEM, ERR_IO.
 */
WARN_UNUSED enum err floor_pair_open(struct floor_pair *p, const struct floor_config *config);

/* Ends the responder too. A zeroed pair is fine. */
void floor_pair_close(struct floor_pair *p);

/* One round of calls. Blocks until it is over. Returns ERR_OK, ERR_LINK or ERR_TIMEOUT (an
 * answer did not come within ten seconds). */
WARN_UNUSED enum err floor_pair_calls(
	struct floor_pair *p, const struct bench_plan *plan, struct bench_result *out);

/* One round of persistent publishes into FORAPP.send, each timed from publish to confirm;
 * plan->in_flight is the window. The queue is emptied afterwards, outside the measure. */
WARN_UNUSED enum err floor_pair_publishes(
	struct floor_pair *p, const struct bench_plan *plan, struct bench_result *out);

#endif
