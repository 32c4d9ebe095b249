#include "http/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bug.h"
#include "base/list.h"
#include "base/log.h"
#include "http/raw.h"
#include "loop/timer.h"
#include "loop/watch.h"

enum {
	DEFAULT_MAX_CALLS = 256,
	DEFAULT_MAX_CONNECTIONS = 64,
	IDLE_SECONDS = 60,         /* an unused connection older than this is not used again */
	CONNECT_TIMEOUT_MS = 5000, /* the deadline is usually shorter */
	SLOTS_KEPT = 16,           /* unused, ready for the next call */
	ANSWER_KEEP_BYTES = 4096,  /* a slot keeps so much between calls */
	URL_MAX_BYTES = 4096,
	HEADER_MAX_BYTES = 4096,
	ROUNDS_PER_TURN = 16,
};

static const size_t DEFAULT_MAX_ANSWER_BYTES = KIB(256);
static const size_t DEFAULT_MAX_HEADER_BYTES = KIB(32);

/* What one call under way needs of the library; used again and again. */
struct client_slot {
	struct node node; /* client->busy, ->done or ->unused */
	struct http_client *client;
	struct http_call *call; /* NULL when unused */
	CURL *easy;
	struct curl_slist *headers;
	struct timer deadline;
	struct buf answer;
	struct buf text; /* scratch: URL, header lines */
	size_t head_bytes;
	enum http_method method;
	unsigned attempts; /* how often the library wanted to send it */
	enum err verdict;  /* our own reason to break off, or ERR_OK */
	char detail[CURL_ERROR_SIZE];
};

/* A connection's socket. It is watched as long as it lives, not anew for each request: a
 * request on a kept connection then costs no epoll_ctl(). */
struct client_socket {
	struct node node;
	struct http_client *client;
	int fd;
	struct watch *watch;      /* NULL: not watched */
	enum watch_events events; /* what the watch waits for */
	bool is_wanted;           /* by the library; else it lies in its cache of connections */
};

struct http_client {
	struct loop *loop;
	struct http_client_config config;
	CURLM *multi;
	struct turn turn;
	struct timer timer; /* the library's */
	bool kick_is_wanted;
	struct node busy;
	struct node done;
	struct node unused;
	unsigned unused_count;
	struct node sockets;
	struct http_client_counters counters;
	bool is_finishing; /* on_done callbacks are being fired further up the stack */
	bool is_stopping;
	struct timer stop_timer;
	void (*on_stopped)(void *arg);
	void *stopped_arg;
};

/* -- sockets --------------------------------------------------------------------------- */

static void finish_calls(struct http_client *c);

static void on_socket_ready(void *arg, enum err status, enum watch_events events)
{
	struct client_socket *sock = arg;
	struct http_client *c = sock->client;
	int mask = 0;
	int running;

	if (!sock->is_wanted) {
		/* The handler closed a connection that nobody uses (or babbles on it). The
		 * library looks before it uses it again; until then do not spin. */
		watch_stop(sock->watch);
		sock->watch = NULL;
		return;
	}
	if (status != ERR_OK)
		mask |= CURL_CSELECT_ERR;
	if ((events & WATCH_READ) != 0)
		mask |= CURL_CSELECT_IN;
	if ((events & WATCH_WRITE) != 0)
		mask |= CURL_CSELECT_OUT;
	curl_multi_socket_action(c->multi, sock->fd, mask, &running);
	finish_calls(c);
}

static void socket_watch(struct client_socket *sock, enum watch_events events)
{
	if (sock->watch != NULL && sock->events == events)
		return;
	sock->events = events;
	enum err err = sock->watch != NULL ? watch_change(sock->watch, events)
					   : watch_start(sock->client->loop, sock->fd, events,
						     on_socket_ready, sock, &sock->watch);

	/* The socket stays silent then, and the call's deadline ends it.
	 * UNTESTED: because libuv fails here only without memory or file descriptors. */
	if (err != ERR_OK)
		log_warn("http client event=watch err=\"%s\"", err_text(err));
}

static struct client_socket *socket_find(struct http_client *c, int fd)
{
	list_each (n, &c->sockets) {
		struct client_socket *sock = container_of(n, struct client_socket, node);

		if (sock->fd == fd)
			return sock;
	}
	return NULL;
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct http_client *c = arg;
	struct client_socket *sock = known != NULL ? known : socket_find(c, fd);

	(void)easy;
	if (sock == NULL)
		return 0;
	sock->is_wanted = what != CURL_POLL_REMOVE;
	switch (what) {
	case CURL_POLL_IN:
		socket_watch(sock, WATCH_READ);
		break;
	case CURL_POLL_OUT:
		socket_watch(sock, WATCH_WRITE);
		break;
	case CURL_POLL_INOUT:
		socket_watch(sock, WATCH_BOTH);
		break;
	default: /* REMOVE: see on_socket_ready() */
		if (sock->watch != NULL)
			socket_watch(sock, WATCH_READ);
		break;
	}
	return 0;
}

static curl_socket_t on_socket_open(void *arg, curlsocktype purpose, struct curl_sockaddr *at)
{
	struct http_client *c = arg;
	struct client_socket *sock = calloc(1, sizeof(*sock));

	(void)purpose;
	if (sock == NULL)
		return CURL_SOCKET_BAD;
	sock->client = c;
	sock->fd = socket(
		at->family, at->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->protocol);
	if (sock->fd < 0) {
		free(sock);
		return CURL_SOCKET_BAD;
	}
	list_append(&c->sockets, &sock->node);
	c->counters.connections_opened++;
	c->counters.connections_open_count++;
	return sock->fd;
}

static int on_socket_close(void *arg, curl_socket_t fd)
{
	struct http_client *c = arg;
	struct client_socket *sock = socket_find(c, fd);

	if (sock != NULL) {
		watch_stop(sock->watch);
		list_drop(&sock->node);
		free(sock);
		c->counters.connections_open_count--;
	}
	return close(fd);
}

/* -- the library's other callbacks ----------------------------------------------------- */

static int on_timer_wanted(CURLM *multi, long ms, void *arg)
{
	struct http_client *c = arg;

	(void)multi;
	timer_cancel(&c->timer);
	/* It may be asking from inside a call of ours, so never act on it here. */
	if (ms == 0)
		c->kick_is_wanted = true;
	else if (ms > 0)
		timer_after(&c->timer, (uint64_t)ms);
	return 0;
}

static void on_timer(struct timer *timer)
{
	container_of(timer, struct http_client, timer)->kick_is_wanted = true;
}

static bool was_sent(const struct client_slot *slot)
{
	long bytes = 0;

	return curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &bytes) == CURLE_OK &&
	       bytes > 0;
}

/* Right before a request goes out. When a kept connection turns out to be dead the library
 * opens a new one and sends the request again, and only this place can tell it not to: once a
 * byte has gone out, the handler may have acted. */
static int on_about_to_send(
	void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	struct client_slot *slot = arg;

	(void)remote_ip;
	(void)local_ip;
	(void)remote_port;
	(void)local_port;
	slot->attempts++;
	if (slot->attempts == 1 || slot->method == HTTP_GET || !was_sent(slot))
		return CURL_PREREQFUNC_OK;
	slot->verdict = ERR_FATE;
	return CURL_PREREQFUNC_ABORT;
}

static size_t on_head(char *bytes, size_t size, size_t count, void *arg)
{
	struct client_slot *slot = arg;

	(void)bytes;
	slot->head_bytes += size * count;
	if (slot->head_bytes <= slot->client->config.max_header_bytes)
		return size * count;
	slot->verdict = ERR_PROTOCOL;
	return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct client_slot *slot = arg;

	buf_append(&slot->answer, (struct span){ .at = bytes, .len = size * count });
	slot->verdict = buf_status(&slot->answer);
	return slot->verdict == ERR_OK ? size * count : 0;
}

/* -- slots ----------------------------------------------------------------------------- */

static void slot_destroy(struct client_slot *slot)
{
	if (slot == NULL)
		return;
	curl_easy_cleanup(slot->easy);
	buf_fini(&slot->answer);
	buf_fini(&slot->text);
	free(slot);
}

static void on_deadline(struct timer *timer);

#define SET(option, value)                                                       \
	do {                                                                     \
		if (curl_easy_setopt(slot->easy, (option), (value)) != CURLE_OK) \
			return ERR_NOMEM;                                        \
	} while (0)

/* What is the same for all calls. */
static enum err slot_set_up(struct client_slot *slot)
{
	struct http_client *c = slot->client;

	SET(CURLOPT_PRIVATE, (void *)slot);
	SET(CURLOPT_PROTOCOLS_STR, "http");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOPROGRESS, 1L);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_HTTP09_ALLOWED, 0L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	SET(CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS);
	SET(CURLOPT_ERRORBUFFER, slot->detail);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, (void *)slot);
	SET(CURLOPT_HEADERFUNCTION, on_head);
	SET(CURLOPT_HEADERDATA, (void *)slot);
	SET(CURLOPT_PREREQFUNCTION, on_about_to_send);
	SET(CURLOPT_PREREQDATA, (void *)slot);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_socket_open);
	SET(CURLOPT_OPENSOCKETDATA, (void *)c);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
	SET(CURLOPT_CLOSESOCKETDATA, (void *)c);
	return ERR_OK;
}

static struct client_slot *slot_take(struct http_client *c)
{
	struct client_slot *slot;

	if (!list_empty(&c->unused)) {
		slot = container_of(c->unused.next, struct client_slot, node);
		list_drop(&slot->node);
		c->unused_count--;
		return slot;
	}
	slot = calloc(1, sizeof(*slot));
	if (slot == NULL)
		return NULL;
	slot->client = c;
	list_init(&slot->node);
	timer_init(&slot->deadline, c->loop, on_deadline);
	buf_init(&slot->text, URL_MAX_BYTES + HEADER_MAX_BYTES);
	slot->easy = curl_easy_init();
	if (slot->easy == NULL || slot_set_up(slot) != ERR_OK) {
		slot_destroy(slot);
		return NULL;
	}
	return slot;
}

/* The slot is in no list, its handle not with the library. */
static void slot_put_back(struct client_slot *slot)
{
	struct http_client *c = slot->client;

	curl_slist_free_all(slot->headers);
	slot->headers = NULL;
	slot->call = NULL;
	if (c->unused_count >= SLOTS_KEPT) {
		slot_destroy(slot);
		return;
	}
	buf_shrink(&slot->answer, ANSWER_KEEP_BYTES);
	list_append(&c->unused, &slot->node);
	c->unused_count++;
}

/* -- the end of a call ----------------------------------------------------------------- */

static enum err err_from_curl(const struct client_slot *slot, CURLcode code)
{
	if (code == CURLE_OK)
		return ERR_OK;
	if (slot->verdict != ERR_OK)
		return slot->verdict;
	switch (code) {
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, that is: anything */
	case CURLE_BAD_CONTENT_ENCODING:
		return ERR_PROTOCOL;
	case CURLE_OUT_OF_MEMORY:
		return was_sent(slot) ? ERR_FATE : ERR_NOMEM;
	default:
		return was_sent(slot) ? ERR_FATE : ERR_LINK;
	}
}

static void slot_end(struct client_slot *slot, enum err status, const char *detail)
{
	struct http_call *call = slot->call;
	long http_status = 0;
	char *content_type = NULL;
	curl_off_t retry_after_s = 0;

	timer_cancel(&slot->deadline);
	curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &http_status);
	curl_easy_getinfo(slot->easy, CURLINFO_CONTENT_TYPE, &content_type);
	curl_easy_getinfo(slot->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	call->was_sent = was_sent(slot);
	curl_multi_remove_handle(slot->client->multi, slot->easy);
	call->status = status;
	call->http_status = (unsigned)http_status;
	call->content_type = span_of(content_type);
	call->has_retry_after = retry_after_s > 0;
	call->retry_after_ms = retry_after_s > 0 ? SEC_MS(retry_after_s) : 0;
	call->body = status == ERR_OK ? buf_span(&slot->answer) : (struct span){ 0 };
	call->detail = detail;
	list_drop(&slot->node);
	list_append(&slot->client->done, &slot->node);
}

/* Calls out: c may be stopped, but not freed, when this returns. */
static void fire_done(struct http_client *c)
{
	if (c->is_finishing)
		return; /* further up the stack somebody is at it */
	c->is_finishing = true;
	while (!list_empty(&c->done)) {
		struct client_slot *slot = container_of(c->done.next, struct client_slot, node);
		struct http_call *call = slot->call;

		list_drop(&slot->node);
		call->slot = NULL;
		c->counters.calls_under_way--;
		call->on_done(call); /* last touch of call */
		slot_put_back(slot);
	}
	c->is_finishing = false;
}

static void finish_calls(struct http_client *c)
{
	struct CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(c->multi, &left)) != NULL) {
		char *private = NULL;
		CURLcode code = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
		struct client_slot *slot = (void *)private;

		slot_end(slot, err_from_curl(slot, code),
			slot->detail[0] != '\0' ? slot->detail : curl_easy_strerror(code));
	}
	fire_done(c);
}

static void on_deadline(struct timer *timer)
{
	struct client_slot *slot = container_of(timer, struct client_slot, deadline);
	struct http_client *c = slot->client;

	slot_end(slot, ERR_TIMEOUT, "deadline exceeded");
	fire_done(c);
}

static bool on_turn(struct turn *turn)
{
	struct http_client *c = container_of(turn, struct http_client, turn);
	int running;

	if (!c->kick_is_wanted)
		return false;
	for (int round = 0; round < ROUNDS_PER_TURN && c->kick_is_wanted; round++) {
		c->kick_is_wanted = false;
		curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	if (c->kick_is_wanted)
		timer_after(&c->timer, 0);
	finish_calls(c);
	return true;
}

/* -- the beginning of a call ----------------------------------------------------------- */

static enum err add_header(struct client_slot *slot, const char *name, const char *value)
{
	if (!raw_header_is_fine(name, value))
		return ERR_INPUT;
	buf_clear(&slot->text);
	/* The library drops "Name:" and sends "Name;" as an empty header. */
	buf_format(&slot->text, value[0] == '\0' ? "%s;" : "%s: %s", name, value);
	buf_byte(&slot->text, '\0');
	if (buf_status(&slot->text) != ERR_OK)
		return buf_status(&slot->text) == ERR_FULL ? ERR_INPUT : ERR_NOMEM;
	struct curl_slist *headers = curl_slist_append(slot->headers, slot->text.at);

	if (headers == NULL)
		return ERR_NOMEM;
	slot->headers = headers;
	return ERR_OK;
}

static enum err set_headers(struct client_slot *slot, const struct http_ask *ask)
{
	enum err err = ERR_OK;

	if (ask->method != HTTP_GET) {
		err = add_header(slot, "Content-Type",
			ask->content_type != NULL ? ask->content_type : "application/json");
		if (err != ERR_OK)
			return err;
		/* "Expect:" tells the library not to wait for 100 Continue. */
		struct curl_slist *headers = curl_slist_append(slot->headers, "Expect:");

		if (headers == NULL)
			return ERR_NOMEM;
		slot->headers = headers;
	}
	for (size_t i = 0; i < ask->header_count && err == ERR_OK; i++)
		err = add_header(slot, ask->headers[i].name, ask->headers[i].value);
	if (err != ERR_OK)
		return err;
	SET(CURLOPT_HTTPHEADER, slot->headers);
	return ERR_OK;
}

static enum err set_url(struct client_slot *slot, const struct http_ask *ask)
{
	if (!http_target_path_is_fine(ask->path))
		return ERR_INPUT;
	buf_clear(&slot->text);
	buf_text(&slot->text, ask->target->base);
	buf_append(&slot->text, ask->path);
	buf_byte(&slot->text, '\0');
	if (buf_status(&slot->text) != ERR_OK || slot->text.len > URL_MAX_BYTES)
		return buf_status(&slot->text) == ERR_NOMEM ? ERR_NOMEM : ERR_INPUT;
	SET(CURLOPT_URL, slot->text.at);
	SET(CURLOPT_UNIX_SOCKET_PATH,
		ask->target->socket_path[0] != '\0' ? ask->target->socket_path : NULL);
	return ERR_OK;
}

static enum err set_method(struct client_slot *slot, const struct http_ask *ask)
{
	static const char *const names[] = {
		[HTTP_GET] = NULL,
		[HTTP_POST] = NULL,
		[HTTP_PUT] = "PUT",
		[HTTP_DELETE] = "DELETE",
	};

	slot->method = ask->method;
	SET(CURLOPT_CUSTOMREQUEST, names[ask->method]);
	if (ask->method == HTTP_GET) {
		SET(CURLOPT_HTTPGET, 1L);
		return ERR_OK;
	}
	/* The body goes out in one write with the head. */
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->body.len);
	SET(CURLOPT_POSTFIELDS, ask->body.len == 0 ? "" : ask->body.at);
	return ERR_OK;
}

#undef SET

enum err http_client_send(
	struct http_client *c, struct http_call *call, const struct http_ask *ask)
{
	BUG_ON(ask->deadline_ms == 0 || call->on_done == NULL);
	if (c->is_stopping)
		return ERR_CANCEL;
	if (c->counters.calls_under_way >= c->config.max_calls)
		return ERR_FULL;
	struct client_slot *slot = slot_take(c);

	if (slot == NULL)
		return ERR_NOMEM;
	slot->attempts = 0;
	slot->head_bytes = 0;
	slot->verdict = ERR_OK;
	slot->detail[0] = '\0';
	buf_clear(&slot->answer);
	slot->answer.max_bytes = ask->max_answer_bytes == 0 ? DEFAULT_MAX_ANSWER_BYTES
							    : ask->max_answer_bytes;

	enum err err = set_url(slot, ask);

	if (err == ERR_OK)
		err = set_method(slot, ask);
	if (err == ERR_OK)
		err = set_headers(slot, ask);
	if (err == ERR_OK && curl_multi_add_handle(c->multi, slot->easy) != CURLM_OK)
		err = ERR_NOMEM;
	if (err != ERR_OK) {
		slot_put_back(slot);
		return err;
	}
	slot->call = call;
	call->slot = slot;
	call->detail = "";
	list_append(&c->busy, &slot->node);
	timer_after(&slot->deadline, ask->deadline_ms);
	c->counters.calls++;
	c->counters.calls_under_way++;
	return ERR_OK;
}

void http_client_cancel(struct http_client *c, struct http_call *call)
{
	struct client_slot *slot = call->slot;

	if (slot == NULL)
		return;
	timer_cancel(&slot->deadline);
	curl_multi_remove_handle(c->multi, slot->easy); /* harmless if it is done already */
	list_drop(&slot->node);
	call->slot = NULL;
	c->counters.calls_under_way--;
	slot_put_back(slot);
}

/* -- start and stop -------------------------------------------------------------------- */

static void client_free(struct http_client *c)
{
	loop_turn_drop(&c->turn);
	timer_cancel(&c->timer);
	while (!list_empty(&c->unused)) {
		struct client_slot *slot = container_of(
			c->unused.next, struct client_slot, node);

		list_drop(&slot->node);
		slot_destroy(slot);
	}
	/* Closes the kept connections through on_socket_close(). */
	curl_multi_cleanup(c->multi);
	timer_cancel(&c->timer); /* it may have asked for a last one */
	BUG_ON(!list_empty(&c->sockets));
	free(c);
	curl_global_cleanup();
}

static void on_stop_due(struct timer *timer)
{
	struct http_client *c = container_of(timer, struct http_client, stop_timer);
	void (*on_stopped)(void *) = c->on_stopped;
	void *arg = c->stopped_arg;

	while (!list_empty(&c->busy))
		slot_end(container_of(c->busy.next, struct client_slot, node), ERR_CANCEL,
			"stopped");
	fire_done(c);
	client_free(c);
	if (on_stopped != NULL)
		on_stopped(arg);
}

enum err http_client_start(
	struct loop *l, const struct http_client_config *config, struct http_client **out)
{
	/* Neither TLS nor anything else of the library's is needed, but who needs it later may
	 * call this again. */
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		return ERR_NOMEM;
	struct http_client *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		curl_global_cleanup();
		return ERR_NOMEM;
	}
	c->loop = l;
	c->config = *config;
	if (c->config.max_calls == 0)
		c->config.max_calls = DEFAULT_MAX_CALLS;
	if (c->config.max_connections == 0)
		c->config.max_connections = DEFAULT_MAX_CONNECTIONS;
	if (c->config.max_header_bytes == 0)
		c->config.max_header_bytes = DEFAULT_MAX_HEADER_BYTES;
	list_init(&c->busy);
	list_init(&c->done);
	list_init(&c->unused);
	list_init(&c->sockets);
	timer_init(&c->timer, l, on_timer);
	timer_init(&c->stop_timer, l, on_stop_due);
	c->multi = curl_multi_init();
	if (c->multi == NULL) {
		free(c);
		curl_global_cleanup();
		return ERR_NOMEM;
	}
	loop_turn_add(l, &c->turn, on_turn);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->config.max_connections);
	curl_multi_setopt(
		c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)c->config.max_connections);
	*out = c;
	return ERR_OK;
}

void http_client_stop(struct http_client *c, void (*on_stopped)(void *arg), void *arg)
{
	if (c == NULL) {
		if (on_stopped != NULL)
			on_stopped(arg);
		return;
	}
	BUG_ON(c->is_stopping);
	c->is_stopping = true;
	c->on_stopped = on_stopped;
	c->stopped_arg = arg;
	/* Not from here: we may stand in on_done. */
	timer_after(&c->stop_timer, 0);
}

const struct http_client_counters *http_client_counters(const struct http_client *c)
{
	return &c->counters;
}
