#include "http/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/list.h"
#include "http/raw.h"
#include "http/wire.h"
#include "loop/timer.h"

enum {
	DEFAULT_MAX_CALLS = 256,
	DEFAULT_MAX_CONNECTIONS = 64,
	SLOTS_KEPT = 16,   /* unused, ready for the next call */
	KEEP_BYTES = 8192, /* a slot, and what holds results, keep so much between calls */
	PATH_MAX_BYTES = 4096,
	HEADER_MAX_BYTES = 4096,
	HEAD_MAX_BYTES = 64 * 1024, /* of a request, all of it */
};

static const size_t DEFAULT_MAX_ANSWER_BYTES = KIB(256);
static const size_t DEFAULT_MAX_HEADER_BYTES = KIB(32);
static const uint64_t IDLE_MS = SEC_MS(60); /* an unused connection is closed after that */

/*  (unused) ─▶ BUSY ────▶ ENDED ─▶ on_done
 *      └─▶ WAITING ─▲────────▲          http_client_cancel(): back to unused, from all three */
enum slot_state {
	SLOT_BUSY = 0, /* has a connection */
	SLOT_WAITING,  /* for one of the max_connections */
	SLOT_ENDED,    /* with an error that is to be told yet */
};

/* One call under way; used again and again. */
struct client_slot {
	struct node node; /* client->busy, ->waiting, ->ended or ->unused */
	struct http_client *client;
	struct http_call *call;
	enum slot_state state;
	struct http_place place;
	struct wire *wire; /* while BUSY */
	struct timer deadline;
	struct buf head;  /* of the request */
	struct span body; /* borrowed from the caller */
	size_t max_answer_bytes;
	enum err status; /* once ENDED, like the rest */
	bool was_sent;
	char detail[WIRE_DETAIL_BYTES];
};

struct http_client {
	struct loop *loop;
	struct http_client_config config;
	struct node busy;
	struct node waiting; /* in their order */
	struct node ended;
	struct node unused;
	unsigned unused_count;
	struct node idle; /* wires; the one used last comes first */
	struct buf told;  /* holds the results of the call that on_done is being called for */
	struct timer end_timer;  /* for `ended` */
	struct timer idle_timer; /* for `idle` */
	struct http_client_counters counters;
	bool is_stopping;
	struct timer stop_timer;
	void (*on_stopped)(void *arg);
	void *stopped_arg;
};

/* -- connections ------------------------------------------------------------------------- */

static void drop_wire(struct http_client *c, struct wire *w)
{
	wire_destroy(w);
	c->counters.connections_open_count--;
}

static void on_wire_lost(struct wire *w)
{
	drop_wire(w->owner, w);
}

/* A handler that says how long it keeps a connection closes it then, perhaps just when a
 * request comes: a second before that it is not used any more. */
static bool is_stale(const struct wire *w)
{
	uint64_t limit_ms = IDLE_MS;

	if (w->answer.keep_for_s > 0 && w->answer.keep_for_s < IDLE_MS / 1000)
		limit_ms = SEC_MS(w->answer.keep_for_s - 1);
	return uv_now(&w->loop->uv) - w->idle_since_ms >= limit_ms;
}

static void keep_wire(struct http_client *c, struct wire *w)
{
	list_insert_before(c->idle.next, &w->node);
	if (!c->idle_timer.is_set)
		timer_after(&c->idle_timer, IDLE_MS);
}

static void on_idle_due(struct timer *timer)
{
	struct http_client *c = container_of(timer, struct http_client, idle_timer);

	list_each_safe (n, &c->idle) {
		struct wire *w = container_of(n, struct wire, node);

		if (is_stale(w))
			drop_wire(c, w);
	}
	if (!list_empty(&c->idle))
		timer_after(&c->idle_timer, IDLE_MS);
}

static struct wire *take_idle_wire(struct http_client *c, const struct http_place *place)
{
	list_each_safe (n, &c->idle) {
		struct wire *w = container_of(n, struct wire, node);

		if (!http_place_equals(&w->place, place))
			continue;
		list_drop(&w->node);
		if (!is_stale(w))
			return w;
		drop_wire(c, w);
	}
	return NULL;
}

/* A connection that nobody uses gives way to one to another place. */
static bool has_room_for_wire(struct http_client *c)
{
	if (c->counters.connections_open_count < c->config.max_connections)
		return true;
	if (list_empty(&c->idle))
		return false;
	drop_wire(c, container_of(c->idle.prev, struct wire, node));
	return true;
}

/* -- slots ------------------------------------------------------------------------------- */

static void on_deadline(struct timer *timer);

static void slot_destroy(struct client_slot *slot)
{
	buf_fini(&slot->head);
	free(slot);
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
	buf_init(&slot->head, HEAD_MAX_BYTES);
	return slot;
}

static void slot_put_back(struct client_slot *slot)
{
	struct http_client *c = slot->client;

	list_drop(&slot->node);
	slot->call = NULL;
	if (c->unused_count >= SLOTS_KEPT) {
		slot_destroy(slot);
		return;
	}
	buf_shrink(&slot->head, KEEP_BYTES);
	list_append(&c->unused, &slot->node);
	c->unused_count++;
}

/* Takes the slot out of what it is doing: no connection, no deadline, in no list. */
static void slot_detach(struct client_slot *slot)
{
	timer_cancel(&slot->deadline);
	list_drop(&slot->node);
	if (slot->wire == NULL)
		return;
	slot->was_sent = slot->wire->sent_bytes > 0;
	drop_wire(slot->client, slot->wire);
	slot->wire = NULL;
}

static void slot_move(struct client_slot *slot, enum slot_state to, struct node *list)
{
	slot->state = to;
	list_drop(&slot->node);
	list_append(list, &slot->node);
}

/* The results but for those of an answer. */
static void tell_call(struct client_slot *slot)
{
	struct http_call *call = slot->call;

	call->slot = NULL;
	call->status = slot->status;
	call->was_sent = slot->was_sent;
	call->http_status = 0;
	call->content_type = (struct span){ 0 };
	call->has_retry_after = false;
	call->retry_after_ms = 0;
	call->body = (struct span){ 0 };
	call->detail = slot->detail;
	slot->client->counters.calls_under_way--;
}

/* Calls out: the client may be stopped, but not freed, when this returns. */
static void fire_failed(struct client_slot *slot)
{
	tell_call(slot);
	slot->call->on_done(slot->call); /* last touch of the call */
	slot_put_back(slot);
}

static void slot_fail(struct client_slot *slot, enum err status, const char *detail)
{
	slot->status = status;
	snprintf(slot->detail, sizeof(slot->detail), "%s", detail);
	slot_detach(slot);
	slot_move(slot, SLOT_ENDED, &slot->client->ended);
}

static void fire_ended(struct http_client *c)
{
	while (!list_empty(&c->ended)) {
		struct client_slot *slot = container_of(
			c->ended.next, struct client_slot, node);

		list_drop(&slot->node);
		fire_failed(slot);
	}
}

static void on_end_due(struct timer *timer)
{
	fire_ended(container_of(timer, struct http_client, end_timer));
}

/* -- calls and connections meet ---------------------------------------------------------- */

static void on_wire_end(struct wire *w, enum err status);

static enum err give_wire(struct client_slot *slot, struct wire *w)
{
	struct http_client *c = slot->client;
	struct wire_request rq = {
		.head = buf_span(&slot->head),
		.body = slot->body,
		.max_head_bytes = c->config.max_header_bytes,
		.max_body_bytes = slot->max_answer_bytes,
	};
	enum err err = wire_ask(w, &rq);

	if (err != ERR_OK) {
		snprintf(slot->detail, sizeof(slot->detail), "%s", w->detail);
		drop_wire(c, w);
		return err;
	}
	w->user = slot;
	slot->wire = w;
	slot_move(slot, SLOT_BUSY, &c->busy);
	return ERR_OK;
}

/* Finds a connection or lets the slot wait for one. Returns ERR_OK, or why neither, with
 * slot->detail. */
static enum err slot_begin(struct client_slot *slot)
{
	struct http_client *c = slot->client;
	struct wire *w;

	while ((w = take_idle_wire(c, &slot->place)) != NULL)
		if (give_wire(slot, w) == ERR_OK)
			return ERR_OK;
	if (!has_room_for_wire(c)) {
		slot_move(slot, SLOT_WAITING, &c->waiting);
		return ERR_OK;
	}
	w = wire_create(c->loop, &slot->place, on_wire_end, on_wire_lost, c);
	if (w == NULL) {
		snprintf(slot->detail, sizeof(slot->detail), "%s", err_text(ERR_NOMEM));
		return ERR_NOMEM;
	}
	c->counters.connections_opened++;
	c->counters.connections_open_count++;
	return give_wire(slot, w);
}

/* As slot_begin(), but what fails is told later. */
static void slot_begin_or_end(struct client_slot *slot)
{
	enum err err = slot_begin(slot);

	if (err == ERR_OK)
		return;
	timer_cancel(&slot->deadline);
	slot->status = err;
	slot_move(slot, SLOT_ENDED, &slot->client->ended);
	timer_after(&slot->client->end_timer, 0);
}

static void begin_waiting(struct http_client *c)
{
	while (!list_empty(&c->waiting) && !c->is_stopping) {
		struct client_slot *slot = container_of(
			c->waiting.next, struct client_slot, node);

		slot_begin_or_end(slot);
		if (slot->state == SLOT_WAITING) {
			/* Still no room; it stays the first. */
			list_drop(&slot->node);
			list_insert_before(c->waiting.next, &slot->node);
			return;
		}
	}
}

/* The answer moves to c->told, so that the connection may be asked again from on_done. */
static void fire_answered(struct http_client *c, struct client_slot *slot, struct wire *w)
{
	struct http_call *call = slot->call;
	struct answer a = w->answer;
	struct buf spare = c->told;

	c->told = w->in;
	w->in = spare;
	slot->status = ERR_OK;
	slot->was_sent = true;
	slot->detail[0] = '\0';
	tell_call(slot);
	call->http_status = a.http_status;
	call->content_type = answer_span(&c->told, a.content_type);
	call->body = answer_span(&c->told, a.body);
	if (a.retry_after.len > 0)
		call->has_retry_after = answer_retry_after_ms(
			answer_span(&c->told, a.retry_after), clock_unix_ms(),
			&call->retry_after_ms);
	slot->wire = NULL;
	slot_detach(slot);
	if (w->state == WIRE_IDLE)
		keep_wire(c, w);
	else
		drop_wire(c, w);
	begin_waiting(c);
	call->on_done(call); /* last touch of the call */
	slot_put_back(slot);
	buf_shrink(&c->told, KEEP_BYTES);
}

static void on_wire_end(struct wire *w, enum err status)
{
	struct http_client *c = w->owner;
	struct client_slot *slot = w->user;

	if (status == ERR_OK) {
		fire_answered(c, slot, w);
		return;
	}
	slot_fail(slot, status, w->detail);
	begin_waiting(c);
	fire_ended(c);
}

static void on_deadline(struct timer *timer)
{
	struct client_slot *slot = container_of(timer, struct client_slot, deadline);
	struct http_client *c = slot->client;

	slot_fail(slot, ERR_TIMEOUT, "deadline exceeded");
	begin_waiting(c);
	fire_ended(c);
}

/* -- the request ------------------------------------------------------------------------- */

static enum err add_header(struct buf *head, const char *name, const char *value)
{
	size_t before = head->len;

	if (!raw_header_is_fine(name, value))
		return ERR_INPUT;
	buf_text(head, name);
	buf_text(head, ": ");
	buf_text(head, value);
	buf_text(head, "\r\n");
	return head->len - before <= HEADER_MAX_BYTES ? ERR_OK : ERR_INPUT;
}

static enum err format_head(const struct http_ask *ask, struct buf *head)
{
	static const char *const methods[] = {
		[HTTP_GET] = "GET ",
		[HTTP_POST] = "POST ",
		[HTTP_PUT] = "PUT ",
		[HTTP_DELETE] = "DELETE ",
	};
	const struct http_target *target = ask->target;
	enum err err = ERR_OK;

	if (ask->method == HTTP_OTHER || !http_target_path_is_fine(ask->path) ||
		strlen(target->base) + ask->path.len > PATH_MAX_BYTES)
		return ERR_INPUT;
	buf_text(head, methods[ask->method]);
	buf_text(head, target->base);
	buf_append(head, ask->path);
	buf_text(head, " HTTP/1.1\r\nHost: ");
	buf_text(head, target->host);
	buf_text(head, "\r\n");
	if (ask->method != HTTP_GET)
		err = add_header(head, "Content-Type",
			ask->content_type != NULL ? ask->content_type : "application/json");
	for (size_t i = 0; i < ask->header_count && err == ERR_OK; i++)
		err = add_header(head, ask->headers[i].name, ask->headers[i].value);
	if (ask->method != HTTP_GET)
		buf_format(head, "Content-Length: %zu\r\n", ask->body.len);
	buf_text(head, "\r\n");
	if (err == ERR_OK && buf_status(head) != ERR_OK)
		err = buf_status(head) == ERR_NOMEM ? ERR_NOMEM : ERR_INPUT;
	return err;
}

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
	enum err err = format_head(ask, &slot->head);

	if (err != ERR_OK) {
		slot_put_back(slot);
		return err;
	}
	slot->place = ask->target->place;
	slot->body = ask->method == HTTP_GET ? (struct span){ 0 } : ask->body;
	slot->max_answer_bytes = ask->max_answer_bytes == 0 ? DEFAULT_MAX_ANSWER_BYTES
							    : ask->max_answer_bytes;
	slot->was_sent = false;
	slot->call = call;
	call->slot = slot;
	c->counters.calls++;
	c->counters.calls_under_way++;
	timer_after(&slot->deadline, ask->deadline_ms);
	if (list_empty(&c->waiting))
		slot_begin_or_end(slot);
	else
		slot_move(slot, SLOT_WAITING, &c->waiting);
	return ERR_OK;
}

void http_client_cancel(struct http_client *c, struct http_call *call)
{
	struct client_slot *slot = call->slot;

	if (slot == NULL)
		return;
	call->slot = NULL;
	c->counters.calls_under_way--;
	slot_detach(slot);
	slot_put_back(slot);
	begin_waiting(c);
}

/* -- start and stop ---------------------------------------------------------------------- */

static void client_free(struct http_client *c)
{
	BUG_ON(!list_empty(&c->busy) || !list_empty(&c->waiting) || !list_empty(&c->ended));
	timer_cancel(&c->end_timer);
	timer_cancel(&c->idle_timer);
	while (!list_empty(&c->idle))
		drop_wire(c, container_of(c->idle.next, struct wire, node));
	BUG_ON(c->counters.connections_open_count > 0);
	while (!list_empty(&c->unused)) {
		struct client_slot *slot = container_of(
			c->unused.next, struct client_slot, node);

		list_drop(&slot->node);
		slot_destroy(slot);
	}
	buf_fini(&c->told);
	free(c);
}

static void on_stop_due(struct timer *timer)
{
	struct http_client *c = container_of(timer, struct http_client, stop_timer);
	void (*on_stopped)(void *) = c->on_stopped;
	void *arg = c->stopped_arg;

	while (!list_empty(&c->busy))
		slot_fail(container_of(c->busy.next, struct client_slot, node), ERR_CANCEL,
			"stopped");
	while (!list_empty(&c->waiting))
		slot_fail(container_of(c->waiting.next, struct client_slot, node), ERR_CANCEL,
			"stopped");
	fire_ended(c);
	client_free(c);
	if (on_stopped != NULL)
		on_stopped(arg);
}

enum err http_client_start(
	struct loop *l, const struct http_client_config *config, struct http_client **out)
{
	struct http_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return ERR_NOMEM;
	c->loop = l;
	c->config = *config;
	if (c->config.max_calls == 0)
		c->config.max_calls = DEFAULT_MAX_CALLS;
	if (c->config.max_connections == 0)
		c->config.max_connections = DEFAULT_MAX_CONNECTIONS;
	if (c->config.max_header_bytes == 0)
		c->config.max_header_bytes = DEFAULT_MAX_HEADER_BYTES;
	list_init(&c->busy);
	list_init(&c->waiting);
	list_init(&c->ended);
	list_init(&c->unused);
	list_init(&c->idle);
	timer_init(&c->end_timer, l, on_end_due);
	timer_init(&c->idle_timer, l, on_idle_due);
	timer_init(&c->stop_timer, l, on_stop_due);
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
