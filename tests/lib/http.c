#include "http.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/span.h"
#include "base/text.h"
#include "must.h"

enum { ANSWER_MS = 15000, REQUEST_MAX = 300 * 1024 };

int http_connect(const char *socket_path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	must_format(at.sun_path, sizeof at.sun_path, "%s", socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	int kept = errno;

	(void)close(fd);
	errno = kept;
	return -1;
}

int must_http_connect(const char *socket_path)
{
	int fd = http_connect(socket_path);

	if (fd < 0)
		must_fail("%s: %s", socket_path, strerror(errno));
	return fd;
}

bool http_write(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t count = send(fd, at, len, MSG_NOSIGNAL);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		at += count;
		len -= (size_t)count;
	}
	return true;
}

/* What has come so far: the head, and the raw bytes behind it in the body. */
struct reading {
	struct answer *out;
	size_t head_len; /* 0 = not complete */
	size_t raw_len;
	bool has_ended;
};

/* Reads once. False when nothing came in time or the peer has ended. */
static bool read_some(int fd, struct deadline d, char *to, size_t room, size_t *len)
{
	if (room == 0 || !must_wait_readable(fd, d))
		return false;
	ssize_t count = recv(fd, to, room, 0);

	if (count <= 0)
		return false;
	*len += (size_t)count;
	return true;
}

static bool read_head(int fd, struct deadline d, struct reading *r)
{
	char *head = r->out->head;
	size_t len = 0;

	for (;;) {
		const char *end = memmem(head, len, "\r\n\r\n", 4);

		if (end != NULL) {
			r->head_len = (size_t)(end - head) + 4;
			r->raw_len = len - r->head_len;
			memcpy(r->out->body, head + r->head_len, r->raw_len);
			head[r->head_len] = '\0';
			break;
		}
		if (!read_some(fd, d, head + len, HTTP_TEST_HEAD_MAX - len, &len))
			return false;
		head[len] = '\0';
	}
	uint64_t status = 0;

	if (r->head_len < 12 || strncmp(head, "HTTP/1.", 7) != 0 ||
		text_parse_u64((struct span){ .at = head + 9, .len = 3 }, &status) != ERR_OK)
		return false;
	r->out->status = (int)status;
	return true;
}

/* Takes the chunks in `body` apart in place. True when the last one is there. */
static bool join_chunks(char *body, size_t raw_len, size_t *body_len)
{
	size_t at = 0;
	size_t len = 0;

	for (;;) {
		char *end = memmem(body + at, raw_len - at, "\r\n", 2);

		if (end == NULL)
			return false;
		size_t size = strtoul(body + at, NULL, 16);
		size_t from = (size_t)(end - body) + 2;

		if (size == 0) {
			*body_len = len;
			return true;
		}
		if (from + size + 2 > raw_len)
			return false;
		memmove(body + len, body + from, size);
		len += size;
		at = from + size + 2;
	}
}

bool http_read_answer(int fd, uint64_t within_ms, struct answer *out)
{
	struct deadline d = deadline_in_ms(within_ms);
	struct reading r = { .out = out };
	char text[32];
	uint64_t wanted = UINT64_MAX;

	out->status = 0;
	out->head[0] = '\0';
	out->body[0] = '\0';
	out->body_len = 0;
	do {
		if (!read_head(fd, d, &r))
			return false;
	} while (out->status == 100 && r.raw_len == 0);
	bool is_chunked = answer_header(out, "Transfer-Encoding", text, sizeof text);

	if (out->status == 204 || out->status == 304)
		wanted = 0;
	else if (answer_header(out, "Content-Length", text, sizeof text) &&
		 text_parse_u64(span_of(text), &wanted) != ERR_OK)
		return false;
	while (!is_chunked && r.raw_len < wanted) {
		if (!read_some(fd, d, out->body + r.raw_len, HTTP_TEST_BODY_MAX - r.raw_len,
			    &r.raw_len)) {
			if (wanted != UINT64_MAX || deadline_has_passed(d))
				return false;
			break;
		}
	}
	out->body_len = r.raw_len;
	if (is_chunked) {
		char *copy = malloc(HTTP_TEST_BODY_MAX);
		bool is_whole = false;

		while (copy != NULL && !is_whole) {
			memcpy(copy, out->body, r.raw_len);
			is_whole = join_chunks(copy, r.raw_len, &out->body_len);
			if (!is_whole && !read_some(fd, d, out->body + r.raw_len,
						 HTTP_TEST_BODY_MAX - r.raw_len, &r.raw_len))
				break;
		}
		if (is_whole)
			memcpy(out->body, copy, out->body_len);
		free(copy);
		if (!is_whole)
			return false;
	}
	out->body[out->body_len] = '\0';
	return true;
}

bool http_is_closed(int fd, uint64_t within_ms)
{
	struct deadline d = deadline_in_ms(within_ms);
	char bytes[4096];

	while (must_wait_readable(fd, d)) {
		ssize_t count = recv(fd, bytes, sizeof bytes, 0);

		if (count == 0 || (count < 0 && errno != EINTR))
			return true;
	}
	return false;
}

bool http_ask(const char *socket_path, const char *method, const char *path,
	const char *headers, const char *body, uint64_t within_ms, struct answer *out)
{
	uint64_t start_us = clock_mono_us();
	size_t body_len = body == NULL ? 0 : strlen(body);
	char *request = malloc(REQUEST_MAX);

	out->status = 0;
	out->head[0] = '\0';
	out->body[0] = '\0';
	out->body_len = 0;
	if (request == NULL)
		return false;
	int len = snprintf(request, REQUEST_MAX,
		"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s"
		"Content-Length: %zu\r\n\r\n%s",
		method, path, headers == NULL ? "" : headers, body_len,
		body == NULL ? "" : body);
	int fd = len > 0 && len < REQUEST_MAX ? http_connect(socket_path) : -1;
	/* A server that has seen enough answers before it has read everything. */
	if (fd >= 0)
		(void)http_write(fd, request, (size_t)len);
	bool is_answered = fd >= 0 && http_read_answer(fd, within_ms, out);

	free(request);
	if (fd >= 0)
		(void)close(fd);
	out->took_us = clock_mono_us() - start_us;
	return is_answered;
}

static void must_ask(const char *socket_path, const char *method, const char *path,
	const char *body, struct answer *out)
{
	if (!http_ask(socket_path, method, path, NULL, body, ANSWER_MS, out))
		must_fail("%s %s: no answer", method, path);
}

void must_call(const char *socket_path, const char *op, const char *body, struct answer *out)
{
	char path[128];

	must_format(path, sizeof path, "/v1/call/%s", op);
	must_ask(socket_path, "POST", path, body, out);
}

void must_send(const char *socket_path, const char *op, const char *body, struct answer *out)
{
	char path[128];

	must_format(path, sizeof path, "/v1/send/%s", op);
	must_ask(socket_path, "POST", path, body, out);
}

void must_get(const char *socket_path, const char *path, struct answer *out)
{
	must_ask(socket_path, "GET", path, NULL, out);
}

struct span head_field(struct span head, const char *name)
{
	size_t name_len = strlen(name);

	while (head.len != 0) {
		struct span line = text_cut(&head, '\n');

		if (line.len > name_len && line.at[name_len] == ':' &&
			strncasecmp(line.at, name, name_len) == 0) {
			line.at += name_len + 1;
			line.len -= name_len + 1;
			if (line.len != 0 && line.at[line.len - 1] == '\r')
				line.len--;
			return text_trim(line);
		}
	}
	return (struct span){ 0 };
}

bool answer_header(const struct answer *a, const char *name, char *to, size_t room)
{
	struct span value = head_field(span_of(a->head), name);

	return value.at != NULL && snprintf(to, room, "%.*s", SPAN_ARG(value)) < (int)room;
}

void expect_status(const struct answer *a, int status)
{
	if (a->status != status)
		must_fail("expected status %d, got %d:\n%s%.2000s", status, a->status, a->head,
			a->body);
}

void expect_body(const struct answer *a, const char *body)
{
	if (strcmp(a->body, body) != 0)
		must_fail("expected the body %.1000s\ngot %d:\n%.2000s", body, a->status,
			a->body);
}

void expect_body_has(const struct answer *a, const char *part)
{
	if (strstr(a->body, part) == NULL)
		must_fail("expected %.500s in the answer, got %d:\n%.3000s", part, a->status,
			a->body);
}

void expect_problem(const struct answer *a, int status, const char *type)
{
	char text[160];

	expect_status(a, status);
	if (!answer_header(a, "Content-Type", text, sizeof text) ||
		strcmp(text, "application/problem+json") != 0)
		must_fail("expected a problem document, got:\n%s%.1000s", a->head, a->body);
	must_format(text, sizeof text, "\"type\":\"urn:sallyport:problem:%s\"", type);
	expect_body_has(a, text);
}
