#include "webapp-agent/agent.h"

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "webapp-agent/api.h"

static void move(struct agent *a, enum agent_state to)
{
	static const char *const names[] = {
		[AGENT_RUNNING] = "running",
		[AGENT_DRAINING] = "draining",
		[AGENT_LEAVING] = "leaving",
		[AGENT_CLOSING] = "closing",
		[AGENT_GONE] = "gone",
	};

	BUG_ON(to != a->state + 1); /* there is one way only */
	log_info("event=stopping state=%s->%s", names[a->state], names[to]);
	a->state = to;
}

/* ---- the way down ---- */

static void on_server_stopped(void *arg)
{
	struct agent *a = arg;

	a->server = NULL;
	move(a, AGENT_GONE);
	loop_stop(&a->loop);
}

static void on_border_stopped(void *arg)
{
	struct agent *a = arg;

	move(a, AGENT_CLOSING);
	http_server_stop(a->server, on_server_stopped, a);
}

static void on_drained(void *arg)
{
	struct agent *a = arg;

	move(a, AGENT_LEAVING);
	desk_cancel(&a->desk);
	border_stop(&a->border);
}

static void on_stop(void *arg)
{
	struct agent *a = arg;

	move(a, AGENT_DRAINING);
	desk_close(&a->desk);
	http_server_drain(a->server, a->config->site.drain_timeout_ms, on_drained, a);
}

/* ---- events ---- */

static void on_border_change(void *arg)
{
	struct agent *a = arg;
	bool is_ready = border_is_ready(&a->border);

	log_info("event=border-%s", is_ready ? "ready" : "away");
	if (is_ready)
		life_tell_ready(&a->life);
}

static void on_reply(void *arg, const struct message *reply)
{
	struct agent *a = arg;

	desk_reply(&a->desk, reply);
}

static void on_request(void *arg, struct http_request *rq)
{
	api_answer(arg, rq);
}

/* ---- the way up ---- */

static enum err start_border(struct agent *a)
{
	static const struct border_events events = {
		.on_reply = on_reply,
		.on_change = on_border_change,
		.on_stopped = on_border_stopped,
	};
	struct border_config config = {
		.host = a->config->host,
		.link = site_link_config(a->site, &a->config->site),
		.ring = &a->site->rings[0],
		.confirm_timeout_ms = a->config->confirm_timeout_ms,
		.send_window = (unsigned)a->config->send_window,
	};

	return border_init(&a->border, &a->loop, &config, &events, a);
}

static void start_desk(struct agent *a)
{
	struct desk_config config = {
		.host = a->config->host,
		.errands = {
			.max_waiting = (unsigned)a->config->calls_waiting,
			.max_kept = (unsigned)a->config->answers_kept,
			.max_kept_bytes = (size_t)a->config->answers_kept_bytes,
			.keep_ms = a->config->answers_keep_ms,
		},
		.send_timeout_ms = a->config->send_timeout_ms,
	};

	desk_init(&a->desk, &a->loop, &config, &a->site->contract, a->site->contract_digest,
		&a->border);
}

static enum err start_server(struct agent *a)
{
	struct http_server_config config = site_api_config(a->site, &a->config->site);

	config.on_request = on_request;
	config.arg = a;
	return http_server_start(&a->loop, &config, &a->server);
}

static enum err start(struct agent *a, int ready_fd)
{
	enum err err = life_init(&a->life, &a->loop, ready_fd, on_stop, NULL, a);

	if (err == ERR_OK)
		err = start_border(a);
	if (err != ERR_OK)
		return err;
	start_desk(a);
	err = start_server(a);
	if (err != ERR_OK)
		return err;
	metrics_init(&a->metrics);
	api_register_metrics(a);
	err = metrics_status(&a->metrics);
	if (err != ERR_OK)
		return err;
	border_start(&a->border);
	if (!a->config->site.ready_border)
		life_tell_ready(&a->life);
	return ERR_OK;
}

static void on_abandoned(void *arg)
{
	struct agent *a = arg;

	loop_stop(&a->loop);
}

enum err agent_run(const void *agent_config, const struct site *site, int ready_fd)
{
	const struct agent_config *config = agent_config;
	struct agent a = {
		.config = config,
		.site = site,
		.started_us = clock_mono_us(),
	};
	enum err err = loop_init(&a.loop);

	if (err != ERR_OK)
		return err;
	log_info("event=start version=%s host=%s identity=%s site=%s contract=%.16s",
		SALLYPORT_VERSION, config->host, tls_identity_name(site->identity),
		site->contract.site, site->contract_digest);
	err = start(&a, ready_fd);
	/* What a start that failed has begun is ended in the loop, as everything is. */
	if (err != ERR_OK)
		http_server_stop(a.server, on_abandoned, &a);
	loop_run(&a.loop);
	metrics_fini(&a.metrics);
	desk_fini(&a.desk);
	border_fini(&a.border);
	life_fini(&a.life);
	loop_fini(&a.loop);
	log_info("event=stopped err=\"%s\"", err_text(err));
	return err;
}
