/* mailbox.h - a thread that does what must not stand in the loop, and two lists between them.
 *
 * Items are posted by the loop; the thread takes all that wait at once, and what it has done
 * comes back on the loop, in order. Nothing is allocated, nothing waits for a timer: an idle
 * thread begins at once, and while it works the next ones gather.
 * Layer: loop. Uses: base, libuv. Thread: all functions belong to the loop's; work, rest and
 * leave run on the mailbox's own. */
#ifndef SALLYPORT_LOOP_MAILBOX_H
#define SALLYPORT_LOOP_MAILBOX_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "loop/loop.h"

struct mailbox;

typedef void (*mailbox_stopped_fn)(void *arg);

/* What the two sides do. `arg` is the one of mailbox_start(). */
struct mailbox_hands {
	/* Works on all items of the list, which keeps them. On the thread. */
	void (*work)(void *arg, struct node *items);
	/* After their items were handed back: whatever nobody waits for. On the thread; may
	 * be NULL. */
	void (*rest)(void *arg);
	/* The last thing that the thread does. May be NULL. */
	void (*leave)(void *arg);
	/* One item, worked on; it may be freed or posted again, and the mailbox be stopped,
	 * inside. On the loop. */
	void (*done)(void *arg, struct node *item);
};

/*  NONE -> RUNNING -> DRAINING -> CLOSING -> NONE
 *                     no posts    the thread is gone      */
enum mailbox_state {
	MAILBOX_NONE = 0,
	MAILBOX_RUNNING,
	MAILBOX_DRAINING,
	MAILBOX_CLOSING,
};

struct mailbox {
	struct loop *loop;
	const struct mailbox_hands *hands;
	void *arg;
	uv_thread_t thread;
	uv_mutex_t lock;
	uv_cond_t posted;
	uv_async_t wake;
	/* Under the lock: */
	struct node waiting;
	struct node finished;
	bool must_end; /* when nothing waits any more */
	bool has_ended;
	/* The loop's: */
	enum mailbox_state state;
	mailbox_stopped_fn on_stopped;
	void *stopped_arg;
};

/* Takes:   m must not move until on_stopped; hands are borrowed until then.
 * Returns: ERR_OK; ERR_NOMEM, ERR_FULL (no thread or descriptor to be had): nothing runs
 *          then. */
WARN_UNUSED enum err mailbox_start(
	struct mailbox *m, struct loop *l, const struct mailbox_hands *hands, void *arg);

/* Hands one over. Not after mailbox_stop() (BUG_ON).
 *
 * Takes:   item, in no list, until done() gives it back.
 * Fires:   done() exactly once, never from inside this call. */
void mailbox_post(struct mailbox *m, struct node *item);

static inline bool mailbox_is_running(const struct mailbox *m)
{
	return m->state == MAILBOX_RUNNING;
}

/* All that wait are worked on and given back, then the thread ends.
 *
 * Fires:   on_stopped once, on the loop, as the last touch of m, never from inside this
 *          call. */
void mailbox_stop(struct mailbox *m, mailbox_stopped_fn on_stopped, void *arg);

#endif
