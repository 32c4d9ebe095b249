/* figures.h - what a measurement found, over its rounds: medians, the worst, and as JSON.
 *
 * Layer: tests. Uses: base. */
#ifndef SALLYPORT_BENCH_FIGURES_H
#define SALLYPORT_BENCH_FIGURES_H

#include <stdbool.h>

#include "base/buf.h"
#include "bench_plan.h"

enum { FIGURES_MAX_ROUNDS = 100 };

/* The rounds of one kind of measurement, as they come. */
struct rounds {
	struct hist all; /* of all rounds together: for the picture and the maximum */
	double p50_us[FIGURES_MAX_ROUNDS];
	double p90_us[FIGURES_MAX_ROUNDS];
	double p99_us[FIGURES_MAX_ROUNDS];
	double per_second[FIGURES_MAX_ROUNDS];
	unsigned count;
	uint64_t errors;
};

/* The medians over the rounds, and the maximum of all. */
struct figures {
	uint64_t p50_us;
	uint64_t p90_us;
	uint64_t p99_us;
	uint64_t max_us;
	double per_second;
	uint64_t count;
	uint64_t errors;
};

/* Beyond FIGURES_MAX_ROUNDS only the histogram grows. */
void rounds_add(struct rounds *r, const struct bench_result *result);

struct figures rounds_figures(const struct rounds *r);

/* a / b, 0 when b is 0. */
double figures_ratio(uint64_t a, uint64_t b);

/* `"name":{"p50_us":…,"p90_us":…,"p99_us":…,"max_us":…,"per_second":…}` */
void figures_json(struct buf *out, const char *name, const struct figures *f);

/* Writes the text to the file. Returns ERR_OK, or an error after saying why on stderr. */
WARN_UNUSED enum err figures_write(const char *path, const struct buf *json);

#endif
