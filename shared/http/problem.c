#include "http/problem.h"

#include <inttypes.h>

#include "base/bug.h"
#include "base/macro.h"
#include "base/text.h"

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

static void append_escaped(struct buf *out, struct span text)
{
	bool is_utf8 = text_is_utf8(text);

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];

		if (c == '"' || c == '\\')
			buf_format(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_format(out, "\\u%04x", c);
		else if (c < 0x80 || is_utf8)
			buf_byte(out, c);
		else
			buf_text(out, "\\ufffd");
	}
}

static void append_member(struct buf *out, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	buf_format(out, ",\"%s\":\"", name);
	append_escaped(out, value);
	buf_byte(out, '"');
}

void problem_format(const struct problem *p, struct buf *out)
{
	buf_format(out,
		"{\"type\":\"" PROBLEM_TYPE_PREFIX "%s\",\"title\":\"%s\",\"status\":%u",
		problem_name(p->type), problem_title(p->type), problem_status(p->type));
	append_member(out, "detail", p->detail);
	append_member(out, "pointer", p->pointer);
	append_member(out, "rule", p->rule);
	append_member(out, "id", p->id);
	if (p->retry_after_ms > 0)
		buf_format(out, ",\"retry_after_ms\":%" PRIu64, p->retry_after_ms);
	buf_text(out, "}\n");
}
