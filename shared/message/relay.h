/* relay.h - what is to be done with the rows of one outbox, so that each crosses its lane and
 * ends by a receipt, in order per key, whatever is lost on the way.
 *
 * Facts go in by function, orders are pulled out by relay_next(); it owns nothing, allocates
 * nothing and knows the time only from relay_now(). Rows live in their owner. It keeps:
 * (R1) a row ends by a receipt, by relay_unfit(), or by its ttl if nobody can ever have seen it;
 * never by a confirm (I2);
 * (R2) no row goes while the one before it of its key is neither confirmed nor ended, and each names
 * that one until it has ended: who takes them takes none before the one that it names;
 * (R3) whatever goes again has the id and the seq that it had (I3);
 * (R4) memory is bounded: rows by ahead_rows and unreceipted together, bodies by twice
 * ahead_bytes and a few;
 * (R5) as long as a row has not ended and the link is open, something will make it go again.
 * Why: docs/decisions/0016-the-relay.md.
 * Pure. Layer: message. Uses: base, uv/tree.h. Never: a clock, a socket, a file. Thread: the
 * owner's. */
#ifndef SALLYPORT_MESSAGE_RELAY_H
#define SALLYPORT_MESSAGE_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv/tree.h>

#include "base/id.h"
#include "base/list.h"
#include "message/pace.h"
#include "message/receipt.h"

/*                          +------------- it has to go again <-------------------+
 *                          v                                                     |
 *  OUT -> BEHIND <-> READY -> FLYING -> SENT -> HELD <-> OVERTAKEN --------------+
 *                    ^ | ^      |         |                                      |
 *                    | | |      |         +-------------- a gap, a stall --------+
 *                    | | +------+ nacked, or fate unknown
 *       RESTING -----+ +-> FETCHING -> (READY, with its body)
 *
 *  ENDED: from everywhere, then OUT by the order that ends it. FLYING and FETCHING are in their
 *  owner's hands: what ends meanwhile ends when he has answered. */
enum relay_state {
	RELAY_OUT = 0,
	RELAY_BEHIND,    /* the one before it of its key is not at the border */
	RELAY_READY,     /* it goes when there is room */
	RELAY_RESTING,   /* it went in vain, and waits for its time */
	RELAY_FETCHING,  /* its body is being read */
	RELAY_FLYING,    /* published, without a confirm */
	RELAY_SENT,      /* confirmed */
	RELAY_OVERTAKEN, /* confirmed; later ones were seen, of this one nobody says anything */
	RELAY_HELD,      /* the other side has it */
	RELAY_ENDED,
};

/* Lives in its owner, and does not move while it is in. The owner fills in the first part. */
struct relay_row {
	uint64_t seq; /* in the outbox: ascending */
	struct id id;
	uint64_t key;             /* a hash; 0: no key, no order */
	uint64_t expires_unix_us; /* 0: never */
	uint32_t bytes;           /* of its body */

	enum relay_state state;
	bool has_body;   /* else it has to be fetched before it goes */
	bool is_foreign; /* from an earlier life: somebody may have seen it */
	bool has_ended;  /* in the owner's hands, and its outcome is known */
	unsigned ending; /* enum relay_order_kind: by which order it leaves */
	enum receipt_state outcome;
	uint64_t number;   /* what is its `seq` on the wire: dense, from 1 in each epoch */
	uint64_t turn;     /* of its last publish; 0: none yet */
	uint64_t due_us;   /* RESTING: clock; HELD, OVERTAKEN: lived time */
	uint64_t said;     /* the last receipt that named it */
	unsigned tries;    /* how often it went again, since it was last held */
	unsigned refusals; /* since its last confirm */

	RB_ENTRY(relay_row) by_number;
	RB_ENTRY(relay_row) by_key; /* the first of its key */
	RB_ENTRY(relay_row) queued; /* READY: by number; RESTING, HELD, OVERTAKEN: by due_us */
	struct node listed;         /* FLYING, SENT: by turn; HELD, OVERTAKEN; ENDED */
	struct relay_row *before;   /* of its key */
	struct relay_row *behind;
	struct relay_row *last; /* of its key; kept by the first */
};

RB_HEAD(relay_numbers, relay_row);
RB_HEAD(relay_keys, relay_row);
RB_HEAD(relay_queue, relay_row);

enum relay_order_kind {
	RELAY_NOTHING = 0,
	RELAY_PUBLISH, /* row, after prev; answer with exactly one of relay_confirmed() ... */
	RELAY_FETCH,   /* row's body; answer with relay_fetched() or relay_vanished() */
	RELAY_LOAD,    /* rows with after < seq <= through; answer with relay_loaded() */
	RELAY_REMOVE, /* `count` rows from `row` on by ->behind, all with `outcome`; nothing lies
			  between them in the outbox */
	RELAY_EXPIRE, /* row: its ttl is over and it never went */
	RELAY_PARK,   /* row, `outcome` says why: a person decides */
};

/* With REMOVE, EXPIRE and PARK the rows are out: the owner tells his store and frees them. */
struct relay_order {
	enum relay_order_kind kind;
	struct relay_row *row;
	const struct id *prev; /* PUBLISH: NULL, or the one before it of its key */
	size_t count;
	enum receipt_state outcome;
	uint64_t after_seq; /* LOAD */
	uint64_t through_seq;
	size_t max_rows;
	size_t max_bytes;
};

struct relay_config {
	uint64_t epoch;  /* of this life: fresh at each start (a restored file repeats seqs) */
	uint64_t seed;   /* of jitter */
	unsigned window; /* unconfirmed publishes at most */
	size_t ahead_rows; /* waiting in memory */
	size_t ahead_bytes;
	size_t unreceipted; /* rows that went and have not ended: no new one goes beyond */
	uint64_t resend_after_us; /* nobody said anything for so long */
	uint64_t resend_longest_us;
	uint64_t held_after_us; /* a row is held as long as it is said again within this */
	uint64_t life_us;       /* the other side counts as alive for so long after a sign */
};

/* Everything but epoch and seed. */
extern const struct relay_config relay_defaults;

struct relay_counters {
	uint64_t published;
	uint64_t confirmed;
	uint64_t refused;   /* by a full queue */
	uint64_t returned;  /* no queue */
	uint64_t unsure;    /* published, fate unknown */
	uint64_t gaps;      /* a receipt showed that it did not arrive, or was put back */
	uint64_t overdue;   /* nobody spoke of it any more */
	uint64_t probes;    /* sent again to find out */
	uint64_t receipts;  /* of this epoch */
	uint64_t strangers; /* receipts of another epoch */
	uint64_t removed;
	uint64_t parked;
	uint64_t expired;
};

struct relay {
	struct relay_config config;
	struct pace pace;
	struct relay_counters counters;
	uint64_t now_us;
	uint64_t unix_us;
	bool is_open;
	bool is_blocked;
	bool is_loading;
	uint64_t load_at_us; /* not before */
	unsigned load_failures;
	uint64_t start_seq; /* rows up to here are of an earlier life */
	uint64_t tail_seq;  /* on disk up to here */
	uint64_t loaded_seq;
	uint64_t numbers; /* given */
	uint64_t turns;   /* taken */
	uint64_t random;

	struct relay_numbers rows; /* all that are in, but ENDED */
	struct relay_keys keys;
	struct relay_queue ready; /* READY, and never went */
	struct relay_queue again; /* READY, and went before */
	struct relay_queue resting;
	struct relay_queue away; /* HELD and OVERTAKEN */
	struct node flown;       /* FLYING and SENT, in the order of their turns */
	struct node distant;     /* HELD and OVERTAKEN */
	struct node ended;
	size_t waiting;    /* BEHIND, READY, RESTING, FETCHING */
	size_t body_bytes; /* in memory */
	unsigned flying;
	unsigned fetching;
	size_t at_border; /* SENT, HELD, OVERTAKEN */
	size_t ended_count;
	size_t begun; /* went at least once and have not ended */

	uint64_t lived_us;      /* time in which the link was open and the other side alive */
	uint64_t life_until_us; /* clock */
	uint64_t seen_turn;     /* the other side has come to here */
	uint64_t stall_at_us;   /* then a probe goes, if the link is open */
	uint64_t stall_wait_us;
};

/* Takes:   config is copied. tail_seq, the greatest seq in the outbox; 0: it is empty. */
void relay_init(struct relay *r, const struct relay_config *config, uint64_t tail_seq);

/* For the end: takes a row out, whatever its state; NULL when none is left. */
struct relay_row *relay_take(struct relay *r);

/* ---- time ---- */

/* It is now this late. Call it first whenever something has happened.
 *
 * Takes:   now_us, monotonic: what goes back counts as standing still. unix_us, for ttls. */
void relay_now(struct relay *r, uint64_t now_us, uint64_t unix_us);

/* When relay_now() and relay_next() should be called again; UINT64_MAX: not before a fact. */
uint64_t relay_wake_us(const struct relay *r);

/* ---- the outbox ---- */

/* A row was committed, body in hand.
 *
 * Returns: true: it is in. false: it will be asked for by a LOAD; free it. */
bool relay_put(struct relay *r, struct relay_row *row);

/* Rows up to tail_seq were committed. */
void relay_grown(struct relay *r, uint64_t tail_seq);

/* One row of the answer to LOAD, in order. */
void relay_load(struct relay *r, struct relay_row *row);

/* The answer is complete.
 *
 * Takes:   through_seq: the seq of its last row if a maximum cut it, else that of the order. */
void relay_loaded(struct relay *r, uint64_t through_seq);

/* It could not be read: it is asked for again, later. */
void relay_load_failed(struct relay *r);

/* The answer to FETCH: here is the body.
 *
 * Returns: true: keep it. false: it is not wanted any more, or not yet; forget it. */
bool relay_fetched(struct relay *r, struct relay_row *row);

/* It could not be read: it is asked for again, later. */
void relay_fetch_failed(struct relay *r, struct relay_row *row);

/* There is no such row any more: it is out, and the owner's. */
void relay_vanished(struct relay *r, struct relay_row *row);

/* ---- the link ---- */

void relay_open(struct relay *r);
void relay_lost(struct relay *r);
void relay_blocked(struct relay *r);
void relay_unblocked(struct relay *r);

/* The one answer to a PUBLISH. When confirmed, the body can be forgotten. One that did not go out
 * at all is tried again in a moment, with all others. */
void relay_confirmed(struct relay *r, struct relay_row *row);
void relay_nacked(struct relay *r, struct relay_row *row);   /* the queue is full */
void relay_returned(struct relay *r, struct relay_row *row); /* there is no queue */
void relay_unsure(struct relay *r, struct relay_row *row);   /* the link was lost first */
void relay_unsent(struct relay *r, struct relay_row *row);   /* it did not go out */

/* It cannot be published as it is, and never could be: it is parked.
 *
 * Takes:   why, one whose fate is RECEIPT_PARKS. */
void relay_unfit(struct relay *r, struct relay_row *row, enum receipt_state why);

/* ---- the other side ---- */

/* Takes: receipt, sound, and opened by the seal of the other side. */
void relay_receipt(struct relay *r, const struct receipt *receipt);

/* The other side has shown life by something else than a receipt. */
void relay_alive(struct relay *r);

/* Calls through the same border take longer than they should; they do not any more. */
void relay_calls_slow(struct relay *r);
void relay_calls_fast(struct relay *r);

/* ---- orders ---- */

/* Takes the next order into *out; call it until it says false.
 *
 * Returns: true: carry it out. false: nothing is to be done before relay_wake_us(). */
bool relay_next(struct relay *r, struct relay_order *out);

/* Rows in memory, whatever their state. */
size_t relay_rows(const struct relay *r);

/* Wrong counts and orders are bugs; slow: for tests. */
void relay_check(const struct relay *r);

#endif
