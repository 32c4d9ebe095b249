/* json.h - hostile JSON (RFC 8259) checked strictly and laid out to be looked at, in one pass.
 *
 * Strict: size capped before a byte is read, UTF-8, no key twice in an object, nesting capped,
 * one value and nothing behind it, numbers in the range of a 64-bit integer or a finite double,
 * no \u0000, no half surrogate. The text stays where it is: a document is a row of tokens that
 * point into it, and a message of ordinary size allocates nothing.
 * Layer: contract. Uses: base, libc. Thread: any, one document each. */
#ifndef SALLYPORT_CONTRACT_JSON_H
#define SALLYPORT_CONTRACT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json_writer.h"
#include "base/macro.h"
#include "base/span.h"

enum {
	JSON_MAX_DEPTH = 32,
	JSON_MAX_NUMBER_BYTES = 256, /* of one number as it is written */
	JSON_TOKENS_AT_HAND = 48,    /* more are allocated */
};

struct json_limits {
	size_t max_bytes;   /* of the text; below 4 GiB */
	unsigned max_depth; /* of arrays and objects; 0 means JSON_MAX_DEPTH, which is the most
			     */
};

struct json_failure {
	size_t at_byte; /* where it was noticed, from 0 */
	char text[256]; /* one short phrase; foreign bytes in it are escaped */
};

enum json_kind {
	JSON_NULL = 0,
	JSON_FALSE,
	JSON_TRUE,
	JSON_INTEGER, /* without fraction and exponent */
	JSON_REAL,
	JSON_TEXT,
	JSON_KEY, /* of a member; its value is the next token */
	JSON_ARRAY,
	JSON_OBJECT,
};

/* In the order of the text; what an array or object holds stands right behind it. */
struct json_token {
	uint32_t at;   /* first byte: of a text or key, behind its quote */
	uint32_t size; /* bytes as written (without quotes), or how many items or members */
	uint32_t next; /* index of the first token behind this value and all it holds */
	enum json_kind kind : 8;
	bool has_escapes; /* of a text or key */
};

struct json_doc {
	const char *text;          /* borrowed */
	struct json_token *tokens; /* tokens[0] is the value; NULL: not open */
	uint32_t count;
	uint32_t room;
	char *decoded; /* owned: a text without its escapes, for json_string_member() */
	struct json_token at_hand[JSON_TOKENS_AT_HAND];
};

/* Takes:   text is borrowed until json_close(); the document must not move until then.
 * Returns: ERR_OK and a document to close; ERR_INPUT (not JSON as above) or ERR_FULL (over
 *          max_bytes) with failure filled in; ERR_NOMEM. After an error nothing is open. */
WARN_UNUSED enum err json_open(struct span text, struct json_limits limits,
	struct json_doc *out, struct json_failure *failure);

/* A zeroed document is fine. */
void json_close(struct json_doc *doc);

static inline bool json_top_is_object(const struct json_doc *doc)
{
	return doc->tokens != NULL && doc->tokens[0].kind == JSON_OBJECT;
}

/* The member `name` of a document that is an object, as text: a string without its escapes, an
 * integer in decimal.
 * Returns: ERR_OK, *out borrowed until json_close() or the next call; ERR_NOT_FOUND (no object,
 *          or no such member); ERR_INPUT (the member is of another kind); ERR_NOMEM. */
WARN_UNUSED enum err json_string_member(
	struct json_doc *doc, const char *name, struct span *out);

/* Whether json_string_member() would give this text; cannot fail. */
bool json_member_is(const struct json_doc *doc, const char *name, struct span text);

#endif
