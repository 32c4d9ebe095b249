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

/* The names stay, but what is counted under them may be another link's now. */
static void register_metrics(struct agent *a)
{
	metrics_fini(&a->metrics);
	metrics_init(&a->metrics);
	api_register_metrics(a);
	if (metrics_status(&a->metrics) != ERR_OK)
		log_warn("event=metrics-missing err=\"%s\"",
			err_text(metrics_status(&a->metrics)));
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
	register_metrics(a); /* the link is gone */
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
	else if (border_blocked_why(&a->border) != NULL)
		desk_blocked(&a->desk);
}

static void on_border_refused(void *arg)
{
	struct agent *a = arg;

	desk_refused(&a->desk);
}

/* ---- SIGHUP ---- */

static void tell_progress(struct agent *a)
{
	const struct relief *relief = &a->border.relief;

	if (!relief_is_changing(relief))
		reload_tell(&a->reload, RELOAD_ALL_DONE);
	else
		reload_tell(&a->reload,
			relief->state == RELIEF_PENDING ? RELOAD_HANGS : RELOAD_GOES_ON);
}

static void on_relief(void *arg)
{
	struct agent *a = arg;

	register_metrics(a);
	tell_progress(a);
}

/* All that can fail, before anything changes. *out is NULL when the link can stay. */
static enum err prepare(struct agent *a, const struct setup *fresh, struct border_shift **out)
{
	struct link_config link = site_link_config(&fresh->site, setup_site_config(fresh));

	*out = NULL;
	if (!border_is_made_of(&a->border, &fresh->site.link_recipe)) {
		enum err err = border_prepare(&a->border, &link, &fresh->site.link_recipe, out);

		if (err != ERR_OK)
			return err;
	}
	enum err err = border_rekey(&a->border, &fresh->site.rings[0]);

	if (err == ERR_OK)
		err = http_server_allow_uids(
			a->server, fresh->site.api_users, fresh->site.api_user_count);
	/* Short of memory: this may fail too, and both key files are good as long as a rotation
	 * lasts. */
	if (err != ERR_OK && border_rekey(&a->border, &a->site->rings[0]) != ERR_OK)
		log_error("event=rekey-failed err=\"%s\"", err_text(err));
	return err;
}

static void on_reload(void *arg)
{
	struct agent *a = arg;
	struct setup fresh;
	struct border_shift *successor;

	if (reload_read(&a->reload, &fresh) != ERR_OK)
		return;
	enum err err = prepare(a, &fresh, &successor);

	if (err != ERR_OK) {
		border_discard(successor);
		reload_refuse(&a->reload, &fresh, err);
		return;
	}
	reload_take(&a->reload, &fresh);
	border_relieve(&a->border, successor);
	tell_progress(a);
}

/* ---- what comes ---- */

static void on_reply(void *arg, const struct message *reply)
{
	struct agent *a = arg;

	desk_reply(&a->desk, reply);
}

static void on_request(void *arg, struct http_request *rq)
{
	api_answer(arg, rq);
}

static bool wants_body(void *arg, struct http_request *rq)
{
	return api_wants_body(arg, rq);
}

/* ---- the way up ---- */

static enum err start_border(struct agent *a)
{
	static const struct border_events events = {
		.on_reply = on_reply,
		.on_change = on_border_change,
		.on_refused = on_border_refused,
		.on_relief = on_relief,
		.on_stopped = on_border_stopped,
	};
	struct border_config config = {
		.host = a->config->host,
		.link = site_link_config(a->site, &a->config->site),
		.recipe = a->site->link_recipe,
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
	config.wants_body = wants_body;
	config.arg = a;
	return http_server_start(&a->loop, &config, &a->server);
}

static enum err start(struct agent *a, int ready_fd)
{
	enum err err = life_init(&a->life, &a->loop, ready_fd, on_stop, on_reload, a);

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

enum err agent_run(struct setup *setup, int ready_fd)
{
	const struct agent_config *config = setup->config;
	const struct site *site = &setup->site;
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
	reload_init(&a.reload, setup, &a.life);
	err = start(&a, ready_fd);
	/* What a start that failed has begun is ended in the loop, as everything is. */
	if (err != ERR_OK) {
		life_close(&a.life);
		http_server_stop(a.server, on_abandoned, &a);
	}
	loop_run(&a.loop);
	metrics_fini(&a.metrics);
	desk_fini(&a.desk);
	border_fini(&a.border);
	reload_fini(&a.reload);
	life_fini(&a.life);
	loop_fini(&a.loop);
	log_info("event=stopped err=\"%s\"", err_text(err));
	return err;
}
