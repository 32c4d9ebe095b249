#include "app-node/job.h"

#include <stdlib.h>

#include "app-node/call.h"
#include "app-node/question.h"
#include "app-node/send.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "message/identity.h"

enum {
	/* Of one crossing, while no handler is free; beyond it the oldest give way. */
	CALLS_WAITING_MAX_BYTES = 16 * 1024 * 1024,
	KEPT_FREE_PART = 4, /* of the connections to the handlers, for other crossings */
};

static int compare(const struct job *a, const struct job *b)
{
	/* Ids are made by the web hosts: one host's must never meet another's. */
	if (a->crossing != b->crossing)
		return a->crossing < b->crossing ? -1 : 1;
	/* Nor may one on the call lane meet one on the send lane: their delivery tags are apart. */
	if (a->lane != b->lane)
		return a->lane < b->lane ? -1 : 1;
	return id_compare(&a->id, &b->id);
}

RB_GENERATE_STATIC(jobs_by_id, job, by_id, compare)

void job_end(struct job *job)
{
	struct jobs *j = job->all;

	timer_cancel(&job->timer);
	dispatch_remove(&j->dispatch, &job->work);
	RB_REMOVE(jobs_by_id, &j->by_id, job);
	struct crossing *x = job->crossing;
	struct crossing_shift *s = job->shift;

	free(job);
	crossing_job_ended(x, s); /* x may be gone */
	if (j->on_idle != NULL && j->dispatch.work_count == 0)
		timer_after(&j->idle_check, 0);
	jobs_run(j);
}

/* ---- running ---- */

static void on_handler_done(struct http_call *call)
{
	struct job *job = container_of(call, struct job, call);
	uint64_t took_us = clock_mono_us() - job->run_us;

	hist_add(&job->all->handler_us, took_us);
	dispatch_learn(&job->all->dispatch, &job->work, took_us);
	if (job_is_call(job))
		call_finish(job);
	else
		send_finish(job);
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
	if (job_is_call(job)) {
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
	if (job_is_call(job))
		call_finish(job);
	else
		send_finish(job);
}

void jobs_run(struct jobs *j)
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
		call_give_up(container_of(work, struct job, work));
	j->is_starting = false;
}

/* A call that has waited until it cannot be served any more, or a send whose rest is over. */
static void on_timer(struct timer *timer)
{
	struct job *job = container_of(timer, struct job, timer);
	struct jobs *j = job->all;

	if (job_is_call(job)) {
		call_give_up(job);
		return;
	}
	dispatch_wake(&j->dispatch, &job->work);
	jobs_run(j);
}

/* ---- taking ---- */

static struct job *make(struct jobs *j, struct crossing_shift *s, const struct delivery *d,
	const struct operation *op)
{
	const struct message *m = &d->message;
	struct job *job = malloc(sizeof(*job) + m->key.len + m->traceparent.len + m->body.len);

	if (job == NULL)
		return NULL;
	char *at = (char *)(job + 1);

	*job = (struct job){
		.all = j,
		.crossing = s->crossing,
		.lane = op->kind,
		.shift = op->kind == CONTRACT_SEND ? s : NULL,
		.tag = d->tag,
		.op = op,
		.id = m->id,
		.generation = identity_generation(m->user_id, "web", s->crossing->host),
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
	struct jobs *j, struct crossing *x, enum contract_kind lane, const struct id *id)
{
	struct job wanted = { .crossing = x, .lane = lane, .id = *id };

	return RB_FIND(jobs_by_id, &j->by_id, &wanted);
}

bool jobs_has_other(
	struct jobs *j, struct crossing *x, enum contract_kind lane, const struct message *m)
{
	const struct job *job = find(j, x, lane, &m->id);

	return job != NULL &&
	       !(span_equals(job->op->name_span, m->type) && span_equals(job->body, m->body));
}

/* The same message again: either the broker hands out what we lost, or the sender repeats
 * itself. */
static void take_again(struct job *job, struct crossing_shift *s, const struct delivery *d)
{
	job->all->counters.duplicates++;
	if (crossing_may_log(job->crossing, "duplicate"))
		log_info("msg=%s op=%s host=%s event=duplicate redelivered=%d",
			id_format(&job->id).at, job->op->name, job->crossing->host,
			d->is_redelivered);
	if (job_is_call(job))
		return; /* acknowledged */
	if (job_has_delivery(job)) {
		consumer_ack(&s->send, d->tag);
		return;
	}
	crossing_job_moved(job->crossing, job->shift, s);
	job->shift = s;
	job->tag = d->tag;
}

static void refuse_for_memory(struct jobs *j, struct crossing_shift *s,
	const struct delivery *d, const struct operation *op)
{
	struct crossing *x = s->crossing;

	j->counters.overloaded++;
	if (crossing_may_log(x, "out-of-memory"))
		log_error("msg=%s op=%s host=%s event=refused reason=out-of-memory",
			id_format(&d->message.id).at, op->name, x->host);
	if (op->kind == CONTRACT_CALL)
		call_answer(x, &d->message, PROBLEM_OVERLOADED, "out of memory");
	else
		channel_restart(&s->send.channel, ERR_NOMEM, "no memory for a delivery");
}

/* The node that had it is gone, or we have answered and could not say so to the broker. */
static void refuse_redelivered(struct jobs *j, struct crossing *x, const struct delivery *d,
	const struct operation *op)
{
	j->counters.calls_redelivered++;
	if (crossing_may_log(x, "redelivered"))
		log_info("msg=%s op=%s host=%s event=not-run reason=redelivered",
			id_format(&d->message.id).at, op->name, x->host);
	call_answer(x, &d->message, PROBLEM_APP_UNAVAILABLE,
		"a node was lost with this call; whether it ran is unknown");
}

static enum err admit(struct job *job, const struct message *m)
{
	struct jobs *j = job->all;
	struct demand demand = {
		.op = job->op,
		.origin = &job->crossing->origin,
		.key = job->key,
		.bytes = sizeof(*job) + job->body.len,
		.now_us = clock_mono_us(),
	};

	if (job_is_call(job)) {
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

void jobs_take(struct jobs *j, struct crossing_shift *s, const struct delivery *d,
	const struct operation *op)
{
	struct crossing *x = s->crossing;
	struct job *job = find(j, x, op->kind, &d->message.id);

	/* From here on it is ours to answer; what is slow in one operation must not fill the
	 * prefetch that all of them share. */
	if (op->kind == CONTRACT_CALL)
		consumer_ack(&s->call, d->tag);
	if (job != NULL) {
		take_again(job, s, d);
		return;
	}
	if (op->kind == CONTRACT_CALL && d->is_redelivered) {
		refuse_redelivered(j, x, d, op);
		return;
	}
	if (op->kind == CONTRACT_SEND && j->is_holding)
		return; /* goes back when the connection is closed */
	job = make(j, s, d, op);
	if (job == NULL || admit(job, &d->message) != ERR_OK) {
		free(job);
		refuse_for_memory(j, s, d, op);
		return;
	}
	RB_INSERT(jobs_by_id, &j->by_id, job);
	crossing_job_begun(x, job->shift);
	jobs_run(j);
	job = op->kind == CONTRACT_CALL ? find(j, x, op->kind, &d->message.id) : NULL;
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
	struct dispatch_limits limits = {
		.running = config->connections,
		.running_of_one = config->connections,
		.waiting = config->calls_waiting,
		.waiting_bytes = CALLS_WAITING_MAX_BYTES,
	};

	*j = (struct jobs){ .loop = l, .config = *config };
	RB_INIT(&j->by_id);
	hist_init(&j->handler_us);
	timer_init(&j->idle_check, l, on_idle_check);
	return dispatch_init(&j->dispatch, config->contract, &limits);
}

void jobs_fini(struct jobs *j)
{
	if (j->loop == NULL)
		return;
	timer_cancel(&j->idle_check);
	dispatch_fini(&j->dispatch);
	*j = (struct jobs){ 0 };
}

/* Takes out every send that is not running; of one shift, or of all. */
static void hand_back_sends(
	struct jobs *j, const struct crossing_shift *only, const char *reason)
{
	struct job *job;
	struct job *next;

	j->is_starting = true; /* nothing begins while we walk */
	RB_FOREACH_SAFE(job, jobs_by_id, &j->by_id, next)
	{
		if (job_is_call(job) || job->work.state == WORK_RUNNING ||
			(only != NULL && job->shift != only))
			continue;
		send_hand_back(job, reason);
	}
	j->is_starting = false;
	jobs_run(j);
}

void jobs_share(struct jobs *j, unsigned crossing_count)
{
	unsigned connections = j->config.connections;

	/* Where several hosts are served, none of them may have all. */
	j->dispatch.limits.running_of_one = connections -
					    (crossing_count > 1 ? connections / KEPT_FREE_PART
								: 0);
	jobs_run(j);
}

void jobs_sends_lost(struct jobs *j, struct crossing_shift *s)
{
	hand_back_sends(j, s, consumer_is_held(&s->send) ? "relieved" : "lane-lost");
}

void jobs_shift_gone(struct jobs *j, const struct crossing_shift *s)
{
	struct job *job;

	if (s->send_count == 0)
		return;
	RB_FOREACH(job, jobs_by_id, &j->by_id)
	{
		if (job->shift != s)
			continue;
		crossing_job_moved(job->crossing, job->shift, NULL);
		job->shift = NULL;
	}
}

/* Nobody is told, and nothing is settled but what would be in the way: the rest goes back when the
 * connection is closed, and is evidence. */
static void drop_revoked(struct job *job)
{
	struct jobs *j = job->all;
	bool is_call = job_is_call(job);

	if (job->work.state == WORK_RUNNING)
		http_client_cancel(j->config.client, &job->call);
	if (crossing_may_log(job->crossing, "revoked"))
		log_warn("msg=%s op=%s host=%s event=dropped reason=revoked attempts=%llu",
			id_format(&job->id).at, job->op->name, job->crossing->host,
			(unsigned long long)job->attempts);
	if (is_call)
		j->counters.calls_revoked++;
	else
		j->counters.sends_revoked++;
	if (!is_call && job->crossing->state < CROSSING_CLOSING && job_has_delivery(job))
		consumer_reject(&job->shift->send, job->tag);
	job_end(job);
}

void jobs_revoke(struct jobs *j, struct crossing *x, uint64_t generation)
{
	struct job *job;
	struct job *next;

	j->is_starting = true; /* nothing begins while we walk */
	RB_FOREACH_SAFE(job, jobs_by_id, &j->by_id, next)
	{
		if (job->crossing == x && job->generation <= generation)
			drop_revoked(job);
	}
	j->is_starting = false;
	jobs_run(j);
}

void jobs_crossing_gone(struct jobs *j, const struct crossing *x)
{
	dispatch_forget(&j->dispatch, &x->origin);
}

void jobs_hold_sends(struct jobs *j)
{
	j->is_holding = true;
	hand_back_sends(j, NULL, "stopping");
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
		if (job_is_call(job))
			call_stop(job);
		else
			send_hand_back(job, "stopping");
	}
	j->is_starting = false;
}
