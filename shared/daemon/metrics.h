/* metrics.h - the counters of all rooms under their public names, written out for Prometheus.
 *
 * A room counts in a plain uint64_t of its own struct: one add, no call. The registry holds
 * where these stand, and names, labels and help, fixed when they are registered.
 * Names: sallyport_<what>_<unit>, counters end in _total, times are in seconds, sizes in bytes.
 * Layer: daemon. Uses: base. Never: the loop, HTTP. Thread: that of the counters. */
#ifndef SALLYPORT_DAEMON_METRICS_H
#define SALLYPORT_DAEMON_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hist.h"

enum { METRICS_MAX_SERIES = 10000, METRICS_MAX_LABELS = 4 };

/* Media type of what metrics_format() writes. */
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Up to METRICS_MAX_LABELS, ended by a NULL name. Values may be any text. */
struct metrics_label {
	const char *name;
	const char *value;
};

/* Asked each time the metrics are written. */
typedef double (*metrics_read_fn)(void *arg);

struct metrics_family;

struct metrics {
	struct metrics_family *first; /* in the order of registration */
	struct metrics_family *last;
	size_t series_count;
	enum err status; /* sticks: the first registration that failed */
};

void metrics_init(struct metrics *m);

/* A zeroed registry is fine. */
void metrics_fini(struct metrics *m);

/* Register one series. name and help are borrowed for good (literals), labels are copied and
 * may be NULL; value and arg are borrowed until metrics_fini(). The same name may come again
 * with other labels. Errors stick (metrics_status): ERR_NOMEM, ERR_FULL above
 * METRICS_MAX_SERIES. A bad name, or one name with two types or twice the same labels, is a bug
 * (BUG_ON). */
void metrics_counter(struct metrics *m, const char *name, const char *help,
	const struct metrics_label *labels, const uint64_t *value);
void metrics_gauge(struct metrics *m, const char *name, const char *help,
	const struct metrics_label *labels, metrics_read_fn read, void *arg);
void metrics_gauge_u64(struct metrics *m, const char *name, const char *help,
	const struct metrics_label *labels, const uint64_t *value);

/* Microseconds go in, buckets in seconds come out (0.1 ms to 60 s). A bucket's edge is sharp to
 * 3 %, as the histogram's slots are. */
void metrics_histogram(struct metrics *m, const char *name, const char *help,
	const struct metrics_label *labels, const struct hist *hist);

static inline enum err metrics_status(const struct metrics *m)
{
	return m->status;
}

/* Text exposition format 0.0.4. What does not fit sticks to `out`. */
void metrics_format(const struct metrics *m, struct buf *out);

#endif
