#include "run.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/json_writer.h"

enum { NEW_BYTES = 6 };

static const struct act_table *const tables[] = { &door_acts, &rights_acts, &wire_acts };

static bool is_possible(const struct plan *plan, const struct act *a)
{
	return plan_has(plan, a->as) && (a->where != WHERE_INNER || plan->has_inner);
}

/* Calls for each trial there may be; `out` NULL: only counts. */
static size_t collect(
	struct probe *p, const struct act *a, const char *pattern, struct trial *out)
{
	static char room[ACT_EACH_MAX][ACT_TEXT_BYTES];
	const char *each[ACT_EACH_MAX];
	size_t count = is_possible(p->plan, a) ? act_each(p, a, room, each) : 0;
	size_t taken = 0;

	for (size_t i = 0; i < count; i++) {
		struct trial t = { .act = a, .probe = p };

		snprintf(t.each, sizeof(t.each), "%s", each[i]);
		act_name(&t);
		if (pattern != NULL && fnmatch(pattern, t.name, 0) != 0)
			continue;
		if (out != NULL)
			out[taken] = t;
		taken++;
	}
	return taken;
}

static size_t collect_all(struct probe *p, const char *pattern, struct trial *out)
{
	size_t taken = 0;

	for (size_t i = 0; i < ARRAY_COUNT(tables); i++)
		for (size_t j = 0; j < tables[i]->count; j++)
			taken += collect(p, &tables[i]->acts[j], pattern,
				out == NULL ? NULL : out + taken);
	return taken;
}

static enum err make_new_name(struct probe *p)
{
	uint8_t random[NEW_BYTES];
	size_t len;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return ERR_IO;
	len = (size_t)snprintf(p->new_name, sizeof(p->new_name), "probe-");
	for (size_t i = 0; i < sizeof(random); i++, len += 2)
		snprintf(p->new_name + len, sizeof(p->new_name) - len, "%02x", random[i]);
	return ERR_OK;
}

enum err probe_init(struct probe *p, const struct plan *plan, const char *pattern)
{
	char vhost[PLAN_NAME_BYTES + 16];
	enum err err;

	*p = (struct probe){ .plan = plan };
	snprintf(vhost, sizeof(vhost), "border.%s", plan->host);
	session_init(&p->web, plan, ROLE_WEB, vhost);
	session_init(&p->node, plan, ROLE_NODE, vhost);
	session_init(&p->inner, plan, ROLE_NODE, "inner");
	err = make_new_name(p);
	if (err != ERR_OK)
		return err;
	p->count = collect_all(p, pattern, NULL);
	if (p->count == 0)
		return ERR_NOT_FOUND;
	p->trials = calloc(p->count, sizeof(*p->trials));
	if (p->trials == NULL)
		return ERR_NOMEM;
	(void)collect_all(p, pattern, p->trials);
	return ERR_OK;
}

void probe_fini(struct probe *p)
{
	for (size_t i = 0; p->trials != NULL && i < p->count; i++)
		line_close(&p->trials[i].line);
	free(p->trials);
	line_close(&p->web.line);
	line_close(&p->node.line);
	line_close(&p->inner.line);
	*p = (struct probe){ 0 };
}

static void finish(struct trial *t)
{
	uint64_t began_us = clock_mono_us();

	if (clock_mono_us() >= t->probe->end_us)
		outcome_set(&t->outcome, OUTCOME_NOT_TRIED, 0, "not tried: the time was up");
	else if (t->act->begin == NULL || t->has_begun)
		t->act->finish(t);
	line_close(&t->line);
	t->took_us = clock_mono_us() - began_us;
}

/* Can somebody who may log in still do so? Else "no" is not the border's answer. */
static enum err look(struct probe *p, struct outcome *why)
{
	char vhost[PLAN_NAME_BYTES + 16];
	struct line line = { 0 };

	snprintf(vhost, sizeof(vhost), "border.%s", p->plan->host);
	const struct login login = { .vhost = span_of(vhost) };

	login_whole(&line, p->plan, ROLE_WEB, &login, why);
	if (why->kind == OUTCOME_DONE)
		talk_goodbye(&line, p->plan);
	line_close(&line);
	return why->kind == OUTCOME_NOBODY || why->kind == OUTCOME_OURS ||
			       why->kind == OUTCOME_SILENT
		       ? ERR_LINK
		       : ERR_OK;
}

enum err probe_run(struct probe *p, struct outcome *why)
{
	enum err err = look(p, why);

	if (err != ERR_OK)
		return err;
	p->end_us = clock_mono_us() + p->plan->within_ms * 1000;
	for (size_t i = 0; i < p->count; i++)
		if (p->trials[i].act->begin != NULL)
			p->trials[i].act->begin(&p->trials[i]);
	for (size_t i = 0; i < p->count; i++)
		if (p->trials[i].act->begin == NULL)
			finish(&p->trials[i]);
	session_fini(&p->web);
	session_fini(&p->node);
	session_fini(&p->inner);
	for (size_t i = 0; i < p->count; i++)
		if (p->trials[i].act->begin != NULL)
			finish(&p->trials[i]);
	return look(p, why);
}

/* ---- what came of it ---- */

static bool was_tried(const struct trial *t)
{
	return t->outcome.kind != OUTCOME_NOT_TRIED && t->outcome.kind != OUTCOME_OURS;
}

struct tally probe_tally(const struct probe *p)
{
	struct tally tally = { 0 };

	for (size_t i = 0; i < p->count; i++) {
		const struct trial *t = &p->trials[i];
		enum verdict verdict = act_judge(t->act, &t->outcome);

		tally.tried += t->act->sort == ACT_FORBIDDEN && was_tried(t);
		tally.tolerated += t->act->sort == ACT_TOLERATED;
		tally.controls += t->act->sort == ACT_CONTROL;
		tally.succeeded += verdict == VERDICT_SUCCEEDED;
		tally.unproven += verdict == VERDICT_UNPROVEN;
	}
	return tally;
}

static void print_trial(const struct trial *t, struct buf *out)
{
	static const char *const marks[] = {
		[VERDICT_OK] = "ok",
		[VERDICT_SUCCEEDED] = "SUCCEEDED",
		[VERDICT_UNPROVEN] = "UNPROVEN",
	};
	char expected[32];

	act_expected(t->act, expected, sizeof(expected));
	buf_format(out, "%-9s  %-11s  %-48s  %-13s  %s", marks[act_judge(t->act, &t->outcome)],
		role_name(t->act->as), t->name, expected, t->outcome.text);
	if (t->act->guard != NULL)
		buf_format(out, " [%s]", t->act->guard);
	buf_byte(out, '\n');
}

void probe_print(const struct probe *p, struct buf *out)
{
	const struct tally tally = probe_tally(p);

	for (size_t i = 0; i < p->count; i++)
		print_trial(&p->trials[i], out);
	for (unsigned role = 0; role < ROLE_COUNT; role++)
		if (!plan_has(p->plan, (enum role)role))
			buf_format(out, "left out: %s (the plan names no certificate)\n",
				role_name((enum role)role));
	buf_format(out,
		"%u forbidden acts tried, %u succeeded; %u tolerated, %u controls, %u "
		"unproven\n",
		tally.tried, tally.succeeded, tally.tolerated, tally.controls, tally.unproven);
}

static void write_trial(const struct trial *t, struct json_writer *w)
{
	static const char *const sorts[] = {
		[ACT_FORBIDDEN] = "forbidden",
		[ACT_TOLERATED] = "tolerated",
		[ACT_CONTROL] = "control",
	};
	const enum verdict verdict = act_judge(t->act, &t->outcome);
	char expected[32];

	act_expected(t->act, expected, sizeof(expected));
	json_write_object(w);
	json_write_text_member(w, "name", t->name);
	json_write_text_member(w, "as", role_name(t->act->as));
	json_write_text_member(w, "sort", sorts[t->act->sort]);
	json_write_text_member(w, "expected", expected);
	json_write_text_member(w, "observed", t->outcome.text);
	json_write_u64_member(w, "ms", t->took_us / 1000);
	json_write_bool_member(w, "ok", verdict == VERDICT_OK);
	json_write_bool_member(w, "succeeded", verdict == VERDICT_SUCCEEDED);
	if (t->act->guard != NULL)
		json_write_text_member(w, "guard", t->act->guard);
	json_write_object_end(w);
}

void probe_print_json(const struct probe *p, struct buf *out)
{
	const struct tally tally = probe_tally(p);
	struct json_writer w;

	json_write_init(&w, out);
	json_write_object(&w);
	json_write_text_member(&w, "broker", p->plan->broker);
	json_write_text_member(&w, "web", p->plan->users[ROLE_WEB]);
	json_write_text_member(&w, "node", p->plan->users[ROLE_NODE]);
	json_write_u64_member(&w, "tried", tally.tried);
	json_write_u64_member(&w, "succeeded", tally.succeeded);
	json_write_u64_member(&w, "tolerated", tally.tolerated);
	json_write_u64_member(&w, "controls", tally.controls);
	json_write_u64_member(&w, "unproven", tally.unproven);
	json_write_key(&w, "left_out");
	json_write_array(&w);
	for (unsigned role = 0; role < ROLE_COUNT; role++)
		if (!plan_has(p->plan, (enum role)role))
			json_write_text(&w, span_of(role_name((enum role)role)));
	json_write_array_end(&w);
	json_write_key(&w, "acts");
	json_write_array(&w);
	for (size_t i = 0; i < p->count; i++)
		write_trial(&p->trials[i], &w);
	json_write_array_end(&w);
	json_write_object_end(&w);
	buf_byte(out, '\n');
}
