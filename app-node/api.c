#include "app-node/api.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/probes.h"

enum { STATUS_MAX_BYTES = 4 * 1024 * 1024 };

static void refuse(struct http_request *rq, enum problem_type type, const char *detail)
{
	struct problem problem = { .type = type, .detail = span_of(detail) };

	http_request_answer_problem(rq, &problem);
}

static void write_crossing(const struct crossing *x, struct json_writer *w)
{
	json_write_object(w);
	json_write_text_member(w, "host", x->host);
	json_write_text_member(w, "identity", relief_identity(&x->relief));
	json_write_u64_member(w, "calls", x->counters.calls);
	json_write_u64_member(w, "sends", x->counters.sends);
	json_write_u64_member(w, "replies", x->counters.replies);
	json_write_u64_member(w, "replies_lost", x->counters.replies_lost);
	probes_write_seal(w, &x->envelope);
	relief_write_status(&x->relief, "link", w);
	json_write_object_end(w);
}

static void write_jobs(const struct jobs *j, struct json_writer *w)
{
	json_write_key(w, "calls");
	json_write_object(w);
	json_write_u64_member(w, "run", j->counters.calls);
	json_write_u64_member(w, "results", j->counters.call_results);
	json_write_u64_member(w, "problems", j->counters.call_problems);
	json_write_u64_member(w, "expired", j->counters.call_expired);
	json_write_u64_member(w, "redelivered", j->counters.calls_redelivered);
	json_write_u64_member(w, "revoked", j->counters.calls_revoked);
	json_write_object_end(w);
	json_write_key(w, "sends");
	json_write_object(w);
	json_write_u64_member(w, "run", j->counters.sends);
	json_write_u64_member(w, "done", j->counters.sends_done);
	json_write_u64_member(w, "retried", j->counters.sends_retried);
	json_write_u64_member(w, "dead", j->counters.sends_dead);
	json_write_u64_member(w, "handed_back", j->counters.sends_handed_back);
	json_write_u64_member(w, "revoked", j->counters.sends_revoked);
	json_write_object_end(w);
	json_write_key(w, "handlers");
	json_write_object(w);
	json_write_u64_member(w, "running", j->dispatch.running);
	json_write_u64_member(w, "waiting", j->dispatch.work_count - j->dispatch.running);
	json_write_u64_member(w, "p50_us", hist_quantile_us(&j->handler_us, 0.5));
	json_write_u64_member(w, "p99_us", hist_quantile_us(&j->handler_us, 0.99));
	json_write_object_end(w);
}

static void answer_status(struct node_daemon *n, struct http_request *rq)
{
	struct buf body;
	struct json_writer w;

	buf_init(&body, STATUS_MAX_BYTES);
	json_write_init(&w, &body);
	json_write_object(&w);
	json_write_text_member(&w, "daemon", "app-node");
	json_write_text_member(&w, "version", SALLYPORT_VERSION);
	json_write_text_member(&w, "node", n->config->node);
	json_write_text_member(&w, "identity", tls_identity_name(n->site->identity));
	json_write_u64_member(&w, "pid", (uint64_t)getpid());
	json_write_u64_member(&w, "uptime_s", (clock_mono_us() - n->started_us) / 1000000);
	json_write_bool_member(&w, "ready", node_is_ready(n));
	json_write_text_member(&w, "site", n->site->contract.site);
	json_write_text_member(&w, "contract", n->site->contract_digest);
	json_write_key(&w, "crossings");
	json_write_array(&w);
	list_each (x, &n->crossings.all)
		write_crossing(container_of(x, struct crossing, node), &w);
	json_write_array_end(&w);
	json_write_key(&w, "leaving");
	json_write_array(&w);
	list_each (x, &n->crossings.leaving)
		write_crossing(container_of(x, struct crossing, node), &w);
	json_write_array_end(&w);
	orders_write_status(&n->orders, &w);
	json_write_u64_member(&w, "log_lines_lost", *log_lost());
	reload_write_status(&n->reload, &w);
	write_jobs(&n->jobs, &w);
	json_write_key(&w, "refused");
	json_write_object(&w);
	for (size_t i = 0; i < GUARD_VERDICTS; i++)
		if (n->refused[i] > 0)
			json_write_u64_member(
				&w, guard_text((enum guard_verdict)i), n->refused[i]);
	json_write_object_end(&w);
	json_write_object_end(&w);
	buf_byte(&body, '\n');
	probes_answer_json(rq, &body);
	buf_fini(&body);
}

static enum probes_state probes_state(const struct node_daemon *n)
{
	if (n->state != NODE_RUNNING)
		return PROBES_STOPPING;
	return node_is_ready(n) ? PROBES_READY : PROBES_NOT_READY;
}

struct sentence {
	char at[AMQP_TEXT_MAX_BYTES + CROSSING_HOST_MAX_BYTES + 64];
};

static struct sentence why_not_ready(const struct node_daemon *n)
{
	struct sentence text = {
		.at = "no link to some crossing, or to the inner vhost: see /v1/status"
	};

	list_each (each, &n->crossings.all) {
		const struct crossing *x = container_of(each, struct crossing, node);
		const struct shift *s = x->relief.serving;
		const char *why = s == NULL ? NULL : link_blocked_why(&s->link);

		if (why != NULL)
			snprintf(text.at, sizeof(text.at),
				"the border of %s takes no messages at present (%s)", x->host,
				why);
	}
	return text;
}

void api_answer(struct node_daemon *n, struct http_request *rq)
{
	if (n->metrics_are_old && span_is(http_request_path(rq), "/metrics"))
		api_register_metrics(n);
	if (probes_answer(rq, probes_state(n), why_not_ready(n).at, &n->metrics))
		return;
	if (!span_is(http_request_path(rq), "/v1/status"))
		refuse(rq, PROBLEM_NOT_FOUND,
			"there are /v1/status, /livez, /readyz, /metrics");
	else if (http_request_method(rq) != HTTP_GET) {
		http_request_allow(rq, "GET, HEAD");
		refuse(rq, PROBLEM_WRONG_METHOD, "GET /v1/status");
	} else {
		answer_status(n, rq);
	}
}

static double read_ready(void *arg)
{
	const struct crossing *x = arg;

	return crossing_is_ready(x) ? 1 : 0;
}

static double read_running(void *arg)
{
	const struct node_daemon *n = arg;

	return n->jobs.dispatch.running;
}

static void register_crossing(struct metrics *m, struct crossing *x)
{
	const struct metrics_label labels[] = { { "host", x->host }, { NULL, NULL } };

	metrics_gauge(m, "sallyport_crossing_ready", "1 while a crossing is open both ways.",
		labels, read_ready, x);
	metrics_counter(m, "sallyport_deliveries_call_total", "Calls that came in.", labels,
		&x->counters.calls);
	metrics_counter(m, "sallyport_deliveries_send_total", "Sends that came in.", labels,
		&x->counters.sends);
	metrics_counter(m, "sallyport_replies_total", "Replies that went out.", labels,
		&x->counters.replies);
	metrics_counter(m, "sallyport_replies_lost_total",
		"Replies that could not be sent: their callers see a deadline.", labels,
		&x->counters.replies_lost);
	metrics_counter(m, "sallyport_log_unsaid_total",
		"Log lines left out: this host caused too many of one kind.", labels,
		&x->quiet.hush.unsaid_count);
	probes_register_seal(m, x->host, seal_counters(x->envelope.coming));
	if (crossing_link(x) != NULL)
		probes_register_link(m, crossing_link(x));
}

void api_register_metrics(struct node_daemon *n)
{
	struct metrics *m = &n->metrics;
	const struct jobs_counters *c = &n->jobs.counters;
	/* clang-format off */
	const struct {
		const char *name;
		const char *help;
		const uint64_t *value;
	} counters[] = {
		{ "sallyport_calls_total", "Calls handed to a handler.", &c->calls },
		{ "sallyport_call_results_total", "Calls answered with a result.", &c->call_results },
		{ "sallyport_call_problems_total", "Calls answered with a problem.", &c->call_problems },
		{ "sallyport_results_refused_total",
			"Of these, the result of the handler broke the contract.",
			&c->results_refused },
		{ "sallyport_calls_expired_total", "Calls answered, not run: no handler was free in time.", &c->call_expired },
		{ "sallyport_calls_redelivered_total", "Calls answered, not run: a node was lost with them.", &c->calls_redelivered },
		{ "sallyport_sends_total", "Sends handed to a handler, retries not counted.", &c->sends },
		{ "sallyport_sends_done_total", "Sends that a handler took.", &c->sends_done },
		{ "sallyport_sends_retried_total", "Runs of sends that failed and are tried again.", &c->sends_retried },
		{ "sallyport_sends_dead_total", "Sends dead-lettered.", &c->sends_dead },
		{ "sallyport_sends_handed_back_total", "Sends given back to the broker unrun.", &c->sends_handed_back },
		{ "sallyport_calls_revoked_total", "Calls dropped without an answer: their host was thrown out.", &c->calls_revoked },
		{ "sallyport_sends_revoked_total", "Sends dropped: their host was thrown out. They stay at the border.", &c->sends_revoked },
		{ "sallyport_duplicates_total", "Deliveries whose id was under way already.", &c->duplicates },
		{ "sallyport_overloaded_total", "Deliveries refused for want of memory.", &c->overloaded },
	};
	/* clang-format on */

	metrics_fini(m);
	metrics_init(m);
	n->metrics_are_old = false;
	for (size_t i = 0; i < ARRAY_COUNT(counters); i++)
		metrics_counter(m, counters[i].name, counters[i].help, NULL, counters[i].value);
	metrics_gauge(
		m, "sallyport_handlers_running", "Handlers at work.", NULL, read_running, n);
	metrics_histogram(m, "sallyport_handler_seconds", "One run of a handler.", NULL,
		&n->jobs.handler_us);
	for (size_t i = GUARD_PASS + 1; i < GUARD_VERDICTS; i++) {
		const struct metrics_label labels[] = {
			{ "reason", guard_text((enum guard_verdict)i) },
			{ NULL, NULL },
		};

		metrics_counter(m, "sallyport_refused_total",
			"Deliveries that the guard refused.", labels, &n->refused[i]);
	}
	list_each (x, &n->crossings.all)
		register_crossing(m, container_of(x, struct crossing, node));
	orders_register(m, &n->orders);
	reload_register(m, &n->reload);
	probes_register_log(m);
	probes_register_server(m, http_server_counters(n->server));
}
