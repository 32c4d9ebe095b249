/* job.h - a delivery that the guard has passed, from here to its outcome: handler, answer,
 * settling.
 *
 * This room takes deliveries on, runs them when they may, and knows them all; what becomes of a
 * call is call.h's, of a send send.h's.
 * Layer: app-node. Uses: base, loop, contract, message, http, crossing, dispatch, question, call,
 * send. Thread: the loop's. */
#ifndef SALLYPORT_NODE_JOB_H
#define SALLYPORT_NODE_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <uv/tree.h>

#include "app-node/crossing.h"
#include "app-node/dispatch.h"
#include "base/backoff.h"
#include "base/hist.h"
#include "contract/contract.h"
#include "http/client.h"

RB_HEAD(jobs_by_id, job);

struct jobs_counters {
	uint64_t calls; /* handed to a handler */
	uint64_t call_results;
	uint64_t call_problems;     /* answered with a problem */
	uint64_t results_refused;   /* of these, because the result broke the contract */
	uint64_t call_expired;      /* answered, not run: no handler was free in time */
	uint64_t calls_redelivered; /* answered, not run */
	uint64_t sends;             /* handed to a handler, retries not counted */
	uint64_t sends_done;
	uint64_t sends_retried;
	uint64_t sends_dead; /* refused by the handler, or out of retries: dead-lettered */
	uint64_t sends_handed_back; /* the lane was lost before they ran */
	uint64_t calls_revoked;     /* dropped, not answered: their host was thrown out */
	uint64_t sends_revoked;     /* dropped; they stay at the border */
	uint64_t duplicates;        /* the same id was under way already */
	uint64_t overloaded;        /* no memory for them */
};

/* Borrowed. */
struct jobs_config {
	const struct contract *contract;
	const struct http_target *target; /* where handlers answer */
	struct http_client *client;
	unsigned connections;   /* to the handlers: so many run at once */
	unsigned calls_waiting; /* of one operation from one crossing */
};

struct jobs {
	struct loop *loop;
	struct jobs_config config;
	struct dispatch dispatch;
	struct jobs_by_id by_id;
	bool is_starting; /* jobs_run() is at work, or must not be */
	bool is_holding;  /* no send is started any more */
	struct timer idle_check;
	struct hist handler_us; /* one run of a handler */
	struct jobs_counters counters;
	void (*on_idle)(void *arg); /* of jobs_close() */
	void *on_idle_arg;
};

/* One delivery, from jobs_take() to job_end(). */
struct job {
	RB_ENTRY(job) by_id;
	struct jobs *all;
	struct work work;
	struct crossing *crossing;
	enum contract_kind lane;      /* through which it came: of calls, or of sends */
	struct crossing_shift *shift; /* a send's: it settles through it; NULL: it is gone */
	struct delivery_tag tag;
	const struct operation *op;
	struct id id;
	uint64_t generation;     /* of its host, which made it */
	struct span key;         /* ours, behind the struct */
	struct span traceparent; /* ours */
	struct span body;        /* ours */
	struct timer timer;      /* a call's deadline while it waits; a send's rest */
	uint64_t ends_us;        /* monotonic: a call's deadline */
	uint64_t begun_us; /* monotonic: the first run of a send, the present run of a call */
	uint64_t run_us;   /* monotonic: the present run */
	uint64_t attempts; /* runs begun */
	struct backoff backoff;
	struct http_call call;
};

static inline bool job_is_call(const struct job *job)
{
	return job->op->kind == CONTRACT_CALL;
}

/* A send can still be settled; otherwise somebody will get the message again. */
static inline bool job_has_delivery(const struct job *job)
{
	return job->shift != NULL && consumer_has(&job->shift->send, job->tag);
}

/* For call.h and send.h: its outcome is told, its delivery settled; the job is gone, and others
 * may run now. */
void job_end(struct job *job);

/* Begins whatever may run. Harmless from inside itself. */
void jobs_run(struct jobs *j);

/* Returns ERR_OK or ERR_NOMEM; jobs_fini() in any case. */
WARN_UNUSED enum err jobs_init(
	struct jobs *j, struct loop *l, const struct jobs_config *config);

/* jobs_cancel() must have been called. A zeroed one is fine. */
void jobs_fini(struct jobs *j);

/* Is something else under way that came through this lane with the same id? */
bool jobs_has_other(
	struct jobs *j, struct crossing *x, enum contract_kind lane, const struct message *m);

/* So many crossings there are from now on: none may have all connections to the handlers. */
void jobs_share(struct jobs *j, unsigned crossing_count);

/* Takes a delivery on; it is settled now (calls) or will be. d and op as the guard saw them. */
void jobs_take(struct jobs *j, struct crossing_shift *s, const struct delivery *d,
	const struct operation *op);

/* Sends that came through s and have not begun will come again, to us or to another node. */
void jobs_sends_lost(struct jobs *j, struct crossing_shift *s);

/* s is freed: what runs and came through it is settled no more. */
void jobs_shift_gone(struct jobs *j, const struct crossing_shift *s);

/* What this host made up to this generation is dropped without an answer, running or not. x may be
 * freed inside, if it was on its way out. */
void jobs_revoke(struct jobs *j, struct crossing *x, uint64_t generation);

/* No job of this crossing is left, and none will come. */
void jobs_crossing_gone(struct jobs *j, const struct crossing *x);

/* Starts no send any more: those that do not run are handed back with the connection. */
void jobs_hold_sends(struct jobs *j);

/* After jobs_hold_sends(), when no more calls will come: on_idle fires, later, once all has
 * ended. */
void jobs_close(struct jobs *j, void (*on_idle)(void *arg), void *arg);

/* Ends everything: calls are answered that the node stops, sends go back to the broker. */
void jobs_cancel(struct jobs *j);

#endif
