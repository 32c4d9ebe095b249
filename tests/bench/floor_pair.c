#include "floor_pair.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	PREFETCH = 1000,
	ANSWER_MS = 10000,
	READY_MS = 20000,
	DRAIN_EVERY = 200,
	ID_ROOM = 48,
};

static void side_close(struct floor_side *s)
{
	bench_link_close(&s->link[0]);
	bench_link_close(&s->link[1]);
}

static enum err side_open(struct floor_side *s, const char *who,
	const struct floor_config *config, const struct bench_identity *identity,
	const char *queue)
{
	*s = (struct floor_side){ 0 };
	s->in = &s->link[0];
	s->out = config->links == FLOOR_ONE_LINK ? &s->link[0] : &s->link[1];
	enum err err = bench_link_open(&s->link[0], who, &config->broker, identity);

	if (err == ERR_OK && config->links == FLOOR_TWO_LINKS)
		err = bench_link_open(&s->link[1], who, &config->broker, identity);
	if (err == ERR_OK)
		err = bench_link_consume(s->in, queue, PREFETCH);
	if (err != ERR_OK)
		side_close(s);
	return err;
}

/* Answers until the pair's owner kills it. */
static enum err respond(const struct floor_config *config, int ready_fd)
{
	struct floor_side side;
	enum err err = side_open(&side, "floor responder", config, &config->app, "FORAPP.call");

	if (err != ERR_OK)
		return err;
	if (write(ready_fd, "r", 1) != 1)
		err = ERR_IO;
	(void)close(ready_fd);
	while (err == ERR_OK) {
		amqp_envelope_t call;

		err = bench_link_take(side.in, ANSWER_MS, &call);
		if (err == ERR_TIMEOUT) {
			err = ERR_OK;
			continue;
		}
		if (err != ERR_OK)
			break;
		err = bench_link_publish(side.out, "x.forweb", "reply",
			call.message.properties.correlation_id, BENCH_TRANSIENT,
			call.message.body);
		if (err == ERR_OK)
			err = bench_link_ack(side.in, call.delivery_tag, BENCH_ACK_ONE);
		amqp_destroy_envelope(&call);
	}
	side_close(&side);
	return err;
}

static enum err wait_ready(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char byte;
	int count;

	do
		count = poll(&ready, 1, READY_MS);
	while (count < 0 && errno == EINTR);
	if (count <= 0)
		return ERR_TIMEOUT;
	return read(fd, &byte, 1) == 1 ? ERR_OK : ERR_LINK;
}

static enum err responder_start(struct floor_pair *p)
{
	int ready[2];

	if (pipe(ready) != 0)
		return err_from_errno(errno);
	pid_t parent = getpid();

	p->responder = fork();
	if (p->responder < 0) {
		enum err err = err_from_errno(errno);

		p->responder = 0;
		(void)close(ready[0]);
		(void)close(ready[1]);
		return err;
	}
	if (p->responder == 0) {
		(void)close(ready[0]);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		_exit(respond(&p->config, ready[1]) == ERR_OK ? 0 : 1);
	}
	(void)close(ready[1]);
	enum err err = wait_ready(ready[0]);

	(void)close(ready[0]);
	return err;
}

enum err floor_pair_open(struct floor_pair *p, const struct floor_config *config)
{
	*p = (struct floor_pair){ .config = *config, .nonce = clock_unix_us() };
	p->body = malloc(config->body_bytes + 1);
	if (p->body == NULL)
		return ERR_NOMEM;
	memset(p->body, 'x', config->body_bytes);
	enum err err = responder_start(p);

	if (err == ERR_OK)
		err = side_open(
			&p->caller, "floor caller", config, &config->web, "FORWEB.reply");
	if (err != ERR_OK)
		floor_pair_close(p);
	return err;
}

void floor_pair_close(struct floor_pair *p)
{
	side_close(&p->caller);
	if (p->responder > 0) {
		(void)kill(p->responder, SIGKILL);
		(void)waitpid(p->responder, NULL, 0);
	}
	p->responder = 0;
	free(p->body);
	p->body = NULL;
}

static amqp_bytes_t body_of(const struct floor_pair *p)
{
	return (amqp_bytes_t){ .len = p->config.body_bytes, .bytes = p->body };
}

static enum err call_start(struct floor_pair *p, uint64_t *start_us)
{
	char id[ID_ROOM];
	int len = snprintf(id, sizeof id, "%" PRIx64 "-%" PRIu64, p->nonce, p->seq);
	amqp_bytes_t correlation_id = { .len = (size_t)len, .bytes = id };

	start_us[p->seq % BENCH_MAX_IN_FLIGHT] = clock_mono_us();
	p->seq++;
	return bench_link_publish(
		p->caller.out, "x.forapp", "call", correlation_id, BENCH_TRANSIENT, body_of(p));
}

/* The seq of one of our own replies. Returns ERR_NOT_FOUND for anybody else's. */
static enum err reply_seq(
	const struct floor_pair *p, const amqp_basic_properties_t *properties, uint64_t *out)
{
	char id[ID_ROOM] = { 0 };
	uint64_t nonce;
	uint64_t seq;

	if ((properties->_flags & AMQP_BASIC_CORRELATION_ID_FLAG) == 0 ||
		properties->correlation_id.len >= sizeof id)
		return ERR_NOT_FOUND;
	memcpy(id, properties->correlation_id.bytes, properties->correlation_id.len);
	if (sscanf(id, "%" SCNx64 "-%" SCNu64, &nonce, &seq) != 2 || nonce != p->nonce)
		return ERR_NOT_FOUND;
	*out = seq;
	return ERR_OK;
}

/* Takes one reply of ours; *us is how long that call took. */
static enum err call_finish(struct floor_pair *p, const uint64_t *start_us, uint64_t *us)
{
	for (;;) {
		amqp_envelope_t reply;
		uint64_t seq = 0;
		enum err err = bench_link_take(p->caller.in, ANSWER_MS, &reply);

		if (err != ERR_OK)
			return err;
		uint64_t now_us = clock_mono_us();
		enum err ours = reply_seq(p, &reply.message.properties, &seq);

		err = bench_link_ack(p->caller.in, reply.delivery_tag, BENCH_ACK_ONE);
		amqp_destroy_envelope(&reply);
		if (err != ERR_OK)
			return err;
		if (ours != ERR_OK)
			continue;
		*us = now_us - start_us[seq % BENCH_MAX_IN_FLIGHT];
		return ERR_OK;
	}
}

/* `count` calls, at most plan->in_flight at once; hist may be NULL. */
static enum err run_calls(
	struct floor_pair *p, const struct bench_plan *plan, uint64_t count, struct hist *hist)
{
	uint64_t start_us[BENCH_MAX_IN_FLIGHT];
	uint64_t begin_us = clock_mono_us();
	uint64_t started = 0;
	uint64_t finished = 0;
	enum err err = ERR_OK;

	while (err == ERR_OK && finished < count) {
		if (bench_time_is_up(plan, begin_us))
			count = started;
		if (started < count && started - finished < plan->in_flight) {
			bench_pace(plan, begin_us, started);
			err = call_start(p, start_us);
			started++;
			continue;
		}
		uint64_t us;

		if (finished == started)
			break;
		err = call_finish(p, start_us, &us);
		finished++;
		if (err == ERR_OK && hist != NULL)
			hist_add(hist, us);
	}
	return err;
}

enum err floor_pair_calls(
	struct floor_pair *p, const struct bench_plan *plan, struct bench_result *out)
{
	*out = (struct bench_result){ 0 };
	enum err err = run_calls(p, plan, plan->warmup, NULL);
	uint64_t begin_us = clock_mono_us();

	if (err == ERR_OK)
		err = run_calls(p, plan, plan->calls, &out->hist);
	out->took_us = clock_mono_us() - begin_us;
	return err;
}

/* `count` persistent publishes with a window of plan->in_flight; hist may be NULL. */
static enum err run_publishes(struct floor_pair *p, struct bench_link *l, uint64_t first_tag,
	const struct bench_plan *plan, uint64_t count, struct hist *hist)
{
	uint64_t start_us[BENCH_MAX_IN_FLIGHT];
	bool is_done[BENCH_MAX_IN_FLIGHT] = { false };
	uint64_t begin_us = clock_mono_us();
	uint64_t next = 0; /* to publish */
	uint64_t low = 0;  /* everything below is confirmed */
	enum err err = ERR_OK;

	while (err == ERR_OK && low < count) {
		if (next < count && next - low < plan->in_flight) {
			bench_pace(plan, begin_us, next);
			start_us[next % BENCH_MAX_IN_FLIGHT] = clock_mono_us();
			is_done[next % BENCH_MAX_IN_FLIGHT] = false;
			err = bench_link_publish(l, "x.forapp", "send", amqp_empty_bytes,
				BENCH_PERSISTENT, body_of(p));
			next++;
			continue;
		}
		struct bench_confirm confirm = { 0 };

		err = bench_link_wait_confirm(l, ANSWER_MS, &confirm);
		if (err != ERR_OK)
			break;
		uint64_t now_us = clock_mono_us();
		uint64_t last = confirm.delivery_tag - first_tag;
		uint64_t first = confirm.ack == BENCH_ACK_UP_TO ? low : last;

		for (uint64_t i = first; i <= last && i < next; i++) {
			size_t at = (size_t)(i % BENCH_MAX_IN_FLIGHT);

			if (!is_done[at] && hist != NULL)
				hist_add(hist, now_us - start_us[at]);
			is_done[at] = true;
		}
		while (low < next && is_done[low % BENCH_MAX_IN_FLIGHT])
			low++;
	}
	return err;
}

/* Takes `count` messages out of FORAPP.send, as the app realm. */
static enum err drain_sends(struct floor_pair *p, uint64_t count)
{
	struct bench_link l;
	enum err err = bench_link_open(&l, "floor drain", &p->config.broker, &p->config.app);

	if (err != ERR_OK)
		return err;
	err = bench_link_consume(&l, "FORAPP.send", PREFETCH);
	for (uint64_t i = 1; err == ERR_OK && i <= count; i++) {
		amqp_envelope_t message;

		err = bench_link_take(&l, ANSWER_MS, &message);
		if (err != ERR_OK)
			break;
		if (i % DRAIN_EVERY == 0 || i == count)
			err = bench_link_ack(&l, message.delivery_tag, BENCH_ACK_UP_TO);
		amqp_destroy_envelope(&message);
	}
	bench_link_close(&l);
	return err;
}

enum err floor_pair_publishes(
	struct floor_pair *p, const struct bench_plan *plan, struct bench_result *out)
{
	struct bench_link l;

	*out = (struct bench_result){ 0 };
	enum err err = bench_link_open(
		&l, "floor publisher", &p->config.broker, &p->config.web);

	if (err != ERR_OK)
		return err;
	err = bench_link_confirm(&l);
	if (err == ERR_OK)
		err = run_publishes(p, &l, 1, plan, plan->warmup, NULL);
	uint64_t begin_us = clock_mono_us();

	if (err == ERR_OK)
		err = run_publishes(p, &l, 1 + plan->warmup, plan, plan->calls, &out->hist);
	out->took_us = clock_mono_us() - begin_us;
	bench_link_close(&l);
	enum err drained = drain_sends(p, plan->warmup + plan->calls);

	return err == ERR_OK ? drained : err;
}
