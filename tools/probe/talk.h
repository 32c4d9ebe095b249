/* talk.h - question and answer over a raw line, and how each ended.
 *
 * Layer: tools. Uses: base, line, speech, plan. Blocks, never longer than the plan's patience per
 * answer. */
#ifndef SALLYPORT_PROBE_TALK_H
#define SALLYPORT_PROBE_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include "line.h"
#include "plan.h"
#include "speech.h"

enum { OUTCOME_TEXT_BYTES = 240, TALK_CHANNEL = 1 };

enum outcome_kind {
	OUTCOME_NOT_TRIED = 0,
	OUTCOME_DONE, /* the broker did what it was asked */
	OUTCOME_GRANTED, /* it would have: a harmless question for the same right was let through */
	OUTCOME_REFUSED,  /* it said no: channel.close, connection.close, basic.nack */
	OUTCOME_UNROUTED, /* it took the message, and no queue did: basic.return */
	OUTCOME_SHUT,     /* it ended the connection without a word of AMQP */
	OUTCOME_NOBODY,   /* no connection came about */
	OUTCOME_SILENT,   /* no answer within the patience */
	OUTCOME_OURS,     /* it failed on our side */
	OUTCOME_LEFT,     /* left alone, because it would have hurt */
};

struct outcome {
	enum outcome_kind kind;
	uint16_t code; /* REFUSED: the AMQP reply code, 0 = none */
	char text[OUTCOME_TEXT_BYTES];
};

void outcome_set(struct outcome *o, enum outcome_kind kind, uint16_t code, const char *format,
	...) PRINTF_LIKE(4, 5);

/* Waits for the next method on `channel`.
 *
 * Returns: true: a method that is no refusal, in *heard. False: *out says how it ended; a close
 * has been answered, and a connection that was closed is no longer LINE_UP. */
bool talk_answer(struct line *l, const struct plan *plan, uint16_t channel, struct heard *heard,
	struct outcome *out);

/* Is it a close? Then *out says so and it has been answered, as by talk_answer(). */
bool talk_is_refusal(struct line *l, const struct plan *plan, const struct heard *heard,
	struct outcome *out);

/* Ends a connection that is in order in order, so that the broker does not count it any more.
 * line_close() remains to be called. */
void talk_goodbye(struct line *l, const struct plan *plan);

/* How a connection came to its end, or that it did not. */
void talk_end(const struct line *l, struct outcome *out);

enum login_until {
	LOGIN_OPEN = 0,
	LOGIN_TUNE,  /* being let in is enough */
	LOGIN_START, /* being let through TLS is: the broker speaks AMQP */
};

/* How to log in. What is zero is as a good client does it. */
struct login {
	enum line_dress dress;
	const char *mechanism; /* NULL: EXTERNAL */
	const char *user;      /* of other mechanisms */
	const char *password;
	struct span vhost; /* may hold any byte */
	uint16_t heartbeat_s;
	bool is_unlimited; /* asks for frames and channels without end */
	bool is_greedy;    /* asks for more than was offered */
	enum login_until until;
};

/* TCP, TLS, "AMQP", and start-ok. Returns false when it ended before that, or when this was
 * enough: see *out. */
bool login_begin(struct line *l, const struct plan *plan, enum role role,
	const struct login *login, struct outcome *out);

/* Hears what the broker offers, agrees, and asks for the vhost. Returns false when it ended, or when
 * being let in was enough: see *out. */
bool login_agree(struct line *l, const struct plan *plan, const struct login *login,
	struct outcome *out);

/* The answer to that: DONE when the vhost is open. */
void login_finish(struct line *l, const struct plan *plan, struct outcome *out);

/* All three, again and again while the broker still counts connections that are no more: it does so for
 * a moment after their end. */
void login_whole(struct line *l, const struct plan *plan, enum role role,
	const struct login *login, struct outcome *out);

/* Is it a no because a limit is reached? That proves nothing about rights. */
bool outcome_is_limit(const struct outcome *o);

/* A connection that is kept for many acts, each on a channel of its own. */
struct session {
	const struct plan *plan;
	enum role role;
	char vhost[PLAN_NAME_BYTES + 16];
	struct line line;
	bool has_channel;
};

void session_init(
	struct session *s, const struct plan *plan, enum role role, const char *vhost);
void session_fini(struct session *s);

/* Opens the channel for an act, and the connection where the act before broke it. */
bool session_begin(struct session *s, struct outcome *out);

/* Closes the channel, where it is open still. A connection that is not in order is given up. */
void session_end(struct session *s);

/* On an open channel: says the request and waits for the answer. `count`, when not NULL, is of
 * queue.declare-ok: messages, consumers. */
struct lane_count {
	uint32_t messages;
	uint32_t consumers;
};
void session_ask(struct session *s, const struct request *r, struct lane_count *count,
	struct outcome *out);

/* On an open channel: publishes and waits for the confirm. */
void session_publish(struct session *s, const struct request *r,
	const struct speech_content *content, struct outcome *out);

/* Says these bytes. */
void session_say(struct session *s, const struct buf *bytes);

#endif
