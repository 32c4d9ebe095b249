#include "daemon/site.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/bug.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

enum { RETRY_FIRST_MS = 50, RECIPE_MAX_BYTES = 4 * 1024 * 1024 };

/* A mistake about a value that the table of options could not judge. */
static void mistake(struct report *report, const char *file, const char *key, const char *value,
	const char *text)
{
	report_add(report, file, options_line(file, key), 0, span_of(key), "\"%s\": %s",
		text_show(span_of(value)).at, text);
}

/* Returns how many there are. */
static unsigned read_brokers(const struct option_list *list, const char *file, const char *key,
	struct report *report, struct transport_address *out)
{
	unsigned count = 0;

	for (size_t i = 0; i < list->count && i < CONNECTION_BROKERS_MAX; i++) {
		const char *text = list->at[i];

		if (transport_address_parse(span_of(text), &out[count++]) != ERR_OK)
			mistake(report, file, key, text,
				"an address is host:port, for example 192.0.2.1:5671");
	}
	return count;
}

static enum err read_identity(struct site *s, const struct site_config *config,
	const char *file, struct report *report)
{
	struct tls_paths paths = {
		.ca = config->tls_ca,
		.certificate = config->tls_certificate,
		.key = config->tls_key,
	};
	struct tls_why why;
	enum err err = tls_identity_open(&paths, &s->identity, &why);
	const char *key = why.file == paths.ca    ? "tls.ca"
			  : why.file == paths.key ? "tls.key"
						  : "tls.certificate";

	if (err == ERR_INPUT)
		report_add(
			report, file, options_line(file, key), 0, span_of(key), "%s", why.at);
	return err == ERR_NOMEM ? ERR_NOMEM : ERR_OK;
}

static enum err read_contract(
	struct site *s, const struct site_config *config, struct report *report)
{
	enum err err = contract_load(config->contract, report, &s->contract);
	struct digest digest;

	if (err == ERR_INPUT)
		return ERR_OK; /* the report has it */
	if (err == ERR_OK)
		err = digest_of(s->contract.source, &digest);
	if (err != ERR_OK)
		return err;
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		snprintf(s->contract_digest + 2 * i, 3, "%02x", digest.byte[i]);
	return ERR_OK;
}

static void read_users(struct site *s, const struct site_config *config, const char *file,
	struct report *report)
{
	for (size_t i = 0; i < config->api_users.count && i < SITE_API_USERS_MAX; i++) {
		const char *name = config->api_users.at[i];
		const struct passwd *user = getpwnam(name);
		uint64_t number;

		if (user != NULL)
			s->api_users[s->api_user_count++] = user->pw_uid;
		else if (text_parse_u64(span_of(name), &number) == ERR_OK &&
			 number < UINT32_MAX)
			s->api_users[s->api_user_count++] = (uid_t)number;
		else
			mistake(report, file, "api.users", name,
				"no such user on this machine, and no number");
	}
}

static void read_group(struct site *s, const struct site_config *config, const char *file,
	struct report *report)
{
	uint64_t number;

	if (config->api_group == NULL)
		return;
	const struct group *group = getgrnam(config->api_group);

	s->has_api_group = true;
	if (group != NULL)
		s->api_group = group->gr_gid;
	else if (text_parse_u64(span_of(config->api_group), &number) == ERR_OK &&
		 number < UINT32_MAX)
		s->api_group = (gid_t)number;
	else
		mistake(report, file, "api.group", config->api_group,
			"no such group on this machine, and no number");
}

static void check_socket(
	const struct site_config *config, const char *file, struct report *report)
{
	size_t len = strlen(config->api_socket);
	char folder[PATH_MAX];
	struct stat about;

	if (len > LISTENER_PATH_MAX_BYTES) {
		report_add(report, file, options_line(file, "api.socket"), 0,
			span_of("api.socket"),
			"a socket's path has at most %d bytes, this one %zu: \"%s\"",
			LISTENER_PATH_MAX_BYTES, len,
			text_show(span_of(config->api_socket)).at);
		return;
	}
	if (lstat(config->api_socket, &about) == 0 && !S_ISSOCK(about.st_mode)) {
		mistake(report, file, "api.socket", config->api_socket,
			S_ISDIR(about.st_mode)
				? "is a folder; write the socket's own name behind it"
				: "something else than a socket is there; move it away, or "
				  "choose another path");
		return;
	}
	snprintf(folder, sizeof(folder), "%s", config->api_socket);
	char *slash = strrchr(folder, '/');

	if (slash == NULL)
		return; /* the present folder */
	slash[slash == folder ? 1 : 0] = '\0';
	if (stat(folder, &about) != 0 || !S_ISDIR(about.st_mode))
		mistake(report, file, "api.socket", config->api_socket,
			"its folder must be there");
}

/* A file that cannot be read is the identity's to complain about. */
static void add_file(struct buf *recipe, const char *path)
{
	size_t before = recipe->len;

	if (file_read(path, recipe) != ERR_OK)
		buf_text(recipe, "?");
	buf_format(recipe, "\n%zu\n", recipe->len - before);
}

/* Read before the identity is opened: should the files change in between, the next reload takes
 * them for new once more, instead of never. */
static enum err read_recipe(const struct site_config *config, const struct option_list *brokers,
	const char *file, struct report *report, struct digest *out)
{
	struct buf recipe;

	buf_init(&recipe, RECIPE_MAX_BYTES);
	/* All room at once: a key must leave no copies behind where the buffer grew. */
	if (buf_reserve(&recipe, RECIPE_MAX_BYTES) == NULL)
		return ERR_NOMEM;
	add_file(&recipe, config->tls_ca);
	add_file(&recipe, config->tls_certificate);
	add_file(&recipe, config->tls_key);
	for (size_t i = 0; i < brokers->count; i++)
		buf_format(&recipe, "%s\n", brokers->at[i]);
	buf_format(&recipe, "%llu %llu %llu\n",
		(unsigned long long)config->handshake_timeout_ms,
		(unsigned long long)config->retry_longest_ms,
		(unsigned long long)config->heartbeat_s);
	enum err err = buf_status(&recipe);

	if (err == ERR_OK)
		err = digest_of(buf_span(&recipe), out);
	explicit_bzero(recipe.at, recipe.len);
	buf_fini(&recipe);
	if (err != ERR_FULL)
		return err;
	mistake(report, file, "tls.ca", config->tls_ca,
		"with tls.certificate and tls.key it may have 4 MiB at most");
	return ERR_OK;
}

enum err site_open(const struct site_config *config, const char *file, struct report *report,
	struct site *out)
{
	*out = (struct site){ 0 };
	out->broker_count = read_brokers(
		&config->brokers, file, "border.brokers", report, out->brokers);
	read_users(out, config, file, report);
	read_group(out, config, file, report);
	check_socket(config, file, report);
	if (log_level_parse(span_of(config->log_level), &out->log_level) != ERR_OK)
		mistake(report, file, "log.level", config->log_level,
			"one of error, warn, info, debug");
	enum err err = read_recipe(config, &config->brokers, file, report, &out->link_recipe);

	if (err == ERR_OK)
		err = read_identity(out, config, file, report);
	if (err == ERR_OK)
		err = read_contract(out, config, report);
	if (err == ERR_OK && !report_is_empty(report))
		err = ERR_INPUT;
	return err;
}

enum err site_open_inner(struct site *s, const struct site_config *config,
	const struct option_list *brokers, const char *file, struct report *report)
{
	const struct option_list *list = brokers->count > 0 ? brokers : &config->brokers;

	s->inner.broker_count = read_brokers(
		list, file, "inner.brokers", report, s->inner.brokers);
	return read_recipe(config, list, file, report, &s->inner.recipe);
}

void site_close(struct site *s)
{
	tls_identity_close(s->identity);
	contract_free(&s->contract);
	for (size_t i = 0; i < s->ring_count; i++)
		keyring_wipe(&s->rings[i]);
	free(s->rings);
	*s = (struct site){ 0 };
}

/* The mistakes of a key file, at the line of the config that names it. */
static void tell_ring(const struct report *found, const struct site_ring *ring,
	const char *file, struct report *report)
{
	unsigned line = options_line(file, ring->key);

	for (size_t i = 0; i < found->count; i++) {
		const struct mistake *m = &found->mistakes[i];

		if (m->line > 0)
			report_add(report, file, line, 0, span_of(ring->key), "%s:%u: %s",
				m->file, m->line, m->text);
		else
			report_add(report, file, line, 0, span_of(ring->key), "%s: %s", m->file,
				m->text);
	}
	report->dropped += found->dropped;
}

static enum err read_ring(const struct site_ring *ring, const char *file, struct report *report,
	struct keyring *out)
{
	struct report found;

	report_init(&found);
	enum err err = keyring_load(ring->path, &found, out);

	tell_ring(&found, ring, file, report);
	report_fini(&found);
	return err;
}

enum err site_open_rings(struct site *s, const struct site_ring *rings, size_t count,
	const char *file, struct report *report)
{
	enum err err = ERR_OK;

	BUG_ON(s->rings != NULL);
	s->rings = calloc(count, sizeof(*s->rings));
	if (s->rings == NULL)
		return ERR_NOMEM;
	s->ring_count = count;
	for (size_t i = 0; i < count; i++) {
		enum err one = read_ring(&rings[i], file, report, &s->rings[i]);

		if (one == ERR_NOMEM)
			return one;
		if (one != ERR_OK)
			err = one;
	}
	return err;
}

void site_take(struct site *running, struct site *fresh)
{
	struct site old = *running;

	*running = *fresh;
	running->contract = old.contract;
	memcpy(running->contract_digest, old.contract_digest, sizeof(old.contract_digest));
	running->has_api_group = old.has_api_group;
	running->api_group = old.api_group;
	/* What is left in `fresh` is whatever does not run any more, to be closed. */
	old.contract = fresh->contract;
	memcpy(old.contract_digest, fresh->contract_digest, sizeof(old.contract_digest));
	*fresh = old;
}

void site_expect_identity(const struct site *s, const char *realm, const char *name,
	const struct site_config *config, const char *file, struct report *report)
{
	char expected[128];

	if (s->identity == NULL)
		return;
	const char *identity = tls_identity_name(s->identity);
	int len = snprintf(expected, sizeof(expected), "%s.%s.g", realm, name);
	uint64_t generation;

	if (len > 0 && strncmp(identity, expected, (size_t)len) == 0 &&
		text_parse_u64(span_of(identity + len), &generation) == ERR_OK &&
		generation > 0)
		return;
	report_add(report, file, options_line(file, "tls.certificate"), 0,
		span_of("tls.certificate"),
		"%s is the certificate of \"%s\"; needed is one of %s<N>",
		config->tls_certificate, text_show(span_of(identity)).at, expected);
}

void site_hint(const struct site *s, const struct site_config *config, const char *file,
	struct report *hints)
{
	const char *why = tls_identity_stranger(s->identity);

	if (why != NULL)
		report_add(hints, file, options_line(file, "tls.ca"), 0, span_of("tls.ca"),
			"%s is not the CA of tls.certificate (%s); right only if the brokers "
			"have another CA than we",
			text_show(span_of(config->tls_ca)).at, why);
}

struct link_config site_link_config(const struct site *s, const struct site_config *config)
{
	return (struct link_config){
		.brokers = s->brokers,
		.broker_count = s->broker_count,
		.identity = s->identity,
		.handshake_timeout_ms = config->handshake_timeout_ms,
		.retry_first_ms = RETRY_FIRST_MS,
		.retry_longest_ms = config->retry_longest_ms,
		.heartbeat_s = (uint16_t)config->heartbeat_s,
	};
}

struct link_config site_inner_link_config(
	const struct site *s, const struct site_config *config)
{
	struct link_config link = site_link_config(s, config);

	link.brokers = s->inner.brokers;
	link.broker_count = s->inner.broker_count;
	return link;
}

/* Half of the descriptors stay for the border, the handlers and the files: clients that hold
 * all of theirs must not keep a link from being dialed again. */
static unsigned connections_within_descriptors(uint64_t wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || wanted <= limit.rlim_cur / 2)
		return (unsigned)wanted;
	log_warn("event=connections-lowered from=%llu to=%llu reason=\"ulimit -n is %llu\"",
		(unsigned long long)wanted, (unsigned long long)limit.rlim_cur / 2,
		(unsigned long long)limit.rlim_cur);
	return (unsigned)(limit.rlim_cur / 2);
}

struct http_server_config site_api_config(
	const struct site *s, const struct site_config *config)
{
	return (struct http_server_config){
		.socket = {
			.path = config->api_socket,
			.mode = config->api_mode,
			.has_group = s->has_api_group,
			.group = s->api_group,
		},
		.has_loopback = config->api_loopback_port != 0,
		.loopback_port = (uint16_t)config->api_loopback_port,
		.allowed_uids = s->api_users,
		.allowed_uid_count = s->api_user_count,
		.max_connections = connections_within_descriptors(config->api_connections),
		.max_body_bytes = MESSAGE_BODY_MAX_BYTES,
	};
}
