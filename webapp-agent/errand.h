/* errand.h - what the web app asked for and waits to hear about: calls and sends until their
 * outcome, and for a while after it.
 *
 * One errand is one message. Whoever asks for the same again under the same Idempotency-Key
 * joins it, or gets the outcome that is kept. An errand whose outcome did not come in time has
 * lapsed: asked for again it goes out again under the same message id, so that handlers can
 * know it. So has one whose outcome was "not now".
 * Layer: webapp-agent. Uses: base, loop, message, http. Never: amqp, the contract. Thread: the
 * loop's. */
#ifndef SALLYPORT_AGENT_ERRAND_H
#define SALLYPORT_AGENT_ERRAND_H

#include <stdbool.h>
#include <stdint.h>
#include <uv/tree.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/list.h"
#include "http/server.h"
#include "loop/timer.h"
#include "message/digest.h"

enum { ERRAND_KEY_MAX_BYTES = 128 };

/*  FRESH -> SENT -> DONE       kept for keep_ms when it has a key, else freed at once
 *    |       |       ^
 *    |       v       | a late outcome that is final
 *    |     LAPSED ---+           asked for again: SENT under the same id
 *    +-> freed: nothing left this host, so nothing needs remembering                     */
enum errand_state {
	ERRAND_FRESH = 0, /* made, not yet on its way */
	ERRAND_SENT,      /* on its way; people wait */
	ERRAND_LAPSED,    /* nobody waits, no final outcome is known */
	ERRAND_DONE,      /* the final outcome is here */
	ERRAND_NSTATES,
};

/* A call ends by its reply, a send by the broker's confirm. */
enum errand_kind { ERRAND_CALL = 0, ERRAND_SEND };

struct errands;

struct errand {
	RB_ENTRY(errand) by_id;
	RB_ENTRY(errand) by_key;
	struct node kept; /* in errands->kept while LAPSED or DONE */
	struct errands *all;
	enum errand_state state;
	enum errand_kind kind;
	struct id id;                       /* with the mark of errands */
	struct digest content;              /* of operation and parameters */
	char key[ERRAND_KEY_MAX_BYTES + 1]; /* "" = none */
	struct node waiters;
	struct timer timer; /* SENT: the deadline; LAPSED and DONE: until it is forgotten */
	uint64_t begun_us;  /* monotonic, of the present try */
	unsigned status;    /* DONE: HTTP */
	const char *content_type; /* DONE: static storage */
	uint64_t retry_after_ms;  /* DONE */
	struct buf body;          /* DONE, with a key */
	size_t kept_bytes;        /* what it counts for in errands->kept_bytes */
	void (*on_lapse)(struct errand
			*e); /* the deadline of a SENT one: answer through errand_lapse() */
};

RB_HEAD(errands_by_id, errand);
RB_HEAD(errands_by_key, errand);

struct errands_config {
	unsigned max_waiting;  /* SENT at once, and people waiting for them */
	unsigned max_kept;     /* LAPSED and DONE; the oldest go first */
	size_t max_kept_bytes; /* their bodies */
	uint64_t keep_ms;
	/* One who joined e has waited as long as he wanted to: answer rq. The errand goes on.
	 * May be NULL if nobody ever says how long. */
	void (*on_impatient)(struct errand *e, struct http_request *rq);
};

/* Who asks for what. Borrowed. */
struct errand_ask {
	enum errand_kind kind;
	struct span key; /* at most ERRAND_KEY_MAX_BYTES; empty for none */
	const struct digest *content;
	uint64_t wait_ms; /* if he joins: so long at most; 0: as long as the errand takes */
};

/* What came of it. Borrowed, but content_type: static storage. */
struct errand_outcome {
	unsigned status; /* HTTP */
	const char *content_type;
	uint64_t retry_after_ms; /* waiting so long may help; 0: says nothing */
	struct span body;
};

struct errands {
	struct loop *loop;
	struct errands_config config;
	uint16_t mark;          /* of all ids that are made here: see errand_maker() */
	uint64_t begun_unix_ms; /* none is older */
	struct errands_by_id by_id;
	struct errands_by_key by_key;
	struct node kept; /* oldest first */
	unsigned sent_count;
	unsigned waiter_count;
	unsigned kept_count;
	size_t kept_bytes;
	uint64_t joined; /* counter: requests that joined an errand or got a kept outcome */
};

void errands_init(struct errands *all, struct loop *l, const struct errands_config *config);

/* Frees what is kept; no errand may be SENT (see errands_cancel()). */
void errands_fini(struct errands *all);

enum errand_match {
	ERRAND_NEW = 0, /* send it, then errand_sent() or errand_drop() */
	ERRAND_AGAIN,   /* it had lapsed: likewise, under the same id */
	ERRAND_JOINED,  /* rq waits with the others, or was answered: nothing to do */
};

/* Finds or makes the errand for a request and puts rq among its waiters.
 *
 * Takes:   rq is held (http_request_hold) unless an error comes back.
 * Returns: ERR_OK with *out and *match; ERR_CONFLICT (the key is known with other content);
 *          ERR_FULL (max_waiting); ERR_NOMEM. After an error rq is the caller's to answer. */
WARN_UNUSED enum err errand_for(struct errands *all, const struct errand_ask *ask,
	struct http_request *rq, struct errand **out, enum errand_match *match);

/* It is on its way, and its people wait until timeout_ms; then on_lapse fires, from a timer. */
void errand_sent(struct errand *e, uint64_t timeout_ms, void (*on_lapse)(struct errand *e));

/* Whose message this was. The mark of ours is drawn at random, so one in 4096 of others passes for
 * ours; and nobody here is blamed for what may have been asked by the process before this one. */
enum errand_maker {
	ERRAND_MADE_HERE = 0,
	ERRAND_MADE_BEFORE,    /* this process began */
	ERRAND_MADE_ELSEWHERE, /* by somebody who runs, or ran, beside us under our name */
};
enum errand_maker errand_maker(const struct errands *all, const struct id *id);

/* The errand that waits, or once waited, for the answer to this message; NULL if none. */
struct errand *errand_find(struct errands *all, const struct id *id);

/* The outcome: answers all who wait. Where there is a key it is kept if it is final (not
 * 429, 503 or 504); otherwise e has lapsed. e is gone or kept afterwards. */
void errand_done(struct errand *e, const struct errand_outcome *outcome);

/* Tells all who wait a problem; e is remembered as LAPSED when it has a key, and freed
 * otherwise. */
void errand_lapse(struct errand *e, const struct problem *problem);

/* Tells all who wait a problem instead of errand_sent(). A FRESH errand is forgotten, for
 * nothing has left this host; one that had lapsed stays so. */
void errand_drop(struct errand *e, const struct problem *problem);

/* Lapses what is SENT with this on_lapse and has begun since then. Returns how many. */
unsigned errands_lapse_since(struct errands *all, void (*on_lapse)(struct errand *e),
	uint64_t since_us, const struct problem *problem);

/* Lapses everything that is SENT. */
void errands_cancel(struct errands *all, const struct problem *problem);

#endif
