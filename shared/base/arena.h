/* arena.h - memory taken in pieces and given back all at once.
 *
 * For what is built once and read for long: a tree, a compiled schema.
 * Layer: base. Uses: libc. Thread: the owner's. */
#ifndef SALLYPORT_BASE_ARENA_H
#define SALLYPORT_BASE_ARENA_H

#include <stddef.h>

#include "base/macro.h"
#include "base/span.h"

struct arena {
	struct arena_chunk *chunks; /* the newest first */
};

/* Zeroed bytes, fit for any type, that stay where they are until arena_fini(); NULL: out of
 * memory. A zeroed arena is an empty one. */
WARN_UNUSED void *arena_take(struct arena *a, size_t bytes);

/* A copy of the text with a NUL behind it; NULL: out of memory. */
WARN_UNUSED char *arena_copy(struct arena *a, struct span text);

/* A zeroed arena is fine; it is zeroed afterwards. */
void arena_fini(struct arena *a);

#endif
