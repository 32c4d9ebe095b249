#include "picture.h"

#include <inttypes.h>
#include <langinfo.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"

enum {
	ROWS_PER_OCTAVE = 4, /* each row reaches 19 % further than the one before */
	MAX_ROWS = 28,
	LABEL_CELLS = 9,
	MARK_CELLS = 10, /* " p50..max " after the longest bar */
	NARROWEST = 60,
	WIDEST = 120,
};

#define COLOUR_FLOOR "\033[36m"
#define COLOUR_OURS "\033[32m"
#define COLOUR_DIM "\033[2m"
#define COLOUR_BOLD "\033[1m"
#define COLOUR_NONE "\033[0m"

static unsigned terminal_columns(FILE *out)
{
	struct winsize size;
	uint64_t columns = 80;
	const char *asked = getenv("COLUMNS");

	if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 &&
		size.ws_col > 0)
		columns = size.ws_col;
	else if (asked == NULL || text_parse_u64(span_of(asked), &columns) != ERR_OK)
		columns = 80;
	if (columns < NARROWEST)
		return NARROWEST;
	return columns > WIDEST ? WIDEST : (unsigned)columns;
}

struct picture_style picture_style_of(FILE *out)
{
	const char *no_colour = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return (struct picture_style){
		.has_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
		.has_colour = isatty(fileno(out)) &&
			      (no_colour == NULL || *no_colour == '\0') && term != NULL &&
			      strcmp(term, "dumb") != 0,
		.columns = terminal_columns(out),
	};
}

static const char *colour(const struct picture_style *style, const char *code)
{
	return style->has_colour ? code : "";
}

struct picture_time picture_time(const struct picture_style *style, uint64_t us)
{
	struct picture_time t;
	double ms = (double)us / 1000;

	if (us < 1000)
		(void)snprintf(
			t.at, sizeof t.at, "%" PRIu64 " %s", us, style->has_utf8 ? "µs" : "us");
	else if (ms < 9.995)
		(void)snprintf(t.at, sizeof t.at, "%.2f ms", ms);
	else if (ms < 99.95)
		(void)snprintf(t.at, sizeof t.at, "%.1f ms", ms);
	else if (ms < 9999.5)
		(void)snprintf(t.at, sizeof t.at, "%.0f ms", ms);
	else
		(void)snprintf(t.at, sizeof t.at, "%.0f s", ms / 1000);
	return t;
}

/* Terminal cells of UTF-8 text: one for each byte that begins a character. */
static unsigned cells(const char *text)
{
	unsigned count = 0;

	for (; *text != '\0'; text++)
		count += ((unsigned char)*text & 0xC0) != 0x80;
	return count;
}

static void put_blanks(FILE *out, unsigned count)
{
	(void)fprintf(out, "%*s", (int)count, "");
}

static void put_right(FILE *out, const char *text, unsigned width)
{
	unsigned used = cells(text);

	put_blanks(out, used < width ? width - used : 0);
	(void)fputs(text, out);
}

static void put_left(FILE *out, const char *text, unsigned width)
{
	unsigned used = cells(text);

	(void)fputs(text, out);
	put_blanks(out, used < width ? width - used : 0);
}

/* The upper end of a row; row 0 ends at 1 us. Whole powers of two are exact. */
static uint64_t row_top_us(unsigned row)
{
	static const double part[ROWS_PER_OCTAVE] = { 1.0, 1.189207115, 1.414213562,
		1.681792831 };

	return (uint64_t)((double)(UINT64_C(1) << (row / ROWS_PER_OCTAVE)) *
				  part[row % ROWS_PER_OCTAVE] +
			  0.5);
}

static unsigned row_of(uint64_t us)
{
	unsigned row = 0;

	while (row_top_us(row) < us)
		row++;
	return row;
}

static uint64_t row_count(const struct hist *h, unsigned first, unsigned row)
{
	uint64_t below = row == first ? 0 : hist_count_up_to(h, row_top_us(row - 1));

	return hist_count_up_to(h, row_top_us(row)) - below;
}

static uint64_t row_count_most(const struct hist *h, unsigned first, unsigned last)
{
	uint64_t most = 1;

	for (unsigned row = first; row <= last; row++) {
		uint64_t count = row_count(h, first, row);

		most = count > most ? count : most;
	}
	return most;
}

/* A bar of `share` (0..1) of `width` cells; anything at all shows at least a sliver. Returns
 * the cells used. */
static unsigned put_bar(FILE *out, const struct picture_style *style, const char *code,
	double share, unsigned width)
{
	static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	unsigned steps = style->has_utf8 ? 8 : 1;
	unsigned long units = (unsigned long)(share * width * steps + 0.5);
	unsigned used = 0;

	if (units == 0 && share > 0)
		units = 1;
	(void)fputs(colour(style, code), out);
	for (; units >= steps; units -= steps, used++)
		(void)fputs(style->has_utf8 ? "█" : "#", out);
	if (units > 0) {
		(void)fputs(eighths[units], out);
		used++;
	}
	(void)fputs(colour(style, COLOUR_NONE), out);
	return used;
}

/* Which of p50, p90, p99 and max lie in the row: " p90", " p50 p90" or " p50..max". Pads to
 * `width`. */
static void put_marks(FILE *out, const struct picture_style *style, const struct figures *f,
	unsigned first, unsigned last, unsigned row, unsigned width)
{
	const char *const name[] = { "p50", "p90", "p99", "max" };
	const uint64_t us[] = { f->p50_us, f->p90_us, f->p99_us, f->max_us };
	const char *here[ARRAY_COUNT(name)] = { NULL };
	unsigned count = 0;
	char text[16] = "";

	for (size_t i = 0; i < ARRAY_COUNT(name); i++) {
		unsigned at = row_of(us[i]);

		at = at < first ? first : at > last ? last : at;
		if (f->count != 0 && at == row)
			here[count++] = name[i];
	}
	if (count == 1)
		(void)snprintf(text, sizeof text, " %s", here[0]);
	else if (count > 1)
		(void)snprintf(text, sizeof text, " %s%s%s", here[0], count == 2 ? " " : "..",
			here[count - 1]);
	(void)fputs(colour(style, COLOUR_BOLD), out);
	put_left(out, text, width);
	(void)fputs(colour(style, COLOUR_NONE), out);
}

static void put_rule(FILE *out, const struct picture_style *style, unsigned width)
{
	(void)fputs(colour(style, COLOUR_DIM), out);
	for (unsigned i = 0; i < width; i++)
		(void)fputs(style->has_utf8 ? "─" : "-", out);
	(void)fprintf(out, "%s\n", colour(style, COLOUR_NONE));
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void picture_draw(FILE *out, const struct picture_style *style, const struct picture_side *left,
	const struct picture_side *right)
{
	const struct picture_side *side[2] = { left, right };
	const char *code[2] = { COLOUR_FLOOR, COLOUR_OURS };
	const char *axis = style->has_utf8 ? "│" : "|";
	unsigned bar = (style->columns - LABEL_CELLS - 4) / 2 - MARK_CELLS;
	unsigned first = row_of(
		smaller(hist_quantile_us(left->hist, 0), hist_quantile_us(right->hist, 0)));
	unsigned last = row_of(larger(left->hist->max_us, right->hist->max_us));
	unsigned most_rows = first + MAX_ROWS - 1;
	bool is_cut = last > most_rows;
	uint64_t most[2];

	last = is_cut ? most_rows : last;
	for (unsigned i = 0; i < 2; i++)
		most[i] = row_count_most(side[i]->hist, first, last);
	put_right(out, "up to", LABEL_CELLS - 1);
	(void)fputs("   ", out);
	for (unsigned i = 0; i < 2; i++) {
		(void)fprintf(out, "%s%s", colour(style, COLOUR_BOLD), colour(style, code[i]));
		put_left(out, side[i]->title, bar + MARK_CELLS + 2);
		(void)fputs(colour(style, COLOUR_NONE), out);
	}
	(void)fputc('\n', out);
	for (unsigned row = first; row <= last; row++) {
		struct picture_time top = picture_time(style, row_top_us(row));

		put_right(out, is_cut && row == last ? "beyond" : top.at, LABEL_CELLS - 1);
		for (unsigned i = 0; i < 2; i++) {
			const struct hist *h = side[i]->hist;
			uint64_t count = row_count(h, first, row);

			if (is_cut && row == last)
				count = h->count - hist_count_up_to(h, row_top_us(row - 1));
			(void)fprintf(out, " %s%s%s", colour(style, COLOUR_DIM), axis,
				colour(style, COLOUR_NONE));
			double share = (double)smaller(count, most[i]) / (double)most[i];
			unsigned used = put_bar(out, style, code[i], share, bar);

			put_marks(out, style, &side[i]->figures, first, last, row,
				bar + MARK_CELLS - used);
		}
		(void)fputc('\n', out);
	}
}

void picture_table(FILE *out, const struct picture_style *style,
	const struct picture_side *sides, unsigned count)
{
	enum { NAME = 34, CELL = 10 };
	static const char *const head[] = { "p50", "p90", "p99", "max", "a second" };

	put_blanks(out, NAME);
	for (size_t i = 0; i < ARRAY_COUNT(head); i++)
		put_right(out, head[i], CELL);
	(void)fputc('\n', out);
	put_rule(out, style, NAME + CELL * (unsigned)ARRAY_COUNT(head));
	for (unsigned i = 0; i < count; i++) {
		const struct figures *f = &sides[i].figures;
		const uint64_t us[] = { f->p50_us, f->p90_us, f->p99_us, f->max_us };
		char rate[32];

		put_left(out, sides[i].title, NAME);
		for (size_t at = 0; at < ARRAY_COUNT(us); at++) {
			struct picture_time t = picture_time(style, us[at]);

			put_right(out, t.at, CELL);
		}
		(void)snprintf(rate, sizeof rate, "%.0f", f->per_second);
		put_right(out, rate, CELL);
		(void)fputc('\n', out);
	}
}
