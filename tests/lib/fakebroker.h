/* fakebroker.h - an AMQP server that the test plays, frame by frame, politely or not.
 *
 * Listens on 127.0.0.1, plain or with mutual TLS. Each connection runs the test's script in a
 * thread of its own; fake_… functions are what a script says. After the first one that fails,
 * all others of that connection return false at once, so a script may just go on to its end.
 * Its bytes are made here, not by the codec under test.
 * Layer: tests. Uses: must, base/buf, OpenSSL, pthread. */
#ifndef SALLYPORT_TEST_FAKEBROKER_H
#define SALLYPORT_TEST_FAKEBROKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct ssl_st;
struct ssl_ctx_st;
struct fake;

enum { FAKE_CONNECTIONS = 64, FAKE_CHANNELS = 17, FAKE_PAYLOAD_MAX = 1024 * 1024 };

typedef void (*fake_script)(struct fake *f, void *arg);

/* How far a polite broker goes with a client before the script takes over. */
enum fake_stage {
	FAKE_ACCEPTED = 0, /* TCP is up; with TLS the handshake is next */
	FAKE_TLS_DONE,     /* as FAKE_ACCEPTED when plain */
	FAKE_GREETED,      /* got the protocol header */
	FAKE_STARTED,      /* sent start, got start-ok */
	FAKE_TUNED,        /* sent tune, got tune-ok and open */
	FAKE_OPEN,         /* sent open-ok, got channel.open */
	FAKE_CHANNEL_OPEN, /* sent its open-ok, got the first method on the channel */
	FAKE_READY,        /* answers everything from here on (see fake_serve) */
	FAKE_STAGES,
};

struct fakebroker {
	uint16_t port;
	int listen_fd;
	struct ssl_ctx_st *tls; /* NULL = plain */
	fake_script script;
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t changed;
	bool is_stopping;
	unsigned accepted;             /* connections in all */
	unsigned running;              /* scripts */
	unsigned reached[FAKE_STAGES]; /* how many connections came so far */
	int fds[FAKE_CONNECTIONS];
	char failure[512]; /* the first thing that a script did not get */
};

/* One connection, as its script sees it. */
struct fake {
	struct fakebroker *broker;
	unsigned index; /* of the connection, from 0 */
	int fd;
	struct ssl_st *tls;   /* NULL = plain, or not yet */
	size_t chunk_bytes;   /* writes are cut into pieces of this size; 0 = whole */
	uint64_t left_bytes;  /* after so many more written bytes the connection is closed */
	uint32_t frame_max;   /* offered in tune */
	uint16_t heartbeat_s; /* offered in tune */
	uint64_t patience_ms; /* for each read (10 s) */
	enum fake_stage stage;
	bool is_broken;
	unsigned slot;
	bool refuses; /* nacks what is published, instead of acking it */
	bool ignores; /* neither acks nor nacks it */
	bool confirms[FAKE_CHANNELS];
	uint64_t tags[FAKE_CHANNELS]; /* of the last publish, where it confirms */
};

struct fake_frame {
	uint8_t type;
	uint16_t channel;
	uint32_t size;
	uint8_t payload[FAKE_PAYLOAD_MAX];
};

/* Listens and runs `script` for each connection. ca, certificate and key are paths, or all
 * NULL for plain TCP; with TLS 1.3 a client certificate of that authority is demanded. */
void must_fakebroker_start(struct fakebroker *b, fake_script script, void *arg, const char *ca,
	const char *certificate, const char *key);

/* Closes everything, waits for the scripts. Returns the first failure of a script, borrowed, or
 * NULL. A zeroed one is fine. */
const char *fakebroker_stop(struct fakebroker *b);

/* The same; a failure of a script is one of the test. */
void must_fakebroker_stop(struct fakebroker *b);

/* Waits until so many connections have come, or have reached a stage. */
void must_fakebroker_accept(struct fakebroker *b, unsigned count, uint64_t within_ms);
void must_fakebroker_reach(
	struct fakebroker *b, enum fake_stage stage, unsigned count, uint64_t within_ms);

/* ---- for scripts ---- */

/* The script's own failure. Always false. */
bool fake_fail(struct fake *f, const char *format, ...) PRINTF_LIKE(2, 3);

/* Plays the polite broker up to the stage. */
bool fake_polite(struct fake *f, enum fake_stage stage);

/* From FAKE_OPEN on: answers channel.open, confirm.select, qos, consume, cancel, heartbeats and
 * closes, confirms every publish where asked to, until the client ends the connection. */
bool fake_serve(struct fake *f);

/* Sends raw bytes. */
bool fake_send(struct fake *f, const void *bytes, size_t len);
bool fake_send_buf(struct fake *f, const struct buf *bytes);

/* Reads one frame, heartbeats included; out is the caller's, it is large. */
bool fake_read_frame(struct fake *f, struct fake_frame *out);

/* Reads until this method comes; heartbeats are skipped, anything else is a failure. */
bool fake_expect_method(
	struct fake *f, struct fake_frame *out, uint16_t class_id, uint16_t method_id);

/* The client ends the connection within the time, whatever it says before. */
bool fake_expect_end(struct fake *f, uint64_t within_ms);

/* Says nothing and reads nothing until the time is over or the broker is stopped. */
void fake_be_silent(struct fake *f, uint64_t ms);

/* ---- bytes ---- */

enum { FAKE_METHOD = 1, FAKE_HEADER = 2, FAKE_BODY = 3, FAKE_HEARTBEAT = 8 };

void fake_put_u16(struct buf *b, uint16_t v);
void fake_put_u32(struct buf *b, uint32_t v);
void fake_put_u64(struct buf *b, uint64_t v);
void fake_put_short(struct buf *b, const char *text);
void fake_put_long(struct buf *b, const char *text);

/* A whole frame around the payload. */
void fake_put_frame(struct buf *b, uint8_t type, uint16_t channel, const struct buf *payload);

/* A method frame; arguments are the bytes behind class and method. */
void fake_put_method(struct buf *b, uint16_t channel, uint16_t class_id, uint16_t method_id,
	const struct buf *arguments);

void fake_put_start(struct buf *b);
void fake_put_tune(
	struct buf *b, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s);
void fake_put_close(struct buf *b, uint16_t code, const char *text);
void fake_put_channel_close(struct buf *b, uint16_t channel, uint16_t code, const char *text);
void fake_put_blocked(struct buf *b, const char *reason);
void fake_put_unblocked(struct buf *b);
void fake_put_heartbeat(struct buf *b);
void fake_put_ack(struct buf *b, uint16_t channel, uint64_t tag, bool multiple);
void fake_put_nack(struct buf *b, uint16_t channel, uint64_t tag, bool multiple);
void fake_put_consumer_cancel(struct buf *b, uint16_t channel, const char *tag);

/* basic.deliver with header and body; properties are the bytes behind the flags. */
void fake_put_deliver(struct buf *b, uint16_t channel, uint64_t tag, uint64_t body_bytes,
	uint16_t flags, const struct buf *properties, const char *body);

/* A header table nested `depth` deep, as a property list (flags 0x2000). */
void fake_put_nested_table(struct buf *b, unsigned depth);

/* ---- hostile bytes ---- */

struct fake_attack {
	const char *name;
	void (*put)(struct buf *out); /* NULL: the attack is silence */
	/* The client must notice by itself that this is no AMQP (or no sense) and hang up. */
	bool must_end;
};

/* Everything known; the list ends with a NULL name. */
extern const struct fake_attack fake_attacks[];

#endif
