#include "store/schema.h"

/* A step that was released is never changed: files out there are made of it. What is new is a
 * new step.
 *
 * The body stands last in a row, so that a look at the rest of it reads no overflow pages.
 * Times ending in _ms and _us are Unix time. seq is never used again, whatever is deleted
 * (AUTOINCREMENT). */
static const char step_1[] =
	"CREATE TABLE outbox("
	"  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  id BLOB NOT NULL CHECK(length(id) = 16),"
	"  host TEXT NOT NULL,"                            /* whose crossing; '' in agent.db */
	"  state INTEGER NOT NULL CHECK(state IN (0, 1))," /* pending, parked */
	"  bytes INTEGER NOT NULL CHECK(bytes > 0),"       /* what it counts for */
	"  attempt INTEGER NOT NULL,"
	"  created_us INTEGER NOT NULL,"
	"  expires_ms INTEGER NOT NULL," /* 0: never */
	"  correlation BLOB CHECK(correlation IS NULL OR length(correlation) = 16),"
	"  content INTEGER NOT NULL,"
	"  digest BLOB NOT NULL CHECK(length(digest) = 32),"
	"  op TEXT NOT NULL,"
	"  key TEXT NOT NULL,"
	"  traceparent TEXT NOT NULL,"
	"  contract TEXT NOT NULL,"
	"  reason TEXT NOT NULL,"
	"  body BLOB NOT NULL);"
	"CREATE UNIQUE INDEX outbox_id ON outbox(id, host);"
	"CREATE INDEX outbox_pending ON outbox(host) WHERE state = 0;"
	"CREATE INDEX outbox_parked ON outbox(host) WHERE state = 1;"
	"CREATE INDEX outbox_expiry ON outbox(expires_ms) WHERE state = 0 AND expires_ms > 0;"

	/* What became of a message of ours that is gone from the outbox. */
	"CREATE TABLE sent("
	"  id BLOB NOT NULL CHECK(length(id) = 16),"
	"  host TEXT NOT NULL,"
	"  outcome INTEGER NOT NULL,"
	"  at_ms INTEGER NOT NULL,"
	"  until_ms INTEGER NOT NULL,"
	"  digest BLOB NOT NULL CHECK(length(digest) = 32),"
	"  reason TEXT NOT NULL,"
	"  PRIMARY KEY(id, host)) WITHOUT ROWID;"
	"CREATE INDEX sent_until ON sent(until_ms);"

	/* Which message an Idempotency-Key stands for. */
	"CREATE TABLE idem("
	"  key TEXT PRIMARY KEY,"
	"  id BLOB NOT NULL CHECK(length(id) = 16),"
	"  digest BLOB NOT NULL CHECK(length(digest) = 32),"
	"  until_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX idem_until ON idem(until_ms);"

	/* What became of the messages of others. */
	"CREATE TABLE inbox("
	"  host TEXT NOT NULL,"
	"  id BLOB NOT NULL CHECK(length(id) = 16),"
	"  outcome INTEGER NOT NULL,"
	"  attempts INTEGER NOT NULL,"
	"  epoch INTEGER NOT NULL,"
	"  seq INTEGER NOT NULL,"
	"  at_ms INTEGER NOT NULL,"
	"  until_ms INTEGER NOT NULL,"
	"  digest BLOB NOT NULL CHECK(length(digest) = 32),"
	"  op TEXT NOT NULL,"
	"  reason TEXT NOT NULL,"
	"  PRIMARY KEY(host, id)) WITHOUT ROWID;"
	"CREATE INDEX inbox_until ON inbox(until_ms);"

	"CREATE TABLE tally("
	"  kind INTEGER NOT NULL,"
	"  host TEXT NOT NULL,"
	"  rows INTEGER NOT NULL CHECK(rows >= 0),"
	"  bytes INTEGER NOT NULL CHECK(bytes >= 0),"
	"  PRIMARY KEY(kind, host)) WITHOUT ROWID;"
	"INSERT INTO tally VALUES (2, '', 0, 0), (3, '', 0, 0), (4, '', 0, 0);"
	"CREATE TRIGGER outbox_comes AFTER INSERT ON outbox BEGIN"
	"  INSERT INTO tally VALUES (new.state, new.host, 1, new.bytes)"
	"    ON CONFLICT(kind, host) DO UPDATE"
	"    SET rows = rows + 1, bytes = bytes + excluded.bytes;"
	"END;"
	"CREATE TRIGGER outbox_goes AFTER DELETE ON outbox BEGIN"
	"  UPDATE tally SET rows = rows - 1, bytes = bytes - old.bytes"
	"    WHERE kind = old.state AND host = old.host;"
	"END;"
	"CREATE TRIGGER outbox_moves AFTER UPDATE OF state ON outbox BEGIN"
	"  UPDATE tally SET rows = rows - 1, bytes = bytes - old.bytes"
	"    WHERE kind = old.state AND host = old.host;"
	"  INSERT INTO tally VALUES (new.state, new.host, 1, new.bytes)"
	"    ON CONFLICT(kind, host) DO UPDATE"
	"    SET rows = rows + 1, bytes = bytes + excluded.bytes;"
	"END;"
	"CREATE TRIGGER sent_comes AFTER INSERT ON sent BEGIN"
	"  UPDATE tally SET rows = rows + 1 WHERE kind = 2 AND host = ''; END;"
	"CREATE TRIGGER sent_goes AFTER DELETE ON sent BEGIN"
	"  UPDATE tally SET rows = rows - 1 WHERE kind = 2 AND host = ''; END;"
	"CREATE TRIGGER inbox_comes AFTER INSERT ON inbox BEGIN"
	"  UPDATE tally SET rows = rows + 1 WHERE kind = 3 AND host = ''; END;"
	"CREATE TRIGGER inbox_goes AFTER DELETE ON inbox BEGIN"
	"  UPDATE tally SET rows = rows - 1 WHERE kind = 3 AND host = ''; END;"
	"CREATE TRIGGER idem_comes AFTER INSERT ON idem BEGIN"
	"  UPDATE tally SET rows = rows + 1 WHERE kind = 4 AND host = ''; END;"
	"CREATE TRIGGER idem_goes AFTER DELETE ON idem BEGIN"
	"  UPDATE tally SET rows = rows - 1 WHERE kind = 4 AND host = ''; END;";

static const char *const steps[] = { step_1 };

const struct db_schema schema_messages = {
	.application_id = 0x53414c59, /* "SALY" */
	.steps = steps,
	.step_count = sizeof(steps) / sizeof(steps[0]),
};
