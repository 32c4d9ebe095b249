#include "bench_amqp.h"

#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>

enum { CHANNEL = 1, FRAME_MAX = 8192, DIAL_S = 10 };

static enum err fail(
	const struct bench_link *l, enum err err, const char *what, const char *why)
{
	(void)fprintf(stderr, "%s: %s: %s\n", l->who, what, why);
	return err;
}

static enum err check_status(const struct bench_link *l, const char *what, int status)
{
	if (status == AMQP_STATUS_OK)
		return ERR_OK;
	return fail(l, ERR_LINK, what, amqp_error_string2(status));
}

static enum err check_reply(
	const struct bench_link *l, const char *what, amqp_rpc_reply_t reply)
{
	switch (reply.reply_type) {
	case AMQP_RESPONSE_NORMAL:
		return ERR_OK;
	case AMQP_RESPONSE_NONE:
		return fail(l, ERR_LINK, what, "no answer");
	case AMQP_RESPONSE_LIBRARY_EXCEPTION:
		return fail(l, ERR_LINK, what, amqp_error_string2(reply.library_error));
	case AMQP_RESPONSE_SERVER_EXCEPTION:
		break;
	}
	char text[300];
	amqp_bytes_t said = amqp_empty_bytes;

	if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
		said = ((amqp_channel_close_t *)reply.reply.decoded)->reply_text;
	else if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
		said = ((amqp_connection_close_t *)reply.reply.decoded)->reply_text;
	(void)snprintf(text, sizeof text, "the broker says: %.*s", (int)said.len,
		said.len == 0 ? "" : (const char *)said.bytes);
	return fail(l, ERR_REFUSED, what, text);
}

enum err bench_link_open(struct bench_link *l, const char *who,
	const struct bench_broker *broker, const struct bench_identity *identity)
{
	struct timeval patience = { .tv_sec = DIAL_S };
	enum err err = ERR_LINK;
	int on = 1;

	*l = (struct bench_link){ .conn = amqp_new_connection(), .who = who };
	amqp_socket_t *socket = l->conn == NULL ? NULL : amqp_ssl_socket_new(l->conn);

	if (socket == NULL) {
		err = fail(l, ERR_NOMEM, "open", err_text(ERR_NOMEM));
		goto failed;
	}
	SSL_CTX *tls = amqp_ssl_socket_get_context(socket);

	SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
	/* The name is not checked: 0.11 does not know addresses in certificates, and the chain
	 * costs the same without. */
	amqp_ssl_socket_set_verify_hostname(socket, 0);
	amqp_ssl_socket_set_verify_peer(socket, 1);
	if (check_status(l, broker->ca, amqp_ssl_socket_set_cacert(socket, broker->ca)) !=
		ERR_OK)
		goto failed;
	if (check_status(l, identity->certificate,
		    amqp_ssl_socket_set_key(socket, identity->certificate, identity->key)) !=
		ERR_OK)
		goto failed;
	if (check_status(l, "dial",
		    amqp_socket_open_noblock(socket, broker->host, broker->port, &patience)) !=
		ERR_OK)
		goto failed;
	(void)setsockopt(
		amqp_get_sockfd(l->conn), IPPROTO_TCP, TCP_NODELAY, &on, (socklen_t)sizeof on);
	/* Without heartbeats: a link may be idle while the other side of the comparison runs.
	 * The identity says nothing to the broker, but 0.11 cannot send an empty one. */
	err = check_reply(l, "login",
		amqp_login(l->conn, broker->vhost, CHANNEL, FRAME_MAX, 0,
			AMQP_SASL_METHOD_EXTERNAL, "certificate"));
	if (err != ERR_OK)
		goto failed;
	(void)amqp_channel_open(l->conn, CHANNEL);
	err = check_reply(l, "open a channel", amqp_get_rpc_reply(l->conn));
	if (err == ERR_OK)
		return ERR_OK;
failed:
	bench_link_close(l);
	return err;
}

void bench_link_close(struct bench_link *l)
{
	if (l->conn == NULL)
		return;
	(void)amqp_connection_close(l->conn, AMQP_REPLY_SUCCESS);
	(void)amqp_destroy_connection(l->conn);
	l->conn = NULL;
}

enum err bench_link_consume(struct bench_link *l, const char *queue, uint16_t prefetch)
{
	(void)amqp_basic_qos(l->conn, CHANNEL, 0, prefetch, 0);
	enum err err = check_reply(l, "basic.qos", amqp_get_rpc_reply(l->conn));

	if (err != ERR_OK)
		return err;
	(void)amqp_basic_consume(l->conn, CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes,
		0, 0, 0, amqp_empty_table);
	return check_reply(l, queue, amqp_get_rpc_reply(l->conn));
}

enum err bench_link_confirm(struct bench_link *l)
{
	(void)amqp_confirm_select(l->conn, CHANNEL);
	return check_reply(l, "confirm.select", amqp_get_rpc_reply(l->conn));
}

enum err bench_link_publish(struct bench_link *l, const char *exchange, const char *key,
	amqp_bytes_t correlation_id, enum bench_life life, amqp_bytes_t body)
{
	amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
			  AMQP_BASIC_CORRELATION_ID_FLAG,
		.content_type = amqp_cstring_bytes("application/json"),
		.delivery_mode = (uint8_t)life,
		.correlation_id = correlation_id,
	};

	return check_status(l, "basic.publish",
		amqp_basic_publish(l->conn, CHANNEL, amqp_cstring_bytes(exchange),
			amqp_cstring_bytes(key), 0, 0, &properties, body));
}

static struct timeval timeval_of_ms(uint64_t ms)
{
	return (struct timeval){
		.tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000) * 1000,
	};
}

enum err bench_link_take(struct bench_link *l, uint64_t timeout_ms, amqp_envelope_t *out)
{
	struct timeval left = timeval_of_ms(timeout_ms);

	amqp_maybe_release_buffers(l->conn);
	amqp_rpc_reply_t reply = amqp_consume_message(l->conn, out, &left, 0);

	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
		reply.library_error == AMQP_STATUS_TIMEOUT)
		return ERR_TIMEOUT;
	return check_reply(l, "wait for a delivery", reply);
}

enum err bench_link_ack(struct bench_link *l, uint64_t delivery_tag, enum bench_ack ack)
{
	return check_status(l, "basic.ack",
		amqp_basic_ack(l->conn, CHANNEL, delivery_tag, ack == BENCH_ACK_UP_TO));
}

enum err bench_link_wait_confirm(
	struct bench_link *l, uint64_t timeout_ms, struct bench_confirm *out)
{
	struct timeval left = timeval_of_ms(timeout_ms);
	amqp_frame_t frame;

	amqp_maybe_release_buffers(l->conn);
	enum err err = check_status(l, "wait for a confirm",
		amqp_simple_wait_frame_noblock(l->conn, &frame, &left));

	if (err != ERR_OK)
		return err;
	if (frame.frame_type != AMQP_FRAME_METHOD)
		return fail(l, ERR_PROTOCOL, "wait for a confirm", "not a method");
	if (frame.payload.method.id == AMQP_BASIC_ACK_METHOD) {
		amqp_basic_ack_t *ack = frame.payload.method.decoded;

		*out = (struct bench_confirm){
			.delivery_tag = ack->delivery_tag,
			.ack = ack->multiple ? BENCH_ACK_UP_TO : BENCH_ACK_ONE,
		};
		return ERR_OK;
	}
	if (frame.payload.method.id == AMQP_BASIC_NACK_METHOD)
		return fail(l, ERR_REFUSED, "wait for a confirm", "the broker refused it");
	return fail(l, ERR_PROTOCOL, "wait for a confirm",
		amqp_method_name(frame.payload.method.id));
}
