#include "amqp_play.h"

#include "must.h"

struct world w;
struct fakebroker fake;
atomic_uint gate;
atomic_uint count;
unsigned tries_wanted;

static atomic_bool is_over; /* scripts may end */

void play_set_up(void)
{
	must_enter_test();
	atomic_store(&gate, 0);
	atomic_store(&count, 0);
	atomic_store(&is_over, false);
}

void play_script(enum world_lanes lanes, fake_script script, void *arg)
{
	world_init(&w, lanes);
	must_fakebroker_start(&fake, script, arg, NULL, NULL, NULL);
	world_add_broker(&w, "127.0.0.1", fake.port);
}

static void do_part(struct fake *f, void *arg)
{
	const struct part *part = arg;
	struct wire bytes;

	if (!fake_polite(f, part->stage))
		return;
	wire_init(&bytes);
	if (part->says != NULL)
		part->says(&bytes);
	play_say(f, &bytes);
	switch (part->then) {
	case PART_HANGS_UP:
		return;
	case PART_SERVES:
		(void)fake_serve(f);
		return;
	case PART_SEES_END:
		if (fake_expect_end(f, SOON_MS))
			atomic_store(&gate, 1);
		break;
	case PART_SILENCE:
		break;
	}
	play_rest(f);
}

void play(enum world_lanes lanes, const struct part *part)
{
	play_script(lanes, do_part, (void *)(uintptr_t)part);
}

void play_end(void)
{
	atomic_store(&is_over, true);
	const char *failure = fakebroker_stop(&fake);

	ck_assert_msg(failure == NULL, "the broker, %s", failure == NULL ? "" : failure);
	world_fini(&w);
}

void play_polite(struct fake *f, void *arg)
{
	(void)arg;
	(void)fake_serve(f);
}

void play_hang_up(struct fake *f, void *arg)
{
	(void)f;
	(void)arg;
}

uint16_t play_dead_port(void)
{
	struct fakebroker dead;

	must_fakebroker_start(&dead, play_hang_up, NULL, NULL, NULL, NULL);
	must_fakebroker_stop(&dead);
	return dead.port;
}

void play_wait(struct fake *f, unsigned gate_at_least)
{
	while (atomic_load(&gate) < gate_at_least && !play_is_over())
		fake_be_silent(f, 2);
}

void play_say(struct fake *f, struct wire *bytes)
{
	struct span all = wire_span(bytes);

	(void)fake_send(f, all.at, all.len);
	wire_fini(bytes);
}

void play_rest(struct fake *f)
{
	fake_be_silent(f, FOR_EVER_MS);
}

bool play_is_over(void)
{
	return atomic_load(&is_over);
}

bool gate_is_open(void *arg)
{
	(void)arg;
	return atomic_load(&gate) > 0;
}

bool is_ready_again(void *arg)
{
	const struct world *world = arg;

	return connection_is_ready(&world->con) && world->con.counters.opened > 1;
}

bool has_tried(void *arg)
{
	return ((struct world *)arg)->con.counters.failed >= tries_wanted;
}
