#include "app-node/crossings.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/log.h"

static struct crossing *crossing_at(struct node *n)
{
	return container_of(n, struct crossing, node);
}

static struct crossing *find_in(const struct node *list, const char *host)
{
	list_each (n, list)
		if (strcmp(crossing_at(n)->host, host) == 0)
			return crossing_at(n);
	return NULL;
}

static struct crossing *find(const struct crossings *cs, const char *host)
{
	return find_in(&cs->all, host);
}

static bool names(const struct option_list *hosts, const char *host)
{
	for (size_t i = 0; i < hosts->count; i++)
		if (strcmp(hosts->at[i], host) == 0)
			return true;
	return false;
}

static void drop(struct crossing *x)
{
	crossing_fini(x);
	free(x);
}

static void drop_all(struct node *list)
{
	while (!list_empty(list))
		drop(crossing_at(list->next));
}

/* ---- the crossings speak ---- */

static void on_delivery(
	void *arg, struct crossing_shift *s, struct consumer *c, const struct delivery *d)
{
	struct crossings *cs = arg;

	cs->events.on_delivery(cs->arg, s, c, d);
}

static void on_sends_lost(void *arg, struct crossing_shift *s)
{
	struct crossings *cs = arg;

	jobs_sends_lost(cs->jobs, s);
}

static void on_gone(void *arg, struct crossing_shift *s)
{
	struct crossings *cs = arg;

	jobs_shift_gone(cs->jobs, s);
}

static void on_change(void *arg, struct crossing *x)
{
	struct crossings *cs = arg;

	cs->events.on_change(cs->arg, x);
}

static void on_relief(void *arg, struct crossing *x)
{
	struct crossings *cs = arg;

	(void)x;
	cs->events.on_move(cs->arg);
}

static bool all_have_come_to(const struct crossings *cs, enum crossing_state state)
{
	const struct node *const lists[] = { &cs->all, &cs->leaving };

	for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
		list_each (n, lists[i])
			if (crossing_at(n)->state < state)
				return false;
	return true;
}

/* Drained, or stopped: last touch of cs. */
static void look(struct crossings *cs)
{
	if (cs->state == CROSSINGS_DRAINING && all_have_come_to(cs, CROSSING_DRAINED)) {
		cs->state = CROSSINGS_DRAINED;
		cs->events.on_drained(cs->arg);
	} else if (cs->state == CROSSINGS_STOPPING && all_have_come_to(cs, CROSSING_CLOSED)) {
		cs->state = CROSSINGS_STOPPED;
		cs->events.on_stopped(cs->arg);
	}
}

static void on_less(void *arg, struct crossing *x)
{
	struct crossings *cs = arg;

	/* Those that are configured stay for the status, and for who asks about them. */
	if (crossing_is_over(x) && cs->state < CROSSINGS_STOPPING) {
		log_info("host=%s event=crossing-gone", x->host);
		jobs_crossing_gone(cs->jobs, x);
		drop(x);
		cs->events.on_move(cs->arg);
	}
	look(cs);
}

/* Where there is none to wait for, nothing else would tell. */
static void on_soon(struct timer *timer)
{
	look(container_of(timer, struct crossings, soon));
}

/* ---- which there are ---- */

void crossings_init(struct crossings *cs, struct loop *l, struct jobs *jobs,
	const struct revoked *revoked, const struct crossings_events *events, void *arg)
{
	*cs = (struct crossings){
		.loop = l,
		.jobs = jobs,
		.revoked = revoked,
		.events = *events,
		.arg = arg,
	};
	timer_init(&cs->soon, l, on_soon);
	list_init(&cs->all);
	list_init(&cs->coming);
	list_init(&cs->leaving);
}

void crossings_fini(struct crossings *cs)
{
	if (cs->loop == NULL)
		return;
	timer_cancel(&cs->soon);
	drop_all(&cs->all);
	drop_all(&cs->coming);
	drop_all(&cs->leaving);
	*cs = (struct crossings){ 0 };
}

static enum err prepare_new(struct crossings *cs, const struct setup *setup, size_t i)
{
	static const struct crossing_events events = {
		.on_delivery = on_delivery,
		.on_sends_lost = on_sends_lost,
		.on_gone = on_gone,
		.on_change = on_change,
		.on_relief = on_relief,
		.on_less = on_less,
	};
	const struct node_config *node = setup->config;
	struct crossing_config config = {
		.host = node->crossings.at[i],
		.link = site_link_config(&setup->site, &node->site),
		.recipe = setup->site.link_recipe,
		.ring = &setup->site.rings[i],
		.revoked = revoked_up_to(cs->revoked, node->crossings.at[i]),
		.replay_kept = (uint32_t)node->replay_kept,
		.call_prefetch = (uint16_t)node->call_prefetch,
		.send_prefetch = (uint16_t)node->send_prefetch,
	};
	struct crossing *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return ERR_NOMEM;
	enum err err = crossing_init(x, cs->loop, &config, &events, cs);

	list_append(&cs->coming, &x->node);
	return err;
}

static enum err prepare(struct crossings *cs, const struct setup *setup, size_t i)
{
	const struct node_config *node = setup->config;
	struct link_config link = site_link_config(&setup->site, &node->site);
	const char *host = node->crossings.at[i];
	struct crossing *x = find(cs, host);

	if (x == NULL && revoked_is_shut(cs->revoked, host, &node->revoked))
		return ERR_OK;
	if (x == NULL) {
		/* A host has one crossing: a second one beside it would run its work twice. */
		x = find_in(&cs->leaving, host);
		return x == NULL ? prepare_new(cs, setup, i)
				 : crossing_prepare_return(x, &link, &setup->site.link_recipe);
	}
	return crossing_prepare(x, &link, &setup->site.link_recipe);
}

enum err crossings_prepare(struct crossings *cs, const struct setup *setup)
{
	const struct node_config *node = setup->config;
	enum err err = ERR_OK;

	for (size_t i = 0; i < node->crossings.count && err == ERR_OK; i++)
		err = prepare(cs, setup, i);
	if (err != ERR_OK)
		crossings_discard(cs);
	return err;
}

enum err crossings_rekey(
	struct crossings *cs, const struct node_config *node, const struct keyring *rings)
{
	enum err err = ERR_OK;

	for (size_t i = 0; i < node->crossings.count; i++) {
		const char *host = node->crossings.at[i];
		struct crossing *x = find(cs, host);

		if (x == NULL)
			x = find_in(&cs->leaving, host); /* it may return */
		enum err one = x == NULL ? ERR_OK : crossing_rekey(x, &rings[i]);

		err = err == ERR_OK ? one : err;
	}
	return err;
}

void crossings_discard(struct crossings *cs)
{
	drop_all(&cs->coming);
	list_each (n, &cs->all)
		crossing_discard(crossing_at(n));
	list_each (n, &cs->leaving)
		crossing_discard(crossing_at(n));
}

/* Those that leave and were prepared to return. */
static void take_back(struct crossings *cs)
{
	list_each_safe (n, &cs->leaving) {
		struct crossing *x = crossing_at(n);

		if (x->prepared == NULL)
			continue;
		log_info("host=%s event=crossing-returns jobs=%u", x->host, x->job_count);
		list_drop(&x->node);
		list_append(&cs->all, &x->node);
		cs->count++;
		crossing_return(x);
	}
}

void crossings_take(struct crossings *cs, const struct option_list *hosts)
{
	list_each_safe (n, &cs->all) {
		struct crossing *x = crossing_at(n);

		if (names(hosts, x->host)) {
			crossing_relieve(x);
			continue;
		}
		log_info("host=%s event=crossing-leaves", x->host);
		list_drop(&x->node);
		list_append(&cs->leaving, &x->node);
		crossing_leave(x);
		cs->count--;
	}
	take_back(cs);
	while (!list_empty(&cs->coming)) {
		struct crossing *x = crossing_at(cs->coming.next);

		list_drop(&x->node);
		list_append(&cs->all, &x->node);
		cs->count++;
		crossing_start(x);
	}
	jobs_share(cs->jobs, cs->count);
	cs->events.on_move(cs->arg);
}

static void shut(struct crossings *cs, struct crossing *x)
{
	if (find(cs, x->host) == x) {
		list_drop(&x->node);
		list_append(&cs->leaving, &x->node);
		cs->count--;
	}
	crossing_stop(x);
}

/* Last touch of x. */
static void throw_out(struct crossings *cs, struct crossing *x, uint64_t generation,
	enum crossings_revocation how)
{
	if (generation > x->revoked)
		x->revoked = generation;
	if (how == CROSSINGS_SHUT && cs->state < CROSSINGS_STOPPING)
		shut(cs, x);
	jobs_revoke(cs->jobs, x, generation);
}

void crossings_revoke(struct crossings *cs, const char *host, uint64_t generation,
	enum crossings_revocation how)
{
	struct crossing *x = find(cs, host);

	/* First those that leave already: whoever is shut goes among them. */
	list_each_safe (n, &cs->leaving)
		if (strcmp(crossing_at(n)->host, host) == 0)
			throw_out(cs, crossing_at(n), generation, how);
	if (x != NULL)
		throw_out(cs, x, generation, how);
	jobs_share(cs->jobs, cs->count);
	cs->events.on_move(cs->arg);
}

/* ---- the way down ---- */

void crossings_drain(struct crossings *cs)
{
	BUG_ON(cs->state != CROSSINGS_SERVING);
	cs->state = CROSSINGS_DRAINING;
	list_each (n, &cs->all)
		crossing_drain(crossing_at(n));
	timer_after(&cs->soon, 0);
}

void crossings_stop(struct crossings *cs)
{
	struct node *const lists[] = { &cs->all, &cs->leaving };

	BUG_ON(cs->state >= CROSSINGS_STOPPING);
	cs->state = CROSSINGS_STOPPING;
	for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
		list_each (n, lists[i])
			crossing_stop(crossing_at(n));
	timer_after(&cs->soon, 0);
}

/* ---- questions ---- */

bool crossings_are_ready(const struct crossings *cs)
{
	list_each (n, &cs->all)
		if (!crossing_is_ready(crossing_at(n)))
			return false;
	return true;
}

enum crossings_progress crossings_progress(const struct crossings *cs)
{
	bool is_changing = !list_empty(&cs->leaving);

	list_each (n, &cs->all) {
		const struct relief *r = &crossing_at(n)->relief;

		if (r->state == RELIEF_PENDING)
			return CROSSINGS_PENDING;
		is_changing |= relief_is_changing(r) ||
			       crossing_at(n)->state != CROSSING_SERVING;
	}
	return is_changing ? CROSSINGS_CHANGING : CROSSINGS_STEADY;
}
