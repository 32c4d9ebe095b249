/* config_test.c - what is wrong in a configuration is told with its place, and exit code 100.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "e2e.h"
#include "must.h"

static struct command_result result;

static void run(const char *program, const char *command, const char *config)
{
	char path[256];

	must_format(path, sizeof path, "%s/%s", test_bin_folder(), program);
	const char *argv[] = { path, command, config == NULL ? NULL : "--config", config,
		NULL };

	must_run(argv, 10000, &result);
}

static void expect_mistake(const char *part)
{
	if (result.exit_code != 100 || strstr(result.err, part) == NULL)
		must_fail("expected exit 100 and \"%s\", got exit %d:\n%s", part,
			result.exit_code, result.err);
}

START_TEST(a_good_configuration_passes)
{
	run("webapp-agent", "check", passage.agent.config);
	if (result.exit_code != 0 || result.err[0] != '\0')
		must_fail("exit %d: %s", result.exit_code, result.err);
	run("app-node", "check", passage.node.config);
	if (result.exit_code != 0 || result.err[0] != '\0')
		must_fail("exit %d: %s", result.exit_code, result.err);
}
END_TEST

static const struct {
	const char *line;
	const char *key;  /* must be named */
	const char *hint; /* and so must what would be right */
} mistakes[] = {
	{ "colour = red", "colour", "colour" },
	{ "border.broker = 127.0.0.1:1", "border.broker", "border.brokers" },
	{ "tls.certifcate = x.pem", "tls.certifcate", "tls.certificate" },
	{ "api.mode = 0999", "api.mode", "0660" },
	{ "ready.border = maybe", "ready.border", "yes" },
	{ "border.heartbeat = 0", "border.heartbeat", "1" },
	{ "border.heartbeat = soon", "border.heartbeat", "number" },
	{ "border.handshake_timeout = 5", "border.handshake_timeout", "ms" },
	{ "border.handshake_timeout = 2h", "border.handshake_timeout", "1m" },
	{ "api.group", "api.group", "=" },
	{ "log.level = loud", "log.level", "debug" },
	{ "api.group =", "api.group", "without the line the default counts" },
};

START_TEST(each_mistake_is_told_with_file_line_key_and_what_would_be_right)
{
	char text[4096];
	char place[256];
	unsigned line = 1;

	must_passage_configure(&passage, "");
	char *good = must_read_file(passage.agent.config, NULL);

	for (const char *at = strchr(good, '\n'); at != NULL; at = strchr(at + 1, '\n'))
		line++;
	must_format(place, sizeof place, "%s:%u", passage.agent.config, line);
	for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
		must_format(text, sizeof text, "%s%s\n", good, mistakes[i].line);
		must_daemon_configure(&passage.agent, text);
		run("webapp-agent", "check", passage.agent.config);
		expect_mistake(place);
		expect_mistake(mistakes[i].key);
		expect_mistake(mistakes[i].hint);
	}
	/* And it does not run with it. */
	run("webapp-agent", "run", passage.agent.config);
	expect_mistake(place);
	free(good);
}
END_TEST

START_TEST(all_mistakes_are_told_at_once)
{
	must_daemon_configure(&passage.agent,
		"host = web1\nhost = web2\nnonsense = 1\nborder.brokers = nowhere\n"
		"tls.ca = /no/such/file\n");
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake("agent.conf:2");
	expect_mistake("agent.conf:3");
	expect_mistake("agent.conf:4");
	expect_mistake("agent.conf:5");
	expect_mistake("tls.key");
	expect_mistake("api.socket");
	expect_mistake("more may follow");
}
END_TEST

START_TEST(what_run_would_refuse_check_refuses)
{
	ck_assert_int_eq(mkdir(passage.app_socket, 0700), 0);
	run("app-node", "check", passage.node.config);
	expect_mistake("api.socket");
	expect_mistake("is a folder");
	ck_assert_int_eq(rmdir(passage.app_socket), 0);
	run("app-node", "check", passage.node.config);
	ck_assert_int_eq(result.exit_code, 0);
}
END_TEST

static void run_with(const char *command, const char *operand, const char *socket)
{
	char path[256];

	must_format(path, sizeof path, "%s/webapp-agent", test_bin_folder());
	const char *argv[] = { path, command, "--socket", socket, operand, NULL };

	must_run(argv, 10000, &result);
}

START_TEST(a_socket_on_the_command_line_may_be_relative)
{
	must_daemon_start(&passage.agent);
	ck_assert_int_eq(chdir(passage.folder), 0);
	run_with("status", NULL, "web.sock");
	ck_assert_msg(result.exit_code == 0, "%s", result.err);
	run_with("status", NULL, "./web.sock");
	ck_assert_msg(result.exit_code == 0, "%s", result.err);
	char long_path[200] = { 0 };

	memset(long_path, 's', sizeof long_path - 1);
	run_with("status", NULL, long_path);
	expect_mistake("1 to 107 bytes, this one 199");
	must_daemon_stop(&passage.agent);
}
END_TEST

START_TEST(an_operations_name_is_told_when_it_is_none)
{
	static const char *const none[] = { "quo te/x", "Quote", "", "../status" };

	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		run_with("call", none[i], "/no/such.sock");
		expect_mistake("is no operation's name: 1 to 64 of a-z");
	}
}
END_TEST

START_TEST(a_mistake_in_the_contract_is_told_with_its_place)
{
	char path[160];
	char place[192];

	must_format(path, sizeof path, "%s/contract.yaml", passage.folder);
	must_write_file(path, 0600,
		"site: test\noperations:\n  quote.price: {kind: shout}\n  a.b: {kind: call, "
		"dedline: "
		"1s}\n");
	run("webapp-agent", "check", passage.agent.config);
	must_format(place, sizeof place, "%s:3", path);
	expect_mistake(place);
	must_format(place, sizeof place, "%s:4", path);
	expect_mistake(place);
	expect_mistake("deadline");
	run("app-node", "check", passage.node.config);
	expect_mistake(place);
}
END_TEST

/* Takes the place of a file; whoever waits for what comes out of it waits for ever. */
static void must_put_pipe(const char *path)
{
	(void)unlink(path);
	if (mkfifo(path, 0600) != 0)
		must_fail("%s: cannot be made", path);
}

START_TEST(a_pipe_in_the_place_of_a_file_is_a_mistake_and_keeps_nobody_waiting)
{
	static const char *const keys[] = { "contract", "tls.ca", "tls.certificate" };
	char path[160];
	char text[4096];
	char *good = must_read_file(passage.agent.config, NULL);

	must_format(path, sizeof path, "%s/pipe", passage.folder);
	must_put_pipe(path);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		char *line = strstr(good, keys[i]);

		ck_assert_ptr_nonnull(line);
		must_format(text, sizeof text, "%.*s%s = %s%s", (int)(line - good), good,
			keys[i], path, strchr(line, '\n'));
		must_daemon_configure(&passage.agent, text);
		run("webapp-agent", "check", passage.agent.config);
		expect_mistake(path);
		expect_mistake("is not a file");
	}
	free(good);
	must_put_pipe(passage.agent.config);
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake("no regular file");
	run("app-node", "check", "/dev/zero");
	expect_mistake("/dev/zero: cannot be read: no regular file");
	run("app-node", "check", passage.folder);
	expect_mistake("Is a directory");
}
END_TEST

START_TEST(a_certificate_of_another_host_is_a_mistake)
{
	const char *other = strcmp(passage.host.at, "t01") == 0 ? "t02" : "t01";

	must_format(passage.web_identity, sizeof passage.web_identity, "%s/web.%s.g1",
		e2e_broker.certificates, other);
	must_passage_configure(&passage, "");
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake("tls.certificate");
	expect_mistake(passage.host.at);
	/* Nor does a node's certificate make an agent. */
	memcpy(passage.web_identity, passage.app_identity, sizeof passage.web_identity);
	must_passage_configure(&passage, "");
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake("tls.certificate");
}
END_TEST

START_TEST(a_key_that_others_can_read_is_a_mistake)
{
	char path[256];
	char *key;

	must_format(path, sizeof path, "%s.key", passage.web_identity);
	key = must_read_file(path, NULL);
	must_format(path, sizeof path, "%s/open.key", passage.folder);
	must_write_file(path, 0644, key);
	free(key);
	char *good = must_read_file(passage.agent.config, NULL);
	char *line = strstr(good, "tls.key");

	ck_assert_ptr_nonnull(line);
	char text[4096];

	must_format(text, sizeof text, "%.*stls.key = %s%s", (int)(line - good), good, path,
		strchr(line, '\n'));
	free(good);
	must_daemon_configure(&passage.agent, text);
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake("tls.key");
	expect_mistake("open.key");
}
END_TEST

START_TEST(there_is_no_crossing_without_its_sealing_key)
{
	char path[256];
	char text[4096];

	must_format(passage.seals, sizeof passage.seals, "%s", passage.folder);
	must_passage_configure(&passage, "");
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake("seal.key");
	expect_mistake("agent.conf:2");
	run("app-node", "check", passage.node.config);
	must_format(path, sizeof path, "seal.keys: %s/%s.seal: No such file", passage.folder,
		passage.host.at);
	expect_mistake(path);
	expect_mistake("node.conf:");
	/* Nor is there a mode without. */
	char *good = must_read_file(passage.agent.config, NULL);

	must_format(text, sizeof text, "host = %s\n%s", passage.host.at,
		strstr(good, "border.brokers"));
	free(good);
	must_daemon_configure(&passage.agent, text);
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake("seal.key");
}
END_TEST

START_TEST(a_sealing_key_that_is_none_or_open_is_a_mistake_of_its_file)
{
	char path[256];
	char place[300];

	must_format(passage.seals, sizeof passage.seals, "%s", passage.folder);
	must_passage_configure(&passage, "");
	must_format(path, sizeof path, "%s/%s.seal", passage.folder, passage.host.at);
	must_write_file(path, 0600, "sallyport-seal-key v1\nkey present abcd\n");
	must_format(place, sizeof place, "%s:2", path);
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake(place);
	run("app-node", "check", passage.node.config);
	expect_mistake(place);
	must_write_file(path, 0644, "sallyport-seal-key v1\n");
	run("webapp-agent", "check", passage.agent.config);
	expect_mistake("chmod 600");
	run("app-node", "run", passage.node.config);
	expect_mistake("chmod 600");
	/* A group is one too many, and nobody says otherwise. */
	for (mode_t mode = 0644; mode >= 0640; mode -= 4) {
		ck_assert_int_eq(chmod(path, mode), 0);
		run("webapp-agent", "check", passage.agent.config);
		expect_mistake("chmod 600");
		ck_assert_ptr_null(strstr(result.err, "640 for a group"));
	}
}
END_TEST

START_TEST(a_wrong_command_line_is_100_and_says_how_it_goes)
{
	static const char *const programs[] = { "webapp-agent", "app-node" };

	for (unsigned i = 0; i < 2; i++) {
		run(programs[i], "dance", NULL);
		expect_mistake("dance");
		expect_mistake("--help");
		run(programs[i], "run", NULL);
		expect_mistake("--config");
		run(programs[i], "run", "/no/such/file.conf");
		expect_mistake("/no/such/file.conf");
		run(programs[i], "--help", NULL);
		ck_assert_int_eq(result.exit_code, 0);
		ck_assert_ptr_nonnull(strstr(result.out, "usage"));
	}
}
END_TEST

/* Whoever writes an example into a file on a full disk must not think that he has one. */
START_TEST(what_cannot_be_printed_is_111)
{
	static const char *const asked[] = { "webapp-agent example", "webapp-agent --version",
		"app-node --help", "webapp-agent check --config \"$2\"",
		"webapp-agent status --config \"$2\"", "app-node status --config \"$3\"" };

	must_passage_start(&passage);
	for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		char line[256];

		must_format(line, sizeof line, "\"$1\"/%s > /dev/full", asked[i]);
		const char *argv[] = { "/bin/sh", "-c", line, "sh", test_bin_folder(),
			passage.agent.config, passage.node.config, NULL };

		must_run(argv, 10000, &result);
		if (result.exit_code != 111 || strstr(result.err, "No space left") == NULL)
			must_fail("%s: exit %d: %s", line, result.exit_code, result.err);
	}
}
END_TEST

START_TEST(a_number_that_is_none_is_a_wrong_command_line)
{
	static const char *const none[] = { "abc", "0", "-5", "1s" };
	char path[256];

	must_format(path, sizeof path, "%s/webapp-agent", test_bin_folder());
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		const char *argv[] = { path, "call", "quote.price", "--deadline-ms", none[i],
			"--socket", "/no/such.sock", NULL };

		must_run(argv, 10000, &result);
		expect_mistake("--deadline-ms");
		expect_mistake(none[i]);
	}
}
END_TEST

START_TEST(parameters_may_come_on_standard_input)
{
	char path[256];
	const char *argv[] = { "/bin/sh", "-c",
		"printf '{\"is\":\"%s\"}' there | exec \"$0\" call quote.price - --socket "
		"\"$1\"",
		path, passage.web_socket, NULL };

	must_format(path, sizeof path, "%s/webapp-agent", test_bin_folder());
	must_passage_start(&passage);
	expect_crossing(&passage);
	must_run(argv, 10000, &result);
	ck_assert_msg(result.exit_code == 0, "%s", result.err);
	ck_assert_ptr_nonnull(strstr(result.out, "{\"is\":\"there\"}"));
}
END_TEST

/* A site whose brokers have another CA than its daemons is right; most others have erred. */
START_TEST(another_authority_than_our_own_is_a_hint)
{
	char stranger[160];
	char place[192];

	must_broker_certificate(
		&e2e_broker, "web.any.g1", BROKER_STRANGE_AUTHORITY, stranger, sizeof stranger);
	*strrchr(stranger, '/') = '\0';
	must_format(passage.ca, sizeof passage.ca, "%s/ca.pem", stranger);
	must_passage_configure(&passage, "");
	run("webapp-agent", "check", passage.agent.config);
	ck_assert_int_eq(result.exit_code, 0);
	ck_assert_ptr_nonnull(strstr(result.out, "fine"));
	must_format(place, sizeof place, "%s:", passage.agent.config);
	ck_assert_ptr_nonnull(strstr(result.err, place));
	ck_assert_ptr_nonnull(strstr(result.err, "ca.pem is not the CA of tls.certificate"));
}
END_TEST

START_TEST(too_few_file_descriptors_are_told_and_are_111)
{
	static const char *const limits[] = { "8", "31" };
	const struct {
		const char *program;
		const char *config;
	} daemons[] = {
		{ "webapp-agent", passage.agent.config },
		{ "app-node", passage.node.config },
	};

	for (unsigned i = 0; i < 2; i++) {
		char path[256];
		char word[64];

		must_format(path, sizeof path, "%s/%s", test_bin_folder(), daemons[i].program);
		for (size_t n = 0; n < sizeof limits / sizeof limits[0]; n++) {
			const char *argv[] = { "/bin/sh", "-c",
				"ulimit -n $1; shift; exec \"$@\"", "sh", limits[n], path,
				"run", "--config", daemons[i].config, NULL };

			must_run(argv, 10000, &result);
			must_format(word, sizeof word, "ulimit -n is %s,", limits[n]);
			if (result.exit_code != 111 || strstr(result.err, word) == NULL)
				must_fail("expected exit 111 and \"%s\", got exit %d:\n%s",
					word, result.exit_code, result.err);
		}
	}
}
END_TEST

TCase *config_case(void)
{
	TCase *t = e2e_case("config", 30);

	tcase_add_test(t, a_good_configuration_passes);
	tcase_add_test(t, each_mistake_is_told_with_file_line_key_and_what_would_be_right);
	tcase_add_test(t, all_mistakes_are_told_at_once);
	tcase_add_test(t, what_run_would_refuse_check_refuses);
	tcase_add_test(t, a_socket_on_the_command_line_may_be_relative);
	tcase_add_test(t, an_operations_name_is_told_when_it_is_none);
	tcase_add_test(t, a_mistake_in_the_contract_is_told_with_its_place);
	tcase_add_test(t, a_pipe_in_the_place_of_a_file_is_a_mistake_and_keeps_nobody_waiting);
	tcase_add_test(t, a_certificate_of_another_host_is_a_mistake);
	tcase_add_test(t, a_key_that_others_can_read_is_a_mistake);
	tcase_add_test(t, there_is_no_crossing_without_its_sealing_key);
	tcase_add_test(t, a_sealing_key_that_is_none_or_open_is_a_mistake_of_its_file);
	tcase_add_test(t, a_wrong_command_line_is_100_and_says_how_it_goes);
	tcase_add_test(t, what_cannot_be_printed_is_111);
	tcase_add_test(t, a_number_that_is_none_is_a_wrong_command_line);
	tcase_add_test(t, parameters_may_come_on_standard_input);
	tcase_add_test(t, another_authority_than_our_own_is_a_hint);
	tcase_add_test(t, too_few_file_descriptors_are_told_and_are_111);
	return t;
}
