/* query.h - one prepared statement run: parameters in order, rows in order, one status at the
 * end.
 *
 * Errors stick: bind all, step, read all, then ask query_end() once. For the rooms of this
 * layer.
 * Layer: store. Uses: base, sqlite3, db. Thread: the db's. */
#ifndef SALLYPORT_STORE_QUERY_H
#define SALLYPORT_STORE_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"
#include "store/db.h"

struct query {
	struct db *db;
	struct sqlite3_stmt *statement;
	int at;   /* the next parameter, from 1; while rows are read, the next column, from 0 */
	int code; /* sqlite3's, the first that is not well */
	bool is_strange; /* a column held what we never write */
};

/* Prepares `count` statements for good.
 *
 * Returns: ERR_OK; else the error, and all of them are NULL. */
WARN_UNUSED enum err query_prepare(
	struct db *db, const char *const *texts, size_t count, struct sqlite3_stmt **out);

/* NULLs are fine; all are NULL afterwards. */
void query_forget(struct sqlite3_stmt **statements, size_t count);

struct query query_of(struct db *db, struct sqlite3_stmt *statement);

/* The next parameter. Spans are borrowed until query_end(). A number above INT64_MAX is
 * ERR_INPUT. */
void query_u64(struct query *q, uint64_t value);
void query_text(struct query *q, struct span text);
void query_blob(struct query *q, const void *bytes, size_t len);
void query_null(struct query *q);

/* Is there (another) row? False at the end and after any error. */
bool query_next(struct query *q);

/* The next column of the row; spans until the next call of query_next() or query_end(). */
uint64_t query_column_u64(struct query *q);
struct span query_column_text(struct query *q);
struct span query_column_blob(struct query *q);
bool query_column_is_null(const struct query *q);

/* A blob of exactly this length; else the query has met a damaged row. */
void query_column_bytes(struct query *q, void *out, size_t len);

/* Returns: ERR_OK; ERR_DAMAGED when a column was strange; else as db_error(). */
WARN_UNUSED enum err query_end(struct query *q);

/* Runs one that gives no rows (or whose rows do not matter) to its end. */
WARN_UNUSED enum err query_run(struct query *q);

/* How many rows the last one changed. */
uint64_t query_changes(const struct query *q);

#endif
