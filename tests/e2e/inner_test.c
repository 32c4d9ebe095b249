/* inner_test.c - what the app realm tells itself: a node that is told of a revocation obeys, whatever the
 * broker says; what it is told falsely it does not; and it works without being told anything. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "e2e.h"
#include "forger.h"
#include "must.h"

enum { SOON_MS = 10000, SHOW_MS = 3000, COPIES = 200, WAITING = 6 };

static struct forger herald;
static struct answer answer;
static char body[128];

/* That this host is out up to a generation, as the node app2 would say it, but not sealed yet. */
static struct message order_of(unsigned generation)
{
	struct message m = {
		.durability = MESSAGE_PERSISTENT,
		.type = span_of("control.revoked"),
		.user_id = span_of("app.app2.g1"),
		.sent_unix_us = clock_unix_us(),
		.epoch = 1,
		.seq = 1,
	};

	id_make(&m.id, clock_unix_ms());
	must_format(body, sizeof body, "{\"host\":\"%s\",\"generation\":%u}", passage.host.at,
		generation);
	m.body = span_of(body);
	return m;
}

static void must_seal(struct message *m)
{
	struct keyring ring = must_forger_ring(&e2e_broker, "inner");

	must_forger_seal(&ring, "", SEAL_INNER, m);
}

static void must_tell(unsigned generation)
{
	struct message m = order_of(generation);

	must_seal(&m);
	must_forge(&herald, &m);
}

/* What the node's book says of this host. */
static void must_be_in_book(unsigned told, unsigned configured)
{
	char part[128];

	must_format(part, sizeof part,
		"{\"host\":\"%s\",\"told\":%u,\"configured\":%u,\"shut\":%s}", passage.host.at,
		told, configured, told > configured ? "true" : "false");
	must_status_become(passage.app_socket, part, SOON_MS);
}

static void must_reload_node(unsigned asked)
{
	char part[32];

	must_format(part, sizeof part, "\"asked\":%u,", asked);
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, part, SHOW_MS);
}

static void expect_nothing_crosses(void)
{
	unsigned before = handler_count(&passage.handler);

	must_call(passage.web_socket, "quote.short", "{}", &answer);
	expect_problem(&answer, 504, "deadline-exceeded");
	ck_assert_uint_eq(handler_count(&passage.handler), before);
}

/* Messages of control.app1 that nobody has acknowledged, held ones included. */
static unsigned must_count_control(void)
{
	char out[64];

	must_broker_eval(&e2e_broker, out, sizeof out,
		"begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"inner\">>, queue, "
		"<<\"control.app1\">>)), {ok, {_, N}, _} = ra:local_query(amqqueue:get_pid(Q), "
		"fun rabbit_fifo:query_messages_total/1), element(2, {a, N}) end");
	return (unsigned)strtoul(out, NULL, 10);
}

static void must_count_become(unsigned count)
{
	struct deadline d = deadline_in_ms(SOON_MS);

	while (must_count_control() != count) {
		if (deadline_has_passed(d))
			must_fail("control.app1 has %u messages, not %u", must_count_control(),
				count);
		must_pause();
	}
}

/* From now on this host's agent is of its second generation. */
static void must_come_back(void)
{
	char name[40];

	must_format(name, sizeof name, "web.%s.g2", passage.host.at);
	must_broker_add_user_like(&e2e_broker, passage.web_user, name);
	must_broker_certificate(&e2e_broker, name, BROKER_OWN_AUTHORITY, passage.web_identity,
		sizeof passage.web_identity);
}

static void must_configure(unsigned generation)
{
	char more[96];

	must_format(more, sizeof more, "crossings.revoked = web.%s.g%u\n", passage.host.at,
		generation);
	must_passage_configure_node(&passage, more);
}

START_TEST(a_node_that_is_told_takes_nothing_whatever_the_broker_says)
{
	must_passage_start(&passage);
	expect_crossing(&passage);
	must_status_become(passage.app_socket, "\"inner\":{\"ready\":true", SOON_MS);
	unsigned before = must_count_control();

	must_forger_start(&herald, &passage, FORGER_INNER, "");
	must_tell(1);
	must_be_in_book(1, 0);
	expect_log(&passage.node, "event=revoked", SHOW_MS);
	/* The broker still lets the host in, and the node. */
	must_get(passage.web_socket, "/readyz", &answer);
	expect_status(&answer, 200);
	expect_nothing_crosses();
	/* Said again, by another message: one is held, no more. */
	must_tell(1);
	must_count_become(before + 1);

	/* An old configuration opens nothing, and a restart forgets nothing. */
	must_reload_node(1);
	expect_nothing_crosses();
	must_daemon_stop(&passage.node);
	must_daemon_start(&passage.node);
	must_be_in_book(1, 0);
	expect_nothing_crosses();

	/* A configuration that knows of it does: for the next generation, not for this one. */
	must_configure(1);
	must_reload_node(1);
	must_be_in_book(1, 1);
	must_count_become(before);
	must_status_become(passage.app_socket, "\"ready\":true,\"vhost\":\"border.", SOON_MS);
	expect_nothing_crosses();
	must_status_become(passage.app_socket, "\"revoked\":1}", SOON_MS);
	must_come_back();
	must_passage_configure_agent(&passage, "");
	must_daemon_reload(&passage.agent);
	must_passage_recover(&passage, SOON_MS);
	/* What is told late is nothing new. */
	must_tell(1);
	must_count_become(before);
	expect_crossing(&passage);
	forger_stop(&herald);
}
END_TEST

static void *ask_patiently(void *arg)
{
	(void)http_ask(passage.web_socket, "POST", "/v1/call/quote.patient",
		"Deadline-Ms: 4000\r\n", "{\"n\":1}", 30000, arg);
	return NULL;
}

START_TEST(what_waits_or_runs_is_dropped_and_nobody_is_answered)
{
	struct handler *h = &passage.handler;
	static struct answer held[WAITING];
	pthread_t callers[WAITING];

	must_passage_start(&passage);
	must_forger_start(&herald, &passage, FORGER_INNER, "");
	handler_set_rule(
		h, &(struct handler_rule){ .act = HANDLER_HOLD, .body = "{\"n\":\"done\"}" });
	for (unsigned i = 0; i < WAITING; i++)
		ck_assert_int_eq(pthread_create(&callers[i], NULL, ask_patiently, &held[i]), 0);
	must_send(passage.web_socket, "note.leave", "{}", &answer);
	expect_status(&answer, 202);
	must_handler_hold(h, WAITING + 1, 5000);
	must_tell(1);
	must_be_in_book(1, 0);
	must_get(passage.app_socket, "/metrics", &answer);
	must_format(body, sizeof body, "sallyport_calls_revoked_total %u\n", WAITING);
	expect_body_has(&answer, body);
	expect_body_has(&answer, "sallyport_sends_revoked_total 1\n");
	handler_release(h, WAITING + 1);
	for (unsigned i = 0; i < WAITING; i++) {
		(void)pthread_join(callers[i], NULL);
		expect_problem(&held[i], 504, "deadline-exceeded");
	}
	/* The send stays where it is, as evidence. */
	struct deadline d = deadline_in_ms(SOON_MS);

	while (must_broker_count(&e2e_broker, passage.host.at, "FORAPP.send") != 1) {
		if (deadline_has_passed(d))
			must_fail("the send is not at the border any more");
		must_pause();
	}
	expect_status_has(passage.app_socket, "\"crossings\":[]");
	forger_stop(&herald);
}
END_TEST

/* So many were refused for that reason. */
static void must_refuse(const char *reason, unsigned count)
{
	char part[64];

	must_format(part, sizeof part, "\"%s\":%u", reason, count);
	must_status_become(passage.app_socket, part, SOON_MS);
}

START_TEST(what_is_made_up_is_not_obeyed)
{
	must_passage_start(&passage);
	must_forger_start(&herald, &passage, FORGER_INNER, "");
	struct message m = order_of(1);

	must_forge(&herald, &m);
	must_refuse("unsealed", 1);

	/* Sealed with what a web host has, for its crossing and for here. */
	struct keyring ring = must_forger_ring(&e2e_broker, passage.host.at);

	m = order_of(1);
	must_forger_seal(&ring, passage.host.at, SEAL_FORAPP, &m);
	must_forge(&herald, &m);
	m = order_of(1);
	must_forger_seal(&ring, "", SEAL_INNER, &m);
	must_forge(&herald, &m);
	must_refuse("seal", 2);

	/* A real one, changed on the way. */
	m = order_of(1);
	must_seal(&m);
	m.type = span_of("control.other");
	must_forge(&herald, &m);
	must_refuse("seal", 3);

	m = order_of(1);
	m.type = span_of("control.other");
	must_seal(&m);
	must_forge(&herald, &m);
	must_refuse("unknown-type", 1);

	m = order_of(1);
	m.sent_unix_us -= UINT64_C(101) * 86400 * 1000000;
	must_seal(&m);
	must_forge(&herald, &m);
	must_refuse("stale", 1);

	m = order_of(0);
	must_seal(&m);
	must_forge(&herald, &m);
	must_refuse("bad-body", 1);

	/* Nobody was thrown out by all that. */
	expect_crossing(&passage);
	m = order_of(1);
	must_seal(&m);
	must_forge_copies(&herald, &m, COPIES);
	must_be_in_book(1, 0);
	must_refuse("replay", COPIES - 1);
	expect_nothing_crosses();
	forger_stop(&herald);
}
END_TEST

START_TEST(a_node_works_while_nobody_can_tell_it_anything)
{
	must_passage_configure_node(
		&passage, "ready.border = yes\ninner.brokers = 127.0.0.1:1\n");
	must_passage_start(&passage);
	expect_crossing(&passage);
	must_send(passage.web_socket, "note.leave", "{}", &answer);
	expect_status(&answer, 202);
	must_handler_get(&passage.handler, 2, SOON_MS);
	expect_status_has(passage.app_socket, "\"inner\":{\"ready\":false");
	must_get(passage.app_socket, "/metrics", &answer);
	expect_body_has(&answer, "sallyport_inner_ready 0\n");

	/* Found by a reload, which disturbs nobody. */
	must_passage_configure_node(&passage, "ready.border = yes\n");
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "\"inner\":{\"ready\":true", SOON_MS);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", SOON_MS);
	expect_crossing(&passage);
	daemon_skip_log(&passage.node);
	ck_assert(!daemon_has_logged(&passage.node, "event=crossing-away"));
}
END_TEST

START_TEST(readiness_waits_for_the_inner_vhost_where_that_is_wanted)
{
	must_passage_configure_node(&passage,
		"ready.border = yes\nready.inner = yes\ninner.brokers = 127.0.0.1:1\n");
	must_daemon_launch(&passage.node);
	must_daemon_start(&passage.agent);
	must_passage_recover(&passage, SOON_MS);
	must_get(passage.app_socket, "/readyz", &answer);
	expect_problem(&answer, 503, "not-ready");
	ck_assert(!daemon_becomes_ready(&passage.node, 100));
	must_passage_configure_node(&passage, "ready.border = yes\nready.inner = yes\n");
	must_daemon_reload(&passage.node);
	ck_assert(daemon_becomes_ready(&passage.node, SOON_MS));
	must_get(passage.app_socket, "/readyz", &answer);
	expect_status(&answer, 200);
}
END_TEST

START_TEST(one_node_tells_the_other_what_its_configuration_says_first)
{
	struct daemon other;
	char other_socket[128];

	must_passage_start(&passage);
	must_format(other_socket, sizeof other_socket, "%s/app2.sock", passage.folder);
	must_passage_init_other_node(&passage, &other, "app2", other_socket);
	must_daemon_start(&other);
	must_status_become(other_socket, "\"inner\":{\"ready\":true", SOON_MS);
	must_status_become(passage.app_socket, "\"inner\":{\"ready\":true", SOON_MS);
	must_configure(1);
	must_reload_node(1);
	must_be_in_book(1, 1); /* it hears itself, too */
	must_format(body, sizeof body,
		"{\"host\":\"%s\",\"told\":1,\"configured\":0,\"shut\":true}", passage.host.at);
	must_status_become(other_socket, body, SOON_MS);
	expect_nothing_crosses();
	must_daemon_stop(&other);
}
END_TEST

START_TEST(a_node_without_any_crossing_runs_and_stops)
{
	must_passage_start(&passage);
	must_forger_start(&herald, &passage, FORGER_INNER, "");
	must_tell(1);
	must_be_in_book(1, 0);
	must_status_become(passage.app_socket, "\"leaving\":[]", SOON_MS);
	forger_stop(&herald);
	must_daemon_stop(&passage.node); /* with the drain time-out far away */
}
END_TEST

START_TEST(the_inner_key_is_replaced_without_a_restart)
{
	char path[256];
	char text[400];
	struct keyring ring = must_forger_ring(&e2e_broker, "inner");
	char hex[2 * SEAL_KEY_BYTES + 1];
	struct message m;

	for (size_t i = 0; i < SEAL_KEY_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", ring.present.byte[i]);
	must_passage_start(&passage);
	must_forger_start(&herald, &passage, FORGER_INNER, "");
	must_format(path, sizeof path, "%s/inner.seal", passage.folder);
	must_format(text, sizeof text,
		"sallyport-seal-key v1\nkey present "
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
		"key accepted %s\n",
		hex);
	must_write_file(path, 0600, text);
	must_format(passage.inner_seal, sizeof passage.inner_seal, "%s", path);
	must_passage_configure_node(&passage, "");
	must_reload_node(1);
	must_tell(1); /* under the old one */
	must_be_in_book(1, 0);
	must_get(passage.app_socket, "/metrics", &answer);
	expect_body_has(&answer, "sallyport_seal_opened_accepted_total{host=\"inner\"} ");
	ck_assert_ptr_null(strstr(
		answer.body, "sallyport_seal_opened_accepted_total{host=\"inner\"} 0\n"));
	/* The old one is over. */
	*strstr(text, "key accepted") = '\0';
	must_write_file(path, 0600, text);
	must_reload_node(2);
	m = order_of(2);
	must_seal(&m);
	must_forge(&herald, &m);
	must_refuse("seal", 1);
	forger_stop(&herald);
}
END_TEST

TCase *inner_case(void)
{
	TCase *t = e2e_case("inner", 60);

	tcase_add_test(t, a_node_that_is_told_takes_nothing_whatever_the_broker_says);
	tcase_add_test(t, what_waits_or_runs_is_dropped_and_nobody_is_answered);
	tcase_add_test(t, what_is_made_up_is_not_obeyed);
	tcase_add_test(t, a_node_works_while_nobody_can_tell_it_anything);
	tcase_add_test(t, readiness_waits_for_the_inner_vhost_where_that_is_wanted);
	tcase_add_test(t, one_node_tells_the_other_what_its_configuration_says_first);
	tcase_add_test(t, a_node_without_any_crossing_runs_and_stops);
	tcase_add_test(t, the_inner_key_is_replaced_without_a_restart);
	return t;
}
