#include "contract/format.h"

#include <arpa/inet.h>
#include <stdint.h>

#include "base/text.h"

enum {
	LOCAL_PART_MAX = 64, /* RFC 5321, 4.5.3.1 */
	DOMAIN_MAX = 255,
	LABEL_MAX = 63,
};

enum format format_named(struct span name)
{
#define FORMAT_IS(code, text)      \
	if (span_is(name, (text))) \
		return code;
	FORMAT_MAP(FORMAT_IS)
#undef FORMAT_IS
	return FORMAT_NONE;
}

const char *format_text(enum format format)
{
	switch (format) {
#define FORMAT_CASE(code, text) \
	case code:              \
		return text;
		FORMAT_MAP(FORMAT_CASE)
#undef FORMAT_CASE
	case FORMAT_ID:
		return "id";
	case FORMAT_NONE:
	case FORMATS:
		break;
	}
	return "none";
}

/* What is left of a text. Each take_ says whether it stood there. */
struct rest {
	const char *at;
	const char *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
	return text_hex_value(c) >= 0;
}

static bool is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static bool take(struct rest *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool take_either(struct rest *r, char a, char b)
{
	return take(r, a) || take(r, b);
}

/* Exactly so many digits. */
static bool take_number(struct rest *r, int digits, int *out)
{
	if (r->end - r->at < digits)
		return false;
	*out = 0;
	for (int i = 0; i < digits; i++, r->at++) {
		if (!is_digit(*r->at))
			return false;
		*out = *out * 10 + (*r->at - '0');
	}
	return true;
}

static struct rest rest_of(struct span text)
{
	return (struct rest){ text.at, text.at + text.len };
}

/* ---- dates ---- */

static int days_of(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && is_leap);
}

static bool take_date(struct rest *r)
{
	int year;
	int month;
	int day;

	return take_number(r, 4, &year) && take(r, '-') && take_number(r, 2, &month) &&
	       take(r, '-') && take_number(r, 2, &day) && month >= 1 && month <= 12 &&
	       day >= 1 && day <= days_of(year, month);
}

/* Minutes to take away for UTC. */
static bool take_offset(struct rest *r, int *out)
{
	int hours;
	int minutes;

	*out = 0;
	if (take_either(r, 'Z', 'z'))
		return true;
	bool is_east = r->at < r->end && *r->at == '+';

	if (!take_either(r, '+', '-') || !take_number(r, 2, &hours) || !take(r, ':') ||
		!take_number(r, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*out = is_east ? hours * 60 + minutes : -(hours * 60 + minutes);
	return true;
}

static bool take_time(struct rest *r)
{
	enum { DAY_MINUTES = 24 * 60 };
	int hours;
	int minutes;
	int seconds;
	int offset;

	if (!take_number(r, 2, &hours) || !take(r, ':') || !take_number(r, 2, &minutes) ||
		!take(r, ':') || !take_number(r, 2, &seconds))
		return false;
	if (hours > 23 || minutes > 59 || seconds > 60)
		return false;
	if (take(r, '.')) {
		int digit;

		if (!take_number(r, 1, &digit))
			return false;
		while (r->at < r->end && is_digit(*r->at))
			r->at++;
	}
	if (!take_offset(r, &offset))
		return false;
	/* A leap second is the last one of a day in UTC. */
	int utc = (hours * 60 + minutes - offset + 2 * DAY_MINUTES) % DAY_MINUTES;

	return seconds < 60 || utc == DAY_MINUTES - 1;
}

static bool is_date(struct span text)
{
	struct rest r = rest_of(text);

	return take_date(&r) && r.at == r.end;
}

static bool is_date_time(struct span text)
{
	struct rest r = rest_of(text);

	return take_date(&r) && take_either(&r, 'T', 't') && take_time(&r) && r.at == r.end;
}

/* ---- identifiers ---- */

static bool is_uuid(struct span text)
{
	enum { UUID_BYTES = 36 };

	if (text.len != UUID_BYTES)
		return false;
	for (size_t i = 0; i < UUID_BYTES; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (is_dash ? text.at[i] != '-' : !is_hex(text.at[i]))
			return false;
	}
	return true;
}

static bool is_id(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!is_letter(text.at[i]) && !is_digit(text.at[i]) &&
			!is_one_of(text.at[i], "-_.:@"))
			return false;
	return text.len > 0;
}

/* ---- addresses ---- */

/* inet_pton() is strict, but wants a NUL. */
static bool is_address(int family, struct span text)
{
	char copy[INET6_ADDRSTRLEN];
	unsigned char address[sizeof(struct in6_addr)];

	if (text.len == 0 || text.len >= sizeof(copy) ||
		memchr(text.at, '\0', text.len) != NULL)
		return false;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	return inet_pton(family, copy, address) == 1;
}

/* Labels of letters, digits and inner dashes, with single dots between. */
static bool is_domain(struct span text)
{
	size_t label = 0;

	if (text.len == 0 || text.len > DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];

		if (c == '.') {
			if (label == 0 || text.at[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!is_letter(c) && !is_digit(c) && (c != '-' || label == 0))
			return false;
		if (++label > LABEL_MAX)
			return false;
	}
	return label > 0 && text.at[text.len - 1] != '-';
}

/* RFC 5321, 4.1.3: [192.0.2.1], [IPv6:2001:db8::1]. General literals have no meaning yet. */
static bool is_address_literal(struct span text)
{
	if (text.len < 2 || text.at[0] != '[' || text.at[text.len - 1] != ']')
		return false;
	struct span inside = { text.at + 1, text.len - 2 };

	if (inside.len > 5 && strncasecmp(inside.at, "IPv6:", 5) == 0)
		return is_address(AF_INET6, span_after(inside, 5));
	return is_address(AF_INET, inside);
}

static bool is_atom_character(char c)
{
	return is_letter(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-/=?^_`{|}~");
}

static bool take_dot_string(struct rest *r)
{
	do {
		const char *begin = r->at;

		while (r->at < r->end && is_atom_character(*r->at))
			r->at++;
		if (r->at == begin)
			return false;
	} while (take(r, '.'));
	return true;
}

static bool take_quoted_string(struct rest *r)
{
	if (!take(r, '"'))
		return false;
	while (r->at < r->end && *r->at != '"') {
		if (*r->at == '\\')
			r->at++;
		if (r->at == r->end || *r->at < ' ' || *r->at > '~')
			return false;
		r->at++;
	}
	return take(r, '"');
}

static bool is_email(struct span text)
{
	struct rest r = rest_of(text);
	bool is_quoted = text.len > 0 && text.at[0] == '"';

	if (is_quoted ? !take_quoted_string(&r) : !take_dot_string(&r))
		return false;
	if (r.at - text.at > LOCAL_PART_MAX || !take(&r, '@'))
		return false;
	struct span domain = { r.at, (size_t)(r.end - r.at) };

	return is_domain(domain) || is_address_literal(domain);
}

/* ---- URIs (RFC 3986, appendix A) ---- */

static bool is_unreserved(char c)
{
	return is_letter(c) || is_digit(c) || is_one_of(c, "-._~");
}

static bool is_sub_delim(char c)
{
	return is_one_of(c, "!$&'()*+,;=");
}

/* Of unreserved, sub-delims, percent-encoded and `more`. */
static void take_characters(struct rest *r, const char *more)
{
	while (r->at < r->end) {
		if (is_unreserved(*r->at) || is_sub_delim(*r->at) || is_one_of(*r->at, more))
			r->at++;
		else if (*r->at == '%' && r->end - r->at >= 3 && is_hex(r->at[1]) &&
			 is_hex(r->at[2]))
			r->at += 3;
		else
			return;
	}
}

static bool take_scheme(struct rest *r)
{
	if (r->at == r->end || !is_letter(*r->at))
		return false;
	while (r->at < r->end &&
		(is_letter(*r->at) || is_digit(*r->at) || is_one_of(*r->at, "+-.")))
		r->at++;
	return take(r, ':');
}

/* v1.something */
static bool is_future_address(struct span text)
{
	struct rest r = rest_of(text);

	if (!take_either(&r, 'v', 'V'))
		return false;
	const char *begin = r.at;

	while (r.at < r.end && is_hex(*r.at))
		r.at++;
	if (r.at == begin || !take(&r, '.') || r.at == r.end)
		return false;
	while (r.at < r.end && (is_unreserved(*r.at) || is_sub_delim(*r.at) || *r.at == ':'))
		r.at++;
	return r.at == r.end;
}

static bool take_host(struct rest *r)
{
	if (!take(r, '[')) {
		take_characters(r, "");
		return true;
	}
	const char *begin = r->at;

	while (r->at < r->end && *r->at != ']')
		r->at++;
	struct span inside = { begin, (size_t)(r->at - begin) };

	return take(r, ']') && (is_address(AF_INET6, inside) || is_future_address(inside));
}

/* Behind //. */
static bool take_authority(struct rest *r)
{
	struct rest user = *r;

	take_characters(&user, ":");
	if (take(&user, '@'))
		*r = user;
	if (!take_host(r))
		return false;
	if (take(r, ':'))
		while (r->at < r->end && is_digit(*r->at))
			r->at++;
	return r->at == r->end || is_one_of(*r->at, "/?#");
}

static bool is_uri(struct span text)
{
	struct rest r = rest_of(text);

	if (!take_scheme(&r))
		return false;
	if (r.end - r.at >= 2 && r.at[0] == '/' && r.at[1] == '/') {
		r.at += 2;
		if (!take_authority(&r))
			return false;
	}
	take_characters(&r, ":@/");
	if (take(&r, '?'))
		take_characters(&r, ":@/?");
	if (take(&r, '#'))
		take_characters(&r, ":@/?");
	return r.at == r.end;
}

bool format_fits(enum format format, struct span text)
{
	if (text.len == 0)
		return false;
	switch (format) {
	case FORMAT_DATE:
		return is_date(text);
	case FORMAT_DATE_TIME:
		return is_date_time(text);
	case FORMAT_UUID:
		return is_uuid(text);
	case FORMAT_EMAIL:
		return is_email(text);
	case FORMAT_URI:
		return is_uri(text);
	case FORMAT_IPV4:
		return is_address(AF_INET, text);
	case FORMAT_IPV6:
		return is_address(AF_INET6, text);
	case FORMAT_ID:
		return is_id(text);
	case FORMAT_NONE:
	case FORMATS:
		break;
	}
	return true;
}
