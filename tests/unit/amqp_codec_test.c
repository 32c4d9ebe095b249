/* Frames, methods and properties to and from bytes: amqp/codec.h, held against bytes that were
 * written by hand. */
#include <stdlib.h>
#include <string.h>

#include "amqp/codec.h"
#include "amqp_wire.h"
#include "base/clock.h"
#include "message/seal.h"
#include "unit.h"

static const char some_id[] = "01890a5d-ac96-774b-bcce-b302099a8057";
static const char other_id[] = "01890a5d-ac96-7fff-8fff-ffffffffffff";

static struct codec *codec;
static struct wire wire;
static struct buf out;

static void set_up(void)
{
	ck_assert_int_eq(codec_create(&codec), ERR_OK);
	wire_init(&wire);
	buf_init(&out, MIB(1));
}

static void tear_down(void)
{
	codec_destroy(codec);
	wire_fini(&wire);
	buf_fini(&out);
}

static struct id must_id(const char *text)
{
	struct id id;

	ck_assert_int_eq(id_parse(span_of(text), &id), ERR_OK);
	return id;
}

/* A copy that ends where its memory ends: the sanitizer sees whoever reads on. */
struct exact {
	char *at;
	struct span span;
};

static struct exact exact_copy(struct span bytes)
{
	struct exact e = { .at = malloc(bytes.len == 0 ? 1 : bytes.len) };

	ck_assert_ptr_nonnull(e.at);
	if (bytes.len > 0)
		memcpy(e.at, bytes.at, bytes.len);
	e.span = (struct span){ .at = e.at, .len = bytes.len };
	return e;
}

/* ---- what we send ---- */

#define BYTES(literal) (literal), sizeof(literal) - 1

static void expect_sent(const char *bytes, size_t len)
{
	ck_assert_int_eq(buf_status(&out), ERR_OK);
	ck_assert_uint_eq(out.len, len);
	for (size_t i = 0; i < len; i++)
		ck_assert_msg(out.at[i] == bytes[i], "byte %zu is %02x, not %02x", i,
			(uint8_t)out.at[i], (uint8_t)bytes[i]);
	buf_clear(&out);
}

START_TEST(the_protocol_header_says_0_9_1)
{
	codec_put_protocol_header(&out);
	expect_sent(BYTES("AMQP\x00\x00\x09\x01"));
}
END_TEST

START_TEST(start_ok_says_external_and_what_we_can)
{
	codec_put_start_ok(&out, "web1.publish");
	expect_sent(BYTES("\x01\x00\x00\x00\x00\x00\xd3\x00\x0a\x00\x0b"
			  "\x00\x00\x00\xb8"
			  "\x07product\x53\x00\x00\x00\x09sallyport"
			  "\x0f"
			  "connection_name\x53\x00\x00\x00\x0cweb1.publish"
			  "\x0c"
			  "capabilities\x46\x00\x00\x00\x6f"
			  "\x12publisher_confirms\x74\x01"
			  "\x0a"
			  "basic.nack\x74\x01"
			  "\x16"
			  "consumer_cancel_notify\x74\x01"
			  "\x12"
			  "connection.blocked\x74\x01"
			  "\x1c"
			  "authentication_failure_close\x74\x01"
			  "\x08"
			  "EXTERNAL"
			  "\x00\x00\x00\x00"
			  "\x05"
			  "en_US\xce"));
}
END_TEST

START_TEST(the_methods_of_the_connection_are_the_specified_bytes)
{
	codec_put_tune_ok(&out, 4, 8192, 10);
	expect_sent(BYTES("\x01\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x1f"
			  "\x00\x04\x00\x00\x20\x00\x00\x0a\xce"));
	codec_put_open(&out, "border.web1");
	expect_sent(BYTES("\x01\x00\x00\x00\x00\x00\x12\x00\x0a\x00\x28"
			  "\x0b"
			  "border.web1\x00\x00\xce"));
	codec_put_close(&out, 200, "goodbye");
	expect_sent(BYTES("\x01\x00\x00\x00\x00\x00\x12\x00\x0a\x00\x32"
			  "\x00\xc8\x07goodbye\x00\x00\x00\x00\xce"));
	codec_put_close_ok(&out);
	expect_sent(BYTES("\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x33\xce"));
	codec_put_heartbeat(&out);
	expect_sent(BYTES("\x08\x00\x00\x00\x00\x00\x00\xce"));
}
END_TEST

START_TEST(the_methods_of_a_channel_are_the_specified_bytes)
{
	codec_put_channel_open(&out, 3);
	expect_sent(BYTES("\x01\x00\x03\x00\x00\x00\x05\x00\x14\x00\x0a\x00\xce"));
	codec_put_channel_close(&out, 1, 200, "x");
	expect_sent(BYTES("\x01\x00\x01\x00\x00\x00\x0c\x00\x14\x00\x28"
			  "\x00\xc8\x01x\x00\x00\x00\x00\xce"));
	codec_put_channel_close_ok(&out, 0x0102);
	expect_sent(BYTES("\x01\x01\x02\x00\x00\x00\x04\x00\x14\x00\x29\xce"));
	codec_put_confirm_select(&out, 1);
	expect_sent(BYTES("\x01\x00\x01\x00\x00\x00\x05\x00\x55\x00\x0a\x00\xce"));
	codec_put_qos(&out, 1, 0x0102);
	expect_sent(BYTES("\x01\x00\x01\x00\x00\x00\x0b\x00\x3c\x00\x0a"
			  "\x00\x00\x00\x00\x01\x02\x00\xce"));
	codec_put_consume(&out, 2, "FORAPP.call", "tag");
	expect_sent(BYTES("\x01\x00\x02\x00\x00\x00\x1b\x00\x3c\x00\x14"
			  "\x00\x00\x0b"
			  "FORAPP.call\x03tag\x00\x00\x00\x00\x00\xce"));
	codec_put_cancel(&out, 2, "tag");
	expect_sent(BYTES("\x01\x00\x02\x00\x00\x00\x09\x00\x3c\x00\x1e\x03tag\x00\xce"));
	codec_put_ack(&out, 1, 0x0102030405060708, ACK_UP_TO);
	expect_sent(BYTES("\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50"
			  "\x01\x02\x03\x04\x05\x06\x07\x08\x01\xce"));
	codec_put_ack(&out, 1, 5, ACK_ONE);
	expect_sent(BYTES("\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50"
			  "\x00\x00\x00\x00\x00\x00\x00\x05\x00\xce"));
	codec_put_reject(&out, 1, 5); /* never back into the queue */
	expect_sent(BYTES("\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x5a"
			  "\x00\x00\x00\x00\x00\x00\x00\x05\x00\xce"));
}
END_TEST

START_TEST(a_publish_is_a_method_a_header_and_as_many_bodies_as_frame_max_asks_for)
{
	enum { BODY_BYTES = 5000, FIRST_BYTES = 4096 - 8 };
	char body[BODY_BYTES];
	struct message m = {
		.id = must_id(some_id),
		.type = span_of("order.place"),
		.user_id = span_of("web.web1.g1"),
		.durability = MESSAGE_PERSISTENT,
		.sent_unix_us = 1700000000123456,
		.epoch = 7,
		.seq = 9,
		.body = { .at = body, .len = BODY_BYTES },
	};

	memset(body, 'b', sizeof(body));
	codec_put_publish(&out, 2, 4096, "x.forapp", "send", ROUTE_OR_RETURN, &m);
	static const char head[] =
		/* basic.publish, mandatory */
		"\x01\x00\x02\x00\x00\x00\x15\x00\x3c\x00\x28"
		"\x00\x00\x08x.forapp\x04send\x01\xce"
		/* header: content-type headers delivery-mode message-id timestamp type user-id
		 */
		"\x02\x00\x02\x00\x00\x00\x96\x00\x3c\x00\x00"
		"\x00\x00\x00\x00\x00\x00\x13\x88\xb0\xf0"
		"\x10"
		"application/json"
		"\x00\x00\x00\x2d"
		"\x07sent-us\x6c\x00\x06\x0a\x24\x18\x20\x22\x40"
		"\x05"
		"epoch\x6c\x00\x00\x00\x00\x00\x00\x00\x07"
		"\x03seq\x6c\x00\x00\x00\x00\x00\x00\x00\x09"
		"\x02"
		"\x24"
		"01890a5d-ac96-774b-bcce-b302099a8057"
		"\x00\x00\x00\x00\x65\x53\xf1\x00"
		"\x0b"
		"order.place"
		"\x0bweb.web1.g1\xce";

	wire_raw(&wire, head, sizeof(head) - 1);
	wire_put_body(&wire, 2, body, FIRST_BYTES);
	wire_put_body(&wire, 2, body, BODY_BYTES - FIRST_BYTES);
	expect_sent(wire_span(&wire).at, wire_span(&wire).len);
}
END_TEST

START_TEST(all_that_a_message_can_say_stands_in_its_header)
{
	struct message m = {
		.id = must_id(some_id),
		.correlation = must_id(other_id),
		.has_correlation = true,
		.content = MESSAGE_PROBLEM,
		.type = span_of("quote.price"),
		.user_id = span_of("app.app1.g1"),
		.traceparent = span_of("00-trace-01"),
		.key = span_of("customer-7"),
		.contract = span_of("abc"),
		.time_left_ms = 250,
		.expires_unix_ms = 1700000000123,
		.attempt = 2,
		.turn = 9,
		.prev = must_id(other_id),
		.has_prev = true,
		.seq = INT64_MAX,
		.is_sealed = true,
	};

	codec_put_publish(&out, 1, 8192, "x", "y", ROUTE_OR_DROP, &m);
	wire_method_begin(&wire, 1, WIRE_PUBLISH);
	wire_short(&wire, 0);
	wire_shortstr(&wire, "x");
	wire_shortstr(&wire, "y");
	wire_octet(&wire, 0);
	wire_frame_end(&wire);
	wire_header_begin(&wire, 1, 0,
		WIRE_HAS_CONTENT_TYPE | WIRE_HAS_ENCODING | WIRE_HAS_HEADERS |
			WIRE_HAS_DELIVERY_MODE | WIRE_HAS_CORRELATION | WIRE_HAS_EXPIRATION |
			WIRE_HAS_MESSAGE_ID | WIRE_HAS_TIMESTAMP | WIRE_HAS_TYPE |
			WIRE_HAS_USER_ID);
	wire_shortstr(&wire, "application/problem+json");
	wire_shortstr(&wire, "sealed-v1");
	size_t headers = wire_from(&wire);

	wire_entry_number(&wire, "sent-us", 0);
	wire_entry_number(&wire, "epoch", 0);
	wire_entry_number(&wire, "seq", INT64_MAX);
	wire_entry_number(&wire, "attempt", 2);
	wire_entry_number(&wire, "turn", 9);
	wire_entry_text(&wire, "prev", other_id);
	wire_entry_number(&wire, "expires-at", 1700000000123);
	wire_entry_text(&wire, "key", "customer-7");
	wire_entry_text(&wire, "traceparent", "00-trace-01");
	wire_entry_text(&wire, "contract", "abc");
	wire_until(&wire, headers);
	wire_octet(&wire, 1);
	wire_shortstr(&wire, other_id);
	wire_shortstr(&wire, "250");
	wire_shortstr(&wire, some_id);
	wire_longlong(&wire, 0);
	wire_shortstr(&wire, "quote.price");
	wire_shortstr(&wire, "app.app1.g1");
	wire_frame_end(&wire);
	expect_sent(wire_span(&wire).at, wire_span(&wire).len);
}
END_TEST

START_TEST(a_message_at_all_its_limits_can_be_sent_and_read_back)
{
	char type[MESSAGE_TYPE_MAX_BYTES];
	char key[MESSAGE_KEY_MAX_BYTES];
	char trace[MESSAGE_TRACE_MAX_BYTES];
	char text[AMQP_TEXT_MAX_BYTES];
	char *body = malloc(SEAL_MAX_BYTES);
	struct message m = {
		.id = must_id(some_id),
		.correlation = must_id(other_id),
		.has_correlation = true,
		.durability = MESSAGE_PERSISTENT,
		.content = MESSAGE_PROBLEM,
		.type = { type, sizeof(type) },
		.key = { key, sizeof(key) },
		.traceparent = { trace, sizeof(trace) },
		.user_id = { text, sizeof(text) },
		.contract = { text, sizeof(text) },
		.time_left_ms = UINT64_MAX,
		.expires_unix_ms = INT64_MAX,
		.is_sealed = true,
		.sent_unix_us = INT64_MAX,
		.epoch = INT64_MAX,
		.seq = INT64_MAX,
		.attempt = INT64_MAX,
		.turn = INT64_MAX,
		.prev = must_id(other_id),
		.has_prev = true,
		.body = { body, SEAL_MAX_BYTES },
	};
	struct message read = { 0 };
	struct frame frame;
	size_t taken;

	ck_assert_ptr_nonnull(body);
	memset(type, 't', sizeof(type));
	memset(key, 'k', sizeof(key));
	memset(trace, 'r', sizeof(trace));
	memset(text, 'u', sizeof(text));
	memset(body, 'b', SEAL_MAX_BYTES);
	codec_put_publish(&out, 1, AMQP_FRAME_MAX_BYTES, "x", "y", ROUTE_OR_RETURN, &m);
	ck_assert_int_eq(buf_status(&out), ERR_OK);
	struct span left = buf_span(&out);
	size_t body_bytes = 0;

	for (int n = 0; left.len > 0; n++) {
		ck_assert_int_eq(
			frame_next(left, AMQP_FRAME_MAX_BYTES, &frame, &taken), ERR_OK);
		ck_assert_uint_gt(taken, 0);
		left = span_after(left, taken);
		if (n == 1) {
			uint64_t announced;

			ck_assert_int_eq(frame.type, FRAME_HEADER);
			ck_assert_int_eq(
				codec_header_body_bytes(frame.payload, &announced), ERR_OK);
			ck_assert_uint_eq(announced, SEAL_MAX_BYTES);
			/* Brokers add to it, and no reader may mind. */
			ck_assert_uint_le(frame.payload.len, AMQP_FRAME_MIN_BYTES / 2);
			ck_assert_int_eq(
				codec_decode_properties(codec, frame.payload, &read), ERR_OK);
		} else if (n > 1) {
			ck_assert_int_eq(frame.type, FRAME_BODY);
			body_bytes += frame.payload.len;
		}
	}
	ck_assert_uint_eq(body_bytes, SEAL_MAX_BYTES);
	ck_assert_int_eq(id_compare(&read.id, &m.id), 0);
	ck_assert(read.has_correlation);
	ck_assert_int_eq(id_compare(&read.correlation, &m.correlation), 0);
	ck_assert_int_eq(read.durability, MESSAGE_PERSISTENT);
	ck_assert_int_eq(read.content, MESSAGE_PROBLEM);
	ck_assert(span_equals(read.type, m.type));
	ck_assert(span_equals(read.key, m.key));
	ck_assert(span_equals(read.traceparent, m.traceparent));
	ck_assert(span_equals(read.user_id, m.user_id));
	ck_assert(span_equals(read.contract, m.contract));
	ck_assert_uint_eq(read.time_left_ms, UINT64_MAX);
	ck_assert_uint_eq(read.expires_unix_ms, INT64_MAX);
	ck_assert(read.is_sealed);
	ck_assert_uint_eq(read.sent_unix_us, INT64_MAX);
	ck_assert_uint_eq(read.epoch, INT64_MAX);
	ck_assert_uint_eq(read.seq, INT64_MAX);
	ck_assert_uint_eq(read.attempt, INT64_MAX);
	ck_assert_uint_eq(read.turn, INT64_MAX);
	ck_assert(read.has_prev);
	ck_assert_int_eq(id_compare(&read.prev, &m.prev), 0);
	free(body);
}
END_TEST

START_TEST(an_output_that_is_full_says_so_and_takes_no_half_frame)
{
	struct message m = {
		.id = must_id(some_id), .type = span_of("a"), .body = span_of("{}")
	};

	for (size_t room = 0; room < 4500; room += 7) {
		struct buf small;
		struct wire_frame frame;

		buf_init(&small, room);
		codec_put_publish(&small, 1, 4096, "x", "y", ROUTE_OR_DROP, &m);
		codec_put_heartbeat(&small);
		struct span left = buf_span(&small);

		while (left.len > 0) {
			ck_assert_int_eq(wire_next(left, &frame), WIRE_WHOLE);
			left = span_after(left, frame.bytes);
		}
		ck_assert(buf_status(&small) == ERR_FULL || room > 2000);
		buf_fini(&small);
	}
}
END_TEST

/* ---- frames ---- */

/* What a broker says in a short life. */
static void put_session(struct wire *w)
{
	wire_put_start(w, "PLAIN EXTERNAL");
	wire_put_tune(w, 16, 8192, 10);
	wire_put_plain(w, 0, WIRE_OPEN_OK);
	wire_put_plain(w, 1, WIRE_CHANNEL_OPEN_OK);
	wire_put_plain(w, 1, WIRE_CONFIRM_SELECT_OK);
	wire_put_heartbeat(w);
	wire_put_confirm(w, 1, WIRE_ACK, 1, true);
	wire_put_deliver(w, 2, 1, false);
	wire_put_content(w, 2, some_id, span_of("{\"sku\":\"A-1\"}"), 5);
	wire_put_return(w, 1, 312, "NO_ROUTE");
	wire_put_content(w, 1, some_id, span_of("{}"), 8);
	wire_put_blocked(w, "low on memory");
	wire_put_channel_close(w, 2, 404, "NOT_FOUND - no queue");
	wire_put_close(w, 320, "CONNECTION_FORCED - goodbye");
}

enum { SESSION_FRAMES = 18, SEEN_MAX = 32 };

struct seen {
	struct {
		enum frame_type type;
		uint16_t channel;
		size_t bytes;
		uint32_t sum;
	} frame[SEEN_MAX];
	size_t count;
};

static uint32_t sum_of(struct span s)
{
	uint32_t sum = 2166136261u;

	for (size_t i = 0; i < s.len; i++)
		sum = (sum ^ (uint8_t)s.at[i]) * 16777619u;
	return sum;
}

/* Takes all whole frames from the front of `in`. */
static enum err take_all(struct buf *in, struct seen *seen)
{
	for (;;) {
		struct exact e = exact_copy(buf_span(in));
		struct frame f;
		size_t taken;
		enum err err = frame_next(e.span, AMQP_FRAME_MAX_BYTES, &f, &taken);

		if (err == ERR_OK && taken > 0) {
			ck_assert_uint_lt(seen->count, SEEN_MAX);
			seen->frame[seen->count].type = f.type;
			seen->frame[seen->count].channel = f.channel;
			seen->frame[seen->count].bytes = f.payload.len;
			seen->frame[seen->count].sum = sum_of(f.payload);
			seen->count++;
			buf_consume(in, taken);
		}
		free(e.at);
		if (err != ERR_OK || taken == 0)
			return err;
	}
}

static void expect_same(const struct seen *a, const struct seen *b)
{
	ck_assert_uint_eq(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		ck_assert_int_eq(a->frame[i].type, b->frame[i].type);
		ck_assert_uint_eq(a->frame[i].channel, b->frame[i].channel);
		ck_assert_uint_eq(a->frame[i].bytes, b->frame[i].bytes);
		ck_assert_uint_eq(a->frame[i].sum, b->frame[i].sum);
	}
}

static void must_see_whole_session(struct seen *whole)
{
	struct buf in;

	put_session(&wire);
	buf_init(&in, MIB(1));
	buf_append(&in, wire_span(&wire));
	*whole = (struct seen){ 0 };
	ck_assert_int_eq(take_all(&in, whole), ERR_OK);
	ck_assert_uint_eq(in.len, 0);
	ck_assert_uint_eq(whole->count, SESSION_FRAMES);
	buf_fini(&in);
}

START_TEST(a_stream_means_the_same_in_pieces_of_every_size)
{
	struct seen whole;
	struct buf in;

	must_see_whole_session(&whole);
	buf_init(&in, MIB(1));
	struct span stream = wire_span(&wire);

	for (size_t piece = 1; piece <= 200; piece++) {
		struct seen seen = { 0 };

		for (struct span left = stream; left.len > 0; left = span_after(left, piece)) {
			size_t len = left.len < piece ? left.len : piece;

			buf_append(&in, (struct span){ .at = left.at, .len = len });
			ck_assert_int_eq(take_all(&in, &seen), ERR_OK);
		}
		ck_assert_uint_eq(in.len, 0);
		expect_same(&seen, &whole);
	}
	buf_fini(&in);
}
END_TEST

START_TEST(a_stream_means_the_same_cut_in_two_anywhere)
{
	struct seen whole;
	struct buf in;

	must_see_whole_session(&whole);
	buf_init(&in, MIB(1));
	struct span stream = wire_span(&wire);

	for (size_t at = 0; at <= stream.len; at++) {
		struct seen seen = { 0 };

		buf_append(&in, (struct span){ .at = stream.at, .len = at });
		/* What is cut off is not missed: it is waited for. */
		ck_assert_int_eq(take_all(&in, &seen), ERR_OK);
		buf_append(&in, span_after(stream, at));
		ck_assert_int_eq(take_all(&in, &seen), ERR_OK);
		ck_assert_uint_eq(in.len, 0);
		expect_same(&seen, &whole);
	}
	buf_fini(&in);
}
END_TEST

static enum err next_of(const void *bytes, size_t len, size_t *taken)
{
	struct exact e = exact_copy((struct span){ .at = bytes, .len = len });
	struct frame f;
	enum err err = frame_next(e.span, AMQP_FRAME_MAX_BYTES, &f, taken);

	free(e.at);
	return err;
}

START_TEST(only_the_right_end_octet_ends_a_frame)
{
	size_t taken;

	for (int end = 0; end < 256; end++) {
		uint8_t frame[] = { 1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, (uint8_t)end };
		enum err err = next_of(frame, sizeof(frame), &taken);

		ck_assert_int_eq(err, end == 0xce ? ERR_OK : ERR_PROTOCOL);
		ck_assert_uint_eq(taken, end == 0xce ? sizeof(frame) : 0);
	}
}
END_TEST

START_TEST(only_four_types_of_frames_exist)
{
	size_t taken;

	for (int type = 0; type < 256; type++) {
		uint8_t frame[] = { (uint8_t)type, 0, 0, 0, 0, 0, 0, 0xce };
		bool is_known = type == 1 || type == 2 || type == 3 || type == 8;

		ck_assert_int_eq(next_of(frame, sizeof(frame), &taken),
			is_known ? ERR_OK : ERR_PROTOCOL);
		/* The first octet is enough to know. */
		ck_assert_int_eq(next_of(frame, 1, &taken), is_known ? ERR_OK : ERR_PROTOCOL);
		ck_assert_uint_eq(taken, 0);
	}
	ck_assert_int_eq(next_of("AMQP\x00\x00\x09\x01", 8, &taken), ERR_PROTOCOL);
}
END_TEST

START_TEST(a_frame_larger_than_agreed_is_refused_before_its_bytes_come)
{
	static const uint32_t giants[] = { AMQP_FRAME_MAX_BYTES - 8 + 1, AMQP_FRAME_MAX_BYTES,
		0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff8, 0xffffffff };
	size_t taken;

	for (size_t i = 0; i < ARRAY_COUNT(giants); i++) {
		wire_clear(&wire);
		wire_octet(&wire, 1);
		wire_short(&wire, 0);
		wire_long(&wire, giants[i]);
		ck_assert_int_eq(next_of(wire_span(&wire).at, 7, &taken), ERR_PROTOCOL);
	}
	/* The largest that may be. */
	char full[AMQP_FRAME_MAX_BYTES - 8] = { 0 };

	wire_clear(&wire);
	wire_put_body(&wire, 1, full, sizeof(full));
	ck_assert_int_eq(next_of(wire_span(&wire).at, wire_span(&wire).len, &taken), ERR_OK);
	ck_assert_uint_eq(taken, AMQP_FRAME_MAX_BYTES);
}
END_TEST

START_TEST(only_a_header_frame_may_have_grown_on_its_way)
{
	static char full[AMQP_FRAME_READ_MAX_BYTES - 8];

	for (uint8_t type = FRAME_METHOD; type <= FRAME_HEARTBEAT; type++) {
		bool may_grow = type == FRAME_HEADER;
		size_t taken;

		wire_clear(&wire);
		wire_frame_begin(&wire, type, 1);
		wire_raw(&wire, full, sizeof(full));
		wire_frame_end(&wire);
		ck_assert_int_eq(next_of(wire_span(&wire).at, wire_span(&wire).len, &taken),
			may_grow ? ERR_OK : ERR_PROTOCOL);
		ck_assert_uint_eq(taken, may_grow ? AMQP_FRAME_READ_MAX_BYTES : 0);
		wire_clear(&wire);
		wire_octet(&wire, type);
		wire_short(&wire, 1);
		wire_long(&wire, sizeof(full) + 1);
		ck_assert_int_eq(next_of(wire_span(&wire).at, 7, &taken), ERR_PROTOCOL);
	}
}
END_TEST

/* ---- methods ---- */

static enum err decode(struct method *m)
{
	struct wire_reader r = { .left = wire_span(&wire) };

	wire_read_octet(&r);
	wire_read_short(&r);
	struct span payload = wire_read_longstr(&r);

	ck_assert(!r.is_short);
	return codec_decode_method(codec, payload, m);
}

/* Decodes the one frame in `wire`, which is empty again afterwards except for m's spans. */
static struct method must_decode(enum method_kind kind)
{
	struct method m;

	ck_assert_int_eq(decode(&m), ERR_OK);
	ck_assert_int_eq(m.kind, kind);
	return m;
}

START_TEST(what_a_broker_says_is_read)
{
	struct method m;

	wire_put_start(&wire, "PLAIN EXTERNAL");
	m = must_decode(METHOD_CONNECTION_START);
	ck_assert(span_is(m.mechanisms, "PLAIN EXTERNAL"));
	ck_assert_uint_eq(m.number, WIRE_START);
	wire_clear(&wire);
	wire_put_tune(&wire, 16, 0x01020304, 60);
	m = must_decode(METHOD_CONNECTION_TUNE);
	ck_assert_uint_eq(m.channel_max, 16);
	ck_assert_uint_eq(m.frame_max, 0x01020304);
	ck_assert_uint_eq(m.heartbeat_s, 60);
	wire_clear(&wire);
	wire_put_close(&wire, 320, "CONNECTION_FORCED");
	m = must_decode(METHOD_CONNECTION_CLOSE);
	ck_assert_uint_eq(m.code, 320);
	ck_assert(span_is(m.text, "CONNECTION_FORCED"));
	wire_clear(&wire);
	wire_put_blocked(&wire, "low on memory");
	m = must_decode(METHOD_CONNECTION_BLOCKED);
	ck_assert(span_is(m.text, "low on memory"));
	wire_clear(&wire);
	wire_put_channel_close(&wire, 1, 404, "NOT_FOUND");
	m = must_decode(METHOD_CHANNEL_CLOSE);
	ck_assert_uint_eq(m.code, 404);
	ck_assert(span_is(m.text, "NOT_FOUND"));
	wire_clear(&wire);
	wire_put_deliver(&wire, 1, UINT64_MAX, true);
	m = must_decode(METHOD_BASIC_DELIVER);
	ck_assert_uint_eq(m.delivery_tag, UINT64_MAX);
	ck_assert(m.redelivered);
	wire_clear(&wire);
	wire_put_deliver(&wire, 1, 1, false);
	ck_assert(!must_decode(METHOD_BASIC_DELIVER).redelivered);
	wire_clear(&wire);
	wire_put_return(&wire, 1, 312, "NO_ROUTE");
	m = must_decode(METHOD_BASIC_RETURN);
	ck_assert_uint_eq(m.code, 312);
	ck_assert(span_is(m.text, "NO_ROUTE"));
	wire_clear(&wire);
	wire_put_confirm(&wire, 1, WIRE_ACK, 7, true);
	m = must_decode(METHOD_BASIC_ACK);
	ck_assert_uint_eq(m.delivery_tag, 7);
	ck_assert(m.multiple);
	wire_clear(&wire);
	wire_put_confirm(&wire, 1, WIRE_NACK, 8, false);
	m = must_decode(METHOD_BASIC_NACK);
	ck_assert_uint_eq(m.delivery_tag, 8);
	ck_assert(!m.multiple);
}
END_TEST

START_TEST(methods_without_fields_that_matter_are_known_by_their_kind)
{
	static const struct {
		enum wire_method method;
		enum method_kind kind;
	} plain[] = {
		{ WIRE_OPEN_OK, METHOD_CONNECTION_OPEN_OK },
		{ WIRE_CLOSE_OK, METHOD_CONNECTION_CLOSE_OK },
		{ WIRE_UNBLOCKED, METHOD_CONNECTION_UNBLOCKED },
		{ WIRE_CHANNEL_OPEN_OK, METHOD_CHANNEL_OPEN_OK },
		{ WIRE_CHANNEL_CLOSE_OK, METHOD_CHANNEL_CLOSE_OK },
		{ WIRE_CONFIRM_SELECT_OK, METHOD_CONFIRM_SELECT_OK },
		{ WIRE_QOS_OK, METHOD_BASIC_QOS_OK },
		{ WIRE_CONSUME_OK, METHOD_BASIC_CONSUME_OK },
		{ WIRE_CANCEL, METHOD_BASIC_CANCEL },
		{ WIRE_CANCEL_OK, METHOD_BASIC_CANCEL_OK },
	};

	for (size_t i = 0; i < ARRAY_COUNT(plain); i++) {
		wire_clear(&wire);
		wire_put_plain(&wire, 1, plain[i].method);
		must_decode(plain[i].kind);
	}
}
END_TEST

START_TEST(methods_that_no_client_meets_are_other)
{
	wire_put_plain(
		&wire, 1, (enum wire_method)(60 << 16 | 71)); /* get-ok, without fields */
	struct method m;

	ck_assert_int_eq(decode(&m), ERR_PROTOCOL); /* known, and cut short */
	static const uint32_t strange[] = { 0, 1, 10 << 16, 999 << 16 | 999, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_COUNT(strange); i++) {
		wire_clear(&wire);
		wire_put_plain(&wire, 1, (enum wire_method)strange[i]);
		ck_assert_int_eq(decode(&m), ERR_OK);
		ck_assert_int_eq(m.kind, METHOD_OTHER);
		ck_assert_uint_eq(m.number, strange[i]);
		ck_assert_str_eq(method_name(strange[i]), "unknown method");
	}
}
END_TEST

START_TEST(every_truncation_of_a_method_is_refused)
{
	struct wire session;
	size_t truncations = 0;

	wire_init(&session);
	put_session(&session);
	for (struct span left = wire_span(&session); left.len > 0;) {
		struct wire_reader r = { .left = left };
		uint8_t type = wire_read_octet(&r);

		wire_read_short(&r);
		struct span payload = wire_read_longstr(&r);

		wire_read_octet(&r);
		left = r.left;
		if (type != WIRE_METHOD)
			continue;
		for (size_t len = 0; len < payload.len; len++) {
			struct exact e = exact_copy((struct span){ payload.at, len });
			struct method m;

			ck_assert_int_eq(codec_decode_method(codec, e.span, &m), ERR_PROTOCOL);
			ck_assert_int_eq(m.kind, METHOD_OTHER);
			free(e.at);
			truncations++;
		}
	}
	ck_assert_uint_gt(truncations, 300);
	wire_fini(&session);
}
END_TEST

/* ---- properties ---- */

/* Decodes the one header frame in `wire`. */
static enum err read_header(struct message *m)
{
	struct frame f;
	size_t taken;
	struct exact e = exact_copy(wire_span(&wire));

	ck_assert_int_eq(frame_next(e.span, AMQP_FRAME_MAX_BYTES, &f, &taken), ERR_OK);
	ck_assert_uint_eq(taken, e.span.len);
	*m = (struct message){ .body = span_of("kept") };
	enum err err = codec_decode_properties(codec, f.payload, m);

	ck_assert(span_is(m->body, "kept"));
	free(e.at); /* spans of m are gone with it */
	return err;
}

static void put_fields(uint16_t flags)
{
	wire_clear(&wire);
	wire_header_begin(&wire, 1, 2, flags);
	if ((flags & WIRE_HAS_CONTENT_TYPE) != 0)
		wire_shortstr(&wire, "application/problem+json");
	if ((flags & WIRE_HAS_ENCODING) != 0)
		wire_shortstr(&wire, "sealed-v1");
	if ((flags & WIRE_HAS_HEADERS) != 0) {
		size_t headers = wire_from(&wire);

		wire_entry_number(&wire, "seq", 5);
		wire_until(&wire, headers);
	}
	if ((flags & WIRE_HAS_DELIVERY_MODE) != 0)
		wire_octet(&wire, 2);
	if ((flags & WIRE_HAS_PRIORITY) != 0)
		wire_octet(&wire, 9);
	if ((flags & WIRE_HAS_CORRELATION) != 0)
		wire_shortstr(&wire, other_id);
	if ((flags & WIRE_HAS_REPLY_TO) != 0)
		wire_shortstr(&wire, "amq.rabbitmq.reply-to");
	if ((flags & WIRE_HAS_EXPIRATION) != 0)
		wire_shortstr(&wire, "250");
	if ((flags & WIRE_HAS_MESSAGE_ID) != 0)
		wire_shortstr(&wire, some_id);
	if ((flags & WIRE_HAS_TIMESTAMP) != 0)
		wire_longlong(&wire, 1700000000);
	if ((flags & WIRE_HAS_TYPE) != 0)
		wire_shortstr(&wire, "quote.price");
	if ((flags & WIRE_HAS_USER_ID) != 0)
		wire_shortstr(&wire, "web.web1.g1");
	wire_frame_end(&wire);
}

START_TEST(every_set_of_properties_is_read_and_id_and_content_type_must_be_there)
{
	for (unsigned flags = 0; flags < 1 << 12; flags++) {
		struct message m;

		put_fields((uint16_t)(flags << 4));
		uint16_t has = (uint16_t)(flags << 4);
		bool is_fine = (has & WIRE_HAS_MESSAGE_ID) != 0 &&
			       (has & WIRE_HAS_CONTENT_TYPE) != 0;

		ck_assert_int_eq(read_header(&m), is_fine ? ERR_OK : ERR_INPUT);
		if (!is_fine)
			continue;
		ck_assert_str_eq(id_format(&m.id).at, some_id);
		ck_assert_int_eq(m.has_correlation, (has & WIRE_HAS_CORRELATION) != 0);
		ck_assert_uint_eq(m.time_left_ms, (has & WIRE_HAS_EXPIRATION) != 0 ? 250 : 0);
		ck_assert_uint_eq(m.type.len, (has & WIRE_HAS_TYPE) != 0 ? 11 : 0);
		ck_assert_uint_eq(m.user_id.len, (has & WIRE_HAS_USER_ID) != 0 ? 11 : 0);
		ck_assert_uint_eq(m.seq, (has & WIRE_HAS_HEADERS) != 0 ? 5 : 0);
		ck_assert_int_eq(m.is_sealed, (has & WIRE_HAS_ENCODING) != 0);
		ck_assert_int_eq(m.durability, (has & WIRE_HAS_DELIVERY_MODE) != 0
						       ? MESSAGE_PERSISTENT
						       : MESSAGE_TRANSIENT);
		ck_assert_int_eq(m.content, MESSAGE_PROBLEM);
	}
}
END_TEST

START_TEST(no_encoding_but_the_seal_is_ours)
{
	static const char *const strange[] = { "", "gzip", "identity", "sealed-v2", "sealed-v",
		"sealed-v11", "Sealed-v1" };

	for (size_t i = 0; i < ARRAY_COUNT(strange); i++) {
		struct message m;

		wire_clear(&wire);
		wire_header_begin(&wire, 1, 2,
			WIRE_HAS_CONTENT_TYPE | WIRE_HAS_ENCODING | WIRE_HAS_MESSAGE_ID);
		wire_shortstr(&wire, "application/json");
		wire_shortstr(&wire, strange[i]);
		wire_shortstr(&wire, some_id);
		wire_frame_end(&wire);
		ck_assert_int_eq(read_header(&m), ERR_INPUT);
		ck_assert(!m.is_sealed);
	}
}
END_TEST

START_TEST(every_truncation_of_the_properties_is_refused)
{
	put_fields(0xfff0);
	struct span whole = wire_span(&wire);
	struct span payload = { .at = whole.at + 7, .len = whole.len - 8 };

	for (size_t len = 0; len < payload.len; len++) {
		struct exact e = exact_copy((struct span){ payload.at, len });
		struct message m = { 0 };
		uint64_t body_bytes;

		ck_assert_int_eq(codec_decode_properties(codec, e.span, &m), ERR_INPUT);
		ck_assert_int_eq(codec_header_body_bytes(e.span, &body_bytes),
			len < 14 ? ERR_PROTOCOL : ERR_OK);
		free(e.at);
	}
}
END_TEST

START_TEST(a_header_of_another_class_is_no_content)
{
	uint64_t body_bytes;

	put_fields(WIRE_HAS_MESSAGE_ID);
	for (unsigned class_id = 0; class_id < 256; class_id++) {
		char payload[64];
		struct span whole = wire_span(&wire);

		ck_assert_uint_le(whole.len - 8, sizeof(payload));
		memcpy(payload, whole.at + 7, whole.len - 8);
		payload[1] = (char)class_id;
		ck_assert_int_eq(codec_header_body_bytes(
					 (struct span){ payload, whole.len - 8 }, &body_bytes),
			class_id == 60 ? ERR_OK : ERR_PROTOCOL);
	}
	ck_assert_uint_eq(body_bytes, 2);
}
END_TEST

/* A header with an id and one text property. */
static enum err read_with(uint16_t flag, const char *value)
{
	struct message m;
	static const struct {
		uint16_t flag;
		const char *usual;
	} fields[] = {
		{ WIRE_HAS_CONTENT_TYPE, "application/json" },
		{ WIRE_HAS_CORRELATION, NULL },
		{ WIRE_HAS_EXPIRATION, NULL },
		{ WIRE_HAS_MESSAGE_ID, some_id },
	};

	wire_clear(&wire);
	wire_header_begin(
		&wire, 1, 0, (uint16_t)(WIRE_HAS_CONTENT_TYPE | WIRE_HAS_MESSAGE_ID | flag));
	for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
		if (fields[i].flag == flag)
			wire_shortstr(&wire, value);
		else if (fields[i].usual != NULL)
			wire_shortstr(&wire, fields[i].usual);
	}
	wire_frame_end(&wire);
	return read_header(&m);
}

START_TEST(a_property_that_is_there_must_be_well_formed)
{
	ck_assert_int_eq(read_with(WIRE_HAS_MESSAGE_ID, some_id), ERR_OK);
	ck_assert_int_eq(read_with(WIRE_HAS_MESSAGE_ID, ""), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_MESSAGE_ID, "17"), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_CORRELATION, other_id), ERR_OK);
	ck_assert_int_eq(read_with(WIRE_HAS_CORRELATION, ""), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_CORRELATION, "../../etc"), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_EXPIRATION, "0"), ERR_OK);
	ck_assert_int_eq(read_with(WIRE_HAS_EXPIRATION, "18446744073709551615"), ERR_OK);
	ck_assert_int_eq(read_with(WIRE_HAS_EXPIRATION, "18446744073709551616"), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_EXPIRATION, ""), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_EXPIRATION, "-1"), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_EXPIRATION, "1s"), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_EXPIRATION, " 1"), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_CONTENT_TYPE, "application/json"), ERR_OK);
	ck_assert_int_eq(read_with(WIRE_HAS_CONTENT_TYPE, ""), ERR_INPUT);
	ck_assert_int_eq(read_with(WIRE_HAS_CONTENT_TYPE, "text/html"), ERR_INPUT);
}
END_TEST

/* Begins a header that holds an id, a content type and one table; headers_end() decodes it. */
static size_t headers_begin(void)
{
	wire_clear(&wire);
	wire_header_begin(
		&wire, 1, 0, WIRE_HAS_CONTENT_TYPE | WIRE_HAS_HEADERS | WIRE_HAS_MESSAGE_ID);
	wire_shortstr(&wire, "application/json");
	return wire_from(&wire);
}

static enum err headers_end(size_t from, struct message *m)
{
	wire_until(&wire, from);
	wire_shortstr(&wire, some_id);
	wire_frame_end(&wire);
	return read_header(m);
}

/* One value of every type that AMQP and RabbitMQ know. */
static void put_value(char type)
{
	size_t from;

	wire_octet(&wire, (uint8_t)type);
	switch (type) {
	case 't':
	case 'b':
	case 'B':
		wire_octet(&wire, 1);
		break;
	case 's':
	case 'u':
		wire_short(&wire, 1);
		break;
	case 'I':
	case 'i':
	case 'f':
		wire_long(&wire, 1);
		break;
	case 'l':
	case 'L':
	case 'd':
	case 'T':
		wire_longlong(&wire, 1);
		break;
	case 'D':
		wire_octet(&wire, 2);
		wire_long(&wire, 1);
		break;
	case 'S':
	case 'x':
		wire_longstr(&wire, "1");
		break;
	case 'A':
		from = wire_from(&wire);
		wire_octet(&wire, 'V');
		wire_until(&wire, from);
		break;
	case 'F':
		from = wire_from(&wire);
		wire_entry_flag(&wire, "in", true);
		wire_until(&wire, from);
		break;
	default: /* 'V' has none */
		break;
	}
}

START_TEST(our_headers_have_their_types_and_no_other)
{
	static const char types[] = "tbBsuIilLfdDSxATFV";
	static const struct {
		const char *name;
		const char *types;
	} headers[] = {
		{ "sent-us", "Il" },
		{ "epoch", "Il" },
		{ "seq", "Il" },
		{ "attempt", "Il" },
		{ "turn", "Il" },
		{ "key", "S" },
		{ "traceparent", "S" },
		{ "contract", "S" },
	};

	for (size_t h = 0; h < ARRAY_COUNT(headers); h++) {
		for (const char *type = types; *type != '\0'; type++) {
			struct message m;
			size_t from = headers_begin();

			wire_shortstr(&wire, headers[h].name);
			put_value(*type);
			enum err err = headers_end(from, &m);
			bool is_right = strchr(headers[h].types, *type) != NULL;

			ck_assert_msg((err == ERR_OK) == is_right, "%s as '%c': %s",
				headers[h].name, *type, err_text(err));
			ck_assert(err == ERR_OK || err == ERR_INPUT);
		}
	}
}
END_TEST

START_TEST(a_header_of_ours_that_comes_twice_is_refused)
{
	static const struct {
		const char *name;
		char type;
	} headers[] = { { "sent-us", 'l' }, { "epoch", 'l' }, { "seq", 'l' },
		{ "attempt", 'l' }, { "turn", 'l' }, { "expires-at", 'l' }, { "key", 'S' },
		{ "traceparent", 'S' }, { "contract", 'S' } };

	for (size_t first = 0; first < ARRAY_COUNT(headers); first++) {
		for (size_t then = 0; then < ARRAY_COUNT(headers); then++) {
			struct message m;
			size_t from = headers_begin();

			wire_shortstr(&wire, headers[first].name);
			put_value(headers[first].type);
			wire_shortstr(&wire, headers[then].name);
			put_value(headers[then].type);
			ck_assert_int_eq(
				headers_end(from, &m), first == then ? ERR_INPUT : ERR_OK);
		}
	}
}
END_TEST

START_TEST(the_one_before_it_is_an_id_once)
{
	static const char types[] = "tbBsuIilLfdDSxATFV";
	struct message m;
	size_t from = headers_begin();

	wire_entry_text(&wire, "prev", some_id);
	ck_assert_int_eq(headers_end(from, &m), ERR_OK);
	ck_assert(m.has_prev);
	from = headers_begin();
	wire_entry_text(&wire, "prev", some_id);
	wire_entry_text(&wire, "prev", some_id);
	ck_assert_int_eq(headers_end(from, &m), ERR_INPUT);
	for (const char *type = types; *type != '\0'; type++) {
		from = headers_begin();
		wire_shortstr(&wire, "prev");
		put_value(*type);
		ck_assert_int_eq(headers_end(from, &m), ERR_INPUT);
	}
}
END_TEST

START_TEST(numbers_below_zero_and_texts_too_long_are_refused)
{
	char text[257] = { 0 };
	struct message m;
	size_t from = headers_begin();

	wire_entry_number(&wire, "seq", -1);
	ck_assert_int_eq(headers_end(from, &m), ERR_INPUT);
	for (size_t len = 0; len < sizeof(text); len++) {
		memset(text, 'k', len);
		from = headers_begin();
		wire_entry_text(&wire, "key", text);
		ck_assert_int_eq(headers_end(from, &m),
			len <= MESSAGE_KEY_MAX_BYTES ? ERR_OK : ERR_INPUT);
		from = headers_begin();
		wire_entry_text(&wire, "traceparent", text);
		ck_assert_int_eq(headers_end(from, &m),
			len <= MESSAGE_TRACE_MAX_BYTES ? ERR_OK : ERR_INPUT);
	}
}
END_TEST

START_TEST(unknown_flat_headers_and_those_of_the_broker_are_skipped)
{
	static const char types[] = "tbBsuIilLfdDSxTV";
	struct message m;
	size_t from = headers_begin();

	for (const char *type = types; *type != '\0'; type++) {
		wire_shortstr(&wire, "something");
		put_value(*type);
	}
	wire_shortstr(&wire, "x-death");
	put_value('A');
	wire_shortstr(&wire, "x-first-death-reason");
	put_value('F');
	wire_shortstr(&wire, "");
	put_value('t');
	wire_entry_number(&wire, "seq", 3);
	ck_assert_int_eq(headers_end(from, &m), ERR_OK);
	ck_assert_uint_eq(m.seq, 3);
}
END_TEST

START_TEST(tables_within_our_headers_are_refused)
{
	static const char *const names[] = { "anything", "key", "seq", "X-death", "x", "" };
	static const char nested[] = "FA";

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		for (const char *type = nested; *type != '\0'; type++) {
			struct message m;
			size_t from = headers_begin();

			wire_shortstr(&wire, names[i]);
			put_value(*type);
			ck_assert_int_eq(headers_end(from, &m), ERR_INPUT);
		}
	}
}
END_TEST

START_TEST(a_type_that_does_not_exist_spoils_the_message)
{
	for (int type = 0; type < 256; type++) {
		struct message m;
		size_t from = headers_begin();

		if (strchr("tbBsuIilLfdDSxATFV", type) != NULL && type != 0)
			continue;
		wire_shortstr(&wire, "x-what");
		wire_octet(&wire, (uint8_t)type);
		wire_longlong(&wire, 0);
		ck_assert_int_eq(headers_end(from, &m), ERR_INPUT);
	}
}
END_TEST

/* A table or array in a table or array …, as deep as a frame allows. */
static unsigned put_nested(const char *name, char type)
{
	enum { ROOM = AMQP_FRAME_MAX_BYTES - 200 };
	size_t from[2000];
	unsigned depth = 0;

	wire_shortstr(&wire, name);
	while (wire_span(&wire).len < ROOM && depth < ARRAY_COUNT(from)) {
		if (type == 'F' && depth > 0)
			wire_shortstr(&wire, "");
		wire_octet(&wire, (uint8_t)type);
		from[depth++] = wire_from(&wire);
	}
	for (unsigned i = depth; i > 0; i--)
		wire_until(&wire, from[i - 1]);
	return depth;
}

START_TEST(the_deepest_nesting_of_a_frame_costs_little)
{
	static const char types[] = "FA";
	uint64_t begun_us = clock_mono_us();

	for (int round = 0; round < 10; round++) {
		for (const char *type = types; *type != '\0'; type++) {
			struct message m;
			size_t from = headers_begin();

			ck_assert_uint_gt(put_nested("x-death", *type), 1300);
			ck_assert_int_eq(headers_end(from, &m), ERR_OK);
			from = headers_begin();
			put_nested("other", *type);
			ck_assert_int_eq(headers_end(from, &m), ERR_INPUT);
		}
	}
	ck_assert_uint_lt(clock_mono_us() - begun_us, 1000000);
}
END_TEST

START_TEST(the_deepest_nesting_of_server_properties_is_read_too)
{
	static const char types[] = "FA";

	for (const char *type = types; *type != '\0'; type++) {
		wire_clear(&wire);
		wire_method_begin(&wire, 0, WIRE_START);
		wire_octet(&wire, 0);
		wire_octet(&wire, 9);
		size_t from = wire_from(&wire);

		ck_assert_uint_gt(put_nested("deep", *type), 1300);
		wire_until(&wire, from);
		wire_longstr(&wire, "EXTERNAL");
		wire_longstr(&wire, "en_US");
		wire_frame_end(&wire);
		struct method m = must_decode(METHOD_CONNECTION_START);

		ck_assert(span_is(m.mechanisms, "EXTERNAL"));
	}
}
END_TEST

START_TEST(a_table_that_lies_about_its_size_spoils_the_message)
{
	static const uint32_t lies[] = { 1, 2, 100, 8000, 0x7fffffff, 0xffffffff };

	for (size_t i = 0; i < ARRAY_COUNT(lies); i++) {
		struct message m;

		headers_begin();
		wire.out.len -= 4; /* of an honest table */
		wire_long(&wire, lies[i]);
		wire_shortstr(&wire, some_id);
		wire_frame_end(&wire);
		ck_assert_int_eq(read_header(&m), ERR_INPUT);
	}
}
END_TEST

START_TEST(more_words_of_property_flags_than_exist_do_no_harm)
{
	for (unsigned words = 1; words < 600; words++) {
		struct message m;

		wire_clear(&wire);
		wire_header_begin(&wire, 1, 0, 0xffff);
		for (unsigned i = 0; i < words; i++)
			wire_short(&wire, 0xffff);
		wire_frame_end(&wire);
		ck_assert_int_eq(read_header(&m), ERR_INPUT);
	}
}
END_TEST

/* ---- anything at all ---- */

static uint64_t dice_state = 0x9e3779b97f4a7c15;

/* xorshift64*: the same sequence in each run. */
static uint64_t dice(void)
{
	dice_state ^= dice_state >> 12;
	dice_state ^= dice_state << 25;
	dice_state ^= dice_state >> 27;
	return dice_state * 2685821657736338717ull;
}

static void expect_within(struct span inner, struct span outer)
{
	if (inner.len == 0)
		return;
	ck_assert(inner.at >= outer.at && inner.at + inner.len <= outer.at + outer.len);
}

static void decode_anything(struct span payload)
{
	struct method method;
	struct message message = { 0 };
	uint64_t body_bytes;
	enum err err = codec_decode_method(codec, payload, &method);

	ck_assert(err == ERR_OK || err == ERR_PROTOCOL);
	expect_within(method.mechanisms, payload);
	expect_within(method.text, payload);
	err = codec_decode_properties(codec, payload, &message);
	ck_assert(err == ERR_OK || err == ERR_INPUT);
	expect_within(message.type, payload);
	expect_within(message.user_id, payload);
	expect_within(message.traceparent, payload);
	expect_within(message.key, payload);
	expect_within(message.contract, payload);
	ck_assert_uint_le(message.key.len, MESSAGE_KEY_MAX_BYTES);
	err = codec_header_body_bytes(payload, &body_bytes);
	ck_assert(err == ERR_OK || err == ERR_PROTOCOL);
}

enum { MUTATIONS = 200000, MUTANT_MAX_BYTES = 512 };

START_TEST(two_hundred_thousand_mutants_are_read_or_refused)
{
	struct span seeds[SEEN_MAX];
	size_t seed_count = 0;

	put_session(&wire);
	for (struct span left = wire_span(&wire); left.len > 0; seed_count++) {
		struct wire_reader r = { .left = left };

		wire_read_octet(&r);
		wire_read_short(&r);
		seeds[seed_count] = wire_read_longstr(&r);
		wire_read_octet(&r);
		left = r.left;
	}
	for (int i = 0; i < MUTATIONS; i++) {
		struct span seed = seeds[dice() % seed_count];
		char mutant[MUTANT_MAX_BYTES];
		size_t len = seed.len;

		ck_assert_uint_lt(len + 16, sizeof(mutant));
		memcpy(mutant, seed.at, len);
		for (uint64_t n = dice() % 8; n > 0 && len > 0; n--) {
			static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xfe, 0xff, 'F',
				'A' };
			size_t at = dice() % len;

			mutant[at] = (char)(dice() % 2 == 0 ? dice()
							    : edges[dice() % sizeof(edges)]);
		}
		if (dice() % 4 == 0)
			len = len == 0 ? 0 : dice() % len;
		else if (dice() % 4 == 0)
			for (uint64_t n = dice() % 16; n > 0; n--)
				mutant[len++] = (char)dice();
		struct exact e = exact_copy((struct span){ mutant, len });

		decode_anything(e.span);
		free(e.at);
	}
}
END_TEST

START_TEST(pure_noise_is_read_or_refused)
{
	for (int i = 0; i < 20000; i++) {
		char noise[64];
		size_t len = dice() % sizeof(noise);

		for (size_t n = 0; n < len; n++)
			noise[n] = (char)dice();
		struct exact e = exact_copy((struct span){ noise, len });
		struct frame f;
		size_t taken;

		decode_anything(e.span);
		if (frame_next(e.span, AMQP_FRAME_MAX_BYTES, &f, &taken) == ERR_OK && taken > 0)
			expect_within(f.payload, e.span);
		free(e.at);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("codec");
	TCase *sent = tcase_create("what we send");
	TCase *frames = tcase_create("frames");
	TCase *methods = tcase_create("methods");
	TCase *properties = tcase_create("properties");
	TCase *anything = tcase_create("anything at all");
	TCase *all[] = { sent, frames, methods, properties, anything };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], set_up, tear_down);
		tcase_set_timeout(all[i], 60);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_test(sent, the_protocol_header_says_0_9_1);
	tcase_add_test(sent, start_ok_says_external_and_what_we_can);
	tcase_add_test(sent, the_methods_of_the_connection_are_the_specified_bytes);
	tcase_add_test(sent, the_methods_of_a_channel_are_the_specified_bytes);
	tcase_add_test(
		sent, a_publish_is_a_method_a_header_and_as_many_bodies_as_frame_max_asks_for);
	tcase_add_test(sent, all_that_a_message_can_say_stands_in_its_header);
	tcase_add_test(sent, a_message_at_all_its_limits_can_be_sent_and_read_back);
	tcase_add_test(sent, an_output_that_is_full_says_so_and_takes_no_half_frame);
	tcase_add_test(frames, a_stream_means_the_same_in_pieces_of_every_size);
	tcase_add_test(frames, a_stream_means_the_same_cut_in_two_anywhere);
	tcase_add_test(frames, only_the_right_end_octet_ends_a_frame);
	tcase_add_test(frames, only_four_types_of_frames_exist);
	tcase_add_test(frames, a_frame_larger_than_agreed_is_refused_before_its_bytes_come);
	tcase_add_test(frames, only_a_header_frame_may_have_grown_on_its_way);
	tcase_add_test(methods, what_a_broker_says_is_read);
	tcase_add_test(methods, methods_without_fields_that_matter_are_known_by_their_kind);
	tcase_add_test(methods, methods_that_no_client_meets_are_other);
	tcase_add_test(methods, every_truncation_of_a_method_is_refused);
	tcase_add_test(properties,
		every_set_of_properties_is_read_and_id_and_content_type_must_be_there);
	tcase_add_test(properties, no_encoding_but_the_seal_is_ours);
	tcase_add_test(properties, every_truncation_of_the_properties_is_refused);
	tcase_add_test(properties, a_header_of_another_class_is_no_content);
	tcase_add_test(properties, a_property_that_is_there_must_be_well_formed);
	tcase_add_test(properties, our_headers_have_their_types_and_no_other);
	tcase_add_test(properties, a_header_of_ours_that_comes_twice_is_refused);
	tcase_add_test(properties, the_one_before_it_is_an_id_once);
	tcase_add_test(properties, numbers_below_zero_and_texts_too_long_are_refused);
	tcase_add_test(properties, unknown_flat_headers_and_those_of_the_broker_are_skipped);
	tcase_add_test(properties, tables_within_our_headers_are_refused);
	tcase_add_test(properties, a_type_that_does_not_exist_spoils_the_message);
	tcase_add_test(properties, the_deepest_nesting_of_a_frame_costs_little);
	tcase_add_test(properties, the_deepest_nesting_of_server_properties_is_read_too);
	tcase_add_test(properties, a_table_that_lies_about_its_size_spoils_the_message);
	tcase_add_test(properties, more_words_of_property_flags_than_exist_do_no_harm);
	tcase_add_test(anything, two_hundred_thousand_mutants_are_read_or_refused);
	tcase_add_test(anything, pure_noise_is_read_or_refused);
	return unit_run(s);
}
