/* reload.h - SIGHUP: the files are read again; all of it counts, or nothing does, and why is told.
 *
 * Layer: daemon. Uses: base, setup, life, metrics. Never: what a link or a crossing is. Thread:
 * the loop's. */
#ifndef SALLYPORT_DAEMON_RELOAD_H
#define SALLYPORT_DAEMON_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json_writer.h"
#include "daemon/life.h"
#include "daemon/metrics.h"
#include "daemon/setup.h"

/*             SIGHUP
 *   (all) --------------> READING -- a mistake --> REFUSED
 *                            |
 *                            v         done
 *                         CHANGING ------------+--> DONE
 *                            |  ^              |
 *            takes too long  v  | goes on      |
 *                         PENDING -------------+
 *
 * Between READING and the next REFUSED, PENDING or DONE the supervisor is told that we reload. */
enum reload_state {
	RELOAD_NEVER = 0, /* not asked yet */
	RELOAD_READING,
	RELOAD_REFUSED,  /* everything is as it was before */
	RELOAD_CHANGING, /* what was read counts; something old still has to make room */
	RELOAD_PENDING,  /* likewise, and something new is not ready for some time */
	RELOAD_DONE,
	RELOAD_NSTATES,
};

/* How far the changes have got. */
enum reload_progress { RELOAD_ALL_DONE = 0, RELOAD_GOES_ON, RELOAD_HANGS };

struct reload_counters {
	uint64_t asked;
	uint64_t refused;
};

struct reload {
	enum reload_state state;
	struct setup *running; /* borrowed */
	struct life *life;     /* borrowed */
	struct reload_counters counters;
	uint64_t at_unix_ms; /* of the last SIGHUP */
	struct buf mistakes; /* of the last reading: lines, or empty */
	struct buf stays;    /* keys that wait for a restart, separated by ", " */
};

void reload_init(struct reload *r, struct setup *running, struct life *life);

/* A zeroed one is fine. */
void reload_fini(struct reload *r);

/* SIGHUP has come: reads everything.
 *
 * Takes:   *fresh is the caller's after ERR_OK, to prepare what may fail; then reload_take() or
 *          reload_refuse().
 * Returns: ERR_OK; any other error: refused, told, nothing has changed.
 * Blocks:  on reading the files and the user database. */
WARN_UNUSED enum err reload_read(struct reload *r, struct setup *fresh);

/* What the caller had to prepare has failed. Closes fresh. */
void reload_refuse(struct reload *r, struct setup *fresh, enum err err);

/* What was read counts. Closes fresh, into which the old has gone. */
void reload_take(struct reload *r, struct setup *fresh);

/* Whatever had to change by it has got so far. May be said at any time. */
void reload_tell(struct reload *r, enum reload_progress progress);

/* Static storage: "never", "refused" … */
const char *reload_state_name(const struct reload *r);

/* Member "reload" of the present object. */
void reload_write_status(const struct reload *r, struct json_writer *w);

void reload_register(struct metrics *m, const struct reload *r);

#endif
