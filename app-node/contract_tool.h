/* contract_tool.h - `app-node contract …`: what can be asked about schemas without a running node.
 *
 * Layer: app-node. Uses: base, contract, daemon (the command line). Never: a loop. Thread: main's.
 */
#ifndef SALLYPORT_NODE_CONTRACT_TOOL_H
#define SALLYPORT_NODE_CONTRACT_TOOL_H

#include "daemon/command.h"

enum contract_tool_exit {
	CONTRACT_TOOL_YES = 0,
	CONTRACT_TOOL_NO = 1,      /* the instance is not valid, or no JSON */
	CONTRACT_TOOL_REFUSED = 2, /* the schema is not one of ours */
};

/* `contract validate`: one schema and one instance from files, or a line of JSON for each question
 * on standard input.
 *
 * Returns: the exit code: one of the above, or as any command when it was called wrongly.
 * Blocks:  reading. */
int contract_tool(const struct command_line *line);

#endif
