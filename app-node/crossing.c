#include "app-node/crossing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"

enum { BACKLOG_MAX_BYTES = 8 * 1024 * 1024 };

#define TO(s) (1u << CROSSING_##s)
static const struct {
	const char *name;
	unsigned next;
} states[CROSSING_NSTATES] = {
	/* clang-format off */
	[CROSSING_SERVING]  = { "serving",  TO(DRAINING) | TO(CLOSING) },
	[CROSSING_DRAINING] = { "draining", TO(DRAINED) | TO(CLOSING) | TO(SERVING) },
	[CROSSING_DRAINED]  = { "drained",  TO(CLOSING) | TO(SERVING) },
	[CROSSING_CLOSING]  = { "closing",  TO(CLOSED) },
	[CROSSING_CLOSED]   = { "closed",   TO(SERVING) },
	/* clang-format on */
};
#undef TO

static void move(struct crossing *x, enum crossing_state to)
{
	BUG_ON((states[x->state].next & (1u << to)) == 0);
	log_info("host=%s event=crossing state=%s->%s", x->host, states[x->state].name,
		states[to].name);
	x->state = to;
}

static struct crossing_shift *shift_of(const struct shift *s)
{
	return container_of(s, struct crossing_shift, shift);
}

static struct crossing_shift *serving(const struct crossing *x)
{
	return x->relief.serving == NULL ? NULL : shift_of(x->relief.serving);
}

/* ---- less and less ---- */

/* All calls that will ever come have come: through whoever serves, and whoever retires. */
static bool has_all_calls(const struct crossing *x)
{
	return consumer_is_drained(&serving(x)->call) &&
	       (x->relief.state != RELIEF_RETIRING ||
		       consumer_is_drained(&shift_of(x->relief.other)->call));
}

/* Its end is waited for, and something has ended: last touch of x. */
static void less(struct crossing *x)
{
	if (x->limit.is_set && x->state == CROSSING_DRAINED && x->job_count == 0)
		crossing_stop(x);
	x->events.on_less(x->arg, x);
}

static void on_limit(struct timer *timer)
{
	struct crossing *x = container_of(timer, struct crossing, limit);

	log_warn("host=%s event=leave-limit jobs=%u", x->host, x->job_count);
	crossing_stop(x);
}

static void on_calls_drained(void *arg)
{
	struct crossing_shift *s = arg;
	struct crossing *x = s->crossing;

	relief_look(&x->relief);
	if (x->state != CROSSING_DRAINING || !has_all_calls(x))
		return;
	move(x, CROSSING_DRAINED);
	less(x);
}

void crossing_job_begun(struct crossing *x, struct crossing_shift *s)
{
	x->job_count++;
	if (s != NULL)
		s->send_count++;
}

void crossing_job_ended(struct crossing *x, struct crossing_shift *s)
{
	BUG_ON(x->job_count == 0 || (s != NULL && s->send_count == 0));
	x->job_count--;
	if (s != NULL)
		s->send_count--;
	relief_look(&x->relief);
	if (x->job_count == 0 && x->state != CROSSING_SERVING)
		less(x);
}

void crossing_job_moved(
	struct crossing *x, struct crossing_shift *from, struct crossing_shift *to)
{
	BUG_ON(from != NULL && from->send_count == 0);
	if (from != NULL)
		from->send_count--;
	if (to != NULL)
		to->send_count++;
	relief_look(&x->relief);
}

/* Each lane is let go once: by who retires, or by who serves while the crossing leaves. */
static void drain_calls(struct crossing_shift *s)
{
	if (s->is_drained)
		return;
	s->is_drained = true;
	consumer_drain(&s->call, on_calls_drained, s);
}

static void hold_sends(struct crossing_shift *s)
{
	s->is_held = true;
	consumer_hold(&s->send);
	s->crossing->events.on_sends_lost(s->crossing->arg, s);
}

/* ---- who serves ---- */

static void on_delivery(void *arg, struct consumer *c, const struct delivery *d)
{
	struct crossing_shift *s = arg;
	struct crossing *x = s->crossing;
	struct delivery opened = *d;

	if (opened.fault == ERR_OK)
		opened.fault = envelope_unwrap(&x->envelope, &opened.message);
	if (c == &s->call)
		x->counters.calls++;
	else
		x->counters.sends++;
	x->events.on_delivery(x->arg, s, c, &opened);
}

static void on_sends_lost(void *arg, struct consumer *c)
{
	struct crossing_shift *s = arg;

	(void)c;
	s->crossing->events.on_sends_lost(s->crossing->arg, s);
}

/* Calls reach the successor from now on. Sends do when the connection of this one is closed,
 * which hands back in order what has not begun. */
static void retire(struct shift *shift)
{
	struct crossing_shift *s = shift_of(shift);

	drain_calls(s);
	hold_sends(s);
}

static bool is_idle(const struct shift *shift)
{
	const struct crossing_shift *s = shift_of(shift);

	return consumer_is_drained(&s->call) && s->send_count == 0;
}

static void destroy(struct shift *shift)
{
	struct crossing_shift *s = shift_of(shift);
	struct crossing *x = s->crossing;

	x->events.on_gone(x->arg, s);
	BUG_ON(s->send_count > 0);
	shift_fini(&s->shift);
	consumer_fini(&s->call);
	consumer_fini(&s->send);
	publisher_fini(&s->reply);
	free(s);
}

static void on_ready(void *arg)
{
	struct crossing *x = arg;

	x->events.on_change(x->arg, x);
}

static void on_move(void *arg)
{
	struct crossing *x = arg;

	x->events.on_relief(x->arg, x);
}

/* It was closed, and is wanted again. */
static void start_again(struct crossing *x)
{
	move(x, CROSSING_SERVING);
	crossing_start(x);
	x->events.on_relief(x->arg, x);
}

static void on_stopped(void *arg)
{
	struct crossing *x = arg;

	move(x, CROSSING_CLOSED);
	if (x->first != NULL)
		start_again(x);
	else
		less(x);
}

static void drop_shift(struct crossing_shift **s)
{
	struct crossing_shift *gone = *s;

	*s = NULL;
	if (gone != NULL)
		destroy(&gone->shift);
}

static enum err init_lanes(struct crossing_shift *s)
{
	struct crossing *x = s->crossing;
	struct consumer_config call = {
		.name = "call",
		.queue = "FORAPP.call",
		.prefetch = x->call_prefetch,
		.pace = CONSUMER_ACK_LAZILY,
	};
	struct consumer_config send = {
		.name = "send",
		.queue = "FORAPP.send",
		.prefetch = x->send_prefetch,
		.pace = CONSUMER_ACK_AT_ONCE,
	};
	struct publisher_config reply = {
		.name = "reply",
		.exchange = "x.forweb",
		.routing_key = "reply",
		.backlog_max_bytes = BACKLOG_MAX_BYTES,
	};
	enum err err = consumer_init(&s->call, x->loop, &call, on_delivery, s);

	if (err == ERR_OK)
		err = consumer_init(&s->send, x->loop, &send, on_delivery, s);
	if (err == ERR_OK)
		err = publisher_init(&s->reply, x->loop, &reply);
	if (err != ERR_OK)
		return err;
	s->send.on_lost = on_sends_lost;
	connection_add(&s->shift.link.consume, &s->call.channel);
	connection_add(&s->shift.link.consume, &s->send.channel);
	connection_add(&s->shift.link.publish, &s->reply.channel);
	return ERR_OK;
}

static enum err make_shift(struct crossing *x, const struct link_config *config,
	const struct digest *recipe, struct crossing_shift **out)
{
	struct crossing_shift *s = calloc(1, sizeof(*s));
	struct link_config link = *config;
	char vhost[LINK_NAME_BYTES];

	if (s == NULL)
		return ERR_NOMEM;
	s->crossing = x;
	snprintf(vhost, sizeof(vhost), "border.%s", x->host);
	link.name = x->host;
	link.vhost = vhost;
	enum err err = shift_init(&s->shift, x->loop, &link, recipe);

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

enum err crossing_prepare(
	struct crossing *x, const struct link_config *config, const struct digest *recipe)
{
	const struct crossing_shift *s = x->first != NULL ? x->first : serving(x);

	BUG_ON(x->prepared != NULL || s == NULL);
	/* Who has let go of his work is not the right one, whatever he is made of. */
	if (!s->is_held && digest_equals(&s->shift.recipe, recipe))
		return ERR_OK;
	return make_shift(x, config, recipe, &x->prepared);
}

enum err crossing_prepare_return(
	struct crossing *x, const struct link_config *config, const struct digest *recipe)
{
	BUG_ON(x->prepared != NULL || x->state == CROSSING_SERVING);
	return make_shift(x, config, recipe, &x->prepared);
}

void crossing_discard(struct crossing *x)
{
	drop_shift(&x->prepared);
}

void crossing_relieve(struct crossing *x)
{
	struct crossing_shift *s = x->prepared;

	x->prepared = NULL;
	if (s != NULL && x->first != NULL) {
		drop_shift(&x->first);
		x->first = s;
	} else if (s != NULL && serving(x)->is_held) {
		relief_replace(&x->relief, &s->shift);
	} else if (s != NULL) {
		relief_order(&x->relief, &s->shift);
	} else if (x->first == NULL) {
		relief_keep(&x->relief);
	}
}

/* ---- life ---- */

enum err crossing_init(struct crossing *x, struct loop *l, const struct crossing_config *config,
	const struct crossing_events *events, void *arg)
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

	*x = (struct crossing){
		.loop = l,
		.call_prefetch = config->call_prefetch,
		.send_prefetch = config->send_prefetch,
		.revoked = config->revoked,
		.events = *events,
		.arg = arg,
	};
	list_init(&x->node);
	origin_init(&x->origin);
	quiet_init(&x->quiet, l, x->host);
	timer_init(&x->limit, l, on_limit);
	int len = snprintf(x->host, sizeof(x->host), "%s", config->host);

	if (len < 0 || len >= (int)sizeof(x->host))
		return ERR_INPUT;
	relief_init(&x->relief, l, x->host, &limits, &ops, x);
	enum err err = envelope_init(
		&x->envelope, config->ring, span_of(x->host), ENVELOPE_APP);

	if (err == ERR_OK)
		err = seen_init(&x->seen, config->replay_kept);
	return err == ERR_OK ? make_shift(x, &config->link, &config->recipe, &x->first) : err;
}

void crossing_fini(struct crossing *x)
{
	quiet_fini(&x->quiet);
	timer_cancel(&x->limit);
	crossing_discard(x);
	drop_shift(&x->first);
	relief_fini(&x->relief);
	envelope_fini(&x->envelope);
	seen_fini(&x->seen);
	list_drop(&x->node);
}

void crossing_start(struct crossing *x)
{
	struct crossing_shift *first = x->first;

	x->first = NULL;
	relief_start(&x->relief, &first->shift);
}

void crossing_drain(struct crossing *x)
{
	drop_shift(&x->first);
	if (x->state >= CROSSING_CLOSING)
		return;
	relief_keep(&x->relief);
	move(x, CROSSING_DRAINING);
	drain_calls(serving(x));
	/* They may have come already: it had left before, and returned. */
	if (has_all_calls(x))
		move(x, CROSSING_DRAINED);
}

void crossing_leave(struct crossing *x)
{
	crossing_drain(x);
	if (x->state >= CROSSING_CLOSING)
		return;
	timer_after(&x->limit, RELIEF_RETIRE_MS);
	hold_sends(serving(x));
	if (x->state == CROSSING_DRAINED && x->job_count == 0)
		crossing_stop(x);
}

void crossing_return(struct crossing *x)
{
	struct crossing_shift *s = x->prepared;

	BUG_ON(s == NULL || x->first != NULL);
	x->prepared = NULL;
	timer_cancel(&x->limit);
	if (x->state < CROSSING_CLOSING) {
		move(x, CROSSING_SERVING);
		relief_replace(&x->relief, &s->shift);
		return;
	}
	x->first = s;
	if (x->state == CROSSING_CLOSED)
		start_again(x);
}

void crossing_stop(struct crossing *x)
{
	drop_shift(&x->first);
	if (x->state >= CROSSING_CLOSING)
		return;
	timer_cancel(&x->limit);
	quiet_sum_up(&x->quiet);
	move(x, CROSSING_CLOSING);
	relief_stop(&x->relief, on_stopped);
}

bool crossing_is_ready(const struct crossing *x)
{
	return relief_is_ready(&x->relief) && !serving(x)->is_held;
}

const struct link *crossing_link(const struct crossing *x)
{
	if (x->relief.serving != NULL)
		return &x->relief.serving->link;
	return x->first == NULL ? NULL : &x->first->shift.link;
}

/* ---- what crosses ---- */

enum err crossing_rekey(struct crossing *x, const struct keyring *ring)
{
	return envelope_rekey(&x->envelope, ring);
}

enum err crossing_reply(struct crossing *x, struct message *m)
{
	struct crossing_shift *s = serving(x);
	enum err err = ERR_LINK;

	if (s != NULL) {
		sender_stamp(&s->sender, m);
		struct message sealed = *m;

		err = envelope_wrap(&x->envelope, &sealed);
		if (err == ERR_OK)
			err = publisher_put(&s->reply, &sealed, NULL);
	}
	if (err == ERR_OK) {
		x->counters.replies++;
		return ERR_OK;
	}
	if (s != NULL)
		s->sender.seq--;
	crossing_reply_failed(x, &m->correlation, err);
	return err;
}

void crossing_reply_failed(struct crossing *x, const struct id *request, enum err why)
{
	x->counters.replies_lost++;
	if (crossing_may_log(x, "reply-lost"))
		log_warn("msg=%s host=%s event=reply-lost reason=\"%s\"", id_format(request).at,
			x->host, err_text(why));
}
