/* Counters as Prometheus reads them. */
#include "daemon/metrics.h"

#include <math.h>

#include "base/macro.h"
#include "unit/unit.h"

static struct metrics metrics;
static struct buf shown;

static void setup(void)
{
	metrics_init(&metrics);
	buf_init(&shown, MIB(1));
}

static void teardown(void)
{
	metrics_fini(&metrics);
	metrics_fini(&metrics);
	buf_fini(&shown);
}

static const char *formatted(void)
{
	buf_clear(&shown);
	metrics_format(&metrics, &shown);
	buf_byte(&shown, '\0');
	ck_assert_int_eq(buf_status(&shown), ERR_OK);
	return shown.at;
}

static double half(void *arg)
{
	return *(double *)arg / 2;
}

START_TEST(counters_and_gauges_are_written_with_help_and_type)
{
	uint64_t calls = 3;
	uint64_t open = 7;
	double three = 3;

	metrics_counter(&metrics, "sallyport_calls_total", "Calls taken.", NULL, &calls);
	metrics_gauge_u64(&metrics, "sallyport_connections", "Open now.", NULL, &open);
	metrics_gauge(&metrics, "sallyport_age_seconds", "Age.", NULL, half, &three);
	ck_assert_int_eq(metrics_status(&metrics), ERR_OK);
	calls++; /* one add on a field is all that counting costs */
	ck_assert_str_eq(formatted(), "# HELP sallyport_calls_total Calls taken.\n"
				      "# TYPE sallyport_calls_total counter\n"
				      "sallyport_calls_total 4\n"
				      "# HELP sallyport_connections Open now.\n"
				      "# TYPE sallyport_connections gauge\n"
				      "sallyport_connections 7\n"
				      "# HELP sallyport_age_seconds Age.\n"
				      "# TYPE sallyport_age_seconds gauge\n"
				      "sallyport_age_seconds 1.5\n");
	calls = UINT64_MAX;
	three = (double)INFINITY;
	ck_assert_ptr_nonnull(
		strstr(formatted(), "sallyport_calls_total 18446744073709551615\n"));
	ck_assert_ptr_nonnull(strstr(formatted(), "sallyport_age_seconds +Inf\n"));
	three = (double)NAN;
	ck_assert_ptr_nonnull(strstr(formatted(), "sallyport_age_seconds NaN\n"));
}
END_TEST

START_TEST(one_name_stands_together_whatever_came_between)
{
	uint64_t value = 1;

	metrics_counter(&metrics, "sallyport_a_total", "A.",
		(struct metrics_label[]){ { "op", "x" }, { "kind", "call" }, { NULL, NULL } },
		&value);
	metrics_counter(&metrics, "sallyport_b_total", "B.", NULL, &value);
	metrics_counter(&metrics, "sallyport_a_total", "A.",
		(struct metrics_label[]){ { "op", "y" }, { "kind", "call" }, { NULL, NULL } },
		&value);
	ck_assert_str_eq(formatted(), "# HELP sallyport_a_total A.\n"
				      "# TYPE sallyport_a_total counter\n"
				      "sallyport_a_total{op=\"x\",kind=\"call\"} 1\n"
				      "sallyport_a_total{op=\"y\",kind=\"call\"} 1\n"
				      "# HELP sallyport_b_total B.\n"
				      "# TYPE sallyport_b_total counter\n"
				      "sallyport_b_total 1\n");
}
END_TEST

START_TEST(foreign_text_is_escaped)
{
	uint64_t value = 1;

	metrics_counter(&metrics, "sallyport_a_total", "a \\ b \"c\"\nd",
		(struct metrics_label[]){
			{ "op", "a \\ b \"c\"\nd \xc3\xa9" }, { NULL, NULL } },
		&value);
	ck_assert_str_eq(formatted(),
		"# HELP sallyport_a_total a \\\\ b \"c\"\\nd\n"
		"# TYPE sallyport_a_total counter\n"
		"sallyport_a_total{op=\"a \\\\ b \\\"c\\\"\\nd \xc3\xa9\"} 1\n");
}
END_TEST

START_TEST(a_histogram_has_growing_buckets_sum_and_count)
{
	struct hist hist;

	hist_init(&hist);
	hist_add(&hist, 50);
	hist_add(&hist, 800);
	hist_add(&hist, 800);
	hist_add(&hist, 2000000);
	hist_add(&hist, 3600000000);
	metrics_histogram(&metrics, "sallyport_call_seconds", "Time.",
		(struct metrics_label[]){ { "op", "x" }, { NULL, NULL } }, &hist);
	const char *text = formatted();

	ck_assert_ptr_nonnull(strstr(text, "# TYPE sallyport_call_seconds histogram\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "sallyport_call_seconds_bucket{op=\"x\",le=\"0.0001\"} 1\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "sallyport_call_seconds_bucket{op=\"x\",le=\"0.0005\"} 1\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "sallyport_call_seconds_bucket{op=\"x\",le=\"0.001\"} 3\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "sallyport_call_seconds_bucket{op=\"x\",le=\"2.5\"} 4\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "sallyport_call_seconds_bucket{op=\"x\",le=\"60\"} 4\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "sallyport_call_seconds_bucket{op=\"x\",le=\"+Inf\"} 5\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "sallyport_call_seconds_sum{op=\"x\"} 3602.00165\n"));
	ck_assert_ptr_nonnull(strstr(text, "sallyport_call_seconds_count{op=\"x\"} 5\n"));
}
END_TEST

START_TEST(too_many_series_stick_as_full)
{
	static uint64_t values[METRICS_MAX_SERIES + 1];
	static char names[METRICS_MAX_SERIES + 1][32];

	/* Many families, so that the check for doubles stays short. */
	for (int i = 0; i <= METRICS_MAX_SERIES; i++) {
		size_t len = 0;

		memcpy(names[i], "sallyport_", 10);
		len = 10;
		for (int n = i, digit = 0; digit < 5; digit++, n /= 10)
			names[i][len++] = (char)('a' + n % 10);
		memcpy(names[i] + len, "_total", 7);
	}
	for (int i = 0; i < METRICS_MAX_SERIES; i++)
		metrics_counter(&metrics, names[i], "x", NULL, &values[i]);
	ck_assert_int_eq(metrics_status(&metrics), ERR_OK);
	metrics_counter(&metrics, names[METRICS_MAX_SERIES], "x", NULL, &values[0]);
	ck_assert_int_eq(metrics_status(&metrics), ERR_FULL);
	ck_assert_uint_eq(metrics.series_count, METRICS_MAX_SERIES);
}
END_TEST

START_TEST(what_does_not_fit_sticks_to_the_buffer)
{
	uint64_t value = 1;
	struct buf small;

	metrics_counter(&metrics, "sallyport_a_total", "A.", NULL, &value);
	buf_init(&small, 40);
	metrics_format(&metrics, &small);
	ck_assert_int_eq(buf_status(&small), ERR_FULL);
	buf_fini(&small);
}
END_TEST

START_TEST(a_name_against_the_rules_is_our_bug)
{
	static uint64_t value;
	static struct hist hist;
	static const struct metrics_label five[] = { { "a", "" }, { "b", "" }, { "c", "" },
		{ "d", "" }, { "e", "" }, { NULL, NULL } };

	switch (_i) {
	case 0:
		metrics_counter(&metrics, "sallyport_calls", "x", NULL, &value);
		break;
	case 1:
		metrics_gauge_u64(&metrics, "sallyport_open_total", "x", NULL, &value);
		break;
	case 2:
		metrics_counter(&metrics, "calls_total", "x", NULL, &value);
		break;
	case 3:
		metrics_counter(&metrics, "sallyport_Calls_total", "x", NULL, &value);
		break;
	case 4:
		metrics_histogram(&metrics, "sallyport_call", "x", NULL, &hist);
		break;
	case 5:
		metrics_counter(&metrics, "sallyport_a_total", "x", NULL, &value);
		metrics_counter(&metrics, "sallyport_a_total", "x", NULL, &value);
		break;
	case 6:
		metrics_counter(&metrics, "sallyport_a_total", "x", five, &value);
		break;
	case 7:
		metrics_counter(&metrics, "sallyport_a_total", "x",
			(struct metrics_label[]){ { "a-b", "" }, { NULL, NULL } }, &value);
		break;
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon/metrics");
	TCase *tc = tcase_create("metrics");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, counters_and_gauges_are_written_with_help_and_type);
	tcase_add_test(tc, one_name_stands_together_whatever_came_between);
	tcase_add_test(tc, foreign_text_is_escaped);
	tcase_add_test(tc, a_histogram_has_growing_buckets_sum_and_count);
	tcase_add_test(tc, too_many_series_stick_as_full);
	tcase_add_test(tc, what_does_not_fit_sticks_to_the_buffer);
	tcase_add_loop_test_raise_signal(
		tc, a_name_against_the_rules_is_our_bug, SIGABRT, 0, 8);
	tcase_set_timeout(tc, 30);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
