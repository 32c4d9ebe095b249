#include "forger.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "must.h"

enum { SOON_MS = 10000, BACKLOG_BYTES = 1024 * 1024 };

static struct forger *the_forger; /* the one that waits for confirms */

static void on_change(void *arg, struct connection *c)
{
	(void)arg;
	(void)c;
}

static void on_stopped(void *arg, struct connection *c)
{
	struct forger *f = arg;

	(void)c;
	f->stopped++;
}

static void on_done(struct publish *p, enum err status)
{
	(void)p;
	ck_assert_int_eq(status, ERR_OK);
	the_forger->confirmed++;
}

struct keyring must_forger_ring(const struct broker *b, const char *name)
{
	char path[BROKER_PATH_MAX + 64];
	struct report report;
	struct keyring ring;

	report_init(&report);
	must_format(path, sizeof path, "%s/%s.seal", b->seals, name);
	ck_assert_int_eq(keyring_load(path, &report, &ring), ERR_OK);
	report_fini(&report);
	return ring;
}

void must_forger_seal(const struct keyring *ring, const char *crossing,
	enum seal_direction direction, struct message *m)
{
	static struct buf sealed;
	struct seal *s = NULL;

	ck_assert_int_eq(seal_create(ring, direction, span_of(crossing), &s), ERR_OK);
	buf_fini(&sealed);
	buf_init(&sealed, SEAL_MAX_BYTES);
	ck_assert_int_eq(seal_wrap(s, m, &sealed), ERR_OK);
	seal_destroy(s);
	m->body = buf_span(&sealed);
	m->is_sealed = true;
}

static struct span keep(struct span text, char *to, size_t room)
{
	ck_assert_uint_le(text.len, room);
	if (text.len > 0)
		memcpy(to, text.at, text.len);
	return (struct span){ to, text.len };
}

static void on_delivery(void *arg, struct consumer *c, const struct delivery *d)
{
	struct forger *f = arg;
	struct loot *l = &f->loot;

	ck_assert_int_eq(d->fault, ERR_OK);
	consumer_ack(c, d->tag);
	if (f->taken++ > 0)
		return;
	l->message = d->message;
	ck_assert_uint_eq(d->message.traceparent.len + d->message.key.len, 0);
	l->message.type = keep(d->message.type, l->type, sizeof l->type);
	l->message.user_id = keep(d->message.user_id, l->user_id, sizeof l->user_id);
	l->message.contract = keep(d->message.contract, l->contract, sizeof l->contract);
	l->message.body = keep(d->message.body, l->body, sizeof l->body);
}

static bool is_ready(void *arg)
{
	struct forger *f = arg;

	return connection_is_ready(&f->con);
}

static bool has_stopped(void *arg)
{
	struct forger *f = arg;

	return f->stopped > 0;
}

static bool has_taken(void *arg)
{
	struct forger *f = arg;

	return f->taken > 0;
}

static bool has_settled(void *arg)
{
	struct forger *f = arg;

	return f->confirmed == f->published;
}

static bool has_room(void *arg)
{
	struct forger *f = arg;

	return f->published - f->confirmed < FORGER_WINDOW;
}

static void begin(
	struct forger *f, const struct passage *p, enum forger_end end, const char *path)
{
	char certificate[BROKER_PATH_MAX + 48];
	char key[BROKER_PATH_MAX + 48];
	struct tls_paths paths = { .ca = p->ca, .certificate = certificate, .key = key };
	struct tls_why why;

	memset(f, 0, sizeof *f);
	stage_init(&f->stage);
	must_format(certificate, sizeof certificate, "%s.pem", path);
	must_format(key, sizeof key, "%s.key", path);
	if (tls_identity_open(&paths, &f->identity, &why) != ERR_OK)
		must_fail("%s", why.at);
	must_format(f->user_id, sizeof f->user_id, "%s", tls_identity_name(f->identity));
	must_format(f->vhost, sizeof f->vhost, "%s%s", end == FORGER_INNER ? "" : "border.",
		end == FORGER_INNER ? "inner" : p->host.at);
	must_format(f->broker.host, sizeof f->broker.host, "127.0.0.1");
	f->broker.port = p->broker->port;
	f->config = (struct connection_config){
		.name = "forger",
		.vhost = f->vhost,
		.brokers = &f->broker,
		.broker_count = 1,
		.identity = f->identity,
		.handshake_timeout_ms = SOON_MS,
		.retry_first_ms = 50,
		.retry_longest_ms = 50,
		.proven_ms = CONNECTION_PROVEN_MS,
		.heartbeat_s = 10,
	};
	ck_assert_int_eq(
		connection_init(&f->con, &f->stage.loop, &f->config, on_change, f), ERR_OK);
}

static void come_up(struct forger *f, struct channel *ch)
{
	connection_add(&f->con, ch);
	connection_start(&f->con);
	must_reach(&f->stage, is_ready, f, SOON_MS);
}

void must_forger_start(
	struct forger *f, const struct passage *p, enum forger_end end, const char *lane)
{
	static const char *const exchanges[] = {
		[FORGER_WEB] = "x.forapp",
		[FORGER_APP] = "x.forweb",
		[FORGER_INNER] = "x.control",
	};
	char second[BROKER_PATH_MAX + 32];
	const char *const paths[] = {
		[FORGER_WEB] = p->web_identity,
		[FORGER_APP] = p->app_identity,
		[FORGER_INNER] = second,
	};
	const struct publisher_config config = {
		.name = lane,
		.exchange = exchanges[end],
		.routing_key = lane,
		.window = FORGER_WINDOW,
		.confirm_timeout_ms = 30000,
		.backlog_max_bytes = BACKLOG_BYTES,
	};

	must_format(second, sizeof second, "%s/app.app2.g1", p->broker->certificates);
	begin(f, p, end, paths[end]);
	for (unsigned i = 0; i < FORGER_WINDOW; i++)
		f->publishes[i].on_done = on_done;
	ck_assert_int_eq(publisher_init(&f->pub, &f->stage.loop, &config), ERR_OK);
	come_up(f, &f->pub.channel);
}

void must_thief_start(struct forger *f, const struct passage *p, const char *lane)
{
	static char queue[32];
	struct consumer_config config = { .name = lane, .queue = queue, .prefetch = 8 };

	must_format(queue, sizeof queue, "FORAPP.%s", lane);
	begin(f, p, FORGER_APP, p->app_identity);
	f->is_thief = true;
	ck_assert_int_eq(
		consumer_init(&f->sub, &f->stage.loop, &config, on_delivery, f), ERR_OK);
	come_up(f, &f->sub.channel);
}

const struct message *must_thief_take(struct forger *f)
{
	must_reach(&f->stage, has_taken, f, SOON_MS);
	return &f->loot.message;
}

void forger_stop(struct forger *f)
{
	connection_stop(&f->con, on_stopped, f);
	must_reach(&f->stage, has_stopped, f, SOON_MS);
	connection_fini(&f->con);
	if (f->is_thief)
		consumer_fini(&f->sub);
	else
		publisher_fini(&f->pub);
	tls_identity_close(f->identity);
	stage_fini(&f->stage);
}

static struct message message_now(const struct forger *f, const char *op)
{
	static uint64_t seq;
	struct message m = {
		.type = span_of(op),
		.user_id = span_of(f->user_id),
		.sent_unix_us = clock_unix_us(),
		.epoch = 1,
		.seq = ++seq,
		.body = span_of("{}"),
	};

	id_make(&m.id, clock_unix_ms());
	return m;
}

struct message forger_call(const struct forger *f, const char *op)
{
	struct message m = message_now(f, op);

	m.time_left_ms = 30000;
	return m;
}

struct message forger_send(const struct forger *f, const char *op)
{
	struct message m = message_now(f, op);

	m.durability = MESSAGE_PERSISTENT;
	return m;
}

void must_forge(struct forger *f, const struct message *m)
{
	must_forge_copies(f, m, 1);
}

void must_forge_copies(struct forger *f, const struct message *m, unsigned count)
{
	the_forger = f;
	for (unsigned i = 0; i < count; i++) {
		if (!has_room(f))
			must_reach(&f->stage, has_room, f, SOON_MS);
		ck_assert_int_eq(
			publisher_put(&f->pub, m, &f->publishes[f->published % FORGER_WINDOW]),
			ERR_OK);
		f->published++;
	}
	must_reach(&f->stage, has_settled, f, SOON_MS);
}
