#include "webapp-agent/desk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "contract/json.h"

enum {
	DETAIL_BYTES = 512,
	RETRY_SOON_MS = 1000,
	TRACEPARENT_BYTES = 55, /* W3C Trace Context, version 00 */
	STATUS_OK = 200,
	STATUS_ACCEPTED = 202,
	STATUS_BAD_GATEWAY = 502,
};

/* A request after all local checks. Spans are borrowed from rq. */
struct asked {
	const struct operation *op;
	struct span body;
	struct span key; /* Idempotency-Key */
	struct span traceparent;
	char order_key[MESSAGE_KEY_MAX_BYTES];
	size_t order_key_len;
	uint64_t deadline_ms;
	struct digest content;
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

enum errand_end { ERRAND_LAPSES = 0, ERRAND_DROPS };

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
	log_line(e->state == ERRAND_SENT ? LOG_INFO : LOG_DEBUG,
		"msg=%s event=failed reason=%s after_us=%llu", id_format(&e->id).at,
		problem_name(type),
		(unsigned long long)(e->state == ERRAND_SENT ? clock_mono_us() - e->begun_us
							     : 0));
	if (end == ERRAND_LAPSES)
		errand_lapse(e, &problem);
	else
		errand_drop(e, &problem);
}

/* ---- local checks, each answers rq itself when it says no ---- */

static void refuse_kind(struct desk *d, struct http_request *rq, const struct operation *op)
{
	const char *kind = contract_kind_text(op->kind);

	if (op->kind == CONTRACT_CALL || op->kind == CONTRACT_SEND)
		desk_refuse(d, rq, PROBLEM_WRONG_KIND, "%s is a %s: POST /v1/%s/%s", op->name,
			kind, kind, op->name);
	else
		desk_refuse(d, rq, PROBLEM_WRONG_KIND,
			"%s is a %s: it can be neither called nor sent", op->name, kind);
}

static bool check_operation(struct desk *d, struct http_request *rq, struct span name,
	enum contract_kind kind, struct asked *out)
{
	const struct operation *op = contract_find(d->contract, name);

	/* What this host may not use does not exist for it. */
	if (op == NULL || !contract_allows(d->contract, span_of(d->config.host), op)) {
		desk_refuse(d, rq, PROBLEM_UNKNOWN_OPERATION,
			"no operation \"%s\" in the contract of site %s for this host",
			text_show(name).at, d->contract->site);
		return false;
	}
	if (op->kind != kind) {
		refuse_kind(d, rq, op);
		return false;
	}
	out->op = op;
	return true;
}

static bool is_visible_ascii(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] < '!' || text.at[i] > '~')
			return false;
	return true;
}

static bool check_headers(struct desk *d, struct http_request *rq, struct asked *out)
{
	struct span text;
	uint64_t asked_ms;

	out->deadline_ms = out->op->deadline_ms;
	if (http_request_header(rq, "Deadline-Ms", &text)) {
		if (text_parse_u64(text, &asked_ms) != ERR_OK || asked_ms == 0) {
			desk_refuse(d, rq, PROBLEM_BAD_REQUEST,
				"Deadline-Ms is \"%s\": a whole number of milliseconds from 1",
				text_show(text).at);
			return false;
		}
		if (asked_ms < out->deadline_ms)
			out->deadline_ms = asked_ms;
	}
	if (http_request_header(rq, "Idempotency-Key", &text)) {
		if (text.len == 0 || text.len > ERRAND_KEY_MAX_BYTES ||
			!is_visible_ascii(text)) {
			desk_refuse(d, rq, PROBLEM_BAD_REQUEST,
				"Idempotency-Key: 1 to %d visible ASCII characters",
				ERRAND_KEY_MAX_BYTES);
			return false;
		}
		out->key = text;
	}
	/* A malformed trace context is ignored, as W3C Trace Context asks. */
	if (http_request_header(rq, "traceparent", &text) && text.len == TRACEPARENT_BYTES &&
		is_visible_ascii(text))
		out->traceparent = text;
	return true;
}

static bool violates(struct desk *d, struct http_request *rq, const char *pointer,
	const char *rule, const char *detail)
{
	struct problem problem = {
		.type = PROBLEM_CONTRACT_VIOLATION,
		.detail = span_of(detail),
		.pointer = span_of(pointer),
		.rule = span_of(rule),
	};

	d->counters.problems[problem.type]++;
	http_request_answer_problem(rq, &problem);
	return false;
}

/* The value of the parameter that orders the operation's messages. */
static bool check_order_key(
	struct desk *d, struct http_request *rq, struct json_doc *doc, struct asked *out)
{
	struct span value;
	char pointer[CONTRACT_MAX_NAME + 2];

	if (out->op->key == NULL)
		return true;
	snprintf(pointer, sizeof(pointer), "/%s", out->op->key);
	enum err err = json_string_member(doc, out->op->key, &value);

	if (err == ERR_NOT_FOUND)
		return violates(d, rq, pointer, "key", "the ordering key is missing");
	if (err != ERR_OK || value.len == 0 || value.len > MESSAGE_KEY_MAX_BYTES)
		return violates(d, rq, pointer, "key",
			"the ordering key is a whole number or a text of 1 to 128 bytes");
	memcpy(out->order_key, value.at, value.len);
	out->order_key_len = value.len;
	return true;
}

static bool check_body(struct desk *d, struct http_request *rq, struct asked *out)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc = { 0 };

	out->body = http_request_body(rq);
	if (out->body.len == 0)
		out->body = span_of("{}");
	enum err err = json_open(out->body, limits, &doc, &failure);

	if (err == ERR_FULL) {
		desk_refuse(d, rq, PROBLEM_PAYLOAD_TOO_LARGE, "%zu bytes, at most %d",
			out->body.len, MESSAGE_BODY_MAX_BYTES);
		return false;
	}
	if (err == ERR_NOMEM) {
		desk_refuse(d, rq, PROBLEM_OVERLOADED, "out of memory");
		return false;
	}
	if (err != ERR_OK) {
		desk_refuse(d, rq, PROBLEM_BAD_REQUEST, "the body is no JSON: %s, at byte %zu",
			failure.text, failure.at_byte);
		return false;
	}
	bool fine = json_top_is_object(&doc)
			    ? check_order_key(d, rq, &doc, out)
			    : violates(d, rq, "", "type", "the parameters are a JSON object");

	json_close(&doc);
	return fine;
}

static bool check_digest(struct desk *d, struct http_request *rq, struct asked *out)
{
	struct buf content;

	if (out->key.len == 0)
		return true; /* nothing will ever be compared with it */
	buf_init(&content, MIB(1));
	buf_text(&content, out->op->name);
	buf_byte(&content, '\n');
	buf_append(&content, out->body);
	enum err err = buf_status(&content);

	if (err == ERR_OK)
		err = digest_of(buf_span(&content), &out->content);
	buf_fini(&content);
	if (err == ERR_OK)
		return true;
	desk_refuse(d, rq, PROBLEM_OVERLOADED, "%s", err_text(err));
	return false;
}

static bool check(struct desk *d, struct http_request *rq, struct span name,
	enum contract_kind kind, struct asked *out)
{
	*out = (struct asked){ 0 };
	if (d->is_closed) {
		desk_refuse(d, rq, PROBLEM_STOPPING, "no new work is taken");
		return false;
	}
	return check_operation(d, rq, name, kind, out) && check_headers(d, rq, out) &&
	       check_body(d, rq, out) && check_digest(d, rq, out);
}

/* Finds or makes the errand; false when rq is dealt with. */
static bool find_errand(
	struct desk *d, struct http_request *rq, const struct asked *asked, struct errand **out)
{
	enum errand_match match;

	switch (errand_for(&d->errands, asked->key, &asked->content, rq, out, &match)) {
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
	if (err == ERR_FULL)
		end_errand(d, e, ERRAND_DROPS, PROBLEM_OVERLOADED,
			"the border takes messages more slowly than they come");
	else
		end_errand(d, e, ERRAND_DROPS, PROBLEM_BORDER_UNAVAILABLE,
			"no connection to the border; nothing was sent");
}

/* ---- calls ---- */

static struct desk *desk_of(struct errand *e)
{
	return container_of(e->all, struct desk, errands);
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

/* The status that a problem document of the app realm carries; 502 if it carries none. */
static unsigned problem_document_status(struct span body)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc = { 0 };
	struct span text;
	uint64_t status = 0;

	if (json_open(body, limits, &doc, &failure) != ERR_OK)
		return STATUS_BAD_GATEWAY;
	if (json_string_member(&doc, "status", &text) != ERR_OK ||
		text_parse_u64(text, &status) != ERR_OK || status < 400 || status > 599)
		status = STATUS_BAD_GATEWAY;
	json_close(&doc);
	return (unsigned)status;
}

void desk_reply(struct desk *d, const struct message *reply)
{
	struct errand *e = errand_find(&d->errands, &reply->correlation);

	if (e == NULL || (e->state != ERRAND_SENT && e->state != ERRAND_LAPSED)) {
		d->counters.late_replies++;
		log_info("msg=%s event=reply-late reason=nobody-waits",
			id_format(&reply->correlation).at);
		return;
	}
	unsigned status = reply->content == MESSAGE_PROBLEM
				  ? problem_document_status(reply->body)
				  : STATUS_OK;

	if (e->state == ERRAND_SENT)
		hist_add(&d->call_us, clock_mono_us() - e->begun_us);
	d->counters.call_results++;
	log_debug("msg=%s event=reply status=%u bytes=%zu", id_format(&e->id).at, status,
		reply->body.len);
	errand_done(e, status, message_content_type(reply->content), reply->body);
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

	snprintf(body, sizeof(body), "{\"id\":\"%s\"}", id_format(&e->id).at);
	hist_add(&d->send_us, clock_mono_us() - e->begun_us);
	d->counters.sends_accepted++;
	log_info("msg=%s event=accepted", id_format(&e->id).at);
	errand_done(e, STATUS_ACCEPTED, message_content_type(MESSAGE_JSON), span_of(body));
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
	} else {
		end_errand(d, e, ERRAND_LAPSES, PROBLEM_BORDER_UNAVAILABLE,
			"the border did not take the message: %s",
			status == ERR_FULL ? "its queue is full" : "no queue is bound for it");
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
	errands_init(&d->errands, l, &config->errands);
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
