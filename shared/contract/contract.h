/* contract.h - the portable API of a site: which operations exist, and what each one promises.
 *
 * Read from contract.yaml once; afterwards read-only, so any thread may look things up. Params and
 * results are compiled schemas. What this room does not judge yet (quotas, collections, templates)
 * is checked for known keys and kept as nodes with their places.
 * Layer: contract. Uses: base, yaml, schema, schedule. Never: uv, files other than the contract and
 * those of time zones. */
#ifndef SALLYPORT_CONTRACT_CONTRACT_H
#define SALLYPORT_CONTRACT_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/report.h"
#include "base/span.h"
#include "contract/schedule.h"
#include "contract/schema.h"
#include "contract/yaml.h"

enum {
	CONTRACT_MAX_BYTES = YAML_MAX_BYTES,
	CONTRACT_MAX_OPERATIONS = 1000,
	CONTRACT_MAX_NAME = 64, /* bytes of the name of an operation, a collection, a param */
	CONTRACT_MAX_PATTERNS = 100,
};

enum contract_kind {
	CONTRACT_READ = 0, /* web, answered on its own host */
	CONTRACT_CALL,     /* web to app and back before a deadline */
	CONTRACT_SEND,     /* web to app, stored */
	CONTRACT_PUSH,     /* app to web, stored */
	CONTRACT_TASK,     /* app to itself, stored */
};

/* How a stored operation is tried again after a failure. */
struct contract_retry {
	uint64_t attempts;   /* in all, the first one included */
	uint64_t first_ms;   /* the first wait */
	uint64_t longest_ms; /* no wait is longer */
	uint64_t window_ms;  /* parked as dead when this has passed since the first attempt */
};

struct operation {
	const char *name;
	struct span name_span; /* the same, for compares */
	enum contract_kind kind;
	uint64_t deadline_ms; /* call: until the answer; send, task: one run of the handler */
	uint64_t ttl_ms;      /* how long the id of a stored message is remembered */
	uint64_t concurrency; /* how many handlers may run at once on one node */
	const char *key;      /* the param whose value orders, or NULL */
	bool needs_subject;   /* a session token must come along */
	bool is_canary;       /* nobody calls it; who does is an intruder */
	struct contract_retry retry;
	bool has_schedule;
	struct schedule schedule;     /* of a task: when it is due */
	struct schema *params;        /* owned by the contract; NULL: it says nothing of them */
	struct schema *result;        /* likewise */
	const struct yaml_node *node; /* everything as it was written */
};

/* What the hosts that fit `host` may use. Empty lists: no line of that kind was written. */
struct contract_crossing {
	const char *host; /* a name, or a pattern with * */
	const char *const *allow;
	size_t allow_count;
	const char *const *deny;
	size_t deny_count;
	const struct yaml_node *node;
};

struct contract {
	const char *site;             /* its name */
	struct operation *operations; /* sorted by name */
	size_t operation_count;
	struct contract_crossing
		*crossings; /* in the order of the file; NULL: no such section */
	size_t crossing_count;
	bool has_crossings;
	const struct yaml_node *collections; /* a map, or NULL */
	const struct yaml_node *notify;      /* a map, or NULL */

	/* Owned. */
	struct span source; /* the file, byte for byte: its digest is taken over these */
	struct yaml_tree tree;
	const char **patterns; /* behind allow and deny */
};

/* Takes:   path is the file; the name in the report is the path as given.
 * Returns: ERR_OK; ERR_INPUT with every mistake of the file in the report (a file that cannot
 *          be read is a mistake too); ERR_NOMEM. Without ERR_OK out is zeroed.
 * Blocks:  reading the file. */
WARN_UNUSED enum err contract_load(
	const char *path, struct report *report, struct contract *out);

/* The same from memory; source is copied. `file` is what mistakes are told under. */
WARN_UNUSED enum err contract_parse(
	struct span source, const char *file, struct report *report, struct contract *out);

/* A zeroed contract is fine; it is zeroed afterwards, and with it go all operations. */
void contract_free(struct contract *c);

/* The operation of this name, or NULL. */
const struct operation *contract_find(const struct contract *c, struct span name);

/* May the web host `host` use this operation? Never a task, which belongs to the app realm.
 * Where the contract has a crossings section, the line that fits the host best decides (its own
 * name before a pattern, a longer pattern before a shorter one); a host that no line fits may
 * nothing; deny wins over allow; without allow everything is allowed that is not denied. */
bool contract_allows(
	const struct contract *c, struct span host, const struct operation *operation);

/* read, call, send, push, task. */
const char *contract_kind_text(enum contract_kind kind);

#endif
