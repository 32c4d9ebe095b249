#include "daemon/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/file.h"
#include "base/text.h"

enum { LIST_MAX_ITEMS = 1000, KEYS_MAX = 200 };

/* Where a value was found, for the mistakes about it. */
struct place {
	const char *file;
	const char *folder; /* of the file, "" for the present one */
	struct report *report;
	unsigned line; /* 0: a default */
	unsigned column;
};

/* What a word can do for the table of kinds. */
static const struct {
	const char *name;
	const char *form;
} kinds[] = {
	[OPTION_TEXT] = { "text", "text" },
	[OPTION_NAME] = { "name", "letters, digits, \"-\", \"_\" and \".\"" },
	[OPTION_PATH] = { "path", "the path of a file" },
	[OPTION_FILE] = { "file", "the path of a file that is there" },
	[OPTION_SECRET] = { "secret file", "the path of a file that others may not read" },
	[OPTION_SEAL] = { "key file", "the path of a file that only its owner may read" },
	[OPTION_U64] = { "number", "a whole number such as 64" },
	[OPTION_BYTES] = { "size", "a whole number of bytes, or one with a unit: 64KiB, 1MiB" },
	[OPTION_MS] = { "duration", "a whole number with a unit: 250ms, 5s, 10m, 1h" },
	[OPTION_BOOL] = { "yes or no", "yes or no" },
	[OPTION_MODE] = { "mode", "octal permissions such as 0660" },
	[OPTION_LIST] = { "list", "texts separated by commas" },
	[OPTION_NAMES] = { "list of names", "names separated by commas" },
};

static void *field_of(const struct option *o, void *config)
{
	return (char *)config + o->offset;
}

static bool is_list(const struct option *o)
{
	return o->type == OPTION_LIST || o->type == OPTION_NAMES;
}

static enum err complain(const struct place *at, const struct option *o, const char *format,
	...) PRINTF_LIKE(3, 4);

static enum err complain(
	const struct place *at, const struct option *o, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	report_add(at->report, at->file, at->line, at->column, span_of(o->key), "%s", text);
	return ERR_INPUT;
}

static enum err complain_form(const struct place *at, const struct option *o, struct span value)
{
	return complain(at, o, "\"%s\" is not %s", text_show(value).at, kinds[o->type].form);
}

/* ---- numbers as they are written ---- */

static void format_value(const struct option *o, uint64_t value, struct buf *out)
{
	static const struct unit {
		const char *name;
		uint64_t factor;
	} durations[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } },
	  sizes[] = { { "GiB", MIB(1024) }, { "MiB", MIB(1) }, { "KiB", KIB(1) }, { "", 1 } };
	const struct unit *units = o->type == OPTION_MS ? durations : sizes;

	if (o->type == OPTION_MODE) {
		buf_format(out, "%#llo", (unsigned long long)value);
		return;
	}
	if (value == 0 || (o->type != OPTION_MS && o->type != OPTION_BYTES)) {
		buf_format(out, "%llu", (unsigned long long)value);
		return;
	}
	while (value % units->factor != 0)
		units++;
	buf_format(out, "%llu%s", (unsigned long long)(value / units->factor), units->name);
}

static void format_range(const struct option *o, struct buf *out)
{
	buf_text(out, "from ");
	format_value(o, o->min, out);
	buf_text(out, " to ");
	format_value(o, o->max, out);
}

static enum err check_range(
	const struct place *at, const struct option *o, struct span value, uint64_t number)
{
	struct buf range;

	if (number >= o->min && number <= o->max)
		return ERR_OK;
	buf_init(&range, 200);
	format_range(o, &range);
	enum err err = complain(at, o, "%s is out of range; %.*s", text_show(value).at,
		SPAN_ARG(buf_span(&range)));

	buf_fini(&range);
	return err;
}

static enum err parse_mode(struct span value, uint64_t *out)
{
	uint64_t mode = 0;

	if (value.len == 0 || value.len > 5)
		return ERR_INPUT;
	for (size_t i = 0; i < value.len; i++) {
		if (value.at[i] < '0' || value.at[i] > '7')
			return ERR_INPUT;
		mode = mode * 8 + (uint64_t)(value.at[i] - '0');
	}
	*out = mode;
	return ERR_OK;
}

/* ---- texts ---- */

static bool is_printable(struct span value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.at[i];

		if (c < 0x20 || c == 0x7f)
			return false;
	}
	return true;
}

static enum err check_text(const struct place *at, const struct option *o, struct span value)
{
	const char *wrong = NULL;

	if (!is_printable(value))
		return complain(at, o, "\"%s\" has control characters", text_show(value).at);
	if ((o->type == OPTION_NAME || o->type == OPTION_NAMES) &&
		!text_is_name(value, value.len))
		return complain(at, o, "\"%s\" is not a name: %s", text_show(value).at,
			kinds[OPTION_NAME].form);
	if (!is_list(o) && (value.len < o->min || value.len > o->max))
		return complain(at, o, "%zu bytes; from %llu to %llu", value.len,
			(unsigned long long)o->min, (unsigned long long)o->max);
	if (o->check != NULL)
		wrong = o->check(value);
	if (wrong != NULL)
		return complain(at, o, "\"%s\": %s", text_show(value).at, wrong);
	return ERR_OK;
}

static char *path_in(const char *folder, struct span value)
{
	char *path = NULL;
	int len;

	if (value.at[0] == '/' || folder[0] == '\0')
		len = asprintf(&path, "%.*s", SPAN_ARG(value));
	else
		len = asprintf(&path, "%s/%.*s", folder, SPAN_ARG(value));
	return len < 0 ? NULL : path;
}

/* A secret that others can read is none: better not to start than to run like this. */
static enum err check_file(const struct place *at, const struct option *o, const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0 || access(path, R_OK) != 0)
		return complain(
			at, o, "%s: %s", text_show(span_of(path)).at, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode))
		return complain(at, o, "%s is not a file", text_show(span_of(path)).at);
	if (o->type == OPTION_SEAL && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return complain(at, o, "%s is open to others (mode %04o); chmod 600 it",
			text_show(span_of(path)).at, (unsigned)(st.st_mode & 07777));
	if (o->type == OPTION_SECRET && (st.st_mode & (S_IRWXO | S_IWGRP)) != 0)
		return complain(at, o,
			"%s is open to others (mode %04o); chmod 600 it, or 640 for a group",
			text_show(span_of(path)).at, (unsigned)(st.st_mode & 07777));
	return ERR_OK;
}

static enum err read_text(
	const struct place *at, const struct option *o, struct span value, char **out)
{
	bool is_path = o->type == OPTION_PATH || o->type == OPTION_FILE ||
		       o->type == OPTION_SECRET || o->type == OPTION_SEAL;
	enum err err = check_text(at, o, value);

	if (err != ERR_OK)
		return err;
	*out = is_path ? path_in(at->folder, value) : strndup(value.at, value.len);
	if (*out == NULL)
		return ERR_NOMEM;
	if (o->type == OPTION_FILE || o->type == OPTION_SECRET || o->type == OPTION_SEAL)
		return check_file(at, o, *out);
	return ERR_OK;
}

/* ---- lists ---- */

static void list_free(struct option_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->at[i]);
	free(list->at);
	*list = (struct option_list){ 0 };
}

static enum err read_list(const struct place *at, const struct option *o, struct span value,
	struct option_list *out)
{
	enum err err = ERR_OK;
	size_t count = 1;

	for (size_t i = 0; i < value.len; i++)
		count += value.at[i] == ',' ? 1 : 0;
	if (count < o->min || count > o->max || count > LIST_MAX_ITEMS)
		return complain(at, o, "%zu items; from %llu to %llu", count,
			(unsigned long long)o->min, (unsigned long long)o->max);
	out->at = calloc(count, sizeof(*out->at));
	if (out->at == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		struct span item = text_trim(text_cut(&value, ','));

		if (item.len == 0) {
			err = complain(at, o, "item %zu of the list is empty", i + 1);
			continue;
		}
		if (check_text(at, o, item) != ERR_OK) {
			err = ERR_INPUT;
			continue;
		}
		for (size_t j = 0; j < out->count; j++) {
			if (span_is(item, out->at[j]))
				err = complain(
					at, o, "\"%s\" stands twice in the list", out->at[j]);
		}
		char *copy = strndup(item.at, item.len);

		if (copy == NULL)
			return ERR_NOMEM;
		out->at[out->count++] = copy;
	}
	return err;
}

/* ---- one value ---- */

static enum err read_number(
	const struct place *at, const struct option *o, struct span value, uint64_t *out)
{
	enum err err = ERR_INPUT;

	if (o->type == OPTION_U64)
		err = text_parse_u64(value, out);
	else if (o->type == OPTION_BYTES)
		err = text_parse_size_bytes(value, out);
	else if (o->type == OPTION_MS)
		err = text_parse_duration_ms(value, out);
	else if (o->type == OPTION_MODE)
		err = parse_mode(value, out);
	return err == ERR_OK ? check_range(at, o, value, *out) : complain_form(at, o, value);
}

static enum err read_value(
	const struct place *at, const struct option *o, struct span value, void *config)
{
	void *field = field_of(o, config);
	uint64_t number = 0;
	enum err err;

	switch (o->type) {
	case OPTION_TEXT:
	case OPTION_NAME:
	case OPTION_PATH:
	case OPTION_FILE:
	case OPTION_SECRET:
	case OPTION_SEAL:
		return read_text(at, o, value, field);
	case OPTION_LIST:
	case OPTION_NAMES:
		return read_list(at, o, value, field);
	case OPTION_BOOL:
		if (text_parse_bool(value, field) != ERR_OK)
			return complain_form(at, o, value);
		return ERR_OK;
	case OPTION_U64:
	case OPTION_BYTES:
	case OPTION_MS:
		err = read_number(at, o, value, &number);
		if (err == ERR_OK)
			*(uint64_t *)field = number;
		return err;
	case OPTION_MODE:
		err = read_number(at, o, value, &number);
		if (err == ERR_OK)
			*(mode_t *)field = (mode_t)number;
		return err;
	}
	return ERR_INPUT;
}

/* ---- the file ---- */

static const struct option *option_find(const struct options *options, struct span key)
{
	for (size_t i = 0; i < options->count; i++) {
		if (span_is(key, options->table[i].key))
			return &options->table[i];
	}
	return NULL;
}

static void complain_unknown(
	const struct place *at, const struct options *options, struct span key)
{
	const char *names[KEYS_MAX];

	BUG_ON(options->count > KEYS_MAX);
	for (size_t i = 0; i < options->count; i++)
		names[i] = options->table[i].key;
	const char *nearest = report_nearest(key, names, options->count);

	if (nearest != NULL)
		report_add(at->report, at->file, at->line, at->column, key,
			"unknown key; did you mean \"%s\"?", nearest);
	else
		report_add(at->report, at->file, at->line, at->column, key,
			"unknown key; the command \"example\" lists them all");
}

static struct span without_comment(struct span line)
{
	for (size_t i = 0; i < line.len; i++) {
		if (line.at[i] != '#')
			continue;
		if (i == 0 || line.at[i - 1] == ' ' || line.at[i - 1] == '\t')
			return (struct span){ line.at, i };
	}
	return line;
}

/* line_of[] tells for each option where it was given, 0 where not yet. */
static enum err read_line(struct place *at, const struct options *options, struct span whole,
	unsigned *line_of, void *config)
{
	struct span line = text_trim(without_comment(whole));
	struct span rest = line;

	if (line.len == 0)
		return ERR_OK;
	at->column = (unsigned)(line.at - whole.at) + 1;
	struct span key = text_trim(text_cut(&rest, '='));

	if (rest.at == NULL || key.len == 0) {
		report_add(at->report, at->file, at->line, at->column, (struct span){ 0 },
			"\"%s\" is not \"key = value\"", text_show(line).at);
		return ERR_INPUT;
	}
	const struct option *o = option_find(options, key);

	if (o == NULL) {
		complain_unknown(at, options, key);
		return ERR_INPUT;
	}
	size_t which = (size_t)(o - options->table);

	if (line_of[which] != 0)
		return complain(at, o, "given already in line %u", line_of[which]);
	line_of[which] = at->line;
	struct span value = text_trim(rest);

	if (value.len == 0 && o->fallback == NULL)
		return complain(at, o, "has no value; it must be given, for example %s = %s",
			o->key, o->example);
	if (value.len == 0)
		return complain(at, o, "has no value; without the line the default counts");
	at->column = (unsigned)(value.at - whole.at) + 1;
	return read_value(at, o, value, config);
}

/* NUL, other control characters and broken UTF-8 would make lines look like what they are not.
 */
static enum err check_bytes(struct place *at, struct span text)
{
	if (text_is_utf8(text) &&
		memchr(text.at == NULL ? "" : text.at, '\0', text.len) == NULL)
		return ERR_OK;
	report_add(
		at->report, at->file, 0, 0, (struct span){ 0 }, "is not a text file in UTF-8");
	return ERR_INPUT;
}

static enum err read_defaults(
	struct place *at, const struct options *options, const unsigned *line_of, void *config)
{
	enum err err = ERR_OK;

	at->line = 0;
	at->column = 0;
	for (size_t i = 0; i < options->count && err != ERR_NOMEM; i++) {
		const struct option *o = &options->table[i];

		if (line_of[i] != 0)
			continue;
		if (o->fallback == NULL) {
			err = complain(at, o, "is missing; for example %s = %s (%s)", o->key,
				o->example, o->sentence);
			continue;
		}
		if (o->fallback[0] == '\0')
			continue;
		enum err this = read_value(at, o, span_of(o->fallback), config);

		err = this == ERR_OK ? err : this;
	}
	return err;
}

enum err options_parse(const struct options *options, struct span text, const char *file,
	const char *folder, struct report *report, void *config)
{
	struct place at = { .file = file, .folder = folder, .report = report };
	unsigned *line_of = calloc(options->count + 1, sizeof(*line_of));
	enum err err = ERR_OK;

	if (line_of == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < options->count; i++) {
		const struct option *o = &options->table[i];

		BUG_ON(o->fallback == NULL && o->example == NULL);
		BUG_ON(o->min > o->max);
	}
	err = check_bytes(&at, text);
	if (err == ERR_OK) {
		while (text.len > 0 && err != ERR_NOMEM) {
			struct span line = text_cut(&text, '\n');

			at.line++;
			if (line.len > 0 && line.at[line.len - 1] == '\r')
				line.len--;
			enum err this = read_line(&at, options, line, line_of, config);

			err = this == ERR_OK ? err : this;
		}
		if (err != ERR_NOMEM) {
			enum err this = read_defaults(&at, options, line_of, config);

			err = this == ERR_OK ? err : this;
		}
	}
	free(line_of);
	if (err != ERR_OK)
		options_free(options, config);
	return err;
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return strdup("");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

enum err options_load(
	const struct options *options, const char *path, struct report *report, void *config)
{
	struct buf text;
	char *folder = folder_of(path);
	enum err err = ERR_NOMEM;

	buf_init(&text, OPTIONS_MAX_FILE_BYTES);
	if (folder != NULL)
		err = file_read(path, &text);
	if (err == ERR_OK) {
		err = options_parse(options, buf_span(&text), path, folder, report, config);
	} else if (err != ERR_NOMEM) {
		report_add(report, path, 0, 0, (struct span){ 0 }, "cannot be read: %s",
			err == ERR_FULL ? "larger than 64 KiB" : file_why(err));
		err = ERR_INPUT;
	}
	buf_fini(&text);
	free(folder);
	return err;
}

unsigned options_line(const char *path, const char *key)
{
	struct buf text;
	unsigned line = 0;
	unsigned found = 0;

	buf_init(&text, OPTIONS_MAX_FILE_BYTES);
	if (file_read(path, &text) == ERR_OK) {
		struct span rest = buf_span(&text);

		while (rest.len > 0 && found == 0) {
			struct span value = text_cut(&rest, '\n');

			line++;
			if (span_is(text_trim(text_cut(&value, '=')), key))
				found = line;
		}
	}
	buf_fini(&text);
	return found;
}

void options_free(const struct options *options, void *config)
{
	for (size_t i = 0; i < options->count; i++) {
		const struct option *o = &options->table[i];
		void *field = field_of(o, config);

		switch (o->type) {
		case OPTION_TEXT:
		case OPTION_NAME:
		case OPTION_PATH:
		case OPTION_FILE:
		case OPTION_SECRET:
		case OPTION_SEAL:
			free(*(char **)field);
			*(char **)field = NULL;
			break;
		case OPTION_LIST:
		case OPTION_NAMES:
			list_free(field);
			break;
		case OPTION_U64:
		case OPTION_BYTES:
		case OPTION_MS:
			*(uint64_t *)field = 0;
			break;
		case OPTION_BOOL:
			*(bool *)field = false;
			break;
		case OPTION_MODE:
			*(mode_t *)field = 0;
			break;
		}
	}
}

/* ---- read again ---- */

static bool is_text(const struct option *o)
{
	return o->type == OPTION_TEXT || o->type == OPTION_NAME || o->type == OPTION_PATH ||
	       o->type == OPTION_FILE || o->type == OPTION_SECRET || o->type == OPTION_SEAL;
}

static size_t size_of(const struct option *o)
{
	if (is_text(o))
		return sizeof(char *);
	if (is_list(o))
		return sizeof(struct option_list);
	if (o->type == OPTION_BOOL)
		return sizeof(bool);
	return o->type == OPTION_MODE ? sizeof(mode_t) : sizeof(uint64_t);
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_list(const struct option_list *a, const struct option_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same_text(a->at[i], b->at[i]))
			return false;
	return true;
}

static bool same_value(const struct option *o, void *a, void *b)
{
	void *in_a = field_of(o, a);
	void *in_b = field_of(o, b);

	if (is_list(o))
		return same_list(in_a, in_b);
	if (is_text(o))
		return same_text(*(char **)in_a, *(char **)in_b);
	return memcmp(in_a, in_b, size_of(o)) == 0;
}

static void swap_value(const struct option *o, void *a, void *b)
{
	char kept[sizeof(struct option_list)];
	size_t size = size_of(o);

	memcpy(kept, field_of(o, a), size);
	memcpy(field_of(o, a), field_of(o, b), size);
	memcpy(field_of(o, b), kept, size);
}

void options_take(const struct options *options, void *running, void *fresh,
	option_stays_fn on_stays, void *arg)
{
	for (size_t i = 0; i < options->count; i++) {
		const struct option *o = &options->table[i];

		if (o->when == OPTION_AT_RELOAD)
			swap_value(o, running, fresh);
		else if (!same_value(o, running, fresh))
			on_stays(arg, o->key);
	}
}

/* ---- for people ---- */

static bool has_number(const struct option *o)
{
	return o->type == OPTION_U64 || o->type == OPTION_BYTES || o->type == OPTION_MS ||
	       o->type == OPTION_MODE;
}

/* "duration from 1s to 10m, default 30s" */
static void format_kind(const struct option *o, struct buf *out)
{
	buf_text(out, kinds[o->type].name);
	if (has_number(o)) {
		buf_byte(out, ' ');
		format_range(o, out);
	}
	if (o->fallback == NULL)
		buf_text(out, ", must be given");
	else if (o->fallback[0] == '\0')
		buf_text(out, ", may be absent");
	else
		buf_format(out, ", default %s", o->fallback);
}

void options_example(const struct options *options, struct buf *out)
{
	for (size_t i = 0; i < options->count; i++) {
		const struct option *o = &options->table[i];
		const char *value = o->fallback;

		if (value == NULL || value[0] == '\0')
			value = o->example == NULL ? "" : o->example;
		buf_format(out, "%s# %s\n# ", i == 0 ? "" : "\n", o->sentence);
		format_kind(o, out);
		buf_format(out, "\n%s%s = %s\n", o->fallback == NULL ? "" : "#", o->key, value);
	}
}

/* ---- checks ---- */

const char *option_check_address(struct span value)
{
	static const char wrong[] =
		"not an address; write host:port, for example 127.0.0.1:5671 or [::1]:5671";
	uint64_t port;
	size_t colon = value.len;

	while (colon > 0 && value.at[colon - 1] != ':')
		colon--;
	if (colon < 2)
		return wrong;
	struct span host = { value.at, colon - 1 };

	if (text_parse_u64(span_after(value, colon), &port) != ERR_OK)
		return wrong;
	if (port == 0 || port > UINT16_MAX)
		return "the port is out of range; from 1 to 65535";
	if (host.at[0] == '[') {
		if (host.len < 4 || host.at[host.len - 1] != ']')
			return wrong;
		for (size_t i = 1; i < host.len - 1; i++) {
			if (strchr("0123456789abcdefABCDEF:.", host.at[i]) == NULL)
				return wrong;
		}
		return NULL;
	}
	return text_is_name(host, 253) ? NULL : wrong;
}
