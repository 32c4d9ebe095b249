/* watch.h - call me when this foreign file descriptor is readable or writable.
 *
 * For libraries that own their sockets (the HTTP server's epoll fd, the HTTP client's sockets).
 * Layer: loop. Uses: base, libuv. Thread: the loop's. */
#ifndef SALLYPORT_LOOP_WATCH_H
#define SALLYPORT_LOOP_WATCH_H

#include "loop/loop.h"

enum watch_events { WATCH_READ = 1, WATCH_WRITE = 2, WATCH_BOTH = 3 };

struct watch;

/* status is ERR_OK, or ERR_IO when the descriptor itself failed (events is then WATCH_BOTH: try
 * both and see; it says so once and is silent until watch_change()). The watch may be stopped
 * inside. */
typedef void (*watch_fn)(void *arg, enum err status, enum watch_events events);

/* Takes:   fd stays yours; it must stay open until watch_stop() has been called.
 * Returns: ERR_OK and a watch in *out, ERR_NOMEM, or ERR_IO (fd cannot be polled).
 * Fires:   fn on the loop thread, level-triggered. */
WARN_UNUSED enum err watch_start(struct loop *l, int fd, enum watch_events events, watch_fn fn,
	void *arg, struct watch **out);

/* Waits for other events from now on. Returns ERR_OK or ERR_IO. */
WARN_UNUSED enum err watch_change(struct watch *w, enum watch_events events);

/* fn never fires again and fd may be closed at once; the memory goes when libuv lets go of it.
 * NULL is fine. */
void watch_stop(struct watch *w);

#endif
