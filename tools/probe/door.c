/* door.c - who gets in: certificates, TLS, mechanisms, vhosts, and other doors.
 *
 * A broker lets a failed login wait some seconds for its end, so these begin before all others
 * and are looked at last. */
#include <stdio.h>
#include <string.h>

#include "act.h"
#include "base/text.h"

static struct login fill(const struct trial *t, char *vhost, char *user)
{
	struct login login = *t->act->login;

	login.vhost = act_expand(
		t, login.vhost.len > 0 ? login.vhost.at : "border.{host}", vhost);
	if (login.user != NULL)
		login.user = act_expand(t, login.user, user).at;
	return login;
}

static void begin_login(struct trial *t)
{
	char vhost[ACT_TEXT_BYTES];
	char user[ACT_TEXT_BYTES];
	const struct login login = fill(t, vhost, user);

	t->has_begun = login_begin(&t->line, t->probe->plan, t->act->as, &login, &t->outcome);
}

/* The web host's own connections are few, and some brokers hold one back for seconds that asks
 * for too much: it is begun with the others. */
static void begin_agreement(struct trial *t)
{
	char vhost[ACT_TEXT_BYTES];
	char user[ACT_TEXT_BYTES];
	const struct login login = fill(t, vhost, user);

	begin_login(t);
	t->has_begun = t->has_begun &&
		       login_agree(&t->line, t->probe->plan, &login, &t->outcome);
}

static void finish_agreement(struct trial *t)
{
	login_finish(&t->line, t->probe->plan, &t->outcome);
}

static void finish_login(struct trial *t)
{
	const struct plan *plan = t->probe->plan;
	char vhost[ACT_TEXT_BYTES];
	char user[ACT_TEXT_BYTES];
	const struct login login = fill(t, vhost, user);

	if (t->act->begin == NULL)
		login_whole(&t->line, plan, t->act->as, &login, &t->outcome);
	else if (login_agree(&t->line, plan, &login, &t->outcome))
		login_finish(&t->line, plan, &t->outcome);
	if (t->outcome.kind == OUTCOME_DONE && login.until == LOGIN_OPEN)
		talk_goodbye(&t->line, plan);
}

/* What the broker offers before anybody has said who he is. */
static void finish_mechanisms(struct trial *t)
{
	const struct plan *plan = t->probe->plan;
	const struct line_badge badge = plan_badge(plan, t->act->as);
	struct heard heard;
	struct buf bytes;

	line_open(&t->line, &plan->place, &badge, LINE_TLS_13, plan->patience_ms);
	buf_init(&bytes, AMQP_FRAME_MAX_BYTES);
	codec_put_protocol_header(&bytes);
	line_say(&t->line, buf_span(&bytes), plan->patience_ms);
	buf_fini(&bytes);
	if (!talk_answer(&t->line, plan, 0, &heard, &t->outcome))
		return;
	if (span_is(heard.method.mechanisms, "EXTERNAL"))
		outcome_set(&t->outcome, OUTCOME_REFUSED, 0, "EXTERNAL alone is offered");
	else
		outcome_set(&t->outcome, OUTCOME_DONE, 0, "offered: %s",
			text_show(heard.method.mechanisms).at);
}

/* A connection that says nothing, before TLS or behind it. */
static void begin_silence(struct trial *t)
{
	const struct plan *plan = t->probe->plan;
	const struct line_badge badge = plan_badge(plan, t->act->as);

	line_open(&t->line, &plan->place, &badge, t->act->login->dress, plan->patience_ms);
	t->has_begun = true;
}

static void finish_silence(struct trial *t)
{
	struct heard heard;

	line_hear(&t->line, t->probe->plan->patience_ms, &heard);
	if (heard.kind == HEARD_NOTHING)
		outcome_set(&t->outcome, OUTCOME_DONE, 0, "is still there after %llu ms",
			(unsigned long long)t->probe->plan->patience_ms);
	else
		talk_end(&t->line, &t->outcome);
}

static void begin_port(struct trial *t)
{
	uint64_t port = 0;

	if (text_parse_u64(span_of(t->each), &port) == ERR_OK)
		line_begin(&t->line, t->probe->plan->address, (uint16_t)port);
	t->has_begun = true;
}

static void finish_port(struct trial *t)
{
	line_connected(&t->line, t->probe->plan->patience_ms);
	if (t->line.state == LINE_UP)
		outcome_set(&t->outcome, OUTCOME_DONE, 0, "somebody listens");
	else
		talk_end(&t->line, &t->outcome);
}

/* ---- logins ---- */

static const struct login good = { 0 };
static const struct login tls_12 = { .dress = LINE_TLS_12, .until = LOGIN_START };
static const struct login no_tls = { .dress = LINE_PLAIN, .until = LOGIN_START };
static const struct login just_tls = { .until = LOGIN_START };
static const struct login just_in = { .until = LOGIN_TUNE };
static const struct login each_vhost = { .vhost = { .at = "{each}", .len = 6 } };
static const struct login inner_vhost = { .vhost = { .at = "inner", .len = 5 } };
static const struct login as_node_inner = {
	.user = "{node_user}",
	.vhost = { .at = "inner", .len = 5 },
};
static const struct login guest = {
	.mechanism = "PLAIN",
	.user = "guest",
	.password = "guest",
	.until = LOGIN_TUNE,
};
static const struct login plain_self = {
	.mechanism = "PLAIN",
	.user = "{user}",
	.password = "",
	.until = LOGIN_TUNE,
};
static const struct login plain_node = {
	.mechanism = "PLAIN",
	.user = "{node_user}",
	.password = "",
	.until = LOGIN_TUNE,
};
static const struct login amqplain = {
	.mechanism = "AMQPLAIN",
	.user = "guest",
	.password = "guest",
	.until = LOGIN_TUNE,
};
static const struct login cr_demo = {
	.mechanism = "RABBIT-CR-DEMO",
	.user = "guest",
	.until = LOGIN_TUNE,
};
static const struct login anonymous = {
	.mechanism = "ANONYMOUS",
	.user = "guest",
	.until = LOGIN_TUNE,
};
static const struct login no_mechanism = { .mechanism = "", .until = LOGIN_TUNE };
static const struct login unlimited = { .is_unlimited = true };
static const struct login greedy = { .is_greedy = true };

#define NO_TLS .proof = PROOF_NO_TLS, .begin = begin_login, .finish = finish_login
#define NO_LOGIN .proof = PROOF_NO_LOGIN, .begin = begin_login, .finish = finish_login
#define NO_VHOST .proof = PROOF_NO_VHOST, .finish = finish_login

/* clang-format off */
static const struct act acts[] = {
	{ ROLE_WEB, .sort = ACT_CONTROL, .proof = PROOF_DONE,
		.name = "log in, open its own vhost",
		.login = &good, .finish = finish_login },
	{ ROLE_NODE, .sort = ACT_CONTROL, .proof = PROOF_DONE,
		.name = "log in, open the border's vhost",
		.login = &good, .finish = finish_login },
	{ ROLE_NODE, WHERE_INNER, .sort = ACT_CONTROL, .proof = PROOF_DONE,
		.name = "log in, open inner",
		.login = &inner_vhost, .finish = finish_login },

	/* -- certificates -- */
	{ ROLE_NOBODY, NO_TLS, .name = "log in without a certificate", .login = &just_tls },
	{ ROLE_SELF_SIGNED,
		NO_TLS, .name = "log in with a certificate signed by itself",
			.login = &just_tls },
	{ ROLE_STRANGER,
		NO_TLS, .name = "log in with another authority's certificate",
			.login = &just_tls },
	{ ROLE_EXPIRED,
		NO_TLS, .name = "log in with an expired certificate", .login = &just_tls },
	{ ROLE_SERVER,
		NO_TLS, .name = "log in with the broker's own certificate",
			.login = &just_tls },
	{ ROLE_PREVIOUS,
		NO_LOGIN, .name = "log in with the certificate of a generation before",
			.login = &just_in },
	{ ROLE_UNKNOWN,
		NO_LOGIN, .name = "log in with a name that has no user", .login = &just_in },
	{ ROLE_OTHER,
		NO_VHOST, .name = "open the vhost of the host that is tried", .login = &good },
	{ ROLE_OTHER, NO_VHOST, .name = "open the vhost inner", .login = &inner_vhost },

	/* -- TLS -- */
	{ ROLE_WEB, NO_TLS, .name = "log in over TLS 1.2", .login = &tls_12 },
	{ ROLE_NOBODY, NO_TLS, .name = "speak AMQP without TLS", .login = &no_tls },
	{ ROLE_NOBODY, .proof = PROOF_REFUSED, .name = "connect, and be silent before TLS",
		.login = &no_tls, .begin = begin_silence, .finish = finish_silence },
	{ ROLE_WEB, .proof = PROOF_REFUSED, .name = "connect, and be silent behind TLS",
		.login = &good, .begin = begin_silence, .finish = finish_silence },

	/* -- mechanisms -- */
	{ ROLE_WEB, .proof = PROOF_REFUSED,
		.name = "be offered another mechanism than EXTERNAL",
		.finish = finish_mechanisms },
	{ ROLE_WEB, NO_LOGIN, .name = "PLAIN as guest", .login = &guest },
	{ ROLE_WEB, NO_LOGIN, .name = "PLAIN as itself, no password", .login = &plain_self },
	{ ROLE_WEB,
		NO_LOGIN, .name = "PLAIN as an app node, no password", .login = &plain_node },
	{ ROLE_WEB, NO_LOGIN, .name = "AMQPLAIN as guest", .login = &amqplain },
	{ ROLE_WEB, NO_LOGIN, .name = "RABBIT-CR-DEMO as guest", .login = &cr_demo },
	{ ROLE_WEB, NO_LOGIN, .name = "ANONYMOUS", .login = &anonymous },
	{ ROLE_WEB, NO_LOGIN, .name = "a mechanism without a name", .login = &no_mechanism },
	{ ROLE_WEB,
		NO_VHOST, .name = "EXTERNAL as an app node, open inner",
			.login = &as_node_inner },

	/* -- vhosts -- */
	{ ROLE_WEB,
		NO_VHOST, .each = EACH_VHOST, .name = "open the vhost {each}",
			.login = &each_vhost },
	{ ROLE_NODE,
		NO_VHOST, .each = EACH_VHOST, .name = "open the vhost {each}",
			.login = &each_vhost },

	/* -- what is agreed on -- */
	{ ROLE_NODE, .proof = PROOF_REFUSED, .name = "agree on no limits",
		.login = &unlimited, .begin = begin_agreement, .finish = finish_agreement },
	{ ROLE_NODE, .proof = PROOF_REFUSED, .name = "agree on more than is offered",
		.login = &greedy, .begin = begin_agreement, .finish = finish_agreement },
	{ ROLE_WEB, .sort = ACT_TOLERATED, .name = "log in without heartbeats", .login = &good,
		.guard = "max-connections, and the broker's TCP keep-alive",
		.finish = finish_login },

	/* -- other doors -- */
	{ ROLE_NOBODY, .proof = PROOF_NO_CONNECTION, .each = EACH_PORT,
		.name = "connect to port {each}",
		.begin = begin_port, .finish = finish_port },
};
/* clang-format on */

const struct act_table door_acts = { .acts = acts, .count = ARRAY_COUNT(acts) };
