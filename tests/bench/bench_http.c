#include "bench_http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"

enum { READ_BYTES = 16 * 1024 };

enum err bench_http_open(
	struct bench_http *h, const char *socket_path, enum bench_http_wait wait)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	*h = (struct bench_http){ .fd = -1 };
	buf_init(&h->in, BENCH_HTTP_MAX_ANSWER + READ_BYTES);
	if (strlen(socket_path) >= sizeof at.sun_path) {
		(void)fprintf(stderr, "%s: too long for a Unix socket\n", socket_path);
		return ERR_LINK;
	}
	memcpy(at.sun_path, socket_path, strlen(socket_path));
	h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->fd < 0 || connect(h->fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
		(wait == BENCH_HTTP_POLLED && fcntl(h->fd, F_SETFL, O_NONBLOCK) != 0)) {
		(void)fprintf(stderr, "%s: %s\n", socket_path, strerror(errno));
		bench_http_close(h);
		return ERR_LINK;
	}
	return ERR_OK;
}

void bench_http_close(struct bench_http *h)
{
	if (h->fd >= 0)
		(void)close(h->fd);
	h->fd = -1;
	buf_fini(&h->in);
}

void bench_http_request(struct buf *out, const char *path, struct span body)
{
	buf_format(out,
		"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
		"Content-Length: %zu\r\n\r\n",
		path, body.len);
	buf_append(out, body);
}

enum err bench_http_send(struct bench_http *h, struct span request)
{
	buf_clear(&h->in);
	h->head_len = 0;
	h->body_len = 0;
	h->status = 0;
	/* A request is far smaller than a fresh socket buffer: it goes in one piece. */
	ssize_t count = send(h->fd, request.at, request.len, MSG_NOSIGNAL);

	return count == (ssize_t)request.len ? ERR_OK : ERR_LINK;
}

/* The value of a header line "name: value", or an empty span for another header. */
static struct span header_value(struct span line, const char *name)
{
	size_t len = strlen(name);

	if (line.len <= len || strncasecmp(line.at, name, len) != 0 || line.at[len] != ':')
		return (struct span){ 0 };
	return text_trim(span_after(line, len + 1));
}

static enum err parse_head(struct bench_http *h)
{
	struct span rest = { .at = h->in.at, .len = h->head_len - 4 };
	struct span line = text_cut(&rest, '\n');
	bool has_length = false;
	uint64_t status = 0;
	uint64_t length = 0;

	if (!span_starts(line, "HTTP/1.1 ") || line.len < 12 ||
		text_parse_u64((struct span){ .at = line.at + 9, .len = 3 }, &status) != ERR_OK)
		return ERR_PROTOCOL;
	while (rest.len != 0) {
		line = text_cut(&rest, '\n');
		if (line.len != 0 && line.at[line.len - 1] == '\r')
			line.len--;
		struct span value = header_value(line, "content-length");

		if (value.len != 0 && text_parse_u64(value, &length) == ERR_OK)
			has_length = true;
	}
	if (!has_length || length > BENCH_HTTP_MAX_ANSWER)
		return ERR_PROTOCOL;
	h->status = (int)status;
	h->body_len = (size_t)length;
	return ERR_OK;
}

static enum err look_for_end(struct bench_http *h)
{
	if (h->head_len == 0) {
		const char *end = memmem(h->in.at, h->in.len, "\r\n\r\n", 4);

		if (end == NULL)
			return ERR_BUSY;
		h->head_len = (size_t)(end - h->in.at) + 4;
		enum err err = parse_head(h);

		if (err != ERR_OK)
			return err;
	}
	if (h->in.len < h->head_len + h->body_len)
		return ERR_BUSY;
	return h->in.len == h->head_len + h->body_len ? ERR_OK : ERR_PROTOCOL;
}

enum err bench_http_take(struct bench_http *h)
{
	for (;;) {
		char *at = buf_reserve(&h->in, READ_BYTES);

		if (at == NULL)
			return ERR_PROTOCOL;
		ssize_t count = recv(h->fd, at, READ_BYTES, 0);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return ERR_BUSY;
		if (count <= 0)
			return ERR_LINK;
		buf_advance(&h->in, (size_t)count);
		enum err err = look_for_end(h);

		if (err != ERR_BUSY)
			return err;
	}
}

struct span bench_http_body(const struct bench_http *h)
{
	return (struct span){ .at = h->in.at + h->head_len, .len = h->body_len };
}
