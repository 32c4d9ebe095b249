/* orders.h - what operations and other nodes order this one to do, through the inner vhost and the
 * configuration: obeyed here.
 *
 * There is one order so far: a web host was thrown out. From the moment that it is heard nothing that
 * this host made up to that generation is taken or answered, whatever the broker of its crossing says.
 * What waits of it is dropped, and its crossing is closed until the configuration knows of it too; if
 * that still names the host among the crossings, it has come back with a newer generation.
 *
 * A message that says more than the configuration is held: not acknowledged until the configuration has
 * caught up, so that after a restart the broker hands it out again. So no file is needed, and an inner
 * broker that is honest lets nothing be forgotten.
 * Layer: app-node. Uses: base, loop, amqp, daemon, control, revoked, inner, crossings. Thread: the
 * loop's. */
#ifndef SALLYPORT_NODE_ORDERS_H
#define SALLYPORT_NODE_ORDERS_H

#include "app-node/config.h"
#include "app-node/control.h"
#include "app-node/crossings.h"
#include "app-node/inner.h"
#include "app-node/revoked.h"
#include "daemon/metrics.h"
#include "daemon/quiet.h"
#include "daemon/setup.h"

struct orders_events {
	void (*on_move)(void *arg); /* the inner link has moved */
	void (*on_stopped)(void *arg);
};

struct orders {
	const struct node_config *config; /* borrowed: the setup's, which reloads change */
	struct crossings *crossings;      /* borrowed */
	struct inner inner;
	struct control control;
	struct revoked revoked;
	struct quiet quiet;
	struct orders_events events;
	void *arg;
	uint64_t obeyed; /* messages that said something new */
	uint64_t refused[CONTROL_VERDICTS];
};

/* Makes the book alone, which crossings_init() wants. */
void orders_init(struct orders *o);

/* Takes:   setup is borrowed for the call, its config and crossings for good.
 * Returns: ERR_OK, ERR_INPUT, ERR_NOMEM; orders_fini() in any case. */
WARN_UNUSED enum err orders_open(struct orders *o, struct loop *l, const struct setup *setup,
	struct crossings *crossings, const struct orders_events *events, void *arg);

/* Not started, or stopped. After crossings_fini(), which looks into the book. */
void orders_fini(struct orders *o);

/* The configuration's orders are obeyed, others are waited for. */
void orders_start(struct orders *o);

/* Fires: on_stopped once, later. */
void orders_stop(struct orders *o);

/* Makes whatever this setup has and we have not. Nothing changes yet.
 * Returns: ERR_OK; otherwise all is as before: ERR_NOMEM, ERR_FULL. */
WARN_UNUSED enum err orders_prepare(struct orders *o, const struct setup *setup);

/* What is said is sealed with these keys from now on. Returns: ERR_OK, ERR_NOMEM: some may have them
 * already. */
WARN_UNUSED enum err orders_rekey(struct orders *o, const struct keyring *ring);

/* What orders_prepare() made is not needed after all. */
void orders_discard(struct orders *o);

/* After crossings_take(): what was prepared begins, and what the configuration says is obeyed; what is
 * new to us is told to the other nodes, once, as well as it goes. */
void orders_take(struct orders *o);

/* Members "inner" and "revoked" of the present object. */
void orders_write_status(const struct orders *o, struct json_writer *w);

void orders_register(struct metrics *m, struct orders *o);

#endif
