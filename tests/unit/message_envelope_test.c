/* Two ends of one crossing: what one wraps the other unwraps, and nobody else. */
#include "message/envelope.h"

#include <stdlib.h>
#include <string.h>

#include "unit/unit.h"

static struct keyring ring;
static struct envelope web;
static struct envelope app;

static struct keyring ring_from(uint8_t first)
{
	struct keyring k = { 0 };

	for (size_t i = 0; i < sizeof(k.present.byte); i++)
		k.present.byte[i] = (uint8_t)(first + i);
	return k;
}

static void must_init(struct envelope *e, const char *host, enum envelope_end end)
{
	ck_assert_int_eq(envelope_init(e, &ring, span_of(host), end), ERR_OK);
}

static void setup(void)
{
	ring = ring_from(0);
	must_init(&web, "web1", ENVELOPE_WEB);
	must_init(&app, "web1", ENVELOPE_APP);
}

static void teardown(void)
{
	envelope_fini(&web);
	envelope_fini(&app);
}

static struct message request(struct span body)
{
	struct message m = {
		.type = span_of("quote.price"),
		.user_id = span_of("web.web1.g1"),
		.sent_unix_us = 1780000000000000,
		.seq = 1,
		.body = body,
	};

	m.id.byte[0] = 1;
	return m;
}

START_TEST(what_one_end_wraps_the_other_unwraps)
{
	struct message m = request(span_of("{}"));

	ck_assert_int_eq(envelope_wrap(&web, &m), ERR_OK);
	ck_assert(m.is_sealed);
	ck_assert_uint_eq(m.body.len, 2 + SEAL_OVERHEAD_BYTES);
	ck_assert_int_eq(envelope_unwrap(&app, &m), ERR_OK);
	ck_assert(!m.is_sealed);
	ck_assert(span_is(m.body, "{}"));
	/* And the answer. */
	m.user_id = span_of("app.app1.g1");
	m.correlation = m.id;
	m.has_correlation = true;
	ck_assert_int_eq(envelope_wrap(&app, &m), ERR_OK);
	ck_assert_int_eq(envelope_unwrap(&web, &m), ERR_OK);
	ck_assert(span_is(m.body, "{}"));
	ck_assert_uint_eq(seal_counters(web.going)->wrapped, 1);
	ck_assert_uint_eq(seal_counters(web.coming)->opened, 1);
}
END_TEST

START_TEST(an_end_does_not_take_what_it_sent_itself)
{
	struct message m = request(span_of("{}"));

	ck_assert_int_eq(envelope_wrap(&web, &m), ERR_OK);
	struct span wrapped = m.body;

	ck_assert_int_eq(envelope_unwrap(&web, &m), ERR_SEAL);
	ck_assert(m.is_sealed);
	ck_assert(span_equals(m.body, wrapped)); /* as it was */
	ck_assert_uint_eq(seal_counters(web.coming)->refused, 1);
}
END_TEST

START_TEST(what_is_not_sealed_is_not_looked_at)
{
	struct message m = request(span_of("{}"));

	ck_assert_int_eq(envelope_unwrap(&app, &m), ERR_UNSEALED);
	ck_assert(span_is(m.body, "{}"));
	ck_assert_int_eq(envelope_wrap(&web, &m), ERR_OK);
	m.is_sealed = false; /* an envelope that does not say that it is one */
	ck_assert_int_eq(envelope_unwrap(&app, &m), ERR_UNSEALED);
}
END_TEST

START_TEST(another_crossing_is_another_seal_even_under_the_same_key)
{
	struct envelope other;
	struct message m = request(span_of("{}"));

	must_init(&other, "web2", ENVELOPE_APP);
	ck_assert_int_eq(envelope_wrap(&web, &m), ERR_OK);
	ck_assert_int_eq(envelope_unwrap(&other, &m), ERR_SEAL);
	envelope_fini(&other);
}
END_TEST

START_TEST(within_the_app_realm_everybody_takes_what_everybody_seals)
{
	struct envelope nodes[2];
	struct message m = request(span_of("{}"));

	must_init(&nodes[0], "", ENVELOPE_INNER);
	must_init(&nodes[1], "", ENVELOPE_INNER);
	ck_assert_int_eq(envelope_wrap(&nodes[0], &m), ERR_OK);
	struct message copy = m;

	ck_assert_int_eq(envelope_unwrap(&nodes[1], &m), ERR_OK);
	ck_assert(span_is(m.body, "{}"));
	m = copy;
	ck_assert_int_eq(envelope_unwrap(&nodes[0], &m), ERR_OK);
	/* But a crossing's seal is none of theirs, even under the same key. */
	ck_assert_int_eq(envelope_unwrap(&app, &copy), ERR_SEAL);
	m = request(span_of("{}"));
	ck_assert_int_eq(envelope_wrap(&web, &m), ERR_OK);
	ck_assert_int_eq(envelope_unwrap(&nodes[0], &m), ERR_SEAL);
	envelope_fini(&nodes[0]);
	envelope_fini(&nodes[1]);
}
END_TEST

START_TEST(while_a_key_is_replaced_both_open)
{
	struct keyring old = ring;
	struct envelope late;
	struct message m = request(span_of("{}"));

	ring = ring_from(100);
	ring.accepted = old.present;
	ring.has_accepted = true;
	must_init(&late, "web1", ENVELOPE_APP);
	ck_assert_int_eq(envelope_wrap(&web, &m), ERR_OK);
	ck_assert_int_eq(envelope_unwrap(&late, &m), ERR_OK);
	ck_assert_uint_eq(seal_counters(late.coming)->opened_accepted, 1);
	/* It seals with the new one, which the other end does not know yet. */
	ck_assert_int_eq(envelope_wrap(&late, &m), ERR_OK);
	ck_assert_int_eq(envelope_unwrap(&web, &m), ERR_SEAL);
	envelope_fini(&late);
}
END_TEST

START_TEST(the_largest_body_fits_and_its_memory_is_given_back)
{
	char *body = calloc(1, MESSAGE_BODY_MAX_BYTES + 1);
	struct message m = request((struct span){ body, MESSAGE_BODY_MAX_BYTES });

	ck_assert_ptr_nonnull(body);
	memset(body, 'b', MESSAGE_BODY_MAX_BYTES + 1);
	ck_assert_int_eq(envelope_wrap(&web, &m), ERR_OK);
	ck_assert_uint_eq(m.body.len, SEAL_MAX_BYTES);
	ck_assert_int_eq(envelope_unwrap(&app, &m), ERR_OK);
	ck_assert(span_equals(m.body, (struct span){ body, MESSAGE_BODY_MAX_BYTES }));
	m = request((struct span){ body, MESSAGE_BODY_MAX_BYTES + 1 });
	ck_assert_int_eq(envelope_wrap(&web, &m), ERR_INPUT);
	ck_assert(!m.is_sealed);
	ck_assert_ptr_eq(m.body.at, body);
	for (int i = 0; i < 3; i++) {
		m = request(span_of("{}"));
		ck_assert_int_eq(envelope_wrap(&web, &m), ERR_OK);
		ck_assert_int_eq(envelope_unwrap(&app, &m), ERR_OK);
	}
	ck_assert_uint_le(web.wrapped.room, KIB(16));
	ck_assert_uint_le(app.unwrapped.room, KIB(16));
	free(body);
}
END_TEST

START_TEST(a_name_that_no_host_has_is_refused_and_unwinds)
{
	struct envelope e;
	char name[SEAL_FIELD_MAX_BYTES + 1];

	memset(name, 'h', sizeof(name));
	ck_assert_int_eq(
		envelope_init(&e, &ring, (struct span){ name, sizeof(name) }, ENVELOPE_WEB),
		ERR_INPUT);
	envelope_fini(&e);
	envelope_fini(&e); /* zeroed */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message_envelope");
	TCase *tc = tcase_create("envelope");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_one_end_wraps_the_other_unwraps);
	tcase_add_test(tc, an_end_does_not_take_what_it_sent_itself);
	tcase_add_test(tc, what_is_not_sealed_is_not_looked_at);
	tcase_add_test(tc, another_crossing_is_another_seal_even_under_the_same_key);
	tcase_add_test(tc, within_the_app_realm_everybody_takes_what_everybody_seals);
	tcase_add_test(tc, while_a_key_is_replaced_both_open);
	tcase_add_test(tc, the_largest_body_fits_and_its_memory_is_given_back);
	tcase_add_test(tc, a_name_that_no_host_has_is_refused_and_unwinds);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
