/* A connection against a real RabbitMQ over mutual TLS, and what that does to it: refuse, die,
 * block, close, cancel. One broker for all tests, a crossing of its own for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/link.h"
#include "amqp_rig.h"
#include "amqp_world.h"
#include "base/clock.h"
#include "base/text.h"
#include "broker.h"
#include "must.h"
#include "unit.h"

enum {
	NAME_ROOM = 64,
	PATH_ROOM = 320,
	SOON_MS = 20000,
	CROSSINGS = 30, /* about as many as the tests take */
};

static struct broker broker;
static struct world w;
static struct tls_identity *identity;
static struct crossing_name host;
static char vhost[NAME_ROOM];
static char user[NAME_ROOM];

/* An identity from <path>.pem and <path>.key. */
static struct tls_identity *must_identify(const char *ca, const char *path)
{
	char certificate[PATH_ROOM];
	char key[PATH_ROOM];
	struct tls_identity *id = NULL;
	struct tls_why why;

	must_format(certificate, sizeof(certificate), "%s.pem", path);
	must_format(key, sizeof(key), "%s.key", path);
	struct tls_paths paths = { .ca = ca, .certificate = certificate, .key = key };

	ck_assert_msg(tls_identity_open(&paths, &id, &why) == ERR_OK, "%s", why.at);
	return id;
}

static struct tls_identity *must_identify_user(const char *name)
{
	char path[PATH_ROOM];

	must_format(path, sizeof(path), "%s/%s", broker.certificates, name);
	return must_identify(broker.ca, path);
}

/* The web host of a crossing that no test has had before: not dialed yet. */
static void begin(enum world_lanes lanes)
{
	host = must_take_crossing(&broker);
	must_format(vhost, sizeof(vhost), "border.%s", host.at);
	must_format(user, sizeof(user), "web.%s.g1", host.at);
	identity = must_identify_user(user);
	world_init(&w, lanes);
	world_add_broker(&w, "127.0.0.1", broker.port);
	w.config.vhost = vhost;
	w.config.identity = identity;
	w.config.retry_first_ms = 20;
	w.config.retry_longest_ms = 200;
	w.user_id = user;
}

static void must_come_up(enum world_lanes lanes)
{
	begin(lanes);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
}

static void end(void)
{
	world_fini(&w);
	tls_identity_close(identity);
}

static void must_publish(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(world_publish(&w), ERR_OK);
}

/* Publishes and waits for the confirms. */
static void must_serve(void)
{
	unsigned before = w.done_by[ERR_OK];

	must_publish(3);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], before + 3);
}

/* ---- coming up, or not ---- */

START_TEST(a_web_host_comes_up_publishes_and_stops)
{
	must_come_up(WORLD_BOTH);
	must_serve();
	ck_assert_uint_eq(w.con.counters.failed, 0);
	ck_assert_uint_eq(w.con.frame_max, AMQP_FRAME_MAX_BYTES);
	ck_assert_uint_eq(w.con.heartbeat_s, 10);
	ck_assert_uint_eq(must_broker_count(&broker, host.at, "FORAPP.send"), 3);
	uint64_t begun_us = clock_mono_us();

	world_stop(&w);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_lt(clock_mono_us() - begun_us, 1000000); /* close-ok came */
	end();
}
END_TEST

static enum err wanted;

static bool has_fault(void *arg)
{
	return ((struct world *)arg)->con.fault.err == wanted;
}

/* Comes to that fault, again and again, and never further. */
static void must_be_refused_with(enum err err)
{
	wanted = err;
	world_start(&w);
	must_reach(&w.stage, has_fault, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.opened, 0);
	ck_assert_uint_gt(w.con.counters.failed, 0);
}

static void take_identity(struct tls_identity *id)
{
	tls_identity_close(identity);
	identity = id;
	w.config.identity = id;
}

START_TEST(a_broker_of_a_wrong_authority_is_not_trusted)
{
	char path[PATH_ROOM];

	begin(WORLD_BOTH);
	must_broker_certificate(&broker, user, BROKER_STRANGE_AUTHORITY, path, sizeof(path));
	/* The authority's own certificate stands beside what it issued. */
	char ca[PATH_ROOM];

	must_format(ca, sizeof(ca), "%.*s/ca.pem", (int)(strrchr(path, '/') - path), path);
	char own[PATH_ROOM];

	must_format(own, sizeof(own), "%s/%s", broker.certificates, user);
	take_identity(must_identify(ca, own));
	must_be_refused_with(ERR_TLS);
	ck_assert_ptr_nonnull(strstr(w.con.fault.text, "certificate"));
	end();
}
END_TEST

START_TEST(a_certificate_of_another_authority_is_refused_by_the_broker)
{
	char path[PATH_ROOM];

	begin(WORLD_BOTH);
	must_broker_certificate(&broker, user, BROKER_STRANGE_AUTHORITY, path, sizeof(path));
	take_identity(must_identify(broker.ca, path));
	must_be_refused_with(ERR_TLS);
	end();
}
END_TEST

START_TEST(the_certificate_of_a_server_is_none_of_a_client)
{
	begin(WORLD_BOTH);
	take_identity(must_identify_user("broker"));
	must_be_refused_with(ERR_TLS);
	end();
}
END_TEST

START_TEST(a_name_without_a_user_is_refused_with_code_and_text)
{
	char path[PATH_ROOM];

	begin(WORLD_BOTH);
	must_broker_certificate(
		&broker, "web.nobody.g1", BROKER_OWN_AUTHORITY, path, sizeof(path));
	take_identity(must_identify(broker.ca, path));
	must_be_refused_with(ERR_AUTH);
	ck_assert_uint_eq(w.con.fault.code, 403);
	ck_assert_ptr_nonnull(strstr(w.con.fault.text, "ACCESS_REFUSED"));
	end();
}
END_TEST

START_TEST(the_vhost_of_another_host_is_closed)
{
	begin(WORLD_BOTH);
	struct crossing_name other = must_take_crossing(&broker);

	must_format(vhost, sizeof(vhost), "border.%s", other.at);
	must_be_refused_with(ERR_AUTH);
	ck_assert_uint_eq(w.con.fault.code, 530);
	ck_assert_ptr_nonnull(strstr(w.con.fault.text, "NOT_ALLOWED"));
	end();
}
END_TEST

START_TEST(a_vhost_that_does_not_exist_is_refused)
{
	begin(WORLD_BOTH);
	must_format(vhost, sizeof(vhost), "border.nowhere");
	must_be_refused_with(ERR_AUTH);
	ck_assert_uint_eq(w.con.fault.code, 530);
	end();
}
END_TEST

START_TEST(of_two_brokers_the_dead_one_is_passed_by)
{
	begin(WORLD_BOTH);
	w.brokers[0].port = 1; /* nobody is there */
	world_add_broker(&w, "127.0.0.1", broker.port);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.failed, 1);
	must_serve();
	end();
}
END_TEST

/* ---- what a broker does to channels ---- */

static bool is_refused_again(void *arg)
{
	return ((struct world *)arg)->pub.channel.closed_by_broker > 0;
}

/* The publisher's channel was closed: everything in flight is done once, the consumer's goes on,
 * the publisher's comes back. */
static void must_lose_only_the_channel(unsigned in_flight, uint16_t code)
{
	must_reach(&w.stage, is_refused_again, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_LINK], in_flight);
	ck_assert_uint_eq(w.done, in_flight);
	ck_assert_uint_eq(w.pub.channel.fault.code, code);
	ck_assert(channel_is_ready(&w.sub.channel));
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert(channel_is_ready(&w.sub.channel));
	ck_assert_uint_eq(w.sub.channel.closed_by_broker, 0);
	ck_assert_uint_eq(w.con.counters.failed, 0);
}

START_TEST(a_publish_to_a_forbidden_exchange_costs_its_channel_and_nothing_else)
{
	begin(WORLD_BOTH);
	w.pub.config.exchange = "x.forweb";
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	must_publish(2);
	must_lose_only_the_channel(2, 403);
	w.pub.config.exchange = "x.forapp";
	must_serve();
	end();
}
END_TEST

START_TEST(a_publish_to_a_missing_exchange_costs_its_channel_and_nothing_else)
{
	must_come_up(WORLD_BOTH);
	must_broker_delete_exchange(&broker, host.at, "x.forapp");
	must_publish(1);
	must_lose_only_the_channel(1, 404);
	must_broker_restore(&broker);
	must_serve();
	end();
}
END_TEST

START_TEST(a_false_user_id_costs_the_channel)
{
	must_come_up(WORLD_BOTH);
	w.user_id = "web.somebody.g1";
	must_publish(1);
	must_lose_only_the_channel(1, 406);
	w.user_id = user;
	must_serve();
	end();
}
END_TEST

START_TEST(a_body_that_the_border_does_not_take_costs_the_channel)
{
	enum { TOO_LARGE = 300 * 1024 };
	char *body = malloc(TOO_LARGE);
	struct message m = {
		.type = span_of("order.place"),
		.user_id = span_of(user),
		.body = { body, TOO_LARGE },
	};

	ck_assert_ptr_nonnull(body);
	memset(body, 'b', TOO_LARGE);
	id_make(&m.id, 1);
	must_come_up(WORLD_BOTH);
	m.user_id = span_of(user);
	ck_assert_int_eq(publisher_put(&w.pub, &m, &w.publishes[0]), ERR_OK);
	must_lose_only_the_channel(1, 406);
	must_serve();
	free(body);
	end();
}
END_TEST

START_TEST(what_no_queue_takes_is_returned_and_refused)
{
	begin(WORLD_BOTH);
	w.pub.config.routing_key = "nowhere";
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	must_publish(3);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_REFUSED], 3);
	ck_assert_uint_eq(w.pub.channel.fault.code, 312);
	w.pub.config.routing_key = "send";
	must_serve();
	end();
}
END_TEST

static bool is_cancelled(void *arg)
{
	return ((struct world *)arg)->sub.counters.cancelled > 0;
}

/* Came back too early: the queue is not there. */
static bool is_told_so(void *arg)
{
	return ((struct world *)arg)->sub.channel.closed_by_broker > 0;
}

START_TEST(a_consumer_whose_queue_is_deleted_comes_back_with_it)
{
	must_come_up(WORLD_BOTH);
	must_broker_delete_queue(&broker, host.at, "FORWEB.reply");
	must_reach(&w.stage, is_cancelled, &w, SOON_MS);
	ck_assert(publisher_is_ready(&w.pub));
	must_serve(); /* the other lane goes on */
	ck_assert_int_eq(w.con.state, CONNECTION_CHANNELS);
	must_reach(&w.stage, is_told_so, &w, SOON_MS);
	ck_assert_uint_eq(w.sub.channel.fault.code, 404);
	must_broker_restore(&broker);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

/* ---- what a broker does to connections ---- */

static bool is_ready_again(void *arg)
{
	const struct world *world = arg;

	return connection_is_ready(&world->con) && world->con.counters.opened > 1;
}

START_TEST(a_connection_that_operations_close_comes_back)
{
	must_come_up(WORLD_BOTH);
	ck_assert_uint_eq(must_broker_close_connections(&broker, user, "maintenance"), 1);
	must_reach(&w.stage, is_ready_again, &w, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_LINK);
	ck_assert_uint_eq(w.con.fault.code, 320);
	ck_assert_ptr_nonnull(strstr(w.con.fault.text, "maintenance"));
	must_serve();
	end();
}
END_TEST

START_TEST(a_user_that_is_deleted_is_cut_and_refused_until_he_is_back)
{
	must_come_up(WORLD_BOTH);
	must_broker_delete_user(&broker, user);
	wanted = ERR_AUTH;
	must_reach(&w.stage, has_fault, &w, SOON_MS);
	must_broker_restore(&broker);
	must_reach(&w.stage, is_ready_again, &w, SOON_MS);
	must_serve();
	end();
}
END_TEST

static bool is_blocked(void *arg)
{
	return ((struct world *)arg)->con.state == CONNECTION_BLOCKED;
}

START_TEST(a_broker_short_of_memory_blocks_who_publishes_and_takes_it_all_later)
{
	must_come_up(WORLD_PUBLISHES_ONLY);
	must_serve();
	must_broker_block(&broker);
	must_publish(5); /* who publishes is told */
	must_reach(&w.stage, is_blocked, &w, SOON_MS);
	ck_assert_uint_gt(strlen(w.con.fault.text), 0);
	ck_assert_uint_eq(publisher_in_flight(&w.pub), 5);
	stage_pass(&w.stage, 300);
	ck_assert_uint_eq(w.done_by[ERR_OK], 3);
	must_broker_unblock(&broker);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 8);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

START_TEST(a_broker_that_is_killed_and_started_again_is_found_again)
{
	must_come_up(WORLD_BOTH);
	must_serve();
	must_broker_kill(&broker);
	(void)world_publish(&w); /* it may not have been noticed yet */
	must_reach(&w.stage, is_waiting, &w, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_LINK);
	ck_assert_uint_eq(w.done, w.next_publish); /* each once */
	ck_assert_int_eq(world_publish(&w), ERR_LINK);
	must_broker_begin_start(&broker);
	must_reach(&w.stage, is_ready_again, &w, 60000);
	must_broker_started(&broker);
	must_serve();
	ck_assert_uint_eq(w.con.counters.opened, 2);
	end();
}
END_TEST

/* ---- many ---- */

enum { MANY = 10000, CALLS_MAX = 20000, PREFETCH = 256 };

/* The app node's end of the crossing. */
static struct {
	struct connection con;
	struct consumer sub;
	struct tls_identity *identity;
	unsigned next; /* body that must come */
	unsigned changes;
	unsigned stopped;
} app;

static struct publish many[PUBLISHER_WINDOW_MAX];
static unsigned put_count;
static unsigned confirmed_count;

static void on_app_change(void *arg, struct connection *c)
{
	(void)arg;
	(void)c;
	app.changes++;
}

static void on_app_stopped(void *arg, struct connection *c)
{
	(void)arg;
	(void)c;
	app.stopped++;
}

static void on_app_delivery(void *arg, struct consumer *c, const struct delivery *d)
{
	uint64_t number;

	(void)arg;
	ck_assert_int_eq(d->fault, ERR_OK);
	ck_assert(span_is(d->message.user_id, user));
	ck_assert_int_eq(d->message.durability, MESSAGE_PERSISTENT);
	ck_assert_int_eq(text_parse_u64(d->message.body, &number), ERR_OK);
	ck_assert_uint_eq(number, app.next);
	app.next++;
	consumer_ack(c, d->tag);
}

static void must_begin_app(const char *queue)
{
	struct connection_config config = w.config;
	struct consumer_config sub = { .name = "send", .queue = queue, .prefetch = PREFETCH };

	memset(&app, 0, sizeof(app));
	app.identity = must_identify_user("app.app1.g1");
	config.name = "app1.test";
	config.identity = app.identity;
	ck_assert_int_eq(
		consumer_init(&app.sub, &w.stage.loop, &sub, on_app_delivery, NULL), ERR_OK);
	ck_assert_int_eq(
		connection_init(&app.con, &w.stage.loop, &config, on_app_change, NULL), ERR_OK);
	connection_add(&app.con, &app.sub.channel);
	connection_start(&app.con);
}

static bool is_app_stopped(void *arg)
{
	(void)arg;
	return app.stopped > 0;
}

static void end_app(void)
{
	connection_stop(&app.con, on_app_stopped, NULL);
	must_reach(&w.stage, is_app_stopped, NULL, SOON_MS);
	connection_fini(&app.con);
	consumer_fini(&app.sub);
	tls_identity_close(app.identity);
}

static void put_more(void *arg);

static void on_one_done(struct publish *p, enum err status)
{
	(void)p;
	ck_assert_int_eq(status, ERR_OK);
	confirmed_count++;
}

static void put_more(void *arg)
{
	(void)arg;
	while (put_count < MANY) {
		char body[16];
		struct message m = {
			.type = span_of("order.place"),
			.user_id = span_of(user),
			.durability = MESSAGE_PERSISTENT,
			.seq = put_count + 1,
		};

		must_format(body, sizeof(body), "%u", put_count);
		m.body = span_of(body);
		id_make(&m.id, clock_unix_ms());
		struct publish *req = &many[put_count % WORLD_PUBLISHES];

		req->on_done = on_one_done;
		if (publisher_put(&w.pub, &m, req) != ERR_OK)
			return;
		put_count++;
	}
}

static bool all_came(void *arg)
{
	(void)arg;
	return app.next == MANY && confirmed_count == MANY;
}

static bool is_lane_empty(void *arg)
{
	(void)arg;
	return app.sub.counters.acked == MANY;
}

START_TEST(ten_thousand_go_through_a_quorum_queue_once_and_in_order)
{
	begin(WORLD_PUBLISHES_ONLY);
	put_count = 0;
	confirmed_count = 0;
	w.pub.on_room = put_more;
	must_begin_app("FORAPP.send");
	world_start(&w);
	must_reach(&w.stage, all_came, NULL, 50000);
	must_reach(&w.stage, is_lane_empty, NULL, SOON_MS);
	ck_assert_uint_eq(w.pub.counters.confirmed, MANY);
	ck_assert_uint_eq(app.sub.counters.redelivered, 0);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end_app();
	ck_assert_uint_eq(must_broker_count(&broker, host.at, "FORAPP.send"), 0);
	end();
}
END_TEST

static unsigned refused_count;

static void on_call_done(struct publish *p, enum err status)
{
	(void)p;
	if (status == ERR_FULL)
		refused_count++;
	else if (status == ERR_OK)
		confirmed_count++;
}

static void put_calls(void *arg)
{
	struct message m = { .type = span_of("quote.price"), .user_id = span_of(user) };

	(void)arg;
	while (put_count < CALLS_MAX + WORLD_PUBLISHES) {
		struct publish *req = &many[put_count % WORLD_PUBLISHES];

		id_make(&m.id, 1);
		req->on_done = on_call_done;
		if (publisher_put(&w.pub, &m, req) != ERR_OK)
			return;
		put_count++;
	}
}

static bool are_calls_done(void *arg)
{
	(void)arg;
	return confirmed_count + refused_count == CALLS_MAX + WORLD_PUBLISHES;
}

START_TEST(a_queue_that_is_full_refuses_and_says_so)
{
	begin(WORLD_PUBLISHES_ONLY);
	put_count = 0;
	confirmed_count = 0;
	refused_count = 0;
	w.pub.config.routing_key = "call";
	w.pub.on_room = put_calls;
	world_start(&w);
	must_reach(&w.stage, are_calls_done, NULL, 50000);
	ck_assert_uint_gt(refused_count, 0);
	ck_assert_uint_eq(w.pub.counters.nacked, refused_count);
	ck_assert_uint_eq(must_broker_count(&broker, host.at, "FORAPP.call"), confirmed_count);
	ck_assert(connection_is_ready(&w.con)); /* a nack is no fault of the link */
	end();
}
END_TEST

/* ---- what grows on its way ---- */

enum { AGAIN = 3 };

static unsigned came;

static void let_come(void *arg, struct consumer *c, const struct delivery *d)
{
	(void)arg;
	ck_assert_int_eq(d->fault, ERR_OK);
	ck_assert(span_is(d->message.body, "{}"));
	ck_assert(d->is_redelivered == (came > 0));
	if (++came > AGAIN)
		consumer_ack(c, d->tag);
}

static bool came_again(void *arg)
{
	return came > *(const unsigned *)arg;
}

/* By hand: our own codec makes no such header. */
static void put_large_publish(struct wire *b, size_t header_bytes)
{
	wire_method_begin(b, 1, WIRE_PUBLISH);
	wire_short(b, 0);
	wire_shortstr(b, "x.forapp");
	wire_shortstr(b, "send");
	wire_octet(b, 0);
	wire_frame_end(b);
	wire_put_header_of(b, 1, rig_id, user, 2, header_bytes);
	wire_put_body(b, 1, "{}", 2);
}

/* Without confirms: this publish has no request. */
static void must_publish_large_header(size_t header_bytes)
{
	struct publisher_config config = w.pub.config;
	struct wire bytes;

	config.window = 0;
	publisher_fini(&w.pub);
	ck_assert_int_eq(publisher_init(&w.pub, &w.stage.loop, &config), ERR_OK);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	wire_init(&bytes);
	put_large_publish(&bytes, header_bytes);
	buf_append(&w.con.out, wire_span(&bytes));
	wire_fini(&bytes);
}

/* The second is larger than it may be, and RabbitMQ takes it. */
static const size_t large_headers[] = { AMQP_FRAME_MAX_BYTES - AMQP_FRAME_EXTRA_BYTES,
	AMQP_FRAME_MAX_BYTES };

START_TEST(a_header_that_fills_its_frame_may_be_delivered_again)
{
	begin(WORLD_PUBLISHES_ONLY);
	came = 0;
	must_publish_large_header(large_headers[_i]);
	for (unsigned i = 0; i <= AGAIN; i++) {
		must_begin_app("FORAPP.send");
		app.sub.on_delivery = let_come;
		must_reach(&w.stage, came_again, &i, SOON_MS);
		ck_assert_uint_eq(app.con.counters.failed, 0);
		end_app(); /* unsettled: the broker counts and delivers again */
	}
	ck_assert_uint_eq(must_broker_count(&broker, host.at, "FORAPP.send"), 0);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

/* ---- draining ---- */

static unsigned drained;

static void on_drained(void *arg)
{
	(void)arg;
	drained++;
}

static bool has_drained(void *arg)
{
	(void)arg;
	return drained > 0;
}

static bool has_app_ten(void *arg)
{
	(void)arg;
	return app.next >= 10;
}

static bool is_app_ready(void *arg)
{
	(void)arg;
	return connection_is_ready(&app.con);
}

START_TEST(a_drained_consumer_gets_nothing_more)
{
	must_come_up(WORLD_PUBLISHES_ONLY);
	must_begin_app("FORAPP.send");
	must_reach(&w.stage, is_app_ready, NULL, SOON_MS);
	put_count = MANY - 10; /* ten of them */
	app.next = MANY - 10;
	confirmed_count = 0;
	w.pub.on_room = put_more;
	put_more(NULL);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	must_reach(&w.stage, has_app_ten, NULL, SOON_MS);
	drained = 0;
	consumer_drain(&app.sub, on_drained, NULL);
	must_reach(&w.stage, has_drained, NULL, SOON_MS);
	unsigned seen = app.next;

	must_serve();
	stage_pass(&w.stage, 100);
	ck_assert_uint_eq(app.next, seen);
	end_app();
	ck_assert_uint_eq(must_broker_count(&broker, host.at, "FORAPP.send"), 3);
	end();
}
END_TEST

/* ---- the pair of connections ---- */

static struct link pair;
static unsigned pair_changes;
static unsigned pair_stops;

static void on_pair_change(void *arg, struct link *k)
{
	(void)arg;
	(void)k;
	pair_changes++;
}

static void on_pair_stopped(void *arg, struct link *k)
{
	(void)arg;
	ck_assert_ptr_eq(k, &pair);
	pair_stops++;
}

static bool is_pair_ready(void *arg)
{
	(void)arg;
	return link_is_ready(&pair);
}

static bool is_pair_stopped(void *arg)
{
	return pair_stops == *(const unsigned *)arg;
}

START_TEST(a_link_is_ready_when_both_are_and_stops_and_starts_again)
{
	begin(WORLD_BOTH);
	struct link_config config = {
		.name = host.at,
		.vhost = vhost,
		.brokers = w.brokers,
		.broker_count = w.config.broker_count,
		.identity = identity,
		.handshake_timeout_ms = 5000,
		.retry_first_ms = 20,
		.retry_longest_ms = 200,
		.heartbeat_s = 10,
	};

	pair_changes = 0;
	pair_stops = 0;
	ck_assert_int_eq(
		link_init(&pair, &w.stage.loop, &config, on_pair_change, NULL), ERR_OK);
	connection_add(&pair.publish, &w.pub.channel);
	connection_add(&pair.consume, &w.sub.channel);
	for (unsigned round = 1; round <= 3; round++) {
		link_start(&pair);
		must_reach(&w.stage, is_pair_ready, NULL, SOON_MS);
		ck_assert_uint_eq(pair_changes, 2 * round - 1);
		must_serve();
		link_stop(&pair, on_pair_stopped);
		link_stop(&pair, on_pair_stopped);
		must_reach(&w.stage, is_pair_stopped, &round, SOON_MS);
		ck_assert_uint_eq(pair_changes, 2 * round);
	}
	link_fini(&pair);
	end();
}
END_TEST

START_TEST(a_link_that_loses_one_of_its_connections_is_not_ready_until_it_is_back)
{
	begin(WORLD_BOTH);
	struct link_config config = {
		.name = host.at,
		.vhost = vhost,
		.brokers = w.brokers,
		.broker_count = w.config.broker_count,
		.identity = identity,
		.handshake_timeout_ms = 5000,
		.retry_first_ms = 20,
		.retry_longest_ms = 200,
		.heartbeat_s = 10,
	};
	unsigned once = 1;

	pair_changes = 0;
	pair_stops = 0;
	ck_assert_int_eq(
		link_init(&pair, &w.stage.loop, &config, on_pair_change, NULL), ERR_OK);
	connection_add(&pair.publish, &w.pub.channel);
	connection_add(&pair.consume, &w.sub.channel);
	link_start(&pair);
	must_reach(&w.stage, is_pair_ready, NULL, SOON_MS);
	w.sub.channel.host.on_broken(w.sub.channel.host.arg, ERR_LINK, "test");
	ck_assert(!link_is_ready(&pair));
	must_serve(); /* the other one goes on */
	must_reach(&w.stage, is_pair_ready, NULL, SOON_MS);
	ck_assert_uint_eq(pair_changes, 3);
	link_stop(&pair, on_pair_stopped);
	must_reach(&w.stage, is_pair_stopped, &once, SOON_MS);
	link_fini(&pair);
	end();
}
END_TEST

START_TEST(a_link_with_names_too_long_is_refused)
{
	char longest[LINK_NAME_BYTES + 1];
	struct link_config config = { .name = "web1", .vhost = longest };

	memset(longest, 'n', sizeof(longest));
	longest[LINK_NAME_BYTES] = '\0';
	begin(WORLD_BOTH);
	ck_assert_int_eq(
		link_init(&pair, &w.stage.loop, &config, on_pair_change, NULL), ERR_INPUT);
	link_fini(&pair);
	config = (struct link_config){ .name = longest, .vhost = "border.web1" };
	ck_assert_int_eq(
		link_init(&pair, &w.stage.loop, &config, on_pair_change, NULL), ERR_INPUT);
	link_fini(&pair);
	end();
}
END_TEST

static void set_up(void)
{
	must_enter_test();
}

int main(void)
{
	char folder[PATH_ROOM / 2];
	Suite *s = suite_create("broker");
	TCase *up = tcase_create("coming up, or not");
	TCase *channels = tcase_create("what a broker does to channels");
	TCase *connections = tcase_create("what a broker does to connections");
	TCase *volume = tcase_create("many");
	TCase *links = tcase_create("links");
	TCase *all[] = { up, channels, connections, volume, links };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], set_up, NULL);
		tcase_set_timeout(all[i], 90);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_test(up, a_web_host_comes_up_publishes_and_stops);
	tcase_add_test(up, a_broker_of_a_wrong_authority_is_not_trusted);
	tcase_add_test(up, a_certificate_of_another_authority_is_refused_by_the_broker);
	tcase_add_test(up, the_certificate_of_a_server_is_none_of_a_client);
	tcase_add_test(up, a_name_without_a_user_is_refused_with_code_and_text);
	tcase_add_test(up, the_vhost_of_another_host_is_closed);
	tcase_add_test(up, a_vhost_that_does_not_exist_is_refused);
	tcase_add_test(up, of_two_brokers_the_dead_one_is_passed_by);
	tcase_add_test(
		channels, a_publish_to_a_forbidden_exchange_costs_its_channel_and_nothing_else);
	tcase_add_test(
		channels, a_publish_to_a_missing_exchange_costs_its_channel_and_nothing_else);
	tcase_add_test(channels, a_false_user_id_costs_the_channel);
	tcase_add_test(channels, a_body_that_the_border_does_not_take_costs_the_channel);
	tcase_add_test(channels, what_no_queue_takes_is_returned_and_refused);
	tcase_add_test(channels, a_consumer_whose_queue_is_deleted_comes_back_with_it);
	tcase_add_test(channels, a_drained_consumer_gets_nothing_more);
	tcase_add_test(connections, a_connection_that_operations_close_comes_back);
	tcase_add_test(connections, a_user_that_is_deleted_is_cut_and_refused_until_he_is_back);
	tcase_add_test(connections,
		a_broker_short_of_memory_blocks_who_publishes_and_takes_it_all_later);
	tcase_add_test(connections, a_broker_that_is_killed_and_started_again_is_found_again);
	tcase_add_test(volume, ten_thousand_go_through_a_quorum_queue_once_and_in_order);
	tcase_add_test(volume, a_queue_that_is_full_refuses_and_says_so);
	tcase_add_loop_test(volume, a_header_that_fills_its_frame_may_be_delivered_again, 0,
		ARRAY_COUNT(large_headers));
	tcase_add_test(links, a_link_is_ready_when_both_are_and_stops_and_starts_again);
	tcase_add_test(
		links, a_link_that_loses_one_of_its_connections_is_not_ready_until_it_is_back);
	tcase_add_test(links, a_link_with_names_too_long_is_refused);
	must_make_folder(folder, sizeof(folder));
	must_broker_up(&broker, folder, CROSSINGS);
	int status = unit_run(s);

	broker_down(&broker);
	must_remove_folder(folder);
	return status;
}
