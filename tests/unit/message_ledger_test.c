/* The ledger: what was taken, and when the sender hears of it. */
#include "message/ledger.h"

#include <stdlib.h>

#include "unit/random.h"
#include "unit/unit.h"

enum { EPOCH = 7, OTHER_EPOCH = 8 };

#define MS_US UINT64_C(1000)

static struct ledger ledger;
static struct receipt told;
static uint64_t now_us;

static void setup(void)
{
	now_us = 1000 * MS_US;
	ledger_init(&ledger, &ledger_defaults);
}

static void teardown(void)
{
	ledger_fini(&ledger);
}

static void remake(size_t max_runs)
{
	struct ledger_config config = ledger_defaults;

	config.max_runs = max_runs;
	ledger_fini(&ledger);
	ledger_init(&ledger, &config);
}

static void meet(uint64_t turn)
{
	ledger_meet(&ledger, EPOCH, turn, now_us);
}

static enum err hold_as(struct ledger_mark *mark, uint64_t epoch, uint64_t seq)
{
	return ledger_hold(&ledger, mark, epoch, seq, now_us);
}

static void hold(uint64_t seq)
{
	struct ledger_mark mark = { 0 };

	ck_assert_int_eq(hold_as(&mark, EPOCH, seq), ERR_OK);
}

static void end_row(uint64_t seq)
{
	ck_assert_int_eq(ledger_end(&ledger, EPOCH, seq, RECEIPT_DONE, now_us), ERR_OK);
}

static void must_tell(void)
{
	ck_assert(ledger_next(&ledger, now_us, &told));
	ck_assert_uint_eq(told.epoch, EPOCH);
}

static void expect_silence(void)
{
	struct receipt none;

	ck_assert(!ledger_next(&ledger, now_us, &none));
}

static void expect_run(size_t i, uint64_t first, uint64_t last, enum receipt_state state)
{
	ck_assert_uint_lt(i, told.count);
	ck_assert_uint_eq(told.runs[i].first, first);
	ck_assert_uint_eq(told.runs[i].last, last);
	ck_assert_int_eq(told.runs[i].state, state);
}

START_TEST(an_outcome_is_told_after_a_while)
{
	meet(1);
	hold(1);
	expect_silence();
	end_row(1);
	expect_silence();
	ck_assert_uint_eq(ledger_wake_us(&ledger), now_us + ledger_defaults.after_us);
	now_us += ledger_defaults.after_us;
	must_tell();
	ck_assert_uint_eq(told.turn_from, 1);
	ck_assert_uint_eq(told.turn_through, 1);
	ck_assert_uint_eq(told.seq_from, 1);
	ck_assert_uint_eq(told.seq_through, RECEIPT_MAX_NUMBER);
	ck_assert_uint_eq(told.count, 1);
	expect_run(0, 1, 1, RECEIPT_DONE);
	expect_silence();
	ck_assert_uint_eq(ledger_wake_us(&ledger), UINT64_MAX);
}
END_TEST

START_TEST(so_many_outcomes_are_told_at_once)
{
	now_us += 10 * MS_US;
	for (uint64_t seq = 1; seq <= ledger_defaults.outcomes; seq++) {
		meet(seq);
		hold(seq);
		end_row(seq);
	}
	now_us += ledger_defaults.apart_us;
	must_tell();
	ck_assert_uint_eq(told.count, 1);
	expect_run(0, 1, ledger_defaults.outcomes, RECEIPT_DONE);
}
END_TEST

START_TEST(a_gap_is_told_at_once_but_never_without_pause)
{
	meet(1);
	hold(1);
	now_us += ledger_defaults.apart_us;
	meet(3);
	hold(3);
	must_tell();
	ck_assert_uint_eq(ledger.counters.gaps, 1);
	ck_assert_uint_eq(told.turn_through, 3);
	expect_run(0, 1, 1, RECEIPT_HELD);
	expect_run(1, 3, 3, RECEIPT_HELD);
	meet(5);
	expect_silence();
	ck_assert_uint_eq(ledger_wake_us(&ledger), now_us + ledger_defaults.apart_us);
	now_us += ledger_defaults.apart_us;
	must_tell();
	ck_assert_uint_eq(told.turn_through, 5);
}
END_TEST

START_TEST(what_is_held_is_told_again_and_again)
{
	meet(1);
	hold(1);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(ledger_wake_us(&ledger), now_us + ledger_defaults.refresh_us);
		now_us += ledger_defaults.refresh_us;
		must_tell();
		expect_run(0, 1, 1, RECEIPT_HELD);
		expect_silence();
	}
}
END_TEST

START_TEST(a_hurry_is_told_soon)
{
	meet(1);
	ledger_hurry(&ledger, EPOCH, now_us);
	now_us += ledger_defaults.apart_us;
	must_tell();
	ck_assert_uint_eq(told.count, 0);
	ck_assert_uint_eq(told.turn_through, 1);
}
END_TEST

START_TEST(after_a_restart_nothing_is_held_and_nothing_claimed_of_before)
{
	meet(1);
	hold(1);
	meet(2);
	hold(2);
	end_row(1);
	ledger_restart(&ledger);
	now_us += ledger_defaults.after_us;
	must_tell();
	ck_assert_uint_eq(told.turn_from, 0);
	ck_assert_uint_eq(told.turn_through, 0);
	ck_assert_uint_eq(told.count, 1);
	expect_run(0, 1, 1, RECEIPT_DONE);
	meet(9);
	meet(10);
	end_row(10);
	now_us += ledger_defaults.after_us;
	must_tell();
	ck_assert_uint_eq(told.turn_from, 9);
	ck_assert_uint_eq(told.turn_through, 10);
}
END_TEST

START_TEST(an_old_delivery_does_not_turn_the_count_back)
{
	meet(5);
	meet(6);
	meet(5);
	end_row(1);
	now_us += ledger_defaults.after_us;
	must_tell();
	ck_assert_uint_eq(told.turn_from, 5);
	ck_assert_uint_eq(told.turn_through, 6);
	ck_assert_uint_eq(ledger.counters.gaps, 0);
}
END_TEST

START_TEST(numbers_that_cannot_be_are_refused)
{
	struct ledger_mark mark = { 0 };

	ck_assert_int_eq(hold_as(&mark, EPOCH, 0), ERR_INPUT);
	ck_assert_int_eq(hold_as(&mark, EPOCH, RECEIPT_MAX_NUMBER), ERR_INPUT);
	ck_assert_uint_eq(mark.as[0].epoch, 0);
	ck_assert_int_eq(
		ledger_end(&ledger, EPOCH, UINT64_MAX, RECEIPT_DONE, now_us), ERR_INPUT);
	meet(0);
	meet(UINT64_MAX);
	hold(RECEIPT_MAX_NUMBER - 1);
	ledger_hurry(&ledger, EPOCH, now_us);
	now_us += ledger_defaults.apart_us;
	must_tell();
	ck_assert_uint_eq(told.turn_through, 0);
	expect_run(0, RECEIPT_MAX_NUMBER - 1, RECEIPT_MAX_NUMBER - 1, RECEIPT_HELD);
	expect_silence();
}
END_TEST

START_TEST(lives_of_a_sender_are_told_apart_and_the_oldest_forgotten)
{
	struct ledger_mark mark = { 0 };

	hold(1);
	ck_assert(ledger_knows(&ledger, EPOCH, 1));
	ck_assert(!ledger_knows(&ledger, OTHER_EPOCH, 1));
	for (uint64_t epoch = 100; epoch < 100 + LEDGER_EPOCHS; epoch++)
		ck_assert_int_eq(hold_as(&mark, epoch, 1), ERR_OK);
	ck_assert(!ledger_knows(&ledger, EPOCH, 1));
	ck_assert(ledger_knows(&ledger, 100, 1));
}
END_TEST

START_TEST(every_life_that_was_told_it_is_held_hears_of_its_end)
{
	struct ledger_mark mark = { 0 };
	unsigned lives = 0;

	/* More than are known: the oldest ones are not there any more to be told. */
	for (uint64_t epoch = 1; epoch <= 3 * LEDGER_EPOCHS; epoch++)
		ck_assert_int_eq(hold_as(&mark, epoch, epoch), ERR_OK);
	ck_assert_int_eq(hold_as(&mark, 3 * LEDGER_EPOCHS, 3 * LEDGER_EPOCHS), ERR_OK);
	ledger_end_held(&ledger, &mark, RECEIPT_DEAD, now_us);
	now_us += ledger_defaults.after_us;
	while (ledger_next(&ledger, now_us, &told)) {
		lives++;
		expect_run(0, told.epoch, told.epoch, RECEIPT_DEAD);
	}
	ck_assert_uint_eq(lives, LEDGER_EPOCHS);
	ck_assert_uint_eq(mark.as[0].epoch, 0);
}
END_TEST

START_TEST(what_is_let_go_was_never_there)
{
	struct ledger_mark mark = { 0 };

	hold(1);
	ck_assert_int_eq(hold_as(&mark, EPOCH, 2), ERR_OK);
	hold(3);
	ledger_let_go(&ledger, &mark);
	ck_assert(!ledger_knows(&ledger, EPOCH, 2));
	ck_assert(ledger_knows(&ledger, EPOCH, 1));
	ck_assert(ledger_knows(&ledger, EPOCH, 3));
	ck_assert_uint_eq(mark.as[0].epoch, 0);
}
END_TEST

START_TEST(what_was_told_gives_way_and_nothing_is_claimed_of_it)
{
	remake(8);
	for (uint64_t seq = 2; seq <= 12; seq += 2)
		end_row(seq);
	now_us += ledger_defaults.after_us;
	must_tell();
	expect_silence();
	end_row(14);
	end_row(16);
	ck_assert_uint_gt(ledger.counters.forgotten, 0);
	ck_assert(!ledger_knows(&ledger, EPOCH, 2));
	now_us += ledger_defaults.after_us;
	must_tell();
	ck_assert_uint_gt(told.seq_from, 2);
	expect_silence();

	/* Below that there are rows of which it knows nothing: each is spoken of alone. */
	end_row(1);
	now_us += ledger_defaults.after_us;
	must_tell();
	ck_assert_uint_eq(told.seq_from, 1);
	ck_assert_uint_eq(told.seq_through, 1);
	must_tell();
	ck_assert_uint_gt(told.seq_from, 2);
	ck_assert_uint_eq(told.seq_through, RECEIPT_MAX_NUMBER);
	expect_silence();
}
END_TEST

START_TEST(what_is_held_never_gives_way)
{
	remake(LEDGER_MIN_RUNS);
	hold(2);
	hold(4);
	hold(6);
	struct ledger_mark mark = { 0 };

	ck_assert_int_eq(hold_as(&mark, EPOCH, 8), ERR_FULL);
	ck_assert(ledger_knows(&ledger, EPOCH, 2));
	ck_assert(ledger_knows(&ledger, EPOCH, 6));
}
END_TEST

/* Random facts against a plain row of states; what is told must be what is, all of it at the
 * end, and nothing may be claimed that is not. */
enum { ROWS = 500, STEPS = 4000, FEW_RUNS = 64 };

static int plain[ROWS + 1]; /* -1: unknown */

static void expect_told_is_true(bool *covered)
{
	size_t at = 0;

	for (uint64_t seq = told.seq_from; seq <= told.seq_through && seq <= ROWS; seq++) {
		while (at < told.count && told.runs[at].last < seq)
			at++;
		int said = at < told.count && told.runs[at].first <= seq
				   ? (int)told.runs[at].state
				   : -1;

		ck_assert_msg(said == plain[seq], "row %llu: %d for %d",
			(unsigned long long)seq, said, plain[seq]);
		covered[seq] = true;
	}
}

START_TEST(what_is_told_is_what_is)
{
	uint64_t state = 0x9e3779b97f4a7c15u + (uint64_t)_i;
	bool covered[ROWS + 1] = { false };
	bool is_small = _i >= 5;

	remake(is_small ? FEW_RUNS : LEDGER_MAX_RUNS);
	for (int i = 0; i <= ROWS; i++)
		plain[i] = -1;
	for (unsigned step = 0; step < STEPS; step++) {
		uint64_t seq = next_random(&state) % ROWS + 1;
		unsigned dice = next_random(&state) >> 40 & 7;

		now_us += next_random(&state) >> 50;
		enum receipt_state s = dice < 3    ? RECEIPT_HELD
				       : dice == 7 ? RECEIPT_REFUSED
						   : RECEIPT_DONE;
		struct ledger_mark mark = { 0 };
		enum err err = s == RECEIPT_HELD ? hold_as(&mark, EPOCH, seq)
						 : ledger_end(&ledger, EPOCH, seq, s, now_us);

		ck_assert(err == ERR_OK || (err == ERR_FULL && is_small));
		if (err == ERR_OK)
			plain[seq] = (int)s;
		while (ledger_next(&ledger, now_us, &told))
			expect_told_is_true(covered);
	}
	if (is_small) {
		ck_assert_uint_gt(ledger.counters.forgotten, 0);
		return;
	}
	for (int i = 0; i <= ROWS; i++)
		covered[i] = false;
	now_us += ledger_defaults.refresh_us;
	while (ledger_next(&ledger, now_us, &told))
		expect_told_is_true(covered);
	for (int i = 1; i <= ROWS; i++)
		ck_assert_msg(covered[i], "row %d", i);
	ck_assert_uint_eq(ledger.counters.forgotten, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message_ledger");
	TCase *tc = tcase_create("ledger");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, an_outcome_is_told_after_a_while);
	tcase_add_test(tc, so_many_outcomes_are_told_at_once);
	tcase_add_test(tc, a_gap_is_told_at_once_but_never_without_pause);
	tcase_add_test(tc, what_is_held_is_told_again_and_again);
	tcase_add_test(tc, a_hurry_is_told_soon);
	tcase_add_test(tc, after_a_restart_nothing_is_held_and_nothing_claimed_of_before);
	tcase_add_test(tc, an_old_delivery_does_not_turn_the_count_back);
	tcase_add_test(tc, numbers_that_cannot_be_are_refused);
	tcase_add_test(tc, lives_of_a_sender_are_told_apart_and_the_oldest_forgotten);
	tcase_add_test(tc, every_life_that_was_told_it_is_held_hears_of_its_end);
	tcase_add_test(tc, what_is_let_go_was_never_there);
	tcase_add_test(tc, what_was_told_gives_way_and_nothing_is_claimed_of_it);
	tcase_add_test(tc, what_is_held_never_gives_way);
	tcase_add_loop_test(tc, what_is_told_is_what_is, 0, 10);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
