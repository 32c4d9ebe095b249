#include "http/reader.h"

#include <string.h>
#include <strings.h>

#include "base/bug.h"
#include "base/text.h"
#include "http/raw.h"

static enum reader_result bad(struct problem *out, enum problem_type type, const char *detail)
{
	*out = (struct problem){ .type = type, .detail = span_of(detail) };
	return READER_BAD;
}

static enum reader_result malformed(struct problem *out, const char *detail)
{
	return bad(out, PROBLEM_BAD_REQUEST, detail);
}

static void enter(struct reader *r, enum reader_phase phase)
{
	r->phase = phase;
	r->seen = r->at;
}

static struct span part_of(const struct buf *in, struct reader_part part)
{
	return (struct span){ .at = in->at + part.at, .len = part.len };
}

static bool has_control(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

/* The end of the present line; NULL when it is not here yet. */
static const char *find_lf(const struct reader *r, const struct buf *in)
{
	if (in->len == r->seen)
		return NULL;
	return memchr(in->at + r->seen, '\n', in->len - r->seen);
}

/* The first byte behind the line that `lf` ends, or behind what is here of it. Limits are judged
 * by this before the line is, so that a verdict does not depend on how the bytes are cut. */
static size_t end_of(const struct buf *in, const char *lf)
{
	return lf == NULL ? in->len : (size_t)(lf - in->at) + 1;
}

/* Takes the line that `lf` ends, without its end, out of the input. */
static enum reader_result take_line(struct reader *r, const struct buf *in, const char *lf,
	struct span *line, struct problem *out)
{
	if (lf == NULL) {
		r->seen = in->len;
		return READER_MORE;
	}
	size_t end = (size_t)(lf - in->at);

	if (end == r->at || in->at[end - 1] != '\r')
		return malformed(out, "a line does not end with CR LF");
	*line = (struct span){ .at = in->at + r->at, .len = end - 1 - r->at };
	r->at = end + 1;
	r->seen = r->at;
	return READER_WHOLE;
}

/* -- the request line -------------------------------------------------------------------- */

static enum reader_result start(struct reader *r, struct buf *in, struct problem *out)
{
	size_t skip = 0;

	while (in->len - skip >= 2 && in->at[skip] == '\r' && in->at[skip + 1] == '\n')
		skip += 2;
	if (skip > 0)
		buf_consume(in, skip);
	if (in->len == 0 || (in->len == 1 && in->at[0] == '\r'))
		return READER_MORE;
	if (!raw_is_token((struct span){ .at = in->at, .len = 1 }))
		return malformed(out, "this is not HTTP/1.1");
	enter(r, READER_LINE);
	return READER_WHOLE;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static enum reader_result read_version(struct reader *r, struct span text, struct problem *out)
{
	if (text.len != 8 || !span_starts(text, "HTTP/") || !is_digit(text.at[5]) ||
		text.at[6] != '.' || !is_digit(text.at[7]))
		return malformed(out, "this is not HTTP/1.1");
	if (text.at[5] != '1')
		return bad(out, PROBLEM_WRONG_VERSION, NULL);
	r->head.is_http_1_1 = text.at[7] != '0';
	return READER_WHOLE;
}

/* In place, so that a part may only become shorter. */
static enum err unescape(struct buf *in, struct reader_part *part, enum head_plus plus)
{
	return head_unescape(in->at + part->at, part->len, plus, &part->len);
}

static enum reader_result read_query(
	struct reader *r, struct buf *in, struct reader_part query, struct problem *out)
{
	size_t end = query.at + query.len;
	size_t next;

	for (size_t at = query.at; at < end; at = next + 1) {
		const char *stop = memchr(in->at + at, '&', end - at);

		next = stop == NULL ? end : (size_t)(stop - in->at);
		if (next == at)
			continue;
		if (r->param_count == READER_MAX_PARAMS)
			return malformed(out, "too many query parameters");
		const char *equals = memchr(in->at + at, '=', next - at);
		size_t name_end = equals == NULL ? next : (size_t)(equals - in->at);
		size_t value_at = equals == NULL ? next : name_end + 1;
		struct reader_part name = { .at = at, .len = name_end - at };
		struct reader_part value = { .at = value_at, .len = next - value_at };

		if (unescape(in, &name, HEAD_PLUS_IS_BLANK) != ERR_OK ||
			unescape(in, &value, HEAD_PLUS_IS_BLANK) != ERR_OK)
			return malformed(out, "the query has an escape that is none");
		r->params[r->param_count].name = name;
		r->params[r->param_count].value = value;
		r->param_count++;
	}
	return READER_WHOLE;
}

static enum reader_result read_target(
	struct reader *r, struct buf *in, struct span target, struct problem *out)
{
	if (!head_target_is_fine(target))
		return malformed(out, "the path or query is not a valid request target");
	const char *mark = memchr(target.at, '?', target.len);
	size_t path_len = mark == NULL ? target.len : (size_t)(mark - target.at);
	struct reader_part query = { 0 };

	r->path = (struct reader_part){ .at = (size_t)(target.at - in->at), .len = path_len };
	if (mark != NULL)
		query = (struct reader_part){ .at = r->path.at + path_len + 1,
			.len = target.len - path_len - 1 };
	if (unescape(in, &r->path, HEAD_PLUS_STAYS) != ERR_OK)
		return malformed(out, "the path has an escape that is none");
	return read_query(r, in, query, out);
}

static enum reader_result read_request_line(
	struct reader *r, struct buf *in, struct span line, struct problem *out)
{
	const char *first = memchr(line.at, ' ', line.len);
	const char *last = memrchr(line.at, ' ', line.len);

	if (first == NULL || first == last)
		return malformed(out, "the first line is not METHOD /path HTTP/1.1");
	struct span method = { .at = line.at, .len = (size_t)(first - line.at) };
	struct span target = { .at = first + 1, .len = (size_t)(last - first - 1) };
	struct span version = span_after(line, (size_t)(last + 1 - line.at));

	if (!raw_is_token(method))
		return malformed(out, "the method is not a token");
	enum reader_result result = read_version(r, version, out);

	if (result != READER_WHOLE)
		return result;
	r->target_bytes = target.len;
	r->is_head = span_is(method, "HEAD");
	r->method = r->is_head ? HTTP_GET : head_method_parse(method);
	if (r->method == HTTP_OTHER && !span_starts(target, "/"))
		return bad(out, PROBLEM_WRONG_METHOD, NULL); /* OPTIONS * asks for no path */
	return read_target(r, in, target, out);
}

/* -- headers ----------------------------------------------------------------------------- */

static enum reader_result too_large(const struct reader *r, struct problem *out)
{
	bool is_target = r->phase <= READER_LINE ||
			 r->target_bytes > r->limits.max_header_bytes / 2;

	return bad(out, is_target ? PROBLEM_PATH_TOO_LONG : PROBLEM_HEADERS_TOO_LARGE, NULL);
}

static enum reader_result read_header(
	struct span line, struct span *name, struct span *value, struct problem *out)
{
	const char *colon = memchr(line.at, ':', line.len);

	if (line.at[0] == ' ' || line.at[0] == '\t')
		return malformed(out, "a header continues on the next line");
	if (colon == NULL)
		return malformed(out, "a header without a colon");
	*name = (struct span){ .at = line.at, .len = (size_t)(colon - line.at) };
	*value = text_trim(span_after(line, name->len + 1));
	if (!raw_is_token(*name))
		return malformed(out, "a header's name is not a token");
	if (has_control(*value))
		return malformed(out, "a control character in a header");
	return READER_WHOLE;
}

/* The line at *at of what is known to be whole lines. */
static struct span next_line(const struct buf *in, size_t *at)
{
	const char *lf = memchr(in->at + *at, '\n', in->len - *at);
	struct span line = { .at = in->at + *at };

	BUG_ON(lf == NULL);
	line.len = (size_t)(lf - line.at) - 1;
	*at += line.len + 2;
	return line;
}

static enum reader_result end_head(struct reader *r, struct buf *in, struct problem *out)
{
	struct span line;

	r->head.from = r->from;
	for (size_t at = r->headers_at; (line = next_line(in, &at)).len > 0;) {
		struct span name;
		struct span value;
		enum reader_result result = read_header(line, &name, &value, out);

		if (result != READER_WHOLE)
			return result;
		head_add(&r->head, name, value);
	}
	if (head_judge(&r->head, &r->limits, out) != ERR_OK)
		return READER_BAD;
	r->body_at = r->at;
	r->left = r->head.body_bytes;
	enter(r, r->head.coding_count > 0 ? READER_SIZE : READER_LENGTH);
	return READER_WHOLE;
}

static enum reader_result read_head(struct reader *r, struct buf *in, struct problem *out)
{
	struct span line;
	const char *lf = find_lf(r, in);

	if (end_of(in, lf) > r->limits.max_header_bytes)
		return too_large(r, out);
	enum reader_result result = take_line(r, in, lf, &line, out);

	if (result != READER_WHOLE)
		return result;
	if (r->phase == READER_LINE) {
		result = read_request_line(r, in, line, out);
		r->headers_at = r->at;
		enter(r, READER_HEADERS);
		return result;
	}
	return line.len == 0 ? end_head(r, in, out) : READER_WHOLE;
}

/* -- bodies ------------------------------------------------------------------------------ */

static enum reader_result read_length(struct reader *r, const struct buf *in)
{
	if (in->len - r->body_at < r->left)
		return READER_MORE;
	r->body_len = r->left;
	r->at = r->body_at + r->left;
	enter(r, READER_DONE);
	return READER_WHOLE;
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum reader_result read_size(struct reader *r, const struct buf *in, struct problem *out)
{
	struct span line;
	const char *lf = find_lf(r, in);
	size_t size = 0;
	size_t digits = 0;

	if (end_of(in, lf) - r->at > READER_MAX_CHUNK_LINE)
		return malformed(out, "the line before a chunk is too long");
	enum reader_result result = take_line(r, in, lf, &line, out);

	if (result != READER_WHOLE)
		return result;
	while (digits < line.len && hex_digit(line.at[digits]) >= 0 &&
		digits < READER_MAX_CHUNK_DIGITS)
		size = size * 16 + (size_t)hex_digit(line.at[digits++]);
	if (digits == READER_MAX_CHUNK_DIGITS && digits < line.len &&
		hex_digit(line.at[digits]) >= 0)
		return bad(out, PROBLEM_PAYLOAD_TOO_LARGE, NULL);
	if (digits == 0 || (digits < line.len && line.at[digits] != ';') || has_control(line))
		return malformed(out, "a chunk's size is not a hexadecimal number");
	if (size > r->limits.max_body_bytes - r->body_len)
		return bad(out, PROBLEM_PAYLOAD_TOO_LARGE, NULL);
	r->left = size;
	enter(r, size == 0 ? READER_TRAILER : READER_CHUNK);
	return READER_WHOLE;
}

static enum reader_result read_chunk(struct reader *r, struct buf *in)
{
	size_t here = in->len - r->at < r->left ? in->len - r->at : r->left;

	if (here > 0)
		memmove(in->at + r->body_at + r->body_len, in->at + r->at, here);
	r->body_len += here;
	r->at += here;
	r->left -= here;
	if (r->left > 0)
		return READER_MORE;
	enter(r, READER_CHUNK_END);
	return READER_WHOLE;
}

static enum reader_result end_chunk(struct reader *r, const struct buf *in, struct problem *out)
{
	size_t here = in->len - r->at;

	if ((here >= 1 && in->at[r->at] != '\r') || (here >= 2 && in->at[r->at + 1] != '\n'))
		return malformed(out, "a chunk does not end with CR LF");
	if (here < 2)
		return READER_MORE;
	r->at += 2;
	enter(r, READER_SIZE);
	return READER_WHOLE;
}

static enum reader_result read_trailer(
	struct reader *r, const struct buf *in, struct problem *out)
{
	struct span line;
	struct span name;
	struct span value;
	const char *lf = find_lf(r, in);
	size_t bytes = end_of(in, lf) - r->at;

	if (bytes > r->limits.max_header_bytes - r->trailer_bytes)
		return bad(out, PROBLEM_HEADERS_TOO_LARGE, NULL);
	enum reader_result result = take_line(r, in, lf, &line, out);

	if (result != READER_WHOLE)
		return result;
	r->trailer_bytes += bytes;
	if (line.len > 0)
		return read_header(line, &name, &value, out);
	enter(r, READER_DONE);
	return READER_WHOLE;
}

/* What chunks were wrapped in is no longer needed: the input stays as small as the body. */
static void close_gap(struct reader *r, struct buf *in)
{
	size_t gap = r->at - (r->body_at + r->body_len);

	if (gap == 0)
		return;
	memmove(in->at + r->at - gap, in->at + r->at, in->len - r->at);
	in->len -= gap;
	r->at -= gap;
	r->seen -= gap;
}

/* -- all together ------------------------------------------------------------------------ */

static enum reader_result read_on(struct reader *r, struct buf *in, struct problem *out)
{
	switch (r->phase) {
	case READER_START:
		return start(r, in, out);
	case READER_LINE:
	case READER_HEADERS:
		return read_head(r, in, out);
	case READER_LENGTH:
		return read_length(r, in);
	case READER_SIZE:
		return read_size(r, in, out);
	case READER_CHUNK:
		return read_chunk(r, in);
	case READER_CHUNK_END:
		return end_chunk(r, in, out);
	case READER_TRAILER:
		return read_trailer(r, in, out);
	case READER_DONE:
		break;
	}
	return READER_WHOLE;
}

static bool is_chunked_now(const struct reader *r)
{
	return r->phase >= READER_SIZE && r->phase <= READER_TRAILER;
}

enum reader_result reader_feed(struct reader *r, struct buf *in, struct problem *out)
{
	enum reader_result result = READER_WHOLE;

	while (result == READER_WHOLE && r->phase != READER_DONE)
		result = read_on(r, in, out);
	if (result == READER_MORE && is_chunked_now(r))
		close_gap(r, in);
	return result;
}

void reader_init(struct reader *r, enum peer_kind from, const struct head_limits *limits)
{
	*r = (struct reader){ .limits = *limits, .from = from };
}

bool reader_has_begun(const struct reader *r)
{
	return r->phase != READER_START;
}

bool reader_owes_continue(struct reader *r)
{
	if (r->phase < READER_LENGTH || r->phase == READER_DONE || !r->head.wants_continue ||
		!r->head.is_http_1_1)
		return false;
	r->head.wants_continue = false;
	return true;
}

void reader_next(struct reader *r, struct buf *in)
{
	buf_consume(in, r->at);
	r->phase = READER_START;
	r->at = 0;
	r->seen = 0;
	r->target_bytes = 0;
	r->body_len = 0;
	r->left = 0;
	r->trailer_bytes = 0;
	r->param_count = 0;
	r->head = (struct head){ 0 };
}

struct span reader_path(const struct reader *r, const struct buf *in)
{
	return part_of(in, r->path);
}

struct span reader_body(const struct reader *r, const struct buf *in)
{
	if (r->body_len == 0)
		return (struct span){ 0 };
	return (struct span){ .at = in->at + r->body_at, .len = r->body_len };
}

bool reader_query(
	const struct reader *r, const struct buf *in, const char *name, struct span *out)
{
	for (size_t i = 0; i < r->param_count; i++) {
		if (!span_is(part_of(in, r->params[i].name), name))
			continue;
		*out = part_of(in, r->params[i].value);
		return true;
	}
	*out = (struct span){ 0 };
	return false;
}

static bool is_named(struct span line, const char *name)
{
	size_t len = strlen(name);

	return line.len > len && line.at[len] == ':' && strncasecmp(line.at, name, len) == 0;
}

size_t reader_header_count(const struct reader *r, const struct buf *in, const char *name)
{
	struct span line;
	size_t count = 0;

	for (size_t at = r->headers_at; (line = next_line(in, &at)).len > 0;)
		count += is_named(line, name) ? 1 : 0;
	return count;
}

bool reader_header(
	const struct reader *r, const struct buf *in, const char *name, struct span *out)
{
	struct span line;

	for (size_t at = r->headers_at; (line = next_line(in, &at)).len > 0;) {
		if (!is_named(line, name))
			continue;
		*out = text_trim(span_after(line, strlen(name) + 1));
		return true;
	}
	*out = (struct span){ 0 };
	return false;
}
