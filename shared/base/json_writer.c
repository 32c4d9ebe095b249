#include "base/json_writer.h"

#include <math.h>

#include "base/bug.h"
#include "base/text.h"

void json_write_init(struct json_writer *w, struct buf *to)
{
	*w = (struct json_writer){ .to = to };
}

static uint64_t bit(const struct json_writer *w)
{
	return UINT64_C(1) << w->depth;
}

/* Whatever comes next is a value: its comma, or the end of its key's wait. */
static void begin_value(struct json_writer *w)
{
	if (w->has_key) {
		w->has_key = false;
		return;
	}
	BUG_ON((w->is_object & bit(w)) != 0);               /* a member needs its key */
	BUG_ON(w->depth == 0 && (w->has_members & 1) != 0); /* one value only */
	if ((w->has_members & bit(w)) != 0)
		buf_byte(w->to, ',');
	w->has_members |= bit(w);
}

static void open_with(struct json_writer *w, char brace)
{
	begin_value(w);
	buf_byte(w->to, (uint8_t)brace);
	BUG_ON(w->depth == JSON_WRITER_MAX_DEPTH);
	w->depth++;
	w->has_members &= ~bit(w);
	if (brace == '{')
		w->is_object |= bit(w);
	else
		w->is_object &= ~bit(w);
}

static void close_with(struct json_writer *w, char brace)
{
	bool is_object = (w->is_object & bit(w)) != 0;

	BUG_ON(w->depth == 0 || w->has_key || is_object != (brace == '}'));
	w->depth--;
	buf_byte(w->to, (uint8_t)brace);
}

void json_write_object(struct json_writer *w)
{
	open_with(w, '{');
}

void json_write_object_end(struct json_writer *w)
{
	close_with(w, '}');
}

void json_write_array(struct json_writer *w)
{
	open_with(w, '[');
}

void json_write_array_end(struct json_writer *w)
{
	close_with(w, ']');
}

/* How many bytes at the beginning are one whole character; 0 when they are no UTF-8. */
static size_t character_len(struct span text)
{
	for (size_t len = 1; len <= 4 && len <= text.len; len++) {
		if (text_is_utf8((struct span){ text.at, len }))
			return len;
	}
	return 0;
}

static void write_quoted(struct json_writer *w, struct span text)
{
	struct buf *to = w->to;

	buf_byte(to, '"');
	while (text.len > 0) {
		size_t plain = 0;

		while (plain < text.len) {
			unsigned char c = (unsigned char)text.at[plain];

			if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
				break;
			plain++;
		}
		buf_append(to, (struct span){ text.at, plain });
		text = span_after(text, plain);
		if (text.len == 0)
			break;
		unsigned char c = (unsigned char)text.at[0];
		size_t len = character_len(text);

		if (c == '"' || c == '\\')
			buf_format(to, "\\%c", c);
		else if (c == '\n')
			buf_text(to, "\\n");
		else if (c < 0x20 || c == 0x7f)
			buf_format(to, "\\u%04x", c);
		else if (len == 0)
			buf_text(to, "\xef\xbf\xbd"); /* U+FFFD for each such byte */
		else
			buf_append(to, (struct span){ text.at, len });
		text = span_after(text, len == 0 ? 1 : len);
	}
	buf_byte(to, '"');
}

void json_write_key_span(struct json_writer *w, struct span key)
{
	BUG_ON(w->has_key || (w->is_object & bit(w)) == 0);
	if ((w->has_members & bit(w)) != 0)
		buf_byte(w->to, ',');
	w->has_members |= bit(w);
	write_quoted(w, key);
	buf_byte(w->to, ':');
	w->has_key = true;
}

void json_write_key(struct json_writer *w, const char *key)
{
	json_write_key_span(w, span_of(key));
}

void json_write_text(struct json_writer *w, struct span text)
{
	begin_value(w);
	write_quoted(w, text);
}

void json_write_u64(struct json_writer *w, uint64_t value)
{
	begin_value(w);
	buf_format(w->to, "%llu", (unsigned long long)value);
}

void json_write_double(struct json_writer *w, double value)
{
	begin_value(w);
	if (isfinite(value))
		buf_format(w->to, "%.15g", value);
	else
		buf_text(w->to, "null");
}

void json_write_bool(struct json_writer *w, bool value)
{
	begin_value(w);
	buf_text(w->to, value ? "true" : "false");
}

void json_write_null(struct json_writer *w)
{
	begin_value(w);
	buf_text(w->to, "null");
}

void json_write_raw(struct json_writer *w, struct span json)
{
	BUG_ON(json.len == 0);
	begin_value(w);
	buf_append(w->to, json);
}

void json_write_text_member(struct json_writer *w, const char *key, const char *text)
{
	json_write_key(w, key);
	if (text == NULL)
		json_write_null(w);
	else
		json_write_text(w, span_of(text));
}

void json_write_span_member(struct json_writer *w, const char *key, struct span text)
{
	json_write_key(w, key);
	json_write_text(w, text);
}

void json_write_u64_member(struct json_writer *w, const char *key, uint64_t value)
{
	json_write_key(w, key);
	json_write_u64(w, value);
}

void json_write_bool_member(struct json_writer *w, const char *key, bool value)
{
	json_write_key(w, key);
	json_write_bool(w, value);
}
