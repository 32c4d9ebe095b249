/* pattern_steps.h - what a compiled pattern is made of; for pattern.c and pattern_run.c only.
 *
 * Layer: contract. Uses: base. */
#ifndef SALLYPORT_CONTRACT_PATTERN_STEPS_H
#define SALLYPORT_CONTRACT_PATTERN_STEPS_H

#include <stdbool.h>
#include <stdint.h>

enum pattern_op {
	STEP_CHARACTER = 0, /* arg */
	STEP_ANY,           /* but for the end of a line */
	STEP_CLASS,         /* arg: its index */
	STEP_SPLIT,         /* go on at x and at y */
	STEP_JUMP,          /* go on at x */
	STEP_START,         /* of the text */
	STEP_END,
	STEP_EDGE, /* of a word */
	STEP_NO_EDGE,
	STEP_FITS,
};

/* Unless it says where, it goes on at the next one. */
struct pattern_step {
	enum pattern_op op : 8;
	uint32_t arg : 24;
	uint16_t x;
	uint16_t y;
};

struct pattern_range {
	uint32_t low;
	uint32_t high; /* included */
};

struct pattern_class {
	uint64_t ascii[2];   /* a bit for each of the first 128, is_negated counted in */
	uint32_t categories; /* of unicode.h: a bit each */
	bool is_negated;
	unsigned range_count;
	const struct pattern_range *ranges;
};

static inline bool pattern_is_word(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

#endif
