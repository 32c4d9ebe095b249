/* The small rooms of base: span, list, err, clock, backoff, id, file. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/id.h"
#include "base/list.h"
#include "base/span.h"
#include "base/standard.h"
#include "unit/unit.h"

/* ---- span ---- */

START_TEST(spans_compare_by_their_bytes)
{
	ck_assert(span_equals((struct span){ 0 }, LITERAL("")));
	ck_assert(span_equals(LITERAL("a\0b"), LITERAL("a\0b")));
	ck_assert(!span_equals(LITERAL("a\0b"), LITERAL("a\0c")));
	ck_assert(!span_is(LITERAL("ab"), "abc"));
	ck_assert(span_starts(LITERAL("abc"), "ab"));
	ck_assert(!span_starts(LITERAL("a"), "ab"));
	ck_assert(span_starts(LITERAL("a"), ""));
	ck_assert_uint_eq(span_of(NULL).len, 0);
	expect_span(span_after(LITERAL("abc"), 1), "bc");
	ck_assert_uint_eq(span_after(LITERAL("abc"), 3).len, 0);
	ck_assert_uint_eq(span_after(LITERAL("abc"), 99).len, 0);
}
END_TEST

/* ---- list ---- */

struct item {
	int number;
	struct node node;
};

static int sum_in_order(const struct node *list)
{
	int sum = 0;

	list_each (n, list)
		sum = sum * 10 + container_of(n, struct item, node)->number;
	return sum;
}

START_TEST(a_list_keeps_order_and_lets_members_go)
{
	struct item items[5];
	struct node list;
	struct node taken;

	list_init(&list);
	ck_assert(list_empty(&list));
	for (int i = 0; i < 5; i++) {
		items[i].number = i + 1;
		list_append(&list, &items[i].node);
	}
	ck_assert_int_eq(sum_in_order(&list), 12345);
	list_drop(&items[2].node);
	list_drop(&items[2].node); /* twice is harmless */
	ck_assert_int_eq(sum_in_order(&list), 1245);
	list_insert_before(&items[0].node, &items[2].node);
	ck_assert_int_eq(sum_in_order(&list), 31245);
	list_each_safe (n, &list)
		if (container_of(n, struct item, node)->number % 2 == 0)
			list_drop(n);
	ck_assert_int_eq(sum_in_order(&list), 315);
	list_take(&taken, &list);
	ck_assert(list_empty(&list));
	ck_assert_int_eq(sum_in_order(&taken), 315);
	list_take(&taken, &list);
	ck_assert(list_empty(&taken));
}
END_TEST

/* ---- err ---- */

START_TEST(every_error_has_a_text_and_a_fate)
{
	static const enum err all[] = {
#define ERR_NAME(code, fate, text) code,
		ERR_MAP(ERR_NAME)
#undef ERR_NAME
	};

	ck_assert_str_eq(err_text(ERR_OK), "ok");
	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		ck_assert_str_ne(err_text(all[i]), "unknown error");
		ck_assert_int_le(err_fate(all[i]), STOP);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(err_text(all[i]), err_text(all[j]));
	}
	ck_assert_str_eq(err_text((enum err)9999), "unknown error");
	ck_assert_int_eq(err_fate(ERR_NOMEM), RETRY);
	ck_assert_int_eq(err_fate(ERR_INPUT), GIVE_UP);
	ck_assert_int_eq(err_fate(ERR_CANCEL), STOP);
}
END_TEST

START_TEST(success_has_no_fate)
{
	(void)err_fate(ERR_OK);
}
END_TEST

START_TEST(errno_is_translated)
{
	ck_assert_int_eq(err_from_errno(0), ERR_OK);
	ck_assert_int_eq(err_from_errno(ENOMEM), ERR_NOMEM);
	ck_assert_int_eq(err_from_errno(ENOENT), ERR_NOT_FOUND);
	ck_assert_int_eq(err_from_errno(EADDRINUSE), ERR_BUSY);
	ck_assert_int_eq(err_from_errno(ENOSPC), ERR_SPACE);
	ck_assert_int_eq(err_from_errno(EMFILE), ERR_FULL);
	ck_assert_int_eq(err_from_errno(EXDEV), ERR_IO);
}
END_TEST

/* ---- clock ---- */

START_TEST(monotonic_time_never_goes_back_and_wall_time_is_now)
{
	uint64_t last_us = clock_mono_us();

	for (int i = 0; i < 10000; i++) {
		uint64_t now_us = clock_mono_us();

		ck_assert_uint_ge(now_us, last_us);
		last_us = now_us;
	}
	uint64_t seconds = clock_unix_ms() / 1000;
	time_t now = time(NULL);

	ck_assert_uint_ge((uint64_t)now + 1, seconds);
	ck_assert_uint_le((uint64_t)now, seconds + 1);
}
END_TEST

/* ---- backoff ---- */

START_TEST(waits_double_up_to_the_longest_and_begin_anew_after_a_success)
{
	static const uint64_t ceilings_ms[] = { 100, 200, 400, 800, 1000, 1000, 1000 };
	struct backoff b;

	backoff_init(&b, 100, 1000);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_COUNT(ceilings_ms); i++) {
			/* random = spread picks the ceiling itself */
			uint64_t spread_ms = ceilings_ms[i] - 100;

			ck_assert_uint_eq(backoff_next_ms(&b, spread_ms), ceilings_ms[i]);
		}
		backoff_reset(&b);
	}
	ck_assert_uint_eq(backoff_next_ms(&b, UINT64_MAX), 100);
}
END_TEST

START_TEST(waits_stay_in_their_range_for_every_random_number)
{
	struct backoff b;
	uint64_t random = 88172645463325252ull;

	for (uint64_t longest_ms = 50; longest_ms < 5000; longest_ms += 7) {
		backoff_init(&b, 50, longest_ms);
		for (int i = 0; i < 100; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			uint64_t wait_ms = backoff_next_ms(&b, random);

			ck_assert_uint_ge(wait_ms, 50);
			ck_assert_uint_le(wait_ms, longest_ms);
		}
	}
	backoff_init(&b, 1, UINT64_MAX);
	for (int i = 0; i < 200; i++)
		ck_assert_uint_ge(backoff_next_ms(&b, UINT64_MAX), 1);
}
END_TEST

/* ---- id ---- */

START_TEST(an_id_carries_its_moment_and_comes_back_from_its_text)
{
	uint64_t moment_ms = 0x0123456789abull;
	struct id id;
	struct id back;

	id_make(&id, moment_ms);
	struct id_text text = id_format(&id);

	ck_assert_uint_eq(strlen(text.at), ID_TEXT_LEN);
	ck_assert_int_eq(strncmp(text.at, "01234567-89ab-7", 15), 0);
	ck_assert_ptr_nonnull(strchr("89ab", text.at[19]));
	ck_assert_int_eq(id_parse(span_of(text.at), &back), ERR_OK);
	ck_assert_int_eq(id_compare(&id, &back), 0);
	for (char *c = text.at; *c != '\0'; c++)
		*c = *c >= 'a' && *c <= 'f' ? (char)(*c - 32) : *c;
	ck_assert_int_eq(id_parse(span_of(text.at), &back), ERR_OK);
	ck_assert_int_eq(id_compare(&id, &back), 0);
}
END_TEST

START_TEST(an_id_with_a_mark_is_still_an_id_of_its_moment)
{
	uint64_t moment_ms = 0x0123456789abull;
	struct id id;
	struct id back;

	id_make(&id, moment_ms);
	for (unsigned mark = 0; mark < 1 << 12; mark++) {
		struct id before = id;

		id_set_mark(&id, (uint16_t)mark);
		ck_assert_uint_eq(id_mark(&id), mark);
		ck_assert_uint_eq(id_unix_ms(&id), moment_ms);
		ck_assert_int_eq(memcmp(id.byte + 8, before.byte + 8, ID_BYTES - 8), 0);
		ck_assert_int_eq(id_parse(span_of(id_format(&id).at), &back), ERR_OK);
		ck_assert_int_eq(id_compare(&id, &back), 0);
	}
}
END_TEST

static int compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, ID_BYTES);
}

START_TEST(ids_of_one_millisecond_are_all_different)
{
	enum { COUNT = 100000 };
	struct id *ids = calloc(COUNT, sizeof(*ids));

	ck_assert_ptr_nonnull(ids);
	for (int i = 0; i < COUNT; i++)
		id_make(&ids[i], 1);
	qsort(ids, COUNT, sizeof(*ids), compare_ids);
	for (int i = 1; i < COUNT; i++)
		ck_assert_int_lt(id_compare(&ids[i - 1], &ids[i]), 0);
	free(ids);
}
END_TEST

static void *make_ids(void *arg)
{
	for (int i = 0; i < 1000; i++)
		id_make((struct id *)arg + i, 1);
	return NULL;
}

START_TEST(two_threads_never_make_the_same_id)
{
	struct id ids[2000];
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, make_ids, ids + (size_t)i * 1000), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	qsort(ids, 2000, sizeof(*ids), compare_ids);
	for (int i = 1; i < 2000; i++)
		ck_assert_int_lt(id_compare(&ids[i - 1], &ids[i]), 0);
}
END_TEST

static const char *const not_ids[] = {
	"",
	"01234567-89ab-7def-8123-456789abcde",
	"01234567-89ab-7def-8123-456789abcdef0",
	"01234567089ab-7def-8123-456789abcdef",
	"0123456789ab-7def-8123-456789abcdef-",
	"01234567-89ab-4def-8123-456789abcdef",
	"01234567-89ab-7def-7123-456789abcdef",
	"01234567-89ab-7def-c123-456789abcdef",
	"g1234567-89ab-7def-8123-456789abcdef",
	"{1234567-89ab-7def-8123-456789abcde}",
};

START_TEST(anything_but_the_text_of_a_version_7_uuid_is_refused)
{
	struct id id;

	ck_assert_int_eq(id_parse(span_of(not_ids[_i]), &id), ERR_INPUT);
}
END_TEST

/* ---- file ---- */

START_TEST(a_file_is_read_whole_up_to_the_limit)
{
	char path[] = "/tmp/sallyport-file-XXXXXX";
	int fd = mkstemp(path);
	struct buf b;
	char *bytes = calloc(1, 40000);

	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_nonnull(bytes);
	for (int i = 0; i < 40000; i++)
		bytes[i] = (char)(i * 7);
	ck_assert_int_eq(write(fd, bytes, 40000), 40000);
	close(fd);

	buf_init(&b, 40000);
	ck_assert_int_eq(file_read(path, &b), ERR_OK);
	ck_assert(span_equals(buf_span(&b), (struct span){ bytes, 40000 }));
	buf_fini(&b);
	buf_init(&b, 39999);
	ck_assert_int_eq(file_read(path, &b), ERR_FULL);
	buf_fini(&b);
	free(bytes);

	ck_assert_int_eq(truncate(path, 0), 0);
	buf_init(&b, 10);
	ck_assert_int_eq(file_read(path, &b), ERR_OK);
	ck_assert_uint_eq(b.len, 0);
	unlink(path);
	ck_assert_int_eq(file_read(path, &b), ERR_NOT_FOUND);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(file_read("/tmp", &b), ERR_IO);
	ck_assert_int_eq(errno, EISDIR);
	buf_fini(&b);
}
END_TEST

START_TEST(a_secret_is_read_only_where_nobody_else_could)
{
	char path[] = "/tmp/sallyport-secret-XXXXXX";
	int fd = mkstemp(path);
	struct buf b;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "secret", 6), 6);
	buf_init(&b, 10);
	ck_assert_int_eq(file_read_secret(path, &b), ERR_OK);
	expect_span(buf_span(&b), "secret");
	for (mode_t mode = 001; mode <= 077; mode++) {
		ck_assert_int_eq(fchmod(fd, 0600 | mode), 0);
		ck_assert_int_eq(file_read_secret(path, &b), ERR_REFUSED);
	}
	ck_assert_uint_eq(b.len, 6);
	close(fd);
	unlink(path);
	ck_assert_int_eq(file_read_secret(path, &b), ERR_NOT_FOUND);
	ck_assert_int_eq(file_read_secret("/dev/null", &b), ERR_INPUT);
	ck_assert_int_eq(file_read_secret("/tmp", &b), ERR_INPUT);
	buf_fini(&b);
}
END_TEST

/* With the bug the first one waits for ever, and the second never ends. */
START_TEST(what_could_be_waited_for_is_no_file)
{
	char folder[] = "/tmp/sallyport-fifo-XXXXXX";
	char path[64];
	struct buf b;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/fifo", folder);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	buf_init(&b, 10);
	ck_assert_int_eq(file_read(path, &b), ERR_INPUT);
	ck_assert_ptr_nonnull(strstr(file_why(ERR_INPUT), "no regular file"));
	ck_assert_int_eq(file_check(path), ERR_INPUT);
	ck_assert_int_eq(file_read("/dev/zero", &b), ERR_INPUT);
	ck_assert_int_eq(file_check("/tmp"), ERR_IO);
	ck_assert_str_eq(file_why(ERR_IO), "Is a directory");
	ck_assert_int_eq(file_check("/dev/null/none"), ERR_IO);
	ck_assert_int_eq(file_check("/proc/self/stat"), ERR_OK);
	ck_assert_uint_eq(b.len, 0);
	buf_fini(&b);
	unlink(path);
	rmdir(folder);
}
END_TEST

/* Each combination of those that are closed. */
START_TEST(closed_standard_descriptors_are_taken_by_nothing_else)
{
	struct stat nothing;
	struct stat about;

	ck_assert_int_eq(stat("/dev/null", &nothing), 0);
	for (int fd = 0; fd <= 2; fd++)
		if ((_i & 1 << fd) != 0)
			close(fd);
	enum err err = standard_open();
	int next = open("/dev/zero", O_RDONLY);

	for (int fd = 0; fd <= 2; fd++) {
		if ((_i & 1 << fd) == 0)
			continue;
		ck_assert_int_eq(fstat(fd, &about), 0);
		ck_assert_uint_eq(about.st_rdev, nothing.st_rdev);
	}
	ck_assert_int_eq(err, ERR_OK);
	ck_assert_int_gt(next, 2);
	close(next);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *tc = tcase_create("small rooms");

	tcase_add_test(tc, what_could_be_waited_for_is_no_file);
	tcase_add_loop_test(tc, closed_standard_descriptors_are_taken_by_nothing_else, 0, 8);
	tcase_add_test(tc, spans_compare_by_their_bytes);
	tcase_add_test(tc, a_list_keeps_order_and_lets_members_go);
	tcase_add_test(tc, every_error_has_a_text_and_a_fate);
	tcase_add_test_raise_signal(tc, success_has_no_fate, SIGABRT);
	tcase_add_test(tc, errno_is_translated);
	tcase_add_test(tc, monotonic_time_never_goes_back_and_wall_time_is_now);
	tcase_add_test(tc, waits_double_up_to_the_longest_and_begin_anew_after_a_success);
	tcase_add_test(tc, waits_stay_in_their_range_for_every_random_number);
	tcase_add_test(tc, an_id_carries_its_moment_and_comes_back_from_its_text);
	tcase_add_test(tc, an_id_with_a_mark_is_still_an_id_of_its_moment);
	tcase_add_test(tc, ids_of_one_millisecond_are_all_different);
	tcase_add_test(tc, two_threads_never_make_the_same_id);
	tcase_add_loop_test(tc, anything_but_the_text_of_a_version_7_uuid_is_refused, 0,
		(int)ARRAY_COUNT(not_ids));
	tcase_add_test(tc, a_file_is_read_whole_up_to_the_limit);
	tcase_add_test(tc, a_secret_is_read_only_where_nobody_else_could);
	tcase_set_timeout(tc, 30);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
