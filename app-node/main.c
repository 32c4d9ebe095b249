/* main.c - app-node: the command line. */
#include <stddef.h>

#include "app-node/node.h"
#include "daemon/program.h"

int main(int argc, char **argv)
{
	static const struct command commands[] = { PROGRAM_COMMANDS };
	static const struct command_flag flags[] = { PROGRAM_FLAGS };
	static const struct command_set set = {
		.program = "app-node",
		.sentence = "the app realm's side of Sallyport crossings",
		.commands = commands,
		.command_count = ARRAY_COUNT(commands),
		.flags = flags,
		.flag_count = ARRAY_COUNT(flags),
	};
	static const struct setup_kind kind = {
		.options = &node_options,
		.config_bytes = sizeof(struct node_config),
		.site_at = offsetof(struct node_config, site),
		.name_at = offsetof(struct node_config, node),
		.realm = "app",
		.open_more = node_open_more,
	};
	const struct program program = {
		.name = set.program,
		.kind = &kind,
		.run = node_run,
		.set = &set,
	};

	return program_main(&program, argc, argv);
}
