/* standard.h - descriptors 0, 1 and 2 are always open.
 *
 * Where one is not, the next file or socket would get its number, and a log line or an answer on
 * standard output would be written into it.
 * Layer: base. Uses: libc. Thread: main's, before anything else. */
#ifndef SALLYPORT_BASE_STANDARD_H
#define SALLYPORT_BASE_STANDARD_H

#include "base/err.h"
#include "base/macro.h"

/* /dev/null takes the place of those that are closed. Nothing can be told when it fails: end.
 * Returns: ERR_OK; else the translated errno. */
WARN_UNUSED enum err standard_open(void);

#endif
