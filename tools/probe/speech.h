/* speech.h - what a client of AMQP 0-9-1 can say, and what it had better not: methods, contents and
 * frames written from the specification, nothing checked.
 *
 * What a well-behaved client says is shared/amqp/codec.h's business.
 * Layer: tools. Uses: base, amqp/codec. Pure: bytes into a buffer. */
#ifndef SALLYPORT_PROBE_SPEECH_H
#define SALLYPORT_PROBE_SPEECH_H

#include <stdint.h>

#include "amqp/codec.h"
#include "base/buf.h"

#define SPEECH_METHOD(class, method) ((uint32_t)(class) << 16 | (uint32_t)(method))

/* class << 16 | method */
enum {
	START_OK = SPEECH_METHOD(10, 11),
	CONNECTION_UPDATE_SECRET = SPEECH_METHOD(10, 70),
	CHANNEL_FLOW = SPEECH_METHOD(20, 20),
	ACCESS_REQUEST = SPEECH_METHOD(30, 10),
	EXCHANGE_DECLARE = SPEECH_METHOD(40, 10),
	EXCHANGE_DELETE = SPEECH_METHOD(40, 20),
	EXCHANGE_BIND = SPEECH_METHOD(40, 30),
	EXCHANGE_UNBIND = SPEECH_METHOD(40, 40),
	QUEUE_DECLARE = SPEECH_METHOD(50, 10),
	QUEUE_DECLARE_OK = SPEECH_METHOD(50, 11),
	QUEUE_BIND = SPEECH_METHOD(50, 20),
	QUEUE_PURGE = SPEECH_METHOD(50, 30),
	QUEUE_DELETE = SPEECH_METHOD(50, 40),
	QUEUE_UNBIND = SPEECH_METHOD(50, 50),
	BASIC_QOS = SPEECH_METHOD(60, 10),
	BASIC_QOS_OK = SPEECH_METHOD(60, 11),
	BASIC_CONSUME = SPEECH_METHOD(60, 20),
	BASIC_PUBLISH = SPEECH_METHOD(60, 40),
	BASIC_GET = SPEECH_METHOD(60, 70),
	BASIC_RECOVER = SPEECH_METHOD(60, 110),
	TX_SELECT = SPEECH_METHOD(90, 10),
};

/* Bits of methods, where each has them. */
enum {
	DECLARE_PASSIVE = 1 << 0,
	DECLARE_DURABLE = 1 << 1,
	QUEUE_EXCLUSIVE = 1 << 2,
	QUEUE_AUTO_DELETE = 1 << 3,
	QUEUE_NO_WAIT = 1 << 4,
	EXCHANGE_AUTO_DELETE = 1 << 2,
	EXCHANGE_INTERNAL = 1 << 3,
	CONSUME_NO_ACK = 1 << 1,
	CONSUME_EXCLUSIVE = 1 << 2,
	PUBLISH_MANDATORY = 1 << 0,
	PUBLISH_IMMEDIATE = 1 << 1,
	GET_NO_ACK = 1 << 0,
};

/* Arguments of a method. */
enum speech_table {
	TABLE_EMPTY = 0,
	TABLE_CLASSIC, /* x-queue-type */
	TABLE_QUORUM,
	TABLE_STREAM,
	TABLE_ORDERED,        /* quorum, single active consumer: FORAPP.send as it is */
	TABLE_DEAD_LETTER,    /* what dies here goes to x.forapp */
	TABLE_ALTERNATE,      /* what is unroutable here goes to x.forweb */
	TABLE_WRONG_EXPIRES,  /* no queue can be made with this */
	TABLE_WRONG_PRIORITY, /* no consumer can be made with this */
	TABLE_LOW_PRIORITY,
	TABLE_HIGH_PRIORITY,
	TABLE_STREAM_OFFSET,
};

enum { REQUEST_TEXTS = 3 };

/* One method in the shape that those of classes 40, 50 and 60 share:
 * reserved, texts, bits, arguments. */
struct request {
	uint32_t method;
	const char *text[REQUEST_TEXTS]; /* NULL: empty */
	uint8_t bits;
	enum speech_table table;
};

/* "queue.declare"; NULL when no request can be made of it. */
const char *request_name(uint32_t method);

void speech_put_request(struct buf *out, uint16_t channel, const struct request *r);

struct speech_content {
	const char *user_id;    /* NULL: none */
	const char *cc;         /* keys with blanks between; NULL: none */
	const char *bcc;        /* likewise */
	const char *reply_to;   /* NULL: none */
	const char *expiration; /* NULL: none */
	uint32_t nested;        /* this many header tables within each other */
	uint64_t body_bytes;
};

/* The header frame; it announces a body that somebody else sends. */
void speech_put_header(struct buf *out, uint16_t channel, const struct speech_content *c);

/* Body frames of at most frame_bytes, all of body_bytes. */
void speech_put_body(
	struct buf *out, uint16_t channel, uint64_t body_bytes, size_t frame_bytes);

/* connection.start-ok of any mechanism; what a broker may tell a client is all asked for. */
void speech_put_start_ok(struct buf *out, const char *mechanism, struct span response);

void speech_put_update_secret(struct buf *out, const char *secret);

/* connection.open alone, on a channel where it does not belong too. */
void speech_put_open(struct buf *out, uint16_t channel, struct span vhost);

/* A frame with `bytes` of zeros, ended by `end` (right: SPEECH_END). */
enum { SPEECH_END = 0xce };
void speech_put_frame(
	struct buf *out, uint8_t type, uint16_t channel, size_t bytes, uint8_t end);

/* A method frame with these fields behind the number. */
void speech_put_method(struct buf *out, uint16_t channel, uint32_t method, struct span fields);

#endif
