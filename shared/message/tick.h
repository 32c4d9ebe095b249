/* tick.h - the id of one tick of a schedule: the same on every node, whenever it is asked for.
 *
 * A node that takes over and fires a tick once more sends it under the id that it had, and the
 * inbox drops the copy (I3).
 * Layer: message. Uses: base, digest. Thread: any. */
#ifndef SALLYPORT_MESSAGE_TICK_H
#define SALLYPORT_MESSAGE_TICK_H

#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/macro.h"
#include "base/span.h"

/* A version 7 UUID like all message ids: the tick's own time in front, and in place of what is
 * random there, the beginning of the SHA-256 over the schedule's name and that time.
 *
 * Takes:   schedule is the name of the operation.
 * Returns: ERR_OK; ERR_INPUT: a tick before 1970 or more than 48 bits of milliseconds after it;
 *          ERR_NOMEM. */
WARN_UNUSED enum err tick_id(struct span schedule, int64_t tick_unix_s, struct id *out);

#endif
