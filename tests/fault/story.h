/* story.h - a life of a store in a dozen transactions, told with what may be found of it
 * afterwards.
 *
 * Each step that succeeded must be found; each that failed may be found whole or not at all.
 * For the tests that let a disk, a memory or a process fail in the middle.
 * Layer: tests. Uses: store_rig. */
#ifndef SALLYPORT_TESTS_FAULT_STORY_H
#define SALLYPORT_TESTS_FAULT_STORY_H

#include "unit/store_rig.h"

enum { STORY_MESSAGES = 40 };

/* What a message may be found as: bits. */
enum story_may {
	STORY_ABSENT = 1,
	STORY_PENDING = 2,
	STORY_PARKED = 4,
	STORY_ENDED = 8,
};

struct story {
	struct rig *rig;
	unsigned may[STORY_MESSAGES];
	unsigned may_be_inbox; /* of the one inbox row: STORY_ABSENT, STORY_ENDED */
	unsigned failures;
};

/* Opens the store, lives the life, closes it. Never fails: what went wrong is in the story. */
void story_live(struct story *s, struct rig *rig);

/* The store is open and well: ends the test if anything is otherwise than it may be. */
void story_check(const struct story *s, const char *after_what, long n);

#endif
