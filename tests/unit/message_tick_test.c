/* The id of a tick: message/tick.h. */
#include "message/tick.h"
#include "unit.h"

static struct id_text must_id(const char *schedule, int64_t tick_unix_s)
{
	struct id id;

	ck_assert_int_eq(tick_id(span_of(schedule), tick_unix_s, &id), ERR_OK);
	return id_format(&id);
}

/* printf 'report.nightly\0001704164400' | sha256sum, with the time and the version written over it. */
START_TEST(a_tick_has_the_same_id_wherever_it_is_asked_for)
{
	ck_assert_str_eq(must_id("report.nightly", 1704164400).at,
		"018cc81d-1b80-7aaa-bb9c-a81d46af2668");
}
END_TEST

START_TEST(another_time_or_another_schedule_is_another_id)
{
	struct id_text id = must_id("a", 11);

	ck_assert_str_ne(id.at, must_id("a", 12).at);
	ck_assert_str_ne(id.at, must_id("b", 11).at);
	ck_assert_str_ne(id.at + 13, must_id("a1", 1).at + 13);
}
END_TEST

START_TEST(a_tick_id_is_a_message_id)
{
	struct id_text text = must_id("report.nightly", 253370764799);
	struct id id;

	ck_assert_int_eq(id_parse(span_of(text.at), &id), ERR_OK);
}
END_TEST

START_TEST(what_has_no_place_in_48_bits_is_refused)
{
	struct id id;

	ck_assert_int_eq(tick_id(span_of("a"), -1, &id), ERR_INPUT);
	ck_assert_int_eq(tick_id(span_of("a"), INT64_MAX, &id), ERR_INPUT);
	ck_assert_int_eq(tick_id(span_of("a"), 281474976710, &id), ERR_OK);
	ck_assert_int_eq(tick_id(span_of("a"), 281474976711, &id), ERR_INPUT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tick");
	TCase *t = tcase_create("tick");

	tcase_add_test(t, a_tick_has_the_same_id_wherever_it_is_asked_for);
	tcase_add_test(t, another_time_or_another_schedule_is_another_id);
	tcase_add_test(t, a_tick_id_is_a_message_id);
	tcase_add_test(t, what_has_no_place_in_48_bits_is_refused);
	suite_add_tcase(suite, t);
	return unit_run(suite);
}
