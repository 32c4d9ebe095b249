#include "app-node/send.h"

#include "app-node/outcome.h"
#include "base/clock.h"
#include "base/log.h"

static void finish_dead(struct job *job, const char *reason)
{
	log_warn("msg=%s op=%s host=%s event=dead attempts=%llu reason=\"%s\"",
		id_format(&job->id).at, job->op->name, job->crossing->host,
		(unsigned long long)job->attempts, reason);
	job->all->counters.sends_dead++;
	if (job_has_delivery(job))
		consumer_reject(&job->shift->send, job->tag);
	job_end(job);
}

void send_hand_back(struct job *job, const char *reason)
{
	log_info("msg=%s op=%s host=%s event=handed-back reason=%s", id_format(&job->id).at,
		job->op->name, job->crossing->host, reason);
	job->all->counters.sends_handed_back++;
	job_end(job);
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
		finish_dead(job, reason);
		return;
	}
	j->counters.sends_retried++;
	log_info("msg=%s op=%s host=%s event=retry attempts=%llu wait_ms=%llu reason=\"%s\"",
		id_format(&job->id).at, job->op->name, job->crossing->host,
		(unsigned long long)job->attempts, (unsigned long long)wait_ms, reason);
	dispatch_rest(&j->dispatch, &job->work);
	timer_after(&job->timer, wait_ms);
	jobs_run(j);
}

void send_finish(struct job *job)
{
	struct outcome outcome = outcome_read(&job->call, NULL, NULL);
	char detail[OUTCOME_DETAIL_BYTES];

	if (outcome.kind == OUTCOME_RESULT) {
		log_info("msg=%s op=%s host=%s event=done attempts=%llu",
			id_format(&job->id).at, job->op->name, job->crossing->host,
			(unsigned long long)job->attempts);
		job->all->counters.sends_done++;
		seen_done(&job->crossing->seen, &job->id, job->op->name_span, job->body);
		if (job_has_delivery(job))
			consumer_ack(&job->shift->send, job->tag);
		job_end(job);
		return;
	}
	outcome_describe(&job->call, detail);
	if (outcome.kind == OUTCOME_REFUSED)
		finish_dead(job, detail);
	else if (!job_has_delivery(job))
		send_hand_back(job, "lane-lost");
	else if (consumer_is_held(&job->shift->send))
		send_hand_back(job, "relieved"); /* who has taken over tries it again */
	else
		rest(job, outcome.retry_after_ms, detail);
}
