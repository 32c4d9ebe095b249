/* keeper.h - the thread that owns the daemon's SQLite file: chores go in from the loop, and
 * come back when they are durable.
 *
 * While one fsync runs, the next chores gather: they share the next one. The log is tidied
 * when nobody waits for it.
 * Layer: daemon. Uses: base, loop, store. Thread: the loop's; a chore's run() is called on
 * the keeper's. */
#ifndef SALLYPORT_DAEMON_KEEPER_H
#define SALLYPORT_DAEMON_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/mailbox.h"
#include "store/chore.h"
#include "store/db.h"

typedef void (*keeper_stopped_fn)(void *arg);

struct keeper {
	struct mailbox mailbox;
	struct db *db;
	/* Prepared statements of the rooms go before the file is closed. On the thread; may
	 * be NULL. */
	void (*on_close)(void *arg);
	void *on_close_arg;
	uint64_t waiting; /* posted and not back */
	uint64_t done;
	keeper_stopped_fn on_stopped;
	void *stopped_arg;
};

/* Takes:   db, open; it and the rooms that live in it belong to the thread from now on, until
 *          on_stopped: the thread closes it. k must not move until then.
 * Returns: ERR_OK; ERR_NOMEM, ERR_FULL: nothing runs, db is yours again. */
WARN_UNUSED enum err keeper_start(struct keeper *k, struct loop *l, struct db *db,
	void (*on_close)(void *arg), void *on_close_arg);

/* Has c run, together with all others that wait.
 *
 * Takes:   c must not move until on_done, and be in no list.
 * Returns: ERR_OK: on_done fires exactly once. ERR_CANCEL (keeper_stop() was called): it never
 *          fires.
 * Fires:   c->on_done on the loop, in the order of posting, never from inside this call. */
WARN_UNUSED enum err keeper_post(struct keeper *k, struct chore *c);

/* What was posted is done and told, the file is closed, the thread ends. Once.
 *
 * Fires:   on_stopped on the loop, never from inside this call, as the last touch of k. */
void keeper_stop(struct keeper *k, keeper_stopped_fn on_stopped, void *arg);

#endif
