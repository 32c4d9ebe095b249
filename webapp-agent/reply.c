#include "webapp-agent/reply.h"

#include "base/text.h"
#include "contract/json.h"

enum { STATUS_OK = 200, STATUS_BAD_GATEWAY = 502 };

/* A whole number of the document, or `otherwise`. */
static uint64_t number_of(struct json_doc *doc, const char *name, uint64_t otherwise)
{
	struct span text;
	uint64_t number;

	if (json_string_member(doc, name, &text) != ERR_OK ||
		text_parse_u64(text, &number) != ERR_OK)
		return otherwise;
	return number;
}

static struct reply_meaning read_document(struct span body)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc = { 0 };
	struct reply_meaning meaning = { .status = STATUS_BAD_GATEWAY };

	if (json_open(body, limits, &doc, &failure) != ERR_OK)
		return meaning;
	uint64_t status = number_of(&doc, "status", 0);

	if (status >= 400 && status <= 599)
		meaning.status = (unsigned)status;
	meaning.retry_after_ms = number_of(&doc, "retry_after_ms", 0);
	if (meaning.retry_after_ms > REPLY_RETRY_AFTER_MAX_MS)
		meaning.retry_after_ms = REPLY_RETRY_AFTER_MAX_MS;
	json_close(&doc);
	return meaning;
}

struct reply_meaning reply_read(const struct message *reply)
{
	if (reply->content == MESSAGE_PROBLEM)
		return read_document(reply->body);
	return (struct reply_meaning){ .status = STATUS_OK };
}
