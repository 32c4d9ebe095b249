/* probes.h - what scrapers, load balancers and supervisors ask every daemon: /livez /readyz
 * /metrics.
 *
 * Layer: daemon. Uses: base, message, amqp, http, metrics. Thread: the loop's. */
#ifndef SALLYPORT_DAEMON_PROBES_H
#define SALLYPORT_DAEMON_PROBES_H

#include <stdbool.h>

#include "amqp/link.h"
#include "base/buf.h"
#include "base/json_writer.h"
#include "daemon/metrics.h"
#include "http/server.h"
#include "message/envelope.h"

enum probes_state { PROBES_NOT_READY = 0, PROBES_READY, PROBES_STOPPING };

/* Answers rq if it is one of the three; false: it is none, and still the caller's. `why` says
 * in a sentence what is missing when not ready. */
bool probes_answer(struct http_request *rq, enum probes_state state, const char *why,
	const struct metrics *metrics);

/* Registers the server's counters. */
void probes_register_log(struct metrics *m);

void probes_register_server(struct metrics *m, const struct http_server_counters *c);

/* Registers what a link's connections count. */
void probes_register_link(struct metrics *m, const struct link *k);

/* Registers what became of messages that came sealed; host is the crossing's. */
void probes_register_seal(
	struct metrics *m, const char *host, const struct seal_counters *coming);

/* The same as a member "seal" of a status, with the names of the keys in use. */
void probes_write_seal(struct json_writer *w, const struct envelope *e);

/* Answers 200 with a JSON document, or a problem if it did not fit its buffer. */
void probes_answer_json(struct http_request *rq, const struct buf *body);

#endif
