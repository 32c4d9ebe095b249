/* A growing buffer that knows how big is too big, and whose errors stick. */
#include "base/buf.h"
#include "unit/unit.h"

START_TEST(what_is_appended_is_there_in_order)
{
	struct buf b;

	buf_init(&b, 1000);
	buf_text(&b, "one ");
	buf_append(&b, LITERAL("two\0"));
	buf_byte(&b, '!');
	buf_format(&b, " %d %s", 3, "four");
	ck_assert_int_eq(buf_status(&b), ERR_OK);
	ck_assert(span_equals(buf_span(&b), LITERAL("one two\0! 3 four")));
	buf_fini(&b);
	ck_assert_ptr_null(b.at);
	buf_fini(&b); /* again is harmless */
}
END_TEST

/* _i bytes of room: exactly that many fit, the next one does not, and then nothing does. */
START_TEST(the_limit_is_exact_and_the_error_sticks)
{
	size_t max_bytes = (size_t)_i;
	struct buf b;

	buf_init(&b, max_bytes);
	for (size_t i = 0; i < max_bytes; i++)
		buf_byte(&b, (uint8_t)i);
	ck_assert_int_eq(buf_status(&b), ERR_OK);
	ck_assert_uint_eq(b.len, max_bytes);
	ck_assert_uint_le(b.room, max_bytes);
	buf_append(&b, (struct span){ 0 }); /* nothing still fits */
	ck_assert_int_eq(buf_status(&b), ERR_OK);
	buf_byte(&b, 'x');
	ck_assert_int_eq(buf_status(&b), ERR_FULL);
	ck_assert_uint_eq(b.len, max_bytes);

	buf_consume(&b, b.len);
	buf_byte(&b, 'x'); /* there would be room, but the error sticks */
	buf_text(&b, "x");
	buf_format(&b, "x");
	ck_assert_ptr_null(buf_reserve(&b, 1));
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(buf_status(&b), ERR_FULL);

	buf_clear(&b);
	ck_assert_int_eq(buf_status(&b), ERR_OK);
	if (max_bytes > 0) {
		buf_byte(&b, 'y');
		ck_assert_uint_eq(b.len, 1);
	}
	buf_fini(&b);
}
END_TEST

START_TEST(one_append_beyond_the_limit_changes_nothing)
{
	struct buf b;

	buf_init(&b, 10);
	buf_text(&b, "12345");
	buf_text(&b, "678901");
	ck_assert_int_eq(buf_status(&b), ERR_FULL);
	expect_span(buf_span(&b), "12345");
	buf_fini(&b);
}
END_TEST

START_TEST(absurd_sizes_do_not_overflow)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_text(&b, "x");
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX));
	ck_assert_int_eq(buf_status(&b), ERR_FULL);
	buf_fini(&b);
}
END_TEST

/* Formatted text of _i bytes, across the size up to which no second pass is needed. */
START_TEST(formatted_text_of_any_length_is_whole)
{
	size_t len = 500 + (size_t)_i;
	struct buf b;

	buf_init(&b, len);
	buf_format(&b, "%0*d", (int)len - 2, 7);
	ck_assert_int_eq(buf_status(&b), ERR_OK);
	ck_assert_uint_eq(b.len, len - 2);
	ck_assert_int_eq(b.at[b.len - 1], '7');
	ck_assert_int_eq(b.at[0], '0');
	buf_format(&b, "%s", "ab"); /* the last two bytes */
	ck_assert_int_eq(buf_status(&b), ERR_OK);
	ck_assert_uint_eq(b.len, len);
	buf_fini(&b);
}
END_TEST

START_TEST(formatted_text_that_fills_the_buffer_exactly_fits)
{
	size_t len = 500 + (size_t)_i;
	struct buf b;

	buf_init(&b, len);
	buf_format(&b, "%0*d", (int)len, 7);
	ck_assert_int_eq(buf_status(&b), ERR_OK);
	ck_assert_uint_eq(b.len, len);
	buf_fini(&b);
	buf_init(&b, len);
	buf_format(&b, "%0*d", (int)len + 1, 7);
	ck_assert_int_eq(buf_status(&b), ERR_FULL);
	ck_assert_uint_eq(b.len, 0);
	buf_fini(&b);
}
END_TEST

START_TEST(reserved_room_is_written_by_the_caller)
{
	struct buf b;

	buf_init(&b, 4096);
	for (int i = 0; i < 40; i++) {
		char *to = buf_reserve(&b, 100);

		ck_assert_ptr_nonnull(to);
		memset(to, 'a' + i % 26, 100);
		buf_advance(&b, 50); /* less than asked for is fine */
	}
	ck_assert_uint_eq(b.len, 2000);
	for (size_t i = 0; i < b.len; i++)
		ck_assert_int_eq(b.at[i], 'a' + (int)(i / 50) % 26);
	buf_fini(&b);
}
END_TEST

START_TEST(advancing_past_the_room_is_our_bug)
{
	struct buf b;

	buf_init(&b, 4096);
	(void)buf_reserve(&b, 10);
	buf_advance(&b, b.room + 1);
}
END_TEST

START_TEST(consuming_moves_the_rest_to_the_front)
{
	struct buf b;

	buf_init(&b, 100);
	buf_text(&b, "abcdef");
	buf_consume(&b, 2);
	expect_span(buf_span(&b), "cdef");
	buf_consume(&b, 0);
	buf_consume(&b, 4);
	ck_assert_uint_eq(b.len, 0);
	buf_text(&b, "g");
	expect_span(buf_span(&b), "g");
	buf_fini(&b);
}
END_TEST

START_TEST(shrinking_gives_memory_back_above_what_is_kept)
{
	struct buf b;

	buf_init(&b, MIB(1));
	ck_assert_ptr_nonnull(buf_reserve(&b, KIB(100)));
	buf_shrink(&b, KIB(256));
	ck_assert_uint_ge(b.room, KIB(100));
	buf_shrink(&b, KIB(4));
	ck_assert_uint_eq(b.room, 0);
	buf_text(&b, "again");
	expect_span(buf_span(&b), "again");
	buf_fini(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/buf");
	TCase *tc = tcase_create("buf");

	tcase_add_test(tc, what_is_appended_is_there_in_order);
	tcase_add_loop_test(tc, the_limit_is_exact_and_the_error_sticks, 0, 3);
	tcase_add_loop_test(tc, the_limit_is_exact_and_the_error_sticks, 255, 258);
	tcase_add_loop_test(tc, the_limit_is_exact_and_the_error_sticks, 1000, 1001);
	tcase_add_test(tc, one_append_beyond_the_limit_changes_nothing);
	tcase_add_test(tc, absurd_sizes_do_not_overflow);
	tcase_add_loop_test(tc, formatted_text_of_any_length_is_whole, 0, 30);
	tcase_add_loop_test(tc, formatted_text_that_fills_the_buffer_exactly_fits, 0, 30);
	tcase_add_test(tc, reserved_room_is_written_by_the_caller);
	tcase_add_test_raise_signal(tc, advancing_past_the_room_is_our_bug, SIGABRT);
	tcase_add_test(tc, consuming_moves_the_rest_to_the_front);
	tcase_add_test(tc, shrinking_gives_memory_back_above_what_is_kept);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
