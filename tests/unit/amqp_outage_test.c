/* Connections that brokers and networks end, and how they come back: amqp/connection.h, amqp/link.h. */
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/link.h"
#include "amqp_play.h"
#include "base/log.h"
#include "unit.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN
#endif
#endif
#ifdef HAS_ASAN
/* Of the sanitizer's own runtime; gcc's package has no header for it. */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

/* ---- what the broker closes ---- */

struct closing {
	enum fake_stage stage;
	uint16_t code;
	const char *text;
	enum err err;
	const char *shown;
};

static struct closing closings[] = {
	{ FAKE_GREETED, 403, "ACCESS_REFUSED", ERR_AUTH, "ACCESS_REFUSED" },
	{ FAKE_STARTED, 403, "ACCESS_REFUSED - Login was refused", ERR_AUTH,
		"ACCESS_REFUSED - Login was refused" },
	{ FAKE_TUNED, 530, "NOT_ALLOWED - access to vhost", ERR_AUTH,
		"NOT_ALLOWED - access to vhost" },
	{ FAKE_OPEN, 504, "CHANNEL_ERROR", ERR_LINK, "CHANNEL_ERROR" },
	{ FAKE_READY, 320, "CONNECTION_FORCED \x1b[31m\n\"x\"", ERR_LINK,
		"CONNECTION_FORCED \\x1b[31m\\x0a\\\"x\\\"" },
};

static void close_at(struct fake *f, void *arg)
{
	static struct fake_frame frame;
	const struct closing *c = arg;
	struct wire bytes;

	if (!fake_polite(f, c->stage))
		return;
	wire_init(&bytes);
	wire_put_close(&bytes, c->code, c->text);
	play_say(f, &bytes);
	/* Whatever was on its way, then close-ok. */
	while (fake_read_frame(f, &frame))
		if (frame.type == FAKE_METHOD && frame.payload[1] == 10 &&
			frame.payload[3] == 51)
			atomic_fetch_add(&count, 1);
	play_rest(f);
}

static bool was_answered(void *arg)
{
	(void)arg;
	return atomic_load(&count) > 0;
}

START_TEST(a_close_by_the_broker_is_answered_and_remembered_with_code_and_text)
{
	struct closing *c = &closings[_i];

	play_script(WORLD_PUBLISHES_ONLY, close_at, c);
	world_start(&w);
	must_reach(&w.stage, was_answered, NULL, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, c->err);
	ck_assert_uint_eq(w.con.fault.code, c->code);
	ck_assert_str_eq(w.con.fault.text, c->shown);
	ck_assert_uint_ne(w.con.fault.at_unix_ms, 0);
	play_end();
}
END_TEST

/* The first connection is closed, the others are served. */
static void close_first(struct fake *f, void *arg)
{
	if (f->index == 0)
		close_at(f, arg);
	else
		(void)fake_serve(f);
}

START_TEST(a_connection_that_was_lost_comes_back_by_itself)
{
	play_script(WORLD_BOTH, close_first, &closings[4]);
	world_start(&w);
	must_reach(&w.stage, is_ready_again, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.opened, 2);
	ck_assert_uint_eq(w.con.counters.failed, 1);
	ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 1);
	play_end();
}
END_TEST

/* Each connection may be told one byte more than the one before. */
static void cut_after(struct fake *f, void *arg)
{
	(void)arg;
	f->left_bytes = f->index;
	(void)fake_serve(f);
}

START_TEST(a_broker_may_vanish_after_every_byte)
{
	play_script(WORLD_BOTH, cut_after, NULL);
	w.config.retry_longest_ms = 1;
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, 40000);
	ck_assert_uint_gt(w.con.counters.failed, 250);
	ck_assert_int_eq(w.con.fault.err, ERR_LINK);
	play_end();
}
END_TEST

static bool is_open(void *arg)
{
	return ((struct world *)arg)->con.state == CONNECTION_OPEN;
}

/* Reads one byte more than for the connection before, then resets. */
static void reset_after(struct fake *f, void *arg)
{
	enum { HEADER_BYTES = 8, ENOUGH = 40 };
	struct linger at_once = { .l_onoff = 1 };
	unsigned left = f->index;
	char byte;

	(void)arg;
	if (f->index > ENOUGH) {
		if (fake_polite(f, FAKE_TUNED))
			play_rest(f);
		return;
	}
	if (left > HEADER_BYTES && fake_polite(f, FAKE_GREETED)) {
		struct wire bytes;

		wire_init(&bytes);
		wire_put_start(&bytes, "EXTERNAL");
		play_say(f, &bytes);
		left -= HEADER_BYTES;
	}
	while (left > 0 && recv(f->fd, &byte, 1, 0) == 1)
		left--;
	(void)setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

START_TEST(a_broker_may_reset_the_connection_at_any_time)
{
	play_script(WORLD_BARE, reset_after, NULL);
	w.config.retry_longest_ms = 1;
	world_start(&w);
	must_reach(&w.stage, is_open, &w, SOON_MS);
	ck_assert_uint_gt(w.con.counters.failed, 35);
	play_end();
}
END_TEST
/* ---- again and again ---- */

static size_t allocated_bytes(void)
{
#ifdef HAS_ASAN
	return __sanitizer_get_current_allocated_bytes();
#else
	return mallinfo2().uordblks;
#endif
}

START_TEST(a_thousand_lost_connections_cost_nothing)
{
	play_script(WORLD_BOTH, play_hang_up, NULL);
	w.config.retry_longest_ms = 1;
	world_start(&w);
	tries_wanted = 100;
	must_reach(&w.stage, has_tried, &w, SOON_MS);
	size_t bytes = allocated_bytes();
	unsigned fds = open_fds();

	tries_wanted = 1100;
	must_reach(&w.stage, has_tried, &w, 40000);
	/* One connection more or less may be open just now. */
	ck_assert_uint_le(allocated_bytes(), bytes + KIB(128));
	ck_assert_uint_le(open_fds(), fds + 4);
	play_end();
}
END_TEST

/* ---- how soon ---- */

static void try_until(unsigned failed)
{
	world_start(&w);
	tries_wanted = failed;
	must_reach(&w.stage, has_tried, &w, SOON_MS);
}

static const struct part lose_when_ready = { .stage = FAKE_READY, .then = PART_HANGS_UP };

START_TEST(a_connection_that_breaks_as_soon_as_it_is_ready_is_tried_less_and_less_often)
{
	play(WORLD_PUBLISHES_ONLY, &lose_when_ready);
	w.config.retry_longest_ms = 50;
	w.config.proven_ms = FOR_EVER_MS;
	try_until(20);
	ck_assert_uint_ge(w.con.counters.opened, 19);
	ck_assert_uint_eq(w.con.backoff.ceiling_ms, 50);
	play_end();
}
END_TEST

START_TEST(a_connection_that_was_ready_long_enough_is_tried_soon_again)
{
	play(WORLD_PUBLISHES_ONLY, &lose_when_ready);
	w.config.retry_longest_ms = 50;
	w.config.proven_ms = 0;
	try_until(20);
	/* The first wait was the shortest: only the next may be twice that. */
	ck_assert_uint_eq(w.con.backoff.ceiling_ms, 2 * w.config.retry_first_ms);
	play_end();
}
END_TEST

/* Open, and never ready. */
static const struct part lose_when_open = { .stage = FAKE_OPEN, .then = PART_HANGS_UP };

START_TEST(a_connection_that_never_was_ready_has_proven_nothing)
{
	play(WORLD_PUBLISHES_ONLY, &lose_when_open);
	w.config.retry_longest_ms = 50;
	w.config.proven_ms = 0;
	try_until(20);
	ck_assert_uint_ge(w.con.counters.opened, 19);
	ck_assert_uint_eq(w.con.backoff.ceiling_ms, 50);
	play_end();
}
END_TEST

START_TEST(a_port_where_nobody_listens_is_asked_often)
{
	world_init(&w, WORLD_BOTH);
	world_add_broker(&w, "127.0.0.1", play_dead_port());
	w.config.retry_first_ms = 20000;
	w.config.retry_longest_ms = FOR_EVER_MS;
	try_until(10); /* each at most 200 ms after the one before */
	ck_assert_int_eq(w.con.fault.err, ERR_LINK);
	/* Should it come back and be lost again, nothing of this is held against it. */
	ck_assert_uint_eq(w.con.backoff.ceiling_ms, w.config.retry_first_ms);
	world_fini(&w);
}
END_TEST

/* What the log holds now, and where it goes from then on. */
static unsigned lines_with(int fd, const char *part)
{
	static char text[64 * 1024];
	ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
	unsigned lines = 0;

	ck_assert_int_ge(got, 0);
	text[got] = '\0';
	for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
		lines++;
	return lines;
}

START_TEST(a_port_where_nobody_listens_fills_no_log)
{
	int stderr_fd = dup(STDERR_FILENO);
	int fd = memfd_create("log", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	world_init(&w, WORLD_BOTH);
	world_add_broker(&w, "127.0.0.1", play_dead_port());
	w.config.retry_longest_ms = 1;
	log_open("test", LOG_INFO);
	ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
	try_until(100);
	unsigned seen = (unsigned)w.con.counters.failed;

	log_open("test", LOG_ERROR);
	ck_assert_int_ge(dup2(stderr_fd, STDERR_FILENO), 0);
	ck_assert_uint_lt(seen, 128);
	ck_assert_uint_eq(lines_with(fd, "event=lost"), 7); /* 1, 2, 4, 8, 16, 32, 64 */
	ck_assert_uint_eq(lines_with(fd, "state=dialing->waiting"), 7);
	world_fini(&w);
	(void)close(fd);
	(void)close(stderr_fd);
}
END_TEST

/* ---- the pair of connections ---- */

static struct link pair;
static unsigned pair_stops;

static void on_pair_change(void *arg, struct link *k)
{
	(void)arg;
	(void)k;
}

static void on_pair_stopped(void *arg, struct link *k)
{
	(void)arg;
	ck_assert_ptr_eq(k, &pair);
	pair_stops++;
}

static bool is_pair_ready(void *arg)
{
	(void)arg;
	return link_is_ready(&pair);
}

static bool is_pair_stopped(void *arg)
{
	(void)arg;
	return pair_stops > 0;
}

static void pair_begin(fake_script script)
{
	play_script(WORLD_BOTH, script, NULL);
	const struct link_config config = {
		.name = "web1",
		.vhost = "border.web1",
		.brokers = w.brokers,
		.broker_count = w.config.broker_count,
		.handshake_timeout_ms = 5000,
		.retry_first_ms = 1,
		.retry_longest_ms = 20,
		.heartbeat_s = 10,
	};

	pair_stops = 0;
	ck_assert_int_eq(
		link_init(&pair, &w.stage.loop, &config, on_pair_change, NULL), ERR_OK);
	connection_add(&pair.publish, &w.pub.channel);
	connection_add(&pair.consume, &w.sub.channel);
	link_start(&pair);
}

static void pair_end(void)
{
	link_stop(&pair, on_pair_stopped);
	must_reach(&w.stage, is_pair_stopped, NULL, SOON_MS);
	link_fini(&pair);
	play_end();
}

/* The first connection comes up when the gate is open; all are served. */
static void serve_from_gate(struct fake *f, void *arg)
{
	(void)arg;
	if (f->index == 0 && !fake_polite(f, FAKE_TUNED))
		return;
	atomic_fetch_add(&count, 1);
	play_wait(f, 1);
	(void)fake_serve(f);
}

static bool has_counted(void *arg)
{
	(void)arg;
	return atomic_load(&count) > 0;
}

START_TEST(nothing_is_consumed_before_it_can_be_answered)
{
	pair_begin(serve_from_gate);
	must_reach(&w.stage, has_counted, NULL, SOON_MS);
	stage_pass(&w.stage, 50);
	ck_assert_int_eq(pair.publish.state, CONNECTION_OPEN);
	ck_assert_int_eq(pair.consume.state, CONNECTION_WAITING);
	ck_assert_uint_eq(atomic_load(&count), 1); /* one connection */
	atomic_store(&gate, 1);
	must_reach(&w.stage, is_pair_ready, NULL, SOON_MS);
	ck_assert_uint_eq(atomic_load(&count), 2);
	pair_end();
}
END_TEST

START_TEST(a_link_may_stop_while_its_half_waits_for_the_other)
{
	pair_begin(serve_from_gate);
	must_reach(&w.stage, has_counted, NULL, SOON_MS);
	pair_end();
}
END_TEST

static void lose(struct connection *c)
{
	struct channel *ch = c->channels[0];

	ch->host.on_broken(ch->host.arg, ERR_LINK, "test");
}

START_TEST(a_half_that_is_lost_comes_back_while_the_other_stays)
{
	pair_begin(play_polite);
	must_reach(&w.stage, is_pair_ready, NULL, SOON_MS);
	lose(&pair.consume);
	must_reach(&w.stage, is_pair_ready, NULL, SOON_MS);
	lose(&pair.publish);
	ck_assert(connection_is_ready(&pair.consume));
	must_reach(&w.stage, is_pair_ready, NULL, SOON_MS);
	lose(&pair.consume);
	lose(&pair.publish);
	must_reach(&w.stage, is_pair_ready, NULL, SOON_MS);
	ck_assert_uint_eq(pair.consume.counters.failed, 2);
	ck_assert_uint_eq(pair.publish.counters.failed, 2);
	pair_end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("outage");
	TCase *closed = tcase_create("ended by the broker");
	TCase *how_soon = tcase_create("how soon");
	TCase *links = tcase_create("links");
	TCase *all[] = { closed, how_soon, links };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], play_set_up, NULL);
		tcase_set_timeout(all[i], 60);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_loop_test(closed,
		a_close_by_the_broker_is_answered_and_remembered_with_code_and_text, 0,
		ARRAY_COUNT(closings));
	tcase_add_test(closed, a_connection_that_was_lost_comes_back_by_itself);
	tcase_add_test(closed, a_broker_may_vanish_after_every_byte);
	tcase_add_test(closed, a_broker_may_reset_the_connection_at_any_time);
	tcase_add_test(closed, a_thousand_lost_connections_cost_nothing);
	tcase_add_test(how_soon,
		a_connection_that_breaks_as_soon_as_it_is_ready_is_tried_less_and_less_often);
	tcase_add_test(how_soon, a_connection_that_was_ready_long_enough_is_tried_soon_again);
	tcase_add_test(how_soon, a_connection_that_never_was_ready_has_proven_nothing);
	tcase_add_test(how_soon, a_port_where_nobody_listens_is_asked_often);
	tcase_add_test(how_soon, a_port_where_nobody_listens_fills_no_log);
	tcase_add_test(links, nothing_is_consumed_before_it_can_be_answered);
	tcase_add_test(links, a_link_may_stop_while_its_half_waits_for_the_other);
	tcase_add_test(links, a_half_that_is_lost_comes_back_while_the_other_stays);
	return unit_run(s);
}
