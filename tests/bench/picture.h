/* picture.h - two distributions of latency beside each other in a terminal: rows of a log
 * scale, bars of the share that fell into each, and where p50, p90, p99 and the maximum lie.
 *
 * UTF-8 eighths of a cell where the locale has them, plain ASCII elsewhere; no colour with
 * NO_COLOR, with TERM=dumb, or when the output is no terminal.
 * Layer: tests. Uses: base. */
#ifndef SALLYPORT_BENCH_PICTURE_H
#define SALLYPORT_BENCH_PICTURE_H

#include <stdbool.h>
#include <stdio.h>

#include "figures.h"

struct picture_style {
	bool has_utf8;
	bool has_colour;
	unsigned columns; /* width of the terminal */
};

struct picture_side {
	const char *title;
	const struct hist *hist;
	struct figures figures;
};

/* What `out` and the environment allow. setlocale(LC_CTYPE, "") has been called. */
struct picture_style picture_style_of(FILE *out);

/* left is the floor, right what is compared with it. */
void picture_draw(FILE *out, const struct picture_style *style, const struct picture_side *left,
	const struct picture_side *right);

/* "412 µs", "1.34 ms", "2.1 s" in at most 12 bytes and 8 cells; us only in ASCII. */
struct picture_time {
	char at[16];
};
struct picture_time picture_time(const struct picture_style *style, uint64_t us);

/* A row for each of `sides` with p50, p90, p99, max and the rate. */
void picture_table(FILE *out, const struct picture_style *style,
	const struct picture_side *sides, unsigned count);

#endif
