/* Replies that come to the desk: to whom they are given, and what is counted of those that are
 * nobody's. The border is away; what is on its way was put there by the test. */
#include "webapp-agent/desk.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "http_help.h"
#include "unit/unit.h"

static const char contract_text[] = "site: test\n"
				    "operations:\n"
				    "  a.call: {kind: call}\n"
				    "  a.send: {kind: send}\n";

static struct stage st;
static struct contract contract;
static struct border border;
static struct desk desk;
static enum errand_kind kind; /* of the next errand */
static struct errand *errand;
static bool has_asked;

static void on_lapse(struct errand *e)
{
	ck_abort_msg("errand %s lapsed", id_format(&e->id).at);
}

/* As the desk does it once the border has taken the message. */
static void on_request(void *arg, struct http_request *rq)
{
	struct digest content;
	enum errand_match match;
	struct span key;

	(void)arg;
	http_request_header(rq, "Idempotency-Key", &key);
	ck_assert_int_eq(digest_of(http_request_body(rq), &content), ERR_OK);
	struct errand_ask ask = { .kind = kind, .key = key, .content = &content };

	ck_assert_int_eq(errand_for(&desk.errands, &ask, rq, &errand, &match), ERR_OK);
	errand_sent(errand, SEC_MS(60), on_lapse);
	has_asked = true;
}

static void setup(void)
{
	struct desk_config config = {
		.host = "web1",
		.errands = { .max_waiting = 10,
			.max_kept = 10,
			.max_kept_bytes = KIB(1),
			.keep_ms = SEC_MS(60) },
	};
	struct report report;

	stage_open(&st);
	stage_serve(&st, (struct http_server_config){ .on_request = on_request });
	report_init(&report);
	ck_assert_int_eq(
		contract_parse(span_of(contract_text), "c", &report, &contract), ERR_OK);
	report_fini(&report);
	border = (struct border){ .loop = &st.loop };
	quiet_init(&border.quiet, &st.loop, "web1");
	desk_init(&desk, &st.loop, &config, &contract, "digest", &border);
}

static void teardown(void)
{
	desk_cancel(&desk);
	desk_fini(&desk);
	quiet_fini(&border.quiet);
	contract_free(&contract);
	stage_close(&st);
}

/* Returns the client, whose errand is under way. */
static int must_begin(enum errand_kind of)
{
	int fd = must_connect(st.path);

	kind = of;
	has_asked = false;
	must_send(fd, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
	stage_run_until(&st, &has_asked);
	return fd;
}

static void reply_to(const struct id *id)
{
	struct message reply = {
		.correlation = *id,
		.has_correlation = true,
		.body = span_of("{\"done\":true}"),
	};

	desk_reply(&desk, &reply);
}

static void expect_counts(uint64_t results, uint64_t late, uint64_t foreign)
{
	ck_assert_uint_eq(desk.counters.call_results, results);
	ck_assert_uint_eq(desk.counters.late_replies, late);
	ck_assert_uint_eq(desk.counters.foreign_replies, foreign);
}

/* An id that was made here, or is taken for one. */
static struct id make_id(enum errand_maker maker)
{
	struct id id;
	bool is_old = maker == ERRAND_MADE_BEFORE;

	id_make(&id, is_old ? desk.errands.begun_unix_ms - 1 : clock_unix_ms());
	id_set_mark(&id, (uint16_t)(desk.errands.mark + (maker == ERRAND_MADE_HERE ? 0 : 1)));
	return id;
}

START_TEST(a_reply_goes_to_who_called_and_comes_late_the_second_time)
{
	int fd = must_begin(ERRAND_CALL);
	struct id id = errand->id;

	ck_assert_int_eq(errand_maker(&desk.errands, &id), ERRAND_MADE_HERE);
	reply_to(&id);
	expect_counts(1, 0, 0);
	must_ask(fd, "", 200, "{\"done\":true}");
	reply_to(&id);
	expect_counts(1, 1, 0);
	close(fd);
}
END_TEST

/* Nothing but the broker's confirm says that a send is safe. */
START_TEST(a_reply_ends_no_send)
{
	int fd = must_begin(ERRAND_SEND);
	struct errand *e = errand;

	reply_to(&e->id);
	expect_counts(0, 1, 0);
	ck_assert_int_eq(e->state, ERRAND_SENT);
	ck_assert_uint_eq(desk.errands.waiter_count, 1);
	close(fd);
}
END_TEST

START_TEST(what_another_process_asked_is_foreign_unless_it_was_before_us)
{
	struct id ours = make_id(ERRAND_MADE_HERE);
	struct id former = make_id(ERRAND_MADE_BEFORE);
	struct id foreign = make_id(ERRAND_MADE_ELSEWHERE);

	reply_to(&ours);
	expect_counts(0, 1, 0);
	reply_to(&former);
	expect_counts(0, 2, 0);
	for (unsigned i = 1; i <= 100; i++) {
		reply_to(&foreign);
		expect_counts(0, 2, i);
	}
	ck_assert_uint_gt(border.quiet.hush.unsaid_count, 0); /* it does not fill the log */
}
END_TEST

START_TEST(no_two_processes_are_likely_to_have_the_same_mark)
{
	enum { PROCESSES = 20 };
	uint16_t first = desk.errands.mark;
	unsigned same = 0;

	for (int i = 0; i < PROCESSES; i++) {
		struct errands other;

		errands_init(&other, &st.loop, &desk.errands.config);
		same += other.mark == first ? 1 : 0;
		errands_fini(&other);
	}
	ck_assert_uint_lt(same, 4); /* by chance once in 10^11 */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_desk");
	TCase *tc = tcase_create("replies");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_reply_goes_to_who_called_and_comes_late_the_second_time);
	tcase_add_test(tc, a_reply_ends_no_send);
	tcase_add_test(tc, what_another_process_asked_is_foreign_unless_it_was_before_us);
	tcase_add_test(tc, no_two_processes_are_likely_to_have_the_same_mark);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
