/* One link takes over from another: when, and what becomes of those that are not wanted. */
#include "amqp/relief.h"

#include <stdlib.h>

#include "amqp_play.h"
#include "must.h"
#include "unit/unit.h"

enum { PATIENCE_MS = 60, RETIRE_MS = 60, LONG_MS = 60000 };

/* A link with a channel each way. */
struct post {
	struct shift shift;
	struct publisher lanes[2];
	char name;
	bool is_idle;
	unsigned retired;
};

static struct stage stage;
static struct relief relief;
static struct fakebroker broker;
static uint16_t dead_port;
static char destroyed[16]; /* names, in order */
static unsigned readies;
static unsigned moves;
static unsigned stops;

static struct post *post_of(const struct shift *s)
{
	return container_of(s, struct post, shift);
}

static void retire(struct shift *s)
{
	post_of(s)->retired++;
}

static bool is_idle(const struct shift *s)
{
	return post_of(s)->is_idle;
}

static void destroy(struct shift *s)
{
	char name[2] = { post_of(s)->name, '\0' };

	ck_assert_uint_lt(strlen(destroyed), sizeof(destroyed) - 1);
	memcpy(destroyed + strlen(destroyed), name, sizeof(name));
	shift_fini(s);
	for (size_t i = 0; i < ARRAY_COUNT(post_of(s)->lanes); i++)
		publisher_fini(&post_of(s)->lanes[i]);
	free(post_of(s));
}

static void on_ready(void *arg)
{
	(void)arg;
	readies++;
}

static void on_move(void *arg)
{
	(void)arg;
	moves++;
}

static void on_stopped(void *arg)
{
	(void)arg;
	stops++;
}

static const struct relief_ops ops = {
	.retire = retire,
	.is_idle = is_idle,
	.destroy = destroy,
	.on_ready = on_ready,
	.on_move = on_move,
};

static struct post *make(char name, uint16_t port)
{
	struct transport_address address = { .host = "127.0.0.1", .port = port };
	struct link_config config = {
		.name = "web1",
		.vhost = "border.web1",
		.brokers = &address, /* copied: it is gone when we return */
		.broker_count = 1,
		.handshake_timeout_ms = 5000,
		.retry_first_ms = 10,
		.retry_longest_ms = 50,
		.heartbeat_s = 10,
	};
	struct digest recipe = { .byte = { (uint8_t)name } };
	struct post *post = calloc(1, sizeof(*post));

	ck_assert_ptr_nonnull(post);
	ck_assert_int_eq(shift_init(&post->shift, &stage.loop, &config, &recipe), ERR_OK);
	struct publisher_config lane = { .name = "lane", .exchange = "x", .routing_key = "k" };

	for (size_t i = 0; i < ARRAY_COUNT(post->lanes); i++)
		ck_assert_int_eq(publisher_init(&post->lanes[i], &stage.loop, &lane), ERR_OK);
	connection_add(&post->shift.link.publish, &post->lanes[0].channel);
	connection_add(&post->shift.link.consume, &post->lanes[1].channel);
	post->name = name;
	return post;
}

static void begin(uint64_t patience_ms, uint64_t retire_ms)
{
	struct relief_limits limits = { .patience_ms = patience_ms, .retire_ms = retire_ms };

	relief_init(&relief, &stage.loop, "web1", &limits, &ops, NULL);
}

static bool has_stopped(void *arg)
{
	(void)arg;
	return stops > 0;
}

static bool is_in(void *arg)
{
	return relief.state == *(enum relief_state *)arg;
}

static bool serves(void *arg)
{
	return relief_is_ready(&relief) && post_of(relief.serving)->name == *(const char *)arg;
}

#define must_be(wanted)                                     \
	do {                                                \
		enum relief_state state_ = RELIEF_##wanted; \
		must_reach(&stage, is_in, &state_, 10000);  \
	} while (0)

#define must_serve(who)                                   \
	do {                                              \
		char who_ = (who);                        \
		must_reach(&stage, serves, &who_, 10000); \
	} while (0)

static void start(void)
{
	relief_start(&relief, &make('a', broker.port)->shift);
	must_serve('a');
}

static void setup(void)
{
	play_set_up();
	must_fakebroker_start(&broker, play_polite, NULL, NULL, NULL, NULL);
	dead_port = play_dead_port();
	stage_init(&stage);
	destroyed[0] = '\0';
	readies = moves = stops = 0;
}

/* Whatever a test has left: all of it goes, and nothing stays behind. */
static void teardown(void)
{
	if (relief.state != RELIEF_DOWN) {
		relief_stop(&relief, on_stopped);
		must_reach(&stage, has_stopped, NULL, 10000);
	}
	relief_fini(&relief);
	stage_fini(&stage);
	must_fakebroker_stop(&broker);
}

START_TEST(the_first_one_serves_and_stops)
{
	begin(LONG_MS, LONG_MS);
	start();
	ck_assert_uint_eq(readies, 1);
	ck_assert(!relief_is_changing(&relief));
	relief_stop(&relief, on_stopped);
	ck_assert_uint_eq(stops, 0);
	must_be(DOWN);
	ck_assert_uint_eq(stops, 1);
	ck_assert_str_eq(destroyed, "a");
	ck_assert(!relief_is_ready(&relief));
}
END_TEST

START_TEST(a_successor_serves_at_once_when_it_is_ready_and_the_old_one_ends_its_work)
{
	begin(LONG_MS, LONG_MS);
	start();
	struct post *old = post_of(relief.serving);

	relief_order(&relief, &make('b', broker.port)->shift);
	ck_assert_int_eq(relief.state, RELIEF_OPENING);
	ck_assert_ptr_eq(relief.serving, &old->shift);
	must_be(RETIRING);
	ck_assert_int_eq(post_of(relief.serving)->name, 'b');
	ck_assert(relief_is_ready(&relief));
	ck_assert_uint_eq(old->retired, 1);
	relief_look(&relief);
	stage_pass(&stage, 50);
	ck_assert_int_eq(relief.state, RELIEF_RETIRING); /* it has not ended its work */
	old->is_idle = true;
	relief_look(&relief);
	ck_assert_int_eq(relief.state, RELIEF_LEAVING);
	must_be(STEADY);
	ck_assert_str_eq(destroyed, "a");
	ck_assert_uint_eq(readies, 1); /* there was no moment without */
	ck_assert_uint_eq(broker.accepted, 4);
	/* What was counted goes on being counted. */
	ck_assert_uint_eq(relief.serving->link.publish.counters.opened, 2);
}
END_TEST

START_TEST(work_that_does_not_end_is_left_after_a_while)
{
	begin(LONG_MS, RETIRE_MS);
	start();
	relief_order(&relief, &make('b', broker.port)->shift);
	must_be(RETIRING);
	must_be(STEADY);
	ck_assert_str_eq(destroyed, "a");
}
END_TEST

START_TEST(one_that_does_not_get_ready_is_told_of_and_the_old_one_goes_on)
{
	begin(PATIENCE_MS, LONG_MS);
	start();
	relief_order(&relief, &make('b', dead_port)->shift);
	must_be(PENDING);
	ck_assert_int_eq(post_of(relief.serving)->name, 'a');
	ck_assert(relief_is_ready(&relief));
	/* A better one is tried when that one is gone. */
	post_of(relief.serving)->is_idle = true;
	post_of(relief.other)->is_idle = true;
	relief_order(&relief, &make('c', broker.port)->shift);
	ck_assert_int_eq(relief.state, RELIEF_LEAVING);
	must_serve('c');
	must_be(STEADY);
	ck_assert_str_eq(destroyed, "ba");
}
END_TEST

START_TEST(nobody_may_be_wanted_any_more)
{
	begin(LONG_MS, LONG_MS);
	start();
	relief_keep(&relief);
	ck_assert_int_eq(relief.state, RELIEF_STEADY);
	relief_order(&relief, &make('b', dead_port)->shift);
	struct post *b = post_of(relief.other);

	relief_order(&relief, &make('c', dead_port)->shift); /* waits for b to go */
	relief_keep(&relief);
	ck_assert_str_eq(destroyed, "c");
	/* Some lane of b may have been ready before the others: what it brought is ended. */
	ck_assert_int_eq(relief.state, RELIEF_RETIRING);
	ck_assert_uint_eq(b->retired, 1);
	b->is_idle = true;
	relief_look(&relief);
	must_be(STEADY);
	ck_assert_str_eq(destroyed, "cb");
	ck_assert(!relief_is_changing(&relief));
	ck_assert_int_eq(post_of(relief.serving)->name, 'a');
}
END_TEST

START_TEST(of_those_that_wait_only_the_last_is_tried)
{
	begin(LONG_MS, LONG_MS);
	start();
	struct post *old = post_of(relief.serving);

	relief_order(&relief, &make('b', broker.port)->shift);
	must_be(RETIRING);
	for (char name = 'c'; name <= 'f'; name++)
		relief_order(&relief, &make(name, broker.port)->shift);
	ck_assert_str_eq(destroyed, "cde");
	ck_assert_uint_eq(broker.accepted, 4); /* never more than two links */
	post_of(relief.serving)->is_idle = true;
	old->is_idle = true;
	relief_look(&relief);
	must_serve('f');
	must_be(STEADY);
	ck_assert_str_eq(destroyed, "cdeab");
	ck_assert_uint_eq(broker.accepted, 6);
}
END_TEST

START_TEST(an_old_one_that_cannot_serve_is_relieved_too)
{
	begin(LONG_MS, RETIRE_MS);
	relief_start(&relief, &make('a', dead_port)->shift);
	ck_assert(!relief_is_ready(&relief));
	relief_order(&relief, &make('b', broker.port)->shift);
	must_serve('b');
	ck_assert_uint_eq(readies, 1);
	must_be(STEADY);
	ck_assert_str_eq(destroyed, "a");
}
END_TEST

static void come_to(enum relief_state state)
{
	start();
	if (state == RELIEF_STEADY)
		return;
	bool opens = state == RELIEF_RETIRING || state == RELIEF_LEAVING;

	relief_order(&relief, &make('b', opens ? broker.port : dead_port)->shift);
	if (state == RELIEF_LEAVING) {
		must_be(RETIRING);
		relief_order(&relief, &make('c', broker.port)->shift); /* waits */
		post_of(relief.other)->is_idle = true;
		relief_look(&relief);
	}
	must_reach(&stage, is_in, &state, 10000);
}

START_TEST(it_stops_from_everywhere)
{
	enum relief_state state = RELIEF_STEADY + (enum relief_state)_i;
	struct post *late;

	begin(state == RELIEF_PENDING ? PATIENCE_MS : LONG_MS, LONG_MS);
	come_to(state);
	relief_stop(&relief, on_stopped);
	/* Nobody begins to serve any more. */
	late = make('z', broker.port);
	relief_order(&relief, &late->shift);
	ck_assert_ptr_nonnull(strchr(destroyed, 'z'));
	relief_look(&relief);
	relief_keep(&relief);
	must_be(DOWN);
	ck_assert_uint_eq(stops, 1);
	ck_assert_ptr_nonnull(strchr(destroyed, 'a'));
	if (state != RELIEF_STEADY)
		ck_assert_ptr_nonnull(strchr(destroyed, 'b'));
}
END_TEST

START_TEST(the_status_says_who_serves_and_who_comes_or_goes)
{
	struct json_writer json;
	struct buf text;

	begin(LONG_MS, LONG_MS);
	start();
	relief_order(&relief, &make('b', dead_port)->shift);
	buf_init(&text, KIB(64));
	json_write_init(&json, &text);
	json_write_object(&json);
	relief_write_status(&relief, "border", &json);
	json_write_object_end(&json);
	buf_byte(&text, '\0');
	ck_assert_int_eq(strncmp(text.at, "{\"border\":{\"ready\":true,", 24), 0);
	ck_assert_ptr_nonnull(strstr(text.at, "\"relief\":{\"state\":\"opening\",\"identity\":"
					      "\"-\",\"why\":\"no answer yet\","
					      "\"link\":{\"ready\":false,"));
	buf_fini(&text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("relief");
	TCase *t = tcase_create("relief");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_first_one_serves_and_stops);
	tcase_add_test(
		t, a_successor_serves_at_once_when_it_is_ready_and_the_old_one_ends_its_work);
	tcase_add_test(t, work_that_does_not_end_is_left_after_a_while);
	tcase_add_test(t, one_that_does_not_get_ready_is_told_of_and_the_old_one_goes_on);
	tcase_add_test(t, nobody_may_be_wanted_any_more);
	tcase_add_test(t, of_those_that_wait_only_the_last_is_tried);
	tcase_add_test(t, an_old_one_that_cannot_serve_is_relieved_too);
	tcase_add_loop_test(t, it_stops_from_everywhere, 0, RELIEF_STOPPING - RELIEF_STEADY);
	tcase_add_test(t, the_status_says_who_serves_and_who_comes_or_goes);
	suite_add_tcase(s, t);
	return unit_run(s);
}
