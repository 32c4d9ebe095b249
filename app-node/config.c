#include "app-node/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "amqp/consumer.h"
#include "app-node/crossing.h"
#include "http/target.h"
#include "message/identity.h"
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

static const char *check_revoked(struct span value)
{
	struct identity who;

	if (identity_parse(value, &who) == ERR_OK && span_is(who.realm, "web"))
		return NULL;
	return "is no identity of a web host: web.HOST.gN";
}

/* clang-format off */
static const struct option table[] = {
	{ "node", OPTION_NAME, AT(node), 1, 63, NULL, "app1", NULL,
		"name of this node, as provisioned", OPTION_AT_START },
	{ "crossings", OPTION_NAMES, AT(crossings), 1, 500, "", "web1, web2", check_crossing,
		"the web hosts that this node serves", OPTION_AT_RELOAD },
	{ "crossings.revoked", OPTION_NAMES, AT(revoked), 1, 500, "", "web.web3.g2, web.web4.g1",
		check_revoked, "who was thrown out: of each host the newest identity; it and those before are not served, whatever the broker says", OPTION_AT_RELOAD },
	{ "seal.keys", OPTION_PATH, AT(seal_keys), 1, 4096, NULL, "seal", NULL,
		"folder with a key file for each crossing, HOST.seal: what crosses is sealed with it",
		OPTION_AT_RELOAD },
	{ "seal.inner", OPTION_SEAL, AT(seal_inner), 1, 4096, NULL, "seal/inner.seal", NULL,
		"key file of the inner vhost: what operations and nodes tell each other is sealed with it",
		OPTION_AT_RELOAD },
	{ "inner.brokers", OPTION_LIST, AT(inner_brokers), 1, 8, "", "127.0.0.1:5671",
		option_check_address, "brokers of the inner vhost, host:port, tried in turn; without it those of the border",
		OPTION_AT_RELOAD },
	{ "ready.inner", OPTION_BOOL, AT(ready_inner), 0, 0, "no", NULL, NULL,
		"readiness needs the inner vhost too", OPTION_AT_START },
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

static void free_paths(char **paths, size_t count)
{
	for (size_t i = 0; i < count && paths != NULL; i++)
		free(paths[i]);
	free(paths);
}

/* The rings of the crossings, then that of the inner vhost. */
static enum err open_rings(const struct node_config *config, const char *file,
	struct site *site, struct report *report)
{
	size_t count = config->crossings.count;
	struct site_ring *rings = calloc(count + 1, sizeof(*rings));
	char **paths = calloc(count + 1, sizeof(*paths));
	enum err err = paths == NULL || rings == NULL ? ERR_NOMEM : ERR_OK;

	for (size_t i = 0; i < count && err == ERR_OK; i++) {
		paths[i] = ring_path(config->seal_keys, config->crossings.at[i]);
		rings[i] = (struct site_ring){ .path = paths[i], .key = "seal.keys" };
		if (paths[i] == NULL)
			err = ERR_NOMEM;
	}
	if (err == ERR_OK) {
		rings[count] = (struct site_ring){ .path = config->seal_inner,
			.key = "seal.inner" };
		err = site_open_rings(site, rings, count + 1, file, report);
	}
	free_paths(paths, count);
	free(rings);
	return err;
}

enum err node_open_more(
	const void *node_config, const char *file, struct site *site, struct report *report)
{
	const struct node_config *config = node_config;
	enum err err = site_open_inner(
		site, &config->site, &config->inner_brokers, file, report);

	return err == ERR_NOMEM ? err : open_rings(config, file, site, report);
}

const struct keyring *node_inner_ring(const struct site *site)
{
	return &site->rings[site->ring_count - 1];
}
