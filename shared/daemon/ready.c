#include "daemon/ready.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { MESSAGE_MAX_BYTES = 512 };

/* "/run/x" is a file, "@x" is in the abstract namespace: its name begins with a NUL byte and
 * ends where the address does. */
static enum err parse_address(struct ready *r, const char *path)
{
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof(r->manager.sun_path))
		return ERR_INPUT;
	r->manager.sun_family = AF_UNIX;
	memcpy(r->manager.sun_path, path, len + 1);
	r->manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (path[0] == '@')
		r->manager.sun_path[0] = '\0';
	else
		r->manager_len++;
	return ERR_OK;
}

enum err ready_init(struct ready *r, int fd, const char *notify_socket)
{
	*r = (struct ready){ .fd = fd, .socket = -1 };
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (notify_socket == NULL || notify_socket[0] == '\0')
		return ERR_OK;
	enum err err = parse_address(r, notify_socket);

	if (err != ERR_OK)
		return err;
	r->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return r->socket < 0 ? err_from_errno(errno) : ERR_OK;
}

void ready_fini(struct ready *r)
{
	if (r->fd >= 0)
		close(r->fd);
	if (r->socket >= 0)
		close(r->socket);
	*r = (struct ready){ .fd = -1, .socket = -1 };
}

static void tell_manager(struct ready *r, const char *message)
{
	if (r->socket < 0)
		return;
	ssize_t sent = sendto(r->socket, message, strlen(message), MSG_NOSIGNAL,
		(const struct sockaddr *)&r->manager, r->manager_len);

	if (sent < 0)
		log_warn("event=notify err=\"%s\"", strerrordesc_np(errno));
}

static void tell_pipe(struct ready *r)
{
	static const char line[] = "ready\n";

	if (r->fd < 0)
		return;
	ssize_t written;

	do {
		written = write(r->fd, line, sizeof(line) - 1);
	} while (written < 0 && errno == EINTR);
	if (written < 0)
		log_warn("event=ready-fd err=\"%s\"", strerrordesc_np(errno));
	close(r->fd);
	r->fd = -1;
}

void ready_tell(struct ready *r)
{
	tell_pipe(r);
	tell_manager(r, "READY=1");
}

void ready_tell_reloading(struct ready *r)
{
	char message[MESSAGE_MAX_BYTES];

	/* The manager takes READY=1 as the end of this reload only if its time is later. */
	snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)clock_mono_us());
	tell_manager(r, message);
}

void ready_tell_stopping(struct ready *r)
{
	tell_manager(r, "STOPPING=1");
}

void ready_tell_status(struct ready *r, const char *line)
{
	char message[MESSAGE_MAX_BYTES];
	size_t len = strcspn(line, "\n");

	snprintf(message, sizeof(message), "STATUS=%.*s", (int)(len < 400 ? len : 400), line);
	tell_manager(r, message);
}
