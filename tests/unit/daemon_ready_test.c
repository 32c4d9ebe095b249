/* Readiness through a pipe and through the service manager's socket. */
#include "daemon/ready.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "unit/unit.h"

static struct ready ready;
static char folder[] = "/tmp/sallyport-ready-XXXXXX";
static char path[200];
static int manager = -1;

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/notify", folder);
	log_open("test", LOG_ERROR);
}

static void teardown(void)
{
	ready_fini(&ready);
	ready_fini(&ready);
	if (manager >= 0)
		close(manager);
	manager = -1;
	unlink(path);
	ck_assert_int_eq(rmdir(folder), 0);
}

/* The service manager's end, under "/path" or "@name". */
static void manager_open(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(name);

	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(manager, 0);
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
		0);
}

/* The next message, "" when there is none. Local datagrams are there once sendto() is back. */
static const char *heard(void)
{
	static char message[1000];
	ssize_t got = recv(manager, message, sizeof(message) - 1, 0);

	message[got < 0 ? 0 : got] = '\0';
	return message;
}

START_TEST(the_pipe_gets_one_line_and_is_closed)
{
	int ends[2];
	char line[20];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(ready_init(&ready, ends[1], NULL), ERR_OK);
	ck_assert_int_eq(fcntl(ends[1], F_GETFD), FD_CLOEXEC);
	ready_tell(&ready);
	ready_tell(&ready); /* again is harmless */
	ck_assert_int_eq(read(ends[0], line, sizeof(line)), 6);
	ck_assert_mem_eq(line, "ready\n", 6);
	ck_assert_int_eq(read(ends[0], line, sizeof(line)), 0); /* the end */
	ck_assert_int_eq(fcntl(ends[1], F_GETFD), -1);
	close(ends[0]);
}
END_TEST

START_TEST(a_daemon_that_never_gets_ready_closes_the_pipe_without_a_word)
{
	int ends[2];
	char line[20];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(ready_init(&ready, ends[1], NULL), ERR_OK);
	ready_fini(&ready);
	ck_assert_int_eq(read(ends[0], line, sizeof(line)), 0);
	close(ends[0]);
}
END_TEST

START_TEST(the_manager_hears_every_step)
{
	uint64_t us;

	manager_open(path);
	ck_assert_int_eq(ready_init(&ready, -1, path), ERR_OK);
	ready_tell(&ready);
	ck_assert_str_eq(heard(), "READY=1");
	uint64_t before_us = clock_mono_us();

	ready_tell_reloading(&ready);
	ck_assert_int_eq(sscanf(heard(), "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &us), 1);
	ck_assert_uint_ge(us, before_us);
	ck_assert_uint_le(us, clock_mono_us());
	ready_tell(&ready);
	ck_assert_str_eq(heard(), "READY=1");
	ready_tell_status(&ready, "12 calls in flight\nREADY=0");
	ck_assert_str_eq(heard(), "STATUS=12 calls in flight");
	ready_tell_stopping(&ready);
	ck_assert_str_eq(heard(), "STOPPING=1");
	ck_assert_str_eq(heard(), "");
}
END_TEST

START_TEST(an_abstract_socket_is_reached_too)
{
	char name[100];

	snprintf(name, sizeof(name), "@sallyport-test-%d", (int)getpid());
	manager_open(name);
	ck_assert_int_eq(ready_init(&ready, -1, name), ERR_OK);
	ready_tell(&ready);
	ck_assert_str_eq(heard(), "READY=1");
}
END_TEST

START_TEST(without_anybody_to_tell_nothing_happens)
{
	ck_assert_int_eq(ready_init(&ready, -1, NULL), ERR_OK);
	ready_tell(&ready);
	ready_tell_reloading(&ready);
	ready_tell_stopping(&ready);
	ready_fini(&ready);
	ck_assert_int_eq(ready_init(&ready, -1, ""), ERR_OK);
	ready_tell(&ready);
}
END_TEST

START_TEST(a_manager_or_reader_that_is_gone_stops_nobody)
{
	int ends[2];
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	ck_assert_int_eq(sigaction(SIGPIPE, &ignore, NULL), 0);
	ck_assert_int_eq(pipe(ends), 0);
	close(ends[0]);
	ck_assert_int_eq(ready_init(&ready, ends[1], path), ERR_OK); /* nobody is bound there */
	ready_tell(&ready);
	ready_tell_stopping(&ready);
	ck_assert_int_eq(ready.fd, -1);
}
END_TEST

/* A manager that does not read must not stop us either. */
START_TEST(a_manager_that_is_stuck_does_not_block)
{
	manager_open(path);
	ck_assert_int_eq(ready_init(&ready, -1, path), ERR_OK);
	for (int i = 0; i < 10000; i++)
		ready_tell_status(&ready, "still here");
	ck_assert_str_eq(heard(), "STATUS=still here");
}
END_TEST

START_TEST(an_address_that_makes_no_sense_is_an_error)
{
	static char longest[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

	ck_assert_int_eq(ready_init(&ready, -1, "relative"), ERR_INPUT);
	ck_assert_int_eq(ready_init(&ready, -1, "/"), ERR_INPUT);
	ck_assert_int_eq(ready_init(&ready, -1, "@"), ERR_INPUT);
	ck_assert_int_eq(ready_init(&ready, -1, "vsock:2:1234"), ERR_INPUT);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	ck_assert_int_eq(ready_init(&ready, -1, longest), ERR_INPUT);
	ready_tell(&ready);
	longest[sizeof(longest) - 2] = '\0';
	ck_assert_int_eq(ready_init(&ready, -1, longest), ERR_OK);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon/ready");
	TCase *tc = tcase_create("ready");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_pipe_gets_one_line_and_is_closed);
	tcase_add_test(tc, a_daemon_that_never_gets_ready_closes_the_pipe_without_a_word);
	tcase_add_test(tc, the_manager_hears_every_step);
	tcase_add_test(tc, an_abstract_socket_is_reached_too);
	tcase_add_test(tc, without_anybody_to_tell_nothing_happens);
	tcase_add_test(tc, a_manager_or_reader_that_is_gone_stops_nobody);
	tcase_add_test(tc, a_manager_that_is_stuck_does_not_block);
	tcase_add_test(tc, an_address_that_makes_no_sense_is_an_error);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
