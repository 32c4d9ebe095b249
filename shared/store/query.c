#include "store/query.h"

#include <sqlite3.h>
#include <string.h>

#include "base/bug.h"

enum err query_prepare(
	struct db *db, const char *const *texts, size_t count, struct sqlite3_stmt **out)
{
	memset(out, 0, count * sizeof(*out));
	for (size_t i = 0; i < count; i++) {
		int code = sqlite3_prepare_v3(
			db->sql, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &out[i], NULL);

		if (code != SQLITE_OK) {
			query_forget(out, count);
			return db_error(db, code);
		}
	}
	return ERR_OK;
}

void query_forget(struct sqlite3_stmt **statements, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		sqlite3_finalize(statements[i]);
		statements[i] = NULL;
	}
}

struct query query_of(struct db *db, struct sqlite3_stmt *statement)
{
	BUG_ON(statement == NULL);
	return (struct query){ .db = db, .statement = statement, .at = 1 };
}

static void note(struct query *q, int code)
{
	if (q->code == SQLITE_OK)
		q->code = code;
}

void query_u64(struct query *q, uint64_t value)
{
	/* It may be a number that somebody else has sent us. */
	if (value > INT64_MAX)
		note(q, SQLITE_TOOBIG);
	note(q, sqlite3_bind_int64(q->statement, q->at++, (sqlite3_int64)(value & INT64_MAX)));
}

void query_text(struct query *q, struct span text)
{
	note(q, sqlite3_bind_text64(q->statement, q->at++, text.len == 0 ? "" : text.at,
			text.len, SQLITE_STATIC, SQLITE_UTF8));
}

void query_blob(struct query *q, const void *bytes, size_t len)
{
	note(q, sqlite3_bind_blob64(
			q->statement, q->at++, len == 0 ? "" : bytes, len, SQLITE_STATIC));
}

void query_null(struct query *q)
{
	note(q, sqlite3_bind_null(q->statement, q->at++));
}

bool query_next(struct query *q)
{
	if (q->code != SQLITE_OK || q->is_strange)
		return false;
	int code = sqlite3_step(q->statement);

	q->at = 0;
	if (code == SQLITE_ROW)
		return true;
	if (code != SQLITE_DONE)
		q->code = code;
	return false;
}

uint64_t query_column_u64(struct query *q)
{
	sqlite3_int64 value = sqlite3_column_int64(q->statement, q->at++);

	q->is_strange |= value < 0;
	return value < 0 ? 0 : (uint64_t)value;
}

/* Our texts and blobs are never converted, so these allocate only for a blob on overflow
 * pages. */
static struct span column(struct query *q, int type)
{
	int at = q->at++;

	if (sqlite3_column_type(q->statement, at) != type) {
		q->is_strange = true;
		return (struct span){ 0 };
	}
	const void *bytes = sqlite3_column_blob(q->statement, at);
	int len = sqlite3_column_bytes(q->statement, at);

	if (bytes == NULL && len != 0) {
		note(q, SQLITE_NOMEM);
		return (struct span){ 0 };
	}
	return (struct span){ .at = bytes, .len = (size_t)len };
}

struct span query_column_text(struct query *q)
{
	return column(q, SQLITE_TEXT);
}

struct span query_column_blob(struct query *q)
{
	return column(q, SQLITE_BLOB);
}

bool query_column_is_null(const struct query *q)
{
	return sqlite3_column_type(q->statement, q->at) == SQLITE_NULL;
}

void query_column_bytes(struct query *q, void *out, size_t len)
{
	struct span bytes = query_column_blob(q);

	if (bytes.len != len)
		q->is_strange = true;
	else
		memcpy(out, bytes.at, len);
}

enum err query_end(struct query *q)
{
	int code = q->code;

	/* What reset says is what step said. */
	(void)sqlite3_reset(q->statement);
	(void)sqlite3_clear_bindings(q->statement);
	if (code == SQLITE_OK && q->is_strange)
		code = SQLITE_CORRUPT;
	q->statement = NULL;
	return code == SQLITE_OK ? ERR_OK : db_error(q->db, code);
}

enum err query_run(struct query *q)
{
	while (query_next(q))
		continue;
	return query_end(q);
}

uint64_t query_changes(const struct query *q)
{
	return (uint64_t)sqlite3_changes64(q->db->sql);
}
