#include "app-node/call.h"

#include "app-node/outcome.h"
#include "app-node/reply.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

uint64_t call_left_ms(const struct job *job)
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

static void finish_problem(
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
	job_end(job);
}

static void finish_result(struct job *job, enum message_content content, struct span body)
{
	struct reply_to to = reply_to(job);

	reply_with(&to, content, body);
	job_end(job);
}

/* Where it broke the contract is for our log; the web realm hears that it did. */
static void finish_broken(struct job *job, const struct schema_failure *failure)
{
	job->all->counters.results_refused++;
	if (crossing_may_log(job->crossing, "result-refused"))
		log_warn("msg=%s op=%s host=%s event=result-refused pointer=\"%s\" rule=%s "
			 "detail=\"%s\"",
			id_format(&job->id).at, job->op->name, job->crossing->host,
			text_show(span_of(failure->pointer)).at, failure->rule,
			text_show(span_of(failure->text)).at);
	finish_problem(job, PROBLEM_HANDLER_FAILED, 0,
		"the handler's result is not what the contract says");
}

void call_finish(struct job *job)
{
	const struct http_call *call = &job->call;
	struct schema_failure failure;
	struct outcome outcome = outcome_read(call, job->op->result, &failure);
	char detail[OUTCOME_DETAIL_BYTES];

	if (outcome.kind == OUTCOME_RESULT) {
		job->all->counters.call_results++;
		finish_result(job, MESSAGE_JSON, outcome.result);
		return;
	}
	if (outcome.kind == OUTCOME_REFUSED && outcome_is_problem_document(call)) {
		job->all->counters.call_problems++;
		finish_result(job, MESSAGE_PROBLEM, call->body);
		return;
	}
	if (outcome.kind == OUTCOME_BROKEN) {
		finish_broken(job, &failure);
		return;
	}
	outcome_describe(call, detail);
	switch (outcome.kind) {
	case OUTCOME_RESULT:
	case OUTCOME_BROKEN:
	case OUTCOME_REFUSED:
		finish_problem(job, PROBLEM_REFUSED, 0, detail);
		return;
	case OUTCOME_LATER:
		finish_problem(job, PROBLEM_OVERLOADED, outcome.retry_after_ms, detail);
		return;
	case OUTCOME_FAILED:
		finish_problem(job,
			call->status == ERR_TIMEOUT ? PROBLEM_DEADLINE_EXCEEDED
						    : PROBLEM_HANDLER_FAILED,
			0, detail);
		return;
	}
}

void call_give_up(struct job *job)
{
	job->all->counters.call_expired++;
	finish_problem(job, PROBLEM_OVERLOADED, 0,
		"more calls wait than handlers can take in time; it did not run");
}

void call_stop(struct job *job)
{
	finish_problem(job, PROBLEM_STOPPING, 0,
		"the node stops; whether the operation ran is unknown");
}

void call_answer(struct crossing *x, const struct message *request, enum problem_type type,
	const char *detail)
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
