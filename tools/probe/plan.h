/* plan.h - what to try: where the broker is, whose certificates may be used, what a right border
 * allows.
 *
 * Layer: tools. Uses: base, amqp/tls (to look at certificates), daemon/options. */
#ifndef SALLYPORT_PROBE_PLAN_H
#define SALLYPORT_PROBE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/report.h"
#include "daemon/options.h"
#include "line.h"

/* Who tries. */
enum role {
	ROLE_WEB = 0, /* the host whose border is tried, with its real certificate */
	ROLE_NODE,    /* an app node */
	ROLE_OTHER,   /* another web host */
	ROLE_NOBODY,  /* without a certificate */
	ROLE_SELF_SIGNED,
	ROLE_STRANGER, /* by another authority, the host's name in it */
	ROLE_EXPIRED,
	ROLE_SERVER,   /* the broker's own certificate, as a client */
	ROLE_PREVIOUS, /* a generation before the present one */
	ROLE_UNKNOWN,  /* by the right authority, of a name that has no user */
	ROLE_COUNT,
};

/* As it stands in the tables and in the JSON: "web", "self-signed". */
const char *role_name(enum role role);

enum { PLAN_NAME_BYTES = 64 };

struct badge_paths {
	char *certificate; /* NULL: not given */
	char *key;
};

struct plan {
	/* as in the file */
	char *broker;
	char *ca;
	struct badge_paths badges[ROLE_COUNT];
	struct option_list vhosts;
	struct option_list ports;
	uint64_t connections;
	uint64_t channels;
	uint64_t channel_max;
	uint64_t message_bytes;
	uint64_t frame_bytes;
	uint64_t patience_ms;
	uint64_t within_ms;
	bool has_inner;
	/* worked out */
	char address[256]; /* of the broker, without its port */
	struct line_place place;
	char users[ROLE_COUNT][PLAN_NAME_BYTES + 1]; /* names in web, node and other */
	char host[PLAN_NAME_BYTES + 1];
	char other_host[PLAN_NAME_BYTES + 1]; /* "" when not given */
	char node[PLAN_NAME_BYTES + 1];
};

/* Reads and checks all of it.
 *
 * Returns: ERR_OK, plan_close() frees; ERR_INPUT with every mistake in the report; ERR_NOMEM.
 * Blocks:  reading the plan and the certificates that it names. */
WARN_UNUSED enum err plan_open(const char *path, struct report *report, struct plan *out);
void plan_close(struct plan *p); /* a zeroed one is fine */

/* A plan with every key. */
void plan_example(struct buf *out);

static inline struct line_badge plan_badge(const struct plan *p, enum role role)
{
	return (struct line_badge){
		.certificate = p->badges[role].certificate,
		.key = p->badges[role].key,
	};
}

/* May the acts of this role be tried: is its certificate there, or does it need none? */
static inline bool plan_has(const struct plan *p, enum role role)
{
	return role == ROLE_NOBODY || p->badges[role].certificate != NULL;
}

#endif
