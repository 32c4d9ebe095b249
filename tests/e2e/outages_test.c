/* outages_test.c - parts of the crossing go away and come back; nobody restarts the others. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "e2e.h"
#include "must.h"

enum { LOAD_THREADS = 4, LOAD_PAUSE_US = 2000, RSS_MAY_GROW_KIB = 2048 };

static struct answer answer;

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
	uint64_t kib[2] = { 0 };
	unsigned fds[2] = { 0 };

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
		if (i == 0) {
			kib[0] = must_daemon_rss_kib(&passage.agent);
			kib[1] = must_daemon_rss_kib(&passage.node);
			fds[0] = must_daemon_fds(&passage.agent);
			fds[1] = must_daemon_fds(&passage.node);
		}
	}
	unsigned fds_now[2] = { must_daemon_fds(&passage.agent),
		must_daemon_fds(&passage.node) };

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
	/* A connection more or less may be under way between the handlers and the node. */
	ck_assert_uint_le(fds_now[0], fds[0] + 2);
	ck_assert_uint_le(fds_now[1], fds[1] + LOAD_THREADS + 2);
	if (!must_is_sanitized()) {
		ck_assert_uint_le(
			must_daemon_rss_kib(&passage.agent), kib[0] + RSS_MAY_GROW_KIB);
		ck_assert_uint_le(
			must_daemon_rss_kib(&passage.node), kib[1] + RSS_MAY_GROW_KIB);
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
