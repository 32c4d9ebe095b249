#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048 };

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static struct {
	const char *part;
	enum log_level most;
} settings = { .part = "sallyport", .most = LOG_INFO };

void log_open(const char *part, enum log_level most)
{
	settings.part = part;
	settings.most = most;
}

void log_limit(enum log_level most)
{
	settings.most = most;
}

bool log_wants(enum log_level level)
{
	return level <= settings.most;
}

static size_t line_head(char *line, size_t room, enum log_level level)
{
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	int len = snprintf(line, room,
		"t=%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ level=%s part=%s ", utc.tm_year + 1900,
		utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
		now.tv_nsec / 1000, level_names[level], settings.part);

	return len < 0 || (size_t)len >= room ? 0 : (size_t)len;
}

void log_line(enum log_level level, const char *format, ...)
{
	if (!log_wants(level))
		return;
	int saved_errno = errno;
	char line[LINE_MAX_BYTES];
	size_t len = line_head(line, sizeof(line), level);
	va_list args;

	va_start(args, format);
	int more = vsnprintf(line + len, sizeof(line) - len - 1, format, args);

	va_end(args);
	if (more > 0) {
		size_t room = sizeof(line) - len - 2;

		len += (size_t)more < room ? (size_t)more : room;
	}
	line[len++] = '\n';
	/* A log that cannot be written must not stop the daemon: nobody is left to be told. */
	ssize_t written = write(STDERR_FILENO, line, len);

	(void)written;
	errno = saved_errno;
}

enum err log_level_parse(struct span text, enum log_level *out)
{
	for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
		if (!span_is(text, level_names[i]))
			continue;
		*out = (enum log_level)i;
		return ERR_OK;
	}
	return ERR_INPUT;
}
