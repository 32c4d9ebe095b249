/* forger.h - somebody who has the certificate of one end of a crossing and speaks to the broker
 * himself: puts any message on a lane, takes any off it. What an owned broker can do, he can.
 *
 * Layer: tests. Uses: testlib, amqp, message. Thread: the test's. */
#ifndef SALLYPORT_E2E_FORGER_H
#define SALLYPORT_E2E_FORGER_H

#include "amqp/connection.h"
#include "amqp/consumer.h"
#include "amqp/publisher.h"
#include "amqp_stage.h"
#include "message/seal.h"
#include "passage.h"

enum { FORGER_WINDOW = 256 };

/* FORGER_INNER: the node app2 in the inner vhost. */
enum forger_end { FORGER_WEB = 0, FORGER_APP, FORGER_INNER };

/* A message that was taken off a lane, to be put there again. */
struct loot {
	struct message message; /* its spans are in what follows */
	char type[MESSAGE_TYPE_MAX_BYTES];
	char user_id[64];
	char contract[64];
	char body[1024];
};

struct forger {
	struct stage stage;
	struct tls_identity *identity;
	struct transport_address broker;
	char vhost[32];
	char user_id[32];
	struct connection con;
	struct connection_config config;
	struct publisher pub;
	struct consumer sub;
	bool is_thief; /* takes instead of putting */
	struct publish publishes[FORGER_WINDOW];
	unsigned published;
	unsigned confirmed;
	unsigned stopped;
	struct loot loot;
	unsigned taken;
};

/* Publishes: FORGER_WEB to x.forapp by the key `lane` (call, send), FORGER_APP to x.forweb, FORGER_INNER
 * to x.control. */
void must_forger_start(
	struct forger *f, const struct passage *p, enum forger_end end, const char *lane);

/* A node's end that takes what comes to FORAPP.<lane>, the first of it as loot. */
void must_thief_start(struct forger *f, const struct passage *p, const char *lane);

/* Waits for something to take. Borrowed until forger_stop(). */
const struct message *must_thief_take(struct forger *f);

void forger_stop(struct forger *f);

/* A call of this host that its node would take: fresh, with an id of its own, not sealed. The body
 * is {}. */
struct message forger_call(const struct forger *f, const char *op);

/* The same for a send. */
struct message forger_send(const struct forger *f, const char *op);

/* The sealing keys of a crossing, or of "inner". */
struct keyring must_forger_ring(const struct broker *b, const char *name);

/* Seals m as somebody with this ring would for this crossing and direction. The body is borrowed until
 * the next one is sealed. */
void must_forger_seal(const struct keyring *ring, const char *crossing,
	enum seal_direction direction, struct message *m);

/* Publishes and waits until the broker has it. */
void must_forge(struct forger *f, const struct message *m);

/* So many times, as fast as the broker takes them. */
void must_forge_copies(struct forger *f, const struct message *m, unsigned count);

#endif
