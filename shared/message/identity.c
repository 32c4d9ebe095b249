#include "message/identity.h"

#include "base/text.h"

static const char *const realms[] = { "web", "app" };

static bool is_realm(struct span text)
{
	for (size_t i = 0; i < ARRAY_COUNT(realms); i++)
		if (span_is(text, realms[i]))
			return true;
	return false;
}

static bool is_name(struct span text)
{
	return text_is_name(text, IDENTITY_NAME_MAX_BYTES) &&
	       memchr(text.at, '.', text.len) == NULL;
}

enum err identity_parse(struct span text, struct identity *out)
{
	struct span rest = text;

	*out = (struct identity){ 0 };
	out->realm = text_cut(&rest, '.');
	out->name = text_cut(&rest, '.');
	if (!is_realm(out->realm) || !is_name(out->name) || !span_starts(rest, "g"))
		return ERR_INPUT;
	if (text_parse_u64(span_after(rest, 1), &out->generation) != ERR_OK ||
		out->generation == 0)
		return ERR_INPUT;
	return ERR_OK;
}

/* Without the text at its beginning; false when it does not begin so. */
static bool cut(struct span *rest, const char *text)
{
	if (!span_starts(*rest, text))
		return false;
	*rest = span_after(*rest, strlen(text));
	return true;
}

uint64_t identity_generation(struct span text, const char *realm, const char *name)
{
	uint64_t generation;

	if (!cut(&text, realm) || !cut(&text, ".") || !cut(&text, name) || !cut(&text, ".g"))
		return 0;
	return text_parse_u64(text, &generation) == ERR_OK ? generation : 0;
}
