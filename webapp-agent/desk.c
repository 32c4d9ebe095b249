#include "webapp-agent/desk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "webapp-agent/asked.h"
#include "webapp-agent/reply.h"

enum {
	DETAIL_BYTES = 512,
	RETRY_SOON_MS = 1000,
	STATUS_ACCEPTED = 202,
	/* A broker in an alarm stops reading at the first publish, and says so at once: what it
	 * had read before is older than its answer takes, however busy it is. */
	UNREAD_US = 1000 * 1000,
};

/* A send between publish and confirm. The errand may be gone before the confirm comes. */
struct sending {
	struct publish req;
	struct desk *desk;
};

/* Whether waiting helps, and how long. */
static uint64_t retry_after_ms(enum problem_type type)
{
	switch (problem_status(type)) {
	case 429:
	case 503:
	case 507:
		return RETRY_SOON_MS;
	default:
		return 0;
	}
}

static struct problem make_problem(struct desk *d, enum problem_type type, char *detail,
	const char *format, va_list args) PRINTF_LIKE(4, 0);

static struct problem make_problem(
	struct desk *d, enum problem_type type, char *detail, const char *format, va_list args)
{
	int len = vsnprintf(detail, DETAIL_BYTES, format, args);

	d->counters.problems[type]++;
	return (struct problem){
		.type = type,
		.detail = len < 0 ? (struct span){ 0 } : span_of(detail),
		.retry_after_ms = retry_after_ms(type),
	};
}

void desk_refuse(struct desk *d, struct http_request *rq, enum problem_type type,
	const char *format, ...)
{
	char detail[DETAIL_BYTES];
	va_list args;

	va_start(args, format);
	struct problem problem = make_problem(d, type, detail, format, args);

	va_end(args);
	log_debug("event=refused reason=%s detail=\"%s\"", problem_name(type), detail);
	http_request_answer_problem(rq, &problem);
}

/* IN_VAIN: it lapses, and waiting alone will not help. */
enum errand_end { ERRAND_LAPSES = 0, ERRAND_LAPSES_IN_VAIN, ERRAND_DROPS };

static void end_errand(struct desk *d, struct errand *e, enum errand_end end,
	enum problem_type type, const char *format, ...) PRINTF_LIKE(5, 6);

static void end_errand(struct desk *d, struct errand *e, enum errand_end end,
	enum problem_type type, const char *format, ...)
{
	char detail[DETAIL_BYTES];
	va_list args;

	va_start(args, format);
	struct problem problem = make_problem(d, type, detail, format, args);

	va_end(args);
	/* What never left this host is counted and told to its caller, no more: while the border is
	 * away, whoever owns the web process could fill the disk with lines. */
	enum log_level level = e->state == ERRAND_SENT ? LOG_INFO : LOG_DEBUG;

	if (log_wants(level))
		log_line(level, "msg=%s event=failed reason=%s after_us=%llu",
			id_format(&e->id).at, problem_name(type),
			(unsigned long long)(e->state == ERRAND_SENT
						     ? clock_mono_us() - e->begun_us
						     : 0));
	if (end == ERRAND_LAPSES_IN_VAIN)
		problem.retry_after_ms = 0;
	if (end != ERRAND_DROPS)
		errand_lapse(e, &problem);
	else
		errand_drop(e, &problem);
}

/* ---- taking in; rq is answered when the answer is no ---- */

static void refuse_asked(
	struct desk *d, struct http_request *rq, const struct asked_wrongly *no)
{
	struct problem problem = {
		.type = no->type,
		.detail = span_of(no->detail),
		.pointer = span_of(no->rule == NULL ? NULL : no->pointer),
		.rule = span_of(no->rule),
		.retry_after_ms = retry_after_ms(no->type),
	};

	d->counters.problems[no->type]++;
	log_debug("event=refused reason=%s detail=\"%s\"", problem_name(no->type), no->detail);
	http_request_answer_problem(rq, &problem);
}

static struct asked_by asked_by(const struct desk *d)
{
	return (struct asked_by){ .contract = d->contract, .host = d->config.host };
}

bool desk_wants_body(
	const struct desk *d, struct http_request *rq, struct span op, enum contract_kind kind)
{
	struct asked_by by = asked_by(d);
	struct asked asked;
	struct asked_wrongly no;

	return !d->is_closed && asked_read_head(&by, rq, op, kind, &asked, &no);
}

static bool check(struct desk *d, struct http_request *rq, struct span name,
	enum contract_kind kind, struct asked *out)
{
	struct asked_by by = asked_by(d);
	struct asked_wrongly no;

	if (d->is_closed) {
		desk_refuse(d, rq, PROBLEM_STOPPING, "no new work is taken");
		return false;
	}
	if (asked_read(&by, rq, name, kind, out, &no))
		return true;
	refuse_asked(d, rq, &no);
	return false;
}

/* Finds or makes the errand; false when rq is dealt with. */
static bool find_errand(
	struct desk *d, struct http_request *rq, const struct asked *asked, struct errand **out)
{
	struct errand_ask ask = {
		.kind = asked->op->kind == CONTRACT_CALL ? ERRAND_CALL : ERRAND_SEND,
		.key = asked->key,
		.content = &asked->content,
		.wait_ms = asked->op->kind == CONTRACT_CALL ? asked->deadline_ms : 0,
	};
	enum errand_match match;

	switch (errand_for(&d->errands, &ask, rq, out, &match)) {
	case ERR_OK:
		return match != ERRAND_JOINED;
	case ERR_CONFLICT:
		desk_refuse(d, rq, PROBLEM_CONFLICT,
			"Idempotency-Key %.*s came before with other content",
			SPAN_ARG(asked->key));
		return false;
	case ERR_FULL:
		desk_refuse(d, rq, PROBLEM_OVERLOADED, "%u requests are under way already",
			d->config.errands.max_waiting);
		return false;
	default:
		desk_refuse(d, rq, PROBLEM_OVERLOADED, "out of memory");
		return false;
	}
}

static struct message make_message(
	const struct desk *d, const struct errand *e, const struct asked *asked)
{
	return (struct message){
		.id = e->id,
		.type = asked->op->name_span,
		.traceparent = asked->traceparent,
		.key = { .at = asked->order_key, .len = asked->order_key_len },
		.contract = span_of(d->contract_digest),
		.body = asked->body,
	};
}

static void tell_border_away(struct desk *d, struct errand *e, enum err err)
{
	const char *why = border_blocked_why(d->border);

	if (err == ERR_FULL)
		end_errand(d, e, ERRAND_DROPS, PROBLEM_OVERLOADED,
			"the border takes messages more slowly than they come");
	else if (err == ERR_NOMEM)
		end_errand(d, e, ERRAND_DROPS, PROBLEM_OVERLOADED, "out of memory");
	else if (why != NULL)
		end_errand(d, e, ERRAND_DROPS, PROBLEM_BORDER_UNAVAILABLE,
			"the border takes no messages at present (%s); nothing was sent", why);
	else
		end_errand(d, e, ERRAND_DROPS, PROBLEM_BORDER_UNAVAILABLE,
			"no connection to the border; nothing was sent");
}

/* ---- calls ---- */

static struct desk *desk_of(struct errand *e)
{
	return container_of(e->all, struct desk, errands);
}

/* One who joined has waited as long as he wanted to; the others go on waiting. */
static void on_impatient(struct errand *e, struct http_request *rq)
{
	struct desk *d = desk_of(e);
	struct id_text id = id_format(&e->id);
	struct problem problem = {
		.type = PROBLEM_DEADLINE_EXCEEDED,
		.detail = span_of("the app realm has not answered yet; it may still do"),
		.id = span_of(id.at),
	};

	d->counters.problems[problem.type]++;
	http_request_answer_problem(rq, &problem);
}

static void on_call_lapse(struct errand *e)
{
	end_errand(desk_of(e), e, ERRAND_LAPSES, PROBLEM_DEADLINE_EXCEEDED,
		"the app realm did not answer in time; whether the operation ran is unknown");
}

void desk_call(struct desk *d, struct http_request *rq, struct span op)
{
	struct asked asked;
	struct errand *e;

	if (!check(d, rq, op, CONTRACT_CALL, &asked) || !find_errand(d, rq, &asked, &e))
		return;
	struct message m = make_message(d, e, &asked);

	m.durability = MESSAGE_TRANSIENT;
	m.time_left_ms = asked.deadline_ms;
	enum err err = border_call(d->border, &m);

	if (err != ERR_OK) {
		tell_border_away(d, e, err);
		return;
	}
	d->counters.calls++;
	log_debug("msg=%s op=%s event=call bytes=%zu deadline_ms=%llu", id_format(&e->id).at,
		asked.op->name, asked.body.len, (unsigned long long)asked.deadline_ms);
	errand_sent(e, asked.deadline_ms, on_call_lapse);
}

/* A reply with nobody here to take it. Two agents under one name share one queue, and each gets
 * half of the other's replies: calls of both end in 504, and only here it can be seen why. */
static void drop_reply(struct desk *d, const struct id *asked)
{
	switch (errand_maker(&d->errands, asked)) {
	case ERRAND_MADE_HERE:
		d->counters.late_replies++;
		log_info("msg=%s event=reply-late reason=nobody-waits", id_format(asked).at);
		return;
	case ERRAND_MADE_BEFORE:
		d->counters.late_replies++;
		log_info("msg=%s event=reply-late reason=asked-before-start",
			id_format(asked).at);
		return;
	case ERRAND_MADE_ELSEWHERE:
		d->counters.foreign_replies++;
		if (quiet_may_log(&d->border->quiet, "reply-foreign"))
			log_warn("msg=%s event=reply-foreign err=\"another agent runs under "
				 "this "
				 "host's name and we take each other's replies: stop it, or "
				 "give it a "
				 "host of its own\"",
				id_format(asked).at);
		return;
	}
}

void desk_reply(struct desk *d, const struct message *reply)
{
	struct errand *e = errand_find(&d->errands, &reply->correlation);

	if (e == NULL || e->kind != ERRAND_CALL ||
		(e->state != ERRAND_SENT && e->state != ERRAND_LAPSED)) {
		drop_reply(d, &reply->correlation);
		return;
	}
	struct reply_meaning meaning = reply_read(reply);
	struct errand_outcome outcome = {
		.status = meaning.status,
		.content_type = message_content_type(reply->content),
		.retry_after_ms = meaning.retry_after_ms,
		.body = reply->body,
	};

	if (e->state == ERRAND_SENT)
		hist_add(&d->call_us, clock_mono_us() - e->begun_us);
	d->counters.call_results++;
	log_debug("msg=%s event=reply status=%u bytes=%zu", id_format(&e->id).at,
		outcome.status, reply->body.len);
	errand_done(e, &outcome);
}

/* Ends the calls that went out just now; `what` the border does, and why as it said. */
static void end_recent(struct desk *d, const char *what, const char *why, uint64_t wait_ms)
{
	char detail[DETAIL_BYTES];

	snprintf(detail, sizeof(detail),
		"the border %s (%s); whether the operation ran is unknown", what, why);
	struct problem problem = {
		.type = PROBLEM_BORDER_UNAVAILABLE,
		.detail = span_of(detail),
		.retry_after_ms = wait_ms,
	};
	uint64_t now_us = clock_mono_us();
	uint64_t since_us = now_us > UNREAD_US ? now_us - UNREAD_US : 0;
	unsigned count = errands_lapse_since(&d->errands, on_call_lapse, since_us, &problem);

	d->counters.problems[problem.type] += count;
	if (count > 0)
		log_info("event=failed reason=%s calls=%u why=\"the border %s\"",
			problem_name(problem.type), count, what);
}

void desk_blocked(struct desk *d)
{
	end_recent(d, "takes no messages at present", border_blocked_why(d->border),
		RETRY_SOON_MS);
}

void desk_refused(struct desk *d)
{
	end_recent(d, "refuses calls", border_refused_why(d->border), 0);
}

/* ---- sends ---- */

static void on_send_lapse(struct errand *e)
{
	end_errand(desk_of(e), e, ERRAND_LAPSES, PROBLEM_DEADLINE_EXCEEDED,
		"the border did not confirm in time; send again under the same "
		"Idempotency-Key");
}

static void tell_accepted(struct desk *d, struct errand *e)
{
	char body[64];

	int len = snprintf(body, sizeof(body), "{\"id\":\"%s\"}", id_format(&e->id).at);
	struct errand_outcome outcome = {
		.status = STATUS_ACCEPTED,
		.content_type = message_content_type(MESSAGE_JSON),
		.body = { .at = body, .len = (size_t)len },
	};

	hist_add(&d->send_us, clock_mono_us() - e->begun_us);
	d->counters.sends_accepted++;
	log_info("msg=%s event=accepted", id_format(&e->id).at);
	errand_done(e, &outcome);
}

static void on_send_settled(struct publish *req, enum err status)
{
	struct sending *sending = container_of(req, struct sending, req);
	struct desk *d = sending->desk;
	struct id id = req->id;
	struct errand *e = errand_find(&d->errands, &id);

	free(sending); /* and req with it */
	if (e == NULL || e->state == ERRAND_DONE) {
		log_info("msg=%s event=confirm-late err=\"%s\"", id_format(&id).at,
			err_text(status));
	} else if (status == ERR_OK) {
		tell_accepted(d, e);
	} else if (e->state == ERRAND_LAPSED) {
		log_info("msg=%s event=refused-late err=\"%s\"", id_format(&e->id).at,
			err_text(status));
	} else if (status == ERR_LINK) {
		end_errand(d, e, ERRAND_LAPSES, PROBLEM_BORDER_UNAVAILABLE,
			"the connection broke before the border confirmed; send again under "
			"the same Idempotency-Key");
	} else if (status == ERR_FULL) {
		end_errand(d, e, ERRAND_LAPSES, PROBLEM_BORDER_UNAVAILABLE,
			"the border did not take the message: its queue is full");
	} else {
		end_errand(d, e, ERRAND_LAPSES_IN_VAIN, PROBLEM_BORDER_UNAVAILABLE,
			"the border did not take the message: no queue is bound for it");
	}
}

void desk_send(struct desk *d, struct http_request *rq, struct span op)
{
	struct asked asked;
	struct errand *e;

	if (!check(d, rq, op, CONTRACT_SEND, &asked) || !find_errand(d, rq, &asked, &e))
		return;
	struct message m = make_message(d, e, &asked);
	struct sending *sending = calloc(1, sizeof(*sending));

	if (sending == NULL) {
		end_errand(d, e, ERRAND_DROPS, PROBLEM_OVERLOADED, "out of memory");
		return;
	}
	sending->desk = d;
	sending->req.on_done = on_send_settled;
	m.durability = MESSAGE_PERSISTENT;
	enum err err = border_send(d->border, &m, &sending->req);

	if (err != ERR_OK) {
		free(sending);
		tell_border_away(d, e, err);
		return;
	}
	d->counters.sends++;
	log_info("msg=%s op=%s event=send bytes=%zu", id_format(&e->id).at, asked.op->name,
		asked.body.len);
	errand_sent(e, d->config.send_timeout_ms, on_send_lapse);
}

/* ---- life ---- */

void desk_init(struct desk *d, struct loop *l, const struct desk_config *config,
	const struct contract *contract, const char *contract_digest, struct border *border)
{
	*d = (struct desk){
		.config = *config,
		.contract = contract,
		.contract_digest = contract_digest,
		.border = border,
	};
	hist_init(&d->call_us);
	hist_init(&d->send_us);
	d->config.errands.on_impatient = on_impatient;
	errands_init(&d->errands, l, &d->config.errands);
}

void desk_fini(struct desk *d)
{
	errands_fini(&d->errands);
}

void desk_close(struct desk *d)
{
	d->is_closed = true;
}

bool desk_is_idle(const struct desk *d)
{
	return d->errands.waiter_count == 0;
}

void desk_cancel(struct desk *d)
{
	struct problem problem = {
		.type = PROBLEM_STOPPING,
		.detail = span_of("the agent stops; whether the operation ran is unknown"),
		.retry_after_ms = RETRY_SOON_MS,
	};

	errands_cancel(&d->errands, &problem);
}
