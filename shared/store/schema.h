/* schema.h - the tables of agent.db and node.db, and how files of earlier versions become such.
 *
 * Both daemons have the same tables: what an outbox is does not depend on the realm.
 * Layer: store. Uses: db. */
#ifndef SALLYPORT_STORE_SCHEMA_H
#define SALLYPORT_STORE_SCHEMA_H

#include "store/db.h"

extern const struct db_schema schema_messages;

/* What the table `tally` counts: rows and bytes by kind and host, kept exact by triggers, in
 * the transaction that changes them. */
enum schema_tally {
	TALLY_PENDING = 0, /* outbox rows under way; equal to outbox.state */
	TALLY_PARKED,
	TALLY_SENT,  /* remembered outcomes of our own messages; host '' */
	TALLY_INBOX, /* remembered outcomes of others' messages; host '' */
	TALLY_IDEM,  /* remembered idempotency keys; host '' */
};

#endif
