/* Who was thrown out, as messages and configuration say it, in whatever order. */
#include "app-node/revoked.h"

#include <stdio.h>

#include "unit/unit.h"

static struct revoked book;
static struct revocation *page;

static char *items[] = { (char[]){ "web.web1.g3" }, (char[]){ "web.web2.g1" } };
static const struct option_list none = { 0 };
static const struct option_list both = { .at = items, .count = 2 };

static void setup(void)
{
	revoked_init(&book);
}

static void teardown(void)
{
	revoked_fini(&book);
	revoked_fini(&book); /* zeroed is fine */
}

static void must_tell(const char *host, uint64_t generation)
{
	ck_assert_int_eq(revoked_tell(&book, host, generation, &page), ERR_OK);
	ck_assert_str_eq(page->host, host);
}

START_TEST(what_a_message_says_shuts_a_host)
{
	ck_assert_uint_eq(revoked_up_to(&book, "web1"), 0);
	ck_assert(!revoked_is_shut(&book, "web1", &none));
	must_tell("web1", 3);
	ck_assert(revocation_is_shut(page));
	ck_assert_uint_eq(revoked_up_to(&book, "web1"), 3);
	ck_assert_uint_eq(revoked_up_to(&book, "web2"), 0);
	ck_assert(revoked_is_shut(&book, "web1", &none));
	ck_assert(!revoked_is_shut(&book, "web1", &both));
	must_tell("web1", 4);
	ck_assert(revoked_is_shut(&book, "web1", &both)); /* which knows of 3 only */
}
END_TEST

START_TEST(numbers_only_grow)
{
	must_tell("web1", 3);
	must_tell("web1", 2);
	ck_assert_uint_eq(page->told, 3);
	must_tell("web1", 3);
	ck_assert_uint_eq(revoked_up_to(&book, "web1"), 3);
	ck_assert_uint_eq(book.count, 1);
}
END_TEST

START_TEST(what_the_configuration_says_opens_it_again)
{
	must_tell("web1", 3);
	ck_assert_int_eq(revoked_prepare(&book, &both), ERR_OK);
	ck_assert(revocation_is_shut(page)); /* nothing counts yet */
	ck_assert_uint_eq(revoked_up_to(&book, "web2"), 0);
	ck_assert_ptr_null(revoked_configure(&book, items[0])); /* it was told already */
	ck_assert(!revocation_is_shut(page));
	ck_assert_uint_eq(revoked_up_to(&book, "web1"), 3);
	ck_assert_str_eq(revoked_configure(&book, items[1])->host, "web2");
	ck_assert_uint_eq(revoked_up_to(&book, "web2"), 1);
	ck_assert_ptr_null(revoked_configure(&book, items[1]));
	/* Told late, it is nothing new. */
	must_tell("web2", 1);
	ck_assert(!revocation_is_shut(page));
}
END_TEST

START_TEST(a_book_has_an_end)
{
	char name[32];

	for (unsigned i = 0; i < REVOKED_MAX_HOSTS; i++) {
		snprintf(name, sizeof(name), "h%u", i);
		must_tell(name, 1);
	}
	ck_assert_int_eq(revoked_tell(&book, "more", 1, &page), ERR_FULL);
	ck_assert_int_eq(revoked_prepare(&book, &both), ERR_FULL);
	must_tell("h7", 2); /* of those in it everything can be said */
	ck_assert_uint_eq(revoked_up_to(&book, "more"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_revoked");
	TCase *tc = tcase_create("revoked");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_a_message_says_shuts_a_host);
	tcase_add_test(tc, numbers_only_grow);
	tcase_add_test(tc, what_the_configuration_says_opens_it_again);
	tcase_add_test(tc, a_book_has_an_end);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
