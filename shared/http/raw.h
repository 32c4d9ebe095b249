/* raw.h - whole HTTP answers as bytes.
 *
 * Layer: http. Uses: base. Never: a socket. Thread: any. */
#ifndef SALLYPORT_HTTP_RAW_H
#define SALLYPORT_HTTP_RAW_H

#include "base/buf.h"
#include "http/problem.h"
#include "http/server.h"

/* What becomes of the connection after the answer, and must be said of it. */
enum raw_after {
	RAW_CLOSES = 0,
	RAW_STAYS,        /* HTTP/1.1 says nothing then */
	RAW_STAYS_FOR_1_0 /* HTTP/1.0 wants to hear it */
};

/* Appends all but the body, whose length it tells. Ask buf_status(). */
void raw_head(const struct http_answer *answer, enum raw_after after, struct buf *out);

/* 204 and 304 have none. */
struct span raw_body(const struct http_answer *answer);

/* These append a whole answer that says `Connection: close`, the last without its body: what a
 * HEAD may get. A 405 names all methods that anything here takes. Ask buf_status(). */
void raw_answer(const struct http_answer *answer, struct buf *out);
void raw_problem(const struct problem *problem, struct buf *out);
void raw_problem_head(const struct problem *problem, struct buf *out);

/* Whether name and value may stand in a header: a token, and no control characters. */
bool raw_header_is_fine(const char *name, const char *value);

/* Digits of the Retry-After header: whole seconds, rounded up. */
struct raw_seconds {
	char at[24];
};
struct raw_seconds raw_retry_after(uint64_t ms);

/* RFC 9110 token: what a header's name is made of. */
bool raw_is_token(struct span text);

#endif
