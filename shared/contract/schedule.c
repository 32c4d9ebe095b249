#include "contract/schedule.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "base/text.h"

enum {
	DAY_S = 24 * 60 * 60,
	JUMP_MAX_S = 3 * 60 * 60, /* from here on a jump is a correction */
	FIELDS = 5,
	WEEKDAYS = 4, /* index of that field */
};

static const uint32_t EVERY_HOUR = (1u << 24) - 1;

struct field {
	const char *name;
	unsigned low;
	unsigned high;
	const char *const *words; /* of low, low + 1 …; or NULL */
	size_t word_count;
};

static const char *const month_words[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul",
	"aug", "sep", "oct", "nov", "dec" };
static const char *const weekday_words[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

static const struct field fields[FIELDS] = {
	{ "minute", 0, 59, NULL, 0 },
	{ "hour", 0, 23, NULL, 0 },
	{ "day of the month", 1, 31, NULL, 0 },
	{ "month", 1, 12, month_words, ARRAY_COUNT(month_words) },
	{ "day of the week", 0, 7, weekday_words, ARRAY_COUNT(weekday_words) },
};

static const struct {
	const char *name;
	const char *meaning;
} short_forms[] = {
	{ "@hourly", "0 * * * *" },
	{ "@daily", "0 0 * * *" },
	{ "@midnight", "0 0 * * *" },
	{ "@weekly", "0 0 * * 0" },
	{ "@monthly", "0 0 1 * *" },
	{ "@yearly", "0 0 1 1 *" },
	{ "@annually", "0 0 1 1 *" },
};

/* ---- reading ---- */

static enum err say(struct schedule_why *why, const char *format, ...) PRINTF_LIKE(2, 3);

/* For the one who says it, always ERR_INPUT. */
static enum err say(struct schedule_why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return ERR_INPUT;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span cut_word(struct span *rest)
{
	struct span word = *rest;

	while (word.len > 0 && is_blank(*word.at))
		word = span_after(word, 1);
	*rest = word;
	while (rest->len > 0 && !is_blank(*rest->at))
		*rest = span_after(*rest, 1);
	word.len -= rest->len;
	return word;
}

static enum err read_value(
	const struct field *field, struct span text, unsigned *out, struct schedule_why *why)
{
	uint64_t number;
	struct span digits = text;

	for (size_t i = 0; i < field->word_count; i++) {
		if (text.len == 3 && strncasecmp(text.at, field->words[i], 3) == 0) {
			*out = field->low + (unsigned)i;
			return ERR_OK;
		}
	}
	while (digits.len > 1 && *digits.at == '0')
		digits = span_after(digits, 1); /* 05 is common here */
	if (text_parse_u64(digits, &number) != ERR_OK || number < field->low ||
		number > field->high)
		return say(why, "%s: \"%s\" is not %u to %u%s", field->name, text_show(text).at,
			field->low, field->high,
			field->words == month_words     ? " or jan to dec"
			: field->words == weekday_words ? " or sun to sat (0 and 7 are Sunday)"
							: "");
	*out = (unsigned)number;
	return ERR_OK;
}

static enum err read_step(
	const struct field *field, struct span text, unsigned *out, struct schedule_why *why)
{
	uint64_t number;
	unsigned most = field->high - field->low;

	if (text_parse_u64(text, &number) != ERR_OK || number == 0 || number > most)
		return say(why, "%s: the step \"%s\" is not 1 to %u", field->name,
			text_show(text).at, most);
	*out = (unsigned)number;
	return ERR_OK;
}

/* One entry of a list: a star, a number or a range, perhaps with a step. */
static enum err read_entry(
	const struct field *field, struct span text, uint64_t *bits, struct schedule_why *why)
{
	struct span step_text = text;
	struct span from_text = text_cut(&step_text, '/');
	struct span to_text = from_text;
	bool is_star = span_is(from_text, "*");
	bool is_range = memchr(from_text.at, '-', from_text.len) != NULL;
	unsigned from = field->low;
	unsigned to = field->high;
	unsigned step = 1;
	enum err err = ERR_OK;

	if (!is_star) {
		from_text = text_cut(&to_text, '-');
		err = read_value(field, from_text, &from, why);
		to = from;
		if (err == ERR_OK && is_range)
			err = read_value(field, to_text, &to, why);
	}
	if (err != ERR_OK)
		return err;
	if (step_text.at != NULL) {
		if (!is_star && !is_range)
			return say(why, "%s: a step needs a range; write %u-%u/%s", field->name,
				from, field->high, text_show(step_text).at);
		err = read_step(field, step_text, &step, why);
		if (err != ERR_OK)
			return err;
	}
	if (is_range && field == &fields[WEEKDAYS] && to == 0 && from > 0)
		to = 7; /* fri-sun */
	if (from > to)
		return say(why, "%s: \"%s\" goes backwards; write %u-%u,%u-%u", field->name,
			text_show(text).at, from, field->high, field->low, to);
	for (unsigned n = from; n <= to; n += step)
		*bits |= UINT64_C(1) << n;
	return ERR_OK;
}

static enum err read_field(
	const struct field *field, struct span text, uint64_t *bits, struct schedule_why *why)
{
	struct span rest = text;
	enum err err = ERR_OK;

	*bits = 0;
	do {
		struct span entry = text_cut(&rest, ',');

		if (entry.len == 0)
			return say(why, "%s: \"%s\" has an empty place in its list",
				field->name, text_show(text).at);
		err = read_entry(field, entry, bits, why);
	} while (err == ERR_OK && rest.at != NULL);
	return err;
}

static bool comes_due(const struct schedule *s)
{
	/* Every day of the month falls on every weekday at some time, 29 February too. */
	if (s->any_day)
		return true;
	for (int month = 1; month <= 12; month++) {
		uint32_t days = (uint32_t)((UINT64_C(2) << zone_month_days(2000, month)) - 1);

		if ((s->months & 1u << month) != 0 && (s->days & days) != 0)
			return true;
	}
	return false;
}

static enum err expand(struct span *text, struct schedule_why *why)
{
	for (size_t i = 0; i < ARRAY_COUNT(short_forms); i++) {
		if (span_is(*text, short_forms[i].name)) {
			*text = span_of(short_forms[i].meaning);
			return ERR_OK;
		}
	}
	return say(why,
		"\"%s\" is unknown; there are @hourly, @daily, @weekly, @monthly and @yearly",
		text_show(*text).at);
}

enum err schedule_parse(struct span text, struct schedule *out, struct schedule_why *why)
{
	struct span rest = text_trim(text);
	struct span words[FIELDS];
	uint64_t bits[FIELDS] = { 0 };
	enum err err = ERR_OK;

	*out = (struct schedule){ 0 };
	why->text[0] = '\0';
	if (text.len > SCHEDULE_MAX_TEXT)
		return say(why, "longer than %d bytes", SCHEDULE_MAX_TEXT);
	if (rest.len > 0 && *rest.at == '@')
		err = expand(&rest, why);
	if (err != ERR_OK)
		return err;
	for (size_t i = 0; i < FIELDS; i++)
		words[i] = cut_word(&rest);
	if (words[FIELDS - 1].len == 0 || cut_word(&rest).len > 0)
		return say(why,
			"\"%s\" has not five fields: minute, hour, day of the month, "
			"month, day of the week, for example \"0 3 * * *\"",
			text_show(text).at);
	for (size_t i = 0; err == ERR_OK && i < FIELDS; i++)
		err = read_field(&fields[i], words[i], &bits[i], why);
	if (err != ERR_OK)
		return err;
	struct schedule s = {
		.minutes = bits[0],
		.hours = (uint32_t)bits[1],
		.days = (uint32_t)bits[2],
		.months = (uint32_t)bits[3],
		.weekdays = (uint32_t)((bits[4] | bits[4] >> 7) & 0x7f),
		.any_day = *words[2].at != '*' && *words[4].at != '*',
	};

	if (!comes_due(&s))
		return say(why, "\"%s\" never comes due: these months have no such day",
			text_show(text).at);
	*out = s;
	return ERR_OK;
}

void schedule_free(struct schedule *s)
{
	zone_close(&s->zone);
	*s = (struct schedule){ 0 };
}

/* ---- asking ---- */

static bool day_fits(const struct schedule *s, int day, unsigned weekday)
{
	bool day_is_right = (s->days & 1u << day) != 0;
	bool weekday_is_right = (s->weekdays & 1u << weekday) != 0;

	return s->any_day ? day_is_right || weekday_is_right : day_is_right && weekday_is_right;
}

/* The first minute of such a day that fits, not before `from`; -1: none. */
static int next_minute(const struct schedule *s, int from)
{
	for (int hour = from / 60; hour < 24; hour++) {
		if ((s->hours & 1u << hour) == 0)
			continue;
		for (int minute = hour == from / 60 ? from % 60 : 0; minute < 60; minute++) {
			if ((s->minutes & UINT64_C(1) << minute) != 0)
				return hour * 60 + minute;
		}
	}
	return -1;
}

/* The first time of the clock on the wall that fits, as if its clock were UTC; not before
 * from_s; to_s when there is none before that. */
static int64_t next_wall_s(const struct schedule *s, int64_t from_s, int64_t to_s)
{
	/* Two days more and less: the division has no negative numbers then. */
	int64_t day_number = (from_s + 2 * DAY_S) / DAY_S - 2;
	int minute = (int)((from_s - day_number * DAY_S + 59) / 60);

	while (day_number * DAY_S < to_s) {
		int year;
		int month;
		int day;

		zone_date_of(day_number, &year, &month, &day);
		if ((s->months & 1u << month) == 0) {
			day_number += zone_month_days(year, month) - day + 1;
			minute = 0;
			continue;
		}
		if (day_fits(s, day, (unsigned)((day_number + 18) % 7))) {
			int found = next_minute(s, minute);

			if (found >= 0) {
				int64_t at_s = day_number * DAY_S + found * 60;

				return at_s < to_s ? at_s : to_s;
			}
		}
		day_number++;
		minute = 0;
	}
	return to_s;
}

enum err schedule_next(const struct schedule *s, int64_t after_unix_s, int64_t *tick_unix_s_out)
{
	bool by_hours = s->hours != EVERY_HOUR;

	if (after_unix_s < 0)
		return ERR_INPUT;
	/* Two stretches a year, and 40 years between two leap days that are Sundays. */
	for (int64_t t = after_unix_s; t < SCHEDULE_END_UNIX_S - 1;) {
		int64_t from_s = t + 1;
		struct zone_stretch now = zone_stretch_at(&s->zone, from_s);
		int64_t end_s = now.to_unix_s < SCHEDULE_END_UNIX_S ? now.to_unix_s
								    : SCHEDULE_END_UNIX_S;
		int32_t jump_s = now.offset_s - now.offset_before_s;
		int64_t wall_s = from_s + now.offset_s;

		if (by_hours && jump_s > 0 && jump_s < JUMP_MAX_S &&
			from_s == now.from_unix_s) {
			/* What lies in the gap is due now, once. */
			if (next_wall_s(s, wall_s - jump_s, wall_s) < wall_s) {
				*tick_unix_s_out = from_s;
				return ERR_OK;
			}
		}
		if (by_hours && jump_s < 0 && jump_s > -JUMP_MAX_S &&
			wall_s < now.from_unix_s + now.offset_before_s)
			wall_s = now.from_unix_s + now.offset_before_s; /* shown before */
		int64_t found_s = next_wall_s(s, wall_s, end_s + now.offset_s);

		if (found_s < end_s + now.offset_s) {
			*tick_unix_s_out = found_s - now.offset_s;
			return ERR_OK;
		}
		t = end_s - 1;
	}
	return ERR_NOT_FOUND;
}
