/* From the text of a pattern to its steps, in one pass: what is read is written at once, and what
 * follows it (a star, a bar) moves it or copies it. The steps of a piece only name steps of the
 * same piece, or the one behind it, so a piece can be moved as a whole. */
#include "contract/pattern.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "contract/pattern_steps.h"
#include "contract/unicode.h"

enum {
	MAX_RANGES = 1000, /* of all classes together */
	MAX_CHARACTER = 0x10ffff,
	MAX_REPEAT = 100000,
	NO_MOST = MAX_REPEAT + 1, /* x{2,} */
};

struct reader {
	const char *begin;
	const char *at;
	const char *end;
	char *wrong;
	unsigned depth;
	unsigned step_count;
	unsigned class_count;
	unsigned range_count;
	struct pattern_step steps[PATTERN_MAX_STEPS];
	struct pattern_step spare[PATTERN_MAX_STEPS]; /* a piece on its way */
	struct pattern_class classes[PATTERN_MAX_CLASSES];
	struct pattern_range ranges[MAX_RANGES];
};

/* What \d, \w and \s stand for. */
static const struct pattern_range digit_ranges[] = { { '0', '9' } };
static const struct pattern_range word_ranges[] = {
	{ '0', '9' },
	{ 'A', 'Z' },
	{ '_', '_' },
	{ 'a', 'z' },
};
static const struct pattern_range space_ranges[] = {
	{ '\t', '\r' },
	{ ' ', ' ' },
	{ 0xa0, 0xa0 },
	{ 0x1680, 0x1680 },
	{ 0x2000, 0x200a },
	{ 0x2028, 0x2029 },
	{ 0x202f, 0x202f },
	{ 0x205f, 0x205f },
	{ 0x3000, 0x3000 },
	{ 0xfeff, 0xfeff },
};

static enum err wrong(struct reader *r, const char *format, ...) PRINTF_LIKE(2, 3);

static enum err wrong(struct reader *r, const char *format, ...)
{
	char text[PATTERN_WRONG_BYTES / 2];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	snprintf(r->wrong, PATTERN_WRONG_BYTES, "%s (at byte %zu of the pattern)", text,
		(size_t)(r->at - r->begin) + 1);
	return ERR_INPUT;
}

static bool is_next(const struct reader *r, const char *text)
{
	return span_starts((struct span){ r->at, (size_t)(r->end - r->at) }, text);
}

static bool take(struct reader *r, const char *text)
{
	if (!is_next(r, text))
		return false;
	r->at += strlen(text);
	return true;
}

static bool is_digit(const struct reader *r)
{
	return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}

/* ---- steps ---- */

static enum err too_large(struct reader *r)
{
	return wrong(r, "too large: it has more than %d steps", PATTERN_MAX_STEPS);
}

static enum err add(struct reader *r, enum pattern_op op, uint32_t arg)
{
	if (r->step_count == PATTERN_MAX_STEPS)
		return too_large(r);
	r->steps[r->step_count++] = (struct pattern_step){ .op = op, .arg = arg & 0xffffff };
	return ERR_OK;
}

static enum err add_split(struct reader *r, unsigned x, unsigned y)
{
	enum err err = add(r, STEP_SPLIT, 0);

	if (err == ERR_OK) {
		r->steps[r->step_count - 1].x = (uint16_t)x;
		r->steps[r->step_count - 1].y = (uint16_t)y;
	}
	return err;
}

static enum err add_jump(struct reader *r, unsigned x)
{
	enum err err = add(r, STEP_JUMP, 0);

	if (err == ERR_OK)
		r->steps[r->step_count - 1].x = (uint16_t)x;
	return err;
}

/* The steps of a piece name each other; as it stands `by` further on, so do they. */
static void shift(struct pattern_step *steps, unsigned count, unsigned by)
{
	for (unsigned i = 0; i < count; i++) {
		if (steps[i].op == STEP_SPLIT || steps[i].op == STEP_JUMP)
			steps[i].x = (uint16_t)(steps[i].x + by);
		if (steps[i].op == STEP_SPLIT)
			steps[i].y = (uint16_t)(steps[i].y + by);
	}
}

/* Makes room for one step before the piece that begins at `from`. */
static enum err insert_split(struct reader *r, unsigned from, unsigned x, unsigned y)
{
	unsigned count = r->step_count - from;

	if (r->step_count == PATTERN_MAX_STEPS)
		return too_large(r);
	memmove(&r->steps[from + 1], &r->steps[from], count * sizeof(r->steps[0]));
	shift(&r->steps[from + 1], count, 1);
	r->step_count++;
	r->steps[from] = (struct pattern_step){
		.op = STEP_SPLIT,
		.x = (uint16_t)x,
		.y = (uint16_t)y,
	};
	return ERR_OK;
}

/* ---- characters ---- */

static enum err read_hex(struct reader *r, int count, uint32_t *out)
{
	uint32_t value = 0;

	for (int i = 0; i < count; i++, r->at++) {
		int digit = r->at < r->end ? text_hex_value(*r->at) : -1;

		if (digit < 0)
			return wrong(r, "here stand %d hexadecimal digits", count);
		value = value << 4 | (uint32_t)digit;
	}
	*out = value;
	return ERR_OK;
}

/* Behind \u{. */
static enum err read_braced(struct reader *r, uint32_t *out)
{
	uint32_t value = 0;

	do {
		int digit = r->at < r->end ? text_hex_value(*r->at) : -1;

		if (digit < 0)
			return wrong(r, "here stand hexadecimal digits");
		value = value << 4 | (uint32_t)digit;
		r->at++;
		if (value > MAX_CHARACTER)
			return wrong(r, "there is no such character");
	} while (!is_next(r, "}"));
	r->at++;
	*out = value;
	return ERR_OK;
}

/* Behind \u. */
static enum err read_unicode(struct reader *r, uint32_t *out)
{
	uint32_t low = 0;

	if (take(r, "{"))
		return read_braced(r, out);
	enum err err = read_hex(r, 4, out);

	if (err != ERR_OK || *out < 0xd800 || *out > 0xdfff)
		return err;
	if (*out > 0xdbff || !take(r, "\\u"))
		return wrong(r, "half a surrogate pair");
	err = read_hex(r, 4, &low);
	if (err != ERR_OK)
		return err;
	if (low < 0xdc00 || low > 0xdfff)
		return wrong(r, "half a surrogate pair");
	*out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
	return ERR_OK;
}

/* An escape that means one character; r->at is behind the backslash. */
static enum err read_escape(struct reader *r, uint32_t *out)
{
	static const char plain[] = "tnvfr";
	static const char meant[] = "\t\n\v\f\r";
	char c = *r->at;
	const char *found = c == '\0' ? NULL : strchr(plain, c);

	r->at++;
	if (found != NULL) {
		*out = (unsigned char)meant[found - plain];
		return ERR_OK;
	}
	if (c == 'u')
		return read_unicode(r, out);
	if (c == 'x')
		return read_hex(r, 2, out);
	if (c == 'c' && r->at < r->end &&
		((*r->at >= 'a' && *r->at <= 'z') || (*r->at >= 'A' && *r->at <= 'Z'))) {
		*out = (uint32_t)*r->at++ & 0x1f;
		return ERR_OK;
	}
	if (c == '0' && !is_digit(r)) {
		*out = 0;
		return ERR_OK;
	}
	r->at--;
	if ((c >= '0' && c <= '9') || c == 'k')
		return wrong(r, "back-references are not supported: they cannot be matched in "
				"bounded time");
	if (pattern_is_word(c) || c <= ' ' || c > '~')
		return wrong(r, "\\%c is no escape", c > ' ' && c <= '~' ? c : '?');
	r->at++;
	*out = (unsigned char)c;
	return ERR_OK;
}

static enum err read_literal(struct reader *r, uint32_t *out)
{
	size_t len = text_utf8_character((struct span){ r->at, (size_t)(r->end - r->at) });
	unsigned char first = (unsigned char)*r->at;

	if (len == 0)
		return wrong(r, "not UTF-8");
	*out = len == 1 ? first : first & (0x7fu >> len);
	for (size_t i = 1; i < len; i++)
		*out = *out << 6 | ((unsigned char)r->at[i] & 0x3f);
	r->at += len;
	return ERR_OK;
}

/* ---- classes ---- */

static enum err class_begin(struct reader *r)
{
	if (r->class_count == PATTERN_MAX_CLASSES)
		return wrong(r, "more than %d classes", PATTERN_MAX_CLASSES);
	r->classes[r->class_count] = (struct pattern_class){
		.ranges = &r->ranges[r->range_count],
	};
	return ERR_OK;
}

static enum err class_add(struct reader *r, uint32_t low, uint32_t high)
{
	if (r->range_count == MAX_RANGES)
		return wrong(r, "more than %d ranges of characters", MAX_RANGES);
	r->ranges[r->range_count++] = (struct pattern_range){ low, high };
	r->classes[r->class_count].range_count++;
	return ERR_OK;
}

static enum err class_add_all(
	struct reader *r, const struct pattern_range *ranges, size_t count)
{
	enum err err = ERR_OK;

	for (size_t i = 0; i < count && err == ERR_OK; i++)
		err = class_add(r, ranges[i].low, ranges[i].high);
	return err;
}

/* All but these, which are sorted. */
static enum err class_add_others(
	struct reader *r, const struct pattern_range *ranges, size_t count)
{
	uint32_t low = 0;
	enum err err = ERR_OK;

	for (size_t i = 0; i < count && err == ERR_OK; i++) {
		err = class_add(r, low, ranges[i].low - 1);
		low = ranges[i].high + 1;
	}
	return err == ERR_OK ? class_add(r, low, MAX_CHARACTER) : err;
}

/* Behind \p or \P. */
static enum err class_add_property(struct reader *r, bool is_negated)
{
	static const char *const prefixes[] = { "General_Category=", "gc=" };

	if (!take(r, "{"))
		return wrong(r, "here stands a category in braces: \\p{L}");
	for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++)
		(void)take(r, prefixes[i]);
	const char *begin = r->at;

	while (r->at < r->end && *r->at != '}')
		r->at++;
	struct span name = { begin, (size_t)(r->at - begin) };
	uint32_t bits = unicode_named(name);

	if (r->at == r->end || bits == 0) {
		r->at = begin;
		return wrong(r, "\\p{} knows general categories only: L, Lu, Letter, Nd …");
	}
	r->at++;
	if (is_negated)
		bits = ~bits & unicode_named(span_of("Any"));
	r->classes[r->class_count].categories |= bits;
	return ERR_OK;
}

/* \d \D \w \W \s \S \p \P: *is_class says whether it was one; r->at is behind the backslash. */
static enum err class_add_escape(struct reader *r, bool *is_class)
{
	*is_class = true;
	switch (*r->at++) {
	case 'd':
		return class_add_all(r, digit_ranges, ARRAY_COUNT(digit_ranges));
	case 'D':
		return class_add_others(r, digit_ranges, ARRAY_COUNT(digit_ranges));
	case 'w':
		return class_add_all(r, word_ranges, ARRAY_COUNT(word_ranges));
	case 'W':
		return class_add_others(r, word_ranges, ARRAY_COUNT(word_ranges));
	case 's':
		return class_add_all(r, space_ranges, ARRAY_COUNT(space_ranges));
	case 'S':
		return class_add_others(r, space_ranges, ARRAY_COUNT(space_ranges));
	case 'p':
		return class_add_property(r, false);
	case 'P':
		return class_add_property(r, true);
	default:
		r->at--;
		*is_class = false;
		return ERR_OK;
	}
}

static bool class_says(const struct pattern_class *class, uint32_t c)
{
	bool has = (class->categories >> unicode_category_of(c) & 1) != 0;

	for (unsigned i = 0; i < class->range_count && !has; i++)
		has = c >= class->ranges[i].low && c <= class->ranges[i].high;
	return has != class->is_negated;
}

static enum err class_end(struct reader *r)
{
	struct pattern_class *class = &r->classes[r->class_count];

	for (uint32_t c = 0; c < 128; c++)
		if (class_says(class, c))
			class->ascii[c / 64] |= (uint64_t)1 << c % 64;
	return add(r, STEP_CLASS, r->class_count++);
}

/* One character of a class, or what stands for several. */
static enum err read_class_atom(struct reader *r, bool *is_class, uint32_t *out)
{
	*is_class = false;
	if (!take(r, "\\"))
		return read_literal(r, out);
	if (r->at == r->end)
		return wrong(r, "nothing follows the backslash");
	if (take(r, "b")) {
		*out = '\b';
		return ERR_OK;
	}
	enum err err = class_add_escape(r, is_class);

	return err == ERR_OK && !*is_class ? read_escape(r, out) : err;
}

/* Behind [. */
static enum err read_class(struct reader *r)
{
	enum err err = class_begin(r);

	if (err != ERR_OK)
		return err;
	r->classes[r->class_count].is_negated = take(r, "^");
	while (!take(r, "]")) {
		uint32_t low = 0;
		uint32_t high = 0;
		bool is_class;
		bool is_class_too = false;

		if (r->at == r->end)
			return wrong(r, "the ] of a class is missing");
		err = read_class_atom(r, &is_class, &low);
		high = low;
		if (err == ERR_OK && is_next(r, "-") && r->at + 1 < r->end && r->at[1] != ']') {
			r->at++;
			err = read_class_atom(r, &is_class_too, &high);
			if (err == ERR_OK && (is_class || is_class_too || high < low))
				err = wrong(r, "this is no range of characters");
		}
		if (err == ERR_OK && !is_class)
			err = class_add(r, low, high);
		if (err != ERR_OK)
			return err;
	}
	return class_end(r);
}

/* ---- the grammar ---- */

static enum err read_choice(struct reader *r);

/* Behind (. */
static enum err read_group(struct reader *r)
{
	if (is_next(r, "?=") || is_next(r, "?!") || is_next(r, "?<=") || is_next(r, "?<!"))
		return wrong(r, "looking ahead and behind is not supported: it cannot be "
				"matched in bounded time");
	if (take(r, "?<")) {
		while (r->at < r->end && *r->at != '>')
			r->at++;
		if (!take(r, ">"))
			return wrong(r, "the > of a group's name is missing");
	} else if (is_next(r, "?") && !take(r, "?:")) {
		return wrong(r, "no such group");
	}
	if (++r->depth > PATTERN_MAX_DEPTH)
		return wrong(r, "groups nested deeper than %d", PATTERN_MAX_DEPTH);
	enum err err = read_choice(r);

	r->depth--;
	if (err == ERR_OK && !take(r, ")"))
		err = wrong(r, "the ) of a group is missing");
	return err;
}

/* *may_repeat: a star may follow. */
static enum err read_backslash(struct reader *r, bool *may_repeat)
{
	uint32_t c;
	bool is_class;

	if (r->at == r->end)
		return wrong(r, "nothing follows the backslash");
	if (is_next(r, "b") || is_next(r, "B")) {
		*may_repeat = false;
		return add(r, *r->at++ == 'b' ? STEP_EDGE : STEP_NO_EDGE, 0);
	}
	enum err err = class_begin(r);

	if (err == ERR_OK)
		err = class_add_escape(r, &is_class);
	if (err == ERR_OK && is_class)
		return class_end(r);
	if (err == ERR_OK)
		err = read_escape(r, &c);
	return err == ERR_OK ? add(r, STEP_CHARACTER, c) : err;
}

static enum err read_atom(struct reader *r, bool *may_repeat)
{
	uint32_t c;

	*may_repeat = true;
	switch (*r->at) {
	case '^':
	case '$':
		*may_repeat = false;
		return add(r, *r->at++ == '^' ? STEP_START : STEP_END, 0);
	case '.':
		r->at++;
		return add(r, STEP_ANY, 0);
	case '(':
		r->at++;
		return read_group(r);
	case '[':
		r->at++;
		return read_class(r);
	case '\\':
		r->at++;
		return read_backslash(r, may_repeat);
	case '*':
	case '+':
	case '?':
		return wrong(r, "there is nothing to repeat");
	case '{':
		return wrong(r, "for the character itself write \\{");
	default:
		break;
	}
	enum err err = read_literal(r, &c);

	return err == ERR_OK ? add(r, STEP_CHARACTER, c) : err;
}

static bool read_count(struct reader *r, unsigned *out)
{
	if (!is_digit(r))
		return false;
	*out = 0;
	for (; is_digit(r); r->at++) {
		*out = *out * 10 + (unsigned)(*r->at - '0');
		if (*out > MAX_REPEAT)
			*out = MAX_REPEAT;
	}
	return true;
}

/* How often; false: there is no such sign. */
static enum err read_repeat(struct reader *r, unsigned *least, unsigned *most, bool *is_there)
{
	*is_there = true;
	*least = 0;
	*most = NO_MOST;
	if (take(r, "*"))
		return ERR_OK;
	if (take(r, "+")) {
		*least = 1;
		return ERR_OK;
	}
	if (take(r, "?")) {
		*most = 1;
		return ERR_OK;
	}
	*is_there = take(r, "{");
	if (!*is_there)
		return ERR_OK;
	if (!read_count(r, least))
		return wrong(r, "here stands how often: {2}, {2,} or {2,5}; for the character "
				"itself write \\{");
	if (!take(r, ","))
		*most = *least;
	else
		(void)read_count(r, most);
	if (!take(r, "}"))
		return wrong(r, "the } of a repetition is missing");
	return *most < *least ? wrong(r, "the second number is below the first") : ERR_OK;
}

/* A copy of the spare piece, `count` steps that stood at `from`. */
static enum err add_copy(struct reader *r, unsigned from, unsigned count)
{
	if (count > PATTERN_MAX_STEPS - r->step_count)
		return too_large(r);
	struct pattern_step *to = &r->steps[r->step_count];

	memcpy(to, r->spare, count * sizeof(*to));
	shift(to, count, r->step_count - from);
	r->step_count += count;
	return ERR_OK;
}

/* The piece from `from` to the end, at least so often, at most so often. */
static enum err repeat(struct reader *r, unsigned from, unsigned least, unsigned most)
{
	unsigned count = r->step_count - from;
	unsigned last = from;
	enum err err = ERR_OK;

	if (count == 0)
		return ERR_OK;
	memcpy(r->spare, &r->steps[from], count * sizeof(r->spare[0]));
	r->step_count = from;
	for (unsigned i = 0; i < least && err == ERR_OK; i++) {
		last = r->step_count;
		err = add_copy(r, from, count);
	}
	if (err == ERR_OK && most == NO_MOST && least > 0)
		return add_split(r, last, r->step_count + 1);
	if (err == ERR_OK && most == NO_MOST) {
		err = add_split(r, from + 1, from + count + 2);
		if (err == ERR_OK)
			err = add_copy(r, from, count);
		return err == ERR_OK ? add_jump(r, from) : err;
	}
	/* x{0,3} is (x(x(x)?)?)?: each may be the end. */
	unsigned more = most == NO_MOST ? 0 : most - least;

	if (err == ERR_OK && more > (PATTERN_MAX_STEPS - r->step_count) / (count + 1))
		err = too_large(r);
	unsigned end = r->step_count + more * (count + 1);

	for (unsigned i = 0; i < more && err == ERR_OK; i++) {
		err = add_split(r, r->step_count + 1, end);
		if (err == ERR_OK)
			err = add_copy(r, from, count);
	}
	return err;
}

/* What stands between two bars. */
static enum err read_row(struct reader *r)
{
	while (r->at < r->end && *r->at != '|' && *r->at != ')') {
		unsigned from = r->step_count;
		unsigned least;
		unsigned most;
		bool may_repeat;
		bool is_there;
		enum err err = read_atom(r, &may_repeat);

		if (err == ERR_OK && !may_repeat)
			continue;
		if (err == ERR_OK)
			err = read_repeat(r, &least, &most, &is_there);
		if (err == ERR_OK && is_there) {
			(void)take(r, "?"); /* lazily or not: it fits or it does not */
			err = repeat(r, from, least, most);
		}
		if (err != ERR_OK)
			return err;
	}
	return ERR_OK;
}

static enum err read_choice(struct reader *r)
{
	enum { NONE = UINT16_MAX };
	unsigned jump = NONE; /* to behind the last row; each names the one before in x */
	enum err err;

	for (;;) {
		unsigned from = r->step_count;

		err = read_row(r);
		if (err != ERR_OK || !take(r, "|"))
			break;
		/* This row, then the jump; or what follows the jump. */
		err = insert_split(r, from, from + 1, r->step_count + 2);
		if (err == ERR_OK)
			err = add_jump(r, jump);
		if (err != ERR_OK)
			break;
		jump = r->step_count - 1;
	}
	while (err == ERR_OK && jump != NONE) {
		unsigned before = r->steps[jump].x;

		r->steps[jump].x = (uint16_t)r->step_count;
		jump = before;
	}
	return err;
}

static enum err keep(const struct reader *r, struct arena *arena, struct pattern *out)
{
	size_t step_bytes = r->step_count * sizeof(r->steps[0]);
	size_t class_bytes = r->class_count * sizeof(r->classes[0]);
	size_t range_bytes = r->range_count * sizeof(r->ranges[0]);
	struct pattern_step *steps = arena_take(arena, step_bytes);
	struct pattern_class *classes = arena_take(arena, class_bytes + 1);
	struct pattern_range *ranges = arena_take(arena, range_bytes + 1);

	if (steps == NULL || classes == NULL || ranges == NULL)
		return ERR_NOMEM;
	memcpy(steps, r->steps, step_bytes);
	memcpy(classes, r->classes, class_bytes);
	memcpy(ranges, r->ranges, range_bytes);
	for (unsigned i = 0; i < r->class_count; i++)
		classes[i].ranges = ranges + (r->classes[i].ranges - r->ranges);
	*out = (struct pattern){
		.steps = steps,
		.classes = classes,
		.step_count = r->step_count,
		.is_anchored = steps[0].op == STEP_START,
	};
	return ERR_OK;
}

enum err pattern_compile(struct span text, struct arena *arena, struct pattern *out,
	char wrong_out[PATTERN_WRONG_BYTES])
{
	struct reader *r = calloc(1, sizeof(*r));

	wrong_out[0] = '\0';
	if (r == NULL)
		return ERR_NOMEM;
	r->begin = text.len == 0 ? "" : text.at;
	r->at = r->begin;
	r->end = r->begin + text.len;
	r->wrong = wrong_out;
	enum err err = read_choice(r);

	if (err == ERR_OK && r->at < r->end)
		err = wrong(r, "a ) too many");
	if (err == ERR_OK)
		err = add(r, STEP_FITS, 0);
	if (err == ERR_OK)
		err = keep(r, arena, out);
	free(r);
	return err;
}
