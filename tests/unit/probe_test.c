/* probe_test.c - the judgement of sallyport-probe, its words on the wire, and brokers that cheat. */
#include <stdio.h>
#include <stdlib.h>

#include "act.h"
#include "amqp_wire.h"
#include "fakebroker.h"
#include "must.h"
#include "pki.h"
#include "run.h"
#include "unit/unit.h"

/* ---- judging ---- */

static enum verdict judge(
	enum act_sort sort, enum proof proof, uint16_t code, const struct outcome seen)
{
	const struct act act = { .sort = sort, .proof = proof, .code = code };

	return act_judge(&act, &seen);
}

static struct outcome refusal(uint16_t code, const char *text)
{
	struct outcome o = { .kind = OUTCOME_REFUSED, .code = code };

	snprintf(o.text, sizeof(o.text), "%s", text);
	return o;
}

static struct outcome of(enum outcome_kind kind)
{
	return (struct outcome){ .kind = kind };
}

START_TEST(a_refusal_for_want_of_the_right_is_proof)
{
	const struct outcome no = refusal(
		403, "access to queue 'q' in vhost 'v' refused for user 'u'");

	ck_assert_int_eq(judge(ACT_FORBIDDEN, PROOF_PERMISSION, 0, no), VERDICT_OK);
}
END_TEST

START_TEST(a_refusal_for_another_reason_is_none)
{
	ck_assert_int_eq(judge(ACT_FORBIDDEN, PROOF_PERMISSION, 0,
				 refusal(403, "queue 'q' in vhost 'v' in exclusive use")),
		VERDICT_UNPROVEN);
	ck_assert_int_eq(
		judge(ACT_FORBIDDEN, PROOF_PERMISSION, 0, refusal(404, "no queue 'q'")),
		VERDICT_UNPROVEN);
	ck_assert_int_eq(judge(ACT_FORBIDDEN, PROOF_CODE, 406, refusal(404, "no exchange")),
		VERDICT_UNPROVEN);
}
END_TEST

START_TEST(a_limit_that_is_reached_does_not_prove_that_a_vhost_is_closed)
{
	ck_assert_int_eq(judge(ACT_FORBIDDEN, PROOF_NO_VHOST, 0,
				 refusal(530, "access to vhost 'v' refused for user 'u'")),
		VERDICT_OK);
	ck_assert_int_eq(
		judge(ACT_FORBIDDEN, PROOF_NO_VHOST, 0,
			refusal(530, "refused for user 'u': user connection limit (4)")),
		VERDICT_UNPROVEN);
}
END_TEST

START_TEST(what_the_broker_does_has_succeeded)
{
	static const enum proof proofs[] = { PROOF_PERMISSION, PROOF_CODE, PROOF_REFUSED,
		PROOF_NO_TLS, PROOF_NO_LOGIN, PROOF_NO_VHOST, PROOF_UNROUTED,
		PROOF_NO_CONNECTION };
	static const enum outcome_kind kinds[] = { OUTCOME_DONE, OUTCOME_GRANTED };

	for (size_t i = 0; i < ARRAY_COUNT(proofs); i++)
		for (size_t j = 0; j < ARRAY_COUNT(kinds); j++)
			ck_assert_int_eq(judge(ACT_FORBIDDEN, proofs[i], 403, of(kinds[j])),
				VERDICT_SUCCEEDED);
}
END_TEST

START_TEST(silence_proves_nothing_whatever_was_expected)
{
	static const enum proof proofs[] = { PROOF_PERMISSION, PROOF_CODE, PROOF_REFUSED,
		PROOF_NO_TLS, PROOF_NO_LOGIN, PROOF_NO_VHOST, PROOF_UNROUTED,
		PROOF_NO_CONNECTION, PROOF_DONE };
	static const enum outcome_kind kinds[] = { OUTCOME_SILENT, OUTCOME_NOT_TRIED,
		OUTCOME_OURS };
	static const enum act_sort sorts[] = { ACT_FORBIDDEN, ACT_TOLERATED, ACT_CONTROL };

	for (size_t i = 0; i < ARRAY_COUNT(proofs); i++)
		for (size_t j = 0; j < ARRAY_COUNT(kinds); j++)
			for (size_t k = 0; k < ARRAY_COUNT(sorts); k++)
				ck_assert_int_eq(judge(sorts[k], proofs[i], 0, of(kinds[j])),
					VERDICT_UNPROVEN);
}
END_TEST

START_TEST(a_broker_that_cannot_be_reached_refuses_nothing)
{
	ck_assert_int_eq(
		judge(ACT_FORBIDDEN, PROOF_NO_TLS, 0, of(OUTCOME_NOBODY)), VERDICT_UNPROVEN);
	ck_assert_int_eq(
		judge(ACT_FORBIDDEN, PROOF_REFUSED, 0, of(OUTCOME_NOBODY)), VERDICT_UNPROVEN);
	ck_assert_int_eq(judge(ACT_TOLERATED, PROOF_PERMISSION, 0, of(OUTCOME_NOBODY)),
		VERDICT_UNPROVEN);
	ck_assert_int_eq(
		judge(ACT_FORBIDDEN, PROOF_NO_CONNECTION, 0, of(OUTCOME_NOBODY)), VERDICT_OK);
}
END_TEST

START_TEST(who_hears_amqp_came_through_tls)
{
	ck_assert_int_eq(judge(ACT_FORBIDDEN, PROOF_NO_TLS, 0, of(OUTCOME_SHUT)), VERDICT_OK);
	ck_assert_int_ne(judge(ACT_FORBIDDEN, PROOF_NO_TLS, 0, refusal(403, "no")), VERDICT_OK);
}
END_TEST

START_TEST(a_control_must_succeed)
{
	ck_assert_int_eq(judge(ACT_CONTROL, PROOF_DONE, 0, of(OUTCOME_DONE)), VERDICT_OK);
	ck_assert_int_eq(
		judge(ACT_CONTROL, PROOF_UNROUTED, 0, of(OUTCOME_UNROUTED)), VERDICT_OK);
	ck_assert_int_eq(judge(ACT_CONTROL, PROOF_DONE, 0, refusal(403, "refused for user")),
		VERDICT_UNPROVEN);
}
END_TEST

/* ---- words ---- */

static void expect_same(const struct buf *said, struct wire *wanted)
{
	ck_assert_int_eq(buf_status(said), ERR_OK);
	ck_assert_msg(span_equals(buf_span(said), wire_span(wanted)),
		"%zu bytes, and they are not the %zu of the specification", said->len,
		wire_span(wanted).len);
}

START_TEST(requests_are_written_as_the_specification_has_them)
{
	const struct request r = { QUEUE_DECLARE, { "lane" }, DECLARE_DURABLE | QUEUE_NO_WAIT,
		TABLE_QUORUM };
	struct buf said;
	struct wire w;

	buf_init(&said, 4096);
	speech_put_request(&said, 3, &r);
	wire_init(&w);
	wire_frame_begin(&w, WIRE_METHOD, 3);
	wire_long(&w, 50 << 16 | 10);
	wire_short(&w, 0);
	wire_shortstr(&w, "lane");
	wire_octet(&w, 1 << 1 | 1 << 4);
	size_t table = wire_from(&w);

	wire_entry_text(&w, "x-queue-type", "quorum");
	wire_until(&w, table);
	wire_frame_end(&w);
	expect_same(&said, &w);
	wire_fini(&w);
	buf_fini(&said);
}
END_TEST

START_TEST(requests_without_some_parts_too)
{
	const struct request unbind = { QUEUE_UNBIND, { "q", "x", "k" }, 0, TABLE_EMPTY };
	const struct request flow = { CHANNEL_FLOW, { NULL }, 1, TABLE_EMPTY };
	struct buf said;
	struct wire w;

	buf_init(&said, 4096);
	speech_put_request(&said, 1, &unbind);
	speech_put_request(&said, 1, &flow);
	wire_init(&w);
	wire_frame_begin(&w, WIRE_METHOD, 1);
	wire_long(&w, 50 << 16 | 50);
	wire_short(&w, 0);
	wire_shortstr(&w, "q");
	wire_shortstr(&w, "x");
	wire_shortstr(&w, "k");
	wire_long(&w, 0);
	wire_frame_end(&w);
	wire_frame_begin(&w, WIRE_METHOD, 1);
	wire_long(&w, 20 << 16 | 20);
	wire_octet(&w, 1);
	wire_frame_end(&w);
	expect_same(&said, &w);
	wire_fini(&w);
	buf_fini(&said);
}
END_TEST

START_TEST(a_header_carries_what_may_route)
{
	const struct speech_content content = {
		.user_id = "me",
		.cc = "a bc",
		.reply_to = "there",
		.expiration = "1",
		.body_bytes = 7,
	};
	struct buf said;
	struct wire w;

	buf_init(&said, 4096);
	speech_put_header(&said, 2, &content);
	wire_init(&w);
	wire_header_begin(&w, 2, 7,
		WIRE_HAS_HEADERS | WIRE_HAS_REPLY_TO | WIRE_HAS_EXPIRATION | WIRE_HAS_USER_ID);
	size_t table = wire_from(&w);

	wire_shortstr(&w, "CC");
	wire_octet(&w, 'A');
	size_t array = wire_from(&w);

	wire_octet(&w, 'S');
	wire_longstr(&w, "a");
	wire_octet(&w, 'S');
	wire_longstr(&w, "bc");
	wire_until(&w, array);
	wire_until(&w, table);
	wire_shortstr(&w, "there");
	wire_shortstr(&w, "1");
	wire_shortstr(&w, "me");
	wire_frame_end(&w);
	expect_same(&said, &w);
	wire_fini(&w);
	buf_fini(&said);
}
END_TEST

/* ---- brokers that are none ---- */

static char folder[128];
static struct fakebroker fake;
static struct plan plan;
static struct probe probe;

static void enter(void)
{
	must_enter_test();
	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	must_make_folder(folder, sizeof(folder));
	struct pki_authority *authority = must_pki_authority(folder, "ca");

	must_pki_issue(authority, folder, "server", PKI_SERVER);
	must_pki_issue(authority, folder, "web.web1.g1", PKI_CLIENT);
	must_pki_issue(authority, folder, "app.app1.g1", PKI_CLIENT);
	pki_authority_free(authority);
}

static void leave(void)
{
	probe_fini(&probe);
	plan_close(&plan);
	(void)fakebroker_stop(&fake);
	must_remove_folder(folder);
}

static void must_face(fake_script script, const void *arg, const char *pattern)
{
	static struct report report;
	char path[5][200];
	char text[2000];

	must_format(path[0], sizeof(path[0]), "%s/ca.pem", folder);
	must_format(path[1], sizeof(path[1]), "%s/server.pem", folder);
	must_format(path[2], sizeof(path[2]), "%s/server.key", folder);
	must_format(path[3], sizeof(path[3]), "%s/plan.conf", folder);
	must_fakebroker_start(&fake, script, (void *)(uintptr_t)arg, path[0], path[1], path[2]);
	must_format(text, sizeof(text),
		"broker = 127.0.0.1:%u\n"
		"ca = ca.pem\n"
		"web.certificate = web.web1.g1.pem\nweb.key = web.web1.g1.key\n"
		"node.certificate = app.app1.g1.pem\nnode.key = app.app1.g1.key\n"
		"patience = 300ms\nwithin = 2s\nports = 1\n",
		fake.port);
	must_write_file(path[3], 0600, text);
	report_init(&report);
	enum err err = plan_open(path[3], &report, &plan);

	ck_assert_msg(err == ERR_OK, "%s",
		report.count > 0 ? report.mistakes[0].text : err_text(err));
	report_fini(&report);
	ck_assert_int_eq(probe_init(&probe, &plan, pattern), ERR_OK);
}

static void serve(struct fake *f, void *arg)
{
	(void)arg;
	(void)fake_serve(f);
}

START_TEST(a_broker_that_lets_everybody_do_everything_is_not_called_right)
{
	struct outcome why = { 0 };

	must_face(serve, NULL, "basic.consume*");
	enum err err = probe_run(&probe, &why);
	const struct tally tally = probe_tally(&probe);

	ck_assert(err == ERR_OK || err == ERR_LINK);
	ck_assert_uint_gt(tally.succeeded, 0);
	for (size_t i = 0; i < probe.count; i++)
		ck_assert_int_ne(probe.trials[i].act->sort == ACT_FORBIDDEN &&
					 act_judge(probe.trials[i].act,
						 &probe.trials[i].outcome) == VERDICT_OK,
			true);
}
END_TEST

static void attack(struct fake *f, void *arg)
{
	const struct fake_attack *a = arg;
	struct buf bytes;

	buf_init(&bytes, 64 * 1024 * 1024);
	/* Each connection is a little further than the one before. */
	if (fake_polite(f, FAKE_GREETED + f->index % 5) && a->put != NULL) {
		a->put(&bytes);
		if (fake_send_buf(f, &bytes))
			(void)fake_expect_end(f, 1000);
	} else {
		fake_be_silent(f, 1000);
	}
	buf_fini(&bytes);
}

START_TEST(hostile_bytes_prove_nothing_and_break_nothing)
{
	struct outcome why = { 0 };

	if (fake_attacks[_i].name == NULL)
		return;
	must_face(attack, &fake_attacks[_i], "queue.delete*");
	enum err err = probe_run(&probe, &why);

	ck_assert(err == ERR_OK || err == ERR_LINK);
	for (size_t i = 0; i < probe.count; i++)
		ck_assert_int_ne(
			act_judge(probe.trials[i].act, &probe.trials[i].outcome), VERDICT_OK);
}
END_TEST

static void hang_up(struct fake *f, void *arg)
{
	(void)arg;
	(void)fake_polite(f, FAKE_TLS_DONE);
}

START_TEST(who_hangs_up_on_everybody_is_no_border)
{
	struct outcome why = { 0 };

	must_face(hang_up, NULL, "log in*");
	if (probe_run(&probe, &why) != ERR_OK)
		return;
	ck_assert_uint_gt(probe_tally(&probe).unproven, 0); /* the controls */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("probe");
	TCase *pure = tcase_create("pure");
	TCase *brokers = tcase_create("brokers");
	int attacks = 0;

	tcase_add_test(pure, a_refusal_for_want_of_the_right_is_proof);
	tcase_add_test(pure, a_refusal_for_another_reason_is_none);
	tcase_add_test(pure, a_limit_that_is_reached_does_not_prove_that_a_vhost_is_closed);
	tcase_add_test(pure, what_the_broker_does_has_succeeded);
	tcase_add_test(pure, silence_proves_nothing_whatever_was_expected);
	tcase_add_test(pure, a_broker_that_cannot_be_reached_refuses_nothing);
	tcase_add_test(pure, who_hears_amqp_came_through_tls);
	tcase_add_test(pure, a_control_must_succeed);
	tcase_add_test(pure, requests_are_written_as_the_specification_has_them);
	tcase_add_test(pure, requests_without_some_parts_too);
	tcase_add_test(pure, a_header_carries_what_may_route);
	suite_add_tcase(suite, pure);
	while (fake_attacks[attacks].name != NULL)
		attacks++;
	tcase_add_checked_fixture(brokers, enter, leave);
	tcase_set_timeout(brokers, 60);
	tcase_add_test(brokers, a_broker_that_lets_everybody_do_everything_is_not_called_right);
	tcase_add_loop_test(brokers, hostile_bytes_prove_nothing_and_break_nothing, 0, attacks);
	tcase_add_test(brokers, who_hangs_up_on_everybody_is_no_border);
	suite_add_tcase(suite, brokers);
	return unit_run(suite);
}
