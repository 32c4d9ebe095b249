#include "store/idem.h"

#include "store/prune.h"
#include "store/query.h"

enum { PUT = 0, LOOK, COUNT, FORGET };

static const char *const texts[IDEM_NSTATEMENTS] = {
	[PUT] = ("INSERT INTO idem(key, id, digest, until_ms) VALUES (?, ?, ?, ?)"
		 " ON CONFLICT(key) DO UPDATE SET id = excluded.id, digest = excluded.digest,"
		 " until_ms = excluded.until_ms"),
	[LOOK] = "SELECT id, digest FROM idem WHERE key = ? AND until_ms > ?",
	[COUNT] = "SELECT rows FROM tally WHERE kind = 4 AND host = ''",
	[FORGET] = ("DELETE FROM idem WHERE key IN (SELECT key FROM idem WHERE until_ms <= ?"
		    " ORDER BY until_ms LIMIT ?)"),
};

enum err idem_init(struct idem *m, struct db *db)
{
	*m = (struct idem){ .db = db };
	return query_prepare(db, texts, IDEM_NSTATEMENTS, m->statement);
}

void idem_fini(struct idem *m)
{
	query_forget(m->statement, IDEM_NSTATEMENTS);
	*m = (struct idem){ 0 };
}

static enum err look(struct idem *m, const struct idem_claim *claim, struct id *id,
	struct digest *digest, bool *is_there)
{
	struct query q = query_of(m->db, m->statement[LOOK]);

	query_text(&q, claim->key);
	query_u64(&q, claim->now_unix_ms);
	*is_there = query_next(&q);
	if (*is_there) {
		query_column_bytes(&q, id->byte, ID_BYTES);
		query_column_bytes(&q, digest->byte, DIGEST_BYTES);
	}
	return query_end(&q);
}

static enum err put(struct idem *m, const struct idem_claim *claim, const struct id *id)
{
	struct query q = query_of(m->db, m->statement[PUT]);

	query_text(&q, claim->key);
	query_blob(&q, id->byte, ID_BYTES);
	query_blob(&q, claim->digest.byte, DIGEST_BYTES);
	query_u64(&q, claim->until_unix_ms);
	return query_run(&q);
}

enum err idem_claim(
	struct idem *m, const struct idem_claim *claim, struct id *id, enum idem_verdict *out)
{
	struct id known;
	struct digest digest;
	bool is_there;
	enum err err = look(m, claim, &known, &digest, &is_there);

	if (err != ERR_OK)
		return err;
	*out = is_there ? IDEM_AGAIN : IDEM_FIRST;
	if (!is_there)
		return put(m, claim, id);
	if (!digest_equals(&digest, &claim->digest))
		return ERR_CONFLICT;
	*id = known;
	return ERR_OK;
}

enum err idem_prune(
	struct idem *m, uint64_t now_unix_ms, uint64_t max_rows, unsigned step, uint64_t *early)
{
	struct prune p = {
		.db = m->db, .count = m->statement[COUNT], .forget = m->statement[FORGET]
	};

	return prune_step(&p, now_unix_ms, max_rows, step, early);
}
