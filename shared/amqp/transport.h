/* transport.h - bytes to and from one broker: TCP, with mutual TLS around it where asked for.
 *
 * Layer: amqp. Uses: base, loop, tls, libuv. Never: a frame. Thread: the loop's. */
#ifndef SALLYPORT_AMQP_TRANSPORT_H
#define SALLYPORT_AMQP_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "amqp/tls.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "loop/loop.h"

enum {
	TRANSPORT_HOST_MAX_BYTES = 253, /* the longest DNS name (RFC 1035) */
	TRANSPORT_READ_BYTES = 16 * 1024,
};

struct transport_address {
	char host[TRANSPORT_HOST_MAX_BYTES + 1]; /* DNS name or IP address, no brackets */
	uint16_t port;
};

/* Reads "host:port", "192.0.2.1:5671" or "[2001:db8::1]:5671".
 * Returns: ERR_OK, or ERR_INPUT and out is untouched. */
WARN_UNUSED enum err transport_address_parse(struct span text, struct transport_address *out);

struct transport;

/* All fire on the loop thread, never from inside transport_dial(), and in this order:
 * on_connected once, on_ready once, on_bytes any number of times, on_failed at most once, last.
 * transport_close() ends them all at any moment, also from inside one. */
struct transport_events {
	void (*on_connected)(void *arg); /* TCP is up, TLS begins */
	void (*on_ready)(void *arg); /* may write now; without TLS right after on_connected */
	void (*on_bytes)(void *arg, struct span bytes);              /* borrowed */
	void (*on_failed)(void *arg, enum err err, const char *why); /* why is borrowed */
};

/* Begins to connect.
 *
 * Takes:   address and identity are borrowed (identity until the transport is closed); identity
 * NULL means plain TCP. `turn` picks among the addresses that a name resolves to (modulo their
 *          number), so that one dead address does not hide the others.
 * Returns: ERR_OK and a transport that transport_close() must end; ERR_NOMEM; ERR_FULL. */
WARN_UNUSED enum err transport_dial(struct loop *l, const struct transport_address *address,
	const struct tls_identity *identity, unsigned turn,
	const struct transport_events *events, void *arg, struct transport **out);

/* Sends all of `bytes` in one write(2) where the kernel takes it, keeps the rest.
 * Returns: ERR_OK; ERR_NOMEM or ERR_TLS, after which the stream is broken. */
WARN_UNUSED enum err transport_write(struct transport *t, struct span bytes);

/* True while an earlier write still waits for the kernel: better gather than write more. */
bool transport_is_writing(const struct transport *t);

/* True once a host answered that nobody listens there: asking again costs nothing, and may soon be
 * worth it. */
bool transport_was_refused(const struct transport *t);

/* No event fires after this; memory and descriptor go when libuv lets go of them. NULL is fine.
 */
void transport_close(struct transport *t);

#endif
