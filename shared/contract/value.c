#include "contract/value.h"

#include "contract/number.h"

enum { BYTES_A_STEP = 16 };

static const struct json_token *token_of(struct value v)
{
	return &v.doc->tokens[v.at];
}

static bool is_number(const struct json_token *t)
{
	return t->kind == JSON_INTEGER || t->kind == JSON_REAL;
}

static bool numbers_equal(struct value a, struct value b)
{
	struct number x = number_read(json_written(a.doc, token_of(a)));
	struct number y = number_read(json_written(b.doc, token_of(b)));

	return number_compare(&x, &y) == 0;
}

static bool arrays_equal(struct value a, struct value b, struct budget *budget)
{
	uint32_t count = token_of(a)->size;

	if (count != token_of(b)->size)
		return false;
	a.at++;
	b.at++;
	for (uint32_t i = 0; i < count; i++) {
		if (!value_equals(a, b, budget))
			return false;
		a.at = token_of(a)->next;
		b.at = token_of(b)->next;
	}
	return true;
}

/* Is this member of a one of b's? The place where it stands in a is tried first. */
static bool has_member(struct value b, const struct json_token *guess,
	const struct json_doc *doc_a, const struct json_token *key, struct budget *budget)
{
	const struct json_token *object = token_of(b);
	struct value value_a = { doc_a, (uint32_t)(key + 1 - doc_a->tokens) };
	const struct json_token *at = guess;

	for (uint32_t i = 0; i <= object->size; i++) {
		if (!budget_take(budget, 1))
			return false;
		if (json_texts_equal(doc_a, key, b.doc, at)) {
			struct value value_b = { b.doc, (uint32_t)(at + 1 - b.doc->tokens) };

			return value_equals(value_a, value_b, budget);
		}
		if (i < object->size)
			at = i == 0 ? object + 1 : json_next_key(b.doc, at);
	}
	return false;
}

static bool objects_equal(struct value a, struct value b, struct budget *budget)
{
	uint32_t count = token_of(a)->size;

	if (count != token_of(b)->size)
		return false;
	const struct json_token *key_a = token_of(a) + 1;
	const struct json_token *key_b = token_of(b) + 1;

	for (uint32_t i = 0; i < count; i++) {
		if (!has_member(b, key_b, a.doc, key_a, budget))
			return false;
		if (i + 1 == count)
			break;
		key_a = json_next_key(a.doc, key_a);
		key_b = json_next_key(b.doc, key_b);
	}
	return true;
}

bool value_equals(struct value a, struct value b, struct budget *budget)
{
	const struct json_token *x = token_of(a);
	const struct json_token *y = token_of(b);

	if (!budget_take(budget, 1 + x->size / BYTES_A_STEP))
		return false;
	if (is_number(x) && is_number(y))
		return numbers_equal(a, b);
	if (x->kind != y->kind)
		return false;
	switch (x->kind) {
	case JSON_TEXT:
		return json_texts_equal(a.doc, x, b.doc, y);
	case JSON_ARRAY:
		return arrays_equal(a, b, budget);
	case JSON_OBJECT:
		return objects_equal(a, b, budget);
	case JSON_NULL:
	case JSON_FALSE:
	case JSON_TRUE:
	case JSON_INTEGER:
	case JSON_REAL:
	case JSON_KEY:
		return true;
	}
	return false;
}

static uint64_t mix(uint64_t hash)
{
	hash ^= hash >> 31;
	hash *= 0x9e3779b97f4a7c15u;
	hash ^= hash >> 29;
	hash *= 0xbf58476d1ce4e5b9u;
	return hash ^ hash >> 32;
}

static uint64_t text_hash(const struct json_doc *doc, const struct json_token *t)
{
	uint64_t hash = 0xcbf29ce484222325u;

	if (!t->has_escapes) {
		for (uint32_t i = 0; i < t->size; i++)
			hash = (hash ^ (unsigned char)doc->text[t->at + i]) * 0x100000001b3u;
		return hash;
	}
	struct json_walk walk = json_walk_begin(doc, t);

	for (int c = json_walk_byte(&walk); c != -1; c = json_walk_byte(&walk))
		hash = (hash ^ (unsigned)c) * 0x100000001b3u;
	return hash;
}

static uint64_t array_hash(struct value v, struct budget *budget)
{
	uint32_t count = token_of(v)->size;
	uint64_t hash = count;

	v.at++;
	for (uint32_t i = 0; i < count && !budget->is_spent; i++) {
		hash = mix(hash * 3 + value_hash(v, budget));
		v.at = token_of(v)->next;
	}
	return hash;
}

/* A sum: the order of the members does not matter. */
static uint64_t object_hash(struct value v, struct budget *budget)
{
	uint32_t count = token_of(v)->size;
	const struct json_token *key = token_of(v) + 1;
	uint64_t hash = count;

	for (uint32_t i = 0; i < count && !budget->is_spent; i++) {
		struct value member = { v.doc, (uint32_t)(key + 1 - v.doc->tokens) };

		hash += mix(text_hash(v.doc, key) * 5 + value_hash(member, budget));
		if (i + 1 < count)
			key = json_next_key(v.doc, key);
	}
	return hash;
}

uint64_t value_hash(struct value v, struct budget *budget)
{
	const struct json_token *t = token_of(v);
	struct number n;

	if (!budget_take(budget, 1 + t->size / BYTES_A_STEP))
		return 0;
	switch (t->kind) {
	case JSON_NULL:
	case JSON_FALSE:
	case JSON_TRUE:
		return mix(t->kind + 1u);
	case JSON_INTEGER:
	case JSON_REAL:
		n = number_read(json_written(v.doc, t));
		return mix(number_hash(&n) ^ 0x6e);
	case JSON_TEXT:
		return mix(text_hash(v.doc, t) ^ 0x74);
	case JSON_ARRAY:
		return mix(array_hash(v, budget) ^ 0x61);
	case JSON_OBJECT:
		return mix(object_hash(v, budget) ^ 0x6f);
	case JSON_KEY:
		break;
	}
	return 0;
}
