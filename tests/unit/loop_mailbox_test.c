/* A thread and its two lists, on a real loop. */
#include "loop/mailbox.h"

#include <semaphore.h>

#include "loop/timer.h"
#include "unit/unit.h"

enum { ITEMS = 2000 };

struct item {
	struct node node;
	int number;
	int worked; /* how many were worked on before it */
};

static struct loop loop;
static struct mailbox mailbox;
static struct item items[ITEMS];

/* The thread's, until it has ended. */
static int worked;
static int batches;
static int largest_batch;
static int rests;
static int leaves;
static sem_t gate; /* work() waits for it while has_gate */
static bool has_gate;

/* The loop's. */
static int done_count;
static int stopped;
static void (*after_done)(struct item *item);

static void on_work(void *arg, struct node *list)
{
	int count = 0;

	ck_assert_ptr_eq(arg, &mailbox);
	if (has_gate)
		(void)sem_wait(&gate);
	list_each (n, list) {
		container_of(n, struct item, node)->worked = worked++;
		count++;
	}
	batches++;
	if (count > largest_batch)
		largest_batch = count;
}

static void on_rest(void *arg)
{
	(void)arg;
	rests++;
}

static void on_leave(void *arg)
{
	(void)arg;
	leaves++;
}

static void on_done(void *arg, struct node *n)
{
	struct item *item = container_of(n, struct item, node);

	ck_assert_ptr_eq(arg, &mailbox);
	ck_assert(list_empty(n)); /* in no list any more */
	done_count++;
	if (after_done != NULL)
		after_done(item);
}

static void on_stopped(void *arg)
{
	ck_assert_ptr_eq(arg, &items);
	stopped++;
	loop_stop(&loop);
}

static const struct mailbox_hands hands = {
	.work = on_work,
	.rest = on_rest,
	.leave = on_leave,
	.done = on_done,
};

static void setup(void)
{
	ck_assert_int_eq(loop_init(&loop), ERR_OK);
	ck_assert_int_eq(sem_init(&gate, 0, 0), 0);
	for (int i = 0; i < ITEMS; i++)
		items[i].number = i;
	ck_assert_int_eq(mailbox_start(&mailbox, &loop, &hands, &mailbox), ERR_OK);
}

static void teardown(void)
{
	loop_fini(&loop);
	ck_assert_int_eq(stopped, 1);
	ck_assert_int_eq(leaves, 1);
	ck_assert_int_eq(mailbox.state, MAILBOX_NONE);
}

static void stop(void)
{
	mailbox_stop(&mailbox, on_stopped, &items);
	ck_assert_int_eq(stopped, 0);
	loop_run(&loop);
}

static void stop_after_all(struct item *item)
{
	ck_assert_int_eq(item->number, done_count - 1); /* in the order of posting */
	if (done_count == ITEMS)
		mailbox_stop(&mailbox, on_stopped, &items);
}

START_TEST(what_is_posted_is_worked_on_and_comes_back_in_order)
{
	after_done = stop_after_all;
	for (int i = 0; i < ITEMS; i++)
		mailbox_post(&mailbox, &items[i].node);
	ck_assert_int_eq(done_count, 0); /* never from inside */
	loop_run(&loop);
	ck_assert_int_eq(done_count, ITEMS);
	for (int i = 0; i < ITEMS; i++)
		ck_assert_int_eq(items[i].worked, i);
	ck_assert_int_eq(rests, batches);
}
END_TEST

START_TEST(what_comes_while_the_thread_works_waits_together)
{
	has_gate = true;
	mailbox_post(&mailbox, &items[0].node);
	/* The thread has taken the first, alone or with some of these; then it takes all the
	 * rest. */
	for (int i = 1; i < ITEMS; i++)
		mailbox_post(&mailbox, &items[i].node);
	(void)sem_post(&gate);
	(void)sem_post(&gate);
	after_done = stop_after_all;
	loop_run(&loop);
	ck_assert_int_le(batches, 2);
	ck_assert_int_ge(largest_batch, ITEMS / 2);
}
END_TEST

static void post_again(struct item *item)
{
	if (done_count < ITEMS)
		mailbox_post(&mailbox, &item->node);
	else
		mailbox_stop(&mailbox, on_stopped, &items);
}

START_TEST(an_item_may_be_posted_again_when_it_is_back)
{
	after_done = post_again;
	mailbox_post(&mailbox, &items[0].node);
	loop_run(&loop);
	ck_assert_int_eq(done_count, ITEMS);
	ck_assert_int_eq(batches, ITEMS);
}
END_TEST

START_TEST(stopping_works_on_all_that_wait_first)
{
	for (int i = 0; i < ITEMS; i++)
		mailbox_post(&mailbox, &items[i].node);
	stop();
	ck_assert_int_eq(done_count, ITEMS);
	ck_assert(!mailbox_is_running(&mailbox));
}
END_TEST

START_TEST(one_that_had_nothing_to_do_stops_too)
{
	stop();
	ck_assert_int_eq(batches, 0);
}
END_TEST

START_TEST(it_can_be_started_again)
{
	stop();
	stopped = 0;
	leaves = 0;
	ck_assert_int_eq(mailbox_start(&mailbox, &loop, &hands, &mailbox), ERR_OK);
	mailbox_post(&mailbox, &items[0].node);
	stop();
	ck_assert_int_eq(done_count, 1);
}
END_TEST

START_TEST(posting_after_the_stop_is_our_bug)
{
	mailbox_stop(&mailbox, on_stopped, &items);
	mailbox_post(&mailbox, &items[0].node);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop_mailbox");
	TCase *tc = tcase_create("mailbox");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_posted_is_worked_on_and_comes_back_in_order);
	tcase_add_test(tc, what_comes_while_the_thread_works_waits_together);
	tcase_add_test(tc, an_item_may_be_posted_again_when_it_is_back);
	tcase_add_test(tc, stopping_works_on_all_that_wait_first);
	tcase_add_test(tc, one_that_had_nothing_to_do_stops_too);
	tcase_add_test(tc, it_can_be_started_again);
	tcase_add_test_raise_signal(tc, posting_after_the_stop_is_our_bug, SIGABRT);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
