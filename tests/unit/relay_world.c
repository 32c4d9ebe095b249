#include "unit/relay_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "message/ledger.h"
#include "message/relay.h"
#include "unit/random.h"

enum {
	ITEMS = 600,
	KEYS = 7,
	NODES = 2,
	WIRE = 512,  /* publishes on their way, in all */
	LANE = 4096, /* places; the lane is full long before */
	PREFETCH = 12,
	BACK = 64,      /* receipts on their way */
	WALL_US = 1000, /* the wall clock is so much ahead of the other */
	KIND_STEPS = 400000,
};

#define MS_US UINT64_C(1000)
#define SEC_US (1000 * MS_US)
#define KIND_MAX_US (UINT64_C(24) * 3600 * SEC_US)

/* A message of the lane. */
struct letter {
	unsigned item;
	int prev; /* item, or -1 */
	uint64_t epoch;
	uint64_t number;
	uint64_t turn;
};

/* A row, as the judge knows it. */
struct item {
	uint64_t key;
	uint64_t expires_us; /* wall; 0: never */
	bool is_unknown;     /* the nodes do not know its operation */
	bool is_on_disk;
	bool has_run;
	bool has_outcome;      /* some node has one, durably */
	bool was_judged;       /* some node said that it does not know it */
	bool has_ended;        /* at its sender */
	struct relay_row *row; /* in the relay's memory */
};

struct job {
	struct letter letter;
	struct ledger_mark mark;
};

struct node_side {
	bool inbox[ITEMS];
	enum receipt_state outcome[ITEMS];
	struct job jobs[PREFETCH];
	unsigned job_count;
	struct ledger ledger;
};

struct flight {
	struct letter letter;
	struct relay_row *row;
};

struct world {
	struct world_result *result;
	enum world_fault fault;
	uint64_t random;
	uint64_t now_us;
	bool is_kind;
	unsigned luck; /* which things go wrong: bits */

	struct item items[ITEMS];
	unsigned item_count;
	unsigned item_max;

	struct relay relay;
	uint64_t epoch;
	bool is_loading;
	struct relay_order load;
	bool is_open;
	struct relay_row *fetches[ITEMS];
	unsigned fetch_count;

	struct flight wire[WIRE];
	unsigned wire_count;
	struct letter lane[LANE];
	unsigned lane_count;
	unsigned lane_max;

	struct node_side nodes[NODES];
	unsigned active;

	struct buf back[BACK];
	unsigned back_count;
	struct receipt receipt;
};

static const char *const fault_texts[WORLD_FAULTS] = {
	[WORLD_RIGHT] = "nothing",
	[WORLD_REMOVES_ON_CONFIRM] = "rows leave on the confirm",
	[WORLD_FORGETS_ON_LOSS] = "what flew when the link broke is forgotten",
	[WORLD_TELLS_TOO_EARLY] = "receipts before outcomes",
	[WORLD_IGNORES_PREV] = "rows are taken before the one they follow",
	[WORLD_DEAF] = "no receipt arrives",
};

const char *world_fault_text(enum world_fault fault)
{
	return fault_texts[fault];
}

/* ---- luck and judgement ---- */

static uint64_t dice(struct world *w, uint64_t sides)
{
	return (next_random(&w->random) >> 11) % sides;
}

/* Something goes wrong, one time in `times`; never in a kind world. */
static bool is_unlucky(struct world *w, unsigned kind, uint64_t times)
{
	bool is_so = dice(w, times) == 0;

	if (!is_so || w->is_kind || (w->luck & 1u << kind) == 0)
		return false;
	w->result->faults++;
	return true;
}

enum {
	LUCK_NACK,
	LUCK_RETURN,
	LUCK_DROP,
	LUCK_REPEAT,
	LUCK_REORDER,
	LUCK_WIPE,
	LUCK_CUT,
	LUCK_CRASH,
	LUCK_NODE_CUT,
	LUCK_NODE_CRASH,
	LUCK_TAKEOVER,
	LUCK_RECEIPT_LOST,
	LUCK_RECEIPT_AGAIN,
	LUCK_READ,
	LUCK_RETRY,
	LUCK_BLOCKED,
	LUCK_AWAY,
	LUCKS,
};

static PRINTF_LIKE(2, 3) void fail(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->result->failure[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(w->result->failure, sizeof(w->result->failure), format, args);
	va_end(args);
}

static bool has_failed(const struct world *w)
{
	return w->result->failure[0] != '\0';
}

static uint64_t wall_us(const struct world *w)
{
	return w->now_us + WALL_US;
}

static bool is_late(const struct world *w, const struct item *item)
{
	return item->expires_us != 0 && item->expires_us <= wall_us(w);
}

/* It will not run any more, wherever it still is: it has, or it never can. */
static bool is_past(const struct world *w, const struct item *item)
{
	return item->has_run || item->has_outcome || item->has_ended || item->was_judged ||
	       is_late(w, item);
}

/* No row may run while an earlier one of its key still may. */
static void judge_run(struct world *w, unsigned i)
{
	for (unsigned e = 0; e < i; e++) {
		const struct item *earlier = &w->items[e];

		if (earlier->key == 0 || earlier->key != w->items[i].key)
			continue;
		if (!is_past(w, earlier))
			fail(w, "order: row %u ran before row %u of its key", i, e);
	}
	w->result->runs++;
	if (w->items[i].has_run)
		w->result->repeats++;
	w->items[i].has_run = true;
}

static void judge_end(struct world *w, const struct relay_order *order, unsigned i)
{
	const struct item *item = &w->items[i];

	if (item->has_ended || !item->is_on_disk)
		fail(w, "row %u ended twice", i);
	if (order->kind == RELAY_REMOVE && !item->has_outcome)
		fail(w, "lost: row %u was removed without an outcome", i);
	if (order->kind == RELAY_PARK && !item->was_judged)
		fail(w, "row %u was parked without a reason", i);
	if (order->kind == RELAY_EXPIRE && (item->has_run || item->has_outcome))
		fail(w, "row %u expired although somebody had it", i);
}

/* No row goes while the one before it of its key is on its way, or has yet to go. */
static void judge_publish(struct world *w, unsigned i)
{
	for (unsigned e = i; w->items[i].key != 0 && e-- > 0;) {
		const struct relay_row *before = w->items[e].row;

		if (w->items[e].key != w->items[i].key || w->items[e].has_ended ||
			before == NULL || before->state == RELAY_ENDED)
			continue;
		if (before->state < RELAY_SENT)
			fail(w, "row %u went while row %u before it was in state %u", i, e,
				before->state);
		return;
	}
}

static void judge_memory(struct world *w)
{
	size_t max = w->relay.config.unreceipted + w->relay.config.ahead_rows;

	if (relay_rows(&w->relay) > max)
		fail(w, "%zu rows in memory", relay_rows(&w->relay));
	if (w->relay.flying > w->relay.config.window)
		fail(w, "%u unconfirmed publishes", w->relay.flying);
	if (w->relay.body_bytes > 2 * w->relay.config.ahead_bytes + 1000)
		fail(w, "%zu bytes of bodies in memory", w->relay.body_bytes);
}

/* ---- the sender ---- */

static void begin_life(struct world *w)
{
	struct relay_config config = relay_defaults;

	config.epoch = ++w->epoch;
	config.seed = next_random(&w->random);
	config.window = 1 + (unsigned)dice(w, 32);
	config.ahead_rows = 1 + dice(w, 64);
	config.ahead_bytes = 100 * (1 + dice(w, 64));
	config.unreceipted = 1 + dice(w, 128);
	relay_init(&w->relay, &config, w->item_count);
	relay_now(&w->relay, w->now_us, wall_us(w));
	w->is_open = false;
	w->is_loading = false;
	w->fetch_count = 0;
}

static struct relay_row *row_of(struct world *w, unsigned i)
{
	struct relay_row *row = calloc(1, sizeof(*row));

	BUG_ON(row == NULL);
	row->seq = i + 1;
	row->key = w->items[i].key;
	row->bytes = 100;
	row->expires_unix_us = w->items[i].expires_us;
	memcpy(row->id.byte, &i, sizeof(i));
	w->items[i].row = row;
	return row;
}

static void drop_row(struct world *w, struct relay_row *row)
{
	w->items[row->seq - 1].row = NULL;
	free(row);
}

static void end_life(struct world *w)
{
	struct relay_row *row;

	while ((row = relay_take(&w->relay)) != NULL)
		drop_row(w, row);
	w->is_open = false;
}

static void accept_row(struct world *w)
{
	if (w->item_count == w->item_max)
		return;
	unsigned i = w->item_count++;
	struct item *item = &w->items[i];

	*item = (struct item){ .key = dice(w, KEYS), .is_on_disk = true };
	if (dice(w, 20) == 0)
		item->expires_us = wall_us(w) + dice(w, 20 * SEC_US);
	item->is_unknown = dice(w, 25) == 0;
	if (!relay_put(&w->relay, row_of(w, i)))
		drop_row(w, item->row);
}

static void forge_receipt(struct world *w, const struct relay_row *row)
{
	w->receipt = (struct receipt){ .epoch = w->epoch,
		.seq_from = row->number,
		.seq_through = row->number,
		.count = 1,
		.runs = { { row->number, row->number, RECEIPT_DONE } } };
	relay_receipt(&w->relay, &w->receipt);
}

static void answer_load(struct world *w)
{
	size_t count = 0;
	uint64_t through = w->load.through_seq;

	if (!w->is_loading)
		return;
	w->is_loading = false;
	if (is_unlucky(w, LUCK_READ, 4)) {
		relay_load_failed(&w->relay);
		return;
	}
	for (uint64_t seq = w->load.after_seq + 1; seq <= through; seq++) {
		if (!w->items[seq - 1].is_on_disk)
			continue;
		relay_load(&w->relay, row_of(w, (unsigned)seq - 1));
		if (++count == w->load.max_rows || count * 100 >= w->load.max_bytes)
			through = seq;
	}
	relay_loaded(&w->relay, through);
}

static void answer_fetch(struct world *w)
{
	if (w->fetch_count == 0)
		return;
	struct relay_row *row = w->fetches[--w->fetch_count];

	if (is_unlucky(w, LUCK_READ, 4))
		relay_fetch_failed(&w->relay, row);
	else
		(void)relay_fetched(&w->relay, row);
}

static void publish(struct world *w, const struct relay_order *order)
{
	unsigned i = (unsigned)order->row->seq - 1;
	struct letter letter = { .item = i,
		.prev = -1,
		.epoch = w->epoch,
		.number = order->row->number,
		.turn = order->row->turn };

	if (order->prev != NULL) {
		unsigned prev;

		memcpy(&prev, order->prev->byte, sizeof(prev));
		letter.prev = (int)prev;
	}
	judge_publish(w, i);
	w->result->published++;
	BUG_ON(w->wire_count == WIRE);
	w->wire[w->wire_count++] = (struct flight){ letter, order->row };
}

static void end_rows(struct world *w, const struct relay_order *order)
{
	struct relay_row *row = order->row;

	while (row != NULL) {
		struct relay_row *next = row->behind;
		unsigned i = (unsigned)row->seq - 1;

		judge_end(w, order, i);
		w->items[i].has_ended = true;
		w->items[i].is_on_disk = false;
		drop_row(w, row);
		row = next;
	}
}

static void carry_out(struct world *w)
{
	struct relay_order order;

	while (w->wire_count < WIRE && relay_next(&w->relay, &order)) {
		switch (order.kind) {
		case RELAY_NOTHING:
			break;
		case RELAY_PUBLISH:
			if (is_unlucky(w, LUCK_BLOCKED, 50)) {
				relay_unsent(&w->relay, order.row);
				return;
			}
			publish(w, &order);
			break;
		case RELAY_FETCH:
			w->fetches[w->fetch_count++] = order.row;
			break;
		case RELAY_LOAD:
			w->load = order;
			w->is_loading = true;
			break;
		case RELAY_REMOVE:
		case RELAY_EXPIRE:
		case RELAY_PARK:
			end_rows(w, &order);
			break;
		}
	}
}

/* ---- the broker ---- */

static void enqueue(struct world *w, const struct letter *letter)
{
	if (w->lane_count < LANE)
		w->lane[w->lane_count++] = *letter;
}

static void take_front(struct world *w, struct letter *out)
{
	*out = w->lane[0];
	w->lane_count--;
	memmove(&w->lane[0], &w->lane[1], w->lane_count * sizeof(w->lane[0]));
}

static void put_front(struct world *w, const struct letter *letter)
{
	if (w->lane_count == LANE)
		return;
	memmove(&w->lane[1], &w->lane[0], w->lane_count * sizeof(w->lane[0]));
	w->lane[0] = *letter;
	w->lane_count++;
}

/* The broker takes the first publish and answers it. */
static void broker_turn(struct world *w)
{
	if (w->wire_count == 0)
		return;
	struct flight f = w->wire[0];

	w->wire_count--;
	memmove(&w->wire[0], &w->wire[1], w->wire_count * sizeof(w->wire[0]));
	if (w->lane_count >= w->lane_max || is_unlucky(w, LUCK_NACK, 30)) {
		relay_nacked(&w->relay, f.row);
		return;
	}
	if (is_unlucky(w, LUCK_RETURN, 400)) {
		relay_returned(&w->relay, f.row);
		return;
	}
	if (!is_unlucky(w, LUCK_DROP, 10))
		enqueue(w, &f.letter);
	if (is_unlucky(w, LUCK_REPEAT, 15))
		enqueue(w, &f.letter);
	if (w->fault == WORLD_REMOVES_ON_CONFIRM)
		forge_receipt(w, f.row);
	relay_confirmed(&w->relay, f.row);
}

static void reorder(struct world *w)
{
	if (w->lane_count < 2)
		return;
	unsigned a = (unsigned)dice(w, w->lane_count);
	unsigned b = (unsigned)dice(w, w->lane_count);
	struct letter kept = w->lane[a];

	w->lane[a] = w->lane[b];
	w->lane[b] = kept;
}

/* Each publish that was on its way got there, or did not; the sender cannot tell. */
static void cut(struct world *w)
{
	relay_lost(&w->relay);
	w->is_open = false;
	while (w->wire_count > 0) {
		struct flight f = w->wire[0];

		w->wire_count--;
		memmove(&w->wire[0], &w->wire[1], w->wire_count * sizeof(w->wire[0]));
		if (dice(w, 2) == 0 && w->lane_count < w->lane_max)
			enqueue(w, &f.letter);
		if (w->fault == WORLD_FORGETS_ON_LOSS)
			forge_receipt(w, f.row);
		relay_unsure(&w->relay, f.row);
	}
}

/* kill -9: what was on the wire may get there, nobody hears of it. */
static void crash(struct world *w)
{
	for (unsigned i = 0; i < w->wire_count; i++) {
		if (dice(w, 2) == 0 && w->lane_count < w->lane_max)
			enqueue(w, &w->wire[i].letter);
	}
	w->wire_count = 0;
	end_life(w);
	begin_life(w);
}

/* ---- the nodes ---- */

static struct node_side *active(struct world *w)
{
	return &w->nodes[w->active];
}

static struct job *job_of(struct node_side *n, unsigned item)
{
	for (unsigned j = 0; j < n->job_count; j++) {
		if (n->jobs[j].letter.item == item)
			return &n->jobs[j];
	}
	return NULL;
}

static void drop_job(struct node_side *n, struct job *job)
{
	unsigned at = (unsigned)(job - n->jobs);

	n->job_count--;
	memmove(job, job + 1, (n->job_count - at) * sizeof(*job));
}

/* The lane is lost: what was not acknowledged goes back, in order. */
static void node_cut(struct world *w, bool is_wiped)
{
	struct node_side *n = active(w);

	while (n->job_count > 0) {
		const struct job *last = &n->jobs[--n->job_count];

		if (!is_wiped)
			put_front(w, &last->letter);
	}
	ledger_restart(&n->ledger);
}

static void node_crash(struct world *w)
{
	struct node_side *n = active(w);

	node_cut(w, false);
	ledger_fini(&n->ledger);
	ledger_init(&n->ledger, &ledger_defaults);
}

static void tell_end(
	struct world *w, struct node_side *n, const struct letter *l, enum receipt_state state)
{
	if (ledger_end(&n->ledger, l->epoch, l->number, state, w->now_us) != ERR_OK)
		fail(w, "the ledger is full");
}

static void tell_held(
	struct world *w, struct node_side *n, struct job *job, const struct letter *l)
{
	enum err err = ledger_hold(&n->ledger, &job->mark, l->epoch, l->number, w->now_us);

	if (err != ERR_OK)
		fail(w, "the ledger is full");
}

static bool must_wait(const struct world *w, struct node_side *n, const struct letter *l)
{
	if (l->prev < 0 || w->fault == WORLD_IGNORES_PREV)
		return false;
	return !n->inbox[l->prev] && job_of(n, (unsigned)l->prev) == NULL;
}

/* What becomes of a letter that is new here. */
static void take(struct world *w, struct node_side *n, const struct letter *l)
{
	struct item *item = &w->items[l->item];

	if (must_wait(w, n, l)) {
		ledger_hurry(&n->ledger, l->epoch, w->now_us);
		return;
	}
	if (item->is_unknown) {
		item->was_judged = true;
		tell_end(w, n, l, RECEIPT_UNKNOWN);
		return;
	}
	n->jobs[n->job_count] = (struct job){ .letter = *l };
	if (w->fault == WORLD_TELLS_TOO_EARLY)
		tell_end(w, n, l, RECEIPT_DONE);
	else
		tell_held(w, n, &n->jobs[n->job_count], l);
	n->job_count++;
}

static void deliver(struct world *w)
{
	struct node_side *n = active(w);
	struct letter l;

	if (w->lane_count == 0 || n->job_count == PREFETCH)
		return;
	take_front(w, &l);
	ledger_meet(&n->ledger, l.epoch, l.turn, w->now_us);
	struct job *job = job_of(n, l.item);

	if (n->inbox[l.item]) {
		tell_end(w, n, &l, n->outcome[l.item]);
		ledger_hurry(&n->ledger, l.epoch, w->now_us);
	} else if (job != NULL) {
		tell_held(w, n, job, &l); /* a copy: the first one stands for it */
	} else {
		take(w, n, &l);
	}
}

static bool is_first_of_key(const struct world *w, const struct node_side *n, unsigned j)
{
	uint64_t key = w->items[n->jobs[j].letter.item].key;

	for (unsigned e = 0; key != 0 && e < j; e++) {
		if (w->items[n->jobs[e].letter.item].key == key)
			return false;
	}
	return true;
}

/* A handler runs; it may fail, and the node may die between effect and record. A row that comes
 * too late ends when its turn has come, not before: outcomes of a key are in order, or "it has
 * ended" would say nothing about those before it. */
static void run_job(struct world *w)
{
	struct node_side *n = active(w);

	if (n->job_count == 0)
		return;
	unsigned j = (unsigned)dice(w, n->job_count);

	if (!is_first_of_key(w, n, j) || is_unlucky(w, LUCK_RETRY, 3))
		return;
	struct letter l = n->jobs[j].letter;

	if (n->inbox[l.item])
		fail(w, "row %u ran again where its outcome was known", l.item);
	n->outcome[l.item] = dice(w, 10) == 0 ? RECEIPT_REFUSED : RECEIPT_DONE;
	if (is_late(w, &w->items[l.item]))
		n->outcome[l.item] = RECEIPT_EXPIRED;
	else
		judge_run(w, l.item);
	if (is_unlucky(w, LUCK_NODE_CRASH, 200)) {
		node_crash(w);
		return;
	}
	n->inbox[l.item] = w->items[l.item].has_outcome = true;
	ledger_end_held(&n->ledger, &n->jobs[j].mark, n->outcome[l.item], w->now_us);
	drop_job(n, &n->jobs[j]);
}

/* ---- receipts ---- */

static void tell(struct world *w)
{
	for (unsigned i = 0; i < NODES; i++) {
		while (w->back_count < BACK &&
			ledger_next(&w->nodes[i].ledger, w->now_us, &w->receipt)) {
			w->result->receipts++;
			if (is_unlucky(w, LUCK_RECEIPT_LOST, 3))
				continue;
			struct buf *b = &w->back[w->back_count++];

			buf_clear(b);
			BUG_ON(receipt_encode(&w->receipt, b) != ERR_OK);
		}
	}
}

static void hear(struct world *w)
{
	if (w->back_count == 0)
		return;
	bool is_again = is_unlucky(w, LUCK_RECEIPT_AGAIN, 5);
	struct buf first = w->back[0];

	if (receipt_parse(buf_span(&first), &w->receipt) != ERR_OK)
		fail(w, "a receipt cannot be read: %.*s", SPAN_ARG(buf_span(&first)));
	else if (w->fault != WORLD_DEAF)
		relay_receipt(&w->relay, &w->receipt);
	if (is_again)
		return;
	w->back_count--;
	memmove(&w->back[0], &w->back[1], w->back_count * sizeof(first));
	w->back[w->back_count] = first; /* its memory is used again */
}

/* ---- the world ---- */

static void misfortune(struct world *w)
{
	if (is_unlucky(w, LUCK_REORDER, 60))
		reorder(w);
	if (is_unlucky(w, LUCK_WIPE, 3000)) {
		cut(w);
		node_cut(w, true);
		w->lane_count = 0;
	}
	if (is_unlucky(w, LUCK_CUT, 400))
		cut(w);
	if (is_unlucky(w, LUCK_CRASH, 1500))
		crash(w);
	if (is_unlucky(w, LUCK_NODE_CUT, 700))
		node_cut(w, false);
	if (is_unlucky(w, LUCK_NODE_CRASH, 1500))
		node_crash(w);
	if (is_unlucky(w, LUCK_TAKEOVER, 1500)) {
		node_cut(w, false);
		w->active = 1 - w->active;
	}
	if (is_unlucky(w, LUCK_BLOCKED, 800))
		relay_blocked(&w->relay);
	if (dice(w, 50) == 0)
		relay_unblocked(&w->relay);
	if (dice(w, 100) == 0)
		relay_calls_slow(&w->relay);
	if (dice(w, 100) == 0)
		relay_calls_fast(&w->relay);
	if (is_unlucky(w, LUCK_AWAY, 4000))
		w->now_us += dice(w, 200 * SEC_US);
}

static void time_passes(struct world *w, uint64_t us)
{
	w->now_us += us;
	relay_now(&w->relay, w->now_us, wall_us(w));
	if (!w->is_open && (w->is_kind || dice(w, 30) == 0)) {
		w->is_open = true;
		relay_open(&w->relay);
	}
}

static void bad_step(struct world *w)
{
	time_passes(w, dice(w, 50) == 0 ? dice(w, 3 * SEC_US) : dice(w, 2 * MS_US));
	misfortune(w);
	if (dice(w, 4) == 0)
		accept_row(w);
	carry_out(w);
	switch (dice(w, 8)) {
	case 0:
		answer_load(w);
		break;
	case 1:
		answer_fetch(w);
		break;
	case 2:
	case 3:
		broker_turn(w);
		break;
	case 4:
	case 5:
		deliver(w);
		break;
	case 6:
		run_job(w);
		break;
	default:
		tell(w);
		hear(w);
		break;
	}
	judge_memory(w);
	if (dice(w, 16) == 0)
		relay_check(&w->relay);
}

/* Nothing goes wrong any more; time jumps to where somebody wants it. */
static void kind_step(struct world *w)
{
	uint64_t wake_us = relay_wake_us(&w->relay);
	bool is_busy = w->wire_count > 0 || w->lane_count > 0 || active(w)->job_count > 0 ||
		       w->back_count > 0 || w->fetch_count > 0 || w->is_loading;

	for (unsigned i = 0; i < NODES; i++) {
		uint64_t node_us = ledger_wake_us(&w->nodes[i].ledger);

		if (node_us < wake_us)
			wake_us = node_us;
	}
	if (is_busy || wake_us < w->now_us)
		wake_us = w->now_us;
	if (wake_us == UINT64_MAX) {
		fail(w, "nobody waits for anything, and not all is done");
		return;
	}
	time_passes(w, wake_us - w->now_us + (is_busy ? 100 : 0));
	carry_out(w);
	answer_load(w);
	answer_fetch(w);
	broker_turn(w);
	deliver(w);
	run_job(w);
	tell(w);
	hear(w);
	carry_out(w); /* only then it can say when it wants to be woken */
	judge_memory(w);
}

static unsigned unfinished(const struct world *w)
{
	unsigned count = 0;

	for (unsigned i = 0; i < w->item_count; i++) {
		if (!w->items[i].has_ended)
			count++;
	}
	return count;
}

static void be_kind(struct world *w)
{
	uint64_t begun_us = w->now_us;
	unsigned steps = 0;

	w->is_kind = true;
	time_passes(w, 0);
	relay_unblocked(&w->relay);
	relay_calls_fast(&w->relay);
	carry_out(w);
	while (!has_failed(w) && unfinished(w) > 0) {
		if (steps++ == KIND_STEPS || w->now_us > begun_us + KIND_MAX_US) {
			fail(w, "lost or stuck: %u rows have not ended after %u kind steps",
				unfinished(w), steps);
			break;
		}
		kind_step(w);
	}
	w->result->kind_us = w->now_us - begun_us;
}

static void judge_everything(struct world *w)
{
	for (unsigned i = 0; i < w->item_count && !has_failed(w); i++) {
		const struct item *item = &w->items[i];

		if (!item->has_ended)
			fail(w, "row %u has not ended", i);
		if (item->has_run && !item->has_outcome)
			fail(w, "row %u ran without an outcome", i);
	}
}

void world_run(uint64_t seed, unsigned steps, enum world_fault fault, struct world_result *out)
{
	struct world *w = calloc(1, sizeof(*w));

	BUG_ON(w == NULL || seed == 0);
	*out = (struct world_result){ .seed = seed };
	w->result = out;
	w->fault = fault;
	w->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	w->now_us = 1000 * SEC_US;
	w->luck = (unsigned)next_random(&w->random) | (unsigned)next_random(&w->random);
	w->lane_max = 8 + (unsigned)dice(w, 300);
	w->item_max = ITEMS / 4 + (unsigned)dice(w, ITEMS * 3 / 4);
	for (unsigned i = 0; i < BACK; i++)
		buf_init(&w->back[i], RECEIPT_MAX_BYTES);
	for (unsigned i = 0; i < NODES; i++)
		ledger_init(&w->nodes[i].ledger, &ledger_defaults);
	begin_life(w);
	while (steps-- > 0 && !has_failed(w))
		bad_step(w);
	if (!has_failed(w))
		be_kind(w);
	judge_everything(w);
	out->rows = w->item_count;
	end_life(w);
	for (unsigned i = 0; i < NODES; i++)
		ledger_fini(&w->nodes[i].ledger);
	for (unsigned i = 0; i < BACK; i++)
		buf_fini(&w->back[i]);
	free(w);
}
