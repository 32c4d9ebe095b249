/* config.h - the node's config file.
 *
 * Layer: app-node. Uses: base, daemon, http. */
#ifndef SALLYPORT_NODE_CONFIG_H
#define SALLYPORT_NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/options.h"
#include "daemon/site.h"

struct node_config {
	struct site_config site;
	char *node;
	struct option_list crossings;
	struct option_list
		revoked; /* identities: of each host the newest that was thrown out */
	char *seal_keys; /* folder */
	char *seal_inner;
	struct option_list inner_brokers; /* empty: those of the border */
	bool ready_inner;
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

/* A ring for each crossing, in their order, and that of the inner vhost; its brokers: a setup_more_fn.
 */
WARN_UNUSED enum err node_open_more(
	const void *node_config, const char *file, struct site *site, struct report *report);

/* The keys of the inner vhost, borrowed from what node_open_more() opened. */
const struct keyring *node_inner_ring(const struct site *site);

#endif
