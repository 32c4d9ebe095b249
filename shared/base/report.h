/* report.h - the mistakes found in a file that a person wrote: all of them at once, each with
 * its place.
 *
 * Whoever reads a file adds what is wrong and goes on reading; the caller prints the lot. The
 * count is bounded: what does not fit is counted, not kept.
 * Layer: base. Uses: libc. Thread: the owner's. */
#ifndef SALLYPORT_BASE_REPORT_H
#define SALLYPORT_BASE_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/macro.h"
#include "base/span.h"

enum { REPORT_MAX_MISTAKES = 50 };

struct mistake {
	char *file;      /* never NULL */
	char *key;       /* dotted path of the key it is about; "" when about the whole file */
	char *text;      /* what is wrong, then what would be right */
	unsigned line;   /* from 1; 0 when it is about no line (a key that is missing) */
	unsigned column; /* from 1, in characters; 0 when unknown */
};

struct report {
	struct mistake mistakes[REPORT_MAX_MISTAKES];
	size_t count;   /* how many are kept */
	size_t dropped; /* found too, but the report was full or memory short */
};

void report_init(struct report *r);

/* A zeroed report is fine, r is zeroed afterwards. */
void report_fini(struct report *r);

/* Keeps a copy of everything. file and key are shown with unprintable bytes escaped. */
void report_add(struct report *r, const char *file, unsigned line, unsigned column,
	struct span key, const char *format, ...) PRINTF_LIKE(6, 7);

/* Nothing was added, not even a mistake that had to be dropped. */
static inline bool report_is_empty(const struct report *r)
{
	return r->count == 0 && r->dropped == 0;
}

/* One line per mistake, "FILE:LINE:COLUMN: KEY: TEXT", by file in the order of their first
 * mistake, then by line; mistakes without a line come last in their file. */
void report_format(const struct report *r, struct buf *out);

/* The name that `word` was probably meant to be, or NULL when none is near. */
const char *report_nearest(struct span word, const char *const *names, size_t count);

#endif
