/* link.h - the pair of connections to one vhost: one publishes, one consumes, they live
 * together.
 *
 * A broker in an alarm stops reading from connections that publish; on a pair of their own,
 * what is consumed goes on meanwhile. The consuming one is dialed when the publishing one is ready,
 * so that whatever comes can be answered.
 * Layer: amqp. Uses: base, loop, connection. Thread: the loop's. */
#ifndef SALLYPORT_AMQP_LINK_H
#define SALLYPORT_AMQP_LINK_H

#include <stdbool.h>

#include "amqp/connection.h"

enum { LINK_NAME_BYTES = 96 };

struct link_config {
	const char *name;  /* of the crossing: web1 */
	const char *vhost; /* border.web1 */
	const struct transport_address *brokers;
	unsigned broker_count;
	struct tls_identity *identity;
	uint64_t handshake_timeout_ms;
	uint64_t retry_first_ms;
	uint64_t retry_longest_ms;
	uint16_t heartbeat_s;
};

struct link;

typedef void (*link_fn)(void *arg, struct link *l);

struct link {
	struct connection publish;
	struct connection consume;
	char vhost[LINK_NAME_BYTES];
	char publish_name[LINK_NAME_BYTES]; /* web1.publish */
	char consume_name[LINK_NAME_BYTES]; /* web1.consume */
	link_fn on_change;
	link_fn on_stopped;
	void *arg;
	bool was_ready;
	unsigned stopping; /* connections that are not down yet */
};

/* Takes:   config's texts are copied, but brokers and identity, which are borrowed until
 *          link_fini().
 * Returns: ERR_OK; ERR_INPUT (a name too long); ERR_NOMEM.
 * Fires:   on_change when link_is_ready() has changed. It may stop the link, not start or break
 *          it. */
WARN_UNUSED enum err link_init(struct link *k, struct loop *l, const struct link_config *config,
	link_fn on_change, void *arg);

/* Both connections must be DOWN, or k zeroed. */
void link_fini(struct link *k);

/* Add the channels before: connection_add(&k->publish, …), connection_add(&k->consume, …). */
void link_start(struct link *k);

/* Fires: on_stopped once both connections are down, later; k may be freed inside. */
void link_stop(struct link *k, link_fn on_stopped);

/* Why the broker reads nothing from us at present, as it has told; NULL when it does. Borrowed
 * until the connection moves on. */
static inline const char *link_blocked_why(const struct link *k)
{
	return k->publish.state == CONNECTION_BLOCKED ? k->publish.fault.text : NULL;
}

/* Both connections serve and all their channels are ready. */
static inline bool link_is_ready(const struct link *k)
{
	return connection_is_ready(&k->publish) && connection_is_ready(&k->consume);
}

#endif
