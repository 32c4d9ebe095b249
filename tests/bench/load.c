/* load.c - sallyport-load: requests to a daemon's local API as a web process sends them, their
 * answers counted and timed.
 *
 * Layer: tests. Uses: base, arguments, load_run, figures, picture. */
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "figures.h"
#include "load_run.h"
#include "picture.h"

enum { EXIT_NO = 1, JSON_MAX = 64 * 1024 };

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
	"SIGTERM and SIGINT end it in order, with its figures.\n"
	"Exit status: 0 all answers were right, 1 some were not, 2 called wrongly.\n";

static volatile sig_atomic_t is_over;

static void on_signal(int signum)
{
	(void)signum;
	is_over = 1;
}

static enum err parse(struct arguments *a, int argc, char **argv)
{
	static const char *const kinds[] = { "call", "send", NULL };
	uint64_t kind = KIND_CALL;
	uint64_t in_flight = 1;
	uint64_t seconds = 0;
	const struct argument table[] = {
		ARGUMENT_NEEDED("socket", &a->socket_path),
		ARGUMENT_NEEDED("op", &a->op),
		ARGUMENT_NEEDED("body", &a->body),
		ARGUMENT_WORD("kind", &kind, kinds),
		ARGUMENT_NUMBER("calls", &a->plan.calls, 1, 100000000),
		ARGUMENT_NUMBER("warmup", &a->plan.warmup, 0, 100000000),
		ARGUMENT_NUMBER("in-flight", &in_flight, 1, BENCH_MAX_IN_FLIGHT),
		ARGUMENT_NUMBER("pace-ms", &a->plan.pace_ms, 0, 60000),
		ARGUMENT_NUMBER("seconds", &seconds, 1, 86400),
		ARGUMENT_TEXT("json", &a->json),
	};

	*a = (struct arguments){ .plan = { .warmup = 200, .is_over = &is_over } };
	enum err err = arguments_parse(table, ARRAY_COUNT(table), usage, argc, argv);

	a->kind = (enum kind)kind;
	a->plan.in_flight = (unsigned)in_flight;
	a->plan.most_ms = SEC_MS(seconds);
	if (a->plan.calls == 0)
		a->plan.calls = seconds == 0 ? 2000 : UINT64_MAX;
	return err;
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
		",\"right_unix_ms\":%" PRIu64 ",\"statuses\":{",
		f->count, f->errors, l->broken, l->right_unix_ms);
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
	(void)sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	(void)sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	enum err err = parse(&arguments, argc, argv);

	if (err != ERR_OK)
		return err == ERR_CANCEL ? 0 : ARGUMENTS_EXIT_USAGE;
	struct rounds *rounds = calloc(1, sizeof *rounds);

	err = rounds == NULL ? ERR_NOMEM : measure(&arguments, &load, rounds);
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
