#include "fault/story.h"

#include <string.h>

#include "lib/must.h"
#include "store/chore.h"

enum { FIRST_BATCH = 5, LARGE = 10, KEYED = 11, TOGETHER = 12, LATE = 20, LATE_COUNT = 12 };

/* `of` has been told that it became `then`, or something went wrong on the way. */
static void note(struct story *s, uint64_t of, enum story_may then, enum err err)
{
	if (err == ERR_OK)
		s->may[of] = then;
	else
		s->may[of] |= then;
	s->failures += err == ERR_OK ? 0 : 1;
}

/* ---- one chore after another, alone or together ---- */

struct step {
	struct chore chore;
	struct story *story;
	uint64_t n;
	struct outbox_added added;
};

static struct step *step_of(struct chore *c)
{
	return container_of(c, struct step, chore);
}

static enum err run_add(struct chore *c)
{
	static char large[40000];
	struct step *step = step_of(c);
	struct message m = rig_message(step->n);
	struct digest digest = rig_digest(step->n);

	if (step->n == LARGE)
		m.body = (struct span){ .at = memset(large, 'l', sizeof(large)),
			.len = sizeof(large) };
	return outbox_add(&step->story->rig->outbox, span_of(""), &m, &digest, &rig_no_limits,
		&step->added);
}

static enum err run_add_keyed(struct chore *c)
{
	struct step *step = step_of(c);
	struct idem_claim claim = { .key = span_of("k"),
		.digest = rig_digest(step->n),
		.now_unix_ms = RIG_NOW_MS,
		.until_unix_ms = RIG_NOW_MS + 1000 };
	struct id id = rig_message(step->n).id;
	enum idem_verdict verdict;
	enum err err = idem_claim(&step->story->rig->idem, &claim, &id, &verdict);

	return err != ERR_OK ? err : run_add(c);
}

static enum err run_outcome_and_result(struct chore *c)
{
	struct step *step = step_of(c);
	struct inbox_row row = { .id = rig_message(step->n).id,
		.outcome = INBOX_DONE,
		.until_unix_ms = RIG_NOW_MS + 1000,
		.digest = rig_digest(step->n),
		.op = "order.place" };
	enum err err = inbox_put(&step->story->rig->inbox, span_of("web1"), &row);

	return err != ERR_OK ? err : run_add(c);
}

static enum err run_remove(struct chore *c)
{
	struct step *step = step_of(c);
	struct outbox_range range = { .lo = step->added.seq, .hi = step->added.seq };
	struct outbox_end end = { .outcome = SENT_DONE,
		.reason = span_of(""),
		.now_unix_ms = RIG_NOW_MS,
		.keep_ms = 1000 };
	uint64_t removed;

	return outbox_remove(&step->story->rig->outbox, span_of(""), &range, 1, &end, &removed);
}

static enum err run_park(struct chore *c)
{
	struct step *step = step_of(c);

	return outbox_park(
		&step->story->rig->outbox, span_of(""), step->added.seq, span_of("why"));
}

static enum err live_one(struct story *s, struct step *step, chore_fn run)
{
	struct node one;

	list_init(&one);
	step->chore.run = run;
	list_append(&one, &step->chore.node);
	chore_run_all(&s->rig->db, &one);
	return step->chore.status;
}

static enum err live_add(struct story *s, uint64_t n, chore_fn run, struct step *step)
{
	*step = (struct step){ .story = s, .n = n };
	enum err err = live_one(s, step, run);

	note(s, n, STORY_PENDING, err);
	return err;
}

static void live_batch(struct story *s, struct step *steps)
{
	struct node all;

	list_init(&all);
	for (uint64_t n = 0; n < FIRST_BATCH; n++) {
		steps[n] = (struct step){ .story = s, .n = n, .chore.run = run_add };
		list_append(&all, &steps[n].chore.node);
	}
	chore_run_all(&s->rig->db, &all);
	for (uint64_t n = 0; n < FIRST_BATCH; n++)
		note(s, n, STORY_PENDING, steps[n].chore.status);
}

/* Only what was told to be pending can be ended. */
static void live_end(struct story *s, struct step *step, chore_fn run, enum story_may then)
{
	if (step->chore.status == ERR_OK)
		note(s, step->n, then, live_one(s, step, run));
}

static void live_open(struct story *s)
{
	struct step steps[FIRST_BATCH];
	struct step step;

	live_batch(s, steps);
	live_end(s, &steps[1], run_remove, STORY_ENDED);
	live_end(s, &steps[2], run_park, STORY_PARKED);
	(void)live_add(s, LARGE, run_add, &step);
	(void)live_add(s, KEYED, run_add_keyed, &step);
	enum err err = live_add(s, TOGETHER, run_outcome_and_result, &step);

	if (err == ERR_OK)
		s->may_be_inbox = STORY_ENDED;
	else
		s->may_be_inbox |= STORY_ENDED;
	s->rig->db.tidy_at_pages = 1;
	(void)!db_tidy(&s->rig->db);
	for (uint64_t n = LATE; n < LATE + LATE_COUNT; n++)
		(void)live_add(s, n, run_add, &step);
}

void story_live(struct story *s, struct rig *rig)
{
	*s = (struct story){ .rig = rig, .may_be_inbox = STORY_ABSENT };
	for (int n = 0; n < STORY_MESSAGES; n++)
		s->may[n] = STORY_ABSENT;
	if (rig_try_open(rig) != ERR_OK) {
		s->failures++;
		return;
	}
	live_open(s);
	rig_close(rig);
}

/* ---- what is found ---- */

static unsigned find(struct rig *rig, uint64_t n)
{
	struct id id = rig_message(n).id;
	struct sent_row sent;
	struct outbox_row *row;
	enum err err = outbox_look(&rig->outbox, span_of(""), &id, &row);

	if (err == ERR_OK) {
		unsigned found = row->state == OUTBOX_PENDING ? STORY_PENDING : STORY_PARKED;

		outbox_row_free(row);
		return found;
	}
	if (err != ERR_NOT_FOUND)
		must_fail("looking for %llu: %s", (unsigned long long)n, err_text(err));
	err = sent_look(&rig->sent, span_of(""), &id, &sent);
	return err == ERR_OK ? STORY_ENDED : STORY_ABSENT;
}

static unsigned find_in_inbox(struct rig *rig)
{
	struct id id = rig_message(TOGETHER).id;
	struct inbox_row row;
	enum err err = inbox_look(&rig->inbox, span_of("web1"), &id, &row);

	return err == ERR_OK ? STORY_ENDED : STORY_ABSENT;
}

void story_check(const struct story *s, const char *after_what, long n)
{
	rig_check(s->rig);
	for (uint64_t i = 0; i < STORY_MESSAGES; i++) {
		unsigned found = find(s->rig, i);

		if ((found & s->may[i]) == 0)
			must_fail("%s at %ld: message %llu is %u, may be %u", after_what, n,
				(unsigned long long)i, found, s->may[i]);
	}
	unsigned inbox = find_in_inbox(s->rig);

	if ((inbox & s->may_be_inbox) == 0)
		must_fail("%s at %ld: the inbox row is %u", after_what, n, inbox);
	/* Outcome and result came together. */
	if ((inbox == STORY_ENDED) != (find(s->rig, TOGETHER) == STORY_PENDING))
		must_fail("%s at %ld: outcome without result", after_what, n);
}
