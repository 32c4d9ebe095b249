/* main.c - app-node: the command line. */
#include <stddef.h>

#include "app-node/contract_tool.h"
#include "app-node/node.h"
#include "daemon/program.h"

int main(int argc, char **argv)
{
	/* clang-format off */
	static const struct command commands[] = {
		PROGRAM_COMMANDS,
		{ "contract", "validate", 1, 1,
		  "does an instance fit a schema? Exit 0 yes, 1 no, 2 the schema is refused; "
		  "without files, a line {\"schema\":…,\"data\":…} each on standard input" },
	};
	static const struct command_flag flags[] = {
		PROGRAM_FLAGS,
		{ "--schema", "FILE", " contract ", "JSON Schema, as JSON or YAML" },
		{ "--instance", "FILE", " contract ", "the JSON that is judged" },
		{ "--open", NULL, " contract ",
		  "the plain standard: schemas are neither closed nor bounded by default" },
	};
	/* clang-format on */
	static const struct program_command own[] = {
		{ .name = "contract", .offline = contract_tool },
	};
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
		.commands = own,
		.command_count = ARRAY_COUNT(own),
		.set = &set,
	};

	return program_main(&program, argc, argv);
}
