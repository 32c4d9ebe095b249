#include "contract/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/text.h"

enum {
	FEW_MEMBERS = 8, /* so many keys are compared each with each */
	INTEGER_DIGITS = 19,
};

/* What may stand at the present place. */
enum want {
	WANT_VALUE = 0,
	WANT_ITEM_OR_END,
	WANT_KEY,
	WANT_KEY_OR_END,
	WANT_MORE, /* after a value: a comma, an end, or nothing at the top */
};

struct reader {
	struct json_doc *doc;
	const char *at;
	const char *end;
	struct json_failure *failure;
	enum json_rules rules;
	unsigned max_depth;
	unsigned depth;
	uint32_t *open; /* the arrays and objects around the present place */
};

static enum err fail(struct reader *r, const char *at, const char *text)
{
	r->failure->at_byte = (size_t)(at - r->doc->text);
	snprintf(r->failure->text, sizeof(r->failure->text), "%s", text);
	return ERR_INPUT;
}

/* ---- tokens ---- */

static bool grow(struct json_doc *doc)
{
	uint32_t room = doc->room * 4;
	bool is_at_hand = doc->tokens == doc->at_hand;
	struct json_token *more = realloc(
		is_at_hand ? NULL : doc->tokens, room * sizeof(*more));

	if (more == NULL)
		return false;
	if (is_at_hand)
		memcpy(more, doc->at_hand, doc->count * sizeof(*more));
	doc->tokens = more;
	doc->room = room;
	return true;
}

static enum err add(struct reader *r, enum json_kind kind, const char *at, size_t size)
{
	struct json_doc *doc = r->doc;

	if (doc->count == doc->room && !grow(doc))
		return ERR_NOMEM;
	struct json_token *t = &doc->tokens[doc->count++];

	t->kind = kind;
	t->at = (uint32_t)(at - doc->text);
	t->size = (uint32_t)size;
	t->next = doc->count;
	t->has_escapes = false;
	t->has_twins = false;
	if (r->depth > 0 && kind != JSON_KEY)
		doc->tokens[r->open[r->depth - 1]].size++;
	return ERR_OK;
}

/* ---- texts ---- */

/* Four hexadecimal digits. */
static bool read_unit(const char *at, const char *end, unsigned *out)
{
	unsigned unit = 0;

	if (end - at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int digit = text_hex_value(at[i]);

		if (digit < 0)
			return false;
		unit = unit << 4 | (unsigned)digit;
	}
	*out = unit;
	return true;
}

static bool is_high(unsigned unit)
{
	return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(unsigned unit)
{
	return unit >= 0xdc00 && unit <= 0xdfff;
}

/* r->at is behind \u. */
static enum err read_unicode_escape(struct reader *r)
{
	unsigned unit;
	unsigned low;

	if (!read_unit(r->at, r->end, &unit))
		return fail(r, r->at, "\\u without four hexadecimal digits");
	if (unit == 0 && r->rules == JSON_STRICT)
		return fail(r, r->at, "\\u0000 is not allowed");
	if (is_low(unit))
		return fail(r, r->at, "half a surrogate pair");
	if (!is_high(unit)) {
		r->at += 4;
		return ERR_OK;
	}
	if (r->end - r->at < 6 || r->at[4] != '\\' || r->at[5] != 'u' ||
		!read_unit(r->at + 6, r->end, &low) || !is_low(low))
		return fail(r, r->at, "half a surrogate pair");
	r->at += 10;
	return ERR_OK;
}

static enum err read_escape(struct reader *r)
{
	r->at++;
	if (r->at == r->end)
		return fail(r, r->at, "a text does not end");
	switch (*r->at++) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return ERR_OK;
	case 'u':
		return read_unicode_escape(r);
	default:
		return fail(r, r->at - 1, "no such escape");
	}
}

/* r->at is at the quote; behind the closing one afterwards. */
static enum err read_text(struct reader *r, enum json_kind kind)
{
	const char *begin = ++r->at;
	bool has_escapes = false;

	for (;;) {
		enum err err = ERR_OK;

		if (r->at == r->end)
			return fail(r, r->at, "a text does not end");
		unsigned char c = (unsigned char)*r->at;

		if (c == '"')
			break;
		if (c < ' ')
			return fail(r, r->at, "a control character in a text");
		if (c == '\\') {
			has_escapes = true;
			err = read_escape(r);
		} else if (c < 0x80) {
			r->at++;
		} else {
			size_t len = text_utf8_character(
				(struct span){ r->at, (size_t)(r->end - r->at) });

			if (len == 0)
				return fail(r, r->at, "not UTF-8");
			r->at += len;
		}
		if (err != ERR_OK)
			return err;
	}
	enum err err = add(r, kind, begin, (size_t)(r->at - begin));

	if (err == ERR_OK)
		r->doc->tokens[r->doc->count - 1].has_escapes = has_escapes;
	r->at++;
	return err;
}

struct json_walk json_walk_begin(const struct json_doc *doc, const struct json_token *t)
{
	const char *at = doc->text + t->at;

	return (struct json_walk){ .at = at, .end = at + t->size };
}

static void spread(struct json_walk *w, unsigned code)
{
	unsigned more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
	static const unsigned char first[] = { 0, 0xc0, 0xe0, 0xf0 };

	w->wide_at = 0;
	w->wide_len = more + 1;
	for (unsigned i = more; i > 0; i--) {
		w->wide[i] = (unsigned char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	w->wide[0] = (unsigned char)(first[more] | code);
}

static void walk_unicode(struct json_walk *w)
{
	unsigned unit = 0;
	unsigned low = 0;
	bool fine = read_unit(w->at, w->end, &unit);

	w->at += 4;
	if (is_high(unit)) {
		fine = fine && read_unit(w->at + 2, w->end, &low);
		w->at += 6;
		unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
	}
	BUG_ON(!fine); /* read_text() has seen it */
	spread(w, unit);
}

static unsigned char plain_of(char escape)
{
	switch (escape) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return (unsigned char)escape; /* a quote, a backslash, a slash */
	}
}

int json_walk_byte(struct json_walk *w)
{
	if (w->wide_at < w->wide_len)
		return w->wide[w->wide_at++];
	if (w->at == w->end)
		return -1;
	if (*w->at != '\\')
		return (unsigned char)*w->at++;
	char escape = w->at[1];

	w->at += 2;
	if (escape != 'u')
		return plain_of(escape);
	walk_unicode(w);
	return w->wide[w->wide_at++];
}

/* What the bytes of UTF-8 that begin with this one say in it, and how many follow. */
static unsigned first_bits(unsigned first, unsigned *more)
{
	*more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
	return *more == 0 ? first : first & (0x3fu >> *more);
}

int json_walk_character(struct json_walk *w)
{
	unsigned more;

	if (w->at == w->end && w->wide_at == w->wide_len)
		return -1;
	unsigned code = first_bits((unsigned)json_walk_byte(w), &more);

	while (more-- > 0)
		code = code << 6 | ((unsigned)json_walk_byte(w) & 0x3f);
	return (int)code;
}

size_t json_text_length(const struct json_doc *doc, const struct json_token *t)
{
	size_t count = 0;

	if (!t->has_escapes) {
		for (uint32_t i = 0; i < t->size; i++)
			count += (doc->text[t->at + i] & 0xc0) != 0x80;
		return count;
	}
	struct json_walk walk = json_walk_begin(doc, t);

	for (int c = json_walk_byte(&walk); c != -1; c = json_walk_byte(&walk))
		count += (c & 0xc0) != 0x80;
	return count;
}

static int compare_walks(struct json_walk a, struct json_walk b)
{
	for (;;) {
		int x = json_walk_byte(&a);
		int y = json_walk_byte(&b);

		if (x != y)
			return x < y ? -1 : 1;
		if (x == -1)
			return 0;
	}
}

static int compare_texts(
	const struct json_doc *doc, const struct json_token *a, const struct json_token *b)
{
	if (a->has_escapes || b->has_escapes)
		return compare_walks(json_walk_begin(doc, a), json_walk_begin(doc, b));
	int order = memcmp(
		doc->text + a->at, doc->text + b->at, a->size < b->size ? a->size : b->size);

	if (order != 0 || a->size == b->size)
		return order;
	return a->size < b->size ? -1 : 1;
}

bool json_text_is(const struct json_doc *doc, const struct json_token *t, struct span bytes)
{
	struct json_walk walk = json_walk_begin(doc, t);

	if (!t->has_escapes)
		return span_equals(json_written(doc, t), bytes);
	for (size_t i = 0; i < bytes.len; i++)
		if (json_walk_byte(&walk) != (unsigned char)bytes.at[i])
			return false;
	return json_walk_byte(&walk) == -1;
}

bool json_texts_equal(const struct json_doc *doc_a, const struct json_token *a,
	const struct json_doc *doc_b, const struct json_token *b)
{
	if (!a->has_escapes)
		return json_text_is(doc_b, b, json_written(doc_a, a));
	if (!b->has_escapes)
		return json_text_is(doc_a, a, json_written(doc_b, b));
	return compare_walks(json_walk_begin(doc_a, a), json_walk_begin(doc_b, b)) == 0;
}

/* ---- no key twice ---- */

/* Of a few: each with each. */
static const struct json_token *find_twin_of_few(
	const struct json_doc *doc, const struct json_token *object)
{
	const struct json_token *keys[FEW_MEMBERS];
	const struct json_token *key = object + 1;

	for (uint32_t i = 0; i < object->size; i++, key = json_next_key(doc, key)) {
		for (uint32_t k = 0; k < i; k++)
			if (compare_texts(doc, keys[k], key) == 0)
				return key;
		keys[i] = key;
	}
	return NULL;
}

struct sorted {
	const struct json_doc *doc;
	const struct json_token *key;
};

static int compare_sorted(const void *a, const void *b)
{
	const struct sorted *x = a;
	const struct sorted *y = b;

	return compare_texts(x->doc, x->key, y->key);
}

/* Of many: sorted, so that no choice of keys makes it slow. */
static enum err find_twin_of_many(const struct json_doc *doc, const struct json_token *object,
	const struct json_token **out)
{
	struct sorted *all = calloc(object->size, sizeof(*all));
	const struct json_token *key = object + 1;

	if (all == NULL)
		return ERR_NOMEM;
	for (uint32_t i = 0; i < object->size; i++, key = json_next_key(doc, key))
		all[i] = (struct sorted){ doc, key };
	qsort(all, object->size, sizeof(*all), compare_sorted);
	for (uint32_t i = 1; i < object->size && *out == NULL; i++)
		if (compare_sorted(&all[i - 1], &all[i]) == 0)
			*out = all[i - 1].key > all[i].key ? all[i - 1].key : all[i].key;
	free(all);
	return ERR_OK;
}

static enum err check_keys(struct reader *r, struct json_token *object)
{
	const struct json_token *twin = NULL;
	enum err err = ERR_OK;

	if (object->size <= FEW_MEMBERS)
		twin = find_twin_of_few(r->doc, object);
	else
		err = find_twin_of_many(r->doc, object, &twin);
	if (twin != NULL && r->rules == JSON_OPEN)
		object->has_twins = true;
	else if (twin != NULL)
		return fail(r, r->doc->text + twin->at, "a key that came before in its object");
	return err;
}

/* ---- numbers and words ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void skip_digits(struct reader *r)
{
	while (r->at < r->end && is_digit(*r->at))
		r->at++;
}

static bool take(struct reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool fits_integer(const char *digits, size_t count, bool is_negative)
{
	const char *most = is_negative ? "9223372036854775808" : "9223372036854775807";

	return count < INTEGER_DIGITS ||
	       (count == INTEGER_DIGITS && memcmp(digits, most, INTEGER_DIGITS) <= 0);
}

/* The text has been checked, and strtod() knows a little more than JSON does. */
static bool is_finite(const char *begin, size_t len)
{
	char text[JSON_MAX_NUMBER_BYTES + 1];

	memcpy(text, begin, len);
	text[len] = '\0';
	return isfinite(strtod(text, NULL));
}

static enum err read_number(struct reader *r)
{
	const char *begin = r->at;
	bool is_negative = take(r, '-');
	const char *digits = r->at;
	bool has_exponent = false;

	if (!take(r, '0'))
		skip_digits(r);
	size_t count = (size_t)(r->at - digits);
	enum json_kind kind = JSON_INTEGER;

	if (count == 0)
		return fail(r, r->at, "a number has no digits");
	if (take(r, '.')) {
		const char *fraction = r->at;

		kind = JSON_REAL;
		skip_digits(r);
		if (r->at == fraction)
			return fail(r, r->at, "a number has no digits after its point");
	}
	if (take(r, 'e') || take(r, 'E')) {
		kind = JSON_REAL;
		has_exponent = true;
		if (!take(r, '+'))
			take(r, '-');
		const char *exponent = r->at;

		skip_digits(r);
		if (r->at == exponent)
			return fail(r, r->at, "a number has no digits in its exponent");
	}
	size_t len = (size_t)(r->at - begin);

	if (len > JSON_MAX_NUMBER_BYTES)
		return fail(r, begin, "a number of too many digits");
	if (r->rules == JSON_OPEN)
		return add(r, kind, begin, len);
	if (kind == JSON_INTEGER && !fits_integer(digits, count, is_negative))
		return fail(r, begin, "an integer of more than 64 bits");
	/* Without an exponent, so few digits are always finite. */
	if (has_exponent && !is_finite(begin, len))
		return fail(r, begin, "a number too large");
	return add(r, kind, begin, len);
}

static enum err read_word(struct reader *r, const char *word, enum json_kind kind)
{
	size_t len = strlen(word);
	const char *begin = r->at;

	if ((size_t)(r->end - begin) < len || memcmp(begin, word, len) != 0)
		return fail(r, begin, "no value");
	r->at += len;
	return add(r, kind, begin, len);
}

/* ---- the whole ---- */

static enum err enter(struct reader *r, enum json_kind kind)
{
	uint32_t index = r->doc->count;

	if (r->depth == r->max_depth)
		return fail(r, r->at, "nested too deep");
	enum err err = add(r, kind, r->at, 0);

	r->open[r->depth++] = index;
	r->at++;
	return err;
}

static enum err leave(struct reader *r)
{
	struct json_token *t = &r->doc->tokens[r->open[--r->depth]];

	t->next = r->doc->count;
	r->at++;
	return t->kind == JSON_OBJECT ? check_keys(r, t) : ERR_OK;
}

static enum err read_value(struct reader *r, enum want *want)
{
	*want = WANT_MORE;
	switch (*r->at) {
	case '{':
		*want = WANT_KEY_OR_END;
		return enter(r, JSON_OBJECT);
	case '[':
		*want = WANT_ITEM_OR_END;
		return enter(r, JSON_ARRAY);
	case '"':
		return read_text(r, JSON_TEXT);
	case 't':
		return read_word(r, "true", JSON_TRUE);
	case 'f':
		return read_word(r, "false", JSON_FALSE);
	case 'n':
		return read_word(r, "null", JSON_NULL);
	default:
		if (*r->at != '-' && !is_digit(*r->at))
			return fail(r, r->at, "no value");
		return read_number(r);
	}
}

static void skip_blanks(struct reader *r)
{
	while (r->at < r->end &&
		(*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static enum err read_key(struct reader *r, enum want *want)
{
	if (*r->at != '"')
		return fail(r, r->at, "no key");
	enum err err = read_text(r, JSON_KEY);

	if (err != ERR_OK)
		return err;
	skip_blanks(r);
	if (!take(r, ':'))
		return fail(r, r->at, "no colon after a key");
	*want = WANT_VALUE;
	return ERR_OK;
}

/* Behind a value. */
static enum err read_more(struct reader *r, enum want *want)
{
	if (r->depth == 0)
		return fail(r, r->at, "something stands behind the value");
	bool is_object = r->doc->tokens[r->open[r->depth - 1]].kind == JSON_OBJECT;

	if (take(r, ',')) {
		*want = is_object ? WANT_KEY : WANT_VALUE;
		return ERR_OK;
	}
	if (*r->at == (is_object ? '}' : ']'))
		return leave(r);
	return fail(r, r->at, is_object ? "neither , nor }" : "neither , nor ]");
}

static enum err read_next(struct reader *r, enum want *want)
{
	switch (*want) {
	case WANT_KEY_OR_END:
	case WANT_ITEM_OR_END:
		if (*r->at == (*want == WANT_KEY_OR_END ? '}' : ']')) {
			*want = WANT_MORE;
			return leave(r);
		}
		return *want == WANT_KEY_OR_END ? read_key(r, want) : read_value(r, want);
	case WANT_KEY:
		return read_key(r, want);
	case WANT_VALUE:
		return read_value(r, want);
	case WANT_MORE:
		return read_more(r, want);
	}
	return ERR_INPUT;
}

static enum err read_all(struct reader *r)
{
	enum want want = WANT_VALUE;
	enum err err = ERR_OK;

	while (err == ERR_OK) {
		skip_blanks(r);
		if (r->at == r->end) {
			bool is_whole = want == WANT_MORE && r->depth == 0;

			return is_whole ? ERR_OK : fail(r, r->at, "it ends too early");
		}
		err = read_next(r, &want);
	}
	return err;
}

enum err json_open(struct span text, struct json_limits limits, struct json_doc *out,
	struct json_failure *failure)
{
	const char *at = text.len == 0 ? "" : text.at;
	uint32_t open[JSON_DEEPEST]; /* not cleared: r.depth says how many are in use */
	struct reader r = {
		.doc = out,
		.at = at,
		.end = at + text.len,
		.failure = failure,
		.rules = limits.rules,
		.max_depth = limits.max_depth == 0 ? JSON_MAX_DEPTH : limits.max_depth,
		.open = open,
	};

	BUG_ON(r.max_depth > JSON_DEEPEST || limits.max_bytes > UINT32_MAX);
	failure->at_byte = 0;
	failure->text[0] = '\0';
	out->text = at;
	out->tokens = out->at_hand;
	out->count = 0;
	out->room = JSON_TOKENS_AT_HAND;
	out->decoded = NULL;
	enum err err;

	if (text.len > limits.max_bytes) {
		fail(&r, at + limits.max_bytes, "too large");
		err = ERR_FULL;
	} else if (text.len == 0) {
		err = fail(&r, at, "empty");
	} else {
		err = read_all(&r);
	}
	if (err != ERR_OK)
		json_close(out);
	return err;
}

void json_close(struct json_doc *doc)
{
	if (doc->tokens != doc->at_hand)
		free(doc->tokens);
	free(doc->decoded);
	doc->tokens = NULL;
	doc->decoded = NULL;
	doc->count = 0;
}

static const struct json_token *find_member(const struct json_doc *doc, const char *name)
{
	if (!json_top_is_object(doc))
		return NULL;
	const struct json_token *key = doc->tokens + 1;

	for (uint32_t i = 0; i < doc->tokens[0].size; i++, key = json_next_key(doc, key))
		if (json_text_is(doc, key, span_of(name)))
			return key + 1;
	return NULL;
}

/* An integer is written in one way only, but for this one. */
static struct span integer_text(const struct json_doc *doc, const struct json_token *t)
{
	struct span text = { doc->text + t->at, t->size };

	return span_is(text, "-0") ? span_after(text, 1) : text;
}

static enum err decode(struct json_doc *doc, const struct json_token *t, struct span *out)
{
	struct json_walk walk = json_walk_begin(doc, t);
	char *decoded = malloc(t->size); /* escapes are longer than what they mean */
	size_t len = 0;

	if (decoded == NULL)
		return ERR_NOMEM;
	for (int c = json_walk_byte(&walk); c != -1; c = json_walk_byte(&walk))
		decoded[len++] = (char)c;
	free(doc->decoded);
	doc->decoded = decoded;
	*out = (struct span){ decoded, len };
	return ERR_OK;
}

enum err json_string_member(struct json_doc *doc, const char *name, struct span *out)
{
	const struct json_token *t = find_member(doc, name);

	if (t == NULL)
		return ERR_NOT_FOUND;
	if (t->kind == JSON_TEXT && t->has_escapes)
		return decode(doc, t, out);
	if (t->kind == JSON_TEXT)
		*out = (struct span){ doc->text + t->at, t->size };
	else if (t->kind == JSON_INTEGER)
		*out = integer_text(doc, t);
	else
		return ERR_INPUT;
	return ERR_OK;
}

bool json_member_is(const struct json_doc *doc, const char *name, struct span text)
{
	const struct json_token *t = find_member(doc, name);

	if (t == NULL)
		return false;
	if (t->kind == JSON_INTEGER)
		return span_equals(integer_text(doc, t), text);
	return t->kind == JSON_TEXT && json_text_is(doc, t, text);
}
