/* outcome.h - what a handler's answer means: a result, a no, not now, or a failure.
 *
 * Pure. Layer: app-node. Uses: base, contract (JSON, schema), message, http (the answer's struct).
 * Never: a loop, a job. Thread: any. */
#ifndef SALLYPORT_NODE_OUTCOME_H
#define SALLYPORT_NODE_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "contract/schema.h"
#include "http/client.h"

enum {
	/* No handler can ask for more: who waits an hour asks again by himself. */
	OUTCOME_RETRY_AFTER_MAX_MS = 60 * 60 * 1000,
	OUTCOME_DETAIL_BYTES = 256,
};

enum outcome_kind {
	OUTCOME_RESULT = 0, /* 2xx with JSON as the contract says */
	OUTCOME_BROKEN,     /* 2xx with JSON, but not as the contract says */
	OUTCOME_REFUSED,    /* 4xx: the same again would be refused again */
	OUTCOME_LATER,      /* 408, 425, 429, 503: not now */
	OUTCOME_FAILED,     /* 5xx, no answer, or an answer that is none */
};

struct outcome {
	enum outcome_kind kind;
	struct span result;      /* RESULT: borrowed from the answer, "null" for none */
	uint64_t retry_after_ms; /* LATER: as the handler asked, capped; 0: it did not */
};

/* `result` is what the contract says of it, NULL: nothing, or it does not cross. OUTCOME_BROKEN
 * comes with *failure, which is untouched otherwise. */
struct outcome outcome_read(const struct http_call *call, const struct schema *result,
	struct schema_failure *failure);

/* A sentence about an outcome that is no RESULT. */
void outcome_describe(const struct http_call *call, char out[OUTCOME_DETAIL_BYTES]);

/* The answer is a problem document (RFC 9457) whose status is the answer's: it may cross as it
 * is. */
bool outcome_is_problem_document(const struct http_call *call);

#endif
