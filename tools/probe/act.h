/* act.h - one thing that is tried at the border, what a right border answers, and what was seen.
 *
 * The tables of acts are in rights.c (what a credential may do in a vhost), door.c (who gets in)
 * and wire.c (what may be said at all).
 * Layer: tools. Uses: base, talk, speech, plan. */
#ifndef SALLYPORT_PROBE_ACT_H
#define SALLYPORT_PROBE_ACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "talk.h"

enum { ACT_NAME_BYTES = 160, ACT_TEXT_BYTES = 256, ACT_EACH_MAX = 128 };

enum act_sort {
	ACT_FORBIDDEN = 0,
	ACT_TOLERATED, /* no broker can forbid it: something else bounds it */
	ACT_CONTROL,   /* allowed: must succeed, or the refusals of the others prove nothing */
};

/* What a right border answers. */
enum proof {
	PROOF_PERMISSION = 0, /* 403, "… refused for user …": the rights, and nothing else */
	PROOF_CODE,           /* this reply code */
	PROOF_REFUSED,        /* any no, also the end of the connection */
	PROOF_NO_TLS,         /* the connection ends before a word of AMQP */
	PROOF_NO_LOGIN,       /* not let in */
	PROOF_NO_VHOST,       /* let in, but not into the vhost */
	PROOF_UNROUTED,       /* taken, and given to no queue */
	PROOF_NO_CONNECTION,  /* nobody listens */
	PROOF_DONE,           /* done */
};

/* The act is tried once for each of these, whose name stands for {each}. */
enum each {
	EACH_ONCE = 0,
	EACH_LANE,
	EACH_READ,       /* lanes that the role may read */
	EACH_UNREAD,     /* lanes that it may not */
	EACH_NEAR_READ,  /* what a sloppy pattern would take for one that it may */
	EACH_EXCHANGE,   /* x.forapp, x.forweb */
	EACH_BUILT_IN,   /* the exchanges that every vhost has */
	EACH_NEAR_WRITE, /* as EACH_NEAR_READ, for the exchange it may write to */
	EACH_VHOST,
	EACH_PORT,
};

/* Where a session stands. */
enum act_where { WHERE_BORDER = 0, WHERE_INNER };

struct trial;
typedef void (*act_fn)(struct trial *t);

/* Texts may hold {each}, {new} (a name that nobody has), {user}, {host}, {node}, {node_user},
 * {other_user}. */
struct act {
	enum role as;
	enum act_where where;
	enum act_sort sort;
	enum proof proof;
	uint16_t code;     /* of PROOF_CODE */
	const char *guard; /* of ACT_TOLERATED: what bounds it */
	enum each each;
	const char *name; /* NULL: made of the request */
	const char *note; /* behind a name that is made of the request */
	struct request ask;
	const struct speech_content *content; /* when it publishes */
	const char *idle_lane; /* only while nothing waits there and nobody reads it */
	const struct login *login;
	unsigned detail; /* what the function likes */
	act_fn begin;    /* NULL, or the part that may run long before the rest */
	act_fn finish;
};

struct probe;

struct trial {
	const struct act *act;
	struct probe *probe;
	char each[ACT_TEXT_BYTES];
	char name[ACT_NAME_BYTES];
	struct line line; /* of acts that have one of their own */
	bool has_begun;
	uint64_t took_us; /* of what was not begun before */
	struct outcome outcome;
};

/* Everything of one run. */
struct probe {
	const struct plan *plan;
	char new_name[32];
	struct session web;
	struct session node;
	struct session inner;
	struct trial *trials;
	size_t count;
	uint64_t end_us; /* monotonic: what is left then is not tried */
};

struct act_table {
	const struct act *acts;
	size_t count;
};

extern const struct act_table rights_acts;
extern const struct act_table door_acts;
extern const struct act_table wire_acts;

/* The text with what stands in braces filled in. `to` has ACT_TEXT_BYTES. Returns its span: what
 * is filled in holds any byte. */
struct span act_expand(const struct trial *t, const char *text, char *to);

/* The names that {each} stands for. Returns how many; borrowed from the plan, and from `room` for
 * those that are made up. */
size_t act_each(const struct probe *p, const struct act *a, char room[][ACT_TEXT_BYTES],
	const char *out[ACT_EACH_MAX]);

/* What the trial is called. */
void act_name(struct trial *t);

struct session *act_session(struct trial *t);

enum verdict { VERDICT_OK = 0, VERDICT_SUCCEEDED, VERDICT_UNPROVEN };

/* What was seen against what should be. Pure. */
enum verdict act_judge(const struct act *a, const struct outcome *seen);

/* Is this a no for want of permission? */
bool outcome_is_permission(const struct outcome *o);

/* "refused 403", for the tables. */
void act_expected(const struct act *a, char *to, size_t room);

#endif
