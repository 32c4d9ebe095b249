/* A bad network, from both ends: network.h, through the thread that tests keep it in. */
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "must.h"
#include "proxy.h"
#include "unit/unit.h"

enum { SOON_MS = 5000, QUIET_MS = 50 };

static struct proxy proxy;
static int listen_fd;
static int near_fd; /* who connected */
static int far_fd;  /* whom he meant */

static int must_dial(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_ge(fd, 0);
	if (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	ck_assert_int_eq(errno, ECONNREFUSED);
	(void)close(fd);
	return -1;
}

static void must_connect(void)
{
	near_fd = must_dial(proxy.port);
	ck_assert_int_ge(near_fd, 0);
	ck_assert(must_wait_readable(listen_fd, deadline_in_ms(SOON_MS)));
	far_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(far_fd, 0);
}

static void hang_up(void)
{
	(void)close(near_fd);
	(void)close(far_fd);
}

static void setup(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;

	must_enter_test();
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listen_fd, (const struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(listen_fd, 16), 0);
	ck_assert_int_eq(getsockname(listen_fd, (struct sockaddr *)&at, &len), 0);
	must_proxy_start(&proxy, ntohs(at.sin_port));
	must_connect();
}

static void teardown(void)
{
	hang_up();
	proxy_stop(&proxy);
	proxy_stop(&proxy);
	(void)close(listen_fd);
}

static void must_write(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* So many bytes, all at once or one by one. */
static void expect_bytes(int fd, const char *text)
{
	char got[256] = { 0 };
	size_t len = 0;

	while (len < strlen(text)) {
		ck_assert_msg(must_wait_readable(fd, deadline_in_ms(SOON_MS)),
			"\"%s\" instead of \"%s\"", got, text);
		ssize_t count = recv(fd, got + len, strlen(text) - len, 0);

		ck_assert_msg(count > 0, "\"%s\" instead of \"%s\"", got, text);
		len += (size_t)count;
	}
	ck_assert_str_eq(got, text);
}

static void expect_quiet(int fd)
{
	ck_assert(!must_wait_readable(fd, deadline_in_ms(QUIET_MS)));
}

/* 0: FIN, else the errno. */
static void expect_end(int fd, int wanted_errno)
{
	char byte;

	ck_assert(must_wait_readable(fd, deadline_in_ms(SOON_MS)));
	ssize_t count = recv(fd, &byte, 1, 0);

	ck_assert_int_eq(count, wanted_errno == 0 ? 0 : -1);
	if (wanted_errno != 0)
		ck_assert_int_eq(errno, wanted_errno);
}

static void expect_passage(void)
{
	must_write(near_fd, "question");
	expect_bytes(far_fd, "question");
	must_write(far_fd, "answer");
	expect_bytes(near_fd, "answer");
}

START_TEST(a_good_network_passes_bytes_and_ends)
{
	expect_passage();
	ck_assert_int_eq(shutdown(near_fd, SHUT_WR), 0);
	expect_end(far_fd, 0);
	must_write(far_fd, "the last word");
	expect_bytes(near_fd, "the last word");
	ck_assert_int_eq(shutdown(far_fd, SHUT_WR), 0);
	expect_end(near_fd, 0);
}
END_TEST

START_TEST(what_is_delayed_comes_later_and_in_order)
{
	must_proxy(&proxy, "delay up 60ms");
	uint64_t start_us = clock_mono_us();

	must_write(near_fd, "one ");
	must_write(near_fd, "two");
	expect_bytes(far_fd, "one two");
	ck_assert_uint_ge(clock_mono_us() - start_us, 60000);
	/* What was delayed under the old order comes at once under the new one. */
	must_proxy(&proxy, "delay down 1h");
	must_write(far_fd, "late");
	expect_quiet(near_fd);
	must_proxy(&proxy, "heal");
	expect_bytes(near_fd, "late");
}
END_TEST

START_TEST(a_trickle_pays_out_by_the_second)
{
	must_proxy(&proxy, "trickle down 200/s");
	uint64_t start_us = clock_mono_us();

	must_write(far_fd, "twenty bytes or so..");
	expect_bytes(near_fd, "twenty bytes or so..");
	ck_assert_uint_ge(clock_mono_us() - start_us, 95000);
	must_write(near_fd, "the other way is free");
	expect_bytes(far_fd, "the other way is free");
	must_proxy(&proxy, "trickle down 1/s");
	must_write(far_fd, "slow");
	expect_quiet(near_fd);
	must_proxy(&proxy, "pass");
	expect_bytes(near_fd, "slow");
}
END_TEST

START_TEST(a_black_hole_takes_everything_and_closes_nothing)
{
	must_proxy(&proxy, "swallow");
	must_write(near_fd, "hello?");
	must_write(far_fd, "hello?");
	ck_assert_int_eq(shutdown(near_fd, SHUT_WR), 0);
	expect_quiet(far_fd);
	expect_quiet(near_fd);
	must_proxy(&proxy, "heal");
	expect_bytes(far_fd, "hello?");
	expect_bytes(near_fd, "hello?");
	expect_end(far_fd, 0);
}
END_TEST

START_TEST(even_a_reset_is_not_heard_through_a_black_hole)
{
	struct linger at_once = { .l_onoff = 1 };

	must_proxy(&proxy, "swallow both");
	must_write(near_fd, "x");
	ck_assert_int_eq(
		setsockopt(near_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
	(void)close(near_fd);
	near_fd = -1;
	expect_quiet(far_fd);
	must_proxy(&proxy, "heal");
	expect_end(far_fd, ECONNRESET);
}
END_TEST

START_TEST(a_hole_one_way_lets_the_other_way_through)
{
	must_proxy(&proxy, "swallow up");
	must_write(near_fd, "lost");
	must_write(far_fd, "heard");
	expect_bytes(near_fd, "heard");
	expect_quiet(far_fd);
}
END_TEST

START_TEST(cut_ends_both_sides_with_fin)
{
	expect_passage();
	must_proxy(&proxy, "cut");
	expect_end(near_fd, 0);
	expect_end(far_fd, 0);
	hang_up();
	must_connect();
	expect_passage();
}
END_TEST

START_TEST(reset_ends_both_sides_with_rst)
{
	expect_passage();
	must_proxy(&proxy, "reset");
	expect_end(near_fd, ECONNRESET);
	expect_end(far_fd, ECONNRESET);
}
END_TEST

START_TEST(cut_after_byte_n_passes_n_bytes)
{
	must_proxy(&proxy, "cut up 5");
	must_write(far_fd, "not this way");
	expect_bytes(near_fd, "not this way");
	must_write(near_fd, "abc");
	expect_bytes(far_fd, "abc");
	must_write(near_fd, "defg");
	expect_bytes(far_fd, "de");
	expect_end(far_fd, 0);
	must_proxy_fire(&proxy, 1, SOON_MS);
	hang_up();
	must_connect(); /* once only */
	expect_passage();
}
END_TEST

START_TEST(cut_at_byte_0_waits_for_the_first_byte)
{
	must_proxy(&proxy, "reset down 0");
	expect_quiet(near_fd);
	must_write(far_fd, "x");
	expect_end(near_fd, ECONNRESET);
}
END_TEST

START_TEST(the_last_of_n_bytes_is_enough)
{
	must_proxy(&proxy, "reset up 3");
	must_write(near_fd, "abc");
	expect_end(near_fd, ECONNRESET);
}
END_TEST

START_TEST(half_close_ends_one_way_only)
{
	must_proxy(&proxy, "half-close up");
	expect_end(far_fd, 0);
	must_write(near_fd, "nobody hears this");
	must_write(far_fd, "this one does");
	expect_bytes(near_fd, "this one does");
	ck_assert_int_eq(shutdown(far_fd, SHUT_WR), 0);
	expect_end(near_fd, 0);
}
END_TEST

START_TEST(half_close_after_byte_n)
{
	must_proxy(&proxy, "half-close down 4");
	must_write(far_fd, "one two");
	expect_bytes(near_fd, "one ");
	expect_end(near_fd, 0);
	must_write(near_fd, "still here");
	expect_bytes(far_fd, "still here");
}
END_TEST

START_TEST(one_bit_of_byte_n_is_turned_over)
{
	must_proxy(&proxy, "flip up 3");
	must_write(near_fd, "aa");
	expect_bytes(far_fd, "aa");
	must_write(near_fd, "aaaa");
	expect_bytes(far_fd, "a`aa");
	expect_passage();
	must_proxy(&proxy, "trickle up 1000/s");
	must_proxy(&proxy, "flip up 1");
	must_write(near_fd, "aaa");
	expect_bytes(far_fd, "a`a");
}
END_TEST

START_TEST(refused_connections_are_closed_at_once_and_others_live_on)
{
	must_proxy(&proxy, "refuse");
	int fd = must_dial(proxy.port);

	ck_assert_int_ge(fd, 0);
	expect_end(fd, 0);
	(void)close(fd);
	expect_passage();
	must_proxy(&proxy, "admit");
	hang_up();
	must_connect();
	expect_passage();
}
END_TEST

START_TEST(denied_connections_find_nobody_and_the_port_stays)
{
	uint16_t port = proxy.port;

	for (unsigned i = 0; i < 3; i++) {
		must_proxy(&proxy, "deny");
		ck_assert_int_eq(must_dial(port), -1);
		ck_assert_int_eq(must_dial(port), -1);
		expect_passage();
		must_proxy(&proxy, i == 1 ? "heal" : "admit");
		hang_up();
		must_connect();
		expect_passage();
	}
}
END_TEST

START_TEST(heal_forgets_what_waits_for_byte_n)
{
	must_proxy(&proxy, "cut both 3");
	must_proxy(&proxy, "heal");
	expect_passage();
}
END_TEST

START_TEST(a_target_that_is_not_there_closes_the_door)
{
	(void)close(listen_fd);
	int fd = must_dial(proxy.port);

	ck_assert_int_ge(fd, 0);
	expect_end(fd, ECONNRESET);
	(void)close(fd);
}
END_TEST

/* Much more than fits into the sockets and the proxy: it holds the sender up and loses nothing. */
START_TEST(a_megabyte_passes_every_kind_of_slowness)
{
	enum { TOTAL = 2 * 1024 * 1024, PART = 64 * 1024 };
	char *out = malloc(PART);
	char *in = malloc(PART);
	size_t sent = 0;
	size_t got = 0;
	struct deadline d = deadline_in_ms(20000);

	ck_assert(out != NULL && in != NULL);
	must_proxy(&proxy, "delay up 20ms");
	while (got < TOTAL) {
		ck_assert(!deadline_has_passed(d));
		for (size_t i = 0; i < PART; i++)
			out[i] = (char)((sent + i) * 7 + (sent + i) / 251);
		size_t left = TOTAL - sent < PART ? TOTAL - sent : PART;
		ssize_t count = send(near_fd, out, left, MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += count > 0 ? (size_t)count : 0;
		if (sent == TOTAL)
			must_proxy(&proxy, "heal");
		if (count <= 0 && !must_wait_readable(far_fd, d))
			break;
		count = recv(far_fd, in, PART, MSG_DONTWAIT);
		for (ssize_t i = 0; i < count; i++) {
			if (in[i] != (char)((got + (size_t)i) * 7 + (got + (size_t)i) / 251))
				ck_abort_msg("byte %zu is another", got + (size_t)i);
		}
		got += count > 0 ? (size_t)count : 0;
	}
	ck_assert_uint_eq(got, TOTAL);
	free(out);
	free(in);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("network");
	TCase *t = tcase_create("network");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_good_network_passes_bytes_and_ends);
	tcase_add_test(t, what_is_delayed_comes_later_and_in_order);
	tcase_add_test(t, a_trickle_pays_out_by_the_second);
	tcase_add_test(t, a_black_hole_takes_everything_and_closes_nothing);
	tcase_add_test(t, even_a_reset_is_not_heard_through_a_black_hole);
	tcase_add_test(t, a_hole_one_way_lets_the_other_way_through);
	tcase_add_test(t, cut_ends_both_sides_with_fin);
	tcase_add_test(t, reset_ends_both_sides_with_rst);
	tcase_add_test(t, cut_after_byte_n_passes_n_bytes);
	tcase_add_test(t, cut_at_byte_0_waits_for_the_first_byte);
	tcase_add_test(t, the_last_of_n_bytes_is_enough);
	tcase_add_test(t, half_close_ends_one_way_only);
	tcase_add_test(t, half_close_after_byte_n);
	tcase_add_test(t, one_bit_of_byte_n_is_turned_over);
	tcase_add_test(t, refused_connections_are_closed_at_once_and_others_live_on);
	tcase_add_test(t, denied_connections_find_nobody_and_the_port_stays);
	tcase_add_test(t, heal_forgets_what_waits_for_byte_n);
	tcase_add_test(t, a_target_that_is_not_there_closes_the_door);
	tcase_add_test(t, a_megabyte_passes_every_kind_of_slowness);
	suite_add_tcase(suite, t);
	return unit_run(suite);
}
