#include "contract/json.h"

#include <jansson.h>
#include <stdio.h>

#include "base/bug.h"
#include "base/text.h"

static void fail_at(struct json_failure *failure, size_t at_byte, const char *text)
{
	failure->at_byte = at_byte;
	snprintf(failure->text, sizeof(failure->text), "%s", text);
}

/* jansson's own limit is 2048 levels deep on the stack: count before it runs. Where the text is
 * no JSON the count may be off, but jansson tells that. */
static bool is_too_deep(struct span text, unsigned max_depth, size_t *at_out)
{
	unsigned depth = 0;
	bool in_text = false;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];

		if (in_text) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_text = false;
			continue;
		}
		if (c == '"') {
			in_text = true;
		} else if (c == '{' || c == '[') {
			if (++depth > max_depth) {
				*at_out = i;
				return true;
			}
		} else if (c == '}' || c == ']') {
			depth -= depth > 0 ? 1 : 0;
		}
	}
	return false;
}

static enum json_top top_of(const json_t *root)
{
	switch (json_typeof(root)) {
	case JSON_OBJECT:
		return JSON_TOP_OBJECT;
	case JSON_ARRAY:
		return JSON_TOP_ARRAY;
	case JSON_STRING:
		return JSON_TOP_TEXT;
	case JSON_INTEGER:
	case JSON_REAL:
		return JSON_TOP_NUMBER;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_TOP_BOOL;
	case JSON_NULL:
		return JSON_TOP_NULL;
	}
	return JSON_TOP_NULL;
}

enum err json_open(struct span text, struct json_limits limits, struct json_doc *out,
	struct json_failure *failure)
{
	unsigned max_depth = limits.max_depth == 0 ? JSON_MAX_DEPTH : limits.max_depth;
	size_t at;
	json_error_t error;

	BUG_ON(max_depth > JSON_MAX_DEPTH);
	*out = (struct json_doc){ 0 };
	*failure = (struct json_failure){ 0 };
	if (text.len > limits.max_bytes) {
		fail_at(failure, limits.max_bytes, "too large");
		return ERR_FULL;
	}
	if (text.len == 0) {
		fail_at(failure, 0, "empty");
		return ERR_INPUT;
	}
	if (is_too_deep(text, max_depth, &at)) {
		fail_at(failure, at, "nested too deep");
		return ERR_INPUT;
	}
	json_t *root = json_loadb(
		text.at, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

	if (root == NULL) {
		if (json_error_code(&error) == json_error_out_of_memory)
			return ERR_NOMEM;
		size_t position = error.position < 0 ? 0 : (size_t)error.position;

		fail_at(failure, position < text.len ? position : text.len,
			text_show(span_of(error.text)).at);
		return ERR_INPUT;
	}
	out->root = root;
	out->top = top_of(root);
	return ERR_OK;
}

void json_close(struct json_doc *doc)
{
	json_decref(doc->root);
	*doc = (struct json_doc){ 0 };
}

enum err json_string_member(struct json_doc *doc, const char *name, struct span *out)
{
	json_t *member = json_object_get(doc->root, name); /* NULL for all but objects */

	if (member == NULL)
		return ERR_NOT_FOUND;
	if (json_is_string(member)) {
		*out = (struct span){ json_string_value(member), json_string_length(member) };
		return ERR_OK;
	}
	if (!json_is_integer(member))
		return ERR_INPUT;
	int len = snprintf(doc->number, sizeof(doc->number), "%" JSON_INTEGER_FORMAT,
		json_integer_value(member));

	*out = (struct span){ doc->number, (size_t)len };
	return ERR_OK;
}
