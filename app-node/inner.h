/* inner.h - this node's link to the inner vhost, where the app realm talks to itself: control messages
 * come in and go out, sealed under the inner key.
 *
 * Calls and sends do not need it: while it is away they go on.
 * Layer: app-node. Uses: base, loop, message, amqp. Never: what a message says. Thread: the loop's. */
#ifndef SALLYPORT_NODE_INNER_H
#define SALLYPORT_NODE_INNER_H

#include <stdbool.h>

#include "amqp/consumer.h"
#include "amqp/publisher.h"
#include "amqp/relief.h"
#include "message/envelope.h"
#include "message/identity.h"

/* More than what may be held for long, see revoked.h. */
enum { INNER_PREFETCH = 1024 };

struct inner;

/* One link's time of service, and what comes and goes through it. */
struct inner_shift {
	struct shift shift;
	struct inner *inner;
	struct consumer control;
	struct publisher tell;
	struct sender sender; /* the broker takes only the name of the link's own user */
};

struct inner_events {
	/* d is borrowed for the call, and settled later through c. Its fault may be, beside those of a
	 * consumer, ERR_UNSEALED, ERR_SEAL, or ERR_NOMEM: it could not be looked at. */
	void (*on_control)(void *arg, struct consumer *c, const struct delivery *d);
	/* c is freed after this, and what it held comes again. */
	void (*on_gone)(void *arg, struct consumer *c);
	void (*on_move)(void *arg); /* its relief has moved, or it is ready, or not any more */
	void (*on_stopped)(void *arg); /* after inner_stop(): may be freed inside */
};

struct inner_config {
	const char *node;           /* this one; copied */
	struct link_config link;    /* name and vhost are filled in here */
	struct digest recipe;       /* what the link is made of */
	const struct keyring *ring; /* the inner keys; copied */
};

struct inner_counters {
	uint64_t received;
	uint64_t sent;
	uint64_t not_sent; /* the link was away, or nothing took them */
};

struct inner {
	struct loop *loop;
	char queue[IDENTITY_NAME_MAX_BYTES + 16]; /* control.<node> */
	struct relief relief;
	struct inner_shift *first;    /* until inner_start() */
	struct inner_shift *prepared; /* until inner_relieve() */
	struct envelope envelope;
	struct inner_events events;
	void *arg;
	struct inner_counters counters;
};

/* Takes:   config as shift_init() says; its texts are copied.
 * Returns: ERR_OK, ERR_INPUT, ERR_NOMEM; inner_fini() in any case. */
WARN_UNUSED enum err inner_init(struct inner *in, struct loop *l,
	const struct inner_config *config, const struct inner_events *events, void *arg);

/* Not started, or stopped; a zeroed one is fine. */
void inner_fini(struct inner *in);

void inner_start(struct inner *in);

/* Makes a link that inner_relieve() can put into service, if the one that serves is not made of the
 * same. Returns: ERR_OK, ERR_INPUT, ERR_NOMEM. */
WARN_UNUSED enum err inner_prepare(
	struct inner *in, const struct link_config *config, const struct digest *recipe);

/* What was prepared is not needed after all. */
void inner_discard(struct inner *in);

/* What was prepared shall serve, see relief.h. */
void inner_relieve(struct inner *in);

/* What is said is sealed with these keys from now on. Returns: ERR_OK, ERR_NOMEM (likely as before: say
 * the former ones again). */
WARN_UNUSED enum err inner_rekey(struct inner *in, const struct keyring *ring);

/* Only when started. Fires: on_stopped once, later, never from inside. */
void inner_stop(struct inner *in);

/* Tells all nodes, this one too. Nobody answers for its arrival.
 * Returns: ERR_OK; ERR_LINK, ERR_FULL, ERR_NOMEM: it is not sent, and counted. */
WARN_UNUSED enum err inner_tell(struct inner *in, const char *type, struct span body);

static inline bool inner_is_ready(const struct inner *in)
{
	return relief_is_ready(&in->relief);
}

#endif
