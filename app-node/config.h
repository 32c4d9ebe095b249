/* config.h - the node's config file.
 *
 * Layer: app-node. Uses: base, daemon, http. */
#ifndef SALLYPORT_NODE_CONFIG_H
#define SALLYPORT_NODE_CONFIG_H

#include <stdint.h>

#include "daemon/options.h"
#include "daemon/site.h"

struct node_config {
	struct site_config site;
	char *node;
	struct option_list crossings;
	char *seal_keys; /* folder */
	char *handlers;
	uint64_t handler_connections;
	uint64_t call_prefetch;
	uint64_t calls_waiting;
	uint64_t send_prefetch;
	uint64_t clock_skew_ms;
	uint64_t replay_kept;
};

/* The table of all keys. */
extern const struct options node_options;

/* A ring for each crossing, in their order: a setup_rings_fn. */
WARN_UNUSED enum err node_open_rings(
	const void *node_config, struct site *site, struct report *report);

#endif
