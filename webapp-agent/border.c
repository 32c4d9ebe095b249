#include "webapp-agent/border.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum {
	REPLY_PREFETCH = 1024,
	BACKLOG_MAX_BYTES = 4 * 1024 * 1024,
};

/* Typed ways back from what lives in a shift. */
static struct border_shift *shift_of(const struct shift *s)
{
	return container_of(s, struct border_shift, shift);
}

static struct border_shift *serving(const struct border *b)
{
	return shift_of(b->relief.serving);
}

const char *border_refusal_text(enum border_refusal refusal)
{
	switch (refusal) {
#define BORDER_CASE(code, text) \
	case code:              \
		return text;
		BORDER_MAP(BORDER_CASE)
#undef BORDER_CASE
	case BORDER_REFUSALS:
		break;
	}
	return "unknown";
}

static void refuse(struct border *b, const struct message *m, enum border_refusal why)
{
	const char *reason = border_refusal_text(why);

	b->refused[why]++;
	if (quiet_may_log(&b->quiet, reason))
		log_warn("event=reply-refused msg=%s reason=%s", id_format(&m->id).at, reason);
}

static enum border_refusal refusal_of(enum err fault)
{
	if (fault == ERR_UNSEALED)
		return BORDER_UNSEALED;
	if (fault == ERR_SEAL)
		return BORDER_SEAL;
	return fault == ERR_NOMEM ? BORDER_NO_MEMORY : BORDER_MALFORMED;
}

/* Only app nodes may write to this queue, the broker vouches for their names, and only they have
 * the key beside us. What is refused here can only come from a broker that somebody owns, or was
 * sealed with a key that we do not know. */
static void on_reply(void *arg, struct consumer *c, const struct delivery *d)
{
	struct border_shift *s = arg;
	struct border *b = s->border;
	struct message m = d->message;

	/* A reply is of use for some milliseconds: nothing is gained by keeping it at the
	 * broker. */
	consumer_ack(c, d->tag);
	enum err fault = d->fault == ERR_OK ? envelope_unwrap(&b->envelope, &m) : d->fault;

	if (fault != ERR_OK)
		refuse(b, &m, refusal_of(fault));
	else if (!m.has_correlation)
		refuse(b, &m, BORDER_MALFORMED);
	else if (!span_starts(m.user_id, "app."))
		refuse(b, &m, BORDER_FORGED_SENDER);
	else
		b->events.on_reply(b->arg, &m);
}

/* ---- who serves ---- */

static void on_reply_drained(void *arg)
{
	struct border_shift *s = arg;

	relief_look(&s->border->relief);
}

static void on_room(void *arg)
{
	struct border_shift *s = arg;

	relief_look(&s->border->relief);
}

/* The successor reads the same queue already: whoever waits gets his reply through either. */
static void retire(struct shift *shift)
{
	struct border_shift *s = shift_of(shift);

	s->send.on_room = on_room;
	s->send.on_room_arg = s;
	consumer_drain(&s->reply, on_reply_drained, s);
}

static bool is_idle(const struct shift *shift)
{
	const struct border_shift *s = shift_of(shift);

	return consumer_is_drained(&s->reply) && publisher_in_flight(&s->send) == 0;
}

static void destroy(struct shift *shift)
{
	struct border_shift *s = shift_of(shift);

	shift_fini(&s->shift);
	publisher_fini(&s->call);
	publisher_fini(&s->send);
	consumer_fini(&s->reply);
	free(s);
}

static void on_ready(void *arg)
{
	struct border *b = arg;

	b->events.on_change(b->arg);
}

static void on_move(void *arg)
{
	struct border *b = arg;

	b->events.on_relief(b->arg);
}

static void on_stopped(void *arg)
{
	struct border *b = arg;

	b->events.on_stopped(b->arg);
}

/* A link that retires carries no call any more that has just gone out. */
static void on_refused(void *arg)
{
	struct border_shift *s = arg;
	struct border *b = s->border;

	if (b->relief.serving == &s->shift)
		b->events.on_refused(b->arg);
}

static enum err init_lanes(struct border_shift *s)
{
	struct border *b = s->border;
	struct publisher_config call = {
		.name = "call",
		.exchange = "x.forapp",
		.routing_key = "call",
		.backlog_max_bytes = BACKLOG_MAX_BYTES,
	};
	struct publisher_config send = {
		.name = "send",
		.exchange = "x.forapp",
		.routing_key = "send",
		.window = b->send_window,
		.confirm_timeout_ms = b->confirm_timeout_ms,
		.backlog_max_bytes = BACKLOG_MAX_BYTES,
	};
	struct consumer_config reply = {
		.name = "reply",
		.queue = "FORWEB.reply",
		.prefetch = REPLY_PREFETCH,
		.pace = CONSUMER_ACK_LAZILY,
	};
	enum err err = publisher_init(&s->call, b->loop, &call);

	if (err == ERR_OK)
		err = publisher_init(&s->send, b->loop, &send);
	if (err == ERR_OK)
		err = consumer_init(&s->reply, b->loop, &reply, on_reply, s);
	if (err != ERR_OK)
		return err;
	s->call.on_refused = on_refused;
	s->call.on_refused_arg = s;
	connection_add(&s->shift.link.publish, &s->call.channel);
	connection_add(&s->shift.link.publish, &s->send.channel);
	connection_add(&s->shift.link.consume, &s->reply.channel);
	return ERR_OK;
}

enum err border_prepare(struct border *b, const struct link_config *config,
	const struct digest *recipe, struct border_shift **out)
{
	struct border_shift *s = calloc(1, sizeof(*s));
	struct link_config link = *config;
	char vhost[LINK_NAME_BYTES];

	if (s == NULL)
		return ERR_NOMEM;
	s->border = b;
	snprintf(vhost, sizeof(vhost), "border.%s", b->host);
	link.name = b->host;
	link.vhost = vhost;
	enum err err = shift_init(&s->shift, b->loop, &link, recipe);

	if (err == ERR_OK)
		err = init_lanes(s);
	if (err != ERR_OK) {
		destroy(&s->shift);
		return err;
	}
	sender_init(&s->call_sender, tls_identity_name(s->shift.identity));
	sender_init(&s->send_sender, tls_identity_name(s->shift.identity));
	*out = s;
	return ERR_OK;
}

void border_discard(struct border_shift *s)
{
	if (s != NULL)
		destroy(&s->shift);
}

bool border_is_made_of(const struct border *b, const struct digest *recipe)
{
	return digest_equals(&serving(b)->shift.recipe, recipe);
}

void border_relieve(struct border *b, struct border_shift *s)
{
	if (s == NULL)
		relief_keep(&b->relief);
	else
		relief_order(&b->relief, &s->shift);
}

/* ---- life ---- */

enum err border_init(struct border *b, struct loop *l, const struct border_config *config,
	const struct border_events *events, void *arg)
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

	*b = (struct border){
		.loop = l,
		.confirm_timeout_ms = config->confirm_timeout_ms,
		.send_window = config->send_window,
		.events = *events,
		.arg = arg,
	};
	int len = snprintf(b->host, sizeof(b->host), "%s", config->host);

	if (len < 0 || len >= (int)sizeof(b->host))
		return ERR_INPUT;
	quiet_init(&b->quiet, l, b->host);
	relief_init(&b->relief, l, b->host, &limits, &ops, b);
	enum err err = envelope_init(
		&b->envelope, config->ring, span_of(b->host), ENVELOPE_WEB);

	return err == ERR_OK ? border_prepare(b, &config->link, &config->recipe, &b->first)
			     : err;
}

void border_fini(struct border *b)
{
	if (b->first != NULL)
		destroy(&b->first->shift);
	relief_fini(&b->relief);
	envelope_fini(&b->envelope);
	quiet_fini(&b->quiet);
	*b = (struct border){ 0 };
}

void border_start(struct border *b)
{
	struct border_shift *first = b->first;

	b->first = NULL;
	relief_start(&b->relief, &first->shift);
}

const struct link *border_link(const struct border *b)
{
	if (b->relief.serving != NULL)
		return &b->relief.serving->link;
	return b->first == NULL ? NULL : &b->first->shift.link;
}

void border_stop(struct border *b)
{
	quiet_sum_up(&b->quiet);
	relief_stop(&b->relief, on_stopped);
}

/* ---- what crosses ---- */

enum err border_rekey(struct border *b, const struct keyring *ring)
{
	return envelope_rekey(&b->envelope, ring);
}

static enum err put(struct border *b, struct publisher *p, struct sender *sender,
	struct message *m, struct publish *req)
{
	sender_stamp(sender, m);
	struct message sealed = *m;
	enum err err = envelope_wrap(&b->envelope, &sealed);

	if (err == ERR_OK)
		err = publisher_put(p, &sealed, req);
	if (err != ERR_OK)
		sender->seq--; /* it did not go out: no gap for the other side to wonder at */
	return err;
}

const char *border_blocked_why(const struct border *b)
{
	return b->relief.serving == NULL ? NULL : link_blocked_why(&b->relief.serving->link);
}

const char *border_refused_why(const struct border *b)
{
	return serving(b)->call.channel.fault.text;
}

enum err border_call(struct border *b, struct message *m)
{
	/* Not before replies can come: the caller would wait for nothing. */
	if (!border_is_ready(b))
		return ERR_LINK;
	struct border_shift *s = serving(b);

	return put(b, &s->call, &s->call_sender, m, NULL);
}

enum err border_send(struct border *b, struct message *m, struct publish *req)
{
	struct border_shift *s = b->relief.serving == NULL ? NULL : serving(b);

	if (s == NULL || !publisher_is_ready(&s->send) || border_blocked_why(b) != NULL)
		return ERR_LINK;
	return put(b, &s->send, &s->send_sender, m, req);
}
