#include <check.h>
#include <unistd.h>

#include "http_help.h"
#include "unit.h"
#include "webapp-agent/errand.h"

#define ASK                               \
	"POST /x HTTP/1.1\r\nHost: x\r\n" \
	"Content-Length: 0\r\n\r\n"

/* The app realm of these tests: answers each errand at once with the status that is due. */
static struct stage st;
static struct errands errands;
static unsigned status_due;
static unsigned made_count;  /* errands that were new */
static unsigned again_count; /* those that went out once more */
static struct id first_id;
static struct errand *waiting; /* when nothing is due */

static void on_request(void *arg, struct http_request *rq)
{
	const struct digest content = { { 0 } };
	enum errand_match match;
	struct errand *e;

	(void)arg;
	ck_assert_int_eq(
		errand_for(&errands, span_of("key"), &content, rq, &e, &match), ERR_OK);
	if (match == ERRAND_JOINED)
		return;
	if (match == ERRAND_NEW) {
		made_count++;
		first_id = e->id;
	} else {
		again_count++;
		ck_assert_int_eq(id_compare(&first_id, &e->id), 0);
	}
	errand_sent(e, DEADLINE_MS, NULL);
	if (status_due == 0)
		waiting = e;
	else
		errand_done(e, status_due, "text/plain", span_of("outcome"));
}

static void setup(void)
{
	static const struct errands_config config = {
		.max_waiting = 10,
		.max_kept = 10,
		.max_kept_bytes = 1000,
		.keep_ms = 60 * 1000,
	};

	stage_open(&st);
	errands_init(&errands, &st.loop, &config);
	stage_serve(&st, (struct http_server_config){ .on_request = on_request });
	made_count = 0;
	again_count = 0;
	waiting = NULL;
}

static void teardown(void)
{
	errands_fini(&errands);
	stage_close(&st);
}

static void play_twice(struct stage *s)
{
	int fd = must_connect(s->path);

	must_ask(fd, ASK, (int)status_due, "outcome");
	must_ask(fd, ASK, (int)status_due, "outcome");
	close(fd);
}

static const unsigned finals[] = { 200, 202, 400, 404, 409, 422, 499, 500, 502 };

START_TEST(the_outcome_of_a_run_is_kept_for_repetitions)
{
	status_due = finals[_i];
	stage_play(&st, play_twice);
	ck_assert_uint_eq(made_count, 1);
	ck_assert_uint_eq(again_count, 0);
	ck_assert_uint_eq(errands.joined, 1);
}
END_TEST

static const unsigned passing[] = { 429, 503, 504 };

START_TEST(not_now_is_no_outcome_to_keep)
{
	status_due = passing[_i];
	stage_play(&st, play_twice);
	ck_assert_uint_eq(made_count, 1);
	ck_assert_uint_eq(again_count, 1);
	ck_assert_uint_eq(errands.joined, 0);
	ck_assert_uint_eq(errands.kept_count, 1);
	ck_assert_uint_eq(errands.kept_bytes, 0);
}
END_TEST

static void play_until_it_works(struct stage *s)
{
	int fd = must_connect(s->path);

	status_due = 503;
	must_ask(fd, ASK, 503, "outcome");
	status_due = 200;
	must_ask(fd, ASK, 200, "outcome");
	status_due = 503;
	must_ask(fd, ASK, 200, "outcome");
	close(fd);
}

START_TEST(after_not_now_the_same_key_gets_the_result_and_keeps_it)
{
	stage_play(&st, play_until_it_works);
	ck_assert_uint_eq(made_count, 1);
	ck_assert_uint_eq(again_count, 1);
	ck_assert_uint_eq(errands.joined, 1);
}
END_TEST

static void lapse_then_hear_of_it(struct stage *s)
{
	const struct problem late = { .type = PROBLEM_DEADLINE_EXCEEDED };

	(void)s;
	errand_lapse(waiting, &late);
	errand_done(waiting, 504, "text/plain", span_of("the node's own deadline"));
	ck_assert_int_eq(waiting->state, ERRAND_LAPSED);
	status_due = 200;
}

static bool is_waiting;

static void look(struct stage *s)
{
	(void)s;
	is_waiting = waiting != NULL;
}

static void play_late(struct stage *s)
{
	int fd = must_connect(s->path);

	status_due = 0;
	must_send(fd, ASK);
	for (is_waiting = false; !is_waiting;)
		on_loop(s, look);
	on_loop(s, lapse_then_hear_of_it);
	must_get_problem(fd, 504, "deadline-exceeded");
	must_ask(fd, ASK, 200, "outcome");
	close(fd);
}

START_TEST(a_late_failure_does_not_stand_in_the_way_of_a_repetition)
{
	stage_play(&st, play_late);
	ck_assert_uint_eq(made_count, 1);
	ck_assert_uint_eq(again_count, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_outcome");
	TCase *tc = tcase_create("kept");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(
		tc, the_outcome_of_a_run_is_kept_for_repetitions, 0, ARRAY_COUNT(finals));
	tcase_add_loop_test(tc, not_now_is_no_outcome_to_keep, 0, ARRAY_COUNT(passing));
	tcase_add_test(tc, after_not_now_the_same_key_gets_the_result_and_keeps_it);
	tcase_add_test(tc, a_late_failure_does_not_stand_in_the_way_of_a_repetition);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
