#include "base/standard.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum err standard_open(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free one: those below are open. */
		if (open("/dev/null", O_RDWR | O_NOCTTY) != fd)
			return err_from_errno(errno);
	}
	return ERR_OK;
}
