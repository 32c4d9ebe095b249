/* program.h - what both daemons' command lines have in common: run, check, example, status.
 *
 * Returns exit codes; only main.c ends the process.
 * Layer: daemon. Uses: base, command, options, site, ask. Thread: main's. */
#ifndef SALLYPORT_DAEMON_PROGRAM_H
#define SALLYPORT_DAEMON_PROGRAM_H

#include "daemon/command.h"
#include "daemon/setup.h"

/* A supervisor may try again after EXIT_SYSTEM_FAILED, never after EXIT_CALLED_WRONGLY. */
enum program_exit {
	EXIT_FINE = 0,
	EXIT_NO = 1, /* the daemon was asked, and said no */
	EXIT_CALLED_WRONGLY = 100,
	EXIT_SYSTEM_FAILED = 111,
};

/* The daemon's whole life. Takes: setup is borrowed; it may let what is read again move in.
 * Returns ERR_OK after an orderly stop. */
typedef enum err (*program_run_fn)(struct setup *setup, int ready_fd);

struct program;

/* A command of one daemon alone; `socket` is the running daemon's. Returns the exit code. */
typedef int (*program_ask_fn)(const struct command_line *line, const char *socket);

/* A command that needs neither a config nor a running daemon. Returns the exit code. */
typedef int (*program_offline_fn)(const struct command_line *line);

struct program_command {
	const char *name;
	program_ask_fn ask; /* one of both */
	program_offline_fn offline;
};

struct program {
	const char *name;
	const struct setup_kind *kind;
	program_run_fn run;
	const struct program_command *commands; /* beside the common ones */
	size_t command_count;
	const struct command_set *set;
};

/* Rows for a program's command and flag tables. */
/* clang-format off */
#define PROGRAM_COMMANDS                                                                       \
	{ "run", NULL, 0, 0, "run the daemon in the foreground" },                             \
	{ "check", NULL, 0, 0, "check the config file and all it names, print every mistake" },\
	{ "example", NULL, 0, 0, "print a config file with every key and its default" },       \
	{ "status", NULL, 0, 0, "print what the running daemon says of itself" }

#define PROGRAM_FLAGS                                                                          \
	{ "--config", "FILE", NULL, "config file" },                                           \
	{ "--ready-fd", "N", " run ", "write \"ready\" to this descriptor once ready" },       \
	{ "--socket", "PATH", NULL, "the running daemon's socket, instead of --config" }
/* clang-format on */

int program_main(const struct program *p, int argc, char *const *argv);

/* Asks and prints: the answer to standard output, a problem to standard error. Returns the exit
 * code. */
struct ask;
int program_ask(const struct ask *ask);

#endif
