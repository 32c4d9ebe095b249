#include "app-node/flow.h"

#include <stdlib.h>

#include "base/bug.h"

enum { ANSWER_PART = 32 }; /* of a call's time: what is left for its answer's way back */

/* All work of one flow and key, in the order of admission; the first is the one that may run. */
struct chain {
	RB_ENTRY(chain) entry;
	struct node works;
	size_t key_len;
	char key[];
};

static int compare(const struct chain *a, const struct chain *b)
{
	if (a->key_len != b->key_len)
		return a->key_len < b->key_len ? -1 : 1;
	return memcmp(a->key, b->key, a->key_len);
}

RB_GENERATE_STATIC(chains, chain, entry, compare)

/* Behind all that are ready, retries too: a few that fail again and again would otherwise keep
 * the whole flow to themselves. */
static void become_ready(struct flow *f, struct work *w)
{
	w->state = WORK_READY;
	list_append(&f->ready, &w->queued);
	if (f->ready_count++ == 0)
		list_append(&f->origin->flows, &f->of_origin);
	f->ready_bytes += w->bytes;
	f->origin->ready_bytes += w->bytes;
}

/* Leaves the present state; the caller gives w the next. */
static void leave(struct flow *f, struct work *w)
{
	if (w->state == WORK_READY) {
		if (--f->ready_count == 0)
			list_drop(&f->of_origin);
		f->ready_bytes -= w->bytes;
		f->origin->ready_bytes -= w->bytes;
	}
	if (w->state == WORK_RUNNING) {
		f->running--;
		f->origin->running--;
	}
	list_drop(&w->queued);
}

static struct chain *find_chain(struct flow *f, struct span key)
{
	struct chain *made = malloc(sizeof(*made) + key.len);

	if (made == NULL)
		return NULL;
	made->key_len = key.len;
	memcpy(made->key, key.at, key.len);
	struct chain *found = RB_INSERT(chains, &f->chains, made);

	if (found != NULL) {
		free(made);
		return found;
	}
	list_init(&made->works);
	return made;
}

void origin_init(struct origin *o)
{
	*o = (struct origin){ 0 };
	list_init(&o->flows);
}

void flow_init(struct flow *f, struct origin *origin, unsigned lane)
{
	*f = (struct flow){ .origin = origin, .lane = lane };
	list_init(&f->turn);
	list_init(&f->seen);
	list_init(&f->of_origin);
	list_init(&f->ready);
	RB_INIT(&f->chains);
}

enum err flow_add(struct flow *f, struct work *w, struct span key)
{
	w->flow = f;
	w->chain = NULL;
	list_init(&w->queued);
	list_init(&w->chained);
	if (key.len > 0) {
		w->chain = find_chain(f, key);
		if (w->chain == NULL)
			return ERR_NOMEM;
		list_append(&w->chain->works, &w->chained);
	}
	f->work_count++;
	if (w->chain == NULL || w->chain->works.next == &w->chained)
		become_ready(f, w);
	else
		w->state = WORK_BEHIND;
	return ERR_OK;
}

uint64_t flow_too_late_us(const struct work *w, uint64_t typical_us)
{
	if (w->ends_us == 0)
		return UINT64_MAX;
	uint64_t time_us = w->ends_us - w->came_us;
	uint64_t needed_us = typical_us;

	if (needed_us < time_us / ANSWER_PART)
		needed_us = time_us / ANSWER_PART;
	if (needed_us > time_us / 2)
		needed_us = time_us / 2;
	return w->ends_us - needed_us;
}

struct work *flow_oldest(const struct flow *f)
{
	return list_empty(&f->ready) ? NULL : container_of(f->ready.next, struct work, queued);
}

static bool is_old(const struct work *w, uint64_t now_us)
{
	return w->ends_us != 0 && now_us > w->came_us &&
	       now_us - w->came_us > (w->ends_us - w->came_us) / 2;
}

struct work *flow_next(
	struct flow *f, uint64_t now_us, uint64_t typical_us, struct node *surplus)
{
	while (!list_empty(&f->ready)) {
		struct work *w = flow_oldest(f);

		if (is_old(w, now_us))
			w = container_of(f->ready.prev, struct work, queued);
		if (now_us < flow_too_late_us(w, typical_us))
			return w;
		flow_give_way(f, w, surplus);
	}
	return NULL;
}

void flow_run(struct flow *f, struct work *w)
{
	BUG_ON(w->state != WORK_READY);
	leave(f, w);
	w->state = WORK_RUNNING;
	f->running++;
	f->origin->running++;
}

void flow_rest(struct flow *f, struct work *w)
{
	BUG_ON(w->state != WORK_RUNNING);
	leave(f, w);
	w->state = WORK_RESTING;
}

void flow_wake(struct flow *f, struct work *w)
{
	BUG_ON(w->state != WORK_RESTING);
	become_ready(f, w);
}

void flow_give_way(struct flow *f, struct work *w, struct node *surplus)
{
	BUG_ON(w->state != WORK_READY);
	leave(f, w);
	w->state = WORK_SURPLUS;
	list_append(surplus, &w->queued);
}

void flow_remove(struct flow *f, struct work *w)
{
	struct chain *chain = w->chain;

	BUG_ON(w->state == WORK_OUT);
	leave(f, w);
	w->state = WORK_OUT;
	w->chain = NULL;
	w->flow = NULL;
	f->work_count--;
	if (chain == NULL)
		return;
	list_drop(&w->chained);
	if (list_empty(&chain->works)) {
		RB_REMOVE(chains, &f->chains, chain);
		free(chain);
		return;
	}
	struct work *first = container_of(chain->works.next, struct work, chained);

	if (first->state == WORK_BEHIND)
		become_ready(f, first);
}
