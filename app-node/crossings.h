/* crossings.h - all crossings of this node: which there are, come and go.
 *
 * Layer: app-node. Uses: base, loop, amqp, daemon (site), crossing, job. Never: http. Thread: the
 * loop's. */
#ifndef SALLYPORT_NODE_CROSSINGS_H
#define SALLYPORT_NODE_CROSSINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "app-node/config.h"
#include "app-node/crossing.h"
#include "app-node/job.h"
#include "app-node/revoked.h"
#include "daemon/setup.h"

struct crossings_events {
	void (*on_delivery)(void *arg, struct crossing_shift *s, struct consumer *c,
		const struct delivery *d);
	void (*on_change)(void *arg, struct crossing *x); /* as in crossing.h */
	/* Which there are, which links they have, or how far they have got has changed. May not
	 * stop anything. */
	void (*on_move)(void *arg);
	/* After crossings_drain(): all calls that will ever come have come. */
	void (*on_drained)(void *arg);
	/* After crossings_stop(): none is left. */
	void (*on_stopped)(void *arg);
};

/*  SERVING -> DRAINING -> DRAINED -> STOPPING -> STOPPED     the last two from everywhere */
enum crossings_state {
	CROSSINGS_SERVING = 0,
	CROSSINGS_DRAINING,
	CROSSINGS_DRAINED,
	CROSSINGS_STOPPING,
	CROSSINGS_STOPPED,
};

struct crossings {
	struct loop *loop;
	enum crossings_state state;
	struct jobs *jobs;             /* borrowed */
	const struct revoked *revoked; /* borrowed */
	struct timer soon;             /* looks whether that was the last one already */
	struct node all;               /* as configured */
	struct node coming;            /* prepared, for crossings_take() */
	struct node leaving;           /* not configured any more */
	unsigned count;                /* of `all` */
	struct crossings_events events;
	void *arg;
};

/* Takes:   jobs are borrowed, for what comes and for what is handed back; so is the book of who was
 *          thrown out. */
void crossings_init(struct crossings *cs, struct loop *l, struct jobs *jobs,
	const struct revoked *revoked, const struct crossings_events *events, void *arg);

/* Not started, or STOPPED; a zeroed one is fine. */
void crossings_fini(struct crossings *cs);

/* Makes whatever this setup has and we have not: crossings, links; but nothing for a host that is shut,
 * also under this setup. Nothing changes yet.
 * Takes:   setup's config is a struct node_config, borrowed for the call.
 * Returns: ERR_OK: crossings_take() is next. Otherwise all is as before: ERR_NOMEM. */
WARN_UNUSED enum err crossings_prepare(struct crossings *cs, const struct setup *setup);

/* What crosses is sealed with these from now on.
 * Takes:   rings, one for each of node->crossings, in their order; those that we have not are
 *          left out.
 * Returns: ERR_OK, ERR_NOMEM: some may have them already. */
WARN_UNUSED enum err crossings_rekey(
	struct crossings *cs, const struct node_config *node, const struct keyring *rings);

/* What crossings_prepare() made is not needed after all. */
void crossings_discard(struct crossings *cs);

/* What was prepared begins; crossings that `hosts` does not name any more leave. */
void crossings_take(struct crossings *cs, const struct option_list *hosts);

/* What this host made, up to this generation, is neither taken nor answered any more.
 * CROSSINGS_SHUT:          its crossing is closed at once, and crossings_prepare() makes it anew when the
 *                          configuration knows of it.
 * CROSSINGS_AS_CONFIGURED: it stays, or leaves, as configured. */
enum crossings_revocation { CROSSINGS_SHUT = 0, CROSSINGS_AS_CONFIGURED };
void crossings_revoke(struct crossings *cs, const char *host, uint64_t generation,
	enum crossings_revocation how);

/* No more calls. */
void crossings_drain(struct crossings *cs);
void crossings_stop(struct crossings *cs);

/* Every one of them is open both ways. */
bool crossings_are_ready(const struct crossings *cs);

/* How far the last change has got. */
enum crossings_progress { CROSSINGS_STEADY = 0, CROSSINGS_CHANGING, CROSSINGS_PENDING };
enum crossings_progress crossings_progress(const struct crossings *cs);

#endif
