#include "http/server.h"

#include <errno.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/list.h"
#include "http/crowd.h"
#include "http/head.h"
#include "http/raw.h"
#include "loop/timer.h"
#include "loop/watch.h"

enum {
	DEFAULT_MAX_CONNECTIONS = 256,
	DEFAULT_IDLE_TIMEOUT_MS = 60 * 1000,
	DEFAULT_REQUEST_TIMEOUT_MS = 10 * 1000,
	STUCK_AFTER_MS = 1000,   /* an answer unread for so long is left unread on purpose */
	VANISHED_CHECK_MS = 100, /* not more often */
	BODY_KEEP_BYTES = 1024,  /* a connection keeps so much between requests */
	LIBRARY_SLACK = 512,     /* connections being closed still count for the library */
	ROUNDS_PER_TURN = 16,
	POOL_EXTRA_BYTES = 2048, /* beside twice the headers: the answer's head, bookkeeping */
	MAX_PEER_GROUPS = 1024,
	CROWD_MIN = 64, /* fewer connections are not worth giving memory back */
};

static const size_t DEFAULT_MAX_BODY_BYTES = KIB(256);
static const size_t DEFAULT_MAX_HEADER_BYTES = KIB(8);
static const size_t MAX_RAW_BYTES = MIB(64);

/*  FRESH ─request line─▶ READING ─whole─▶ ASKED ─answer─▶ ANSWERING ─taken─▶ IDLE
 *                           ▲  └────refused by its head───────▲                │
 *                           └───────────────request line───────────────────────┘
 *  Any state leads to CLOSING: the socket is shut down, the library has yet to notice. */
enum conn_state {
	CONN_FRESH = 0, /* never sent a whole request line */
	CONN_READING,
	CONN_ASKED, /* the owner has the request */
	CONN_ANSWERING,
	CONN_IDLE,
	CONN_CLOSING,
};

#define TO(s) (1u << CONN_##s)
/* clang-format off */
static const unsigned next_states[] = {
	[CONN_FRESH]     = TO(READING) | TO(CLOSING),
	[CONN_READING]   = TO(ASKED) | TO(ANSWERING) | TO(CLOSING),
	[CONN_ASKED]     = TO(ANSWERING) | TO(CLOSING),
	[CONN_ANSWERING] = TO(IDLE) | TO(CLOSING),
	[CONN_IDLE]      = TO(READING) | TO(CLOSING),
	[CONN_CLOSING]   = 0,
};
/* clang-format on */
#undef TO

/* A connection carries one request at a time, so they are one thing. */
struct http_request {
	struct node node;         /* server->conns */
	struct node reading_node; /* server->readers while its timer is not armed for READING */
	struct http_server *server;
	struct MHD_Connection *mhd;
	int fd; /* the library's */
	struct peer peer;
	enum conn_state state;
	uint64_t since_ms;  /* of the state, or of IDLE while READING the next */
	uint64_t due_at_ms; /* 0: nothing is waited for */
	struct timer timer; /* fires at due_at_ms or earlier, and then looks again */
	bool has_completed; /* a whole request, ever */
	uint64_t completed_in_run;

	/* of the present request */
	bool head_is_checked;
	bool target_is_broken;
	bool is_refusal; /* the answer is ours, on_request never saw it */
	bool is_in_callback;
	bool is_suspended;
	enum http_method method;
	struct span path;
	struct buf body;
	http_gone_fn on_gone; /* NULL until held */
	void *gone_arg;
};

struct http_server {
	struct loop *loop;
	struct http_server_config config; /* defaults filled in, lists owned */
	uid_t *uids;
	gid_t *gids;
	struct MHD_Daemon *mhd;
	struct watch *watch; /* of the library's epoll descriptor */
	struct turn turn;
	bool run_is_wanted;
	uint64_t run_count;
	struct timer again; /* the loop shall not sleep */
	struct listener unix_listener;
	struct listener loopback_listener;
	struct node conns;
	struct node readers;
	uint64_t crowd_count;          /* most connections since memory was last given back */
	struct http_request *adopting; /* handed to the library, not seen again yet */
	unsigned live_count;           /* connections that are not CLOSING */
	uint64_t vanished_check_at_ms;
	struct http_server_counters counters;

	bool is_draining;
	bool idle_are_shut;
	struct timer drain_timer;
	void (*on_drained)(void *arg); /* NULL: not asked for, or fired */
	void *drained_arg;

	bool is_stopping;
	struct timer stop_timer;
	void (*on_stopped)(void *arg);
	void *stopped_arg;
};

static uint64_t now_ms(const struct http_server *s)
{
	return uv_now(&s->loop->uv);
}

/* -- one connection -------------------------------------------------------------------- */

static void conn_move(struct http_request *c, enum conn_state to)
{
	struct http_server *s = c->server;

	BUG_ON(!(next_states[c->state] & (1u << to)));
	c->state = to;
	if (to != CONN_READING)
		c->since_ms = now_ms(s);
	list_drop(&c->reading_node);
	switch (to) {
	case CONN_FRESH:
		break;
	case CONN_READING:
		c->due_at_ms = now_ms(s) + s->config.request_timeout_ms;
		list_append(&s->readers, &c->reading_node);
		break;
	case CONN_ASKED:
		c->due_at_ms = 0; /* the owner's business */
		break;
	case CONN_ANSWERING:
		c->due_at_ms = now_ms(s) + s->config.idle_timeout_ms;
		break;
	case CONN_IDLE:
		c->due_at_ms = now_ms(s) + s->config.idle_timeout_ms;
		/* What the client has sent until now is still read and answered. */
		if (s->is_draining)
			shutdown(c->fd, SHUT_RD);
		break;
	case CONN_CLOSING:
		c->due_at_ms = 0;
		BUG_ON(s->live_count == 0);
		s->live_count--;
		break;
	}
}

/* The timer is only ever moved forward here; it moves itself back when it fires too early. So a
 * busy connection does not touch it. */
static void conn_arm(struct http_request *c)
{
	uint64_t now = now_ms(c->server);

	if (c->due_at_ms == 0 || (c->timer.is_set && c->timer.due_at_ms <= c->due_at_ms))
		return;
	timer_after(&c->timer, c->due_at_ms > now ? c->due_at_ms - now : 0);
}

static void conn_resume(struct http_request *c)
{
	if (c->is_suspended) {
		c->is_suspended = false;
		MHD_resume_connection(c->mhd);
	}
	c->server->run_is_wanted = true;
}

/* The library sees the end of its input, closes, and tells us. */
static void conn_close(struct http_request *c)
{
	conn_move(c, CONN_CLOSING);
	shutdown(c->fd, SHUT_RDWR);
	conn_resume(c);
}

static void send_raw(int fd, struct buf *bytes)
{
	size_t done = 0;

	while (buf_status(bytes) == ERR_OK && done < bytes->len) {
		ssize_t n = send(
			fd, bytes->at + done, bytes->len - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return; /* full or gone: it was worth a try */
		done += (size_t)n;
	}
}

static void say_problem(int fd, enum problem_type type, const char *detail)
{
	struct buf bytes;

	buf_init(&bytes, KIB(4));
	raw_problem(&(struct problem){ .type = type, .detail = span_of(detail) }, &bytes);
	send_raw(fd, &bytes);
	buf_fini(&bytes);
}

/* Past the library: it has begun no answer in this state. */
static void conn_refuse(struct http_request *c, enum problem_type type, const char *detail)
{
	BUG_ON(c->state != CONN_FRESH && c->state != CONN_READING);
	say_problem(c->fd, type, detail);
	conn_close(c);
}

/* The client sends nothing more: it has closed, at least its half. */
static bool input_is_over(int fd)
{
	char byte;

	return recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* c is still open afterwards, but its request is not: tell the owner. Calls out last. */
static void request_is_gone(struct http_request *c, enum err reason)
{
	http_gone_fn on_gone = c->on_gone;
	void *arg = c->gone_arg;

	BUG_ON(c->state != CONN_ASKED || on_gone == NULL);
	c->on_gone = NULL;
	c->server->counters.gone++;
	conn_close(c);
	on_gone(arg, reason);
}

static void on_conn_timer(struct timer *timer)
{
	struct http_request *c = container_of(timer, struct http_request, timer);
	struct http_server *s = c->server;

	if (c->due_at_ms == 0)
		return;
	if (c->due_at_ms > now_ms(s)) {
		conn_arm(c);
		return;
	}
	switch (c->state) {
	case CONN_FRESH:
	case CONN_READING:
		s->counters.slow++;
		conn_refuse(c, PROBLEM_SLOW_REQUEST, NULL);
		return;
	case CONN_IDLE:
	case CONN_ANSWERING:
		s->counters.idle_closed++;
		conn_close(c);
		return;
	case CONN_ASKED:
	case CONN_CLOSING:
		break;
	}
	BUG_ON(c->due_at_ms != 0);
}

/* -- answers --------------------------------------------------------------------------- */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
	if (raw_header_is_fine(name, value))
		(void)MHD_add_response_header(response, name, value);
}

/* NULL: out of memory. */
static struct MHD_Response *response_make(
	const struct http_server *s, const struct http_answer *answer)
{
	/* The library takes a pointer to what it will only read. */
	void *body = (void *)(uintptr_t)answer->body.at;
	struct MHD_Response *response = MHD_create_response_from_buffer(
		answer->body.len, body, MHD_RESPMEM_MUST_COPY);

	if (response == NULL)
		return NULL;
	if (answer->content_type != NULL)
		add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
	for (size_t i = 0; i < answer->header_count; i++)
		add_header(response, answer->headers[i].name, answer->headers[i].value);
	if (s->is_draining)
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	return response;
}

static enum err conn_queue(struct http_request *c, const struct http_answer *answer)
{
	struct MHD_Response *response = response_make(c->server, answer);

	if (response == NULL)
		return ERR_NOMEM;
	enum MHD_Result rc = MHD_queue_response(c->mhd, answer->status, response);

	MHD_destroy_response(response);
	return rc == MHD_YES ? ERR_OK : ERR_NOMEM;
}

/* A client that has closed its sending half would make the library drop the answer to a held
 * request unsent (0.9.75): it reads before it writes. */
static void answer_past_library(struct http_request *c, const struct http_answer *answer)
{
	struct buf bytes;

	buf_init(&bytes, MAX_RAW_BYTES);
	raw_answer(answer, &bytes);
	send_raw(c->fd, &bytes);
	buf_fini(&bytes);
	c->server->counters.answers++;
	conn_close(c);
}

void http_request_answer(struct http_request *rq, const struct http_answer *answer)
{
	struct http_request *c = rq;

	BUG_ON(c->state != CONN_ASKED);
	BUG_ON(answer->status < 200 || answer->status > 599);
	if (!c->is_in_callback && input_is_over(c->fd)) {
		answer_past_library(c, answer);
		return;
	}
	if (conn_queue(c, answer) != ERR_OK) {
		c->server->counters.gone++;
		conn_close(c);
		return;
	}
	conn_move(c, CONN_ANSWERING);
	conn_resume(c);
}

void http_request_answer_problem(struct http_request *rq, const struct problem *problem)
{
	struct buf body;

	buf_init(&body, KIB(64));
	problem_format(problem, &body);
	struct raw_seconds seconds = raw_retry_after(problem->retry_after_ms);
	struct http_header retry = { .name = MHD_HTTP_HEADER_RETRY_AFTER, .value = seconds.at };

	http_request_answer(
		rq, &(struct http_answer){
			    .status = problem_status(problem->type),
			    .content_type = PROBLEM_MEDIA_TYPE,
			    .body = buf_status(&body) == ERR_OK ? buf_span(&body)
								: (struct span){ 0 },
			    .headers = &retry,
			    .header_count = problem->retry_after_ms > 0 ? 1 : 0,
		    });
	buf_fini(&body);
}

void http_request_hold(struct http_request *rq, http_gone_fn on_gone, void *arg)
{
	BUG_ON(rq->state != CONN_ASKED || on_gone == NULL);
	rq->on_gone = on_gone;
	rq->gone_arg = arg;
}

/* -- what was asked -------------------------------------------------------------------- */

enum http_method http_request_method(const struct http_request *rq)
{
	return rq->method;
}

struct span http_request_path(const struct http_request *rq)
{
	return rq->path;
}

static bool look_up(const struct http_request *rq, enum MHD_ValueKind kind, const char *name,
	struct span *out)
{
	*out = (struct span){ 0 };
	return MHD_lookup_connection_value_n(
		       rq->mhd, kind, name, strlen(name), &out->at, &out->len) == MHD_YES;
}

bool http_request_query(const struct http_request *rq, const char *name, struct span *out)
{
	return look_up(rq, MHD_GET_ARGUMENT_KIND, name, out);
}

bool http_request_header(const struct http_request *rq, const char *name, struct span *out)
{
	return look_up(rq, MHD_HEADER_KIND, name, out);
}

struct span http_request_body(const struct http_request *rq)
{
	return buf_span(&rq->body);
}

const struct peer *http_request_peer(const struct http_request *rq)
{
	return &rq->peer;
}

/* -- the head of a request ------------------------------------------------------------- */

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	(void)kind;
	head_add(cls, (struct span){ .at = name, .len = name_len },
		(struct span){ .at = value, .len = value_len });
	return MHD_YES;
}

static void count_refusal(struct http_server_counters *counts, enum problem_type type)
{
	if (type == PROBLEM_WRONG_METHOD)
		counts->bad_method++;
	else if (type == PROBLEM_PATH_TOO_LONG || type == PROBLEM_HEADERS_TOO_LARGE)
		counts->head_too_large++;
	else if (type == PROBLEM_PAYLOAD_TOO_LARGE)
		counts->body_too_large++;
	else
		counts->bad_request++;
}

static void refuse_head(struct http_request *c, const struct problem *problem)
{
	static const struct http_header allow = { .name = "Allow",
		.value = "GET, POST, PUT, DELETE" };
	struct buf body;

	buf_init(&body, KIB(4));
	problem_format(problem, &body);
	c->is_refusal = true;
	count_refusal(&c->server->counters, problem->type);
	enum err err = conn_queue(
		c, &(struct http_answer){
			   .status = problem_status(problem->type),
			   .content_type = PROBLEM_MEDIA_TYPE,
			   .body = buf_span(&body),
			   .headers = &allow,
			   .header_count = problem->type == PROBLEM_WRONG_METHOD ? 1 : 0,
		   });

	buf_fini(&body);
	if (err == ERR_OK)
		conn_move(c, CONN_ANSWERING);
	else
		conn_close(c);
}

static void check_head(struct http_request *c, const char *method, const char *version)
{
	const struct http_server_config *config = &c->server->config;
	const struct head_limits limits = {
		.max_header_bytes = config->max_header_bytes,
		.max_body_bytes = config->max_body_bytes,
	};
	const union MHD_ConnectionInfo *size = MHD_get_connection_info(
		c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	struct head head = {
		.method = method,
		.is_http_1_1 = strcmp(version, MHD_HTTP_VERSION_1_0) != 0,
		.target_is_broken = c->target_is_broken,
		.target_bytes = c->path.len,
		.bytes = size == NULL ? 0 : size->header_size,
		.from = c->peer.kind,
	};
	struct problem problem = { 0 };

	MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, on_header, &head);
	if (head_judge(&head, &limits, &problem) != ERR_OK ||
		head_method_parse(method, &c->method) != ERR_OK)
		refuse_head(c, &problem);
}

/* -- the library's callbacks ----------------------------------------------------------- */

static struct http_request *conn_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* A request line has come. */
static void *on_request_line(void *cls, const char *target, struct MHD_Connection *mhd)
{
	struct http_request *c = conn_of(mhd);

	(void)cls;
	if (c->state != CONN_FRESH && c->state != CONN_IDLE)
		return c; /* CLOSING: what was read before the end */
	conn_move(c, CONN_READING);
	c->head_is_checked = false;
	c->is_refusal = false;
	c->on_gone = NULL;
	c->target_is_broken = !head_target_is_fine(target);
	return c;
}

static size_t on_unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
	size_t len;

	(void)cls;
	if (head_unescape(text, &len) != ERR_OK)
		conn_of(mhd)->target_is_broken = true;
	return len;
}

static enum MHD_Result take_body(struct http_request *c, const char *bytes, size_t len)
{
	struct http_server *s = c->server;

	buf_append(&c->body, (struct span){ .at = bytes, .len = len });
	switch (buf_status(&c->body)) {
	case ERR_OK:
		return MHD_YES;
	case ERR_FULL: /* chunked: nobody knew */
		s->counters.body_too_large++;
		conn_refuse(c, PROBLEM_PAYLOAD_TOO_LARGE, NULL);
		return MHD_NO;
	default:
		s->counters.refused_fds++;
		conn_refuse(c, PROBLEM_OVERLOADED, "out of memory");
		return MHD_NO;
	}
}

static enum MHD_Result ask_owner(struct http_request *c)
{
	struct http_server *s = c->server;

	conn_move(c, CONN_ASKED);
	c->has_completed = true;
	s->counters.requests++;
	c->is_in_callback = true;
	s->config.on_request(s->config.arg, c);
	c->is_in_callback = false;
	if (c->state == CONN_ASKED) {
		BUG_ON(c->on_gone == NULL); /* neither answered nor held */
		c->is_suspended = true;
		MHD_suspend_connection(c->mhd);
	}
	return c->state == CONN_CLOSING ? MHD_NO : MHD_YES;
}

/* First for the head, then for each piece of the body, then for the whole. */
static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *bytes, size_t *len, void **state)
{
	struct http_request *c = *state;

	(void)cls;
	(void)mhd;
	if (c->state == CONN_CLOSING)
		return MHD_NO;
	if (c->state != CONN_READING) { /* refused, and more of it comes */
		*len = 0;
		return MHD_YES;
	}
	if (!c->head_is_checked) {
		c->head_is_checked = true;
		c->path = span_of(url);
		check_head(c, method, version);
		return c->state == CONN_CLOSING ? MHD_NO : MHD_YES;
	}
	if (*len > 0) {
		size_t taken = *len;

		*len = 0;
		return take_body(c, bytes, taken);
	}
	return ask_owner(c);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **state,
	enum MHD_RequestTerminationCode how)
{
	struct http_request *c = *state;
	struct http_server *s;

	(void)cls;
	(void)mhd;
	if (c == NULL)
		return;
	s = c->server;
	c->path = (struct span){ 0 };
	buf_shrink(&c->body, BODY_KEEP_BYTES);
	c->completed_in_run = s->run_count;
	switch (c->state) {
	case CONN_ANSWERING:
		if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK) {
			s->counters.gone++;
			conn_move(c, CONN_CLOSING);
			return;
		}
		if (!c->is_refusal)
			s->counters.answers++;
		conn_move(c, CONN_IDLE);
		conn_arm(c);
		return;
	case CONN_READING: /* the client broke off, or the library refused it by itself */
		if (how == MHD_REQUEST_TERMINATED_WITH_ERROR)
			s->counters.bad_request++;
		conn_move(c, CONN_CLOSING);
		return;
	case CONN_ASKED:
	case CONN_FRESH:
	case CONN_IDLE:
	case CONN_CLOSING:
		return;
	}
}

/* The library closes without a word what does not even look like a request line. Unless it was
 * the client who closed, or an answer has just gone out, there is time for one. */
static void say_last_word(struct http_request *c)
{
	int unread = 0;

	if (c->state != CONN_FRESH && c->state != CONN_IDLE)
		return;
	if (c->completed_in_run == c->server->run_count || input_is_over(c->fd))
		return;
	c->server->counters.bad_request++;
	if (ioctl(c->fd, SIOCOUTQ, &unread) == 0 && unread == 0)
		say_problem(c->fd, PROBLEM_BAD_REQUEST, "this is not HTTP/1.1");
}

static void on_connection_change(void *cls, struct MHD_Connection *mhd, void **context,
	enum MHD_ConnectionNotificationCode code)
{
	struct http_server *s = cls;
	struct http_request *c;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		c = s->adopting;
		s->adopting = NULL;
		c->mhd = mhd;
		*context = c;
		list_append(&s->conns, &c->node);
		s->live_count++;
		s->counters.open_count++;
		if (s->counters.open_count > s->crowd_count)
			s->crowd_count = s->counters.open_count;
		conn_arm(c);
		return;
	}
	c = *context;
	*context = NULL;
	BUG_ON(c->state == CONN_ASKED);
	if (!s->is_stopping && !s->is_draining)
		say_last_word(c);
	if (c->state != CONN_CLOSING)
		conn_move(c, CONN_CLOSING);
	list_drop(&c->node);
	timer_cancel(&c->timer);
	buf_fini(&c->body);
	s->counters.open_count--;
	free(c);
}

/* -- new connections ------------------------------------------------------------------- */

static bool group_is_allowed(const struct http_server *s, gid_t gid)
{
	for (size_t i = 0; i < s->config.allowed_gid_count; i++)
		if (s->gids[i] == gid)
			return true;
	return false;
}

static bool peer_is_allowed(const struct http_server *s, int fd, const struct peer *peer)
{
	if (peer->kind != PEER_UNIX)
		return true;
	if (s->config.allowed_uid_count == 0 && s->config.allowed_gid_count == 0)
		return true;
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	for (size_t i = 0; i < s->config.allowed_uid_count; i++)
		if (s->uids[i] == peer->uid)
			return true;
	if (s->config.allowed_gid_count == 0)
		return false;
	if (group_is_allowed(s, peer->gid))
		return true;
	gid_t groups[MAX_PEER_GROUPS];
	socklen_t len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++)
		if (group_is_allowed(s, groups[i]))
			return true;
	return false;
}

static struct crowd_member conn_rank(const struct http_request *c)
{
	struct crowd_member m = { .rank = CROWD_BUSY, .since_ms = c->since_ms };

	switch (c->state) {
	case CONN_FRESH:
		m.rank = CROWD_STRANGER;
		break;
	case CONN_READING:
		m.rank = c->has_completed ? CROWD_IDLE : CROWD_STRANGER;
		break;
	case CONN_ANSWERING:
		if (now_ms(c->server) - c->since_ms >= STUCK_AFTER_MS)
			m.rank = CROWD_STUCK;
		break;
	case CONN_IDLE:
		m.rank = CROWD_IDLE;
		break;
	case CONN_ASKED:
	case CONN_CLOSING:
		break;
	}
	return m;
}

static void evict(struct http_request *c)
{
	c->server->counters.evicted++;
	if (c->state == CONN_FRESH || c->state == CONN_READING)
		conn_refuse(c, PROBLEM_OVERLOADED, "gave way to newer connections");
	else
		conn_close(c);
}

/* The library does not look at the socket of a request that waits for its answer. When room is
 * needed we do: clients that have closed altogether need none. */
static void forget_vanished(struct http_server *s)
{
	if (now_ms(s) < s->vanished_check_at_ms)
		return;
	s->vanished_check_at_ms = now_ms(s) + VANISHED_CHECK_MS;
	/* on_gone changes no list: connections are freed only when the library runs. */
	list_each (n, &s->conns) {
		struct http_request *c = container_of(n, struct http_request, node);
		struct pollfd p = { .fd = c->fd };

		if (c->state != CONN_ASKED || c->is_in_callback)
			continue;
		if (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0)
			request_is_gone(c, ERR_LINK);
	}
}

enum room { ROOM = 0, NO_ROOM };

static enum room find_room(struct http_server *s, const struct peer *peer)
{
	struct http_request *first = NULL;
	unsigned of_uid = 0;

	if (s->live_count < s->config.max_connections && s->live_count < s->config.max_per_uid)
		return ROOM;
	list_each (n, &s->conns) {
		struct http_request *c = container_of(n, struct http_request, node);

		if (c->state != CONN_CLOSING && c->peer.kind == PEER_UNIX &&
			c->peer.uid == peer->uid)
			of_uid++;
	}
	bool is_over_uid = peer->kind == PEER_UNIX && of_uid >= s->config.max_per_uid;

	if (!is_over_uid && s->live_count < s->config.max_connections)
		return ROOM;
	list_each (n, &s->conns) {
		struct http_request *c = container_of(n, struct http_request, node);

		if (c->state == CONN_CLOSING || conn_rank(c).rank == CROWD_BUSY)
			continue;
		if (is_over_uid && (c->peer.kind != PEER_UNIX || c->peer.uid != peer->uid))
			continue;
		if (first == NULL || crowd_goes_first(conn_rank(c), conn_rank(first)))
			first = c;
	}
	if (first == NULL)
		return NO_ROOM;
	evict(first);
	return ROOM;
}

static void refuse_fd(int fd, enum problem_type type, const char *detail)
{
	say_problem(fd, type, detail);
	close(fd);
}

static struct http_request *conn_make(struct http_server *s, int fd, const struct peer *peer)
{
	struct http_request *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->server = s;
	c->fd = fd;
	c->peer = *peer;
	c->since_ms = now_ms(s);
	c->due_at_ms = now_ms(s) + s->config.idle_timeout_ms;
	list_init(&c->node);
	list_init(&c->reading_node);
	timer_init(&c->timer, s->loop, on_conn_timer);
	buf_init(&c->body, s->config.max_body_bytes);
	return c;
}

static void on_connection(void *arg, int fd, const struct peer *peer)
{
	struct http_server *s = arg;
	const struct sockaddr_in in = { .sin_family = AF_INET };
	const struct sockaddr_un un = { .sun_family = AF_UNIX };
	bool is_unix = peer->kind == PEER_UNIX;

	s->counters.accepted++;
	if (!peer_is_allowed(s, fd, peer)) {
		s->counters.refused_peer++;
		refuse_fd(fd, PROBLEM_NOT_ALLOWED, "this user may not use this socket");
		return;
	}
	enum room room = find_room(s, peer);

	if (room == NO_ROOM) {
		forget_vanished(s);
		room = find_room(s, peer);
	}
	if (room == NO_ROOM) {
		s->counters.refused_full++;
		refuse_fd(fd, PROBLEM_OVERLOADED, "every connection is busy");
		return;
	}
	struct http_request *c = conn_make(s, fd, peer);

	if (c == NULL) {
		s->counters.refused_fds++;
		close(fd);
		return;
	}
	s->adopting = c;
	s->run_is_wanted = true; /* what it has sent already waits for nobody to tell us */
	if (MHD_add_connection(s->mhd, fd,
		    is_unix ? (const struct sockaddr *)&un : (const struct sockaddr *)&in,
		    is_unix ? sizeof(un.sun_family) : sizeof(in)) == MHD_YES)
		return;
	/* The library has closed fd; c is gone too if it had come as far as to see it. */
	s->counters.refused_fds++;
	free(s->adopting);
	s->adopting = NULL;
}

static void on_full(void *arg, int fd)
{
	struct http_server *s = arg;

	s->counters.accepted++;
	s->counters.refused_fds++;
	say_problem(fd, PROBLEM_OVERLOADED, "no file descriptor left");
}

/* -- turns ----------------------------------------------------------------------------- */

static bool library_has_more(struct http_server *s)
{
	MHD_UNSIGNED_LONG_LONG left_ms;

	/* We give it no time-outs, so this is 0 or nothing. */
	return MHD_get_timeout(s->mhd, &left_ms) == MHD_YES;
}

static void run_library(struct http_server *s)
{
	for (int round = 0; round < ROUNDS_PER_TURN; round++) {
		s->run_is_wanted = false;
		s->run_count++;
		(void)MHD_run(s->mhd);
		if (!s->run_is_wanted && !library_has_more(s))
			return;
	}
	s->run_is_wanted = true;
	timer_after(&s->again, 0);
}

static void shut_idle(struct http_server *s)
{
	list_each (n, &s->conns) {
		struct http_request *c = container_of(n, struct http_request, node);

		if (c->state == CONN_FRESH || c->state == CONN_IDLE)
			shutdown(c->fd, SHUT_RD);
	}
}

/* The library's pools lie in the heap, where a crowd that has gone would leave its high-water
 * mark. */
static void give_memory_back(struct http_server *s)
{
	if (s->crowd_count < CROWD_MIN || s->counters.open_count > s->crowd_count / 4)
		return;
	s->crowd_count = s->counters.open_count;
	malloc_trim(0);
}

/* Calls out last. */
static void say_drained(struct http_server *s)
{
	void (*on_drained)(void *) = s->on_drained;

	if (on_drained == NULL)
		return;
	s->on_drained = NULL;
	timer_cancel(&s->drain_timer);
	on_drained(s->drained_arg);
}

static bool on_turn(struct turn *turn)
{
	struct http_server *s = container_of(turn, struct http_server, turn);

	if (!s->run_is_wanted || s->is_stopping)
		return false;
	bool drain_begins = s->is_draining && !s->idle_are_shut;

	if (drain_begins) {
		listener_finish(&s->unix_listener);
		listener_finish(&s->loopback_listener);
	}
	run_library(s);
	if (drain_begins) {
		s->idle_are_shut = true;
		shut_idle(s);
		run_library(s);
	}
	while (!list_empty(&s->readers)) {
		struct http_request *c = container_of(
			s->readers.next, struct http_request, reading_node);

		list_drop(&c->reading_node);
		conn_arm(c);
	}
	give_memory_back(s);
	if (s->is_draining && list_empty(&s->conns))
		say_drained(s);
	return true;
}

static void on_library_ready(void *arg, enum err status, enum watch_events events)
{
	struct http_server *s = arg;

	(void)status;
	(void)events;
	s->run_is_wanted = true;
}

static void on_again(struct timer *timer)
{
	container_of(timer, struct http_server, again)->run_is_wanted = true;
}

static void on_drain_deadline(struct timer *timer)
{
	say_drained(container_of(timer, struct http_server, drain_timer));
}

/* -- start and stop -------------------------------------------------------------------- */

static void server_free(struct http_server *s)
{
	free(s->uids);
	free(s->gids);
	free(s);
}

static struct http_request *first_asked(struct http_server *s)
{
	list_each (n, &s->conns) {
		struct http_request *c = container_of(n, struct http_request, node);

		if (c->state == CONN_ASKED)
			return c;
	}
	return NULL;
}

/* Half-started and running servers are both fine. */
static void server_end(struct http_server *s)
{
	struct http_request *c;

	s->is_stopping = true;
	listener_stop(&s->unix_listener);
	listener_stop(&s->loopback_listener);
	while ((c = first_asked(s)) != NULL)
		request_is_gone(c, ERR_CANCEL);
	watch_stop(s->watch);
	loop_turn_drop(&s->turn);
	timer_cancel(&s->again);
	timer_cancel(&s->drain_timer);
	if (s->mhd != NULL)
		MHD_stop_daemon(s->mhd);
	BUG_ON(!list_empty(&s->conns));
}

static void on_stop_due(struct timer *timer)
{
	struct http_server *s = container_of(timer, struct http_server, stop_timer);
	void (*on_stopped)(void *) = s->on_stopped;
	void *arg = s->stopped_arg;

	server_end(s);
	server_free(s);
	if (on_stopped != NULL)
		on_stopped(arg);
}

static enum err copy_lists(struct http_server *s, const struct http_server_config *config)
{
	size_t uids_bytes = config->allowed_uid_count * sizeof(uid_t);
	size_t gids_bytes = config->allowed_gid_count * sizeof(gid_t);

	s->uids = malloc(uids_bytes + 1);
	s->gids = malloc(gids_bytes + 1);
	if (s->uids == NULL || s->gids == NULL)
		return ERR_NOMEM;
	if (uids_bytes > 0)
		memcpy(s->uids, config->allowed_uids, uids_bytes);
	if (gids_bytes > 0)
		memcpy(s->gids, config->allowed_gids, gids_bytes);
	return ERR_OK;
}

static void fill_defaults(struct http_server_config *c)
{
	c->max_connections = c->max_connections == 0 ? DEFAULT_MAX_CONNECTIONS
						     : c->max_connections;
	c->max_per_uid = c->max_per_uid == 0 ? c->max_connections : c->max_per_uid;
	c->idle_timeout_ms = c->idle_timeout_ms == 0 ? DEFAULT_IDLE_TIMEOUT_MS
						     : c->idle_timeout_ms;
	c->request_timeout_ms = c->request_timeout_ms == 0 ? DEFAULT_REQUEST_TIMEOUT_MS
							   : c->request_timeout_ms;
	c->max_body_bytes = c->max_body_bytes == 0 ? DEFAULT_MAX_BODY_BYTES : c->max_body_bytes;
	c->max_header_bytes = c->max_header_bytes == 0 ? DEFAULT_MAX_HEADER_BYTES
						       : c->max_header_bytes;
	/* Borrowed only until now. */
	c->allowed_uids = NULL;
	c->allowed_gids = NULL;
}

static enum err start_library(struct http_server *s)
{
	/* No listening socket, no threads, no time-outs, no log and no clock of its own: we do
	 * these. TURBO: it trusts that a new connection is ready, and leaves shutdown() to us.
	 */
	const unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_TURBO |
			       MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK;
	size_t pool_bytes = 2 * s->config.max_header_bytes + POOL_EXTRA_BYTES;

	s->mhd = MHD_start_daemon(flags, 0, NULL, NULL, on_access, s,
		MHD_OPTION_CONNECTION_LIMIT, s->config.max_connections + LIBRARY_SLACK,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool_bytes, MHD_OPTION_CONNECTION_TIMEOUT,
		0u, MHD_OPTION_NOTIFY_CONNECTION, on_connection_change, s,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_URI_LOG_CALLBACK,
		on_request_line, s, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, s,
		MHD_OPTION_END);
	if (s->mhd == NULL)
		return err_from_errno(errno);
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(
		s->mhd, MHD_DAEMON_INFO_EPOLL_FD);

	return watch_start(s->loop, info->epoll_fd, WATCH_READ, on_library_ready, s, &s->watch);
}

enum err http_server_start(
	struct loop *l, const struct http_server_config *config, struct http_server **out)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return ERR_NOMEM;
	s->loop = l;
	s->config = *config;
	fill_defaults(&s->config);
	list_init(&s->conns);
	list_init(&s->readers);
	timer_init(&s->again, l, on_again);
	timer_init(&s->drain_timer, l, on_drain_deadline);
	timer_init(&s->stop_timer, l, on_stop_due);
	loop_turn_add(l, &s->turn, on_turn);

	enum err err = copy_lists(s, config);

	if (err == ERR_OK)
		err = start_library(s);
	if (err == ERR_OK && config->socket.path != NULL)
		err = listener_start_unix(
			&s->unix_listener, l, &config->socket, on_connection, on_full, s);
	if (err == ERR_OK && config->has_loopback)
		err = listener_start_loopback(&s->loopback_listener, l, config->loopback_port,
			on_connection, on_full, s);
	if (err != ERR_OK) {
		server_end(s);
		server_free(s);
		return err;
	}
	*out = s;
	return ERR_OK;
}

void http_server_drain(
	struct http_server *s, uint64_t deadline_ms, void (*on_drained)(void *arg), void *arg)
{
	if (s->is_draining || s->is_stopping)
		return;
	s->on_drained = on_drained;
	s->drained_arg = arg;
	s->is_draining = true;
	/* The rest in a turn: we may stand in one of the library's callbacks. The timer keeps
	 * the loop from sleeping until then. */
	s->run_is_wanted = true;
	timer_after(&s->again, 0);
	timer_after(&s->drain_timer, deadline_ms);
}

void http_server_stop(struct http_server *s, void (*on_stopped)(void *arg), void *arg)
{
	if (s == NULL) {
		if (on_stopped != NULL)
			on_stopped(arg);
		return;
	}
	BUG_ON(s->is_stopping);
	s->is_stopping = true;
	s->on_stopped = on_stopped;
	s->stopped_arg = arg;
	/* Not from here: we may stand in one of the library's callbacks. */
	timer_after(&s->stop_timer, 0);
}

const struct http_server_counters *http_server_counters(const struct http_server *s)
{
	return &s->counters;
}

uint16_t http_server_loopback_port(const struct http_server *s)
{
	return s->loopback_listener.port;
}
