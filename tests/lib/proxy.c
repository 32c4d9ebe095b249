#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "must.h"

enum {
	PIPE_BYTES = 256 * 1024, /* on their way in one direction; beyond it the sender waits */
	PIECES = 4096,
	TICK_MS = 1,
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
	bool has_ended; /* `from` said FIN */
	bool is_shut;   /* and `to` has been told */
	char bytes[PIPE_BYTES];
	size_t len;
	struct piece pieces[PIECES]; /* of `bytes`, in order */
	unsigned piece_count;
	uint64_t moved_us; /* trickle: up to when it has been paid out */
};

struct proxy_tunnel {
	struct pipe up;
	struct pipe down;
};

static int must_listen(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
		listen(fd, PROXY_CONNECTIONS) != 0 ||
		getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		must_fail("proxy: %s", strerror(errno));
	*port = ntohs(at.sin_port);
	return fd;
}

static void without_delay(int fd)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, (socklen_t)sizeof on);
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
}

static int dial(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

static void end_tunnel(struct proxy *p, unsigned slot, enum proxy_end how)
{
	struct proxy_tunnel *t = p->tunnels[slot];
	struct linger at_once = { .l_onoff = 1 };

	if (how == PROXY_END_RESET) {
		(void)setsockopt(t->up.from, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		(void)setsockopt(t->up.to, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	}
	(void)close(t->up.from);
	(void)close(t->up.to);
	free(t);
	p->tunnels[slot] = NULL;
	p->open--;
}

static void admit(struct proxy *p)
{
	int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	unsigned slot = 0;

	if (fd < 0)
		return;
	p->accepted++;
	while (slot < PROXY_CONNECTIONS && p->tunnels[slot] != NULL)
		slot++;
	int to = p->is_refusing || slot == PROXY_CONNECTIONS ? -1 : dial(p->target);
	struct proxy_tunnel *t = to < 0 ? NULL : calloc(1, sizeof *t);

	if (t == NULL) {
		(void)close(fd);
		if (to >= 0)
			(void)close(to);
		return;
	}
	without_delay(fd);
	without_delay(to);
	t->up.from = t->down.to = fd;
	t->up.to = t->down.from = to;
	p->tunnels[slot] = t;
	p->open++;
}

/* False when the connection is broken. */
static bool take_in(struct pipe *pipe, uint64_t now_us)
{
	size_t room = sizeof pipe->bytes - pipe->len;

	if (pipe->has_ended || room == 0 || pipe->piece_count == PIECES)
		return true;
	ssize_t count = recv(pipe->from, pipe->bytes + pipe->len, room, 0);

	if (count < 0)
		return errno == EAGAIN || errno == EINTR;
	if (count == 0) {
		pipe->has_ended = true;
		return true;
	}
	if (pipe->len == 0)
		pipe->moved_us = now_us;
	pipe->len += (size_t)count;
	pipe->pieces[pipe->piece_count++] = (struct piece){ now_us, (size_t)count };
	return true;
}

/* How many of the bytes may arrive by now. */
static size_t due_bytes(const struct proxy *p, const struct pipe *pipe, uint64_t now_us)
{
	size_t due = 0;

	switch (p->mode) {
	case PROXY_PASS:
		return pipe->len;
	case PROXY_DELAY:
		for (unsigned i = 0; i < pipe->piece_count; i++) {
			if (now_us - pipe->pieces[i].came_us < p->delay_ms * 1000)
				break;
			due += pipe->pieces[i].len;
		}
		return due;
	case PROXY_TRICKLE:
		due = (size_t)((now_us - pipe->moved_us) / 1000) * p->bytes_per_ms;
		return due < pipe->len ? due : pipe->len;
	case PROXY_BLACK_HOLE:
		return 0;
	}
	return 0;
}

static void drop(struct pipe *pipe, size_t bytes)
{
	unsigned gone = 0;

	memmove(pipe->bytes, pipe->bytes + bytes, pipe->len - bytes);
	pipe->len -= bytes;
	while (bytes > 0 && gone < pipe->piece_count) {
		struct piece *first = &pipe->pieces[gone];
		size_t part = bytes < first->len ? bytes : first->len;

		first->len -= part;
		bytes -= part;
		if (first->len == 0)
			gone++;
	}
	memmove(pipe->pieces, pipe->pieces + gone,
		(pipe->piece_count - gone) * sizeof *pipe->pieces);
	pipe->piece_count -= gone;
}

static bool pay_out(const struct proxy *p, struct pipe *pipe, uint64_t now_us)
{
	size_t due = due_bytes(p, pipe, now_us);
	size_t piece = p->mode == PROXY_TRICKLE ? 1 : due;

	while (due > 0) {
		ssize_t count = send(pipe->to, pipe->bytes, piece, MSG_NOSIGNAL);

		if (count < 0)
			return errno == EAGAIN || errno == EINTR;
		drop(pipe, (size_t)count);
		due -= (size_t)count;
		piece = piece < due ? piece : due;
		pipe->moved_us = now_us;
	}
	if (pipe->has_ended && pipe->len == 0 && !pipe->is_shut &&
		p->mode != PROXY_BLACK_HOLE) {
		(void)shutdown(pipe->to, SHUT_WR);
		pipe->is_shut = true;
	}
	return true;
}

/* Under the lock: everything that can be done now. */
static void move_bytes(struct proxy *p)
{
	uint64_t now_us = clock_mono_us();

	for (unsigned i = 0; i < PROXY_CONNECTIONS; i++) {
		struct proxy_tunnel *t = p->tunnels[i];

		if (t == NULL)
			continue;
		if (!take_in(&t->up, now_us) || !take_in(&t->down, now_us) ||
			!pay_out(p, &t->up, now_us) || !pay_out(p, &t->down, now_us))
			end_tunnel(p, i, PROXY_END_RESET);
		else if (t->up.is_shut && t->down.is_shut)
			end_tunnel(p, i, PROXY_END_CUT);
	}
}

/* Fills in what to wait for. Returns the number of descriptors; *timeout_ms is how long. */
static nfds_t wanted(struct proxy *p, struct pollfd *fds, int *timeout_ms)
{
	nfds_t count = 0;

	*timeout_ms = -1;
	fds[count++] = (struct pollfd){ .fd = p->wake[0], .events = POLLIN };
	fds[count++] = (struct pollfd){ .fd = p->listen_fd, .events = POLLIN };
	for (unsigned i = 0; i < PROXY_CONNECTIONS; i++) {
		if (p->tunnels[i] == NULL)
			continue;
		struct pipe *pipes[2] = { &p->tunnels[i]->up, &p->tunnels[i]->down };

		for (unsigned at = 0; at < 2; at++) {
			struct pipe *pipe = pipes[at];

			if (!pipe->has_ended && pipe->len < sizeof pipe->bytes)
				fds[count++] = (struct pollfd){ .fd = pipe->from,
					.events = POLLIN };
			if (pipe->len > 0 && p->mode != PROXY_BLACK_HOLE)
				*timeout_ms = TICK_MS;
		}
	}
	return count;
}

static void *run(void *arg)
{
	struct proxy *p = arg;
	struct pollfd fds[2 + 2 * PROXY_CONNECTIONS];
	char byte[64];
	int timeout_ms;

	(void)pthread_mutex_lock(&p->lock);
	while (!p->is_stopping) {
		nfds_t count = wanted(p, fds, &timeout_ms);

		(void)pthread_mutex_unlock(&p->lock);
		int found = poll(fds, count, timeout_ms);

		(void)pthread_mutex_lock(&p->lock);
		if (found > 0 && fds[0].revents != 0)
			(void)!read(p->wake[0], byte, sizeof byte);
		for (unsigned i = 0; p->ending != PROXY_END_NOT && i < PROXY_CONNECTIONS; i++) {
			if (p->tunnels[i] != NULL)
				end_tunnel(p, i, p->ending);
		}
		p->ending = PROXY_END_NOT;
		admit(p);
		move_bytes(p);
		(void)pthread_cond_broadcast(&p->changed);
	}
	for (unsigned i = 0; i < PROXY_CONNECTIONS; i++) {
		if (p->tunnels[i] != NULL)
			end_tunnel(p, i, PROXY_END_CUT);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

void must_proxy_start(struct proxy *p, uint16_t target)
{
	pthread_condattr_t monotonic;

	*p = (struct proxy){ .target = target };
	p->listen_fd = must_listen(&p->port);
	if (pipe2(p->wake, O_CLOEXEC | O_NONBLOCK) != 0)
		must_fail("proxy: %s", strerror(errno));
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->changed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (pthread_create(&p->thread, NULL, run, p) != 0)
		must_fail("the proxy has no thread");
}

/* Under the lock. */
static void wake(struct proxy *p)
{
	(void)!write(p->wake[1], "w", 1);
}

void proxy_stop(struct proxy *p)
{
	if (p->port == 0)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	wake(p);
	(void)pthread_mutex_unlock(&p->lock);
	(void)pthread_join(p->thread, NULL);
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->lock);
	(void)close(p->listen_fd);
	(void)close(p->wake[0]);
	(void)close(p->wake[1]);
	*p = (struct proxy){ 0 };
}

static void set_mode(
	struct proxy *p, enum proxy_mode mode, uint64_t delay_ms, unsigned bytes_per_ms)
{
	(void)pthread_mutex_lock(&p->lock);
	p->mode = mode;
	p->delay_ms = delay_ms;
	p->bytes_per_ms = bytes_per_ms;
	wake(p);
	(void)pthread_mutex_unlock(&p->lock);
}

void proxy_pass(struct proxy *p)
{
	set_mode(p, PROXY_PASS, 0, 0);
}

void proxy_delay(struct proxy *p, uint64_t ms)
{
	set_mode(p, PROXY_DELAY, ms, 0);
}

void proxy_trickle(struct proxy *p, unsigned bytes_per_ms)
{
	set_mode(p, PROXY_TRICKLE, 0, bytes_per_ms);
}

void proxy_swallow(struct proxy *p)
{
	set_mode(p, PROXY_BLACK_HOLE, 0, 0);
}

static void end_all(struct proxy *p, enum proxy_end how)
{
	(void)pthread_mutex_lock(&p->lock);
	p->ending = how;
	wake(p);
	while (p->ending != PROXY_END_NOT)
		(void)pthread_cond_wait(&p->changed, &p->lock);
	(void)pthread_mutex_unlock(&p->lock);
}

void proxy_cut(struct proxy *p)
{
	end_all(p, PROXY_END_CUT);
}

void proxy_reset(struct proxy *p)
{
	end_all(p, PROXY_END_RESET);
}

void proxy_refuse(struct proxy *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->is_refusing = true;
	(void)pthread_mutex_unlock(&p->lock);
}

void proxy_admit(struct proxy *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->is_refusing = false;
	(void)pthread_mutex_unlock(&p->lock);
}

void must_proxy_accept(struct proxy *p, unsigned count, uint64_t within_ms)
{
	struct deadline d = deadline_in_ms(within_ms);
	struct timespec at = {
		.tv_sec = (time_t)(d.at_us / 1000000),
		.tv_nsec = (long)(d.at_us % 1000000) * 1000,
	};

	(void)pthread_mutex_lock(&p->lock);
	while (p->accepted < count) {
		if (pthread_cond_timedwait(&p->changed, &p->lock, &at) != 0)
			break;
	}
	unsigned accepted = p->accepted;

	(void)pthread_mutex_unlock(&p->lock);
	if (accepted < count)
		must_fail("%u connections came, not %u, within %llu ms", accepted, count,
			(unsigned long long)within_ms);
}
