/* control.h - what operations, and other nodes, tell this node through the inner vhost: may it be
 * believed, and what does it say?
 *
 * Pure: facts in, verdict out, cheapest question first. A seal under the inner key says that the app
 * realm made it; age and memory say that it is no copy. But a memory ends with its node, so every kind
 * of message must be such that obeying a copy again, late or in another order, changes nothing.
 * Layer: app-node. Uses: base, contract (JSON), message. Never: a loop, a clock, a socket. Thread: the
 * owner's. */
#ifndef SALLYPORT_NODE_CONTROL_H
#define SALLYPORT_NODE_CONTROL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"
#include "message/identity.h"
#include "message/message.h"
#include "message/replay.h"

enum {
	CONTROL_REMEMBERED = 4096, /* messages that are known again */
	/* A node that was down for so long is told of it by its configuration. Above the time in which
	 * the broker hands out again what is held (control messages are held, see orders.h). */
	CONTROL_MAX_AGE_DAYS = 100,
};

/* Nothing that web.HOST.gN made, N up to generation, is taken or answered any more. */
#define CONTROL_TYPE_REVOKED "control.revoked"

/* clang-format off */
#define CONTROL_MAP(X)                                                                     \
	X(CONTROL_PASS,         "pass")                                                    \
	X(CONTROL_MALFORMED,    "malformed")    /* properties that are not ours */         \
	X(CONTROL_OVERSIZED,    "oversized")                                               \
	X(CONTROL_UNSEALED,     "unsealed")                                                \
	X(CONTROL_SEAL,         "seal")         /* the app realm has not made it */        \
	X(CONTROL_SENDER,       "sender")       /* neither operations nor a node */        \
	X(CONTROL_FUTURE,       "future")       /* its sender's clock is ahead */          \
	X(CONTROL_STALE,        "stale")                                                   \
	X(CONTROL_UNKNOWN_TYPE, "unknown-type") /* this node knows no such order */        \
	X(CONTROL_BAD_BODY,     "bad-body")                                                \
	X(CONTROL_REPLAY,       "replay")       /* a copy of one that was taken */         \
	X(CONTROL_ID_REUSED,    "id-reused")                                               \
	X(CONTROL_TOO_OLD,      "too-old")      /* cannot be told from a copy */           \
	X(CONTROL_NO_MEMORY,    "out-of-memory")
/* clang-format on */

#define CONTROL_ENUM(code, text) code,
enum control_verdict { CONTROL_MAP(CONTROL_ENUM) CONTROL_VERDICTS };
#undef CONTROL_ENUM

/* Static storage: the reason in logs and counters. */
const char *control_text(enum control_verdict verdict);

struct control_facts {
	enum err fault; /* of the delivery, its seal included */
	uint64_t now_unix_us;
	uint64_t clock_skew_us; /* a sender's clock may be off by so much */
};

struct control_order {
	char host[IDENTITY_NAME_MAX_BYTES + 1];
	uint64_t generation;
};

struct control {
	struct replay seen;
};

/* Returns ERR_OK or ERR_NOMEM; control_fini() in any case. */
WARN_UNUSED enum err control_init(struct control *c);

/* A zeroed one is fine. */
void control_fini(struct control *c);

/* Judges one message, and remembers it if it passes. *order is what it says when the verdict is
 * CONTROL_PASS or CONTROL_REPLAY. */
enum control_verdict control_judge(struct control *c, const struct control_facts *facts,
	const struct message *m, struct control_order *order);

/* Appends the body that says so. */
void control_write(const struct control_order *order, struct buf *out);

#endif
