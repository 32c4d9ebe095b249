#include "act.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const char *const lanes[] = { "FORAPP.call", "FORAPP.send", "FORAPP.dead",
	"FORWEB.reply", "FORWEB.push", "FORWEB.dead" };

static const char *const exchanges[] = { "x.forapp", "x.forweb" };

static const char *const built_in[] = { "amq.direct", "amq.fanout", "amq.headers", "amq.match",
	"amq.topic", "amq.rabbitmq.trace", "amq.rabbitmq.log" };

/* Patterns go wrong at their ends, at a dot, at a "$" before a line's end, in their case. */
static const char *const near_read[ROLE_COUNT][6] = {
	[ROLE_WEB] = { "FORWEB.reply2", "xFORWEB.push", "FORWEBxreply", "FORWEB.push\n",
		"FORWEB.", "forweb.reply" },
	[ROLE_NODE] = { "FORAPP.call2", "xFORAPP.send", "FORAPPxcall", "FORAPP.send\n",
		"FORAPP.", "forapp.call" },
};

static const char *const near_write[ROLE_COUNT][6] = {
	[ROLE_WEB] = { "x.forapp2", "xx.forapp", "xxforapp", "x.forapp\n", "x.", "X.FORAPP" },
	[ROLE_NODE] = { "x.forweb2", "xx.forweb", "xxforweb", "x.forweb\n", "x.", "X.FORWEB" },
};

/* The vhosts that every broker might have, and names near ours. */
static const char *const vhosts[] = { "/", "", "border", "border.", "border.{host}2",
	"BORDER.{host}", "border.{host}\n", "border.*", "no-such-vhost" };

/* ---- texts ---- */

static const char *value_of(const struct trial *t, struct span word)
{
	const struct plan *plan = t->probe->plan;
	const struct {
		const char *word;
		const char *value;
	} words[] = {
		{ "each", t->each },
		{ "new", t->probe->new_name },
		{ "user", plan->users[t->act->as] },
		{ "host", plan->host },
		{ "node", plan->node },
		{ "web_user", plan->users[ROLE_WEB] },
		{ "node_user", plan->users[ROLE_NODE] },
		{ "other_user",
			plan_has(plan, ROLE_OTHER) ? plan->users[ROLE_OTHER] : "web.other.g1" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(words); i++)
		if (span_is(word, words[i].word))
			return words[i].value;
	return NULL;
}

struct span act_expand(const struct trial *t, const char *text, char *to)
{
	struct buf out;
	struct span rest = span_of(text);

	buf_init(&out, ACT_TEXT_BYTES - 1);
	while (rest.len > 0) {
		struct span word = span_after(rest, 1);
		const char *value = rest.at[0] == '{' ? value_of(t, text_cut(&word, '}'))
						      : NULL;

		if (value == NULL) {
			buf_byte(&out, (uint8_t)rest.at[0]);
			rest = span_after(rest, 1);
		} else {
			buf_text(&out, value);
			rest = word;
		}
	}
	size_t len = buf_status(&out) == ERR_OK ? out.len : 0;

	if (len > 0)
		memcpy(to, out.at, len);
	to[len] = '\0';
	buf_fini(&out);
	return (struct span){ .at = to, .len = len };
}

/* ---- each ---- */

static size_t take(const char *const *list, size_t count, const char *out[ACT_EACH_MAX])
{
	size_t taken = 0;

	for (size_t i = 0; i < count && list[i] != NULL && taken < ACT_EACH_MAX; i++)
		out[taken++] = list[i];
	return taken;
}

static bool may_read(enum role role, const char *lane)
{
	return strncmp(lane, role == ROLE_NODE ? "FORAPP." : "FORWEB.", 7) == 0 &&
	       strcmp(lane + 7, "dead") != 0;
}

static size_t take_lanes(enum role role, bool readable, const char *out[ACT_EACH_MAX])
{
	size_t taken = 0;

	for (size_t i = 0; i < ARRAY_COUNT(lanes); i++)
		if (may_read(role, lanes[i]) == readable)
			out[taken++] = lanes[i];
	return taken;
}

static bool is_among(const char *name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}

static size_t take_vhosts(const struct probe *p, const struct act *a,
	char room[][ACT_TEXT_BYTES], const char *out[ACT_EACH_MAX])
{
	const struct plan *plan = p->plan;
	struct trial t = { .act = a, .probe = (struct probe *)(uintptr_t)p };
	size_t taken = 0;

	if (a->as != ROLE_NODE)
		out[taken++] = "inner";
	if (a->as != ROLE_NODE && plan->other_host[0] != '\0') {
		snprintf(room[taken], ACT_TEXT_BYTES, "border.%s", plan->other_host);
		out[taken] = room[taken];
		taken++;
	}
	for (size_t i = 0; i < ARRAY_COUNT(vhosts); i++, taken++) {
		(void)act_expand(&t, vhosts[i], room[taken]);
		out[taken] = room[taken];
	}
	for (size_t i = 0; a->as != ROLE_NODE && i < plan->vhosts.count; i++)
		if (taken < ACT_EACH_MAX && !is_among(plan->vhosts.at[i], out, taken))
			out[taken++] = plan->vhosts.at[i];
	return taken;
}

size_t act_each(const struct probe *p, const struct act *a, char room[][ACT_TEXT_BYTES],
	const char *out[ACT_EACH_MAX])
{
	switch (a->each) {
	case EACH_ONCE:
		out[0] = "";
		return 1;
	case EACH_LANE:
		return take(lanes, ARRAY_COUNT(lanes), out);
	case EACH_READ:
		return take_lanes(a->as, true, out);
	case EACH_UNREAD:
		return take_lanes(a->as, false, out);
	case EACH_NEAR_READ:
		return take(near_read[a->as], ARRAY_COUNT(near_read[a->as]), out);
	case EACH_EXCHANGE:
		return take(exchanges, ARRAY_COUNT(exchanges), out);
	case EACH_BUILT_IN:
		return take(built_in, ARRAY_COUNT(built_in), out);
	case EACH_NEAR_WRITE:
		return take(near_write[a->as], ARRAY_COUNT(near_write[a->as]), out);
	case EACH_VHOST:
		return take_vhosts(p, a, room, out);
	case EACH_PORT:
		return take((const char *const *)p->plan->ports.at, p->plan->ports.count, out);
	}
	return 0;
}

/* ---- names ---- */

/* A name must be the same in every run: {new} is not filled in. */
static void append_text(struct buf *name, const struct trial *t, const char *text)
{
	char expanded[ACT_TEXT_BYTES];
	struct span shown = span_of(text);

	if (strstr(text, "{each}") != NULL)
		shown = act_expand(t, text, expanded);
	buf_format(name, " %s", shown.len == 0 ? "\"\"" : text_show(shown).at);
}

void act_name(struct trial *t)
{
	const struct act *a = t->act;
	struct buf name;

	buf_init(&name, ACT_NAME_BYTES - 1);
	if (a->name != NULL) {
		char expanded[ACT_TEXT_BYTES];
		struct trial shown = *t;

		if (a->each != EACH_ONCE && t->each[0] == '\0')
			snprintf(shown.each, sizeof(shown.each), "''");
		struct span text = act_expand(&shown, a->name, expanded);

		buf_text(
			&name, strstr(a->name, "{new}") != NULL ? a->name : text_show(text).at);
	} else {
		buf_text(&name, request_name(a->ask.method));
		for (size_t i = 0; i < REQUEST_TEXTS; i++)
			if (a->ask.text[i] != NULL)
				append_text(&name, t, a->ask.text[i]);
	}
	if (a->note != NULL)
		buf_format(&name, ", %s", a->note);
	buf_byte(&name, '\0');
	snprintf(t->name, sizeof(t->name), "%s",
		buf_status(&name) == ERR_OK ? name.at : "a name that is too long");
	buf_fini(&name);
}

struct session *act_session(struct trial *t)
{
	if (t->act->where == WHERE_INNER)
		return &t->probe->inner;
	return t->act->as == ROLE_NODE ? &t->probe->node : &t->probe->web;
}

/* ---- judging ---- */

bool outcome_is_permission(const struct outcome *o)
{
	return o->kind == OUTCOME_REFUSED && o->code == 403 &&
	       strstr(o->text, "refused for user") != NULL;
}

static bool is_proven(const struct act *a, const struct outcome *seen)
{
	switch (a->proof) {
	case PROOF_PERMISSION:
		return outcome_is_permission(seen);
	case PROOF_CODE:
		return seen->kind == OUTCOME_REFUSED && seen->code == a->code;
	case PROOF_NO_TLS:
		return seen->kind == OUTCOME_SHUT;
	case PROOF_REFUSED:
	case PROOF_NO_LOGIN:
		return seen->kind == OUTCOME_REFUSED || seen->kind == OUTCOME_SHUT;
	case PROOF_NO_VHOST:
		return seen->kind == OUTCOME_REFUSED && seen->code == 530 &&
		       !outcome_is_limit(seen);
	case PROOF_UNROUTED:
		return seen->kind == OUTCOME_UNROUTED;
	case PROOF_NO_CONNECTION:
		return seen->kind == OUTCOME_NOBODY;
	case PROOF_DONE:
		return seen->kind == OUTCOME_DONE;
	}
	return false;
}

static bool is_definite(const struct outcome *seen)
{
	switch (seen->kind) {
	case OUTCOME_DONE:
	case OUTCOME_GRANTED:
	case OUTCOME_REFUSED:
	case OUTCOME_UNROUTED:
	case OUTCOME_SHUT:
	case OUTCOME_LEFT:
		return true;
	case OUTCOME_NOT_TRIED:
	case OUTCOME_NOBODY:
	case OUTCOME_SILENT:
	case OUTCOME_OURS:
		return false;
	}
	return false;
}

enum verdict act_judge(const struct act *a, const struct outcome *seen)
{
	if (a->sort == ACT_TOLERATED)
		return is_definite(seen) ? VERDICT_OK : VERDICT_UNPROVEN;
	if (is_proven(a, seen))
		return VERDICT_OK;
	if (a->sort == ACT_FORBIDDEN &&
		(seen->kind == OUTCOME_DONE || seen->kind == OUTCOME_GRANTED ||
			seen->kind == OUTCOME_UNROUTED))
		return VERDICT_SUCCEEDED;
	return VERDICT_UNPROVEN;
}

void act_expected(const struct act *a, char *to, size_t room)
{
	static const char *const texts[] = {
		[PROOF_PERMISSION] = "refused 403",
		[PROOF_REFUSED] = "refused",
		[PROOF_NO_TLS] = "no TLS",
		[PROOF_NO_LOGIN] = "no login",
		[PROOF_NO_VHOST] = "refused 530",
		[PROOF_UNROUTED] = "unrouted",
		[PROOF_NO_CONNECTION] = "no connection",
		[PROOF_DONE] = "done",
	};

	if (a->sort == ACT_TOLERATED)
		snprintf(to, room, "tolerated");
	else if (a->proof == PROOF_CODE)
		snprintf(to, room, "refused %u", a->code);
	else
		snprintf(to, room, "%s", texts[a->proof]);
}
