#include "message/envelope.h"

#include "base/bug.h"

enum { KEEP_BYTES = 16 * 1024 }; /* of memory, from one message to the next */

enum err envelope_init(struct envelope *e, const struct keyring *ring, struct span crossing,
	enum envelope_end end)
{
	static const enum seal_direction ways[][2] = {
		[ENVELOPE_WEB] = { SEAL_FORAPP, SEAL_FORWEB },
		[ENVELOPE_APP] = { SEAL_FORWEB, SEAL_FORAPP },
		[ENVELOPE_INNER] = { SEAL_INNER, SEAL_INNER },
	};

	BUG_ON(end == ENVELOPE_INNER && crossing.len > 0);
	*e = (struct envelope){ 0 };
	buf_init(&e->wrapped, SEAL_MAX_BYTES);
	buf_init(&e->unwrapped, MESSAGE_BODY_MAX_BYTES);
	enum err err = seal_create(ring, ways[end][0], crossing, &e->going);

	return err == ERR_OK ? seal_create(ring, ways[end][1], crossing, &e->coming) : err;
}

enum err envelope_rekey(struct envelope *e, const struct keyring *ring)
{
	/* Who sends must never use a key that he would not accept. */
	enum err err = seal_rekey(e->coming, ring);

	return err == ERR_OK ? seal_rekey(e->going, ring) : err;
}

void envelope_fini(struct envelope *e)
{
	seal_destroy(e->going);
	seal_destroy(e->coming);
	buf_fini(&e->wrapped);
	buf_fini(&e->unwrapped);
	*e = (struct envelope){ 0 };
}

enum err envelope_wrap(struct envelope *e, struct message *m)
{
	BUG_ON(m->is_sealed);
	buf_shrink(&e->wrapped, KEEP_BYTES);
	enum err err = seal_wrap(e->going, m, &e->wrapped);

	if (err != ERR_OK)
		return err;
	m->body = buf_span(&e->wrapped);
	m->is_sealed = true;
	return ERR_OK;
}

enum err envelope_unwrap(struct envelope *e, struct message *m)
{
	if (!m->is_sealed)
		return ERR_UNSEALED;
	buf_shrink(&e->unwrapped, KEEP_BYTES);
	enum err err = seal_open(e->coming, m, &e->unwrapped);

	if (err != ERR_OK)
		return err;
	m->body = buf_span(&e->unwrapped);
	m->is_sealed = false;
	return ERR_OK;
}
