/* flood.c - sallyport-flood: a web host in the hands of somebody else. With its certificate and
 * its sealing key he speaks AMQP himself: all connections and channels that it may have, both
 * lanes, at a rate that is said or as fast as the broker takes it, and what comes back he never
 * takes.
 *
 * Thrown out, he tries to come back until his time is over.
 * Layer: tests. Uses: base, loop, message, amqp, arguments. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/connection.h"
#include "amqp/consumer.h"
#include "amqp/publisher.h"
#include "arguments.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/report.h"
#include "loop/timer.h"
#include "message/envelope.h"

enum {
	EXIT_NO = 1,
	CONNECTIONS_MAX = 4,
	LANES_MAX = 2 * CONNECTIONS_MAX,
	SENDS_WINDOW = 1024, /* of one channel, not confirmed yet */
	HOLDS_MAX = 4096,    /* deliveries that are never acknowledged */
	BACKLOG_BYTES = 1024 * 1024,
	PULSE_MS = 1,
	AT_ONCE_MAX = 512, /* messages of one pulse, when no rate is said */
	JSON_BYTES = 4096,
	NAME_BYTES = 96,
};

enum craft {
	CRAFT_SEALED = 0, /* as the agent would: the node takes all of it for work */
	CRAFT_BARE,       /* not sealed: the node refuses it */
};

struct arguments {
	const char *broker;
	const char *ca;
	const char *certificate;
	const char *key;
	const char *seal;
	const char *host;
	const char *call;
	const char *send;
	const char *send_key; /* ordering key; NULL: none */
	const char *body;
	const char *json;
	uint64_t craft;
	uint64_t rate; /* messages a second in all; 0 = as fast as they are taken */
	uint64_t connections;
	uint64_t seconds;
};

static const char usage[] =
	"usage: sallyport-flood --broker HOST:PORT --ca FILE --certificate FILE --key FILE\n"
	"                       --seal FILE --host NAME --call OP --send OP [OPTION]...\n"
	"Does to a border what the owner of a web host can do with its keys, by raw AMQP.\n"
	"  --rate N          messages a second, half of them calls (0: as fast as they are "
	"taken)\n"
	"  --connections N   1 to 4 (4); from two on the last one reads both FORWEB lanes and\n"
	"                    acknowledges nothing\n"
	"  --craft WORD      sealed: as the agent would (the default); bare: not sealed\n"
	"  --send-key TEXT   ordering key of the sends, for an operation that has one\n"
	"  --body JSON       of every message ({})\n"
	"  --seconds N       ends after so long (10); SIGTERM and SIGINT end it sooner\n"
	"  --json FILE       what came of it; otherwise to standard output\n"
	"Says \"ready\" on standard output when all connections stand.\n"
	"Exit status: 0 it was tried to the end, 1 it cannot be tried, 2 called wrongly.\n";

struct counts {
	uint64_t offered;       /* were due, or wanted */
	uint64_t sent;          /* of these, given to the network */
	uint64_t confirmed;     /* sends that the broker has; calls are not confirmed */
	uint64_t refused;       /* sends: the queue is full, or none is bound */
	uint64_t unknown;       /* sends: the connection was lost before a word */
	uint64_t taken_unix_ms; /* when the broker took a send last; 0 = never */
};

struct flood;

/* A send and the way back to its flood. */
struct sending {
	struct publish req; /* first: all is known of it that on_done needs */
	struct flood *flood;
	struct sending *next; /* unused ones */
};

struct lane {
	struct publisher publisher;
	struct sender sender;
	const char *op;
	bool is_call;
};

struct client {
	struct connection connection;
	char name[NAME_BYTES];
};

struct flood {
	const struct arguments *arguments;
	struct loop loop;
	struct tls_identity *identity;
	struct transport_address broker;
	char vhost[NAME_BYTES];
	struct envelope envelope;
	struct client clients[CONNECTIONS_MAX];
	unsigned client_count;
	struct lane lanes[LANES_MAX];
	unsigned lane_count;
	struct consumer readers[2];
	unsigned reader_count;
	struct sending *sendings; /* owned, SENDS_WINDOW for each lane */
	struct sending *unused;
	struct timer pulse;
	struct timer end;
	struct counts counts;
	uint64_t begun_us;
	uint64_t turn; /* which lane is next */
	unsigned stopped;
	bool was_ready;
	bool is_over;
};

/* ---- what is sent ---- */

static void on_done(struct publish *req, enum err status)
{
	struct sending *s = container_of(req, struct sending, req);
	struct flood *f = s->flood;

	s->next = f->unused;
	f->unused = s;
	switch (status) {
	case ERR_OK:
		f->counts.confirmed++;
		f->counts.taken_unix_ms = clock_unix_ms();
		break;
	case ERR_LINK:
		f->counts.unknown++;
		break;
	default:
		f->counts.refused++;
	}
}

static struct message make_message(const struct flood *f, const struct lane *lane)
{
	struct message m = {
		.type = span_of(lane->op),
		.body = span_of(f->arguments->body),
		.durability = lane->is_call ? MESSAGE_TRANSIENT : MESSAGE_PERSISTENT,
		.time_left_ms = lane->is_call ? SEC_MS(2) : 0,
	};

	if (!lane->is_call && f->arguments->send_key != NULL)
		m.key = span_of(f->arguments->send_key);
	id_make(&m.id, clock_unix_ms());
	return m;
}

static enum err put(struct flood *f, struct lane *lane)
{
	struct message m = make_message(f, lane);
	struct sending *s = lane->is_call ? NULL : f->unused;
	enum err err = ERR_OK;

	if (!publisher_is_ready(&lane->publisher))
		return ERR_LINK;
	if (!lane->is_call && s == NULL)
		return ERR_FULL;
	sender_stamp(&lane->sender, &m);
	if (f->arguments->craft == CRAFT_SEALED)
		err = envelope_wrap(&f->envelope, &m);
	if (err == ERR_OK)
		err = publisher_put(&lane->publisher, &m, s == NULL ? NULL : &s->req);
	if (err == ERR_OK && s != NULL)
		f->unused = s->next;
	return err;
}

/* Whichever lane takes it: those who are full give way. */
static bool put_somewhere(struct flood *f)
{
	f->counts.offered++;
	for (unsigned tried = 0; tried < f->lane_count; tried++) {
		if (put(f, &f->lanes[f->turn++ % f->lane_count]) != ERR_OK)
			continue;
		f->counts.sent++;
		return true;
	}
	return false;
}

static void on_pulse(struct timer *timer)
{
	struct flood *f = container_of(timer, struct flood, pulse);
	uint64_t rate = f->arguments->rate;
	uint64_t due = (clock_mono_us() - f->begun_us) * rate / 1000000;

	if (rate == 0)
		for (unsigned i = 0; i < AT_ONCE_MAX && put_somewhere(f); i++)
			;
	else
		while (f->counts.offered < due)
			(void)put_somewhere(f);
	timer_after(&f->pulse, PULSE_MS);
}

static void on_delivery(void *arg, struct consumer *c, const struct delivery *d)
{
	(void)arg;
	(void)c;
	(void)d; /* never acknowledged */
}

/* ---- life ---- */

static void on_stopped(void *arg, struct connection *c)
{
	struct flood *f = arg;

	(void)c;
	if (++f->stopped == f->client_count)
		loop_stop(&f->loop);
}

static void finish(struct flood *f)
{
	if (f->is_over)
		return;
	f->is_over = true;
	timer_cancel(&f->pulse);
	timer_cancel(&f->end);
	for (unsigned i = 0; i < f->client_count; i++)
		connection_stop(&f->clients[i].connection, on_stopped, f);
}

static void on_end(struct timer *timer)
{
	finish(container_of(timer, struct flood, end));
}

static void on_signal(void *arg, int signum)
{
	(void)signum;
	finish(arg);
}

static void on_change(void *arg, struct connection *c)
{
	struct flood *f = arg;

	(void)c;
	if (f->was_ready || f->is_over)
		return;
	for (unsigned i = 0; i < f->client_count; i++)
		if (!connection_is_ready(&f->clients[i].connection))
			return;
	f->was_ready = true;
	f->begun_us = clock_mono_us();
	(void)puts("ready");
	(void)fflush(stdout);
	timer_after(&f->pulse, PULSE_MS);
}

static enum err add_lane(struct flood *f, struct client *client, const char *name)
{
	struct lane *lane = &f->lanes[f->lane_count++];
	bool is_call = name[0] == 'c';
	const struct publisher_config config = {
		.name = name,
		.exchange = "x.forapp",
		.routing_key = name,
		.window = is_call ? 0 : SENDS_WINDOW,
		.confirm_timeout_ms = SEC_MS(60),
		.backlog_max_bytes = BACKLOG_BYTES,
	};

	lane->op = is_call ? f->arguments->call : f->arguments->send;
	lane->is_call = is_call;
	sender_init(&lane->sender, tls_identity_name(f->identity));
	enum err err = publisher_init(&lane->publisher, &f->loop, &config);

	if (err == ERR_OK)
		connection_add(&client->connection, &lane->publisher.channel);
	return err;
}

static enum err add_reader(struct flood *f, struct client *client, const char *queue)
{
	struct consumer *reader = &f->readers[f->reader_count++];
	const struct consumer_config config = {
		.name = queue,
		.queue = queue,
		.prefetch = HOLDS_MAX,
	};
	enum err err = consumer_init(reader, &f->loop, &config, on_delivery, f);

	if (err == ERR_OK)
		connection_add(&client->connection, &reader->channel);
	return err;
}

static enum err add_client(struct flood *f, bool is_reader)
{
	struct client *client = &f->clients[f->client_count++];

	(void)snprintf(client->name, sizeof client->name, "flood.%u", f->client_count);
	const struct connection_config config = {
		.name = client->name,
		.vhost = f->vhost,
		.brokers = &f->broker,
		.broker_count = 1,
		.identity = f->identity,
		.handshake_timeout_ms = SEC_MS(10),
		.retry_first_ms = 50,
		.retry_longest_ms = 500,
		.proven_ms = CONNECTION_PROVEN_MS,
		.heartbeat_s = 10,
	};
	enum err err = connection_init(&client->connection, &f->loop, &config, on_change, f);

	if (err == ERR_OK)
		err = is_reader ? add_reader(f, client, "FORWEB.reply")
				: add_lane(f, client, "call");
	if (err == ERR_OK)
		err = is_reader ? add_reader(f, client, "FORWEB.push")
				: add_lane(f, client, "send");
	return err;
}

static enum err add_sendings(struct flood *f)
{
	size_t count = (size_t)SENDS_WINDOW * f->lane_count;

	f->sendings = calloc(count, sizeof *f->sendings);
	if (f->sendings == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		f->sendings[i].flood = f;
		f->sendings[i].req.on_done = on_done;
		f->sendings[i].next = f->unused;
		f->unused = &f->sendings[i];
	}
	return ERR_OK;
}

static enum err open_keys(struct flood *f)
{
	const struct arguments *a = f->arguments;
	const struct tls_paths paths = {
		.ca = a->ca,
		.certificate = a->certificate,
		.key = a->key,
	};
	struct keyring ring = { 0 };
	struct report report;
	struct tls_why why;
	enum err err = tls_identity_open(&paths, &f->identity, &why);

	if (err != ERR_OK) {
		(void)fprintf(stderr, "sallyport-flood: %s\n", why.at);
		return err;
	}
	report_init(&report);
	err = keyring_load(a->seal, &report, &ring);
	report_fini(&report);
	if (err == ERR_OK)
		err = envelope_init(&f->envelope, &ring, span_of(a->host), ENVELOPE_WEB);
	else
		(void)fprintf(stderr, "sallyport-flood: no sealing key in %s\n", a->seal);
	keyring_wipe(&ring);
	return err;
}

static enum err flood_init(struct flood *f, const struct arguments *a)
{
	*f = (struct flood){ .arguments = a };
	(void)snprintf(f->vhost, sizeof f->vhost, "border.%s", a->host);
	enum err err = loop_init(&f->loop);

	timer_init(&f->pulse, &f->loop, on_pulse);
	timer_init(&f->end, &f->loop, on_end);
	if (err == ERR_OK)
		err = loop_on_signal(&f->loop, SIGTERM, on_signal, f);
	if (err == ERR_OK)
		err = loop_on_signal(&f->loop, SIGINT, on_signal, f);
	if (err == ERR_OK)
		err = transport_address_parse(span_of(a->broker), &f->broker);
	if (err == ERR_OK)
		err = open_keys(f);
	for (uint64_t i = 0; i < a->connections && err == ERR_OK; i++)
		err = add_client(f, i > 0 && i == a->connections - 1);
	return err == ERR_OK ? add_sendings(f) : err;
}

static void flood_fini(struct flood *f)
{
	for (unsigned i = 0; i < f->client_count; i++)
		connection_fini(&f->clients[i].connection);
	for (unsigned i = 0; i < f->lane_count; i++)
		publisher_fini(&f->lanes[i].publisher);
	for (unsigned i = 0; i < f->reader_count; i++)
		consumer_fini(&f->readers[i]);
	free(f->sendings);
	envelope_fini(&f->envelope);
	tls_identity_close(f->identity);
	loop_fini(&f->loop);
}

static void flood_run(struct flood *f)
{
	for (unsigned i = 0; i < f->client_count; i++)
		connection_start(&f->clients[i].connection);
	timer_after(&f->end, SEC_MS(f->arguments->seconds));
	loop_run(&f->loop);
}

/* ---- what came of it ---- */

static enum err report(const struct flood *f)
{
	const struct counts *c = &f->counts;
	struct connection_counters sum = { 0 };
	struct json_writer w;
	struct buf text;

	for (unsigned i = 0; i < f->client_count; i++) {
		sum.opened += f->clients[i].connection.counters.opened;
		sum.failed += f->clients[i].connection.counters.failed;
		sum.blocked += f->clients[i].connection.counters.blocked;
	}
	buf_init(&text, JSON_BYTES);
	json_write_init(&w, &text);
	json_write_object(&w);
	json_write_u64_member(&w, "connections", f->client_count);
	json_write_u64_member(&w, "lanes", f->lane_count);
	json_write_u64_member(&w, "rate", f->arguments->rate);
	json_write_u64_member(
		&w, "ran_ms", f->begun_us == 0 ? 0 : (clock_mono_us() - f->begun_us) / 1000);
	json_write_u64_member(&w, "offered", c->offered);
	json_write_u64_member(&w, "sent", c->sent);
	json_write_u64_member(&w, "confirmed", c->confirmed);
	json_write_u64_member(&w, "refused", c->refused);
	json_write_u64_member(&w, "unknown", c->unknown);
	json_write_u64_member(&w, "taken_unix_ms", c->taken_unix_ms);
	json_write_u64_member(&w, "opened", sum.opened);
	json_write_u64_member(&w, "failed", sum.failed);
	json_write_u64_member(&w, "blocked", sum.blocked);
	json_write_object_end(&w);
	buf_text(&text, "\n");
	enum err err = buf_status(&text);
	FILE *out = f->arguments->json == NULL ? stdout : fopen(f->arguments->json, "w");

	if (out == NULL)
		err = ERR_IO;
	if (err == ERR_OK && fwrite(text.at, 1, text.len, out) != text.len)
		err = ERR_IO;
	if (out != NULL && (out == stdout ? fflush(out) : fclose(out)) != 0)
		err = ERR_IO;
	buf_fini(&text);
	return err;
}

static enum err parse(struct arguments *a, int argc, char **argv)
{
	static const char *const crafts[] = { "sealed", "bare", NULL };

	*a = (struct arguments){ .body = "{}", .connections = CONNECTIONS_MAX, .seconds = 10 };
	const struct argument table[] = {
		ARGUMENT_NEEDED("broker", &a->broker),
		ARGUMENT_NEEDED("ca", &a->ca),
		ARGUMENT_NEEDED("certificate", &a->certificate),
		ARGUMENT_NEEDED("key", &a->key),
		ARGUMENT_NEEDED("seal", &a->seal),
		ARGUMENT_NEEDED("host", &a->host),
		ARGUMENT_NEEDED("call", &a->call),
		ARGUMENT_NEEDED("send", &a->send),
		ARGUMENT_TEXT("send-key", &a->send_key),
		ARGUMENT_TEXT("body", &a->body),
		ARGUMENT_TEXT("json", &a->json),
		ARGUMENT_WORD("craft", &a->craft, crafts),
		ARGUMENT_NUMBER("rate", &a->rate, 0, 1000000),
		ARGUMENT_NUMBER("connections", &a->connections, 1, CONNECTIONS_MAX),
		ARGUMENT_NUMBER("seconds", &a->seconds, 1, 86400),
	};

	return arguments_parse(table, ARRAY_COUNT(table), usage, argc, argv);
}

int main(int argc, char **argv)
{
	struct arguments arguments;
	enum err err = parse(&arguments, argc, argv);

	if (err != ERR_OK)
		return err == ERR_CANCEL ? 0 : ARGUMENTS_EXIT_USAGE;
	struct flood *f = calloc(1, sizeof *f);

	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	log_open("flood", LOG_ERROR);
	err = f == NULL ? ERR_NOMEM : flood_init(f, &arguments);
	if (err == ERR_OK) {
		flood_run(f);
		err = report(f);
	}
	if (err != ERR_OK)
		(void)fprintf(stderr, "sallyport-flood: %s\n", err_text(err));
	if (f != NULL)
		flood_fini(f);
	free(f);
	return err == ERR_OK ? 0 : EXIT_NO;
}
