/* bench_amqp.h - one bare, blocking rabbitmq-c connection over mutual TLS 1.3: what the daemons
 * are measured against.
 *
 * Nothing of shared/amqp is in here. Errors are told on stderr by the one who meets them.
 * Layer: tests. Uses: base, rabbitmq-c, OpenSSL. */
#ifndef SALLYPORT_BENCH_AMQP_H
#define SALLYPORT_BENCH_AMQP_H

#include <amqp.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

struct bench_broker {
	const char *host;
	uint16_t port;
	const char *ca; /* path */
	const char *vhost;
};

struct bench_identity {
	const char *certificate; /* path */
	const char *key;         /* path */
};

struct bench_link {
	amqp_connection_state_t conn; /* owned; NULL when closed */
	const char *who;              /* for messages */
};

/* Dials, logs in by certificate, opens channel 1. Returns ERR_OK, ERR_LINK or ERR_REFUSED; the
 * link is closed then. */
WARN_UNUSED enum err bench_link_open(struct bench_link *l, const char *who,
	const struct bench_broker *broker, const struct bench_identity *identity);

/* Says good-bye properly. A zeroed or closed link is fine. */
void bench_link_close(struct bench_link *l);

/* Consumes `queue` with manual acknowledgement and at most `prefetch` unacknowledged. */
WARN_UNUSED enum err bench_link_consume(
	struct bench_link *l, const char *queue, uint16_t prefetch);

/* From now on the broker confirms what is published here. */
WARN_UNUSED enum err bench_link_confirm(struct bench_link *l);

enum bench_life { BENCH_TRANSIENT = 1, BENCH_PERSISTENT = 2 }; /* AMQP's delivery modes */

WARN_UNUSED enum err bench_link_publish(struct bench_link *l, const char *exchange,
	const char *key, amqp_bytes_t correlation_id, enum bench_life life, amqp_bytes_t body);

/* Waits for the next delivery, at most timeout_ms.
 * Takes:   *out is the caller's to give back by amqp_destroy_envelope().
 * Returns: ERR_OK, ERR_TIMEOUT (silently) or ERR_LINK. */
WARN_UNUSED enum err bench_link_take(
	struct bench_link *l, uint64_t timeout_ms, amqp_envelope_t *out);

enum bench_ack { BENCH_ACK_ONE = 0, BENCH_ACK_UP_TO };

WARN_UNUSED enum err bench_link_ack(
	struct bench_link *l, uint64_t delivery_tag, enum bench_ack ack);

struct bench_confirm {
	uint64_t delivery_tag;
	enum bench_ack ack; /* this one, or all up to it */
};

/* Waits for the next confirm, at most timeout_ms. ERR_REFUSED when the broker said no. */
WARN_UNUSED enum err bench_link_wait_confirm(
	struct bench_link *l, uint64_t timeout_ms, struct bench_confirm *out);

#endif
