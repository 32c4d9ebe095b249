/* The outbox and what it remembers of its messages: real files, closed and opened again. */
#include "store/outbox.h"

#include <sqlite3.h>

#include "lib/must.h"
#include "unit/random.h"
#include "unit/store_rig.h"
#include "unit/unit.h"

static struct rig rig;

static const struct outbox_end done_now = {
	.outcome = SENT_DONE,
	.reason = { .at = "", .len = 0 },
	.now_unix_ms = RIG_NOW_MS,
	.keep_ms = 1000,
};

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

static void begin(void)
{
	ck_assert_int_eq(db_begin(&rig.db), ERR_OK);
}

static void commit(void)
{
	ck_assert_int_eq(db_commit(&rig.db), ERR_OK);
}

static enum err add_to(const char *host, const struct message *m, const struct digest *digest,
	const struct outbox_limits *limits, struct outbox_added *out)
{
	begin();
	enum err err = outbox_add(&rig.outbox, span_of(host), m, digest, limits, out);

	commit(); /* a refusal has written nothing */
	return err;
}

static enum err add_number_to(const char *host, uint64_t n, const struct outbox_limits *limits)
{
	struct message m = rig_message(n);
	struct digest digest = rig_digest(n);
	struct outbox_added added;

	return add_to(host, &m, &digest, limits, &added);
}

static struct outbox_tally tally(const char *host)
{
	struct outbox_tally t;

	ck_assert_int_eq(outbox_tally(&rig.outbox, span_of(host), &t), ERR_OK);
	return t;
}

static uint64_t remove_one_range(const char *host, uint64_t lo, uint64_t hi)
{
	struct outbox_range range = { .lo = lo, .hi = hi };
	uint64_t removed;

	begin();
	ck_assert_int_eq(
		outbox_remove(&rig.outbox, span_of(host), &range, 1, &done_now, &removed),
		ERR_OK);
	commit();
	return removed;
}

static struct outbox_want want(uint64_t after, unsigned max_rows, size_t max_bytes)
{
	return (struct outbox_want){ .after_seq = after,
		.through_seq = UINT64_MAX,
		.max_rows = max_rows,
		.max_bytes = max_bytes };
}

static void page(const char *host, struct outbox_want w, struct node *rows)
{
	list_init(rows);
	ck_assert_int_eq(outbox_page(&rig.outbox, span_of(host), &w, rows), ERR_OK);
}

static struct outbox_row *first_of(struct node *rows)
{
	ck_assert(!list_empty(rows));
	return container_of(rows->next, struct outbox_row, node);
}

/* The seqs of a page, in order, ending with 0. */
static void expect_page(
	const char *host, uint64_t after, unsigned max_rows, const uint64_t *seqs)
{
	struct node rows;

	page(host, want(after, max_rows, MIB(1)), &rows);
	list_each (n, &rows) {
		struct outbox_row *row = container_of(n, struct outbox_row, node);

		ck_assert_uint_eq(row->message.seq, *seqs);
		seqs++;
	}
	ck_assert_uint_eq(*seqs, 0);
	outbox_rows_free(&rows);
}

#define SEQS(...) ((const uint64_t[]){ __VA_ARGS__, 0 })

/* ---- what goes in comes out ---- */

START_TEST(a_message_comes_back_as_it_was_after_a_restart)
{
	struct message m = rig_message(5);
	struct digest digest = rig_digest(5);
	struct outbox_added added;
	struct node rows;

	m.has_correlation = true;
	memset(m.correlation.byte, 0x5c, ID_BYTES);
	m.content = MESSAGE_PROBLEM;
	m.attempt = 3;
	m.expires_unix_ms = RIG_NOW_MS + 1000;
	m.body = LITERAL("{\"a\":\"\0b\"}");
	ck_assert_int_eq(add_to("web1", &m, &digest, &rig_no_limits, &added), ERR_OK);
	ck_assert_int_eq(added.verdict, OUTBOX_ADDED);
	rig_reopen(&rig);
	page("web1", want(0, 10, MIB(1)), &rows);
	struct outbox_row *row = first_of(&rows);

	ck_assert_int_eq(row->state, OUTBOX_PENDING);
	expect_span(row->host, "web1");
	ck_assert_uint_eq(row->message.seq, added.seq);
	ck_assert_uint_eq(row->message.epoch, rig.db.epoch);
	ck_assert_int_eq(id_compare(&row->message.id, &m.id), 0);
	ck_assert(row->message.has_correlation);
	ck_assert_int_eq(id_compare(&row->message.correlation, &m.correlation), 0);
	ck_assert_int_eq(row->message.durability, MESSAGE_PERSISTENT);
	ck_assert_int_eq(row->message.content, MESSAGE_PROBLEM);
	ck_assert_uint_eq(row->message.attempt, 3);
	ck_assert_uint_eq(row->message.expires_unix_ms, m.expires_unix_ms);
	ck_assert_uint_eq(row->message.sent_unix_us, m.sent_unix_us);
	ck_assert(span_equals(row->message.type, m.type));
	ck_assert(span_equals(row->message.key, m.key));
	ck_assert(span_equals(row->message.traceparent, m.traceparent));
	ck_assert(span_equals(row->message.contract, m.contract));
	ck_assert(span_equals(row->message.body, m.body));
	ck_assert(digest_equals(&row->digest, &digest));
	outbox_rows_free(&rows);
}
END_TEST

START_TEST(a_message_of_nothing_but_an_operation_is_kept_too)
{
	struct message m = { .type = span_of("a.b") };
	struct digest digest = { 0 };
	struct outbox_added added;
	struct outbox_row *row;

	ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_OK);
	ck_assert_int_eq(outbox_look(&rig.outbox, span_of(""), &m.id, &row), ERR_OK);
	ck_assert(!row->message.has_correlation);
	ck_assert_uint_eq(row->message.body.len, 0);
	ck_assert_uint_eq(row->message.key.len, 0);
	outbox_row_free(row);
	m.id.byte[0] = 1;
	ck_assert_int_eq(outbox_look(&rig.outbox, span_of(""), &m.id, &row), ERR_NOT_FOUND);
}
END_TEST

START_TEST(the_largest_body_is_kept)
{
	static char body[MESSAGE_BODY_MAX_BYTES];
	struct message m = rig_message(1);
	struct digest digest = rig_digest(1);
	struct outbox_added added;
	struct outbox_row *row;

	memset(body, 'x', sizeof(body));
	m.body = (struct span){ .at = body, .len = sizeof(body) };
	ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_OK);
	rig_reopen(&rig);
	ck_assert_int_eq(outbox_look(&rig.outbox, span_of(""), &m.id, &row), ERR_OK);
	ck_assert(span_equals(row->message.body, m.body));
	outbox_row_free(row);
}
END_TEST

START_TEST(a_number_that_no_row_can_hold_is_refused)
{
	struct message m = rig_message(1);
	struct digest digest = rig_digest(1);
	struct outbox_added added;

	m.expires_unix_ms = UINT64_MAX;
	ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_INPUT);
	ck_assert_int_eq(rig.db.sick, ERR_OK);
	m.expires_unix_ms = INT64_MAX;
	ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_OK);
}
END_TEST

START_TEST(pages_are_bounded_in_rows_and_bytes_and_go_on_where_they_ended)
{
	struct node rows;

	for (uint64_t n = 0; n < 10; n++)
		rig_must_add(&rig, n);
	expect_page("", 0, 4, SEQS(1, 2, 3, 4));
	expect_page("", 4, 4, SEQS(5, 6, 7, 8));
	expect_page("", 8, 4, SEQS(9, 10));
	expect_page("", 10, 4, (const uint64_t[]){ 0 });
	expect_page("web1", 0, 4, (const uint64_t[]){ 0 });

	size_t each = tally("").pending_bytes / 10;

	page("", want(0, 10, 3 * each + 3), &rows);
	ck_assert_uint_eq(container_of(rows.prev, struct outbox_row, node)->message.seq, 3);
	outbox_rows_free(&rows);
	page("", want(0, 10, 1), &rows);
	ck_assert_uint_eq(container_of(rows.prev, struct outbox_row, node)->message.seq, 1);
	outbox_rows_free(&rows);
}
END_TEST

static void expect_edges(const char *host, uint64_t first, uint64_t last)
{
	uint64_t first_seq;
	uint64_t last_seq;

	ck_assert_int_eq(
		outbox_edges(&rig.outbox, span_of(host), &first_seq, &last_seq), ERR_OK);
	ck_assert_uint_eq(first_seq, first);
	ck_assert_uint_eq(last_seq, last);
}

START_TEST(a_part_can_be_read_and_where_all_of_them_begin_and_end_is_known)
{
	struct outbox_want part = want(2, 10, MIB(1));
	struct node rows;

	expect_edges("", 0, 0);
	for (uint64_t n = 0; n < 10; n++)
		rig_must_add(&rig, n);
	part.through_seq = 4;
	page("", part, &rows);
	ck_assert_uint_eq(first_of(&rows)->message.seq, 3);
	ck_assert_uint_eq(container_of(rows.prev, struct outbox_row, node)->message.seq, 4);
	outbox_rows_free(&rows);
	expect_edges("", 1, 10);
	expect_edges("web1", 0, 0);
	ck_assert_uint_eq(remove_one_range("", 1, 3), 3);
	begin();
	ck_assert_int_eq(outbox_park(&rig.outbox, span_of(""), 10, span_of("why")), ERR_OK);
	commit();
	expect_edges("", 4, 9);
}
END_TEST

START_TEST(hosts_are_kept_apart)
{
	for (uint64_t n = 0; n < 6; n++)
		ck_assert_int_eq(
			add_number_to(n % 2 == 0 ? "web1" : "web2", n, &rig_no_limits), ERR_OK);
	expect_page("web1", 0, 10, SEQS(1, 3, 5));
	expect_page("web2", 0, 10, SEQS(2, 4, 6));
	ck_assert_uint_eq(
		remove_one_range("web1", 1, 4), 2); /* a receipt of web1 ends no row of web2 */
	expect_page("web1", 0, 10, SEQS(5));
	expect_page("web2", 0, 10, SEQS(2, 4, 6));
	/* One push to two hosts is one id. */
	ck_assert_int_eq(add_number_to("web2", 4, &rig_no_limits), ERR_OK);
	ck_assert_uint_eq(tally("web2").pending_rows, 4);
}
END_TEST

START_TEST(a_seq_is_never_used_again)
{
	struct outbox_added added;

	for (uint64_t n = 1; n <= 3; n++)
		rig_must_add(&rig, n);
	ck_assert_uint_eq(remove_one_range("", 1, UINT64_MAX), 3);
	rig_reopen(&rig);
	ck_assert_int_eq(rig_add(&rig, 4, &added), ERR_OK);
	ck_assert_uint_eq(added.seq, 4);
}
END_TEST

/* ---- ids ---- */

START_TEST(the_same_message_again_is_joined_and_another_of_that_id_is_a_conflict)
{
	struct message m = rig_message(1);
	struct digest digest = rig_digest(1);
	struct digest other = rig_digest(2);
	struct outbox_added added;

	rig_must_add(&rig, 1);
	rig_reopen(&rig);
	ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_OK);
	ck_assert_int_eq(added.verdict, OUTBOX_JOINED);
	ck_assert_uint_eq(added.seq, 1);
	ck_assert_int_eq(add_to("", &m, &other, &rig_no_limits, &added), ERR_CONFLICT);
	ck_assert_uint_eq(tally("").pending_rows, 1);
}
END_TEST

START_TEST(what_is_gone_is_joined_as_long_as_its_outcome_is_known)
{
	struct message m = rig_message(1);
	struct digest digest = rig_digest(1);
	struct digest other = rig_digest(2);
	struct outbox_added added;
	uint64_t early;

	rig_must_add(&rig, 1);
	ck_assert_uint_eq(remove_one_range("", 1, 1), 1);
	ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_OK);
	ck_assert_int_eq(added.verdict, OUTBOX_JOINED);
	ck_assert_uint_eq(added.seq, 0);
	ck_assert_int_eq(add_to("", &m, &other, &rig_no_limits, &added), ERR_CONFLICT);
	begin();
	ck_assert_int_eq(sent_prune(&rig.sent, RIG_NOW_MS + 1000, 100, 100, &early), ERR_OK);
	commit();
	ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_OK);
	ck_assert_int_eq(added.verdict, OUTBOX_ADDED);
}
END_TEST

START_TEST(an_idempotency_key_stands_for_its_message_after_a_restart)
{
	struct idem_claim claim = { .key = span_of("order-17"),
		.digest = rig_digest(1),
		.now_unix_ms = RIG_NOW_MS,
		.until_unix_ms = RIG_NOW_MS + 100 };
	struct id first = rig_message(1).id;
	struct id id = first;
	enum idem_verdict verdict;

	begin();
	ck_assert_int_eq(idem_claim(&rig.idem, &claim, &id, &verdict), ERR_OK);
	commit();
	ck_assert_int_eq(verdict, IDEM_FIRST);
	rig_reopen(&rig);
	begin();
	id = rig_message(2).id;
	ck_assert_int_eq(idem_claim(&rig.idem, &claim, &id, &verdict), ERR_OK);
	ck_assert_int_eq(verdict, IDEM_AGAIN);
	ck_assert_int_eq(id_compare(&id, &first), 0);
	claim.digest = rig_digest(2);
	ck_assert_int_eq(idem_claim(&rig.idem, &claim, &id, &verdict), ERR_CONFLICT);
	claim.now_unix_ms = claim.until_unix_ms; /* its time has passed */
	claim.until_unix_ms += 100;
	id = rig_message(2).id;
	ck_assert_int_eq(idem_claim(&rig.idem, &claim, &id, &verdict), ERR_OK);
	ck_assert_int_eq(verdict, IDEM_FIRST);
	commit();
}
END_TEST

/* ---- caps ---- */

START_TEST(the_cap_in_rows_holds_across_a_restart)
{
	struct outbox_limits limits = { .max_rows = 3, .max_bytes = UINT64_MAX };

	for (uint64_t n = 0; n < 3; n++)
		ck_assert_int_eq(add_number_to("", n, &limits), ERR_OK);
	ck_assert_int_eq(add_number_to("", 3, &limits), ERR_FULL);
	rig_reopen(&rig);
	ck_assert_int_eq(add_number_to("", 3, &limits), ERR_FULL);
	ck_assert_int_eq(add_number_to("", 0, &limits), ERR_OK); /* joined: it has its place */
	ck_assert_int_eq(add_number_to("other", 3, &limits), ERR_OK);
	ck_assert_uint_eq(remove_one_range("", 2, 2), 1);
	ck_assert_int_eq(add_number_to("", 3, &limits), ERR_OK);
}
END_TEST

START_TEST(the_cap_in_bytes_holds_to_the_byte)
{
	struct outbox_limits limits = { .max_rows = UINT64_MAX, .max_bytes = UINT64_MAX };
	struct message m = rig_message(2);
	struct digest digest = rig_digest(2);
	struct outbox_added added;

	ck_assert_int_eq(add_number_to("", 0, &limits), ERR_OK);
	limits.max_bytes = 2 * tally("").pending_bytes;
	m.body.len++;
	ck_assert_int_eq(add_to("", &m, &digest, &limits, &added), ERR_FULL);
	m.body.len--;
	ck_assert_int_eq(add_to("", &m, &digest, &limits, &added), ERR_OK);
	ck_assert_uint_eq(tally("").pending_bytes, limits.max_bytes);
}
END_TEST

START_TEST(what_is_parked_counts_too)
{
	struct outbox_limits limits = { .max_rows = 2, .max_bytes = UINT64_MAX };

	ck_assert_int_eq(add_number_to("", 0, &limits), ERR_OK);
	begin();
	ck_assert_int_eq(outbox_park(&rig.outbox, span_of(""), 1, span_of("why")), ERR_OK);
	commit();
	ck_assert_int_eq(add_number_to("", 1, &limits), ERR_OK);
	ck_assert_int_eq(add_number_to("", 2, &limits), ERR_FULL);
	ck_assert_uint_eq(tally("").pending_rows, 1);
	ck_assert_uint_eq(tally("").parked_rows, 1);
}
END_TEST

/* ---- ends ---- */

START_TEST(receipts_end_the_rows_of_their_ranges_and_their_outcome_is_remembered)
{
	const struct outbox_range ranges[] = { { 1, 2 }, { 4, 4 }, { 7, UINT64_MAX } };
	struct outbox_end end = done_now;
	struct sent_row sent;
	uint64_t removed;

	for (uint64_t n = 1; n <= 8; n++)
		rig_must_add(&rig, n);
	end.outcome = SENT_REFUSED;
	end.reason = span_of("contract");
	begin();
	ck_assert_int_eq(
		outbox_remove(&rig.outbox, span_of(""), ranges, 3, &end, &removed), ERR_OK);
	commit();
	ck_assert_uint_eq(removed, 5);
	expect_page("", 0, 10, SEQS(3, 5, 6));
	rig_reopen(&rig);
	struct id id = rig_message(4).id;

	ck_assert_int_eq(sent_look(&rig.sent, span_of(""), &id, &sent), ERR_OK);
	ck_assert_int_eq(sent.outcome, SENT_REFUSED);
	ck_assert_str_eq(sent.reason, "contract");
	ck_assert_uint_eq(sent.at_unix_ms, RIG_NOW_MS);
	id = rig_message(5).id;
	ck_assert_int_eq(sent_look(&rig.sent, span_of(""), &id, &sent), ERR_NOT_FOUND);
	ck_assert_uint_eq(remove_one_range("", 1, 2), 0); /* the same receipt again */
}
END_TEST

START_TEST(an_outcome_is_remembered_for_the_ttl_of_its_message)
{
	struct message m = rig_message(1);
	struct digest digest = rig_digest(1);
	struct outbox_added added;
	struct sent_row sent;
	uint64_t early;

	m.sent_unix_us = (RIG_NOW_MS - 500) * 1000;
	m.expires_unix_ms = RIG_NOW_MS + 9500; /* accepted for ten seconds, a half ago */
	ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_OK);
	ck_assert_uint_eq(remove_one_range("", 1, 1), 1);
	begin();
	ck_assert_int_eq(sent_prune(&rig.sent, RIG_NOW_MS + 9999, 100, 100, &early), ERR_OK);
	ck_assert_int_eq(sent_look(&rig.sent, span_of(""), &m.id, &sent), ERR_OK);
	ck_assert_int_eq(sent_prune(&rig.sent, RIG_NOW_MS + 10000, 100, 100, &early), ERR_OK);
	ck_assert_int_eq(sent_look(&rig.sent, span_of(""), &m.id, &sent), ERR_NOT_FOUND);
	ck_assert_uint_eq(early, 0);
	commit();
}
END_TEST

START_TEST(memory_of_outcomes_is_bounded_and_goes_in_small_steps)
{
	uint64_t early;

	for (uint64_t n = 1; n <= 20; n++)
		rig_must_add(&rig, n);
	ck_assert_uint_eq(remove_one_range("", 1, 20), 20);
	begin();
	ck_assert_int_eq(sent_prune(&rig.sent, RIG_NOW_MS, 12, 5, &early), ERR_OK);
	ck_assert_uint_eq(early, 5);
	ck_assert_int_eq(sent_prune(&rig.sent, RIG_NOW_MS, 12, 5, &early), ERR_OK);
	ck_assert_uint_eq(early, 3);
	ck_assert_int_eq(sent_prune(&rig.sent, RIG_NOW_MS, 12, 5, &early), ERR_OK);
	ck_assert_uint_eq(early, 0);
	ck_assert_int_eq(sent_prune(&rig.sent, RIG_NOW_MS + 1000, 12, 5, &early), ERR_OK);
	commit();
	ck_assert_uint_eq(early, 0);
	ck_assert_int_eq(rig_number(&rig, "SELECT count(*) FROM sent"), 7);
}
END_TEST

START_TEST(what_has_expired_ends_told_by_its_id)
{
	struct outbox_end end = done_now;
	struct node gone;
	struct sent_row sent;

	end.outcome = SENT_EXPIRED;
	for (uint64_t n = 1; n <= 5; n++) {
		struct message m = rig_message(n);
		struct digest digest = rig_digest(n);
		struct outbox_added added;

		m.expires_unix_ms = n == 3 ? 0 : RIG_NOW_MS + 10 - n; /* the last one first */
		ck_assert_int_eq(add_to("", &m, &digest, &rig_no_limits, &added), ERR_OK);
	}
	list_init(&gone);
	end.now_unix_ms = RIG_NOW_MS + 8;
	begin();
	ck_assert_int_eq(outbox_expire(&rig.outbox, 0, 2, &end, &gone), ERR_OK);
	commit();
	ck_assert_uint_eq(first_of(&gone)->message.seq, 5);
	ck_assert_uint_eq(container_of(gone.prev, struct outbox_row, node)->message.seq, 4);
	outbox_rows_free(&gone);
	struct id id = rig_message(5).id;

	ck_assert_int_eq(sent_look(&rig.sent, span_of(""), &id, &sent), ERR_OK);
	ck_assert_int_eq(sent.outcome, SENT_EXPIRED);
	end.now_unix_ms = RIG_NOW_MS + 1000;
	begin();
	ck_assert_int_eq(outbox_expire(&rig.outbox, 1, 10, &end, &gone), ERR_OK);
	commit();
	ck_assert_uint_eq(
		first_of(&gone)->message.seq, 2); /* 1 is somebody else's, 3 has all time */
	outbox_rows_free(&gone);
	expect_page("", 0, 10, SEQS(1, 3));
}
END_TEST

/* ---- parked ---- */

START_TEST(what_is_parked_waits_with_its_reason_and_can_be_replayed_or_dropped)
{
	const struct outbox_want ten = want(0, 10, MIB(1));
	struct outbox_end end = done_now;
	struct node rows;
	struct sent_row sent;
	struct outbox_row *row;
	uint64_t seq = 2;

	end.outcome = SENT_DROPPED;
	for (uint64_t n = 1; n <= 3; n++)
		rig_must_add(&rig, n);
	begin();
	ck_assert_int_eq(
		outbox_park(&rig.outbox, span_of(""), 2, span_of("unknown-operation")), ERR_OK);
	ck_assert_int_eq(
		outbox_park(&rig.outbox, span_of(""), 2, span_of("again")), ERR_NOT_FOUND);
	ck_assert_int_eq(
		outbox_park(&rig.outbox, span_of("web1"), 1, span_of("no")), ERR_NOT_FOUND);
	ck_assert_int_eq(
		outbox_park(&rig.outbox, span_of(""), 3, span_of("too-large")), ERR_OK);
	commit();
	rig_reopen(&rig);
	expect_page("", 0, 10, SEQS(1));
	ck_assert_uint_eq(
		remove_one_range("", 1, 10), 1); /* a receipt ends nothing that is parked */
	list_init(&rows);
	ck_assert_int_eq(outbox_page_parked(&rig.outbox, span_of(""), &ten, &rows), ERR_OK);
	expect_span(first_of(&rows)->reason, "unknown-operation");
	ck_assert_int_eq(first_of(&rows)->state, OUTBOX_PARKED);
	outbox_rows_free(&rows);

	begin();
	ck_assert_int_eq(outbox_replay(&rig.outbox, span_of(""), &seq), ERR_OK);
	commit();
	ck_assert_uint_eq(seq, 4);
	struct id id = rig_message(2).id;

	ck_assert_int_eq(outbox_look(&rig.outbox, span_of(""), &id, &row), ERR_OK);
	ck_assert_int_eq(row->state, OUTBOX_PENDING);
	ck_assert_uint_eq(row->message.seq, 4);
	ck_assert_uint_eq(row->message.attempt, 1);
	ck_assert_uint_eq(row->reason.len, 0);
	outbox_row_free(row);

	begin();
	ck_assert_int_eq(outbox_drop(&rig.outbox, span_of(""), 4, &end), ERR_NOT_FOUND);
	ck_assert_int_eq(outbox_drop(&rig.outbox, span_of(""), 3, &end), ERR_OK);
	seq = 3;
	ck_assert_int_eq(outbox_replay(&rig.outbox, span_of(""), &seq), ERR_NOT_FOUND);
	commit();
	id = rig_message(3).id;
	ck_assert_int_eq(sent_look(&rig.sent, span_of(""), &id, &sent), ERR_OK);
	ck_assert_int_eq(sent.outcome, SENT_DROPPED);
}
END_TEST

/* ---- a million rows ---- */

static void expect_no_scan(const char *sql)
{
	char explain[4096];
	sqlite3_stmt *plan;

	must_format(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
	ck_assert_int_eq(sqlite3_prepare_v2(rig.db.sql, explain, -1, &plan, NULL), SQLITE_OK);
	while (sqlite3_step(plan) == SQLITE_ROW) {
		const char *step = (const char *)sqlite3_column_text(plan, 3);

		ck_assert_msg(
			strncmp(step, "SCAN ", 5) != 0 || strstr(step, "CONSTANT") != NULL,
			"%s: %s", step, sql);
		ck_assert_msg(strstr(step, "TEMP B-TREE") == NULL, "%s: %s", step, sql);
	}
	sqlite3_finalize(plan);
}

START_TEST(no_statement_reads_or_sorts_a_whole_table)
{
	sqlite3_stmt *statement = NULL;
	int count = 0;

	while ((statement = sqlite3_next_stmt(rig.db.sql, statement)) != NULL) {
		expect_no_scan(sqlite3_sql(statement));
		count++;
	}
	ck_assert_int_ge(count, OUTBOX_NSTATEMENTS + SENT_NSTATEMENTS);
}
END_TEST

/* ---- all of it at random, against a model ---- */

enum { MODEL_IDS = 60 };

enum model_state { GONE = 0, PENDING, PARKED, ENDED };

static enum model_state model[MODEL_IDS];
static uint64_t model_seq[MODEL_IDS];

static uint64_t pick(uint64_t *state, enum model_state wanted)
{
	uint64_t start = next_random(state) % MODEL_IDS;

	for (uint64_t i = 0; i < MODEL_IDS; i++) {
		uint64_t n = (start + i) % MODEL_IDS;

		if (model[n] == wanted)
			return n;
	}
	return MODEL_IDS;
}

static void random_step(uint64_t *state)
{
	struct outbox_added added;
	uint64_t n = next_random(state) % MODEL_IDS;

	switch (next_random(state) % 6) {
	case 0:
	case 1:
		ck_assert_int_eq(rig_add(&rig, n, &added), ERR_OK);
		ck_assert_int_eq(added.verdict == OUTBOX_ADDED, model[n] == GONE);
		if (model[n] != GONE)
			break;
		model[n] = PENDING;
		model_seq[n] = added.seq;
		break;
	case 2:
		n = pick(state, PENDING);
		if (n == MODEL_IDS)
			break;
		ck_assert_uint_eq(remove_one_range("", model_seq[n], model_seq[n]), 1);
		model[n] = ENDED;
		break;
	case 3:
		n = pick(state, PENDING);
		if (n == MODEL_IDS)
			break;
		begin();
		ck_assert_int_eq(
			outbox_park(&rig.outbox, span_of(""), model_seq[n], span_of("x")),
			ERR_OK);
		commit();
		model[n] = PARKED;
		break;
	case 4:
		n = pick(state, PARKED);
		if (n == MODEL_IDS)
			break;
		begin();
		ck_assert_int_eq(
			outbox_replay(&rig.outbox, span_of(""), &model_seq[n]), ERR_OK);
		commit();
		model[n] = PENDING;
		break;
	default:
		rig_reopen(&rig);
		break;
	}
}

START_TEST(whatever_happens_in_whatever_order_the_counts_are_exact)
{
	uint64_t state = 0x9e3779b97f4a7c15 + (uint64_t)_i;

	for (int i = 0; i < 150; i++) {
		random_step(&state);
		uint64_t pending = 0;
		uint64_t parked = 0;

		for (int n = 0; n < MODEL_IDS; n++) {
			pending += model[n] == PENDING ? 1 : 0;
			parked += model[n] == PARKED ? 1 : 0;
		}
		ck_assert_uint_eq(tally("").pending_rows, pending);
		ck_assert_uint_eq(tally("").parked_rows, parked);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store_outbox");
	TCase *tc = tcase_create("outbox");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_message_comes_back_as_it_was_after_a_restart);
	tcase_add_test(tc, a_message_of_nothing_but_an_operation_is_kept_too);
	tcase_add_test(tc, the_largest_body_is_kept);
	tcase_add_test(tc, a_number_that_no_row_can_hold_is_refused);
	tcase_add_test(tc, pages_are_bounded_in_rows_and_bytes_and_go_on_where_they_ended);
	tcase_add_test(tc, a_part_can_be_read_and_where_all_of_them_begin_and_end_is_known);
	tcase_add_test(tc, hosts_are_kept_apart);
	tcase_add_test(tc, a_seq_is_never_used_again);
	tcase_add_test(
		tc, the_same_message_again_is_joined_and_another_of_that_id_is_a_conflict);
	tcase_add_test(tc, what_is_gone_is_joined_as_long_as_its_outcome_is_known);
	tcase_add_test(tc, an_idempotency_key_stands_for_its_message_after_a_restart);
	tcase_add_test(tc, the_cap_in_rows_holds_across_a_restart);
	tcase_add_test(tc, the_cap_in_bytes_holds_to_the_byte);
	tcase_add_test(tc, what_is_parked_counts_too);
	tcase_add_test(
		tc, receipts_end_the_rows_of_their_ranges_and_their_outcome_is_remembered);
	tcase_add_test(tc, an_outcome_is_remembered_for_the_ttl_of_its_message);
	tcase_add_test(tc, memory_of_outcomes_is_bounded_and_goes_in_small_steps);
	tcase_add_test(tc, what_has_expired_ends_told_by_its_id);
	tcase_add_test(tc, what_is_parked_waits_with_its_reason_and_can_be_replayed_or_dropped);
	tcase_add_test(tc, no_statement_reads_or_sorts_a_whole_table);
	tcase_add_loop_test(tc, whatever_happens_in_whatever_order_the_counts_are_exact, 0, 4);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
