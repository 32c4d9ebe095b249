#include "amqp/consumer.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/log.h"

enum { LAZY_MS = 50 };

static const char consumer_tag[] = "sallyport";

static void forget_all(struct consumer *c)
{
	while (!list_empty(&c->held)) {
		struct node *n = c->held.next;

		list_drop(n);
		container_of(n, struct consumer_slot, node)->state = SLOT_FREE;
		list_append(&c->unused, n);
	}
	c->settled_count = 0;
	c->held_count = 0;
	timer_cancel(&c->lazy);
}

static void slot_free(struct consumer *c, struct consumer_slot *s)
{
	if (s->state == SLOT_SETTLED)
		c->settled_count--;
	else
		c->held_count--;
	s->state = SLOT_FREE;
	list_drop(&s->node);
	list_append(&c->unused, &s->node);
}

/* Acknowledges all that is settled: one frame for the unbroken run from the oldest, one each
 * for what lies behind a message that is still held. */
static void flush(struct consumer *c)
{
	struct channel *ch = &c->channel;
	uint64_t up_to = 0;

	timer_cancel(&c->lazy);
	c->counters.acked += c->settled_count;
	while (!list_empty(&c->held)) {
		struct consumer_slot *s = container_of(
			c->held.next, struct consumer_slot, node);

		if (s->state != SLOT_SETTLED)
			break;
		up_to = s->tag;
		slot_free(c, s);
	}
	if (up_to != 0)
		codec_put_ack(ch->out, ch->number, up_to, ACK_UP_TO);
	if (c->settled_count == 0)
		return;
	list_each_safe (n, &c->held) {
		struct consumer_slot *s = container_of(n, struct consumer_slot, node);

		if (s->state != SLOT_SETTLED)
			continue;
		codec_put_ack(ch->out, ch->number, s->tag, ACK_ONE);
		slot_free(c, s);
	}
}

static bool on_turn(struct turn *turn)
{
	struct consumer *c = container_of(turn, struct consumer, turn);

	if (c->settled_count == 0)
		return false;
	if (c->config.pace == CONSUMER_ACK_AT_ONCE || c->is_cancelled ||
		c->settled_count * 4 >= c->config.prefetch) {
		flush(c);
		return true;
	}
	if (!c->lazy.is_set)
		timer_after(&c->lazy, LAZY_MS);
	return false;
}

static void on_lazy_due(struct timer *timer)
{
	flush(container_of(timer, struct consumer, lazy));
}

static void setup(struct channel *ch)
{
	struct consumer *c = container_of(ch, struct consumer, channel);

	if (c->is_cancelled) {
		channel_become_ready(ch);
		return;
	}
	codec_put_qos(ch->out, ch->number, c->config.prefetch);
	codec_put_consume(ch->out, ch->number, c->config.queue, consumer_tag);
}

/* on_drained must fire neither from inside consumer_drain() nor while a channel is being lost:
 * the timer brings it. */
static void drained(struct consumer *c)
{
	if (c->on_drained != NULL)
		timer_after(&c->drained, 0);
}

static void on_drained_due(struct timer *timer)
{
	struct consumer *c = container_of(timer, struct consumer, drained);
	void (*on_drained)(void *arg) = c->on_drained;

	c->on_drained = NULL;
	on_drained(c->on_drained_arg); /* last touch */
}

static enum err on_method(struct channel *ch, const struct method *m)
{
	struct consumer *c = container_of(ch, struct consumer, channel);

	if (ch->state == CHANNEL_SETUP && m->kind == METHOD_BASIC_QOS_OK)
		return ERR_OK;
	if (ch->state == CHANNEL_SETUP && m->kind == METHOD_BASIC_CONSUME_OK) {
		/* Drained meanwhile: the broker may have sent something already. */
		if (c->is_cancelled)
			codec_put_cancel(ch->out, ch->number, consumer_tag);
		channel_become_ready(ch);
		return ERR_OK;
	}
	if (m->kind == METHOD_BASIC_CANCEL) {
		c->counters.cancelled++;
		channel_restart(ch, ERR_REFUSED, "the broker cancelled the consumer");
		return ERR_OK;
	}
	if (m->kind == METHOD_BASIC_CANCEL_OK && c->is_cancelled) {
		drained(c);
		return ERR_OK;
	}
	return ERR_PROTOCOL;
}

static enum err on_content(struct channel *ch, const struct content *content)
{
	struct consumer *c = container_of(ch, struct consumer, channel);

	if (content->method->kind != METHOD_BASIC_DELIVER || list_empty(&c->unused))
		return ERR_PROTOCOL; /* more than the prefetch that we set */
	struct consumer_slot *s = container_of(c->unused.next, struct consumer_slot, node);
	struct delivery d = {
		.tag = {
			.tag = content->method->delivery_tag,
			.channel_epoch = c->channel_epoch,
			.slot = (unsigned)(s - c->slots),
		},
		.message = { .body = content->body },
		.body_bytes = content->body_bytes,
		.is_redelivered = content->method->redelivered,
	};
	enum err err = codec_decode_properties(ch->codec, content->header, &d.message);

	if (err == ERR_NOMEM)
		return err;
	d.fault = err == ERR_OK && content->is_oversized ? ERR_FULL : err;
	list_drop(&s->node);
	list_append(&c->held, &s->node);
	s->tag = d.tag.tag;
	s->state = SLOT_HELD;
	c->held_count++;
	c->counters.delivered++;
	c->counters.redelivered += d.is_redelivered;
	if (!c->is_held)
		c->on_delivery(c->arg, c, &d);
	return ERR_OK;
}

/* What was settled is not to come again. */
static void on_goodbye(struct channel *ch)
{
	flush(container_of(ch, struct consumer, channel));
}

static void on_lost(struct channel *ch, enum err err)
{
	struct consumer *c = container_of(ch, struct consumer, channel);

	(void)err;
	forget_all(c);
	c->channel_epoch++;
	if (c->on_lost != NULL)
		c->on_lost(c->arg, c);
	if (c->is_cancelled)
		drained(c);
}

static struct consumer_slot *find(struct consumer *c, struct delivery_tag tag)
{
	if (!consumer_has(c, tag))
		return NULL;
	struct consumer_slot *s = &c->slots[tag.slot];

	/* The epoch can be right and the delivery gone: forgotten with a restart of the
	 * channel. */
	return s->state == SLOT_HELD && s->tag == tag.tag ? s : NULL;
}

enum err consumer_init(struct consumer *c, struct loop *l, const struct consumer_config *config,
	delivery_fn on_delivery, void *arg)
{
	static const struct channel_ops ops = {
		.setup = setup,
		.on_method = on_method,
		.on_content = on_content,
		.on_goodbye = on_goodbye,
		.on_lost = on_lost,
	};

	BUG_ON(config->prefetch == 0 || config->prefetch > CONSUMER_PREFETCH_MAX);
	*c = (struct consumer){ .config = *config, .on_delivery = on_delivery, .arg = arg };
	c->slots = calloc(config->prefetch, sizeof(*c->slots));
	if (c->slots == NULL)
		return ERR_NOMEM;
	list_init(&c->held);
	list_init(&c->unused);
	for (unsigned i = 0; i < config->prefetch; i++)
		list_append(&c->unused, &c->slots[i].node);
	channel_init(&c->channel, l, config->name, &ops);
	timer_init(&c->lazy, l, on_lazy_due);
	timer_init(&c->drained, l, on_drained_due);
	loop_turn_add(l, &c->turn, on_turn);
	return ERR_OK;
}

void consumer_fini(struct consumer *c)
{
	if (c->slots == NULL)
		return;
	loop_turn_drop(&c->turn);
	timer_cancel(&c->lazy);
	timer_cancel(&c->drained);
	channel_fini(&c->channel);
	free(c->slots);
	*c = (struct consumer){ 0 };
}

bool consumer_has(const struct consumer *c, struct delivery_tag tag)
{
	return tag.channel_epoch == c->channel_epoch;
}

void consumer_ack(struct consumer *c, struct delivery_tag tag)
{
	struct consumer_slot *s = find(c, tag);

	if (s == NULL)
		return;
	s->state = SLOT_SETTLED;
	c->held_count--;
	c->settled_count++;
}

void consumer_reject(struct consumer *c, struct delivery_tag tag)
{
	struct consumer_slot *s = find(c, tag);

	if (s == NULL)
		return;
	codec_put_reject(c->channel.out, c->channel.number, s->tag);
	c->counters.rejected++;
	slot_free(c, s);
}

void consumer_drain(struct consumer *c, void (*on_drained)(void *arg), void *arg)
{
	BUG_ON(c->is_cancelled);
	c->is_cancelled = true;
	c->on_drained = on_drained;
	c->on_drained_arg = arg;
	if (c->channel.state == CHANNEL_READY)
		codec_put_cancel(c->channel.out, c->channel.number, consumer_tag);
	else if (c->channel.state != CHANNEL_SETUP) /* else when it is set up */
		drained(c);
}

void consumer_hold(struct consumer *c)
{
	c->is_held = true;
}
