/* The relay and the ledger in a world of bad luck, many times over; and with wiring that is wrong
 * on purpose, which has to be noticed.
 *
 *   message_relay_model                  what ctest runs
 *   message_relay_model SEED [COUNT]     the worlds of COUNT seeds from SEED on, each told */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "unit/relay_world.h"
#include "unit/unit.h"

enum { STEPS = 6000, SEEDS_PER_TEST = 100, TESTS = 10, SEEDS_FOR_A_FAULT = 20 };

START_TEST(nothing_is_lost_and_order_is_kept_whatever_happens)
{
	struct world_result result;

	for (unsigned n = 0; n < SEEDS_PER_TEST; n++) {
		uint64_t seed = (uint64_t)_i * SEEDS_PER_TEST + n + 1;

		world_run(seed, STEPS, WORLD_RIGHT, &result);
		ck_assert_msg(result.failure[0] == '\0', "seed %" PRIu64 ": %s", seed,
			result.failure);
		ck_assert_uint_gt(result.rows, 0);
	}
}
END_TEST

START_TEST(wrong_wiring_is_noticed)
{
	struct world_result result = { .failure = "" };
	enum world_fault fault = (enum world_fault)_i;
	unsigned noticed = 0;

	for (uint64_t seed = 1; seed <= SEEDS_FOR_A_FAULT; seed++) {
		world_run(seed, STEPS, fault, &result);
		if (result.failure[0] != '\0')
			noticed++;
	}
	ck_assert_msg(noticed > 0, "not noticed: %s", world_fault_text(fault));
}
END_TEST

static int tell(uint64_t seed, uint64_t count)
{
	int status = EXIT_SUCCESS;

	for (; count > 0; count--, seed++) {
		struct world_result r;

		world_run(seed, STEPS, WORLD_RIGHT, &r);
		printf("seed=%" PRIu64 " rows=%u published=%u runs=%u repeats=%u faults=%u "
		       "receipts=%u kind_s=%" PRIu64 " failure=\"%s\"\n",
			seed, r.rows, r.published, r.runs, r.repeats, r.faults, r.receipts,
			r.kind_us / 1000000, r.failure);
		if (r.failure[0] != '\0')
			status = EXIT_FAILURE;
	}
	return status;
}

int main(int argc, char **argv)
{
	uint64_t seed = 0;
	uint64_t count = 1;

	if (argc > 1) {
		if (text_parse_u64(span_of(argv[1]), &seed) != ERR_OK || seed == 0 ||
			(argc > 2 && text_parse_u64(span_of(argv[2]), &count) != ERR_OK)) {
			fprintf(stderr, "usage: message_relay_model [SEED [COUNT]]\n");
			return 2;
		}
		return tell(seed, count);
	}
	Suite *suite = suite_create("message_relay_model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, nothing_is_lost_and_order_is_kept_whatever_happens, 0, TESTS);
	tcase_add_loop_test(tc, wrong_wiring_is_noticed, WORLD_RIGHT + 1, WORLD_FAULTS);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
