/* ready.h - telling whoever started us that we are ready, reloading or stopping.
 *
 * Two ways, both or none may be in use: a pipe whose number came on the command line gets the
 * line "ready" once and is closed; the service manager's socket ($NOTIFY_SOCKET, see
 * sd_notify(3)) gets its messages. Nobody listening is no reason to stop: failures are logged
 * and forgotten.
 * Layer: daemon. Uses: base. Thread: the owner's. SIGPIPE must be ignored by the process. */
#ifndef SALLYPORT_DAEMON_READY_H
#define SALLYPORT_DAEMON_READY_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/macro.h"

struct ready {
	int fd;     /* of the pipe, -1: none (any more) */
	int socket; /* to the service manager, -1: none */
	struct sockaddr_un manager;
	socklen_t manager_len;
};

/* Takes:   fd (-1: none) becomes ours. notify_socket is the value of $NOTIFY_SOCKET or NULL;
 *          the caller removes it from the environment, so that no child speaks for us.
 * Returns: ERR_OK; ERR_INPUT when the address of the socket makes no sense (the service manager
 *          will not hear from us; everything else works). ready_fini() in any case. */
WARN_UNUSED enum err ready_init(struct ready *r, int fd, const char *notify_socket);

/* Closes what is open, without telling anything. */
void ready_fini(struct ready *r);

/* Ready: the first time, or again after ready_tell_reloading(). */
void ready_tell(struct ready *r);

void ready_tell_reloading(struct ready *r);

void ready_tell_stopping(struct ready *r);

/* One line for people, shown by `systemctl status`. */
void ready_tell_status(struct ready *r, const char *line);

#endif
