#include "amqp/link_status.h"

#include <stdio.h>

static void write_fault(const struct amqp_fault *f, struct json_writer *w)
{
	if (f->at_unix_ms == 0)
		return;
	json_write_key(w, "fault");
	json_write_object(w);
	json_write_text_member(w, "error", err_text(f->err));
	if (f->code != 0)
		json_write_u64_member(w, "code", f->code);
	json_write_text_member(w, "text", f->text);
	json_write_u64_member(w, "at_unix_ms", f->at_unix_ms);
	json_write_object_end(w);
}

static void write_channel(const struct channel *ch, struct json_writer *w)
{
	json_write_object(w);
	json_write_text_member(w, "name", ch->name);
	json_write_text_member(w, "state", channel_state_name(ch->state));
	json_write_u64_member(w, "closed_by_broker", ch->closed_by_broker);
	write_fault(&ch->fault, w);
	json_write_object_end(w);
}

static void write_connection(const struct connection *c, struct json_writer *w)
{
	const struct transport_address *broker = connection_broker(c);
	char address[TRANSPORT_HOST_MAX_BYTES + 16];

	snprintf(address, sizeof(address), "%s:%u", broker->host, broker->port);
	json_write_object(w);
	json_write_text_member(w, "name", c->config.name);
	json_write_text_member(w, "state", connection_state_name(c));
	json_write_text_member(w, "broker", address);
	json_write_u64_member(w, "opened", c->counters.opened);
	json_write_u64_member(w, "failed", c->counters.failed);
	json_write_u64_member(w, "blocked", c->counters.blocked);
	write_fault(&c->fault, w);
	json_write_key(w, "channels");
	json_write_array(w);
	for (unsigned i = 0; i < c->channel_count; i++)
		write_channel(c->channels[i], w);
	json_write_array_end(w);
	json_write_object_end(w);
}

void link_write_status(const struct link *k, struct json_writer *w)
{
	json_write_object(w);
	json_write_bool_member(w, "ready", link_is_ready(k));
	json_write_text_member(w, "vhost", k->vhost);
	json_write_key(w, "connections");
	json_write_array(w);
	write_connection(&k->publish, w);
	write_connection(&k->consume, w);
	json_write_array_end(w);
	json_write_object_end(w);
}
