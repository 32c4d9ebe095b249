/* The walk over a value along its schema. It stops at the first thing that is wrong; inside of
 * anyOf, oneOf, not, if and contains, where that is no mistake yet, it is quiet about it. Every
 * step is paid from a budget in proportion to the value, so nested alternatives cannot explode. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/report.h"
#include "contract/schema.h"
#include "contract/schema_rules.h"
#include "contract/value.h"

enum {
	STEPS_AT_LEAST = 250000,
	STEPS_A_BYTE = 16,
	STEPS_A_VALUE = 50,
	DEPTH_MAX = 2000, /* of rules within rules: the stack */
	FEW_ITEMS = 16,   /* so many are compared each with each */
	FAST_DIGITS = 18, /* always fit 64 bits */
	NEAR_NAMES = 64,
	NEAR_BYTES = 64,
};

struct check {
	const struct schema *schema;
	const struct json_doc *doc;
	uint32_t root;
	unsigned quiet; /* above 0: failures are not told */
	unsigned depth;
	struct budget budget;
	bool is_short_of_memory;
	struct schema_failure *failure;
};

static bool check_rule(struct check *c, const struct rule *rule, uint32_t at);

static const struct json_token *token(const struct check *c, uint32_t at)
{
	return &c->doc->tokens[at];
}

static uint32_t index_of(const struct check *c, const struct json_token *t)
{
	return (uint32_t)(t - c->doc->tokens);
}

/* ---- what is told ---- */

struct pointer {
	char *at;
	size_t room; /* without the NUL */
};

static void put(struct pointer *p, char c)
{
	if (p->room == 0)
		return;
	*p->at++ = c;
	p->room--;
}

static void put_index(struct pointer *p, uint32_t index)
{
	char digits[16];
	int len = snprintf(digits, sizeof(digits), "/%u", index);

	for (int i = 0; i < len; i++)
		put(p, digits[i]);
}

static void put_key(struct pointer *p, const struct json_doc *doc, const struct json_token *key)
{
	struct json_walk walk = json_walk_begin(doc, key);

	put(p, '/');
	for (int c = json_walk_byte(&walk); c != -1 && p->room > 0; c = json_walk_byte(&walk)) {
		if (c == '~' || c == '/') {
			put(p, '~');
			put(p, c == '~' ? '0' : '1');
		} else {
			put(p, c == '\0' ? '?' : (char)c);
		}
	}
}

/* The child of `from` that is or holds `at`. */
static uint32_t step_towards(
	const struct check *c, uint32_t from, uint32_t at, struct pointer *p)
{
	bool is_map = token(c, from)->kind == JSON_OBJECT;
	uint32_t child = from + 1;

	for (uint32_t i = 0;; i++) {
		uint32_t value = is_map ? child + 1 : child;
		uint32_t next = token(c, value)->next;

		if (at < next) {
			if (is_map)
				put_key(p, c->doc, token(c, child));
			else
				put_index(p, i);
			return value;
		}
		child = next;
	}
}

static void tell_pointer(struct check *c, uint32_t at)
{
	struct pointer p = { c->failure->pointer, SCHEMA_POINTER_BYTES - 1 };

	for (uint32_t from = c->root; from != at;)
		from = step_towards(c, from, at, &p);
	*p.at = '\0';
}

static bool fail(struct check *c, uint32_t at, const char *rule, const char *format, ...)
	PRINTF_LIKE(4, 5);

/* Always false. */
static bool fail(struct check *c, uint32_t at, const char *rule, const char *format, ...)
{
	va_list args;

	if (c->quiet > 0)
		return false;
	c->failure->rule = rule;
	tell_pointer(c, at);
	va_start(args, format);
	if (vsnprintf(c->failure->text, sizeof(c->failure->text), format, args) < 0)
		c->failure->text[0] = '\0';
	va_end(args);
	return false;
}

static const char *types_text(unsigned types, char room[SCHEMA_TEXT_BYTES])
{
	static const struct {
		unsigned bits;
		const char *name;
	} names[] = {
		{ TYPE_NUMBER, "number" },
		{ TYPE_WHOLE, "integer" },
		{ TYPE_TEXT, "string" },
		{ TYPE_BOOLEAN, "boolean" },
		{ TYPE_MAP, "object" },
		{ TYPE_LIST, "array" },
		{ TYPE_NULL, "null" },
	};
	int len = 0;

	room[0] = '\0';
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if ((types & names[i].bits) != names[i].bits)
			continue;
		types &= ~names[i].bits;
		len += snprintf(room + len, (size_t)(SCHEMA_TEXT_BYTES - len), "%s%s",
			len == 0 ? "" : " or ", names[i].name);
	}
	return room;
}

/* ---- kinds ---- */

static unsigned type_of(const struct check *c, const struct json_token *t)
{
	struct number n;

	switch (t->kind) {
	case JSON_NULL:
		return TYPE_NULL;
	case JSON_FALSE:
	case JSON_TRUE:
		return TYPE_BOOLEAN;
	case JSON_INTEGER:
		return TYPE_WHOLE;
	case JSON_REAL:
		n = number_read(json_written(c->doc, t));
		return number_is_whole(&n) ? TYPE_WHOLE : TYPE_BROKEN;
	case JSON_TEXT:
	case JSON_KEY:
		return TYPE_TEXT;
	case JSON_ARRAY:
		return TYPE_LIST;
	case JSON_OBJECT:
		break;
	}
	return TYPE_MAP;
}

static bool check_type(struct check *c, const struct rule *rule, uint32_t at)
{
	const struct json_token *t = token(c, at);
	char room[SCHEMA_TEXT_BYTES];
	char room_too[SCHEMA_TEXT_BYTES];

	if (rule->types == TYPE_ANY)
		return true;
	if (t->kind == JSON_REAL && (rule->types & TYPE_NUMBER) == TYPE_NUMBER)
		return true;
	unsigned type = type_of(c, t);

	if ((rule->types & type) != 0)
		return true;
	if (c->quiet > 0)
		return false;
	if (rule->types == 0)
		return fail(c, at, "false", "nothing may stand here");
	return fail(c, at, "type", "is %s, must be %s",
		type == TYPE_BROKEN ? "no integer" : types_text(type, room),
		types_text(rule->types, room_too));
}

/* ---- constants ---- */

static bool is_constant(struct check *c, uint32_t constant, uint32_t at)
{
	struct value a = { &c->schema->constants, constant };
	struct value b = { c->doc, at };

	return value_equals(a, b, &c->budget);
}

static bool is_among(struct check *c, const struct constants *all, uint32_t at)
{
	if (all->hashes == NULL) {
		for (uint32_t i = 0; i < all->count; i++)
			if (is_constant(c, all->at[i], at))
				return true;
		return false;
	}
	uint64_t hash = value_hash((struct value){ c->doc, at }, &c->budget);
	uint32_t low = 0;
	uint32_t high = all->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (all->hashes[middle] < hash)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < all->count && all->hashes[low] == hash; low++)
		if (is_constant(c, all->at[low], at))
			return true;
	return false;
}

static bool check_constants(struct check *c, const struct constants *all, uint32_t at)
{
	for (; all != NULL; all = all->more) {
		if (is_among(c, all, at))
			continue;
		if (all->count == 1)
			return fail(
				c, at, all->rule, "is not the one value that may stand here");
		return fail(c, at, all->rule, "is none of the %u values that may stand here",
			all->count);
	}
	return true;
}

/* ---- numbers ---- */

static int64_t small_integer(struct span digits)
{
	bool is_negative = digits.at[0] == '-';
	int64_t value = 0;

	for (size_t i = is_negative; i < digits.len; i++)
		value = value * 10 + (digits.at[i] - '0');
	return is_negative ? -value : value;
}

/* For "%.*s": as the schema has it. */
#define SHOWN(number) \
	(int)((number).written.len < 40 ? (number).written.len : 40), (number).written.at

static bool check_number(struct check *c, const struct number_rule *rule, uint32_t at)
{
	const struct json_token *t = token(c, at);
	struct span written = json_written(c->doc, t);

	if (rule->is_simple && t->kind == JSON_INTEGER && t->size <= FAST_DIGITS) {
		int64_t value = small_integer(written);

		if (value >= rule->low && value <= rule->high)
			return true;
	}
	struct number n = number_read(written);

	if (!budget_take(&c->budget, t->size))
		return false;
	if (rule->has_least && number_compare(&n, &rule->least) < 0)
		return fail(c, at, "minimum", "is below %.*s", SHOWN(rule->least));
	if (rule->has_most && number_compare(&n, &rule->most) > 0)
		return fail(c, at, "maximum", "is above %.*s", SHOWN(rule->most));
	if (rule->has_above && number_compare(&n, &rule->above) <= 0)
		return fail(c, at, "exclusiveMinimum", "is not above %.*s", SHOWN(rule->above));
	if (rule->has_below && number_compare(&n, &rule->below) >= 0)
		return fail(c, at, "exclusiveMaximum", "is not below %.*s", SHOWN(rule->below));
	if (rule->has_divisor && !number_divides(&rule->divisor, &n))
		return fail(
			c, at, "multipleOf", "is no multiple of %.*s", SHOWN(rule->divisor));
	return true;
}

#undef SHOWN

/* ---- texts ---- */

/* Counting is left out where the bytes say enough. */
static bool check_length(struct check *c, const struct text_rule *rule, uint32_t at)
{
	const struct json_token *t = token(c, at);

	if (t->size <= rule->most && rule->least <= (t->size > 0))
		return true;
	if (!budget_take(&c->budget, t->size))
		return false;
	size_t length = json_text_length(c->doc, t);

	if (length < rule->least)
		return fail(c, at, "minLength", "has %zu characters, at least %llu", length,
			(unsigned long long)rule->least);
	if (length > rule->most)
		return fail(c, at, "maxLength", "has %zu characters, at most %llu", length,
			(unsigned long long)rule->most);
	return true;
}

static bool fits_format(struct check *c, enum format format, const struct json_token *t)
{
	enum { AT_HAND_BYTES = 1024 };
	struct json_walk walk = json_walk_begin(c->doc, t);
	char at_hand[AT_HAND_BYTES];
	size_t len = 0;

	if (!t->has_escapes)
		return format_fits(format, json_written(c->doc, t));
	char *meant = t->size <= sizeof(at_hand) ? at_hand : malloc(t->size);

	if (meant == NULL) {
		c->is_short_of_memory = true;
		return false;
	}
	for (int byte = json_walk_byte(&walk); byte != -1; byte = json_walk_byte(&walk))
		meant[len++] = (char)byte;
	bool fits = format_fits(format, (struct span){ meant, len });

	if (meant != at_hand)
		free(meant);
	return fits;
}

static bool check_text(struct check *c, const struct text_rule *rule, uint32_t at)
{
	const struct json_token *t = token(c, at);

	if (!check_length(c, rule, at))
		return false;
	if (rule->has_pattern &&
		!pattern_fits(&rule->pattern, json_walk_begin(c->doc, t), &c->budget))
		return fail(c, at, "pattern", "does not fit the pattern");
	if (rule->format != FORMAT_NONE &&
		(!budget_take(&c->budget, t->size) || !fits_format(c, rule->format, t)))
		return fail(c, at, "format", "is no %s", format_text(rule->format));
	return true;
}

/* ---- lists ---- */

struct hashed {
	uint64_t hash;
	uint32_t at;
	uint32_t index;
};

static int compare_hashed(const void *left, const void *right)
{
	const struct hashed *a = left;
	const struct hashed *b = right;

	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static bool items_equal(struct check *c, uint32_t a, uint32_t b)
{
	return value_equals(
		(struct value){ c->doc, a }, (struct value){ c->doc, b }, &c->budget);
}

static bool fail_unique(struct check *c, uint32_t at, uint32_t a, uint32_t b)
{
	return fail(c, at, "uniqueItems", "items %u and %u are equal", a, b);
}

/* Those of one hash follow each other. */
static bool are_different(
	struct check *c, uint32_t at, const struct hashed *all, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t k = i + 1; k < count && all[k].hash == all[i].hash; k++)
			if (items_equal(c, all[i].at, all[k].at))
				return fail_unique(c, at, all[i].index, all[k].index);
	return !c->budget.is_spent;
}

static bool check_unique(struct check *c, uint32_t at)
{
	uint32_t count = token(c, at)->size;
	struct hashed few[FEW_ITEMS];
	struct hashed *all = count <= FEW_ITEMS ? few : malloc(count * sizeof(*all));
	uint32_t item = at + 1;

	if (all == NULL) {
		c->is_short_of_memory = true;
		return false;
	}
	for (uint32_t i = 0; i < count; i++, item = token(c, item)->next)
		all[i] = (struct hashed){
			.hash = count <= FEW_ITEMS ? 0
						   : value_hash((struct value){ c->doc, item },
							     &c->budget),
			.at = item,
			.index = i,
		};
	if (count > FEW_ITEMS)
		qsort(all, count, sizeof(*all), compare_hashed);
	bool fine = are_different(c, at, all, count);

	if (all != few)
		free(all);
	return fine;
}

static bool is_quietly(struct check *c, const struct rule *rule, uint32_t at)
{
	c->quiet++;
	bool is = check_rule(c, rule, at);

	c->quiet--;
	return is;
}

static bool check_contains(struct check *c, const struct list_rule *rule, uint32_t at)
{
	uint32_t item = at + 1;
	uint64_t found = 0;

	for (uint32_t i = 0; i < token(c, at)->size; i++, item = token(c, item)->next)
		found += is_quietly(c, rule->contains, item);
	if (found < rule->contains_least)
		return fail(c, at, rule->contains_least == 1 ? "contains" : "minContains",
			"%llu items are as contains says, at least %llu",
			(unsigned long long)found, (unsigned long long)rule->contains_least);
	if (found > rule->contains_most)
		return fail(c, at, "maxContains",
			"%llu items are as contains says, at most %llu",
			(unsigned long long)found, (unsigned long long)rule->contains_most);
	return true;
}

static bool check_list(struct check *c, const struct list_rule *rule, uint32_t at)
{
	uint32_t count = token(c, at)->size;
	uint32_t item = at + 1;

	if (count < rule->least)
		return fail(c, at, "minItems", "has %u items, at least %llu", count,
			(unsigned long long)rule->least);
	if (count > rule->most)
		return fail(c, at, "maxItems", "has %u items, at most %llu", count,
			(unsigned long long)rule->most);
	for (uint32_t i = 0; i < count; i++, item = token(c, item)->next) {
		const struct rule *about = i < rule->prefix_count ? rule->prefix[i]
								  : rule->items;

		if (about == NULL)
			break;
		if (about->types == 0 && i >= rule->prefix_count)
			return fail(c, item, "items", "no more than %zu items may stand here",
				rule->prefix_count);
		if (!check_rule(c, about, item))
			return false;
	}
	if (rule->is_unique && !check_unique(c, at))
		return false;
	return rule->contains == NULL || check_contains(c, rule, at);
}

/* ---- maps ---- */

/* The names come mostly in the order of the schema: *hint is the member after the last one. */
static const struct member *find_member(struct check *c, const struct map_rule *rule,
	const struct json_token *key, uint32_t *hint)
{
	const struct member *found = NULL;

	if (!key->has_escapes) {
		struct span name = json_written(c->doc, key);

		found = *hint < rule->member_count &&
					span_equals(rule->members[*hint].name, name)
				? &rule->members[*hint]
				: member_find(rule, name);
	} else if (budget_take(&c->budget, rule->member_count)) {
		for (uint32_t i = 0; i < rule->member_count && found == NULL; i++)
			if (json_text_is(c->doc, key, rule->members[i].name))
				found = &rule->members[i];
	}
	if (found != NULL)
		*hint = (uint32_t)(found - rule->members) + 1;
	return found;
}

static bool fail_unknown(
	struct check *c, const struct map_rule *rule, uint32_t at, const struct json_token *key)
{
	const char *names[NEAR_NAMES];
	const char *near = NULL;
	size_t count = 0;

	if (c->quiet > 0)
		return false;
	for (uint32_t i = 0; i < rule->member_count && count < NEAR_NAMES; i++)
		if (rule->members[i].rule != NULL || rule->members[i].is_allowed)
			names[count++] = rule->members[i].name.at;
	if (key->size <= NEAR_BYTES && !key->has_escapes)
		near = report_nearest(json_written(c->doc, key), names, count);
	if (near != NULL)
		return fail(c, at, "additionalProperties",
			"no such member; did you mean \"%.64s\"?", near);
	return fail(c, at, "additionalProperties", "no such member");
}

static bool check_member(struct check *c, const struct map_rule *rule, const struct member *m,
	const struct json_token *key)
{
	uint32_t at = index_of(c, key) + 1;

	if (m != NULL && m->rule != NULL)
		return check_rule(c, m->rule, at);
	if (rule->others != NULL && rule->others->types == 0)
		return fail_unknown(c, rule, at, key);
	if (rule->others != NULL)
		return check_rule(c, rule->others, at);
	if (rule->is_closed && (m == NULL || !m->is_allowed))
		return fail_unknown(c, rule, at, key);
	return true;
}

static bool has_key(struct check *c, uint32_t at, struct span name)
{
	const struct json_token *map = token(c, at);
	const struct json_token *key = map + 1;

	if (!budget_take(&c->budget, map->size))
		return false;
	for (uint32_t i = 0; i < map->size; i++) {
		if (json_text_is(c->doc, key, name))
			return true;
		if (i + 1 < map->size)
			key = json_next_key(c->doc, key);
	}
	return false;
}

static bool check_required(struct check *c, const struct map_rule *rule, uint32_t at)
{
	for (uint32_t i = 0; i < rule->member_count; i++) {
		const struct member *m = &rule->members[i];

		if (m->is_required && !has_key(c, at, m->name))
			return fail(c, at, "required", "\"%.64s\" is missing", m->name.at);
	}
	return true;
}

static bool check_map(struct check *c, const struct map_rule *rule, uint32_t at)
{
	const struct json_token *map = token(c, at);
	const struct json_token *key = map + 1;
	uint32_t required = 0;
	uint32_t hint = 0;

	if (map->size < rule->least)
		return fail(c, at, "minProperties", "has %u members, at least %llu", map->size,
			(unsigned long long)rule->least);
	if (map->size > rule->most)
		return fail(c, at, "maxProperties", "has %u members, at most %llu", map->size,
			(unsigned long long)rule->most);
	for (uint32_t i = 0; i < map->size; i++) {
		const struct member *m = find_member(c, rule, key, &hint);

		required += m != NULL && m->is_required;
		if (!check_member(c, rule, m, key))
			return false;
		if (i + 1 < map->size)
			key = json_next_key(c->doc, key);
	}
	if (required == rule->required_count && !map->has_twins)
		return true;
	return check_required(c, rule, at);
}

/* ---- elsewhere ---- */

static bool check_any(struct check *c, const struct in_place *more, uint32_t at)
{
	for (size_t i = 0; i < more->any_count; i++)
		if (is_quietly(c, more->any[i], at))
			return true;
	return more->any_count == 0 ||
	       fail(c, at, "anyOf", "is as none of the %zu alternatives says", more->any_count);
}

static bool check_one(struct check *c, const struct in_place *more, uint32_t at)
{
	size_t found = 0;

	for (size_t i = 0; i < more->one_count; i++)
		found += is_quietly(c, more->one[i], at);
	if (more->one_count == 0 || found == 1)
		return true;
	if (found == 0)
		return fail(c, at, "oneOf", "is as none of the %zu alternatives says",
			more->one_count);
	return fail(
		c, at, "oneOf", "is as %zu of the alternatives say, only one may fit", found);
}

static bool check_in_place(struct check *c, const struct in_place *more, uint32_t at)
{
	if (more->ref != NULL && !check_rule(c, more->ref, at))
		return false;
	for (size_t i = 0; i < more->all_count; i++)
		if (!check_rule(c, more->all[i], at))
			return false;
	if (!check_any(c, more, at) || !check_one(c, more, at))
		return false;
	if (more->no != NULL && is_quietly(c, more->no, at))
		return fail(c, at, "not", "is as it must not be");
	if (more->test == NULL)
		return true;
	const struct rule *next = is_quietly(c, more->test, at) ? more->then : more->otherwise;

	return next == NULL || check_rule(c, next, at);
}

static bool check_kind(struct check *c, const struct rule *rule, uint32_t at)
{
	switch (token(c, at)->kind) {
	case JSON_INTEGER:
	case JSON_REAL:
		return rule->number == NULL || check_number(c, rule->number, at);
	case JSON_TEXT:
		return rule->text == NULL || check_text(c, rule->text, at);
	case JSON_ARRAY:
		return rule->list == NULL || check_list(c, rule->list, at);
	case JSON_OBJECT:
		return rule->map == NULL || check_map(c, rule->map, at);
	case JSON_NULL:
	case JSON_FALSE:
	case JSON_TRUE:
	case JSON_KEY:
		break;
	}
	return true;
}

static bool check_rule(struct check *c, const struct rule *rule, uint32_t at)
{
	if (c->depth == DEPTH_MAX)
		c->budget.is_spent = true;
	/* A budget once spent ends everything: no answer counts any more. */
	if (c->budget.is_spent || !budget_take(&c->budget, 1))
		return false;
	c->depth++;
	bool fine = check_type(c, rule, at) &&
		    (rule->constants == NULL || check_constants(c, rule->constants, at)) &&
		    check_kind(c, rule, at) &&
		    (rule->in_place == NULL || check_in_place(c, rule->in_place, at));

	c->depth--;
	return fine && !c->budget.is_spent;
}

static uint64_t steps_for(const struct json_doc *doc)
{
	const struct json_token *last = &doc->tokens[doc->count - 1];

	return STEPS_AT_LEAST + (uint64_t)STEPS_A_VALUE * doc->count +
	       (uint64_t)STEPS_A_BYTE * ((uint64_t)last->at + last->size);
}

enum err schema_check(const struct schema *s, const struct json_doc *doc, uint32_t at,
	struct schema_failure *failure)
{
	struct check c = {
		.schema = s,
		.doc = doc,
		.root = at,
		.budget = { .left = steps_for(doc) },
		.failure = failure,
	};
	bool fine = check_rule(&c, s->root, at);

	if (c.is_short_of_memory)
		return ERR_NOMEM;
	if (fine)
		return ERR_OK;
	if (c.budget.is_spent)
		fail(&c, at, "limit", "takes too long to check");
	return ERR_INPUT;
}
