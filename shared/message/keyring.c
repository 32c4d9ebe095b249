#include "message/keyring.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"

static const char head[] = "sallyport-seal-key v1";

/* The file under way. */
struct reading {
	const char *file;
	struct report *report;
	struct keyring *out;
	unsigned line;
	bool has_present;
	bool is_wrong;
};

static void mistake(struct reading *r, unsigned line, const char *text)
{
	report_add(r->report, r->file, line, 0, (struct span){ 0 }, "%s", text);
	r->is_wrong = true;
}

static bool parse_hex(struct span text, struct seal_key *out)
{
	if (text.len != 2 * sizeof(out->byte))
		return false;
	for (size_t i = 0; i < sizeof(out->byte); i++) {
		int high = text_hex_value(text.at[2 * i]);
		int low = text_hex_value(text.at[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out->byte[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool is_one_byte_repeated(const struct seal_key *key)
{
	for (size_t i = 1; i < sizeof(key->byte); i++) {
		if (key->byte[i] != key->byte[0])
			return false;
	}
	return true;
}

/* The words are named in mistakes, never shown: one of them may be a key. */
static void read_key(struct reading *r, struct span role, struct span digits)
{
	struct keyring *k = r->out;
	bool is_present = span_is(role, "present");
	bool *has = is_present ? &r->has_present : &k->has_accepted;
	struct seal_key *key = is_present ? &k->present : &k->accepted;

	if (!is_present && !span_is(role, "accepted"))
		mistake(r, r->line, "the second word is present or accepted");
	else if (*has)
		mistake(r, r->line, "a second key of that role; one of each may stand here");
	else if (!parse_hex(digits, key))
		mistake(r, r->line,
			"a key is 64 hexadecimal digits, one blank before them and nothing "
			"behind");
	else if (is_one_byte_repeated(key))
		mistake(r, r->line, "this is no random key; openssl rand -hex 32 makes one");
	else
		*has = true;
}

static void read_line(struct reading *r, struct span line)
{
	if (r->line == 1) {
		if (!span_is(line, head))
			mistake(r, 1, "the first line must be: sallyport-seal-key v1");
		return;
	}
	if (line.len == 0 || line.at[0] == '#')
		return;
	if (!span_starts(line, "key ")) {
		mistake(r, r->line, "a line is: key present|accepted 64 hexadecimal digits");
		return;
	}
	struct span rest = span_after(line, strlen("key "));
	struct span role = text_cut(&rest, ' ');

	read_key(r, role, rest);
}

enum err keyring_parse(
	struct span text, const char *file, struct report *report, struct keyring *out)
{
	struct reading r = { .file = file, .report = report, .out = out };

	*out = (struct keyring){ 0 };
	do {
		r.line++;
		read_line(&r, text_cut(&text, '\n'));
	} while (text.len > 0);
	if (!r.is_wrong && !r.has_present)
		mistake(&r, 0, "there is no key present; one is needed to seal with");
	if (!r.is_wrong && out->has_accepted &&
		memcmp(&out->present, &out->accepted, sizeof(out->present)) == 0)
		mistake(&r, 0, "the key present and the key accepted are the same");
	if (!r.is_wrong)
		return ERR_OK;
	keyring_wipe(out);
	return ERR_INPUT;
}

static const char *why_not(enum err err, const struct buf *text, int errno_value)
{
	if (buf_status(text) == ERR_FULL)
		return "is too large for a key file";
	if (err == ERR_REFUSED)
		return "others than its owner may read or write it; chmod 600 it";
	if (err == ERR_INPUT)
		return "is no regular file";
	if (errno_value == ENOENT)
		return "No such file; the key file of the crossing must be there";
	return strerror(errno_value);
}

enum err keyring_load(const char *path, struct report *report, struct keyring *out)
{
	struct buf text;

	*out = (struct keyring){ 0 };
	buf_init(&text, KEYRING_MAX_FILE_BYTES);
	/* All at once: growing would leave copies of the keys behind. */
	if (buf_reserve(&text, KEYRING_MAX_FILE_BYTES) == NULL)
		return ERR_NOMEM;
	enum err err = file_read_secret(path, &text);

	if (err == ERR_OK) {
		err = keyring_parse(buf_span(&text), path, report, out);
	} else {
		report_add(report, path, 0, 0, (struct span){ 0 }, "%s",
			why_not(err, &text, errno));
		err = ERR_INPUT;
	}
	explicit_bzero(text.at, text.room);
	buf_fini(&text);
	return err;
}

void keyring_wipe(struct keyring *k)
{
	explicit_bzero(k, sizeof(*k));
}
