/* inbox.h - what became of the messages of others, remembered so that a copy runs nothing
 * once more.
 *
 * The row is written in the transaction that holds the result (an outbox row) too, and before
 * the delivery is acknowledged (I4): a copy finds either nothing of it or all.
 * Layer: store. Uses: base, message, db. Never: uv. Thread: the db's; within a chore. */
#ifndef SALLYPORT_STORE_INBOX_H
#define SALLYPORT_STORE_INBOX_H

#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/span.h"
#include "message/digest.h"
#include "message/message.h"
#include "store/db.h"

/* In the file: numbers stay what they are. */
enum inbox_outcome {
	INBOX_TRYING = 0, /* tried `attempts` times, and not at its end */
	INBOX_DONE,
	INBOX_REFUSED, /* for good, by a handler or by us; reason says why */
	INBOX_DEAD,    /* out of attempts: a person decides */
	INBOX_EXPIRED, /* its ttl had passed before it could be done */
	INBOX_NOUTCOMES,
};

enum { INBOX_REASON_MAX_BYTES = 200, INBOX_NSTATEMENTS = 4 };

struct inbox_row {
	struct id id;
	enum inbox_outcome outcome;
	uint64_t attempts;
	uint64_t epoch; /* under which the sender has it; for the receipt */
	uint64_t seq;
	uint64_t at_unix_ms;
	uint64_t until_unix_ms; /* so long a copy may come */
	struct digest digest;
	char op[MESSAGE_TYPE_MAX_BYTES + 1];
	char reason[INBOX_REASON_MAX_BYTES + 1];
};

struct inbox {
	struct db *db;
	struct sqlite3_stmt *statement[INBOX_NSTATEMENTS];
};

/* Returns: ERR_OK or the error; inbox_fini() in any case, before db_close(). */
WARN_UNUSED enum err inbox_init(struct inbox *x, struct db *db);

/* A zeroed one is fine. */
void inbox_fini(struct inbox *x);

/* Remembers what came of a message of this host. An outcome that is final stays what it is: a
 * second one of the same content only brings the receipt's epoch and seq up to date.
 *
 * Returns: ERR_OK; ERR_CONFLICT (that id was used for other content: nothing changes); else the
 *          store's error. */
WARN_UNUSED enum err inbox_put(struct inbox *x, struct span host, const struct inbox_row *row);

/* Returns: ERR_OK; ERR_NOT_FOUND (never seen, or forgotten); else the store's error. */
WARN_UNUSED enum err inbox_look(
	struct inbox *x, struct span host, const struct id *id, struct inbox_row *out);

/* As sent_prune(). */
WARN_UNUSED enum err inbox_prune(struct inbox *x, uint64_t now_unix_ms, uint64_t max_rows,
	unsigned step, uint64_t *early);

#endif
