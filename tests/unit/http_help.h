/* http_help.h - a loop with a real server in this thread, blocking clients in another. */
#ifndef SALLYPORT_TESTS_UNIT_HTTP_HELP_H
#define SALLYPORT_TESTS_UNIT_HTTP_HELP_H

#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "http/client.h"
#include "http/server.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "loop/watch.h"

enum { HELD_MAX = 2048, DEADLINE_MS = 20 * 1000 };

/* Paths that the test's owner of requests knows:
 *   /echo     200 with the body            /hold     held until release_all()
 *   /later    200 "later" after a turn     /size/N   200 with N bytes
 *   anything else: 200 with "METHOD path"  */
struct stage;

struct held {
	struct stage *st;
	struct http_request *rq; /* NULL: unused */
};

struct stage {
	struct loop loop;
	struct http_server *server;
	struct http_client *client;
	char folder[64];
	char path[96]; /* of the socket */
	struct held held[HELD_MAX];
	unsigned held_count;
	unsigned gone_count;
	enum err gone_reason;
	unsigned asked_count;
	struct timer later;
	struct held later_held[HELD_MAX];
	unsigned later_count;
	int done_pipe[2];
	struct watch *done_watch;
	bool is_stopped;
	bool is_drained;
	void *extra; /* the test's */
};

/* The folder and the loop; no server yet. */
void stage_open(struct stage *st);

/* Fills in what is 0: socket path, on_request. */
void stage_serve(struct stage *st, struct http_server_config config);

/* Stops server and client if they run, removes the folder; nothing may be left open. */
void stage_close(struct stage *st);

/* Runs the loop while `play` runs in a thread of its own, until that returns. */
typedef void (*play_fn)(struct stage *st);
void stage_play(struct stage *st, play_fn play);

/* Runs the loop until *flag, or fails. */
void stage_run_until(struct stage *st, const bool *flag);

/* From the thread: run `fn` on the loop and wait until it has returned. */
void on_loop(struct stage *st, void (*fn)(struct stage *st));

void stage_answer(struct http_request *rq, unsigned status, const char *text);
void release_all(struct stage *st); /* on the loop */

/* -- blocking client; all fail the test when time runs out ------------------------------ */
int must_connect(const char *path);
int must_connect_tcp(uint16_t port);
void must_send(int fd, const char *text);
void must_send_bytes(int fd, const void *bytes, size_t len);

struct reply {
	int status; /* 0: the connection was closed without an answer */
	char head[4096];
	char *body; /* NUL-terminated, owned */
	size_t body_len;
	bool says_close;
};
struct reply must_reply(int fd);
void reply_free(struct reply *r);

/* One request, one answer whose status must be so. */
void must_ask(int fd, const char *request, int status, const char *body);

/* The answer must be a problem document of that type. */
void must_get_problem(int fd, int status, const char *type);

/* Nothing more comes: the other side has closed. */
void must_be_closed(int fd);

/* Until so many requests are held; until none is any more. */
void wait_held(struct stage *st, unsigned count);
void wait_not_held(struct stage *st);

/* For on_loop(): the loop has been round. */
void nothing(struct stage *st);

unsigned open_fds(void);

#endif
