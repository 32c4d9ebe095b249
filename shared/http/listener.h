/* listener.h - a listening socket that replaces a dead daemon's, never a live one's, and tells
 * who connects.
 *
 * Layer: http. Uses: base, loop. Never: HTTP. Thread: the loop's. */
#ifndef SALLYPORT_HTTP_LISTENER_H
#define SALLYPORT_HTTP_LISTENER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/macro.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "loop/watch.h"

enum { LISTENER_PATH_MAX_BYTES = 107 };

/* How the socket file shall look. */
struct listener_unix {
	const char *path; /* at most LISTENER_PATH_MAX_BYTES */
	mode_t mode;      /* 0: 0660 */
	bool has_group;   /* give it to `group` */
	gid_t group;
};

enum peer_kind { PEER_UNIX = 0, PEER_LOOPBACK };

struct peer {
	enum peer_kind kind;
	uid_t uid; /* these three of a Unix peer: as it was when it connected */
	gid_t gid;
	pid_t pid;
};

struct listener;

/* A new connection, non-blocking and close-on-exec. Takes: fd is the callee's from now on. */
typedef void (*listener_fn)(void *arg, int fd, const struct peer *peer);

/* A connection for which no file descriptor is left: say so on it if you like (it never
 * blocks), but do not keep it: the listener closes it afterwards. */
typedef void (*listener_full_fn)(void *arg, int fd);

struct listener {
	struct loop *loop;
	struct watch *watch;
	struct timer pause; /* accepting rests after EMFILE and the like */
	listener_fn on_connection;
	listener_full_fn on_full;
	void *arg;
	bool is_open;
	int fd;
	int reserve_fd; /* given up for a moment to accept and refuse at EMFILE; or -1 */
	enum peer_kind kind;
	uint16_t port;         /* of a loopback listener */
	struct sockaddr_un at; /* of a Unix one */
	dev_t device;          /* of the file that we made: nobody else's is unlinked */
	ino_t inode;
};

/* Takes:   l's memory is the caller's; it must not move until listener_stop().
 * Returns: as http_server_start().
 * Fires:   on_connection on the loop thread, never from inside this call.
 * Blocks:  up to a second while another daemon starts in the same folder. */
WARN_UNUSED enum err listener_start_unix(struct listener *l, struct loop *loop,
	const struct listener_unix *how, listener_fn on_connection, listener_full_fn on_full,
	void *arg);

/* 127.0.0.1 only. port 0: any; see l->port. */
WARN_UNUSED enum err listener_start_loopback(struct listener *l, struct loop *loop,
	uint16_t port, listener_fn on_connection, listener_full_fn on_full, void *arg);

/* Takes what waits in the backlog, then stops. on_connection fires from inside. */
void listener_finish(struct listener *l);

/* Removes the socket file if it is still ours. A zeroed or stopped listener is fine. */
void listener_stop(struct listener *l);

#endif
