/* http.h - a plain blocking HTTP/1.1 client on a Unix socket: one connection, one request.
 *
 * Layer: tests. Uses: must. Thread: any (the must_ ones: the test's). */
#ifndef SALLYPORT_TEST_HTTP_H
#define SALLYPORT_TEST_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "base/span.h"

enum { HTTP_TEST_BODY_MAX = 512 * 1024, HTTP_TEST_HEAD_MAX = 16 * 1024 };

struct answer {
	int status;                        /* 0: there was no answer */
	char head[HTTP_TEST_HEAD_MAX + 1]; /* from the status line on */
	char body[HTTP_TEST_BODY_MAX + 1]; /* NUL-terminated beyond its end */
	size_t body_len;
	uint64_t took_us;
};

/* Connects. Returns -1 with errno set. */
int http_connect(const char *socket_path);
int must_http_connect(const char *socket_path);

/* Sends all. False when the peer would not take it. Never raises SIGPIPE. */
bool http_write(int fd, const void *bytes, size_t len);

/* Reads one whole answer: by Content-Length, chunks, or until the peer closes. False when there
 * was none within the time. Leaves what it got in `out`. */
bool http_read_answer(int fd, uint64_t within_ms, struct answer *out);

/* The peer closes the connection within the time (whatever it sends before). */
bool http_is_closed(int fd, uint64_t within_ms);

/* One request on a connection of its own. headers may be NULL or hold "Name: value\r\n" lines.
 * False when there was no answer within the time; *out may be asked for status 0 then. */
bool http_ask(const char *socket_path, const char *method, const char *path,
	const char *headers, const char *body, uint64_t within_ms, struct answer *out);

/* POST /v1/call/OP: whatever the answer, there must be one. */
void must_call(const char *socket_path, const char *op, const char *body, struct answer *out);
void must_send(const char *socket_path, const char *op, const char *body, struct answer *out);
void must_get(const char *socket_path, const char *path, struct answer *out);

/* The value of a field in the head of a request or an answer, borrowed from it; at is NULL when
 * there is none. */
struct span head_field(struct span head, const char *name);

/* The value of a header of the answer, copied; false when it has none. */
bool answer_header(const struct answer *a, const char *name, char *to, size_t room);

/* Compare; a difference fails the test and shows the whole answer. */
void expect_status(const struct answer *a, int status);
void expect_body(const struct answer *a, const char *body);
void expect_body_has(const struct answer *a, const char *part);

/* A problem document (RFC 9457) of this status and type: "deadline-exceeded". */
void expect_problem(const struct answer *a, int status, const char *type);

#endif
