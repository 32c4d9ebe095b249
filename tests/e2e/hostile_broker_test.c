/* hostile_broker_test.c - the real daemons against a broker that the test plays, hostile at
 * every stage. */
#include <check.h>
#include <stdlib.h>

#include "e2e.h"
#include "fakebroker.h"
#include "must.h"
#include "pki.h"

enum { BYTES_MAX = 4 * 1024 * 1024, QUIET_MS = 30, END_MS = 5000 };

static struct answer answer;
static struct fakebroker fake;
static struct fakebroker other_fake; /* of the node, where both daemons are attacked at once */

/* Our own authority: the fake broker's certificate, and identities that it accepts. */
static void must_make_identities(enum pki_use broker_use)
{
	char app_user[] = "app.app1.g1";
	struct pki_authority *a = must_pki_authority(passage.folder, "ca");

	must_pki_issue(a, passage.folder, "broker", broker_use);
	must_pki_issue(a, passage.folder, passage.web_user, PKI_CLIENT);
	must_pki_issue(a, passage.folder, app_user, PKI_CLIENT);
	pki_authority_free(a);
	must_format(passage.ca, sizeof passage.ca, "%s/ca.pem", passage.folder);
	must_format(passage.web_identity, sizeof passage.web_identity, "%s/%s", passage.folder,
		passage.web_user);
	must_format(passage.app_identity, sizeof passage.app_identity, "%s/%s", passage.folder,
		app_user);
}

static void must_start_one(struct fakebroker *b, fake_script script, void *arg)
{
	char certificate[128];
	char key[128];

	must_format(certificate, sizeof certificate, "%s/broker.pem", passage.folder);
	must_format(key, sizeof key, "%s/broker.key", passage.folder);
	must_fakebroker_start(b, script, arg, passage.ca, certificate, key);
	passage.ports[0] = b->port;
	/* A channel with nothing to set up says its first word with a heartbeat. */
	must_passage_configure(&passage,
		"border.retry_longest = 50ms\nborder.handshake_timeout = 1s\n"
		"border.heartbeat = 1\n");
}

static void must_start_fake(fake_script script, void *arg)
{
	must_start_one(&fake, script, arg);
}

static unsigned attack_count(void)
{
	unsigned count = 0;

	while (fake_attacks[count].name != NULL)
		count++;
	return count;
}

static void attack(struct fake *f, enum fake_stage stage, const struct fake_attack *how)
{
	struct buf bytes;

	if (!fake_polite(f, stage))
		return;
	buf_init(&bytes, BYTES_MAX);
	if (how->put != NULL)
		how->put(&bytes);
	bool is_sent = fake_send_buf(f, &bytes);

	buf_fini(&bytes);
	if (is_sent && how->must_end && !fake_expect_end(f, END_MS))
		(void)fake_fail(
			f, "at stage %d, after %s, it did not hang up", (int)stage, how->name);
	else if (!how->must_end)
		fake_be_silent(f, QUIET_MS);
}

/* Each connection is the next pair of stage and attack; when all were had, a polite broker. */
static void attack_in_turn(struct fake *f, void *arg)
{
	unsigned attacks = attack_count();

	(void)arg;
	if (f->index < attacks * FAKE_STAGES)
		attack(f, f->index / attacks, &fake_attacks[f->index % attacks]);
	else
		(void)fake_serve(f);
}

static void must_have_survived(struct daemon *d, struct fakebroker *b, const char *socket_path)
{
	must_fakebroker_accept(b, attack_count() * FAKE_STAGES + 2, 80000);
	must_status_become(socket_path, "\"ready\":true", 5000);
	must_get(socket_path, "/livez", &answer);
	expect_status(&answer, 200);
	if (!must_is_sanitized())
		ck_assert_uint_le(must_daemon_rss_kib(d), 32 * 1024);
	must_daemon_stop(d);
	must_fakebroker_stop(b);
}

START_TEST(no_bytes_of_a_hostile_broker_stop_a_daemon)
{
	must_make_identities(PKI_SERVER);
	must_start_one(&fake, attack_in_turn, NULL);
	must_daemon_start(&passage.agent);
	must_start_one(&other_fake, attack_in_turn, NULL);
	must_daemon_start(&passage.node);
	must_have_survived(&passage.agent, &fake, passage.web_socket);
	must_have_survived(&passage.node, &other_fake, passage.app_socket);
	ck_assert_uint_eq(handler_count(&passage.handler), 0);
}
END_TEST

static void serve_byte_by_byte(struct fake *f, void *arg)
{
	(void)arg;
	f->chunk_bytes = 1;
	(void)fake_serve(f);
}

START_TEST(a_broker_that_sends_byte_by_byte_is_understood)
{
	must_make_identities(PKI_SERVER);
	must_start_fake(serve_byte_by_byte, NULL);
	must_daemon_start(&passage.agent);
	must_status_become(passage.web_socket, "\"ready\":true", 5000);
	must_send(passage.web_socket, "note.leave", "{}", &answer);
	expect_status(&answer, 202);
	must_daemon_stop(&passage.agent);
	must_fakebroker_stop(&fake);
}
END_TEST

/* Cuts the polite dialogue after one byte more with each connection. */
static void serve_cut_short(struct fake *f, void *arg)
{
	unsigned cuts = *(const unsigned *)arg;

	if (f->index < cuts)
		f->left_bytes = f->index;
	(void)fake_serve(f);
}

START_TEST(a_broker_cut_off_after_any_byte_is_only_tried_again)
{
	unsigned cuts = 225; /* some bytes before the dialogue is ready */

	must_make_identities(PKI_SERVER);
	must_start_fake(serve_cut_short, &cuts);
	must_daemon_start(&passage.agent);
	must_fakebroker_accept(&fake, cuts + 2, 60000);
	must_status_become(passage.web_socket, "\"ready\":true", 10000);
	must_daemon_stop(&passage.agent);
	must_fakebroker_stop(&fake);
}
END_TEST

static void serve(struct fake *f, void *arg)
{
	(void)arg;
	(void)fake_serve(f);
}

START_TEST(a_broker_with_a_certificate_for_elsewhere_is_not_spoken_to)
{
	must_make_identities(PKI_ELSEWHERE);
	must_start_fake(serve, NULL);
	must_daemon_start(&passage.agent);
	must_fakebroker_accept(&fake, 3, 5000);
	expect_status_has(passage.web_socket, "\"ready\":false");
	expect_status_has(passage.web_socket, "mismatch");
	ck_assert_uint_eq(fake.reached[FAKE_GREETED], 0);
	must_daemon_stop(&passage.agent);
	must_fakebroker_stop(&fake);
}
END_TEST

static void refuse_every_publish(struct fake *f, void *arg)
{
	(void)arg;
	f->refuses = true;
	(void)fake_serve(f);
}

START_TEST(a_send_that_the_broker_refuses_is_not_accepted)
{
	must_make_identities(PKI_SERVER);
	must_start_fake(refuse_every_publish, NULL);
	must_daemon_start(&passage.agent);
	must_status_become(passage.web_socket, "\"ready\":true", 5000);
	must_send(passage.web_socket, "note.leave", "{}", &answer);
	ck_assert_int_ge(answer.status, 500);
	must_daemon_stop(&passage.agent);
	must_fakebroker_stop(&fake);
}
END_TEST

static void ignore_every_publish(struct fake *f, void *arg)
{
	(void)arg;
	f->ignores = true;
	(void)fake_serve(f);
}

/* The fate of a send becomes known, or not, after its caller was told that time is over: of one
 * without a key nothing is left by then, one with a key is still remembered. */
START_TEST(a_send_that_timed_out_before_its_link_is_lost_is_only_noted)
{
	must_make_identities(PKI_SERVER);
	must_start_fake(ignore_every_publish, NULL);
	must_passage_configure(&passage, "send.timeout = 100ms\n");
	must_daemon_start(&passage.agent);
	must_status_become(passage.web_socket, "\"ready\":true", 5000);
	must_send(passage.web_socket, "note.leave", "{}", &answer);
	expect_problem(&answer, 504, "deadline-exceeded");
	ck_assert(http_ask(passage.web_socket, "POST", "/v1/send/note.leave",
		"Idempotency-Key: k1\r\n", "{}", END_MS, &answer));
	expect_problem(&answer, 504, "deadline-exceeded");
	must_fakebroker_stop(&fake);
	expect_log(
		&passage.agent, "event=confirm-late err=\"peer unreachable or lost\"", END_MS);
	expect_log(
		&passage.agent, "event=refused-late err=\"peer unreachable or lost\"", END_MS);
	must_get(passage.web_socket, "/livez", &answer);
	expect_status(&answer, 200);
	must_daemon_stop(&passage.agent);
}
END_TEST

TCase *hostile_broker_case(void)
{
	TCase *t = e2e_case("hostile_broker", 90);

	tcase_add_test(t, no_bytes_of_a_hostile_broker_stop_a_daemon);
	tcase_add_test(t, a_broker_that_sends_byte_by_byte_is_understood);
	tcase_add_test(t, a_broker_cut_off_after_any_byte_is_only_tried_again);
	tcase_add_test(t, a_broker_with_a_certificate_for_elsewhere_is_not_spoken_to);
	tcase_add_test(t, a_send_that_the_broker_refuses_is_not_accepted);
	tcase_add_test(t, a_send_that_timed_out_before_its_link_is_lost_is_only_noted);
	return t;
}
