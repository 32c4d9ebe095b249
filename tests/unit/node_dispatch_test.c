/* What may run now: never more than the contract says, never two of one key, always in order.
 */
#include "app-node/dispatch.h"

#include "unit/unit.h"

/* In the order of the contract: sorted by name. */
enum op { OP_FOUR = 0, OP_ONE, OP_TWO, OPS };

static const char text[] = "site: test\n"
			   "operations:\n"
			   "  op.four: {kind: send, key: k, concurrency: 4, params: {k: id}}\n"
			   "  op.one: {kind: send, key: k, concurrency: 1, params: {k: id}}\n"
			   "  op.two: {kind: call, concurrency: 2}\n";

static struct contract contract;
static struct dispatch d;
static struct origin web1;

static const struct dispatch_limits limits = {
	.running = 64,
	.running_of_one = 64,
	.waiting = 64,
	.waiting_bytes = 1024,
};

static void setup(void)
{
	struct report report;

	report_init(&report);
	ck_assert_int_eq(contract_parse(LITERAL(text), "c", &report, &contract), ERR_OK);
	report_fini(&report);
	ck_assert_uint_eq(contract.operation_count, OPS);
	ck_assert_str_eq(contract.operations[OP_FOUR].name, "op.four");
	ck_assert_str_eq(contract.operations[OP_TWO].name, "op.two");
	origin_init(&web1);
	ck_assert_int_eq(dispatch_init(&d, &contract, &limits), ERR_OK);
}

/* Whatever a test has done: when all work is out, nothing is left. */
static void teardown(void)
{
	ck_assert_uint_eq(d.work_count, 0);
	ck_assert_uint_eq(d.running, 0);
	ck_assert(list_empty(&d.open));
	ck_assert(list_empty(&d.surplus));
	ck_assert_uint_eq(d.stored_running, 0);
	ck_assert(list_empty(&web1.flows));
	ck_assert_uint_eq(web1.ready_bytes, 0);
	ck_assert_uint_eq(web1.running, 0);
	for (unsigned i = 0; i < d.lane_count; i++) {
		ck_assert(list_empty(&d.lanes[i].turns));
		ck_assert_uint_eq(d.lanes[i].running, 0);
		list_each (n, &d.lanes[i].seen) {
			struct flow *f = container_of(n, struct flow, seen);

			ck_assert_uint_eq(f->work_count, 0);
			ck_assert(RB_EMPTY(&f->chains));
		}
	}
	dispatch_fini(&d);
	dispatch_fini(&d);
	contract_free(&contract);
}

static void add_key(struct work *w, enum op op, struct span key)
{
	struct demand demand = {
		.op = &contract.operations[op],
		.origin = &web1,
		.key = key,
	};

	ck_assert_int_eq(dispatch_add(&d, w, &contract, &demand), ERR_OK);
}

static void add(struct work *w, enum op op, const char *key)
{
	add_key(w, op, span_of(key));
}

static void expect_next(const struct work *w)
{
	ck_assert_ptr_eq(dispatch_next(&d, 0), w);
	if (w != NULL)
		ck_assert_int_eq(w->state, WORK_RUNNING);
}

static void remove_all(struct work *works, size_t count)
{
	for (size_t i = 0; i < count; i++)
		dispatch_remove(&d, &works[i]);
}

/* ---- limits ---- */

START_TEST(nothing_in_is_nothing_to_run)
{
	expect_next(NULL);
	expect_next(NULL);
}
END_TEST

START_TEST(as_many_run_at_once_as_the_contract_says)
{
	static const unsigned most[OPS] = { [OP_FOUR] = 4, [OP_ONE] = 1, [OP_TWO] = 2 };
	struct work works[6];
	unsigned limit = most[_i];

	for (size_t i = 0; i < ARRAY_COUNT(works); i++)
		add(&works[i], (enum op)_i, "");
	for (size_t i = 0; i < limit; i++)
		expect_next(&works[i]);
	expect_next(NULL);
	ck_assert_uint_eq(d.running, limit);
	ck_assert_uint_eq(d.work_count, ARRAY_COUNT(works));

	/* One out, one in. */
	dispatch_remove(&d, &works[0]);
	expect_next(&works[limit]);
	expect_next(NULL);
	dispatch_remove(&d, &works[5]);
	for (size_t i = 1; i < 5; i++)
		dispatch_remove(&d, &works[i]);
}
END_TEST

START_TEST(a_full_operation_does_not_stop_another)
{
	struct work one[2];
	struct work two[3];

	add(&one[0], OP_ONE, "");
	add(&one[1], OP_ONE, "");
	expect_next(&one[0]);
	expect_next(NULL);
	for (size_t i = 0; i < ARRAY_COUNT(two); i++)
		add(&two[i], OP_TWO, "");
	expect_next(&two[0]);
	expect_next(&two[1]);
	expect_next(NULL);
	remove_all(one, ARRAY_COUNT(one));
	remove_all(two, ARRAY_COUNT(two));
}
END_TEST

START_TEST(one_that_rests_leaves_its_place_to_another)
{
	struct work works[2];

	add(&works[0], OP_ONE, "a");
	add(&works[1], OP_ONE, "b");
	expect_next(&works[0]);
	expect_next(NULL);
	dispatch_rest(&d, &works[0]);
	ck_assert_uint_eq(d.running, 0);
	expect_next(&works[1]);
	dispatch_wake(&d, &works[0]);
	expect_next(NULL); /* awake, but the place is taken */
	dispatch_remove(&d, &works[1]);
	expect_next(&works[0]);
	dispatch_remove(&d, &works[0]);
}
END_TEST

/* ---- order ---- */

START_TEST(without_a_key_nobody_waits_for_another)
{
	struct work works[4];

	for (size_t i = 0; i < ARRAY_COUNT(works); i++)
		add(&works[i], OP_FOUR, "");
	for (size_t i = 0; i < ARRAY_COUNT(works); i++)
		expect_next(&works[i]);
	remove_all(works, ARRAY_COUNT(works));
}
END_TEST

START_TEST(one_key_runs_one_at_a_time_and_in_order)
{
	struct work a[3];
	struct work b[2];

	add(&a[0], OP_FOUR, "a");
	add(&a[1], OP_FOUR, "a");
	add(&b[0], OP_FOUR, "b");
	add(&a[2], OP_FOUR, "a");
	add(&b[1], OP_FOUR, "b");
	ck_assert_int_eq(a[1].state, WORK_BEHIND);
	expect_next(&a[0]);
	expect_next(&b[0]);
	expect_next(NULL);
	dispatch_remove(&d, &a[0]);
	expect_next(&a[1]);
	expect_next(NULL);
	dispatch_remove(&d, &b[0]);
	dispatch_remove(&d, &a[1]);
	expect_next(&b[1]);
	expect_next(&a[2]);
	dispatch_remove(&d, &a[2]);
	dispatch_remove(&d, &b[1]);
}
END_TEST

START_TEST(the_same_key_of_another_operation_is_another_key)
{
	struct work four;
	struct work one;

	add(&four, OP_FOUR, "a");
	add(&one, OP_ONE, "a");
	expect_next(&four);
	expect_next(&one);
	dispatch_remove(&d, &four);
	dispatch_remove(&d, &one);
}
END_TEST

START_TEST(keys_are_compared_whole)
{
	static const struct span keys[] = {
		{ "a", 1 },
		{ "ab", 2 },
		{ "a\0b", 3 },
		{ "a\0c", 3 },
		{ "\0", 1 },
	};
	struct work works[ARRAY_COUNT(keys)];

	ck_assert_uint_eq(contract.operations[OP_FOUR].concurrency, 4);
	d.lanes[OP_FOUR].limit = ARRAY_COUNT(keys);
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
		add_key(&works[i], OP_FOUR, keys[i]);
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
		expect_next(&works[i]);
	remove_all(works, ARRAY_COUNT(works));
}
END_TEST

START_TEST(the_key_is_copied)
{
	char key[] = "a";
	struct work works[2];

	add_key(&works[0], OP_FOUR, span_of(key));
	key[0] = 'b';
	add(&works[1], OP_FOUR, "a");
	expect_next(&works[0]);
	expect_next(NULL);
	remove_all(works, ARRAY_COUNT(works));
}
END_TEST

START_TEST(a_retry_keeps_its_place_before_those_of_its_key)
{
	struct work a[2];
	struct work b;

	add(&a[0], OP_FOUR, "a");
	add(&a[1], OP_FOUR, "a");
	for (int try = 0; try < 3; try++) {
		expect_next(&a[0]);
		dispatch_rest(&d, &a[0]);
		expect_next(NULL); /* a[1] waits while a[0] rests */
		ck_assert_int_eq(a[1].state, WORK_BEHIND);
		add(&b, OP_FOUR, "b");
		expect_next(&b); /* other keys go on */
		dispatch_remove(&d, &b);
		dispatch_wake(&d, &a[0]);
	}
	expect_next(&a[0]);
	expect_next(NULL);
	dispatch_remove(&d, &a[0]);
	expect_next(&a[1]);
	dispatch_remove(&d, &a[1]);
}
END_TEST

/* ---- taking out ---- */

START_TEST(out_while_behind)
{
	struct work a[4];

	for (size_t i = 0; i < ARRAY_COUNT(a); i++)
		add(&a[i], OP_FOUR, "a");
	dispatch_remove(&d, &a[1]);
	ck_assert_int_eq(a[1].state, WORK_OUT);
	expect_next(&a[0]);
	expect_next(NULL); /* a[0] still runs */
	dispatch_remove(&d, &a[3]);
	dispatch_remove(&d, &a[0]);
	expect_next(&a[2]);
	dispatch_remove(&d, &a[2]);
	expect_next(NULL);
}
END_TEST

START_TEST(out_while_ready)
{
	struct work a[2];
	struct work b;

	add(&a[0], OP_ONE, "a");
	add(&a[1], OP_ONE, "a");
	add(&b, OP_ONE, "b");
	dispatch_remove(&d, &a[0]);
	ck_assert_int_eq(a[1].state, WORK_READY);
	expect_next(&b);
	dispatch_remove(&d, &b);
	expect_next(&a[1]);
	dispatch_remove(&d, &a[1]);
	add(&b, OP_ONE, "");
	dispatch_remove(&d, &b);
	expect_next(NULL);
}
END_TEST

START_TEST(out_while_running)
{
	struct work a[2];

	add(&a[0], OP_ONE, "a");
	add(&a[1], OP_ONE, "a");
	expect_next(&a[0]);
	dispatch_remove(&d, &a[0]);
	ck_assert_uint_eq(d.running, 0);
	expect_next(&a[1]);
	dispatch_remove(&d, &a[1]);
}
END_TEST

START_TEST(out_while_resting)
{
	struct work a[2];

	add(&a[0], OP_ONE, "a");
	add(&a[1], OP_ONE, "a");
	expect_next(&a[0]);
	dispatch_rest(&d, &a[0]);
	dispatch_remove(&d, &a[0]);
	ck_assert_int_eq(a[0].state, WORK_OUT);
	expect_next(&a[1]);
	dispatch_rest(&d, &a[1]);
	dispatch_remove(&d, &a[1]);
	expect_next(NULL);
}
END_TEST

START_TEST(out_while_woken_and_waiting_for_a_place)
{
	struct work a[2];
	struct work b;

	add(&a[0], OP_ONE, "a");
	add(&a[1], OP_ONE, "a");
	expect_next(&a[0]);
	dispatch_rest(&d, &a[0]);
	add(&b, OP_ONE, "b");
	expect_next(&b);
	dispatch_wake(&d, &a[0]);
	dispatch_remove(&d, &a[0]);
	ck_assert_int_eq(a[1].state, WORK_READY);
	expect_next(NULL);
	dispatch_remove(&d, &b);
	expect_next(&a[1]);
	dispatch_remove(&d, &a[1]);
}
END_TEST

START_TEST(who_is_out_can_come_in_again)
{
	struct work a[2];

	for (int i = 0; i < 3; i++) {
		add(&a[0], OP_ONE, "a");
		add(&a[1], OP_ONE, i == 1 ? "" : "a");
		expect_next(&a[0]);
		dispatch_remove(&d, &a[0]);
		add(&a[0], OP_ONE, "a");
		expect_next(&a[1]); /* it was there before */
		dispatch_remove(&d, &a[1]);
		dispatch_remove(&d, &a[0]);
	}
}
END_TEST

/* ---- fairness ---- */

START_TEST(operations_take_turns)
{
	struct work four[4];
	struct work two[2];
	struct work one;

	for (size_t i = 0; i < ARRAY_COUNT(four); i++)
		add(&four[i], OP_FOUR, "");
	for (size_t i = 0; i < ARRAY_COUNT(two); i++)
		add(&two[i], OP_TWO, "");
	add(&one, OP_ONE, "");
	expect_next(&four[0]);
	expect_next(&two[0]);
	expect_next(&one);
	expect_next(&four[1]);
	expect_next(&two[1]);
	expect_next(&four[2]);
	expect_next(&four[3]);
	expect_next(NULL);
	remove_all(four, ARRAY_COUNT(four));
	remove_all(two, ARRAY_COUNT(two));
	dispatch_remove(&d, &one);
}
END_TEST

/* Two keys whose handler fails again and again: others of the operation must get their turn,
 * and not only when all retries of the two are used up. */
START_TEST(those_that_fail_again_and_again_do_not_keep_the_others_waiting)
{
	struct work poison[2];
	struct work good;
	unsigned runs_before = 0;

	add(&poison[0], OP_ONE, "a");
	add(&poison[1], OP_ONE, "b");
	expect_next(&poison[0]);
	add(&good, OP_ONE, "c");
	for (struct work *running = &poison[0]; running != &good; runs_before++) {
		ck_assert_uint_lt(runs_before, 4);
		dispatch_rest(&d, running);
		struct work *next = dispatch_next(&d, 0);

		ck_assert_ptr_nonnull(next);
		dispatch_wake(&d, running); /* its rest is over while the other runs */
		running = next;
	}
	ck_assert_uint_le(runs_before, 2);
	dispatch_remove(&d, &good);
	remove_all(poison, ARRAY_COUNT(poison));
}
END_TEST

/* ---- anything at all, against a model ---- */

enum {
	STEPS = 100 * 1000,
	SLOTS = 64,
	KEYS = 6, /* the first is "no key" */
};

static const char *const keys[KEYS] = { "", "a", "b", "ab", "c",
	"a customer with a long name" };

/* What the model knows of one work: enough to say by counting what may run. */
struct piece {
	struct work work;
	enum { OUT = 0, WAITING, RUNNING, RESTING } state;
	enum op op;
	unsigned key;
	uint64_t came_at;  /* step of admission, which is the order */
	uint64_t ready_at; /* step when nothing but room was missing; 0 = not yet */
};

static uint64_t step; /* from 1 */

/* check writes down each ck_assert() that it passes: too slow for millions of them. */
#define MUST(truth)                                                                          \
	do {                                                                                 \
		if (!(truth))                                                                \
			ck_abort_msg("step %llu: not %s", (unsigned long long)step, #truth); \
	} while (0)

static struct piece pieces[SLOTS];
static uint64_t dice = 20260101;
static unsigned passed_over[OPS]; /* how often others were chosen while it could have been */

/* xorshift64: the same numbers in each run. */
static unsigned roll(unsigned sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (unsigned)((dice >> 11) % sides);
}

static bool is_first_of_its_key(const struct piece *p)
{
	if (p->key == 0)
		return true;
	for (size_t i = 0; i < SLOTS; i++) {
		const struct piece *other = &pieces[i];

		if (other->state != OUT && other->op == p->op && other->key == p->key &&
			other->came_at < p->came_at)
			return false;
	}
	return true;
}

static unsigned count_running(enum op op)
{
	unsigned count = 0;

	for (size_t i = 0; i < SLOTS; i++)
		count += pieces[i].state == RUNNING && pieces[i].op == op;
	return count;
}

static void note_who_is_ready(void)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct piece *p = &pieces[i];

		if (p->state == WAITING && p->ready_at == 0 && is_first_of_its_key(p))
			p->ready_at = step;
	}
}

static bool may_run(const struct piece *p)
{
	return p->state == WAITING && p->ready_at != 0 &&
	       count_running(p->op) < contract.operations[p->op].concurrency;
}

/* The one of an operation that has been ready longest; NULL: none, or no room. */
static struct piece *model_next(enum op op)
{
	struct piece *best = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		struct piece *p = &pieces[i];

		if (p->op == op && may_run(p) && (best == NULL || p->ready_at < best->ready_at))
			best = p;
	}
	return best;
}

static struct piece *pick(unsigned state)
{
	unsigned first = roll(SLOTS);

	for (unsigned i = 0; i < SLOTS; i++) {
		struct piece *p = &pieces[(first + i) % SLOTS];

		if (p->state == state)
			return p;
	}
	return NULL;
}

static void step_add(void)
{
	struct piece *p = pick(OUT);

	if (p == NULL)
		return;
	*p = (struct piece){
		.state = WAITING,
		.op = (enum op)roll(OPS),
		.key = roll(KEYS),
		.came_at = step,
	};
	struct demand demand = {
		.op = &contract.operations[p->op],
		.origin = &web1,
		.key = span_of(keys[p->key]),
		.now_us = step,
	};

	MUST(dispatch_add(&d, &p->work, &contract, &demand) == ERR_OK);
}

static void step_next(void)
{
	struct piece *longest[OPS];
	struct work *w = dispatch_next(&d, step);

	for (unsigned op = 0; op < OPS; op++)
		longest[op] = model_next((enum op)op);
	if (w == NULL) {
		for (unsigned op = 0; op < OPS; op++)
			MUST(longest[op] == NULL);
		return;
	}
	struct piece *p = container_of(w, struct piece, work);

	/* Whoever may not run is not among these, and who waited longest comes first. */
	MUST(p == longest[p->op]);
	MUST(is_first_of_its_key(p));
	for (unsigned op = 0; op < OPS; op++)
		passed_over[op] = longest[op] == NULL || op == p->op ? 0 : passed_over[op] + 1;
	for (unsigned op = 0; op < OPS; op++)
		MUST(passed_over[op] < OPS);
	p->state = RUNNING;
}

static void step_rest(void)
{
	struct piece *p = pick(RUNNING);

	if (p == NULL)
		return;
	dispatch_rest(&d, &p->work);
	p->state = RESTING;
}

static void step_wake(void)
{
	struct piece *p = pick(RESTING);

	if (p == NULL)
		return;
	dispatch_wake(&d, &p->work);
	p->state = WAITING;
	p->ready_at = step;
}

static void step_remove(unsigned state)
{
	struct piece *p = pick(state);

	if (p == NULL)
		return;
	dispatch_remove(&d, &p->work);
	p->state = OUT;
}

static enum work_state state_of(const struct piece *p)
{
	switch (p->state) {
	case OUT:
		return WORK_OUT;
	case WAITING:
		return p->ready_at != 0 ? WORK_READY : WORK_BEHIND;
	case RUNNING:
		return WORK_RUNNING;
	case RESTING:
		return WORK_RESTING;
	}
	return WORK_OUT;
}

static void compare_with_model(void)
{
	unsigned in = 0;
	unsigned running = 0;
	unsigned active[OPS][KEYS] = { 0 };

	for (size_t i = 0; i < SLOTS; i++) {
		struct piece *p = &pieces[i];

		MUST(p->work.state == state_of(p));
		in += p->state != OUT;
		running += p->state == RUNNING;
		active[p->op][p->key] += p->state == RUNNING || p->state == RESTING;
	}
	MUST(d.work_count == in);
	MUST(d.running == running);
	for (unsigned op = 0; op < OPS; op++) {
		MUST(d.lanes[op].running == count_running((enum op)op));
		MUST(d.lanes[op].running <= contract.operations[op].concurrency);
		for (unsigned key = 1; key < KEYS; key++)
			MUST(active[op][key] <= 1);
	}
}

static void one_step(void)
{
	/* Long stretches in which more comes than goes, and the other way round. */
	unsigned busy = (unsigned)(step / 1000) % 2;
	unsigned act = roll(20);

	if (act < (busy ? 7 : 3))
		step_add();
	else if (act < 13)
		step_next();
	else if (act < 15)
		step_rest();
	else if (act < 17)
		step_wake();
	else if (act < 19)
		step_remove(RUNNING);
	else
		step_remove(WAITING + roll(3));
}

START_TEST(a_hundred_thousand_steps_agree_with_a_simple_model)
{
	unsigned runs = 0;

	for (step = 1; step <= STEPS; step++) {
		one_step();
		note_who_is_ready();
		compare_with_model();
	}
	/* Nothing starves: what is in comes to its turn when those that run end. */
	for (; d.work_count > 0; step++) {
		step_next();
		if (pick(RESTING) != NULL)
			step_wake();
		else if (pick(RUNNING) != NULL)
			step_remove(RUNNING);
		else
			ck_abort_msg("%u wait and none of them may run", d.work_count);
		note_who_is_ready();
		compare_with_model();
		MUST(++runs < 4 * SLOTS);
	}
}
END_TEST

START_TEST(a_web_host_that_is_gone_is_forgotten)
{
	struct origin gone;
	struct work its;
	struct work other;
	struct demand demand = { .op = &contract.operations[OP_TWO], .origin = &gone };

	origin_init(&gone);
	ck_assert_int_eq(dispatch_add(&d, &its, &contract, &demand), ERR_OK);
	add(&other, OP_TWO, "");
	expect_next(&its);
	dispatch_remove(&d, &its);
	ck_assert_uint_eq(d.lanes[OP_TWO].seen_count, 2);
	dispatch_forget(&d, &gone);
	ck_assert_uint_eq(d.lanes[OP_TWO].seen_count, 1);
	dispatch_forget(&d, &gone);
	ck_assert_uint_eq(d.lanes[OP_TWO].seen_count, 1);
	expect_next(&other);
	dispatch_remove(&d, &other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_dispatch");
	TCase *tc = tcase_create("dispatch");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, nothing_in_is_nothing_to_run);
	tcase_add_test(tc, a_web_host_that_is_gone_is_forgotten);
	tcase_add_loop_test(tc, as_many_run_at_once_as_the_contract_says, 0, OPS);
	tcase_add_test(tc, a_full_operation_does_not_stop_another);
	tcase_add_test(tc, one_that_rests_leaves_its_place_to_another);
	tcase_add_test(tc, without_a_key_nobody_waits_for_another);
	tcase_add_test(tc, one_key_runs_one_at_a_time_and_in_order);
	tcase_add_test(tc, the_same_key_of_another_operation_is_another_key);
	tcase_add_test(tc, keys_are_compared_whole);
	tcase_add_test(tc, the_key_is_copied);
	tcase_add_test(tc, a_retry_keeps_its_place_before_those_of_its_key);
	tcase_add_test(tc, out_while_behind);
	tcase_add_test(tc, out_while_ready);
	tcase_add_test(tc, out_while_running);
	tcase_add_test(tc, out_while_resting);
	tcase_add_test(tc, out_while_woken_and_waiting_for_a_place);
	tcase_add_test(tc, who_is_out_can_come_in_again);
	tcase_add_test(tc, operations_take_turns);
	tcase_add_test(tc, those_that_fail_again_and_again_do_not_keep_the_others_waiting);
	tcase_add_test(tc, a_hundred_thousand_steps_agree_with_a_simple_model);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
