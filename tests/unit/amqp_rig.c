#include "amqp_rig.h"

#include <stdio.h>

const char rig_id[] = "01890a5d-ac96-774b-bcce-b302099a8057";

static void on_change(void *arg)
{
	struct rig *r = arg;

	r->changes++;
}

static void on_broken(void *arg, enum err err, const char *why)
{
	struct rig *r = arg;

	r->breaks++;
	r->broken = err;
	snprintf(r->why, sizeof(r->why), "%s", why);
}

void rig_init(struct rig *r)
{
	*r = (struct rig){ 0 };
	stage_init(&r->stage);
	ck_assert_int_eq(codec_create(&r->codec), ERR_OK);
	buf_init(&r->out, RIG_OUT_MAX);
	wire_init(&r->wire);
}

void rig_fini(struct rig *r)
{
	codec_destroy(r->codec);
	buf_fini(&r->out);
	wire_fini(&r->wire);
	stage_fini(&r->stage);
}

void rig_hold(struct rig *r, struct channel *ch)
{
	r->ch = ch;
	ch->number = RIG_CHANNEL;
	ch->link = "rig";
	ch->host = (struct channel_host){
		.on_change = on_change,
		.on_broken = on_broken,
		.arg = r,
	};
}

void rig_up(struct rig *r)
{
	channel_up(r->ch, r->codec, &r->out, RIG_FRAME_MAX);
}

uint64_t rig_dice(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	/* xorshift64* */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 2685821657736338717ull;
}

static void mutate(struct buf *said, struct frame *frame)
{
	static const enum frame_type types[] = { FRAME_METHOD, FRAME_HEADER, FRAME_BODY,
		FRAME_HEARTBEAT };
	static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xfe, 0xff, 'F', 'A' };

	if (rig_dice() % 16 == 0)
		frame->type = types[rig_dice() % ARRAY_COUNT(types)];
	if (rig_dice() % 16 == 0)
		frame->payload.len = rig_dice() % (frame->payload.len + 1);
	for (uint64_t n = rig_dice() % 3; n > 0 && frame->payload.len > 0; n--) {
		size_t at = (size_t)(frame->payload.at - said->at) +
			    rig_dice() % frame->payload.len;

		said->at[at] = (char)(rig_dice() % 2 == 0 ? rig_dice()
							  : edges[rig_dice() % sizeof(edges)]);
	}
}

enum rig_honesty { RIG_HONEST = 0, RIG_MUTANT };

static enum err say(struct rig *r, enum rig_honesty honesty)
{
	/* A buffer of its own, as the connection's is: it may be gone after the frame. */
	struct buf said = r->wire.out;
	enum err err = ERR_OK;

	wire_init(&r->wire);
	for (struct span left = buf_span(&said); left.len > 0 && err == ERR_OK;) {
		struct frame frame;
		size_t taken;

		ck_assert_int_eq(
			frame_next(left, AMQP_FRAME_MAX_BYTES, &frame, &taken), ERR_OK);
		ck_assert_uint_gt(taken, 0);
		left = span_after(left, taken);
		if (honesty == RIG_MUTANT)
			mutate(&said, &frame);
		err = channel_take(r->ch, &frame);
	}
	buf_fini(&said);
	return err;
}

enum err rig_say(struct rig *r)
{
	return say(r, RIG_HONEST);
}

enum err rig_say_mutant(struct rig *r)
{
	return say(r, RIG_MUTANT);
}

struct wire_frame must_hear(struct rig *r)
{
	struct wire_frame f;

	ck_assert_int_eq(buf_status(&r->out), ERR_OK);
	ck_assert_msg(r->read < r->out.len, "nothing more was sent");
	ck_assert_int_eq(wire_next(span_after(buf_span(&r->out), r->read), &f), WIRE_WHOLE);
	ck_assert_uint_eq(f.channel, RIG_CHANNEL);
	ck_assert_uint_le(f.bytes, RIG_FRAME_MAX);
	r->read += f.bytes;
	return f;
}

struct wire_frame must_hear_method(struct rig *r, enum wire_method method)
{
	struct wire_frame f = must_hear(r);

	ck_assert_msg(f.type == WIRE_METHOD && f.method == (uint32_t)method,
		"frame of type %u, method %u.%u, not %u.%u", f.type, f.method >> 16,
		f.method & 0xffff, (unsigned)method >> 16, (unsigned)method & 0xffff);
	return f;
}

size_t must_hear_publish(struct rig *r)
{
	struct wire_frame f;
	size_t body_bytes;

	must_hear_method(r, WIRE_PUBLISH);
	f = must_hear(r);
	ck_assert_uint_eq(f.type, WIRE_HEADER);
	struct wire_reader head = { .left = f.payload };

	wire_read_long(&head);
	body_bytes = (size_t)wire_read_longlong(&head);
	for (size_t seen = 0; seen < body_bytes; seen += f.payload.len) {
		f = must_hear(r);
		ck_assert_uint_eq(f.type, WIRE_BODY);
	}
	return body_bytes;
}

void must_hear_nothing(struct rig *r)
{
	ck_assert_int_eq(buf_status(&r->out), ERR_OK);
	ck_assert_msg(r->read == r->out.len, "%zu bytes more were sent", r->out.len - r->read);
}
