/* ask.h - one question to a running daemon's local API, for the command line.
 *
 * Layer: daemon. Uses: base, loop, http. Thread: the caller's. */
#ifndef SALLYPORT_DAEMON_ASK_H
#define SALLYPORT_DAEMON_ASK_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/server.h"

struct ask {
	const char *socket; /* path */
	enum http_method method;
	const char *path;
	struct span body;
	const struct http_header *headers;
	size_t header_count;
	uint64_t timeout_ms;
};

/* Takes:   everything is borrowed for the call. The answer's body is appended to `out`; without
 *          an answer, a sentence that says why there is none.
 * Returns: ERR_OK and *status_out; ERR_INPUT (the socket's path or a header is impossible); any
 *          other error when no answer came.
 * Blocks:  until the answer or the timeout. */
WARN_UNUSED enum err ask_daemon(const struct ask *ask, struct buf *out, unsigned *status_out);

#endif
