/* main.c - app-node: the command line. */
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
	static struct node_config config;
	const struct program program = {
		.name = set.program,
		.realm = "app",
		.options = &node_options,
		.config = &config,
		.site = &config.site,
		.identity_name = &config.node,
		.open_rings = node_open_rings,
		.run = node_run,
		.set = &set,
	};

	return program_main(&program, argc, argv);
}
