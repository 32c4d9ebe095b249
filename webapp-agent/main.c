/* main.c - webapp-agent: the command line. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "daemon/ask.h"
#include "daemon/program.h"
#include "webapp-agent/agent.h"

enum {
	CALL_TIMEOUT_MS = 65000, /* above any deadline of a contract */
	OPERATION_MAX_BYTES = 64,
	PARAMS_MAX_KIB = 256, /* the agent takes less, and says how much */
};

static bool read_deadline(const struct command_line *line, uint64_t *out_ms)
{
	struct buf wrong;

	buf_init(&wrong, KIB(4));
	bool fine = command_number(line, "--deadline-ms", out_ms, &wrong) == ERR_OK;

	if (!fine)
		fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&wrong)));
	buf_fini(&wrong);
	return fine;
}

static bool is_operation(struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyz0123456789_.", name.at[i]) == NULL)
			return false;
	return name.len > 0 && name.len <= OPERATION_MAX_BYTES;
}

/* "-" is what comes on standard input. */
static enum err read_params(const struct command_line *line, struct buf *out)
{
	const char *given = line->operand_count > 1 ? line->operands[1] : "{}";
	char piece[4096];
	size_t len;

	buf_init(out, KIB(PARAMS_MAX_KIB));
	if (strcmp(given, "-") != 0)
		buf_text(out, given);
	else
		while (buf_status(out) == ERR_OK &&
			(len = fread(piece, 1, sizeof(piece), stdin)) > 0)
			buf_append(out, (struct span){ .at = piece, .len = len });
	return buf_status(out);
}

/* POST /v1/<verb>/<operation> with what the flags say. */
static int ask_operation(const struct command_line *line, const char *socket, const char *verb)
{
	struct http_header headers[2];
	size_t count = 0;
	char path[256];
	char deadline[24];
	uint64_t deadline_ms;
	const char *key = command_value(line, "--key");

	if (!is_operation(span_of(line->operands[0]))) {
		fprintf(stderr,
			"webapp-agent %s: \"%s\" is no operation's name: 1 to 64 of a-z, 0-9, "
			"\"_\" and \".\"\n",
			verb, text_show(span_of(line->operands[0])).at);
		return EXIT_CALLED_WRONGLY;
	}
	snprintf(path, sizeof(path), "/v1/%s/%s", verb, line->operands[0]);
	if (!read_deadline(line, &deadline_ms))
		return EXIT_CALLED_WRONGLY;
	snprintf(deadline, sizeof(deadline), "%llu", (unsigned long long)deadline_ms);
	if (deadline_ms > 0)
		headers[count++] = (struct http_header){ "Deadline-Ms", deadline };
	if (key != NULL)
		headers[count++] = (struct http_header){ "Idempotency-Key", key };
	struct buf params;

	if (read_params(line, &params) != ERR_OK) {
		fprintf(stderr, "webapp-agent %s: the parameters have at most %d KiB\n", verb,
			PARAMS_MAX_KIB);
		buf_fini(&params);
		return EXIT_CALLED_WRONGLY;
	}
	struct ask ask = {
		.socket = socket,
		.method = HTTP_POST,
		.path = path,
		.body = buf_span(&params),
		.headers = headers,
		.header_count = count,
		.timeout_ms = CALL_TIMEOUT_MS,
	};

	int code = program_ask(&ask);

	buf_fini(&params);
	return code;
}

static int ask_call(const struct command_line *line, const char *socket)
{
	return ask_operation(line, socket, "call");
}

static int ask_send(const struct command_line *line, const char *socket)
{
	return ask_operation(line, socket, "send");
}

int main(int argc, char **argv)
{
	/* clang-format off */
	static const struct command commands[] = {
		PROGRAM_COMMANDS,
		{ "call", "OPERATION [PARAMS]", 1, 2, "call an operation, print its result; PARAMS -: from stdin" },
		{ "send", "OPERATION [PARAMS]", 1, 2, "send a message, print its id; likewise" },
	};
	static const struct command_flag flags[] = {
		PROGRAM_FLAGS,
		{ "--deadline-ms", "N", " call ", "give up after so many milliseconds" },
		{ "--key", "KEY", " call send ", "Idempotency-Key" },
	};
	/* clang-format on */
	static const struct program_command own[] = {
		{ .name = "call", .ask = ask_call },
		{ .name = "send", .ask = ask_send },
	};
	static const struct command_set set = {
		.program = "webapp-agent",
		.sentence = "the web host's side of a Sallyport crossing",
		.commands = commands,
		.command_count = ARRAY_COUNT(commands),
		.flags = flags,
		.flag_count = ARRAY_COUNT(flags),
	};
	static const struct setup_kind kind = {
		.options = &agent_options,
		.config_bytes = sizeof(struct agent_config),
		.site_at = offsetof(struct agent_config, site),
		.name_at = offsetof(struct agent_config, host),
		.realm = "web",
		.open_more = agent_open_more,
	};
	const struct program program = {
		.name = set.program,
		.kind = &kind,
		.run = agent_run,
		.commands = own,
		.command_count = ARRAY_COUNT(own),
		.set = &set,
	};

	return program_main(&program, argc, argv);
}
