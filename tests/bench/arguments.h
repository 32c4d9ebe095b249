/* arguments.h - the command line of a program that measures: a table of --name VALUE.
 *
 * Layer: tests. Uses: base. */
#ifndef SALLYPORT_BENCH_ARGUMENTS_H
#define SALLYPORT_BENCH_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"

enum { ARGUMENTS_MAX = 32, ARGUMENTS_EXIT_USAGE = 2 };

/* One row; the macros below write it. Exactly one of text and number is set. */
struct argument {
	const char *name;         /* "calls" for --calls */
	const char **text;        /* gets the value as it is, borrowed from argv */
	uint64_t *number;         /* gets a whole number within min..max … */
	const char *const *words; /* … or which of these it is; ends with NULL */
	uint64_t min;
	uint64_t max;
	bool is_needed; /* a text that has no default */
};

/* clang-format off */
#define ARGUMENT_TEXT(named, at)   { .name = (named), .text = (at) }
#define ARGUMENT_NEEDED(named, at) { .name = (named), .text = (at), .is_needed = true }
#define ARGUMENT_WORD(named, at, list) { .name = (named), .number = (at), .words = (list) }
#define ARGUMENT_NUMBER(named, at, least, most) \
	{ .name = (named), .number = (at), .min = (least), .max = (most) }
/* clang-format on */

/* Reads the whole command line; what is not given stays as it is.
 *
 * Returns: ERR_OK; ERR_CANCEL when --help was asked for, the usage being on stdout;
 *          ERR_INPUT after saying on stderr what is wrong. */
WARN_UNUSED enum err arguments_parse(
	const struct argument *table, size_t count, const char *usage, int argc, char **argv);

/* A whole number within min..max; `name` is what it is called on stderr.
 * Returns: ERR_OK, or ERR_INPUT after saying so. */
WARN_UNUSED enum err arguments_number(
	const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
