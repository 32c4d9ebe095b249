/* The relay: facts in, orders out, one rule at a time. */
#include "message/relay.h"

#include <stdlib.h>
#include <string.h>

#include "unit/unit.h"

enum { EPOCH = 77, ROWS = 4096, BYTES = 100 };

#define MS_US UINT64_C(1000)
#define SEC_US (1000 * MS_US)
#define START_US (100 * SEC_US)
#define WALL_US (UINT64_C(1780000000) * SEC_US)

static struct relay relay;
static struct relay_config config;
static struct relay_order order;
static struct receipt receipt;
static struct relay_row rows[ROWS + 1]; /* by seq */
static uint64_t now_us;

static void pass(uint64_t us)
{
	now_us += us;
	relay_now(&relay, now_us, WALL_US + now_us);
}

static void begin(uint64_t tail_seq)
{
	now_us = START_US;
	memset(rows, 0, sizeof(rows));
	relay_init(&relay, &config, tail_seq);
	pass(0);
}

static void setup(void)
{
	config = relay_defaults;
	config.epoch = EPOCH;
	config.seed = 1;
	begin(0);
	relay_open(&relay);
}

static void teardown(void)
{
	relay_check(&relay);
	while (relay_take(&relay) != NULL)
		;
	ck_assert_uint_eq(relay_rows(&relay), 0);
	ck_assert_uint_eq(relay.body_bytes, 0);
}

static struct relay_row *row_of(uint64_t seq, uint64_t key)
{
	struct relay_row *row = &rows[seq];

	*row = (struct relay_row){ .seq = seq, .key = key, .bytes = BYTES };
	row->id.byte[0] = (uint8_t)(seq >> 8);
	row->id.byte[1] = (uint8_t)seq;
	return row;
}

static void put(uint64_t seq, uint64_t key)
{
	ck_assert(relay_put(&relay, row_of(seq, key)));
}

static void must_order(enum relay_order_kind kind)
{
	ck_assert(relay_next(&relay, &order));
	ck_assert_int_eq(order.kind, kind);
	relay_check(&relay);
}

static void expect_publish(uint64_t seq)
{
	must_order(RELAY_PUBLISH);
	ck_assert_uint_eq(order.row->seq, seq);
}

/* The row named by it is one of those that must not be overtaken. */
static void expect_publish_behind(uint64_t seq, uint64_t prev_seq)
{
	expect_publish(seq);
	if (prev_seq == 0)
		ck_assert_ptr_null(order.prev);
	else
		ck_assert_ptr_eq(order.prev, &rows[prev_seq].id);
}

static void expect_fetch_and_publish(uint64_t seq)
{
	must_order(RELAY_FETCH);
	ck_assert_uint_eq(order.row->seq, seq);
	relay_fetched(&relay, order.row);
	expect_publish(seq);
}

static void expect_nothing(void)
{
	ck_assert_msg(!relay_next(&relay, &order), "order %d of row %llu", order.kind,
		order.row == NULL ? 0ull : (unsigned long long)order.row->seq);
	relay_check(&relay);
}

static void expect_remove(uint64_t seq, size_t count, enum receipt_state outcome)
{
	must_order(RELAY_REMOVE);
	ck_assert_uint_eq(order.row->seq, seq);
	ck_assert_uint_eq(order.count, count);
	ck_assert_int_eq(order.outcome, outcome);
	size_t linked = 0;

	for (const struct relay_row *row = order.row; row != NULL; row = row->behind) {
		ck_assert_uint_eq(row->seq, seq + linked);
		ck_assert_int_eq(row->state, RELAY_OUT);
		linked++;
	}
	ck_assert_uint_eq(linked, count);
}

static void confirm(uint64_t seq)
{
	relay_confirmed(&relay, &rows[seq]);
	relay_check(&relay);
}

static void publish_and_confirm(uint64_t from, uint64_t through)
{
	for (uint64_t seq = from; seq <= through; seq++) {
		expect_publish(seq);
		confirm(seq);
	}
}

/* A receipt of this epoch; then runs; then it arrives. */
static void say(uint64_t turn_from, uint64_t turn_through)
{
	receipt = (struct receipt){ .epoch = EPOCH,
		.turn_from = turn_from,
		.turn_through = turn_through,
		.seq_from = 1,
		.seq_through = RECEIPT_MAX_NUMBER };
}

static void of(uint64_t first, uint64_t last, enum receipt_state state)
{
	receipt.runs[receipt.count++] = (struct receipt_run){ first, last, state };
}

static void arrive(void)
{
	ck_assert(receipt_is_sound(&receipt));
	relay_receipt(&relay, &receipt);
	relay_check(&relay);
}

/* ---- the plain way ---- */

START_TEST(a_row_goes_and_ends_by_its_receipt_not_by_its_confirm)
{
	put(1, 0);
	expect_publish_behind(1, 0);
	ck_assert_uint_eq(order.row->number, 1);
	ck_assert_uint_eq(order.row->turn, 1);
	expect_nothing();
	confirm(1);
	expect_nothing();
	ck_assert_uint_eq(relay_rows(&relay), 1);
	say(1, 1);
	of(1, 1, RECEIPT_DONE);
	arrive();
	expect_remove(1, 1, RECEIPT_DONE);
	expect_nothing();
	ck_assert_uint_eq(relay_rows(&relay), 0);
	ck_assert_uint_eq(relay_wake_us(&relay), UINT64_MAX);
}
END_TEST

START_TEST(a_receipt_may_be_faster_than_the_confirm)
{
	put(1, 5);
	put(2, 5);
	expect_publish(1);
	say(1, 1);
	of(1, 1, RECEIPT_DONE);
	arrive();
	expect_nothing(); /* the publisher still has it */
	confirm(1);
	expect_remove(1, 1, RECEIPT_DONE);
	expect_publish_behind(2, 0);
}
END_TEST

START_TEST(rows_that_end_together_leave_together)
{
	for (uint64_t seq = 1; seq <= 6; seq++)
		put(seq, 0);
	publish_and_confirm(1, 6);
	say(1, 6);
	of(1, 3, RECEIPT_DONE);
	of(4, 4, RECEIPT_REFUSED);
	of(5, 5, RECEIPT_UNKNOWN);
	of(6, 6, RECEIPT_DONE);
	arrive();
	expect_remove(1, 3, RECEIPT_DONE);
	expect_remove(4, 1, RECEIPT_REFUSED);
	must_order(RELAY_PARK);
	ck_assert_uint_eq(order.row->seq, 5);
	ck_assert_int_eq(order.outcome, RECEIPT_UNKNOWN);
	expect_remove(6, 1, RECEIPT_DONE);
	expect_nothing();
}
END_TEST

START_TEST(no_more_are_on_their_way_than_the_window_allows)
{
	config.window = 3;
	begin(0);
	relay_open(&relay);
	for (uint64_t seq = 1; seq <= 5; seq++)
		put(seq, 0);
	expect_publish(1);
	expect_publish(2);
	expect_publish(3);
	expect_nothing();
	confirm(2);
	expect_publish(4);
	expect_nothing();
}
END_TEST

START_TEST(nothing_goes_without_a_link_or_into_an_alarm)
{
	relay_lost(&relay);
	put(1, 0);
	expect_nothing();
	relay_open(&relay);
	relay_blocked(&relay);
	expect_nothing();
	relay_unblocked(&relay);
	expect_publish(1);
}
END_TEST

/* ---- keys ---- */

START_TEST(one_unconfirmed_at_a_time_per_key_others_go_on)
{
	put(1, 5);
	put(2, 5);
	put(3, 6);
	put(4, 0);
	expect_publish_behind(1, 0);
	expect_publish_behind(3, 0);
	expect_publish_behind(4, 0);
	expect_nothing();
	confirm(1);
	expect_publish_behind(2, 1);
}
END_TEST

START_TEST(a_follower_names_the_one_before_it_until_that_has_ended)
{
	for (uint64_t seq = 1; seq <= 3; seq++)
		put(seq, 5);
	expect_publish(1);
	confirm(1);
	expect_publish_behind(2, 1);
	say(1, 1);
	of(1, 1, RECEIPT_DONE);
	arrive();
	expect_remove(1, 1, RECEIPT_DONE);
	confirm(2);
	expect_publish_behind(3, 2);
	confirm(3);
	/* The other side did not take 3: it goes again, and now the way is free. */
	say(1, 3);
	of(1, 2, RECEIPT_DONE);
	arrive();
	expect_remove(2, 1, RECEIPT_DONE);
	must_order(RELAY_FETCH);
	relay_fetched(&relay, order.row);
	expect_publish_behind(3, 0);
	ck_assert_uint_eq(order.row->number, 3);
	ck_assert_uint_eq(order.row->turn, 4);
}
END_TEST

START_TEST(a_refused_row_keeps_its_place_before_its_followers)
{
	put(1, 5);
	put(2, 5);
	put(3, 0);
	expect_publish(1);
	expect_publish(3);
	confirm(3);
	relay_nacked(&relay, &rows[1]);
	put(4, 0);
	expect_nothing(); /* the queue is full for others too */
	ck_assert_uint_gt(relay_wake_us(&relay), now_us);
	pass(relay_wake_us(&relay) - now_us);
	expect_publish(1);
	expect_nothing(); /* one at first */
	confirm(1);
	expect_publish_behind(2, 1);
	expect_publish(4);
	ck_assert_uint_eq(relay.counters.refused, 1);
}
END_TEST

START_TEST(a_row_refused_again_and_again_lets_others_try)
{
	put(1, 5);
	put(2, 5);
	put(3, 0);
	relay.pace.window = 1;
	for (int i = 0; i < 4; i++) {
		expect_publish(1);
		relay_nacked(&relay, &rows[1]);
		expect_nothing();
		pass(relay.pace.resume_at_us - now_us);
	}
	expect_publish(3);
	confirm(3);
	expect_nothing();
	pass(2 * SEC_US);
	expect_publish(1);
}
END_TEST

START_TEST(a_full_queue_is_asked_less_and_less_often)
{
	uint64_t asked = 0;

	put(1, 0);
	while (now_us < START_US + 60 * SEC_US) {
		if (relay_next(&relay, &order)) {
			relay_nacked(&relay, order.row);
			asked++;
		}
		pass(10 * MS_US);
	}
	ck_assert_uint_ge(asked, 8);
	ck_assert_uint_le(asked, 40);
}
END_TEST

START_TEST(what_has_no_queue_is_kept_and_tried_again)
{
	put(1, 0);
	expect_publish(1);
	relay_returned(&relay, &rows[1]);
	expect_nothing();
	pass(2 * SEC_US);
	expect_publish(1);
	ck_assert_uint_eq(relay.counters.returned, 1);
}
END_TEST

/* ---- the link is lost ---- */

START_TEST(what_was_unconfirmed_when_the_link_broke_goes_again_first_and_in_order)
{
	for (uint64_t seq = 1; seq <= 4; seq++)
		put(seq, 0);
	put(5, 9);
	put(6, 9);
	for (uint64_t seq = 1; seq <= 5; seq++)
		expect_publish(seq);
	confirm(2); /* out of order is normal */
	relay_lost(&relay);
	relay_unsure(&relay, &rows[5]);
	relay_unsure(&relay, &rows[1]);
	relay_unsure(&relay, &rows[4]);
	relay_unsure(&relay, &rows[3]);
	expect_nothing();
	relay_open(&relay);
	expect_publish(1);
	ck_assert_uint_eq(order.row->number, 1);
	expect_publish(3);
	expect_publish(4);
	expect_publish_behind(5, 0);
	expect_nothing();
	confirm(5);
	expect_publish_behind(6, 5);
}
END_TEST

/* ---- receipts that show a loss ---- */

START_TEST(what_was_overtaken_on_the_way_goes_again_at_once)
{
	for (uint64_t seq = 1; seq <= 5; seq++)
		put(seq, 0);
	publish_and_confirm(1, 5);
	say(1, 4);
	of(1, 1, RECEIPT_DONE);
	of(4, 4, RECEIPT_HELD);
	arrive();
	expect_remove(1, 1, RECEIPT_DONE);
	expect_fetch_and_publish(2);
	expect_fetch_and_publish(3);
	expect_nothing(); /* nobody has come to 5 yet */
	ck_assert_uint_eq(relay.counters.gaps, 2);
	confirm(2);
	confirm(3);
	arrive(); /* the same once more says nothing about the new ones */
	expect_nothing();
	say(1, 7);
	of(1, 5, RECEIPT_DONE);
	arrive();
	expect_remove(2, 4, RECEIPT_DONE);
	expect_nothing();
}
END_TEST

START_TEST(a_receipt_speaks_only_of_its_rows)
{
	for (uint64_t seq = 1; seq <= 4; seq++)
		put(seq, 0);
	publish_and_confirm(1, 4);
	say(1, 4);
	receipt.seq_from = 2;
	receipt.seq_through = 3;
	of(3, 3, RECEIPT_HELD);
	arrive();
	expect_fetch_and_publish(2);
	expect_nothing();
}
END_TEST

START_TEST(of_what_went_before_it_began_a_receipt_says_nothing)
{
	for (uint64_t seq = 1; seq <= 4; seq++)
		put(seq, 0);
	publish_and_confirm(1, 4);
	say(3, 4); /* another node has taken over */
	of(3, 4, RECEIPT_HELD);
	arrive();
	expect_nothing();
	ck_assert_int_eq(rows[1].state, RELAY_OVERTAKEN);
	/* If nobody says anything of them while the other side lives, they go again. */
	for (int i = 0; i < 4; i++) {
		pass(10 * SEC_US);
		arrive();
	}
	expect_fetch_and_publish(1);
	expect_fetch_and_publish(2);
	expect_nothing();
	ck_assert_uint_eq(relay.counters.overdue, 2);
}
END_TEST

START_TEST(what_was_held_and_is_not_any_more_goes_again)
{
	for (uint64_t seq = 1; seq <= 2; seq++)
		put(seq, 0);
	publish_and_confirm(1, 2);
	say(1, 2);
	of(1, 2, RECEIPT_HELD);
	arrive();
	expect_nothing();
	say(1, 2);
	of(1, 1, RECEIPT_HELD);
	arrive();
	expect_fetch_and_publish(2);
	/* And what it is silent about, after a while, if it lives. */
	confirm(2);
	for (int i = 0; i < 5; i++) {
		pass(10 * SEC_US);
		relay_alive(&relay);
	}
	expect_fetch_and_publish(1);
}
END_TEST

START_TEST(a_row_that_was_put_back_goes_again_behind_the_one_that_it_names)
{
	for (uint64_t seq = 1; seq <= 3; seq++)
		put(seq, 5);
	publish_and_confirm(1, 3);
	say(1, 2);
	of(1, 2, RECEIPT_HELD);
	arrive();
	/* Another node takes over: it sees 3 first, which names 2, and does not have that one. */
	say(3, 3);
	arrive();
	expect_fetch_and_publish(1);
	expect_nothing();
	confirm(1);
	must_order(RELAY_FETCH);
	relay_fetched(&relay, order.row);
	expect_publish_behind(2, 1);
	confirm(2);
	must_order(RELAY_FETCH);
	relay_fetched(&relay, order.row);
	expect_publish_behind(3, 2);
	confirm(3);
	/* What it said before it saw them says nothing. */
	arrive();
	expect_nothing();
}
END_TEST

START_TEST(while_the_other_side_is_away_what_it_held_waits)
{
	put(1, 0);
	put(2, 0);
	publish_and_confirm(1, 2);
	say(1, 2);
	of(1, 2, RECEIPT_HELD);
	arrive();
	for (int i = 0; i < 360; i++) {
		pass(10 * SEC_US);
		while (relay_next(&relay, &order)) {
			if (order.kind == RELAY_FETCH)
				relay_fetched(&relay, order.row);
			else
				relay_confirmed(&relay, order.row);
		}
	}
	/* In an hour of silence only probes: one row at a time, at most every ten minutes. */
	ck_assert_uint_eq(relay.counters.overdue, 0);
	ck_assert_uint_eq(relay.counters.gaps, 0);
	ck_assert_uint_ge(relay.counters.probes, 5);
	ck_assert_uint_le(relay.counters.probes, 15);
}
END_TEST

START_TEST(a_row_that_is_lost_again_and_again_goes_less_and_less_often)
{
	put(1, 0);
	publish_and_confirm(1, 1);
	for (unsigned round = 0; round < 200; round++) {
		pass(10 * MS_US);
		say(1, relay.turns);
		arrive();
		while (relay_next(&relay, &order)) {
			if (order.kind == RELAY_FETCH)
				relay_fetched(&relay, order.row);
			else
				relay_confirmed(&relay, order.row);
		}
	}
	ck_assert_uint_ge(relay.turns, 5);
	ck_assert_uint_le(relay.turns, 10);
}
END_TEST

/* ---- silence ---- */

START_TEST(in_a_silence_one_row_is_sent_to_find_out)
{
	for (uint64_t seq = 1; seq <= 100; seq++)
		put(seq, 0);
	publish_and_confirm(1, 100);
	pass(29 * SEC_US);
	expect_nothing();
	pass(10 * SEC_US);
	expect_fetch_and_publish(1);
	expect_nothing();
	confirm(1);
	ck_assert_uint_eq(relay.counters.probes, 1);
	pass(30 * SEC_US);
	expect_nothing();
	pass(60 * SEC_US);
	expect_fetch_and_publish(2);
	confirm(2);
	/* The probe came, nothing else did: all that went before it is lost. */
	say(102, 102);
	of(2, 2, RECEIPT_HELD);
	receipt.turn_from = 1;
	arrive();
	size_t again = 0;

	while (relay_next(&relay, &order)) {
		if (order.kind == RELAY_FETCH) {
			relay_fetched(&relay, order.row);
		} else {
			ck_assert_int_eq(order.kind, RELAY_PUBLISH);
			relay_confirmed(&relay, order.row);
			again++;
		}
	}
	ck_assert_uint_eq(again, 99);
}
END_TEST

START_TEST(while_it_comes_nearer_there_is_no_silence)
{
	for (uint64_t seq = 1; seq <= 20; seq++)
		put(seq, 0);
	publish_and_confirm(1, 20);
	for (uint64_t turn = 1; turn <= 10; turn++) {
		pass(20 * SEC_US);
		say(1, turn);
		of(1, turn, RECEIPT_HELD);
		arrive();
		expect_nothing();
	}
	ck_assert_uint_eq(relay.counters.probes, 0);
}
END_TEST

START_TEST(no_probe_goes_without_a_link)
{
	put(1, 0);
	publish_and_confirm(1, 1);
	relay_lost(&relay);
	pass(3600 * SEC_US);
	expect_nothing();
	relay_open(&relay);
	expect_nothing();
	pass(40 * SEC_US);
	expect_fetch_and_publish(1);
}
END_TEST

/* ---- hostile and foreign receipts ---- */

START_TEST(a_receipt_of_another_epoch_ends_nothing)
{
	put(1, 0);
	publish_and_confirm(1, 1);
	say(1, 1);
	of(1, 1, RECEIPT_DONE);
	receipt.epoch = EPOCH + 1;
	arrive();
	expect_nothing();
	ck_assert_uint_eq(relay.counters.strangers, 1);
}
END_TEST

START_TEST(what_never_went_cannot_have_ended)
{
	put(1, 5);
	put(2, 5);
	expect_publish(1);
	confirm(1);
	relay_lost(&relay);
	say(1, RECEIPT_MAX_NUMBER);
	of(1, RECEIPT_MAX_NUMBER, RECEIPT_DONE);
	arrive();
	expect_remove(1, 1, RECEIPT_DONE);
	expect_nothing();
	relay_open(&relay);
	expect_publish(2);
	confirm(2);
	ck_assert_uint_eq(relay.seen_turn, 1); /* no further than we have come */
}
END_TEST

/* ---- the outbox ---- */

static void load(uint64_t from, uint64_t through)
{
	for (uint64_t seq = from; seq <= through; seq++)
		relay_load(&relay, row_of(seq, 0));
}

START_TEST(what_is_on_disk_is_read_in_pages)
{
	config.ahead_rows = 8;
	begin(20);
	relay_open(&relay);
	must_order(RELAY_LOAD);
	ck_assert_uint_eq(order.after_seq, 0);
	ck_assert_uint_eq(order.through_seq, 20);
	ck_assert_uint_eq(order.max_rows, 8);
	expect_nothing();
	ck_assert(!relay_put(&relay, row_of(21, 0))); /* it comes with its page */
	load(1, 8);
	relay_loaded(&relay, 8);
	publish_and_confirm(1, 4);
	expect_publish(5);
	expect_publish(6);
	expect_publish(7);
	expect_publish(8);
	must_order(RELAY_LOAD);
	ck_assert_uint_eq(order.after_seq, 8);
	ck_assert_uint_eq(order.through_seq, 21);
	load(9, 10);
	relay_loaded(&relay, 21); /* the others are parked */
	expect_publish(9);
	expect_publish(10);
	expect_nothing();
	put(22, 0);
	expect_publish(22);
}
END_TEST

START_TEST(a_page_that_cannot_be_read_is_asked_for_again)
{
	begin(3);
	must_order(RELAY_LOAD);
	relay_load_failed(&relay);
	expect_nothing();
	ck_assert_uint_gt(relay_wake_us(&relay), now_us);
	pass(2 * SEC_US);
	must_order(RELAY_LOAD);
	relay_loaded(&relay, 3);
	expect_nothing();
}
END_TEST

START_TEST(no_more_is_read_ahead_than_rows_and_bytes_allow)
{
	config.ahead_bytes = 10 * BYTES;
	begin(0);
	for (uint64_t seq = 1; seq <= 10; seq++)
		put(seq, 0);
	ck_assert(!relay_put(&relay, row_of(11, 0)));
	ck_assert(!relay_put(&relay, row_of(12, 0)));
	expect_nothing();
	relay_open(&relay);
	publish_and_confirm(1, 4);
	expect_publish(5);
	confirm(5);
	expect_publish(6);
	expect_publish(7);
	expect_publish(8);
	expect_publish(9);
	expect_publish(10);
	must_order(RELAY_LOAD);
	ck_assert_uint_eq(order.after_seq, 10);
	ck_assert_uint_eq(order.through_seq, 12);
	ck_assert_uint_le(order.max_bytes, 5 * BYTES);
	relay_load_failed(&relay);
}
END_TEST

START_TEST(beyond_so_many_without_a_receipt_nothing_new_goes)
{
	config.unreceipted = 3;
	begin(0);
	relay_open(&relay);
	for (uint64_t seq = 1; seq <= 5; seq++)
		put(seq, 0);
	publish_and_confirm(1, 3);
	expect_nothing();
	say(1, 3);
	of(2, 2, RECEIPT_DONE);
	arrive();
	expect_remove(2, 1, RECEIPT_DONE);
	/* What is lost goes first: it has been let in already. */
	expect_fetch_and_publish(1);
	expect_fetch_and_publish(3);
	expect_publish(4);
	expect_nothing();
}
END_TEST

START_TEST(a_row_that_is_gone_from_disk_is_gone)
{
	put(1, 5);
	put(2, 5);
	publish_and_confirm(1, 2);
	say(1, 2);
	arrive();
	must_order(RELAY_FETCH);
	relay_vanished(&relay, order.row);
	must_order(RELAY_FETCH);
	relay_fetched(&relay, order.row);
	expect_publish_behind(2, 0);
}
END_TEST

START_TEST(a_body_that_cannot_be_read_is_asked_for_again)
{
	put(1, 0);
	publish_and_confirm(1, 1);
	say(1, 1);
	arrive();
	must_order(RELAY_FETCH);
	relay_fetch_failed(&relay, order.row);
	expect_nothing();
	pass(2 * SEC_US);
	must_order(RELAY_FETCH);
	say(1, 1);
	of(1, 1, RECEIPT_DONE);
	arrive();
	expect_nothing();
	relay_fetched(&relay, order.row == NULL ? &rows[1] : order.row);
	expect_remove(1, 1, RECEIPT_DONE);
}
END_TEST

START_TEST(what_cannot_be_published_is_parked_and_its_followers_go)
{
	put(1, 5);
	put(2, 5);
	expect_publish(1);
	relay_unfit(&relay, &rows[1], RECEIPT_TOO_LARGE);
	must_order(RELAY_PARK);
	ck_assert_int_eq(order.outcome, RECEIPT_TOO_LARGE);
	expect_publish_behind(2, 0);
	ck_assert_uint_eq(relay.counters.parked, 1);
}
END_TEST

START_TEST(what_did_not_go_out_at_all_goes_next_in_a_moment)
{
	put(1, 0);
	put(2, 0);
	expect_publish(1);
	relay_unsent(&relay, &rows[1]);
	expect_nothing(); /* or its owner would be asked again and again at once */
	pass(relay_wake_us(&relay) - now_us);
	expect_publish(1);
}
END_TEST

/* ---- ttl ---- */

START_TEST(what_nobody_can_have_seen_expires_here)
{
	relay_lost(&relay);
	row_of(1, 5)->expires_unix_us = WALL_US + now_us + 10 * SEC_US;
	ck_assert(relay_put(&relay, &rows[1]));
	put(2, 5);
	expect_nothing();
	ck_assert_uint_eq(relay_wake_us(&relay), now_us + 10 * SEC_US);
	pass(10 * SEC_US);
	must_order(RELAY_EXPIRE);
	ck_assert_uint_eq(order.row->seq, 1);
	expect_nothing();
	relay_open(&relay);
	expect_publish_behind(2, 0);
	ck_assert_uint_eq(relay.counters.expired, 1);
}
END_TEST

START_TEST(what_somebody_may_have_seen_is_judged_by_him)
{
	row_of(1, 0)->expires_unix_us = WALL_US + now_us + 10 * SEC_US;
	ck_assert(relay_put(&relay, &rows[1]));
	expect_publish(1);
	relay_lost(&relay);
	relay_unsure(&relay, &rows[1]);
	pass(60 * SEC_US);
	expect_nothing();
	relay_open(&relay);
	expect_publish(1);
	confirm(1);
	say(1, 2);
	of(1, 1, RECEIPT_EXPIRED);
	arrive();
	expect_remove(1, 1, RECEIPT_EXPIRED);

	/* From before a restart: it may have been published then. */
	begin(1);
	must_order(RELAY_LOAD);
	row_of(1, 0)->expires_unix_us = WALL_US;
	relay_load(&relay, &rows[1]);
	relay_loaded(&relay, 1);
	expect_nothing();
	relay_open(&relay);
	expect_publish(1);
}
END_TEST

/* ---- calls come first ---- */

START_TEST(the_window_narrows_while_calls_are_slow_and_widens_again)
{
	relay_calls_slow(&relay);
	ck_assert_uint_eq(relay.pace.window, config.window / 2);
	relay_calls_slow(&relay); /* the same moment */
	ck_assert_uint_eq(relay.pace.window, config.window / 2);
	for (int i = 0; i < 20; i++) {
		pass(100 * MS_US);
		relay_calls_slow(&relay);
	}
	ck_assert_uint_eq(relay.pace.window, 1);
	for (uint64_t seq = 1; seq <= 1000; seq++)
		put(seq, 0);
	publish_and_confirm(1, 10);
	ck_assert_uint_eq(relay.pace.window, 1);
	relay_calls_fast(&relay);
	publish_and_confirm(11, 1000);
	ck_assert_uint_gt(relay.pace.window, 20);
	ck_assert_uint_le(relay.pace.window, config.window);
}
END_TEST

START_TEST(a_thousand_rows_due_together_are_woken_in_portions)
{
	for (uint64_t seq = 1; seq <= 3000; seq++) {
		if (relay.waiting > 0)
			publish_and_confirm(seq - relay.waiting, seq - 1);
		put(seq, 0);
	}
	publish_and_confirm(3000, 3000);
	say(3001, 3001);
	receipt.turn_from = receipt.turn_through = RECEIPT_MAX_NUMBER;
	arrive();
	ck_assert_uint_eq(relay.at_border, 3000);
	for (int i = 0; i < 2; i++) {
		pass(20 * SEC_US);
		relay_alive(&relay);
	}
	ck_assert_uint_lt(relay.waiting, 3000);
	ck_assert_uint_eq(relay_wake_us(&relay), now_us);
	for (int i = 0; i < 3; i++)
		pass(0);
	ck_assert_uint_eq(relay.at_border, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message_relay");
	TCase *tc = tcase_create("relay");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_row_goes_and_ends_by_its_receipt_not_by_its_confirm);
	tcase_add_test(tc, a_receipt_may_be_faster_than_the_confirm);
	tcase_add_test(tc, rows_that_end_together_leave_together);
	tcase_add_test(tc, no_more_are_on_their_way_than_the_window_allows);
	tcase_add_test(tc, nothing_goes_without_a_link_or_into_an_alarm);
	tcase_add_test(tc, one_unconfirmed_at_a_time_per_key_others_go_on);
	tcase_add_test(tc, a_follower_names_the_one_before_it_until_that_has_ended);
	tcase_add_test(tc, a_refused_row_keeps_its_place_before_its_followers);
	tcase_add_test(tc, a_row_refused_again_and_again_lets_others_try);
	tcase_add_test(tc, a_full_queue_is_asked_less_and_less_often);
	tcase_add_test(tc, what_has_no_queue_is_kept_and_tried_again);
	tcase_add_test(
		tc, what_was_unconfirmed_when_the_link_broke_goes_again_first_and_in_order);
	tcase_add_test(tc, what_was_overtaken_on_the_way_goes_again_at_once);
	tcase_add_test(tc, a_receipt_speaks_only_of_its_rows);
	tcase_add_test(tc, of_what_went_before_it_began_a_receipt_says_nothing);
	tcase_add_test(tc, what_was_held_and_is_not_any_more_goes_again);
	tcase_add_test(tc, a_row_that_was_put_back_goes_again_behind_the_one_that_it_names);
	tcase_add_test(tc, while_the_other_side_is_away_what_it_held_waits);
	tcase_add_test(tc, a_row_that_is_lost_again_and_again_goes_less_and_less_often);
	tcase_add_test(tc, in_a_silence_one_row_is_sent_to_find_out);
	tcase_add_test(tc, while_it_comes_nearer_there_is_no_silence);
	tcase_add_test(tc, no_probe_goes_without_a_link);
	tcase_add_test(tc, a_receipt_of_another_epoch_ends_nothing);
	tcase_add_test(tc, what_never_went_cannot_have_ended);
	tcase_add_test(tc, what_is_on_disk_is_read_in_pages);
	tcase_add_test(tc, a_page_that_cannot_be_read_is_asked_for_again);
	tcase_add_test(tc, no_more_is_read_ahead_than_rows_and_bytes_allow);
	tcase_add_test(tc, beyond_so_many_without_a_receipt_nothing_new_goes);
	tcase_add_test(tc, a_row_that_is_gone_from_disk_is_gone);
	tcase_add_test(tc, a_body_that_cannot_be_read_is_asked_for_again);
	tcase_add_test(tc, what_cannot_be_published_is_parked_and_its_followers_go);
	tcase_add_test(tc, what_did_not_go_out_at_all_goes_next_in_a_moment);
	tcase_add_test(tc, what_nobody_can_have_seen_expires_here);
	tcase_add_test(tc, what_somebody_may_have_seen_is_judged_by_him);
	tcase_add_test(tc, the_window_narrows_while_calls_are_slow_and_widens_again);
	tcase_add_test(tc, a_thousand_rows_due_together_are_woken_in_portions);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
