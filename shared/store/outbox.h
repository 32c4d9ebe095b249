/* outbox.h - messages that were accepted and whose end nobody has told us yet.
 *
 *   S0 unknown --add-->    S1 pending   "accepted" is answered after this commit (I1)
 *   S1 pending --remove--> gone         on a receipt of the other side; see `sent` (I2)
 *   S1 pending --expire--> gone         its ttl has passed; told by its id (I5)
 *   S1 pending --park-->   S3 parked    with its reason; a person decides
 *   S3 parked  --replay--> S1 pending   the same id under a new seq, at the end
 *   S3 parked  --drop-->   gone         remembered as dropped
 *
 * Each arrow is one transaction, so a crash finds the state before or the one after it. That
 * a row was published or confirmed is in nobody's file: after a restart everything pending
 * goes out again, with the same id (I3).
 *
 * (O1) seq grows and is never used again in one file; with db->epoch it names a row for ever.
 * (O2) Rows and bytes are counted in the transaction that changes them: the caps hold across
 * crashes.
 * (O3) Of one id and host there is one row at most, and none when its outcome is known.
 * Layer: store. Uses: base, message, db, sent. Never: uv. Thread: the db's; within a chore. */
#ifndef SALLYPORT_STORE_OUTBOX_H
#define SALLYPORT_STORE_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "message/digest.h"
#include "message/message.h"
#include "store/db.h"
#include "store/sent.h"

enum {
	OUTBOX_NSTATEMENTS = 16,
	OUTBOX_HOST_MAX_BYTES = 64,
	OUTBOX_ROW_BYTES = 256, /* what a row counts for beside its texts and its body */
};

enum outbox_state { OUTBOX_PENDING = 0, OUTBOX_PARKED };

/* One allocation; all spans point into it. */
struct outbox_row {
	struct node node; /* whoever holds it */
	enum outbox_state state;
	struct span host;
	/* Fit to be published but for user_id and the seal: epoch and seq are those of the
	 * row. */
	struct message message;
	struct digest digest;
	struct span reason; /* why it is parked */
	size_t bytes;       /* what it counts for */
};

struct outbox {
	struct db *db;
	struct sent *sent;
	struct sqlite3_stmt *statement[OUTBOX_NSTATEMENTS];
};

/* Of one host, pending and parked together. */
struct outbox_limits {
	uint64_t max_rows;
	uint64_t max_bytes;
};

struct outbox_tally {
	uint64_t pending_rows;
	uint64_t pending_bytes;
	uint64_t parked_rows;
	uint64_t parked_bytes;
};

enum outbox_verdict {
	OUTBOX_ADDED = 0,
	OUTBOX_JOINED, /* it is there already, or its outcome is known: same id, same content */
};

struct outbox_added {
	enum outbox_verdict verdict;
	uint64_t seq; /* 0 when joined to one that is gone */
};

/* Rows with lo <= seq <= hi. */
struct outbox_range {
	uint64_t lo;
	uint64_t hi;
};

/* How rows end. */
struct outbox_end {
	enum sent_outcome outcome;
	struct span reason; /* "" for none */
	uint64_t now_unix_ms;
	uint64_t keep_ms; /* the outcome of a row without a ttl is remembered so long */
};

/* Takes:   sent, open on the same db, must outlive the outbox.
 * Returns: ERR_OK or the error; outbox_fini() in any case, before db_close(). */
WARN_UNUSED enum err outbox_init(struct outbox *o, struct db *db, struct sent *sent);

/* A zeroed one is fine. */
void outbox_fini(struct outbox *o);

/* Stores a message as pending (I1: tell nobody before the commit).
 *
 * Takes:   host, at most OUTBOX_HOST_MAX_BYTES, "" in agent.db. m: id, type, body, and what
 *          else is to be kept; user_id, time_left_ms, epoch and seq are not. digest: of what
 *          makes it the same message.
 * Returns: ERR_OK; ERR_FULL (the limits); ERR_CONFLICT (same id, other content); else the
 *          store's error. */
WARN_UNUSED enum err outbox_add(struct outbox *o, struct span host, const struct message *m,
	const struct digest *digest, const struct outbox_limits *limits,
	struct outbox_added *out);

/* Rows with after_seq < seq <= through_seq, and no more of them than this. */
struct outbox_want {
	uint64_t after_seq;
	uint64_t through_seq; /* UINT64_MAX: to the end */
	unsigned max_rows;
	size_t max_bytes; /* of memory; one row comes in any case */
};

/* Appends the pending rows of a host that are wanted to `rows`, in order of seq. A page: when it
 * is full, the next one begins behind its last seq.
 *
 * Takes:   rows is a list; what was appended is yours to free, after an error too. */
WARN_UNUSED enum err outbox_page(
	struct outbox *o, struct span host, const struct outbox_want *want, struct node *rows);

/* The same of parked rows, for people. */
WARN_UNUSED enum err outbox_page_parked(
	struct outbox *o, struct span host, const struct outbox_want *want, struct node *rows);

void outbox_row_free(struct outbox_row *row);
void outbox_rows_free(struct node *rows);

/* Ends the pending rows of a host within the ranges; what is in none, or parked, stays.
 *
 * Returns: ERR_OK, *removed saying how many; else the store's error. */
WARN_UNUSED enum err outbox_remove(struct outbox *o, struct span host,
	const struct outbox_range *ranges, size_t count, const struct outbox_end *end,
	uint64_t *removed);

/* Ends up to max_rows pending rows behind after_seq whose ttl has passed, the earliest first,
 * of all hosts. They are appended to `gone`, so that each can be told by its id (I5); theirs
 * as in outbox_page(), without bodies. */
WARN_UNUSED enum err outbox_expire(struct outbox *o, uint64_t after_seq, unsigned max_rows,
	const struct outbox_end *end, struct node *gone);

/* Returns: ERR_OK; ERR_NOT_FOUND (no such pending row of this host); else the store's error. */
WARN_UNUSED enum err outbox_park(
	struct outbox *o, struct span host, uint64_t seq, struct span reason);

/* A parked row is pending again, at the end, with one attempt more. *seq becomes its new one.
 *
 * Returns: ERR_OK; ERR_NOT_FOUND (no such parked row of this host); else the store's error. */
WARN_UNUSED enum err outbox_replay(struct outbox *o, struct span host, uint64_t *seq);

/* A parked row ends as dropped. Returns: as outbox_replay(). */
WARN_UNUSED enum err outbox_drop(
	struct outbox *o, struct span host, uint64_t seq, const struct outbox_end *end);

/* The row of an id, pending or parked, with its body; *out is yours.
 *
 * Returns: ERR_OK; ERR_NOT_FOUND (see sent_look()); else the store's error. */
WARN_UNUSED enum err outbox_look(
	struct outbox *o, struct span host, const struct id *id, struct outbox_row **out);

WARN_UNUSED enum err outbox_tally(struct outbox *o, struct span host, struct outbox_tally *out);

/* The smallest and the greatest seq of the pending rows of a host; both 0 when there are none. */
WARN_UNUSED enum err outbox_edges(
	struct outbox *o, struct span host, uint64_t *first_seq, uint64_t *last_seq);

#endif
