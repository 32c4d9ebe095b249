#include "app-node/node.h"

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

/* Of the crossings, and of the inner link. */
static void on_left(void *arg)
{
	struct node_daemon *n = arg;

	n->metrics_are_old = true;
	if (--n->closing > 0)
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
	n->closing = 2;
	crossings_stop(&n->crossings);
	orders_stop(&n->orders);
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
static void on_drained(void *arg)
{
	struct node_daemon *n = arg;

	if (n->state == NODE_DRAINING)
		jobs_close(&n->jobs, on_idle, n);
}

static void on_stop(void *arg)
{
	struct node_daemon *n = arg;

	move(n, NODE_DRAINING);
	timer_after(&n->drain_limit, n->config->site.drain_timeout_ms);
	jobs_hold_sends(&n->jobs);
	crossings_drain(&n->crossings);
}

/* ---- readiness ---- */

bool node_is_ready(const struct node_daemon *n)
{
	return crossings_are_ready(&n->crossings) &&
	       (!n->config->ready_inner || inner_is_ready(&n->orders.inner));
}

static void look_ready(struct node_daemon *n)
{
	bool border = !n->config->site.ready_border || crossings_are_ready(&n->crossings);
	bool inner = !n->config->ready_inner || inner_is_ready(&n->orders.inner);

	if (border && inner)
		life_tell_ready(&n->life);
}

/* ---- SIGHUP ---- */

static void tell_progress(struct node_daemon *n)
{
	const struct relief *inner = &n->orders.inner.relief;

	if (inner->state == RELIEF_PENDING) {
		reload_tell(&n->reload, RELOAD_HANGS);
		return;
	}
	switch (crossings_progress(&n->crossings)) {
	case CROSSINGS_STEADY:
		reload_tell(&n->reload,
			relief_is_changing(inner) ? RELOAD_GOES_ON : RELOAD_ALL_DONE);
		return;
	case CROSSINGS_CHANGING:
		reload_tell(&n->reload, RELOAD_GOES_ON);
		return;
	case CROSSINGS_PENDING:
		reload_tell(&n->reload, RELOAD_HANGS);
		return;
	}
}

/* Of the crossings' links, or of the inner one. */
static void on_links_move(void *arg)
{
	struct node_daemon *n = arg;

	n->metrics_are_old = true;
	look_ready(n);
	tell_progress(n);
}

static enum err rekey(
	struct node_daemon *n, const struct node_config *config, const struct site *site)
{
	enum err crossings = crossings_rekey(&n->crossings, config, site->rings);
	enum err inner = orders_rekey(&n->orders, node_inner_ring(site));

	return crossings == ERR_OK ? inner : crossings;
}

/* All that can fail, before anything changes. */
static enum err prepare(struct node_daemon *n, const struct setup *fresh)
{
	enum err err = crossings_prepare(&n->crossings, fresh);

	if (err != ERR_OK)
		return err;
	err = orders_prepare(&n->orders, fresh);
	if (err == ERR_OK)
		err = rekey(n, fresh->config, &fresh->site);
	if (err == ERR_OK)
		err = http_server_allow_uids(
			n->server, fresh->site.api_users, fresh->site.api_user_count);
	if (err == ERR_OK)
		return ERR_OK;
	crossings_discard(&n->crossings);
	orders_discard(&n->orders);
	/* Short of memory: this may fail too, and both rings are good as long as a rotation
	 * lasts. */
	if (rekey(n, n->config, n->site) != ERR_OK)
		log_error("event=rekey-failed err=\"%s\"", err_text(err));
	return err;
}

static void on_reload(void *arg)
{
	struct node_daemon *n = arg;
	struct setup fresh;

	if (reload_read(&n->reload, &fresh) != ERR_OK)
		return;
	enum err err = prepare(n, &fresh);

	if (err != ERR_OK) {
		reload_refuse(&n->reload, &fresh, err);
		return;
	}
	reload_take(&n->reload, &fresh);
	crossings_take(&n->crossings, &n->config->crossings);
	orders_take(&n->orders);
}

/* ---- events ---- */

static void on_change(void *arg, struct crossing *x)
{
	struct node_daemon *n = arg;
	bool is_ready = crossing_is_ready(x);

	log_info("host=%s event=crossing-%s", x->host, is_ready ? "ready" : "away");
	look_ready(n);
}

/* What the sender of a refused call is told. False: nothing, because what was refused may be a copy,
 * or made up: a broker could end a call that is under way with our answer to it. */
static bool find_problem(enum guard_verdict verdict, enum problem_type *out)
{
	switch (verdict) {
	case GUARD_UNKNOWN_OP:
		*out = PROBLEM_UNKNOWN_OPERATION;
		return true;
	case GUARD_WRONG_KIND:
		*out = PROBLEM_WRONG_KIND;
		return true;
	case GUARD_OVERSIZED:
		*out = PROBLEM_PAYLOAD_TOO_LARGE;
		return true;
	case GUARD_NO_MEMORY:
		*out = PROBLEM_OVERLOADED;
		return true;
	case GUARD_CONTRACT:
		*out = PROBLEM_CONTRACT_VIOLATION;
		return true;
	case GUARD_FORGED_SENDER:
	case GUARD_BAD_KEY:
	case GUARD_BAD_JSON:
		*out = PROBLEM_BAD_REQUEST;
		return true;
	case GUARD_PASS:
	case GUARD_MALFORMED:
	case GUARD_UNSEALED:
	case GUARD_SEAL:
	case GUARD_REVOKED:
	case GUARD_EXPIRED:
	case GUARD_FUTURE:
	case GUARD_REPLAY:
	case GUARD_ID_REUSED:
	case GUARD_TOO_OLD:
	case GUARD_VERDICTS:
		break;
	}
	return false;
}

/* A call's sender gets a named error without any detail; if the seal says that he is the sender. */
static void answer_refused(
	struct crossing *x, const struct delivery *d, enum guard_verdict verdict)
{
	enum problem_type problem;

	if (d->fault == ERR_OK && find_problem(verdict, &problem))
		call_answer(x, &d->message, problem, "refused");
}

/* Refused, counted, told. What we had no memory to judge is none of the sender's mistakes: a
 * send comes again. */
static void refuse(struct node_daemon *n, struct crossing_shift *s, struct consumer *c,
	const struct delivery *d, enum guard_verdict verdict)
{
	struct crossing *x = s->crossing;

	n->refused[verdict]++;
	if (crossing_may_log(x, guard_text(verdict)))
		log_warn("msg=%s op=\"%s\" host=%s lane=%s event=refused reason=%s bytes=%llu",
			id_format(&d->message.id).at, text_show(d->message.type).at, x->host,
			c->config.name, guard_text(verdict), (unsigned long long)d->body_bytes);
	if (c == &s->call) {
		answer_refused(x, d, verdict);
		consumer_ack(c, d->tag);
	} else if (verdict == GUARD_REPLAY) {
		consumer_ack(c, d->tag); /* it was done */
	} else if (verdict == GUARD_NO_MEMORY) {
		channel_restart(&c->channel, ERR_NOMEM, "no memory to judge a delivery");
	} else {
		consumer_reject(c, d->tag);
	}
}

static enum guard_verdict verdict_of(enum replay_verdict replay)
{
	switch (replay) {
	case REPLAY_FIRST:
	case REPLAY_ANEW:
		break;
	case REPLAY_AGAIN:
		return GUARD_REPLAY;
	case REPLAY_OTHER:
		return GUARD_ID_REUSED;
	case REPLAY_TOO_OLD:
		return GUARD_TOO_OLD;
	}
	return GUARD_PASS;
}

/* Was it here before? A call that the broker hands out again is jobs' to answer, known or not. */
static enum guard_verdict judge_repeat(struct node_daemon *n, struct crossing *x,
	enum contract_kind lane, const struct delivery *d, const struct guard_facts *facts)
{
	const struct message *m = &d->message;

	if (jobs_has_other(&n->jobs, x, lane, m))
		return GUARD_ID_REUSED;
	if (facts->lane == GUARD_LANE_SEND)
		return verdict_of(seen_send(&x->seen, m));
	enum guard_verdict verdict = verdict_of(
		seen_call(&x->seen, m, guard_until_us(facts, m), facts->now_unix_us));

	return verdict == GUARD_REPLAY && d->is_redelivered ? GUARD_PASS : verdict;
}

static void on_delivery(
	void *arg, struct crossing_shift *s, struct consumer *c, const struct delivery *d)
{
	struct node_daemon *n = arg;
	const struct operation *op = NULL;
	struct guard_facts facts = {
		.host = s->crossing->host,
		.lane = c == &s->call ? GUARD_LANE_CALL : GUARD_LANE_SEND,
		.fault = d->fault,
		.revoked = s->crossing->revoked,
		.now_unix_us = clock_unix_us(),
		.clock_skew_us = n->config->clock_skew_ms * 1000,
	};
	enum guard_verdict verdict = guard_judge(&n->site->contract, &facts, &d->message, &op);

	if (verdict == GUARD_PASS)
		verdict = judge_repeat(n, s->crossing, op->kind, d, &facts);
	if (verdict == GUARD_PASS)
		jobs_take(&n->jobs, s, d, op);
	else
		refuse(n, s, c, d, verdict);
}

static void on_request(void *arg, struct http_request *rq)
{
	api_answer(arg, rq);
}

static bool wants_body(void *arg, struct http_request *rq)
{
	(void)arg;
	(void)rq;
	return false; /* nothing here takes one */
}

/* ---- the way up ---- */

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
		.connections = (unsigned)n->config->handler_connections,
		.calls_waiting = (unsigned)n->config->calls_waiting,
	};

	return jobs_init(&n->jobs, &n->loop, &jobs);
}

static enum err open_server(struct node_daemon *n)
{
	struct http_server_config config = site_api_config(n->site, &n->config->site);

	config.on_request = on_request;
	config.wants_body = wants_body;
	config.arg = n;
	return http_server_start(&n->loop, &config, &n->server);
}

static enum err start(struct node_daemon *n, const struct setup *setup, int ready_fd)
{
	static const struct crossings_events events = {
		.on_delivery = on_delivery,
		.on_change = on_change,
		.on_move = on_links_move,
		.on_drained = on_drained,
		.on_stopped = on_left,
	};
	static const struct orders_events orders_events = {
		.on_move = on_links_move,
		.on_stopped = on_left,
	};

	timer_init(&n->drain_limit, &n->loop, on_drain_limit);
	orders_init(&n->orders);
	crossings_init(&n->crossings, &n->loop, &n->jobs, &n->orders.revoked, &events, n);
	enum err err = life_init(&n->life, &n->loop, ready_fd, on_stop, on_reload, n);

	if (err == ERR_OK)
		err = open_handlers(n);
	if (err == ERR_OK)
		err = crossings_prepare(&n->crossings, setup);
	if (err == ERR_OK)
		err = orders_open(
			&n->orders, &n->loop, setup, &n->crossings, &orders_events, n);
	if (err == ERR_OK)
		err = open_server(n);
	if (err != ERR_OK)
		return err;
	api_register_metrics(n);
	err = metrics_status(&n->metrics);
	if (err != ERR_OK)
		return err;
	crossings_take(&n->crossings, &n->config->crossings);
	orders_start(&n->orders);
	look_ready(n);
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
	life_close(&n->life);
	n->closing = 2;
	http_client_stop(n->client, on_abandoned, n);
	http_server_stop(n->server, on_abandoned, n);
}

enum err node_run(struct setup *setup, int ready_fd)
{
	const struct node_config *config = setup->config;
	const struct site *site = &setup->site;
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
	reload_init(&n.reload, setup, &n.life);
	err = start(&n, setup, ready_fd);
	if (err != ERR_OK)
		abandon(&n);
	loop_run(&n.loop);
	metrics_fini(&n.metrics);
	crossings_fini(&n.crossings);
	orders_fini(&n.orders);
	jobs_fini(&n.jobs);
	reload_fini(&n.reload);
	life_fini(&n.life);
	loop_fini(&n.loop);
	log_info("event=stopped err=\"%s\"", err_text(err));
	return err;
}
