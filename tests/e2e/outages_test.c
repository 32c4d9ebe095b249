/* outages_test.c - parts of the crossing go away and come back; nobody restarts the others. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "caller.h"
#include "e2e.h"
#include "must.h"

enum {
	LOAD_THREADS = 4,
	LOAD_PAUSE_US = 5000,
	RSS_MAY_GROW_KIB = 2048,
	FDS_SLACK = 2,
	RETURN_MS = 60000, /* until the broker listens again and calls cross */
};

static struct answer answer;

/* What the daemons hold. The connections to handlers, which come and go with the load, do not
 * count; those of the callers are always the same. */
struct footprint {
	uint64_t agent_kib;
	uint64_t node_kib;
	unsigned agent_fds;
	unsigned node_fds;
};

static struct footprint must_measure(void)
{
	return (struct footprint){
		.agent_kib = must_daemon_rss_kib(&passage.agent),
		.node_kib = must_daemon_rss_kib(&passage.node),
		.agent_fds = must_daemon_fds(&passage.agent),
		.node_fds = must_daemon_fds(&passage.node) -
			    handler_connections(&passage.handler),
	};
}

/* What one kill cost, seen by a thread beside the test: the script that starts the broker comes
 * back later than the daemons do. */
struct outage {
	pthread_t witness;
	uint64_t killed_at_us;
	uint64_t listening_at_us; /* the broker's port is open again; 0 = not seen */
	uint64_t answered_at_us;  /* a call crossed; 0 = none */
};

static bool broker_listens(void)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(e2e_broker.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_open = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;

	if (fd >= 0)
		(void)close(fd);
	return is_open;
}

static void *witness(void *arg)
{
	static struct answer seen;
	struct outage *o = arg;
	struct deadline d = deadline_in_ms(RETURN_MS);

	while (!broker_listens()) {
		if (deadline_has_passed(d))
			return NULL;
		must_pause();
	}
	o->listening_at_us = clock_mono_us();
	while (!http_ask(passage.web_socket, "POST", "/v1/call/quote.short", NULL, "{}",
		       RECOVER_MS, &seen) ||
		seen.status != 200) {
		if (deadline_has_passed(d))
			return NULL;
		must_pause();
	}
	o->answered_at_us = clock_mono_us();
	return NULL;
}

static void show_footprint(const struct footprint *f)
{
	(void)printf("  agent %6llu KiB %3u fds   node %6llu KiB %3u fds\n",
		(unsigned long long)f->agent_kib, f->agent_fds, (unsigned long long)f->node_kib,
		f->node_fds);
	(void)fflush(stdout);
}

static uint64_t reconnect_ms(const struct outage *o)
{
	return (o->answered_at_us - o->listening_at_us) / 1000;
}

static void show_kill(unsigned number, const struct outage *o, const struct footprint *f)
{
	if (!e2e_shows_kills)
		return;
	(void)printf("kill %4u: away %5llu ms, calls crossed %4llu ms later", number,
		(unsigned long long)(o->listening_at_us - o->killed_at_us) / 1000,
		(unsigned long long)reconnect_ms(o));
	show_footprint(f);
}

static void show_before(const struct footprint *f)
{
	if (!e2e_shows_kills)
		return;
	(void)printf("%-52s", "before:");
	show_footprint(f);
}

static void show_sum(
	const char *what, const struct caller_sum *sum, unsigned good_status, const char *means)
{
	if (!e2e_shows_kills)
		return;
	(void)printf("%s: %llu, of these %llu %s; the others were told that it did not work\n",
		what, (unsigned long long)sum->calls,
		(unsigned long long)sum->by_status[good_status], means);
	(void)fflush(stdout);
}

static long long grown(uint64_t before, uint64_t after)
{
	return (long long)after - (long long)before;
}

/* The first kill makes buffers that stay: growth is what comes after it. */
static void show_end(
	uint64_t slowest_ms, const struct footprint *first, const struct footprint *last)
{
	if (!e2e_shows_kills)
		return;
	(void)printf("%u kills: no daemon ended; calls crossed again %llu ms after the broker "
		     "listened, at the latest\n",
		e2e_kills, (unsigned long long)slowest_ms);
	(void)printf("since the first kill: agent %+lld KiB %+lld fds, node %+lld KiB %+lld "
		     "fds",
		grown(first->agent_kib, last->agent_kib),
		grown(first->agent_fds, last->agent_fds),
		grown(first->node_kib, last->node_kib), grown(first->node_fds, last->node_fds));
	if (must_is_sanitized())
		(void)printf(" (at most %d fds; a sanitizer keeps memory)\n", FDS_SLACK);
	else
		(void)printf(" (at most %d KiB, %d fds)\n", RSS_MAY_GROW_KIB, FDS_SLACK);
}

static void must_kill_once(struct outage *o)
{
	*o = (struct outage){ .killed_at_us = clock_mono_us() };
	must_broker_kill(&e2e_broker);
	must_status_become(passage.web_socket, "\"ready\":false", 2000);
	if (pthread_create(&o->witness, NULL, witness, o) != 0)
		must_fail("a witness has no thread");
	must_broker_start(&e2e_broker);
	must_passage_recover(&passage, RECOVER_MS);
	must_status_become(passage.web_socket, "\"ready\":true", RECOVER_MS);
	must_status_become(passage.app_socket, "\"ready\":true", RECOVER_MS);
	(void)pthread_join(o->witness, NULL);
	ck_assert_uint_ne(o->answered_at_us, 0);
}

/* Descriptors are counted one after the other while connections come and go: a moment later it
 * must be true. */
static struct footprint must_hold_no_more_fds_than(const struct footprint *first)
{
	struct deadline d = deadline_in_ms(3000);
	struct footprint now = must_measure();

	while (now.agent_fds > first->agent_fds + FDS_SLACK ||
		now.node_fds > first->node_fds + FDS_SLACK) {
		if (deadline_has_passed(d))
			must_fail("file descriptors: agent %u, then %u; node %u, then %u",
				first->agent_fds, now.agent_fds, first->node_fds, now.node_fds);
		must_pause();
		now = must_measure();
	}
	return now;
}

START_TEST(without_a_node_a_call_is_504_at_its_deadline_and_works_again_within_2_s)
{
	must_passage_start(&passage);
	expect_crossing(&passage);
	must_daemon_stop(&passage.node);
	must_call(passage.web_socket, "quote.short", "{}", &answer);
	expect_problem(&answer, 504, "deadline-exceeded");
	ck_assert_uint_le(answer.took_us, (SHORT_DEADLINE_MS + OVERHEAD_MS) * 1000);
	must_daemon_start(&passage.node);
	must_passage_recover(&passage, RECOVER_MS);
	must_daemon_kill(&passage.node);
	must_call(passage.web_socket, "quote.short", "{}", &answer);
	expect_problem(&answer, 504, "deadline-exceeded");
	must_daemon_start(&passage.node);
	must_passage_recover(&passage, RECOVER_MS);
}
END_TEST

START_TEST(an_agent_killed_and_started_again_goes_on)
{
	must_passage_start(&passage);
	must_daemon_kill(&passage.agent);
	must_daemon_start(&passage.agent);
	must_passage_recover(&passage, RECOVER_MS);
}
END_TEST

START_TEST(without_a_broker_everything_is_503_at_once_and_works_again_within_2_s)
{
	must_passage_start(&passage);
	expect_crossing(&passage);
	must_broker_stop(&e2e_broker);
	must_status_become(passage.web_socket, "\"ready\":false", 2000);
	must_call(passage.web_socket, "quote.price", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
	ck_assert_uint_le(answer.took_us, AT_ONCE_MS * 1000);
	must_send(passage.web_socket, "note.leave", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
	ck_assert_uint_le(answer.took_us, AT_ONCE_MS * 1000);
	ck_assert_uint_eq(handler_count(&passage.handler), 1);
	must_get(passage.web_socket, "/livez", &answer);
	expect_status(&answer, 200);
	must_get(passage.web_socket, "/readyz", &answer);
	expect_status(&answer, 503);
	must_broker_start(&e2e_broker);
	must_passage_recover(&passage, RECOVER_MS);
	must_get(passage.web_socket, "/readyz", &answer);
	expect_status(&answer, 200);
}
END_TEST

START_TEST(a_daemon_started_before_its_broker_is_up_finds_it_later)
{
	must_broker_stop(&e2e_broker);
	must_passage_configure(&passage, "");
	must_daemon_start(&passage.agent);
	must_daemon_start(&passage.node);
	must_call(passage.web_socket, "quote.price", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
	must_broker_start(&e2e_broker);
	must_passage_recover(&passage, RECOVER_MS);
}
END_TEST

START_TEST(a_broker_killed_again_and_again_under_load_costs_nothing_for_good)
{
	static struct caller calls;
	static struct caller sends;
	static struct caller_sum sum;
	struct footprint first = { 0 };
	struct footprint last;
	struct outage o;
	uint64_t slowest_ms = 0;

	must_passage_start(&passage);
	must_caller_start(&calls, passage.web_socket, "/v1/call/quote.short", LOAD_THREADS, 0,
		LOAD_PAUSE_US);
	must_caller_start(
		&sends, passage.web_socket, "/v1/send/note.leave", 1, 0, LOAD_PAUSE_US);
	last = must_measure();
	show_before(&last);
	for (unsigned i = 0; i < e2e_kills; i++) {
		must_kill_once(&o);
		ck_assert(daemon_runs(&passage.agent));
		ck_assert(daemon_runs(&passage.node));
		last = must_measure();
		if (i == 0)
			first = last;
		if (reconnect_ms(&o) > slowest_ms)
			slowest_ms = reconnect_ms(&o);
		show_kill(i + 1, &o, &last);
	}
	last = must_hold_no_more_fds_than(&first);
	show_end(slowest_ms, &first, &last);
	caller_stop(&calls, &sum);
	show_sum("calls", &sum, 200, "answered");
	ck_assert_uint_eq(sum.strange, 0);
	ck_assert_uint_eq(sum.broken, 0);
	ck_assert_uint_gt(sum.fine, 0);
	/* 200, or a name: never a 500, never silence. */
	ck_assert_uint_eq(sum.calls,
		sum.fine + sum.by_status[502] + sum.by_status[503] + sum.by_status[504]);
	caller_stop(&sends, &sum);
	ck_assert_uint_eq(sum.broken, 0);
	/* A quorum queue keeps what it confirmed: each of them reaches the handler. */
	must_handler_distinct(
		&passage.handler, "note.leave", (unsigned)sum.by_status[202], 10000);
	show_sum("sends", &sum, 202, "accepted, each of which reached the handler");
	if (!must_is_sanitized()) {
		ck_assert_uint_le(last.agent_kib, first.agent_kib + RSS_MAY_GROW_KIB);
		ck_assert_uint_le(last.node_kib, first.node_kib + RSS_MAY_GROW_KIB);
	}
}
END_TEST

START_TEST(connections_that_the_broker_closes_come_back_and_say_why_they_went)
{
	must_passage_start(&passage);
	ck_assert_uint_eq(
		must_broker_close_connections(&e2e_broker, passage.web_user, "we move house"),
		2);
	expect_log(&passage.agent, "we move house", 2000);
	must_passage_recover(&passage, RECOVER_MS);
	expect_status_has(passage.web_socket, "\"code\":320");
	expect_status_has(passage.web_socket, "we move house");
}
END_TEST

START_TEST(a_lane_that_is_deleted_is_taken_up_again_when_it_is_back)
{
	must_passage_start(&passage);
	must_broker_delete_queue(&e2e_broker, passage.host.at, "FORWEB.reply");
	must_status_become(passage.web_socket, "\"ready\":false", 2000);
	must_broker_restore(&e2e_broker);
	must_passage_recover(&passage, 2 * RECOVER_MS);
	must_broker_delete_queue(&e2e_broker, passage.host.at, "FORAPP.call");
	must_status_become(passage.app_socket, "\"ready\":false", 2000);
	must_broker_restore(&e2e_broker);
	must_passage_recover(&passage, 2 * RECOVER_MS);
}
END_TEST

START_TEST(a_channel_that_the_broker_closes_is_named_and_comes_back)
{
	must_passage_start(&passage);
	must_broker_delete_exchange(&e2e_broker, passage.host.at, "x.forapp");
	must_send(passage.web_socket, "note.leave", "{}", &answer);
	ck_assert_int_ge(answer.status, 500);
	expect_log(&passage.agent, "NOT_FOUND", 2000);
	expect_status_has(passage.web_socket, "\"code\":404");
	must_broker_restore(&e2e_broker);
	must_passage_recover(&passage, 2 * RECOVER_MS);
	must_send(passage.web_socket, "note.leave", "{}", &answer);
	expect_status(&answer, 202);
	must_handler_get(&passage.handler, 2, 5000);
}
END_TEST

START_TEST(calls_that_the_border_refuses_end_at_once_by_name)
{
	must_passage_start(&passage);
	expect_crossing(&passage);
	must_broker_delete_exchange(&e2e_broker, passage.host.at, "x.forapp");
	must_call(passage.web_socket, "quote.price", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
	expect_body_has(&answer, "refuses calls (NOT_FOUND");
	ck_assert_ptr_null(strstr(answer.body, "retry_after_ms"));
	ck_assert_uint_lt(answer.took_us, 2000 * 1000); /* its deadline: 5 s */
	must_broker_restore(&e2e_broker);
	must_passage_recover(&passage, 2 * RECOVER_MS);
}
END_TEST

TCase *outages_case(void)
{
	TCase *t = e2e_case("outages", 120 + 30 * (double)e2e_kills);

	tcase_add_test(
		t, without_a_node_a_call_is_504_at_its_deadline_and_works_again_within_2_s);
	tcase_add_test(t, an_agent_killed_and_started_again_goes_on);
	tcase_add_test(t, connections_that_the_broker_closes_come_back_and_say_why_they_went);
	tcase_add_test(t, a_lane_that_is_deleted_is_taken_up_again_when_it_is_back);
	tcase_add_test(t, a_channel_that_the_broker_closes_is_named_and_comes_back);
	tcase_add_test(t, calls_that_the_border_refuses_end_at_once_by_name);
	tcase_add_test(
		t, without_a_broker_everything_is_503_at_once_and_works_again_within_2_s);
	tcase_add_test(t, a_daemon_started_before_its_broker_is_up_finds_it_later);
	tcase_add_test(t, a_broker_killed_again_and_again_under_load_costs_nothing_for_good);
	return t;
}
