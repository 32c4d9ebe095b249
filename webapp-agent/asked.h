/* asked.h - one request of the web app, checked against the contract before anything crosses.
 *
 * A friendly and fast no for developers; the app realm never relies on it.
 * Layer: webapp-agent. Uses: base, contract, message, http. Never: answers the request, errands,
 * the border. Thread: the loop's. */
#ifndef SALLYPORT_AGENT_ASKED_H
#define SALLYPORT_AGENT_ASKED_H

#include <stdbool.h>
#include <stdint.h>

#include "contract/contract.h"
#include "http/server.h"
#include "message/digest.h"
#include "message/message.h"

/* Whose requests: both borrowed. */
struct asked_by {
	const struct contract *contract;
	const char *host; /* this web host's name in the contract's crossings */
};

/* A request after all checks. Spans are borrowed from it. */
struct asked {
	const struct operation *op;
	struct span body;
	struct span key; /* Idempotency-Key; empty: none */
	struct span traceparent;
	char order_key[MESSAGE_KEY_MAX_BYTES];
	size_t order_key_len;
	uint64_t deadline_ms;
	struct digest content; /* of operation and parameters; zeros without a key */
};

/* Why not. */
struct asked_wrongly {
	enum problem_type type;
	const char *rule;                   /* of the contract, NULL: none; static storage */
	char pointer[SCHEMA_POINTER_BYTES]; /* to where the rule is broken; "": all of it */
	char detail[512];
};

/* Returns: true with *out, or false with *no. */
bool asked_read(const struct asked_by *by, struct http_request *rq, struct span name,
	enum contract_kind kind, struct asked *out, struct asked_wrongly *no);

/* The same of all but the body, which need not be here: out->body and what comes of it stay empty.
 */
bool asked_read_head(const struct asked_by *by, struct http_request *rq, struct span name,
	enum contract_kind kind, struct asked *out, struct asked_wrongly *no);

#endif
