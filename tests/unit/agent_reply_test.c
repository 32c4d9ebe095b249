/* What a reply means: results are 200, problem documents what they say, nonsense is 502. */
#include "webapp-agent/reply.h"

#include "unit/unit.h"

static struct reply_meaning read_text(enum message_content content, const char *body)
{
	struct message m = { .content = content, .body = span_of(body) };

	return reply_read(&m);
}

START_TEST(a_result_is_a_result_whatever_is_in_it)
{
	static const char *const bodies[] = { "{}", "null", "{\"status\":500}",
		"{\"retry_after_ms\":5}" };

	for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
		struct reply_meaning m = read_text(MESSAGE_JSON, bodies[i]);

		ck_assert_uint_eq(m.status, 200);
		ck_assert_uint_eq(m.retry_after_ms, 0);
	}
}
END_TEST

static const struct {
	const char *body;
	unsigned status;
	uint64_t retry_after_ms;
} documents[] = {
	{ "{\"status\":409}", 409, 0 },
	{ "{\"status\":503,\"retry_after_ms\":7000}", 503, 7000 },
	{ "{\"retry_after_ms\":1,\"status\":599}", 599, 1 },
	{ "{\"status\":503,\"retry_after_ms\":3600000}", 503, REPLY_RETRY_AFTER_MAX_MS },
	{ "{\"status\":503,\"retry_after_ms\":3600001}", 503, REPLY_RETRY_AFTER_MAX_MS },
	{ "{\"status\":503,\"retry_after_ms\":9223372036854775807}", 503,
		REPLY_RETRY_AFTER_MAX_MS },
	{ "{\"status\":503,\"retry_after_ms\":-1}", 503, 0 },
	{ "{\"status\":503,\"retry_after_ms\":1.5}", 503, 0 },
	{ "{\"status\":503,\"retry_after_ms\":{}}", 503, 0 },
	{ "{\"status\":200}", 502, 0 },
	{ "{\"status\":600}", 502, 0 },
	{ "{\"status\":18446744073709552025}", 502, 0 },
	{ "{\"status\":null}", 502, 0 },
	{ "{}", 502, 0 },
	{ "[]", 502, 0 },
	{ "503", 502, 0 },
	{ "{\"status\":409", 502, 0 },
	{ "", 502, 0 },
};

START_TEST(a_problem_document_says_its_status_and_how_long_to_wait)
{
	struct reply_meaning m = read_text(MESSAGE_PROBLEM, documents[_i].body);

	ck_assert_uint_eq(m.status, documents[_i].status);
	ck_assert_uint_eq(m.retry_after_ms, documents[_i].retry_after_ms);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent_reply");
	TCase *tc = tcase_create("reply");

	tcase_add_test(tc, a_result_is_a_result_whatever_is_in_it);
	tcase_add_loop_test(tc, a_problem_document_says_its_status_and_how_long_to_wait, 0,
		ARRAY_COUNT(documents));
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
