/* The inbox: outcomes of the messages of others, and the one transaction they share with
 * results. */
#include "store/inbox.h"

#include "lib/must.h"
#include "unit/store_rig.h"
#include "unit/unit.h"

static struct rig rig;

static void setup(void)
{
	must_enter_test();
	rig_make(&rig);
	rig_open(&rig);
}

static void teardown(void)
{
	rig_check(&rig);
	rig_end(&rig);
}

static struct inbox_row row_of(uint64_t n, enum inbox_outcome outcome)
{
	struct inbox_row row = { .id = rig_message(n).id,
		.outcome = outcome,
		.attempts = 1,
		.epoch = 77,
		.seq = n,
		.at_unix_ms = RIG_NOW_MS + n,
		.until_unix_ms = RIG_NOW_MS + 1000 + n,
		.digest = rig_digest(n),
		.op = "order.place" };

	return row;
}

static enum err put(const char *host, const struct inbox_row *row)
{
	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
	enum err err = inbox_put(&rig.inbox, span_of(host), row);

	ck_assert_int_eq(db_commit(&rig.db), ERR_OK);
	return err;
}

static struct inbox_row look(const char *host, uint64_t n)
{
	struct id id = rig_message(n).id;
	struct inbox_row row;

	ck_assert_int_eq(inbox_look(&rig.inbox, span_of(host), &id, &row), ERR_OK);
	return row;
}

static void expect_unknown(const char *host, uint64_t n)
{
	struct id id = rig_message(n).id;
	struct inbox_row row;

	ck_assert_int_eq(inbox_look(&rig.inbox, span_of(host), &id, &row), ERR_NOT_FOUND);
}

START_TEST(an_outcome_is_known_after_a_restart_to_its_host_alone)
{
	struct inbox_row row = row_of(1, INBOX_REFUSED);

	memcpy(row.reason, "contract", sizeof("contract"));
	ck_assert_int_eq(put("web1", &row), ERR_OK);
	rig_reopen(&rig);
	struct inbox_row seen = look("web1", 1);

	ck_assert_int_eq(seen.outcome, INBOX_REFUSED);
	ck_assert_uint_eq(seen.attempts, 1);
	ck_assert_uint_eq(seen.epoch, 77);
	ck_assert_uint_eq(seen.seq, 1);
	ck_assert_uint_eq(seen.at_unix_ms, row.at_unix_ms);
	ck_assert_uint_eq(seen.until_unix_ms, row.until_unix_ms);
	ck_assert_str_eq(seen.op, "order.place");
	ck_assert_str_eq(seen.reason, "contract");
	ck_assert(digest_equals(&seen.digest, &row.digest));
	expect_unknown("web2", 1);
	expect_unknown("web1", 2);
}
END_TEST

START_TEST(attempts_are_counted_until_there_is_an_outcome_which_then_stays)
{
	struct inbox_row row = row_of(1, INBOX_TRYING);

	ck_assert_int_eq(put("web1", &row), ERR_OK);
	row.attempts = 2;
	ck_assert_int_eq(put("web1", &row), ERR_OK);
	ck_assert_uint_eq(look("web1", 1).attempts, 2);
	row.outcome = INBOX_DONE;
	row.attempts = 3;
	row.at_unix_ms++;
	ck_assert_int_eq(put("web1", &row), ERR_OK);
	ck_assert_int_eq(look("web1", 1).outcome, INBOX_DONE);
	/* Delivered again under another epoch: the receipt names it so, the outcome is the
	 * first one. */
	row.outcome = INBOX_DEAD;
	row.attempts = 9;
	row.epoch = 78;
	row.seq = 5;
	row.until_unix_ms += 500;
	ck_assert_int_eq(put("web1", &row), ERR_OK);
	struct inbox_row seen = look("web1", 1);

	ck_assert_int_eq(seen.outcome, INBOX_DONE);
	ck_assert_uint_eq(seen.attempts, 3);
	ck_assert_uint_eq(seen.epoch, 78);
	ck_assert_uint_eq(seen.seq, 5);
	ck_assert_uint_eq(seen.until_unix_ms, row.until_unix_ms);
}
END_TEST

START_TEST(an_id_used_for_other_content_is_a_conflict_and_changes_nothing)
{
	struct inbox_row row = row_of(1, INBOX_DONE);

	ck_assert_int_eq(put("web1", &row), ERR_OK);
	row.digest = rig_digest(2);
	row.seq = 9;
	ck_assert_int_eq(put("web1", &row), ERR_CONFLICT);
	ck_assert_uint_eq(look("web1", 1).seq, 1);
	ck_assert_int_eq(put("web2", &row), ERR_OK); /* another host's ids are its own */
}
END_TEST

START_TEST(numbers_that_no_row_can_hold_are_refused_whoever_sent_them)
{
	struct inbox_row row = row_of(1, INBOX_DONE);

	row.seq = UINT64_MAX;
	ck_assert_int_eq(put("web1", &row), ERR_INPUT);
	row.seq = 1;
	row.epoch = UINT64_MAX;
	ck_assert_int_eq(put("web1", &row), ERR_INPUT);
	ck_assert_int_eq(rig.db.sick, ERR_OK);
	expect_unknown("web1", 1);
}
END_TEST

START_TEST(what_is_past_its_time_is_forgotten_in_small_steps)
{
	uint64_t early;

	for (uint64_t n = 1; n <= 10; n++) {
		struct inbox_row row = row_of(n, INBOX_DONE);

		ck_assert_int_eq(put(n % 2 == 0 ? "web1" : "web2", &row), ERR_OK);
	}
	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
	ck_assert_int_eq(inbox_prune(&rig.inbox, RIG_NOW_MS + 1005, 100, 3, &early), ERR_OK);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM inbox"), 7);
	ck_assert_int_eq(inbox_prune(&rig.inbox, RIG_NOW_MS + 1005, 100, 3, &early), ERR_OK);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM inbox"), 5);
	ck_assert_uint_eq(early, 0);
	ck_assert_int_eq(inbox_prune(&rig.inbox, RIG_NOW_MS + 1005, 4, 3, &early), ERR_OK);
	ck_assert_uint_eq(early, 1);
	ck_assert_int_eq(db_commit(&rig.db), ERR_OK);
	expect_unknown("web1", 6);
	ck_assert_int_eq(look("web2", 7).outcome, INBOX_DONE);
}
END_TEST

START_TEST(outcome_and_result_are_there_together_or_not_at_all)
{
	struct inbox_row row = row_of(1, INBOX_DONE);
	struct message result = rig_message(2);
	struct digest digest = rig_digest(2);
	struct outbox_added added;
	struct outbox_tally tally;

	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
	ck_assert_int_eq(inbox_put(&rig.inbox, span_of("web1"), &row), ERR_OK);
	ck_assert_int_eq(outbox_add(&rig.outbox, span_of("web1"), &result, &digest,
				 &rig_no_limits, &added),
		ERR_OK);
	db_rollback(&rig.db);
	expect_unknown("web1", 1);
	ck_assert_int_eq(outbox_tally(&rig.outbox, span_of("web1"), &tally), ERR_OK);
	ck_assert_uint_eq(tally.pending_rows, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store_inbox");
	TCase *tc = tcase_create("inbox");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_outcome_is_known_after_a_restart_to_its_host_alone);
	tcase_add_test(tc, attempts_are_counted_until_there_is_an_outcome_which_then_stays);
	tcase_add_test(tc, an_id_used_for_other_content_is_a_conflict_and_changes_nothing);
	tcase_add_test(tc, numbers_that_no_row_can_hold_are_refused_whoever_sent_them);
	tcase_add_test(tc, what_is_past_its_time_is_forgotten_in_small_steps);
	tcase_add_test(tc, outcome_and_result_are_there_together_or_not_at_all);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
