#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { READ_BYTES = 16 * 1024 };

static enum err read_all(int fd, struct buf *out)
{
	char piece[READ_BYTES];

	for (;;) {
		ssize_t got = read(fd, piece, sizeof(piece));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_from_errno(errno);
		if (got == 0)
			return buf_status(out);
		buf_append(out, (struct span){ .at = piece, .len = (size_t)got });
		if (buf_status(out) != ERR_OK)
			return buf_status(out);
	}
}

enum err file_read(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return err_from_errno(errno);
	enum err err = read_all(fd, out);
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
	return err;
}
