#include "store/db.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "store/query.h"

enum { ANSWER_MAX_BYTES = 256, LOG_LEFT_BYTES = 32 * 1024 * 1024 };

struct answer {
	char text[ANSWER_MAX_BYTES];
};

/* ---- errors ---- */

static bool is_no_space(struct db *db, int code)
{
	if ((code & 0xff) == SQLITE_FULL)
		return true;
	if (code != SQLITE_IOERR_WRITE && code != SQLITE_IOERR_TRUNCATE)
		return false;
	int number = sqlite3_system_errno(db->sql);

	return number == ENOSPC || number == EDQUOT;
}

static enum err err_from_sqlite(struct db *db, int code)
{
	if (is_no_space(db, code))
		return ERR_SPACE;
	if (code == SQLITE_IOERR_NOMEM)
		return ERR_NOMEM;
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return ERR_OK;
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_BUSY;
	case SQLITE_CONSTRAINT:
		return ERR_CONFLICT;
	case SQLITE_TOOBIG:
		return ERR_INPUT;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ERR_DAMAGED;
	case SQLITE_ERROR: /* our SQL is tried by the tests: the tables are not what we made */
	case SQLITE_SCHEMA:
		return ERR_REFUSED;
	default:
		return ERR_IO;
	}
}

static void log_failure(const struct db *db, const char *event, enum err err, int code)
{
	log_error("store=%s event=%s err=\"%s\" sqlite=%d detail=\"%s\" errno=%d",
		db->place.path, event, err_text(err), code,
		text_show(span_of(sqlite3_errmsg(db->sql))).at, sqlite3_system_errno(db->sql));
}

enum err db_error(struct db *db, int code)
{
	enum err err = err_from_sqlite(db, code);

	BUG_ON(code == SQLITE_MISUSE);
	if (err == ERR_OK || err == ERR_CONFLICT || err == ERR_INPUT)
		return err;
	db->counters.failures++;
	/* Where the log can be copied it begins anew, in the space that it has: some fit again. */
	if (err == ERR_SPACE)
		db->tidy_at_pages = 1;
	if (err == ERR_SPACE && !db->has_told_full) {
		db->has_told_full = true;
		log_failure(db, "disk-full", err, code);
	}
	if ((err == ERR_IO || err == ERR_DAMAGED || err == ERR_REFUSED) && db->sick == ERR_OK) {
		db->sick = err;
		log_failure(db, "sick", err, code);
	}
	return err;
}

/* ---- transactions ---- */

static const char *const statements[DB_NSTATEMENTS] = {
	[DB_BEGIN] = "BEGIN IMMEDIATE",
	[DB_COMMIT] = "COMMIT",
	[DB_ROLLBACK] = "ROLLBACK",
	[DB_SAVEPOINT] = "SAVEPOINT one",
	[DB_RELEASE] = "RELEASE one",
	[DB_ROLLBACK_TO] = "ROLLBACK TO one",
};

static enum err run(struct db *db, enum db_statement which)
{
	struct query q = query_of(db, db->statement[which]);

	return query_run(&q);
}

bool db_is_in_transaction(const struct db *db)
{
	return sqlite3_get_autocommit(db->sql) == 0;
}

enum err db_begin(struct db *db)
{
	BUG_ON(db_is_in_transaction(db));
	return db->sick != ERR_OK ? db->sick : run(db, DB_BEGIN);
}

enum err db_commit(struct db *db)
{
	BUG_ON(!db_is_in_transaction(db));
	enum err err = db->sick != ERR_OK ? db->sick : run(db, DB_COMMIT);

	if (err != ERR_OK)
		db_rollback(db);
	return err;
}

void db_rollback(struct db *db)
{
	if (!db_is_in_transaction(db))
		return;
	enum err err = run(db, DB_ROLLBACK);

	/* Out of memory in the middle of a way back: what is in memory cannot be believed. */
	if (err != ERR_OK && db_is_in_transaction(db) && db->sick == ERR_OK) {
		db->sick = ERR_IO;
		log_failure(db, "sick", err, sqlite3_errcode(db->sql));
	}
}

enum err db_savepoint(struct db *db)
{
	return run(db, DB_SAVEPOINT);
}

enum err db_release(struct db *db)
{
	return run(db, DB_RELEASE);
}

enum err db_rollback_to(struct db *db)
{
	enum err err = run(db, DB_ROLLBACK_TO);

	return err != ERR_OK ? err : run(db, DB_RELEASE);
}

/* ---- the log and the free pages ---- */

/* Called by sqlite3 after a commit that wrote. It replaces sqlite3's own copying of the log
 * into the file, which would make those wait who were committed, and hide its errors. */
static int on_logged(void *arg, sqlite3 *sql, const char *name, int pages)
{
	struct db *db = arg;

	(void)sql;
	(void)name;
	db->log_pages = (unsigned)pages;
	db->counters.commits++;
	db->has_told_full = false;
	return SQLITE_OK;
}

static enum err checkpoint(struct db *db, int mode)
{
	int code = sqlite3_wal_checkpoint_v2(db->sql, NULL, mode, NULL, NULL);

	if (code == SQLITE_OK) {
		db->counters.checkpoints++;
		db->log_pages = 0;
		db->tidy_at_pages = DB_CHECKPOINT_PAGES;
		return ERR_OK;
	}
	enum err err = db_error(db, code);

	/* Not at every commit again: the log may grow a little in between. */
	db->tidy_at_pages = db->log_pages + DB_CHECKPOINT_PAGES / 4;
	return err;
}

enum err db_tidy(struct db *db)
{
	if (db->sick != ERR_OK)
		return db->sick;
	if (db->log_pages < db->tidy_at_pages)
		return ERR_OK;
	return checkpoint(db, SQLITE_CHECKPOINT_PASSIVE);
}

/* ---- pragmas ---- */

static int on_answer(void *arg, int columns, char **values, char **names)
{
	struct answer *answer = arg;

	(void)names;
	if (columns > 0 && values[0] != NULL)
		(void)snprintf(answer->text, sizeof(answer->text), "%s", values[0]);
	return 0;
}

/* The last value that the SQL gives, as text; "" for none. */
static enum err ask(struct db *db, const char *sql, struct answer *out)
{
	*out = (struct answer){ 0 };
	int code = sqlite3_exec(db->sql, sql, on_answer, out, NULL);

	return code == SQLITE_OK ? ERR_OK : db_error(db, code);
}

static enum err tell(struct db *db, const char *sql)
{
	struct answer answer;

	return ask(db, sql, &answer);
}

static enum err ask_u64(struct db *db, const char *sql, uint64_t *out)
{
	struct answer answer;
	enum err err = ask(db, sql, &answer);

	if (err != ERR_OK)
		return err;
	return text_parse_u64(span_of(answer.text), out) == ERR_OK ? ERR_OK : ERR_DAMAGED;
}

enum err db_shrink(struct db *db, uint64_t keep, unsigned pages, uint64_t *left)
{
	char sql[64];
	enum err err = ask_u64(db, "PRAGMA freelist_count", left);

	if (err != ERR_OK || *left <= keep || pages == 0)
		return err;
	uint64_t spare = *left - keep;

	(void)snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%u)",
		spare < pages ? (unsigned)spare : pages);
	err = tell(db, sql);
	return err != ERR_OK ? err : ask_u64(db, "PRAGMA freelist_count", left);
}

/* ---- opening ---- */

static enum err refuse(const struct db *db, const char *reason)
{
	log_error("store=%s event=refused reason=\"%s\" err=\"%s\"", db->place.path, reason,
		err_text(ERR_REFUSED));
	return ERR_REFUSED;
}

static enum err must_hold(struct db *db, const char *sql, const char *wanted)
{
	struct answer answer;
	enum err err = ask(db, sql, &answer);

	if (err != ERR_OK || strcmp(answer.text, wanted) == 0)
		return err;
	log_error("store=%s event=refused reason=\"%s is '%s' instead of '%s'\" err=\"%s\"",
		db->place.path, sql, answer.text, wanted, err_text(ERR_REFUSED));
	return ERR_REFUSED;
}

static enum err open_sql(struct db *db, const char *path, const struct db_options *options)
{
	int code = sqlite3_open_v2(path, &db->sql,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
		options->vfs);

	if (code != SQLITE_OK)
		return db->sql == NULL ? ERR_NOMEM : db_error(db, code);
	(void)sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(db->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return must_hold(db, "PRAGMA locking_mode = EXCLUSIVE", "exclusive");
}

/* Without copying the log into the file: whatever this file is, it stays as it is. */
static void close_sql_untouched(struct db *db)
{
	if (db->sql == NULL)
		return;
	(void)sqlite3_db_config(db->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	query_forget(db->statement, DB_NSTATEMENTS);
	BUG_ON(sqlite3_close(db->sql) != SQLITE_OK);
	db->sql = NULL;
}

/* Whose file, of which version? Nothing was written to it so far. */
static enum err check_origin(
	struct db *db, const struct db_schema *schema, uint64_t *version_out)
{
	uint64_t id;
	enum err err = ask_u64(db, "PRAGMA application_id", &id);

	if (err == ERR_OK)
		err = ask_u64(db, "PRAGMA user_version", version_out);
	if (err != ERR_OK)
		return err;
	if (id != schema->application_id)
		return refuse(db, "it is a database of something else");
	if (*version_out <= schema->step_count)
		return ERR_OK;
	log_error("store=%s event=refused reason=\"it was written by a later version: "
		  "schema %llu, this program knows %u\" err=\"%s\"",
		db->place.path, (unsigned long long)*version_out, schema->step_count,
		err_text(ERR_REFUSED));
	return ERR_REFUSED;
}

static enum err configure(struct db *db, const struct db_options *options)
{
	size_t cache_bytes = options->cache_bytes == 0 ? DB_CACHE_BYTES : options->cache_bytes;
	char sql[256];

	(void)snprintf(sql, sizeof(sql),
		"PRAGMA cache_size = -%zu; PRAGMA journal_size_limit = %d;"
		"PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON",
		cache_bytes / 1024, LOG_LEFT_BYTES);
	enum err err = tell(db, sql);

	if (err == ERR_OK)
		err = must_hold(db, "PRAGMA journal_mode = WAL", "wal");
	if (err == ERR_OK)
		err = tell(db, "PRAGMA synchronous = FULL");
	/* Read back: a library built otherwise must not make promises in our name. */
	if (err == ERR_OK)
		err = must_hold(db, "PRAGMA journal_mode", "wal");
	if (err == ERR_OK)
		err = must_hold(db, "PRAGMA synchronous", "2");
	if (err == ERR_OK)
		err = must_hold(db, "PRAGMA locking_mode", "exclusive");
	sqlite3_wal_hook(db->sql, on_logged, db);
	db->tidy_at_pages = DB_CHECKPOINT_PAGES;
	return err;
}

static enum err check_pages(struct db *db)
{
	struct answer answer;
	enum err err = ask(db, "PRAGMA quick_check(1)", &answer);

	if (err != ERR_OK || strcmp(answer.text, "ok") == 0)
		return err;
	log_error("store=%s event=damaged detail=\"%s\"", db->place.path,
		text_show(span_of(answer.text)).at);
	return ERR_DAMAGED;
}

static enum err climb(struct db *db, const struct db_schema *schema, uint64_t version)
{
	char sql[64];
	enum err err = db_begin(db);

	if (err != ERR_OK)
		return err;
	(void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %llu",
		(unsigned long long)version + 1);
	err = tell(db, schema->steps[version]);
	if (err == ERR_OK)
		err = tell(db, sql);
	if (err == ERR_OK)
		return db_commit(db);
	db_rollback(db);
	return err;
}

static enum err bring_up_to_date(
	struct db *db, const struct db_schema *schema, uint64_t version)
{
	for (; version < schema->step_count; version++) {
		enum err err = climb(db, schema, version);

		if (err != ERR_OK) {
			log_error("store=%s event=schema-step-failed from=%llu err=\"%s\"",
				db->place.path, (unsigned long long)version, err_text(err));
			return err;
		}
		log_info("store=%s event=schema-step version=%llu", db->place.path,
			(unsigned long long)version + 1);
	}
	return ERR_OK;
}

static enum err open_file(struct db *db, const struct db_options *options)
{
	uint64_t version;
	enum err err = open_sql(db, db->place.path, options);

	if (err == ERR_OK)
		err = check_origin(db, options->schema, &version);
	if (err == ERR_OK)
		err = configure(db, options);
	if (err == ERR_OK)
		err = check_pages(db);
	if (err == ERR_OK)
		err = query_prepare(db, statements, DB_NSTATEMENTS, db->statement);
	if (err == ERR_OK)
		err = bring_up_to_date(db, options->schema, version);
	return err;
}

/* Beside its place and under another name: what has our name is whole, whatever interrupts
 * this. */
static enum err make_file(struct db *db, const struct db_options *options)
{
	char path[PLACE_PATH_MAX_BYTES];
	char sql[256];
	enum err err = place_begin_file(&db->place, path);

	if (err == ERR_OK)
		err = open_sql(db, path, options);
	(void)snprintf(sql, sizeof(sql),
		"PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL;"
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA application_id = "
		"%u",
		DB_PAGE_BYTES, options->schema->application_id);
	if (err == ERR_OK)
		err = tell(db, sql);
	if (err == ERR_OK)
		err = checkpoint(db, SQLITE_CHECKPOINT_TRUNCATE);
	if (err != ERR_OK) {
		close_sql_untouched(db);
		return err;
	}
	BUG_ON(sqlite3_close(db->sql) != SQLITE_OK);
	db->sql = NULL;
	return place_finish_file(&db->place);
}

static enum err begin_anew(struct db *db, const struct db_options *options)
{
	enum err err = make_file(db, options);

	db->counters = (struct db_counters){ 0 };
	return err != ERR_OK ? err : open_file(db, options);
}

/* The file is damaged, or missing where there was one. What is left is kept for people. */
static enum err survive_damage(struct db *db, const struct db_options *options)
{
	close_sql_untouched(db);
	enum err err = place_put_aside(&db->place);

	if (err != ERR_OK)
		return err;
	if (options->when_damaged == DB_REFUSE_DAMAGED) {
		log_error(
			"store=%s event=refused reason=\"the file is damaged or gone, what is "
			"left of it is beside it as .damaged-TIME; a fresh one is begun only "
			"when asked for: what it held is lost then\" err=\"%s\"",
			db->place.path, err_text(ERR_DAMAGED));
		return ERR_DAMAGED;
	}
	log_warn("store=%s event=fresh-start reason=\"asked for\"", db->place.path);
	db->sick = ERR_OK;
	db->has_made_fresh = true;
	return begin_anew(db, options);
}

static enum err open_found(struct db *db, const struct db_options *options)
{
	enum place_find find;
	enum err err = place_look(&db->place, &find);

	if (err != ERR_OK)
		return err;
	switch (find) {
	case PLACE_EMPTY:
		return begin_anew(db, options);
	case PLACE_FILE:
		err = open_file(db, options);
		return err == ERR_DAMAGED ? survive_damage(db, options) : err;
	case PLACE_DAMAGED:
	case PLACE_LOST:
		return survive_damage(db, options);
	}
	return ERR_INPUT;
}

static void draw_epoch(struct db *db)
{
	/* Up to 256 bytes getrandom() neither blocks after boot nor returns short. */
	BUG_ON(getrandom(&db->epoch, sizeof(db->epoch), 0) != (ssize_t)sizeof(db->epoch));
	db->epoch &= INT64_MAX; /* headers and JSON know signed numbers */
}

enum err db_open(struct db *db, const char *path, const struct db_options *options)
{
	uint64_t begun_us = clock_mono_us();

	*db = (struct db){ .place = place_none() };
	enum err err = place_open(&db->place, path);

	if (err == ERR_OK)
		err = open_found(db, options);
	if (err != ERR_OK) {
		log_error("store=%s event=not-opened err=\"%s\"", path, err_text(err));
		close_sql_untouched(db);
		place_close(&db->place);
		return err;
	}
	draw_epoch(db);
	db->is_open = true;
	log_info("store=%s event=open epoch=%llu sqlite=%s took_ms=%llu", path,
		(unsigned long long)db->epoch, sqlite3_libversion(),
		(unsigned long long)(clock_mono_us() - begun_us) / 1000);
	return ERR_OK;
}

void db_close(struct db *db)
{
	if (!db->is_open)
		return;
	db_rollback(db);
	/* All is in the log: a file that could not be tidied loses nothing by it. */
	if (db->sick == ERR_OK && checkpoint(db, SQLITE_CHECKPOINT_TRUNCATE) == ERR_OK) {
		query_forget(db->statement, DB_NSTATEMENTS);
		BUG_ON(sqlite3_close(db->sql) != SQLITE_OK);
		db->sql = NULL;
	}
	log_info("store=%s event=closed commits=%llu", db->place.path,
		(unsigned long long)db->counters.commits);
	close_sql_untouched(db);
	place_close(&db->place);
	*db = (struct db){ .place = place_none() };
}
