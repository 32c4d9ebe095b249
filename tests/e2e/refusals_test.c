/* refusals_test.c - the border says no: which code, which words, and that they can be read. */
#include <check.h>
#include <string.h>

#include "e2e.h"
#include "must.h"

static struct answer answer;

/* The agent runs without the border; its status comes to say why. */
static void expect_refusal(const char *part)
{
	must_passage_configure(&passage, "");
	must_daemon_start(&passage.agent);
	must_status_become(passage.web_socket, part, 5000);
	expect_status_has(passage.web_socket, "\"ready\":false");
	expect_log(&passage.agent, "->waiting", 2000);
	must_call(passage.web_socket, "quote.price", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
}

START_TEST(a_broker_of_another_authority_is_not_spoken_to)
{
	char stranger[160];

	must_broker_certificate(
		&e2e_broker, "web.any.g1", BROKER_STRANGE_AUTHORITY, stranger, sizeof stranger);
	*strrchr(stranger, '/') = '\0';
	must_format(passage.ca, sizeof passage.ca, "%s/ca.pem", stranger);
	expect_refusal("certificate");
}
END_TEST

START_TEST(a_certificate_of_another_authority_is_refused_by_name)
{
	must_broker_certificate(&e2e_broker, passage.web_user, BROKER_STRANGE_AUTHORITY,
		passage.web_identity, sizeof passage.web_identity);
	expect_refusal("unknown ca");
}
END_TEST

START_TEST(a_generation_that_the_broker_does_not_know_is_refused_by_code)
{
	char name[32];

	must_format(name, sizeof name, "web.%s.g2", passage.host.at);
	must_broker_certificate(&e2e_broker, name, BROKER_OWN_AUTHORITY, passage.web_identity,
		sizeof passage.web_identity);
	expect_refusal("\"code\":403");
	expect_status_has(passage.web_socket, "ACCESS_REFUSED");
	expect_status_has(passage.web_socket, "identity");
}
END_TEST

START_TEST(a_revoked_host_is_cut_off_at_once_and_says_so)
{
	must_passage_start(&passage);
	expect_crossing(&passage);
	must_broker_delete_user(&e2e_broker, passage.web_user);
	must_status_become(passage.web_socket, "\"code\":403", 3000);
	expect_status_has(passage.web_socket, "\"ready\":false");
	must_call(passage.web_socket, "quote.price", "{}", &answer);
	expect_problem(&answer, 503, "border-unavailable");
	ck_assert_uint_eq(must_broker_connections(&e2e_broker, passage.web_user), 0);
	must_broker_restore(&e2e_broker);
	must_passage_recover(&passage, RECOVER_MS);
}
END_TEST

START_TEST(a_node_that_the_broker_does_not_know_is_refused_by_code)
{
	must_broker_certificate(&e2e_broker, "app.app1.g9", BROKER_OWN_AUTHORITY,
		passage.app_identity, sizeof passage.app_identity);
	must_passage_configure(&passage, "");
	must_daemon_start(&passage.node);
	must_status_become(passage.app_socket, "\"code\":403", 5000);
	expect_status_has(passage.app_socket, "ACCESS_REFUSED");
}
END_TEST

TCase *refusals_case(void)
{
	TCase *t = e2e_case("refusals", 60);

	tcase_add_test(t, a_broker_of_another_authority_is_not_spoken_to);
	tcase_add_test(t, a_certificate_of_another_authority_is_refused_by_name);
	tcase_add_test(t, a_generation_that_the_broker_does_not_know_is_refused_by_code);
	tcase_add_test(t, a_revoked_host_is_cut_off_at_once_and_says_so);
	tcase_add_test(t, a_node_that_the_broker_does_not_know_is_refused_by_code);
	return t;
}
