#include "webapp-agent/errand.h"

#include <stdlib.h>

#include "base/bug.h"
#include "base/clock.h"
#include "http/raw.h"

/* One request that waits for an errand. */
struct waiter {
	struct node node;
	struct errand *errand;
	struct http_request *rq;
	struct timer patience; /* of one who joined and said how long */
};

static int compare_ids(const struct errand *a, const struct errand *b)
{
	return id_compare(&a->id, &b->id);
}

static int compare_keys(const struct errand *a, const struct errand *b)
{
	return strcmp(a->key, b->key);
}

RB_GENERATE_STATIC(errands_by_id, errand, by_id, compare_ids)
RB_GENERATE_STATIC(errands_by_key, errand, by_key, compare_keys)

static bool has_key(const struct errand *e)
{
	return e->key[0] != '\0';
}

static bool is_kept(enum errand_state state)
{
	return state == ERRAND_LAPSED || state == ERRAND_DONE;
}

/* "Not now" and "nobody knows" may be different the next time. Everything else is the outcome of a run
 * that ended, a failed one too (502): the same id is not run twice. */
static bool is_final(unsigned status)
{
	return status != 429 && status != 503 && status != 504;
}

#define TO(s) (1u << ERRAND_##s)
static const unsigned next_states[ERRAND_NSTATES] = {
	[ERRAND_FRESH] = TO(SENT),
	[ERRAND_SENT] = TO(LAPSED) | TO(DONE),
	[ERRAND_LAPSED] = TO(SENT) | TO(DONE),
	[ERRAND_DONE] = 0,
};
#undef TO

/* The counts and the list of what is kept follow the state, here and nowhere else. */
static void leave_state(struct errand *e)
{
	struct errands *all = e->all;

	if (e->state == ERRAND_SENT)
		all->sent_count--;
	if (is_kept(e->state)) {
		list_drop(&e->kept);
		all->kept_count--;
		all->kept_bytes -= e->kept_bytes;
	}
	timer_cancel(&e->timer);
}

static void move(struct errand *e, enum errand_state to)
{
	BUG_ON((next_states[e->state] & (1u << to)) == 0);
	leave_state(e);
	e->state = to;
	if (to == ERRAND_SENT)
		e->all->sent_count++;
	if (is_kept(to)) {
		list_append(&e->all->kept, &e->kept);
		e->all->kept_count++;
		e->kept_bytes = e->body.len;
		e->all->kept_bytes += e->kept_bytes;
		timer_after(&e->timer, e->all->config.keep_ms);
	}
}

static void forget(struct errand *e)
{
	BUG_ON(!list_empty(&e->waiters));
	leave_state(e);
	RB_REMOVE(errands_by_id, &e->all->by_id, e);
	if (has_key(e))
		RB_REMOVE(errands_by_key, &e->all->by_key, e);
	buf_fini(&e->body);
	free(e);
}

static void trim_kept(struct errands *all)
{
	while (all->kept_count > all->config.max_kept ||
		all->kept_bytes > all->config.max_kept_bytes)
		forget(container_of(all->kept.next, struct errand, kept));
}

static void waiter_free(struct waiter *w)
{
	w->errand->all->waiter_count--;
	timer_cancel(&w->patience);
	list_drop(&w->node);
	free(w);
}

static void on_gone(void *arg, enum err reason)
{
	(void)reason;
	waiter_free(arg); /* the errand goes on: somebody may ask for it again */
}

static void on_impatient(struct timer *timer)
{
	struct waiter *w = container_of(timer, struct waiter, patience);
	struct errand *e = w->errand;
	struct http_request *rq = w->rq;

	waiter_free(w);
	e->all->config.on_impatient(e, rq);
}

static void answer(const struct errand *e, struct http_request *rq, struct span body)
{
	struct id_text id = id_format(&e->id);
	struct raw_seconds seconds;
	struct http_header headers[2] = { { .name = "Sallyport-Id", .value = id.at } };
	struct http_answer answer = {
		.status = e->status,
		.content_type = e->content_type,
		.body = body,
		.headers = headers,
		.header_count = 1,
	};

	if (e->retry_after_ms > 0) {
		seconds = raw_retry_after(e->retry_after_ms);
		headers[answer.header_count++] = (struct http_header){ .name = "Retry-After",
			.value = seconds.at };
	}
	http_request_answer(rq, &answer);
}

static void tell_problem(struct errand *e, const struct problem *problem)
{
	struct id_text id = id_format(&e->id);
	struct problem told = *problem;

	told.id = span_of(id.at);
	while (!list_empty(&e->waiters)) {
		struct waiter *w = container_of(e->waiters.next, struct waiter, node);
		struct http_request *rq = w->rq;

		waiter_free(w);
		http_request_answer_problem(rq, &told);
	}
}

static void on_timer(struct timer *timer)
{
	struct errand *e = container_of(timer, struct errand, timer);

	if (e->state == ERRAND_SENT)
		e->on_lapse(e); /* last touch */
	else
		forget(e);
}

void errands_init(struct errands *all, struct loop *l, const struct errands_config *config)
{
	struct id dice;

	id_make(&dice, 0);
	*all = (struct errands){
		.loop = l,
		.config = *config,
		.mark = id_mark(&dice),
		.begun_unix_ms = clock_unix_ms(),
	};
	RB_INIT(&all->by_id);
	RB_INIT(&all->by_key);
	list_init(&all->kept);
}

void errands_fini(struct errands *all)
{
	if (all->loop == NULL)
		return;
	BUG_ON(all->sent_count > 0 || all->waiter_count > 0);
	while (!list_empty(&all->kept))
		forget(container_of(all->kept.next, struct errand, kept));
	BUG_ON(!RB_EMPTY(&all->by_id));
	*all = (struct errands){ 0 };
}

static struct errand *find_key(struct errands *all, struct span key)
{
	struct errand wanted = { 0 };

	if (key.len == 0)
		return NULL;
	memcpy(wanted.key, key.at, key.len);
	return RB_FIND(errands_by_key, &all->by_key, &wanted);
}

static struct errand *make(struct errands *all, const struct errand_ask *ask)
{
	struct errand *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->all = all;
	e->kind = ask->kind;
	e->content = *ask->content;
	memcpy(e->key, ask->key.at == NULL ? "" : ask->key.at, ask->key.len);
	list_init(&e->waiters);
	list_init(&e->kept);
	buf_init(&e->body, SIZE_MAX);
	timer_init(&e->timer, all->loop, on_timer);
	id_make(&e->id, clock_unix_ms());
	id_set_mark(&e->id, all->mark);
	BUG_ON(RB_INSERT(errands_by_id, &all->by_id, e) != NULL); /* 62 random bits met again */
	if (has_key(e))
		RB_INSERT(errands_by_key, &all->by_key, e);
	return e;
}

static enum err join(struct errand *e, struct http_request *rq)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return ERR_NOMEM;
	w->errand = e;
	w->rq = rq;
	list_append(&e->waiters, &w->node);
	e->all->waiter_count++;
	http_request_hold(rq, on_gone, w);
	return ERR_OK;
}

/* Who makes an errand waits as long as it does; who joins it as long as he said. */
static void be_patient(struct waiter *w, uint64_t wait_ms)
{
	if (wait_ms == 0)
		return;
	timer_init(&w->patience, w->errand->all->loop, on_impatient);
	timer_after(&w->patience, wait_ms);
}

enum err errand_for(struct errands *all, const struct errand_ask *ask, struct http_request *rq,
	struct errand **out, enum errand_match *match)
{
	BUG_ON(ask->key.len > ERRAND_KEY_MAX_BYTES);
	BUG_ON(ask->wait_ms > 0 && all->config.on_impatient == NULL);
	struct errand *e = find_key(all, ask->key);
	bool is_known = e != NULL;

	if (is_known && !digest_equals(&e->content, ask->content))
		return ERR_CONFLICT;
	if (is_known && e->state == ERRAND_DONE) {
		all->joined++;
		answer(e, rq, buf_span(&e->body));
		*match = ERRAND_JOINED;
		return ERR_OK;
	}
	/* An errand whose people have left still counts: somebody may have left on purpose. But
	 * who comes back to it makes it no more. */
	if (all->waiter_count >= all->config.max_waiting ||
		(all->sent_count >= all->config.max_waiting &&
			!(is_known && e->state == ERRAND_SENT)))
		return ERR_FULL;
	if (!is_known)
		e = make(all, ask);
	if (e == NULL)
		return ERR_NOMEM;
	enum err err = join(e, rq);

	if (err != ERR_OK) {
		if (!is_known)
			forget(e);
		return err;
	}
	*out = e;
	*match = ERRAND_NEW;
	if (e->state == ERRAND_SENT) {
		all->joined++;
		be_patient(container_of(e->waiters.prev, struct waiter, node), ask->wait_ms);
		*match = ERRAND_JOINED;
	} else if (e->state == ERRAND_LAPSED) {
		*match = ERRAND_AGAIN;
	}
	return ERR_OK;
}

void errand_sent(struct errand *e, uint64_t timeout_ms, void (*on_lapse)(struct errand *e))
{
	move(e, ERRAND_SENT);
	e->on_lapse = on_lapse;
	e->begun_us = clock_mono_us();
	timer_after(&e->timer, timeout_ms);
}

enum errand_maker errand_maker(const struct errands *all, const struct id *id)
{
	if (id_mark(id) == all->mark)
		return ERRAND_MADE_HERE;
	return id_unix_ms(id) < all->begun_unix_ms ? ERRAND_MADE_BEFORE : ERRAND_MADE_ELSEWHERE;
}

struct errand *errand_find(struct errands *all, const struct id *id)
{
	struct errand wanted = { .id = *id };

	return RB_FIND(errands_by_id, &all->by_id, &wanted);
}

void errand_done(struct errand *e, const struct errand_outcome *outcome)
{
	e->status = outcome->status;
	e->content_type = outcome->content_type;
	e->retry_after_ms = outcome->retry_after_ms;
	if (has_key(e) && is_final(outcome->status))
		buf_append(&e->body, outcome->body);
	if (is_final(outcome->status))
		move(e, ERRAND_DONE);
	else if (e->state == ERRAND_SENT)
		move(e, ERRAND_LAPSED);
	while (!list_empty(&e->waiters)) {
		struct waiter *w = container_of(e->waiters.next, struct waiter, node);
		struct http_request *rq = w->rq;

		waiter_free(w);
		answer(e, rq, outcome->body);
	}
	if (!has_key(e) || buf_status(&e->body) != ERR_OK)
		forget(e);
	else
		trim_kept(e->all);
}

static void lapse(struct errand *e, const struct problem *problem)
{
	tell_problem(e, problem);
	move(e, ERRAND_LAPSED);
	if (!has_key(e))
		forget(e);
}

void errand_lapse(struct errand *e, const struct problem *problem)
{
	struct errands *all = e->all;

	lapse(e, problem);
	trim_kept(all);
}

void errand_drop(struct errand *e, const struct problem *problem)
{
	tell_problem(e, problem);
	if (e->state == ERRAND_FRESH)
		forget(e);
}

unsigned errands_lapse_since(struct errands *all, void (*on_lapse)(struct errand *e),
	uint64_t since_us, const struct problem *problem)
{
	struct errand *e;
	struct errand *next;
	unsigned count = 0;

	RB_FOREACH_SAFE(e, errands_by_id, &all->by_id, next)
	{
		if (e->state != ERRAND_SENT || e->on_lapse != on_lapse ||
			e->begun_us < since_us)
			continue;
		lapse(e, problem);
		count++;
	}
	trim_kept(all); /* not before: it may forget `next` */
	return count;
}

void errands_cancel(struct errands *all, const struct problem *problem)
{
	struct errand *e;
	struct errand *next;

	RB_FOREACH_SAFE(e, errands_by_id, &all->by_id, next)
	{
		if (e->state == ERRAND_SENT)
			lapse(e, problem);
	}
	trim_kept(all); /* not before: it may forget `next` */
}
