#include "message/pace.h"

#include "base/bug.h"

enum {
	FULL_FIRST_MS = 50,
	FULL_LONGEST_MS = 5000,
	UNROUTABLE_FIRST_MS = 1000,
	UNROUTABLE_LONGEST_MS = 60000,
	CHOKED_US = 10 * 1000,
	NARROW_EVERY_US = 100 * 1000, /* one slow moment is told by many calls */
};

void pace_init(struct pace *p, unsigned max)
{
	BUG_ON(max == 0);
	*p = (struct pace){ .window = max, .max = max, .threshold = max };
	backoff_init(&p->full, FULL_FIRST_MS, FULL_LONGEST_MS);
	backoff_init(&p->unroutable, UNROUTABLE_FIRST_MS, UNROUTABLE_LONGEST_MS);
}

void pace_confirmed(struct pace *p, uint64_t now_us)
{
	/* What went before the refusal and was taken says nothing about the queue now. */
	if (now_us < p->resume_at_us)
		return;
	backoff_reset(&p->full);
	backoff_reset(&p->unroutable);
	if (p->calls_are_slow || p->window == p->max)
		return;
	p->credit++;
	if (p->window >= p->threshold && p->credit < p->window)
		return;
	p->credit = 0;
	p->window++;
}

static void narrow(struct pace *p, unsigned window)
{
	p->threshold = p->window / 2 > 1 ? p->window / 2 : 1;
	p->window = window;
	p->credit = 0;
}

static void close_for(struct pace *p, struct backoff *b, uint64_t now_us, uint64_t random)
{
	if (now_us < p->resume_at_us)
		return;
	p->resume_at_us = now_us + backoff_next_ms(b, random) * 1000;
	narrow(p, 1);
}

void pace_refused(struct pace *p, uint64_t now_us, uint64_t random)
{
	close_for(p, &p->full, now_us, random);
}

void pace_unroutable(struct pace *p, uint64_t now_us, uint64_t random)
{
	close_for(p, &p->unroutable, now_us, random);
}

void pace_choked(struct pace *p, uint64_t now_us)
{
	if (now_us + CHOKED_US > p->resume_at_us)
		p->resume_at_us = now_us + CHOKED_US;
}

void pace_slow(struct pace *p, uint64_t now_us)
{
	bool is_told = p->calls_are_slow && now_us < p->narrowed_at_us + NARROW_EVERY_US;

	p->calls_are_slow = true;
	if (is_told)
		return;
	p->narrowed_at_us = now_us;
	narrow(p, p->window / 2 > 1 ? p->window / 2 : 1);
}

void pace_fast(struct pace *p)
{
	p->calls_are_slow = false;
}

void pace_restart(struct pace *p)
{
	p->resume_at_us = 0;
	backoff_reset(&p->full);
	backoff_reset(&p->unroutable);
	if (!p->calls_are_slow)
		p->window = p->threshold = p->max;
}

bool pace_allows(const struct pace *p, unsigned flying, uint64_t now_us)
{
	return flying < p->window && now_us >= p->resume_at_us;
}
