/* macro.h - the few macros that every room may use.
 *
 * Layer: base. Uses: libc. Never: anything that allocates, logs or hides a variable. */
#ifndef SALLYPORT_BASE_MACRO_H
#define SALLYPORT_BASE_MACRO_H

#include <stddef.h>

/* The object that holds MEMBER at address PTR. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define WARN_UNUSED __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define NORETURN __attribute__((noreturn))

#define KIB(n) ((size_t)(n)*1024u)
#define MIB(n) (KIB(n) * 1024u)

#define SEC_MS(n) ((uint64_t)(n)*1000u)

#endif
