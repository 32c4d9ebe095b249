#include "daemon/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/macro.h"
#include "base/span.h"

enum metrics_type { METRICS_COUNTER = 0, METRICS_GAUGE, METRICS_HISTOGRAM };

enum { LABELS_MAX_BYTES = 4096 };

struct series {
	struct series *next;
	char *labels; /* `a="1",b="2"`, escaped already; "" for none */
	const uint64_t *value;
	metrics_read_fn read;
	void *arg;
	const struct hist *hist;
};

struct metrics_family {
	struct metrics_family *next;
	const char *name;
	const char *help;
	enum metrics_type type;
	struct series *first;
	struct series *last;
};

static const char *const type_names[] = { "counter", "gauge", "histogram" };

static const struct {
	uint64_t us;
	const char *text; /* the same in seconds */
} buckets[] = {
	{ 100, "0.0001" },
	{ 250, "0.00025" },
	{ 500, "0.0005" },
	{ 1000, "0.001" },
	{ 2500, "0.0025" },
	{ 5000, "0.005" },
	{ 10000, "0.01" },
	{ 25000, "0.025" },
	{ 50000, "0.05" },
	{ 100000, "0.1" },
	{ 250000, "0.25" },
	{ 500000, "0.5" },
	{ 1000000, "1" },
	{ 2500000, "2.5" },
	{ 5000000, "5" },
	{ 10000000, "10" },
	{ 30000000, "30" },
	{ 60000000, "60" },
};

void metrics_init(struct metrics *m)
{
	*m = (struct metrics){ 0 };
}

static void family_destroy(struct metrics_family *f)
{
	while (f->first != NULL) {
		struct series *next = f->first->next;

		free(f->first->labels);
		free(f->first);
		f->first = next;
	}
	free(f);
}

void metrics_fini(struct metrics *m)
{
	while (m->first != NULL) {
		struct metrics_family *next = m->first->next;

		family_destroy(m->first);
		m->first = next;
	}
	*m = (struct metrics){ 0 };
}

static bool is_metric_name(const char *name)
{
	for (size_t i = 0; name[i] != '\0'; i++) {
		bool is_letter = (name[i] >= 'a' && name[i] <= 'z') || name[i] == '_';
		bool is_digit = name[i] >= '0' && name[i] <= '9';

		if (!is_letter && !(is_digit && i > 0))
			return false;
	}
	return name[0] != '\0';
}

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name);
	size_t end_len = strlen(end);

	return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

/* Backslash and line feed everywhere; the quote in label values only. */
static void escape(struct buf *out, const char *text, bool is_quoted)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			buf_text(out, "\\\\");
		else if (*text == '\n')
			buf_text(out, "\\n");
		else if (*text == '"' && is_quoted)
			buf_text(out, "\\\"");
		else
			buf_byte(out, (uint8_t)*text);
	}
}

static enum err labels_format(const struct metrics_label *labels, char **out)
{
	struct buf text;

	buf_init(&text, LABELS_MAX_BYTES);
	for (size_t i = 0; labels != NULL && labels[i].name != NULL; i++) {
		BUG_ON(i == METRICS_MAX_LABELS || !is_metric_name(labels[i].name));
		buf_format(&text, "%s%s=\"", i == 0 ? "" : ",", labels[i].name);
		escape(&text, labels[i].value, true);
		buf_byte(&text, '"');
	}
	buf_byte(&text, '\0');
	enum err err = buf_status(&text);

	if (err == ERR_OK) {
		*out = text.at;
		text = (struct buf){ 0 };
	}
	buf_fini(&text);
	return err;
}

static struct metrics_family *family_of(
	struct metrics *m, enum metrics_type type, const char *name, const char *help)
{
	for (struct metrics_family *f = m->first; f != NULL; f = f->next) {
		if (strcmp(f->name, name) != 0)
			continue;
		BUG_ON(f->type != type);
		return f;
	}
	struct metrics_family *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	*f = (struct metrics_family){ .name = name, .help = help, .type = type };
	if (m->last == NULL)
		m->first = f;
	else
		m->last->next = f;
	m->last = f;
	return f;
}

static enum err add(struct metrics *m, enum metrics_type type, const char *name,
	const char *help, const struct metrics_label *labels, struct series values)
{
	if (m->series_count == METRICS_MAX_SERIES)
		return ERR_FULL;
	struct metrics_family *f = family_of(m, type, name, help);
	enum err err = f == NULL ? ERR_NOMEM : labels_format(labels, &values.labels);

	if (err != ERR_OK)
		return err;
	for (const struct series *s = f->first; s != NULL; s = s->next)
		BUG_ON(strcmp(s->labels, values.labels) == 0);
	struct series *s = malloc(sizeof(*s));

	if (s == NULL) {
		free(values.labels);
		return ERR_NOMEM;
	}
	*s = values;
	if (f->last == NULL)
		f->first = s;
	else
		f->last->next = s;
	f->last = s;
	m->series_count++;
	return ERR_OK;
}

static void add_sticky(struct metrics *m, enum metrics_type type, const char *name,
	const char *help, const struct metrics_label *labels, struct series values)
{
	BUG_ON(!is_metric_name(name) || strncmp(name, "sallyport_", 10) != 0);
	BUG_ON((type == METRICS_COUNTER) != ends_with(name, "_total"));
	BUG_ON(type == METRICS_HISTOGRAM && !ends_with(name, "_seconds"));
	if (m->status == ERR_OK)
		m->status = add(m, type, name, help, labels, values);
}

void metrics_counter(struct metrics *m, const char *name, const char *help,
	const struct metrics_label *labels, const uint64_t *value)
{
	add_sticky(m, METRICS_COUNTER, name, help, labels, (struct series){ .value = value });
}

void metrics_gauge(struct metrics *m, const char *name, const char *help,
	const struct metrics_label *labels, metrics_read_fn read, void *arg)
{
	add_sticky(m, METRICS_GAUGE, name, help, labels,
		(struct series){ .read = read, .arg = arg });
}

void metrics_gauge_u64(struct metrics *m, const char *name, const char *help,
	const struct metrics_label *labels, const uint64_t *value)
{
	add_sticky(m, METRICS_GAUGE, name, help, labels, (struct series){ .value = value });
}

void metrics_histogram(struct metrics *m, const char *name, const char *help,
	const struct metrics_label *labels, const struct hist *hist)
{
	add_sticky(m, METRICS_HISTOGRAM, name, help, labels, (struct series){ .hist = hist });
}

static void format_head(const char *name, const char *suffix, const struct series *s,
	const char *bucket, struct buf *out)
{
	bool has_labels = s->labels[0] != '\0';

	buf_format(out, "%s%s", name, suffix);
	if (has_labels || bucket != NULL)
		buf_byte(out, '{');
	buf_text(out, s->labels);
	if (bucket != NULL)
		buf_format(out, "%sle=\"%s\"", has_labels ? "," : "", bucket);
	if (has_labels || bucket != NULL)
		buf_byte(out, '}');
	buf_byte(out, ' ');
}

static void format_double(double value, struct buf *out)
{
	if (isnan(value))
		buf_text(out, "NaN\n");
	else if (isinf(value))
		buf_text(out, value > 0 ? "+Inf\n" : "-Inf\n");
	else
		buf_format(out, "%.15g\n", value);
}

static void format_histogram(const char *name, const struct series *s, struct buf *out)
{
	const struct hist *h = s->hist;

	for (size_t i = 0; i < ARRAY_COUNT(buckets); i++) {
		format_head(name, "_bucket", s, buckets[i].text, out);
		buf_format(
			out, "%llu\n", (unsigned long long)hist_count_up_to(h, buckets[i].us));
	}
	format_head(name, "_bucket", s, "+Inf", out);
	buf_format(out, "%llu\n", (unsigned long long)h->count);
	format_head(name, "_sum", s, NULL, out);
	format_double((double)h->sum_us / 1e6, out);
	format_head(name, "_count", s, NULL, out);
	buf_format(out, "%llu\n", (unsigned long long)h->count);
}

void metrics_format(const struct metrics *m, struct buf *out)
{
	for (const struct metrics_family *f = m->first; f != NULL; f = f->next) {
		buf_format(out, "# HELP %s ", f->name);
		escape(out, f->help, false);
		buf_format(out, "\n# TYPE %s %s\n", f->name, type_names[f->type]);
		for (const struct series *s = f->first; s != NULL; s = s->next) {
			if (s->hist != NULL) {
				format_histogram(f->name, s, out);
				continue;
			}
			format_head(f->name, "", s, NULL, out);
			if (s->read != NULL)
				format_double(s->read(s->arg), out);
			else
				buf_format(out, "%llu\n", (unsigned long long)*s->value);
		}
	}
}
