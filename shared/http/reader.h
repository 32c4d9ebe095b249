/* reader.h - one HTTP/1.1 request after the other, read out of the bytes of a connection: all
 * of it strictly as RFC 9112 writes it, or refused by name.
 *
 * Lines end with CR LF, no header continues on the next line, no blank stands before a colon:
 * what another reader of the same bytes could understand differently is refused. Nothing
 * is allocated, and what comes in pieces is not searched again from its beginning.
 * Layer: http. Uses: base, head. Never: a socket. Thread: any. */
#ifndef SALLYPORT_HTTP_READER_H
#define SALLYPORT_HTTP_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/macro.h"
#include "base/span.h"
#include "http/head.h"
#include "http/problem.h"
#include "http/server.h"

enum {
	READER_MAX_PARAMS = 16,       /* parameters of a query */
	READER_MAX_CHUNK_LINE = 256,  /* bytes of a chunk's size, extensions and CR LF */
	READER_MAX_CHUNK_DIGITS = 15, /* of its size, leading zeros included */
};

/*  START ─▶ LINE ─▶ HEADERS ─┬─▶ LENGTH ───────────────────────────────────────────────┬▶ DONE
 *                            └─▶ SIZE ─▶ CHUNK ─▶ CHUNK_END ─▶ SIZE … TRAILER ─────────┘ */
enum reader_phase {
	READER_START = 0, /* empty lines before a request are skipped */
	READER_LINE,
	READER_HEADERS,
	READER_LENGTH, /* a body of known length */
	READER_SIZE,   /* the line before a chunk */
	READER_CHUNK,
	READER_CHUNK_END,
	READER_TRAILER, /* checked and dropped */
	READER_DONE,
};

enum reader_result {
	READER_MORE = 0, /* all was fine, and it is not whole yet */
	READER_WHOLE,
	READER_BAD,
};

/* A place in the input: it may move while a request grows, so no pointers. */
struct reader_part {
	size_t at;
	size_t len;
};

struct reader {
	struct head_limits limits;
	enum peer_kind from;

	/* of the present request */
	enum reader_phase phase;
	size_t at;   /* the next byte to understand; where the present line begins */
	size_t seen; /* up to here that line has no end */
	size_t target_bytes;
	size_t headers_at;
	size_t body_at;
	size_t body_len; /* of what is there; chunks are put together in place */
	size_t left;     /* bytes that the body or its chunk still lacks */
	size_t trailer_bytes;
	struct head head; /* its spans are void once it has been judged */
	enum http_method method;
	struct reader_part path; /* decoded */
	struct {
		struct reader_part name;
		struct reader_part value;
	} params[READER_MAX_PARAMS]; /* decoded */
	size_t param_count;
	bool is_head; /* its answer has no body */
};

/* Counts and limits only; forgets what it knew. */
void reader_init(struct reader *r, enum peer_kind from, const struct head_limits *limits);

/* Goes on in `in`, which holds everything since the present request began. It is changed:
 * escapes and chunks are decoded in place.
 *
 * Returns: READER_MORE: append what comes and call again. READER_WHOLE: it is all there; ask the
 *          functions below, then reader_next(). READER_BAD: *out says why, in static texts; nothing
 *          after that can be understood. */
enum reader_result reader_feed(struct reader *r, struct buf *in, struct problem *out);

/* A request has begun that is not whole yet. */
bool reader_has_begun(const struct reader *r);

/* The client waits for "100 Continue" before it sends the body. True once. */
bool reader_owes_continue(struct reader *r);

/* Takes the whole request out of `in`; the next one begins. */
void reader_next(struct reader *r, struct buf *in);

/* Of a whole request; the spans are void when `in` changes. */
struct span reader_path(const struct reader *r, const struct buf *in);
struct span reader_body(const struct reader *r, const struct buf *in);
bool reader_query(
	const struct reader *r, const struct buf *in, const char *name, struct span *out);
bool reader_header(
	const struct reader *r, const struct buf *in, const char *name, struct span *out);
size_t reader_header_count(const struct reader *r, const struct buf *in, const char *name);

#endif
