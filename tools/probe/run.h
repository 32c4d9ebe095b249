/* run.h - all acts of a plan tried, one after the other, and what came of it.
 *
 * Layer: tools. Uses: base, act. Blocks. */
#ifndef SALLYPORT_PROBE_RUN_H
#define SALLYPORT_PROBE_RUN_H

#include "act.h"
#include "base/buf.h"

struct tally {
	unsigned tried;     /* forbidden acts that were tried */
	unsigned succeeded; /* of these: the broker did it, or would have */
	unsigned unproven;  /* of all acts: neither this nor that */
	unsigned tolerated;
	unsigned controls;
};

/* The acts that a plan has certificates for, whose names fit the pattern (NULL: all).
 * Returns: ERR_OK, probe_fini() frees; ERR_NOT_FOUND: the pattern fits none; ERR_NOMEM. */
WARN_UNUSED enum err probe_init(struct probe *p, const struct plan *plan, const char *pattern);
void probe_fini(struct probe *p);

/* Tries all of it.
 * Returns: ERR_OK; ERR_LINK: the broker cannot be reached, or could not be at the end, so that
 *          nothing is proven; `why` says more. */
WARN_UNUSED enum err probe_run(struct probe *p, struct outcome *why);

struct tally probe_tally(const struct probe *p);

/* For people: a line per act. For programs: one JSON object. */
void probe_print(const struct probe *p, struct buf *out);
void probe_print_json(const struct probe *p, struct buf *out);

#endif
