/* More comes than can be done: what can be done is done in time, the rest is told at once, and
 * nobody's flood is another's drought. Played on a clock of its own. */
#include "app-node/dispatch.h"

#include "unit/unit.h"

/* In the order of the contract: sorted by name. */
enum op { OP_QUICK = 0, OP_SENT, OP_TWO, OP_WIDE, OPS };
enum { WEB1 = 0, WEB2, HOSTS };

static const char text[] = "site: test\n"
			   "operations:\n"
			   "  op.quick: {kind: call, concurrency: 4, deadline: 250ms}\n"
			   "  op.sent: {kind: send, concurrency: 64}\n"
			   "  op.two: {kind: call, concurrency: 2, deadline: 250ms}\n"
			   "  op.wide: {kind: call, concurrency: 16, deadline: 250ms}\n";

enum {
	MS = 1000,
	DEADLINE_US = 250 * MS,
	TICK_US = 200,
	CALLS_MAX = 4096, /* in at once */
};

/* One stream of calls: so many a second, each of which takes its handler so long. */
struct stream {
	unsigned host;
	enum op op;
	unsigned per_second;
	unsigned takes_us;
	unsigned takes_more_us; /* up to so much more, by chance */
	uint64_t from_us;
	uint64_t until_us;
	/* What became of them. */
	unsigned came;
	unsigned served; /* in time */
	unsigned late;   /* run, but not in time */
	unsigned refused;
	uint64_t longest_wait_us; /* of those that ran */
	double owed;
};

struct call {
	struct work work;
	struct stream *stream; /* NULL: not used */
	uint64_t came_us;
	uint64_t too_late_us;
	uint64_t begun_us;
	uint64_t done_us; /* while it runs: when the handler answers, or its caller gives up */
	bool is_in_time;
};

static struct contract contract;
static struct dispatch d;
static struct origin hosts[HOSTS];
static struct call calls[CALLS_MAX];
static uint64_t now_us;
static uint64_t dice;

static const struct dispatch_limits plenty = {
	.running = 64,
	.running_of_one = 64,
	.waiting = 256,
	.waiting_bytes = 1024 * 1024,
};

static void must_begin(const struct dispatch_limits *limits)
{
	ck_assert_int_eq(dispatch_init(&d, &contract, limits), ERR_OK);
}

static void setup(void)
{
	struct report report;

	report_init(&report);
	ck_assert_int_eq(contract_parse(LITERAL(text), "c", &report, &contract), ERR_OK);
	report_fini(&report);
	ck_assert_uint_eq(contract.operation_count, OPS);
	ck_assert_str_eq(contract.operations[OP_WIDE].name, "op.wide");
	for (unsigned i = 0; i < HOSTS; i++)
		origin_init(&hosts[i]);
	memset(calls, 0, sizeof(calls));
	now_us = 1000 * MS;
	dice = 20260102;
}

static void teardown(void)
{
	for (unsigned i = 0; i < CALLS_MAX; i++)
		if (calls[i].stream != NULL)
			dispatch_remove(&d, &calls[i].work);
	ck_assert_uint_eq(d.work_count, 0);
	ck_assert_uint_eq(d.running, 0);
	ck_assert(list_empty(&d.open));
	ck_assert(list_empty(&d.surplus));
	for (unsigned i = 0; i < HOSTS; i++) {
		ck_assert(list_empty(&hosts[i].flows));
		ck_assert_uint_eq(hosts[i].ready_bytes, 0);
		ck_assert_uint_eq(hosts[i].running, 0);
	}
	dispatch_fini(&d);
	contract_free(&contract);
}

/* check writes down each ck_assert() that it passes: too slow for thousands of them. */
#define MUST(truth)                                     \
	do {                                            \
		if (!(truth))                           \
			ck_abort_msg("not %s", #truth); \
	} while (0)

/* xorshift64: the same numbers in each run. */
static unsigned roll(unsigned sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (unsigned)((dice >> 11) % sides);
}

/* ---- the play ---- */

static void come(struct stream *s)
{
	struct call *c = calls;

	while (c->stream != NULL)
		MUST(++c < calls + CALLS_MAX);
	struct demand demand = {
		.op = &contract.operations[s->op],
		.origin = &hosts[s->host],
		.bytes = 100,
		.now_us = now_us,
		.ends_us = s->op == OP_SENT ? 0 : now_us + DEADLINE_US,
	};

	*c = (struct call){ .stream = s, .came_us = now_us };
	MUST(dispatch_add(&d, &c->work, &contract, &demand) == ERR_OK);
	c->too_late_us = dispatch_too_late_us(&d, &c->work);
	s->came++;
}

static void go(struct call *c)
{
	dispatch_remove(&d, &c->work);
	c->stream = NULL;
}

static void begin(struct call *c)
{
	struct stream *s = c->stream;
	uint64_t wait_us = now_us - c->came_us;
	uint64_t takes_us = s->takes_us + (s->takes_more_us > 0 ? roll(s->takes_more_us) : 0);
	uint64_t ends_us = c->work.ends_us != 0 ? c->work.ends_us : UINT64_MAX;

	c->begun_us = now_us;
	c->done_us = now_us + takes_us;
	c->is_in_time = c->done_us <= ends_us;
	if (!c->is_in_time)
		c->done_us = ends_us;
	if (wait_us > s->longest_wait_us)
		s->longest_wait_us = wait_us;
}

static void finish(struct call *c)
{
	dispatch_learn(&d, &c->work, now_us - c->begun_us);
	if (c->is_in_time)
		c->stream->served++;
	else
		c->stream->late++;
	go(c);
}

static void refuse(struct call *c)
{
	MUST(now_us < c->work.ends_us); /* while its caller still listens */
	c->stream->refused++;
	go(c);
}

static void tick(struct stream *streams, size_t count)
{
	struct work *w;

	now_us += TICK_US;
	for (struct call *c = calls; c < calls + CALLS_MAX; c++) {
		if (c->stream == NULL)
			continue;
		if (c->work.state == WORK_RUNNING && now_us >= c->done_us)
			finish(c);
		else if (c->work.state == WORK_READY && now_us >= c->too_late_us)
			refuse(c);
	}
	for (struct stream *s = streams; s < streams + count; s++) {
		if (now_us < s->from_us || now_us >= s->until_us)
			continue;
		s->owed += (double)s->per_second * TICK_US / 1e6;
		for (; s->owed >= 1; s->owed -= 1)
			come(s);
	}
	while ((w = dispatch_next(&d, now_us)) != NULL)
		begin(container_of(w, struct call, work));
	while ((w = dispatch_surplus(&d)) != NULL)
		refuse(container_of(w, struct call, work));
}

/* Streams that say no time go on all the while; at the end all is answered. */
static void play(struct stream *streams, size_t count, unsigned seconds)
{
	uint64_t end_us = now_us + seconds * 1000 * MS;

	for (size_t i = 0; i < count; i++)
		if (streams[i].until_us == 0)
			streams[i].until_us = end_us;
	while (now_us < end_us || d.work_count > 0)
		tick(streams, count);
	for (size_t i = 0; i < count; i++)
		ck_assert_uint_eq(streams[i].came,
			streams[i].served + streams[i].late + streams[i].refused);
}

/* ---- goodput ---- */

START_TEST(under_any_overload_nearly_all_that_can_be_done_is_done_in_time)
{
	static const unsigned times[] = { 2, 5, 10 };
	struct stream s = {
		.op = OP_TWO,
		.takes_us = 10 * MS,
		.per_second = 200 * times[_i], /* two at a time of 10 ms: 200 a second */
	};

	must_begin(&plenty);
	play(&s, 1, 10);
	ck_assert_uint_ge(s.served, 10 * 200 * 95 / 100);
	ck_assert_uint_le(s.late, s.came / 100);
}
END_TEST

START_TEST(also_when_nobody_knows_how_long_one_takes)
{
	static const unsigned times[] = { 2, 5, 10 };
	struct stream s = {
		.op = OP_TWO,
		.takes_us = 2 * MS,
		.takes_more_us = 36 * MS, /* 20 ms on average */
		.per_second = 100 * times[_i],
	};

	must_begin(&plenty);
	play(&s, 1, 10);
	ck_assert_uint_ge(s.served, 10 * 100 * 85 / 100);
	ck_assert_uint_le(s.late, s.came / 20);
}
END_TEST

START_TEST(what_can_be_done_in_time_is_not_refused)
{
	struct stream s = { .op = OP_TWO, .takes_us = 10 * MS, .per_second = 190 };

	must_begin(&plenty);
	play(&s, 1, 10);
	ck_assert_uint_eq(s.served, s.came);
}
END_TEST

START_TEST(forty_at_once_are_all_served_where_two_run_for_ten_milliseconds)
{
	struct stream s = { .op = OP_TWO, .takes_us = 10 * MS };

	must_begin(&plenty);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 40; i++)
			come(&s);
		play(&s, 1, 1);
		ck_assert_uint_eq(s.served, s.came);
	}
}
END_TEST

START_TEST(of_far_too_many_at_once_most_are_told_at_once)
{
	struct stream s = { .op = OP_TWO, .takes_us = 10 * MS };

	must_begin(&plenty);
	come(&s);
	play(&s, 1, 1); /* what one run takes is known now */
	for (int i = 0; i < 1000; i++)
		come(&s);
	tick(&s, 1);
	ck_assert_uint_ge(s.refused, 940);
	play(&s, 1, 1);
	ck_assert_uint_ge(s.served, 40);
}
END_TEST

START_TEST(a_handler_that_was_too_slow_for_a_while_is_trusted_again)
{
	uint64_t slow_until_us = now_us + 5000 * MS;
	struct stream s[] = {
		{ .op = OP_TWO,
			.takes_us = 400 * MS,
			.per_second = 400,
			.until_us = slow_until_us },
		{ .op = OP_TWO,
			.takes_us = 10 * MS,
			.per_second = 400,
			.from_us = slow_until_us },
	};

	must_begin(&plenty);
	play(s, ARRAY_COUNT(s), 15);
	ck_assert_uint_eq(s[0].served, 0);
	ck_assert_uint_ge(s[1].served, 10 * 200 * 85 / 100);
}
END_TEST

/* ---- one operation does not stop another ---- */

START_TEST(an_operation_that_hangs_does_not_hold_up_another_of_the_same_host)
{
	struct stream s[] = {
		{ .op = OP_TWO, .takes_us = 10000 * MS, .per_second = 1000 },
		{ .op = OP_QUICK, .takes_us = 2 * MS, .per_second = 500 },
	};

	must_begin(&plenty);
	play(s, ARRAY_COUNT(s), 5);
	ck_assert_uint_eq(s[1].served, s[1].came);
	ck_assert_uint_le(s[1].longest_wait_us, 2 * MS);
}
END_TEST

START_TEST(sends_leave_some_connections_to_calls)
{
	struct dispatch_limits limits = plenty;
	struct stream s[] = {
		{ .op = OP_SENT, .takes_us = 1000 * MS, .per_second = 100 },
		{ .op = OP_QUICK, .takes_us = 2 * MS, .per_second = 500 },
	};

	limits.running = 8;
	must_begin(&limits);
	s[0].until_us = now_us + 1000 * MS;
	s[1].until_us = now_us + 5000 * MS;
	play(s, ARRAY_COUNT(s), 5);
	ck_assert_uint_eq(s[1].served, s[1].came);
	ck_assert_uint_le(s[1].longest_wait_us, 2 * MS);
	ck_assert_uint_eq(s[0].served, s[0].came); /* they wait, nothing more */
}
END_TEST

/* ---- one host does not stop another ---- */

START_TEST(a_host_that_floods_takes_no_more_than_its_share)
{
	struct stream s[] = {
		{ .host = WEB1, .op = OP_TWO, .takes_us = 10 * MS, .per_second = 2000 },
		{ .host = WEB2, .op = OP_TWO, .takes_us = 10 * MS, .per_second = 80 },
	};

	must_begin(&plenty);
	play(s, ARRAY_COUNT(s), 10);
	ck_assert_uint_eq(s[1].served, s[1].came);
	ck_assert_uint_ge(s[0].served + s[1].served, 10 * 200 * 95 / 100);
}
END_TEST

START_TEST(two_that_flood_get_half_each)
{
	struct stream s[] = {
		{ .host = WEB1, .op = OP_TWO, .takes_us = 10 * MS, .per_second = 2000 },
		{ .host = WEB2, .op = OP_TWO, .takes_us = 10 * MS, .per_second = 400 },
	};

	must_begin(&plenty);
	play(s, ARRAY_COUNT(s), 10);
	ck_assert_uint_ge(s[0].served, 10 * 100 * 90 / 100);
	ck_assert_uint_ge(s[1].served, 10 * 100 * 90 / 100);
}
END_TEST

START_TEST(slots_that_one_host_keeps_busy_are_never_all)
{
	struct stream s[] = {
		{ .host = WEB1, .op = OP_WIDE, .takes_us = 240 * MS, .per_second = 2000 },
		{ .host = WEB2, .op = OP_WIDE, .takes_us = 5 * MS, .per_second = 100 },
	};

	must_begin(&plenty);
	/* The first of web2 come into a full house; then it is known to be about. */
	play(s, ARRAY_COUNT(s), 1);
	for (size_t i = 0; i < ARRAY_COUNT(s); i++)
		s[i].until_us = s[i].came = s[i].served = s[i].late = s[i].refused = 0;
	s[1].longest_wait_us = 0;
	play(s, ARRAY_COUNT(s), 10);
	ck_assert_uint_eq(s[1].served, s[1].came);
	ck_assert_uint_le(s[1].longest_wait_us, 10 * MS);
}
END_TEST

START_TEST(connections_that_one_host_keeps_busy_are_never_all)
{
	struct dispatch_limits limits = plenty;
	struct stream s[] = {
		{ .host = WEB1, .op = OP_WIDE, .takes_us = 240 * MS, .per_second = 1000 },
		{ .host = WEB1, .op = OP_TWO, .takes_us = 240 * MS, .per_second = 1000 },
		{ .host = WEB2, .op = OP_QUICK, .takes_us = 5 * MS, .per_second = 200 },
	};

	limits.running = 8;
	limits.running_of_one = 6;
	must_begin(&limits);
	play(s, ARRAY_COUNT(s), 5);
	ck_assert_uint_eq(s[2].served, s[2].came);
	ck_assert_uint_le(s[2].longest_wait_us, 5 * MS);
}
END_TEST

START_TEST(a_host_that_has_gone_gives_its_slots_back)
{
	struct stream s[] = {
		{ .host = WEB2, .op = OP_WIDE, .takes_us = 5 * MS, .per_second = 100 },
		{ .host = WEB1, .op = OP_WIDE, .takes_us = 200 * MS, .per_second = 200 },
	};

	must_begin(&plenty);
	play(&s[0], 1, 1);
	play(&s[1], 1, 1);
	ck_assert_uint_eq(d.lanes[OP_WIDE].seen_count, 2);
	for (int i = 0; i < 32; i++)
		come(&s[1]);
	for (int i = 0; i < 15; i++)
		ck_assert_ptr_nonnull(dispatch_next(&d, now_us));
	ck_assert_ptr_null(dispatch_next(&d, now_us)); /* one is kept for web2 */
	ck_assert_ptr_null(dispatch_next(&d, now_us + 50 * 1000 * MS));
	for (struct call *c = calls; c < calls + CALLS_MAX; c++)
		if (c->stream != NULL && c->work.state != WORK_RUNNING)
			go(c);
	now_us += 61 * 1000 * MS;
	come(&s[1]);
	ck_assert_ptr_nonnull(dispatch_next(&d, now_us));
	ck_assert_uint_eq(d.lanes[OP_WIDE].seen_count, 1);
}
END_TEST

/* ---- limits ---- */

START_TEST(no_more_wait_than_the_limit_and_the_oldest_give_way)
{
	struct dispatch_limits limits = plenty;
	struct stream s = { .op = OP_TWO, .takes_us = 10 * MS };

	limits.waiting = 5;
	must_begin(&limits);
	for (int i = 0; i < 2; i++)
		come(&s);
	for (int i = 0; i < 2; i++)
		ck_assert_ptr_nonnull(dispatch_next(&d, now_us));
	for (int i = 2; i < 9; i++)
		come(&s);
	ck_assert_ptr_eq(dispatch_surplus(&d), &calls[2].work);
	ck_assert_int_eq(calls[2].work.state, WORK_SURPLUS);
	go(&calls[2]);
	ck_assert_ptr_eq(dispatch_surplus(&d), &calls[3].work);
	go(&calls[3]);
	ck_assert_ptr_null(dispatch_surplus(&d));
	ck_assert_int_eq(calls[4].work.state, WORK_READY);
}
END_TEST

START_TEST(a_host_whose_calls_hold_too_much_memory_gives_way_where_it_holds_most)
{
	struct dispatch_limits limits = plenty;
	struct stream two = { .op = OP_TWO, .takes_us = 10 * MS };
	struct stream wide = { .op = OP_WIDE, .takes_us = 10 * MS };

	limits.waiting_bytes = 1000;
	must_begin(&limits);
	for (int i = 0; i < 9; i++)
		come(&two);
	come(&wide);
	ck_assert_ptr_null(dispatch_surplus(&d));
	come(&wide);
	ck_assert_ptr_eq(dispatch_surplus(&d), &calls[0].work);
	ck_assert_uint_eq(hosts[WEB1].ready_bytes, 1000);
	ck_assert_uint_eq(hosts[WEB2].ready_bytes, 0);
}
END_TEST

START_TEST(sends_wait_as_long_as_it_takes)
{
	struct dispatch_limits limits = plenty;
	struct stream s = { .op = OP_SENT, .takes_us = 100 * MS };

	limits.waiting = 5;
	limits.waiting_bytes = 100;
	limits.running = 4;
	must_begin(&limits);
	for (int i = 0; i < 200; i++)
		come(&s);
	play(&s, 1, 1);
	ck_assert_uint_eq(s.served, 200);
}
END_TEST

/* ---- which one ---- */

START_TEST(the_oldest_goes_first_until_it_is_old_then_the_newest)
{
	struct stream s = { .op = OP_TWO, .takes_us = 10 * MS };

	must_begin(&plenty);
	for (int i = 0; i < 4; i++, now_us += MS)
		come(&s);
	ck_assert_ptr_eq(dispatch_next(&d, now_us), &calls[0].work);
	now_us += DEADLINE_US / 2;
	ck_assert_ptr_eq(dispatch_next(&d, now_us), &calls[3].work);
}
END_TEST

START_TEST(a_slot_is_not_spent_on_who_cannot_be_served_in_time)
{
	struct stream s = { .op = OP_TWO, .takes_us = 50 * MS };

	must_begin(&plenty);
	come(&s);
	play(&s, 1, 1);
	ck_assert_uint_eq(s.served, 1);
	come(&s);
	ck_assert_uint_ge(d.lanes[OP_TWO].typical_us, 50 * MS);
	ck_assert_ptr_null(dispatch_next(&d, now_us + DEADLINE_US - 49 * MS));
	ck_assert_ptr_eq(dispatch_surplus(&d), &calls[0].work);
	ck_assert(list_empty(&d.open));
}
END_TEST

START_TEST(what_has_just_come_is_tried_whatever_was_learnt)
{
	struct stream s = { .op = OP_TWO, .takes_us = 10 * MS };

	must_begin(&plenty);
	come(&s);
	for (int i = 0; i < 100; i++)
		dispatch_learn(&d, &calls[0].work, UINT64_MAX / 4);
	ck_assert_ptr_eq(dispatch_next(&d, now_us + DEADLINE_US / 2 - 1), &calls[0].work);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_overload");
	TCase *tc = tcase_create("overload");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(
		tc, under_any_overload_nearly_all_that_can_be_done_is_done_in_time, 0, 3);
	tcase_add_loop_test(tc, also_when_nobody_knows_how_long_one_takes, 0, 3);
	tcase_add_test(tc, what_can_be_done_in_time_is_not_refused);
	tcase_add_test(tc, forty_at_once_are_all_served_where_two_run_for_ten_milliseconds);
	tcase_add_test(tc, of_far_too_many_at_once_most_are_told_at_once);
	tcase_add_test(tc, a_handler_that_was_too_slow_for_a_while_is_trusted_again);
	tcase_add_test(tc, an_operation_that_hangs_does_not_hold_up_another_of_the_same_host);
	tcase_add_test(tc, sends_leave_some_connections_to_calls);
	tcase_add_test(tc, a_host_that_floods_takes_no_more_than_its_share);
	tcase_add_test(tc, two_that_flood_get_half_each);
	tcase_add_test(tc, slots_that_one_host_keeps_busy_are_never_all);
	tcase_add_test(tc, connections_that_one_host_keeps_busy_are_never_all);
	tcase_add_test(tc, a_host_that_has_gone_gives_its_slots_back);
	tcase_add_test(tc, no_more_wait_than_the_limit_and_the_oldest_give_way);
	tcase_add_test(
		tc, a_host_whose_calls_hold_too_much_memory_gives_way_where_it_holds_most);
	tcase_add_test(tc, sends_wait_as_long_as_it_takes);
	tcase_add_test(tc, the_oldest_goes_first_until_it_is_old_then_the_newest);
	tcase_add_test(tc, a_slot_is_not_spent_on_who_cannot_be_served_in_time);
	tcase_add_test(tc, what_has_just_come_is_tried_whatever_was_learnt);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
