/* compare.c - sallyport-compare: calls and sends through a running crossing beside the bare
 * floor, in turns on the same broker, with a picture.
 *
 * Layer: tests. Uses: base, arguments, floor_pair, load_run, figures, picture. */
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "figures.h"
#include "floor_pair.h"
#include "load_run.h"
#include "picture.h"

enum {
	EXIT_NO = 1,
	JSON_MAX = 64 * 1024,
	ENV_MAX = 64 * 1024,
	FLOOR_BODY_BYTES = 256,
};

/* What is promised of a call's median, as a multiple of the floor's in the same run. */
static const double RATIO_P50_LIMIT = 1.6;

/* What is measured, in the order of the table. */
enum subject { FLOOR = 0, CALL, PUBLISH, SEND, SUBJECTS };

struct arguments {
	const char *env_path;
	const char *call_op;
	const char *call_body;
	const char *send_op;
	const char *send_body;
	const char *json;
	uint64_t calls;
	uint64_t sends;
	uint64_t rounds;
	uint64_t warmup;
	uint64_t pace_ms;
	unsigned in_flight;
};

/* The lines of `scripts/dev env`, cut apart in place. */
struct env {
	char text[ENV_MAX];
	size_t len;
};

struct contest {
	const struct arguments *arguments;
	struct env env;
	struct floor_pair floor;
	struct load call;
	struct load send;
	struct bench_result result; /* of the round under way */
	struct rounds rounds[SUBJECTS];
};

static const char usage[] =
	"usage: sallyport-compare --env FILE [OPTION]...\n"
	"Measures calls and sends through a running crossing beside two bare rabbitmq-c "
	"processes\n"
	"over the spare crossing of the same broker, in turns. FILE holds the lines that\n"
	"`scripts/dev env` prints for a site made with --spare; - is standard input.\n"
	"  --calls N             calls in all rounds together (10000)\n"
	"  --sends N             sends in all rounds together, 0 = none (2000)\n"
	"  --rounds N            short ones in turns; the figures are the medians (25)\n"
	"  --warmup N            before each part of a round, not measured (20)\n"
	"  --in-flight N         requests under way at once (1)\n"
	"  --pace-ms MS          from one start to the next, 0 = back to back (0)\n"
	"  --op NAME --body JSON                a call of the contract (quote.price)\n"
	"  --send-op NAME --send-body JSON      a send of the contract (order.place)\n"
	"  --json FILE           the figures as JSON too\n"
	"Exit status: 0 measured, 1 answers were wrong or measuring failed, 2 called "
	"wrongly.\n";

static enum err parse(struct arguments *a, int argc, char **argv)
{
	uint64_t in_flight = 1;
	const struct argument table[] = {
		ARGUMENT_NEEDED("env", &a->env_path),
		ARGUMENT_NUMBER("calls", &a->calls, 1, 100000000),
		ARGUMENT_NUMBER("sends", &a->sends, 0, 100000000),
		ARGUMENT_NUMBER("rounds", &a->rounds, 1, FIGURES_MAX_ROUNDS),
		ARGUMENT_NUMBER("warmup", &a->warmup, 0, 1000000),
		ARGUMENT_NUMBER("in-flight", &in_flight, 1, BENCH_MAX_IN_FLIGHT),
		ARGUMENT_NUMBER("pace-ms", &a->pace_ms, 0, 60000),
		ARGUMENT_TEXT("op", &a->call_op),
		ARGUMENT_TEXT("body", &a->call_body),
		ARGUMENT_TEXT("send-op", &a->send_op),
		ARGUMENT_TEXT("send-body", &a->send_body),
		ARGUMENT_TEXT("json", &a->json),
	};

	*a = (struct arguments){
		.call_op = "quote.price",
		.call_body = "{\"sku\":\"A-1\",\"quantity\":2}",
		.send_op = "order.place",
		.send_body =
			"{\"customer\":\"c-1\",\"lines\":[{\"sku\":\"A-1\",\"quantity\":1}]}",
		.calls = 10000,
		.sends = 2000,
		.rounds = 25,
		.warmup = 20,
	};
	enum err err = arguments_parse(table, ARRAY_COUNT(table), usage, argc, argv);

	a->in_flight = (unsigned)in_flight;
	return err;
}

static enum err env_read(struct env *e, const char *path)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");

	if (file == NULL) {
		(void)fprintf(stderr, "%s: cannot be read\n", path);
		return ERR_IO;
	}
	e->len = fread(e->text, 1, sizeof e->text - 1, file);
	bool has_failed = ferror(file) != 0 || e->len == sizeof e->text - 1;

	if (file != stdin)
		(void)fclose(file);
	for (size_t i = 0; i < e->len; i++) {
		if (e->text[i] == '\n')
			e->text[i] = '\0';
	}
	return has_failed ? ERR_IO : ERR_OK;
}

/* The value of a key, borrowed from e, or NULL. */
static const char *env_find(const struct env *e, const char *key)
{
	size_t key_len = strlen(key);

	for (size_t at = 0; at < e->len; at += strlen(e->text + at) + 1) {
		const char *line = e->text + at;

		if (strncmp(line, key, key_len) == 0 && line[key_len] == '=')
			return line + key_len + 1;
	}
	return NULL;
}

static enum err env_need(const struct env *e, const char *key, const char **out)
{
	*out = env_find(e, key);
	if (*out != NULL)
		return ERR_OK;
	(void)fprintf(stderr, "%s is missing from the lines of `scripts/dev env`%s\n", key,
		strstr(key, "_SPARE_") != NULL ? " (is the site made with --spare?)" : "");
	return ERR_INPUT;
}

static enum err floor_config_of(const struct env *e, struct floor_config *out)
{
	const char *port_text = NULL;
	uint64_t port = 0;

	*out = (struct floor_config){ .body_bytes = FLOOR_BODY_BYTES, .links = FLOOR_ONE_LINK };
	const struct {
		const char *key;
		const char **out;
	} needed[] = {
		{ "SALLYPORT_BROKER_HOST", &out->broker.host },
		{ "SALLYPORT_BROKER_PORT", &port_text },
		{ "SALLYPORT_CA", &out->broker.ca },
		{ "SALLYPORT_SPARE_VHOST", &out->broker.vhost },
		{ "SALLYPORT_SPARE_WEB_CERT", &out->web.certificate },
		{ "SALLYPORT_SPARE_WEB_KEY", &out->web.key },
	};

	for (size_t i = 0; i < ARRAY_COUNT(needed); i++) {
		if (env_need(e, needed[i].key, needed[i].out) != ERR_OK)
			return ERR_INPUT;
	}
	bool has_spare_node = env_find(e, "SALLYPORT_SPARE_APP_CERT") != NULL;

	if (env_need(e, has_spare_node ? "SALLYPORT_SPARE_APP_CERT" : "SALLYPORT_APP_CERT",
		    &out->app.certificate) != ERR_OK ||
		env_need(e, has_spare_node ? "SALLYPORT_SPARE_APP_KEY" : "SALLYPORT_APP_KEY",
			&out->app.key) != ERR_OK)
		return ERR_INPUT;
	enum err err = arguments_number(
		"SALLYPORT_BROKER_PORT", port_text, 1, UINT16_MAX, &port);

	out->broker.port = (uint16_t)port;
	return err;
}

static void contest_close(struct contest *c)
{
	load_fini(&c->call);
	load_fini(&c->send);
	floor_pair_close(&c->floor);
}

static enum err contest_open(struct contest *c, const struct arguments *a)
{
	struct floor_config config;
	const char *web_socket = NULL;
	char path[256];

	c->arguments = a;
	enum err err = env_read(&c->env, a->env_path);

	if (err == ERR_OK)
		err = floor_config_of(&c->env, &config);
	if (err == ERR_OK)
		err = env_need(&c->env, "SALLYPORT_WEB_SOCKET", &web_socket);
	if (err == ERR_OK)
		err = floor_pair_open(&c->floor, &config);
	if (err != ERR_OK)
		return err;
	(void)snprintf(path, sizeof path, "/v1/call/%s", a->call_op);
	err = load_init(&c->call, web_socket, path, span_of(a->call_body), 200);
	(void)snprintf(path, sizeof path, "/v1/send/%s", a->send_op);
	if (err == ERR_OK)
		err = load_init(&c->send, web_socket, path, span_of(a->send_body), 202);
	return err;
}

/* What falls to a round, so that the sum over all of them is exact. */
static uint64_t share(uint64_t all, uint64_t round, uint64_t rounds)
{
	return all * (round + 1) / rounds - all * round / rounds;
}

static enum err run_part(struct contest *c, enum subject subject, uint64_t round)
{
	const struct arguments *a = c->arguments;
	bool is_stored = subject == PUBLISH || subject == SEND;
	struct bench_plan plan = {
		.calls = share(is_stored ? a->sends : a->calls, round, a->rounds),
		.warmup = a->warmup,
		.pace_ms = a->pace_ms,
		.in_flight = a->in_flight,
	};
	enum err err = ERR_OK;

	if (plan.calls == 0)
		return ERR_OK;
	switch (subject) {
	case FLOOR:
		err = floor_pair_calls(&c->floor, &plan, &c->result);
		break;
	case CALL:
		err = load_round(&c->call, &plan, &c->result);
		break;
	case PUBLISH:
		err = floor_pair_publishes(&c->floor, &plan, &c->result);
		break;
	case SEND:
		err = load_round(&c->send, &plan, &c->result);
		break;
	case SUBJECTS:
		break;
	}
	if (err == ERR_OK)
		rounds_add(&c->rounds[subject], &c->result);
	return err;
}

/* The two sides take turns at being first: whatever drifts on the machine hits both alike. */
static enum err run_rounds(struct contest *c)
{
	enum err err = ERR_OK;

	for (uint64_t i = 0; err == ERR_OK && i < c->arguments->rounds; i++) {
		err = run_part(c, i % 2 == 0 ? FLOOR : CALL, i);
		if (err == ERR_OK)
			err = run_part(c, i % 2 == 0 ? CALL : FLOOR, i);
		if (err == ERR_OK)
			err = run_part(c, i % 2 == 0 ? PUBLISH : SEND, i);
		if (err == ERR_OK)
			err = run_part(c, i % 2 == 0 ? SEND : PUBLISH, i);
	}
	return err;
}

static void print_errors(const struct load *l, const char *op, uint64_t errors)
{
	if (errors != 0)
		(void)fprintf(stderr,
			"sallyport-compare: %" PRIu64
			" requests of %s did not get %d; the first: %s\n",
			errors, op, l->expected_status, l->first_error);
}

/* verdict: on the median, or "". */
static void print_ratio(const struct picture_style *style, const char *what,
	const struct figures *ours, const struct figures *floor, const char *verdict)
{
	const char *times = style->has_utf8 ? "×" : "x";

	(void)printf("%s: p50 %.2f %s the floor%s, p99 %.2f %s\n", what,
		figures_ratio(ours->p50_us, floor->p50_us), times, verdict,
		figures_ratio(ours->p99_us, floor->p99_us), times);
}

/* Says whether the promise is kept here; a missed one is no error, because machines differ. */
static void print_call_ratio(const struct picture_style *style, const struct figures *call,
	const struct figures *floor)
{
	char verdict[64];
	bool is_kept = figures_ratio(call->p50_us, floor->p50_us) <= RATIO_P50_LIMIT;

	(void)snprintf(verdict, sizeof verdict, " (at most %.1f: %s)", RATIO_P50_LIMIT,
		is_kept ? "yes" : "no");
	print_ratio(style, "call", call, floor, verdict);
}

static enum err write_json(const struct contest *c, const struct figures *f)
{
	struct buf json;

	buf_init(&json, JSON_MAX);
	buf_text(&json, "{");
	figures_json(&json, "call", &f[CALL]);
	buf_text(&json, ",");
	figures_json(&json, "floor", &f[FLOOR]);
	buf_text(&json, ",");
	figures_json(&json, "send", &f[SEND]);
	buf_text(&json, ",");
	figures_json(&json, "publish", &f[PUBLISH]);
	buf_format(&json,
		",\"ratio_p50\":%.3f,\"ratio_p50_limit\":%.1f,\"ratio_p99\":%.3f"
		",\"ratio_send_p50\":%.3f"
		",\"ratio_send_p99\":%.3f,\"calls\":%" PRIu64 ",\"sends\":%" PRIu64
		",\"errors\":%" PRIu64 ",\"rounds\":%" PRIu64
		",\"in_flight\":%u,\"pace_ms\":%" PRIu64 "}\n",
		figures_ratio(f[CALL].p50_us, f[FLOOR].p50_us), RATIO_P50_LIMIT,
		figures_ratio(f[CALL].p99_us, f[FLOOR].p99_us),
		figures_ratio(f[SEND].p50_us, f[PUBLISH].p50_us),
		figures_ratio(f[SEND].p99_us, f[PUBLISH].p99_us), f[CALL].count, f[SEND].count,
		f[CALL].errors + f[SEND].errors, c->arguments->rounds, c->arguments->in_flight,
		c->arguments->pace_ms);
	enum err err = figures_write(c->arguments->json, &json);

	buf_fini(&json);
	return err;
}

static enum err report(const struct contest *c)
{
	static const char *const titles[SUBJECTS] = { "floor: bare rabbitmq-c round trip",
		"call: web process to handler", "floor: bare publish + confirm",
		"send: until it is accepted" };
	struct picture_style style = picture_style_of(stdout);
	struct picture_side side[SUBJECTS];
	struct figures figures[SUBJECTS];
	bool has_sends = c->arguments->sends != 0;

	for (unsigned i = 0; i < SUBJECTS; i++) {
		figures[i] = rounds_figures(&c->rounds[i]);
		side[i] = (struct picture_side){
			.title = titles[i],
			.hist = &c->rounds[i].all,
			.figures = figures[i],
		};
	}
	picture_draw(stdout, &style, &side[FLOOR], &side[CALL]);
	(void)fputc('\n', stdout);
	picture_table(stdout, &style, side, has_sends ? SUBJECTS : CALL + 1);
	(void)fputc('\n', stdout);
	print_call_ratio(&style, &figures[CALL], &figures[FLOOR]);
	if (has_sends)
		print_ratio(&style, "send", &figures[SEND], &figures[PUBLISH], "");
	print_errors(&c->call, c->arguments->call_op, figures[CALL].errors);
	print_errors(&c->send, c->arguments->send_op, figures[SEND].errors);
	return c->arguments->json == NULL ? ERR_OK : write_json(c, figures);
}

int main(int argc, char **argv)
{
	struct arguments arguments;
	int status = EXIT_NO;

	(void)setlocale(LC_CTYPE, "");
	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	enum err err = parse(&arguments, argc, argv);

	if (err != ERR_OK)
		return err == ERR_CANCEL ? 0 : ARGUMENTS_EXIT_USAGE;
	struct contest *c = calloc(1, sizeof *c);

	if (c == NULL)
		return EXIT_NO;
	err = contest_open(c, &arguments);
	if (err == ERR_OK)
		err = run_rounds(c);
	if (err == ERR_OK)
		err = report(c);
	if (err != ERR_OK)
		(void)fprintf(stderr, "sallyport-compare: %s\n", err_text(err));
	else if (c->rounds[CALL].errors + c->rounds[SEND].errors == 0)
		status = 0;
	contest_close(c);
	free(c);
	return status;
}
