#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "http/reader.h"
#include "unit.h"

#define HOST "Host: x\r\n"
#define POST_CHUNKED "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

enum { MAX_HEADER = 1024, MAX_BODY = 1000, MUTATIONS = 20000 };

static struct reader reader;
static struct buf in;
static struct problem problem;

static void begin(enum peer_kind from)
{
	const struct head_limits limits = {
		.max_header_bytes = MAX_HEADER,
		.max_body_bytes = MAX_BODY,
	};

	buf_fini(&in);
	buf_init(&in, KIB(256));
	reader_init(&reader, from, &limits);
}

static void setup(void)
{
	begin(PEER_UNIX);
}

static void teardown(void)
{
	buf_fini(&in);
}

static enum reader_result feed(struct span bytes)
{
	buf_append(&in, bytes);
	ck_assert_int_eq(buf_status(&in), ERR_OK);
	return reader_feed(&reader, &in, &problem);
}

/* In pieces of so many bytes, until it is whole or refused. */
static enum reader_result feed_pieces(struct span bytes, size_t piece)
{
	enum reader_result result = READER_MORE;

	while (bytes.len > 0 && result == READER_MORE) {
		struct span first = { .at = bytes.at,
			.len = bytes.len < piece ? bytes.len : piece };

		result = feed(first);
		bytes = span_after(bytes, first.len);
	}
	return result;
}

START_TEST(a_request_gives_its_parts_in_pieces_of_any_size)
{
	const struct span text = LITERAL(
		"\r\n\r\nPUT /a%20b/%C3%BC+c?first=1+2&&empty=&none&%61=%26 "
		"HTTP/1.1\r\n" HOST "x-Thing:\t yes \t\r\nContent-Length: 0004\r\n"
		"X-Empty:\r\nX-Bytes: gr\xc3\xbc\r\n\r\nbody");

	for (size_t piece = 1; piece <= text.len; piece++) {
		struct span v;

		begin(PEER_UNIX);
		ck_assert_int_eq(feed_pieces(text, piece), READER_WHOLE);
		ck_assert_int_eq(reader.method, HTTP_PUT);
		expect_span(reader_path(&reader, &in), "/a b/\xc3\xbc+c");
		ck_assert(reader_query(&reader, &in, "first", &v));
		expect_span(v, "1 2");
		ck_assert(reader_query(&reader, &in, "empty", &v) && v.len == 0);
		ck_assert(reader_query(&reader, &in, "none", &v) && v.len == 0);
		ck_assert(reader_query(&reader, &in, "a", &v));
		expect_span(v, "&");
		ck_assert(!reader_query(&reader, &in, "", &v) && v.len == 0);
		ck_assert(reader_header(&reader, &in, "X-THING", &v));
		expect_span(v, "yes");
		ck_assert(reader_header(&reader, &in, "X-Empty", &v) && v.len == 0);
		ck_assert(reader_header(&reader, &in, "X-Bytes", &v));
		expect_span(v, "gr\xc3\xbc");
		ck_assert(!reader_header(&reader, &in, "X-Thin", &v) && v.len == 0);
		ck_assert(!reader_header(&reader, &in, "X-Thing:", &v));
		expect_span(reader_body(&reader, &in), "body");
		ck_assert(head_keeps_alive(&reader.head));
		reader_next(&reader, &in);
		ck_assert_uint_eq(in.len, 0);
		ck_assert(!reader_has_begun(&reader));
	}
}
END_TEST

START_TEST(chunks_are_put_together_in_pieces_of_any_size)
{
	const struct span text = LITERAL(
		POST_CHUNKED "5\r\nhello\r\n1;ext=\"1\"\r\n \r\n"
			     "0005\r\nworld\r\n00\r\nTrailer: 1\r\n\r\n"
			     "GET /next HTTP/1.1\r\n" HOST "\r\n");

	for (size_t piece = 1; piece <= text.len; piece++) {
		struct span rest;

		begin(PEER_UNIX);
		ck_assert_int_eq(feed_pieces(text, piece), READER_WHOLE);
		expect_span(reader_body(&reader, &in), "hello world");
		/* What came beyond is the next request's. */
		rest = (struct span){ .at = in.at + reader.at, .len = in.len - reader.at };
		ck_assert_uint_lt(rest.len, piece + 1);
		ck_assert(rest.len == 0 || rest.at[0] == 'G');
		reader_next(&reader, &in);
		ck_assert_uint_eq(in.len, rest.len);
	}
}
END_TEST

START_TEST(requests_that_come_together_are_read_one_after_the_other)
{
	struct span v;

	ck_assert_int_eq(feed(LITERAL("GET /1?a=1 HTTP/1.1\r\n" HOST "A: 1\r\n\r\n"
				      "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\ntwo"
				      "GET /3 HTTP/1.0\r\n\r\nGE")),
		READER_WHOLE);
	expect_span(reader_path(&reader, &in), "/1");
	ck_assert_uint_eq(reader_body(&reader, &in).len, 0);
	reader_next(&reader, &in);
	ck_assert_int_eq(reader_feed(&reader, &in, &problem), READER_WHOLE);
	expect_span(reader_path(&reader, &in), "/2");
	expect_span(reader_body(&reader, &in), "two");
	ck_assert(!reader_query(&reader, &in, "a", &v));
	ck_assert(!reader_header(&reader, &in, "A", &v));
	reader_next(&reader, &in);
	ck_assert_int_eq(reader_feed(&reader, &in, &problem), READER_WHOLE);
	expect_span(reader_path(&reader, &in), "/3");
	ck_assert(!head_keeps_alive(&reader.head));
	reader_next(&reader, &in);
	ck_assert_int_eq(reader_feed(&reader, &in, &problem), READER_MORE);
	ck_assert(reader_has_begun(&reader));
}
END_TEST

START_TEST(the_chunks_wrapping_does_not_fill_the_input)
{
	char text[64];

	ck_assert_int_eq(feed(LITERAL(POST_CHUNKED)), READER_MORE);
	for (int i = 0; i < MAX_BODY; i++) {
		snprintf(text, sizeof(text), "001;%040d\r\n%c\r\n", i, 'a' + i % 26);
		ck_assert_int_eq(feed(span_of(text)), READER_MORE);
		ck_assert_uint_le(in.len, sizeof(POST_CHUNKED) + (size_t)i + 1);
	}
	ck_assert_int_eq(feed(LITERAL("0\r\n\r\n")), READER_WHOLE);
	ck_assert_uint_eq(reader_body(&reader, &in).len, MAX_BODY);
	for (int i = 0; i < MAX_BODY; i++)
		ck_assert_int_eq(reader_body(&reader, &in).at[i], 'a' + i % 26);
}
END_TEST

static const struct {
	const char *request;
	bool is_1_1;
	bool stays;
} persistence[] = {
	{ "GET / HTTP/1.1\r\n" HOST "\r\n", true, true },
	{ "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", true, false },
	{ "GET / HTTP/1.1\r\n" HOST "Connection: keep-alive, CLOSE\r\n\r\n", true, false },
	{ "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", true, true },
	{ "GET / HTTP/1.0\r\n\r\n", false, false },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false, true },
	{ "GET / HTTP/1.9\r\n" HOST "\r\n", true, true },
};

START_TEST(whether_a_connection_stays_is_the_clients_to_say)
{
	for (size_t i = 0; i < ARRAY_COUNT(persistence); i++) {
		begin(PEER_UNIX);
		ck_assert_int_eq(feed(span_of(persistence[i].request)), READER_WHOLE);
		ck_assert_int_eq(reader.head.is_http_1_1, persistence[i].is_1_1);
		ck_assert_int_eq(head_keeps_alive(&reader.head), persistence[i].stays);
	}
}
END_TEST

START_TEST(who_waits_to_go_on_is_owed_an_answer_once)
{
	ck_assert_int_eq(feed(LITERAL("POST / HTTP/1.1\r\n" HOST
				      "Expect: 100-Continue\r\nContent-Length: 2\r\n")),
		READER_MORE);
	ck_assert(!reader_owes_continue(&reader));
	ck_assert_int_eq(feed(LITERAL("\r\n")), READER_MORE);
	ck_assert(reader_owes_continue(&reader));
	ck_assert(!reader_owes_continue(&reader));
	ck_assert_int_eq(feed(LITERAL("ok")), READER_WHOLE);
	/* With its body at once, or nothing to come, it is owed nothing. */
	begin(PEER_UNIX);
	ck_assert_int_eq(
		feed(LITERAL("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n")),
		READER_WHOLE);
	ck_assert(!reader_owes_continue(&reader));
}
END_TEST

/* -- what is refused --------------------------------------------------------------------- */

static const struct {
	const char *request;
	enum problem_type type;
} bad[] = {
	{ "HEAD * HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "PATCH * HTTP/1.1\r\n", PROBLEM_WRONG_METHOD },
	{ "OPTIONS * HTTP/1.1\r\n", PROBLEM_WRONG_METHOD },
	{ "get * HTTP/1.1\r\n", PROBLEM_WRONG_METHOD },
	{ "PRI * HTTP/2.0\r\n", PROBLEM_WRONG_VERSION },
	{ "GET / HTTP/0.9\r\n", PROBLEM_WRONG_VERSION },
	{ "GET / HTTP/3.1\r\n", PROBLEM_WRONG_VERSION },
	{ "GET /\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / \r\n", PROBLEM_BAD_REQUEST },
	{ "GET\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1 \r\n", PROBLEM_BAD_REQUEST },
	{ "GET / http/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.10\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\r\n", PROBLEM_BAD_REQUEST },
	{ "GET  / HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET\t/ HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GE(T / HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ " GET / HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "\nGET / HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "\x16\x03\x01\x02", PROBLEM_BAD_REQUEST },
	{ "GET /%zz HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /%00 HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /% HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /x%1 HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /x?a=%0 HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /x?%00=1 HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /a b HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /#a HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /\xc3\xbc HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET http://x/ HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET /?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17 HTTP/1.1\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST HOST "\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "Bad Name: 1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "Length : 1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST ": 1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "A: b\r\n\tc: d\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n " HOST "\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "A: b\x7f\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "A: b\n", PROBLEM_BAD_REQUEST },
	{ "GET / HTTP/1.1\r\n" HOST "\n", PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 1x\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 1 1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
		PROBLEM_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", PROBLEM_UNSUPPORTED },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
		PROBLEM_UNSUPPORTED },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
	  "Transfer-Encoding: chunked\r\n\r\n",
		PROBLEM_UNSUPPORTED },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n",
		PROBLEM_PAYLOAD_TOO_LARGE },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 0001001\r\n\r\n",
		PROBLEM_PAYLOAD_TOO_LARGE },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n",
		PROBLEM_PAYLOAD_TOO_LARGE },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\n",
		PROBLEM_PAYLOAD_TOO_LARGE },
	{ POST_CHUNKED "zz\r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "\r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "-1\r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "0x1\r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED " 1\r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "1 \r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "1\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "1;a\rb\r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "1\r\nxy", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "1\r\nx\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "1\r\nx\rz", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "0\r\nbad trailer\r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "0\r\n folded: 1\r\n", PROBLEM_BAD_REQUEST },
	{ POST_CHUNKED "3e9\r\n", PROBLEM_PAYLOAD_TOO_LARGE },
	{ POST_CHUNKED "1\r\nx\r\n3e8\r\n", PROBLEM_PAYLOAD_TOO_LARGE },
	{ POST_CHUNKED "ffffffffffffffff\r\n", PROBLEM_PAYLOAD_TOO_LARGE },
	{ POST_CHUNKED "10000000000000001\r\n", PROBLEM_PAYLOAD_TOO_LARGE },
};

START_TEST(what_is_malformed_is_refused_at_its_last_byte_at_the_latest)
{
	struct span text = span_of(bad[_i].request);

	for (size_t piece = 1; piece <= text.len; piece++) {
		begin(PEER_UNIX);
		ck_assert_msg(
			feed_pieces(text, piece) == READER_BAD, "taken: %s", bad[_i].request);
		ck_assert_msg(problem.type == bad[_i].type, "%s: %s",
			problem_name(problem.type), bad[_i].request);
		ck_assert(problem.type != PROBLEM_BAD_REQUEST || problem.detail.len > 0);
	}
}
END_TEST

START_TEST(a_nul_is_no_part_of_any_line)
{
	static const struct span lines[] = {
		LITERAL("GET /\0 HTTP/1.1\r\n"),
		LITERAL("G\0T / HTTP/1.1\r\n"),
		LITERAL("GET / HTTP/1.1\r\nHost: x\0\r\n\r\n"),
		LITERAL("GET / HTTP/1.1\r\nHo\0st: x\r\n\r\n"),
		LITERAL(POST_CHUNKED "1\0\r\n"),
		LITERAL(POST_CHUNKED "1;\0\r\n"),
	};

	for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
		begin(PEER_UNIX);
		ck_assert_int_eq(feed(lines[i]), READER_BAD);
		ck_assert_int_eq(problem.type, PROBLEM_BAD_REQUEST);
	}
}
END_TEST

START_TEST(on_the_loopback_port_only_our_own_names_are_answered)
{
	static const struct {
		const char *host;
		enum reader_result result;
	} cases[] = {
		{ "localhost", READER_WHOLE },
		{ "LOCALHOST:80", READER_WHOLE },
		{ "127.0.0.1:1", READER_WHOLE },
		{ "evil.example", READER_BAD },
		{ "localhost.evil", READER_BAD },
		{ "127.0.0.10", READER_BAD },
		{ "", READER_BAD },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char text[128];

		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
			cases[i].host);
		begin(PEER_LOOPBACK);
		ck_assert_int_eq(feed(span_of(text)), cases[i].result);
		ck_assert(
			cases[i].result == READER_WHOLE || problem.type == PROBLEM_MISDIRECTED);
		begin(PEER_UNIX);
		ck_assert_int_eq(feed(span_of(text)), READER_WHOLE);
	}
}
END_TEST

/* -- limits ------------------------------------------------------------------------------ */

/* "<before><as many c as make the whole head `bytes` long><after>" */
static struct span make_head(
	char *to, size_t room, const char *before, const char *after, size_t bytes)
{
	size_t fill = bytes - strlen(before) - strlen(after);

	ck_assert_uint_lt(bytes, room);
	memcpy(to, before, strlen(before));
	memset(to + strlen(before), 'c', fill);
	memcpy(to + strlen(before) + fill, after, strlen(after));
	return (struct span){ .at = to, .len = bytes };
}

START_TEST(a_head_may_be_as_large_as_its_limit)
{
	static const struct {
		const char *before;
		const char *after;
		enum problem_type type;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n" HOST "X: ", "\r\n\r\n", PROBLEM_HEADERS_TOO_LARGE },
		{ "GET /", " HTTP/1.1\r\n" HOST "\r\n", PROBLEM_PATH_TOO_LONG },
		{ "GET /?", " HTTP/1.1\r\n" HOST "\r\n", PROBLEM_PATH_TOO_LONG },
	};
	char text[4 * MAX_HEADER];

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		for (size_t piece = 1; piece <= 2 * MAX_HEADER; piece += 97) {
			begin(PEER_UNIX);
			ck_assert_int_eq(
				feed_pieces(make_head(text, sizeof(text), cases[i].before,
						    cases[i].after, MAX_HEADER),
					piece),
				READER_WHOLE);
			begin(PEER_UNIX);
			ck_assert_int_eq(
				feed_pieces(make_head(text, sizeof(text), cases[i].before,
						    cases[i].after, MAX_HEADER + 1),
					piece),
				READER_BAD);
			ck_assert_int_eq(problem.type, cases[i].type);
			/* Whatever else is wrong with its last line. */
			begin(PEER_UNIX);
			ck_assert_int_eq(
				feed_pieces(make_head(text, sizeof(text), cases[i].before, "\n",
						    MAX_HEADER + 2),
					piece),
				READER_BAD);
			ck_assert_int_eq(problem.type, cases[i].type);
			/* Nobody waits for the end of what is too large already. */
			begin(PEER_UNIX);
			ck_assert_int_eq(
				feed_pieces(make_head(text, sizeof(text), cases[i].before, "",
						    MAX_HEADER + 1),
					piece),
				READER_BAD);
			ck_assert_int_eq(problem.type, cases[i].type);
		}
	}
}
END_TEST

START_TEST(lines_around_chunks_are_limited)
{
	char text[4 * MAX_HEADER];

	ck_assert_int_eq(feed(LITERAL(POST_CHUNKED)), READER_MORE);
	ck_assert_int_eq(feed(make_head(text, sizeof(text), "1;", "", READER_MAX_CHUNK_LINE)),
		READER_MORE);
	ck_assert_int_eq(feed(LITERAL("c")), READER_BAD);
	begin(PEER_UNIX);
	ck_assert_int_eq(feed(LITERAL(POST_CHUNKED "0\r\n")), READER_MORE);
	for (size_t sent = 0; sent + 16 <= MAX_HEADER; sent += 16)
		ck_assert_int_eq(feed(LITERAL("Trailer: 89abc\r\n")), READER_MORE);
	ck_assert_int_eq(feed(LITERAL("T: 1\r\n")), READER_BAD);
	ck_assert_int_eq(problem.type, PROBLEM_HEADERS_TOO_LARGE);
	begin(PEER_UNIX);
	ck_assert_int_eq(feed(LITERAL(POST_CHUNKED "0\r\n")), READER_MORE);
	ck_assert_int_eq(
		feed(make_head(text, sizeof(text), "X: ", "", MAX_HEADER + 1)), READER_BAD);
	ck_assert_int_eq(problem.type, PROBLEM_HEADERS_TOO_LARGE);
}
END_TEST

START_TEST(a_limit_means_the_same_however_the_bytes_are_cut)
{
	char text[4 * MAX_HEADER];

	for (size_t piece = 1; piece <= READER_MAX_CHUNK_LINE + 1; piece++) {
		begin(PEER_UNIX);
		ck_assert_int_eq(feed(LITERAL(POST_CHUNKED)), READER_MORE);
		ck_assert_int_eq(feed_pieces(make_head(text, sizeof(text), "1;", "\r\n",
						     READER_MAX_CHUNK_LINE),
					 piece),
			READER_MORE);
		begin(PEER_UNIX);
		ck_assert_int_eq(feed(LITERAL(POST_CHUNKED)), READER_MORE);
		ck_assert_int_eq(feed_pieces(make_head(text, sizeof(text), "1;", "\r\n",
						     READER_MAX_CHUNK_LINE + 1),
					 piece),
			READER_BAD);
	}
	for (size_t piece = 1; piece <= MAX_HEADER + 2; piece++) {
		begin(PEER_UNIX);
		ck_assert_int_eq(feed(LITERAL(POST_CHUNKED "0\r\n")), READER_MORE);
		ck_assert_int_eq(
			feed_pieces(make_head(text, sizeof(text), "X: ", "\n", MAX_HEADER + 2),
				piece),
			READER_BAD);
		ck_assert_int_eq(problem.type, PROBLEM_HEADERS_TOO_LARGE);
	}
}
END_TEST

START_TEST(headers_are_counted_by_their_name)
{
	ck_assert_int_eq(feed(LITERAL("GET / HTTP/1.1\r\n" HOST "A: 1\r\nB: 1\r\na:\r\n"
				      "Aa: 1\r\n\r\n")),
		READER_WHOLE);
	ck_assert_uint_eq(reader_header_count(&reader, &in, "a"), 2);
	ck_assert_uint_eq(reader_header_count(&reader, &in, "B"), 1);
	ck_assert_uint_eq(reader_header_count(&reader, &in, "C"), 0);
}
END_TEST

START_TEST(a_body_may_be_as_large_as_its_limit)
{
	char body[MAX_BODY];

	memset(body, 'b', sizeof(body));
	ck_assert_int_eq(
		feed(LITERAL("POST / HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n")),
		READER_MORE);
	ck_assert_int_eq(feed((struct span){ .at = body, .len = MAX_BODY - 1 }), READER_MORE);
	ck_assert_int_eq(feed((struct span){ .at = body, .len = 2 }), READER_WHOLE);
	ck_assert_uint_eq(reader_body(&reader, &in).len, MAX_BODY);
	reader_next(&reader, &in);
	ck_assert_uint_eq(in.len, 1);
}
END_TEST

/* -- anything at all --------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* What became of the bytes: a number that tells different outcomes apart. */
static unsigned outcome(struct span text, size_t piece)
{
	unsigned sum = 0;

	begin(PEER_UNIX);
	while (text.len > 0) {
		struct span first = { .at = text.at,
			.len = text.len < piece ? text.len : piece };
		enum reader_result result = feed(first);

		while (result == READER_WHOLE) {
			struct span path = reader_path(&reader, &in);
			struct span body = reader_body(&reader, &in);

			for (size_t i = 0; i < path.len; i++)
				sum = sum * 31 + (unsigned char)path.at[i];
			for (size_t i = 0; i < body.len; i++)
				sum = sum * 33 + (unsigned char)body.at[i];
			sum = sum * 7 + (unsigned)reader.method;
			reader_next(&reader, &in);
			result = in.len > 0 ? reader_feed(&reader, &in, &problem) : READER_MORE;
		}
		if (result == READER_BAD)
			return sum * 101 + (unsigned)problem.type + 1;
		text = span_after(text, first.len);
	}
	return sum;
}

START_TEST(mutated_requests_come_out_the_same_in_pieces_of_any_size)
{
	static const char good[] =
		"POST /echo?a=%20b HTTP/1.1\r\n" HOST
		"Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody" POST_CHUNKED
		"5;x\r\nhello\r\n1\r\n \r\n0\r\nT: 1\r\n\r\nGET /z HTTP/1.0\r\n\r\n";
	static const char spice[] = "\r\n\r\n \t:;%?&=,/0159afGPOST\"\x7f\xff";
	char text[sizeof(good) - 1];
	uint32_t random = 1;

	for (int i = 0; i < MUTATIONS; i++) {
		memcpy(text, good, sizeof(text));
		for (uint32_t n = next_random(&random) % 4; n > 0; n--)
			text[next_random(&random) % sizeof(text)] =
				next_random(&random) % 2 == 0
					? spice[next_random(&random) % (sizeof(spice) - 1)]
					: (char)next_random(&random);
		struct span all = { .at = text,
			.len = next_random(&random) % sizeof(text) + 1 };
		unsigned at_once = outcome(all, all.len);

		ck_assert_uint_eq(outcome(all, 1), at_once);
		ck_assert_uint_eq(outcome(all, 1 + next_random(&random) % 40), at_once);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http_reader");
	TCase *tc = tcase_create("http_reader");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_request_gives_its_parts_in_pieces_of_any_size);
	tcase_add_test(tc, chunks_are_put_together_in_pieces_of_any_size);
	tcase_add_test(tc, requests_that_come_together_are_read_one_after_the_other);
	tcase_add_test(tc, the_chunks_wrapping_does_not_fill_the_input);
	tcase_add_test(tc, whether_a_connection_stays_is_the_clients_to_say);
	tcase_add_test(tc, who_waits_to_go_on_is_owed_an_answer_once);
	tcase_add_loop_test(tc, what_is_malformed_is_refused_at_its_last_byte_at_the_latest, 0,
		ARRAY_COUNT(bad));
	tcase_add_test(tc, a_nul_is_no_part_of_any_line);
	tcase_add_test(tc, on_the_loopback_port_only_our_own_names_are_answered);
	tcase_add_test(tc, a_head_may_be_as_large_as_its_limit);
	tcase_add_test(tc, lines_around_chunks_are_limited);
	tcase_add_test(tc, a_limit_means_the_same_however_the_bytes_are_cut);
	tcase_add_test(tc, headers_are_counted_by_their_name);
	tcase_add_test(tc, a_body_may_be_as_large_as_its_limit);
	tcase_add_test(tc, mutated_requests_come_out_the_same_in_pieces_of_any_size);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
