#include "app-node/control.h"

#include <stdio.h>

#include "base/json_writer.h"
#include "base/text.h"
#include "contract/json.h"
#include "message/digest.h"

enum {
	BODY_MAX_BYTES = 1024,
	MEMBERS = 2,
};

static const uint64_t max_age_us = (uint64_t)CONTROL_MAX_AGE_DAYS * 86400 * 1000000;

const char *control_text(enum control_verdict verdict)
{
	switch (verdict) {
#define CONTROL_CASE(code, text) \
	case code:               \
		return text;
		CONTROL_MAP(CONTROL_CASE)
#undef CONTROL_CASE
	case CONTROL_VERDICTS:
		break;
	}
	return "unknown";
}

static enum control_verdict verdict_of_fault(enum err fault)
{
	if (fault == ERR_FULL)
		return CONTROL_OVERSIZED;
	if (fault == ERR_UNSEALED)
		return CONTROL_UNSEALED;
	if (fault == ERR_SEAL)
		return CONTROL_SEAL;
	return fault == ERR_NOMEM ? CONTROL_NO_MEMORY : CONTROL_MALFORMED;
}

static enum control_verdict verdict_of_replay(enum replay_verdict replay)
{
	switch (replay) {
	case REPLAY_FIRST:
		break;
	case REPLAY_AGAIN:
	case REPLAY_ANEW:
		return CONTROL_REPLAY;
	case REPLAY_OTHER:
		return CONTROL_ID_REUSED;
	case REPLAY_TOO_OLD:
		return CONTROL_TOO_OLD;
	}
	return CONTROL_PASS;
}

/* What only a node that has gone astray, or a host that found the key, would be. */
static bool is_sender(struct span user_id)
{
	struct identity who;

	return span_is(user_id, IDENTITY_OPERATIONS) ||
	       (identity_parse(user_id, &who) == ERR_OK && span_is(who.realm, "app"));
}

/* Stays at the end of time. */
static uint64_t add(uint64_t a, uint64_t b)
{
	return a <= UINT64_MAX - b ? a + b : UINT64_MAX;
}

static enum control_verdict judge_age(
	const struct control_facts *facts, const struct message *m)
{
	if (m->sent_unix_us > add(facts->now_unix_us, facts->clock_skew_us))
		return CONTROL_FUTURE;
	if (facts->now_unix_us > add(m->sent_unix_us, max_age_us))
		return CONTROL_STALE;
	return CONTROL_PASS;
}

/* The host's name as it would stand in an identity. */
static enum err read_host(struct json_doc *doc, struct control_order *order)
{
	struct span host;
	struct identity who;
	char text[IDENTITY_NAME_MAX_BYTES + 16];
	enum err err = json_string_member(doc, "host", &host);

	if (err != ERR_OK)
		return err;
	if (host.len > IDENTITY_NAME_MAX_BYTES)
		return ERR_INPUT;
	snprintf(text, sizeof(text), "web.%.*s.g1", SPAN_ARG(host));
	err = identity_parse(span_of(text), &who);
	if (err == ERR_OK)
		snprintf(order->host, sizeof(order->host), "%.*s", SPAN_ARG(who.name));
	return err;
}

static enum err read_generation(struct json_doc *doc, struct control_order *order)
{
	struct span text;
	enum err err = json_string_member(doc, "generation", &text);

	if (err == ERR_OK)
		err = text_parse_u64(text, &order->generation);
	return err == ERR_OK && order->generation == 0 ? ERR_INPUT : err;
}

static enum control_verdict read_body(struct span body, struct control_order *order)
{
	struct json_limits limits = { .max_bytes = BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc = { 0 };
	enum err err = json_open(body, limits, &doc, &failure);

	if (err != ERR_OK)
		return err == ERR_NOMEM ? CONTROL_NO_MEMORY : CONTROL_BAD_BODY;
	if (!json_top_is_object(&doc) || doc.tokens[0].size != MEMBERS)
		err = ERR_INPUT;
	if (err == ERR_OK)
		err = read_host(&doc, order);
	if (err == ERR_OK)
		err = read_generation(&doc, order);
	json_close(&doc);
	if (err == ERR_OK)
		return CONTROL_PASS;
	return err == ERR_NOMEM ? CONTROL_NO_MEMORY : CONTROL_BAD_BODY;
}

static enum control_verdict judge_repeat(
	struct control *c, const struct control_facts *facts, const struct message *m)
{
	struct replay_fact fact = {
		.id = m->id,
		.sent_unix_us = m->sent_unix_us,
		.until_unix_us = add(m->sent_unix_us, max_age_us),
	};
	struct digest digest;

	if (digest_of(m->body, &digest) != ERR_OK)
		return CONTROL_NO_MEMORY;
	memcpy(&fact.mark, digest.byte, sizeof(fact.mark));
	return verdict_of_replay(replay_meet(&c->seen, &fact, facts->now_unix_us));
}

enum err control_init(struct control *c)
{
	*c = (struct control){ 0 };
	return replay_init(&c->seen, CONTROL_REMEMBERED, 0);
}

void control_fini(struct control *c)
{
	replay_fini(&c->seen);
}

enum control_verdict control_judge(struct control *c, const struct control_facts *facts,
	const struct message *m, struct control_order *order)
{
	*order = (struct control_order){ 0 };
	if (facts->fault != ERR_OK)
		return verdict_of_fault(facts->fault);
	if (m->content != MESSAGE_JSON)
		return CONTROL_MALFORMED;
	if (!is_sender(m->user_id))
		return CONTROL_SENDER;
	enum control_verdict verdict = judge_age(facts, m);

	if (verdict != CONTROL_PASS)
		return verdict;
	if (!span_is(m->type, CONTROL_TYPE_REVOKED))
		return CONTROL_UNKNOWN_TYPE;
	verdict = read_body(m->body, order);
	return verdict == CONTROL_PASS ? judge_repeat(c, facts, m) : verdict;
}

void control_write(const struct control_order *order, struct buf *out)
{
	struct json_writer w;

	json_write_init(&w, out);
	json_write_object(&w);
	json_write_text_member(&w, "host", order->host);
	json_write_u64_member(&w, "generation", order->generation);
	json_write_object_end(&w);
}
