#include "amqp_wire.h"

#include <string.h>

enum { WIRE_MAX_BYTES = 64 * 1024 * 1024, BASIC_CLASS = 60, PROTOCOL_HEADER_BYTES = 8 };

void wire_init(struct wire *w)
{
	*w = (struct wire){ 0 };
	buf_init(&w->out, WIRE_MAX_BYTES);
}

void wire_fini(struct wire *w)
{
	buf_fini(&w->out);
}

void wire_clear(struct wire *w)
{
	buf_clear(&w->out);
}

struct span wire_span(const struct wire *w)
{
	return buf_span(&w->out);
}

void wire_octet(struct wire *w, uint8_t value)
{
	buf_byte(&w->out, value);
}

void wire_short(struct wire *w, uint16_t value)
{
	wire_octet(w, (uint8_t)(value >> 8));
	wire_octet(w, (uint8_t)value);
}

void wire_long(struct wire *w, uint32_t value)
{
	wire_short(w, (uint16_t)(value >> 16));
	wire_short(w, (uint16_t)value);
}

void wire_longlong(struct wire *w, uint64_t value)
{
	wire_long(w, (uint32_t)(value >> 32));
	wire_long(w, (uint32_t)value);
}

void wire_raw(struct wire *w, const void *at, size_t len)
{
	buf_append(&w->out, (struct span){ .at = at, .len = len });
}

void wire_shortstr(struct wire *w, const char *text)
{
	wire_octet(w, (uint8_t)strlen(text));
	wire_raw(w, text, strlen(text));
}

void wire_longstr(struct wire *w, const char *text)
{
	wire_long(w, (uint32_t)strlen(text));
	wire_raw(w, text, strlen(text));
}

size_t wire_from(struct wire *w)
{
	wire_long(w, 0);
	return w->out.len;
}

void wire_until(struct wire *w, size_t from)
{
	size_t len = w->out.len - from;

	for (int i = 0; i < 4; i++)
		w->out.at[from - 4 + (size_t)i] = (char)(len >> (24 - 8 * i));
}

void wire_entry_text(struct wire *w, const char *name, const char *value)
{
	wire_shortstr(w, name);
	wire_octet(w, 'S');
	wire_longstr(w, value);
}

void wire_entry_number(struct wire *w, const char *name, int64_t value)
{
	wire_shortstr(w, name);
	wire_octet(w, 'l');
	wire_longlong(w, (uint64_t)value);
}

void wire_entry_flag(struct wire *w, const char *name, bool value)
{
	wire_shortstr(w, name);
	wire_octet(w, 't');
	wire_octet(w, value);
}

void wire_frame_begin(struct wire *w, uint8_t type, uint16_t channel)
{
	wire_octet(w, type);
	wire_short(w, channel);
	w->frame_at = wire_from(w);
}

void wire_frame_end(struct wire *w)
{
	wire_until(w, w->frame_at);
	wire_octet(w, WIRE_END);
}

void wire_method_begin(struct wire *w, uint16_t channel, enum wire_method method)
{
	wire_frame_begin(w, WIRE_METHOD, channel);
	wire_long(w, (uint32_t)method);
}

void wire_put_start(struct wire *w, const char *mechanisms)
{
	wire_method_begin(w, 0, WIRE_START);
	wire_octet(w, 0);
	wire_octet(w, 9);
	size_t properties = wire_from(w);

	wire_shortstr(w, "capabilities");
	wire_octet(w, 'F');
	size_t capabilities = wire_from(w);

	wire_entry_flag(w, "publisher_confirms", true);
	wire_entry_flag(w, "connection.blocked", true);
	wire_until(w, capabilities);
	wire_entry_text(w, "product", "RabbitMQ");
	wire_entry_text(w, "version", "3.10.8");
	wire_until(w, properties);
	wire_longstr(w, mechanisms);
	wire_longstr(w, "en_US");
	wire_frame_end(w);
}

void wire_put_tune(
	struct wire *w, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s)
{
	wire_method_begin(w, 0, WIRE_TUNE);
	wire_short(w, channel_max);
	wire_long(w, frame_max);
	wire_short(w, heartbeat_s);
	wire_frame_end(w);
}

static void put_any_close(struct wire *w, uint16_t channel, enum wire_method method,
	uint16_t code, const char *text)
{
	wire_method_begin(w, channel, method);
	wire_short(w, code);
	wire_shortstr(w, text);
	wire_long(w, 0); /* no method is to blame */
	wire_frame_end(w);
}

void wire_put_close(struct wire *w, uint16_t code, const char *text)
{
	put_any_close(w, 0, WIRE_CLOSE, code, text);
}

void wire_put_channel_close(struct wire *w, uint16_t channel, uint16_t code, const char *text)
{
	put_any_close(w, channel, WIRE_CHANNEL_CLOSE, code, text);
}

void wire_put_blocked(struct wire *w, const char *reason)
{
	wire_method_begin(w, 0, WIRE_BLOCKED);
	wire_shortstr(w, reason);
	wire_frame_end(w);
}

void wire_put_plain(struct wire *w, uint16_t channel, enum wire_method method)
{
	wire_method_begin(w, channel, method);
	switch (method) {
	case WIRE_OPEN_OK:
		wire_shortstr(w, "");
		break;
	case WIRE_CHANNEL_OPEN_OK:
		wire_longstr(w, "");
		break;
	case WIRE_CONSUME_OK:
	case WIRE_CANCEL_OK:
		wire_shortstr(w, "sallyport");
		break;
	case WIRE_CANCEL:
		wire_shortstr(w, "sallyport");
		wire_octet(w, 1); /* no-wait */
		break;
	default:
		break;
	}
	wire_frame_end(w);
}

void wire_put_deliver(struct wire *w, uint16_t channel, uint64_t tag, bool is_redelivered)
{
	wire_method_begin(w, channel, WIRE_DELIVER);
	wire_shortstr(w, "sallyport");
	wire_longlong(w, tag);
	wire_octet(w, is_redelivered);
	wire_shortstr(w, "x.forapp");
	wire_shortstr(w, "call");
	wire_frame_end(w);
}

void wire_put_return(struct wire *w, uint16_t channel, uint16_t code, const char *text)
{
	wire_method_begin(w, channel, WIRE_RETURN);
	wire_short(w, code);
	wire_shortstr(w, text);
	wire_shortstr(w, "x.forapp");
	wire_shortstr(w, "nowhere");
	wire_frame_end(w);
}

void wire_put_confirm(struct wire *w, uint16_t channel, enum wire_method ack_or_nack,
	uint64_t tag, bool multiple)
{
	wire_method_begin(w, channel, ack_or_nack);
	wire_longlong(w, tag);
	wire_octet(w, multiple);
	wire_frame_end(w);
}

void wire_put_heartbeat(struct wire *w)
{
	wire_frame_begin(w, WIRE_HEARTBEAT, 0);
	wire_frame_end(w);
}

void wire_header_begin(struct wire *w, uint16_t channel, uint64_t body_bytes, uint16_t flags)
{
	wire_frame_begin(w, WIRE_HEADER, channel);
	wire_short(w, BASIC_CLASS);
	wire_short(w, 0);
	wire_longlong(w, body_bytes);
	wire_short(w, flags);
}

void wire_put_header(struct wire *w, uint16_t channel, const char *id, uint64_t body_bytes)
{
	wire_header_begin(w, channel, body_bytes,
		WIRE_HAS_CONTENT_TYPE | WIRE_HAS_HEADERS | WIRE_HAS_DELIVERY_MODE |
			WIRE_HAS_MESSAGE_ID | WIRE_HAS_TIMESTAMP | WIRE_HAS_TYPE |
			WIRE_HAS_USER_ID);
	wire_shortstr(w, "application/json");
	size_t headers = wire_from(w);

	wire_entry_number(w, "sent-us", 1700000000000000);
	wire_entry_number(w, "epoch", 77);
	wire_entry_number(w, "seq", 5);
	wire_until(w, headers);
	wire_octet(w, 1);
	wire_shortstr(w, id);
	wire_longlong(w, 1700000000);
	wire_shortstr(w, "quote.price");
	wire_shortstr(w, "web.web1.g1");
	wire_frame_end(w);
}

void wire_put_header_of(struct wire *w, uint16_t channel, const char *id, const char *user_id,
	uint64_t body_bytes, size_t payload_bytes)
{
	/* delivery-mode and two short strings */
	size_t behind = 1 + 1 + strlen(id) + 1 + strlen(user_id);

	wire_header_begin(w, channel, body_bytes,
		WIRE_HAS_CONTENT_TYPE | WIRE_HAS_HEADERS | WIRE_HAS_DELIVERY_MODE |
			WIRE_HAS_MESSAGE_ID | WIRE_HAS_USER_ID);
	wire_shortstr(w, "application/json");
	size_t headers = wire_from(w);

	wire_shortstr(w, "pad");
	wire_octet(w, 'S');
	size_t pad = wire_from(w);

	while (w->out.len - w->frame_at + behind < payload_bytes)
		wire_octet(w, 'p');
	wire_until(w, pad);
	wire_until(w, headers);
	wire_octet(w, 2);
	wire_shortstr(w, id);
	wire_shortstr(w, user_id);
	wire_frame_end(w);
}

void wire_put_body(struct wire *w, uint16_t channel, const void *at, size_t len)
{
	wire_frame_begin(w, WIRE_BODY, channel);
	wire_raw(w, at, len);
	wire_frame_end(w);
}

void wire_put_content(
	struct wire *w, uint16_t channel, const char *id, struct span body, size_t piece_bytes)
{
	wire_put_header(w, channel, id, body.len);
	while (body.len > 0) {
		size_t piece = body.len < piece_bytes ? body.len : piece_bytes;

		wire_put_body(w, channel, body.at, piece);
		body = span_after(body, piece);
	}
}

struct span wire_read_bytes(struct wire_reader *r, size_t len)
{
	if (r->is_short || len > r->left.len) {
		r->is_short = true;
		return (struct span){ 0 };
	}
	struct span bytes = { .at = r->left.at, .len = len };

	r->left = span_after(r->left, len);
	return bytes;
}

static uint64_t read_number(struct wire_reader *r, size_t bytes)
{
	struct span at = wire_read_bytes(r, bytes);
	uint64_t value = 0;

	for (size_t i = 0; i < at.len; i++)
		value = value << 8 | (uint8_t)at.at[i];
	return value;
}

uint8_t wire_read_octet(struct wire_reader *r)
{
	return (uint8_t)read_number(r, 1);
}

uint16_t wire_read_short(struct wire_reader *r)
{
	return (uint16_t)read_number(r, 2);
}

uint32_t wire_read_long(struct wire_reader *r)
{
	return (uint32_t)read_number(r, 4);
}

uint64_t wire_read_longlong(struct wire_reader *r)
{
	return read_number(r, 8);
}

struct span wire_read_shortstr(struct wire_reader *r)
{
	return wire_read_bytes(r, wire_read_octet(r));
}

struct span wire_read_longstr(struct wire_reader *r)
{
	return wire_read_bytes(r, wire_read_long(r));
}

enum wire_verdict wire_next(struct span in, struct wire_frame *out)
{
	struct wire_reader r = { .left = in };

	*out = (struct wire_frame){ 0 };
	if (in.len == 0)
		return WIRE_MORE;
	if (in.at[0] == 'A') {
		if (in.len < PROTOCOL_HEADER_BYTES)
			return WIRE_MORE;
		out->bytes = PROTOCOL_HEADER_BYTES;
		return memcmp(in.at, "AMQP\0\0\x09\x01", PROTOCOL_HEADER_BYTES) == 0
			       ? WIRE_WHOLE
			       : WIRE_BROKEN;
	}
	out->type = wire_read_octet(&r);
	out->channel = wire_read_short(&r);
	out->payload = wire_read_longstr(&r);
	uint8_t end = wire_read_octet(&r);

	if (r.is_short)
		return WIRE_MORE;
	out->bytes = in.len - r.left.len;
	if (end != WIRE_END)
		return WIRE_BROKEN;
	if (out->type != WIRE_METHOD)
		return WIRE_WHOLE;
	r = (struct wire_reader){ .left = out->payload };
	out->method = wire_read_long(&r);
	out->payload = r.left;
	return r.is_short ? WIRE_BROKEN : WIRE_WHOLE;
}

struct wire_ack wire_read_ack(const struct wire_frame *f)
{
	struct wire_reader r = { .left = f->payload };
	struct wire_ack ack = { .tag = wire_read_longlong(&r) };

	ack.bits = wire_read_octet(&r);
	return ack;
}
