/* However many lines one host causes, the log grows slowly, and says how many it left out. */
#include "base/hush.h"

#include <stdio.h>

#include "unit/unit.h"

static struct hush h;
static const char *cause;

static unsigned count_allowed(const char *name, unsigned tries, uint64_t now_ms)
{
	unsigned allowed = 0;

	for (unsigned i = 0; i < tries; i++)
		allowed += hush_allows(&h, name, now_ms);
	return allowed;
}

static void setup(void)
{
	h = (struct hush){ 0 };
	cause = NULL;
}

START_TEST(a_few_lines_go_out_at_once_and_the_rest_is_counted)
{
	ck_assert_uint_eq(count_allowed("bad-json", HUSH_BURST, 5), HUSH_BURST);
	ck_assert_uint_eq(hush_take(&h, &cause), 0);
	ck_assert_uint_eq(count_allowed("bad-json", 100000, 5), 0);
	ck_assert_uint_eq(h.unsaid_count, 100000);
	ck_assert_uint_eq(hush_take(&h, &cause), 100000);
	ck_assert_str_eq(cause, "bad-json");
	ck_assert_uint_eq(hush_take(&h, &cause), 0);
	ck_assert_uint_eq(h.unsaid_count, 100000);
}
END_TEST

START_TEST(one_more_goes_out_now_and_then)
{
	count_allowed("bad-json", 100, 5);
	ck_assert_uint_eq(count_allowed("bad-json", 100, 5 + HUSH_LINE_EVERY_MS - 1), 0);
	ck_assert_uint_eq(count_allowed("bad-json", 100, 5 + HUSH_LINE_EVERY_MS), 1);
	ck_assert_uint_eq(count_allowed("bad-json", 100, 5 + 3 * HUSH_LINE_EVERY_MS), 2);
}
END_TEST

START_TEST(a_day_of_flood_is_a_few_thousand_lines)
{
	const uint64_t day_ms = 24 * 60 * 60 * 1000;
	unsigned allowed = 0;

	for (uint64_t now_ms = 0; now_ms < day_ms; now_ms += 100)
		allowed += count_allowed("bad-json", 3, now_ms);
	ck_assert_uint_le(allowed, HUSH_BURST + day_ms / HUSH_LINE_EVERY_MS);
	ck_assert_uint_eq(h.unsaid_count + allowed, 3 * day_ms / 100);
}
END_TEST

START_TEST(after_a_quiet_time_a_few_may_go_out_again_and_no_more)
{
	count_allowed("bad-json", 100, 5);
	ck_assert_uint_eq(count_allowed("bad-json", 100, UINT64_MAX / 2), HUSH_BURST);
}
END_TEST

START_TEST(a_clock_that_stands_still_gives_no_lines)
{
	count_allowed("bad-json", 100, 1000000);
	ck_assert_uint_eq(count_allowed("bad-json", 100, 1), 0);
}
END_TEST

START_TEST(each_cause_has_its_own_lines)
{
	ck_assert_uint_eq(count_allowed("bad-json", 100, 5), HUSH_BURST);
	ck_assert_uint_eq(count_allowed("bad-key", HUSH_BURST + 7, 5), HUSH_BURST);
	ck_assert_uint_eq(hush_take(&h, &cause), 100 - HUSH_BURST);
	ck_assert_str_eq(cause, "bad-json");
	ck_assert_uint_eq(hush_take(&h, &cause), 7);
	ck_assert_str_eq(cause, "bad-key");
}
END_TEST

START_TEST(causes_beyond_the_room_share_the_last_place)
{
	static char names[HUSH_CAUSES + 5][8];
	unsigned allowed = 0;

	for (unsigned i = 0; i < HUSH_CAUSES + 5; i++) {
		snprintf(names[i], sizeof(names[i]), "c%u", i);
		allowed += count_allowed(names[i], HUSH_BURST, 5);
	}
	ck_assert_uint_eq(allowed, HUSH_CAUSES * HUSH_BURST);
	ck_assert_uint_eq(h.unsaid_count, 5 * HUSH_BURST);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base_hush");
	TCase *tc = tcase_create("hush");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_few_lines_go_out_at_once_and_the_rest_is_counted);
	tcase_add_test(tc, one_more_goes_out_now_and_then);
	tcase_add_test(tc, a_day_of_flood_is_a_few_thousand_lines);
	tcase_add_test(tc, after_a_quiet_time_a_few_may_go_out_again_and_no_more);
	tcase_add_test(tc, a_clock_that_stands_still_gives_no_lines);
	tcase_add_test(tc, each_cause_has_its_own_lines);
	tcase_add_test(tc, causes_beyond_the_room_share_the_last_place);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
