/* text.h - numbers, durations and sizes read from text, strictly: all of it or an error.
 *
 * Layer: base. Uses: libc. Thread: any. */
#ifndef SALLYPORT_BASE_TEXT_H
#define SALLYPORT_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

/* Decimal digits only: no sign, no blank, no leading zero but "0" itself.
 * Returns: ERR_OK, or ERR_INPUT (also above 2^64-1); out is untouched then. */
WARN_UNUSED enum err text_parse_u64(struct span text, uint64_t *out);

/* A whole number with one of ms s m h d, "0" needs no unit. Result in milliseconds. */
WARN_UNUSED enum err text_parse_duration_ms(struct span text, uint64_t *out);

/* A whole number alone (bytes) or with KiB, MiB or GiB. Result in bytes. */
WARN_UNUSED enum err text_parse_size_bytes(struct span text, uint64_t *out);

/* yes, no, true, false. */
WARN_UNUSED enum err text_parse_bool(struct span text, bool *out);

/* Without blanks and tabs at both ends. */
struct span text_trim(struct span text);

/* Cuts the part before the first `separator` off *rest and returns it; *rest is what follows
 * it, and {NULL, 0} when there was none. */
struct span text_cut(struct span *rest, char separator);

/* 0..15, or -1 for anything but a hexadecimal digit. */
int text_hex_value(char c);

/* Bytes of the first character, strict UTF-8 (RFC 3629): no overlong forms, no surrogates,
 * nothing above U+10FFFF. 0 when there is none, or it is none. */
size_t text_utf8_character(struct span text);

/* All of it is such characters. */
bool text_is_utf8(struct span text);

/* One to `max` bytes of letters, digits and - _ . (what names of hosts and nodes are made of).
 */
bool text_is_name(struct span text, size_t max);

/* Foreign text made fit for a log line or an error message: printable ASCII kept, the rest as
 * \xNN, quotes and backslashes escaped, cut with "..." at the size. */
struct text_shown {
	char at[256];
};
struct text_shown text_show(struct span text);

#endif
