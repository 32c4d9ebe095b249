/* refusals_test.c - the border says no: which code, which words, and that they can be read. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
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

static unsigned count_lines(const char *path, const char *part)
{
	char *text = must_read_file(path, NULL);
	unsigned count = 0;

	ck_assert_ptr_nonnull(text);
	for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
		count++;
	free(text);
	return count;
}

/* The web realm has a newer contract than the app realm, or makes one up. */
START_TEST(what_one_host_is_refused_for_does_not_fill_the_log)
{
	static const char richer[] = "site: test\n"
				     "operations:\n"
				     "  quote.more: {kind: call, deadline: 5s}\n";
	enum { THREADS = 4, EACH = 50, LINES = 20 };
	static struct caller caller;
	static struct caller_sum sum;
	char path[160];

	must_passage_configure(&passage, "ready.border = yes\n");
	must_daemon_start(&passage.node);
	must_format(path, sizeof path, "%s/contract.yaml", passage.folder);
	must_write_file(path, 0600, richer);
	must_daemon_start(&passage.agent);
	must_caller_start(&caller, passage.web_socket, "/v1/call/quote.more", THREADS, EACH, 0);
	caller_finish(&caller, &sum);
	ck_assert_uint_eq(sum.by_status[404], THREADS * EACH);
	/* Each is counted; a few are written down; at the end the rest is summed up. */
	expect_status_has(passage.app_socket, "\"unknown-operation\":200");
	ck_assert_uint_eq(count_lines(passage.node.log, "event=refused"), LINES);
	must_daemon_stop(&passage.node);
	ck_assert_uint_eq(count_lines(passage.node.log,
				  "event=unsaid reason=unknown-operation lines=180"),
		1);
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
	tcase_add_test(t, what_one_host_is_refused_for_does_not_fill_the_log);
	return t;
}
