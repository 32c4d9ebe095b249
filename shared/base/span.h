/* span.h - a pointer and its length, travelling together; borrowed, never owned.
 *
 * Layer: base. Uses: libc. */
#ifndef SALLYPORT_BASE_SPAN_H
#define SALLYPORT_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
	const char *at; /* may be NULL only when len is 0; not NUL-terminated */
	size_t len;
};

/* The bytes of a C string without its NUL; NULL gives the empty span. */
static inline struct span span_of(const char *text)
{
	return (struct span){ .at = text, .len = text == NULL ? 0 : strlen(text) };
}

static inline bool span_equals(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool span_is(struct span s, const char *text)
{
	return span_equals(s, span_of(text));
}

static inline bool span_starts(struct span s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && memcmp(s.at, prefix, len) == 0;
}

/* Without the first `count` bytes; count beyond the end gives the empty span. */
static inline struct span span_after(struct span s, size_t count)
{
	if (count >= s.len)
		return (struct span){ 0 };
	return (struct span){ .at = s.at + count, .len = s.len - count };
}

/* For printf("%.*s"): SPAN_ARG(s). */
#define SPAN_ARG(s) (int)(s).len, (s).at == NULL ? "" : (s).at

#endif
