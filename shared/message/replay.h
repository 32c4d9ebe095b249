/* replay.h - which messages of one crossing have been seen: a bounded memory that never forgets
 * in silence.
 *
 * It knows the last `capacity` messages that could still be taken for fresh. A message that
 * its age will have refused (until_unix_us) need not be known; one that had to go while it
 * could still come again raises the horizon, and whatever was sent up to there and is not
 * known counts as too old. So a replay never passes, however many messages there are; the
 * price of too small a memory is that messages which others have overtaken by far are refused.
 *
 * Facts come in, an answer goes out; what to do with a repeat is the caller's decision: the
 * broker may deliver twice, a sender may publish twice. The caller has refused before what was
 * sent in the future; the memory is per crossing, so that no host can fill another's.
 * Layer: message. Uses: base, libc (getrandom, once). Never: a clock. Thread: the owner's. */
#ifndef SALLYPORT_MESSAGE_REPLAY_H
#define SALLYPORT_MESSAGE_REPLAY_H

#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/macro.h"

enum { REPLAY_MAX_CAPACITY = 1 << 22 };

/* What is to be known of a message whose seal has held. */
struct replay_fact {
	struct id id;
	uint64_t mark; /* of its content: equal for the same, for example bytes of its tag */
	uint64_t sent_unix_us;
	uint64_t until_unix_us; /* later than this it is refused for its age */
};

enum replay_verdict {
	REPLAY_FIRST = 0, /* never seen; it is remembered now */
	REPLAY_AGAIN,     /* the same message once more: a copy */
	REPLAY_ANEW,      /* the same content, sent later: its sender repeats himself */
	REPLAY_OTHER,     /* its id was used for something else */
	REPLAY_TOO_OLD,   /* cannot be told: sent before what is remembered */
};

struct replay_counters {
	uint64_t again;
	uint64_t anew;
	uint64_t other;
	uint64_t too_old;
	uint64_t forgotten; /* while they could still come again: the memory is too small */
};

struct replay_slot;

struct replay {
	struct replay_slot *slots; /* owned; a ring in the order of arrival */
	uint32_t *heads;           /* owned; of the chains, by hash */
	uint32_t capacity;
	uint32_t count;
	uint32_t next;      /* where the next one goes; the oldest when the ring is full */
	unsigned head_bits; /* there are 2^head_bits chains */
	uint64_t mix[2];    /* random and odd: nobody can choose ids for one chain */
	uint64_t horizon_unix_us; /* unknown ones sent up to then are too old */
	struct replay_counters counters;
};

/* Takes:   capacity, 1..REPLAY_MAX_CAPACITY: messages per second, times the seconds that one
 *          stays fresh. horizon_unix_us: 0, or the moment before which nothing unknown is
 *          believed.
 * Returns: ERR_OK (about 56 bytes for each of capacity are allocated, no more ever);
 *          ERR_NOMEM. replay_fini() in any case. */
WARN_UNUSED enum err replay_init(struct replay *r, uint32_t capacity, uint64_t horizon_unix_us);

/* A zeroed one is fine. */
void replay_fini(struct replay *r);

/* Judges a message and remembers it: when it is the first, and when it was sent anew, so that
 * copies of either are known. */
enum replay_verdict replay_meet(
	struct replay *r, const struct replay_fact *fact, uint64_t now_unix_us);

/* What replay_meet() would say, but without the horizon; nothing is remembered or counted. */
enum replay_verdict replay_look(const struct replay *r, const struct replay_fact *fact);

#endif
