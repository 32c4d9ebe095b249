/* sent.h - what became of messages of ours that have left the outbox, remembered for a while.
 *
 * For GET /v1/sent/{id}, and so that the same id is not accepted a second time.
 * Layer: store. Uses: base, message, db. Thread: the db's; within a chore. */
#ifndef SALLYPORT_STORE_SENT_H
#define SALLYPORT_STORE_SENT_H

#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/span.h"
#include "message/digest.h"
#include "store/db.h"

/* In the file: numbers stay what they are. */
enum sent_outcome {
	SENT_DONE = 0, /* the other side has done it, by its receipt */
	SENT_REFUSED,  /* the other side refused it for good; reason says why */
	SENT_EXPIRED,  /* its ttl had passed (I5) */
	SENT_DEAD,     /* the other side is out of tries; it is kept there */
	SENT_DROPPED,  /* a person dropped it while it was parked */
	SENT_NOUTCOMES,
};

enum { SENT_REASON_MAX_BYTES = 200 };

struct sent_row {
	struct id id;
	enum sent_outcome outcome;
	uint64_t at_unix_ms;
	struct digest digest;
	char reason[SENT_REASON_MAX_BYTES + 1];
};

enum { SENT_NSTATEMENTS = 4 };

struct sent {
	struct db *db;
	struct sqlite3_stmt *statement[SENT_NSTATEMENTS];
};

/* Returns: ERR_OK or the error; sent_fini() in any case, before db_close(). */
WARN_UNUSED enum err sent_init(struct sent *s, struct db *db);

/* A zeroed one is fine. */
void sent_fini(struct sent *s);

/* Remembers an outcome until until_unix_ms; a later one of the same message takes its place.
 *
 * Takes:   reason is cut at SENT_REASON_MAX_BYTES. */
WARN_UNUSED enum err sent_put(struct sent *s, struct span host, const struct sent_row *row,
	struct span reason, uint64_t until_unix_ms);

/* Returns: ERR_OK; ERR_NOT_FOUND (never known, or forgotten); else the store's error. */
WARN_UNUSED enum err sent_look(
	struct sent *s, struct span host, const struct id *id, struct sent_row *out);

/* Forgets up to `step` whose time has passed; when more than max_rows are left, the oldest of
 * them too.
 *
 * Returns: ERR_OK, and in *early how many of them went before their time. */
WARN_UNUSED enum err sent_prune(struct sent *s, uint64_t now_unix_ms, uint64_t max_rows,
	unsigned step, uint64_t *early);

/* "done", "refused", "expired", "dead", "dropped". */
const char *sent_outcome_text(enum sent_outcome outcome);

#endif
