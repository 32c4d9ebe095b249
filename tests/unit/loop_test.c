/* Timers, turns, signals and watches on a real libuv loop. */
#include "loop/loop.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "loop/timer.h"
#include "loop/watch.h"
#include "unit/random.h"
#include "unit/unit.h"

static struct loop loop;

/* Ends a test that would otherwise wait for ever. */
static struct timer end;

static void on_end(struct timer *t)
{
	loop_stop(t->loop);
}

static void setup(void)
{
	ck_assert_int_eq(loop_init(&loop), ERR_OK);
	timer_init(&end, &loop, on_end);
}

static void teardown(void)
{
	timer_cancel(&end);
	loop_fini(&loop);
	loop_fini(&loop); /* a zeroed loop is fine */
}

static void run_ms(uint64_t ms)
{
	timer_after(&end, ms);
	loop_run(&loop);
}

/* Keeps the thread busy, so that the loop's idea of now grows old. */
static void spin_ms(uint64_t ms)
{
	uint64_t until_us = clock_mono_us() + ms * 1000;

	while (clock_mono_us() < until_us)
		continue;
}

/* ---- timers ---- */

enum { RING = 8 };

struct numbered {
	struct timer timer;
	int number;
	uint64_t fired_at_us;
};

static struct numbered ring[RING];
static int fired[100];
static int fired_count;

static struct numbered *note_firing(struct timer *t)
{
	struct numbered *n = container_of(t, struct numbered, timer);

	n->fired_at_us = clock_mono_us();
	ck_assert_int_lt(fired_count, 100);
	fired[fired_count++] = n->number;
	return n;
}

static void on_ring(struct timer *t)
{
	note_firing(t);
}

static void ring_init(timer_fn fn)
{
	fired_count = 0;
	for (int i = 0; i < RING; i++) {
		ring[i] = (struct numbered){ .number = i };
		timer_init(&ring[i].timer, &loop, fn);
	}
}

START_TEST(timers_fire_by_due_time_and_equal_ones_in_the_order_they_were_set)
{
	static const uint64_t after_ms[RING] = { 9, 5, 7, 5, 2, 7, 5, 2 };
	static const int wanted[RING] = { 4, 7, 1, 3, 6, 2, 5, 0 };
	bool are_equal = false;

	ring_init(on_ring);
	/* Until all were set within one millisecond. */
	for (int tries = 0; tries < 1000 && !are_equal; tries++) {
		for (int i = 0; i < RING; i++)
			timer_after(&ring[i].timer, after_ms[i]);
		are_equal = ring[0].timer.due_at_ms == ring[RING - 1].timer.due_at_ms + 7;
	}
	ck_assert(are_equal);
	run_ms(20);
	ck_assert_int_eq(fired_count, RING);
	for (int i = 0; i < RING; i++)
		ck_assert_int_eq(fired[i], wanted[i]);
}
END_TEST

START_TEST(no_timer_fires_early_even_when_set_after_a_long_callback)
{
	uint64_t set_at_us[RING];

	ring_init(on_ring);
	for (int i = 0; i < RING; i++) {
		spin_ms(7);
		set_at_us[i] = clock_mono_us();
		timer_after(&ring[i].timer, (uint64_t)i * 3 + 1);
	}
	run_ms(60);
	ck_assert_int_eq(fired_count, RING);
	/* The loop's clock counts whole milliseconds: it may be up to one behind. */
	for (int i = 0; i < RING; i++)
		ck_assert_uint_ge(ring[i].fired_at_us + 1000,
			set_at_us[i] + ((uint64_t)i * 3 + 1) * 1000);
}
END_TEST

START_TEST(a_timer_can_be_set_anew_and_then_fires_once)
{
	ring_init(on_ring);
	timer_after(&ring[0].timer, 1);
	timer_after(&ring[0].timer, 30);
	ck_assert_uint_eq(ring[0].timer.due_at_ms, uv_now(&loop.uv) + 30);
	timer_after(&ring[1].timer, 50);
	timer_after(&ring[1].timer, 2);
	run_ms(60);
	ck_assert_int_eq(fired_count, 2);
	ck_assert_int_eq(fired[0], 1);
	ck_assert_int_eq(fired[1], 0);
	ck_assert(!ring[0].timer.is_set);
}
END_TEST

START_TEST(a_cancelled_timer_never_fires_and_cancelling_is_harmless)
{
	struct timer zeroed = { 0 };

	ring_init(on_ring);
	timer_cancel(&zeroed);
	timer_cancel(&ring[0].timer);
	timer_after(&ring[0].timer, 1);
	timer_after(&ring[1].timer, 2);
	timer_cancel(&ring[0].timer);
	timer_cancel(&ring[0].timer);
	run_ms(10);
	ck_assert_int_eq(fired_count, 1);
	ck_assert_int_eq(fired[0], 1);
}
END_TEST

static void on_cancel_the_rest(struct timer *t)
{
	note_firing(t);
	for (int i = 0; i < RING; i++)
		timer_cancel(&ring[i].timer);
}

START_TEST(a_callback_may_cancel_timers_that_are_due_in_the_same_turn)
{
	ring_init(on_cancel_the_rest);
	for (int i = 0; i < RING; i++)
		timer_after(&ring[i].timer, 1);
	spin_ms(5); /* all are due when the loop first looks */
	run_ms(20);
	ck_assert_int_eq(fired_count, 1);
	ck_assert_int_eq(fired[0], 0);
}
END_TEST

static void on_set_again(struct timer *t)
{
	struct numbered *n = note_firing(t);

	if (fired_count < 5)
		timer_after(t, 2);
	else if (n->number == 0)
		timer_after(&ring[1].timer, 1);
}

START_TEST(a_callback_may_set_its_own_timer_and_others)
{
	ring_init(on_set_again);
	timer_after(&ring[0].timer, 1);
	run_ms(40);
	ck_assert_int_eq(fired_count, 6);
	ck_assert_int_eq(fired[4], 0);
	ck_assert_int_eq(fired[5], 1);
}
END_TEST

static void on_free_itself(struct timer *t)
{
	struct numbered *n = note_firing(t);

	memset(n, 0xee, sizeof(*n));
	free(n);
}

START_TEST(a_callback_may_free_its_timer)
{
	fired_count = 0;
	for (int i = 0; i < RING; i++) {
		struct numbered *n = malloc(sizeof(*n));

		ck_assert_ptr_nonnull(n);
		n->number = i;
		timer_init(&n->timer, &loop, on_free_itself);
		timer_after(&n->timer, (uint64_t)i / 2);
	}
	run_ms(20);
	ck_assert_int_eq(fired_count, RING);
}
END_TEST

static int zero_count;

static void on_at_once_again(struct timer *t)
{
	zero_count++;
	timer_after(t, 0);
}

START_TEST(a_timer_of_zero_that_sets_itself_does_not_starve_the_others)
{
	struct timer zero;

	zero_count = 0;
	ring_init(on_ring);
	timer_init(&zero, &loop, on_at_once_again);
	timer_after(&zero, 0);
	timer_after(&ring[0].timer, 5);
	run_ms(10);
	timer_cancel(&zero);
	ck_assert_int_gt(zero_count, 5);
	ck_assert_int_eq(fired_count, 1);
}
END_TEST

static int many_fired;

static void on_many(struct timer *t)
{
	static uint64_t last_due_ms;

	ck_assert_uint_ge(t->due_at_ms, many_fired == 0 ? 0 : last_due_ms);
	last_due_ms = t->due_at_ms;
	many_fired++;
}

START_TEST(ten_thousand_timers_set_and_cancelled_at_random_fire_in_order)
{
	enum { COUNT = 10000 };
	struct timer *timers = calloc(COUNT, sizeof(*timers));
	uint64_t state = 0x2545f4914f6cdd1d;
	int set_count = 0;

	ck_assert_ptr_nonnull(timers);
	many_fired = 0;
	for (int i = 0; i < COUNT; i++)
		timer_init(&timers[i], &loop, on_many);
	for (int i = 0; i < 10 * COUNT; i++) {
		struct timer *t = &timers[next_random(&state) % COUNT];

		if (next_random(&state) % 3 == 0)
			timer_cancel(t);
		else
			timer_after(t, next_random(&state) % 50);
	}
	for (int i = 0; i < COUNT; i++)
		set_count += timers[i].is_set ? 1 : 0;
	run_ms(100);
	ck_assert_int_eq(many_fired, set_count);
	free(timers);
}
END_TEST

START_TEST(a_timer_left_behind_is_our_bug)
{
	ring_init(on_ring);
	timer_after(&ring[0].timer, 1000);
	loop_fini(&loop);
}
END_TEST

/* ---- turns ---- */

struct gatherer {
	struct turn turn;
	int waiting; /* work that callbacks have left */
	int done;
	int flushes;
};

static struct gatherer gatherer;

static bool on_turn(struct turn *t)
{
	struct gatherer *g = container_of(t, struct gatherer, turn);

	if (g->waiting == 0)
		return false;
	g->done += g->waiting;
	g->waiting = 0;
	g->flushes++;
	return true;
}

static void on_leave_work(struct timer *t)
{
	note_firing(t);
	gatherer.waiting++;
}

START_TEST(what_many_timers_of_one_turn_left_is_done_once_before_the_loop_sleeps)
{
	gatherer = (struct gatherer){ 0 };
	loop_turn_add(&loop, &gatherer.turn, on_turn);
	ring_init(on_leave_work);
	for (int i = 0; i < RING; i++)
		timer_after(&ring[i].timer, 1);
	spin_ms(5);
	run_ms(20);
	ck_assert_int_eq(gatherer.done, RING);
	ck_assert_int_eq(gatherer.flushes, 1);
	loop_turn_drop(&gatherer.turn);
}
END_TEST

static void on_readable_leave_work(void *arg, enum err status, enum watch_events events)
{
	char byte;

	ck_assert_int_eq(status, ERR_OK);
	ck_assert_int_eq(events, WATCH_READ);
	ck_assert_int_eq(read(*(int *)arg, &byte, 1), 1);
	gatherer.waiting++;
}

/* Answers "x" on the other end once it sees the turn's work done. */
START_TEST(what_a_socket_left_is_done_before_the_loop_sleeps_too)
{
	int ends[2];
	struct watch *w;

	gatherer = (struct gatherer){ 0 };
	ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	loop_turn_add(&loop, &gatherer.turn, on_turn);
	ck_assert_int_eq(
		watch_start(&loop, ends[0], WATCH_READ, on_readable_leave_work, &ends[0], &w),
		ERR_OK);
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	timer_after(&end, 10000);
	/* One turn only: the poll returns at once, and the work must be done in it. */
	uv_run(&loop.uv, UV_RUN_ONCE);
	ck_assert_int_eq(gatherer.done, 1);
	ck_assert_int_eq(gatherer.waiting, 0);
	watch_stop(w);
	loop_turn_drop(&gatherer.turn);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

static bool on_turn_drop_itself(struct turn *t)
{
	struct gatherer *g = container_of(t, struct gatherer, turn);

	g->done++;
	loop_turn_drop(t);
	return true;
}

static struct gatherer downstream;

/* Leaves work for a turn that was added before it. */
static bool on_turn_pass_on(struct turn *t)
{
	struct gatherer *g = container_of(t, struct gatherer, turn);

	if (g->waiting == 0)
		return false;
	downstream.waiting += g->waiting;
	g->waiting = 0;
	return true;
}

START_TEST(what_a_turn_makes_for_an_earlier_one_is_not_slept_over)
{
	gatherer = (struct gatherer){ 0 };
	downstream = (struct gatherer){ 0 };
	loop_turn_add(&loop, &downstream.turn, on_turn);
	loop_turn_add(&loop, &gatherer.turn, on_turn_pass_on);
	ring_init(on_leave_work);
	timer_after(&ring[0].timer, 1);
	spin_ms(5);
	/* The timer fires, then the loop sleeps until this one and must have done it all before. */
	timer_after(&end, 30);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	ck_assert_int_eq(downstream.done, 1);
	loop_turn_drop(&downstream.turn);
	loop_turn_drop(&gatherer.turn);
}
END_TEST

static bool on_turn_never_content(struct turn *t)
{
	container_of(t, struct gatherer, turn)->done++;
	return true;
}

START_TEST(a_turn_that_is_never_content_lets_the_loop_poll)
{
	gatherer = (struct gatherer){ 0 };
	loop_turn_add(&loop, &gatherer.turn, on_turn_never_content);
	run_ms(5);
	ck_assert_int_gt(gatherer.done, 1);
	loop_turn_drop(&gatherer.turn);
}
END_TEST

/* A step at a time, always asking for more. */
static bool on_turn_take_one(struct turn *t)
{
	struct gatherer *g = container_of(t, struct gatherer, turn);

	if (g->waiting == 0)
		return false;
	g->waiting--;
	g->done++;
	if (g->waiting == 0)
		loop_stop(&loop);
	return true;
}

START_TEST(a_turn_with_much_to_do_is_not_slept_over)
{
	gatherer = (struct gatherer){ .waiting = 1000 };
	loop_turn_add(&loop, &gatherer.turn, on_turn_take_one);
	timer_after(&end, 10000); /* nothing else would wake the loop */
	uint64_t began_ms = uv_hrtime() / 1000000;

	loop_run(&loop);
	ck_assert_int_eq(gatherer.done, 1000);
	ck_assert_uint_lt(uv_hrtime() / 1000000 - began_ms, 5000);
	loop_turn_drop(&gatherer.turn);
}
END_TEST

START_TEST(a_turn_may_drop_itself)
{
	struct gatherer one = { 0 };

	gatherer = (struct gatherer){ 0 };
	loop_turn_add(&loop, &one.turn, on_turn_drop_itself);
	loop_turn_add(&loop, &gatherer.turn, on_turn_drop_itself);
	run_ms(5);
	ck_assert_int_eq(one.done, 1);
	ck_assert_int_eq(gatherer.done, 1);
}
END_TEST

START_TEST(a_turn_left_behind_is_our_bug)
{
	gatherer = (struct gatherer){ 0 };
	loop_turn_add(&loop, &gatherer.turn, on_turn);
	loop_fini(&loop);
}
END_TEST

/* ---- signals ---- */

static int signals_seen;

static void on_signal_count(void *arg, int signum)
{
	ck_assert_ptr_eq(arg, &signals_seen);
	signals_seen = signals_seen * 100 + signum;
	if (signum == SIGTERM)
		loop_stop(&loop);
}

START_TEST(a_signal_arrives_on_the_loop_with_its_number)
{
	signals_seen = 0;
	ck_assert_int_eq(
		loop_on_signal(&loop, SIGUSR1, on_signal_count, &signals_seen), ERR_OK);
	ck_assert_int_eq(
		loop_on_signal(&loop, SIGTERM, on_signal_count, &signals_seen), ERR_OK);
	timer_after(&end, 2000);
	ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
	ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
	loop_run(&loop);
	ck_assert(end.is_set); /* stopped by the signal, not by the timer */
	ck_assert_int_eq(signals_seen, SIGUSR1 * 100 + SIGTERM);
}
END_TEST

/* ---- watches ---- */

static struct {
	struct watch *watch[2];
	int calls[2];
	enum err status;
	enum watch_events events;
} seen;

static void on_seen(void *arg, enum err status, enum watch_events events)
{
	seen.calls[*(int *)arg]++;
	seen.status = status;
	seen.events = events;
}

static int zero = 0;
static int one = 1;

static void pair_open(int ends[2])
{
	memset(&seen, 0, sizeof(seen));
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static void on_seen_stop(void *arg, enum err status, enum watch_events events)
{
	on_seen(arg, status, events);
	watch_stop(seen.watch[*(int *)arg]);
	seen.watch[*(int *)arg] = NULL;
}

START_TEST(a_watch_fires_as_long_as_there_is_something_to_read)
{
	int ends[2];

	pair_open(ends);
	ck_assert_int_eq(
		watch_start(&loop, ends[0], WATCH_READ, on_seen, &zero, &seen.watch[0]),
		ERR_OK);
	run_ms(3);
	ck_assert_int_eq(seen.calls[0], 0);
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	run_ms(3);
	ck_assert_int_gt(seen.calls[0], 1); /* nobody read it: level-triggered */
	ck_assert_int_eq(seen.status, ERR_OK);
	ck_assert_int_eq(seen.events, WATCH_READ);
	watch_stop(seen.watch[0]);
	int calls = seen.calls[0];

	run_ms(3);
	ck_assert_int_eq(seen.calls[0], calls);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(a_watch_can_wait_for_other_events)
{
	int ends[2];

	pair_open(ends);
	ck_assert_int_eq(
		watch_start(&loop, ends[0], WATCH_READ, on_seen, &zero, &seen.watch[0]),
		ERR_OK);
	ck_assert_int_eq(watch_change(seen.watch[0], WATCH_BOTH), ERR_OK);
	run_ms(3);
	ck_assert_int_gt(seen.calls[0], 0);
	ck_assert_int_eq(seen.events, WATCH_WRITE);
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	run_ms(3);
	ck_assert_int_eq(seen.events, WATCH_BOTH);
	ck_assert_int_eq(watch_change(seen.watch[0], WATCH_READ), ERR_OK);
	run_ms(3);
	ck_assert_int_eq(seen.events, WATCH_READ);
	watch_stop(seen.watch[0]);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(a_watch_may_be_stopped_inside_its_callback)
{
	int ends[2];

	pair_open(ends);
	ck_assert_int_eq(
		watch_start(&loop, ends[0], WATCH_WRITE, on_seen_stop, &zero, &seen.watch[0]),
		ERR_OK);
	run_ms(3);
	ck_assert_int_eq(seen.calls[0], 1);
	watch_stop(NULL);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

static void on_seen_stop_both(void *arg, enum err status, enum watch_events events)
{
	on_seen(arg, status, events);
	for (int i = 0; i < 2; i++) {
		watch_stop(seen.watch[i]);
		seen.watch[i] = NULL;
	}
}

START_TEST(a_watch_stopped_by_another_of_the_same_poll_stays_silent)
{
	int ends[2];

	pair_open(ends);
	ck_assert_int_eq(watch_start(&loop, ends[0], WATCH_WRITE, on_seen_stop_both, &zero,
				 &seen.watch[0]),
		ERR_OK);
	ck_assert_int_eq(watch_start(&loop, ends[1], WATCH_WRITE, on_seen_stop_both, &one,
				 &seen.watch[1]),
		ERR_OK);
	run_ms(3);
	ck_assert_int_eq(seen.calls[0] + seen.calls[1], 1);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(a_descriptor_closed_after_its_watch_may_come_back_as_another)
{
	int ends[2];
	int others[2];

	pair_open(ends);
	ck_assert_int_eq(
		watch_start(&loop, ends[0], WATCH_BOTH, on_seen, &zero, &seen.watch[0]),
		ERR_OK);
	run_ms(2);
	watch_stop(seen.watch[0]);
	close(ends[0]);
	close(ends[1]);
	pair_open(others);
	ck_assert_int_eq(others[0], ends[0]);
	ck_assert_int_eq(
		watch_start(&loop, others[0], WATCH_READ, on_seen, &one, &seen.watch[1]),
		ERR_OK);
	run_ms(3);
	ck_assert_int_eq(seen.calls[0], 0);
	ck_assert_int_eq(seen.calls[1], 0);
	ck_assert_int_eq(write(others[1], "x", 1), 1);
	run_ms(3);
	ck_assert_int_gt(seen.calls[1], 0);
	watch_stop(seen.watch[1]);
	close(others[0]);
	close(others[1]);
}
END_TEST

START_TEST(a_descriptor_that_failed_says_so_once)
{
	int ends[2];

	memset(&seen, 0, sizeof(seen));
	ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	close(ends[0]); /* nobody will ever read */
	ck_assert_int_eq(
		watch_start(&loop, ends[1], WATCH_READ, on_seen, &zero, &seen.watch[0]),
		ERR_OK);
	run_ms(5);
	ck_assert_int_eq(seen.calls[0], 1);
	ck_assert_int_eq(seen.status, ERR_IO);
	ck_assert_int_eq(seen.events, WATCH_BOTH);
	watch_stop(seen.watch[0]);
	close(ends[1]);
}
END_TEST

START_TEST(what_cannot_be_polled_is_refused)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct watch *w;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(watch_start(&loop, fd, WATCH_READ, on_seen, &zero, &w), ERR_IO);
	close(fd);
	ck_assert_int_eq(watch_start(&loop, fd, WATCH_READ, on_seen, &zero, &w), ERR_IO);
	ck_assert_uint_eq(loop.open_count, 0);
}
END_TEST

START_TEST(the_end_of_the_loop_waits_for_what_is_closing)
{
	int ends[2];

	pair_open(ends);
	for (int i = 0; i < 100; i++) {
		int copy = dup(ends[0]);
		struct watch *w;

		ck_assert_int_eq(
			watch_start(&loop, copy, WATCH_WRITE, on_seen, &zero, &w), ERR_OK);
		watch_stop(w);
		close(copy);
	}
	ck_assert_uint_eq(loop.open_count, 100);
	loop_fini(&loop); /* the sanitizer sees what was not freed */
	ck_assert_int_eq(seen.calls[0], 0);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(libuv_codes_are_translated)
{
	ck_assert_int_eq(err_from_uv(0), ERR_OK);
	ck_assert_int_eq(err_from_uv(UV_ECANCELED), ERR_CANCEL);
	ck_assert_int_eq(err_from_uv(UV_ECONNREFUSED), ERR_LINK);
	ck_assert_int_eq(err_from_uv(UV_EOF), ERR_LINK);
	ck_assert_int_eq(err_from_uv(UV_EAI_NONAME), ERR_LINK);
	ck_assert_int_eq(err_from_uv(UV_ENOMEM), ERR_NOMEM);
	ck_assert_int_eq(err_from_uv(UV_ETIMEDOUT), ERR_TIMEOUT);
	ck_assert_int_eq(err_from_uv(UV_EMFILE), ERR_FULL);
	ck_assert_int_eq(err_from_uv(UV_EIO), ERR_IO);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop");
	TCase *timers = tcase_create("timers");
	TCase *turns = tcase_create("turns and signals");
	TCase *watches = tcase_create("watches");

	tcase_add_checked_fixture(timers, setup, teardown);
	tcase_add_test(
		timers, timers_fire_by_due_time_and_equal_ones_in_the_order_they_were_set);
	tcase_add_test(timers, no_timer_fires_early_even_when_set_after_a_long_callback);
	tcase_add_test(timers, a_timer_can_be_set_anew_and_then_fires_once);
	tcase_add_test(timers, a_cancelled_timer_never_fires_and_cancelling_is_harmless);
	tcase_add_test(timers, a_callback_may_cancel_timers_that_are_due_in_the_same_turn);
	tcase_add_test(timers, a_callback_may_set_its_own_timer_and_others);
	tcase_add_test(timers, a_callback_may_free_its_timer);
	tcase_add_test(timers, a_timer_of_zero_that_sets_itself_does_not_starve_the_others);
	tcase_add_test(timers, ten_thousand_timers_set_and_cancelled_at_random_fire_in_order);
	tcase_add_test_raise_signal(timers, a_timer_left_behind_is_our_bug, SIGABRT);
	suite_add_tcase(suite, timers);

	tcase_add_checked_fixture(turns, setup, teardown);
	tcase_add_test(
		turns, what_many_timers_of_one_turn_left_is_done_once_before_the_loop_sleeps);
	tcase_add_test(turns, what_a_socket_left_is_done_before_the_loop_sleeps_too);
	tcase_add_test(turns, a_turn_with_much_to_do_is_not_slept_over);
	tcase_add_test(turns, a_turn_may_drop_itself);
	tcase_add_test(turns, what_a_turn_makes_for_an_earlier_one_is_not_slept_over);
	tcase_add_test(turns, a_turn_that_is_never_content_lets_the_loop_poll);
	tcase_add_test_raise_signal(turns, a_turn_left_behind_is_our_bug, SIGABRT);
	tcase_add_test(turns, a_signal_arrives_on_the_loop_with_its_number);
	suite_add_tcase(suite, turns);

	tcase_add_checked_fixture(watches, setup, teardown);
	tcase_add_test(watches, a_watch_fires_as_long_as_there_is_something_to_read);
	tcase_add_test(watches, a_watch_can_wait_for_other_events);
	tcase_add_test(watches, a_watch_may_be_stopped_inside_its_callback);
	tcase_add_test(watches, a_watch_stopped_by_another_of_the_same_poll_stays_silent);
	tcase_add_test(watches, a_descriptor_closed_after_its_watch_may_come_back_as_another);
	tcase_add_test(watches, a_descriptor_that_failed_says_so_once);
	tcase_add_test(watches, what_cannot_be_polled_is_refused);
	tcase_add_test(watches, the_end_of_the_loop_waits_for_what_is_closing);
	tcase_add_test(watches, libuv_codes_are_translated);
	suite_add_tcase(suite, watches);
	return unit_run(suite);
}
