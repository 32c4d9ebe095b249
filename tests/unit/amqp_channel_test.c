/* One channel, driven frame by frame with an owner that only writes down: amqp/channel.h. */
#include <string.h>

#include "amqp/channel.h"
#include "amqp_rig.h"
#include "amqp_wire.h"
#include "base/log.h"
#include "unit.h"

static struct rig rig;
static struct channel ch;

/* What the owner was told. */
static struct {
	unsigned setups;
	unsigned methods;
	unsigned contents;
	unsigned losses;
	enum err lost_by;
	enum err answer; /* to methods and contents */
	enum method_kind last_method;
	uint64_t tag;
	char body[CHANNEL_BODY_MAX_BYTES];
	size_t body_len;
	uint64_t body_bytes;
	bool is_oversized;
	enum channel_state state_when_lost;
	bool restarts; /* within on_content */
} seen;

static void setup(struct channel *c)
{
	ck_assert_ptr_eq(c, &ch);
	seen.setups++;
}

static enum err on_method(struct channel *c, const struct method *m)
{
	ck_assert_ptr_eq(c, &ch);
	seen.methods++;
	seen.last_method = m->kind;
	return seen.answer;
}

static enum err on_content(struct channel *c, const struct content *content)
{
	seen.contents++;
	seen.last_method = content->method->kind;
	seen.tag = content->method->delivery_tag;
	seen.body_len = content->body.len;
	if (content->body.len > 0)
		memcpy(seen.body, content->body.at, content->body.len);
	seen.body_bytes = content->body_bytes;
	seen.is_oversized = content->is_oversized;
	if (seen.restarts) {
		channel_restart(c, ERR_INPUT, "the owner says so");
		/* What was borrowed for the call is still there. */
		ck_assert_int_eq(memcmp(seen.body, content->body.at, content->body.len), 0);
		ck_assert_uint_gt(content->header.len, 14);
	}
	return seen.answer;
}

static void on_lost(struct channel *c, enum err err)
{
	seen.losses++;
	seen.lost_by = err;
	seen.state_when_lost = c->state;
}

static void set_up(void)
{
	static const struct channel_ops ops = {
		.setup = setup,
		.on_method = on_method,
		.on_content = on_content,
		.on_lost = on_lost,
	};

	log_open("test", LOG_ERROR);
	memset(&seen, 0, sizeof(seen));
	rig_init(&rig);
	channel_init(&ch, &rig.stage.loop, "lane", &ops);
	rig_hold(&rig, &ch);
}

static void tear_down(void)
{
	channel_down(&ch, ERR_CANCEL);
	channel_fini(&ch);
	rig_fini(&rig);
}

static void must_open(void)
{
	rig_up(&rig);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	ck_assert_int_eq(ch.state, CHANNEL_SETUP);
}

static void must_be_ready(void)
{
	must_open();
	channel_become_ready(&ch);
	must_hear_nothing(&rig);
}

static bool is_opening(void *arg)
{
	(void)arg;
	return ch.state == CHANNEL_OPENING;
}

/* ---- opening ---- */

START_TEST(a_channel_opens_is_set_up_and_serves)
{
	ck_assert_int_eq(ch.state, CHANNEL_DOWN);
	rig_up(&rig);
	ck_assert_int_eq(ch.state, CHANNEL_OPENING);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	must_hear_nothing(&rig);
	ck_assert_uint_eq(seen.setups, 0);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	ck_assert_uint_eq(seen.setups, 1);
	ck_assert(!channel_is_ready(&ch));
	channel_become_ready(&ch);
	ck_assert(channel_is_ready(&ch));
	ck_assert_uint_eq(rig.changes, 1);
	channel_down(&ch, ERR_LINK);
	ck_assert_uint_eq(seen.losses, 1);
	ck_assert_int_eq(seen.lost_by, ERR_LINK);
	channel_down(&ch, ERR_LINK); /* harmless */
	ck_assert_uint_eq(seen.losses, 1);
}
END_TEST

START_TEST(only_open_ok_opens)
{
	static const enum wire_method others[] = { WIRE_CHANNEL_CLOSE_OK, WIRE_QOS_OK,
		WIRE_CONSUME_OK, WIRE_CONFIRM_SELECT_OK, WIRE_CANCEL, WIRE_OPEN_OK,
		(enum wire_method)(999 << 16 | 1) };

	for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
		rig_up(&rig);
		wire_put_plain(&rig.wire, 1, others[i]);
		must_say_wrong(&rig);
		channel_down(&ch, ERR_PROTOCOL);
	}
	ck_assert_uint_eq(seen.setups, 0);
	ck_assert_uint_eq(seen.losses, 0); /* nothing was set up */
}
END_TEST

START_TEST(a_channel_that_is_down_takes_nothing)
{
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	ck_assert_ptr_null(ch.out);
	struct frame heartbeat = { .type = FRAME_HEARTBEAT, .channel = 1 };
	struct frame body = { .type = FRAME_BODY, .channel = 1, .payload = span_of("x") };

	ck_assert_int_eq(channel_take(&ch, &heartbeat), ERR_PROTOCOL);
	ck_assert_int_eq(channel_take(&ch, &body), ERR_PROTOCOL);
	wire_clear(&rig.wire);
}
END_TEST

START_TEST(a_broker_that_never_answers_breaks_the_connection)
{
	static const enum channel_state states[] = { CHANNEL_OPENING, CHANNEL_SETUP,
		CHANNEL_CLOSING };

	for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
		rig_up(&rig);
		if (states[i] != CHANNEL_OPENING) {
			wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
			must_say(&rig);
		}
		if (states[i] == CHANNEL_CLOSING)
			channel_restart(&ch, ERR_INPUT, "why not");
		ck_assert_int_eq(ch.state, states[i]);
		/* The broker has 10 s: here they are over. */
		ck_assert(ch.timer.is_set);
		ck_assert_uint_gt(ch.timer.due_at_ms, uv_now(&ch.timer.loop->uv) + 5000);
		timer_after(&ch.timer, 0);
		stage_pass(&rig.stage, 5);
		ck_assert_uint_eq(rig.breaks, i + 1);
		ck_assert_int_eq(rig.broken, ERR_TIMEOUT);
		channel_down(&ch, ERR_TIMEOUT);
	}
}
END_TEST

START_TEST(a_broker_that_blocks_owes_no_answer)
{
	rig_up(&rig);
	channel_block(&ch);
	timer_after(&ch.timer, 0); /* the 10 s are over */
	stage_pass(&rig.stage, 5);
	ck_assert_uint_eq(rig.breaks, 0);
	timer_after(&ch.timer, 1000);
	channel_unblock(&ch); /* they begin anew */
	ck_assert_uint_gt(ch.timer.due_at_ms, uv_now(&ch.timer.loop->uv) + 5000);
	timer_after(&ch.timer, 0);
	stage_pass(&rig.stage, 5);
	ck_assert_uint_eq(rig.breaks, 1);
	channel_block(&ch);
	channel_down(&ch, ERR_LINK); /* the next connection is not blocked */
	ck_assert(!ch.is_blocked);
}
END_TEST

START_TEST(a_channel_that_serves_waits_for_nothing)
{
	must_be_ready();
	ck_assert(!ch.timer.is_set);
}
END_TEST

/* ---- closing ---- */

START_TEST(a_channel_that_the_broker_closes_comes_back_by_itself)
{
	for (unsigned round = 1; round <= 3; round++) {
		if (round == 1)
			must_be_ready();
		wire_put_channel_close(&rig.wire, 1, 404, "NOT_FOUND - no \"exchange\"\n");
		must_say(&rig);
		must_hear_method(&rig, WIRE_CHANNEL_CLOSE_OK);
		must_hear_nothing(&rig);
		ck_assert_int_eq(ch.state, CHANNEL_WAITING);
		ck_assert_uint_eq(seen.losses, round);
		ck_assert_int_eq(seen.lost_by, ERR_REFUSED);
		ck_assert_int_eq(seen.state_when_lost, CHANNEL_WAITING);
		ck_assert_uint_eq(ch.closed_by_broker, round);
		ck_assert_uint_eq(ch.fault.code, 404);
		ck_assert_str_eq(ch.fault.text, "NOT_FOUND - no \\\"exchange\\\"\\x0a");
		must_reach(&rig.stage, is_opening, NULL, 2000);
		must_hear_method(&rig, WIRE_CHANNEL_OPEN);
		wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
		must_say(&rig);
		channel_become_ready(&ch);
		ck_assert_uint_eq(seen.setups, round + 1);
	}
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

START_TEST(a_channel_that_is_closed_again_and_again_waits_longer)
{
	uint64_t longest_ms = 0;

	rig_up(&rig);
	for (int round = 0; round < 12; round++) {
		/* In OPENING, and in SETUP. */
		if (round % 2 == 1) {
			wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
			must_say(&rig);
		}
		wire_put_channel_close(&rig.wire, 1, 403, "ACCESS_REFUSED");
		must_say(&rig);
		ck_assert_int_eq(ch.state, CHANNEL_WAITING);
		uint64_t left_ms = ch.timer.due_at_ms - uv_now(&ch.timer.loop->uv);

		ck_assert_uint_ge(left_ms + 5, CHANNEL_RETRY_FIRST_MS);
		ck_assert_uint_le(left_ms, CHANNEL_RETRY_LONGEST_MS);
		if (left_ms > longest_ms)
			longest_ms = left_ms;
		timer_after(&ch.timer, 0);
		must_reach(&rig.stage, is_opening, NULL, 1000);
	}
	ck_assert_uint_eq(ch.backoff.ceiling_ms, CHANNEL_RETRY_LONGEST_MS);
	ck_assert_uint_gt(longest_ms, 2 * CHANNEL_RETRY_FIRST_MS);
	/* Once it serves, the next fault waits a short time again. */
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	channel_become_ready(&ch);
	ck_assert_uint_eq(ch.backoff.ceiling_ms, CHANNEL_RETRY_FIRST_MS);
}
END_TEST

START_TEST(a_restart_closes_waits_for_the_answer_and_opens_again)
{
	must_be_ready();
	channel_restart(&ch, ERR_REFUSED, "tired");
	must_hear_method(&rig, WIRE_CHANNEL_CLOSE);
	ck_assert_int_eq(ch.state, CHANNEL_CLOSING);
	ck_assert_uint_eq(seen.losses, 1);
	ck_assert_str_eq(ch.fault.text, "tired");
	channel_restart(&ch, ERR_REFUSED, "again"); /* it is on its way */
	must_hear_nothing(&rig);
	/* Whatever was on its way before our close came there. */
	wire_put_deliver(&rig.wire, 1, 1, false);
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 10);
	wire_put_confirm(&rig.wire, 1, WIRE_ACK, 99, true);
	wire_put_plain(&rig.wire, 1, WIRE_CANCEL);
	must_say(&rig);
	ck_assert_uint_eq(seen.contents, 0);
	ck_assert_uint_eq(seen.methods, 0);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_CLOSE_OK);
	must_say(&rig);
	ck_assert_int_eq(ch.state, CHANNEL_WAITING);
	must_reach(&rig.stage, is_opening, NULL, 2000);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	ck_assert_uint_eq(seen.losses, 1);
}
END_TEST

START_TEST(both_sides_may_close_at_once)
{
	must_be_ready();
	channel_restart(&ch, ERR_REFUSED, "ours");
	must_hear_method(&rig, WIRE_CHANNEL_CLOSE);
	wire_put_channel_close(&rig.wire, 1, 406, "PRECONDITION_FAILED");
	must_say(&rig);
	must_hear_method(&rig, WIRE_CHANNEL_CLOSE_OK);
	/* The answer to ours is still on its way: no new open before it. */
	ck_assert_int_eq(ch.state, CHANNEL_CLOSING);
	ck_assert(ch.timer.is_set);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_CLOSE_OK);
	must_say(&rig);
	ck_assert_int_eq(ch.state, CHANNEL_WAITING);
	must_reach(&rig.stage, is_opening, NULL, 2000);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	must_hear_nothing(&rig);
	ck_assert_uint_eq(seen.losses, 1);
}
END_TEST

START_TEST(a_channel_that_waits_hears_nothing_from_an_honest_broker)
{
	static const enum wire_method methods[] = { WIRE_CHANNEL_CLOSE_OK, WIRE_CHANNEL_OPEN_OK,
		WIRE_CANCEL, WIRE_QOS_OK };

	must_be_ready();
	wire_put_channel_close(&rig.wire, 1, 404, "NOT_FOUND");
	must_say(&rig);
	for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
		wire_put_plain(&rig.wire, 1, methods[i]);
		must_say_wrong(&rig);
	}
	wire_put_channel_close(&rig.wire, 1, 404, "NOT_FOUND");
	must_say_wrong(&rig);
	wire_put_deliver(&rig.wire, 1, 1, false);
	must_say_wrong(&rig);
	wire_put_body(&rig.wire, 1, "x", 1);
	must_say_wrong(&rig);
}
END_TEST

START_TEST(a_connection_may_be_lost_in_every_state)
{
	for (int state = CHANNEL_OPENING; state <= CHANNEL_WAITING; state++) {
		unsigned losses = seen.losses;

		rig_up(&rig);
		if (state != CHANNEL_OPENING) {
			wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
			must_say(&rig);
		}
		if (state == CHANNEL_READY)
			channel_become_ready(&ch);
		if (state == CHANNEL_CLOSING)
			channel_restart(&ch, ERR_INPUT, "test");
		if (state == CHANNEL_WAITING) {
			wire_put_channel_close(&rig.wire, 1, 404, "NOT_FOUND");
			must_say(&rig);
		}
		ck_assert_int_eq(ch.state, state);
		channel_down(&ch, ERR_LINK);
		ck_assert_int_eq(ch.state, CHANNEL_DOWN);
		ck_assert(!ch.timer.is_set);
		ck_assert_uint_eq(seen.losses, losses + (state == CHANNEL_OPENING ? 0 : 1));
	}
}
END_TEST

/* ---- contents ---- */

START_TEST(a_content_in_pieces_of_every_size_comes_as_one)
{
	char body[300];

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)i;
	must_be_ready();
	unsigned count = 0;

	for (size_t len = 0; len <= sizeof(body); len += 50) {
		for (size_t piece = 1; piece <= 60; piece += 7) {
			wire_put_deliver(&rig.wire, 1, ++count, false);
			wire_put_content(
				&rig.wire, 1, rig_id, (struct span){ body, len }, piece);
			must_say(&rig);
			ck_assert_uint_eq(seen.contents, count);
			ck_assert_uint_eq(seen.tag, count);
			ck_assert_uint_eq(seen.body_len, len);
			ck_assert_uint_eq(seen.body_bytes, len);
			ck_assert(!seen.is_oversized);
			ck_assert_int_eq(memcmp(seen.body, body, len), 0);
		}
	}
}
END_TEST

START_TEST(a_returned_content_says_why_in_the_fault)
{
	must_be_ready();
	wire_put_return(&rig.wire, 1, 312, "NO_ROUTE");
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 10);
	must_say(&rig);
	ck_assert_int_eq(seen.last_method, METHOD_BASIC_RETURN);
	ck_assert_uint_eq(ch.fault.code, 312);
	ck_assert_str_eq(ch.fault.text, "NO_ROUTE");
}
END_TEST

/* Says what stands in `wire` to a channel that serves, or has just been offered half a content;
 * it must be refused and the owner must not have seen a content. */
static void expect_violation(unsigned contents)
{
	must_say_wrong(&rig);
	ck_assert_uint_eq(seen.contents, contents);
	channel_down(&ch, ERR_PROTOCOL);
	rig_up(&rig);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	channel_become_ready(&ch);
}

START_TEST(frames_of_a_content_in_any_other_order_are_refused)
{
	must_be_ready();
	wire_put_body(&rig.wire, 1, "x", 1); /* before everything */
	expect_violation(0);
	wire_put_header(&rig.wire, 1, rig_id, 1); /* without a method */
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* body before header */
	wire_put_body(&rig.wire, 1, "x", 1);
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* two headers */
	wire_put_header(&rig.wire, 1, rig_id, 1);
	wire_put_header(&rig.wire, 1, rig_id, 1);
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* a second deliver, no header yet */
	wire_put_deliver(&rig.wire, 1, 2, false);
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* a second deliver within the body */
	wire_put_header(&rig.wire, 1, rig_id, 2);
	wire_put_body(&rig.wire, 1, "x", 1);
	wire_put_deliver(&rig.wire, 1, 2, false);
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* any method within */
	wire_put_confirm(&rig.wire, 1, WIRE_ACK, 1, false);
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false);
	wire_put_header(&rig.wire, 1, rig_id, 1);
	wire_put_channel_close(&rig.wire, 1, 404, "NOT_FOUND");
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* an empty body frame */
	wire_put_header(&rig.wire, 1, rig_id, 1);
	wire_put_body(&rig.wire, 1, "", 0);
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* more body than announced */
	wire_put_header(&rig.wire, 1, rig_id, 2);
	wire_put_body(&rig.wire, 1, "xyz", 3);
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* … in the second frame */
	wire_put_header(&rig.wire, 1, rig_id, 2);
	wire_put_body(&rig.wire, 1, "x", 1);
	wire_put_body(&rig.wire, 1, "yz", 2);
	expect_violation(0);
	wire_put_deliver(&rig.wire, 1, 1, false); /* a body where none was announced */
	wire_put_header(&rig.wire, 1, rig_id, 0);
	wire_put_body(&rig.wire, 1, "x", 1);
	expect_violation(1);
	wire_frame_begin(&rig.wire, WIRE_HEARTBEAT, 1); /* a heartbeat has no channel */
	wire_frame_end(&rig.wire);
	expect_violation(1);
	/* And after all that a proper one. */
	wire_put_deliver(&rig.wire, 1, 7, true);
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 1);
	must_say(&rig);
	ck_assert_uint_eq(seen.contents, 2);
	ck_assert_uint_eq(seen.body_len, 2);
}
END_TEST

START_TEST(no_content_comes_before_the_channel_is_ready)
{
	must_open();
	wire_put_deliver(&rig.wire, 1, 1, false);
	must_say_wrong(&rig);
}
END_TEST

static void say_body_of(uint64_t body_bytes, uint64_t said_bytes)
{
	static char piece[RIG_FRAME_MAX - 8];

	memset(piece, 'p', sizeof(piece));
	wire_put_deliver(&rig.wire, 1, 1, false);
	wire_put_header(&rig.wire, 1, rig_id, body_bytes);
	must_say(&rig);
	while (said_bytes > 0) {
		size_t len = said_bytes < sizeof(piece) ? (size_t)said_bytes : sizeof(piece);

		wire_put_body(&rig.wire, 1, piece, len);
		must_say(&rig);
		said_bytes -= len;
	}
}

START_TEST(the_largest_body_comes_whole_and_one_byte_more_is_let_go_by)
{
	must_be_ready();
	say_body_of(CHANNEL_BODY_MAX_BYTES, CHANNEL_BODY_MAX_BYTES);
	ck_assert_uint_eq(seen.contents, 1);
	ck_assert_uint_eq(seen.body_len, CHANNEL_BODY_MAX_BYTES);
	ck_assert(!seen.is_oversized);
	say_body_of(CHANNEL_BODY_MAX_BYTES + 1, CHANNEL_BODY_MAX_BYTES + 1);
	ck_assert_uint_eq(seen.contents, 2);
	ck_assert_uint_eq(seen.body_len, 0);
	ck_assert_uint_eq(seen.body_bytes, CHANNEL_BODY_MAX_BYTES + 1);
	ck_assert(seen.is_oversized);
	/* Memory of the large one is given back. */
	ck_assert_uint_le(ch.body.room, 16 * 1024);
	say_body_of(2, 2);
	ck_assert_uint_eq(seen.contents, 3);
	ck_assert_uint_eq(seen.body_len, 2);
}
END_TEST

START_TEST(a_body_that_is_never_kept_costs_no_memory)
{
	must_be_ready();
	say_body_of(CHANNEL_ANNOUNCED_MAX_BYTES, MIB(4));
	ck_assert_uint_eq(seen.contents, 0);
	ck_assert_uint_le(ch.body.room, 16 * 1024);
}
END_TEST

START_TEST(a_body_without_end_is_refused_when_it_is_announced)
{
	static const uint64_t endless[] = { CHANNEL_ANNOUNCED_MAX_BYTES + 1, 1ull << 40,
		INT64_MAX, UINT64_MAX };

	must_be_ready();
	for (size_t i = 0; i < ARRAY_COUNT(endless); i++) {
		wire_put_deliver(&rig.wire, 1, 1, false);
		wire_put_header(&rig.wire, 1, rig_id, endless[i]);
		expect_violation(0);
	}
}
END_TEST

START_TEST(the_owner_may_restart_the_channel_from_within_a_content)
{
	must_be_ready();
	seen.restarts = true;
	wire_put_deliver(&rig.wire, 1, 1, false);
	wire_put_content(&rig.wire, 1, rig_id, span_of("{\"a\":1}"), 3);
	wire_put_deliver(&rig.wire, 1, 2, false);
	wire_put_content(&rig.wire, 1, rig_id, span_of("{\"a\":2}"), 3);
	must_say(&rig);
	ck_assert_uint_eq(seen.contents, 1); /* the second was on its way */
	ck_assert_int_eq(ch.state, CHANNEL_CLOSING);
	must_hear_method(&rig, WIRE_CHANNEL_CLOSE);
}
END_TEST

START_TEST(what_the_owner_refuses_ends_the_connection)
{
	must_be_ready();
	seen.answer = ERR_PROTOCOL;
	wire_put_plain(&rig.wire, 1, WIRE_QOS_OK);
	must_say_wrong(&rig);
	wire_put_deliver(&rig.wire, 1, 1, false);
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 3);
	must_say_wrong(&rig);
	seen.answer = ERR_NOMEM;
	wire_put_plain(&rig.wire, 1, WIRE_QOS_OK);
	ck_assert_int_eq(rig_say(&rig), ERR_NOMEM);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("channel");
	TCase *opening = tcase_create("opening");
	TCase *closing = tcase_create("closing");
	TCase *contents = tcase_create("contents");
	TCase *all[] = { opening, closing, contents };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], set_up, tear_down);
		tcase_set_timeout(all[i], 30);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_test(opening, a_channel_opens_is_set_up_and_serves);
	tcase_add_test(opening, only_open_ok_opens);
	tcase_add_test(opening, a_channel_that_is_down_takes_nothing);
	tcase_add_test(opening, a_broker_that_never_answers_breaks_the_connection);
	tcase_add_test(opening, a_broker_that_blocks_owes_no_answer);
	tcase_add_test(opening, a_channel_that_serves_waits_for_nothing);
	tcase_add_test(closing, a_channel_that_the_broker_closes_comes_back_by_itself);
	tcase_add_test(closing, a_channel_that_is_closed_again_and_again_waits_longer);
	tcase_add_test(closing, a_restart_closes_waits_for_the_answer_and_opens_again);
	tcase_add_test(closing, both_sides_may_close_at_once);
	tcase_add_test(closing, a_channel_that_waits_hears_nothing_from_an_honest_broker);
	tcase_add_test(closing, a_connection_may_be_lost_in_every_state);
	tcase_add_test(contents, a_content_in_pieces_of_every_size_comes_as_one);
	tcase_add_test(contents, a_returned_content_says_why_in_the_fault);
	tcase_add_test(contents, frames_of_a_content_in_any_other_order_are_refused);
	tcase_add_test(contents, no_content_comes_before_the_channel_is_ready);
	tcase_add_test(contents, the_largest_body_comes_whole_and_one_byte_more_is_let_go_by);
	tcase_add_test(contents, a_body_that_is_never_kept_costs_no_memory);
	tcase_add_test(contents, a_body_without_end_is_refused_when_it_is_announced);
	tcase_add_test(contents, the_owner_may_restart_the_channel_from_within_a_content);
	tcase_add_test(contents, what_the_owner_refuses_ends_the_connection);
	return unit_run(s);
}
