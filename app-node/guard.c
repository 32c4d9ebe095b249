#include "app-node/guard.h"

#include "contract/json.h"
#include "message/identity.h"

enum { TIME_LEFT_MAX_MS = 60 * 60 * 1000 }; /* above any deadline of a contract */

const char *guard_text(enum guard_verdict verdict)
{
	switch (verdict) {
#define GUARD_CASE(code, text) \
	case code:             \
		return text;
		GUARD_MAP(GUARD_CASE)
#undef GUARD_CASE
	case GUARD_VERDICTS:
		break;
	}
	return "unknown";
}

static enum contract_kind kind_of(enum guard_lane lane)
{
	return lane == GUARD_LANE_CALL ? CONTRACT_CALL : CONTRACT_SEND;
}

/* Stays at the end of time: what a hostile host wrote may be any number. */
static uint64_t add(uint64_t a, uint64_t b)
{
	return a <= UINT64_MAX - b ? a + b : UINT64_MAX;
}

static uint64_t call_until_us(const struct guard_facts *facts, const struct message *m)
{
	uint64_t left_ms = m->time_left_ms < TIME_LEFT_MAX_MS ? m->time_left_ms
							      : TIME_LEFT_MAX_MS;

	return add(add(m->sent_unix_us, left_ms * 1000), facts->clock_skew_us);
}

static uint64_t send_until_us(const struct guard_facts *facts, const struct message *m)
{
	if (m->expires_unix_ms == 0 || m->expires_unix_ms > UINT64_MAX / 1000)
		return UINT64_MAX;
	return add(m->expires_unix_ms * 1000, facts->clock_skew_us);
}

uint64_t guard_until_us(const struct guard_facts *facts, const struct message *m)
{
	return facts->lane == GUARD_LANE_CALL ? call_until_us(facts, m)
					      : send_until_us(facts, m);
}

/* A call that waited longer than its caller would, a send beyond its time; whatever the clocks say
 * within their skew. */
static bool is_expired(const struct guard_facts *facts, const struct message *m)
{
	if (facts->lane == GUARD_LANE_CALL && m->time_left_ms == 0)
		return true;
	return facts->now_unix_us > guard_until_us(facts, m);
}

/* Its age would mean nothing. A send has none that matters, and is not refused for a clock. */
static bool is_from_the_future(const struct guard_facts *facts, const struct message *m)
{
	return facts->lane == GUARD_LANE_CALL &&
	       m->sent_unix_us > add(facts->now_unix_us, facts->clock_skew_us);
}

/* The header is what orders; were it not the parameter, or empty, a host could reorder at will.
 */
static bool is_right_key(
	const struct operation *op, const struct json_doc *doc, struct span key)
{
	if (op->key == NULL)
		return key.len == 0;
	return key.len > 0 && key.len <= MESSAGE_KEY_MAX_BYTES &&
	       json_member_is(doc, op->key, key);
}

static enum guard_verdict judge_params(const struct operation *op, const struct json_doc *doc)
{
	struct schema_failure failure;

	if (op->params == NULL)
		return GUARD_PASS;
	enum err err = schema_check(op->params, doc, 0, &failure);

	if (err == ERR_NOMEM)
		return GUARD_NO_MEMORY;
	return err == ERR_OK ? GUARD_PASS : GUARD_CONTRACT;
}

static enum guard_verdict judge_body(const struct operation *op, const struct message *m)
{
	struct json_limits limits = { .max_bytes = MESSAGE_BODY_MAX_BYTES };
	struct json_failure failure;
	struct json_doc doc;
	enum guard_verdict verdict;

	enum err err = json_open(m->body, limits, &doc, &failure);

	if (err != ERR_OK)
		return err == ERR_NOMEM ? GUARD_NO_MEMORY : GUARD_BAD_JSON;
	if (!json_top_is_object(&doc))
		verdict = GUARD_BAD_JSON;
	else if (!is_right_key(op, &doc, m->key))
		verdict = GUARD_BAD_KEY;
	else
		verdict = judge_params(op, &doc);
	json_close(&doc);
	return verdict;
}

static enum guard_verdict verdict_of(enum err fault)
{
	if (fault == ERR_FULL)
		return GUARD_OVERSIZED;
	if (fault == ERR_UNSEALED)
		return GUARD_UNSEALED;
	if (fault == ERR_SEAL)
		return GUARD_SEAL;
	return fault == ERR_NOMEM ? GUARD_NO_MEMORY : GUARD_MALFORMED;
}

enum guard_verdict guard_judge(const struct contract *contract, const struct guard_facts *facts,
	const struct message *m, const struct operation **op)
{
	if (facts->fault != ERR_OK)
		return verdict_of(facts->fault);
	if (m->body.len > MESSAGE_BODY_MAX_BYTES)
		return GUARD_OVERSIZED;
	if (!message_type_is_valid(m->type) || m->content != MESSAGE_JSON)
		return GUARD_MALFORMED;
	uint64_t generation = identity_generation(m->user_id, "web", facts->host);

	if (generation == 0)
		return GUARD_FORGED_SENDER;
	if (generation <= facts->revoked)
		return GUARD_REVOKED;
	const struct operation *found = contract_find(contract, m->type);

	if (found == NULL || !contract_allows(contract, span_of(facts->host), found))
		return GUARD_UNKNOWN_OP;
	if (found->kind != kind_of(facts->lane))
		return GUARD_WRONG_KIND;
	if (is_expired(facts, m))
		return GUARD_EXPIRED;
	if (is_from_the_future(facts, m))
		return GUARD_FUTURE;
	enum guard_verdict verdict = judge_body(found, m);

	if (verdict == GUARD_PASS)
		*op = found;
	return verdict;
}
