#include "base/text.h"

#include <stdio.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static enum err parse_with_unit(
	struct span text, const struct unit *units, size_t unit_count, uint64_t *out)
{
	size_t digits = 0;
	uint64_t number;

	while (digits < text.len && text.at[digits] >= '0' && text.at[digits] <= '9')
		digits++;
	enum err err = text_parse_u64((struct span){ .at = text.at, .len = digits }, &number);

	if (err != ERR_OK)
		return err;
	struct span unit = span_after(text, digits);

	for (size_t i = 0; i < unit_count; i++) {
		if (!span_is(unit, units[i].name))
			continue;
		if (__builtin_mul_overflow(number, units[i].factor, &number))
			return ERR_INPUT;
		*out = number;
		return ERR_OK;
	}
	if (unit.len == 0 && number == 0) {
		*out = 0;
		return ERR_OK;
	}
	return ERR_INPUT;
}

enum err text_parse_u64(struct span text, uint64_t *out)
{
	uint64_t value = 0;

	if (text.len == 0 || (text.len > 1 && text.at[0] == '0'))
		return ERR_INPUT;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return ERR_INPUT;
		if (__builtin_mul_overflow(value, 10u, &value) ||
			__builtin_add_overflow(value, (uint64_t)(text.at[i] - '0'), &value))
			return ERR_INPUT;
	}
	*out = value;
	return ERR_OK;
}

enum err text_parse_duration_ms(struct span text, uint64_t *out)
{
	static const struct unit units[] = {
		{ "ms", 1 },
		{ "s", 1000 },
		{ "m", 60 * 1000 },
		{ "h", 60 * 60 * 1000 },
		{ "d", 24 * 60 * 60 * 1000 },
	};

	return parse_with_unit(text, units, ARRAY_COUNT(units), out);
}

enum err text_parse_size_bytes(struct span text, uint64_t *out)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "KiB", KIB(1) },
		{ "MiB", MIB(1) },
		{ "GiB", MIB(1024) },
	};

	return parse_with_unit(text, units, ARRAY_COUNT(units), out);
}

enum err text_parse_bool(struct span text, bool *out)
{
	if (span_is(text, "yes") || span_is(text, "true")) {
		*out = true;
		return ERR_OK;
	}
	if (span_is(text, "no") || span_is(text, "false")) {
		*out = false;
		return ERR_OK;
	}
	return ERR_INPUT;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span text_trim(struct span text)
{
	while (text.len > 0 && is_blank(text.at[0])) {
		text.at++;
		text.len--;
	}
	while (text.len > 0 && is_blank(text.at[text.len - 1]))
		text.len--;
	return text;
}

struct span text_cut(struct span *rest, char separator)
{
	const char *end = rest->len == 0 ? NULL : memchr(rest->at, separator, rest->len);
	struct span head = *rest;

	if (end == NULL) {
		*rest = (struct span){ 0 };
		return head;
	}
	head.len = (size_t)(end - rest->at);
	*rest = (struct span){ .at = end + 1, .len = rest->len - head.len - 1 };
	return head;
}

int text_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

size_t text_utf8_character(struct span text)
{
	const unsigned char *p = (const unsigned char *)text.at;
	size_t more;
	unsigned char low = 0x80;
	unsigned char high = 0xbf;

	if (text.len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		more = 1;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		more = 2;
		low = p[0] == 0xe0 ? 0xa0 : 0x80;  /* no overlong form */
		high = p[0] == 0xed ? 0x9f : 0xbf; /* no surrogate */
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		more = 3;
		low = p[0] == 0xf0 ? 0x90 : 0x80;
		high = p[0] == 0xf4 ? 0x8f : 0xbf; /* nothing above U+10FFFF */
	} else {
		return 0;
	}
	if (text.len <= more || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i <= more; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return more + 1;
}

bool text_is_utf8(struct span text)
{
	while (text.len > 0) {
		size_t len = text_utf8_character(text);

		if (len == 0)
			return false;
		text = span_after(text, len);
	}
	return true;
}

bool text_is_name(struct span text, size_t max)
{
	if (text.len == 0 || text.len > max)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';

		if (!fine)
			return false;
	}
	return true;
}

struct text_shown text_show(struct span text)
{
	struct text_shown shown;
	size_t used = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];
		char piece[8];
		int len;

		if (c == '"' || c == '\\')
			len = snprintf(piece, sizeof(piece), "\\%c", c);
		else if (c >= 0x20 && c < 0x7f)
			len = snprintf(piece, sizeof(piece), "%c", c);
		else
			len = snprintf(piece, sizeof(piece), "\\x%02x", c);
		if (used + (size_t)len + sizeof("...") > sizeof(shown.at)) {
			memcpy(shown.at + used, "...", 3);
			used += 3;
			break;
		}
		memcpy(shown.at + used, piece, (size_t)len);
		used += (size_t)len;
	}
	shown.at[used] = '\0';
	return shown;
}
