/* main.c - sallyport-probe: tries everything at a border that is forbidden, with real
 * credentials. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/standard.h"
#include "daemon/command.h"
#include "run.h"

enum {
	EXIT_DONE = 0,
	EXIT_NO = 1, /* an act succeeded, or something is not proven */
	EXIT_USAGE = 2,
	EXIT_SYSTEM = 111, /* the broker cannot be reached */
	OUT_MAX_BYTES = 16 * 1024 * 1024,
};

static const struct command commands[] = {
	{ "run", NULL, 0, 0, "try all acts, print what was expected and what was seen" },
	{ "list", NULL, 0, 0, "print the acts of the plan, try none" },
	{ "example", NULL, 0, 0, "print a plan with every key and its default" },
};

static const struct command_flag flags[] = {
	{ "--plan", "FILE", " run list ", "what to try: broker, certificates, limits" },
	{ "--act", "PATTERN", " run list ", "only the acts whose names fit, as in file names" },
	{ "--json", NULL, " run ", "print JSON" },
};

static const struct command_set set = {
	.program = "sallyport-probe",
	.sentence = "tries everything at a border that is forbidden, with real credentials",
	.commands = commands,
	.command_count = ARRAY_COUNT(commands),
	.flags = flags,
	.flag_count = ARRAY_COUNT(flags),
};

static int print(struct buf *text, int code)
{
	bool is_whole = buf_status(text) == ERR_OK &&
			fwrite(text->at, 1, text->len, stdout) == text->len &&
			fflush(stdout) == 0;

	buf_fini(text);
	if (is_whole)
		return code;
	fprintf(stderr, "sallyport-probe: cannot print it all\n");
	return EXIT_SYSTEM;
}

static int run(struct probe *probe, const struct command_line *line)
{
	struct outcome why = { 0 };
	struct buf out;
	enum err err = probe_run(probe, &why);

	if (err != ERR_OK) {
		fprintf(stderr, "sallyport-probe: %s does not answer, nothing is proven: %s\n",
			probe->plan->broker, why.text);
		return EXIT_SYSTEM;
	}
	const struct tally tally = probe_tally(probe);

	buf_init(&out, OUT_MAX_BYTES);
	if (command_has(line, "--json"))
		probe_print_json(probe, &out);
	else
		probe_print(probe, &out);
	return print(&out, tally.succeeded > 0 || tally.unproven > 0 ? EXIT_NO : EXIT_DONE);
}

static int list(const struct probe *probe)
{
	struct buf out;

	buf_init(&out, OUT_MAX_BYTES);
	for (size_t i = 0; i < probe->count; i++) {
		const struct trial *t = &probe->trials[i];
		char expected[32];

		act_expected(t->act, expected, sizeof(expected));
		buf_format(
			&out, "%-11s  %-13s  %s\n", role_name(t->act->as), expected, t->name);
	}
	return print(&out, EXIT_DONE);
}

static int with_plan(const struct command_line *line)
{
	static struct plan plan;
	static struct report report;
	static struct probe probe;
	const char *path = command_value(line, "--plan");
	int code = EXIT_SYSTEM;

	if (path == NULL) {
		fprintf(stderr, "sallyport-probe: %s needs --plan FILE\n", line->command->name);
		return EXIT_USAGE;
	}
	report_init(&report);
	enum err err = plan_open(path, &report, &plan);

	if (err == ERR_INPUT) {
		struct buf text;

		buf_init(&text, OUT_MAX_BYTES);
		report_format(&report, &text);
		fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&text)));
		buf_fini(&text);
		report_fini(&report);
		return EXIT_USAGE;
	}
	report_fini(&report);
	if (err == ERR_OK)
		err = probe_init(&probe, &plan, command_value(line, "--act"));
	if (err == ERR_NOT_FOUND) {
		fprintf(stderr, "sallyport-probe: no act fits the pattern (see list)\n");
		code = EXIT_USAGE;
	} else if (err != ERR_OK) {
		fprintf(stderr, "sallyport-probe: %s\n", err_text(err));
	} else {
		code = strcmp(line->command->name, "list") == 0 ? list(&probe)
								: run(&probe, line);
	}
	probe_fini(&probe);
	plan_close(&plan);
	return code;
}

int main(int argc, char **argv)
{
	static struct command_line line;
	struct buf text;

	if (standard_open() != ERR_OK)
		return EXIT_SYSTEM;
	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	buf_init(&text, OUT_MAX_BYTES);
	if (command_parse(&set, argc, argv, &line, &text) != ERR_OK) {
		fprintf(stderr, "sallyport-probe: %.*s\n", SPAN_ARG(buf_span(&text)));
		buf_fini(&text);
		return EXIT_USAGE;
	}
	if (line.wish == COMMAND_HELP) {
		command_usage(&set, &text);
		return print(&text, EXIT_DONE);
	}
	if (line.wish == COMMAND_VERSION) {
		buf_text(&text, "sallyport-probe " SALLYPORT_VERSION "\n");
		return print(&text, EXIT_DONE);
	}
	if (strcmp(line.command->name, "example") == 0) {
		plan_example(&text);
		return print(&text, EXIT_DONE);
	}
	buf_fini(&text);
	return with_plan(&line);
}
