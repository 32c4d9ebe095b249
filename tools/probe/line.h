/* line.h - one raw connection to a broker, as ill-behaved as whoever tries the border likes it.
 *
 * It shows an expired certificate, a stranger's or none, speaks an old TLS or none at all: all
 * that shared/amqp/tls.h refuses to do. It checks the broker's own certificate always, so that
 * nobody else's "no" is taken for the broker's.
 * Layer: tools. Uses: base, amqp/codec, OpenSSL (fenced in line.c). Never: the loop. Blocks. */
#ifndef SALLYPORT_PROBE_LINE_H
#define SALLYPORT_PROBE_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "amqp/codec.h"
#include "base/buf.h"
#include "base/span.h"

enum { LINE_WHY_BYTES = 200, LINE_IN_MAX_BYTES = 1024 * 1024 };

/* Where the broker is, and who may have signed its certificate. */
struct line_place {
	const char *host; /* address or name, as in its certificate */
	uint16_t port;
	const char *ca; /* PEM */
};

/* What is shown at the door. NULL: nothing. */
struct line_badge {
	const char *certificate; /* PEM */
	const char *key;
};

enum line_dress { LINE_TLS_13 = 0, LINE_TLS_12, LINE_PLAIN };

enum line_state {
	LINE_CLOSED = 0,
	LINE_CONNECTING,
	LINE_UP,
	LINE_NOBODY, /* no connection came about: nobody listens, or nothing comes back */
	LINE_SHUT,   /* there was one, and the other side ended it */
	LINE_OURS,   /* it failed on our side: says nothing about the broker */
};

struct line {
	enum line_state state;
	int fd; /* -1: none */
	struct line_tls *tls;
	struct codec *codec;
	struct buf in;
	size_t heard_bytes; /* of `in`, to be forgotten at the next line_hear() */
	bool is_blocked;    /* the broker said connection.blocked: an alarm stops publishers */
	char why[LINE_WHY_BYTES];
};

/* What came from the broker. */
enum heard_kind {
	HEARD_NOTHING = 0, /* within the patience */
	HEARD_METHOD,
	HEARD_CONTENT, /* a header or body frame */
	HEARD_END,     /* the connection is over, line->why says how */
};

/* Borrowed until the next line_hear() or line_close(). */
struct heard {
	enum heard_kind kind;
	uint16_t channel;
	struct method method;
	struct span payload; /* of a method: what follows its number */
};

/* Begins a TCP connection. state becomes LINE_CONNECTING, LINE_NOBODY or LINE_OURS.
 *
 * Takes:   l may be anything; line_close() ends what comes of it. */
void line_begin(struct line *l, const char *host, uint16_t port);

/* Waits for the TCP connection; state becomes LINE_UP, LINE_NOBODY or LINE_OURS. */
void line_connected(struct line *l, uint64_t patience_ms);

/* TLS over a line that is up: state stays LINE_UP, or becomes LINE_SHUT or LINE_OURS. A broker of
 * TLS 1.3 refuses a certificate only after this, when it is first heard. */
void line_wrap(struct line *l, const struct line_place *place, const struct line_badge *badge,
	enum line_dress dress, uint64_t patience_ms);

/* All three, in turn. */
void line_open(struct line *l, const struct line_place *place, const struct line_badge *badge,
	enum line_dress dress, uint64_t patience_ms);

void line_close(struct line *l); /* a zeroed one is fine */

/* Sends all of it. What is wrong shows at line_hear(), with the broker's last words before it. */
void line_say(struct line *l, struct span bytes, uint64_t patience_ms);

/* The next frame; heartbeats are passed over, connection.blocked is noted and passed over. */
void line_hear(struct line *l, uint64_t patience_ms, struct heard *out);

#endif
