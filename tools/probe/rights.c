/* rights.c - what a credential may do in a vhost: declare, delete, bind, purge, get, consume,
 * publish.
 *
 * On a border that is too open, an act that destroys is left undone: a harmless one that needs
 * the same right is tried first, and when that is let through the right is there, which is all
 * one needs to know. What is made nevertheless is taken away again. */
#include <stdio.h>
#include <string.h>

#include "act.h"

/* ---- the harmless question for the same right ---- */

/* Returns false when the request is harmless itself. */
static bool harmless_of(const struct request *r, struct request *out)
{
	switch (r->method) {
	case QUEUE_DELETE: /* configure: no queue comes of it, and the one that is there stays */
		*out = (struct request){ QUEUE_DECLARE, { r->text[0] }, DECLARE_DURABLE,
			TABLE_WRONG_EXPIRES };
		return true;
	case QUEUE_PURGE: /* read: nobody becomes a consumer this way */
	case BASIC_GET:
	case BASIC_CONSUME:
		*out = (struct request){ BASIC_CONSUME, { r->text[0] }, 0,
			TABLE_WRONG_PRIORITY };
		return true;
	case EXCHANGE_DELETE: /* configure: ours are direct, the built-in ones durable */
		*out = (struct request){ EXCHANGE_DECLARE, { r->text[0], "fanout" },
			EXCHANGE_INTERNAL, TABLE_EMPTY };
		return true;
	case QUEUE_UNBIND: /* write and read: by a key that nobody uses */
		*out = (struct request){ QUEUE_BIND, { r->text[0], r->text[1], "{new}" }, 0,
			TABLE_EMPTY };
		return true;
	case EXCHANGE_UNBIND:
		*out = (struct request){ EXCHANGE_BIND, { r->text[0], r->text[1], "{new}" }, 0,
			TABLE_EMPTY };
		return true;
	default:
		return false;
	}
}

/* What takes back a request that was done. Returns false when there is nothing to take back. */
static bool undo_of(const struct request *r, struct request *out)
{
	switch (r->method) {
	case QUEUE_DECLARE:
		if ((r->bits & DECLARE_PASSIVE) != 0 || strstr(r->text[0], "{new}") == NULL)
			return false;
		*out = (struct request){ QUEUE_DELETE, { r->text[0] }, 0, TABLE_EMPTY };
		return true;
	case EXCHANGE_DECLARE:
		if ((r->bits & DECLARE_PASSIVE) != 0 || strstr(r->text[0], "{new}") == NULL)
			return false;
		*out = (struct request){ EXCHANGE_DELETE, { r->text[0] }, 0, TABLE_EMPTY };
		return true;
	case QUEUE_BIND:
		*out = (struct request){ QUEUE_UNBIND, { r->text[0], r->text[1], r->text[2] },
			0, TABLE_EMPTY };
		return true;
	case EXCHANGE_BIND:
		*out = (struct request){ EXCHANGE_UNBIND,
			{ r->text[0], r->text[1], r->text[2] }, 0, TABLE_EMPTY };
		return true;
	default:
		return false;
	}
}

/* ---- asking ---- */

/* One request on a channel of its own, texts filled in. */
static void ask(
	struct trial *t, const struct request *r, struct lane_count *count, struct outcome *out)
{
	struct session *s = act_session(t);
	char texts[REQUEST_TEXTS][ACT_TEXT_BYTES];
	struct request filled = *r;

	for (size_t i = 0; i < REQUEST_TEXTS; i++)
		filled.text[i] = act_expand(t, r->text[i], texts[i]).at;
	if (!session_begin(s, out))
		return;
	session_ask(s, &filled, count, out);
	session_end(s);
}

static void undo(struct trial *t, const struct request *done)
{
	struct request back;
	struct outcome unused = { 0 };

	if (undo_of(done, &back))
		ask(t, &back, NULL, &unused);
}

static void granted(struct outcome *o)
{
	char text[OUTCOME_TEXT_BYTES];

	snprintf(text, sizeof(text), "%.160s", o->text);
	outcome_set(o, OUTCOME_GRANTED, o->code, "has the right (a harmless try: %s)", text);
}

/* Was the right refused to the harmless question? If not, the outcome says all there is to say. */
static bool is_right_refused(struct trial *t, const struct request *r)
{
	struct request harmless;

	if (t->act->sort != ACT_FORBIDDEN || !harmless_of(r, &harmless))
		return true;
	ask(t, &harmless, NULL, &t->outcome);
	if (outcome_is_permission(&t->outcome))
		return true;
	if (t->outcome.kind == OUTCOME_DONE)
		undo(t, &harmless);
	if (t->outcome.kind == OUTCOME_DONE || t->outcome.kind == OUTCOME_REFUSED)
		granted(&t->outcome);
	return false;
}

/* What is done to a lane that somebody uses would be felt. */
static bool is_lane_idle(struct trial *t)
{
	struct lane_count count = { 0 };
	const struct request look = { QUEUE_DECLARE, { t->act->idle_lane }, DECLARE_PASSIVE,
		TABLE_EMPTY };

	if (t->act->idle_lane == NULL)
		return true;
	ask(t, &look, &count, &t->outcome);
	if (t->outcome.kind != OUTCOME_DONE)
		return false;
	if (count.messages == 0 && count.consumers == 0)
		return true;
	outcome_set(&t->outcome, OUTCOME_LEFT, 0,
		"left alone: the lane is in use (%u messages, %u consumers)", count.messages,
		count.consumers);
	return false;
}

static void finish_ask(struct trial *t)
{
	const struct act *a = t->act;

	if (!is_lane_idle(t) || !is_right_refused(t, &a->ask))
		return;
	ask(t, &a->ask, NULL, &t->outcome);
	if (t->outcome.kind == OUTCOME_DONE)
		undo(t, &a->ask);
}

static void publish(struct trial *t, const struct speech_content *content)
{
	struct session *s = act_session(t);
	char texts[REQUEST_TEXTS][ACT_TEXT_BYTES];
	char user[ACT_TEXT_BYTES];
	struct request filled = t->act->ask;
	struct speech_content with = *content;

	for (size_t i = 0; i < REQUEST_TEXTS; i++)
		filled.text[i] = act_expand(t, t->act->ask.text[i], texts[i]).at;
	if (content->user_id != NULL)
		with.user_id = act_expand(t, content->user_id, user).at;
	if (!session_begin(s, &t->outcome))
		return;
	session_publish(s, &filled, &with, &t->outcome);
	session_end(s);
}

/* A false user-id is looked at after the right to write, and before the message goes anywhere. */
static void finish_publish(struct trial *t)
{
	const struct act *a = t->act;

	if (a->sort == ACT_FORBIDDEN && a->proof == PROOF_PERMISSION) {
		publish(t, &(struct speech_content){ .user_id = "nobody.{user}" });
		if (!outcome_is_permission(&t->outcome)) {
			if (t->outcome.kind == OUTCOME_REFUSED)
				granted(&t->outcome);
			return;
		}
	}
	publish(t, a->content);
}

/* Too large by one byte. */
static void finish_large(struct trial *t)
{
	publish(t, &(struct speech_content){ .user_id = "{user}",
			   .body_bytes = t->probe->plan->message_bytes + 1 });
}

/* Many consumers of the lane it may read, that get nothing as long as another does. */
enum { MANY_CONSUMERS = 200 };

static void finish_consumers(struct trial *t)
{
	struct session *s = act_session(t);
	unsigned count = 0;

	if (!is_lane_idle(t) || !session_begin(s, &t->outcome))
		return;
	while (count < MANY_CONSUMERS) {
		char tag[16];

		snprintf(tag, sizeof(tag), "%u", count);
		const struct request consume = { BASIC_CONSUME, { t->act->idle_lane, tag }, 0,
			TABLE_LOW_PRIORITY };

		session_ask(s, &consume, NULL, &t->outcome);
		if (t->outcome.kind != OUTCOME_DONE)
			break;
		count++;
	}
	if (count == MANY_CONSUMERS)
		outcome_set(&t->outcome, OUTCOME_DONE, 0, "%u consumers on one channel", count);
	session_end(s);
}

/* The pseudo-queue of direct reply-to, and then what asks it to answer. */
static void finish_reply_to(struct trial *t)
{
	static const struct request consume = { BASIC_CONSUME, { "amq.rabbitmq.reply-to", "r" },
		CONSUME_NO_ACK, TABLE_EMPTY };
	static const struct speech_content content = { .reply_to = "amq.rabbitmq.reply-to" };
	struct session *s = act_session(t);
	char texts[REQUEST_TEXTS][ACT_TEXT_BYTES];
	struct request filled = t->act->ask;

	for (size_t i = 0; i < REQUEST_TEXTS; i++)
		filled.text[i] = act_expand(t, t->act->ask.text[i], texts[i]).at;
	if (!session_begin(s, &t->outcome))
		return;
	session_ask(s, &consume, NULL, &t->outcome);
	if (t->outcome.kind == OUTCOME_DONE)
		session_publish(s, &filled, &content, &t->outcome);
	session_end(s);
}

/* ---- contents ---- */

static const struct speech_content plain = { .user_id = "{user}" };
static const struct speech_content nameless = { 0 };
static const struct speech_content as_other = { .user_id = "{other_user}" };
static const struct speech_content as_node = { .user_id = "{node_user}" };
static const struct speech_content as_web = { .user_id = "{web_user}" };
static const struct speech_content copied = {
	.user_id = "{user}",
	.cc = "FORAPP.send FORAPP.dead FORWEB.push FORWEB.dead reply push #",
};
static const struct speech_content hidden = {
	.user_id = "{user}",
	.bcc = "FORAPP.send FORAPP.dead FORWEB.push FORWEB.dead reply push #",
};
static const struct speech_content answer_me = {
	.user_id = "{user}",
	.reply_to = "amq.rabbitmq.reply-to",
};
static const struct speech_content never = { .user_id = "{user}", .expiration = "never" };
static const struct speech_content negative = { .user_id = "{user}", .expiration = "-1" };
static const struct speech_content nested = { .user_id = "{user}", .nested = 500 };

/* ---- the table ---- */

#define WEB .as = ROLE_WEB
#define NODE .as = ROLE_NODE
#define INNER .as = ROLE_NODE, .where = WHERE_INNER
#define TOLERATED(by) .sort = ACT_TOLERATED, .guard = (by)
#define CODE(number) .proof = PROOF_CODE, .code = (number)
#define ASK(...) .finish = finish_ask, .ask = { .method = __VA_ARGS__ }
#define PUBLISH(what, ...) \
	.finish = finish_publish, .content = &(what), .ask = { .method = __VA_ARGS__ }

#define GUARD_VHOST "one vhost per host: its own lanes are all it can see"
#define GUARD_OWN "its own lane: what is lost is sent again for want of a receipt"
#define GUARD_NOTHING "it touches its own channel alone"
#define GUARD_NODE "app-node refuses what has no user-id of the crossing"
#define GUARD_REPLY "nobody honours reply-to"
#define GUARD_WATCH "realm watch breaks the connections of who drives the broker into an alarm"

/* clang-format off */
static const struct act acts[] = {
	/* -- what the web host may: without it the rest proves nothing -- */
	{ WEB, .sort = ACT_CONTROL, .proof = PROOF_UNROUTED, .name = "publish to x.forapp",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, .sort = ACT_CONTROL, CODE(406), .each = EACH_READ,
		.name = "read {each}, asked with an impossible priority",
		ASK(BASIC_CONSUME, .text = { "{each}" }, .table = TABLE_WRONG_PRIORITY) },

	/* -- queues -- */
	{ WEB, .each = EACH_LANE,
		ASK(QUEUE_DECLARE, .text = { "{each}" },
			.bits = DECLARE_DURABLE, .table = TABLE_QUORUM) },
	{ WEB, .note = "as it is",
		ASK(QUEUE_DECLARE, .text = { "FORAPP.send" },
			.bits = DECLARE_DURABLE, .table = TABLE_ORDERED) },
	{ WEB, .note = "of another type",
		ASK(QUEUE_DECLARE, .text = { "FORAPP.send" },
			.bits = DECLARE_DURABLE, .table = TABLE_CLASSIC) },
	{ WEB, .note = "with impossible arguments",
		ASK(QUEUE_DECLARE, .text = { "FORWEB.push" },
			.bits = DECLARE_DURABLE, .table = TABLE_WRONG_EXPIRES) },
	{ WEB,
		ASK(QUEUE_DECLARE, .text = { "{new}" },
			.bits = DECLARE_DURABLE, .table = TABLE_EMPTY) },
	{ WEB, .note = "classic",
		ASK(QUEUE_DECLARE, .text = { "{new}" },
			.bits = DECLARE_DURABLE, .table = TABLE_CLASSIC) },
	{ WEB, .note = "quorum",
		ASK(QUEUE_DECLARE, .text = { "{new}" },
			.bits = DECLARE_DURABLE, .table = TABLE_QUORUM) },
	{ WEB, .note = "stream",
		ASK(QUEUE_DECLARE, .text = { "{new}" },
			.bits = DECLARE_DURABLE, .table = TABLE_STREAM) },
	{ WEB, .note = "exclusive",
		ASK(QUEUE_DECLARE, .text = { "{new}" }, .bits = QUEUE_EXCLUSIVE) },
	{ WEB, .note = "auto-delete",
		ASK(QUEUE_DECLARE, .text = { "{new}" }, .bits = QUEUE_AUTO_DELETE) },
	{ WEB, .note = "dead letters to x.forapp",
		ASK(QUEUE_DECLARE, .text = { "{new}" },
			.bits = DECLARE_DURABLE, .table = TABLE_DEAD_LETTER) },
	{ WEB, .note = "without an answer",
		ASK(QUEUE_DECLARE, .text = { "{new}" },
			.bits = DECLARE_DURABLE | QUEUE_NO_WAIT) },
	{ WEB, .note = "a name of the broker's choice",
		ASK(QUEUE_DECLARE, .text = { "" }, .bits = QUEUE_EXCLUSIVE) },
	{ WEB, .note = "a line's end, which is cut off",
		ASK(QUEUE_DECLARE, .text = { "\n" }, .bits = QUEUE_EXCLUSIVE) },
	{ WEB, CODE(403),
		ASK(QUEUE_DECLARE, .text = { "amq.gen-{new}" }, .bits = QUEUE_EXCLUSIVE) },
	{ WEB, TOLERATED(GUARD_VHOST), .each = EACH_LANE, .note = "passive",
		ASK(QUEUE_DECLARE, .text = { "{each}" }, .bits = DECLARE_PASSIVE) },
	{ WEB, CODE(404), .note = "passive",
		ASK(QUEUE_DECLARE, .text = { "_FORAPP" }, .bits = DECLARE_PASSIVE) },
	{ WEB, CODE(404), .note = "passive",
		ASK(QUEUE_DECLARE, .text = { "scheduler" }, .bits = DECLARE_PASSIVE) },
	{ WEB, CODE(404), .note = "passive",
		ASK(QUEUE_DECLARE, .text = { "control.{node}" }, .bits = DECLARE_PASSIVE) },
	{ WEB, .each = EACH_LANE, ASK(QUEUE_DELETE, .text = { "{each}" }) },
	{ WEB, ASK(QUEUE_DELETE, .text = { "{new}" }) },
	{ WEB, .each = EACH_UNREAD, ASK(QUEUE_PURGE, .text = { "{each}" }) },
	{ WEB, TOLERATED(GUARD_OWN), .idle_lane = "FORWEB.reply",
		ASK(QUEUE_PURGE, .text = { "FORWEB.reply" }) },
	{ WEB, TOLERATED(GUARD_OWN), .idle_lane = "FORWEB.push",
		ASK(QUEUE_PURGE, .text = { "FORWEB.push" }) },

	/* -- bindings -- */
	{ WEB, .each = EACH_LANE, ASK(QUEUE_BIND, .text = { "{each}", "x.forapp", "{new}" }) },
	{ WEB, .each = EACH_LANE, ASK(QUEUE_BIND, .text = { "{each}", "x.forweb", "{new}" }) },
	{ WEB, ASK(QUEUE_BIND, .text = { "FORWEB.push", "amq.rabbitmq.trace", "{new}" }) },
	{ WEB, ASK(QUEUE_BIND, .text = { "FORWEB.push", "amq.topic", "{new}" }) },
	{ WEB, .proof = PROOF_REFUSED,
		ASK(QUEUE_BIND, .text = { "FORWEB.push", "", "{new}" }) },
	{ WEB, ASK(QUEUE_UNBIND, .text = { "FORAPP.call", "x.forapp", "call" }) },
	{ WEB, ASK(QUEUE_UNBIND, .text = { "FORAPP.send", "x.forapp", "send" }) },
	{ WEB, ASK(QUEUE_UNBIND, .text = { "FORWEB.reply", "x.forweb", "reply" }) },
	{ WEB, ASK(QUEUE_UNBIND, .text = { "FORWEB.push", "x.forweb", "push" }) },
	{ WEB, ASK(EXCHANGE_BIND, .text = { "x.forweb", "x.forapp", "{new}" }) },
	{ WEB, ASK(EXCHANGE_BIND, .text = { "x.forapp", "x.forweb", "{new}" }) },
	{ WEB, ASK(EXCHANGE_BIND, .text = { "amq.fanout", "x.forweb", "{new}" }) },
	{ WEB, ASK(EXCHANGE_BIND, .text = { "x.forapp", "amq.rabbitmq.trace", "{new}" }) },
	{ WEB, ASK(EXCHANGE_UNBIND, .text = { "x.forweb", "x.forapp", "{new}" }) },

	/* -- exchanges -- */
	{ WEB, .each = EACH_EXCHANGE, .note = "as it is",
		ASK(EXCHANGE_DECLARE, .text = { "{each}", "direct" },
			.bits = DECLARE_DURABLE) },
	{ WEB, .each = EACH_EXCHANGE, .note = "as another",
		ASK(EXCHANGE_DECLARE, .text = { "{each}", "fanout" },
			.bits = DECLARE_DURABLE) },
	{ WEB, .each = EACH_BUILT_IN,
		ASK(EXCHANGE_DECLARE, .text = { "{each}", "direct" },
			.bits = DECLARE_DURABLE) },
	{ WEB, ASK(EXCHANGE_DECLARE, .text = { "{new}", "direct" }, .bits = DECLARE_DURABLE) },
	{ WEB,
		ASK(EXCHANGE_DECLARE, .text = { "{new}", "fanout" },
			.bits = EXCHANGE_AUTO_DELETE) },
	{ WEB, ASK(EXCHANGE_DECLARE, .text = { "{new}", "topic" }) },
	{ WEB, ASK(EXCHANGE_DECLARE, .text = { "{new}", "headers" }) },
	{ WEB, .note = "internal",
		ASK(EXCHANGE_DECLARE, .text = { "{new}", "direct" },
			.bits = EXCHANGE_INTERNAL) },
	{ WEB, .note = "what is unroutable to x.forweb",
		ASK(EXCHANGE_DECLARE, .text = { "{new}", "fanout" },
			.table = TABLE_ALTERNATE) },
	{ WEB, TOLERATED(GUARD_VHOST), .note = "passive",
		ASK(EXCHANGE_DECLARE, .text = { "x.forweb", "direct" },
			.bits = DECLARE_PASSIVE) },
	{ WEB, .each = EACH_EXCHANGE, ASK(EXCHANGE_DELETE, .text = { "{each}" }) },
	{ WEB, CODE(403), .each = EACH_BUILT_IN, ASK(EXCHANGE_DELETE, .text = { "{each}" }) },
	{ WEB, .proof = PROOF_REFUSED, .note = "the default exchange",
		ASK(EXCHANGE_DECLARE, .text = { "", "direct" }) },

	/* -- reading -- */
	{ WEB, .each = EACH_UNREAD, ASK(BASIC_GET, .text = { "{each}" }) },
	{ WEB, .note = "and acknowledged",
		ASK(BASIC_GET, .text = { "FORAPP.send" }, .bits = GET_NO_ACK) },
	{ WEB, .each = EACH_UNREAD, ASK(BASIC_CONSUME, .text = { "{each}", "" }) },
	{ WEB, .each = EACH_UNREAD, .note = "exclusive",
		ASK(BASIC_CONSUME, .text = { "{each}", "" }, .bits = CONSUME_EXCLUSIVE) },
	{ WEB, .note = "before everybody else",
		ASK(BASIC_CONSUME, .text = { "FORAPP.call", "" },
			.table = TABLE_HIGH_PRIORITY) },
	{ WEB, .note = "from the first of a stream",
		ASK(BASIC_CONSUME, .text = { "FORAPP.send", "" },
			.table = TABLE_STREAM_OFFSET) },
	{ WEB, .each = EACH_NEAR_READ, ASK(BASIC_CONSUME, .text = { "{each}", "" }) },
	{ WEB, TOLERATED(GUARD_OWN), .idle_lane = "FORWEB.reply", .note = "exclusive",
		ASK(BASIC_CONSUME, .text = { "FORWEB.reply", "" }, .bits = CONSUME_EXCLUSIVE) },
	{ WEB, TOLERATED(GUARD_OWN), .idle_lane = "FORWEB.push",
		.note = "before everybody else",
		ASK(BASIC_CONSUME, .text = { "FORWEB.push", "" },
			.table = TABLE_HIGH_PRIORITY) },
	{ WEB, TOLERATED(GUARD_WATCH), .idle_lane = "FORWEB.reply",
		.name = "many consumers of FORWEB.reply", .finish = finish_consumers },

	/* -- writing -- */
	{ WEB, .each = EACH_LANE,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "", "{each}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, .note = "copies to all lanes",
		PUBLISH(copied, BASIC_PUBLISH, .text = { "", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.forweb", "reply" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.forweb", "push" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, .each = EACH_BUILT_IN,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "{each}", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, .each = EACH_NEAR_WRITE,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "{each}", "call" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, .proof = PROOF_UNROUTED, .note = "copies (CC) to all lanes",
		PUBLISH(copied, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, .proof = PROOF_UNROUTED, .note = "hidden copies (BCC) to all lanes",
		PUBLISH(hidden, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, .proof = PROOF_UNROUTED, .name = "publish to x.forapp by the keys of x.forweb",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.forapp", "reply" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, CODE(406), .name = "publish as another web host",
		PUBLISH(as_other, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, CODE(406), .name = "publish as an app node",
		PUBLISH(as_node, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, TOLERATED(GUARD_NODE), .name = "publish without a user-id",
		PUBLISH(nameless, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, CODE(406), .name = "publish a message too large by a byte",
		.finish = finish_large,
		.ask = { .method = BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY } },
	{ WEB, CODE(406), .name = "publish what expires never", 
		PUBLISH(never, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, CODE(406), .name = "publish what has expired before",
		PUBLISH(negative, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, CODE(540), .name = "publish, immediate",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_IMMEDIATE) },
	{ WEB, TOLERATED("app-node refuses nested headers unread; frame_max bounds them"),
		.name = "publish header tables in header tables",
		PUBLISH(nested, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, TOLERATED(GUARD_REPLY), .name = "direct reply-to: ask for an answer to nowhere",
		PUBLISH(answer_me, BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ WEB, TOLERATED(GUARD_REPLY),
		.name = "direct reply-to: consume, and ask for an answer",
		.finish = finish_reply_to,
		.ask = { .method = BASIC_PUBLISH, .text = { "x.forapp", "{new}" },
			.bits = PUBLISH_MANDATORY } },
	{ WEB, .name = "direct reply-to: consume, and answer through the default exchange",
		.finish = finish_reply_to,
		.ask = { .method = BASIC_PUBLISH, .text = { "", "amq.rabbitmq.reply-to.{new}" },
			.bits = PUBLISH_MANDATORY } },

	/* -- odds and ends of a channel -- */
	{ WEB, TOLERATED(GUARD_WATCH), ASK(TX_SELECT) },
	{ WEB, TOLERATED(GUARD_NOTHING), ASK(BASIC_RECOVER, .text = { NULL }, .bits = 1) },
	{ WEB, TOLERATED(GUARD_NOTHING),
		ASK(ACCESS_REQUEST, .text = { "/data" }, .bits = 0x1f) },
	{ WEB, CODE(540), .note = "off", ASK(CHANNEL_FLOW) },

	/* -- an app node at the crossing -- */
	{ NODE, .sort = ACT_CONTROL, .proof = PROOF_UNROUTED, .name = "publish to x.forweb",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.forweb", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ NODE, .sort = ACT_CONTROL, CODE(406), .each = EACH_READ,
		.name = "read {each}, asked with an impossible priority",
		ASK(BASIC_CONSUME, .text = { "{each}" }, .table = TABLE_WRONG_PRIORITY) },
	{ NODE, .each = EACH_LANE,
		ASK(QUEUE_DECLARE, .text = { "{each}" },
			.bits = DECLARE_DURABLE, .table = TABLE_QUORUM) },
	{ NODE, ASK(QUEUE_DECLARE, .text = { "{new}" }, .bits = DECLARE_DURABLE) },
	{ NODE, .note = "exclusive",
		ASK(QUEUE_DECLARE, .text = { "{new}" }, .bits = QUEUE_EXCLUSIVE) },
	{ NODE, .note = "a name of the broker's choice",
		ASK(QUEUE_DECLARE, .text = { "" }, .bits = QUEUE_EXCLUSIVE) },
	{ NODE, .each = EACH_LANE, ASK(QUEUE_DELETE, .text = { "{each}" }) },
	{ NODE, .each = EACH_UNREAD, ASK(QUEUE_PURGE, .text = { "{each}" }) },
	{ NODE, TOLERATED(GUARD_OWN), .idle_lane = "FORAPP.call",
		ASK(QUEUE_PURGE, .text = { "FORAPP.call" }) },
	{ NODE, .each = EACH_LANE, ASK(QUEUE_BIND, .text = { "{each}", "x.forapp", "{new}" }) },
	{ NODE, ASK(QUEUE_UNBIND, .text = { "FORAPP.send", "x.forapp", "send" }) },
	{ NODE, ASK(EXCHANGE_BIND, .text = { "x.forapp", "x.forweb", "{new}" }) },
	{ NODE, ASK(EXCHANGE_DECLARE, .text = { "{new}", "fanout" }) },
	{ NODE, .each = EACH_EXCHANGE, ASK(EXCHANGE_DELETE, .text = { "{each}" }) },
	{ NODE, .each = EACH_UNREAD, ASK(BASIC_GET, .text = { "{each}" }) },
	{ NODE, .each = EACH_UNREAD, ASK(BASIC_CONSUME, .text = { "{each}", "" }) },
	{ NODE, .each = EACH_NEAR_READ, ASK(BASIC_CONSUME, .text = { "{each}", "" }) },
	{ NODE, .each = EACH_LANE,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "", "{each}" },
			.bits = PUBLISH_MANDATORY) },
	{ NODE,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.forapp", "call" },
			.bits = PUBLISH_MANDATORY) },
	{ NODE,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.forapp", "send" },
			.bits = PUBLISH_MANDATORY) },
	{ NODE, .each = EACH_BUILT_IN,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "{each}", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ NODE, .each = EACH_NEAR_WRITE,
		PUBLISH(plain, BASIC_PUBLISH, .text = { "{each}", "push" },
			.bits = PUBLISH_MANDATORY) },
	{ NODE, CODE(406), .name = "publish as the web host",
		PUBLISH(as_web, BASIC_PUBLISH, .text = { "x.forweb", "{new}" },
			.bits = PUBLISH_MANDATORY) },

	/* -- an app node in the inner vhost -- */
	{ INNER, .sort = ACT_CONTROL, .proof = PROOF_UNROUTED,
		.name = "inner: publish to x.self",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.self", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ INNER, .sort = ACT_CONTROL, CODE(406),
		.name = "inner: read _FORAPP, asked with an impossible priority",
		ASK(BASIC_CONSUME, .text = { "_FORAPP" }, .table = TABLE_WRONG_PRIORITY) },
	{ INNER, .name = "inner: queue.declare {new}",
		ASK(QUEUE_DECLARE, .text = { "{new}" }, .bits = DECLARE_DURABLE) },
	{ INNER, .name = "inner: queue.declare _FORAPP",
		ASK(QUEUE_DECLARE, .text = { "_FORAPP" },
			.bits = DECLARE_DURABLE, .table = TABLE_QUORUM) },
	{ INNER, .name = "inner: queue.delete _FORAPP",
		ASK(QUEUE_DELETE, .text = { "_FORAPP" }) },
	{ INNER, .name = "inner: queue.delete scheduler",
		ASK(QUEUE_DELETE, .text = { "scheduler" }) },
	{ INNER, .name = "inner: exchange.declare {new}",
		ASK(EXCHANGE_DECLARE, .text = { "{new}", "fanout" }) },
	{ INNER, .name = "inner: exchange.delete x.self",
		ASK(EXCHANGE_DELETE, .text = { "x.self" }) },
	{ INNER, .name = "inner: exchange.delete x.control",
		ASK(EXCHANGE_DELETE, .text = { "x.control" }) },
	{ INNER, .name = "inner: queue.bind _FORAPP x.control",
		ASK(QUEUE_BIND, .text = { "_FORAPP", "x.control", "{new}" }) },
	{ INNER, .name = "inner: queue.unbind _FORAPP x.self now",
		ASK(QUEUE_UNBIND, .text = { "_FORAPP", "x.self", "now" }) },
	{ INNER, .name = "inner: queue.purge _FORAPP.dead",
		ASK(QUEUE_PURGE, .text = { "_FORAPP.dead" }) },
	{ INNER, .name = "inner: basic.get _FORAPP.dead",
		ASK(BASIC_GET, .text = { "_FORAPP.dead" }) },
	{ INNER, .name = "inner: basic.consume _FORAPP.delay.1h",
		ASK(BASIC_CONSUME, .text = { "_FORAPP.delay.1h", "" }) },
	{ INNER, .name = "inner: basic.consume control of another node",
		ASK(BASIC_CONSUME, .text = { "control.{node}2", "" }) },
	{ INNER, .name = "inner: basic.publish \"\" _FORAPP",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "", "_FORAPP" },
			.bits = PUBLISH_MANDATORY) },
	{ INNER, .name = "inner: basic.publish \"\" control.{node}",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "", "control.{node}" },
			.bits = PUBLISH_MANDATORY) },
	{ INNER, .name = "inner: basic.publish amq.fanout",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "amq.fanout", "{new}" },
			.bits = PUBLISH_MANDATORY) },
	{ INNER, .name = "inner: basic.publish x.selfie",
		PUBLISH(plain, BASIC_PUBLISH, .text = { "x.selfie", "{new}" },
			.bits = PUBLISH_MANDATORY) },
};
/* clang-format on */

const struct act_table rights_acts = { .acts = acts, .count = ARRAY_COUNT(acts) };
