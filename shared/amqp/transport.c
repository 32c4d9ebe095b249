#include "amqp/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/bug.h"
#include "base/text.h"

/*  RESOLVING -> CONNECTING -> HANDSHAKE -> OPEN -> CLOSED      (plain TCP leaves HANDSHAKE out)
 *      |             |            |         |
 *      +-------------+------------+---------+--> FAILED -> CLOSED                            */
enum transport_state {
	TRANSPORT_RESOLVING = 0,
	TRANSPORT_CONNECTING,
	TRANSPORT_HANDSHAKE,
	TRANSPORT_OPEN,
	TRANSPORT_FAILED,
	TRANSPORT_CLOSED,
};

struct transport {
	uv_tcp_t tcp;
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	uv_write_t write;
	struct loop *loop;
	struct transport_events events;
	void *arg;
	struct tls *tls;
	enum transport_state state;
	unsigned turn;
	bool is_resolving;  /* libuv holds us */
	bool is_tcp_open;   /* libuv holds us */
	bool is_writing;    /* `sending` belongs to libuv */
	bool was_refused;   /* ECONNREFUSED */
	struct buf sending; /* what the kernel did not take at once */
	struct buf waiting; /* what came after it */
	struct transport_address address;
	char cipher[TRANSPORT_READ_BYTES];
	char plain[TRANSPORT_READ_BYTES];
};

enum { SENDING_MAX_BYTES = 16 * 1024 * 1024 };

enum err transport_address_parse(struct span text, struct transport_address *out)
{
	struct span host = text;
	struct span port;
	uint64_t number;

	if (text.len > 0 && text.at[0] == '[') {
		struct span rest = span_after(text, 1);

		host = text_cut(&rest, ']');
		if (rest.len == 0 || rest.at[0] != ':')
			return ERR_INPUT;
		port = span_after(rest, 1);
	} else {
		port = text;
		host = text_cut(&port, ':');
	}
	if (host.len == 0 || host.len > TRANSPORT_HOST_MAX_BYTES ||
		text_parse_u64(port, &number) != ERR_OK || number == 0 || number > UINT16_MAX)
		return ERR_INPUT;
	for (size_t i = 0; i < host.len; i++)
		if (host.at[i] <= ' ' || host.at[i] > '~' || host.at[i] == '/')
			return ERR_INPUT;
	*out = (struct transport_address){ .port = (uint16_t)number };
	memcpy(out->host, host.at, host.len);
	return ERR_OK;
}

static void transport_free_if_idle(struct transport *t)
{
	if (t->state != TRANSPORT_CLOSED || t->is_resolving || t->is_tcp_open)
		return;
	tls_destroy(t->tls);
	buf_fini(&t->sending);
	buf_fini(&t->waiting);
	free(t);
}

static void fail(struct transport *t, enum err err, const char *why)
{
	if (t->state >= TRANSPORT_FAILED)
		return;
	t->state = TRANSPORT_FAILED;
	if (t->is_tcp_open)
		uv_read_stop((uv_stream_t *)&t->tcp);
	t->events.on_failed(t->arg, err, why); /* last touch: t may be closed inside */
}

static void fail_uv(struct transport *t, const char *what, int status)
{
	char why[128];
	enum err err = err_from_uv(status);

	snprintf(why, sizeof(why), "%s: %s", what, uv_strerror(status));
	fail(t, err == ERR_NOMEM || err == ERR_FULL ? err : ERR_LINK, why);
}

static void fail_tls(struct transport *t, enum err err)
{
	struct tls_why why = tls_why(t->tls);

	fail(t, err, why.at);
}

static void on_written(uv_write_t *request, int status);

/* Hands `sending` to libuv. */
static enum err write_rest(struct transport *t)
{
	uv_buf_t piece = uv_buf_init(t->sending.at, (unsigned)t->sending.len);
	int rc = uv_write(&t->write, (uv_stream_t *)&t->tcp, &piece, 1, on_written);

	if (rc != 0)
		return err_from_uv(rc);
	t->is_writing = true;
	return ERR_OK;
}

/* What the kernel does not take at once is copied, so that the caller's bytes are free again.
 */
static enum err push_out(struct transport *t, struct span bytes)
{
	if (bytes.len == 0)
		return ERR_OK;
	if (t->is_writing) {
		buf_append(&t->waiting, bytes);
		return buf_status(&t->waiting);
	}
	uv_buf_t piece = uv_buf_init((char *)(uintptr_t)bytes.at, (unsigned)bytes.len);
	int taken = uv_try_write((uv_stream_t *)&t->tcp, &piece, 1);

	/* A broken stream shows on the reading side too, with the better reason: wait for that.
	 */
	if (taken < 0 && taken != UV_EAGAIN)
		return ERR_OK;
	bytes = span_after(bytes, taken < 0 ? 0 : (size_t)taken);
	if (bytes.len == 0)
		return ERR_OK;
	buf_clear(&t->sending);
	buf_append(&t->sending, bytes);
	if (buf_status(&t->sending) != ERR_OK)
		return buf_status(&t->sending);
	return write_rest(t);
}

static void on_written(uv_write_t *request, int status)
{
	struct transport *t = request->data;

	t->is_writing = false;
	if (status != 0 || t->state >= TRANSPORT_FAILED)
		return; /* the reading side tells */
	struct buf sent = t->sending;

	t->sending = t->waiting;
	t->waiting = sent;
	buf_shrink(&t->waiting, TRANSPORT_READ_BYTES);
	if (t->sending.len == 0)
		return;
	enum err err = write_rest(t);

	if (err != ERR_OK)
		fail(t, err, "write");
}

static enum err push_cipher(struct transport *t)
{
	struct span cipher = tls_output(t->tls);

	if (cipher.len == 0)
		return ERR_OK;
	enum err err = push_out(t, cipher);

	tls_output_taken(t->tls, cipher.len);
	return err;
}

static void become_open(struct transport *t)
{
	t->state = TRANSPORT_OPEN;
	t->events.on_ready(t->arg);
}

static void handshake_step(struct transport *t)
{
	enum err err = tls_handshake(t->tls);
	enum err pushed = push_cipher(t); /* an alert too must go out */

	if (err == ERR_BUSY && pushed == ERR_OK)
		return;
	if (err == ERR_OK && pushed == ERR_OK)
		become_open(t);
	else
		fail_tls(t, err == ERR_OK || err == ERR_BUSY ? pushed : err);
}

/* Hands on all plain text that the bytes so far make up. Reading makes no output that could not wait:
 * what answers a key update goes out before our next word. */
static void drain_plain(struct transport *t)
{
	while (t->state == TRANSPORT_OPEN && tls_has_more(t->tls)) {
		size_t got;
		enum err err = tls_read(t->tls, t->plain, sizeof(t->plain), &got);

		if (err == ERR_LINK) {
			fail(t, ERR_LINK, "closed by the peer");
			return;
		}
		if (err != ERR_OK) {
			fail_tls(t, err);
			return;
		}
		if (got == 0)
			break; /* no whole record yet */
		t->events.on_bytes(t->arg, (struct span){ .at = t->plain, .len = got });
	}
}

static void on_cipher(struct transport *t, struct span cipher)
{
	if (tls_feed(t->tls, cipher) != ERR_OK) {
		fail(t, ERR_NOMEM, "read");
		return;
	}
	if (t->state == TRANSPORT_HANDSHAKE)
		handshake_step(t);
	drain_plain(t);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *piece)
{
	struct transport *t = stream->data;

	if (got == 0 || t->state >= TRANSPORT_FAILED)
		return;
	if (got == UV_EOF) {
		fail(t, ERR_LINK, "closed by the peer");
		return;
	}
	if (got < 0) {
		fail_uv(t, "read", (int)got);
		return;
	}
	struct span bytes = { .at = piece->base, .len = (size_t)got };

	/* The events may close t: on_tcp_closed() frees it later, from the loop, never here. */
	if (t->tls != NULL)
		on_cipher(t, bytes);
	else
		t->events.on_bytes(t->arg, bytes);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct transport *t = handle->data;

	(void)suggested;
	*out = uv_buf_init(t->cipher, sizeof(t->cipher));
}

static void on_connect(uv_connect_t *request, int status)
{
	struct transport *t = request->data;

	if (t->state != TRANSPORT_CONNECTING)
		return;
	if (status != 0) {
		t->was_refused = status == UV_ECONNREFUSED;
		fail_uv(t, "connect", status);
		return;
	}
	uv_tcp_nodelay(&t->tcp, 1);
	int rc = uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_read);

	if (rc != 0) {
		fail_uv(t, "read", rc);
		return;
	}
	t->state = TRANSPORT_HANDSHAKE;
	t->events.on_connected(t->arg);
	if (t->state != TRANSPORT_HANDSHAKE)
		return;
	if (t->tls != NULL)
		handshake_step(t);
	else
		become_open(t);
}

static const struct addrinfo *pick_address(const struct addrinfo *list, unsigned turn)
{
	unsigned count = 0;

	for (const struct addrinfo *a = list; a != NULL; a = a->ai_next)
		count++;
	for (unsigned skip = turn % count; skip > 0; skip--)
		list = list->ai_next;
	return list;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct transport *t = request->data;

	t->is_resolving = false;
	if (t->state != TRANSPORT_RESOLVING) {
		uv_freeaddrinfo(list);
		transport_free_if_idle(t);
		return;
	}
	if (status != 0) {
		fail_uv(t, "resolve", status);
		return;
	}
	t->state = TRANSPORT_CONNECTING;
	int rc = uv_tcp_connect(
		&t->connect, &t->tcp, pick_address(list, t->turn)->ai_addr, on_connect);

	uv_freeaddrinfo(list);
	if (rc != 0)
		fail_uv(t, "connect", rc);
}

static void on_tcp_closed(uv_handle_t *handle)
{
	struct transport *t = handle->data;

	loop_closed(t->loop);
	t->is_tcp_open = false;
	transport_free_if_idle(t);
}

enum err transport_dial(struct loop *l, const struct transport_address *address,
	const struct tls_identity *identity, unsigned turn,
	const struct transport_events *events, void *arg, struct transport **out)
{
	struct transport *t = calloc(1, sizeof(*t));
	char port[8];
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	int rc;

	if (t == NULL)
		return ERR_NOMEM;
	*t = (struct transport){
		.loop = l,
		.events = *events,
		.arg = arg,
		.turn = turn,
		.address = *address,
	};
	t->resolve.data = t;
	t->connect.data = t;
	t->write.data = t;
	buf_init(&t->sending, SENDING_MAX_BYTES);
	buf_init(&t->waiting, SENDING_MAX_BYTES);
	if (identity != NULL && tls_create(identity, address->host, &t->tls) != ERR_OK) {
		free(t);
		return ERR_NOMEM;
	}
	rc = uv_tcp_init(&l->uv, &t->tcp);
	if (rc != 0)
		goto err_after_tls;
	t->tcp.data = t;
	t->is_tcp_open = true;
	loop_opened(l);
	snprintf(port, sizeof(port), "%u", address->port);
	rc = uv_getaddrinfo(&l->uv, &t->resolve, on_resolved, t->address.host, port, &hints);
	if (rc != 0) {
		transport_close(t);
		return err_from_uv(rc);
	}
	t->is_resolving = true;
	*out = t;
	return ERR_OK;

err_after_tls:
	tls_destroy(t->tls);
	free(t);
	return err_from_uv(rc);
}

enum err transport_write(struct transport *t, struct span bytes)
{
	if (t->state != TRANSPORT_OPEN)
		return ERR_OK;
	if (t->tls == NULL)
		return push_out(t, bytes);
	enum err err = tls_write(t->tls, bytes);

	return err == ERR_OK ? push_cipher(t) : err;
}

bool transport_is_writing(const struct transport *t)
{
	return t->is_writing;
}

bool transport_was_refused(const struct transport *t)
{
	return t->was_refused;
}

void transport_close(struct transport *t)
{
	if (t == NULL || t->state == TRANSPORT_CLOSED)
		return;
	if (t->state == TRANSPORT_OPEN && t->tls != NULL) {
		tls_close(t->tls);
		/* Best effort: the peer sees the end of the stream anyway. */
		if (push_cipher(t) != ERR_OK)
			tls_output_taken(t->tls, 0);
	}
	t->state = TRANSPORT_CLOSED;
	if (t->is_resolving)
		uv_cancel((uv_req_t *)&t->resolve); /* too late is fine: on_resolved looks */
	uv_close((uv_handle_t *)&t->tcp, on_tcp_closed);
}
