/* zone.h - a time zone: how far its clock is from UTC at any moment, and when that changes.
 *
 * Read from the system's TZif files (RFC 8536), not through libc: TZ and tzset() belong to the
 * whole process, localtime_r() reads them under every thread, and mktime() says which of two
 * equal local times it took only by accident. Here a zone is a value that anybody may ask.
 * Layer: contract. Uses: base. Thread: any, once it is open. */
#ifndef SALLYPORT_CONTRACT_ZONE_H
#define SALLYPORT_CONTRACT_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum {
	ZONE_MAX_NAME = 64,
	ZONE_MAX_BYTES = 64 * 1024,
	ZONE_MAX_CHANGES = 2000,
};

/* From this moment on the clock has this offset. */
struct zone_change {
	int64_t at_unix_s;
	int32_t offset_s; /* east of Greenwich is positive */
};

/* A day of the year on which the clock changes, every year alike. */
struct zone_day {
	enum { ZONE_DAY_JULIAN = 0, ZONE_DAY_COUNTED, ZONE_DAY_WEEKDAY } kind;
	int day;      /* julian: 1..365, 29 February never counts; counted: 0..365 */
	int month;    /* weekday: 1..12 */
	int week;     /* weekday: 1..5, 5 is the last one of the month */
	int weekday;  /* weekday: 0..6, Sunday is 0 */
	int32_t at_s; /* that day's local time before the change; may be below 0 or above 24 h */
};

/* A zeroed zone is UTC. */
struct zone {
	struct zone_change *changes; /* those that change something, in order */
	size_t change_count;
	int32_t first_offset_s; /* before the first change */
	/* After the last change, from the footer of the file. */
	bool has_rule;
	int32_t standard_s;
	int32_t summer_s;
	struct zone_day to_summer;
	struct zone_day to_standard;
};

/* A stretch of time in which the clock's offset is one and the same. */
struct zone_stretch {
	int64_t from_unix_s; /* INT64_MIN: always was */
	int64_t to_unix_s;   /* the first moment after it; INT64_MAX: ever since */
	int32_t offset_s;
	int32_t offset_before_s; /* of the stretch before; its own when there is none */
};

/* A zone by its IANA name: Europe/Berlin, UTC.
 *
 * Returns: ERR_OK; ERR_NOT_FOUND: this machine knows no such zone; ERR_INPUT: no name of a
 *          zone, or its file is none that we read (leap seconds, older than version 2);
 *          ERR_NOMEM; ERR_IO. Without ERR_OK out is zeroed.
 * Blocks:  reading the file. "UTC" needs none. */
WARN_UNUSED enum err zone_open(struct span name, struct zone *out);

/* The same from the bytes of such a file. */
WARN_UNUSED enum err zone_parse(struct span tzif, struct zone *out);

/* A zeroed zone is fine; it is zeroed afterwards. */
void zone_close(struct zone *z);

/* The stretch that this moment belongs to. Between the years -9999 and 9999 it is what the
 * zone says, beyond them anything. */
struct zone_stretch zone_stretch_at(const struct zone *z, int64_t unix_s);

/* Days since 1970-01-01 of a date of the Gregorian calendar, month from 1, and the way back.
 * Years -9999 to 9999. */
int64_t zone_days_of(int year, int month, int day);
void zone_date_of(int64_t days, int *year_out, int *month_out, int *day_out);
int zone_month_days(int year, int month);

#endif
