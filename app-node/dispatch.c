#include "app-node/dispatch.h"

#include <stdlib.h>

#include "base/bug.h"

/* All work of one operation and key, in the order of admission; the first is the one that may
 * run. */
struct chain {
	RB_ENTRY(chain) entry;
	struct node works;
	unsigned lane;
	size_t key_len;
	char key[];
};

static int compare(const struct chain *a, const struct chain *b)
{
	if (a->lane != b->lane)
		return a->lane < b->lane ? -1 : 1;
	if (a->key_len != b->key_len)
		return a->key_len < b->key_len ? -1 : 1;
	return memcmp(a->key, b->key, a->key_len);
}

RB_GENERATE_STATIC(chains, chain, entry, compare)

static void lane_check(struct dispatch *d, struct lane *lane)
{
	bool is_open = !list_empty(&lane->ready) && lane->running < lane->limit;

	if (is_open && list_empty(&lane->node))
		list_append(&d->open, &lane->node);
	else if (!is_open)
		list_drop(&lane->node);
}

/* Behind all that are ready, retries too: a few that fail again and again would otherwise keep
 * the whole lane to themselves. */
static void become_ready(struct dispatch *d, struct work *w)
{
	struct lane *lane = &d->lanes[w->lane];

	w->state = WORK_READY;
	list_append(&lane->ready, &w->queued);
	lane_check(d, lane);
}

/* Leaves the present state; the caller gives w the next. */
static void leave(struct dispatch *d, struct work *w)
{
	struct lane *lane = &d->lanes[w->lane];

	if (w->state == WORK_READY)
		list_drop(&w->queued);
	if (w->state == WORK_RUNNING) {
		lane->running--;
		d->running--;
	}
	lane_check(d, lane);
}

enum err dispatch_init(struct dispatch *d, const struct contract *contract)
{
	*d = (struct dispatch){ .lane_count = (unsigned)contract->operation_count };
	list_init(&d->open);
	RB_INIT(&d->chains);
	d->lanes = calloc(d->lane_count == 0 ? 1 : d->lane_count, sizeof(*d->lanes));
	if (d->lanes == NULL)
		return ERR_NOMEM;
	for (unsigned i = 0; i < d->lane_count; i++) {
		list_init(&d->lanes[i].node);
		list_init(&d->lanes[i].ready);
		d->lanes[i].limit = contract->operations[i].concurrency;
	}
	return ERR_OK;
}

void dispatch_fini(struct dispatch *d)
{
	BUG_ON(d->work_count > 0);
	free(d->lanes);
	*d = (struct dispatch){ 0 };
}

static struct chain *find_chain(struct dispatch *d, unsigned lane, struct span key)
{
	struct chain *made = malloc(sizeof(*made) + key.len);

	if (made == NULL)
		return NULL;
	made->lane = lane;
	made->key_len = key.len;
	memcpy(made->key, key.at, key.len);
	struct chain *found = RB_INSERT(chains, &d->chains, made);

	if (found != NULL) {
		free(made);
		return found;
	}
	list_init(&made->works);
	return made;
}

enum err dispatch_add(struct dispatch *d, struct work *w, const struct contract *contract,
	const struct operation *op, struct span key)
{
	*w = (struct work){ .lane = (unsigned)(op - contract->operations) };
	BUG_ON(w->lane >= d->lane_count);
	list_init(&w->queued);
	list_init(&w->chained);
	if (key.len > 0) {
		w->chain = find_chain(d, w->lane, key);
		if (w->chain == NULL)
			return ERR_NOMEM;
		list_append(&w->chain->works, &w->chained);
	}
	d->work_count++;
	if (w->chain == NULL || w->chain->works.next == &w->chained)
		become_ready(d, w);
	else
		w->state = WORK_BEHIND;
	return ERR_OK;
}

struct work *dispatch_next(struct dispatch *d)
{
	if (list_empty(&d->open))
		return NULL;
	struct lane *lane = container_of(d->open.next, struct lane, node);
	struct work *w = container_of(lane->ready.next, struct work, queued);

	list_drop(&w->queued);
	w->state = WORK_RUNNING;
	lane->running++;
	d->running++;
	list_drop(&lane->node); /* to the end of the line, if it is still open */
	lane_check(d, lane);
	return w;
}

void dispatch_rest(struct dispatch *d, struct work *w)
{
	BUG_ON(w->state != WORK_RUNNING);
	leave(d, w);
	w->state = WORK_RESTING;
}

void dispatch_wake(struct dispatch *d, struct work *w)
{
	BUG_ON(w->state != WORK_RESTING);
	become_ready(d, w);
}

void dispatch_remove(struct dispatch *d, struct work *w)
{
	struct chain *chain = w->chain;

	BUG_ON(w->state == WORK_OUT);
	leave(d, w);
	w->state = WORK_OUT;
	w->chain = NULL;
	d->work_count--;
	if (chain == NULL)
		return;
	list_drop(&w->chained);
	if (list_empty(&chain->works)) {
		RB_REMOVE(chains, &d->chains, chain);
		free(chain);
		return;
	}
	struct work *first = container_of(chain->works.next, struct work, chained);

	if (first->state == WORK_BEHIND)
		become_ready(d, first);
}
