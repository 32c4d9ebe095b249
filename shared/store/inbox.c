#include "store/inbox.h"

#include <string.h>

#include "store/prune.h"
#include "store/query.h"

enum { PUT = 0, LOOK, COUNT, FORGET };

/* 0 is INBOX_TRYING. The WHERE of an upsert decides after the digest was compared: no row
 * changed, no join. */
static const char *const texts[INBOX_NSTATEMENTS] = {
	[PUT] = ("INSERT INTO inbox(host, id, outcome, attempts, epoch, seq, at_ms, until_ms,"
		 " digest, op, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
		 " ON CONFLICT(host, id) DO UPDATE SET epoch = excluded.epoch, seq = "
		 "excluded.seq,"
		 " attempts = CASE outcome WHEN 0 THEN excluded.attempts ELSE attempts END,"
		 " at_ms = CASE outcome WHEN 0 THEN excluded.at_ms ELSE at_ms END,"
		 " until_ms = max(until_ms, excluded.until_ms),"
		 " reason = CASE outcome WHEN 0 THEN excluded.reason ELSE reason END,"
		 " outcome = CASE outcome WHEN 0 THEN excluded.outcome ELSE outcome END"
		 " WHERE digest = excluded.digest"),
	[LOOK] = ("SELECT outcome, attempts, epoch, seq, at_ms, until_ms, digest, op, reason"
		  " FROM inbox WHERE host = ? AND id = ?"),
	[COUNT] = "SELECT rows FROM tally WHERE kind = 3 AND host = ''",
	[FORGET] = ("DELETE FROM inbox WHERE (host, id) IN (SELECT host, id FROM inbox"
		    " WHERE until_ms <= ? ORDER BY until_ms LIMIT ?)"),
};

enum err inbox_init(struct inbox *x, struct db *db)
{
	*x = (struct inbox){ .db = db };
	return query_prepare(db, texts, INBOX_NSTATEMENTS, x->statement);
}

void inbox_fini(struct inbox *x)
{
	query_forget(x->statement, INBOX_NSTATEMENTS);
	*x = (struct inbox){ 0 };
}

enum err inbox_put(struct inbox *x, struct span host, const struct inbox_row *row)
{
	struct query q = query_of(x->db, x->statement[PUT]);

	query_text(&q, host);
	query_blob(&q, row->id.byte, ID_BYTES);
	query_u64(&q, row->outcome);
	query_u64(&q, row->attempts);
	query_u64(&q, row->epoch);
	query_u64(&q, row->seq);
	query_u64(&q, row->at_unix_ms);
	query_u64(&q, row->until_unix_ms);
	query_blob(&q, row->digest.byte, DIGEST_BYTES);
	query_text(&q, span_of(row->op));
	query_text(&q, span_of(row->reason));
	enum err err = query_run(&q);

	if (err != ERR_OK)
		return err;
	return query_changes(&q) == 1 ? ERR_OK : ERR_CONFLICT;
}

static void read_text(struct query *q, char *out, size_t max)
{
	struct span text = query_column_text(q);

	if (text.len > max)
		q->is_strange = true;
	else if (text.len > 0)
		memcpy(out, text.at, text.len);
}

static void read_row(struct query *q, struct inbox_row *out)
{
	uint64_t outcome = query_column_u64(q);

	q->is_strange |= outcome >= INBOX_NOUTCOMES;
	out->outcome = (enum inbox_outcome)outcome;
	out->attempts = query_column_u64(q);
	out->epoch = query_column_u64(q);
	out->seq = query_column_u64(q);
	out->at_unix_ms = query_column_u64(q);
	out->until_unix_ms = query_column_u64(q);
	query_column_bytes(q, out->digest.byte, DIGEST_BYTES);
	read_text(q, out->op, MESSAGE_TYPE_MAX_BYTES);
	read_text(q, out->reason, INBOX_REASON_MAX_BYTES);
}

enum err inbox_look(
	struct inbox *x, struct span host, const struct id *id, struct inbox_row *out)
{
	struct query q = query_of(x->db, x->statement[LOOK]);

	*out = (struct inbox_row){ .id = *id };
	query_text(&q, host);
	query_blob(&q, id->byte, ID_BYTES);
	bool is_there = query_next(&q);

	if (is_there)
		read_row(&q, out);
	enum err err = query_end(&q);

	if (err != ERR_OK)
		return err;
	return is_there ? ERR_OK : ERR_NOT_FOUND;
}

enum err inbox_prune(struct inbox *x, uint64_t now_unix_ms, uint64_t max_rows, unsigned step,
	uint64_t *early)
{
	struct prune p = {
		.db = x->db, .count = x->statement[COUNT], .forget = x->statement[FORGET]
	};

	return prune_step(&p, now_unix_ms, max_rows, step, early);
}
