#include "message/message.h"

#include "base/clock.h"

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

void sender_init(struct sender *s, const char *identity)
{
	struct id dice;

	id_make(&dice, 0);
	*s = (struct sender){ .identity = identity };
	/* 62 of the 74 random bits: headers are signed 64-bit integers. */
	for (size_t i = 8; i < ID_BYTES; i++)
		s->epoch = s->epoch << 8 | dice.byte[i];
	s->epoch &= INT64_MAX;
}

void sender_stamp(struct sender *s, struct message *m)
{
	m->user_id = span_of(s->identity);
	m->epoch = s->epoch;
	m->seq = ++s->seq;
	m->sent_unix_us = clock_unix_us();
}
