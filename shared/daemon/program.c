#include "daemon/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/standard.h"
#include "daemon/ask.h"

enum { ASK_TIMEOUT_MS = 10000, DESCRIPTORS_MIN = 32 };

static void print(FILE *to, struct buf *text)
{
	if (text->len > 0)
		fwrite(text->at, 1, text->len, to);
	fflush(to);
	buf_fini(text);
}

/* What was asked for, to standard output. Who asked must not take a half for the whole. */
static int tell(struct buf *text, int code)
{
	bool is_whole = buf_status(text) == ERR_OK &&
			fwrite(text->at, 1, text->len, stdout) == text->len &&
			fflush(stdout) == 0;

	if (!is_whole)
		fprintf(stderr, "standard output: cannot be written: %s\n",
			strerrordesc_np(errno));
	buf_fini(text);
	return is_whole ? code : EXIT_SYSTEM_FAILED;
}

static bool is_command(const struct command_line *line, const char *name)
{
	return strcmp(line->command->name, name) == 0;
}

static int called_wrongly(struct buf *wrong)
{
	buf_byte(wrong, '\n');
	print(stderr, wrong);
	return EXIT_CALLED_WRONGLY;
}

/* Reads the config and opens all it names; prints every mistake. */
static enum err load(const struct program *p, const char *file, struct setup *setup)
{
	struct report report;
	struct buf text;

	report_init(&report);
	enum err err = setup_open(p->kind, file, &report, setup);

	buf_init(&text, MIB(1));
	report_format(&report, &text);
	print(stderr, &text);
	report_fini(&report);
	return err;
}

/* What `check` lets pass, but not without a word. */
static void print_hints(const struct setup *setup)
{
	struct report hints;
	struct buf text;

	report_init(&hints);
	site_hint(&setup->site, setup_site_config(setup), setup->file, &hints);
	buf_init(&text, MIB(1));
	report_format(&hints, &text);
	print(stderr, &text);
	report_fini(&hints);
}

static int exit_code(enum err err)
{
	if (err == ERR_OK)
		return EXIT_FINE;
	return err == ERR_INPUT ? EXIT_CALLED_WRONGLY : EXIT_SYSTEM_FAILED;
}

/* Fewer are not enough to begin with, and libuv aborts when it has none for itself. */
static enum err check_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= DESCRIPTORS_MIN)
		return ERR_OK;
	log_error("event=failed err=\"too few file descriptors: ulimit -n is %llu, at least %d "
		  "are "
		  "needed\"",
		(unsigned long long)limit.rlim_cur, DESCRIPTORS_MIN);
	return ERR_FULL;
}

static enum err run(const struct program *p, struct setup *setup, int ready_fd)
{
	log_open(p->name, setup->site.log_level);
	enum err err = check_descriptors();

	if (err != ERR_OK)
		return err;
	log_settle();
	err = p->run(setup, ready_fd);
	/* Most have said more before; who had no word for it is known by this line at least. */
	if (err != ERR_OK)
		log_error("event=failed err=\"%s\"", err_text(err));
	/* The config was fine: whatever it was, another try may go better. */
	return err == ERR_INPUT ? ERR_IO : err;
}

static int run_or_check(const struct program *p, const struct command_line *line)
{
	const char *file = command_value(line, "--config");
	struct setup setup = { 0 };
	struct buf text;
	int ready_fd;

	buf_init(&text, KIB(4));
	if (file == NULL) {
		buf_format(
			&text, "%s %s: --config FILE is missing", p->name, line->command->name);
		return called_wrongly(&text);
	}
	if (command_fd(line, "--ready-fd", &ready_fd, &text) != ERR_OK)
		return called_wrongly(&text);
	enum err err = load(p, file, &setup);
	int code;

	if (err == ERR_OK && is_command(line, "run")) {
		code = exit_code(run(p, &setup, ready_fd));
	} else if (err == ERR_OK) {
		print_hints(&setup);
		buf_format(&text, "%s: fine\n", file);
		code = tell(&text, EXIT_FINE);
	} else {
		code = exit_code(err);
	}
	setup_close(&setup);
	buf_fini(&text);
	return code;
}

int program_ask(const struct ask *ask)
{
	struct buf answer;
	unsigned status = 0;

	buf_init(&answer, MIB(16));
	enum err err = ask_daemon(ask, &answer, &status);
	bool fine = err == ERR_OK && status >= 200 && status <= 299;

	if (answer.len > 0 && answer.at[answer.len - 1] != '\n')
		buf_byte(&answer, '\n');
	if (fine)
		return tell(&answer, EXIT_FINE);
	print(stderr, &answer);
	return err == ERR_INPUT ? EXIT_CALLED_WRONGLY : EXIT_NO;
}

static int ask_status(const struct command_line *line, const char *socket)
{
	struct ask ask = {
		.socket = socket,
		.method = HTTP_GET,
		.path = "/v1/status",
		.timeout_ms = ASK_TIMEOUT_MS,
	};

	(void)line;
	return program_ask(&ask);
}

/* One of the program's own, or NULL. */
static const struct program_command *find_own(
	const struct program *p, const struct command_line *line)
{
	for (size_t i = 0; i < p->command_count; i++)
		if (is_command(line, p->commands[i].name))
			return &p->commands[i];
	return NULL;
}

/* The API socket that a config file names; NULL with the mistakes in `wrong`. What else the file
 * names need not be there. */
static char *find_socket(
	const struct program *p, const char *file, struct buf *wrong, enum err *err)
{
	struct setup setup = { .kind = p->kind, .config = calloc(1, p->kind->config_bytes) };
	struct report report;
	char *socket = NULL;

	if (setup.config == NULL) {
		*err = ERR_NOMEM;
		return NULL;
	}
	report_init(&report);
	*err = options_load(p->kind->options, file, &report, setup.config);
	report_format(&report, wrong);
	report_fini(&report);
	if (*err == ERR_OK)
		socket = strdup(setup_site_config(&setup)->api_socket);
	if (*err == ERR_OK && socket == NULL)
		*err = ERR_NOMEM;
	setup_close(&setup);
	return socket;
}

static int ask_running(const struct program *p, const struct command_line *line)
{
	const char *socket = command_value(line, "--socket");
	const char *file = command_value(line, "--config");
	const struct program_command *own = find_own(p, line);
	program_ask_fn ask = own == NULL ? ask_status : own->ask;
	struct buf wrong;
	char *found = NULL;
	enum err err = ERR_OK;

	buf_init(&wrong, MIB(1));
	if (socket == NULL && file == NULL) {
		buf_format(&wrong, "%s %s: --config FILE or --socket PATH is missing", p->name,
			line->command->name);
		return called_wrongly(&wrong);
	}
	if (socket == NULL)
		found = find_socket(p, file, &wrong, &err);
	print(stderr, &wrong);
	int code = err == ERR_OK ? ask(line, found != NULL ? found : socket) : exit_code(err);

	free(found);
	return code;
}

int program_main(const struct program *p, int argc, char *const *argv)
{
	struct command_line line;
	struct buf text;

	if (standard_open() != ERR_OK)
		return EXIT_SYSTEM_FAILED;
	buf_init(&text, MIB(1));
	log_open(p->name, LOG_INFO);
	if (command_parse(p->set, argc, argv, &line, &text) != ERR_OK)
		return called_wrongly(&text);
	if (line.wish == COMMAND_HELP) {
		command_usage(p->set, &text);
	} else if (line.wish == COMMAND_VERSION) {
		buf_format(&text, "%s %s\n", p->name, SALLYPORT_VERSION);
	} else if (is_command(&line, "example")) {
		options_example(p->kind->options, &text);
	} else {
		const struct program_command *own = find_own(p, &line);

		buf_fini(&text);
		if (own != NULL && own->offline != NULL)
			return own->offline(&line);
		if (is_command(&line, "run") || is_command(&line, "check"))
			return run_or_check(p, &line);
		return ask_running(p, &line);
	}
	return tell(&text, EXIT_FINE);
}
