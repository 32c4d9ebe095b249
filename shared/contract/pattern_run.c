#include "contract/pattern.h"
#include "contract/pattern_steps.h"
#include "contract/unicode.h"

enum { WORD_BITS = 64, WORDS = (PATTERN_MAX_STEPS + WORD_BITS - 1) / WORD_BITS };

/* Steps, each once. */
struct set {
	uint64_t has[WORDS];
	unsigned count;
	uint16_t steps[PATTERN_MAX_STEPS];
};

struct run {
	const struct pattern *pattern;
	struct budget *budget;
	int before; /* the character before the present place, -1: none */
	int behind; /* the one behind it */
	bool fits;
	uint16_t todo[2 * PATTERN_MAX_STEPS + 1];
};

static void set_clear(struct set *s, unsigned step_count)
{
	s->count = 0;
	memset(s->has, 0, (step_count + WORD_BITS - 1) / WORD_BITS * sizeof(s->has[0]));
}

static bool set_add(struct set *s, unsigned step)
{
	uint64_t bit = (uint64_t)1 << step % WORD_BITS;

	if ((s->has[step / WORD_BITS] & bit) != 0)
		return false;
	s->has[step / WORD_BITS] |= bit;
	return true;
}

/* Follows what takes no character: puts into the set all steps that take one. */
static void follow(struct run *r, struct set *s, uint16_t from)
{
	unsigned count = 0;
	bool is_edge = pattern_is_word(r->before) != pattern_is_word(r->behind);

	r->todo[count++] = from;
	while (count > 0) {
		uint16_t at = r->todo[--count];
		const struct pattern_step *step = &r->pattern->steps[at];
		bool goes_on = false;

		if (!set_add(s, at) || !budget_take(r->budget, 1))
			continue;
		switch (step->op) {
		case STEP_CHARACTER:
		case STEP_ANY:
		case STEP_CLASS:
			s->steps[s->count++] = at;
			break;
		case STEP_SPLIT:
			r->todo[count++] = step->y;
			r->todo[count++] = step->x;
			break;
		case STEP_JUMP:
			r->todo[count++] = step->x;
			break;
		case STEP_START:
			goes_on = r->before == -1;
			break;
		case STEP_END:
			goes_on = r->behind == -1;
			break;
		case STEP_EDGE:
			goes_on = is_edge;
			break;
		case STEP_NO_EDGE:
			goes_on = !is_edge;
			break;
		case STEP_FITS:
			r->fits = true;
			break;
		}
		if (goes_on)
			r->todo[count++] = (uint16_t)(at + 1);
	}
}

static bool class_has(const struct pattern_class *class, int c)
{
	bool has = false;

	if (c < 128)
		return (class->ascii[c / WORD_BITS] >> c % WORD_BITS & 1) != 0;
	for (unsigned i = 0; i < class->range_count && !has; i++)
		has = (uint32_t)c >= class->ranges[i].low &&
		      (uint32_t)c <= class->ranges[i].high;
	if (!has && class->categories != 0)
		has = (class->categories >> unicode_category_of((uint32_t)c) & 1) != 0;
	return has != class->is_negated;
}

static bool takes(const struct run *r, const struct pattern_step *step, int c)
{
	switch (step->op) {
	case STEP_CHARACTER:
		return (uint32_t)c == step->arg;
	case STEP_ANY:
		return c != '\n' && c != '\r' && c != 0x2028 && c != 0x2029;
	case STEP_CLASS:
		return class_has(&r->pattern->classes[step->arg], c);
	case STEP_SPLIT:
	case STEP_JUMP:
	case STEP_START:
	case STEP_END:
	case STEP_EDGE:
	case STEP_NO_EDGE:
	case STEP_FITS:
		break;
	}
	return false;
}

bool pattern_fits(const struct pattern *p, struct json_walk text, struct budget *budget)
{
	struct run r;
	struct set sets[2];
	struct set *now = &sets[0];
	struct set *then = &sets[1];

	r.pattern = p;
	r.budget = budget;
	r.before = -1;
	r.behind = json_walk_character(&text);
	r.fits = false;
	set_clear(now, p->step_count);
	follow(&r, now, 0);
	while (!r.fits && !budget->is_spent && r.behind != -1 &&
		(now->count > 0 || !p->is_anchored)) {
		int c = r.behind;

		r.before = c;
		r.behind = json_walk_character(&text);
		set_clear(then, p->step_count);
		for (unsigned i = 0; i < now->count; i++) {
			if (takes(&r, &p->steps[now->steps[i]], c))
				follow(&r, then, (uint16_t)(now->steps[i] + 1));
		}
		if (!p->is_anchored)
			follow(&r, then, 0);
		/* A character costs something even where nothing follows it. */
		budget_take(budget, 1);
		struct set *swap = now;

		now = then;
		then = swap;
	}
	return r.fits && !budget->is_spent;
}
