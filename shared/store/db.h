/* db.h - one SQLite file, opened so that a commit that returned survives a power cut.
 *
 * Write-ahead log, synchronous=FULL, both read back; a lock against a second daemon; a file
 * of a later version, or somebody else's, is left untouched; a damaged one is put aside, and
 * a new one is begun only where that was asked for. An I/O error makes it sick: from then on
 * nothing is written before the next start (I6). A full disk is no such error: what was
 * refused may be tried again.
 *
 * (D1) A commit is on the disk before db_commit() returns ERR_OK.
 * (D2) A commit that returned anything else may be found or not at the next start: whole, never
 *      half.
 * (D3) The file is ours alone while it is open: no other process can hold up a commit by a
 * lock.
 * Layer: store. Uses: base, sqlite3. Never: uv. Thread: one at a time; the whole of it may be
 * handed to another thread. */
#ifndef SALLYPORT_STORE_DB_H
#define SALLYPORT_STORE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "store/place.h"

struct sqlite3;
struct sqlite3_stmt;

/* What a file is for, and how it became what it is: version n of the file is what the first n
 * steps make. A step, once it was released, never changes. */
struct db_schema {
	uint32_t application_id;  /* told apart by this from anybody else's database */
	const char *const *steps; /* SQL, each run in a transaction of its own */
	unsigned step_count;
};

enum db_when_damaged {
	DB_REFUSE_DAMAGED =
		0, /* put it aside, then refuse: every start, until a person says otherwise */
	DB_START_FRESH, /* put it aside and begin a new file */
};

struct db_options {
	const struct db_schema *schema; /* static storage */
	enum db_when_damaged when_damaged;
	size_t cache_bytes; /* of pages in memory; 0: DB_CACHE_BYTES */
	const char *vfs;    /* NULL: the system's */
};

enum {
	DB_CACHE_BYTES = 8 * 1024 * 1024,
	DB_PAGE_BYTES = 4096,
	DB_CHECKPOINT_PAGES = 4000, /* the log is copied into the file from this length on */
};

enum db_statement {
	DB_BEGIN = 0,
	DB_COMMIT,
	DB_ROLLBACK,
	DB_SAVEPOINT,
	DB_RELEASE,
	DB_ROLLBACK_TO,
	DB_NSTATEMENTS,
};

struct db_counters {
	uint64_t commits;     /* that wrote something */
	uint64_t checkpoints; /* of the log into the file */
	uint64_t failures;    /* errors of the disk, a full one included */
};

struct db {
	struct sqlite3 *sql;
	struct place place;
	struct sqlite3_stmt *statement[DB_NSTATEMENTS];
	/* Random, drawn anew at each opening: with it a row's seq is never used for another
	 * row, even when the file was restored from a copy. */
	uint64_t epoch;
	enum err sick;      /* ERR_OK, or why nothing is written any more */
	unsigned log_pages; /* length of the write-ahead log, after the last commit */
	unsigned tidy_at_pages;
	bool is_open;
	bool has_made_fresh; /* a damaged file was put aside at this opening */
	bool has_told_full;  /* in the log; once, until a commit succeeds */
	struct db_counters counters;
};

/* Opens the file, or makes it; checks all of it (0.4 s for a million rows), brings its schema
 * up to date.
 *
 * Takes:   path is copied; db must not move until db_close().
 * Returns: ERR_OK; ERR_DAMAGED (put aside, and options do not allow a fresh start, or it was
 *          put aside at an earlier one); ERR_REFUSED (not ours, a later version's, wrong
 *          mode, or the settings that we need do not hold); ERR_BUSY (another process has
 *          it); ERR_INPUT, ERR_NOT_FOUND (the path); ERR_SPACE, ERR_NOMEM, ERR_IO. Each is a
 *          line of the log, and nothing is open then.
 * Blocks:  the disk. */
WARN_UNUSED enum err db_open(struct db *db, const char *path, const struct db_options *options);

/* Rolls back what is under way, copies the log into the file, gives the lock back. One that
 * is zeroed, or closed before, is fine.
 *
 * Blocks:  the disk. */
void db_close(struct db *db);

/* Transactions, and a savepoint within one. They do not nest.
 *
 * Returns: ERR_OK; db->sick when it is sick; ERR_SPACE, ERR_NOMEM; ERR_IO, ERR_DAMAGED,
 *          ERR_REFUSED (the tables are not ours): sick from now on. After a commit that
 *          failed the transaction is over. */
WARN_UNUSED enum err db_begin(struct db *db);
WARN_UNUSED enum err db_commit(struct db *db);
void db_rollback(struct db *db);
WARN_UNUSED enum err db_savepoint(struct db *db);
WARN_UNUSED enum err db_release(struct db *db);
WARN_UNUSED enum err db_rollback_to(struct db *db);

/* False after an error that took the whole transaction with it. */
bool db_is_in_transaction(const struct db *db);

/* Copies the log into the file when it is long enough; the next commit begins it anew. Call
 * it when nobody waits.
 *
 * Returns: ERR_OK; ERR_SPACE, ERR_NOMEM (nothing is lost, try again later); ERR_IO (sick). */
WARN_UNUSED enum err db_tidy(struct db *db);

/* Gives up to `pages` of the pages that are free back to the file system, while more than
 * `keep` are free. Within a transaction. *left: how many are free afterwards. */
WARN_UNUSED enum err db_shrink(struct db *db, uint64_t keep, unsigned pages, uint64_t *left);

/* For the rooms of this layer: translates what sqlite3 said, counts and logs it, and makes
 * the db sick if it must be. */
enum err db_error(struct db *db, int sqlite_code);

#endif
