/* call.h - what becomes of a call: its caller is told, once, before the deadline if at all.
 *
 * Calls are acknowledged on receipt and run at most once: one that is lost with this node shows
 * up as its caller's deadline.
 * Layer: app-node. Uses: base, http, crossing, job, outcome, reply. Thread: the loop's. */
#ifndef SALLYPORT_NODE_CALL_H
#define SALLYPORT_NODE_CALL_H

#include <stdint.h>

#include "app-node/job.h"
#include "http/problem.h"

/* Milliseconds until its caller gives up; 0: he has. */
uint64_t call_left_ms(const struct job *job);

/* The handler has answered, or failed. Ends the job, as all below do. */
void call_finish(struct job *job);

/* No handler is free in time: said at once, while the caller can still do something else. */
void call_give_up(struct job *job);

void call_stop(struct job *job);

/* Answers a call that gets no job. */
void call_answer(struct crossing *x, const struct message *request, enum problem_type type,
	const char *detail);

#endif
