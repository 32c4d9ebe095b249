#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048, LOST_MAX_BYTES = 256 };

/* Where a pipe takes anything at all, it takes so much at once. */
static_assert(
	1 + LOST_MAX_BYTES + LINE_MAX_BYTES <= PIPE_BUF, "a line is written in one piece");

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static struct {
	const char *part;
	enum log_level most;
} settings = { .part = "sallyport", .most = LOG_INFO };

/* How a line gets out without waiting for whoever reads. */
static struct {
	enum { SINK_ANY = 0, SINK_FILE, SINK_SOCKET, SINK_OWN } kind;
	int fd;
} sink = { .fd = STDERR_FILENO };

static uint64_t lost_count;           /* written atomically, lent out to be read */
static _Atomic uint64_t untold_count; /* of these, no line has told yet */
static atomic_bool is_torn;           /* the last line has no end */

void log_open(const char *part, enum log_level most)
{
	settings.part = part;
	settings.most = most;
}

void log_unsettle(void)
{
	if (sink.kind == SINK_OWN)
		close(sink.fd);
	sink.kind = SINK_ANY;
	sink.fd = STDERR_FILENO;
}

void log_settle(void)
{
	struct stat about;

	log_unsettle();
	if (fstat(STDERR_FILENO, &about) != 0)
		return;
	if (S_ISREG(about.st_mode)) {
		sink.kind = SINK_FILE;
	} else if (S_ISSOCK(about.st_mode)) {
		sink.kind = SINK_SOCKET;
	} else {
		int fd = open("/proc/self/fd/2",
			O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (fd < 0)
			return;
		sink.kind = SINK_OWN;
		sink.fd = fd;
	}
}

const uint64_t *log_lost(void)
{
	return &lost_count;
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

/* Returns write(2)'s. */
static ssize_t put(const char *bytes, size_t len)
{
	struct pollfd room = { .fd = sink.fd, .events = POLLOUT };

	switch (sink.kind) {
	case SINK_SOCKET:
		return send(sink.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	case SINK_ANY:
		if (poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0)
			return -1;
		break;
	case SINK_FILE:
	case SINK_OWN:
		break;
	}
	ssize_t written;

	do
		written = write(sink.fd, bytes, len);
	while (written < 0 && errno == EINTR);
	return written;
}

/* A log that cannot be written must not stop the daemon: nobody is left to be told, but by the
 * next line that can. */
static void put_line(const char *line, size_t len)
{
	char text[1 + LOST_MAX_BYTES + LINE_MAX_BYTES];
	size_t at = 0;
	bool was_torn = atomic_exchange(&is_torn, false);
	uint64_t untold = atomic_exchange(&untold_count, 0);

	if (was_torn)
		text[at++] = '\n';
	if (untold > 0) {
		at += line_head(text + at, LOST_MAX_BYTES, LOG_WARN);
		int more = snprintf(text + at, LOST_MAX_BYTES / 2,
			"event=log-lines-lost count=%llu\n", (unsigned long long)untold);

		at += more < 0 ? 0 : (size_t)more;
	}
	memcpy(text + at, line, len);
	at += len;
	ssize_t written = put(text, at);

	if (written == (ssize_t)at)
		return;
	if (written > 0 || was_torn)
		atomic_store(&is_torn, true);
	atomic_fetch_add(&untold_count, untold + 1);
	__atomic_fetch_add(&lost_count, 1, __ATOMIC_RELAXED);
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
	put_line(line, len);
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
