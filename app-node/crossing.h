/* crossing.h - this node's side of one web host's crossing: calls and sends come in, replies go
 * out.
 *
 * What came through here came from that host, whatever its headers say: the connection is the
 * proof.
 * Whatever comes was sealed there, or says in its fault that it was not: the seal is the proof
 * that no broker made it up.
 * Layer: app-node. Uses: base, loop, message, amqp, quiet, seen, flow. Never: http, the contract.
 * Thread: the loop's. */
#ifndef SALLYPORT_NODE_CROSSING_H
#define SALLYPORT_NODE_CROSSING_H

#include <stdbool.h>

#include "amqp/consumer.h"
#include "amqp/publisher.h"
#include "amqp/relief.h"
#include "app-node/flow.h"
#include "app-node/seen.h"
#include "daemon/quiet.h"
#include "loop/timer.h"
#include "message/envelope.h"
#include "message/message.h"

enum { CROSSING_HOST_MAX_BYTES = 63 };

/*  SERVING -> DRAINING -> DRAINED -> CLOSING -> CLOSED
 *   ^  ^ ^    no more     all calls   links      nothing left but jobs
 *   |  | |    calls       have come   close      that still run
 *   |  | +-------+           |                      |
 *   |  +---------------------+                      |
 *   +-----------------------------------------------+    crossing_return()         */
enum crossing_state {
	CROSSING_SERVING = 0,
	CROSSING_DRAINING,
	CROSSING_DRAINED,
	CROSSING_CLOSING,
	CROSSING_CLOSED,
	CROSSING_NSTATES,
};

struct crossing;

/* One link's time of service, and what comes and goes through it. */
struct crossing_shift {
	struct shift shift;
	struct crossing *crossing;
	struct consumer call;
	struct consumer send;
	struct publisher reply;
	struct sender sender; /* the broker takes only the name of the link's own user */
	unsigned send_count;  /* jobs that settle through `send` */
	bool is_drained;      /* no call comes any more, or will soon */
	bool is_held;         /* no send of it is begun any more */
};

struct crossing_events {
	/* d is borrowed for the call; c says which lane (s->call or s->send), and settles it
	 * later. Its body is what was sealed; where there is none, its fault may be, beside those of
	 * a consumer, ERR_UNSEALED, ERR_SEAL, or ERR_NOMEM: it could not be looked at. */
	void (*on_delivery)(void *arg, struct crossing_shift *s, struct consumer *c,
		const struct delivery *d);
	/* Sends that came through s have gone back, or will with its connection: begin none of
	 * them. */
	void (*on_sends_lost)(void *arg, struct crossing_shift *s);
	/* s is freed after this. */
	void (*on_gone)(void *arg, struct crossing_shift *s);
	void (*on_change)(void *arg, struct crossing *x); /* crossing_is_ready() has changed */
	void (*on_relief)(void *arg, struct crossing *x); /* x->relief has moved */
	/* The crossing has come to DRAINED or CLOSED, or its last job has ended. x may be freed
	 * inside, if crossing_is_over(). */
	void (*on_less)(void *arg, struct crossing *x);
};

struct crossing_config {
	const char *host;           /* of the web host; copied */
	struct link_config link;    /* name and vhost are filled in here */
	struct digest recipe;       /* what the link is made of */
	const struct keyring *ring; /* its sealing keys; copied */
	uint64_t revoked;           /* of its host, see struct crossing */
	uint32_t replay_kept;       /* of its messages, as seen_init() */
	uint16_t call_prefetch;
	uint16_t send_prefetch;
};

struct crossing_counters {
	uint64_t calls; /* came in */
	uint64_t sends;
	uint64_t replies;
	uint64_t
		replies_lost; /* the link was away until their deadline, or nothing took them */
};

struct crossing {
	struct node node; /* in its owner's list */
	enum crossing_state state;
	struct loop *loop;
	char host[CROSSING_HOST_MAX_BYTES + 1];
	uint16_t call_prefetch;
	uint16_t send_prefetch;
	struct relief relief;
	struct crossing_shift *first;    /* until crossing_start(); or waits for CLOSED */
	struct crossing_shift *prepared; /* until crossing_relieve() or crossing_return() */
	struct crossing_events events;
	void *arg;
	struct crossing_counters counters;
	unsigned job_count;   /* that came through here and have not ended */
	struct origin origin; /* of its work, for the dispatch */
	uint64_t revoked; /* nothing of its host up to this generation is taken or answered */
	struct envelope envelope;
	struct seen seen;   /* of its messages, whatever becomes of its links */
	struct quiet quiet; /* what is logged about this host, at most */
	struct timer limit; /* of crossing_leave() */
};

/* Takes:   config's texts are copied; its link as shift_init() says.
 * Returns: ERR_OK, ERR_INPUT, ERR_NOMEM; crossing_fini() in any case. */
WARN_UNUSED enum err crossing_init(struct crossing *x, struct loop *l,
	const struct crossing_config *config, const struct crossing_events *events, void *arg);

/* Not started, or crossing_is_over(). */
void crossing_fini(struct crossing *x);

void crossing_start(struct crossing *x);

/* Makes a link that crossing_relieve() can put into service, if the one that serves is not made
 * of the same.
 * Takes:   as shift_init().
 * Returns: ERR_OK, ERR_INPUT, ERR_NOMEM. */
WARN_UNUSED enum err crossing_prepare(
	struct crossing *x, const struct link_config *config, const struct digest *recipe);

/* The same for one that leaves: it has always something prepared then, for crossing_return().
 * Takes, Returns: as crossing_prepare(). */
WARN_UNUSED enum err crossing_prepare_return(
	struct crossing *x, const struct link_config *config, const struct digest *recipe);

/* What was prepared is not needed after all. */
void crossing_discard(struct crossing *x);

/* What was prepared shall serve, see relief.h; if nothing was, whoever serves is the right one.
 */
void crossing_relieve(struct crossing *x);

/* Takes no more calls; those that came may be answered. Sends go on coming: with a single
 * active consumer only closing the connection hands them back in order. Only from SERVING. */
void crossing_drain(struct crossing *x);

/* This node serves that host no longer: crossing_drain(), begins no sends any more, and closes when
 * the last job has ended, or after RELIEF_RETIRE_MS. Only from SERVING. */
void crossing_leave(struct crossing *x);

/* One that leaves, or has left while its jobs still run, serves again after all, through what was
 * prepared: its jobs, what it remembers and its counters go on. What its old link has in its hands
 * ends there, so that order is kept; never are more than two open. */
void crossing_return(struct crossing *x);

/* Closes all connections; what is unsettled goes back to the broker. */
void crossing_stop(struct crossing *x);

/* Closed, and nobody needs it any more: it may be freed. */
static inline bool crossing_is_over(const struct crossing *x)
{
	return x->state == CROSSING_CLOSED && x->job_count == 0;
}

/* What crosses is sealed with these keys from now on. Returns: ERR_OK, ERR_NOMEM (likely as
 * before: say the former ones again). */
WARN_UNUSED enum err crossing_rekey(struct crossing *x, const struct keyring *ring);

/* Of whoever serves or is to be the first; NULL in CLOSED. Borrowed until the next on_relief or
 * on_less. */
const struct link *crossing_link(const struct crossing *x);

/* Both ways are open, and what comes is taken. */
bool crossing_is_ready(const struct crossing *x);

/* A job of this crossing has begun, or ended. s: the shift through which it settles, NULL for
 * calls and for those whose shift is gone. x may be freed inside the latter. */
void crossing_job_begun(struct crossing *x, struct crossing_shift *s);
void crossing_job_ended(struct crossing *x, struct crossing_shift *s);

/* It settles through another one now. */
void crossing_job_moved(
	struct crossing *x, struct crossing_shift *from, struct crossing_shift *to);

/* Seals and sends a reply. Stamps m. Returns: ERR_OK; ERR_LINK, ERR_FULL or ERR_NOMEM: it is
 * lost, and counted. */
WARN_UNUSED enum err crossing_reply(struct crossing *x, struct message *m);

/* A reply to `request` was lost before it came to that. */
void crossing_reply_failed(struct crossing *x, const struct id *request, enum err why);

/* quiet_may_log() for what this host can cause. */
static inline bool crossing_may_log(struct crossing *x, const char *cause)
{
	return quiet_may_log(&x->quiet, cause);
}

#endif
