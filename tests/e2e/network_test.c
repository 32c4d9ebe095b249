/* network_test.c - a bad network between the daemons and the border. */
#include <check.h>
#include <string.h>

#include "caller.h"
#include "e2e.h"
#include "must.h"

static struct answer answer;

/* Everything through the proxy; a dead peer is noticed after two seconds. */
static void start_behind_proxy(void)
{
	must_proxy_start(&passage.proxy, e2e_broker.port);
	passage.ports[0] = passage.proxy.port;
	must_passage_configure(&passage,
		"ready.border = yes\nborder.heartbeat = 1\nborder.handshake_timeout = 2s\n");
	must_passage_start(&passage);
}

START_TEST(cut_and_reset_connections_are_made_again)
{
	start_behind_proxy();
	for (unsigned i = 0; i < 3; i++) {
		proxy_cut(&passage.proxy);
		must_passage_recover(&passage, RECOVER_MS);
		proxy_reset(&passage.proxy);
		must_passage_recover(&passage, RECOVER_MS);
	}
}
END_TEST

START_TEST(a_slow_network_makes_calls_slow_and_nothing_else)
{
	start_behind_proxy();
	proxy_delay(&passage.proxy, 20);
	must_call(passage.web_socket, "quote.price", "{\"n\":1}", &answer);
	expect_status(&answer, 200);
	ck_assert_uint_ge(answer.took_us, 80000);
	ck_assert_uint_le(answer.took_us, 400000);
	must_send(passage.web_socket, "note.leave", "{\"n\":1}", &answer);
	expect_status(&answer, 202);
}
END_TEST

START_TEST(frames_that_arrive_byte_by_byte_are_frames)
{
	start_behind_proxy();
	proxy_trickle(&passage.proxy, 20);
	must_call(passage.web_socket, "quote.price", "{\"trickle\":\"trickle\"}", &answer);
	expect_status(&answer, 200);
	expect_body(&answer, "{\"trickle\":\"trickle\"}");
}
END_TEST

START_TEST(a_network_that_swallows_everything_is_noticed_by_its_silence)
{
	start_behind_proxy();
	proxy_swallow(&passage.proxy);
	must_call(passage.web_socket, "quote.short", "{}", &answer);
	expect_problem(&answer, 504, "deadline-exceeded");
	must_status_become(passage.web_socket, "\"ready\":false", 6000);
	must_status_become(passage.app_socket, "\"ready\":false", 6000);
	must_call(passage.web_socket, "quote.short", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
	ck_assert_uint_le(answer.took_us, AT_ONCE_MS * 1000);
	proxy_pass(&passage.proxy);
	must_passage_recover(&passage, 2 * RECOVER_MS);
}
END_TEST

START_TEST(a_network_that_refuses_is_tried_until_it_admits)
{
	start_behind_proxy();
	proxy_refuse(&passage.proxy);
	proxy_cut(&passage.proxy);
	must_proxy_accept(&passage.proxy, 12, 10000);
	must_call(passage.web_socket, "quote.price", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
	proxy_admit(&passage.proxy);
	must_passage_recover(&passage, RECOVER_MS);
}
END_TEST

START_TEST(the_second_broker_of_the_list_is_taken_when_the_first_is_dead)
{
	must_proxy_start(&passage.proxy, e2e_broker.port);
	proxy_refuse(&passage.proxy);
	passage.ports[0] = passage.proxy.port;
	passage.ports[1] = e2e_broker.port;
	must_passage_configure(&passage, "ready.border = yes\n");
	must_passage_start(&passage);
	expect_crossing(&passage);
}
END_TEST

TCase *network_case(void)
{
	TCase *t = e2e_case("network", 60);

	tcase_add_test(t, cut_and_reset_connections_are_made_again);
	tcase_add_test(t, a_slow_network_makes_calls_slow_and_nothing_else);
	tcase_add_test(t, frames_that_arrive_byte_by_byte_are_frames);
	tcase_add_test(t, a_network_that_swallows_everything_is_noticed_by_its_silence);
	tcase_add_test(t, a_network_that_refuses_is_tried_until_it_admits);
	tcase_add_test(t, the_second_broker_of_the_list_is_taken_when_the_first_is_dead);
	return t;
}
