/* err.h - the one vocabulary of errors; each knows its fate.
 *
 * Foreign codes (errno, libuv, OpenSSL, AMQP, HTTP) are translated at the fence of their room.
 * Layer: base. Uses: libc. */
#ifndef SALLYPORT_BASE_ERR_H
#define SALLYPORT_BASE_ERR_H

/* clang-format off */
#define ERR_MAP(X)                                                              \
	X(ERR_NOMEM,     RETRY,   "out of memory")                              \
	X(ERR_IO,        RETRY,   "local input or output failed")               \
	X(ERR_LINK,      RETRY,   "peer unreachable or lost")                     \
	X(ERR_TLS,       RETRY,   "TLS handshake or record refused")            \
	X(ERR_AUTH,      RETRY,   "broker refused the identity")                \
	X(ERR_PROTOCOL,  RETRY,   "peer broke the protocol")                    \
	X(ERR_TIMEOUT,   RETRY,   "deadline exceeded")                          \
	X(ERR_FATE,      RETRY,   "sent, fate unknown")                         \
	X(ERR_FULL,      RETRY,   "a named limit is reached")                   \
	X(ERR_SPACE,     RETRY,   "no space left on the disk")                  \
	X(ERR_BUSY,      RETRY,   "already in use")                             \
	X(ERR_REFUSED,   GIVE_UP, "refused by the peer")                        \
	X(ERR_INPUT,     GIVE_UP, "malformed input")                            \
	X(ERR_DAMAGED,   GIVE_UP, "the file is damaged")                        \
	X(ERR_NOT_FOUND, GIVE_UP, "not found")                                  \
	X(ERR_CONFLICT,  GIVE_UP, "same id, other content")                     \
	X(ERR_UNSEALED,  GIVE_UP, "not sealed")                                 \
	X(ERR_SEAL,      GIVE_UP, "the seal does not hold")                     \
	X(ERR_CANCEL,    STOP,    "shutting down")
/* clang-format on */

#define ERR_ENUM(code, fate, text) code,
enum err { ERR_OK = 0, ERR_MAP(ERR_ENUM) };
#undef ERR_ENUM

/* What the caller should do about an error. */
enum err_fate {
	RETRY = 0, /* the same again may work later */
	GIVE_UP,   /* the same again will fail again */
	STOP,      /* the caller asked for the end */
};

/* One short English phrase, static storage; never NULL. */
const char *err_text(enum err err);

/* Must not be asked about ERR_OK. */
enum err_fate err_fate(enum err err);

/* Translate a positive errno. Anything unknown is ERR_IO. */
enum err err_from_errno(int errno_value);

#endif
