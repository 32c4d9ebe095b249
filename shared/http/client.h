/* client.h - HTTP requests to handlers on this machine, many at once, on the loop.
 *
 * A request is sent once. If its connection breaks before the answer is whole, the caller
 * learns that its fate is unknown (ERR_FATE) and decides; nothing is ever sent again in
 * silence.
 * Layer: http. Uses: base, loop, wire. Never: another machine. Thread: the loop's. */
#ifndef SALLYPORT_HTTP_CLIENT_H
#define SALLYPORT_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"
#include "http/server.h"
#include "http/target.h"
#include "loop/loop.h"

struct http_client;
struct http_call;
struct client_slot;

/* The last touch of the call, which may be used again or freed inside; its results are borrowed
 * until on_done returns. Inside, every function of this header may be called. */
typedef void (*http_call_fn)(struct http_call *call);

/* Belongs to the caller and must not move until on_done or http_client_cancel(). */
struct http_call {
	http_call_fn on_done; /* set by the caller */

	/* Results. status:
	 *   ERR_OK        an answer is here, whatever its http_status
	 *   ERR_LINK      not delivered for certain: nobody answers there
	 *   ERR_FATE      (part of) the request went out, the connection broke: fate unknown
	 *   ERR_TIMEOUT   no whole answer before the deadline; was_sent tells if anything went out
	 *   ERR_FULL      the answer is larger than max_answer_bytes: it was delivered
	 *   ERR_PROTOCOL  what came back is no HTTP/1.1, or its head or trailer too large
	 *   ERR_NOMEM     not delivered
	 *   ERR_CANCEL    http_client_stop(); was_sent tells */
	enum err status;
	bool was_sent;
	unsigned http_status;
	struct span content_type;
	bool has_retry_after;
	uint64_t retry_after_ms;
	struct span body;
	const char *detail; /* of an error, for a log line; never NULL */

	struct client_slot *slot; /* the room's own; NULL while nothing is under way */
};

/* What to ask. All is copied but body. */
struct http_ask {
	enum http_method method;
	const struct http_target *target;
	struct span path;         /* appended to the target's base; percent-encoded already */
	const char *content_type; /* of the body; NULL: application/json */
	const struct http_header *headers;
	size_t header_count;
	struct span body;        /* borrowed until on_done or cancel; GET has none */
	uint64_t deadline_ms;    /* from now, > 0 */
	size_t max_answer_bytes; /* 0: 256 KiB */
};

struct http_client_config {
	unsigned max_calls;       /* 0: 256. Under way at once; more is ERR_FULL */
	unsigned max_connections; /* 0: 64. Calls beyond wait, within their deadlines */
	size_t max_header_bytes;  /* 0: 32 KiB. Head of an answer */
};

/* Returns: ERR_OK and a client in *out, ERR_NOMEM. */
WARN_UNUSED enum err http_client_start(
	struct loop *l, const struct http_client_config *config, struct http_client **out);

/* Calls under way end with ERR_CANCEL; c is freed. May be called once, also from on_done; NULL
 * is fine (on_stopped fires at once then).
 * Fires:   on_stopped once, on the loop thread, after the last on_done; c no longer exists. */
void http_client_stop(struct http_client *c, void (*on_stopped)(void *arg), void *arg);

/* Returns: ERR_OK: on_done will fire exactly once. ERR_INPUT: path, a header or the content
 *          type cannot stand in a request. ERR_FULL: max_calls. ERR_CANCEL: stopping.
 *          ERR_NOMEM. It never fires then.
 * Fires:   on_done on the loop thread, never from inside this call. */
WARN_UNUSED enum err http_client_send(
	struct http_client *c, struct http_call *call, const struct http_ask *ask);

/* on_done will not fire; the call is yours again. Its connection is closed if the request was
 * under way. Harmless when nothing is. */
void http_client_cancel(struct http_client *c, struct http_call *call);

/* For metrics. */
struct http_client_counters {
	uint64_t calls;
	uint64_t connections_opened;
	uint64_t connections_open_count;
	uint64_t calls_under_way;
};
const struct http_client_counters *http_client_counters(const struct http_client *c);

#endif
