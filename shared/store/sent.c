#include "store/sent.h"

#include <string.h>

#include "base/bug.h"
#include "store/prune.h"
#include "store/query.h"

enum { PUT = 0, LOOK, COUNT, FORGET };

static const char *const texts[SENT_NSTATEMENTS] = {
	[PUT] = ("INSERT INTO sent(id, host, outcome, at_ms, until_ms, digest, reason)"
		 " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id, host) DO UPDATE SET"
		 " outcome = excluded.outcome, at_ms = excluded.at_ms, until_ms = "
		 "excluded.until_ms,"
		 " digest = excluded.digest, reason = excluded.reason"),
	[LOOK] = "SELECT outcome, at_ms, digest, reason FROM sent WHERE id = ? AND host = ?",
	[COUNT] = "SELECT rows FROM tally WHERE kind = 2 AND host = ''",
	[FORGET] = ("DELETE FROM sent WHERE (id, host) IN (SELECT id, host FROM sent"
		    " WHERE until_ms <= ? ORDER BY until_ms LIMIT ?)"),
};

enum err sent_init(struct sent *s, struct db *db)
{
	*s = (struct sent){ .db = db };
	return query_prepare(db, texts, SENT_NSTATEMENTS, s->statement);
}

void sent_fini(struct sent *s)
{
	query_forget(s->statement, SENT_NSTATEMENTS);
	*s = (struct sent){ 0 };
}

static struct span cut(struct span text)
{
	if (text.len > SENT_REASON_MAX_BYTES)
		text.len = SENT_REASON_MAX_BYTES;
	return text;
}

enum err sent_put(struct sent *s, struct span host, const struct sent_row *row,
	struct span reason, uint64_t until_unix_ms)
{
	struct query q = query_of(s->db, s->statement[PUT]);

	query_blob(&q, row->id.byte, ID_BYTES);
	query_text(&q, host);
	query_u64(&q, row->outcome);
	query_u64(&q, row->at_unix_ms);
	query_u64(&q, until_unix_ms);
	query_blob(&q, row->digest.byte, DIGEST_BYTES);
	query_text(&q, cut(reason));
	return query_run(&q);
}

static void read_row(struct query *q, struct sent_row *out)
{
	uint64_t outcome = query_column_u64(q);

	q->is_strange |= outcome >= SENT_NOUTCOMES;
	out->outcome = (enum sent_outcome)outcome;
	out->at_unix_ms = query_column_u64(q);
	query_column_bytes(q, out->digest.byte, DIGEST_BYTES);
	struct span reason = cut(query_column_text(q));

	if (reason.len > 0)
		memcpy(out->reason, reason.at, reason.len);
}

enum err sent_look(struct sent *s, struct span host, const struct id *id, struct sent_row *out)
{
	struct query q = query_of(s->db, s->statement[LOOK]);

	*out = (struct sent_row){ .id = *id };
	query_blob(&q, id->byte, ID_BYTES);
	query_text(&q, host);
	bool is_there = query_next(&q);

	if (is_there)
		read_row(&q, out);
	enum err err = query_end(&q);

	if (err != ERR_OK)
		return err;
	return is_there ? ERR_OK : ERR_NOT_FOUND;
}

enum err sent_prune(
	struct sent *s, uint64_t now_unix_ms, uint64_t max_rows, unsigned step, uint64_t *early)
{
	struct prune p = {
		.db = s->db, .count = s->statement[COUNT], .forget = s->statement[FORGET]
	};

	return prune_step(&p, now_unix_ms, max_rows, step, early);
}

const char *sent_outcome_text(enum sent_outcome outcome)
{
	switch (outcome) {
	case SENT_DONE:
		return "done";
	case SENT_REFUSED:
		return "refused";
	case SENT_EXPIRED:
		return "expired";
	case SENT_DEAD:
		return "dead";
	case SENT_DROPPED:
		return "dropped";
	case SENT_NOUTCOMES:
		break;
	}
	return "unknown";
}
