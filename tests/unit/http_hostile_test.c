#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "http_help.h"
#include "unit.h"

#define HOST "Host: x\r\n"

enum {
	HOSTILE_THREADS = 4,
	HOSTILE_EACH = 2500,
	BURSTS = 3,
	BURST_SIZE = 1000,
	PATIENCE_MS = 20000,
	KEPT_OPEN = 40, /* per thread: connections that are begun and left */
	RELEASE_MS = 20,
};

static struct stage st;
static _Atomic bool is_over;
static _Atomic unsigned good_answers;
static struct timer releaser;

/* A generator of its own per thread, so that a failure can be repeated. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* -1 instead of a failed test: the server may well close on this one. */
static int try_connect(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 10 };
	struct timeval impatience = { .tv_usec = 20 * 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &impatience, sizeof(impatience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", st.path);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void say(int fd, const char *text)
{
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void say_much(int fd, char c, size_t len)
{
	char bytes[4096];

	memset(bytes, c, sizeof(bytes));
	while (len > 0) {
		ssize_t n = send(
			fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes), MSG_NOSIGNAL);

		if (n <= 0)
			return;
		len -= (size_t)n;
	}
}

static void read_a_little(int fd)
{
	char bytes[512];

	(void)!recv(fd, bytes, sizeof(bytes), 0);
}

typedef void (*hostility_fn)(int fd, uint32_t *random);

static void half_a_request(int fd, uint32_t *random)
{
	static const char whole[] = "POST /echo HTTP/1.1\r\n" HOST
				    "Content-Length: 4\r\n\r\nbody";

	(void)!send(fd, whole, next_random(random) % (sizeof(whole) - 2), MSG_NOSIGNAL);
}

static void a_giant_header(int fd, uint32_t *random)
{
	say(fd, "GET /x HTTP/1.1\r\n" HOST "X: ");
	say_much(fd, 'x', 1000 + next_random(random) % 100000);
	read_a_little(fd);
}

static void a_giant_path(int fd, uint32_t *random)
{
	say(fd, "GET /");
	say_much(fd, 'p', 1000 + next_random(random) % 100000);
	read_a_little(fd);
}

static void a_thousand_headers(int fd, uint32_t *random)
{
	(void)random;
	say(fd, "GET /x HTTP/1.1\r\n" HOST);
	for (int i = 0; i < 1000; i++)
		say(fd, "a:\r\n");
	say(fd, "\r\n");
	read_a_little(fd);
}

static void a_wrong_length(int fd, uint32_t *random)
{
	char head[128];

	snprintf(head, sizeof(head),
		"POST /echo HTTP/1.1\r\n" HOST "Content-Length: %u\r\n\r\nx",
		2 + next_random(random) % 5000);
	say(fd, head);
}

static void garbage(int fd, uint32_t *random)
{
	char bytes[700];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)next_random(random);
	(void)!send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
	if (next_random(random) % 2 == 0) {
		say(fd, "\r\n\r\n");
		read_a_little(fd);
	}
}

static void an_answer_never_read(int fd, uint32_t *random)
{
	(void)random;
	say(fd, "GET /size/1000000 HTTP/1.1\r\n" HOST "\r\n");
}

static void gone_while_it_waits(int fd, uint32_t *random)
{
	(void)random;
	say(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
}

static void gone_before_it_asked(int fd, uint32_t *random)
{
	(void)random;
	(void)fd;
}

static void many_at_once_unread(int fd, uint32_t *random)
{
	static const char *const some[] = { "GET /later HTTP/1.1\r\n" HOST "\r\n",
		"GET /x HTTP/1.1\r\n" HOST "\r\n",
		"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
		"GET /size/5000 HTTP/1.1\r\n" HOST "\r\n",
		"GET /hold HTTP/1.1\r\n" HOST "\r\n" };

	for (int i = 0; i < 30; i++)
		say(fd, some[next_random(random) % ARRAY_COUNT(some)]);
}

static void chunked_nonsense(int fd, uint32_t *random)
{
	static const char *const some[] = { "zz\r\n", "ffffffffffffffffff\r\n", "5\r\nabc",
		"-1\r\n", "1;", "3\r\nabcX\r\n", "0\r\nbad trailer\r\n\r\n", "\r\n\r\n" };

	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	say(fd, some[next_random(random) % ARRAY_COUNT(some)]);
}

static void a_body_too_large(int fd, uint32_t *random)
{
	(void)random;
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 100; i++) {
		say(fd, "1000\r\n");
		say_much(fd, 'b', 4096);
		say(fd, "\r\n");
	}
}

static void a_half_closed_wait(int fd, uint32_t *random)
{
	say(fd, next_random(random) % 2 == 0 ? "GET /later HTTP/1.1\r\n" HOST "\r\n"
					     : "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	shutdown(fd, SHUT_WR);
	read_a_little(fd);
}

static void mutated(int fd, uint32_t *random)
{
	char text[] = "POST /echo?a=%20b HTTP/1.1\r\n" HOST
		      "Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody";

	for (int i = 0; i < 3; i++)
		text[next_random(random) % (sizeof(text) - 1)] = (char)next_random(random);
	(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
}

static const hostility_fn hostilities[] = {
	half_a_request,
	a_giant_header,
	a_giant_path,
	a_thousand_headers,
	a_wrong_length,
	garbage,
	an_answer_never_read,
	gone_while_it_waits,
	gone_before_it_asked,
	many_at_once_unread,
	chunked_nonsense,
	a_body_too_large,
	a_half_closed_wait,
	mutated,
};

static void *be_hostile(void *arg)
{
	uint32_t random = (uint32_t)(uintptr_t)arg;
	int kept[KEPT_OPEN];

	for (int i = 0; i < KEPT_OPEN; i++)
		kept[i] = -1;
	for (int i = 0; i < HOSTILE_EACH; i++) {
		int fd = try_connect();

		ck_assert_msg(fd >= 0, "connect: %s", strerror(errno));
		hostilities[(size_t)i % ARRAY_COUNT(hostilities)](fd, &random);
		if (next_random(&random) % 3 != 0) {
			close(fd);
			continue;
		}
		int *place = &kept[next_random(&random) % KEPT_OPEN];

		if (*place >= 0)
			close(*place);
		*place = fd;
	}
	for (int i = 0; i < KEPT_OPEN; i++)
		if (kept[i] >= 0)
			close(kept[i]);
	return NULL;
}

static void *come_in_crowds(void *arg)
{
	static struct pollfd crowd[BURST_SIZE];

	(void)arg;
	for (int burst = 0; burst < BURSTS; burst++) {
		for (int i = 0; i < BURST_SIZE; i++) {
			crowd[i] = (struct pollfd){ .fd = try_connect(), .events = POLLIN };
			ck_assert_int_ge(crowd[i].fd, 0);
			if (i % 2 == 0)
				say(crowd[i].fd, "GET /half HT");
		}
		/* Nobody leaves before the crowd has been noticed: somebody had to give way. */
		ck_assert_int_gt(poll(crowd, BURST_SIZE, PATIENCE_MS), 0);
		for (int i = 0; i < BURST_SIZE; i++)
			close(crowd[i].fd);
	}
	return NULL;
}

/* Sees nothing but 200s, on kept connections and on new ones. */
static void *be_good(void *arg)
{
	uint64_t longest_us = 0;

	(void)arg;
	while (!is_over) {
		int fd = must_connect(st.path);

		for (int i = 0; i < 20; i++) {
			uint64_t begin_us = clock_mono_us();

			must_ask(fd,
				"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\ngood",
				200, "good");
			must_ask(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n", 200, "later");
			good_answers += 2;
			uint64_t took_us = clock_mono_us() - begin_us;

			longest_us = took_us > longest_us ? took_us : longest_us;
		}
		close(fd);
	}
	ck_assert_uint_lt(longest_us, 5 * 1000 * 1000);
	return NULL;
}

static void on_release(struct timer *timer)
{
	release_all(&st);
	timer_after(timer, RELEASE_MS);
}

static void play_siege(struct stage *s)
{
	pthread_t hostile[HOSTILE_THREADS];
	pthread_t crowd;
	pthread_t good;

	(void)s;
	ck_assert_int_eq(pthread_create(&good, NULL, be_good, NULL), 0);
	ck_assert_int_eq(pthread_create(&crowd, NULL, come_in_crowds, NULL), 0);
	for (uintptr_t i = 0; i < HOSTILE_THREADS; i++)
		ck_assert_int_eq(
			pthread_create(&hostile[i], NULL, be_hostile, (void *)(i + 1)), 0);
	for (int i = 0; i < HOSTILE_THREADS; i++)
		pthread_join(hostile[i], NULL);
	pthread_join(crowd, NULL);
	is_over = true;
	pthread_join(good, NULL);
}

static void play_one_good(struct stage *s)
{
	int fd = must_connect(s->path);

	must_ask(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x");
	close(fd);
}

START_TEST(ten_thousand_hostile_requests_stop_neither_the_server_nor_a_good_client)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);

	/* Once, for what libuv keeps open for good. */
	stage_open(&st);
	stage_close(&st);
	unsigned fds_before = open_fds();

	stage_open(&st);
	stage_serve(&st, (struct http_server_config){ .max_connections = 200,
				 .max_body_bytes = KIB(128),
				 .request_timeout_ms = 500,
				 .idle_timeout_ms = 1000 });
	timer_init(&releaser, &st.loop, on_release);
	timer_after(&releaser, RELEASE_MS);
	stage_play(&st, play_siege);
	timer_cancel(&releaser);
	release_all(&st);
	stage_play(&st, play_one_good);

	const struct http_server_counters *counts = http_server_counters(st.server);

	ck_assert_uint_ge(
		counts->accepted, HOSTILE_THREADS * HOSTILE_EACH + BURSTS * BURST_SIZE);
	ck_assert_uint_le(counts->open_count, 200);
	ck_assert_uint_gt(counts->evicted, 0);
	ck_assert_uint_gt(counts->bad_request, 100);
	ck_assert_uint_gt(counts->body_too_large, 100);
	ck_assert_uint_gt(good_answers, 100);
	stage_close(&st);
	ck_assert_uint_eq(open_fds(), fds_before);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http_hostile");
	TCase *tc = tcase_create("http_hostile");

	tcase_set_timeout(tc, 150);
	tcase_add_test(
		tc, ten_thousand_hostile_requests_stop_neither_the_server_nor_a_good_client);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
