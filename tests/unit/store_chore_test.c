/* Chores that share a commit: one fsync for many, and one refusal for one. */
#include "store/chore.h"

#include <sqlite3.h>

#include "lib/must.h"
#include "unit/store_rig.h"
#include "unit/unit.h"

enum { CHORES = 20 };

static struct rig rig;

struct adding {
	struct chore chore;
	uint64_t n;
	enum err then; /* what it says after it wrote */
	struct outbox_added added;
	int runs;
};

static struct adding adding[CHORES];
static struct node list;

static enum err run_adding(struct chore *c)
{
	struct adding *a = container_of(c, struct adding, chore);
	struct message m = rig_message(a->n);
	struct digest digest = rig_digest(a->n);

	a->runs++;
	enum err err = outbox_add(
		&rig.outbox, span_of(""), &m, &digest, &rig_no_limits, &a->added);

	return err != ERR_OK ? err : a->then;
}

static enum err run_counting(struct chore *c)
{
	struct outbox_tally t;

	(void)c;
	return outbox_tally(&rig.outbox, span_of(""), &t);
}

static void setup(void)
{
	must_enter_test();
	rig_make(&rig);
	rig_open(&rig);
	list_init(&list);
	for (int i = 0; i < CHORES; i++) {
		adding[i] = (struct adding){ .chore.run = run_adding, .n = (uint64_t)i };
		list_append(&list, &adding[i].chore.node);
	}
}

static void teardown(void)
{
	rig_check(&rig);
	rig_end(&rig);
}

static int64_t rows(void)
{
	return rig_number(&rig, "SELECT count(*) FROM outbox");
}

START_TEST(many_chores_take_one_commit)
{
	uint64_t before = rig.db.counters.commits;

	chore_run_all(&rig.db, &list);
	ck_assert_uint_eq(rig.db.counters.commits, before + 1);
	ck_assert_int_eq(rows(), CHORES);
	for (int i = 0; i < CHORES; i++) {
		ck_assert_int_eq(adding[i].chore.status, ERR_OK);
		ck_assert_uint_eq(adding[i].added.seq, (uint64_t)i + 1);
		ck_assert_int_eq(adding[i].runs, 1);
	}
	ck_assert_ptr_eq(list.next, &adding[0].chore.node); /* the list keeps them */
}
END_TEST

START_TEST(a_refusal_takes_back_its_own_writing_and_nothing_else)
{
	adding[0].then = ERR_REFUSED;
	adding[7].then = ERR_REFUSED;
	adding[8].then = ERR_FULL;
	adding[CHORES - 1].then = ERR_CANCEL;
	chore_run_all(&rig.db, &list);
	ck_assert_int_eq(rows(), CHORES - 4);
	ck_assert_int_eq(adding[7].chore.status, ERR_REFUSED);
	ck_assert_int_eq(adding[8].chore.status, ERR_FULL);
	ck_assert_int_eq(adding[9].chore.status, ERR_OK);
	rig_reopen(&rig);
	ck_assert_int_eq(rows(), CHORES - 4);
}
END_TEST

START_TEST(one_alone_is_taken_back_too)
{
	struct node one;

	list_init(&one);
	list_drop(&adding[0].chore.node);
	list_append(&one, &adding[0].chore.node);
	adding[0].then = ERR_REFUSED;
	chore_run_all(&rig.db, &one);
	ck_assert_int_eq(adding[0].chore.status, ERR_REFUSED);
	ck_assert_int_eq(rows(), 0);
	adding[0].then = ERR_OK;
	chore_run_all(&rig.db, &one);
	ck_assert_int_eq(adding[0].chore.status, ERR_OK);
	ck_assert_int_eq(rows(), 1);
}
END_TEST

START_TEST(chores_that_only_read_commit_nothing)
{
	uint64_t before = rig.db.counters.commits;

	for (int i = 0; i < CHORES; i++)
		adding[i].chore.run = run_counting;
	chore_run_all(&rig.db, &list);
	ck_assert_uint_eq(rig.db.counters.commits, before);
	list_init(&list);
	chore_run_all(&rig.db, &list); /* nor does an empty list */
}
END_TEST

START_TEST(a_sick_store_refuses_to_write_and_goes_on_reading)
{
	rig_must_add(&rig, 100);
	rig.db.sick = ERR_IO;
	adding[3].chore.run = run_counting;
	adding[3].chore.kind = CHORE_READS;
	chore_run_all(&rig.db, &list);
	for (int i = 0; i < CHORES; i++) {
		ck_assert_int_eq(adding[i].chore.status, i == 3 ? ERR_OK : ERR_IO);
		ck_assert_int_eq(adding[i].runs, 0);
	}
	ck_assert_int_eq(rows(), 1);
	rig_reopen(&rig); /* a new start is a new try */
	ck_assert_int_eq(rig.db.sick, ERR_OK);
}
END_TEST

/* What fits while the others do not: a file that may grow by so many pages only. */
START_TEST(when_space_runs_out_the_small_ones_are_not_refused_for_the_large_one)
{
	static char body[100000];
	char sql[64];
	struct message m = rig_message(500);

	memset(body, 'x', sizeof(body));
	must_format(sql, sizeof(sql), "PRAGMA max_page_count = %lld",
		(long long)rig_number(&rig, "PRAGMA page_count") + 12);
	ck_assert_int_eq(sqlite3_exec(rig.db.sql, sql, NULL, NULL, NULL), SQLITE_OK);
	struct digest digest = rig_digest(500);
	struct outbox_added added;

	m.body = (struct span){ .at = body, .len = sizeof(body) };
	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
	ck_assert_int_eq(
		outbox_add(&rig.outbox, span_of(""), &m, &digest, &rig_no_limits, &added),
		ERR_SPACE);
	db_rollback(&rig.db);
	chore_run_all(&rig.db, &list);
	for (int i = 0; i < CHORES; i++)
		ck_assert_int_eq(adding[i].chore.status, ERR_OK);
	ck_assert_int_eq(rig.db.sick, ERR_OK);
	ck_assert_int_eq(rows(), CHORES);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store_chore");
	TCase *tc = tcase_create("chore");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, many_chores_take_one_commit);
	tcase_add_test(tc, a_refusal_takes_back_its_own_writing_and_nothing_else);
	tcase_add_test(tc, one_alone_is_taken_back_too);
	tcase_add_test(tc, chores_that_only_read_commit_nothing);
	tcase_add_test(tc, a_sick_store_refuses_to_write_and_goes_on_reading);
	tcase_add_test(
		tc, when_space_runs_out_the_small_ones_are_not_refused_for_the_large_one);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
