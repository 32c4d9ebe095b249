#include "daemon/probes.h"

#include "base/buf.h"
#include "base/log.h"

enum { METRICS_MAX_BYTES = 8 * 1024 * 1024 };

static void answer_text(struct http_request *rq, const char *text)
{
	struct http_answer answer = {
		.status = 200,
		.content_type = "text/plain; charset=utf-8",
		.body = span_of(text),
	};

	http_request_answer(rq, &answer);
}

static void answer_problem(struct http_request *rq, enum problem_type type, const char *detail)
{
	struct problem problem = { .type = type, .detail = span_of(detail) };

	http_request_answer_problem(rq, &problem);
}

static void answer_metrics(struct http_request *rq, const struct metrics *metrics)
{
	struct buf text;

	buf_init(&text, METRICS_MAX_BYTES);
	metrics_format(metrics, &text);
	if (buf_status(&text) == ERR_OK) {
		struct http_answer answer = {
			.status = 200,
			.content_type = METRICS_CONTENT_TYPE,
			.body = buf_span(&text),
		};

		http_request_answer(rq, &answer);
	} else {
		answer_problem(rq, PROBLEM_INTERNAL, err_text(buf_status(&text)));
	}
	buf_fini(&text);
}

bool probes_answer(struct http_request *rq, enum probes_state state, const char *why,
	const struct metrics *metrics)
{
	struct span path = http_request_path(rq);
	bool is_livez = span_is(path, "/livez");
	bool is_readyz = span_is(path, "/readyz");
	bool is_metrics = span_is(path, "/metrics");

	if (!is_livez && !is_readyz && !is_metrics)
		return false;
	if (http_request_method(rq) != HTTP_GET) {
		http_request_allow(rq, "GET, HEAD");
		answer_problem(rq, PROBLEM_WRONG_METHOD, "GET");
	} else if (is_metrics)
		answer_metrics(rq, metrics);
	else if (is_livez)
		answer_text(rq, "alive\n");
	else if (state == PROBES_READY)
		answer_text(rq, "ready\n");
	else if (state == PROBES_STOPPING)
		answer_problem(rq, PROBLEM_STOPPING, "what is under way comes to its end");
	else
		answer_problem(rq, PROBLEM_NOT_READY, why);
	return true;
}

void probes_register_log(struct metrics *m)
{
	metrics_counter(m, "sallyport_log_lines_lost_total",
		"Log lines that standard error did not take.", NULL, log_lost());
}

void probes_register_server(struct metrics *m, const struct http_server_counters *c)
{
	/* clang-format off */
	const struct {
		const char *reason;
		const uint64_t *value;
	} refused[] = {
		{ "peer", &c->refused_peer },     { "full", &c->refused_full },
		{ "fds", &c->refused_fds },       { "bad-request", &c->bad_request },
		{ "bad-method", &c->bad_method }, { "slow", &c->slow },
		{ "body", &c->body_too_large },   { "head", &c->head_too_large },
	};
	/* clang-format on */

	metrics_counter(m, "sallyport_api_connections_total", "Connections to the local API.",
		NULL, &c->accepted);
	metrics_gauge_u64(m, "sallyport_api_connections", "Open connections to the local API.",
		NULL, &c->open_count);
	metrics_counter(m, "sallyport_api_requests_total", "Whole requests to the local API.",
		NULL, &c->requests);
	metrics_counter(m, "sallyport_api_evicted_total",
		"Connections that gave way to newer ones.", NULL, &c->evicted);
	metrics_counter(m, "sallyport_api_gone_total",
		"Requests whose client left before the answer.", NULL, &c->gone);
	for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
		const struct metrics_label labels[] = {
			{ "reason", refused[i].reason },
			{ NULL, NULL },
		};

		metrics_counter(m, "sallyport_api_refused_total",
			"Connections and requests refused by the local API itself.", labels,
			refused[i].value);
	}
}

void probes_answer_json(struct http_request *rq, const struct buf *body)
{
	struct http_answer answer = {
		.status = 200,
		.content_type = "application/json",
		.body = buf_span(body),
	};

	if (buf_status(body) == ERR_OK)
		http_request_answer(rq, &answer);
	else
		answer_problem(rq, PROBLEM_INTERNAL, err_text(buf_status(body)));
}

void probes_register_link(struct metrics *m, const struct link *k)
{
	const struct connection *both[] = { &k->publish, &k->consume };

	for (size_t i = 0; i < ARRAY_COUNT(both); i++) {
		const struct metrics_label labels[] = {
			{ "link", both[i]->config.name },
			{ NULL, NULL },
		};

		metrics_counter(m, "sallyport_link_opened_total",
			"Times that a connection to the border was opened.", labels,
			&both[i]->counters.opened);
		metrics_counter(m, "sallyport_link_failed_total",
			"Times that a connection to the border, or a try, was lost.", labels,
			&both[i]->counters.failed);
		metrics_counter(m, "sallyport_link_blocked_total",
			"Times that the broker stopped reading from us.", labels,
			&both[i]->counters.blocked);
	}
}

void probes_register_seal(
	struct metrics *m, const char *host, const struct seal_counters *coming)
{
	const struct metrics_label labels[] = { { "host", host }, { NULL, NULL } };

	metrics_counter(m, "sallyport_seal_opened_total", "Messages whose seal held.", labels,
		&coming->opened);
	metrics_counter(m, "sallyport_seal_opened_accepted_total",
		"Of these, with the key that is only accepted.", labels,
		&coming->opened_accepted);
	metrics_counter(m, "sallyport_seal_refused_total", "Messages whose seal did not hold.",
		labels, &coming->refused);
}

void probes_write_seal(struct json_writer *w, const struct envelope *e)
{
	const struct seal_counters *coming = seal_counters(e->coming);
	struct seal_key_names keys = seal_key_names(e->going);

	json_write_key(w, "seal");
	json_write_object(w);
	json_write_u64_member(w, "opened", coming->opened);
	json_write_u64_member(w, "opened_accepted", coming->opened_accepted);
	json_write_u64_member(w, "refused", coming->refused);
	json_write_text_member(w, "present", keys.present.at);
	json_write_text_member(
		w, "accepted", keys.accepted.at[0] == '\0' ? NULL : keys.accepted.at);
	json_write_object_end(w);
}
