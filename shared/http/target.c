#include "http/target.h"

#include <stdint.h>
#include <stdio.h>

#include "base/text.h"

#define UNIX_SCHEME "http+unix://"
#define TCP_SCHEME "http://"

static enum err no(const char **why, const char *sentence)
{
	*why = sentence;
	return ERR_INPUT;
}

static bool is_printable(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.at[i] <= 0x20 || (unsigned char)text.at[i] >= 0x7f)
			return false;
	return true;
}

bool http_target_path_is_fine(struct span text)
{
	return text.len > 0 && text.at[0] == '/' && is_printable(text) &&
	       memchr(text.at, '#', text.len) == NULL;
}

static enum err parse_unix(struct span path, struct http_target *out, const char **why)
{
	if (path.len == 0 || path.at[0] != '/')
		return no(why,
			"the socket's path must be absolute: http+unix:///run/handlers.sock");
	if (path.at[path.len - 1] == '/')
		return no(why,
			"the socket's path names a folder: http+unix:///run/handlers.sock");
	if (path.len >= sizeof(out->place.socket_path))
		return no(why, "the path of a Unix socket has at most 107 bytes");
	if (memchr(path.at, '\0', path.len) != NULL)
		return no(why, "the socket's path holds a NUL");
	memcpy(out->place.socket_path, path.at, path.len);
	out->place.socket_path[path.len] = '\0';
	out->place.kind = HTTP_TARGET_UNIX;
	snprintf(out->host, sizeof(out->host), "localhost");
	return ERR_OK;
}

static const char *const hosts[] = {
	[HTTP_TARGET_UNIX] = "",
	[HTTP_TARGET_IPV4] = "127.0.0.1",
	[HTTP_TARGET_IPV6] = "[::1]",
	[HTTP_TARGET_LOCALHOST] = "localhost",
};

static const char not_here[] =
	"handlers answer on this machine only: http+unix:///path, http://127.0.0.1:PORT, "
	"http://[::1]:PORT or http://localhost:PORT";

static enum err parse_tcp(struct span rest, struct http_target *out, const char **why)
{
	const char *slash = rest.len == 0 ? NULL : memchr(rest.at, '/', rest.len);
	struct span authority = rest;
	struct span port;
	uint64_t number;

	if (slash != NULL)
		authority.len = (size_t)(slash - rest.at);
	struct span base = span_after(rest, authority.len);
	size_t i = HTTP_TARGET_IPV4;

	while (i < ARRAY_COUNT(hosts) && !span_starts(authority, hosts[i]))
		i++;
	if (i == ARRAY_COUNT(hosts))
		return no(why, not_here);
	port = span_after(authority, strlen(hosts[i]));
	if (port.len > 0 && port.at[0] != ':')
		return no(why, not_here);
	if (port.len < 2 || port.at[0] != ':')
		return no(why, "the port is missing: http://127.0.0.1:8080");
	if (text_parse_u64(span_after(port, 1), &number) != ERR_OK || number == 0 ||
		number > UINT16_MAX)
		return no(why, "the port must be a number from 1 to 65535");
	while (base.len > 0 && base.at[base.len - 1] == '/')
		base.len--;
	if (base.len > 0 &&
		(!http_target_path_is_fine(base) || memchr(base.at, '?', base.len) != NULL))
		return no(why, "the base path may hold neither blanks nor ? nor #");
	if (base.len >= sizeof(out->base))
		return no(why, "the base path is too long");
	snprintf(out->base, sizeof(out->base), "%.*s", SPAN_ARG(base));
	snprintf(out->host, sizeof(out->host), "%s:%u", hosts[i], (unsigned)number);
	out->place.kind = (enum http_target_kind)i;
	out->place.port = (uint16_t)number;
	return ERR_OK;
}

enum err http_target_parse(struct span text, struct http_target *out, const char **why)
{
	*out = (struct http_target){ .place = { .port = 0 } };
	if (span_starts(text, UNIX_SCHEME))
		return parse_unix(span_after(text, strlen(UNIX_SCHEME)), out, why);
	if (span_starts(text, TCP_SCHEME))
		return parse_tcp(span_after(text, strlen(TCP_SCHEME)), out, why);
	return no(why, "it must begin with http+unix:// or http://");
}

bool http_place_equals(const struct http_place *a, const struct http_place *b)
{
	return a->kind == b->kind && a->port == b->port &&
	       strcmp(a->socket_path, b->socket_path) == 0;
}

struct http_place_text http_place_format(const struct http_place *place)
{
	struct http_place_text text;

	if (place->kind == HTTP_TARGET_UNIX)
		snprintf(text.at, sizeof(text.at), "%s", place->socket_path);
	else
		snprintf(text.at, sizeof(text.at), "%s:%u", hosts[place->kind],
			(unsigned)place->port);
	return text;
}
