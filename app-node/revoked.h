/* revoked.h - which generations of which web hosts were thrown out, and who says so: a control message,
 * the configuration, or both.
 *
 * Generations only grow and are never given out twice, so this is one number for each host, which only
 * grows too: told twice, late or in any order, it comes to the same.
 *
 * A host is *shut* while a message says more than the configuration: we do not know yet whether it is
 * to come back. The configuration answers that, by naming it among the crossings or not.
 * Layer: app-node. Uses: base, message (identities), amqp (delivery tags). Never: a loop. Thread: the
 * owner's. */
#ifndef SALLYPORT_NODE_REVOKED_H
#define SALLYPORT_NODE_REVOKED_H

#include <stdbool.h>
#include <stdint.h>

#include "amqp/consumer.h"
#include "base/err.h"
#include "base/list.h"
#include "base/macro.h"
#include "daemon/options.h"
#include "message/identity.h"

/* Hosts in the book. Each holds one delivery at most, so this is less than the control lane's
 * prefetch. */
enum { REVOKED_MAX_HOSTS = 1000 };

struct revocation {
	struct node node;
	char host[IDENTITY_NAME_MAX_BYTES + 1];
	uint64_t told;       /* up to this generation, says a message; 0: none does */
	uint64_t configured; /* likewise the configuration */
	/* The message that says most, while the host is shut: not acknowledged, so that a restart of
	 * this node gets it again. */
	struct consumer *holder; /* borrowed; NULL: nothing is held */
	struct delivery_tag tag;
};

struct revoked {
	struct node all; /* struct revocation, owned */
	unsigned count;
};

void revoked_init(struct revoked *b);

/* A zeroed one is fine. */
void revoked_fini(struct revoked *b);

/* A message says that this host is out up to this generation. *out is its page, borrowed.
 * Returns: ERR_OK; ERR_FULL (too many hosts); ERR_NOMEM. */
WARN_UNUSED enum err revoked_tell(
	struct revoked *b, const char *host, uint64_t generation, struct revocation **out);

/* Makes room for what this list says, identities of the web realm; nothing counts yet.
 * Returns: ERR_OK; ERR_FULL; ERR_NOMEM. */
WARN_UNUSED enum err revoked_prepare(struct revoked *b, const struct option_list *list);

/* After revoked_prepare(): one item of the list counts; what no list names stays as it is.
 * Returns: the host's page, borrowed, if more is out than before; else NULL. */
struct revocation *revoked_configure(struct revoked *b, const char *item);

/* Nothing of this host up to this generation; 0: nobody was thrown out. */
uint64_t revoked_up_to(const struct revoked *b, const char *host);

/* Would it be shut under this list? */
bool revoked_is_shut(const struct revoked *b, const char *host, const struct option_list *list);

/* It is shut as things are. */
static inline bool revocation_is_shut(const struct revocation *r)
{
	return r->told > r->configured;
}

#endif
