#include "caller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "http.h"
#include "must.h"

enum { ANSWER_MS = 40000 };

static bool ask_once(struct caller_thread *t, int fd, struct answer *answer)
{
	char body[128];
	char request[512];
	int body_len = snprintf(body, sizeof body, "{\"customer\":\"c%u\",\"number\":%llu}",
		t->index, (unsigned long long)t->calls);
	int len = snprintf(request, sizeof request,
		"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s",
		t->caller->path, body_len, body);
	uint64_t start_us = clock_mono_us();

	t->calls++;
	if (!http_write(fd, request, (size_t)len) || !http_read_answer(fd, ANSWER_MS, answer))
		return false;
	uint64_t took_us = clock_mono_us() - start_us;

	if (took_us > t->slowest_us)
		t->slowest_us = took_us;
	if (answer->status > 0 && answer->status < CALLER_MAX_STATUS)
		t->by_status[answer->status]++;
	if (answer->status == 200 && strcmp(answer->body, body) != 0)
		t->strange++;
	atomic_fetch_add(&t->caller->answered, 1);
	return true;
}

static void pause_us(uint64_t us)
{
	struct timespec left = { .tv_nsec = (long)us * 1000 };

	if (us != 0)
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &left, NULL);
}

static void *call_on(void *arg)
{
	struct caller_thread *t = arg;
	struct caller *c = t->caller;
	struct answer *answer = malloc(sizeof *answer);
	int fd = -1;

	while (answer != NULL && !atomic_load(&c->is_stopping) &&
		(c->most == 0 || t->calls < c->most)) {
		if (fd < 0)
			fd = http_connect(c->socket_path);
		if (fd < 0 || !ask_once(t, fd, answer)) {
			t->broken++;
			if (fd >= 0)
				(void)close(fd);
			else
				t->calls++;
			fd = -1;
		}
		pause_us(c->pause_us);
	}
	if (fd >= 0)
		(void)close(fd);
	free(answer);
	return NULL;
}

void must_caller_start(struct caller *c, const char *socket_path, const char *path,
	unsigned threads, uint64_t most, uint64_t pause)
{
	memset(c, 0, sizeof *c);
	c->socket_path = socket_path;
	c->path = path;
	c->most = most;
	c->pause_us = pause;
	for (unsigned i = 0; i < threads && i < CALLER_MAX_THREADS; i++) {
		c->threads[i].caller = c;
		c->threads[i].index = i;
		if (pthread_create(&c->threads[i].thread, NULL, call_on, &c->threads[i]) != 0)
			must_fail("a caller has no thread");
		c->thread_count++;
	}
}

void caller_finish(struct caller *c, struct caller_sum *out)
{
	*out = (struct caller_sum){ 0 };
	for (unsigned i = 0; i < c->thread_count; i++) {
		struct caller_thread *t = &c->threads[i];

		(void)pthread_join(t->thread, NULL);
		out->calls += t->calls;
		out->broken += t->broken;
		out->strange += t->strange;
		if (t->slowest_us > out->slowest_us)
			out->slowest_us = t->slowest_us;
		for (unsigned status = 0; status < CALLER_MAX_STATUS; status++) {
			out->by_status[status] += t->by_status[status];
			if (status == 200 || status == 202)
				out->fine += t->by_status[status];
			else
				out->others += t->by_status[status];
		}
	}
	c->thread_count = 0;
}

void caller_stop(struct caller *c, struct caller_sum *out)
{
	atomic_store(&c->is_stopping, true);
	caller_finish(c, out);
}

void expect_all_fine(const struct caller_sum *sum)
{
	char text[512] = "";
	size_t len = 0;

	if (sum->fine == sum->calls && sum->strange == 0 && sum->broken == 0)
		return;
	for (unsigned status = 0; status < CALLER_MAX_STATUS && len < sizeof text; status++) {
		if (sum->by_status[status] != 0)
			len += (size_t)snprintf(text + len, sizeof text - len, " %u: %llu",
				status, (unsigned long long)sum->by_status[status]);
	}
	must_fail("of %llu calls %llu broke, %llu had somebody else's answer;%s",
		(unsigned long long)sum->calls, (unsigned long long)sum->broken,
		(unsigned long long)sum->strange, text);
}
