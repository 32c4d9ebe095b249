#include "app-node/inner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"

enum { BACKLOG_MAX_BYTES = 1024 * 1024 };

static const char vhost[] = "inner";

static struct inner_shift *shift_of(const struct shift *s)
{
	return container_of(s, struct inner_shift, shift);
}

/* ---- who serves ---- */

static void on_delivery(void *arg, struct consumer *c, const struct delivery *d)
{
	struct inner_shift *s = arg;
	struct inner *in = s->inner;
	struct delivery opened = *d;

	in->counters.received++;
	if (opened.fault == ERR_OK)
		opened.fault = envelope_unwrap(&in->envelope, &opened.message);
	in->events.on_control(in->arg, c, &opened);
}

static void on_drained(void *arg)
{
	struct inner_shift *s = arg;

	relief_look(&s->inner->relief);
}

static void retire(struct shift *shift)
{
	struct inner_shift *s = shift_of(shift);

	consumer_drain(&s->control, on_drained, s);
}

/* What it holds unsettled goes to the successor when the connection closes. */
static bool is_idle(const struct shift *shift)
{
	return consumer_is_drained(&shift_of(shift)->control);
}

static void destroy(struct shift *shift)
{
	struct inner_shift *s = shift_of(shift);

	s->inner->events.on_gone(s->inner->arg, &s->control);
	shift_fini(&s->shift);
	consumer_fini(&s->control);
	publisher_fini(&s->tell);
	free(s);
}

static void on_ready(void *arg)
{
	struct inner *in = arg;

	log_info("event=inner-%s", inner_is_ready(in) ? "ready" : "away");
	in->events.on_move(in->arg);
}

static void on_move(void *arg)
{
	struct inner *in = arg;

	in->events.on_move(in->arg);
}

static enum err init_lanes(struct inner_shift *s)
{
	struct inner *in = s->inner;
	struct consumer_config control = {
		.name = "control",
		.queue = in->queue,
		.prefetch = INNER_PREFETCH,
		.pace = CONSUMER_ACK_AT_ONCE,
	};
	struct publisher_config tell = {
		.name = "tell",
		.exchange = "x.control",
		.routing_key = "",
		.backlog_max_bytes = BACKLOG_MAX_BYTES,
	};
	enum err err = consumer_init(&s->control, in->loop, &control, on_delivery, s);

	if (err == ERR_OK)
		err = publisher_init(&s->tell, in->loop, &tell);
	if (err != ERR_OK)
		return err;
	connection_add(&s->shift.link.consume, &s->control.channel);
	connection_add(&s->shift.link.publish, &s->tell.channel);
	return ERR_OK;
}

static enum err make_shift(struct inner *in, const struct link_config *config,
	const struct digest *recipe, struct inner_shift **out)
{
	struct inner_shift *s = calloc(1, sizeof(*s));
	struct link_config link = *config;

	if (s == NULL)
		return ERR_NOMEM;
	s->inner = in;
	link.name = vhost;
	link.vhost = vhost;
	enum err err = shift_init(&s->shift, in->loop, &link, recipe);

	if (err == ERR_OK)
		err = init_lanes(s);
	if (err != ERR_OK) {
		destroy(&s->shift);
		return err;
	}
	sender_init(&s->sender, tls_identity_name(s->shift.identity));
	*out = s;
	return ERR_OK;
}

/* ---- life ---- */

enum err inner_init(struct inner *in, struct loop *l, const struct inner_config *config,
	const struct inner_events *events, void *arg)
{
	static const struct relief_ops ops = {
		.retire = retire,
		.is_idle = is_idle,
		.destroy = destroy,
		.on_ready = on_ready,
		.on_move = on_move,
	};
	static const struct relief_limits limits = {
		.patience_ms = RELIEF_PATIENCE_MS,
		.retire_ms = RELIEF_RETIRE_MS,
	};

	*in = (struct inner){ .loop = l, .events = *events, .arg = arg };
	relief_init(&in->relief, l, vhost, &limits, &ops, in);
	int len = snprintf(in->queue, sizeof(in->queue), "control.%s", config->node);

	if (len < 0 || len >= (int)sizeof(in->queue))
		return ERR_INPUT;
	enum err err = envelope_init(
		&in->envelope, config->ring, (struct span){ 0 }, ENVELOPE_INNER);

	return err == ERR_OK ? make_shift(in, &config->link, &config->recipe, &in->first) : err;
}

void inner_fini(struct inner *in)
{
	if (in->loop == NULL)
		return;
	inner_discard(in);
	if (in->first != NULL)
		destroy(&in->first->shift);
	relief_fini(&in->relief);
	envelope_fini(&in->envelope);
	*in = (struct inner){ 0 };
}

void inner_start(struct inner *in)
{
	struct inner_shift *first = in->first;

	in->first = NULL;
	relief_start(&in->relief, &first->shift);
}

enum err inner_prepare(
	struct inner *in, const struct link_config *config, const struct digest *recipe)
{
	BUG_ON(in->prepared != NULL || in->relief.serving == NULL);
	if (digest_equals(&in->relief.serving->recipe, recipe))
		return ERR_OK;
	return make_shift(in, config, recipe, &in->prepared);
}

void inner_discard(struct inner *in)
{
	struct inner_shift *s = in->prepared;

	in->prepared = NULL;
	if (s != NULL)
		destroy(&s->shift);
}

void inner_relieve(struct inner *in)
{
	struct inner_shift *s = in->prepared;

	in->prepared = NULL;
	if (s == NULL)
		relief_keep(&in->relief);
	else
		relief_order(&in->relief, &s->shift);
}

static void on_stopped(void *arg)
{
	struct inner *in = arg;

	in->events.on_stopped(in->arg); /* last touch */
}

void inner_stop(struct inner *in)
{
	relief_stop(&in->relief, on_stopped);
}

/* ---- what is said ---- */

enum err inner_rekey(struct inner *in, const struct keyring *ring)
{
	return envelope_rekey(&in->envelope, ring);
}

enum err inner_tell(struct inner *in, const char *type, struct span body)
{
	struct message m = {
		.durability = MESSAGE_PERSISTENT,
		.type = span_of(type),
		.body = body,
	};
	enum err err = ERR_LINK;

	if (in->relief.serving != NULL) {
		struct inner_shift *s = shift_of(in->relief.serving);

		id_make(&m.id, clock_unix_ms());
		sender_stamp(&s->sender, &m);
		err = envelope_wrap(&in->envelope, &m);
		if (err == ERR_OK)
			err = publisher_put(&s->tell, &m, NULL);
	}
	if (err == ERR_OK)
		in->counters.sent++;
	else
		in->counters.not_sent++;
	return err;
}
