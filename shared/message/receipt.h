/* receipt.h - what the taking side of a stored lane tells the sending side about its rows.
 *
 * A receipt is the body of a message of the reserved operation RECEIPT_OPERATION, sealed like any
 * other. It ends rows of an outbox (I2), so it is read strictly: one form, every member in its
 * place, nothing left over. Why it says what it says: docs/decisions/0015-receipts.md.
 * Pure. Layer: message. Uses: base. Never: a clock, a socket. */
#ifndef SALLYPORT_MESSAGE_RECEIPT_H
#define SALLYPORT_MESSAGE_RECEIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

/* No operation of a contract begins with the prefix. */
#define RECEIPT_PREFIX "sallyport."
#define RECEIPT_OPERATION "sallyport.receipt"

enum {
	RECEIPT_VERSION = 1,
	RECEIPT_MAX_RUNS = 256, /* of one receipt; more are told by several */
	RECEIPT_MAX_BYTES = 24 * 1024,
};

/* The largest seq or turn: what every JSON reader in the world keeps whole. */
#define RECEIPT_MAX_NUMBER ((UINT64_C(1) << 53) - 1)

/* What becomes of a row at its sender. */
enum receipt_fate {
	RECEIPT_STAYS = 0, /* it may have to be sent again */
	RECEIPT_ENDS,      /* it leaves the outbox, its outcome is remembered */
	RECEIPT_PARKS,     /* a person at the sender decides: replay or drop */
};

/* clang-format off */
#define RECEIPT_MAP(X)                                                                        \
	X(RECEIPT_HELD,      STAYS, "held")               /* waits or runs there */           \
	X(RECEIPT_DONE,      ENDS,  "done")                                                   \
	X(RECEIPT_REFUSED,   ENDS,  "refused")            /* by its handler, for good */      \
	X(RECEIPT_DEAD,      ENDS,  "dead")               /* out of tries; it is kept there */ \
	X(RECEIPT_EXPIRED,   ENDS,  "expired")            /* its ttl was over */              \
	X(RECEIPT_UNKNOWN,   PARKS, "unknown-operation")  /* contracts differ */              \
	X(RECEIPT_VIOLATION, PARKS, "contract-violation") /* contracts differ */              \
	X(RECEIPT_FORBIDDEN, PARKS, "not-allowed")        /* this crossing, or this kind */   \
	X(RECEIPT_TOO_LARGE, PARKS, "too-large")          /* a limit has shrunk */            \
	X(RECEIPT_QUOTA,     PARKS, "over-quota")         /* beyond what an outage may add up */ \
	X(RECEIPT_CONFLICT,  PARKS, "id-reused")          /* its id stands for other content */ \
	X(RECEIPT_NO_KEY,    PARKS, "no-key")             /* it cannot be sealed here */
/* clang-format on */

#define RECEIPT_ENUM(code, fate, text) code,
enum receipt_state { RECEIPT_MAP(RECEIPT_ENUM) RECEIPT_STATES };
#undef RECEIPT_ENUM

/* Rows first..last, both included, are all in this state. */
struct receipt_run {
	uint64_t first;
	uint64_t last;
	enum receipt_state state;
};

/* "Of the rows seq_from..seq_through of your epoch, the runs are all that I have; and I have
 * looked at whatever you published at the turns turn_from..turn_through." So a row of that range
 * that was last published at one of these turns and is in no run did not arrive, or was put
 * back: it must go again. */
struct receipt {
	uint64_t epoch;
	uint64_t turn_from; /* 0, and turn_through 0: nothing is claimed, the runs still hold */
	uint64_t turn_through;
	uint64_t seq_from;
	uint64_t seq_through;
	size_t count;
	struct receipt_run runs[RECEIPT_MAX_RUNS]; /* ascending, apart, within the range */
};

/* Static storage; never NULL. */
const char *receipt_state_text(enum receipt_state state);

enum receipt_fate receipt_state_fate(enum receipt_state state);

/* Does `type` name something of ours, which no contract may? */
static inline bool receipt_is_reserved(struct span type)
{
	return span_starts(type, RECEIPT_PREFIX);
}

/* Whether it could be told: the rules above, of numbers and order. */
bool receipt_is_sound(const struct receipt *r);

/* Appends the JSON of a receipt, which must be sound.
 * Returns: ERR_OK; ERR_FULL or ERR_NOMEM of the buf. */
WARN_UNUSED enum err receipt_encode(const struct receipt *r, struct buf *out);

/* Returns: ERR_OK and a sound receipt; ERR_INPUT for anything that receipt_encode() would not
 *          have written, byte for byte. *out is then no receipt. */
WARN_UNUSED enum err receipt_parse(struct span json, struct receipt *out);

#endif
