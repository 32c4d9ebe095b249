#include "store/prune.h"

#include "store/query.h"

static enum err forget(
	const struct prune *p, uint64_t until_unix_ms, uint64_t at_most, uint64_t *gone)
{
	struct query q = query_of(p->db, p->forget);

	query_u64(&q, until_unix_ms);
	query_u64(&q, at_most);
	enum err err = query_run(&q);

	*gone = err == ERR_OK ? query_changes(&q) : 0;
	return err;
}

static enum err count(const struct prune *p, uint64_t *rows)
{
	struct query q = query_of(p->db, p->count);

	*rows = query_next(&q) ? query_column_u64(&q) : 0;
	return query_end(&q);
}

enum err prune_step(const struct prune *p, uint64_t now_unix_ms, uint64_t max_rows,
	unsigned step, uint64_t *early)
{
	uint64_t rows;
	uint64_t gone;

	*early = 0;
	enum err err = forget(p, now_unix_ms, step, &gone);

	if (err == ERR_OK)
		err = count(p, &rows);
	if (err != ERR_OK || rows <= max_rows || gone >= step)
		return err;
	uint64_t over = rows - max_rows;

	return forget(p, INT64_MAX, over < step - gone ? over : step - gone, early);
}
