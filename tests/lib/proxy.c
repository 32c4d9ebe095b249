#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "must.h"

static void on_change(struct network *n)
{
	struct proxy *p = n->arg;

	(void)pthread_mutex_lock(&p->lock);
	p->accepted_count = n->accepted_count;
	p->fired_count = n->fired_count;
	p->open_count = n->open_count;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->lock);
}

static void on_stopped(struct network *n)
{
	(void)n;
}

static void on_wake(uv_async_t *wake)
{
	struct proxy *p = wake->data;

	(void)pthread_mutex_lock(&p->lock);
	bool has_order = p->has_order;
	bool is_stopping = p->is_stopping;
	struct order order = p->order;

	(void)pthread_mutex_unlock(&p->lock);
	if (has_order) {
		network_do(&p->network, &order);
		on_change(&p->network);
		(void)pthread_mutex_lock(&p->lock);
		p->has_order = false;
		(void)pthread_cond_broadcast(&p->changed);
		(void)pthread_mutex_unlock(&p->lock);
	}
	if (is_stopping) {
		uv_close((uv_handle_t *)wake, NULL);
		network_stop(&p->network, on_stopped);
	}
}

/* Until nothing is open any more. */
static void *run(void *arg)
{
	struct proxy *p = arg;

	(void)uv_run(&p->loop, UV_RUN_DEFAULT);
	BUG_ON(uv_loop_close(&p->loop) != 0);
	return NULL;
}

void must_proxy_start(struct proxy *p, uint16_t target)
{
	pthread_condattr_t monotonic;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(target) };

	*p = (struct proxy){ 0 };
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	BUG_ON(uv_loop_init(&p->loop) != 0 || uv_async_init(&p->loop, &p->wake, on_wake) != 0);
	p->wake.data = p;
	if (network_start(&p->network, &p->loop, 0, &at) != ERR_OK)
		must_fail("proxy: %s", strerror(errno));
	p->port = p->network.port;
	p->network.arg = p;
	p->network.on_change = on_change;
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->changed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (pthread_create(&p->thread, NULL, run, p) != 0)
		must_fail("the proxy has no thread");
}

void proxy_stop(struct proxy *p)
{
	if (p->port == 0)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	(void)uv_async_send(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
	(void)pthread_join(p->thread, NULL);
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->lock);
	*p = (struct proxy){ 0 };
}

static bool ends_all(const struct order *order)
{
	return (order->kind == ORDER_CUT || order->kind == ORDER_RESET) && !order->is_at_byte;
}

static void carry_out(struct proxy *p, const struct order *order)
{
	(void)pthread_mutex_lock(&p->lock);
	uint64_t accepted_count = p->accepted_count;

	p->order = *order;
	p->has_order = true;
	(void)uv_async_send(&p->wake);
	while (p->has_order)
		(void)pthread_cond_wait(&p->changed, &p->lock);
	/* A new connection while we wait belongs to nobody here. */
	while (ends_all(order) && p->open_count > 0 && p->accepted_count == accepted_count)
		(void)pthread_cond_wait(&p->changed, &p->lock);
	(void)pthread_mutex_unlock(&p->lock);
}

void must_proxy(struct proxy *p, const char *text)
{
	struct order order;

	if (order_parse(span_of(text), &order) != ERR_OK)
		must_fail("proxy: what is \"%s\"?", text);
	carry_out(p, &order);
}

static void carry_out_both(struct proxy *p, enum order_kind kind, uint64_t amount)
{
	struct order order = { .kind = kind, .way = ORDER_BOTH, .amount = amount };

	carry_out(p, &order);
}

void proxy_pass(struct proxy *p)
{
	carry_out_both(p, ORDER_PASS, 0);
}

void proxy_delay(struct proxy *p, uint64_t ms)
{
	carry_out_both(p, ORDER_DELAY, ms);
}

void proxy_trickle(struct proxy *p, unsigned bytes_per_ms)
{
	carry_out_both(p, ORDER_TRICKLE, (uint64_t)bytes_per_ms * 1000);
}

void proxy_swallow(struct proxy *p)
{
	carry_out_both(p, ORDER_SWALLOW, 0);
}

void proxy_cut(struct proxy *p)
{
	carry_out_both(p, ORDER_CUT, 0);
}

void proxy_reset(struct proxy *p)
{
	carry_out_both(p, ORDER_RESET, 0);
}

void proxy_refuse(struct proxy *p)
{
	carry_out_both(p, ORDER_REFUSE, 0);
}

void proxy_admit(struct proxy *p)
{
	carry_out_both(p, ORDER_ADMIT, 0);
}

/* Waits until the counter, which the lock guards, is so high. */
static void must_count(struct proxy *p, const uint64_t *counter, const char *what,
	unsigned count, uint64_t within_ms)
{
	struct deadline d = deadline_in_ms(within_ms);
	struct timespec at = {
		.tv_sec = (time_t)(d.at_us / 1000000),
		.tv_nsec = (long)(d.at_us % 1000000) * 1000,
	};

	(void)pthread_mutex_lock(&p->lock);
	while (*counter < count) {
		if (pthread_cond_timedwait(&p->changed, &p->lock, &at) != 0)
			break;
	}
	uint64_t seen = *counter;

	(void)pthread_mutex_unlock(&p->lock);
	if (seen < count)
		must_fail("%llu %s, not %u, within %llu ms", (unsigned long long)seen, what,
			count, (unsigned long long)within_ms);
}

void must_proxy_accept(struct proxy *p, unsigned count, uint64_t within_ms)
{
	must_count(p, &p->accepted_count, "connections came", count, within_ms);
}

void must_proxy_fire(struct proxy *p, unsigned count, uint64_t within_ms)
{
	must_count(p, &p->fired_count, "bytes came", count, within_ms);
}
