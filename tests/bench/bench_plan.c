#include "bench_plan.h"

#include <time.h>

#include "base/clock.h"

uint64_t bench_pace_left_us(const struct bench_plan *plan, uint64_t start_us, uint64_t index)
{
	uint64_t due_us = start_us + index * plan->pace_ms * 1000;
	uint64_t now_us = clock_mono_us();

	return plan->pace_ms == 0 || now_us >= due_us ? 0 : due_us - now_us;
}

void bench_pace(const struct bench_plan *plan, uint64_t start_us, uint64_t index)
{
	uint64_t left_us = bench_pace_left_us(plan, start_us, index);

	if (left_us == 0)
		return;
	struct timespec left = {
		.tv_sec = (time_t)(left_us / 1000000),
		.tv_nsec = (long)(left_us % 1000000) * 1000,
	};

	/* The pause is what is measured here, not a way to wait for somebody. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &left, NULL);
}

bool bench_time_is_up(const struct bench_plan *plan, uint64_t start_us)
{
	if (plan->is_over != NULL && *plan->is_over != 0)
		return true;
	return plan->most_ms != 0 && clock_mono_us() - start_us >= plan->most_ms * 1000;
}

double bench_per_second(const struct bench_result *result)
{
	if (result->took_us == 0)
		return 0;
	return (double)result->hist.count * 1e6 / (double)result->took_us;
}
