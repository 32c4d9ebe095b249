#include "fault/faultvfs.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "lib/must.h"
#include "unit/random.h"

/* One change that was not synced yet: how to take it back, and how to do it again. */
struct change {
	struct node node;
	sqlite3_int64 size_before;
	sqlite3_int64 at;
	int len;          /* of both; a truncate writes nothing */
	int old_len;      /* bytes there were at this place */
	char *old;        /* owned; old_len bytes */
	char *new;        /* owned; len bytes */
	bool is_truncate; /* to `at` */
};

struct file {
	sqlite3_file base;
	struct node all; /* open ones */
	struct node changes;
	sqlite3_file *real; /* behind this struct */
};

struct faultvfs faultvfs = { .countdown = -1, .random = 1 };

static sqlite3_vfs *system_vfs;
static struct node open_files = { .next = &open_files, .prev = &open_files };

enum { FULL_LASTS = 5 };

const char *faultvfs_kind_text(enum faultvfs_kind kind)
{
	static const char *const texts[] = { "input/output error", "torn write", "full disk",
		"sync forgets", "power cut" };

	return kind < FAULTVFS_NKINDS ? texts[kind] : "?";
}

void faultvfs_arm(enum faultvfs_kind kind, long n)
{
	faultvfs = (struct faultvfs){
		.kind = kind, .countdown = n, .random = 0x9e3779b97f4a7c15 + (uint64_t)n
	};
}

void faultvfs_disarm(void)
{
	bool has_fired = faultvfs.has_fired;
	long calls = faultvfs.calls;

	faultvfs = (struct faultvfs){
		.countdown = -1, .has_fired = has_fired, .calls = calls, .random = 1
	};
}

/* ---- what was not synced ---- */

static struct file *file_of(sqlite3_file *base)
{
	return container_of(base, struct file, base);
}

static void change_free(struct change *c)
{
	list_drop(&c->node);
	free(c->old);
	free(c->new);
	free(c);
}

static void forget_changes(struct file *f)
{
	while (!list_empty(&f->changes))
		change_free(container_of(f->changes.next, struct change, node));
}

static sqlite3_int64 size_of(struct file *f)
{
	sqlite3_int64 size = 0;

	if (f->real->pMethods->xFileSize(f->real, &size) != SQLITE_OK)
		must_fail("faultvfs: size");
	return size;
}

static char *copy_old(struct file *f, sqlite3_int64 at, int len)
{
	char *old = malloc((size_t)len + 1);

	if (old == NULL ||
		(len > 0 && f->real->pMethods->xRead(f->real, old, len, at) != SQLITE_OK))
		must_fail("faultvfs: reading back");
	return old;
}

static struct change *note_change(struct file *f, sqlite3_int64 at, int len)
{
	struct change *c = calloc(1, sizeof(*c));

	if (c == NULL)
		must_fail("faultvfs: out of memory");
	c->size_before = size_of(f);
	c->at = at;
	c->len = len;
	if (at < c->size_before)
		c->old_len = (int)(c->size_before - at);
	list_append(&f->changes, &c->node);
	return c;
}

static void note_write(struct file *f, const void *bytes, int len, sqlite3_int64 at)
{
	struct change *c = note_change(f, at, len);

	if (c->old_len > len)
		c->old_len = len;
	c->old = copy_old(f, at, c->old_len);
	c->new = malloc((size_t)len + 1);
	if (c->new == NULL)
		must_fail("faultvfs: out of memory");
	memcpy(c->new, bytes, (size_t)len);
}

static void note_truncate(struct file *f, sqlite3_int64 size)
{
	struct change *c = note_change(f, size, 0);

	c->is_truncate = true;
	c->old = copy_old(f, size, c->old_len);
}

static void must_real(int code)
{
	if (code != SQLITE_OK)
		must_fail("faultvfs: the disk below failed: %d", code);
}

static void take_back(struct file *f, const struct change *c)
{
	if (size_of(f) > c->size_before)
		must_real(f->real->pMethods->xTruncate(f->real, c->size_before));
	if (c->old_len > 0)
		must_real(f->real->pMethods->xWrite(f->real, c->old, c->old_len, c->at));
}

static void do_again(struct file *f, const struct change *c)
{
	if (c->is_truncate)
		must_real(f->real->pMethods->xTruncate(f->real, c->at));
	else
		must_real(f->real->pMethods->xWrite(f->real, c->new, c->len, c->at));
}

enum survivors { NONE_SURVIVES = 0, SOME_SURVIVE };

/* A disk may have written any of them, in any order, before the power went. */
static void lose_changes(struct file *f, enum survivors survivors)
{
	for (struct node *n = f->changes.prev; n != &f->changes; n = n->prev)
		take_back(f, container_of(n, struct change, node));
	list_each (n, &f->changes) {
		if (survivors == SOME_SURVIVE && next_random(&faultvfs.random) % 2 == 0)
			do_again(f, container_of(n, struct change, node));
	}
	forget_changes(f);
}

static void cut_power(void)
{
	list_each (n, &open_files)
		lose_changes(container_of(n, struct file, all), SOME_SURVIVE);
	faultvfs.is_off = true;
}

/* ---- when to fail ---- */

/* Is it this call's turn? */
static bool is_due(void)
{
	faultvfs.calls++;
	if (faultvfs.is_off)
		return true;
	if (faultvfs.full_left > 0) {
		faultvfs.full_left--;
		return true;
	}
	if (faultvfs.countdown < 0 || faultvfs.countdown-- > 0)
		return false;
	faultvfs.has_fired = true;
	if (faultvfs.kind == FAULTVFS_FULL)
		faultvfs.full_left = FULL_LASTS;
	if (faultvfs.kind == FAULTVFS_POWER_CUT)
		cut_power();
	return true;
}

static int error_of(int code)
{
	return faultvfs.kind == FAULTVFS_FULL ? SQLITE_FULL : code;
}

/* ---- the methods ---- */

static int on_close(sqlite3_file *base)
{
	struct file *f = file_of(base);

	forget_changes(f);
	list_drop(&f->all);
	return f->real->pMethods->xClose(f->real);
}

static int on_read(sqlite3_file *base, void *to, int len, sqlite3_int64 at)
{
	struct file *f = file_of(base);

	return faultvfs.is_off ? SQLITE_IOERR_READ
			       : f->real->pMethods->xRead(f->real, to, len, at);
}

static int on_write(sqlite3_file *base, const void *bytes, int len, sqlite3_int64 at)
{
	struct file *f = file_of(base);
	bool fails = is_due();

	if (fails && faultvfs.kind == FAULTVFS_TORN) {
		note_write(f, bytes, len / 2, at);
		must_real(f->real->pMethods->xWrite(f->real, bytes, len / 2, at));
	}
	if (fails)
		return error_of(SQLITE_IOERR_WRITE);
	note_write(f, bytes, len, at);
	return f->real->pMethods->xWrite(f->real, bytes, len, at);
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct file *f = file_of(base);

	if (is_due())
		return error_of(SQLITE_IOERR_TRUNCATE);
	if (size < size_of(f))
		note_truncate(f, size);
	return f->real->pMethods->xTruncate(f->real, size);
}

static int on_sync(sqlite3_file *base, int flags)
{
	struct file *f = file_of(base);

	if (is_due() && faultvfs.kind != FAULTVFS_FULL) {
		if (faultvfs.kind == FAULTVFS_SYNC_FORGETS)
			lose_changes(f, NONE_SURVIVES);
		return SQLITE_IOERR_FSYNC;
	}
	(void)flags; /* the machine stays up: what the real disk does is not the question */
	forget_changes(f);
	return SQLITE_OK;
}

static int on_size(sqlite3_file *base, sqlite3_int64 *size)
{
	struct file *f = file_of(base);

	return f->real->pMethods->xFileSize(f->real, size);
}

static int on_lock(sqlite3_file *base, int level)
{
	struct file *f = file_of(base);

	return f->real->pMethods->xLock(f->real, level);
}

static int on_unlock(sqlite3_file *base, int level)
{
	struct file *f = file_of(base);

	return f->real->pMethods->xUnlock(f->real, level);
}

static int on_check_lock(sqlite3_file *base, int *out)
{
	struct file *f = file_of(base);

	return f->real->pMethods->xCheckReservedLock(f->real, out);
}

static int on_control(sqlite3_file *base, int op, void *arg)
{
	struct file *f = file_of(base);

	return f->real->pMethods->xFileControl(f->real, op, arg);
}

static int on_sector(sqlite3_file *base)
{
	struct file *f = file_of(base);

	return f->real->pMethods->xSectorSize(f->real);
}

static int on_traits(sqlite3_file *base)
{
	struct file *f = file_of(base);

	return f->real->pMethods->xDeviceCharacteristics(f->real);
}

/* Version 1: a file that is ours alone needs no shared memory. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = on_close,
	.xRead = on_read,
	.xWrite = on_write,
	.xTruncate = on_truncate,
	.xSync = on_sync,
	.xFileSize = on_size,
	.xLock = on_lock,
	.xUnlock = on_unlock,
	.xCheckReservedLock = on_check_lock,
	.xFileControl = on_control,
	.xSectorSize = on_sector,
	.xDeviceCharacteristics = on_traits,
};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out)
{
	struct file *f = file_of(base);

	(void)vfs;
	f->base.pMethods = NULL;
	if (is_due())
		return faultvfs.kind == FAULTVFS_FULL ? SQLITE_FULL : SQLITE_CANTOPEN;
	f->real = (sqlite3_file *)(f + 1);
	int code = system_vfs->xOpen(system_vfs, name, f->real, flags, out);

	if (code != SQLITE_OK)
		return code;
	list_init(&f->changes);
	list_append(&open_files, &f->all);
	f->base.pMethods = &methods;
	return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
	(void)vfs;
	if (is_due())
		return error_of(SQLITE_IOERR_DELETE);
	return system_vfs->xDelete(system_vfs, name, sync_folder);
}

void faultvfs_install(void)
{
	static sqlite3_vfs vfs;

	if (system_vfs != NULL)
		return;
	system_vfs = sqlite3_vfs_find(NULL);
	if (system_vfs == NULL)
		must_fail("faultvfs: no VFS below");
	vfs = *system_vfs;
	vfs.pNext = NULL;
	vfs.zName = FAULTVFS_NAME;
	vfs.szOsFile = (int)sizeof(struct file) + system_vfs->szOsFile;
	vfs.xOpen = on_open;
	vfs.xDelete = on_delete;
	if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
		must_fail("faultvfs: cannot be registered");
}
