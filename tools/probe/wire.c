/* wire.c - what may be said at all: frames and methods out of place, and more of everything than
 * anybody needs. */
#include <stdio.h>

#include "act.h"

enum {
	SAY_MAX_BYTES = 20 * 1024 * 1024,
	CHANNEL = TALK_CHANNEL,
	/* The broker counts connections and channels a moment after it has let them in: on a busy
	 * machine one too many may pass, and no more. */
	COUNTED_LATE = 2,
	CONNECTIONS_MAX = 64 + COUNTED_LATE,
	HEARTBEAT_S = 60,
};

/* ---- a few words out of place, on a connection of their own ---- */

enum words {
	WORDS_LARGE_METHOD = 0,
	WORDS_LARGE_HEADER,
	WORDS_LARGE_BODY,
	WORDS_WRONG_END,
	WORDS_WRONG_TYPE,
	WORDS_UNKNOWN_METHOD,
	WORDS_BODY_ALONE,
	WORDS_HEADER_ALONE,
	WORDS_CLOSED_CHANNEL,
	WORDS_CHANNEL_TWICE,
	WORDS_DECLARE_ON_ZERO,
	WORDS_START_AGAIN,
	WORDS_TUNE_AGAIN,
	WORDS_OPEN_INNER,
	WORDS_OPEN_ON_CHANNEL,
	WORDS_BROKEN_TABLE,
	WORDS_CUT_METHOD,
	WORDS_OVERFULL_BODY,
	WORDS_METHOD_IN_CONTENT,
	WORDS_SERVERS,
};

static void put_words(struct buf *out, const struct plan *plan, enum words words)
{
	const size_t large = (size_t)plan->frame_bytes * 2;
	const struct request publish = { BASIC_PUBLISH, { "x.forapp", "no-such-key" },
		PUBLISH_MANDATORY, TABLE_EMPTY };
	const struct request declare = { QUEUE_DECLARE, { "no-such-queue" }, DECLARE_PASSIVE,
		TABLE_EMPTY };
	const struct speech_content content = { .user_id = plan->users[ROLE_WEB],
		.body_bytes = 4 };

	switch (words) {
	case WORDS_LARGE_METHOD:
		speech_put_frame(out, FRAME_METHOD, CHANNEL, large, SPEECH_END);
		return;
	case WORDS_LARGE_HEADER:
		speech_put_request(out, CHANNEL, &publish);
		speech_put_frame(out, FRAME_HEADER, CHANNEL, large, SPEECH_END);
		return;
	case WORDS_LARGE_BODY:
		speech_put_request(out, CHANNEL, &publish);
		speech_put_header(out, CHANNEL,
			&(struct speech_content){
				.user_id = content.user_id, .body_bytes = large });
		speech_put_frame(out, FRAME_BODY, CHANNEL, large, SPEECH_END);
		return;
	case WORDS_WRONG_END:
		speech_put_frame(out, FRAME_HEARTBEAT, 0, 0, 0);
		return;
	case WORDS_WRONG_TYPE:
		speech_put_frame(out, 5, CHANNEL, 4, SPEECH_END);
		return;
	case WORDS_UNKNOWN_METHOD:
		speech_put_method(out, CHANNEL, SPEECH_METHOD(99, 99), (struct span){ 0 });
		return;
	case WORDS_BODY_ALONE:
		speech_put_body(out, CHANNEL, 4, plan->frame_bytes);
		return;
	case WORDS_HEADER_ALONE:
		speech_put_header(out, CHANNEL, &content);
		return;
	case WORDS_CLOSED_CHANNEL:
		speech_put_request(out, CHANNEL + 1, &declare);
		return;
	case WORDS_CHANNEL_TWICE:
		codec_put_channel_open(out, CHANNEL);
		return;
	case WORDS_DECLARE_ON_ZERO:
		speech_put_request(out, 0, &declare);
		return;
	case WORDS_START_AGAIN:
		speech_put_start_ok(out, "EXTERNAL", span_of(plan->users[ROLE_NODE]));
		return;
	case WORDS_TUNE_AGAIN:
		codec_put_tune_ok(out, 0, 0, 0);
		return;
	case WORDS_OPEN_INNER:
		speech_put_open(out, 0, span_of("inner"));
		return;
	case WORDS_OPEN_ON_CHANNEL:
		speech_put_open(out, CHANNEL, span_of("inner"));
		return;
	case WORDS_BROKEN_TABLE: /* a table longer than its frame */
		speech_put_method(out, CHANNEL, QUEUE_DECLARE,
			(struct span){ .at = "\0\0\0\0\x7f\xff\xff\xff", .len = 8 });
		return;
	case WORDS_CUT_METHOD:
		speech_put_method(
			out, CHANNEL, QUEUE_DELETE, (struct span){ .at = "\0", .len = 1 });
		return;
	case WORDS_OVERFULL_BODY: /* more than was announced */
		speech_put_request(out, CHANNEL, &publish);
		speech_put_header(out, CHANNEL, &content);
		speech_put_body(out, CHANNEL, 5, plan->frame_bytes);
		return;
	case WORDS_METHOD_IN_CONTENT:
		speech_put_request(out, CHANNEL, &publish);
		speech_put_header(out, CHANNEL, &content);
		speech_put_request(out, CHANNEL, &declare);
		return;
	case WORDS_SERVERS: /* what only a broker says: a confirm */
		codec_put_ack(out, CHANNEL, 1, ACK_ONE);
		return;
	}
}

/* Are connection and channel in order after what was said? Both may take a moment to complain, so
 * something is asked on the same channel. */
static void look_after(struct session *s, uint16_t channel, struct outcome *out)
{
	struct heard heard;
	struct buf bytes;

	buf_init(&bytes, SAY_MAX_BYTES);
	codec_put_qos(&bytes, channel, 1);
	session_say(s, &bytes);
	buf_fini(&bytes);
	for (;;) {
		line_hear(&s->line, s->plan->patience_ms, &heard);
		if (heard.kind == HEARD_NOTHING || heard.kind == HEARD_END) {
			talk_end(&s->line, out);
			return;
		}
		if (talk_is_refusal(&s->line, s->plan, &heard, out))
			return;
		if (heard.method.kind == METHOD_BASIC_QOS_OK) {
			outcome_set(out, OUTCOME_DONE, 0, "taken");
			return;
		}
	}
}

static bool begin_own(struct trial *t, struct session *s)
{
	char vhost[ACT_TEXT_BYTES];

	/* The host has few connections, and needs some for its work. */
	session_fini(&t->probe->web);
	session_init(s, t->probe->plan, t->act->as, act_expand(t, "border.{host}", vhost).at);
	if (session_begin(s, &t->outcome))
		return true;
	session_fini(s);
	return false;
}

static void finish_words(struct trial *t)
{
	struct session own;
	struct buf bytes;

	if (!begin_own(t, &own))
		return;
	buf_init(&bytes, SAY_MAX_BYTES);
	put_words(&bytes, t->probe->plan, (enum words)t->act->detail);
	session_say(&own, &bytes);
	buf_fini(&bytes);
	look_after(&own, t->act->detail == WORDS_CLOSED_CHANNEL ? CHANNEL + 1 : CHANNEL,
		&t->outcome);
	session_fini(&own);
}

/* A message of which no end comes. The connection goes with the first piece unanswered, so that
 * no memory is taken. */
static void finish_endless(struct trial *t)
{
	const struct request publish = { BASIC_PUBLISH, { "x.forapp", "no-such-key" }, 0,
		TABLE_EMPTY };
	const struct speech_content content = {
		.user_id = t->probe->plan->users[t->act->as],
		.body_bytes = 1ull << 40,
	};
	struct session own;
	struct buf bytes;

	if (!begin_own(t, &own))
		return;
	buf_init(&bytes, SAY_MAX_BYTES);
	speech_put_request(&bytes, CHANNEL, &publish);
	speech_put_header(&bytes, CHANNEL, &content);
	speech_put_body(&bytes, CHANNEL, 1000, t->probe->plan->frame_bytes);
	session_say(&own, &bytes);
	buf_fini(&bytes);
	look_after(&own, CHANNEL, &t->outcome);
	if (t->outcome.kind == OUTCOME_DONE)
		outcome_set(&t->outcome, OUTCOME_DONE, 0, "1 TiB was announced, and begun");
	session_fini(&own);
}

static void finish_secret(struct trial *t)
{
	struct session own;
	struct buf bytes;

	if (!begin_own(t, &own))
		return;
	buf_init(&bytes, SAY_MAX_BYTES);
	speech_put_update_secret(&bytes, "secret");
	session_say(&own, &bytes);
	buf_fini(&bytes);
	look_after(&own, CHANNEL, &t->outcome);
	session_fini(&own);
}

/* ---- too many ---- */

/* Opens channel after channel; the first is open. Returns how many stand. */
static unsigned open_channels(
	struct session *s, uint16_t first, unsigned wanted, struct outcome *out)
{
	struct heard heard;
	struct buf bytes;
	unsigned count = 1;

	while (count < wanted) {
		uint16_t number = (uint16_t)(first + count);

		buf_init(&bytes, SAY_MAX_BYTES);
		codec_put_channel_open(&bytes, number);
		session_say(s, &bytes);
		buf_fini(&bytes);
		if (!talk_answer(&s->line, s->plan, number, &heard, out))
			break;
		count++;
	}
	return count;
}

static void finish_channels(struct trial *t)
{
	const unsigned wanted = (unsigned)t->probe->plan->channels + COUNTED_LATE;
	struct session own;

	if (!begin_own(t, &own))
		return;
	unsigned count = open_channels(&own, CHANNEL, wanted, &t->outcome);

	if (count == wanted)
		outcome_set(&t->outcome, OUTCOME_DONE, 0, "%u channels stood at once", count);
	session_fini(&own);
}

static void finish_far_channel(struct trial *t)
{
	struct session own;

	if (!begin_own(t, &own))
		return;
	if (open_channels(&own, (uint16_t)(t->probe->plan->channel_max + 1), 2, &t->outcome) ==
		2)
		outcome_set(&t->outcome, OUTCOME_DONE, 0, "opened");
	session_fini(&own);
}

/* Whoever uses the host's allowance in earnest counts too: the refusal may come early. */
static void finish_connections(struct trial *t)
{
	static struct line lines[CONNECTIONS_MAX];
	const struct plan *plan = t->probe->plan;
	const unsigned wanted = (unsigned)plan->connections + COUNTED_LATE;
	char vhost[ACT_TEXT_BYTES];
	const struct login login = {
		.vhost = act_expand(t, "border.{host}", vhost),
		.heartbeat_s = HEARTBEAT_S,
	};
	unsigned count = 0;

	session_fini(&t->probe->web);
	while (count < wanted) {
		struct line *l = &lines[count];

		if (login_begin(l, plan, t->act->as, &login, &t->outcome) &&
			login_agree(l, plan, &login, &t->outcome))
			login_finish(l, plan, &t->outcome);
		if (t->outcome.kind != OUTCOME_DONE)
			break;
		count++;
	}
	if (count == wanted)
		outcome_set(
			&t->outcome, OUTCOME_DONE, 0, "%u connections stood at once", count);
	for (unsigned i = 0; i <= count && i < wanted; i++) {
		talk_goodbye(&lines[i], plan);
		line_close(&lines[i]);
	}
}

#define WEB .as = ROLE_WEB
#define NODE .as = ROLE_NODE
#define WORDS(what) .proof = PROOF_REFUSED, .finish = finish_words, .detail = (what)

/* clang-format off */
static const struct act acts[] = {
	{ WEB, .name = "a method nobody knows", WORDS(WORDS_UNKNOWN_METHOD) },
	{ WEB, .name = "a body without its message", WORDS(WORDS_BODY_ALONE) },
	{ WEB, .name = "a header without its message", WORDS(WORDS_HEADER_ALONE) },
	{ WEB, .name = "more body than was announced", WORDS(WORDS_OVERFULL_BODY) },
	{ WEB, .name = "a method within a message", WORDS(WORDS_METHOD_IN_CONTENT) },
	{ WEB, .name = "a method on a channel that is not open", WORDS(WORDS_CLOSED_CHANNEL) },
	{ WEB, .name = "a channel opened twice", WORDS(WORDS_CHANNEL_TWICE) },
	{ WEB, .name = "queue.declare on channel 0", WORDS(WORDS_DECLARE_ON_ZERO) },
	{ WEB, .name = "connection.start-ok again, as an app node", WORDS(WORDS_START_AGAIN) },
	{ WEB, .name = "connection.tune-ok again, without limits", WORDS(WORDS_TUNE_AGAIN) },
	{ WEB, .name = "connection.open again, of inner", WORDS(WORDS_OPEN_INNER) },
	{ WEB, .name = "connection.open on a channel, of inner", WORDS(WORDS_OPEN_ON_CHANNEL) },
	{ WEB, .name = "a table longer than its frame", WORDS(WORDS_BROKEN_TABLE) },
	{ WEB, .name = "a method cut short", WORDS(WORDS_CUT_METHOD) },
	{ WEB, .name = "basic.ack of what was never delivered", WORDS(WORDS_SERVERS) },
	{ WEB, .sort = ACT_TOLERATED, .name = "a body that never ends",
		.finish = finish_endless,
		.guard = "realm watch breaks the connections of who drives the broker into an alarm" },
	{ WEB, .sort = ACT_TOLERATED, .name = "connection.update-secret",
		.finish = finish_secret,
		.guard = "users have no secrets, and keep their rights" },
	{ WEB, .sort = ACT_TOLERATED, .name = "a channel's number above channel_max",
		.guard = "channels are counted, whatever their numbers",
		.finish = finish_far_channel },
	{ WEB, .proof = PROOF_REFUSED, .name = "more channels than its limit",
		.finish = finish_channels },
	{ WEB, .proof = PROOF_REFUSED, .name = "more connections than its limit",
		.finish = finish_connections },

	/* After a broken frame a broker keeps the connection, and counts it, for some seconds: last. */
	{ WEB, .name = "a method frame above frame_max", WORDS(WORDS_LARGE_METHOD) },
	{ WEB, .name = "a header frame above frame_max", WORDS(WORDS_LARGE_HEADER) },
	{ WEB, .name = "a body frame above frame_max", WORDS(WORDS_LARGE_BODY) },
	{ NODE, .name = "a frame with a wrong end", WORDS(WORDS_WRONG_END) },
	{ NODE, .name = "a frame of no known type", WORDS(WORDS_WRONG_TYPE) },
};
/* clang-format on */

const struct act_table wire_acts = { .acts = acts, .count = ARRAY_COUNT(acts) };
