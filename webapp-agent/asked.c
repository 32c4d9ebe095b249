#include "webapp-agent/asked.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/text.h"
#include "contract/json.h"
#include "webapp-agent/errand.h"

enum { TRACEPARENT_BYTES = 55 }; /* W3C Trace Context, version 00 */

static bool wrong(struct asked_wrongly *no, enum problem_type type, const char *format, ...)
	PRINTF_LIKE(3, 4);

static bool wrong(struct asked_wrongly *no, enum problem_type type, const char *format, ...)
{
	va_list args;

	no->type = type;
	no->rule = NULL;
	no->pointer[0] = '\0';
	va_start(args, format);
	if (vsnprintf(no->detail, sizeof(no->detail), format, args) < 0)
		no->detail[0] = '\0';
	va_end(args);
	return false;
}

static bool check_kind(
	const struct operation *op, enum contract_kind kind, struct asked_wrongly *no)
{
	const char *right = contract_kind_text(op->kind);

	if (op->kind == kind)
		return true;
	if (op->kind == CONTRACT_CALL || op->kind == CONTRACT_SEND)
		return wrong(no, PROBLEM_WRONG_KIND, "%s is a %s: POST /v1/%s/%s", op->name,
			right, right, op->name);
	return wrong(no, PROBLEM_WRONG_KIND, "%s is a %s: it can be neither called nor sent",
		op->name, right);
}

static bool check_operation(const struct asked_by *by, struct span name,
	enum contract_kind kind, struct asked *out, struct asked_wrongly *no)
{
	const struct operation *op = contract_find(by->contract, name);

	/* What this host may not use does not exist for it. */
	if (op == NULL || !contract_allows(by->contract, span_of(by->host), op))
		return wrong(no, PROBLEM_UNKNOWN_OPERATION,
			"no operation \"%s\" in the contract of site %s for this host",
			text_show(name).at, by->contract->site);
	out->op = op;
	return check_kind(op, kind, no);
}

static bool is_visible_ascii(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] < '!' || text.at[i] > '~')
			return false;
	return true;
}

/* Of two that differ, another reader of the same request might take the other one. */
static bool check_given_once(const struct http_request *rq, struct asked_wrongly *no)
{
	static const char *const names[] = { "Deadline-Ms", "Idempotency-Key" };

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		size_t count = http_request_header_count(rq, names[i]);

		if (count > 1)
			return wrong(no, PROBLEM_BAD_REQUEST,
				"the header %s is there %zu times; once at most", names[i],
				count);
	}
	return true;
}

static bool check_headers(
	const struct http_request *rq, struct asked *out, struct asked_wrongly *no)
{
	struct span text;
	uint64_t asked_ms;

	if (!check_given_once(rq, no))
		return false;
	out->deadline_ms = out->op->deadline_ms;
	if (http_request_header(rq, "Deadline-Ms", &text)) {
		if (text_parse_u64(text, &asked_ms) != ERR_OK || asked_ms == 0)
			return wrong(no, PROBLEM_BAD_REQUEST,
				"Deadline-Ms is \"%s\": a whole number of milliseconds from 1",
				text_show(text).at);
		if (asked_ms < out->deadline_ms)
			out->deadline_ms = asked_ms;
	}
	if (http_request_header(rq, "Idempotency-Key", &text)) {
		if (text.len == 0 || text.len > ERRAND_KEY_MAX_BYTES || !is_visible_ascii(text))
			return wrong(no, PROBLEM_BAD_REQUEST,
				"Idempotency-Key: 1 to %d visible ASCII characters",
				ERRAND_KEY_MAX_BYTES);
		out->key = text;
	}
	/* A malformed trace context is ignored, as W3C Trace Context asks; so are two of them. */
	if (http_request_header_count(rq, "traceparent") == 1 &&
		http_request_header(rq, "traceparent", &text) &&
		text.len == TRACEPARENT_BYTES && is_visible_ascii(text))
		out->traceparent = text;
	return true;
}

static bool violates(
	struct asked_wrongly *no, const char *param, const char *rule, const char *detail)
{
	wrong(no, PROBLEM_CONTRACT_VIOLATION, "%s", detail);
	no->rule = rule;
	if (param != NULL)
		snprintf(no->pointer, sizeof(no->pointer), "/%s", param);
	return false;
}

/* The value of the parameter that orders the operation's messages. */
static bool check_order_key(struct json_doc *doc, struct asked *out, struct asked_wrongly *no)
{
	const char *param = out->op->key;
	struct span value;

	if (param == NULL)
		return true;
	enum err err = json_string_member(doc, param, &value);

	if (err == ERR_NOT_FOUND)
		return violates(no, param, "key", "the ordering key is missing");
	if (err == ERR_NOMEM)
		return wrong(no, PROBLEM_OVERLOADED, "out of memory");
	if (err != ERR_OK || value.len == 0 || value.len > MESSAGE_KEY_MAX_BYTES)
		return violates(no, param, "key",
			"the ordering key is a whole number or a text of 1 to 128 bytes");
	memcpy(out->order_key, value.at, value.len);
	out->order_key_len = value.len;
	return true;
}

static bool check_params(
	const struct schema *params, const struct json_doc *doc, struct asked_wrongly *no)
{
	struct schema_failure failure;
	enum err err = params == NULL ? ERR_OK : schema_check(params, doc, 0, &failure);

	if (err == ERR_OK)
		return true;
	if (err != ERR_INPUT)
		return wrong(no, PROBLEM_OVERLOADED, "out of memory");
	wrong(no, PROBLEM_CONTRACT_VIOLATION, "%s: %s",
		failure.pointer[0] == '\0' ? "the parameters" : failure.pointer, failure.text);
	no->rule = failure.rule;
	memcpy(no->pointer, failure.pointer, sizeof(no->pointer));
	return false;
}

static bool refuse_body(
	struct asked_wrongly *no, enum err err, size_t len, const struct json_failure *failure)
{
	if (err == ERR_FULL)
		return wrong(no, PROBLEM_PAYLOAD_TOO_LARGE, "%zu bytes, at most %d", len,
			MESSAGE_BODY_MAX_BYTES);
	if (err == ERR_NOMEM)
		return wrong(no, PROBLEM_OVERLOADED, "out of memory");
	return wrong(no, PROBLEM_BAD_REQUEST, "the body is no JSON: %s, at byte %zu",
		failure->text, failure->at_byte);
}

static bool check_body(
	const struct http_request *rq, struct asked *out, struct asked_wrongly *no)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc;

	out->body = http_request_body(rq);
	if (out->body.len == 0)
		out->body = span_of("{}");
	enum err err = json_open(out->body, limits, &doc, &failure);

	if (err != ERR_OK)
		return refuse_body(no, err, out->body.len, &failure);
	bool fine = json_top_is_object(&doc)
			    ? check_params(out->op->params, &doc, no) &&
				      check_order_key(&doc, out, no)
			    : violates(no, NULL, "type",
				      "the body must be a JSON object: the parameters");

	json_close(&doc);
	return fine;
}

static bool make_digest(struct asked *out, struct asked_wrongly *no)
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
	return err == ERR_OK || wrong(no, PROBLEM_OVERLOADED, "%s", err_text(err));
}

bool asked_read_head(const struct asked_by *by, struct http_request *rq, struct span name,
	enum contract_kind kind, struct asked *out, struct asked_wrongly *no)
{
	*out = (struct asked){ 0 };
	return check_operation(by, name, kind, out, no) && check_headers(rq, out, no);
}

bool asked_read(const struct asked_by *by, struct http_request *rq, struct span name,
	enum contract_kind kind, struct asked *out, struct asked_wrongly *no)
{
	return asked_read_head(by, rq, name, kind, out, no) && check_body(rq, out, no) &&
	       make_digest(out, no);
}
