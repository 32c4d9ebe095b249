#include "figures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void add_all(struct hist *h, const struct hist *from)
{
	for (size_t i = 0; i < HIST_SLOTS; i++)
		h->slot[i] += from->slot[i];
	h->count += from->count;
	h->sum_us += from->sum_us;
	if (from->max_us > h->max_us)
		h->max_us = from->max_us;
}

void rounds_add(struct rounds *r, const struct bench_result *result)
{
	add_all(&r->all, &result->hist);
	r->errors += result->errors;
	if (r->count >= FIGURES_MAX_ROUNDS)
		return;
	r->p50_us[r->count] = (double)hist_quantile_us(&result->hist, 0.5);
	r->p90_us[r->count] = (double)hist_quantile_us(&result->hist, 0.9);
	r->p99_us[r->count] = (double)hist_quantile_us(&result->hist, 0.99);
	r->per_second[r->count] = bench_per_second(result);
	r->count++;
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, unsigned count)
{
	double sorted[FIGURES_MAX_ROUNDS];

	if (count == 0)
		return 0;
	memcpy(sorted, values, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, compare_double);
	if (count % 2 == 1)
		return sorted[count / 2];
	return (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

struct figures rounds_figures(const struct rounds *r)
{
	return (struct figures){
		.p50_us = (uint64_t)median(r->p50_us, r->count),
		.p90_us = (uint64_t)median(r->p90_us, r->count),
		.p99_us = (uint64_t)median(r->p99_us, r->count),
		.max_us = r->all.max_us,
		.per_second = median(r->per_second, r->count),
		.count = r->all.count,
		.errors = r->errors,
	};
}

double figures_ratio(uint64_t a, uint64_t b)
{
	return b == 0 ? 0 : (double)a / (double)b;
}

void figures_json(struct buf *out, const char *name, const struct figures *f)
{
	buf_format(out,
		"\"%s\":{\"p50_us\":%" PRIu64 ",\"p90_us\":%" PRIu64 ",\"p99_us\":%" PRIu64
		",\"max_us\":%" PRIu64 ",\"per_second\":%.1f}",
		name, f->p50_us, f->p90_us, f->p99_us, f->max_us, f->per_second);
}

enum err figures_write(const char *path, const struct buf *json)
{
	FILE *file = buf_status(json) == ERR_OK ? fopen(path, "we") : NULL;

	if (file == NULL) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return ERR_IO;
	}
	bool is_written = fwrite(json->at, 1, json->len, file) == json->len;

	if (fclose(file) != 0 || !is_written) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return ERR_IO;
	}
	return ERR_OK;
}
