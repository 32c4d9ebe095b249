/* relief.h - the changing of the guard: one link to a vhost takes over from another, and nothing
 * that either has in its hands is lost.
 *
 * Whoever serves goes on serving until his successor is ready. Then the successor serves at
 * once, and the old one retires: he ends what he has begun and leaves, after a while in any
 * case. Never are more than two links open.
 * Layer: amqp. Uses: base, loop, message (digests), link. Never: what crosses. Thread: the
 * loop's. */
#ifndef SALLYPORT_AMQP_RELIEF_H
#define SALLYPORT_AMQP_RELIEF_H

#include <stdbool.h>
#include <stdint.h>

#include "amqp/link.h"
#include "base/json_writer.h"
#include "loop/timer.h"
#include "message/digest.h"

enum {
	/* A successor that is not ready by then is told of; he goes on trying. */
	RELIEF_PATIENCE_MS = 5000,
	/* What the old one has begun has so long to end. */
	RELIEF_RETIRE_MS = 30000,
};

/*  relief_replace() goes from OPENING to RETIRING at once.
 *
 *  DOWN -> STEADY <--------------------------------------------------+
 *            |                                                       |
 *            | another one is ordered                                | it is gone
 *            v        ready, or not wanted any more         idle     |
 *          OPENING -+-------------------------> RETIRING -------> LEAVING
 *            |      |
 *            v      |
 *          PENDING -+
 *
 *  STOPPING -> DOWN   relief_stop(), from everywhere but DOWN                          */
enum relief_state {
	RELIEF_DOWN = 0, /* not started, or stopped */
	RELIEF_STEADY,   /* one serves, or tries to */
	RELIEF_OPENING,  /* the other one is to succeed, and tries to get ready */
	RELIEF_PENDING,  /* likewise, and it takes too long */
	RELIEF_RETIRING, /* the other one does not serve (any more), and ends what he has begun */
	RELIEF_LEAVING,  /* the other one closes */
	RELIEF_STOPPING, /* all close */
	RELIEF_NSTATES,
};

struct relief;

/* One link's time of service. Lives in its owner's struct, beside the channels. */
struct shift {
	struct link link;
	struct relief *relief;
	struct transport_address brokers[CONNECTION_BROKERS_MAX]; /* the link borrows them */
	struct tls_identity *identity;                            /* held */
	struct digest recipe; /* what the link was made of */
};

/* What the owner does; all on the loop thread. */
struct relief_ops {
	/* He does not serve any more, or shall not: begin nothing new, end what is begun; relief_look()
	 * whenever something has ended. Fires once for each shift but the last. */
	void (*retire)(struct shift *s);
	/* Nothing is left of what he has begun. */
	bool (*is_idle)(const struct shift *s);
	/* His link is down: free him. */
	void (*destroy)(struct shift *s);
	/* relief_is_ready() has changed. May not stop the relief. */
	void (*on_ready)(void *arg);
	/* relief->state has changed, and maybe who serves. May not stop the relief. */
	void (*on_move)(void *arg);
};

struct relief_limits {
	uint64_t patience_ms;
	uint64_t retire_ms;
};

struct relief {
	enum relief_state state;
	const char *name; /* borrowed, for the log */
	const struct relief_ops *ops;
	void *arg;
	struct relief_limits limits;
	struct shift *serving; /* NULL in DOWN */
	struct shift *other;   /* who comes or goes; NULL in DOWN and STEADY */
	struct shift *next;    /* has to wait until `other` is gone; or NULL */
	bool is_next_urgent;   /* it takes over at once then */
	struct timer limit;    /* of the present state */
	bool was_ready;
	unsigned closing; /* STOPPING: links that are not down yet */
	void (*on_stopped)(void *arg);
};

/* Takes:   config as link_init(), but brokers are copied and the identity is held; recipe is
 *          copied.
 * Returns: as link_init(); shift_fini() in any case. */
WARN_UNUSED enum err shift_init(struct shift *s, struct loop *l,
	const struct link_config *config, const struct digest *recipe);

/* The link must be down. A zeroed shift is fine. */
void shift_fini(struct shift *s);

/* Takes: name and ops are borrowed for good. */
void relief_init(struct relief *r, struct loop *l, const char *name,
	const struct relief_limits *limits, const struct relief_ops *ops, void *arg);

/* DOWN only, or zeroed. */
void relief_fini(struct relief *r);

/* The first one begins to serve. Takes: s is the relief's, until ops->destroy. */
void relief_start(struct relief *r, struct shift *s);

/* s is to succeed whoever serves. One that was ordered before and does not serve yet is not
 * wanted any more.
 * Takes: s is the relief's, until ops->destroy; that may be at once when it stops. */
void relief_order(struct relief *r, struct shift *s);

/* s takes over from whoever serves, ready or not; where somebody goes already, as soon as he is
 * gone: for one who serves but has let go of his work. Takes: as relief_order(). */
void relief_replace(struct relief *r, struct shift *s);

/* Who serves is the right one: nobody is wanted to succeed him. */
void relief_keep(struct relief *r);

/* Something that a retiring one had begun has ended. Never frees anything. */
void relief_look(struct relief *r);

/* Closes all links. Fires: on_stopped(arg) once, later, never from inside; the relief may be freed
 * inside. */
void relief_stop(struct relief *r, void (*on_stopped)(void *arg));

/* Who serves can: both ways are open. */
static inline bool relief_is_ready(const struct relief *r)
{
	return r->serving != NULL && link_is_ready(&r->serving->link);
}

/* Somebody comes or goes, or waits to. */
static inline bool relief_is_changing(const struct relief *r)
{
	return r->other != NULL || r->next != NULL;
}

/* The certificate's name of whoever serves, "-" when nobody does. Borrowed until he changes. */
const char *relief_identity(const struct relief *r);

/* Static storage: "steady", "opening" … */
const char *relief_state_name(const struct relief *r);

/* Two members of the present object: who serves under `key`; if somebody comes or goes,
 * "relief" with the state and his link. */
void relief_write_status(const struct relief *r, const char *key, struct json_writer *w);

#endif
