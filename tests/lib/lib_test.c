/* lib_test.c - the tools of the other tests do what they say.
 *
 * The fake broker is tried with rabbitmq-c, which nobody here wrote. */
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "fakebroker.h"
#include "handler.h"
#include "http.h"
#include "must.h"
#include "pki.h"
#include "proxy.h"

static char folder[64];
static struct answer answer;

static void setup(void)
{
	must_enter_test();
	must_make_folder(folder, sizeof folder);
}

static void teardown(void)
{
	must_remove_folder(folder);
}

START_TEST(a_handler_does_what_its_rule_says)
{
	struct handler h;

	must_handler_start(&h, folder, "h");
	ck_assert(http_ask(h.socket_path, "POST", "/quote.price",
		"Sallyport-Id: abc\r\nSallyport-Attempt: 2\r\n", "{\"a\":1}", 2000, &answer));
	expect_status(&answer, 200);
	expect_body(&answer, "{\"a\":1}");
	handler_set_rule(
		&h, &(struct handler_rule){
			    .op = "a.b", .act = HANDLER_ANSWER, .status = 503, .body = "no" });
	ck_assert(http_ask(h.socket_path, "POST", "/a.b", NULL, "{}", 2000, &answer));
	expect_status(&answer, 503);
	handler_set_rule(&h, &(struct handler_rule){ .op = "a.b", .act = HANDLER_CLOSE });
	ck_assert(!http_ask(h.socket_path, "POST", "/a.b", NULL, "{}", 2000, &answer));
	handler_set_rule(&h, &(struct handler_rule){
				     .op = "a.b", .act = HANDLER_HUGE, .huge_bytes = 100000 });
	ck_assert(http_ask(h.socket_path, "POST", "/a.b", NULL, "{}", 2000, &answer));
	ck_assert_uint_eq(answer.body_len, 100000);

	struct handler_request request;

	must_handler_request(&h, 0, &request);
	ck_assert_str_eq(request.op, "quote.price");
	ck_assert_str_eq(request.id, "abc");
	ck_assert_int_eq(request.attempt, 2);
	ck_assert_int_eq(request.deadline_ms, -1);
	ck_assert_uint_eq(handler_count(&h), 4);
	ck_assert_uint_eq(handler_distinct_ids(&h, "quote.price"), 1);
	handler_stop(&h);
}
END_TEST

START_TEST(a_held_request_is_answered_when_it_is_released)
{
	static const char request[] = "POST /a.b HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
	struct handler h;

	must_handler_start(&h, folder, "h");
	handler_set_rule(
		&h, &(struct handler_rule){ .act = HANDLER_HOLD, .body = "{\"late\":true}" });
	int fd = must_http_connect(h.socket_path);

	ck_assert(http_write(fd, request, sizeof request - 1));
	must_handler_hold(&h, 1, 2000);
	ck_assert(!http_read_answer(fd, 20, &answer));
	handler_release(&h, 1);
	ck_assert(http_read_answer(fd, 2000, &answer));
	expect_body(&answer, "{\"late\":true}");
	(void)close(fd);
	handler_stop(&h);
}
END_TEST

static int must_dial(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

static void echo_script(struct fake *f, void *arg)
{
	char byte;

	(void)arg;
	while (recv(f->fd, &byte, 1, 0) == 1 && fake_send(f, &byte, 1))
		;
}

/* Microseconds until `text` has come back. */
static uint64_t round_trip_us(int fd, const char *text)
{
	uint64_t start_us = clock_mono_us();
	size_t len = strlen(text);
	char back[64];
	size_t got = 0;

	ck_assert(http_write(fd, text, len));
	while (got < len) {
		ck_assert(must_wait_readable(fd, deadline_in_ms(5000)));
		ssize_t count = recv(fd, back + got, sizeof back - got, 0);

		ck_assert_int_gt(count, 0);
		got += (size_t)count;
	}
	ck_assert_mem_eq(back, text, len);
	return clock_mono_us() - start_us;
}

START_TEST(a_proxy_passes_delays_trickles_swallows_cuts_and_resets)
{
	struct fakebroker b;
	struct proxy p;

	must_fakebroker_start(&b, echo_script, NULL, NULL, NULL, NULL);
	must_proxy_start(&p, b.port);
	int fd = must_dial(p.port);

	must_proxy_accept(&p, 1, 2000);
	(void)round_trip_us(fd, "hello");
	proxy_delay(&p, 30);
	ck_assert_uint_ge(round_trip_us(fd, "hello"), 60000);
	proxy_trickle(&p, 1);
	ck_assert_uint_ge(round_trip_us(fd, "twenty bytes or more"), 19000);
	proxy_swallow(&p);
	ck_assert(http_write(fd, "lost?", 5));
	ck_assert(!must_wait_readable(fd, deadline_in_ms(50)));
	proxy_pass(&p);
	ck_assert(must_wait_readable(fd, deadline_in_ms(2000)));
	proxy_cut(&p);
	ck_assert(http_is_closed(fd, 2000));
	(void)close(fd);
	fd = must_dial(p.port);
	(void)round_trip_us(fd, "again");
	proxy_reset(&p);
	ck_assert(http_is_closed(fd, 2000));
	(void)close(fd);
	proxy_refuse(&p);
	fd = must_dial(p.port);
	ck_assert(http_is_closed(fd, 2000));
	(void)close(fd);
	proxy_stop(&p);
	must_fakebroker_stop(&b);
}
END_TEST

static void serving_script(struct fake *f, void *arg)
{
	const size_t *chunk_bytes = arg;

	f->chunk_bytes = *chunk_bytes;
	(void)fake_serve(f);
}

/* Logs in, publishes once with confirm, says good-bye. */
static void talk_to(amqp_connection_state_t conn)
{
	amqp_frame_t frame;

	amqp_rpc_reply_t reply = amqp_login(
		conn, "v", 1, 8192, 0, AMQP_SASL_METHOD_EXTERNAL, "test");

	ck_assert_int_eq(reply.reply_type, AMQP_RESPONSE_NORMAL);
	ck_assert_ptr_nonnull(amqp_channel_open(conn, 1));
	ck_assert_ptr_nonnull(amqp_confirm_select(conn, 1));
	ck_assert_ptr_nonnull(amqp_basic_qos(conn, 1, 0, 10, 0));
	ck_assert_ptr_nonnull(amqp_basic_consume(conn, 1, amqp_cstring_bytes("q"),
		amqp_cstring_bytes("tag"), 0, 0, 0, amqp_empty_table));
	ck_assert_int_eq(
		amqp_basic_publish(conn, 1, amqp_cstring_bytes("x"), amqp_cstring_bytes("k"), 0,
			0, NULL, amqp_cstring_bytes("body")),
		0);
	ck_assert_int_eq(amqp_simple_wait_frame(conn, &frame), 0);
	ck_assert_uint_eq(frame.payload.method.id, AMQP_BASIC_ACK_METHOD);
	reply = amqp_connection_close(conn, 200);
	ck_assert_int_eq(reply.reply_type, AMQP_RESPONSE_NORMAL);
	(void)amqp_destroy_connection(conn);
}

START_TEST(a_polite_fake_broker_satisfies_another_client)
{
	size_t chunk_bytes = _i == 0 ? 0 : 1;
	struct fakebroker b;

	must_fakebroker_start(&b, serving_script, &chunk_bytes, NULL, NULL, NULL);
	amqp_connection_state_t conn = amqp_new_connection();
	amqp_socket_t *socket = amqp_tcp_socket_new(conn);

	ck_assert_int_eq(amqp_socket_open(socket, "127.0.0.1", b.port), 0);
	talk_to(conn);
	must_fakebroker_reach(&b, FAKE_READY, 1, 1000);
	must_fakebroker_stop(&b);
}
END_TEST

START_TEST(and_over_mutual_tls_with_certificates_made_on_the_spot)
{
	size_t chunk_bytes = 0;
	struct fakebroker b;
	char path[4][128];
	static const char *const name[4] = { "ca.pem", "broker.pem", "broker.key", "me.pem" };
	char key[128];

	for (unsigned i = 0; i < 4; i++)
		must_format(path[i], sizeof path[i], "%s/%s", folder, name[i]);
	must_format(key, sizeof key, "%s/me.key", folder);
	struct pki_authority *a = must_pki_authority(folder, "ca");

	must_pki_issue(a, folder, "broker", PKI_SERVER);
	must_pki_issue(a, folder, "me", PKI_CLIENT);
	pki_authority_free(a);
	must_fakebroker_start(&b, serving_script, &chunk_bytes, path[0], path[1], path[2]);
	amqp_connection_state_t conn = amqp_new_connection();
	amqp_socket_t *socket = amqp_ssl_socket_new(conn);

	ck_assert_int_eq(amqp_ssl_socket_set_cacert(socket, path[0]), 0);
	ck_assert_int_eq(amqp_ssl_socket_set_key(socket, path[3], key), 0);
	amqp_ssl_socket_set_verify_hostname(socket, 1);
	ck_assert_int_eq(amqp_socket_open(socket, "localhost", b.port), 0);
	talk_to(conn);
	must_fakebroker_stop(&b);
}
END_TEST

static void attacking_script(struct fake *f, void *arg)
{
	const struct fake_attack *attack = arg;
	struct buf bytes;

	buf_init(&bytes, 4 * 1024 * 1024);
	if (fake_polite(f, FAKE_GREETED) && attack->put != NULL) {
		attack->put(&bytes);
		(void)fake_send_buf(f, &bytes);
	}
	buf_fini(&bytes);
}

START_TEST(every_attack_is_more_than_nothing)
{
	const struct fake_attack *attack = &fake_attacks[_i];
	struct fakebroker b;
	char byte;

	if (attack->put == NULL)
		return;
	must_fakebroker_start(
		&b, attacking_script, (void *)(uintptr_t)attack, NULL, NULL, NULL);
	int fd = must_dial(b.port);

	ck_assert(http_write(fd, "AMQP\x00\x00\x09\x01", 8));
	ck_assert(must_wait_readable(fd, deadline_in_ms(2000)));
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
	(void)close(fd);
	must_fakebroker_stop(&b);
}
END_TEST

START_TEST(what_a_command_prints_and_returns_is_told)
{
	static struct command_result result;
	const char *argv[] = { "/bin/sh", "-c", "echo out; echo err >&2; exit 3", NULL };

	must_run(argv, 5000, &result);
	ck_assert_int_eq(result.exit_code, 3);
	ck_assert_str_eq(result.out, "out\n");
	ck_assert_str_eq(result.err, "err\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lib");
	TCase *t = tcase_create("tools");
	int attacks = 0;

	while (fake_attacks[attacks].name != NULL)
		attacks++;
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, a_handler_does_what_its_rule_says);
	tcase_add_test(t, a_held_request_is_answered_when_it_is_released);
	tcase_add_test(t, a_proxy_passes_delays_trickles_swallows_cuts_and_resets);
	tcase_add_loop_test(t, a_polite_fake_broker_satisfies_another_client, 0, 2);
	tcase_add_test(t, and_over_mutual_tls_with_certificates_made_on_the_spot);
	tcase_add_loop_test(t, every_attack_is_more_than_nothing, 0, attacks);
	tcase_add_test(t, what_a_command_prints_and_returns_is_told);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
