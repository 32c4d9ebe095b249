/* setup.h - the config file as it was read once, with all that it names opened: whole, or every
 * mistake.
 *
 * A daemon runs on one setup, whose address never changes; what was read again later moves in.
 * Layer: daemon. Uses: base, options, site. Never: the loop. Thread: the owner's. */
#ifndef SALLYPORT_DAEMON_SETUP_H
#define SALLYPORT_DAEMON_SETUP_H

#include "daemon/options.h"
#include "daemon/site.h"

/* Opens whatever else a config names: the sealing keys, by site_open_rings(), which makes the returns;
 * file is its name in the report. */
typedef enum err (*setup_more_fn)(
	const void *config, const char *file, struct site *site, struct report *report);

/* What a daemon's config consists of. */
struct setup_kind {
	const struct options *options;
	size_t config_bytes; /* of the daemon's struct */
	size_t site_at;      /* offset of the struct site_config in it */
	size_t name_at;      /* offset of the char * with the host's or the node's name */
	const char *realm;   /* of its identity: "web", "app" */
	setup_more_fn open_more;
};

struct setup {
	const struct setup_kind *kind;
	char *file;
	void *config; /* the daemon's struct */
	struct site site;
};

/* Takes:   kind is borrowed for good, file is copied.
 * Returns: ERR_OK; ERR_INPUT with every mistake in the report; ERR_NOMEM. setup_close() in any
 *          case.
 * Blocks:  on reading the files and the user database. */
WARN_UNUSED enum err setup_open(const struct setup_kind *kind, const char *file,
	struct report *report, struct setup *out);

/* A zeroed one is fine. */
void setup_close(struct setup *s);

/* What was read again counts from now on, as far as it can without a restart; what does not
 * count any more is left in `fresh`, to be closed.
 * Takes:   both are open, and of one kind.
 * Fires:   on_stays for each key that has to wait for a restart, from inside. */
void setup_take(
	struct setup *running, struct setup *fresh, option_stays_fn on_stays, void *arg);

/* The part of config that both daemons have. */
const struct site_config *setup_site_config(const struct setup *s);

/* The host or the node. */
const char *setup_name(const struct setup *s);

#endif
