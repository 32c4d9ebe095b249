/* The memory of replays: nothing passes twice, however small it is. */
#include "message/replay.h"

#include <stdlib.h>

#include "base/macro.h"
#include "unit/random.h"
#include "unit/unit.h"

#define SECOND_US UINT64_C(1000000)
#define NOW_US (UINT64_C(1780000000) * SECOND_US)

static struct replay replay;

static void setup(void)
{
	ck_assert_int_eq(replay_init(&replay, 1000, 0), ERR_OK);
}

static void teardown(void)
{
	replay_fini(&replay);
}

static void remake(uint32_t capacity, uint64_t horizon_unix_us)
{
	replay_fini(&replay);
	ck_assert_int_eq(replay_init(&replay, capacity, horizon_unix_us), ERR_OK);
}

/* The n-th message: sent n microseconds after NOW_US, fresh for 32 s. */
static struct replay_fact fact_of(uint64_t n)
{
	uint64_t state = n + 1;
	struct replay_fact fact = {
		.mark = next_random(&state),
		.sent_unix_us = NOW_US + n,
		.until_unix_us = NOW_US + n + 32 * SECOND_US,
	};

	for (size_t i = 0; i < ID_BYTES; i++)
		fact.id.byte[i] = (uint8_t)(next_random(&state) >> 24);
	return fact;
}

static void expect_meet(uint64_t n, enum replay_verdict verdict)
{
	struct replay_fact fact = fact_of(n);

	ck_assert_int_eq(replay_meet(&replay, &fact, NOW_US + n), verdict);
}

START_TEST(a_hundred_thousand_replays_are_all_known)
{
	enum { COUNT = 100000 };

	remake(COUNT, 0);
	for (uint64_t n = 0; n < COUNT; n++)
		expect_meet(n, REPLAY_FIRST);
	for (uint64_t n = 0; n < COUNT; n++)
		expect_meet(n, REPLAY_AGAIN);
	ck_assert_uint_eq(replay.counters.again, COUNT);
	ck_assert_uint_eq(replay.counters.forgotten, 0);
}
END_TEST

START_TEST(an_id_with_other_content_is_told_apart)
{
	struct replay_fact fact = fact_of(1);

	expect_meet(1, REPLAY_FIRST);
	fact.mark ^= 1;
	ck_assert_int_eq(replay_meet(&replay, &fact, NOW_US), REPLAY_OTHER);
	expect_meet(1, REPLAY_AGAIN);
	fact.id.byte[15] ^= 1;
	ck_assert_int_eq(replay_meet(&replay, &fact, NOW_US), REPLAY_FIRST);
	ck_assert_uint_eq(replay.counters.other, 1);
}
END_TEST

START_TEST(a_sender_who_repeats_himself_is_no_copy)
{
	struct replay_fact first = fact_of(1);
	struct replay_fact second = first;

	second.sent_unix_us += 500;
	second.until_unix_us += 500;
	ck_assert_int_eq(replay_look(&replay, &first), REPLAY_FIRST);
	ck_assert_int_eq(replay_meet(&replay, &first, NOW_US), REPLAY_FIRST);
	ck_assert_int_eq(replay_look(&replay, &second), REPLAY_ANEW);
	ck_assert_int_eq(replay_look(&replay, &second), REPLAY_ANEW);
	ck_assert_int_eq(replay_meet(&replay, &second, NOW_US), REPLAY_ANEW);
	/* Now both are known, whichever comes again, and in whatever order. */
	ck_assert_int_eq(replay_meet(&replay, &first, NOW_US), REPLAY_AGAIN);
	ck_assert_int_eq(replay_meet(&replay, &second, NOW_US), REPLAY_AGAIN);
	ck_assert_int_eq(replay_look(&replay, &first), REPLAY_AGAIN);
	second.mark ^= 1;
	second.sent_unix_us++;
	ck_assert_int_eq(replay_look(&replay, &second), REPLAY_OTHER);
	ck_assert_uint_eq(replay.counters.anew, 1);
	ck_assert_uint_eq(replay.counters.again, 2);
	ck_assert_uint_eq(replay.counters.other, 0); /* only looked at */
}
END_TEST

START_TEST(what_had_to_be_forgotten_still_does_not_pass)
{
	enum { COUNT = 5000 };

	for (uint64_t n = 0; n < COUNT; n++)
		expect_meet(n, REPLAY_FIRST);
	ck_assert_uint_eq(replay.counters.forgotten, COUNT - 1000);
	for (uint64_t n = 0; n < COUNT; n++)
		expect_meet(n, n < COUNT - 1000 ? REPLAY_TOO_OLD : REPLAY_AGAIN);
	expect_meet(COUNT, REPLAY_FIRST); /* the new ones go on */
	ck_assert_uint_eq(replay.counters.too_old, COUNT - 1000);
}
END_TEST

START_TEST(what_age_refuses_is_forgotten_without_a_price)
{
	struct replay_fact late;

	for (uint64_t n = 0; n < 1000; n++)
		expect_meet(n, REPLAY_FIRST);
	/* A minute later another thousand comes; one of them was under way for long. */
	for (uint64_t n = 0; n < 1000; n++) {
		struct replay_fact fact = fact_of(60 * SECOND_US + n);

		ck_assert_int_eq(
			replay_meet(&replay, &fact, NOW_US + 61 * SECOND_US), REPLAY_FIRST);
	}
	ck_assert_uint_eq(replay.counters.forgotten, 0);
	ck_assert_uint_eq(replay.horizon_unix_us, 0);
	late = fact_of(30 * SECOND_US);
	ck_assert_int_eq(replay_meet(&replay, &late, NOW_US + 61 * SECOND_US), REPLAY_FIRST);
}
END_TEST

START_TEST(a_message_is_fresh_until_its_last_moment)
{
	struct replay_fact first = fact_of(1);
	struct replay_fact second = fact_of(2);
	struct replay_fact third = fact_of(3);

	remake(1, 0);
	ck_assert_int_eq(replay_meet(&replay, &first, NOW_US), REPLAY_FIRST);
	ck_assert_int_eq(replay_meet(&replay, &second, first.until_unix_us), REPLAY_FIRST);
	ck_assert_uint_eq(replay.counters.forgotten, 1);
	ck_assert_uint_eq(replay.horizon_unix_us, first.sent_unix_us);
	ck_assert_int_eq(replay_meet(&replay, &third, second.until_unix_us + 1), REPLAY_FIRST);
	ck_assert_uint_eq(replay.counters.forgotten, 1);
}
END_TEST

START_TEST(nothing_from_before_the_horizon_is_believed)
{
	remake(10, NOW_US + 5);
	expect_meet(4, REPLAY_TOO_OLD);
	expect_meet(5, REPLAY_TOO_OLD);
	expect_meet(6, REPLAY_FIRST);
}
END_TEST

START_TEST(a_memory_of_one_works)
{
	remake(1, 0);
	expect_meet(1, REPLAY_FIRST);
	expect_meet(1, REPLAY_AGAIN);
	expect_meet(2, REPLAY_FIRST);
	expect_meet(1, REPLAY_TOO_OLD);
	expect_meet(2, REPLAY_AGAIN);
}
END_TEST

/* Against the same rules over a plain list; ids from a small world, so that they repeat. */
START_TEST(it_agrees_with_a_plain_list)
{
	enum { CAPACITY = 37, IDS = 120, STEPS = 60000 };
	static struct replay_fact list[STEPS];
	size_t oldest = 0;
	size_t count = 0;
	uint64_t horizon_us = 0;
	uint64_t state = 42 + (uint64_t)_i;
	uint64_t now_us = NOW_US;

	remake(CAPACITY, 0);
	for (int step = 0; step < STEPS; step++) {
		struct replay_fact fact = {
			.mark = next_random(&state) % 2,
			.sent_unix_us = now_us - next_random(&state) % 400,
		};
		enum replay_verdict wanted = REPLAY_FIRST;

		fact.id.byte[_i % 2 == 0 ? 0 : 15] = (uint8_t)(next_random(&state) % IDS);
		fact.until_unix_us = fact.sent_unix_us + 500 + next_random(&state) % 50;
		now_us += next_random(&state) % 8;
		if (fact.sent_unix_us <= horizon_us)
			wanted = REPLAY_TOO_OLD;
		for (size_t i = oldest; i < count; i++) {
			if (id_compare(&list[i].id, &fact.id) != 0)
				continue;
			wanted = list[i].mark != fact.mark                  ? REPLAY_OTHER
				 : list[i].sent_unix_us < fact.sent_unix_us ? REPLAY_ANEW
									    : REPLAY_AGAIN;
			if (wanted != REPLAY_ANEW)
				continue;
			list[i].sent_unix_us = fact.sent_unix_us;
			if (list[i].until_unix_us < fact.until_unix_us)
				list[i].until_unix_us = fact.until_unix_us;
		}
		if (wanted == REPLAY_FIRST) {
			if (count - oldest == CAPACITY) {
				const struct replay_fact *gone = &list[oldest++];

				if (gone->until_unix_us >= now_us &&
					gone->sent_unix_us > horizon_us)
					horizon_us = gone->sent_unix_us;
			}
			list[count++] = fact;
		}
		ck_assert_int_eq(replay_meet(&replay, &fact, now_us), wanted);
		ck_assert_uint_eq(replay.count, count - oldest);
		ck_assert_uint_eq(replay.horizon_unix_us, horizon_us);
	}
	ck_assert_uint_gt(replay.counters.forgotten, 0);
	ck_assert_uint_gt(replay.counters.too_old, 0);
	ck_assert_uint_gt(replay.counters.anew, 0);
}
END_TEST

START_TEST(a_memory_of_nothing_is_our_bug)
{
	struct replay none;

	(void)!replay_init(&none, 0, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message/replay");
	TCase *tc = tcase_create("replay");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_hundred_thousand_replays_are_all_known);
	tcase_add_test(tc, an_id_with_other_content_is_told_apart);
	tcase_add_test(tc, a_sender_who_repeats_himself_is_no_copy);
	tcase_add_test(tc, what_had_to_be_forgotten_still_does_not_pass);
	tcase_add_test(tc, what_age_refuses_is_forgotten_without_a_price);
	tcase_add_test(tc, a_message_is_fresh_until_its_last_moment);
	tcase_add_test(tc, nothing_from_before_the_horizon_is_believed);
	tcase_add_test(tc, a_memory_of_one_works);
	tcase_add_loop_test(tc, it_agrees_with_a_plain_list, 0, 4);
	tcase_add_test_raise_signal(tc, a_memory_of_nothing_is_our_bug, SIGABRT);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
