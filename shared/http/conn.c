#include "http/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bug.h"
#include "http/raw.h"

enum {
	READS_PER_EVENT = 4,
	REQUESTS_PER_TURN = 32, /* of one connection; then the others have theirs */
	KEEP_BYTES = 1024,      /* a connection at rest keeps so much for its next request */
	LEAVE_MS = 1000,        /* so long is let by what is sent to a closed door */
};

static const size_t INPUT_BYTES = KIB(64);
static const size_t OUTPUT_MAX_BYTES = MIB(64);
static const size_t HEAD_MAX_BYTES = KIB(64);
static const size_t LET_BY_MAX_BYTES = MIB(4);

#define TO(s) (1u << CONN_##s)
/* clang-format off */
static const unsigned next_states[] = {
	[CONN_FRESH]     = TO(READING) | TO(CLOSED),
	[CONN_READING]   = TO(ASKED) | TO(LEAVING) | TO(CLOSED),
	[CONN_ASKED]     = TO(ANSWERING) | TO(CLOSED),
	[CONN_ANSWERING] = TO(IDLE) | TO(LEAVING) | TO(CLOSED),
	[CONN_IDLE]      = TO(READING) | TO(CLOSED),
	[CONN_LEAVING]   = TO(CLOSED),
	[CONN_CLOSED]    = 0,
};
/* clang-format on */
#undef TO

static void tend(struct http_request *c);

static uint64_t now_ms(const struct conn_room *room)
{
	return uv_now(&room->loop->uv);
}

static void move(struct http_request *c, enum conn_state to)
{
	struct conn_room *room = c->room;

	BUG_ON(!(next_states[c->state] & (1u << to)));
	if (c->state != CONN_FRESH) {
		c->since_ms = now_ms(room);
		c->order = room->order++;
	}
	c->state = to;
	switch (to) {
	case CONN_FRESH:
	case CONN_ANSWERING:
	case CONN_IDLE:
		c->due_at_ms = now_ms(room) + room->idle_timeout_ms;
		break;
	case CONN_READING:
		c->due_at_ms = now_ms(room) + room->request_timeout_ms;
		break;
	case CONN_LEAVING:
		c->due_at_ms = now_ms(room) + LEAVE_MS;
		break;
	case CONN_ASKED: /* the owner's business */
	case CONN_CLOSED:
		c->due_at_ms = 0;
		break;
	}
}

/* The timer is only ever moved forward here; it moves itself back when it fires too early. So a
 * busy connection does not touch it. */
static void arm(struct http_request *c)
{
	uint64_t now = now_ms(c->room);

	if (c->due_at_ms == 0 || (c->timer.is_set && c->timer.due_at_ms <= c->due_at_ms))
		return;
	timer_after(&c->timer, c->due_at_ms > now ? c->due_at_ms - now : 0);
}

static void close_now(struct http_request *c)
{
	struct conn_room *room = c->room;

	move(c, CONN_CLOSED);
	timer_cancel(&c->timer);
	watch_stop(c->watch);
	c->watch = NULL;
	close(c->fd);
	c->fd = -1;
	buf_fini(&c->in);
	buf_fini(&c->out);
	list_drop(&c->pending_node);
	list_drop(&c->node);
	list_append(&room->graves, &c->node);
	room->counters.open_count--;
}

/* The client may still be sending, and would not read an answer after a reset. */
static void leave(struct http_request *c)
{
	if (c->room->is_closed || shutdown(c->fd, SHUT_WR) != 0) {
		close_now(c);
		return;
	}
	move(c, CONN_LEAVING);
	list_drop(&c->pending_node);
	buf_fini(&c->in);
	arm(c);
}

/* -- refusals ---------------------------------------------------------------------------- */

static void send_bytes(int fd, struct span bytes)
{
	while (bytes.len > 0) {
		ssize_t n = send(fd, bytes.at, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return; /* full or gone: it was worth a try */
		bytes = span_after(bytes, (size_t)n);
	}
}

void conn_say(int fd, enum problem_type type, const char *detail)
{
	struct buf bytes;

	buf_init(&bytes, HEAD_MAX_BYTES);
	raw_problem(&(struct problem){ .type = type, .detail = span_of(detail) }, &bytes);
	if (buf_status(&bytes) == ERR_OK)
		send_bytes(fd, buf_span(&bytes));
	buf_fini(&bytes);
}

static void count_refusal(struct http_server_counters *counts, enum problem_type type)
{
	if (type == PROBLEM_WRONG_METHOD)
		counts->bad_method++;
	else if (type == PROBLEM_PATH_TOO_LONG || type == PROBLEM_HEADERS_TOO_LARGE)
		counts->head_too_large++;
	else if (type == PROBLEM_PAYLOAD_TOO_LARGE)
		counts->body_too_large++;
	else if (type == PROBLEM_SLOW_REQUEST)
		counts->slow++;
	else if (type == PROBLEM_OVERLOADED)
		counts->refused_fds++;
	else
		counts->bad_request++;
}

enum { LIMIT_BYTES = 64 };

/* A limit that was passed is told, so that nobody has to look it up. */
static void tell_limit(
	const struct head_limits *limits, struct problem *problem, char text[LIMIT_BYTES])
{
	bool is_body = problem->type == PROBLEM_PAYLOAD_TOO_LARGE;
	size_t bytes = is_body ? limits->max_body_bytes : limits->max_header_bytes;
	bool is_kib = bytes % KIB(1) == 0;

	if (!is_body && problem->type != PROBLEM_HEADERS_TOO_LARGE &&
		problem->type != PROBLEM_PATH_TOO_LONG)
		return;
	snprintf(text, LIMIT_BYTES, "%s at most %zu %s",
		is_body ? "a body has" : "request line and headers have",
		is_kib ? bytes / KIB(1) : bytes, is_kib ? "KiB" : "bytes");
	problem->detail = span_of(text);
}

/* Its request is not whole, and never will be. */
static void refuse(struct http_request *c, struct problem *problem)
{
	struct buf bytes;
	char limit[LIMIT_BYTES];

	if (c->state != CONN_READING)
		move(c, CONN_READING);
	tell_limit(&c->room->limits, problem, limit);
	count_refusal(&c->room->counters, problem->type);
	buf_init(&bytes, HEAD_MAX_BYTES);
	if (c->reader.is_head)
		raw_problem_head(problem, &bytes);
	else
		raw_problem(problem, &bytes);
	if (buf_status(&bytes) == ERR_OK)
		send_bytes(c->fd, buf_span(&bytes));
	buf_fini(&bytes);
	leave(c);
}

static void refuse_as(struct http_request *c, enum problem_type type, const char *detail)
{
	refuse(c, &(struct problem){ .type = type, .detail = span_of(detail) });
}

static void on_timer(struct timer *timer)
{
	struct http_request *c = container_of(timer, struct http_request, timer);

	if (c->due_at_ms == 0)
		return;
	if (c->due_at_ms > now_ms(c->room)) {
		arm(c);
		return;
	}
	switch (c->state) {
	case CONN_FRESH:
	case CONN_READING:
		refuse_as(c, PROBLEM_SLOW_REQUEST, NULL);
		tend(c);
		return;
	case CONN_IDLE:
	case CONN_ANSWERING:
		c->room->counters.idle_closed++;
		close_now(c);
		return;
	case CONN_LEAVING:
		close_now(c);
		return;
	case CONN_ASKED:
	case CONN_CLOSED:
		break;
	}
	BUG_ON(c->due_at_ms != 0);
}

/* -- requests ---------------------------------------------------------------------------- */

static void ask_owner(struct http_request *c)
{
	struct conn_room *room = c->room;

	move(c, CONN_ASKED);
	c->is_last = c->lacks_body || !head_keeps_alive(&c->reader.head);
	c->on_gone = NULL;
	c->allow = NULL;
	room->counters.requests++;
	c->is_in_callback = true;
	room->on_request(room->arg, c);
	c->is_in_callback = false;
	/* Neither answered nor held. */
	BUG_ON(c->state == CONN_ASKED && c->on_gone == NULL);
}

static bool is_body_wanted(struct http_request *c)
{
	return c->room->wants_body == NULL || c->room->wants_body(c->room->arg, c);
}

static void wait_for_more(struct http_request *c)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (reader_owes_continue(&c->reader)) {
		if (!is_body_wanted(c)) {
			c->lacks_body = true;
			ask_owner(c);
			return;
		}
		send_bytes(c->fd, span_of(go_on));
	}
	arm(c);
}

/* Serves what the input holds. */
static void serve(struct http_request *c)
{
	struct problem problem;

	for (unsigned i = 0; conn_is_listening(c) && c->in.len > 0; i++) {
		if (i == REQUESTS_PER_TURN) {
			list_drop(&c->pending_node);
			list_append(&c->room->pending, &c->pending_node);
			return;
		}
		enum reader_result result = reader_feed(&c->reader, &c->in, &problem);

		if (reader_has_begun(&c->reader) && c->state != CONN_READING)
			move(c, CONN_READING);
		switch (result) {
		case READER_MORE:
			wait_for_more(c);
			return;
		case READER_BAD:
			refuse(c, &problem);
			return;
		case READER_WHOLE:
			ask_owner(c);
			break;
		}
	}
}

static void end_input(struct http_request *c)
{
	if (c->state == CONN_READING && c->room->is_closed)
		conn_say(c->fd, PROBLEM_STOPPING, "the daemon is stopping");
	else if (c->state == CONN_READING) {
		c->room->counters.bad_request++;
		conn_say(c->fd, PROBLEM_BAD_REQUEST, "the request ends before its end");
	}
	close_now(c);
}

static void take_in(struct http_request *c, struct span bytes)
{
	buf_append(&c->in, bytes);
	if (buf_status(&c->in) == ERR_OK)
		serve(c);
	else
		refuse_as(c, PROBLEM_OVERLOADED, "out of memory");
}

/* Returns what recv() does; 0 is the end, -1 nothing for now. */
static ssize_t receive(struct http_request *c)
{
	ssize_t n = recv(c->fd, c->room->input, INPUT_BYTES, MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		n = 0; /* a reset is an end too */
	return n;
}

void conn_read(struct http_request *c)
{
	for (int i = 0; i < READS_PER_EVENT && conn_is_listening(c); i++) {
		/* What was read before comes first. */
		if (!list_empty(&c->pending_node))
			break;
		ssize_t n = receive(c);

		if (n < 0)
			break;
		if (n == 0) {
			end_input(c);
			return;
		}
		take_in(c, (struct span){ .at = c->room->input, .len = (size_t)n });
		if ((size_t)n < INPUT_BYTES)
			break;
	}
	tend(c);
}

static void let_by(struct http_request *c)
{
	ssize_t n = receive(c);

	if (n > 0)
		c->let_by_bytes += (size_t)n;
	if (n == 0 || c->let_by_bytes > LET_BY_MAX_BYTES)
		close_now(c);
}

/* -- answers ----------------------------------------------------------------------------- */

static void lose_answer(struct http_request *c)
{
	c->room->counters.gone++;
	close_now(c);
}

static void end_request(struct http_request *c)
{
	c->room->counters.answers++;
	reader_next(&c->reader, &c->in);
	if (c->is_last && (c->in.len > 0 || c->lacks_body)) {
		leave(c);
		return;
	}
	if (c->is_last) {
		close_now(c);
		return;
	}
	move(c, CONN_IDLE);
	c->was_answered = true;
	arm(c);
	if (c->in.len == 0)
		buf_shrink(&c->in, KEEP_BYTES);
	else if (!c->is_in_callback)
		list_append(&c->room->pending, &c->pending_node);
}

/* Keeps what the socket does not take. */
static enum err send_answer(struct http_request *c, struct span head, struct span body)
{
	struct iovec parts[] = {
		{ .iov_base = (void *)(uintptr_t)head.at, .iov_len = head.len },
		{ .iov_base = (void *)(uintptr_t)body.at, .iov_len = body.len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = body.len > 0 ? 2 : 1 };
	ssize_t n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return ERR_LINK;
	size_t done = n < 0 ? 0 : (size_t)n;

	buf_append(&c->out, span_after(head, done));
	buf_append(&c->out, done > head.len ? span_after(body, done - head.len) : body);
	return buf_status(&c->out);
}

static void send_rest(struct http_request *c)
{
	struct span rest = span_after(buf_span(&c->out), c->out_at);
	ssize_t n = send(c->fd, rest.at, rest.len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		lose_answer(c);
		return;
	}
	c->out_at += n < 0 ? 0 : (size_t)n;
	if (c->out_at < c->out.len)
		return;
	buf_shrink(&c->out, 0);
	c->out_at = 0;
	end_request(c);
}

void http_request_answer(struct http_request *rq, const struct http_answer *answer)
{
	struct http_request *c = rq;
	struct buf *head = &c->room->head;

	BUG_ON(c->state != CONN_ASKED);
	BUG_ON(answer->status < 200 || answer->status > 599);
	if (c->room->is_draining)
		c->is_last = true;
	buf_clear(head);
	raw_head(answer,
		c->is_last                   ? RAW_CLOSES
		: c->reader.head.is_http_1_1 ? RAW_STAYS
					     : RAW_STAYS_FOR_1_0,
		head);
	move(c, CONN_ANSWERING);
	c->is_deaf = false;
	c->has_vanished = false;
	if (buf_status(head) != ERR_OK ||
		send_answer(c, buf_span(head),
			c->reader.is_head ? (struct span){ 0 } : raw_body(answer)) != ERR_OK) {
		lose_answer(c);
		return;
	}
	if (c->out.len > 0)
		arm(c);
	else
		end_request(c);
	if (!c->is_in_callback)
		tend(c);
}

void http_request_answer_problem(struct http_request *rq, const struct problem *problem)
{
	struct buf *body = &rq->room->body;
	struct raw_seconds seconds = raw_retry_after(problem->retry_after_ms);
	struct http_header headers[2];
	size_t count = 0;

	if (problem->type == PROBLEM_WRONG_METHOD)
		rq->room->counters.bad_method++;
	buf_clear(body);
	problem_format(problem, body);
	if (problem->retry_after_ms > 0)
		headers[count++] = (struct http_header){ "Retry-After", seconds.at };
	if (problem->type == PROBLEM_WRONG_METHOD && rq->allow != NULL)
		headers[count++] = (struct http_header){ "Allow", rq->allow };
	http_request_answer(rq, &(struct http_answer){
					.status = problem_status(problem->type),
					.content_type = PROBLEM_MEDIA_TYPE,
					.body = buf_status(body) == ERR_OK ? buf_span(body)
									   : (struct span){ 0 },
					.headers = headers,
					.header_count = count,
				});
}

void http_request_allow(struct http_request *rq, const char *methods)
{
	rq->allow = methods;
}

void http_request_hold(struct http_request *rq, http_gone_fn on_gone, void *arg)
{
	BUG_ON(rq->state != CONN_ASKED || on_gone == NULL);
	rq->on_gone = on_gone;
	rq->gone_arg = arg;
}

/* -- what was asked ---------------------------------------------------------------------- */

enum http_method http_request_method(const struct http_request *rq)
{
	return rq->reader.method;
}

struct span http_request_path(const struct http_request *rq)
{
	return reader_path(&rq->reader, &rq->in);
}

bool http_request_query(const struct http_request *rq, const char *name, struct span *out)
{
	return reader_query(&rq->reader, &rq->in, name, out);
}

bool http_request_header(const struct http_request *rq, const char *name, struct span *out)
{
	return reader_header(&rq->reader, &rq->in, name, out);
}

size_t http_request_header_count(const struct http_request *rq, const char *name)
{
	return reader_header_count(&rq->reader, &rq->in, name);
}

struct span http_request_body(const struct http_request *rq)
{
	return reader_body(&rq->reader, &rq->in);
}

const struct peer *http_request_peer(const struct http_request *rq)
{
	return &rq->peer;
}

/* -- events ------------------------------------------------------------------------------ */

bool conn_is_gone(const struct http_request *c)
{
	struct pollfd p = { .fd = c->fd };

	return c->state == CONN_ASKED && !c->is_in_callback && poll(&p, 1, 0) == 1 &&
	       (p.revents & (POLLHUP | POLLERR)) != 0;
}

void conn_gone(struct http_request *c, enum err reason)
{
	http_gone_fn on_gone = c->on_gone;
	void *arg = c->gone_arg;

	BUG_ON(c->state != CONN_ASKED || on_gone == NULL);
	c->room->counters.gone++;
	close_now(c);
	on_gone(arg, reason);
}

/* Something came while the owner has the request. If the client is not gone it is its next
 * request, or the end of its sending half: both can wait. */
static void look_up(struct http_request *c)
{
	if (conn_is_gone(c)) {
		conn_gone(c, ERR_LINK);
		return;
	}
	c->is_deaf = true;
	watch_stop(c->watch);
	c->watch = NULL;
}

static void on_broken(struct http_request *c)
{
	if (c->state == CONN_ASKED)
		conn_gone(c, ERR_LINK);
	else if (c->state == CONN_ANSWERING)
		lose_answer(c);
	else
		close_now(c);
}

static void on_event(void *arg, enum err status, enum watch_events events)
{
	struct http_request *c = arg;

	(void)events;
	if (status != ERR_OK) {
		on_broken(c);
		return;
	}
	switch (c->state) {
	case CONN_FRESH:
	case CONN_READING:
	case CONN_IDLE:
		conn_read(c);
		return;
	case CONN_ASKED:
		look_up(c);
		return;
	case CONN_ANSWERING:
		send_rest(c);
		tend(c);
		return;
	case CONN_LEAVING:
		let_by(c);
		return;
	case CONN_CLOSED:
		break;
	}
	BUG_ON(c->state == CONN_CLOSED); /* its watch was stopped */
}

/* Watches for what the state waits for. */
static void tend(struct http_request *c)
{
	enum watch_events wanted = c->state == CONN_ANSWERING ? WATCH_WRITE : WATCH_READ;
	enum err err = ERR_OK;

	if (c->state == CONN_CLOSED || c->is_deaf)
		return;
	if (c->watch == NULL)
		err = watch_start(c->room->loop, c->fd, wanted, on_event, c, &c->watch);
	else if (c->watched != wanted)
		err = watch_change(c->watch, wanted);
	c->watched = wanted;
	if (err == ERR_OK)
		return;
	c->room->counters.refused_fds++;
	on_broken(c);
}

/* -- for the server ---------------------------------------------------------------------- */

bool conn_is_open(const struct http_request *c)
{
	return c->state != CONN_CLOSED;
}

bool conn_is_listening(const struct http_request *c)
{
	return c->state == CONN_FRESH || c->state == CONN_READING || c->state == CONN_IDLE;
}

struct crowd_member conn_standing(const struct http_request *c)
{
	static const enum crowd_deed deeds[] = {
		[CONN_FRESH] = CROWD_ASKS,
		[CONN_READING] = CROWD_ASKS,
		[CONN_ASKED] = CROWD_WAITS,
		[CONN_ANSWERING] = CROWD_TAKES,
		[CONN_IDLE] = CROWD_RESTS,
		[CONN_LEAVING] = CROWD_LEAVES,
		[CONN_CLOSED] = CROWD_LEAVES,
	};
	enum crowd_deed deed = deeds[c->state];

	if (deed == CROWD_ASKS && c->was_answered)
		deed = CROWD_ASKS_AGAIN;
	return (struct crowd_member){
		.rank = crowd_rank(deed, now_ms(c->room) - c->since_ms),
		.order = c->order,
	};
}

void conn_evict(struct http_request *c)
{
	BUG_ON(c->state == CONN_ASKED);
	c->room->counters.evicted++;
	if (c->state == CONN_FRESH || c->state == CONN_READING)
		conn_say(c->fd, PROBLEM_OVERLOADED, "gave way to newer connections");
	close_now(c);
}

void conn_deafen(struct http_request *c)
{
	if (c->state == CONN_FRESH || c->state == CONN_IDLE)
		shutdown(c->fd, SHUT_RD);
}

struct http_request *conn_open(struct conn_room *room, int fd, const struct peer *peer)
{
	struct http_request *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return NULL;
	}
	c->room = room;
	c->fd = fd;
	c->peer = *peer;
	c->since_ms = now_ms(room);
	c->order = room->order++;
	c->due_at_ms = now_ms(room) + room->idle_timeout_ms;
	list_init(&c->pending_node);
	list_append(&room->conns, &c->node);
	timer_init(&c->timer, room->loop, on_timer);
	reader_init(&c->reader, peer->kind, &room->limits);
	/* The head, the body, a trailer, and what one recv() may bring beyond. */
	buf_init(&c->in, 2 * room->limits.max_header_bytes + room->limits.max_body_bytes +
				 2 * INPUT_BYTES);
	buf_init(&c->out, OUTPUT_MAX_BYTES);
	room->counters.open_count++;
	arm(c);
	conn_read(c);
	return c;
}

static void bury(struct conn_room *room)
{
	while (!list_empty(&room->graves)) {
		struct http_request *c = container_of(
			room->graves.next, struct http_request, node);

		list_drop(&c->node);
		free(c);
	}
}

bool conn_room_turn(struct conn_room *room)
{
	struct node now;

	list_take(&now, &room->pending);
	while (!list_empty(&now)) {
		struct http_request *c = container_of(
			now.next, struct http_request, pending_node);

		list_drop(&c->pending_node);
		serve(c);
		tend(c);
	}
	bury(room);
	return !list_empty(&room->pending);
}

enum err conn_room_init(struct conn_room *room)
{
	list_init(&room->conns);
	list_init(&room->pending);
	list_init(&room->graves);
	buf_init(&room->head, HEAD_MAX_BYTES);
	buf_init(&room->body, HEAD_MAX_BYTES);
	room->input = malloc(INPUT_BYTES);
	return room->input == NULL ? ERR_NOMEM : ERR_OK;
}

void conn_room_fini(struct conn_room *room)
{
	if (room->conns.next == NULL)
		return;
	while (!list_empty(&room->conns)) {
		struct http_request *c = container_of(
			room->conns.next, struct http_request, node);

		BUG_ON(c->state == CONN_ASKED);
		close_now(c);
	}
	bury(room);
	buf_fini(&room->head);
	buf_fini(&room->body);
	free(room->input);
}
