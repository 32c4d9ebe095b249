/* main.c - sallyport-seal: what operations seal under the inner key, and the public names of keys.
 *
 * Runs where the keys are. What it prints holds none, and may go to a broker: whoever owns that can keep
 * it back, but neither make nor change such a message.
 * Layer: tools. Uses: base, message. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json_writer.h"
#include "base/report.h"
#include "base/standard.h"
#include "message/envelope.h"
#include "message/identity.h"

enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* reading or writing failed */
	EXIT_WRONG = 2,  /* called wrongly, or mistakes in a key file */

	BODY_MAX_BYTES = 4096,
	OUTPUT_MAX_BYTES = 1024 * 1024,
};

static const char usage[] =
	"usage: sallyport-seal control KEYFILE TYPE <BODY\n"
	"       sallyport-seal names KEYFILE...\n"
	"\n"
	"control  seals BODY (JSON) as operations' control message TYPE to all app nodes, and\n"
	"         prints it as JSON, to be published into x.control of the vhost inner:\n"
	"         {\"message_id\", \"type\", \"user_id\", \"content_type\", "
	"\"content_encoding\",\n"
	"         \"headers\": {NAME: NUMBER}, \"body_hex\"}\n"
	"names    prints a line of JSON for each file: {\"file\", \"present\", \"accepted\"}, "
	"the\n"
	"         names of its keys as the daemons show them in /v1/status\n"
	"\n"
	"Exit: 0 done, 1 reading or writing failed, 2 called wrongly or mistakes in a key "
	"file.\n";

static int complain(const char *what, const char *why)
{
	fprintf(stderr, "sallyport-seal: %s: %s\n", what, why);
	return EXIT_FAILED;
}

/* EXIT_DONE, or what was told. */
static int load(const char *path, struct keyring *ring)
{
	struct report report;
	struct buf text;

	report_init(&report);
	enum err err = keyring_load(path, &report, ring);
	int code = EXIT_DONE;

	if (err == ERR_NOMEM)
		code = complain(path, err_text(err));
	else if (err != ERR_OK) {
		buf_init(&text, MIB(1));
		report_format(&report, &text);
		fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&text)));
		buf_fini(&text);
		code = EXIT_WRONG;
	}
	report_fini(&report);
	return code;
}

static int print(struct buf *out)
{
	buf_byte(out, '\n');
	if (buf_status(out) != ERR_OK)
		return complain("the answer", err_text(buf_status(out)));
	if (fwrite(out->at, 1, out->len, stdout) != out->len || fflush(stdout) != 0)
		return complain("the answer", strerror(errno));
	return EXIT_DONE;
}

/* ---- control ---- */

static int read_body(struct buf *body)
{
	for (;;) {
		char *at = buf_reserve(body, 512);

		if (at == NULL)
			return complain("the body", err_text(buf_status(body)));
		ssize_t got = read(STDIN_FILENO, at, 512);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return complain("the body", strerror(errno));
		if (got == 0)
			return EXIT_DONE;
		buf_advance(body, (size_t)got);
	}
}

static void write_hex(struct json_writer *w, struct span bytes)
{
	struct buf hex;

	buf_init(&hex, OUTPUT_MAX_BYTES);
	for (size_t i = 0; i < bytes.len; i++)
		buf_format(&hex, "%02x", (unsigned)(uint8_t)bytes.at[i]);
	json_write_span_member(w, "body_hex", buf_span(&hex));
	buf_fini(&hex);
}

static void write_message(struct json_writer *w, const struct message *m)
{
	struct id_text id = id_format(&m->id);

	json_write_object(w);
	json_write_text_member(w, "message_id", id.at);
	json_write_span_member(w, "type", m->type);
	json_write_span_member(w, "user_id", m->user_id);
	json_write_text_member(w, "content_type", message_content_type(m->content));
	json_write_text_member(w, "content_encoding", SEAL_ENCODING);
	json_write_key(w, "headers");
	json_write_object(w);
	json_write_u64_member(w, "sent-us", m->sent_unix_us);
	json_write_u64_member(w, "epoch", m->epoch);
	json_write_u64_member(w, "seq", m->seq);
	json_write_object_end(w);
	write_hex(w, m->body);
	json_write_object_end(w);
}

static int seal_body(const struct keyring *ring, const char *type, struct span body)
{
	struct envelope e;
	struct json_writer w;
	struct buf out;
	struct message m = {
		.durability = MESSAGE_PERSISTENT,
		.type = span_of(type),
		.user_id = span_of(IDENTITY_OPERATIONS),
		.sent_unix_us = clock_unix_us(),
		.seq = 1,
		.body = body,
	};
	enum err err = envelope_init(&e, ring, (struct span){ 0 }, ENVELOPE_INNER);
	int code;

	/* Fresh at each start, and no larger than what every reader of JSON can count to. */
	m.epoch = m.sent_unix_us;
	id_make(&m.id, clock_unix_ms());
	buf_init(&out, OUTPUT_MAX_BYTES);
	json_write_init(&w, &out);
	if (err == ERR_OK)
		err = envelope_wrap(&e, &m);
	if (err == ERR_OK) {
		write_message(&w, &m);
		code = print(&out);
	} else {
		code = complain(type, err_text(err));
	}
	buf_fini(&out);
	envelope_fini(&e);
	return code;
}

static int control(const char *key_file, const char *type)
{
	struct keyring ring;
	struct buf body;

	if (!message_type_is_valid(span_of(type))) {
		(void)complain(type, "is no type of a message: a-z, 0-9, _ and .");
		return EXIT_WRONG;
	}
	int code = load(key_file, &ring);

	if (code != EXIT_DONE)
		return code;
	buf_init(&body, BODY_MAX_BYTES);
	code = read_body(&body);
	if (code == EXIT_DONE)
		code = seal_body(&ring, type, buf_span(&body));
	buf_fini(&body);
	keyring_wipe(&ring);
	return code;
}

/* ---- names ---- */

static int write_names(const char *path, const struct keyring *ring)
{
	struct seal_key_name present;
	struct seal_key_name accepted = { 0 };
	enum err err = seal_key_name(&ring->present, &present);

	if (err == ERR_OK && ring->has_accepted)
		err = seal_key_name(&ring->accepted, &accepted);
	if (err != ERR_OK)
		return complain(path, err_text(err));
	struct buf out;
	struct json_writer w;

	buf_init(&out, OUTPUT_MAX_BYTES);
	json_write_init(&w, &out);
	json_write_object(&w);
	json_write_text_member(&w, "file", path);
	json_write_text_member(&w, "present", present.at);
	json_write_text_member(&w, "accepted", ring->has_accepted ? accepted.at : NULL);
	json_write_object_end(&w);
	int code = print(&out);

	buf_fini(&out);
	return code;
}

static int names(char **paths, int count)
{
	int code = EXIT_DONE;

	for (int i = 0; i < count && code == EXIT_DONE; i++) {
		struct keyring ring;

		code = load(paths[i], &ring);
		if (code == EXIT_DONE)
			code = write_names(paths[i], &ring);
		keyring_wipe(&ring);
	}
	return code;
}

int main(int argc, char **argv)
{
	if (standard_open() != ERR_OK)
		return EXIT_FAILED;
	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
		return fputs(usage, stdout) >= 0 && fflush(stdout) == 0 ? EXIT_DONE
									: EXIT_FAILED;
	}
	if (argc == 4 && strcmp(argv[1], "control") == 0)
		return control(argv[2], argv[3]);
	if (argc >= 3 && strcmp(argv[1], "names") == 0)
		return names(argv + 2, argc - 2);
	fputs(usage, stderr);
	return EXIT_WRONG;
}
