/* envelope.h - the seals of one crossing, or of the inner vhost, as one of its ends uses them: what
 * goes out is wrapped, what comes in is unwrapped.
 *
 * Nothing crosses a border unsealed, in either direction; there is no mode without.
 * Layer: message. Uses: base, keyring, seal. Never: a clock, a socket. Thread: the owner's. */
#ifndef SALLYPORT_MESSAGE_ENVELOPE_H
#define SALLYPORT_MESSAGE_ENVELOPE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"
#include "message/keyring.h"
#include "message/message.h"
#include "message/seal.h"

/* Where we are. */
enum envelope_end {
	ENVELOPE_WEB = 0, /* FORAPP goes, FORWEB comes */
	ENVELOPE_APP,     /* the other way round */
	ENVELOPE_INNER, /* within the app realm: the same both ways; its crossing has no name */
};

struct envelope {
	struct seal *going;
	struct seal *coming;
	struct buf wrapped;   /* the last message that went */
	struct buf unwrapped; /* the last one that came */
};

/* Takes:   ring and crossing (the web host's name; empty for ENVELOPE_INNER) are copied.
 * Returns: ERR_OK; ERR_INPUT (crossing too long); ERR_NOMEM. envelope_fini() in any case. */
WARN_UNUSED enum err envelope_init(struct envelope *e, const struct keyring *ring,
	struct span crossing, enum envelope_end end);

/* From now on the keys are these. Returns: ERR_OK; ERR_NOMEM: one way may have them already. */
WARN_UNUSED enum err envelope_rekey(struct envelope *e, const struct keyring *ring);

/* Wipes the keys. A zeroed one is fine. */
void envelope_fini(struct envelope *e);

/* Seals m as it stands, so call it last: m->body is the envelope then, borrowed from e until
 * the next message is wrapped.
 *
 * Returns: ERR_OK; else m is as before: ERR_INPUT (too long), ERR_NOMEM. */
WARN_UNUSED enum err envelope_wrap(struct envelope *e, struct message *m);

/* The way back: m->body is what was sealed, borrowed from e until the next one is unwrapped.
 *
 * Returns: ERR_OK; else m is as before: ERR_UNSEALED; ERR_SEAL, whatever is wrong with it;
 *          ERR_NOMEM: nothing is known about it. */
WARN_UNUSED enum err envelope_unwrap(struct envelope *e, struct message *m);

#endif
