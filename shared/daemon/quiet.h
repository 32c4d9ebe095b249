/* quiet.h - may a line be written about something that a peer can cause as often as it likes?
 *
 * hush.h with a clock, and a line `event=unsaid` once a minute that sums up what was left out.
 * Layer: daemon. Uses: base, loop. Thread: the loop's. */
#ifndef SALLYPORT_DAEMON_QUIET_H
#define SALLYPORT_DAEMON_QUIET_H

#include "base/hush.h"
#include "loop/timer.h"

struct quiet {
	const char *host; /* of the web host that it is about; borrowed */
	struct hush hush;
	struct timer unsaid; /* set while lines were left out */
};

void quiet_init(struct quiet *q, struct loop *l, const char *host);

/* A zeroed one is fine. */
void quiet_fini(struct quiet *q);

/* If not, it is counted, and summed up later. Takes: cause has static storage. */
bool quiet_may_log(struct quiet *q, const char *cause);

/* Writes what would be written after the minute, now. */
void quiet_sum_up(struct quiet *q);

#endif
