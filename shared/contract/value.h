/* value.h - JSON values compared as the standard means it: numbers by what they are worth,
 * objects whatever the order of their members.
 *
 * Work is paid from a budget, so that no choice of values makes it long.
 * Layer: contract. Uses: base, json, number. Thread: any. */
#ifndef SALLYPORT_CONTRACT_VALUE_H
#define SALLYPORT_CONTRACT_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "contract/json.h"

/* So many small steps may still be made. Once it is spent, no answer counts. */
struct budget {
	uint64_t left;
	bool is_spent;
};

/* False when it does not suffice; it is spent then. */
static inline bool budget_take(struct budget *b, uint64_t steps)
{
	if (b->left < steps) {
		b->left = 0;
		b->is_spent = true;
		return false;
	}
	b->left -= steps;
	return true;
}

/* One value of a document; at is the index of its token, never of a key's. */
struct value {
	const struct json_doc *doc;
	uint32_t at;
};

/* False also when the budget is spent. */
bool value_equals(struct value a, struct value b, struct budget *budget);

/* The same for equal values. 0 when the budget is spent. */
uint64_t value_hash(struct value v, struct budget *budget);

#endif
