#include "message/relay.h"

#include "base/bug.h"

enum {
	DUE_AT_ONCE = 1024,    /* rows that one relay_now() wakes; the rest is due at once */
	REMOVE_AT_ONCE = 1024, /* rows of one order */
	FETCHES = 64,          /* bodies that are read at the same time */
	AGAIN_AT_ONCE = 3,     /* a row that is lost more often waits before it goes */
	AGAIN_FIRST_US = 100 * 1000,
	AGAIN_LONGEST_US = 30 * 1000 * 1000,
	REFUSALS_AT_ONCE = 3, /* a row that is refused more often lets others try */
	REFUSED_FIRST_US = 1000 * 1000,
	REFUSED_LONGEST_US = 10 * 1000 * 1000,
	READ_FIRST_US = 1000 * 1000,
	READ_LONGEST_US = 60 * 1000 * 1000,
};

const struct relay_config relay_defaults = {
	.window = 256,
	.ahead_rows = 1024,
	.ahead_bytes = MIB(8),
	.unreceipted = 65536,
	.resend_after_us = UINT64_C(30) * 1000 * 1000,
	.resend_longest_us = UINT64_C(600) * 1000 * 1000,
	.held_after_us = UINT64_C(45) * 1000 * 1000,
	.life_us = UINT64_C(30) * 1000 * 1000,
};

static int compare_number(const struct relay_row *a, const struct relay_row *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

static int compare_key(const struct relay_row *a, const struct relay_row *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

static int compare_due(const struct relay_row *a, const struct relay_row *b)
{
	if (a->due_us != b->due_us)
		return a->due_us < b->due_us ? -1 : 1;
	return compare_number(a, b);
}

RB_GENERATE_STATIC(relay_numbers, relay_row, by_number, compare_number)
RB_GENERATE_STATIC(relay_keys, relay_row, by_key, compare_key)
RB_GENERATE_STATIC(relay_queue, relay_row, queued, compare_due)

/* splitmix64: good enough for jitter. */
static uint64_t next_random(struct relay *r)
{
	uint64_t z = r->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* first_us doubled `times` times, at most longest_us, and up to a quarter more. */
static uint64_t wait_us(struct relay *r, uint64_t first_us, uint64_t longest_us, unsigned times)
{
	uint64_t us = first_us;

	while (times-- > 0 && us < longest_us)
		us *= 2;
	if (us > longest_us)
		us = longest_us;
	return us + next_random(r) % (us / 4 + 1);
}

/* ---- states: one function leaves, one enters ---- */

static bool is_at_border(const struct relay_row *row)
{
	return row->state == RELAY_SENT || row->state == RELAY_HELD ||
	       row->state == RELAY_OVERTAKEN;
}

static bool is_in_hands(const struct relay_row *row)
{
	return row->state == RELAY_FLYING || row->state == RELAY_FETCHING;
}

/* Those that went before have a queue of their own: what is new waits when too many are out. */
static struct relay_queue *ready_queue(struct relay *r, const struct relay_row *row)
{
	return row->turn == 0 ? &r->ready : &r->again;
}

static void leave(struct relay *r, struct relay_row *row)
{
	switch (row->state) {
	case RELAY_OUT:
		BUG_ON(row->state == RELAY_OUT);
		break;
	case RELAY_BEHIND:
		r->waiting--;
		break;
	case RELAY_READY:
		r->waiting--;
		RB_REMOVE(relay_queue, ready_queue(r, row), row);
		break;
	case RELAY_RESTING:
		r->waiting--;
		RB_REMOVE(relay_queue, &r->resting, row);
		break;
	case RELAY_FETCHING:
		r->waiting--;
		r->fetching--;
		r->body_bytes -= row->bytes;
		break;
	case RELAY_FLYING:
		r->flying--;
		list_drop(&row->listed);
		break;
	case RELAY_SENT:
		r->at_border--;
		list_drop(&row->listed);
		break;
	case RELAY_OVERTAKEN:
	case RELAY_HELD:
		r->at_border--;
		RB_REMOVE(relay_queue, &r->away, row);
		list_drop(&row->listed);
		break;
	case RELAY_ENDED:
		r->ended_count--;
		list_drop(&row->listed);
		break;
	}
	row->state = RELAY_OUT;
}

static void enter(struct relay *r, struct relay_row *row, enum relay_state state)
{
	BUG_ON(row->state != RELAY_OUT);
	row->state = state;
	switch (state) {
	case RELAY_OUT:
		break;
	case RELAY_BEHIND:
		r->waiting++;
		break;
	case RELAY_READY:
		r->waiting++;
		row->due_us = 0;
		RB_INSERT(relay_queue, ready_queue(r, row), row);
		break;
	case RELAY_RESTING:
		r->waiting++;
		RB_INSERT(relay_queue, &r->resting, row);
		break;
	case RELAY_FETCHING:
		r->waiting++;
		r->fetching++;
		r->body_bytes += row->bytes; /* it has its room */
		break;
	case RELAY_FLYING:
		r->flying++;
		list_append(&r->flown, &row->listed);
		break;
	case RELAY_SENT:
		BUG_ON(state == RELAY_SENT); /* become_sent() */
		break;
	case RELAY_OVERTAKEN:
	case RELAY_HELD:
		r->at_border++;
		RB_INSERT(relay_queue, &r->away, row);
		list_append(&r->distant, &row->listed);
		break;
	case RELAY_ENDED:
		r->ended_count++;
		list_append(&r->ended, &row->listed);
		break;
	}
}

/* Where a row waits that wants to go (R2). */
static void place(struct relay *r, struct relay_row *row)
{
	bool is_behind = row->before != NULL && !is_at_border(row->before);

	enter(r, row, is_behind ? RELAY_BEHIND : RELAY_READY);
}

static void rest(struct relay *r, struct relay_row *row, uint64_t us)
{
	row->due_us = r->now_us + us;
	enter(r, row, RELAY_RESTING);
}

/* The one before `next` of its key has come to the border, has to go again, or is gone. */
static void place_follower(struct relay *r, struct relay_row *next)
{
	if (next == NULL || (next->state != RELAY_BEHIND && next->state != RELAY_READY))
		return;
	leave(r, next);
	place(r, next);
}

/* ---- keys ---- */

static void chain(struct relay *r, struct relay_row *row)
{
	row->before = row->behind = NULL;
	row->last = row;
	if (row->key == 0)
		return;
	struct relay_row *first = RB_INSERT(relay_keys, &r->keys, row);

	if (first == NULL)
		return;
	row->before = first->last;
	first->last->behind = row;
	first->last = row;
}

static void unchain(struct relay *r, struct relay_row *row)
{
	struct relay_row *next = row->behind;

	if (row->key == 0)
		return;
	if (row->before == NULL) {
		RB_REMOVE(relay_keys, &r->keys, row);
		if (next != NULL) {
			next->before = NULL;
			next->last = row->last;
			RB_INSERT(relay_keys, &r->keys, next);
		}
	} else {
		row->before->behind = next;
		if (next != NULL)
			next->before = row->before;
		else
			RB_FIND(relay_keys, &r->keys, row)->last = row->before;
	}
	row->before = row->behind = NULL;
	place_follower(r, next);
}

/* ---- in and out ---- */

static void forget_body(struct relay *r, struct relay_row *row)
{
	if (row->has_body)
		r->body_bytes -= row->bytes;
	row->has_body = false;
}

static void take_in(struct relay *r, struct relay_row *row)
{
	row->state = RELAY_OUT;
	row->has_body = true;
	row->is_foreign = row->seq <= r->start_seq;
	row->has_ended = false;
	row->ending = RELAY_NOTHING;
	row->outcome = RECEIPT_HELD;
	row->number = ++r->numbers;
	row->turn = row->due_us = row->said = 0;
	row->tries = row->refusals = 0;
	list_init(&row->listed);
	r->body_bytes += row->bytes;
	r->loaded_seq = row->seq;
	RB_INSERT(relay_numbers, &r->rows, row);
	chain(r, row);
	place(r, row);
}

/* Out of all states already. */
static void drop(struct relay *r, struct relay_row *row)
{
	if (row->turn > 0)
		r->begun--;
	RB_REMOVE(relay_numbers, &r->rows, row);
	unchain(r, row);
	forget_body(r, row);
}

static void set_ending(
	struct relay_row *row, enum relay_order_kind ending, enum receipt_state outcome)
{
	if (row->has_ended)
		return;
	row->has_ended = true;
	row->ending = ending;
	row->outcome = outcome;
}

/* It has ended; if it is in its owner's hands, it leaves as soon as he answers. */
static void end(struct relay *r, struct relay_row *row, enum relay_order_kind ending,
	enum receipt_state outcome)
{
	set_ending(row, ending, outcome);
	if (is_in_hands(row))
		return;
	leave(r, row);
	drop(r, row);
	enter(r, row, RELAY_ENDED);
}

/* Takes a row back from its owner's hands.
 * Returns: true when it had ended there; else it is out of all states. */
static bool take_back(struct relay *r, struct relay_row *row, enum relay_state from)
{
	BUG_ON(row->state != from);
	leave(r, row);
	if (!row->has_ended)
		return false;
	drop(r, row);
	enter(r, row, RELAY_ENDED);
	return true;
}

void relay_init(struct relay *r, const struct relay_config *config, uint64_t tail_seq)
{
	BUG_ON(config->window == 0 || config->ahead_rows == 0 || config->unreceipted == 0);
	BUG_ON(config->resend_after_us == 0 || config->held_after_us == 0);
	BUG_ON(config->epoch == 0);
	*r = (struct relay){
		.config = *config,
		.random = config->seed,
		.start_seq = tail_seq,
		.tail_seq = tail_seq,
		.stall_wait_us = config->resend_after_us,
	};
	pace_init(&r->pace, config->window);
	RB_INIT(&r->rows);
	RB_INIT(&r->keys);
	RB_INIT(&r->ready);
	RB_INIT(&r->again);
	RB_INIT(&r->resting);
	RB_INIT(&r->away);
	list_init(&r->flown);
	list_init(&r->distant);
	list_init(&r->ended);
}

struct relay_row *relay_take(struct relay *r)
{
	struct relay_row *row = RB_MIN(relay_numbers, &r->rows);

	if (row != NULL) {
		leave(r, row);
		drop(r, row);
		return row;
	}
	if (list_empty(&r->ended))
		return NULL;
	row = container_of(r->ended.next, struct relay_row, listed);
	leave(r, row);
	return row;
}

/* ---- what was sent and has to go again ---- */

/* The other side has come further, or everything begins anew: a stall counts from here. */
static void restart_stall(struct relay *r)
{
	r->stall_wait_us = r->config.resend_after_us;
	r->stall_at_us = r->now_us + wait_us(r, r->stall_wait_us, r->stall_wait_us, 0);
}

static void send_again(struct relay *r, struct relay_row *row)
{
	BUG_ON(!is_at_border(row));
	leave(r, row);
	row->tries++;
	if (row->tries > AGAIN_AT_ONCE)
		rest(r, row,
			wait_us(r, AGAIN_FIRST_US, AGAIN_LONGEST_US,
				row->tries - AGAIN_AT_ONCE));
	else
		place(r, row);
	place_follower(r, row->behind);
}

static void become_distant(struct relay *r, struct relay_row *row, enum relay_state state)
{
	uint64_t us = r->config.held_after_us;

	if (state == RELAY_OVERTAKEN)
		us = wait_us(
			r, r->config.resend_after_us, r->config.resend_longest_us, row->tries);
	leave(r, row);
	row->due_us = r->lived_us + us;
	enter(r, row, state);
}

static bool is_alive(const struct relay *r)
{
	return r->now_us < r->life_until_us;
}

/* What is asked after when nobody says anything: the first that nobody has come to; if the other
 * side is gone altogether, the first of those that it had. */
static struct relay_row *probe_of(const struct relay *r)
{
	list_each (n, &r->flown) {
		struct relay_row *row = container_of(n, struct relay_row, listed);

		if (row->state == RELAY_SENT)
			return row;
	}
	if (is_alive(r) || list_empty(&r->distant))
		return NULL;
	return container_of(r->distant.next, struct relay_row, listed);
}

/* One row goes again: if it is seen, then all that went before it and were not are lost. */
static void probe(struct relay *r)
{
	struct relay_row *row = probe_of(r);

	r->stall_at_us = r->now_us + wait_us(r, r->stall_wait_us, r->stall_wait_us, 0);
	if (row == NULL)
		return;
	if (r->stall_wait_us < r->config.resend_longest_us / 2)
		r->stall_wait_us *= 2;
	else
		r->stall_wait_us = r->config.resend_longest_us;
	r->stall_at_us = r->now_us + wait_us(r, r->stall_wait_us, r->stall_wait_us, 0);
	r->counters.probes++;
	row->tries = 0;
	send_again(r, row);
}

/* ---- time ---- */

static bool is_stall_due(const struct relay *r)
{
	return r->is_open && !r->is_blocked && r->at_border > 0 && r->now_us >= r->stall_at_us;
}

void relay_now(struct relay *r, uint64_t now_us, uint64_t unix_us)
{
	unsigned budget = DUE_AT_ONCE;
	uint64_t lived_to_us = now_us < r->life_until_us ? now_us : r->life_until_us;

	if (r->is_open && lived_to_us > r->now_us)
		r->lived_us += lived_to_us - r->now_us;
	if (now_us > r->now_us)
		r->now_us = now_us;
	r->unix_us = unix_us;
	for (; budget > 0; budget--) {
		struct relay_row *row = RB_MIN(relay_queue, &r->resting);

		if (row == NULL || row->due_us > r->now_us)
			break;
		leave(r, row);
		place(r, row);
	}
	for (; budget > 0; budget--) {
		struct relay_row *row = RB_MIN(relay_queue, &r->away);

		if (row == NULL || row->due_us > r->lived_us)
			break;
		r->counters.overdue++;
		send_again(r, row);
	}
	if (is_stall_due(r))
		probe(r);
}

static uint64_t earlier(uint64_t a_us, uint64_t b_us)
{
	return a_us < b_us ? a_us : b_us;
}

static bool can_expire(const struct relay_row *row)
{
	return row->expires_unix_us != 0 && row->turn == 0 && !row->is_foreign;
}

static struct relay_row *first_of(const struct relay_queue *queue)
{
	struct relay_queue same = *queue; /* the macro wants to be able to change it */

	return RB_MIN(relay_queue, &same);
}

static uint64_t link_wake_us(const struct relay *r)
{
	uint64_t wake_us = UINT64_MAX;
	const struct relay_row *away = first_of(&r->away);

	if (!r->is_open)
		return UINT64_MAX;
	if (away != NULL) {
		uint64_t left_us = away->due_us > r->lived_us ? away->due_us - r->lived_us : 0;

		if (left_us == 0 || r->now_us + left_us <= r->life_until_us)
			wake_us = r->now_us + left_us;
	}
	if (r->is_blocked)
		return wake_us;
	if (r->at_border > 0)
		wake_us = earlier(wake_us, r->stall_at_us);
	if ((!RB_EMPTY(&r->ready) || !RB_EMPTY(&r->again)) && r->pace.resume_at_us > r->now_us)
		wake_us = earlier(wake_us, r->pace.resume_at_us);
	return wake_us;
}

uint64_t relay_wake_us(const struct relay *r)
{
	const struct relay_row *ready = first_of(&r->ready);
	const struct relay_row *resting = first_of(&r->resting);
	uint64_t wake_us = link_wake_us(r);

	if (resting != NULL)
		wake_us = earlier(wake_us, resting->due_us);
	if (r->loaded_seq < r->tail_seq && r->load_at_us > r->now_us)
		wake_us = earlier(wake_us, r->load_at_us);
	if (ready != NULL && can_expire(ready) && ready->expires_unix_us > r->unix_us)
		wake_us = earlier(wake_us, r->now_us + (ready->expires_unix_us - r->unix_us));
	return wake_us;
}

/* ---- the outbox ---- */

bool relay_put(struct relay *r, struct relay_row *row)
{
	BUG_ON(row->seq <= r->tail_seq);
	bool is_caught_up = !r->is_loading && r->loaded_seq == r->tail_seq;

	r->tail_seq = row->seq;
	if (!is_caught_up || r->waiting >= r->config.ahead_rows ||
		(r->waiting > 0 && r->body_bytes + row->bytes > r->config.ahead_bytes))
		return false;
	take_in(r, row);
	return true;
}

void relay_grown(struct relay *r, uint64_t tail_seq)
{
	if (tail_seq > r->tail_seq)
		r->tail_seq = tail_seq;
}

void relay_load(struct relay *r, struct relay_row *row)
{
	BUG_ON(!r->is_loading || row->seq <= r->loaded_seq || row->seq > r->tail_seq);
	take_in(r, row);
}

void relay_loaded(struct relay *r, uint64_t through_seq)
{
	BUG_ON(!r->is_loading || through_seq < r->loaded_seq || through_seq > r->tail_seq);
	r->is_loading = false;
	r->load_failures = 0;
	r->loaded_seq = through_seq;
}

void relay_load_failed(struct relay *r)
{
	BUG_ON(!r->is_loading);
	r->is_loading = false;
	r->load_at_us = r->now_us +
			wait_us(r, READ_FIRST_US, READ_LONGEST_US, r->load_failures++);
}

bool relay_fetched(struct relay *r, struct relay_row *row)
{
	if (take_back(r, row, RELAY_FETCHING))
		return false;
	place(r, row);
	/* The one before it has to go again first; bodies that wait are kept while there is
	 * room for them. */
	if (row->state == RELAY_BEHIND && r->body_bytes + row->bytes > r->config.ahead_bytes)
		return false;
	row->has_body = true;
	r->body_bytes += row->bytes;
	return true;
}

void relay_fetch_failed(struct relay *r, struct relay_row *row)
{
	if (!take_back(r, row, RELAY_FETCHING))
		rest(r, row, wait_us(r, READ_FIRST_US, READ_FIRST_US, 0));
}

void relay_vanished(struct relay *r, struct relay_row *row)
{
	BUG_ON(row->state != RELAY_FETCHING);
	leave(r, row);
	drop(r, row);
}

/* ---- the link ---- */

void relay_open(struct relay *r)
{
	r->is_open = true;
	r->is_blocked = false;
	pace_restart(&r->pace);
	restart_stall(r);
}

void relay_lost(struct relay *r)
{
	r->is_open = false;
}

void relay_blocked(struct relay *r)
{
	r->is_blocked = true;
}

void relay_unblocked(struct relay *r)
{
	r->is_blocked = false;
	restart_stall(r);
}

/* The place in the list of turns is kept. */
static void become_sent(struct relay *r, struct relay_row *row)
{
	row->state = RELAY_SENT;
	r->flying--;
	if (r->at_border++ == 0)
		restart_stall(r);
}

void relay_confirmed(struct relay *r, struct relay_row *row)
{
	BUG_ON(row->state != RELAY_FLYING);
	r->counters.confirmed++;
	row->refusals = 0;
	pace_confirmed(&r->pace, r->now_us);
	forget_body(r, row);
	if (row->has_ended && take_back(r, row, RELAY_FLYING))
		return;
	become_sent(r, row);
	place_follower(r, row->behind);
}

/* It did not get there. */
static void go_back(struct relay *r, struct relay_row *row)
{
	if (take_back(r, row, RELAY_FLYING))
		return;
	if (row->refusals > REFUSALS_AT_ONCE)
		rest(r, row,
			wait_us(r, REFUSED_FIRST_US, REFUSED_LONGEST_US,
				row->refusals - REFUSALS_AT_ONCE - 1));
	else
		place(r, row);
}

void relay_nacked(struct relay *r, struct relay_row *row)
{
	r->counters.refused++;
	row->refusals++;
	pace_refused(&r->pace, r->now_us, next_random(r));
	go_back(r, row);
}

void relay_returned(struct relay *r, struct relay_row *row)
{
	r->counters.returned++;
	pace_unroutable(&r->pace, r->now_us, next_random(r));
	go_back(r, row);
}

void relay_unsure(struct relay *r, struct relay_row *row)
{
	r->counters.unsure++;
	go_back(r, row);
}

void relay_unsent(struct relay *r, struct relay_row *row)
{
	pace_choked(&r->pace, r->now_us);
	go_back(r, row);
}

void relay_unfit(struct relay *r, struct relay_row *row, enum receipt_state why)
{
	BUG_ON(receipt_state_fate(why) != RECEIPT_PARKS);
	set_ending(row, RELAY_PARK, why);
	BUG_ON(!take_back(r, row, RELAY_FLYING));
}

/* ---- the other side ---- */

void relay_alive(struct relay *r)
{
	r->life_until_us = r->now_us + r->config.life_us;
}

void relay_calls_slow(struct relay *r)
{
	pace_slow(&r->pace, r->now_us);
}

void relay_calls_fast(struct relay *r)
{
	pace_fast(&r->pace);
}

/* A row that never went can neither have ended nor be held, whatever the other side says. One
 * that is about to go again, its body in hand, goes: it is a copy then. */
static void apply(struct relay *r, struct relay_row *row, enum receipt_state state)
{
	if (row->turn == 0)
		return;
	row->said = r->counters.receipts;
	if (receipt_state_fate(state) == RECEIPT_ENDS)
		end(r, row, RELAY_REMOVE, state);
	else if (receipt_state_fate(state) == RECEIPT_PARKS)
		end(r, row, RELAY_PARK, state);
	else if (!is_in_hands(row) && !row->has_body) {
		become_distant(r, row, RELAY_HELD);
		row->tries = 0;
		place_follower(r, row->behind);
	}
}

static void apply_run(struct relay *r, const struct receipt_run *run)
{
	struct relay_row first = { .number = run->first };
	struct relay_row *row = RB_NFIND(relay_numbers, &r->rows, &first);

	while (row != NULL && row->number <= run->last) {
		struct relay_row *next = RB_NEXT(relay_numbers, &r->rows, row);

		apply(r, row, run->state);
		row = next;
	}
}

/* Is the row one that this receipt speaks of, and does not name? */
static bool is_left_out(
	const struct relay *r, const struct receipt *receipt, const struct relay_row *row)
{
	return row->said != r->counters.receipts && row->number >= receipt->seq_from &&
	       row->number <= receipt->seq_through;
}

/* What went before something that has been seen, and was not, has been lost: a lane keeps its
 * order. Of what went before the other side began to look nothing is known. */
static void find_missing(struct relay *r, const struct receipt *receipt, struct node *missing)
{
	list_init(missing);
	list_each_safe (n, &r->flown) {
		struct relay_row *row = container_of(n, struct relay_row, listed);

		if (row->turn > receipt->turn_through)
			break;
		if (row->state != RELAY_SENT || !is_left_out(r, receipt, row))
			continue;
		if (row->turn < receipt->turn_from) {
			become_distant(r, row, RELAY_OVERTAKEN);
			continue;
		}
		list_drop(&row->listed);
		list_append(missing, &row->listed);
	}
	list_each_safe (n, &r->distant) {
		struct relay_row *row = container_of(n, struct relay_row, listed);

		if (row->turn < receipt->turn_from || row->turn > receipt->turn_through ||
			!is_left_out(r, receipt, row))
			continue;
		list_drop(&row->listed);
		list_append(missing, &row->listed);
	}
}

/* A row that arrived was put back if the one that it names is not there: whoever had that one,
 * this other side has not. */
static void send_missing(struct relay *r, const struct receipt *receipt, struct relay_row *row)
{
	while (row != NULL && is_at_border(row) && row->turn <= receipt->turn_through &&
		is_left_out(r, receipt, row)) {
		struct relay_row *before = row->before;

		r->counters.gaps++;
		send_again(r, row);
		row = before;
	}
}

static void apply_claim(struct relay *r, const struct receipt *receipt)
{
	struct node missing;

	if (receipt->turn_through == 0)
		return;
	find_missing(r, receipt, &missing);
	while (!list_empty(&missing))
		send_missing(r, receipt, container_of(missing.next, struct relay_row, listed));
}

void relay_receipt(struct relay *r, const struct receipt *receipt)
{
	uint64_t seen_turn = receipt->turn_through;

	relay_alive(r);
	if (receipt->epoch != r->config.epoch) {
		r->counters.strangers++;
		return;
	}
	r->counters.receipts++;
	for (size_t i = 0; i < receipt->count; i++)
		apply_run(r, &receipt->runs[i]);
	apply_claim(r, receipt);
	if (seen_turn > r->turns)
		seen_turn = r->turns;
	if (seen_turn > r->seen_turn) {
		r->seen_turn = seen_turn;
		restart_stall(r);
	}
}

/* ---- orders ---- */

static bool goes_with(const struct relay_row *a, const struct relay_row *b)
{
	return b->ending == RELAY_REMOVE && b->number == a->number + 1 &&
	       b->outcome == a->outcome;
}

/* Rows that ended one after the other leave together. */
static void order_ending(struct relay *r, struct relay_order *out)
{
	struct relay_row *last = container_of(r->ended.next, struct relay_row, listed);

	leave(r, last);
	last->behind = NULL;
	*out = (struct relay_order){ .kind = (enum relay_order_kind)last->ending,
		.row = last,
		.count = 1,
		.outcome = last->outcome };
	while (out->kind == RELAY_REMOVE && out->count < REMOVE_AT_ONCE &&
		!list_empty(&r->ended)) {
		struct relay_row *next = container_of(r->ended.next, struct relay_row, listed);

		if (!goes_with(last, next))
			break;
		leave(r, next);
		next->behind = NULL;
		last->behind = next;
		last = next;
		out->count++;
	}
	if (out->kind == RELAY_REMOVE)
		r->counters.removed += out->count;
	else if (out->kind == RELAY_PARK)
		r->counters.parked++;
	else
		r->counters.expired++;
}

/* Only what nobody can have seen: of all others the other side says whether they were in time. */
static bool expire_first(struct relay *r)
{
	struct relay_row *row = RB_MIN(relay_queue, &r->ready);

	if (row == NULL || !can_expire(row) || row->expires_unix_us > r->unix_us)
		return false;
	end(r, row, RELAY_EXPIRE, RECEIPT_EXPIRED);
	return true;
}

static bool may_fetch(const struct relay *r, const struct relay_row *row)
{
	if (r->fetching == 0)
		return true;
	return r->fetching < FETCHES && r->body_bytes + row->bytes <= r->config.ahead_bytes;
}

/* The first in the order of the outbox; beyond what may be out, of those that are. */
static struct relay_row *next_to_go(const struct relay *r)
{
	struct relay_row *again = first_of(&r->again);
	struct relay_row *ready = r->begun >= r->config.unreceipted ? NULL
								    : first_of(&r->ready);

	if (ready == NULL || again == NULL)
		return ready == NULL ? again : ready;
	return ready->number < again->number ? ready : again;
}

static bool order_publish(struct relay *r, struct relay_order *out)
{
	struct relay_row *row = next_to_go(r);

	if (row == NULL || !r->is_open || r->is_blocked ||
		!pace_allows(&r->pace, r->flying + r->fetching, r->now_us))
		return false;
	if (!row->has_body && !may_fetch(r, row))
		return false;
	leave(r, row);
	if (!row->has_body) {
		enter(r, row, RELAY_FETCHING);
		*out = (struct relay_order){ .kind = RELAY_FETCH, .row = row };
		return true;
	}
	if (row->turn == 0)
		r->begun++;
	row->turn = ++r->turns;
	enter(r, row, RELAY_FLYING);
	r->counters.published++;
	*out = (struct relay_order){ .kind = RELAY_PUBLISH,
		.row = row,
		.prev = row->before == NULL ? NULL : &row->before->id };
	return true;
}

static bool order_load(struct relay *r, struct relay_order *out)
{
	if (r->is_loading || r->loaded_seq >= r->tail_seq || r->now_us < r->load_at_us ||
		r->waiting > r->config.ahead_rows / 2 ||
		r->body_bytes > r->config.ahead_bytes / 2)
		return false;
	r->is_loading = true;
	*out = (struct relay_order){ .kind = RELAY_LOAD,
		.after_seq = r->loaded_seq,
		.through_seq = r->tail_seq,
		.max_rows = r->config.ahead_rows - r->waiting,
		.max_bytes = r->config.ahead_bytes - r->body_bytes };
	return true;
}

bool relay_next(struct relay *r, struct relay_order *out)
{
	if (!list_empty(&r->ended) || expire_first(r)) {
		order_ending(r, out);
		return true;
	}
	if (order_publish(r, out) || order_load(r, out))
		return true;
	*out = (struct relay_order){ .kind = RELAY_NOTHING };
	return false;
}

size_t relay_rows(const struct relay *r)
{
	return r->waiting + r->flying + r->at_border + r->ended_count;
}

/* ---- for tests ---- */

struct tally {
	size_t waiting;
	size_t fetching;
	size_t flying;
	size_t at_border;
	size_t begun;
	size_t body_bytes;
};

static void check_row(const struct relay_row *row, struct tally *t)
{
	const struct relay_row *before = row->before;

	BUG_ON(row->state == RELAY_OUT || row->state == RELAY_ENDED);
	BUG_ON(before != NULL && (before->behind != row || before->number >= row->number ||
					 before->key != row->key));
	BUG_ON(row->state == RELAY_READY && before != NULL && !is_at_border(before));
	BUG_ON(row->state == RELAY_BEHIND && (before == NULL || is_at_border(before)));
	BUG_ON(is_at_border(row) && (row->turn == 0 || row->has_body || row->has_ended));
	BUG_ON(row->state == RELAY_FLYING && !row->has_body);
	if (row->state == RELAY_FLYING)
		t->flying++;
	else if (is_at_border(row))
		t->at_border++;
	else
		t->waiting++;
	if (row->state == RELAY_FETCHING)
		t->fetching++;
	if (row->turn > 0)
		t->begun++;
	if (row->state == RELAY_FETCHING || row->has_body)
		t->body_bytes += row->bytes;
}

void relay_check(const struct relay *r)
{
	struct relay_numbers rows = r->rows;
	struct tally t = { 0 };
	uint64_t turn = 0;
	struct relay_row *row;

	RB_FOREACH(row, relay_numbers, &rows)
	{
		check_row(row, &t);
	}
	BUG_ON(t.waiting != r->waiting || t.fetching != r->fetching || t.flying != r->flying);
	BUG_ON(t.at_border != r->at_border || t.begun != r->begun);
	BUG_ON(t.body_bytes != r->body_bytes);
	list_each (n, &r->flown) {
		row = container_of(n, struct relay_row, listed);
		BUG_ON(row->turn <= turn);
		turn = row->turn;
	}
}
