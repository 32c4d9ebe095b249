/* channel.h - one AMQP channel: it opens, is set up, serves, is closed by the broker, comes
 * back.
 *
 * Puts the frames of a content (method, header, bodies) together and hands the whole to its
 * owner, a publisher or a consumer. Knows no socket: it writes into the connection's output
 * buffer.
 * Layer: amqp. Uses: base, loop, codec. Never: transport, connection. Thread: the loop's. */
#ifndef SALLYPORT_AMQP_CHANNEL_H
#define SALLYPORT_AMQP_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "amqp/codec.h"
#include "base/backoff.h"
#include "base/buf.h"
#include "base/err.h"
#include "loop/timer.h"

/*  DOWN -> OPENING -> SETUP -> READY
 *    ^        |          |       |  \
 *    |        +----------+-------+   +-> CLOSING (we asked) -> WAITING
 *    |                   |                                        |
 *    |                   +-> WAITING (the broker closed) -> OPENING
 *    +-- from everywhere when the connection is lost */
enum channel_state {
	CHANNEL_DOWN = 0, /* no connection */
	CHANNEL_OPENING,  /* channel.open sent */
	CHANNEL_SETUP,    /* the owner's own methods are on their way */
	CHANNEL_READY,
	CHANNEL_CLOSING, /* channel.close sent; everything but its answer is dropped */
	CHANNEL_WAITING, /* closed; the back-off timer leads to OPENING */
	CHANNEL_NSTATES,
};

/* What went wrong last, kept for /v1/status until something else does. */
struct amqp_fault {
	enum err err;
	uint16_t code; /* AMQP reply code, 0 = none */
	char text[AMQP_TEXT_MAX_BYTES + 1];
	uint64_t at_unix_ms; /* 0 = nothing yet */
};

/* Fills in *f and its time. text need not end in NUL and may be foreign: it is shown, not
 * copied. */
void amqp_fault_set(struct amqp_fault *f, enum err err, uint16_t code, struct span text);

/* A delivery or a returned message, whole. Spans are borrowed for the call. */
struct content {
	const struct method
		*method;    /* METHOD_BASIC_DELIVER or METHOD_BASIC_RETURN; text is gone */
	struct span header; /* for codec_decode_properties() */
	struct span body;
	uint64_t body_bytes; /* as announced */
	bool is_oversized; /* more than CHANNEL_BODY_MAX_BYTES: body is empty, it was let go by
			    */
};

struct channel;

/* What an owner does; all on the loop thread. */
struct channel_ops {
	/* The channel is open: send what makes it useful, then channel_become_ready(). */
	void (*setup)(struct channel *ch);
	/* Everything but channel.* and content. ERR_PROTOCOL for what cannot be now. */
	enum err (*on_method)(struct channel *ch, const struct method *m);
	enum err (*on_content)(struct channel *ch, const struct content *content);
	/* NULL, or: the connection will be closed by us; frames sent inside still go out. */
	void (*on_goodbye)(struct channel *ch);
	/* After setup(), when the channel is lost for whatever reason: what is in flight has an
	 * unknown fate. Nothing may be sent inside. */
	void (*on_lost)(struct channel *ch, enum err err);
};

/* What the connection does for its channels. */
struct channel_host {
	void (*on_change)(void *arg); /* some channel became ready or was lost */
	/* The connection as a whole is no good any more. Fires later, never from inside a call.
	 */
	void (*on_broken)(void *arg, enum err err, const char *why);
	void *arg;
};

enum {
	CHANNEL_BODY_MAX_BYTES = 256 * 1024, /* the border's max_message_size */
	/* What a body may announce to be let go by. RabbitMQ takes no larger one however it is
	 * configured: who announces more means never to end. */
	CHANNEL_ANNOUNCED_MAX_BYTES = 512 * 1024 * 1024,
	CHANNEL_RETRY_FIRST_MS = 50,
	CHANNEL_RETRY_LONGEST_MS = 1000,
};

struct channel {
	enum channel_state state;
	uint16_t number;  /* from 1 */
	const char *name; /* borrowed, for the log: call, send, reply, push */
	const char *link; /* borrowed, the connection's name */
	const struct channel_ops *ops;
	struct channel_host host;
	struct codec *codec; /* borrowed while not DOWN */
	struct buf *out;     /* borrowed while not DOWN */
	uint32_t frame_max;  /* bytes, while not DOWN */
	struct timer timer;  /* WAITING: the back-off; else the broker's time to answer */
	struct backoff backoff;
	struct amqp_fault fault;
	struct method pending; /* the method whose content is being put together */
	bool has_pending;
	bool has_header;
	uint64_t body_bytes; /* as announced by the header */
	uint64_t body_seen;
	struct buf header;
	struct buf body;
	uint64_t closed_by_broker; /* counter */
	bool is_blocked;           /* the broker reads nothing: it owes no answer meanwhile */
	uint64_t unblocked_at_ms;  /* loop clock; 0 = was never blocked */
};

/* ops and name are borrowed for the channel's life. */
void channel_init(
	struct channel *ch, struct loop *l, const char *name, const struct channel_ops *ops);

/* Frees memory; the channel must be DOWN or zeroed. */
void channel_fini(struct channel *ch);

static inline bool channel_is_ready(const struct channel *ch)
{
	return ch->state == CHANNEL_READY;
}

const char *channel_state_name(enum channel_state state);

/* ---- for the owner ---- */

/* setup() has been answered. */
void channel_become_ready(struct channel *ch);

/* Closes the channel and opens it again after a wait: the way out of a fault of one lane. */
void channel_restart(struct channel *ch, enum err err, const char *why);

/* ---- for the connection ---- */

/* The connection is open: begins to open the channel. */
void channel_up(struct channel *ch, struct codec *codec, struct buf *out, uint32_t frame_max);

/* The last word of its owner before connection.close; nothing when it is not READY. */
void channel_say_goodbye(struct channel *ch);

/* The connection is lost or ends. Harmless when DOWN. */
void channel_down(struct channel *ch, enum err err);

/* The broker has stopped reading, or reads again: whatever it owes, its time begins anew then. */
void channel_block(struct channel *ch);
void channel_unblock(struct channel *ch);

/* A frame for this channel. Returns ERR_OK; ERR_PROTOCOL or ERR_NOMEM end the connection. */
WARN_UNUSED enum err channel_take(struct channel *ch, const struct frame *frame);

#endif
