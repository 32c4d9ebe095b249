/* keyring.h - the one or two keys of a seal, and the file in which they stand.
 *
 * A crossing has one key, known to that web host and the app realm; while it is being replaced,
 * a second. So does the inner vhost. The file is text, for its owner alone (0600):
 *
 *     sallyport-seal-key v1
 *     # web1, since 2026-11-22
 *     key present  64 hexadecimal digits: seals, and opens
 *     key accepted 64 hexadecimal digits: opens only; may be absent
 *
 * with one blank between the words, blank lines and lines that begin with # as you like. To
 * replace a key: write the new one as accepted everywhere, then as present with the old one as
 * accepted, then drop the old one.
 * Layer: message. Uses: base. Thread: any. */
#ifndef SALLYPORT_MESSAGE_KEYRING_H
#define SALLYPORT_MESSAGE_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/report.h"
#include "base/span.h"

enum { SEAL_KEY_BYTES = 32, KEYRING_MAX_FILE_BYTES = 4096 };

struct seal_key {
	uint8_t byte[SEAL_KEY_BYTES]; /* random, secret */
};

struct keyring {
	struct seal_key present;
	struct seal_key accepted;
	bool has_accepted;
};

/* Reads the text of a key file; `file` is its name in the report, which never shows a key.
 *
 * Returns: ERR_OK; ERR_INPUT with every mistake in the report. out is wiped then. */
WARN_UNUSED enum err keyring_parse(
	struct span text, const char *file, struct report *report, struct keyring *out);

/* The same from a file that only its owner may read.
 *
 * Returns: also ERR_NOMEM; a file that cannot be read, or by too many, is a mistake too.
 * Blocks:  reading. */
WARN_UNUSED enum err keyring_load(const char *path, struct report *report, struct keyring *out);

/* Overwrites the keys; a zeroed ring is fine. */
void keyring_wipe(struct keyring *k);

#endif
