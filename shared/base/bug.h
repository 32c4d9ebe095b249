/* bug.h - an invariant of ours that does not hold ends the process loudly, release builds
 * included.
 *
 * Only for our own mistakes. Whatever a peer, a file, a disk or a clock can cause is an error
 * path with a test, never a BUG_ON().
 * Layer: base. Uses: libc. */
#ifndef SALLYPORT_BASE_BUG_H
#define SALLYPORT_BASE_BUG_H

#include "base/macro.h"

/* Writes one log line that names the broken expression, then abort()s for the core dump. */
NORETURN void bug_report(const char *file, int line, const char *expression);

#define BUG_ON(condition)                                           \
	do {                                                        \
		if (__builtin_expect(!!(condition), 0))             \
			bug_report(__FILE__, __LINE__, #condition); \
	} while (0)

#endif
