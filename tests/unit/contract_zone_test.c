/* Time zones: contract/zone.h. What the offsets are, schedule_oracle.py asks for every zone. */
#include "contract/zone.h"

#include <stdio.h>
#include <stdlib.h>

#include "unit.h"

static struct zone zone;

static void teardown(void)
{
	zone_close(&zone);
	zone_close(&zone);
}

static int32_t offset_at(int64_t unix_s)
{
	return zone_stretch_at(&zone, unix_s).offset_s;
}

/* Version 2 with one change at 1000 to +01:00 and this footer; both blocks are the same. */
static size_t write_tzif(unsigned char *to, const char *footer)
{
	static const unsigned char types[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0x0e, 0x10, 0, 0 };
	size_t len = 0;

	for (unsigned block = 0; block < 2; block++) {
		unsigned char header[44] = { 'T', 'Z', 'i', 'f', '2' };

		header[35] = 1; /* changes */
		header[39] = 2; /* types */
		header[43] = 1; /* letters */
		memcpy(to + len, header, sizeof header);
		len += sizeof header;
		memset(to + len, 0, block == 0 ? 4 : 8);
		len += block == 0 ? 4 : 8;
		to[len - 2] = 1000 >> 8;
		to[len - 1] = 1000 & 0xff;
		to[len++] = 1;
		memcpy(to + len, types, sizeof types);
		len += sizeof types;
		to[len++] = '\0';
	}
	memcpy(to + len, footer, strlen(footer));
	return len + strlen(footer);
}

static enum err parse_with(const char *footer)
{
	unsigned char bytes[512];
	size_t len = write_tzif(bytes, footer);

	zone_close(&zone);
	return zone_parse((struct span){ (const char *)bytes, len }, &zone);
}

START_TEST(a_zeroed_zone_is_utc_for_ever)
{
	struct zone_stretch s = zone_stretch_at(&zone, 1700000000);

	ck_assert_int_eq(s.offset_s, 0);
	ck_assert_int_eq(s.from_unix_s, INT64_MIN);
	ck_assert_int_eq(s.to_unix_s, INT64_MAX);
	ck_assert_int_eq(zone_open(span_of("UTC"), &zone), ERR_OK);
	ck_assert_ptr_null(zone.changes);
}
END_TEST

START_TEST(berlin_changes_its_clock_twice_a_year)
{
	ck_assert_int_eq(zone_open(span_of("Europe/Berlin"), &zone), ERR_OK);
	/* 2024-03-31 and 2024-10-27, 01:00 UTC; and 2090-03-26, by the rule. */
	struct zone_stretch s = zone_stretch_at(&zone, 1711846800);

	ck_assert_int_eq(s.from_unix_s, 1711846800);
	ck_assert_int_eq(s.to_unix_s, 1729990800);
	ck_assert_int_eq(s.offset_s, 7200);
	ck_assert_int_eq(s.offset_before_s, 3600);
	ck_assert_int_eq(offset_at(1711846799), 3600);
	ck_assert_int_eq(offset_at(3794173199), 3600);
	ck_assert_int_eq(offset_at(3794173200), 7200);
}
END_TEST

START_TEST(names_that_lead_elsewhere_are_no_zones)
{
	static const char *const names[] = { "", "/etc/passwd", "../../etc/passwd", "Europe/",
		"Europe//Berlin", "Europe/Ber lin", "zone.tab", "zone1970.tab",
		"Europe/Berlin\n",
		"Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };

	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		ck_assert_msg(zone_open(span_of(names[i]), &zone) == ERR_INPUT, "%s", names[i]);
	ck_assert_int_eq(zone_open(span_of("Europe/Atlantis"), &zone), ERR_NOT_FOUND);
	ck_assert_int_ne(zone_open(span_of("Europe"), &zone), ERR_OK);
	ck_assert_ptr_null(zone.changes);
}
END_TEST

START_TEST(the_footer_goes_on_where_the_changes_end)
{
	ck_assert_int_eq(parse_with("\n\n"), ERR_OK);
	ck_assert_int_eq(offset_at(999), 0);
	ck_assert_int_eq(offset_at(1000), 3600);
	ck_assert_int_eq(offset_at(INT32_MAX), 3600);
	/* 1970-02-28, 1972-02-29 and the last second of 1970, by counted days. */
	ck_assert_int_eq(parse_with("\n<A>-1<B>-2:30:05,J59/0,J60/-1\n"), ERR_OK);
	ck_assert_int_eq(offset_at(58 * 86400 - 3600), 9005);
	ck_assert_int_eq(offset_at(58 * 86400 - 3601), 3600);
	ck_assert_int_eq(parse_with("\nAAA-1BBB,0,365/167:59:59\n"), ERR_OK);
	ck_assert_int_eq(parse_with("\nAAA+1BBB,58/24,M12.5.0\n"), ERR_OK);
}
END_TEST

START_TEST(footers_that_are_none_are_refused)
{
	static const char *const footers[] = { "", "\n", "\nA", "\nCET\n", "\nCET-1CEST\n",
		"\nCET-1CEST,M3.5.0\n", "\nCET-1CEST,M13.5.0,M10.5.0\n",
		"\nCET-1CEST,M3.6.0,M10.5.0\n", "\nCET-1CEST,M3.5.7,M10.5.0\n",
		"\nCET-1CEST,J0,J1\n", "\nCET-1CEST,366,1\n", "\nCET-25\n", "\n<CET-1\n",
		"\nCET-1CEST,M3.5.0/168,M10.5.0\n", "\nCET-1\nx", "\nCET-99999999999999\n" };

	for (size_t i = 0; i < ARRAY_COUNT(footers); i++) {
		ck_assert_msg(parse_with(footers[i]) == ERR_INPUT, "%s", footers[i]);
		ck_assert_ptr_null(zone.changes);
	}
}
END_TEST

START_TEST(a_file_that_is_cut_or_broken_anywhere_is_refused_or_read_and_nothing_else)
{
	unsigned char bytes[512];
	size_t len = write_tzif(bytes, "\nCET-1CEST,M3.5.0,M10.5.0/3\n");

	for (size_t cut = 0; cut < len; cut++) {
		char *copy = malloc(cut + 1); /* its own memory, so that ASan sees each byte */

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, bytes, cut);
		ck_assert_int_eq(zone_parse((struct span){ copy, cut }, &zone), ERR_INPUT);
		free(copy);
	}
	for (size_t at = 0; at < len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[at] ^= (unsigned char)(1u << bit);
			if (zone_parse((struct span){ (const char *)bytes, len }, &zone) ==
				ERR_OK)
				(void)zone_stretch_at(&zone, 1700000000);
			zone_close(&zone);
			bytes[at] ^= (unsigned char)(1u << bit);
		}
	}
}
END_TEST

START_TEST(every_day_of_the_calendar_follows_the_one_before)
{
	int year = -9999;
	int month = 1;
	int day = 1;

	for (int64_t n = zone_days_of(-9999, 1, 1); year <= 9999; n++) {
		int y;
		int m;
		int d;

		zone_date_of(n, &y, &m, &d);
		if (y != year || m != month || d != day || zone_days_of(y, m, d) != n)
			ck_abort_msg("%d-%d-%d instead of %d-%d-%d", y, m, d, year, month, day);
		if (++day > zone_month_days(year, month)) {
			day = 1;
			if (++month > 12) {
				month = 1;
				year++;
			}
		}
	}
	ck_assert_int_eq(zone_days_of(1970, 1, 1), 0);
	ck_assert_int_eq(zone_days_of(2000, 2, 29), 11016);
	ck_assert_int_eq(zone_month_days(1900, 2), 28);
	ck_assert_int_eq(zone_month_days(2000, 2), 29);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("zone");
	TCase *t = tcase_create("zone");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, a_zeroed_zone_is_utc_for_ever);
	tcase_add_test(t, berlin_changes_its_clock_twice_a_year);
	tcase_add_test(t, names_that_lead_elsewhere_are_no_zones);
	tcase_add_test(t, the_footer_goes_on_where_the_changes_end);
	tcase_add_test(t, footers_that_are_none_are_refused);
	tcase_add_test(
		t, a_file_that_is_cut_or_broken_anywhere_is_refused_or_read_and_nothing_else);
	tcase_add_test(t, every_day_of_the_calendar_follows_the_one_before);
	suite_add_tcase(suite, t);
	return unit_run(suite);
}
