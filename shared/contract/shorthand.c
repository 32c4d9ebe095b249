/* The types of the contract: text(32), id, int, 1..1000, bool, time, email, one_of(a,b),
 * list(50){sku: text(32)}, and maps of them. They become the same drafts as the keywords of JSON
 * Schema do. */
#include "base/text.h"
#include "contract/schema_build.h"

enum {
	ID_MAX = 128, /* characters: an ordering key has no more bytes */
	EMAIL_MAX = 254,
	TIME_MAX = 64,
	NAME_MAX_BYTES = 64,
};

static const char TYPES[] = "text(32), id, int, 1..1000, bool, time, email, one_of(a, b), "
			    "list(50){sku: text(32)}, a map of these, or {schema: {…}} with a "
			    "JSON Schema";

static struct draft *build_type(struct compiler *c, const struct yaml_node *node,
	struct span text, const struct path *path);

static struct draft *build_map(
	struct compiler *c, const struct yaml_node *map, const struct path *path);

/* A draft for what cannot be read: its mistake is told, others may follow. */
static struct draft *unreadable(
	struct compiler *c, const struct yaml_node *node, const struct path *path)
{
	struct draft *d = draft_new(c, ROLE_VALUE, node, path);

	if (d != NULL) {
		d->owner = d;
		d->rule->types = 0;
	}
	return d;
}

static struct draft *new_value(struct compiler *c, const struct yaml_node *node,
	const struct path *path, unsigned types)
{
	struct draft *d = unreadable(c, node, path);

	if (d != NULL)
		d->rule->types = types;
	return d;
}

/* ---- numbers in parentheses ---- */

/* The N of text(N): false after complaining. */
static bool read_size(struct compiler *c, const struct path *path, const struct yaml_node *node,
	struct span inside, uint64_t most, uint64_t *out)
{
	if (text_parse_u64(text_trim(inside), out) == ERR_OK && *out >= 1 && *out <= most)
		return true;
	BUILD_COMPLAIN(c, path, node, "in the parentheses stands a number from 1 to %llu",
		(unsigned long long)most);
	return false;
}

static struct draft *build_text(struct compiler *c, const struct yaml_node *node,
	struct span inside, const struct path *path)
{
	struct draft *d = new_value(c, node, path, TYPE_TEXT);
	uint64_t most = 0;

	if (d == NULL || draft_text(c, d) == NULL)
		return NULL;
	(void)read_size(c, path, node, inside, SCHEMA_TEXT_MAX, &most);
	d->text->most = most;
	d->has_most_text = true;
	return d;
}

static struct draft *build_formatted(struct compiler *c, const struct yaml_node *node,
	const struct path *path, enum format format, uint64_t most)
{
	struct draft *d = new_value(c, node, path, TYPE_TEXT);

	if (d == NULL || draft_text(c, d) == NULL)
		return NULL;
	d->text->most = most;
	d->text->format = format;
	d->has_most_text = true;
	return d;
}

static struct draft *build_range(struct compiler *c, const struct yaml_node *node,
	const struct path *path, struct span low, struct span high)
{
	struct draft *d = new_value(c, node, path, TYPE_WHOLE);
	struct number_rule *rule = d == NULL ? NULL : draft_number(c, d);
	const char *kept_low = arena_copy(&c->schema->arena, low);
	const char *kept_high = arena_copy(&c->schema->arena, high);

	if (rule == NULL || kept_low == NULL || kept_high == NULL) {
		c->err = ERR_NOMEM;
		return NULL;
	}
	rule->has_least = true;
	rule->least = number_read((struct span){ kept_low, low.len });
	rule->has_most = true;
	rule->most = number_read((struct span){ kept_high, high.len });
	rule->is_simple = number_to_i64(&rule->least, &rule->low) &&
			  number_to_i64(&rule->most, &rule->high);
	if (!rule->is_simple)
		BUILD_COMPLAIN(
			c, path, node, "the ends of a range are whole numbers within 64 bits");
	else if (rule->low > rule->high)
		BUILD_COMPLAIN(c, path, node, "the range ends before it begins");
	return d;
}

static struct draft *build_int(
	struct compiler *c, const struct yaml_node *node, const struct path *path)
{
	return build_range(
		c, node, path, span_of("-9223372036854775808"), span_of("9223372036854775807"));
}

/* A text of its characters, or a whole number from 0. */
static struct draft *build_id(
	struct compiler *c, const struct yaml_node *node, const struct path *path)
{
	struct draft *d = build_range(
		c, node, path, span_of("0"), span_of("9223372036854775807"));
	struct text_rule *text = d == NULL ? NULL : draft_text(c, d);

	if (text == NULL)
		return NULL;
	d->rule->types = TYPE_WHOLE | TYPE_TEXT;
	d->has_most_text = true;
	text->least = 1;
	text->most = ID_MAX;
	text->format = FORMAT_ID;
	return d;
}

/* ---- words in parentheses ---- */

static struct span unquoted(struct span word)
{
	bool is_quoted = word.len >= 2 && (word.at[0] == '"' || word.at[0] == '\'') &&
			 word.at[word.len - 1] == word.at[0];

	return is_quoted ? (struct span){ word.at + 1, word.len - 2 } : word;
}

static struct draft *build_one_of(struct compiler *c, const struct yaml_node *node,
	struct span inside, const struct path *path)
{
	struct draft *d = new_value(c, node, path, TYPE_TEXT);
	uint32_t first = c->constant_count;

	if (d == NULL)
		return NULL;
	for (bool is_more = true; is_more;) {
		struct span word = unquoted(text_trim(text_cut(&inside, ',')));

		is_more = inside.at != NULL;
		if (word.len == 0) {
			BUILD_COMPLAIN(c, path, node,
				"in the parentheses stand words: one_of(placed, sent)");
			return d;
		}
		json_write_text(&c->writer, word);
		c->constant_count++;
	}
	build_constants(c, d, "enum", first, c->constant_count - first, TYPE_TEXT);
	return d;
}

/* list(50){sku: text(32)} or list(50){text(32)}, which YAML reads as a key with nothing behind. */
static struct draft *build_items(
	struct compiler *c, const struct yaml_node *tail, const struct path *path)
{
	const struct yaml_node *only = tail->count == 1 ? tail->first : NULL;

	if (only != NULL && yaml_is_null(only) && only->text.len == 0)
		return build_type(c, only, only->key, path);
	return build_map(c, tail, path);
}

static struct draft *build_list(struct compiler *c, const struct yaml_node *node,
	struct span inside, const struct path *path)
{
	struct draft *d = new_value(c, node, path, TYPE_LIST);
	struct list_rule *list = d == NULL ? NULL : draft_list(c, d);
	uint64_t most = 0;

	if (list == NULL)
		return NULL;
	(void)read_size(c, path, node, inside, SCHEMA_LIST_MAX, &most);
	list->most = most;
	d->has_most_items = true;
	if (node->tail == NULL) {
		BUILD_COMPLAIN(c, path, node,
			"say of what: list(50){sku: text(32)}, or list(50){text(32)}");
		d->rule->types = 0;
		return d;
	}
	struct draft *items = build_items(c, node->tail, path);

	if (items == NULL)
		return NULL;
	list->items = items->rule;
	return d;
}

/* ---- types ---- */

/* What stands between the parentheses of word(…); false: it is not of that form. */
static bool is_word(struct span text, const char *word, struct span *inside)
{
	size_t len = strlen(word);

	if (!span_starts(text, word) || text.len < len + 2 || text.at[len] != '(' ||
		text.at[text.len - 1] != ')')
		return false;
	*inside = (struct span){ text.at + len + 1, text.len - len - 2 };
	return true;
}

static bool is_integer(struct span text)
{
	size_t sign = text.len > 0 && text.at[0] == '-';

	if (text.len == sign || text.len > JSON_MAX_NUMBER_BYTES)
		return false;
	for (size_t i = sign; i < text.len; i++)
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
	return text.len == sign + 1 || text.at[sign] != '0';
}

/* A..B */
static bool is_range(struct span text, struct span *low, struct span *high)
{
	const char *dots = text.len == 0 ? NULL : memmem(text.at, text.len, "..", 2);

	if (dots == NULL)
		return false;
	*low = (struct span){ text.at, (size_t)(dots - text.at) };
	*high = span_after(text, low->len + 2);
	return is_integer(*low) && is_integer(*high);
}

static struct draft *refuse_type(struct compiler *c, const struct yaml_node *node,
	struct span text, const struct path *path)
{
	static const char *const words[] = { "text", "id", "int", "bool", "time", "email",
		"one_of", "list" };
	struct span word = text;
	const char *paren = text.len == 0 ? NULL : memchr(text.at, '(', text.len);

	if (paren != NULL)
		word.len = (size_t)(paren - text.at);
	const char *nearest = word.len > NAME_MAX_BYTES
				      ? NULL
				      : report_nearest(word, words, ARRAY_COUNT(words));

	if (span_is(text, "text"))
		BUILD_COMPLAIN(c, path, node, "say how long it may be: text(200)");
	else if (span_is(text, "list"))
		BUILD_COMPLAIN(c, path, node, "say how many, and of what: list(50){text(32)}");
	else if (span_is(text, "one_of"))
		BUILD_COMPLAIN(c, path, node, "say of which: one_of(placed, sent)");
	else if (nearest != NULL && !span_is(word, nearest))
		BUILD_COMPLAIN(c, path, node, "no type \"%s\"; did you mean \"%s\"?",
			text_show(text).at, nearest);
	else
		BUILD_COMPLAIN(c, path, node, "no type \"%s\"; there are %s",
			text_show(text).at, TYPES);
	return unreadable(c, node, path);
}

static struct draft *build_type(struct compiler *c, const struct yaml_node *node,
	struct span text, const struct path *path)
{
	struct span inside;
	struct span low;
	struct span high;

	if (is_word(text, "list", &inside))
		return build_list(c, node, inside, path);
	if (node->tail != NULL) {
		BUILD_COMPLAIN(
			c, path, node, "only a list has braces: list(50){sku: text(32)}");
		return unreadable(c, node, path);
	}
	if (is_word(text, "text", &inside))
		return build_text(c, node, inside, path);
	if (is_word(text, "one_of", &inside))
		return build_one_of(c, node, inside, path);
	if (span_is(text, "id"))
		return build_id(c, node, path);
	if (span_is(text, "int"))
		return build_int(c, node, path);
	if (span_is(text, "bool"))
		return new_value(c, node, path, TYPE_BOOLEAN);
	if (span_is(text, "time"))
		return build_formatted(c, node, path, FORMAT_DATE_TIME, TIME_MAX);
	if (span_is(text, "email"))
		return build_formatted(c, node, path, FORMAT_EMAIL, EMAIL_MAX);
	if (is_range(text, &low, &high))
		return build_range(c, node, path, low, high);
	return refuse_type(c, node, text, path);
}

/* ---- maps ---- */

/* {schema: {…}}, and nothing beside: then it is a JSON Schema. */
static const struct yaml_node *schema_in(const struct yaml_node *map)
{
	const struct yaml_node *only = map->count == 1 ? map->first : NULL;

	return only != NULL && span_is(only->key, "schema") && only->kind == YAML_MAP ? only
										      : NULL;
}

static struct draft *build_full(
	struct compiler *c, const struct yaml_node *node, const struct path *path)
{
	struct path *here = build_scratch(c, sizeof(*here));
	uint32_t first = c->draft_count;

	if (here == NULL)
		return NULL;
	*here = (struct path){ path, node->key };
	c->top = node;
	struct draft *d = build_schema(c, ROLE_VALUE, NULL, GROUP_NONE, node, here);

	link_references(c, first);
	return d;
}

/* The name without its question mark, and the type without its own. */
static bool cut_question_mark(struct span *text)
{
	if (text->len < 2 || text->at[text->len - 1] != '?')
		return false;
	text->len--;
	return true;
}

static struct draft *build_node(struct compiler *c, const struct yaml_node *node,
	struct span text, const struct path *path)
{
	if (node->kind == YAML_MAP)
		return build_map(c, node, path);
	if (node->kind == YAML_LIST || node->is_quoted || yaml_is_null(node)) {
		BUILD_COMPLAIN(c, path, node, "must be a type: %s", TYPES);
		return unreadable(c, node, path);
	}
	return build_type(c, node, text, path);
}

static void build_member(struct compiler *c, struct draft *map, const struct yaml_node *node,
	const struct path *up)
{
	struct path *path = build_scratch(c, sizeof(*path));
	struct span name = node->key;
	struct span type = node->text;
	bool is_optional = cut_question_mark(&name);

	if (node->kind == YAML_SCALAR && !node->is_quoted && cut_question_mark(&type))
		is_optional = true;
	if (path == NULL)
		return;
	*path = (struct path){ up, node->key };
	if (!text_is_name(name, NAME_MAX_BYTES))
		BUILD_COMPLAIN_KEY(c, path, node,
			"not a name: 1 to %d letters, digits, \"-\", \"_\" and \".\", with a "
			"\"?\" "
			"behind it if it may be missing",
			NAME_MAX_BYTES);
	for (const struct draft_name *n = map->names; n != NULL && build_look(c, path, node);
		n = n->next)
		if (span_equals(n->member.name, name))
			BUILD_COMPLAIN_KEY(c, path, node, "this name stands here already");
	struct draft *value = build_node(c, node, type, path);
	struct draft_name *n = value == NULL ? NULL : draft_name_new(c, map, name);

	if (n == NULL)
		return;
	n->member.rule = value->rule;
	n->member.is_required = !is_optional;
	n->member.is_allowed = true;
}

static struct draft *build_map(
	struct compiler *c, const struct yaml_node *map, const struct path *path)
{
	const struct yaml_node *full = schema_in(map);

	if (full != NULL)
		return build_full(c, full, path);
	struct draft *d = new_value(c, map, path, TYPE_MAP);

	if (d == NULL || draft_map(c, d) == NULL)
		return NULL;
	for (const struct yaml_node *n = map->first; n != NULL && c->err == ERR_OK; n = n->next)
		build_member(c, d, n, path);
	return d;
}

struct draft *build_shorthand(
	struct compiler *c, const struct yaml_node *node, const struct path *path)
{
	return build_node(c, node, node->text, path);
}
