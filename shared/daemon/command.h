/* command.h - what was written behind the program's name: one command, its flags, its operands.
 *
 * PROGRAM COMMAND [--flag VALUE | --flag=VALUE | --switch] [OPERAND...]. Functions here only
 * say what is right and wrong; main.c prints and ends the process.
 * Layer: daemon. Uses: base. Thread: the owner's. */
#ifndef SALLYPORT_DAEMON_COMMAND_H
#define SALLYPORT_DAEMON_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"

enum { COMMAND_MAX_FLAGS = 16, COMMAND_MAX_OPERANDS = 16 };

struct command_flag {
	const char *name;     /* "--config" */
	const char *value;    /* what its value is called, "FILE"; NULL: a switch */
	const char *commands; /* the commands that know it, " run check "; NULL: all */
	const char *sentence;
};

struct command {
	const char *name;     /* "run" */
	const char *operands; /* "OPERATION [BODY]", or NULL */
	size_t min_operands;
	size_t max_operands;
	const char *sentence;
};

/* Everything a program can be asked. */
struct command_set {
	const char *program;
	const char *sentence;
	const struct command *commands;
	size_t command_count;
	const struct command_flag *flags; /* beside -h, --help and --version */
	size_t flag_count;
};

enum command_wish { COMMAND_RUN = 0, COMMAND_HELP, COMMAND_VERSION };

struct command_line {
	enum command_wish wish;
	const struct command_set *set;
	const struct command *command;         /* set when the wish is COMMAND_RUN */
	const char *values[COMMAND_MAX_FLAGS]; /* as set->flags; "" for a switch that is on */
	const char *operands[COMMAND_MAX_OPERANDS];
	size_t operand_count;
};

/* Takes:   argv as main() got it; out borrows from it and from the set.
 * Returns: ERR_OK; ERR_INPUT with one line of text in `wrong` that says what is wrong and what
 *          would be right (main prints it and ends with 100). */
WARN_UNUSED enum err command_parse(const struct command_set *set, int argc, char *const *argv,
	struct command_line *out, struct buf *wrong);

/* The value of a flag of the set, "" for a switch, NULL when it was not given. */
const char *command_value(const struct command_line *line, const char *flag);

static inline bool command_has(const struct command_line *line, const char *flag)
{
	return command_value(line, flag) != NULL;
}

/* A file descriptor number behind a flag.
 * Returns: ERR_OK (*out is -1 when the flag was not given); ERR_INPUT: not a number, or no such
 *          descriptor is open; `wrong` says so. */
WARN_UNUSED enum err command_fd(
	const struct command_line *line, const char *flag, int *out, struct buf *wrong);

/* A whole number from 1 behind a flag.
 * Returns: ERR_OK (*out is 0 when the flag was not given); ERR_INPUT, `wrong` says so. */
WARN_UNUSED enum err command_number(
	const struct command_line *line, const char *flag, uint64_t *out, struct buf *wrong);

/* "usage: …" with every command and flag. */
void command_usage(const struct command_set *set, struct buf *out);

#endif
