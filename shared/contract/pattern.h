/* pattern.h - regular expressions in time linear in the text, whatever pattern and text are.
 *
 * The syntax is that of ECMA-262 with its flag u, as JSON Schema asks, without what no linear
 * engine can do: back-references and looking around. All ways through the pattern are followed
 * at once, a character at a time; nothing is tried again.
 * Layer: contract. Uses: base, json (texts), unicode, value (budget). Thread: any, to match. */
#ifndef SALLYPORT_CONTRACT_PATTERN_H
#define SALLYPORT_CONTRACT_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"
#include "contract/json.h"
#include "contract/value.h"

enum {
	PATTERN_MAX_STEPS = 2000, /* of a compiled pattern; x{1,100} has two hundred */
	PATTERN_MAX_CLASSES = 200,
	PATTERN_MAX_DEPTH = 50, /* of groups */
	PATTERN_WRONG_BYTES = 200,
};

struct pattern {
	const struct pattern_step *steps;
	const struct pattern_class *classes;
	unsigned step_count;
	bool is_anchored; /* it can only match from the start of the text */
};

/* Takes:   text is UTF-8, borrowed for the call; the pattern lives in the arena.
 * Returns: ERR_OK; ERR_INPUT with a sentence in `wrong` (not of the syntax, not supported, too
 *          large); ERR_NOMEM. */
WARN_UNUSED enum err pattern_compile(struct span text, struct arena *arena, struct pattern *out,
	char wrong[PATTERN_WRONG_BYTES]);

/* Does it fit anywhere in the text? False also when the budget is spent. */
bool pattern_fits(const struct pattern *p, struct json_walk text, struct budget *budget);

#endif
