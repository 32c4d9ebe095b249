/* site.h - what both daemons read and open before they begin: brokers, identity, contract, sealing
 * keys, API socket.
 *
 * Layer: daemon. Uses: base, contract, message, amqp, http. Never: the loop. Thread: the
 * owner's. */
#ifndef SALLYPORT_DAEMON_SITE_H
#define SALLYPORT_DAEMON_SITE_H

#include <stdbool.h>
#include <sys/types.h>

#include "amqp/link.h"
#include "base/log.h"
#include "base/report.h"
#include "contract/contract.h"
#include "daemon/options.h"
#include "http/server.h"
#include "message/digest.h"
#include "message/keyring.h"

enum { SITE_API_USERS_MAX = 32 };

/* The part of a config file that is the same for both daemons. */
struct site_config {
	struct option_list brokers;
	char *tls_ca;
	char *tls_certificate;
	char *tls_key;
	char *contract;
	char *api_socket;
	mode_t api_mode;
	char *api_group;
	struct option_list api_users;
	uint64_t api_connections;
	uint64_t api_loopback_port;
	uint64_t handshake_timeout_ms;
	uint64_t retry_longest_ms;
	uint64_t heartbeat_s;
	uint64_t drain_timeout_ms;
	bool ready_border;
	char *log_level;
};

/* Its rows; `config` is the daemon's struct, `site` the struct site_config in it. */
/* clang-format off */
#define SITE_OPTIONS(config, site)                                                             \
	{ "border.brokers", OPTION_LIST, OPTION_AT(config, site.brokers), 1, 8, NULL,          \
		"127.0.0.1:5671", option_check_address,                                        \
		"brokers of the border, host:port, tried in turn", OPTION_AT_RELOAD },         \
	{ "border.handshake_timeout", OPTION_MS, OPTION_AT(config, site.handshake_timeout_ms), \
		100, 60000, "5s", NULL, NULL, "from dialing until all channels are ready",     \
		OPTION_AT_RELOAD },                                                            \
	{ "border.retry_longest", OPTION_MS, OPTION_AT(config, site.retry_longest_ms), 50,     \
		60000, "1s", NULL, NULL, "longest wait between two tries to connect",          \
		OPTION_AT_RELOAD },                                                            \
	{ "border.heartbeat", OPTION_U64, OPTION_AT(config, site.heartbeat_s), 1, 600, "10",   \
		NULL, NULL, "seconds; twice that without a sign of life ends a connection",    \
		OPTION_AT_RELOAD },                                                            \
	{ "tls.ca", OPTION_FILE, OPTION_AT(config, site.tls_ca), 1, 4096, NULL, "ca.pem",      \
		NULL, "PEM, the CA that signed the brokers' certificates",                     \
		OPTION_AT_RELOAD },                                                            \
	{ "tls.certificate", OPTION_FILE, OPTION_AT(config, site.tls_certificate), 1, 4096,    \
		NULL, "identity.pem", NULL,                                                    \
		"PEM, our certificate; its common name is our identity",                       \
		OPTION_AT_RELOAD },                                                            \
	{ "tls.key", OPTION_SECRET, OPTION_AT(config, site.tls_key), 1, 4096, NULL,            \
		"identity.key", NULL, "PEM, the certificate's private key",                    \
		OPTION_AT_RELOAD },                                                            \
	{ "contract", OPTION_FILE, OPTION_AT(config, site.contract), 1, 4096, NULL,            \
		"contract.yaml", NULL, "the site's operations", OPTION_AT_START },             \
	{ "api.socket", OPTION_PATH, OPTION_AT(config, site.api_socket), 1, 4096, NULL,        \
		"sallyport.sock", NULL, "Unix socket of the local API",                        \
		OPTION_AT_START },                                                             \
	{ "api.mode", OPTION_MODE, OPTION_AT(config, site.api_mode), 0600, 0777, "0660", NULL, \
		NULL, "permissions of the socket", OPTION_AT_START },                          \
	{ "api.group", OPTION_NAME, OPTION_AT(config, site.api_group), 1, 64, "", "www-data",  \
		NULL, "group that the socket belongs to", OPTION_AT_START },                   \
	{ "api.users", OPTION_NAMES, OPTION_AT(config, site.api_users), 0, SITE_API_USERS_MAX, \
		"", "www-data", NULL,                                                          \
		"who may connect, beside root and our own user; everybody if empty",           \
		OPTION_AT_RELOAD },                                                            \
	{ "api.connections", OPTION_U64, OPTION_AT(config, site.api_connections), 8, 10000,    \
		"512", NULL, NULL, "at once; at the cap the oldest idle one gives way",        \
		OPTION_AT_START },                                                             \
	{ "api.loopback_port", OPTION_U64, OPTION_AT(config, site.api_loopback_port), 0,       \
		65535, "0", NULL, NULL,                                                        \
		"port on 127.0.0.1 for /livez /readyz /v1/status /metrics; 0 = none",          \
		OPTION_AT_START },                                                             \
	{ "drain.timeout", OPTION_MS, OPTION_AT(config, site.drain_timeout_ms), 0, 600000,     \
		"10s", NULL, NULL, "after SIGTERM: how long what runs may take to end",        \
		OPTION_AT_RELOAD },                                                            \
	{ "ready.border", OPTION_BOOL, OPTION_AT(config, site.ready_border), 0, 0, "no", NULL, \
		NULL, "readiness waits for the first link to the border",                      \
		OPTION_AT_START },                                                             \
	{ "log.level", OPTION_NAME, OPTION_AT(config, site.log_level), 1, 8, "info", NULL,     \
		NULL, "error, warn, info or debug", OPTION_AT_RELOAD }
/* clang-format on */

/* Another vhost than the border's, at brokers of its own: what a link there is made of. */
struct site_door {
	struct transport_address brokers[CONNECTION_BROKERS_MAX];
	unsigned broker_count;
	struct digest recipe;
};

/* What has been opened. */
struct site {
	struct transport_address brokers[CONNECTION_BROKERS_MAX];
	unsigned broker_count;
	struct site_door inner; /* site_open_inner(); zero otherwise */
	struct tls_identity *identity;
	struct contract contract;
	char contract_digest[2 * DIGEST_BYTES + 1]; /* SHA-256 of the file, hexadecimal */
	struct keyring *rings;                      /* in the order of site_open_rings() */
	size_t ring_count;
	uid_t api_users[SITE_API_USERS_MAX];
	size_t api_user_count;
	bool has_api_group;
	gid_t api_group;
	enum log_level log_level;
	struct digest
		link_recipe; /* of all that a link is made of: another one, another link */
};

/* Takes:   config is borrowed for the call; file is its name in the report.
 * Returns: ERR_OK; ERR_INPUT with every mistake in the report; ERR_NOMEM. site_close() in any
 *          case.
 * Blocks:  on reading files and the user database. */
WARN_UNUSED enum err site_open(const struct site_config *config, const char *file,
	struct report *report, struct site *out);

/* After site_open(): the app realm's own vhost, at `brokers`, or at those of the border if none are
 * named.
 *
 * Takes:   all is borrowed for the call.
 * Returns: ERR_OK, mistakes are in the report; ERR_NOMEM.
 * Blocks:  on reading files. */
WARN_UNUSED enum err site_open_inner(struct site *s, const struct site_config *config,
	const struct option_list *brokers, const char *file, struct report *report);

/* Wipes the keys, closes the rest. A zeroed site is fine. */
void site_close(struct site *s);

/* A key file, and the key of the config that led to it. */
struct site_ring {
	const char *path;
	const char *key;
};

/* Reads key files into s->rings, which must be empty.
 *
 * Takes:   everything is borrowed for the call; file is the config's name in the report.
 * Returns: ERR_OK; ERR_INPUT with every mistake in the report, at the key of its file;
 *          ERR_NOMEM.
 * Blocks:  on reading files. */
WARN_UNUSED enum err site_open_rings(struct site *s, const struct site_ring *rings,
	size_t count, const char *file, struct report *report);

/* The kind of identity that a daemon must have: "web.<host>.g<N>" or "app.<node>.g<N>". Adds a
 * mistake to the report otherwise. */
void site_expect_identity(const struct site *s, const char *realm, const char *name,
	const struct site_config *config, const char *file, struct report *report);

/* What is likely to be a mistake, but need not be. s has been opened. */
void site_hint(const struct site *s, const struct site_config *config, const char *file,
	struct report *hints);

/* Lets what was read again count: brokers, identity, users, log level and recipe move from `fresh`
 * to `running`, and back. The contract and the socket's group wait for a restart, as the keys
 * do. */
void site_take(struct site *running, struct site *fresh);

/* For one link; name and vhost are the caller's to fill in. Borrows from s and config. */
struct link_config site_link_config(const struct site *s, const struct site_config *config);

/* The same for the inner vhost. */
struct link_config site_inner_link_config(
	const struct site *s, const struct site_config *config);

/* For the local API; on_request and arg are the caller's to fill in. Borrows from s and config.
 */
struct http_server_config site_api_config(
	const struct site *s, const struct site_config *config);

#endif
