/* relay_world.h - a world around the relay and the ledger that is made of bad luck, and a judge
 * who knows everything.
 *
 * One sender with an outbox on disk, a broker with one lane, two nodes of which one is active.
 * Everything that can go wrong does, by the numbers of one seed: nacks, cuts, crashes of either
 * side, a wiped broker, one that drops, repeats and reorders what it confirmed, lost receipts.
 * Then the world becomes kind, and everything has to end.
 * Layer: tests. Uses: message. */
#ifndef SALLYPORT_TESTS_UNIT_RELAY_WORLD_H
#define SALLYPORT_TESTS_UNIT_RELAY_WORLD_H

#include <stdint.h>

/* What the wiring does wrong on purpose: the judge has to see it. */
enum world_fault {
	WORLD_RIGHT = 0,
	WORLD_REMOVES_ON_CONFIRM, /* a confirm is taken for a receipt */
	WORLD_FORGETS_ON_LOSS, /* what was on its way when the link broke is taken for done */
	WORLD_TELLS_TOO_EARLY, /* the node tells an outcome before it has one */
	WORLD_IGNORES_PREV,    /* the node takes a row before the one that it names */
	WORLD_DEAF,            /* the relay gets no receipts */
	WORLD_FAULTS,
};

struct world_result {
	char failure[200]; /* empty: all is well */
	uint64_t seed;
	unsigned rows;
	unsigned published;
	unsigned runs;    /* of handlers */
	unsigned repeats; /* of them, beyond the first */
	unsigned faults;  /* that the world made */
	unsigned receipts;
	uint64_t kind_us; /* how long it took to end when the world was kind */
};

/* Takes: seed, not 0; steps, of bad luck. */
void world_run(uint64_t seed, unsigned steps, enum world_fault fault, struct world_result *out);

const char *world_fault_text(enum world_fault fault);

#endif
