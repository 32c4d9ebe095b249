/* amqp_rig.h - a channel without a connection: the test is the broker, frame by frame.
 *
 * Layer: tests. Uses: base, loop, channel, wire, stage. Thread: the test's. */
#ifndef SALLYPORT_TEST_AMQP_RIG_H
#define SALLYPORT_TEST_AMQP_RIG_H

#include "amqp/channel.h"
#include "amqp_stage.h"
#include "amqp_wire.h"

enum { RIG_CHANNEL = 1, RIG_FRAME_MAX = 4096, RIG_OUT_MAX = 4 * 1024 * 1024 };

extern const char rig_id[]; /* a message-id */

struct rig {
	struct stage stage;
	struct codec *codec;
	struct buf out;   /* what the channel says */
	size_t read;      /* of it, by the test */
	struct wire wire; /* what the broker is going to say */
	struct channel *ch;
	unsigned changes;
	unsigned breaks;
	enum err broken;
	char why[128];
};

void rig_init(struct rig *r);
void rig_fini(struct rig *r);

/* Makes ch the one that is played with; it is still DOWN. */
void rig_hold(struct rig *r, struct channel *ch);

/* The connection is there: brings the channel up. */
void rig_up(struct rig *r);

/* The broker says all that stands in `wire`, which is empty afterwards. Returns the first
 * error, after which nothing more is said. */
enum err rig_say(struct rig *r);

#define must_say(r) ck_assert_int_eq(rig_say(r), ERR_OK)
#define must_say_wrong(r) ck_assert_int_eq(rig_say(r), ERR_PROTOCOL)

/* The same, but some bytes of it are others, and some frames of another type. Frames stay whole:
 * what cannot be cut into frames never comes to a channel. */
enum err rig_say_mutant(struct rig *r);

/* The same numbers in each run. */
uint64_t rig_dice(void);

/* The next frame that the channel sent. */
struct wire_frame must_hear(struct rig *r);

/* The next frame is this method. */
struct wire_frame must_hear_method(struct rig *r, enum wire_method method);

/* The next frames are those of a publish; returns the bytes of its body. */
size_t must_hear_publish(struct rig *r);

/* Nothing more was sent. */
void must_hear_nothing(struct rig *r);

#endif
