/* Errands asked for over a real socket: who joins, who is told what, what is kept and for how
 * long. The loop, the server and the clients share one thread: tests act between its runs. */
#include "webapp-agent/errand.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "http_help.h"
#include "unit/unit.h"

static const char JSON[] = "application/json";

static struct stage st;
static struct errands all;

/* What errand_for() said to the last request. */
static struct {
	unsigned count; /* of requests so far */
	enum err err;
	enum errand_match match;
	struct errand *errand;
} seen;

/* Done inside the request's callback, as the desk does it; NULL: the test does it later. */
static void (*at_once)(struct errand *e);

static unsigned lapse_count;
static uint64_t patience_ms; /* of those who ask */

static struct problem late(void)
{
	return (struct problem){
		.type = PROBLEM_DEADLINE_EXCEEDED,
		.detail = span_of("too late"),
	};
}

static struct problem away(void)
{
	return (struct problem){
		.type = PROBLEM_BORDER_UNAVAILABLE,
		.detail = span_of("away"),
		.retry_after_ms = 1000,
	};
}

static struct problem stopping(void)
{
	return (struct problem){ .type = PROBLEM_STOPPING };
}

static void on_lapse(struct errand *e)
{
	struct problem problem = late();

	lapse_count++;
	errand_lapse(e, &problem);
}

/* Of errands of another kind. */
static void on_other_lapse(struct errand *e)
{
	on_lapse(e);
}

static void on_impatient(struct errand *e, struct http_request *rq)
{
	struct problem problem = late();

	ck_assert_int_eq(e->state, ERRAND_SENT);
	http_request_answer_problem(rq, &problem);
}

static void done(struct errand *e, unsigned status, struct span body)
{
	struct errand_outcome outcome = {
		.status = status,
		.content_type = JSON,
		.body = body,
	};

	errand_done(e, &outcome);
}

static void refuse(struct http_request *rq, enum err err)
{
	struct problem problem = {
		.type = err == ERR_CONFLICT ? PROBLEM_CONFLICT : PROBLEM_OVERLOADED,
	};

	http_request_answer_problem(rq, &problem);
}

static void on_request(void *arg, struct http_request *rq)
{
	struct digest content;
	struct span key;

	(void)arg;
	http_request_header(rq, "Idempotency-Key", &key);
	ck_assert_int_eq(digest_of(http_request_body(rq), &content), ERR_OK);
	seen.errand = NULL;
	struct errand_ask ask = { .key = key, .content = &content, .wait_ms = patience_ms };

	seen.err = errand_for(&all, &ask, rq, &seen.errand, &seen.match);
	seen.count++;
	if (seen.err != ERR_OK)
		refuse(rq, seen.err);
	else if (seen.match != ERRAND_JOINED && at_once != NULL)
		at_once(seen.errand);
}

static void begin(struct errands_config config)
{
	if (config.max_waiting == 0)
		config.max_waiting = 10;
	if (config.max_kept == 0)
		config.max_kept = 10;
	if (config.max_kept_bytes == 0)
		config.max_kept_bytes = KIB(1);
	if (config.keep_ms == 0)
		config.keep_ms = SEC_MS(60);
	config.on_impatient = on_impatient;
	errands_init(&all, &st.loop, &config);
}

static void setup(void)
{
	memset(&seen, 0, sizeof(seen));
	at_once = NULL;
	lapse_count = 0;
	patience_ms = 0;
	stage_open(&st);
	stage_serve(&st, (struct http_server_config){ .on_request = on_request });
	begin((struct errands_config){ 0 });
}

/* The same with other limits. */
static void begin_with(struct errands_config config)
{
	errands_fini(&all);
	begin(config);
}

static void teardown(void)
{
	struct problem problem = stopping();

	errands_cancel(&all, &problem);
	ck_assert_uint_eq(all.sent_count, 0);
	ck_assert_uint_eq(all.waiter_count, 0);
	errands_fini(&all);
	errands_fini(&all);
	stage_close(&st);
}

/* ---- taking turns ---- */

static bool has_answer(int fd)
{
	struct pollfd asked = { .fd = fd, .events = POLLIN };

	return poll(&asked, 1, 0) > 0;
}

/* What the loop runs for: looked at at the end of each phase, after all rooms had their turns. */
static struct {
	struct turn turn;
	bool (*is_so)(unsigned arg);
	unsigned arg;
} awaited;

static bool on_turn(struct turn *t)
{
	(void)t;
	if (awaited.is_so(awaited.arg))
		loop_stop(&st.loop);
	return false;
}

static void on_readable(void *arg, enum err status, enum watch_events events)
{
	(void)arg; /* the turn looks */
	(void)status;
	(void)events;
}

static void on_out_of_time(struct timer *timer)
{
	(void)timer;
	ck_abort_msg("out of time");
}

/* fd: of a client whose answer may be what is waited for; -1: none. */
static void run_until(bool (*is_so)(unsigned arg), unsigned arg, int fd)
{
	struct watch *watch = NULL;
	struct timer limit;

	if (fd >= 0)
		ck_assert_int_eq(
			watch_start(&st.loop, fd, WATCH_READ, on_readable, NULL, &watch),
			ERR_OK);
	timer_init(&limit, &st.loop, on_out_of_time);
	timer_after(&limit, DEADLINE_MS);
	awaited.is_so = is_so;
	awaited.arg = arg;
	loop_turn_add(&st.loop, &awaited.turn, on_turn);
	loop_run(&st.loop);
	loop_turn_drop(&awaited.turn);
	timer_cancel(&limit);
	watch_stop(watch);
}

static bool is_judged(unsigned before)
{
	return seen.count > before;
}

static bool is_answered(unsigned fd)
{
	return has_answer((int)fd);
}

static bool is_judged_or_refused(unsigned fd)
{
	return seen.count > 0 || has_answer((int)fd);
}

static bool has_lapsed(unsigned count)
{
	return lapse_count >= count;
}

static bool is_nothing_kept(unsigned unused)
{
	(void)unused;
	return all.kept_count == 0;
}

static void send_request(int fd, const char *key, const char *body)
{
	char request[512];
	int len = snprintf(request, sizeof(request),
		"POST /x HTTP/1.1\r\nHost: x\r\n%s%s%sContent-Length: %zu\r\n\r\n%s",
		key[0] == '\0' ? "" : "Idempotency-Key: ", key, key[0] == '\0' ? "" : "\r\n",
		strlen(body), body);

	ck_assert_int_lt(len, (int)sizeof(request));
	must_send(fd, request);
}

/* Until errand_for() has judged it. */
static void ask_on(int fd, const char *key, const char *body)
{
	unsigned before = seen.count;

	send_request(fd, key, body);
	run_until(is_judged, before, -1);
	ck_assert_uint_eq(seen.count, before + 1);
}

/* A client of its own; returns its socket. */
static int ask(const char *key, const char *body)
{
	int fd = must_connect(st.path);

	ask_on(fd, key, body);
	return fd;
}

static int must_ask_for(const char *key, const char *body, enum errand_match match)
{
	int fd = ask(key, body);

	ck_assert_int_eq(seen.err, ERR_OK);
	ck_assert_int_eq(seen.match, match);
	return fd;
}

static struct reply next_reply(int fd)
{
	run_until(is_answered, (unsigned)fd, fd);
	return must_reply(fd);
}

static void expect_header(const struct reply *r, const char *name, const char *value)
{
	char line[256];

	snprintf(line, sizeof(line), "\r\n%s: %s\r\n", name, value);
	ck_assert_msg(strstr(r->head, line) != NULL, "no %s: %s in\n%s", name, value, r->head);
}

/* The answer to a request, then the end of its client. */
static void expect_result(int fd, unsigned status, const char *body, const char *id)
{
	struct reply r = next_reply(fd);

	ck_assert_int_eq(r.status, (int)status);
	ck_assert_str_eq(r.body, body);
	expect_header(&r, "Content-Type", JSON);
	if (id != NULL)
		expect_header(&r, "Sallyport-Id", id);
	reply_free(&r);
	close(fd);
}

static void expect_problem(int fd, unsigned status, const char *type, const char *id)
{
	struct reply r = next_reply(fd);
	char member[128];

	ck_assert_int_eq(r.status, (int)status);
	expect_header(&r, "Content-Type", PROBLEM_MEDIA_TYPE);
	snprintf(member, sizeof(member), "\"type\":\"%s%s\"", PROBLEM_TYPE_PREFIX, type);
	ck_assert_msg(strstr(r.body, member) != NULL, "no %s in %s", member, r.body);
	if (id != NULL)
		ck_assert_msg(strstr(r.body, id) != NULL, "no %s in %s", id, r.body);
	reply_free(&r);
	close(fd);
}

static void on_server_stopped(void *arg)
{
	*(bool *)arg = true;
}

static void stop_server(void)
{
	bool is_stopped = false;

	http_server_stop(st.server, on_server_stopped, &is_stopped);
	st.server = NULL;
	stage_run_until(&st, &is_stopped);
}

/* A server that has no room for more: it looks who has gone only when it needs room. */
static void serve_at_most(unsigned connections)
{
	stop_server();
	stage_serve(&st, (struct http_server_config){
				 .on_request = on_request, .max_connections = connections });
}

static unsigned waiters_wanted;

static bool are_gone_or_refused(unsigned fd)
{
	return all.waiter_count <= waiters_wanted || has_answer((int)fd);
}

/* Until those who have closed are noticed: knocks at the door of a full server. */
static void await_gone(unsigned waiters_left)
{
	waiters_wanted = waiters_left;
	while (all.waiter_count > waiters_left) {
		int fd = must_connect(st.path);

		run_until(are_gone_or_refused, (unsigned)fd, fd);
		close(fd);
	}
	ck_assert_uint_eq(all.waiter_count, waiters_left);
}

/* The client goes away without having heard anything. */
static void leave(int fd, unsigned waiters_left)
{
	ck_assert(!has_answer(fd));
	close(fd);
	await_gone(waiters_left);
}

static void sent(struct errand *e)
{
	errand_sent(e, SEC_MS(60), on_lapse);
}

/* Sent, and its outcome is here: what is kept of it is `body`. */
static void finish(const char *key, const char *body)
{
	int fd = must_ask_for(key, "{}", ERRAND_NEW);
	struct errand *e = seen.errand;

	sent(e);
	done(e, 200, span_of(body));
	expect_result(fd, 200, body, NULL);
}

/* Sent, and no outcome came. */
static void let_lapse(const char *key)
{
	int fd = must_ask_for(key, "{}", ERRAND_NEW);
	struct problem problem = late();

	sent(seen.errand);
	errand_lapse(seen.errand, &problem);
	expect_problem(fd, 504, "deadline-exceeded", NULL);
}

static void expect_kept(const char *key, const char *body)
{
	expect_result(must_ask_for(key, "{}", ERRAND_JOINED), 200, body, NULL);
}

/* Nothing is remembered of it; nor will it be after this. */
static void expect_unknown(const char *key)
{
	struct problem problem = away();
	int fd = must_ask_for(key, "{}", ERRAND_NEW);

	errand_drop(seen.errand, &problem);
	expect_problem(fd, 503, "border-unavailable", NULL);
}

/* All errands there are, by id. The trees' own walks are private to the room. */
enum { FOUND_MAX = 64 };

static struct {
	struct errand *at[FOUND_MAX];
	unsigned count;
	unsigned with_key; /* in the tree of keys */
} found;

static void find_below(struct errand *e)
{
	if (e == NULL)
		return;
	find_below(RB_LEFT(e, by_id));
	ck_assert_uint_lt(found.count, FOUND_MAX);
	found.at[found.count++] = e;
	find_below(RB_RIGHT(e, by_id));
}

static void count_keys_below(const struct errand *e)
{
	if (e == NULL)
		return;
	found.with_key++;
	count_keys_below(RB_LEFT(e, by_key));
	count_keys_below(RB_RIGHT(e, by_key));
}

static void find_errands(void)
{
	found.count = 0;
	found.with_key = 0;
	find_below(RB_ROOT(&all.by_id));
	count_keys_below(RB_ROOT(&all.by_key));
}

static void expect_counts(unsigned sent_count, unsigned waiters, unsigned kept)
{
	ck_assert_uint_eq(all.sent_count, sent_count);
	ck_assert_uint_eq(all.waiter_count, waiters);
	ck_assert_uint_eq(all.kept_count, kept);
	find_errands();
	ck_assert_uint_eq(found.count, sent_count + kept);
}

/* ---- new, joined, kept ---- */

START_TEST(what_is_asked_for_the_first_time_is_new)
{
	int fd = must_ask_for("", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;
	struct id id = e->id;
	struct id_text text = id_format(&id);

	ck_assert_int_eq(e->state, ERRAND_FRESH);
	ck_assert_ptr_eq(errand_find(&all, &id), e);
	sent(e);
	expect_counts(1, 1, 0);
	ck_assert(!has_answer(fd));
	done(e, 200, span_of("{\"a\":1}"));
	expect_result(fd, 200, "{\"a\":1}", text.at);
	ck_assert_ptr_null(errand_find(&all, &id));
	expect_counts(0, 0, 0);
	ck_assert_uint_eq(all.joined, 0);
}
END_TEST

START_TEST(without_a_key_the_same_again_is_another_errand)
{
	int first = must_ask_for("", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;

	sent(e);
	int second = must_ask_for("", "{}", ERRAND_NEW);

	ck_assert_ptr_ne(seen.errand, e);
	ck_assert_int_ne(id_compare(&seen.errand->id, &e->id), 0);
	sent(seen.errand);
	expect_counts(2, 2, 0);
	done(seen.errand, 200, span_of("2"));
	done(e, 200, span_of("1"));
	expect_result(first, 200, "1", NULL);
	expect_result(second, 200, "2", NULL);
	expect_counts(0, 0, 0);
}
END_TEST

START_TEST(a_repetition_joins_and_all_hear_the_same)
{
	int fd[5];

	fd[0] = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;
	struct id_text id = id_format(&e->id);

	sent(e);
	for (size_t i = 1; i < ARRAY_COUNT(fd); i++) {
		fd[i] = must_ask_for("k", "{}", ERRAND_JOINED);
		ck_assert_ptr_eq(seen.errand, e);
	}
	expect_counts(1, 5, 0);
	ck_assert_uint_eq(all.joined, 4);
	done(e, 202, span_of("{\"id\":1}"));
	for (size_t i = 0; i < ARRAY_COUNT(fd); i++)
		expect_result(fd[i], 202, "{\"id\":1}", id.at);
	expect_counts(0, 0, 1);
	/* Later ones get what is kept, at once. */
	for (int i = 0; i < 3; i++)
		expect_result(must_ask_for("k", "{}", ERRAND_JOINED), 202, "{\"id\":1}", id.at);
	ck_assert_uint_eq(all.joined, 7);
	expect_counts(0, 0, 1);
}
END_TEST

START_TEST(keys_that_differ_in_a_byte_are_different_keys)
{
	finish("k", "1");
	finish("K", "2");
	finish("kk", "3");
	expect_kept("k", "1");
	expect_kept("K", "2");
	expect_kept("kk", "3");
}
END_TEST

START_TEST(the_longest_key_is_a_key)
{
	char key[ERRAND_KEY_MAX_BYTES + 1];

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	finish(key, "1");
	expect_kept(key, "1");
	key[ERRAND_KEY_MAX_BYTES - 1] = 'x';
	expect_unknown(key);
}
END_TEST

START_TEST(an_empty_body_is_kept_too)
{
	finish("k", "");
	expect_kept("k", "");
}
END_TEST

/* A run that failed is an outcome too. */
static const unsigned final[] = { 200, 202, 400, 404, 409, 422, 499, 500, 502 };

START_TEST(results_refusals_and_failures_are_kept)
{
	unsigned status = final[_i];
	int fd = must_ask_for("k", "{}", ERRAND_NEW);

	sent(seen.errand);
	done(seen.errand, status, span_of("so"));
	expect_result(fd, status, "so", NULL);
	expect_result(must_ask_for("k", "{}", ERRAND_JOINED), status, "so", NULL);
}
END_TEST

static const unsigned not_final[] = { 429, 503, 504 };

START_TEST(what_may_be_different_the_next_time_is_told_but_not_kept)
{
	unsigned status = not_final[_i];
	int fd = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;
	struct id_text id = id_format(&e->id);

	sent(e);
	done(e, status, span_of("not now"));
	expect_result(fd, status, "not now", id.at);
	ck_assert_int_eq(e->state, ERRAND_LAPSED);
	expect_counts(0, 0, 1);
	/* Nor does a second one, later, while nobody waits. */
	done(e, status, span_of("not now"));
	expect_counts(0, 0, 1);
	fd = must_ask_for("k", "{}", ERRAND_AGAIN);
	ck_assert_ptr_eq(seen.errand, e);
	sent(e);
	done(e, 200, span_of("now"));
	expect_result(fd, 200, "now", id.at);
	expect_kept("k", "now");

	fd = must_ask_for("", "{}", ERRAND_NEW);
	sent(seen.errand);
	done(seen.errand, status, span_of("not now"));
	expect_result(fd, status, "not now", NULL);
	expect_counts(0, 0, 1);
}
END_TEST

/* ---- conflict ---- */

START_TEST(other_content_under_a_known_key_is_a_conflict_in_every_state)
{
	int fd = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;
	struct problem problem = late();

	sent(e);
	expect_problem(ask("k", "{ }"), 409, "conflict", NULL);
	ck_assert_int_eq(seen.err, ERR_CONFLICT);
	expect_counts(1, 1, 0);
	errand_lapse(e, &problem);
	expect_problem(fd, 504, "deadline-exceeded", NULL);
	expect_problem(ask("k", "{ }"), 409, "conflict", NULL);
	expect_counts(0, 0, 1);
	done(e, 200, span_of("1"));
	expect_problem(ask("k", "{ }"), 409, "conflict", NULL);
	expect_counts(0, 0, 1);
	expect_kept("k", "1");
	ck_assert_uint_eq(all.joined, 1);
}
END_TEST

/* ---- limits ---- */

START_TEST(above_the_limit_nobody_waits)
{
	begin_with((struct errands_config){ .max_waiting = 2 });
	finish("kept", "0");
	int first = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;

	sent(e);
	int second = must_ask_for("k", "{}", ERRAND_JOINED);

	expect_problem(ask("", "{}"), 503, "overloaded", NULL);
	ck_assert_int_eq(seen.err, ERR_FULL);
	expect_problem(ask("other", "{}"), 503, "overloaded", NULL);
	expect_problem(ask("k", "{}"), 503, "overloaded", NULL);
	expect_counts(1, 2, 1);
	expect_kept("kept", "0"); /* who need not wait needs no room */
	expect_problem(ask("kept", "{ }"), 409, "conflict", NULL);
	done(e, 200, span_of("1"));
	expect_result(first, 200, "1", NULL);
	expect_result(second, 200, "1", NULL);
	expect_unknown("other"); /* there is room again */
}
END_TEST

START_TEST(errands_whose_people_have_left_count_too)
{
	serve_at_most(1);
	begin_with((struct errands_config){ .max_waiting = 2 });
	let_lapse("lapsed");
	for (int i = 0; i < 2; i++) {
		int fd = must_ask_for(i == 0 ? "k" : "", "{}", ERRAND_NEW);

		sent(seen.errand);
		leave(fd, 0);
	}
	expect_counts(2, 0, 1);
	expect_problem(ask("", "{}"), 503, "overloaded", NULL);
	expect_problem(ask("lapsed", "{}"), 503, "overloaded", NULL);
	expect_counts(2, 0, 1);
	/* Who comes back to what is under way adds nothing to it. */
	int fd = must_ask_for("k", "{}", ERRAND_JOINED);

	done(seen.errand, 200, span_of("1"));
	expect_result(fd, 200, "1", NULL);
	fd = must_ask_for("lapsed", "{}", ERRAND_AGAIN);
	sent(seen.errand);
	done(seen.errand, 200, span_of("2"));
	expect_result(fd, 200, "2", NULL);
	expect_counts(1, 0, 2);
}
END_TEST

/* ---- the deadline ---- */

START_TEST(who_waits_too_long_is_told_when_it_is_time_and_not_before)
{
	int fd = must_ask_for("", "{}", ERRAND_NEW);
	struct id_text id = id_format(&seen.errand->id);
	uint64_t begun_us = clock_mono_us();

	errand_sent(seen.errand, 30, on_lapse);
	expect_problem(fd, 504, "deadline-exceeded", id.at);
	ck_assert_uint_ge(clock_mono_us() - begun_us, 30 * 1000);
	ck_assert_uint_eq(lapse_count, 1);
	expect_counts(0, 0, 0); /* without a key nothing is remembered */
}
END_TEST

START_TEST(all_who_joined_are_told_and_the_errand_is_remembered)
{
	int first = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;
	struct id_text id = id_format(&e->id);

	sent(e);
	int second = must_ask_for("k", "{}", ERRAND_JOINED);

	timer_after(&e->timer, 0); /* the deadline, now that both are there */
	expect_problem(first, 504, "deadline-exceeded", id.at);
	expect_problem(second, 504, "deadline-exceeded", id.at);
	ck_assert_uint_eq(lapse_count, 1);
	ck_assert_int_eq(e->state, ERRAND_LAPSED);
	expect_counts(0, 0, 1);
}
END_TEST

START_TEST(who_joins_waits_no_longer_than_he_said_and_the_errand_goes_on)
{
	int first = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;
	struct reply r;

	sent(e);
	patience_ms = 20;
	int second = must_ask_for("k", "{}", ERRAND_JOINED);

	patience_ms = 0;
	int third = must_ask_for("k", "{}", ERRAND_JOINED);

	expect_counts(1, 3, 0);
	r = next_reply(second);
	ck_assert_int_eq(r.status, 504);
	reply_free(&r);
	expect_counts(1, 2, 0);
	ck_assert_int_eq(e->state, ERRAND_SENT);
	ck_assert_uint_eq(lapse_count, 0);
	ck_assert(!has_answer(first));
	ck_assert(!has_answer(third));
	done(e, 200, span_of("1"));
	expect_result(first, 200, "1", NULL);
	expect_result(third, 200, "1", NULL);
	/* He may ask again, on the same connection. */
	ask_on(second, "k", "{}");
	expect_result(second, 200, "1", NULL);
	expect_counts(0, 0, 1);
}
END_TEST

START_TEST(who_hears_in_time_is_not_told_again_that_it_was_too_late)
{
	int first = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;

	sent(e);
	patience_ms = 30;
	int second = must_ask_for("k", "{}", ERRAND_JOINED);
	int gone = must_ask_for("k", "{}", ERRAND_JOINED);

	done(e, 200, span_of("1"));
	expect_result(first, 200, "1", NULL);
	expect_result(second, 200, "1", NULL);
	close(gone);
	/* Until well after his time. */
	patience_ms = 0;
	int other = must_ask_for("", "{}", ERRAND_NEW);

	errand_sent(seen.errand, 60, on_lapse);
	expect_problem(other, 504, "deadline-exceeded", NULL);
}
END_TEST

START_TEST(who_makes_an_errand_waits_as_long_as_it_does)
{
	patience_ms = 1;
	int fd = must_ask_for("k", "{}", ERRAND_NEW);

	errand_sent(seen.errand, 40, on_lapse);
	expect_problem(fd, 504, "deadline-exceeded", NULL);
	ck_assert_uint_eq(lapse_count, 1);
}
END_TEST

START_TEST(how_long_to_wait_is_a_header_for_all_and_kept_too)
{
	struct errand_outcome outcome = {
		.status = 409,
		.content_type = JSON,
		.retry_after_ms = 1001,
		.body = span_of("{}"),
	};
	int fd[3];

	fd[0] = must_ask_for("k", "{}", ERRAND_NEW);
	sent(seen.errand);
	fd[1] = must_ask_for("k", "{}", ERRAND_JOINED);
	errand_done(seen.errand, &outcome);
	fd[2] = must_ask_for("k", "{}", ERRAND_JOINED);
	for (size_t i = 0; i < ARRAY_COUNT(fd); i++) {
		struct reply r = next_reply(fd[i]);

		ck_assert_int_eq(r.status, 409);
		expect_header(&r, "Retry-After", "2");
		reply_free(&r);
		close(fd[i]);
	}
	finish("other", "1");
	struct reply r = next_reply(must_ask_for("other", "{}", ERRAND_JOINED));

	ck_assert_ptr_null(strstr(r.head, "Retry-After"));
	reply_free(&r);
}
END_TEST

START_TEST(an_outcome_before_the_deadline_ends_the_deadline)
{
	int fd = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;

	errand_sent(e, 20, on_lapse);
	done(e, 200, span_of("1"));
	expect_result(fd, 200, "1", NULL);
	/* Until another deadline that is later has passed. */
	fd = must_ask_for("", "{}", ERRAND_NEW);
	errand_sent(seen.errand, 40, on_lapse);
	expect_problem(fd, 504, "deadline-exceeded", NULL);
	ck_assert_uint_eq(lapse_count, 1);
	expect_kept("k", "1");
}
END_TEST

START_TEST(a_late_outcome_is_kept_for_who_asks_again)
{
	let_lapse("k");
	struct errand *e = seen.errand;
	struct id_text id = id_format(&e->id);

	ck_assert_ptr_eq(errand_find(&all, &e->id), e);
	done(e, 200, span_of("late"));
	ck_assert_int_eq(e->state, ERRAND_DONE);
	expect_counts(0, 0, 1);
	ck_assert_uint_eq(all.kept_bytes, 4);
	expect_result(must_ask_for("k", "{}", ERRAND_JOINED), 200, "late", id.at);
}
END_TEST

START_TEST(what_lapsed_goes_out_again_under_its_id)
{
	let_lapse("k");
	struct errand *e = seen.errand;
	struct id id = e->id;
	int fd[2];

	for (int i = 0; i < 3; i++) {
		fd[0] = must_ask_for("k", "{}", ERRAND_AGAIN);
		ck_assert_ptr_eq(seen.errand, e);
		ck_assert_int_eq(id_compare(&e->id, &id), 0);
		sent(e);
		expect_counts(1, 1, 0);
		fd[1] = must_ask_for("k", "{}", ERRAND_JOINED);
		if (i == 2)
			break;
		struct problem problem = late();

		errand_lapse(e, &problem);
		expect_problem(fd[0], 504, "deadline-exceeded", id_format(&id).at);
		expect_problem(fd[1], 504, "deadline-exceeded", id_format(&id).at);
		expect_counts(0, 0, 1);
	}
	done(e, 200, span_of("1"));
	expect_result(fd[0], 200, "1", id_format(&id).at);
	expect_result(fd[1], 200, "1", id_format(&id).at);
	expect_kept("k", "1");
}
END_TEST

/* ---- what could not be sent ---- */

START_TEST(what_never_left_is_forgotten)
{
	struct problem problem = away();
	int fd = must_ask_for("k", "{}", ERRAND_NEW);
	struct id id = seen.errand->id;

	errand_drop(seen.errand, &problem);
	struct reply r = next_reply(fd);

	ck_assert_int_eq(r.status, 503);
	expect_header(&r, "Retry-After", "1");
	reply_free(&r);
	close(fd);
	expect_counts(0, 0, 0);
	/* So it may come with other content, and has another id. */
	fd = must_ask_for("k", "{ }", ERRAND_NEW);
	ck_assert_int_ne(id_compare(&seen.errand->id, &id), 0);
	errand_drop(seen.errand, &problem);
	expect_problem(fd, 503, "border-unavailable", NULL);
	fd = must_ask_for("", "{}", ERRAND_NEW);
	errand_drop(seen.errand, &problem);
	expect_problem(fd, 503, "border-unavailable", NULL);
	expect_counts(0, 0, 0);
}
END_TEST

START_TEST(what_once_left_stays_lapsed_when_it_cannot_leave_again)
{
	struct problem problem = away();

	let_lapse("k");
	struct errand *e = seen.errand;

	for (int i = 0; i < 2; i++) {
		int fd = must_ask_for("k", "{}", ERRAND_AGAIN);

		ck_assert_ptr_eq(seen.errand, e);
		errand_drop(e, &problem);
		expect_problem(fd, 503, "border-unavailable", id_format(&e->id).at);
		ck_assert_int_eq(e->state, ERRAND_LAPSED);
		expect_counts(0, 0, 1);
	}
	done(e, 200, span_of("late"));
	expect_kept("k", "late");
}
END_TEST

static void drop_at_once(struct errand *e)
{
	struct problem problem = away();

	errand_drop(e, &problem);
}

static void finish_at_once(struct errand *e)
{
	sent(e);
	done(e, 200, span_of("here"));
}

START_TEST(an_errand_may_end_while_its_request_is_being_taken_in)
{
	at_once = drop_at_once;
	expect_problem(ask("k", "{}"), 503, "border-unavailable", NULL);
	expect_problem(ask("", "{}"), 503, "border-unavailable", NULL);
	expect_counts(0, 0, 0);
	at_once = finish_at_once;
	expect_result(ask("", "{}"), 200, "here", NULL);
	expect_result(ask("k", "{}"), 200, "here", NULL);
	expect_counts(0, 0, 1);
	at_once = NULL;
	expect_kept("k", "here");
}
END_TEST

/* ---- clients that go away ---- */

START_TEST(an_errand_goes_on_without_its_client)
{
	serve_at_most(1);
	int fd = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;
	struct id_text id = id_format(&e->id);

	sent(e);
	leave(fd, 0);
	expect_counts(1, 0, 0);
	fd = must_ask_for("k", "{}", ERRAND_JOINED);
	leave(fd, 0);
	expect_counts(1, 0, 0);
	done(e, 200, span_of("1"));
	expect_result(must_ask_for("k", "{}", ERRAND_JOINED), 200, "1", id.at);
	expect_counts(0, 0, 1);
}
END_TEST

START_TEST(one_who_leaves_takes_nobody_along)
{
	int fd[4];

	serve_at_most(ARRAY_COUNT(fd));
	for (size_t i = 0; i < ARRAY_COUNT(fd); i++) {
		fd[i] = must_ask_for("k", "{}", i == 0 ? ERRAND_NEW : ERRAND_JOINED);
		if (i == 0)
			sent(seen.errand);
	}
	struct errand *e = seen.errand;

	close(fd[0]);
	close(fd[2]);
	await_gone(2);
	done(e, 200, span_of("1"));
	expect_result(fd[1], 200, "1", NULL);
	expect_result(fd[3], 200, "1", NULL);
	expect_counts(0, 0, 1);
}
END_TEST

/* Closed, but nobody has looked: the answer goes nowhere. */
START_TEST(an_answer_to_one_who_has_left_does_no_harm)
{
	int fd[2];

	fd[0] = must_ask_for("k", "{}", ERRAND_NEW);
	struct errand *e = seen.errand;

	sent(e);
	fd[1] = must_ask_for("k", "{}", ERRAND_JOINED);
	close(fd[0]);
	done(e, 200, span_of("1"));
	expect_result(fd[1], 200, "1", NULL);
	expect_counts(0, 0, 1);
}
END_TEST

START_TEST(a_deadline_comes_also_when_nobody_waits)
{
	static const char *const keys[] = { "", "k" };

	serve_at_most(1);
	for (unsigned i = 0; i < ARRAY_COUNT(keys); i++) {
		int fd = must_ask_for(keys[i], "{}", ERRAND_NEW);

		errand_sent(seen.errand, 300, on_lapse);
		leave(fd, 0);
		run_until(has_lapsed, i + 1, -1);
	}
	expect_counts(0, 0, 1);
}
END_TEST

/* Nobody can be told anything any more, and the errands do not mind. */
START_TEST(waiters_go_with_the_server)
{
	int first = must_ask_for("k", "{}", ERRAND_NEW);

	sent(seen.errand);
	int second = must_ask_for("k", "{}", ERRAND_JOINED);

	stop_server();
	expect_counts(1, 0, 0);
	must_be_closed(first);
	must_be_closed(second);
	close(first);
	close(second);
}
END_TEST

/* ---- how long things are kept ---- */

START_TEST(outcomes_are_kept_for_a_while)
{
	begin_with((struct errands_config){ .keep_ms = 100 });
	uint64_t begun_us = clock_mono_us();

	finish("done", "1");
	let_lapse("lapsed");
	run_until(is_nothing_kept, 0, -1);
	ck_assert_uint_ge(clock_mono_us() - begun_us, 100 * 1000);
	ck_assert_uint_eq(all.kept_bytes, 0);
	expect_unknown("done");
	expect_unknown("lapsed");
}
END_TEST

START_TEST(asking_again_does_not_keep_an_outcome_longer)
{
	begin_with((struct errands_config){ .keep_ms = 200 });
	uint64_t end_us = clock_mono_us() + DEADLINE_MS * 1000ull;

	finish("k", "1");
	do {
		ck_assert_uint_lt(clock_mono_us(), end_us);
		at_once = drop_at_once;
		int fd = ask("k", "{}");
		struct reply r = next_reply(fd);

		reply_free(&r);
		close(fd);
	} while (seen.match == ERRAND_JOINED);
	expect_counts(0, 0, 0);
}
END_TEST

/* What goes out again is not forgotten by the timer of what it was before. */
START_TEST(what_is_under_way_again_is_not_forgotten)
{
	begin_with((struct errands_config){ .keep_ms = 30 });
	int fd = must_ask_for("k", "{}", ERRAND_NEW);
	struct problem problem = late();

	sent(seen.errand);
	errand_lapse(seen.errand, &problem);
	errand_sent(seen.errand, 100, on_lapse);
	expect_problem(fd, 504, "deadline-exceeded", NULL);
	run_until(has_lapsed, 1, -1);
}
END_TEST

START_TEST(the_oldest_give_way_when_there_are_too_many)
{
	begin_with((struct errands_config){ .max_kept = 3 });
	finish("1", "a");
	let_lapse("2");
	finish("3", "c");
	expect_counts(0, 0, 3);
	ck_assert_uint_eq(all.kept_bytes, 2);
	finish("4", "d");
	expect_counts(0, 0, 3);
	ck_assert_uint_eq(all.kept_bytes, 2);
	expect_unknown("1");
	expect_problem(ask("2", "{ }"), 409, "conflict", NULL); /* still known */
	let_lapse("5");
	expect_unknown("2");
	expect_kept("3", "c");
	expect_kept("4", "d");
	expect_counts(0, 0, 3);
}
END_TEST

START_TEST(a_late_outcome_is_as_young_as_it_came)
{
	begin_with((struct errands_config){ .max_kept = 2 });
	let_lapse("1");
	struct errand *e = seen.errand;

	finish("2", "b");
	done(e, 200, span_of("a"));
	finish("3", "c");
	expect_kept("1", "a");
	expect_unknown("2");
}
END_TEST

START_TEST(the_oldest_give_way_when_their_bodies_take_too_much)
{
	begin_with((struct errands_config){ .max_kept_bytes = 10 });
	finish("1", "aaaa");
	finish("2", "bbbb");
	finish("3", "cc");
	ck_assert_uint_eq(all.kept_bytes, 10);
	expect_counts(0, 0, 3);
	finish("4", "d");
	ck_assert_uint_eq(all.kept_bytes, 7);
	expect_unknown("1");
	expect_kept("2", "bbbb");
	finish("5", "eeeeeeeeee");
	ck_assert_uint_eq(all.kept_bytes, 10);
	expect_counts(0, 0, 1);
	expect_kept("5", "eeeeeeeeee");
}
END_TEST

START_TEST(an_outcome_too_large_to_keep_is_told_all_the_same)
{
	begin_with((struct errands_config){ .max_kept_bytes = 10 });
	finish("k", "aaaaaaaaaaa");
	expect_counts(0, 0, 0);
	ck_assert_uint_eq(all.kept_bytes, 0);
	expect_unknown("k");
}
END_TEST

/* As the config allows: answers.kept = 0. */
START_TEST(nothing_is_kept_where_nothing_may_be)
{
	begin_with((struct errands_config){ 0 });
	all.config.max_kept = 0;
	finish("1", "a");
	let_lapse("2");
	expect_counts(0, 0, 0);
	expect_unknown("1");
	expect_unknown("2");
}
END_TEST

/* ---- the end ---- */

START_TEST(at_the_end_all_who_wait_are_told_so)
{
	struct problem problem = stopping();
	int fd[3];

	finish("done", "1");
	let_lapse("lapsed");
	fd[0] = must_ask_for("k", "{}", ERRAND_NEW);
	sent(seen.errand);
	fd[1] = must_ask_for("k", "{}", ERRAND_JOINED);
	fd[2] = must_ask_for("", "{}", ERRAND_NEW);
	sent(seen.errand);
	errands_cancel(&all, &problem);
	expect_counts(0, 0, 3);
	for (size_t i = 0; i < ARRAY_COUNT(fd); i++)
		expect_problem(fd[i], 503, "stopping", NULL);
	errands_cancel(&all, &problem);
	expect_kept("done", "1");
	expect_counts(0, 0, 3);
}
END_TEST

START_TEST(what_began_since_then_may_lapse_together)
{
	struct problem problem = away();
	int fd[4];

	fd[0] = must_ask_for("", "{}", ERRAND_NEW);
	sent(seen.errand);
	seen.errand->begun_us -= 1000; /* it began before */
	uint64_t since_us = clock_mono_us();

	fd[1] = must_ask_for("k", "{}", ERRAND_NEW);
	sent(seen.errand);
	fd[2] = must_ask_for("k", "{}", ERRAND_JOINED);
	fd[3] = must_ask_for("", "{}", ERRAND_NEW);
	errand_sent(seen.errand, 60000, on_other_lapse);
	expect_counts(3, 4, 0);
	ck_assert_uint_eq(errands_lapse_since(&all, on_lapse, since_us, &problem), 1);
	expect_counts(2, 2, 1);
	expect_problem(fd[1], 503, "border-unavailable", NULL);
	expect_problem(fd[2], 503, "border-unavailable", NULL);
	ck_assert(!has_answer(fd[0]) && !has_answer(fd[3]));
	ck_assert_uint_eq(errands_lapse_since(&all, on_lapse, since_us, &problem), 0);
	(void)must_ask_for("k", "{}", ERRAND_AGAIN);
	errand_drop(seen.errand, &problem);
}
END_TEST

/* Those that lapse push others out while the walk over all of them goes on. */
START_TEST(the_end_may_push_out_what_is_kept)
{
	enum { MANY = 8 };
	struct problem problem = stopping();
	int fd[MANY];
	char key[16];

	begin_with((struct errands_config){ .max_kept = MANY });
	for (int i = 0; i < 2 * MANY; i++) {
		snprintf(key, sizeof(key), "%d", i);
		if (i % 2 == 1) {
			finish(key, "kept");
			continue;
		}
		fd[i / 2] = must_ask_for(key, "{}", ERRAND_NEW);
		sent(seen.errand);
	}
	expect_counts(MANY, MANY, MANY);
	errands_cancel(&all, &problem);
	expect_counts(0, 0, MANY);
	for (int i = 0; i < MANY; i++)
		expect_problem(fd[i], 503, "stopping", NULL);
	expect_unknown("1");
	expect_problem(ask("14", "{ }"), 409, "conflict", NULL);
}
END_TEST

/* ---- anything at all ---- */

enum { CLIENTS = 8, CONNECTIONS = 6, STEPS = 4000 };

static int clients[CLIENTS]; /* sockets of those who wait, else -1 */
static unsigned answer_count;

static uint64_t dice = 20260102;

/* xorshift64: the same numbers in each run. */
static unsigned roll(unsigned sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (unsigned)((dice >> 11) % sides);
}

static struct errand *pick(enum errand_state state)
{
	struct errand *picked = NULL;
	unsigned count = 0;

	find_errands();
	for (unsigned i = 0; i < found.count; i++)
		if (found.at[i]->state == state && roll(++count) == 0)
			picked = found.at[i];
	return picked;
}

/* The counts are what one finds by counting; every errand is where its state says. */
static void check_errands(void)
{
	unsigned counts[ERRAND_NSTATES] = { 0 };
	unsigned with_key = 0;
	unsigned waiters = 0;
	size_t bytes = 0;
	bool fine = true;

	find_errands();
	for (unsigned i = 0; i < found.count; i++) {
		const struct errand *e = found.at[i];
		bool is_kept = e->state == ERRAND_LAPSED || e->state == ERRAND_DONE;

		counts[e->state]++;
		with_key += e->key[0] != '\0';
		list_each (n, &e->waiters)
			waiters++;
		bytes += is_kept ? e->body.len : 0;
		fine = fine && e->timer.is_set && list_empty(&e->kept) == !is_kept;
		fine = fine && (!is_kept || (list_empty(&e->waiters) && e->key[0] != '\0'));
	}
	ck_assert(fine);
	ck_assert_uint_eq(with_key, found.with_key);
	ck_assert_uint_eq(all.waiter_count, waiters);
	ck_assert_uint_eq(all.kept_bytes, bytes);
	expect_counts(
		counts[ERRAND_SENT], waiters, counts[ERRAND_LAPSED] + counts[ERRAND_DONE]);
	ck_assert_uint_le(all.sent_count, all.config.max_waiting);
	ck_assert_uint_le(all.waiter_count, all.config.max_waiting);
	ck_assert_uint_le(all.kept_count, all.config.max_kept);
	ck_assert_uint_le(all.kept_bytes, all.config.max_kept_bytes);
}

static void take_answers(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		if (clients[i] < 0 || !has_answer(clients[i]))
			continue;
		struct reply r = must_reply(clients[i]);

		ck_assert_int_ne(r.status, 0);
		reply_free(&r);
		close(clients[i]);
		clients[i] = -1;
		answer_count++;
	}
}

static void step_ask(void)
{
	static const char *const keys[] = { "", "a", "b", "c", "d", "e" };
	unsigned i = roll(CLIENTS);

	if (clients[i] >= 0)
		return;
	clients[i] = must_connect(st.path);
	at_once = roll(4) == 0 ? drop_at_once : roll(8) == 0 ? finish_at_once : sent;
	patience_ms = roll(3);
	send_request(clients[i], keys[roll(ARRAY_COUNT(keys))], roll(10) == 0 ? "{ }" : "{}");
	/* Taken in, or refused because all connections are busy. */
	seen.count = 0;
	run_until(is_judged_or_refused, (unsigned)clients[i], clients[i]);
}

static void step_leave(void)
{
	unsigned i = roll(CLIENTS);

	if (clients[i] < 0)
		return;
	close(clients[i]);
	clients[i] = -1;
}

static bool is_so_at_once(unsigned unused)
{
	(void)unused;
	return true;
}

static void one_step(void)
{
	static const unsigned statuses[] = { 200, 202, 422, 503 };
	struct problem problem = late();
	unsigned act = roll(20);
	struct errand *e = pick(act == 19 ? ERRAND_LAPSED : ERRAND_SENT);

	if (act < 9) {
		step_ask();
	} else if (act < 11) {
		step_leave();
	} else if (act == 18 && roll(10) == 0) {
		errands_cancel(&all, &problem);
	} else if (e != NULL && act < 14) {
		errand_lapse(e, &problem);
	} else if (e != NULL) {
		char body[16];

		memset(body, 'x', sizeof(body));
		done(e, statuses[roll(ARRAY_COUNT(statuses))],
			(struct span){ body, roll(sizeof(body)) });
	}
}

START_TEST(whatever_happens_the_counts_are_right_and_everybody_is_answered)
{
	struct problem problem = stopping();

	serve_at_most(CONNECTIONS);
	begin_with((struct errands_config){
		.max_waiting = CONNECTIONS, .max_kept = 4, .max_kept_bytes = 24 });
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = -1;
	for (int i = 0; i < STEPS; i++) {
		one_step();
		check_errands();
		run_until(is_so_at_once, 0, -1);
		take_answers();
		check_errands();
	}
	errands_cancel(&all, &problem);
	check_errands();
	ck_assert_uint_eq(all.waiter_count, 0);
	for (int i = 0; i < CLIENTS; i++) {
		if (clients[i] < 0)
			continue;
		run_until(is_answered, (unsigned)clients[i], clients[i]);
		take_answers();
	}
	ck_assert_uint_gt(answer_count, STEPS / 10);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent_errand");
	TCase *tc = tcase_create("errand");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_is_asked_for_the_first_time_is_new);
	tcase_add_test(tc, without_a_key_the_same_again_is_another_errand);
	tcase_add_test(tc, a_repetition_joins_and_all_hear_the_same);
	tcase_add_test(tc, keys_that_differ_in_a_byte_are_different_keys);
	tcase_add_test(tc, the_longest_key_is_a_key);
	tcase_add_test(tc, an_empty_body_is_kept_too);
	tcase_add_loop_test(tc, results_refusals_and_failures_are_kept, 0, ARRAY_COUNT(final));
	tcase_add_loop_test(tc, what_may_be_different_the_next_time_is_told_but_not_kept, 0,
		ARRAY_COUNT(not_final));
	tcase_add_test(tc, other_content_under_a_known_key_is_a_conflict_in_every_state);
	tcase_add_test(tc, above_the_limit_nobody_waits);
	tcase_add_test(tc, errands_whose_people_have_left_count_too);
	tcase_add_test(tc, who_waits_too_long_is_told_when_it_is_time_and_not_before);
	tcase_add_test(tc, all_who_joined_are_told_and_the_errand_is_remembered);
	tcase_add_test(tc, who_joins_waits_no_longer_than_he_said_and_the_errand_goes_on);
	tcase_add_test(tc, who_hears_in_time_is_not_told_again_that_it_was_too_late);
	tcase_add_test(tc, who_makes_an_errand_waits_as_long_as_it_does);
	tcase_add_test(tc, how_long_to_wait_is_a_header_for_all_and_kept_too);
	tcase_add_test(tc, an_outcome_before_the_deadline_ends_the_deadline);
	tcase_add_test(tc, a_late_outcome_is_kept_for_who_asks_again);
	tcase_add_test(tc, what_lapsed_goes_out_again_under_its_id);
	tcase_add_test(tc, what_never_left_is_forgotten);
	tcase_add_test(tc, what_once_left_stays_lapsed_when_it_cannot_leave_again);
	tcase_add_test(tc, an_errand_may_end_while_its_request_is_being_taken_in);
	tcase_add_test(tc, an_errand_goes_on_without_its_client);
	tcase_add_test(tc, one_who_leaves_takes_nobody_along);
	tcase_add_test(tc, an_answer_to_one_who_has_left_does_no_harm);
	tcase_add_test(tc, a_deadline_comes_also_when_nobody_waits);
	tcase_add_test(tc, waiters_go_with_the_server);
	tcase_add_test(tc, outcomes_are_kept_for_a_while);
	tcase_add_test(tc, asking_again_does_not_keep_an_outcome_longer);
	tcase_add_test(tc, what_is_under_way_again_is_not_forgotten);
	tcase_add_test(tc, the_oldest_give_way_when_there_are_too_many);
	tcase_add_test(tc, a_late_outcome_is_as_young_as_it_came);
	tcase_add_test(tc, the_oldest_give_way_when_their_bodies_take_too_much);
	tcase_add_test(tc, an_outcome_too_large_to_keep_is_told_all_the_same);
	tcase_add_test(tc, nothing_is_kept_where_nothing_may_be);
	tcase_add_test(tc, at_the_end_all_who_wait_are_told_so);
	tcase_add_test(tc, what_began_since_then_may_lapse_together);
	tcase_add_test(tc, the_end_may_push_out_what_is_kept);
	tcase_add_test(tc, whatever_happens_the_counts_are_right_and_everybody_is_answered);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
