/* identity.h - who somebody is: REALM.NAME.gN, the common name of his certificate.
 *
 * The generation grows with each certificate and is never given out twice, so whoever was thrown
 * out stays out, whatever the name does later.
 * Layer: message. Uses: base. Thread: any. */
#ifndef SALLYPORT_MESSAGE_IDENTITY_H
#define SALLYPORT_MESSAGE_IDENTITY_H

#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum { IDENTITY_NAME_MAX_BYTES = 63 }; /* of a host or a node */

/* Who operations' own messages in the inner vhost are from: no certificate says so, the seal does. */
#define IDENTITY_OPERATIONS "operations"

struct identity {
	struct span realm; /* "web", "app" */
	struct span name;  /* of the host or the node: [a-z0-9-], not empty */
	uint64_t generation;
};

/* Takes:   text is borrowed as long as out is used.
 * Returns: ERR_OK, or ERR_INPUT for anything that is not exactly such a name. */
WARN_UNUSED enum err identity_parse(struct span text, struct identity *out);

/* The generation of `text` if it is an identity of this realm and name, else 0. */
uint64_t identity_generation(struct span text, const char *realm, const char *name);

#endif
