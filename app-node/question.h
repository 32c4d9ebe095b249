/* question.h - one delivery as the handler is asked about it: path, headers, parameters, time.
 *
 * Layer: app-node. Uses: base, message, http. Never: a crossing, who may run when. Thread: the
 * loop's. */
#ifndef SALLYPORT_NODE_QUESTION_H
#define SALLYPORT_NODE_QUESTION_H

#include <stdint.h>

#include "base/id.h"
#include "http/client.h"

/* Borrowed, body until the call has ended. */
struct question {
	const char *op;
	const char *host; /* that it came from */
	struct id id;
	struct span key;         /* empty: none */
	struct span traceparent; /* left out unless it has the form of one */
	struct span body;
	uint64_t attempt;
	uint64_t deadline_ms; /* > 0 */
};

/* As http_client_send(). */
WARN_UNUSED enum err question_put(struct http_client *client, const struct http_target *target,
	const struct question *q, struct http_call *call);

#endif
