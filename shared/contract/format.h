/* format.h - the formats of JSON Schema that are checked: dates, addresses, identifiers.
 *
 * Layer: contract. Uses: base, libc. Thread: any. */
#ifndef SALLYPORT_CONTRACT_FORMAT_H
#define SALLYPORT_CONTRACT_FORMAT_H

#include <stdbool.h>

#include "base/macro.h"
#include "base/span.h"

/* clang-format off */
#define FORMAT_MAP(X)                                                                   \
	X(FORMAT_DATE,      "date")      /* RFC 3339 full-date */                       \
	X(FORMAT_DATE_TIME, "date-time") /* RFC 3339, leap seconds included */          \
	X(FORMAT_UUID,      "uuid")      /* RFC 4122, any version */                    \
	X(FORMAT_EMAIL,     "email")     /* RFC 5321 Mailbox */                         \
	X(FORMAT_URI,       "uri")       /* RFC 3986, with a scheme */                  \
	X(FORMAT_IPV4,      "ipv4")      /* four decimal numbers */                     \
	X(FORMAT_IPV6,      "ipv6")      /* RFC 4291, without a zone */
/* clang-format on */

#define FORMAT_ENUM(code, text) code,
enum format { FORMAT_NONE = 0, FORMAT_MAP(FORMAT_ENUM) FORMAT_ID, FORMATS };
#undef FORMAT_ENUM

/* FORMAT_NONE: none of the map above. FORMAT_ID, letters, digits and - _ . : @, is the shorthand's
 * alone. */
enum format format_named(struct span name);

/* The name, static storage. */
const char *format_text(enum format format);

bool format_fits(enum format format, struct span text);

#endif
