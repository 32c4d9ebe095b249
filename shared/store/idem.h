/* idem.h - which message an Idempotency-Key stands for, remembered across restarts.
 *
 * Same key and content: the same message. Same key, other content: a conflict.
 * Layer: store. Uses: base, message, db. Thread: the db's; within a chore. */
#ifndef SALLYPORT_STORE_IDEM_H
#define SALLYPORT_STORE_IDEM_H

#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/span.h"
#include "message/digest.h"
#include "store/db.h"

enum { IDEM_NSTATEMENTS = 4 };

struct idem {
	struct db *db;
	struct sqlite3_stmt *statement[IDEM_NSTATEMENTS];
};

struct idem_claim {
	struct span key;
	struct digest digest; /* of operation and content: what makes it the same */
	uint64_t now_unix_ms;
	uint64_t until_unix_ms;
};

enum idem_verdict {
	IDEM_FIRST = 0, /* it stands for the id given, from now on */
	IDEM_AGAIN,     /* it stands for another one, now in *id */
};

/* Returns: ERR_OK or the error; idem_fini() in any case, before db_close(). */
WARN_UNUSED enum err idem_init(struct idem *m, struct db *db);

/* A zeroed one is fine. */
void idem_fini(struct idem *m);

/* Claims a key for *id. One whose time has passed may be claimed anew.
 *
 * Returns: ERR_OK; ERR_CONFLICT (claimed with other content); else the store's error. */
WARN_UNUSED enum err idem_claim(
	struct idem *m, const struct idem_claim *claim, struct id *id, enum idem_verdict *out);

/* As sent_prune(). */
WARN_UNUSED enum err idem_prune(struct idem *m, uint64_t now_unix_ms, uint64_t max_rows,
	unsigned step, uint64_t *early);

#endif
