#include "message/replay.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bug.h"

enum { NONE = 0 /* chains count slots from 1 */ };

struct replay_slot {
	struct replay_fact fact;
	uint32_t older; /* the next slot of its chain, + 1 */
};

static uint64_t half(const struct id *id, size_t from)
{
	uint64_t value;

	memcpy(&value, id->byte + from, sizeof(value));
	return value;
}

/* Multiply and shift with secret factors: a universal hash, of the top bits. */
static uint32_t *chain_of(const struct replay *r, const struct id *id)
{
	uint64_t mixed = half(id, 0) * r->mix[0] + half(id, 8) * r->mix[1];

	return &r->heads[r->head_bits == 0 ? 0 : mixed >> (64 - r->head_bits)];
}

enum err replay_init(struct replay *r, uint32_t capacity, uint64_t horizon_unix_us)
{
	BUG_ON(capacity == 0 || capacity > REPLAY_MAX_CAPACITY);
	*r = (struct replay){ .capacity = capacity, .horizon_unix_us = horizon_unix_us };
	while (UINT32_C(1) << r->head_bits < capacity)
		r->head_bits++;
	/* Up to 256 bytes getrandom() neither blocks after boot nor returns short. */
	BUG_ON(getrandom(r->mix, sizeof(r->mix), 0) != (ssize_t)sizeof(r->mix));
	r->mix[0] |= 1;
	r->mix[1] |= 1;
	r->slots = calloc(capacity, sizeof(*r->slots));
	r->heads = calloc((size_t)1 << r->head_bits, sizeof(*r->heads));
	return r->slots == NULL || r->heads == NULL ? ERR_NOMEM : ERR_OK;
}

void replay_fini(struct replay *r)
{
	free(r->slots);
	free(r->heads);
	*r = (struct replay){ 0 };
}

static struct replay_slot *find(const struct replay *r, const struct id *id)
{
	for (uint32_t at = *chain_of(r, id); at != NONE; at = r->slots[at - 1].older) {
		if (id_compare(&r->slots[at - 1].fact.id, id) == 0)
			return &r->slots[at - 1];
	}
	return NULL;
}

/* Makes the oldest one go. If it could still come again, the horizon rises over it. */
static void forget_oldest(struct replay *r, uint64_t now_unix_us)
{
	const struct replay_slot *oldest = &r->slots[r->next];
	uint32_t *link = chain_of(r, &oldest->fact.id);

	while (*link != r->next + 1)
		link = &r->slots[*link - 1].older;
	*link = NONE; /* it was the last of its chain: new ones come to the front */
	r->count--;
	if (oldest->fact.until_unix_us < now_unix_us)
		return;
	r->counters.forgotten++;
	if (oldest->fact.sent_unix_us > r->horizon_unix_us)
		r->horizon_unix_us = oldest->fact.sent_unix_us;
}

static void remember(struct replay *r, const struct replay_fact *fact)
{
	uint32_t *chain = chain_of(r, &fact->id);

	r->slots[r->next] = (struct replay_slot){ .fact = *fact, .older = *chain };
	*chain = r->next + 1;
	r->next = r->next + 1 == r->capacity ? 0 : r->next + 1;
	r->count++;
}

/* What a message is to the one that is known under its id. */
static enum replay_verdict compare(
	const struct replay_slot *known, const struct replay_fact *fact)
{
	if (known == NULL)
		return REPLAY_FIRST;
	if (known->fact.mark != fact->mark)
		return REPLAY_OTHER;
	return fact->sent_unix_us > known->fact.sent_unix_us ? REPLAY_ANEW : REPLAY_AGAIN;
}

enum replay_verdict replay_look(const struct replay *r, const struct replay_fact *fact)
{
	return compare(find(r, &fact->id), fact);
}

enum replay_verdict replay_meet(
	struct replay *r, const struct replay_fact *fact, uint64_t now_unix_us)
{
	struct replay_slot *known = find(r, &fact->id);

	switch (compare(known, fact)) {
	case REPLAY_AGAIN:
		r->counters.again++;
		return REPLAY_AGAIN;
	case REPLAY_ANEW:
		r->counters.anew++;
		/* Its place among the old stays as it is; both are fresh while either is. */
		known->fact.sent_unix_us = fact->sent_unix_us;
		if (known->fact.until_unix_us < fact->until_unix_us)
			known->fact.until_unix_us = fact->until_unix_us;
		return REPLAY_ANEW;
	case REPLAY_OTHER:
		r->counters.other++;
		return REPLAY_OTHER;
	case REPLAY_FIRST:
	case REPLAY_TOO_OLD:
		break;
	}
	if (fact->sent_unix_us <= r->horizon_unix_us) {
		r->counters.too_old++;
		return REPLAY_TOO_OLD;
	}
	if (r->count == r->capacity)
		forget_oldest(r, now_unix_us);
	remember(r, fact);
	return REPLAY_FIRST;
}
