/* guard.h - what came through a crossing is semi-hostile: this room says whether it may go
 * further.
 *
 * Pure: facts in, verdict out, cheapest question first. Nothing is believed that the connection
 * or the contract does not back.
 * Layer: app-node. Uses: base, contract, message. Never: a loop, a socket, amqp. Thread: any.
 */
#ifndef SALLYPORT_NODE_GUARD_H
#define SALLYPORT_NODE_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "contract/contract.h"
#include "message/message.h"

/* clang-format off */
#define GUARD_MAP(X)                                                                      \
	X(GUARD_PASS,            "pass")                                                  \
	X(GUARD_MALFORMED,       "malformed")       /* properties that are not ours */    \
	X(GUARD_OVERSIZED,       "oversized")       /* body above MESSAGE_BODY_MAX */     \
	X(GUARD_UNSEALED,        "unsealed")        /* as no agent of ours sends it */    \
	X(GUARD_SEAL,            "seal")            /* it was not sealed for here, so */  \
	X(GUARD_FORGED_SENDER,   "forged-sender")   /* user-id is not of this host */     \
	X(GUARD_REVOKED,         "revoked")         /* its sender was thrown out */        \
	X(GUARD_UNKNOWN_OP,      "unknown-operation") /* or not open to this host */      \
	X(GUARD_WRONG_KIND,      "wrong-kind")      /* or on the wrong lane */            \
	X(GUARD_EXPIRED,         "expired")         /* its caller has given up */         \
	X(GUARD_FUTURE,          "future")          /* its sender's clock is ahead */      \
	X(GUARD_REPLAY,          "replay")          /* a copy of one that was taken */     \
	X(GUARD_ID_REUSED,       "id-reused")       /* its id belongs to other content */  \
	X(GUARD_TOO_OLD,         "too-old")         /* cannot be told from a copy */       \
	X(GUARD_BAD_KEY,         "bad-key")         /* ordering key is not the param's */ \
	X(GUARD_BAD_JSON,        "bad-json")        /* not strictly JSON, or no object */ \
	X(GUARD_CONTRACT,        "contract")        /* not what the contract's params say */ \
	X(GUARD_NO_MEMORY,       "out-of-memory")   /* ours: nothing is known about it */
/* clang-format on */

#define GUARD_ENUM(code, text) code,
enum guard_verdict { GUARD_MAP(GUARD_ENUM) GUARD_VERDICTS };
#undef GUARD_ENUM

/* Static storage: the reason in logs and counters. */
const char *guard_text(enum guard_verdict verdict);

enum guard_lane { GUARD_LANE_CALL = 0, GUARD_LANE_SEND };

struct guard_facts {
	const char *host;     /* of the crossing that it came through */
	enum guard_lane lane; /* of the queue that it came from */
	enum err fault;       /* of the delivery, as a crossing says it */
	uint64_t revoked; /* this generation of the host and those before are out; 0: none */
	uint64_t now_unix_us;
	uint64_t clock_skew_us; /* a sender's clock may be off by so much */
};

/* By our clock, the last moment at which this call is not refused for its age; of sends, the end of
 * time if they do not expire. */
uint64_t guard_until_us(const struct guard_facts *facts, const struct message *m);

/* Judges one message; *op is set when the verdict is GUARD_PASS. Whether it was here before, REPLAY
 * to TOO_OLD, is seen.h's question. */
enum guard_verdict guard_judge(const struct contract *contract, const struct guard_facts *facts,
	const struct message *m, const struct operation **op);

#endif
