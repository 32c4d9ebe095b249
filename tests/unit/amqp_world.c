#include "amqp_world.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

unsigned open_fds(void)
{
	DIR *all = opendir("/proc/self/fd");
	unsigned count = 0;

	ck_assert_ptr_nonnull(all);
	while (readdir(all) != NULL)
		count++;
	closedir(all);
	return count - 3; /* ".", "..", and its own */
}

static void on_change(void *arg, struct connection *c)
{
	struct world *w = arg;

	ck_assert_ptr_eq(c, &w->con);
	if (w->changes < WORLD_PATH_MAX)
		w->path[w->changes] = c->state;
	w->changes++;
}

static void on_stopped(void *arg, struct connection *c)
{
	struct world *w = arg;

	ck_assert_ptr_eq(c, &w->con);
	ck_assert_int_eq(c->state, CONNECTION_DOWN);
	w->stopped++;
}

static void on_delivery(void *arg, struct consumer *c, const struct delivery *d)
{
	struct world *w = arg;

	w->delivered++;
	snprintf(w->last_body, sizeof(w->last_body), "%.*s", SPAN_ARG(d->message.body));
	if (w->within_delivery != NULL)
		w->within_delivery(w, d);
	else
		consumer_ack(c, d->tag);
}

static struct world *the_world;

static void on_done(struct publish *p, enum err status)
{
	struct world *w = the_world;

	ck_assert(p >= w->publishes && p < w->publishes + WORLD_PUBLISHES);
	ck_assert_int_lt(status, WORLD_DONE_MAX);
	w->done++;
	w->done_by[status]++;
	if (w->within_done != NULL)
		w->within_done(w, status);
}

void world_init(struct world *w, enum world_lanes lanes)
{
	const struct publisher_config pub = {
		.name = "send",
		.exchange = "x.forapp",
		.routing_key = "send",
		.window = WORLD_PUBLISHES,
		.confirm_timeout_ms = 30000,
		.backlog_max_bytes = MIB(1),
	};
	const struct consumer_config sub = {
		.name = "reply",
		.queue = "FORWEB.reply",
		.prefetch = 8,
	};

	log_open("test", LOG_ERROR);
	/* As daemon/life.c does. */
	(void)sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	memset(w, 0, sizeof(*w));
	the_world = w;
	w->lanes = lanes;
	w->user_id = "web.web1.g1";
	/* The first loop of a process opens two descriptors that libuv keeps. */
	stage_init(&w->stage);
	stage_fini(&w->stage);
	w->fds = open_fds();
	stage_init(&w->stage);
	w->config = (struct connection_config){
		.name = "web1.test",
		.vhost = "border.web1",
		.brokers = w->brokers,
		.handshake_timeout_ms = 5000,
		.retry_first_ms = 1,
		.retry_longest_ms = 20,
		.proven_ms = CONNECTION_PROVEN_MS,
		.heartbeat_s = 10,
	};
	ck_assert_int_eq(publisher_init(&w->pub, &w->stage.loop, &pub), ERR_OK);
	ck_assert_int_eq(consumer_init(&w->sub, &w->stage.loop, &sub, on_delivery, w), ERR_OK);
	for (unsigned i = 0; i < WORLD_PUBLISHES; i++)
		w->publishes[i].on_done = on_done;
}

void world_add_broker(struct world *w, const char *host, uint16_t port)
{
	struct transport_address *a = &w->brokers[w->config.broker_count++];

	snprintf(a->host, sizeof(a->host), "%s", host);
	a->port = port;
}

void world_start(struct world *w)
{
	if (w->con.loop == NULL) {
		ck_assert_int_eq(
			connection_init(&w->con, &w->stage.loop, &w->config, on_change, w),
			ERR_OK);
		if (w->lanes == WORLD_PUBLISHES_ONLY || w->lanes == WORLD_BOTH)
			connection_add(&w->con, &w->pub.channel);
		if (w->lanes == WORLD_CONSUMES_ONLY || w->lanes == WORLD_BOTH)
			connection_add(&w->con, &w->sub.channel);
	}
	connection_start(&w->con);
}

void world_stop(struct world *w)
{
	connection_stop(&w->con, on_stopped, w);
}

void world_fini(struct world *w)
{
	if (w->con.state != CONNECTION_DOWN) {
		w->stopped = 0;
		world_stop(w);
		must_reach(&w->stage, is_stopped, w, 3000);
		stage_pass(&w->stage, 1);
		ck_assert_uint_eq(w->stopped, 1);
	}
	connection_fini(&w->con);
	publisher_fini(&w->pub);
	consumer_fini(&w->sub);
	stage_fini(&w->stage);
	ck_assert_uint_eq(open_fds(), w->fds);
}

enum err world_publish(struct world *w)
{
	struct message m = {
		.type = span_of("order.place"),
		.user_id = span_of(w->user_id),
		.body = span_of("{}"),
	};

	id_make(&m.id, 1);
	enum err err = publisher_put(
		&w->pub, &m, &w->publishes[w->next_publish % WORLD_PUBLISHES]);

	if (err == ERR_OK)
		w->next_publish++;
	return err;
}

bool is_ready(void *arg)
{
	struct world *w = arg;

	return connection_is_ready(&w->con);
}

bool is_waiting(void *arg)
{
	struct world *w = arg;

	return w->con.state == CONNECTION_WAITING;
}

bool is_stopped(void *arg)
{
	struct world *w = arg;

	return w->stopped > 0;
}

bool is_done(void *arg)
{
	struct world *w = arg;

	return publisher_in_flight(&w->pub) == 0;
}
