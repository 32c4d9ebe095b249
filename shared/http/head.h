/* head.h - whether the head of a request can be served: judged before its body is read.
 *
 * Stricter than the library, which tolerates what another reader of the same bytes may
 * understand differently.
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
	const char *method;
	bool is_http_1_1;      /* or later; else 1.0 */
	bool target_is_broken; /* head_target_is_fine() or head_unescape() said so */
	size_t target_bytes;
	size_t bytes; /* request line and headers */
	enum peer_kind from;

	unsigned host_count;
	unsigned length_count;
	unsigned coding_count;
	struct span host;
	struct span length; /* digits: the library has refused what is none */
	struct span coding;
	bool has_broken_name;
};

struct head_limits {
	size_t max_header_bytes;
	size_t max_body_bytes;
};

/* Borrows value for as long as head is asked. */
void head_add(struct head *head, struct span name, struct span value);

/* Returns: ERR_OK, or ERR_INPUT with the problem to answer in *out. */
WARN_UNUSED enum err head_judge(
	const struct head *head, const struct head_limits *limits, struct problem *out);

WARN_UNUSED enum err head_method_parse(const char *text, enum http_method *out);

/* A target as it was sent: a path, printable ASCII. NULL is not fine. */
bool head_target_is_fine(const char *target);

/* Percent-decodes in place, and strictly: %00 would cut the text short for everybody who comes
 * after.
 * Returns: ERR_OK and the length in *out_len, or ERR_INPUT; text then ends where it broke. */
WARN_UNUSED enum err head_unescape(char *text, size_t *out_len);

#endif
