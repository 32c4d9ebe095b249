#include "daemon/command.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bug.h"
#include "base/report.h"
#include "base/span.h"
#include "base/text.h"

static const struct command *command_find(const struct command_set *set, const char *name)
{
	for (size_t i = 0; i < set->command_count; i++) {
		if (strcmp(set->commands[i].name, name) == 0)
			return &set->commands[i];
	}
	return NULL;
}

/* The index of a flag, or flag_count. */
static size_t flag_find(const struct command_set *set, struct span name)
{
	size_t i = 0;

	while (i < set->flag_count && !span_is(name, set->flags[i].name))
		i++;
	return i;
}

static bool flag_fits(const struct command_flag *flag, const struct command *command)
{
	char word[64];

	if (flag->commands == NULL)
		return true;
	snprintf(word, sizeof(word), " %s ", command->name);
	return strstr(flag->commands, word) != NULL;
}

static enum err unknown_command(
	const struct command_set *set, const char *name, struct buf *wrong)
{
	const char *names[COMMAND_MAX_FLAGS * 2];
	size_t count = 0;

	for (size_t i = 0; i < set->command_count && count < ARRAY_COUNT(names); i++)
		names[count++] = set->commands[i].name;
	const char *nearest = report_nearest(span_of(name), names, count);

	buf_format(wrong, "\"%s\" is no command", text_show(span_of(name)).at);
	if (nearest != NULL)
		buf_format(wrong, "; did you mean \"%s\"?", nearest);
	else
		buf_format(wrong, "; %s --help lists them", set->program);
	return ERR_INPUT;
}

static enum err unknown_flag(const struct command_set *set, struct span name, struct buf *wrong)
{
	const char *names[COMMAND_MAX_FLAGS];

	for (size_t i = 0; i < set->flag_count; i++)
		names[i] = set->flags[i].name;
	const char *nearest = report_nearest(name, names, set->flag_count);

	buf_format(wrong, "unknown flag %s", text_show(name).at);
	if (nearest != NULL)
		buf_format(wrong, "; did you mean %s?", nearest);
	else
		buf_format(wrong, "; %s --help lists them", set->program);
	return ERR_INPUT;
}

/* argv[*at] begins with a dash; *at moves on when the value is the next word. */
static enum err read_flag(
	struct command_line *line, int argc, char *const *argv, int *at, struct buf *wrong)
{
	const struct command_set *set = line->set;
	struct span rest = span_of(argv[*at]);
	struct span name = text_cut(&rest, '=');
	bool has_value = rest.at != NULL;
	size_t which = flag_find(set, name);

	if (which == set->flag_count)
		return unknown_flag(set, name, wrong);
	const struct command_flag *flag = &set->flags[which];

	if (line->values[which] != NULL) {
		buf_format(wrong, "%s is given twice", flag->name);
		return ERR_INPUT;
	}
	if (flag->value == NULL) {
		if (has_value) {
			buf_format(wrong, "%s takes no value", flag->name);
			return ERR_INPUT;
		}
		line->values[which] = "";
		return ERR_OK;
	}
	if (!has_value && *at + 1 < argc)
		rest = span_of(argv[++*at]);
	if (rest.len == 0) {
		buf_format(
			wrong, "%s needs a value: %s %s", flag->name, flag->name, flag->value);
		return ERR_INPUT;
	}
	line->values[which] = rest.at;
	return ERR_OK;
}

static enum err check_line(const struct command_line *line, struct buf *wrong)
{
	const struct command_set *set = line->set;
	const struct command *command = line->command;

	if (command == NULL) {
		buf_format(wrong, "which command? %s --help lists them", set->program);
		return ERR_INPUT;
	}
	for (size_t i = 0; i < set->flag_count; i++) {
		if (line->values[i] == NULL || flag_fits(&set->flags[i], command))
			continue;
		buf_format(
			wrong, "%s means nothing to \"%s\"", set->flags[i].name, command->name);
		return ERR_INPUT;
	}
	if (line->operand_count >= command->min_operands &&
		line->operand_count <= command->max_operands)
		return ERR_OK;
	if (line->operand_count > command->max_operands)
		buf_format(wrong, "what is \"%s\"? ",
			text_show(span_of(line->operands[command->max_operands])).at);
	buf_format(wrong, "usage: %s %s%s%s", set->program, command->name,
		command->operands == NULL ? "" : " ",
		command->operands == NULL ? "" : command->operands);
	return ERR_INPUT;
}

enum err command_parse(const struct command_set *set, int argc, char *const *argv,
	struct command_line *out, struct buf *wrong)
{
	bool only_operands = false;

	BUG_ON(set->flag_count > COMMAND_MAX_FLAGS);
	*out = (struct command_line){ .set = set };
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		enum err err = ERR_OK;

		if (!only_operands && strcmp(word, "--") == 0) {
			only_operands = true;
			continue;
		}
		if (!only_operands &&
			(strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)) {
			out->wish = COMMAND_HELP;
			return ERR_OK;
		}
		if (!only_operands && strcmp(word, "--version") == 0) {
			out->wish = COMMAND_VERSION;
			return ERR_OK;
		}
		if (!only_operands && word[0] == '-' && word[1] != '\0') {
			err = read_flag(out, argc, argv, &i, wrong);
		} else if (out->command == NULL) {
			out->command = command_find(set, word);
			err = out->command == NULL ? unknown_command(set, word, wrong) : ERR_OK;
		} else if (out->operand_count == COMMAND_MAX_OPERANDS) {
			buf_text(wrong, "too many words");
			err = ERR_INPUT;
		} else {
			out->operands[out->operand_count++] = word;
		}
		if (err != ERR_OK)
			return err;
	}
	return check_line(out, wrong);
}

const char *command_value(const struct command_line *line, const char *flag)
{
	size_t which = flag_find(line->set, span_of(flag));

	BUG_ON(which == line->set->flag_count);
	return line->values[which];
}

enum err command_fd(
	const struct command_line *line, const char *flag, int *out, struct buf *wrong)
{
	const char *value = command_value(line, flag);
	uint64_t number;

	*out = -1;
	if (value == NULL)
		return ERR_OK;
	if (text_parse_u64(span_of(value), &number) != ERR_OK || number > INT_MAX) {
		buf_format(wrong, "%s: \"%s\" is not a file descriptor", flag,
			text_show(span_of(value)).at);
		return ERR_INPUT;
	}
	if (fcntl((int)number, F_GETFD) < 0) {
		buf_format(wrong, "%s: file descriptor %s is not open", flag, value);
		return ERR_INPUT;
	}
	*out = (int)number;
	return ERR_OK;
}

enum err command_number(
	const struct command_line *line, const char *flag, uint64_t *out, struct buf *wrong)
{
	const char *value = command_value(line, flag);

	*out = 0;
	if (value == NULL || (text_parse_u64(span_of(value), out) == ERR_OK && *out > 0))
		return ERR_OK;
	buf_format(wrong, "%s %s: %s \"%s\" is not a whole number from 1", line->set->program,
		line->command->name, flag, text_show(span_of(value)).at);
	return ERR_INPUT;
}

void command_usage(const struct command_set *set, struct buf *out)
{
	buf_format(out, "usage: %s COMMAND [FLAG...]\n%s\n\ncommands:\n", set->program,
		set->sentence);
	for (size_t i = 0; i < set->command_count; i++) {
		const struct command *c = &set->commands[i];

		buf_format(out, "  %s%s%s\n      %s\n", c->name, c->operands == NULL ? "" : " ",
			c->operands == NULL ? "" : c->operands, c->sentence);
	}
	buf_text(out, "\nflags:\n");
	for (size_t i = 0; i < set->flag_count; i++) {
		const struct command_flag *f = &set->flags[i];

		buf_format(out, "  %s%s%s\n      %s\n", f->name, f->value == NULL ? "" : " ",
			f->value == NULL ? "" : f->value, f->sentence);
	}
	buf_text(out, "  -h, --help\n      this text\n  --version\n      name and version\n");
}
