#include "app-node/outcome.h"

#include <stdio.h>

#include "contract/json.h"
#include "message/message.h"

static enum outcome_kind judge(
	struct span body, const struct schema *result, struct schema_failure *failure)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure malformed;
	struct json_doc doc;

	if (json_open(body, limits, &doc, &malformed) != ERR_OK)
		return OUTCOME_FAILED;
	enum err err = result == NULL ? ERR_OK : schema_check(result, &doc, 0, failure);

	json_close(&doc);
	if (err == ERR_OK)
		return OUTCOME_RESULT;
	return err == ERR_INPUT ? OUTCOME_BROKEN : OUTCOME_FAILED;
}

/* "Come again": too slow (408), too early (425), too often (429), too busy (503). */
static bool is_later(unsigned http_status)
{
	return http_status == 408 || http_status == 425 || http_status == 429 ||
	       http_status == 503;
}

static struct outcome later(const struct http_call *call)
{
	struct outcome o = { .kind = OUTCOME_LATER };

	if (!call->has_retry_after)
		return o;
	o.retry_after_ms = call->retry_after_ms < OUTCOME_RETRY_AFTER_MAX_MS
				   ? call->retry_after_ms
				   : OUTCOME_RETRY_AFTER_MAX_MS;
	return o;
}

struct outcome outcome_read(const struct http_call *call, const struct schema *result,
	struct schema_failure *failure)
{
	struct outcome o = { .kind = OUTCOME_FAILED };

	if (call->status != ERR_OK)
		return o;
	if (is_later(call->http_status))
		return later(call);
	if (call->http_status >= 400 && call->http_status <= 499)
		o.kind = OUTCOME_REFUSED;
	if (call->http_status < 200 || call->http_status > 299)
		return o;
	o.result = call->body.len == 0 ? span_of("null") : call->body;
	/* No body is null: without a word of the contract that needs no look. */
	if (call->body.len == 0 && result == NULL)
		o.kind = OUTCOME_RESULT;
	else
		o.kind = judge(o.result, result, failure);
	return o;
}

void outcome_describe(const struct http_call *call, char out[OUTCOME_DETAIL_BYTES])
{
	size_t room = OUTCOME_DETAIL_BYTES;

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

bool outcome_is_problem_document(const struct http_call *call)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc = { 0 };
	char expected[8];

	if (!span_starts(call->content_type, PROBLEM_MEDIA_TYPE))
		return false;
	snprintf(expected, sizeof(expected), "%u", call->http_status);
	bool fine = json_open(call->body, limits, &doc, &failure) == ERR_OK &&
		    json_member_is(&doc, "status", span_of(expected));

	json_close(&doc);
	return fine;
}
