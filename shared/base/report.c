#include "base/report.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

enum { TEXT_MAX_BYTES = 512, WORD_MAX_BYTES = 64 };

void report_init(struct report *r)
{
	*r = (struct report){ 0 };
}

static void mistake_fini(struct mistake *m)
{
	free(m->file);
	free(m->key);
	free(m->text);
	*m = (struct mistake){ 0 };
}

void report_fini(struct report *r)
{
	for (size_t i = 0; i < r->count; i++)
		mistake_fini(&r->mistakes[i]);
	*r = (struct report){ 0 };
}

void report_add(struct report *r, const char *file, unsigned line, unsigned column,
	struct span key, const char *format, ...)
{
	char text[TEXT_MAX_BYTES];
	va_list args;

	if (r->count == REPORT_MAX_MISTAKES) {
		r->dropped++;
		return;
	}
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);

	struct text_shown shown_file = text_show(span_of(file));
	struct text_shown shown_key = text_show(key);
	struct mistake *m = &r->mistakes[r->count];

	*m = (struct mistake){
		.file = strdup(shown_file.at),
		.key = strdup(shown_key.at),
		.text = strdup(text),
		.line = line,
		.column = column,
	};
	if (m->file == NULL || m->key == NULL || m->text == NULL) {
		mistake_fini(m);
		r->dropped++;
		return;
	}
	r->count++;
}

/* The position of the first mistake in the same file: files keep the order they came in. */
static size_t file_rank(const struct report *r, const struct mistake *m)
{
	size_t i = 0;

	while (strcmp(r->mistakes[i].file, m->file) != 0)
		i++;
	return i;
}

static bool comes_before(
	const struct report *r, const struct mistake *a, const struct mistake *b)
{
	size_t rank_a = file_rank(r, a);
	size_t rank_b = file_rank(r, b);

	if (rank_a != rank_b)
		return rank_a < rank_b;
	/* Line 0 wraps to the largest number: last. */
	if (a->line != b->line)
		return a->line - 1 < b->line - 1;
	return a->column < b->column;
}

static void format_one(const struct mistake *m, struct buf *out)
{
	buf_text(out, m->file);
	if (m->line > 0)
		buf_format(out, ":%u", m->line);
	if (m->line > 0 && m->column > 0)
		buf_format(out, ":%u", m->column);
	buf_text(out, ": ");
	if (m->key[0] != '\0')
		buf_format(out, "%s: ", m->key);
	buf_format(out, "%s\n", m->text);
}

void report_format(const struct report *r, struct buf *out)
{
	const struct mistake *sorted[REPORT_MAX_MISTAKES];

	for (size_t i = 0; i < r->count; i++) {
		size_t at = i;

		for (; at > 0 && comes_before(r, &r->mistakes[i], sorted[at - 1]); at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = &r->mistakes[i];
	}
	for (size_t i = 0; i < r->count; i++)
		format_one(sorted[i], out);
	if (r->dropped > 0)
		buf_format(out, "and %zu more\n", r->dropped);
}

/* How many letters must be added, dropped, changed or swapped with their neighbour. */
static size_t distance(struct span a, struct span b)
{
	size_t row[3][WORD_MAX_BYTES + 1];
	size_t *before = row[0];
	size_t *last = row[1];
	size_t *now = row[2];

	for (size_t j = 0; j <= b.len; j++)
		last[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t best = last[j - 1] + (a.at[i - 1] == b.at[j - 1] ? 0 : 1);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] &&
				a.at[i - 2] == b.at[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		size_t *spare = before;

		before = last;
		last = now;
		now = spare;
	}
	return last[b.len];
}

const char *report_nearest(struct span word, const char *const *names, size_t count)
{
	const char *nearest = NULL;
	/* A third of the letters may differ, but never more than three. */
	size_t limit = word.len / 3 < 3 ? word.len / 3 : 3;

	if (word.len < 2 || word.len > WORD_MAX_BYTES)
		return NULL;
	if (limit == 0)
		limit = 1;
	for (size_t i = 0; i < count; i++) {
		struct span name = span_of(names[i]);

		if (name.len > WORD_MAX_BYTES)
			continue;
		size_t d = distance(word, name);

		if (d > limit || (nearest != NULL && d == limit))
			continue;
		nearest = names[i];
		limit = d;
	}
	return nearest;
}
