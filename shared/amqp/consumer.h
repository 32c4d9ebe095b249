/* consumer.h - takes messages from one queue, a bounded number at a time, and settles them.
 *
 * Settling in order goes out as one cumulative acknowledgement. A lane whose messages are dead
 * with their deadline anyway (calls, replies) acknowledges lazily, off the path of the answer.
 * Layer: amqp. Uses: base, loop, channel, codec, message. Thread: the loop's. */
#ifndef SALLYPORT_AMQP_CONSUMER_H
#define SALLYPORT_AMQP_CONSUMER_H

#include <stdbool.h>
#include <stdint.h>

#include "amqp/channel.h"
#include "base/err.h"
#include "base/list.h"
#include "loop/timer.h"
#include "message/message.h"

enum { CONSUMER_PREFETCH_MAX = 4096 };

enum consumer_pace {
	CONSUMER_ACK_AT_ONCE = 0, /* with the turn in which it was settled */
	CONSUMER_ACK_LAZILY,      /* after a quarter of the prefetch, or lazy_ms */
};

/* Names one delivery for settling. One of a channel that is gone settles nothing: the broker
 * delivers that message again. */
struct delivery_tag {
	uint64_t tag;
	uint64_t channel_epoch;
	unsigned slot;
};

/* Borrowed for the call. */
struct delivery {
	struct delivery_tag tag;
	struct message message;
	enum err fault; /* ERR_OK; ERR_INPUT: properties are not ours; ERR_FULL: body too large.
			 * message then holds what could be read, and may be zero. */
	uint64_t body_bytes; /* as announced */
	bool is_redelivered;
};

struct consumer;

typedef void (*delivery_fn)(void *arg, struct consumer *c, const struct delivery *d);

struct consumer_config {
	const char *name; /* for log and status */
	const char *queue;
	uint16_t prefetch; /* unsettled at most, 1 to CONSUMER_PREFETCH_MAX */
	enum consumer_pace pace;
};

struct consumer_counters {
	uint64_t delivered;
	uint64_t redelivered;
	uint64_t acked;
	uint64_t rejected;
	uint64_t cancelled; /* basic.cancel by the broker */
};

enum slot_state { SLOT_FREE = 0, SLOT_HELD, SLOT_SETTLED };

struct consumer_slot {
	struct node node; /* in `held`, in the order of delivery, or in `unused` */
	uint64_t tag;
	enum slot_state state;
};

struct consumer {
	struct channel channel; /* for connection_add() */
	struct consumer_config config;
	delivery_fn on_delivery;
	void *arg;
	uint64_t channel_epoch;      /* counts losses */
	struct consumer_slot *slots; /* prefetch of them */
	struct node held;
	struct node unused;
	unsigned settled_count; /* settled, not yet acknowledged */
	unsigned held_count;    /* delivered, not yet settled */
	struct turn turn;
	struct timer lazy;
	struct timer drained; /* brings on_drained */
	bool is_cancelled;    /* by us: nothing more is wanted */
	bool is_held;         /* by consumer_hold() */
	struct consumer_counters counters;
	void (*on_lost)(
		void *arg, struct consumer *c); /* NULL, or: every delivery tag is stale now,
						   what was not acknowledged comes again */
	void (*on_drained)(void *arg);          /* of consumer_drain() */
	void *on_drained_arg;
};

/* Takes:   config's texts are borrowed until consumer_fini().
 * Returns: ERR_OK or ERR_NOMEM.
 * Fires:   on_delivery for each message, on the loop thread; it must be settled, now or later,
 * by consumer_ack() or consumer_reject(). */
WARN_UNUSED enum err consumer_init(struct consumer *c, struct loop *l,
	const struct consumer_config *config, delivery_fn on_delivery, void *arg);

/* The channel must be DOWN, or c zeroed. */
void consumer_fini(struct consumer *c);

/* Its outcome is known and safe: the broker may forget it. */
void consumer_ack(struct consumer *c, struct delivery_tag tag);

/* False once the channel of that delivery is gone: somebody will get the message again. */
bool consumer_has(const struct consumer *c, struct delivery_tag tag);

/* It will never do: to the dead-letter queue, if the lane has one. */
void consumer_reject(struct consumer *c, struct delivery_tag tag);

/* Asks for no more (basic.cancel); what was delivered is still to be settled, and from now on is
 * acknowledged with the turn in which it was, whatever the pace: the connection may end soon.
 * Fires: on_drained once, later, never from inside: no further delivery will come. The
 * connection may be stopped inside. Not for ordered lanes: with a single active consumer the
 * next one would overtake what is unsettled; stop the connection instead. */
void consumer_drain(struct consumer *c, void (*on_drained)(void *arg), void *arg);

/* After consumer_drain(): on_drained has fired. */
static inline bool consumer_is_drained(const struct consumer *c)
{
	return c->is_cancelled && c->on_drained == NULL;
}

/* The way out of an ordered lane: what still comes is left unsettled, unseen, and goes back in
 * order when the connection is stopped. What came before is still to be settled, and should not
 * be begun any more. */
void consumer_hold(struct consumer *c);

static inline bool consumer_is_held(const struct consumer *c)
{
	return c->is_held;
}

#endif
