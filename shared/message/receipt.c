#include "message/receipt.h"

#include "base/bug.h"
#include "base/json_writer.h"
#include "base/text.h"

/* {"v":1,"epoch":"00c0ffee00c0ffee","turns":[1,20],"rows":[1,9007199254740991],
 *  "runs":[[1,17,"done"],[19,20,"held"]]}                 in one line, without a blank */

enum { EPOCH_DIGITS = 16 };

#define STATE_TEXT(code, fate, text) [code] = (text),
static const char *const texts[RECEIPT_STATES] = { RECEIPT_MAP(STATE_TEXT) };
#undef STATE_TEXT

#define STATE_FATE(code, fate, text) [code] = RECEIPT_##fate,
static const enum receipt_fate fates[RECEIPT_STATES] = { RECEIPT_MAP(STATE_FATE) };
#undef STATE_FATE

const char *receipt_state_text(enum receipt_state state)
{
	BUG_ON((unsigned)state >= RECEIPT_STATES);
	return texts[state];
}

enum receipt_fate receipt_state_fate(enum receipt_state state)
{
	BUG_ON((unsigned)state >= RECEIPT_STATES);
	return fates[state];
}

bool receipt_is_sound(const struct receipt *r)
{
	uint64_t next = r->seq_from;

	if (r->count > RECEIPT_MAX_RUNS || r->turn_from > r->turn_through ||
		r->turn_through > RECEIPT_MAX_NUMBER ||
		(r->turn_from == 0) != (r->turn_through == 0))
		return false;
	if (r->seq_from == 0 || r->seq_from > r->seq_through ||
		r->seq_through > RECEIPT_MAX_NUMBER)
		return false;
	for (size_t i = 0; i < r->count; i++) {
		const struct receipt_run *run = &r->runs[i];

		if (run->first < next || run->last < run->first || run->last > r->seq_through ||
			(unsigned)run->state >= RECEIPT_STATES)
			return false;
		next = run->last + 1;
	}
	return true;
}

/* ---- out ---- */

static void write_pair(struct json_writer *w, const char *key, uint64_t from, uint64_t through)
{
	json_write_key(w, key);
	json_write_array(w);
	json_write_u64(w, from);
	json_write_u64(w, through);
	json_write_array_end(w);
}

static void write_run(struct json_writer *w, const struct receipt_run *run)
{
	json_write_array(w);
	json_write_u64(w, run->first);
	json_write_u64(w, run->last);
	json_write_text(w, span_of(receipt_state_text(run->state)));
	json_write_array_end(w);
}

/* As text: no reader keeps 64 bits of a number for sure. */
static void write_epoch(struct json_writer *w, uint64_t epoch)
{
	char text[EPOCH_DIGITS];

	for (size_t i = 0; i < EPOCH_DIGITS; i++)
		text[i] = "0123456789abcdef"[epoch >> (60 - 4 * i) & 15];
	json_write_span_member(w, "epoch", (struct span){ text, sizeof(text) });
}

enum err receipt_encode(const struct receipt *r, struct buf *out)
{
	struct json_writer w;

	BUG_ON(!receipt_is_sound(r));
	json_write_init(&w, out);
	json_write_object(&w);
	json_write_u64_member(&w, "v", RECEIPT_VERSION);
	write_epoch(&w, r->epoch);
	write_pair(&w, "turns", r->turn_from, r->turn_through);
	write_pair(&w, "rows", r->seq_from, r->seq_through);
	json_write_key(&w, "runs");
	json_write_array(&w);
	for (size_t i = 0; i < r->count; i++)
		write_run(&w, &r->runs[i]);
	json_write_array_end(&w);
	json_write_object_end(&w);
	return buf_status(out);
}

/* ---- in: a sticky cursor, asked once at the end ---- */

struct cursor {
	struct span left;
	bool bad;
};

static void eat(struct cursor *c, const char *text)
{
	if (c->bad || !span_starts(c->left, text)) {
		c->bad = true;
		return;
	}
	c->left = span_after(c->left, strlen(text));
}

static bool is_next(const struct cursor *c, char wanted)
{
	return !c->bad && c->left.len > 0 && c->left.at[0] == wanted;
}

static uint64_t read_number(struct cursor *c)
{
	struct span digits = { c->left.at, 0 };
	uint64_t value = 0;

	while (digits.len < c->left.len && c->left.at[digits.len] >= '0' &&
		c->left.at[digits.len] <= '9')
		digits.len++;
	if (c->bad || text_parse_u64(digits, &value) != ERR_OK || value > RECEIPT_MAX_NUMBER) {
		c->bad = true;
		return 0;
	}
	c->left = span_after(c->left, digits.len);
	return value;
}

static uint64_t read_epoch(struct cursor *c)
{
	uint64_t epoch = 0;

	if (c->bad || c->left.len < EPOCH_DIGITS) {
		c->bad = true;
		return 0;
	}
	for (size_t i = 0; i < EPOCH_DIGITS; i++) {
		char digit = c->left.at[i];

		if (text_hex_value(digit) < 0 || (digit >= 'A' && digit <= 'F'))
			c->bad = true;
		epoch = epoch << 4 | (uint64_t)(text_hex_value(digit) & 15);
	}
	c->left = span_after(c->left, EPOCH_DIGITS);
	return epoch;
}

static enum receipt_state read_state(struct cursor *c)
{
	struct span rest = c->left;
	struct span word = text_cut(&rest, '"');

	for (unsigned i = 0; !c->bad && rest.at != NULL && i < RECEIPT_STATES; i++) {
		if (!span_is(word, texts[i]))
			continue;
		c->left = rest;
		return (enum receipt_state)i;
	}
	c->bad = true;
	return RECEIPT_HELD;
}

static void read_run(struct cursor *c, struct receipt_run *run)
{
	eat(c, "[");
	run->first = read_number(c);
	eat(c, ",");
	run->last = read_number(c);
	eat(c, ",\"");
	run->state = read_state(c);
	eat(c, "]");
}

enum err receipt_parse(struct span json, struct receipt *out)
{
	struct cursor c = { .left = json };

	out->count = 0;
	eat(&c, "{\"v\":1,\"epoch\":\"");
	out->epoch = read_epoch(&c);
	eat(&c, "\",\"turns\":[");
	out->turn_from = read_number(&c);
	eat(&c, ",");
	out->turn_through = read_number(&c);
	eat(&c, "],\"rows\":[");
	out->seq_from = read_number(&c);
	eat(&c, ",");
	out->seq_through = read_number(&c);
	eat(&c, "],\"runs\":[");
	while (is_next(&c, '[') && out->count < RECEIPT_MAX_RUNS) {
		read_run(&c, &out->runs[out->count++]);
		if (!is_next(&c, ','))
			break;
		eat(&c, ",");
		if (!is_next(&c, '['))
			c.bad = true;
	}
	eat(&c, "]}");
	if (c.bad || c.left.len != 0 || !receipt_is_sound(out))
		return ERR_INPUT;
	return ERR_OK;
}
