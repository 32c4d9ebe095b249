/* schedule.h - when a task is due: a cron expression on the clock of a time zone.
 *
 * Five fields as in crontab(5): minute, hour, day of the month, month, day of the week. Each is a
 * star or a list of numbers and ranges; stars and ranges may have a step (1,15 or 9-17 or
 * 8-18/2). Months and weekdays have names (jan, MON), Sunday is 0 or 7. If both days are
 * restricted, one that fits is enough; one that begins with a star, stepped or not, must fit as
 * well. Instead of five fields: @hourly @daily (@midnight) @weekly @monthly @yearly (@annually).
 *
 * When the clock jumps we do as cron(8) of Debian (Vixie's) says it does:
 *   - a schedule that runs in every hour of the day follows the elapsed time: nothing is made
 *     up for an hour that was left out, an hour that comes twice has its ticks twice;
 *   - any other schedule has one tick, at the first moment after the gap, for all that lies in
 *     a gap; and none when the clock shows the same time once more;
 *   - a jump of three hours or more is a correction of the clock: no tick is made up or saved.
 * (Its source also counts every field for hours or minutes that begins with a star, stepped or
 * not, to the first kind: what is due every second hour gets lost in a gap. Here the hours decide
 * alone, and no such tick is lost.)
 *
 * Pure but for opening the zone. Layer: contract. Uses: base, zone. Thread: any. */
#ifndef SALLYPORT_CONTRACT_SCHEDULE_H
#define SALLYPORT_CONTRACT_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"
#include "contract/zone.h"

enum {
	SCHEDULE_MAX_TEXT = 256,
	SCHEDULE_WHY_ROOM = 400,
};

/* 9999-01-01, the end of time: there is no tick later. */
#define SCHEDULE_END_UNIX_S INT64_C(253370764800)

/* In each set bit n stands for the number n. */
struct schedule {
	uint64_t minutes;  /* 0..59 */
	uint32_t hours;    /* 0..23 */
	uint32_t days;     /* 1..31 */
	uint32_t months;   /* 1..12 */
	uint32_t weekdays; /* 0..6 */
	bool any_day;      /* either day that fits is enough */
	struct zone zone;  /* owned; zeroed: UTC */
};

/* What is wrong with an expression, and what would be right. */
struct schedule_why {
	char text[SCHEDULE_WHY_ROOM];
};

/* Reads an expression; its zone is UTC until somebody opens another into out->zone.
 *
 * Returns: ERR_OK; ERR_INPUT: it is none, or it never comes due (30 February), and why says so.
 *          Without ERR_OK out is zeroed. */
WARN_UNUSED enum err schedule_parse(
	struct span text, struct schedule *out, struct schedule_why *why);

/* A zeroed schedule is fine; it is zeroed afterwards. */
void schedule_free(struct schedule *s);

/* The first tick strictly after this moment (seconds since 1970). The work is bounded, however
 * far away it is.
 *
 * Returns: ERR_OK; ERR_NOT_FOUND: none before SCHEDULE_END_UNIX_S; ERR_INPUT: `after` lies
 *          before 1970. */
WARN_UNUSED enum err schedule_next(
	const struct schedule *s, int64_t after_unix_s, int64_t *tick_unix_s_out);

#endif
