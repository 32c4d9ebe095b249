/* schema_build.h - a schema on its way from the file to its rules; for the rooms of the schema
 * only.
 *
 * First every place where a schema stands becomes a draft (schema.c reads keywords, shorthand.c
 * types). Then schema_link.c looks at all of them: references find their drafts, what leads back
 * to itself is refused, and what must be closed and bounded is. At last the maps get their names.
 * Layer: contract. Uses: base, schema_rules, yaml (the tree). Thread: the owner's. */
#ifndef SALLYPORT_CONTRACT_SCHEMA_BUILD_H
#define SALLYPORT_CONTRACT_SCHEMA_BUILD_H

#include "base/buf.h"
#include "base/json_writer.h"
#include "contract/schema.h"
#include "contract/schema_rules.h"

/* What a schema decides about its value. */
enum draft_role {
	ROLE_VALUE = 0, /* all of it: this one must be closed and bounded */
	ROLE_BRANCH,    /* a part: it stands in allOf, anyOf, oneOf, then, else of another */
	ROLE_TEST,      /* nothing: in if, not, contains, or what others decide already */
	ROLE_SHARED,    /* in $defs: whoever refers to it decides */
};

/* anyOf, oneOf, then/else: of these one is meant, so each is closed by itself. */
enum draft_group { GROUP_NONE = 0, GROUP_ANY, GROUP_ONE, GROUP_IF };

/* A member that is spoken of. */
struct draft_name {
	struct draft_name *next;
	struct member member;
	const struct yaml_node *node; /* where it is required; NULL: it is not */
};

/* What can be said of a value by all that is said about it in place. */
struct draft_facts {
	unsigned types;
	bool has_text_end; /* texts are bounded, or cannot stand here */
	bool has_list_end;
	bool has_items;  /* what a list holds is said */
	bool has_others; /* what other members a map may have is said */
};

struct draft {
	struct rule *rule;
	const struct yaml_node *node; /* NULL: it was not written, we made it up */
	const struct path *path;
	enum draft_role role;
	enum draft_group group;
	struct draft *parent;              /* BRANCH: in which it stands; NULL: none */
	struct draft *owner;               /* BRANCH: the nearest that is none */
	const struct yaml_node *reference; /* $ref, not found yet */
	const struct yaml_node *no_keys;   /* additionalProperties as it is written, or NULL */

	/* Made on demand; where the keywords of a kind begin. */
	struct number_rule *number;
	struct text_rule *text;
	struct list_rule *list;
	struct map_rule *map;
	struct in_place *in_place;
	struct draft_name *names; /* in the order of the file */
	struct draft_name **last_name;
	size_t name_count;
	bool has_most_text; /* maxLength is said */
	bool has_most_items;
	bool has_most_members;
	unsigned constant_types; /* what enum and const leave of the types */

	enum { DRAFT_NEW = 0, DRAFT_OPEN, DRAFT_DONE } state; /* of its facts */
	struct draft_facts facts;
	uint32_t stamp; /* of the last walk that came here */
};

struct compiler {
	struct schema *schema;
	enum schema_side side;
	const char *file;
	struct report *report;
	const struct yaml_node *top; /* what # means */
	struct arena scratch;
	struct draft **drafts;
	uint32_t draft_count;
	uint32_t draft_room;
	uint32_t stamp;
	size_t closed_names; /* in all maps together */
	uint64_t looked_at;  /* names that were compared on the way to others */
	struct buf constants;
	struct json_writer writer;
	uint32_t constant_count;
	enum err err; /* sticks: ERR_NOMEM, ERR_INPUT when there is too much; mistakes alone are
		       * in the report */
};

/* A scalar, or what else a node is. */
enum node_kind {
	NODE_NULL = 0,
	NODE_TRUE,
	NODE_FALSE,
	NODE_NUMBER,
	NODE_TEXT,
	NODE_ODD, /* a plain word that other readers take for a number */
	NODE_LIST,
	NODE_MAP,
	NODE_SHORTHAND, /* word(…){…} */
};

enum node_kind node_kind_of(const struct yaml_node *node);

/* Mistakes about a node's value, or about its key. */
#define BUILD_COMPLAIN(c, path, node, ...) \
	path_complain((c)->report, (c)->file, (path), (node)->line, (node)->column, __VA_ARGS__)
#define BUILD_COMPLAIN_KEY(c, path, node, ...)                           \
	path_complain((c)->report, (c)->file, (path),                    \
		(node)->key_line != 0 ? (node)->key_line : (node)->line, \
		(node)->key_line != 0 ? (node)->key_column : (node)->column, __VA_ARGS__)

/* Memory of the schema, or of the compiler alone; NULL sets c->err. */
void *build_keep(struct compiler *c, size_t bytes);
void *build_scratch(struct compiler *c, size_t bytes);

/* Looking a name up costs a look at those before it; false after complaining once: it is too much
 * in all. */
bool build_look(struct compiler *c, const struct path *path, const struct yaml_node *node);

/* NULL: out of memory, or too many; c->err is set. */
struct draft *draft_new(struct compiler *c, enum draft_role role, const struct yaml_node *node,
	const struct path *path);

/* The part of a draft for one kind of value; NULL: out of memory. */
struct number_rule *draft_number(struct compiler *c, struct draft *d);
struct text_rule *draft_text(struct compiler *c, struct draft *d);
struct list_rule *draft_list(struct compiler *c, struct draft *d);
struct map_rule *draft_map(struct compiler *c, struct draft *d);
struct in_place *draft_in_place(struct compiler *c, struct draft *d);

/* One more name that is spoken of; it may be there already. NULL: out of memory. */
struct draft_name *draft_name_new(struct compiler *c, struct draft *d, struct span name);

/* One more constant: the index among all of them. */
uint32_t build_constant(struct compiler *c, const struct path *path,
	const struct yaml_node *node, unsigned *types);

/* `count` constants from the index `first`, as a rule of the draft. */
void build_constants(struct compiler *c, struct draft *d, const char *rule, uint32_t first,
	uint32_t count, unsigned types);

/* schema.c: compiles the JSON Schema at a node. NULL: out of memory. */
struct draft *build_schema(struct compiler *c, enum draft_role role, struct draft *parent,
	enum draft_group group, const struct yaml_node *node, const struct path *path);

/* shorthand.c: compiles a type of the shorthand. NULL: out of memory. */
struct draft *build_shorthand(
	struct compiler *c, const struct yaml_node *node, const struct path *path);

/* schema_link.c: all drafts from `first` on belong to one JSON Schema; c->top is its root. */
void link_references(struct compiler *c, uint32_t first);

/* All drafts: what leads nowhere, what is open. */
void link_close(struct compiler *c);

/* All drafts get the tables of their names. */
void link_names(struct compiler *c);

#endif
