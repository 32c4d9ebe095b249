/* json.h - hostile JSON checked strictly.
 *
 * Strict: size capped before a byte is parsed, UTF-8, no key twice in an object, nesting
 * capped, one value and nothing behind it, numbers in the range of a 64-bit integer or a finite
 * double, no \u0000.
 * Layer: contract. Uses: base, jansson (fenced in json.c). Thread: any, one document each. */
#ifndef SALLYPORT_CONTRACT_JSON_H
#define SALLYPORT_CONTRACT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json_writer.h"
#include "base/macro.h"
#include "base/span.h"

enum { JSON_MAX_DEPTH = 32 };

struct json_limits {
	size_t max_bytes;   /* of the text */
	unsigned max_depth; /* of arrays and objects; 0 means JSON_MAX_DEPTH, which is the most
			     */
};

struct json_failure {
	size_t at_byte; /* where it was noticed, from 0 */
	char text[256]; /* one short phrase; foreign bytes in it are escaped */
};

enum json_top {
	JSON_TOP_NULL = 0,
	JSON_TOP_BOOL,
	JSON_TOP_NUMBER,
	JSON_TOP_TEXT,
	JSON_TOP_ARRAY,
	JSON_TOP_OBJECT
};

struct json_doc {
	void *root;        /* owned */
	enum json_top top; /* what kind of value the text is */
	char number[24];   /* room for an integer that json_string_member() turned into text */
};

/* Takes:   text is borrowed during the call only.
 * Returns: ERR_OK and a document to close; ERR_INPUT (not JSON as above) or ERR_FULL (over
 *          max_bytes) with failure filled in; ERR_NOMEM. */
WARN_UNUSED enum err json_open(struct span text, struct json_limits limits,
	struct json_doc *out, struct json_failure *failure);

/* A zeroed document is fine. */
void json_close(struct json_doc *doc);

static inline bool json_top_is_object(const struct json_doc *doc)
{
	return doc->top == JSON_TOP_OBJECT;
}

/* The member `name` of a document that is an object, as text: a string as it is, an integer in
 * decimal.
 * Returns: ERR_OK, *out borrowed until json_close() or the next call; ERR_NOT_FOUND (no object,
 *          or no such member); ERR_INPUT (the member is of another kind). */
WARN_UNUSED enum err json_string_member(
	struct json_doc *doc, const char *name, struct span *out);

#endif
