#include "message/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

enum { FIRST_ROOM = 16 };

/* There is always one more, of which something can be said. */
#define LEDGER_MAX_SEQ (RECEIPT_MAX_NUMBER - 1)

struct ledger_run {
	uint64_t first;
	uint64_t last;
	enum receipt_state state;
	bool is_unsaid;
};

const struct ledger_config ledger_defaults = {
	.outcomes = 64,
	.after_us = 50 * 1000,
	.apart_us = 5 * 1000,
	.refresh_us = 10 * 1000 * 1000,
	.max_runs = 4096,
};

void ledger_init(struct ledger *l, const struct ledger_config *config)
{
	BUG_ON(config->max_runs < LEDGER_MIN_RUNS || config->max_runs > LEDGER_MAX_RUNS);
	*l = (struct ledger){ .config = *config };
}

void ledger_fini(struct ledger *l)
{
	for (size_t i = 0; i < LEDGER_EPOCHS; i++)
		free(l->pages[i].runs);
	*l = (struct ledger){ 0 };
}

/* ---- pages ---- */

/* Which page is of this epoch; LEDGER_EPOCHS: none, and none is of 0. */
static size_t page_at(const struct ledger *l, uint64_t epoch)
{
	size_t at = 0;

	while (at < LEDGER_EPOCHS && (epoch == 0 || l->pages[at].epoch != epoch))
		at++;
	return at;
}

static bool is_known(const struct ledger *l, uint64_t epoch)
{
	return page_at(l, epoch) < LEDGER_EPOCHS;
}

/* The page of this epoch; for a new one the page that was not used for longest gives way. */
static struct ledger_page *page_of(struct ledger *l, uint64_t epoch, uint64_t now_us)
{
	struct ledger_page *oldest = &l->pages[0];

	BUG_ON(epoch == 0);
	for (size_t i = 0; i < LEDGER_EPOCHS; i++) {
		struct ledger_page *p = &l->pages[i];

		if (p->epoch == epoch) {
			p->used = ++l->uses;
			return p;
		}
		if (p->used < oldest->used)
			oldest = p;
	}
	free(oldest->runs);
	*oldest = (struct ledger_page){
		.epoch = epoch,
		.used = ++l->uses,
		.floor = 1,
		.told_at_us = now_us,
		.all_told_at_us = now_us,
	};
	return oldest;
}

/* ---- runs ---- */

/* The first run that ends at seq or later; run_count: there is none. */
static size_t find(const struct ledger_page *p, uint64_t seq)
{
	size_t low = 0;
	size_t high = p->run_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (p->runs[middle].last < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool covers(const struct ledger_page *p, size_t at, uint64_t seq)
{
	return at < p->run_count && p->runs[at].first <= seq && seq <= p->runs[at].last;
}

static void cut_out(struct ledger_page *p, size_t at)
{
	if (p->runs[at].state == RECEIPT_HELD)
		p->held_runs--;
	p->run_count--;
	memmove(&p->runs[at], &p->runs[at + 1], (p->run_count - at) * sizeof(*p->runs));
}

/* There is room. */
static void put_in(struct ledger_page *p, size_t at, struct ledger_run run)
{
	memmove(&p->runs[at + 1], &p->runs[at], (p->run_count - at) * sizeof(*p->runs));
	p->runs[at] = run;
	p->run_count++;
	if (run.state == RECEIPT_HELD)
		p->held_runs++;
}

/* What was said and is not held is forgotten first, the oldest of it; the sender can hear of it
 * again when it asks again, by sending it. */
static bool forget_one(struct ledger *l, struct ledger_page *p)
{
	for (size_t at = 0; at < p->run_count; at++) {
		const struct ledger_run *run = &p->runs[at];

		if (run->state == RECEIPT_HELD || run->is_unsaid)
			continue;
		if (p->floor <= run->last)
			p->floor = run->last + 1;
		cut_out(p, at);
		l->counters.forgotten++;
		return true;
	}
	return false;
}

/* Room for `more` runs: one row in the middle of another's run makes two of it. */
static enum err make_room(struct ledger *l, struct ledger_page *p, size_t more)
{
	while (p->run_count + more > l->config.max_runs) {
		if (!forget_one(l, p))
			return ERR_FULL;
	}
	if (p->run_count + more <= p->run_room)
		return ERR_OK;
	size_t room = p->run_room == 0 ? FIRST_ROOM : p->run_room * 2;
	struct ledger_run *runs = realloc(p->runs, room * sizeof(*runs));

	if (runs == NULL)
		return ERR_NOMEM;
	p->runs = runs;
	p->run_room = room;
	return ERR_OK;
}

/* Takes seq out of the run at `at`, which covers it; returns where a run of its own goes. */
static size_t carve(struct ledger_page *p, size_t at, uint64_t seq)
{
	struct ledger_run *run = &p->runs[at];

	if (run->first == run->last) {
		cut_out(p, at);
		return at;
	}
	if (run->first == seq) {
		run->first++;
		return at;
	}
	if (run->last == seq) {
		run->last--;
		return at + 1;
	}
	struct ledger_run right = *run;

	right.first = seq + 1;
	run->last = seq - 1;
	put_in(p, at + 1, right);
	return at + 1;
}

static bool joins(const struct ledger_page *p, size_t left)
{
	const struct ledger_run *run = &p->runs[left];

	return run[0].last + 1 == run[1].first && run[0].state == run[1].state;
}

static void join(struct ledger_page *p, size_t left)
{
	p->runs[left].last = p->runs[left + 1].last;
	p->runs[left].is_unsaid = p->runs[left].is_unsaid || p->runs[left + 1].is_unsaid;
	cut_out(p, left + 1);
}

static enum err set_state(
	struct ledger *l, struct ledger_page *p, uint64_t seq, enum receipt_state state)
{
	if (seq == 0 || seq > LEDGER_MAX_SEQ)
		return ERR_INPUT;
	enum err err = make_room(l, p, 2);

	if (err != ERR_OK)
		return err;
	size_t at = find(p, seq);

	if (covers(p, at, seq)) {
		if (p->runs[at].state == state) {
			p->runs[at].is_unsaid = true;
			return ERR_OK;
		}
		at = carve(p, at, seq);
	}
	put_in(p, at, (struct ledger_run){ seq, seq, state, true });
	if (at + 1 < p->run_count && joins(p, at))
		join(p, at);
	if (at > 0 && joins(p, at - 1))
		join(p, at - 1);
	return ERR_OK;
}

/* Nothing is known of it any more. If memory is short it goes on being held; the sender asks
 * after that when we are gone. */
static void forget_held(struct ledger *l, struct ledger_page *p, uint64_t seq)
{
	if (make_room(l, p, 1) != ERR_OK)
		return;
	size_t at = find(p, seq);

	if (covers(p, at, seq) && p->runs[at].state == RECEIPT_HELD)
		(void)carve(p, at, seq);
}

/* ---- facts ---- */

void ledger_restart(struct ledger *l)
{
	for (size_t i = 0; i < LEDGER_EPOCHS; i++) {
		struct ledger_page *p = &l->pages[i];
		size_t kept = 0;

		for (size_t at = 0; at < p->run_count; at++) {
			if (p->runs[at].state != RECEIPT_HELD)
				p->runs[kept++] = p->runs[at];
		}
		p->run_count = kept;
		p->held_runs = 0;
		p->turn_from = p->turn_through = 0;
	}
}

void ledger_meet(struct ledger *l, uint64_t epoch, uint64_t turn, uint64_t now_us)
{
	struct ledger_page *p = page_of(l, epoch, now_us);

	if (turn == 0 || turn > RECEIPT_MAX_NUMBER)
		return;
	if (p->turn_from == 0) {
		p->turn_from = p->turn_through = turn;
		return;
	}
	if (turn > p->turn_through + 1) {
		l->counters.gaps++;
		p->hurries = true;
	}
	if (turn > p->turn_through)
		p->turn_through = turn;
}

/* After the page of `epoch` has its place at most LEDGER_EPOCHS - 1 others are known. */
static void note_hold(
	const struct ledger *l, struct ledger_mark *mark, uint64_t epoch, uint64_t seq)
{
	size_t place = LEDGER_EPOCHS;

	for (size_t i = 0; i < LEDGER_EPOCHS; i++) {
		if (mark->as[i].epoch == epoch) {
			place = i;
			break;
		}
		if (!is_known(l, mark->as[i].epoch))
			place = i;
	}
	BUG_ON(place == LEDGER_EPOCHS);
	mark->as[place].epoch = epoch;
	mark->as[place].seq = seq;
}

enum err ledger_hold(struct ledger *l, struct ledger_mark *mark, uint64_t epoch, uint64_t seq,
	uint64_t now_us)
{
	enum err err = set_state(l, page_of(l, epoch, now_us), seq, RECEIPT_HELD);

	if (err == ERR_OK)
		note_hold(l, mark, epoch, seq);
	return err;
}

void ledger_end_held(
	struct ledger *l, struct ledger_mark *mark, enum receipt_state state, uint64_t now_us)
{
	for (size_t i = 0; i < LEDGER_EPOCHS; i++) {
		uint64_t epoch = mark->as[i].epoch;

		if (!is_known(l, epoch))
			continue;
		if (ledger_end(l, epoch, mark->as[i].seq, state, now_us) != ERR_OK)
			l->counters.untold++;
	}
	*mark = (struct ledger_mark){ 0 };
}

void ledger_let_go(struct ledger *l, struct ledger_mark *mark)
{
	for (size_t i = 0; i < LEDGER_EPOCHS; i++) {
		size_t at = page_at(l, mark->as[i].epoch);

		if (at < LEDGER_EPOCHS)
			forget_held(l, &l->pages[at], mark->as[i].seq);
	}
	*mark = (struct ledger_mark){ 0 };
}

enum err ledger_end(struct ledger *l, uint64_t epoch, uint64_t seq, enum receipt_state state,
	uint64_t now_us)
{
	struct ledger_page *p = page_of(l, epoch, now_us);

	BUG_ON(state == RECEIPT_HELD);
	enum err err = set_state(l, p, seq, state);

	if (err != ERR_OK)
		return err;
	if (p->unsaid++ == 0)
		p->unsaid_at_us = now_us;
	return ERR_OK;
}

void ledger_hurry(struct ledger *l, uint64_t epoch, uint64_t now_us)
{
	page_of(l, epoch, now_us)->hurries = true;
}

bool ledger_knows(const struct ledger *l, uint64_t epoch, uint64_t seq)
{
	size_t at = page_at(l, epoch);

	return at < LEDGER_EPOCHS && covers(&l->pages[at], find(&l->pages[at], seq), seq);
}

/* ---- receipts ---- */

static uint64_t due_us(const struct ledger *l, const struct ledger_page *p)
{
	uint64_t due = UINT64_MAX;

	if (p->epoch == 0)
		return UINT64_MAX;
	if (p->is_telling)
		return 0;
	if (p->hurries || p->unsaid >= l->config.outcomes)
		due = 0;
	else if (p->unsaid > 0)
		due = p->unsaid_at_us + l->config.after_us;
	if (p->held_runs > 0 && due > p->all_told_at_us + l->config.refresh_us)
		due = p->all_told_at_us + l->config.refresh_us;
	if (due < p->told_at_us + l->config.apart_us)
		due = p->told_at_us + l->config.apart_us;
	return due;
}

static void begin_telling(const struct ledger *l, struct ledger_page *p, uint64_t now_us)
{
	p->is_telling = true;
	p->tells_all = now_us >= p->all_told_at_us + l->config.refresh_us;
	if (p->tells_all)
		p->all_told_at_us = now_us;
	p->said_through = 0;
	p->unsaid = 0;
	p->hurries = false;
	p->told_at_us = now_us;
}

/* The runs behind said_through that one receipt takes, and the rows that it speaks of. */
static void take_piece(struct ledger_page *p, size_t at, struct receipt *out)
{
	bool is_claiming = at == p->run_count || p->runs[at].last >= p->floor;

	out->seq_from = p->said_through + 1;
	if (out->seq_from < p->floor && is_claiming)
		out->seq_from = p->floor;
	if (at < p->run_count && (!is_claiming || p->runs[at].first < out->seq_from))
		out->seq_from = p->runs[at].first;
	while (at < p->run_count && out->count < RECEIPT_MAX_RUNS) {
		struct ledger_run *run = &p->runs[at++];

		out->runs[out->count++] = (struct receipt_run){ run->first, run->last,
			run->state };
		run->is_unsaid = false;
		/* Below the floor there may be rows that were forgotten: no more than this
		 * one run can be spoken of. */
		if (!is_claiming)
			break;
	}
	out->seq_through = at < p->run_count || !is_claiming ? out->runs[out->count - 1].last
							     : RECEIPT_MAX_NUMBER;
}

static bool has_unsaid(const struct ledger_page *p, size_t at)
{
	for (size_t i = at; i < p->run_count && i < at + RECEIPT_MAX_RUNS; i++) {
		if (p->runs[i].is_unsaid)
			return true;
	}
	return false;
}

/* The next piece of what is being told; there always is one, the last. */
static void next_piece(struct ledger_page *p, struct receipt *out)
{
	bool is_worth = false;

	while (!is_worth) {
		size_t at = find(p, p->said_through + 1);
		/* Where nothing new is, nothing is said; but always how far we have come. */
		bool is_last = at + RECEIPT_MAX_RUNS >= p->run_count;

		is_worth = is_last || p->tells_all || has_unsaid(p, at);
		out->count = 0;
		take_piece(p, at, out);
		p->said_through = out->seq_through;
	}
	p->is_telling = p->said_through < RECEIPT_MAX_NUMBER;
}

bool ledger_next(struct ledger *l, uint64_t now_us, struct receipt *out)
{
	for (size_t i = 0; i < LEDGER_EPOCHS; i++) {
		struct ledger_page *p = &l->pages[i];

		if (due_us(l, p) > now_us)
			continue;
		if (!p->is_telling)
			begin_telling(l, p, now_us);
		out->epoch = p->epoch;
		out->turn_from = p->turn_from;
		out->turn_through = p->turn_through;
		next_piece(p, out);
		BUG_ON(!receipt_is_sound(out));
		l->counters.receipts++;
		return true;
	}
	return false;
}

uint64_t ledger_wake_us(const struct ledger *l)
{
	uint64_t wake_us = UINT64_MAX;

	for (size_t i = 0; i < LEDGER_EPOCHS; i++) {
		uint64_t page_us = due_us(l, &l->pages[i]);

		if (page_us < wake_us)
			wake_us = page_us;
	}
	return wake_us;
}
