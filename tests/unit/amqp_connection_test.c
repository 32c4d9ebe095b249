/* A connection against a broker that the test plays over plain TCP: amqp/connection.h with
 * everything below it. */
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/connection.h"
#include "amqp_rig.h"
#include "amqp_wire.h"
#include "amqp_world.h"
#include "base/clock.h"
#include "fakebroker.h"
#include "must.h"
#include "unit.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN
#endif
#endif
#ifdef HAS_ASAN
/* Of the sanitizer's own runtime; gcc's package has no header for it. */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

enum { SOON_MS = 10000 };

static struct world w;
static struct fakebroker fake;
static atomic_uint gate;    /* scripts wait for it, or raise it */
static atomic_uint count;   /* of whatever a script counts */
static atomic_bool is_over; /* scripts may end */

static void set_up(void)
{
	must_enter_test();
	atomic_store(&gate, 0);
	atomic_store(&count, 0);
	atomic_store(&is_over, false);
}

/* The world against a fake broker that runs the script. */
static void begin(enum world_lanes lanes, fake_script script, void *arg)
{
	world_init(&w, lanes);
	must_fakebroker_start(&fake, script, arg, NULL, NULL, NULL);
	world_add_broker(&w, "127.0.0.1", fake.port);
}

/* Both come to their end; a script that did not get what it wanted fails the test. */
static void end(void)
{
	atomic_store(&is_over, true);
	const char *failure = fakebroker_stop(&fake);

	ck_assert_msg(failure == NULL, "the broker, %s", failure == NULL ? "" : failure);
	world_fini(&w);
}

static bool gate_is_open(void *arg)
{
	(void)arg;
	return atomic_load(&gate) > 0;
}

/* A script waits for the test. */
static void wait_for_gate(struct fake *f, unsigned at_least)
{
	while (atomic_load(&gate) < at_least && !atomic_load(&is_over))
		fake_be_silent(f, 2);
}

static void say(struct fake *f, struct wire *bytes)
{
	struct span all = wire_span(bytes);

	(void)fake_send(f, all.at, all.len);
	wire_fini(bytes);
}

static void serve(struct fake *f, void *arg)
{
	(void)arg;
	(void)fake_serve(f);
}

static void hang_up(struct fake *f, void *arg)
{
	(void)f;
	(void)arg;
}

/* Comes politely to a stage (arg points to it), then says nothing more. */
static void fall_silent(struct fake *f, void *arg)
{
	if (fake_polite(f, *(const enum fake_stage *)arg))
		fake_be_silent(f, 60000);
}

/* ---- coming up ---- */

START_TEST(a_connection_comes_up_serves_and_says_goodbye)
{
	static const enum connection_state path[] = { CONNECTION_DIALING, CONNECTION_TLS,
		CONNECTION_LOGIN, CONNECTION_OPEN, CONNECTION_CHANNELS, CONNECTION_READY,
		CONNECTION_DRAINING, CONNECTION_DOWN };
	unsigned seen = 0;

	begin(WORLD_BOTH, serve, NULL);
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
	end();
}
END_TEST

/* The polite broker would wait for channel.open. */
static void serve_bare(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_TUNED))
		return;
	wire_init(&bytes);
	wire_put_plain(&bytes, 0, WIRE_OPEN_OK);
	say(f, &bytes);
	fake_be_silent(f, 60000);
}

START_TEST(a_connection_without_channels_is_ready_too)
{
	begin(WORLD_BARE, serve_bare, NULL);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	end();
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

	begin(WORLD_BOTH, serve_in_pieces, &piece);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 10);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

START_TEST(of_two_brokers_the_one_that_lives_is_found)
{
	world_init(&w, WORLD_BOTH);
	must_fakebroker_start(&fake, hang_up, NULL, NULL, NULL, NULL);
	uint16_t dead_port = fake.port;

	must_fakebroker_stop(&fake);
	must_fakebroker_start(&fake, serve, NULL, NULL, NULL, NULL);
	world_add_broker(&w, "127.0.0.1", dead_port);
	world_add_broker(&w, "127.0.0.1", fake.port);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_uint_eq(connection_broker(&w.con)->port, fake.port);
	ck_assert_uint_eq(w.con.counters.failed, 1);
	ck_assert_int_eq(w.con.fault.err, ERR_LINK);
	end();
}
END_TEST

START_TEST(a_name_is_resolved_and_each_of_its_addresses_tried)
{
	/* localhost may be ::1 first, where nobody listens. */
	world_init(&w, WORLD_BOTH);
	must_fakebroker_start(&fake, serve, NULL, NULL, NULL, NULL);
	world_add_broker(&w, "localhost", fake.port);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	end();
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
	say(f, &bytes);
	if (offer->frame_max_ok == 0) {
		if (fake_expect_end(f, SOON_MS))
			atomic_store(&gate, 1);
		fake_be_silent(f, 60000);
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
	fake_be_silent(f, 60000);
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
	begin(WORLD_BOTH, tune, &offers[_i]);
	world_start(&w);
	must_reach(&w.stage, gate_is_open, NULL, SOON_MS);
	if (offers[_i].frame_max_ok == 0)
		ck_assert_int_eq(w.con.fault.err, ERR_PROTOCOL);
	end();
}
END_TEST

static void offer_plain_only(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_GREETED))
		return;
	wire_init(&bytes);
	wire_put_start(&bytes, "PLAIN AMQPLAIN EXTERNALLY");
	say(f, &bytes);
	(void)fake_expect_end(f, SOON_MS);
	fake_be_silent(f, 60000);
}

START_TEST(a_broker_without_external_is_refused)
{
	begin(WORLD_BARE, offer_plain_only, NULL);
	world_start(&w);
	must_reach(&w.stage, is_waiting, &w, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_AUTH);
	end();
}
END_TEST

/* ---- what the broker closes ---- */

struct closing {
	enum fake_stage stage;
	uint16_t code;
	const char *text;
	enum err err;
	const char *shown;
};

static struct closing closings[] = {
	{ FAKE_GREETED, 403, "ACCESS_REFUSED", ERR_AUTH, "ACCESS_REFUSED" },
	{ FAKE_STARTED, 403, "ACCESS_REFUSED - Login was refused", ERR_AUTH,
		"ACCESS_REFUSED - Login was refused" },
	{ FAKE_TUNED, 530, "NOT_ALLOWED - access to vhost", ERR_AUTH,
		"NOT_ALLOWED - access to vhost" },
	{ FAKE_OPEN, 504, "CHANNEL_ERROR", ERR_LINK, "CHANNEL_ERROR" },
	{ FAKE_READY, 320, "CONNECTION_FORCED \x1b[31m\n\"x\"", ERR_LINK,
		"CONNECTION_FORCED \\x1b[31m\\x0a\\\"x\\\"" },
};

static void close_at(struct fake *f, void *arg)
{
	static struct fake_frame frame;
	const struct closing *c = arg;
	struct wire bytes;

	if (!fake_polite(f, c->stage))
		return;
	wire_init(&bytes);
	wire_put_close(&bytes, c->code, c->text);
	say(f, &bytes);
	/* Whatever was on its way, then close-ok. */
	while (fake_read_frame(f, &frame))
		if (frame.type == FAKE_METHOD && frame.payload[1] == 10 &&
			frame.payload[3] == 51)
			atomic_fetch_add(&count, 1);
	fake_be_silent(f, 60000);
}

static bool was_answered(void *arg)
{
	(void)arg;
	return atomic_load(&count) > 0;
}

START_TEST(a_close_by_the_broker_is_answered_and_remembered_with_code_and_text)
{
	struct closing *c = &closings[_i];

	begin(WORLD_PUBLISHES_ONLY, close_at, c);
	world_start(&w);
	must_reach(&w.stage, was_answered, NULL, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, c->err);
	ck_assert_uint_eq(w.con.fault.code, c->code);
	ck_assert_str_eq(w.con.fault.text, c->shown);
	ck_assert_uint_ne(w.con.fault.at_unix_ms, 0);
	end();
}
END_TEST

/* The first connection is closed, the others are served. */
static void close_first(struct fake *f, void *arg)
{
	if (f->index == 0)
		close_at(f, arg);
	else
		(void)fake_serve(f);
}

static bool is_ready_again(void *arg)
{
	const struct world *world = arg;

	return connection_is_ready(&world->con) && world->con.counters.opened > 1;
}

START_TEST(a_connection_that_was_lost_comes_back_by_itself)
{
	begin(WORLD_BOTH, close_first, &closings[4]);
	world_start(&w);
	must_reach(&w.stage, is_ready_again, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.opened, 2);
	ck_assert_uint_eq(w.con.counters.failed, 1);
	/* And waits shortly again, should it be lost once more. */
	ck_assert_uint_eq(w.con.backoff.ceiling_ms, w.config.retry_first_ms);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 1);
	end();
}
END_TEST

/* Each connection may be told one byte more than the one before. */
static void cut_after(struct fake *f, void *arg)
{
	(void)arg;
	f->left_bytes = f->index;
	(void)fake_serve(f);
}

START_TEST(a_broker_may_vanish_after_every_byte)
{
	begin(WORLD_BOTH, cut_after, NULL);
	w.config.retry_longest_ms = 1;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, 40000);
	ck_assert_uint_gt(w.con.counters.failed, 250);
	ck_assert_int_eq(w.con.fault.err, ERR_LINK);
	end();
}
END_TEST

static bool is_open(void *arg)
{
	return ((struct world *)arg)->con.state == CONNECTION_OPEN;
}

/* Reads one byte more than for the connection before, then resets. */
static void reset_after(struct fake *f, void *arg)
{
	enum { HEADER_BYTES = 8, ENOUGH = 40 };
	struct linger at_once = { .l_onoff = 1 };
	unsigned left = f->index;
	char byte;

	(void)arg;
	if (f->index > ENOUGH) {
		if (fake_polite(f, FAKE_TUNED))
			fake_be_silent(f, 60000);
		return;
	}
	if (left > HEADER_BYTES && fake_polite(f, FAKE_GREETED)) {
		struct wire bytes;

		wire_init(&bytes);
		wire_put_start(&bytes, "EXTERNAL");
		say(f, &bytes);
		left -= HEADER_BYTES;
	}
	while (left > 0 && recv(f->fd, &byte, 1, 0) == 1)
		left--;
	(void)setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

START_TEST(a_broker_may_reset_the_connection_at_any_time)
{
	begin(WORLD_BARE, reset_after, NULL);
	w.config.retry_longest_ms = 1;
	world_start(&w);
	must_reach(&w.stage, is_open, &w, SOON_MS);
	ck_assert_uint_gt(w.con.counters.failed, 35);
	end();
}
END_TEST

/* ---- stopping ---- */

static bool is_in(void *arg)
{
	return w.con.state == *(const enum connection_state *)arg;
}

/* A broker that holds the connection in the state that *arg asks for. */
static void hold_in(struct fake *f, void *arg)
{
	enum connection_state state = *(const enum connection_state *)arg;
	enum fake_stage stage = FAKE_ACCEPTED;
	struct wire bytes;

	switch (state) {
	case CONNECTION_WAITING:
		return;
	case CONNECTION_OPEN:
		stage = FAKE_TUNED;
		break;
	case CONNECTION_CHANNELS:
		stage = FAKE_OPEN;
		break;
	case CONNECTION_DRAINING:
	case CONNECTION_BLOCKED:
	case CONNECTION_READY:
		stage = FAKE_READY;
		break;
	default:
		break;
	}
	if (!fake_polite(f, stage))
		return;
	if (state == CONNECTION_BLOCKED) {
		wire_init(&bytes);
		wire_put_blocked(&bytes, "low on memory");
		say(f, &bytes);
	}
	fake_be_silent(f, 60000);
}

static enum connection_state held[] = { CONNECTION_DOWN, CONNECTION_DIALING, CONNECTION_LOGIN,
	CONNECTION_OPEN, CONNECTION_CHANNELS, CONNECTION_READY, CONNECTION_BLOCKED,
	CONNECTION_DRAINING, CONNECTION_WAITING };

START_TEST(stopping_ends_in_every_state_and_says_so_once)
{
	enum connection_state state = held[_i];

	begin(WORLD_PUBLISHES_ONLY, hold_in, &state);
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
	end();
}
END_TEST

START_TEST(a_connection_may_be_started_again_after_its_stop)
{
	begin(WORLD_BOTH, serve, NULL);
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
	end();
}
END_TEST

START_TEST(what_is_in_flight_at_a_stop_is_done_with_unknown_fate)
{
	static enum connection_state state = CONNECTION_READY;

	begin(WORLD_PUBLISHES_ONLY, hold_in, &state);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	world_stop(&w);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_eq(w.done, 2);
	ck_assert_uint_eq(w.done_by[ERR_LINK], 2);
	end();
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
	begin(WORLD_PUBLISHES_ONLY, serve_publisher_then_vanish, NULL);
	w.within_done = stop_within;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_LINK], 1);
	end();
}
END_TEST

START_TEST(the_owner_may_stop_when_the_last_publish_is_confirmed)
{
	begin(WORLD_BOTH, serve, NULL);
	w.within_done = stop_within;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_eq(w.done, 2);
	ck_assert_uint_eq(w.stopped, 1);
	end();
}
END_TEST

static void deliver_one(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	/* channel.open, qos, then consume: read here, answered below. */
	if (!fake_polite(f, FAKE_READY))
		return;
	static struct fake_frame frame;

	if (!fake_expect_method(f, &frame, 60, 20))
		return;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONSUME_OK);
	for (uint64_t tag = 1; tag <= 3; tag++) {
		wire_put_deliver(&bytes, 1, tag, false);
		wire_put_content(&bytes, 1, "01890a5d-ac96-774b-bcce-b302099a8057",
			span_of("{\"hello\":1}"), 5);
	}
	say(f, &bytes);
	if (fake_expect_method(f, &frame, 60, 80))
		(void)fake_serve(f);
}

static bool has_three(void *arg)
{
	return ((struct world *)arg)->delivered == 3;
}

START_TEST(deliveries_come_and_are_acknowledged)
{
	begin(WORLD_CONSUMES_ONLY, deliver_one, NULL);
	world_start(&w);
	must_reach(&w.stage, has_three, &w, SOON_MS);
	ck_assert_str_eq(w.last_body, "{\"hello\":1}");
	stage_pass(&w.stage, 50);
	end();
}
END_TEST

/* A header of the largest size that may come: 4096 bytes more than was agreed. */
static void deliver_grown(struct fake *f, void *arg)
{
	static struct fake_frame frame;
	struct wire bytes;

	f->chunk_bytes = *(const size_t *)arg;
	if (!fake_polite(f, FAKE_READY) || !fake_expect_method(f, &frame, 60, 20))
		return;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONSUME_OK);
	for (uint64_t tag = 1; tag <= 3; tag++) {
		wire_put_deliver(&bytes, 1, tag, false);
		wire_put_header_of(&bytes, 1, rig_id, "app.app1.g1", 2,
			AMQP_FRAME_READ_MAX_BYTES - AMQP_FRAME_EXTRA_BYTES);
		wire_put_body(&bytes, 1, "{}", 2);
	}
	say(f, &bytes);
	if (fake_expect_method(f, &frame, 60, 80))
		(void)fake_serve(f);
}

START_TEST(a_header_that_grew_on_its_way_is_taken)
{
	static const size_t pieces[] = { 0, 1000, 16 * 1024 - 1 };
	size_t piece = pieces[_i];

	begin(WORLD_CONSUMES_ONLY, deliver_grown, &piece);
	world_start(&w);
	must_reach(&w.stage, has_three, &w, SOON_MS);
	ck_assert_str_eq(w.last_body, "{}");
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

static void stop_within_delivery(struct world *world, const struct delivery *d)
{
	consumer_ack(&world->sub, d->tag);
	world_stop(world);
}

START_TEST(the_owner_may_stop_from_within_a_delivery)
{
	begin(WORLD_CONSUMES_ONLY, deliver_one, NULL);
	w.within_delivery = stop_within_delivery;
	world_start(&w);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	ck_assert_uint_ge(w.delivered, 1);
	(void)fakebroker_stop(&fake); /* whether the acknowledgement went out is open */
	world_fini(&w);
}
END_TEST

/* ---- silence ---- */

static enum fake_stage silent_from[] = { FAKE_ACCEPTED, FAKE_GREETED, FAKE_STARTED, FAKE_TUNED,
	FAKE_OPEN, FAKE_CHANNEL_OPEN };

static bool has_tried_twice(void *arg)
{
	return ((struct world *)arg)->con.counters.failed >= 2;
}

START_TEST(a_broker_that_falls_silent_during_the_handshake_is_given_up)
{
	begin(WORLD_BOTH, fall_silent, &silent_from[_i]);
	w.config.handshake_timeout_ms = 100;
	uint64_t begun_us = clock_mono_us();

	world_start(&w);
	must_reach(&w.stage, has_tried_twice, &w, SOON_MS);
	ck_assert_uint_ge(clock_mono_us() - begun_us, 200000);
	ck_assert_int_eq(w.con.fault.err, ERR_TIMEOUT);
	end();
}
END_TEST

static void drip(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_GREETED))
		return;
	wire_init(&bytes);
	wire_put_start(&bytes, "EXTERNAL");
	struct span left = wire_span(&bytes);

	while (left.len > 0 && fake_send(f, left.at, 1)) {
		fake_be_silent(f, 20);
		left = span_after(left, 1);
	}
	wire_fini(&bytes);
	fake_be_silent(f, 60000);
}

START_TEST(a_broker_that_only_drips_is_given_up_too)
{
	begin(WORLD_BOTH, drip, NULL);
	w.config.handshake_timeout_ms = 300;
	world_start(&w);
	must_reach(&w.stage, has_tried_twice, &w, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_TIMEOUT);
	end();
}
END_TEST

static void be_silent_when_ready(struct fake *f, void *arg)
{
	static struct fake_frame frame;

	(void)arg;
	f->heartbeat_s = 1;
	if (!fake_polite(f, FAKE_READY))
		return;
	/* Reads, and says nothing. Counts the client's heartbeats. */
	while (fake_read_frame(f, &frame))
		if (frame.type == FAKE_HEARTBEAT)
			atomic_fetch_add(&count, 1);
	fake_be_silent(f, 60000);
}

START_TEST(a_broker_without_a_heartbeat_is_given_up_after_two)
{
	begin(WORLD_PUBLISHES_ONLY, be_silent_when_ready, NULL);
	w.config.retry_first_ms = w.config.retry_longest_ms = 60000;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	uint64_t begun_us = clock_mono_us();

	must_reach(&w.stage, is_waiting, &w, SOON_MS);
	uint64_t waited_us = clock_mono_us() - begun_us;

	ck_assert_uint_ge(waited_us, 1900000);
	ck_assert_uint_le(waited_us, 3500000);
	ck_assert_int_eq(w.con.fault.err, ERR_TIMEOUT);
	/* One in each interval in which we had nothing else to say. */
	unsigned beats = atomic_load(&count);

	ck_assert_uint_ge(beats, 2);
	ck_assert_uint_le(beats, 4);
	end();
}
END_TEST

static void beat_only(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	f->heartbeat_s = 1;
	if (!fake_polite(f, FAKE_READY))
		return;
	wire_init(&bytes);
	wire_put_heartbeat(&bytes);
	while (!f->is_broken && !atomic_load(&is_over)) {
		(void)fake_send(f, wire_span(&bytes).at, wire_span(&bytes).len);
		fake_be_silent(f, 900);
	}
	wire_fini(&bytes);
}

START_TEST(a_broker_that_only_beats_is_alive)
{
	begin(WORLD_PUBLISHES_ONLY, beat_only, NULL);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	stage_pass(&w.stage, 3500);
	ck_assert(connection_is_ready(&w.con));
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

/* Reads nothing until the gate is open, then serves. */
static void read_late(struct fake *f, void *arg)
{
	int room = 256 * 1024;

	(void)arg;
	(void)setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (!fake_polite(f, FAKE_READY))
		return;
	wait_for_gate(f, 1);
	(void)fake_serve(f);
}

START_TEST(a_broker_that_does_not_read_costs_a_bounded_number_of_bytes)
{
	static char body[MESSAGE_BODY_MAX_BYTES];
	static const char id[] = "01890a5d-ac96-774b-bcce-b302099a8057";
	struct message m = {
		.type = span_of("order.place"),
		.user_id = span_of("web.web1.g1"),
		.body = { body, sizeof(body) },
	};
	unsigned put = 0;
	enum err err = ERR_OK;

	ck_assert_int_eq(id_parse(span_of(id), &m.id), ERR_OK);
	memset(body, 'b', sizeof(body));
	begin(WORLD_PUBLISHES_ONLY, read_late, NULL);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	while (put < WORLD_PUBLISHES && err == ERR_OK) {
		err = publisher_put(&w.pub, &m, &w.publishes[put]);
		put += err == ERR_OK;
		stage_pass(&w.stage, 1);
		ck_assert_uint_le(w.con.out.len, MIB(1) + 2 * sizeof(body));
	}
	/* Neither window nor network take more; nothing is lost for that. */
	ck_assert_int_eq(publisher_put(&w.pub, &m, &w.publishes[0]), ERR_FULL);
	ck_assert(connection_is_ready(&w.con));
	atomic_store(&gate, 1);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], put);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	/* The memory is given back. */
	ck_assert_uint_le(w.con.out.room, KIB(64));
	end();
}
END_TEST

/* ---- blocked ---- */

static void block_and_unblock(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_READY))
		return;
	wait_for_gate(f, 1);
	wire_init(&bytes);
	wire_put_blocked(&bytes, "low on \"memory\"");
	wire_put_blocked(&bytes, "low on disk"); /* RabbitMQ does not say it twice */
	say(f, &bytes);
	wait_for_gate(f, 2);
	wire_init(&bytes);
	wire_put_plain(&bytes, 0, WIRE_UNBLOCKED);
	wire_put_plain(&bytes, 0, WIRE_UNBLOCKED);
	say(f, &bytes);
	(void)fake_serve(f);
}

static bool is_blocked(void *arg)
{
	return ((struct world *)arg)->con.state == CONNECTION_BLOCKED;
}

START_TEST(a_broker_may_block_and_unblock_who_publishes)
{
	begin(WORLD_PUBLISHES_ONLY, block_and_unblock, NULL);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	atomic_store(&gate, 1);
	must_reach(&w.stage, is_blocked, &w, SOON_MS);
	ck_assert(!connection_is_ready(&w.con));
	ck_assert_uint_eq(w.con.counters.blocked, 1);
	ck_assert_str_eq(w.con.fault.text, "low on \\\"memory\\\"");
	atomic_store(&gate, 2);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

/* Blocks before the channel is open; closes the channel later and leaves it waiting. */
static void block_early(struct fake *f, void *arg)
{
	static struct fake_frame frame;
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_OPEN))
		return;
	wire_init(&bytes);
	wire_put_blocked(&bytes, "low on memory");
	wire_put_plain(&bytes, 1, WIRE_CHANNEL_OPEN_OK);
	say(f, &bytes);
	if (!fake_expect_method(f, &frame, 85, 10))
		return;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONFIRM_SELECT_OK);
	wire_put_plain(&bytes, 0, WIRE_UNBLOCKED);
	say(f, &bytes);
	wait_for_gate(f, 1);
	wire_init(&bytes);
	wire_put_channel_close(&bytes, 1, 404, "NOT_FOUND");
	say(f, &bytes);
	fake_be_silent(f, 60000);
}

START_TEST(the_time_for_the_handshake_ends_with_the_handshake)
{
	begin(WORLD_PUBLISHES_ONLY, block_early, NULL);
	w.config.handshake_timeout_ms = 400;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.blocked, 1);
	/* A channel that is lost now has its own time to come back, not what was left. */
	atomic_store(&gate, 1);
	stage_pass(&w.stage, 600);
	ck_assert_int_eq(w.con.state, CONNECTION_CHANNELS);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

/* ---- one channel of two ---- */

static bool is_in_channels(void *arg)
{
	return ((struct world *)arg)->con.state == CONNECTION_CHANNELS;
}

/* Serves until the consumer is up, then closes its channel once. */
static void serve_and_close_one(struct fake *f, void *arg)
{
	static struct fake_frame frame;
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_CHANNEL_OPEN))
		return;
	/* channel 1 is open, channel.open of 2 was read. */
	wire_init(&bytes);
	wire_put_plain(&bytes, 2, WIRE_CHANNEL_OPEN_OK);
	say(f, &bytes);
	if (!fake_expect_method(f, &frame, 85, 10) || !fake_expect_method(f, &frame, 60, 10) ||
		!fake_expect_method(f, &frame, 60, 20))
		return;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONFIRM_SELECT_OK);
	wire_put_plain(&bytes, 2, WIRE_QOS_OK);
	wire_put_plain(&bytes, 2, WIRE_CONSUME_OK);
	say(f, &bytes);
	wait_for_gate(f, 1);
	wire_init(&bytes);
	wire_put_channel_close(&bytes, 2, 404, "NOT_FOUND - no queue");
	say(f, &bytes);
	if (!fake_expect_method(f, &frame, 20, 41) || !fake_expect_method(f, &frame, 60, 40))
		return;
	wire_init(&bytes);
	wire_put_confirm(&bytes, 1, WIRE_ACK, 1, false);
	say(f, &bytes);
	f->stage = FAKE_READY;
	(void)fake_serve(f);
}

START_TEST(a_channel_that_is_closed_comes_back_and_the_other_goes_on)
{
	begin(WORLD_BOTH, serve_and_close_one, NULL);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	atomic_store(&gate, 1);
	must_reach(&w.stage, is_in_channels, &w, SOON_MS);
	ck_assert(publisher_is_ready(&w.pub));
	ck_assert_uint_eq(w.sub.channel.fault.code, 404);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 1);
	ck_assert_uint_eq(w.con.counters.opened, 1);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end();
}
END_TEST

/* ---- hostile ---- */

/* Where an attack begins: at each stage of the handshake, then on a publisher's channel that
 * serves, then on a consumer's. */
enum { ON_PUBLISHER = FAKE_READY, ON_CONSUMER = FAKE_STAGES, ATTACK_PLACES };

struct assault {
	const struct fake_attack *attack;
	int place;
};

static bool begin_attack(struct fake *f, int place)
{
	static struct fake_frame frame;
	struct wire bytes;

	if (place != ON_CONSUMER)
		return fake_polite(f, (enum fake_stage)place);
	if (!fake_polite(f, FAKE_READY) || !fake_expect_method(f, &frame, 60, 20))
		return false;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONSUME_OK);
	say(f, &bytes);
	return true;
}

static void attack(struct fake *f, void *arg)
{
	const struct assault *a = arg;
	struct buf bytes;

	if (f->index > 0) {
		fake_be_silent(f, 60000);
		return;
	}
	if (!begin_attack(f, a->place))
		return;
	buf_init(&bytes, 4 * FAKE_PAYLOAD_MAX);
	a->attack->put(&bytes);
	/* The client may be gone before it is all said. */
	(void)fake_send_buf(f, &bytes);
	buf_fini(&bytes);
	f->is_broken = false;
	if (!a->attack->must_end || fake_expect_end(f, SOON_MS))
		atomic_store(&gate, 1);
	fake_be_silent(f, 60000);
}

START_TEST(no_attack_of_a_broker_does_harm)
{
	struct assault a = {
		.attack = &fake_attacks[_i / ATTACK_PLACES],
		.place = _i % ATTACK_PLACES,
	};

	if (a.attack->put == NULL)
		return;
	begin(a.place == ON_CONSUMER ? WORLD_CONSUMES_ONLY : WORLD_PUBLISHES_ONLY, attack, &a);
	w.config.handshake_timeout_ms = 60000; /* it must be seen, not waited for */
	w.config.retry_first_ms = w.config.retry_longest_ms = 60000;
	world_start(&w);
	ck_assert_msg(stage_reach(&w.stage, gate_is_open, NULL, SOON_MS),
		"%s at %d in state %s", a.attack->name, a.place, connection_state_name(&w.con));
	stage_pass(&w.stage, 2);
	if (a.attack->must_end) {
		ck_assert_msg(w.con.counters.failed == 1, "%s at %d", a.attack->name, a.place);
		ck_assert(w.con.fault.err != ERR_OK && w.con.fault.err != ERR_TIMEOUT);
	} else if (a.place == ON_CONSUMER) {
		/* One bad message is no reason to lose the connection. */
		ck_assert_msg(connection_is_ready(&w.con), "%s", a.attack->name);
		ck_assert_uint_eq(w.con.counters.failed, 0);
	}
	end();
}
END_TEST

static void say_open_ok_twice(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_TUNED))
		return;
	wire_init(&bytes);
	wire_put_plain(&bytes, 0, WIRE_OPEN_OK);
	wire_put_plain(&bytes, 0, WIRE_OPEN_OK);
	say(f, &bytes);
	if (fake_expect_end(f, SOON_MS))
		atomic_store(&gate, 1);
	fake_be_silent(f, 60000);
}

START_TEST(an_answer_that_comes_twice_breaks_the_protocol)
{
	begin(WORLD_BOTH, say_open_ok_twice, NULL);
	world_start(&w);
	must_reach(&w.stage, gate_is_open, NULL, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_PROTOCOL);
	ck_assert_ptr_nonnull(strstr(w.con.fault.text, "unexpected"));
	end();
}
END_TEST

static void tune_without_start(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_GREETED))
		return;
	wire_init(&bytes);
	wire_put_tune(&bytes, 16, 8192, 10);
	say(f, &bytes);
	if (fake_expect_end(f, SOON_MS))
		atomic_store(&gate, 1);
	fake_be_silent(f, 60000);
}

START_TEST(tuning_before_the_start_breaks_the_protocol)
{
	begin(WORLD_BOTH, tune_without_start, NULL);
	world_start(&w);
	must_reach(&w.stage, gate_is_open, NULL, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_PROTOCOL);
	end();
}
END_TEST

/* ---- again and again ---- */

static size_t allocated_bytes(void)
{
#ifdef HAS_ASAN
	return __sanitizer_get_current_allocated_bytes();
#else
	return mallinfo2().uordblks;
#endif
}

static unsigned tries_wanted;

static bool has_tried(void *arg)
{
	return ((struct world *)arg)->con.counters.failed >= tries_wanted;
}

START_TEST(a_thousand_lost_connections_cost_nothing)
{
	begin(WORLD_BOTH, hang_up, NULL);
	w.config.retry_longest_ms = 1;
	world_start(&w);
	tries_wanted = 100;
	must_reach(&w.stage, has_tried, &w, SOON_MS);
	size_t bytes = allocated_bytes();
	unsigned fds = open_fds();

	tries_wanted = 1100;
	must_reach(&w.stage, has_tried, &w, 40000);
	/* One connection more or less may be open just now. */
	ck_assert_uint_le(allocated_bytes(), bytes + KIB(128));
	ck_assert_uint_le(open_fds(), fds + 4);
	end();
}
END_TEST

START_TEST(a_broker_that_is_not_there_is_asked_less_and_less_often)
{
	world_init(&w, WORLD_BOTH);
	must_fakebroker_start(&fake, hang_up, NULL, NULL, NULL, NULL);
	world_add_broker(&w, "127.0.0.1", fake.port);
	must_fakebroker_stop(&fake);
	w.config.retry_first_ms = 1;
	w.config.retry_longest_ms = 50;
	world_start(&w);
	tries_wanted = 20;
	must_reach(&w.stage, has_tried, &w, SOON_MS);
	ck_assert_uint_eq(w.con.backoff.ceiling_ms, 50);
	ck_assert_int_eq(w.con.fault.err, ERR_LINK);
	world_fini(&w);
}
END_TEST

static unsigned attack_count(void)
{
	unsigned n = 0;

	while (fake_attacks[n].name != NULL)
		n++;
	return n;
}

int main(void)
{
	Suite *s = suite_create("connection");
	TCase *up = tcase_create("coming up");
	TCase *closed = tcase_create("closed by the broker");
	TCase *stopping = tcase_create("stopping");
	TCase *silence = tcase_create("silence");
	TCase *channels = tcase_create("channels");
	TCase *hostile = tcase_create("hostile");
	TCase *again = tcase_create("again and again");
	TCase *all[] = { up, closed, stopping, silence, channels, hostile, again };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], set_up, NULL);
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
	tcase_add_loop_test(closed,
		a_close_by_the_broker_is_answered_and_remembered_with_code_and_text, 0,
		ARRAY_COUNT(closings));
	tcase_add_test(closed, a_connection_that_was_lost_comes_back_by_itself);
	tcase_add_test(closed, a_broker_may_vanish_after_every_byte);
	tcase_add_test(closed, a_broker_may_reset_the_connection_at_any_time);
	tcase_add_loop_test(
		stopping, stopping_ends_in_every_state_and_says_so_once, 0, ARRAY_COUNT(held));
	tcase_add_test(stopping, a_connection_may_be_started_again_after_its_stop);
	tcase_add_test(stopping, what_is_in_flight_at_a_stop_is_done_with_unknown_fate);
	tcase_add_test(stopping, the_owner_may_stop_when_the_last_publish_is_lost);
	tcase_add_test(stopping, the_owner_may_stop_when_the_last_publish_is_confirmed);
	tcase_add_test(stopping, deliveries_come_and_are_acknowledged);
	tcase_add_loop_test(stopping, a_header_that_grew_on_its_way_is_taken, 0, 3);
	tcase_add_test(stopping, the_owner_may_stop_from_within_a_delivery);
	tcase_add_loop_test(silence,
		a_broker_that_falls_silent_during_the_handshake_is_given_up, 0,
		ARRAY_COUNT(silent_from));
	tcase_add_test(silence, a_broker_that_only_drips_is_given_up_too);
	tcase_add_test(silence, a_broker_without_a_heartbeat_is_given_up_after_two);
	tcase_add_test(silence, a_broker_that_only_beats_is_alive);
	tcase_add_test(silence, a_broker_that_does_not_read_costs_a_bounded_number_of_bytes);
	tcase_add_test(channels, a_broker_may_block_and_unblock_who_publishes);
	tcase_add_test(channels, the_time_for_the_handshake_ends_with_the_handshake);
	tcase_add_test(channels, a_channel_that_is_closed_comes_back_and_the_other_goes_on);
	tcase_add_loop_test(hostile, no_attack_of_a_broker_does_harm, 0,
		(int)attack_count() * ATTACK_PLACES);
	tcase_add_test(hostile, an_answer_that_comes_twice_breaks_the_protocol);
	tcase_add_test(hostile, tuning_before_the_start_breaks_the_protocol);
	tcase_add_test(again, a_thousand_lost_connections_cost_nothing);
	tcase_add_test(again, a_broker_that_is_not_there_is_asked_less_and_less_often);
	return unit_run(s);
}
