/* A connection against a hostile broker: every attack at every stage costs a connection at most. */
#include <string.h>

#include "amqp_play.h"
#include "unit.h"

/* Where an attack begins: at each stage of the handshake, then on a publisher's channel that
 * serves, then on a consumer's. */
enum { ON_PUBLISHER = FAKE_READY, ON_CONSUMER = FAKE_STAGES, ATTACK_PLACES };

struct assault {
	const struct fake_attack *attack;
	int place;
};

static bool begin_attack(struct fake *f, int place)
{
	static struct fake_frame frame;
	struct wire bytes;

	if (place != ON_CONSUMER)
		return fake_polite(f, (enum fake_stage)place);
	if (!fake_polite(f, FAKE_READY) || !fake_expect_method(f, &frame, 60, 20))
		return false;
	wire_init(&bytes);
	wire_put_plain(&bytes, 1, WIRE_CONSUME_OK);
	play_say(f, &bytes);
	return true;
}

static void attack(struct fake *f, void *arg)
{
	const struct assault *a = arg;
	struct buf bytes;

	if (f->index > 0) {
		play_rest(f);
		return;
	}
	if (!begin_attack(f, a->place))
		return;
	buf_init(&bytes, 4 * FAKE_PAYLOAD_MAX);
	a->attack->put(&bytes);
	/* The client may be gone before it is all said. */
	(void)fake_send_buf(f, &bytes);
	buf_fini(&bytes);
	f->is_broken = false;
	if (!a->attack->must_end || fake_expect_end(f, SOON_MS))
		atomic_store(&gate, 1);
	play_rest(f);
}

START_TEST(no_attack_of_a_broker_does_harm)
{
	struct assault a = {
		.attack = &fake_attacks[_i / ATTACK_PLACES],
		.place = _i % ATTACK_PLACES,
	};

	if (a.attack->put == NULL)
		return;
	play_script(a.place == ON_CONSUMER ? WORLD_CONSUMES_ONLY : WORLD_PUBLISHES_ONLY, attack,
		&a);
	w.config.handshake_timeout_ms = FOR_EVER_MS; /* it must be seen, not waited for */
	w.config.retry_first_ms = w.config.retry_longest_ms = FOR_EVER_MS;
	world_start(&w);
	ck_assert_msg(stage_reach(&w.stage, gate_is_open, NULL, SOON_MS),
		"%s at %d in state %s", a.attack->name, a.place, connection_state_name(&w.con));
	stage_pass(&w.stage, 2);
	if (a.attack->must_end) {
		ck_assert_msg(w.con.counters.failed == 1, "%s at %d", a.attack->name, a.place);
		ck_assert(w.con.fault.err != ERR_OK && w.con.fault.err != ERR_TIMEOUT);
	} else if (a.place == ON_CONSUMER) {
		/* One bad message is no reason to lose the connection. */
		ck_assert_msg(connection_is_ready(&w.con), "%s", a.attack->name);
		ck_assert_uint_eq(w.con.counters.failed, 0);
	}
	play_end();
}
END_TEST

static void say_open_ok_twice(struct wire *to)
{
	wire_put_plain(to, 0, WIRE_OPEN_OK);
	wire_put_plain(to, 0, WIRE_OPEN_OK);
}

START_TEST(an_answer_that_comes_twice_breaks_the_protocol)
{
	play(WORLD_BOTH, &(struct part){ FAKE_TUNED, say_open_ok_twice, PART_SEES_END });
	world_start(&w);
	must_reach(&w.stage, gate_is_open, NULL, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_PROTOCOL);
	ck_assert_ptr_nonnull(strstr(w.con.fault.text, "unexpected"));
	play_end();
}
END_TEST

static void say_tune(struct wire *to)
{
	wire_put_tune(to, 16, 8192, 10);
}

START_TEST(tuning_before_the_start_breaks_the_protocol)
{
	play(WORLD_BOTH, &(struct part){ FAKE_GREETED, say_tune, PART_SEES_END });
	world_start(&w);
	must_reach(&w.stage, gate_is_open, NULL, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_PROTOCOL);
	play_end();
}
END_TEST

static unsigned attack_count(void)
{
	unsigned n = 0;

	while (fake_attacks[n].name != NULL)
		n++;
	return n;
}

int main(void)
{
	Suite *s = suite_create("hostile");
	TCase *hostile = tcase_create("hostile");

	tcase_add_checked_fixture(hostile, play_set_up, NULL);
	tcase_set_timeout(hostile, 60);
	suite_add_tcase(s, hostile);
	tcase_add_loop_test(hostile, no_attack_of_a_broker_does_harm, 0,
		(int)attack_count() * ATTACK_PLACES);
	tcase_add_test(hostile, an_answer_that_comes_twice_breaks_the_protocol);
	tcase_add_test(hostile, tuning_before_the_start_breaks_the_protocol);
	return unit_run(s);
}
