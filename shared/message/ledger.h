/* ledger.h - what this side has of the rows of one sender, and when the sender must hear of it.
 *
 * Each delivery is reported with ledger_meet(), then what is made of it: it is held, it
 * has ended (its outcome is durable, or is known from before), or it is not taken and has to come
 * again. Receipts are pulled out when they are due. The ledger is memory only: a receipt that is
 * lost, or a ledger that begins anew, costs a repeat of rows that are known again by their id.
 * Pure. Layer: message. Uses: base. Never: a clock, a socket. Thread: the owner's. */
#ifndef SALLYPORT_MESSAGE_LEDGER_H
#define SALLYPORT_MESSAGE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "message/receipt.h"

enum {
	LEDGER_EPOCHS = 4, /* lives of a sender that are known at once: the latest ones */
	LEDGER_MIN_RUNS = 4,
	LEDGER_MAX_RUNS = 16384, /* of one epoch: 24 bytes each, when there are as many */
};

struct ledger_config {
	unsigned outcomes;   /* so many make a receipt due */
	uint64_t after_us;   /* and so much time after the first of them */
	uint64_t apart_us;   /* no two sooner after each other, whatever the hurry */
	uint64_t refresh_us; /* everything is told again while something is held */
	size_t max_runs;     /* LEDGER_MIN_RUNS..LEDGER_MAX_RUNS */
};

extern const struct ledger_config ledger_defaults;

struct ledger_run;

/* What is known of one life of the sender. */
struct ledger_page {
	uint64_t epoch; /* 0: the place is free */
	uint64_t used;  /* by the count of uses: the oldest gives way */
	uint64_t turn_from;
	uint64_t turn_through;
	uint64_t floor; /* rows below it may have been forgotten: nothing is claimed of them */
	struct ledger_run *runs; /* owned; ascending, apart; neighbours differ */
	size_t run_count;
	size_t run_room;
	size_t held_runs;
	unsigned unsaid; /* outcomes */
	uint64_t unsaid_at_us;
	bool hurries;          /* the sender waits to hear */
	bool is_telling;       /* pieces are being pulled */
	bool tells_all;        /* not only what is unsaid */
	uint64_t said_through; /* seq, while telling */
	uint64_t told_at_us;
	uint64_t all_told_at_us;
};

struct ledger_counters {
	uint64_t receipts;
	uint64_t gaps; /* turns that were left out: lost on the way, or by another node taken */
	uint64_t forgotten; /* runs that had to go */
	uint64_t untold;    /* ends for which there was no room */
};

/* Lives in whatever stands for a row that is held; zeroed before. The same row may come from
 * several lives of its sender: each hears of its end. */
struct ledger_mark {
	struct {
		uint64_t epoch; /* 0: the place is free */
		uint64_t seq;
	} as[LEDGER_EPOCHS];
};

struct ledger {
	struct ledger_config config;
	uint64_t uses;
	struct ledger_page pages[LEDGER_EPOCHS];
	struct ledger_counters counters;
};

/* Takes: config is copied. */
void ledger_init(struct ledger *l, const struct ledger_config *config);

/* A zeroed one is fine. */
void ledger_fini(struct ledger *l);

/* The connection of the lane is new, or was lost: whoever took over meanwhile, nothing can be
 * claimed of the turns before the next one that comes; and nothing is held any more. */
void ledger_restart(struct ledger *l);

/* A delivery came. Call it for each, redelivered ones too, before its row is reported.
 *
 * Takes:   epoch, not 0, and turn as its headers say, both bound by its seal. */
void ledger_meet(struct ledger *l, uint64_t epoch, uint64_t turn, uint64_t now_us);

/* The row is ours: it waits or runs here. For each copy of it too.
 *
 * Returns: ERR_OK; ERR_FULL, ERR_NOMEM: the sender will not be told, and may send it again.
 *          ERR_INPUT: no seq can be that. */
WARN_UNUSED enum err ledger_hold(struct ledger *l, struct ledger_mark *mark, uint64_t epoch,
	uint64_t seq, uint64_t now_us);

/* The row that was held has ended, durably. What could not be told is told when it comes again.
 *
 * Takes: mark is free afterwards. state, anything but RECEIPT_HELD. */
void ledger_end_held(
	struct ledger *l, struct ledger_mark *mark, enum receipt_state state, uint64_t now_us);

/* The row that was held is put back: it is as if it had never come. */
void ledger_let_go(struct ledger *l, struct ledger_mark *mark);

/* A row has ended that was not held: its outcome is durable, or known from before.
 *
 * Takes:   state, anything but RECEIPT_HELD.
 * Returns: as ledger_hold(); not told now, it is told when the row comes again. */
WARN_UNUSED enum err ledger_end(struct ledger *l, uint64_t epoch, uint64_t seq,
	enum receipt_state state, uint64_t now_us);

/* The sender should hear soon: a row was not taken (the one before it of its key is not here), or
 * one came that had ended long ago. */
void ledger_hurry(struct ledger *l, uint64_t epoch, uint64_t now_us);

/* Is this row held, or has it ended, as far as the ledger knows? */
bool ledger_knows(const struct ledger *l, uint64_t epoch, uint64_t seq);

/* The next receipt that is due. Call it until it says false, with nothing in between.
 *
 * Returns: true and a sound receipt; false: none is due before ledger_wake_us(). */
bool ledger_next(struct ledger *l, uint64_t now_us, struct receipt *out);

/* When ledger_next() should be asked again; UINT64_MAX: not before something happens. */
uint64_t ledger_wake_us(const struct ledger *l);

#endif
