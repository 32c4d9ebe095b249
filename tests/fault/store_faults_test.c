/* The n-th call of the disk, or of the memory, fails; n = 0, 1, 2 … until a life no longer
 * meets it. Then the store is opened on a disk that is well: what was told is there, the rest
 * is there or not, whole. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault/faultvfs.h"
#include "fault/story.h"
#include "lib/must.h"
#include "unit/unit.h"

enum { SWEEP_MAX = 100000 };

static struct rig rig;
static struct story story;

static void setup(void)
{
	must_enter_test();
	/* What this disk does is decided here: the one below need not be slow. */
	if (access("/dev/shm", W_OK | X_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 0);
	faultvfs_install();
}

static void check_after(const char *what, long n)
{
	rig.vfs = NULL;
	enum err err = rig_try_open(&rig);

	if (err != ERR_OK)
		must_fail("%s at %ld: cannot be opened: %s", what, n, err_text(err));
	story_check(&story, what, n);
	rig_must_add(&rig, 1000); /* and it works */
	rig_end(&rig);
}

/* ---- the disk ---- */

static bool disk_fails_at(enum faultvfs_kind kind, long n)
{
	rig_make(&rig);
	rig.vfs = FAULTVFS_NAME;
	faultvfs_arm(kind, n);
	story_live(&story, &rig);
	faultvfs_disarm();
	bool has_fired = faultvfs.has_fired;

	if (!has_fired && story.failures != 0)
		must_fail("%u failures without a fault", story.failures);
	check_after(faultvfs_kind_text(kind), n);
	return has_fired;
}

START_TEST(before_or_after_whatever_call_of_the_disk_fails)
{
	enum faultvfs_kind kind = (enum faultvfs_kind)_i;
	long n = 0;

	while (n < SWEEP_MAX && disk_fails_at(kind, n))
		n++;
	ck_assert_int_gt(n, 50);
	printf("%s: %ld calls\n", faultvfs_kind_text(kind), n);
}
END_TEST

START_TEST(an_io_error_ends_all_writing_until_the_next_start)
{
	struct outbox_added added;

	rig_make(&rig);
	rig.vfs = FAULTVFS_NAME;
	faultvfs_disarm();
	rig_open(&rig);
	rig_must_add(&rig, 1);
	faultvfs_arm(FAULTVFS_SYNC_FORGETS, 0);
	/* The next call is a write, which this fault lets fail too; so go on until a sync has
	 * failed. */
	ck_assert_int_eq(rig_add(&rig, 2, &added), ERR_IO);
	faultvfs_disarm();
	ck_assert_int_eq(rig.db.sick, ERR_IO);
	ck_assert_int_eq(rig_add(&rig, 3, &added), ERR_IO); /* even on a good disk (I6) */
	ck_assert(rig_log_has(&rig, "event=sick"));
	rig_reopen(&rig);
	rig_must_add(&rig, 3);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox WHERE seq = 1"), 1);
	rig_check(&rig);
	rig_end(&rig);
}
END_TEST

START_TEST(a_full_disk_heals_when_there_is_space)
{
	struct outbox_added added;

	rig_make(&rig);
	rig.vfs = FAULTVFS_NAME;
	faultvfs_disarm();
	rig_open(&rig);
	rig_must_add(&rig, 1);
	faultvfs_arm(FAULTVFS_FULL, 0);
	ck_assert_int_eq(rig_add(&rig, 2, &added), ERR_SPACE);
	ck_assert_int_eq(rig_add(&rig, 2, &added), ERR_SPACE);
	faultvfs_disarm();
	ck_assert_int_eq(rig.db.sick, ERR_OK);
	ck_assert(rig_log_has(&rig, "event=disk-full"));
	rig_must_add(&rig, 2);
	rig_reopen(&rig);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox"), 2);
	rig_check(&rig);
	rig_end(&rig);
}
END_TEST

static bool fits(uint64_t n)
{
	struct outbox_added added;
	enum err err = rig_add(&rig, n, &added);

	(void)!db_tidy(&rig.db);
	if (err != ERR_OK && err != ERR_SPACE)
		must_fail("message %llu: %s", (unsigned long long)n, err_text(err));
	return err == ERR_OK;
}

/* Where we may mount one: a disk of a megabyte. The store shares it with somebody's other file. */
START_TEST(a_disk_that_is_really_full_refuses_and_heals)
{
	char folder[96];
	char other[128];
	struct outbox_range some = { .lo = 1, .hi = 10 };
	struct outbox_end end = { .reason = span_of(""), .now_unix_ms = RIG_NOW_MS };
	uint64_t removed;
	uint64_t n = 0;

	rig_make(&rig);
	must_format(folder, sizeof(folder), "%s/disk", rig.folder);
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	/* Nobody else sees it, and it is gone with this process. */
	if (unshare(CLONE_NEWNS) != 0 ||
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		mount("tmpfs", folder, "tmpfs", 0, "size=1m,mode=0700") != 0) {
		printf("a full disk: not tried, no file system may be mounted here\n");
		rig_end(&rig);
		return;
	}
	must_format(rig.path, sizeof(rig.path), "%s/agent.db", folder);
	must_format(other, sizeof(other), "%s/other", folder);
	rig_open(&rig);
	char *filling = calloc(1, 300000);

	ck_assert_ptr_nonnull(filling);
	memset(filling, 'x', 299999);
	must_write_file(other, 0600, filling);
	free(filling);
	for (int refusals = 0; refusals < 20;) {
		if (fits(n))
			n++;
		else
			refusals++;
	}
	ck_assert_uint_gt(n, 20);
	ck_assert_int_eq(rig.db.sick, ERR_OK);
	ck_assert_int_eq(unlink(other), 0);
	rig_must_add(&rig, n); /* at once */
	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
	ck_assert_int_eq(
		outbox_remove(&rig.outbox, span_of(""), &some, 1, &end, &removed), ERR_OK);
	ck_assert_int_eq(db_commit(&rig.db), ERR_OK);
	rig_reopen(&rig);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox"), (int64_t)n + 1 - 10);
	rig_check(&rig);
	rig_close(&rig);
	ck_assert_int_eq(umount2(folder, MNT_DETACH), 0);
	rig_end(&rig);
}
END_TEST

/* The broken build: told before it was durable. The sweep must find it. */
START_TEST(a_store_that_does_not_wait_for_the_disk_is_caught)
{
	long losses = 0;

	for (long n = 0; n < 400; n++) {
		struct outbox_added added;
		bool was_told[20] = { false };

		rig_make(&rig);
		rig.vfs = FAULTVFS_NAME;
		faultvfs_disarm();
		rig_open(&rig);
		ck_assert_int_eq(sqlite3_exec(rig.db.sql, "PRAGMA synchronous = NORMAL", NULL,
					 NULL, NULL),
			SQLITE_OK);
		faultvfs_arm(FAULTVFS_POWER_CUT, n);
		for (uint64_t i = 0; i < 20; i++)
			was_told[i] = rig_add(&rig, i, &added) == ERR_OK;
		bool has_fired = faultvfs.has_fired;

		rig_close(&rig);
		faultvfs_disarm();
		rig.vfs = NULL;
		rig_open(&rig);
		for (uint64_t i = 0; i < 20; i++) {
			struct id id = rig_message(i).id;
			struct outbox_row *row;
			enum err err = outbox_look(&rig.outbox, span_of(""), &id, &row);

			losses += was_told[i] && err == ERR_NOT_FOUND ? 1 : 0;
			if (err == ERR_OK)
				outbox_row_free(row);
		}
		rig_end(&rig);
		if (!has_fired)
			break;
	}
	ck_assert_int_gt(losses, 0);
}
END_TEST

/* ---- the memory ---- */

static sqlite3_mem_methods real_memory;
static long allocations_left = -1; /* below 0: never fails */
static long allocations;
static bool memory_has_failed;

static bool memory_fails(void)
{
	allocations++;
	if (allocations_left < 0 || allocations_left-- > 0)
		return false;
	memory_has_failed = true;
	return true;
}

static void *failing_malloc(int size)
{
	return memory_fails() ? NULL : real_memory.xMalloc(size);
}

static void *failing_realloc(void *at, int size)
{
	return memory_fails() ? NULL : real_memory.xRealloc(at, size);
}

/* Our own, by the linker: --wrap=malloc. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static bool is_living;

void *__wrap_malloc(size_t size)
{
	return is_living && memory_fails() ? NULL : __real_malloc(size);
}

static void install_failing_memory(void)
{
	sqlite3_mem_methods failing;

	ck_assert_int_eq(sqlite3_shutdown(), SQLITE_OK);
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
	failing = real_memory;
	failing.xMalloc = failing_malloc;
	failing.xRealloc = failing_realloc;
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
	/* Every allocation counts, not only those that the lookaside has no room for. */
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
	ck_assert_int_eq(sqlite3_initialize(), SQLITE_OK);
}

static bool memory_fails_at(long n)
{
	rig_make(&rig);
	memory_has_failed = false;
	allocations = 0;
	allocations_left = n;
	is_living = true;
	story_live(&story, &rig);
	is_living = false;
	allocations_left = -1;
	if (!memory_has_failed && story.failures != 0)
		must_fail("%u failures without a fault", story.failures);
	bool has_failed = memory_has_failed;

	check_after("out of memory", n);
	return has_failed;
}

START_TEST(before_or_after_whatever_allocation_fails)
{
	/* All of them with SALLYPORT_SWEEP=full; else one in so many. */
	const char *sweep = getenv("SALLYPORT_SWEEP");
	long stride = must_is_sanitized() ? 101 : 31;
	long n = 0;

	if (sweep != NULL && strcmp(sweep, "full") == 0)
		stride = 1;
	install_failing_memory();
	while (n < SWEEP_MAX && memory_fails_at(n))
		n += stride;
	ck_assert_int_gt(n, 500);
	printf("out of memory: %ld allocations, one in %ld\n", allocations, stride);
}
END_TEST

/* ---- calls of the system that are ours ---- */

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, int mode);

static long calls_left = -1;
static bool call_has_failed;

static bool call_fails(int error)
{
	if (!is_living || calls_left < 0 || calls_left-- > 0)
		return false;
	call_has_failed = true;
	errno = error;
	return true;
}

int __wrap_rename(const char *from, const char *to)
{
	return call_fails(EIO) ? -1 : __real_rename(from, to);
}

int __wrap_fsync(int fd)
{
	return call_fails(EIO) ? -1 : __real_fsync(fd);
}

int __wrap_flock(int fd, int how)
{
	return call_fails(EIO) ? -1 : __real_flock(fd, how);
}

int __wrap_open(const char *path, int flags, int mode)
{
	return call_fails(EMFILE) ? -1 : __real_open(path, flags, mode);
}

START_TEST(before_or_after_whatever_call_of_the_system_fails)
{
	bool has_failed = true;
	long n = 0;

	for (; has_failed && n < SWEEP_MAX; n++) {
		rig_make(&rig);
		call_has_failed = false;
		calls_left = n;
		is_living = true;
		story_live(&story, &rig);
		is_living = false;
		calls_left = -1;
		has_failed = call_has_failed;
		check_after("a call of the system", n);
	}
	ck_assert_int_gt(n, 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store_faults");
	TCase *tc = tcase_create("faults");

	tcase_set_timeout(tc, 1200);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(
		tc, before_or_after_whatever_call_of_the_disk_fails, 0, FAULTVFS_NKINDS);
	tcase_add_test(tc, an_io_error_ends_all_writing_until_the_next_start);
	tcase_add_test(tc, a_full_disk_heals_when_there_is_space);
	tcase_add_test(tc, a_disk_that_is_really_full_refuses_and_heals);
	tcase_add_test(tc, a_store_that_does_not_wait_for_the_disk_is_caught);
	tcase_add_test(tc, before_or_after_whatever_allocation_fails);
	tcase_add_test(tc, before_or_after_whatever_call_of_the_system_fails);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
