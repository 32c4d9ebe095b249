/* schema.h - what a JSON value must look like: JSON Schema (draft 2020-12) or the contract's
 * shorthand, compiled once.
 *
 * What is not understood is refused when it is compiled, never ignored. Unless the side is
 * SCHEMA_OPEN a schema is closed and bounded: members that it does not name are refused, texts,
 * lists and maps have an end, and a place where anything would pass is a mistake. A check takes
 * bounded time for any value, and allocates nothing but for a large list that must be unique.
 * docs/contract.md has the keywords and what closed means in detail.
 *
 * Layer: contract. Uses: base, json, yaml (the tree). Thread: any, once compiled. */
#ifndef SALLYPORT_CONTRACT_SCHEMA_H
#define SALLYPORT_CONTRACT_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/report.h"
#include "base/span.h"
#include "contract/json.h"
#include "contract/path.h"
#include "contract/yaml.h"

enum {
	/* Where a schema says nothing, and the most that it may say; not of SCHEMA_OPEN. */
	SCHEMA_TEXT_DEFAULT = 1000, /* characters */
	SCHEMA_TEXT_MAX = 65536,
	SCHEMA_LIST_DEFAULT = 100, /* items */
	SCHEMA_LIST_MAX = 10000,
	SCHEMA_MAP_DEFAULT = 100, /* members, where additionalProperties allows any name */
	SCHEMA_MAP_MAX = 10000,

	SCHEMA_POINTER_BYTES = 256,
	SCHEMA_TEXT_BYTES = 200,
};

enum schema_side {
	SCHEMA_TO_APP = 0, /* from the web: nothing may be open */
	SCHEMA_TO_WEB,     /* from us: additionalProperties may be true, if somebody says so */
	SCHEMA_OPEN,       /* the plain standard: for tools */
};

/* Where a schema stands. All borrowed for the call. */
struct schema_source {
	const struct yaml_node *node;
	const struct path *path; /* of the node; NULL: it is the whole file */
	const char *file;
	struct report *report;
};

struct schema;

/* Why not. */
struct schema_failure {
	const char *rule;                   /* the keyword; static storage */
	char pointer[SCHEMA_POINTER_BYTES]; /* RFC 6901, into the value; cut at its size */
	char text[SCHEMA_TEXT_BYTES];       /* one phrase, without contents of the value */
};

/* Compiles a JSON Schema.
 *
 * Returns: ERR_OK and a schema to destroy; ERR_INPUT with every mistake in the report;
 *          ERR_NOMEM. Without ERR_OK *out is NULL. */
WARN_UNUSED enum err schema_create(
	const struct schema_source *source, enum schema_side side, struct schema **out);

/* Compiles a type of the contract's shorthand: text(32), a map of them, or {schema: …} with a JSON
 * Schema. Returns as schema_create(). */
WARN_UNUSED enum err schema_create_shorthand(
	const struct schema_source *source, enum schema_side side, struct schema **out);

/* NULL is fine. */
void schema_destroy(struct schema *s);

/* Looks at the value whose token is `at`.
 *
 * Returns: ERR_OK; ERR_INPUT with the first thing found in *failure (rule "limit": it could not be
 *          decided in bounded time); ERR_NOMEM. */
WARN_UNUSED enum err schema_check(const struct schema *s, const struct json_doc *doc,
	uint32_t at, struct schema_failure *failure);

/* The schema is one of objects, whatever else it says. */
bool schema_is_object(const struct schema *s);

/* A member of this name is spoken of. */
bool schema_has_member(const struct schema *s, struct span name);

#endif
