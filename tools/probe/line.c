#include "line.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

enum { READ_BYTES = 16 * 1024 };

struct line_tls {
	SSL_CTX *ctx;
	SSL *ssl;
};

static void become(struct line *l, enum line_state state, const char *what, const char *why)
{
	l->state = state;
	snprintf(
		l->why, sizeof(l->why), "%.60s%s%.120s", what, why[0] == '\0' ? "" : ": ", why);
}

static void become_errno(struct line *l, enum line_state state, const char *what)
{
	become(l, state, what, strerror(errno));
}

/* Milliseconds left for poll(2), rounded up. */
static int left_ms(uint64_t until_us)
{
	uint64_t now_us = clock_mono_us();

	return now_us >= until_us ? 0 : (int)((until_us - now_us + 999) / 1000);
}

static uint64_t until_us(uint64_t patience_ms)
{
	return clock_mono_us() + patience_ms * 1000;
}

/* False when the time is up. */
static bool wait_for(const struct line *l, short events, uint64_t end_us)
{
	struct pollfd p = { .fd = l->fd, .events = events };
	int left;

	while ((left = left_ms(end_us)) > 0) {
		int ready = poll(&p, 1, left);

		if (ready > 0)
			return true;
		if (ready < 0 && errno != EINTR)
			return false;
	}
	return false;
}

/* ---- TCP ---- */

void line_begin(struct line *l, const char *host, uint16_t port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	char service[8];
	int on = 1;

	*l = (struct line){ .fd = -1 };
	buf_init(&l->in, LINE_IN_MAX_BYTES);
	if (codec_create(&l->codec) != ERR_OK) {
		become(l, LINE_OURS, "out of memory", "");
		return;
	}
	snprintf(service, sizeof(service), "%u", port);
	int rc = getaddrinfo(host, service, &hints, &list);

	if (rc != 0) {
		become(l, LINE_OURS, "resolve", gai_strerror(rc));
		return;
	}
	l->fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		become_errno(l, LINE_OURS, "socket");
	else if (setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
		become_errno(l, LINE_OURS, "TCP_NODELAY");
	else if (connect(l->fd, list->ai_addr, list->ai_addrlen) != 0 && errno != EINPROGRESS)
		become_errno(l, LINE_NOBODY, "connect");
	else
		l->state = LINE_CONNECTING;
	freeaddrinfo(list);
}

void line_connected(struct line *l, uint64_t patience_ms)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (l->state != LINE_CONNECTING)
		return;
	if (!wait_for(l, POLLOUT, until_us(patience_ms))) {
		become(l, LINE_NOBODY, "connect", "no answer");
		return;
	}
	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error != 0)
		become(l, LINE_NOBODY, "connect", strerror(error));
	else
		l->state = LINE_UP;
}

/* ---- TLS ---- */

/* The newest of OpenSSL's complaints; *is_theirs: it is an alert that came from the peer. */
static const char *complaint(bool *is_theirs)
{
	unsigned long code = ERR_get_error();
	const char *text = code == 0 ? NULL : ERR_reason_error_string(code);

	ERR_clear_error();
	*is_theirs = code != 0 && ERR_GET_LIB(code) == ERR_LIB_SSL &&
		     ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET;
	return text == NULL ? "" : text;
}

/* What an SSL_… call that failed means for the line. True: try again when the socket is ready. */
static bool goes_on(struct line *l, int rc, const char *what, uint64_t end_us)
{
	int why = SSL_get_error(l->tls->ssl, rc);
	bool is_theirs;

	switch (why) {
	case SSL_ERROR_WANT_READ:
		return wait_for(l, POLLIN, end_us);
	case SSL_ERROR_WANT_WRITE:
		return wait_for(l, POLLOUT, end_us);
	case SSL_ERROR_ZERO_RETURN:
		become(l, LINE_SHUT, "closed by the broker", "");
		return false;
	case SSL_ERROR_SYSCALL:
		if (errno == 0 || errno == ECONNRESET || errno == EPIPE)
			become(l, LINE_SHUT, "closed by the broker", errno == 0 ? "" : "reset");
		else
			become_errno(l, LINE_OURS, what);
		return false;
	default: {
		const char *text = complaint(&is_theirs);

		/* The end of the stream without a word is OpenSSL's complaint, but the
		 * broker's doing. */
		if (strcmp(text, "unexpected eof while reading") == 0)
			become(l, LINE_SHUT, "closed by the broker", "");
		else
			become(l, is_theirs ? LINE_SHUT : LINE_OURS, what, text);
		return false;
	}
	}
}

static bool fill_context(SSL_CTX *ctx, const struct line_place *place,
	const struct line_badge *badge, enum line_dress dress)
{
	int version = dress == LINE_TLS_12 ? TLS1_2_VERSION : TLS1_3_VERSION;

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_load_verify_file(ctx, place->ca) != 1)
		return false;
	return badge->certificate == NULL ||
	       (SSL_CTX_use_certificate_chain_file(ctx, badge->certificate) == 1 &&
		       SSL_CTX_use_PrivateKey_file(ctx, badge->key, SSL_FILETYPE_PEM) == 1);
}

static bool expect_peer(SSL *ssl, const char *host)
{
	unsigned char address[16];

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static void tls_free(struct line_tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	SSL_CTX_free(t->ctx);
	free(t);
}

void line_wrap(struct line *l, const struct line_place *place, const struct line_badge *badge,
	enum line_dress dress, uint64_t patience_ms)
{
	uint64_t end_us = until_us(patience_ms);
	bool is_theirs;

	if (l->state != LINE_UP || dress == LINE_PLAIN)
		return;
	ERR_clear_error();
	l->tls = calloc(1, sizeof(*l->tls));
	if (l->tls != NULL)
		l->tls->ctx = SSL_CTX_new(TLS_client_method());
	if (l->tls == NULL || l->tls->ctx == NULL ||
		!fill_context(l->tls->ctx, place, badge, dress)) {
		become(l, LINE_OURS, "certificates", complaint(&is_theirs));
		return;
	}
	l->tls->ssl = SSL_new(l->tls->ctx);
	if (l->tls->ssl == NULL || !expect_peer(l->tls->ssl, place->host) ||
		SSL_set_fd(l->tls->ssl, l->fd) != 1) {
		become(l, LINE_OURS, "TLS", complaint(&is_theirs));
		return;
	}
	for (;;) {
		ERR_clear_error();
		errno = 0;
		int rc = SSL_connect(l->tls->ssl);

		if (rc == 1)
			return;
		if (goes_on(l, rc, "TLS", end_us))
			continue;
		if (l->state == LINE_UP)
			become(l, LINE_OURS, "TLS", "no answer");
		return;
	}
}

/* ---- bytes ---- */

/* One attempt; false: over, or the time is up. */
static bool say_some(struct line *l, struct span bytes, size_t *taken, uint64_t end_us)
{
	if (l->tls != NULL) {
		ERR_clear_error();
		errno = 0;
		int rc = SSL_write_ex(l->tls->ssl, bytes.at, bytes.len, taken);

		return rc == 1 || goes_on(l, rc, "write", end_us);
	}
	ssize_t sent = send(l->fd, bytes.at, bytes.len, MSG_NOSIGNAL);

	if (sent >= 0) {
		*taken = (size_t)sent;
		return true;
	}
	return (errno == EAGAIN || errno == EINTR) && wait_for(l, POLLOUT, end_us);
}

void line_say(struct line *l, struct span bytes, uint64_t patience_ms)
{
	uint64_t end_us = until_us(patience_ms);

	while (l->state == LINE_UP && bytes.len > 0) {
		size_t taken = 0;

		if (!say_some(l, bytes, &taken, end_us)) {
			/* The broker's reason may still wait to be read: line_hear() tells. */
			if (l->state == LINE_SHUT)
				l->state = LINE_UP;
			return;
		}
		bytes = span_after(bytes, taken);
	}
}

/* Appends what came to l->in. False: nothing within the time, or the end. */
static bool hear_some(struct line *l, uint64_t end_us)
{
	size_t got = 0;
	char *room = buf_reserve(&l->in, READ_BYTES);

	if (room == NULL) {
		become(l, LINE_OURS, "the broker sends more than we take", "");
		return false;
	}
	while (l->state == LINE_UP) {
		if (l->tls != NULL) {
			ERR_clear_error();
			errno = 0;
			int rc = SSL_read_ex(l->tls->ssl, room, READ_BYTES, &got);

			if (rc == 1)
				break;
			if (!goes_on(l, rc, "read", end_us))
				return false;
			continue;
		}
		ssize_t read_bytes = recv(l->fd, room, READ_BYTES, 0);

		if (read_bytes > 0) {
			got = (size_t)read_bytes;
			break;
		}
		if (read_bytes == 0 || (errno != EAGAIN && errno != EINTR)) {
			become(l, LINE_SHUT, "closed by the broker",
				read_bytes == 0 ? "" : strerror(errno));
			return false;
		}
		if (!wait_for(l, POLLIN, end_us))
			return false;
	}
	buf_advance(&l->in, got);
	return l->state == LINE_UP;
}

static void take_frame(struct line *l, const struct frame *frame, struct heard *out)
{
	*out = (struct heard){ .kind = HEARD_CONTENT, .channel = frame->channel };
	if (frame->type != FRAME_METHOD)
		return;
	if (codec_decode_method(l->codec, frame->payload, &out->method) != ERR_OK) {
		become(l, LINE_OURS, "the broker sends a method that cannot be read", "");
		out->kind = HEARD_END;
		return;
	}
	out->kind = HEARD_METHOD;
	out->payload = span_after(frame->payload, 4);
}

/* The next frame in l->in, heartbeats included. False: more input is needed. */
static bool next_frame(struct line *l, struct frame *frame, struct heard *out)
{
	struct span in = buf_span(&l->in);
	size_t taken = 0;

	if (frame_next(in, LINE_IN_MAX_BYTES, frame, &taken) != ERR_OK) {
		char what[64];

		snprintf(what, sizeof(what), "no AMQP but %.40s",
			text_show((struct span){ .at = in.at, .len = in.len < 8 ? in.len : 8 })
				.at);
		become(l, LINE_SHUT, what, "");
		out->kind = HEARD_END;
		return true;
	}
	l->heard_bytes = taken;
	return taken > 0;
}

void line_hear(struct line *l, uint64_t patience_ms, struct heard *out)
{
	uint64_t end_us = until_us(patience_ms);

	*out = (struct heard){ 0 };
	while (l->state == LINE_UP) {
		struct frame frame = { 0 };

		buf_consume(&l->in, l->heard_bytes);
		l->heard_bytes = 0;
		if (!next_frame(l, &frame, out)) {
			if (!hear_some(l, end_us))
				break;
			continue;
		}
		if (out->kind == HEARD_END)
			return;
		if (frame.type == FRAME_HEARTBEAT)
			continue;
		take_frame(l, &frame, out);
		if (out->method.kind == METHOD_CONNECTION_BLOCKED ||
			out->method.kind == METHOD_CONNECTION_UNBLOCKED) {
			l->is_blocked = out->method.kind == METHOD_CONNECTION_BLOCKED;
			*out = (struct heard){ 0 };
			continue;
		}
		return;
	}
	if (l->state != LINE_UP)
		out->kind = HEARD_END;
}

void line_open(struct line *l, const struct line_place *place, const struct line_badge *badge,
	enum line_dress dress, uint64_t patience_ms)
{
	line_begin(l, place->host, place->port);
	line_connected(l, patience_ms);
	line_wrap(l, place, badge, dress, patience_ms);
}

void line_close(struct line *l)
{
	if (l->codec == NULL && l->state == LINE_CLOSED)
		return; /* all zero: fd 0 is not ours */
	if (l->tls != NULL && l->tls->ssl != NULL && l->state == LINE_UP) {
		ERR_clear_error();
		(void)SSL_shutdown(l->tls->ssl);
		ERR_clear_error();
	}
	tls_free(l->tls);
	codec_destroy(l->codec);
	buf_fini(&l->in);
	if (l->fd >= 0)
		(void)close(l->fd);
	*l = (struct line){ .fd = -1 };
}
