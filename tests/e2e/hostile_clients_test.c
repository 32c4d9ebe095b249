/* hostile_clients_test.c - ten thousand broken requests on each local socket, beside a good
 * client that must not notice. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "caller.h"
#include "e2e.h"
#include "must.h"

enum {
	ATTACKERS = 4,
	ATTACKS_EACH = 2500,
	CROWD = 1000,
	SMALL_CROWD = 100,
	FEW_FDS = 64,
	RESTING = 600,
	COMING = 400,
	FDS_SLACK = 24,
	RSS_MAY_GROW_KIB = 16 * 1024,
};

/* What one connection says before it goes away. NULL: it says nothing. */
static const struct {
	const char *name;
	const char *bytes;
} lines[] = {
	{ "nothing at all", NULL },
	{ "half a request line", "POST /v1/call/quo" },
	{ "half of the headers",
		"POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\nContent-Le" },
	{ "half of the body", "POST /v1/call/quote.price HTTP/1.1\r\nHost: "
			      "x\r\nContent-Length: 90\r\n\r\n{\"a\"" },
	{ "wrong JSON", "POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\nContent-Length: "
			"5\r\n\r\n{]{]{" },
	{ "a negative length",
		"POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" },
	{ "a length that is no number", "POST /v1/call/quote.price HTTP/1.1\r\nHost: "
					"x\r\nContent-Length: many\r\n\r\n" },
	{ "a length beyond all bounds", "POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\n"
					"Content-Length: 999999999999999999\r\n\r\n{}" },
	{ "two lengths", "POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\n"
			 "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" },
	{ "chunks that are none", "POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\n"
				  "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n" },
	{ "a chunk without end", "POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\n"
				 "Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\n{}" },
	{ "length and chunks",
		"POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
		"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" },
	{ "an unknown method", "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n" },
	{ "another protocol", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
	{ "an old protocol", "GET /v1/status\r\n" },
	{ "TLS", "\x16\x03\x01\x02\x01\x01\xfc\x03\x03" },
	{ "an absolute path elsewhere",
		"GET http://elsewhere.example/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n" },
	{ "a path with dots", "GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n" },
	{ "a NUL in the path", "GET /v1/%00status HTTP/1.1\r\nHost: x\r\n\r\n" },
	{ "bytes that are no UTF-8",
		"POST /v1/call/\xff\xfe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" },
	{ "an expectation and no body",
		"POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
		"Expect: 100-continue\r\n\r\n" },
	{ "an upgrade", "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
			"Upgrade: websocket\r\n\r\n" },
	{ "a header that continues",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\td\r\n\r\n" },
	{ "a call that it does not wait for", "POST /v1/call/quote.price HTTP/1.1\r\nHost: "
					      "x\r\nContent-Length: 2\r\n\r\n{}" },
	{ "a slow call that it does not wait for",
		"POST /v1/call/quote.short HTTP/1.1\r\nHost: x\r\nContent-Length: "
		"2\r\n\r\n{}" },
};

enum {
	LINES = sizeof lines / sizeof lines[0],
	GIANT_HEADER = LINES, /* 64 KiB in one header */
	MANY_HEADERS,         /* two thousand of them */
	LONG_PATH,            /* 16 KiB */
	NEVER_READING,        /* many requests in one go, no answer read */
	WAITS_AND_SEES,       /* a broken request, and reads what comes */
	KINDS,
};

struct attacker {
	const char *socket_path;
	unsigned first; /* kind of its first attack */
	unsigned refused;
	pthread_t thread;
};

static void put_repeated(struct buf *b, const char *text, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		buf_text(b, text);
}

static void put_attack(struct buf *b, unsigned kind)
{
	if (kind < LINES) {
		buf_text(b, lines[kind].bytes == NULL ? "" : lines[kind].bytes);
		return;
	}
	switch (kind) {
	case GIANT_HEADER:
		buf_text(b, "GET /v1/status HTTP/1.1\r\nHost: x\r\nA: ");
		put_repeated(b, "0123456789abcdef", 4096);
		buf_text(b, "\r\n\r\n");
		return;
	case MANY_HEADERS:
		buf_text(b, "GET /v1/status HTTP/1.1\r\nHost: x\r\n");
		put_repeated(b, "A: b\r\n", 2000);
		buf_text(b, "\r\n");
		return;
	case LONG_PATH:
		buf_text(b, "GET /");
		put_repeated(b, "0123456789abcdef", 1024);
		buf_text(b, " HTTP/1.1\r\nHost: x\r\n\r\n");
		return;
	case NEVER_READING:
		put_repeated(b, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 50);
		return;
	default:
		buf_text(b, "POST /v1/send/ HTTP/1.1\r\nContent-Length: 1\r\n\r\n{");
		return;
	}
}

static void *attack(void *arg)
{
	struct attacker *a = arg;
	char bytes[4096];

	for (unsigned i = 0; i < ATTACKS_EACH; i++) {
		unsigned kind = (a->first + i) % KINDS;
		struct buf b;
		int fd = http_connect(a->socket_path);

		if (fd < 0) {
			a->refused++;
			continue;
		}
		buf_init(&b, 256 * 1024);
		put_attack(&b, kind);
		/* A server that has seen enough may close before it has everything. */
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
		if (b.len != 0)
			(void)send(fd, b.at, b.len, MSG_NOSIGNAL);
		buf_fini(&b);
		if (kind == WAITS_AND_SEES && must_wait_readable(fd, deadline_in_ms(1000)))
			(void)recv(fd, bytes, sizeof bytes, 0);
		(void)close(fd);
	}
	return NULL;
}

static void must_attack(const char *socket_path)
{
	struct attacker attackers[ATTACKERS];
	unsigned refused = 0;

	for (unsigned i = 0; i < ATTACKERS; i++) {
		attackers[i] = (struct attacker){ .socket_path = socket_path, .first = i * 7 };
		ck_assert_int_eq(
			pthread_create(&attackers[i].thread, NULL, attack, &attackers[i]), 0);
	}
	for (unsigned i = 0; i < ATTACKERS; i++) {
		(void)pthread_join(attackers[i].thread, NULL);
		refused += attackers[i].refused;
	}
	/* Nobody is turned away at the door: the socket listens all the time. */
	ck_assert_uint_eq(refused, 0);
}

START_TEST(ten_thousand_hostile_requests_to_the_agent_are_not_noticed_by_others)
{
	static struct caller good;
	static struct caller_sum sum;

	handler_set_rule(&passage.handler,
		&(struct handler_rule){ .op = "quote.short", .act = HANDLER_HOLD });
	must_passage_start(&passage);
	expect_crossing(&passage);
	unsigned fds = must_daemon_fds(&passage.agent);
	uint64_t kib = must_daemon_rss_kib(&passage.agent);

	must_caller_start(&good, passage.web_socket, "/v1/call/quote.price", 2, 0, 500);
	must_attack(passage.web_socket);
	caller_stop(&good, &sum);
	expect_all_fine(&sum);
	ck_assert_uint_ge(sum.fine, 20);
	handler_release(&passage.handler, 100000);
	must_daemon_fds_fall(&passage.agent, fds + FDS_SLACK, 5000);
	if (!must_is_sanitized())
		ck_assert_uint_le(must_daemon_rss_kib(&passage.agent), kib + RSS_MAY_GROW_KIB);
	expect_crossing(&passage);
}
END_TEST

START_TEST(ten_thousand_hostile_requests_to_the_node_are_not_noticed_by_others)
{
	static struct caller good;
	static struct caller_sum sum;

	must_passage_start(&passage);
	expect_crossing(&passage);
	unsigned fds = must_daemon_fds(&passage.node);
	uint64_t kib = must_daemon_rss_kib(&passage.node);

	must_caller_start(&good, passage.web_socket, "/v1/call/quote.price", 2, 0, 500);
	must_attack(passage.app_socket);
	caller_stop(&good, &sum);
	expect_all_fine(&sum);
	must_daemon_fds_fall(&passage.node, fds + FDS_SLACK, 5000);
	if (!must_is_sanitized())
		ck_assert_uint_le(must_daemon_rss_kib(&passage.node), kib + RSS_MAY_GROW_KIB);
	expect_crossing(&passage);
}
END_TEST

static void must_raise_fd_limit(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_ge(limit.rlim_max, CROWD + 500);
	limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(a_thousand_connections_at_once_do_not_keep_the_good_ones_out)
{
	static const char half[] = "POST /v1/call/quote.price HTTP/1.1\r\nHost: x\r\n";
	static struct caller good;
	static struct caller_sum sum;
	static struct answer answer;
	static int crowd[CROWD];

	must_passage_start(&passage);
	expect_crossing(&passage);
	unsigned fds = must_daemon_fds(&passage.agent);

	/* After the daemons have started: they keep the limit that they have. */
	must_raise_fd_limit();
	must_caller_start(&good, passage.web_socket, "/v1/call/quote.price", 2, 0, 500);
	for (unsigned i = 0; i < CROWD; i++) {
		crowd[i] = must_http_connect(passage.web_socket);
		(void)http_write(crowd[i], half, i % 2 == 0 ? sizeof half - 1 : 4);
	}
	/* Whoever comes now gets in: somebody without a whole request gives way. */
	for (unsigned i = 0; i < 20; i++) {
		must_call(passage.web_socket, "quote.price", "{}", &answer);
		expect_status(&answer, 200);
	}
	caller_stop(&good, &sum);
	expect_all_fine(&sum);
	for (unsigned i = 0; i < CROWD; i++)
		(void)close(crowd[i]);
	must_daemon_fds_fall(&passage.agent, fds + FDS_SLACK, 5000);
}
END_TEST

/* As many as the descriptors are, and more, who say nothing or half of something. */
static void crowd_in(const char *socket_path, int crowd[SMALL_CROWD])
{
	for (unsigned i = 0; i < SMALL_CROWD; i++) {
		crowd[i] = must_http_connect(socket_path);
		if (i % 2 == 0)
			(void)http_write(crowd[i], "POST /v1", 8);
	}
}

/* Half of the descriptors are for clients; at that cap somebody gives way, and the links have what
 * they need to come back. */
START_TEST(where_descriptors_are_few_the_good_get_in_and_the_links_come_back)
{
	static struct answer answer;
	static int at_agent[SMALL_CROWD];
	static int at_node[SMALL_CROWD];

	passage.agent.fd_limit = FEW_FDS;
	passage.node.fd_limit = FEW_FDS;
	must_passage_start(&passage);
	expect_log(&passage.agent, "event=connections-lowered from=512 to=32", 5000);
	crowd_in(passage.web_socket, at_agent);
	crowd_in(passage.app_socket, at_node);
	for (unsigned i = 0; i < 20; i++) {
		must_call(passage.web_socket, "quote.price", "{}", &answer);
		expect_status(&answer, 200);
		must_get(passage.app_socket, "/livez", &answer);
		expect_status(&answer, 200);
	}
	ck_assert_uint_lt(must_daemon_fds(&passage.agent), FEW_FDS);
	(void)must_broker_close_connections(&e2e_broker, passage.web_user, "away");
	must_passage_recover(&passage, 5000);
	for (unsigned i = 0; i < SMALL_CROWD; i++) {
		(void)close(at_agent[i]);
		(void)close(at_node[i]);
	}
}
END_TEST

START_TEST(a_crowd_at_rest_does_not_keep_those_out_who_come)
{
	static const char request[] = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
	static struct answer answer;
	static int resting[RESTING];
	static int coming[COMING];

	must_passage_start(&passage);
	must_raise_fd_limit();
	for (unsigned i = 0; i < RESTING; i++) {
		resting[i] = must_http_connect(passage.web_socket);
		ck_assert(http_write(resting[i], request, sizeof request - 1));
		ck_assert(http_read_answer(resting[i], 5000, &answer));
		expect_status(&answer, 200);
	}
	for (unsigned i = 0; i < COMING; i++)
		coming[i] = must_http_connect(passage.web_socket);
	for (unsigned i = 0; i < COMING; i++)
		ck_assert(http_write(coming[i], request, sizeof request - 1));
	for (unsigned i = 0; i < COMING; i++) {
		ck_assert(http_read_answer(coming[i], 5000, &answer));
		expect_status(&answer, 200);
	}
	for (unsigned i = 0; i < COMING; i++)
		(void)close(coming[i]);
	for (unsigned i = 0; i < RESTING; i++)
		(void)close(resting[i]);
	expect_crossing(&passage);
}
END_TEST

/* Beside what tests of the server try: here with the daemons' own paths. */
static const struct {
	const char *request;
	int status;
	const char *type;
} wrong[] = {
	{ "GET /v1/status HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400, "bad-request" },
	{ "GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400,
		"bad-request" },
	{ "GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n", 413,
		"payload-too-large" },
	{ "GET /v1/status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400,
		"bad-request" },
	{ "BREW * HTTP/1.1\r\nHost: x\r\n\r\n", 405, "wrong-method" },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "wrong-version" },
	{ "GET /v1/status\r\n", 400, "bad-request" },
	{ "\x16\x03\x01\x02\x01\x01\xfc\x03\x03", 400, "bad-request" },
};

static void expect_allow(
	const char *socket_path, const char *method, const char *path, const char *allow)
{
	static struct answer answer;
	char allowed[64];

	ck_assert(http_ask(socket_path, method, path, NULL, "", 5000, &answer));
	expect_problem(&answer, 405, "wrong-method");
	ck_assert(answer_header(&answer, "Allow", allowed, sizeof allowed));
	ck_assert_str_eq(allowed, allow);
}

static void expect_refused_once(const char *socket_path)
{
	static struct answer answer;
	char allowed[64];

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		int fd = must_http_connect(socket_path);

		ck_assert(http_write(fd, wrong[i].request, strlen(wrong[i].request)));
		ck_assert(http_read_answer(fd, 5000, &answer));
		expect_problem(&answer, wrong[i].status, wrong[i].type);
		ck_assert_int_eq(answer_header(&answer, "Allow", allowed, sizeof allowed),
			wrong[i].status == 405);
		/* One answer, and nothing behind it. */
		ck_assert_int_eq(recv(fd, allowed, 1, 0), 0);
		(void)close(fd);
	}
	/* Methods that are not this path's, known or not. */
	static const char *const methods[] = { "DELETE", "POST", "OPTIONS", "PATCH", "BREW" };

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		expect_allow(socket_path, methods[i], "/v1/status", "GET, HEAD");
		expect_allow(socket_path, methods[i], "/livez", "GET, HEAD");
	}
}

START_TEST(every_error_is_one_problem_document_and_the_right_method_is_named)
{
	must_passage_start(&passage);
	expect_refused_once(passage.web_socket);
	expect_refused_once(passage.app_socket);
	expect_allow(passage.web_socket, "GET", "/v1/call/quote.price", "POST");
	expect_allow(passage.web_socket, "OPTIONS", "/v1/send/order.place", "POST");
}
END_TEST

START_TEST(callers_that_vanish_while_they_wait_are_forgotten)
{
	static const char request[] =
		"POST /v1/call/quote.short HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
	int fds[50];

	handler_set_rule(&passage.handler, &(struct handler_rule){ .act = HANDLER_HOLD });
	must_passage_start(&passage);
	unsigned before = must_daemon_fds(&passage.agent);

	for (unsigned i = 0; i < 50; i++) {
		fds[i] = must_http_connect(passage.web_socket);
		ck_assert(http_write(fds[i], request, sizeof request - 1));
	}
	must_handler_hold(&passage.handler, 1, 5000);
	for (unsigned i = 0; i < 50; i++)
		(void)close(fds[i]);
	must_daemon_fds_fall(&passage.agent, before + 2, 5000);
	handler_set_rule(&passage.handler, &(struct handler_rule){ .act = HANDLER_ECHO });
	handler_release(&passage.handler, 50);
	expect_crossing(&passage);
}
END_TEST

TCase *hostile_clients_case(void)
{
	TCase *t = e2e_case("hostile_clients", 120);

	tcase_add_test(t, ten_thousand_hostile_requests_to_the_agent_are_not_noticed_by_others);
	tcase_add_test(t, ten_thousand_hostile_requests_to_the_node_are_not_noticed_by_others);
	tcase_add_test(t, a_thousand_connections_at_once_do_not_keep_the_good_ones_out);
	tcase_add_test(t, where_descriptors_are_few_the_good_get_in_and_the_links_come_back);
	tcase_add_test(t, a_crowd_at_rest_does_not_keep_those_out_who_come);
	tcase_add_test(t, every_error_is_one_problem_document_and_the_right_method_is_named);
	tcase_add_test(t, callers_that_vanish_while_they_wait_are_forgotten);
	return t;
}
