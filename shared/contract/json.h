/* json.h - hostile JSON (RFC 8259) checked strictly and laid out to be looked at, in one pass.
 *
 * Strict: size capped before a byte is read, UTF-8, no key twice in an object, nesting capped,
 * one value and nothing behind it, numbers in the range of a 64-bit integer or a finite double,
 * no \u0000, no half surrogate. The text stays where it is: a document is a row of tokens that
 * point into it, and a message of ordinary size allocates nothing.
 * JSON_OPEN is for tools that judge by the standard alone: it takes \u0000, a key twice, numbers
 * of any size and deeper nesting.
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
	JSON_MAX_DEPTH = 32,         /* of messages */
	JSON_DEEPEST = 512,          /* of tools */
	JSON_MAX_NUMBER_BYTES = 256, /* of one number as it is written */
	JSON_TOKENS_AT_HAND = 48,    /* more are allocated */
};

enum json_rules { JSON_STRICT = 0, JSON_OPEN };

struct json_limits {
	size_t max_bytes;   /* of the text; below 4 GiB */
	unsigned max_depth; /* of arrays and objects; 0 means JSON_MAX_DEPTH */
	enum json_rules rules;
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
	bool has_twins;   /* of an object, JSON_OPEN only: a key stands in it twice */
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

/* The key of the member behind this one's, in the same object; object + 1 is the first key. */
static inline const struct json_token *json_next_key(
	const struct json_doc *doc, const struct json_token *key)
{
	return &doc->tokens[key[1].next];
}

/* A text, a key or a number as it is written, without quotes. */
static inline struct span json_written(const struct json_doc *doc, const struct json_token *t)
{
	return (struct span){ doc->text + t->at, t->size };
}

/* Walks what a text or key means, without its escapes. */
struct json_walk {
	const char *at;
	const char *end;
	unsigned char wide[4]; /* of a \u: what is not given yet */
	unsigned wide_at;
	unsigned wide_len;
};

struct json_walk json_walk_begin(const struct json_doc *doc, const struct json_token *t);

/* The next byte of UTF-8, or -1 at the end. */
int json_walk_byte(struct json_walk *w);

/* The next character, or -1 at the end. Not to be mixed with bytes in one walk. */
int json_walk_character(struct json_walk *w);

/* How many characters (code points) a text has. */
size_t json_text_length(const struct json_doc *doc, const struct json_token *t);

/* A text or key means these bytes. */
bool json_text_is(const struct json_doc *doc, const struct json_token *t, struct span bytes);

/* Two texts or keys mean the same; they may be of different documents. */
bool json_texts_equal(const struct json_doc *doc_a, const struct json_token *a,
	const struct json_doc *doc_b, const struct json_token *b);

/* The member `name` of a document that is an object, as text: a string without its escapes, an
 * integer in decimal.
 * Returns: ERR_OK, *out borrowed until json_close() or the next call; ERR_NOT_FOUND (no object,
 *          or no such member); ERR_INPUT (the member is of another kind); ERR_NOMEM. */
WARN_UNUSED enum err json_string_member(
	struct json_doc *doc, const char *name, struct span *out);

/* Whether json_string_member() would give this text; cannot fail. */
bool json_member_is(const struct json_doc *doc, const char *name, struct span text);

#endif
