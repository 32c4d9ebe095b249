#include "app-node/question.h"

#include "message/message.h"

enum {
	HEADERS_MAX = 6,
	KEY_BYTES = 3 * MESSAGE_KEY_MAX_BYTES + 1,
	NUMBER_BYTES = 24,
	TRACEPARENT_BYTES = 55,
};

/* Visible ASCII as it is, the rest percent-encoded: a header cannot carry more (RFC 9110). */
static void encode_key(struct span key, char out[KEY_BYTES])
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

/* Decimal, at the end of the room. */
static const char *format_u64(uint64_t value, char room[NUMBER_BYTES])
{
	char *at = &room[NUMBER_BYTES - 1];

	*at = '\0';
	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	return at;
}

enum err question_put(struct http_client *client, const struct http_target *target,
	const struct question *q, struct http_call *call)
{
	struct id_text id = id_format(&q->id);
	char attempt[NUMBER_BYTES];
	char deadline[NUMBER_BYTES];
	char key[KEY_BYTES];
	char traceparent[TRACEPARENT_BYTES + 1];
	char path[MESSAGE_TYPE_MAX_BYTES + 2] = "/";
	size_t op_len = strlen(q->op);
	struct http_header headers[HEADERS_MAX];
	size_t count = 0;

	if (op_len > MESSAGE_TYPE_MAX_BYTES)
		return ERR_INPUT;
	memcpy(path + 1, q->op, op_len);
	headers[count++] = (struct http_header){ "Sallyport-Id", id.at };
	headers[count++] = (struct http_header){ "Sallyport-Host", q->host };
	headers[count++] = (struct http_header){ "Sallyport-Attempt",
		format_u64(q->attempt, attempt) };
	headers[count++] = (struct http_header){ "Sallyport-Deadline-Ms",
		format_u64(q->deadline_ms, deadline) };
	if (q->key.len > 0 && q->key.len <= MESSAGE_KEY_MAX_BYTES) {
		encode_key(q->key, key);
		headers[count++] = (struct http_header){ "Sallyport-Key", key };
	}
	if (is_traceparent(q->traceparent)) {
		memcpy(traceparent, q->traceparent.at, TRACEPARENT_BYTES);
		traceparent[TRACEPARENT_BYTES] = '\0';
		headers[count++] = (struct http_header){ "traceparent", traceparent };
	}
	struct http_ask http = {
		.method = HTTP_POST,
		.target = target,
		.path = { .at = path, .len = op_len + 1 },
		.headers = headers,
		.header_count = count,
		.body = q->body,
		.deadline_ms = q->deadline_ms,
		.max_answer_bytes = MESSAGE_BODY_MAX_BYTES,
	};

	return http_client_send(client, call, &http);
}
