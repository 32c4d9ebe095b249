#include "loop/mailbox.h"

#include <pthread.h>
#include <signal.h>

#include "base/bug.h"

/* ---- the thread ---- */

/* Waits for items. False: there are none, and there will be none. */
static bool take_all(struct mailbox *m, struct node *items)
{
	uv_mutex_lock(&m->lock);
	while (list_empty(&m->waiting) && !m->must_end)
		uv_cond_wait(&m->posted, &m->lock);
	list_take(items, &m->waiting);
	uv_mutex_unlock(&m->lock);
	return !list_empty(items);
}

/* Appends the items of `from` to `to`. */
static void move_all(struct node *to, struct node *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

/* The lists are the truth: libuv may fold many wakes into one. Under the lock, because the
 * loop closes the handle only after it has seen has_ended there. */
static void hand_back(struct mailbox *m, struct node *items)
{
	uv_mutex_lock(&m->lock);
	move_all(&m->finished, items);
	uv_async_send(&m->wake);
	uv_mutex_unlock(&m->lock);
}

static void end(struct mailbox *m)
{
	if (m->hands->leave != NULL)
		m->hands->leave(m->arg);
	uv_mutex_lock(&m->lock);
	m->has_ended = true;
	uv_async_send(&m->wake);
	uv_mutex_unlock(&m->lock);
}

static void run_thread(void *arg)
{
	struct mailbox *m = arg;
	struct node items;

	while (take_all(m, &items)) {
		m->hands->work(m->arg, &items);
		hand_back(m, &items);
		if (m->hands->rest != NULL)
			m->hands->rest(m->arg);
	}
	end(m);
}

/* ---- the loop ---- */

static void on_closed(uv_handle_t *handle)
{
	struct mailbox *m = handle->data;
	mailbox_stopped_fn on_stopped = m->on_stopped;
	void *arg = m->stopped_arg;

	uv_cond_destroy(&m->posted);
	uv_mutex_destroy(&m->lock);
	loop_closed(m->loop);
	m->state = MAILBOX_NONE;
	if (on_stopped != NULL)
		on_stopped(arg); /* last touch: m may be freed inside */
}

static bool take_finished(struct mailbox *m, struct node *items)
{
	uv_mutex_lock(&m->lock);
	list_take(items, &m->finished);
	bool has_ended = m->has_ended;

	uv_mutex_unlock(&m->lock);
	return has_ended;
}

static void on_wake(uv_async_t *handle)
{
	struct mailbox *m = handle->data;
	struct node items;
	bool has_ended = take_finished(m, &items);

	while (!list_empty(&items)) {
		struct node *item = items.next;

		list_drop(item);
		m->hands->done(m->arg, item);
	}
	if (!has_ended || m->state == MAILBOX_CLOSING)
		return;
	BUG_ON(m->state != MAILBOX_DRAINING);
	m->state = MAILBOX_CLOSING;
	BUG_ON(uv_thread_join(&m->thread) != 0); /* it has nothing left to do */
	uv_close((uv_handle_t *)&m->wake, on_closed);
}

/* Signals are the loop's. */
static int start_thread(struct mailbox *m)
{
	sigset_t all;
	sigset_t before;

	sigfillset(&all);
	BUG_ON(pthread_sigmask(SIG_SETMASK, &all, &before) != 0);
	int status = uv_thread_create(&m->thread, run_thread, m);

	BUG_ON(pthread_sigmask(SIG_SETMASK, &before, NULL) != 0);
	return status;
}

static void on_unused_closed(uv_handle_t *handle)
{
	struct mailbox *m = handle->data;

	loop_closed(m->loop);
}

enum err mailbox_start(
	struct mailbox *m, struct loop *l, const struct mailbox_hands *hands, void *arg)
{
	*m = (struct mailbox){ .loop = l, .hands = hands, .arg = arg };
	list_init(&m->waiting);
	list_init(&m->finished);
	int status = uv_mutex_init(&m->lock);

	if (status != 0)
		return err_from_uv(status);
	status = uv_cond_init(&m->posted);
	if (status != 0)
		goto err_after_lock;
	status = uv_async_init(&l->uv, &m->wake, on_wake);
	if (status != 0)
		goto err_after_cond;
	m->wake.data = m;
	loop_opened(l);
	status = start_thread(m);
	if (status != 0)
		goto err_after_wake;
	m->state = MAILBOX_RUNNING;
	return ERR_OK;

err_after_wake:
	/* UNTESTED: because threads do not run out on demand. m must stay until the loop has
	 * turned. */
	uv_close((uv_handle_t *)&m->wake, on_unused_closed);
err_after_cond:
	uv_cond_destroy(&m->posted);
err_after_lock:
	uv_mutex_destroy(&m->lock);
	return status == UV_EAGAIN ? ERR_FULL : err_from_uv(status);
}

void mailbox_post(struct mailbox *m, struct node *item)
{
	BUG_ON(m->state != MAILBOX_RUNNING);
	uv_mutex_lock(&m->lock);
	list_append(&m->waiting, item);
	uv_cond_signal(&m->posted);
	uv_mutex_unlock(&m->lock);
}

void mailbox_stop(struct mailbox *m, mailbox_stopped_fn on_stopped, void *arg)
{
	BUG_ON(m->state != MAILBOX_RUNNING);
	m->state = MAILBOX_DRAINING;
	m->on_stopped = on_stopped;
	m->stopped_arg = arg;
	uv_mutex_lock(&m->lock);
	m->must_end = true;
	uv_cond_signal(&m->posted);
	uv_mutex_unlock(&m->lock);
}
