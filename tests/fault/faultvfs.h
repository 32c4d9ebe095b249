/* faultvfs.h - a disk under SQLite that fails when it is told to: the n-th write, sync,
 * truncate, open or delete.
 *
 * Everything goes through to the system's VFS, and is counted. What was written and not yet
 * synced is remembered, so that a sync can forget it and the power can be cut.
 * Layer: tests. Uses: base, sqlite3. Thread: one. */
#ifndef SALLYPORT_TESTS_FAULT_FAULTVFS_H
#define SALLYPORT_TESTS_FAULT_FAULTVFS_H

#include <stdbool.h>
#include <stdint.h>

#define FAULTVFS_NAME "fault"

enum faultvfs_kind {
	FAULTVFS_EIO = 0,      /* the call fails and does nothing */
	FAULTVFS_TORN,         /* a write is done by half, then fails; other calls as EIO */
	FAULTVFS_FULL,         /* no space, for this call and the next few; syncs are well */
	FAULTVFS_SYNC_FORGETS, /* a sync fails, and what it should have made durable is lost */
	FAULTVFS_POWER_CUT,    /* some of what was not synced is lost; no later call works */
	FAULTVFS_NKINDS,
};

struct faultvfs {
	enum faultvfs_kind kind;
	long countdown; /* calls that are still well; below 0: never */
	long calls;     /* so far */
	bool has_fired;
	bool is_off; /* power: nothing works any more */
	int full_left;
	uint64_t random; /* not 0 */
};

extern struct faultvfs faultvfs;

/* Registers the VFS, once. */
void faultvfs_install(void);

/* The n-th call from now on (0: the next one) fails in this way. */
void faultvfs_arm(enum faultvfs_kind kind, long n);

/* All is well again. */
void faultvfs_disarm(void);

const char *faultvfs_kind_text(enum faultvfs_kind kind);

#endif
