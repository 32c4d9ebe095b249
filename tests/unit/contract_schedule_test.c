/* Cron expressions: contract/schedule.h. schedule_oracle.py compares some hundred more, in many
 * zones, with a search by brute force. */
#include "contract/schedule.h"

#include <stdio.h>

#include "unit.h"

static struct schedule schedule;
static struct schedule_why why;

static void teardown(void)
{
	schedule_free(&schedule);
	schedule_free(&schedule);
}

static void must_parse(const char *text, const char *zone)
{
	schedule_free(&schedule);
	ck_assert_msg(schedule_parse(span_of(text), &schedule, &why) == ERR_OK, "%s", why.text);
	ck_assert_int_eq(zone_open(span_of(zone), &schedule.zone), ERR_OK);
}

/* 2024-03-31T01:00Z */
static int64_t moment(const char *text)
{
	int year;
	int month;
	int day;
	int hour;
	int minute;

	ck_assert_int_eq(
		sscanf(text, "%d-%d-%dT%d:%dZ", &year, &month, &day, &hour, &minute), 5);
	return zone_days_of(year, month, day) * 86400 + hour * 3600 + minute * 60;
}

static void expect_next(const char *after, const char *tick)
{
	int64_t at;

	ck_assert_int_eq(schedule_next(&schedule, moment(after), &at), ERR_OK);
	ck_assert_msg(at == moment(tick), "%s: %lld instead of %s", after, (long long)at, tick);
}

static void expect_refused(const char *text, const char *reason)
{
	ck_assert_msg(schedule_parse(span_of(text), &schedule, &why) == ERR_INPUT, "%s", text);
	ck_assert_msg(strstr(why.text, reason) != NULL, "%s: %s", text, why.text);
	ck_assert_uint_eq(schedule.minutes, 0);
}

/* clang-format off */
static const struct {
	const char *text;
	const char *after;
	const char *tick;
} in_utc[] = {
	{ "0 3 * * *",           "2024-01-01T02:59Z", "2024-01-01T03:00Z" },
	{ "0 3 * * *",           "2024-01-01T03:00Z", "2024-01-02T03:00Z" }, /* strictly after */
	{ "*/15 * * * *",        "2024-01-01T00:00Z", "2024-01-01T00:15Z" },
	{ "*/15 * * * *",        "2024-12-31T23:45Z", "2025-01-01T00:00Z" },
	{ "5,35 8-18/5 * * *",   "2024-01-01T08:35Z", "2024-01-01T13:05Z" },
	{ "5,35 8-18/5 * * *",   "2024-01-01T18:35Z", "2024-01-02T08:05Z" },
	{ "0 0 29 2 *",          "2024-02-29T00:00Z", "2028-02-29T00:00Z" },
	{ "0 0 29 2 *",          "2096-02-29T00:00Z", "2104-02-29T00:00Z" }, /* not in 2100 */
	{ "0 0 29 2 *",          "2396-02-29T00:00Z", "2400-02-29T00:00Z" },
	{ "0 0 29 2 */7",        "2088-02-29T00:00Z", "2128-02-29T00:00Z" }, /* Sundays */
	{ "0 0 31 * *",          "2024-03-31T00:00Z", "2024-05-31T00:00Z" },
	{ "0 0 13 * 5",          "2024-01-01T00:00Z", "2024-01-05T00:00Z" }, /* the 13th or Friday */
	{ "0 0 13 * 5",          "2024-01-12T00:00Z", "2024-01-13T00:00Z" },
	{ "0 0 */2 * 5",         "2024-01-01T00:00Z", "2024-01-05T00:00Z" }, /* odd, and Friday */
	{ "0 0 */2 * 5",         "2024-01-05T00:00Z", "2024-01-19T00:00Z" },
	{ "0 0 * * 0",           "2024-01-01T00:00Z", "2024-01-07T00:00Z" },
	{ "0 0 * * 7",           "2024-01-01T00:00Z", "2024-01-07T00:00Z" },
	{ "0 0 * * fri-sun",     "2024-01-06T00:00Z", "2024-01-07T00:00Z" },
	{ "0 0 1 Jan,JUL MON",   "2024-02-01T00:00Z", "2024-07-01T00:00Z" },
	{ "0 0 * feb-apr/2 *",   "2024-01-01T00:00Z", "2024-02-01T00:00Z" },
	{ "  05 \t 03 * * *  ",  "2024-01-01T00:00Z", "2024-01-01T03:05Z" },
	{ "@hourly",             "2024-01-01T00:00Z", "2024-01-01T01:00Z" },
	{ "@daily",              "2024-01-01T00:00Z", "2024-01-02T00:00Z" },
	{ "@midnight",           "2024-01-01T00:00Z", "2024-01-02T00:00Z" },
	{ "@weekly",             "2024-01-01T00:00Z", "2024-01-07T00:00Z" },
	{ "@monthly",            "2024-01-01T00:00Z", "2024-02-01T00:00Z" },
	{ "@yearly",             "2024-01-01T00:00Z", "2025-01-01T00:00Z" },
	{ "@annually",           "2024-01-01T00:00Z", "2025-01-01T00:00Z" },
	{ "* * * * *",           "9998-12-31T23:58Z", "9998-12-31T23:59Z" },
};

static const struct {
	const char *text;
	const char *zone;
	const char *after;
	const char *tick;
} on_the_wall[] = {
	{ "0 3 * * *",    "Europe/Berlin",       "2024-01-01T00:00Z", "2024-01-01T02:00Z" },
	{ "0 3 * * *",    "Europe/Berlin",       "2024-07-01T00:00Z", "2024-07-01T01:00Z" },
	/* 02:00 to 03:00 is left out on 2024-03-31: once, at 03:00 */
	{ "30 2 * * *",   "Europe/Berlin",       "2024-03-30T12:00Z", "2024-03-31T01:00Z" },
	{ "30 2 * * *",   "Europe/Berlin",       "2024-03-31T01:00Z", "2024-04-01T00:30Z" },
	{ "*/10 2 * * *", "Europe/Berlin",       "2024-03-31T00:59Z", "2024-03-31T01:00Z" },
	{ "*/10 2 * * *", "Europe/Berlin",       "2024-03-31T01:00Z", "2024-04-01T00:00Z" },
	{ "0 2,3 * * *",  "Europe/Berlin",       "2024-03-31T00:00Z", "2024-03-31T01:00Z" },
	{ "0 2,3 * * *",  "Europe/Berlin",       "2024-03-31T01:00Z", "2024-04-01T00:00Z" },
	/* and comes twice on 2024-10-27: the first time only */
	{ "30 2 * * *",   "Europe/Berlin",       "2024-10-26T12:00Z", "2024-10-27T00:30Z" },
	{ "30 2 * * *",   "Europe/Berlin",       "2024-10-27T00:30Z", "2024-10-28T01:30Z" },
	{ "0 2-4 * * *",  "Europe/Berlin",       "2024-10-27T00:00Z", "2024-10-27T02:00Z" },
	/* asked for in the middle of the second time */
	{ "59 2 * * *",   "Europe/Berlin",       "2024-10-27T01:10Z", "2024-10-28T01:59Z" },
	/* every hour and every minute by elapsed time */
	{ "30 * * * *",   "Europe/Berlin",       "2024-03-31T00:30Z", "2024-03-31T01:30Z" },
	{ "30 * * * *",   "Europe/Berlin",       "2024-10-27T00:30Z", "2024-10-27T01:30Z" },
	{ "* * * * *",    "Europe/Berlin",       "2024-10-27T00:59Z", "2024-10-27T01:00Z" },
	{ "30 0-23 * * *", "Europe/Berlin",      "2024-10-27T00:30Z", "2024-10-27T01:30Z" },
	/* midnight itself is left out */
	{ "0 0 * * *",    "America/Santiago",    "2023-09-02T12:00Z", "2023-09-03T04:00Z" },
	/* half an hour */
	{ "15 2 * * *",   "Australia/Lord_Howe", "2024-10-05T12:00Z", "2024-10-05T15:30Z" },
	{ "45 1 * * *",   "Australia/Lord_Howe", "2024-04-06T14:45Z", "2024-04-07T15:15Z" },
	/* a whole day left out is a correction: nothing is made up */
	{ "0 12 30 12 *", "Pacific/Apia",        "2011-12-29T00:00Z", "2012-12-29T22:00Z" },
	/* by the rule of the footer, in a far year */
	{ "30 2 * * *",   "America/New_York",    "2099-03-07T12:00Z", "2099-03-08T07:00Z" },
};

static const struct {
	const char *text;
	const char *reason;
} refused[] = {
	{ "",               "five fields" },
	{ "0 3 * *",        "five fields" },
	{ "0 3 * * * *",    "five fields" },
	{ "60 3 * * *",     "minute: \"60\" is not 0 to 59" },
	{ "0 24 * * *",     "hour: \"24\" is not 0 to 23" },
	{ "0 0 0 * *",      "day of the month: \"0\" is not 1 to 31" },
	{ "0 0 * 13 *",     "month: \"13\" is not 1 to 12 or jan to dec" },
	{ "0 0 * * 8",      "0 and 7 are Sunday" },
	{ "0 0 * * mond",   "day of the week: \"mond\"" },
	{ "0 0 * * *x",     "day of the week" },
	{ "-1 0 * * *",     "minute: \"\" is not" },
	{ "1- 0 * * *",     "minute: \"\" is not" },
	{ "1-2-3 0 * * *",  "minute: \"2-3\" is not" },
	{ "1,,2 0 * * *",   "empty place" },
	{ "1, 0 * * *",     "empty place" },
	{ "*/0 * * * *",    "step \"0\" is not 1 to 59" },
	{ "*/60 * * * *",   "step \"60\" is not 1 to 59" },
	{ "*/ * * * *",     "step \"\"" },
	{ "*/5/5 * * * *",  "step \"5/5\"" },
	{ "5/10 * * * *",   "write 5-59/10" },
	{ "0 22-4 * * *",   "goes backwards; write 22-23,0-4" },
	{ "0 0 30 2 *",     "never comes due" },
	{ "0 0 31 2,4,6,9,11 *", "never comes due" },
	{ "0 0 30,31 2 */2", "never comes due" },
	{ "@reboot",        "@reboot" },
	{ "@HOURLY",        "@hourly" },
	{ "@",              "@daily" },
	{ "99999999999999999999 * * * *", "minute" },
};
/* clang-format on */

START_TEST(ticks_in_utc)
{
	must_parse(in_utc[_i].text, "UTC");
	expect_next(in_utc[_i].after, in_utc[_i].tick);
}
END_TEST

START_TEST(ticks_on_a_clock_that_jumps)
{
	must_parse(on_the_wall[_i].text, on_the_wall[_i].zone);
	expect_next(on_the_wall[_i].after, on_the_wall[_i].tick);
}
END_TEST

START_TEST(what_is_no_schedule_is_refused_with_the_reason)
{
	expect_refused(refused[_i].text, refused[_i].reason);
}
END_TEST

START_TEST(a_long_text_is_refused)
{
	char text[SCHEDULE_MAX_TEXT + 2];

	memset(text, '*', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	expect_refused(text, "longer than");
}
END_TEST

START_TEST(seconds_between_two_minutes_do_not_count)
{
	int64_t at;

	must_parse("*/2 * * * *", "UTC");
	ck_assert_int_eq(schedule_next(&schedule, 119, &at), ERR_OK);
	ck_assert_int_eq(at, 120);
	ck_assert_int_eq(schedule_next(&schedule, 120, &at), ERR_OK);
	ck_assert_int_eq(at, 240);
	ck_assert_int_eq(schedule_next(&schedule, 121, &at), ERR_OK);
	ck_assert_int_eq(at, 240);
}
END_TEST

START_TEST(time_has_a_beginning_and_an_end)
{
	int64_t at;

	must_parse("@yearly", "Pacific/Kiritimati");
	ck_assert_int_eq(schedule_next(&schedule, -1, &at), ERR_INPUT);
	ck_assert_int_eq(schedule_next(&schedule, 0, &at), ERR_OK);
	ck_assert_int_eq(schedule_next(&schedule, SCHEDULE_END_UNIX_S, &at), ERR_NOT_FOUND);
	ck_assert_int_eq(schedule_next(&schedule, SCHEDULE_END_UNIX_S - 1, &at), ERR_NOT_FOUND);
	ck_assert_int_eq(schedule_next(&schedule, INT64_MAX, &at), ERR_NOT_FOUND);
	must_parse("0 0 29 2 *", "Europe/Berlin");
	ck_assert_int_eq(
		schedule_next(&schedule, moment("9996-02-29T00:00Z"), &at), ERR_NOT_FOUND);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("schedule");
	TCase *t = tcase_create("schedule");

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_loop_test(t, ticks_in_utc, 0, (int)ARRAY_COUNT(in_utc));
	tcase_add_loop_test(t, ticks_on_a_clock_that_jumps, 0, (int)ARRAY_COUNT(on_the_wall));
	tcase_add_loop_test(t, what_is_no_schedule_is_refused_with_the_reason, 0,
		(int)ARRAY_COUNT(refused));
	tcase_add_test(t, a_long_text_is_refused);
	tcase_add_test(t, seconds_between_two_minutes_do_not_count);
	tcase_add_test(t, time_has_a_beginning_and_an_end);
	suite_add_tcase(suite, t);
	return unit_run(suite);
}
