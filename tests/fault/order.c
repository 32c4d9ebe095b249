#include "order.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"

/* What stands behind the word. */
enum shape {
	BARE = 0,     /* nothing */
	WAY,          /* perhaps a direction */
	WAY_TIME,     /* direction and duration */
	WAY_RATE,     /* direction and bytes a second */
	WAY_BYTE,     /* direction and byte */
	PERHAPS_BYTE, /* nothing, or direction and byte */
	WAY_OR_BYTE,  /* direction, and perhaps a byte */
};

static const struct {
	const char *word;
	enum shape shape;
} kinds[ORDER_KINDS] = {
	[ORDER_PASS] = { "pass", WAY },
	[ORDER_DELAY] = { "delay", WAY_TIME },
	[ORDER_TRICKLE] = { "trickle", WAY_RATE },
	[ORDER_SWALLOW] = { "swallow", WAY },
	[ORDER_CUT] = { "cut", PERHAPS_BYTE },
	[ORDER_RESET] = { "reset", PERHAPS_BYTE },
	[ORDER_HALF_CLOSE] = { "half-close", WAY_OR_BYTE },
	[ORDER_FLIP] = { "flip", WAY_BYTE },
	[ORDER_REFUSE] = { "refuse", BARE },
	[ORDER_DENY] = { "deny", BARE },
	[ORDER_ADMIT] = { "admit", BARE },
	[ORDER_HEAL] = { "heal", BARE },
};

static const char *way_text(enum order_way way)
{
	return way == ORDER_UP ? "up" : way == ORDER_DOWN ? "down" : "both";
}

static enum err parse_way(struct span text, enum order_way *out)
{
	for (enum order_way way = ORDER_UP; way <= ORDER_BOTH; way++) {
		if (span_is(text, way_text(way))) {
			*out = way;
			return ERR_OK;
		}
	}
	return ERR_INPUT;
}

static enum err parse_rate(struct span text, uint64_t *out)
{
	struct span per = text;
	struct span count = text_cut(&per, '/');

	if (!span_is(per, "s") || text_parse_u64(count, out) != ERR_OK)
		return ERR_INPUT;
	return *out == 0 ? ERR_INPUT : ERR_OK;
}

static enum err parse_amount(enum shape shape, struct span text, struct order *out)
{
	switch (shape) {
	case WAY_TIME:
		return text_parse_duration_ms(text, &out->amount);
	case WAY_RATE:
		return parse_rate(text, &out->amount);
	case WAY_BYTE:
	case PERHAPS_BYTE:
	case WAY_OR_BYTE:
		out->is_at_byte = true;
		return text_parse_u64(text, &out->amount);
	case BARE:
	case WAY:
		break;
	}
	return ERR_INPUT;
}

enum err order_parse(struct span text, struct order *out)
{
	struct span rest = text_trim(text);
	struct span word = text_cut(&rest, ' ');
	struct span way = text_cut(&rest, ' ');
	struct span amount = rest;
	size_t kind = 0;

	*out = (struct order){ .way = ORDER_BOTH };
	while (kind < ORDER_KINDS && !span_is(word, kinds[kind].word))
		kind++;
	if (kind == ORDER_KINDS)
		return ERR_INPUT;
	enum shape shape = kinds[kind].shape;
	bool may_be_bare = shape == BARE || shape == WAY || shape == PERHAPS_BYTE;

	out->kind = (enum order_kind)kind;
	if (way.at == NULL)
		return may_be_bare ? ERR_OK : ERR_INPUT;
	if (shape == BARE || parse_way(way, &out->way) != ERR_OK)
		return ERR_INPUT;
	if (amount.at == NULL)
		return shape == WAY || shape == WAY_OR_BYTE ? ERR_OK : ERR_INPUT;
	return parse_amount(shape, amount, out);
}

struct order_text order_format(const struct order *order)
{
	const char *word = kinds[order->kind].word;
	const char *way = way_text(order->way);
	struct order_text text;

	switch (kinds[order->kind].shape) {
	case WAY_TIME:
		snprintf(text.at, sizeof text.at, "%s %s %" PRIu64 "ms", word, way,
			order->amount);
		return text;
	case WAY_RATE:
		snprintf(text.at, sizeof text.at, "%s %s %" PRIu64 "/s", word, way,
			order->amount);
		return text;
	case WAY:
	case WAY_BYTE:
	case PERHAPS_BYTE:
	case WAY_OR_BYTE:
		if (order->is_at_byte)
			snprintf(text.at, sizeof text.at, "%s %s %" PRIu64, word, way,
				order->amount);
		else if (kinds[order->kind].shape != PERHAPS_BYTE)
			snprintf(text.at, sizeof text.at, "%s %s", word, way);
		else
			snprintf(text.at, sizeof text.at, "%s", word);
		return text;
	case BARE:
		break;
	}
	snprintf(text.at, sizeof text.at, "%s", word);
	return text;
}

const char *order_kind_text(enum order_kind kind)
{
	return kinds[kind].word;
}
