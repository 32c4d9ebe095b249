/* Publishes and their confirms, driven frame by frame: amqp/publisher.h. */
#include <string.h>

#include "amqp/publisher.h"
#include "amqp_rig.h"
#include "amqp_wire.h"
#include "base/log.h"
#include "unit.h"

enum { WINDOW = 8, OPS = 64, NOT_DONE = -1 };

static struct rig rig;
static struct publisher pub;
static struct publish reqs[OPS];
static struct id ids[OPS];
static int done[OPS];       /* status, or NOT_DONE */
static unsigned times[OPS]; /* on_done fired */
static unsigned order[4 * OPS];
static unsigned order_count;
static unsigned rooms; /* on_room fired */
static void (*within_done)(unsigned i, enum err status);

static unsigned index_of(const struct publish *p)
{
	return (unsigned)(p - reqs);
}

static void on_done(struct publish *p, enum err status)
{
	unsigned i = index_of(p);

	done[i] = (int)status;
	times[i]++;
	order[order_count++] = i;
	if (within_done != NULL)
		within_done(i, status);
}

static void on_room(void *arg)
{
	ck_assert_ptr_eq(arg, &pub);
	rooms++;
}

static void on_refused(void *arg)
{
	++*(unsigned *)arg;
}

static struct publisher_config config(unsigned window)
{
	return (struct publisher_config){
		.name = "send",
		.exchange = "x.forapp",
		.routing_key = "send",
		.window = window,
		.confirm_timeout_ms = 30000,
		.backlog_max_bytes = 64 * 1024,
	};
}

static void begin(const struct publisher_config *c)
{
	log_open("test", LOG_ERROR);
	rig_init(&rig);
	ck_assert_int_eq(publisher_init(&pub, &rig.stage.loop, c), ERR_OK);
	pub.on_room = on_room;
	pub.on_room_arg = &pub;
	rig_hold(&rig, &pub.channel);
	for (unsigned i = 0; i < OPS; i++) {
		reqs[i] = (struct publish){ .on_done = on_done };
		done[i] = NOT_DONE;
		times[i] = 0;
		id_make(&ids[i], i);
	}
	order_count = 0;
	rooms = 0;
	within_done = NULL;
}

static void set_up(void)
{
	struct publisher_config c = config(WINDOW);

	begin(&c);
}

static void tear_down(void)
{
	channel_down(&pub.channel, ERR_CANCEL);
	publisher_fini(&pub);
	rig_fini(&rig);
}

static void must_be_ready(void)
{
	rig_up(&rig);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	must_hear_method(&rig, WIRE_CONFIRM_SELECT);
	ck_assert(!publisher_is_ready(&pub));
	wire_put_plain(&rig.wire, 1, WIRE_CONFIRM_SELECT_OK);
	must_say(&rig);
	ck_assert(publisher_is_ready(&pub));
}

static enum err put(unsigned i)
{
	struct message m = {
		.id = ids[i],
		.type = span_of("order.place"),
		.user_id = span_of("web.web1.g1"),
		.body = span_of("{}"),
	};

	return publisher_put(&pub, &m, &reqs[i]);
}

static void must_put(unsigned from, unsigned until)
{
	for (unsigned i = from; i < until; i++) {
		ck_assert_int_eq(put(i), ERR_OK);
		ck_assert_uint_eq(must_hear_publish(&rig), 2);
		ck_assert_int_eq(done[i], NOT_DONE); /* never from inside */
	}
}

static void must_confirm(enum wire_method ack_or_nack, uint64_t tag, bool multiple)
{
	wire_put_confirm(&rig.wire, 1, ack_or_nack, tag, multiple);
	must_say(&rig);
}

static void expect_done(unsigned i, int status)
{
	ck_assert_msg(done[i] == status, "publish %u: %d, not %d", i, done[i], status);
	ck_assert_uint_eq(times[i], status == NOT_DONE ? 0 : 1);
}

/* ---- confirms ---- */

START_TEST(each_publish_is_done_with_its_own_confirm)
{
	must_be_ready();
	must_put(0, 3);
	ck_assert_uint_eq(publisher_in_flight(&pub), 3);
	must_confirm(WIRE_ACK, 1, false);
	expect_done(0, ERR_OK);
	expect_done(1, NOT_DONE);
	must_confirm(WIRE_ACK, 2, false);
	must_confirm(WIRE_ACK, 3, false);
	expect_done(2, ERR_OK);
	ck_assert_uint_eq(publisher_in_flight(&pub), 0);
	ck_assert_uint_eq(pub.counters.published, 3);
	ck_assert_uint_eq(pub.counters.confirmed, 3);
	ck_assert(!pub.oldest.is_set);
}
END_TEST

START_TEST(one_confirm_may_be_for_many)
{
	must_be_ready();
	must_put(0, 6);
	must_confirm(WIRE_ACK, 4, true);
	for (unsigned i = 0; i < 4; i++)
		expect_done(i, ERR_OK);
	expect_done(4, NOT_DONE);
	ck_assert_uint_eq(publisher_in_flight(&pub), 2);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(order[i], i);
	must_confirm(WIRE_ACK, 0, true); /* all so far */
	expect_done(5, ERR_OK);
	ck_assert_uint_eq(publisher_in_flight(&pub), 0);
}
END_TEST

START_TEST(confirms_come_in_any_order)
{
	must_be_ready();
	must_put(0, 6);
	must_confirm(WIRE_ACK, 3, false);
	must_confirm(WIRE_NACK, 5, false);
	must_confirm(WIRE_ACK, 2, false);
	ck_assert_uint_eq(publisher_in_flight(&pub), 6); /* the oldest is still open */
	must_confirm(WIRE_ACK, 1, false);
	ck_assert_uint_eq(publisher_in_flight(&pub), 3); /* 4, 5 (settled), 6 */
	must_confirm(WIRE_ACK, 6, true); /* what is settled already is not settled again */
	for (unsigned i = 0; i < 6; i++)
		expect_done(i, i == 4 ? ERR_FULL : ERR_OK);
	ck_assert_uint_eq(publisher_in_flight(&pub), 0);
	ck_assert_uint_eq(pub.counters.confirmed, 5);
	ck_assert_uint_eq(pub.counters.nacked, 1);
}
END_TEST

START_TEST(a_nack_means_that_the_queue_is_full)
{
	must_be_ready();
	must_put(0, 4);
	must_confirm(WIRE_NACK, 3, true);
	for (unsigned i = 0; i < 3; i++)
		expect_done(i, ERR_FULL);
	must_confirm(WIRE_NACK, 4, false);
	expect_done(3, ERR_FULL);
	ck_assert_uint_eq(pub.counters.nacked, 4);
	ck_assert(channel_is_ready(&pub.channel));
}
END_TEST

START_TEST(a_confirm_that_came_before_is_harmless)
{
	must_be_ready();
	must_put(0, 3);
	must_confirm(WIRE_ACK, 2, true);
	must_confirm(WIRE_ACK, 2, true);
	must_confirm(WIRE_ACK, 1, false);
	must_confirm(WIRE_NACK, 1, true);
	expect_done(0, ERR_OK);
	expect_done(2, NOT_DONE);
	must_confirm(WIRE_ACK, 3, false);
	must_confirm(WIRE_ACK, 3, false);
	must_confirm(WIRE_ACK, 0, true);
	expect_done(2, ERR_OK);
}
END_TEST

START_TEST(a_confirm_of_what_was_never_published_breaks_the_protocol)
{
	static const struct {
		uint64_t tag;
		bool multiple;
	} wrong[] = {
		{ 0, false },
		{ 3, false },
		{ 3, true },
		{ UINT64_MAX, false },
		{ UINT64_MAX, true },
	};

	must_be_ready();
	must_put(0, 2);
	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		wire_put_confirm(&rig.wire, 1, WIRE_ACK, wrong[i].tag, wrong[i].multiple);
		must_say_wrong(&rig);
		wire_put_confirm(&rig.wire, 1, WIRE_NACK, wrong[i].tag, wrong[i].multiple);
		must_say_wrong(&rig);
	}
	expect_done(0, NOT_DONE);
	expect_done(1, NOT_DONE);
}
END_TEST

START_TEST(tags_go_around_the_window_many_times)
{
	must_be_ready();
	uint64_t tag = 0;

	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < WINDOW; i++) {
			done[i] = NOT_DONE;
			times[i] = 0;
		}
		order_count = 0;
		buf_clear(&rig.out); /* the network takes all */
		rig.read = 0;
		unsigned some = 1 + round % WINDOW;

		must_put(0, some);
		tag += some;
		must_confirm(WIRE_ACK, tag, round % 3 != 0);
		if (round % 3 == 0)
			must_confirm(WIRE_ACK, 0, true);
		for (unsigned i = 0; i < some; i++)
			expect_done(i, ERR_OK);
		ck_assert_uint_eq(publisher_in_flight(&pub), 0);
	}
	ck_assert_uint_eq(pub.counters.confirmed, tag);
}
END_TEST

/* ---- returns ---- */

static void put_return(unsigned i)
{
	wire_put_return(&rig.wire, 1, 312, "NO_ROUTE");
	wire_put_content(&rig.wire, 1, id_format(&ids[i]).at, span_of("{}"), 10);
}

START_TEST(what_no_queue_took_is_refused_and_not_confirmed)
{
	must_be_ready();
	must_put(0, 3);
	put_return(1);
	must_say(&rig);
	expect_done(1, NOT_DONE); /* its confirm follows */
	must_confirm(WIRE_ACK, 3, true);
	expect_done(0, ERR_OK);
	expect_done(1, ERR_REFUSED);
	expect_done(2, ERR_OK);
	ck_assert_uint_eq(pub.counters.returned, 1);
	ck_assert_uint_eq(pub.counters.confirmed, 2);
	ck_assert_uint_eq(pub.channel.fault.code, 312);
}
END_TEST

START_TEST(a_return_of_something_unknown_changes_nothing)
{
	must_be_ready();
	must_put(0, 1);
	wire_put_return(&rig.wire, 1, 312, "NO_ROUTE");
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 10);
	must_say(&rig);
	must_confirm(WIRE_ACK, 1, false);
	expect_done(0, ERR_OK);
}
END_TEST

START_TEST(a_request_used_again_does_not_remember_its_return)
{
	must_be_ready();
	must_put(0, 1);
	put_return(0);
	must_say(&rig);
	must_confirm(WIRE_ACK, 1, false);
	expect_done(0, ERR_REFUSED);
	done[0] = NOT_DONE;
	times[0] = 0;
	must_put(0, 1);
	must_confirm(WIRE_ACK, 2, false);
	expect_done(0, ERR_OK);
}
END_TEST

START_TEST(what_comes_back_must_be_what_we_sent)
{
	must_be_ready();
	must_put(0, 1);
	wire_put_return(&rig.wire, 1, 312, "NO_ROUTE"); /* without an id */
	wire_header_begin(&rig.wire, 1, 0, 0);
	wire_frame_end(&rig.wire);
	must_say_wrong(&rig);
}
END_TEST

START_TEST(a_publisher_is_sent_nothing_else)
{
	static const enum wire_method methods[] = { WIRE_QOS_OK, WIRE_CONSUME_OK, WIRE_CANCEL,
		WIRE_CANCEL_OK, WIRE_CONFIRM_SELECT_OK, WIRE_CHANNEL_OPEN_OK };

	must_be_ready();
	for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
		wire_put_plain(&rig.wire, 1, methods[i]);
		must_say_wrong(&rig);
	}
	wire_put_deliver(&rig.wire, 1, 1, false);
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 10);
	must_say_wrong(&rig);
}
END_TEST

/* ---- limits ---- */

START_TEST(a_full_window_refuses_and_has_room_again)
{
	must_be_ready();
	must_put(0, WINDOW);
	ck_assert_int_eq(put(WINDOW), ERR_FULL);
	must_hear_nothing(&rig);
	expect_done(WINDOW, NOT_DONE);
	unsigned before = rooms;

	must_confirm(WIRE_ACK, 2, false); /* the oldest is still there: the ring is full */
	ck_assert_int_eq(put(WINDOW), ERR_FULL);
	must_confirm(WIRE_ACK, 1, false);
	ck_assert_uint_gt(rooms, before);
	must_put(WINDOW, WINDOW + 2);
	ck_assert_int_eq(put(WINDOW + 2), ERR_FULL);
	ck_assert_uint_eq(pub.counters.published, WINDOW + 2);
}
END_TEST

START_TEST(bytes_that_the_network_does_not_take_are_refused)
{
	must_be_ready();
	pub.config.backlog_max_bytes = 100;
	while (rig.out.len <= 100)
		must_put(0, 1);
	ck_assert_int_eq(put(1), ERR_FULL);
	buf_clear(&rig.out); /* the network took them */
	rig.read = 0;
	must_put(1, 2);
}
END_TEST

START_TEST(nothing_is_put_before_the_channel_is_ready)
{
	ck_assert_int_eq(put(0), ERR_LINK);
	rig_up(&rig);
	ck_assert_int_eq(put(0), ERR_LINK);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	ck_assert_int_eq(put(0), ERR_LINK);
	ck_assert_uint_eq(rooms, 0);
	wire_put_plain(&rig.wire, 1, WIRE_CONFIRM_SELECT_OK);
	must_say(&rig);
	ck_assert_uint_eq(rooms, 1);
	ck_assert_int_eq(put(0), ERR_OK);
	expect_done(0, NOT_DONE);
}
END_TEST

START_TEST(a_confirm_before_select_ok_breaks_the_protocol)
{
	rig_up(&rig);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	wire_put_confirm(&rig.wire, 1, WIRE_ACK, 0, true);
	must_say_wrong(&rig);
}
END_TEST

/* ---- losses ---- */

START_TEST(what_is_in_flight_when_the_broker_closes_the_channel_is_done_once_with_unknown_fate)
{
	unsigned refused = 0;

	pub.on_refused = on_refused;
	pub.on_refused_arg = &refused;
	must_be_ready();
	must_put(0, 5);
	must_confirm(WIRE_ACK, 2, false);
	wire_put_channel_close(&rig.wire, 1, 404, "NOT_FOUND - no exchange");
	must_say(&rig);
	ck_assert_uint_eq(refused, 1);
	for (unsigned i = 0; i < 5; i++)
		expect_done(i, i == 1 ? ERR_OK : ERR_LINK);
	ck_assert_uint_eq(pub.counters.unknown, 4);
	ck_assert_uint_eq(publisher_in_flight(&pub), 0);
	ck_assert_int_eq(put(6), ERR_LINK);
	ck_assert(!pub.oldest.is_set);
}
END_TEST

START_TEST(tags_begin_at_one_again_on_the_channel_that_comes_back)
{
	must_be_ready();
	must_put(0, 5);
	channel_down(&pub.channel, ERR_LINK);
	expect_done(4, ERR_LINK);
	must_be_ready();
	must_put(10, 12);
	must_confirm(WIRE_ACK, 1, false);
	expect_done(10, ERR_OK);
	wire_put_confirm(&rig.wire, 1, WIRE_ACK, 5, false); /* of the channel before */
	must_say_wrong(&rig);
	expect_done(11, NOT_DONE);
}
END_TEST

static void publish_again(unsigned i, enum err status)
{
	(void)status;
	if (i < 2 * WINDOW)
		ck_assert_int_eq(put(i + 2 * WINDOW), ERR_OK);
}

START_TEST(publishing_again_from_within_on_done_is_fine)
{
	must_be_ready();
	must_put(0, WINDOW);
	within_done = publish_again;
	must_confirm(WIRE_ACK, WINDOW, true);
	/* As many new ones, and not one of them was confirmed by the old confirm. */
	for (unsigned i = 0; i < WINDOW; i++) {
		expect_done(i, ERR_OK);
		expect_done(i + 2 * WINDOW, NOT_DONE);
		must_hear_publish(&rig);
	}
	ck_assert_uint_eq(publisher_in_flight(&pub), WINDOW);
	ck_assert(pub.oldest.is_set);
	must_confirm(WIRE_ACK, 2 * WINDOW, true);
	for (unsigned i = 0; i < WINDOW; i++)
		expect_done(i + 2 * WINDOW, ERR_OK);
	must_hear_nothing(&rig);
}
END_TEST

START_TEST(publishing_again_single_from_within_on_done_is_fine)
{
	must_be_ready();
	must_put(0, 1);
	within_done = publish_again;
	must_confirm(WIRE_ACK, 1, false);
	expect_done(0, ERR_OK);
	expect_done(2 * WINDOW, NOT_DONE);
	ck_assert(pub.oldest.is_set); /* somebody still looks after the new one */
	must_confirm(WIRE_ACK, 2, false);
	expect_done(2 * WINDOW, ERR_OK);
}
END_TEST

static void publish_into_the_void(unsigned i, enum err status)
{
	ck_assert_int_eq(status, ERR_LINK);
	ck_assert_int_eq(put(i + 2 * WINDOW), ERR_LINK);
}

START_TEST(publishing_from_within_on_done_of_a_loss_is_refused)
{
	unsigned refused = 0;

	pub.on_refused = on_refused;
	pub.on_refused_arg = &refused;
	must_be_ready();
	must_put(0, 4);
	within_done = publish_into_the_void;
	wire_put_channel_close(&rig.wire, 1, 406, "PRECONDITION_FAILED");
	must_say(&rig);
	ck_assert_uint_eq(refused, 0); /* one of them was wrong, the others are fine */
	for (unsigned i = 0; i < 4; i++) {
		expect_done(i, ERR_LINK);
		expect_done(i + 2 * WINDOW, NOT_DONE);
	}
}
END_TEST

static void restart_after_first(unsigned i, enum err status)
{
	(void)status;
	if (i == 0)
		channel_restart(&pub.channel, ERR_REFUSED, "enough");
}

START_TEST(losing_the_channel_from_within_on_done_settles_the_rest_once)
{
	must_be_ready();
	must_put(0, 5);
	within_done = restart_after_first;
	must_confirm(WIRE_ACK, 4, true);
	expect_done(0, ERR_OK);
	for (unsigned i = 1; i < 5; i++)
		expect_done(i, ERR_LINK);
	ck_assert_int_eq(pub.channel.state, CHANNEL_CLOSING);
}
END_TEST

/* ---- time ---- */

static bool is_broken(void *arg)
{
	(void)arg;
	return rig.breaks > 0;
}

START_TEST(a_publish_that_is_never_confirmed_breaks_the_connection)
{
	must_be_ready();
	pub.config.confirm_timeout_ms = 50;
	must_put(0, 2);
	must_confirm(WIRE_ACK, 1, false);
	ck_assert(pub.oldest.is_set);
	must_reach(&rig.stage, is_broken, NULL, 3000);
	ck_assert_int_eq(rig.broken, ERR_TIMEOUT);
	expect_done(1, NOT_DONE); /* the connection ends it */
	channel_down(&pub.channel, ERR_TIMEOUT);
	expect_done(1, ERR_LINK);
}
END_TEST

START_TEST(a_publish_that_is_young_is_waited_for)
{
	must_be_ready();
	must_put(0, 1);
	timer_after(&pub.oldest, 0);
	stage_pass(&rig.stage, 20);
	ck_assert_uint_eq(rig.breaks, 0);
	ck_assert(pub.oldest.is_set); /* and looked after again */
}
END_TEST

START_TEST(while_the_broker_blocks_no_confirm_is_late)
{
	must_be_ready();
	pub.config.confirm_timeout_ms = 50;
	must_put(0, 1);
	channel_block(&pub.channel);
	stage_pass(&rig.stage, 80);
	timer_after(&pub.oldest, 0);
	stage_pass(&rig.stage, 5);
	ck_assert_uint_eq(rig.breaks, 0);
	channel_unblock(&pub.channel);
	timer_after(&pub.oldest, 0);
	stage_pass(&rig.stage, 5);
	ck_assert_uint_eq(rig.breaks, 0); /* its time begins anew */
	must_reach(&rig.stage, is_broken, NULL, 3000);
	ck_assert_int_eq(rig.broken, ERR_TIMEOUT);
}
END_TEST

/* ---- without confirms ---- */

static void set_up_without_confirms(void)
{
	struct publisher_config c = config(0);

	begin(&c);
}

START_TEST(without_confirms_a_publish_is_done_when_it_is_sent)
{
	struct message m = { .id = ids[0], .type = span_of("quote.price") };

	rig_up(&rig);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	ck_assert(publisher_is_ready(&pub)); /* at once: no select */
	must_hear_nothing(&rig);
	ck_assert_uint_eq(rooms, 1);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(publisher_put(&pub, &m, NULL), ERR_OK);
		ck_assert_uint_eq(must_hear_publish(&rig), 0);
	}
	ck_assert_uint_eq(publisher_in_flight(&pub), 0);
	ck_assert_uint_eq(pub.counters.published, 100);
	ck_assert(!pub.oldest.is_set);
	wire_put_confirm(&rig.wire, 1, WIRE_ACK, 1, false);
	must_say_wrong(&rig);
	wire_put_return(&rig.wire, 1, 312, "NO_ROUTE"); /* not mandatory: nothing returns */
	wire_put_content(&rig.wire, 1, rig_id, span_of("{}"), 10);
	must_say_wrong(&rig);
}
END_TEST

START_TEST(only_what_is_confirmed_is_mandatory)
{
	struct message m = { .id = ids[0], .type = span_of("quote.price") };

	rig_up(&rig);
	must_hear_method(&rig, WIRE_CHANNEL_OPEN);
	wire_put_plain(&rig.wire, 1, WIRE_CHANNEL_OPEN_OK);
	must_say(&rig);
	ck_assert_int_eq(publisher_put(&pub, &m, NULL), ERR_OK);
	struct wire_frame f = must_hear_method(&rig, WIRE_PUBLISH);

	ck_assert_int_eq(f.payload.at[f.payload.len - 1], 0);
}
END_TEST

/* ---- anything at all ---- */

enum { MUTANTS = 20000 };

START_TEST(mutants_of_confirms_and_returns_are_taken_or_refused)
{
	unsigned refused = 0;
	unsigned next = 0;

	must_be_ready();
	for (int i = 0; i < MUTANTS; i++) {
		unsigned which = next % WINDOW;

		times[which] = 0;
		order_count = 0;
		if (put(which) == ERR_OK)
			next++;
		if (rig_dice() % 4 == 0)
			put_return(which);
		wire_put_confirm(&rig.wire, 1, rig_dice() % 4 == 0 ? WIRE_NACK : WIRE_ACK,
			pub.next_tag - 1, rig_dice() % 2 == 0);
		enum err err = rig_say_mutant(&rig);

		ck_assert(err == ERR_OK || err == ERR_PROTOCOL);
		ck_assert_uint_le(publisher_in_flight(&pub), WINDOW);
		buf_clear(&rig.out);
		rig.read = 0;
		if (err == ERR_OK && channel_is_ready(&pub.channel))
			continue;
		refused++;
		channel_down(&pub.channel, ERR_PROTOCOL);
		ck_assert_uint_eq(publisher_in_flight(&pub), 0);
		next = 0;
		must_be_ready();
	}
	ck_assert_uint_gt(refused, MUTANTS / 20);
	const struct publisher_counters *n = &pub.counters;

	ck_assert_uint_eq(n->published, n->confirmed + n->nacked + n->returned + n->unknown +
						publisher_in_flight(&pub));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("publisher");
	TCase *confirms = tcase_create("confirms");
	TCase *returns = tcase_create("returns");
	TCase *limits = tcase_create("limits");
	TCase *losses = tcase_create("losses");
	TCase *time = tcase_create("time");
	TCase *bare = tcase_create("without confirms");
	TCase *anything = tcase_create("anything at all");
	TCase *all[] = { confirms, returns, limits, losses, time, anything };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], set_up, tear_down);
		tcase_set_timeout(all[i], 30);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_checked_fixture(bare, set_up_without_confirms, tear_down);
	suite_add_tcase(s, bare);
	tcase_add_test(confirms, each_publish_is_done_with_its_own_confirm);
	tcase_add_test(confirms, one_confirm_may_be_for_many);
	tcase_add_test(confirms, confirms_come_in_any_order);
	tcase_add_test(confirms, a_nack_means_that_the_queue_is_full);
	tcase_add_test(confirms, a_confirm_that_came_before_is_harmless);
	tcase_add_test(confirms, a_confirm_of_what_was_never_published_breaks_the_protocol);
	tcase_add_test(confirms, tags_go_around_the_window_many_times);
	tcase_add_test(returns, what_no_queue_took_is_refused_and_not_confirmed);
	tcase_add_test(returns, a_return_of_something_unknown_changes_nothing);
	tcase_add_test(returns, a_request_used_again_does_not_remember_its_return);
	tcase_add_test(returns, what_comes_back_must_be_what_we_sent);
	tcase_add_test(returns, a_publisher_is_sent_nothing_else);
	tcase_add_test(limits, a_full_window_refuses_and_has_room_again);
	tcase_add_test(limits, bytes_that_the_network_does_not_take_are_refused);
	tcase_add_test(limits, nothing_is_put_before_the_channel_is_ready);
	tcase_add_test(limits, a_confirm_before_select_ok_breaks_the_protocol);
	tcase_add_test(losses,
		what_is_in_flight_when_the_broker_closes_the_channel_is_done_once_with_unknown_fate);
	tcase_add_test(losses, tags_begin_at_one_again_on_the_channel_that_comes_back);
	tcase_add_test(losses, publishing_again_from_within_on_done_is_fine);
	tcase_add_test(losses, publishing_again_single_from_within_on_done_is_fine);
	tcase_add_test(losses, publishing_from_within_on_done_of_a_loss_is_refused);
	tcase_add_test(losses, losing_the_channel_from_within_on_done_settles_the_rest_once);
	tcase_add_test(time, a_publish_that_is_never_confirmed_breaks_the_connection);
	tcase_add_test(time, a_publish_that_is_young_is_waited_for);
	tcase_add_test(time, while_the_broker_blocks_no_confirm_is_late);
	tcase_add_test(bare, without_confirms_a_publish_is_done_when_it_is_sent);
	tcase_add_test(bare, only_what_is_confirmed_is_mandatory);
	tcase_add_test(anything, mutants_of_confirms_and_returns_are_taken_or_refused);
	return unit_run(s);
}
