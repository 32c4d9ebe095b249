/* amqp_wire.h - AMQP 0-9-1 written and read by hand, from the specification alone: what
 * shared/amqp is held against.
 *
 * Writes what a broker says, reads what a client says. Knows no codec: a mistake there must not
 * hide behind the same mistake here. Layer: tests. Uses: base. Thread: the test's. */
#ifndef SALLYPORT_TEST_AMQP_WIRE_H
#define SALLYPORT_TEST_AMQP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

/* class << 16 | method */
enum wire_method {
	WIRE_START = 10 << 16 | 10,
	WIRE_START_OK = 10 << 16 | 11,
	WIRE_TUNE = 10 << 16 | 30,
	WIRE_TUNE_OK = 10 << 16 | 31,
	WIRE_OPEN = 10 << 16 | 40,
	WIRE_OPEN_OK = 10 << 16 | 41,
	WIRE_CLOSE = 10 << 16 | 50,
	WIRE_CLOSE_OK = 10 << 16 | 51,
	WIRE_BLOCKED = 10 << 16 | 60,
	WIRE_UNBLOCKED = 10 << 16 | 61,
	WIRE_CHANNEL_OPEN = 20 << 16 | 10,
	WIRE_CHANNEL_OPEN_OK = 20 << 16 | 11,
	WIRE_CHANNEL_CLOSE = 20 << 16 | 40,
	WIRE_CHANNEL_CLOSE_OK = 20 << 16 | 41,
	WIRE_CONFIRM_SELECT = 85 << 16 | 10,
	WIRE_CONFIRM_SELECT_OK = 85 << 16 | 11,
	WIRE_QOS = 60 << 16 | 10,
	WIRE_QOS_OK = 60 << 16 | 11,
	WIRE_CONSUME = 60 << 16 | 20,
	WIRE_CONSUME_OK = 60 << 16 | 21,
	WIRE_CANCEL = 60 << 16 | 30,
	WIRE_CANCEL_OK = 60 << 16 | 31,
	WIRE_PUBLISH = 60 << 16 | 40,
	WIRE_RETURN = 60 << 16 | 50,
	WIRE_DELIVER = 60 << 16 | 60,
	WIRE_ACK = 60 << 16 | 80,
	WIRE_REJECT = 60 << 16 | 90,
	WIRE_NACK = 60 << 16 | 120,
};

enum { WIRE_METHOD = 1, WIRE_HEADER = 2, WIRE_BODY = 3, WIRE_HEARTBEAT = 8, WIRE_END = 0xce };

/* Property flags of a content header. */
enum {
	WIRE_HAS_CONTENT_TYPE = 1 << 15,
	WIRE_HAS_ENCODING = 1 << 14,
	WIRE_HAS_HEADERS = 1 << 13,
	WIRE_HAS_DELIVERY_MODE = 1 << 12,
	WIRE_HAS_PRIORITY = 1 << 11,
	WIRE_HAS_CORRELATION = 1 << 10,
	WIRE_HAS_REPLY_TO = 1 << 9,
	WIRE_HAS_EXPIRATION = 1 << 8,
	WIRE_HAS_MESSAGE_ID = 1 << 7,
	WIRE_HAS_TIMESTAMP = 1 << 6,
	WIRE_HAS_TYPE = 1 << 5,
	WIRE_HAS_USER_ID = 1 << 4,
};

/* ---- writing ---- */

struct wire {
	struct buf out;
	size_t frame_at; /* where the payload of the open frame begins */
};

void wire_init(struct wire *w);
void wire_fini(struct wire *w);
void wire_clear(struct wire *w);
struct span wire_span(const struct wire *w);

void wire_octet(struct wire *w, uint8_t value);
void wire_short(struct wire *w, uint16_t value);
void wire_long(struct wire *w, uint32_t value);
void wire_longlong(struct wire *w, uint64_t value);
void wire_raw(struct wire *w, const void *at, size_t len);
void wire_shortstr(struct wire *w, const char *text);
void wire_longstr(struct wire *w, const char *text);

/* A length of four bytes that wire_until() fills in: tables, arrays. */
size_t wire_from(struct wire *w);
void wire_until(struct wire *w, size_t from);

/* Entries of a table. */
void wire_entry_text(struct wire *w, const char *name, const char *value);
void wire_entry_number(struct wire *w, const char *name, int64_t value);
void wire_entry_flag(struct wire *w, const char *name, bool value);

void wire_frame_begin(struct wire *w, uint8_t type, uint16_t channel);
void wire_frame_end(struct wire *w);
void wire_method_begin(struct wire *w, uint16_t channel, enum wire_method method);

/* Whole frames of a broker. */
void wire_put_start(struct wire *w, const char *mechanisms);
void wire_put_tune(
	struct wire *w, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s);
void wire_put_close(struct wire *w, uint16_t code, const char *text);
void wire_put_blocked(struct wire *w, const char *reason);
void wire_put_channel_close(struct wire *w, uint16_t channel, uint16_t code, const char *text);
/* Those without fields, or with none that matter: open-ok, close-ok, unblocked, … -ok, cancel.
 */
void wire_put_plain(struct wire *w, uint16_t channel, enum wire_method method);
void wire_put_deliver(struct wire *w, uint16_t channel, uint64_t tag, bool is_redelivered);
void wire_put_return(struct wire *w, uint16_t channel, uint16_t code, const char *text);
void wire_put_confirm(struct wire *w, uint16_t channel, enum wire_method ack_or_nack,
	uint64_t tag, bool multiple);
void wire_put_heartbeat(struct wire *w);

/* A header frame: fields follow in the order of their flags, then wire_frame_end(). */
void wire_header_begin(struct wire *w, uint16_t channel, uint64_t body_bytes, uint16_t flags);

/* A header as our own peers write it. */
void wire_put_header(struct wire *w, uint16_t channel, const char *id, uint64_t body_bytes);

/* A header that fills so many bytes of payload, by one entry of a table that nobody knows. */
void wire_put_header_of(struct wire *w, uint16_t channel, const char *id, const char *user_id,
	uint64_t body_bytes, size_t payload_bytes);

void wire_put_body(struct wire *w, uint16_t channel, const void *at, size_t len);

/* Header and bodies of at most piece_bytes. */
void wire_put_content(
	struct wire *w, uint16_t channel, const char *id, struct span body, size_t piece_bytes);

/* ---- reading ---- */

/* Sticks: once short, every read gives 0 and is_short stays. */
struct wire_reader {
	struct span left;
	bool is_short;
};

uint8_t wire_read_octet(struct wire_reader *r);
uint16_t wire_read_short(struct wire_reader *r);
uint32_t wire_read_long(struct wire_reader *r);
uint64_t wire_read_longlong(struct wire_reader *r);
struct span wire_read_bytes(struct wire_reader *r, size_t len);
struct span wire_read_shortstr(struct wire_reader *r);
struct span wire_read_longstr(struct wire_reader *r); /* tables too */

struct wire_frame {
	uint8_t type; /* 0: the protocol header */
	uint16_t channel;
	uint32_t method;     /* of a method frame, else 0 */
	struct span payload; /* of a method frame: its fields */
	size_t bytes;        /* all of it */
};

enum wire_verdict { WIRE_WHOLE = 0, WIRE_MORE, WIRE_BROKEN };

/* Cuts the next frame (or the protocol header) off. */
enum wire_verdict wire_next(struct span in, struct wire_frame *out);

/* basic.ack, nack, reject. */
struct wire_ack {
	uint64_t tag;
	uint8_t bits; /* 1: multiple (ack), requeue (reject) */
};
struct wire_ack wire_read_ack(const struct wire_frame *f);

#endif
