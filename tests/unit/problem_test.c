#include <check.h>
#include <stdlib.h>

#include "base/macro.h"
#include "http/problem.h"
#include "http/raw.h"

static struct buf out;

static const char *text_of(struct problem p)
{
	buf_clear(&out);
	problem_format(&p, &out);
	buf_byte(&out, '\0');
	ck_assert_int_eq(buf_status(&out), ERR_OK);
	return out.at;
}

static void setup(void)
{
	buf_init(&out, KIB(64));
}

static void teardown(void)
{
	buf_fini(&out);
}

START_TEST(only_what_is_known_is_said)
{
	ck_assert_str_eq(text_of((struct problem){ .type = PROBLEM_UNKNOWN_OPERATION }),
		"{\"type\":\"urn:sallyport:problem:unknown-operation\","
		"\"title\":\"The contract has no such operation\",\"status\":404}\n");
	ck_assert_str_eq(text_of((struct problem){ .type = PROBLEM_CONTRACT_VIOLATION,
				 .detail = span_of("too many"),
				 .pointer = span_of("/quantity"),
				 .rule = span_of("maximum"),
				 .id = span_of("i-1"),
				 .retry_after_ms = 250 }),
		"{\"type\":\"urn:sallyport:problem:contract-violation\","
		"\"title\":\"The contract does not allow these contents\",\"status\":422,"
		"\"detail\":\"too many\",\"pointer\":\"/quantity\",\"rule\":\"maximum\","
		"\"id\":\"i-1\",\"retry_after_ms\":250}\n");
	ck_assert_str_eq(
		text_of((struct problem){ .type = PROBLEM_NOT_FOUND, .pointer = span_of("") }),
		"{\"type\":\"urn:sallyport:problem:not-found\","
		"\"title\":\"There is nothing here\",\"status\":404,\"pointer\":\"\"}\n");
}
END_TEST

START_TEST(foreign_text_cannot_break_out_of_its_string)
{
	static const struct {
		struct span text;
		const char *json;
	} cases[] = {
		{ { "a\"b\\c", 5 }, "\"a\\\"b\\\\c\"" },
		{ { "line\vbreak", 10 }, "\"line\\u000bbreak\"" },
		{ { "nul\0x", 5 }, "\"nul\\u0000x\"" },
		{ { "gr\xc3\xbc\xc3\x9f", 6 }, "\"gr\xc3\xbc\xc3\x9f\"" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const char *text = text_of(
			(struct problem){ .type = PROBLEM_INTERNAL, .detail = cases[i].text });

		ck_assert_msg(strstr(text, cases[i].json) != NULL, "%s not in %s",
			cases[i].json, text);
	}
}
END_TEST

START_TEST(bytes_that_are_no_utf8_are_replaced)
{
	const char *text = text_of((struct problem){
		.type = PROBLEM_INTERNAL, .detail = span_of("bad\xff\xed\xa0\x80") });

	/* U+FFFD, however it is written. */
	ck_assert(strstr(text, "\"bad\\ufffd") != NULL ||
		  strstr(text, "\"bad\xef\xbf\xbd") != NULL);
	ck_assert_ptr_null(strchr(text, '\xff'));
	ck_assert_ptr_null(strchr(text, '\xed'));
}
END_TEST

START_TEST(types_are_unique_and_statuses_are_errors)
{
	for (int i = 0; i < PROBLEM_TYPES; i++) {
		enum problem_type a = (enum problem_type)i;

		ck_assert_uint_ge(problem_status(a), 400);
		ck_assert_uint_le(problem_status(a), 599);
		ck_assert_uint_gt(strlen(problem_title(a)), 0);
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(problem_name(a), problem_name((enum problem_type)j));
	}
}
END_TEST

START_TEST(a_header_cannot_split_an_answer)
{
	ck_assert(raw_header_is_fine("X-Fine", "a b"));
	ck_assert(!raw_header_is_fine("X-Split", "a\r\nSet-Cookie: x"));
	ck_assert(!raw_header_is_fine("X-Tab", "a\tb"));
	ck_assert(!raw_header_is_fine("X Blank", "a"));
	ck_assert(!raw_header_is_fine("", "a"));
	buf_clear(&out);
	raw_answer(&(struct http_answer){ .status = 200,
			   .content_type = "text/plain\r\nX-Evil: 1",
			   .body = span_of("ok"),
			   .headers = &(struct http_header){ .name = "X", .value = "\n" },
			   .header_count = 1 },
		&out);
	buf_byte(&out, '\0');
	ck_assert_str_eq(
		out.at, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
}
END_TEST

START_TEST(waiting_is_rounded_up_to_seconds)
{
	ck_assert_str_eq(raw_retry_after(1).at, "1");
	ck_assert_str_eq(raw_retry_after(1000).at, "1");
	ck_assert_str_eq(raw_retry_after(1001).at, "2");
	buf_clear(&out);
	raw_problem(&(struct problem){ .type = PROBLEM_QUOTA, .retry_after_ms = 1500 }, &out);
	buf_byte(&out, '\0');
	ck_assert_ptr_nonnull(strstr(out.at, "HTTP/1.1 429 "));
	ck_assert_ptr_nonnull(strstr(out.at, "\r\nRetry-After: 2\r\n"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("problem");
	TCase *tc = tcase_create("problem");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, only_what_is_known_is_said);
	tcase_add_test(tc, foreign_text_cannot_break_out_of_its_string);
	tcase_add_test(tc, bytes_that_are_no_utf8_are_replaced);
	tcase_add_test(tc, types_are_unique_and_statuses_are_errors);
	tcase_add_test(tc, a_header_cannot_split_an_answer);
	tcase_add_test(tc, waiting_is_rounded_up_to_seconds);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
