/* node.h - the app realm's daemon: wires crossings, guard, jobs and local API together.
 *
 * Layer: app-node. Uses: everything below. Thread: the loop's. */
#ifndef SALLYPORT_NODE_NODE_H
#define SALLYPORT_NODE_NODE_H

#include "app-node/config.h"
#include "app-node/crossing.h"
#include "app-node/guard.h"
#include "app-node/job.h"
#include "base/buf.h"
#include "daemon/life.h"
#include "daemon/metrics.h"

/*  RUNNING -> DRAINING -> LEAVING -> CLOSING -> GONE
 *   serves     no new      crossings  client
 *              work        close      and server close                              */
enum node_state { NODE_RUNNING = 0, NODE_DRAINING, NODE_LEAVING, NODE_CLOSING, NODE_GONE };

struct node_daemon {
	struct loop loop;
	const struct node_config *config; /* borrowed */
	const struct site *site;          /* borrowed */
	enum node_state state;
	struct crossing *crossings; /* owned, crossing_count of them */
	struct seen *seen;          /* owned; one per crossing, whatever becomes of its links */
	size_t crossing_count;
	size_t ready_count;     /* crossings that are ready */
	size_t calls_undrained; /* DRAINING: crossings that may still bring calls */
	size_t crossings_open;  /* LEAVING */
	unsigned closing;       /* CLOSING: client and server */
	struct http_target handlers;
	struct http_client *client;
	struct http_server *server;
	struct jobs jobs;
	struct timer drain_limit;
	uint64_t refused[GUARD_VERDICTS]; /* deliveries, by verdict */
	struct metrics metrics;
	struct life life;
	uint64_t started_us; /* monotonic */
};

/* Every crossing is open both ways. */
static inline bool node_is_ready(const struct node_daemon *n)
{
	return n->ready_count == n->crossing_count;
}

/* Runs until SIGTERM or SIGINT has been obeyed: a program_run_fn.
 *
 * Takes:   node_config, a struct node_config, and site are borrowed; ready_fd (-1: none)
 *          becomes ours.
 * Returns: ERR_OK after an orderly stop; any other error if it could not start, with a log
 *          line.
 * Blocks:  for the daemon's whole life. */
WARN_UNUSED enum err node_run(const void *node_config, const struct site *site, int ready_fd);

#endif
