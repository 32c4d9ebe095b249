#include "amqp/channel.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

enum {
	HEADER_MAX_BYTES = AMQP_FRAME_READ_MAX_BYTES,
	BODY_KEEP_BYTES = 16 * 1024,
	CODE_OK = 200,
	ANSWER_TIMEOUT_MS = 10000,
};

#define TO(s) (1u << CHANNEL_##s)
static const struct {
	const char *name;
	unsigned next;
} states[CHANNEL_NSTATES] = {
	/* clang-format off */
	[CHANNEL_DOWN]    = { "down",    TO(OPENING) },
	[CHANNEL_OPENING] = { "opening", TO(SETUP) | TO(WAITING) | TO(DOWN) },
	[CHANNEL_SETUP]   = { "setup",   TO(READY) | TO(CLOSING) | TO(WAITING) | TO(DOWN) },
	[CHANNEL_READY]   = { "ready",   TO(CLOSING) | TO(WAITING) | TO(DOWN) },
	[CHANNEL_CLOSING] = { "closing", TO(WAITING) | TO(DOWN) },
	[CHANNEL_WAITING] = { "waiting", TO(OPENING) | TO(DOWN) },
	/* clang-format on */
};
#undef TO

static void content_clear(struct channel *ch)
{
	ch->has_pending = false;
	ch->has_header = false;
	ch->body_bytes = 0;
	ch->body_seen = 0;
	buf_clear(&ch->header);
	buf_clear(&ch->body); /* keeps the memory: a span into it may be on the stack above */
}

static bool owner_is_set_up(enum channel_state state)
{
	return state == CHANNEL_SETUP || state == CHANNEL_READY;
}

static bool waits_for_broker(enum channel_state state)
{
	return state == CHANNEL_OPENING || state == CHANNEL_SETUP || state == CHANNEL_CLOSING;
}

static void move(struct channel *ch, enum channel_state to, enum err err)
{
	enum channel_state from = ch->state;

	BUG_ON((states[from].next & (1u << to)) == 0);
	log_debug("link=%s channel=%s state=%s->%s", ch->link, ch->name, states[from].name,
		states[to].name);
	ch->state = to;
	content_clear(ch);
	if (waits_for_broker(to))
		timer_after(&ch->timer, ANSWER_TIMEOUT_MS);
	else
		timer_cancel(&ch->timer);
	if (owner_is_set_up(from) && !owner_is_set_up(to))
		ch->ops->on_lost(ch, err);
}

/* WAITING: the wait is over. Else: the broker owes an answer for too long. */
static void on_timer(struct timer *timer)
{
	struct channel *ch = container_of(timer, struct channel, timer);

	if (ch->state != CHANNEL_WAITING && ch->is_blocked) {
		timer_after(&ch->timer, ANSWER_TIMEOUT_MS);
		return;
	}
	if (ch->state != CHANNEL_WAITING) {
		ch->host.on_broken(ch->host.arg, ERR_TIMEOUT, "no answer on a channel");
		return;
	}
	move(ch, CHANNEL_OPENING, ERR_OK);
	codec_put_channel_open(ch->out, ch->number);
}

void amqp_fault_set(struct amqp_fault *f, enum err err, uint16_t code, struct span text)
{
	struct text_shown shown = text_show(text);

	f->err = err;
	f->code = code;
	f->at_unix_ms = clock_unix_ms();
	snprintf(f->text, sizeof(f->text), "%s", shown.at);
}

const char *channel_state_name(enum channel_state state)
{
	return states[state].name;
}

void channel_init(
	struct channel *ch, struct loop *l, const char *name, const struct channel_ops *ops)
{
	*ch = (struct channel){ .name = name, .link = "-", .ops = ops };
	timer_init(&ch->timer, l, on_timer);
	backoff_init(&ch->backoff, CHANNEL_RETRY_FIRST_MS, CHANNEL_RETRY_LONGEST_MS);
	buf_init(&ch->header, HEADER_MAX_BYTES);
	buf_init(&ch->body, CHANNEL_BODY_MAX_BYTES);
}

void channel_fini(struct channel *ch)
{
	BUG_ON(ch->state != CHANNEL_DOWN);
	buf_fini(&ch->header);
	buf_fini(&ch->body);
}

void channel_become_ready(struct channel *ch)
{
	move(ch, CHANNEL_READY, ERR_OK);
	backoff_reset(&ch->backoff);
	ch->host.on_change(ch->host.arg);
}

static void wait_and_retry(struct channel *ch, enum err err)
{
	struct id dice;

	move(ch, CHANNEL_WAITING, err);
	id_make(&dice, 0);
	timer_after(&ch->timer,
		backoff_next_ms(&ch->backoff, (uint64_t)dice.byte[15] << 8 | dice.byte[14]));
	ch->host.on_change(ch->host.arg);
}

void channel_restart(struct channel *ch, enum err err, const char *why)
{
	if (!owner_is_set_up(ch->state))
		return;
	amqp_fault_set(&ch->fault, err, 0, span_of(why));
	log_warn("link=%s channel=%s event=restart err=\"%s\" why=\"%s\"", ch->link, ch->name,
		err_text(err), ch->fault.text);
	codec_put_channel_close(ch->out, ch->number, CODE_OK, "starting again");
	move(ch, CHANNEL_CLOSING, err);
	ch->host.on_change(ch->host.arg);
}

void channel_up(struct channel *ch, struct codec *codec, struct buf *out, uint32_t frame_max)
{
	ch->codec = codec;
	ch->out = out;
	ch->frame_max = frame_max;
	move(ch, CHANNEL_OPENING, ERR_OK);
	codec_put_channel_open(out, ch->number);
}

void channel_say_goodbye(struct channel *ch)
{
	if (ch->state == CHANNEL_READY && ch->ops->on_goodbye != NULL)
		ch->ops->on_goodbye(ch);
}

void channel_down(struct channel *ch, enum err err)
{
	if (ch->state == CHANNEL_DOWN)
		return;
	move(ch, CHANNEL_DOWN, err);
	ch->codec = NULL;
	ch->out = NULL;
	ch->is_blocked = false;
}

void channel_block(struct channel *ch)
{
	ch->is_blocked = true;
}

void channel_unblock(struct channel *ch)
{
	ch->is_blocked = false;
	ch->unblocked_at_ms = uv_now(&ch->timer.loop->uv);
	if (waits_for_broker(ch->state))
		timer_after(&ch->timer, ANSWER_TIMEOUT_MS);
}

/* ---- frames ---- */

static void on_closed_by_broker(struct channel *ch, const struct method *m)
{
	bool was_closing = ch->state == CHANNEL_CLOSING;

	ch->closed_by_broker++;
	amqp_fault_set(&ch->fault, ERR_REFUSED, m->code, m->text);
	log_warn("link=%s channel=%s event=closed-by-broker code=%u text=\"%s\"", ch->link,
		ch->name, m->code, ch->fault.text);
	codec_put_channel_close_ok(ch->out, ch->number);
	/* Both sides closed at once: our close is still to be answered, and the answer will
	 * come (AMQP 0-9-1: a close waits for its close-ok whatever arrives in between). */
	if (!was_closing)
		wait_and_retry(ch, ERR_REFUSED);
}

static enum err take_content_method(struct channel *ch, const struct method *m)
{
	if (ch->state != CHANNEL_READY)
		return ERR_PROTOCOL;
	ch->pending = *m;
	if (m->kind == METHOD_BASIC_RETURN)
		amqp_fault_set(&ch->fault, ERR_REFUSED, m->code, m->text);
	ch->pending.text = (struct span){ 0 }; /* its frame will be gone */
	ch->has_pending = true;
	return ERR_OK;
}

static enum err take_method(struct channel *ch, const struct method *m)
{
	if (ch->has_pending)
		return ERR_PROTOCOL; /* its content is not complete */
	if (m->kind == METHOD_CHANNEL_CLOSE) {
		if (ch->state == CHANNEL_DOWN || ch->state == CHANNEL_WAITING)
			return ERR_PROTOCOL;
		on_closed_by_broker(ch, m);
		return ERR_OK;
	}
	switch (ch->state) {
	case CHANNEL_OPENING:
		if (m->kind != METHOD_CHANNEL_OPEN_OK)
			return ERR_PROTOCOL;
		move(ch, CHANNEL_SETUP, ERR_OK);
		ch->ops->setup(ch);
		return ERR_OK;
	case CHANNEL_SETUP:
	case CHANNEL_READY:
		if (m->kind == METHOD_BASIC_DELIVER || m->kind == METHOD_BASIC_RETURN)
			return take_content_method(ch, m);
		return ch->ops->on_method(ch, m);
	case CHANNEL_CLOSING:
		if (m->kind == METHOD_CHANNEL_CLOSE_OK)
			wait_and_retry(ch, ERR_CANCEL);
		return ERR_OK;
	case CHANNEL_DOWN:
	case CHANNEL_WAITING:
	case CHANNEL_NSTATES:
		break;
	}
	return ERR_PROTOCOL;
}

static enum err finish_content(struct channel *ch)
{
	struct method method = ch->pending;
	struct content content = {
		.method = &method,
		.header = buf_span(&ch->header),
		.body = buf_span(&ch->body),
		.body_bytes = ch->body_bytes,
		.is_oversized = ch->body_bytes > CHANNEL_BODY_MAX_BYTES,
	};

	ch->has_pending = false;
	ch->has_header = false;
	enum err err = ch->ops->on_content(ch, &content);

	content_clear(ch);
	buf_shrink(&ch->body, BODY_KEEP_BYTES);
	return err;
}

static enum err take_header(struct channel *ch, struct span payload)
{
	if (!ch->has_pending || ch->has_header)
		return ERR_PROTOCOL;
	enum err err = codec_header_body_bytes(payload, &ch->body_bytes);

	if (err != ERR_OK)
		return err;
	if (ch->body_bytes > CHANNEL_ANNOUNCED_MAX_BYTES)
		return ERR_PROTOCOL;
	buf_append(&ch->header, payload);
	if (buf_status(&ch->header) != ERR_OK)
		return buf_status(&ch->header);
	ch->has_header = true;
	return ch->body_bytes == 0 ? finish_content(ch) : ERR_OK;
}

static enum err take_body(struct channel *ch, struct span payload)
{
	if (!ch->has_header || payload.len == 0 || payload.len > ch->body_bytes - ch->body_seen)
		return ERR_PROTOCOL;
	ch->body_seen += payload.len;
	if (ch->body_bytes <= CHANNEL_BODY_MAX_BYTES) {
		buf_append(&ch->body, payload);
		if (buf_status(&ch->body) != ERR_OK)
			return buf_status(&ch->body);
	}
	return ch->body_seen == ch->body_bytes ? finish_content(ch) : ERR_OK;
}

enum err channel_take(struct channel *ch, const struct frame *frame)
{
	struct method m;
	enum err err;

	switch (frame->type) {
	case FRAME_METHOD:
		err = codec_decode_method(ch->codec, frame->payload, &m);
		return err == ERR_OK ? take_method(ch, &m) : err;
	case FRAME_HEADER:
	case FRAME_BODY:
		if (ch->state == CHANNEL_CLOSING)
			return ERR_OK; /* the rest of what was on its way */
		return frame->type == FRAME_HEADER ? take_header(ch, frame->payload)
						   : take_body(ch, frame->payload);
	case FRAME_HEARTBEAT:
		break;
	}
	return ERR_PROTOCOL; /* a heartbeat belongs to channel 0 */
}
