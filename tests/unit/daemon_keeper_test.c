/* The thread that owns the file: chores of a real loop in a real file. */
#include "daemon/keeper.h"

#include <semaphore.h>

#include "lib/must.h"
#include "unit/store_rig.h"
#include "unit/unit.h"

enum { CHORES = 500 };

static struct rig rig;
static struct loop loop;
static struct keeper keeper;

struct adding {
	struct chore chore;
	uint64_t n;
	struct outbox_added added;
	enum err status;
	int done;
};

static struct adding adding[CHORES];
static int done_count;
static int stopped;
static uint64_t commits; /* at the end */

static enum err run_adding(struct chore *c)
{
	struct adding *a = container_of(c, struct adding, chore);
	struct message m = rig_message(a->n);
	struct digest digest = rig_digest(a->n);

	return outbox_add(&rig.outbox, span_of(""), &m, &digest, &rig_no_limits, &a->added);
}

static void on_done(struct chore *c, enum err status)
{
	struct adding *a = container_of(c, struct adding, chore);

	a->status = status;
	a->done++;
	ck_assert_ptr_eq(a, &adding[done_count]); /* in the order of posting */
	done_count++;
}

static void on_close(void *arg)
{
	struct rig *r = arg;

	commits = r->db.counters.commits;
	inbox_fini(&r->inbox);
	outbox_fini(&r->outbox);
	idem_fini(&r->idem);
	sent_fini(&r->sent);
}

static void on_stopped(void *arg)
{
	ck_assert_ptr_eq(arg, &keeper);
	stopped++;
	loop_stop(&loop);
}

static void setup(void)
{
	must_enter_test();
	rig_make(&rig);
	rig_open(&rig);
	ck_assert_int_eq(loop_init(&loop), ERR_OK);
	for (int i = 0; i < CHORES; i++)
		adding[i] = (struct adding){ .chore = { .run = run_adding, .on_done = on_done },
			.n = (uint64_t)i };
	ck_assert_int_eq(keeper_start(&keeper, &loop, &rig.db, on_close, &rig), ERR_OK);
}

static void teardown(void)
{
	loop_fini(&loop);
	ck_assert_int_eq(stopped, 1);
	rig_open(&rig);
	rig_check(&rig);
	rig_end(&rig);
}

static void stop_and_run(void)
{
	keeper_stop(&keeper, on_stopped, &keeper);
	loop_run(&loop);
}

START_TEST(what_is_done_is_in_the_file)
{
	for (int i = 0; i < CHORES; i++)
		ck_assert_int_eq(keeper_post(&keeper, &adding[i].chore), ERR_OK);
	ck_assert_uint_eq(keeper.waiting, CHORES);
	stop_and_run();
	ck_assert_int_eq(done_count, CHORES);
	for (int i = 0; i < CHORES; i++) {
		ck_assert_int_eq(adding[i].done, 1);
		ck_assert_int_eq(adding[i].status, ERR_OK);
	}
	ck_assert_uint_eq(keeper.waiting, 0);
	ck_assert_uint_eq(keeper.done, CHORES);
	rig_open(&rig);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM outbox"), CHORES);
	rig_close(&rig);
}
END_TEST

static void on_done_and_stop(struct chore *c, enum err status)
{
	on_done(c, status);
	if (done_count == CHORES)
		keeper_stop(&keeper, on_stopped, &keeper);
}

static sem_t gate;

static enum err run_when_let(struct chore *c)
{
	(void)sem_wait(&gate);
	return run_adding(c);
}

START_TEST(chores_that_come_while_a_commit_runs_share_the_next_one)
{
	ck_assert_int_eq(sem_init(&gate, 0, 0), 0);
	adding[0].chore.run = run_when_let;
	for (int i = 0; i < CHORES; i++) {
		adding[i].chore.on_done = on_done_and_stop;
		ck_assert_int_eq(keeper_post(&keeper, &adding[i].chore), ERR_OK);
	}
	(void)sem_post(&gate);
	loop_run(&loop);
	/* One for the schema, one for the first and whatever was taken with it, one for the
	 * rest. */
	ck_assert_uint_ge(commits, 2);
	ck_assert_uint_le(commits, 3);
}
END_TEST

START_TEST(after_the_stop_nothing_is_taken)
{
	ck_assert_int_eq(keeper_post(&keeper, &adding[0].chore), ERR_OK);
	keeper_stop(&keeper, on_stopped, &keeper);
	ck_assert_int_eq(keeper_post(&keeper, &adding[1].chore), ERR_CANCEL);
	loop_run(&loop);
	ck_assert_int_eq(done_count, 1);
	ck_assert_int_eq(adding[1].done, 0);
	ck_assert_uint_eq(rig_count_files(&rig, "agent.db-wal"), 0); /* all is in the file */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon_keeper");
	TCase *tc = tcase_create("keeper");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_done_is_in_the_file);
	tcase_add_test(tc, chores_that_come_while_a_commit_runs_share_the_next_one);
	tcase_add_test(tc, after_the_stop_nothing_is_taken);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
