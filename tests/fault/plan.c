#include "plan.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"

static const uint64_t LENGTH_MAX_MS = UINT64_C(7) * 24 * 3600 * 1000;

static enum err add(struct plan *plan, uint64_t at_ms, const struct order *order)
{
	if (plan->count == PLAN_MAX_STEPS)
		return ERR_FULL;
	if (plan->steps == NULL)
		plan->steps = calloc(PLAN_MAX_STEPS, sizeof *plan->steps);
	if (plan->steps == NULL)
		return ERR_NOMEM;
	plan->steps[plan->count++] = (struct plan_step){ .at_ms = at_ms, .order = *order };
	return ERR_OK;
}

static enum err add_line(struct plan *plan, struct span line)
{
	struct span rest = text_trim(line);
	uint64_t before_ms = plan->count == 0 ? 0 : plan->steps[plan->count - 1].at_ms;
	struct order order;
	uint64_t at_ms;

	if (rest.len == 0 || *rest.at == '#')
		return ERR_OK;
	struct span time = text_cut(&rest, ' ');

	if (text_parse_duration_ms(time, &at_ms) != ERR_OK || at_ms < before_ms ||
		at_ms > LENGTH_MAX_MS || order_parse(rest, &order) != ERR_OK)
		return ERR_INPUT;
	return add(plan, at_ms, &order);
}

enum err plan_parse(struct span text, struct plan *out, size_t *line_out)
{
	struct span rest = text;
	enum err err = ERR_OK;

	*out = (struct plan){ 0 };
	for (*line_out = 1; err == ERR_OK; (*line_out)++) {
		err = add_line(out, text_cut(&rest, '\n'));
		if (rest.at == NULL)
			break;
	}
	if (err == ERR_OK)
		return ERR_OK;
	*line_out -= rest.at == NULL ? 0 : 1;
	plan_free(out);
	return err;
}

/* splitmix64: the same on every machine. */
static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* From low to high, both included. */
static uint64_t draw_from(uint64_t *state, uint64_t low, uint64_t high)
{
	return low + draw(state) % (high - low + 1);
}

static struct order draw_order(uint64_t *state)
{
	static const enum order_kind kinds[] = { ORDER_DELAY, ORDER_TRICKLE, ORDER_SWALLOW,
		ORDER_CUT, ORDER_RESET, ORDER_HALF_CLOSE, ORDER_FLIP, ORDER_REFUSE,
		ORDER_DENY };
	struct order order = {
		.kind = kinds[draw_from(state, 0, ARRAY_COUNT(kinds) - 1)],
		.way = (enum order_way)draw_from(state, ORDER_UP, ORDER_BOTH),
	};

	switch (order.kind) {
	case ORDER_DELAY:
		order.amount = draw_from(state, 1, 300);
		break;
	case ORDER_TRICKLE:
		order.amount = draw_from(state, 100, 20000);
		break;
	case ORDER_CUT:
	case ORDER_RESET:
	case ORDER_HALF_CLOSE:
		order.is_at_byte = draw(state) % 2 == 0;
		if (!order.is_at_byte && order.kind != ORDER_HALF_CLOSE)
			order.way = ORDER_BOTH;
		order.amount = order.is_at_byte ? draw_from(state, 0, 4000) : 0;
		break;
	case ORDER_FLIP:
		order.is_at_byte = true;
		order.amount = draw_from(state, 0, 4000);
		break;
	case ORDER_REFUSE:
	case ORDER_DENY:
		order.way = ORDER_BOTH;
		break;
	case ORDER_PASS:
	case ORDER_SWALLOW:
	case ORDER_ADMIT:
	case ORDER_HEAL:
		break;
	}
	return order;
}

enum err plan_make(uint64_t seed, uint64_t length_ms, uint64_t every_ms, struct plan *out)
{
	static const struct order cut = { .kind = ORDER_CUT, .way = ORDER_BOTH };
	static const struct order heal = { .kind = ORDER_HEAL, .way = ORDER_BOTH };
	uint64_t state = seed;
	enum err err = ERR_OK;

	*out = (struct plan){ 0 };
	if (every_ms < 10 || length_ms > LENGTH_MAX_MS)
		return ERR_INPUT;
	for (uint64_t at_ms = 0; err == ERR_OK && at_ms + every_ms <= length_ms;
		at_ms += every_ms) {
		struct order order = draw_order(&state);
		uint64_t begin_ms = at_ms + draw_from(&state, 0, every_ms / 5);
		uint64_t end_ms = begin_ms + draw_from(&state, every_ms / 10, every_ms / 2);

		err = add(out, begin_ms, &order);
		/* Nobody would notice before the next connection. */
		if (err == ERR_OK && (order.kind == ORDER_REFUSE || order.kind == ORDER_DENY))
			err = add(out, begin_ms, &cut);
		if (err == ERR_OK)
			err = add(out, end_ms, &heal);
	}
	if (err != ERR_OK)
		plan_free(out);
	return err;
}

void plan_format(const struct plan *plan, struct buf *out)
{
	for (size_t i = 0; i < plan->count; i++)
		buf_format(out, "%" PRIu64 "ms %s\n", plan->steps[i].at_ms,
			order_format(&plan->steps[i].order).at);
}

void plan_free(struct plan *plan)
{
	free(plan->steps);
	*plan = (struct plan){ 0 };
}
