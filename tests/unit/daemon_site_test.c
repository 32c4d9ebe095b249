/* What both daemons open before they begin: all of it, or every mistake with its line. */
#include "daemon/site.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "must.h"
#include "pki.h"
#include "unit/unit.h"

enum { PATH_ROOM = 256 };

struct config {
	struct site_config site;
};

static const struct option table[] = { SITE_OPTIONS(struct config, site) };
static const struct options options = { table, ARRAY_COUNT(table) };

static const char contract_text[] = "site: test\n"
				    "operations:\n"
				    "  a.b: {kind: call}\n";

static char folder[PATH_ROOM];
static char file[PATH_ROOM + 16];
static struct config config;
static struct report report;
static struct site site;
static struct buf shown;

static const char *in_folder(const char *name)
{
	static char path[PATH_ROOM + 128];

	must_format(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void setup(void)
{
	must_enter_test();
	must_make_folder(folder, sizeof(folder));
	must_format(file, sizeof(file), "%s/daemon.conf", folder);
	struct pki_authority *ca = must_pki_authority(folder, "ca");

	must_pki_issue(ca, folder, "web.web1.g1", PKI_CLIENT);
	must_pki_issue(ca, folder, "web.web2.g1", PKI_CLIENT);
	must_pki_issue(ca, folder, "web.old.g1", PKI_EXPIRED);
	pki_authority_free(ca);
	must_write_file(in_folder("contract.yaml"), 0644, contract_text);
	report_init(&report);
	buf_init(&shown, MIB(1));
}

static void forget_site(void)
{
	site_close(&site);
	site_close(&site); /* zeroed is fine */
	options_free(&options, &config);
	report_fini(&report);
	report_init(&report);
}

static void teardown(void)
{
	forget_site();
	report_fini(&report);
	buf_fini(&shown);
	must_remove_folder(folder);
}

/* Lines 1 to 6; what a test adds begins on line 7. */
static const char needed[] =
	"border.brokers = 192.0.2.1:5671, [2001:db8::1]:5672, broker:5673\n"
	"tls.ca = ca.pem\n"
	"tls.certificate = web.web1.g1.pem\n"
	"tls.key = web.web1.g1.key\n"
	"contract = contract.yaml\n"
	"api.socket = a.sock\n";

static void show_report(void)
{
	buf_clear(&shown);
	report_format(&report, &shown);
	buf_byte(&shown, '\0');
}

/* The config file in two pieces, read as a daemon does. */
static enum err open_site(const char *text, const char *more)
{
	char whole[2048];

	must_format(whole, sizeof(whole), "%s%s", text, more);
	must_write_file(file, 0644, whole);
	enum err err = options_load(&options, file, &report, &config);

	show_report();
	ck_assert_msg(err == ERR_OK, "%s", shown.at);
	err = site_open(&config.site, file, &report, &site);
	show_report();
	return err;
}

static void must_open_site(const char *text, const char *more)
{
	ck_assert_msg(open_site(text, more) == ERR_OK, "%s", shown.at);
	ck_assert(report_is_empty(&report));
}

/* There is a mistake "FILE:LINE: KEY: …text…". */
static void expect_mistake(unsigned line, const char *key, const char *text)
{
	for (size_t i = 0; i < report.count; i++) {
		const struct mistake *m = &report.mistakes[i];

		if (m->line == line && strcmp(m->key, key) == 0 &&
			strstr(m->text, text) != NULL && strcmp(m->file, file) == 0)
			return;
	}
	ck_abort_msg("no %s:%u: %s: %s in\n%s", file, line, key, text, shown.at);
}

static void expect_one_mistake(
	const char *more, unsigned line, const char *key, const char *text)
{
	ck_assert_int_eq(open_site(needed, more), ERR_INPUT);
	ck_assert_msg(report.count == 1, "%s", shown.at);
	expect_mistake(line, key, text);
	forget_site();
}

/* ---- what is right ---- */

START_TEST(everything_that_a_daemon_needs_is_opened)
{
	static const char digest[] =
		"628d6af1beae3b445f0ac06b890cc3cb835394b50538de737397ccbca84e6535";

	must_open_site(needed, "");
	ck_assert_uint_eq(site.broker_count, 3);
	ck_assert_str_eq(site.brokers[0].host, "192.0.2.1");
	ck_assert_uint_eq(site.brokers[0].port, 5671);
	ck_assert_str_eq(site.brokers[1].host, "2001:db8::1");
	ck_assert_uint_eq(site.brokers[1].port, 5672);
	ck_assert_str_eq(site.brokers[2].host, "broker");
	ck_assert_uint_eq(site.brokers[2].port, 5673);
	ck_assert_str_eq(tls_identity_name(site.identity), "web.web1.g1");
	ck_assert_str_eq(site.contract.site, "test");
	ck_assert_ptr_nonnull(contract_find(&site.contract, LITERAL("a.b")));
	ck_assert_str_eq(site.contract_digest, digest);
	ck_assert_uint_eq(site.api_user_count, 0);
	ck_assert(!site.has_api_group);
	ck_assert_int_eq(site.log_level, LOG_INFO);
}
END_TEST

START_TEST(another_byte_in_the_contract_is_another_digest)
{
	char before[sizeof(site.contract_digest)];

	must_open_site(needed, "");
	memcpy(before, site.contract_digest, sizeof(before));
	ck_assert_uint_eq(strlen(before), sizeof(before) - 1);
	forget_site();
	must_write_file(in_folder("contract.yaml"), 0644,
		"site: test\noperations:\n  a.b: {kind: call} \n");
	must_open_site(needed, "");
	ck_assert_str_ne(site.contract_digest, before);
}
END_TEST

START_TEST(a_link_and_the_api_get_what_was_configured)
{
	must_open_site(needed, "border.handshake_timeout = 3s\n"
			       "border.retry_longest = 2s\n"
			       "border.heartbeat = 600\n"
			       "api.mode = 0600\n"
			       "api.group = root\n"
			       "api.users = root\n"
			       "api.connections = 77\n"
			       "api.loopback_port = 65535\n");
	struct link_config link = site_link_config(&site, &config.site);

	ck_assert_ptr_eq(link.brokers, site.brokers);
	ck_assert_uint_eq(link.broker_count, 3);
	ck_assert_ptr_eq(link.identity, site.identity);
	ck_assert_uint_eq(link.handshake_timeout_ms, 3000);
	ck_assert_uint_eq(link.retry_longest_ms, 2000);
	ck_assert_uint_gt(link.retry_first_ms, 0);
	ck_assert_uint_le(link.retry_first_ms, link.retry_longest_ms);
	ck_assert_uint_eq(link.heartbeat_s, 600);
	struct http_server_config api = site_api_config(&site, &config.site);

	ck_assert_str_eq(api.socket.path, in_folder("a.sock"));
	ck_assert_uint_eq(api.socket.mode, 0600);
	ck_assert(api.socket.has_group);
	ck_assert_uint_eq(api.socket.group, 0);
	ck_assert_uint_eq(api.allowed_uid_count, 1);
	ck_assert_uint_eq(api.allowed_uids[0], 0);
	ck_assert_uint_eq(api.max_connections, 77);
	ck_assert(api.has_loopback);
	ck_assert_uint_eq(api.loopback_port, 65535);
	ck_assert_uint_eq(api.max_body_bytes, MESSAGE_BODY_MAX_BYTES);
}
END_TEST

START_TEST(without_a_port_there_is_no_loopback_listener)
{
	must_open_site(needed, "");
	ck_assert(!site_api_config(&site, &config.site).has_loopback);
	ck_assert(!site_api_config(&site, &config.site).socket.has_group);
	ck_assert_uint_eq(site_api_config(&site, &config.site).allowed_uid_count, 0);
}
END_TEST

START_TEST(users_and_groups_are_names_or_numbers)
{
	must_open_site(needed, "api.users = root, 4000000, 4294967294, 0\n"
			       "api.group = 4294967294\n"
			       "log.level = debug\n");
	ck_assert_uint_eq(site.api_user_count, 4);
	ck_assert_uint_eq(site.api_users[0], 0);
	ck_assert_uint_eq(site.api_users[1], 4000000);
	ck_assert_uint_eq(site.api_users[2], 4294967294);
	ck_assert_uint_eq(site.api_users[3], 0);
	ck_assert(site.has_api_group);
	ck_assert_uint_eq(site.api_group, 4294967294);
	ck_assert_int_eq(site.log_level, LOG_DEBUG);
}
END_TEST

START_TEST(as_many_users_as_there_is_room_for)
{
	char text[512] = "api.users = ";
	char *end = text + strlen(text);

	for (int i = 0; i < SITE_API_USERS_MAX; i++)
		end += snprintf(end, 16, "%s%d", i == 0 ? "" : ", ", 5000 + i);
	must_format(end, 2, "\n");
	must_open_site(needed, text);
	ck_assert_uint_eq(site.api_user_count, SITE_API_USERS_MAX);
	ck_assert_uint_eq(
		site.api_users[SITE_API_USERS_MAX - 1], 5000 + SITE_API_USERS_MAX - 1);
}
END_TEST

/* ---- mistakes ---- */

START_TEST(users_groups_and_levels_that_are_none)
{
	expect_one_mistake("api.users = root, nobody-of-this-name\n", 7, "api.users",
		"\"nobody-of-this-name\": no such user");
	expect_one_mistake("api.users = 4294967295\n", 7, "api.users", "no such user");
	expect_one_mistake("api.users = 00\n", 7, "api.users", "no such user");
	expect_one_mistake("api.users = -1\n", 7, "api.users", "no such user");
	expect_one_mistake(
		"# here\n\napi.group = nobody-of-this-name\n", 9, "api.group", "no such group");
	expect_one_mistake("api.group = 4294967296\n", 7, "api.group", "no such group");
	expect_one_mistake("log.level = loud\n", 7, "log.level", "error, warn, info, debug");
	expect_one_mistake("log.level = INFO\n", 7, "log.level", "error, warn, info, debug");
}
END_TEST

START_TEST(a_socket_has_a_path_that_a_socket_can_have)
{
	char text[1024];
	char name[LISTENER_PATH_MAX_BYTES + 2] = { 0 };
	/* The path is relative to the file: what counts is what it is then. */
	size_t longest = LISTENER_PATH_MAX_BYTES - strlen(folder) - 1;

	memset(name, 's', longest);
	must_format(text, sizeof(text), "%.*s", (int)(strstr(needed, "api.socket") - needed),
		needed);
	must_format(
		text + strlen(text), sizeof(text) - strlen(text), "api.socket = %s\n", name);
	must_open_site(text, "");
	ck_assert_uint_eq(strlen(config.site.api_socket), LISTENER_PATH_MAX_BYTES);
	forget_site();
	name[longest] = 's';
	must_format(strstr(text, "api.socket"), sizeof(name) + 16, "api.socket = %s\n", name);
	ck_assert_int_eq(open_site(text, ""), ERR_INPUT);
	ck_assert_msg(report.count == 1, "%s", shown.at);
	expect_mistake(6, "api.socket", "a socket's path has at most 107 bytes, this one 108");
}
END_TEST

START_TEST(a_socket_does_not_take_the_place_of_something_else)
{
	must_write_file(in_folder("a.sock"), 0600, "a plain file");
	ck_assert_int_eq(open_site(needed, ""), ERR_INPUT);
	ck_assert_msg(report.count == 1, "%s", shown.at);
	expect_mistake(6, "api.socket", "something else than a socket is there");
	forget_site();
	ck_assert_int_eq(remove(in_folder("a.sock")), 0);
	ck_assert_int_eq(mkdir(in_folder("a.sock"), 0700), 0);
	ck_assert_int_eq(open_site(needed, ""), ERR_INPUT);
	ck_assert_msg(report.count == 1, "%s", shown.at);
	expect_mistake(6, "api.socket", "is a folder");
}
END_TEST

/* An api.mode of 0 would be taken for the default, and let in who was to stay out. */
START_TEST(a_socket_has_a_mode_that_lets_its_owner_in)
{
	static const char *const modes[] = { "0", "00", "000", "0060", "0577" };
	char text[64];

	must_open_site(needed, "api.mode = 0600\n");
	forget_site();
	for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
		must_format(text, sizeof(text), "api.mode = %s\n", modes[i]);
		must_write_file(file, 0644, text);
		ck_assert_int_eq(options_load(&options, file, &report, &config), ERR_INPUT);
		must_format(
			text, sizeof(text), "%s is out of range; from 0600 to 0777", modes[i]);
		show_report();
		expect_mistake(1, "api.mode", text);
		forget_site();
	}
}
END_TEST

START_TEST(a_ca_that_did_not_sign_our_certificate_is_worth_a_hint)
{
	struct pki_authority *other = must_pki_authority(folder, "other");
	char text[sizeof(needed) + 16];

	must_pki_issue(other, folder, "web.web3.g1", PKI_CLIENT);
	pki_authority_free(other);
	must_open_site(needed, "");
	site_hint(&site, &config.site, file, &report);
	ck_assert(report_is_empty(&report));
	forget_site();
	must_format(text, sizeof(text), "%s", needed);
	memcpy(strstr(text, "web.web1.g1.pem"), "web.web3.g1.pem", 15);
	memcpy(strstr(text, "web.web1.g1.key"), "web.web3.g1.key", 15);
	must_open_site(text, ""); /* brokers may have a CA of their own */
	site_hint(&site, &config.site, file, &report);
	show_report();
	ck_assert_uint_eq(report.count, 1);
	expect_mistake(
		2, "tls.ca", "is not the CA of tls.certificate (unable to get local issuer");
}
END_TEST

START_TEST(every_mistake_is_told_at_once)
{
	must_write_file(in_folder("wrong.yaml"), 0644,
		"site: test\noperations:\n  a.b: {kind: cal}\n  c.d: {kind: call, speed: 1}\n");
	ck_assert_int_eq(open_site("border.brokers = 192.0.2.1:5671\n"
				   "tls.ca = ca.pem\n"
				   "tls.certificate = web.web1.g1.pem\n"
				   "tls.key = web.web2.g1.key\n"
				   "contract = wrong.yaml\n"
				   "api.socket = a.sock\n",
				 "api.users = no-one, root, no-two\n"
				 "api.group = no-three\n"
				 "log.level = loud\n"),
		ERR_INPUT);
	expect_mistake(4, "tls.key", "web.web2.g1.key");
	expect_mistake(7, "api.users", "no-one");
	expect_mistake(7, "api.users", "no-two");
	expect_mistake(8, "api.group", "no-three");
	expect_mistake(9, "log.level", "loud");
	ck_assert_ptr_nonnull(strstr(shown.at, "wrong.yaml:3:"));
	ck_assert_ptr_nonnull(strstr(shown.at, "wrong.yaml:4:"));
	ck_assert_msg(report.count == 7, "%s", shown.at);
	ck_assert_ptr_null(site.identity);
}
END_TEST

/* The table of options looks first; should it ever not, a broker is still judged. */
START_TEST(a_broker_that_is_no_address)
{
	must_open_site(needed, "");
	site_close(&site);
	config.site.brokers.at[1][0] = '/';
	ck_assert_int_eq(site_open(&config.site, file, &report, &site), ERR_INPUT);
	show_report();
	expect_mistake(1, "border.brokers", "an address is host:port");
	ck_assert_uint_eq(report.count, 1);
}
END_TEST

/* An Ed25519 key of nobody's, under the pass phrase "x". */
static const char locked[] =
	"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
	"MIGaMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAgua0v0H5IdrgIBATAM\n"
	"BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBAgQQMQc9KQQhDvW8GWdXHONg7wRA6+cQ\n"
	"dulIUtoMX2mQi8RMYCPCAqAFz5QYbnAgPWIv4Mzgsr9SKmSwCmtYhlwnY7wsGGFC\n"
	"LrS1zRGa/6tZ5Va+Bg==\n"
	"-----END ENCRYPTED PRIVATE KEY-----\n";

static const struct {
	unsigned line;
	const char *key;
	const char *ca;
	const char *certificate;
	const char *secret;
	const char *why; /* NULL: whatever OpenSSL says */
} identities[] = {
	{ 2, "tls.ca", "contract.yaml", "web.web1.g1.pem", "web.web1.g1.key", NULL },
	{ 3, "tls.certificate", "ca.pem", "contract.yaml", "web.web1.g1.key", NULL },
	{ 3, "tls.certificate", "ca.pem", "web.old.g1.pem", "web.old.g1.key", "has expired" },
	{ 4, "tls.key", "ca.pem", "web.web1.g1.pem", "web.web1.g1.pem", NULL },
	{ 4, "tls.key", "ca.pem", "web.web1.g1.pem", "web.web2.g1.key", NULL },
	{ 3, "tls.certificate", "ca.pem", "ca.pem", "web.web1.g1.key", "of a CA" },
	{ 4, "tls.key", "ca.pem", "web.web1.g1.pem", "locked.key", "has a pass phrase" },
};

START_TEST(an_identity_that_is_none_names_the_file)
{
	char text[512];
	unsigned line = identities[_i].line;
	const char *wrong = line == 2   ? identities[_i].ca
			    : line == 3 ? identities[_i].certificate
					: identities[_i].secret;

	must_write_file(in_folder("locked.key"), 0600, locked);
	must_format(text, sizeof(text),
		"border.brokers = 192.0.2.1:5671\ntls.ca = %s\ntls.certificate = %s\n"
		"tls.key = %s\ncontract = contract.yaml\napi.socket = a.sock\n",
		identities[_i].ca, identities[_i].certificate, identities[_i].secret);
	ck_assert_int_eq(chmod(in_folder("web.web1.g1.pem"), 0600), 0);
	ck_assert_int_eq(open_site(text, ""), ERR_INPUT);
	ck_assert_msg(report.count == 1, "%s", shown.at);
	expect_mistake(line, identities[_i].key, wrong);
	if (identities[_i].why != NULL)
		expect_mistake(line, identities[_i].key, identities[_i].why);
	ck_assert_ptr_null(site.identity);
	/* Nothing more is said about an identity that is not there. */
	site_expect_identity(&site, "web", "web1", &config.site, file, &report);
	ck_assert_uint_eq(report.count, 1);
}
END_TEST

/* ---- whose certificate it is ---- */

static const struct {
	const char *identity; /* the common name, as far as X.509 lets it be: 64 bytes */
	const char *realm;
	const char *name;
	bool is_fine;
} names[] = {
	{ "web.web1.g1", "web", "web1", true },
	{ "web.web1.g2", "web", "web1", true },
	{ "web.web1.g18446744073709551615", "web", "web1", true },
	{ "app.app1.g7", "app", "app1", true },
	{ "web.a.b.g1", "web", "a.b", true },
	{ "web.web1.g0", "web", "web1", false },
	{ "web.web1.g01", "web", "web1", false },
	{ "web.web1.g", "web", "web1", false },
	{ "web.web1.g1x", "web", "web1", false },
	{ "web.web1.g-1", "web", "web1", false },
	{ "web.web1.g18446744073709551616", "web", "web1", false },
	{ "web.web1", "web", "web1", false },
	{ "web.web11.g1", "web", "web1", false },
	{ "web.web1.g1", "web", "web11", false },
	{ "web.web1.x.g1", "web", "web1", false },
	{ "web.web1.g1.g1", "web", "web1", false },
	{ "app.web1.g1", "web", "web1", false },
	{ "web.app1.g1", "app", "app1", false },
	{ "xweb.web1.g1", "web", "web1", false },
	{ "WEB.web1.g1", "web", "web1", false },
	{ "web1", "web", "web1", false },
};

START_TEST(a_certificate_is_of_this_realm_and_name_and_has_a_generation)
{
	const char *identity = names[_i].identity;
	struct pki_authority *ca = must_pki_authority(folder, "ca");
	char text[512];

	must_pki_issue(ca, folder, identity, PKI_CLIENT);
	pki_authority_free(ca);
	must_format(text, sizeof(text),
		"border.brokers = 192.0.2.1:5671\ntls.ca = ca.pem\ntls.certificate = %s.pem\n"
		"tls.key = %s.key\ncontract = contract.yaml\napi.socket = a.sock\n",
		identity, identity);
	must_open_site(text, "");
	site_expect_identity(
		&site, names[_i].realm, names[_i].name, &config.site, file, &report);
	show_report();
	ck_assert_msg(
		report_is_empty(&report) == names[_i].is_fine, "%s: %s", identity, shown.at);
	if (names[_i].is_fine)
		return;
	char wanted[64];

	must_format(wanted, sizeof(wanted), "needed is one of %s.%s.g<N>", names[_i].realm,
		names[_i].name);
	expect_mistake(3, "tls.certificate", wanted);
}
END_TEST

/* ---- sealing keys ---- */

#define KEY_A "key present a1a2a3a4a5a6a7a8a1a2a3a4a5a6a7a8a1a2a3a4a5a6a7a8a1a2a3a4a5a6a7a8\n"
#define KEY_B "key accepted b1b2b3b4b5b6b7b8b1b2b3b4b5b6b7b8b1b2b3b4b5b6b7b8b1b2b3b4b5b6b7b8\n"
#define HEAD "sallyport-seal-key v1\n"

static char ring_paths[3][PATH_ROOM + 128];

static enum err open_rings(void)
{
	struct site_ring rings[3];
	enum err err;

	for (int i = 0; i < 3; i++) {
		must_format(
			ring_paths[i], sizeof(ring_paths[i]), "%s/web%d.seal", folder, i + 1);
		rings[i] = (struct site_ring){ .path = ring_paths[i], .key = "seal.keys" };
	}
	must_write_file(in_folder("t.conf"), 0600, "# here\nseal.keys = .\n");
	err = site_open_rings(&site, rings, 3, in_folder("t.conf"), &report);
	show_report();
	return err;
}

START_TEST(every_crossing_has_a_ring_in_their_order)
{
	must_write_file(in_folder("web1.seal"), 0600, HEAD KEY_A);
	must_write_file(in_folder("web2.seal"), 0400, HEAD KEY_A KEY_B);
	must_write_file(in_folder("web3.seal"), 0600, HEAD KEY_A);
	ck_assert_msg(open_rings() == ERR_OK, "%s", shown.at);
	ck_assert_uint_eq(site.ring_count, 3);
	ck_assert_uint_eq(site.rings[0].present.byte[0], 0xa1);
	ck_assert(!site.rings[0].has_accepted);
	ck_assert(site.rings[1].has_accepted);
	ck_assert_uint_eq(site.rings[1].accepted.byte[0], 0xb1);
}
END_TEST

START_TEST(every_mistake_in_every_key_file_is_told_and_no_key_is_shown)
{
	char expect[PATH_ROOM + 64];

	must_format(expect, sizeof(expect), "%s:2: seal.keys: ", in_folder("t.conf"));
	must_write_file(in_folder("web1.seal"), 0600, "sallyport-seal-key v2\n" KEY_A KEY_A);
	must_write_file(in_folder("web2.seal"), 0640, HEAD KEY_A);
	ck_assert_int_eq(open_rings(), ERR_INPUT);
	ck_assert_ptr_nonnull(strstr(shown.at, "web1.seal:1:"));
	ck_assert_ptr_nonnull(strstr(shown.at, "web1.seal:3:"));
	ck_assert_ptr_nonnull(strstr(shown.at, "web2.seal: others than its owner"));
	ck_assert_ptr_nonnull(strstr(shown.at, "web3.seal: No such file"));
	for (const char *at = shown.at; *at != '\0'; at = strchr(at, '\n') + 1)
		ck_assert_msg(strncmp(at, expect, strlen(expect)) == 0, "%s", at);
	ck_assert_ptr_null(strstr(shown.at, "a1a2"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon_site");
	TCase *tc = tcase_create("site");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, everything_that_a_daemon_needs_is_opened);
	tcase_add_test(tc, another_byte_in_the_contract_is_another_digest);
	tcase_add_test(tc, a_link_and_the_api_get_what_was_configured);
	tcase_add_test(tc, without_a_port_there_is_no_loopback_listener);
	tcase_add_test(tc, users_and_groups_are_names_or_numbers);
	tcase_add_test(tc, as_many_users_as_there_is_room_for);
	tcase_add_test(tc, users_groups_and_levels_that_are_none);
	tcase_add_test(tc, a_socket_has_a_path_that_a_socket_can_have);
	tcase_add_test(tc, a_socket_does_not_take_the_place_of_something_else);
	tcase_add_test(tc, a_socket_has_a_mode_that_lets_its_owner_in);
	tcase_add_test(tc, a_ca_that_did_not_sign_our_certificate_is_worth_a_hint);
	tcase_add_test(tc, every_mistake_is_told_at_once);
	tcase_add_test(tc, a_broker_that_is_no_address);
	tcase_add_loop_test(
		tc, an_identity_that_is_none_names_the_file, 0, ARRAY_COUNT(identities));
	tcase_add_loop_test(tc, a_certificate_is_of_this_realm_and_name_and_has_a_generation, 0,
		ARRAY_COUNT(names));
	tcase_add_test(tc, every_crossing_has_a_ring_in_their_order);
	tcase_add_test(tc, every_mistake_in_every_key_file_is_told_and_no_key_is_shown);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
