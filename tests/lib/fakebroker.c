#include "fakebroker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

enum {
	FRAME_MAX = 8192,
	CHANNEL_MAX = 16,
	PATIENCE_MS = 10000,
	BUF_MAX = 2 * FAKE_PAYLOAD_MAX,
	CLASS_CONNECTION = 10,
	CLASS_CHANNEL = 20,
	CLASS_BASIC = 60,
	CLASS_CONFIRM = 85,
};

/* ---- bytes ---- */

void fake_put_u16(struct buf *b, uint16_t v)
{
	buf_byte(b, (uint8_t)(v >> 8));
	buf_byte(b, (uint8_t)v);
}

void fake_put_u32(struct buf *b, uint32_t v)
{
	fake_put_u16(b, (uint16_t)(v >> 16));
	fake_put_u16(b, (uint16_t)v);
}

void fake_put_u64(struct buf *b, uint64_t v)
{
	fake_put_u32(b, (uint32_t)(v >> 32));
	fake_put_u32(b, (uint32_t)v);
}

void fake_put_short(struct buf *b, const char *text)
{
	buf_byte(b, (uint8_t)strlen(text));
	buf_text(b, text);
}

void fake_put_long(struct buf *b, const char *text)
{
	fake_put_u32(b, (uint32_t)strlen(text));
	buf_text(b, text);
}

static void put_head(struct buf *b, uint8_t type, uint16_t channel, uint32_t size)
{
	buf_byte(b, type);
	fake_put_u16(b, channel);
	fake_put_u32(b, size);
}

void fake_put_frame(struct buf *b, uint8_t type, uint16_t channel, const struct buf *payload)
{
	put_head(b, type, channel, (uint32_t)payload->len);
	buf_append(b, buf_span(payload));
	buf_byte(b, 0xCE);
}

void fake_put_method(struct buf *b, uint16_t channel, uint16_t class_id, uint16_t method_id,
	const struct buf *arguments)
{
	put_head(b, FAKE_METHOD, channel,
		(uint32_t)(4 + (arguments == NULL ? 0 : arguments->len)));
	fake_put_u16(b, class_id);
	fake_put_u16(b, method_id);
	if (arguments != NULL)
		buf_append(b, buf_span(arguments));
	buf_byte(b, 0xCE);
}

/* Ends a method whose arguments were gathered in `a`. */
static void put_gathered(
	struct buf *b, uint16_t channel, uint16_t class_id, uint16_t method_id, struct buf *a)
{
	fake_put_method(b, channel, class_id, method_id, a);
	buf_fini(a);
}

static void put_truth(struct buf *table, const char *name)
{
	fake_put_short(table, name);
	buf_byte(table, 't');
	buf_byte(table, 1);
}

void fake_put_start(struct buf *b)
{
	struct buf a;
	struct buf capabilities;
	struct buf properties;

	buf_init(&a, BUF_MAX);
	buf_init(&capabilities, BUF_MAX);
	buf_init(&properties, BUF_MAX);
	put_truth(&capabilities, "publisher_confirms");
	put_truth(&capabilities, "basic.nack");
	put_truth(&capabilities, "consumer_cancel_notify");
	put_truth(&capabilities, "connection.blocked");
	fake_put_short(&properties, "capabilities");
	buf_byte(&properties, 'F');
	fake_put_u32(&properties, (uint32_t)capabilities.len);
	buf_append(&properties, buf_span(&capabilities));
	fake_put_short(&properties, "product");
	buf_byte(&properties, 'S');
	fake_put_long(&properties, "a test");
	buf_byte(&a, 0);
	buf_byte(&a, 9);
	fake_put_u32(&a, (uint32_t)properties.len);
	buf_append(&a, buf_span(&properties));
	fake_put_long(&a, "EXTERNAL");
	fake_put_long(&a, "en_US");
	buf_fini(&capabilities);
	buf_fini(&properties);
	put_gathered(b, 0, CLASS_CONNECTION, 10, &a);
}

void fake_put_tune(
	struct buf *b, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	fake_put_u16(&a, channel_max);
	fake_put_u32(&a, frame_max);
	fake_put_u16(&a, heartbeat_s);
	put_gathered(b, 0, CLASS_CONNECTION, 30, &a);
}

static void put_any_close(struct buf *b, uint16_t channel, uint16_t class_id,
	uint16_t method_id, uint16_t code, const char *text)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	fake_put_u16(&a, code);
	fake_put_short(&a, text);
	fake_put_u16(&a, 0);
	fake_put_u16(&a, 0);
	put_gathered(b, channel, class_id, method_id, &a);
}

void fake_put_close(struct buf *b, uint16_t code, const char *text)
{
	put_any_close(b, 0, CLASS_CONNECTION, 50, code, text);
}

void fake_put_channel_close(struct buf *b, uint16_t channel, uint16_t code, const char *text)
{
	put_any_close(b, channel, CLASS_CHANNEL, 40, code, text);
}

void fake_put_blocked(struct buf *b, const char *reason)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	fake_put_short(&a, reason);
	put_gathered(b, 0, CLASS_CONNECTION, 60, &a);
}

void fake_put_unblocked(struct buf *b)
{
	fake_put_method(b, 0, CLASS_CONNECTION, 61, NULL);
}

void fake_put_heartbeat(struct buf *b)
{
	put_head(b, FAKE_HEARTBEAT, 0, 0);
	buf_byte(b, 0xCE);
}

static void put_outcome(
	struct buf *b, uint16_t channel, uint16_t method_id, uint64_t tag, uint8_t bits)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	fake_put_u64(&a, tag);
	buf_byte(&a, bits);
	put_gathered(b, channel, CLASS_BASIC, method_id, &a);
}

void fake_put_ack(struct buf *b, uint16_t channel, uint64_t tag, bool multiple)
{
	put_outcome(b, channel, 80, tag, multiple);
}

void fake_put_nack(struct buf *b, uint16_t channel, uint64_t tag, bool multiple)
{
	put_outcome(b, channel, 120, tag, multiple);
}

void fake_put_consumer_cancel(struct buf *b, uint16_t channel, const char *tag)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	fake_put_short(&a, tag);
	buf_byte(&a, 1);
	put_gathered(b, channel, CLASS_BASIC, 30, &a);
}

static void put_deliver_method(struct buf *b, uint16_t channel, uint64_t tag)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	fake_put_short(&a, "c");
	fake_put_u64(&a, tag);
	buf_byte(&a, 0);
	fake_put_short(&a, "x.forapp");
	fake_put_short(&a, "call");
	put_gathered(b, channel, CLASS_BASIC, 60, &a);
}

static void put_content_header(struct buf *b, uint16_t channel, uint64_t body_bytes,
	uint16_t flags, const struct buf *properties)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	fake_put_u16(&a, CLASS_BASIC);
	fake_put_u16(&a, 0);
	fake_put_u64(&a, body_bytes);
	fake_put_u16(&a, flags);
	if (properties != NULL)
		buf_append(&a, buf_span(properties));
	fake_put_frame(b, FAKE_HEADER, channel, &a);
	buf_fini(&a);
}

void fake_put_deliver(struct buf *b, uint16_t channel, uint64_t tag, uint64_t body_bytes,
	uint16_t flags, const struct buf *properties, const char *body)
{
	struct buf a;

	put_deliver_method(b, channel, tag);
	put_content_header(b, channel, body_bytes, flags, properties);
	if (body == NULL || body[0] == '\0')
		return;
	buf_init(&a, BUF_MAX);
	buf_text(&a, body);
	fake_put_frame(b, FAKE_BODY, channel, &a);
	buf_fini(&a);
}

void fake_put_nested_table(struct buf *b, unsigned depth)
{
	/* Each table but the innermost holds one entry: "a" 'F' and the next table. */
	for (unsigned i = 0; i < depth; i++) {
		fake_put_u32(b, (depth - 1 - i) * 7);
		if (i + 1 < depth) {
			fake_put_short(b, "a");
			buf_byte(b, 'F');
		}
	}
}

/* ---- hostile bytes ---- */

static void put_garbage(struct buf *b)
{
	for (unsigned i = 0; i < 4000; i++)
		buf_byte(b, (uint8_t)(i * 7 + i / 256 + 13));
}

static void put_http(struct buf *b)
{
	buf_text(b, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static void put_other_version(struct buf *b)
{
	buf_append(b, (struct span){ .at = "AMQP\x00\x01\x00\x00", .len = 8 });
}

static void put_giant_frame(struct buf *b)
{
	put_head(b, FAKE_METHOD, 0, 0xFFFFFFF0u);
	put_garbage(b);
}

static void put_frame_above_max(struct buf *b)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	for (unsigned i = 0; i < 2 * FRAME_MAX; i++)
		buf_byte(&a, 0);
	fake_put_frame(b, FAKE_METHOD, 0, &a);
	buf_fini(&a);
}

/* Larger than any broker makes a header that was taken from a client. */
static void put_header_above_max(struct buf *b)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	for (unsigned i = 0; i < 2 * FRAME_MAX; i++)
		buf_byte(&a, 0);
	put_deliver_method(b, 1, 1);
	fake_put_frame(b, FAKE_HEADER, 1, &a);
	buf_fini(&a);
}

static void put_wrong_end(struct buf *b)
{
	put_head(b, FAKE_METHOD, 0, 4);
	fake_put_u16(b, CLASS_CONNECTION);
	fake_put_u16(b, 61);
	buf_byte(b, 0xCD);
}

static void put_unknown_type(struct buf *b)
{
	put_head(b, 7, 0, 0);
	buf_byte(b, 0xCE);
}

static void put_empty_method(struct buf *b)
{
	put_head(b, FAKE_METHOD, 0, 0);
	buf_byte(b, 0xCE);
}

static void put_half_method_id(struct buf *b)
{
	put_head(b, FAKE_METHOD, 0, 3);
	fake_put_u16(b, CLASS_CONNECTION);
	buf_byte(b, 0);
	buf_byte(b, 0xCE);
}

static void put_unknown_method(struct buf *b)
{
	fake_put_method(b, 0, 999, 999, NULL);
}

static void put_cut_arguments(struct buf *b)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	buf_byte(&a, 200);
	buf_text(&a, "short");
	put_gathered(b, 0, CLASS_CONNECTION, 60, &a);
}

static void put_wrong_channel(struct buf *b)
{
	fake_put_method(b, 4711, CLASS_CHANNEL, 11, NULL);
}

static void put_deliver_on_channel_0(struct buf *b)
{
	fake_put_deliver(b, 0, 1, 2, 0, NULL, "{}");
}

static void put_start_again(struct buf *b)
{
	fake_put_start(b);
	fake_put_start(b);
}

static void put_client_method(struct buf *b)
{
	fake_put_method(b, 0, CLASS_CONNECTION, 40, NULL);
}

static void put_heartbeat_on_a_channel(struct buf *b)
{
	put_head(b, FAKE_HEARTBEAT, 1, 0);
	buf_byte(b, 0xCE);
}

static void put_body_alone(struct buf *b)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	buf_text(&a, "{}");
	fake_put_frame(b, FAKE_BODY, 1, &a);
	buf_fini(&a);
}

static void put_header_alone(struct buf *b)
{
	put_content_header(b, 1, 2, 0, NULL);
}

static void put_giant_body(struct buf *b)
{
	put_deliver_method(b, 1, 1);
	put_content_header(b, 1, UINT64_MAX, 0, NULL);
	for (unsigned i = 0; i < 300; i++) {
		struct buf a;

		buf_init(&a, BUF_MAX);
		for (unsigned n = 0; n < 4000; n++)
			buf_byte(&a, 'x');
		fake_put_frame(b, FAKE_BODY, 1, &a);
		buf_fini(&a);
	}
}

static void put_body_longer_than_said(struct buf *b)
{
	fake_put_deliver(b, 1, 1, 1, 0, NULL, "{\"more\":1}");
}

static void put_method_within_content(struct buf *b)
{
	put_deliver_method(b, 1, 1);
	fake_put_ack(b, 1, 1, false);
}

static void put_deep_tables(struct buf *b)
{
	struct buf properties;

	buf_init(&properties, BUF_MAX);
	fake_put_nested_table(&properties, 1700); /* 7 bytes each: just within what is read */
	fake_put_deliver(b, 1, 1, 2, 0x2000, &properties, "{}");
	buf_fini(&properties);
}

static void put_table_with_lying_size(struct buf *b)
{
	struct buf properties;

	buf_init(&properties, BUF_MAX);
	fake_put_u32(&properties, 0x7FFFFFFF);
	fake_put_short(&properties, "a");
	fake_put_deliver(b, 1, 1, 2, 0x2000, &properties, "{}");
	buf_fini(&properties);
}

static void put_all_property_flags(struct buf *b)
{
	fake_put_deliver(b, 1, 1, 2, 0xFFFF, NULL, "{}");
}

static void put_ack_of_the_future(struct buf *b)
{
	fake_put_ack(b, 1, UINT64_MAX, true);
}

static void put_close_with_nothing(struct buf *b)
{
	fake_put_method(b, 0, CLASS_CONNECTION, 50, NULL);
}

static void put_channel_close_on_channel_0(struct buf *b)
{
	fake_put_channel_close(b, 0, 406, "no");
}

static void put_close(struct buf *b)
{
	fake_put_close(b, 541, "INTERNAL_ERROR - \x1b[31mred\n level=error");
}

static void put_half_frame(struct buf *b)
{
	put_head(b, FAKE_METHOD, 0, 100);
	buf_text(b, "half");
}

static void put_heartbeats(struct buf *b)
{
	for (unsigned i = 0; i < 100; i++)
		fake_put_heartbeat(b);
}

const struct fake_attack fake_attacks[] = {
	{ "garbage", put_garbage, true },
	{ "an HTTP answer", put_http, true },
	{ "another AMQP version", put_other_version, true },
	{ "a frame of four gigabytes", put_giant_frame, true },
	{ "a frame above frame_max", put_frame_above_max, true },
	{ "a header that grew too much", put_header_above_max, true },
	{ "a wrong end octet", put_wrong_end, true },
	{ "an unknown frame type", put_unknown_type, true },
	{ "a method without its number", put_empty_method, true },
	{ "half a method number", put_half_method_id, true },
	{ "an unknown method", put_unknown_method, true },
	{ "arguments that are cut off", put_cut_arguments, true },
	{ "a channel that nobody opened", put_wrong_channel, true },
	{ "a delivery on channel 0", put_deliver_on_channel_0, true },
	{ "start twice", put_start_again, true },
	{ "a method that only clients send", put_client_method, true },
	{ "a heartbeat on a channel", put_heartbeat_on_a_channel, true },
	{ "a body alone", put_body_alone, true },
	{ "a header alone", put_header_alone, true },
	{ "a body without end", put_giant_body, true },
	{ "a body longer than announced", put_body_longer_than_said, true },
	{ "a method within a content", put_method_within_content, true },
	{ "tables nested a thousand deep", put_deep_tables, false },
	{ "a table that lies about its size", put_table_with_lying_size, false },
	{ "all property flags and no properties", put_all_property_flags, false },
	{ "a confirm of what was never published", put_ack_of_the_future, true },
	{ "a close without arguments", put_close_with_nothing, true },
	{ "channel.close on channel 0", put_channel_close_on_channel_0, true },
	{ "a close with control characters", put_close, true },
	{ "half a frame", put_half_frame, false },
	{ "heartbeats only", put_heartbeats, false },
	{ "silence", NULL, false },
	{ NULL, NULL, false },
};

/* ---- connections ---- */

bool fake_fail(struct fake *f, const char *format, ...)
{
	struct fakebroker *b = f->broker;
	char text[sizeof b->failure];
	va_list args;

	f->is_broken = true;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	(void)pthread_mutex_lock(&b->lock);
	if (b->failure[0] == '\0' && !b->is_stopping)
		(void)snprintf(
			b->failure, sizeof b->failure, "connection %u: %.450s", f->index, text);
	(void)pthread_mutex_unlock(&b->lock);
	return false;
}

/* The connection has ended without anybody's fault. Always false. */
static bool end(struct fake *f)
{
	f->is_broken = true;
	return false;
}

static bool write_once(struct fake *f, const char *at, size_t len)
{
	if (f->tls != NULL) {
		ERR_clear_error();
		return SSL_write(f->tls, at, (int)len) == (int)len;
	}
	while (len > 0) {
		ssize_t count = send(f->fd, at, len, MSG_NOSIGNAL);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		at += count;
		len -= (size_t)count;
	}
	return true;
}

bool fake_send(struct fake *f, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0 && !f->is_broken) {
		size_t piece = f->chunk_bytes != 0 && f->chunk_bytes < len ? f->chunk_bytes
									   : len;

		if (piece > f->left_bytes)
			piece = (size_t)f->left_bytes;
		if (piece == 0 || !write_once(f, at, piece))
			return end(f);
		f->left_bytes -= piece;
		at += piece;
		len -= piece;
	}
	return !f->is_broken;
}

bool fake_send_buf(struct fake *f, const struct buf *bytes)
{
	if (buf_status(bytes) != ERR_OK)
		return fake_fail(f, "the script's bytes do not fit");
	return fake_send(f, bytes->at, bytes->len);
}

static bool send_and_free(struct fake *f, struct buf *bytes)
{
	bool is_sent = fake_send_buf(f, bytes);

	buf_fini(bytes);
	return is_sent;
}

/* Reads exactly len bytes. A peer that ends the connection is nobody's fault, but silence is
 * the script's failure. */
static bool read_exactly(struct fake *f, void *to, size_t len)
{
	char *at = to;

	while (len > 0 && !f->is_broken) {
		ssize_t count;

		if (f->tls != NULL) {
			ERR_clear_error();
			count = SSL_read(f->tls, at, (int)len);
		} else {
			count = recv(f->fd, at, len, 0);
		}
		if (count < 0 && f->tls == NULL && errno == EINTR)
			continue;
		if (count <= 0) {
			bool is_late = f->tls == NULL
					       ? count < 0 && (errno == EAGAIN ||
								      errno == EWOULDBLOCK)
					       : SSL_get_error(f->tls, (int)count) ==
							 SSL_ERROR_WANT_READ;

			if (is_late)
				return fake_fail(f, "the client said nothing for %llu ms",
					(unsigned long long)f->patience_ms);
			return end(f);
		}
		at += count;
		len -= (size_t)count;
	}
	return !f->is_broken;
}

bool fake_read_frame(struct fake *f, struct fake_frame *out)
{
	uint8_t head[7];
	uint8_t last = 0;

	if (!read_exactly(f, head, sizeof head))
		return false;
	out->type = head[0];
	out->channel = (uint16_t)(head[1] << 8 | head[2]);
	out->size = (uint32_t)head[3] << 24 | (uint32_t)head[4] << 16 | (uint32_t)head[5] << 8 |
		    head[6];
	if (out->size > f->frame_max)
		return fake_fail(f, "the client sent a frame of %u bytes", out->size);
	if (!read_exactly(f, out->payload, out->size) || !read_exactly(f, &last, 1))
		return false;
	if (last != 0xCE)
		return fake_fail(f, "the client's frame ends with %02x", last);
	return true;
}

static bool is_method(const struct fake_frame *frame, uint16_t class_id, uint16_t method_id)
{
	const uint8_t *p = frame->payload;

	return frame->type == FAKE_METHOD && frame->size >= 4 &&
	       (p[0] << 8 | p[1]) == class_id && (p[2] << 8 | p[3]) == method_id;
}

bool fake_expect_method(
	struct fake *f, struct fake_frame *out, uint16_t class_id, uint16_t method_id)
{
	do {
		if (!fake_read_frame(f, out))
			return false;
	} while (out->type == FAKE_HEARTBEAT);
	if (is_method(out, class_id, method_id))
		return true;
	return fake_fail(f, "expected method %u.%u, got frame type %u, %u.%u", class_id,
		method_id, out->type, out->payload[0] << 8 | out->payload[1],
		out->payload[2] << 8 | out->payload[3]);
}

static void set_patience(struct fake *f, uint64_t ms)
{
	struct timeval limit = {
		.tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000) * 1000,
	};

	(void)setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	(void)setsockopt(f->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

bool fake_expect_end(struct fake *f, uint64_t within_ms)
{
	struct deadline d = deadline_in_ms(within_ms);
	char bytes[4096];

	for (;;) {
		struct pollfd wanted = { .fd = f->fd, .events = POLLIN };
		int count = poll(&wanted, 1, deadline_left_ms(d));

		if (count == 0 || deadline_has_passed(d))
			return fake_fail(f, "the client did not hang up within %llu ms",
				(unsigned long long)within_ms);
		if (count < 0)
			continue;
		/* Below TLS: whether the records make sense no longer matters. */
		ssize_t got = recv(f->fd, bytes, sizeof bytes, 0);

		if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
			f->is_broken = true;
			return true;
		}
	}
}

void fake_be_silent(struct fake *f, uint64_t ms)
{
	struct fakebroker *b = f->broker;
	struct deadline d = deadline_in_ms(ms);
	struct timespec at = {
		.tv_sec = (time_t)(d.at_us / 1000000),
		.tv_nsec = (long)(d.at_us % 1000000) * 1000,
	};

	(void)pthread_mutex_lock(&b->lock);
	while (!b->is_stopping && !deadline_has_passed(d)) {
		if (pthread_cond_timedwait(&b->changed, &b->lock, &at) == ETIMEDOUT)
			break;
	}
	(void)pthread_mutex_unlock(&b->lock);
}

static bool shake_hands(struct fake *f)
{
	if (f->broker->tls == NULL)
		return true;
	f->tls = SSL_new(f->broker->tls);
	if (f->tls == NULL || SSL_set_fd(f->tls, f->fd) != 1)
		return fake_fail(f, "OpenSSL made no stream");
	ERR_clear_error();
	if (SSL_accept(f->tls) == 1)
		return true;
	return end(f);
}

static bool greet(struct fake *f)
{
	char header[8];

	if (!read_exactly(f, header, sizeof header))
		return false;
	if (memcmp(header, "AMQP\x00\x00\x09\x01", sizeof header) != 0)
		return fake_fail(f, "the client's protocol header is another");
	return true;
}

static bool start(struct fake *f, struct fake_frame *frame)
{
	struct buf b;

	buf_init(&b, BUF_MAX);
	fake_put_start(&b);
	return send_and_free(f, &b) && fake_expect_method(f, frame, CLASS_CONNECTION, 11);
}

static bool tune(struct fake *f, struct fake_frame *frame)
{
	struct buf b;

	buf_init(&b, BUF_MAX);
	fake_put_tune(&b, CHANNEL_MAX, f->frame_max, f->heartbeat_s);
	return send_and_free(f, &b) && fake_expect_method(f, frame, CLASS_CONNECTION, 31) &&
	       fake_expect_method(f, frame, CLASS_CONNECTION, 40);
}

static bool open_connection(struct fake *f, struct fake_frame *frame)
{
	struct buf a;
	struct buf b;

	buf_init(&a, BUF_MAX);
	buf_init(&b, BUF_MAX);
	fake_put_short(&a, "");
	put_gathered(&b, 0, CLASS_CONNECTION, 41, &a);
	return send_and_free(f, &b) && fake_expect_method(f, frame, CLASS_CHANNEL, 10);
}

static void put_channel_open_ok(struct buf *b, uint16_t channel)
{
	struct buf a;

	buf_init(&a, BUF_MAX);
	fake_put_u32(&a, 0);
	put_gathered(b, channel, CLASS_CHANNEL, 11, &a);
}

static bool open_channel(struct fake *f, struct fake_frame *frame)
{
	struct buf b;

	buf_init(&b, BUF_MAX);
	put_channel_open_ok(&b, frame->channel);
	return send_and_free(f, &b) && fake_read_frame(f, frame);
}

/* Puts the consumer tag that basic.consume asks for, or "fake". */
static void put_consumer_tag(struct buf *b, const struct fake_frame *frame)
{
	/* class, method, reserved, queue (short), tag (short) */
	size_t at = 6;
	char tag[256] = "fake";

	if (at < frame->size)
		at += 1u + frame->payload[at];
	if (at < frame->size && frame->payload[at] != 0 &&
		at + 1u + frame->payload[at] <= frame->size) {
		memcpy(tag, frame->payload + at + 1, frame->payload[at]);
		tag[frame->payload[at]] = '\0';
	}
	fake_put_short(b, tag);
}

/* The content of the publish still follows; its confirm may come before it. */
static void put_confirm(struct fake *f, struct buf *b, uint16_t channel)
{
	if (channel >= FAKE_CHANNELS || !f->confirms[channel] || f->ignores)
		return;
	f->tags[channel]++;
	if (f->refuses)
		fake_put_nack(b, channel, f->tags[channel], false);
	else
		fake_put_ack(b, channel, f->tags[channel], false);
}

/* What a polite broker answers to a frame; nothing is put where nothing is said. False when the
 * client ended the connection. */
static bool put_answer(struct fake *f, struct buf *b, const struct fake_frame *frame)
{
	uint16_t channel = frame->channel;
	struct buf a;

	buf_init(&a, BUF_MAX);
	if (is_method(frame, CLASS_CHANNEL, 10)) {
		put_channel_open_ok(b, channel);
	} else if (is_method(frame, CLASS_CHANNEL, 40)) {
		fake_put_method(b, channel, CLASS_CHANNEL, 41, NULL);
	} else if (is_method(frame, CLASS_CONFIRM, 10) && channel < FAKE_CHANNELS) {
		f->confirms[channel] = true;
		fake_put_method(b, channel, CLASS_CONFIRM, 11, NULL);
	} else if (is_method(frame, CLASS_BASIC, 10)) {
		fake_put_method(b, channel, CLASS_BASIC, 11, NULL);
	} else if (is_method(frame, CLASS_BASIC, 20)) {
		put_consumer_tag(&a, frame);
		put_gathered(b, channel, CLASS_BASIC, 21, &a);
	} else if (is_method(frame, CLASS_BASIC, 40)) {
		put_confirm(f, b, channel);
	} else if (is_method(frame, CLASS_CONNECTION, 50)) {
		fake_put_method(b, 0, CLASS_CONNECTION, 51, NULL);
	} else if (frame->type == FAKE_HEARTBEAT) {
		fake_put_heartbeat(b);
	}
	buf_fini(&a);
	return !is_method(frame, CLASS_CONNECTION, 50);
}

static bool serve_from(struct fake *f, struct fake_frame *frame)
{
	bool is_open = true;

	do {
		struct buf b;

		buf_init(&b, BUF_MAX);
		is_open = put_answer(f, &b, frame);
		bool is_sent = fake_send_buf(f, &b);

		buf_fini(&b);
		if (!is_sent)
			return false;
	} while (is_open && fake_read_frame(f, frame));
	return true;
}

static void reach(struct fake *f, enum fake_stage stage)
{
	struct fakebroker *b = f->broker;

	f->stage = stage;
	(void)pthread_mutex_lock(&b->lock);
	b->reached[stage]++;
	(void)pthread_cond_broadcast(&b->changed);
	(void)pthread_mutex_unlock(&b->lock);
}

/* One stage further. `frame` is the last one that the client sent. */
static bool step(struct fake *f, struct fake_frame *frame)
{
	struct buf b;

	switch (f->stage) {
	case FAKE_ACCEPTED:
		return shake_hands(f);
	case FAKE_TLS_DONE:
		return greet(f);
	case FAKE_GREETED:
		return start(f, frame);
	case FAKE_STARTED:
		return tune(f, frame);
	case FAKE_TUNED:
		return open_connection(f, frame);
	case FAKE_OPEN:
		return open_channel(f, frame);
	case FAKE_CHANNEL_OPEN:
		buf_init(&b, BUF_MAX);
		(void)put_answer(f, &b, frame);
		return send_and_free(f, &b);
	case FAKE_READY:
	case FAKE_STAGES:
		break;
	}
	return fake_fail(f, "there is no stage behind ready");
}

bool fake_polite(struct fake *f, enum fake_stage stage)
{
	struct fake_frame *frame = calloc(1, sizeof *frame);

	if (frame == NULL)
		return fake_fail(f, "out of memory");
	while (f->stage < stage && !f->is_broken) {
		if (step(f, frame))
			reach(f, f->stage + 1);
	}
	free(frame);
	return !f->is_broken;
}

bool fake_serve(struct fake *f)
{
	struct fake_frame *frame = calloc(1, sizeof *frame);
	bool is_served = false;

	if (frame == NULL)
		return fake_fail(f, "out of memory");
	if (fake_polite(f, FAKE_READY) && fake_read_frame(f, frame))
		is_served = serve_from(f, frame);
	free(frame);
	return is_served;
}

/* ---- the broker ---- */

static void *run_script(void *arg)
{
	struct fake *f = arg;
	struct fakebroker *b = f->broker;

	set_patience(f, f->patience_ms);
	reach(f, FAKE_ACCEPTED);
	b->script(f, b->arg);
	SSL_free(f->tls);
	/* What the library keeps for this thread goes before the test may end, not while it does. */
	OPENSSL_thread_stop();
	(void)pthread_mutex_lock(&b->lock);
	(void)close(f->fd);
	b->fds[f->slot] = -1;
	free(f);
	b->running--;
	(void)pthread_cond_broadcast(&b->changed);
	(void)pthread_mutex_unlock(&b->lock);
	return NULL;
}

/* Under the lock. */
static void admit(struct fakebroker *b, int fd)
{
	struct fake *f = calloc(1, sizeof *f);
	pthread_attr_t attributes;
	pthread_t thread;
	unsigned slot = 0;
	int on = 1;

	while (slot < FAKE_CONNECTIONS && b->fds[slot] >= 0)
		slot++;
	if (f == NULL || slot == FAKE_CONNECTIONS || b->is_stopping) {
		free(f);
		(void)close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, (socklen_t)sizeof on);
	*f = (struct fake){
		.broker = b,
		.index = b->accepted++,
		.fd = fd,
		.left_bytes = UINT64_MAX,
		.frame_max = FRAME_MAX,
		.heartbeat_s = 10,
		.patience_ms = PATIENCE_MS,
		.slot = slot,
	};
	b->fds[slot] = fd;
	b->running++;
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attributes, run_script, f) != 0) {
		b->running--;
		b->fds[slot] = -1;
		(void)close(fd);
		free(f);
	}
	(void)pthread_attr_destroy(&attributes);
	(void)pthread_cond_broadcast(&b->changed);
}

static void *accept_all(void *arg)
{
	struct fakebroker *b = arg;

	for (;;) {
		int fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		(void)pthread_mutex_lock(&b->lock);
		bool is_over = b->is_stopping;

		if (fd >= 0)
			admit(b, fd);
		(void)pthread_mutex_unlock(&b->lock);
		if (is_over || (fd < 0 && errno != EINTR && errno != ECONNABORTED))
			return NULL;
	}
}

static struct ssl_ctx_st *must_make_tls(
	const char *ca, const char *certificate, const char *key)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1 ||
		SSL_CTX_load_verify_locations(tls, ca, NULL) != 1 ||
		SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
		SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
		must_fail("the fake broker has no TLS with %s", certificate);
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return tls;
}

void must_fakebroker_start(struct fakebroker *b, fake_script script, void *arg, const char *ca,
	const char *certificate, const char *key)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;
	pthread_condattr_t monotonic;

	*b = (struct fakebroker){ .script = script, .arg = arg };
	for (unsigned i = 0; i < FAKE_CONNECTIONS; i++)
		b->fds[i] = -1;
	if (ca != NULL)
		b->tls = must_make_tls(ca, certificate, key);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	b->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (b->listen_fd < 0 ||
		bind(b->listen_fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
		listen(b->listen_fd, FAKE_CONNECTIONS) != 0 ||
		getsockname(b->listen_fd, (struct sockaddr *)&at, &len) != 0)
		must_fail("fake broker: %s", strerror(errno));
	b->port = ntohs(at.sin_port);
	(void)pthread_mutex_init(&b->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&b->changed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (pthread_create(&b->thread, NULL, accept_all, b) != 0)
		must_fail("the fake broker has no thread");
}

const char *fakebroker_stop(struct fakebroker *b)
{
	if (b->script == NULL)
		return NULL;
	(void)pthread_mutex_lock(&b->lock);
	b->is_stopping = true;
	(void)shutdown(b->listen_fd, SHUT_RDWR);
	for (unsigned i = 0; i < FAKE_CONNECTIONS; i++) {
		if (b->fds[i] >= 0)
			(void)shutdown(b->fds[i], SHUT_RDWR);
	}
	(void)pthread_cond_broadcast(&b->changed);
	while (b->running > 0)
		(void)pthread_cond_wait(&b->changed, &b->lock);
	(void)pthread_mutex_unlock(&b->lock);
	(void)pthread_join(b->thread, NULL);
	(void)close(b->listen_fd);
	(void)pthread_cond_destroy(&b->changed);
	(void)pthread_mutex_destroy(&b->lock);
	SSL_CTX_free(b->tls);
	b->tls = NULL;
	b->script = NULL;
	return b->failure[0] == '\0' ? NULL : b->failure;
}

void must_fakebroker_stop(struct fakebroker *b)
{
	const char *failure = fakebroker_stop(b);

	if (failure != NULL)
		must_fail("fake broker, %s", failure);
}

/* Waits until *value, of the broker, reaches `count`. Returns it. */
static unsigned wait_for(
	struct fakebroker *b, const unsigned *value, unsigned count, uint64_t within_ms)
{
	struct deadline d = deadline_in_ms(within_ms);
	struct timespec at = {
		.tv_sec = (time_t)(d.at_us / 1000000),
		.tv_nsec = (long)(d.at_us % 1000000) * 1000,
	};

	(void)pthread_mutex_lock(&b->lock);
	while (*value < count) {
		if (pthread_cond_timedwait(&b->changed, &b->lock, &at) != 0)
			break;
	}
	unsigned seen = *value;

	(void)pthread_mutex_unlock(&b->lock);
	return seen;
}

void must_fakebroker_accept(struct fakebroker *b, unsigned count, uint64_t within_ms)
{
	unsigned seen = wait_for(b, &b->accepted, count, within_ms);

	if (seen < count)
		must_fail("%u connections came to the fake broker, not %u, within %llu ms",
			seen, count, (unsigned long long)within_ms);
}

void must_fakebroker_reach(
	struct fakebroker *b, enum fake_stage stage, unsigned count, uint64_t within_ms)
{
	unsigned seen = wait_for(b, &b->reached[stage], count, within_ms);

	if (seen < count)
		must_fail("%u connections reached stage %d, not %u, within %llu ms (%s)", seen,
			(int)stage, count, (unsigned long long)within_ms,
			b->failure[0] == '\0' ? "no script complains" : b->failure);
}
