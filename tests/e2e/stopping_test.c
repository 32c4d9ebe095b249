/* stopping_test.c - SIGTERM: no new work, what runs comes to its end, exit 0. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "e2e.h"
#include "must.h"

enum { WAITING = 8, END_MS = 5000 };

static struct answer answers[WAITING];
static struct answer answer;

static void *ask_patiently(void *arg)
{
	(void)http_ask(passage.web_socket, "POST", "/v1/call/quote.patient", NULL, "{\"n\":1}",
		30000, arg);
	return NULL;
}

/* Calls that the handler holds, each in a thread. */
static void must_begin_calls(pthread_t *threads)
{
	handler_set_rule(&passage.handler,
		&(struct handler_rule){ .act = HANDLER_HOLD, .body = "{\"n\":\"done\"}" });
	must_passage_start(&passage);
	for (unsigned i = 0; i < WAITING; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, ask_patiently, &answers[i]), 0);
	must_handler_hold(&passage.handler, WAITING, 10000);
}

static void expect_results(const pthread_t *threads)
{
	for (unsigned i = 0; i < WAITING; i++) {
		(void)pthread_join(threads[i], NULL);
		expect_status(&answers[i], 200);
		expect_body(&answers[i], "{\"n\":\"done\"}");
	}
}

START_TEST(a_stopping_agent_lets_its_calls_end)
{
	pthread_t threads[WAITING];

	must_begin_calls(threads);
	must_daemon_terminate(&passage.agent);
	expect_log(&passage.agent, "stop", 2000);
	/* New work is not taken, and the caller is told so at once. */
	must_call(passage.web_socket, "quote.price", "{}", &answer);
	expect_problem(&answer, 503, "stopping");
	ck_assert_uint_le(answer.took_us, 1000000);
	must_send(passage.web_socket, "order.place", "{\"customer\":\"c-1\"}", &answer);
	expect_problem(&answer, 503, "stopping");
	must_get(passage.web_socket, "/readyz", &answer);
	expect_problem(&answer, 503, "stopping");
	must_get(passage.web_socket, "/livez", &answer);
	expect_status(&answer, 200);
	ck_assert(daemon_runs(&passage.agent));
	handler_release(&passage.handler, WAITING);
	expect_results(threads);
	ck_assert_int_eq(must_daemon_end(&passage.agent, END_MS), 0);
}
END_TEST

START_TEST(a_stopping_node_lets_its_calls_end)
{
	pthread_t threads[WAITING];

	must_begin_calls(threads);
	must_daemon_terminate(&passage.node);
	expect_log(&passage.node, "stop", 2000);
	must_get(passage.app_socket, "/readyz", &answer);
	expect_problem(&answer, 503, "stopping");
	handler_release(&passage.handler, WAITING);
	expect_results(threads);
	ck_assert_int_eq(must_daemon_end(&passage.node, END_MS), 0);
}
END_TEST

START_TEST(a_stopping_node_hands_back_what_it_has_not_begun)
{
	struct handler *h = &passage.handler;

	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_HOLD });
	must_passage_start(&passage);
	for (unsigned i = 0; i < 10; i++) {
		must_send(passage.web_socket, "order.place", "{\"customer\":\"c-1\"}", &answer);
		expect_status(&answer, 202);
	}
	must_handler_hold(h, 1, 5000);
	must_daemon_terminate(&passage.node);
	expect_log(&passage.node, "stop", 2000);
	handler_release(h, 1);
	ck_assert_int_eq(must_daemon_end(&passage.node, END_MS), 0);
	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_ECHO });
	must_daemon_start(&passage.node);
	/* One ended before, nine after; one key, so no repetition either. */
	must_handler_get(h, 10, 5000);
	ck_assert_uint_eq(handler_distinct_ids(h, "order.place"), 10);
	ck_assert_uint_eq(must_broker_count(&e2e_broker, passage.host.at, "FORAPP.send"), 0);
}
END_TEST

START_TEST(daemons_stop_at_once_when_nothing_runs)
{
	must_passage_start(&passage);
	expect_crossing(&passage);
	uint64_t start_us = clock_mono_us();

	must_daemon_stop(&passage.agent);
	must_daemon_stop(&passage.node);
	if (!must_is_sanitized())
		ck_assert_uint_le(clock_mono_us() - start_us, 1000000);
}
END_TEST

START_TEST(daemons_stop_without_a_border_too)
{
	passage.ports[0] = 1; /* nobody listens there */
	must_passage_configure(&passage, "");
	must_daemon_start(&passage.agent);
	must_daemon_start(&passage.node);
	must_daemon_stop(&passage.agent);
	must_daemon_stop(&passage.node);
}
END_TEST

START_TEST(a_second_daemon_on_the_same_socket_does_not_start)
{
	struct daemon other;

	must_passage_start(&passage);
	other = passage.agent;
	other.pid = 0;
	other.ready_fd = -1;
	must_daemon_launch(&other);
	ck_assert_int_eq(must_daemon_end(&other, END_MS), 111);
	daemon_allow_error(&passage.agent, "web.sock");
	daemon_allow_error(&passage.agent, "event=failed");
	expect_crossing(&passage);
}
END_TEST

TCase *stopping_case(void)
{
	TCase *t = e2e_case("stopping", 60);

	tcase_add_test(t, a_stopping_agent_lets_its_calls_end);
	tcase_add_test(t, a_stopping_node_lets_its_calls_end);
	tcase_add_test(t, a_stopping_node_hands_back_what_it_has_not_begun);
	tcase_add_test(t, daemons_stop_at_once_when_nothing_runs);
	tcase_add_test(t, daemons_stop_without_a_border_too);
	tcase_add_test(t, a_second_daemon_on_the_same_socket_does_not_start);
	return t;
}
