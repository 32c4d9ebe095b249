/* options.h - a daemon's config file: one table says everything about every key.
 *
 * From a row come parsing, range check, default and the example file. The file is lines
 * of `key = value`; `#` begins a comment at the beginning of a line or behind a blank. All
 * mistakes of a file are told at once. Nothing here acts on a value: the daemon's struct is the
 * result.
 * Layer: daemon. Uses: base. Never: the loop. Thread: the owner's. */
#ifndef SALLYPORT_DAEMON_OPTIONS_H
#define SALLYPORT_DAEMON_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macro.h"
#include "base/report.h"
#include "base/span.h"

enum { OPTIONS_MAX_FILE_BYTES = 64 * 1024 };

/* A list that was read; at is NULL when it is empty. */
struct option_list {
	char **at;
	size_t count;
};

/* What stands behind the "=", and the C type of its field. Numbers are checked against
 * min..max, texts by their length in bytes, lists by the count of their items. */
enum option_type {
	OPTION_TEXT = 0, /* char *, NULL when absent: anything printable */
	OPTION_NAME,     /* char *: letters, digits, - _ . */
	OPTION_PATH, /* char *: a file that may not be there yet; relative to the config file */
	OPTION_FILE, /* char *: a file that must be there and readable */
	OPTION_SECRET, /* char *: OPTION_FILE, and nobody but owner and group may read it */
	OPTION_SEAL,   /* char *: OPTION_FILE, and nobody but its owner may touch it */
	OPTION_U64,    /* uint64_t: a whole number */
	OPTION_BYTES,  /* uint64_t: 64KiB, 1MiB */
	OPTION_MS,     /* uint64_t: 250ms, 5s, 10m, 1h */
	OPTION_BOOL,   /* bool: yes or no */
	OPTION_MODE,   /* mode_t: octal permissions, 0660 */
	OPTION_LIST,   /* struct option_list: texts separated by commas */
	OPTION_NAMES,  /* struct option_list: names separated by commas */
};

/* Says what is wrong with a value (or one item of a list) that has the right type, or NULL. The
 * text is static; it ends with what would be right. */
typedef const char *(*option_check_fn)(struct span value);

enum option_when {
	OPTION_AT_START = 0, /* after a restart */
	OPTION_AT_RELOAD,
};

struct option {
	const char *key; /* dotted */
	enum option_type type;
	size_t offset; /* of the field in the daemon's struct */
	uint64_t min;
	uint64_t max;
	const char *fallback; /* as it would stand in a file; "" = may be absent; NULL = must be
				 given */
	const char *example;  /* for the example file, where there is no fallback */
	option_check_fn check; /* or NULL */
	const char *sentence;  /* what it is for */
	enum option_when when; /* a change counts */
};

struct options {
	const struct option *table;
	size_t count;
};

#define OPTION_AT(type, field) offsetof(type, field)

/* Reads a file into config.
 *
 * Takes:   config points to the daemon's struct, which is all zero or was freed. The name in
 *          the report is the path as given.
 * Returns: ERR_OK, options_free() frees what the fields own; ERR_INPUT with every mistake in
 *          the report (a file that cannot be read is a mistake too); ERR_NOMEM. Without ERR_OK
 *          the fields are as after options_free().
 * Blocks:  reading the file, looking at the files it names. */
WARN_UNUSED enum err options_load(
	const struct options *options, const char *path, struct report *report, void *config);

/* The same from memory; relative paths are taken from `folder`. */
WARN_UNUSED enum err options_parse(const struct options *options, struct span text,
	const char *file, const char *folder, struct report *report, void *config);

/* The line of `path` on which `key` stands, for mistakes that show only later; 0 when it stands on none.
 * Blocks:  reading the file. */
unsigned options_line(const char *path, const char *key);

/* Frees what the fields of the table own and zeroes these fields. Harmless on zeroed ones. */
void options_free(const struct options *options, void *config);

/* Lets what was read again count: values of OPTION_AT_RELOAD keys move from `fresh` to `running`
 * and back. The others stay, and so does the memory that they own.
 * Takes:   both are of these options, read without a mistake.
 * Fires:   on_stays for each key that differs and has to wait for a restart, from inside. */
typedef void (*option_stays_fn)(void *arg, const char *key);
void options_take(const struct options *options, void *running, void *fresh,
	option_stays_fn on_stays, void *arg);

/* A config file with every key, its default and its sentence: keys that must be given stand
 * there with their example, the others commented out. It is accepted by options_parse() as far
 * as the files it names exist. */
void options_example(const struct options *options, struct buf *out);

/* Ready-made checks for `check`. */
const char *option_check_address(struct span value); /* host:port, 127.0.0.1:5671, [::1]:5671 */

#endif
