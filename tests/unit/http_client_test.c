#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "http_help.h"

/* -- where handlers answer ----------------------------------------------------------------- */

START_TEST(a_target_is_a_unix_socket_or_this_machine)
{
	static const struct {
		const char *text;
		const char *socket_path;
		const char *host;
		const char *base;
		const char *shown;
	} fine[] = {
		{ "http+unix:///run/h.sock", "/run/h.sock", "localhost", "", "/run/h.sock" },
		{ "http://127.0.0.1:8080", "", "127.0.0.1:8080", "", "127.0.0.1:8080" },
		{ "http://127.0.0.1:8080/", "", "127.0.0.1:8080", "", "127.0.0.1:8080" },
		{ "http://[::1]:1/a/b/", "", "[::1]:1", "/a/b", "[::1]:1" },
		{ "http://localhost:65535/x", "", "localhost:65535", "/x", "localhost:65535" },
	};
	static const char *const wrong[] = { "", "http", "https://127.0.0.1:1", "http://",
		"http://127.0.0.1", "http://127.0.0.1:", "http://127.0.0.1:0",
		"http://127.0.0.1:65536", "http://127.0.0.1:8o",
		"http://127.0.0.1.evil.example:80", "http://127.0.0.1@evil.example:80",
		"http://localhost.evil.example:80", "http://example.com:80",
		"http://10.0.0.1:80", "http://[::2]:80", "http://user@localhost:80",
		"http://127.0.0.1:80/a b", "http://127.0.0.1:80/?x", "http://127.0.0.1:80/#x",
		"http+unix://run/h.sock", "http+unix://", "http+unix:/run/h.sock",
		"http+unix:///", "http+unix:///run/", "unix:/run/h.sock",
		"http://0x7f000001:80" };
	struct http_target t;
	const char *why;

	for (size_t i = 0; i < ARRAY_COUNT(fine); i++) {
		ck_assert_int_eq(http_target_parse(span_of(fine[i].text), &t, &why), ERR_OK);
		ck_assert_str_eq(t.place.socket_path, fine[i].socket_path);
		ck_assert_str_eq(t.host, fine[i].host);
		ck_assert_str_eq(t.base, fine[i].base);
		ck_assert_str_eq(http_place_format(&t.place).at, fine[i].shown);
		ck_assert(http_place_equals(&t.place, &t.place));
	}
	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		why = NULL;
		ck_assert_msg(http_target_parse(span_of(wrong[i]), &t, &why) == ERR_INPUT,
			"%s was taken", wrong[i]);
		ck_assert_ptr_nonnull(why);
	}
	ck_assert_int_eq(
		http_target_parse(span_of("http://localhost.evil.example:80"), &t, &why),
		ERR_INPUT);
	ck_assert_ptr_nonnull(strstr(why, "on this machine only"));
	char long_path[200];

	snprintf(long_path, sizeof(long_path), "http+unix:///%0107d", 1);
	ck_assert_int_eq(http_target_parse(span_of(long_path), &t, &why), ERR_INPUT);
	snprintf(long_path, sizeof(long_path), "http+unix:///%0106d", 1);
	ck_assert_int_eq(http_target_parse(span_of(long_path), &t, &why), ERR_OK);
}
END_TEST

/* -- the stage: client in the loop's thread, a scripted handler in another -------------------
 */

static struct stage st;
static struct http_target target;

/* One call, and what came of it (copied: results are borrowed). */
struct asked {
	struct http_call call;
	bool is_done;
	enum err status;
	bool was_sent;
	unsigned http_status;
	bool has_retry_after;
	uint64_t retry_after_ms;
	char content_type[64];
	char body[256];
	size_t body_len;
	char detail[256];
};

static void on_done(struct http_call *call)
{
	struct asked *a = container_of(call, struct asked, call);

	ck_assert(!a->is_done);
	ck_assert_ptr_nonnull(call->detail);
	a->status = call->status;
	a->was_sent = call->was_sent;
	a->http_status = call->http_status;
	a->has_retry_after = call->has_retry_after;
	a->retry_after_ms = call->retry_after_ms;
	snprintf(
		a->content_type, sizeof(a->content_type), "%.*s", SPAN_ARG(call->content_type));
	snprintf(a->body, sizeof(a->body), "%.*s", SPAN_ARG(call->body));
	a->body_len = call->body.len;
	snprintf(a->detail, sizeof(a->detail), "%s", call->detail);
	a->is_done = true;
}

static struct http_ask post(const char *path, const char *body)
{
	return (struct http_ask){ .method = HTTP_POST,
		.target = &target,
		.path = span_of(path),
		.body = span_of(body),
		.deadline_ms = DEADLINE_MS };
}

static void must_begin(struct asked *a, struct http_ask ask)
{
	*a = (struct asked){ .call = { .on_done = on_done } };
	ck_assert_int_eq(http_client_send(st.client, &a->call, &ask), ERR_OK);
	ck_assert(!a->is_done);
}

static void call_and_wait(struct asked *a, struct http_ask ask)
{
	must_begin(a, ask);
	stage_run_until(&st, &a->is_done);
}

static void start_client(struct http_client_config config)
{
	ck_assert_int_eq(http_client_start(&st.loop, &config, &st.client), ERR_OK);
}

static void setup(void)
{
	char text[160];
	const char *why;

	stage_open(&st);
	snprintf(text, sizeof(text), "http+unix://%s", st.path);
	ck_assert_int_eq(http_target_parse(span_of(text), &target, &why), ERR_OK);
	start_client((struct http_client_config){ 0 });
}

static void teardown(void)
{
	stage_close(&st);
}

/* A handler that plays a script: one line per request it reads. */
enum act {
	END = 0,      /* of the script: closes everything */
	ANSWER,       /* 200 "ok", keeps the connection */
	ANSWER_1_0,   /* 200 "ok", and the end of the connection is the end of the body */
	CHUNKED,      /* 200 "ok" in two chunks and a trailer */
	INTERIM,      /* 100, 103, then as ANSWER */
	SURPLUS,      /* as ANSWER, and another answer behind it that nobody has asked for */
	SAYS_CLOSE,   /* as ANSWER, with Connection: close, and does not */
	SAYS_SOON,    /* as ANSWER, and keeps the connection for a second */
	NO_CONTENT,   /* 204 */
	ANSWER_CLOSE, /* 200 "ok", then closes without having said so */
	READ_CLOSE,   /* reads the whole request and closes */
	READ_RESET,   /* the same, with data unread */
	EARLY_NO,     /* 413 as soon as the head is read, then closes */
	CUT,          /* half an answer, then closes */
	GARBAGE,
	NO_LENGTH,    /* Content-Length: many */
	SWITCH,       /* 101 */
	ONLY_INTERIM, /* 102, and takes that for an answer */
	ENDLESS_INTERIM,
	HUGE_HEAD,
	HUGE_BODY,
	SILENT, /* reads, then waits until the client closes */
	LATER,  /* 503 with Retry-After */
};

struct script {
	const enum act *acts;
	int listen_fd;
	pthread_t thread;
	unsigned requests; /* read whole */
	unsigned connections;
	_Atomic unsigned closed; /* connections */
};

static int listen_for(const char *path, int backlog)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(fd, backlog), 0);
	return fd;
}

static int listen_at(const char *path)
{
	return listen_for(path, 16);
}

/* Reads a head and its body; false at the end of the connection. */
static bool read_request(int fd, size_t leave)
{
	static char text[512 * 1024];
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, text + len, 1, 0);

		if (n <= 0)
			return false;
		text[++len] = '\0';
		if (len >= 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0)
			break;
		ck_assert_uint_lt(len, 16384);
	}
	ck_assert_ptr_null(strcasestr(text, "Expect:"));
	const char *at = strcasestr(text, "\r\nContent-Length: ");
	size_t body = at == NULL ? 0 : strtoul(at + 18, NULL, 10);

	body = body > leave ? body - leave : 0;
	for (size_t got = 0; got < body;) {
		ssize_t n = recv(
			fd, text, body - got < sizeof(text) ? body - got : sizeof(text), 0);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static void wait_for_end(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) > 0)
		;
}

/* Returns whether the connection goes on. */
static bool act_out(int fd, enum act act)
{
	char huge[1024];

	memset(huge, 'h', sizeof(huge));
	switch (act) {
	case ANSWER:
		must_send(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\n"
			      "Content-Length: 2\r\n\r\nok");
		return true;
	case ANSWER_1_0:
		must_send(fd, "HTTP/1.0 200 OK\r\nContent-Type: text/x\r\n\r\nok");
		return false;
	case CHUNKED:
		must_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			      "1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Sum: 1\r\n\r\n");
		return true;
	case INTERIM:
		must_send(fd, "HTTP/1.1 100 Continue\r\n\r\n"
			      "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
			      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		return true;
	case SURPLUS:
		must_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse");
		return true;
	case SAYS_CLOSE:
		must_send(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n"
			      "Content-Length: 2\r\n\r\nok");
		return true;
	case SAYS_SOON:
		must_send(fd, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=9\r\n"
			      "Content-Length: 2\r\n\r\nok");
		return true;
	case NO_CONTENT:
		must_send(fd, "HTTP/1.1 204 No Content\r\n\r\n");
		return true;
	case EARLY_NO:
		must_send(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n"
			      "Connection: close\r\n\r\nno");
		return false;
	case NO_LENGTH:
		must_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nok");
		wait_for_end(fd);
		return false;
	case SWITCH:
		must_send(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
		wait_for_end(fd);
		return false;
	case ONLY_INTERIM:
		must_send(fd, "HTTP/1.1 102 Processing\r\nContent-Length: 0\r\n\r\n");
		wait_for_end(fd);
		return false;
	case ENDLESS_INTERIM:
		while (send(fd, "HTTP/1.1 103 X\r\n\r\n", 18, MSG_NOSIGNAL) > 0)
			;
		return false;
	case LATER:
		must_send(fd, "HTTP/1.1 503 Later\r\nRetry-After: 7\r\n"
			      "Content-Length: 0\r\n\r\n");
		return true;
	case ANSWER_CLOSE:
		must_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		return false;
	case CUT:
		must_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok");
		return false;
	case GARBAGE:
		must_send(fd, "this is no HTTP at all\r\n\r\n");
		return false;
	case HUGE_HEAD:
		must_send(fd, "HTTP/1.1 200 OK\r\n");
		for (int i = 0; i < 64; i++) {
			if (send(fd, "X: ", 3, MSG_NOSIGNAL) < 0 ||
				send(fd, huge, sizeof(huge), MSG_NOSIGNAL) < 0 ||
				send(fd, "\r\n", 2, MSG_NOSIGNAL) < 0)
				break;
		}
		wait_for_end(fd);
		return false;
	case HUGE_BODY:
		must_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		while (send(fd, "400\r\n", 5, MSG_NOSIGNAL) > 0 &&
			send(fd, huge, sizeof(huge), MSG_NOSIGNAL) > 0 &&
			send(fd, "\r\n", 2, MSG_NOSIGNAL) > 0)
			;
		return false;
	case SILENT:
		wait_for_end(fd);
		return false;
	case READ_CLOSE:
	case READ_RESET:
	case END:
		return false;
	}
	return false;
}

static size_t left_unread(enum act act)
{
	switch (act) {
	case READ_RESET:
		return 1;
	case EARLY_NO:
		return SIZE_MAX;
	default:
		return 0;
	}
}

static void *run_script(void *arg)
{
	struct script *s = arg;
	const enum act *act = s->acts;

	while (*act != END) {
		int fd = accept(s->listen_fd, NULL, NULL);

		if (fd < 0)
			break;
		s->connections++;
		while (*act != END && read_request(fd, left_unread(*act))) {
			s->requests++;
			if (!act_out(fd, *act++))
				break;
		}
		close(fd);
		s->closed++;
	}
	return NULL;
}

static void script_begin_on(struct script *s, const enum act *acts, int listen_fd)
{
	*s = (struct script){ .acts = acts, .listen_fd = listen_fd };
	ck_assert_int_eq(pthread_create(&s->thread, NULL, run_script, s), 0);
}

static void script_begin(struct script *s, const enum act *acts)
{
	script_begin_on(s, acts, listen_at(st.path));
}

static void script_end(struct script *s)
{
	shutdown(s->listen_fd, SHUT_RDWR);
	ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
	close(s->listen_fd);
}

/* -- answers ---------------------------------------------------------------------------------
 */

START_TEST(an_answer_comes_with_all_its_parts)
{
	static const enum act acts[] = { ANSWER, LATER, ANSWER, END };
	struct script script;
	struct asked a;

	script_begin(&script, acts);
	call_and_wait(&a, post("/quote.price", "{}"));
	ck_assert_int_eq(a.status, ERR_OK);
	ck_assert_uint_eq(a.http_status, 200);
	ck_assert_str_eq(a.content_type, "text/x");
	ck_assert_str_eq(a.body, "ok");
	ck_assert(!a.has_retry_after);
	ck_assert(a.was_sent);
	call_and_wait(&a, post("/quote.price", "{}"));
	ck_assert_int_eq(a.status, ERR_OK);
	ck_assert_uint_eq(a.http_status, 503);
	ck_assert(a.has_retry_after);
	ck_assert_uint_eq(a.retry_after_ms, 7000);
	ck_assert_uint_eq(a.body_len, 0);
	call_and_wait(&a, post("/quote.price", "{}"));
	ck_assert_str_eq(a.body, "ok");
	ck_assert_uint_eq(http_client_counters(st.client)->connections_opened, 1);
	ck_assert_uint_eq(http_client_counters(st.client)->calls, 3);
	ck_assert_uint_eq(http_client_counters(st.client)->calls_under_way, 0);
	script_end(&script);
	ck_assert_uint_eq(script.connections, 1);
}
END_TEST

/* What the handler sends, and whether its connection is used for the next call. */
static const struct {
	enum act act;
	unsigned http_status;
	const char *body;
	unsigned connections;
} forms[] = {
	{ ANSWER, 200, "ok", 1 },
	{ ANSWER_1_0, 200, "ok", 2 },
	{ CHUNKED, 200, "ok", 1 },
	{ INTERIM, 200, "ok", 1 },
	{ SURPLUS, 200, "ok", 2 },
	{ SAYS_CLOSE, 200, "ok", 2 },
	{ SAYS_SOON, 200, "ok", 2 },
	{ NO_CONTENT, 204, "", 1 },
};

START_TEST(an_answer_may_have_any_form_that_http_knows)
{
	const enum act acts[] = { forms[_i].act, forms[_i].act, ANSWER, END };
	struct script script;
	struct asked a;

	script_begin(&script, acts);
	for (int i = 0; i < 2; i++) {
		call_and_wait(&a, post("/x", "{}"));
		ck_assert_int_eq(a.status, ERR_OK);
		ck_assert_uint_eq(a.http_status, forms[_i].http_status);
		ck_assert_str_eq(a.body, forms[_i].body);
	}
	ck_assert_uint_eq(
		http_client_counters(st.client)->connections_opened, forms[_i].connections);
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_str_eq(a.body, "ok");
	script_end(&script);
	ck_assert_uint_eq(script.requests, 3);
}
END_TEST

static char seen[512];

static void on_seen(void *arg, struct http_request *rq)
{
	static const char *const names[] = { "GET", "POST", "PUT", "DELETE" };
	struct span id = { 0 };
	struct span type = { 0 };
	struct span empty = { 0 };
	bool has_empty;

	(void)arg;
	http_request_header(rq, "Sallyport-Id", &id);
	http_request_header(rq, "Content-Type", &type);
	has_empty = http_request_header(rq, "X-Empty", &empty);
	snprintf(seen, sizeof(seen), "%s %.*s id=%.*s type=%.*s empty=%d body=%.*s",
		names[http_request_method(rq)], SPAN_ARG(http_request_path(rq)), SPAN_ARG(id),
		SPAN_ARG(type), has_empty && empty.len == 0, SPAN_ARG(http_request_body(rq)));
	stage_answer(rq, 200, "seen");
}

START_TEST(every_method_and_header_arrives)
{
	static const struct http_header headers[] = { { "Sallyport-Id", "i-1" },
		{ "X-Empty", "" } };
	struct asked a;
	struct http_ask ask = post("/op", "{}");

	stage_serve(&st, (struct http_server_config){ .on_request = on_seen });
	ask.headers = headers;
	ask.header_count = 2;
	call_and_wait(&a, ask);
	ck_assert_str_eq(seen, "POST /op id=i-1 type=application/json empty=1 body={}");
	ask.method = HTTP_PUT;
	ask.content_type = "text/plain";
	call_and_wait(&a, ask);
	ck_assert_str_eq(seen, "PUT /op id=i-1 type=text/plain empty=1 body={}");
	ask.method = HTTP_DELETE;
	ask.body = (struct span){ 0 };
	call_and_wait(&a, ask);
	ck_assert_str_eq(seen, "DELETE /op id=i-1 type=text/plain empty=1 body=");
	ask.method = HTTP_GET;
	call_and_wait(&a, ask);
	ck_assert_str_eq(seen, "GET /op id=i-1 type= empty=1 body=");
	ask.method = HTTP_POST;
	ask.header_count = 0;
	call_and_wait(&a, ask);
	ck_assert_str_eq(seen, "POST /op id= type=text/plain empty=0 body=");
	ck_assert_uint_eq(http_client_counters(st.client)->connections_opened, 1);
}
END_TEST

START_TEST(a_large_request_and_a_large_answer_arrive)
{
	enum { LARGE = 1500 * 1000 };
	char *body = malloc(LARGE);
	struct asked a;

	memset(body, 'b', LARGE);
	stage_serve(&st, (struct http_server_config){ .max_body_bytes = MIB(2) });
	struct http_ask ask = post("/echo", "");

	ask.body = (struct span){ .at = body, .len = LARGE };
	ask.max_answer_bytes = LARGE;
	call_and_wait(&a, ask);
	ck_assert_int_eq(a.status, ERR_OK);
	ck_assert_uint_eq(a.body_len, LARGE);
	ask.max_answer_bytes = LARGE - 1;
	call_and_wait(&a, ask);
	ck_assert_int_eq(a.status, ERR_FULL);
	ck_assert(a.was_sent);
	free(body);
}
END_TEST

static void check_tcp(const char *host)
{
	char text[64];
	const char *why;
	struct asked a;

	snprintf(
		text, sizeof(text), "http://%s:%u", host, http_server_loopback_port(st.server));
	ck_assert_int_eq(http_target_parse(span_of(text), &target, &why), ERR_OK);
	call_and_wait(&a, post("/echo", "over tcp"));
	ck_assert_int_eq(a.status, ERR_OK);
	ck_assert_str_eq(a.body, "over tcp");
}

/* Larger than any socket takes at once, and not read: the no is there all the same. */
START_TEST(a_handler_may_say_no_before_it_has_read_all)
{
	enum { LARGE = 4 * 1000 * 1000 };
	static const enum act acts[] = { EARLY_NO, ANSWER, END };
	char *body = calloc(1, LARGE);
	struct http_ask ask = post("/x", "");
	struct script script;
	struct asked a;

	ask.body = (struct span){ .at = body, .len = LARGE };
	script_begin(&script, acts);
	call_and_wait(&a, ask);
	ck_assert_int_eq(a.status, ERR_OK);
	ck_assert_uint_eq(a.http_status, 413);
	ck_assert_str_eq(a.body, "no");
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, ERR_OK);
	script_end(&script);
	ck_assert_uint_eq(script.connections, 2);
	free(body);
}
END_TEST

START_TEST(handlers_may_answer_on_loopback_tcp)
{
	ck_assert_int_eq(setenv("http_proxy", "http://127.0.0.1:9", 1), 0);
	stage_serve(&st, (struct http_server_config){ .has_loopback = true });
	check_tcp("127.0.0.1");
	check_tcp("localhost");
}
END_TEST

START_TEST(localhost_is_both_addresses)
{
	static const enum act acts[] = { SAYS_CLOSE, ANSWER, END };
	struct sockaddr_in6 at = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct script script;
	struct asked a;
	const char *why;
	char text[64];

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
		close(fd);
		return; /* a machine without ::1 has but one */
	}
	ck_assert_int_eq(listen(fd, 16), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	snprintf(text, sizeof(text), "http://localhost:%u", ntohs(at.sin6_port));
	ck_assert_int_eq(http_target_parse(span_of(text), &target, &why), ERR_OK);
	script_begin_on(&script, acts, fd);
	call_and_wait(&a, post("/x", "over six"));
	ck_assert_int_eq(a.status, ERR_OK);
	snprintf(text, sizeof(text), "http://[::1]:%u", ntohs(at.sin6_port));
	ck_assert_int_eq(http_target_parse(span_of(text), &target, &why), ERR_OK);
	call_and_wait(&a, post("/x", "over six"));
	ck_assert_int_eq(a.status, ERR_OK);
	script_end(&script);
}
END_TEST

/* -- fates -----------------------------------------------------------------------------------
 */

START_TEST(where_nobody_answers_nothing_was_delivered)
{
	struct asked a;
	const char *why;

	call_and_wait(&a, post("/x", "{}")); /* no socket file */
	ck_assert_int_eq(a.status, ERR_LINK);
	ck_assert(!a.was_sent);
	char expected[160];

	snprintf(expected, sizeof(expected), "%s: No such file or directory", st.path);
	ck_assert_str_eq(a.detail, expected);
	close(listen_at(st.path)); /* a dead one */
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, ERR_LINK);
	ck_assert(!a.was_sent);
	ck_assert_int_eq(
		http_target_parse(span_of("http://127.0.0.1:1"), &target, &why), ERR_OK);
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, ERR_LINK);
	ck_assert(!a.was_sent);
	ck_assert_str_eq(a.detail, "127.0.0.1:1: Connection refused");
	ck_assert_int_eq(
		http_target_parse(span_of("http://localhost:1"), &target, &why), ERR_OK);
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, ERR_LINK);
	ck_assert_uint_eq(http_client_counters(st.client)->connections_open_count, 0);
}
END_TEST

START_TEST(a_handler_whose_queue_is_full_is_asked_when_it_is_not)
{
	static const enum act acts[] = { ANSWER, END };
	int listen_fd = listen_for(st.path, 0);
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int crowd[8];
	size_t count = 0;
	struct script script;
	struct asked a;
	struct asked late;
	struct http_ask ask = post("/x", "{}");

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", st.path);
	for (;;) {
		ck_assert_uint_lt(count, ARRAY_COUNT(crowd));
		crowd[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(crowd[count++], (struct sockaddr *)&at, sizeof(at)) != 0)
			break;
	}
	ask.deadline_ms = 20;
	must_begin(&a, post("/x", "{}"));
	call_and_wait(&late, ask);
	ck_assert_int_eq(late.status, ERR_TIMEOUT);
	ck_assert(!late.was_sent);
	ck_assert(!a.is_done);
	while (count > 0)
		close(crowd[--count]);
	script_begin_on(&script, acts, listen_fd);
	stage_run_until(&st, &a.is_done);
	ck_assert_int_eq(a.status, ERR_OK);
	script_end(&script);
	ck_assert_uint_eq(script.requests, 1);
}
END_TEST

/* _i chooses the body: small, none, larger than a socket takes at once, and what the handler
 * does with it. */
static const struct {
	size_t body_len;
	enum act act;
} fates[] = {
	{ 20, READ_CLOSE },
	{ 0, READ_CLOSE },
	{ 500 * 1000, READ_CLOSE },
	{ 20, READ_RESET },
	{ 500 * 1000, READ_RESET },
	{ 20, CUT },
	{ 0, CUT },
};

START_TEST(a_post_whose_connection_broke_is_never_sent_again)
{
	const enum act acts[] = { ANSWER, fates[_i].act, ANSWER, ANSWER, END };
	char *body = calloc(1, fates[_i].body_len + 1);
	struct http_ask ask = post("/x", "");
	struct script script;
	struct asked a;

	memset(body, 'b', fates[_i].body_len);
	ask.body = (struct span){ .at = body, .len = fates[_i].body_len };
	script_begin(&script, acts);
	call_and_wait(&a, ask);
	ck_assert_int_eq(a.status, ERR_OK);
	call_and_wait(&a, ask); /* on the kept connection */
	ck_assert_int_eq(a.status, ERR_FATE);
	ck_assert(a.was_sent);
	/* The next two are requests of ours again. */
	call_and_wait(&a, ask);
	ck_assert_int_eq(a.status, ERR_OK);
	call_and_wait(&a, ask);
	ck_assert_int_eq(a.status, ERR_OK);
	script_end(&script);
	ck_assert_uint_eq(script.requests, 4);
	free(body);
}
END_TEST

START_TEST(a_first_post_whose_connection_broke_is_never_sent_again)
{
	static const enum act acts[] = { READ_CLOSE, ANSWER, END };
	struct script script;
	struct asked a;

	script_begin(&script, acts);
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, ERR_FATE);
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, ERR_OK);
	script_end(&script);
	ck_assert_uint_eq(script.requests, 2);
}
END_TEST

START_TEST(a_kept_connection_that_the_handler_closed_costs_nothing)
{
	static const enum act acts[] = { ANSWER_CLOSE, ANSWER_CLOSE, ANSWER_CLOSE, ANSWER,
		END };
	struct script script;
	struct asked a;

	script_begin(&script, acts);
	for (unsigned i = 0; i < 4; i++) {
		call_and_wait(&a, post("/x", "{}"));
		ck_assert_int_eq(a.status, ERR_OK);
		while (i < 3 && script.closed <= i)
			uv_run(&st.loop.uv, UV_RUN_NOWAIT);
	}
	script_end(&script);
	ck_assert_uint_eq(script.requests, 4);
	ck_assert_uint_eq(script.connections, 4);
}
END_TEST

START_TEST(a_deadline_ends_the_call)
{
	static const enum act acts[] = { SILENT, ANSWER, END };
	struct script script;
	struct asked a;
	struct http_ask ask = post("/x", "{}");
	uint64_t begin_us = clock_mono_us();

	script_begin(&script, acts);
	ask.deadline_ms = 50;
	call_and_wait(&a, ask);
	ck_assert_int_eq(a.status, ERR_TIMEOUT);
	ck_assert(a.was_sent);
	ck_assert_uint_ge(clock_mono_us() - begin_us, 49 * 1000);
	ck_assert_uint_lt(clock_mono_us() - begin_us, 1000 * 1000);
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, ERR_OK);
	script_end(&script);
	ck_assert_uint_eq(script.connections, 2);
}
END_TEST

static const struct {
	enum act act;
	enum err status;
} nonsense[] = {
	{ GARBAGE, ERR_PROTOCOL },
	{ HUGE_HEAD, ERR_PROTOCOL },
	{ HUGE_BODY, ERR_FULL },
	{ CUT, ERR_FATE },
	{ NO_LENGTH, ERR_PROTOCOL },
	{ SWITCH, ERR_PROTOCOL },
	{ ONLY_INTERIM, ERR_PROTOCOL },
	{ ENDLESS_INTERIM, ERR_PROTOCOL },
};

START_TEST(nonsense_for_an_answer_is_an_error_of_its_own)
{
	const enum act acts[] = { nonsense[_i].act, ANSWER, END };
	struct script script;
	struct asked a;

	script_begin(&script, acts);
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, nonsense[_i].status);
	ck_assert(a.was_sent);
	ck_assert_uint_eq(a.body_len, 0);
	ck_assert_msg(strncmp(a.detail, st.path, strlen(st.path)) == 0, "%s", a.detail);
	call_and_wait(&a, post("/x", "{}"));
	ck_assert_int_eq(a.status, ERR_OK);
	script_end(&script);
	ck_assert_uint_eq(script.requests, 2);
}
END_TEST

START_TEST(what_cannot_stand_in_a_request_is_refused_at_once)
{
	static const char *const paths[] = { "", "x", "/a b", "/a\r\nX: y", "/a#b",
		"/\xc3\xbc" };
	struct http_header header = { "X-Y", "a\r\nb: c" };
	struct http_call call = { .on_done = on_done };
	struct http_ask ask;

	for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
		ask = post(paths[i], "{}");
		ck_assert_int_eq(http_client_send(st.client, &call, &ask), ERR_INPUT);
	}
	ask = post("/x", "{}");
	ask.headers = &header;
	ask.header_count = 1;
	ck_assert_int_eq(http_client_send(st.client, &call, &ask), ERR_INPUT);
	ask.header_count = 0;
	ask.content_type = "a\nb";
	ck_assert_int_eq(http_client_send(st.client, &call, &ask), ERR_INPUT);
	ck_assert_uint_eq(http_client_counters(st.client)->calls_under_way, 0);
}
END_TEST

/* -- many ------------------------------------------------------------------------------------
 */

enum { MANY = 200 };

static struct asked many[MANY];
static bool all_are_done;

static void on_one_of_many(struct http_call *call)
{
	on_done(call);
	all_are_done = true;
	for (size_t i = 0; i < MANY; i++)
		all_are_done = all_are_done && many[i].is_done;
}

START_TEST(many_calls_share_few_connections)
{
	teardown();
	stage_open(&st);
	start_client((struct http_client_config){ .max_calls = MANY, .max_connections = 8 });
	snprintf(target.place.socket_path, sizeof(target.place.socket_path), "%s", st.path);
	stage_serve(&st, (struct http_server_config){ 0 });
	for (int round = 0; round < 3; round++) {
		all_are_done = false;
		for (size_t i = 0; i < MANY; i++) {
			struct http_ask ask = post(i % 2 == 0 ? "/echo" : "/later", "many");

			many[i] = (struct asked){ .call = { .on_done = on_one_of_many } };
			ck_assert_int_eq(
				http_client_send(st.client, &many[i].call, &ask), ERR_OK);
		}
		struct http_call one_more = { .on_done = on_done };
		struct http_ask ask = post("/echo", "x");

		ck_assert_int_eq(http_client_send(st.client, &one_more, &ask), ERR_FULL);
		stage_run_until(&st, &all_are_done);
		for (size_t i = 0; i < MANY; i++) {
			ck_assert_int_eq(many[i].status, ERR_OK);
			ck_assert_str_eq(many[i].body, i % 2 == 0 ? "many" : "later");
		}
	}
	ck_assert_uint_le(http_client_counters(st.client)->connections_opened, 8);
}
END_TEST

static void start_client_of_one_connection(void)
{
	teardown();
	stage_open(&st);
	snprintf(target.place.socket_path, sizeof(target.place.socket_path), "%s", st.path);
	start_client((struct http_client_config){ .max_connections = 1 });
}

START_TEST(who_waits_for_a_connection_does_so_within_his_deadline)
{
	static const enum act acts[] = { SILENT, ANSWER, ANSWER, END };
	struct http_ask ask = post("/x", "{}");
	struct script script;
	struct asked first;
	struct asked hasty;
	struct asked gone;
	struct asked patient;
	struct asked last;

	start_client_of_one_connection();
	script_begin(&script, acts);
	must_begin(&first, ask);
	ask.deadline_ms = 30;
	must_begin(&hasty, ask);
	ask.deadline_ms = DEADLINE_MS;
	must_begin(&gone, ask);
	must_begin(&patient, ask);
	must_begin(&last, ask);
	stage_run_until(&st, &hasty.is_done);
	ck_assert_int_eq(hasty.status, ERR_TIMEOUT);
	ck_assert(!hasty.was_sent);
	http_client_cancel(st.client, &gone.call);
	ck_assert(!patient.is_done);
	http_client_cancel(st.client, &first.call);
	stage_run_until(&st, &last.is_done);
	ck_assert(patient.is_done && !gone.is_done && !first.is_done);
	ck_assert_int_eq(patient.status, ERR_OK);
	ck_assert_int_eq(last.status, ERR_OK);
	script_end(&script);
	/* The first had perhaps not been read yet. */
	ck_assert_uint_ge(script.requests, 2);
	ck_assert_uint_eq(http_client_counters(st.client)->connections_opened, 2);
}
END_TEST

START_TEST(an_idle_connection_gives_way_to_one_to_another_place)
{
	struct http_target at_socket;
	struct asked a;
	char text[64];
	const char *why;

	start_client_of_one_connection();
	stage_serve(&st, (struct http_server_config){ .has_loopback = true });
	at_socket = target;
	snprintf(text, sizeof(text), "http://127.0.0.1:%u",
		http_server_loopback_port(st.server));
	for (int i = 0; i < 3; i++) {
		target = at_socket;
		call_and_wait(&a, post("/echo", "here"));
		ck_assert_str_eq(a.body, "here");
		ck_assert_int_eq(http_target_parse(span_of(text), &target, &why), ERR_OK);
		call_and_wait(&a, post("/echo", "there"));
		ck_assert_str_eq(a.body, "there");
		ck_assert_uint_eq(http_client_counters(st.client)->connections_open_count, 1);
	}
}
END_TEST

static unsigned chain_left;
static struct http_call chained;
static bool chain_is_done;

static void on_link_of_chain(struct http_call *call)
{
	struct http_ask ask = post("/echo", "chain");

	ck_assert_ptr_eq(call, &chained);
	ck_assert_int_eq(call->status, ERR_OK);
	ck_assert(span_is(call->body, "chain"));
	if (chain_left-- == 0)
		chain_is_done = true;
	else
		ck_assert_int_eq(http_client_send(st.client, call, &ask), ERR_OK);
}

START_TEST(a_call_may_be_used_again_when_it_is_done)
{
	struct http_ask ask = post("/echo", "chain");

	stage_serve(&st, (struct http_server_config){ 0 });
	chain_left = 50;
	chain_is_done = false;
	chained = (struct http_call){ .on_done = on_link_of_chain };
	ck_assert_int_eq(http_client_send(st.client, &chained, &ask), ERR_OK);
	stage_run_until(&st, &chain_is_done);
	ck_assert_uint_eq(http_client_counters(st.client)->connections_opened, 1);
}
END_TEST

/* One request of the server's becomes a call that fails at once: in the very turn that begins
 * it, just before the loop would go to sleep. */
static struct http_call bridged;
static struct http_request *bridged_rq;

static void on_bridged_done(struct http_call *call)
{
	ck_assert_int_eq(call->status, ERR_LINK);
	stage_answer(bridged_rq, 502, "nobody there");
}

static void on_bridged_gone(void *arg, enum err reason)
{
	(void)arg;
	(void)reason;
	ck_abort_msg("gone");
}

static void on_bridged_request(void *arg, struct http_request *rq)
{
	struct http_ask ask = post("/x", "{}");

	(void)arg;
	bridged_rq = rq;
	bridged = (struct http_call){ .on_done = on_bridged_done };
	http_request_hold(rq, on_bridged_gone, NULL);
	ck_assert_int_eq(http_client_send(st.client, &bridged, &ask), ERR_OK);
}

static void play_bridge(struct stage *s)
{
	uint64_t begin_us = clock_mono_us();
	int fd = must_connect(s->path);

	for (int i = 0; i < 20; i++)
		must_ask(fd, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", 502, "nobody there");
	close(fd);
	ck_assert_uint_lt(clock_mono_us() - begin_us, 5 * 1000 * 1000);
}

START_TEST(work_made_in_the_last_turn_does_not_sleep)
{
	struct http_server_config config = { .on_request = on_bridged_request };
	const char *why;

	teardown();
	stage_open(&st);
	ck_assert_int_eq(
		http_target_parse(span_of("http+unix:///nowhere"), &target, &why), ERR_OK);
	/* Whichever of the two has its turn first. */
	if (_i == 0)
		start_client((struct http_client_config){ 0 });
	stage_serve(&st, config);
	if (_i == 1)
		start_client((struct http_client_config){ 0 });
	stage_play(&st, play_bridge);
}
END_TEST

static struct asked victim;

static void on_done_cancel_other(struct http_call *call)
{
	on_done(call);
	http_client_cancel(st.client, &victim.call);
	http_client_cancel(st.client, &victim.call); /* harmless */
}

START_TEST(a_cancelled_call_never_ends)
{
	struct asked first = { .call = { .on_done = on_done_cancel_other } };
	struct http_ask ask = post("/echo", "x");

	stage_serve(&st, (struct http_server_config){ 0 });
	must_begin(&victim, post("/hold", "x"));
	ck_assert_int_eq(http_client_send(st.client, &first.call, &ask), ERR_OK);
	stage_run_until(&st, &first.is_done);
	ck_assert(!victim.is_done);
	ck_assert_uint_eq(http_client_counters(st.client)->calls_under_way, 0);
	/* Both ended in the same turn, perhaps: the second is in our queue already. */
	must_begin(&victim, post("/echo", "x"));
	first = (struct asked){ .call = { .on_done = on_done_cancel_other } };
	ck_assert_int_eq(http_client_send(st.client, &first.call, &ask), ERR_OK);
	stage_run_until(&st, &first.is_done);
	ck_assert_uint_eq(http_client_counters(st.client)->calls_under_way, 0);
}
END_TEST

START_TEST(stopping_ends_calls_under_way)
{
	struct asked a;
	struct asked b;
	stage_serve(&st, (struct http_server_config){ 0 });
	must_begin(&a, post("/hold", "x"));
	while (st.held_count == 0)
		uv_run(&st.loop.uv, UV_RUN_ONCE);
	must_begin(&b, post("/hold", "never sent"));
	stage_close(&st);
	ck_assert(a.is_done && b.is_done);
	ck_assert_int_eq(a.status, ERR_CANCEL);
	ck_assert(a.was_sent);
	ck_assert_int_eq(b.status, ERR_CANCEL);
	stage_open(&st);
	start_client((struct http_client_config){ 0 });
}
END_TEST

static void on_done_stop(struct http_call *call)
{
	struct http_ask ask = post("/echo", "x");

	on_done(call);
	http_client_stop(st.client, NULL, NULL);
	ck_assert_int_eq(http_client_send(st.client, call, &ask), ERR_CANCEL);
	st.client = NULL;
}

START_TEST(the_client_may_be_stopped_from_inside_a_call)
{
	struct asked a = { .call = { .on_done = on_done_stop } };
	struct http_ask ask = post("/echo", "x");

	stage_serve(&st, (struct http_server_config){ 0 });
	ck_assert_int_eq(http_client_send(st.client, &a.call, &ask), ERR_OK);
	stage_run_until(&st, &a.is_done);
}
END_TEST

START_TEST(nothing_is_left_open)
{
	unsigned before;
	struct asked a;

	teardown();
	before = open_fds();
	stage_open(&st);
	snprintf(target.place.socket_path, sizeof(target.place.socket_path), "%s", st.path);
	start_client((struct http_client_config){ 0 });
	stage_serve(&st, (struct http_server_config){ 0 });
	call_and_wait(&a, post("/echo", "x"));
	ck_assert_int_eq(a.status, ERR_OK);
	stage_close(&st);
	ck_assert_uint_eq(open_fds(), before);
	stage_open(&st);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http_client");
	TCase *tc = tcase_create("http_client");
	TCase *pure = tcase_create("target");

	tcase_add_test(pure, a_target_is_a_unix_socket_or_this_machine);
	suite_add_tcase(suite, pure);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_answer_comes_with_all_its_parts);
	tcase_add_loop_test(
		tc, an_answer_may_have_any_form_that_http_knows, 0, ARRAY_COUNT(forms));
	tcase_add_test(tc, every_method_and_header_arrives);
	tcase_add_test(tc, a_large_request_and_a_large_answer_arrive);
	tcase_add_test(tc, a_handler_may_say_no_before_it_has_read_all);
	tcase_add_test(tc, handlers_may_answer_on_loopback_tcp);
	tcase_add_test(tc, localhost_is_both_addresses);
	tcase_add_test(tc, where_nobody_answers_nothing_was_delivered);
	tcase_add_test(tc, a_handler_whose_queue_is_full_is_asked_when_it_is_not);
	tcase_add_loop_test(
		tc, a_post_whose_connection_broke_is_never_sent_again, 0, ARRAY_COUNT(fates));
	tcase_add_test(tc, a_first_post_whose_connection_broke_is_never_sent_again);
	tcase_add_test(tc, a_kept_connection_that_the_handler_closed_costs_nothing);
	tcase_add_test(tc, a_deadline_ends_the_call);
	tcase_add_loop_test(
		tc, nonsense_for_an_answer_is_an_error_of_its_own, 0, ARRAY_COUNT(nonsense));
	tcase_add_test(tc, what_cannot_stand_in_a_request_is_refused_at_once);
	tcase_add_test(tc, many_calls_share_few_connections);
	tcase_add_test(tc, who_waits_for_a_connection_does_so_within_his_deadline);
	tcase_add_test(tc, an_idle_connection_gives_way_to_one_to_another_place);
	tcase_add_test(tc, a_call_may_be_used_again_when_it_is_done);
	tcase_add_loop_test(tc, work_made_in_the_last_turn_does_not_sleep, 0, 2);
	tcase_add_test(tc, a_cancelled_call_never_ends);
	tcase_add_test(tc, stopping_ends_calls_under_way);
	tcase_add_test(tc, the_client_may_be_stopped_from_inside_a_call);
	tcase_add_test(tc, nothing_is_left_open);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
