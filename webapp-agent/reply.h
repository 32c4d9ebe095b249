/* reply.h - what a reply of the app realm means to who called: a status, and how long to wait.
 *
 * Pure. Layer: webapp-agent. Uses: base, contract (JSON), message. Thread: any. */
#ifndef SALLYPORT_AGENT_REPLY_H
#define SALLYPORT_AGENT_REPLY_H

#include <stdint.h>

#include "message/message.h"

/* No document can ask for more; what it says itself stays in it. */
enum { REPLY_RETRY_AFTER_MAX_MS = 60 * 60 * 1000 };

struct reply_meaning {
	unsigned status; /* HTTP: 200, that of a problem document, or 502 if it has none */
	uint64_t retry_after_ms; /* of a problem document, capped; 0: it says nothing */
};

struct reply_meaning reply_read(const struct message *reply);

#endif
