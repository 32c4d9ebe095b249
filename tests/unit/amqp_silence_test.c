/* Brokers that say nothing, read nothing, block, or give up one channel: amqp/connection.h. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "amqp_play.h"
#include "amqp_rig.h"
#include "base/clock.h"
#include "unit.h"

/* ---- silence ---- */

static const enum fake_stage silent_from[] = { FAKE_ACCEPTED, FAKE_GREETED, FAKE_STARTED,
	FAKE_TUNED, FAKE_OPEN, FAKE_CHANNEL_OPEN };

START_TEST(a_broker_that_falls_silent_during_the_handshake_is_given_up)
{
	play(WORLD_BOTH, &(struct part){ .stage = silent_from[_i] });
	tries_wanted = 2;
	w.config.handshake_timeout_ms = 100;
	uint64_t begun_us = clock_mono_us();

	world_start(&w);
	must_reach(&w.stage, has_tried, &w, SOON_MS);
	ck_assert_uint_ge(clock_mono_us() - begun_us, 200000);
	ck_assert_int_eq(w.con.fault.err, ERR_TIMEOUT);
	play_end();
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
	play_rest(f);
}

START_TEST(a_broker_that_only_drips_is_given_up_too)
{
	play_script(WORLD_BOTH, drip, NULL);
	tries_wanted = 2;
	w.config.handshake_timeout_ms = 300;
	world_start(&w);
	must_reach(&w.stage, has_tried, &w, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_TIMEOUT);
	play_end();
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
	play_rest(f);
}

START_TEST(a_broker_without_a_heartbeat_is_given_up_after_two)
{
	play_script(WORLD_PUBLISHES_ONLY, be_silent_when_ready, NULL);
	w.config.retry_first_ms = w.config.retry_longest_ms = FOR_EVER_MS;
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
	play_end();
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
	while (!f->is_broken && !play_is_over()) {
		(void)fake_send(f, wire_span(&bytes).at, wire_span(&bytes).len);
		fake_be_silent(f, 900);
	}
	wire_fini(&bytes);
}

START_TEST(a_broker_that_only_beats_is_alive)
{
	play_script(WORLD_PUBLISHES_ONLY, beat_only, NULL);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	stage_pass(&w.stage, 3500);
	ck_assert(connection_is_ready(&w.con));
	ck_assert_uint_eq(w.con.counters.failed, 0);
	play_end();
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
	play_wait(f, 1);
	(void)fake_serve(f);
}

START_TEST(a_broker_that_does_not_read_costs_a_bounded_number_of_bytes)
{
	static char body[MESSAGE_BODY_MAX_BYTES];
	struct message m = {
		.type = span_of("order.place"),
		.user_id = span_of("web.web1.g1"),
		.body = { body, sizeof(body) },
	};
	unsigned put = 0;
	enum err err = ERR_OK;

	ck_assert_int_eq(id_parse(span_of(rig_id), &m.id), ERR_OK);
	memset(body, 'b', sizeof(body));
	play_script(WORLD_PUBLISHES_ONLY, read_late, NULL);
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
	play_end();
}
END_TEST

/* ---- blocked ---- */

static void block_and_unblock(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_READY))
		return;
	play_wait(f, 1);
	wire_init(&bytes);
	wire_put_blocked(&bytes, "low on \"memory\"");
	wire_put_blocked(&bytes, "low on disk"); /* RabbitMQ does not say it twice */
	play_say(f, &bytes);
	play_wait(f, 2);
	wire_init(&bytes);
	wire_put_plain(&bytes, 0, WIRE_UNBLOCKED);
	wire_put_plain(&bytes, 0, WIRE_UNBLOCKED);
	play_say(f, &bytes);
	(void)fake_serve(f);
}

static bool is_blocked(void *arg)
{
	return ((struct world *)arg)->con.state == CONNECTION_BLOCKED;
}

START_TEST(a_broker_may_block_and_unblock_who_publishes)
{
	play_script(WORLD_PUBLISHES_ONLY, block_and_unblock, NULL);
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
	play_end();
}
END_TEST

static bool has_lost(void *arg)
{
	return ((struct world *)arg)->con.counters.failed > 0;
}

START_TEST(the_time_for_a_confirm_stands_still_while_the_broker_blocks)
{
	play_script(WORLD_PUBLISHES_ONLY, block_and_unblock, NULL);
	w.pub.config.confirm_timeout_ms = 1500; /* looked at each second */
	w.config.retry_first_ms = w.config.retry_longest_ms = FOR_EVER_MS;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	atomic_store(&gate, 1);
	must_reach(&w.stage, is_blocked, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK); /* as one that crossed the broker's word */
	stage_pass(&w.stage, 3200);
	ck_assert_int_eq(w.con.state, CONNECTION_BLOCKED);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	atomic_store(&gate, 2); /* from here on it serves */
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 1);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	play_end();
}
END_TEST

/* Blocks, unblocks when it may, and confirms nothing ever. */
static void block_and_never_confirm(struct fake *f, void *arg)
{
	struct wire bytes;

	(void)arg;
	if (!fake_polite(f, FAKE_READY))
		return;
	wire_init(&bytes);
	wire_put_blocked(&bytes, "low on memory");
	play_say(f, &bytes);
	play_wait(f, 1);
	wire_init(&bytes);
	wire_put_plain(&bytes, 0, WIRE_UNBLOCKED);
	play_say(f, &bytes);
	play_rest(f);
}

START_TEST(the_time_for_a_confirm_begins_anew_when_the_broker_reads_again)
{
	play_script(WORLD_PUBLISHES_ONLY, block_and_never_confirm, NULL);
	w.pub.config.confirm_timeout_ms = 1500;
	w.config.retry_first_ms = w.config.retry_longest_ms = FOR_EVER_MS;
	world_start(&w);
	must_reach(&w.stage, is_blocked, &w, SOON_MS);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	stage_pass(&w.stage, 1700);
	atomic_store(&gate, 1);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	uint64_t begun_us = clock_mono_us();

	must_reach(&w.stage, has_lost, &w, SOON_MS);
	ck_assert_uint_ge(clock_mono_us() - begun_us, 1400000);
	ck_assert_int_eq(w.con.fault.err, ERR_TIMEOUT);
	ck_assert_uint_eq(w.done_by[ERR_LINK], 1);
	play_end();
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
	play_say(f, &bytes);
	if (!fake_expect_method(f, &frame, 85, 10))
		return;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONFIRM_SELECT_OK);
	wire_put_plain(&bytes, 0, WIRE_UNBLOCKED);
	play_say(f, &bytes);
	play_wait(f, 1);
	wire_init(&bytes);
	wire_put_channel_close(&bytes, 1, 404, "NOT_FOUND");
	play_say(f, &bytes);
	play_rest(f);
}

START_TEST(the_time_for_the_handshake_ends_with_the_handshake)
{
	play_script(WORLD_PUBLISHES_ONLY, block_early, NULL);
	w.config.handshake_timeout_ms = 400;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.blocked, 1);
	/* A channel that is lost now has its own time to come back, not what was left. */
	atomic_store(&gate, 1);
	stage_pass(&w.stage, 600);
	ck_assert_int_eq(w.con.state, CONNECTION_CHANNELS);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	play_end();
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
	play_say(f, &bytes);
	if (!fake_expect_method(f, &frame, 85, 10) || !fake_expect_method(f, &frame, 60, 10) ||
		!fake_expect_method(f, &frame, 60, 20))
		return;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONFIRM_SELECT_OK);
	wire_put_plain(&bytes, 2, WIRE_QOS_OK);
	wire_put_plain(&bytes, 2, WIRE_CONSUME_OK);
	play_say(f, &bytes);
	play_wait(f, 1);
	wire_init(&bytes);
	wire_put_channel_close(&bytes, 2, 404, "NOT_FOUND - no queue");
	play_say(f, &bytes);
	if (!fake_expect_method(f, &frame, 20, 41) || !fake_expect_method(f, &frame, 60, 40))
		return;
	wire_init(&bytes);
	wire_put_confirm(&bytes, 1, WIRE_ACK, 1, false);
	play_say(f, &bytes);
	f->stage = FAKE_READY;
	(void)fake_serve(f);
}

START_TEST(a_channel_that_is_closed_comes_back_and_the_other_goes_on)
{
	play_script(WORLD_BOTH, serve_and_close_one, NULL);
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
	play_end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("silence");
	TCase *silence = tcase_create("silence");
	TCase *blocked = tcase_create("blocked");
	TCase *channels = tcase_create("channels");
	TCase *all[] = { silence, blocked, channels };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], play_set_up, NULL);
		tcase_set_timeout(all[i], 60);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_loop_test(silence,
		a_broker_that_falls_silent_during_the_handshake_is_given_up, 0,
		ARRAY_COUNT(silent_from));
	tcase_add_test(silence, a_broker_that_only_drips_is_given_up_too);
	tcase_add_test(silence, a_broker_without_a_heartbeat_is_given_up_after_two);
	tcase_add_test(silence, a_broker_that_only_beats_is_alive);
	tcase_add_test(silence, a_broker_that_does_not_read_costs_a_bounded_number_of_bytes);
	tcase_add_test(blocked, a_broker_may_block_and_unblock_who_publishes);
	tcase_add_test(blocked, the_time_for_a_confirm_stands_still_while_the_broker_blocks);
	tcase_add_test(blocked, the_time_for_a_confirm_begins_anew_when_the_broker_reads_again);
	tcase_add_test(blocked, the_time_for_the_handshake_ends_with_the_handshake);
	tcase_add_test(channels, a_channel_that_is_closed_comes_back_and_the_other_goes_on);
	return unit_run(s);
}
