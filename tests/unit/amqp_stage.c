#include "amqp_stage.h"

enum { PULSE_MS = 5 };

static void look(struct stage *s)
{
	if (s->holds != NULL && s->holds(s->arg))
		loop_stop(&s->loop);
}

static bool on_turn(struct turn *turn)
{
	look(container_of(turn, struct stage, turn));
	return false;
}

static void on_pulse(struct timer *timer)
{
	struct stage *s = container_of(timer, struct stage, pulse);

	look(s);
	timer_after(&s->pulse, PULSE_MS);
}

static void on_patience(struct timer *timer)
{
	struct stage *s = container_of(timer, struct stage, patience);

	s->is_late = true;
	loop_stop(&s->loop);
}

void stage_init(struct stage *s)
{
	*s = (struct stage){ 0 };
	ck_assert_int_eq(loop_init(&s->loop), ERR_OK);
	loop_turn_add(&s->loop, &s->turn, on_turn);
	timer_init(&s->patience, &s->loop, on_patience);
	timer_init(&s->pulse, &s->loop, on_pulse);
}

void stage_fini(struct stage *s)
{
	loop_turn_drop(&s->turn);
	loop_fini(&s->loop);
}

static void run(struct stage *s, uint64_t ms)
{
	s->is_late = false;
	timer_after(&s->patience, ms);
	timer_after(&s->pulse, PULSE_MS);
	loop_run(&s->loop);
	timer_cancel(&s->patience);
	timer_cancel(&s->pulse);
	s->holds = NULL;
}

bool stage_reach(struct stage *s, stage_fn holds, void *arg, uint64_t within_ms)
{
	s->holds = holds;
	s->arg = arg;
	run(s, within_ms);
	return !s->is_late || holds(arg);
}

void stage_pass(struct stage *s, uint64_t ms)
{
	s->holds = NULL;
	run(s, ms);
}
