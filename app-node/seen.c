#include "app-node/seen.h"

/* FNV-1a: whoever made two contents of one mark would have the key, and could only have his own
 * message taken for a copy. */
static uint64_t add_bytes(uint64_t mark, struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		mark ^= (uint8_t)bytes.at[i];
		mark *= UINT64_C(0x100000001b3);
	}
	return mark;
}

/* An operation's name has no bytes above 127, so that it ends where this one stands. */
static uint64_t mark_of(struct span op, struct span body)
{
	uint64_t mark = add_bytes(UINT64_C(0xcbf29ce484222325), op);

	return add_bytes(add_bytes(mark, (struct span){ "\xff", 1 }), body);
}

enum err seen_init(struct seen *s, uint32_t capacity)
{
	*s = (struct seen){ 0 };
	enum err err = replay_init(&s->calls, capacity, 0);

	return err == ERR_OK ? replay_init(&s->sends, capacity, 0) : err;
}

void seen_fini(struct seen *s)
{
	replay_fini(&s->calls);
	replay_fini(&s->sends);
}

enum replay_verdict seen_call(
	struct seen *s, const struct message *m, uint64_t until_unix_us, uint64_t now_unix_us)
{
	struct replay_fact fact = {
		.id = m->id,
		.mark = mark_of(m->type, m->body),
		.sent_unix_us = m->sent_unix_us,
		.until_unix_us = until_unix_us,
	};

	return replay_meet(&s->calls, &fact, now_unix_us);
}

enum replay_verdict seen_send(const struct seen *s, const struct message *m)
{
	struct replay_fact fact = { .id = m->id, .mark = mark_of(m->type, m->body) };

	return replay_look(&s->sends, &fact);
}

void seen_done(struct seen *s, const struct id *id, struct span op, struct span body)
{
	/* No age refuses a send, and a full memory must not either: until 0, it may be forgotten,
	 * and no horizon rises over those that still wait. Sent 1, after that horizon. */
	struct replay_fact fact = {
		.id = *id,
		.mark = mark_of(op, body),
		.sent_unix_us = 1,
	};

	(void)replay_meet(&s->sends, &fact, 1);
}
