#include "contract/zone.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/file.h"

#define ZONE_FOLDER "/usr/share/zoneinfo/"

enum {
	DAY_S = 24 * 60 * 60,
	HEADER_BYTES = 44,
	TYPE_BYTES = 6,
	OFFSET_MAX_S = 26 * 60 * 60, /* RFC 8536, 3.2: from -25 h to 26 h */
	RULE_TIME_MAX_H = 167,       /* and 3.3.1 */
};

/* ---- the calendar ---- */

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int zone_month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Years begin in March here, so that the leap day is a year's last; four centuries repeat. */
int64_t zone_days_of(int year, int month, int day)
{
	int64_t y = (int64_t)year + 10000 - (month <= 2 ? 1 : 0);
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	/* 0000-03-01 is day -719468; 10000 years are 3652425 days. */
	return y * 365 + y / 4 - y / 100 + y / 400 + of_year - 719468 - 3652425;
}

void zone_date_of(int64_t days, int *year_out, int *month_out, int *day_out)
{
	int64_t since = days + 719468 + 3652425;
	int64_t era = since / 146097;
	int64_t of_era = since % 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;

	*day_out = (int)(of_year - (153 * month + 2) / 5 + 1);
	*month_out = (int)(month < 10 ? month + 3 : month - 9);
	*year_out = (int)(year + era * 400 - 10000 + (*month_out <= 2 ? 1 : 0));
}

/* 0..6, Sunday is 0; day 0 was a Thursday. */
static int weekday_of(int64_t days)
{
	return (int)(((days % 7) + 7 + 4) % 7);
}

/* ---- reading ---- */

/* Once bad, nothing is left and everything read is 0. */
struct cursor {
	const unsigned char *at;
	size_t left;
	bool is_bad;
};

static void spoil(struct cursor *c)
{
	c->is_bad = true;
	c->left = 0;
}

static const unsigned char *take(struct cursor *c, size_t count)
{
	const unsigned char *at = c->at;

	if (c->is_bad || c->left < count) {
		spoil(c);
		return NULL;
	}
	c->at += count;
	c->left -= count;
	return at;
}

static uint64_t take_number(struct cursor *c, size_t bytes)
{
	const unsigned char *at = take(c, bytes);
	uint64_t number = 0;

	for (size_t i = 0; at != NULL && i < bytes; i++)
		number = number << 8 | at[i];
	return number;
}

struct header {
	unsigned char version;
	size_t utc_count;
	size_t standard_count;
	size_t leap_count;
	size_t change_count;
	size_t type_count;
	size_t letter_count;
};

static struct header take_header(struct cursor *c)
{
	struct header h = { 0 };
	const unsigned char *magic = take(c, 4);

	if (magic == NULL || memcmp(magic, "TZif", 4) != 0)
		spoil(c);
	h.version = (unsigned char)take_number(c, 1);
	(void)take(c, 15);
	h.utc_count = take_number(c, 4);
	h.standard_count = take_number(c, 4);
	h.leap_count = take_number(c, 4);
	h.change_count = take_number(c, 4);
	h.type_count = take_number(c, 4);
	h.letter_count = take_number(c, 4);
	/* Each is 32 bits wide, so the sums below cannot run over. */
	return h;
}

static size_t body_bytes(const struct header *h, size_t time_bytes)
{
	return h->change_count * (time_bytes + 1) + h->type_count * TYPE_BYTES +
	       h->letter_count + h->leap_count * (time_bytes + 4) + h->standard_count +
	       h->utc_count;
}

static enum err take_changes(struct cursor *c, const struct header *h, struct zone *out)
{
	if (h->change_count > ZONE_MAX_CHANGES || h->type_count == 0 || h->type_count > 256 ||
		h->leap_count != 0)
		return ERR_INPUT;
	const unsigned char *times = take(c, h->change_count * 8);
	const unsigned char *kinds = take(c, h->change_count);
	int32_t offsets[256];

	for (size_t i = 0; i < h->type_count; i++) {
		offsets[i] = (int32_t)take_number(c, 4);
		(void)take(c, 2);
		if (offsets[i] < -OFFSET_MAX_S || offsets[i] > OFFSET_MAX_S)
			return ERR_INPUT;
	}
	(void)take(c, h->letter_count + h->standard_count + h->utc_count);
	if (c->is_bad)
		return ERR_INPUT;
	out->changes = calloc(h->change_count + 1, sizeof(*out->changes));
	if (out->changes == NULL)
		return ERR_NOMEM;
	out->first_offset_s = offsets[0];
	struct cursor at = { .at = times, .left = h->change_count * 8 };
	int32_t offset_s = offsets[0];
	int64_t before = INT64_MIN;

	for (size_t i = 0; i < h->change_count; i++) {
		int64_t at_unix_s = (int64_t)take_number(&at, 8);

		if (kinds[i] >= h->type_count || (i > 0 && at_unix_s <= before))
			return ERR_INPUT;
		before = at_unix_s;
		if (offsets[kinds[i]] == offset_s)
			continue; /* another name, the same clock */
		offset_s = offsets[kinds[i]];
		out->changes[out->change_count++] = (struct zone_change){
			.at_unix_s = at_unix_s,
			.offset_s = offset_s,
		};
	}
	return ERR_OK;
}

/* ---- the footer: a TZ string of POSIX, with the extensions of RFC 8536 ---- */

static bool skip(struct cursor *c, char wanted)
{
	if (c->left == 0 || *c->at != (unsigned char)wanted)
		return false;
	(void)take(c, 1);
	return true;
}

static void want(struct cursor *c, char wanted)
{
	if (!skip(c, wanted))
		spoil(c);
}

static bool is_letter(unsigned char byte)
{
	return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

/* CET or <+01> */
static void skip_name(struct cursor *c)
{
	size_t len = 0;

	if (skip(c, '<')) {
		while (c->left > 0 && *c->at != '>')
			(void)take(c, 1);
		want(c, '>');
		return;
	}
	for (; c->left > 0 && is_letter(*c->at); len++)
		(void)take(c, 1);
	if (len == 0)
		spoil(c);
}

static int read_digits(struct cursor *c, int least, int most)
{
	int number = 0;
	size_t len = 0;

	for (; c->left > 0 && *c->at >= '0' && *c->at <= '9' && len < 4; len++)
		number = number * 10 + (int)(*take(c, 1) - '0');
	if (len == 0 || number < least || number > most)
		spoil(c);
	return c->is_bad ? least : number;
}

/* [+-]hh[:mm[:ss]] */
static int32_t read_time(struct cursor *c, int most_hours)
{
	bool is_negative = skip(c, '-');

	if (!is_negative)
		(void)skip(c, '+');
	int32_t sum_s = read_digits(c, 0, most_hours) * 3600;

	if (skip(c, ':')) {
		sum_s += read_digits(c, 0, 59) * 60;
		if (skip(c, ':'))
			sum_s += read_digits(c, 0, 59);
	}
	return is_negative ? -sum_s : sum_s;
}

static struct zone_day read_day(struct cursor *c)
{
	struct zone_day day = { .at_s = 2 * 3600 };

	want(c, ',');
	if (skip(c, 'M')) {
		day.kind = ZONE_DAY_WEEKDAY;
		day.month = read_digits(c, 1, 12);
		want(c, '.');
		day.week = read_digits(c, 1, 5);
		want(c, '.');
		day.weekday = read_digits(c, 0, 6);
	} else if (skip(c, 'J')) {
		day.kind = ZONE_DAY_JULIAN;
		day.day = read_digits(c, 1, 365);
	} else {
		day.kind = ZONE_DAY_COUNTED;
		day.day = read_digits(c, 0, 365);
	}
	if (skip(c, '/'))
		day.at_s = read_time(c, RULE_TIME_MAX_H);
	return day;
}

static enum err take_footer(struct cursor *c, struct zone *out)
{
	if (!skip(c, '\n'))
		return ERR_INPUT;
	if (skip(c, '\n'))
		return c->left == 0 ? ERR_OK : ERR_INPUT; /* nothing is said: as it is now */
	skip_name(c);
	out->standard_s = -read_time(c, 24);
	out->summer_s = out->standard_s;
	if (c->left > 0 && *c->at != '\n') {
		skip_name(c);
		out->summer_s = out->standard_s + 3600;
		if (c->left > 0 && *c->at != ',')
			out->summer_s = -read_time(c, 24);
		out->to_summer = read_day(c);
		out->to_standard = read_day(c);
		out->has_rule = out->summer_s != out->standard_s;
	}
	want(c, '\n');
	return c->is_bad || c->left != 0 ? ERR_INPUT : ERR_OK;
}

enum err zone_parse(struct span tzif, struct zone *out)
{
	struct cursor c = { .at = (const unsigned char *)tzif.at, .left = tzif.len };
	struct header first = take_header(&c);
	enum err err = ERR_INPUT;

	*out = (struct zone){ 0 };
	if (c.is_bad || first.version < '2')
		return ERR_INPUT;
	(void)take(&c, body_bytes(&first, 4)); /* the same in 32 bits, for the readers of old */
	struct header h = take_header(&c);

	if (!c.is_bad && body_bytes(&h, 8) <= c.left)
		err = take_changes(&c, &h, out);
	if (err == ERR_OK)
		err = take_footer(&c, out);
	if (err != ERR_OK)
		zone_close(out);
	return err;
}

static bool is_zone_name(struct span name)
{
	if (name.len == 0 || name.len > ZONE_MAX_NAME)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];
		bool is_digit = c >= '0' && c <= '9';

		if (c == '/' && (i == 0 || i + 1 == name.len || name.at[i - 1] == '/'))
			return false;
		if (!is_letter((unsigned char)c) && !is_digit && c != '/' && c != '_' &&
			c != '-' && c != '+')
			return false;
	}
	return true;
}

enum err zone_open(struct span name, struct zone *out)
{
	char path[sizeof(ZONE_FOLDER) + ZONE_MAX_NAME] = ZONE_FOLDER;
	struct buf file;

	*out = (struct zone){ 0 };
	if (!is_zone_name(name))
		return ERR_INPUT;
	if (span_is(name, "UTC"))
		return ERR_OK;
	memcpy(path + sizeof(ZONE_FOLDER) - 1, name.at, name.len);
	buf_init(&file, ZONE_MAX_BYTES);
	enum err err = file_read(path, &file);

	if (err == ERR_OK)
		err = zone_parse(buf_span(&file), out);
	else if (err == ERR_FULL)
		err = ERR_INPUT;
	buf_fini(&file);
	return err;
}

void zone_close(struct zone *z)
{
	free(z->changes);
	*z = (struct zone){ 0 };
}

/* ---- asking ---- */

/* When the rule's day comes in this year, on a clock that has this offset until then. */
static int64_t day_unix_s(const struct zone_day *day, int year, int32_t offset_s)
{
	int64_t days = 0;

	switch (day->kind) {
	case ZONE_DAY_JULIAN:
		days = zone_days_of(year, 1, 1) + day->day - 1;
		if (is_leap(year) && day->day >= 60)
			days++;
		break;
	case ZONE_DAY_COUNTED:
		days = zone_days_of(year, 1, 1) + day->day;
		break;
	case ZONE_DAY_WEEKDAY:
		days = zone_days_of(year, day->month, 1);
		days += (day->weekday - weekday_of(days) + 7) % 7 + 7 * (day->week - 1);
		while (days >=
			zone_days_of(year, day->month, 1) + zone_month_days(year, day->month))
			days -= 7;
		break;
	}
	return days * DAY_S + day->at_s - offset_s;
}

/* Narrows the stretch by one more change, before or after the moment asked about. */
static void bound(struct zone_stretch *s, int64_t unix_s, int64_t change_unix_s,
	int32_t offset_s, int32_t offset_before_s)
{
	if (change_unix_s <= unix_s && change_unix_s > s->from_unix_s) {
		s->from_unix_s = change_unix_s;
		s->offset_before_s = offset_before_s;
		s->offset_s = offset_s;
	} else if (change_unix_s > unix_s && change_unix_s < s->to_unix_s) {
		s->to_unix_s = change_unix_s;
	}
}

static void bound_by_rule(const struct zone *z, struct zone_stretch *s, int64_t unix_s)
{
	int year;
	int month;
	int day;

	if (unix_s < zone_days_of(-9999, 1, 1) * DAY_S ||
		unix_s >= zone_days_of(9999, 1, 1) * DAY_S)
		return;
	zone_date_of(unix_s / DAY_S, &year, &month, &day);
	for (int y = year - 1; y <= year + 1; y++) {
		bound(s, unix_s, day_unix_s(&z->to_summer, y, z->standard_s), z->summer_s,
			z->standard_s);
		bound(s, unix_s, day_unix_s(&z->to_standard, y, z->summer_s), z->standard_s,
			z->summer_s);
	}
}

struct zone_stretch zone_stretch_at(const struct zone *z, int64_t unix_s)
{
	struct zone_stretch s = {
		.from_unix_s = INT64_MIN,
		.to_unix_s = INT64_MAX,
		.offset_s = z->first_offset_s,
		.offset_before_s = z->first_offset_s,
	};
	size_t low = 0; /* the first change that is later */
	size_t high = z->change_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (z->changes[middle].at_unix_s <= unix_s)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0) {
		s.from_unix_s = z->changes[low - 1].at_unix_s;
		s.offset_s = z->changes[low - 1].offset_s;
		s.offset_before_s = low > 1 ? z->changes[low - 2].offset_s : z->first_offset_s;
	}
	if (low < z->change_count)
		s.to_unix_s = z->changes[low].at_unix_s;
	else if (z->has_rule)
		bound_by_rule(z, &s, unix_s);
	return s;
}
