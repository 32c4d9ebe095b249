/* message.h - what crosses a realm's edge: one message and its properties, whatever carries it.
 *
 * Names follow AMQP 0-9-1 basic properties where one exists; the rest travels as flat headers.
 * Layer: message. Uses: base. Never: a socket, a broker's library. */
#ifndef SALLYPORT_MESSAGE_MESSAGE_H
#define SALLYPORT_MESSAGE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/span.h"

enum {
	MESSAGE_TYPE_MAX_BYTES = 64,
	MESSAGE_KEY_MAX_BYTES = 128,
	MESSAGE_TRACE_MAX_BYTES = 128,
	MESSAGE_BODY_MAX_BYTES = 192 * 1024, /* the border refuses more than 256 KiB */
};

enum message_durability {
	MESSAGE_TRANSIENT =
		0, /* calls and replies: lost with the broker, noticed by the deadline */
	MESSAGE_PERSISTENT, /* everything that is stored */
};

enum message_content {
	MESSAGE_JSON = 0, /* application/json: parameters or a result */
	MESSAGE_PROBLEM,  /* application/problem+json (RFC 9457): why there is no result */
};

/* All spans are borrowed from whoever filled the message in. */
struct message {
	struct id id;          /* message-id */
	struct id correlation; /* correlation-id: the request that this answers */
	bool has_correlation;
	enum message_durability durability;
	enum message_content content;
	struct span type;         /* the operation */
	struct span user_id;      /* sender's identity, vouched for by the broker */
	struct span traceparent;  /* W3C trace context, empty if none */
	struct span key;          /* ordering key, empty if none */
	struct span contract;     /* digest of the sender's contract */
	uint64_t time_left_ms;    /* expiration: until the caller's deadline; 0 = none */
	uint64_t expires_unix_ms; /* expires-at, of stored messages; 0 = never */
	uint64_t sent_unix_us;    /* wall clock of the sender */
	uint64_t epoch;           /* random at each start of the sender */
	uint64_t seq;             /* counts the sender's messages on this lane, from 1 */
	uint64_t attempt;         /* 0 for the first */
	uint64_t turn;            /* counts the publishes of a stored lane, from 1; 0 = none */
	struct id prev;           /* the one before it of its key, to be taken first: relay.h */
	bool has_prev;
	bool is_sealed; /* content-encoding: body is an envelope (seal.h), nothing that can be read */
	struct span body;
};

/* An operation's name: [a-z0-9_.]{1,64}, and nothing else ever becomes part of a URL or a file.
 */
bool message_type_is_valid(struct span type);

/* "application/json" or "application/problem+json". */
const char *message_content_type(enum message_content content);

/* Returns ERR_INPUT for any other text (parameters such as charset included). */
WARN_UNUSED enum err message_content_parse(struct span text, enum message_content *out);

/* Counts the messages of one sender on one lane. */
struct sender {
	const char *identity; /* borrowed: the certificate's common name */
	uint64_t epoch;
	uint64_t seq; /* of the last message */
};

/* identity is borrowed for the sender's life. */
void sender_init(struct sender *s, const char *identity);

/* Fills in who and when: user_id, epoch, the next seq, sent_unix_us. Call it once per publish.
 */
void sender_stamp(struct sender *s, struct message *m);

#endif
