#include "http/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/log.h"

enum {
	BACKLOG = 1024,
	ACCEPTS_PER_TURN = 64, /* then the connections get their turn */
	DEFAULT_MODE = 0660,
	PAUSE_MS = 100, /* after an accept that failed for want of something */
	LOCK_TRIES = 100,
	LOCK_PAUSE_MS = 10,
};

static enum err from_errno(int errno_value)
{
	if (errno_value == EACCES || errno_value == EPERM)
		return ERR_REFUSED;
	return err_from_errno(errno_value);
}

static void close_quietly(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void peer_read(const struct listener *l, int fd, struct peer *out)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*out = (struct peer){ .kind = l->kind, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	if (l->kind != PEER_UNIX)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return;
	out->uid = cred.uid;
	out->gid = cred.gid;
	out->pid = cred.pid;
}

static void reserve(struct listener *l)
{
	if (l->reserve_fd < 0)
		l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* No descriptor is left. Give up the reserve to take one connection, to tell it so. */
static enum err refuse_one(struct listener *l)
{
	if (l->reserve_fd < 0)
		return ERR_FULL;
	close_quietly(&l->reserve_fd);
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		l->on_full(l->arg, fd);
		close(fd);
	}
	reserve(l);
	return l->reserve_fd < 0 ? ERR_FULL : ERR_OK;
}

/* ERR_OK: one was taken or refused, go on. ERR_BUSY: none is waiting. ERR_FULL: rest a while.
 */
static enum err accept_one(struct listener *l)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		struct peer peer;

		peer_read(l, fd, &peer);
		l->on_connection(l->arg, fd, &peer);
		return ERR_OK;
	}
	switch (errno) {
	case EAGAIN:
		return ERR_BUSY;
	case EMFILE:
	case ENFILE:
		return refuse_one(l);
	case ENOBUFS:
	case ENOMEM:
		return ERR_FULL;
	default: /* the connection died in the backlog, or a signal came */
		return ERR_OK;
	}
}

static void on_readable(void *arg, enum err status, enum watch_events events)
{
	struct listener *l = arg;

	(void)status; /* accept4() finds out */
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN && l->is_open; i++) {
		enum err err = accept_one(l);

		if (err == ERR_BUSY)
			return;
		if (err == ERR_FULL) {
			/* Level-triggered: without a rest the loop would spin. */
			watch_stop(l->watch);
			l->watch = NULL;
			timer_after(&l->pause, PAUSE_MS);
			return;
		}
	}
}

static void on_pause_over(struct timer *timer)
{
	struct listener *l = container_of(timer, struct listener, pause);

	reserve(l);
	if (watch_start(l->loop, l->fd, WATCH_READ, on_readable, l, &l->watch) != ERR_OK)
		timer_after(&l->pause, PAUSE_MS);
}

static enum err listen_and_watch(struct listener *l)
{
	if (listen(l->fd, BACKLOG) != 0)
		return from_errno(errno);
	reserve(l);
	enum err err = watch_start(l->loop, l->fd, WATCH_READ, on_readable, l, &l->watch);

	l->is_open = err == ERR_OK;
	return err;
}

/* What stands there instead of a socket. */
static const char *kind_of(mode_t mode)
{
	if (S_ISREG(mode))
		return "there is a plain file; it is left alone";
	if (S_ISDIR(mode))
		return "there is a folder";
	if (S_ISLNK(mode))
		return "there is a symbolic link; it is left alone";
	return "there is something that is no socket; it is left alone";
}

/* ERR_OK: nothing stands in the way (any more). Of what does *why tells more than the error. The
 * folder is locked, so that of two daemons that start at once only one can take a dead one's
 * place. */
static enum err clear_path(const struct sockaddr_un *at, const char **why)
{
	struct stat st;

	if (lstat(at->sun_path, &st) != 0)
		return errno == ENOENT ? ERR_OK : from_errno(errno);
	if (!S_ISSOCK(st.st_mode)) {
		*why = kind_of(st.st_mode);
		return ERR_BUSY;
	}
	*why = "a live daemon has it";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return from_errno(errno);
	int rc = connect(fd, (const struct sockaddr *)at, sizeof(*at));
	int problem = errno;

	close(fd);
	if (rc == 0 || problem != ECONNREFUSED) /* EAGAIN: alive, and its backlog is full */
		return rc == 0 || problem == EAGAIN ? ERR_BUSY : from_errno(problem);
	return unlink(at->sun_path) == 0 || errno == ENOENT ? ERR_OK : from_errno(errno);
}

static enum err bind_unix(struct listener *l, const struct listener_unix *how)
{
	mode_t mode = how->mode == 0 ? DEFAULT_MODE : how->mode;
	struct stat st;

	/* Before bind() this sets the mode that the file is born with: it is never wider. */
	if (fchmod(l->fd, mode) != 0)
		return from_errno(errno);
	if (bind(l->fd, (const struct sockaddr *)&l->at, sizeof(l->at)) != 0)
		return errno == EADDRINUSE ? ERR_BUSY : from_errno(errno);
	if (lstat(l->at.sun_path, &st) != 0)
		return from_errno(errno);
	l->device = st.st_dev;
	l->inode = st.st_ino;
	if (how->has_group && chown(l->at.sun_path, (uid_t)-1, how->group) != 0)
		return from_errno(errno);
	/* Again: the umask took its share, and chown() may drop bits. */
	if (chmod(l->at.sun_path, mode) != 0)
		return from_errno(errno);
	return listen_and_watch(l);
}

_Static_assert(LISTENER_PATH_MAX_BYTES < sizeof(((struct sockaddr_un *)NULL)->sun_path),
	"with its NUL");

static enum err lock_folder(const char *path, int *out_fd)
{
	char copy[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	memcpy(copy, path, strlen(path) + 1);
	*out_fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*out_fd < 0)
		return from_errno(errno);
	/* Others hold it for microseconds; one who never lets go must not hang our start. */
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(*out_fd, LOCK_EX | LOCK_NB) == 0)
			return ERR_OK;
		poll(NULL, 0, LOCK_PAUSE_MS);
	}
	close_quietly(out_fd);
	return ERR_BUSY;
}

static void listener_init(struct listener *l, struct loop *loop, enum peer_kind kind,
	listener_fn on_connection, listener_full_fn on_full, void *arg)
{
	*l = (struct listener){
		.loop = loop,
		.kind = kind,
		.on_connection = on_connection,
		.on_full = on_full,
		.arg = arg,
		.fd = -1,
		.reserve_fd = -1,
	};
	timer_init(&l->pause, loop, on_pause_over);
}

struct explanation {
	char at[96];
};

/* ERR_FULL is the limit of descriptors here: its number is what has to be changed. */
static struct explanation explain(enum err err)
{
	struct explanation text;
	struct rlimit limit;

	if (err == ERR_FULL && getrlimit(RLIMIT_NOFILE, &limit) == 0)
		snprintf(text.at, sizeof(text.at),
			"no file descriptor is left of %llu (ulimit -n)",
			(unsigned long long)limit.rlim_cur);
	else
		snprintf(text.at, sizeof(text.at), "%s", err_text(err));
	return text;
}

/* Undoes a start that failed half-way. */
static void give_up(struct listener *l)
{
	l->is_open = true;
	listener_stop(l);
}

enum err listener_start_unix(struct listener *l, struct loop *loop,
	const struct listener_unix *how, listener_fn on_connection, listener_full_fn on_full,
	void *arg)
{
	listener_init(l, loop, PEER_UNIX, on_connection, on_full, arg);
	size_t len = strlen(how->path);

	if (len == 0 || len > LISTENER_PATH_MAX_BYTES) {
		log_error("event=failed socket=\"%s\" err=\"a socket's path has 1 to %d bytes, "
			  "this one "
			  "%zu\"",
			how->path, LISTENER_PATH_MAX_BYTES, len);
		return ERR_INPUT;
	}
	l->at.sun_family = AF_UNIX;
	memcpy(l->at.sun_path, how->path, len + 1);

	int folder_fd = -1;
	const char *why = "another daemon is starting in its folder";
	enum err err = lock_folder(how->path, &folder_fd);

	if (err == ERR_OK)
		err = clear_path(&l->at, &why);
	if (err == ERR_OK) {
		l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		err = l->fd < 0 ? from_errno(errno) : bind_unix(l, how);
	}
	close_quietly(&folder_fd);
	if (err == ERR_OK)
		return ERR_OK;
	log_error("event=failed socket=%s err=\"%s\"", how->path,
		err == ERR_BUSY ? why : explain(err).at);
	give_up(l);
	return err;
}

enum err listener_start_loopback(struct listener *l, struct loop *loop, uint16_t port,
	listener_fn on_connection, listener_full_fn on_full, void *arg)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) },
	};
	socklen_t len = sizeof(at);
	const int on = 1;
	enum err err;

	listener_init(l, loop, PEER_LOOPBACK, on_connection, on_full, arg);
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0) {
		err = from_errno(errno);
		goto fail;
	}
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(l->fd, (const struct sockaddr *)&at, sizeof(at)) != 0 ||
		getsockname(l->fd, (struct sockaddr *)&at, &len) != 0) {
		err = from_errno(errno);
		goto fail;
	}
	l->port = ntohs(at.sin_port);
	err = listen_and_watch(l);
	if (err == ERR_OK)
		return ERR_OK;
fail:
	log_error("event=failed listen=127.0.0.1:%u err=\"%s\"", port, explain(err).at);
	give_up(l);
	return err;
}

static void remove_file(struct listener *l)
{
	struct stat st;

	if (l->inode != 0 && lstat(l->at.sun_path, &st) == 0 && st.st_dev == l->device &&
		st.st_ino == l->inode)
		unlink(l->at.sun_path);
	l->inode = 0;
}

void listener_finish(struct listener *l)
{
	if (!l->is_open)
		return;
	/* The name goes first: who comes now finds no daemon instead of a closed door. */
	remove_file(l);
	for (int i = 0; i < BACKLOG && accept_one(l) == ERR_OK; i++)
		;
	listener_stop(l);
}

void listener_stop(struct listener *l)
{
	if (!l->is_open)
		return;
	l->is_open = false;
	remove_file(l);
	timer_cancel(&l->pause);
	watch_stop(l->watch);
	l->watch = NULL;
	close_quietly(&l->fd);
	close_quietly(&l->reserve_fd);
}
