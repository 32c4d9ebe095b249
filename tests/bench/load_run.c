#include "load_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"

enum { REQUEST_MAX_BYTES = 512 * 1024, EVENTS = 64, STALLED_MS = 70000 };

/* One run of requests: the warm-up of a round, or its measured part. */
struct run {
	struct load *load;
	const struct bench_plan *plan;
	struct bench_result *result; /* NULL = warm-up */
	uint64_t count;
	uint64_t begin_us;
	uint64_t started;
	uint64_t finished;
};

enum err load_init(struct load *l, const char *socket_path, const char *path, struct span body,
	int expected_status)
{
	*l = (struct load){ .socket_path = socket_path, .expected_status = expected_status };
	buf_init(&l->request, REQUEST_MAX_BYTES);
	bench_http_request(&l->request, path, body);
	return buf_status(&l->request);
}

static void close_all(struct load *l)
{
	for (unsigned i = 0; i < l->conn_count; i++)
		bench_http_close(&l->conn[i]);
	free(l->conn);
	l->conn = NULL;
	l->conn_count = 0;
}

void load_fini(struct load *l)
{
	close_all(l);
	buf_fini(&l->request);
}

/* Makes `count` open connections, keeping those that are. */
static enum err open_all(struct load *l, unsigned count, enum bench_http_wait wait)
{
	if (l->conn_count == count)
		return ERR_OK;
	close_all(l);
	l->conn = calloc(count, sizeof *l->conn);
	if (l->conn == NULL)
		return ERR_NOMEM;
	for (unsigned i = 0; i < count; i++) {
		enum err err = bench_http_open(&l->conn[i], l->socket_path, wait);

		if (err != ERR_OK)
			return err;
		l->conn_count = i + 1;
	}
	return ERR_OK;
}

static void note_first_error(struct load *l, const char *what, struct span body)
{
	if (l->first_error[0] != '\0')
		return;
	int len = body.len < 300 ? (int)body.len : 300;

	(void)snprintf(l->first_error, sizeof l->first_error, "%s %.*s", what, len,
		len == 0 ? "" : body.at);
}

static void count_answer(struct run *r, const struct bench_http *h, uint64_t us)
{
	struct load *l = r->load;
	char what[16];

	r->finished++;
	if (r->result == NULL)
		return;
	hist_add(&r->result->hist, us);
	if (h->status >= 0 && h->status < LOAD_MAX_STATUS)
		l->by_status[h->status]++;
	if (h->status == l->expected_status) {
		l->right_unix_ms = clock_unix_ms();
		return;
	}
	r->result->errors++;
	(void)snprintf(what, sizeof what, "%d", h->status);
	note_first_error(l, what, bench_http_body(h));
}

static enum err count_break(struct run *r, struct bench_http *h, enum bench_http_wait wait)
{
	r->finished++;
	r->load->broken++;
	if (r->result != NULL)
		r->result->errors++;
	note_first_error(r->load, "the connection ended without an answer", (struct span){ 0 });
	bench_http_close(h);
	return bench_http_open(h, r->load->socket_path, wait);
}

static enum err run_alone(struct run *r)
{
	struct bench_http *h = &r->load->conn[0];
	struct span request = buf_span(&r->load->request);

	while (r->finished < r->count && !bench_time_is_up(r->plan, r->begin_us)) {
		bench_pace(r->plan, r->begin_us, r->started);
		uint64_t start_us = clock_mono_us();

		r->started++;
		enum err err = bench_http_send(h, request);

		if (err == ERR_OK)
			err = bench_http_take(h);
		if (err == ERR_OK)
			count_answer(r, h, clock_mono_us() - start_us);
		else
			err = count_break(r, h, BENCH_HTTP_BLOCKING);
		if (err != ERR_OK)
			return err;
	}
	return ERR_OK;
}

/* The connections that wait for their next request are a stack of indices. */
struct crowd {
	int epoll_fd;
	unsigned idle[BENCH_MAX_IN_FLIGHT];
	unsigned idle_count;
	uint64_t start_us[BENCH_MAX_IN_FLIGHT]; /* 0 = idle */
};

static enum err watch(const struct crowd *c, const struct run *r, unsigned i)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, r->load->conn[i].fd, &event) != 0)
		return err_from_errno(errno);
	return ERR_OK;
}

static enum err break_and_watch(struct crowd *c, struct run *r, unsigned i)
{
	enum err err = count_break(r, &r->load->conn[i], BENCH_HTTP_POLLED);

	if (err == ERR_OK)
		err = watch(c, r, i);
	c->start_us[i] = 0;
	c->idle[c->idle_count++] = i;
	return err;
}

/* A server may close a connection between two requests. */
static enum err reopen_idle(struct crowd *c, struct run *r, unsigned i)
{
	struct bench_http *h = &r->load->conn[i];

	bench_http_close(h);
	enum err err = bench_http_open(h, r->load->socket_path, BENCH_HTTP_POLLED);

	return err == ERR_OK ? watch(c, r, i) : err;
}

static enum err start_due(struct crowd *c, struct run *r)
{
	struct span request = buf_span(&r->load->request);

	while (c->idle_count > 0 && r->started < r->count &&
		!bench_time_is_up(r->plan, r->begin_us) &&
		bench_pace_left_us(r->plan, r->begin_us, r->started) == 0) {
		unsigned i = c->idle[--c->idle_count];

		r->started++;
		c->start_us[i] = clock_mono_us();
		if (bench_http_send(&r->load->conn[i], request) == ERR_OK)
			continue;
		enum err err = break_and_watch(c, r, i);

		if (err != ERR_OK)
			return err;
	}
	return ERR_OK;
}

static enum err take_one(struct crowd *c, struct run *r, unsigned i)
{
	struct bench_http *h = &r->load->conn[i];

	if (c->start_us[i] == 0)
		return reopen_idle(c, r, i);
	switch (bench_http_take(h)) {
	case ERR_OK:
		count_answer(r, h, clock_mono_us() - c->start_us[i]);
		c->start_us[i] = 0;
		c->idle[c->idle_count++] = i;
		return ERR_OK;
	case ERR_BUSY:
		return ERR_OK;
	default:
		return break_and_watch(c, r, i);
	}
}

static int crowd_wait_ms(const struct crowd *c, const struct run *r)
{
	if (c->idle_count == 0 || r->started >= r->count)
		return STALLED_MS;
	return (int)((bench_pace_left_us(r->plan, r->begin_us, r->started) + 999) / 1000);
}

static enum err run_crowd(struct run *r)
{
	struct crowd *c = calloc(1, sizeof *c);
	struct epoll_event events[EVENTS];
	enum err err = c == NULL ? ERR_NOMEM : ERR_OK;

	if (err != ERR_OK)
		return err;
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll_fd < 0)
		err = err_from_errno(errno);
	for (unsigned i = 0; err == ERR_OK && i < r->load->conn_count; i++) {
		c->idle[c->idle_count++] = r->load->conn_count - 1 - i;
		err = watch(c, r, i);
	}
	while (err == ERR_OK && r->finished < r->count) {
		err = start_due(c, r);
		if (err != ERR_OK)
			break;
		bool is_over = r->started >= r->count || bench_time_is_up(r->plan, r->begin_us);

		if (is_over && r->finished == r->started)
			break;
		int count = epoll_wait(c->epoll_fd, events, EVENTS, crowd_wait_ms(c, r));

		if (count < 0 && errno != EINTR)
			err = err_from_errno(errno);
		if (count == 0 && c->idle_count == 0)
			err = ERR_TIMEOUT;
		for (int i = 0; err == ERR_OK && i < count; i++)
			err = take_one(c, r, events[i].data.u32);
	}
	if (c->epoll_fd >= 0)
		(void)close(c->epoll_fd);
	free(c);
	return err;
}

static enum err run(struct run *r)
{
	r->begin_us = clock_mono_us();
	return r->plan->in_flight == 1 ? run_alone(r) : run_crowd(r);
}

enum err load_round(struct load *l, const struct bench_plan *plan, struct bench_result *out)
{
	struct run warmup = { .load = l, .plan = plan, .count = plan->warmup };
	struct run measured = {
		.load = l,
		.plan = plan,
		.result = out,
		.count = plan->calls,
	};

	*out = (struct bench_result){ 0 };
	enum err err = open_all(l, plan->in_flight,
		plan->in_flight == 1 ? BENCH_HTTP_BLOCKING : BENCH_HTTP_POLLED);

	if (err == ERR_OK)
		err = run(&warmup);
	if (err != ERR_OK)
		return err;
	err = run(&measured);
	out->took_us = clock_mono_us() - measured.begin_us;
	return err;
}
