/* Receipts: one form, read strictly; what they say of rows. */
#include "message/receipt.h"

#include <stdio.h>

#include "unit/random.h"
#include "unit/unit.h"

#define HEAD \
	"{\"v\":1,\"epoch\":\"00c0ffee00c0ffee\",\"turns\":[1,20],\"rows\":[1,40],\"runs\":"

static struct buf text;

static void setup(void)
{
	buf_init(&text, RECEIPT_MAX_BYTES);
}

static void teardown(void)
{
	buf_fini(&text);
}

static struct receipt parsed;

static void expect_parse(struct span json, enum err expected)
{
	ck_assert_msg(receipt_parse(json, &parsed) == expected, "%.*s", SPAN_ARG(json));
}

START_TEST(it_is_written_in_one_form)
{
	struct receipt r = {
		.epoch = UINT64_C(0x00c0ffee00c0ffee),
		.turn_from = 1,
		.turn_through = 20,
		.seq_from = 1,
		.seq_through = 40,
		.count = 2,
		.runs = { { 1, 17, RECEIPT_DONE }, { 19, 20, RECEIPT_HELD } },
	};

	ck_assert_int_eq(receipt_encode(&r, &text), ERR_OK);
	expect_span(buf_span(&text), HEAD "[[1,17,\"done\"],[19,20,\"held\"]]}");
	expect_parse(buf_span(&text), ERR_OK);
	ck_assert_uint_eq(parsed.epoch, r.epoch);
	ck_assert_uint_eq(parsed.turn_through, 20);
	ck_assert_uint_eq(parsed.seq_through, 40);
	ck_assert_uint_eq(parsed.count, 2);
	ck_assert_uint_eq(parsed.runs[1].first, 19);
	ck_assert_int_eq(parsed.runs[0].state, RECEIPT_DONE);
}
END_TEST

START_TEST(every_state_has_a_text_of_its_own_and_comes_back)
{
	for (unsigned s = 0; s < RECEIPT_STATES; s++) {
		struct receipt r = { .epoch = 1,
			.seq_from = 1,
			.seq_through = 1,
			.count = 1,
			.runs = { { 1, 1, (enum receipt_state)s } } };

		buf_clear(&text);
		ck_assert_int_eq(receipt_encode(&r, &text), ERR_OK);
		expect_parse(buf_span(&text), ERR_OK);
		ck_assert_int_eq(parsed.runs[0].state, s);
	}
	ck_assert_int_eq(receipt_state_fate(RECEIPT_HELD), RECEIPT_STAYS);
	ck_assert_int_eq(receipt_state_fate(RECEIPT_DEAD), RECEIPT_ENDS);
	ck_assert_int_eq(receipt_state_fate(RECEIPT_UNKNOWN), RECEIPT_PARKS);
}
END_TEST

START_TEST(the_largest_one_fits)
{
	struct receipt r = { .epoch = UINT64_MAX,
		.turn_from = 1,
		.turn_through = RECEIPT_MAX_NUMBER,
		.seq_from = 1,
		.seq_through = RECEIPT_MAX_NUMBER,
		.count = RECEIPT_MAX_RUNS };

	for (uint64_t i = 0; i < RECEIPT_MAX_RUNS; i++) {
		uint64_t first = RECEIPT_MAX_NUMBER - 2 * RECEIPT_MAX_RUNS + 2 * i + 1;

		r.runs[i] = (struct receipt_run){ first, first, RECEIPT_VIOLATION };
	}
	ck_assert_int_eq(receipt_encode(&r, &text), ERR_OK);
	expect_parse(buf_span(&text), ERR_OK);
	ck_assert_uint_eq(parsed.count, RECEIPT_MAX_RUNS);
}
END_TEST

START_TEST(what_is_not_in_its_one_form_is_none)
{
	static const char *const bad[] = {
		"",
		"{}",
		"null",
		"[]",
		HEAD "[]",
		HEAD "[]} ",
		" " HEAD "[]}",
		HEAD "[ ]}",
		HEAD "[[1,17,\"done\"],]}",
		HEAD "[,]}",
		HEAD "[[1,17,\"done\"]",
		HEAD "[[1,17]]}",
		HEAD "[[1,17,\"gone\"]]}",
		HEAD "[[1,17,\"done]]}",
		HEAD "[[1,17,\"\"]]}",
		HEAD "[[1,17,\"held\",1]]}",
		HEAD "[[01,17,\"done\"]]}",
		HEAD "[[+1,17,\"done\"]]}",
		HEAD "[[-1,17,\"done\"]]}",
		HEAD "[[1.0,17,\"done\"]]}",
		HEAD "[[1e0,17,\"done\"]]}",
		/* the numbers themselves */
		HEAD "[[0,17,\"done\"]]}",
		HEAD "[[17,1,\"done\"]]}",
		HEAD "[[1,41,\"done\"]]}",
		HEAD "[[1,18446744073709551616,\"done\"]]}",
		HEAD "[[1,9007199254740992,\"done\"]]}",
		HEAD "[[1,17,\"done\"],[17,18,\"held\"]]}",
		HEAD "[[5,6,\"done\"],[1,2,\"held\"]]}",
		/* the head */
		"{\"v\":2,\"epoch\":\"00c0ffee00c0ffee\",\"turns\":[1,20],\"rows\":[1,40],"
		"\"runs\":[]}",
		"{\"v\":1,\"epoch\":\"00C0FFEE00C0FFEE\",\"turns\":[1,20],\"rows\":[1,40],"
		"\"runs\":[]}",
		"{\"v\":1,\"epoch\":\"c0ffee\",\"turns\":[1,20],\"rows\":[1,40],\"runs\":[]}",
		"{\"v\":1,\"epoch\":\"00c0ffee00c0ffeg\",\"turns\":[1,20],\"rows\":[1,40],"
		"\"runs\":[]}",
		"{\"v\":1,\"epoch\":\"00c0ffee00c0ffee\",\"turns\":[20,1],\"rows\":[1,40],"
		"\"runs\":[]}",
		"{\"v\":1,\"epoch\":\"00c0ffee00c0ffee\",\"turns\":[0,1],\"rows\":[1,40],"
		"\"runs\":[]}",
		"{\"v\":1,\"epoch\":\"00c0ffee00c0ffee\",\"turns\":[1,20],\"rows\":[0,40],"
		"\"runs\":[]}",
		"{\"v\":1,\"epoch\":\"00c0ffee00c0ffee\",\"turns\":[1,20],\"rows\":[41,40],"
		"\"runs\":[]}",
		"{\"epoch\":\"00c0ffee00c0ffee\",\"v\":1,\"turns\":[1,20],\"rows\":[1,40],"
		"\"runs\":[]}",
	};

	expect_parse(span_of(HEAD "[]}"), ERR_OK);
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
		expect_parse(span_of(bad[i]), ERR_INPUT);
}
END_TEST

START_TEST(one_run_too_many_is_refused)
{
	buf_text(&text, "{\"v\":1,\"epoch\":\"0000000000000001\",\"turns\":[0,0],"
			"\"rows\":[1,9007199254740991],\"runs\":[");
	for (unsigned i = 1; i <= RECEIPT_MAX_RUNS + 1; i++)
		buf_format(&text, "%s[%u,%u,\"done\"]", i == 1 ? "" : ",", 2 * i, 2 * i);
	buf_text(&text, "]}");
	ck_assert_int_eq(buf_status(&text), ERR_OK);
	expect_parse(buf_span(&text), ERR_INPUT);
}
END_TEST

/* Cut anywhere, one byte changed anywhere: refused, or a sound receipt that is written the same. */
START_TEST(whatever_is_read_is_sound_and_would_be_written_so)
{
	static const char good[] = HEAD "[[1,17,\"done\"],[19,20,\"held\"],[30,31,\"dead\"]]}";
	char bytes[sizeof(good)];
	uint64_t state = 88172645463325252u;

	for (size_t len = 0; len < sizeof(good) - 1; len++)
		expect_parse((struct span){ good, len }, ERR_INPUT);
	for (unsigned round = 0; round < 200000; round++) {
		struct span all = { bytes, sizeof(good) - 1 };

		memcpy(bytes, good, sizeof(good));
		for (unsigned n = 0; n <= round % 3; n++) {
			uint64_t dice = next_random(&state);
			char other = good[(dice >> 32) % all.len];

			bytes[dice % all.len] = dice >> 63 ? other : (char)(dice >> 16);
		}
		if (receipt_parse(all, &parsed) != ERR_OK)
			continue;
		ck_assert(receipt_is_sound(&parsed));
		buf_clear(&text);
		ck_assert_int_eq(receipt_encode(&parsed, &text), ERR_OK);
		ck_assert(span_equals(buf_span(&text), all));
	}
}
END_TEST

START_TEST(names_of_ours_are_known)
{
	ck_assert(receipt_is_reserved(span_of(RECEIPT_OPERATION)));
	ck_assert(receipt_is_reserved(span_of("sallyport.anything")));
	ck_assert(!receipt_is_reserved(span_of("sallyport")));
	ck_assert(!receipt_is_reserved(span_of("order.place")));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message_receipt");
	TCase *tc = tcase_create("receipt");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, it_is_written_in_one_form);
	tcase_add_test(tc, every_state_has_a_text_of_its_own_and_comes_back);
	tcase_add_test(tc, the_largest_one_fits);
	tcase_add_test(tc, what_is_not_in_its_one_form_is_none);
	tcase_add_test(tc, one_run_too_many_is_refused);
	tcase_add_test(tc, whatever_is_read_is_sound_and_would_be_written_so);
	tcase_add_test(tc, names_of_ours_are_known);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
