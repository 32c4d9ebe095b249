#include "webapp-agent/border.h"

#include <stdio.h>

#include "base/log.h"

enum {
	REPLY_PREFETCH = 1024,
	BACKLOG_MAX_BYTES = 4 * 1024 * 1024,
};

static void on_link_change(void *arg, struct link *k)
{
	struct border *b = arg;

	(void)k;
	b->events.on_change(b->arg);
}

static void on_link_stopped(void *arg, struct link *k)
{
	struct border *b = arg;

	(void)k;
	b->events.on_stopped(b->arg);
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
	struct border *b = arg;
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

enum err border_init(struct border *b, struct loop *l, const struct border_config *config,
	const struct border_events *events, void *arg)
{
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
		.window = config->send_window,
		.confirm_timeout_ms = config->confirm_timeout_ms,
		.backlog_max_bytes = BACKLOG_MAX_BYTES,
	};
	struct consumer_config reply = {
		.name = "reply",
		.queue = "FORWEB.reply",
		.prefetch = REPLY_PREFETCH,
		.pace = CONSUMER_ACK_LAZILY,
	};
	const char *identity = tls_identity_name(config->link.identity);

	struct link_config link = config->link;
	char vhost[LINK_NAME_BYTES];

	*b = (struct border){ .events = *events, .arg = arg };
	quiet_init(&b->quiet, l, b->host);
	snprintf(b->host, sizeof(b->host), "%s", config->host);
	snprintf(vhost, sizeof(vhost), "border.%s", config->host);
	link.name = config->host;
	link.vhost = vhost;
	sender_init(&b->call_sender, identity);
	sender_init(&b->send_sender, identity);
	enum err err = link_init(&b->link, l, &link, on_link_change, b);

	if (err == ERR_OK)
		err = envelope_init(
			&b->envelope, config->ring, span_of(config->host), ENVELOPE_WEB);
	if (err == ERR_OK)
		err = publisher_init(&b->call, l, &call);
	if (err == ERR_OK)
		err = publisher_init(&b->send, l, &send);
	if (err == ERR_OK)
		err = consumer_init(&b->reply, l, &reply, on_reply, b);
	if (err != ERR_OK)
		return err;
	connection_add(&b->link.publish, &b->call.channel);
	connection_add(&b->link.publish, &b->send.channel);
	connection_add(&b->link.consume, &b->reply.channel);
	return ERR_OK;
}

void border_fini(struct border *b)
{
	link_fini(&b->link);
	publisher_fini(&b->call);
	publisher_fini(&b->send);
	consumer_fini(&b->reply);
	envelope_fini(&b->envelope);
	quiet_fini(&b->quiet);
}

void border_start(struct border *b)
{
	link_start(&b->link);
}

void border_stop(struct border *b)
{
	quiet_sum_up(&b->quiet);
	link_stop(&b->link, on_link_stopped);
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

enum err border_call(struct border *b, struct message *m)
{
	/* Not before replies can come: the caller would wait for nothing. */
	if (!border_is_ready(b))
		return ERR_LINK;
	return put(b, &b->call, &b->call_sender, m, NULL);
}

enum err border_send(struct border *b, struct message *m, struct publish *req)
{
	if (!publisher_is_ready(&b->send) || b->link.publish.state == CONNECTION_BLOCKED)
		return ERR_LINK;
	return put(b, &b->send, &b->send_sender, m, req);
}
