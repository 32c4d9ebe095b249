/* prune.h - a table that remembers for a while forgets in small steps.
 *
 * For the rooms of this layer, whose tables have a column until_ms and a row in `tally`.
 * Layer: store. Uses: base, query. Thread: the db's; within a chore. */
#ifndef SALLYPORT_STORE_PRUNE_H
#define SALLYPORT_STORE_PRUNE_H

#include <stdint.h>

#include "base/err.h"
#include "store/db.h"
#include "store/schema.h"

/* The statements: `count` gives the rows that there are (no parameters), `forget` deletes
 * those with until_ms <= ?1, at most ?2, the earliest first. */
struct prune {
	struct db *db;
	struct sqlite3_stmt *count;
	struct sqlite3_stmt *forget;
};

/* Up to `step` whose time has passed, and when more than max_rows are left, the rest of the
 * step of the earliest: *early says how many of those. */
WARN_UNUSED enum err prune_step(const struct prune *p, uint64_t now_unix_ms, uint64_t max_rows,
	unsigned step, uint64_t *early);

#endif
