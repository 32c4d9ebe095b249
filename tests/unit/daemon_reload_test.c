/* The files are read again: what counts at once, what waits for a restart, what is refused. */
#include "daemon/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "must.h"
#include "pki.h"
#include "unit/unit.h"

enum { PATH_ROOM = 256 };

struct config {
	struct site_config site;
	char *host;
	char *seal;
	uint64_t window;
};

#define AT(field) OPTION_AT(struct config, field)

/* clang-format off */
static const struct option table[] = {
	{ "host", OPTION_NAME, AT(host), 1, 63, NULL, "web1", NULL, "whose", OPTION_AT_START },
	{ "seal", OPTION_FILE, AT(seal), 1, 4096, NULL, "seal", NULL, "key file", OPTION_AT_RELOAD },
	{ "window", OPTION_U64, AT(window), 1, 100, "10", NULL, NULL, "how many", OPTION_AT_RELOAD },
	SITE_OPTIONS(struct config, site),
};
/* clang-format on */

static const struct options options = { table, ARRAY_COUNT(table) };

static enum err open_more(
	const void *setup_config, const char *name, struct site *site, struct report *report)
{
	const struct config *c = setup_config;
	struct site_ring ring = { .path = c->seal, .key = "seal" };

	return site_open_rings(site, &ring, 1, name, report);
}

static const struct setup_kind kind = {
	.open_more = open_more,
	.options = &options,
	.config_bytes = sizeof(struct config),
	.site_at = offsetof(struct config, site),
	.name_at = offsetof(struct config, host),
	.realm = "web",
};

static char folder[PATH_ROOM];
static char file[PATH_ROOM + 16];
static char notify[PATH_ROOM + 16];
static int manager = -1;
static struct loop loop;
static struct life life;
static struct setup running;
static struct setup fresh;
static struct reload reload;

static void nothing(void *arg)
{
	(void)arg;
}

static const char *in_folder(const char *name)
{
	static char path[PATH_ROOM + 64];

	must_format(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_contract(const char *more)
{
	char text[256];

	must_format(
		text, sizeof(text), "site: test\noperations:\n  a.b: {kind: call}\n%s", more);
	must_write_file(in_folder("contract.yaml"), 0644, text);
}

static void write_seal(char digit)
{
	char text[128] = "sallyport-seal-key v1\nkey present ";
	size_t len = strlen(text);

	memset(text + len, digit, 63);
	text[len + 63] = '0';
	memcpy(text + len + 64, "\n", 2);
	must_write_file(in_folder("seal"), 0600, text);
}

static void write_config(const char *identity, const char *more)
{
	char text[1024];

	must_format(text, sizeof(text),
		"host = web1\nseal = seal\nborder.brokers = 192.0.2.1:5671\ntls.ca = ca.pem\n"
		"tls.certificate = %s.pem\ntls.key = %s.key\ncontract = contract.yaml\n"
		"api.socket = a.sock\n%s",
		identity, identity, more);
	must_write_file(file, 0644, text);
}

static const char *heard(void)
{
	static char message[1000];
	ssize_t got = recv(manager, message, sizeof(message) - 1, MSG_DONTWAIT);

	message[got < 0 ? 0 : got] = '\0';
	return message;
}

static void listen_as_manager(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	must_format(notify, sizeof(notify), "%s/notify", folder);
	must_format(address.sun_path, sizeof(address.sun_path), "%s", notify);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(manager, 0);
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", notify, 1), 0);
}

static void setup_all(void)
{
	struct report report;

	must_enter_test();
	must_make_folder(folder, sizeof(folder));
	must_format(file, sizeof(file), "%s/daemon.conf", folder);
	struct pki_authority *ca = must_pki_authority(folder, "ca");

	must_pki_issue(ca, folder, "web.web1.g1", PKI_CLIENT);
	must_pki_issue(ca, folder, "web.web1.g2", PKI_CLIENT);
	must_pki_issue(ca, folder, "web.web2.g1", PKI_CLIENT);
	pki_authority_free(ca);
	write_contract("");
	write_seal('a');
	write_config("web.web1.g1", "");
	listen_as_manager();
	ck_assert_int_eq(loop_init(&loop), ERR_OK);
	ck_assert_int_eq(life_init(&life, &loop, -1, nothing, nothing, NULL), ERR_OK);
	report_init(&report);
	ck_assert_int_eq(setup_open(&kind, file, &report, &running), ERR_OK);
	report_fini(&report);
	reload_init(&reload, &running, &life);
}

static void teardown(void)
{
	reload_fini(&reload);
	setup_close(&running);
	setup_close(&running); /* zeroed is fine */
	life_fini(&life);
	loop_fini(&loop);
	close(manager);
	must_remove_folder(folder);
}

static const struct config *config(void)
{
	return running.config;
}

static void must_take(void)
{
	ck_assert_int_eq(reload_read(&reload, &fresh), ERR_OK);
	reload_take(&reload, &fresh);
}

static void expect_stays(const char *keys)
{
	ck_assert_msg(span_is(buf_span(&reload.stays), keys), "%.*s",
		SPAN_ARG(buf_span(&reload.stays)));
}

START_TEST(what_may_change_changes_and_the_rest_stays_with_its_memory)
{
	const char *host = config()->host;
	const struct operation *op = running.site.contract.operations;

	write_config("web.web1.g2",
		"window = 20\napi.mode = 0600\napi.connections = 100\nlog.level = warn\n"
		"api.users = 12345\nready.border = yes\napi.group = 0\n");
	write_contract("  c.d: {kind: call}\n");
	must_take();
	ck_assert_uint_eq(config()->window, 20);
	ck_assert_str_eq(tls_identity_name(running.site.identity), "web.web1.g2");
	ck_assert_uint_eq(running.site.api_user_count, 1);
	ck_assert_uint_eq(running.site.api_users[0], 12345);
	ck_assert(!log_wants(LOG_INFO));
	log_limit(LOG_INFO);
	ck_assert_uint_eq(config()->site.api_mode, 0660);
	ck_assert_uint_eq(config()->site.api_connections, 512);
	ck_assert(!config()->site.ready_border);
	ck_assert_ptr_eq(config()->host, host);
	ck_assert_ptr_eq(running.site.contract.operations, op);
	ck_assert_uint_eq(running.site.contract.operation_count, 1);
	ck_assert(!running.site.has_api_group);
	expect_stays("api.mode, api.group, api.connections, ready.border, contract");
	/* The same again: nothing differs from what runs, but what waits still waits. */
	must_take();
	expect_stays("api.mode, api.group, api.connections, ready.border, contract");
	write_config("web.web1.g2", "window = 20\n");
	write_contract("");
	must_take();
	expect_stays("");
}
END_TEST

START_TEST(a_mistake_changes_nothing_and_all_of_them_are_told)
{
	struct digest before = running.site.link_recipe;

	write_config("web.web2.g1", "window = 1000\nno.such = 1\n");
	ck_assert_int_eq(reload_read(&reload, &fresh), ERR_INPUT);
	ck_assert_int_eq(reload.state, RELOAD_REFUSED);
	buf_byte(&reload.mistakes, '\0');
	ck_assert_ptr_nonnull(
		strstr(reload.mistakes.at, ":9:10: window: 1000 is out of range"));
	ck_assert_ptr_nonnull(strstr(reload.mistakes.at, ":10:1: no.such: unknown key"));
	write_config("web.web2.g1", "");
	ck_assert_int_eq(reload_read(&reload, &fresh), ERR_INPUT);
	buf_byte(&reload.mistakes, '\0');
	ck_assert_ptr_nonnull(strstr(reload.mistakes.at, "is the certificate of"));
	ck_assert_ptr_null(strstr(reload.mistakes.at, "window"));
	ck_assert_int_eq(unlink(file), 0);
	ck_assert_int_eq(reload_read(&reload, &fresh), ERR_INPUT);
	ck_assert_uint_eq(reload.counters.asked, 3);
	ck_assert_uint_eq(reload.counters.refused, 3);
	ck_assert_uint_eq(config()->window, 10);
	ck_assert_str_eq(tls_identity_name(running.site.identity), "web.web1.g1");
	ck_assert(digest_equals(&before, &running.site.link_recipe));
	write_config("web.web1.g1", "");
	must_take();
	ck_assert_uint_eq(reload.mistakes.len, 0);
}
END_TEST

START_TEST(sealing_keys_come_with_the_rest)
{
	ck_assert_uint_eq(running.site.ring_count, 1);
	ck_assert_uint_eq(running.site.rings[0].present.byte[0], 0xaa);
	write_seal('b');
	must_take();
	ck_assert_uint_eq(running.site.rings[0].present.byte[0], 0xbb);
	write_seal('x');
	ck_assert_int_eq(reload_read(&reload, &fresh), ERR_INPUT);
	ck_assert_uint_eq(running.site.rings[0].present.byte[0], 0xbb);
	/* Mistakes of the key file and of the config are told together. */
	write_config("web.web1.g1", "log.level = loud\n");
	ck_assert_int_eq(reload_read(&reload, &fresh), ERR_INPUT);
	buf_byte(&reload.mistakes, '\0');
	ck_assert_ptr_nonnull(strstr(reload.mistakes.at, "log.level"));
	ck_assert_ptr_nonnull(strstr(reload.mistakes.at, "/seal:2"));
}
END_TEST

START_TEST(what_fails_later_is_refused_too)
{
	ck_assert_int_eq(reload_read(&reload, &fresh), ERR_OK);
	reload_refuse(&reload, &fresh, ERR_NOMEM);
	ck_assert_int_eq(reload.state, RELOAD_REFUSED);
	expect_span(buf_span(&reload.mistakes), "out of memory\n");
}
END_TEST

START_TEST(a_link_is_another_when_anything_is_that_it_is_made_of)
{
	static const char *const others[] = { "border.heartbeat = 9\n",
		"border.retry_longest = 2s\n", "border.handshake_timeout = 4s\n" };
	struct digest first = running.site.link_recipe;

	write_config("web.web1.g1", "window = 3\napi.users = 1\n");
	must_take();
	ck_assert(digest_equals(&first, &running.site.link_recipe));
	for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
		write_config("web.web1.g1", others[i]);
		must_take();
		ck_assert_msg(
			!digest_equals(&first, &running.site.link_recipe), "%s", others[i]);
	}
	write_config("web.web1.g2", "");
	must_take();
	ck_assert(!digest_equals(&first, &running.site.link_recipe));
	write_config("web.web1.g1", "");
	must_take();
	ck_assert(digest_equals(&first, &running.site.link_recipe));
	/* Other files under the same names. */
	struct pki_authority *ca = must_pki_authority(folder, "ca");

	must_pki_issue(ca, folder, "web.web1.g1", PKI_CLIENT);
	pki_authority_free(ca);
	must_take();
	ck_assert(!digest_equals(&first, &running.site.link_recipe));
}
END_TEST

START_TEST(an_identity_lives_as_long_as_a_link_holds_it)
{
	struct tls_identity *held = tls_identity_hold(running.site.identity);

	write_config("web.web1.g2", "");
	must_take();
	ck_assert_str_eq(tls_identity_name(held), "web.web1.g1");
	tls_identity_close(held);
	ck_assert_ptr_null(tls_identity_hold(NULL));
}
END_TEST

START_TEST(the_supervisor_hears_when_it_begins_and_how_it_ends)
{
	/* Before it was ready, READY=1 would say too much. */
	must_take();
	reload_tell(&reload, RELOAD_ALL_DONE);
	ck_assert_str_eq(heard(), "");
	life_tell_ready(&life);
	ck_assert_str_eq(heard(), "READY=1");

	must_take();
	ck_assert_int_eq(strncmp(heard(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
	reload_tell(&reload, RELOAD_GOES_ON);
	ck_assert_str_eq(heard(), "");
	reload_tell(&reload, RELOAD_HANGS);
	ck_assert_int_eq(reload.state, RELOAD_PENDING);
	ck_assert_str_eq(heard(), "STATUS=reload pending: see status");
	ck_assert_str_eq(heard(), "READY=1");
	reload_tell(&reload, RELOAD_HANGS);
	ck_assert_str_eq(heard(), "");
	reload_tell(&reload, RELOAD_GOES_ON);
	reload_tell(&reload, RELOAD_ALL_DONE);
	ck_assert_int_eq(reload.state, RELOAD_DONE);
	ck_assert_str_eq(heard(), "STATUS=reloaded");
	ck_assert_str_eq(heard(), "READY=1");
	/* What links do by themselves is no reload. */
	reload_tell(&reload, RELOAD_GOES_ON);
	reload_tell(&reload, RELOAD_HANGS);
	ck_assert_int_eq(reload.state, RELOAD_DONE);

	write_config("web.web1.g1", "window = x\n");
	ck_assert_int_eq(reload_read(&reload, &fresh), ERR_INPUT);
	ck_assert_int_eq(strncmp(heard(), "RELOADING=1", 11), 0);
	ck_assert_int_eq(strncmp(heard(), "STATUS=reload refused", 21), 0);
	ck_assert_str_eq(heard(), "READY=1");
	reload_tell(&reload, RELOAD_ALL_DONE);
	ck_assert_int_eq(reload.state, RELOAD_REFUSED);
}
END_TEST

START_TEST(the_status_says_all_of_it)
{
	struct json_writer w;
	struct buf text;

	write_config("web.web1.g1", "api.mode = 0600\n");
	must_take();
	buf_init(&text, KIB(64));
	json_write_init(&w, &text);
	json_write_object(&w);
	reload_write_status(&reload, &w);
	json_write_object_end(&w);
	buf_byte(&text, '\0');
	ck_assert_ptr_nonnull(strstr(text.at, "{\"reload\":{\"state\":\"changing\",\"asked\":1,"
					      "\"refused\":0,\"at_unix_ms\":"));
	ck_assert_ptr_nonnull(strstr(text.at, "\"needs_restart\":\"api.mode\"}}"));
	buf_fini(&text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon_reload");
	TCase *tc = tcase_create("reload");

	tcase_add_checked_fixture(tc, setup_all, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_may_change_changes_and_the_rest_stays_with_its_memory);
	tcase_add_test(tc, a_mistake_changes_nothing_and_all_of_them_are_told);
	tcase_add_test(tc, sealing_keys_come_with_the_rest);
	tcase_add_test(tc, what_fails_later_is_refused_too);
	tcase_add_test(tc, a_link_is_another_when_anything_is_that_it_is_made_of);
	tcase_add_test(tc, an_identity_lives_as_long_as_a_link_holds_it);
	tcase_add_test(tc, the_supervisor_hears_when_it_begins_and_how_it_ends);
	tcase_add_test(tc, the_status_says_all_of_it);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
