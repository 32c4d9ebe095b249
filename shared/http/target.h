/* target.h - where handlers answer: a Unix socket or a loopback address, and nothing else.
 *
 * http+unix:///path/to.sock   http://127.0.0.1:PORT[/base]   http://[::1]:PORT[/base]
 * http://localhost:PORT[/base]
 * Layer: http. Uses: base. Never: the network, a name server. Thread: any. */
#ifndef SALLYPORT_HTTP_TARGET_H
#define SALLYPORT_HTTP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum { HTTP_TARGET_PATH_BYTES = 108, HTTP_TARGET_BASE_BYTES = 256 };

enum http_target_kind {
	HTTP_TARGET_UNIX = 0,
	HTTP_TARGET_IPV4,      /* 127.0.0.1 */
	HTTP_TARGET_IPV6,      /* ::1 */
	HTTP_TARGET_LOCALHOST, /* the one, and if nobody answers there, the other */
};

/* The place: two with the same can share connections. */
struct http_place {
	enum http_target_kind kind;
	uint16_t port;                            /* 0: Unix */
	char socket_path[HTTP_TARGET_PATH_BYTES]; /* empty: TCP */
};

struct http_target {
	struct http_place place;
	char host[24];                     /* of the Host header: localhost, 127.0.0.1:8080 */
	char base[HTTP_TARGET_BASE_BYTES]; /* what each path begins with, no '/' at its end */
};

/* Returns: ERR_OK, or ERR_INPUT with a sentence in *why (static storage) that says what is
 *          wrong and what would be right. */
WARN_UNUSED enum err http_target_parse(
	struct span text, struct http_target *out, const char **why);

bool http_place_equals(const struct http_place *a, const struct http_place *b);

/* For log lines and errors: /run/handlers.sock, localhost:8080. */
struct http_place_text {
	char at[HTTP_TARGET_PATH_BYTES];
};
struct http_place_text http_place_format(const struct http_place *place);

/* Whether text may follow a target's base: begins with '/', printable ASCII, no blank, no '#'.
 */
bool http_target_path_is_fine(struct span text);

#endif
