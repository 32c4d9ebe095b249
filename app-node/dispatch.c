#include "app-node/dispatch.h"

#include <stdlib.h>

#include "base/bug.h"

enum {
	FORGET_US = 60 * 1000 * 1000, /* a web host unseen this long has no slot kept for it */
	KEPT_FREE_PART = 4,           /* of the slots of an operation, kept for other hosts */
	CALLS_ONLY_PART = 4,          /* of all slots, kept for calls */
	LEARN_PART = 8,               /* weight of one run: what is typical moves by so much */
	OUTLIER_TIMES = 2,            /* a run counts for so many typical ones at most */
	WAITING_PER_SLOT = 2,         /* calls may wait, however long one run takes */
};

static int compare(const struct flow *a, const struct flow *b)
{
	if (a->origin != b->origin)
		return a->origin < b->origin ? -1 : 1;
	return 0;
}

RB_GENERATE_STATIC(flows, flow, by_origin, compare)

static struct lane *lane_of(struct dispatch *d, const struct work *w)
{
	return &d->lanes[w->flow->lane];
}

/* The lists follow what is READY and what runs, here and nowhere else. */
static void check(struct dispatch *d, struct flow *f)
{
	struct lane *lane = &d->lanes[f->lane];

	if (f->ready_count == 0)
		list_drop(&f->turn);
	else if (list_empty(&f->turn))
		list_append(&lane->turns, &f->turn);

	bool is_open = !list_empty(&lane->turns) && lane->running < lane->limit;

	if (!is_open)
		list_drop(&lane->node);
	else if (list_empty(&lane->node))
		list_append(&d->open, &lane->node);
}

/* ---- flows come and go ---- */

static void see(struct lane *lane, struct flow *f, uint64_t now_us)
{
	f->seen_us = now_us;
	list_drop(&f->seen);
	list_append(&lane->seen, &f->seen);
}

static void forget(struct lane *lane, struct flow *f)
{
	BUG_ON(f->work_count > 0);
	list_drop(&f->seen);
	lane->seen_count--;
	RB_REMOVE(flows, &lane->flows, f);
	free(f);
}

static void forget_absent(struct lane *lane, uint64_t now_us)
{
	while (!list_empty(&lane->seen)) {
		struct flow *f = container_of(lane->seen.next, struct flow, seen);

		if (now_us < f->seen_us + FORGET_US)
			return;
		if (f->work_count > 0)
			see(lane, f, now_us);
		else
			forget(lane, f);
	}
}

static struct flow *find_flow(
	struct dispatch *d, unsigned number, struct origin *origin, uint64_t now_us)
{
	struct lane *lane = &d->lanes[number];
	struct flow wanted = { .origin = origin };
	struct flow *f = RB_FIND(flows, &lane->flows, &wanted);

	if (f == NULL) {
		f = malloc(sizeof(*f));
		if (f == NULL)
			return NULL;
		flow_init(f, origin, number);
		RB_INSERT(flows, &lane->flows, f);
		lane->seen_count++;
	}
	see(lane, f, now_us);
	return f;
}

/* ---- who gives way ---- */

static void give_way(struct dispatch *d, struct flow *f)
{
	flow_give_way(f, flow_oldest(f), &d->surplus);
	check(d, f);
}

/* More than can be served within the deadline would only grow old. */
static uint64_t most_waiting(const struct dispatch *d, const struct lane *lane)
{
	if (lane->typical_us == 0)
		return d->limits.waiting;
	uint64_t in_time = lane->limit * lane->deadline_us / lane->typical_us;
	uint64_t at_least = lane->limit * WAITING_PER_SLOT;

	if (in_time < at_least)
		in_time = at_least;
	return in_time < d->limits.waiting ? in_time : d->limits.waiting;
}

/* Of a host whose calls hold too much, the operation that holds most gives way. */
static void trim_bytes(struct dispatch *d, const struct origin *origin)
{
	while (origin->ready_bytes > d->limits.waiting_bytes) {
		struct flow *largest = NULL;

		list_each (n, &origin->flows) {
			struct flow *f = container_of(n, struct flow, of_origin);

			if (!d->lanes[f->lane].is_stored &&
				(largest == NULL || f->ready_bytes > largest->ready_bytes))
				largest = f;
		}
		BUG_ON(largest == NULL); /* only calls count */
		give_way(d, largest);
	}
}

/* ---- life ---- */

static void lane_init(struct lane *lane, const struct operation *op)
{
	*lane = (struct lane){
		.is_stored = op->kind != CONTRACT_CALL,
		.limit = op->concurrency,
		.deadline_us = op->deadline_ms * 1000,
	};
	list_init(&lane->node);
	list_init(&lane->turns);
	list_init(&lane->seen);
	RB_INIT(&lane->flows);
}

enum err dispatch_init(struct dispatch *d, const struct contract *contract,
	const struct dispatch_limits *limits)
{
	BUG_ON(limits->running == 0 || limits->running_of_one == 0 || limits->waiting == 0);
	*d = (struct dispatch){
		.limits = *limits,
		.lane_count = (unsigned)contract->operation_count,
	};
	list_init(&d->open);
	list_init(&d->surplus);
	d->lanes = calloc(d->lane_count == 0 ? 1 : d->lane_count, sizeof(*d->lanes));
	if (d->lanes == NULL)
		return ERR_NOMEM;
	for (unsigned i = 0; i < d->lane_count; i++)
		lane_init(&d->lanes[i], &contract->operations[i]);
	return ERR_OK;
}

void dispatch_fini(struct dispatch *d)
{
	BUG_ON(d->work_count > 0);
	for (unsigned i = 0; d->lanes != NULL && i < d->lane_count; i++) {
		struct lane *lane = &d->lanes[i];

		while (!list_empty(&lane->seen))
			forget(lane, container_of(lane->seen.next, struct flow, seen));
	}
	free(d->lanes);
	*d = (struct dispatch){ 0 };
}

enum err dispatch_add(struct dispatch *d, struct work *w, const struct contract *contract,
	const struct demand *demand)
{
	unsigned number = (unsigned)(demand->op - contract->operations);

	BUG_ON(number >= d->lane_count);
	struct lane *lane = &d->lanes[number];
	struct flow *f = find_flow(d, number, demand->origin, demand->now_us);

	if (f == NULL)
		return ERR_NOMEM;
	*w = (struct work){
		.bytes = lane->is_stored ? 0 : demand->bytes, /* their prefetch bounds these */
		.came_us = demand->now_us,
		.ends_us = demand->ends_us,
	};
	enum err err = flow_add(f, w, demand->key);

	if (err != ERR_OK)
		return err;
	d->work_count++;
	if (!lane->is_stored && f->ready_count > most_waiting(d, lane))
		give_way(d, f);
	trim_bytes(d, demand->origin);
	check(d, f);
	return ERR_OK;
}

/* ---- whose turn it is ---- */

/* While other hosts are about, none may take the last slots. */
static uint64_t share_of_one(const struct lane *lane)
{
	uint64_t others = lane->seen_count - 1;
	uint64_t kept = lane->limit / KEPT_FREE_PART;

	return lane->limit - (others < kept ? others : kept);
}

/* The work of the flow whose turn it is, or NULL. */
static struct work *lane_next(struct dispatch *d, struct lane *lane, uint64_t now_us)
{
	forget_absent(lane, now_us);
	uint64_t share = share_of_one(lane);
	struct node *n = lane->turns.next;

	while (n != &lane->turns) {
		struct flow *f = container_of(n, struct flow, turn);
		struct work *w = NULL;

		n = n->next;
		if (f->running >= share || f->origin->running >= d->limits.running_of_one)
			continue;
		w = flow_next(f, now_us, lane->typical_us, &d->surplus);
		if (w != NULL)
			return w;
		list_drop(&f->turn); /* all of it was too late */
	}
	return NULL;
}

static bool may_run(const struct dispatch *d, const struct lane *lane)
{
	unsigned calls_only = d->limits.running / CALLS_ONLY_PART;

	return !lane->is_stored || d->stored_running < d->limits.running - calls_only;
}

static void run(struct dispatch *d, struct lane *lane, struct work *w)
{
	struct flow *f = w->flow;

	flow_run(f, w);
	lane->running++;
	d->running++;
	d->stored_running += lane->is_stored;
	/* Both to the end of their line, if they are still in it. */
	list_drop(&f->turn);
	list_drop(&lane->node);
	check(d, f);
}

struct work *dispatch_next(struct dispatch *d, uint64_t now_us)
{
	struct node *n = d->open.next;

	if (d->running >= d->limits.running)
		return NULL;
	while (n != &d->open) {
		struct lane *lane = container_of(n, struct lane, node);
		struct work *w = NULL;

		n = n->next;
		if (may_run(d, lane))
			w = lane_next(d, lane, now_us);
		if (w != NULL) {
			run(d, lane, w);
			return w;
		}
		if (list_empty(&lane->turns))
			list_drop(&lane->node);
	}
	return NULL;
}

struct work *dispatch_surplus(struct dispatch *d)
{
	return list_empty(&d->surplus) ? NULL
				       : container_of(d->surplus.next, struct work, queued);
}

uint64_t dispatch_too_late_us(const struct dispatch *d, const struct work *w)
{
	return flow_too_late_us(w, d->lanes[w->flow->lane].typical_us);
}

void dispatch_learn(struct dispatch *d, const struct work *w, uint64_t took_us)
{
	struct lane *lane = lane_of(d, w);
	uint64_t known_us = lane->typical_us;
	uint64_t most_us = known_us * OUTLIER_TIMES;

	if (known_us > 0 && took_us > most_us)
		took_us = most_us;
	lane->typical_us = known_us == 0 ? took_us
					 : (known_us * (LEARN_PART - 1) + took_us) / LEARN_PART;
	if (lane->typical_us == 0)
		lane->typical_us = LEARN_PART; /* less would never grow again */
}

/* ---- moves ---- */

static void leave_slot(struct dispatch *d, const struct work *w)
{
	struct lane *lane = lane_of(d, w);

	if (w->state != WORK_RUNNING)
		return;
	lane->running--;
	d->running--;
	d->stored_running -= lane->is_stored;
}

void dispatch_rest(struct dispatch *d, struct work *w)
{
	leave_slot(d, w);
	flow_rest(w->flow, w);
	check(d, w->flow);
}

void dispatch_wake(struct dispatch *d, struct work *w)
{
	flow_wake(w->flow, w);
	check(d, w->flow);
}

void dispatch_remove(struct dispatch *d, struct work *w)
{
	struct flow *f = w->flow;

	BUG_ON(w->state == WORK_OUT);
	leave_slot(d, w);
	flow_remove(f, w);
	d->work_count--;
	check(d, f);
}

void dispatch_forget(struct dispatch *d, const struct origin *origin)
{
	for (unsigned i = 0; i < d->lane_count; i++) {
		struct lane *lane = &d->lanes[i];

		list_each_safe (n, &lane->seen) {
			struct flow *f = container_of(n, struct flow, seen);

			if (f->origin == origin)
				forget(lane, f);
		}
	}
}
