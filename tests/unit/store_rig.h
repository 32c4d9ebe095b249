/* store_rig.h - a store in a folder of its own, for the tests of its rooms.
 *
 * rig_… functions end the test when they cannot do what they are called.
 * Layer: tests. Uses: store, testlib, sqlite3. */
#ifndef SALLYPORT_TESTS_UNIT_STORE_RIG_H
#define SALLYPORT_TESTS_UNIT_STORE_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "store/db.h"
#include "store/idem.h"
#include "store/inbox.h"
#include "store/outbox.h"
#include "store/schema.h"
#include "store/sent.h"

#define RIG_NOW_MS UINT64_C(1780000000000)

struct rig {
	char folder[64];
	char path[128]; /* of the file, in the folder */
	const char *vfs;
	enum db_when_damaged when_damaged;
	struct db db;
	struct sent sent;
	struct idem idem;
	struct outbox outbox;
	struct inbox inbox;
};

/* A new folder, nothing in it; log lines go to a file there. */
void rig_make(struct rig *r);

/* Closes what is open, removes the folder. */
void rig_end(struct rig *r);

/* Opens the file and its rooms; on any error all is closed again. */
WARN_UNUSED enum err rig_try_open(struct rig *r);
void rig_open(struct rig *r);
void rig_close(struct rig *r);
void rig_reopen(struct rig *r);

/* Has the log a line with this text? */
bool rig_log_has(const struct rig *r, const char *text);

/* How many names in the folder begin so? */
unsigned rig_count_files(const struct rig *r, const char *beginning);

/* One number, by SQL, on the open file. */
int64_t rig_number(struct rig *r, const char *sql);

/* The n-th message: the same for the same n. No ttl. */
struct message rig_message(uint64_t n);
struct digest rig_digest(uint64_t n);

extern const struct outbox_limits rig_no_limits;

/* Adds the n-th message to the outbox, in a transaction of its own. */
WARN_UNUSED enum err rig_add(struct rig *r, uint64_t n, struct outbox_added *out);
void rig_must_add(struct rig *r, uint64_t n);

/* Everything that must be true of a file at any time: its structure, and the counts. */
void rig_check(struct rig *r);

#endif
