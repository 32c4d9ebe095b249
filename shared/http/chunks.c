#include "http/chunks.h"

#include <stdbool.h>
#include <string.h>

#include "base/text.h"

enum { MAX_DIGITS = 15 }; /* of a chunk's size: more than any limit, and no overflow */

static void enter(struct chunks *c, enum chunks_phase phase)
{
	c->phase = phase;
	c->seen = c->at;
}

/* Takes the next line, without its end. */
static enum chunks_result take_line(
	struct chunks *c, const struct buf *in, size_t max_bytes, struct span *line)
{
	const char *lf = in->len == c->seen ? NULL
					    : memchr(in->at + c->seen, '\n', in->len - c->seen);
	size_t end = lf == NULL ? in->len : (size_t)(lf - in->at);

	if (end - c->at > max_bytes)
		return CHUNKS_TOO_LARGE;
	if (lf == NULL) {
		c->seen = in->len;
		return CHUNKS_MORE;
	}
	if (end == c->at || in->at[end - 1] != '\r')
		return CHUNKS_BROKEN;
	*line = (struct span){ .at = in->at + c->at, .len = end - 1 - c->at };
	c->at = end + 1;
	return CHUNKS_WHOLE;
}

/* What may follow the digits: an extension, or a blank before one. */
static bool ends_size(char c)
{
	return c == ';' || c == ' ' || c == '\t';
}

static enum chunks_result read_size(struct chunks *c, const struct buf *in)
{
	struct span line = { 0 };
	enum chunks_result result = take_line(c, in, CHUNKS_MAX_LINE_BYTES, &line);
	size_t digits = 0;
	size_t size = 0;

	if (result != CHUNKS_WHOLE)
		return result == CHUNKS_TOO_LARGE ? CHUNKS_BROKEN : result;
	while (digits < line.len && digits < MAX_DIGITS && text_hex_value(line.at[digits]) >= 0)
		size = size * 16 + (size_t)text_hex_value(line.at[digits++]);
	if (digits == MAX_DIGITS && digits < line.len && text_hex_value(line.at[digits]) >= 0)
		return CHUNKS_TOO_LARGE;
	if (digits == 0 || (digits < line.len && !ends_size(line.at[digits])))
		return CHUNKS_BROKEN;
	if (size > c->body_room)
		return CHUNKS_TOO_LARGE;
	c->body_room -= size;
	c->left = size;
	enter(c, size == 0 ? CHUNKS_TRAILER : CHUNKS_DATA);
	return CHUNKS_WHOLE;
}

static enum chunks_result read_data(struct chunks *c, struct buf *in)
{
	size_t here = in->len - c->at < c->left ? in->len - c->at : c->left;

	if (here > 0 && c->body_end != c->at)
		memmove(in->at + c->body_end, in->at + c->at, here);
	c->body_end += here;
	c->at += here;
	c->left -= here;
	if (c->left > 0)
		return CHUNKS_MORE;
	enter(c, CHUNKS_DATA_END);
	return CHUNKS_WHOLE;
}

static enum chunks_result end_data(struct chunks *c, const struct buf *in)
{
	size_t here = in->len - c->at;

	if ((here >= 1 && in->at[c->at] != '\r') || (here >= 2 && in->at[c->at + 1] != '\n'))
		return CHUNKS_BROKEN;
	if (here < 2)
		return CHUNKS_MORE;
	c->at += 2;
	enter(c, CHUNKS_SIZE);
	return CHUNKS_WHOLE;
}

static enum chunks_result read_trailer(struct chunks *c, const struct buf *in, bool *is_end)
{
	struct span line = { 0 };
	enum chunks_result result = take_line(c, in, c->trailer_room, &line);

	if (result != CHUNKS_WHOLE)
		return result == CHUNKS_TOO_LARGE ? CHUNKS_TRAILER_TOO_LARGE : result;
	c->trailer_room -= line.len + 1; /* there was a CR too, within the room */
	c->seen = c->at;
	*is_end = line.len == 0;
	return CHUNKS_WHOLE;
}

/* What the chunks were wrapped in is no longer needed: memory grows with the body only. */
static void close_gap(struct chunks *c, struct buf *in)
{
	size_t gap = c->at - c->body_end;

	if (gap == 0)
		return;
	memmove(in->at + c->body_end, in->at + c->at, in->len - c->at);
	in->len -= gap;
	c->at -= gap;
	c->seen -= gap;
}

void chunks_init(struct chunks *c, size_t at, size_t max_body_bytes, size_t max_trailer_bytes)
{
	*c = (struct chunks){
		.at = at,
		.seen = at,
		.body_end = at,
		.body_room = max_body_bytes,
		.trailer_room = max_trailer_bytes,
	};
}

enum chunks_result chunks_feed(struct chunks *c, struct buf *in)
{
	enum chunks_result result = CHUNKS_WHOLE;
	bool is_end = false;

	while (result == CHUNKS_WHOLE && !is_end) {
		switch (c->phase) {
		case CHUNKS_SIZE:
			result = read_size(c, in);
			break;
		case CHUNKS_DATA:
			result = read_data(c, in);
			break;
		case CHUNKS_DATA_END:
			result = end_data(c, in);
			break;
		case CHUNKS_TRAILER:
			result = read_trailer(c, in, &is_end);
			break;
		}
	}
	close_gap(c, in);
	return result;
}
