/* sends_test.c - what the web realm hands over without waiting for an outcome. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "caller.h"
#include "e2e.h"
#include "must.h"

static struct answer answer;

START_TEST(an_accepted_send_reaches_the_handler_with_its_id)
{
	struct handler_request request;
	char id[64];

	must_passage_start(&passage);
	must_send(passage.web_socket, "order.place", "{\"customer\":\"c-7\",\"total\":3}",
		&answer);
	expect_status(&answer, 202);
	must_handler_get(&passage.handler, 1, 5000);
	must_handler_request(&passage.handler, 0, &request);
	ck_assert_str_eq(request.op, "order.place");
	ck_assert_str_eq(request.key, "c-7");
	ck_assert_str_eq(request.body, "{\"customer\":\"c-7\",\"total\":3}");
	must_format(id, sizeof id, "\"id\":\"%s\"", request.id);
	expect_body_has(&answer, id);
}
END_TEST

START_TEST(every_accepted_send_is_delivered_in_the_order_of_its_key)
{
	static struct caller caller;
	static struct caller_sum sum;
	static struct handler_request request;
	unsigned next[4] = { 0 };

	must_passage_start(&passage);
	must_caller_start(&caller, passage.web_socket, "/v1/send/order.place", 4, 150, 0);
	caller_finish(&caller, &sum);
	expect_all_fine(&sum);
	ck_assert_uint_eq(sum.by_status[202], 600);
	must_handler_get(&passage.handler, 600, 15000);
	ck_assert_uint_eq(handler_distinct_ids(&passage.handler, "order.place"), 600);
	/* The caller's body names its thread, which is the key, and counts. */
	for (unsigned i = 0; i < 600; i++) {
		unsigned customer;
		unsigned number;

		must_handler_request(&passage.handler, i, &request);
		ck_assert_int_eq(sscanf(request.body, "{\"customer\":\"c%u\",\"number\":%u}",
					 &customer, &number),
			2);
		ck_assert_uint_lt(customer, 4);
		ck_assert_uint_eq(number, next[customer]);
		next[customer]++;
	}
}
END_TEST

START_TEST(a_send_waits_at_the_border_while_the_node_is_away)
{
	must_passage_start(&passage);
	must_daemon_stop(&passage.node);
	for (unsigned i = 0; i < 20; i++) {
		must_send(passage.web_socket, "note.leave", "{\"note\":1}", &answer);
		expect_status(&answer, 202);
	}
	ck_assert_uint_eq(handler_count(&passage.handler), 0);
	must_daemon_start(&passage.node);
	must_handler_get(&passage.handler, 20, RECOVER_MS);
	ck_assert_uint_eq(handler_distinct_ids(&passage.handler, "note.leave"), 20);
}
END_TEST

START_TEST(a_send_is_tried_again_until_the_handler_takes_it)
{
	struct handler *h = &passage.handler;
	struct handler_request first;
	struct handler_request later;

	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_ANSWER, .status = 500 });
	must_passage_start(&passage);
	must_send(passage.web_socket, "note.leave", "{\"note\":1}", &answer);
	expect_status(&answer, 202);
	must_handler_get(h, 3, 10000);
	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_ECHO });
	unsigned count = handler_count(h);

	must_handler_get(h, count + 1, 10000);
	must_handler_request(h, 0, &first);
	must_handler_request(h, count, &later);
	ck_assert_str_eq(first.id, later.id);
	ck_assert_int_gt(later.attempt, first.attempt);
	/* Done is done: only the next message comes. */
	must_send(passage.web_socket, "note.leave", "{\"note\":2}", &answer);
	must_handler_get(h, count + 2, 5000);
	must_handler_request(h, count + 1, &later);
	ck_assert_str_eq(later.body, "{\"note\":2}");
}
END_TEST

START_TEST(a_node_killed_at_work_is_asked_again_under_the_same_id)
{
	struct handler *h = &passage.handler;
	struct handler_request first;
	struct handler_request again;

	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_HOLD });
	must_passage_start(&passage);
	must_send(passage.web_socket, "note.leave", "{\"note\":1}", &answer);
	expect_status(&answer, 202);
	must_handler_hold(h, 1, 5000);
	must_daemon_kill(&passage.node);
	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_ECHO });
	handler_release(h, 1);
	must_daemon_start(&passage.node);
	must_handler_get(h, 2, RECOVER_MS);
	must_handler_request(h, 0, &first);
	must_handler_request(h, 1, &again);
	ck_assert_str_eq(first.id, again.id);
}
END_TEST

START_TEST(a_repeated_send_under_one_key_is_one_message)
{
	must_passage_start(&passage);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(http_ask(passage.web_socket, "POST", "/v1/send/note.leave",
			"Idempotency-Key: once\r\n", "{\"note\":1}", 5000, &answer));
		expect_status(&answer, 202);
	}
	must_send(passage.web_socket, "note.leave", "{\"note\":\"last\"}", &answer);
	must_handler_get(&passage.handler, 2, 5000);
	ck_assert_uint_eq(handler_distinct_ids(&passage.handler, "note.leave"), 2);
	ck_assert_uint_eq(handler_count(&passage.handler), 2);
}
END_TEST

START_TEST(a_blocked_border_is_named_and_nothing_accepted_is_lost)
{
	unsigned accepted = 0;

	must_passage_start(&passage);
	expect_crossing(&passage);
	must_broker_block(&e2e_broker);
	/* The broker tells publishers only when one publishes. */
	for (unsigned i = 0; i < 4; i++) {
		ck_assert(http_ask(passage.web_socket, "POST", "/v1/send/note.leave", NULL,
			"{\"note\":1}", 30000, &answer));
		accepted += answer.status == 202;
		ck_assert(answer.status == 202 || answer.status >= 500);
	}
	expect_problem(&answer, 503, "border-unavailable");
	must_status_become(passage.web_socket, "\"state\":\"blocked\"", 2000);
	must_get(passage.web_socket, "/readyz", &answer);
	expect_problem(&answer, 503, "not-ready");
	expect_body_has(&answer, "takes no messages at present (low on");
	must_broker_unblock(&e2e_broker);
	must_passage_recover(&passage, RECOVER_MS);
	must_send(passage.web_socket, "note.leave", "{\"note\":2}", &answer);
	expect_status(&answer, 202);
	ck_assert_uint_ge(handler_distinct_ids(&passage.handler, "note.leave"), accepted);
}
END_TEST

/* The first of them the broker has half in its hands when it stops reading. */
START_TEST(calls_are_told_at_once_that_the_border_is_blocked)
{
	must_passage_start(&passage);
	expect_crossing(&passage);
	must_broker_block(&e2e_broker);
	do {
		uint64_t begun_us = clock_mono_us();

		must_call(passage.web_socket, "quote.price", "{}", &answer);
		ck_assert_uint_lt(
			clock_mono_us() - begun_us, 2000 * 1000); /* its deadline: 5 s */
	} while (answer.status == 200);
	expect_problem(&answer, 503, "border-unavailable");
	expect_body_has(&answer, "takes no messages at present (low on");
	must_call(passage.web_socket, "quote.price", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
	expect_body_has(&answer, "takes no messages at present (low on");
	expect_body_has(&answer, "nothing was sent");
	must_broker_unblock(&e2e_broker);
	must_passage_recover(&passage, RECOVER_MS);
}
END_TEST

TCase *sends_case(void)
{
	TCase *t = e2e_case("sends", 60);

	tcase_add_test(t, an_accepted_send_reaches_the_handler_with_its_id);
	tcase_add_test(t, every_accepted_send_is_delivered_in_the_order_of_its_key);
	tcase_add_test(t, a_send_waits_at_the_border_while_the_node_is_away);
	tcase_add_test(t, a_send_is_tried_again_until_the_handler_takes_it);
	tcase_add_test(t, a_node_killed_at_work_is_asked_again_under_the_same_id);
	tcase_add_test(t, a_repeated_send_under_one_key_is_one_message);
	tcase_add_test(t, calls_are_told_at_once_that_the_border_is_blocked);
	tcase_add_test(t, a_blocked_border_is_named_and_nothing_accepted_is_lost);
	return t;
}
