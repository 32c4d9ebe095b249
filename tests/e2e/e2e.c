/* e2e.c - runs the end-to-end tests. */
#include "e2e.h"

#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "must.h"

enum { EXIT_NO = 1, EXIT_USAGE = 2, SHOWN_BYTES = 1500, REPORT_BYTES = 3000 };

struct broker e2e_broker;
struct passage passage;
unsigned e2e_kills = 5;
bool e2e_shows_kills;

static const char usage[] =
	"usage: e2e [--kills N] [CASE]...\n"
	"End-to-end tests against a private RabbitMQ, started for them: all cases, or those "
	"named.\n"
	"Cases: calls sends outages network refusals stopping hostile_clients hostile_broker "
	"seal config reload inner\n"
	"  --kills N  kill the broker so many times in a row under load (5), and print what "
	"each\n"
	"             kill cost\n"
	"What a failed test leaves behind is kept; its logs are shown.\n"
	"Exit status: 0 all passed, 1 some did not, 2 called wrongly.\n";

static const struct {
	const char *name;
	TCase *(*make)(void);
	unsigned crossings; /* about as many as its tests take */
} cases[] = {
	{ "calls", calls_case, 14 },
	{ "sends", sends_case, 8 },
	{ "stopping", stopping_case, 6 },
	{ "refusals", refusals_case, 6 },
	{ "hostile_clients", hostile_clients_case, 6 },
	{ "hostile_broker", hostile_broker_case, 6 },
	{ "seal", seal_case, 16 },
	{ "network", network_case, 6 },
	{ "outages", outages_case, 8 },
	{ "config", config_case, 10 },
	{ "reload", reload_case, 16 },
	{ "inner", inner_case, 8 },
};

static void setup(void)
{
	must_enter_test();
	must_passage_open(&passage, &e2e_broker);
}

static void teardown(void)
{
	must_passage_close(&passage);
}

TCase *e2e_case(const char *name, double timeout_s)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, timeout_s);
	return t;
}

/* The ends of the logs in what failed tests left behind. */
static int show_log(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	size_t len = strlen(path);
	size_t text_len = 0;

	(void)st;
	(void)at;
	if (kind != FTW_F || len < 4 || strcmp(path + len - 4, ".log") != 0)
		return 0;
	char *text = must_read_file(path, &text_len);
	const char *report = text == NULL ? NULL : strstr(text, "ERROR: AddressSanitizer");

	if (report != NULL)
		(void)fprintf(stderr, "\n%s has:\n%.*s\n", path, REPORT_BYTES, report);
	else if (text != NULL && text_len != 0)
		(void)fprintf(stderr, "\n%s ends with:\n%s", path,
			text_len > SHOWN_BYTES ? text + text_len - SHOWN_BYTES : text);
	free(text);
	return 0;
}

static bool is_wanted(const char *name, int argc, char **argv)
{
	for (int i = optind; i < argc; i++) {
		if (strcmp(argv[i], name) == 0)
			return true;
	}
	return optind == argc;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		if (strcmp(cases[i].name, name) == 0)
			return true;
	}
	return false;
}

static bool parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kills", required_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	uint64_t number = 0;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			(void)fputs(usage, stdout);
			exit(0);
		}
		if (option != 'k' || text_parse_u64(span_of(optarg), &number) != ERR_OK ||
			number == 0 || number > 1000)
			return false;
		e2e_kills = (unsigned)number;
		e2e_shows_kills = true;
	}
	for (int i = optind; i < argc; i++) {
		if (!is_known(argv[i]))
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	char folder[64];

	if (!parse(argc, argv)) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	must_make_folder(folder, sizeof folder);
	Suite *suite = suite_create("e2e");
	unsigned crossings = 0;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		if (!is_wanted(cases[i].name, argc, argv))
			continue;
		suite_add_tcase(suite, cases[i].make());
		crossings += cases[i].crossings;
	}
	must_broker_up(&e2e_broker, folder, crossings);
	SRunner *runner = srunner_create(suite);

	passage_keep_under(folder);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	broker_down(&e2e_broker);
	if (failed == 0) {
		must_remove_folder(folder);
		return 0;
	}
	(void)nftw(folder, show_log, 16, FTW_PHYS);
	(void)fprintf(stderr, "\nwhat failed tests left behind: %s\n", folder);
	return EXIT_NO;
}
