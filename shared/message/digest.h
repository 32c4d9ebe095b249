/* digest.h - SHA-256 (FIPS 180-4) of a text: to tell the same content from another.
 *
 * Layer: message. Uses: base, OpenSSL EVP. Thread: any. */
#ifndef SALLYPORT_MESSAGE_DIGEST_H
#define SALLYPORT_MESSAGE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum { DIGEST_BYTES = 32 };

struct digest {
	uint8_t byte[DIGEST_BYTES];
};

/* Returns: ERR_OK, or ERR_NOMEM when the library has no memory. */
WARN_UNUSED enum err digest_of(struct span bytes, struct digest *out);

static inline bool digest_equals(const struct digest *a, const struct digest *b)
{
	return memcmp(a->byte, b->byte, DIGEST_BYTES) == 0;
}

#endif
