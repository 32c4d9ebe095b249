/* place.h - where a file of the store lies: a folder that is ours, a lock against a second
 * daemon, and the way a damaged file is put aside.
 *
 * Nothing here looks into the file beyond its first bytes; that is the business of db.h.
 * Layer: store. Uses: base, libc. Never: sqlite3. Thread: the owner's. */
#ifndef SALLYPORT_STORE_PLACE_H
#define SALLYPORT_STORE_PLACE_H

#include "base/err.h"
#include "base/macro.h"

enum { PLACE_PATH_MAX_BYTES = 1024 };

struct place {
	char path[PLACE_PATH_MAX_BYTES]; /* as it was given */
	char folder[PLACE_PATH_MAX_BYTES];
	const char *name; /* the last part of path */
	int lock_fd;      /* -1: not locked */
};

enum place_find {
	PLACE_EMPTY = 0, /* no file, and no trace of an earlier one */
	PLACE_FILE,      /* a regular file of ours that begins like a database */
	PLACE_DAMAGED,   /* a file that does not: cut off, or something else */
	PLACE_LOST,      /* no file, but traces: put aside before, or a log without its file */
};

/* Checks the folder and takes the lock: FILE.lock beside the file, with our pid in it. It is
 * held until place_close(), and gone with the process.
 *
 * Returns: ERR_OK; ERR_INPUT (a path that is too long or names no file); ERR_NOT_FOUND (no
 *          folder); ERR_REFUSED (the folder is not ours, or others may write to it); ERR_BUSY
 *          (another process has it); else the translated errno. Every refusal is one line of
 *          the log. place_close() in any case. */
WARN_UNUSED enum err place_open(struct place *p, const char *path);

/* Gives the lock back. One that is zeroed and was never opened is not fine: place_none(). */
void place_close(struct place *p);

/* A place that is not open. */
struct place place_none(void);

/* Looks what is there. The lock must be held.
 *
 * Returns: ERR_OK; ERR_REFUSED (no regular file, not ours, or others may read it; said in the
 *          log); else the translated errno. */
WARN_UNUSED enum err place_look(const struct place *p, enum place_find *out);

/* Renames the file and its -wal, -shm and -journal to FILE.damaged-TIME and the like; those
 * that are missing are left out. The file goes first: whatever interrupts this, the next
 * start finds no file that looks well.
 *
 * Returns: ERR_OK, what is aside being durable; else the translated errno. */
WARN_UNUSED enum err place_put_aside(const struct place *p);

/* Makes an empty file FILE.new for us alone, removing the leftovers of an earlier one; its
 * path in `path`, of PLACE_PATH_MAX_BYTES. */
WARN_UNUSED enum err place_begin_file(const struct place *p, char *path);

/* FILE.new becomes the file. Returns: ERR_OK, the name being durable; else the translated
 * errno. */
WARN_UNUSED enum err place_finish_file(const struct place *p);

#endif
