/* yaml.h - one strict YAML document as a tree in the order of its source, each node with its
 * place.
 *
 * Strict: UTF-8, one document, no anchors, aliases, tags or directives, no key twice in a map,
 * scalar keys only, everything capped. Scalars stay text; what they mean is asked by the reader
 * (YAML 1.2 core: true and false are the only booleans, yes and no are words). JSON files are
 * read too.
 *
 * One thing is ours: a plain word followed by parentheses is one scalar wherever it stands,
 * and braces right behind it belong to it. `one_of(a, b)` stays in one piece inside a flow map,
 * and `list(50){sku: text(32)}` is the scalar "list(50)" with a map as its tail. (YAML would
 * end the scalar at the comma or the brace and call the rest an error.)
 *
 * Layer: contract. Uses: base, libyaml (fenced in yaml.c). Thread: the owner's. */
#ifndef SALLYPORT_CONTRACT_YAML_H
#define SALLYPORT_CONTRACT_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/macro.h"
#include "base/report.h"
#include "base/span.h"

enum {
	YAML_MAX_BYTES = 1024 * 1024,
	YAML_MAX_DEPTH = 32,
	YAML_MAX_NODES = 50000,
};

enum yaml_kind { YAML_SCALAR = 0, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	bool is_quoted;    /* scalars: "5" and 'no' are text, 5 and true may be more */
	unsigned line;     /* from 1 */
	unsigned column;   /* from 1, in characters */
	struct span text;  /* scalars; NUL-terminated too. Others: empty */
	struct span key;   /* in a map: the key; NUL-terminated too */
	unsigned key_line; /* in a map: where the key stands */
	unsigned key_column;
	struct yaml_node *next;  /* the following member of the same map or list */
	struct yaml_node *first; /* maps and lists: the first member */
	size_t count;            /* maps and lists: how many members */
	struct yaml_node *tail;  /* scalars: the map that follows `word(…)`, or NULL */
};

struct yaml_tree {
	struct yaml_node *root;
	struct arena arena; /* all memory of the tree */
};

/* Takes:   source is borrowed during the call only.
 * Returns: ERR_OK; ERR_INPUT with at least one mistake in the report, under the name `file`;
 *          ERR_NOMEM. After ERR_INPUT out->root is NULL, unless the mistakes were such that the
 *          rest could be read (a key twice, an anchor, a tag): then the reader may look for
 * more mistakes in the tree. Closing the tree is right in every case. */
WARN_UNUSED enum err yaml_open(
	struct span source, const char *file, struct report *report, struct yaml_tree *out);

/* A zeroed tree is fine; the tree is zeroed afterwards. */
void yaml_close(struct yaml_tree *tree);

/* The member of a map under this key, or NULL; also NULL when node is NULL or no map. */
const struct yaml_node *yaml_member(const struct yaml_node *node, const char *key);

/* A plain scalar without text, `~` or `null`: a key with nothing behind it. */
bool yaml_is_null(const struct yaml_node *node);

#endif
