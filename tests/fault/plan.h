/* plan.h - which order a network gets when: read from a file, or made from a seed.
 *
 * The same seed, length and pace make the same plan everywhere, so a run can be repeated.
 * Layer: tests. Uses: base, order. Pure. */
#ifndef SALLYPORT_TESTS_FAULT_PLAN_H
#define SALLYPORT_TESTS_FAULT_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "order.h"

enum { PLAN_MAX_STEPS = 10000, PLAN_MAX_BYTES = 1024 * 1024 };

struct plan_step {
	uint64_t at_ms; /* since the start */
	struct order order;
};

struct plan {
	struct plan_step *steps; /* owned, in order */
	size_t count;
};

/* One step a line, "1500ms cut up 100"; empty lines and those with # do not count.
 *
 * Returns: ERR_OK; ERR_INPUT: line *line_out is none, or earlier than the one before; ERR_FULL;
 *          ERR_NOMEM. Without ERR_OK out is zeroed. */
WARN_UNUSED enum err plan_parse(struct span text, struct plan *out, size_t *line_out);

/* A fault about every `every_ms`, healed before the next one, until length_ms.
 *
 * Returns: ERR_OK; ERR_INPUT: every_ms below 10; ERR_FULL; ERR_NOMEM. */
WARN_UNUSED enum err plan_make(
	uint64_t seed, uint64_t length_ms, uint64_t every_ms, struct plan *out);

/* What plan_parse() reads as the same plan. */
void plan_format(const struct plan *plan, struct buf *out);

/* A zeroed plan is fine; it is zeroed afterwards. */
void plan_free(struct plan *plan);

#endif
