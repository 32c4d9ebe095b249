/* broker.h - the private RabbitMQ of a test program: one for all its tests, a crossing of its
 * own for each.
 *
 * Layer: tests. Uses: scripts/broker. Thread: the test's. */
#ifndef SALLYPORT_TEST_BROKER_H
#define SALLYPORT_TEST_BROKER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

enum { BROKER_CROSSINGS = 96, BROKER_PATH_MAX = 256 };

/* A broker with many vhosts starts slowly: it gets no more of them than are used. */
struct broker_crossings {
	unsigned made;
	unsigned used;
};

struct broker {
	char folder[BROKER_PATH_MAX];
	char ca[BROKER_PATH_MAX];
	char certificates[BROKER_PATH_MAX]; /* folder: NAME.pem, NAME.key */
	char seals[BROKER_PATH_MAX];        /* folder: HOST.seal as in seal.keys, inner.seal */
	uint16_t port;                      /* on 127.0.0.1, the same after each start */
	pid_t pid;                          /* of the server itself, 0 while it does not run */
	struct broker_crossings *crossings; /* shared with the processes of the tests */
	pid_t guard;   /* takes the broker down at the end, however this program ends */
	int guard_fd;  /* closed: the guard begins */
	pid_t starter; /* of must_broker_begin_start() */
};

/* Starts it in `folder`, with the nodes app1 and app2 and so many crossings, t01 and on: about as
 * many as tests will take. Further ones are made when they are. */
void must_broker_up(struct broker *b, const char *folder, unsigned crossings);

/* Ends it and removes what it had. A zeroed broker is fine. */
void broker_down(struct broker *b);

/* The name of a crossing that no test has had before: "t07". The broker runs. At most
 * BROKER_CROSSINGS. */
struct crossing_name {
	char at[8];
};
struct crossing_name must_take_crossing(struct broker *b);

/* SIGKILL; returns when it is gone. */
void must_broker_kill(struct broker *b);
/* In order; returns when it is gone. */
void must_broker_stop(struct broker *b);
/* After kill or stop: the same folder, the same port; returns when it is ready. */
void must_broker_start(struct broker *b);

/* Begins to start it and returns at once; must_broker_started() waits for it. */
void must_broker_begin_start(struct broker *b);
void must_broker_started(struct broker *b);

/* Evaluates an Erlang expression in the broker, about 20 ms; what it printed is in `out`, which
 * may be NULL. */
void must_broker_eval(struct broker *b, char *out, size_t room, const char *format, ...)
	PRINTF_LIKE(4, 5);

/* The memory alarm: publishers are blocked, consumers are not. For all crossings. */
void must_broker_block(struct broker *b);
void must_broker_unblock(struct broker *b);

/* connection.close, 320 CONNECTION_FORCED with that text, to all connections of a user. Returns
 * their number. */
unsigned must_broker_close_connections(struct broker *b, const char *user, const char *text);

/* Deletes a queue of border.<host>: its consumers get basic.cancel. */
void must_broker_delete_queue(struct broker *b, const char *host, const char *queue);

/* Deletes an exchange of border.<host>: who publishes to it gets channel.close, 404. */
void must_broker_delete_exchange(struct broker *b, const char *host, const char *exchange);

/* Makes again whatever is missing of the topology. */
void must_broker_restore(struct broker *b);

/* Deletes a user as a revocation does; its connections are cut. must_broker_restore() undoes.
 */
void must_broker_delete_user(struct broker *b, const char *user);

/* A user more, with everything that another one may: the next generation of an identity. */
void must_broker_add_user_like(struct broker *b, const char *like, const char *name);

/* Ready messages in a queue of border.<host>. */
unsigned must_broker_count(struct broker *b, const char *host, const char *queue);

/* Open connections of a user. */
unsigned must_broker_connections(struct broker *b, const char *user);

/* A client certificate and key for any name: its path without .pem and .key. The user need not
 * exist; `strange` ones are signed by an authority that the broker does not know. */
enum broker_authority { BROKER_OWN_AUTHORITY = 0, BROKER_STRANGE_AUTHORITY };
void must_broker_certificate(struct broker *b, const char *name,
	enum broker_authority authority, char *path, size_t room);

#endif
