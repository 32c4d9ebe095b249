#include "handler.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/span.h"
#include "base/text.h"
#include "http.h"
#include "must.h"

enum { HEAD_MAX = 16 * 1024, BODY_MAX = 512 * 1024, LOOK_MS = 20 };

/* One connection and its thread. */
struct worker {
	struct handler *handler;
	unsigned slot;
	int fd;
	char in[HEAD_MAX + BODY_MAX];
	size_t len; /* bytes in `in` */
};

/* One request as it lies in the worker's buffer. */
struct incoming {
	struct span head; /* request line and headers, with the blank line */
	struct span body;
};

static bool receive(struct worker *w)
{
	for (;;) {
		ssize_t count = recv(w->fd, w->in + w->len, sizeof w->in - w->len, 0);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		w->len += (size_t)count;
		return true;
	}
}

/* Reads until a whole request is there. False at the end of the connection. */
static bool next_request(struct worker *w, struct incoming *out)
{
	const char *end;
	uint64_t length = 0;

	while ((end = memmem(w->in, w->len, "\r\n\r\n", 4)) == NULL) {
		if (!receive(w))
			return false;
	}
	out->head = (struct span){ .at = w->in, .len = (size_t)(end - w->in) + 4 };
	struct span text = head_field(out->head, "Content-Length");

	if (text.len != 0 && text_parse_u64(text, &length) != ERR_OK)
		return false;
	/* A client that sends chunks has no business here: the node knows its bodies. */
	if (head_field(out->head, "Transfer-Encoding").len != 0 || length > BODY_MAX)
		return false;
	while (w->len < out->head.len + length) {
		if (!receive(w))
			return false;
	}
	out->body = (struct span){ .at = w->in + out->head.len, .len = (size_t)length };
	return true;
}

static void drop_request(struct worker *w, const struct incoming *request)
{
	size_t used = request->head.len + request->body.len;

	memmove(w->in, w->in + used, w->len - used);
	w->len -= used;
}

static void copy_span(char *to, size_t room, struct span from)
{
	(void)snprintf(to, room, "%.*s", SPAN_ARG(from));
}

static int64_t number_or_missing(struct span text)
{
	uint64_t number = 0;

	return text_parse_u64(text, &number) == ERR_OK ? (int64_t)number : -1;
}

static void describe(const struct incoming *in, struct handler_request *out)
{
	struct span rest = in->head;
	struct span line = text_cut(&rest, '\n');

	*out = (struct handler_request){ 0 };
	(void)text_cut(&line, ' ');
	struct span path = text_cut(&line, ' ');
	const char *slash = memrchr(path.at, '/', path.len);

	if (slash != NULL)
		path = span_after(path, (size_t)(slash - path.at) + 1);
	copy_span(out->op, sizeof out->op, path);
	copy_span(out->id, sizeof out->id, head_field(in->head, "Sallyport-Id"));
	copy_span(out->host, sizeof out->host, head_field(in->head, "Sallyport-Host"));
	copy_span(out->key, sizeof out->key, head_field(in->head, "Sallyport-Key"));
	out->attempt = number_or_missing(head_field(in->head, "Sallyport-Attempt"));
	out->deadline_ms = number_or_missing(head_field(in->head, "Sallyport-Deadline-Ms"));
	out->body_len = in->body.len;
	copy_span(out->body, sizeof out->body, in->body);
}

static struct handler_rule rule_for(const struct handler *h, const char *op)
{
	struct handler_rule rule = { .act = HANDLER_ECHO };

	for (unsigned i = 0; i < h->rule_count; i++) {
		if (strcmp(h->rules[i].op, op) == 0)
			return h->rules[i];
		if (h->rules[i].op[0] == '\0')
			rule = h->rules[i];
	}
	return rule;
}

static bool has_left(int fd)
{
	char byte;
	ssize_t count = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
}

/* Under the lock: waits for a release, the end, or until the client has had enough. */
static void hold(struct handler *h, int fd)
{
	h->held++;
	(void)pthread_cond_broadcast(&h->changed);
	while (h->releases == 0 && !h->is_stopping && !has_left(fd)) {
		struct deadline d = deadline_in_ms(LOOK_MS);
		struct timespec at = {
			.tv_sec = (time_t)(d.at_us / 1000000),
			.tv_nsec = (long)(d.at_us % 1000000) * 1000,
		};

		(void)pthread_cond_timedwait(&h->changed, &h->lock, &at);
	}
	h->held--;
	if (h->releases > 0)
		h->releases--; /* also when it left meanwhile: it was one of those */
}

/* Remembers the request and says what to do with it; waits here while it is held. */
static struct handler_rule take_in(
	struct handler *h, int fd, const struct handler_request *request)
{
	(void)pthread_mutex_lock(&h->lock);
	if (h->request_count < HANDLER_REQUESTS)
		h->requests[h->request_count] = *request;
	h->request_count++;
	struct handler_rule rule = rule_for(h, request->op);

	if (rule.act == HANDLER_HOLD)
		hold(h, fd);
	(void)pthread_cond_broadcast(&h->changed);
	(void)pthread_mutex_unlock(&h->lock);
	return rule;
}

static bool answer(int fd, int status, const char *headers, struct span body)
{
	char head[1024];
	int len = snprintf(head, sizeof head,
		"HTTP/1.1 %d Said So\r\nContent-Type: application/json\r\nContent-Length: "
		"%zu\r\n"
		"%s\r\n",
		status, body.len, headers == NULL ? "" : headers);

	return http_write(fd, head, (size_t)len) && http_write(fd, body.at, body.len);
}

static bool answer_huge(int fd, size_t bytes)
{
	char *body = malloc(bytes + 1);

	if (body == NULL)
		return false;
	memset(body, 'x', bytes);
	if (bytes >= 2)
		body[0] = body[bytes - 1] = '"';
	bool is_sent = answer(fd, 200, NULL, (struct span){ .at = body, .len = bytes });

	free(body);
	return is_sent;
}

/* False when the connection is to be closed. */
static bool act(struct worker *w, const struct handler_rule *rule, const struct incoming *in)
{
	static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":";
	static const char garbage[] = "\x16\x03\x01 this is no HTTP\n\n\n";

	switch (rule->act) {
	case HANDLER_ECHO:
		return answer(w->fd, 200, NULL, in->body);
	case HANDLER_ANSWER:
	case HANDLER_HOLD:
		return answer(w->fd, rule->status == 0 ? 200 : rule->status, rule->headers,
			span_of(rule->body == NULL ? "{}" : rule->body));
	case HANDLER_CLOSE:
		return false;
	case HANDLER_HALF:
		(void)http_write(w->fd, half, sizeof half - 1);
		return false;
	case HANDLER_GARBAGE:
		(void)http_write(w->fd, garbage, sizeof garbage - 1);
		return false;
	case HANDLER_HUGE:
		return answer_huge(w->fd, rule->huge_bytes);
	}
	return false;
}

static void *serve(void *arg)
{
	struct worker *w = arg;
	struct handler *h = w->handler;
	struct incoming in;
	struct handler_request request;

	while (next_request(w, &in)) {
		describe(&in, &request);
		struct handler_rule rule = take_in(h, w->fd, &request);

		if (!act(w, &rule, &in))
			break;
		drop_request(w, &in);
	}
	(void)pthread_mutex_lock(&h->lock);
	(void)close(w->fd);
	h->fds[w->slot] = -1;
	h->thread_count--;
	(void)pthread_cond_broadcast(&h->changed);
	(void)pthread_mutex_unlock(&h->lock);
	free(w);
	return NULL;
}

/* Under the lock. Gives the connection a thread, or closes it. */
static void admit(struct handler *h, int fd)
{
	pthread_attr_t attributes;
	pthread_t thread;
	unsigned slot = 0;

	while (slot < HANDLER_CONNECTIONS && h->fds[slot] >= 0)
		slot++;
	struct worker *w = slot == HANDLER_CONNECTIONS ? NULL : calloc(1, sizeof *w);

	if (w == NULL || h->is_stopping) {
		free(w);
		(void)close(fd);
		return;
	}
	w->handler = h;
	w->slot = slot;
	w->fd = fd;
	h->fds[slot] = fd;
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	h->thread_count++;
	if (pthread_create(&thread, &attributes, serve, w) != 0) {
		h->thread_count--;
		h->fds[slot] = -1;
		(void)close(fd);
		free(w);
	}
	(void)pthread_attr_destroy(&attributes);
}

static void *listen_on(void *arg)
{
	struct handler *h = arg;

	for (;;) {
		int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		(void)pthread_mutex_lock(&h->lock);
		bool is_over = h->is_stopping;

		if (fd >= 0)
			admit(h, fd);
		(void)pthread_mutex_unlock(&h->lock);
		if (is_over || (fd < 0 && errno != EINTR && errno != ECONNABORTED))
			return NULL;
	}
}

void must_handler_start(struct handler *h, const char *folder, const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	pthread_condattr_t monotonic;

	*h = (struct handler){ .listen_fd = -1 };
	must_format(h->socket_path, sizeof h->socket_path, "%s/%s.sock", folder, name);
	must_format(h->url, sizeof h->url, "http+unix://%s", h->socket_path);
	must_format(at.sun_path, sizeof at.sun_path, "%s", h->socket_path);
	for (unsigned i = 0; i < HANDLER_CONNECTIONS; i++)
		h->fds[i] = -1;
	h->requests = calloc(HANDLER_REQUESTS, sizeof *h->requests);
	(void)unlink(h->socket_path);
	h->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->requests == NULL || h->listen_fd < 0 ||
		bind(h->listen_fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
		listen(h->listen_fd, 128) != 0)
		must_fail("%s: %s", h->socket_path, strerror(errno));
	(void)pthread_mutex_init(&h->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&h->changed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (pthread_create(&h->thread, NULL, listen_on, h) != 0)
		must_fail("the handler has no thread");
}

void handler_stop(struct handler *h)
{
	if (h->requests == NULL)
		return;
	(void)pthread_mutex_lock(&h->lock);
	h->is_stopping = true;
	(void)shutdown(h->listen_fd, SHUT_RDWR);
	for (unsigned i = 0; i < HANDLER_CONNECTIONS; i++) {
		if (h->fds[i] >= 0)
			(void)shutdown(h->fds[i], SHUT_RDWR);
	}
	(void)pthread_cond_broadcast(&h->changed);
	while (h->thread_count > 0)
		(void)pthread_cond_wait(&h->changed, &h->lock);
	(void)pthread_mutex_unlock(&h->lock);
	(void)pthread_join(h->thread, NULL);
	(void)close(h->listen_fd);
	(void)unlink(h->socket_path);
	(void)pthread_cond_destroy(&h->changed);
	(void)pthread_mutex_destroy(&h->lock);
	free(h->requests);
	h->requests = NULL;
}

void handler_set_rule(struct handler *h, const struct handler_rule *rule)
{
	unsigned i = 0;

	(void)pthread_mutex_lock(&h->lock);
	while (i < h->rule_count && strcmp(h->rules[i].op, rule->op) != 0)
		i++;
	bool has_room = i < HANDLER_RULES;

	if (has_room)
		h->rules[i] = *rule;
	if (has_room && i == h->rule_count)
		h->rule_count++;
	(void)pthread_mutex_unlock(&h->lock);
	if (!has_room)
		must_fail("more than %d rules", HANDLER_RULES);
}

void handler_release(struct handler *h, unsigned count)
{
	(void)pthread_mutex_lock(&h->lock);
	h->releases += count;
	(void)pthread_cond_broadcast(&h->changed);
	(void)pthread_mutex_unlock(&h->lock);
}

/* Waits under the lock until *value reaches `count`. Returns the value. */
static unsigned wait_for(
	struct handler *h, const unsigned *value, unsigned count, uint64_t within_ms)
{
	struct deadline d = deadline_in_ms(within_ms);
	struct timespec at = {
		.tv_sec = (time_t)(d.at_us / 1000000),
		.tv_nsec = (long)(d.at_us % 1000000) * 1000,
	};

	(void)pthread_mutex_lock(&h->lock);
	while (*value < count) {
		if (pthread_cond_timedwait(&h->changed, &h->lock, &at) != 0)
			break;
	}
	unsigned seen = *value;

	(void)pthread_mutex_unlock(&h->lock);
	return seen;
}

void must_handler_get(struct handler *h, unsigned count, uint64_t within_ms)
{
	unsigned seen = wait_for(h, &h->request_count, count, within_ms);

	if (seen < count)
		must_fail("the handler got %u requests, not %u, within %llu ms", seen, count,
			(unsigned long long)within_ms);
}

void must_handler_hold(struct handler *h, unsigned count, uint64_t within_ms)
{
	unsigned seen = wait_for(h, &h->held, count, within_ms);

	if (seen < count)
		must_fail("the handler holds %u requests, not %u, after %llu ms", seen, count,
			(unsigned long long)within_ms);
}

unsigned handler_count(struct handler *h)
{
	(void)pthread_mutex_lock(&h->lock);
	unsigned count = h->request_count;

	(void)pthread_mutex_unlock(&h->lock);
	return count;
}

unsigned handler_connections(struct handler *h)
{
	(void)pthread_mutex_lock(&h->lock);
	unsigned count = h->thread_count;

	(void)pthread_mutex_unlock(&h->lock);
	return count;
}

void must_handler_request(struct handler *h, unsigned index, struct handler_request *out)
{
	(void)pthread_mutex_lock(&h->lock);
	bool has = index < h->request_count && index < HANDLER_REQUESTS;

	if (has)
		*out = h->requests[index];
	(void)pthread_mutex_unlock(&h->lock);
	if (!has)
		must_fail("the handler got no request number %u", index);
}

static int compare_ids(const void *a, const void *b)
{
	const struct handler_request *const *x = a;
	const struct handler_request *const *y = b;

	return strcmp((*x)->id, (*y)->id);
}

/* Under the lock; `sorted` has room for all. */
static unsigned count_distinct(
	const struct handler *h, const char *op, const struct handler_request **sorted)
{
	unsigned count = 0;
	unsigned distinct = 0;

	for (unsigned i = 0; i < h->request_count && i < HANDLER_REQUESTS; i++) {
		if (strcmp(h->requests[i].op, op) == 0)
			sorted[count++] = &h->requests[i];
	}
	qsort(sorted, count, sizeof *sorted, compare_ids);
	for (unsigned i = 0; i < count; i++)
		distinct += i == 0 || strcmp(sorted[i]->id, sorted[i - 1]->id) != 0;
	return distinct;
}

/* Waits for at least `count` of them until the deadline. Returns how many there are. */
static unsigned wait_distinct(
	struct handler *h, const char *op, unsigned count, struct deadline d)
{
	const struct handler_request **sorted = calloc(HANDLER_REQUESTS, sizeof *sorted);
	struct timespec at = {
		.tv_sec = (time_t)(d.at_us / 1000000),
		.tv_nsec = (long)(d.at_us % 1000000) * 1000,
	};

	if (sorted == NULL)
		must_fail("out of memory");
	(void)pthread_mutex_lock(&h->lock);
	unsigned distinct = count_distinct(h, op, sorted);

	while (distinct < count && pthread_cond_timedwait(&h->changed, &h->lock, &at) == 0)
		distinct = count_distinct(h, op, sorted);
	(void)pthread_mutex_unlock(&h->lock);
	free(sorted);
	return distinct;
}

unsigned handler_distinct_ids(struct handler *h, const char *op)
{
	return wait_distinct(h, op, 0, deadline_in_ms(0));
}

void must_handler_distinct(
	struct handler *h, const char *op, unsigned count, uint64_t within_ms)
{
	unsigned seen = wait_distinct(h, op, count, deadline_in_ms(within_ms));

	if (seen < count)
		must_fail("the handler got %u messages of %s, not %u, within %llu ms", seen, op,
			count, (unsigned long long)within_ms);
}
