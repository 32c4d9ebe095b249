/* proxy - a bad network as a program: a port that passes on to another, and spoils it on
 * command, by a plan, or by a plan made from a seed. What it does is one JSON line each. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "network.h"
#include "plan.h"

enum {
	EXIT_USAGE = 2,
	COMMAND_ROOM = 256,
	MAX_CLIENTS = 16,
};

static const char usage[] =
	"usage: fault_proxy --target HOST:PORT [--listen PORT] [--control SOCKET] [--part "
	"NAME]\n"
	"                   [--plan FILE | --seed N --for TIME [--every TIME] [--print]]\n"
	"\n"
	"A bad network between whoever connects to 127.0.0.1:PORT and the target, an IPv4 "
	"address.\n"
	"Prints \"ready port=N\", then a line {\"at\":…,\"kind\":…,\"part\":…,\"order\":…} for "
	"each thing\n"
	"that it does; {…,\"kind\":\"fired\"} when byte N of an order has come. SIGTERM ends "
	"it.\n"
	"\n"
	"  --listen PORT     0, the default: any free one\n"
	"  --control SOCKET  a Unix socket that takes orders, one a line, and answers each "
	"with one:\n"
	"                    \"ok\", \"no …\", or numbers to the order \"status\"\n"
	"  --part NAME       how the lines call this path (default network)\n"
	"  --plan FILE       orders by time since the start: lines like \"1500ms cut up 100\"\n"
	"  --seed N          a plan made from this number instead, with a fault --every TIME "
	"(2s)\n"
	"                    and --for TIME; --print only prints it, as a file for --plan\n"
	"\n"
	"Orders; DIR is up (to the target), down or both; N counts bytes from now on:\n"
	"  pass [DIR]  delay DIR 20ms  trickle DIR 100/s  swallow [DIR]  flip DIR N\n"
	"  cut [DIR N]  reset [DIR N]  half-close DIR [N]  refuse  deny  admit  heal\n"
	"\n"
	"exit 0 asked to stop or printed, 1 it does not work, 2 called wrongly\n";

struct client {
	uv_pipe_t pipe;
	bool is_used;
	char line[COMMAND_ROOM];
	size_t len;
};

static struct {
	uv_loop_t loop;
	struct network network;
	struct plan plan;
	size_t step;
	uint64_t start_ms;
	uint64_t fired_told;
	const char *part;
	uv_timer_t planner;
	uv_pipe_t control;
	bool has_control;
	bool has_pending; /* somebody knocks and there is no room */
	uv_signal_t signals[2];
	struct client clients[MAX_CLIENTS];
} self;

/* ---- what it says ---- */

static void tell(const char *kind, const char *order)
{
	uint64_t us = clock_unix_us();

	printf("{\"at\":%" PRIu64 ".%06" PRIu64 ",\"kind\":\"%s\",\"part\":\"%s\",\"order\":"
	       "\"%s\"}\n",
		us / 1000000, us % 1000000, kind, self.part, order);
	(void)fflush(stdout);
}

static void carry_out(const struct order *order)
{
	tell(order_kind_text(order->kind), order_format(order).at);
	network_do(&self.network, order);
}

static void on_change(struct network *n)
{
	for (; self.fired_told < n->fired_count; self.fired_told++)
		tell("fired", "");
}

/* ---- the plan ---- */

static void on_planned(uv_timer_t *timer)
{
	uint64_t now_ms = uv_now(&self.loop) - self.start_ms;

	while (self.step < self.plan.count && self.plan.steps[self.step].at_ms <= now_ms)
		carry_out(&self.plan.steps[self.step++].order);
	if (self.step < self.plan.count)
		(void)uv_timer_start(
			timer, on_planned, self.plan.steps[self.step].at_ms - now_ms, 0);
	else if (self.plan.count > 0)
		tell("planned", "that was all");
}

/* ---- the control socket ---- */

static void on_answered(uv_write_t *write, int status)
{
	(void)status;
	free(write);
}

/* The text travels with the request. */
static void answer(struct client *c, const char *text)
{
	size_t len = strlen(text);
	uv_write_t *write = malloc(sizeof *write + len);

	if (write == NULL)
		return;
	memcpy(write + 1, text, len);
	uv_buf_t bytes = uv_buf_init((char *)(write + 1), (unsigned)len);

	if (uv_write(write, (uv_stream_t *)&c->pipe, &bytes, 1, on_answered) != 0)
		free(write);
}

static void on_command(struct client *c, struct span line)
{
	const struct network *n = &self.network;
	struct order order;
	char text[200];

	if (span_is(line, "status")) {
		snprintf(text, sizeof text,
			"{\"accepted\":%" PRIu64 ",\"open\":%u,\"fired\":%" PRIu64
			",\"up_bytes\":%" PRIu64 ",\"down_bytes\":%" PRIu64 "}\n",
			n->accepted_count, n->open_count, n->fired_count, n->passed_bytes[0],
			n->passed_bytes[1]);
		answer(c, text);
	} else if (order_parse(line, &order) == ERR_OK) {
		carry_out(&order);
		answer(c, "ok\n");
	} else {
		answer(c, "no such order\n");
	}
}

static void on_control(uv_stream_t *control, int status);

static void on_client_closed(uv_handle_t *handle)
{
	struct client *c = handle->data;

	c->is_used = false;
	if (self.has_pending && !uv_is_closing((uv_handle_t *)&self.control))
		on_control((uv_stream_t *)&self.control, 0);
}

static void end_client(struct client *c)
{
	if (!uv_is_closing((uv_handle_t *)&c->pipe))
		uv_close((uv_handle_t *)&c->pipe, on_client_closed);
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
	struct client *c = handle->data;

	(void)wanted;
	*out = uv_buf_init(c->line + c->len, (unsigned)(sizeof c->line - c->len));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *bytes)
{
	struct client *c = stream->data;

	(void)bytes;
	if (count < 0) {
		end_client(c);
		return;
	}
	c->len += (size_t)count;
	char *end;

	while ((end = memchr(c->line, '\n', c->len)) != NULL) {
		struct span line = { c->line, (size_t)(end - c->line) };

		on_command(c, text_trim(line));
		c->len -= line.len + 1;
		memmove(c->line, end + 1, c->len);
	}
	if (c->len == sizeof c->line)
		end_client(c);
}

static void on_control(uv_stream_t *control, int status)
{
	struct client *c = self.clients;

	while (c < self.clients + MAX_CLIENTS - 1 && c->is_used)
		c++;
	self.has_pending = status == 0 && c->is_used; /* waits until another one goes */
	if (status < 0 || c->is_used)
		return;
	*c = (struct client){ .is_used = true };
	c->pipe.data = c;
	(void)uv_pipe_init(&self.loop, &c->pipe, 0);
	if (uv_accept(control, (uv_stream_t *)&c->pipe) != 0 ||
		uv_read_start((uv_stream_t *)&c->pipe, on_room, on_read) != 0)
		end_client(c);
}

static int open_control(const char *path)
{
	(void)remove(path); /* of one that was killed */
	int rc = uv_pipe_init(&self.loop, &self.control, 0);

	if (rc == 0)
		self.has_control = true;
	if (rc == 0)
		rc = uv_pipe_bind(&self.control, path);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&self.control, MAX_CLIENTS, on_control);
	return rc;
}

/* ---- start and stop ---- */

static void on_stopped(struct network *n)
{
	(void)n;
	for (unsigned i = 0; i < MAX_CLIENTS; i++) {
		if (self.clients[i].is_used)
			end_client(&self.clients[i]);
	}
	if (self.has_control)
		uv_close((uv_handle_t *)&self.control, NULL);
	uv_close((uv_handle_t *)&self.planner, NULL);
	uv_close((uv_handle_t *)&self.signals[0], NULL);
	uv_close((uv_handle_t *)&self.signals[1], NULL);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	(void)signum;
	(void)uv_signal_stop(handle);
	if (!self.network.is_stopping)
		network_stop(&self.network, on_stopped);
}

static bool parse_target(const char *text, struct sockaddr_in *out)
{
	struct span port_text = span_of(text);
	struct span host = text_cut(&port_text, ':');
	char name[INET_ADDRSTRLEN] = { 0 };
	uint64_t port;

	if (host.len >= sizeof name || text_parse_u64(port_text, &port) != ERR_OK ||
		port == 0 || port > UINT16_MAX)
		return false;
	memcpy(name, host.at, host.len);
	*out = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	return inet_pton(AF_INET, name, &out->sin_addr) == 1;
}

static int wrong(const char *what, const char *text)
{
	fprintf(stderr, "fault_proxy: %s%s%s\n", what, text == NULL ? "" : ": ",
		text == NULL ? "" : text);
	return EXIT_USAGE;
}

static int read_plan(const char *path)
{
	struct buf file;
	size_t line = 0;

	buf_init(&file, PLAN_MAX_BYTES);
	enum err err = file_read(path, &file);

	if (err == ERR_OK)
		err = plan_parse(buf_span(&file), &self.plan, &line);
	buf_fini(&file);
	if (err == ERR_OK)
		return EXIT_SUCCESS;
	fprintf(stderr, "fault_proxy: %s:%zu: %s\n", path, line, err_text(err));
	return EXIT_USAGE;
}

static int print_plan(void)
{
	struct buf text;

	buf_init(&text, PLAN_MAX_BYTES);
	plan_format(&self.plan, &text);
	fwrite(text.at, 1, text.len, stdout);
	buf_fini(&text);
	plan_free(&self.plan);
	return EXIT_SUCCESS;
}

static int serve(uint64_t port, const struct sockaddr_in *target, const char *control)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };

	(void)sigaction(SIGPIPE, &ignore, NULL);
	(void)uv_loop_init(&self.loop);
	if (network_start(&self.network, &self.loop, (uint16_t)port, target) != ERR_OK) {
		fprintf(stderr, "fault_proxy: port %u: %s\n", (unsigned)port, strerror(errno));
		return EXIT_FAILURE;
	}
	int rc = control == NULL ? 0 : open_control(control);

	if (rc != 0) {
		fprintf(stderr, "fault_proxy: %s: %s\n", control, uv_strerror(rc));
		return EXIT_FAILURE;
	}
	self.network.on_change = on_change;
	(void)uv_signal_init(&self.loop, &self.signals[0]);
	(void)uv_signal_init(&self.loop, &self.signals[1]);
	(void)uv_signal_start(&self.signals[0], on_signal, SIGTERM);
	(void)uv_signal_start(&self.signals[1], on_signal, SIGINT);
	(void)uv_timer_init(&self.loop, &self.planner);
	printf("ready port=%u\n", self.network.port);
	(void)fflush(stdout);
	uv_update_time(&self.loop);
	self.start_ms = uv_now(&self.loop);
	on_planned(&self.planner);
	(void)uv_run(&self.loop, UV_RUN_DEFAULT);
	plan_free(&self.plan);
	return uv_loop_close(&self.loop) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	enum { TARGET = 1, LISTEN, CONTROL, PART, PLAN, SEED, FOR, EVERY, PRINT };
	static const struct option options[] = {
		{ "target", required_argument, NULL, TARGET },
		{ "listen", required_argument, NULL, LISTEN },
		{ "control", required_argument, NULL, CONTROL },
		{ "part", required_argument, NULL, PART },
		{ "plan", required_argument, NULL, PLAN },
		{ "seed", required_argument, NULL, SEED },
		{ "for", required_argument, NULL, FOR },
		{ "every", required_argument, NULL, EVERY },
		{ "print", no_argument, NULL, PRINT },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct sockaddr_in target = { 0 };
	const char *control = NULL;
	const char *plan = NULL;
	uint64_t port = 0;
	uint64_t seed = 0;
	uint64_t for_ms = 0;
	uint64_t every_ms = 2000;
	bool has_seed = false;
	bool is_printing = false;
	int which;

	self.part = "network";
	while ((which = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		bool is_right = true;
		struct span text = span_of(optarg);

		switch (which) {
		case TARGET:
			is_right = parse_target(optarg, &target);
			break;
		case LISTEN:
			is_right = text_parse_u64(text, &port) == ERR_OK && port <= UINT16_MAX;
			break;
		case CONTROL:
			control = optarg;
			break;
		case PART:
			self.part = optarg;
			is_right = text_is_name(text, 64);
			break;
		case PLAN:
			plan = optarg;
			break;
		case SEED:
			has_seed = true;
			is_right = text_parse_u64(text, &seed) == ERR_OK;
			break;
		case FOR:
			is_right = text_parse_duration_ms(text, &for_ms) == ERR_OK;
			break;
		case EVERY:
			is_right = text_parse_duration_ms(text, &every_ms) == ERR_OK;
			break;
		case PRINT:
			is_printing = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
		if (!is_right)
			return wrong("that makes no sense", optarg);
	}
	if (optind < argc)
		return wrong("what is this", argv[optind]);
	if (plan != NULL && has_seed)
		return wrong("either a plan or a seed", NULL);
	if (plan != NULL && read_plan(plan) != EXIT_SUCCESS)
		return EXIT_USAGE;
	if (has_seed &&
		(for_ms == 0 || plan_make(seed, for_ms, every_ms, &self.plan) != ERR_OK))
		return wrong("a seed wants --for TIME, and not more than 10000 steps", NULL);
	if (is_printing)
		return print_plan();
	if (target.sin_port == 0)
		return wrong("--target HOST:PORT is missing", NULL);
	return serve(port, &target, control);
}
