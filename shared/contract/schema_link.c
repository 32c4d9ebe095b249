/* What can only be said when all drafts of a schema are there: where references lead, what can
 * pass at a place, whether that has an end, and which names a closed map knows.
 *
 * Closed means: where a value is decided (ROLE_VALUE) a map may only have members that something
 * in place of it names, and of alternatives (anyOf, oneOf, then, else) each may only have those of
 * its own and of what stands around them all. */
#include <stdlib.h>

#include "base/text.h"
#include "contract/schema_build.h"

enum {
	HEIGHT_MAX = 200,           /* schemas in place of one another: the stack */
	NAMES_MAX = 1000000,        /* in all closed maps together */
	PATTERN_STEPS_MAX = 250000, /* characters times steps: what a check has at least */
	FEW_STEPS = 16,             /* a character pays for so many itself */
	FEW_MEMBERS = 8,
};

/* ---- references ---- */

/* Sorted by the node that they stand for. */
static int compare_drafts(const void *left, const void *right)
{
	const struct draft *a = *(const struct draft *const *)left;
	const struct draft *b = *(const struct draft *const *)right;
	uintptr_t x = (uintptr_t)a->node;
	uintptr_t y = (uintptr_t)b->node;

	return x < y ? -1 : x > y;
}

static struct draft *find_draft(
	struct draft *const *sorted, uint32_t count, const struct yaml_node *node)
{
	uint32_t low = 0;
	uint32_t high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if ((uintptr_t)sorted[middle]->node < (uintptr_t)node)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && sorted[low]->node == node ? sorted[low] : NULL;
}

/* %41 and ~1 taken back, in place; false: out of form. */
static bool decode_step(char *text, size_t *len)
{
	size_t to = 0;

	for (size_t i = 0; i < *len; i++) {
		char c = text[i];

		if (c == '%') {
			if (i + 2 >= *len)
				return false;
			int high = text_hex_value(text[i + 1]);
			int low = text_hex_value(text[i + 2]);

			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		text[to++] = c;
	}
	size_t from_len = to;

	to = 0;
	for (size_t i = 0; i < from_len; i++) {
		char c = text[i];

		if (c == '~') {
			if (i + 1 >= from_len || (text[i + 1] != '0' && text[i + 1] != '1'))
				return false;
			c = text[++i] == '0' ? '~' : '/';
		}
		text[to++] = c;
	}
	*len = to;
	return true;
}

static const struct yaml_node *child_of(
	struct compiler *c, const struct yaml_node *node, struct span step)
{
	uint64_t index;

	if (node->kind == YAML_MAP) {
		for (const struct yaml_node *n = node->first;
			n != NULL && build_look(c, NULL, node); n = n->next)
			if (span_equals(n->key, step))
				return n;
		return NULL;
	}
	if (node->kind != YAML_LIST || text_parse_u64(step, &index) != ERR_OK)
		return NULL;
	for (const struct yaml_node *n = node->first; n != NULL && build_look(c, NULL, node);
		n = n->next)
		if (index-- == 0)
			return n;
	return NULL;
}

/* RFC 6901 in a fragment. NULL: it leads nowhere. */
static const struct yaml_node *follow(struct compiler *c, struct span pointer)
{
	const struct yaml_node *node = c->top;

	while (pointer.len > 0 && node != NULL) {
		if (pointer.at[0] != '/')
			return NULL;
		pointer = span_after(pointer, 1);
		const char *end = pointer.len == 0 ? NULL
						   : memchr(pointer.at, '/', pointer.len);
		size_t len = end == NULL ? pointer.len : (size_t)(end - pointer.at);
		char *step = arena_copy(&c->scratch, (struct span){ pointer.at, len });
		bool is_last = end == NULL;

		if (step == NULL) {
			c->err = ERR_NOMEM;
			return NULL;
		}
		pointer = span_after(pointer, len);
		if (!decode_step(step, &len))
			return NULL;
		node = child_of(c, node, (struct span){ step, len });
		if (is_last)
			break;
	}
	return node;
}

/* NULL after complaining. */
static struct draft *find_target(struct compiler *c, const struct draft *d,
	const struct path *path, struct draft *const *sorted, uint32_t count)
{
	const struct yaml_node *ref = d->reference;

	if (ref->text.len == 0 || ref->text.at[0] != '#') {
		BUILD_COMPLAIN(c, path, ref,
			"only places of the same schema may be referred to: #/$defs/name");
		return NULL;
	}
	const struct yaml_node *node = follow(c, span_after(ref->text, 1));
	struct draft *target = node == NULL ? NULL : find_draft(sorted, count, node);

	if (c->err == ERR_OK && node == NULL)
		BUILD_COMPLAIN(c, path, ref, "\"%s\" leads nowhere", text_show(ref->text).at);
	else if (c->err == ERR_OK && target == NULL)
		BUILD_COMPLAIN(
			c, path, ref, "there is no schema at \"%s\"", text_show(ref->text).at);
	return target;
}

static void link_reference(
	struct compiler *c, struct draft *d, struct draft *const *sorted, uint32_t count)
{
	struct path here = { d->path, span_of("$ref") };
	struct draft *target = find_target(c, d, &here, sorted, count);

	if (target == NULL) {
		d->rule->types = 0; /* said already: nothing more is to be said of it */
		return;
	}
	if (c->side != SCHEMA_OPEN && target->role == ROLE_TEST && d->role != ROLE_TEST)
		BUILD_COMPLAIN(c, &here, d->reference,
			"this leads to what only tests a value (in if, not, contains, or "
			"beside "
			"a schema that has the say); put it under $defs");
	d->in_place->ref = target->rule;
}

void link_references(struct compiler *c, uint32_t first)
{
	uint32_t count = c->draft_count - first;

	if (c->err != ERR_OK || count == 0)
		return;
	struct draft **sorted = build_scratch(c, count * sizeof(struct draft *));

	if (sorted == NULL)
		return;
	memcpy(sorted, c->drafts + first, count * sizeof(struct draft *));
	qsort(sorted, count, sizeof(struct draft *), compare_drafts);
	for (uint32_t i = first; i < c->draft_count && c->err == ERR_OK; i++)
		if (c->drafts[i]->reference != NULL)
			link_reference(c, c->drafts[i], sorted, count);
}

/* ---- facts ---- */

static struct draft *draft_of(struct compiler *c, const struct rule *rule)
{
	return c->drafts[rule->index];
}

static void find_facts(struct compiler *c, struct draft *d);

/* Looks at what stands in place of d; NULL where it leads back. */
static const struct draft_facts *facts_of(
	struct compiler *c, struct draft *d, const struct rule *rule)
{
	struct draft *sub = draft_of(c, rule);

	if (sub->state == DRAFT_OPEN) {
		const struct yaml_node *at = d->reference != NULL ? d->reference : d->node;

		BUILD_COMPLAIN(
			c, d->path, at, "this leads back to itself, and never into the value");
		return NULL;
	}
	if (sub->state == DRAFT_NEW)
		find_facts(c, sub);
	return &sub->facts;
}

/* Both hold. */
static void both(struct draft_facts *f, const struct draft_facts *more)
{
	if (more == NULL)
		return;
	f->types &= more->types;
	f->has_text_end = f->has_text_end || more->has_text_end;
	f->has_list_end = f->has_list_end || more->has_list_end;
	f->has_items = f->has_items || more->has_items;
	f->has_others = f->has_others || more->has_others;
}

/* One of them holds. */
static void find_group_facts(
	struct compiler *c, struct draft *d, const struct rule *const *rules, size_t count)
{
	struct draft_facts f = { 0, true, true, true, true };

	for (size_t i = 0; i < count; i++) {
		const struct draft_facts *one = facts_of(c, d, rules[i]);

		if (one == NULL)
			return;
		f.types |= one->types;
		f.has_text_end = f.has_text_end && one->has_text_end;
		f.has_list_end = f.has_list_end && one->has_list_end;
		f.has_items = f.has_items && one->has_items;
		f.has_others = f.has_others && one->has_others;
	}
	if (count > 0)
		both(&d->facts, &f);
}

static void find_place_facts(struct compiler *c, struct draft *d)
{
	const struct in_place *more = d->in_place;

	if (more->ref != NULL)
		both(&d->facts, facts_of(c, d, more->ref));
	for (size_t i = 0; i < more->all_count; i++)
		both(&d->facts, facts_of(c, d, more->all[i]));
	find_group_facts(c, d, more->any, more->any_count);
	find_group_facts(c, d, more->one, more->one_count);
	if (more->no != NULL)
		(void)facts_of(c, d, more->no);
	if (more->test != NULL)
		(void)facts_of(c, d, more->test);
	if (more->then != NULL)
		(void)facts_of(c, d, more->then);
	if (more->otherwise != NULL)
		(void)facts_of(c, d, more->otherwise);
}

static void find_facts(struct compiler *c, struct draft *d)
{
	bool is_listed = d->rule->constants != NULL;

	d->state = DRAFT_OPEN;
	d->facts = (struct draft_facts){
		.types = d->rule->types & d->constant_types,
		.has_text_end = d->has_most_text || is_listed,
		.has_list_end = d->has_most_items || is_listed,
		.has_items = is_listed ||
			     (d->list != NULL &&
				     (d->list->items != NULL || d->list->prefix_count > 0)),
		.has_others = d->no_keys != NULL || is_listed,
	};
	if (++c->stamp > HEIGHT_MAX) {
		/* c->stamp counts how deep we are, as long as facts are looked for. */
		BUILD_COMPLAIN(c, d->path, d->node,
			"more than %d schemas lead to one another here", HEIGHT_MAX);
	} else if (d->in_place != NULL) {
		find_place_facts(c, d);
	}
	c->stamp--;
	if ((d->facts.types & TYPE_TEXT) == 0)
		d->facts.has_text_end = true;
	if ((d->facts.types & TYPE_LIST) == 0)
		d->facts.has_list_end = d->facts.has_items = true;
	if ((d->facts.types & TYPE_MAP) == 0)
		d->facts.has_others = true;
	d->state = DRAFT_DONE;
}

/* ---- names ---- */

/* A set of names on its way into a closed map. */
struct names {
	struct compiler *c;
	struct draft *to;
};

static void allow(struct names *names, const struct draft *from)
{
	if (from == names->to)
		return;
	for (const struct draft_name *n = from->names; n != NULL; n = n->next) {
		/* Only its own: what was allowed it before has no rule. */
		if (n->member.rule == NULL || names->c->err != ERR_OK)
			continue;
		if (++names->c->closed_names > NAMES_MAX) {
			if (names->c->closed_names == NAMES_MAX + 1)
				BUILD_COMPLAIN(names->c, names->to->path, names->to->node,
					"too large: alternatives with more than %d names",
					NAMES_MAX);
			return;
		}
		struct draft_name *kept = draft_name_new(names->c, names->to, n->member.name);

		if (kept != NULL)
			kept->member.is_allowed = true;
	}
}

static void allow_below(struct names *names, const struct rule *rule);

static void allow_group(struct names *names, const struct rule *const *rules, size_t count)
{
	for (size_t i = 0; i < count; i++)
		allow_below(names, rules[i]);
}

/* All that stands in place of d, but for one group of alternatives, or but for one draft. */
static void allow_in_place(struct names *names, const struct draft *d,
	enum draft_group but_group, const struct draft *but)
{
	const struct in_place *more = d->in_place;

	if (more == NULL)
		return;
	if (more->ref != NULL)
		allow_below(names, more->ref);
	for (size_t i = 0; i < more->all_count; i++)
		if (but == NULL || more->all[i] != but->rule)
			allow_below(names, more->all[i]);
	if (but_group != GROUP_ANY)
		allow_group(names, more->any, more->any_count);
	if (but_group != GROUP_ONE)
		allow_group(names, more->one, more->one_count);
	if (but_group == GROUP_IF)
		return;
	if (more->then != NULL)
		allow_below(names, more->then);
	if (more->otherwise != NULL)
		allow_below(names, more->otherwise);
}

static void allow_below(struct names *names, const struct rule *rule)
{
	struct draft *d = draft_of(names->c, rule);

	if (d->stamp == names->c->stamp)
		return;
	d->stamp = names->c->stamp;
	allow(names, d);
	allow_in_place(names, d, GROUP_NONE, NULL);
}

/* What stands around a branch. */
static void allow_around(struct names *names, const struct draft *d)
{
	for (const struct draft *at = d; at->parent != NULL; at = at->parent) {
		allow(names, at->parent);
		allow_in_place(names, at->parent, at->group, at);
	}
}

/* ---- closed and bounded ---- */

static void close_map(struct compiler *c, struct draft *d)
{
	struct names names = { c, d };
	struct map_rule *map = draft_map(c, d);

	if (map == NULL)
		return;
	map->is_closed = true;
	c->stamp++;
	d->stamp = c->stamp;
	allow_in_place(&names, d, GROUP_NONE, NULL);
	if (d->role == ROLE_BRANCH)
		allow_around(&names, d);
}

static void bound_map(struct draft *d)
{
	if (d->no_keys == NULL || d->map->others == NULL || d->map->others->types == 0 ||
		d->has_most_members)
		return;
	d->map->most = SCHEMA_MAP_DEFAULT + d->name_count;
}

static void bound_list(struct compiler *c, struct draft *d)
{
	static const struct rule nothing = { .types = 0 };

	if (d->list != NULL && d->list->prefix_count > 0 && d->list->items == NULL)
		d->list->items = &nothing;
	if (d->facts.has_list_end)
		return;
	struct list_rule *list = draft_list(c, d);

	if (list != NULL)
		list->most = SCHEMA_LIST_DEFAULT;
}

static void bound_text(struct compiler *c, struct draft *d)
{
	if (!d->facts.has_text_end) {
		struct text_rule *text = draft_text(c, d);

		if (text != NULL)
			text->most = SCHEMA_TEXT_DEFAULT;
	}
	if (d->text == NULL || !d->text->has_pattern)
		return;
	uint64_t most = d->text->most < SCHEMA_TEXT_MAX ? d->text->most : SCHEMA_TEXT_MAX;
	uint64_t steps = d->text->pattern.step_count;

	if (steps > FEW_STEPS && steps * most > PATTERN_STEPS_MAX)
		BUILD_COMPLAIN(c, d->path, d->node,
			"this pattern has %llu steps, too many for texts of %llu characters; "
			"say "
			"a maxLength of at most %llu beside it",
			(unsigned long long)steps, (unsigned long long)most,
			(unsigned long long)(PATTERN_STEPS_MAX / steps));
}

static void check_value(struct compiler *c, struct draft *d)
{
	if (d->facts.types == TYPE_ANY) {
		BUILD_COMPLAIN(c, d->path, d->node,
			"anything would pass here; say what it is, for example {type: string, "
			"maxLength: 100}");
		return;
	}
	if (!d->facts.has_items)
		BUILD_COMPLAIN(c, d->path, d->node,
			"the list may hold anything; say what: items: {type: integer}");
}

static void close_draft(struct compiler *c, struct draft *d)
{
	bool is_value = d->role == ROLE_VALUE;
	bool is_choice = d->role == ROLE_BRANCH && d->group != GROUP_NONE;

	if (d->role == ROLE_TEST)
		return;
	if (is_value)
		check_value(c, d);
	if (is_value || d->role == ROLE_SHARED || is_choice)
		bound_list(c, d);
	if (is_value)
		bound_text(c, d);
	bound_map(d);
	if ((is_value || is_choice) && !d->facts.has_others && c->err == ERR_OK)
		close_map(c, d);
}

/* Where a test decides and one of its ways is not written, that one is closed too. */
static void add_missing_way(struct compiler *c, struct draft *d)
{
	struct in_place *more = d->in_place;

	if (more == NULL || more->test == NULL || d->role == ROLE_TEST ||
		(more->then != NULL && more->otherwise != NULL) ||
		(more->then == NULL && more->otherwise == NULL))
		return;
	struct draft *way = draft_new(c, ROLE_BRANCH, d->node, d->path);

	if (way == NULL)
		return;
	way->parent = d;
	way->owner = d->owner;
	way->group = GROUP_IF;
	if (more->then == NULL)
		more->then = way->rule;
	else
		more->otherwise = way->rule;
}

void link_close(struct compiler *c)
{
	if (c->side != SCHEMA_OPEN) {
		uint32_t written = c->draft_count;

		for (uint32_t i = 0; i < written && c->err == ERR_OK; i++)
			add_missing_way(c, c->drafts[i]);
	}
	c->stamp = 0;
	for (uint32_t i = 0; i < c->draft_count && c->err == ERR_OK; i++)
		if (c->drafts[i]->state == DRAFT_NEW)
			find_facts(c, c->drafts[i]);
	if (c->side == SCHEMA_OPEN)
		return;
	for (uint32_t i = 0; i < c->draft_count && c->err == ERR_OK; i++)
		close_draft(c, c->drafts[i]);
}

/* ---- the tables of names ---- */

static void put_slot(uint32_t *slots, uint32_t mask, const struct member *all, uint32_t index)
{
	uint32_t at = member_hash(all[index].name) & mask;

	while (slots[at] != 0)
		at = (at + 1) & mask;
	slots[at] = index + 1;
}

static struct member *find_slot(
	const uint32_t *slots, uint32_t mask, struct member *all, struct span name)
{
	for (uint32_t at = member_hash(name) & mask; slots[at] != 0; at = (at + 1) & mask)
		if (span_equals(all[slots[at] - 1].name, name))
			return &all[slots[at] - 1];
	return NULL;
}

static void check_required(struct compiler *c, const struct draft *d)
{
	if (c->side == SCHEMA_OPEN || !d->map->is_closed || d->role != ROLE_VALUE)
		return;
	for (const struct draft_name *n = d->names; n != NULL; n = n->next) {
		const struct member *m = member_find(d->map, n->member.name);

		if (n->node != NULL && m != NULL && !m->is_allowed)
			BUILD_COMPLAIN(c, d->path, n->node,
				"\"%s\" is required, but not in properties: nothing could pass",
				text_show(n->member.name).at);
	}
}

static void make_table(struct compiler *c, struct draft *d)
{
	uint32_t room = 16;

	while (room < d->name_count * 2)
		room *= 2;
	struct member *all = build_keep(c, d->name_count * sizeof(*all));
	uint32_t *slots = build_keep(c, room * sizeof(*slots));

	if (all == NULL || slots == NULL)
		return;
	/* A property and the word that it is required are one member. */
	for (const struct draft_name *n = d->names; n != NULL; n = n->next) {
		struct member *m = find_slot(slots, room - 1, all, n->member.name);

		if (m == NULL) {
			m = &all[d->map->member_count];
			*m = n->member;
			put_slot(slots, room - 1, all, d->map->member_count++);
			d->map->required_count += m->is_required;
			continue;
		}
		if (n->member.is_required && !m->is_required) {
			m->is_required = true;
			d->map->required_count++;
		}
		m->is_allowed = m->is_allowed || n->member.is_allowed;
		if (m->rule == NULL)
			m->rule = n->member.rule;
	}
	d->map->members = all;
	if (d->map->member_count > FEW_MEMBERS) {
		d->map->slots = slots;
		d->map->slot_mask = room - 1;
	}
	check_required(c, d);
}

void link_names(struct compiler *c)
{
	for (uint32_t i = 0; i < c->draft_count && c->err == ERR_OK; i++)
		if (c->drafts[i]->map != NULL && c->drafts[i]->names != NULL)
			make_table(c, c->drafts[i]);
}
