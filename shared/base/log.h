/* log.h - one line per event to standard error, key=value; the supervisor keeps it.
 *
 * Every line begins with t= (UTC, RFC 3339, microseconds), level= and part= (the daemon). Keys
 * mean the same everywhere: msg= op= host= link= err= reason= client=. No bodies, no secrets.
 * Foreign text goes through text_show() into quotes. One write(2) per line; errno is kept.
 * A line never waits: one that standard error does not take is lost and counted, and the next
 * that it takes is told behind event=log-lines-lost count=.
 * Layer: base. Uses: libc. Thread: any. */
#ifndef SALLYPORT_BASE_LOG_H
#define SALLYPORT_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Until the first call: info and above, part "sallyport". `part` is borrowed for good. */
void log_open(const char *part, enum log_level most);

/* Standard error stays what it is from now on: how it is written to without waiting is found out
 * once, and costs a line no system call of its own. A pipe or a terminal is opened once more, for us
 * alone: O_NONBLOCK on the one we were given would be everybody's who has it. Where that may not
 * be, and before, poll(2) is asked each time, and another writer of the same pipe could come
 * between. */
void log_settle(void);
void log_unsettle(void);

/* Lines that standard error did not take, whole or in part; static storage, counts on. */
const uint64_t *log_lost(void);

/* From now on: `most` and above. */
void log_limit(enum log_level most);

bool log_wants(enum log_level level);

void log_line(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/* error, warn, info, debug. Returns ERR_INPUT for anything else. */
WARN_UNUSED enum err log_level_parse(struct span text, enum log_level *out);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                    \
	do {                                              \
		if (log_wants(LOG_DEBUG))                 \
			log_line(LOG_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
