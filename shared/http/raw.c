#include "http/raw.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_token_char(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-')
		return true;
	return c != '\0' && strchr("!#$%&'*+.^_`|~", c) != NULL;
}

bool raw_is_token(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!is_token_char(text.at[i]))
			return false;
	return text.len > 0;
}

bool raw_header_is_fine(const char *name, const char *value)
{
	if (!raw_is_token(span_of(name)))
		return false;
	for (const char *p = value; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return true;
}

struct raw_seconds raw_retry_after(uint64_t ms)
{
	struct raw_seconds seconds;

	snprintf(seconds.at, sizeof(seconds.at), "%" PRIu64, ms / 1000 + (ms % 1000 != 0));
	return seconds;
}

/* Those that anybody here answers; the phrase of another may be empty (RFC 9112 section 4). */
static const char *reason_of(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} rows[] = {
		{ 200, "OK" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 421, "Misdirected Request" },
		{ 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
		{ 507, "Insufficient Storage" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		if (rows[i].status == status)
			return rows[i].text;
	return "";
}

static void add_number(struct buf *out, size_t n)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	buf_append(out, (struct span){ .at = digits + at, .len = sizeof(digits) - at });
}

static void add_header(struct buf *out, const char *name, const char *value)
{
	if (!raw_header_is_fine(name, value))
		return;
	buf_text(out, name);
	buf_text(out, ": ");
	buf_text(out, value);
	buf_text(out, "\r\n");
}

static bool has_body(unsigned status)
{
	return status != 204 && status != 304;
}

void raw_head(const struct http_answer *answer, enum raw_after after, struct buf *out)
{
	static const char *const connection[] = {
		[RAW_CLOSES] = "Connection: close\r\n",
		[RAW_STAYS] = "",
		[RAW_STAYS_FOR_1_0] = "Connection: keep-alive\r\n",
	};

	buf_text(out, "HTTP/1.1 ");
	add_number(out, answer->status);
	buf_text(out, " ");
	buf_text(out, reason_of(answer->status));
	buf_text(out, "\r\n");
	buf_text(out, connection[after]);
	if (has_body(answer->status)) {
		buf_text(out, "Content-Length: ");
		add_number(out, answer->body.len);
		buf_text(out, "\r\n");
	}
	if (answer->content_type != NULL)
		add_header(out, "Content-Type", answer->content_type);
	for (size_t i = 0; i < answer->header_count; i++)
		add_header(out, answer->headers[i].name, answer->headers[i].value);
	buf_text(out, "\r\n");
}

struct span raw_body(const struct http_answer *answer)
{
	return has_body(answer->status) ? answer->body : (struct span){ 0 };
}

void raw_answer(const struct http_answer *answer, struct buf *out)
{
	raw_head(answer, RAW_CLOSES, out);
	buf_append(out, raw_body(answer));
}

enum problem_part { PROBLEM_WHOLE = 0, PROBLEM_HEAD };

static void add_problem(const struct problem *problem, enum problem_part part, struct buf *out)
{
	struct buf body;
	struct http_header headers[2];
	size_t count = 0;

	buf_init(&body, KIB(64));
	problem_format(problem, &body);
	struct raw_seconds seconds = raw_retry_after(problem->retry_after_ms);

	if (problem->retry_after_ms > 0)
		headers[count++] = (struct http_header){ "Retry-After", seconds.at };
	if (problem->type == PROBLEM_WRONG_METHOD)
		headers[count++] = (struct http_header){ "Allow", "GET, POST, PUT, DELETE" };
	struct http_answer answer = {
		.status = problem_status(problem->type),
		.content_type = PROBLEM_MEDIA_TYPE,
		.body = buf_span(&body),
		.headers = headers,
		.header_count = count,
	};

	raw_head(&answer, RAW_CLOSES, out);
	if (part == PROBLEM_WHOLE)
		buf_append(out, answer.body);
	buf_fini(&body);
}

void raw_problem(const struct problem *problem, struct buf *out)
{
	add_problem(problem, PROBLEM_WHOLE, out);
}

void raw_problem_head(const struct problem *problem, struct buf *out)
{
	add_problem(problem, PROBLEM_HEAD, out);
}
