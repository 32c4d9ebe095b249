#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/crowd.h"
#include "http_help.h"
#include "unit.h"

#define HOST "Host: x\r\n"
#define GET "GET /x HTTP/1.1\r\n" HOST "\r\n"

enum {
	PLACES = 512,
	RESTING = 600,
	COMING = 400,
	CROWD = 1000,
	KEPT = 10,
	FDS_NEEDED = 2 * (RESTING + CROWD) + 100,
};

static struct stage st;

static void setup(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < FDS_NEEDED) {
		limit.rlim_cur = FDS_NEEDED;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
	stage_open(&st);
}

static void teardown(void)
{
	stage_close(&st);
}

static const struct http_server_counters *counts(void)
{
	return http_server_counters(st.server);
}

/* -- the decision ------------------------------------------------------------------------ */

START_TEST(who_gives_way_is_told_by_deed_and_age)
{
	static const struct {
		enum crowd_deed deed;
		enum crowd_rank young;
		enum crowd_rank old;
	} cases[] = {
		{ CROWD_LEAVES, CROWD_LEAVING, CROWD_LEAVING },
		{ CROWD_ASKS, CROWD_QUIET, CROWD_STALLED },
		{ CROWD_ASKS_AGAIN, CROWD_AT_WORK, CROWD_STALLED },
		{ CROWD_TAKES, CROWD_BUSY, CROWD_STUCK },
		{ CROWD_RESTS, CROWD_AT_WORK, CROWD_QUIET },
		{ CROWD_WAITS, CROWD_BUSY, CROWD_BUSY },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		ck_assert_int_eq(crowd_rank(cases[i].deed, 0), cases[i].young);
		ck_assert_int_eq(
			crowd_rank(cases[i].deed, CROWD_PATIENCE_MS - 1), cases[i].young);
		ck_assert_int_eq(crowd_rank(cases[i].deed, CROWD_PATIENCE_MS), cases[i].old);
		ck_assert_int_eq(crowd_rank(cases[i].deed, UINT64_MAX), cases[i].old);
	}
}
END_TEST

START_TEST(an_old_half_request_goes_before_all_who_rest_and_a_young_one_after_them)
{
	struct crowd_member half_old = { crowd_rank(CROWD_ASKS, 1000), 9 };
	struct crowd_member half_young = { crowd_rank(CROWD_ASKS, 999), 3 };
	struct crowd_member half_younger = { crowd_rank(CROWD_ASKS, 998), 4 };
	struct crowd_member rests_long = { crowd_rank(CROWD_RESTS, 1000), 2 };
	struct crowd_member rests_longer = { crowd_rank(CROWD_RESTS, 5000), 1 };

	ck_assert(crowd_goes_first(half_old, rests_longer));
	ck_assert(crowd_goes_first(rests_longer, rests_long));
	ck_assert(crowd_goes_first(rests_long, half_young));
	ck_assert(crowd_goes_first(half_young, half_younger));
	ck_assert(!crowd_goes_first(half_young, rests_long));
}
END_TEST

START_TEST(few_at_work_are_spared_and_many_are_not)
{
	ck_assert(crowd_spares(0, 1));
	ck_assert(!crowd_spares(1, 1));
	ck_assert(crowd_spares(1, 8));
	ck_assert(crowd_spares(64, 512));
	ck_assert(!crowd_spares(65, 512));
}
END_TEST

/* -- stories ----------------------------------------------------------------------------- */

static void must_connect_all(const struct stage *s, int *fds, int count)
{
	for (int i = 0; i < count; i++)
		fds[i] = must_connect(s->path);
}

static void close_all(const int *fds, int count)
{
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

static void must_be_served(int fd)
{
	must_ask(fd, GET, 200, "GET /x");
}

static void play_resting_crowd(struct stage *s)
{
	int resting[RESTING];
	int coming[COMING];

	for (int i = 0; i < RESTING; i++) {
		resting[i] = must_connect(s->path);
		must_be_served(resting[i]);
	}
	/* All at once, and none in a hurry to say what it wants. */
	must_connect_all(s, coming, COMING);
	for (int i = 0; i < COMING; i++)
		must_send(coming[i], GET);
	for (int i = 0; i < COMING; i++)
		must_ask(coming[i], "", 200, "GET /x");
	close_all(coming, COMING);
	close_all(resting, RESTING);
}

START_TEST(a_crowd_at_rest_does_not_keep_those_out_who_come)
{
	stage_serve(&st, (struct http_server_config){ .max_connections = PLACES });
	stage_play(&st, play_resting_crowd);
	ck_assert_uint_eq(counts()->answers, RESTING + COMING);
	ck_assert_uint_eq(counts()->evicted, RESTING + COMING - PLACES);
	ck_assert_uint_eq(counts()->refused_full, 0);
}
END_TEST

static void half_a_request(int fd, int i)
{
	static const char *const halves[] = { "", "G", "GET /x HTTP/1.1\r\nHost",
		"POST /x HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n1234" };

	must_send(fd, halves[(size_t)i % ARRAY_COUNT(halves)]);
}

static void play_half_requests(struct stage *s)
{
	int crowd[CROWD];
	int kept = must_connect(s->path);

	must_be_served(kept);
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = must_connect(s->path);
		half_a_request(crowd[i], i);
		if (i % 10 != 0)
			continue;
		/* One that comes, while some more come before it has spoken. */
		int once = must_connect(s->path);

		for (int more = 0; more < 5 && i + 1 < CROWD; more++) {
			i++;
			crowd[i] = must_connect(s->path);
			half_a_request(crowd[i], i);
		}
		must_be_served(once);
		close(once);
		must_be_served(kept);
	}
	must_be_served(kept);
	close(kept);
	close_all(crowd, CROWD);
}

START_TEST(a_thousand_half_requests_keep_nobody_out_and_push_nobody_out_who_works)
{
	stage_serve(&st, (struct http_server_config){ .max_connections = 64 });
	stage_play(&st, play_half_requests);
	ck_assert_uint_ge(counts()->evicted, CROWD - 64);
	ck_assert_uint_eq(counts()->refused_full, 0);
	ck_assert_uint_eq(counts()->requests, counts()->answers);
	ck_assert_uint_ge(counts()->answers, 200);
}
END_TEST

static void play_mixed(struct stage *s)
{
	int crowd[CROWD];
	int kept[KEPT];

	must_connect_all(s, kept, KEPT);
	for (int i = 0; i < KEPT; i++)
		must_be_served(kept[i]);
	/* All of one user, and half of them with half a request. */
	must_connect_all(s, crowd, CROWD);
	for (int i = 0; i < CROWD; i += 2)
		send(crowd[i], "GET /x HT", 9, MSG_NOSIGNAL);
	for (int i = 0; i < KEPT; i++) {
		int once = must_connect(s->path);

		must_be_served(once);
		must_be_served(kept[i]);
		close(once);
	}
	close_all(crowd, CROWD);
	close_all(kept, KEPT);
}

START_TEST(a_thousand_connections_at_once_leave_the_good_ones_alone)
{
	stage_serve(&st, (struct http_server_config){ .max_connections = 100 });
	stage_play(&st, play_mixed);
	ck_assert_uint_eq(counts()->answers, 3 * KEPT);
	ck_assert_uint_ge(counts()->evicted, CROWD - 100);
}
END_TEST

/* The server looks at neither while it stands: what they have sent is in their sockets. */
static int unseen[8];

static void send_unseen(struct stage *s)
{
	int late[16];

	for (int i = 0; i < 8; i++)
		must_send(unseen[i], GET);
	must_connect_all(s, late, 16);
	for (int i = 0; i < 16; i++)
		must_send(late[i], GET);
	memcpy(s->extra, late, sizeof(late));
}

static void play_unseen(struct stage *s)
{
	int late[16];

	s->extra = late;
	must_connect_all(s, unseen, 8);
	for (int i = 0; i < 8; i += 2)
		must_be_served(unseen[i]);
	on_loop(s, send_unseen);
	for (int i = 0; i < 8; i++)
		must_ask(unseen[i], "", 200, "GET /x");
	for (int i = 0; i < 16; i++)
		must_ask(late[i], "", 200, "GET /x");
	close_all(unseen, 8);
	close_all(late, 16);
}

START_TEST(whose_request_has_come_is_served_before_he_gives_way)
{
	stage_serve(&st, (struct http_server_config){ .max_connections = 8 });
	stage_play(&st, play_unseen);
	ck_assert_uint_eq(counts()->answers, 4 + 8 + 16);
	ck_assert_uint_eq(counts()->evicted, 16);
}
END_TEST

static void play_crowd(struct stage *s)
{
	int held = must_connect(s->path);
	int at_work = must_connect(s->path);
	int strangers[20];

	must_send(held, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	wait_held(s, 1);
	must_be_served(at_work);
	for (int i = 0; i < 20; i++) {
		strangers[i] = must_connect(s->path);
		must_send(strangers[i], "GET /half");
		must_be_served(at_work);
	}
	/* Two places are left to them: all but the last two had to go, the oldest first. */
	for (int i = 0; i < 18; i++) {
		must_get_problem(strangers[i], 503, "overloaded");
		must_be_closed(strangers[i]);
		close(strangers[i]);
	}
	must_be_served(at_work);
	must_ask(strangers[18], " HTTP/1.1\r\n" HOST "\r\n", 200, "GET /half");
	must_ask(strangers[19], " HTTP/1.1\r\n" HOST "\r\n", 200, "GET /half");
	on_loop(s, release_all);
	must_ask(held, "", 200, "released");
	close(strangers[18]);
	close(strangers[19]);
	close(held);
	close(at_work);
}

START_TEST(strangers_give_way_and_who_is_being_answered_never)
{
	stage_serve(&st, (struct http_server_config){ .max_connections = 4 });
	stage_play(&st, play_crowd);
	ck_assert_uint_eq(counts()->evicted, 18);
	ck_assert_uint_eq(counts()->refused_full, 0);
}
END_TEST

static void play_refused(struct stage *s)
{
	int refused[4];
	int good[4];

	/* Told what was wrong, and still there: they count, but go before all others. */
	for (int i = 0; i < 4; i++) {
		refused[i] = must_connect(s->path);
		must_send(refused[i], "BREW * HTTP/1.1\r\n" HOST "\r\n");
		must_get_problem(refused[i], 405, "wrong-method");
	}
	for (int i = 0; i < 4; i++) {
		good[i] = must_connect(s->path);
		must_be_served(good[i]);
	}
	for (int i = 0; i < 4; i++)
		must_be_served(good[i]);
	close_all(refused, 4);
	close_all(good, 4);
}

START_TEST(who_was_told_its_last_gives_way_to_everybody)
{
	stage_serve(&st, (struct http_server_config){ .max_connections = 4 });
	stage_play(&st, play_refused);
	ck_assert_uint_eq(counts()->evicted, 4);
	ck_assert_uint_eq(counts()->answers, 8);
}
END_TEST

static void play_all_busy(struct stage *s)
{
	int busy[3];

	for (int i = 0; i < 3; i++) {
		busy[i] = must_connect(s->path);
		must_send(busy[i], "GET /hold HTTP/1.1\r\n" HOST "\r\n");
		wait_held(s, (unsigned)i + 1);
	}
	for (int i = 0; i < 10; i++) {
		int fd = must_connect(s->path);

		must_get_problem(fd, 503, "overloaded");
		must_be_closed(fd);
		close(fd);
	}
	on_loop(s, release_all);
	for (int i = 0; i < 3; i++) {
		must_ask(busy[i], "", 200, "released");
		must_be_served(busy[i]);
	}
	/* Kept connections give way once they are idle. */
	int fd = must_connect(s->path);

	must_be_served(fd);
	must_be_closed(busy[0]);
	must_be_served(busy[1]);
	close(fd);
	for (int i = 0; i < 3; i++)
		close(busy[i]);
}

START_TEST(when_every_connection_is_busy_the_new_one_is_told)
{
	stage_serve(&st, (struct http_server_config){ .max_connections = 9, .max_per_uid = 3 });
	stage_play(&st, play_all_busy);
	ck_assert_uint_eq(counts()->refused_full, 10);
	ck_assert_uint_eq(counts()->evicted, 1);
	ck_assert_uint_eq(counts()->gone, 0);
}
END_TEST

/* -- who has vanished -------------------------------------------------------------------- */

static void play_vanish(struct stage *s)
{
	for (int i = 0; i < 3; i++) {
		int fd = must_connect(s->path);

		must_send(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
		wait_held(s, 1);
		close(fd);
		wait_not_held(s);
	}
}

START_TEST(a_client_that_leaves_while_it_waits_is_noticed_at_once)
{
	stage_serve(&st, (struct http_server_config){ 0 });
	stage_play(&st, play_vanish);
	ck_assert_uint_eq(st.gone_count, 3);
	ck_assert_int_eq(st.gone_reason, ERR_LINK);
	ck_assert_uint_eq(counts()->gone, 3);
	ck_assert_uint_eq(counts()->open_count, 0);
}
END_TEST

static void play_vanish_deaf(struct stage *s)
{
	int fds[3];

	/* Their next requests wait in their sockets, which are not looked at until the answer:
	 * nobody sees them go. */
	for (int i = 0; i < 3; i++) {
		fds[i] = must_connect(s->path);
		must_send(fds[i], "GET /hold HTTP/1.1\r\n" HOST "\r\n");
		wait_held(s, (unsigned)i + 1);
		must_send(fds[i], GET);
		on_loop(s, nothing);
		on_loop(s, nothing);
	}
	close_all(fds, 3);
	int fd = must_connect(s->path);

	must_be_served(fd);
	wait_not_held(s);
	close(fd);
}

START_TEST(those_who_left_unseen_give_way)
{
	stage_serve(&st, (struct http_server_config){ .max_connections = 3 });
	stage_play(&st, play_vanish_deaf);
	ck_assert_uint_eq(st.gone_count, 3);
	ck_assert_int_eq(st.gone_reason, ERR_LINK);
	ck_assert_uint_eq(counts()->refused_full, 0);
	ck_assert_uint_eq(counts()->evicted, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http_crowd");
	TCase *tc = tcase_create("http_crowd");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, who_gives_way_is_told_by_deed_and_age);
	tcase_add_test(
		tc, an_old_half_request_goes_before_all_who_rest_and_a_young_one_after_them);
	tcase_add_test(tc, few_at_work_are_spared_and_many_are_not);
	tcase_add_test(tc, a_crowd_at_rest_does_not_keep_those_out_who_come);
	tcase_add_test(
		tc, a_thousand_half_requests_keep_nobody_out_and_push_nobody_out_who_works);
	tcase_add_test(tc, a_thousand_connections_at_once_leave_the_good_ones_alone);
	tcase_add_test(tc, whose_request_has_come_is_served_before_he_gives_way);
	tcase_add_test(tc, strangers_give_way_and_who_is_being_answered_never);
	tcase_add_test(tc, who_was_told_its_last_gives_way_to_everybody);
	tcase_add_test(tc, when_every_connection_is_busy_the_new_one_is_told);
	tcase_add_test(tc, a_client_that_leaves_while_it_waits_is_noticed_at_once);
	tcase_add_test(tc, those_who_left_unseen_give_way);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
