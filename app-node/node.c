#include "app-node/node.h"

#include <stdlib.h>

#include "app-node/api.h"
#include "app-node/call.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

static void move(struct node_daemon *n, enum node_state to)
{
	static const char *const names[] = {
		[NODE_RUNNING] = "running",
		[NODE_DRAINING] = "draining",
		[NODE_LEAVING] = "leaving",
		[NODE_CLOSING] = "closing",
		[NODE_GONE] = "gone",
	};

	BUG_ON(to != n->state + 1); /* there is one way only */
	log_info("event=stopping state=%s->%s", names[n->state], names[to]);
	n->state = to;
}

/* ---- the way down ---- */

static void on_closed(void *arg)
{
	struct node_daemon *n = arg;

	BUG_ON(n->closing == 0);
	if (--n->closing > 0)
		return;
	n->client = NULL;
	n->server = NULL;
	move(n, NODE_GONE);
	loop_stop(&n->loop);
}

static void on_crossing_stopped(void *arg, struct crossing *x)
{
	struct node_daemon *n = arg;

	(void)x;
	if (--n->crossings_open > 0)
		return;
	move(n, NODE_CLOSING);
	n->closing = 2;
	http_client_stop(n->client, on_closed, n);
	http_server_stop(n->server, on_closed, n);
}

static void leave(struct node_daemon *n)
{
	timer_cancel(&n->drain_limit);
	move(n, NODE_LEAVING);
	jobs_cancel(&n->jobs);
	n->crossings_open = n->crossing_count;
	for (size_t i = 0; i < n->crossing_count; i++)
		crossing_stop(&n->crossings[i]);
}

static void on_drain_limit(struct timer *timer)
{
	struct node_daemon *n = container_of(timer, struct node_daemon, drain_limit);

	log_warn("event=drain-limit running=%u", n->jobs.dispatch.running);
	leave(n);
}

static void on_idle(void *arg)
{
	struct node_daemon *n = arg;

	if (n->state == NODE_DRAINING)
		leave(n);
}

/* Calls that were on their way have come: what is in now is all there will be. */
static void on_calls_drained(void *arg, struct crossing *x)
{
	struct node_daemon *n = arg;

	(void)x;
	if (--n->calls_undrained == 0 && n->state == NODE_DRAINING)
		jobs_close(&n->jobs, on_idle, n);
}

static void on_stop(void *arg)
{
	struct node_daemon *n = arg;

	move(n, NODE_DRAINING);
	timer_after(&n->drain_limit, n->config->site.drain_timeout_ms);
	jobs_hold_sends(&n->jobs);
	n->calls_undrained = n->crossing_count;
	for (size_t i = 0; i < n->crossing_count; i++)
		crossing_drain(&n->crossings[i]);
}

/* ---- events ---- */

static void on_change(void *arg, struct crossing *x)
{
	struct node_daemon *n = arg;
	bool is_ready = crossing_is_ready(x);

	log_info("host=%s event=crossing-%s", x->host, is_ready ? "ready" : "away");
	n->ready_count += is_ready ? 1 : (size_t)-1;
	if (node_is_ready(n))
		life_tell_ready(&n->life);
}

static enum problem_type problem_of(enum guard_verdict verdict)
{
	switch (verdict) {
	case GUARD_UNKNOWN_OP:
		return PROBLEM_UNKNOWN_OPERATION;
	case GUARD_WRONG_KIND:
		return PROBLEM_WRONG_KIND;
	case GUARD_OVERSIZED:
		return PROBLEM_PAYLOAD_TOO_LARGE;
	case GUARD_EXPIRED:
		return PROBLEM_DEADLINE_EXCEEDED;
	case GUARD_NO_MEMORY:
		return PROBLEM_OVERLOADED;
	case GUARD_PASS:
	case GUARD_MALFORMED:
	case GUARD_UNSEALED:
	case GUARD_SEAL:
	case GUARD_FORGED_SENDER:
	case GUARD_BAD_KEY:
	case GUARD_BAD_JSON:
	case GUARD_VERDICTS:
		break;
	}
	return PROBLEM_BAD_REQUEST;
}

/* A call's sender gets a named error without any detail; if he is the sender. What was not sealed
 * is not answered: a broker could make up the end of a call that is under way. */
static void answer_refused(
	struct crossing *x, const struct delivery *d, enum guard_verdict verdict)
{
	if (d->fault == ERR_OK && verdict != GUARD_MALFORMED && verdict != GUARD_EXPIRED)
		call_answer(x, &d->message, problem_of(verdict), "refused");
}

/* Refused, counted, told. What we had no memory to judge is none of the sender's mistakes: a
 * send comes again. */
static void refuse(struct node_daemon *n, struct crossing *x, struct consumer *c,
	const struct delivery *d, enum guard_verdict verdict)
{
	n->refused[verdict]++;
	if (crossing_may_log(x, guard_text(verdict)))
		log_warn("msg=%s op=\"%s\" host=%s lane=%s event=refused reason=%s bytes=%llu",
			id_format(&d->message.id).at, text_show(d->message.type).at, x->host,
			c->config.name, guard_text(verdict), (unsigned long long)d->body_bytes);
	if (c == &x->call) {
		answer_refused(x, d, verdict);
		consumer_ack(c, d->tag);
	} else if (verdict == GUARD_NO_MEMORY) {
		channel_restart(&c->channel, ERR_NOMEM, "no memory to judge a delivery");
	} else {
		consumer_reject(c, d->tag);
	}
}

static void on_delivery(
	void *arg, struct crossing *x, struct consumer *c, const struct delivery *d)
{
	struct node_daemon *n = arg;
	const struct operation *op = NULL;
	struct guard_facts facts = {
		.host = x->host,
		.lane = c == &x->call ? GUARD_LANE_CALL : GUARD_LANE_SEND,
		.fault = d->fault,
		.now_unix_us = clock_unix_us(),
		.clock_skew_us = n->config->clock_skew_ms * 1000,
	};
	enum guard_verdict verdict = guard_judge(&n->site->contract, &facts, &d->message, &op);

	if (verdict == GUARD_PASS)
		jobs_take(&n->jobs, x, c, d, op);
	else
		refuse(n, x, c, d, verdict);
}

static void on_lane_lost(void *arg, struct crossing *x, struct consumer *c)
{
	struct node_daemon *n = arg;

	(void)x;
	jobs_lane_lost(&n->jobs, c);
}

static void on_request(void *arg, struct http_request *rq)
{
	api_answer(arg, rq);
}

/* ---- the way up ---- */

static enum err open_crossings(struct node_daemon *n)
{
	static const struct crossing_events events = {
		.on_delivery = on_delivery,
		.on_lane_lost = on_lane_lost,
		.on_change = on_change,
		.on_calls_drained = on_calls_drained,
		.on_stopped = on_crossing_stopped,
	};

	n->crossings = calloc(n->config->crossings.count, sizeof(*n->crossings));
	if (n->crossings == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < n->config->crossings.count; i++) {
		struct crossing_config config = {
			.number = (unsigned)i,
			.host = n->config->crossings.at[i],
			.link = site_link_config(n->site, &n->config->site),
			.ring = &n->site->rings[i],
			.call_prefetch = (uint16_t)n->config->call_prefetch,
			.send_prefetch = (uint16_t)n->config->send_prefetch,
		};

		n->crossing_count++;
		enum err err = crossing_init(&n->crossings[i], &n->loop, &config, &events, n);

		if (err != ERR_OK)
			return err;
	}
	return ERR_OK;
}

static enum err open_handlers(struct node_daemon *n)
{
	struct http_client_config config = {
		.max_calls = UINT16_MAX,
		.max_connections = (unsigned)n->config->handler_connections,
	};
	const char *why = NULL;
	enum err err = http_target_parse(span_of(n->config->handlers), &n->handlers, &why);

	if (err != ERR_OK)
		return err;
	err = http_client_start(&n->loop, &config, &n->client);
	if (err != ERR_OK)
		return err;
	struct jobs_config jobs = {
		.contract = &n->site->contract,
		.target = &n->handlers,
		.client = n->client,
		.crossing_count = (unsigned)n->config->crossings.count,
		.connections = (unsigned)n->config->handler_connections,
		.calls_waiting = (unsigned)n->config->calls_waiting,
	};

	return jobs_init(&n->jobs, &n->loop, &jobs);
}

static enum err open_server(struct node_daemon *n)
{
	struct http_server_config config = site_api_config(n->site, &n->config->site);

	config.on_request = on_request;
	config.arg = n;
	return http_server_start(&n->loop, &config, &n->server);
}

static enum err start(struct node_daemon *n, int ready_fd)
{
	timer_init(&n->drain_limit, &n->loop, on_drain_limit);
	enum err err = life_init(&n->life, &n->loop, ready_fd, on_stop, NULL, n);

	if (err == ERR_OK)
		err = open_handlers(n);
	if (err == ERR_OK)
		err = open_crossings(n);
	if (err == ERR_OK)
		err = open_server(n);
	if (err != ERR_OK)
		return err;
	metrics_init(&n->metrics);
	api_register_metrics(n);
	err = metrics_status(&n->metrics);
	if (err != ERR_OK)
		return err;
	for (size_t i = 0; i < n->crossing_count; i++)
		crossing_start(&n->crossings[i]);
	if (!n->config->site.ready_border)
		life_tell_ready(&n->life);
	return ERR_OK;
}

static void on_abandoned(void *arg)
{
	struct node_daemon *n = arg;

	if (--n->closing == 0)
		loop_stop(&n->loop);
}

/* What a start that failed has begun is ended in the loop, as everything is. */
static void abandon(struct node_daemon *n)
{
	n->closing = 2;
	http_client_stop(n->client, on_abandoned, n);
	http_server_stop(n->server, on_abandoned, n);
}

enum err node_run(const void *node_config, const struct site *site, int ready_fd)
{
	const struct node_config *config = node_config;
	struct node_daemon n = {
		.config = config,
		.site = site,
		.started_us = clock_mono_us(),
	};
	enum err err = loop_init(&n.loop);

	if (err != ERR_OK)
		return err;
	log_info("event=start version=%s node=%s identity=%s site=%s contract=%.16s",
		SALLYPORT_VERSION, config->node, tls_identity_name(site->identity),
		site->contract.site, site->contract_digest);
	err = start(&n, ready_fd);
	if (err != ERR_OK)
		abandon(&n);
	loop_run(&n.loop);
	metrics_fini(&n.metrics);
	for (size_t i = 0; i < n.crossing_count; i++)
		crossing_fini(&n.crossings[i]);
	free(n.crossings);
	jobs_fini(&n.jobs);
	life_fini(&n.life);
	loop_fini(&n.loop);
	log_info("event=stopped err=\"%s\"", err_text(err));
	return err;
}
