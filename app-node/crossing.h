/* crossing.h - this node's side of one web host's crossing: calls and sends come in, replies go
 * out.
 *
 * What came through here came from that host, whatever its headers say: the connection is the
 * proof.
 * Whatever comes was sealed there, or says in its fault that it was not: the seal is the proof
 * that no broker made it up.
 * Layer: app-node. Uses: base, loop, message, amqp, quiet, seen. Never: http, the contract. Thread:
 * the loop's. */
#ifndef SALLYPORT_NODE_CROSSING_H
#define SALLYPORT_NODE_CROSSING_H

#include <stdbool.h>

#include "amqp/consumer.h"
#include "amqp/link.h"
#include "amqp/publisher.h"
#include "app-node/seen.h"
#include "daemon/quiet.h"
#include "message/envelope.h"
#include "message/message.h"

enum { CROSSING_HOST_MAX_BYTES = 63 };

struct crossing;

struct crossing_events {
	/* d is borrowed for the call; consumer says which lane (crossing->call or ->send), and
	 * settles it later. Its body is what was sealed; where there is none, its fault may be, beside
	 * those of a consumer, ERR_UNSEALED, ERR_SEAL, or ERR_NOMEM: it could not be looked at. */
	void (*on_delivery)(
		void *arg, struct crossing *x, struct consumer *c, const struct delivery *d);
	/* Delivery tags of that lane are stale; what was not settled comes again, to whom it
	 * may. */
	void (*on_lane_lost)(void *arg, struct crossing *x, struct consumer *c);
	void (*on_change)(void *arg, struct crossing *x); /* crossing_is_ready() has changed */
	void (*on_calls_drained)(void *arg, struct crossing *x); /* after crossing_drain() */
	void (*on_stopped)(void *arg, struct crossing *x);
};

struct crossing_config {
	unsigned number;
	const char *host;           /* of the web host; copied */
	struct link_config link;    /* name and vhost are filled in here */
	const struct keyring *ring; /* its sealing keys; copied */
	struct seen *seen; /* of this host's messages; borrowed until crossing_fini() */
	uint16_t call_prefetch;
	uint16_t send_prefetch;
};

struct crossing_counters {
	uint64_t replies;
	uint64_t
		replies_lost; /* the link was away until their deadline, or nothing took them */
};

struct crossing {
	unsigned number; /* among the node's, from 0 */
	char host[CROSSING_HOST_MAX_BYTES + 1];
	struct link link;
	struct consumer call;
	struct consumer send;
	struct publisher reply;
	struct sender sender;
	struct envelope envelope;
	struct seen *seen;
	struct crossing_events events;
	void *arg;
	struct crossing_counters counters;
	struct quiet quiet; /* what is logged about this host, at most */
};

/* Takes:   config's texts are copied or borrowed as link_init() says.
 * Returns: ERR_OK, ERR_INPUT, ERR_NOMEM; crossing_fini() in any case. */
WARN_UNUSED enum err crossing_init(struct crossing *x, struct loop *l,
	const struct crossing_config *config, const struct crossing_events *events, void *arg);
void crossing_fini(struct crossing *x);

void crossing_start(struct crossing *x);

/* Takes no more calls; those that came may be answered. Sends go on coming: with a single
 * active consumer only closing the connection hands them back in order. */
void crossing_drain(struct crossing *x);

/* Closes both connections; what is unsettled goes back to the broker. */
void crossing_stop(struct crossing *x);

static inline bool crossing_is_ready(const struct crossing *x)
{
	return link_is_ready(&x->link);
}

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
