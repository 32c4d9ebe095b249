#include "base/backoff.h"

#include "base/bug.h"

void backoff_init(struct backoff *b, uint64_t first_ms, uint64_t longest_ms)
{
	BUG_ON(first_ms == 0 || longest_ms < first_ms);
	*b = (struct backoff){ .first_ms = first_ms, .longest_ms = longest_ms };
	backoff_reset(b);
}

void backoff_reset(struct backoff *b)
{
	b->ceiling_ms = b->first_ms;
}

uint64_t backoff_next_ms(struct backoff *b, uint64_t random)
{
	uint64_t spread_ms = b->ceiling_ms - b->first_ms;
	uint64_t wait_ms = b->first_ms + (spread_ms == 0 ? 0 : random % (spread_ms + 1));

	b->ceiling_ms = b->ceiling_ms > b->longest_ms / 2 ? b->longest_ms : b->ceiling_ms * 2;
	return wait_ms;
}
