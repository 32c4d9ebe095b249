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

static void on_alarm(uv_timer_t *handle);

static void arm(struct loop *l)
{
	struct timer *first = RB_MIN(timer_tree, &l->timers);

	if (first == NULL) {
		uv_timer_stop(&l->alarm);
		return;
	}
	uint64_t now_ms = uv_now(&l->uv);

	uv_timer_start(&l->alarm, on_alarm,
		first->due_at_ms > now_ms ? first->due_at_ms - now_ms : 0, 0);
}

static void on_alarm(uv_timer_t *handle)
{
	struct loop *l = handle->data;
	uint64_t now_ms = uv_now(&l->uv);

	for (;;) {
		struct timer *first = RB_MIN(timer_tree, &l->timers);

		if (first == NULL || first->due_at_ms > now_ms)
			break;
		RB_REMOVE(timer_tree, &l->timers, first);
		first->is_set = false;
		first->fn(first);
	}
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
	if (RB_MIN(timer_tree, &l->timers) == t)
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
		uv_timer_stop(&t->loop->alarm);
}

uint64_t timer_left_ms(const struct timer *t)
{
	if (!t->is_set)
		return 0;
	uint64_t now_ms = uv_now(&t->loop->uv);

	return t->due_at_ms > now_ms ? t->due_at_ms - now_ms : 0;
}
