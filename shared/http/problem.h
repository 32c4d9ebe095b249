/* problem.h - problem details (RFC 9457): every error that the local APIs answer, as one table.
 *
 * `type` and `status` are stable: programs compare them, and a row's meaning never changes.
 * Layer: http. Uses: base. Never: the server, a parser. Thread: any. */
#ifndef SALLYPORT_HTTP_PROBLEM_H
#define SALLYPORT_HTTP_PROBLEM_H

#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

#define PROBLEM_TYPE_PREFIX "urn:sallyport:problem:"
#define PROBLEM_MEDIA_TYPE "application/problem+json"

/* clang-format off */
#define PROBLEM_MAP(X)                                                                              \
	X(PROBLEM_BAD_REQUEST,         400, "bad-request",         "The request is malformed")      \
	X(PROBLEM_NOT_ALLOWED,         403, "not-allowed",         "This caller may not do that")   \
	X(PROBLEM_NOT_FOUND,           404, "not-found",           "There is nothing here")         \
	X(PROBLEM_UNKNOWN_OPERATION,   404, "unknown-operation",   "The contract has no such operation") \
	X(PROBLEM_WRONG_KIND,          404, "wrong-kind",          "The operation is of another kind") \
	X(PROBLEM_WRONG_METHOD,        405, "wrong-method",        "This path does not take that method") \
	X(PROBLEM_SLOW_REQUEST,        408, "slow-request",        "The request did not arrive in time") \
	X(PROBLEM_CONFLICT,            409, "conflict",            "The same id came with other content") \
	X(PROBLEM_PAYLOAD_TOO_LARGE,   413, "payload-too-large",   "The body is too large")         \
	X(PROBLEM_PATH_TOO_LONG,       414, "path-too-long",       "The request line is too long")  \
	X(PROBLEM_MISDIRECTED,         421, "misdirected",         "The Host header names another server") \
	X(PROBLEM_CONTRACT_VIOLATION,  422, "contract-violation",  "The contract does not allow these contents") \
	X(PROBLEM_REFUSED,             422, "refused",             "The handler refused the request") \
	X(PROBLEM_QUOTA,               429, "quota",               "The quota is used up")          \
	X(PROBLEM_HEADERS_TOO_LARGE,   431, "headers-too-large",   "The headers are too large")     \
	X(PROBLEM_INTERNAL,            500, "internal",            "The daemon failed")             \
	X(PROBLEM_UNSUPPORTED,         501, "unsupported",         "This transfer coding is not supported") \
	X(PROBLEM_HANDLER_FAILED,      502, "handler-failed",      "The handler failed")            \
	X(PROBLEM_BORDER_UNAVAILABLE,  503, "border-unavailable",  "The border cannot be reached")  \
	X(PROBLEM_APP_UNAVAILABLE,     503, "app-unavailable",     "The app realm does not answer") \
	X(PROBLEM_NOT_READY,           503, "not-ready",           "The daemon is not ready yet")   \
	X(PROBLEM_OVERLOADED,          503, "overloaded",          "Too many at once")              \
	X(PROBLEM_STOPPING,            503, "stopping",            "The daemon is stopping")        \
	X(PROBLEM_DEADLINE_EXCEEDED,   504, "deadline-exceeded",   "No answer came before the deadline") \
	X(PROBLEM_WRONG_VERSION,       505, "wrong-version",       "Only HTTP/1.1 and HTTP/1.0 are spoken here") \
	X(PROBLEM_OUTBOX_FULL,         507, "outbox-full",         "The outbox is full")
/* clang-format on */

#define PROBLEM_ENUM(code, status, type, title) code,
enum problem_type { PROBLEM_MAP(PROBLEM_ENUM) PROBLEM_TYPES };
#undef PROBLEM_ENUM

/* One error as the caller shall see it; what is empty (or 0; of the pointer: NULL) is left
 * out. All borrowed. */
struct problem {
	enum problem_type type;
	struct span detail;      /* a sentence about this very case */
	struct span pointer;     /* JSON pointer into the request's body; "" is all of it */
	struct span rule;        /* of the contract: which one was broken */
	struct span id;          /* of the message concerned */
	uint64_t retry_after_ms; /* waiting so long may help */
};

unsigned problem_status(enum problem_type type);

/* The last part of the type's URN, "unknown-operation": also the reason in log lines. */
const char *problem_name(enum problem_type type);
const char *problem_title(enum problem_type type);

/* Appends the JSON document. Bytes that are not UTF-8 become U+FFFD. Ask buf_status(). */
void problem_format(const struct problem *p, struct buf *out);

#endif
