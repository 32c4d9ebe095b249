#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 16 * 1024 };

static enum err read_pieces(int fd, char *piece, struct buf *out)
{
	for (;;) {
		ssize_t got = read(fd, piece, READ_BYTES);

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

static enum err read_all(int fd, struct buf *out)
{
	char piece[READ_BYTES];
	enum err err = read_pieces(fd, piece, out);

	explicit_bzero(piece, sizeof(piece)); /* it may have been a key */
	return err;
}

/* Of the descriptor, not of the path: what is judged is what will be read. */
static enum err check_is_secret(int fd)
{
	struct stat about;

	if (fstat(fd, &about) != 0)
		return err_from_errno(errno);
	if (!S_ISREG(about.st_mode))
		return ERR_INPUT;
	return (about.st_mode & (S_IRWXG | S_IRWXO)) == 0 ? ERR_OK : ERR_REFUSED;
}

enum whose { ANYBODYS = 0, SECRET };

static enum err open_and_read(const char *path, int flags, enum whose whose, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);

	if (fd < 0)
		return err_from_errno(errno);
	enum err err = whose == SECRET ? check_is_secret(fd) : ERR_OK;

	if (err == ERR_OK)
		err = read_all(fd, out);
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
	return err;
}

enum err file_read(const char *path, struct buf *out)
{
	return open_and_read(path, 0, ANYBODYS, out);
}

enum err file_read_secret(const char *path, struct buf *out)
{
	/* A pipe in the file's place must not hold us up. */
	return open_and_read(path, O_NONBLOCK, SECRET, out);
}
