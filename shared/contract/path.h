/* path.h - the way from the root of a file to one of its keys, under which mistakes are told.
 *
 * A path lives on the stack of whoever walks down: each step knows the one above it.
 * Layer: contract. Uses: base. Thread: the owner's. */
#ifndef SALLYPORT_CONTRACT_PATH_H
#define SALLYPORT_CONTRACT_PATH_H

#include "base/macro.h"
#include "base/report.h"
#include "base/span.h"

struct path {
	const struct path *up; /* NULL: this key stands at the top */
	struct span key;       /* borrowed */
};

/* Adds a mistake about this place to the report; its key is the path with dots between. */
void path_complain(struct report *report, const char *file, const struct path *path,
	unsigned line, unsigned column, const char *format, ...) PRINTF_LIKE(6, 7);

#endif
