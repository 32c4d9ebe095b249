#include "amqp/link.h"

#include <stdio.h>

#include "base/bug.h"

/* Whoever consumes will want to answer: nothing is consumed before that is possible. */
static void let_consume(struct link *k)
{
	enum connection_state state = k->publish.state;

	if (state == CONNECTION_READY || state == CONNECTION_BLOCKED)
		connection_release(&k->consume);
	else
		connection_hold(&k->consume);
}

static void on_connection_change(void *arg, struct connection *c)
{
	struct link *k = arg;
	bool is_ready = link_is_ready(k);

	if (c == &k->publish)
		let_consume(k);
	if (is_ready == k->was_ready)
		return;
	k->was_ready = is_ready;
	k->on_change(k->arg, k);
}

static bool fits(int len)
{
	return len >= 0 && len < LINK_NAME_BYTES;
}

enum err link_init(struct link *k, struct loop *l, const struct link_config *config,
	link_fn on_change, void *arg)
{
	*k = (struct link){ .on_change = on_change, .arg = arg };
	if (!fits(snprintf(k->vhost, LINK_NAME_BYTES, "%s", config->vhost)) ||
		!fits(snprintf(k->publish_name, LINK_NAME_BYTES, "%s.publish", config->name)) ||
		!fits(snprintf(k->consume_name, LINK_NAME_BYTES, "%s.consume", config->name)))
		return ERR_INPUT;
	struct connection_config each = {
		.name = k->publish_name,
		.vhost = k->vhost,
		.brokers = config->brokers,
		.broker_count = config->broker_count,
		.identity = config->identity,
		.handshake_timeout_ms = config->handshake_timeout_ms,
		.retry_first_ms = config->retry_first_ms,
		.retry_longest_ms = config->retry_longest_ms,
		.proven_ms = CONNECTION_PROVEN_MS,
		.heartbeat_s = config->heartbeat_s,
	};
	enum err err = connection_init(&k->publish, l, &each, on_connection_change, k);

	if (err != ERR_OK)
		return err;
	each.name = k->consume_name;
	return connection_init(&k->consume, l, &each, on_connection_change, k);
}

void link_fini(struct link *k)
{
	connection_fini(&k->publish);
	connection_fini(&k->consume);
	*k = (struct link){ 0 };
}

void link_start(struct link *k)
{
	connection_hold(&k->consume);
	connection_start(&k->consume);
	connection_start(&k->publish);
}

static void on_connection_stopped(void *arg, struct connection *c)
{
	struct link *k = arg;
	link_fn on_stopped = k->on_stopped;

	(void)c;
	BUG_ON(k->stopping == 0);
	if (--k->stopping > 0)
		return;
	k->on_stopped = NULL;  /* it may be started and stopped again */
	on_stopped(k->arg, k); /* last touch */
}

void link_stop(struct link *k, link_fn on_stopped)
{
	if (k->on_stopped != NULL)
		return;
	k->on_stopped = on_stopped;
	k->stopping = 2;
	connection_stop(&k->consume, on_connection_stopped, k);
	connection_stop(&k->publish, on_connection_stopped, k);
}
