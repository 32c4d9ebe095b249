/* load.c - sallyport-load: requests to a daemon's local API as a web process sends them, their
 * answers counted and timed.
 *
 * Layer: tests. Uses: base, load_run, figures, picture. */
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "figures.h"
#include "load_run.h"
#include "picture.h"

enum { EXIT_NO = 1, EXIT_USAGE = 2, JSON_MAX = 64 * 1024 };

enum kind { KIND_CALL = 0, KIND_SEND };

struct arguments {
	const char *socket_path;
	const char *op;
	const char *body;
	enum kind kind;
	struct bench_plan plan;
	const char *json;
};

static const char usage[] =
	"usage: sallyport-load --socket PATH --op NAME --body JSON [OPTION]...\n"
	"Asks a webapp-agent over its Unix socket, with keep-alive, and times the answers.\n"
	"  --kind call|send  what the operation is: 200 or 202 is the right answer (call)\n"
	"  --calls N         measured requests (2000; with --seconds: no limit)\n"
	"  --warmup N        before them, not measured (200)\n"
	"  --in-flight N     requests under way at once, each on its connection (1)\n"
	"  --pace-ms MS      from one start to the next, 0 = back to back (0)\n"
	"  --seconds S       end after this long\n"
	"  --json FILE       the figures as JSON too\n"
	"Exit status: 0 all answers were right, 1 some were not, 2 called wrongly.\n";

static enum err parse_kind(struct arguments *a, const char *text)
{
	if (strcmp(text, "call") == 0)
		a->kind = KIND_CALL;
	else if (strcmp(text, "send") == 0)
		a->kind = KIND_SEND;
	else
		return ERR_INPUT;
	return ERR_OK;
}

static enum err parse_option(struct arguments *a, int option, const char *text)
{
	enum err err = ERR_OK;
	uint64_t number = 0;

	switch (option) {
	case 's':
		a->socket_path = text;
		return ERR_OK;
	case 'o':
		a->op = text;
		return ERR_OK;
	case 'b':
		a->body = text;
		return ERR_OK;
	case 'j':
		a->json = text;
		return ERR_OK;
	case 'k':
		return parse_kind(a, text);
	case 'n':
		return bench_number("--calls", text, 1, 100000000, &a->plan.calls);
	case 'u':
		return bench_number("--warmup", text, 0, 100000000, &a->plan.warmup);
	case 'e':
		return bench_number("--pace-ms", text, 0, 60000, &a->plan.pace_ms);
	case 't':
		err = bench_number("--seconds", text, 1, 86400, &number);
		a->plan.most_ms = SEC_MS(number);
		return err;
	case 'f':
		err = bench_number("--in-flight", text, 1, BENCH_MAX_IN_FLIGHT, &number);
		a->plan.in_flight = (unsigned)number;
		return err;
	default:
		return ERR_INPUT;
	}
}

static enum err parse(struct arguments *a, int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "op", required_argument, NULL, 'o' },
		{ "body", required_argument, NULL, 'b' },
		{ "kind", required_argument, NULL, 'k' },
		{ "calls", required_argument, NULL, 'n' },
		{ "warmup", required_argument, NULL, 'u' },
		{ "in-flight", required_argument, NULL, 'f' },
		{ "pace-ms", required_argument, NULL, 'e' },
		{ "seconds", required_argument, NULL, 't' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	*a = (struct arguments){ .plan = { .warmup = 200, .in_flight = 1 } };
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h')
			return ERR_CANCEL;
		if (parse_option(a, option, optarg) != ERR_OK)
			return ERR_INPUT;
	}
	if (a->plan.calls == 0)
		a->plan.calls = a->plan.most_ms == 0 ? 2000 : UINT64_MAX;
	if (a->socket_path == NULL || a->op == NULL || a->body == NULL)
		return ERR_INPUT;
	return optind == argc ? ERR_OK : ERR_INPUT;
}

static enum err report_json(
	const struct arguments *a, const struct load *l, const struct figures *f)
{
	struct buf json;
	const char *comma = "";

	buf_init(&json, JSON_MAX);
	buf_text(&json, "{");
	figures_json(&json, a->kind == KIND_CALL ? "call" : "send", f);
	buf_format(&json,
		",\"requests\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"broken\":%" PRIu64
		",\"statuses\":{",
		f->count, f->errors, l->broken);
	for (unsigned status = 0; status < LOAD_MAX_STATUS; status++) {
		if (l->by_status[status] == 0)
			continue;
		buf_format(&json, "%s\"%u\":%" PRIu64, comma, status, l->by_status[status]);
		comma = ",";
	}
	buf_text(&json, "}}\n");
	enum err err = figures_write(a->json, &json);

	buf_fini(&json);
	return err;
}

static enum err report(
	const struct arguments *a, const struct load *l, const struct rounds *rounds)
{
	struct picture_style style = picture_style_of(stdout);
	struct picture_side side = {
		.title = a->op,
		.hist = &rounds->all,
		.figures = rounds_figures(rounds),
	};

	picture_table(stdout, &style, &side, 1);
	if (side.figures.errors != 0)
		(void)fprintf(stderr,
			"sallyport-load: %" PRIu64 " of %" PRIu64
			" requests did not get %d; the first: %s\n",
			side.figures.errors, side.figures.count + l->broken, l->expected_status,
			l->first_error);
	return a->json == NULL ? ERR_OK : report_json(a, l, &side.figures);
}

static enum err measure(const struct arguments *a, struct load *l, struct rounds *rounds)
{
	struct bench_result *result = malloc(sizeof *result);
	char path[256];

	if (result == NULL)
		return ERR_NOMEM;
	(void)snprintf(
		path, sizeof path, "/v1/%s/%s", a->kind == KIND_CALL ? "call" : "send", a->op);
	enum err err = load_init(
		l, a->socket_path, path, span_of(a->body), a->kind == KIND_CALL ? 200 : 202);

	if (err == ERR_OK)
		err = load_round(l, &a->plan, result);
	if (err == ERR_OK)
		rounds_add(rounds, result);
	free(result);
	return err;
}

int main(int argc, char **argv)
{
	struct arguments arguments;
	struct load load = { 0 };
	int status = EXIT_NO;

	(void)setlocale(LC_CTYPE, "");
	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	switch (parse(&arguments, argc, argv)) {
	case ERR_OK:
		break;
	case ERR_CANCEL:
		(void)fputs(usage, stdout);
		return 0;
	default:
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	struct rounds *rounds = calloc(1, sizeof *rounds);
	enum err err = rounds == NULL ? ERR_NOMEM : measure(&arguments, &load, rounds);

	if (err == ERR_OK)
		err = report(&arguments, &load, rounds);
	if (err == ERR_LINK) /* told where it was met */
		(void)fputs("sallyport-load: the measurement is impossible\n", stderr);
	else if (err != ERR_OK)
		(void)fprintf(stderr, "sallyport-load: %s\n", err_text(err));
	else if (rounds->errors == 0)
		status = 0;
	free(rounds);
	load_fini(&load);
	return status;
}
