#include "amqp/publisher.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/log.h"

enum {
	LOOK_AFTER_MS = 1000,
	CODE_ACCESS_REFUSED = 403, /* AMQP 0-9-1, reply codes */
	CODE_NOT_FOUND = 404,
};

static bool has_confirms(const struct publisher *p)
{
	return p->config.window > 0;
}

static struct publish **slot(struct publisher *p, uint64_t tag)
{
	return &p->window[tag % p->config.window];
}

static void room_again(struct publisher *p)
{
	if (p->on_room != NULL)
		p->on_room(p->on_room_arg);
}

/* Takes one publish out of the window; NULL when it is settled already. */
static struct publish *take(struct publisher *p, uint64_t tag)
{
	struct publish *req = *slot(p, tag);

	*slot(p, tag) = NULL;
	while (p->first_tag < p->next_tag && *slot(p, p->first_tag) == NULL)
		p->first_tag++;
	return req;
}

static void settle(struct publisher *p, uint64_t tag, enum err status)
{
	struct publish *req = take(p, tag);

	if (req == NULL)
		return;
	if (status == ERR_LINK) {
		p->counters.unknown++;
	} else if (status == ERR_FULL) {
		p->counters.nacked++;
	} else if (req->is_returned) {
		p->counters.returned++;
		status = ERR_REFUSED;
	} else {
		p->counters.confirmed++;
	}
	req->on_done(req, status); /* last touch of req */
}

static void setup(struct channel *ch)
{
	struct publisher *p = container_of(ch, struct publisher, channel);

	/* Delivery tags of confirms count from 1 on every new channel. */
	p->first_tag = 1;
	p->next_tag = 1;
	if (!has_confirms(p)) {
		channel_become_ready(ch);
		room_again(p);
		return;
	}
	codec_put_confirm_select(ch->out, ch->number);
}

static enum err on_confirm(struct publisher *p, const struct method *m)
{
	enum err status = m->kind == METHOD_BASIC_ACK ? ERR_OK : ERR_FULL;
	uint64_t tag = m->delivery_tag;

	/* Tag 0 with multiple means "all so far" (AMQP 0-9-1, basic.ack). */
	if (m->multiple && tag == 0)
		tag = p->next_tag - 1;
	if (tag == 0 || tag >= p->next_tag)
		return ERR_PROTOCOL;
	if (tag < p->first_tag)
		return ERR_OK; /* settled before */
	if (!m->multiple) {
		settle(p, tag, status);
	} else {
		/* on_done may publish more, and may lose the channel: then all is settled. */
		while (p->first_tag <= tag && p->first_tag < p->next_tag &&
			p->channel.state == CHANNEL_READY)
			settle(p, p->first_tag, status);
	}
	if (p->first_tag == p->next_tag)
		timer_cancel(&p->oldest);
	room_again(p);
	return ERR_OK;
}

static enum err on_method(struct channel *ch, const struct method *m)
{
	struct publisher *p = container_of(ch, struct publisher, channel);

	if (!has_confirms(p))
		return ERR_PROTOCOL;
	if (ch->state == CHANNEL_SETUP && m->kind == METHOD_CONFIRM_SELECT_OK) {
		channel_become_ready(ch);
		room_again(p);
		return ERR_OK;
	}
	if (ch->state == CHANNEL_READY &&
		(m->kind == METHOD_BASIC_ACK || m->kind == METHOD_BASIC_NACK))
		return on_confirm(p, m);
	return ERR_PROTOCOL;
}

/* A mandatory message that no queue took comes back, and its confirm follows. */
static enum err on_content(struct channel *ch, const struct content *content)
{
	struct publisher *p = container_of(ch, struct publisher, channel);
	struct message m = { 0 };

	if (content->method->kind != METHOD_BASIC_RETURN || !has_confirms(p))
		return ERR_PROTOCOL;
	if (codec_decode_properties(ch->codec, content->header, &m) != ERR_OK)
		return ERR_PROTOCOL; /* it is not what we sent */
	log_warn("link=%s channel=%s event=returned msg=%s code=%u text=\"%s\"", ch->link,
		ch->name, id_format(&m.id).at, ch->fault.code, ch->fault.text);
	for (uint64_t tag = p->first_tag; tag < p->next_tag; tag++) {
		struct publish *req = *slot(p, tag);

		if (req != NULL && id_compare(&req->id, &m.id) == 0)
			req->is_returned = true;
	}
	return ERR_OK;
}

static void on_lost(struct channel *ch, enum err err)
{
	struct publisher *p = container_of(ch, struct publisher, channel);

	/* Whatever it was: the fate of the unconfirmed is unknown. */
	timer_cancel(&p->oldest);
	while (p->first_tag < p->next_tag)
		settle(p, p->first_tag, ERR_LINK);
	if (err == ERR_REFUSED && p->on_refused != NULL &&
		(ch->fault.code == CODE_ACCESS_REFUSED || ch->fault.code == CODE_NOT_FOUND))
		p->on_refused(p->on_refused_arg);
}

static void on_oldest_due(struct timer *timer)
{
	struct publisher *p = container_of(timer, struct publisher, oldest);

	BUG_ON(p->first_tag == p->next_tag);
	const struct channel *ch = &p->channel;
	uint64_t waits_from_ms = (*slot(p, p->first_tag))->sent_at_ms;

	if (waits_from_ms < ch->unblocked_at_ms)
		waits_from_ms = ch->unblocked_at_ms;
	if (!ch->is_blocked &&
		uv_now(&timer->loop->uv) - waits_from_ms >= p->config.confirm_timeout_ms) {
		p->channel.host.on_broken(p->channel.host.arg, ERR_TIMEOUT,
			"a publish was not confirmed in time");
		return;
	}
	timer_after(&p->oldest, LOOK_AFTER_MS);
}

enum err publisher_init(
	struct publisher *p, struct loop *l, const struct publisher_config *config)
{
	static const struct channel_ops ops = {
		.setup = setup,
		.on_method = on_method,
		.on_content = on_content,
		.on_lost = on_lost,
	};

	BUG_ON(config->window > PUBLISHER_WINDOW_MAX);
	*p = (struct publisher){ .config = *config, .first_tag = 1, .next_tag = 1 };
	if (has_confirms(p)) {
		p->window = calloc(config->window, sizeof(struct publish *));
		if (p->window == NULL)
			return ERR_NOMEM;
	}
	channel_init(&p->channel, l, config->name, &ops);
	timer_init(&p->oldest, l, on_oldest_due);
	return ERR_OK;
}

void publisher_fini(struct publisher *p)
{
	channel_fini(&p->channel);
	timer_cancel(&p->oldest);
	free(p->window);
	*p = (struct publisher){ 0 };
}

enum err publisher_put(struct publisher *p, const struct message *m, struct publish *req)
{
	struct channel *ch = &p->channel;

	BUG_ON((req != NULL) != has_confirms(p));
	if (!publisher_is_ready(p))
		return ERR_LINK;
	if (ch->out->len > p->config.backlog_max_bytes)
		return ERR_FULL;
	if (req != NULL) {
		if (p->next_tag - p->first_tag >= p->config.window)
			return ERR_FULL;
		req->id = m->id;
		req->is_returned = false;
		req->sent_at_ms = uv_now(&p->oldest.loop->uv);
		*slot(p, p->next_tag) = req;
		if (!p->oldest.is_set)
			timer_after(&p->oldest, LOOK_AFTER_MS);
	}
	p->next_tag++;
	if (!has_confirms(p))
		p->first_tag = p->next_tag;
	p->counters.published++;
	/* Errors stick in the buffer; the connection looks at it before it writes. */
	codec_put_publish(ch->out, ch->number, ch->frame_max, p->config.exchange,
		p->config.routing_key, req != NULL ? ROUTE_OR_RETURN : ROUTE_OR_DROP, m);
	return ERR_OK;
}

unsigned publisher_in_flight(const struct publisher *p)
{
	return (unsigned)(p->next_tag - p->first_tag);
}
