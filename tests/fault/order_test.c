/* Orders and plans as text: order.h, plan.h. */
#include "order.h"

#include <stdlib.h>

#include "plan.h"
#include "unit/unit.h"

static const char *const orders[] = { "pass both", "pass up", "delay both 20ms", "delay up 0ms",
	"trickle down 100/s", "swallow both", "swallow down", "cut", "cut up 0",
	"cut down 4000", "reset", "reset both 7", "half-close up", "half-close down 12",
	"flip up 0", "flip both 99", "refuse", "deny", "admit", "heal" };

static const char *const no_orders[] = { "", " ", "passes", "pass sideways", "pass up 5",
	"delay", "delay up", "delay 20ms", "delay up 20", "delay up 20ms x", "trickle up 100",
	"trickle up 0/s", "trickle up 100/m", "trickle up", "cut up", "cut 5", "cut up -1",
	"cut up 99999999999999999999", "half-close", "half-close 5", "flip", "flip up",
	"flip up x", "refuse up", "heal both", "heal now", "cut up  5" };

START_TEST(every_order_reads_as_it_is_written)
{
	for (size_t i = 0; i < ARRAY_COUNT(orders); i++) {
		struct order order;

		ck_assert_msg(
			order_parse(span_of(orders[i]), &order) == ERR_OK, "%s", orders[i]);
		ck_assert_str_eq(order_format(&order).at, orders[i]);
	}
}
END_TEST

START_TEST(what_is_no_order_is_refused)
{
	for (size_t i = 0; i < ARRAY_COUNT(no_orders); i++) {
		struct order order;

		ck_assert_msg(order_parse(span_of(no_orders[i]), &order) == ERR_INPUT, "%s",
			no_orders[i]);
	}
}
END_TEST

START_TEST(a_plan_reads_as_it_is_written)
{
	static const char text[] = "0ms delay both 20ms\n1500ms cut up 100\n1500ms heal\n";
	struct plan plan;
	struct buf out;
	size_t line;

	ck_assert_int_eq(plan_parse(span_of("# a plan\n\n  0ms delay both 20ms\n"
					    "1500ms cut up 100 \n\t\n1500ms heal"),
				 &plan, &line),
		ERR_OK);
	ck_assert_uint_eq(plan.count, 3);
	buf_init(&out, PLAN_MAX_BYTES);
	plan_format(&plan, &out);
	expect_span(buf_span(&out), text);
	buf_fini(&out);
	plan_free(&plan);
	ck_assert_int_eq(plan_parse(span_of(""), &plan, &line), ERR_OK);
	ck_assert_uint_eq(plan.count, 0);
}
END_TEST

START_TEST(a_plan_tells_the_line_that_is_none)
{
	struct plan plan;
	size_t line;

	ck_assert_int_eq(
		plan_parse(span_of("0ms cut\n#\n0ms cuts\n"), &plan, &line), ERR_INPUT);
	ck_assert_uint_eq(line, 3);
	ck_assert_int_eq(plan_parse(span_of("5ms cut\n4ms heal"), &plan, &line), ERR_INPUT);
	ck_assert_uint_eq(line, 2);
	ck_assert_int_eq(plan_parse(span_of("5 cut"), &plan, &line), ERR_INPUT);
	ck_assert_ptr_null(plan.steps);
}
END_TEST

START_TEST(the_same_seed_is_the_same_plan_and_reads_again)
{
	struct buf texts[3];
	size_t line;

	for (unsigned i = 0; i < ARRAY_COUNT(texts); i++) {
		struct plan plan;
		struct plan again;

		ck_assert_int_eq(plan_make(i == 2 ? 8 : 7, 200000, 500, &plan), ERR_OK);
		ck_assert_uint_ge(plan.count, 800);
		buf_init(&texts[i], PLAN_MAX_BYTES);
		plan_format(&plan, &texts[i]);
		ck_assert_int_eq(plan_parse(buf_span(&texts[i]), &again, &line), ERR_OK);
		ck_assert_uint_eq(again.count, plan.count);
		ck_assert_uint_le(plan.steps[plan.count - 1].at_ms, 200000);
		plan_free(&plan);
		plan_free(&again);
	}
	ck_assert(span_equals(buf_span(&texts[0]), buf_span(&texts[1])));
	ck_assert(!span_equals(buf_span(&texts[0]), buf_span(&texts[2])));
	for (unsigned i = 0; i < ARRAY_COUNT(texts); i++)
		buf_fini(&texts[i]);
}
END_TEST

START_TEST(a_made_plan_has_all_kinds_and_every_fault_is_healed)
{
	struct plan plan;
	unsigned seen[ORDER_KINDS] = { 0 };

	ck_assert_int_eq(plan_make(1, 200000, 500, &plan), ERR_OK);
	for (size_t i = 0; i < plan.count; i++) {
		seen[plan.steps[i].order.kind]++;
		ck_assert(i == 0 || plan.steps[i].at_ms >= plan.steps[i - 1].at_ms);
	}
	ck_assert_uint_eq(seen[ORDER_HEAL], 400);
	ck_assert_int_eq(plan.steps[plan.count - 1].order.kind, ORDER_HEAL);
	for (enum order_kind kind = ORDER_DELAY; kind <= ORDER_DENY; kind++)
		ck_assert_uint_gt(seen[kind], 10);
	plan_free(&plan);
	ck_assert_int_eq(plan_make(1, 1000, 9, &plan), ERR_INPUT);
	ck_assert_int_eq(plan_make(1, 1000000, 10, &plan), ERR_FULL);
	ck_assert_ptr_null(plan.steps);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("order");
	TCase *t = tcase_create("order");

	tcase_add_test(t, every_order_reads_as_it_is_written);
	tcase_add_test(t, what_is_no_order_is_refused);
	tcase_add_test(t, a_plan_reads_as_it_is_written);
	tcase_add_test(t, a_plan_tells_the_line_that_is_none);
	tcase_add_test(t, the_same_seed_is_the_same_plan_and_reads_again);
	tcase_add_test(t, a_made_plan_has_all_kinds_and_every_fault_is_healed);
	suite_add_tcase(suite, t);
	return unit_run(suite);
}
