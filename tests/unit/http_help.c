#include "http_help.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

/* -- the owner of requests --------------------------------------------------------------- */

void stage_answer(struct http_request *rq, unsigned status, const char *text)
{
	http_request_answer(rq, &(struct http_answer){ .status = status,
					.content_type = "text/plain",
					.body = span_of(text) });
}

static void on_held_gone(void *arg, enum err reason)
{
	struct held *h = arg;

	h->rq = NULL;
	h->st->held_count--;
	h->st->gone_count++;
	h->st->gone_reason = reason;
}

static void on_later_gone(void *arg, enum err reason)
{
	struct held *h = arg;

	h->rq = NULL;
	h->st->later_count--;
	h->st->gone_count++;
	h->st->gone_reason = reason;
}

static void hold(
	struct stage *st, struct held *all, struct http_request *rq, http_gone_fn on_gone)
{
	for (size_t i = 0; i < HELD_MAX; i++) {
		if (all[i].rq != NULL)
			continue;
		all[i] = (struct held){ .st = st, .rq = rq };
		http_request_hold(rq, on_gone, &all[i]);
		return;
	}
	stage_answer(rq, 503, "no room to hold it");
}

static void answer_all(struct held *all, unsigned *count, const char *text)
{
	for (size_t i = 0; i<HELD_MAX && * count> 0; i++) {
		struct http_request *rq = all[i].rq;

		if (rq == NULL)
			continue;
		all[i].rq = NULL;
		(*count)--;
		stage_answer(rq, 200, text);
	}
}

static void on_later(struct timer *timer)
{
	struct stage *st = container_of(timer, struct stage, later);

	answer_all(st->later_held, &st->later_count, "later");
}

void release_all(struct stage *st)
{
	answer_all(st->held, &st->held_count, "released");
}

static void answer_size(struct http_request *rq, struct span digits)
{
	uint64_t size = 0;
	struct buf body;

	ck_assert_int_eq(text_parse_u64(digits, &size), ERR_OK);
	buf_init(&body, MIB(64));
	char *to = buf_reserve(&body, size);

	ck_assert_ptr_nonnull(to);
	memset(to, 'x', size);
	buf_advance(&body, size);
	http_request_answer(
		rq, &(struct http_answer){ .status = 200, .body = buf_span(&body) });
	buf_fini(&body);
}

static void on_request(void *arg, struct http_request *rq)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "DELETE" };
	struct stage *st = arg;
	struct span path = http_request_path(rq);

	st->asked_count++;
	if (span_is(path, "/echo")) {
		http_request_answer(rq,
			&(struct http_answer){ .status = 200, .body = http_request_body(rq) });
	} else if (span_is(path, "/hold")) {
		st->held_count++;
		hold(st, st->held, rq, on_held_gone);
	} else if (span_is(path, "/later")) {
		st->later_count++;
		hold(st, st->later_held, rq, on_later_gone);
		timer_after(&st->later, 0);
	} else if (span_starts(path, "/size/")) {
		answer_size(rq, span_after(path, 6));
	} else {
		char text[512];

		snprintf(text, sizeof(text), "%s %.*s", methods[http_request_method(rq)],
			SPAN_ARG(path));
		stage_answer(rq, 200, text);
	}
}

/* -- the stage --------------------------------------------------------------------------- */

void stage_open(struct stage *st)
{
	*st = (struct stage){ .done_pipe = { -1, -1 } };
	snprintf(st->folder, sizeof(st->folder), "/tmp/sallyport-http-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(st->folder));
	snprintf(st->path, sizeof(st->path), "%s/api.sock", st->folder);
	ck_assert_int_eq(loop_init(&st->loop), ERR_OK);
	timer_init(&st->later, &st->loop, on_later);
}

void stage_serve(struct stage *st, struct http_server_config config)
{
	if (config.socket.path == NULL)
		config.socket.path = st->path;
	if (config.on_request == NULL) {
		config.on_request = on_request;
		config.arg = st;
	}
	ck_assert_int_eq(http_server_start(&st->loop, &config, &st->server), ERR_OK);
}

static void on_server_stopped(void *arg)
{
	struct stage *st = arg;

	st->server = NULL;
	st->is_stopped = true;
	loop_stop(&st->loop);
}

static void on_client_stopped(void *arg)
{
	struct stage *st = arg;

	st->client = NULL;
	st->is_stopped = true;
	loop_stop(&st->loop);
}

static void on_out_of_time(struct timer *timer)
{
	(void)timer;
	ck_abort_msg("out of time");
}

/* Looks after all other turns: whoever sets the flag in one of them does not wake the loop. */
struct look_out {
	struct turn turn;
	struct loop *loop;
	const bool *flag;
};

static bool on_look(struct turn *turn)
{
	struct look_out *look_out = container_of(turn, struct look_out, turn);

	if (*look_out->flag)
		loop_stop(look_out->loop);
	return false;
}

void stage_run_until(struct stage *st, const bool *flag)
{
	struct look_out look_out = { .loop = &st->loop, .flag = flag };
	struct timer limit;

	timer_init(&limit, &st->loop, on_out_of_time);
	timer_after(&limit, DEADLINE_MS);
	loop_turn_add(&st->loop, &look_out.turn, on_look);
	while (!*flag)
		uv_run(&st->loop.uv, UV_RUN_ONCE);
	loop_turn_drop(&look_out.turn);
	timer_cancel(&limit);
}

void stage_close(struct stage *st)
{
	if (st->client != NULL) {
		st->is_stopped = false;
		http_client_stop(st->client, on_client_stopped, st);
		stage_run_until(st, &st->is_stopped);
	}
	if (st->server != NULL) {
		st->is_stopped = false;
		http_server_stop(st->server, on_server_stopped, st);
		stage_run_until(st, &st->is_stopped);
	}
	timer_cancel(&st->later);
	loop_fini(&st->loop);
	unlink(st->path);
	ck_assert_int_eq(rmdir(st->folder), 0);
}

struct errand {
	struct stage *st;
	play_fn play;
};

static void *run_errand(void *arg)
{
	struct errand *errand = arg;

	errand->play(errand->st);
	ck_assert_int_eq(write(errand->st->done_pipe[1], "d", 1), 1);
	return NULL;
}

struct request_of_thread {
	void (*fn)(struct stage *st);
	int done_fd;
};

static void on_done_pipe(void *arg, enum err status, enum watch_events events)
{
	struct stage *st = arg;
	char what;

	(void)status;
	(void)events;
	ck_assert_int_eq(read(st->done_pipe[0], &what, 1), 1);
	if (what == 'd') {
		watch_stop(st->done_watch);
		st->done_watch = NULL;
		loop_stop(&st->loop);
		return;
	}
	struct request_of_thread *r;

	ck_assert_int_eq(read(st->done_pipe[0], &r, sizeof(r)), sizeof(r));
	r->fn(st);
	ck_assert_int_eq(write(r->done_fd, "d", 1), 1);
}

void on_loop(struct stage *st, void (*fn)(struct stage *st))
{
	int ends[2];
	char what;

	ck_assert_int_eq(pipe(ends), 0);
	struct request_of_thread r = { .fn = fn, .done_fd = ends[1] };
	struct request_of_thread *p = &r;
	char message[1 + sizeof(p)] = { 'r' };

	memcpy(message + 1, &p, sizeof(p));
	ck_assert_int_eq(write(st->done_pipe[1], message, sizeof(message)), sizeof(message));
	ck_assert_int_eq(read(ends[0], &what, 1), 1);
	close(ends[0]);
	close(ends[1]);
}

void stage_play(struct stage *st, play_fn play)
{
	struct errand errand = { .st = st, .play = play };
	struct timer limit;
	pthread_t thread;

	ck_assert_int_eq(pipe(st->done_pipe), 0);
	ck_assert_int_eq(watch_start(&st->loop, st->done_pipe[0], WATCH_READ, on_done_pipe, st,
				 &st->done_watch),
		ERR_OK);
	timer_init(&limit, &st->loop, on_out_of_time);
	timer_after(&limit, 5 * DEADLINE_MS);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_errand, &errand), 0);
	loop_run(&st->loop);
	timer_cancel(&limit);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	close(st->done_pipe[0]);
	close(st->done_pipe[1]);
}

static void count_held(struct stage *st)
{
	*(unsigned *)st->extra = st->held_count;
}

static unsigned ask_held(struct stage *st)
{
	unsigned held = 0;
	void *extra = st->extra;

	st->extra = &held;
	on_loop(st, count_held);
	st->extra = extra;
	return held;
}

void wait_held(struct stage *st, unsigned count)
{
	uint64_t end_us = clock_mono_us() + DEADLINE_MS * 1000ull;

	while (ask_held(st) < count)
		ck_assert_msg(clock_mono_us() < end_us, "fewer than %u held", count);
}

void wait_not_held(struct stage *st)
{
	uint64_t end_us = clock_mono_us() + DEADLINE_MS * 1000ull;

	while (ask_held(st) > 0)
		ck_assert_msg(clock_mono_us() < end_us, "still held");
}

void nothing(struct stage *st)
{
	(void)st;
}

/* -- the blocking client ----------------------------------------------------------------- */

static void set_limits(int fd)
{
	struct timeval limit = { .tv_sec = DEADLINE_MS / 1000 };

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
}

int must_connect(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	set_limits(fd);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	ck_assert_msg(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0, "connect: %s",
		strerror(errno));
	return fd;
}

int must_connect_tcp(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	set_limits(fd);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

void must_send_bytes(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		ck_assert_msg(n > 0, "send: %s", strerror(errno));
		at += n;
		len -= (size_t)n;
	}
}

void must_send(int fd, const char *text)
{
	must_send_bytes(fd, text, strlen(text));
}

static long header_number(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);

	return at == NULL ? -1 : strtol(at + strlen(name), NULL, 10);
}

struct reply must_reply(int fd)
{
	struct reply r = { 0 };
	size_t len = 0;

	/* Byte by byte, so that what follows stays in the socket. */
	while (len < 4 || memcmp(r.head + len - 4, "\r\n\r\n", 4) != 0) {
		ssize_t n = recv(fd, r.head + len, 1, 0);

		if (len == sizeof(r.head) - 2)
			ck_abort_msg("a head without an end");

		if (n <= 0) {
			ck_assert_msg(n == 0 || errno == ECONNRESET, "no answer: %s",
				strerror(errno));
			ck_assert_uint_eq(len, 0);
			return r;
		}
		len++;
	}
	r.head[len] = '\0';
	ck_assert_int_eq(sscanf(r.head, "HTTP/1.1 %d", &r.status), 1);
	r.says_close = strcasestr(r.head, "\r\nConnection: close") != NULL;
	if (r.status == 100)
		return r;
	long body_len = header_number(r.head, "\r\nContent-Length: ");

	ck_assert_int_ge(body_len, 0);
	r.body_len = (size_t)body_len;
	r.body = calloc(1, r.body_len + 1);
	for (size_t got = 0; got < r.body_len;) {
		ssize_t n = recv(fd, r.body + got, r.body_len - got, 0);

		ck_assert_msg(n > 0, "answer cut short");
		got += (size_t)n;
	}
	return r;
}

void reply_free(struct reply *r)
{
	free(r->body);
	*r = (struct reply){ 0 };
}

void must_ask(int fd, const char *request, int status, const char *body)
{
	must_send(fd, request);
	struct reply r = must_reply(fd);

	ck_assert_int_eq(r.status, status);
	if (body != NULL)
		ck_assert_str_eq(r.body, body);
	reply_free(&r);
}

void must_get_problem(int fd, int status, const char *type)
{
	struct reply r = must_reply(fd);
	char member[128];

	ck_assert_int_eq(r.status, status);
	ck_assert_ptr_nonnull(strstr(r.head, "application/problem+json"));
	snprintf(member, sizeof(member), "\"type\":\"urn:sallyport:problem:%s\"", type);
	ck_assert_msg(strstr(r.body, member) != NULL, "not %s: %s", type, r.body);
	reply_free(&r);
}

void must_be_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "n=%zd %s", n,
		n < 0 ? strerror(errno) : "");
}

unsigned open_fds(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}
