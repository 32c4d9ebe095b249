/* target.h - where handlers answer: a Unix socket or a loopback address, and nothing else.
 *
 * http+unix:///path/to.sock   http://127.0.0.1:PORT[/base]   http://[::1]:PORT[/base]
 * http://localhost:PORT[/base]
 * Layer: http. Uses: base. Never: the network, a name server. Thread: any. */
#ifndef SALLYPORT_HTTP_TARGET_H
#define SALLYPORT_HTTP_TARGET_H

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum { HTTP_TARGET_PATH_BYTES = 108, HTTP_TARGET_BASE_BYTES = 256 };

struct http_target {
	char socket_path[HTTP_TARGET_PATH_BYTES]; /* empty: TCP */
	char base[HTTP_TARGET_BASE_BYTES]; /* scheme, authority and base path, no '/' at the end
					    */
};

/* Returns: ERR_OK, or ERR_INPUT with a sentence in *why (static storage) that says what is
 *          wrong and what would be right. */
WARN_UNUSED enum err http_target_parse(
	struct span text, struct http_target *out, const char **why);

/* Whether text may follow a target's base: begins with '/', printable ASCII, no blank, no '#'.
 */
bool http_target_path_is_fine(struct span text);

#endif
