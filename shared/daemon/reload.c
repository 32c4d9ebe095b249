#include "daemon/reload.h"

#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

enum { MISTAKES_MAX_BYTES = 64 * 1024, STAYS_MAX_BYTES = 4 * 1024 };

#define TO(s) (1u << RELOAD_##s)
static const struct {
	const char *name;
	unsigned next;
} states[RELOAD_NSTATES] = {
	/* clang-format off */
	[RELOAD_NEVER]    = { "never",    TO(READING) },
	[RELOAD_READING]  = { "reading",  TO(REFUSED) | TO(CHANGING) },
	[RELOAD_REFUSED]  = { "refused",  TO(READING) },
	[RELOAD_CHANGING] = { "changing", TO(READING) | TO(PENDING) | TO(DONE) },
	[RELOAD_PENDING]  = { "pending",  TO(READING) | TO(CHANGING) | TO(DONE) },
	[RELOAD_DONE]     = { "done",     TO(READING) },
	/* clang-format on */
};
#undef TO

static void move(struct reload *r, enum reload_state to)
{
	static const char *const told[RELOAD_NSTATES] = {
		[RELOAD_REFUSED] = "reload refused: everything is as before, see the log",
		[RELOAD_PENDING] = "reload pending: see status",
		[RELOAD_DONE] = "reloaded",
	};

	BUG_ON((states[r->state].next & (1u << to)) == 0);
	log_info("event=reload state=%s->%s", states[r->state].name, states[to].name);
	r->state = to;
	if (to == RELOAD_READING)
		life_tell_reloading(r->life);
	else if (told[to] != NULL)
		life_tell_reloaded(r->life, told[to]);
}

/* One line of the log for each mistake; all of them in the status. */
static void tell_mistakes(struct reload *r)
{
	struct span rest = buf_span(&r->mistakes);

	while (rest.len > 0) {
		struct span line = text_cut(&rest, '\n');

		if (line.len > 0)
			log_warn("event=reload-refused why=\"%s\"", text_show(line).at);
	}
}

static void refuse(struct reload *r)
{
	r->counters.refused++;
	tell_mistakes(r);
	move(r, RELOAD_REFUSED);
}

static bool has_word(struct span words, const char *word)
{
	while (words.len > 0)
		if (span_is(text_trim(text_cut(&words, ',')), word))
			return true;
	return false;
}

static void on_stays(void *arg, const char *key)
{
	struct reload *r = arg;

	if (has_word(buf_span(&r->stays), key))
		return;
	log_warn("event=reload-needs-restart key=%s", key);
	buf_format(&r->stays, "%s%s", r->stays.len == 0 ? "" : ", ", key);
}

void reload_init(struct reload *r, struct setup *running, struct life *life)
{
	*r = (struct reload){ .running = running, .life = life };
	buf_init(&r->mistakes, MISTAKES_MAX_BYTES);
	buf_init(&r->stays, STAYS_MAX_BYTES);
}

void reload_fini(struct reload *r)
{
	buf_fini(&r->mistakes);
	buf_fini(&r->stays);
	*r = (struct reload){ 0 };
}

enum err reload_read(struct reload *r, struct setup *fresh)
{
	struct report report;

	r->counters.asked++;
	r->at_unix_ms = clock_unix_ms();
	buf_shrink(&r->mistakes, 0);
	buf_shrink(&r->stays, 0);
	move(r, RELOAD_READING);
	report_init(&report);
	enum err err = setup_open(r->running->kind, r->running->file, &report, fresh);

	if (err == ERR_INPUT) {
		report_format(&report, &r->mistakes);
		setup_close(fresh);
		refuse(r);
	} else if (err != ERR_OK) {
		reload_refuse(r, fresh, err);
	}
	report_fini(&report);
	return err;
}

void reload_refuse(struct reload *r, struct setup *fresh, enum err err)
{
	setup_close(fresh);
	buf_format(&r->mistakes, "%s\n", err_text(err));
	refuse(r);
}

void reload_take(struct reload *r, struct setup *fresh)
{
	setup_take(r->running, fresh, on_stays, r);
	setup_close(fresh);
	log_limit(r->running->site.log_level);
	move(r, RELOAD_CHANGING);
}

void reload_tell(struct reload *r, enum reload_progress progress)
{
	static const enum reload_state wanted[] = {
		[RELOAD_ALL_DONE] = RELOAD_DONE,
		[RELOAD_GOES_ON] = RELOAD_CHANGING,
		[RELOAD_HANGS] = RELOAD_PENDING,
	};

	/* A reading that was refused leaves the change before it under way: its end is told by
	 * the links alone. */
	if ((r->state == RELOAD_CHANGING || r->state == RELOAD_PENDING) &&
		r->state != wanted[progress])
		move(r, wanted[progress]);
}

const char *reload_state_name(const struct reload *r)
{
	return states[r->state].name;
}

void reload_write_status(const struct reload *r, struct json_writer *w)
{
	json_write_key(w, "reload");
	json_write_object(w);
	json_write_text_member(w, "state", reload_state_name(r));
	json_write_u64_member(w, "asked", r->counters.asked);
	json_write_u64_member(w, "refused", r->counters.refused);
	if (r->at_unix_ms != 0)
		json_write_u64_member(w, "at_unix_ms", r->at_unix_ms);
	if (r->mistakes.len > 0)
		json_write_span_member(w, "mistakes", buf_span(&r->mistakes));
	if (r->stays.len > 0)
		json_write_span_member(w, "needs_restart", buf_span(&r->stays));
	json_write_object_end(w);
}

void reload_register(struct metrics *m, const struct reload *r)
{
	metrics_counter(m, "sallyport_reloads_total",
		"Times that SIGHUP asked to read the files again.", NULL, &r->counters.asked);
	metrics_counter(m, "sallyport_reloads_refused_total",
		"Of these, refused: the files have mistakes.", NULL, &r->counters.refused);
}
