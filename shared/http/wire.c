#include "http/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bug.h"

enum {
	KNOCK_FIRST_MS = 1,
	KNOCK_LONGEST_MS = 50,
	READS_PER_EVENT = 8,
	IN_SPARE_BYTES = 512 * 1024, /* beyond head and body: what one read may bring more */
	IN_KEEP_BYTES = 8 * 1024,
};

#define TO(state) (1u << WIRE_##state)

static const unsigned may_become[WIRE_STATES] = {
	[WIRE_NEW] = TO(DIALING) | TO(DEAD),
	[WIRE_DIALING] = TO(ASKING) | TO(DEAD),
	[WIRE_ASKING] = TO(IDLE) | TO(DEAD),
	[WIRE_IDLE] = TO(ASKING) | TO(DEAD),
	[WIRE_DEAD] = 0,
};

#undef TO

static void move(struct wire *w, enum wire_state to)
{
	BUG_ON((may_become[w->state] & (1u << to)) == 0);
	w->state = to;
}

static void on_ready(void *arg, enum err status, enum watch_events events);

/* -- small steps ------------------------------------------------------------------------- */

static void tell_errno(struct wire *w, int error)
{
	snprintf(w->detail, sizeof(w->detail), "%s: %s", http_place_format(&w->place).at,
		strerror(error));
}

static void tell(struct wire *w, const char *sentence)
{
	snprintf(w->detail, sizeof(w->detail), "%s: %s", http_place_format(&w->place).at,
		sentence);
}

static enum err watch_for(struct wire *w, enum watch_events events)
{
	enum err err = ERR_OK;

	if (w->watch == NULL)
		err = watch_start(w->loop, w->fd, events, on_ready, w, &w->watch);
	else if (w->events != events)
		err = watch_change(w->watch, events);
	w->events = events;
	return err;
}

static void hang_up(struct wire *w)
{
	watch_stop(w->watch);
	w->watch = NULL;
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

/* The last touch of w. */
static void end(struct wire *w, enum err status)
{
	bool is_kept = status == ERR_OK && w->out[0].len + w->out[1].len == 0 &&
		       answer_keeps(&w->answer);

	move(w, is_kept ? WIRE_IDLE : WIRE_DEAD);
	if (is_kept)
		w->idle_since_ms = uv_now(&w->loop->uv);
	else
		hang_up(w);
	w->on_end(w, status);
}

/* The connection is of no more use. The last touch of w. */
static void end_broken(struct wire *w)
{
	end(w, w->sent_bytes > 0 ? ERR_FATE : ERR_LINK);
}

/* -- the request ------------------------------------------------------------------------- */

static void advance(struct wire *w, size_t count)
{
	w->sent_bytes += count;
	for (size_t i = 0; i < ARRAY_COUNT(w->out); i++) {
		size_t here = count < w->out[i].len ? count : w->out[i].len;

		w->out[i] = span_after(w->out[i], here);
		count -= here;
	}
}

/* Returns ERR_OK, or ERR_LINK: the handler takes nothing (more), w->detail says why. */
static enum err push(struct wire *w)
{
	while (w->out[0].len + w->out[1].len > 0) {
		struct iovec parts[2];
		struct msghdr message = { .msg_iov = parts };

		for (size_t i = 0; i < ARRAY_COUNT(w->out); i++)
			if (w->out[i].len > 0)
				parts[message.msg_iovlen++] = (struct iovec){
					.iov_base = (void *)(uintptr_t)w->out[i].at,
					.iov_len = w->out[i].len
				};
		ssize_t count = sendmsg(w->fd, &message, MSG_NOSIGNAL);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (count < 0) {
			tell_errno(w, errno);
			return ERR_LINK;
		}
		advance(w, (size_t)count);
	}
	return ERR_OK;
}

/* Sends what it can and waits for the rest, and for the answer. Returns ERR_OK, or why nothing
 * went out. */
static enum err go_on_asking(struct wire *w)
{
	enum err err = push(w);

	if (err != ERR_OK && w->sent_bytes == 0)
		return err;
	/* It may have closed its ear to say no; the answer may lie there already. */
	w->is_deaf = err != ERR_OK;
	bool is_out = w->is_deaf || w->out[0].len + w->out[1].len == 0;

	err = watch_for(w, is_out ? WATCH_READ : WATCH_BOTH);
	/* UNTESTED: because libuv fails here only without memory or file descriptors. With
	 * bytes on their way the socket stays silent then, and the call's deadline ends it. */
	if (err != ERR_OK)
		tell(w, err_text(err));
	return err == ERR_OK || w->sent_bytes > 0 ? ERR_OK : ERR_NOMEM;
}

/* -- dialling ---------------------------------------------------------------------------- */

static socklen_t address_of(const struct wire *w, struct sockaddr_storage *out)
{
	const struct http_place *place = &w->place;
	struct sockaddr_un at_path = { .sun_family = AF_UNIX };
	struct sockaddr_in6 at_v6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(place->port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	struct sockaddr_in at_v4 = {
		.sin_family = AF_INET,
		.sin_port = htons(place->port),
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) },
	};

	if (place->kind == HTTP_TARGET_UNIX) {
		memcpy(at_path.sun_path, place->socket_path, sizeof(at_path.sun_path));
		memcpy(out, &at_path, sizeof(at_path));
		return sizeof(at_path);
	}
	if (place->kind == HTTP_TARGET_IPV6 || w->is_second_address) {
		memcpy(out, &at_v6, sizeof(at_v6));
		return sizeof(at_v6);
	}
	memcpy(out, &at_v4, sizeof(at_v4));
	return sizeof(at_v4);
}

static enum err dial_failed(struct wire *w, int error)
{
	hang_up(w);
	tell_errno(w, error);
	return error == ENOMEM || error == ENOBUFS ? ERR_NOMEM : ERR_LINK;
}

/* Returns ERR_OK: connected (then the request has begun) or on the way. Else nothing went out
 * and nothing will. */
static enum err dial_once(struct wire *w)
{
	struct sockaddr_storage at;
	socklen_t len = address_of(w, &at);
	int one = 1;

	if (w->fd < 0)
		w->fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (w->fd < 0)
		return dial_failed(w, errno);
	if (w->place.kind != HTTP_TARGET_UNIX)
		(void)setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(w->fd, (const struct sockaddr *)&at, len) == 0) {
		move(w, WIRE_ASKING);
		return go_on_asking(w);
	}
	if (errno == EAGAIN) {
		/* So a Unix socket says that its queue is full; nobody tells when it is not. */
		timer_after(&w->knock, w->knock_ms);
		w->knock_ms = w->knock_ms * 2 < KNOCK_LONGEST_MS ? w->knock_ms * 2
								 : KNOCK_LONGEST_MS;
		return ERR_OK;
	}
	if (errno != EINPROGRESS)
		return dial_failed(w, errno);
	enum err err = watch_for(w, WATCH_WRITE);

	if (err != ERR_OK)
		tell(w, err_text(err));
	return err == ERR_OK ? ERR_OK : ERR_NOMEM;
}

static bool turns_to_second_address(struct wire *w)
{
	if (w->place.kind != HTTP_TARGET_LOCALHOST || w->is_second_address ||
		w->state != WIRE_DIALING)
		return false;
	w->is_second_address = true;
	return true;
}

static enum err dial(struct wire *w)
{
	enum err err = dial_once(w);

	return err == ERR_LINK && turns_to_second_address(w) ? dial_once(w) : err;
}

static void on_knock(struct timer *timer)
{
	struct wire *w = container_of(timer, struct wire, knock);
	enum err err = dial(w);

	if (err != ERR_OK)
		end(w, err);
}

static void on_dialled(struct wire *w)
{
	int error = 0;
	socklen_t len = sizeof(error);
	enum err err;

	if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error == 0) {
		move(w, WIRE_ASKING);
		err = go_on_asking(w);
	} else {
		err = dial_failed(w, error);
		if (turns_to_second_address(w))
			err = dial_once(w);
	}
	if (err != ERR_OK)
		end(w, err);
}

/* -- the answer -------------------------------------------------------------------------- */

enum read_result {
	READ_ENDED = 0, /* w must not be touched any more */
	READ_EMPTY,     /* nothing was there */
	READ_SHORT,     /* that was all, for now */
	READ_FULL,      /* there may be more */
};

static enum read_result read_ended(struct wire *w, enum err status)
{
	end(w, status);
	return READ_ENDED;
}

static enum read_result read_broken(struct wire *w)
{
	end_broken(w);
	return READ_ENDED;
}

static enum read_result read_failed(struct wire *w, int error)
{
	if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR)
		return READ_EMPTY;
	tell_errno(w, error);
	return read_broken(w);
}

static enum read_result read_end(struct wire *w)
{
	if (answer_end(&w->answer, &w->in) == ANSWER_WHOLE)
		return read_ended(w, ERR_OK);
	if (!w->is_deaf) /* else w->detail has a better reason */
		tell(w, "the connection ended before the answer was whole");
	return read_broken(w);
}

static enum read_result read_some(struct wire *w)
{
	size_t wanted = answer_wanted_bytes(&w->answer, &w->in);
	char *at = buf_reserve(&w->in, wanted);

	if (at == NULL) {
		tell(w, err_text(buf_status(&w->in)));
		return read_ended(w, w->sent_bytes > 0 ? ERR_FATE : ERR_NOMEM);
	}
	ssize_t count = recv(w->fd, at, wanted, 0);

	if (count < 0)
		return read_failed(w, errno);
	if (count == 0)
		return read_end(w);
	buf_advance(&w->in, (size_t)count);
	switch (answer_feed(&w->answer, &w->in)) {
	case ANSWER_MORE:
		break;
	case ANSWER_WHOLE:
		return read_ended(w, ERR_OK);
	case ANSWER_BROKEN:
		tell(w, w->answer.why);
		return read_ended(w, w->answer.err);
	}
	return (size_t)count == wanted ? READ_FULL : READ_SHORT;
}

static void read_answer(struct wire *w)
{
	for (int reads = 0; reads < READS_PER_EVENT; reads++)
		if (read_some(w) != READ_FULL)
			return;
}

/* The descriptor itself failed, and will say nothing more: what lies there is all there is. */
static void read_rest(struct wire *w)
{
	enum read_result result;

	do
		result = read_some(w);
	while (result == READ_SHORT || result == READ_FULL);
	if (result == READ_ENDED)
		return;
	tell(w, "the connection failed");
	end_broken(w);
}

static void on_ready(void *arg, enum err status, enum watch_events events)
{
	struct wire *w = arg;

	switch (w->state) {
	case WIRE_DIALING:
		on_dialled(w);
		return;
	case WIRE_IDLE:
		move(w, WIRE_DEAD);
		hang_up(w);
		w->on_lost(w);
		return;
	case WIRE_ASKING:
		break;
	case WIRE_NEW:
	case WIRE_DEAD:
	case WIRE_STATES:
		BUG_ON(true);
	}
	if ((events & WATCH_WRITE) != 0 && w->events == WATCH_BOTH) {
		enum err err = go_on_asking(w);

		if (err != ERR_OK) {
			end(w, err);
			return;
		}
	}
	if (status != ERR_OK)
		read_rest(w);
	else if ((events & WATCH_READ) != 0)
		read_answer(w);
}

/* -- public ------------------------------------------------------------------------------ */

struct wire *wire_create(struct loop *l, const struct http_place *place, wire_end_fn on_end,
	wire_lost_fn on_lost, void *owner)
{
	struct wire *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	*w = (struct wire){
		.owner = owner,
		.place = *place,
		.on_end = on_end,
		.on_lost = on_lost,
		.loop = l,
		.fd = -1,
		.knock_ms = KNOCK_FIRST_MS,
	};
	list_init(&w->node);
	timer_init(&w->knock, l, on_knock);
	return w;
}

void wire_destroy(struct wire *w)
{
	if (w == NULL)
		return;
	list_drop(&w->node);
	timer_cancel(&w->knock);
	hang_up(w);
	buf_fini(&w->in);
	free(w);
}

/* Whatever lies there before we have asked is no answer to us. */
static bool is_quiet(const struct wire *w)
{
	char byte;

	return recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

enum err wire_ask(struct wire *w, const struct wire_request *rq)
{
	BUG_ON(w->state != WIRE_NEW && w->state != WIRE_IDLE);
	w->out[0] = rq->head;
	w->out[1] = rq->body;
	w->sent_bytes = 0;
	w->is_deaf = false;
	w->detail[0] = '\0';
	answer_init(&w->answer, rq->max_head_bytes, rq->max_body_bytes);
	buf_shrink(&w->in, IN_KEEP_BYTES);
	w->in.max_bytes = rq->max_head_bytes + rq->max_body_bytes + IN_SPARE_BYTES;
	if (w->state == WIRE_NEW) {
		move(w, WIRE_DIALING);
		return dial(w);
	}
	if (!is_quiet(w)) {
		tell(w, "the handler has closed the connection");
		return ERR_LINK;
	}
	move(w, WIRE_ASKING);
	return go_on_asking(w);
}
