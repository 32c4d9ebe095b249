#include "loop/loop.h"

#include "base/bug.h"

/* A turn that always has something to do must not keep the loop from polling. */
enum { PASSES_MAX = 16 };

static bool run_turns(struct loop *l)
{
	bool did_any = false;

	list_each_safe (n, &l->turns) {
		struct turn *turn = container_of(n, struct turn, node);

		did_any |= turn->fn(turn);
	}
	return did_any;
}

static void on_unfinished(uv_idle_t *handle)
{
	(void)handle; /* that it is active is enough: the loop polls without waiting */
}

static void on_before_sleep(uv_prepare_t *handle)
{
	struct loop *l = handle->data;
	bool has_more = true;

	for (int pass = 0; pass < PASSES_MAX && has_more; pass++)
		has_more = run_turns(l);
	if (has_more)
		uv_idle_start(&l->unfinished, on_unfinished);
	else
		uv_idle_stop(&l->unfinished);
}

static void on_after_poll(uv_check_t *handle)
{
	run_turns(handle->data);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct loop *l = handle->data;
	size_t i = (size_t)(handle - l->signals);

	BUG_ON(i >= l->signal_count);
	l->signal_fn[i](l->signal_arg[i], signum);
}

enum err err_from_uv(int status)
{
	switch (status) {
	case 0:
		return ERR_OK;
	case UV_ECANCELED:
		return ERR_CANCEL;
	case UV_ECONNREFUSED:
	case UV_ECONNRESET:
	case UV_ECONNABORTED:
	case UV_ENETUNREACH:
	case UV_EHOSTUNREACH:
	case UV_EPIPE:
	case UV_EOF:
	case UV_EAI_AGAIN:
	case UV_EAI_FAIL:
	case UV_EAI_NODATA:
	case UV_EAI_NONAME:
		return ERR_LINK;
	default:
		return err_from_errno(-status);
	}
}

enum err loop_init(struct loop *l)
{
	*l = (struct loop){ 0 };
	int rc = uv_loop_init(&l->uv);

	if (rc != 0)
		return err_from_uv(rc);
	list_init(&l->turns);
	RB_INIT(&l->timers);
	l->uv.data = l;
	/* These cannot fail on a loop that is open (libuv source: they only link lists).
	 */
	uv_prepare_init(&l->uv, &l->before_sleep);
	uv_check_init(&l->uv, &l->after_poll);
	uv_timer_init(&l->uv, &l->alarm);
	uv_idle_init(&l->uv, &l->at_once);
	uv_idle_init(&l->uv, &l->unfinished);
	l->before_sleep.data = l;
	l->after_poll.data = l;
	l->alarm.data = l;
	l->at_once.data = l;
	uv_prepare_start(&l->before_sleep, on_before_sleep);
	uv_check_start(&l->after_poll, on_after_poll);
	return ERR_OK;
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
	uv_stop(&l->uv);
}

void loop_fini(struct loop *l)
{
	if (l->uv.data == NULL)
		return;
	BUG_ON(!RB_EMPTY(&l->timers));
	while (l->open_count > 0)
		uv_run(&l->uv, UV_RUN_ONCE);
	BUG_ON(!list_empty(&l->turns));
	uv_close((uv_handle_t *)&l->before_sleep, NULL);
	uv_close((uv_handle_t *)&l->after_poll, NULL);
	uv_close((uv_handle_t *)&l->alarm, NULL);
	uv_close((uv_handle_t *)&l->at_once, NULL);
	uv_close((uv_handle_t *)&l->unfinished, NULL);
	for (unsigned i = 0; i < l->signal_count; i++)
		uv_close((uv_handle_t *)&l->signals[i], NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	BUG_ON(uv_loop_close(&l->uv) != 0);
	*l = (struct loop){ 0 };
}

enum err loop_on_signal(struct loop *l, int signum, loop_signal_fn fn, void *arg)
{
	BUG_ON(l->signal_count == LOOP_MAX_SIGNALS);
	unsigned i = l->signal_count;
	int rc = uv_signal_init(&l->uv, &l->signals[i]);

	if (rc != 0)
		return err_from_uv(rc);
	l->signals[i].data = l;
	l->signal_fn[i] = fn;
	l->signal_arg[i] = arg;
	l->signal_count++;
	return err_from_uv(uv_signal_start(&l->signals[i], on_signal, signum));
}

void loop_turn_add(struct loop *l, struct turn *turn, turn_fn fn)
{
	turn->fn = fn;
	list_append(&l->turns, &turn->node);
}

void loop_turn_drop(struct turn *turn)
{
	list_drop(&turn->node);
}

void loop_opened(struct loop *l)
{
	l->open_count++;
}

void loop_closed(struct loop *l)
{
	BUG_ON(l->open_count == 0);
	l->open_count--;
}
