#include "http/problem.h"

#include <stdio.h>

#include "base/bug.h"
#include "base/json_writer.h"
#include "base/macro.h"

static const struct {
	unsigned status;
	const char *name;
	const char *title;
} rows[] = {
#define PROBLEM_ROW(code, status, type, title) [code] = { status, type, title },
	PROBLEM_MAP(PROBLEM_ROW)
#undef PROBLEM_ROW
};

unsigned problem_status(enum problem_type type)
{
	BUG_ON((size_t)type >= ARRAY_COUNT(rows));
	return rows[type].status;
}

const char *problem_name(enum problem_type type)
{
	BUG_ON((size_t)type >= ARRAY_COUNT(rows));
	return rows[type].name;
}

const char *problem_title(enum problem_type type)
{
	BUG_ON((size_t)type >= ARRAY_COUNT(rows));
	return rows[type].title;
}

static void write_if_any(struct json_writer *w, const char *key, struct span value)
{
	if (value.len > 0)
		json_write_span_member(w, key, value);
}

void problem_format(const struct problem *p, struct buf *out)
{
	struct json_writer w;
	char type[sizeof(PROBLEM_TYPE_PREFIX) + 32];

	snprintf(type, sizeof(type), PROBLEM_TYPE_PREFIX "%s", problem_name(p->type));
	json_write_init(&w, out);
	json_write_object(&w);
	json_write_text_member(&w, "type", type);
	json_write_text_member(&w, "title", problem_title(p->type));
	json_write_u64_member(&w, "status", problem_status(p->type));
	write_if_any(&w, "detail", p->detail);
	if (p->pointer.at != NULL)
		json_write_span_member(&w, "pointer", p->pointer);
	write_if_any(&w, "rule", p->rule);
	write_if_any(&w, "id", p->id);
	if (p->retry_after_ms > 0)
		json_write_u64_member(&w, "retry_after_ms", p->retry_after_ms);
	json_write_object_end(&w);
	buf_byte(out, '\n');
}
