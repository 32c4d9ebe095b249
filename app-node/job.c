#include "app-node/job.h"

#include <stdlib.h>

#include "app-node/outcome.h"
#include "app-node/question.h"
#include "app-node/reply.h"
#include "base/backoff.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"

/* Of one crossing, while no handler is free; beyond it the oldest give way. */
enum { CALLS_WAITING_MAX_BYTES = 16 * 1024 * 1024 };

struct job {
	RB_ENTRY(job) by_id;
	struct jobs *all;
	struct work work;
	struct crossing *crossing;
	struct consumer *consumer; /* the lane */
	struct delivery_tag tag;
	const struct operation *op;
	struct id id;
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

static int compare(const struct job *a, const struct job *b)
{
	/* Ids are made by the web hosts: one host's must never meet another's. */
	if (a->crossing != b->crossing)
		return a->crossing < b->crossing ? -1 : 1;
	/* Nor may one on the call lane meet one on the send lane: their delivery tags are apart. */
	if (a->consumer != b->consumer)
		return a->consumer < b->consumer ? -1 : 1;
	return id_compare(&a->id, &b->id);
}

RB_GENERATE_STATIC(jobs_by_id, job, by_id, compare)

static bool is_call(const struct job *job)
{
	return job->op->kind == CONTRACT_CALL;
}

static void run_what_may(struct jobs *j);

/* Everything but the settling; the job is gone. */
static void finish(struct job *job)
{
	struct jobs *j = job->all;

	timer_cancel(&job->timer);
	dispatch_remove(&j->dispatch, &job->work);
	RB_REMOVE(jobs_by_id, &j->by_id, job);
	free(job);
	if (j->on_idle != NULL && j->dispatch.work_count == 0)
		timer_after(&j->idle_check, 0);
	run_what_may(j);
}

/* ---- answers to calls ---- */

static uint64_t call_left_ms(const struct job *job)
{
	uint64_t now_us = clock_mono_us();

	return job->ends_us > now_us ? (job->ends_us - now_us) / 1000 : 0;
}

static struct reply_to reply_to(const struct job *job)
{
	return (struct reply_to){
		.crossing = job->crossing,
		.id = job->id,
		.op = job->op->name_span,
		.time_left_ms = call_left_ms(job),
	};
}

static void finish_call_problem(
	struct job *job, enum problem_type type, uint64_t retry_after_ms, const char *detail)
{
	struct reply_to to = reply_to(job);
	struct problem problem = {
		.type = type,
		.detail = span_of(detail),
		.retry_after_ms = retry_after_ms,
	};

	if (crossing_may_log(job->crossing, problem_name(type)))
		log_info("msg=%s op=%s host=%s event=call-failed reason=%s detail=\"%s\"",
			id_format(&job->id).at, job->op->name, job->crossing->host,
			problem_name(type), detail);
	job->all->counters.call_problems++;
	reply_problem(&to, &problem);
	finish(job);
}

static void finish_call_result(struct job *job, enum message_content content, struct span body)
{
	struct reply_to to = reply_to(job);

	reply_with(&to, content, body);
	finish(job);
}

static void finish_call(struct job *job)
{
	const struct http_call *call = &job->call;
	struct outcome outcome = outcome_read(call);
	char detail[OUTCOME_DETAIL_BYTES];

	if (outcome.kind == OUTCOME_RESULT) {
		job->all->counters.call_results++;
		finish_call_result(job, MESSAGE_JSON, outcome.result);
		return;
	}
	if (outcome.kind == OUTCOME_REFUSED && outcome_is_problem_document(call)) {
		job->all->counters.call_problems++;
		finish_call_result(job, MESSAGE_PROBLEM, call->body);
		return;
	}
	outcome_describe(call, detail);
	switch (outcome.kind) {
	case OUTCOME_RESULT:
	case OUTCOME_REFUSED:
		finish_call_problem(job, PROBLEM_REFUSED, 0, detail);
		return;
	case OUTCOME_LATER:
		finish_call_problem(job, PROBLEM_OVERLOADED, outcome.retry_after_ms, detail);
		return;
	case OUTCOME_FAILED:
		finish_call_problem(job,
			call->status == ERR_TIMEOUT ? PROBLEM_DEADLINE_EXCEEDED
						    : PROBLEM_HANDLER_FAILED,
			0, detail);
		return;
	}
}

/* No handler is free in time: said at once, while the caller can still do something else. */
static void finish_call_surplus(struct job *job)
{
	job->all->counters.call_expired++;
	finish_call_problem(job, PROBLEM_OVERLOADED, 0,
		"more calls wait than handlers can take in time; it did not run");
}

/* ---- sends ---- */

static void finish_send_dead(struct job *job, const char *reason)
{
	log_warn("msg=%s op=%s host=%s event=dead attempts=%llu reason=\"%s\"",
		id_format(&job->id).at, job->op->name, job->crossing->host,
		(unsigned long long)job->attempts, reason);
	job->all->counters.sends_dead++;
	consumer_reject(job->consumer, job->tag);
	finish(job);
}

/* The lane was lost while the handler ran: the broker will hand the message out again. */
static void finish_send_handed_back(struct job *job)
{
	log_info("msg=%s op=%s host=%s event=handed-back reason=lane-lost",
		id_format(&job->id).at, job->op->name, job->crossing->host);
	job->all->counters.sends_handed_back++;
	finish(job);
}

static void rest(struct job *job, uint64_t at_least_ms, const char *reason)
{
	struct jobs *j = job->all;
	struct id dice;

	id_make(&dice, 0);
	uint64_t wait_ms = backoff_next_ms(&job->backoff,
		(uint64_t)dice.byte[15] << 16 | (uint64_t)dice.byte[14] << 8 | dice.byte[13]);

	if (wait_ms < at_least_ms)
		wait_ms = at_least_ms;
	uint64_t spent_ms = (clock_mono_us() - job->begun_us) / 1000;

	if (job->attempts >= job->op->retry.attempts ||
		spent_ms + wait_ms > job->op->retry.window_ms) {
		finish_send_dead(job, reason);
		return;
	}
	j->counters.sends_retried++;
	log_info("msg=%s op=%s host=%s event=retry attempts=%llu wait_ms=%llu reason=\"%s\"",
		id_format(&job->id).at, job->op->name, job->crossing->host,
		(unsigned long long)job->attempts, (unsigned long long)wait_ms, reason);
	dispatch_rest(&j->dispatch, &job->work);
	timer_after(&job->timer, wait_ms);
	run_what_may(j);
}

static void finish_send(struct job *job)
{
	struct outcome outcome = outcome_read(&job->call);
	char detail[OUTCOME_DETAIL_BYTES];

	if (outcome.kind == OUTCOME_RESULT) {
		log_info("msg=%s op=%s host=%s event=done attempts=%llu",
			id_format(&job->id).at, job->op->name, job->crossing->host,
			(unsigned long long)job->attempts);
		job->all->counters.sends_done++;
		consumer_ack(job->consumer, job->tag);
		finish(job);
		return;
	}
	outcome_describe(&job->call, detail);
	if (outcome.kind == OUTCOME_REFUSED)
		finish_send_dead(job, detail);
	else if (!consumer_has(job->consumer, job->tag))
		finish_send_handed_back(job);
	else
		rest(job, outcome.retry_after_ms, detail);
}

/* ---- running ---- */

static void on_handler_done(struct http_call *call)
{
	struct job *job = container_of(call, struct job, call);
	uint64_t took_us = clock_mono_us() - job->run_us;

	hist_add(&job->all->handler_us, took_us);
	dispatch_learn(&job->all->dispatch, &job->work, took_us);
	if (is_call(job))
		finish_call(job);
	else
		finish_send(job);
}

static enum err ask_handler(struct job *job, uint64_t deadline_ms)
{
	const struct jobs_config *config = &job->all->config;
	struct question q = {
		.op = job->op->name,
		.host = job->crossing->host,
		.id = job->id,
		.key = job->key,
		.traceparent = job->traceparent,
		.body = job->body,
		.attempt = job->attempts,
		.deadline_ms = deadline_ms,
	};

	job->call = (struct http_call){ .on_done = on_handler_done };
	return question_put(config->client, config->target, &q, &job->call);
}

static void begin(struct job *job)
{
	struct jobs *j = job->all;
	uint64_t deadline_ms = job->op->deadline_ms;

	job->run_us = clock_mono_us();
	job->attempts++;
	if (is_call(job)) {
		timer_cancel(&job->timer);
		deadline_ms = call_left_ms(job);
		j->counters.calls++;
	} else if (job->attempts == 1) {
		job->begun_us = job->run_us;
		j->counters.sends++;
	}
	enum err err = deadline_ms == 0 ? ERR_TIMEOUT : ask_handler(job, deadline_ms);

	if (err == ERR_OK)
		return;
	/* Nothing was sent: as if nobody had answered. */
	job->call = (struct http_call){ .status = err, .detail = "not asked" };
	if (is_call(job))
		finish_call(job);
	else
		finish_send(job);
}

static void run_what_may(struct jobs *j)
{
	struct work *work;

	/* begin() can end a job at once, which leads back here: the loop above goes on with it.
	 */
	if (j->is_starting)
		return;
	j->is_starting = true;
	while ((work = dispatch_next(&j->dispatch, clock_mono_us())) != NULL)
		begin(container_of(work, struct job, work));
	while ((work = dispatch_surplus(&j->dispatch)) != NULL)
		finish_call_surplus(container_of(work, struct job, work));
	j->is_starting = false;
}

/* A call that has waited until it cannot be served any more, or a send whose rest is over. */
static void on_timer(struct timer *timer)
{
	struct job *job = container_of(timer, struct job, timer);
	struct jobs *j = job->all;

	if (is_call(job)) {
		finish_call_surplus(job);
		return;
	}
	dispatch_wake(&j->dispatch, &job->work);
	run_what_may(j);
}

/* ---- taking ---- */

static struct job *make(struct jobs *j, struct crossing *x, struct consumer *c,
	const struct delivery *d, const struct operation *op)
{
	const struct message *m = &d->message;
	struct job *job = malloc(sizeof(*job) + m->key.len + m->traceparent.len + m->body.len);

	if (job == NULL)
		return NULL;
	char *at = (char *)(job + 1);

	*job = (struct job){
		.all = j,
		.crossing = x,
		.consumer = c,
		.tag = d->tag,
		.op = op,
		.id = m->id,
		.key = { .at = at, .len = m->key.len },
		.traceparent = { .at = at + m->key.len, .len = m->traceparent.len },
		.body = { .at = at + m->key.len + m->traceparent.len, .len = m->body.len },
	};
	memcpy(at, m->key.at == NULL ? "" : m->key.at, m->key.len);
	memcpy(at + m->key.len, m->traceparent.at == NULL ? "" : m->traceparent.at,
		m->traceparent.len);
	memcpy(at + m->key.len + m->traceparent.len, m->body.at, m->body.len);
	timer_init(&job->timer, j->loop, on_timer);
	if (op->kind == CONTRACT_SEND)
		backoff_init(&job->backoff, op->retry.first_ms, op->retry.longest_ms);
	return job;
}

static struct job *find(
	struct jobs *j, struct crossing *x, struct consumer *c, const struct id *id)
{
	struct job wanted = { .crossing = x, .consumer = c, .id = *id };

	return RB_FIND(jobs_by_id, &j->by_id, &wanted);
}

/* The same message again: either the broker hands out what we lost, or the sender repeats
 * itself. */
static void take_again(struct job *job, struct consumer *c, const struct delivery *d)
{
	job->all->counters.duplicates++;
	if (crossing_may_log(job->crossing, "duplicate"))
		log_info("msg=%s op=%s host=%s event=duplicate redelivered=%d",
			id_format(&job->id).at, job->op->name, job->crossing->host,
			d->is_redelivered);
	if (is_call(job))
		return; /* acknowledged */
	if (consumer_has(job->consumer, job->tag))
		consumer_ack(c, d->tag);
	else
		job->tag = d->tag;
}

/* A call that gets no job. */
static void answer_call(struct crossing *x, const struct message *request,
	enum problem_type type, const char *detail)
{
	struct reply_to to = {
		.crossing = x,
		.id = request->id,
		.op = request->type,
		.time_left_ms = request->time_left_ms,
	};
	struct problem problem = { .type = type, .detail = span_of(detail) };

	reply_problem(&to, &problem);
}

static void refuse_for_memory(struct jobs *j, struct crossing *x, struct consumer *c,
	const struct delivery *d, const struct operation *op)
{
	j->counters.overloaded++;
	if (crossing_may_log(x, "out-of-memory"))
		log_error("msg=%s op=%s host=%s event=refused reason=out-of-memory",
			id_format(&d->message.id).at, op->name, x->host);
	if (op->kind == CONTRACT_CALL)
		answer_call(x, &d->message, PROBLEM_OVERLOADED, "out of memory");
	else
		channel_restart(&c->channel, ERR_NOMEM, "no memory for a delivery");
}

/* The node that had it is gone, or we have answered and could not say so to the broker. */
static void refuse_redelivered(struct jobs *j, struct crossing *x, const struct delivery *d,
	const struct operation *op)
{
	j->counters.calls_redelivered++;
	if (crossing_may_log(x, "redelivered"))
		log_info("msg=%s op=%s host=%s event=not-run reason=redelivered",
			id_format(&d->message.id).at, op->name, x->host);
	answer_call(x, &d->message, PROBLEM_APP_UNAVAILABLE,
		"a node was lost with this call; whether it ran is unknown");
}

static enum err admit(struct job *job, const struct message *m)
{
	struct jobs *j = job->all;
	struct demand demand = {
		.op = job->op,
		.origin = &j->origins[job->crossing->number],
		.key = job->key,
		.bytes = sizeof(*job) + job->body.len,
		.now_us = clock_mono_us(),
	};

	if (is_call(job)) {
		uint64_t left_ms = m->time_left_ms < job->op->deadline_ms
					   ? m->time_left_ms
					   : job->op->deadline_ms;

		job->ends_us = demand.now_us + left_ms * 1000;
		demand.ends_us = job->ends_us;
	}
	return dispatch_add(&j->dispatch, &job->work, j->config.contract, &demand);
}

/* If it still waits by then, it has waited in vain. */
static void watch_call(struct job *job)
{
	uint64_t too_late_us = dispatch_too_late_us(&job->all->dispatch, &job->work);
	uint64_t now_us = clock_mono_us();

	timer_after(&job->timer, too_late_us > now_us ? (too_late_us - now_us) / 1000 : 0);
}

void jobs_take(struct jobs *j, struct crossing *x, struct consumer *c, const struct delivery *d,
	const struct operation *op)
{
	struct job *job = find(j, x, c, &d->message.id);

	/* From here on it is ours to answer; what is slow in one operation must not fill the
	 * prefetch that all of them share. */
	if (op->kind == CONTRACT_CALL)
		consumer_ack(c, d->tag);
	if (job != NULL) {
		take_again(job, c, d);
		return;
	}
	if (op->kind == CONTRACT_CALL && d->is_redelivered) {
		refuse_redelivered(j, x, d, op);
		return;
	}
	if (op->kind == CONTRACT_SEND && j->is_holding)
		return; /* goes back when the connection is closed */
	job = make(j, x, c, d, op);
	if (job == NULL || admit(job, &d->message) != ERR_OK) {
		free(job);
		refuse_for_memory(j, x, c, d, op);
		return;
	}
	RB_INSERT(jobs_by_id, &j->by_id, job);
	run_what_may(j);
	job = op->kind == CONTRACT_CALL ? find(j, x, c, &d->message.id) : NULL;
	if (job != NULL && job->work.state == WORK_READY)
		watch_call(job);
}

/* ---- life ---- */

static void on_idle_check(struct timer *timer)
{
	struct jobs *j = container_of(timer, struct jobs, idle_check);
	void (*on_idle)(void *arg) = j->on_idle;

	if (on_idle == NULL || j->dispatch.work_count > 0)
		return;
	j->on_idle = NULL;
	on_idle(j->on_idle_arg); /* last touch */
}

enum err jobs_init(struct jobs *j, struct loop *l, const struct jobs_config *config)
{
	/* Where several hosts are served, none of them may have all connections. */
	unsigned kept = config->crossing_count > 1 ? config->connections / 4 : 0;
	struct dispatch_limits limits = {
		.running = config->connections,
		.running_of_one = config->connections - kept,
		.waiting = config->calls_waiting,
		.waiting_bytes = CALLS_WAITING_MAX_BYTES,
	};

	*j = (struct jobs){ .loop = l, .config = *config };
	RB_INIT(&j->by_id);
	hist_init(&j->handler_us);
	timer_init(&j->idle_check, l, on_idle_check);
	j->origins = calloc(config->crossing_count, sizeof(*j->origins));
	if (j->origins == NULL)
		return ERR_NOMEM;
	for (unsigned i = 0; i < config->crossing_count; i++)
		origin_init(&j->origins[i]);
	return dispatch_init(&j->dispatch, config->contract, &limits);
}

void jobs_fini(struct jobs *j)
{
	if (j->loop == NULL)
		return;
	timer_cancel(&j->idle_check);
	dispatch_fini(&j->dispatch);
	free(j->origins);
	*j = (struct jobs){ 0 };
}

/* Takes out every send that is not running; of one lane, or of all. */
static void hand_back_sends(struct jobs *j, const struct consumer *only)
{
	struct job *job;
	struct job *next;

	j->is_starting = true; /* nothing begins while we walk */
	RB_FOREACH_SAFE(job, jobs_by_id, &j->by_id, next)
	{
		if (is_call(job) || job->work.state == WORK_RUNNING ||
			(only != NULL && job->consumer != only))
			continue;
		finish_send_handed_back(job);
	}
	j->is_starting = false;
	run_what_may(j);
}

void jobs_lane_lost(struct jobs *j, struct consumer *c)
{
	hand_back_sends(j, c);
}

void jobs_hold_sends(struct jobs *j)
{
	j->is_holding = true;
	hand_back_sends(j, NULL);
}

void jobs_close(struct jobs *j, void (*on_idle)(void *arg), void *arg)
{
	BUG_ON(!j->is_holding);
	j->on_idle = on_idle;
	j->on_idle_arg = arg;
	timer_after(&j->idle_check, 0);
}

void jobs_cancel(struct jobs *j)
{
	j->on_idle = NULL;
	j->is_starting = true;
	while (!RB_EMPTY(&j->by_id)) {
		struct job *job = RB_MIN(jobs_by_id, &j->by_id);

		if (job->work.state == WORK_RUNNING)
			http_client_cancel(j->config.client, &job->call);
		if (is_call(job)) {
			finish_call_problem(job, PROBLEM_STOPPING, 0,
				"the node stops; whether the operation ran is unknown");
			continue;
		}
		log_info("msg=%s op=%s host=%s event=handed-back reason=stopping",
			id_format(&job->id).at, job->op->name, job->crossing->host);
		finish(job);
	}
	j->is_starting = false;
}
