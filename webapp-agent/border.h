/* border.h - this web host's side of its crossing: calls and sends go out, replies come in, all
 * of them sealed.
 *
 * Layer: webapp-agent. Uses: base, loop, message, amqp, quiet. Never: http, the store. Thread:
 * the loop's. */
#ifndef SALLYPORT_AGENT_BORDER_H
#define SALLYPORT_AGENT_BORDER_H

#include <stdbool.h>

#include "amqp/consumer.h"
#include "amqp/link.h"
#include "amqp/publisher.h"
#include "daemon/quiet.h"
#include "message/envelope.h"
#include "message/message.h"

struct border;

typedef void (*border_reply_fn)(void *arg, const struct message *reply);
typedef void (*border_fn)(void *arg);

struct border_events {
	border_reply_fn on_reply; /* reply is borrowed for the call */
	border_fn on_change; /* border_is_ready() has changed; may not stop the border inside */
	border_fn on_stopped; /* once after border_stop(), last */
};

struct border_config {
	const char *host;           /* this web host's name; copied */
	struct link_config link;    /* name and vhost are filled in here */
	const struct keyring *ring; /* the crossing's sealing keys; copied */
	uint64_t confirm_timeout_ms;
	unsigned send_window; /* sends not yet confirmed by the broker, at most */
};

/* clang-format off */
#define BORDER_MAP(X)                                                                      \
	X(BORDER_MALFORMED,     "malformed")     /* properties that are not ours */        \
	X(BORDER_UNSEALED,      "unsealed")      /* as no node of ours sends it */         \
	X(BORDER_SEAL,          "seal")          /* not sealed for here, so */             \
	X(BORDER_FORGED_SENDER, "forged-sender") /* user-id is not of the app realm */     \
	X(BORDER_NO_MEMORY,     "out-of-memory") /* ours: nothing is known about it */
/* clang-format on */

/* Why a reply does not reach its caller. */
#define BORDER_ENUM(code, text) code,
enum border_refusal { BORDER_MAP(BORDER_ENUM) BORDER_REFUSALS };
#undef BORDER_ENUM

/* Static storage: the reason in logs and counters. */
const char *border_refusal_text(enum border_refusal refusal);

struct border {
	char host[LINK_NAME_BYTES];
	struct link link;
	struct publisher call;
	struct publisher send;
	struct consumer reply;
	struct sender call_sender;
	struct sender send_sender;
	struct border_events events;
	void *arg;
	struct envelope envelope;
	struct quiet quiet;
	uint64_t refused[BORDER_REFUSALS]; /* replies, by reason */
};

/* Takes:   config as link_init().
 * Returns: ERR_OK, ERR_INPUT, ERR_NOMEM; border_fini() in any case. */
WARN_UNUSED enum err border_init(struct border *b, struct loop *l,
	const struct border_config *config, const struct border_events *events, void *arg);
void border_fini(struct border *b);

void border_start(struct border *b);
void border_stop(struct border *b);

/* Both ways are open. */
static inline bool border_is_ready(const struct border *b)
{
	return link_is_ready(&b->link);
}

/* Seals and sends a call's request; its answer comes through on_reply, or not at all. Stamps m.
 * Returns: ERR_OK, ERR_LINK (not ready), ERR_FULL (the network does not keep up), ERR_NOMEM. */
WARN_UNUSED enum err border_call(struct border *b, struct message *m);

/* Seals and publishes a send; req->on_done tells the broker's verdict, as publisher_put(). Stamps
 * m. Returns: also ERR_NOMEM. */
WARN_UNUSED enum err border_send(struct border *b, struct message *m, struct publish *req);

#endif
