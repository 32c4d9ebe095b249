/* send.h - what becomes of a send: it is run until it succeeds, is refused, or its retries are
 * used up; then the broker's dead-letter queue has it.
 *
 * Its delivery is settled when its outcome is known, not before.
 * Layer: app-node. Uses: base, loop, job, outcome, seen, amqp (settling). Thread: the loop's. */
#ifndef SALLYPORT_NODE_SEND_H
#define SALLYPORT_NODE_SEND_H

#include "app-node/job.h"

/* The handler has answered, or failed: ends the job, or lets it rest until it is tried again. */
void send_finish(struct job *job);

/* Ends the job unsettled: the broker hands the message out again.
 * Takes: reason has static storage, one word for the log. */
void send_hand_back(struct job *job, const char *reason);

#endif
