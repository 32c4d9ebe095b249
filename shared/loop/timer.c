#include "loop/timer.h"

#include "base/bug.h"

static int timer_compare(const struct timer *a, const struct timer *b)
{
	if (a->due_at_ms != b->due_at_ms)
		return a->due_at_ms < b->due_at_ms ? -1 : 1;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return 0;
}

RB_GENERATE_STATIC(timer_tree, timer, entry, timer_compare)

static void run_due(struct loop *l);

static void on_alarm(uv_timer_t *handle)
{
	run_due(handle->data);
}

static void on_at_once(uv_idle_t *handle)
{
	run_due(handle->data);
}

static void arm(struct loop *l)
{
	struct timer *first = RB_MIN(timer_tree, &l->timers);
	uint64_t now_ms = uv_now(&l->uv);

	uv_timer_stop(&l->alarm);
	uv_idle_stop(&l->at_once);
	if (first == NULL)
		return;
	/* libuv runs timers until none is due: one that a callback sets anew for now would be
	 * run for ever and the loop never poll. The idle handle comes once per turn. */
	if (first->due_at_ms > now_ms)
		uv_timer_start(&l->alarm, on_alarm, first->due_at_ms - now_ms, 0);
	else
		uv_idle_start(&l->at_once, on_at_once);
}

/* Timers set by these callbacks wait for the next turn, after the poll: they stand behind all
 * that were due before, because they are due no earlier and were set later. */
static void run_due(struct loop *l)
{
	uint64_t now_ms = uv_now(&l->uv);
	uint64_t first_new_seq = l->timer_seq;

	l->runs_timers = true;
	for (;;) {
		struct timer *first = RB_MIN(timer_tree, &l->timers);

		if (first == NULL || first->due_at_ms > now_ms || first->seq >= first_new_seq)
			break;
		RB_REMOVE(timer_tree, &l->timers, first);
		first->is_set = false;
		first->fn(first);
	}
	l->runs_timers = false;
	arm(l);
}

void timer_init(struct timer *t, struct loop *l, timer_fn fn)
{
	*t = (struct timer){ .loop = l, .fn = fn };
}

void timer_after(struct timer *t, uint64_t ms)
{
	struct loop *l = t->loop;

	timer_cancel(t);
	/* The loop's idea of now may be old by the length of the running callback, which would
	 * let the timer fire early. */
	uv_update_time(&l->uv);
	t->due_at_ms = uv_now(&l->uv) + ms;
	t->seq = l->timer_seq++;
	t->is_set = true;
	BUG_ON(RB_INSERT(timer_tree, &l->timers, t) != NULL);
	if (!l->runs_timers && RB_MIN(timer_tree, &l->timers) == t)
		arm(l);
}

void timer_cancel(struct timer *t)
{
	if (!t->is_set)
		return;
	/* The alarm is left as it is: should it fire for nothing, it arms itself for the next.
	 */
	RB_REMOVE(timer_tree, &t->loop->timers, t);
	t->is_set = false;
	if (RB_EMPTY(&t->loop->timers))
		arm(t->loop);
}
