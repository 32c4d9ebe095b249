#include "http/server.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/list.h"
#include "base/log.h"
#include "http/conn.h"
#include "loop/timer.h"

enum {
	DEFAULT_MAX_CONNECTIONS = 256,
	DEFAULT_IDLE_TIMEOUT_MS = 60 * 1000,
	DEFAULT_REQUEST_TIMEOUT_MS = 10 * 1000,
	VANISHED_CHECK_MS = 100, /* not more often */
	LOOKS_MAX = 64,          /* at who shall give way, until somebody does */
	MAX_PEER_GROUPS = 1024,
	CROWD_MIN = 64, /* fewer connections are not worth giving memory back */
};

static const size_t DEFAULT_MAX_BODY_BYTES = KIB(256);
static const size_t DEFAULT_MAX_HEADER_BYTES = KIB(8);

struct http_server {
	struct loop *loop;
	struct http_server_config config; /* defaults filled in, lists owned */
	uid_t *uids;
	gid_t *gids;
	struct conn_room room;
	struct turn turn;
	struct timer again; /* the loop shall not sleep */
	struct listener unix_listener;
	struct listener loopback_listener;
	uint64_t crowd_count; /* most connections since memory was last given back */
	uint64_t vanished_check_at_ms;

	bool is_draining;
	struct timer drain_timer;
	void (*on_drained)(void *arg); /* NULL: not asked for, or fired */
	void *drained_arg;

	bool is_stopping;
	struct timer stop_timer;
	void (*on_stopped)(void *arg);
	void *stopped_arg;
};

static uint64_t now_ms(const struct http_server *s)
{
	return uv_now(&s->loop->uv);
}

static struct http_request *conn_at(struct node *n)
{
	return container_of(n, struct http_request, node);
}

/* -- new connections ------------------------------------------------------------------- */

static bool group_is_allowed(const struct http_server *s, gid_t gid)
{
	for (size_t i = 0; i < s->config.allowed_gid_count; i++)
		if (s->gids[i] == gid)
			return true;
	return false;
}

static bool peer_is_allowed(const struct http_server *s, int fd, const struct peer *peer)
{
	if (peer->kind != PEER_UNIX)
		return true;
	if (s->config.allowed_uid_count == 0 && s->config.allowed_gid_count == 0)
		return true;
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	for (size_t i = 0; i < s->config.allowed_uid_count; i++)
		if (s->uids[i] == peer->uid)
			return true;
	if (s->config.allowed_gid_count == 0)
		return false;
	if (group_is_allowed(s, peer->gid))
		return true;
	gid_t groups[MAX_PEER_GROUPS];
	socklen_t len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++)
		if (group_is_allowed(s, groups[i]))
			return true;
	return false;
}

static struct http_request *first_vanished(struct http_server *s)
{
	list_each (n, &s->room.conns)
		if (conn_at(n)->has_vanished)
			return conn_at(n);
	return NULL;
}

/* When room is needed, those that wait for an answer and have closed altogether need none. Most
 * have been noticed before. */
static void forget_vanished(struct http_server *s)
{
	struct http_request *c;

	if (now_ms(s) < s->vanished_check_at_ms)
		return;
	s->vanished_check_at_ms = now_ms(s) + VANISHED_CHECK_MS;
	list_each (n, &s->room.conns)
		conn_at(n)->has_vanished = conn_is_gone(conn_at(n));
	/* Each time from the beginning: their owners may do anything. */
	while ((c = first_vanished(s)) != NULL)
		conn_gone(c, ERR_LINK);
}

enum room { ROOM = 0, NO_ROOM };

/* All connections, or those of one user. */
struct crowd {
	bool is_of_uid;
	uid_t uid;
};

static bool is_in(const struct crowd *crowd, const struct http_request *c)
{
	return !crowd->is_of_uid || (c->peer.kind == PEER_UNIX && c->peer.uid == crowd->uid);
}

struct choice {
	struct http_request *conn; /* NULL: none yet */
	struct crowd_member member;
};

static void choose(struct choice *first, struct http_request *c, struct crowd_member m)
{
	if (first->conn == NULL || crowd_goes_first(m, first->member))
		*first = (struct choice){ .conn = c, .member = m };
}

/* NULL: all are busy. */
static struct http_request *find_first(struct http_server *s, const struct crowd *crowd)
{
	struct choice sparing = { 0 };
	struct choice unsparing = { 0 };
	uint64_t at_work = 0;
	uint64_t count = 0;

	list_each (n, &s->room.conns) {
		struct http_request *c = conn_at(n);
		struct crowd_member m = conn_standing(c);

		if (!is_in(crowd, c))
			continue;
		count++;
		if (m.rank == CROWD_BUSY)
			continue;
		if (m.rank == CROWD_AT_WORK) {
			at_work++;
			m.rank = CROWD_QUIET;
		} else {
			choose(&sparing, c, m);
		}
		choose(&unsparing, c, m);
	}
	if (sparing.conn != NULL && crowd_spares(at_work, count))
		return sparing.conn;
	return unsparing.conn;
}

/* Before somebody goes, his socket is read: a request may have come that we have not seen. */
static enum room make_room(struct http_server *s, const struct crowd *crowd)
{
	for (int i = 0;; i++) {
		struct http_request *first = find_first(s, crowd);

		if (first == NULL)
			return NO_ROOM;
		uint64_t order = first->order;

		if (i < LOOKS_MAX && conn_is_listening(first)) {
			conn_read(first);
			if (!conn_is_open(first))
				return ROOM;
			if (first->order != order || conn_standing(first).rank == CROWD_BUSY)
				continue;
		}
		conn_evict(first);
		return ROOM;
	}
}

static enum room find_room(struct http_server *s, const struct peer *peer)
{
	struct crowd crowd = { .is_of_uid = true, .uid = peer->uid };
	uint64_t all = s->room.counters.open_count;
	uint64_t of_uid = 0;

	if (peer->kind == PEER_UNIX && all >= s->config.max_per_uid)
		list_each (n, &s->room.conns)
			of_uid += is_in(&crowd, conn_at(n)) ? 1 : 0;
	if (of_uid >= s->config.max_per_uid)
		return make_room(s, &crowd);
	if (all < s->config.max_connections)
		return ROOM;
	crowd.is_of_uid = false;
	return make_room(s, &crowd);
}

static void refuse(int fd, enum problem_type type, const char *detail)
{
	conn_say(fd, type, detail);
	close(fd);
}

static void on_connection(void *arg, int fd, const struct peer *peer)
{
	struct http_server *s = arg;
	struct http_server_counters *counters = &s->room.counters;

	counters->accepted++;
	if (!peer_is_allowed(s, fd, peer)) {
		counters->refused_peer++;
		refuse(fd, PROBLEM_NOT_ALLOWED, "this user may not use this socket");
		return;
	}
	enum room room = find_room(s, peer);

	if (room == NO_ROOM) {
		forget_vanished(s);
		room = find_room(s, peer);
	}
	if (room == NO_ROOM) {
		counters->refused_full++;
		refuse(fd, PROBLEM_OVERLOADED, "every connection is busy");
		return;
	}
	if (conn_open(&s->room, fd, peer) == NULL)
		counters->refused_fds++;
	if (counters->open_count > s->crowd_count)
		s->crowd_count = counters->open_count;
}

static void on_full(void *arg, int fd)
{
	struct http_server *s = arg;

	s->room.counters.accepted++;
	s->room.counters.refused_fds++;
	conn_say(fd, PROBLEM_OVERLOADED, "no file descriptor left");
}

/* -- turns ----------------------------------------------------------------------------- */

/* The buffers lie in the heap, where a crowd that has gone would leave its high-water mark. */
static void give_memory_back(struct http_server *s)
{
	if (s->crowd_count < CROWD_MIN || s->room.counters.open_count > s->crowd_count / 4)
		return;
	s->crowd_count = s->room.counters.open_count;
	malloc_trim(0);
}

static struct http_request *first_asked(struct http_server *s)
{
	list_each (n, &s->room.conns)
		if (conn_at(n)->state == CONN_ASKED)
			return conn_at(n);
	return NULL;
}

/* What has been sent until now is still read and answered. */
static void close_doors(struct http_server *s)
{
	s->room.is_closed = true;
	listener_finish(&s->unix_listener);
	listener_finish(&s->loopback_listener);
	list_each (n, &s->room.conns)
		conn_deafen(conn_at(n));
}

/* Calls out last. */
static void say_drained(struct http_server *s)
{
	void (*on_drained)(void *) = s->on_drained;

	if (on_drained == NULL)
		return;
	s->on_drained = NULL;
	timer_cancel(&s->drain_timer);
	on_drained(s->drained_arg);
}

static bool on_turn(struct turn *turn)
{
	struct http_server *s = container_of(turn, struct http_server, turn);
	bool did_any = false;

	if (s->is_stopping)
		return false;
	if (s->is_draining && !s->room.is_closed && first_asked(s) == NULL) {
		close_doors(s);
		did_any = true;
	}
	if (conn_room_turn(&s->room)) {
		timer_after(&s->again, 0);
		did_any = true;
	}
	give_memory_back(s);
	if (s->room.is_closed && list_empty(&s->room.conns) && s->on_drained != NULL) {
		say_drained(s);
		return true;
	}
	return did_any;
}

static void on_again(struct timer *timer)
{
	(void)timer; /* the turn comes after it */
}

static void on_drain_deadline(struct timer *timer)
{
	say_drained(container_of(timer, struct http_server, drain_timer));
}

/* -- start and stop -------------------------------------------------------------------- */

static void server_free(struct http_server *s)
{
	free(s->uids);
	free(s->gids);
	free(s);
}

/* Half-started and running servers are both fine. */
static void server_end(struct http_server *s)
{
	struct http_request *c;

	s->is_stopping = true;
	listener_stop(&s->unix_listener);
	listener_stop(&s->loopback_listener);
	while ((c = first_asked(s)) != NULL)
		conn_gone(c, ERR_CANCEL);
	loop_turn_drop(&s->turn);
	timer_cancel(&s->again);
	timer_cancel(&s->drain_timer);
	conn_room_fini(&s->room);
}

static void on_stop_due(struct timer *timer)
{
	struct http_server *s = container_of(timer, struct http_server, stop_timer);
	void (*on_stopped)(void *) = s->on_stopped;
	void *arg = s->stopped_arg;

	server_end(s);
	server_free(s);
	if (on_stopped != NULL)
		on_stopped(arg);
}

static enum err copy_lists(struct http_server *s, const struct http_server_config *config)
{
	size_t uids_bytes = config->allowed_uid_count * sizeof(uid_t);
	size_t gids_bytes = config->allowed_gid_count * sizeof(gid_t);

	s->uids = malloc(uids_bytes + 1);
	s->gids = malloc(gids_bytes + 1);
	if (s->uids == NULL || s->gids == NULL)
		return ERR_NOMEM;
	if (uids_bytes > 0)
		memcpy(s->uids, config->allowed_uids, uids_bytes);
	if (gids_bytes > 0)
		memcpy(s->gids, config->allowed_gids, gids_bytes);
	return ERR_OK;
}

enum err http_server_allow_uids(struct http_server *s, const uid_t *uids, size_t count)
{
	uid_t *copy = malloc(count * sizeof(uid_t) + 1);

	if (copy == NULL)
		return ERR_NOMEM;
	if (count > 0)
		memcpy(copy, uids, count * sizeof(uid_t));
	free(s->uids);
	s->uids = copy;
	s->config.allowed_uid_count = count;
	return ERR_OK;
}

static void fill_defaults(struct http_server_config *c)
{
	c->max_connections = c->max_connections == 0 ? DEFAULT_MAX_CONNECTIONS
						     : c->max_connections;
	c->max_per_uid = c->max_per_uid == 0 ? c->max_connections : c->max_per_uid;
	c->idle_timeout_ms = c->idle_timeout_ms == 0 ? DEFAULT_IDLE_TIMEOUT_MS
						     : c->idle_timeout_ms;
	c->request_timeout_ms = c->request_timeout_ms == 0 ? DEFAULT_REQUEST_TIMEOUT_MS
							   : c->request_timeout_ms;
	c->max_body_bytes = c->max_body_bytes == 0 ? DEFAULT_MAX_BODY_BYTES : c->max_body_bytes;
	c->max_header_bytes = c->max_header_bytes == 0 ? DEFAULT_MAX_HEADER_BYTES
						       : c->max_header_bytes;
	/* Borrowed only until now. */
	c->allowed_uids = NULL;
	c->allowed_gids = NULL;
}

static enum err open_room(struct http_server *s)
{
	s->room = (struct conn_room){
		.loop = s->loop,
		.limits = { .max_header_bytes = s->config.max_header_bytes,
			.max_body_bytes = s->config.max_body_bytes },
		.idle_timeout_ms = s->config.idle_timeout_ms,
		.request_timeout_ms = s->config.request_timeout_ms,
		.on_request = s->config.on_request,
		.wants_body = s->config.wants_body,
		.arg = s->config.arg,
	};
	return conn_room_init(&s->room);
}

enum err http_server_start(
	struct loop *l, const struct http_server_config *config, struct http_server **out)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		log_error("event=api-failed err=\"%s\"", err_text(ERR_NOMEM));
		return ERR_NOMEM;
	}
	s->loop = l;
	s->config = *config;
	fill_defaults(&s->config);
	timer_init(&s->again, l, on_again);
	timer_init(&s->drain_timer, l, on_drain_deadline);
	timer_init(&s->stop_timer, l, on_stop_due);
	loop_turn_add(l, &s->turn, on_turn);

	enum err err = open_room(s);

	if (err == ERR_OK)
		err = copy_lists(s, config);
	if (err != ERR_OK)
		log_error("event=api-failed err=\"%s\"", err_text(err));
	if (err == ERR_OK && config->socket.path != NULL)
		err = listener_start_unix(
			&s->unix_listener, l, &config->socket, on_connection, on_full, s);
	if (err == ERR_OK && config->has_loopback)
		err = listener_start_loopback(&s->loopback_listener, l, config->loopback_port,
			on_connection, on_full, s);
	if (err != ERR_OK) {
		server_end(s);
		server_free(s);
		return err;
	}
	*out = s;
	return ERR_OK;
}

void http_server_drain(
	struct http_server *s, uint64_t deadline_ms, void (*on_drained)(void *arg), void *arg)
{
	if (s->is_draining || s->is_stopping)
		return;
	s->on_drained = on_drained;
	s->drained_arg = arg;
	s->is_draining = true;
	s->room.is_draining = true;
	/* The rest in a turn: we may stand in one of the owner's callbacks. The timer keeps
	 * the loop from sleeping until then. */
	timer_after(&s->again, 0);
	timer_after(&s->drain_timer, deadline_ms);
}

void http_server_stop(struct http_server *s, void (*on_stopped)(void *arg), void *arg)
{
	if (s == NULL) {
		if (on_stopped != NULL)
			on_stopped(arg);
		return;
	}
	BUG_ON(s->is_stopping);
	s->is_stopping = true;
	s->on_stopped = on_stopped;
	s->stopped_arg = arg;
	/* Not from here: we may stand in one of the owner's callbacks. */
	timer_after(&s->stop_timer, 0);
}

const struct http_server_counters *http_server_counters(const struct http_server *s)
{
	return &s->room.counters;
}

uint16_t http_server_loopback_port(const struct http_server *s)
{
	return s->loopback_listener.port;
}
