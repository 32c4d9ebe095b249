#include "plan.h"

#include <stdio.h>

#include "amqp/tls.h"
#include "amqp/transport.h"
#include "base/text.h"

#define AT(field) OPTION_AT(struct plan, field)
#define BADGE(name, role, fallback, file, sentence)                                          \
	{ name ".certificate", OPTION_FILE, AT(badges[role].certificate), 1, 4096, fallback, \
		file ".pem", NULL, sentence, OPTION_AT_START },                              \
	{                                                                                    \
		name ".key", OPTION_SECRET, AT(badges[role].key), 1, 4096, fallback,         \
			file ".key", NULL, "its key", OPTION_AT_START                        \
	}

/* clang-format off */
static const struct option table[] = {
	{ "broker", OPTION_TEXT, AT(broker), 1, 300, NULL, "127.0.0.1:5671", option_check_address,
		"the border, as its certificate names it", OPTION_AT_START },
	{ "ca", OPTION_FILE, AT(ca), 1, 4096, NULL, "ca.pem", NULL, "the site's authority", OPTION_AT_START },
	BADGE("web", ROLE_WEB, NULL, "web.web1.g1", "the web host whose border is tried"),
	BADGE("node", ROLE_NODE, NULL, "app.app1.g1", "an app node"),
	BADGE("other", ROLE_OTHER, "", "web.web2.g1", "another web host"),
	BADGE("self_signed", ROLE_SELF_SIGNED, "", "self-signed/web.web1.g1",
		"the web host's name, signed by itself"),
	BADGE("stranger", ROLE_STRANGER, "", "stranger/web.web1.g1",
		"the web host's name, signed by another authority"),
	BADGE("expired", ROLE_EXPIRED, "", "expired/web.web1.g1",
		"the web host's name, expired"),
	BADGE("server", ROLE_SERVER, "", "broker", "the broker's own certificate"),
	BADGE("previous", ROLE_PREVIOUS, "", "web.web1.g0",
		"the web host in a generation that was retired"),
	BADGE("unknown", ROLE_UNKNOWN, "", "web.nobody.g1", "a name that has no user"),
	{ "vhosts", OPTION_LIST, AT(vhosts), 0, 100, "", "border.web2", NULL,
		"vhosts that the web host must not enter, beside inner and the usual ones", OPTION_AT_START },
	{ "ports", OPTION_LIST, AT(ports), 0, 64,
		"5672, 15672, 15671, 15692, 1883, 8883, 61613, 61614, 5552", NULL, NULL,
		"where nobody may listen on the broker's address", OPTION_AT_START },
	{ "inner", OPTION_BOOL, AT(has_inner), 0, 0, "yes", NULL, NULL,
		"the inner vhost is on this broker", OPTION_AT_START },
	{ "limit.connections", OPTION_U64, AT(connections), 1, 64, "4", NULL, NULL,
		"connections that the web host may have at once", OPTION_AT_START },
	{ "limit.channels", OPTION_U64, AT(channels), 1, 256, "8", NULL, NULL,
		"channels that the web host may have at once", OPTION_AT_START },
	{ "limit.channel_max", OPTION_U64, AT(channel_max), 1, 2047, "16", NULL, NULL,
		"the broker's channel_max", OPTION_AT_START },
	{ "limit.message", OPTION_BYTES, AT(message_bytes), 1024, MIB(16), "256KiB", NULL, NULL,
		"the broker's max_message_size", OPTION_AT_START },
	{ "limit.frame", OPTION_BYTES, AT(frame_bytes), 4096, MIB(1), "8KiB", NULL, NULL,
		"the broker's frame_max", OPTION_AT_START },
	{ "patience", OPTION_MS, AT(patience_ms), 100, 60000, "8s", NULL, NULL,
		"how long one answer is waited for; above the broker's handshake_timeout", OPTION_AT_START },
	{ "within", OPTION_MS, AT(within_ms), 1000, 600000, "60s", NULL, NULL,
		"how long all of it may take; what is left then counts as not proven", OPTION_AT_START },
};
/* clang-format on */

static const struct options options = { .table = table, .count = ARRAY_COUNT(table) };

static const char *const names[ROLE_COUNT] = {
	[ROLE_WEB] = "web",
	[ROLE_NODE] = "node",
	[ROLE_OTHER] = "other",
	[ROLE_NOBODY] = "nobody",
	[ROLE_SELF_SIGNED] = "self_signed",
	[ROLE_STRANGER] = "stranger",
	[ROLE_EXPIRED] = "expired",
	[ROLE_SERVER] = "server",
	[ROLE_PREVIOUS] = "previous",
	[ROLE_UNKNOWN] = "unknown",
};

const char *role_name(enum role role)
{
	return names[role];
}

void plan_example(struct buf *out)
{
	options_example(&options, out);
}

static void complain(struct report *report, const char *path, const char *key, const char *text,
	const char *why)
{
	report_add(report, path, options_line(path, key), 0, span_of(key), "%s%s", text, why);
}

/* The part between "realm." and ".g<N>" of an identity's name. */
static bool read_party(const char *user, const char *realm, char *out)
{
	struct span rest = span_of(user);
	uint64_t generation;

	if (!span_is(text_cut(&rest, '.'), realm))
		return false;
	struct span party = text_cut(&rest, '.');

	if (!text_is_name(party, PLAN_NAME_BYTES) || rest.len < 2 || rest.at[0] != 'g' ||
		text_parse_u64(span_after(rest, 1), &generation) != ERR_OK)
		return false;
	snprintf(out, PLAN_NAME_BYTES + 1, "%.*s", SPAN_ARG(party));
	return true;
}

/* An identity that must be able to log in: whole, in time, with a name of the right kind. */
static enum err read_identity(struct plan *p, const char *path, struct report *report,
	enum role role, const char *realm, char *party)
{
	const struct badge_paths *badge = &p->badges[role];
	const struct tls_paths paths = {
		.ca = p->ca,
		.certificate = badge->certificate,
		.key = badge->key,
	};
	struct tls_identity *identity = NULL;
	struct tls_why why;
	char key[64];
	enum err err = tls_identity_open(&paths, &identity, &why);

	snprintf(key, sizeof(key), "%s.certificate", role_name(role));
	if (err == ERR_INPUT)
		complain(report, path, why.file == p->ca ? "ca" : key, why.at, "");
	if (err != ERR_OK)
		return err;
	snprintf(p->users[role], sizeof(p->users[role]), "%s", tls_identity_name(identity));
	tls_identity_close(identity);
	if (!read_party(p->users[role], realm, party)) {
		complain(report, path, key,
			"the common name is not that of an identity, which would be ",
			role == ROLE_NODE ? "app.<node>.g<N>" : "web.<host>.g<N>");
		return ERR_INPUT;
	}
	return ERR_OK;
}

static enum err check_pairs(const struct plan *p, const char *path, struct report *report)
{
	for (unsigned role = 0; role < ROLE_COUNT; role++) {
		const struct badge_paths *badge = &p->badges[role];

		if ((badge->certificate == NULL) == (badge->key == NULL))
			continue;
		complain(report, path, role_name(role), "needs a certificate and a key", "");
		return ERR_INPUT;
	}
	return ERR_OK;
}

static enum err check_ports(const struct plan *p, const char *path, struct report *report)
{
	uint64_t port;

	for (size_t i = 0; i < p->ports.count; i++) {
		if (text_parse_u64(span_of(p->ports.at[i]), &port) == ERR_OK && port > 0 &&
			port <= UINT16_MAX)
			continue;
		complain(report, path, "ports", "is a list of numbers from 1 to 65535", "");
		return ERR_INPUT;
	}
	return ERR_OK;
}

static enum err work_out(struct plan *p, const char *path, struct report *report)
{
	struct transport_address address;
	enum err err = check_pairs(p, path, report);

	if (err == ERR_OK)
		err = check_ports(p, path, report);
	if (err == ERR_OK)
		err = read_identity(p, path, report, ROLE_WEB, "web", p->host);
	if (err == ERR_OK)
		err = read_identity(p, path, report, ROLE_NODE, "app", p->node);
	if (err == ERR_OK && plan_has(p, ROLE_OTHER))
		err = read_identity(p, path, report, ROLE_OTHER, "web", p->other_host);
	if (err != ERR_OK)
		return err;
	err = transport_address_parse(span_of(p->broker), &address);
	if (err != ERR_OK) {
		complain(report, path, "broker", "is a host and a port", "");
		return err;
	}
	snprintf(p->address, sizeof(p->address), "%s", address.host);
	p->place = (struct line_place){
		.host = p->address,
		.port = address.port,
		.ca = p->ca,
	};
	return ERR_OK;
}

enum err plan_open(const char *path, struct report *report, struct plan *out)
{
	*out = (struct plan){ 0 };
	enum err err = options_load(&options, path, report, out);

	if (err == ERR_OK)
		err = work_out(out, path, report);
	if (err != ERR_OK)
		plan_close(out);
	return err;
}

void plan_close(struct plan *p)
{
	options_free(&options, p);
	*p = (struct plan){ 0 };
}
