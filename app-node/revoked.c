#include "app-node/revoked.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"

static struct revocation *page_at(struct node *n)
{
	return container_of(n, struct revocation, node);
}

static struct revocation *find(const struct revoked *b, struct span host)
{
	list_each (n, &b->all)
		if (span_is(host, page_at(n)->host))
			return page_at(n);
	return NULL;
}

static enum err find_or_add(struct revoked *b, struct span host, struct revocation **out)
{
	*out = find(b, host);
	if (*out != NULL)
		return ERR_OK;
	if (b->count == REVOKED_MAX_HOSTS)
		return ERR_FULL;
	struct revocation *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ERR_NOMEM;
	BUG_ON(host.len >= sizeof(r->host));
	memcpy(r->host, host.at, host.len);
	list_append(&b->all, &r->node);
	b->count++;
	*out = r;
	return ERR_OK;
}

/* The table of options has let nothing else through. */
static struct identity identity_of(const char *item)
{
	struct identity who;

	BUG_ON(identity_parse(span_of(item), &who) != ERR_OK);
	return who;
}

static uint64_t up_to(const struct revocation *r)
{
	if (r == NULL)
		return 0;
	return r->told > r->configured ? r->told : r->configured;
}

void revoked_init(struct revoked *b)
{
	*b = (struct revoked){ 0 };
	list_init(&b->all);
}

void revoked_fini(struct revoked *b)
{
	while (b->all.next != NULL && !list_empty(&b->all)) {
		struct revocation *r = page_at(b->all.next);

		list_drop(&r->node);
		free(r);
	}
	*b = (struct revoked){ 0 };
}

enum err revoked_tell(
	struct revoked *b, const char *host, uint64_t generation, struct revocation **out)
{
	enum err err = find_or_add(b, span_of(host), out);

	if (err == ERR_OK && generation > (*out)->told)
		(*out)->told = generation;
	return err;
}

enum err revoked_prepare(struct revoked *b, const struct option_list *list)
{
	struct revocation *r;
	enum err err = ERR_OK;

	for (size_t i = 0; i < list->count && err == ERR_OK; i++)
		err = find_or_add(b, identity_of(list->at[i]).name, &r);
	return err;
}

struct revocation *revoked_configure(struct revoked *b, const char *item)
{
	struct identity who = identity_of(item);
	struct revocation *r = find(b, who.name);

	BUG_ON(r == NULL);
	uint64_t before = up_to(r);

	if (who.generation > r->configured)
		r->configured = who.generation;
	return up_to(r) > before ? r : NULL;
}

uint64_t revoked_up_to(const struct revoked *b, const char *host)
{
	return up_to(find(b, span_of(host)));
}

bool revoked_is_shut(const struct revoked *b, const char *host, const struct option_list *list)
{
	const struct revocation *r = find(b, span_of(host));

	if (r == NULL || !revocation_is_shut(r))
		return false;
	for (size_t i = 0; i < list->count; i++)
		if (identity_generation(span_of(list->at[i]), "web", host) >= r->told)
			return false;
	return true;
}
