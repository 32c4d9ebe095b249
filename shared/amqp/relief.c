#include "amqp/relief.h"

#include "amqp/link_status.h"
#include "base/bug.h"
#include "base/log.h"

#define TO(s) (1u << RELIEF_##s)
static const struct {
	const char *name;
	unsigned next;
} states[RELIEF_NSTATES] = {
	/* clang-format off */
	[RELIEF_DOWN]     = { "down",     TO(STEADY) },
	[RELIEF_STEADY]   = { "steady",   TO(OPENING) | TO(STOPPING) },
	[RELIEF_OPENING]  = { "opening",  TO(PENDING) | TO(RETIRING) | TO(STOPPING) },
	[RELIEF_PENDING]  = { "pending",  TO(RETIRING) | TO(STOPPING) },
	[RELIEF_RETIRING] = { "retiring", TO(LEAVING) | TO(STOPPING) },
	[RELIEF_LEAVING]  = { "leaving",  TO(STEADY) | TO(STOPPING) },
	[RELIEF_STOPPING] = { "stopping", TO(DOWN) },
	/* clang-format on */
};
#undef TO

/* What holds in each state. */
static void check(const struct relief *r)
{
	bool has_other = r->state == RELIEF_OPENING || r->state == RELIEF_PENDING ||
			 r->state == RELIEF_RETIRING || r->state == RELIEF_LEAVING;

	BUG_ON((r->serving == NULL) != (r->state == RELIEF_DOWN));
	BUG_ON(r->state != RELIEF_STOPPING && (r->other != NULL) != has_other);
	BUG_ON(r->next != NULL && r->state != RELIEF_RETIRING && r->state != RELIEF_LEAVING);
}

static const char *name_of(const struct shift *s)
{
	return s == NULL || s->identity == NULL ? "-" : tls_identity_name(s->identity);
}

/* Why a link has not got ready, as far as is known. */
static const char *why(const struct link *k)
{
	bool is_publish = k->publish.fault.at_unix_ms >= k->consume.fault.at_unix_ms;
	const struct amqp_fault *fault = is_publish ? &k->publish.fault : &k->consume.fault;

	return fault->at_unix_ms == 0 ? "no answer yet" : fault->text;
}

static void move(struct relief *r, enum relief_state to)
{
	enum relief_state from = r->state;

	BUG_ON((states[from].next & (1u << to)) == 0);
	log_info("relief=%s state=%s->%s serving=%s", r->name, states[from].name,
		states[to].name, name_of(r->serving));
	timer_cancel(&r->limit);
	r->state = to;
	check(r);
}

/* The last touch of whoever calls it. */
static void tell_move(struct relief *r)
{
	r->ops->on_move(r->arg);
}

static void look_ready(struct relief *r)
{
	bool is_ready = relief_is_ready(r);

	if (is_ready == r->was_ready)
		return;
	r->was_ready = is_ready;
	r->ops->on_ready(r->arg);
}

/* ---- going ---- */

static void on_link_stopped(void *arg, struct link *k);

static void see_off(struct relief *r)
{
	move(r, RELIEF_LEAVING);
	link_stop(&r->other->link, on_link_stopped);
}

static void destroy(struct relief *r, struct shift **s)
{
	struct shift *gone = *s;

	*s = NULL;
	if (gone != NULL)
		r->ops->destroy(gone);
}

static void begin(struct relief *r, struct shift *s)
{
	r->other = s;
	move(r, RELIEF_OPENING);
	timer_after(&r->limit, r->limits.patience_ms);
	link_start(&s->link);
}

static void take_over(struct relief *r);

static void on_link_stopped(void *arg, struct link *k)
{
	struct shift *s = arg;
	struct relief *r = s->relief;

	(void)k;
	if (r->state == RELIEF_STOPPING) {
		BUG_ON(r->closing == 0);
		if (--r->closing > 0)
			return;
		destroy(r, &r->other);
		destroy(r, &r->serving);
		move(r, RELIEF_DOWN);
		r->on_stopped(r->arg); /* last touch */
		return;
	}
	BUG_ON(r->state != RELIEF_LEAVING || s != r->other);
	struct shift *next = r->next;

	r->next = NULL;
	destroy(r, &r->other);
	move(r, RELIEF_STEADY);
	if (next != NULL)
		begin(r, next);
	if (next != NULL && r->is_next_urgent)
		take_over(r);
	else
		tell_move(r);
}

/* ---- changing ---- */

/* Whoever `other` is now, he shall go. Even one who never served may have begun something: the lanes
 * that are ready already bring it. Last touch of whoever calls it. */
static void retire_other(struct relief *r)
{
	move(r, RELIEF_RETIRING);
	timer_after(&r->limit, r->limits.retire_ms);
	r->ops->retire(r->other);
	look_ready(r);
	tell_move(r);
	relief_look(r);
}

static void take_over(struct relief *r)
{
	struct shift *old = r->serving;

	r->serving = r->other;
	r->other = old;
	/* What was counted goes on being counted. */
	r->serving->link.publish.counters.opened += old->link.publish.counters.opened;
	r->serving->link.publish.counters.failed += old->link.publish.counters.failed;
	r->serving->link.publish.counters.blocked += old->link.publish.counters.blocked;
	r->serving->link.consume.counters.opened += old->link.consume.counters.opened;
	r->serving->link.consume.counters.failed += old->link.consume.counters.failed;
	r->serving->link.consume.counters.blocked += old->link.consume.counters.blocked;
	retire_other(r);
}

static void on_link_change(void *arg, struct link *k)
{
	struct shift *s = arg;
	struct relief *r = s->relief;
	bool is_successor = r->state == RELIEF_OPENING || r->state == RELIEF_PENDING;

	if (s == r->serving)
		look_ready(r);
	else if (is_successor && link_is_ready(k))
		take_over(r);
	else
		relief_look(r);
}

static void on_limit(struct timer *timer)
{
	struct relief *r = container_of(timer, struct relief, limit);

	if (r->state == RELIEF_OPENING) {
		log_warn("relief=%s event=pending identity=%s why=\"%s\"", r->name,
			name_of(r->other), why(&r->other->link));
		move(r, RELIEF_PENDING);
	} else {
		BUG_ON(r->state != RELIEF_RETIRING);
		log_warn(
			"relief=%s event=retire-limit identity=%s", r->name, name_of(r->other));
		see_off(r);
	}
	tell_move(r);
}

/* ---- public ---- */

enum err shift_init(struct shift *s, struct loop *l, const struct link_config *config,
	const struct digest *recipe)
{
	struct link_config own = *config;

	BUG_ON(config->broker_count > CONNECTION_BROKERS_MAX);
	*s = (struct shift){
		.recipe = *recipe,
		.identity = tls_identity_hold(config->identity),
	};
	memcpy(s->brokers, config->brokers, config->broker_count * sizeof(s->brokers[0]));
	own.brokers = s->brokers;
	return link_init(&s->link, l, &own, on_link_change, s);
}

void shift_fini(struct shift *s)
{
	link_fini(&s->link);
	tls_identity_close(s->identity);
	*s = (struct shift){ 0 };
}

void relief_init(struct relief *r, struct loop *l, const char *name,
	const struct relief_limits *limits, const struct relief_ops *ops, void *arg)
{
	*r = (struct relief){ .name = name, .ops = ops, .arg = arg, .limits = *limits };
	timer_init(&r->limit, l, on_limit);
}

void relief_fini(struct relief *r)
{
	BUG_ON(r->state != RELIEF_DOWN);
	*r = (struct relief){ 0 };
}

void relief_start(struct relief *r, struct shift *s)
{
	BUG_ON(r->state != RELIEF_DOWN);
	s->relief = r;
	r->serving = s;
	r->was_ready = false;
	move(r, RELIEF_STEADY);
	link_start(&s->link);
}

void relief_keep(struct relief *r)
{
	destroy(r, &r->next);
	if (r->state == RELIEF_OPENING || r->state == RELIEF_PENDING)
		retire_other(r);
}

void relief_order(struct relief *r, struct shift *s)
{
	s->relief = r;
	if (r->state == RELIEF_DOWN || r->state == RELIEF_STOPPING) {
		r->ops->destroy(s);
		return;
	}
	if (r->state == RELIEF_STEADY) {
		begin(r, s);
		tell_move(r);
		return;
	}
	relief_keep(r);
	r->next = s;
	r->is_next_urgent = false;
}

void relief_replace(struct relief *r, struct shift *s)
{
	bool is_steady = r->state == RELIEF_STEADY;

	relief_order(r, s);
	if (is_steady)
		take_over(r);
	else
		r->is_next_urgent = true;
}

void relief_look(struct relief *r)
{
	if (r->state != RELIEF_RETIRING || !r->ops->is_idle(r->other))
		return;
	see_off(r);
	tell_move(r);
}

void relief_stop(struct relief *r, void (*on_stopped)(void *arg))
{
	BUG_ON(r->state == RELIEF_DOWN || r->state == RELIEF_STOPPING);
	r->on_stopped = on_stopped;
	r->closing = r->other == NULL ? 1 : 2;
	destroy(r, &r->next);
	move(r, RELIEF_STOPPING);
	if (r->other != NULL)
		link_stop(&r->other->link, on_link_stopped); /* it may be at it already */
	link_stop(&r->serving->link, on_link_stopped);
}

const char *relief_state_name(const struct relief *r)
{
	return states[r->state].name;
}

const char *relief_identity(const struct relief *r)
{
	return name_of(r->serving);
}

void relief_write_status(const struct relief *r, const char *key, struct json_writer *w)
{
	json_write_key(w, key);
	if (r->serving != NULL)
		link_write_status(&r->serving->link, w);
	else
		json_write_null(w);
	if (r->other == NULL)
		return;
	json_write_key(w, "relief");
	json_write_object(w);
	json_write_text_member(w, "state", relief_state_name(r));
	json_write_text_member(w, "identity", name_of(r->other));
	if (r->state == RELIEF_OPENING || r->state == RELIEF_PENDING)
		json_write_text_member(w, "why", why(&r->other->link));
	json_write_key(w, "link");
	link_write_status(&r->other->link, w);
	json_write_object_end(w);
}
