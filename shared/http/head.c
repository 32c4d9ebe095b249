#include "http/head.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

static bool equals_caseless(struct span text, const char *other)
{
	return text.len == strlen(other) && strncasecmp(text.at, other, text.len) == 0;
}

/* A list of words, "keep-alive, Upgrade". */
static void read_connection(struct head *head, struct span value)
{
	while (value.len > 0) {
		struct span word = text_trim(text_cut(&value, ','));

		if (equals_caseless(word, "close"))
			head->says_close = true;
		else if (equals_caseless(word, "keep-alive"))
			head->says_keep_alive = true;
	}
}

void head_add(struct head *head, struct span name, struct span value)
{
	if (equals_caseless(name, "Host")) {
		head->host = value;
		head->host_count++;
	} else if (equals_caseless(name, "Content-Length")) {
		head->length = value;
		head->length_count++;
	} else if (equals_caseless(name, "Transfer-Encoding")) {
		head->coding = value;
		head->coding_count++;
	} else if (equals_caseless(name, "Connection")) {
		read_connection(head, value);
	} else if (equals_caseless(name, "Expect")) {
		head->wants_continue = equals_caseless(value, "100-continue");
	}
}

/* A page in somebody's browser can be made to send here under a name of its own. */
static bool host_is_local(struct span host)
{
	static const char *const names[] = { "localhost", "127.0.0.1" };

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		struct span name = host;
		size_t len = strlen(names[i]);

		if (host.len > len && host.at[len] == ':')
			name.len = len;
		if (equals_caseless(name, names[i]))
			return true;
	}
	return false;
}

static bool is_digits(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
	return text.len > 0;
}

/* What no reader could be sure about; NULL when there is nothing. */
static const char *find_fault(const struct head *head)
{
	if (head->host_count > 1 || (head->host_count == 0 && head->is_http_1_1))
		return "exactly one Host header is needed";
	if (head->length_count > 1)
		return "more than one Content-Length";
	if (head->length_count == 1 && !is_digits(head->length))
		return "Content-Length is not a number of bytes";
	if (head->coding_count > 0 && head->length_count > 0)
		return "both Content-Length and Transfer-Encoding";
	if (head->coding_count > 0 && !head->is_http_1_1)
		return "Transfer-Encoding needs HTTP/1.1";
	return NULL;
}

static enum err no(struct problem *out, enum problem_type type, const char *detail)
{
	*out = (struct problem){ .type = type, .detail = span_of(detail) };
	return ERR_INPUT;
}

enum err head_judge(struct head *head, const struct head_limits *limits, struct problem *out)
{
	const char *fault = find_fault(head);
	struct span digits = head->length;
	uint64_t bytes = 0;

	if (fault != NULL)
		return no(out, PROBLEM_BAD_REQUEST, fault);
	if (head->coding_count > 1 ||
		(head->coding_count == 1 && !equals_caseless(head->coding, "chunked")))
		return no(out, PROBLEM_UNSUPPORTED, "the only transfer coding is chunked");
	if (head->from == PEER_LOOPBACK && head->host_count == 1 && !host_is_local(head->host))
		return no(out, PROBLEM_MISDIRECTED, NULL);
	while (digits.len > 1 && digits.at[0] == '0')
		digits = span_after(digits, 1);
	if (head->length_count == 1 &&
		(text_parse_u64(digits, &bytes) != ERR_OK || bytes > limits->max_body_bytes))
		return no(out, PROBLEM_PAYLOAD_TOO_LARGE, NULL);
	head->body_bytes = (size_t)bytes;
	return ERR_OK;
}

bool head_keeps_alive(const struct head *head)
{
	return !head->says_close && (head->is_http_1_1 || head->says_keep_alive);
}

enum http_method head_method_parse(struct span text)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET",
		[HTTP_POST] = "POST",
		[HTTP_PUT] = "PUT",
		[HTTP_DELETE] = "DELETE",
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		if (span_is(text, names[i]))
			return (enum http_method)i;
	return HTTP_OTHER;
}

bool head_target_is_fine(struct span target)
{
	for (size_t i = 0; i < target.len; i++) {
		unsigned char c = (unsigned char)target.at[i];

		if (c <= 0x20 || c >= 0x7f || c == '#')
			return false;
	}
	return target.len > 0 && target.at[0] == '/';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

enum err head_unescape(char *text, size_t len, enum head_plus plus, size_t *out_len)
{
	size_t to = 0;

	for (size_t from = 0; from < len; from++) {
		char c = text[from];

		if (c == '+' && plus == HEAD_PLUS_IS_BLANK)
			c = ' ';
		if (c == '%') {
			int high = len - from > 2 ? hex_value(text[from + 1]) : -1;
			int low = len - from > 2 ? hex_value(text[from + 2]) : -1;

			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return ERR_INPUT;
			c = (char)(high * 16 + low);
			from += 2;
		}
		text[to++] = c;
	}
	*out_len = to;
	return ERR_OK;
}
