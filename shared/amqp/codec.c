#include "amqp/codec.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/text.h"
#include "message/seal.h"

enum {
	POOL_PAGE_BYTES = 4096,
	FRAME_END_OCTET = 0xce,
	BASIC_CLASS = 60,
	/* Methods and properties that we send are short; a longer one is our bug. */
	METHOD_MAX_BYTES = 1024,
	PROPERTIES_MAX_BYTES = 2048,
	HEADERS_MAX = 10,
};

/* Whoever reads frames of the smallest size only must not lose his connection over a header of ours
 * to which a broker added its own. */
_Static_assert(PROPERTIES_MAX_BYTES <= AMQP_FRAME_MIN_BYTES / 2,
	"half of the smallest frame is left to brokers");

struct codec {
	amqp_pool_t pool;
};

static uint16_t get_u16(const char *at)
{
	const uint8_t *p = (const uint8_t *)at;

	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32(const char *at)
{
	return (uint32_t)get_u16(at) << 16 | get_u16(at + 2);
}

static void put_u16(char *at, uint16_t value)
{
	at[0] = (char)(value >> 8);
	at[1] = (char)value;
}

static void put_u32(char *at, uint32_t value)
{
	put_u16(at, (uint16_t)(value >> 16));
	put_u16(at + 2, (uint16_t)value);
}

static void put_u64(char *at, uint64_t value)
{
	put_u32(at, (uint32_t)(value >> 32));
	put_u32(at + 4, (uint32_t)value);
}

static amqp_bytes_t to_bytes(struct span s)
{
	return (amqp_bytes_t){ .len = s.len, .bytes = (void *)(uintptr_t)s.at };
}

static struct span from_bytes(amqp_bytes_t b)
{
	return (struct span){ .at = b.bytes, .len = b.len };
}

static amqp_bytes_t text_bytes(const char *text)
{
	return to_bytes(span_of(text));
}

const char *method_name(uint32_t number)
{
	const char *name = amqp_method_name(number);

	return name == NULL ? "unknown method" : name;
}

enum err codec_create(struct codec **out)
{
	struct codec *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return ERR_NOMEM;
	init_amqp_pool(&c->pool, POOL_PAGE_BYTES);
	*out = c;
	return ERR_OK;
}

void codec_destroy(struct codec *c)
{
	if (c == NULL)
		return;
	empty_amqp_pool(&c->pool);
	free(c);
}

/* ---- bytes to frames, methods, properties ---- */

static bool is_frame_type(uint8_t type)
{
	return type == FRAME_METHOD || type == FRAME_HEADER || type == FRAME_BODY ||
	       type == FRAME_HEARTBEAT;
}

enum err frame_next(struct span in, size_t frame_max_bytes, struct frame *out, size_t *taken)
{
	*taken = 0;
	if (in.len == 0)
		return ERR_OK;
	/* "AMQP" instead of a frame is how a broker says that it speaks another version. */
	if (!is_frame_type((uint8_t)in.at[0]))
		return ERR_PROTOCOL;
	if (in.len < AMQP_FRAME_HEAD_BYTES)
		return ERR_OK;
	size_t payload_bytes = get_u32(in.at + 3);
	size_t growth_bytes = in.at[0] == FRAME_HEADER ? AMQP_HEADER_GROWTH_BYTES : 0;

	if (payload_bytes > frame_max_bytes + growth_bytes - AMQP_FRAME_EXTRA_BYTES)
		return ERR_PROTOCOL;
	if (in.len < payload_bytes + AMQP_FRAME_EXTRA_BYTES)
		return ERR_OK;
	if ((uint8_t)in.at[AMQP_FRAME_HEAD_BYTES + payload_bytes] != FRAME_END_OCTET)
		return ERR_PROTOCOL;
	*out = (struct frame){
		.type = (enum frame_type)in.at[0],
		.channel = get_u16(in.at + 1),
		.payload = { .at = in.at + AMQP_FRAME_HEAD_BYTES, .len = payload_bytes },
	};
	*taken = payload_bytes + AMQP_FRAME_EXTRA_BYTES;
	return ERR_OK;
}

static enum err from_status(int status)
{
	if (status >= 0)
		return ERR_OK;
	return status == AMQP_STATUS_NO_MEMORY ? ERR_NOMEM : ERR_PROTOCOL;
}

static void fill_method(struct method *out, const void *decoded)
{
	switch (out->number) {
	case AMQP_CONNECTION_START_METHOD: {
		const amqp_connection_start_t *m = decoded;

		out->kind = METHOD_CONNECTION_START;
		out->mechanisms = from_bytes(m->mechanisms);
		return;
	}
	case AMQP_CONNECTION_TUNE_METHOD: {
		const amqp_connection_tune_t *m = decoded;

		out->kind = METHOD_CONNECTION_TUNE;
		out->channel_max = m->channel_max;
		out->frame_max = m->frame_max;
		out->heartbeat_s = m->heartbeat;
		return;
	}
	case AMQP_CONNECTION_OPEN_OK_METHOD:
		out->kind = METHOD_CONNECTION_OPEN_OK;
		return;
	case AMQP_CONNECTION_CLOSE_METHOD: {
		const amqp_connection_close_t *m = decoded;

		out->kind = METHOD_CONNECTION_CLOSE;
		out->code = m->reply_code;
		out->text = from_bytes(m->reply_text);
		return;
	}
	case AMQP_CONNECTION_CLOSE_OK_METHOD:
		out->kind = METHOD_CONNECTION_CLOSE_OK;
		return;
	case AMQP_CONNECTION_BLOCKED_METHOD: {
		const amqp_connection_blocked_t *m = decoded;

		out->kind = METHOD_CONNECTION_BLOCKED;
		out->text = from_bytes(m->reason);
		return;
	}
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
		out->kind = METHOD_CONNECTION_UNBLOCKED;
		return;
	case AMQP_CHANNEL_OPEN_OK_METHOD:
		out->kind = METHOD_CHANNEL_OPEN_OK;
		return;
	case AMQP_CHANNEL_CLOSE_METHOD: {
		const amqp_channel_close_t *m = decoded;

		out->kind = METHOD_CHANNEL_CLOSE;
		out->code = m->reply_code;
		out->text = from_bytes(m->reply_text);
		return;
	}
	case AMQP_CHANNEL_CLOSE_OK_METHOD:
		out->kind = METHOD_CHANNEL_CLOSE_OK;
		return;
	case AMQP_CONFIRM_SELECT_OK_METHOD:
		out->kind = METHOD_CONFIRM_SELECT_OK;
		return;
	case AMQP_BASIC_QOS_OK_METHOD:
		out->kind = METHOD_BASIC_QOS_OK;
		return;
	case AMQP_BASIC_CONSUME_OK_METHOD:
		out->kind = METHOD_BASIC_CONSUME_OK;
		return;
	case AMQP_BASIC_CANCEL_METHOD:
		out->kind = METHOD_BASIC_CANCEL;
		return;
	case AMQP_BASIC_CANCEL_OK_METHOD:
		out->kind = METHOD_BASIC_CANCEL_OK;
		return;
	case AMQP_BASIC_DELIVER_METHOD: {
		const amqp_basic_deliver_t *m = decoded;

		out->kind = METHOD_BASIC_DELIVER;
		out->delivery_tag = m->delivery_tag;
		out->redelivered = m->redelivered != 0;
		return;
	}
	case AMQP_BASIC_RETURN_METHOD: {
		const amqp_basic_return_t *m = decoded;

		out->kind = METHOD_BASIC_RETURN;
		out->code = m->reply_code;
		out->text = from_bytes(m->reply_text);
		return;
	}
	case AMQP_BASIC_ACK_METHOD: {
		const amqp_basic_ack_t *m = decoded;

		out->kind = METHOD_BASIC_ACK;
		out->delivery_tag = m->delivery_tag;
		out->multiple = m->multiple != 0;
		return;
	}
	case AMQP_BASIC_NACK_METHOD: {
		const amqp_basic_nack_t *m = decoded;

		out->kind = METHOD_BASIC_NACK;
		out->delivery_tag = m->delivery_tag;
		out->multiple = m->multiple != 0;
		return;
	}
	default:
		out->kind = METHOD_OTHER;
	}
}

enum err codec_decode_method(struct codec *c, struct span payload, struct method *out)
{
	void *decoded = NULL;

	*out = (struct method){ 0 };
	if (payload.len < 4)
		return ERR_PROTOCOL;
	out->number = get_u32(payload.at);
	if (amqp_method_name(out->number) == NULL)
		return ERR_OK; /* METHOD_OTHER: the state that meets it decides */
	int status = amqp_decode_method(
		out->number, &c->pool, to_bytes(span_after(payload, 4)), &decoded);

	if (status >= 0)
		fill_method(out, decoded);
	recycle_amqp_pool(&c->pool);
	return from_status(status);
}

enum err codec_header_body_bytes(struct span payload, uint64_t *out)
{
	if (payload.len < 14 || get_u16(payload.at) != BASIC_CLASS)
		return ERR_PROTOCOL;
	*out = (uint64_t)get_u32(payload.at + 4) << 32 | get_u32(payload.at + 8);
	return ERR_OK;
}

static bool is_integer(const amqp_field_value_t *v, uint64_t *out)
{
	int64_t number;

	switch ((char)v->kind) {
	case AMQP_FIELD_KIND_I64:
		number = v->value.i64;
		break;
	case AMQP_FIELD_KIND_I32:
		number = v->value.i32;
		break;
	default:
		return false;
	}
	if (number < 0)
		return false;
	*out = (uint64_t)number;
	return true;
}

static bool is_short_text(const amqp_field_value_t *v, size_t max_bytes, struct span *out)
{
	if (v->kind != AMQP_FIELD_KIND_UTF8 || v->value.bytes.len > max_bytes)
		return false;
	*out = from_bytes(v->value.bytes);
	return true;
}

/* Each header that means something to us. */
static const struct header_row {
	const char *name;
	size_t at;        /* in struct message */
	size_t max_bytes; /* of a text; 0: a whole number */
} header_rows[] = {
	{ "sent-us", offsetof(struct message, sent_unix_us), 0 },
	{ "epoch", offsetof(struct message, epoch), 0 },
	{ "seq", offsetof(struct message, seq), 0 },
	{ "attempt", offsetof(struct message, attempt), 0 },
	{ "turn", offsetof(struct message, turn), 0 },
	{ "expires-at", offsetof(struct message, expires_unix_ms), 0 },
	{ "key", offsetof(struct message, key), MESSAGE_KEY_MAX_BYTES },
	{ "traceparent", offsetof(struct message, traceparent), MESSAGE_TRACE_MAX_BYTES },
	{ "contract", offsetof(struct message, contract), AMQP_TEXT_MAX_BYTES },
};

/* An id as text; once, like the others. */
static enum err read_prev(const amqp_field_value_t *value, struct message *out)
{
	struct span text;

	if (out->has_prev || !is_short_text(value, ID_TEXT_LEN, &text) ||
		id_parse(text, &out->prev) != ERR_OK)
		return ERR_INPUT;
	out->has_prev = true;
	return ERR_OK;
}

/* *given has a bit for each row that came already: one that comes twice could mean one thing here
 * and another elsewhere. */
static enum err read_header(
	const amqp_table_entry_t *entry, unsigned *given, struct message *out)
{
	struct span name = from_bytes(entry->key);
	const amqp_field_value_t *value = &entry->value;

	if (span_starts(name, "x-"))
		return ERR_OK;
	if (value->kind == AMQP_FIELD_KIND_TABLE || value->kind == AMQP_FIELD_KIND_ARRAY)
		return ERR_INPUT;
	if (span_is(name, "prev"))
		return read_prev(value, out);
	for (size_t i = 0; i < ARRAY_COUNT(header_rows); i++) {
		const struct header_row *row = &header_rows[i];
		void *field = (char *)out + row->at;

		if (!span_is(name, row->name))
			continue;
		bool fine = (*given & 1u << i) == 0 &&
			    (row->max_bytes == 0 ? is_integer(value, field)
						 : is_short_text(value, row->max_bytes, field));

		*given |= 1u << i;
		return fine ? ERR_OK : ERR_INPUT;
	}
	return ERR_OK;
}

static enum err read_properties(const amqp_basic_properties_t *p, struct message *out)
{
	amqp_flags_t has = p->_flags;
	unsigned given = 0;

	if ((has & AMQP_BASIC_MESSAGE_ID_FLAG) == 0 ||
		id_parse(from_bytes(p->message_id), &out->id) != ERR_OK)
		return ERR_INPUT;
	if ((has & AMQP_BASIC_CORRELATION_ID_FLAG) != 0) {
		if (id_parse(from_bytes(p->correlation_id), &out->correlation) != ERR_OK)
			return ERR_INPUT;
		out->has_correlation = true;
	}
	if ((has & AMQP_BASIC_TYPE_FLAG) != 0)
		out->type = from_bytes(p->type);
	if ((has & AMQP_BASIC_USER_ID_FLAG) != 0)
		out->user_id = from_bytes(p->user_id);
	if ((has & AMQP_BASIC_EXPIRATION_FLAG) != 0 &&
		text_parse_u64(from_bytes(p->expiration), &out->time_left_ms) != ERR_OK)
		return ERR_INPUT;
	if ((has & AMQP_BASIC_CONTENT_TYPE_FLAG) == 0 ||
		message_content_parse(from_bytes(p->content_type), &out->content) != ERR_OK)
		return ERR_INPUT;
	if ((has & AMQP_BASIC_CONTENT_ENCODING_FLAG) != 0) {
		if (!span_is(from_bytes(p->content_encoding), SEAL_ENCODING))
			return ERR_INPUT;
		out->is_sealed = true;
	}
	if ((has & AMQP_BASIC_DELIVERY_MODE_FLAG) != 0 && p->delivery_mode == 2)
		out->durability = MESSAGE_PERSISTENT;
	if ((has & AMQP_BASIC_HEADERS_FLAG) == 0)
		return ERR_OK;
	for (int i = 0; i < p->headers.num_entries; i++) {
		enum err err = read_header(&p->headers.entries[i], &given, out);

		if (err != ERR_OK)
			return err;
	}
	return ERR_OK;
}

enum err codec_decode_properties(struct codec *c, struct span payload, struct message *out)
{
	void *decoded = NULL;
	struct span body = out->body;

	*out = (struct message){ .body = body };
	if (payload.len < 14)
		return ERR_INPUT;
	int status = amqp_decode_properties(
		BASIC_CLASS, &c->pool, to_bytes(span_after(payload, 12)), &decoded);
	enum err err = from_status(status);

	if (err == ERR_OK)
		err = read_properties(decoded, out);
	recycle_amqp_pool(&c->pool);
	/* The frame is whole: properties that cannot be read spoil this message, not the link.
	 */
	return err == ERR_PROTOCOL ? ERR_INPUT : err;
}

/* ---- methods, properties, messages to bytes ---- */

static char *frame_begin(struct buf *out, size_t payload_max_bytes)
{
	return buf_reserve(out, payload_max_bytes + AMQP_FRAME_EXTRA_BYTES);
}

static void frame_finish(
	struct buf *out, char *at, enum frame_type type, uint16_t channel, size_t payload_bytes)
{
	at[0] = (char)type;
	put_u16(at + 1, channel);
	put_u32(at + 3, (uint32_t)payload_bytes);
	at[AMQP_FRAME_HEAD_BYTES + payload_bytes] = (char)FRAME_END_OCTET;
	buf_advance(out, payload_bytes + AMQP_FRAME_EXTRA_BYTES);
}

static void put_method(
	struct buf *out, uint16_t channel, amqp_method_number_t number, void *fields)
{
	char *at = frame_begin(out, METHOD_MAX_BYTES);

	if (at == NULL)
		return;
	put_u32(at + AMQP_FRAME_HEAD_BYTES, number);
	amqp_bytes_t room = {
		.len = METHOD_MAX_BYTES - 4,
		.bytes = at + AMQP_FRAME_HEAD_BYTES + 4,
	};
	int used = amqp_encode_method(number, fields, room);

	BUG_ON(used < 0); /* every text that goes in here is ours, and short */
	frame_finish(out, at, FRAME_METHOD, channel, 4 + (size_t)used);
}

void codec_put_protocol_header(struct buf *out)
{
	buf_append(out, (struct span){ .at = "AMQP\0\0\x09\x01", .len = 8 });
}

void codec_put_heartbeat(struct buf *out)
{
	char *at = frame_begin(out, 0);

	if (at != NULL)
		frame_finish(out, at, FRAME_HEARTBEAT, 0, 0);
}

static amqp_table_entry_t entry_flag(const char *name)
{
	return (amqp_table_entry_t){
		.key = text_bytes(name),
		.value = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value = { .boolean = 1 } },
	};
}

static amqp_table_entry_t entry_text(const char *name, struct span value)
{
	return (amqp_table_entry_t){
		.key = text_bytes(name),
		.value = { .kind = AMQP_FIELD_KIND_UTF8,
			.value = { .bytes = to_bytes(value) } },
	};
}

static amqp_table_entry_t entry_number(const char *name, uint64_t value)
{
	return (amqp_table_entry_t){
		.key = text_bytes(name),
		.value = { .kind = AMQP_FIELD_KIND_I64, .value = { .i64 = (int64_t)value } },
	};
}

void codec_put_start_ok(struct buf *out, const char *name)
{
	amqp_table_entry_t capabilities[] = {
		entry_flag("publisher_confirms"),
		entry_flag("basic.nack"),
		entry_flag("consumer_cancel_notify"),
		entry_flag("connection.blocked"),
		entry_flag("authentication_failure_close"),
	};
	amqp_table_entry_t properties[] = {
		entry_text("product", span_of("sallyport")),
		entry_text("connection_name", span_of(name)),
		{
			.key = text_bytes("capabilities"),
			.value = {
				.kind = AMQP_FIELD_KIND_TABLE,
				.value = { .table = { .num_entries = ARRAY_COUNT(capabilities),
						   .entries = capabilities } },
			},
		},
	};
	amqp_connection_start_ok_t fields = {
		.client_properties = { .num_entries = ARRAY_COUNT(properties),
			.entries = properties },
		.mechanism = text_bytes("EXTERNAL"),
		.locale = text_bytes("en_US"),
	};

	put_method(out, 0, AMQP_CONNECTION_START_OK_METHOD, &fields);
}

void codec_put_tune_ok(
	struct buf *out, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s)
{
	amqp_connection_tune_ok_t fields = {
		.channel_max = channel_max,
		.frame_max = frame_max,
		.heartbeat = heartbeat_s,
	};

	put_method(out, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &fields);
}

void codec_put_open(struct buf *out, const char *vhost)
{
	amqp_connection_open_t fields = { .virtual_host = text_bytes(vhost) };

	put_method(out, 0, AMQP_CONNECTION_OPEN_METHOD, &fields);
}

void codec_put_close(struct buf *out, uint16_t code, const char *text)
{
	amqp_connection_close_t fields = { .reply_code = code, .reply_text = text_bytes(text) };

	put_method(out, 0, AMQP_CONNECTION_CLOSE_METHOD, &fields);
}

void codec_put_close_ok(struct buf *out)
{
	amqp_connection_close_ok_t fields = { 0 };

	put_method(out, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &fields);
}

void codec_put_channel_open(struct buf *out, uint16_t channel)
{
	amqp_channel_open_t fields = { 0 };

	put_method(out, channel, AMQP_CHANNEL_OPEN_METHOD, &fields);
}

void codec_put_channel_close(struct buf *out, uint16_t channel, uint16_t code, const char *text)
{
	amqp_channel_close_t fields = { .reply_code = code, .reply_text = text_bytes(text) };

	put_method(out, channel, AMQP_CHANNEL_CLOSE_METHOD, &fields);
}

void codec_put_channel_close_ok(struct buf *out, uint16_t channel)
{
	amqp_channel_close_ok_t fields = { 0 };

	put_method(out, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &fields);
}

void codec_put_confirm_select(struct buf *out, uint16_t channel)
{
	amqp_confirm_select_t fields = { 0 };

	put_method(out, channel, AMQP_CONFIRM_SELECT_METHOD, &fields);
}

void codec_put_qos(struct buf *out, uint16_t channel, uint16_t prefetch_count)
{
	amqp_basic_qos_t fields = { .prefetch_count = prefetch_count };

	put_method(out, channel, AMQP_BASIC_QOS_METHOD, &fields);
}

void codec_put_consume(
	struct buf *out, uint16_t channel, const char *queue, const char *consumer_tag)
{
	amqp_basic_consume_t fields = {
		.queue = text_bytes(queue),
		.consumer_tag = text_bytes(consumer_tag),
	};

	put_method(out, channel, AMQP_BASIC_CONSUME_METHOD, &fields);
}

void codec_put_cancel(struct buf *out, uint16_t channel, const char *consumer_tag)
{
	amqp_basic_cancel_t fields = { .consumer_tag = text_bytes(consumer_tag) };

	put_method(out, channel, AMQP_BASIC_CANCEL_METHOD, &fields);
}

void codec_put_ack(
	struct buf *out, uint16_t channel, uint64_t delivery_tag, enum ack_reach reach)
{
	amqp_basic_ack_t fields = {
		.delivery_tag = delivery_tag,
		.multiple = reach == ACK_UP_TO,
	};

	put_method(out, channel, AMQP_BASIC_ACK_METHOD, &fields);
}

void codec_put_reject(struct buf *out, uint16_t channel, uint64_t delivery_tag)
{
	amqp_basic_reject_t fields = { .delivery_tag = delivery_tag };

	put_method(out, channel, AMQP_BASIC_REJECT_METHOD, &fields);
}

static size_t fill_headers(const struct message *m, const struct id_text *prev,
	amqp_table_entry_t entries[HEADERS_MAX])
{
	size_t count = 0;

	entries[count++] = entry_number("sent-us", m->sent_unix_us);
	entries[count++] = entry_number("epoch", m->epoch);
	entries[count++] = entry_number("seq", m->seq);
	if (m->attempt > 0)
		entries[count++] = entry_number("attempt", m->attempt);
	if (m->turn > 0)
		entries[count++] = entry_number("turn", m->turn);
	if (m->has_prev)
		entries[count++] = entry_text("prev", (struct span){ prev->at, ID_TEXT_LEN });
	if (m->expires_unix_ms > 0)
		entries[count++] = entry_number("expires-at", m->expires_unix_ms);
	if (m->key.len > 0)
		entries[count++] = entry_text("key", m->key);
	if (m->traceparent.len > 0)
		entries[count++] = entry_text("traceparent", m->traceparent);
	if (m->contract.len > 0)
		entries[count++] = entry_text("contract", m->contract);
	BUG_ON(count > HEADERS_MAX);
	return count;
}

static void put_properties(struct buf *out, uint16_t channel, const struct message *m)
{
	struct id_text id = id_format(&m->id);
	struct id_text correlation = id_format(&m->correlation);
	struct id_text prev = id_format(&m->prev);
	amqp_table_entry_t headers[HEADERS_MAX];
	char expiration[24];
	amqp_basic_properties_t p = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG |
			  AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
			  AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG |
			  AMQP_BASIC_USER_ID_FLAG,
		.content_type = text_bytes(message_content_type(m->content)),
		.headers = { .num_entries = (int)fill_headers(m, &prev, headers),
			.entries = headers },
		.delivery_mode = m->durability == MESSAGE_PERSISTENT ? 2 : 1,
		.message_id = { .len = ID_TEXT_LEN, .bytes = id.at },
		.timestamp = m->sent_unix_us / 1000000,
		.type = to_bytes(m->type),
		.user_id = to_bytes(m->user_id),
	};

	if (m->is_sealed) {
		p._flags |= AMQP_BASIC_CONTENT_ENCODING_FLAG;
		p.content_encoding = text_bytes(SEAL_ENCODING);
	}
	if (m->has_correlation) {
		p._flags |= AMQP_BASIC_CORRELATION_ID_FLAG;
		p.correlation_id = (amqp_bytes_t){ .len = ID_TEXT_LEN,
			.bytes = correlation.at };
	}
	if (m->time_left_ms > 0) {
		p._flags |= AMQP_BASIC_EXPIRATION_FLAG;
		snprintf(expiration, sizeof(expiration), "%llu",
			(unsigned long long)m->time_left_ms);
		p.expiration = text_bytes(expiration);
	}
	char *at = frame_begin(out, PROPERTIES_MAX_BYTES);

	if (at == NULL)
		return;
	char *payload = at + AMQP_FRAME_HEAD_BYTES;
	amqp_bytes_t room = { .len = PROPERTIES_MAX_BYTES - 12, .bytes = payload + 12 };

	put_u16(payload, BASIC_CLASS);
	put_u16(payload + 2, 0); /* weight, unused */
	put_u64(payload + 4, m->body.len);
	int used = amqp_encode_properties(BASIC_CLASS, &p, room);

	BUG_ON(used < 0); /* the fields of a message are bounded: see message.h */
	frame_finish(out, at, FRAME_HEADER, channel, 12 + (size_t)used);
}

void codec_put_publish(struct buf *out, uint16_t channel, uint32_t frame_max,
	const char *exchange, const char *routing_key, enum publish_route route,
	const struct message *m)
{
	amqp_basic_publish_t fields = {
		.exchange = text_bytes(exchange),
		.routing_key = text_bytes(routing_key),
		.mandatory = route == ROUTE_OR_RETURN,
	};
	size_t piece_max = frame_max - AMQP_FRAME_EXTRA_BYTES;
	struct span left = m->body;

	BUG_ON(m->type.len > MESSAGE_TYPE_MAX_BYTES || m->key.len > MESSAGE_KEY_MAX_BYTES ||
		m->traceparent.len > MESSAGE_TRACE_MAX_BYTES ||
		m->user_id.len > AMQP_TEXT_MAX_BYTES || m->contract.len > AMQP_TEXT_MAX_BYTES);
	put_method(out, channel, AMQP_BASIC_PUBLISH_METHOD, &fields);
	put_properties(out, channel, m);
	while (left.len > 0) {
		size_t piece = left.len < piece_max ? left.len : piece_max;
		char *at = frame_begin(out, piece);

		if (at == NULL)
			return;
		memcpy(at + AMQP_FRAME_HEAD_BYTES, left.at, piece);
		frame_finish(out, at, FRAME_BODY, channel, piece);
		left = span_after(left, piece);
	}
}
