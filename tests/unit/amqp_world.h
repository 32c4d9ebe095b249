/* amqp_world.h - a connection with a publisher and a consumer, and what became of them.
 *
 * Layer: tests. Uses: base, loop, amqp, stage, check. Thread: the test's. */
#ifndef SALLYPORT_TEST_AMQP_WORLD_H
#define SALLYPORT_TEST_AMQP_WORLD_H

#include "amqp/connection.h"
#include "amqp/consumer.h"
#include "amqp/publisher.h"
#include "amqp_stage.h"

enum { WORLD_PATH_MAX = 64, WORLD_DONE_MAX = 16, WORLD_PUBLISHES = 64 };

/* What its connection carries. */
enum world_lanes { WORLD_BARE = 0, WORLD_PUBLISHES_ONLY, WORLD_CONSUMES_ONLY, WORLD_BOTH };

struct world {
	struct stage stage;
	enum world_lanes lanes;
	struct connection con;
	struct connection_config config;
	struct transport_address brokers[CONNECTION_BROKERS_MAX];
	struct publisher pub;
	struct consumer sub;
	struct publish publishes[WORLD_PUBLISHES];
	unsigned next_publish;
	const char *user_id; /* of what it publishes; web.web1.g1 */
	unsigned changes;
	enum connection_state path[WORLD_PATH_MAX]; /* the first states */
	unsigned stopped;
	unsigned done;                    /* on_done fired */
	unsigned done_by[WORLD_DONE_MAX]; /* by status */
	unsigned delivered;
	char last_body[256]; /* as far as it fits */
	void (*within_done)(struct world *w, enum err status);
	void (*within_delivery)(struct world *w, const struct delivery *d);
	unsigned fds; /* open before it all */
};

/* Fills in what most tests want; change w->config before world_start(). */
void world_init(struct world *w, enum world_lanes lanes);

/* Another broker of the list. */
void world_add_broker(struct world *w, const char *host, uint16_t port);

/* Makes the connection and begins to dial. */
void world_start(struct world *w);

/* Stops if that was not done, and checks that nothing is left over: handles, descriptors. */
void world_fini(struct world *w);

/* connection_stop(); counts in w->stopped. */
void world_stop(struct world *w);

/* Publishes one small message. */
enum err world_publish(struct world *w);

/* For must_reach(); arg is the world. */
bool is_ready(void *arg);
bool is_waiting(void *arg);
bool is_stopped(void *arg);
bool is_done(void *arg); /* nothing is in flight */

/* How many descriptors this process has open. */
unsigned open_fds(void);

#endif
