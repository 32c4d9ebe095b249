#include "app-node/job.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/backoff.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "contract/json.h"

enum {
	HEADERS_MAX = 6,
	KEY_HEADER_BYTES = 3 * MESSAGE_KEY_MAX_BYTES + 1,
	TRACEPARENT_BYTES = 55,
	RETRY_SOON_MS = 1000,
	PROBLEM_MAX_BYTES = 8 * 1024,
};

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

static void reply(struct crossing *x, const struct id *request, struct span op,
	enum message_content content, struct span body, uint64_t time_left_ms)
{
	struct message m = {
		.correlation = *request,
		.has_correlation = true,
		.durability = MESSAGE_TRANSIENT,
		.content = content,
		.type = op,
		.time_left_ms = time_left_ms == 0 ? 1 : time_left_ms,
		.body = body,
	};

	id_make(&m.id, clock_unix_ms());
	/* A reply that cannot be sent shows up as the caller's deadline; it is counted and
	 * logged. */
	if (crossing_reply(x, &m) == ERR_OK)
		log_debug("msg=%s host=%s event=reply reply=%s bytes=%zu",
			id_format(request).at, x->host, id_format(&m.id).at, body.len);
}

static void reply_problem(struct crossing *x, const struct id *request, struct span op,
	const struct problem *problem, uint64_t time_left_ms)
{
	struct id_text id = id_format(request);
	struct problem told = *problem;
	struct buf body;

	told.id = span_of(id.at);
	buf_init(&body, PROBLEM_MAX_BYTES);
	problem_format(&told, &body);
	if (buf_status(&body) == ERR_OK)
		reply(x, request, op, MESSAGE_PROBLEM, buf_span(&body), time_left_ms);
	else
		log_warn("msg=%s host=%s event=reply-lost reason=\"%s\"", id.at, x->host,
			err_text(buf_status(&body)));
	buf_fini(&body);
}

static uint64_t call_left_ms(const struct job *job)
{
	uint64_t now_us = clock_mono_us();

	return job->ends_us > now_us ? (job->ends_us - now_us) / 1000 : 0;
}

static void finish_call_problem(
	struct job *job, enum problem_type type, uint64_t retry_after_ms, const char *detail)
{
	struct problem problem = {
		.type = type,
		.detail = span_of(detail),
		.retry_after_ms = retry_after_ms,
	};

	log_info("msg=%s op=%s host=%s event=call-failed reason=%s detail=\"%s\"",
		id_format(&job->id).at, job->op->name, job->crossing->host, problem_name(type),
		detail);
	job->all->counters.call_problems++;
	reply_problem(job->crossing, &job->id, job->op->name_span, &problem, call_left_ms(job));
	consumer_ack(job->consumer, job->tag);
	finish(job);
}

void jobs_answer_problem(struct crossing *x, const struct message *request,
	enum problem_type type, const char *detail)
{
	struct problem problem = {
		.type = type,
		.detail = span_of(detail),
		.retry_after_ms = problem_status(type) == 503 ? RETRY_SOON_MS : 0,
	};

	reply_problem(x, &request->id, request->type, &problem, request->time_left_ms);
}

/* ---- what a handler's answer means ---- */

enum outcome {
	OUTCOME_RESULT = 0, /* 2xx with JSON */
	OUTCOME_REFUSED,    /* 4xx: the same again would be refused again */
	OUTCOME_LATER,      /* 429, 503: not now */
	OUTCOME_FAILED,     /* 5xx, no answer, or an answer that is none */
};

static bool is_json(struct span body)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc = { 0 };
	bool fine = json_open(body, limits, &doc, &failure) == ERR_OK;

	json_close(&doc);
	return fine;
}

static enum outcome read_outcome(const struct http_call *call, struct span *result)
{
	if (call->status != ERR_OK)
		return OUTCOME_FAILED;
	if (call->http_status == 429 || call->http_status == 503)
		return OUTCOME_LATER;
	if (call->http_status >= 400 && call->http_status < 500)
		return OUTCOME_REFUSED;
	if (call->http_status < 200 || call->http_status > 299)
		return OUTCOME_FAILED;
	*result = call->body.len == 0 ? span_of("null") : call->body;
	return is_json(*result) ? OUTCOME_RESULT : OUTCOME_FAILED;
}

static void describe(const struct http_call *call, char *out, size_t room)
{
	if (call->status == ERR_LINK)
		snprintf(out, room, "the handler cannot be reached (%s)", call->detail);
	else if (call->status == ERR_TIMEOUT)
		snprintf(out, room, "the handler did not answer in time");
	else if (call->status == ERR_FULL && call->was_sent)
		snprintf(out, room, "the handler's answer has more than %d bytes",
			MESSAGE_BODY_MAX_BYTES);
	else if (call->status != ERR_OK)
		snprintf(out, room, "no answer from the handler: %s (%s)",
			err_text(call->status), call->detail);
	else if (call->http_status >= 200 && call->http_status <= 299)
		snprintf(out, room, "the handler's result is no JSON of at most %d bytes",
			MESSAGE_BODY_MAX_BYTES);
	else
		snprintf(out, room, "the handler answered %u", call->http_status);
}

/* A handler's own problem document may cross as it is, if its status is the answer's. */
static bool is_problem_document(const struct http_call *call)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc = { 0 };
	struct span status;
	char expected[8];

	if (!span_starts(call->content_type, PROBLEM_MEDIA_TYPE))
		return false;
	snprintf(expected, sizeof(expected), "%u", call->http_status);
	bool fine = json_open(call->body, limits, &doc, &failure) == ERR_OK &&
		    json_string_member(&doc, "status", &status) == ERR_OK &&
		    span_is(status, expected);

	json_close(&doc);
	return fine;
}

static void finish_call(struct job *job)
{
	const struct http_call *call = &job->call;
	struct span result;
	char detail[256];

	describe(call, detail, sizeof(detail));
	switch (read_outcome(call, &result)) {
	case OUTCOME_RESULT:
		job->all->counters.call_results++;
		reply(job->crossing, &job->id, job->op->name_span, MESSAGE_JSON, result,
			call_left_ms(job));
		consumer_ack(job->consumer, job->tag);
		finish(job);
		return;
	case OUTCOME_REFUSED:
		if (!is_problem_document(call)) {
			finish_call_problem(job, PROBLEM_REFUSED, 0, detail);
			return;
		}
		job->all->counters.call_problems++;
		reply(job->crossing, &job->id, job->op->name_span, MESSAGE_PROBLEM, call->body,
			call_left_ms(job));
		consumer_ack(job->consumer, job->tag);
		finish(job);
		return;
	case OUTCOME_LATER:
		finish_call_problem(job, PROBLEM_OVERLOADED,
			call->has_retry_after ? call->retry_after_ms : RETRY_SOON_MS, detail);
		return;
	case OUTCOME_FAILED:
		finish_call_problem(job,
			call->status == ERR_TIMEOUT ? PROBLEM_DEADLINE_EXCEEDED
						    : PROBLEM_HANDLER_FAILED,
			0, detail);
		return;
	}
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
	const struct http_call *call = &job->call;
	struct span result;
	char detail[256];

	describe(call, detail, sizeof(detail));
	enum outcome outcome = read_outcome(call, &result);

	if (outcome == OUTCOME_RESULT) {
		log_info("msg=%s op=%s host=%s event=done attempts=%llu",
			id_format(&job->id).at, job->op->name, job->crossing->host,
			(unsigned long long)job->attempts);
		job->all->counters.sends_done++;
		consumer_ack(job->consumer, job->tag);
		finish(job);
	} else if (outcome == OUTCOME_REFUSED) {
		finish_send_dead(job, detail);
	} else if (!consumer_has(job->consumer, job->tag)) {
		finish_send_handed_back(job);
	} else {
		rest(job,
			outcome == OUTCOME_LATER && call->has_retry_after ? call->retry_after_ms
									  : 0,
			detail);
	}
}

/* ---- running ---- */

static void on_handler_done(struct http_call *call)
{
	struct job *job = container_of(call, struct job, call);

	hist_add(&job->all->handler_us, clock_mono_us() - job->run_us);
	if (is_call(job))
		finish_call(job);
	else
		finish_send(job);
}

/* Visible ASCII as it is, the rest percent-encoded: a header cannot carry more (RFC 9110). */
static void encode_key(struct span key, char out[KEY_HEADER_BYTES])
{
	static const char digits[] = "0123456789ABCDEF";
	size_t used = 0;

	for (size_t i = 0; i < key.len; i++) {
		unsigned char c = (unsigned char)key.at[i];

		if (c > ' ' && c <= '~' && c != '%') {
			out[used++] = (char)c;
			continue;
		}
		out[used++] = '%';
		out[used++] = digits[c >> 4];
		out[used++] = digits[c & 0x0f];
	}
	out[used] = '\0';
}

static bool is_traceparent(struct span text)
{
	if (text.len != TRACEPARENT_BYTES)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] < '!' || text.at[i] > '~')
			return false;
	return true;
}

static enum err ask_handler(struct job *job, uint64_t deadline_ms)
{
	struct id_text id = id_format(&job->id);
	char attempt[24];
	char deadline[24];
	char key[KEY_HEADER_BYTES];
	char traceparent[TRACEPARENT_BYTES + 1] = "";
	char path[MESSAGE_TYPE_MAX_BYTES + 2];
	struct http_header headers[HEADERS_MAX];
	size_t count = 0;

	snprintf(path, sizeof(path), "/%s", job->op->name);
	snprintf(attempt, sizeof(attempt), "%llu", (unsigned long long)job->attempts);
	snprintf(deadline, sizeof(deadline), "%llu", (unsigned long long)deadline_ms);
	headers[count++] = (struct http_header){ "Sallyport-Id", id.at };
	headers[count++] = (struct http_header){ "Sallyport-Host", job->crossing->host };
	headers[count++] = (struct http_header){ "Sallyport-Attempt", attempt };
	headers[count++] = (struct http_header){ "Sallyport-Deadline-Ms", deadline };
	if (job->key.len > 0) {
		encode_key(job->key, key);
		headers[count++] = (struct http_header){ "Sallyport-Key", key };
	}
	if (is_traceparent(job->traceparent)) {
		memcpy(traceparent, job->traceparent.at, TRACEPARENT_BYTES);
		headers[count++] = (struct http_header){ "traceparent", traceparent };
	}
	struct http_ask ask = {
		.method = HTTP_POST,
		.target = job->all->target,
		.path = span_of(path),
		.headers = headers,
		.header_count = count,
		.body = job->body,
		.deadline_ms = deadline_ms,
		.max_answer_bytes = MESSAGE_BODY_MAX_BYTES,
	};

	job->call = (struct http_call){ .on_done = on_handler_done };
	return http_client_send(job->all->client, &job->call, &ask);
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
	/* begin() can end a job at once, which leads back here: the loop above goes on with it.
	 */
	if (j->is_starting)
		return;
	j->is_starting = true;
	for (;;) {
		struct work *work = dispatch_next(&j->dispatch);

		if (work == NULL)
			break;
		begin(container_of(work, struct job, work));
	}
	j->is_starting = false;
}

/* A call whose deadline came before its turn, or a send whose rest is over. */
static void on_timer(struct timer *timer)
{
	struct job *job = container_of(timer, struct job, timer);
	struct jobs *j = job->all;

	if (is_call(job)) {
		j->counters.call_expired++;
		log_info("msg=%s op=%s host=%s event=expired reason=no-handler-was-free",
			id_format(&job->id).at, job->op->name, job->crossing->host);
		consumer_ack(job->consumer, job->tag);
		finish(job);
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
	log_info("msg=%s op=%s host=%s event=duplicate redelivered=%d", id_format(&job->id).at,
		job->op->name, job->crossing->host, d->is_redelivered);
	if (consumer_has(job->consumer, job->tag))
		consumer_ack(c, d->tag);
	else
		job->tag = d->tag;
}

static void refuse_for_memory(struct jobs *j, struct crossing *x, struct consumer *c,
	const struct delivery *d, const struct operation *op)
{
	j->counters.overloaded++;
	log_error("msg=%s op=%s host=%s event=refused reason=out-of-memory",
		id_format(&d->message.id).at, op->name, x->host);
	if (op->kind == CONTRACT_CALL) {
		jobs_answer_problem(x, &d->message, PROBLEM_OVERLOADED, "out of memory");
		consumer_ack(c, d->tag);
	} else {
		channel_restart(&c->channel, ERR_NOMEM, "no memory for a delivery");
	}
}

void jobs_take(struct jobs *j, struct crossing *x, struct consumer *c, const struct delivery *d,
	const struct operation *op)
{
	struct job *job = find(j, x, c, &d->message.id);

	if (job != NULL) {
		take_again(job, c, d);
		return;
	}
	if (op->kind == CONTRACT_CALL && d->is_redelivered) {
		j->counters.calls_redelivered++;
		log_info("msg=%s op=%s host=%s event=not-run reason=redelivered",
			id_format(&d->message.id).at, op->name, x->host);
		jobs_answer_problem(x, &d->message, PROBLEM_APP_UNAVAILABLE,
			"a node was lost with this call; whether it ran is unknown");
		consumer_ack(c, d->tag);
		return;
	}
	if (op->kind == CONTRACT_SEND && j->is_holding)
		return; /* goes back when the connection is closed */
	job = make(j, x, c, d, op);
	if (job == NULL || dispatch_add(&j->dispatch, &job->work, j->contract, op,
				   d->message.key) != ERR_OK) {
		free(job);
		refuse_for_memory(j, x, c, d, op);
		return;
	}
	RB_INSERT(jobs_by_id, &j->by_id, job);
	if (is_call(job)) {
		uint64_t left_ms = d->message.time_left_ms < op->deadline_ms
					   ? d->message.time_left_ms
					   : op->deadline_ms;

		job->ends_us = clock_mono_us() + left_ms * 1000;
		timer_after(&job->timer, left_ms);
	}
	run_what_may(j);
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

enum err jobs_init(struct jobs *j, struct loop *l, const struct contract *contract,
	const struct http_target *target, struct http_client *client)
{
	*j = (struct jobs){
		.loop = l,
		.contract = contract,
		.target = target,
		.client = client,
	};
	RB_INIT(&j->by_id);
	hist_init(&j->handler_us);
	timer_init(&j->idle_check, l, on_idle_check);
	return dispatch_init(&j->dispatch, contract);
}

void jobs_fini(struct jobs *j)
{
	if (j->loop == NULL)
		return;
	timer_cancel(&j->idle_check);
	dispatch_fini(&j->dispatch);
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
			http_client_cancel(j->client, &job->call);
		log_info("msg=%s op=%s host=%s event=handed-back reason=stopping",
			id_format(&job->id).at, job->op->name, job->crossing->host);
		finish(job);
	}
	j->is_starting = false;
}
