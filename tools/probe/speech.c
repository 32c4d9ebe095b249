#include "speech.h"

#include <string.h>

#include "base/bug.h"
#include "base/macro.h"
#include "base/text.h"

enum { BASIC_CLASS = 60 };

/* The property flags of a content header that we use, in their order on the wire. */
enum {
	HAS_HEADERS = 1 << 13,
	HAS_REPLY_TO = 1 << 9,
	HAS_EXPIRATION = 1 << 8,
	HAS_USER_ID = 1 << 4,
};

/* Which of the common shape's parts a method has. */
struct shape {
	uint32_t method;
	const char *name;
	unsigned texts;
	bool has_reserved;
	bool has_bits;
	bool has_table;
};

static const struct shape shapes[] = {
	{ CHANNEL_FLOW, "channel.flow", 0, false, true, false },
	{ ACCESS_REQUEST, "access.request", 1, false, true, false },
	{ EXCHANGE_DECLARE, "exchange.declare", 2, true, true, true },
	{ EXCHANGE_DELETE, "exchange.delete", 1, true, true, false },
	{ EXCHANGE_BIND, "exchange.bind", 3, true, true, true },
	{ EXCHANGE_UNBIND, "exchange.unbind", 3, true, true, true },
	{ QUEUE_DECLARE, "queue.declare", 1, true, true, true },
	{ QUEUE_BIND, "queue.bind", 3, true, true, true },
	{ QUEUE_PURGE, "queue.purge", 1, true, true, false },
	{ QUEUE_DELETE, "queue.delete", 1, true, true, false },
	{ QUEUE_UNBIND, "queue.unbind", 3, true, false, true },
	{ BASIC_CONSUME, "basic.consume", 2, true, true, true },
	{ BASIC_PUBLISH, "basic.publish", 2, true, true, false },
	{ BASIC_GET, "basic.get", 1, true, true, false },
	{ BASIC_RECOVER, "basic.recover", 0, false, true, false },
	{ TX_SELECT, "tx.select", 0, false, false, false },
};

struct argument {
	const char *key;
	const char *text; /* NULL: the number */
	int64_t number;
};

static const struct argument tables[][2] = {
	[TABLE_EMPTY] = { { 0 } },
	[TABLE_CLASSIC] = { { "x-queue-type", "classic", 0 } },
	[TABLE_QUORUM] = { { "x-queue-type", "quorum", 0 } },
	[TABLE_STREAM] = { { "x-queue-type", "stream", 0 } },
	[TABLE_ORDERED] = { { "x-queue-type", "quorum", 0 },
		{ "x-single-active-consumer", NULL, 1 } },
	[TABLE_DEAD_LETTER] = { { "x-dead-letter-exchange", "x.forapp", 0 } },
	[TABLE_ALTERNATE] = { { "alternate-exchange", "x.forweb", 0 } },
	[TABLE_WRONG_EXPIRES] = { { "x-expires", "never", 0 } },
	[TABLE_WRONG_PRIORITY] = { { "x-priority", "none", 0 } },
	[TABLE_LOW_PRIORITY] = { { "x-priority", NULL, -1000 } },
	[TABLE_HIGH_PRIORITY] = { { "x-priority", NULL, 1000 } },
	[TABLE_STREAM_OFFSET] = { { "x-stream-offset", "first", 0 } },
};

/* ---- numbers, texts, tables ---- */

static void put_number(struct buf *out, uint64_t value, unsigned bytes)
{
	while (bytes-- > 0)
		buf_byte(out, (uint8_t)(value >> (8 * bytes)));
}

static void put_short_text(struct buf *out, struct span text)
{
	size_t len = text.len > AMQP_TEXT_MAX_BYTES ? AMQP_TEXT_MAX_BYTES : text.len;

	buf_byte(out, (uint8_t)len);
	buf_append(out, (struct span){ .at = text.at, .len = len });
}

static void put_long_text(struct buf *out, struct span text)
{
	put_number(out, text.len, 4);
	buf_append(out, text);
}

/* Four bytes of length that end_length() fills in. Returns where what they count begins. */
static size_t begin_length(struct buf *out)
{
	put_number(out, 0, 4);
	return out->len;
}

static void end_length(struct buf *out, size_t from)
{
	if (buf_status(out) != ERR_OK)
		return;
	size_t len = out->len - from;

	for (unsigned i = 0; i < 4; i++)
		out->at[from - 4 + i] = (char)(len >> (24 - 8 * i));
}

static void put_argument(struct buf *out, const struct argument *a)
{
	put_short_text(out, span_of(a->key));
	if (a->text != NULL) {
		buf_byte(out, 'S');
		put_long_text(out, span_of(a->text));
	} else if (a->number == 1) {
		buf_byte(out, 't');
		buf_byte(out, 1);
	} else {
		buf_byte(out, 'l');
		put_number(out, (uint64_t)a->number, 8);
	}
}

static void put_table(struct buf *out, enum speech_table table)
{
	size_t from = begin_length(out);

	for (size_t i = 0; i < ARRAY_COUNT(tables[table]); i++)
		if (tables[table][i].key != NULL)
			put_argument(out, &tables[table][i]);
	end_length(out, from);
}

/* ---- frames ---- */

static size_t begin_frame(struct buf *out, uint8_t type, uint16_t channel)
{
	buf_byte(out, type);
	put_number(out, channel, 2);
	return begin_length(out);
}

static void end_frame(struct buf *out, size_t from)
{
	end_length(out, from);
	buf_byte(out, SPEECH_END);
}

static size_t begin_method(struct buf *out, uint16_t channel, uint32_t method)
{
	size_t from = begin_frame(out, FRAME_METHOD, channel);

	put_number(out, method, 4);
	return from;
}

static const struct shape *shape_of(uint32_t method)
{
	for (size_t i = 0; i < ARRAY_COUNT(shapes); i++)
		if (shapes[i].method == method)
			return &shapes[i];
	return NULL;
}

const char *request_name(uint32_t method)
{
	const struct shape *shape = shape_of(method);

	return shape == NULL ? NULL : shape->name;
}

void speech_put_request(struct buf *out, uint16_t channel, const struct request *r)
{
	const struct shape *shape = shape_of(r->method);

	BUG_ON(shape == NULL);
	size_t from = begin_method(out, channel, r->method);

	if (shape->has_reserved)
		put_number(out, 0, 2);
	for (unsigned i = 0; i < shape->texts; i++)
		put_short_text(out, span_of(r->text[i]));
	if (shape->has_bits)
		buf_byte(out, r->bits);
	if (shape->has_table)
		put_table(out, r->table);
	end_frame(out, from);
}

/* A header whose value is a list of texts: what routes a message beside its key. */
static void put_keys(struct buf *out, const char *name, const char *keys)
{
	struct span rest = span_of(keys);

	if (keys == NULL)
		return;
	put_short_text(out, span_of(name));
	buf_byte(out, 'A');
	size_t from = begin_length(out);

	while (rest.len > 0) {
		buf_byte(out, 'S');
		put_long_text(out, text_cut(&rest, ' '));
	}
	end_length(out, from);
}

static void put_nested(struct buf *out, uint32_t depth)
{
	put_short_text(out, span_of("n"));
	if (depth == 0) {
		buf_byte(out, 'V');
		return;
	}
	buf_byte(out, 'F');
	size_t from = begin_length(out);

	put_nested(out, depth - 1);
	end_length(out, from);
}

static bool has_headers(const struct speech_content *c)
{
	return c->cc != NULL || c->bcc != NULL || c->nested > 0;
}

static void put_headers(struct buf *out, const struct speech_content *c)
{
	size_t from = begin_length(out);

	put_keys(out, "CC", c->cc);
	put_keys(out, "BCC", c->bcc);
	if (c->nested > 0)
		put_nested(out, c->nested);
	end_length(out, from);
}

void speech_put_header(struct buf *out, uint16_t channel, const struct speech_content *c)
{
	unsigned flags = (has_headers(c) ? HAS_HEADERS : 0u) |
			 (c->reply_to != NULL ? HAS_REPLY_TO : 0u) |
			 (c->expiration != NULL ? HAS_EXPIRATION : 0u) |
			 (c->user_id != NULL ? HAS_USER_ID : 0u);
	size_t from = begin_frame(out, FRAME_HEADER, channel);

	put_number(out, BASIC_CLASS, 2);
	put_number(out, 0, 2);
	put_number(out, c->body_bytes, 8);
	put_number(out, flags, 2);
	if (has_headers(c))
		put_headers(out, c);
	if (c->reply_to != NULL)
		put_short_text(out, span_of(c->reply_to));
	if (c->expiration != NULL)
		put_short_text(out, span_of(c->expiration));
	if (c->user_id != NULL)
		put_short_text(out, span_of(c->user_id));
	end_frame(out, from);
}

void speech_put_frame(
	struct buf *out, uint8_t type, uint16_t channel, size_t bytes, uint8_t end)
{
	size_t from = begin_frame(out, type, channel);
	char *room = buf_reserve(out, bytes);

	if (room == NULL)
		return;
	memset(room, 0, bytes);
	buf_advance(out, bytes);
	end_length(out, from);
	buf_byte(out, end);
}

void speech_put_body(struct buf *out, uint16_t channel, uint64_t body_bytes, size_t frame_bytes)
{
	size_t piece_max = frame_bytes - AMQP_FRAME_EXTRA_BYTES;

	while (body_bytes > 0 && buf_status(out) == ERR_OK) {
		size_t piece = body_bytes < piece_max ? (size_t)body_bytes : piece_max;

		speech_put_frame(out, FRAME_BODY, channel, piece, SPEECH_END);
		body_bytes -= piece;
	}
}

void speech_put_start_ok(struct buf *out, const char *mechanism, struct span response)
{
	static const char *const capabilities[] = { "publisher_confirms", "basic.nack",
		"consumer_cancel_notify", "connection.blocked",
		"authentication_failure_close" };
	size_t from = begin_method(out, 0, START_OK);
	size_t properties = begin_length(out);

	put_argument(out, &(struct argument){ "product", "sallyport-probe", 0 });
	put_short_text(out, span_of("capabilities"));
	buf_byte(out, 'F');
	size_t table = begin_length(out);

	for (size_t i = 0; i < ARRAY_COUNT(capabilities); i++)
		put_argument(out, &(struct argument){ capabilities[i], NULL, 1 });
	end_length(out, table);
	end_length(out, properties);
	put_short_text(out, span_of(mechanism));
	put_long_text(out, response);
	put_short_text(out, span_of("en_US"));
	end_frame(out, from);
}

void speech_put_update_secret(struct buf *out, const char *secret)
{
	size_t from = begin_method(out, 0, CONNECTION_UPDATE_SECRET);

	put_long_text(out, span_of(secret));
	put_short_text(out, span_of("because"));
	end_frame(out, from);
}

void speech_put_open(struct buf *out, uint16_t channel, struct span vhost)
{
	size_t from = begin_method(out, channel, SPEECH_METHOD(10, 40));

	put_short_text(out, vhost);
	put_short_text(out, span_of(""));
	buf_byte(out, 0);
	end_frame(out, from);
}

void speech_put_method(struct buf *out, uint16_t channel, uint32_t method, struct span fields)
{
	size_t from = begin_method(out, channel, method);

	buf_append(out, fields);
	end_frame(out, from);
}
