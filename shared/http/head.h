/* head.h - whether the head of a request can be served: judged before its body is read.
 *
 * Layer: http. Uses: base. Never: a socket. Thread: any. */
#ifndef SALLYPORT_HTTP_HEAD_H
#define SALLYPORT_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"
#include "http/problem.h"
#include "http/server.h"

/* What is known of a head: facts filled in by the caller, the headers by head_add(). */
struct head {
	bool is_http_1_1; /* or later; else 1.0 */
	enum peer_kind from;

	unsigned host_count;
	unsigned length_count;
	unsigned coding_count;
	struct span host;
	struct span length;
	struct span coding;
	bool says_close;      /* Connection: close */
	bool says_keep_alive; /* Connection: keep-alive */
	bool wants_continue;  /* Expect: 100-continue */

	size_t body_bytes; /* head_judge() found it; 0 of a chunked one */
};

struct head_limits {
	size_t max_header_bytes;
	size_t max_body_bytes;
};

/* Borrows value for as long as head is asked. */
void head_add(struct head *head, struct span name, struct span value);

/* Returns: ERR_OK, or ERR_INPUT with the problem to answer in *out. */
WARN_UNUSED enum err head_judge(
	struct head *head, const struct head_limits *limits, struct problem *out);

/* Whether the connection may carry another request after this one. */
bool head_keeps_alive(const struct head *head);

enum http_method head_method_parse(struct span text);

/* A target as it was sent: a path, printable ASCII. */
bool head_target_is_fine(struct span target);

enum head_plus { HEAD_PLUS_STAYS = 0, HEAD_PLUS_IS_BLANK };

/* Percent-decodes in place, and strictly: %00 would cut the text short for everybody who comes
 * after.
 * Returns: ERR_OK and the length in *out_len, or ERR_INPUT; text is spoiled then. */
WARN_UNUSED enum err head_unescape(
	char *text, size_t len, enum head_plus plus, size_t *out_len);

#endif
