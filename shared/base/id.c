#include "base/id.h"

#include <string.h>
#include <sys/random.h>

#include "base/bug.h"
#include "base/macro.h"
#include "base/text.h"

enum { POOL_BYTES = 256 };

/* Random bytes are fetched in blocks: one system call for 25 ids. */
static _Thread_local struct {
	uint8_t byte[POOL_BYTES];
	size_t left;
} pool;

static void pool_take(uint8_t *out, size_t bytes)
{
	if (pool.left < bytes) {
		/* Up to 256 bytes getrandom() neither blocks after boot nor returns short. */
		ssize_t got = getrandom(pool.byte, sizeof(pool.byte), 0);

		BUG_ON(got != (ssize_t)sizeof(pool.byte));
		pool.left = sizeof(pool.byte);
	}
	pool.left -= bytes;
	memcpy(out, pool.byte + pool.left, bytes);
	memset(pool.byte + pool.left, 0, bytes);
}

void id_make(struct id *out, uint64_t unix_ms)
{
	for (int i = 0; i < 6; i++)
		out->byte[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
	pool_take(out->byte + 6, 10);
	out->byte[6] = (uint8_t)((out->byte[6] & 0x0f) | 0x70); /* version 7 */
	out->byte[8] = (uint8_t)((out->byte[8] & 0x3f) | 0x80); /* variant of RFC 9562 */
}

void id_set_mark(struct id *id, uint16_t mark)
{
	id->byte[6] = (uint8_t)((id->byte[6] & 0xf0) | (mark >> 8 & 0x0f));
	id->byte[7] = (uint8_t)mark;
}

uint16_t id_mark(const struct id *id)
{
	return (uint16_t)((id->byte[6] & 0x0f) << 8 | id->byte[7]);
}

uint64_t id_unix_ms(const struct id *id)
{
	uint64_t unix_ms = 0;

	for (int i = 0; i < 6; i++)
		unix_ms = unix_ms << 8 | id->byte[i];
	return unix_ms;
}

static bool is_dash_at(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

enum err id_parse(struct span text, struct id *out)
{
	size_t nibble = 0;

	if (text.len != ID_TEXT_LEN)
		return ERR_INPUT;
	*out = (struct id){ 0 };
	for (size_t i = 0; i < text.len; i++) {
		if (is_dash_at(i)) {
			if (text.at[i] != '-')
				return ERR_INPUT;
			continue;
		}
		int value = text_hex_value(text.at[i]);

		if (value < 0)
			return ERR_INPUT;
		out->byte[nibble / 2] = (uint8_t)(out->byte[nibble / 2] << 4 | value);
		nibble++;
	}
	if (out->byte[6] >> 4 != 7 || out->byte[8] >> 6 != 2)
		return ERR_INPUT;
	return ERR_OK;
}

struct id_text id_format(const struct id *id)
{
	static const char digits[] = "0123456789abcdef";
	static const uint8_t ends[] = { 4, 6, 8, 10, ID_BYTES }; /* of the groups, in bytes */
	struct id_text text;
	char *to = text.at;
	size_t i = 0;

	for (size_t group = 0; group < ARRAY_COUNT(ends); group++) {
		if (group > 0)
			*to++ = '-';
		for (; i < ends[group]; i++) {
			*to++ = digits[id->byte[i] >> 4];
			*to++ = digits[id->byte[i] & 0x0f];
		}
	}
	*to = '\0';
	return text;
}
