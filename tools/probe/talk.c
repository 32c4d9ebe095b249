#include "talk.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"

enum {
	SAY_MAX_BYTES = 20 * 1024 * 1024,
	HEARTBEAT_S = 60,
	CODE_CLOSE = 200,
	LIMIT_LOOK_MS = 20,
};

void outcome_set(
	struct outcome *o, enum outcome_kind kind, uint16_t code, const char *format, ...)
{
	va_list args;

	o->kind = kind;
	o->code = code;
	va_start(args, format);
	(void)vsnprintf(o->text, sizeof(o->text), format, args);
	va_end(args);
}

void talk_end(const struct line *l, struct outcome *out)
{
	switch (l->state) {
	case LINE_UP:
	case LINE_CONNECTING:
		outcome_set(out, OUTCOME_SILENT, 0, "no answer%s",
			l->is_blocked ? ": an alarm of the broker stops publishers" : "");
		return;
	case LINE_NOBODY:
		outcome_set(out, OUTCOME_NOBODY, 0, "%s", l->why);
		return;
	case LINE_SHUT:
		outcome_set(out, OUTCOME_SHUT, 0, "%s", l->why);
		return;
	case LINE_CLOSED:
	case LINE_OURS:
		outcome_set(out, OUTCOME_OURS, 0, "our side failed: %s", l->why);
		return;
	}
}

static void say(struct line *l, const struct plan *plan, struct buf *bytes)
{
	if (buf_status(bytes) != ERR_OK) {
		l->state = LINE_OURS;
		snprintf(l->why, sizeof(l->why), "%s", err_text(buf_status(bytes)));
	}
	line_say(l, buf_span(bytes), plan->patience_ms);
	buf_fini(bytes);
}

static void refused(const struct heard *heard, const char *what, struct outcome *out)
{
	outcome_set(out, OUTCOME_REFUSED, heard->method.code, "%s %u %s", what,
		heard->method.code, text_show(heard->method.text).at);
}

bool talk_is_refusal(
	struct line *l, const struct plan *plan, const struct heard *heard, struct outcome *out)
{
	struct buf bytes;

	if (heard->kind != HEARD_METHOD)
		return false;
	switch (heard->method.kind) {
	case METHOD_CONNECTION_CLOSE:
		refused(heard, "connection.close", out);
		buf_init(&bytes, SAY_MAX_BYTES);
		codec_put_close_ok(&bytes);
		say(l, plan, &bytes);
		l->state = LINE_SHUT;
		return true;
	case METHOD_CHANNEL_CLOSE:
		refused(heard, "channel.close", out);
		buf_init(&bytes, SAY_MAX_BYTES);
		codec_put_channel_close_ok(&bytes, heard->channel);
		say(l, plan, &bytes);
		return true;
	default:
		return false;
	}
}

bool talk_answer(struct line *l, const struct plan *plan, uint16_t channel, struct heard *heard,
	struct outcome *out)
{
	for (;;) {
		line_hear(l, plan->patience_ms, heard);
		if (heard->kind == HEARD_NOTHING || heard->kind == HEARD_END) {
			talk_end(l, out);
			return false;
		}
		if (heard->channel != channel && heard->channel != 0)
			continue;
		if (talk_is_refusal(l, plan, heard, out))
			return false;
		if (heard->kind == HEARD_METHOD && heard->channel == channel)
			return true;
	}
}

void talk_goodbye(struct line *l, const struct plan *plan)
{
	struct outcome unused;
	struct heard heard;
	struct buf bytes;

	if (l->state != LINE_UP)
		return;
	buf_init(&bytes, SAY_MAX_BYTES);
	codec_put_close(&bytes, CODE_CLOSE, "done");
	say(l, plan, &bytes);
	do {
		if (!talk_answer(l, plan, 0, &heard, &unused))
			return;
	} while (heard.method.kind != METHOD_CONNECTION_CLOSE_OK);
}

/* ---- logging in ---- */

static void put_amqplain(struct buf *out, const struct login *login)
{
	const char *const entries[][2] = {
		{ "LOGIN", login->user },
		{ "PASSWORD", login->password },
	};

	for (size_t i = 0; i < ARRAY_COUNT(entries); i++) {
		size_t len = strlen(entries[i][1]);

		buf_byte(out, (uint8_t)strlen(entries[i][0]));
		buf_text(out, entries[i][0]);
		buf_append(out, (struct span){ .at = "S\0\0", .len = 3 });
		buf_byte(out, (uint8_t)(len >> 8));
		buf_byte(out, (uint8_t)len);
		buf_text(out, entries[i][1]);
	}
}

static void put_response(struct buf *out, const struct login *login)
{
	if (login->user == NULL)
		return;
	if (login->password == NULL) {
		buf_text(out, login->user);
	} else if (strcmp(login->mechanism, "AMQPLAIN") == 0) {
		put_amqplain(out, login);
	} else {
		buf_byte(out, '\0');
		buf_text(out, login->user);
		buf_byte(out, '\0');
		buf_text(out, login->password);
	}
}

bool login_begin(struct line *l, const struct plan *plan, enum role role,
	const struct login *login, struct outcome *out)
{
	const struct line_badge badge = plan_badge(plan, role);
	struct heard heard;
	struct buf response;
	struct buf bytes;

	line_open(l, &plan->place, &badge, login->dress, plan->patience_ms);
	buf_init(&bytes, SAY_MAX_BYTES);
	codec_put_protocol_header(&bytes);
	say(l, plan, &bytes);
	if (!talk_answer(l, plan, 0, &heard, out))
		return false;
	if (heard.method.kind != METHOD_CONNECTION_START) {
		outcome_set(out, OUTCOME_OURS, 0, "the broker begins with another method");
		return false;
	}
	if (login->until == LOGIN_START) {
		outcome_set(out, OUTCOME_DONE, 0, "let through TLS");
		return false;
	}
	buf_init(&response, SAY_MAX_BYTES);
	put_response(&response, login);
	buf_init(&bytes, SAY_MAX_BYTES);
	speech_put_start_ok(&bytes, login->mechanism == NULL ? "EXTERNAL" : login->mechanism,
		buf_span(&response));
	buf_fini(&response);
	say(l, plan, &bytes);
	return true;
}

static void put_tune_ok(struct buf *out, const struct login *login, const struct method *tune)
{
	uint16_t channels = tune->channel_max;
	uint32_t frame = tune->frame_max;

	if (login->is_unlimited) {
		channels = 0;
		frame = 0;
	} else if (login->is_greedy) {
		channels = UINT16_MAX;
		frame = frame == 0 ? 0 : frame * 16;
	}
	codec_put_tune_ok(out, channels, frame, login->heartbeat_s);
}

bool login_agree(
	struct line *l, const struct plan *plan, const struct login *login, struct outcome *out)
{
	struct heard heard;
	struct buf bytes;

	if (!talk_answer(l, plan, 0, &heard, out))
		return false;
	/* connection.secure asks the next question of a mechanism that is open to us. */
	if (login->until == LOGIN_TUNE || heard.method.kind != METHOD_CONNECTION_TUNE) {
		outcome_set(out, OUTCOME_DONE, 0, "let in");
		return false;
	}
	buf_init(&bytes, SAY_MAX_BYTES);
	put_tune_ok(&bytes, login, &heard.method);
	speech_put_open(&bytes, 0, login->vhost);
	say(l, plan, &bytes);
	return true;
}

void login_finish(struct line *l, const struct plan *plan, struct outcome *out)
{
	struct heard heard;

	if (talk_answer(l, plan, 0, &heard, out))
		outcome_set(out, OUTCOME_DONE, 0, "vhost open");
}

bool outcome_is_limit(const struct outcome *o)
{
	return o->kind == OUTCOME_REFUSED && o->code == 530 && strstr(o->text, "limit") != NULL;
}

void login_whole(struct line *l, const struct plan *plan, enum role role,
	const struct login *login, struct outcome *out)
{
	uint64_t end_us = clock_mono_us() + plan->patience_ms * 1000;

	for (;;) {
		if (login_begin(l, plan, role, login, out) && login_agree(l, plan, login, out))
			login_finish(l, plan, out);
		if (!outcome_is_limit(out) || clock_mono_us() >= end_us)
			return;
		line_close(l);
		(void)poll(NULL, 0, LIMIT_LOOK_MS);
	}
}

/* ---- sessions ---- */

void session_init(struct session *s, const struct plan *plan, enum role role, const char *vhost)
{
	*s = (struct session){ .plan = plan, .role = role };
	snprintf(s->vhost, sizeof(s->vhost), "%s", vhost);
}

void session_fini(struct session *s)
{
	talk_goodbye(&s->line, s->plan);
	line_close(&s->line);
}

static bool session_open(struct session *s, struct outcome *out)
{
	const struct login login = {
		.vhost = span_of(s->vhost),
		.heartbeat_s = HEARTBEAT_S,
	};

	line_close(&s->line);
	login_whole(&s->line, s->plan, s->role, &login, out);
	return out->kind == OUTCOME_DONE;
}

void session_say(struct session *s, const struct buf *bytes)
{
	line_say(&s->line, buf_span(bytes), s->plan->patience_ms);
}

/* On the channel; afterwards it is known whether that is still open. */
static bool session_answer(struct session *s, struct heard *heard, struct outcome *out)
{
	s->has_channel = talk_answer(&s->line, s->plan, TALK_CHANNEL, heard, out);
	return s->has_channel;
}

bool session_begin(struct session *s, struct outcome *out)
{
	struct heard heard;
	struct buf bytes;

	if (s->line.state != LINE_UP && !session_open(s, out)) {
		char why[OUTCOME_TEXT_BYTES];

		snprintf(why, sizeof(why), "%.200s", out->text);
		outcome_set(out, OUTCOME_NOT_TRIED, 0, "not tried, no login: %s", why);
		line_close(&s->line);
		return false;
	}
	buf_init(&bytes, SAY_MAX_BYTES);
	codec_put_channel_open(&bytes, TALK_CHANNEL);
	say(&s->line, s->plan, &bytes);
	if (session_answer(s, &heard, out))
		return true;
	line_close(&s->line);
	return false;
}

void session_end(struct session *s)
{
	struct outcome out = { 0 };
	struct heard heard;
	struct buf bytes;

	if (s->line.state != LINE_UP) {
		line_close(&s->line);
		return;
	}
	if (!s->has_channel)
		return;
	s->has_channel = false;
	buf_init(&bytes, SAY_MAX_BYTES);
	codec_put_channel_close(&bytes, TALK_CHANNEL, CODE_CLOSE, "done");
	say(&s->line, s->plan, &bytes);
	do {
		if (!session_answer(s, &heard, &out)) {
			line_close(&s->line);
			return;
		}
	} while (heard.method.kind != METHOD_CHANNEL_CLOSE_OK);
	s->has_channel = false;
}

static uint32_t get_u32(struct span s, size_t at)
{
	uint32_t value = 0;

	for (size_t i = 0; i < 4 && at + i < s.len; i++)
		value = value << 8 | (uint8_t)s.at[at + i];
	return value;
}

/* queue.declare-ok: the name, two numbers. */
static struct lane_count read_count(struct span payload)
{
	size_t at = payload.len == 0 ? 0 : 1 + (size_t)(uint8_t)payload.at[0];

	return (struct lane_count){
		.messages = get_u32(payload, at),
		.consumers = get_u32(payload, at + 4),
	};
}

void session_ask(struct session *s, const struct request *r, struct lane_count *count,
	struct outcome *out)
{
	struct heard heard;
	struct buf bytes;

	buf_init(&bytes, SAY_MAX_BYTES);
	speech_put_request(&bytes, TALK_CHANNEL, r);
	/* Without an answer of its own, it is the next that tells. */
	if (r->method == QUEUE_DECLARE && (r->bits & QUEUE_NO_WAIT) != 0)
		codec_put_qos(&bytes, TALK_CHANNEL, 1);
	say(&s->line, s->plan, &bytes);
	do {
		if (!session_answer(s, &heard, out))
			return;
	} while (heard.method.kind == METHOD_BASIC_DELIVER);
	if (count != NULL)
		*count = read_count(heard.payload);
	outcome_set(out, OUTCOME_DONE, 0, "done");
}

void session_publish(struct session *s, const struct request *r,
	const struct speech_content *content, struct outcome *out)
{
	struct heard heard;
	struct buf bytes;
	uint16_t returned = 0;

	buf_init(&bytes, SAY_MAX_BYTES);
	codec_put_confirm_select(&bytes, TALK_CHANNEL);
	speech_put_request(&bytes, TALK_CHANNEL, r);
	speech_put_header(&bytes, TALK_CHANNEL, content);
	speech_put_body(&bytes, TALK_CHANNEL, content->body_bytes, s->plan->frame_bytes);
	say(&s->line, s->plan, &bytes);
	for (;;) {
		if (!session_answer(s, &heard, out))
			return;
		if (heard.method.kind == METHOD_BASIC_RETURN)
			returned = heard.method.code;
		if (heard.method.kind == METHOD_BASIC_NACK) {
			outcome_set(out, OUTCOME_REFUSED, 0, "basic.nack");
			return;
		}
		if (heard.method.kind != METHOD_BASIC_ACK)
			continue;
		if (returned != 0)
			outcome_set(
				out, OUTCOME_UNROUTED, returned, "taken, and no queue took it");
		else
			outcome_set(out, OUTCOME_DONE, 0, "accepted");
		return;
	}
}
