/* agent.h - the web host's daemon: wires desk, border and local API together, and takes them
 * down.
 *
 * Layer: webapp-agent. Uses: everything below. Thread: the loop's. */
#ifndef SALLYPORT_AGENT_AGENT_H
#define SALLYPORT_AGENT_AGENT_H

#include "daemon/life.h"
#include "daemon/metrics.h"
#include "daemon/reload.h"
#include "webapp-agent/border.h"
#include "webapp-agent/config.h"
#include "webapp-agent/desk.h"

/*  RUNNING -> DRAINING -> LEAVING -> CLOSING -> GONE
 *   serves     no new      border     server
 *              work        closes     closes                                        */
enum agent_state {
	AGENT_RUNNING = 0,
	AGENT_DRAINING,
	AGENT_LEAVING,
	AGENT_CLOSING,
	AGENT_GONE
};

struct agent {
	struct loop loop;
	const struct agent_config *config; /* borrowed: the setup's, which reloads change */
	const struct site *site;           /* likewise */
	enum agent_state state;
	struct border border;
	struct desk desk;
	struct http_server *server;
	struct metrics metrics;
	struct life life;
	struct reload reload;
	uint64_t started_us; /* monotonic */
};

/* Runs until SIGTERM or SIGINT has been obeyed: a program_run_fn.
 *
 * Takes:   setup is borrowed, its config is a struct agent_config; ready_fd (-1: none) becomes
 *          ours.
 * Returns: ERR_OK after an orderly stop; any other error if it could not start, with a log
 *          line.
 * Blocks:  for the daemon's whole life. */
WARN_UNUSED enum err agent_run(struct setup *setup, int ready_fd);

#endif
