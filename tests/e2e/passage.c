#include "passage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "must.h"

enum { CONFIG_MAX = 4096 };

static char passages[64];

/* Short deadlines where a test waits for one; names say what an operation is for. */
static const char contract[] =
	"site: test\n"
	"operations:\n"
	"  quote.price:   {kind: call, deadline: 5s}\n"
	"  quote.short:   {kind: call, deadline: 300ms}\n"
	"  quote.patient: {kind: call, deadline: 30s}\n"
	"  order.place:   {kind: send, key: customer}\n"
	"  note.leave:    {kind: send, retry: {attempts: 20, first: 100ms, longest: 500ms, "
	"window: 1m}}\n"
	"  report.make:   {kind: send, deadline: 1m}\n"
	"  report.run:    {kind: task}\n";

void passage_keep_under(const char *folder)
{
	must_format(passages, sizeof passages, "%s", folder);
}

/* The lines that both daemons have. */
static void put_common(char *to, size_t room, const struct passage *p, const char *identity,
	const char *socket_path)
{
	char brokers[64];

	if (p->ports[1] == 0)
		must_format(brokers, sizeof brokers, "127.0.0.1:%u", p->ports[0]);
	else
		must_format(brokers, sizeof brokers, "127.0.0.1:%u, 127.0.0.1:%u", p->ports[0],
			p->ports[1]);
	must_format(to, room,
		"border.brokers = %s\n"
		"tls.ca = %s\n"
		"tls.certificate = %s.pem\n"
		"tls.key = %s.key\n"
		"contract = %s/contract.yaml\n"
		"api.socket = %s\n",
		brokers, p->ca, identity, identity, p->folder, socket_path);
}

void must_passage_configure_agent(struct passage *p, const char *more)
{
	char common[CONFIG_MAX / 2];
	char text[CONFIG_MAX];

	put_common(common, sizeof common, p, p->web_identity, p->web_socket);
	must_format(text, sizeof text, "host = %s\nseal.key = %s/%s.seal\n%s%s", p->host.at,
		p->seals, p->host.at, common, more);
	must_daemon_configure(&p->agent, text);
}

static void format_node(char *to, size_t room, const struct passage *p, const char *node,
	const char *common, const char *more)
{
	must_format(to, room,
		"node = %s\ncrossings = %s\nhandlers = %s\n"
		"seal.keys = %s\nseal.inner = %s\n%s%s",
		node, p->host.at, p->handler.url, p->seals, p->inner_seal, common, more);
}

void must_passage_configure_node(struct passage *p, const char *more)
{
	char common[CONFIG_MAX / 2];
	char text[CONFIG_MAX];

	put_common(common, sizeof common, p, p->app_identity, p->app_socket);
	format_node(text, sizeof text, p, "app1", common, more);
	must_daemon_configure(&p->node, text);
}

void must_passage_init_other_node(
	struct passage *p, struct daemon *d, const char *node, const char *socket_path)
{
	char common[CONFIG_MAX / 2];
	char text[CONFIG_MAX];
	char identity[BROKER_PATH_MAX + 80];

	must_format(identity, sizeof identity, "%s/app.%s.g1", p->broker->certificates, node);
	put_common(common, sizeof common, p, identity, socket_path);
	format_node(text, sizeof text, p, node, common, "ready.border = yes\n");
	must_daemon_init(d, "app-node", p->folder, node, text);
}

void must_passage_configure(struct passage *p, const char *more)
{
	must_passage_configure_agent(p, more);
	must_passage_configure_node(p, more);
}

void must_passage_open(struct passage *p, struct broker *b)
{
	char path[160];

	*p = (struct passage){
		.broker = b, .host = must_take_crossing(b), .ports = { b->port }
	};
	must_format(p->folder, sizeof p->folder, "%s/%s", passages, p->host.at);
	if (mkdir(p->folder, 0700) != 0)
		must_fail("%s cannot be made", p->folder);
	must_format(p->web_socket, sizeof p->web_socket, "%s/web.sock", p->folder);
	must_format(p->app_socket, sizeof p->app_socket, "%s/app.sock", p->folder);
	must_format(p->web_user, sizeof p->web_user, "web.%s.g1", p->host.at);
	must_format(p->ca, sizeof p->ca, "%s", b->ca);
	must_format(
		p->web_identity, sizeof p->web_identity, "%s/%s", b->certificates, p->web_user);
	must_format(p->app_identity, sizeof p->app_identity, "%s/app.app1.g1", b->certificates);
	must_format(p->seals, sizeof p->seals, "%s", b->seals);
	must_format(p->inner_seal, sizeof p->inner_seal, "%s/inner.seal", b->seals);
	must_format(path, sizeof path, "%s/contract.yaml", p->folder);
	must_write_file(path, 0600, contract);
	must_handler_start(&p->handler, p->folder, "handler");
	must_daemon_init(&p->agent, "webapp-agent", p->folder, "agent", "");
	must_daemon_init(&p->node, "app-node", p->folder, "node", "");
	must_passage_configure(p, "ready.border = yes\n");
}

void must_passage_start(struct passage *p)
{
	must_daemon_launch(&p->node);
	must_daemon_start(&p->agent);
	if (!daemon_becomes_ready(&p->node, 10000))
		must_fail("app-node did not get ready, see %s", p->node.log);
}

void must_passage_close(struct passage *p)
{
	if (p->agent.pid != 0)
		must_daemon_stop(&p->agent);
	if (p->node.pid != 0)
		must_daemon_stop(&p->node);
	must_daemon_log_be_clean(&p->agent);
	must_daemon_log_be_clean(&p->node);
	proxy_stop(&p->proxy);
	handler_stop(&p->handler);
	must_remove_folder(p->folder);
}

void must_passage_recover(struct passage *p, uint64_t within_ms)
{
	static struct answer answer;
	struct deadline d = deadline_in_ms(within_ms);

	do {
		int left_ms = deadline_left_ms(d);

		if (http_ask(p->web_socket, "POST", "/v1/call/quote.short", NULL, "{}",
			    (uint64_t)left_ms + 1, &answer) &&
			answer.status == 200)
			return;
		must_pause();
	} while (!deadline_has_passed(d));
	must_fail("no call crossed within %llu ms; the last answer was %d:\n%.1000s",
		(unsigned long long)within_ms, answer.status, answer.body);
}

void expect_crossing(struct passage *p)
{
	static struct answer answer;

	must_call(p->web_socket, "quote.price", "{\"is\":\"there\"}", &answer);
	expect_status(&answer, 200);
	expect_body(&answer, "{\"is\":\"there\"}");
	must_get(p->app_socket, "/readyz", &answer);
	expect_status(&answer, 200);
}

void expect_status_has(const char *socket_path, const char *part)
{
	static struct answer answer;

	must_get(socket_path, "/v1/status", &answer);
	expect_status(&answer, 200);
	expect_body_has(&answer, part);
}

void must_status_become(const char *socket_path, const char *part, uint64_t within_ms)
{
	static struct answer answer;
	struct deadline d = deadline_in_ms(within_ms);

	do {
		must_get(socket_path, "/v1/status", &answer);
		if (answer.status == 200 && strstr(answer.body, part) != NULL)
			return;
		must_pause();
	} while (!deadline_has_passed(d));
	must_fail("the status did not come to have %s within %llu ms:\n%.3000s", part,
		(unsigned long long)within_ms, answer.body);
}
