/* json_writer.h - JSON of ours, written piece by piece and correctly (RFC 8259).
 *
 * Layer: base. Uses: libc. Never: a parser. Thread: the owner's. */
#ifndef SALLYPORT_BASE_JSON_WRITER_H
#define SALLYPORT_BASE_JSON_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

enum { JSON_WRITER_MAX_DEPTH = 32 };

/* Writes one JSON value into a buf, piece by piece; commas and escapes are its business. What
 * does not fit sticks to the buf (buf_status). Bytes of a text that are no UTF-8 become U+FFFD.
 * Calling it in an order that makes no JSON is a bug of the caller (BUG_ON). */
struct json_writer {
	struct buf *to;       /* borrowed */
	unsigned depth;       /* open arrays and objects */
	uint64_t is_object;   /* bit per depth */
	uint64_t has_members; /* bit per depth */
	bool has_key;         /* a key was written, its value is due */
};

void json_write_init(struct json_writer *w, struct buf *to);

void json_write_object(struct json_writer *w);
void json_write_object_end(struct json_writer *w);
void json_write_array(struct json_writer *w);
void json_write_array_end(struct json_writer *w);
void json_write_key(struct json_writer *w, const char *key);
void json_write_key_span(struct json_writer *w, struct span key);

void json_write_text(struct json_writer *w, struct span text);
void json_write_u64(struct json_writer *w, uint64_t value);
void json_write_double(struct json_writer *w, double value); /* not finite: null */
void json_write_bool(struct json_writer *w, bool value);
void json_write_null(struct json_writer *w);

/* A value that is JSON already, for example a body that json_open() accepted. */
void json_write_raw(struct json_writer *w, struct span json);

/* Key and value in one line. NULL text is null. */
void json_write_text_member(struct json_writer *w, const char *key, const char *text);
void json_write_span_member(struct json_writer *w, const char *key, struct span text);
void json_write_u64_member(struct json_writer *w, const char *key, uint64_t value);
void json_write_bool_member(struct json_writer *w, const char *key, bool value);

#endif
