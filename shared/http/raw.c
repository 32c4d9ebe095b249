#include "http/raw.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_token_char(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
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

void raw_answer(const struct http_answer *answer, struct buf *out)
{
	/* The reason phrase may be empty (RFC 9112 section 4); the blank before it may not. */
	buf_format(out, "HTTP/1.1 %u \r\nConnection: close\r\nContent-Length: %zu\r\n",
		answer->status, answer->body.len);
	if (answer->content_type != NULL &&
		raw_header_is_fine("Content-Type", answer->content_type))
		buf_format(out, "Content-Type: %s\r\n", answer->content_type);
	for (size_t i = 0; i < answer->header_count; i++) {
		const struct http_header *h = &answer->headers[i];

		if (raw_header_is_fine(h->name, h->value))
			buf_format(out, "%s: %s\r\n", h->name, h->value);
	}
	buf_text(out, "\r\n");
	buf_append(out, answer->body);
}

void raw_problem(const struct problem *problem, struct buf *out)
{
	struct buf body;

	buf_init(&body, KIB(64));
	problem_format(problem, &body);
	struct raw_seconds seconds = raw_retry_after(problem->retry_after_ms);
	struct http_header retry = { .name = "Retry-After", .value = seconds.at };

	raw_answer(
		&(struct http_answer){
			.status = problem_status(problem->type),
			.content_type = PROBLEM_MEDIA_TYPE,
			.body = buf_span(&body),
			.headers = &retry,
			.header_count = problem->retry_after_ms > 0 ? 1 : 0,
		},
		out);
	buf_fini(&body);
}
