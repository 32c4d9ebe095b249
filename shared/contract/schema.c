#include "contract/schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/text.h"
#include "contract/schema_build.h"

enum {
	CONSTANTS_MAX_BYTES = 64 * 1024 * 1024,
	CONSTANT_MAX_DEPTH = 30,
	FEW_CONSTANTS = 8,
	DRAFTS_MAX = 200000,
	LOOKS_MAX = 20 * 1000 * 1000,
};

/* ---- memory ---- */

static void *take(struct compiler *c, struct arena *arena, size_t bytes)
{
	void *at = arena_take(arena, bytes);

	if (at == NULL)
		c->err = ERR_NOMEM;
	return at;
}

void *build_keep(struct compiler *c, size_t bytes)
{
	return take(c, &c->schema->arena, bytes);
}

void *build_scratch(struct compiler *c, size_t bytes)
{
	return take(c, &c->scratch, bytes);
}

static bool make_room(struct compiler *c)
{
	uint32_t room = c->draft_room == 0 ? 16 : c->draft_room * 2;

	if (c->draft_count < c->draft_room)
		return true;
	struct draft **drafts = realloc(c->drafts, room * sizeof(struct draft *));

	if (drafts == NULL) {
		c->err = ERR_NOMEM;
		return false;
	}
	c->drafts = drafts;
	c->draft_room = room;
	return true;
}

/* The way lives on the stack of who walks down; a draft is looked at again later. */
static const struct path *keep_path(struct compiler *c, const struct path *path)
{
	struct path *kept = path == NULL ? NULL : build_scratch(c, sizeof(*kept));

	if (kept == NULL)
		return NULL;
	kept->key = path->key;
	char *text = arena_copy(&c->scratch, path->key);

	if (text == NULL)
		c->err = ERR_NOMEM;
	else
		kept->key.at = text;
	kept->up = path->up;
	return kept;
}

struct draft *draft_new(struct compiler *c, enum draft_role role, const struct yaml_node *node,
	const struct path *path)
{
	if (c->draft_count == DRAFTS_MAX) {
		BUILD_COMPLAIN(c, path, node, "too large: more than %d schemas", DRAFTS_MAX);
		c->err = ERR_INPUT; /* the rest is not looked at */
		return NULL;
	}
	if (!make_room(c))
		return NULL;
	struct draft *d = build_scratch(c, sizeof(*d));
	struct rule *rule = build_keep(c, sizeof(*rule));

	if (d == NULL || rule == NULL)
		return NULL;
	rule->types = TYPE_ANY;
	rule->index = c->draft_count;
	d->rule = rule;
	d->role = role;
	d->node = node;
	d->path = path;
	d->constant_types = TYPE_ANY;
	d->last_name = &d->names;
	c->drafts[c->draft_count++] = d;
	return d;
}

bool build_look(struct compiler *c, const struct path *path, const struct yaml_node *node)
{
	if (++c->looked_at < LOOKS_MAX)
		return true;
	if (c->looked_at == LOOKS_MAX)
		BUILD_COMPLAIN(
			c, path, node, "too large: it has too many names and references");
	return false;
}

struct number_rule *draft_number(struct compiler *c, struct draft *d)
{
	if (d->number == NULL)
		d->rule->number = d->number = build_keep(c, sizeof(*d->number));
	return d->number;
}

struct text_rule *draft_text(struct compiler *c, struct draft *d)
{
	if (d->text != NULL)
		return d->text;
	d->rule->text = d->text = build_keep(c, sizeof(*d->text));
	if (d->text != NULL)
		d->text->most = UINT64_MAX;
	return d->text;
}

struct list_rule *draft_list(struct compiler *c, struct draft *d)
{
	if (d->list != NULL)
		return d->list;
	d->rule->list = d->list = build_keep(c, sizeof(*d->list));
	if (d->list != NULL) {
		d->list->most = UINT64_MAX;
		d->list->contains_least = 1;
		d->list->contains_most = UINT64_MAX;
	}
	return d->list;
}

struct map_rule *draft_map(struct compiler *c, struct draft *d)
{
	if (d->map != NULL)
		return d->map;
	d->rule->map = d->map = build_keep(c, sizeof(*d->map));
	if (d->map != NULL)
		d->map->most = UINT64_MAX;
	return d->map;
}

struct in_place *draft_in_place(struct compiler *c, struct draft *d)
{
	if (d->in_place == NULL)
		d->rule->in_place = d->in_place = build_keep(c, sizeof(*d->in_place));
	return d->in_place;
}

struct draft_name *draft_name_new(struct compiler *c, struct draft *d, struct span name)
{
	struct draft_name *n = build_scratch(c, sizeof(*n));
	const char *kept = arena_copy(&c->schema->arena, name);

	if (n == NULL || kept == NULL || draft_map(c, d) == NULL) {
		c->err = ERR_NOMEM;
		return NULL;
	}
	n->member.name = (struct span){ kept, name.len };
	*d->last_name = n;
	d->last_name = &n->next;
	d->name_count++;
	return n;
}

/* ---- what a node is ---- */

/* Other readers of YAML take these for numbers: whoever writes one must say what he means. */
static bool is_odd(struct span text)
{
	const char *at = text.at;
	size_t sign = text.len > 0 && (at[0] == '+' || at[0] == '-');
	struct span rest = span_after(text, sign);

	if (rest.len == 0)
		return false;
	if (rest.at[0] >= '0' && rest.at[0] <= '9') {
		for (size_t i = 0; i < rest.len; i++)
			if (text_hex_value(rest.at[i]) < 0 &&
				strchr("xo._+-", rest.at[i]) == NULL)
				return false;
		return strspn(rest.at, "0123456789") == rest.len || rest.at[1] == 'x' ||
		       rest.at[1] == 'o' || rest.at[rest.len - 1] == '.' || sign != 0;
	}
	struct span word = { rest.at, rest.len };

	return rest.at[0] == '.' &&
	       (span_is(word, ".inf") || span_is(word, ".Inf") || span_is(word, ".INF") ||
		       span_is(word, ".nan") || span_is(word, ".NaN") ||
		       span_is(word, ".NAN") ||
		       (rest.len > 1 && rest.at[1] >= '0' && rest.at[1] <= '9'));
}

enum node_kind node_kind_of(const struct yaml_node *node)
{
	if (node->kind == YAML_LIST)
		return NODE_LIST;
	if (node->kind == YAML_MAP)
		return NODE_MAP;
	if (node->tail != NULL)
		return NODE_SHORTHAND;
	if (node->is_quoted)
		return NODE_TEXT;
	if (yaml_is_null(node))
		return NODE_NULL;
	if (span_is(node->text, "true"))
		return NODE_TRUE;
	if (span_is(node->text, "false"))
		return NODE_FALSE;
	if (number_is_written(node->text))
		return NODE_NUMBER;
	return is_odd(node->text) ? NODE_ODD : NODE_TEXT;
}

static bool want_map(struct compiler *c, const struct path *path, const struct yaml_node *node)
{
	if (node->kind == YAML_MAP)
		return true;
	BUILD_COMPLAIN(c, path, node, "must be a map");
	return false;
}

static bool want_list(struct compiler *c, const struct path *path, const struct yaml_node *node)
{
	if (node->kind == YAML_LIST)
		return true;
	BUILD_COMPLAIN(c, path, node, "must be a list");
	return false;
}

static bool want_text(struct compiler *c, const struct path *path, const struct yaml_node *node)
{
	if (node_kind_of(node) == NODE_TEXT)
		return true;
	BUILD_COMPLAIN(c, path, node, "must be a text; quote it if it is meant as one");
	return false;
}

static bool read_bool(struct compiler *c, const struct path *path, const struct yaml_node *node)
{
	enum node_kind kind = node_kind_of(node);

	if (kind != NODE_TRUE && kind != NODE_FALSE)
		BUILD_COMPLAIN(c, path, node, "must be true or false");
	return kind == NODE_TRUE;
}

/* Copied into the schema: numbers are compared as they are written. */
static bool read_number(struct compiler *c, const struct path *path,
	const struct yaml_node *node, struct number *out)
{
	if (node_kind_of(node) != NODE_NUMBER || node->text.len > JSON_MAX_NUMBER_BYTES) {
		BUILD_COMPLAIN(c, path, node, "must be a number as JSON has it");
		return false;
	}
	const char *kept = arena_copy(&c->schema->arena, node->text);

	if (kept == NULL) {
		c->err = ERR_NOMEM;
		return false;
	}
	*out = number_read((struct span){ kept, node->text.len });
	return true;
}

/* 2.0 is a count too. */
static bool read_count(struct compiler *c, const struct path *path,
	const struct yaml_node *node, uint64_t *out)
{
	struct number n;
	int64_t value;

	if (!read_number(c, path, node, &n))
		return false;
	if (n.is_negative || !number_is_whole(&n)) {
		BUILD_COMPLAIN(c, path, node, "must be a whole number from 0");
		return false;
	}
	*out = number_to_i64(&n, &value) ? (uint64_t)value : UINT64_MAX;
	return true;
}

/* A maximum; where schemas are bounded it has one itself. */
static bool read_most(struct compiler *c, const struct path *path, const struct yaml_node *node,
	uint64_t hard, uint64_t *out)
{
	if (!read_count(c, path, node, out))
		return false;
	if (c->side == SCHEMA_OPEN || *out <= hard)
		return true;
	BUILD_COMPLAIN(c, path, node, "%s is too much; at most %llu", text_show(node->text).at,
		(unsigned long long)hard);
	return false;
}

/* ---- constants ---- */

static void write_constant(struct compiler *c, const struct path *path,
	const struct yaml_node *node, unsigned depth)
{
	struct json_writer *w = &c->writer;

	if (depth > CONSTANT_MAX_DEPTH) {
		BUILD_COMPLAIN(
			c, path, node, "nested deeper than %d levels", CONSTANT_MAX_DEPTH);
		json_write_null(w);
		return;
	}
	switch (node_kind_of(node)) {
	case NODE_NULL:
		json_write_null(w);
		return;
	case NODE_TRUE:
	case NODE_FALSE:
		json_write_bool(w, node_kind_of(node) == NODE_TRUE);
		return;
	case NODE_NUMBER:
		if (node->text.len > JSON_MAX_NUMBER_BYTES)
			BUILD_COMPLAIN(c, path, node, "a number of more than %d digits",
				JSON_MAX_NUMBER_BYTES);
		json_write_raw(
			w, node->text.len > JSON_MAX_NUMBER_BYTES ? span_of("0") : node->text);
		return;
	case NODE_TEXT:
		json_write_text(w, node->text);
		return;
	case NODE_ODD:
	case NODE_SHORTHAND:
		BUILD_COMPLAIN(c, path, node,
			"quote it if it is a text; numbers are written as in JSON");
		json_write_null(w);
		return;
	case NODE_LIST:
		json_write_array(w);
		for (const struct yaml_node *n = node->first; n != NULL; n = n->next)
			write_constant(c, path, n, depth + 1);
		json_write_array_end(w);
		return;
	case NODE_MAP:
		json_write_object(w);
		for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
			json_write_key_span(w, n->key);
			write_constant(c, path, n, depth + 1);
		}
		json_write_object_end(w);
		return;
	}
}

static unsigned type_of_node(const struct yaml_node *node)
{
	struct number n;

	switch (node_kind_of(node)) {
	case NODE_NULL:
		return TYPE_NULL;
	case NODE_TRUE:
	case NODE_FALSE:
		return TYPE_BOOLEAN;
	case NODE_NUMBER:
		n = number_read(node->text);
		return number_is_whole(&n) ? TYPE_WHOLE : TYPE_BROKEN;
	case NODE_TEXT:
	case NODE_ODD:
	case NODE_SHORTHAND:
		return TYPE_TEXT;
	case NODE_LIST:
		return TYPE_LIST;
	case NODE_MAP:
		break;
	}
	return TYPE_MAP;
}

uint32_t build_constant(struct compiler *c, const struct path *path,
	const struct yaml_node *node, unsigned *types)
{
	*types |= type_of_node(node);
	write_constant(c, path, node, 1);
	return c->constant_count++;
}

/* Indexes become tokens, and are sorted by hash, in finish_constants(). */
void build_constants(struct compiler *c, struct draft *d, const char *rule, uint32_t first,
	uint32_t count, unsigned types)
{
	struct constants *all = build_keep(c, sizeof(*all));
	uint32_t *at = build_keep(c, (count + 1) * sizeof(*at));

	if (all == NULL || at == NULL)
		return;
	for (uint32_t i = 0; i < count; i++)
		at[i] = first + i;
	*all = (struct constants){
		.rule = rule,
		.more = d->rule->constants,
		.count = count,
		.at = at,
	};
	d->rule->constants = all;
	d->constant_types &= types;
}

/* ---- keywords ---- */

typedef void (*keyword_fn)(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node);

static struct path below(const struct path *path, const struct yaml_node *node)
{
	return (struct path){ .up = path, .key = node->key };
}

/* A schema that stands inside this one. */
static const struct rule *read_schema(struct compiler *c, struct draft *d, enum draft_role role,
	enum draft_group group, const struct yaml_node *node, const struct path *path)
{
	struct draft *parent = role == ROLE_BRANCH ? d : NULL;
	struct draft *sub = build_schema(c, role, parent, group, node, path);

	return sub == NULL ? NULL : sub->rule;
}

/* For what stands in place. */
static enum draft_role branch_of(const struct draft *d)
{
	return d->role == ROLE_TEST ? ROLE_TEST : ROLE_BRANCH;
}

/* For what stands inside the value: a branch leaves it to its owner where that speaks of it. */
static enum draft_role inside_of(const struct draft *d, bool is_said)
{
	if (d->role == ROLE_TEST || (d->role == ROLE_BRANCH && is_said))
		return ROLE_TEST;
	return ROLE_VALUE;
}

static bool owner_says(const struct draft *d, const char *keyword)
{
	return d->owner != NULL && d->owner != d &&
	       yaml_member(d->owner->node, keyword) != NULL;
}

static bool owner_names(struct compiler *c, const struct draft *d, struct span name)
{
	if (d->owner == NULL || d->owner == d)
		return false;
	const struct yaml_node *all = yaml_member(d->owner->node, "properties");
	const struct yaml_node *n = all == NULL ? NULL : all->first;

	for (; n != NULL && build_look(c, d->path, n); n = n->next)
		if (span_equals(n->key, name))
			return true;
	return false;
}

static unsigned type_named(struct span name)
{
	static const struct {
		const char *name;
		unsigned bits;
	} names[] = {
		{ "null", TYPE_NULL },
		{ "boolean", TYPE_BOOLEAN },
		{ "integer", TYPE_WHOLE },
		{ "number", TYPE_NUMBER },
		{ "string", TYPE_TEXT },
		{ "array", TYPE_LIST },
		{ "object", TYPE_MAP },
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		if (span_is(name, names[i].name))
			return names[i].bits;
	return 0;
}

static unsigned read_type(
	struct compiler *c, const struct path *path, const struct yaml_node *node)
{
	unsigned bits = 0;

	/* null without quotes is what everybody writes in YAML. */
	if (node_kind_of(node) == NODE_NULL && node->text.len == 4)
		bits = TYPE_NULL;
	else if (node_kind_of(node) == NODE_TEXT)
		bits = type_named(node->text);
	if (bits == 0)
		BUILD_COMPLAIN(c, path, node,
			"must be one of null, boolean, integer, number, string, array, object");
	return bits;
}

static void on_type(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	unsigned types = 0;

	if (node->kind != YAML_LIST) {
		types = read_type(c, path, node);
	} else {
		for (const struct yaml_node *n = node->first; n != NULL; n = n->next)
			types |= read_type(c, path, n);
		if (node->first == NULL)
			BUILD_COMPLAIN(c, path, node, "an empty list; say at least one type");
	}
	d->rule->types = types;
}

static void on_enum(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	uint32_t first = c->constant_count;
	unsigned types = 0;

	if (!want_list(c, path, node))
		return;
	if (node->first == NULL)
		BUILD_COMPLAIN(c, path, node, "an empty list; say what may stand here");
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next)
		build_constant(c, path, n, &types);
	build_constants(c, d, "enum", first, c->constant_count - first, types);
}

static void on_const(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	unsigned types = 0;
	uint32_t first = build_constant(c, path, node, &types);

	build_constants(c, d, "const", first, 1, types);
}

static void on_number(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct number_rule *rule = draft_number(c, d);
	struct number n;

	if (rule == NULL || !read_number(c, path, node, &n))
		return;
	if (span_is(node->key, "minimum")) {
		rule->has_least = true;
		rule->least = n;
	} else if (span_is(node->key, "maximum")) {
		rule->has_most = true;
		rule->most = n;
	} else if (span_is(node->key, "exclusiveMinimum")) {
		rule->has_above = true;
		rule->above = n;
	} else {
		rule->has_below = true;
		rule->below = n;
	}
}

static void on_multiple_of(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct number_rule *rule = draft_number(c, d);
	struct number n;

	if (rule == NULL || !read_number(c, path, node, &n))
		return;
	if (n.count == 0 || n.is_negative || n.count > NUMBER_DIVISOR_DIGITS) {
		BUILD_COMPLAIN(c, path, node, "must be above 0 and have at most %d digits",
			NUMBER_DIVISOR_DIGITS);
		return;
	}
	rule->has_divisor = true;
	rule->divisor = n;
}

static void on_length(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct text_rule *rule = draft_text(c, d);

	if (rule == NULL)
		return;
	if (span_is(node->key, "minLength")) {
		(void)read_most(c, path, node, SCHEMA_TEXT_MAX, &rule->least);
		return;
	}
	d->has_most_text = true;
	(void)read_most(c, path, node, SCHEMA_TEXT_MAX, &rule->most);
}

static void on_pattern(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct text_rule *rule = draft_text(c, d);
	char wrong[PATTERN_WRONG_BYTES];

	if (rule == NULL || !want_text(c, path, node))
		return;
	enum err err = pattern_compile(node->text, &c->schema->arena, &rule->pattern, wrong);

	if (err == ERR_NOMEM)
		c->err = err;
	else if (err != ERR_OK)
		BUILD_COMPLAIN(c, path, node, "%s", wrong);
	else
		rule->has_pattern = true;
}

static void on_format(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct text_rule *rule = draft_text(c, d);

	if (rule == NULL || !want_text(c, path, node))
		return;
	rule->format = format_named(node->text);
	if (rule->format == FORMAT_NONE)
		BUILD_COMPLAIN(c, path, node,
			"no format \"%s\"; there are date, date-time, uuid, email, uri, ipv4, "
			"ipv6",
			text_show(node->text).at);
}

static void on_item_count(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct list_rule *rule = draft_list(c, d);

	if (rule == NULL)
		return;
	if (span_is(node->key, "minItems")) {
		(void)read_most(c, path, node, SCHEMA_LIST_MAX, &rule->least);
	} else if (span_is(node->key, "maxItems")) {
		d->has_most_items = true;
		(void)read_most(c, path, node, SCHEMA_LIST_MAX, &rule->most);
	} else if (span_is(node->key, "minContains")) {
		(void)read_count(c, path, node, &rule->contains_least);
	} else {
		(void)read_count(c, path, node, &rule->contains_most);
	}
}

static void on_unique(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct list_rule *rule = draft_list(c, d);

	if (rule != NULL)
		rule->is_unique = read_bool(c, path, node);
}

static void on_items(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct list_rule *rule = draft_list(c, d);

	if (rule == NULL)
		return;
	if (node->kind == YAML_LIST) {
		BUILD_COMPLAIN(c, path, node, "a list of schemas is written as prefixItems");
		return;
	}
	rule->items = read_schema(
		c, d, inside_of(d, owner_says(d, "items")), GROUP_NONE, node, path);
}

static void on_contains(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct list_rule *rule = draft_list(c, d);

	if (rule != NULL)
		rule->contains = read_schema(c, d, ROLE_TEST, GROUP_NONE, node, path);
}

/* A list of schemas: prefixItems, allOf, anyOf, oneOf. */
static const struct rule **read_schemas(struct compiler *c, struct draft *d,
	enum draft_role role, enum draft_group group, const struct yaml_node *node,
	const struct path *path, size_t *count)
{
	*count = 0;
	if (!want_list(c, path, node))
		return NULL;
	if (node->first == NULL) {
		BUILD_COMPLAIN(c, path, node, "an empty list; it must hold a schema");
		return NULL;
	}
	const struct rule **all = build_keep(c, node->count * sizeof(struct rule *));

	if (all == NULL)
		return NULL;
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		char place[32];
		int len = snprintf(place, sizeof(place), "%zu", *count);
		struct path here = { path, { place, (size_t)len } };

		all[*count] = read_schema(c, d, role, group, n, keep_path(c, &here));
		if (all[(*count)++] == NULL)
			*count = 0;
		if (c->err != ERR_OK)
			return NULL;
	}
	return all;
}

static void on_prefix(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct list_rule *rule = draft_list(c, d);

	if (rule != NULL)
		rule->prefix = read_schemas(c, d, inside_of(d, owner_says(d, "prefixItems")),
			GROUP_NONE, node, path, &rule->prefix_count);
}

static void on_all_of(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct in_place *more = draft_in_place(c, d);

	if (more != NULL)
		more->all = read_schemas(
			c, d, branch_of(d), GROUP_NONE, node, path, &more->all_count);
}

static void on_any_of(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct in_place *more = draft_in_place(c, d);

	if (more != NULL)
		more->any = read_schemas(
			c, d, branch_of(d), GROUP_ANY, node, path, &more->any_count);
}

static void on_one_of(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct in_place *more = draft_in_place(c, d);

	if (more != NULL)
		more->one = read_schemas(
			c, d, branch_of(d), GROUP_ONE, node, path, &more->one_count);
}

static void on_condition(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct in_place *more = draft_in_place(c, d);

	if (more == NULL)
		return;
	if (span_is(node->key, "not"))
		more->no = read_schema(c, d, ROLE_TEST, GROUP_NONE, node, path);
	else if (span_is(node->key, "if"))
		more->test = read_schema(c, d, ROLE_TEST, GROUP_NONE, node, path);
	else if (span_is(node->key, "then"))
		more->then = read_schema(c, d, branch_of(d), GROUP_IF, node, path);
	else
		more->otherwise = read_schema(c, d, branch_of(d), GROUP_IF, node, path);
}

static void on_ref(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	if (want_text(c, path, node) && draft_in_place(c, d) != NULL)
		d->reference = node;
}

static void on_properties(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	if (!want_map(c, path, node) || draft_map(c, d) == NULL)
		return;
	for (const struct yaml_node *n = node->first; n != NULL && c->err == ERR_OK;
		n = n->next) {
		struct path here = below(path, n);
		const struct rule *rule = read_schema(c, d,
			inside_of(d, owner_names(c, d, n->key)), GROUP_NONE, n,
			keep_path(c, &here));
		struct draft_name *name = draft_name_new(c, d, n->key);

		if (name == NULL)
			return;
		name->member.rule = rule;
		name->member.is_allowed = true;
	}
}

static int compare_texts(const void *left, const void *right)
{
	const struct yaml_node *a = *(const struct yaml_node *const *)left;
	const struct yaml_node *b = *(const struct yaml_node *const *)right;
	size_t len = a->text.len < b->text.len ? a->text.len : b->text.len;
	int order = len == 0 ? 0 : memcmp(a->text.at, b->text.at, len);

	if (order != 0)
		return order;
	return a->text.len < b->text.len ? -1 : a->text.len > b->text.len;
}

/* Kept apart from the properties until link_names(): there may be thousands of both. */
static void on_required(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	const struct yaml_node **sorted = NULL;
	size_t count = 0;

	if (!want_list(c, path, node) || draft_map(c, d) == NULL)
		return;
	sorted = build_scratch(c, (node->count + 1) * sizeof(struct yaml_node *));
	for (const struct yaml_node *n = node->first; n != NULL && sorted != NULL;
		n = n->next) {
		if (!want_text(c, path, n))
			continue;
		struct draft_name *name = draft_name_new(c, d, n->text);

		if (name == NULL)
			return;
		name->member.is_required = true;
		name->node = n;
		sorted[count++] = n;
	}
	if (sorted != NULL)
		qsort(sorted, count, sizeof(struct yaml_node *), compare_texts);
	for (size_t i = 1; i < count; i++)
		if (span_equals(sorted[i - 1]->text, sorted[i]->text))
			BUILD_COMPLAIN(c, path, sorted[i], "\"%s\" stands here twice",
				text_show(sorted[i]->text).at);
}

static void on_others(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct map_rule *rule = draft_map(c, d);

	if (rule == NULL)
		return;
	d->no_keys = node;
	if (node_kind_of(node) != NODE_TRUE) {
		rule->others = read_schema(c, d,
			inside_of(d, owner_says(d, "additionalProperties")), GROUP_NONE, node,
			path);
		return;
	}
	if (c->side == SCHEMA_TO_APP && d->role != ROLE_TEST)
		BUILD_COMPLAIN(c, path, node,
			"true would let anything cross; name the members in properties, or say "
			"what others may be: additionalProperties: {type: string, maxLength: "
			"100}");
	rule->others = read_schema(c, d, ROLE_TEST, GROUP_NONE, node, path);
}

static void on_member_count(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	struct map_rule *rule = draft_map(c, d);

	if (rule == NULL)
		return;
	if (span_is(node->key, "minProperties")) {
		(void)read_most(c, path, node, SCHEMA_MAP_MAX, &rule->least);
		return;
	}
	d->has_most_members = true;
	(void)read_most(c, path, node, SCHEMA_MAP_MAX, &rule->most);
}

static void on_defs(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	if (!want_map(c, path, node))
		return;
	for (const struct yaml_node *n = node->first; n != NULL && c->err == ERR_OK;
		n = n->next) {
		struct path here = below(path, n);

		(void)read_schema(c, d, ROLE_SHARED, GROUP_NONE, n, keep_path(c, &here));
	}
}

static void on_dialect(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	(void)d;
	if (node_kind_of(node) != NODE_TEXT ||
		!(span_is(node->text, "https://json-schema.org/draft/2020-12/schema") ||
			span_is(node->text, "https://json-schema.org/draft/2020-12/schema#")))
		BUILD_COMPLAIN(c, path, node,
			"only https://json-schema.org/draft/2020-12/schema is known");
}

static void on_note(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	(void)d;
	(void)want_text(c, path, node);
}

static void on_flag(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	(void)d;
	(void)read_bool(c, path, node);
}

static void on_examples(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	(void)d;
	(void)want_list(c, path, node);
}

static void on_anything(struct compiler *c, struct draft *d, const struct path *path,
	const struct yaml_node *node)
{
	(void)c;
	(void)d;
	(void)path;
	(void)node;
}

static const struct keyword {
	const char *name;
	keyword_fn read;
} keywords[] = {
	{ "type", on_type },
	{ "enum", on_enum },
	{ "const", on_const },
	{ "properties", on_properties },
	{ "required", on_required },
	{ "additionalProperties", on_others },
	{ "minProperties", on_member_count },
	{ "maxProperties", on_member_count },
	{ "items", on_items },
	{ "prefixItems", on_prefix },
	{ "minItems", on_item_count },
	{ "maxItems", on_item_count },
	{ "uniqueItems", on_unique },
	{ "contains", on_contains },
	{ "minContains", on_item_count },
	{ "maxContains", on_item_count },
	{ "minLength", on_length },
	{ "maxLength", on_length },
	{ "pattern", on_pattern },
	{ "format", on_format },
	{ "minimum", on_number },
	{ "maximum", on_number },
	{ "exclusiveMinimum", on_number },
	{ "exclusiveMaximum", on_number },
	{ "multipleOf", on_multiple_of },
	{ "allOf", on_all_of },
	{ "anyOf", on_any_of },
	{ "oneOf", on_one_of },
	{ "not", on_condition },
	{ "if", on_condition },
	{ "then", on_condition },
	{ "else", on_condition },
	{ "$ref", on_ref },
	{ "$defs", on_defs },
	{ "$schema", on_dialect },
	{ "$comment", on_note },
	{ "title", on_note },
	{ "description", on_note },
	{ "default", on_anything },
	{ "examples", on_examples },
	{ "deprecated", on_flag },
	{ "readOnly", on_flag },
	{ "writeOnly", on_flag },
};

/* What the standard has and we have not, and what to write instead. */
static const struct {
	const char *name;
	const char *instead;
} unsupported[] = {
	{ "patternProperties", "name the members in properties" },
	{ "propertyNames", "name the members in properties" },
	{ "unevaluatedProperties", "schemas are closed without it" },
	{ "unevaluatedItems", "say items behind prefixItems" },
	{ "dependentRequired", "use if and then with required" },
	{ "dependentSchemas", "use if and then" },
	{ "dependencies", "use if and then" },
	{ "definitions", "write $defs" },
	{ "$id", "a contract is one file" },
	{ "$anchor", "refer by place: #/$defs/name" },
	{ "$dynamicRef", "use $ref" },
	{ "$dynamicAnchor", "use $ref" },
	{ "$recursiveRef", "use $ref" },
	{ "$vocabulary", "leave it out" },
	{ "additionalItems", "say items behind prefixItems" },
	{ "contentEncoding", "use pattern" },
	{ "contentMediaType", "leave it out" },
	{ "contentSchema", "leave it out" },
};

static void complain_unknown(
	struct compiler *c, const struct path *path, const struct yaml_node *node)
{
	const char *names[ARRAY_COUNT(keywords)];

	for (size_t i = 0; i < ARRAY_COUNT(unsupported); i++) {
		if (!span_is(node->key, unsupported[i].name))
			continue;
		BUILD_COMPLAIN_KEY(c, path, node, "this keyword is not supported; %s",
			unsupported[i].instead);
		return;
	}
	for (size_t i = 0; i < ARRAY_COUNT(keywords); i++)
		names[i] = keywords[i].name;
	const char *nearest = node->key.len > 64
				      ? NULL
				      : report_nearest(node->key, names, ARRAY_COUNT(names));

	if (nearest != NULL)
		BUILD_COMPLAIN_KEY(
			c, path, node, "unknown keyword; did you mean \"%s\"?", nearest);
	else
		BUILD_COMPLAIN_KEY(c, path, node,
			"unknown keyword; docs/contract.md lists those of JSON Schema that "
			"there are");
}

static void read_keyword(struct compiler *c, struct draft *d, const struct yaml_node *node)
{
	struct path here = below(d->path, node);
	const struct path *path = keep_path(c, &here);

	for (size_t i = 0; i < ARRAY_COUNT(keywords); i++) {
		if (!span_is(node->key, keywords[i].name))
			continue;
		keywords[i].read(c, d, path, node);
		return;
	}
	complain_unknown(c, path, node);
}

static void make_simple(struct number_rule *rule)
{
	int64_t edge;

	rule->low = INT64_MIN;
	rule->high = INT64_MAX;
	rule->is_simple = !rule->has_divisor;
	if (rule->has_least && rule->is_simple)
		rule->is_simple = number_to_i64(&rule->least, &rule->low);
	if (rule->has_most && rule->is_simple)
		rule->is_simple = number_to_i64(&rule->most, &rule->high);
	/* Numbers next to the edge are left to the slower way. */
	if (rule->has_above && rule->is_simple) {
		rule->is_simple = number_to_i64(&rule->above, &edge) && edge < INT64_MAX;
		if (rule->is_simple && edge + 1 > rule->low)
			rule->low = edge + 1;
	}
	if (rule->has_below && rule->is_simple) {
		rule->is_simple = number_to_i64(&rule->below, &edge) && edge > INT64_MIN;
		if (rule->is_simple && edge - 1 < rule->high)
			rule->high = edge - 1;
	}
}

struct draft *build_schema(struct compiler *c, enum draft_role role, struct draft *parent,
	enum draft_group group, const struct yaml_node *node, const struct path *path)
{
	struct draft *d = c->err == ERR_OK ? draft_new(c, role, node, path) : NULL;

	if (d == NULL)
		return NULL;
	d->parent = parent;
	d->group = group;
	d->owner = parent == NULL ? d : parent->owner;
	switch (node_kind_of(node)) {
	case NODE_TRUE:
		return d;
	case NODE_FALSE:
		d->rule->types = 0;
		return d;
	case NODE_MAP:
		break;
	case NODE_NULL:
	case NODE_NUMBER:
	case NODE_TEXT:
	case NODE_ODD:
	case NODE_LIST:
	case NODE_SHORTHAND:
		BUILD_COMPLAIN(c, path, node,
			"must be a schema: a map of keywords, for example {type: string}; "
			"shorthand types stand outside of a schema");
		d->rule->types = 0;
		return d;
	}
	for (const struct yaml_node *n = node->first; n != NULL && c->err == ERR_OK;
		n = n->next)
		read_keyword(c, d, n);
	if (d->number != NULL)
		make_simple(d->number);
	return d;
}

/* ---- the whole ---- */

struct by_hash {
	uint64_t hash;
	uint32_t at;
};

static int compare_hashes(const void *left, const void *right)
{
	const struct by_hash *a = left;
	const struct by_hash *b = right;

	return a->hash < b->hash ? -1 : a->hash > b->hash;
}

static void sort_constants(struct compiler *c, struct constants *all)
{
	struct budget budget = { .left = UINT64_MAX };
	uint32_t *at = build_keep(c, all->count * sizeof(*at));
	uint64_t *hashes = build_keep(c, all->count * sizeof(*hashes));
	struct by_hash *sorted = build_scratch(c, all->count * sizeof(*sorted));

	if (at == NULL || hashes == NULL || sorted == NULL)
		return;
	for (uint32_t i = 0; i < all->count; i++) {
		struct value v = { &c->schema->constants, all->at[i] };

		sorted[i] = (struct by_hash){ value_hash(v, &budget), all->at[i] };
	}
	qsort(sorted, all->count, sizeof(*sorted), compare_hashes);
	for (uint32_t i = 0; i < all->count; i++) {
		at[i] = sorted[i].at;
		hashes[i] = sorted[i].hash;
	}
	all->at = at;
	all->hashes = hashes;
}

/* Reads the constants back, and turns indexes into tokens. */
static void finish_constants(struct compiler *c)
{
	struct schema *s = c->schema;
	struct json_limits limits = {
		.max_bytes = UINT32_MAX,
		.max_depth = JSON_DEEPEST,
		.rules = JSON_OPEN,
	};
	struct json_failure failure;

	json_write_array_end(&c->writer);
	if (buf_status(&c->constants) != ERR_OK) {
		c->err = ERR_NOMEM;
		return;
	}
	s->constants_text = c->constants.at;
	struct span text = buf_span(&c->constants);

	c->constants = (struct buf){ 0 };
	enum err err = json_open(text, limits, &s->constants, &failure);

	/* Scalars of the file are checked before they are written. */
	BUG_ON(err != ERR_OK && err != ERR_NOMEM);
	uint32_t *tokens = build_scratch(c, (c->constant_count + 1) * sizeof(*tokens));

	if (err != ERR_OK || tokens == NULL) {
		c->err = ERR_NOMEM;
		return;
	}
	uint32_t at = 1;

	for (uint32_t i = 0; i < c->constant_count; i++) {
		tokens[i] = at;
		at = s->constants.tokens[at].next;
	}
	for (uint32_t i = 0; i < c->draft_count && c->err == ERR_OK; i++) {
		/* Ours until schema_create() returns. */
		struct constants *all = (struct constants *)(uintptr_t)c->drafts[i]
						->rule->constants;

		for (; all != NULL; all = (struct constants *)(uintptr_t)all->more) {
			uint32_t *own = (uint32_t *)(uintptr_t)all->at;

			for (uint32_t k = 0; k < all->count; k++)
				own[k] = tokens[own[k]];
			if (all->count > FEW_CONSTANTS)
				sort_constants(c, all);
		}
	}
}

typedef struct draft *(*build_fn)(
	struct compiler *c, const struct yaml_node *node, const struct path *path);

static struct draft *build_root(
	struct compiler *c, const struct yaml_node *node, const struct path *path)
{
	c->top = node;
	struct draft *root = build_schema(c, ROLE_VALUE, NULL, GROUP_NONE, node, path);

	if (root != NULL)
		link_references(c, 0);
	return root;
}

static enum err create(const struct schema_source *source, enum schema_side side,
	build_fn build, struct schema **out)
{
	size_t before = source->report->count + source->report->dropped;
	struct compiler c = {
		.schema = calloc(1, sizeof(*c.schema)),
		.side = side,
		.file = source->file,
		.report = source->report,
	};

	*out = NULL;
	if (c.schema == NULL)
		return ERR_NOMEM;
	buf_init(&c.constants, CONSTANTS_MAX_BYTES);
	json_write_init(&c.writer, &c.constants);
	json_write_array(&c.writer);
	struct draft *root = build(&c, source->node, source->path);

	if (c.err == ERR_OK)
		finish_constants(&c);
	if (c.err == ERR_OK)
		link_close(&c);
	if (c.err == ERR_OK)
		link_names(&c);
	if (c.err == ERR_OK && root != NULL) {
		c.schema->root = root->rule;
		c.schema->root_types = root->facts.types;
	}
	if (c.err == ERR_OK && source->report->count + source->report->dropped != before)
		c.err = ERR_INPUT;
	if (c.err == ERR_OK)
		*out = c.schema;
	else
		schema_destroy(c.schema);
	buf_fini(&c.constants);
	free(c.drafts);
	arena_fini(&c.scratch);
	return c.err;
}

enum err schema_create(
	const struct schema_source *source, enum schema_side side, struct schema **out)
{
	return create(source, side, build_root, out);
}

enum err schema_create_shorthand(
	const struct schema_source *source, enum schema_side side, struct schema **out)
{
	return create(source, side, build_shorthand, out);
}

void schema_destroy(struct schema *s)
{
	if (s == NULL)
		return;
	json_close(&s->constants);
	free(s->constants_text);
	arena_fini(&s->arena);
	free(s);
}

bool schema_is_object(const struct schema *s)
{
	return s->root_types == TYPE_MAP;
}

/* Deep enough for what people write; the check itself does not rely on it. */
static bool rule_has_member(const struct rule *rule, struct span name, unsigned depth)
{
	const struct in_place *more = rule->in_place;

	if (rule->map != NULL && member_find(rule->map, name) != NULL)
		return true;
	if (more == NULL || depth == 0)
		return false;
	bool has = more->ref != NULL && rule_has_member(more->ref, name, depth - 1);

	for (size_t i = 0; i < more->all_count && !has; i++)
		has = rule_has_member(more->all[i], name, depth - 1);
	for (size_t i = 0; i < more->any_count && !has; i++)
		has = rule_has_member(more->any[i], name, depth - 1);
	for (size_t i = 0; i < more->one_count && !has; i++)
		has = rule_has_member(more->one[i], name, depth - 1);
	return has;
}

bool schema_has_member(const struct schema *s, struct span name)
{
	enum { LOOK_DEEP = 4 };

	return rule_has_member(s->root, name, LOOK_DEEP);
}
