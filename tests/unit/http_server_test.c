#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "http_help.h"
#include "unit.h"

#define HOST "Host: x\r\n"

static struct stage st;

static void setup(void)
{
	stage_open(&st);
}

static void teardown(void)
{
	stage_close(&st);
}

static const struct http_server_counters *counts(void)
{
	return http_server_counters(st.server);
}

/* -- what is asked, what is answered ----------------------------------------------------- */

static bool details_are_right;

static void on_detailed_request(void *arg, struct http_request *rq)
{
	struct span v;

	(void)arg;
	ck_assert_int_eq(http_request_method(rq), HTTP_PUT);
	ck_assert(span_is(http_request_path(rq), "/a b/\xc3\xbc"));
	ck_assert(http_request_query(rq, "first", &v) && span_is(v, "1 2"));
	ck_assert(http_request_query(rq, "empty", &v) && v.len == 0);
	ck_assert(!http_request_query(rq, "absent", &v) && v.len == 0);
	ck_assert(http_request_header(rq, "x-Thing", &v) && span_is(v, "yes"));
	ck_assert(!http_request_header(rq, "X-Absent", &v));
	ck_assert(span_is(http_request_body(rq), "body"));
	ck_assert_int_eq(http_request_peer(rq)->kind, PEER_UNIX);
	ck_assert_uint_eq(http_request_peer(rq)->uid, getuid());
	ck_assert_int_eq(http_request_peer(rq)->pid, getpid());
	details_are_right = true;
	const struct http_header headers[] = {
		{ "X-One", "1" },
		{ "X-Bad", "1\r\nX-Injected: 1" },
		{ "Retry-After", "3" },
	};

	http_request_answer(rq, &(struct http_answer){ .status = 202,
					.content_type = "application/json",
					.body = span_of("{}"),
					.headers = headers,
					.header_count = 3 });
}

static void play_details(struct stage *s)
{
	int fd = must_connect(s->path);

	must_send(fd, "PUT /a%20b/%C3%BC?first=1+2&empty=&none HTTP/1.1\r\n" HOST
		      "X-Thing: yes\r\nContent-Length: 4\r\n\r\nbody");
	struct reply r = must_reply(fd);

	ck_assert_int_eq(r.status, 202);
	ck_assert_str_eq(r.body, "{}");
	ck_assert_ptr_nonnull(strstr(r.head, "\r\nX-One: 1\r\n"));
	ck_assert_ptr_nonnull(strstr(r.head, "\r\nRetry-After: 3\r\n"));
	ck_assert_ptr_nonnull(strstr(r.head, "\r\nContent-Type: application/json\r\n"));
	ck_assert_ptr_null(strstr(r.head, "X-Injected"));
	ck_assert_ptr_null(strstr(r.head, "\r\nDate:"));
	ck_assert(!r.says_close);
	reply_free(&r);
	close(fd);
}

START_TEST(a_request_arrives_with_all_its_parts)
{
	stage_serve(&st, (struct http_server_config){ .on_request = on_detailed_request });
	stage_play(&st, play_details);
	ck_assert(details_are_right);
	ck_assert_uint_eq(counts()->requests, 1);
	ck_assert_uint_eq(counts()->answers, 1);
}
END_TEST

static void play_keep_alive(struct stage *s)
{
	int fd = must_connect(s->path);

	for (int i = 0; i < 100; i++) {
		must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
		must_ask(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
			200, "hello");
		must_ask(fd, "DELETE /later HTTP/1.1\r\n" HOST "\r\n", 200, "later");
	}
	must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 200, "GET /x");
	must_be_closed(fd);
	close(fd);
	fd = must_connect(s->path);
	must_ask(fd, "GET /x HTTP/1.0\r\n\r\n", 200, "GET /x");
	must_be_closed(fd);
	close(fd);
	fd = must_connect(s->path);
	must_ask(fd, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "GET /x");
	must_ask(fd, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "GET /x");
	close(fd);
}

START_TEST(a_connection_serves_many_requests)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_keep_alive);
	ck_assert_uint_eq(counts()->requests, 304);
	ck_assert_uint_eq(counts()->answers, 304);
	ck_assert_uint_eq(counts()->bad_request, 0);
	ck_assert_uint_eq(counts()->accepted, 3);
}
END_TEST

static void play_pipelined(struct stage *s)
{
	int fd = must_connect(s->path);

	must_send(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n"
		      "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\ntwo"
		      "GET /later HTTP/1.1\r\n" HOST "\r\n"
		      "GET /4 HTTP/1.1\r\n" HOST "\r\n");
	static const char *const bodies[] = { "later", "two", "later", "GET /4" };

	for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
		struct reply r = must_reply(fd);

		ck_assert_int_eq(r.status, 200);
		ck_assert_str_eq(r.body, bodies[i]);
		reply_free(&r);
	}
	close(fd);
}

START_TEST(requests_sent_at_once_are_answered_in_order)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_pipelined);
}
END_TEST

static void play_pieces(struct stage *s)
{
	const char *whole = "POST /echo HTTP/1.1\r\n" HOST
			    "Content-Length: 11\r\n\r\nhello world";
	const char *chunked = "POST /echo HTTP/1.1\r\n" HOST
			      "Transfer-Encoding: chunked\r\n\r\n"
			      "5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\n\r\n";
	int fd = must_connect(s->path);

	for (const char *p = whole; *p != '\0'; p++)
		must_send_bytes(fd, p, 1);
	must_ask(fd, "", 200, "hello world");
	for (const char *p = chunked; *p != '\0'; p++)
		must_send_bytes(fd, p, 1);
	must_ask(fd, "", 200, "hello world");
	must_ask(fd, chunked, 200, "hello world");
	must_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n"
		      "Content-Length: 2\r\n\r\n");
	struct reply r = must_reply(fd);

	ck_assert_int_eq(r.status, 100);
	reply_free(&r);
	must_ask(fd, "ok", 200, "ok");
	close(fd);
}

START_TEST(a_body_comes_whole_in_whatever_pieces_it_was_sent)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_pieces);
	ck_assert_uint_eq(counts()->requests, 4);
}
END_TEST

static unsigned wants_count;

static bool wants_echo(void *arg, struct http_request *rq)
{
	struct span value;

	(void)arg;
	wants_count++;
	ck_assert_int_eq(http_request_method(rq), HTTP_POST);
	ck_assert(http_request_header(rq, "Expect", &value));
	ck_assert_int_eq(http_request_peer(rq)->kind, PEER_UNIX);
	return span_is(http_request_path(rq), "/echo");
}

static void on_wanted(void *arg, struct http_request *rq)
{
	(void)arg;
	if (span_is(http_request_path(rq), "/echo"))
		http_request_answer(rq,
			&(struct http_answer){ .status = 200, .body = http_request_body(rq) });
	else
		http_request_answer_problem(rq, &(struct problem){ .type = PROBLEM_NOT_FOUND });
}

static void play_unwanted(struct stage *s)
{
	static const char *const heads[] = { "Content-Length: 5\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n" };
	static const char *const bodies[] = { "hello", "5\r\nhello\r\n0\r\n\r\n" };
	char text[256];

	for (size_t i = 0; i < ARRAY_COUNT(heads); i++) {
		int fd = must_connect(s->path);

		snprintf(text, sizeof(text),
			"POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n%s", heads[i]);
		must_send(fd, text);
		struct reply r = must_reply(fd);

		ck_assert_int_eq(r.status, 100);
		reply_free(&r);
		must_ask(fd, bodies[i], 200, "hello");
		/* The answer comes at once, whether the body does or not. */
		snprintf(text, sizeof(text),
			"POST /nope HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n%s", heads[i]);
		must_send(fd, text);
		must_get_problem(fd, 404, "not-found");
		must_be_closed(fd);
		close(fd);
		fd = must_connect(s->path);
		must_send(fd, text);
		must_send_bytes(fd, bodies[i], strlen(bodies[i]) / 2);
		must_get_problem(fd, 404, "not-found");
		must_be_closed(fd);
		close(fd);
	}
}

START_TEST(a_body_that_nobody_wants_is_not_asked_for)
{
	wants_count = 0;
	stage_serve(&st, (struct http_server_config){
				 .on_request = on_wanted, .wants_body = wants_echo });
	stage_play(&st, play_unwanted);
	ck_assert_uint_eq(wants_count, 6);
	ck_assert_uint_eq(counts()->requests, 6);
	ck_assert_uint_eq(counts()->answers, 6);
}
END_TEST

static void play_large(struct stage *s)
{
	enum { LARGE = 1024 * 1024 };
	char head[128];
	char *body = malloc(LARGE);
	int fd = must_connect(s->path);

	memset(body, 'y', LARGE);
	snprintf(head, sizeof(head),
		"POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", LARGE);
	must_send(fd, head);
	must_send_bytes(fd, body, LARGE);
	struct reply r = must_reply(fd);

	ck_assert_int_eq(r.status, 200);
	ck_assert_uint_eq(r.body_len, LARGE);
	ck_assert_int_eq(memcmp(r.body, body, LARGE), 0);
	reply_free(&r);
	free(body);
	must_ask(fd, "GET /size/10000000 HTTP/1.1\r\n" HOST "\r\n", 200, NULL);
	close(fd);
}

START_TEST(large_bodies_cross_both_ways)
{
	stage_serve(&st, (struct http_server_config){ .max_body_bytes = MIB(1) });
	stage_play(&st, play_large);
}
END_TEST

static void play_half_close(struct stage *s)
{
	/* The library spoils its oldest connection; ours shall be like all others. */
	int oldest = must_connect(s->path);

	must_ask(oldest, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	int fd = must_connect(s->path);

	must_send(fd, "GET /now HTTP/1.1\r\n" HOST "\r\n");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	must_ask(fd, "", 200, "GET /now");
	must_be_closed(fd);
	close(fd);
	fd = must_connect(s->path);
	must_send(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	wait_held(s, 1);
	on_loop(s, release_all);
	must_ask(fd, "", 200, "released");
	must_be_closed(fd);
	close(fd);
	close(oldest);
}

START_TEST(a_client_that_closed_its_sending_half_gets_its_answer)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_half_close);
	ck_assert_uint_eq(counts()->answers, 3);
}
END_TEST

/* -- bad input --------------------------------------------------------------------------- */

static const struct {
	const char *request;
	int status;
	const char *type;
} bad[] = {
	{ "PATCH * HTTP/1.1\r\n" HOST "\r\n", 405, "wrong-method" },
	{ "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 405, "wrong-method" },
	{ "GET / HTTP/1.1\r\n\r\n", 400, "bad-request" },
	{ "GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400, "bad-request" },
	{ "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400, "bad-request" },
	{ "GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400, "bad-request" },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501, "unsupported" },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400, "bad-request" },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 1x\r\n\r\nx", 400, "bad-request" },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 413, "payload-too-large" },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n", 413,
		"payload-too-large" },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400,
		"bad-request" },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400,
		"bad-request" },
	{ "GARBAGE\r\n\r\n", 400, "bad-request" },
	{ "\x16\x03\x01\x02\x01", 400, "bad-request" },
	{ "GET / HTTP/2.0\r\n\r\n", 505, "wrong-version" },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "wrong-version" },
	{ "GET /\r\n", 400, "bad-request" },
};

/* Exactly one answer, and then the end. */
static void must_be_refused_with(int fd, int status, const char *type, const char *limit)
{
	struct reply r = must_reply(fd);
	char member[128];

	ck_assert_int_eq(r.status, status);
	ck_assert_ptr_nonnull(strstr(r.head, "\r\nContent-Type: application/problem+json\r\n"));
	ck_assert(r.says_close);
	ck_assert_int_eq(strstr(r.head, "\r\nAllow: ") != NULL, status == 405);
	snprintf(member, sizeof(member), "\"type\":\"urn:sallyport:problem:%s\"", type);
	ck_assert_ptr_nonnull(strstr(r.body, member));
	if (limit != NULL)
		ck_assert_msg(strstr(r.body, limit) != NULL, "no \"%s\": %s", limit, r.body);
	reply_free(&r);
	must_be_closed(fd);
}

static void must_be_refused(int fd, int status, const char *type)
{
	must_be_refused_with(fd, status, type, NULL);
}

/* All that comes until the end is a head. */
static void must_get_head(
	struct stage *s, const char *request, const char *begins, const char *has)
{
	int fd = must_connect(s->path);
	char text[1024] = { 0 };

	must_send(fd, request);
	ck_assert_int_gt(recv(fd, text, sizeof(text) - 1, MSG_WAITALL), 0);
	ck_assert_int_eq(strncmp(text, begins, strlen(begins)), 0);
	ck_assert_ptr_nonnull(strstr(text, has));
	ck_assert_str_eq(strstr(text, "\r\n\r\n"), "\r\n\r\n");
	close(fd);
}

static void play_bad(struct stage *s)
{
	int fd;

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		fd = must_connect(s->path);
		must_send(fd, bad[i].request);
		must_be_refused(fd, bad[i].status, bad[i].type);
		close(fd);
		/* Likewise on a connection that has been served. */
		fd = must_connect(s->path);
		must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
		must_send(fd, bad[i].request);
		must_be_refused(fd, bad[i].status, bad[i].type);
		close(fd);
	}
	/* The answer to a HEAD has no body. */
	must_get_head(s, "HEAD * HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 400 ", "");
	must_get_head(s, "HEAD /x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
		"HTTP/1.1 200 ", "\r\nContent-Length: 6\r\n");
	/* One that is cut off is told so, if it still listens. */
	fd = must_connect(s->path);
	must_send(fd, "GET / HTTP/1.1\r\n");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	must_be_refused(fd, 400, "bad-request");
	close(fd);
}

START_TEST(what_is_malformed_is_refused_by_name)
{
	stage_serve(&st, (struct http_server_config){ .max_body_bytes = 1000 });
	stage_play(&st, play_bad);
	ck_assert_uint_eq(counts()->requests, ARRAY_COUNT(bad) + 1);
	ck_assert_uint_eq(counts()->bad_method, 2 * 2);
	ck_assert_uint_eq(counts()->body_too_large, 2 * 2);
	ck_assert_uint_eq(counts()->bad_request, 2 * 14 + 1 + 1);
}
END_TEST

static void on_request_other_method(void *arg, struct http_request *rq)
{
	const struct problem problem = { .type = PROBLEM_WRONG_METHOD };

	(void)arg;
	http_request_allow(rq, "PUT");
	http_request_answer_problem(rq, &problem);
}

static void play_other_method(struct stage *s)
{
	int fd = must_connect(s->path);

	must_send(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n");
	struct reply r = must_reply(fd);

	ck_assert_int_eq(r.status, 405);
	ck_assert_ptr_nonnull(strstr(r.head, "\r\nAllow: PUT\r\n"));
	ck_assert(!r.says_close);
	reply_free(&r);
	must_send(fd, "BREW /x HTTP/1.1\r\n" HOST "\r\n");
	r = must_reply(fd);
	ck_assert_int_eq(r.status, 405);
	ck_assert_ptr_nonnull(strstr(r.head, "\r\nAllow: PUT\r\n"));
	reply_free(&r);
	close(fd);
}

START_TEST(the_owner_says_which_method_is_right)
{
	stage_serve(&st, (struct http_server_config){ .on_request = on_request_other_method });
	stage_play(&st, play_other_method);
	ck_assert_uint_eq(counts()->bad_method, 2);
}
END_TEST

static void play_too_large(struct stage *s)
{
	static const struct {
		const char *before;
		const char *after;
		size_t len;
		int status;
		const char *type;
	} heads[] = {
		{ "GET / HTTP/1.1\r\n" HOST "X: ", "\r\n\r\n", 1500, 431, "headers-too-large" },
		{ "GET /", " HTTP/1.1\r\n" HOST "\r\n", 1500, 414, "path-too-long" },
		{ "GET / HTTP/1.1\r\n" HOST "X: ", "\r\n\r\n", 400000, 431,
			"headers-too-large" },
		{ "GET /", " HTTP/1.1\r\n" HOST "\r\n", 400000, 414, "path-too-long" },
	};
	char *text = malloc(400000);
	int fd;

	ck_assert_ptr_nonnull(text);
	memset(text, 'z', 400000);
	/* Far more than a socket takes at once: it is let by, so that the answer is read. */
	for (size_t i = 0; i < ARRAY_COUNT(heads); i++) {
		fd = must_connect(s->path);
		must_send(fd, heads[i].before);
		must_send_bytes(fd, text, heads[i].len);
		must_send(fd, heads[i].after);
		must_be_refused_with(fd, heads[i].status, heads[i].type,
			"\"detail\":\"request line and headers have at most 1 KiB\"");
		close(fd);
	}
	fd = must_connect(s->path);
	must_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 400000\r\n\r\n");
	must_send_bytes(fd, text, 400000);
	must_be_refused_with(
		fd, 413, "payload-too-large", "\"detail\":\"a body has at most 1000 bytes\"");
	close(fd);

	/* A chunked body says its size only as it comes. */
	fd = must_connect(s->path);
	must_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		      "200\r\n");
	must_send_bytes(fd, text, 512);
	must_send(fd, "\r\n200\r\n");
	must_send_bytes(fd, text, 512);
	must_be_refused(fd, 413, "payload-too-large");
	close(fd);
	free(text);
	fd = must_connect(s->path);
	must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	close(fd);
}

START_TEST(what_is_too_large_is_refused_by_name)
{
	stage_serve(&st, (struct http_server_config){
				 .max_header_bytes = 1024, .max_body_bytes = 1000 });
	stage_play(&st, play_too_large);
	ck_assert_uint_eq(counts()->requests, 1);
	ck_assert_uint_eq(counts()->head_too_large, 4);
	ck_assert_uint_eq(counts()->body_too_large, 2);
}
END_TEST

/* -- time -------------------------------------------------------------------------------- */

static void play_slow(struct stage *s)
{
	int half = must_connect(s->path);
	int silent = must_connect(s->path);
	int half_line = must_connect(s->path);
	uint64_t begin_us = clock_mono_us();

	must_send(half, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell");
	must_send(half_line, "POST /ec");
	must_get_problem(half, 408, "slow-request");
	ck_assert_uint_ge(clock_mono_us() - begin_us, 99 * 1000);
	must_be_closed(half);
	must_get_problem(silent, 408, "slow-request");
	must_get_problem(half_line, 408, "slow-request");
	ck_assert_uint_ge(clock_mono_us() - begin_us, 199 * 1000);
	close(half);
	close(silent);
	close(half_line);

	/* A kept connection ends without a word. */
	int idle = must_connect(s->path);

	must_ask(idle, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	must_be_closed(idle);
	close(idle);

	/* A byte now and then does not help. */
	int trickle = must_connect(s->path);
	const char *text = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 50\r\n\r\n";
	struct timeval pause = { .tv_usec = 20 * 1000 };
	char byte;

	must_send(trickle, text);
	begin_us = clock_mono_us();
	setsockopt(trickle, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof(pause));
	while (recv(trickle, &byte, 1, MSG_PEEK) < 0) {
		send(trickle, "x", 1, MSG_NOSIGNAL);
		ck_assert_uint_lt(clock_mono_us() - begin_us, 5 * 1000 * 1000);
	}
	must_get_problem(trickle, 408, "slow-request");
	close(trickle);
}

START_TEST(whoever_is_slow_is_told_and_closed)
{
	stage_serve(&st, (struct http_server_config){
				 .request_timeout_ms = 100, .idle_timeout_ms = 200 });
	stage_play(&st, play_slow);
	ck_assert_uint_eq(counts()->slow, 4);
	ck_assert_uint_eq(counts()->idle_closed, 1);
	ck_assert_uint_eq(counts()->open_count, 0);
}
END_TEST

static void play_stuck(struct stage *s)
{
	int fd = must_connect(s->path);
	char bytes[65536];
	size_t got = 0;
	ssize_t n;

	must_send(fd, "GET /size/10000000 HTTP/1.1\r\n" HOST "\r\n");
	int good = must_connect(s->path);

	must_ask(good, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	must_be_closed(good); /* after the idle time-out, which fd's lies before */
	while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		got += (size_t)n;
	ck_assert_uint_lt(got, 10000000);
	close(fd);
	close(good);
}

START_TEST(an_answer_left_unread_is_given_up)
{
	stage_serve(&st, (struct http_server_config){ .idle_timeout_ms = 200 });
	stage_play(&st, play_stuck);
	ck_assert_uint_eq(counts()->idle_closed, 2);
}
END_TEST

/* -- crowds ------------------------------------------------------------------------------ */

static long anonymous_kib(void)
{
	char line[256];
	long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "RssAnon: %ld", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

enum { CROWD = 300, HALF_BYTES = 50000 };

static void play_large_crowd(struct stage *s)
{
	static const char head[] = "POST /echo HTTP/1.1\r\n" HOST
				   "Content-Length: 60000\r\n\r\n";
	static char half[HALF_BYTES];
	int fds[CROWD];

	for (int i = 0; i < CROWD; i++) {
		fds[i] = must_connect(s->path);
		must_send(fds[i], head);
		must_send_bytes(fds[i], half, sizeof(half));
	}
	/* Answered after all that was sent before has been read. */
	int fd = must_connect(s->path);

	must_ask(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n", 200, "later");
	must_ask(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n", 200, "later");
	*(long *)s->extra = anonymous_kib();
	for (int i = 0; i < CROWD; i++)
		close(fds[i]);
	must_ask(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n", 200, "later");
	must_ask(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n", 200, "later");
	close(fd);
}

START_TEST(a_crowd_leaves_no_memory_behind)
{
	long crowded_kib = 0;

	stage_serve(&st, (struct http_server_config){ .max_connections = CROWD + 1 });
	long before_kib = anonymous_kib();

	st.extra = &crowded_kib;
	stage_play(&st, play_large_crowd);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	ck_assert_int_gt(crowded_kib, before_kib + CROWD * HALF_BYTES / 1024);
	ck_assert_int_lt(anonymous_kib(), before_kib + 2048); /* the last few of it */
#endif
	(void)before_kib;
}
END_TEST

static void close_then_release(struct stage *s)
{
	close(*(int *)s->extra);
	release_all(s);
}

static void play_vanish_then_answer(struct stage *s)
{
	int fd = must_connect(s->path);

	must_send(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	wait_held(s, 1);
	s->extra = &fd;
	on_loop(s, close_then_release);
	fd = must_connect(s->path);
	must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	close(fd);
}

START_TEST(answering_a_client_that_vanished_is_harmless)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_vanish_then_answer);
	/* Its owner had answered before anybody noticed. */
	ck_assert_uint_eq(st.gone_count, 0);
	ck_assert_uint_eq(counts()->gone, 1);
	ck_assert_uint_eq(counts()->answers, 1);
}
END_TEST

static void play_descriptors(struct stage *s)
{
	struct rlimit old;
	int fds[64];
	int count = 0;
	int fd = must_connect(s->path);

	must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	/* Connected while there are descriptors, accepted when there are none. */
	int late = socket(AF_UNIX, SOCK_STREAM, 0);
	struct rlimit low = { .rlim_cur = (rlim_t)late + 1, .rlim_max = old.rlim_max };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (count < 64 && (fds[count] = dup(fd)) >= 0)
		count++;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 20 };

	setsockopt(late, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", s->path);
	ck_assert_int_eq(connect(late, (struct sockaddr *)&at, sizeof(at)), 0);
	must_get_problem(late, 503, "overloaded");
	must_be_closed(late);
	must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	while (count > 0)
		close(fds[--count]);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(late);
	late = must_connect(s->path);
	must_ask(late, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	close(late);
	close(fd);
}

START_TEST(without_descriptors_the_new_client_is_told_and_the_old_ones_are_served)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_descriptors);
	ck_assert_uint_eq(counts()->refused_fds, 1);
}
END_TEST

/* -- who may ------------------------------------------------------------------------------ */

enum { STRANGE_UID = 65533, STRANGE_GID = 65532, KNOWN_GID = 65531 };

/* In a process of another user. Returns its exit status: 0 served, 1 refused by name. */
static int ask_as(const char *path, uid_t uid, gid_t extra_gid)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (setgroups(extra_gid == 0 ? 0 : 1, &extra_gid) != 0 ||
			setgid(STRANGE_GID) != 0 || setuid(uid) != 0)
			_exit(9);
		int fd = must_connect(path);
		char text[512] = { 0 };

		must_send(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n");
		if (recv(fd, text, sizeof(text) - 1, 0) <= 0)
			_exit(8);
		_exit(strncmp(text, "HTTP/1.1 200", 12) == 0     ? 0
			: strncmp(text, "HTTP/1.1 403", 12) == 0 ? 1
								 : 7);
	}
	int status = 0;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void play_peers(struct stage *s)
{
	chmod(s->folder, 0755);
	ck_assert_int_eq(ask_as(s->path, STRANGE_UID, 0), 0);
	ck_assert_int_eq(ask_as(s->path, STRANGE_UID + 1, 0), 1);
	ck_assert_int_eq(ask_as(s->path, STRANGE_UID + 1, KNOWN_GID), 0);
	int fd = must_connect(s->path); /* root always may */

	must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	close(fd);
}

START_TEST(only_the_users_and_groups_allowed_may_speak)
{
	const uid_t uids[] = { STRANGE_UID };
	const gid_t gids[] = { KNOWN_GID };

	if (geteuid() != 0)
		return; /* only root can become somebody else */
	stage_serve(&st, (struct http_server_config){ .socket = { .mode = 0666 },
				 .allowed_uids = uids,
				 .allowed_uid_count = 1,
				 .allowed_gids = gids,
				 .allowed_gid_count = 1 });
	stage_play(&st, play_peers);
	ck_assert_uint_eq(counts()->refused_peer, 1);
}
END_TEST

static void allow_another(struct stage *s)
{
	const uid_t uids[] = { STRANGE_UID + 1 };

	ck_assert_int_eq(http_server_allow_uids(s->server, uids, 1), ERR_OK);
}

static void allow_all(struct stage *s)
{
	ck_assert_int_eq(http_server_allow_uids(s->server, NULL, 0), ERR_OK);
}

static void play_changing_peers(struct stage *s)
{
	chmod(s->folder, 0755);
	ck_assert_int_eq(ask_as(s->path, STRANGE_UID, 0), 0);
	on_loop(s, allow_another);
	ck_assert_int_eq(ask_as(s->path, STRANGE_UID, 0), 1);
	ck_assert_int_eq(ask_as(s->path, STRANGE_UID + 1, 0), 0);
	on_loop(s, allow_all);
	ck_assert_int_eq(ask_as(s->path, STRANGE_UID, 0), 0);
}

START_TEST(who_may_speak_can_change)
{
	const uid_t uids[] = { STRANGE_UID };

	if (geteuid() != 0)
		return; /* only root can become somebody else */
	stage_serve(&st, (struct http_server_config){ .socket = { .mode = 0666 },
				 .allowed_uids = uids,
				 .allowed_uid_count = 1 });
	stage_play(&st, play_changing_peers);
}
END_TEST

static void play_loopback(struct stage *s)
{
	uint16_t port = http_server_loopback_port(s->server);
	int fd = must_connect_tcp(port);

	must_ask(fd, "GET /x HTTP/1.1\r\nHost: localhost:80\r\n\r\n", 200, "GET /x");
	must_ask(fd, "GET /later HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200, "later");
	must_send(fd, "GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	must_get_problem(fd, 421, "misdirected");
	must_be_closed(fd);
	close(fd);
}

START_TEST(the_loopback_listener_answers_only_to_its_own_name)
{
	stage_serve(&st, (struct http_server_config){ .has_loopback = true });
	ck_assert_uint_gt(http_server_loopback_port(st.server), 0);
	stage_play(&st, play_loopback);

	struct http_server *second = NULL;
	struct http_server_config same = { .has_loopback = true,
		.loopback_port = http_server_loopback_port(st.server),
		.on_request = on_detailed_request };

	ck_assert_int_eq(http_server_start(&st.loop, &same, &second), ERR_BUSY);
}
END_TEST

/* -- the socket file ----------------------------------------------------------------------- */

static void must_start(struct http_server_config config, enum err expected)
{
	struct http_server *server = NULL;

	config.on_request = on_detailed_request;
	ck_assert_int_eq(http_server_start(&st.loop, &config, &server), expected);
}

START_TEST(a_dead_daemons_socket_is_replaced_and_a_live_ones_never)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct stat info;
	int dead = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", st.path);
	ck_assert_int_eq(bind(dead, (struct sockaddr *)&at, sizeof(at)), 0);
	close(dead);
	mode_t umask_before = umask(0077);

	stage_serve(&st, (struct http_server_config){ 0 });
	umask(umask_before);
	ck_assert_int_eq(lstat(st.path, &info), 0);
	ck_assert_uint_eq(info.st_mode & 07777, 0660);
	must_start((struct http_server_config){ .socket = { .path = st.path } }, ERR_BUSY);
	ck_assert_int_eq(access(st.path, F_OK), 0);
}
END_TEST

START_TEST(a_socket_gets_its_mode_and_group)
{
	struct stat info;

	stage_serve(&st, (struct http_server_config){ .socket = { .mode = 0600,
							      .has_group = geteuid() == 0,
							      .group = KNOWN_GID } });
	ck_assert_int_eq(lstat(st.path, &info), 0);
	ck_assert_uint_eq(info.st_mode & 07777, 0600);
	if (geteuid() == 0)
		ck_assert_uint_eq(info.st_gid, KNOWN_GID);
}
END_TEST

/* What the log says while a server fails to start there. */
static void must_start_with_word(const char *path, enum err expected, const char *word)
{
	char said[1024] = { 0 };
	int ends[2];
	int old = dup(STDERR_FILENO);

	ck_assert_int_ge(old, 0);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	must_start((struct http_server_config){ .socket = { .path = path } }, expected);
	ck_assert_int_ge(dup2(old, STDERR_FILENO), 0);
	close(old);
	close(ends[1]);
	ck_assert_int_gt(read(ends[0], said, sizeof(said) - 1), 0);
	close(ends[0]);
	ck_assert_msg(strstr(said, word) != NULL, "not \"%s\": %s", word, said);
	/* Once, and nothing else. */
	ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
}

START_TEST(what_is_no_socket_is_left_alone_and_called_by_its_name)
{
	char missing[160];
	char long_path[256];
	struct stat info;
	int fd = open(st.path, O_CREAT | O_WRONLY, 0600);

	ck_assert_int_ge(fd, 0);
	close(fd);
	must_start_with_word(st.path, ERR_BUSY, "a plain file");
	ck_assert_int_eq(lstat(st.path, &info), 0);
	ck_assert_int_eq(unlink(st.path), 0);
	ck_assert_int_eq(symlink("/nowhere", st.path), 0);
	must_start_with_word(st.path, ERR_BUSY, "a symbolic link");
	ck_assert_int_eq(lstat(st.path, &info), 0);
	ck_assert_int_eq(unlink(st.path), 0);
	ck_assert_int_eq(mkfifo(st.path, 0600), 0);
	must_start_with_word(st.path, ERR_BUSY, "no socket");
	ck_assert_int_eq(lstat(st.path, &info), 0);
	must_start_with_word(st.folder, ERR_BUSY, "a folder");
	snprintf(missing, sizeof(missing), "%s/no/api.sock", st.folder);
	must_start_with_word(missing, ERR_NOT_FOUND, "not found");
	snprintf(long_path, sizeof(long_path), "%s/%0150d", st.folder, 1);
	must_start_with_word(long_path, ERR_INPUT, "1 to 107 bytes");
}
END_TEST

START_TEST(without_descriptors_for_itself_the_server_says_how_many_there_are)
{
	struct rlimit old;
	char word[64];

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	/* Three are needed to catch what is said: none is left for the socket. */
	int next = dup(STDERR_FILENO);

	close(next);
	struct rlimit low = { .rlim_cur = (rlim_t)next + 3, .rlim_max = old.rlim_max };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	snprintf(word, sizeof(word), "no file descriptor is left of %d", next + 3);
	must_start_with_word(st.path, ERR_FULL, word);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
}
END_TEST

START_TEST(a_file_that_became_somebody_elses_is_not_removed)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	ck_assert_int_eq(unlink(st.path), 0);
	int fd = open(st.path, O_CREAT | O_WRONLY, 0600);

	ck_assert_int_ge(fd, 0);
	close(fd);
	http_server_stop(st.server, NULL, NULL);
	st.server = NULL;
	while (st.loop.open_count > 0)
		uv_run(&st.loop.uv, UV_RUN_ONCE);
	ck_assert_int_eq(access(st.path, F_OK), 0);
}
END_TEST

/* -- the end ------------------------------------------------------------------------------- */

static void on_drained(void *arg)
{
	struct stage *s = arg;

	s->is_drained = true;
}

static void drain(struct stage *s)
{
	http_server_drain(s->server, 10 * 1000, on_drained, s);
}

static void must_reply_last(int fd, const char *body)
{
	struct reply r = must_reply(fd);

	ck_assert_int_eq(r.status, 200);
	ck_assert_str_eq(r.body, body);
	ck_assert(r.says_close);
	reply_free(&r);
	must_be_closed(fd);
}

static void play_drain(struct stage *s)
{
	int held = must_connect(s->path);
	int idle = must_connect(s->path);
	int silent = must_connect(s->path);
	int half = must_connect(s->path);

	must_send(held, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	wait_held(s, 1);
	must_ask(idle, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	must_send(half, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel");
	must_ask(idle, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");

	/* Accepted by the kernel, asked, and not seen by the server yet: it is served. */
	int late = must_connect(s->path);

	must_send(late, "GET /late HTTP/1.1\r\n" HOST "\r\n");
	on_loop(s, drain);
	must_ask(late, "", 200, "GET /late");

	/* As long as one is held, whoever comes or comes again is answered, once. */
	must_send(idle, "GET /x HTTP/1.1\r\n" HOST "\r\n");
	must_reply_last(idle, "GET /x");
	int fresh = must_connect(s->path);

	must_send(fresh, "GET /fresh HTTP/1.1\r\n" HOST "\r\n");
	must_reply_last(fresh, "GET /fresh");
	ck_assert(!s->is_drained);

	/* Then the doors close, and who is in the middle of a request may end it. */
	on_loop(s, release_all);
	struct reply r = must_reply(held);

	ck_assert_int_eq(r.status, 200);
	ck_assert(r.says_close);
	reply_free(&r);
	must_be_closed(held);
	must_be_closed(silent);
	must_be_closed(late);
	ck_assert_int_ne(access(s->path, F_OK), 0);
	ck_assert(!s->is_drained);
	must_send(half, "lo");
	must_reply_last(half, "hello");
	close(held);
	close(idle);
	close(silent);
	close(half);
	close(late);
	close(fresh);
}

START_TEST(draining_answers_as_long_as_a_request_is_held)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_drain);
	stage_run_until(&st, &st.is_drained);
	ck_assert_uint_eq(counts()->open_count, 0);
	ck_assert_uint_eq(counts()->requests, 7);
}
END_TEST

static void play_hold_one(struct stage *s)
{
	int fd = must_connect(s->path);

	*(int *)s->extra = fd;
	must_send(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	void *extra = s->extra;

	wait_held(s, 1);
	s->extra = extra;
}

START_TEST(draining_ends_at_its_deadline)
{
	int fd = -1;

	st.extra = &fd;
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_hold_one);
	uint64_t begin_us = clock_mono_us();

	http_server_drain(st.server, 50, on_drained, &st);
	stage_run_until(&st, &st.is_drained);
	ck_assert_uint_ge(clock_mono_us() - begin_us, 49 * 1000); /* the loop counts whole ms */
	ck_assert_uint_eq(st.gone_count, 0);
	close(fd);
}
END_TEST

START_TEST(draining_a_server_without_clients_ends_at_once)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	http_server_drain(st.server, 10 * 1000, on_drained, &st);
	ck_assert(!st.is_drained);
	uint64_t begin_us = clock_mono_us();

	stage_run_until(&st, &st.is_drained);
	ck_assert_uint_lt(clock_mono_us() - begin_us, 1000 * 1000);
}
END_TEST

START_TEST(stopping_tells_the_owners_of_held_requests)
{
	int fd = -1;

	st.extra = &fd;
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_hold_one);
	stage_close(&st);
	ck_assert_uint_eq(st.gone_count, 1);
	ck_assert_int_eq(st.gone_reason, ERR_CANCEL);
	must_be_closed(fd);
	close(fd);
	stage_open(&st); /* for teardown */
}
END_TEST

static void on_request_stop(void *arg, struct http_request *rq)
{
	struct stage *s = arg;

	stage_answer(rq, 200, "bye");
	http_server_stop(s->server, NULL, NULL);
	s->server = NULL;
}

static void play_stop_inside(struct stage *s)
{
	int fd = must_connect(s->path);

	must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "bye");
	must_be_closed(fd);
	close(fd);
}

START_TEST(the_server_may_be_stopped_from_inside_a_request)
{
	stage_serve(
		&st, (struct http_server_config){ .on_request = on_request_stop, .arg = &st });
	stage_play(&st, play_stop_inside);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http_server");
	TCase *tc = tcase_create("http_server");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_request_arrives_with_all_its_parts);
	tcase_add_test(tc, a_connection_serves_many_requests);
	tcase_add_test(tc, requests_sent_at_once_are_answered_in_order);
	tcase_add_test(tc, a_body_that_nobody_wants_is_not_asked_for);
	tcase_add_test(tc, a_body_comes_whole_in_whatever_pieces_it_was_sent);
	tcase_add_test(tc, large_bodies_cross_both_ways);
	tcase_add_test(tc, a_client_that_closed_its_sending_half_gets_its_answer);
	tcase_add_test(tc, what_is_malformed_is_refused_by_name);
	tcase_add_test(tc, the_owner_says_which_method_is_right);
	tcase_add_test(tc, what_is_too_large_is_refused_by_name);
	tcase_add_test(tc, whoever_is_slow_is_told_and_closed);
	tcase_add_test(tc, an_answer_left_unread_is_given_up);
	tcase_add_test(tc, a_crowd_leaves_no_memory_behind);
	tcase_add_test(tc, answering_a_client_that_vanished_is_harmless);
	tcase_add_test(
		tc, without_descriptors_the_new_client_is_told_and_the_old_ones_are_served);
	tcase_add_test(tc, only_the_users_and_groups_allowed_may_speak);
	tcase_add_test(tc, who_may_speak_can_change);
	tcase_add_test(tc, the_loopback_listener_answers_only_to_its_own_name);
	tcase_add_test(tc, a_dead_daemons_socket_is_replaced_and_a_live_ones_never);
	tcase_add_test(tc, a_socket_gets_its_mode_and_group);
	tcase_add_test(tc, what_is_no_socket_is_left_alone_and_called_by_its_name);
	tcase_add_test(tc, without_descriptors_for_itself_the_server_says_how_many_there_are);
	tcase_add_test(tc, a_file_that_became_somebody_elses_is_not_removed);
	tcase_add_test(tc, draining_answers_as_long_as_a_request_is_held);
	tcase_add_test(tc, draining_ends_at_its_deadline);
	tcase_add_test(tc, draining_a_server_without_clients_ends_at_once);
	tcase_add_test(tc, stopping_tells_the_owners_of_held_requests);
	tcase_add_test(tc, the_server_may_be_stopped_from_inside_a_request);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
