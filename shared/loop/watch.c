#include "loop/watch.h"

#include <stdlib.h>

struct watch {
	uv_poll_t poll;
	struct loop *loop;
	watch_fn fn;
	void *arg;
};

static void on_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;

	loop_closed(w->loop);
	free(w);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;

	if (status < 0) {
		w->fn(w->arg, ERR_IO, WATCH_BOTH);
		return;
	}
	int seen = ((events & UV_READABLE) != 0 ? WATCH_READ : 0) |
		   ((events & UV_WRITABLE) != 0 ? WATCH_WRITE : 0);

	w->fn(w->arg, ERR_OK, (enum watch_events)seen);
}

static int to_uv(enum watch_events events)
{
	return ((events & WATCH_READ) != 0 ? UV_READABLE : 0) |
	       ((events & WATCH_WRITE) != 0 ? UV_WRITABLE : 0);
}

enum err watch_start(struct loop *l, int fd, enum watch_events events, watch_fn fn, void *arg,
	struct watch **out)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return ERR_NOMEM;
	*w = (struct watch){ .loop = l, .fn = fn, .arg = arg };
	if (uv_poll_init(&l->uv, &w->poll, fd) != 0) {
		free(w);
		return ERR_IO;
	}
	loop_opened(l);
	w->poll.data = w;
	if (uv_poll_start(&w->poll, to_uv(events), on_poll) != 0) {
		watch_stop(w);
		return ERR_IO;
	}
	*out = w;
	return ERR_OK;
}

enum err watch_change(struct watch *w, enum watch_events events)
{
	return uv_poll_start(&w->poll, to_uv(events), on_poll) == 0 ? ERR_OK : ERR_IO;
}

void watch_stop(struct watch *w)
{
	if (w != NULL)
		uv_close((uv_handle_t *)&w->poll, on_closed);
}
