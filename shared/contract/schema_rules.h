/* schema_rules.h - what a compiled schema is made of; for the rooms of the schema only.
 *
 * Read-only once schema_create() has returned.
 * Layer: contract. Uses: base, json, number, format, pattern. */
#ifndef SALLYPORT_CONTRACT_SCHEMA_RULES_H
#define SALLYPORT_CONTRACT_SCHEMA_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "contract/format.h"
#include "contract/json.h"
#include "contract/number.h"
#include "contract/pattern.h"

enum rule_type {
	TYPE_NULL = 1 << 0,
	TYPE_BOOLEAN = 1 << 1,
	TYPE_WHOLE = 1 << 2, /* a number without a fraction: 1, 1.0, 1e3 */
	TYPE_BROKEN = 1 << 3,
	TYPE_TEXT = 1 << 4,
	TYPE_LIST = 1 << 5,
	TYPE_MAP = 1 << 6,
	TYPE_NUMBER = TYPE_WHOLE | TYPE_BROKEN,
	TYPE_ANY = (1 << 7) - 1,
};

struct number_rule {
	bool has_least;
	bool has_above;
	bool has_most;
	bool has_below;
	bool has_divisor;
	struct number least;
	struct number above; /* exclusiveMinimum */
	struct number most;
	struct number below;
	struct number divisor;
	bool is_simple; /* no divisor, and low to high say the same for whole numbers */
	int64_t low;
	int64_t high;
};

struct text_rule {
	uint64_t least; /* characters */
	uint64_t most;
	bool has_pattern;
	struct pattern pattern;
	enum format format;
};

struct list_rule {
	uint64_t least;
	uint64_t most;
	bool is_unique;
	const struct rule *const *prefix;
	size_t prefix_count;
	const struct rule *items; /* behind the prefix; NULL: any */
	const struct rule *contains;
	uint64_t contains_least;
	uint64_t contains_most;
};

struct member {
	struct span name;
	const struct rule *rule; /* NULL: not in properties */
	bool is_required;
	bool is_allowed; /* where the map is closed */
};

struct map_rule {
	uint64_t least;
	uint64_t most;
	const struct member *members; /* all names that are spoken of */
	uint32_t member_count;
	uint32_t required_count;
	const uint32_t *slots; /* of hashes: index + 1; NULL: few members */
	uint32_t slot_mask;
	const struct rule *others; /* additionalProperties; NULL: any */
	bool is_closed;            /* only members that are allowed; others is NULL */
};

/* enum, const. */
struct constants {
	const char *rule;
	const struct constants *more; /* or NULL */
	uint32_t count;
	const uint32_t *at; /* tokens of the schema's constants; by hash if there are hashes */
	const uint64_t *hashes; /* ascending; NULL: few */
};

/* What is said about the same value elsewhere. */
struct in_place {
	const struct rule *ref;
	const struct rule *const *all;
	size_t all_count;
	const struct rule *const *any;
	size_t any_count;
	const struct rule *const *one;
	size_t one_count;
	const struct rule *no;
	const struct rule *test; /* if */
	const struct rule *then;
	const struct rule *otherwise;
};

struct rule {
	unsigned types; /* of enum rule_type; 0: nothing may stand here */
	const struct constants *constants;
	const struct number_rule *number;
	const struct text_rule *text;
	const struct list_rule *list;
	const struct map_rule *map;
	const struct in_place *in_place;
	uint32_t index; /* among the drafts, while it is compiled */
};

struct schema {
	const struct rule *root;
	unsigned root_types; /* what can pass at all */
	struct arena arena;
	char *constants_text; /* a JSON array of all of them */
	struct json_doc constants;
};

/* The hash of a member's name. */
static inline uint32_t member_hash(struct span name)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ (unsigned char)name.at[i]) * 16777619u;
	return hash ^ hash >> 15;
}

/* NULL: no such member is spoken of. */
static inline const struct member *member_find(const struct map_rule *map, struct span name)
{
	if (map->slots == NULL) {
		for (uint32_t i = 0; i < map->member_count; i++)
			if (span_equals(map->members[i].name, name))
				return &map->members[i];
		return NULL;
	}
	for (uint32_t at = member_hash(name) & map->slot_mask; map->slots[at] != 0;
		at = (at + 1) & map->slot_mask) {
		const struct member *m = &map->members[map->slots[at] - 1];

		if (span_equals(m->name, name))
			return m;
	}
	return NULL;
}

#endif
