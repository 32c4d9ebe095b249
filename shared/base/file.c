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

enum whose { ANYBODYS = 0, SECRET };

/* Of the descriptor, not of the path: what is judged is what will be read. */
static enum err check(int fd, enum whose whose)
{
	struct stat about;

	if (fstat(fd, &about) != 0)
		return err_from_errno(errno);
	if (S_ISDIR(about.st_mode)) {
		errno = EISDIR;
		return whose == SECRET ? ERR_INPUT : ERR_IO;
	}
	if (!S_ISREG(about.st_mode)) {
		errno = EINVAL;
		return ERR_INPUT;
	}
	if (whose == SECRET && (about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return ERR_REFUSED;
	return ERR_OK;
}

static enum err open_and_read(const char *path, enum whose whose, struct buf *out)
{
	/* A pipe in the file's place must not hold us up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return err_from_errno(errno);
	enum err err = check(fd, whose);

	if (err == ERR_OK)
		err = read_all(fd, out);
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
	return err;
}

enum err file_check(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return err_from_errno(errno);
	enum err err = check(fd, ANYBODYS);
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
	return err;
}

const char *file_why(enum err err)
{
	const char *why = strerrordesc_np(errno);

	if (err == ERR_INPUT && errno == EINVAL)
		return "no regular file: a pipe, a socket or a device";
	return why == NULL ? err_text(err) : why;
}

enum err file_read(const char *path, struct buf *out)
{
	return open_and_read(path, ANYBODYS, out);
}

enum err file_read_secret(const char *path, struct buf *out)
{
	return open_and_read(path, SECRET, out);
}
