/* seal.h - the body of a message made unreadable and unalterable for whoever carries it.
 *
 * Whoever owns the broker can drop and delay; he cannot read, forge, alter, or move a message
 * to another crossing, direction, operation, sender or time. Replays are replay.h's business.
 * Why it is built so, and the bytes: docs/decisions/0009-the-seal.md.
 * Layer: message. Uses: base, OpenSSL EVP. Never: a clock, a file, randomness. Thread: one
 * thread per struct seal. */
#ifndef SALLYPORT_MESSAGE_SEAL_H
#define SALLYPORT_MESSAGE_SEAL_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"
#include "message/keyring.h"
#include "message/message.h"

enum {
	SEAL_VERSION = 1,
	SEAL_KEY_ID_BYTES = 8,
	SEAL_NONCE_BYTES = 12,
	SEAL_TAG_BYTES = 16,
	SEAL_OVERHEAD_BYTES = 1 + SEAL_KEY_ID_BYTES + SEAL_NONCE_BYTES + SEAL_TAG_BYTES,
	SEAL_MAX_BYTES = MESSAGE_BODY_MAX_BYTES + SEAL_OVERHEAD_BYTES, /* of an envelope */
	SEAL_FIELD_MAX_BYTES = 255, /* of each text that is bound; longer ones are refused */
};

/* content-encoding of a sealed body. */
#define SEAL_ENCODING "sealed-v1"

/* Which way a message goes; a seal of one is none of another. The numbers are in the bytes. */
enum seal_direction {
	SEAL_FORAPP = 0, /* web host to app realm */
	SEAL_FORWEB,     /* app realm to web host */
	SEAL_INNER,      /* app realm to itself; crossing is the empty text */
};

struct seal_counters {
	uint64_t wrapped;
	uint64_t opened;          /* with either key */
	uint64_t opened_accepted; /* of these, with the key that is only accepted */
	uint64_t refused;         /* ERR_SEAL */
};

/* One direction of one crossing, with what can be prepared for its messages: sender keys and
 * contexts. */
struct seal;

/* Takes:   ring and crossing (the web host's name, at most SEAL_FIELD_MAX_BYTES) are copied.
 * Returns: ERR_OK; ERR_INPUT (crossing too long); ERR_NOMEM. */
WARN_UNUSED enum err seal_create(const struct keyring *ring, enum seal_direction direction,
	struct span crossing, struct seal **out);

/* Wipes the keys. NULL is fine. */
void seal_destroy(struct seal *s);

/* From now on the keys are these.
 *
 * Returns: ERR_OK; ERR_NOMEM: they are as before. */
WARN_UNUSED enum err seal_rekey(struct seal *s, const struct keyring *ring);

/* Appends the envelope of m->body to `out`. m is as it will travel: call it after
 * sender_stamp(), then let m->body be the envelope. Everything but body, durability and
 * correlation without has_correlation is bound.
 *
 * Takes:   m is borrowed; m->body must not lie in `out`.
 * Returns: ERR_OK; ERR_INPUT (a field or the body is longer than allowed, or there is no
 *          user_id); ERR_FULL (of out); ERR_NOMEM. */
WARN_UNUSED enum err seal_wrap(struct seal *s, const struct message *m, struct buf *out);

/* Appends the body to `out`; m->body is the envelope, the rest of m as it arrived.
 *
 * Takes:   as seal_wrap().
 * Returns: ERR_OK; ERR_SEAL for whatever is wrong with the message, without saying what: it
 *          was not sealed for here, by this sender, with these properties, under a key that
 *          is known; nothing is appended then. ERR_FULL (of out); ERR_NOMEM. */
WARN_UNUSED enum err seal_open(struct seal *s, const struct message *m, struct buf *out);

/* Borrowed; counts from seal_create() on. */
const struct seal_counters *seal_counters(const struct seal *s);

/* A key's public name, as in the envelope: to be shown to people, to tell keys apart.
 *
 * Returns: ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err seal_key_id(
	const struct seal_key *key, uint8_t out[static SEAL_KEY_ID_BYTES]);

/* The same as text: hexadecimal digits. */
struct seal_key_name {
	char at[2 * SEAL_KEY_ID_BYTES + 1]; /* empty: there is no such key */
};

/* Returns: ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err seal_key_name(const struct seal_key *key, struct seal_key_name *out);

/* The names of the keys in use: which one seals and opens, which one only opens. */
struct seal_key_names {
	struct seal_key_name present;
	struct seal_key_name accepted;
};
struct seal_key_names seal_key_names(const struct seal *s);

#endif
