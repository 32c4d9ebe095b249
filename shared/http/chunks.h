/* chunks.h - a body that comes in chunks (RFC 9112 section 7.1), put together in place.
 *
 * Layer: http. Uses: base. Never: a socket. Thread: any. */
#ifndef SALLYPORT_HTTP_CHUNKS_H
#define SALLYPORT_HTTP_CHUNKS_H

#include <stddef.h>

#include "base/buf.h"
#include "base/macro.h"
#include "base/span.h"

enum { CHUNKS_MAX_LINE_BYTES = 256 }; /* a chunk's size and its extensions */

/*  SIZE ─▶ DATA ─▶ DATA_END ─▶ SIZE … ─▶ TRAILER ─▶ (whole) */
enum chunks_phase {
	CHUNKS_SIZE = 0,
	CHUNKS_DATA,
	CHUNKS_DATA_END,
	CHUNKS_TRAILER, /* dropped */
};

enum chunks_result {
	CHUNKS_MORE = 0, /* all was fine, and it is not whole yet */
	CHUNKS_WHOLE,
	CHUNKS_TOO_LARGE, /* the body */
	CHUNKS_TRAILER_TOO_LARGE,
	CHUNKS_BROKEN,
};

struct chunks {
	enum chunks_phase phase;
	size_t at;       /* the next byte to understand; where the present line begins */
	size_t seen;     /* up to here that line has no end */
	size_t body_end; /* up to here the body is put together */
	size_t left;     /* bytes that the present chunk still lacks */
	size_t body_room;
	size_t trailer_room;
};

/* The chunks begin at `at`, and so will the body. */
void chunks_init(struct chunks *c, size_t at, size_t max_body_bytes, size_t max_trailer_bytes);

/* Goes on in `in`, whose bytes before c->body_end are left alone. Afterwards the body stands
 * before c->body_end and whatever is not understood yet right behind it; of CHUNKS_WHOLE that
 * is what follows the body. */
enum chunks_result chunks_feed(struct chunks *c, struct buf *in);

#endif
