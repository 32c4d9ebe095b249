/* A config file becomes a struct, or every mistake in it is told. */
#include "daemon/options.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/random.h"
#include "unit/unit.h"

struct config {
	char *host;
	char *greeting;
	char *socket;
	char *ca;
	char *key;
	uint64_t window;
	uint64_t cap_bytes;
	uint64_t wait_ms;
	bool is_on;
	mode_t mode;
	struct option_list brokers;
	struct option_list names;
};

#define AT(field) OPTION_AT(struct config, field)

/* clang-format off */
static const struct option rows[] = {
	{ "host",           OPTION_NAME,   AT(host),      1, 8,      NULL,    "web1",    NULL, "this host's name", OPTION_AT_START },
	{ "greeting",       OPTION_TEXT,   AT(greeting),  1, 20,     "",      "hello",   NULL, "what to say", OPTION_AT_RELOAD },
	{ "api.socket",     OPTION_PATH,   AT(socket),    1, 107,    "a.sock", NULL,     NULL, "where web processes speak", OPTION_AT_START },
	{ "tls.ca",         OPTION_FILE,   AT(ca),        1, 4096,   "",      "ca.pem",  NULL, "whom to trust", OPTION_AT_RELOAD },
	{ "tls.key",        OPTION_SECRET, AT(key),       1, 4096,   "",      "key.pem", NULL, "our private key", OPTION_AT_START },
	{ "send.window",    OPTION_U64,    AT(window),    1, 1000,   "64",    NULL,      NULL, "unconfirmed sends", OPTION_AT_RELOAD },
	{ "body.max",       OPTION_BYTES,  AT(cap_bytes), KIB(1), MIB(1), "64KiB", NULL, NULL, "largest body", OPTION_AT_START },
	{ "wait",           OPTION_MS,     AT(wait_ms),   10, 60000, "5s",    NULL,      NULL, "how long to wait", OPTION_AT_RELOAD },
	{ "ready.border",   OPTION_BOOL,   AT(is_on),     0, 1,      "no",    NULL,      NULL, "wait for the border", OPTION_AT_RELOAD },
	{ "api.mode",       OPTION_MODE,   AT(mode),      0, 0777,   "0660",  NULL,      NULL, "permissions of the socket", OPTION_AT_START },
	{ "border.brokers", OPTION_LIST,   AT(brokers),   1, 3,      NULL,    "127.0.0.1:5671", option_check_address, "tried in turn", OPTION_AT_RELOAD },
	{ "crossings",      OPTION_NAMES,  AT(names),     1, 100,    "",      "web1, web2", NULL, "hosts to serve", OPTION_AT_START },
};
/* clang-format on */

static const struct options options = { rows, ARRAY_COUNT(rows) };

static struct report report;
static struct config config;
static struct buf shown;
static char folder[] = "/tmp/sallyport-options-XXXXXX";

static void setup(void)
{
	report_init(&report);
	buf_init(&shown, MIB(1));
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
}

static void teardown(void)
{
	static const struct config nothing = { 0 };

	options_free(&options, &config);
	options_free(&options, &config);
	ck_assert_mem_eq(&config, &nothing, sizeof(config));
	report_fini(&report);
	buf_fini(&shown);
	for (const char *const *name = (const char *const[]){ "c", "ca.pem", "key.pem", NULL };
		*name != NULL; name++)
		unlink(*name);
	ck_assert_int_eq(rmdir(folder), 0);
}

static const char *shown_report(void)
{
	buf_clear(&shown);
	report_format(&report, &shown);
	buf_byte(&shown, '\0');
	return shown.at;
}

static enum err parse(struct span text)
{
	char *copy = malloc(text.len == 0 ? 1 : text.len);

	ck_assert_ptr_nonnull(copy);
	if (text.len > 0)
		memcpy(copy, text.at, text.len);
	enum err err = options_parse(
		&options, (struct span){ copy, text.len }, "c", "/etc/x", &report, &config);

	free(copy);
	ck_assert((err == ERR_OK) == report_is_empty(&report));
	return err;
}

static void must_parse(struct span text)
{
	ck_assert_msg(parse(text) == ERR_OK, "%s", shown_report());
}

static void put(const char *name, const char *text, mode_t mode)
{
	FILE *file = fopen(name, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(name, mode), 0);
}

#define NEEDED "host = web1\nborder.brokers = 127.0.0.1:5671\n"

START_TEST(what_is_not_given_has_its_default)
{
	must_parse(LITERAL(NEEDED));
	ck_assert_str_eq(config.host, "web1");
	ck_assert_ptr_null(config.greeting);
	ck_assert_str_eq(config.socket, "/etc/x/a.sock");
	ck_assert_ptr_null(config.key);
	ck_assert_uint_eq(config.window, 64);
	ck_assert_uint_eq(config.cap_bytes, 65536);
	ck_assert_uint_eq(config.wait_ms, 5000);
	ck_assert(!config.is_on);
	ck_assert_uint_eq(config.mode, 0660);
	ck_assert_uint_eq(config.brokers.count, 1);
	ck_assert_uint_eq(config.names.count, 0);
}
END_TEST

START_TEST(every_type_is_read)
{
	must_parse(LITERAL("# a comment = here\r\n"
			   "host=web-1\r\n"
			   "\n"
			   "  greeting =  it's #1 = \"one\"   # not this\t\n"
			   "api.socket = /run/x.sock\n"
			   "send.window = 1000\n"
			   "body.max = 1048576\n"
			   "wait = 1m\n"
			   "ready.border = yes\n"
			   "api.mode = 600\n"
			   "border.brokers = a.example:5671 ,[::1]:1,\tb:65535\n"
			   "crossings = web1,web2\n"
			   "#wait = 2m"));
	ck_assert_str_eq(config.host, "web-1");
	ck_assert_str_eq(config.greeting, "it's");
	ck_assert_str_eq(config.socket, "/run/x.sock");
	ck_assert_uint_eq(config.window, 1000);
	ck_assert_uint_eq(config.cap_bytes, 1048576);
	ck_assert_uint_eq(config.wait_ms, 60000);
	ck_assert(config.is_on);
	ck_assert_uint_eq(config.mode, 0600);
	ck_assert_uint_eq(config.brokers.count, 3);
	ck_assert_str_eq(config.brokers.at[0], "a.example:5671");
	ck_assert_str_eq(config.brokers.at[1], "[::1]:1");
	ck_assert_str_eq(config.brokers.at[2], "b:65535");
	ck_assert_str_eq(config.names.at[1], "web2");
}
END_TEST

START_TEST(a_hash_inside_a_word_is_no_comment)
{
	must_parse(LITERAL(NEEDED "greeting = a#b=c\n"));
	ck_assert_str_eq(config.greeting, "a#b=c");
}
END_TEST

static const struct {
	struct span text;
	const char *said; /* the whole report */
} bad[] = {
	{ LITERAL("host = web1\n"),
		"c: border.brokers: is missing; for example border.brokers = "
		"127.0.0.1:5671 (tried in turn)\n" },
	{ LITERAL(NEEDED "hots = x\n"), "c:3:1: hots: unknown key; did you mean \"host\"?\n" },
	{ LITERAL(NEEDED "  colour = x\n"),
		"c:3:3: colour: unknown key; the command \"example\" lists them all\n" },
	{ LITERAL(NEEDED "wait = 1s\n\nwait = 2s\n"),
		"c:5:1: wait: given already in line 3\n" },
	{ LITERAL(NEEDED "wait\n"), "c:3:1: \"wait\" is not \"key = value\"\n" },
	{ LITERAL(NEEDED "= 5\n"), "c:3:1: \"= 5\" is not \"key = value\"\n" },
	{ LITERAL(NEEDED "wait = # 5s\n"),
		"c:3:1: wait: has no value; without the line the default counts\n" },
	{ LITERAL("host =\nborder.brokers = a:1\n"),
		"c:1:1: host: has no value; it must be given, for example host = web1\n" },
	{ LITERAL(NEEDED "wait = 5\n"),
		"c:3:8: wait: \"5\" is not a whole number with a unit: 250ms, 5s, 10m, 1h\n" },
	{ LITERAL(NEEDED "wait = 9ms\n"),
		"c:3:8: wait: 9ms is out of range; from 10ms to 1m\n" },
	{ LITERAL(NEEDED "wait = 2m\n"), "c:3:8: wait: 2m is out of range; from 10ms to 1m\n" },
	{ LITERAL(NEEDED "body.max = 1KB\n"), "c:3:12: body.max: \"1KB\" is not a whole number "
					      "of bytes, or one with a unit: 64KiB, "
					      "1MiB\n" },
	{ LITERAL(NEEDED "body.max = 1023\n"),
		"c:3:12: body.max: 1023 is out of range; from 1KiB to 1MiB\n" },
	{ LITERAL(NEEDED "send.window = 0\n"),
		"c:3:15: send.window: 0 is out of range; from 1 to 1000\n" },
	{ LITERAL(NEEDED "send.window = -1\n"),
		"c:3:15: send.window: \"-1\" is not a whole number such as 64\n" },
	{ LITERAL(NEEDED "ready.border = on\n"),
		"c:3:16: ready.border: \"on\" is not yes or no\n" },
	{ LITERAL(NEEDED "api.mode = 0888\n"),
		"c:3:12: api.mode: \"0888\" is not octal permissions such as 0660\n" },
	{ LITERAL(NEEDED "api.mode = 01777\n"),
		"c:3:12: api.mode: 01777 is out of range; from 0 to 0777\n" },
	{ LITERAL(NEEDED "greeting = 123456789012345678901\n"),
		"c:3:12: greeting: 21 bytes; from 1 to 20\n" },
	{ LITERAL("host = web1web1web1\nborder.brokers = a:1\n"),
		"c:1:8: host: 12 bytes; from 1 to 8\n" },
	{ LITERAL("host = we/b1\nborder.brokers = a:1\n"),
		"c:1:8: host: \"we/b1\" is not a name: letters, digits, \"-\", \"_\" and "
		"\".\"\n" },
	{ LITERAL("host = a\nborder.brokers = a:1, b:2, c:3, d:4\n"),
		"c:2:18: border.brokers: 4 items; from 1 to 3\n" },
	{ LITERAL("host = a\nborder.brokers = a:1,, b\n"),
		"c:2:18: border.brokers: item 2 of the list is empty\n"
		"c:2:18: border.brokers: \"b\": not an address; write host:port, for example "
		"127.0.0.1:5671 or [::1]:5671\n" },
	{ LITERAL("host = a\nborder.brokers = a:65536, b:0\n"),
		"c:2:18: border.brokers: \"a:65536\": the port is out of range; from 1 to "
		"65535\n"
		"c:2:18: border.brokers: \"b:0\": the port is out of range; from 1 to "
		"65535\n" },
	{ LITERAL(NEEDED "crossings = web1, web2, web1\n"),
		"c:3:13: crossings: \"web1\" stands twice in the list\n" },
	{ LITERAL(NEEDED "tls.ca = none.pem\n"),
		"c:3:10: tls.ca: /etc/x/none.pem: No such file or directory\n" },
	{ LITERAL(NEEDED "tls.ca = /tmp\n"), "c:3:10: tls.ca: /tmp is not a file\n" },
	{ LITERAL(NEEDED "greeting = a\x01"
			 "b\n"),
		"c:3:12: greeting: \"a\\x01b\" has control characters\n" },
	{ LITERAL(NEEDED "greeting = a\0b\n"), "c: is not a text file in UTF-8\n" },
	{ LITERAL(NEEDED "greeting = \xff\n"), "c: is not a text file in UTF-8\n" },
	{ LITERAL("wait = 5\nhots = a\nbody.max = x\nwait = 1s\n"),
		"c:1:8: wait: \"5\" is not a whole number with a unit: 250ms, 5s, 10m, 1h\n"
		"c:2:1: hots: unknown key; did you mean \"host\"?\n"
		"c:3:12: body.max: \"x\" is not a whole number of bytes, or one with a unit: "
		"64KiB, "
		"1MiB\n"
		"c:4:1: wait: given already in line 1\n"
		"c: host: is missing; for example host = web1 (this host's name)\n"
		"c: border.brokers: is missing; for example border.brokers = 127.0.0.1:5671 "
		"(tried in "
		"turn)\n" },
};

START_TEST(a_mistake_is_told_with_line_key_and_what_would_be_right)
{
	ck_assert_int_eq(parse(bad[_i].text), ERR_INPUT);
	ck_assert_str_eq(shown_report(), bad[_i].said);
}
END_TEST

START_TEST(paths_are_relative_to_the_file)
{
	char path[100];

	put("c", NEEDED "tls.ca = ca.pem\n", 0644);
	put("ca.pem", "x", 0644);
	snprintf(path, sizeof(path), "%s/c", folder);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(options_load(&options, path, &report, &config), ERR_OK);
	snprintf(path, sizeof(path), "%s/ca.pem", folder);
	ck_assert_str_eq(config.ca, path);
	options_free(&options, &config);
	ck_assert_int_eq(chdir(folder), 0);
	ck_assert_int_eq(options_load(&options, "c", &report, &config), ERR_OK);
	ck_assert_str_eq(config.ca, "ca.pem");
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_a_mistake)
{
	ck_assert_int_eq(options_load(&options, "none", &report, &config), ERR_INPUT);
	ck_assert_str_eq(shown_report(), "none: cannot be read: No such file or directory\n");
	report_fini(&report);
	ck_assert_int_eq(options_load(&options, ".", &report, &config), ERR_INPUT);
	ck_assert_str_eq(shown_report(), ".: cannot be read: Is a directory\n");
	report_fini(&report);
	FILE *file = fopen("c", "w");

	ck_assert_ptr_nonnull(file);
	for (int i = 0; i <= OPTIONS_MAX_FILE_BYTES; i++)
		fputc('\n', file);
	fclose(file);
	ck_assert_int_eq(options_load(&options, "c", &report, &config), ERR_INPUT);
	ck_assert_str_eq(shown_report(), "c: cannot be read: larger than 64 KiB\n");
}
END_TEST

static const struct {
	mode_t mode;
	enum err err;
} modes[] = { { 0600, ERR_OK }, { 0400, ERR_OK }, { 0640, ERR_OK }, { 0440, ERR_OK },
	{ 0644, ERR_INPUT }, { 0604, ERR_INPUT }, { 0660, ERR_INPUT }, { 0601, ERR_INPUT },
	{ 0666, ERR_INPUT } };

START_TEST(a_secret_that_others_can_read_or_write_is_refused)
{
	put("c", NEEDED "tls.key = key.pem\n", 0644);
	put("key.pem", "x", modes[_i].mode);
	ck_assert_int_eq(options_load(&options, "c", &report, &config), modes[_i].err);
	if (modes[_i].err == ERR_OK) {
		ck_assert_str_eq(config.key, "key.pem");
		return;
	}
	char wanted[200];

	snprintf(wanted, sizeof(wanted),
		"c:3:11: tls.key: key.pem is open to others (mode %04o); chmod 600 it, or 640 "
		"for a "
		"group\n",
		(unsigned)modes[_i].mode);
	ck_assert_str_eq(shown_report(), wanted);
}
END_TEST

START_TEST(the_example_file_is_a_config_file)
{
	struct buf text;

	put("ca.pem", "x", 0644);
	put("key.pem", "x", 0600);
	buf_init(&text, KIB(64));
	options_example(&options, &text);
	ck_assert_int_eq(
		options_parse(&options, buf_span(&text), "c", "", &report, &config), ERR_OK);
	ck_assert_uint_eq(config.wait_ms, 5000);
	options_free(&options, &config);

	/* With every line switched on it still is one, and says the same. */
	struct buf all;
	struct span rest = buf_span(&text);

	buf_init(&all, KIB(64));
	while (rest.len > 0) {
		struct span line = text.len == 0 ? rest : (struct span){ rest.at, 0 };

		while (line.len < rest.len && rest.at[line.len] != '\n')
			line.len++;
		bool is_off = line.len > 1 && line.at[0] == '#' && line.at[1] != ' ';

		buf_append(&all, span_after(line, is_off ? 1 : 0));
		buf_byte(&all, '\n');
		rest = span_after(rest, line.len + 1);
	}
	enum err err = options_parse(&options, buf_span(&all), "c", "", &report, &config);

	ck_assert_msg(err == ERR_OK, "%s", shown_report());
	ck_assert_uint_eq(config.window, 64);
	ck_assert_str_eq(config.greeting, "hello");
	ck_assert_str_eq(config.key, "key.pem");
	ck_assert_uint_eq(config.names.count, 2);
	buf_fini(&all);
	buf_fini(&text);
}
END_TEST

START_TEST(the_example_names_every_key_with_kind_range_default_and_sentence)
{
	options_example(&options, &shown);
	buf_byte(&shown, '\0');
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		ck_assert_ptr_nonnull(strstr(shown.at, rows[i].key));
		ck_assert_ptr_nonnull(strstr(shown.at, rows[i].sentence));
	}
	ck_assert_ptr_nonnull(strstr(shown.at, "duration from 10ms to 1m, default 5s\n"));
	ck_assert_ptr_nonnull(strstr(shown.at, "size from 1KiB to 1MiB, default 64KiB\n"));
	ck_assert_ptr_nonnull(strstr(shown.at, "mode from 0 to 0777, default 0660\n"));
	ck_assert_ptr_nonnull(strstr(shown.at, "name, must be given\n"));
	ck_assert_ptr_nonnull(strstr(shown.at, "secret file, may be absent\n"));
}
END_TEST

static const struct {
	const char *address;
	bool is_good;
} addresses[] = { { "a:1", true }, { "127.0.0.1:5671", true }, { "broker.example:65535", true },
	{ "[::1]:5671", true }, { "[fe80::1.2.3.4]:1", true }, { "", false }, { ":1", false },
	{ "a", false }, { "a:", false }, { "a:0", false }, { "a:65536", false },
	{ "a:1x", false }, { "a:01", false }, { "::1:5671", false }, { "[::1]", false },
	{ "[]:1", false }, { "[:]:1", false }, { "[::g]:1", false }, { "a b:1", false },
	{ "amqp://a:1", false } };

START_TEST(an_address_is_host_and_port)
{
	ck_assert_int_eq(option_check_address(span_of(addresses[_i].address)) == NULL,
		addresses[_i].is_good);
}
END_TEST

START_TEST(a_damaged_file_is_refused_or_read_but_never_breaks_anything)
{
	static const char text[] = NEEDED "greeting = hello\nsend.window = 5\nwait = 5s # x\n"
					  "crossings = a, b, c\napi.mode = 0600\n";
	uint64_t state = 0x2545f4914f6cdd1d + (uint64_t)_i;

	for (int round = 0; round < 1000; round++) {
		char copy[sizeof(text)];
		size_t len = sizeof(text) - 1;

		memcpy(copy, text, len);
		for (uint64_t damage = 1 + next_random(&state) % 4; damage > 0; damage--)
			copy[next_random(&state) % len] = "=#\n ,\0\xff"
							  "a9\t"[next_random(&state) % 10];
		if (next_random(&state) % 4 == 0)
			len = next_random(&state) % len;
		enum err err = parse((struct span){ copy, len });

		ck_assert(err == ERR_OK || err == ERR_INPUT);
		options_free(&options, &config);
		report_fini(&report);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon/options");
	TCase *tc = tcase_create("options");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_not_given_has_its_default);
	tcase_add_test(tc, every_type_is_read);
	tcase_add_test(tc, a_hash_inside_a_word_is_no_comment);
	tcase_add_loop_test(tc, a_mistake_is_told_with_line_key_and_what_would_be_right, 0,
		(int)ARRAY_COUNT(bad));
	tcase_add_test(tc, paths_are_relative_to_the_file);
	tcase_add_test(tc, a_file_that_cannot_be_read_is_a_mistake);
	tcase_add_loop_test(tc, a_secret_that_others_can_read_or_write_is_refused, 0,
		(int)ARRAY_COUNT(modes));
	tcase_add_test(tc, the_example_file_is_a_config_file);
	tcase_add_test(tc, the_example_names_every_key_with_kind_range_default_and_sentence);
	tcase_add_loop_test(tc, an_address_is_host_and_port, 0, (int)ARRAY_COUNT(addresses));
	tcase_add_loop_test(
		tc, a_damaged_file_is_refused_or_read_but_never_breaks_anything, 0, 4);
	tcase_set_timeout(tc, 30);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
