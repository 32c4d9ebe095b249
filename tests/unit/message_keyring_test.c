/* The key file: what is read, every mistake with its line, and that no mistake shows a key. */
#include "message/keyring.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macro.h"
#include "unit/random.h"
#include "unit/unit.h"

#define HEAD "sallyport-seal-key v1\n"
#define HEX_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEX_B "F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFFe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define PRESENT "key present " HEX_A "\n"
#define ACCEPTED "key accepted " HEX_B "\n"

static struct report report;
static struct keyring ring;
static struct buf shown;
static char folder[] = "/tmp/keyring-XXXXXX";
static char path[64];

static void setup(void)
{
	report_init(&report);
	buf_init(&shown, KIB(64));
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/seal.key", folder);
}

static void teardown(void)
{
	report_fini(&report);
	buf_fini(&shown);
	unlink(path);
	rmdir(folder);
	memset(folder + strlen(folder) - 6, 'X', 6);
}

static const char *shown_report(void)
{
	buf_clear(&shown);
	report_format(&report, &shown);
	buf_byte(&shown, '\0');
	return shown.at;
}

static enum err parse(const char *text)
{
	return keyring_parse(span_of(text), "seal.key", &report, &ring);
}

static void must_write(const char *text, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static const char *const good[] = {
	HEAD PRESENT,
	HEAD "key present " HEX_A,
	HEAD "\n# web1\n#\n" PRESENT "\n",
	HEAD PRESENT ACCEPTED,
	HEAD ACCEPTED "# the other order\n" PRESENT,
};

START_TEST(one_or_two_keys_are_read)
{
	enum err err = parse(good[_i]);

	ck_assert_msg(err == ERR_OK, "%s", shown_report());
	ck_assert(report_is_empty(&report));
	for (size_t i = 0; i < SEAL_KEY_BYTES; i++)
		ck_assert_uint_eq(ring.present.byte[i], i);
	ck_assert_int_eq(ring.has_accepted, strstr(good[_i], "accepted") != NULL);
	if (ring.has_accepted) {
		ck_assert_uint_eq(ring.accepted.byte[0], 0xf0);
		ck_assert_uint_eq(ring.accepted.byte[31], 0xef);
	}
}
END_TEST

static const struct {
	const char *text;
	const char *mistake;
} bad[] = {
	{ "", "seal.key:1: the first line must be" },
	{ PRESENT, "seal.key:1: the first line must be" },
	{ "sallyport-seal-key v2\n" PRESENT, "seal.key:1: the first line must be" },
	{ "sallyport-seal-key v1 \n" PRESENT, "seal.key:1: the first line must be" },
	{ "sallyport-seal-key v1\r\n" PRESENT, "seal.key:1: the first line must be" },
	{ "\n" HEAD PRESENT, "seal.key:1: the first line must be" },
	{ HEAD, "seal.key: there is no key present" },
	{ HEAD ACCEPTED, "seal.key: there is no key present" },
	{ HEAD "# " PRESENT, "seal.key: there is no key present" },
	{ HEAD PRESENT PRESENT, "seal.key:3: a second key of that role" },
	{ HEAD PRESENT ACCEPTED "\n" ACCEPTED, "seal.key:5: a second key of that role" },
	{ HEAD PRESENT "key accepted " HEX_A, "are the same" },
	{ HEAD "key old " HEX_A, "seal.key:2: the second word is present or accepted" },
	{ HEAD "key Present " HEX_A, "seal.key:2: the second word is present or accepted" },
	{ HEAD "key " HEX_A, "seal.key:2: the second word is present or accepted" },
	{ HEAD "keys present " HEX_A, "seal.key:2: a line is: key" },
	{ HEAD HEX_A, "seal.key:2: a line is: key" },
	{ HEAD " " PRESENT, "seal.key:2: a line is: key" },
	{ HEAD "key\tpresent " HEX_A, "seal.key:2: a line is: key" },
	{ HEAD "key  present " HEX_A, "seal.key:2: the second word" },
	{ HEAD "key present  " HEX_A, "seal.key:2: a key is 64" },
	{ HEAD "key present " HEX_A " ", "seal.key:2: a key is 64" },
	{ HEAD "key present " HEX_A "\r\n", "seal.key:2: a key is 64" },
	{ HEAD "key present " HEX_A "00", "seal.key:2: a key is 64" },
	{ HEAD "key present 00" HEX_A, "seal.key:2: a key is 64" },
	{ HEAD "key present 00", "seal.key:2: a key is 64" },
	{ HEAD "key present", "seal.key:2: a key is 64" },
	{ HEAD "key present 0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"seal.key:2: a key is 64" },
	{ HEAD "key present " ZEROS, "seal.key:2: this is no random key" },
};

START_TEST(a_mistake_has_its_line_and_shows_no_key)
{
	enum err err = parse(bad[_i].text);
	struct keyring none = { 0 };

	ck_assert_int_eq(err, ERR_INPUT);
	ck_assert_mem_eq(&ring, &none, sizeof(ring));
	ck_assert_msg(strstr(shown_report(), bad[_i].mistake) != NULL, "%s", shown.at);
	ck_assert_ptr_null(strstr(shown.at, "04050607"));
	ck_assert_ptr_null(strstr(shown.at, "F4F5F6F7"));
}
END_TEST

START_TEST(all_mistakes_are_told_at_once)
{
	ck_assert_int_eq(parse(HEAD "key old x\nkey present x\nhello\n"), ERR_INPUT);
	ck_assert_uint_eq(report.count, 3);
}
END_TEST

START_TEST(a_nul_byte_is_no_end)
{
	static const char text[] = HEAD PRESENT "\0" ACCEPTED;

	ck_assert_int_eq(keyring_parse(LITERAL(text), "seal.key", &report, &ring), ERR_INPUT);
	ck_assert_msg(strstr(shown_report(), "seal.key:3: ") != NULL, "%s", shown.at);
}
END_TEST

START_TEST(a_damaged_file_is_refused_or_read_but_never_breaks_anything)
{
	static const char text[] = HEAD PRESENT ACCEPTED "# end\n";
	uint64_t state = 20261122;

	for (int round = 0; round < 20000; round++) {
		char copy[sizeof(text)];
		size_t len = sizeof(text) - 1;

		memcpy(copy, text, sizeof(text));
		for (uint64_t damage = 1 + next_random(&state) % 3; damage > 0; damage--)
			copy[next_random(&state) % len] = "\n #\0\xff"
							  "0key"[next_random(&state) % 9];
		if (next_random(&state) % 4 == 0)
			len = next_random(&state) % len;
		enum err err = keyring_parse(
			(struct span){ copy, len }, "seal.key", &report, &ring);

		ck_assert_int_eq(err == ERR_OK, report_is_empty(&report));
		ck_assert(err == ERR_OK || err == ERR_INPUT);
		report_fini(&report);
	}
}
END_TEST

/* ---- the file ---- */

static const mode_t modes[] = { 0600, 0400, 0700, 0640, 0620, 0610, 0604, 0602, 0601, 0660,
	0644, 0666, 0777 };

START_TEST(a_file_that_others_may_touch_is_refused)
{
	bool is_private = (modes[_i] & 077) == 0;

	must_write(HEAD PRESENT, strlen(HEAD PRESENT), modes[_i]);
	enum err err = keyring_load(path, &report, &ring);

	ck_assert_int_eq(err, is_private ? ERR_OK : ERR_INPUT);
	if (!is_private)
		ck_assert_msg(strstr(shown_report(), "chmod 600") != NULL, "%s", shown.at);
}
END_TEST

START_TEST(a_file_that_is_none_is_a_mistake)
{
	ck_assert_int_eq(keyring_load(path, &report, &ring), ERR_INPUT);
	ck_assert_msg(strstr(shown_report(), "No such file") != NULL, "%s", shown.at);
	ck_assert_int_eq(keyring_load(folder, &report, &ring), ERR_INPUT);
	ck_assert_msg(strstr(shown_report(), "is no regular file") != NULL, "%s", shown.at);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(keyring_load(path, &report, &ring), ERR_INPUT); /* does not wait */
}
END_TEST

START_TEST(a_file_has_a_largest_size)
{
	char text[KEYRING_MAX_FILE_BYTES + 1];
	size_t used = strlen(HEAD PRESENT);

	memset(text, '\n', sizeof(text));
	memcpy(text, HEAD PRESENT, used);
	must_write(text, sizeof(text) - 1, 0600);
	ck_assert_int_eq(keyring_load(path, &report, &ring), ERR_OK);
	must_write(text, sizeof(text), 0600);
	ck_assert_int_eq(keyring_load(path, &report, &ring), ERR_INPUT);
	ck_assert_msg(strstr(shown_report(), "is too large") != NULL, "%s", shown.at);
}
END_TEST

START_TEST(what_is_wiped_is_gone)
{
	struct keyring none = { 0 };

	ck_assert_int_eq(parse(HEAD PRESENT ACCEPTED), ERR_OK);
	keyring_wipe(&ring);
	ck_assert_mem_eq(&ring, &none, sizeof(ring));
	keyring_wipe(&ring);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message/keyring");
	TCase *tc = tcase_create("keyring");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, one_or_two_keys_are_read, 0, (int)ARRAY_COUNT(good));
	tcase_add_loop_test(
		tc, a_mistake_has_its_line_and_shows_no_key, 0, (int)ARRAY_COUNT(bad));
	tcase_add_test(tc, all_mistakes_are_told_at_once);
	tcase_add_test(tc, a_nul_byte_is_no_end);
	tcase_add_test(tc, a_damaged_file_is_refused_or_read_but_never_breaks_anything);
	tcase_add_loop_test(
		tc, a_file_that_others_may_touch_is_refused, 0, (int)ARRAY_COUNT(modes));
	tcase_add_test(tc, a_file_that_is_none_is_a_mistake);
	tcase_add_test(tc, a_file_has_a_largest_size);
	tcase_add_test(tc, what_is_wiped_is_gone);
	tcase_set_timeout(tc, 30);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
