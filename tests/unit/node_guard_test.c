/* One message and what is known about it: every reason to say no, and the order of the reasons.
 */
#include "app-node/guard.h"

#include <stdio.h>

#include "unit/unit.h"

static const char text[] =
	"site: shop\n"
	"crossings:\n"
	"  web1: {deny: [\"admin.*\"]}\n"
	"  web2: {allow: [\"quote.*\", \"admin.see\"]}\n"
	"operations:\n"
	"  admin.see: {kind: call}\n"
	"  cart.show: {kind: read}\n"
	"  order.place: {kind: send, key: customer}\n"
	"  order.status: {kind: push, key: order, to: origin, params: {order: id}}\n"
	"  page.count: {kind: send}\n"
	"  part.order: {kind: send, key: customer, params: {customer: id, quantity: 1..9}}\n"
	"  quote.price: {kind: call, deadline: 250ms}\n"
	"  report.nightly: {kind: task, schedule: \"0 3 * * *\", zone: Europe/Berlin}\n";

static const uint64_t NOW_US = 1764000000000000;
static const uint64_t SKEW_US = 30 * 1000000;

static struct contract contract;
static struct guard_facts facts;
static struct message m;

/* A call and a send that pass; each test spoils one thing. */
static void begin_call(void)
{
	facts = (struct guard_facts){
		.host = "web1",
		.lane = GUARD_LANE_CALL,
		.now_unix_us = NOW_US,
		.clock_skew_us = SKEW_US,
	};
	m = (struct message){
		.content = MESSAGE_JSON,
		.type = span_of("quote.price"),
		.user_id = span_of("web.web1.g1"),
		.time_left_ms = 250,
		.sent_unix_us = NOW_US,
		.seq = 1,
		.body = span_of("{\"sku\":\"A-1\"}"),
	};
}

static void begin_send(void)
{
	begin_call();
	facts.lane = GUARD_LANE_SEND;
	m.type = span_of("order.place");
	m.durability = MESSAGE_PERSISTENT;
	m.time_left_ms = 0;
	m.key = span_of("c1");
	m.body = span_of("{\"customer\":\"c1\"}");
}

static void setup(void)
{
	struct report report;
	struct buf shown;

	report_init(&report);
	buf_init(&shown, MIB(1));
	enum err err = contract_parse(LITERAL(text), "c", &report, &contract);

	report_format(&report, &shown);
	ck_assert_msg(err == ERR_OK, "%.*s", SPAN_ARG(buf_span(&shown)));
	buf_fini(&shown);
	report_fini(&report);
	begin_call();
}

static void teardown(void)
{
	contract_free(&contract);
}

static void expect_verdict(enum guard_verdict expected)
{
	const struct operation untouched;
	const struct operation *op = &untouched;
	enum guard_verdict verdict = guard_judge(&contract, &facts, &m, &op);

	ck_assert_msg(verdict == expected, "%s instead of %s for %.*s of %.*s with %.*s",
		guard_text(verdict), guard_text(expected), SPAN_ARG(m.type),
		SPAN_ARG(m.user_id), SPAN_ARG(m.body));
	if (verdict == GUARD_PASS)
		ck_assert_ptr_eq(op, contract_find(&contract, m.type));
	else
		ck_assert_ptr_eq(op, &untouched);
}

START_TEST(what_is_in_order_passes)
{
	expect_verdict(GUARD_PASS);
	begin_send();
	expect_verdict(GUARD_PASS);
	m.type = span_of("page.count");
	m.key = (struct span){ 0 };
	m.body = span_of("{}");
	expect_verdict(GUARD_PASS);
}
END_TEST

START_TEST(each_verdict_has_a_name_of_its_own)
{
	for (int i = 0; i < GUARD_VERDICTS; i++) {
		const char *name = guard_text((enum guard_verdict)i);

		ck_assert_str_ne(name, "unknown");
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(name, guard_text((enum guard_verdict)j));
	}
	ck_assert_str_eq(guard_text(GUARD_VERDICTS), "unknown");
}
END_TEST

/* ---- properties and size ---- */

START_TEST(what_the_delivery_could_not_carry)
{
	facts.fault = ERR_FULL;
	expect_verdict(GUARD_OVERSIZED);
	facts.fault = ERR_INPUT;
	expect_verdict(GUARD_MALFORMED);
	facts.fault = ERR_NOMEM;
	expect_verdict(GUARD_NO_MEMORY);
	/* Nothing of a message that was let go by has been filled in. */
	m = (struct message){ 0 };
	facts.fault = ERR_FULL;
	expect_verdict(GUARD_OVERSIZED);
	facts.fault = ERR_INPUT;
	expect_verdict(GUARD_MALFORMED);
	facts.fault = ERR_OK;
	expect_verdict(GUARD_MALFORMED);
}
END_TEST

START_TEST(what_no_seal_vouches_for_is_looked_at_no_further)
{
	facts.fault = ERR_UNSEALED;
	expect_verdict(GUARD_UNSEALED);
	facts.fault = ERR_SEAL;
	expect_verdict(GUARD_SEAL);
	/* Whatever else is wrong with it, or right. */
	m.type = span_of("no.such");
	m.user_id = span_of("web.web2.g1");
	m.body = span_of("[");
	expect_verdict(GUARD_SEAL);
	facts.fault = ERR_UNSEALED;
	expect_verdict(GUARD_UNSEALED);
}
END_TEST

START_TEST(a_body_has_a_largest_size)
{
	static const char frame[] = "{\"t\":\"\"}";
	char *body = malloc(MESSAGE_BODY_MAX_BYTES + 1);

	ck_assert_ptr_nonnull(body);
	memset(body, 'x', MESSAGE_BODY_MAX_BYTES + 1);
	memcpy(body, frame, 6);
	memcpy(body + MESSAGE_BODY_MAX_BYTES - 2, "\"}", 2);
	m.body = (struct span){ body, MESSAGE_BODY_MAX_BYTES };
	expect_verdict(GUARD_PASS);
	m.body.len++;
	expect_verdict(GUARD_OVERSIZED);
	free(body);
}
END_TEST

START_TEST(a_problem_is_no_request)
{
	m.content = MESSAGE_PROBLEM;
	expect_verdict(GUARD_MALFORMED);
}
END_TEST

/* ---- who sent it ---- */

static const struct {
	const char *host;
	struct span user_id;
	enum guard_verdict verdict;
} identities[] = {
	{ "web1", LITERAL("web.web1.g1"), GUARD_PASS },
	{ "web1", LITERAL("web.web1.g2"), GUARD_PASS },
	{ "web1", LITERAL("web.web1.g10"), GUARD_PASS },
	{ "web1", LITERAL("web.web1.g18446744073709551615"), GUARD_PASS },
	{ "web1", LITERAL("web.web1.g18446744073709551616"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g01"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g0"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g-1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g+1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g1 "), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g 1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g1\0"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g1x"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g1.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.x.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1..g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.x1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.G1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1."), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web11.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.x1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.G1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web2.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.WEB1.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web..g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web."), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web1.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("app.web1.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("app.app1.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("xweb.web1.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL(" web.web1.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL(""), GUARD_FORGED_SENDER },
	{ "web1", { NULL, 0 }, GUARD_FORGED_SENDER },
	{ "web2", LITERAL("web.web2.g1"), GUARD_PASS },
	{ "web2", LITERAL("web.web1.g1"), GUARD_FORGED_SENDER },
	/* A host whose name goes on like an identity of another. */
	{ "web1.g1", LITERAL("web.web1.g1"), GUARD_FORGED_SENDER },
	{ "web1", LITERAL("web.web1.g1.g7"), GUARD_FORGED_SENDER },
};

START_TEST(a_sender_is_the_host_of_the_crossing_or_forged)
{
	facts.host = identities[_i].host;
	m.user_id = identities[_i].user_id;
	expect_verdict(identities[_i].verdict);
}
END_TEST

START_TEST(whoever_was_thrown_out_is_believed_nothing_and_his_successor_is)
{
	facts.host = "web1";
	facts.revoked = 2;
	m.user_id = span_of("web.web1.g1");
	expect_verdict(GUARD_REVOKED);
	m.user_id = span_of("web.web1.g2");
	expect_verdict(GUARD_REVOKED);
	/* Whatever he asks for. */
	m.type = span_of("no.such");
	expect_verdict(GUARD_REVOKED);
	m.user_id = span_of("web.web1.g3");
	expect_verdict(GUARD_UNKNOWN_OP);
	begin_call();
	facts.host = "web1";
	m.user_id = span_of("web.web1.g3");
	expect_verdict(GUARD_PASS);
}
END_TEST

/* ---- what is asked for ---- */

static const struct {
	const char *host;
	const char *user_id;
	enum guard_lane lane;
	const char *type;
	enum guard_verdict verdict;
} asked[] = {
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "quote.price", GUARD_PASS },
	{ "web1", "web.web1.g1", GUARD_LANE_SEND, "quote.price", GUARD_WRONG_KIND },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "page.count", GUARD_WRONG_KIND },
	{ "web1", "web.web1.g1", GUARD_LANE_SEND, "page.count", GUARD_PASS },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "cart.show", GUARD_WRONG_KIND },
	{ "web1", "web.web1.g1", GUARD_LANE_SEND, "cart.show", GUARD_WRONG_KIND },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "order.status", GUARD_WRONG_KIND },
	{ "web1", "web.web1.g1", GUARD_LANE_SEND, "order.status", GUARD_WRONG_KIND },
	/* Tasks are the app realm's own. */
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "report.nightly", GUARD_UNKNOWN_OP },
	{ "web1", "web.web1.g1", GUARD_LANE_SEND, "report.nightly", GUARD_UNKNOWN_OP },
	/* Crossings: denied, not allowed, allowed, not mentioned at all. */
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "admin.see", GUARD_UNKNOWN_OP },
	{ "web2", "web.web2.g1", GUARD_LANE_CALL, "admin.see", GUARD_PASS },
	{ "web2", "web.web2.g1", GUARD_LANE_CALL, "quote.price", GUARD_PASS },
	{ "web2", "web.web2.g1", GUARD_LANE_SEND, "page.count", GUARD_UNKNOWN_OP },
	{ "web3", "web.web3.g1", GUARD_LANE_CALL, "quote.price", GUARD_UNKNOWN_OP },
	{ "web11", "web.web11.g1", GUARD_LANE_CALL, "quote.price", GUARD_UNKNOWN_OP },
	/* Names: of nothing, and such as can be no name. */
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "quote.prices", GUARD_UNKNOWN_OP },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "quote", GUARD_UNKNOWN_OP },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "quote.", GUARD_MALFORMED },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "", GUARD_MALFORMED },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "Quote.price", GUARD_MALFORMED },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "quote.price ", GUARD_MALFORMED },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "quote/price", GUARD_MALFORMED },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "../quote.price", GUARD_MALFORMED },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "..", GUARD_MALFORMED },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "quote.*", GUARD_MALFORMED },
	{ "web1", "web.web1.g1", GUARD_LANE_CALL, "quote.price\r\nX: y", GUARD_MALFORMED },
};

START_TEST(an_operation_must_be_there_and_open_and_of_the_lanes_kind)
{
	facts.host = asked[_i].host;
	facts.lane = asked[_i].lane;
	m.user_id = span_of(asked[_i].user_id);
	m.type = span_of(asked[_i].type);
	expect_verdict(asked[_i].verdict);
}
END_TEST

START_TEST(names_have_a_largest_length_and_no_nul)
{
	char name[MESSAGE_TYPE_MAX_BYTES + 1];

	memset(name, 'a', sizeof(name));
	m.type = (struct span){ name, MESSAGE_TYPE_MAX_BYTES };
	expect_verdict(GUARD_UNKNOWN_OP);
	m.type.len++;
	expect_verdict(GUARD_MALFORMED);
	m.type = LITERAL("quote.price\0");
	expect_verdict(GUARD_MALFORMED);
}
END_TEST

START_TEST(without_a_crossings_section_every_host_may_everything_of_the_web)
{
	static const char open[] = "site: shop\noperations:\n"
				   "  quote.price: {kind: call}\n"
				   "  report.nightly: {kind: task, schedule: \"0 3 * * *\", "
				   "zone: Europe/Berlin}\n";
	struct report report;

	contract_free(&contract);
	report_init(&report);
	ck_assert_int_eq(contract_parse(LITERAL(open), "c", &report, &contract), ERR_OK);
	report_fini(&report);
	expect_verdict(GUARD_PASS);
	facts.host = "web77";
	m.user_id = span_of("web.web77.g1");
	expect_verdict(GUARD_PASS);
	m.type = span_of("report.nightly");
	expect_verdict(GUARD_UNKNOWN_OP);
}
END_TEST

/* ---- time ---- */

START_TEST(a_call_ends_with_its_time_and_the_clocks_skew)
{
	m.sent_unix_us = NOW_US - 250 * 1000 - SKEW_US;
	expect_verdict(GUARD_PASS);
	m.sent_unix_us--;
	expect_verdict(GUARD_EXPIRED);
	facts.clock_skew_us = 0;
	m.sent_unix_us = NOW_US - 250 * 1000;
	expect_verdict(GUARD_PASS);
	m.sent_unix_us--;
	expect_verdict(GUARD_EXPIRED);
	m.sent_unix_us = 0;
	expect_verdict(GUARD_EXPIRED);
}
END_TEST

START_TEST(a_call_without_time_is_over)
{
	m.time_left_ms = 0;
	expect_verdict(GUARD_EXPIRED);
	m.sent_unix_us = UINT64_MAX;
	expect_verdict(GUARD_EXPIRED);
}
END_TEST

/* As far as the skew; beyond it, a copy could be kept for later. */
START_TEST(a_senders_clock_may_be_ahead_but_not_for_ever)
{
	m.sent_unix_us = NOW_US + SKEW_US;
	expect_verdict(GUARD_PASS);
	m.sent_unix_us++;
	expect_verdict(GUARD_FUTURE);
	m.sent_unix_us = NOW_US * 2;
	expect_verdict(GUARD_FUTURE);
	begin_send();
	m.sent_unix_us = NOW_US * 2;
	expect_verdict(GUARD_PASS);
}
END_TEST

START_TEST(no_time_left_is_longer_than_any_deadline)
{
	static const uint64_t HOUR_US = 3600ull * 1000000;

	m.time_left_ms = UINT64_MAX;
	expect_verdict(GUARD_PASS);
	m.sent_unix_us = NOW_US - SKEW_US - HOUR_US;
	expect_verdict(GUARD_PASS);
	m.sent_unix_us--;
	expect_verdict(GUARD_EXPIRED);
	m.time_left_ms = UINT64_MAX / 1000 + 2; /* times 1000 it would be next to nothing */
	m.sent_unix_us = NOW_US - SKEW_US - HOUR_US;
	expect_verdict(GUARD_PASS);
	m.sent_unix_us--;
	expect_verdict(GUARD_EXPIRED);
}
END_TEST

/* A sum that is too large for 64 bits must not come out as a moment of long ago. */
START_TEST(moments_beyond_all_clocks_are_moments_of_the_future)
{
	static const uint64_t beyond[] = { INT64_MAX, UINT64_MAX, UINT64_MAX - 250 * 1000,
		UINT64_MAX - 30 * 1000000 };

	for (size_t i = 0; i < ARRAY_COUNT(beyond); i++) {
		m.sent_unix_us = beyond[i];
		expect_verdict(GUARD_FUTURE);
	}
	m.sent_unix_us = NOW_US - 1000000;
	facts.clock_skew_us = UINT64_MAX;
	expect_verdict(GUARD_PASS);
	facts.now_unix_us = UINT64_MAX;
	expect_verdict(GUARD_PASS);
	facts.clock_skew_us = 0;
	expect_verdict(GUARD_EXPIRED);
	/* And a clock of ours that has never been set finds nothing expired: all is to come. */
	facts.now_unix_us = 0;
	expect_verdict(GUARD_FUTURE);
	facts.clock_skew_us = UINT64_MAX;
	expect_verdict(GUARD_PASS);
}
END_TEST

START_TEST(a_send_has_no_age)
{
	begin_send();
	m.sent_unix_us = 0;
	expect_verdict(GUARD_PASS);
	m.time_left_ms = 1;
	expect_verdict(GUARD_PASS);
}
END_TEST

START_TEST(a_send_may_have_an_end)
{
	begin_send();
	m.expires_unix_ms = (NOW_US - SKEW_US) / 1000;
	expect_verdict(GUARD_PASS);
	m.expires_unix_ms--;
	expect_verdict(GUARD_EXPIRED);
	m.expires_unix_ms = 1;
	expect_verdict(GUARD_EXPIRED);
	m.expires_unix_ms = UINT64_MAX;
	expect_verdict(GUARD_PASS);
	m.expires_unix_ms = UINT64_MAX / 1000 + 1; /* times 1000 it would be next to nothing */
	expect_verdict(GUARD_PASS);
	/* It says nothing about a call. */
	begin_call();
	m.expires_unix_ms = 1;
	expect_verdict(GUARD_PASS);
}
END_TEST

START_TEST(until_when_a_message_counts_as_fresh_is_told)
{
	m.sent_unix_us = NOW_US - 1000;
	ck_assert_uint_eq(guard_until_us(&facts, &m), NOW_US - 1000 + 250 * 1000 + SKEW_US);
	facts.now_unix_us = guard_until_us(&facts, &m);
	expect_verdict(GUARD_PASS);
	facts.now_unix_us++;
	expect_verdict(GUARD_EXPIRED);
	begin_send();
	ck_assert_uint_eq(guard_until_us(&facts, &m), UINT64_MAX);
}
END_TEST

/* ---- the ordering key ---- */

static const struct {
	struct span key;
	struct span body;
	enum guard_verdict verdict;
} ordered[] = {
	{ LITERAL("c1"), LITERAL("{\"customer\":\"c1\"}"), GUARD_PASS },
	{ LITERAL("7"), LITERAL("{\"customer\":7}"), GUARD_PASS },
	{ LITERAL("-7"), LITERAL("{\"customer\":-7}"), GUARD_PASS },
	{ LITERAL("\xc3\xbc"), LITERAL("{\"customer\":\"\\u00fc\"}"), GUARD_PASS },
	{ LITERAL("c1"), LITERAL("{\"a\":{\"customer\":\"x\"},\"customer\":\"c1\"}"),
		GUARD_PASS },
	{ LITERAL("c2"), LITERAL("{\"customer\":\"c1\"}"), GUARD_BAD_KEY },
	{ LITERAL("c"), LITERAL("{\"customer\":\"c1\"}"), GUARD_BAD_KEY },
	{ LITERAL("c11"), LITERAL("{\"customer\":\"c1\"}"), GUARD_BAD_KEY },
	{ LITERAL("c1\0"), LITERAL("{\"customer\":\"c1\"}"), GUARD_BAD_KEY },
	{ LITERAL("C1"), LITERAL("{\"customer\":\"c1\"}"), GUARD_BAD_KEY },
	{ LITERAL("07"), LITERAL("{\"customer\":7}"), GUARD_BAD_KEY },
	{ LITERAL("7.0"), LITERAL("{\"customer\":7.0}"), GUARD_BAD_KEY },
	{ LITERAL("true"), LITERAL("{\"customer\":true}"), GUARD_BAD_KEY },
	{ LITERAL("null"), LITERAL("{\"customer\":null}"), GUARD_BAD_KEY },
	{ LITERAL("c1"), LITERAL("{\"customer\":[\"c1\"]}"), GUARD_BAD_KEY },
	{ LITERAL("c1"), LITERAL("{}"), GUARD_BAD_KEY },
	{ LITERAL("c1"), LITERAL("{\"Customer\":\"c1\"}"), GUARD_BAD_KEY },
	{ { NULL, 0 }, LITERAL("{\"customer\":\"c1\"}"), GUARD_BAD_KEY },
	{ { NULL, 0 }, LITERAL("{}"), GUARD_BAD_KEY },
	/* An empty key orders nothing: the agent takes none, so no honest host sends one. */
	{ { NULL, 0 }, LITERAL("{\"customer\":\"\"}"), GUARD_BAD_KEY },
	{ LITERAL(""), LITERAL("{\"customer\":\"\"}"), GUARD_BAD_KEY },
};

START_TEST(the_ordering_key_is_the_parameter)
{
	begin_send();
	m.key = ordered[_i].key;
	m.body = ordered[_i].body;
	expect_verdict(ordered[_i].verdict);
}
END_TEST

START_TEST(an_operation_without_order_takes_no_key)
{
	begin_send();
	m.type = span_of("page.count");
	expect_verdict(GUARD_BAD_KEY);
	m.key = (struct span){ 0 };
	expect_verdict(GUARD_PASS);
	begin_call();
	m.key = span_of("c1");
	expect_verdict(GUARD_BAD_KEY);
}
END_TEST

START_TEST(a_key_has_a_largest_length)
{
	char key[MESSAGE_KEY_MAX_BYTES + 1];
	char body[MESSAGE_KEY_MAX_BYTES + 32];

	begin_send();
	memset(key, 'k', sizeof(key));
	for (int len = MESSAGE_KEY_MAX_BYTES; len <= MESSAGE_KEY_MAX_BYTES + 1; len++) {
		snprintf(body, sizeof(body), "{\"customer\":\"%.*s\"}", len, key);
		m.key = (struct span){ key, (size_t)len };
		m.body = span_of(body);
		expect_verdict(len == MESSAGE_KEY_MAX_BYTES ? GUARD_PASS : GUARD_BAD_KEY);
	}
}
END_TEST

/* ---- the body ---- */

static const struct span bad_bodies[] = {
	{ NULL, 0 },
	LITERAL(""),
	LITERAL(" "),
	LITERAL("null"),
	LITERAL("true"),
	LITERAL("1"),
	LITERAL("\"text\""),
	LITERAL("[]"),
	LITERAL("[{}]"),
	LITERAL("{"),
	LITERAL("}"),
	LITERAL("{}{}"),
	LITERAL("{} x"),
	LITERAL("{}\0"),
	LITERAL("\0{}"),
	LITERAL("{\"a\":1,}"),
	LITERAL("{\"a\":1,\"a\":1}"),
	LITERAL("{\"a\":01}"),
	LITERAL("{\"a\":NaN}"),
	LITERAL("{\"a\":Infinity}"),
	LITERAL("{\"a\":1e999}"),
	LITERAL("{\"a\":99999999999999999999}"),
	LITERAL("{'a':1}"),
	LITERAL("{a:1}"),
	LITERAL("{\"a\":\"\\u0000\"}"),
	LITERAL("{\"a\":\"\\ud800\"}"),
	LITERAL("{\"a\":\"\xff\"}"),
	LITERAL("{\"a\":\"\xc0\x80\"}"),
	LITERAL("{\"a\":\"\n\"}"),
	LITERAL("\xef\xbb\xbf{}"),
	LITERAL("{} // done"),
	LITERAL("{\"__proto__\":{\"x\":1"),
};

START_TEST(a_body_that_is_no_strict_object)
{
	m.body = bad_bodies[_i];
	expect_verdict(GUARD_BAD_JSON);
	/* Nor does a key save it. */
	begin_send();
	m.body = bad_bodies[_i];
	expect_verdict(GUARD_BAD_JSON);
}
END_TEST

START_TEST(nesting_has_a_largest_depth)
{
	enum { DEEP = 100 * 1000 };
	char *body = malloc(DEEP);

	ck_assert_ptr_nonnull(body);
	memset(body, '[', DEEP);
	m.body = (struct span){ body, DEEP };
	expect_verdict(GUARD_BAD_JSON);
	memcpy(body, "{\"a\":", 5);
	expect_verdict(GUARD_BAD_JSON);
	memset(body, '{', DEEP);
	expect_verdict(GUARD_BAD_JSON);
	free(body);
}
END_TEST

START_TEST(blanks_around_an_object_are_json_too)
{
	m.body = LITERAL(" \t\r\n{ \"a\" : [ 1 , 2.5 , null ] } \n");
	expect_verdict(GUARD_PASS);
}
END_TEST

/* ---- which reason comes first ---- */

/* Everything is wrong at once; then one thing after the other is put right. */
static const struct {
	const char *body;
	enum guard_verdict verdict;
} parts[] = {
	{ "{\"customer\":\"c1\",\"quantity\":9}", GUARD_PASS },
	{ "{\"quantity\":1.0,\"customer\":\"c1\"}", GUARD_PASS },
	{ "{\"customer\":\"c1\",\"quantity\":10}", GUARD_CONTRACT },
	{ "{\"customer\":\"c1\"}", GUARD_CONTRACT },
	{ "{\"customer\":\"c1\",\"quantity\":1,\"more\":1}", GUARD_CONTRACT },
	{ "{\"customer\":\"c1\",\"quantity\":\"1\"}", GUARD_CONTRACT },
	{ "{\"customer\":\"c2\",\"quantity\":10}", GUARD_BAD_KEY },
	{ "[\"c1\"]", GUARD_BAD_JSON },
};

START_TEST(parameters_are_what_the_contract_says)
{
	begin_send();
	m.type = span_of("part.order");
	m.body = span_of(parts[_i].body);
	expect_verdict(parts[_i].verdict);
}
END_TEST

START_TEST(the_cheapest_reason_is_told_first)
{
	facts.fault = ERR_FULL;
	m.type = span_of("No.Name");
	m.user_id = span_of("web.web2.g1");
	m.time_left_ms = 0;
	m.key = span_of("x");
	m.body = span_of("no json");
	expect_verdict(GUARD_OVERSIZED);
	facts.fault = ERR_OK;
	expect_verdict(GUARD_MALFORMED);
	m.type = span_of("admin.see");
	expect_verdict(GUARD_FORGED_SENDER);
	m.user_id = span_of("web.web1.g1");
	expect_verdict(GUARD_UNKNOWN_OP);
	m.type = span_of("page.count");
	expect_verdict(GUARD_WRONG_KIND);
	m.type = span_of("quote.price");
	expect_verdict(GUARD_EXPIRED);
	m.time_left_ms = 1;
	expect_verdict(GUARD_BAD_JSON);
	m.body = span_of("{}");
	expect_verdict(GUARD_BAD_KEY);
	m.key = (struct span){ 0 };
	expect_verdict(GUARD_PASS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_guard");
	TCase *tc = tcase_create("guard");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, what_is_in_order_passes);
	tcase_add_test(tc, each_verdict_has_a_name_of_its_own);
	tcase_add_test(tc, what_the_delivery_could_not_carry);
	tcase_add_test(tc, what_no_seal_vouches_for_is_looked_at_no_further);
	tcase_add_test(tc, a_body_has_a_largest_size);
	tcase_add_test(tc, a_problem_is_no_request);
	tcase_add_test(tc, whoever_was_thrown_out_is_believed_nothing_and_his_successor_is);
	tcase_add_loop_test(
		tc, a_sender_is_the_host_of_the_crossing_or_forged, 0, ARRAY_COUNT(identities));
	tcase_add_loop_test(tc, an_operation_must_be_there_and_open_and_of_the_lanes_kind, 0,
		ARRAY_COUNT(asked));
	tcase_add_test(tc, names_have_a_largest_length_and_no_nul);
	tcase_add_test(tc, without_a_crossings_section_every_host_may_everything_of_the_web);
	tcase_add_test(tc, a_call_ends_with_its_time_and_the_clocks_skew);
	tcase_add_test(tc, a_call_without_time_is_over);
	tcase_add_test(tc, a_senders_clock_may_be_ahead_but_not_for_ever);
	tcase_add_test(tc, no_time_left_is_longer_than_any_deadline);
	tcase_add_test(tc, moments_beyond_all_clocks_are_moments_of_the_future);
	tcase_add_test(tc, a_send_has_no_age);
	tcase_add_test(tc, a_send_may_have_an_end);
	tcase_add_test(tc, until_when_a_message_counts_as_fresh_is_told);
	tcase_add_loop_test(tc, the_ordering_key_is_the_parameter, 0, ARRAY_COUNT(ordered));
	tcase_add_test(tc, an_operation_without_order_takes_no_key);
	tcase_add_test(tc, a_key_has_a_largest_length);
	tcase_add_loop_test(tc, a_body_that_is_no_strict_object, 0, ARRAY_COUNT(bad_bodies));
	tcase_add_test(tc, nesting_has_a_largest_depth);
	tcase_add_test(tc, blanks_around_an_object_are_json_too);
	tcase_add_loop_test(tc, parameters_are_what_the_contract_says, 0, ARRAY_COUNT(parts));
	tcase_add_test(tc, the_cheapest_reason_is_told_first);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
