#include "store/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

static const char MAGIC[16] = "SQLite format 3";
static const char *const companions[] = { "-wal", "-shm", "-journal" };

enum { SUFFIX_MAX_BYTES = 64, HEADER_BYTES = 100, ASIDE_TRIES = 100 };

static enum err refuse(const struct place *p, enum err err, const char *reason)
{
	log_error("store=%s event=refused reason=\"%s\" err=\"%s\"", p->path, reason,
		err_text(err));
	return err;
}

static enum err refuse_errno(const struct place *p, const char *what)
{
	enum err err = err_from_errno(errno);

	log_error("store=%s event=refused reason=\"%s: %s\" err=\"%s\"", p->path, what,
		strerror(errno), err_text(err));
	return err;
}

/* The lengths were checked by place_open(): a suffix always fits. */
static void path_with(const struct place *p, const char *suffix, char *out)
{
	(void)snprintf(out, PLACE_PATH_MAX_BYTES, "%.*s%s",
		PLACE_PATH_MAX_BYTES - SUFFIX_MAX_BYTES, p->path, suffix);
}

static enum err split(struct place *p, const char *path)
{
	size_t len = strlen(path);
	const char *slash = strrchr(path, '/');

	if (len == 0 || len >= PLACE_PATH_MAX_BYTES - SUFFIX_MAX_BYTES || path[len - 1] == '/')
		return ERR_INPUT;
	memcpy(p->path, path, len + 1);
	if (slash == NULL) {
		memcpy(p->folder, ".", 2);
		p->name = p->path;
		return ERR_OK;
	}
	size_t folder_len = slash == path ? 1 : (size_t)(slash - path);

	memcpy(p->folder, path, folder_len);
	p->folder[folder_len] = '\0';
	p->name = p->path + (slash - path) + 1;
	return ERR_OK;
}

/* Who may write to the folder may put another file in our file's place. */
static enum err check_folder(const struct place *p)
{
	struct stat about;

	if (stat(p->folder, &about) != 0)
		return refuse_errno(p, "its folder");
	if (!S_ISDIR(about.st_mode))
		return refuse(p, ERR_REFUSED, "its folder is no folder");
	if (about.st_uid != geteuid() && about.st_uid != 0)
		return refuse(p, ERR_REFUSED, "its folder belongs to another user");
	if ((about.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return refuse(p, ERR_REFUSED,
			"its folder may be written by group or others: chmod go-w");
	return ERR_OK;
}

static void read_pid(int fd, char *text, size_t room)
{
	ssize_t got = pread(fd, text, room - 1, 0);

	text[got > 0 ? got : 0] = '\0';
	text[strspn(text, "0123456789")] = '\0';
}

static enum err write_pid(struct place *p)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	/* Only for people to read: what counts is the lock. */
	if (ftruncate(p->lock_fd, 0) != 0 || pwrite(p->lock_fd, text, (size_t)len, 0) != len)
		log_warn("store=%s event=lock-pid-not-written err=\"%s\"", p->path,
			strerror(errno));
	return ERR_OK;
}

static enum err lock(struct place *p)
{
	char path[PLACE_PATH_MAX_BYTES];
	char pid[32];

	path_with(p, ".lock", path);
	p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	if (p->lock_fd < 0)
		return refuse_errno(p, "its lock file");
	if (flock(p->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return write_pid(p);
	if (errno != EWOULDBLOCK)
		return refuse_errno(p, "its lock");
	read_pid(p->lock_fd, pid, sizeof(pid));
	log_error("store=%s event=refused reason=\"another process has it\" pid=%s err=\"%s\"",
		p->path, pid[0] == '\0' ? "unknown" : pid, err_text(ERR_BUSY));
	return ERR_BUSY;
}

struct place place_none(void)
{
	return (struct place){ .lock_fd = -1 };
}

enum err place_open(struct place *p, const char *path)
{
	*p = place_none();
	enum err err = split(p, path);

	if (err != ERR_OK) {
		log_error("store=\"%s\" event=refused reason=\"a path that cannot be used\"",
			text_show(span_of(path)).at);
		return err;
	}
	err = check_folder(p);
	return err != ERR_OK ? err : lock(p);
}

void place_close(struct place *p)
{
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	*p = place_none();
}

/* Is there a FILE.damaged-… from before? */
static enum err find_aside(const struct place *p, enum place_find *out)
{
	size_t name_len = strlen(p->name);
	DIR *folder = opendir(p->folder);
	const struct dirent *entry;

	if (folder == NULL)
		return refuse_errno(p, "its folder");
	for (errno = 0; (entry = readdir(folder)) != NULL;) {
		if (strncmp(entry->d_name, p->name, name_len) == 0 &&
			span_starts(span_of(entry->d_name + name_len), ".damaged-"))
			*out = PLACE_LOST;
	}
	enum err err = errno == 0 ? ERR_OK : refuse_errno(p, "its folder");

	closedir(folder);
	return err;
}

static enum err look_for_traces(const struct place *p, enum place_find *out)
{
	*out = PLACE_EMPTY;
	for (size_t i = 0; i < ARRAY_COUNT(companions); i++) {
		char path[PLACE_PATH_MAX_BYTES];
		struct stat about;

		path_with(p, companions[i], path);
		if (lstat(path, &about) == 0)
			*out = PLACE_LOST;
		else if (errno != ENOENT)
			return refuse_errno(p, companions[i]);
	}
	return find_aside(p, out);
}

static enum err look_at_header(const struct place *p, enum place_find *out)
{
	char header[HEADER_BYTES] = { 0 };
	int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return refuse_errno(p, "cannot be read");
	ssize_t got = pread(fd, header, sizeof(header), 0);
	enum err err = got < 0 ? refuse_errno(p, "cannot be read") : ERR_OK;

	close(fd);
	*out = got == HEADER_BYTES && memcmp(header, MAGIC, sizeof(MAGIC)) == 0 ? PLACE_FILE
										: PLACE_DAMAGED;
	return err;
}

enum err place_look(const struct place *p, enum place_find *out)
{
	struct stat about;

	if (lstat(p->path, &about) != 0)
		return errno == ENOENT ? look_for_traces(p, out) : refuse_errno(p, "the file");
	if (!S_ISREG(about.st_mode))
		return refuse(p, ERR_REFUSED, "it is no regular file");
	if (about.st_uid != geteuid())
		return refuse(p, ERR_REFUSED, "it belongs to another user");
	if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return refuse(p, ERR_REFUSED, "group or others may touch it: chmod 600");
	if ((about.st_mode & (S_IRUSR | S_IWUSR)) != (S_IRUSR | S_IWUSR))
		return refuse(p, ERR_REFUSED, "it may not be read and written: chmod 600");
	return look_at_header(p, out);
}

/* What was renamed in the folder is durable afterwards. */
static enum err sync_folder(const struct place *p)
{
	int fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return refuse_errno(p, "its folder");
	enum err err = fsync(fd) == 0 ? ERR_OK : refuse_errno(p, "its folder");

	close(fd);
	return err;
}

/* ".damaged-20261122T215959Z", or with a number behind it when there is one of that second. */
static enum err aside_suffix(const struct place *p, char *suffix)
{
	time_t now = time(NULL);
	struct tm utc;
	char stamp[32];

	gmtime_r(&now, &utc);
	if (strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc) == 0)
		return ERR_INPUT;
	for (int i = 0; i < ASIDE_TRIES; i++) {
		char path[PLACE_PATH_MAX_BYTES];
		struct stat about;

		(void)snprintf(suffix, SUFFIX_MAX_BYTES / 2,
			i == 0 ? ".damaged-%s" : ".damaged-%s.%d", stamp, i);
		path_with(p, suffix, path);
		if (lstat(path, &about) != 0)
			return errno == ENOENT ? ERR_OK : refuse_errno(p, suffix);
	}
	return refuse(p, ERR_FULL, "too many damaged files of one second");
}

static enum err rename_one(
	const struct place *p, const char *from_suffix, const char *to_suffix)
{
	char from[PLACE_PATH_MAX_BYTES];
	char to[PLACE_PATH_MAX_BYTES];

	path_with(p, from_suffix, from);
	path_with(p, to_suffix, to);
	if (rename(from, to) == 0) {
		log_warn("store=%s event=put-aside as=%s", from, to);
		return ERR_OK;
	}
	return errno == ENOENT ? ERR_OK : refuse_errno(p, "putting it aside");
}

enum err place_put_aside(const struct place *p)
{
	char suffix[SUFFIX_MAX_BYTES / 2];
	enum err err = aside_suffix(p, suffix);

	if (err != ERR_OK)
		return err;
	err = rename_one(p, "", suffix);
	for (size_t i = 0; err == ERR_OK && i < ARRAY_COUNT(companions); i++) {
		char longer[SUFFIX_MAX_BYTES];

		(void)snprintf(longer, sizeof(longer), "%s%s", suffix, companions[i]);
		err = rename_one(p, companions[i], longer);
	}
	return err != ERR_OK ? err : sync_folder(p);
}

static enum err remove_one(const struct place *p, const char *suffix)
{
	char path[PLACE_PATH_MAX_BYTES];

	path_with(p, suffix, path);
	return unlink(path) == 0 || errno == ENOENT ? ERR_OK : refuse_errno(p, suffix);
}

enum err place_begin_file(const struct place *p, char *path)
{
	static const char *const leftovers[] = { ".new", ".new-wal", ".new-shm",
		".new-journal" };

	for (size_t i = 0; i < ARRAY_COUNT(leftovers); i++) {
		enum err err = remove_one(p, leftovers[i]);

		if (err != ERR_OK)
			return err;
	}
	path_with(p, ".new", path);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return refuse_errno(p, ".new");
	close(fd);
	return ERR_OK;
}

enum err place_finish_file(const struct place *p)
{
	char from[PLACE_PATH_MAX_BYTES];

	path_with(p, ".new", from);
	if (rename(from, p->path) != 0)
		return refuse_errno(p, ".new");
	return sync_folder(p);
}
