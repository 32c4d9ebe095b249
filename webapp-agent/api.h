/* api.h - the agent's local API: which path means what.
 *
 * Layer: webapp-agent. Uses: http, desk, agent. Thread: the loop's. */
#ifndef SALLYPORT_AGENT_API_H
#define SALLYPORT_AGENT_API_H

#include "webapp-agent/agent.h"

/* Takes rq over and answers it, now or later. */
void api_answer(struct agent *a, struct http_request *rq);

/* Whether rq, whose head is here, could come to anything with its body: an http_wants_fn's. */
bool api_wants_body(struct agent *a, struct http_request *rq);

/* Registers everything that the agent counts. */
void api_register_metrics(struct agent *a);

#endif
