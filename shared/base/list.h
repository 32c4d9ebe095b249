/* list.h - intrusive doubly linked list with a sentinel; a node is in one list at most.
 *
 * Layer: base. Uses: libc. Thread: the owner's. */
#ifndef SALLYPORT_BASE_LIST_H
#define SALLYPORT_BASE_LIST_H

#include <stdbool.h>

#include "base/macro.h"

struct node {
	struct node *next;
	struct node *prev;
};

static inline void list_init(struct node *list)
{
	list->next = list;
	list->prev = list;
}

static inline bool list_empty(const struct node *list)
{
	return list->next == list;
}

static inline void list_append(struct node *list, struct node *n)
{
	n->prev = list->prev;
	n->next = list;
	list->prev->next = n;
	list->prev = n;
}

/* Puts n before `before`, which is a member or the list itself (then: at the end). */
static inline void list_insert_before(struct node *before, struct node *n)
{
	list_append(before, n);
}

/* Takes n out; n is afterwards an empty list of its own, so dropping twice is harmless. */
static inline void list_drop(struct node *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* Moves all members of `from` to the uninitialised list `to`; `from` is empty afterwards. */
static inline void list_take(struct node *to, struct node *from)
{
	list_init(to);
	if (list_empty(from))
		return;
	to->next = from->next;
	to->prev = from->prev;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

/* The body may not drop anything; for that, loop on list_empty() and the first member. */
#define list_each(n, list) for (struct node *n = (list)->next; n != (list); n = n->next)

/* The body may drop n itself, nothing else. */
#define list_each_safe(n, list)                                               \
	for (struct node *n = (list)->next, *n##_next = n->next; n != (list); \
		n = n##_next, n##_next = n->next)

#endif
