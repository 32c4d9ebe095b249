/* Deliveries and their settling, driven frame by frame: amqp/consumer.h. */
#include <string.h>

#include "amqp/consumer.h"
#include "amqp_rig.h"
#include "amqp_wire.h"
#include "base/log.h"
#include "unit.h"

enum { PREFETCH = 8, SEEN_MAX = 64 };

static struct rig rig;
static struct consumer con;
static struct delivery seen[SEEN_MAX]; /* spans are gone */
static unsigned seen_count;
static unsigned losses;
static unsigned drains;
static void (*within_delivery)(const struct delivery *d);

static void on_delivery(void *arg, struct consumer *c, const struct delivery *d)
{
	ck_assert_ptr_eq(arg, &rig);
	ck_assert_ptr_eq(c, &con);
	ck_assert_uint_lt(seen_count, SEEN_MAX);
	seen[seen_count++] = *d;
	if (within_delivery != NULL)
		within_delivery(d);
}

static void on_lost(void *arg, struct consumer *c)
{
	ck_assert_ptr_eq(arg, &rig);
	ck_assert_ptr_eq(c, &con);
	losses++;
}

static void on_drained(void *arg)
{
	ck_assert_ptr_eq(arg, &drains);
	drains++;
}

static bool has_drained(void *arg)
{
	(void)arg;
	return drains > 0;
}

static void begin(enum consumer_pace pace)
{
	struct consumer_config config = {
		.name = "call",
		.queue = "FORAPP.call",
		.prefetch = PREFETCH,
		.pace = pace,
	};

	log_open("test", LOG_ERROR);
	rig_init(&rig);
	ck_assert_int_eq(
		consumer_init(&con, &rig.stage.loop, &config, on_delivery, &rig), ERR_OK);
	con.on_lost = on_lost;
	rig_hold(&rig, &con.channel);
	seen_count = 0;
	losses = 0;
	drains = 0;
	within_delivery = NULL;
}

static void set_up(void)
{
	begin(CONSUMER_ACK_AT_ONCE);
}

static void set_up_lazy(void)
{
	begin(CONSUMER_ACK_LAZILY);
}

static void tear_down(void)
{
	channel_down(&con.channel, ERR_CANCEL);
	consumer_fini(&con);
	rig_fini(&rig);
}

static void must_be_set_up(void)
{
	rig_up(&rig);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
}

static void must_be_ready(void)
{
	must_be_set_up();
	struct wire_frame f = must_hear_method(&rig, WIRE_QOS);
	struct wire_reader qos = { .left = f.payload };

	ck_assert_uint_eq(wire_read_long(&qos), 0);
	ck_assert_uint_eq(wire_read_short(&qos), PREFETCH);
	f = must_hear_method(&rig, WIRE_CONSUME);
	struct wire_reader consume = { .left = f.payload };

	wire_read_short(&consume);
	ck_assert(span_is(wire_read_shortstr(&consume), "FORAPP.call"));
	wire_read_shortstr(&consume);
	ck_assert_uint_eq(wire_read_octet(&consume), 0); /* acknowledged, shared, answered */
	wire_put_plain(&rig.wire, 1, WIRE_QOS_OK);
	must_say(&rig);
	ck_assert(!channel_is_ready(&con.channel));
	wire_put_plain(&rig.wire, 1, WIRE_CONSUME_OK);
	must_say(&rig);
	ck_assert(channel_is_ready(&con.channel));
	must_hear_nothing(&rig);
}

static void put_delivery(uint64_t tag)
{
	wire_put_deliver(&rig.wire, 1, tag, false);
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 10);
}

static void must_deliver(uint64_t from, uint64_t until)
{
	for (uint64_t tag = from; tag < until; tag++)
		put_delivery(tag);
	must_say(&rig);
}

/* The end of a turn of the loop. */
static void turn(void)
{
	stage_pass(&rig.stage, 0);
}

static void must_hear_ack(uint64_t tag, bool multiple)
{
	struct wire_frame f = must_hear_method(&rig, WIRE_ACK);
	struct wire_ack ack = wire_read_ack(&f);

	ck_assert_uint_eq(ack.tag, tag);
	ck_assert_uint_eq(ack.bits, multiple);
}

static void must_hear_reject(uint64_t tag)
{
	struct wire_frame f = must_hear_method(&rig, WIRE_REJECT);
	struct wire_ack reject = wire_read_ack(&f);

	ck_assert_uint_eq(reject.tag, tag);
	ck_assert_uint_eq(reject.bits, 0); /* never back into the queue */
}

/* ---- deliveries ---- */

START_TEST(a_delivery_is_read_and_handed_over)
{
	must_be_ready();
	wire_put_deliver(&rig.wire, 1, 1, true);
	wire_put_content(&rig.wire, 1, rig_id, span_of("{\"a\":1}"), 3);
	must_say(&rig);
	ck_assert_uint_eq(seen_count, 1);
	ck_assert_int_eq(seen[0].fault, ERR_OK);
	ck_assert_str_eq(id_format(&seen[0].message.id).at, rig_id);
	ck_assert_uint_eq(seen[0].message.epoch, 77);
	ck_assert_uint_eq(seen[0].message.seq, 5);
	ck_assert_uint_eq(seen[0].body_bytes, 7);
	ck_assert_uint_eq(seen[0].message.body.len, 7);
	ck_assert(seen[0].is_redelivered);
	ck_assert_uint_eq(con.counters.delivered, 1);
	ck_assert_uint_eq(con.counters.redelivered, 1);
	ck_assert_uint_eq(con.held_count, 1);
}
END_TEST

START_TEST(a_delivery_that_is_not_ours_says_so_and_can_be_settled)
{
	must_be_ready();
	wire_put_deliver(&rig.wire, 1, 1, false);
	wire_header_begin(&rig.wire, 1, 0, 0); /* no message-id */
	wire_frame_end(&rig.wire);
	wire_put_deliver(&rig.wire, 1, 2, false);
	wire_put_header(&rig.wire, 1, rig_id, 3); /* the link goes on */
	wire_put_body(&rig.wire, 1, "abc", 3);
	must_say(&rig);
	ck_assert_uint_eq(seen_count, 2);
	ck_assert_int_eq(seen[0].fault, ERR_INPUT);
	ck_assert_int_eq(seen[1].fault, ERR_OK);
	consumer_reject(&con, seen[0].tag);
	must_hear_reject(1);
	ck_assert_uint_eq(con.counters.rejected, 1);
}
END_TEST

START_TEST(a_body_that_is_too_large_says_so)
{
	static char piece[RIG_FRAME_MAX - 8];
	uint64_t left = CHANNEL_BODY_MAX_BYTES + 1;

	must_be_ready();
	wire_put_deliver(&rig.wire, 1, 1, false);
	wire_put_header(&rig.wire, 1, rig_id, left);
	while (left > 0) {
		size_t len = left < sizeof(piece) ? (size_t)left : sizeof(piece);

		wire_put_body(&rig.wire, 1, piece, len);
		left -= len;
	}
	must_say(&rig);
	ck_assert_uint_eq(seen_count, 1);
	ck_assert_int_eq(seen[0].fault, ERR_FULL);
	ck_assert_uint_eq(seen[0].body_bytes, CHANNEL_BODY_MAX_BYTES + 1);
	ck_assert_uint_eq(seen[0].message.body.len, 0);
	ck_assert_str_eq(id_format(&seen[0].message.id).at, rig_id);
}
END_TEST

START_TEST(more_than_the_prefetch_breaks_the_protocol)
{
	must_be_ready();
	must_deliver(1, 1 + PREFETCH);
	ck_assert_uint_eq(con.held_count, PREFETCH);
	put_delivery(1 + PREFETCH);
	must_say_wrong(&rig);
	ck_assert_uint_eq(seen_count, PREFETCH);
}
END_TEST

START_TEST(settled_ones_make_room_in_the_prefetch)
{
	must_be_ready();
	for (uint64_t tag = 1; tag < SEEN_MAX; tag += PREFETCH) {
		must_deliver(tag, tag + PREFETCH);
		for (unsigned i = 0; i < PREFETCH; i++)
			consumer_ack(&con, seen[tag - 1 + i].tag);
		turn();
		must_hear_ack(tag + PREFETCH - 1, true);
		must_hear_nothing(&rig);
		ck_assert_uint_eq(con.held_count, 0);
	}
	ck_assert_uint_eq(con.counters.acked, SEEN_MAX);
}
END_TEST

START_TEST(a_consumer_is_sent_nothing_else)
{
	static const enum wire_method methods[] = { WIRE_QOS_OK, WIRE_CONSUME_OK,
		WIRE_CANCEL_OK, WIRE_CONFIRM_SELECT_OK, WIRE_CHANNEL_OPEN_OK };

	must_be_ready();
	for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
		wire_put_plain(&rig.wire, 1, methods[i]);
		must_say_wrong(&rig);
	}
	wire_put_confirm(&rig.wire, 1, WIRE_ACK, 1, false);
	must_say_wrong(&rig);
	wire_put_return(&rig.wire, 1, 312, "NO_ROUTE");
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 10);
	must_say_wrong(&rig);
	ck_assert_uint_eq(seen_count, 0);
}
END_TEST

/* ---- settling ---- */

START_TEST(a_run_from_the_oldest_is_one_cumulative_acknowledgement)
{
	must_be_ready();
	must_deliver(1, 6);
	for (int i = 3; i >= 0; i--) /* whatever the order of settling */
		consumer_ack(&con, seen[i].tag);
	must_hear_nothing(&rig); /* not before the end of the turn */
	turn();
	must_hear_ack(4, true);
	must_hear_nothing(&rig);
	ck_assert_uint_eq(con.held_count, 1);
	ck_assert_uint_eq(con.settled_count, 0);
	ck_assert_uint_eq(con.counters.acked, 4);
}
END_TEST

START_TEST(behind_one_that_is_held_each_is_acknowledged_alone)
{
	must_be_ready();
	must_deliver(1, 7);
	consumer_ack(&con, seen[0].tag);
	consumer_ack(&con, seen[2].tag);
	consumer_ack(&con, seen[4].tag);
	turn();
	must_hear_ack(1, true);
	must_hear_ack(3, false);
	must_hear_ack(5, false);
	must_hear_nothing(&rig);
	consumer_ack(&con, seen[1].tag);
	consumer_ack(&con, seen[3].tag);
	turn();
	must_hear_ack(4, true); /* 2 and 4: all before them are gone */
	consumer_ack(&con, seen[5].tag);
	turn();
	must_hear_ack(6, true);
	must_hear_nothing(&rig);
	ck_assert_uint_eq(con.counters.acked, 6);
	ck_assert_uint_eq(con.held_count, 0);
}
END_TEST

START_TEST(a_cumulative_acknowledgement_never_covers_what_is_held_or_rejected)
{
	must_be_ready();
	must_deliver(1, 6);
	consumer_reject(&con, seen[1].tag);
	must_hear_reject(2); /* before any acknowledgement that passes it by */
	consumer_ack(&con, seen[0].tag);
	consumer_ack(&con, seen[2].tag);
	consumer_ack(&con, seen[4].tag);
	turn();
	must_hear_ack(3, true);
	must_hear_ack(5, false);
	must_hear_nothing(&rig);
	consumer_reject(&con, seen[3].tag);
	must_hear_reject(4);
	ck_assert_uint_eq(con.held_count, 0);
	ck_assert_uint_eq(con.counters.rejected, 2);
	ck_assert_uint_eq(con.counters.acked, 3);
}
END_TEST

START_TEST(settling_twice_settles_once)
{
	must_be_ready();
	must_deliver(1, 3);
	consumer_ack(&con, seen[0].tag);
	consumer_ack(&con, seen[0].tag);
	consumer_reject(&con, seen[0].tag);
	must_hear_nothing(&rig);
	turn();
	must_hear_ack(1, true);
	consumer_ack(&con, seen[0].tag);
	consumer_reject(&con, seen[0].tag);
	turn();
	must_hear_nothing(&rig);
	consumer_reject(&con, seen[1].tag);
	must_hear_reject(2);
	consumer_reject(&con, seen[1].tag);
	consumer_ack(&con, seen[1].tag);
	turn();
	must_hear_nothing(&rig);
	ck_assert_uint_eq(con.counters.acked, 1);
	ck_assert_uint_eq(con.counters.rejected, 1);
}
END_TEST

START_TEST(a_slot_that_is_used_again_is_not_settled_by_an_old_tag)
{
	must_be_ready();
	must_deliver(1, 1 + PREFETCH);
	for (unsigned i = 0; i < PREFETCH; i++)
		consumer_ack(&con, seen[i].tag);
	turn();
	must_hear_ack(PREFETCH, true);
	must_deliver(1 + PREFETCH, 1 + 2 * PREFETCH); /* all slots again */
	for (unsigned i = 0; i < PREFETCH; i++)
		consumer_ack(&con, seen[i].tag);
	turn();
	must_hear_nothing(&rig);
	ck_assert_uint_eq(con.held_count, PREFETCH);
}
END_TEST

static void ack_at_once(const struct delivery *d)
{
	consumer_ack(&con, d->tag);
}

START_TEST(settling_from_within_the_delivery_is_fine)
{
	must_be_ready();
	within_delivery = ack_at_once;
	must_deliver(1, 1 + PREFETCH);
	turn();
	must_hear_ack(PREFETCH, true);
	must_hear_nothing(&rig);
}
END_TEST

START_TEST(the_broker_may_deliver_again_only_after_the_acknowledgement_went_out)
{
	must_be_ready();
	within_delivery = ack_at_once;
	must_deliver(1, 1 + PREFETCH);
	put_delivery(1 + PREFETCH); /* no acknowledgement was sent yet */
	must_say_wrong(&rig);
}
END_TEST

/* ---- lazily ---- */

START_TEST(a_lazy_lane_acknowledges_after_a_quarter_of_the_prefetch)
{
	must_be_ready();
	must_deliver(1, 1 + PREFETCH);
	consumer_ack(&con, seen[0].tag);
	turn();
	must_hear_nothing(&rig);
	ck_assert(con.lazy.is_set);
	consumer_ack(&con, seen[1].tag); /* 2 of 8 */
	turn();
	must_hear_ack(2, true);
	must_hear_nothing(&rig);
	ck_assert(!con.lazy.is_set);
}
END_TEST

static bool has_acked(void *arg)
{
	(void)arg;
	return con.counters.acked > 0;
}

START_TEST(a_lazy_lane_acknowledges_after_a_while_in_any_case)
{
	must_be_ready();
	must_deliver(1, 2);
	consumer_ack(&con, seen[0].tag);
	turn();
	must_hear_nothing(&rig);
	must_reach(&rig.stage, has_acked, NULL, 1000);
	must_hear_ack(1, true);
	must_hear_nothing(&rig);
}
END_TEST

START_TEST(a_lazy_lane_never_starves_itself)
{
	must_be_ready();
	within_delivery = ack_at_once;
	for (uint64_t tag = 1; tag <= SEEN_MAX; tag++) {
		must_deliver(tag, tag + 1);
		turn();
		ck_assert_uint_lt(con.settled_count, PREFETCH / 4 + 1);
	}
	ck_assert_uint_ge(con.counters.acked, SEEN_MAX - PREFETCH / 4);
}
END_TEST

START_TEST(a_lane_that_drains_is_lazy_no_more)
{
	must_be_ready();
	must_deliver(1, 3);
	consumer_ack(&con, seen[0].tag);
	turn();
	must_hear_nothing(&rig);
	consumer_drain(&con, on_drained, &drains);
	must_hear_method(&rig, WIRE_CANCEL);
	turn();
	must_hear_ack(1, true);
	consumer_ack(&con, seen[1].tag);
	turn();
	must_hear_ack(2, true);
	must_hear_nothing(&rig);
}
END_TEST

START_TEST(what_was_settled_lazily_is_acknowledged_before_goodbye)
{
	must_be_ready();
	must_deliver(1, 3);
	consumer_ack(&con, seen[0].tag);
	turn();
	must_hear_nothing(&rig);
	channel_say_goodbye(&con.channel);
	must_hear_ack(1, true);
	channel_down(&con.channel, ERR_CANCEL);
	must_hear_nothing(&rig);
}
END_TEST

START_TEST(what_was_settled_lazily_is_forgotten_with_the_channel)
{
	must_be_ready();
	must_deliver(1, 2);
	consumer_ack(&con, seen[0].tag);
	turn();
	ck_assert(con.lazy.is_set);
	channel_down(&con.channel, ERR_LINK);
	ck_assert(!con.lazy.is_set);
	stage_pass(&rig.stage, 80);
	must_hear_nothing(&rig);
}
END_TEST

/* ---- losses ---- */

START_TEST(a_tag_of_a_channel_that_is_gone_settles_nothing)
{
	must_be_ready();
	must_deliver(1, 4);
	ck_assert(consumer_has(&con, seen[0].tag));
	channel_down(&con.channel, ERR_LINK);
	ck_assert_uint_eq(losses, 1);
	ck_assert(!consumer_has(&con, seen[0].tag));
	consumer_ack(&con, seen[0].tag);
	consumer_reject(&con, seen[1].tag);
	turn();
	must_hear_nothing(&rig);
	must_be_ready();
	consumer_ack(&con, seen[0].tag);
	consumer_reject(&con, seen[1].tag);
	turn();
	must_hear_nothing(&rig);
	must_deliver(1, 4); /* the same tags, on another channel */
	consumer_ack(&con, seen[2].tag);
	consumer_reject(&con, seen[1].tag);
	turn();
	must_hear_nothing(&rig);
	ck_assert_uint_eq(con.held_count, 3);
	consumer_ack(&con, seen[3].tag);
	turn();
	must_hear_ack(1, true);
}
END_TEST

static bool is_opening(void *arg)
{
	(void)arg;
	return con.channel.state == CHANNEL_OPENING;
}

START_TEST(a_consumer_that_the_broker_cancels_begins_again)
{
	must_be_ready();
	must_deliver(1, 3);
	wire_put_plain(&rig.wire, 1, WIRE_CANCEL);
	must_say(&rig);
	must_hear_method(&rig, WIRE_CHANNEL_CLOSE);
	ck_assert_uint_eq(con.counters.cancelled, 1);
	ck_assert_uint_eq(losses, 1);
	ck_assert_uint_eq(con.held_count, 0);
	consumer_ack(&con, seen[0].tag);
	put_delivery(3); /* was on its way */
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_CLOSE_OK);
	must_say(&rig);
	turn();
	must_hear_nothing(&rig);
	ck_assert_uint_eq(seen_count, 2);
	must_reach(&rig.stage, is_opening, NULL, 2000);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	must_hear_method(&rig, WIRE_QOS);
	must_hear_method(&rig, WIRE_CONSUME);
}
END_TEST

static void restart_within(const struct delivery *d)
{
	consumer_ack(&con, d->tag);
	channel_restart(&con.channel, ERR_INPUT, "test");
}

START_TEST(losing_the_channel_from_within_a_delivery_is_fine)
{
	must_be_ready();
	within_delivery = restart_within;
	must_deliver(1, 4);
	turn();
	must_hear_method(&rig, WIRE_CHANNEL_CLOSE);
	must_hear_nothing(&rig);
	ck_assert_uint_eq(seen_count, 1);
	ck_assert_uint_eq(con.settled_count, 0);
	ck_assert_uint_eq(losses, 1);
}
END_TEST

/* ---- draining ---- */

START_TEST(draining_cancels_and_lets_what_was_delivered_be_settled)
{
	must_be_ready();
	must_deliver(1, 3);
	consumer_drain(&con, on_drained, &drains);
	struct wire_frame f = must_hear_method(&rig, WIRE_CANCEL);
	struct wire_reader cancel = { .left = f.payload };

	ck_assert_uint_gt(wire_read_shortstr(&cancel).len, 0);
	ck_assert_uint_eq(drains, 0);
	must_deliver(3, 4); /* on its way before the cancel came there */
	ck_assert_uint_eq(seen_count, 3);
	wire_put_plain(&rig.wire, 1, WIRE_CANCEL_OK);
	must_say(&rig);
	must_reach(&rig.stage, has_drained, NULL, 1000);
	for (int i = 0; i < 3; i++)
		consumer_ack(&con, seen[i].tag);
	turn();
	must_hear_ack(3, true);
	channel_down(&con.channel, ERR_LINK);
	ck_assert_uint_eq(drains, 1);
}
END_TEST

START_TEST(a_drain_ends_with_the_channel_too)
{
	must_be_ready();
	consumer_drain(&con, on_drained, &drains);
	must_hear_method(&rig, WIRE_CANCEL);
	channel_down(&con.channel, ERR_LINK);
	must_reach(&rig.stage, has_drained, NULL, 1000);
	/* A channel that comes back consumes no more. */
	must_be_set_up();
	ck_assert(channel_is_ready(&con.channel));
	must_hear_nothing(&rig);
	turn();
	ck_assert_uint_eq(drains, 1);
}
END_TEST

START_TEST(a_drain_without_a_channel_ends_soon_but_not_from_inside)
{
	consumer_drain(&con, on_drained, &drains);
	ck_assert_uint_eq(drains, 0);
	must_reach(&rig.stage, has_drained, NULL, 1000);
	turn();
	ck_assert_uint_eq(drains, 1);
}
END_TEST

START_TEST(a_drain_while_the_channel_is_set_up_loses_nothing)
{
	must_be_set_up();
	must_hear_method(&rig, WIRE_QOS);
	must_hear_method(&rig, WIRE_CONSUME);
	consumer_drain(&con, on_drained, &drains);
	must_hear_nothing(&rig);
	ck_assert_uint_eq(drains, 0);
	/* What the broker hands over until it hears of it comes too: closing the channel would
	 * make it a redelivery. */
	wire_put_plain(&rig.wire, 1, WIRE_QOS_OK);
	wire_put_plain(&rig.wire, 1, WIRE_CONSUME_OK);
	put_delivery(1);
	must_say(&rig);
	must_hear_method(&rig, WIRE_CANCEL);
	ck_assert_uint_eq(seen_count, 1);
	ck_assert(!consumer_is_drained(&con));
	consumer_ack(&con, seen[0].tag);
	turn();
	must_hear_ack(1, true);
	wire_put_plain(&rig.wire, 1, WIRE_CANCEL_OK);
	must_say(&rig);
	ck_assert_uint_eq(drains, 0);
	must_reach(&rig.stage, has_drained, NULL, 1000);
	ck_assert(consumer_is_drained(&con));
}
END_TEST

START_TEST(a_lane_that_is_held_shows_nothing_new_and_settles_what_runs)
{
	must_be_ready();
	must_deliver(1, 3);
	consumer_hold(&con);
	ck_assert(consumer_is_held(&con));
	must_deliver(3, 5);
	ck_assert_uint_eq(seen_count, 2);
	ck_assert_uint_eq(con.held_count, 4);
	must_hear_nothing(&rig);
	/* What runs is still settled. */
	consumer_ack(&con, seen[0].tag);
	turn();
	must_hear_ack(1, true);
	consumer_reject(&con, seen[1].tag);
	must_hear_reject(2);
	must_hear_nothing(&rig);
	/* So it stays when the channel comes back. */
	channel_down(&con.channel, ERR_LINK);
	must_be_ready();
	must_deliver(1, 2);
	ck_assert_uint_eq(seen_count, 2);
}
END_TEST

static void fini_within(void *arg)
{
	on_drained(arg);
	channel_down(&con.channel, ERR_CANCEL);
	consumer_fini(&con);
}

START_TEST(the_consumer_may_go_from_within_on_drained)
{
	must_be_ready();
	must_deliver(1, 3);
	consumer_drain(&con, fini_within, &drains);
	wire_put_plain(&rig.wire, 1, WIRE_CANCEL_OK);
	must_say(&rig);
	must_reach(&rig.stage, has_drained, NULL, 1000);
	ck_assert_ptr_null(con.slots);
}
END_TEST

/* ---- anything at all ---- */

enum { MUTANTS = 20000 };

static void settle_by_chance(const struct delivery *d)
{
	seen_count = 0;
	ck_assert(d->fault == ERR_OK || d->fault == ERR_INPUT || d->fault == ERR_FULL);
	ck_assert_uint_le(d->message.body.len, CHANNEL_BODY_MAX_BYTES);
	if (rig_dice() % 4 == 0)
		consumer_reject(&con, d->tag);
	else
		consumer_ack(&con, d->tag);
}

START_TEST(mutants_of_deliveries_are_taken_or_refused)
{
	unsigned refused = 0;
	uint64_t tag = 0;

	within_delivery = settle_by_chance;
	must_be_ready();
	for (int i = 0; i < MUTANTS; i++) {
		put_delivery(++tag);
		if (rig_dice() % 8 == 0)
			wire_put_plain(&rig.wire, 1, WIRE_CANCEL);
		if (rig_say_mutant(&rig) == ERR_OK && channel_is_ready(&con.channel) &&
			rig_dice() % 16 != 0)
			continue;
		refused++;
		turn();
		channel_down(&con.channel, ERR_PROTOCOL);
		ck_assert_uint_eq(con.held_count, 0);
		ck_assert_uint_eq(con.settled_count, 0);
		buf_clear(&rig.out);
		rig.read = 0;
		tag = 0;
		must_be_ready();
	}
	ck_assert_uint_gt(refused, MUTANTS / 20);
	ck_assert_uint_gt(con.counters.delivered, MUTANTS / 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("consumer");
	TCase *deliveries = tcase_create("deliveries");
	TCase *settling = tcase_create("settling");
	TCase *lazily = tcase_create("lazily");
	TCase *lost = tcase_create("losses");
	TCase *draining = tcase_create("draining");
	TCase *anything = tcase_create("anything at all");
	TCase *all[] = { deliveries, settling, lost, draining, anything };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], set_up, tear_down);
		tcase_set_timeout(all[i], 30);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_checked_fixture(lazily, set_up_lazy, tear_down);
	suite_add_tcase(s, lazily);
	tcase_add_test(deliveries, a_delivery_is_read_and_handed_over);
	tcase_add_test(deliveries, a_delivery_that_is_not_ours_says_so_and_can_be_settled);
	tcase_add_test(deliveries, a_body_that_is_too_large_says_so);
	tcase_add_test(deliveries, more_than_the_prefetch_breaks_the_protocol);
	tcase_add_test(deliveries, settled_ones_make_room_in_the_prefetch);
	tcase_add_test(deliveries, a_consumer_is_sent_nothing_else);
	tcase_add_test(settling, a_run_from_the_oldest_is_one_cumulative_acknowledgement);
	tcase_add_test(settling, behind_one_that_is_held_each_is_acknowledged_alone);
	tcase_add_test(
		settling, a_cumulative_acknowledgement_never_covers_what_is_held_or_rejected);
	tcase_add_test(settling, settling_twice_settles_once);
	tcase_add_test(settling, a_slot_that_is_used_again_is_not_settled_by_an_old_tag);
	tcase_add_test(settling, settling_from_within_the_delivery_is_fine);
	tcase_add_test(
		settling, the_broker_may_deliver_again_only_after_the_acknowledgement_went_out);
	tcase_add_test(lazily, a_lazy_lane_acknowledges_after_a_quarter_of_the_prefetch);
	tcase_add_test(lazily, a_lazy_lane_acknowledges_after_a_while_in_any_case);
	tcase_add_test(lazily, a_lazy_lane_never_starves_itself);
	tcase_add_test(lazily, a_lane_that_drains_is_lazy_no_more);
	tcase_add_test(lazily, what_was_settled_lazily_is_acknowledged_before_goodbye);
	tcase_add_test(lazily, what_was_settled_lazily_is_forgotten_with_the_channel);
	tcase_add_test(lost, a_tag_of_a_channel_that_is_gone_settles_nothing);
	tcase_add_test(lost, a_consumer_that_the_broker_cancels_begins_again);
	tcase_add_test(lost, losing_the_channel_from_within_a_delivery_is_fine);
	tcase_add_test(draining, draining_cancels_and_lets_what_was_delivered_be_settled);
	tcase_add_test(draining, a_drain_ends_with_the_channel_too);
	tcase_add_test(draining, a_drain_without_a_channel_ends_soon_but_not_from_inside);
	tcase_add_test(draining, a_drain_while_the_channel_is_set_up_loses_nothing);
	tcase_add_test(draining, a_lane_that_is_held_shows_nothing_new_and_settles_what_runs);
	tcase_add_test(draining, the_consumer_may_go_from_within_on_drained);
	tcase_add_test(anything, mutants_of_deliveries_are_taken_or_refused);
	return unit_run(s);
}
