#include "amqp/connection.h"

#include <stdio.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

enum {
	OUT_MAX_BYTES = 32 * 1024 * 1024, /* owners stop long before: see publisher.c */
	OUT_KEEP_BYTES = 64 * 1024,
	IN_MAX_BYTES = AMQP_FRAME_READ_MAX_BYTES + TRANSPORT_READ_BYTES,
	DRAIN_TIMEOUT_MS = 1000,
	/* A port where nobody listens is asked again after this at the latest: it costs nothing,
	 * and a broker that comes back is found at once. */
	REFUSED_LONGEST_MS = 200,
	SILENT_BEATS_MAX = 4, /* two heartbeat intervals: a beat is half of one */
	CODE_OK = 200,
	CODE_ACCESS_REFUSED = 403,
	CODE_NOT_ALLOWED = 530,
};

#define TO(s) (1u << CONNECTION_##s)
static const struct {
	const char *name;
	unsigned next;
} states[CONNECTION_NSTATES] = {
	/* clang-format off */
	[CONNECTION_DOWN]     = { "down",     TO(DIALING) | TO(WAITING) },
	[CONNECTION_DIALING]  = { "dialing",  TO(TLS) | TO(WAITING) | TO(DOWN) },
	[CONNECTION_TLS]      = { "tls",      TO(LOGIN) | TO(WAITING) | TO(DOWN) },
	[CONNECTION_LOGIN]    = { "login",    TO(TUNE) | TO(WAITING) | TO(DOWN) },
	[CONNECTION_TUNE]     = { "tune",     TO(OPEN) | TO(WAITING) | TO(DOWN) },
	[CONNECTION_OPEN]     = { "open",     TO(CHANNELS) | TO(WAITING) | TO(DOWN) },
	[CONNECTION_CHANNELS] = { "channels", TO(READY) | TO(BLOCKED) | TO(DRAINING) | TO(WAITING) },
	[CONNECTION_READY]    = { "ready",    TO(CHANNELS) | TO(BLOCKED) | TO(DRAINING) | TO(WAITING) },
	[CONNECTION_BLOCKED]  = { "blocked",  TO(CHANNELS) | TO(READY) | TO(DRAINING) | TO(WAITING) },
	[CONNECTION_DRAINING] = { "draining", TO(DOWN) },
	[CONNECTION_WAITING]  = { "waiting",  TO(DIALING) | TO(DOWN) },
	/* clang-format on */
};
#undef TO

static bool is_serving(enum connection_state state)
{
	return state == CONNECTION_CHANNELS || state == CONNECTION_READY ||
	       state == CONNECTION_BLOCKED;
}

static bool has_all_channels(const struct connection *c)
{
	for (unsigned i = 0; i < c->channel_count; i++)
		if (!channel_is_ready(c->channels[i]))
			return false;
	return true;
}

/* What holds in each state. */
static void check(const struct connection *c)
{
	bool has_transport = c->state != CONNECTION_DOWN && c->state != CONNECTION_WAITING;

	BUG_ON((c->transport != NULL) != has_transport);
	BUG_ON(c->state == CONNECTION_READY && !has_all_channels(c));
	if (!is_serving(c->state))
		for (unsigned i = 0; i < c->channel_count; i++)
			BUG_ON(c->channels[i]->state != CHANNEL_DOWN);
}

/* The first, second, fourth, eighth … of the dials that are refused in a row is told: a broker that
 * is away for an hour is no reason for ten thousand lines. */
static enum log_level level_of(const struct connection *c, enum log_level told)
{
	return (c->refused_count & (c->refused_count - 1)) == 0 ? told : LOG_DEBUG;
}

static void move(struct connection *c, enum connection_state to)
{
	enum connection_state from = c->state;
	uint64_t now_us = clock_mono_us();

	BUG_ON((states[from].next & (1u << to)) == 0);
	log_line(level_of(c, LOG_INFO), "link=%s state=%s->%s broker=%s:%u after_ms=%llu",
		c->config.name, states[from].name, states[to].name, connection_broker(c)->host,
		connection_broker(c)->port,
		(unsigned long long)(now_us - c->since_mono_us) / 1000);
	c->state = to;
	c->since_mono_us = now_us;
	if (to == CONNECTION_READY && c->ready_mono_us == 0)
		c->ready_mono_us = now_us;
	/* The handshake is over. A channel that opens later, or while we are blocked, has a
	 * limit of its own. */
	if (to == CONNECTION_READY || to == CONNECTION_BLOCKED)
		timer_cancel(&c->limit);
	check(c);
	c->on_change(c->arg, c);
}

/* Leaves the broker, whatever state we are in; the caller moves on. */
static void hang_up(struct connection *c, enum err err)
{
	timer_cancel(&c->limit);
	timer_cancel(&c->beat);
	for (unsigned i = 0; i < c->channel_count; i++)
		channel_down(c->channels[i], err);
	transport_close(c->transport);
	c->transport = NULL;
	buf_shrink(&c->in, 0);
	buf_shrink(&c->out, OUT_KEEP_BYTES);
}

static void become_down(struct connection *c)
{
	hang_up(c, ERR_CANCEL);
	move(c, CONNECTION_DOWN);
	timer_after(&c->stop, 0); /* brings on_stopped */
}

static bool is_proven(const struct connection *c)
{
	return c->ready_mono_us != 0 &&
	       clock_mono_us() - c->ready_mono_us >= c->config.proven_ms * 1000;
}

/* How long to wait after what was just lost. */
static uint64_t next_wait_ms(struct connection *c)
{
	struct id dice;

	id_make(&dice, 0);
	uint64_t random = (uint64_t)dice.byte[15] << 8 | dice.byte[14];

	if (transport_was_refused(c->transport)) {
		c->refused_count++;
		return backoff_next_ms(&c->refused_backoff, random);
	}
	if (is_proven(c))
		backoff_reset(&c->backoff);
	return backoff_next_ms(&c->backoff, random);
}

static void fail(struct connection *c, enum err err, uint16_t code, struct span why)
{
	if (c->state == CONNECTION_DOWN || c->state == CONNECTION_WAITING)
		return;
	if (c->state == CONNECTION_DRAINING) {
		become_down(c);
		return;
	}
	c->counters.failed++;
	amqp_fault_set(&c->fault, err, code, why);
	uint64_t wait_ms = next_wait_ms(c);

	hang_up(c, err);
	log_line(level_of(c, LOG_WARN),
		"link=%s event=lost state=%s broker=%s:%u err=\"%s\" code=%u why=\"%s\" "
		"retry_ms=%llu",
		c->config.name, states[c->state].name, connection_broker(c)->host,
		connection_broker(c)->port, err_text(err), code, c->fault.text,
		(unsigned long long)wait_ms);
	timer_after(&c->limit, wait_ms);
	move(c, CONNECTION_WAITING);
}

static void fail_text(struct connection *c, enum err err, const char *why)
{
	fail(c, err, 0, span_of(why));
}

/* ---- output ---- */

static bool on_flush(struct turn *turn)
{
	struct connection *c = container_of(turn, struct connection, flush);

	if (c->out.len == 0 && buf_status(&c->out) == ERR_OK)
		return false;
	if (c->transport == NULL || transport_is_writing(c->transport))
		return false;
	enum err err = buf_status(&c->out);

	if (err == ERR_OK)
		err = transport_write(c->transport, buf_span(&c->out));
	buf_shrink(&c->out, OUT_KEEP_BYTES);
	c->has_sent = true;
	if (err != ERR_OK)
		fail_text(c, err, "write");
	return true;
}

/* ---- the channels speak ---- */

static void on_channels_changed(void *arg)
{
	struct connection *c = arg;

	if (c->state == CONNECTION_CHANNELS && has_all_channels(c))
		move(c, CONNECTION_READY);
	else if (c->state == CONNECTION_READY && !has_all_channels(c))
		move(c, CONNECTION_CHANNELS);
}

static void on_channel_broken(void *arg, enum err err, const char *why)
{
	fail_text(arg, err, why);
}

static void channels_up(struct connection *c)
{
	move(c, CONNECTION_CHANNELS);
	for (unsigned i = 0; i < c->channel_count; i++)
		channel_up(c->channels[i], c->codec, &c->out, c->frame_max);
	on_channels_changed(c); /* none at all is ready too */
}

/* ---- methods of channel 0 ---- */

static bool has_word(struct span words, const char *word)
{
	while (words.len > 0)
		if (span_is(text_cut(&words, ' '), word))
			return true;
	return false;
}

static void on_start(struct connection *c, const struct method *m)
{
	if (!has_word(m->mechanisms, "EXTERNAL")) {
		fail_text(c, ERR_AUTH, "the broker does not offer EXTERNAL");
		return;
	}
	codec_put_start_ok(&c->out, c->config.name);
	move(c, CONNECTION_TUNE);
}

static uint32_t smaller_but_not_zero(uint32_t ours, uint32_t theirs)
{
	return theirs == 0 || theirs > ours ? ours : theirs;
}

static void on_tune(struct connection *c, const struct method *m)
{
	c->frame_max = smaller_but_not_zero(AMQP_FRAME_MAX_BYTES, m->frame_max);
	c->heartbeat_s = (uint16_t)smaller_but_not_zero(c->config.heartbeat_s, m->heartbeat_s);
	uint16_t channel_max = (uint16_t)smaller_but_not_zero(
		CONNECTION_CHANNELS_MAX, m->channel_max);

	if (c->frame_max < AMQP_FRAME_MIN_BYTES) {
		fail_text(c, ERR_PROTOCOL, "the broker's frame_max is below 4096");
		return;
	}
	if (channel_max < c->channel_count) {
		fail_text(c, ERR_PROTOCOL, "the broker's channel_max is too small");
		return;
	}
	codec_put_tune_ok(&c->out, channel_max, c->frame_max, c->heartbeat_s);
	codec_put_open(&c->out, c->config.vhost);
	timer_after(&c->beat, SEC_MS(c->heartbeat_s) / 2);
	move(c, CONNECTION_OPEN);
}

static void on_closed_by_broker(struct connection *c, const struct method *m)
{
	enum err err = m->code == CODE_ACCESS_REFUSED || m->code == CODE_NOT_ALLOWED ? ERR_AUTH
										     : ERR_LINK;

	buf_clear(&c->out);
	codec_put_close_ok(&c->out);
	on_flush(&c->flush); /* politeness: the broker would log a lost connection */
	fail(c, err, m->code, m->text);
}

static void unexpected(struct connection *c, const struct method *m)
{
	char why[96];

	snprintf(why, sizeof(why), "unexpected %s in state %s", method_name(m->number),
		states[c->state].name);
	fail_text(c, ERR_PROTOCOL, why);
}

static void take_method(struct connection *c, const struct method *m)
{
	if (m->kind == METHOD_CONNECTION_CLOSE) {
		on_closed_by_broker(c, m);
		return;
	}
	switch (c->state) {
	case CONNECTION_LOGIN:
		if (m->kind == METHOD_CONNECTION_START) {
			on_start(c, m);
			return;
		}
		break;
	case CONNECTION_TUNE:
		if (m->kind == METHOD_CONNECTION_TUNE) {
			on_tune(c, m);
			return;
		}
		break;
	case CONNECTION_OPEN:
		if (m->kind == METHOD_CONNECTION_OPEN_OK) {
			c->counters.opened++;
			channels_up(c);
			return;
		}
		break;
	case CONNECTION_CHANNELS:
	case CONNECTION_READY:
	case CONNECTION_BLOCKED:
		if (m->kind == METHOD_CONNECTION_BLOCKED) {
			if (c->state == CONNECTION_BLOCKED)
				return;
			c->counters.blocked++;
			amqp_fault_set(&c->fault, ERR_FULL, 0, m->text);
			log_warn("link=%s event=blocked why=\"%s\"", c->config.name,
				c->fault.text);
			for (unsigned i = 0; i < c->channel_count; i++)
				channel_block(c->channels[i]);
			move(c, CONNECTION_BLOCKED);
			return;
		}
		if (m->kind == METHOD_CONNECTION_UNBLOCKED) {
			if (c->state != CONNECTION_BLOCKED)
				return;
			for (unsigned i = 0; i < c->channel_count; i++)
				channel_unblock(c->channels[i]);
			move(c, has_all_channels(c) ? CONNECTION_READY : CONNECTION_CHANNELS);
			return;
		}
		break;
	case CONNECTION_DRAINING:
		if (m->kind == METHOD_CONNECTION_CLOSE_OK)
			become_down(c);
		return; /* what was on its way before our close does not matter any more */
	case CONNECTION_DOWN:
	case CONNECTION_DIALING:
	case CONNECTION_TLS:
	case CONNECTION_WAITING:
	case CONNECTION_NSTATES:
		break;
	}
	unexpected(c, m);
}

static void take_frame(struct connection *c, const struct frame *frame)
{
	struct method m;
	enum err err;

	if (frame->type == FRAME_HEARTBEAT && frame->channel == 0)
		return; /* that it came is all that counts */
	if (frame->channel == 0) {
		err = frame->type == FRAME_METHOD
			      ? codec_decode_method(c->codec, frame->payload, &m)
			      : ERR_PROTOCOL;
		if (err == ERR_OK)
			take_method(c, &m);
	} else if (c->state == CONNECTION_DRAINING) {
		return;
	} else if (!is_serving(c->state) || frame->channel > c->channel_count) {
		err = ERR_PROTOCOL;
	} else {
		err = channel_take(c->channels[frame->channel - 1], frame);
	}
	if (err != ERR_OK) {
		char why[96];

		snprintf(why, sizeof(why), "bad frame: type %u, channel %u, %zu bytes",
			frame->type, frame->channel, frame->payload.len);
		fail_text(c, err, why);
	}
}

/* Takes all whole frames of `in`. *used is what of it is done with. */
static void take_frames(struct connection *c, struct span in, size_t *used)
{
	const struct transport *transport = c->transport;

	*used = 0;
	/* A frame may end this connection, and even begin the next. */
	while (c->transport == transport) {
		struct frame frame;
		size_t taken;
		size_t limit = c->frame_max == 0 ? AMQP_FRAME_MAX_BYTES : c->frame_max;
		enum err err = frame_next(span_after(in, *used), limit, &frame, &taken);

		if (err != ERR_OK) {
			fail_text(c, err, "not an AMQP frame, or too large a one");
			return;
		}
		if (taken == 0)
			return;
		*used += taken;
		take_frame(c, &frame);
	}
}

/* ---- the transport speaks ---- */

static void on_bytes(void *arg, struct span bytes)
{
	struct connection *c = arg;
	const struct transport *transport = c->transport;
	size_t used;

	c->silent_beats = 0;
	if (c->in.len == 0) {
		take_frames(c, bytes, &used);
		if (c->transport == transport)
			buf_append(&c->in, span_after(bytes, used));
	} else {
		buf_append(&c->in, bytes);
		take_frames(c, buf_span(&c->in), &used);
		if (c->transport == transport)
			buf_consume(&c->in, used);
	}
	if (c->transport == transport && buf_status(&c->in) != ERR_OK)
		fail_text(c, buf_status(&c->in), "read");
}

static void on_connected(void *arg)
{
	struct connection *c = arg;

	c->refused_count = 0;
	backoff_reset(&c->refused_backoff);
	move(c, CONNECTION_TLS);
}

static void on_ready(void *arg)
{
	struct connection *c = arg;

	codec_put_protocol_header(&c->out);
	move(c, CONNECTION_LOGIN);
}

static void on_failed(void *arg, enum err err, const char *why)
{
	fail_text(arg, err, why);
}

static void dial(struct connection *c)
{
	static const struct transport_events events = {
		.on_connected = on_connected,
		.on_ready = on_ready,
		.on_bytes = on_bytes,
		.on_failed = on_failed,
	};

	c->tries++;
	c->frame_max = 0;
	c->silent_beats = 0;
	c->ready_mono_us = 0;
	enum err err = transport_dial(c->loop, connection_broker(c), c->config.identity,
		(c->tries - 1) / c->config.broker_count, &events, c, &c->transport);

	if (err != ERR_OK) {
		/* No memory or no descriptor: as good as a broker that cannot be reached. */
		c->counters.failed++;
		amqp_fault_set(&c->fault, err, 0, span_of("dial"));
		log_warn("link=%s event=lost err=\"%s\" why=dial", c->config.name,
			err_text(err));
		timer_after(&c->limit, c->config.retry_longest_ms);
		if (c->state == CONNECTION_DOWN)
			move(c, CONNECTION_WAITING);
		return;
	}
	move(c, CONNECTION_DIALING);
	timer_after(&c->limit, c->config.handshake_timeout_ms);
}

/* ---- time ---- */

static void on_limit(struct timer *timer)
{
	struct connection *c = container_of(timer, struct connection, limit);

	switch (c->state) {
	case CONNECTION_WAITING:
		if (!c->is_held)
			dial(c);
		return;
	case CONNECTION_DRAINING:
		become_down(c);
		return;
	case CONNECTION_DIALING:
	case CONNECTION_TLS:
	case CONNECTION_LOGIN:
	case CONNECTION_TUNE:
	case CONNECTION_OPEN:
	case CONNECTION_CHANNELS:
		fail_text(c, ERR_TIMEOUT, "the broker did not finish the handshake in time");
		return;
	case CONNECTION_DOWN:
	case CONNECTION_READY:
	case CONNECTION_BLOCKED:
	case CONNECTION_NSTATES:
		break;
	}
}

/* connection_stop() was called, or what it began has come to its end. */
static void on_stop(struct timer *timer)
{
	struct connection *c = container_of(timer, struct connection, stop);
	connection_stopped_fn on_stopped = c->on_stopped;

	if (c->state == CONNECTION_DOWN) {
		c->on_stopped = NULL;
		on_stopped(c->stopped_arg, c); /* last touch */
		return;
	}
	if (!is_serving(c->state)) {
		become_down(c);
		return;
	}
	for (unsigned i = 0; i < c->channel_count; i++) {
		channel_say_goodbye(c->channels[i]);
		channel_down(c->channels[i], ERR_CANCEL);
	}
	codec_put_close(&c->out, CODE_OK, "goodbye");
	move(c, CONNECTION_DRAINING);
	timer_after(&c->limit, DRAIN_TIMEOUT_MS);
}

static void on_beat(struct timer *timer)
{
	struct connection *c = container_of(timer, struct connection, beat);

	if (++c->silent_beats > SILENT_BEATS_MAX) {
		fail_text(c, ERR_TIMEOUT, "no heartbeat from the broker");
		return;
	}
	if (!c->has_sent)
		codec_put_heartbeat(&c->out);
	c->has_sent = false;
	timer_after(&c->beat, SEC_MS(c->heartbeat_s) / 2);
}

static uint64_t smaller(uint64_t a_ms, uint64_t b_ms)
{
	return a_ms < b_ms ? a_ms : b_ms;
}

/* ---- public ---- */

const char *connection_state_name(const struct connection *c)
{
	return states[c->state].name;
}

const struct transport_address *connection_broker(const struct connection *c)
{
	unsigned tries = c->tries == 0 ? 0 : c->tries - 1;

	return &c->config.brokers[tries % c->config.broker_count];
}

enum err connection_init(struct connection *c, struct loop *l,
	const struct connection_config *config, connection_change_fn on_change, void *arg)
{
	BUG_ON(config->broker_count == 0 || config->heartbeat_s == 0);
	*c = (struct connection){
		.loop = l,
		.config = *config,
		.on_change = on_change,
		.arg = arg,
		.since_mono_us = clock_mono_us(),
	};
	enum err err = codec_create(&c->codec);

	if (err != ERR_OK)
		return err;
	buf_init(&c->in, IN_MAX_BYTES);
	buf_init(&c->out, OUT_MAX_BYTES);
	backoff_init(&c->backoff, config->retry_first_ms, config->retry_longest_ms);
	backoff_init(&c->refused_backoff, smaller(config->retry_first_ms, REFUSED_LONGEST_MS),
		smaller(config->retry_longest_ms, REFUSED_LONGEST_MS));
	timer_init(&c->limit, l, on_limit);
	timer_init(&c->beat, l, on_beat);
	timer_init(&c->stop, l, on_stop);
	loop_turn_add(l, &c->flush, on_flush);
	return ERR_OK;
}

void connection_fini(struct connection *c)
{
	if (c->loop == NULL)
		return;
	BUG_ON(c->state != CONNECTION_DOWN);
	timer_cancel(&c->limit);
	timer_cancel(&c->stop);
	if (c->codec != NULL)
		loop_turn_drop(&c->flush);
	codec_destroy(c->codec);
	buf_fini(&c->in);
	buf_fini(&c->out);
	*c = (struct connection){ 0 };
}

void connection_add(struct connection *c, struct channel *ch)
{
	BUG_ON(c->state != CONNECTION_DOWN || c->channel_count == CONNECTION_CHANNELS_MAX);
	ch->link = c->config.name;
	ch->host = (struct channel_host){
		.on_change = on_channels_changed,
		.on_broken = on_channel_broken,
		.arg = c,
	};
	c->channels[c->channel_count++] = ch;
	ch->number = (uint16_t)c->channel_count;
}

void connection_start(struct connection *c)
{
	BUG_ON(c->state != CONNECTION_DOWN || c->on_stopped != NULL);
	timer_cancel(&c->limit);
	if (c->is_held)
		move(c, CONNECTION_WAITING);
	else
		dial(c);
}

void connection_stop(struct connection *c, connection_stopped_fn on_stopped, void *arg)
{
	if (c->on_stopped != NULL)
		return;
	c->on_stopped = on_stopped;
	c->stopped_arg = arg;
	/* The caller may be inside a callback of this very connection, even one that is being
	 * lost: the timer does it. */
	timer_after(&c->stop, 0);
}

void connection_hold(struct connection *c)
{
	c->is_held = true;
}

void connection_release(struct connection *c)
{
	c->is_held = false;
	if (c->state == CONNECTION_WAITING && !c->limit.is_set)
		timer_after(&c->limit, 0);
}
