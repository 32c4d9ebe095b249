#include "app-node/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "amqp/consumer.h"
#include "app-node/crossing.h"
#include "http/target.h"
#include "message/replay.h"

#define AT(field) OPTION_AT(struct node_config, field)

static const char *check_handlers(struct span value)
{
	struct http_target target;
	const char *why = NULL;

	return http_target_parse(value, &target, &why) == ERR_OK ? NULL : why;
}

static const char *check_crossing(struct span value)
{
	return value.len <= CROSSING_HOST_MAX_BYTES ? NULL
						    : "a host's name has at most 63 characters";
}

/* clang-format off */
static const struct option table[] = {
	{ "node", OPTION_NAME, AT(node), 1, 63, NULL, "app1", NULL,
		"name of this node, as provisioned", OPTION_AT_START },
	{ "crossings", OPTION_NAMES, AT(crossings), 1, 500, NULL, "web1, web2", check_crossing,
		"the web hosts that this node serves", OPTION_AT_RELOAD },
	{ "seal.keys", OPTION_PATH, AT(seal_keys), 1, 4096, NULL, "seal", NULL,
		"folder with a key file for each crossing, HOST.seal: what crosses is sealed with it",
		OPTION_AT_RELOAD },
	{ "handlers", OPTION_TEXT, AT(handlers), 1, 512, NULL,
		"http+unix:///run/shop/handlers.sock", check_handlers,
		"where handlers answer: each operation is a POST to <handlers>/<operation>", OPTION_AT_START },
	SITE_OPTIONS(struct node_config, site),
	{ "handlers.connections", OPTION_U64, AT(handler_connections), 1, 4096, "64", NULL, NULL,
		"connections to the handlers at once", OPTION_AT_START },
	{ "calls.prefetch", OPTION_U64, AT(call_prefetch), 1, CONSUMER_PREFETCH_MAX, "256", NULL,
		NULL, "calls of one crossing that the broker may hand over before it hears that they came", OPTION_AT_START },
	{ "calls.waiting", OPTION_U64, AT(calls_waiting), 1, 100000, "256", NULL, NULL,
		"calls of one operation and crossing that may wait for a handler", OPTION_AT_START },
	{ "sends.prefetch", OPTION_U64, AT(send_prefetch), 1, CONSUMER_PREFETCH_MAX, "256", NULL,
		NULL, "sends of one crossing that may be with this node at once", OPTION_AT_START },
	{ "clock.skew", OPTION_MS, AT(clock_skew_ms), 0, 3600000, "30s", NULL, NULL,
		"how far a web host's clock may be off before its calls are refused as too old", OPTION_AT_RELOAD },
	{ "replay.kept", OPTION_U64, AT(replay_kept), 1024, REPLAY_MAX_CAPACITY, "131072", NULL,
		NULL, "calls, and sends, of one crossing that are known again; 56 bytes each", OPTION_AT_START },
};
/* clang-format on */

const struct options node_options = { .table = table, .count = ARRAY_COUNT(table) };

/* FOLDER/HOST.seal, to be freed; NULL when memory is short. */
static char *ring_path(const char *folder, const char *host)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s.seal", folder, host) < 0 ? NULL : path;
}

enum err node_open_rings(const void *node_config, struct site *site, struct report *report)
{
	const struct node_config *config = node_config;
	size_t count = config->crossings.count;
	char **paths = calloc(count, sizeof(*paths));
	enum err err = paths == NULL ? ERR_NOMEM : ERR_OK;

	for (size_t i = 0; i < count && err == ERR_OK; i++) {
		paths[i] = ring_path(config->seal_keys, config->crossings.at[i]);
		if (paths[i] == NULL)
			err = ERR_NOMEM;
	}
	if (err == ERR_OK)
		err = site_open_rings(site, paths, count, report);
	for (size_t i = 0; i < count && paths != NULL; i++)
		free(paths[i]);
	free(paths);
	return err;
}
