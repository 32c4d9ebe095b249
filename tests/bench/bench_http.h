/* bench_http.h - one keep-alive HTTP/1.1 client connection to a Unix socket, by hand: what a
 * careful web process would hold, and as little of it as possible in the measure.
 *
 * Layer: tests. Uses: base. */
#ifndef SALLYPORT_BENCH_HTTP_H
#define SALLYPORT_BENCH_HTTP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum { BENCH_HTTP_MAX_ANSWER = 1024 * 1024 };

enum bench_http_wait { BENCH_HTTP_BLOCKING = 0, BENCH_HTTP_POLLED };

struct bench_http {
	int fd;          /* -1 = closed */
	struct buf in;   /* the answer as far as it has come */
	size_t head_len; /* 0 = the head is not complete yet */
	size_t body_len;
	int status;
};

/* Connects. Returns ERR_OK, or ERR_LINK after saying why on stderr. */
WARN_UNUSED enum err bench_http_open(
	struct bench_http *h, const char *socket_path, enum bench_http_wait wait);

/* A zeroed or closed connection is fine. */
void bench_http_close(struct bench_http *h);

/* The bytes of a POST, to be sent again and again. Appends to `out`. */
void bench_http_request(struct buf *out, const char *path, struct span body);

/* Sends a whole request. Returns ERR_OK or ERR_LINK. */
WARN_UNUSED enum err bench_http_send(struct bench_http *h, struct span request);

/* Reads what is there. Returns ERR_OK when the answer is complete (status and body may be
 * asked), ERR_BUSY when a polled connection has no more bytes for now, ERR_LINK when the
 * connection ended, ERR_PROTOCOL when this is no HTTP answer with a length. */
WARN_UNUSED enum err bench_http_take(struct bench_http *h);

/* The body of the complete answer, borrowed until the next send. */
struct span bench_http_body(const struct bench_http *h);

#endif
