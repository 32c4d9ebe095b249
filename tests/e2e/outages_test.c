/* outages_test.c - parts of the crossing go away and come back; nobody restarts the others. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "e2e.h"
#include "must.h"

enum { LOAD_THREADS = 4, LOAD_PAUSE_US = 5000, RSS_MAY_GROW_KIB = 2048, FDS_SLACK = 2 };

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

	must_passage_start(&passage);
	must_caller_start(&calls, passage.web_socket, "/v1/call/quote.short", LOAD_THREADS, 0,
		LOAD_PAUSE_US);
	must_caller_start(
		&sends, passage.web_socket, "/v1/send/note.leave", 1, 0, LOAD_PAUSE_US);
	for (unsigned i = 0; i < e2e_kills; i++) {
		must_broker_kill(&e2e_broker);
		must_status_become(passage.web_socket, "\"ready\":false", 2000);
		must_broker_start(&e2e_broker);
		must_passage_recover(&passage, RECOVER_MS);
		must_status_become(passage.web_socket, "\"ready\":true", RECOVER_MS);
		must_status_become(passage.app_socket, "\"ready\":true", RECOVER_MS);
		ck_assert(daemon_runs(&passage.agent));
		ck_assert(daemon_runs(&passage.node));
		if (i == 0)
			first = must_measure();
	}
	last = must_hold_no_more_fds_than(&first);
	caller_stop(&calls, &sum);
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

TCase *outages_case(void)
{
	TCase *t = e2e_case("outages", 120 + 30 * (double)e2e_kills);

	tcase_add_test(
		t, without_a_node_a_call_is_504_at_its_deadline_and_works_again_within_2_s);
	tcase_add_test(t, an_agent_killed_and_started_again_goes_on);
	tcase_add_test(t, connections_that_the_broker_closes_come_back_and_say_why_they_went);
	tcase_add_test(t, a_lane_that_is_deleted_is_taken_up_again_when_it_is_back);
	tcase_add_test(t, a_channel_that_the_broker_closes_is_named_and_comes_back);
	tcase_add_test(
		t, without_a_broker_everything_is_503_at_once_and_works_again_within_2_s);
	tcase_add_test(t, a_daemon_started_before_its_broker_is_up_finds_it_later);
	tcase_add_test(t, a_broker_killed_again_and_again_under_load_costs_nothing_for_good);
	return t;
}
