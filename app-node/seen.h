/* seen.h - which messages of one crossing this node has taken: so that a copy runs nothing once
 * more.
 *
 * A call is remembered when it is taken, as long as it could pass for fresh; a send when a handler
 * has done it, the last so many of them. What a send stands for that was not done may come again,
 * and must. It is the memory of this node alone, and ends with it. Why: docs/decisions/0012.
 * Pure. Layer: app-node. Uses: base, message. Never: a loop, a clock. Thread: the owner's. */
#ifndef SALLYPORT_NODE_SEEN_H
#define SALLYPORT_NODE_SEEN_H

#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "message/message.h"
#include "message/replay.h"

struct seen {
	struct replay calls;
	struct replay sends;
};

/* Takes:   capacity, of each lane, as replay_init().
 * Returns: ERR_OK, or ERR_NOMEM; seen_fini() in any case. */
WARN_UNUSED enum err seen_init(struct seen *s, uint32_t capacity);

/* A zeroed one is fine. */
void seen_fini(struct seen *s);

/* Judges a call that the guard has passed, and remembers it.
 *
 * Takes:   until_unix_us, from when on the guard refuses it for its age.
 * Returns: REPLAY_FIRST, REPLAY_ANEW: take it. REPLAY_AGAIN: a copy. REPLAY_OTHER: its id was
 *          used for other content. REPLAY_TOO_OLD: so many were sent since that it cannot be
 *          told. */
enum replay_verdict seen_call(
	struct seen *s, const struct message *m, uint64_t until_unix_us, uint64_t now_unix_us);

/* Judges a send that the guard has passed: REPLAY_FIRST, REPLAY_AGAIN (done before, whoever repeats
 * it) or REPLAY_OTHER. Remembers nothing. */
enum replay_verdict seen_send(const struct seen *s, const struct message *m);

/* A handler has done it. */
void seen_done(struct seen *s, const struct id *id, struct span op, struct span body);

#endif
