/* floor.c - sallyport-floor: the bare rabbitmq-c round trip, or persistent publish with
 * confirm, over the topology of a crossing.
 *
 * Layer: tests. Uses: base, arguments, floor_pair, figures, picture. */
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "figures.h"
#include "floor_pair.h"
#include "picture.h"

enum { EXIT_NO = 1, MAX_BODY = 200 * 1024, JSON_MAX = 64 * 1024 };

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

static enum err split_broker(struct arguments *a, const char *text)
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
	enum err err = arguments_number("--broker", colon + 1, 1, UINT16_MAX, &port);

	a->floor.broker.port = (uint16_t)port;
	return err;
}

static enum err parse(struct arguments *a, int argc, char **argv)
{
	static const char *const modes[] = { "call", "publish", NULL };
	const char *broker = NULL;
	uint64_t mode = MODE_CALL;
	uint64_t in_flight = 1;
	uint64_t body_bytes = 256;
	uint64_t links = 1;
	const struct argument table[] = {
		ARGUMENT_NEEDED("broker", &broker),
		ARGUMENT_NEEDED("ca", &a->floor.broker.ca),
		ARGUMENT_NEEDED("vhost", &a->floor.broker.vhost),
		ARGUMENT_NEEDED("web-cert", &a->floor.web.certificate),
		ARGUMENT_NEEDED("web-key", &a->floor.web.key),
		ARGUMENT_NEEDED("app-cert", &a->floor.app.certificate),
		ARGUMENT_NEEDED("app-key", &a->floor.app.key),
		ARGUMENT_WORD("mode", &mode, modes),
		ARGUMENT_NUMBER("calls", &a->plan.calls, 1, 100000000),
		ARGUMENT_NUMBER("warmup", &a->plan.warmup, 0, 100000000),
		ARGUMENT_NUMBER("rounds", &a->rounds, 1, FIGURES_MAX_ROUNDS),
		ARGUMENT_NUMBER("in-flight", &in_flight, 1, BENCH_MAX_IN_FLIGHT),
		ARGUMENT_NUMBER("pace-ms", &a->plan.pace_ms, 0, 60000),
		ARGUMENT_NUMBER("body", &body_bytes, 0, MAX_BODY),
		ARGUMENT_NUMBER("links", &links, 1, 2),
		ARGUMENT_TEXT("json", &a->json),
	};

	*a = (struct arguments){ .plan = { .calls = 2000, .warmup = 200 }, .rounds = 1 };
	enum err err = arguments_parse(table, ARRAY_COUNT(table), usage, argc, argv);

	a->mode = (enum mode)mode;
	a->plan.in_flight = (unsigned)in_flight;
	a->floor.body_bytes = (size_t)body_bytes;
	a->floor.links = links == 1 ? FLOOR_ONE_LINK : FLOOR_TWO_LINKS;
	return err == ERR_OK ? split_broker(a, broker) : err;
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

	(void)setlocale(LC_CTYPE, "");
	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	enum err err = parse(&arguments, argc, argv);

	if (err != ERR_OK)
		return err == ERR_CANCEL ? 0 : ARGUMENTS_EXIT_USAGE;
	struct rounds *rounds = calloc(1, sizeof *rounds);
	err = rounds == NULL ? ERR_NOMEM : measure(&arguments, rounds);
	if (err == ERR_OK)
		err = report(&arguments, rounds);
	free(rounds);
	if (err == ERR_OK)
		return 0;
	(void)fprintf(stderr, "sallyport-floor: %s\n", err_text(err));
	return EXIT_NO;
}
