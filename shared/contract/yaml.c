/* How `list(50){sku: text(32)}` gets through libyaml: before parsing, every character of such a
 * piece that means something to YAML is replaced by one private-use character (hide_source).
 * One character for one character, so libyaml's character index still is an index into the
 * source, from which all places are computed. In the scalars that come out the characters are
 * put back (reveal); what stood in braces is loaded by the same code once more, from the
 * source, and hung behind its scalar as the tail. */
#include "contract/yaml.h"

#include <stdint.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/bug.h"
#include "base/text.h"
#include "contract/path.h"

enum { HIDDEN_BYTES = 3 };

/* U+E000 + n stands for the n-th of these. The last two are the braces of a tail; the others
 * are put back as they are. */
static const char hidden[] = ",{}[]:#\n\r\t\"'{}";
enum { HIDDEN_OPEN = sizeof(hidden) - 3, HIDDEN_CLOSE = sizeof(hidden) - 2 };

/* The braces of one tail. */
struct group {
	size_t open_index; /* in characters */
	struct span bytes; /* of the source, braces included */
};

/* Where a character index is in the source. Moves forward cheaply. */
struct cursor {
	size_t index;
	size_t byte;
	unsigned line;
	unsigned column;
};

/* What all parts of one file share. */
struct loader {
	const char *file;
	struct report *report;
	struct yaml_tree *tree;
	size_t node_count;
	bool has_mistakes;   /* something was reported and reading went on */
	bool has_whole_tree; /* and it came to the end */
};

/* The document, or the braces of one tail. */
struct part {
	struct loader *loader;
	struct span source;
	struct buf text; /* the source with hidden characters */
	struct group *groups;
	size_t group_count;
	size_t group_room;
	size_t next_group; /* the first that no scalar has taken yet */
	struct cursor cursor;
	struct cursor start;
	yaml_parser_t parser;
	bool has_parser;
};

static struct yaml_node *node_new(struct loader *l, enum yaml_kind kind, struct cursor at)
{
	struct yaml_node *node = arena_take(&l->tree->arena, sizeof(*node));

	if (node == NULL)
		return NULL;
	*node = (struct yaml_node){ .kind = kind, .line = at.line, .column = at.column };
	l->node_count++;
	return node;
}

/* ---- places and mistakes ---- */

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static struct cursor place_of(struct part *p, size_t index)
{
	struct cursor *c = &p->cursor;

	if (index < c->index)
		*c = p->start;
	while (c->index < index && c->byte < p->source.len) {
		if (p->source.at[c->byte] == '\n') {
			c->line++;
			c->column = 1;
		} else {
			c->column++;
		}
		c->index++;
		c->byte++;
		while (c->byte < p->source.len && is_continuation(p->source.at[c->byte]))
			c->byte++;
	}
	return *c;
}

static enum err mistake(
	struct part *p, const struct path *path, struct cursor at, const char *text)
{
	path_complain(p->loader->report, p->loader->file, path, at.line, at.column, "%s", text);
	p->loader->has_mistakes = true;
	return ERR_INPUT;
}

/* ---- hiding ---- */

static void hide_byte(struct buf *out, size_t which)
{
	char bytes[HIDDEN_BYTES] = { (char)0xee, (char)0x80, (char)(0x80 + which) };

	buf_append(out, (struct span){ .at = bytes, .len = sizeof(bytes) });
}

static bool is_hidden_at(struct span text, size_t at)
{
	return text.len - at >= HIDDEN_BYTES && memcmp(text.at + at, "\xee\x80", 2) == 0 &&
	       (unsigned char)text.at[at + 2] - 0x80u < sizeof(hidden) - 1;
}

static void hide_span(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		const char *found = memchr(hidden, text.at[i], HIDDEN_OPEN);

		if (found != NULL)
			hide_byte(out, (size_t)(found - hidden));
		else
			buf_byte(out, (uint8_t)text.at[i]);
	}
}

static size_t count_chars(struct span text)
{
	size_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += is_continuation(text.at[i]) ? 0 : 1;
	return count;
}

static char byte_at(struct span s, size_t at)
{
	return at < s.len ? s.at[at] : '\0';
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\0';
}

static bool is_word_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_word(char c)
{
	return is_word_start(c) || (c >= '0' && c <= '9') || c == '-';
}

static size_t skip_line(struct span s, size_t at)
{
	while (at < s.len && s.at[at] != '\n')
		at++;
	return at;
}

/* at is the opening quote; returns what follows the closing one, or the end. */
static size_t skip_quoted(struct span s, size_t at)
{
	char quote = s.at[at++];

	for (; at < s.len; at++) {
		if (quote == '"' && s.at[at] == '\\') {
			at++;
		} else if (s.at[at] == quote) {
			if (quote == '\'' && byte_at(s, at + 1) == '\'')
				at++;
			else
				return at + 1;
		}
	}
	return s.len;
}

/* at is a '('; returns what follows its ')' in the same line, or `at` when there is none. */
static size_t skip_parens(struct span s, size_t at)
{
	size_t depth = 0;

	for (size_t i = at; i < s.len && s.at[i] != '\n'; i++) {
		/* The cap also keeps a long row of open ones from being looked through again
		 * and again. */
		if (s.at[i] == '(' && ++depth > YAML_MAX_DEPTH)
			return at;
		if (s.at[i] == ')' && --depth == 0)
			return i + 1;
	}
	return at;
}

/* at is a '{'; returns what follows its '}', or `at` when there is none. */
static size_t skip_braces(struct span s, size_t at)
{
	size_t depth = 0;
	bool may_quote = false; /* a quote opens a scalar only where one may begin */

	for (size_t i = at; i < s.len;) {
		char c = s.at[i];

		if ((c == '"' || c == '\'') && may_quote) {
			i = skip_quoted(s, i);
			may_quote = false;
			continue;
		}
		if (c == '#' && is_space(s.at[i - 1])) {
			i = skip_line(s, i);
			continue;
		}
		if ((c == '{' || c == '[') && ++depth > YAML_MAX_DEPTH)
			return at;
		if ((c == '}' || c == ']') && --depth == 0)
			return c == '}' ? i + 1 : at;
		if (!is_space(c))
			may_quote = c == '{' || c == '[' || c == ',' || c == ':';
		i++;
	}
	return at;
}

static enum err group_add(struct part *p, size_t open_index, struct span bytes)
{
	if (p->group_count == p->group_room) {
		size_t room = p->group_room == 0 ? 16 : p->group_room * 2;
		struct group *groups = realloc(p->groups, room * sizeof(*groups));

		if (groups == NULL)
			return ERR_NOMEM;
		p->groups = groups;
		p->group_room = room;
	}
	p->groups[p->group_count++] = (struct group){ open_index, bytes };
	return ERR_OK;
}

/* A block scalar (| or >) goes on while lines are empty or deeper than the line it began in. */
static size_t skip_block_scalar(struct span s, size_t at, size_t indent)
{
	at = skip_line(s, at);
	while (at < s.len) {
		size_t first = at + 1;

		while (byte_at(s, first) == ' ')
			first++;
		bool is_empty = first >= s.len || s.at[first] == '\n' || s.at[first] == '\r';

		if (!is_empty && first - (at + 1) <= indent)
			break;
		at = skip_line(s, at + 1);
	}
	return at;
}

/* hide_source() on its way through the text. It only needs to know where scalars begin. */
struct scan {
	struct part *part;
	struct span source;
	size_t at;         /* bytes so far */
	size_t index;      /* characters so far */
	size_t line_at;    /* where the present line begins */
	size_t indent;     /* what the text of a block scalar must be deeper than */
	size_t flow_depth; /* open braces and brackets */
	bool is_line_start;
	bool may_begin;  /* here a new scalar may begin */
	bool was_quoted; /* the last scalar was: {"a":1} needs no blank behind the colon */
};

static void copy_to(struct scan *c, size_t end)
{
	struct span piece = { c->source.at + c->at, end - c->at };

	for (size_t i = c->at + 1; i < end; i++) {
		if (c->source.at[i] == '\n')
			c->line_at = i + 1;
	}
	buf_append(&c->part->text, piece);
	c->index += count_chars(piece);
	c->at = end;
}

static void hide_to(struct scan *c, size_t end)
{
	struct span piece = { c->source.at + c->at, end - c->at };

	hide_span(&c->part->text, piece);
	c->index += count_chars(piece);
	c->at = end;
}

/* A word, and what stands in parentheses and braces right behind it. */
static enum err take_word(struct scan *c)
{
	struct span s = c->source;
	size_t end = c->at + 1;

	while (is_word(byte_at(s, end)))
		end++;
	copy_to(c, end);
	end = byte_at(s, c->at) == '(' ? skip_parens(s, c->at) : c->at;
	if (end == c->at)
		return ERR_OK;
	hide_to(c, end);
	end = byte_at(s, c->at) == '{' ? skip_braces(s, c->at) : c->at;
	if (end == c->at)
		return ERR_OK;
	enum err err = group_add(c->part, c->index, (struct span){ s.at + c->at, end - c->at });

	hide_byte(&c->part->text, HIDDEN_OPEN);
	c->at++;
	c->index++;
	hide_to(c, end - 1);
	hide_byte(&c->part->text, HIDDEN_CLOSE);
	c->at++;
	c->index++;
	return err;
}

static void begin_line(struct scan *c)
{
	char first = c->source.at[c->at];
	bool is_dash = first == '-' && is_space(byte_at(c->source, c->at + 1));

	/* The text of `- key: |` is measured against the key, that of `- |` against the dash.
	 */
	if (first != '|' && first != '>')
		c->indent = c->at - c->line_at;
	c->is_line_start = is_dash;
}

/* Returns what follows the comment, quoted or block scalar or sign of structure that stands
 * here, or c->at when a plain scalar does. */
static size_t skip_structure(struct scan *c)
{
	struct span s = c->source;
	char here = s.at[c->at];
	char next = byte_at(s, c->at + 1);
	bool is_flow = c->flow_depth > 0;

	if (here == '#' && (c->at == 0 || is_space(s.at[c->at - 1])))
		return skip_line(s, c->at);
	if (c->may_begin && (here == '"' || here == '\'')) {
		c->may_begin = false;
		c->was_quoted = true;
		return skip_quoted(s, c->at);
	}
	if (c->may_begin && !is_flow && (here == '|' || here == '>'))
		return skip_block_scalar(s, c->at, c->indent);
	if ((c->may_begin || is_flow) && (here == '{' || here == '[')) {
		c->flow_depth++;
		c->may_begin = true;
		return c->at + 1;
	}
	if (is_flow && (here == '}' || here == ']')) {
		c->flow_depth--;
		c->may_begin = false;
		return c->at + 1;
	}
	bool is_colon = here == ':' && (is_space(next) || c->was_quoted);
	bool is_mark = (here == '-' || here == '?') && c->may_begin && is_space(next);

	if ((is_flow && here == ',') || is_colon || is_mark) {
		c->may_begin = true;
		c->was_quoted = false;
		return c->at + 1;
	}
	return c->at;
}

/* Writes the part's source to its text with the pieces hidden that are ours. */
static enum err hide_source(struct part *p)
{
	struct scan c = {
		.part = p,
		.source = p->source,
		.is_line_start = true,
		.may_begin = true,
	};
	enum err err = ERR_OK;

	while (c.at < c.source.len && err == ERR_OK) {
		char here = c.source.at[c.at];

		if (is_space(here)) {
			if (here == '\n') {
				c.is_line_start = true;
				c.may_begin = true;
				c.line_at = c.at + 1;
			}
			copy_to(&c, c.at + 1);
			continue;
		}
		if (c.is_line_start)
			begin_line(&c);
		size_t end = skip_structure(&c);

		if (end > c.at) {
			copy_to(&c, end);
			continue;
		}
		c.may_begin = false;
		c.was_quoted = false;
		if (is_word_start(here))
			err = take_word(&c);
		else
			copy_to(&c, c.at + 1);
	}
	return err == ERR_OK ? buf_status(&p->text) : err;
}

/* ---- from events to nodes ---- */

/* What hide_source() did to a scalar. */
struct revealed {
	struct span text;  /* with the hidden characters put back, up to the tail */
	bool has_hidden;   /* there were some */
	bool has_tail;     /* braces follow the text */
	bool has_leftover; /* and something follows the braces */
};

static enum err reveal(struct part *p, struct span value, struct revealed *out)
{
	char *text = arena_take(&p->loader->tree->arena, value.len + 1);
	size_t len = 0;

	*out = (struct revealed){ 0 };
	if (text == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < value.len;) {
		if (!is_hidden_at(value, i)) {
			text[len++] = value.at[i++];
			continue;
		}
		size_t which = (unsigned char)value.at[i + 2] - 0x80u;

		out->has_hidden = true;
		if (which == HIDDEN_OPEN) {
			static const char close[] = { '\xee', '\x80',
				(char)(0x80 + HIDDEN_CLOSE) };
			const char *end = memmem(
				value.at + i, value.len - i, close, sizeof(close));

			out->has_tail = true;
			out->has_leftover = end == NULL ||
					    end + sizeof(close) != value.at + value.len;
			break;
		}
		text[len++] = hidden[which];
		i += HIDDEN_BYTES;
	}
	text[len] = '\0';
	out->text = (struct span){ .at = text, .len = len };
	return ERR_OK;
}

struct hint {
	const char *problem;
	const char *text;
};

static const char *hint_for(const char *problem)
{
	static const struct hint hints[] = {
		{ "mapping values are not allowed in this context",
			"a second \": \" in one line; quote the value, or begin a new line" },
		{ "did not find expected key",
			"here a \"key:\" should stand, indented like its neighbours" },
		{ "could not find expected ':'", "a key needs \": \" and its value" },
		{ "did not find expected ',' or '}'",
			"a \",\" or the closing \"}\" is missing" },
		{ "did not find expected ',' or ']'",
			"a \",\" or the closing \"]\" is missing" },
		{ "found character that cannot start any token",
			"a value may not begin like this; quote it (tabs may not indent)" },
		{ "found a tab character that violates indentation",
			"indent with blanks, not tabs" },
		{ "found unexpected end of stream", "the file ends inside a quoted text" },
		{ "did not find expected alphabetic or numeric character",
			"a value that begins with * or & must be quoted" },
		{ "found undefined tag handle", "tags are not allowed; quote the value" },
		{ "did not find expected <document start>",
			"only one document may stand in the file" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(hints); i++) {
		if (strcmp(hints[i].problem, problem) == 0)
			return hints[i].text;
	}
	return problem;
}

static enum err parser_mistake(struct part *p, const struct path *path)
{
	const yaml_parser_t *parser = &p->parser;
	const char *problem = parser->problem == NULL ? "unreadable" : parser->problem;
	size_t index = parser->problem_mark.index;

	if (parser->error == YAML_MEMORY_ERROR)
		return ERR_NOMEM;
	if (parser->error == YAML_READER_ERROR) {
		size_t before = parser->problem_offset < p->text.len ? parser->problem_offset
								     : p->text.len;

		index = count_chars((struct span){ p->text.at, before });
	}
	return mistake(p, path, place_of(p, index), hint_for(problem));
}

static enum err next_event(struct part *p, const struct path *path, yaml_event_t *event)
{
	if (yaml_parser_parse(&p->parser, event) == 1)
		return ERR_OK;
	return parser_mistake(p, path);
}

static enum err load_part(struct loader *l, struct span source, struct cursor start,
	const struct path *path, unsigned depth, struct yaml_node **out);

static enum err read_tail(struct part *p, size_t scalar_index, const struct path *path,
	unsigned depth, struct yaml_node **out)
{
	while (p->next_group < p->group_count &&
		p->groups[p->next_group].open_index < scalar_index)
		p->next_group++;
	BUG_ON(p->next_group == p->group_count);
	const struct group *g = &p->groups[p->next_group++];
	struct cursor at = place_of(p, g->open_index);

	return load_part(p->loader, g->bytes,
		(struct cursor){ .line = at.line, .column = at.column }, path, depth, out);
}

static void check_properties(struct part *p, const struct path *path, struct cursor at,
	const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor != NULL)
		mistake(p, path, at,
			"anchors are not allowed; write the value out, or quote it");
	if (tag != NULL)
		mistake(p, path, at, "tags are not allowed; write the value without \"!\"");
}

static enum err read_scalar(struct part *p, const yaml_event_t *event, const struct path *path,
	unsigned depth, struct yaml_node **out)
{
	size_t index = event->start_mark.index;
	struct cursor at = place_of(p, index);
	struct yaml_node *node = node_new(p->loader, YAML_SCALAR, at);
	struct span value = { (const char *)event->data.scalar.value,
		event->data.scalar.length };
	struct revealed r;

	if (node == NULL)
		return ERR_NOMEM;
	check_properties(p, path, at, event->data.scalar.anchor, event->data.scalar.tag);
	node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	enum err err = reveal(p, value, &r);

	if (err != ERR_OK)
		return err;
	/* An escape can make any character, so here nothing tells theirs from ours. */
	if (r.has_hidden && event->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE)
		return mistake(p, path, at, "characters of private use are not allowed");
	if (r.has_leftover || (r.has_tail && node->is_quoted))
		return mistake(p, path, at, "nothing may follow the \"}\" of a shorthand");
	node->text = r.text;
	if (r.has_tail)
		err = read_tail(p, index, path, depth + 1, &node->tail);
	*out = node;
	return err;
}

static void append(struct yaml_node *parent, struct yaml_node **last, struct yaml_node *node)
{
	if (*last == NULL)
		parent->first = node;
	else
		(*last)->next = node;
	*last = node;
	parent->count++;
}

static enum err read_node(struct part *p, const yaml_event_t *event, const struct path *path,
	unsigned depth, struct yaml_node **out);

static enum err read_list(
	struct part *p, struct yaml_node *list, const struct path *path, unsigned depth)
{
	struct yaml_node *last = NULL;

	for (;;) {
		yaml_event_t event;
		struct yaml_node *node = NULL;
		char place[32];
		int len = snprintf(place, sizeof(place), "%zu", list->count);
		struct path here = { path, { place, (size_t)len } };
		enum err err = next_event(p, path, &event);

		if (err != ERR_OK)
			return err;
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			return ERR_OK;
		}
		err = read_node(p, &event, &here, depth + 1, &node);
		yaml_event_delete(&event);
		if (err != ERR_OK)
			return err;
		append(list, &last, node);
	}
}

static int span_compare(struct span a, struct span b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len == 0 ? 0 : memcmp(a.at, b.at, len);

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

static int compare_keys(const void *left, const void *right)
{
	const struct yaml_node *a = *(const struct yaml_node *const *)left;
	const struct yaml_node *b = *(const struct yaml_node *const *)right;
	int order = span_compare(a->key, b->key);

	if (order != 0)
		return order;
	if (a->key_line != b->key_line)
		return a->key_line < b->key_line ? -1 : 1;
	return a->key_column < b->key_column ? -1 : a->key_column > b->key_column;
}

static enum err check_duplicates(
	struct part *p, const struct yaml_node *map, const struct path *path)
{
	if (map->count < 2)
		return ERR_OK;
	const struct yaml_node **sorted = malloc(map->count * sizeof(struct yaml_node *));
	size_t count = 0;

	if (sorted == NULL)
		return ERR_NOMEM;
	for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
		sorted[count++] = n;
	qsort(sorted, count, sizeof(struct yaml_node *), compare_keys);
	for (size_t i = 1; i < count; i++) {
		const struct yaml_node *n = sorted[i];
		struct path here = { path, n->key };
		char text[64];

		if (!span_equals(sorted[i - 1]->key, n->key))
			continue;
		snprintf(text, sizeof(text), "this key is written already in line %u",
			sorted[i - 1]->key_line);
		mistake(p, &here,
			(struct cursor){ .line = n->key_line, .column = n->key_column }, text);
	}
	free(sorted);
	return ERR_OK;
}

static enum err read_map(
	struct part *p, struct yaml_node *map, const struct path *path, unsigned depth)
{
	struct yaml_node *last = NULL;

	for (;;) {
		yaml_event_t event;
		struct yaml_node *key = NULL;
		struct yaml_node *node = NULL;
		enum err err = next_event(p, path, &event);

		if (err != ERR_OK)
			return err;
		if (event.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&event);
			return check_duplicates(p, map, path);
		}
		err = read_node(p, &event, path, depth + 1, &key);
		yaml_event_delete(&event);
		if (err != ERR_OK)
			return err;
		if (key->kind != YAML_SCALAR || key->tail != NULL)
			return mistake(p, path,
				(struct cursor){ .line = key->line, .column = key->column },
				"a key must be plain text");
		struct path here = { path, key->text };

		err = next_event(p, &here, &event);
		if (err != ERR_OK)
			return err;
		err = read_node(p, &event, &here, depth + 1, &node);
		yaml_event_delete(&event);
		if (err != ERR_OK)
			return err;
		node->key = key->text;
		node->key_line = key->line;
		node->key_column = key->column;
		append(map, &last, node);
	}
}

static enum err read_node(struct part *p, const yaml_event_t *event, const struct path *path,
	unsigned depth, struct yaml_node **out)
{
	struct cursor at = place_of(p, event->start_mark.index);

	if (depth > YAML_MAX_DEPTH)
		return mistake(p, path, at, "nested deeper than 32 levels");
	if (p->loader->node_count >= YAML_MAX_NODES)
		return mistake(p, path, at, "more than 50000 keys and values");
	if (event->type == YAML_SCALAR_EVENT)
		return read_scalar(p, event, path, depth, out);
	if (event->type == YAML_ALIAS_EVENT)
		return mistake(p, path, at,
			"aliases are not allowed; a value that begins with * must be quoted");
	BUG_ON(event->type != YAML_SEQUENCE_START_EVENT &&
		event->type != YAML_MAPPING_START_EVENT);
	bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
	struct yaml_node *node = node_new(p->loader, is_list ? YAML_LIST : YAML_MAP, at);

	if (node == NULL)
		return ERR_NOMEM;
	*out = node;
	if (is_list) {
		check_properties(p, path, at, event->data.sequence_start.anchor,
			event->data.sequence_start.tag);
		return read_list(p, node, path, depth);
	}
	check_properties(
		p, path, at, event->data.mapping_start.anchor, event->data.mapping_start.tag);
	return read_map(p, node, path, depth);
}

static enum err read_document(
	struct part *p, const struct path *path, unsigned depth, struct yaml_node **out)
{
	yaml_event_t event;
	enum err err = next_event(p, path, &event);

	if (err != ERR_OK)
		return err;
	BUG_ON(event.type != YAML_STREAM_START_EVENT);
	yaml_event_delete(&event);

	err = next_event(p, path, &event);
	if (err != ERR_OK)
		return err;
	if (event.type == YAML_STREAM_END_EVENT) {
		yaml_event_delete(&event);
		return mistake(p, path, (struct cursor){ 0 }, "the file is empty");
	}
	bool has_directives = event.data.document_start.version_directive != NULL ||
			      event.data.document_start.tag_directives.start !=
				      event.data.document_start.tag_directives.end;
	struct cursor at = place_of(p, event.start_mark.index);

	yaml_event_delete(&event);
	if (has_directives)
		mistake(p, path, at, "directives (%YAML, %TAG) are not allowed");

	err = next_event(p, path, &event);
	if (err != ERR_OK)
		return err;
	err = read_node(p, &event, path, depth, out);
	yaml_event_delete(&event);
	if (err != ERR_OK)
		return err;

	err = next_event(p, path, &event); /* the end of the document */
	if (err != ERR_OK)
		return err;
	yaml_event_delete(&event);
	err = next_event(p, path, &event);
	if (err != ERR_OK)
		return err;
	bool is_end = event.type == YAML_STREAM_END_EVENT;

	at = place_of(p, event.start_mark.index);
	yaml_event_delete(&event);
	return is_end ? ERR_OK
		      : mistake(p, path, at, "only one document may stand in the file");
}

static void part_fini(struct part *p)
{
	if (p->has_parser)
		yaml_parser_delete(&p->parser);
	buf_fini(&p->text);
	free(p->groups);
}

static enum err load_part(struct loader *l, struct span source, struct cursor start,
	const struct path *path, unsigned depth, struct yaml_node **out)
{
	struct part p = {
		.loader = l,
		.source = source,
		.cursor = start,
		.start = start,
	};

	buf_init(&p.text, source.len * HIDDEN_BYTES + 1);
	enum err err = hide_source(&p);

	if (err == ERR_OK && yaml_parser_initialize(&p.parser) != 1)
		err = ERR_NOMEM;
	if (err == ERR_OK) {
		static const unsigned char nothing[1] = { 0 };
		const unsigned char *text = p.text.len == 0 ? nothing
							    : (const unsigned char *)p.text.at;

		p.has_parser = true;
		yaml_parser_set_encoding(&p.parser, YAML_UTF8_ENCODING);
		yaml_parser_set_input_string(&p.parser, text, p.text.len);
		err = read_document(&p, path, depth, out);
	}
	part_fini(&p);
	return err;
}

/* Only what YAML and the hiding take: UTF-8 without control and private-use characters. */
static enum err check_bytes(struct part *p)
{
	struct span s = p->source;

	if (s.len > YAML_MAX_BYTES)
		return mistake(p, NULL, (struct cursor){ 0 }, "larger than 1 MiB");
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.at[i];
		bool is_control = (c < 0x20 && c != '\n' && c != '\r' && c != '\t') ||
				  c == 0x7f;
		struct span head = { s.at, i };

		if (is_control)
			return mistake(p, NULL, place_of(p, count_chars(head)),
				"control characters are not allowed");
		if (c == 0xee && is_hidden_at(s, i))
			return mistake(p, NULL, place_of(p, count_chars(head)),
				"characters of private use are not allowed");
	}
	if (!text_is_utf8(s)) {
		size_t good = 0;

		for (size_t i = 0; i < s.len; i++) {
			if (s.at[i] != '\n')
				continue;
			struct span line = { s.at + good, i + 1 - good };

			if (!text_is_utf8(line))
				break;
			good = i + 1;
		}
		return mistake(p, NULL, place_of(p, count_chars((struct span){ s.at, good })),
			"not UTF-8");
	}
	return ERR_OK;
}

enum err yaml_open(
	struct span source, const char *file, struct report *report, struct yaml_tree *out)
{
	*out = (struct yaml_tree){ 0 };
	struct loader l = { .file = file, .report = report, .tree = out };
	struct cursor start = { .line = 1, .column = 1 };
	struct part whole = { .loader = &l, .source = source, .cursor = start, .start = start };
	enum err err = check_bytes(&whole);

	if (err == ERR_OK)
		err = load_part(&l, source, start, NULL, 1, &out->root);
	l.has_whole_tree = err == ERR_OK;
	if (err == ERR_OK && l.has_mistakes)
		err = ERR_INPUT;
	if (err != ERR_OK && !(err == ERR_INPUT && l.has_whole_tree))
		yaml_close(out);
	return err;
}

void yaml_close(struct yaml_tree *tree)
{
	arena_fini(&tree->arena);
	*tree = (struct yaml_tree){ 0 };
}

const struct yaml_node *yaml_member(const struct yaml_node *node, const char *key)
{
	if (node == NULL || node->kind != YAML_MAP)
		return NULL;
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		if (span_is(n->key, key))
			return n;
	}
	return NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
	if (node->kind != YAML_SCALAR || node->is_quoted || node->tail != NULL)
		return false;
	return node->text.len == 0 || span_is(node->text, "~") || span_is(node->text, "null");
}
