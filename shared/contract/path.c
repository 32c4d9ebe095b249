#include "contract/path.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"

enum { STEPS_SHOWN = 64 };

/* Of a very long path the end is shown. */
static void path_format(const struct path *path, struct buf *out)
{
	const struct path *steps[STEPS_SHOWN];
	size_t count = 0;

	for (; path != NULL && count < STEPS_SHOWN; path = path->up)
		steps[count++] = path;
	while (count > 0) {
		buf_append(out, steps[--count]->key);
		if (count > 0)
			buf_byte(out, '.');
	}
}

void path_complain(struct report *report, const char *file, const struct path *path,
	unsigned line, unsigned column, const char *format, ...)
{
	struct buf key;
	char text[400];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	buf_init(&key, KIB(4));
	path_format(path, &key);
	report_add(report, file, line, column, buf_span(&key), "%s", text);
	buf_fini(&key);
}
