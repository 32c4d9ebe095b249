/* SHA-256 against the published examples (FIPS 180-4, NIST CAVP): message/digest.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message/digest.h"
#include "unit.h"

static void expect_digest(struct span bytes, const char *hex)
{
	struct digest d;
	char text[2 * DIGEST_BYTES + 1];

	ck_assert_int_eq(digest_of(bytes, &d), ERR_OK);
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", d.byte[i]);
	ck_assert_str_eq(text, hex);
}

START_TEST(known_texts_have_their_known_digests)
{
	expect_digest(span_of(NULL),
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	expect_digest(span_of("abc"),
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	expect_digest(span_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}
END_TEST

START_TEST(a_million_times_a_has_its_known_digest)
{
	enum { MILLION = 1000000 };
	char *many = malloc(MILLION);

	ck_assert_ptr_nonnull(many);
	memset(many, 'a', MILLION);
	expect_digest((struct span){ .at = many, .len = MILLION },
		"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(many);
}
END_TEST

START_TEST(one_bit_makes_another_digest)
{
	char text[] = "the same content, or not";
	struct digest first;
	struct digest other;

	ck_assert_int_eq(digest_of(span_of(text), &first), ERR_OK);
	ck_assert_int_eq(digest_of(span_of(text), &other), ERR_OK);
	ck_assert(digest_equals(&first, &other));
	for (size_t bit = 0; bit < 8 * strlen(text); bit++) {
		struct span whole = { .at = text, .len = sizeof(text) - 1 };

		text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
		ck_assert_int_eq(digest_of(whole, &other), ERR_OK);
		ck_assert(!digest_equals(&first, &other));
		text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("digest");
	TCase *t = tcase_create("digest");

	tcase_add_test(t, known_texts_have_their_known_digests);
	tcase_add_test(t, a_million_times_a_has_its_known_digest);
	tcase_add_test(t, one_bit_makes_another_digest);
	suite_add_tcase(s, t);
	return unit_run(s);
}
