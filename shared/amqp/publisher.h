/* publisher.h - puts messages on one exchange, with publisher confirms where a promise hangs on
 * them.
 *
 * Layer: amqp. Uses: base, loop, channel, codec, message. Thread: the loop's. */
#ifndef SALLYPORT_AMQP_PUBLISHER_H
#define SALLYPORT_AMQP_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "amqp/channel.h"
#include "base/err.h"
#include "loop/timer.h"
#include "message/message.h"

enum { PUBLISHER_WINDOW_MAX = 4096 };

struct publish;

typedef void (*publish_done_fn)(struct publish *p, enum err status);

/* One message on its way; lives in its owner. */
struct publish {
	publish_done_fn on_done;
	struct id id;        /* of the message, to know it again when it is returned */
	bool is_returned;    /* basic.return came: no queue took it */
	uint64_t sent_at_ms; /* loop clock */
};

struct publisher_config {
	const char *name; /* for log and status: call, send, reply, push */
	const char *exchange;
	const char *routing_key;
	unsigned window; /* unconfirmed at most; 0 = no confirms, fire and forget */
	uint64_t
		confirm_timeout_ms; /* an older one means that the connection is dead; stands still
					while the broker blocks us, begins anew when it ends */
	size_t backlog_max_bytes; /* bytes not taken by the network, before put refuses */
};

struct publisher_counters {
	uint64_t published;
	uint64_t confirmed;
	uint64_t nacked;   /* the queue is full, or the broker failed */
	uint64_t returned; /* no queue is bound */
	uint64_t unknown;  /* unconfirmed when the link was lost */
};

struct publisher {
	struct channel channel; /* for connection_add() */
	struct publisher_config config;
	struct timer oldest;     /* looks after confirms that do not come */
	struct publish **window; /* ring by delivery tag; NULL = settled */
	uint64_t first_tag;      /* the oldest unsettled */
	uint64_t next_tag;
	struct publisher_counters counters;
	void (*on_room)(
		void *arg); /* NULL, or: the window has room again, or the channel is ready */
	void *on_room_arg;
	/* NULL, or: the broker has closed the channel over a publish that it does not take (no
	 * permission, no exchange). Nothing may be published here inside. */
	void (*on_refused)(void *arg);
	void *on_refused_arg;
};

/* Takes:   config's texts are borrowed until publisher_fini().
 * Returns: ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err publisher_init(
	struct publisher *p, struct loop *l, const struct publisher_config *config);

/* The channel must be DOWN, or p zeroed. */
void publisher_fini(struct publisher *p);

static inline bool publisher_is_ready(const struct publisher *p)
{
	return channel_is_ready(&p->channel);
}

/* Publishes one message; it leaves at the end of the loop's turn.
 *
 * Takes:   m is borrowed for the call. req stays yours and must not move until on_done; it must
 *          be NULL where config.window is 0, and must not be otherwise.
 * Returns: ERR_OK: on_done fires exactly once (with confirms). ERR_LINK: not ready now.
 *          ERR_FULL: the window or the backlog is full. After an error nothing was sent and
 *          on_done never fires.
 * Fires:   on_done on the loop thread, never from inside this call: ERR_OK (the broker has it),
 *          ERR_FULL (nack: it has not, later it may), ERR_REFUSED (returned: no queue),
 *          ERR_LINK (the link was lost: fate unknown). */
WARN_UNUSED enum err publisher_put(
	struct publisher *p, const struct message *m, struct publish *req);

/* How many are unconfirmed. */
unsigned publisher_in_flight(const struct publisher *p);

#endif
