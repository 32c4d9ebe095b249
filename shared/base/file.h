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
 * Returns: ERR_OK; ERR_FULL (larger than the buf may grow); ERR_NOMEM; else the translated
 *          errno (ERR_NOT_FOUND, ERR_IO …), with errno itself left set for the message.
 * Blocks:  reading. */
WARN_UNUSED enum err file_read(const char *path, struct buf *out);

#endif
