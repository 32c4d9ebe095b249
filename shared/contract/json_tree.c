#include "contract/json_tree.h"

#include "contract/path.h"

struct builder {
	const struct json_doc *doc;
	const char *file;
	struct report *report;
	struct yaml_tree *tree;
	uint32_t seen; /* bytes of the text whose lines were counted */
	unsigned line;
	unsigned column;
};

/* Places only move forward. */
static void move_to(struct builder *b, uint32_t at)
{
	for (; b->seen < at; b->seen++) {
		unsigned char c = (unsigned char)b->doc->text[b->seen];

		if (c == '\n') {
			b->line++;
			b->column = 1;
		} else if ((c & 0xc0) != 0x80) {
			b->column++;
		}
	}
}

static enum err copy_text(struct builder *b, const struct json_token *t, struct span *out)
{
	struct json_walk walk = json_walk_begin(b->doc, t);
	char *copy = arena_take(&b->tree->arena, (size_t)t->size + 1);
	size_t len = 0;

	if (copy == NULL)
		return ERR_NOMEM;
	for (int c = json_walk_byte(&walk); c != -1; c = json_walk_byte(&walk))
		copy[len++] = (char)c;
	*out = (struct span){ copy, len };
	return ERR_OK;
}

static enum err copy_written(struct builder *b, const struct json_token *t, struct span *out)
{
	const char *copy = arena_copy(&b->tree->arena, json_written(b->doc, t));

	*out = (struct span){ copy, t->size };
	return copy == NULL ? ERR_NOMEM : ERR_OK;
}

static enum err build(struct builder *b, uint32_t at, struct yaml_node **out);

static enum err build_items(
	struct builder *b, const struct json_token *array, struct yaml_node *to)
{
	uint32_t at = (uint32_t)(array - b->doc->tokens) + 1;
	struct yaml_node **last = &to->first;

	for (uint32_t i = 0; i < array->size; i++) {
		enum err err = build(b, at, last);

		if (err != ERR_OK)
			return err;
		last = &(*last)->next;
		at = b->doc->tokens[at].next;
	}
	return ERR_OK;
}

static enum err build_members(
	struct builder *b, const struct json_token *object, struct yaml_node *to)
{
	const struct json_token *key = object + 1;
	struct yaml_node **last = &to->first;

	for (uint32_t i = 0; i < object->size; i++) {
		struct span text;
		enum err err = copy_text(b, key, &text);

		move_to(b, key->at);
		unsigned line = b->line;
		unsigned column = b->column;

		if (err == ERR_OK)
			err = build(b, (uint32_t)(key + 1 - b->doc->tokens), last);
		if (err != ERR_OK)
			return err;
		(*last)->key = text;
		(*last)->key_line = line;
		(*last)->key_column = column;
		last = &(*last)->next;
		if (i + 1 < object->size)
			key = json_next_key(b->doc, key);
	}
	return ERR_OK;
}

static enum err build(struct builder *b, uint32_t at, struct yaml_node **out)
{
	const struct json_token *t = &b->doc->tokens[at];
	struct yaml_node *node = arena_take(&b->tree->arena, sizeof(*node));

	if (node == NULL)
		return ERR_NOMEM;
	move_to(b, t->at);
	*out = node;
	node->line = b->line;
	node->column = b->column;
	node->count = t->size;
	if (t->has_twins) {
		path_complain(b->report, b->file, NULL, node->line, node->column,
			"a key stands twice in this object");
		return ERR_INPUT;
	}
	switch (t->kind) {
	case JSON_ARRAY:
		node->kind = YAML_LIST;
		return build_items(b, t, node);
	case JSON_OBJECT:
		node->kind = YAML_MAP;
		return build_members(b, t, node);
	case JSON_TEXT:
	case JSON_KEY:
		node->count = 0;
		node->is_quoted = true;
		return copy_text(b, t, &node->text);
	case JSON_NULL:
	case JSON_FALSE:
	case JSON_TRUE:
	case JSON_INTEGER:
	case JSON_REAL:
		node->count = 0;
		return copy_written(b, t, &node->text);
	}
	return ERR_INPUT;
}

enum err json_tree_open(const struct json_doc *doc, uint32_t at, const char *file,
	struct report *report, struct yaml_tree *out)
{
	struct builder b = {
		.doc = doc,
		.file = file,
		.report = report,
		.tree = out,
		.line = 1,
		.column = 1,
	};

	*out = (struct yaml_tree){ 0 };
	enum err err = build(&b, at, &out->root);

	if (err != ERR_OK)
		yaml_close(out);
	return err;
}
