#include "store/chore.h"

#include "base/bug.h"

static struct chore *chore_of(struct node *n)
{
	return container_of(n, struct chore, node);
}

/* While nothing may be written: what was durable before can still be told. */
static void run_reads(struct db *db, struct node *chores)
{
	list_each (n, chores) {
		struct chore *c = chore_of(n);

		c->status = c->kind == CHORE_READS ? c->run(c) : db->sick;
	}
}

/* Returns: ERR_OK, c having its status; anything else: the transaction is lost. */
static enum err run_one(struct db *db, struct chore *c)
{
	enum err err = db_savepoint(db);

	if (err != ERR_OK)
		return err;
	c->status = c->run(c);
	if (db->sick != ERR_OK)
		return db->sick;
	if (!db_is_in_transaction(db))
		return c->status == ERR_OK ? ERR_IO : c->status;
	return c->status == ERR_OK ? db_release(db) : db_rollback_to(db);
}

static enum err run_together(struct db *db, struct node *chores)
{
	enum err err = db_begin(db);

	if (err != ERR_OK)
		return err;
	list_each (n, chores) {
		err = run_one(db, chore_of(n));
		if (err != ERR_OK) {
			db_rollback(db);
			return err;
		}
	}
	return db_commit(db);
}

/* Without a savepoint: the transaction is its own. */
static void run_alone(struct db *db, struct chore *c)
{
	c->status = db_begin(db);
	if (c->status != ERR_OK)
		return;
	c->status = c->run(c);
	if (c->status == ERR_OK && db->sick == ERR_OK && db_is_in_transaction(db))
		c->status = db_commit(db);
	else
		db_rollback(db);
	if (db->sick != ERR_OK && c->status == ERR_OK)
		c->status = db->sick;
}

static void run_each_alone(struct db *db, struct node *chores)
{
	list_each (n, chores) {
		struct chore *c = chore_of(n);

		if (db->sick == ERR_OK)
			run_alone(db, c);
		else
			c->status = c->kind == CHORE_READS ? c->run(c) : db->sick;
	}
}

void chore_run_all(struct db *db, struct node *chores)
{
	BUG_ON(!db->is_open);
	if (list_empty(chores))
		return;
	if (db->sick != ERR_OK) {
		run_reads(db, chores);
		return;
	}
	if (chores->next->next == chores) {
		run_alone(db, chore_of(chores->next));
		return;
	}
	if (run_together(db, chores) == ERR_OK)
		return;
	if (db->sick != ERR_OK)
		run_reads(db, chores);
	else
		run_each_alone(db, chores);
}
