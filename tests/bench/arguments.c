#include "arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/text.h"

enum { HELP = 'h', FIRST = 256 /* getopt's number of the first row */ };

enum err arguments_number(
	const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (text_parse_u64(span_of(text), &value) == ERR_OK && value >= min && value <= max) {
		*out = value;
		return ERR_OK;
	}
	(void)fprintf(stderr, "%s: \"%s\" is no whole number from %llu to %llu\n", name, text,
		(unsigned long long)min, (unsigned long long)max);
	return ERR_INPUT;
}

static enum err take_word(const struct argument *a, const char *text)
{
	for (uint64_t i = 0; a->words[i] != NULL; i++) {
		if (strcmp(text, a->words[i]) != 0)
			continue;
		*a->number = i;
		return ERR_OK;
	}
	(void)fprintf(stderr, "--%s: what is \"%s\"?\n", a->name, text);
	return ERR_INPUT;
}

static enum err take(const struct argument *a, const char *text)
{
	char name[32];

	if (a->text != NULL) {
		*a->text = text;
		return ERR_OK;
	}
	if (a->words != NULL)
		return take_word(a, text);
	(void)snprintf(name, sizeof name, "--%s", a->name);
	return arguments_number(name, text, a->min, a->max, a->number);
}

static enum err take_all(
	const struct argument *table, const struct option *options, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == HELP)
			return ERR_CANCEL;
		if (option < FIRST || take(&table[option - FIRST], optarg) != ERR_OK)
			return ERR_INPUT;
	}
	if (optind == argc)
		return ERR_OK;
	(void)fprintf(stderr, "what is \"%s\"?\n", argv[optind]);
	return ERR_INPUT;
}

static enum err check_needed(const struct argument *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!table[i].is_needed || *table[i].text != NULL)
			continue;
		(void)fprintf(stderr, "--%s is missing\n", table[i].name);
		return ERR_INPUT;
	}
	return ERR_OK;
}

enum err arguments_parse(
	const struct argument *table, size_t count, const char *usage, int argc, char **argv)
{
	struct option options[ARGUMENTS_MAX + 2] = { { "help", no_argument, NULL, HELP } };

	BUG_ON(count > ARGUMENTS_MAX);
	for (size_t i = 0; i < count; i++)
		options[i + 1] = (struct option){
			table[i].name,
			required_argument,
			NULL,
			FIRST + (int)i,
		};
	enum err err = take_all(table, options, argc, argv);

	if (err == ERR_OK)
		err = check_needed(table, count);
	if (err != ERR_OK)
		(void)fputs(usage, err == ERR_CANCEL ? stdout : stderr);
	return err;
}
