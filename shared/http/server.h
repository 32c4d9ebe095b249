/* server.h - the local API server: HTTP/1.1 on a Unix socket (and, if wanted, loopback TCP).
 *
 * Any number of hostile local clients can neither stop it nor make it grow past its limits.
 * Layer: http. Uses: base, loop. Never: what a path means.
 * Thread: the loop's. */
#ifndef SALLYPORT_HTTP_SERVER_H
#define SALLYPORT_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"
#include "http/listener.h"
#include "http/problem.h"
#include "loop/loop.h"

struct http_server;
struct http_request;

/* HTTP_OTHER: one that no path takes. HEAD comes as HTTP_GET; its answer goes out without the body. */
enum http_method { HTTP_GET = 0, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OTHER };

/* One whole request, its body included. Fires on the loop thread, from inside the server.
 *
 * Before it returns it must either answer (http_request_answer*) or take the request over
 * (http_request_hold) and answer later: anything else is a bug. A request has exactly one of
 * two ends: the answer of its owner, or on_gone. After either of them `rq` must not be touched,
 * and never both happen. Inside, every function of this header may be called. */
typedef void (*http_request_fn)(void *arg, struct http_request *rq);

/* Asked about a client that sends its body only when it is told to ("Expect: 100-continue"): is the
 * body wanted? All but the body can be looked at, and nothing may be answered here. After a no
 * the request comes at once, as it is, and its owner must answer it without the body. */
typedef bool (*http_wants_fn)(void *arg, struct http_request *rq);

/* The end of a held request that nobody can be told about any more: ERR_LINK, the client has
 * closed its connection (both ways: who only has nothing more to send gets his answer);
 * ERR_CANCEL, the server stops. rq is already invalid: it is not passed. */
typedef void (*http_gone_fn)(void *arg, enum err reason);

struct http_server_config {
	struct listener_unix socket; /* socket.path NULL: no Unix socket */
	bool has_loopback;           /* a second listener on 127.0.0.1 */
	uint16_t loopback_port;      /* 0: any free one, see http_server_loopback_port() */
	/* Who may speak on the Unix socket beside root and our own uid, by peer credentials
	 * (supplementary groups count). Both lists empty: everybody whom the file lets in. */
	const uid_t *allowed_uids; /* borrowed until http_server_start() returns */
	size_t allowed_uid_count;
	const gid_t *allowed_gids; /* borrowed likewise */
	size_t allowed_gid_count;
	unsigned max_connections;    /* 0: 256. In all */
	unsigned max_per_uid;        /* 0: max_connections. On the Unix socket */
	uint64_t idle_timeout_ms;    /* 0: 60 s. Without a request, or an answer left unread */
	uint64_t request_timeout_ms; /* 0: 10 s. From the first byte to the last */
	size_t max_body_bytes;       /* 0: 256 KiB */
	size_t max_header_bytes;     /* 0: 8 KiB. Request line and headers together */
	http_request_fn on_request;
	http_wants_fn wants_body; /* NULL: every body is */
	void *arg;
};

/* For metrics; they only grow, but open_count. */
struct http_server_counters {
	uint64_t accepted;       /* connections, refused ones included */
	uint64_t open_count;     /* connections now */
	uint64_t requests;       /* whole ones handed to on_request */
	uint64_t answers;        /* to them, taken by the client's socket */
	uint64_t gone;           /* requests whose client left before the answer */
	uint64_t evicted;        /* connections that gave way to newer ones */
	uint64_t idle_closed;    /* idle too long, or left an answer unread too long */
	uint64_t refused_peer;   /* 403: uid not allowed */
	uint64_t refused_full;   /* 503: every connection was busy */
	uint64_t refused_fds;    /* 503: no file descriptor or memory left */
	uint64_t bad_request;    /* 400, 421, 501 and 505 */
	uint64_t bad_method;     /* 405 */
	uint64_t slow;           /* 408 */
	uint64_t body_too_large; /* 413 */
	uint64_t head_too_large; /* 414 and 431 */
};

/* Takes:   config's strings and lists only until it returns.
 * Returns: ERR_OK and a running server in *out; ERR_BUSY, a live daemon has the socket or the
 *          port, or the path is something else than a socket, which is left alone; ERR_INPUT, the path is too long;
 *          ERR_NOT_FOUND, its folder is not there; ERR_REFUSED, no permission; ERR_NOMEM,
 *          ERR_FULL, ERR_IO. Whatever fails has said why in a log line.
 * Blocks:  up to a second while another daemon starts in the same folder. */
WARN_UNUSED enum err http_server_start(
	struct loop *l, const struct http_server_config *config, struct http_server **out);

/* Lets requests in progress end; every answer closes its connection. As long as any is held the
 * server goes on listening, so that whoever comes is told: answer new requests
 * PROBLEM_STOPPING. When none is held it stops listening (what waits in the backlog is still
 * taken), closes idle connections, and waits for those that are in the middle of a request.
 *
 * Fires:   on_drained once, on the loop thread and never from inside this call: when nothing is
 *          in progress any more, or after deadline_ms. Never, if http_server_stop() comes
 * first.
 */
void http_server_drain(
	struct http_server *s, uint64_t deadline_ms, void (*on_drained)(void *arg), void *arg);

/* Ends everything: open requests get on_gone(ERR_CANCEL), all connections are closed, the
 * socket file is removed, s is freed. May be called once, also from on_request; NULL is fine
 * (on_stopped fires at once then).
 *
 * Fires:   on_stopped once, on the loop thread, s no longer exists; on_stopped may be NULL. */
void http_server_stop(struct http_server *s, void (*on_stopped)(void *arg), void *arg);

/* From now on these may speak on the Unix socket, as allowed_uids; who is connected stays so.
 *
 * Takes:   uids are copied.
 * Returns: ERR_OK; ERR_NOMEM: it is as before. */
WARN_UNUSED enum err http_server_allow_uids(
	struct http_server *s, const uid_t *uids, size_t count);

/* Borrowed; lives as long as s. */
const struct http_server_counters *http_server_counters(const struct http_server *s);

/* 0 without loopback listener. */
uint16_t http_server_loopback_port(const struct http_server *s);

/* What was asked. All spans are borrowed until the request's end. */
enum http_method http_request_method(const struct http_request *rq);

/* Begins with '/', percent-decoded, without query; never holds a NUL. */
struct span http_request_path(const struct http_request *rq);

/* A query parameter, decoded; a header, its name in any case. The first one if there are
 * several. False when there is none; *out is then the empty span. */
bool http_request_query(const struct http_request *rq, const char *name, struct span *out);
bool http_request_header(const struct http_request *rq, const char *name, struct span *out);

/* How many headers of that name there are. */
size_t http_request_header_count(const struct http_request *rq, const char *name);

/* Empty when there was none. */
struct span http_request_body(const struct http_request *rq);

/* Who asks. */
const struct peer *http_request_peer(const struct http_request *rq);

/* Take the request over, to answer later. on_gone may fire any time afterwards until the
 * answer, but not from inside this call. May be called again to change both. */
void http_request_hold(struct http_request *rq, http_gone_fn on_gone, void *arg);

struct http_header {
	const char *name;
	const char *value;
};

struct http_answer {
	unsigned status;                   /* 200 .. 599 */
	const char *content_type;          /* NULL: none */
	struct span body;                  /* copied */
	const struct http_header *headers; /* copied; one that could split the answer (control
					      characters) is left out */
	size_t header_count;
};

/* The end of rq. Cannot fail for the caller: an answer that cannot be delivered (client gone,
 * out of memory) closes the connection and is counted. Allowed inside on_request and any time
 * later. Bodies with status 204 and 304 are not sent. */
void http_request_answer(struct http_request *rq, const struct http_answer *answer);

/* The methods that its path takes, "GET, POST": a problem that says wrong-method carries them as
 * header Allow. Borrowed until the answer. */
void http_request_allow(struct http_request *rq, const char *methods);

/* The same with a problem document and, where retry_after_ms says so, a Retry-After header. */
void http_request_answer_problem(struct http_request *rq, const struct problem *problem);

#endif
