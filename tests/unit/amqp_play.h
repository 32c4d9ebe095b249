/* amqp_play.h - a connection, and the broker of it that the test plays over plain TCP.
 *
 * Scripts run in threads of the fake broker; what they share with the test is atomic.
 * Layer: tests. Uses: world, wire, fakebroker, check. Thread: the test's, but where it says f. */
#ifndef SALLYPORT_TEST_AMQP_PLAY_H
#define SALLYPORT_TEST_AMQP_PLAY_H

#include <stdatomic.h>

#include "amqp_wire.h"
#include "amqp_world.h"
#include "fakebroker.h"

enum { SOON_MS = 10000, FOR_EVER_MS = 60000 };

extern struct world w;
extern struct fakebroker fake;
extern atomic_uint gate;  /* 0 at first: scripts wait for the test, or the other way round */
extern atomic_uint count; /* 0 at first: of whatever a script counts */

enum part_end { PART_SILENCE = 0, PART_SERVES, PART_HANGS_UP, PART_SEES_END };

/* What most brokers here do: come politely to a stage, say something, and then … */
struct part {
	enum fake_stage stage;
	void (*says)(struct wire *to); /* NULL: nothing */
	/* … fall silent, serve, hang up, or raise the gate once the client has hung up. */
	enum part_end then;
};

/* Before each test. */
void play_set_up(void);

/* The world, against a broker with that part. */
void play(enum world_lanes lanes, const struct part *part);

/* The same with a script of the test's own; arg is passed on. */
void play_script(enum world_lanes lanes, fake_script script, void *arg);

/* Both come to their end; a script that did not get what it wanted fails the test. */
void play_end(void);

/* A polite broker: for play_script(). */
void play_polite(struct fake *f, void *arg);

/* Closes what it accepts: for play_script(). */
void play_hang_up(struct fake *f, void *arg);

/* A port of 127.0.0.1 where nobody listens (any more). */
uint16_t play_dead_port(void);

/* ---- for scripts ---- */

/* Until the test has opened the gate so far. */
void play_wait(struct fake *f, unsigned gate_at_least);

/* Says all of it and frees it. */
void play_say(struct fake *f, struct wire *bytes);

/* Nothing more, until the end. */
void play_rest(struct fake *f);

/* The test has come to its end. */
bool play_is_over(void);

/* ---- for must_reach() ---- */

bool gate_is_open(void *arg); /* arg is not looked at */
bool is_ready_again(void *arg);
bool has_tried(void *arg); /* so many tries failed: tries_wanted; arg is the world */
extern unsigned tries_wanted;

#endif
