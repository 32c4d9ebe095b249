/* file.h - a small file read whole, with a limit.
 *
 * Layer: base. Uses: libc. Thread: any. */
#ifndef SALLYPORT_BASE_FILE_H
#define SALLYPORT_BASE_FILE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"

/* Appends the whole file to `out`, which must have room for its max_bytes.
 * Returns: ERR_OK; ERR_FULL (larger than the buf may grow); ERR_NOMEM; ERR_INPUT when it is a
 *          pipe or a device, which could be waited for; else the translated errno
 *          (ERR_NOT_FOUND, ERR_IO …), with errno itself left set for file_why().
 * Blocks:  reading. */
WARN_UNUSED enum err file_read(const char *path, struct buf *out);

/* The same for a secret: it must be a regular file that nobody but its owner may touch.
 * Returns: ERR_REFUSED when group or others have any permission; ERR_INPUT when it is no
 *          regular file; else as file_read(). The caller wipes `out`.
 * Blocks:  reading. */
WARN_UNUSED enum err file_read_secret(const char *path, struct buf *out);

/* Could file_read() begin? For a file that a library reads by its name.
 * Returns: ERR_OK, or as file_read().
 * Blocks:  no longer than open(2) of a file. */
WARN_UNUSED enum err file_check(const char *path);

/* Why one of these has failed, for a message: static storage. Only while errno is as they left
 * it. */
const char *file_why(enum err err);

#endif
