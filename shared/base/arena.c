#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

enum { CHUNK_BYTES = 16 * 1024 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t used;
	size_t room;
	max_align_t bytes[];
};

void *arena_take(struct arena *a, size_t bytes)
{
	struct arena_chunk *c = a->chunks;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (c == NULL || bytes > c->room - c->used) {
		size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;

		c = calloc(1, sizeof(*c) + room);
		if (c == NULL)
			return NULL;
		c->room = room;
		c->next = a->chunks;
		a->chunks = c;
	}
	void *at = (char *)c->bytes + c->used;

	c->used += bytes;
	return at;
}

char *arena_copy(struct arena *a, struct span text)
{
	char *copy = arena_take(a, text.len + 1);

	if (copy != NULL && text.len > 0)
		memcpy(copy, text.at, text.len);
	return copy;
}

void arena_fini(struct arena *a)
{
	while (a->chunks != NULL) {
		struct arena_chunk *next = a->chunks->next;

		free(a->chunks);
		a->chunks = next;
	}
}
