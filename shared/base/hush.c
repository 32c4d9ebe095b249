#include "base/hush.h"

#include <string.h>

static struct hush_cause *find(struct hush *h, const char *name, uint64_t now_ms)
{
	struct hush_cause *c = h->causes;

	while (c < &h->causes[HUSH_CAUSES - 1] && c->name != NULL && strcmp(c->name, name) != 0)
		c++;
	if (c->name == NULL)
		*c = (struct hush_cause){
			.name = name,
			.lines_left = HUSH_BURST,
			.filled_at_ms = now_ms,
		};
	return c;
}

static void refill(struct hush_cause *c, uint64_t now_ms)
{
	uint64_t more = now_ms > c->filled_at_ms
				? (now_ms - c->filled_at_ms) / HUSH_LINE_EVERY_MS
				: 0;

	c->filled_at_ms += more * HUSH_LINE_EVERY_MS;
	if (more >= HUSH_BURST - c->lines_left)
		c->lines_left = HUSH_BURST;
	else
		c->lines_left += (unsigned)more;
}

bool hush_allows(struct hush *h, const char *cause, uint64_t now_ms)
{
	struct hush_cause *c = find(h, cause, now_ms);

	refill(c, now_ms);
	if (c->lines_left > 0) {
		c->lines_left--;
		return true;
	}
	c->unsaid++;
	h->unsaid_count++;
	return false;
}

uint64_t hush_take(struct hush *h, const char **cause)
{
	for (struct hush_cause *c = h->causes; c < &h->causes[HUSH_CAUSES]; c++) {
		uint64_t unsaid = c->unsaid;

		if (unsaid == 0)
			continue;
		c->unsaid = 0;
		*cause = c->name;
		return unsaid;
	}
	return 0;
}
