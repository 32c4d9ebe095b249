#include "webapp-agent/api.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/probes.h"

enum { STATUS_MAX_BYTES = 1024 * 1024 };

typedef void (*route_fn)(struct agent *a, struct http_request *rq, struct span rest);
typedef bool (*wants_fn)(struct agent *a, struct http_request *rq, struct span rest);

static void post_call(struct agent *a, struct http_request *rq, struct span op)
{
	desk_call(&a->desk, rq, op);
}

static void post_send(struct agent *a, struct http_request *rq, struct span op)
{
	desk_send(&a->desk, rq, op);
}

static bool wants_call(struct agent *a, struct http_request *rq, struct span op)
{
	return desk_wants_body(&a->desk, rq, op, CONTRACT_CALL);
}

static bool wants_send(struct agent *a, struct http_request *rq, struct span op)
{
	return desk_wants_body(&a->desk, rq, op, CONTRACT_SEND);
}

static void write_desk(const struct desk *d, struct json_writer *w)
{
	json_write_key(w, "calls");
	json_write_object(w);
	json_write_u64_member(w, "sent", d->counters.calls);
	json_write_u64_member(w, "answered", d->counters.call_results);
	json_write_u64_member(w, "late_replies", d->counters.late_replies);
	json_write_u64_member(w, "foreign_replies", d->counters.foreign_replies);
	json_write_u64_member(w, "p50_us", hist_quantile_us(&d->call_us, 0.5));
	json_write_u64_member(w, "p99_us", hist_quantile_us(&d->call_us, 0.99));
	json_write_object_end(w);
	json_write_key(w, "sends");
	json_write_object(w);
	json_write_u64_member(w, "published", d->counters.sends);
	json_write_u64_member(w, "accepted", d->counters.sends_accepted);
	json_write_u64_member(w, "p50_us", hist_quantile_us(&d->send_us, 0.5));
	json_write_u64_member(w, "p99_us", hist_quantile_us(&d->send_us, 0.99));
	json_write_object_end(w);
	json_write_key(w, "waiting");
	json_write_u64(w, d->errands.waiter_count);
	json_write_key(w, "problems");
	json_write_object(w);
	for (size_t i = 0; i < PROBLEM_TYPES; i++)
		if (d->counters.problems[i] > 0)
			json_write_u64_member(
				w, problem_name((enum problem_type)i), d->counters.problems[i]);
	json_write_object_end(w);
}

static void write_refused(const struct border *b, struct json_writer *w)
{
	json_write_key(w, "refused");
	json_write_object(w);
	for (size_t i = 0; i < BORDER_REFUSALS; i++)
		if (b->refused[i] > 0)
			json_write_u64_member(
				w, border_refusal_text((enum border_refusal)i), b->refused[i]);
	json_write_object_end(w);
}

static void get_status(struct agent *a, struct http_request *rq, struct span rest)
{
	struct buf body;
	struct json_writer w;

	(void)rest;
	buf_init(&body, STATUS_MAX_BYTES);
	json_write_init(&w, &body);
	json_write_object(&w);
	json_write_text_member(&w, "daemon", "webapp-agent");
	json_write_text_member(&w, "version", SALLYPORT_VERSION);
	json_write_text_member(&w, "host", a->config->host);
	json_write_text_member(&w, "identity", relief_identity(&a->border.relief));
	json_write_u64_member(&w, "pid", (uint64_t)getpid());
	json_write_u64_member(&w, "uptime_s", (clock_mono_us() - a->started_us) / 1000000);
	json_write_bool_member(&w, "ready", border_is_ready(&a->border));
	json_write_text_member(&w, "site", a->site->contract.site);
	json_write_text_member(&w, "contract", a->site->contract_digest);
	relief_write_status(&a->border.relief, "border", &w);
	json_write_u64_member(&w, "log_lines_lost", *log_lost());
	reload_write_status(&a->reload, &w);
	probes_write_seal(&w, &a->border.envelope);
	write_refused(&a->border, &w);
	write_desk(&a->desk, &w);
	json_write_object_end(&w);
	buf_byte(&body, '\n');
	probes_answer_json(rq, &body);
	buf_fini(&body);
}

/* A prefix that ends in '/' takes what follows as its argument. */
static const struct route {
	const char *path;
	enum http_method method;
	route_fn fn;
	const char *right;
	wants_fn wants_body; /* NULL: it never does */
} routes[] = {
	{ "/v1/call/", HTTP_POST, post_call, "POST /v1/call/{operation}", wants_call },
	{ "/v1/send/", HTTP_POST, post_send, "POST /v1/send/{operation}", wants_send },
	{ "/v1/status", HTTP_GET, get_status, "GET /v1/status", NULL },
};

static void refuse_method(struct agent *a, struct http_request *rq, const struct route *r)
{
	http_request_allow(rq, r->method == HTTP_POST ? "POST" : "GET, HEAD");
	desk_refuse(&a->desk, rq, PROBLEM_WRONG_METHOD, "%s", r->right);
}

static bool fits(const struct route *r, struct span path)
{
	bool takes_rest = r->path[strlen(r->path) - 1] == '/';

	return takes_rest ? span_starts(path, r->path) : span_is(path, r->path);
}

static enum probes_state probes_state(const struct agent *a)
{
	if (a->state != AGENT_RUNNING)
		return PROBES_STOPPING;
	return border_is_ready(&a->border) ? PROBES_READY : PROBES_NOT_READY;
}

/* The route that a request asks for, whatever its method; NULL: none. */
static const struct route *find_route(struct http_request *rq)
{
	struct span path = http_request_path(rq);
	bool is_loopback = http_request_peer(rq)->kind == PEER_LOOPBACK;

	for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
		const struct route *r = &routes[i];

		if (fits(r, path) && (!is_loopback || r->fn == get_status))
			return r;
	}
	return NULL;
}

struct sentence {
	char at[AMQP_TEXT_MAX_BYTES + 64];
};

static struct sentence why_not_ready(const struct agent *a)
{
	const char *why = border_blocked_why(&a->border);
	struct sentence text;

	if (why == NULL)
		snprintf(text.at, sizeof(text.at), "no link to the border");
	else
		snprintf(text.at, sizeof(text.at),
			"the border takes no messages at present (%s)", why);
	return text;
}

void api_answer(struct agent *a, struct http_request *rq)
{
	const struct route *r = find_route(rq);

	if (probes_answer(rq, probes_state(a), why_not_ready(a).at, &a->metrics))
		return;
	if (r == NULL)
		desk_refuse(&a->desk, rq, PROBLEM_NOT_FOUND,
			"there are /v1/call/{operation}, /v1/send/{operation}, /v1/status, "
			"/livez, /readyz, /metrics");
	else if (http_request_method(rq) != r->method)
		refuse_method(a, rq, r);
	else
		r->fn(a, rq, span_after(http_request_path(rq), strlen(r->path)));
}

bool api_wants_body(struct agent *a, struct http_request *rq)
{
	const struct route *r = find_route(rq);

	if (r == NULL || http_request_method(rq) != r->method || r->wants_body == NULL)
		return false;
	return r->wants_body(a, rq, span_after(http_request_path(rq), strlen(r->path)));
}

static double read_ready(void *arg)
{
	const struct agent *a = arg;

	return border_is_ready(&a->border) ? 1 : 0;
}

static double read_waiting(void *arg)
{
	const struct agent *a = arg;

	return a->desk.errands.waiter_count;
}

void api_register_metrics(struct agent *a)
{
	struct metrics *m = &a->metrics;
	const struct desk *d = &a->desk;
	const struct metrics_label host[] = { { "host", a->config->host }, { NULL, NULL } };

	metrics_gauge(m, "sallyport_border_ready", "1 while calls and sends can cross.", NULL,
		read_ready, a);
	if (border_link(&a->border) != NULL)
		probes_register_link(m, border_link(&a->border));
	reload_register(m, &a->reload);
	metrics_counter(
		m, "sallyport_calls_total", "Calls sent across.", NULL, &d->counters.calls);
	metrics_counter(m, "sallyport_call_results_total", "Calls answered by the app realm.",
		NULL, &d->counters.call_results);
	metrics_histogram(m, "sallyport_call_seconds", "From a call until its answer.", NULL,
		&d->call_us);
	metrics_counter(m, "sallyport_late_replies_total", "Replies that nobody waited for.",
		NULL, &d->counters.late_replies);
	metrics_counter(m, "sallyport_foreign_replies_total",
		"Replies to another agent under this host's name.", NULL,
		&d->counters.foreign_replies);
	for (size_t i = 0; i < BORDER_REFUSALS; i++) {
		const struct metrics_label labels[] = {
			{ "reason", border_refusal_text((enum border_refusal)i) },
			{ NULL, NULL },
		};

		metrics_counter(m, "sallyport_refused_replies_total",
			"Replies that did not reach their callers: not sealed by the app "
			"realm.",
			labels, &a->border.refused[i]);
	}
	probes_register_seal(m, a->config->host, seal_counters(a->border.envelope.coming));
	metrics_counter(m, "sallyport_log_unsaid_total",
		"Log lines left out: too many of one kind.", host,
		&a->border.quiet.hush.unsaid_count);
	metrics_counter(
		m, "sallyport_sends_total", "Sends published.", NULL, &d->counters.sends);
	metrics_counter(m, "sallyport_sends_accepted_total", "Sends answered 202.", NULL,
		&d->counters.sends_accepted);
	metrics_histogram(m, "sallyport_send_seconds", "From a send until it was accepted.",
		NULL, &d->send_us);
	metrics_counter(m, "sallyport_joined_total",
		"Repeated requests that joined one under way or got its kept outcome.", NULL,
		&d->errands.joined);
	metrics_gauge(m, "sallyport_waiting", "Requests waiting for their outcome.", NULL,
		read_waiting, a);
	for (size_t i = 0; i < PROBLEM_TYPES; i++) {
		const struct metrics_label labels[] = {
			{ "type", problem_name((enum problem_type)i) },
			{ NULL, NULL },
		};

		metrics_counter(m, "sallyport_problems_total",
			"Requests answered with a problem by the agent itself.", labels,
			&d->counters.problems[i]);
	}
	probes_register_log(m);
	probes_register_server(m, http_server_counters(a->server));
}
