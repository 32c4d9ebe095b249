#include "unit/store_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/must.h"

const struct outbox_limits rig_no_limits = { .max_rows = UINT64_MAX, .max_bytes = UINT64_MAX };

void rig_make(struct rig *r)
{
	char log[128];

	*r = (struct rig){ .db.place.lock_fd = -1 };
	must_make_folder(r->folder, sizeof(r->folder));
	must_format(r->path, sizeof(r->path), "%s/agent.db", r->folder);
	must_format(log, sizeof(log), "%s/log", r->folder);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		must_fail("%s: %s", log, strerror(errno));
	close(fd);
}

void rig_end(struct rig *r)
{
	rig_close(r);
	must_remove_folder(r->folder);
}

static enum err open_rooms(struct rig *r)
{
	enum err err = sent_init(&r->sent, &r->db);

	if (err == ERR_OK)
		err = idem_init(&r->idem, &r->db);
	if (err == ERR_OK)
		err = outbox_init(&r->outbox, &r->db, &r->sent);
	if (err == ERR_OK)
		err = inbox_init(&r->inbox, &r->db);
	return err;
}

enum err rig_try_open(struct rig *r)
{
	struct db_options options = {
		.schema = &schema_messages, .when_damaged = r->when_damaged, .vfs = r->vfs
	};
	enum err err = db_open(&r->db, r->path, &options);

	if (err == ERR_OK)
		err = open_rooms(r);
	if (err != ERR_OK)
		rig_close(r);
	return err;
}

void rig_open(struct rig *r)
{
	enum err err = rig_try_open(r);

	if (err != ERR_OK)
		must_fail("open: %s", err_text(err));
}

void rig_close(struct rig *r)
{
	inbox_fini(&r->inbox);
	outbox_fini(&r->outbox);
	idem_fini(&r->idem);
	sent_fini(&r->sent);
	db_close(&r->db);
}

void rig_reopen(struct rig *r)
{
	rig_close(r);
	rig_open(r);
}

bool rig_log_has(const struct rig *r, const char *text)
{
	char path[128];

	must_format(path, sizeof(path), "%s/log", r->folder);
	char *log = must_read_file(path, NULL);
	bool has = log != NULL && strstr(log, text) != NULL;

	free(log);
	return has;
}

unsigned rig_count_files(const struct rig *r, const char *beginning)
{
	DIR *folder = opendir(r->folder);
	const struct dirent *entry;
	unsigned count = 0;

	if (folder == NULL)
		must_fail("%s: %s", r->folder, strerror(errno));
	while ((entry = readdir(folder)) != NULL)
		count += strncmp(entry->d_name, beginning, strlen(beginning)) == 0 ? 1 : 0;
	closedir(folder);
	return count;
}

int64_t rig_number(struct rig *r, const char *sql)
{
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v2(r->db.sql, sql, -1, &statement, NULL) != SQLITE_OK ||
		sqlite3_step(statement) != SQLITE_ROW)
		must_fail("%s: %s", sql, sqlite3_errmsg(r->db.sql));
	int64_t number = sqlite3_column_int64(statement, 0);

	sqlite3_finalize(statement);
	return number;
}

struct message rig_message(uint64_t n)
{
	static char body[100];
	struct message m = {
		.durability = MESSAGE_PERSISTENT,
		.type = span_of("order.place"),
		.key = span_of(n % 2 == 0 ? "even" : "odd"),
		.traceparent = span_of(
			"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
		.contract = span_of("c1"),
		.sent_unix_us = (RIG_NOW_MS + n) * 1000,
		.body = { .at = body, .len = sizeof(body) },
	};

	memset(body, 'a' + (int)(n % 26), sizeof(body));
	for (int i = 0; i < 8; i++)
		m.id.byte[i] = (uint8_t)(n >> (56 - 8 * i));
	m.id.byte[15] = 7;
	return m;
}

struct digest rig_digest(uint64_t n)
{
	struct digest d = { 0 };

	memcpy(d.byte, &n, sizeof(n));
	return d;
}

enum err rig_add(struct rig *r, uint64_t n, struct outbox_added *out)
{
	struct message m = rig_message(n);
	struct digest digest = rig_digest(n);
	enum err err = db_begin(&r->db);

	if (err != ERR_OK)
		return err;
	err = outbox_add(&r->outbox, span_of(""), &m, &digest, &rig_no_limits, out);
	if (err == ERR_OK)
		return db_commit(&r->db);
	db_rollback(&r->db);
	return err;
}

void rig_must_add(struct rig *r, uint64_t n)
{
	struct outbox_added added;
	enum err err = rig_add(r, n, &added);

	if (err != ERR_OK || added.verdict != OUTBOX_ADDED)
		must_fail("add %llu: %s", (unsigned long long)n, err_text(err));
}

static void expect_zero(struct rig *r, const char *sql)
{
	int64_t number = rig_number(r, sql);

	if (number != 0)
		must_fail("%lld: %s", (long long)number, sql);
}

void rig_check(struct rig *r)
{
	expect_zero(r, "SELECT integrity_check <> 'ok' FROM pragma_integrity_check(1)");
	expect_zero(r, "SELECT count(*) FROM tally t WHERE t.kind < 2 AND (t.rows, t.bytes) <>"
		       " (SELECT count(*), coalesce(sum(bytes), 0) FROM outbox o"
		       " WHERE o.state = t.kind AND o.host = t.host)");
	expect_zero(r, "SELECT count(*) FROM (SELECT DISTINCT state, host FROM outbox) o"
		       " WHERE NOT EXISTS (SELECT 1 FROM tally t WHERE t.kind = o.state"
		       " AND t.host = o.host)");
	expect_zero(r, "SELECT rows - (SELECT count(*) FROM sent) FROM tally WHERE kind = 2");
	expect_zero(r, "SELECT rows - (SELECT count(*) FROM inbox) FROM tally WHERE kind = 3");
	expect_zero(r, "SELECT rows - (SELECT count(*) FROM idem) FROM tally WHERE kind = 4");
	expect_zero(r,
		"SELECT count(*) FROM outbox o JOIN sent s ON s.id = o.id AND s.host = o.host");
}
