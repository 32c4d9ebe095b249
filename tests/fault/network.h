/* network.h - a bad network: a TCP port of this machine that passes on to another one, and does
 * to the bytes in between what it is ordered to.
 *
 * TLS goes through untouched. One order counts for a direction until the next one for it; what
 * waits for byte N counts all bytes that pass in that direction from the order on, whoever's.
 * Layer: tests. Uses: base, uv. Thread: the loop's own. */
#ifndef SALLYPORT_TESTS_FAULT_NETWORK_H
#define SALLYPORT_TESTS_FAULT_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "order.h"

enum { NETWORK_MAX_TUNNELS = 256 };

struct network;
struct network_tunnel;

typedef void (*network_fn)(struct network *n);

/* What is done to one direction. */
struct network_way {
	enum order_kind mode; /* pass, delay, trickle, swallow */
	uint64_t amount;      /* ms, or bytes a second */
	bool is_armed;        /* something waits for byte N */
	enum order_kind then; /* cut, reset, half-close, flip */
	uint64_t left;        /* bytes until then */
};

struct network {
	uv_loop_t *loop;
	struct sockaddr_in target;
	uint16_t port; /* where to connect */
	int listen_fd;
	uv_poll_t listener;
	uv_timer_t tick;            /* runs while bytes wait for their time */
	struct network_way ways[2]; /* up, down */
	bool is_refusing;
	bool is_denying;
	bool is_stopping;
	unsigned handle_count;
	struct network_tunnel *tunnels[NETWORK_MAX_TUNNELS];
	unsigned open_count;
	uint64_t accepted_count; /* connections in all */
	uint64_t fired_count;    /* how often byte N has come */
	uint64_t passed_bytes[2];
	network_fn on_change; /* a connection more or less, a byte N; or NULL */
	network_fn on_stopped;
	void *arg; /* the owner's */
};

/* Listens on `port` of 127.0.0.1 (0: any free one).
 *
 * Takes:   n stays yours and must not move until on_stopped.
 * Returns: ERR_OK; otherwise nothing runs, and errno says why. */
WARN_UNUSED enum err network_start(
	struct network *n, uv_loop_t *loop, uint16_t port, const struct sockaddr_in *target);

/* Ends all connections and the port. A zeroed network fires at once.
 *
 * Fires:   on_stopped once, when the last handle is closed; n may be freed in it. */
void network_stop(struct network *n, network_fn on_stopped);

void network_do(struct network *n, const struct order *order);

#endif
