/* reply.h - what goes back to the web host that called: a result, or a problem.
 *
 * A reply that cannot be sent shows up as the caller's deadline; it is counted and logged.
 * Layer: app-node. Uses: base, message, http (problems), crossing. Thread: the loop's. */
#ifndef SALLYPORT_NODE_REPLY_H
#define SALLYPORT_NODE_REPLY_H

#include "app-node/crossing.h"
#include "http/problem.h"

/* The call that is answered. Spans are borrowed. */
struct reply_to {
	struct crossing *crossing;
	struct id id;
	struct span op;
	uint64_t time_left_ms;
};

/* body is JSON, or a problem document. */
void reply_with(const struct reply_to *to, enum message_content content, struct span body);

/* A problem of our own; it gets the call's id, and where waiting helps says how long. */
void reply_problem(const struct reply_to *to, const struct problem *problem);

#endif
