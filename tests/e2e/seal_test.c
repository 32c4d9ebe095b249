/* seal_test.c - whoever owns the broker, and even a certificate: what he makes up, alters, moves or
 * repeats reaches no handler and no caller. Forgers publish it through the real broker. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "caller.h"
#include "e2e.h"
#include "forger.h"
#include "message/envelope.h"
#include "must.h"

enum { ROOM = 512, COPIES = 1000, SOON_MS = 10000 };

static struct forger forger;
static struct forger thief;
static struct answer answer;

/* As this host's agent seals. */
static void must_seal(struct message *m)
{
	struct keyring ring = must_forger_ring(&e2e_broker, passage.host.at);

	must_forger_seal(&ring, passage.host.at, SEAL_FORAPP, m);
}

static void must_seal_reply(struct message *m)
{
	struct keyring ring = must_forger_ring(&e2e_broker, passage.host.at);

	must_forger_seal(&ring, passage.host.at, SEAL_FORWEB, m);
}

/* Waits until a daemon has refused exactly this: "\"seal\":3". */
static void must_refuse(const char *socket_path, const char *what)
{
	char part[128];

	must_format(part, sizeof part, "\"refused\":{%s}", what);
	must_status_become(socket_path, part, SOON_MS);
}

static void must_refuse_count(const char *socket_path, const char *reason, unsigned count)
{
	char what[64];

	must_format(what, sizeof what, "\"%s\":%u", reason, count);
	must_refuse(socket_path, what);
}

/* What a broker can change on the way, one thing at a time. */
static void change_op(struct message *m)
{
	m->type = span_of("quote.short");
}

static void change_id(struct message *m)
{
	m->id.byte[ID_BYTES - 1] ^= 1;
}

static void change_time(struct message *m)
{
	m->sent_unix_us++;
}

static void change_time_left(struct message *m)
{
	m->time_left_ms++;
}

static void change_end(struct message *m)
{
	m->expires_unix_ms = 4000000000000;
}

static void change_epoch(struct message *m)
{
	m->epoch++;
}

static void change_seq(struct message *m)
{
	m->seq++;
}

static void change_attempt(struct message *m)
{
	m->attempt++;
}

static void change_key(struct message *m)
{
	m->key = span_of("c-7");
}

static void change_contract(struct message *m)
{
	m->contract = span_of("abcd");
}

static void change_trace(struct message *m)
{
	m->traceparent = span_of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
}

static void change_content(struct message *m)
{
	m->content = MESSAGE_PROBLEM;
}

static void change_correlation(struct message *m)
{
	m->correlation = m->id;
	m->has_correlation = true;
}

static void cut_short(struct message *m)
{
	m->body.len--;
}

static void empty(struct message *m)
{
	m->body.len = 0;
}

static void (*const changes[])(struct message *m) = {
	change_op,
	change_id,
	change_time,
	change_time_left,
	change_end,
	change_epoch,
	change_seq,
	change_attempt,
	change_key,
	change_contract,
	change_trace,
	change_content,
	change_correlation,
	cut_short,
	empty,
};

START_TEST(what_is_sealed_as_the_agent_does_it_is_taken)
{
	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	struct message m = forger_call(&forger, "quote.price");

	must_seal(&m);
	must_forge(&forger, &m);
	must_handler_get(&passage.handler, 1, SOON_MS);
	must_refuse(passage.app_socket, "");
	forger_stop(&forger);
}
END_TEST

START_TEST(what_is_not_sealed_is_refused)
{
	static const char text[] = "an envelope: this is none, however long it is, you see";

	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	struct message m = forger_call(&forger, "quote.price");

	must_forge(&forger, &m);
	must_refuse_count(passage.app_socket, "unsealed", 1);
	/* An envelope that does not say so. */
	must_seal(&m);
	m.is_sealed = false;
	must_forge(&forger, &m);
	must_refuse_count(passage.app_socket, "unsealed", 2);
	/* And something that says it is one. */
	m = forger_call(&forger, "quote.price");
	m.body = span_of(text);
	m.is_sealed = true;
	must_forge(&forger, &m);
	m.body = span_of("{}");
	must_forge(&forger, &m);
	must_refuse(passage.app_socket, "\"unsealed\":2,\"seal\":2");
	ck_assert_uint_eq(handler_count(&passage.handler), 0);
	expect_crossing(&passage);
	forger_stop(&forger);
}
END_TEST

START_TEST(what_was_sealed_for_elsewhere_is_refused)
{
	struct crossing_name other = must_take_crossing(&e2e_broker);
	struct keyring ring = must_forger_ring(&e2e_broker, passage.host.at);
	struct keyring other_ring = must_forger_ring(&e2e_broker, other.at);

	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	struct message m = forger_call(&forger, "quote.price");
	struct message another_crossing = m;
	struct message another_key = m;
	struct message another_way = m;
	struct message another_sender = m;

	must_forger_seal(&ring, other.at, SEAL_FORAPP, &another_crossing);
	must_forge(&forger, &another_crossing);
	must_forger_seal(&other_ring, passage.host.at, SEAL_FORAPP, &another_key);
	must_forge(&forger, &another_key);
	must_forger_seal(&ring, passage.host.at, SEAL_FORWEB, &another_way);
	must_forge(&forger, &another_way);
	another_sender.user_id = span_of("web.other.g1");
	must_seal(&another_sender);
	another_sender.user_id = m.user_id;
	must_forge(&forger, &another_sender);
	must_refuse_count(passage.app_socket, "seal", 4);
	ck_assert_uint_eq(handler_count(&passage.handler), 0);
	expect_log(&passage.node, "event=refused reason=seal", SOON_MS);
	expect_crossing(&passage);
	forger_stop(&forger);
}
END_TEST

START_TEST(whatever_was_changed_on_the_way_the_seal_shows_it)
{
	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
		struct message m = forger_call(&forger, "quote.price");

		must_seal(&m);
		changes[i](&m);
		must_forge(&forger, &m);
		must_refuse_count(passage.app_socket, "seal", (unsigned)i + 1);
	}
	ck_assert_uint_eq(handler_count(&passage.handler), 0);
	forger_stop(&forger);
}
END_TEST

/* Every single one is in the unit test; some of them through it all. */
START_TEST(no_flipped_bit_passes)
{
	unsigned count = 0;

	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	struct message m = forger_call(&forger, "quote.price");

	must_seal(&m);
	char *at = (char *)(uintptr_t)m.body.at;

	for (size_t bit = 0; bit < m.body.len * 8; bit += 3) {
		at[bit / 8] ^= (char)(1u << bit % 8);
		must_forge(&forger, &m);
		at[bit / 8] ^= (char)(1u << bit % 8);
		count++;
	}
	must_refuse_count(passage.app_socket, "seal", count);
	ck_assert_uint_eq(handler_count(&passage.handler), 0);
	must_forge(&forger, &m); /* as it was */
	must_handler_get(&passage.handler, 1, SOON_MS);
	forger_stop(&forger);
}
END_TEST

START_TEST(a_refused_send_is_kept_with_the_dead)
{
	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "send");
	struct message m = forger_send(&forger, "note.leave");

	must_forge(&forger, &m);
	must_seal(&m);
	m.seq++;
	must_forge(&forger, &m);
	must_refuse(passage.app_socket, "\"unsealed\":1,\"seal\":1");
	m.seq--;
	must_forge(&forger, &m);
	must_handler_get(&passage.handler, 1, SOON_MS);
	ck_assert_uint_eq(handler_count(&passage.handler), 1);
	struct deadline d = deadline_in_ms(SOON_MS);

	while (must_broker_count(&e2e_broker, passage.host.at, "FORAPP.dead") != 2) {
		if (deadline_has_passed(d))
			must_fail("FORAPP.dead did not come to hold the two");
		must_pause();
	}
	forger_stop(&forger);
}
END_TEST

/* ---- copies ---- */

START_TEST(a_thousand_copies_of_a_recorded_call_run_nothing)
{
	static struct caller caller;
	static struct caller_sum sum;

	must_daemon_start(&passage.agent);
	must_thief_start(&thief, &passage, "call");
	must_caller_start(&caller, passage.web_socket, "/v1/call/quote.patient", 1, 1, 0);
	const struct message *m = must_thief_take(&thief);

	ck_assert(m->is_sealed);
	forger_stop(&thief);
	must_daemon_start(&passage.node);
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	must_forge(&forger, m); /* what the agent sent */
	caller_finish(&caller, &sum);
	expect_all_fine(&sum);
	must_forge_copies(&forger, m, COPIES);
	must_refuse_count(passage.app_socket, "replay", COPIES);
	ck_assert_uint_eq(handler_count(&passage.handler), 1);
	/* Nor was anybody told anything about them. */
	expect_status_has(passage.web_socket, "\"late_replies\":0");
	expect_status_has(passage.app_socket, "\"replies\":1");
	expect_crossing(&passage);
	forger_stop(&forger);
}
END_TEST

START_TEST(a_thousand_copies_of_a_recorded_send_run_nothing)
{
	must_daemon_start(&passage.agent);
	must_thief_start(&thief, &passage, "send");
	must_send(passage.web_socket, "note.leave", "{\"note\":1}", &answer);
	expect_status(&answer, 202);
	const struct message *m = must_thief_take(&thief);

	forger_stop(&thief);
	must_daemon_start(&passage.node);
	must_forger_start(&forger, &passage, FORGER_WEB, "send");
	must_forge(&forger, m);
	must_status_become(passage.app_socket, "\"done\":1", SOON_MS);
	must_forge_copies(&forger, m, COPIES);
	must_refuse_count(passage.app_socket, "replay", COPIES);
	ck_assert_uint_eq(handler_count(&passage.handler), 1);
	/* They were done: nobody has to look at them among the dead. */
	ck_assert_uint_eq(must_broker_count(&e2e_broker, passage.host.at, "FORAPP.dead"), 0);
	ck_assert_uint_eq(must_broker_count(&e2e_broker, passage.host.at, "FORAPP.send"), 0);
	forger_stop(&forger);
}
END_TEST

START_TEST(a_copy_of_a_send_under_way_runs_nothing)
{
	struct handler *h = &passage.handler;

	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_HOLD, .status = 200 });
	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "send");
	struct message m = forger_send(&forger, "note.leave");

	must_seal(&m);
	must_forge(&forger, &m);
	must_handler_hold(h, 1, SOON_MS);
	must_forge_copies(&forger, &m, 10);
	/* Other content under its id is no copy. */
	struct message other = m;

	other.body = span_of("{\"other\":1}");
	other.is_sealed = false;
	other.seq++;
	must_seal(&other);
	must_forge(&forger, &other);
	must_refuse_count(passage.app_socket, "id-reused", 1);
	handler_release(h, 1);
	must_status_become(passage.app_socket, "\"done\":1", SOON_MS);
	must_forge(&forger, &other);
	must_refuse_count(passage.app_socket, "id-reused", 2);
	ck_assert_uint_eq(handler_count(h), 1);
	forger_stop(&forger);
}
END_TEST

START_TEST(an_id_has_one_content_and_a_call_one_moment)
{
	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	struct message first = forger_call(&forger, "quote.price");
	struct message other = first;
	struct message anew = first;
	struct message early = forger_call(&forger, "quote.price");

	must_seal(&first);
	must_forge(&forger, &first);
	must_handler_get(&passage.handler, 1, SOON_MS);
	other.body = span_of("{\"other\":1}");
	must_seal(&other);
	must_forge(&forger, &other);
	must_refuse_count(passage.app_socket, "id-reused", 1);
	/* Its caller asks again: no copy. */
	anew.sent_unix_us++;
	must_seal(&anew);
	must_forge(&forger, &anew);
	must_handler_get(&passage.handler, 2, SOON_MS);
	early.sent_unix_us += 60u * 1000000u; /* twice clock.skew */
	must_seal(&early);
	must_forge(&forger, &early);
	must_refuse(passage.app_socket, "\"future\":1,\"id-reused\":1");
	ck_assert_uint_eq(handler_count(&passage.handler), 2);
	forger_stop(&forger);
}
END_TEST

/* ---- the way back ---- */

static struct message reply_to(const char *id)
{
	struct message m = forger_call(&forger, "quote.patient");

	ck_assert_int_eq(id_parse(span_of(id), &m.correlation), ERR_OK);
	m.has_correlation = true;
	m.body = span_of("{\"forged\":true}");
	return m;
}

START_TEST(no_forged_reply_reaches_its_caller)
{
	static struct caller caller;
	static struct caller_sum sum;
	struct handler *h = &passage.handler;
	struct handler_request request;
	struct crossing_name other = must_take_crossing(&e2e_broker);
	struct keyring ring = must_forger_ring(&e2e_broker, passage.host.at);
	struct keyring other_ring = must_forger_ring(&e2e_broker, other.at);

	handler_set_rule(h, &(struct handler_rule){ .act = HANDLER_HOLD, .status = 200 });
	must_passage_start(&passage);
	must_caller_start(&caller, passage.web_socket, "/v1/call/quote.patient", 1, 1, 0);
	must_handler_hold(h, 1, SOON_MS);
	must_handler_request(h, 0, &request);
	must_forger_start(&forger, &passage, FORGER_APP, "reply");
	struct message m = reply_to(request.id);

	must_forge(&forger, &m);
	must_refuse_count(passage.web_socket, "unsealed", 1);
	must_forger_seal(&ring, passage.host.at, SEAL_FORAPP, &m);
	must_forge(&forger, &m);
	m = reply_to(request.id);
	must_forger_seal(&other_ring, passage.host.at, SEAL_FORWEB, &m);
	must_forge(&forger, &m);
	m = reply_to(request.id);
	must_forger_seal(&ring, other.at, SEAL_FORWEB, &m);
	must_forge(&forger, &m);
	/* A true one for another call, brought to this one. */
	m = reply_to(request.id);
	m.correlation.byte[ID_BYTES - 1] ^= 1;
	must_seal_reply(&m);
	m.correlation.byte[ID_BYTES - 1] ^= 1;
	must_forge(&forger, &m);
	/* A result sold as a problem. */
	m = reply_to(request.id);
	must_seal_reply(&m);
	m.content = MESSAGE_PROBLEM;
	must_forge(&forger, &m);
	must_refuse(passage.web_socket, "\"unsealed\":1,\"seal\":5");
	expect_log(&passage.agent, "event=reply-refused", SOON_MS);
	/* Its caller has waited, and hears the handler. */
	handler_release(h, 1);
	caller_finish(&caller, &sum);
	ck_assert_uint_eq(sum.by_status[200], 1);
	ck_assert_uint_eq(handler_count(h), 1);
	forger_stop(&forger);
}
END_TEST

/* An owned broker moves an answer to a refused request onto the lane of a call under way, or has a
 * node make one: nothing that no seal vouches for is answered. */
START_TEST(what_no_seal_vouches_for_gets_no_answer)
{
	must_passage_start(&passage);
	must_forger_start(&forger, &passage, FORGER_WEB, "call");
	struct message m = forger_call(&forger, "no.such");

	must_forge(&forger, &m);
	m.is_sealed = true;
	must_forge(&forger, &m);
	must_refuse(passage.app_socket, "\"unsealed\":1,\"seal\":1");
	m.is_sealed = false;
	must_seal(&m);
	must_forge(&forger, &m);
	must_refuse(passage.app_socket, "\"unsealed\":1,\"seal\":1,\"unknown-operation\":1");
	expect_status_has(passage.app_socket, "\"replies\":1");
	forger_stop(&forger);
}
END_TEST

/* ---- keys ---- */

#define KEY_A "a1a2a3a4a5a6a7a8a1a2a3a4a5a6a7a8a1a2a3a4a5a6a7a8a1a2a3a4a5a6a7a8"
#define KEY_B "b1b2b3b4b5b6b7b8b1b2b3b4b5b6b7b8b1b2b3b4b5b6b7b8b1b2b3b4b5b6b7b8"

/* Gives the agent and the node a ring each: their config files name folders of their own. */
static void must_give_rings(const char *web, const char *app)
{
	const struct {
		struct daemon *daemon;
		const char *ring;
		const char *name;
	} ends[] = { { &passage.agent, web, "web" }, { &passage.node, app, "app" } };
	char text[4096];
	char kept[160];
	char path[256];

	must_format(kept, sizeof kept, "%s", passage.seals);
	for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
		must_format(passage.seals, sizeof passage.seals, "%s/%s", passage.folder,
			ends[i].name);
		const char *argv[] = { "/bin/mkdir", "-p", passage.seals, NULL };
		static struct command_result result;

		must_run(argv, SOON_MS, &result);
		must_format(path, sizeof path, "%s/%s.seal", passage.seals, passage.host.at);
		must_format(text, sizeof text, "sallyport-seal-key v1\n%s", ends[i].ring);
		must_write_file(path, 0600, text);
	}
	/* Both configs are written for one folder: the agent's first, then the node's, of which only
	 * the one that is meant is kept. */
	must_format(passage.seals, sizeof passage.seals, "%s/web", passage.folder);
	must_passage_configure(&passage, "ready.border = yes\n");
	char *agent = must_read_file(passage.agent.config, NULL);

	must_format(passage.seals, sizeof passage.seals, "%s/app", passage.folder);
	must_passage_configure(&passage, "ready.border = yes\n");
	must_daemon_configure(&passage.agent, agent);
	free(agent);
	must_format(passage.seals, sizeof passage.seals, "%s", kept);
}

START_TEST(while_a_key_is_replaced_both_keys_open)
{
	/* Every step of a replacement, one end before the other, and what of a call and its reply was
	 * opened with the key that is only accepted. */
	static const struct {
		const char *web;
		const char *app;
		const char *accepted;
	} steps[] = {
		{ "key present " KEY_A "\n", "key present " KEY_A "\nkey accepted " KEY_B "\n",
			"\"opened_accepted\":0" },
		{ "key present " KEY_A "\nkey accepted " KEY_B "\n",
			"key present " KEY_B "\nkey accepted " KEY_A "\n",
			"\"opened_accepted\":1" },
		{ "key present " KEY_B "\nkey accepted " KEY_A "\n",
			"key present " KEY_B "\nkey accepted " KEY_A "\n",
			"\"opened_accepted\":0" },
		{ "key present " KEY_B "\n", "key present " KEY_B "\nkey accepted " KEY_A "\n",
			"\"opened_accepted\":0" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		must_give_rings(steps[i].web, steps[i].app);
		must_passage_start(&passage);
		expect_crossing(&passage);
		expect_status_has(passage.app_socket, steps[i].accepted);
		must_refuse(passage.app_socket, "");
		must_daemon_stop(&passage.agent);
		must_daemon_stop(&passage.node);
	}
}
END_TEST

START_TEST(ends_with_different_keys_say_so_and_do_not_understand_each_other)
{
	must_give_rings("key present " KEY_A "\n", "key present " KEY_B "\n");
	must_passage_start(&passage);
	must_call(passage.web_socket, "quote.short", "{}", &answer);
	expect_problem(&answer, 504, "deadline-exceeded");
	must_refuse_count(passage.app_socket, "seal", 1);
	must_daemon_stop(&passage.agent);
	must_daemon_stop(&passage.node);
	/* Only the way back. */
	must_give_rings(
		"key present " KEY_A "\n", "key present " KEY_B "\nkey accepted " KEY_A "\n");
	must_passage_start(&passage);
	must_call(passage.web_socket, "quote.short", "{}", &answer);
	expect_problem(&answer, 504, "deadline-exceeded");
	must_refuse_count(passage.web_socket, "seal", 1);
	ck_assert_uint_eq(handler_count(&passage.handler), 1);
}
END_TEST

TCase *seal_case(void)
{
	TCase *t = e2e_case("seal", 60);

	tcase_add_test(t, what_is_sealed_as_the_agent_does_it_is_taken);
	tcase_add_test(t, what_is_not_sealed_is_refused);
	tcase_add_test(t, what_was_sealed_for_elsewhere_is_refused);
	tcase_add_test(t, whatever_was_changed_on_the_way_the_seal_shows_it);
	tcase_add_test(t, no_flipped_bit_passes);
	tcase_add_test(t, a_refused_send_is_kept_with_the_dead);
	tcase_add_test(t, a_thousand_copies_of_a_recorded_call_run_nothing);
	tcase_add_test(t, a_thousand_copies_of_a_recorded_send_run_nothing);
	tcase_add_test(t, a_copy_of_a_send_under_way_runs_nothing);
	tcase_add_test(t, an_id_has_one_content_and_a_call_one_moment);
	tcase_add_test(t, no_forged_reply_reaches_its_caller);
	tcase_add_test(t, what_no_seal_vouches_for_gets_no_answer);
	tcase_add_test(t, while_a_key_is_replaced_both_keys_open);
	tcase_add_test(t, ends_with_different_keys_say_so_and_do_not_understand_each_other);
	return t;
}
