/* reload_test.c - SIGHUP: the files count anew, and nobody who calls or sends notices. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "e2e.h"
#include "forger.h"
#include "must.h"

enum {
	CALL_THREADS = 4,
	SEND_THREADS = 3,
	PAUSE_US = 8000, /* some hundred requests a second in all */
	CHANGE_MS = 15000,
	SHOW_MS = 3000,
	LIMIT_MS = 35000, /* above RELIEF_RETIRE_MS */
	ROWS = 10,
	RELOADS = 50,
	RSS_MAY_GROW_KIB = 1536,
};

static struct answer answer;
static struct caller calls;
static struct caller sends;
static struct caller_sum sum;

/* ---- identities ---- */

/* The name without "1" at its end, and another number. */
static void name_generation(char *to, size_t room, const char *first, unsigned generation)
{
	must_format(to, room, "%.*s%u", (int)strlen(first) - 1, first, generation);
}

/* Its certificate is what the configuration names from now on; the user is there. */
static void must_name_web(unsigned generation)
{
	char name[40];

	name_generation(name, sizeof name, passage.web_user, generation);
	must_broker_certificate(&e2e_broker, name, BROKER_OWN_AUTHORITY, passage.web_identity,
		sizeof passage.web_identity);
	must_passage_configure(&passage, "");
}

static void must_name_app(unsigned generation)
{
	char name[40];

	name_generation(name, sizeof name, "app.app1.g1", generation);
	must_broker_certificate(&e2e_broker, name, BROKER_OWN_AUTHORITY, passage.app_identity,
		sizeof passage.app_identity);
	must_passage_configure(&passage, "");
}

static void must_grow_web(unsigned generation)
{
	char name[40];

	name_generation(name, sizeof name, passage.web_user, generation);
	must_broker_add_user_like(&e2e_broker, passage.web_user, name);
}

static void expect_no_connection(const char *user)
{
	struct deadline d = deadline_in_ms(SHOW_MS);
	unsigned count;

	while ((count = must_broker_connections(&e2e_broker, user)) > 0) {
		if (deadline_has_passed(d))
			must_fail("%s still has %u connections", user, count);
		must_pause();
	}
}

/* SIGHUP, the number `asked` of this daemon's life; it has been read. Signals that come too fast are
 * one. */
static void must_reload(struct daemon *d, const char *socket_path, unsigned asked)
{
	char part[32];

	must_format(part, sizeof part, "\"asked\":%u,", asked);
	must_daemon_reload(d);
	must_status_become(socket_path, part, SHOW_MS);
}

static void must_reload_agent(unsigned asked)
{
	must_reload(&passage.agent, passage.web_socket, asked);
}

static void must_reload_node(unsigned asked)
{
	must_reload(&passage.node, passage.app_socket, asked);
}

/* ---- load ---- */

static void must_begin_load(void)
{
	must_caller_start(
		&calls, passage.web_socket, "/v1/call/quote.price", CALL_THREADS, 0, PAUSE_US);
	must_caller_start(
		&sends, passage.web_socket, "/v1/send/order.place", SEND_THREADS, 0, PAUSE_US);
}

/* So many more have been answered. */
static void must_go_on(unsigned more)
{
	struct deadline d = deadline_in_ms(CHANGE_MS);
	uint64_t first_calls = atomic_load(&calls.answered);
	uint64_t first_sends = atomic_load(&sends.answered);

	while (atomic_load(&calls.answered) < first_calls + more ||
		atomic_load(&sends.answered) < first_sends + more) {
		if (deadline_has_passed(d))
			must_fail("the load does not go on");
		must_pause();
	}
}

/* Every customer's orders came in the order in which they were accepted, none twice. */
static void expect_order(void)
{
	struct handler_request rq;
	unsigned long long last[SEND_THREADS] = { 0 };
	bool has_any[SEND_THREADS] = { 0 };
	unsigned count = handler_count(&passage.handler);

	for (unsigned i = 0; i < count; i++) {
		unsigned customer = 0;
		unsigned long long number = 0;

		must_handler_request(&passage.handler, i, &rq);
		if (strcmp(rq.op, "order.place") != 0)
			continue;
		ck_assert_int_eq(sscanf(rq.body, "{\"customer\":\"c%u\",\"number\":%llu}",
					 &customer, &number),
			2);
		ck_assert_uint_lt(customer, SEND_THREADS);
		ck_assert_msg(!has_any[customer] || number == last[customer] + 1,
			"customer %u: %llu, then %llu", customer, last[customer], number);
		has_any[customer] = true;
		last[customer] = number;
	}
}

static void must_end_load_well(void)
{
	caller_stop(&calls, &sum);
	expect_all_fine(&sum);
	caller_stop(&sends, &sum);
	expect_all_fine(&sum);
	must_handler_distinct(&passage.handler, "order.place", (unsigned)sum.fine, 10000);
	expect_order();
}

/* ---- tests ---- */

START_TEST(the_agent_takes_on_a_new_certificate_under_load)
{
	must_passage_start(&passage);
	must_grow_web(2);
	must_begin_load();
	must_go_on(100);
	must_name_web(2);
	must_daemon_reload(&passage.agent);
	must_status_become(passage.web_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	must_go_on(100);
	must_end_load_well();
	expect_status_has(passage.web_socket, ".g2\"");
	expect_no_connection(passage.web_user);
	ck_assert(!daemon_has_logged(&passage.agent, "event=border-away"));
	ck_assert(!daemon_has_logged(&passage.agent, "event=reply-late"));
}
END_TEST

START_TEST(the_node_takes_on_a_new_certificate_under_load)
{
	must_broker_add_user_like(&e2e_broker, "app.app1.g1", "app.app1.g2");
	must_passage_start(&passage);
	must_begin_load();
	must_go_on(100);
	must_name_app(2);
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	must_go_on(100);
	must_end_load_well();
	expect_status_has(passage.app_socket, "\"identity\":\"app.app1.g2\"");
	expect_no_connection("app.app1.g1");
	ck_assert(!daemon_has_logged(&passage.node, "event=crossing-away"));
	ck_assert(!daemon_has_logged(&passage.agent, "event=reply-late"));
}
END_TEST

START_TEST(ten_reloads_in_a_row_cost_nothing)
{
	must_passage_start(&passage);
	must_grow_web(2);
	must_broker_add_user_like(&e2e_broker, "app.app1.g1", "app.app1.g2");
	must_begin_load();
	must_go_on(20);
	for (unsigned i = 0; i < ROWS; i++) {
		must_name_web(1 + (i + 1) % 2);
		must_name_app(1 + (i + 1) % 2);
		must_reload_agent(i + 1);
		must_reload_node(i + 1);
		if (i % 3 == 0)
			must_go_on(20);
	}
	must_name_web(2);
	must_name_app(2);
	must_reload_agent(ROWS + 1);
	must_reload_node(ROWS + 1);
	must_status_become(passage.web_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	must_go_on(50);
	must_end_load_well();
	expect_status_has(passage.web_socket, ".g2\"");
	expect_no_connection(passage.web_user);
	expect_no_connection("app.app1.g1");
}
END_TEST

START_TEST(mistakes_are_all_told_and_nothing_changes)
{
	must_passage_start(&passage);
	must_format(
		passage.web_identity, sizeof passage.web_identity, "%s/none", passage.folder);
	must_format(
		passage.app_identity, sizeof passage.app_identity, "%s", passage.agent.config);
	must_passage_configure(&passage, "api.users = nobody-has-this-name\nno.such.key = 1\n");
	must_daemon_reload(&passage.agent);
	must_status_become(passage.web_socket, "\"reload\":{\"state\":\"refused\"", SHOW_MS);
	expect_status_has(passage.web_socket, "none.pem: No such file");
	expect_status_has(passage.web_socket, "no.such.key: unknown key");
	expect_log(&passage.agent, "event=reload-refused why=", SHOW_MS);
	expect_status_has(passage.web_socket, ".g1\"");
	expect_crossing(&passage);

	/* A file that is there and is no certificate; a certificate of somebody else. */
	must_format(passage.web_identity, sizeof passage.web_identity, "%s/app.app1.g1",
		e2e_broker.certificates);
	must_passage_configure(&passage, "");
	must_daemon_reload(&passage.agent);
	must_status_become(passage.web_socket, "\"refused\":2", SHOW_MS);
	expect_status_has(passage.web_socket, "is the certificate of");
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"refused\"", SHOW_MS);
	expect_crossing(&passage);

	must_get(passage.web_socket, "/metrics", &answer);
	expect_body_has(&answer, "sallyport_reloads_refused_total 2");
}
END_TEST

START_TEST(an_unknown_user_is_waited_for_and_the_old_one_goes_on)
{
	must_passage_start(&passage);
	must_begin_load();
	must_name_web(2);
	must_daemon_reload(&passage.agent);
	must_status_become(passage.web_socket, "ACCESS_REFUSED", SHOW_MS);
	expect_status_has(passage.web_socket, "\"relief\":{\"state\":\"opening\"");
	expect_status_has(passage.web_socket, ".g1\"");
	expect_log(&passage.agent, "event=pending", CHANGE_MS);
	must_status_become(passage.web_socket, "\"reload\":{\"state\":\"pending\"", SHOW_MS);
	must_go_on(20);
	/* Operations make the user: no second SIGHUP is needed. */
	must_grow_web(2);
	must_status_become(passage.web_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	expect_no_connection(passage.web_user);

	/* A further one replaces who is waited for; the old files again, and all is well. */
	must_name_web(3);
	must_daemon_reload(&passage.agent);
	must_status_become(passage.web_socket, "ACCESS_REFUSED", SHOW_MS);
	must_name_web(2);
	must_daemon_reload(&passage.agent);
	must_status_become(passage.web_socket, "\"reload\":{\"state\":\"done\"", SHOW_MS);
	must_end_load_well();
}
END_TEST

START_TEST(an_unknown_app_user_is_waited_for_and_the_old_one_goes_on)
{
	must_passage_start(&passage);
	must_begin_load();
	must_name_app(7);
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "ACCESS_REFUSED", SHOW_MS);
	must_go_on(20);
	must_name_app(1);
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", SHOW_MS);
	must_end_load_well();
}
END_TEST

START_TEST(a_reload_during_an_outage_counts_when_the_border_is_back)
{
	must_passage_start(&passage);
	must_grow_web(2);
	must_broker_stop(&e2e_broker);
	must_status_become(passage.web_socket, "\"ready\":false", SHOW_MS);
	must_name_web(2);
	must_daemon_reload(&passage.node);
	for (unsigned i = 1; i <= 3; i++)
		must_reload_agent(i);
	must_broker_start(&e2e_broker);
	/* Its users come from provisioning at every start. */
	must_grow_web(2);
	must_passage_recover(&passage, 2 * RECOVER_MS);
	must_status_become(passage.web_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	expect_status_has(passage.web_socket, ".g2\"");
	expect_no_connection(passage.web_user);
	expect_crossing(&passage);
}
END_TEST

static void *ask_patiently(void *arg)
{
	(void)http_ask(passage.web_socket, "POST", "/v1/call/quote.patient", NULL, "{\"n\":1}",
		30000, arg);
	return NULL;
}

START_TEST(what_runs_meanwhile_ends_well_and_once)
{
	struct handler *h = &passage.handler;
	static struct answer held;
	pthread_t caller;

	must_broker_add_user_like(&e2e_broker, "app.app1.g1", "app.app1.g2");
	handler_set_rule(
		h, &(struct handler_rule){ .act = HANDLER_HOLD, .body = "{\"n\":\"done\"}" });
	must_passage_start(&passage);
	ck_assert_int_eq(pthread_create(&caller, NULL, ask_patiently, &held), 0);
	for (unsigned i = 0; i < 5; i++) {
		must_send(passage.web_socket, "order.place", "{\"customer\":\"c-1\"}", &answer);
		expect_status(&answer, 202);
	}
	must_handler_hold(h, 2, 5000); /* the call, the first order; four wait behind it */
	must_name_app(2);
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "\"state\":\"retiring\"", CHANGE_MS);
	ck_assert_uint_eq(handler_count(h), 2);
	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_ECHO });
	handler_release(h, 2);
	(void)pthread_join(caller, NULL);
	expect_status(&held, 200);
	expect_body(&held, "{\"n\":\"done\"}");
	must_handler_get(h, 6, 5000);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	ck_assert_uint_eq(handler_count(h), 6);
	ck_assert_uint_eq(handler_distinct_ids(h, "order.place"), 5);
	expect_no_connection("app.app1.g1");
}
END_TEST

START_TEST(what_does_not_end_in_time_is_settled_by_the_next_one)
{
	struct handler *h = &passage.handler;

	must_broker_add_user_like(&e2e_broker, "app.app1.g1", "app.app1.g2");
	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_HOLD });
	must_passage_start(&passage);
	must_send(passage.web_socket, "report.make", "{}", &answer);
	expect_status(&answer, 202);
	must_handler_hold(h, 1, 5000);
	must_name_app(2);
	must_daemon_reload(&passage.node);
	expect_log(&passage.node, "event=retire-limit", LIMIT_MS);
	/* The broker hands it out again; it runs still, and is not run twice. */
	expect_log(&passage.node, "event=duplicate", SHOW_MS);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	expect_no_connection("app.app1.g1");
	handler_release(h, 1);
	expect_log(&passage.node, "event=done", SHOW_MS);
	must_daemon_stop(&passage.node);
	ck_assert_uint_eq(handler_count(h), 1);
	ck_assert_uint_eq(must_broker_count(&e2e_broker, passage.host.at, "FORAPP.send"), 0);
}
END_TEST

START_TEST(daemons_stop_in_the_middle_of_a_reload)
{
	struct handler *h = &passage.handler;
	static struct answer held;
	pthread_t caller;

	must_broker_add_user_like(&e2e_broker, "app.app1.g1", "app.app1.g2");
	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_HOLD });
	must_passage_start(&passage);
	ck_assert_int_eq(pthread_create(&caller, NULL, ask_patiently, &held), 0);
	must_send(passage.web_socket, "order.place", "{\"customer\":\"c-1\"}", &answer);
	expect_status(&answer, 202);
	must_handler_hold(h, 2, 5000);
	must_name_app(2);
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "\"state\":\"retiring\"", CHANGE_MS);
	must_daemon_terminate(&passage.node);
	expect_log(&passage.node, "event=stop-asked", SHOW_MS);
	handler_release(h, 2);
	(void)pthread_join(caller, NULL);
	expect_status(&held, 200);
	ck_assert_int_eq(must_daemon_end(&passage.node, 5000), 0);
	ck_assert_uint_eq(handler_count(h), 2);
	ck_assert_uint_eq(must_broker_count(&e2e_broker, passage.host.at, "FORAPP.send"), 0);

	must_name_web(5); /* nobody knows it */
	must_daemon_reload(&passage.agent);
	must_status_become(passage.web_socket, "\"state\":\"opening\"", SHOW_MS);
	must_daemon_stop(&passage.agent);
}
END_TEST

/* ---- sealing keys ---- */

enum { SEAL_KEY_DIGITS = 64 };

/* The key file that both daemons read: one key to seal with, one that is accepted beside it. */
static void must_write_seal(const char *present, const char *accepted)
{
	char path[256];
	char text[512];

	must_format(path, sizeof path, "%s/%s.seal", passage.folder, passage.host.at);
	must_format(text, sizeof text, "sallyport-seal-key v1\nkey present %s\n%s%s%s", present,
		accepted == NULL ? "" : "key accepted ", accepted == NULL ? "" : accepted,
		accepted == NULL ? "" : "\n");
	must_write_file(path, 0600, text);
	must_format(passage.seals, sizeof passage.seals, "%s", passage.folder);
	must_passage_configure(&passage, "ready.border = yes\n");
}

START_TEST(a_sealing_key_is_replaced_under_load)
{
	char old[SEAL_KEY_DIGITS + 1];
	char new[SEAL_KEY_DIGITS + 1];

	memset(old, 'a', SEAL_KEY_DIGITS);
	memset(new, 'b', SEAL_KEY_DIGITS);
	old[0] = new[0] = '0'; /* one byte repeated is no key */
	old[SEAL_KEY_DIGITS] = new[SEAL_KEY_DIGITS] = '\0';
	must_write_seal(old, NULL);
	must_passage_start(&passage);
	must_begin_load();
	must_go_on(20);
	/* All accept the new one; all seal with it; the old one goes. */
	must_write_seal(old, new);
	must_reload_agent(1);
	must_reload_node(1);
	must_go_on(20);
	must_write_seal(new, old);
	must_reload_agent(2);
	must_go_on(20); /* the node opens with the accepted one */
	must_reload_node(2);
	must_go_on(20);
	must_write_seal(new, NULL);
	must_reload_agent(3);
	must_reload_node(3);
	must_go_on(20);
	must_end_load_well();
	/* No link had to change for it. */
	expect_status_has(passage.web_socket, "\"opened\":1");
	expect_status_has(passage.web_socket, "\"refused\":{}");
	/* A file that is none: the keys stay. */
	must_write_seal("abc", NULL);
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"refused\"", SHOW_MS);
	expect_crossing(&passage);
}
END_TEST

/* ---- crossings ---- */

static void must_serve(const char *first, const char *second)
{
	char text[4096];
	char *old = must_read_file(passage.node.config, NULL);
	char *line = strstr(old, "crossings = ");
	char *rest = strchr(line, '\n');

	must_format(text, sizeof text, "%.*scrossings = %s%s%s%s", (int)(line - old), old,
		first, second[0] == '\0' ? "" : ", ", second, rest);
	must_daemon_configure(&passage.node, text);
	free(old);
}

/* The agent of a second host, on the same contract. */
static void must_start_other(struct daemon *d, const char *host, char *socket_path, size_t room)
{
	char text[2048];

	must_format(socket_path, room, "%s/other.sock", passage.folder);
	must_format(text, sizeof text,
		"host = %s\n"
		"seal.key = %s/%s.seal\n"
		"border.brokers = 127.0.0.1:%u\n"
		"tls.ca = %s\n"
		"tls.certificate = %s/web.%s.g1.pem\n"
		"tls.key = %s/web.%s.g1.key\n"
		"contract = %s/contract.yaml\n"
		"api.socket = %s\n"
		"ready.border = yes\n",
		host, passage.seals, host, e2e_broker.port, passage.ca, e2e_broker.certificates,
		host, e2e_broker.certificates, host, passage.folder, socket_path);
	must_daemon_init(d, "webapp-agent", passage.folder, "other", text);
	must_daemon_start(d);
}

START_TEST(crossings_come_and_go_without_a_restart)
{
	struct crossing_name other = must_take_crossing(&e2e_broker);
	struct handler *h = &passage.handler;
	static struct answer held;
	struct daemon agent;
	char socket_path[128];
	char gone[64];
	pthread_t caller;

	must_passage_start(&passage);
	must_begin_load();
	must_start_other(&agent, other.at, socket_path, sizeof socket_path);
	must_serve(passage.host.at, other.at);
	must_daemon_reload(&passage.node);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	must_call(socket_path, "quote.price", "{\"is\":\"other\"}", &answer);
	expect_status(&answer, 200);
	must_go_on(20);
	must_end_load_well();
	must_get(passage.app_socket, "/metrics", &answer);
	must_format(gone, sizeof gone, "sallyport_crossing_ready{host=\"%s\"}", other.at);
	expect_body_has(&answer, gone);

	/* The first one goes; what it has under way is answered. */
	handler_set_rule(h, &(struct handler_rule){ .op = "quote.patient",
				    .act = HANDLER_HOLD,
				    .body = "{\"n\":\"done\"}" });
	ck_assert_int_eq(pthread_create(&caller, NULL, ask_patiently, &held), 0);
	must_handler_hold(h, 1, 5000);
	must_serve(other.at, "");
	must_daemon_reload(&passage.node);
	expect_log(&passage.node, "event=crossing-leaves", SHOW_MS);
	expect_log(&passage.node, "draining->drained", SHOW_MS);
	handler_release(h, 1);
	(void)pthread_join(caller, NULL);
	expect_status(&held, 200);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	expect_log(&passage.node, "event=crossing-gone", SHOW_MS);
	must_call(socket_path, "quote.price", "{}", &answer);
	expect_status(&answer, 200);
	must_call(passage.web_socket, "quote.short", "{}", &answer);
	expect_problem(&answer, 504, "deadline-exceeded");
	must_get(passage.app_socket, "/metrics", &answer);
	must_format(gone, sizeof gone, "{host=\"%s\"}", passage.host.at);
	ck_assert_ptr_null(strstr(answer.body, gone));

	/* Both again, and off at once: whatever the order, it ends as the last file says. */
	for (unsigned i = 0; i < ROWS; i++) {
		must_serve(i % 2 == 0 ? passage.host.at : other.at, i % 3 == 0 ? "t64" : "");
		must_daemon_reload(&passage.node);
	}
	must_serve(passage.host.at, other.at);
	must_daemon_reload(&passage.node);
	must_passage_recover(&passage, CHANGE_MS);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	must_call(socket_path, "quote.price", "{}", &answer);
	expect_status(&answer, 200);
	must_daemon_stop(&agent);
}
END_TEST

/* ---- out and back ---- */

enum {
	TURNS = 14,
	NODE_CONNECTIONS = 2 * 2 * 2 + 2, /* two crossings with two links each; the inner one */
};

/* Served all the time; nothing happens with it here. */
static struct crossing_name other_host;

static void must_start_to_turn(void)
{
	other_host = must_take_crossing(&e2e_broker);
	must_passage_start(&passage);
}

/* The node serves it no more. */
static void must_take_out(void)
{
	must_serve(other_host.at, "");
	must_daemon_reload(&passage.node);
	expect_log(&passage.node, "event=crossing-leaves", SHOW_MS);
}

static void must_put_back(void)
{
	must_serve(passage.host.at, other_host.at);
	must_daemon_reload(&passage.node);
}

static void must_hold_order(const char *body)
{
	handler_set_rule(&passage.handler,
		&(struct handler_rule){ .op = "order.place", .act = HANDLER_HOLD });
	must_send(passage.web_socket, "order.place", body, &answer);
	expect_status(&answer, 202);
	must_handler_hold(&passage.handler, 1, 5000);
}

START_TEST(a_send_under_way_runs_once_when_its_crossing_leaves_and_returns)
{
	struct handler *h = &passage.handler;

	must_start_to_turn();
	must_hold_order("{\"customer\":\"c-1\",\"n\":1}");
	for (unsigned i = 2; i <= 4; i++) {
		char body[64];

		must_format(body, sizeof body, "{\"customer\":\"c-1\",\"n\":%u}", i);
		must_send(passage.web_socket, "order.place", body, &answer);
		expect_status(&answer, 202);
	}
	must_take_out();
	must_put_back();
	expect_log(&passage.node, "event=crossing-returns", SHOW_MS);
	/* Calls are answered again while it runs; what waits behind it does not begin. */
	must_passage_recover(&passage, CHANGE_MS);
	ck_assert_uint_eq(handler_distinct_ids(h, "order.place"), 1);
	handler_set_rule(h, &(struct handler_rule){ .op = "order.place", .act = HANDLER_ECHO });
	handler_release(h, 1);
	must_handler_distinct(h, "order.place", 4, CHANGE_MS);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	must_status_become(passage.app_socket, "\"done\":4", CHANGE_MS);
	/* Once each, and in order. */
	unsigned expected = 1;

	for (unsigned i = 0; i < handler_count(h); i++) {
		struct handler_request rq;
		char n[16];

		must_handler_request(h, i, &rq);
		if (strcmp(rq.op, "order.place") != 0)
			continue;
		must_format(n, sizeof n, "\"n\":%u}", expected++);
		ck_assert_ptr_nonnull(strstr(rq.body, n));
	}
	ck_assert_uint_eq(expected, 5);
	ck_assert_uint_eq(must_broker_count(&e2e_broker, passage.host.at, "FORAPP.send"), 0);
}
END_TEST

START_TEST(a_copied_call_runs_once_when_its_crossing_leaves_and_returns)
{
	static struct forger forger;
	struct handler *h = &passage.handler;
	struct keyring ring = must_forger_ring(&e2e_broker, passage.host.at);

	must_start_to_turn();
	must_hold_order("{\"customer\":\"c-1\"}");
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	struct message call = forger_call(&forger, "quote.price");

	must_forger_seal(&ring, passage.host.at, SEAL_FORAPP, &call);
	must_forge(&forger, &call);
	must_handler_get(h, 2, 5000);
	must_take_out();
	must_put_back();
	must_passage_recover(&passage, CHANGE_MS);
	unsigned count = handler_count(h);

	must_forge(&forger, &call);
	must_status_become(passage.app_socket, "\"replay\":1", CHANGE_MS);
	ck_assert_uint_eq(handler_count(h), count);
	forger_stop(&forger);
	handler_release(h, 1);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
}
END_TEST

/* With the bug each time two connections more, until the broker wants no more of them. */
START_TEST(a_crossing_leaves_and_returns_often_and_has_two_links_at_most)
{
	struct handler *h = &passage.handler;

	must_start_to_turn();
	must_hold_order("{\"customer\":\"c-1\"}");
	for (unsigned i = 0; i < TURNS; i++) {
		must_take_out();
		must_put_back();
		expect_log(&passage.node, "event=crossing-returns", SHOW_MS);
		ck_assert_uint_le(
			must_broker_connections(&e2e_broker, "app.app1.g1"), NODE_CONNECTIONS);
	}
	handler_release(h, 1);
	must_passage_recover(&passage, LIMIT_MS);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	ck_assert_uint_eq(handler_distinct_ids(h, "order.place"), 1);
	must_status_become(passage.app_socket, "\"done\":1", CHANGE_MS);
	ck_assert_uint_eq(must_broker_count(&e2e_broker, passage.host.at, "FORAPP.send"), 0);
	/* And with nothing in hand. */
	for (unsigned i = 0; i < TURNS; i++) {
		must_serve(other_host.at, "");
		must_daemon_reload(&passage.node);
		must_put_back();
	}
	must_passage_recover(&passage, CHANGE_MS);
	must_status_become(passage.app_socket, "\"reload\":{\"state\":\"done\"", CHANGE_MS);
	must_daemon_stop(&passage.node);
}
END_TEST

/* _i: whether it had time to serve again before. */
START_TEST(a_node_stops_while_a_crossing_returns)
{
	struct handler *h = &passage.handler;

	must_start_to_turn();
	must_hold_order("{\"customer\":\"c-1\"}");
	must_take_out();
	must_put_back();
	expect_log(&passage.node, "event=crossing-returns", SHOW_MS);
	if (_i == 1) {
		must_take_out();
		must_put_back();
		expect_log(&passage.node, "event=crossing-returns", SHOW_MS);
	}
	must_daemon_terminate(&passage.node);
	expect_log(&passage.node, "event=stop-asked", SHOW_MS);
	handler_release(h, 1);
	ck_assert_int_eq(must_daemon_end(&passage.node, 10000), 0);
	ck_assert_uint_eq(handler_count(h), 1);
	ck_assert_uint_eq(must_broker_count(&e2e_broker, passage.host.at, "FORAPP.send"), 0);
}
END_TEST

/* ---- what else is in the files ---- */

START_TEST(keys_that_need_a_restart_are_named_and_keep_their_value)
{
	char path[160];
	size_t len = 0;

	must_passage_start(&passage);
	must_passage_configure(&passage, "api.mode = 0600\nlog.level = debug\n");
	must_format(path, sizeof path, "%s/contract.yaml", passage.folder);
	char *text = must_read_file(path, &len);
	char longer[4096];

	must_format(longer, sizeof longer, "%s  quote.more: {kind: call}\n", text);
	must_write_file(path, 0600, longer);
	free(text);
	must_daemon_reload(&passage.agent);
	expect_log(&passage.agent, "event=reload-needs-restart key=api.mode", SHOW_MS);
	expect_log(&passage.agent, "event=reload-needs-restart key=contract", SHOW_MS);
	must_status_become(passage.web_socket,
		"\"needs_restart\":\"api.mode, ready.border, contract\"", SHOW_MS);
	must_call(passage.web_socket, "quote.more", "{}", &answer);
	expect_problem(&answer, 404, "unknown-operation");
	expect_crossing(&passage);
	expect_log(&passage.agent, "level=debug", SHOW_MS);
	/* The link is made of the same: nothing was dialed again. */
	expect_status_has(passage.web_socket, "\"opened\":1");
}
END_TEST

START_TEST(fifty_reloads_leave_nothing_behind)
{
	uint64_t agent_kib = 0;
	uint64_t node_kib = 0;
	unsigned agent_fds = 0;
	unsigned node_fds = 0;

	must_passage_start(&passage);
	must_grow_web(2);
	must_broker_add_user_like(&e2e_broker, "app.app1.g1", "app.app1.g2");
	for (unsigned i = 0; i < RELOADS; i++) {
		char asked[32];

		must_name_web(1 + (i + 1) % 2);
		must_name_app(1 + (i + 1) % 2);
		must_daemon_reload(&passage.agent);
		must_daemon_reload(&passage.node);
		must_format(asked, sizeof asked, "\"done\",\"asked\":%u,", i + 1);
		must_status_become(passage.web_socket, asked, CHANGE_MS);
		must_status_become(passage.app_socket, asked, CHANGE_MS);
		if (i == 9) {
			agent_kib = must_daemon_rss_kib(&passage.agent);
			node_kib = must_daemon_rss_kib(&passage.node);
			agent_fds = must_daemon_fds(&passage.agent);
			node_fds = must_daemon_fds(&passage.node);
		}
	}
	expect_crossing(&passage);
	must_daemon_fds_fall(&passage.agent, agent_fds + 1, SHOW_MS);
	must_daemon_fds_fall(&passage.node, node_fds + 2, SHOW_MS); /* the handler's */
	if (!must_is_sanitized()) {
		ck_assert_uint_le(
			must_daemon_rss_kib(&passage.agent), agent_kib + RSS_MAY_GROW_KIB);
		ck_assert_uint_le(
			must_daemon_rss_kib(&passage.node), node_kib + RSS_MAY_GROW_KIB);
	}
}
END_TEST

TCase *reload_case(void)
{
	TCase *t = e2e_case("reload", 120);

	tcase_add_test(t, the_agent_takes_on_a_new_certificate_under_load);
	tcase_add_test(t, the_node_takes_on_a_new_certificate_under_load);
	tcase_add_test(t, ten_reloads_in_a_row_cost_nothing);
	tcase_add_test(t, mistakes_are_all_told_and_nothing_changes);
	tcase_add_test(t, an_unknown_user_is_waited_for_and_the_old_one_goes_on);
	tcase_add_test(t, an_unknown_app_user_is_waited_for_and_the_old_one_goes_on);
	tcase_add_test(t, what_runs_meanwhile_ends_well_and_once);
	tcase_add_test(t, what_does_not_end_in_time_is_settled_by_the_next_one);
	tcase_add_test(t, daemons_stop_in_the_middle_of_a_reload);
	tcase_add_test(t, a_sealing_key_is_replaced_under_load);
	tcase_add_test(t, crossings_come_and_go_without_a_restart);
	tcase_add_test(t, a_send_under_way_runs_once_when_its_crossing_leaves_and_returns);
	tcase_add_test(t, a_copied_call_runs_once_when_its_crossing_leaves_and_returns);
	tcase_add_test(t, a_crossing_leaves_and_returns_often_and_has_two_links_at_most);
	tcase_add_loop_test(t, a_node_stops_while_a_crossing_returns, 0, 2);
	tcase_add_test(t, keys_that_need_a_restart_are_named_and_keep_their_value);
	tcase_add_test(t, fifty_reloads_leave_nothing_behind);
	tcase_add_test(t, a_reload_during_an_outage_counts_when_the_border_is_back);
	return t;
}
