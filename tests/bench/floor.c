/* floor.c - sallyport-floor: the bare rabbitmq-c round trip, or persistent publish with
 * confirm, over the topology of a crossing.
 *
 * Layer: tests. Uses: base, floor_pair, figures, picture. */
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "figures.h"
#include "floor_pair.h"
#include "picture.h"

enum { EXIT_NO = 1, EXIT_USAGE = 2, MAX_BODY = 200 * 1024, JSON_MAX = 64 * 1024 };

enum mode { MODE_CALL = 0, MODE_PUBLISH };

struct arguments {
	struct floor_config floor;
	struct bench_plan plan;
	uint64_t rounds;
	enum mode mode;
	const char *json;
	char host[256];
};

static const char usage[] =
	"usage: sallyport-floor --broker HOST:PORT --ca FILE --web-cert FILE --web-key FILE\n"
	"                       --app-cert FILE --app-key FILE --vhost NAME [OPTION]...\n"
	"Measures two bare rabbitmq-c processes over a crossing that nobody else uses.\n"
	"  --mode call|publish  round trips, or persistent publishes with confirm (call)\n"
	"  --calls N            measured ones in each round (2000)\n"
	"  --warmup N           before each round, not measured (200)\n"
	"  --rounds N           the figures are the medians over them (1)\n"
	"  --in-flight N        under way at once; the window with --mode publish (1)\n"
	"  --pace-ms MS         from one start to the next, 0 = back to back (0)\n"
	"  --body BYTES         size of a body (256)\n"
	"  --links 1|2          connections of each process: for both ways, or one each way "
	"(1)\n"
	"  --json FILE          the figures as JSON too\n"
	"Exit status: 0 measured, 1 measuring failed, 2 called wrongly.\n";

static enum err parse_broker(struct arguments *a, const char *text)
{
	const char *colon = strrchr(text, ':');
	uint64_t port = 0;

	if (colon == NULL || (size_t)(colon - text) >= sizeof a->host) {
		(void)fprintf(stderr, "--broker: \"%s\" is no HOST:PORT\n", text);
		return ERR_INPUT;
	}
	memcpy(a->host, text, (size_t)(colon - text));
	a->host[colon - text] = '\0';
	a->floor.broker.host = a->host;
	enum err err = bench_number("--broker", colon + 1, 1, UINT16_MAX, &port);

	a->floor.broker.port = (uint16_t)port;
	return err;
}

static enum err parse_mode(struct arguments *a, const char *text)
{
	if (strcmp(text, "call") == 0)
		a->mode = MODE_CALL;
	else if (strcmp(text, "publish") == 0)
		a->mode = MODE_PUBLISH;
	else
		return ERR_INPUT;
	return ERR_OK;
}

static enum err parse_option(struct arguments *a, int option, const char *text)
{
	enum err err = ERR_OK;
	uint64_t number = 0;

	switch (option) {
	case 'b':
		return parse_broker(a, text);
	case 'a':
		a->floor.broker.ca = text;
		return ERR_OK;
	case 'v':
		a->floor.broker.vhost = text;
		return ERR_OK;
	case 'W':
		a->floor.web.certificate = text;
		return ERR_OK;
	case 'w':
		a->floor.web.key = text;
		return ERR_OK;
	case 'P':
		a->floor.app.certificate = text;
		return ERR_OK;
	case 'p':
		a->floor.app.key = text;
		return ERR_OK;
	case 'j':
		a->json = text;
		return ERR_OK;
	case 'm':
		return parse_mode(a, text);
	case 'n':
		return bench_number("--calls", text, 1, 100000000, &a->plan.calls);
	case 'u':
		return bench_number("--warmup", text, 0, 100000000, &a->plan.warmup);
	case 'r':
		return bench_number("--rounds", text, 1, FIGURES_MAX_ROUNDS, &a->rounds);
	case 'e':
		return bench_number("--pace-ms", text, 0, 60000, &a->plan.pace_ms);
	case 'f':
		err = bench_number("--in-flight", text, 1, BENCH_MAX_IN_FLIGHT, &number);
		a->plan.in_flight = (unsigned)number;
		return err;
	case 's':
		err = bench_number("--body", text, 0, MAX_BODY, &number);
		a->floor.body_bytes = (size_t)number;
		return err;
	case 'l':
		err = bench_number("--links", text, 1, 2, &number);
		a->floor.links = number == 1 ? FLOOR_ONE_LINK : FLOOR_TWO_LINKS;
		return err;
	default:
		return ERR_INPUT;
	}
}

static enum err parse(struct arguments *a, int argc, char **argv)
{
	static const struct option options[] = {
		{ "broker", required_argument, NULL, 'b' },
		{ "ca", required_argument, NULL, 'a' },
		{ "vhost", required_argument, NULL, 'v' },
		{ "web-cert", required_argument, NULL, 'W' },
		{ "web-key", required_argument, NULL, 'w' },
		{ "app-cert", required_argument, NULL, 'P' },
		{ "app-key", required_argument, NULL, 'p' },
		{ "mode", required_argument, NULL, 'm' },
		{ "calls", required_argument, NULL, 'n' },
		{ "warmup", required_argument, NULL, 'u' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "in-flight", required_argument, NULL, 'f' },
		{ "pace-ms", required_argument, NULL, 'e' },
		{ "body", required_argument, NULL, 's' },
		{ "links", required_argument, NULL, 'l' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	*a = (struct arguments){
		.floor = { .body_bytes = 256, .links = FLOOR_ONE_LINK },
		.plan = { .calls = 2000, .warmup = 200, .in_flight = 1 },
		.rounds = 1,
	};
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h')
			return ERR_CANCEL;
		if (parse_option(a, option, optarg) != ERR_OK)
			return ERR_INPUT;
	}
	const void *needed[] = {
		a->floor.broker.host,
		a->floor.broker.ca,
		a->floor.broker.vhost,
		a->floor.web.certificate,
		a->floor.web.key,
		a->floor.app.certificate,
		a->floor.app.key,
	};

	for (size_t i = 0; i < ARRAY_COUNT(needed); i++) {
		if (needed[i] == NULL)
			return ERR_INPUT;
	}
	return optind == argc ? ERR_OK : ERR_INPUT;
}

static enum err measure(const struct arguments *a, struct rounds *out)
{
	struct floor_pair pair;
	enum err err = floor_pair_open(&pair, &a->floor);

	for (uint64_t i = 0; err == ERR_OK && i < a->rounds; i++) {
		struct bench_result *result = malloc(sizeof *result);

		if (result == NULL) {
			err = ERR_NOMEM;
			break;
		}
		err = a->mode == MODE_CALL ? floor_pair_calls(&pair, &a->plan, result)
					   : floor_pair_publishes(&pair, &a->plan, result);
		if (err == ERR_OK)
			rounds_add(out, result);
		free(result);
	}
	floor_pair_close(&pair);
	return err;
}

static enum err report(const struct arguments *a, const struct rounds *rounds)
{
	struct picture_style style = picture_style_of(stdout);
	struct picture_side side = {
		.title = a->mode == MODE_CALL ? "bare rabbitmq-c round trip"
					      : "bare persistent publish",
		.hist = &rounds->all,
		.figures = rounds_figures(rounds),
	};
	struct buf json;

	picture_table(stdout, &style, &side, 1);
	if (a->json == NULL)
		return ERR_OK;
	buf_init(&json, JSON_MAX);
	buf_text(&json, "{");
	figures_json(&json, a->mode == MODE_CALL ? "floor" : "publish", &side.figures);
	buf_format(&json, ",\"calls\":%" PRIu64 ",\"rounds\":%" PRIu64 ",\"in_flight\":%u}\n",
		side.figures.count, a->rounds, a->plan.in_flight);
	enum err err = figures_write(a->json, &json);

	buf_fini(&json);
	return err;
}

int main(int argc, char **argv)
{
	struct arguments arguments;
	struct rounds *rounds;

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
	rounds = calloc(1, sizeof *rounds);
	enum err err = rounds == NULL ? ERR_NOMEM : measure(&arguments, rounds);

	if (err == ERR_OK)
		err = report(&arguments, rounds);
	free(rounds);
	if (err == ERR_OK)
		return 0;
	(void)fprintf(stderr, "sallyport-floor: %s\n", err_text(err));
	return EXIT_NO;
}
