/* conn.h - one client's connection: its requests are read, handed over, and answered in order.
 *
 * Layer: http. Uses: base, loop, reader, raw, crowd. Never: listening, who may come in.
 * Thread: the loop's. */
#ifndef SALLYPORT_HTTP_CONN_H
#define SALLYPORT_HTTP_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "http/crowd.h"
#include "http/reader.h"
#include "http/server.h"
#include "loop/timer.h"
#include "loop/watch.h"

/* What all connections of a server share. */
struct conn_room {
	struct loop *loop;
	struct head_limits limits;
	uint64_t idle_timeout_ms;
	uint64_t request_timeout_ms;
	http_request_fn on_request;
	http_wants_fn wants_body; /* may be NULL */
	void *arg;
	bool is_draining; /* every answer is the last one of its connection */
	bool is_closed;   /* nobody comes in any more, and nobody is waited for politely */
	struct http_server_counters counters;
	struct node conns;
	struct node pending; /* have read more than they may have served in one go */
	struct node graves;  /* closed, freed in a turn: somebody may still stand in one */
	uint64_t order;      /* counts the moves of all */
	char *input;         /* owned: what a recv() brings */
	struct buf head;     /* of the answer that goes out just now */
	struct buf body;     /* of the problem that goes out just now */
};

/*  FRESH ─first byte─▶ READING ─whole─▶ ASKED ─answer─▶ ANSWERING ─taken─▶ IDLE
 *    │                  │  ▲              │                 │               │
 *    │                  │  └──────────────┼─────────────────┼──first byte───┤
 *    │                  ▼                 ▼                 ▼               │
 *    │               LEAVING ◀────────────┼─────────────────┤               │
 *    ▼                  ▼                 ▼                 ▼               ▼
 *    └──────────────▶ CLOSED ◀────────────┴─────────────────┴───────────────┘ */
enum conn_state {
	CONN_FRESH = 0,
	CONN_READING,
	CONN_ASKED, /* the owner has the request */
	CONN_ANSWERING,
	CONN_IDLE,
	CONN_LEAVING, /* was told its last; what it sends is let go by until it has read that */
	CONN_CLOSED,
};

/* A connection carries one request at a time, so they are one thing. */
struct http_request {
	struct node node;         /* room->conns or room->graves */
	struct node pending_node; /* room->pending */
	struct conn_room *room;
	int fd;              /* owned */
	struct watch *watch; /* NULL: not watched */
	enum watch_events watched;
	struct peer peer;
	enum conn_state state;
	uint64_t since_ms;  /* of the state; while READING its first, of FRESH */
	uint64_t order;     /* likewise, among all connections */
	uint64_t due_at_ms; /* 0: nothing is waited for */
	struct timer timer; /* fires at due_at_ms or earlier, and then looks again */
	struct reader reader;
	struct buf in;  /* since the present request began */
	struct buf out; /* what the socket has not taken yet */
	size_t out_at;
	size_t let_by_bytes; /* while LEAVING */
	bool was_answered;   /* once at least */

	/* of the present request */
	bool is_in_callback;
	bool is_last;         /* no further request on this connection */
	bool lacks_body;      /* nobody wants it: what comes of it is let go by */
	bool has_vanished;    /* the server's mark */
	bool is_deaf;         /* sent more while ASKED: not looked at until the answer */
	const char *allow;    /* see http_request_allow() */
	http_gone_fn on_gone; /* NULL until held */
	void *gone_arg;
};

/* Takes:   the settings in *room stay the caller's to set, before.
 * Returns: ERR_OK or ERR_NOMEM. */
WARN_UNUSED enum err conn_room_init(struct conn_room *room);

/* Closes every connection; none may be ASKED. A zeroed room is fine. */
void conn_room_fini(struct conn_room *room);

/* Goes on with those that had more to say than fits into one go, and frees who has gone.
 * Returns whether there is more to do at once. */
bool conn_room_turn(struct conn_room *room);

/* Takes:   fd, also when it fails.
 * Returns: the connection, watched from now on, or NULL: out of memory.
 * Fires:   on_request from inside, when a whole request waits already. It may be closed then. */
struct http_request *conn_open(struct conn_room *room, int fd, const struct peer *peer);

/* Reads what waits for it. Fires on_request from inside. Only while FRESH, READING or IDLE. */
void conn_read(struct http_request *c);

bool conn_is_open(const struct http_request *c);
bool conn_is_listening(const struct http_request *c);
struct crowd_member conn_standing(const struct http_request *c);

/* Not while ASKED. */
void conn_evict(struct http_request *c);

/* ASKED, and its client has closed altogether. */
bool conn_is_gone(const struct http_request *c);

/* Ends an ASKED one without an answer: on_gone fires from inside, last. */
void conn_gone(struct http_request *c, enum err reason);

/* FRESH and IDLE ones take nothing in from now on but what was sent before. */
void conn_deafen(struct http_request *c);

/* A problem document to a socket that has no connection. Never blocks. */
void conn_say(int fd, enum problem_type type, const char *detail);

#endif
