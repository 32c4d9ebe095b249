/* border.h - this web host's side of its crossing: calls and sends go out, replies come in, all
 * of them sealed.
 *
 * Layer: webapp-agent. Uses: base, loop, message, amqp, quiet. Never: http, the store. Thread:
 * the loop's. */
#ifndef SALLYPORT_AGENT_BORDER_H
#define SALLYPORT_AGENT_BORDER_H

#include <stdbool.h>

#include "amqp/consumer.h"
#include "amqp/publisher.h"
#include "amqp/relief.h"
#include "daemon/quiet.h"
#include "message/envelope.h"
#include "message/message.h"

struct border;

enum { BORDER_HOST_MAX_BYTES = 63 };

typedef void (*border_reply_fn)(void *arg, const struct message *reply);
typedef void (*border_fn)(void *arg);

struct border_events {
	border_reply_fn on_reply; /* reply is borrowed for the call */
	border_fn on_change; /* border_is_ready() has changed; may not stop the border inside */
	border_fn on_refused; /* the broker does not take our calls: border_refused_why() */
	border_fn on_relief;  /* border->relief has moved; likewise */
	border_fn on_stopped; /* once after border_stop(), last */
};

struct border_config {
	const char *host;           /* this web host's name; copied */
	struct link_config link;    /* name and vhost are filled in here */
	struct digest recipe;       /* what the link is made of */
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

/* One link's time of service, and what goes through it. */
struct border_shift {
	struct shift shift;
	struct border *border;
	struct publisher call;
	struct publisher send;
	struct consumer reply;
	struct sender call_sender; /* the broker takes only the name of the link's own user */
	struct sender send_sender;
};

struct border {
	struct loop *loop;
	char host[BORDER_HOST_MAX_BYTES + 1];
	uint64_t confirm_timeout_ms;
	unsigned send_window;
	struct relief relief;
	struct border_shift *first; /* until border_start() */
	struct border_events events;
	void *arg;
	struct envelope envelope;
	struct quiet quiet;
	uint64_t refused[BORDER_REFUSALS]; /* replies, by reason */
};

/* Takes:   config as shift_init().
 * Returns: ERR_OK, ERR_INPUT, ERR_NOMEM; border_fini() in any case. */
WARN_UNUSED enum err border_init(struct border *b, struct loop *l,
	const struct border_config *config, const struct border_events *events, void *arg);
void border_fini(struct border *b);

void border_start(struct border *b);
void border_stop(struct border *b);

/* A link that border_relieve() can put into service: made, not started.
 *
 * Takes:   config and recipe as shift_init().
 * Returns: ERR_OK, ERR_INPUT, ERR_NOMEM. After ERR_OK it is the caller's, for border_relieve().
 */
WARN_UNUSED enum err border_prepare(struct border *b, const struct link_config *config,
	const struct digest *recipe, struct border_shift **out);

/* One that is not needed after all. NULL is fine. */
void border_discard(struct border_shift *s);

/* Whether whoever serves is made of this. */
bool border_is_made_of(const struct border *b, const struct digest *recipe);

/* The link shall be this one, or stay as it is (NULL): see relief.h. What is sent goes through
 * the old one until the new one is ready. Takes: s is the border's. */
void border_relieve(struct border *b, struct border_shift *s);

/* What crosses is sealed with these keys from now on. Returns: ERR_OK, ERR_NOMEM (likely as
 * before: say the former ones again). */
WARN_UNUSED enum err border_rekey(struct border *b, const struct keyring *ring);

/* Of whoever serves or is to be the first; NULL when the border has stopped. Borrowed until the
 * next on_relief or on_stopped. */
const struct link *border_link(const struct border *b);

/* Both ways are open. */
static inline bool border_is_ready(const struct border *b)
{
	return relief_is_ready(&b->relief);
}

/* The broker is in an alarm, and has told so: its reason; NULL when it is not. Borrowed until
 * the next on_change. */
const char *border_blocked_why(const struct border *b);

/* What the broker said when it refused a call last. Only inside on_refused. */
const char *border_refused_why(const struct border *b);

/* Seals and sends a call's request; its answer comes through on_reply, or not at all. Stamps m.
 * Returns: ERR_OK, ERR_LINK (not ready), ERR_FULL (the network does not keep up), ERR_NOMEM. */
WARN_UNUSED enum err border_call(struct border *b, struct message *m);

/* Seals and publishes a send; req->on_done tells the broker's verdict, as publisher_put(). Stamps
 * m. Returns: also ERR_NOMEM. */
WARN_UNUSED enum err border_send(struct border *b, struct message *m, struct publish *req);

#endif
