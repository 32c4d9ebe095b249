/* A connection comes up, is tuned, carries, and stops: amqp/connection.h with everything below it,
 * against a broker that the test plays. */
#include <stdio.h>
#include <string.h>

#include "amqp_play.h"
#include "amqp_rig.h"
#include "base/clock.h"
#include "unit.h"

/* ---- coming up ---- */

START_TEST(a_connection_comes_up_serves_and_says_goodbye)
{
	static const enum connection_state path[] = { CONNECTION_DIALING, CONNECTION_TLS,
		CONNECTION_LOGIN, CONNECTION_OPEN, CONNECTION_CHANNELS, CONNECTION_READY,
		CONNECTION_DRAINING, CONNECTION_DOWN };
	unsigned seen = 0;

	play_script(WORLD_BOTH, play_polite, NULL);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 1);
	ck_assert_uint_eq(w.con.counters.opened, 1);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	world_stop(&w);
	ck_assert_uint_eq(w.stopped, 0); /* never from inside */
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	for (unsigned i = 0; i < w.changes; i++)
		if (seen < ARRAY_COUNT(path) && w.path[i] == path[seen])
			seen++;
	ck_assert_uint_eq(seen, ARRAY_COUNT(path));
	play_end();
}
END_TEST

static void say_open_ok(struct wire *to)
{
	wire_put_plain(to, 0, WIRE_OPEN_OK);
}

START_TEST(a_connection_without_channels_is_ready_too)
{
	/* The polite broker would wait for channel.open. */
	play(WORLD_BARE, &(struct part){ FAKE_TUNED, say_open_ok, PART_SILENCE });
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	play_end();
}
END_TEST

static void serve_in_pieces(struct fake *f, void *arg)
{
	f->chunk_bytes = *(const size_t *)arg;
	(void)fake_serve(f);
}

START_TEST(a_connection_comes_up_and_serves_in_pieces)
{
	static const size_t sizes[] = { 1, 2, 3, 5, 7, 8, 64 };
	size_t piece = sizes[_i];

	play_script(WORLD_BOTH, serve_in_pieces, &piece);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 10);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	play_end();
}
END_TEST

START_TEST(of_two_brokers_the_one_that_lives_is_found)
{
	play_script(WORLD_BOTH, play_polite, NULL);
	world_add_broker(&w, "127.0.0.1", fake.port);
	w.brokers[0].port = play_dead_port();
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_uint_eq(connection_broker(&w.con)->port, fake.port);
	ck_assert_uint_eq(w.con.counters.failed, 1);
	ck_assert_int_eq(w.con.fault.err, ERR_LINK);
	play_end();
}
END_TEST

START_TEST(a_name_is_resolved_and_each_of_its_addresses_tried)
{
	/* localhost may be ::1 first, where nobody listens. */
	world_init(&w, WORLD_BOTH);
	must_fakebroker_start(&fake, play_polite, NULL, NULL, NULL, NULL);
	world_add_broker(&w, "localhost", fake.port);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	play_end();
}
END_TEST

START_TEST(addresses_are_read_strictly)
{
	static const struct {
		const char *text;
		const char *host;
		uint16_t port;
	} good[] = {
		{ "127.0.0.1:5671", "127.0.0.1", 5671 },
		{ "broker.example:1", "broker.example", 1 },
		{ "[2001:db8::1]:65535", "2001:db8::1", 65535 },
	};
	static const char *const bad[] = { "", ":", "host", "host:", ":5671", "host:0",
		"host:65536", "host:-1", "host:5671 ", "host:05671", "::1:5671", "[::1]",
		"[::1]5671", "[::1", "[]:5671", "a b:1", "a/b:1", "a\n:1", "host:5671:1" };
	struct transport_address a = { .port = 7 };

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		ck_assert_msg(transport_address_parse(span_of(bad[i]), &a) == ERR_INPUT, "'%s'",
			bad[i]);
		ck_assert_uint_eq(a.port, 7);
	}
	for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
		ck_assert_int_eq(transport_address_parse(span_of(good[i].text), &a), ERR_OK);
		ck_assert_str_eq(a.host, good[i].host);
		ck_assert_uint_eq(a.port, good[i].port);
	}
	char longest[TRANSPORT_HOST_MAX_BYTES + 4];

	memset(longest, 'h', sizeof(longest));
	memcpy(longest + TRANSPORT_HOST_MAX_BYTES, ":1", 2);
	struct span text = { .at = longest, .len = TRANSPORT_HOST_MAX_BYTES + 2 };

	ck_assert_int_eq(transport_address_parse(text, &a), ERR_OK);
	memcpy(longest + TRANSPORT_HOST_MAX_BYTES, "h:1", 3);
	text.len++;
	ck_assert_int_eq(transport_address_parse(text, &a), ERR_INPUT);
}
END_TEST

/* ---- tuning ---- */

struct offer {
	uint16_t channel_max;
	uint32_t frame_max;
	uint16_t heartbeat_s;
	/* What comes back; all zero: a refusal. */
	uint16_t channel_max_ok;
	uint32_t frame_max_ok;
	uint16_t heartbeat_s_ok;
};

static void tune(struct fake *f, void *arg)
{
	static struct fake_frame frame;
	const struct offer *offer = arg;
	struct wire bytes;

	if (!fake_polite(f, FAKE_STARTED))
		return;
	wire_init(&bytes);
	wire_put_tune(&bytes, offer->channel_max, offer->frame_max, offer->heartbeat_s);
	play_say(f, &bytes);
	if (offer->frame_max_ok == 0) {
		if (fake_expect_end(f, SOON_MS))
			atomic_store(&gate, 1);
		return;
	}
	if (!fake_expect_method(f, &frame, 10, 31))
		return;
	struct wire_reader r = { .left = { (const char *)frame.payload + 4, frame.size - 4 } };
	uint16_t channel_max = wire_read_short(&r);
	uint32_t frame_max = wire_read_long(&r);
	uint16_t heartbeat_s = wire_read_short(&r);

	if (r.is_short || channel_max != offer->channel_max_ok ||
		frame_max != offer->frame_max_ok || heartbeat_s != offer->heartbeat_s_ok)
		(void)fake_fail(
			f, "tune-ok with %u, %u, %u", channel_max, frame_max, heartbeat_s);
	atomic_store(&gate, 1);
	play_rest(f);
}

static struct offer offers[] = {
	{ 16, 8192, 10, 4, 8192, 10 },
	{ 0, 0, 0, 4, 8192, 10 }, /* the broker has no limits: ours */
	{ 2, 4096, 1, 2, 4096, 1 }, { 65535, 0xffffffff, 65535, 4, 8192, 10 },
	{ 16, 4095, 10, 0, 0, 0 }, { 16, 1, 10, 0, 0, 0 },
	{ 1, 8192, 10, 0, 0, 0 }, /* one channel, and we need two */
};

START_TEST(what_a_broker_offers_is_taken_as_far_as_it_can_be)
{
	play_script(WORLD_BOTH, tune, &offers[_i]);
	world_start(&w);
	must_reach(&w.stage, gate_is_open, NULL, SOON_MS);
	if (offers[_i].frame_max_ok == 0)
		ck_assert_int_eq(w.con.fault.err, ERR_PROTOCOL);
	play_end();
}
END_TEST

static void offer_plain_only(struct wire *to)
{
	wire_put_start(to, "PLAIN AMQPLAIN EXTERNALLY");
}

START_TEST(a_broker_without_external_is_refused)
{
	play(WORLD_BARE, &(struct part){ FAKE_GREETED, offer_plain_only, PART_SEES_END });
	world_start(&w);
	must_reach(&w.stage, is_waiting, &w, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_AUTH);
	play_end();
}
END_TEST
/* ---- stopping ---- */

static bool is_in(void *arg)
{
	return w.con.state == *(const enum connection_state *)arg;
}

static void say_blocked(struct wire *to)
{
	wire_put_blocked(to, "low on memory");
}

/* A state, and a broker that holds the connection there. */
static const struct {
	enum connection_state state;
	struct part part;
} held[] = {
	{ CONNECTION_DOWN, { 0 } },
	{ CONNECTION_DIALING, { 0 } },
	{ CONNECTION_LOGIN, { 0 } },
	{ CONNECTION_OPEN, { .stage = FAKE_TUNED } },
	{ CONNECTION_CHANNELS, { .stage = FAKE_OPEN } },
	{ CONNECTION_READY, { .stage = FAKE_READY } },
	{ CONNECTION_BLOCKED, { FAKE_READY, say_blocked, PART_SILENCE } },
	{ CONNECTION_DRAINING, { .stage = FAKE_READY } },
	{ CONNECTION_WAITING, { .then = PART_HANGS_UP } },
};

START_TEST(stopping_ends_in_every_state_and_says_so_once)
{
	enum connection_state state = held[_i].state;

	play(WORLD_PUBLISHES_ONLY, &held[_i].part);
	if (state == CONNECTION_WAITING)
		w.config.retry_first_ms = w.config.retry_longest_ms = 60000;
	world_start(&w);
	if (state == CONNECTION_DOWN) {
		world_stop(&w);
		must_reach(&w.stage, is_stopped, &w, SOON_MS);
		w.stopped = 0;
	} else if (state == CONNECTION_DRAINING) {
		enum connection_state ready = CONNECTION_READY;

		must_reach(&w.stage, is_in, &ready, SOON_MS);
		world_stop(&w);
		must_reach(&w.stage, is_in, &state, SOON_MS);
	} else {
		must_reach(&w.stage, is_in, &state, SOON_MS);
	}
	ck_assert_int_eq(w.con.state, state);
	uint64_t begun_us = clock_mono_us();

	world_stop(&w);
	world_stop(&w); /* idempotent */
	ck_assert_uint_eq(w.stopped, 0);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_lt(clock_mono_us() - begun_us, 2000000);
	stage_pass(&w.stage, 20);
	ck_assert_uint_eq(w.stopped, 1);
	ck_assert_int_eq(w.con.state, CONNECTION_DOWN);
	play_end();
}
END_TEST

START_TEST(a_connection_may_be_started_again_after_its_stop)
{
	play_script(WORLD_BOTH, play_polite, NULL);
	for (int round = 0; round < 5; round++) {
		world_start(&w);
		must_reach(&w.stage, is_ready, &w, SOON_MS);
		ck_assert_int_eq(world_publish(&w), ERR_OK);
		must_reach(&w.stage, is_done, &w, SOON_MS);
		w.stopped = 0;
		world_stop(&w);
		must_reach(&w.stage, is_stopped, &w, SOON_MS);
	}
	ck_assert_uint_eq(w.done_by[ERR_OK], 5);
	play_end();
}
END_TEST

START_TEST(what_is_in_flight_at_a_stop_is_done_with_unknown_fate)
{
	play(WORLD_PUBLISHES_ONLY, &(struct part){ .stage = FAKE_READY });
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	world_stop(&w);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_eq(w.done, 2);
	ck_assert_uint_eq(w.done_by[ERR_LINK], 2);
	play_end();
}
END_TEST

static void stop_within(struct world *world, enum err status)
{
	(void)status;
	world_stop(world);
}

static void serve_publisher_then_vanish(struct fake *f, void *arg)
{
	static struct fake_frame frame;

	(void)arg;
	if (!fake_polite(f, FAKE_READY))
		return;
	/* A publish: method, header, body. Then nothing more of us. */
	for (int i = 0; i < 3; i++)
		if (!fake_read_frame(f, &frame))
			return;
}

START_TEST(the_owner_may_stop_when_the_last_publish_is_lost)
{
	play_script(WORLD_PUBLISHES_ONLY, serve_publisher_then_vanish, NULL);
	w.within_done = stop_within;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_LINK], 1);
	play_end();
}
END_TEST

START_TEST(the_owner_may_stop_when_the_last_publish_is_confirmed)
{
	play_script(WORLD_BOTH, play_polite, NULL);
	w.within_done = stop_within;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_eq(w.done, 2);
	ck_assert_uint_eq(w.stopped, 1);
	play_end();
}
END_TEST

/* ---- what is consumed ---- */

/* Three deliveries with headers of so many bytes, or as our own peers write them. */
struct deliveries {
	size_t header_bytes;
	size_t chunk_bytes;
};

static void deliver_three(struct fake *f, void *arg)
{
	static struct fake_frame frame;
	const struct deliveries *d = arg;
	struct wire bytes;

	/* channel.open, qos, then consume: read here, answered below. */
	if (!fake_polite(f, FAKE_READY) || !fake_expect_method(f, &frame, 60, 20))
		return;
	f->chunk_bytes = d->chunk_bytes;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONSUME_OK);
	for (uint64_t tag = 1; tag <= 3; tag++) {
		wire_put_deliver(&bytes, 1, tag, false);
		if (d->header_bytes == 0) {
			wire_put_content(&bytes, 1, rig_id, span_of("{\"hello\":1}"), 5);
			continue;
		}
		wire_put_header_of(&bytes, 1, rig_id, "app.app1.g1", 2, d->header_bytes);
		wire_put_body(&bytes, 1, "{}", 2);
	}
	play_say(f, &bytes);
	if (fake_expect_method(f, &frame, 60, 80))
		(void)fake_serve(f);
}

static bool has_three(void *arg)
{
	return ((struct world *)arg)->delivered == 3;
}

START_TEST(deliveries_come_and_are_acknowledged)
{
	struct deliveries d = { 0 };

	play_script(WORLD_CONSUMES_ONLY, deliver_three, &d);
	world_start(&w);
	must_reach(&w.stage, has_three, &w, SOON_MS);
	ck_assert_str_eq(w.last_body, "{\"hello\":1}");
	stage_pass(&w.stage, 50);
	play_end();
}
END_TEST

static const size_t chunks[] = { 0, 1000, 16 * 1024 - 1 };

START_TEST(a_header_that_grew_on_its_way_is_taken)
{
	struct deliveries d = {
		.header_bytes = AMQP_FRAME_READ_MAX_BYTES - AMQP_FRAME_EXTRA_BYTES,
		.chunk_bytes = chunks[_i],
	};

	play_script(WORLD_CONSUMES_ONLY, deliver_three, &d);
	world_start(&w);
	must_reach(&w.stage, has_three, &w, SOON_MS);
	ck_assert_str_eq(w.last_body, "{}");
	ck_assert_uint_eq(w.con.counters.failed, 0);
	play_end();
}
END_TEST

static void stop_within_delivery(struct world *world, const struct delivery *d)
{
	consumer_ack(&world->sub, d->tag);
	world_stop(world);
}

START_TEST(the_owner_may_stop_from_within_a_delivery)
{
	struct deliveries d = { 0 };

	play_script(WORLD_CONSUMES_ONLY, deliver_three, &d);
	w.within_delivery = stop_within_delivery;
	world_start(&w);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_ge(w.delivered, 1);
	(void)fakebroker_stop(&fake); /* whether the acknowledgement went out is open */
	world_fini(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("connection");
	TCase *up = tcase_create("coming up");
	TCase *stopping = tcase_create("stopping");
	TCase *consuming = tcase_create("consuming");
	TCase *all[] = { up, stopping, consuming };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], play_set_up, NULL);
		tcase_set_timeout(all[i], 60);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_test(up, a_connection_comes_up_serves_and_says_goodbye);
	tcase_add_test(up, a_connection_without_channels_is_ready_too);
	tcase_add_loop_test(up, a_connection_comes_up_and_serves_in_pieces, 0, 7);
	tcase_add_test(up, of_two_brokers_the_one_that_lives_is_found);
	tcase_add_test(up, a_name_is_resolved_and_each_of_its_addresses_tried);
	tcase_add_test(up, addresses_are_read_strictly);
	tcase_add_loop_test(
		up, what_a_broker_offers_is_taken_as_far_as_it_can_be, 0, ARRAY_COUNT(offers));
	tcase_add_test(up, a_broker_without_external_is_refused);
	tcase_add_loop_test(
		stopping, stopping_ends_in_every_state_and_says_so_once, 0, ARRAY_COUNT(held));
	tcase_add_test(stopping, a_connection_may_be_started_again_after_its_stop);
	tcase_add_test(stopping, what_is_in_flight_at_a_stop_is_done_with_unknown_fate);
	tcase_add_test(stopping, the_owner_may_stop_when_the_last_publish_is_lost);
	tcase_add_test(stopping, the_owner_may_stop_when_the_last_publish_is_confirmed);
	tcase_add_test(consuming, deliveries_come_and_are_acknowledged);
	tcase_add_loop_test(
		consuming, a_header_that_grew_on_its_way_is_taken, 0, ARRAY_COUNT(chunks));
	tcase_add_test(consuming, the_owner_may_stop_from_within_a_delivery);
	return unit_run(s);
}
