#include "http/answer.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/text.h"

enum {
	READ_BYTES = 4096,
	READ_MAX_BYTES = 256 * 1024,
	DATE_BYTES = 29, /* Sun, 06 Nov 1994 08:49:37 GMT */
};

static const uint64_t CENTURY_S = 100ull * 366 * 24 * 3600;

static enum answer_result broken(struct answer *a, const char *why)
{
	a->err = ERR_PROTOCOL;
	a->why = why;
	return ANSWER_BROKEN;
}

static enum answer_result too_large(struct answer *a)
{
	a->err = ERR_FULL;
	a->why = "the body is too large";
	return ANSWER_BROKEN;
}

static bool equals_caseless(struct span text, const char *other)
{
	return text.len == strlen(other) && strncasecmp(text.at, other, text.len) == 0;
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

/* -- the status line --------------------------------------------------------------------- */

/* What was said before a 1xx says nothing about the answer after it. */
static void forget_head(struct answer *a)
{
	a->http_status = 0;
	a->is_http_1_1 = false;
	a->says_close = false;
	a->says_keep_alive = false;
	a->is_chunked = false;
	a->has_length = false;
	a->length = 0;
	a->keep_for_s = 0;
	a->content_type = (struct answer_part){ 0 };
	a->retry_after = (struct answer_part){ 0 };
}

/* HTTP/1.1 200 OK; the reason, and even the blank before it, may be missing. */
static enum answer_result read_status_line(struct answer *a, struct span line)
{
	uint64_t status;

	if (line.len < 12 || !span_starts(line, "HTTP/1.") ||
		(line.at[7] != '0' && line.at[7] != '1') || line.at[8] != ' ' ||
		(line.len > 12 && line.at[12] != ' '))
		return broken(a, "this is no HTTP/1.1");
	if (text_parse_u64((struct span){ .at = line.at + 9, .len = 3 }, &status) != ERR_OK ||
		status < 100)
		return broken(a, "the status is no number from 100 to 999");
	forget_head(a);
	a->is_http_1_1 = line.at[7] == '1';
	a->http_status = (unsigned)status;
	a->phase = ANSWER_HEADERS;
	return ANSWER_WHOLE;
}

/* -- headers ----------------------------------------------------------------------------- */

/* A list of words, "keep-alive, Upgrade". */
static enum answer_result read_connection(struct answer *a, struct span value)
{
	while (value.len > 0) {
		struct span word = text_trim(text_cut(&value, ','));

		if (equals_caseless(word, "close"))
			a->says_close = true;
		else if (equals_caseless(word, "keep-alive"))
			a->says_keep_alive = true;
	}
	return ANSWER_WHOLE;
}

/* "timeout=5, max=100". Only a hint, so what cannot be understood is let pass. */
static enum answer_result read_keep_alive(struct answer *a, struct span value)
{
	while (value.len > 0) {
		struct span word = text_trim(text_cut(&value, ','));
		struct span name = text_trim(text_cut(&word, '='));

		if (!equals_caseless(name, "timeout") ||
			text_parse_u64(text_trim(word), &a->keep_for_s) == ERR_OK)
			continue;
		a->keep_for_s = 0;
	}
	return ANSWER_WHOLE;
}

/* The same length said twice, in one line or in two, is still one length. */
static enum answer_result read_length(struct answer *a, struct span value)
{
	do {
		uint64_t length;

		if (text_parse_u64(text_trim(text_cut(&value, ',')), &length) != ERR_OK)
			return broken(a, "Content-Length is no number");
		if (a->has_length && a->length != length)
			return broken(a, "two different Content-Lengths");
		a->has_length = true;
		a->length = length;
	} while (value.at != NULL);
	return ANSWER_WHOLE;
}

static enum answer_result read_coding(struct answer *a, struct span value)
{
	if (a->is_chunked || !equals_caseless(value, "chunked"))
		return broken(a, "a transfer coding that was not asked for");
	a->is_chunked = true;
	return ANSWER_WHOLE;
}

static struct answer_part part_of(const struct buf *in, struct span span)
{
	return (struct answer_part){ .at = span.len == 0 ? 0 : (size_t)(span.at - in->at),
		.len = span.len };
}

static enum answer_result read_header(
	struct answer *a, const struct buf *in, struct span name, struct span value)
{
	/* Most headers are none of ours: length and first letter tell. */
	switch (name.len << 8 | ((unsigned char)name.at[0] | 0x20u)) {
	case 14 << 8 | 'c':
		if (equals_caseless(name, "Content-Length"))
			return read_length(a, value);
		break;
	case 17 << 8 | 't':
		if (equals_caseless(name, "Transfer-Encoding"))
			return read_coding(a, value);
		break;
	case 10 << 8 | 'c':
		if (equals_caseless(name, "Connection"))
			return read_connection(a, value);
		break;
	case 10 << 8 | 'k':
		if (equals_caseless(name, "Keep-Alive"))
			return read_keep_alive(a, value);
		break;
	case 12 << 8 | 'c':
		if (!equals_caseless(name, "Content-Type"))
			break;
		if (has_control(value))
			return broken(a, "a control character in Content-Type");
		a->content_type = part_of(in, value);
		break;
	case 11 << 8 | 'r':
		if (equals_caseless(name, "Retry-After"))
			a->retry_after = part_of(in, value);
		break;
	default:
		break;
	}
	return ANSWER_WHOLE;
}

static void begin_body(struct answer *a, enum answer_phase phase)
{
	a->body.at = a->at;
	a->phase = phase;
}

static enum answer_result end_head(struct answer *a)
{
	if (a->http_status == 101)
		return broken(a, "a change of protocol that was not asked for");
	if (a->http_status < 200) {
		/* RFC 9110 section 15.2: such an answer has no body. One that says it has
		 * was meant to be the last. */
		if (a->has_length || a->is_chunked)
			return broken(a, "a 1xx for an answer");
		a->phase = ANSWER_STATUS;
		return ANSWER_WHOLE;
	}
	/* RFC 9112 section 6.3: who says both may mean to smuggle something. */
	if (a->has_length && a->is_chunked)
		return broken(a, "both Content-Length and Transfer-Encoding");
	if (a->http_status == 204 || a->http_status == 304) {
		a->is_chunked = false;
		a->has_length = true;
		a->length = 0;
	}
	if (a->is_chunked) {
		begin_body(a, ANSWER_CHUNKS);
		chunks_init(&a->chunks, a->at, a->max_body_bytes, a->max_head_bytes - a->at);
		return ANSWER_WHOLE;
	}
	if (a->has_length && a->length > a->max_body_bytes)
		return too_large(a);
	begin_body(a, a->has_length ? ANSWER_LENGTH : ANSWER_UNTIL_END);
	return ANSWER_WHOLE;
}

static enum answer_result read_header_line(
	struct answer *a, const struct buf *in, struct span line)
{
	const char *colon = memchr(line.at, ':', line.len);

	if (line.len == 0)
		return end_head(a);
	if (line.at[0] == ' ' || line.at[0] == '\t')
		return broken(a, "a header continues on the next line");
	if (colon == NULL)
		return broken(a, "a header without a colon");
	struct span name = { .at = line.at, .len = (size_t)(colon - line.at) };

	if (name.len == 0 || name.at[name.len - 1] == ' ' || name.at[name.len - 1] == '\t')
		return broken(a, "a header's name is not a token");
	return read_header(a, in, name, text_trim(span_after(line, name.len + 1)));
}

static enum answer_result read_head(struct answer *a, const struct buf *in)
{
	const char *lf = in->len == a->seen ? NULL
					    : memchr(in->at + a->seen, '\n', in->len - a->seen);
	size_t end = lf == NULL ? in->len : (size_t)(lf - in->at) + 1;

	if (end > a->max_head_bytes)
		return broken(a, "the head is too large");
	if (lf == NULL) {
		a->seen = in->len;
		/* Do not wait for a line's end of what never was HTTP. */
		if (a->phase == ANSWER_STATUS && in->len - a->at >= 5 &&
			memcmp(in->at + a->at, "HTTP/", 5) != 0)
			return broken(a, "this is no HTTP/1.1");
		return ANSWER_MORE;
	}
	struct span line = { .at = in->at + a->at, .len = end - 1 - a->at };

	/* A bare LF is taken for a line's end (RFC 9112 section 2.2). */
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	a->at = end;
	a->seen = end;
	return a->phase == ANSWER_STATUS ? read_status_line(a, line)
					 : read_header_line(a, in, line);
}

/* -- bodies ------------------------------------------------------------------------------ */

static enum answer_result finish(struct answer *a, const struct buf *in, size_t body_end)
{
	a->body.len = body_end - a->body.at;
	a->has_surplus = in->len > body_end;
	a->phase = ANSWER_DONE;
	return ANSWER_WHOLE;
}

static enum answer_result read_chunks(struct answer *a, struct buf *in)
{
	switch (chunks_feed(&a->chunks, in)) {
	case CHUNKS_MORE:
		return ANSWER_MORE;
	case CHUNKS_WHOLE:
		return finish(a, in, a->chunks.body_end);
	case CHUNKS_TOO_LARGE:
		return too_large(a);
	case CHUNKS_TRAILER_TOO_LARGE:
		return broken(a, "the trailer is too large");
	case CHUNKS_BROKEN:
		break;
	}
	return broken(a, "a chunk is none");
}

void answer_init(struct answer *a, size_t max_head_bytes, size_t max_body_bytes)
{
	*a = (struct answer){
		.max_head_bytes = max_head_bytes,
		.max_body_bytes = max_body_bytes,
		.why = "",
	};
}

static enum answer_result read_on(struct answer *a, struct buf *in)
{
	switch (a->phase) {
	case ANSWER_STATUS:
	case ANSWER_HEADERS:
		return read_head(a, in);
	case ANSWER_LENGTH:
		if (in->len - a->body.at < a->length)
			return ANSWER_MORE;
		return finish(a, in, a->body.at + (size_t)a->length);
	case ANSWER_CHUNKS:
		return read_chunks(a, in);
	case ANSWER_UNTIL_END:
		if (in->len - a->body.at > a->max_body_bytes)
			return too_large(a);
		return ANSWER_MORE;
	case ANSWER_DONE:
		break;
	}
	return ANSWER_WHOLE;
}

enum answer_result answer_feed(struct answer *a, struct buf *in)
{
	enum answer_result result = ANSWER_WHOLE;

	while (result == ANSWER_WHOLE && a->phase != ANSWER_DONE)
		result = read_on(a, in);
	return result;
}

enum answer_result answer_end(struct answer *a, const struct buf *in)
{
	if (a->phase != ANSWER_UNTIL_END)
		return ANSWER_MORE;
	a->says_close = true;
	return finish(a, in, in->len);
}

size_t answer_wanted_bytes(const struct answer *a, const struct buf *in)
{
	if (a->phase != ANSWER_LENGTH)
		return READ_BYTES;
	uint64_t missing = a->length - (in->len - a->body.at);

	if (missing < READ_BYTES)
		return READ_BYTES;
	return missing > READ_MAX_BYTES ? READ_MAX_BYTES : (size_t)missing;
}

bool answer_keeps(const struct answer *a)
{
	if (a->says_close || a->has_surplus || (a->is_chunked && a->has_length))
		return false;
	return a->is_http_1_1 || (a->says_keep_alive && !a->is_chunked);
}

struct span answer_span(const struct buf *in, struct answer_part part)
{
	if (part.len == 0)
		return (struct span){ 0 };
	return (struct span){ .at = in->at + part.at, .len = part.len };
}

bool answer_retry_after_ms(struct span value, uint64_t now_unix_ms, uint64_t *out)
{
	uint64_t seconds;

	if (text_parse_u64(value, &seconds) == ERR_OK) {
		*out = (seconds < CENTURY_S ? seconds : CENTURY_S) * 1000;
		return seconds > 0;
	}
	char text[DATE_BYTES + 1];
	struct tm tm = { 0 };

	if (value.len != DATE_BYTES)
		return false;
	memcpy(text, value.at, DATE_BYTES);
	text[DATE_BYTES] = '\0';
	const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	time_t at_s = end == NULL || *end != '\0' ? -1 : timegm(&tm);

	if (at_s <= 0 || (uint64_t)at_s * 1000 <= now_unix_ms)
		return false;
	*out = (uint64_t)at_s * 1000 - now_unix_ms;
	if (*out > CENTURY_S * 1000)
		*out = CENTURY_S * 1000;
	return true;
}
