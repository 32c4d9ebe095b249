#include "http/head.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/raw.h"

static bool equals_caseless(struct span text, const char *other)
{
	return text.len == strlen(other) && strncasecmp(text.at, other, text.len) == 0;
}

void head_add(struct head *head, struct span name, struct span value)
{
	if (!raw_is_token(name))
		head->has_broken_name = true;
	if (equals_caseless(name, "Host")) {
		head->host = value;
		head->host_count++;
	} else if (equals_caseless(name, "Content-Length")) {
		head->length = value;
		head->length_count++;
	} else if (equals_caseless(name, "Transfer-Encoding")) {
		head->coding = value;
		head->coding_count++;
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

static bool length_exceeds(struct span digits, size_t max)
{
	uint64_t value;

	while (digits.len > 1 && digits.at[0] == '0')
		digits = span_after(digits, 1);
	return text_parse_u64(digits, &value) != ERR_OK || value > max;
}

/* What no reader could be sure about; NULL when there is nothing. */
static const char *find_fault(const struct head *head)
{
	if (head->target_is_broken)
		return "the path or query is not a valid request target";
	if (head->has_broken_name)
		return "a header's name is not a token";
	if (head->host_count > 1 || (head->host_count == 0 && head->is_http_1_1))
		return "exactly one Host header is needed";
	if (head->length_count > 1)
		return "more than one Content-Length";
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

enum err head_judge(
	const struct head *head, const struct head_limits *limits, struct problem *out)
{
	const char *fault = find_fault(head);
	enum http_method method;

	if (head_method_parse(head->method, &method) != ERR_OK)
		return no(out, PROBLEM_WRONG_METHOD, NULL);
	if (head->bytes > limits->max_header_bytes)
		return no(out,
			head->target_bytes > limits->max_header_bytes / 2
				? PROBLEM_PATH_TOO_LONG
				: PROBLEM_HEADERS_TOO_LARGE,
			NULL);
	if (fault != NULL)
		return no(out, PROBLEM_BAD_REQUEST, fault);
	if (head->coding_count > 1 ||
		(head->coding_count == 1 && !equals_caseless(head->coding, "chunked")))
		return no(out, PROBLEM_UNSUPPORTED, "the only transfer coding is chunked");
	if (head->from == PEER_LOOPBACK && head->host_count == 1 && !host_is_local(head->host))
		return no(out, PROBLEM_MISDIRECTED, NULL);
	if (head->length_count == 1 && length_exceeds(head->length, limits->max_body_bytes))
		return no(out, PROBLEM_PAYLOAD_TOO_LARGE, NULL);
	return ERR_OK;
}

enum err head_method_parse(const char *text, enum http_method *out)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET",
		[HTTP_POST] = "POST",
		[HTTP_PUT] = "PUT",
		[HTTP_DELETE] = "DELETE",
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*out = (enum http_method)i;
		return ERR_OK;
	}
	return ERR_INPUT;
}

bool head_target_is_fine(const char *target)
{
	if (target == NULL || target[0] != '/')
		return false;
	for (const char *p = target; *p != '\0'; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
			return false;
	return true;
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

enum err head_unescape(char *text, size_t *out_len)
{
	enum err err = ERR_OK;
	char *to = text;

	for (const char *from = text; *from != '\0';) {
		if (*from != '%') {
			*to++ = *from++;
			continue;
		}
		int high = hex_value(from[1]);
		int low = high < 0 ? -1 : hex_value(from[2]);

		if (low < 0 || (high == 0 && low == 0)) {
			err = ERR_INPUT;
			break;
		}
		*to++ = (char)(high * 16 + low);
		from += 3;
	}
	*to = '\0';
	*out_len = (size_t)(to - text);
	return err;
}
