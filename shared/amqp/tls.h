/* tls.h - mutual TLS 1.3 between two byte streams, without a socket: OpenSSL over memory BIOs.
 *
 * The only room that knows <openssl/ssl.h>. We are always the client, the peer's name is always
 * checked (RFC 6125), and nothing below TLS 1.3 is spoken.
 * Layer: amqp. Uses: base, OpenSSL. Never: uv. Thread: the owner's. */
#ifndef SALLYPORT_AMQP_TLS_H
#define SALLYPORT_AMQP_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum { TLS_WHY_BYTES = 256, TLS_NAME_MAX_BYTES = 64 };

/* Why something failed, in one line fit for the log. */
struct tls_why {
	char at[TLS_WHY_BYTES];
	const char *
		file; /* of tls_identity_open(): the one of its paths that is wrong, else NULL */
};

struct tls_paths {
	const char *ca;          /* PEM, who may have signed the broker */
	const char *certificate; /* PEM, ours, with its chain */
	const char *key;         /* PEM, of the certificate, without a passphrase */
};

/* Certificates and key, read once and shared by many streams. */
struct tls_identity;

/* Takes:   paths are borrowed for the call.
 * Returns: ERR_OK; ERR_INPUT (unreadable, no PEM, key of another certificate, expired, no
 *          common name) with *why naming the file; ERR_NOMEM.
 * Blocks:  on reading three files. */
WARN_UNUSED enum err tls_identity_open(
	const struct tls_paths *paths, struct tls_identity **out, struct tls_why *why);

/* One more holder: it lives until each has closed it. Returns id; NULL is fine. */
struct tls_identity *tls_identity_hold(struct tls_identity *id);
void tls_identity_close(struct tls_identity *id); /* NULL is fine; his streams must be gone */

/* The common name of our certificate: the identity that the broker sees. */
const char *tls_identity_name(const struct tls_identity *id);

/* When our certificate ends, Unix seconds. */
int64_t tls_identity_ends_unix_s(const struct tls_identity *id);

/* Why our certificate does not come from the CA that its paths named; NULL: it does, or memory is
 * short. That is no fault by itself, since clients and brokers may have CAs of their own. Static
 * storage. */
const char *tls_identity_stranger(const struct tls_identity *id);

struct tls;

/* A new stream to the peer called `peer_name` (a DNS name or an IP address). id is borrowed.
 * Returns ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err tls_create(
	const struct tls_identity *id, const char *peer_name, struct tls **out);
void tls_destroy(struct tls *t); /* NULL is fine */

/* What came from the network. Returns ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err tls_feed(struct tls *t, struct span cipher);

/* Goes on with the handshake.
 * Returns: ERR_OK (done), ERR_BUSY (waits for the peer), ERR_TLS (failed; see tls_why()). */
WARN_UNUSED enum err tls_handshake(struct tls *t);

/* Plain text that came, at most `room` bytes; *got is 0 when there is none for now.
 * Returns: ERR_OK, ERR_LINK (the peer closed in order), ERR_TLS (see tls_why()). */
WARN_UNUSED enum err tls_read(struct tls *t, char *to, size_t room, size_t *got);

/* Whether tls_read() would find anything more, or at least has bytes to look at. */
bool tls_has_more(const struct tls *t);

/* Encrypts all of `plain`. Returns ERR_OK or ERR_TLS. */
WARN_UNUSED enum err tls_write(struct tls *t, struct span plain);

/* Says goodbye (close_notify); whatever happens. */
void tls_close(struct tls *t);

/* What waits to go to the network: borrowed until the next call. */
struct span tls_output(struct tls *t);

/* The first `bytes` of tls_output() are on their way. */
void tls_output_taken(struct tls *t, size_t bytes);

/* Why the last call failed. */
struct tls_why tls_why(const struct tls *t);

#endif
