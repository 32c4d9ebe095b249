#include "app-node/orders.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/probes.h"

enum { BODY_MAX_BYTES = 1024 };

/* ---- who is out ---- */

static struct revocation *page_at(struct node *n)
{
	return container_of(n, struct revocation, node);
}

static bool is_held(const struct revocation *r)
{
	return r->holder != NULL && consumer_has(r->holder, r->tag);
}

static void let_go(struct revocation *r)
{
	if (r->holder != NULL)
		consumer_ack(r->holder, r->tag);
	r->holder = NULL;
}

/* More is out than before. */
static void bring_about(struct orders *o, const char *host, const char *by)
{
	uint64_t up_to = revoked_up_to(&o->revoked, host);
	bool is_shut = revoked_is_shut(&o->revoked, host, &o->config->revoked);

	log_warn("host=%s event=revoked generation=%llu by=%s crossing=%s", host,
		(unsigned long long)up_to, by, is_shut ? "shut" : "as-configured");
	crossings_revoke(
		o->crossings, host, up_to, is_shut ? CROSSINGS_SHUT : CROSSINGS_AS_CONFIGURED);
}

/* Takes the delivery on: it is held, or settled. */
static enum err obey(struct orders *o, const struct control_order *order, struct consumer *c,
	struct delivery_tag tag, const char *by)
{
	struct revocation *r;
	uint64_t before = revoked_up_to(&o->revoked, order->host);
	enum err err = revoked_tell(&o->revoked, order->host, order->generation, &r);

	if (err != ERR_OK)
		return err;
	if (revocation_is_shut(r) && order->generation == r->told) {
		let_go(r);
		r->holder = c;
		r->tag = tag;
	} else {
		consumer_ack(c, tag);
	}
	if (order->generation > before) {
		o->obeyed++;
		bring_about(o, r->host, by);
	}
	return ERR_OK;
}

/* A copy is wanted only of what we do not hold any more: the link was lost, and the broker hands it
 * out again. */
static bool is_wanted_again(const struct orders *o, const struct control_order *order)
{
	list_each (n, &o->revoked.all) {
		const struct revocation *r = page_at(n);

		if (strcmp(r->host, order->host) == 0)
			return order->generation > r->told ||
			       (order->generation == r->told && revocation_is_shut(r) &&
				       !is_held(r));
	}
	return true;
}

/* ---- what comes ---- */

static void refuse(struct orders *o, struct consumer *c, const struct delivery *d,
	enum control_verdict verdict)
{
	o->refused[verdict]++;
	if (quiet_may_log(&o->quiet, control_text(verdict)))
		log_warn("msg=%s type=\"%s\" from=\"%s\" lane=control event=refused reason=%s",
			id_format(&d->message.id).at, text_show(d->message.type).at,
			text_show(d->message.user_id).at, control_text(verdict));
	if (verdict == CONTROL_NO_MEMORY)
		channel_restart(&c->channel, ERR_NOMEM, "no memory to judge a delivery");
	else if (verdict == CONTROL_REPLAY)
		consumer_ack(c, d->tag);
	else
		consumer_reject(c, d->tag);
}

static void on_control(void *arg, struct consumer *c, const struct delivery *d)
{
	struct orders *o = arg;
	struct control_order order;
	struct control_facts facts = {
		.fault = d->fault,
		.now_unix_us = clock_unix_us(),
		.clock_skew_us = o->config->clock_skew_ms * 1000,
	};
	enum control_verdict verdict = control_judge(&o->control, &facts, &d->message, &order);

	if (verdict == CONTROL_REPLAY && is_wanted_again(o, &order))
		verdict = CONTROL_PASS;
	if (verdict == CONTROL_REPLAY && d->is_redelivered) {
		consumer_ack(c, d->tag); /* the broker's own repetition is nobody's fault */
		return;
	}
	if (verdict == CONTROL_PASS) {
		struct text_shown by = text_show(d->message.user_id);

		if (obey(o, &order, c, d->tag, by.at) == ERR_OK)
			return;
		verdict = CONTROL_NO_MEMORY;
	}
	refuse(o, c, d, verdict);
}

static void on_gone(void *arg, struct consumer *c)
{
	struct orders *o = arg;

	list_each (n, &o->revoked.all)
		if (page_at(n)->holder == c)
			page_at(n)->holder = NULL;
}

static void on_move(void *arg)
{
	struct orders *o = arg;

	o->events.on_move(o->arg);
}

static void on_stopped(void *arg)
{
	struct orders *o = arg;

	o->events.on_stopped(o->arg);
}

/* ---- the configuration ---- */

/* Whoever was not told by operations is told by the first node whose bundle says so. */
static void tell_others(struct orders *o, const struct revocation *r)
{
	struct control_order order = { .generation = r->configured };
	struct buf body;

	memcpy(order.host, r->host, sizeof(order.host));
	buf_init(&body, BODY_MAX_BYTES);
	control_write(&order, &body);
	enum err err = buf_status(&body);

	if (err == ERR_OK)
		err = inner_tell(&o->inner, CONTROL_TYPE_REVOKED, buf_span(&body));
	log_info("host=%s event=revoked-told generation=%llu err=\"%s\"", order.host,
		(unsigned long long)order.generation, err == ERR_OK ? "" : err_text(err));
	buf_fini(&body);
}

enum voice { SILENTLY = 0, ALOUD };

static void obey_configuration(struct orders *o, enum voice voice)
{
	const struct option_list *list = &o->config->revoked;

	for (size_t i = 0; i < list->count; i++) {
		struct revocation *r = revoked_configure(&o->revoked, list->at[i]);

		if (r == NULL)
			continue;
		bring_about(o, r->host, "configuration");
		if (voice == ALOUD)
			tell_others(o, r);
	}
	list_each (n, &o->revoked.all)
		if (!revocation_is_shut(page_at(n)))
			let_go(page_at(n));
}

static struct inner_config inner_config(const struct setup *setup)
{
	const struct node_config *node = setup->config;

	return (struct inner_config){
		.node = node->node,
		.link = site_inner_link_config(&setup->site, &node->site),
		.recipe = setup->site.inner.recipe,
		.ring = node_inner_ring(&setup->site),
	};
}

/* ---- life ---- */

void orders_init(struct orders *o)
{
	*o = (struct orders){ 0 };
	revoked_init(&o->revoked);
}

enum err orders_open(struct orders *o, struct loop *l, const struct setup *setup,
	struct crossings *crossings, const struct orders_events *events, void *arg)
{
	static const struct inner_events inner_events = {
		.on_control = on_control,
		.on_gone = on_gone,
		.on_move = on_move,
		.on_stopped = on_stopped,
	};
	struct inner_config config = inner_config(setup);

	o->config = setup->config;
	o->crossings = crossings;
	o->events = *events;
	o->arg = arg;
	quiet_init(&o->quiet, l, "inner");
	enum err err = control_init(&o->control);

	if (err == ERR_OK)
		err = inner_init(&o->inner, l, &config, &inner_events, o);
	return err == ERR_OK ? revoked_prepare(&o->revoked, &o->config->revoked) : err;
}

void orders_fini(struct orders *o)
{
	inner_fini(&o->inner);
	control_fini(&o->control);
	revoked_fini(&o->revoked);
	quiet_fini(&o->quiet);
	*o = (struct orders){ 0 };
}

void orders_start(struct orders *o)
{
	obey_configuration(o, SILENTLY);
	inner_start(&o->inner);
}

void orders_stop(struct orders *o)
{
	quiet_sum_up(&o->quiet);
	inner_stop(&o->inner);
}

enum err orders_prepare(struct orders *o, const struct setup *setup)
{
	const struct node_config *node = setup->config;
	struct inner_config config = inner_config(setup);
	enum err err = revoked_prepare(&o->revoked, &node->revoked);

	return err == ERR_OK ? inner_prepare(&o->inner, &config.link, &config.recipe) : err;
}

enum err orders_rekey(struct orders *o, const struct keyring *ring)
{
	return inner_rekey(&o->inner, ring);
}

void orders_discard(struct orders *o)
{
	inner_discard(&o->inner);
}

void orders_take(struct orders *o)
{
	inner_relieve(&o->inner);
	obey_configuration(o, ALOUD);
}

/* ---- what is shown ---- */

static void write_inner(const struct inner *in, struct json_writer *w)
{
	json_write_key(w, "inner");
	json_write_object(w);
	json_write_bool_member(w, "ready", inner_is_ready(in));
	json_write_text_member(w, "identity", relief_identity(&in->relief));
	json_write_u64_member(w, "received", in->counters.received);
	json_write_u64_member(w, "sent", in->counters.sent);
	json_write_u64_member(w, "not_sent", in->counters.not_sent);
	probes_write_seal(w, &in->envelope);
	relief_write_status(&in->relief, "link", w);
	json_write_object_end(w);
}

static void write_revocation(const struct revocation *r, struct json_writer *w)
{
	json_write_object(w);
	json_write_text_member(w, "host", r->host);
	json_write_u64_member(w, "told", r->told);
	json_write_u64_member(w, "configured", r->configured);
	json_write_bool_member(w, "shut", revocation_is_shut(r));
	json_write_object_end(w);
}

void orders_write_status(const struct orders *o, struct json_writer *w)
{
	write_inner(&o->inner, w);
	json_write_key(w, "revoked");
	json_write_array(w);
	list_each (n, &o->revoked.all)
		write_revocation(page_at(n), w);
	json_write_array_end(w);
	json_write_key(w, "orders");
	json_write_object(w);
	json_write_u64_member(w, "obeyed", o->obeyed);
	for (size_t i = CONTROL_PASS + 1; i < CONTROL_VERDICTS; i++)
		if (o->refused[i] > 0)
			json_write_u64_member(
				w, control_text((enum control_verdict)i), o->refused[i]);
	json_write_object_end(w);
}

static double read_ready(void *arg)
{
	const struct inner *in = arg;

	return inner_is_ready(in) ? 1 : 0;
}

static double read_shut(void *arg)
{
	const struct orders *o = arg;
	double count = 0;

	list_each (n, &o->revoked.all)
		count += revocation_is_shut(page_at(n)) ? 1 : 0;
	return count;
}

void orders_register(struct metrics *m, struct orders *o)
{
	metrics_gauge(m, "sallyport_inner_ready", "1 while the inner vhost is open both ways.",
		NULL, read_ready, &o->inner);
	metrics_gauge(m, "sallyport_crossings_shut",
		"Web hosts that were thrown out, and the configuration does not know it.", NULL,
		read_shut, o);
	metrics_counter(m, "sallyport_orders_obeyed_total",
		"Control messages that said something new.", NULL, &o->obeyed);
	for (size_t i = CONTROL_PASS + 1; i < CONTROL_VERDICTS; i++) {
		const struct metrics_label labels[] = {
			{ "reason", control_text((enum control_verdict)i) },
			{ NULL, NULL },
		};

		metrics_counter(m, "sallyport_orders_refused_total",
			"Control messages that are not obeyed.", labels, &o->refused[i]);
	}
	probes_register_seal(m, "inner", seal_counters(o->inner.envelope.coming));
	if (o->inner.relief.serving != NULL)
		probes_register_link(m, &o->inner.relief.serving->link);
}
