#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/clock.h"

enum {
	PIPE_BYTES = 256 * 1024, /* on their way in one direction; beyond it the sender waits */
	PIECES = 4096,
	TICK_MS = 1,
	UP = 0,
	DOWN = 1,
};

/* Bytes that came at one moment. */
struct piece {
	uint64_t came_us;
	size_t len;
};

/* One direction of a connection. */
struct pipe {
	int from;
	int to;
	bool has_ended;  /* `from` said FIN */
	bool wants_shut; /* `to` is to be told so without it, once it is connected */
	bool is_shut;    /* `to` has been told */
	bool is_blocked; /* `to` takes no more just now */
	char bytes[PIPE_BYTES];
	size_t start; /* what waits is bytes[start] to bytes[end] */
	size_t end;
	struct piece pieces[PIECES]; /* of these bytes, in order, in a ring */
	unsigned piece_first;
	unsigned piece_count;
	uint64_t paid_us; /* trickle: up to when it has been paid out */
};

struct network_tunnel {
	struct network *network;
	unsigned slot;
	uv_poll_t near; /* who connected */
	uv_poll_t far;  /* the target */
	int near_fd;
	int far_fd;
	unsigned handle_count;
	bool is_connecting;
	bool is_broken; /* one side has reset; the other will hear of it */
	struct pipe pipes[2];
};

static void changed(struct network *n)
{
	if (n->on_change != NULL)
		n->on_change(n);
}

/* ---- the end of things ---- */

static void on_network_closed(uv_handle_t *handle)
{
	struct network *n = handle->data;

	if (--n->handle_count == 0 && n->open_count == 0)
		n->on_stopped(n);
}

static void on_tunnel_closed(uv_handle_t *handle)
{
	struct network_tunnel *t = handle->data;
	struct network *n = t->network;

	if (--t->handle_count > 0)
		return;
	(void)close(t->near_fd);
	(void)close(t->far_fd);
	n->tunnels[t->slot] = NULL;
	n->open_count--;
	free(t);
	changed(n);
	if (n->is_stopping && n->open_count == 0 && n->handle_count == 0)
		n->on_stopped(n);
}

static bool is_ending(const struct network_tunnel *t)
{
	return uv_is_closing((const uv_handle_t *)&t->near);
}

/* ORDER_CUT: by FIN; ORDER_RESET: by RST. */
static void end_tunnel(struct network_tunnel *t, enum order_kind how)
{
	struct linger at_once = { .l_onoff = 1 };
	int fds[2] = { t->near_fd, t->far_fd };

	if (is_ending(t))
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (how == ORDER_RESET)
			(void)setsockopt(
				fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		else
			(void)shutdown(fds[i], SHUT_RDWR);
	}
	uv_close((uv_handle_t *)&t->near, on_tunnel_closed);
	uv_close((uv_handle_t *)&t->far, on_tunnel_closed);
}

/* ---- bytes ---- */

static size_t waiting(const struct pipe *p)
{
	return p->end - p->start;
}

static bool has_room(struct pipe *p)
{
	if (p->end == sizeof p->bytes && p->start > 0) {
		memmove(p->bytes, p->bytes + p->start, waiting(p));
		p->end -= p->start;
		p->start = 0;
	}
	return p->end < sizeof p->bytes && p->piece_count < PIECES;
}

/* False when the connection is broken. */
static bool take_in(struct pipe *p, uint64_t now_us)
{
	while (!p->has_ended && has_room(p)) {
		ssize_t count = recv(p->from, p->bytes + p->end, sizeof p->bytes - p->end, 0);

		if (count < 0)
			return errno == EAGAIN || errno == EINTR;
		if (count == 0) {
			p->has_ended = true;
			return true;
		}
		if (p->is_shut)
			continue; /* cut off: nobody reads it any more */
		if (waiting(p) == 0)
			p->paid_us = now_us;
		p->end += (size_t)count;
		p->pieces[(p->piece_first + p->piece_count++) % PIECES] = (struct piece){
			now_us, (size_t)count
		};
	}
	return true;
}

/* How many of the bytes may arrive by now. */
static size_t due_bytes(const struct network_way *way, const struct pipe *p, uint64_t now_us)
{
	size_t due = 0;

	if (way->mode == ORDER_SWALLOW)
		return 0;
	if (way->mode == ORDER_TRICKLE) {
		uint64_t paid = (now_us - p->paid_us) * way->amount / 1000000;

		return paid < waiting(p) ? (size_t)paid : waiting(p);
	}
	if (way->mode != ORDER_DELAY)
		return waiting(p);
	for (unsigned i = 0; i < p->piece_count; i++) {
		const struct piece *piece = &p->pieces[(p->piece_first + i) % PIECES];

		if (now_us - piece->came_us < way->amount * 1000)
			break;
		due += piece->len;
	}
	return due;
}

static void drop(struct pipe *p, size_t bytes)
{
	p->start += bytes;
	if (p->start == p->end)
		p->start = p->end = 0;
	while (bytes > 0 && p->piece_count > 0) {
		struct piece *first = &p->pieces[p->piece_first];
		size_t part = bytes < first->len ? bytes : first->len;

		first->len -= part;
		bytes -= part;
		if (first->len > 0)
			break;
		p->piece_first = (p->piece_first + 1) % PIECES;
		p->piece_count--;
	}
}

static void shut(struct pipe *p)
{
	drop(p, waiting(p));
	(void)shutdown(p->to, SHUT_WR);
	p->is_shut = true;
}

/* Byte N has come. False when the tunnel ends with it. */
static bool fire(struct network_tunnel *t, struct network_way *way, struct pipe *p)
{
	way->is_armed = false;
	t->network->fired_count++;
	if (way->then == ORDER_FLIP)
		p->bytes[p->start + (size_t)way->left] ^= 1;
	else if (way->then == ORDER_HALF_CLOSE)
		shut(p);
	else
		end_tunnel(t, way->then);
	changed(t->network);
	return !is_ending(t);
}

/* False when the connection is broken or over. */
static bool pay_out(struct network_tunnel *t, unsigned which, uint64_t now_us)
{
	struct network_way *way = &t->network->ways[which];
	struct pipe *p = &t->pipes[which];
	size_t due = due_bytes(way, p, now_us);

	p->is_blocked = false;
	while (due > 0 && !p->is_shut) {
		size_t piece = way->mode == ORDER_TRICKLE ? 1 : due;

		if (way->is_armed && way->then == ORDER_FLIP && way->left < due) {
			(void)fire(t, way, p);
		} else if (way->is_armed && way->then != ORDER_FLIP) {
			if (way->left == 0) {
				if (!fire(t, way, p))
					return false;
				continue;
			}
			piece = way->left < piece ? (size_t)way->left : piece;
		}
		ssize_t count = send(p->to, p->bytes + p->start, piece, MSG_NOSIGNAL);

		if (count < 0) {
			p->is_blocked = errno == EAGAIN;
			return errno == EAGAIN || errno == EINTR;
		}
		t->network->passed_bytes[which] += (uint64_t)count;
		if (way->is_armed)
			way->left -= (uint64_t)count;
		if (way->mode == ORDER_TRICKLE)
			p->paid_us += (uint64_t)count * 1000000 / way->amount;
		drop(p, (size_t)count);
		due -= (size_t)count;
		/* The last of N bytes has passed: now, not with the next one. */
		if (way->is_armed && way->then != ORDER_FLIP && way->left == 0 &&
			!fire(t, way, p))
			return false;
	}
	if (p->has_ended && waiting(p) == 0 && !p->is_shut && way->mode != ORDER_SWALLOW)
		shut(p);
	return true;
}

/* ---- tunnels ---- */

static void on_tunnel_ready(uv_poll_t *handle, int status, int events);

static void watch(uv_poll_t *handle, const struct pipe *out, struct pipe *in)
{
	int events = out->is_blocked ? UV_WRITABLE : 0;

	if (!in->has_ended && has_room(in))
		events |= UV_READABLE;
	if (events == 0)
		(void)uv_poll_stop(handle);
	else
		(void)uv_poll_start(handle, events, on_tunnel_ready);
}

static void on_tick(uv_timer_t *timer);

static bool waits_for_time(const struct network_tunnel *t)
{
	for (unsigned which = UP; which <= DOWN; which++) {
		enum order_kind mode = t->network->ways[which].mode;
		const struct pipe *p = &t->pipes[which];

		if (waiting(p) > 0 && !p->is_blocked &&
			(mode == ORDER_DELAY || mode == ORDER_TRICKLE))
			return true;
	}
	return false;
}

/* Everything that can be done now. */
static void move_bytes(struct network_tunnel *t)
{
	struct network *n = t->network;
	uint64_t now_us = clock_mono_us();
	bool is_hole = n->ways[UP].mode == ORDER_SWALLOW || n->ways[DOWN].mode == ORDER_SWALLOW;

	if (t->is_connecting || is_ending(t))
		return;
	for (unsigned which = UP; which <= DOWN; which++) {
		if (t->pipes[which].wants_shut && !t->pipes[which].is_shut)
			shut(&t->pipes[which]);
	}
	if (!t->is_broken &&
		(!take_in(&t->pipes[UP], now_us) || !take_in(&t->pipes[DOWN], now_us)))
		t->is_broken = true;
	if (!t->is_broken && (!pay_out(t, UP, now_us) || !pay_out(t, DOWN, now_us)))
		t->is_broken = true;
	if (is_ending(t))
		return;
	if (t->is_broken && is_hole) { /* nobody hears of it before it is healed */
		(void)uv_poll_stop(&t->near);
		(void)uv_poll_stop(&t->far);
		return;
	}
	if (t->is_broken) {
		end_tunnel(t, ORDER_RESET);
		return;
	}
	if (t->pipes[UP].is_shut && t->pipes[DOWN].is_shut) {
		end_tunnel(t, ORDER_CUT);
		return;
	}
	watch(&t->near, &t->pipes[DOWN], &t->pipes[UP]);
	watch(&t->far, &t->pipes[UP], &t->pipes[DOWN]);
	if (waits_for_time(t) && !uv_is_active((const uv_handle_t *)&n->tick))
		(void)uv_timer_start(&n->tick, on_tick, TICK_MS, 0);
}

static void move_all(struct network *n)
{
	for (unsigned i = 0; i < NETWORK_MAX_TUNNELS; i++) {
		if (n->tunnels[i] != NULL)
			move_bytes(n->tunnels[i]);
	}
}

static void on_tick(uv_timer_t *timer)
{
	move_all(timer->data);
}

static void on_tunnel_ready(uv_poll_t *handle, int status, int events)
{
	struct network_tunnel *t = handle->data;
	int error = 0;
	socklen_t len = sizeof error;

	(void)events;
	if (t->is_connecting) {
		(void)getsockopt(t->far_fd, SOL_SOCKET, SO_ERROR, &error, &len);
		t->is_connecting = false;
		t->is_broken = error != 0;
	}
	t->is_broken = t->is_broken || (status < 0 && status != UV_EAGAIN);
	move_bytes(t);
}

static void at_once(int fd)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, (socklen_t)sizeof on);
}

/* -1: no. */
static int dial(const struct sockaddr_in *target)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	at_once(fd);
	if (connect(fd, (const struct sockaddr *)target, sizeof *target) == 0 ||
		errno == EINPROGRESS)
		return fd;
	(void)close(fd);
	return -1;
}

static void open_tunnel(struct network *n, unsigned slot, int near_fd, int far_fd)
{
	struct network_tunnel *t = calloc(1, sizeof *t);

	BUG_ON(t == NULL); /* UNTESTED: because a test tool may die of it */
	*t = (struct network_tunnel){
		.network = n,
		.slot = slot,
		.near_fd = near_fd,
		.far_fd = far_fd,
		.handle_count = 2,
		.is_connecting = true,
	};
	t->pipes[UP].from = t->pipes[DOWN].to = near_fd;
	t->pipes[UP].to = t->pipes[DOWN].from = far_fd;
	t->near.data = t;
	t->far.data = t;
	BUG_ON(uv_poll_init(n->loop, &t->near, near_fd) != 0);
	BUG_ON(uv_poll_init(n->loop, &t->far, far_fd) != 0);
	BUG_ON(uv_poll_start(&t->far, UV_WRITABLE, on_tunnel_ready) != 0);
	n->tunnels[slot] = t;
	n->open_count++;
}

static void on_connection(uv_poll_t *handle, int status, int events)
{
	struct network *n = handle->data;
	int fd = accept4(n->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned slot = 0;

	(void)status;
	(void)events;
	if (fd < 0)
		return;
	n->accepted_count++;
	while (slot < NETWORK_MAX_TUNNELS && n->tunnels[slot] != NULL)
		slot++;
	int far_fd = n->is_refusing || slot == NETWORK_MAX_TUNNELS ? -1 : dial(&n->target);

	if (far_fd < 0) {
		(void)close(fd);
	} else {
		at_once(fd);
		open_tunnel(n, slot, fd, far_fd);
	}
	changed(n);
}

/* ---- orders ---- */

static void order_way(struct network_way *way, const struct order *order)
{
	if (order->is_at_byte) {
		way->is_armed = true;
		way->then = order->kind;
		way->left = order->amount;
	} else {
		way->mode = order->kind;
		way->amount = order->amount;
	}
}

static void order_ways(struct network *n, const struct order *order)
{
	if ((order->way & ORDER_UP) != 0)
		order_way(&n->ways[UP], order);
	if ((order->way & ORDER_DOWN) != 0)
		order_way(&n->ways[DOWN], order);
	/* Time that has passed under another order pays for nothing. */
	for (unsigned i = 0; i < NETWORK_MAX_TUNNELS; i++) {
		for (unsigned which = UP; n->tunnels[i] != NULL && which <= DOWN; which++)
			n->tunnels[i]->pipes[which].paid_us = clock_mono_us();
	}
}

static void end_all(struct network *n, enum order_kind how)
{
	for (unsigned i = 0; i < NETWORK_MAX_TUNNELS; i++) {
		if (n->tunnels[i] != NULL)
			end_tunnel(n->tunnels[i], how);
	}
}

static void half_close_all(struct network *n, enum order_way way)
{
	for (unsigned i = 0; i < NETWORK_MAX_TUNNELS; i++) {
		struct network_tunnel *t = n->tunnels[i];

		if (t == NULL)
			continue;
		t->pipes[UP].wants_shut |= (way & ORDER_UP) != 0;
		t->pipes[DOWN].wants_shut |= (way & ORDER_DOWN) != 0;
	}
}

/* A listening socket that is shut down keeps a port that it was bound to by number, and whoever
 * connects is refused. */
static void deny(struct network *n)
{
	n->is_denying = true;
	(void)uv_poll_stop(&n->listener);
	(void)shutdown(n->listen_fd, SHUT_RD);
}

static void admit(struct network *n)
{
	n->is_refusing = false;
	if (!n->is_denying)
		return;
	n->is_denying = false;
	BUG_ON(listen(n->listen_fd, NETWORK_MAX_TUNNELS) != 0);
	BUG_ON(uv_poll_start(&n->listener, UV_READABLE, on_connection) != 0);
}

void network_do(struct network *n, const struct order *order)
{
	switch (order->kind) {
	case ORDER_CUT:
	case ORDER_RESET:
		if (order->is_at_byte)
			order_ways(n, order);
		else
			end_all(n, order->kind);
		break;
	case ORDER_HALF_CLOSE:
		if (order->is_at_byte)
			order_ways(n, order);
		else
			half_close_all(n, order->way);
		break;
	case ORDER_PASS:
	case ORDER_DELAY:
	case ORDER_TRICKLE:
	case ORDER_SWALLOW:
	case ORDER_FLIP:
		order_ways(n, order);
		break;
	case ORDER_REFUSE:
		n->is_refusing = true;
		break;
	case ORDER_DENY:
		deny(n);
		break;
	case ORDER_HEAL:
		n->ways[UP] = n->ways[DOWN] = (struct network_way){ 0 };
		admit(n);
		break;
	case ORDER_ADMIT:
		admit(n);
		break;
	}
	move_all(n);
}

/* ---- public ---- */

/* -1: no, errno says why. *port 0 becomes a free one. */
static int bind_port(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(*port) };
	socklen_t len = sizeof at;
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, (socklen_t)sizeof on) == 0 &&
		bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 &&
		getsockname(fd, (struct sockaddr *)&at, &len) == 0) {
		*port = ntohs(at.sin_port);
		return fd;
	}
	int why = errno;

	(void)close(fd);
	errno = why;
	return -1;
}

/* Bound by number, as deny() needs it: where none is wanted, a first socket keeps the one that
 * it was given until the second one has it. */
static int listen_on(uint16_t *port)
{
	bool is_free = *port == 0;
	int keeper = is_free ? bind_port(port) : -1;
	int fd = is_free && keeper < 0 ? -1 : bind_port(port);

	if (keeper >= 0)
		(void)close(keeper);
	if (fd < 0 || listen(fd, NETWORK_MAX_TUNNELS) == 0)
		return fd;
	int why = errno;

	(void)close(fd);
	errno = why;
	return -1;
}

enum err network_start(
	struct network *n, uv_loop_t *loop, uint16_t port, const struct sockaddr_in *target)
{
	int fd = listen_on(&port);

	*n = (struct network){ .loop = loop, .target = *target };
	if (fd < 0)
		return err_from_errno(errno);
	n->listen_fd = fd;
	n->port = port;
	n->listener.data = n;
	n->tick.data = n;
	n->handle_count = 2;
	BUG_ON(uv_poll_init(loop, &n->listener, fd) != 0);
	BUG_ON(uv_timer_init(loop, &n->tick) != 0);
	BUG_ON(uv_poll_start(&n->listener, UV_READABLE, on_connection) != 0);
	return ERR_OK;
}

void network_stop(struct network *n, network_fn on_stopped)
{
	n->on_stopped = on_stopped;
	n->is_stopping = true;
	if (n->port == 0) {
		on_stopped(n);
		return;
	}
	n->port = 0;
	end_all(n, ORDER_CUT);
	uv_close((uv_handle_t *)&n->listener, on_network_closed);
	uv_close((uv_handle_t *)&n->tick, on_network_closed);
	(void)close(n->listen_fd);
}
