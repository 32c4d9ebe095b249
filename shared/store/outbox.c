#include "store/outbox.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "store/query.h"
#include "store/schema.h"

enum {
	ADD = 0,
	KNOWN,
	TALLY,
	PAGE,
	PAGE_PARKED,
	ONE_PARKED,
	LOOK,
	EDGES,
	REMEMBER,
	REMOVE,
	EXPIRED,
	REMEMBER_ONE,
	REMOVE_ONE,
	PARK,
	DELETE_PARKED,
	REMEMBER_PARKED,
};

/* In the order that read_row() reads them; the body last. */
#define COLUMNS                                                                                \
	"seq, state, host, id, attempt, created_us, expires_ms, correlation, content, digest," \
	" op, key, traceparent, contract, reason, bytes"

/* What a row that ends leaves behind. Parameters: outcome, now, keep, reason. */
#define REMEMBER_FROM                                                             \
	"INSERT INTO sent(id, host, outcome, at_ms, until_ms, digest, reason)"    \
	" SELECT id, host, ?1, ?2, ?2 + CASE WHEN expires_ms > created_us / 1000" \
	" THEN expires_ms - created_us / 1000 ELSE ?3 END, digest, ?4 FROM outbox"

#define OR_INSTEAD                                                         \
	" ON CONFLICT(id, host) DO UPDATE SET outcome = excluded.outcome," \
	" at_ms = excluded.at_ms, until_ms = excluded.until_ms,"           \
	" digest = excluded.digest, reason = excluded.reason"

static const char *const texts[OUTBOX_NSTATEMENTS] = {
	[ADD] = ("INSERT INTO outbox(host, state, id, attempt, created_us, expires_ms, "
		 "correlation,"
		 " content, digest, op, key, traceparent, contract, reason, bytes, body)"
		 " VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?)"),
	[KNOWN] = "SELECT seq, digest FROM outbox WHERE id = ? AND host = ?",
	[TALLY] = "SELECT rows, bytes FROM tally WHERE kind = ? AND host = ?",
	[PAGE] =
		("SELECT " COLUMNS ", body FROM outbox"
		 " WHERE state = 0 AND host = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"),
	[PAGE_PARKED] =
		("SELECT " COLUMNS ", body FROM outbox"
		 " WHERE state = 1 AND host = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"),
	[ONE_PARKED] = ("SELECT " COLUMNS ", body FROM outbox"
			" WHERE state = 1 AND host = ? AND seq = ?"),
	[LOOK] = "SELECT " COLUMNS ", body FROM outbox WHERE id = ? AND host = ?",
	/* Each by the end of the index, not by all of it. */
	[EDGES] = ("SELECT coalesce((SELECT seq FROM outbox WHERE state = 0 AND host = ?1"
		   " ORDER BY seq LIMIT 1), 0), coalesce((SELECT seq FROM outbox"
		   " WHERE state = 0 AND host = ?1 ORDER BY seq DESC LIMIT 1), 0)"),
	[REMEMBER] = (REMEMBER_FROM
		" WHERE state = 0 AND host = ?5 AND seq BETWEEN ?6 AND ?7" OR_INSTEAD),
	[REMOVE] = "DELETE FROM outbox WHERE state = 0 AND host = ? AND seq BETWEEN ? AND ?",
	[EXPIRED] = ("SELECT " COLUMNS ", x'' FROM outbox WHERE state = 0 AND expires_ms > 0"
		     " AND expires_ms <= ? AND seq > ? ORDER BY expires_ms, seq LIMIT ?"),
	[REMEMBER_ONE] = (REMEMBER_FROM " WHERE seq = ?5" OR_INSTEAD),
	[REMOVE_ONE] = "DELETE FROM outbox WHERE seq = ?",
	[PARK] = ("UPDATE outbox SET state = 1, reason = ?3 WHERE state = 0 AND host = ?1"
		  " AND seq = ?2"),
	[DELETE_PARKED] = "DELETE FROM outbox WHERE state = 1 AND host = ? AND seq = ?",
	[REMEMBER_PARKED] = (REMEMBER_FROM
		" WHERE state = 1 AND host = ?5 AND seq = ?6" OR_INSTEAD),
};

enum err outbox_init(struct outbox *o, struct db *db, struct sent *sent)
{
	*o = (struct outbox){ .db = db, .sent = sent };
	return query_prepare(db, texts, OUTBOX_NSTATEMENTS, o->statement);
}

void outbox_fini(struct outbox *o)
{
	query_forget(o->statement, OUTBOX_NSTATEMENTS);
	*o = (struct outbox){ 0 };
}

/* ---- adding ---- */

static size_t bytes_of(const struct message *m)
{
	return OUTBOX_ROW_BYTES + m->type.len + m->key.len + m->traceparent.len +
	       m->contract.len + m->body.len;
}

static enum err count(struct outbox *o, enum schema_tally kind, struct span host,
	uint64_t *rows, uint64_t *bytes)
{
	struct query q = query_of(o->db, o->statement[TALLY]);

	*rows = 0;
	*bytes = 0;
	query_u64(&q, kind);
	query_text(&q, host);
	if (query_next(&q)) {
		*rows = query_column_u64(&q);
		*bytes = query_column_u64(&q);
	}
	return query_end(&q);
}

enum err outbox_tally(struct outbox *o, struct span host, struct outbox_tally *out)
{
	enum err err = count(o, TALLY_PENDING, host, &out->pending_rows, &out->pending_bytes);

	if (err != ERR_OK)
		return err;
	return count(o, TALLY_PARKED, host, &out->parked_rows, &out->parked_bytes);
}

static enum err admit(
	struct outbox *o, struct span host, size_t bytes, const struct outbox_limits *limits)
{
	struct outbox_tally t;
	enum err err = outbox_tally(o, host, &t);

	if (err != ERR_OK)
		return err;
	if (t.pending_rows + t.parked_rows + 1 > limits->max_rows ||
		t.pending_bytes + t.parked_bytes + bytes > limits->max_bytes)
		return ERR_FULL;
	return ERR_OK;
}

/* Is a message of this id here, or gone with an outcome? */
static enum err find_known(struct outbox *o, struct span host, const struct id *id,
	struct digest *digest, uint64_t *seq, bool *is_known)
{
	struct query q = query_of(o->db, o->statement[KNOWN]);

	query_blob(&q, id->byte, ID_BYTES);
	query_text(&q, host);
	*is_known = query_next(&q);
	if (*is_known) {
		*seq = query_column_u64(&q);
		query_column_bytes(&q, digest->byte, DIGEST_BYTES);
	}
	enum err err = query_end(&q);

	if (err != ERR_OK || *is_known)
		return err;
	struct sent_row gone;

	err = sent_look(o->sent, host, id, &gone);
	*is_known = err == ERR_OK;
	*digest = gone.digest;
	*seq = 0;
	return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err insert(struct outbox *o, struct span host, const struct message *m,
	const struct digest *digest, uint64_t *seq)
{
	struct query q = query_of(o->db, o->statement[ADD]);

	query_text(&q, host);
	query_blob(&q, m->id.byte, ID_BYTES);
	query_u64(&q, m->attempt);
	query_u64(&q, m->sent_unix_us);
	query_u64(&q, m->expires_unix_ms);
	if (m->has_correlation)
		query_blob(&q, m->correlation.byte, ID_BYTES);
	else
		query_null(&q);
	query_u64(&q, m->content);
	query_blob(&q, digest->byte, DIGEST_BYTES);
	query_text(&q, m->type);
	query_text(&q, m->key);
	query_text(&q, m->traceparent);
	query_text(&q, m->contract);
	query_u64(&q, bytes_of(m));
	query_blob(&q, m->body.at, m->body.len);
	enum err err = query_run(&q);

	if (err == ERR_OK)
		*seq = (uint64_t)sqlite3_last_insert_rowid(o->db->sql);
	return err;
}

enum err outbox_add(struct outbox *o, struct span host, const struct message *m,
	const struct digest *digest, const struct outbox_limits *limits,
	struct outbox_added *out)
{
	struct digest known_digest;
	bool is_known;

	BUG_ON(host.len > OUTBOX_HOST_MAX_BYTES || m->body.len > MESSAGE_BODY_MAX_BYTES);
	*out = (struct outbox_added){ .verdict = OUTBOX_JOINED };
	enum err err = find_known(o, host, &m->id, &known_digest, &out->seq, &is_known);

	if (err != ERR_OK)
		return err;
	if (is_known)
		return digest_equals(&known_digest, digest) ? ERR_OK : ERR_CONFLICT;
	err = admit(o, host, bytes_of(m), limits);
	if (err != ERR_OK)
		return err;
	out->verdict = OUTBOX_ADDED;
	return insert(o, host, m, digest, &out->seq);
}

/* ---- reading ---- */

static struct span keep(char **to, struct span bytes)
{
	char *at = *to;

	if (bytes.len > 0)
		memcpy(at, bytes.at, bytes.len);
	*to += bytes.len;
	return (struct span){ .at = at, .len = bytes.len };
}

/* The columns as they stand in the row, borrowed. */
static void read_columns(struct query *q, struct outbox_row *out)
{
	struct message *m = &out->message;

	m->seq = query_column_u64(q);
	out->state = query_column_u64(q) == OUTBOX_PENDING ? OUTBOX_PENDING : OUTBOX_PARKED;
	out->host = query_column_text(q);
	query_column_bytes(q, m->id.byte, ID_BYTES);
	m->attempt = query_column_u64(q);
	m->sent_unix_us = query_column_u64(q);
	m->expires_unix_ms = query_column_u64(q);
	m->has_correlation = !query_column_is_null(q);
	if (m->has_correlation)
		query_column_bytes(q, m->correlation.byte, ID_BYTES);
	else
		q->at++;
	m->content = query_column_u64(q) == MESSAGE_PROBLEM ? MESSAGE_PROBLEM : MESSAGE_JSON;
	query_column_bytes(q, out->digest.byte, DIGEST_BYTES);
	m->type = query_column_text(q);
	m->key = query_column_text(q);
	m->traceparent = query_column_text(q);
	m->contract = query_column_text(q);
	out->reason = query_column_text(q);
	out->bytes = query_column_u64(q);
	m->body = query_column_blob(q);
}

/* The row that the query stands on, in memory of its own. NULL: the query has it why. */
static struct outbox_row *read_row(struct outbox *o, struct query *q)
{
	struct outbox_row seen = { 0 };
	struct message *m = &seen.message;

	read_columns(q, &seen);
	if (q->code != SQLITE_OK || q->is_strange)
		return NULL;
	m->durability = MESSAGE_PERSISTENT;
	m->epoch = o->db->epoch;
	struct outbox_row *row = malloc(sizeof(*row) + seen.host.len + m->type.len +
					m->key.len + m->traceparent.len + m->contract.len +
					seen.reason.len + m->body.len);

	if (row == NULL) {
		q->code = SQLITE_NOMEM;
		return NULL;
	}
	char *to = (char *)(row + 1);

	*row = seen;
	list_init(&row->node);
	row->host = keep(&to, seen.host);
	row->message.type = keep(&to, m->type);
	row->message.key = keep(&to, m->key);
	row->message.traceparent = keep(&to, m->traceparent);
	row->message.contract = keep(&to, m->contract);
	row->reason = keep(&to, seen.reason);
	row->message.body = keep(&to, m->body);
	return row;
}

void outbox_row_free(struct outbox_row *row)
{
	free(row);
}

void outbox_rows_free(struct node *rows)
{
	while (!list_empty(rows)) {
		struct outbox_row *row = container_of(rows->next, struct outbox_row, node);

		list_drop(&row->node);
		outbox_row_free(row);
	}
}

/* No seq is above what SQLite can count; what a receipt says may be. */
static uint64_t bounded(uint64_t seq)
{
	return seq > INT64_MAX ? INT64_MAX : seq;
}

static enum err read_page(struct outbox *o, int which, struct span host,
	const struct outbox_want *want, struct node *rows)
{
	struct query q = query_of(o->db, o->statement[which]);
	size_t bytes = 0;

	query_text(&q, host);
	query_u64(&q, bounded(want->after_seq));
	query_u64(&q, bounded(want->through_seq));
	query_u64(&q, want->max_rows);
	while (bytes < want->max_bytes && query_next(&q)) {
		struct outbox_row *row = read_row(o, &q);

		if (row == NULL)
			break;
		if (bytes > 0 && bytes + row->bytes > want->max_bytes) {
			outbox_row_free(row);
			break;
		}
		bytes += row->bytes;
		list_append(rows, &row->node);
	}
	return query_end(&q);
}

enum err outbox_page(
	struct outbox *o, struct span host, const struct outbox_want *want, struct node *rows)
{
	return read_page(o, PAGE, host, want, rows);
}

enum err outbox_page_parked(
	struct outbox *o, struct span host, const struct outbox_want *want, struct node *rows)
{
	return read_page(o, PAGE_PARKED, host, want, rows);
}

/* The one row that the query gives; parameters are bound. */
static enum err read_one(struct outbox *o, struct query *q, struct outbox_row **out)
{
	*out = NULL;
	if (query_next(q))
		*out = read_row(o, q);
	enum err err = query_end(q);

	if (err != ERR_OK)
		return err;
	return *out == NULL ? ERR_NOT_FOUND : ERR_OK;
}

enum err outbox_look(
	struct outbox *o, struct span host, const struct id *id, struct outbox_row **out)
{
	struct query q = query_of(o->db, o->statement[LOOK]);

	query_blob(&q, id->byte, ID_BYTES);
	query_text(&q, host);
	return read_one(o, &q, out);
}

enum err outbox_edges(
	struct outbox *o, struct span host, uint64_t *first_seq, uint64_t *last_seq)
{
	struct query q = query_of(o->db, o->statement[EDGES]);
	bool is_there;

	query_text(&q, host);
	is_there = query_next(&q);
	*first_seq = is_there ? query_column_u64(&q) : 0;
	*last_seq = is_there ? query_column_u64(&q) : 0;
	return query_end(&q);
}

/* ---- ending ---- */

/* The parameters of REMEMBER_FROM. */
static struct query remember(struct outbox *o, int which, const struct outbox_end *end)
{
	struct query q = query_of(o->db, o->statement[which]);
	struct span reason = end->reason;

	if (reason.len > SENT_REASON_MAX_BYTES)
		reason.len = SENT_REASON_MAX_BYTES;
	query_u64(&q, end->outcome);
	query_u64(&q, end->now_unix_ms);
	query_u64(&q, end->keep_ms);
	query_text(&q, reason);
	return q;
}

static enum err remove_range(struct outbox *o, struct span host, struct outbox_range range,
	const struct outbox_end *end, uint64_t *removed)
{
	struct query q = remember(o, REMEMBER, end);

	query_text(&q, host);
	query_u64(&q, bounded(range.lo));
	query_u64(&q, bounded(range.hi));
	enum err err = query_run(&q);

	if (err != ERR_OK)
		return err;
	q = query_of(o->db, o->statement[REMOVE]);
	query_text(&q, host);
	query_u64(&q, bounded(range.lo));
	query_u64(&q, bounded(range.hi));
	err = query_run(&q);
	if (err == ERR_OK)
		*removed += query_changes(&q);
	return err;
}

enum err outbox_remove(struct outbox *o, struct span host, const struct outbox_range *ranges,
	size_t count_of_ranges, const struct outbox_end *end, uint64_t *removed)
{
	enum err err = ERR_OK;

	*removed = 0;
	for (size_t i = 0; i < count_of_ranges && err == ERR_OK; i++)
		err = remove_range(o, host, ranges[i], end, removed);
	return err;
}

static enum err end_one(struct outbox *o, uint64_t seq, const struct outbox_end *end)
{
	struct query q = remember(o, REMEMBER_ONE, end);

	query_u64(&q, seq);
	enum err err = query_run(&q);

	if (err != ERR_OK)
		return err;
	q = query_of(o->db, o->statement[REMOVE_ONE]);
	query_u64(&q, seq);
	return query_run(&q);
}

static enum err find_expired(struct outbox *o, uint64_t after_seq, unsigned max_rows,
	uint64_t now_unix_ms, struct node *found)
{
	struct query q = query_of(o->db, o->statement[EXPIRED]);

	query_u64(&q, now_unix_ms);
	query_u64(&q, bounded(after_seq));
	query_u64(&q, max_rows);
	while (query_next(&q)) {
		struct outbox_row *row = read_row(o, &q);

		if (row == NULL)
			break;
		list_append(found, &row->node);
	}
	return query_end(&q);
}

enum err outbox_expire(struct outbox *o, uint64_t after_seq, unsigned max_rows,
	const struct outbox_end *end, struct node *gone)
{
	struct node found;

	list_init(&found);
	enum err err = find_expired(o, after_seq, max_rows, end->now_unix_ms, &found);

	while (err == ERR_OK && !list_empty(&found)) {
		struct outbox_row *row = container_of(found.next, struct outbox_row, node);

		err = end_one(o, row->message.seq, end);
		list_drop(&row->node);
		list_append(gone, &row->node);
	}
	outbox_rows_free(&found);
	return err;
}

/* ---- parked ---- */

enum err outbox_park(struct outbox *o, struct span host, uint64_t seq, struct span reason)
{
	struct query q = query_of(o->db, o->statement[PARK]);

	if (reason.len > SENT_REASON_MAX_BYTES)
		reason.len = SENT_REASON_MAX_BYTES;
	query_text(&q, host);
	query_u64(&q, bounded(seq));
	query_text(&q, reason);
	enum err err = query_run(&q);

	if (err != ERR_OK)
		return err;
	return query_changes(&q) == 1 ? ERR_OK : ERR_NOT_FOUND;
}

static enum err delete_parked(struct outbox *o, struct span host, uint64_t seq)
{
	struct query q = query_of(o->db, o->statement[DELETE_PARKED]);

	query_text(&q, host);
	query_u64(&q, bounded(seq));
	enum err err = query_run(&q);

	if (err != ERR_OK)
		return err;
	return query_changes(&q) == 1 ? ERR_OK : ERR_NOT_FOUND;
}

enum err outbox_replay(struct outbox *o, struct span host, uint64_t *seq)
{
	struct query q = query_of(o->db, o->statement[ONE_PARKED]);
	struct outbox_row *row;

	query_text(&q, host);
	query_u64(&q, bounded(*seq));
	enum err err = read_one(o, &q, &row);

	if (err != ERR_OK)
		return err;
	/* A new seq: whoever reads in order comes by it, and no receipt of the old one fits. */
	err = delete_parked(o, host, *seq);
	row->message.attempt++;
	if (err == ERR_OK)
		err = insert(o, host, &row->message, &row->digest, seq);
	outbox_row_free(row);
	return err;
}

enum err outbox_drop(
	struct outbox *o, struct span host, uint64_t seq, const struct outbox_end *end)
{
	struct query q = remember(o, REMEMBER_PARKED, end);

	query_text(&q, host);
	query_u64(&q, bounded(seq));
	enum err err = query_run(&q);

	return err != ERR_OK ? err : delete_parked(o, host, seq);
}
