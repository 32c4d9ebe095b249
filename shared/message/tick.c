#include "message/tick.h"

#include "base/buf.h"
#include "base/clock.h"
#include "message/digest.h"

static const int64_t TICK_MAX_UNIX_S = ((INT64_C(1) << 48) - 1) / 1000;

enum err tick_id(struct span schedule, int64_t tick_unix_s, struct id *out)
{
	struct digest digest;
	struct buf text;

	if (tick_unix_s < 0 || tick_unix_s > TICK_MAX_UNIX_S)
		return ERR_INPUT;
	uint64_t unix_ms = (uint64_t)tick_unix_s * 1000;

	buf_init(&text, KIB(4));
	buf_append(&text, schedule);
	/* No name has a NUL: "a" at 11 is not "a1" at 1. */
	buf_byte(&text, 0);
	buf_format(&text, "%lld", (long long)tick_unix_s);
	enum err err = buf_status(&text);

	if (err == ERR_OK)
		err = digest_of(buf_span(&text), &digest);
	buf_fini(&text);
	if (err != ERR_OK)
		return err;
	memcpy(out->byte, digest.byte, ID_BYTES);
	for (unsigned i = 0; i < 6; i++)
		out->byte[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
	out->byte[6] = (uint8_t)(0x70 | (out->byte[6] & 0x0f));
	out->byte[8] = (uint8_t)(0x80 | (out->byte[8] & 0x3f));
	return ERR_OK;
}
