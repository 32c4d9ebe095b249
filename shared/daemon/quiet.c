#include "daemon/quiet.h"

#include "base/clock.h"
#include "base/log.h"

enum { SUM_UP_AFTER_MS = 60 * 1000 };

static void on_unsaid(struct timer *timer)
{
	quiet_sum_up(container_of(timer, struct quiet, unsaid));
}

void quiet_init(struct quiet *q, struct loop *l, const char *host)
{
	*q = (struct quiet){ .host = host };
	timer_init(&q->unsaid, l, on_unsaid);
}

void quiet_fini(struct quiet *q)
{
	timer_cancel(&q->unsaid);
}

bool quiet_may_log(struct quiet *q, const char *cause)
{
	if (hush_allows(&q->hush, cause, clock_mono_us() / 1000))
		return true;
	if (!q->unsaid.is_set)
		timer_after(&q->unsaid, SUM_UP_AFTER_MS);
	return false;
}

void quiet_sum_up(struct quiet *q)
{
	const char *cause = NULL;

	for (uint64_t lines = hush_take(&q->hush, &cause); lines > 0;
		lines = hush_take(&q->hush, &cause))
		log_warn("host=%s event=unsaid reason=%s lines=%llu", q->host, cause,
			(unsigned long long)lines);
}
