/* chore.h - pieces of work on the store that share one commit.
 *
 * All that wait are run in one transaction, each in a savepoint of its own: one that refuses
 * takes nothing of the others back. So N chores cost one fsync.
 * Layer: store. Uses: base, db. Never: uv. Thread: the db's. */
#ifndef SALLYPORT_STORE_CHORE_H
#define SALLYPORT_STORE_CHORE_H

#include "base/err.h"
#include "base/list.h"
#include "store/db.h"

struct chore;

/* Works on the rooms of the store, within the transaction. Anything but ERR_OK takes back
 * what it wrote. It may be called more than once, when the transaction had to be taken back:
 * its results count from the last call only. */
typedef enum err (*chore_fn)(struct chore *c);

/* status is what came of it, durable if ERR_OK and it wrote. c may be freed or posted again
 * inside. */
typedef void (*chore_done_fn)(struct chore *c, enum err status);

enum chore_kind {
	CHORE_WRITES = 0, /* refused while the store is sick (I6) */
	CHORE_READS,      /* writes nothing, and is answered even then */
};

struct chore {
	struct node node; /* whoever holds it at the moment */
	chore_fn run;
	chore_done_fn on_done; /* called by whoever runs it for others: keeper.h */
	enum chore_kind kind;
	enum err status;
};

/* Runs all chores of the list and commits; each has its status then. The list keeps them, in
 * order.
 *
 * When the commit fails, all were taken back: for want of space or memory each is then tried
 * by itself, so that a large one does not refuse the small ones; after an I/O error all have
 * that. */
void chore_run_all(struct db *db, struct node *chores);

#endif
