#include "daemon/keeper.h"

#include "base/bug.h"

/* ---- on the thread ---- */

static void on_work(void *arg, struct node *items)
{
	struct keeper *k = arg;

	chore_run_all(k->db, items);
}

static void on_rest(void *arg)
{
	struct keeper *k = arg;
	enum err err = db_tidy(k->db);

	(void)err; /* told in the log; what it means for later chores stands in the db */
}

static void on_leave(void *arg)
{
	struct keeper *k = arg;

	if (k->on_close != NULL)
		k->on_close(k->on_close_arg);
	db_close(k->db);
}

/* ---- on the loop ---- */

static void on_done(void *arg, struct node *item)
{
	struct keeper *k = arg;
	struct chore *c = container_of(item, struct chore, node);

	BUG_ON(k->waiting == 0);
	k->waiting--;
	k->done++;
	c->on_done(c, c->status); /* last touch: c may be freed inside */
}

static const struct mailbox_hands hands = {
	.work = on_work,
	.rest = on_rest,
	.leave = on_leave,
	.done = on_done,
};

static void on_mailbox_stopped(void *arg)
{
	struct keeper *k = arg;

	BUG_ON(k->waiting != 0);
	if (k->on_stopped != NULL)
		k->on_stopped(k->stopped_arg); /* last touch: k may be freed inside */
}

enum err keeper_start(struct keeper *k, struct loop *l, struct db *db,
	void (*on_close)(void *arg), void *on_close_arg)
{
	*k = (struct keeper){ .db = db, .on_close = on_close, .on_close_arg = on_close_arg };
	return mailbox_start(&k->mailbox, l, &hands, k);
}

enum err keeper_post(struct keeper *k, struct chore *c)
{
	if (!mailbox_is_running(&k->mailbox))
		return ERR_CANCEL;
	k->waiting++;
	mailbox_post(&k->mailbox, &c->node);
	return ERR_OK;
}

void keeper_stop(struct keeper *k, keeper_stopped_fn on_stopped, void *arg)
{
	k->on_stopped = on_stopped;
	k->stopped_arg = arg;
	mailbox_stop(&k->mailbox, on_mailbox_stopped, k);
}
