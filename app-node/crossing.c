#include "app-node/crossing.h"

#include <stdio.h>

#include "base/log.h"

enum { BACKLOG_MAX_BYTES = 8 * 1024 * 1024 };

static void on_link_change(void *arg, struct link *k)
{
	struct crossing *x = arg;

	(void)k;
	x->events.on_change(x->arg, x);
}

static void on_link_stopped(void *arg, struct link *k)
{
	struct crossing *x = arg;

	(void)k;
	x->events.on_stopped(x->arg, x);
}

static void on_delivery(void *arg, struct consumer *c, const struct delivery *d)
{
	struct crossing *x = arg;
	struct delivery opened = *d;

	if (opened.fault == ERR_OK)
		opened.fault = envelope_unwrap(&x->envelope, &opened.message);
	x->events.on_delivery(x->arg, x, c, &opened);
}

static void on_lane_lost(void *arg, struct consumer *c)
{
	struct crossing *x = arg;

	x->events.on_lane_lost(x->arg, x, c);
}

static void on_calls_drained(void *arg)
{
	struct crossing *x = arg;

	x->events.on_calls_drained(x->arg, x);
}

enum err crossing_init(struct crossing *x, struct loop *l, const struct crossing_config *config,
	const struct crossing_events *events, void *arg)
{
	struct consumer_config call = {
		.name = "call",
		.queue = "FORAPP.call",
		.prefetch = config->call_prefetch,
		.pace = CONSUMER_ACK_LAZILY,
	};
	struct consumer_config send = {
		.name = "send",
		.queue = "FORAPP.send",
		.prefetch = config->send_prefetch,
		.pace = CONSUMER_ACK_AT_ONCE,
	};
	struct publisher_config reply = {
		.name = "reply",
		.exchange = "x.forweb",
		.routing_key = "reply",
		.backlog_max_bytes = BACKLOG_MAX_BYTES,
	};
	struct link_config link = config->link;
	char vhost[LINK_NAME_BYTES];

	*x = (struct crossing){
		.number = config->number,
		.seen = config->seen,
		.events = *events,
		.arg = arg,
	};
	quiet_init(&x->quiet, l, x->host);
	int len = snprintf(x->host, sizeof(x->host), "%s", config->host);

	if (len < 0 || len >= (int)sizeof(x->host))
		return ERR_INPUT;
	snprintf(vhost, sizeof(vhost), "border.%s", x->host);
	link.name = x->host;
	link.vhost = vhost;
	sender_init(&x->sender, tls_identity_name(link.identity));
	enum err err = link_init(&x->link, l, &link, on_link_change, x);

	if (err == ERR_OK)
		err = envelope_init(&x->envelope, config->ring, span_of(x->host), ENVELOPE_APP);
	if (err == ERR_OK)
		err = consumer_init(&x->call, l, &call, on_delivery, x);
	if (err == ERR_OK)
		err = consumer_init(&x->send, l, &send, on_delivery, x);
	if (err == ERR_OK)
		err = publisher_init(&x->reply, l, &reply);
	if (err != ERR_OK)
		return err;
	x->call.on_lost = on_lane_lost;
	x->send.on_lost = on_lane_lost;
	connection_add(&x->link.consume, &x->call.channel);
	connection_add(&x->link.consume, &x->send.channel);
	connection_add(&x->link.publish, &x->reply.channel);
	return ERR_OK;
}

void crossing_fini(struct crossing *x)
{
	quiet_fini(&x->quiet);
	link_fini(&x->link);
	consumer_fini(&x->call);
	consumer_fini(&x->send);
	publisher_fini(&x->reply);
	envelope_fini(&x->envelope);
}

void crossing_start(struct crossing *x)
{
	link_start(&x->link);
}

void crossing_drain(struct crossing *x)
{
	consumer_drain(&x->call, on_calls_drained, x);
}

void crossing_stop(struct crossing *x)
{
	quiet_sum_up(&x->quiet);
	link_stop(&x->link, on_link_stopped);
}

enum err crossing_reply(struct crossing *x, struct message *m)
{
	sender_stamp(&x->sender, m);
	struct message sealed = *m;
	enum err err = envelope_wrap(&x->envelope, &sealed);

	if (err == ERR_OK)
		err = publisher_put(&x->reply, &sealed, NULL);
	if (err == ERR_OK) {
		x->counters.replies++;
		return ERR_OK;
	}
	x->sender.seq--;
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
