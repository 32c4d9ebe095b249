/* desk.h - where the web app's calls and sends are taken in, checked, sent across and answered.
 *
 * Layer: webapp-agent. Uses: base, contract, message, http, border, errand. Never: amqp itself,
 * a path. Thread: the loop's. */
#ifndef SALLYPORT_AGENT_DESK_H
#define SALLYPORT_AGENT_DESK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"
#include "contract/contract.h"
#include "http/server.h"
#include "webapp-agent/border.h"
#include "webapp-agent/errand.h"

struct desk_config {
	const char *host; /* this web host's name in the contract's crossings */
	struct errands_config errands;
	uint64_t send_timeout_ms; /* until the broker's confirm */
};

struct desk_counters {
	uint64_t calls;                   /* sent across */
	uint64_t call_results;            /* answered with a result or the handler's problem */
	uint64_t late_replies;            /* nobody waited any more */
	uint64_t foreign_replies;         /* another process under our name had asked */
	uint64_t sends;                   /* published */
	uint64_t sends_accepted;          /* confirmed by the broker */
	uint64_t problems[PROBLEM_TYPES]; /* answered by the agent itself, by type */
};

struct desk {
	struct desk_config config;
	const struct contract *contract; /* borrowed */
	const char *contract_digest;     /* borrowed */
	struct border *border;           /* borrowed */
	struct errands errands;
	struct hist call_us; /* from the request until its result is handed to the server */
	struct hist send_us; /* from the request until the confirm */
	struct desk_counters counters;
	bool is_closed; /* no new work */
};

/* All pointers are borrowed until desk_fini(). */
void desk_init(struct desk *d, struct loop *l, const struct desk_config *config,
	const struct contract *contract, const char *contract_digest, struct border *border);

/* desk_cancel() must have been called. */
void desk_fini(struct desk *d);

/* Takes rq over and answers it, now or later. op is the operation's name as asked for. */
void desk_call(struct desk *d, struct http_request *rq, struct span op);
void desk_send(struct desk *d, struct http_request *rq, struct span op);

/* Whether desk_call() or desk_send() would look at the body of rq, whose head is here. */
bool desk_wants_body(
	const struct desk *d, struct http_request *rq, struct span op, enum contract_kind kind);

/* From the border. */
void desk_reply(struct desk *d, const struct message *reply);

/* The border takes no more. Of the calls under way those that went out just before end now: the
 * broker has not read them. Those that have been under way for longer are with a node, and may
 * be answered yet. */
void desk_blocked(struct desk *d);

/* The border has closed the lane of calls over one that it does not take. Those that went out
 * just before end now, for it says not which it was; older ones are with a node, as above. */
void desk_refused(struct desk *d);

/* Refuses new work from now on; what waits may still end well. */
void desk_close(struct desk *d);

/* Nobody waits. */
bool desk_is_idle(const struct desk *d);

/* Answers everybody who still waits that the agent stops. */
void desk_cancel(struct desk *d);

/* Answers rq with a problem and counts it; format makes the detail. */
void desk_refuse(struct desk *d, struct http_request *rq, enum problem_type type,
	const char *format, ...) PRINTF_LIKE(4, 5);

#endif
