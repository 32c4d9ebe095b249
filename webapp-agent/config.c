#include "webapp-agent/config.h"

#include "amqp/publisher.h"

#define AT(field) OPTION_AT(struct agent_config, field)

/* clang-format off */
static const struct option table[] = {
	{ "host", OPTION_NAME, AT(host), 1, 63, NULL, "web1", NULL,
		"name of this web host, as provisioned", OPTION_AT_START },
	{ "seal.key", OPTION_SEAL, AT(seal_key), 1, 4096, NULL, "seal.key", NULL,
		"key file of this host's crossing: what crosses is sealed with it", OPTION_AT_RELOAD },
	SITE_OPTIONS(struct agent_config, site),
	{ "calls.waiting", OPTION_U64, AT(calls_waiting), 1, 100000, "1024", NULL, NULL,
		"requests that may wait for an answer at once; more are answered 503 overloaded", OPTION_AT_START },
	{ "answers.kept", OPTION_U64, AT(answers_kept), 0, 1000000, "10000", NULL, NULL,
		"outcomes kept for repetitions under the same Idempotency-Key", OPTION_AT_START },
	{ "answers.kept_bytes", OPTION_BYTES, AT(answers_kept_bytes), 0, MIB(1024), "16MiB", NULL,
		NULL, "memory for them; the oldest give way", OPTION_AT_START },
	{ "answers.keep", OPTION_MS, AT(answers_keep_ms), 1000, 3600000, "60s", NULL, NULL,
		"how long", OPTION_AT_START },
	{ "send.timeout", OPTION_MS, AT(send_timeout_ms), 100, 600000, "5s", NULL, NULL,
		"until the border must have confirmed a send", OPTION_AT_START },
	{ "send.window", OPTION_U64, AT(send_window), 1, PUBLISHER_WINDOW_MAX, "256", NULL, NULL,
		"sends that the border has not confirmed yet, at once", OPTION_AT_START },
	{ "send.confirm_timeout", OPTION_MS, AT(confirm_timeout_ms), 1000, 600000, "30s", NULL,
		NULL, "redial when a publish stays unconfirmed this long", OPTION_AT_START },
};
/* clang-format on */

const struct options agent_options = { .table = table, .count = ARRAY_COUNT(table) };

enum err agent_open_more(
	const void *agent_config, const char *file, struct site *site, struct report *report)
{
	const struct agent_config *config = agent_config;
	struct site_ring ring = { .path = config->seal_key, .key = "seal.key" };

	return site_open_rings(site, &ring, 1, file, report);
}
