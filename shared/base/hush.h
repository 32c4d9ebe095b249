/* hush.h - how many lines of the log one cause may fill: a few at once, then one now and then,
 * and a count of those that were left out.
 *
 * An owned web host, or broker, makes as many mistakes as it likes; it may not fill our disk by
 * them. What
 * is counted elsewhere goes on being counted.
 * Pure. Layer: base. Uses: libc. Never: the log, a clock. Thread: the owner's. */
#ifndef SALLYPORT_BASE_HUSH_H
#define SALLYPORT_BASE_HUSH_H

#include <stdbool.h>
#include <stdint.h>

enum {
	HUSH_BURST = 20,            /* lines of one cause at once */
	HUSH_LINE_EVERY_MS = 30000, /* one more afterwards */
	HUSH_CAUSES = 32,
};

struct hush_cause {
	const char *name; /* NULL: not used */
	unsigned lines_left;
	uint64_t filled_at_ms;
	uint64_t unsaid; /* lines left out since hush_take() */
};

struct hush {
	struct hush_cause causes[HUSH_CAUSES];
	uint64_t unsaid_count; /* lines left out, ever, of all causes */
};

/* May a line with this cause be written now? If not, it is counted as unsaid.
 * Takes: cause has static storage; of more than HUSH_CAUSES the last share one budget. */
bool hush_allows(struct hush *h, const char *cause, uint64_t now_ms);

/* The next cause with lines that were left out, its name in *cause, and how many; they count as
 * told then. 0: there is none. */
uint64_t hush_take(struct hush *h, const char **cause);

#endif
