/* node.h - the app realm's daemon: wires crossings, guard, jobs and local API together.
 *
 * Layer: app-node. Uses: everything below. Thread: the loop's. */
#ifndef SALLYPORT_NODE_NODE_H
#define SALLYPORT_NODE_NODE_H

#include "app-node/config.h"
#include "app-node/crossings.h"
#include "app-node/guard.h"
#include "app-node/job.h"
#include "app-node/orders.h"
#include "base/buf.h"
#include "daemon/life.h"
#include "daemon/metrics.h"
#include "daemon/reload.h"

/*  RUNNING -> DRAINING -> LEAVING -> CLOSING -> GONE
 *   serves     no new      crossings  client
 *              work        close      and server close                              */
enum node_state { NODE_RUNNING = 0, NODE_DRAINING, NODE_LEAVING, NODE_CLOSING, NODE_GONE };

struct node_daemon {
	struct loop loop;
	const struct node_config *config; /* borrowed: the setup's, which reloads change */
	const struct site *site;          /* likewise */
	enum node_state state;
	struct crossings crossings;
	struct orders orders;
	unsigned closing; /* LEAVING: crossings and orders; CLOSING: client and server */
	struct http_target handlers;
	struct http_client *client;
	struct http_server *server;
	struct jobs jobs;
	struct timer drain_limit;
	uint64_t refused[GUARD_VERDICTS]; /* deliveries, by verdict */
	struct metrics metrics;
	bool metrics_are_old; /* some link or crossing is another one: register anew */
	struct life life;
	struct reload reload;
	uint64_t started_us; /* monotonic */
};

/* Whatever the configuration wants a link to is linked. */
bool node_is_ready(const struct node_daemon *n);

/* Runs until SIGTERM or SIGINT has been obeyed: a program_run_fn.
 *
 * Takes:   setup is borrowed, its config is a struct node_config; ready_fd (-1: none) becomes
 *          ours.
 * Returns: ERR_OK after an orderly stop; any other error if it could not start, with a log
 *          line.
 * Blocks:  for the daemon's whole life. */
WARN_UNUSED enum err node_run(struct setup *setup, int ready_fd);

#endif
