#include "message/message.h"

static const char *const content_types[] = {
	[MESSAGE_JSON] = "application/json",
	[MESSAGE_PROBLEM] = "application/problem+json",
};

bool message_type_is_valid(struct span type)
{
	if (type.len == 0 || type.len > MESSAGE_TYPE_MAX_BYTES)
		return false;
	for (size_t i = 0; i < type.len; i++) {
		char c = type.at[i];
		bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
			    c == '.';

		if (!fine)
			return false;
	}
	/* No empty part: "..", ".x" and "x." would mean something to a path. */
	for (size_t i = 0; i < type.len; i++)
		if (type.at[i] == '.' && (i == 0 || i + 1 == type.len || type.at[i + 1] == '.'))
			return false;
	return true;
}

const char *message_content_type(enum message_content content)
{
	return content_types[content];
}

enum err message_content_parse(struct span text, enum message_content *out)
{
	for (size_t i = 0; i < ARRAY_COUNT(content_types); i++) {
		if (!span_is(text, content_types[i]))
			continue;
		*out = (enum message_content)i;
		return ERR_OK;
	}
	return ERR_INPUT;
}
