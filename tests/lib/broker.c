#include "broker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/span.h"
#include "base/text.h"
#include "must.h"

enum {
	COMMAND_MS = 90000,
	EXPRESSION_MAX = 2048,
	LIST_MAX = BROKER_CROSSINGS * 4 + 1,
	CROSSINGS_MORE = 8, /* made at once when there are too few */
};

static const char *script(void)
{
	static char path[512];

	if (path[0] == '\0')
		must_format(path, sizeof path, "%s/scripts/broker", test_source_folder());
	return path;
}

/* scripts/broker COMMAND --dir FOLDER, with up to two more arguments. */
static void must_command(struct broker *b, const char *command, const char *first,
	const char *second, struct command_result *out)
{
	const char *argv[] = { script(), command, "--dir", b->folder, first, second, NULL };

	must_run(argv, COMMAND_MS, out);
	if (out->exit_code != 0)
		must_fail("scripts/broker %s: exit %d: %s", command, out->exit_code, out->err);
}

static void must_find(
	const struct command_result *lines, const char *key, char *to, size_t room)
{
	struct span rest = span_of(lines->out);
	size_t key_len = strlen(key);

	while (rest.len != 0) {
		struct span line = text_cut(&rest, '\n');

		if (span_starts(line, key) && line.len > key_len && line.at[key_len] == '=') {
			struct span value = span_after(line, key_len + 1);

			must_format(to, room, "%.*s", SPAN_ARG(value));
			return;
		}
	}
	must_fail("scripts/broker did not print %s", key);
}

static uint64_t must_number(const char *text)
{
	uint64_t number = 0;
	struct span rest = span_of(text);

	if (text_parse_u64(text_trim(text_cut(&rest, '\n')), &number) != ERR_OK)
		must_fail("\"%s\" is no number", text);
	return number;
}

/* Waits until its owner has ended or lets go, then cleans up. */
static void guard(const struct broker *b, int fd)
{
	const char *argv[] = { script(), "down", "--purge", "--dir", b->folder, NULL };
	char byte;

	(void)setsid();
	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
	(void)execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(1);
}

static void start_guard(struct broker *b)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		must_fail("pipe: %s", strerror(errno));
	b->guard = fork();
	if (b->guard < 0)
		must_fail("fork: %s", strerror(errno));
	if (b->guard == 0) {
		(void)close(ends[1]);
		guard(b, ends[0]);
	}
	(void)close(ends[0]);
	b->guard_fd = ends[1];
}

static void read_env(struct broker *b, const struct command_result *lines)
{
	char number[32];

	must_find(lines, "BROKER_CA", b->ca, sizeof b->ca);
	must_find(lines, "BROKER_CERTS", b->certificates, sizeof b->certificates);
	must_find(lines, "BROKER_SEALS", b->seals, sizeof b->seals);
	must_find(lines, "BROKER_PORT", number, sizeof number);
	b->port = (uint16_t)must_number(number);
	must_find(lines, "BROKER_PID", number, sizeof number);
	b->pid = (pid_t)must_number(number);
}

/* Starts the broker if it does not run; there are `count` crossings more then. */
static void must_make_crossings(struct broker *b, unsigned count)
{
	static struct command_result lines;
	struct broker_crossings *c = b->crossings;
	char hosts[LIST_MAX] = "";

	for (unsigned i = 0; i < count && c->made < BROKER_CROSSINGS; i++) {
		size_t len = strlen(hosts);

		must_format(hosts + len, sizeof hosts - len, "%st%02u", len == 0 ? "" : ",",
			++c->made);
	}
	const char *argv[] = { script(), "up", "--dir", b->folder, "--hosts", hosts, "--nodes",
		"app1,app2", NULL };

	must_run(argv, COMMAND_MS, &lines);
	if (lines.exit_code != 0)
		must_fail("the broker does not start: %s", lines.err);
	read_env(b, &lines);
}

void must_broker_up(struct broker *b, const char *folder, unsigned crossings)
{
	*b = (struct broker){ 0 };
	must_format(b->folder, sizeof b->folder, "%s/broker", folder);
	start_guard(b);
	b->crossings = mmap(NULL, sizeof *b->crossings, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b->crossings == MAP_FAILED)
		must_fail("mmap: %s", strerror(errno));
	must_make_crossings(b, crossings == 0 ? 1 : crossings);
}

void broker_down(struct broker *b)
{
	if (b->guard == 0)
		return;
	(void)close(b->guard_fd);
	(void)waitpid(b->guard, NULL, 0);
	if (b->crossings != NULL)
		(void)munmap(b->crossings, sizeof *b->crossings);
	*b = (struct broker){ 0 };
}

struct crossing_name must_take_crossing(struct broker *b)
{
	struct crossing_name name;
	unsigned number = ++b->crossings->used; /* tests run one after the other */

	if (number > BROKER_CROSSINGS)
		must_fail("more than %d tests took a crossing", BROKER_CROSSINGS);
	if (number > b->crossings->made)
		must_make_crossings(b, CROSSINGS_MORE);
	must_format(name.at, sizeof name.at, "t%02u", number % 100);
	return name;
}

void must_broker_kill(struct broker *b)
{
	static struct command_result result;

	must_command(b, "kill", NULL, NULL, &result);
	b->pid = 0;
}

void must_broker_stop(struct broker *b)
{
	static struct command_result result;

	must_command(b, "stop", NULL, NULL, &result);
	b->pid = 0;
}

void must_broker_start(struct broker *b)
{
	static struct command_result result;

	must_command(b, "start", NULL, NULL, &result);
	read_env(b, &result);
}

void must_broker_begin_start(struct broker *b)
{
	const char *argv[] = { script(), "start", "--dir", b->folder, NULL };

	b->starter = fork();
	if (b->starter < 0)
		must_fail("fork: %s", strerror(errno));
	if (b->starter == 0) {
		int nothing = open("/dev/null", O_RDWR);

		(void)dup2(nothing, STDIN_FILENO);
		(void)dup2(nothing, STDOUT_FILENO);
		(void)execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
}

void must_broker_started(struct broker *b)
{
	static struct command_result result;
	int status = 0;

	while (waitpid(b->starter, &status, 0) < 0) {
		if (errno != EINTR)
			must_fail("waitpid: %s", strerror(errno));
	}
	b->starter = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		must_fail("the broker does not start again");
	must_command(b, "env", NULL, NULL, &result);
	read_env(b, &result);
}

void must_broker_eval(struct broker *b, char *out, size_t room, const char *format, ...)
{
	static struct command_result result;
	char expression[EXPRESSION_MAX];
	va_list args;

	va_start(args, format);
	int len = vsnprintf(expression, sizeof expression, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof expression)
		must_fail("an Erlang expression is too long");
	must_command(b, "ctl", "eval", expression, &result);
	if (out != NULL)
		must_format(out, room, "%s", result.out);
}

void must_broker_block(struct broker *b)
{
	must_broker_eval(b, NULL, 0, "vm_memory_monitor:set_vm_memory_high_watermark(0.00001)");
}

void must_broker_unblock(struct broker *b)
{
	must_broker_eval(b, NULL, 0, "vm_memory_monitor:set_vm_memory_high_watermark(0.4)");
}

static unsigned eval_count(struct broker *b, const char *expression)
{
	char out[64];

	must_broker_eval(b, out, sizeof out, "%s", expression);
	return (unsigned)must_number(out);
}

unsigned must_broker_close_connections(struct broker *b, const char *user, const char *text)
{
	char expression[EXPRESSION_MAX];

	must_format(expression, sizeof expression,
		"length([rabbit_networking:close_connection(P, <<\"%s\">>)"
		" || P <- rabbit_networking:connections(),"
		" [{user, <<\"%s\">>}] <- [catch rabbit_networking:connection_info(P, "
		"[user])]])",
		text, user);
	return eval_count(b, expression);
}

unsigned must_broker_connections(struct broker *b, const char *user)
{
	char expression[EXPRESSION_MAX];

	must_format(expression, sizeof expression,
		"length([P || P <- rabbit_networking:connections(),"
		" [{user, <<\"%s\">>}] <- [catch rabbit_networking:connection_info(P, "
		"[user])]])",
		user);
	return eval_count(b, expression);
}

void must_broker_delete_queue(struct broker *b, const char *host, const char *queue)
{
	must_broker_eval(b, NULL, 0,
		"{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"border.%s\">>, queue, "
		"<<\"%s\">>)),"
		" {ok, _} = rabbit_amqqueue:delete(Q, false, false, <<\"test\">>)",
		host, queue);
}

void must_broker_delete_exchange(struct broker *b, const char *host, const char *exchange)
{
	must_broker_eval(b, NULL, 0,
		"ok = rabbit_exchange:delete("
		"rabbit_misc:r(<<\"border.%s\">>, exchange, <<\"%s\">>), false, <<\"test\">>)",
		host, exchange);
}

void must_broker_restore(struct broker *b)
{
	static struct command_result result;

	must_command(b, "up", NULL, NULL, &result);
}

void must_broker_delete_user(struct broker *b, const char *user)
{
	must_broker_eval(b, NULL, 0,
		"rabbit_auth_backend_internal:delete_user(<<\"%s\">>, <<\"test\">>)", user);
}

unsigned must_broker_count(struct broker *b, const char *host, const char *queue)
{
	char expression[EXPRESSION_MAX];

	must_format(expression, sizeof expression,
		"begin {ok, Q} = rabbit_amqqueue:lookup("
		"rabbit_misc:r(<<\"border.%s\">>, queue, <<\"%s\">>)),"
		" {ok, Ready, _} = rabbit_amqqueue:stat(Q), Ready end",
		host, queue);
	return eval_count(b, expression);
}

void must_broker_add_user_like(struct broker *b, const char *like, const char *name)
{
	must_broker_eval(b, NULL, 0,
		"begin {ok, U} = rabbit_auth_backend_internal:lookup_user(<<\"%s\">>),"
		" ok = mnesia:dirty_write(rabbit_user, setelement(2, U, <<\"%s\">>)),"
		" [ok = rabbit_auth_backend_internal:set_permissions(<<\"%s\">>, V, C, W, R,"
		" <<\"test\">>) || [{vhost, V}, {configure, C}, {write, W}, {read, R} | _] <-"
		" rabbit_auth_backend_internal:list_user_permissions(<<\"%s\">>)] end",
		like, name, name, like);
}

void must_broker_certificate(struct broker *b, const char *name,
	enum broker_authority authority, char *path, size_t room)
{
	static struct command_result result;
	struct span folder;

	must_command(b, "cert", name,
		authority == BROKER_STRANGE_AUTHORITY ? "--stranger" : NULL, &result);
	folder = text_trim(span_of(result.out));
	while (folder.len != 0 && folder.at[folder.len - 1] == '\n')
		folder.len--;
	must_format(path, room, "%.*s/%s", SPAN_ARG(folder), name);
}
