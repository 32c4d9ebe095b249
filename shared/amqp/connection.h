/* connection.h - one AMQP connection that stays up: dials, logs in, opens its channels, comes
 * back.
 *
 * Tries a list of brokers in turn with back-off and jitter, speaks SASL EXTERNAL over mutual
 * TLS (plain TCP only for tests), keeps heartbeats both ways. What it carries is the business
 * of its channels' owners. Publish and consume on different connections: a broker in an alarm
 * stops reading from whoever publishes, acknowledgements included.
 * Layer: amqp. Uses: base, loop, transport, channel, codec. Thread: the loop's. */
#ifndef SALLYPORT_AMQP_CONNECTION_H
#define SALLYPORT_AMQP_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "amqp/channel.h"
#include "amqp/transport.h"
#include "base/backoff.h"
#include "base/buf.h"
#include "loop/loop.h"
#include "loop/timer.h"

enum {
	CONNECTION_CHANNELS_MAX = 4,
	CONNECTION_BROKERS_MAX = 8,
	/* Ready for so long, a connection has shown that it works: its loss is waited for shortly
	 * again. One that breaks sooner is tried less and less often. */
	CONNECTION_PROVEN_MS = 5000,
};

/*            +-------------------------------------------------------------------+
 *            v                                                                   |
 *  DOWN -> DIALING -> TLS -> LOGIN -> TUNE -> OPEN -> CHANNELS <-> READY     WAITING
 *   ^        |         |       |       |       |        |  ^         |  ^        ^
 *   |        |         |       |       |       |        v  |         v  |        |
 *   |        |         |       |       |       |        +-BLOCKED----+--+        |
 *   |        +---------+-------+-------+-------+--------------+------------------+   any fault
 *   +-- DRAINING <------ connection_stop() from CHANNELS, READY, BLOCKED     (else at once)  */
enum connection_state {
	CONNECTION_DOWN = 0, /* not started, or stopped */
	CONNECTION_DIALING,  /* name and TCP */
	CONNECTION_TLS,      /* handshake */
	CONNECTION_LOGIN,    /* protocol header sent: start is next */
	CONNECTION_TUNE,     /* start-ok sent: the broker judges who we are, tune is next */
	CONNECTION_OPEN,     /* tune-ok and open sent */
	CONNECTION_CHANNELS, /* open; some channel is not ready (any more) */
	CONNECTION_READY,    /* all channels are ready */
	CONNECTION_BLOCKED,  /* the broker reads no more publishes: connection.blocked */
	CONNECTION_DRAINING, /* connection.close sent */
	CONNECTION_WAITING,  /* for the next try */
	CONNECTION_NSTATES,
};

struct connection_config {
	const char *name; /* for the log: web1.publish */
	const char *vhost;
	const struct transport_address *brokers; /* tried in turn, beginning with the first */
	unsigned broker_count;
	const struct tls_identity *identity; /* NULL: plain TCP, for tests only */
	uint64_t handshake_timeout_ms;       /* from dialing until the channels are ready */
	uint64_t retry_first_ms;
	uint64_t retry_longest_ms;
	uint64_t proven_ms; /* ready so long, the back-off begins anew: CONNECTION_PROVEN_MS */
	uint16_t heartbeat_s; /* at most; the broker may ask for less */
};

struct connection_counters {
	uint64_t opened;  /* times that connection.open-ok came */
	uint64_t failed;  /* times that a connection or a try was lost */
	uint64_t blocked; /* times that the broker blocked us */
};

struct connection;

typedef void (*connection_change_fn)(void *arg, struct connection *c);
typedef void (*connection_stopped_fn)(void *arg, struct connection *c);

struct connection {
	enum connection_state state;
	struct loop *loop;
	struct connection_config config; /* everything in it is borrowed */
	connection_change_fn on_change;
	connection_stopped_fn on_stopped;
	void *arg;
	void *stopped_arg;
	struct channel *channels[CONNECTION_CHANNELS_MAX];
	unsigned channel_count;
	struct transport *transport; /* NULL in DOWN and WAITING */
	struct codec *codec;
	struct buf in;  /* an incomplete frame */
	struct buf out; /* frames of this turn */
	struct turn flush;
	struct timer limit; /* of the present state: handshake, back-off, draining */
	struct timer beat;  /* heartbeats */
	struct timer stop;  /* does what connection_stop() asked for */
	struct backoff backoff;
	struct backoff
		refused_backoff; /* after a refused dial, which does not count in the other */
	unsigned refused_count;  /* dials in a row */
	unsigned tries;          /* counts dials: picks broker and address */
	bool is_held;            /* connection_hold() */
	uint32_t frame_max;      /* negotiated, bytes */
	uint16_t heartbeat_s;    /* negotiated, never 0 */
	bool has_sent;           /* since the last beat */
	unsigned silent_beats;   /* beats in a row without anything from the broker */
	struct amqp_fault fault;
	struct connection_counters counters;
	uint64_t since_mono_us; /* of the present state */
	uint64_t ready_mono_us; /* when it was ready first, since the last dial; 0 = not yet */
};

/* Takes:   everything in config is borrowed until connection_fini().
 * Returns: ERR_OK or ERR_NOMEM.
 * Fires:   on_change after every move, on the loop thread. It may look, publish and stop, but
 * not start or break this connection. */
WARN_UNUSED enum err connection_init(struct connection *c, struct loop *l,
	const struct connection_config *config, connection_change_fn on_change, void *arg);

/* Frees; the connection must be DOWN or zeroed. */
void connection_fini(struct connection *c);

/* Adds a channel while DOWN. The channel stays the owner's and must outlive the connection. At
 * most CONNECTION_CHANNELS_MAX. */
void connection_add(struct connection *c, struct channel *ch);

/* Begins to dial, and goes on until connection_stop(). Only when DOWN. */
void connection_start(struct connection *c);

/* Says connection.close, waits a second at most for its answer, ends DOWN. Takes effect as soon
 * as the present callback is over, so it may be called from inside all of them.
 * Fires:   on_stopped once, later, never from inside; the connection may be freed inside.
 *          Idempotent: only the first on_stopped counts. */
void connection_stop(struct connection *c, connection_stopped_fn on_stopped, void *arg);

/* No dial begins between these two; what is up or on its way stays so. A dial that was due
 * meanwhile begins with the release. Both may be called at any time, and again. */
void connection_hold(struct connection *c);
void connection_release(struct connection *c);

static inline bool connection_is_ready(const struct connection *c)
{
	return c->state == CONNECTION_READY;
}

/* Static storage: "down", "dialing" … */
const char *connection_state_name(const struct connection *c);

/* host:port of the broker that is or was dialed last; borrowed. */
const struct transport_address *connection_broker(const struct connection *c);

#endif
