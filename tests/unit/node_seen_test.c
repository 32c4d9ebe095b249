/* What a node knows again, and what it must not take for known. */
#include "app-node/seen.h"

#include "unit/random.h"
#include "unit/unit.h"

#define SECOND_US UINT64_C(1000000)
#define NOW_US (UINT64_C(1780000000) * SECOND_US)

enum { CAPACITY = 1000 };

static struct seen seen;

static void setup(void)
{
	ck_assert_int_eq(seen_init(&seen, CAPACITY), ERR_OK);
}

static void teardown(void)
{
	seen_fini(&seen);
	seen_fini(&seen); /* zeroed */
}

/* The n-th message, sent n milliseconds after NOW_US. */
static struct message message_of(uint64_t n)
{
	struct message m = {
		.type = span_of("order.place"),
		.sent_unix_us = NOW_US + n * 1000,
		.body = span_of("{\"n\":1}"),
	};
	uint64_t state = n + 1;

	for (size_t i = 0; i < ID_BYTES; i++)
		m.id.byte[i] = (uint8_t)(next_random(&state) >> 24);
	return m;
}

static enum replay_verdict call(const struct message *m)
{
	return seen_call(&seen, m, m->sent_unix_us + 32 * SECOND_US, m->sent_unix_us);
}

static void done(const struct message *m)
{
	seen_done(&seen, &m->id, m->type, m->body);
}

START_TEST(a_call_is_known_from_when_it_was_taken)
{
	struct message m = message_of(1);

	ck_assert_int_eq(call(&m), REPLAY_FIRST);
	ck_assert_int_eq(call(&m), REPLAY_AGAIN);
	m.sent_unix_us++; /* its caller asks again, after a 504 */
	ck_assert_int_eq(call(&m), REPLAY_ANEW);
	ck_assert_int_eq(call(&m), REPLAY_AGAIN);
	m.sent_unix_us--;
	ck_assert_int_eq(call(&m), REPLAY_AGAIN);
}
END_TEST

START_TEST(a_call_that_cannot_be_told_is_too_old)
{
	for (uint64_t n = 1; n <= CAPACITY + 1; n++) {
		struct message m = message_of(n);

		ck_assert_int_eq(call(&m), REPLAY_FIRST);
	}
	struct message first = message_of(1);
	struct message last = message_of(CAPACITY + 1);

	ck_assert_int_eq(call(&first), REPLAY_TOO_OLD);
	ck_assert_int_eq(call(&last), REPLAY_AGAIN);
}
END_TEST

START_TEST(a_send_is_known_when_it_was_done_and_not_before)
{
	struct message m = message_of(1);

	ck_assert_int_eq(seen_send(&seen, &m), REPLAY_FIRST);
	ck_assert_int_eq(seen_send(&seen, &m), REPLAY_FIRST); /* a lane was lost with it */
	done(&m);
	ck_assert_int_eq(seen_send(&seen, &m), REPLAY_AGAIN);
	m.sent_unix_us += SECOND_US; /* its sender could not know that it was done */
	m.epoch++;
	ck_assert_int_eq(seen_send(&seen, &m), REPLAY_AGAIN);
	done(&m);
	ck_assert_int_eq(seen_send(&seen, &m), REPLAY_AGAIN);
}
END_TEST

START_TEST(other_content_under_a_known_id_is_something_else)
{
	struct message m = message_of(1);
	struct message other = m;

	other.body = span_of("{\"n\":2}");
	ck_assert_int_eq(call(&m), REPLAY_FIRST);
	ck_assert_int_eq(call(&other), REPLAY_OTHER);
	done(&m);
	ck_assert_int_eq(seen_send(&seen, &other), REPLAY_OTHER);
	/* The operation is content too, wherever it ends and the body begins. */
	other = m;
	other.type = span_of("order.plac");
	other.body = span_of("e{\"n\":1}");
	ck_assert_int_eq(call(&other), REPLAY_OTHER);
	ck_assert_int_eq(seen_send(&seen, &other), REPLAY_OTHER);
}
END_TEST

START_TEST(calls_and_sends_are_apart)
{
	struct message m = message_of(1);

	ck_assert_int_eq(call(&m), REPLAY_FIRST);
	ck_assert_int_eq(seen_send(&seen, &m), REPLAY_FIRST);
	m = message_of(2);
	done(&m);
	ck_assert_int_eq(call(&m), REPLAY_FIRST);
}
END_TEST

/* A send that has rested, or waited at the border, for however long is taken all the same. */
START_TEST(a_full_memory_never_refuses_a_send)
{
	for (uint64_t n = 1; n <= 3 * CAPACITY; n++) {
		struct message m = message_of(n);

		ck_assert_int_eq(seen_send(&seen, &m), REPLAY_FIRST);
		done(&m);
	}
	for (uint64_t n = 1; n <= 3 * CAPACITY; n++) {
		struct message m = message_of(n);

		ck_assert_int_eq(
			seen_send(&seen, &m), n <= 2 * CAPACITY ? REPLAY_FIRST : REPLAY_AGAIN);
	}
	struct message never = message_of(0);

	never.sent_unix_us = 0;
	ck_assert_int_eq(seen_send(&seen, &never), REPLAY_FIRST);
	ck_assert_uint_eq(seen.sends.horizon_unix_us, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_seen");
	TCase *tc = tcase_create("seen");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_call_is_known_from_when_it_was_taken);
	tcase_add_test(tc, a_call_that_cannot_be_told_is_too_old);
	tcase_add_test(tc, a_send_is_known_when_it_was_done_and_not_before);
	tcase_add_test(tc, other_content_under_a_known_id_is_something_else);
	tcase_add_test(tc, calls_and_sends_are_apart);
	tcase_add_test(tc, a_full_memory_never_refuses_a_send);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
