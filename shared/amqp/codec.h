/* codec.h - AMQP 0-9-1 frames, methods and properties to and from bytes; no socket, no state.
 *
 * The only room that knows rabbitmq-c, which is used as a codec without I/O. Follows the AMQP
 * 0-9-1 specification with RabbitMQ's errata and extensions (publisher confirms, basic.nack,
 * consumer cancel notification, connection.blocked).
 * Layer: amqp. Uses: base, message, rabbitmq-c. Never: uv, OpenSSL. */
#ifndef SALLYPORT_AMQP_CODEC_H
#define SALLYPORT_AMQP_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "message/message.h"

enum {
	AMQP_FRAME_HEAD_BYTES = 7,   /* type, channel, size */
	AMQP_FRAME_EXTRA_BYTES = 8,  /* head and the end octet */
	AMQP_FRAME_MIN_BYTES = 4096, /* below this no peer may go (specification) */
	AMQP_FRAME_MAX_BYTES = 8192, /* what we offer; also bounds nesting of header tables */
	/* A header frame grows on its way, and cannot be split: a queue that delivers again adds
	 * x-delivery-count, a dead letter gets x-death, and RabbitMQ takes header frames of 8 bytes
	 * more than frame_max to begin with. None of it may cost the reader his connection. */
	AMQP_HEADER_GROWTH_BYTES = 4096,
	AMQP_FRAME_READ_MAX_BYTES = AMQP_FRAME_MAX_BYTES + AMQP_HEADER_GROWTH_BYTES,
	AMQP_TEXT_MAX_BYTES = 255, /* a short string */
};

enum frame_type {
	FRAME_METHOD = 1,
	FRAME_HEADER = 2,
	FRAME_BODY = 3,
	FRAME_HEARTBEAT = 8,
};

struct frame {
	enum frame_type type;
	uint16_t channel;
	struct span payload; /* borrowed from the input */
};

/* The methods that a client can meet; everything else is METHOD_OTHER, which no state expects.
 */
enum method_kind {
	METHOD_OTHER = 0,
	METHOD_CONNECTION_START,
	METHOD_CONNECTION_TUNE,
	METHOD_CONNECTION_OPEN_OK,
	METHOD_CONNECTION_CLOSE,
	METHOD_CONNECTION_CLOSE_OK,
	METHOD_CONNECTION_BLOCKED,
	METHOD_CONNECTION_UNBLOCKED,
	METHOD_CHANNEL_OPEN_OK,
	METHOD_CHANNEL_CLOSE,
	METHOD_CHANNEL_CLOSE_OK,
	METHOD_CONFIRM_SELECT_OK,
	METHOD_BASIC_QOS_OK,
	METHOD_BASIC_CONSUME_OK,
	METHOD_BASIC_CANCEL,
	METHOD_BASIC_CANCEL_OK,
	METHOD_BASIC_DELIVER,
	METHOD_BASIC_RETURN,
	METHOD_BASIC_ACK,
	METHOD_BASIC_NACK,
};

/* Only the fields of its kind are set. Spans are borrowed from the frame's payload. */
struct method {
	enum method_kind kind;
	uint32_t number;        /* class << 16 | method, for the log */
	struct span mechanisms; /* start: SASL mechanisms, blank-separated */
	uint16_t channel_max;   /* tune */
	uint32_t frame_max;     /* tune, bytes; 0 = no limit */
	uint16_t heartbeat_s;   /* tune; 0 = the peer wants none */
	uint16_t code;          /* close, return: AMQP reply code */
	struct span text;       /* close, return: reply text; blocked: reason */
	uint64_t delivery_tag;  /* deliver, ack, nack */
	bool multiple;          /* ack, nack: all up to the tag */
	bool redelivered;       /* deliver */
};

/* Static storage: "basic.deliver", or "unknown method". */
const char *method_name(uint32_t number);

/* Cuts the next whole frame off `in`. A header frame may be larger than frame_max_bytes, by
 * AMQP_HEADER_GROWTH_BYTES.
 *
 * Returns: ERR_OK with *taken = its bytes, or *taken = 0 when more input is needed;
 * ERR_PROTOCOL for an unknown type, a size above the maximum, or a wrong end octet. */
WARN_UNUSED enum err frame_next(
	struct span in, size_t frame_max_bytes, struct frame *out, size_t *taken);

/* Memory of the decoder: bounded by one frame, used again for every frame. */
struct codec;

/* Returns ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err codec_create(struct codec **out);
void codec_destroy(struct codec *c); /* NULL is fine */

/* Decodes the payload of a method frame.
 * Returns: ERR_OK (spans valid as long as payload), ERR_PROTOCOL (malformed), ERR_NOMEM. */
WARN_UNUSED enum err codec_decode_method(
	struct codec *c, struct span payload, struct method *out);

/* How many bytes of body follow this header frame. Returns ERR_OK or ERR_PROTOCOL. */
WARN_UNUSED enum err codec_header_body_bytes(struct span payload, uint64_t *out);

/* Decodes the properties of a header frame; out->body stays as it is.
 *
 * What is missing stays empty or zero; what is there must be well formed: message-id a UUIDv7,
 * correlation-id likewise, expiration a decimal number, content-encoding that of a seal, headers
 * flat. Headers named x-… are the broker's and skipped; unknown flat ones are skipped too.
 * Returns: ERR_OK (spans valid as long as payload), ERR_INPUT (no message of ours: refuse it,
 * the connection is fine; out holds what could be read), ERR_NOMEM. */
WARN_UNUSED enum err codec_decode_properties(
	struct codec *c, struct span payload, struct message *out);

/* Everything below appends whole frames to `out`; errors stick in `out` (buf_status()). */

/* "AMQP" 0 0 9 1 */
void codec_put_protocol_header(struct buf *out);

/* SASL EXTERNAL: the identity is in the TLS certificate. `name` shows up in the broker's log.
 */
void codec_put_start_ok(struct buf *out, const char *name);
void codec_put_tune_ok(
	struct buf *out, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s);
void codec_put_open(struct buf *out, const char *vhost);
void codec_put_close(struct buf *out, uint16_t code, const char *text);
void codec_put_close_ok(struct buf *out);
void codec_put_heartbeat(struct buf *out);

void codec_put_channel_open(struct buf *out, uint16_t channel);
void codec_put_channel_close(
	struct buf *out, uint16_t channel, uint16_t code, const char *text);
void codec_put_channel_close_ok(struct buf *out, uint16_t channel);

void codec_put_confirm_select(struct buf *out, uint16_t channel);
void codec_put_qos(struct buf *out, uint16_t channel, uint16_t prefetch_count);
void codec_put_consume(
	struct buf *out, uint16_t channel, const char *queue, const char *consumer_tag);
void codec_put_cancel(struct buf *out, uint16_t channel, const char *consumer_tag);

enum ack_reach { ACK_ONE = 0, ACK_UP_TO };

void codec_put_ack(
	struct buf *out, uint16_t channel, uint64_t delivery_tag, enum ack_reach reach);

/* basic.reject without requeue: to the dead-letter exchange where the queue has one. */
void codec_put_reject(struct buf *out, uint16_t channel, uint64_t delivery_tag);

enum publish_route { ROUTE_OR_DROP = 0, ROUTE_OR_RETURN /* mandatory */ };

/* Method, header and body frames of one message. frame_max bounds each frame. */
void codec_put_publish(struct buf *out, uint16_t channel, uint32_t frame_max,
	const char *exchange, const char *routing_key, enum publish_route route,
	const struct message *m);

#endif
