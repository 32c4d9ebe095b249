/* amqp_stage.h - a loop that a test runs until something holds, and never longer than it said.
 *
 * Layer: tests. Uses: base, loop, check. Thread: the test's. */
#ifndef SALLYPORT_TEST_AMQP_STAGE_H
#define SALLYPORT_TEST_AMQP_STAGE_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"
#include "loop/timer.h"

typedef bool (*stage_fn)(void *arg);

struct stage {
	struct loop loop;
	struct turn turn;      /* looks whether it holds, whenever something has happened */
	struct timer patience; /* ends the wait */
	struct timer pulse;    /* looks too: what threads do makes no event here */
	stage_fn holds;
	void *arg;
	bool is_late;
};

void stage_init(struct stage *s);

/* Everything that the test put on the loop must be stopping or stopped. */
void stage_fini(struct stage *s);

/* Runs the loop until holds(arg), at most within_ms. Returns whether it holds. */
bool stage_reach(struct stage *s, stage_fn holds, void *arg, uint64_t within_ms);

/* Lets the loop run that long whatever happens: to see that nothing does. */
void stage_pass(struct stage *s, uint64_t ms);

#define must_reach(stage, holds, arg, within_ms)                       \
	ck_assert_msg(stage_reach((stage), (holds), (arg), within_ms), \
		#holds " did not come within " #within_ms " ms")

#endif
