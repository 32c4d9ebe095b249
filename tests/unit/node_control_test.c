/* Which control messages are believed: forged, stale, repeated and senseless ones are not. */
#include "app-node/control.h"

#include <stdio.h>

#include "unit/unit.h"

#define DAY_US UINT64_C(86400000000)

static const uint64_t now_us = UINT64_C(1780000000000000);

static struct control control;
static struct control_facts facts;
static struct control_order order;
static struct message m;
static char body[256];

static void setup(void)
{
	ck_assert_int_eq(control_init(&control), ERR_OK);
	facts = (struct control_facts){ .now_unix_us = now_us, .clock_skew_us = 30000000 };
	m = (struct message){
		.type = span_of("control.revoked"),
		.user_id = span_of("operations"),
		.sent_unix_us = now_us,
		.body = span_of("{\"host\":\"web1\",\"generation\":3}"),
	};
	id_make(&m.id, now_us / 1000);
}

static void teardown(void)
{
	control_fini(&control);
	control_fini(&control); /* zeroed is fine */
}

static void expect_verdict(enum control_verdict expected)
{
	enum control_verdict verdict = control_judge(&control, &facts, &m, &order);

	ck_assert_msg(verdict == expected, "%s instead of %s", control_text(verdict),
		control_text(expected));
}

START_TEST(what_operations_say_passes_and_is_read)
{
	expect_verdict(CONTROL_PASS);
	ck_assert_str_eq(order.host, "web1");
	ck_assert_uint_eq(order.generation, 3);
}
END_TEST

START_TEST(what_a_node_says_passes_too)
{
	m.user_id = span_of("app.app2.g7");
	expect_verdict(CONTROL_PASS);
}
END_TEST

START_TEST(each_verdict_has_a_name_of_its_own)
{
	for (int i = 0; i < CONTROL_VERDICTS; i++) {
		const char *name = control_text((enum control_verdict)i);

		ck_assert_str_ne(name, "unknown");
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(name, control_text((enum control_verdict)j));
	}
	ck_assert_str_eq(control_text(CONTROL_VERDICTS), "unknown");
}
END_TEST

START_TEST(what_no_seal_vouches_for_is_looked_at_no_further)
{
	static const struct {
		enum err fault;
		enum control_verdict verdict;
	} faults[] = {
		{ ERR_UNSEALED, CONTROL_UNSEALED },
		{ ERR_SEAL, CONTROL_SEAL },
		{ ERR_INPUT, CONTROL_MALFORMED },
		{ ERR_FULL, CONTROL_OVERSIZED },
		{ ERR_NOMEM, CONTROL_NO_MEMORY },
	};

	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		facts.fault = faults[i].fault;
		expect_verdict(faults[i].verdict);
		ck_assert_uint_eq(order.generation, 0);
	}
	/* And it is not remembered: the right one still passes. */
	facts.fault = ERR_OK;
	expect_verdict(CONTROL_PASS);
}
END_TEST

static const char *const strangers[] = { "", "web.web1.g3", "operation", "app.app1",
	"app.app1.g0", "ops.app1.g1" };

START_TEST(nobody_else_gives_orders)
{
	m.user_id = span_of(strangers[_i]);
	expect_verdict(CONTROL_SENDER);
}
END_TEST

START_TEST(an_order_has_an_age)
{
	facts.now_unix_us = now_us + CONTROL_MAX_AGE_DAYS * DAY_US;
	expect_verdict(CONTROL_PASS);
	facts.now_unix_us++;
	id_make(&m.id, 1);
	expect_verdict(CONTROL_STALE);
	/* A clock may be ahead, within the skew. */
	facts.now_unix_us = now_us - facts.clock_skew_us;
	expect_verdict(CONTROL_PASS);
	facts.now_unix_us--;
	id_make(&m.id, 2);
	expect_verdict(CONTROL_FUTURE);
	m.sent_unix_us = UINT64_MAX;
	expect_verdict(CONTROL_FUTURE);
}
END_TEST

START_TEST(a_copy_is_known_again)
{
	expect_verdict(CONTROL_PASS);
	expect_verdict(CONTROL_REPLAY);
	ck_assert_str_eq(order.host, "web1"); /* what it says is told: it may be wanted again */
	ck_assert_uint_eq(order.generation, 3);
	m.body = span_of("{\"host\":\"web1\",\"generation\":4}");
	expect_verdict(CONTROL_ID_REUSED);
	/* The same said once more is another message, which is fine. */
	id_make(&m.id, now_us / 1000);
	m.body = span_of("{\"host\":\"web1\",\"generation\":3}");
	expect_verdict(CONTROL_PASS);
}
END_TEST

START_TEST(no_copy_passes_however_many_came_meanwhile)
{
	struct message first = m;

	expect_verdict(CONTROL_PASS);
	for (unsigned i = 0; i < 2 * CONTROL_REMEMBERED; i++) {
		id_make(&m.id, now_us / 1000);
		m.sent_unix_us = now_us + 1 + i;
		expect_verdict(CONTROL_PASS);
	}
	m = first;
	expect_verdict(CONTROL_TOO_OLD);
}
END_TEST

START_TEST(an_order_that_is_not_known_is_not_obeyed)
{
	static const char *const types[] = { "", "control.opened", "control.revoked2",
		"control" };

	for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
		m.type = span_of(types[i]);
		expect_verdict(CONTROL_UNKNOWN_TYPE);
	}
	m.type = span_of("control.revoked");
	m.content = MESSAGE_PROBLEM;
	expect_verdict(CONTROL_MALFORMED);
}
END_TEST

static const char *const senseless[] = {
	"",
	"3",
	"[]",
	"{}",
	"{\"host\":\"web1\"}",
	"{\"generation\":3}",
	"{\"host\":\"web1\",\"generation\":3",
	"{\"host\":\"web1\",\"generation\":0}",
	"{\"host\":\"web1\",\"generation\":-1}",
	"{\"host\":\"web1\",\"generation\":1.5}",
	"{\"host\":\"web1\",\"generation\":99999999999999999999}",
	"{\"host\":\"web1\",\"generation\":true}",
	"{\"host\":\"\",\"generation\":3}",
	"{\"host\":7,\"generation\":{}}",
	"{\"host\":null,\"generation\":3}",
	"{\"host\":\"we b\",\"generation\":3}",
	"{\"host\":\"web1.g1\",\"generation\":3}",
	"{\"host\":\"web1\\u0000\",\"generation\":3}",
	"{\"host\":\"web1\",\"generation\":3,\"until\":5}",
	"{\"host\":\"web1\",\"host\":\"web2\",\"generation\":3}",
};

START_TEST(a_body_says_exactly_that_or_nothing)
{
	m.body = span_of(senseless[_i]);
	expect_verdict(CONTROL_BAD_BODY);
	/* Nor is its id taken by that. */
	m.body = span_of("{\"generation\":3,\"host\":\"web1\"}");
	expect_verdict(CONTROL_PASS);
}
END_TEST

START_TEST(a_name_has_a_largest_length)
{
	for (int len = IDENTITY_NAME_MAX_BYTES; len <= IDENTITY_NAME_MAX_BYTES + 1; len++) {
		snprintf(body, sizeof(body), "{\"host\":\"%0*d\",\"generation\":3}", len, 7);
		m.body = span_of(body);
		expect_verdict(
			len == IDENTITY_NAME_MAX_BYTES ? CONTROL_PASS : CONTROL_BAD_BODY);
	}
}
END_TEST

START_TEST(what_is_written_is_read)
{
	struct control_order said = { .host = "web-2", .generation = UINT32_MAX };
	struct buf out;

	buf_init(&out, 256);
	control_write(&said, &out);
	ck_assert_int_eq(buf_status(&out), ERR_OK);
	snprintf(body, sizeof(body), "%.*s", SPAN_ARG(buf_span(&out)));
	buf_fini(&out);
	m.body = span_of(body);
	expect_verdict(CONTROL_PASS);
	ck_assert_str_eq(order.host, said.host);
	ck_assert_uint_eq(order.generation, said.generation);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_control");
	TCase *tc = tcase_create("control");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_operations_say_passes_and_is_read);
	tcase_add_test(tc, what_a_node_says_passes_too);
	tcase_add_test(tc, each_verdict_has_a_name_of_its_own);
	tcase_add_test(tc, what_no_seal_vouches_for_is_looked_at_no_further);
	tcase_add_loop_test(tc, nobody_else_gives_orders, 0, ARRAY_COUNT(strangers));
	tcase_add_test(tc, an_order_has_an_age);
	tcase_add_test(tc, a_copy_is_known_again);
	tcase_add_test(tc, no_copy_passes_however_many_came_meanwhile);
	tcase_add_test(tc, an_order_that_is_not_known_is_not_obeyed);
	tcase_add_loop_test(tc, a_body_says_exactly_that_or_nothing, 0, ARRAY_COUNT(senseless));
	tcase_add_test(tc, a_name_has_a_largest_length);
	tcase_add_test(tc, what_is_written_is_read);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
