/* answer.h - one HTTP/1.1 answer, read out of the bytes of a connection.
 *
 * Nothing is looked at twice and nothing allocated, however the bytes are cut. What cannot be
 * understood in one way only (two lengths, an unknown transfer coding, a line without a colon)
 * is no answer.
 * Layer: http. Uses: base, chunks. Never: a socket, a clock. Thread: any. */
#ifndef SALLYPORT_HTTP_ANSWER_H
#define SALLYPORT_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"
#include "http/chunks.h"

/*  STATUS ─▶ HEADERS ─┬─▶ LENGTH ────┬─▶ DONE
 *     ▲          │    ├─▶ CHUNKS ────┤
 *     └── 1xx ◀──┘    └─▶ UNTIL_END ─┘ */
enum answer_phase {
	ANSWER_STATUS = 0,
	ANSWER_HEADERS,
	ANSWER_LENGTH,
	ANSWER_CHUNKS,
	ANSWER_UNTIL_END, /* the end of the connection is the end of the body */
	ANSWER_DONE,
};

enum answer_result {
	ANSWER_MORE = 0, /* all was fine, and it is not whole yet */
	ANSWER_WHOLE,
	ANSWER_BROKEN, /* answer->err and ->why tell; nothing after it can be understood */
};

/* A place in the input, which may move while it grows. */
struct answer_part {
	size_t at;
	size_t len;
};

struct answer {
	size_t max_head_bytes; /* interim answers and a trailer count too */
	size_t max_body_bytes;

	enum answer_phase phase;
	size_t at;   /* the next byte to understand; where the present line begins */
	size_t seen; /* up to here that line has no end */
	struct chunks chunks;
	enum err err;    /* ERR_PROTOCOL, or ERR_FULL: the body is too large */
	const char *why; /* static */

	/* of the head, as soon as it has been read */
	unsigned http_status; /* 0: not yet */
	bool is_http_1_1;     /* else 1.0 */
	bool says_close;
	bool says_keep_alive;
	bool is_chunked;
	bool has_length;
	bool has_surplus;    /* bytes came behind the end */
	uint64_t length;     /* of the body */
	uint64_t keep_for_s; /* Keep-Alive: timeout=…; 0: not said */
	struct answer_part content_type;
	struct answer_part retry_after;

	struct answer_part body;
};

void answer_init(struct answer *a, size_t max_head_bytes, size_t max_body_bytes);

/* Goes on in `in`, which holds all that has come since answer_init(). It is changed: chunks are
 * put together in place. */
enum answer_result answer_feed(struct answer *a, struct buf *in);

/* The connection has ended. Returns ANSWER_WHOLE if that was the answer's end, else
 * ANSWER_MORE: it was cut off. */
enum answer_result answer_end(struct answer *a, const struct buf *in);

/* How many bytes the next read should have room for. */
size_t answer_wanted_bytes(const struct answer *a, const struct buf *in);

/* Of a whole answer: whether another may follow it on this connection. */
bool answer_keeps(const struct answer *a);

struct span answer_span(const struct buf *in, struct answer_part part);

/* Seconds, or the date in the form that RFC 9110 wants to be written.
 * Returns: whether there is time to wait, which *out is then: milliseconds, a century at most. */
bool answer_retry_after_ms(struct span value, uint64_t now_unix_ms, uint64_t *out);

#endif
