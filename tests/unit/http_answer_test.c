#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "http/answer.h"
#include "random.h"

enum { HEAD_BYTES = 512, BODY_BYTES = 64, IN_BYTES = 4096 };

/* What came of an answer; the input stays for its parts. */
struct read {
	struct answer a;
	struct buf in;
	enum answer_result result;
};

static void read_init(struct read *r)
{
	answer_init(&r->a, HEAD_BYTES, BODY_BYTES);
	buf_init(&r->in, IN_BYTES);
	r->result = ANSWER_MORE;
}

static void read_fini(struct read *r)
{
	buf_fini(&r->in);
}

/* All of it, in pieces of so many bytes. */
static void read_pieces(struct read *r, struct span bytes, size_t piece)
{
	read_init(r);
	while (bytes.len > 0 && r->result == ANSWER_MORE) {
		struct span here = { .at = bytes.at,
			.len = piece < bytes.len ? piece : bytes.len };

		ck_assert_uint_gt(answer_wanted_bytes(&r->a, &r->in), 0);
		buf_append(&r->in, here);
		ck_assert_int_eq(buf_status(&r->in), ERR_OK);
		bytes = span_after(bytes, here.len);
		r->result = answer_feed(&r->a, &r->in);
	}
}

/* As far as it goes, then the connection ends. */
static void read_all(struct read *r, const char *text)
{
	read_pieces(r, span_of(text), SIZE_MAX);
	if (r->result == ANSWER_MORE)
		r->result = answer_end(&r->a, &r->in);
}

static const char too_much[] =
	"HTTP/1.1 200 OK\r\n\r\n"
	"0123456789012345678901234567890123456789012345678901234567890123456789";

static const struct {
	const char *text;
	unsigned http_status;
	const char *body;
	bool keeps;
} fine[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true },
	{ "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true },
	{ "HTTP/1.1 200 \nContent-Length:2\n\nok", 200, "ok", true },
	{ "HTTP/1.1 200 OK\r\nCONTENT-LENGTH: \t2 \t\r\n\r\nok", 200, "ok", true },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\ncontent-length: 2\r\n\r\nok", 200, "ok",
		true },
	{ "HTTP/1.1 500 Oh: no\r\nContent-Length: 0\r\n\r\n", 500, "", true },
	{ "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", 200, "",
		false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", 200, "ok", false },
	{ "HTTP/1.1 200 OK\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true },
	{ "HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end", false },
	{ "HTTP/1.1 200 OK\r\n\r\n", 200, "", false },
	{ "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false },
	{ "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", 200, "ok",
		true },
	{ "HTTP/1.1 204 No\r\n\r\n", 204, "", true },
	{ "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", 304, "", true },
	{ "HTTP/1.1 100 \r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200,
		"ok", true },
	{ "HTTP/1.1 103 \r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
	  "2\r\n\r\nok",
		200, "ok", true },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200,
		"ok", true },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\no\r\n"
	  "0001;a=\"b\"\r\nk\r\n00\r\nA: b\r\nC: d\r\n\r\n",
		200, "ok", true },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "", true },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n0", 200, "", false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	  "1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
		200, "abcdefghijklmnopqrstuvwxyz", true },
};

static const struct {
	const char *text;
	enum err err;
} wrong[] = {
	{ "hello", ERR_PROTOCOL },
	{ "HTTP/2 200 OK\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.2 200 OK\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1  200 OK\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 20 OK\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 2000 OK\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 099 OK\r\n\r\n", ERR_PROTOCOL },
	{ "http/1.1 200 OK\r\n\r\n", ERR_PROTOCOL },
	{ "\r\nHTTP/1.1 200 OK\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\n: x\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Type: a\r\n b\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Type: a\x01\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
	  "chunked\r\n\r\n",
		ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
	  "2\r\nok\r\n0\r\n\r\n",
		ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
		ERR_PROTOCOL },
	{ "HTTP/1.1 101 Switch\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 102 So\r\nContent-Length: 0\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 102 So\r\n\r\nand no answer\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\rx", ERR_PROTOCOL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", ERR_FULL },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", ERR_FULL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n", ERR_FULL },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
		ERR_FULL },
	{ too_much, ERR_FULL },
};

static const char *const cut[] = {
	"",
	"HTTP/1.1 200 OK\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
	"HTTP/1.1 100 Go on\r\n\r\n",
};

START_TEST(what_is_an_answer_is_read)
{
	struct read r;

	for (size_t i = 0; i < ARRAY_COUNT(fine); i++) {
		read_all(&r, fine[i].text);
		ck_assert_msg(r.result == ANSWER_WHOLE, "%s: %s", fine[i].text, r.a.why);
		ck_assert_uint_eq(r.a.http_status, fine[i].http_status);
		ck_assert_msg(span_is(answer_span(&r.in, r.a.body), fine[i].body), "%s: %.*s",
			fine[i].text, SPAN_ARG(answer_span(&r.in, r.a.body)));
		ck_assert_msg(answer_keeps(&r.a) == fine[i].keeps, "%s", fine[i].text);
		read_fini(&r);
	}
}
END_TEST

START_TEST(what_is_none_is_refused)
{
	struct read r;

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		read_all(&r, wrong[i].text);
		ck_assert_msg(r.result == ANSWER_BROKEN, "%s", wrong[i].text);
		ck_assert_msg(r.a.err == wrong[i].err, "%s: %s", wrong[i].text, r.a.why);
		ck_assert_uint_gt(strlen(r.a.why), 0);
		read_fini(&r);
	}
}
END_TEST

START_TEST(what_was_cut_off_is_no_answer)
{
	struct read r;

	for (size_t i = 0; i < ARRAY_COUNT(cut); i++) {
		read_all(&r, cut[i]);
		ck_assert_msg(r.result == ANSWER_MORE, "%s", cut[i]);
		read_fini(&r);
	}
}
END_TEST

START_TEST(headers_that_matter_are_found)
{
	struct read r;

	read_all(&r, "HTTP/1.1 503 Later\r\nServer: x\r\nRetry-After:  7 \r\n"
		     "content-type: application/json; charset=utf-8\r\n"
		     "Keep-Alive: max=5, timeout=15\r\nContent-Length: 2\r\n\r\n{}");
	ck_assert_int_eq(r.result, ANSWER_WHOLE);
	ck_assert(span_is(answer_span(&r.in, r.a.retry_after), "7"));
	ck_assert(span_is(
		answer_span(&r.in, r.a.content_type), "application/json; charset=utf-8"));
	ck_assert_uint_eq(r.a.keep_for_s, 15);
	read_fini(&r);
	read_all(
		&r, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=soon\r\nContent-Length: 0\r\n\r\n");
	ck_assert_int_eq(r.result, ANSWER_WHOLE);
	ck_assert_uint_eq(r.a.keep_for_s, 0);
	ck_assert_uint_eq(answer_span(&r.in, r.a.content_type).len, 0);
	read_fini(&r);
}
END_TEST

START_TEST(heads_and_trailers_have_a_limit)
{
	static const char *const begins[] = {
		"HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200 OK\r\nX: ",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
	};

	for (size_t i = 0; i < 2 * ARRAY_COUNT(begins); i++) {
		struct read r;
		size_t fed = 0;

		read_init(&r);
		buf_text(&r.in, begins[i / 2]);
		while ((r.result = answer_feed(&r.a, &r.in)) == ANSWER_MORE) {
			buf_text(&r.in, i % 2 == 0 ? "xxxxxxxxxxxxxxxx" : "A: b\r\n");
			ck_assert_uint_lt(fed += 16, 4 * HEAD_BYTES);
			ck_assert_int_eq(buf_status(&r.in), ERR_OK);
		}
		ck_assert_int_eq(r.result, ANSWER_BROKEN);
		ck_assert_int_eq(r.a.err, ERR_PROTOCOL);
		if (strstr(begins[i / 2], "\r\n0\r\n") != NULL)
			ck_assert_str_eq(r.a.why, "the trailer is too large");
		ck_assert_uint_le(r.in.len, HEAD_BYTES + CHUNKS_MAX_LINE_BYTES);
		read_fini(&r);
	}
}
END_TEST

/* Chunks of one byte are put together: what has been understood takes no room. */
START_TEST(chunks_take_the_room_of_their_body)
{
	struct read r;

	read_init(&r);
	buf_text(&r.in, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	size_t head_bytes = r.in.len;

	for (size_t i = 0; i < BODY_BYTES; i++) {
		ck_assert_int_eq(answer_feed(&r.a, &r.in), ANSWER_MORE);
		ck_assert_uint_eq(r.in.len, head_bytes + i);
		buf_text(&r.in, "1\r\nb\r\n");
	}
	buf_text(&r.in, "0\r\n\r\n");
	ck_assert_int_eq(answer_feed(&r.a, &r.in), ANSWER_WHOLE);
	ck_assert_uint_eq(r.a.body.len, BODY_BYTES);
	ck_assert(!r.a.has_surplus);
	read_fini(&r);
}
END_TEST

static void expect_same(const struct read *a, const struct read *b, struct span text)
{
	ck_assert_msg(a->result == b->result && a->a.err == b->a.err, "%.*s", SPAN_ARG(text));
	if (a->result != ANSWER_WHOLE)
		return;
	ck_assert_uint_eq(a->a.http_status, b->a.http_status);
	ck_assert(span_equals(answer_span(&a->in, a->a.body), answer_span(&b->in, b->a.body)));
	ck_assert(span_equals(answer_span(&a->in, a->a.content_type),
		answer_span(&b->in, b->a.content_type)));
}

static void expect_same_however_cut(struct span text)
{
	struct read whole;
	struct read pieces;

	read_pieces(&whole, text, SIZE_MAX);
	for (size_t piece = 1; piece < 9; piece += piece < 4 ? 1 : 4) {
		read_pieces(&pieces, text, piece);
		expect_same(&whole, &pieces, text);
		read_fini(&pieces);
	}
	read_fini(&whole);
}

START_TEST(it_does_not_matter_how_the_bytes_are_cut)
{
	for (size_t i = 0; i < ARRAY_COUNT(fine); i++)
		expect_same_however_cut(span_of(fine[i].text));
	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
		expect_same_however_cut(span_of(wrong[i].text));
}
END_TEST

/* Answers with a few bytes changed, dropped or doubled: whatever they are, they are the same
 * however they are cut, and nothing is read that is not there (the address sanitizer looks). */
START_TEST(damaged_answers_are_read_or_refused)
{
	enum { ROUNDS = 20000 };
	static const char bytes[] = "\r\n:;, 019afZ\x7f\t\xff";
	uint64_t dice = 0x5a11;

	for (int round = 0; round < ROUNDS; round++) {
		const char *text = fine[next_random(&dice) % ARRAY_COUNT(fine)].text;
		struct buf damaged;

		buf_init(&damaged, IN_BYTES);
		buf_text(&damaged, text);
		for (uint64_t n = next_random(&dice) % 4; n > 0; n--) {
			size_t at = next_random(&dice) % damaged.len;

			damaged.at[at] = bytes[next_random(&dice) % sizeof(bytes)];
		}
		if (next_random(&dice) % 2 == 0)
			buf_consume(&damaged, next_random(&dice) % 4);
		if (next_random(&dice) % 2 == 0)
			damaged.len -= next_random(&dice) % damaged.len;
		/* A copy of just that size, so that reading beyond it shows. */
		char *exact = malloc(damaged.len);

		memcpy(exact, damaged.at, damaged.len);
		expect_same_however_cut((struct span){ .at = exact, .len = damaged.len });
		free(exact);
		buf_fini(&damaged);
	}
}
END_TEST

START_TEST(retry_after_is_seconds_or_a_date)
{
	static const uint64_t now_ms = 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */
	static const struct {
		const char *text;
		uint64_t ms; /* 0: nothing to wait for */
	} cases[] = {
		{ "7", 7000 },
		{ "0", 0 },
		{ "", 0 },
		{ "-1", 0 },
		{ "soon", 0 },
		{ "18446744073709551615", 100ull * 366 * 24 * 3600 * 1000 },
		{ "Sun, 06 Nov 1994 08:49:38 GMT", 1000 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 0 },
		{ "Sun, 06 Nov 1993 08:49:38 GMT", 0 },
		{ "Sun, 06 Nov 9994 08:49:38 GMT", 100ull * 366 * 24 * 3600 * 1000 },
		{ "Sun, 06 Now 1994 08:49:38 GMT", 0 },
		{ "Sun, 06 Nov 1994 08:49:38 CET", 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint64_t ms = 0;
		bool has = answer_retry_after_ms(span_of(cases[i].text), now_ms, &ms);

		ck_assert_msg(has == (cases[i].ms > 0), "%s", cases[i].text);
		if (has)
			ck_assert_uint_eq(ms, cases[i].ms);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http_answer");
	TCase *tc = tcase_create("http_answer");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_is_an_answer_is_read);
	tcase_add_test(tc, what_is_none_is_refused);
	tcase_add_test(tc, what_was_cut_off_is_no_answer);
	tcase_add_test(tc, headers_that_matter_are_found);
	tcase_add_test(tc, heads_and_trailers_have_a_limit);
	tcase_add_test(tc, chunks_take_the_room_of_their_body);
	tcase_add_test(tc, it_does_not_matter_how_the_bytes_are_cut);
	tcase_add_test(tc, damaged_answers_are_read_or_refused);
	tcase_add_test(tc, retry_after_is_seconds_or_a_date);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
