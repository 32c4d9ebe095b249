#include "app-node/reply.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

enum {
	PROBLEM_MAX_BYTES = 8 * 1024,
	RETRY_SOON_MS = 1000,
};

void reply_with(const struct reply_to *to, enum message_content content, struct span body)
{
	struct message m = {
		.correlation = to->id,
		.has_correlation = true,
		.durability = MESSAGE_TRANSIENT,
		.content = content,
		.type = to->op,
		.time_left_ms = to->time_left_ms == 0 ? 1 : to->time_left_ms,
		.body = body,
	};

	id_make(&m.id, clock_unix_ms());
	if (crossing_reply(to->crossing, &m) == ERR_OK)
		log_debug("msg=%s host=%s event=reply reply=%s bytes=%zu",
			id_format(&to->id).at, to->crossing->host, id_format(&m.id).at,
			body.len);
}

void reply_problem(const struct reply_to *to, const struct problem *problem)
{
	struct id_text id = id_format(&to->id);
	struct problem told = *problem;
	struct buf body;

	told.id = span_of(id.at);
	if (told.retry_after_ms == 0 && problem_status(told.type) == 503)
		told.retry_after_ms = RETRY_SOON_MS;
	buf_init(&body, PROBLEM_MAX_BYTES);
	problem_format(&told, &body);
	if (buf_status(&body) == ERR_OK)
		reply_with(to, MESSAGE_PROBLEM, buf_span(&body));
	else
		crossing_reply_failed(to->crossing, &to->id, buf_status(&body));
	buf_fini(&body);
}
