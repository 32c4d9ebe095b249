/* What a handler's answer means, whatever it says. */
#include "app-node/outcome.h"

#include <string.h>

#include "contract/contract.h"
#include "http/problem.h"
#include "message/message.h"
#include "unit/unit.h"

static struct http_call answer_of(unsigned http_status, const char *body)
{
	return (struct http_call){
		.http_status = http_status,
		.body = span_of(body),
		.was_sent = true,
		.detail = "",
	};
}

static enum outcome_kind kind_of(unsigned http_status, const char *body)
{
	struct http_call call = answer_of(http_status, body);

	return outcome_read(&call, NULL, NULL).kind;
}

START_TEST(each_status_has_its_meaning)
{
	for (unsigned status = 100; status < 1000; status++) {
		enum outcome_kind expected = OUTCOME_FAILED;

		if (status >= 200 && status <= 299)
			expected = OUTCOME_RESULT;
		if (status >= 400 && status <= 499)
			expected = OUTCOME_REFUSED;
		if (status == 408 || status == 425 || status == 429 || status == 503)
			expected = OUTCOME_LATER;
		ck_assert_int_eq(kind_of(status, "{}"), expected);
	}
}
END_TEST

START_TEST(a_result_is_json_or_nothing)
{
	struct http_call none = answer_of(204, "");

	ck_assert_int_eq(kind_of(200, "{\"a\":1}"), OUTCOME_RESULT);
	ck_assert_int_eq(kind_of(200, "null"), OUTCOME_RESULT);
	ck_assert_int_eq(kind_of(200, "{\"a\":1,\"a\":2}"), OUTCOME_FAILED);
	ck_assert_int_eq(kind_of(200, "<html>"), OUTCOME_FAILED);
	ck_assert_int_eq(kind_of(200, " "), OUTCOME_FAILED);
	ck_assert(span_is(outcome_read(&none, NULL, NULL).result, "null"));
}
END_TEST

static struct contract contract;

static const struct schema *must_find_result(void)
{
	static const char text[] = "operations: {a.b: {kind: call, result: {cents: int}}}";
	struct report report;

	report_init(&report);
	ck_assert_int_eq(contract_parse(LITERAL(text), "c", &report, &contract), ERR_OK);
	report_fini(&report);
	return contract_find(&contract, LITERAL("a.b"))->result;
}

START_TEST(a_result_is_what_the_contract_says)
{
	static const struct {
		const char *body;
		enum outcome_kind kind;
		const char *pointer;
	} bodies[] = {
		{ "{\"cents\":1}", OUTCOME_RESULT, "" },
		{ "{\"cents\":\"1\"}", OUTCOME_BROKEN, "/cents" },
		{ "{\"cents\":1,\"secret\":2}", OUTCOME_BROKEN, "/secret" },
		{ "{}", OUTCOME_BROKEN, "" },
		{ "null", OUTCOME_BROKEN, "" },
		{ "", OUTCOME_BROKEN, "" },
		{ "{\"cents\":1", OUTCOME_FAILED, "" },
	};
	const struct schema *result = must_find_result();

	for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
		struct http_call call = answer_of(200, bodies[i].body);
		struct schema_failure failure = { .pointer = "" };

		ck_assert_int_eq(outcome_read(&call, result, &failure).kind, bodies[i].kind);
		ck_assert_str_eq(failure.pointer, bodies[i].pointer);
	}
	/* Of a problem the contract says nothing. */
	struct http_call refused = answer_of(409, "{\"secret\":2}");

	ck_assert_int_eq(outcome_read(&refused, result, NULL).kind, OUTCOME_REFUSED);
	contract_free(&contract);
}
END_TEST

START_TEST(no_answer_is_a_failure_whatever_else_is_there)
{
	static const enum err errors[] = { ERR_LINK, ERR_FATE, ERR_TIMEOUT, ERR_FULL,
		ERR_PROTOCOL, ERR_NOMEM, ERR_CANCEL };
	char detail[OUTCOME_DETAIL_BYTES];

	for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
		struct http_call call = answer_of(200, "{}");

		call.status = errors[i];
		ck_assert_int_eq(outcome_read(&call, NULL, NULL).kind, OUTCOME_FAILED);
		outcome_describe(&call, detail);
		ck_assert_ptr_nonnull(strstr(detail, "handler"));
	}
}
END_TEST

START_TEST(how_long_to_wait_is_the_handlers_word_up_to_a_limit)
{
	struct http_call call = answer_of(503, "");

	ck_assert_uint_eq(outcome_read(&call, NULL, NULL).retry_after_ms, 0);
	call.has_retry_after = true;
	call.retry_after_ms = 7000;
	ck_assert_uint_eq(outcome_read(&call, NULL, NULL).retry_after_ms, 7000);
	call.retry_after_ms = UINT64_MAX;
	ck_assert_uint_eq(
		outcome_read(&call, NULL, NULL).retry_after_ms, OUTCOME_RETRY_AFTER_MAX_MS);
	call.http_status = 500;
	ck_assert_uint_eq(outcome_read(&call, NULL, NULL).retry_after_ms, 0);
}
END_TEST

START_TEST(a_problem_document_says_its_own_status)
{
	struct http_call call = answer_of(409, "{\"status\":409,\"title\":\"Sold out\"}");

	ck_assert(!outcome_is_problem_document(&call));
	call.content_type = span_of(PROBLEM_MEDIA_TYPE "; charset=utf-8");
	ck_assert(outcome_is_problem_document(&call));
	call.http_status = 410;
	ck_assert(!outcome_is_problem_document(&call));
	call = answer_of(409, "{\"status\":409,");
	call.content_type = span_of(PROBLEM_MEDIA_TYPE);
	ck_assert(!outcome_is_problem_document(&call));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_outcome");
	TCase *tc = tcase_create("outcome");

	tcase_add_test(tc, each_status_has_its_meaning);
	tcase_add_test(tc, a_result_is_json_or_nothing);
	tcase_add_test(tc, a_result_is_what_the_contract_says);
	tcase_add_test(tc, no_answer_is_a_failure_whatever_else_is_there);
	tcase_add_test(tc, how_long_to_wait_is_the_handlers_word_up_to_a_limit);
	tcase_add_test(tc, a_problem_document_says_its_own_status);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
