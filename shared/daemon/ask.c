#include "daemon/ask.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "http/client.h"

struct asking {
	struct http_call call;
	struct http_client *client;
	struct loop loop;
	struct buf *out;
	enum err status;
	unsigned http_status;
};

static void on_client_stopped(void *arg)
{
	struct asking *a = arg;

	loop_stop(&a->loop);
}

static void on_answer(struct http_call *call)
{
	struct asking *a = container_of(call, struct asking, call);

	a->status = call->status;
	a->http_status = call->http_status;
	if (call->status == ERR_OK)
		buf_append(a->out, call->body);
	else
		buf_format(a->out, "%s: %s\n", err_text(call->status), call->detail);
	http_client_stop(a->client, on_client_stopped, a);
}

/* The path as the shell knows it: a relative one begins at the working directory. */
static enum err find_target(struct asking *a, const char *socket, struct http_target *out)
{
	size_t len = strlen(socket);

	*out = (struct http_target){ .place = { .kind = HTTP_TARGET_UNIX } };
	if (len == 0 || len >= sizeof(out->place.socket_path)) {
		buf_format(a->out,
			"socket %s: a socket's path has 1 to %zu bytes, this one %zu\n",
			text_show(span_of(socket)).at, sizeof(out->place.socket_path) - 1, len);
		return ERR_INPUT;
	}
	memcpy(out->place.socket_path, socket, len + 1);
	snprintf(out->host, sizeof(out->host), "localhost");
	return ERR_OK;
}

static enum err put_question(struct asking *a, const struct ask *ask)
{
	struct http_target target;
	struct http_client_config config = { 0 };

	if (find_target(a, ask->socket, &target) != ERR_OK)
		return ERR_INPUT;
	enum err err = http_client_start(&a->loop, &config, &a->client);

	if (err != ERR_OK)
		return err;
	struct http_ask question = {
		.method = ask->method,
		.target = &target,
		.path = span_of(ask->path),
		.headers = ask->headers,
		.header_count = ask->header_count,
		.body = ask->body,
		.deadline_ms = ask->timeout_ms,
		.max_answer_bytes = MIB(8),
	};

	a->call = (struct http_call){ .on_done = on_answer };
	err = http_client_send(a->client, &a->call, &question);
	if (err != ERR_OK) {
		buf_format(a->out, "the question cannot be asked: %s\n", err_text(err));
		http_client_stop(a->client, on_client_stopped, a);
		a->status = err;
	}
	return ERR_OK; /* the loop has to run in any case */
}

enum err ask_daemon(const struct ask *ask, struct buf *out, unsigned *status_out)
{
	struct asking a = { .out = out };
	enum err err = loop_init(&a.loop);

	if (err != ERR_OK)
		return err;
	err = put_question(&a, ask);
	if (err == ERR_OK) {
		loop_run(&a.loop);
		err = a.status;
	}
	loop_fini(&a.loop);
	*status_out = a.http_status;
	return err;
}
