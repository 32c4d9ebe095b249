/* id.h - message ids: UUID version 7 (RFC 9562), 48 bits of Unix milliseconds, the rest random.
 *
 * Layer: base. Uses: libc (getrandom). Thread: any. */
#ifndef SALLYPORT_BASE_ID_H
#define SALLYPORT_BASE_ID_H

#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum { ID_BYTES = 16, ID_TEXT_LEN = 36 };

struct id {
	uint8_t byte[ID_BYTES];
};

struct id_text {
	char at[ID_TEXT_LEN + 1]; /* lower case, NUL-terminated */
};

/* A new id for the moment unix_ms. Ids made within one process in one millisecond are random
 * among each other: order is the business of `seq`, not of the id. */
void id_make(struct id *out, uint64_t unix_ms);

/* Of the 74 random bits of an id 12 may be replaced by a mark, by which its maker knows its own ids
 * again without remembering them: one in 4096 of others' ids has the same. */
void id_set_mark(struct id *id, uint16_t mark);
uint16_t id_mark(const struct id *id);

uint64_t id_unix_ms(const struct id *id);

/* Returns: ERR_OK, or ERR_INPUT for anything but the 36-character form of a version 7 UUID. */
WARN_UNUSED enum err id_parse(struct span text, struct id *out);

struct id_text id_format(const struct id *id);

static inline int id_compare(const struct id *a, const struct id *b)
{
	return memcmp(a->byte, b->byte, ID_BYTES);
}

#endif
