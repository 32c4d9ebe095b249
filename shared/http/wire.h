/* wire.h - one connection to a handler: dialled, one request out, one answer in, and then
 * perhaps another.
 *
 * It never sends a byte twice. Whoever gets ERR_LINK may be sure that nothing of the request
 * went out.
 * Layer: http. Uses: base, loop, answer, target. Never: a pool, a deadline; that is client.c.
 * Thread: the loop's. */
#ifndef SALLYPORT_HTTP_WIRE_H
#define SALLYPORT_HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/macro.h"
#include "base/span.h"
#include "http/answer.h"
#include "http/target.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "loop/watch.h"

enum { WIRE_DETAIL_BYTES = 200 };

/*  NEW ─▶ DIALING ─▶ ASKING ◀──▶ IDLE
 *              │        │          │
 *              └────────┴──▶ DEAD ◀┘      wire_destroy() from everywhere */
enum wire_state {
	WIRE_NEW = 0,
	WIRE_DIALING, /* the request waits */
	WIRE_ASKING,  /* the request goes out, the answer is awaited */
	WIRE_IDLE,    /* may be asked again */
	WIRE_DEAD,
	WIRE_STATES,
};

struct wire;

/* Fires on the loop thread. w may be destroyed or, when it is idle, asked again inside. */
typedef void (*wire_end_fn)(struct wire *w, enum err status);
typedef void (*wire_lost_fn)(struct wire *w);

struct wire {
	struct node node; /* the owner's */
	void *owner;
	void *user; /* of the present request; the owner's too */
	struct http_place place;
	wire_end_fn on_end;   /* the end of a request */
	wire_lost_fn on_lost; /* an idle connection was closed (or babbled on) by the handler */

	enum wire_state state;
	struct loop *loop;
	int fd; /* -1: none */
	struct watch *watch;
	enum watch_events events; /* that it waits for */
	struct timer knock;       /* dials again: the handler's queue was full */
	uint64_t knock_ms;
	bool is_second_address; /* of localhost */

	uint64_t idle_since_ms; /* loop clock; while idle */

	struct span out[2]; /* borrowed: what of the request has not gone out; head, body */
	bool is_deaf;       /* the handler takes no more of it, but may still answer */
	size_t sent_bytes;  /* of the present request */
	struct answer answer;
	struct buf in;
	char detail[WIRE_DETAIL_BYTES]; /* why, when something failed */
};

/* Returns a wire that is not dialled yet, or NULL without memory. */
WARN_UNUSED struct wire *wire_create(struct loop *l, const struct http_place *place,
	wire_end_fn on_end, wire_lost_fn on_lost, void *owner);

/* Silently, at any moment; closes the connection. NULL is fine. */
void wire_destroy(struct wire *w);

struct wire_request {
	struct span head; /* borrowed, like the body, until on_end or wire_destroy() */
	struct span body;
	size_t max_head_bytes; /* of the answer */
	size_t max_body_bytes;
};

/* Sends a request, dialling first if need be. w must be new or idle.
 *
 * Returns: ERR_OK: on_end will fire. ERR_LINK, ERR_NOMEM: it will not; nothing went out,
 *          w->detail says why, and w is good for nothing but wire_destroy(). An idle
 *          connection that the handler has just closed is such a case: take another.
 * Fires:   on_end, never from inside this call, with
 *          ERR_OK        the answer is whole: w->answer and w->in tell it until w is asked again
 *          ERR_LINK      nothing went out
 *          ERR_FATE      something went out, and the connection ended before the answer was whole
 *          ERR_PROTOCOL, ERR_FULL   as in answer.h
 *          ERR_NOMEM     nothing went out */
WARN_UNUSED enum err wire_ask(struct wire *w, const struct wire_request *rq);

#endif
