/* config.h - the agent's config file.
 *
 * Layer: webapp-agent. Uses: base, daemon. */
#ifndef SALLYPORT_AGENT_CONFIG_H
#define SALLYPORT_AGENT_CONFIG_H

#include <stdint.h>

#include "daemon/options.h"
#include "daemon/site.h"

struct agent_config {
	struct site_config site;
	char *host;
	char *seal_key;
	uint64_t calls_waiting;
	uint64_t answers_kept;
	uint64_t answers_kept_bytes;
	uint64_t answers_keep_ms;
	uint64_t send_timeout_ms;
	uint64_t send_window;
	uint64_t confirm_timeout_ms;
};

/* The table of all keys. */
extern const struct options agent_options;

/* The one ring of this host's crossing: a setup_more_fn. */
WARN_UNUSED enum err agent_open_more(
	const void *agent_config, const char *file, struct site *site, struct report *report);

#endif
