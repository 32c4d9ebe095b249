/* load_run.h - requests by a plan over keep-alive connections to one Unix socket, counted by
 * the status of their answers.
 *
 * Layer: tests. Uses: base, bench_http. */
#ifndef SALLYPORT_LOAD_RUN_H
#define SALLYPORT_LOAD_RUN_H

#include "bench_http.h"
#include "bench_plan.h"

enum { LOAD_MAX_STATUS = 600 };

struct load {
	const char *socket_path; /* borrowed */
	struct buf request;      /* the one that is sent again and again */
	int expected_status;     /* any other is an error */
	struct bench_http *conn; /* owned; one for each request in flight */
	unsigned conn_count;
	uint64_t by_status[LOAD_MAX_STATUS]; /* of measured requests, over all rounds */
	uint64_t broken;                     /* connections that ended without an answer */
	uint64_t right_unix_ms;              /* when the last expected answer came; 0 = never */
	char first_error[512];               /* the first answer that was not expected */
};

/* Texts are borrowed. Nothing is connected yet. Returns ERR_OK, ERR_NOMEM or ERR_FULL. */
WARN_UNUSED enum err load_init(struct load *l, const char *socket_path, const char *path,
	struct span body, int expected_status);

/* A zeroed load is fine. */
void load_fini(struct load *l);

/* One round. Blocks until it is over. A connection that breaks is an error in the result and is
 * opened again. Returns ERR_OK, ERR_LINK (the socket cannot be reached at all) or ERR_NOMEM. */
WARN_UNUSED enum err load_round(
	struct load *l, const struct bench_plan *plan, struct bench_result *out);

#endif
