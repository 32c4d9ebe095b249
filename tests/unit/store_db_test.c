/* One SQLite file: settings, lock, versions, damage. Real files, a real second process. */
#include "store/db.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/must.h"
#include "unit/random.h"
#include "unit/store_rig.h"
#include "unit/unit.h"

static struct rig rig;

static void setup(void)
{
	must_enter_test();
	rig_make(&rig);
}

static void teardown(void)
{
	rig_end(&rig);
}

/* ---- settings ---- */

START_TEST(what_was_asked_of_sqlite_holds)
{
	struct stat about;

	rig_open(&rig);
	ck_assert_int_eq(
		rig_number(&rig, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA synchronous"), 2);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA application_id"), 0x53414c59);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA user_version"), schema_messages.step_count);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA page_size"), DB_PAGE_BYTES);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA wal_autocheckpoint"), 0);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA auto_vacuum"), 2);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA mmap_size"), 0);
	ck_assert_int_eq(stat(rig.path, &about), 0);
	ck_assert_int_eq(about.st_mode & 07777, 0600);
	rig_check(&rig);
}
END_TEST

START_TEST(a_file_survives_closing_and_leaves_only_itself_and_the_lock)
{
	rig_open(&rig);
	rig_must_add(&rig, 1);
	rig_reopen(&rig);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox"), 1);
	rig_close(&rig);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db"), 2);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db.lock"), 1);
	db_close(&rig.db); /* once more is fine */
}
END_TEST

START_TEST(each_opening_has_an_epoch_of_its_own)
{
	rig_open(&rig);
	uint64_t epoch = rig.db.epoch;

	ck_assert_uint_ne(epoch, 0);
	ck_assert_uint_le(epoch, INT64_MAX);
	rig_reopen(&rig);
	ck_assert_uint_ne(epoch, rig.db.epoch);
}
END_TEST

START_TEST(the_log_is_copied_into_the_file_when_it_is_long_and_begins_anew)
{
	char wal[160];
	struct stat about;
	uint64_t n = 0;

	rig_open(&rig);
	while (rig.db.log_pages < DB_CHECKPOINT_PAGES) {
		ck_assert_int_eq(db_tidy(&rig.db), ERR_OK);
		ck_assert_uint_eq(rig.db.counters.checkpoints, 0);
		for (int i = 0; i < 50; i++)
			rig_must_add(&rig, n++);
	}
	ck_assert_int_eq(db_tidy(&rig.db), ERR_OK);
	ck_assert_uint_eq(rig.db.counters.checkpoints, 1);
	must_format(wal, sizeof(wal), "%s-wal", rig.path);
	ck_assert_int_eq(stat(wal, &about), 0);
	off_t size = about.st_size;

	for (int i = 0; i < 50; i++)
		rig_must_add(&rig, n++);
	ck_assert_uint_lt(rig.db.log_pages, DB_CHECKPOINT_PAGES);
	ck_assert_int_eq(stat(wal, &about), 0);
	ck_assert_int_eq(about.st_size, size);
	rig_reopen(&rig);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox"), (int64_t)n);
	rig_check(&rig);
}
END_TEST

START_TEST(pages_that_are_free_are_given_back_in_small_steps)
{
	uint64_t left;

	rig_open(&rig);
	for (uint64_t n = 0; n < 500; n++)
		rig_must_add(&rig, n);
	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
	ck_assert_int_eq(
		sqlite3_exec(rig.db.sql, "DELETE FROM outbox", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(db_commit(&rig.db), ERR_OK);
	int64_t free_pages = rig_number(&rig, "PRAGMA freelist_count");
	int64_t pages = rig_number(&rig, "PRAGMA page_count");

	ck_assert_int_gt(free_pages, 30);
	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
	ck_assert_int_eq(db_shrink(&rig.db, 5, 10, &left), ERR_OK);
	ck_assert_int_eq(db_commit(&rig.db), ERR_OK);
	ck_assert_int_eq((int64_t)left, free_pages - 10);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA page_count"), pages - 10);
	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
	ck_assert_int_eq(db_shrink(&rig.db, 5, 100000, &left), ERR_OK);
	ck_assert_int_eq(db_commit(&rig.db), ERR_OK);
	ck_assert_uint_eq(left, 5);
	rig_check(&rig);
}
END_TEST

/* ---- whose it is ---- */

START_TEST(a_second_daemon_is_refused_and_told_who_has_it)
{
	struct rig other = rig;
	char line[64];

	rig_open(&rig);
	must_format(line, sizeof(line), "pid=%d", (int)getpid());
	ck_assert_int_eq(rig_try_open(&other), ERR_BUSY);
	ck_assert(rig_log_has(&rig, line));
	rig_must_add(&rig, 1);
}
END_TEST

START_TEST(another_process_is_refused_as_long_as_this_one_lives)
{
	int ready[2];
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		enum err err = rig_try_open(&rig);

		(void)!write(ready[1], err == ERR_OK ? "y" : "n", 1);
		(void)pause();
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'y');
	ck_assert_int_eq(rig_try_open(&rig), ERR_BUSY);
	char line[64];

	must_format(line, sizeof(line), "another process has it\" pid=%d", (int)child);
	ck_assert(rig_log_has(&rig, line));
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	rig_open(&rig); /* the lock is gone with it */
}
END_TEST

START_TEST(nobody_elses_lock_can_hold_up_a_commit)
{
	sqlite3 *reader;

	rig_open(&rig);
	rig_must_add(&rig, 1);
	ck_assert_int_eq(
		sqlite3_open_v2(rig.path, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(
		sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM outbox", NULL, NULL, NULL),
		SQLITE_BUSY);
	sqlite3_close(reader);
	rig_must_add(&rig, 2);
}
END_TEST

START_TEST(a_folder_that_others_may_write_to_is_refused)
{
	ck_assert_int_eq(chmod(rig.folder, 0770), 0);
	ck_assert_int_eq(rig_try_open(&rig), ERR_REFUSED);
	ck_assert(rig_log_has(&rig, "chmod go-w"));
	ck_assert_int_eq(chmod(rig.folder, 0755), 0);
	rig_open(&rig);
}
END_TEST

START_TEST(a_file_that_others_may_touch_is_refused)
{
	static const mode_t modes[] = { 0640, 0604, 0620, 0400, 0200 };

	rig_open(&rig);
	rig_close(&rig);
	for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
		ck_assert_int_eq(chmod(rig.path, modes[i]), 0);
		ck_assert_int_eq(rig_try_open(&rig), ERR_REFUSED);
	}
	ck_assert_int_eq(chmod(rig.path, 0600), 0);
	rig_open(&rig);
}
END_TEST

START_TEST(what_is_no_file_is_refused_and_left_alone)
{
	char other[160];

	ck_assert_int_eq(mkdir(rig.path, 0700), 0);
	ck_assert_int_eq(rig_try_open(&rig), ERR_REFUSED);
	ck_assert_int_eq(rmdir(rig.path), 0);
	must_format(other, sizeof(other), "%s/elsewhere", rig.folder);
	must_write_file(other, 0600, "");
	ck_assert_int_eq(symlink(other, rig.path), 0);
	ck_assert_int_eq(rig_try_open(&rig), ERR_REFUSED);
	ck_assert_int_eq(unlink(rig.path), 0);
	ck_assert_int_eq(mkfifo(rig.path, 0600), 0);
	ck_assert_int_eq(rig_try_open(&rig), ERR_REFUSED);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db.damaged"), 0);
}
END_TEST

START_TEST(paths_that_cannot_be_are_refused)
{
	struct db_options options = { .schema = &schema_messages };
	char longer[2000];
	struct db db;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(db_open(&db, longer, &options), ERR_INPUT);
	ck_assert_int_eq(db_open(&db, "", &options), ERR_INPUT);
	ck_assert_int_eq(db_open(&db, "/tmp/", &options), ERR_INPUT);
	ck_assert_int_eq(db_open(&db, "/nowhere/at/all/agent.db", &options), ERR_NOT_FOUND);
	db_close(&db);
}
END_TEST

/* ---- versions ---- */

static void write_with_sqlite(const char *sql)
{
	sqlite3 *other;

	ck_assert_int_eq(sqlite3_open(rig.path, &other), SQLITE_OK);
	ck_assert_int_eq(chmod(rig.path, 0600), 0);
	ck_assert_int_eq(sqlite3_exec(other, sql, NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
}

static void expect_untouched(enum err wanted)
{
	size_t len_before;
	size_t len_after;
	char *before = must_read_file(rig.path, &len_before);

	ck_assert_int_eq(rig_try_open(&rig), wanted);
	char *after = must_read_file(rig.path, &len_after);

	ck_assert_ptr_nonnull(after);
	ck_assert_uint_eq(len_before, len_after);
	ck_assert_mem_eq(before, after, len_before);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db.damaged"), 0);
	free(before);
	free(after);
}

START_TEST(a_file_of_a_later_version_is_refused_by_name_and_not_touched)
{
	rig_open(&rig);
	rig_must_add(&rig, 1);
	rig_close(&rig);
	write_with_sqlite("PRAGMA user_version = 99");
	rig.when_damaged = DB_START_FRESH; /* even then */
	expect_untouched(ERR_REFUSED);
	ck_assert(rig_log_has(&rig, "written by a later version: schema 99"));
}
END_TEST

START_TEST(somebody_elses_database_is_refused_and_not_touched)
{
	write_with_sqlite("CREATE TABLE theirs(x); PRAGMA user_version = 1");
	rig.when_damaged = DB_START_FRESH;
	expect_untouched(ERR_REFUSED);
	ck_assert(rig_log_has(&rig, "a database of something else"));
}
END_TEST

/* What the next version of this program would do with a file of today. */
static enum err open_with_steps(const char *const *steps, unsigned count)
{
	struct db_schema schema = { .application_id = schema_messages.application_id,
		.steps = steps,
		.step_count = count };
	struct db_options options = { .schema = &schema };

	return db_open(&rig.db, rig.path, &options);
}

START_TEST(an_older_file_climbs_step_by_step_and_keeps_its_rows)
{
	const char *const steps[] = { schema_messages.steps[0],
		"ALTER TABLE outbox ADD COLUMN due_ms INTEGER NOT NULL DEFAULT 0",
		"CREATE TABLE more(x); INSERT INTO more SELECT seq FROM outbox" };

	ck_assert_int_eq(open_with_steps(steps, 1), ERR_OK);
	rig_close(&rig);
	rig_open(&rig);
	for (uint64_t n = 1; n <= 3; n++)
		rig_must_add(&rig, n);
	rig_close(&rig);
	ck_assert_int_eq(open_with_steps(steps, 3), ERR_OK);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA user_version"), 3);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox WHERE due_ms = 0"), 3);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM more"), 3);
	rig_close(&rig);
	ck_assert_int_eq(rig_try_open(&rig), ERR_REFUSED); /* and today's cannot read it */
}
END_TEST

START_TEST(a_step_that_fails_leaves_the_version_before_it)
{
	const char *const steps[] = { schema_messages.steps[0], "CREATE TABLE good(x)",
		"CREATE TABLE bad(x); INSERT INTO nowhere VALUES (1)" };
	const char *const mended[] = { steps[0], steps[1], "CREATE TABLE bad(x)" };

	rig_open(&rig);
	rig_close(&rig);
	ck_assert_int_ne(open_with_steps(steps, 3), ERR_OK);
	ck_assert(rig_log_has(&rig, "event=schema-step-failed from=2"));
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db.damaged"), 0);
	ck_assert_int_eq(open_with_steps(mended, 3), ERR_OK);
	ck_assert_int_eq(rig_number(&rig, "PRAGMA user_version"), 3);
}
END_TEST

/* ---- damage ---- */

enum { ROWS = 300 };

static void make_rows(void)
{
	rig_open(&rig);
	for (uint64_t n = 0; n < ROWS; n++)
		rig_must_add(&rig, n);
	rig_close(&rig);
}

static void overwrite(off_t at, size_t count)
{
	char junk[4096];
	int fd = open(rig.path, O_WRONLY | O_CLOEXEC);

	memset(junk, 0xa5, sizeof(junk));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, junk, count, at), (ssize_t)count);
	close(fd);
}

/* Refused and put aside; refused again; begun anew where it was asked for. */
static void expect_put_aside(void)
{
	rig.when_damaged = DB_REFUSE_DAMAGED;
	ck_assert_int_eq(rig_try_open(&rig), ERR_DAMAGED);
	ck_assert_uint_ge(rig_count_files(&rig, "agent.db.damaged-"), 1);
	ck_assert_int_ne(access(rig.path, F_OK), 0);
	ck_assert(rig_log_has(&rig, "a fresh one is begun only when asked for"));
	ck_assert_int_eq(rig_try_open(&rig), ERR_DAMAGED);
	ck_assert_int_ne(access(rig.path, F_OK), 0);
	rig.when_damaged = DB_START_FRESH;
	rig_open(&rig);
	ck_assert(rig.db.has_made_fresh);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox"), 0);
	rig_must_add(&rig, 1);
	rig_close(&rig);
	rig.when_damaged = DB_REFUSE_DAMAGED;
	rig_open(&rig); /* what lies aside does not matter any more */
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox"), 1);
}

START_TEST(a_damaged_header_is_noticed)
{
	make_rows();
	overwrite(0, 16);
	expect_put_aside();
}
END_TEST

START_TEST(a_damaged_page_is_noticed)
{
	make_rows();
	overwrite(3 * DB_PAGE_BYTES, 64);
	expect_put_aside();
}
END_TEST

START_TEST(a_file_that_was_cut_off_is_noticed)
{
	make_rows();
	ck_assert_int_eq(truncate(rig.path, 5 * DB_PAGE_BYTES + 100), 0);
	expect_put_aside();
}
END_TEST

START_TEST(an_empty_file_is_never_ours)
{
	make_rows();
	ck_assert_int_eq(truncate(rig.path, 0), 0);
	expect_put_aside();
}
END_TEST

START_TEST(a_text_file_is_put_aside)
{
	must_write_file(rig.path, 0600, "Dear diary, today the database was away.\n");
	expect_put_aside();
}
END_TEST

START_TEST(a_log_without_its_file_is_put_aside)
{
	char wal[160];

	must_format(wal, sizeof(wal), "%s-wal", rig.path);
	must_write_file(wal, 0600, "what was in here?");
	expect_put_aside();
}
END_TEST

START_TEST(a_file_put_aside_keeps_its_log)
{
	/* A process that dies leaves both. */
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		rig_open(&rig);
		rig_must_add(&rig, 1);
		(void)kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db-wal"), 1);
	overwrite(0, 16);
	ck_assert_int_eq(rig_try_open(&rig), ERR_DAMAGED);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db.damaged-"), 2);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db-wal"), 0);
}
END_TEST

START_TEST(a_start_that_was_killed_while_making_the_file_is_begun_again)
{
	char path[160];

	must_format(path, sizeof(path), "%s.new", rig.path);
	must_write_file(path, 0600, "half a file");
	rig_open(&rig);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db.new"), 0);
}
END_TEST

START_TEST(bits_flipped_anywhere_never_crash_the_opening)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	size_t len;

	make_rows();
	char *bytes = must_read_file(rig.path, &len);

	rig.when_damaged = DB_REFUSE_DAMAGED;
	for (int round = 0; round < 150; round++) {
		int fd = open(rig.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
		for (int i = 0; i < 3; i++) {
			/* Half of them where the structure is densest. */
			size_t at = next_random(&state) % (i == 0 ? 200 : len);
			char byte = (char)(bytes[at] ^ (1 << next_random(&state) % 8));

			ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
		}
		close(fd);
		enum err err = rig_try_open(&rig);

		if (err == ERR_OK) {
			struct outbox_want all = {
				.through_seq = UINT64_MAX, .max_rows = 1000, .max_bytes = MIB(4)
			};
			struct node rows;

			/* Reading may find damage that the check at the start did not. */
			list_init(&rows);
			err = outbox_page(&rig.outbox, span_of(""), &all, &rows);
			outbox_rows_free(&rows);
		}
		rig_close(&rig);
		ck_assert(err == ERR_OK || err == ERR_DAMAGED || err == ERR_REFUSED);
	}
	free(bytes);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store_db");
	TCase *files = tcase_create("files");
	TCase *owners = tcase_create("owners");
	TCase *versions = tcase_create("versions");
	TCase *damage = tcase_create("damage");

	tcase_set_timeout(files, 60);
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_add_test(files, what_was_asked_of_sqlite_holds);
	tcase_add_test(files, a_file_survives_closing_and_leaves_only_itself_and_the_lock);
	tcase_add_test(files, each_opening_has_an_epoch_of_its_own);
	tcase_add_test(files, the_log_is_copied_into_the_file_when_it_is_long_and_begins_anew);
	tcase_add_test(files, pages_that_are_free_are_given_back_in_small_steps);
	suite_add_tcase(suite, files);

	tcase_set_timeout(owners, 30);
	tcase_add_checked_fixture(owners, setup, teardown);
	tcase_add_test(owners, a_second_daemon_is_refused_and_told_who_has_it);
	tcase_add_test(owners, another_process_is_refused_as_long_as_this_one_lives);
	tcase_add_test(owners, nobody_elses_lock_can_hold_up_a_commit);
	tcase_add_test(owners, a_folder_that_others_may_write_to_is_refused);
	tcase_add_test(owners, a_file_that_others_may_touch_is_refused);
	tcase_add_test(owners, what_is_no_file_is_refused_and_left_alone);
	tcase_add_test(owners, paths_that_cannot_be_are_refused);
	suite_add_tcase(suite, owners);

	tcase_set_timeout(versions, 30);
	tcase_add_checked_fixture(versions, setup, teardown);
	tcase_add_test(versions, a_file_of_a_later_version_is_refused_by_name_and_not_touched);
	tcase_add_test(versions, somebody_elses_database_is_refused_and_not_touched);
	tcase_add_test(versions, an_older_file_climbs_step_by_step_and_keeps_its_rows);
	tcase_add_test(versions, a_step_that_fails_leaves_the_version_before_it);
	suite_add_tcase(suite, versions);

	tcase_set_timeout(damage, 60);
	tcase_add_checked_fixture(damage, setup, teardown);
	tcase_add_test(damage, a_damaged_header_is_noticed);
	tcase_add_test(damage, a_damaged_page_is_noticed);
	tcase_add_test(damage, a_file_that_was_cut_off_is_noticed);
	tcase_add_test(damage, an_empty_file_is_never_ours);
	tcase_add_test(damage, a_text_file_is_put_aside);
	tcase_add_test(damage, a_log_without_its_file_is_put_aside);
	tcase_add_test(damage, a_file_put_aside_keeps_its_log);
	tcase_add_test(damage, a_start_that_was_killed_while_making_the_file_is_begun_again);
	tcase_add_test(damage, bits_flipped_anywhere_never_crash_the_opening);
	suite_add_tcase(suite, damage);
	return unit_run(suite);
}
