/* The histogram against a sorted list of the same values. */
#include "base/hist.h"
#include "base/macro.h"
#include "unit/random.h"
#include "unit/unit.h"

enum { COUNT = 20000 };

static int compare_u64(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

START_TEST(an_empty_histogram_says_zero)
{
	struct hist h;

	hist_init(&h);
	ck_assert_uint_eq(hist_quantile_us(&h, 0.5), 0);
	ck_assert_uint_eq(hist_count_up_to(&h, UINT64_MAX), 0);
}
END_TEST

START_TEST(small_values_are_exact)
{
	struct hist h;

	hist_init(&h);
	for (uint64_t us = 0; us < 64; us++)
		hist_add(&h, us);
	for (uint64_t us = 0; us < 64; us++)
		ck_assert_uint_eq(hist_count_up_to(&h, us), us + 1);
	ck_assert_uint_eq(hist_quantile_us(&h, 0.0), 0);
	ck_assert_uint_eq(hist_quantile_us(&h, 0.5), 31);
	ck_assert_uint_eq(hist_quantile_us(&h, 1.0), 63);
}
END_TEST

/* Each value alone: its slot's top is not below it and at most 1/32 above. */
START_TEST(no_value_is_off_by_more_than_its_slot)
{
	for (uint64_t us = 1; us < UINT64_C(4000000000); us += us / 97 + 1) {
		struct hist h;

		hist_init(&h);
		hist_add(&h, us);
		hist_add(
			&h, UINT64_C(1) << 40); /* so that the quantile is not cut at the max */
		uint64_t seen_us = hist_quantile_us(&h, 0.25);

		ck_assert_uint_ge(seen_us, us);
		ck_assert_uint_le(seen_us, us + us / 32);
	}
}
END_TEST

START_TEST(quantiles_are_within_three_percent_of_the_sorted_values)
{
	static const double parts[] = { 0.01, 0.1, 0.5, 0.9, 0.99, 0.999 };
	uint64_t *values = calloc(COUNT, sizeof(*values));
	uint64_t state = UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)_i;
	struct hist h;

	ck_assert_ptr_nonnull(values);
	hist_init(&h);
	for (int i = 0; i < COUNT; i++) {
		/* spread over all sizes up to 2^_i us */
		int shift = 64 - _i + (int)(next_random(&state) % 8);

		values[i] = next_random(&state) >> shift;
		hist_add(&h, values[i]);
	}
	qsort(values, COUNT, sizeof(*values), compare_u64);
	ck_assert_uint_eq(h.count, COUNT);
	ck_assert_uint_eq(h.max_us, values[COUNT - 1]);
	for (size_t p = 0; p < ARRAY_COUNT(parts); p++) {
		uint64_t true_us = values[(size_t)(parts[p] * (double)COUNT + 0.5) - 1];
		uint64_t seen_us = hist_quantile_us(&h, parts[p]);

		ck_assert_uint_ge(seen_us, true_us);
		ck_assert_uint_le(seen_us, true_us + true_us / 32 + 1);
	}
	free(values);
}
END_TEST

START_TEST(what_is_too_long_is_counted_at_the_end)
{
	struct hist h;

	hist_init(&h);
	hist_add(&h, UINT64_MAX / 4);
	hist_add(&h, 10);
	ck_assert_uint_eq(h.count, 2);
	ck_assert_uint_eq(h.max_us, UINT64_MAX / 4);
	ck_assert_uint_eq(hist_quantile_us(&h, 1.0), UINT64_MAX / 4);
	ck_assert_uint_eq(hist_count_up_to(&h, 1000000), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/hist");
	TCase *tc = tcase_create("hist");

	tcase_add_test(tc, an_empty_histogram_says_zero);
	tcase_add_test(tc, small_values_are_exact);
	tcase_add_test(tc, no_value_is_off_by_more_than_its_slot);
	tcase_add_loop_test(tc, quantiles_are_within_three_percent_of_the_sorted_values, 8, 32);
	tcase_add_test(tc, what_is_too_long_is_counted_at_the_end);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
