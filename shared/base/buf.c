#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

enum { BUF_FIRST_BYTES = 256 };

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){ .max_bytes = max_bytes };
}

void buf_fini(struct buf *b)
{
	free(b->at);
	*b = (struct buf){ 0 };
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->status = ERR_OK;
}

void buf_shrink(struct buf *b, size_t keep_bytes)
{
	buf_clear(b);
	if (b->room <= keep_bytes)
		return;
	free(b->at);
	b->at = NULL;
	b->room = 0;
}

char *buf_reserve(struct buf *b, size_t bytes)
{
	if (b->status != ERR_OK)
		return NULL;
	if (bytes > b->max_bytes || b->len > b->max_bytes - bytes) {
		b->status = ERR_FULL;
		return NULL;
	}
	size_t need = b->len + bytes;

	if (need > b->room || b->at == NULL) {
		size_t room = b->room < BUF_FIRST_BYTES ? BUF_FIRST_BYTES : b->room;

		while (room < need)
			room *= 2;
		if (room > b->max_bytes && need <= b->max_bytes)
			room = b->max_bytes;
		char *at = realloc(b->at, room == 0 ? 1 : room);

		if (at == NULL) {
			b->status = ERR_NOMEM;
			return NULL;
		}
		b->at = at;
		b->room = room;
	}
	return b->at + b->len;
}

void buf_advance(struct buf *b, size_t bytes)
{
	BUG_ON(bytes > b->room - b->len);
	b->len += bytes;
}

void buf_append(struct buf *b, struct span bytes)
{
	if (bytes.len == 0)
		return;
	char *to = buf_reserve(b, bytes.len);

	if (to == NULL)
		return;
	memcpy(to, bytes.at, bytes.len);
	b->len += bytes.len;
}

void buf_text(struct buf *b, const char *text)
{
	buf_append(b, span_of(text));
}

void buf_byte(struct buf *b, uint8_t byte)
{
	char c = (char)byte;

	buf_append(b, (struct span){ .at = &c, .len = 1 });
}

void buf_format(struct buf *b, const char *format, ...)
{
	char small[512];
	va_list args;

	va_start(args, format);
	int len = vsnprintf(small, sizeof(small), format, args);

	va_end(args);
	if (len < 0) {
		b->status = b->status == ERR_OK ? ERR_INPUT : b->status;
		return;
	}
	if ((size_t)len < sizeof(small)) {
		buf_append(b, (struct span){ .at = small, .len = (size_t)len });
		return;
	}
	/* Not straight into the buffer: the NUL at the end may be the byte that has no room. */
	char *text;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0) {
		b->status = b->status == ERR_OK ? ERR_NOMEM : b->status;
		return;
	}
	buf_append(b, (struct span){ .at = text, .len = (size_t)len });
	free(text);
}

void buf_consume(struct buf *b, size_t bytes)
{
	BUG_ON(bytes > b->len);
	b->len -= bytes;
	if (b->len > 0)
		memmove(b->at, b->at + bytes, b->len);
}
