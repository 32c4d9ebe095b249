/* loop.h - libuv made small: one loop, its turns, its signals, and a count of what is still
 * open.
 *
 * Layer: loop. Uses: base, libuv. Thread: all functions belong to the loop's own thread. */
#ifndef SALLYPORT_LOOP_LOOP_H
#define SALLYPORT_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include <uv/tree.h>

#include "base/err.h"
#include "base/list.h"
#include "base/macro.h"

struct loop;
struct turn;

/* Whether it did anything, which may be work for other turns. Dropping itself inside is fine, dropping
 * another turn is not. */
typedef bool (*turn_fn)(struct turn *turn);
typedef void (*loop_signal_fn)(void *arg, int signum);

/* Work to be done at the end of each phase that may have made some, always before the loop goes to
 * sleep: what many events have gathered goes out in one write. What one turn makes for another,
 * whatever their order, is done before the sleep too. */
struct turn {
	struct node node;
	turn_fn fn;
};

struct timer;
RB_HEAD(timer_tree, timer);

enum { LOOP_MAX_SIGNALS = 4 };

struct loop {
	uv_loop_t uv;
	uv_prepare_t before_sleep; /* after timers, before the poll */
	uv_check_t after_poll;     /* after the poll's callbacks */
	uv_timer_t alarm;          /* for the earliest of `timers` */
	uv_idle_t at_once;         /* instead of it, when that is due already */
	uv_idle_t unfinished;      /* keeps the loop awake for turns that have more to do */
	uv_signal_t signals[LOOP_MAX_SIGNALS];
	loop_signal_fn signal_fn[LOOP_MAX_SIGNALS];
	void *signal_arg[LOOP_MAX_SIGNALS];
	unsigned signal_count;
	struct node turns;
	struct timer_tree timers;
	uint64_t timer_seq;
	bool runs_timers;    /* callbacks of timers are firing */
	unsigned open_count; /* handles of the rooms above that are not closed yet */
};

/* Returns: ERR_OK, ERR_NOMEM or ERR_FULL (no file descriptors left); nothing is open then. */
WARN_UNUSED enum err loop_init(struct loop *l);

/* Runs until loop_stop(). Callbacks of all rooms fire in here. */
void loop_run(struct loop *l);

/* Lets loop_run() return after the present turn. */
void loop_stop(struct loop *l);

/* Runs until every handle that the rooms began to close is closed, then closes the loop itself.
 * What still wants to live is a bug (BUG_ON). A zeroed loop is fine. */
void loop_fini(struct loop *l);

/* Calls fn with the signal number, on the loop thread, until loop_fini(). At most
 * LOOP_MAX_SIGNALS. */
WARN_UNUSED enum err loop_on_signal(struct loop *l, int signum, loop_signal_fn fn, void *arg);

/* turn stays yours and must not move until loop_turn_drop(). fn may not drop other turns. */
void loop_turn_add(struct loop *l, struct turn *turn, turn_fn fn);
void loop_turn_drop(struct turn *turn);

/* The rooms count their libuv handles: opened one, and its close callback has fired. */
void loop_opened(struct loop *l);
void loop_closed(struct loop *l);

/* Translate a negative libuv status. */
enum err err_from_uv(int status);

#endif
