/* buf.h - a growing byte buffer that knows how big is too big.
 *
 * Errors stick: after one append that failed, all further ones fail too, so a writer appends
 * everything and asks buf_status() once.
 * Layer: base. Uses: libc. Thread: the owner's. */
#ifndef SALLYPORT_BASE_BUF_H
#define SALLYPORT_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

struct buf {
	char *at;         /* owned; NULL while nothing was appended */
	size_t len;       /* bytes in use */
	size_t room;      /* bytes allocated */
	size_t max_bytes; /* appending past this is ERR_FULL */
	enum err status;  /* the first error, or ERR_OK */
};

void buf_init(struct buf *b, size_t max_bytes);

/* Frees the memory; a zeroed buf is fine, b is zeroed afterwards. */
void buf_fini(struct buf *b);

/* Forgets contents and status, keeps the memory. */
void buf_clear(struct buf *b);

/* Forgets contents and gives back memory beyond keep_bytes. */
void buf_shrink(struct buf *b, size_t keep_bytes);

/* Makes `bytes` of free room at the end and returns where it begins, or NULL with the status
 * set (ERR_NOMEM, ERR_FULL). The caller writes there, then calls buf_advance(). */
char *buf_reserve(struct buf *b, size_t bytes);

/* Takes `bytes` of the room that buf_reserve() made into use. */
void buf_advance(struct buf *b, size_t bytes);

void buf_append(struct buf *b, struct span bytes);
void buf_text(struct buf *b, const char *text);
void buf_format(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_byte(struct buf *b, uint8_t byte);

/* Drops the first `bytes`, moving the rest to the front. */
void buf_consume(struct buf *b, size_t bytes);

/* ERR_OK, ERR_NOMEM or ERR_FULL: the first thing that went wrong since init or clear. */
static inline enum err buf_status(const struct buf *b)
{
	return b->status;
}

/* Borrowed until the next change of b. */
static inline struct span buf_span(const struct buf *b)
{
	return (struct span){ .at = b->at, .len = b->len };
}

#endif
