/* life.h - signals and readiness of a daemon: asked to stop, to reload, and telling that it is
 * ready.
 *
 * SIGTERM and SIGINT ask to stop, once; SIGHUP asks to reload; SIGPIPE is ignored.
 * Layer: daemon. Uses: base, loop, ready. Thread: the loop's. */
#ifndef SALLYPORT_DAEMON_LIFE_H
#define SALLYPORT_DAEMON_LIFE_H

#include <stdbool.h>

#include "daemon/ready.h"
#include "loop/loop.h"

struct life;

typedef void (*life_fn)(void *arg);

struct life {
	struct ready ready;
	bool is_ready;
	bool is_stopping;
	life_fn on_stop;
	life_fn on_reload; /* NULL: SIGHUP is logged and otherwise ignored */
	void *arg;
};

/* Takes:   ready_fd (-1: none) becomes ours; $NOTIFY_SOCKET is read and removed.
 * Returns: ERR_OK or the error of the loop; life_fini() in any case.
 * Fires:   on_stop once, on_reload at each SIGHUP before that, on the loop thread. */
WARN_UNUSED enum err life_init(struct life *life, struct loop *l, int ready_fd, life_fn on_stop,
	life_fn on_reload, void *arg);
void life_fini(struct life *life);

/* A start that failed is taken back: from now on no signal asks for anything. */
void life_close(struct life *life);

/* Tells the supervisor, the first time that it is called. */
void life_tell_ready(struct life *life);

/* Tells the supervisor that we read the files again, and what came of it (one line for people).
 * Before the first life_tell_ready() nothing is told: it would say too much. */
void life_tell_reloading(struct life *life);
void life_tell_reloaded(struct life *life, const char *line);

#endif
