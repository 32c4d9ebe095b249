/* raw.h - whole HTTP answers as bytes, for connections that no library answers (any more).
 *
 * Layer: http. Uses: base. Never: a socket. Thread: any. */
#ifndef SALLYPORT_HTTP_RAW_H
#define SALLYPORT_HTTP_RAW_H

#include "base/buf.h"
#include "http/problem.h"
#include "http/server.h"

/* Both append an answer that says `Connection: close`. Ask buf_status(). */
void raw_answer(const struct http_answer *answer, struct buf *out);
void raw_problem(const struct problem *problem, struct buf *out);

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
