#include "contract/contract.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/bug.h"
#include "base/file.h"
#include "base/text.h"
#include "contract/path.h"

enum {
	ON_READ = 1 << CONTRACT_READ,
	ON_CALL = 1 << CONTRACT_CALL,
	ON_SEND = 1 << CONTRACT_SEND,
	ON_PUSH = 1 << CONTRACT_PUSH,
	ON_TASK = 1 << CONTRACT_TASK,
	ON_STORED = ON_SEND | ON_PUSH | ON_TASK,
	ON_HANDLED = ON_CALL | ON_SEND | ON_TASK, /* a handler runs for it */
	ON_ALL = ON_READ | ON_CALL | ON_STORED,
};

static const char *const kind_names[] = { "read", "call", "send", "push", "task" };

/* Limits and defaults. */
static const uint64_t DEADLINE_MIN_MS = 10;
static const uint64_t DEADLINE_MAX_MS = SEC_MS(60);
static const uint64_t CALL_DEADLINE_MS = SEC_MS(2);
static const uint64_t STORED_DEADLINE_MS = SEC_MS(30);
static const uint64_t TTL_MIN_MS = SEC_MS(60);
static const uint64_t TTL_MAX_MS = SEC_MS(60) * 60 * 24 * 30;
static const uint64_t TTL_MS = SEC_MS(60) * 60 * 24;
static const uint64_t ATTEMPTS_MAX = 1000;
static const uint64_t WAIT_MIN_MS = 100;
static const uint64_t CONCURRENCY_MAX = 1024;
static const uint64_t CONCURRENCY = 16;
/* A message with an ordering key is held unacknowledged while it is tried again: the broker's
 * consumer_timeout (two hours) must stay far away. */
static const uint64_t KEYED_WINDOW_MAX_MS = SEC_MS(60) * 60;

struct reader {
	const char *file;
	struct report *report;
	struct contract *out;
	enum err err; /* ERR_NOMEM sticks; mistakes are in the report */
};

typedef void (*field_fn)(struct reader *r, const struct path *path,
	const struct yaml_node *node, struct operation *op);

/* One key of an operation. */
struct field {
	const char *name;
	unsigned kinds; /* on which kinds it means something */
	field_fn read;  /* NULL: kept as a node, judged later */
};

#define COMPLAIN(r, path, node, ...) \
	path_complain((r)->report, (r)->file, (path), (node)->line, (node)->column, __VA_ARGS__)
#define COMPLAIN_KEY(r, path, node, ...)                                                    \
	path_complain((r)->report, (r)->file, (path), (node)->key_line, (node)->key_column, \
		__VA_ARGS__)

static struct path below(const struct path *path, const struct yaml_node *node)
{
	return (struct path){ .up = path, .key = node->key };
}

static void complain_unknown(struct reader *r, const struct path *path,
	const struct yaml_node *node, const char *const *names, size_t count)
{
	const char *nearest = report_nearest(node->key, names, count);
	struct buf list;

	if (nearest != NULL) {
		COMPLAIN_KEY(r, path, node, "unknown key; did you mean \"%s\"?", nearest);
		return;
	}
	buf_init(&list, 300);
	for (size_t i = 0; i < count; i++)
		buf_format(&list, "%s%s", i == 0 ? "" : ", ", names[i]);
	COMPLAIN_KEY(
		r, path, node, "unknown key; here may stand: %.*s", SPAN_ARG(buf_span(&list)));
	buf_fini(&list);
}

/* True for a map, else complains. */
static bool want_map(struct reader *r, const struct path *path, const struct yaml_node *node)
{
	if (node->kind == YAML_MAP)
		return true;
	COMPLAIN(r, path, node,
		"must be a map: {key: value} or indented lines of \"key: value\"");
	return false;
}

static bool want_scalar(struct reader *r, const struct path *path, const struct yaml_node *node,
	const char *example)
{
	if (node->kind == YAML_SCALAR && node->tail == NULL && !yaml_is_null(node))
		return true;
	COMPLAIN(r, path, node, "must be one value, for example %s", example);
	return false;
}

/* Every key of a map that is otherwise judged later. */
static void check_keys(struct reader *r, const struct path *path, const struct yaml_node *node,
	const char *const *names, size_t count)
{
	if (!want_map(r, path, node))
		return;
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		struct path here = below(path, n);
		bool is_known = false;

		for (size_t i = 0; i < count; i++)
			is_known = is_known || span_is(n->key, names[i]);
		if (!is_known)
			complain_unknown(r, &here, n, names, count);
	}
}

static struct text_shown show_duration(uint64_t ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 },
		{ "ms", 1 } };
	struct text_shown shown = { "0ms" };

	for (size_t i = 0; i < ARRAY_COUNT(units) && ms > 0; i++) {
		if (ms % units[i].ms != 0)
			continue;
		snprintf(shown.at, sizeof(shown.at), "%llu%s",
			(unsigned long long)(ms / units[i].ms), units[i].unit);
		break;
	}
	return shown;
}

static void read_duration(struct reader *r, const struct path *path,
	const struct yaml_node *node, uint64_t min_ms, uint64_t max_ms, uint64_t *out)
{
	uint64_t ms;

	if (!want_scalar(r, path, node, "250ms"))
		return;
	if (text_parse_duration_ms(node->text, &ms) != ERR_OK) {
		COMPLAIN(r, path, node,
			"\"%s\" is not a duration; write a whole number with a unit: 250ms, "
			"5s, "
			"10m, 1h, 3d",
			text_show(node->text).at);
		return;
	}
	if (ms < min_ms || ms > max_ms) {
		COMPLAIN(r, path, node, "%s is out of range; from %s to %s", node->text.at,
			show_duration(min_ms).at, show_duration(max_ms).at);
		return;
	}
	*out = ms;
}

static void read_number(struct reader *r, const struct path *path, const struct yaml_node *node,
	uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t number;

	if (!want_scalar(r, path, node, "8"))
		return;
	if (node->is_quoted || text_parse_u64(node->text, &number) != ERR_OK) {
		COMPLAIN(r, path, node, "\"%s\" is not a whole number",
			text_show(node->text).at);
		return;
	}
	if (number < min || number > max) {
		COMPLAIN(r, path, node, "%s is out of range; from %llu to %llu", node->text.at,
			(unsigned long long)min, (unsigned long long)max);
		return;
	}
	*out = number;
}

static bool was_boolean_once(struct span text)
{
	static const char *const words[] = { "y", "n", "yes", "no", "on", "off" };

	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		if (text.len == strlen(words[i]) &&
			strncasecmp(text.at, words[i], text.len) == 0)
			return true;
	}
	return false;
}

static void read_bool(
	struct reader *r, const struct path *path, const struct yaml_node *node, bool *out)
{
	if (!want_scalar(r, path, node, "true"))
		return;
	if (!node->is_quoted && (span_is(node->text, "true") || span_is(node->text, "false"))) {
		*out = node->text.at[0] == 't';
		return;
	}
	if (node->is_quoted)
		COMPLAIN(r, path, node,
			"quoted it is a text; write true or false without quotes");
	else if (was_boolean_once(node->text))
		COMPLAIN(r, path, node, "\"%s\" is a word in YAML 1.2; write true or false",
			node->text.at);
	else
		COMPLAIN(
			r, path, node, "\"%s\" is not true or false", text_show(node->text).at);
}

/* One of the words; returns its index, or `count` after complaining. */
static size_t read_word(struct reader *r, const struct path *path, const struct yaml_node *node,
	const char *const *words, size_t count)
{
	struct buf list;

	if (!want_scalar(r, path, node, words[0]))
		return count;
	for (size_t i = 0; i < count; i++) {
		if (span_is(node->text, words[i]))
			return i;
	}
	const char *nearest = report_nearest(node->text, words, count);

	if (nearest != NULL) {
		COMPLAIN(r, path, node, "\"%s\" is unknown; did you mean \"%s\"?",
			text_show(node->text).at, nearest);
		return count;
	}
	buf_init(&list, 300);
	for (size_t i = 0; i < count; i++)
		buf_format(&list, "%s%s", i == 0 ? "" : ", ", words[i]);
	COMPLAIN(r, path, node, "\"%s\" is unknown; one of: %.*s", text_show(node->text).at,
		SPAN_ARG(buf_span(&list)));
	buf_fini(&list);
	return count;
}

static const char *read_name(
	struct reader *r, const struct path *path, const struct yaml_node *node)
{
	if (!want_scalar(r, path, node, "a name"))
		return NULL;
	if (!text_is_name(node->text, CONTRACT_MAX_NAME)) {
		COMPLAIN(r, path, node,
			"\"%s\" is not a name: 1 to %d letters, digits, \"-\", \"_\" and \".\"",
			text_show(node->text).at, CONTRACT_MAX_NAME);
		return NULL;
	}
	return node->text.at;
}

/* ---- the keys of an operation ---- */

static void on_deadline(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	read_duration(r, path, node, DEADLINE_MIN_MS, DEADLINE_MAX_MS, &op->deadline_ms);
}

static void on_ttl(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	read_duration(r, path, node, TTL_MIN_MS, TTL_MAX_MS, &op->ttl_ms);
}

static void on_concurrency(struct reader *r, const struct path *path,
	const struct yaml_node *node, struct operation *op)
{
	read_number(r, path, node, 1, CONCURRENCY_MAX, &op->concurrency);
}

static void on_key(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	op->key = read_name(r, path, node);
}

static void on_canary(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	read_bool(r, path, node, &op->is_canary);
}

static void on_flag(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	bool ignored;

	(void)op; /* judged here, used from the node by the room of the reads */
	read_bool(r, path, node, &ignored);
}

static void on_name(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	(void)op;
	(void)read_name(r, path, node);
}

static void on_text(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	(void)op;
	(void)want_scalar(r, path, node, "a text");
}

static void on_subject(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	static const char *const words[] = { "required", "none" };

	op->needs_subject = read_word(r, path, node, words, ARRAY_COUNT(words)) == 0;
}

static void on_retry(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	static const char *const names[] = { "attempts", "first", "longest", "window" };

	check_keys(r, path, node, names, ARRAY_COUNT(names));
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		struct path here = below(path, n);

		if (node->kind != YAML_MAP)
			break;
		if (span_is(n->key, "attempts"))
			read_number(r, &here, n, 1, ATTEMPTS_MAX, &op->retry.attempts);
		else if (span_is(n->key, "first"))
			read_duration(
				r, &here, n, WAIT_MIN_MS, TTL_MAX_MS, &op->retry.first_ms);
		else if (span_is(n->key, "longest"))
			read_duration(
				r, &here, n, WAIT_MIN_MS, TTL_MAX_MS, &op->retry.longest_ms);
		else if (span_is(n->key, "window"))
			read_duration(
				r, &here, n, WAIT_MIN_MS, TTL_MAX_MS, &op->retry.window_ms);
	}
}

static const char *const quota_keys[] = { "per_host", "per_key", "per_user", "burst",
	"egress" };

static void on_quota(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	(void)op;
	check_keys(r, path, node, quota_keys, ARRAY_COUNT(quota_keys));
}

static void read_schema(struct reader *r, const struct path *path, const struct yaml_node *node,
	enum schema_side side, struct schema **out)
{
	struct schema_source source = {
		.node = node,
		.path = path,
		.file = r->file,
		.report = r->report,
	};

	if (schema_create_shorthand(&source, side, out) == ERR_NOMEM)
		r->err = ERR_NOMEM;
}

/* What comes from the web is the narrower side. */
static void on_params(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	bool is_from_web = op->kind == CONTRACT_READ || op->kind == CONTRACT_CALL ||
			   op->kind == CONTRACT_SEND;

	if (!want_map(r, path, node) || op->params != NULL)
		return;
	read_schema(r, path, node, is_from_web ? SCHEMA_TO_APP : SCHEMA_TO_WEB, &op->params);
	if (op->params != NULL && !schema_is_object(op->params))
		COMPLAIN(r, path, node,
			"parameters are an object; say so: {schema: {type: object, …}}");
}

static void on_result(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	if (op->result == NULL)
		read_schema(r, path, node, SCHEMA_TO_WEB, &op->result);
}

static const struct field fields[] = {
	/* kind stands first: the others depend on it and it is read before them */
	{ "kind", ON_ALL, NULL },
	{ "params", ON_ALL, on_params },
	{ "result", ON_ALL, on_result },
	{ "deadline", ON_READ | ON_HANDLED, on_deadline },
	{ "fallback", ON_CALL, on_text },
	{ "quota", ON_ALL, on_quota },
	{ "key", ON_STORED, on_key },
	{ "subject", ON_READ | ON_CALL | ON_SEND, on_subject },
	{ "retry", ON_STORED, on_retry },
	{ "ttl", ON_STORED, on_ttl },
	{ "concurrency", ON_HANDLED, on_concurrency },
	{ "served", ON_READ, on_text },
	{ "collection", ON_READ, on_name },
	{ "strict", ON_READ, on_flag },
	{ "shadow", ON_READ, on_flag },
	{ "to", ON_PUSH, on_name },
	{ "schedule", ON_TASK, on_text },
	{ "zone", ON_TASK, on_text },
	{ "canary", ON_READ | ON_CALL | ON_SEND, on_canary },
};

static const struct field *field_find(struct span name)
{
	for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
		if (span_is(name, fields[i].name))
			return &fields[i];
	}
	return NULL;
}

static void complain_unknown_field(
	struct reader *r, const struct path *path, const struct yaml_node *node, unsigned kind)
{
	const char *names[ARRAY_COUNT(fields)];
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
		if ((fields[i].kinds & kind) != 0)
			names[count++] = fields[i].name;
	}
	complain_unknown(r, path, node, names, count);
}

static bool is_operation_name(struct span name)
{
	if (name.len == 0 || name.len > CONTRACT_MAX_NAME || name.at[0] == '.' ||
		name.at[name.len - 1] == '.')
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.'))
			return false;
		if (c == '.' && name.at[i - 1] == '.')
			return false;
	}
	return true;
}

/* What the daemons tell each other crosses under names of this kind (message/receipt.h). */
static bool is_reserved_name(struct span name)
{
	return span_starts(name, "sallyport.");
}

static bool read_kind(struct reader *r, const struct path *path, const struct yaml_node *node,
	struct operation *op)
{
	const struct yaml_node *kind = yaml_member(node, "kind");

	if (kind == NULL) {
		COMPLAIN_KEY(r, path, node,
			"has no kind; add \"kind: call\" (or read, send, push, task)");
		return false;
	}
	struct path here = below(path, kind);
	size_t which = read_word(r, &here, kind, kind_names, ARRAY_COUNT(kind_names));

	if (which == ARRAY_COUNT(kind_names))
		return false;
	op->kind = (enum contract_kind)which;
	return true;
}

static void set_defaults(struct operation *op)
{
	bool is_stored = (ON_STORED & 1u << op->kind) != 0;

	op->deadline_ms = is_stored ? STORED_DEADLINE_MS : CALL_DEADLINE_MS;
	op->concurrency = CONCURRENCY;
	if (!is_stored)
		return;
	op->ttl_ms = TTL_MS;
	op->retry = (struct contract_retry){
		.attempts = 8,
		.first_ms = SEC_MS(1),
		.longest_ms = SEC_MS(60),
		.window_ms = SEC_MS(600),
	};
}

/* What no single key can know. */
static void check_operation(
	struct reader *r, const struct path *path, const struct operation *op)
{
	const struct yaml_node *retry = yaml_member(op->node, "retry");
	const struct yaml_node *at = retry == NULL ? op->node : retry;
	struct path here = { path, span_of("retry") };

	const struct yaml_node *key = yaml_member(op->node, "key");

	if (op->key != NULL && op->params != NULL &&
		!schema_has_member(op->params, span_of(op->key))) {
		struct path there = { path, span_of("key") };

		COMPLAIN(r, &there, key, "params have no \"%s\"", op->key);
	}
	if (op->retry.first_ms > op->retry.longest_ms)
		COMPLAIN(r, &here, at, "first (%s) is longer than longest (%s)",
			show_duration(op->retry.first_ms).at,
			show_duration(op->retry.longest_ms).at);
	if (op->retry.window_ms > op->ttl_ms)
		COMPLAIN(r, &here, at, "window (%s) is longer than the operation's ttl (%s)",
			show_duration(op->retry.window_ms).at, show_duration(op->ttl_ms).at);
	if (op->key != NULL && op->retry.window_ms > KEYED_WINDOW_MAX_MS)
		COMPLAIN(r, &here, at,
			"window is %s; with a key it may be %s at most, because followers wait",
			show_duration(op->retry.window_ms).at,
			show_duration(KEYED_WINDOW_MAX_MS).at);
}

/* `schedule` and `zone` of a task mean one thing together. */
static void read_schedule(struct reader *r, const struct path *path, struct operation *op)
{
	const struct yaml_node *schedule = yaml_member(op->node, "schedule");
	const struct yaml_node *zone = yaml_member(op->node, "zone");
	struct path at_schedule = { path, span_of("schedule") };
	struct path at_zone = { path, span_of("zone") };
	struct schedule_why why;

	if (op->kind != CONTRACT_TASK)
		return;
	if (schedule != NULL && schedule->kind == YAML_SCALAR && !yaml_is_null(schedule)) {
		op->has_schedule = schedule_parse(schedule->text, &op->schedule, &why) ==
				   ERR_OK;
		if (!op->has_schedule)
			COMPLAIN(r, &at_schedule, schedule, "%s", why.text);
	}
	if (zone == NULL || zone->kind != YAML_SCALAR || yaml_is_null(zone))
		return;
	if (schedule == NULL)
		COMPLAIN_KEY(r, &at_zone, zone,
			"means nothing without a schedule; remove it, or add one");
	enum err err = zone_open(zone->text, &op->schedule.zone);

	if (err == ERR_NOT_FOUND || err == ERR_INPUT)
		COMPLAIN(r, &at_zone, zone,
			"this machine knows no time zone \"%s\"; one is named like "
			"Europe/Berlin or UTC",
			text_show(zone->text).at);
	else if (err != ERR_OK)
		COMPLAIN(r, &at_zone, zone, "the time zone cannot be read: %s", err_text(err));
}

static void read_operation(struct reader *r, const struct path *path,
	const struct yaml_node *node, struct operation *op)
{
	size_t before = r->report->count + r->report->dropped;

	*op = (struct operation){
		.name = node->key.at,
		.name_span = node->key,
		.node = node,
	};
	if (!is_operation_name(node->key))
		COMPLAIN_KEY(r, path, node,
			"an operation is named like noun.verb: 1 to %d of a-z, 0-9, \"_\" and "
			"\".\"",
			CONTRACT_MAX_NAME);
	else if (is_reserved_name(node->key))
		COMPLAIN_KEY(r, path, node,
			"names that begin with \"sallyport.\" are the daemons' own");
	if (!want_map(r, path, node))
		return;
	bool has_kind = read_kind(r, path, node, op);
	unsigned kind = has_kind ? 1u << op->kind : ON_ALL;

	set_defaults(op);
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		const struct field *field = field_find(n->key);
		struct path here = below(path, n);

		if (field == NULL)
			complain_unknown_field(r, &here, n, kind);
		else if ((field->kinds & kind) == 0)
			COMPLAIN_KEY(r, &here, n, "means nothing on a %s; remove it",
				kind_names[op->kind]);
		else if (field->read != NULL)
			field->read(r, &here, n, op);
	}
	read_schedule(r, path, op);
	if (r->report->count + r->report->dropped == before)
		check_operation(r, path, op);
}

static int compare_operations(const void *left, const void *right)
{
	const struct operation *a = left;
	const struct operation *b = right;

	return strcmp(a->name, b->name);
}

static enum err read_operations(struct reader *r, const struct yaml_node *node)
{
	struct path path = { NULL, node->key };
	struct contract *c = r->out;

	if (!want_map(r, &path, node))
		return ERR_OK;
	if (node->count > CONTRACT_MAX_OPERATIONS) {
		COMPLAIN_KEY(r, &path, node, "%zu operations; at most %d", node->count,
			CONTRACT_MAX_OPERATIONS);
		return ERR_OK;
	}
	c->operations = calloc(node->count + 1, sizeof(*c->operations));
	if (c->operations == NULL)
		return ERR_NOMEM;
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		struct path here = below(&path, n);

		read_operation(r, &here, n, &c->operations[c->operation_count++]);
	}
	if (r->err != ERR_OK)
		return r->err;
	qsort(c->operations, c->operation_count, sizeof(*c->operations), compare_operations);
	return ERR_OK;
}

/* ---- the other sections ---- */

static bool is_pattern(struct span text)
{
	if (text.len == 0 || text.len > CONTRACT_MAX_NAME)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		struct span one = { text.at + i, 1 };

		if (text.at[i] != '*' && !text_is_name(one, 1))
			return false;
	}
	return true;
}

static void read_patterns(struct reader *r, const struct path *path,
	const struct yaml_node *node, const char **to, size_t *count_out)
{
	if (node->kind != YAML_LIST || node->count > CONTRACT_MAX_PATTERNS) {
		COMPLAIN(r, path, node,
			"must be a list of at most %d patterns, for example [\"admin.*\"]",
			CONTRACT_MAX_PATTERNS);
		return;
	}
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		if (!want_scalar(r, path, n, "\"admin.*\""))
			continue;
		if (!is_pattern(n->text))
			COMPLAIN(r, path, n,
				"\"%s\" is not a pattern: the name of an operation, with * for "
				"any part of it",
				text_show(n->text).at);
		else
			to[(*count_out)++] = n->text.at;
	}
}

static void read_crossing(struct reader *r, const struct path *path,
	const struct yaml_node *node, struct contract_crossing *out, const char **patterns)
{
	static const char *const names[] = { "allow", "deny", "notify" };
	const struct yaml_node *allow = yaml_member(node, "allow");
	const struct yaml_node *deny = yaml_member(node, "deny");

	*out = (struct contract_crossing){ .host = node->key.at, .node = node };
	if (!is_pattern(node->key))
		COMPLAIN_KEY(r, path, node,
			"here stands the name of a host, with * for any part of it");
	check_keys(r, path, node, names, ARRAY_COUNT(names));
	if (allow != NULL) {
		struct path here = below(path, allow);

		out->allow = patterns;
		read_patterns(r, &here, allow, patterns, &out->allow_count);
		patterns += out->allow_count;
	}
	if (deny != NULL) {
		struct path here = below(path, deny);

		out->deny = patterns;
		read_patterns(r, &here, deny, patterns, &out->deny_count);
	}
	/* An empty allow list allows nothing, which is not the same as no list. */
	if (allow != NULL && allow->kind == YAML_LIST && allow->count == 0)
		COMPLAIN(r, path, allow,
			"an empty list; to forbid everything write deny: [\"*\"]");
}

static enum err read_crossings(struct reader *r, const struct yaml_node *node)
{
	struct path path = { NULL, node->key };
	struct contract *c = r->out;
	size_t pattern_count = 0;

	c->has_crossings = true;
	if (!want_map(r, &path, node))
		return ERR_OK;
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		const struct yaml_node *allow = yaml_member(n, "allow");
		const struct yaml_node *deny = yaml_member(n, "deny");

		pattern_count += allow == NULL ? 0 : allow->count;
		pattern_count += deny == NULL ? 0 : deny->count;
	}
	c->crossings = calloc(node->count + 1, sizeof(*c->crossings));
	c->patterns = calloc(pattern_count + 1, sizeof(*c->patterns));
	if (c->crossings == NULL || c->patterns == NULL)
		return ERR_NOMEM;
	const char **patterns = c->patterns;

	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		struct contract_crossing *crossing = &c->crossings[c->crossing_count++];
		struct path here = below(&path, n);

		read_crossing(r, &here, n, crossing, patterns);
		patterns += crossing->allow_count + crossing->deny_count;
	}
	return ERR_OK;
}

/* A map of named maps whose keys are known: collections, notify. False when it is no map. */
static bool read_named_maps(
	struct reader *r, const struct yaml_node *node, const char *const *names, size_t count)
{
	struct path path = { NULL, node->key };

	if (!want_map(r, &path, node))
		return false;
	for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
		struct path here = below(&path, n);

		if (!text_is_name(n->key, CONTRACT_MAX_NAME))
			COMPLAIN_KEY(r, &here, n,
				"not a name: 1 to %d letters, digits, \"-\", \"_\" and \".\"",
				CONTRACT_MAX_NAME);
		check_keys(r, &here, n, names, count);
	}
	return true;
}

static void check_collection_of(struct reader *r, const struct operation *op)
{
	const struct yaml_node *named = yaml_member(op->node, "collection");
	const char *names[64];
	size_t count = 0;

	if (named == NULL || named->kind != YAML_SCALAR)
		return;
	const struct yaml_node *all = r->out->collections;

	for (const struct yaml_node *n = all == NULL ? NULL : all->first; n != NULL;
		n = n->next) {
		if (span_equals(n->key, named->text))
			return;
		if (count < ARRAY_COUNT(names))
			names[count++] = n->key.at;
	}
	struct path top = { NULL, span_of("operations") };
	struct path mid = { &top, op->name_span };
	struct path here = below(&mid, named);
	const char *nearest = report_nearest(named->text, names, count);

	if (nearest != NULL)
		COMPLAIN(r, &here, named, "there is no collection \"%s\"; did you mean \"%s\"?",
			text_show(named->text).at, nearest);
	else
		COMPLAIN(r, &here, named,
			"there is no collection \"%s\"; add it to collections",
			text_show(named->text).at);
}

static enum err read_root(struct reader *r, const struct yaml_node *root)
{
	static const char *const names[] = { "site", "operations", "crossings", "collections",
		"notify" };
	static const char *const collection_keys[] = { "key", "row", "index", "max_rows",
		"max_bytes", "max_age", "canary_rows" };
	static const char *const notify_keys[] = { "channel", "to", "template", "params",
		"quota" };
	struct contract *c = r->out;
	enum err err = ERR_OK;

	check_keys(r, NULL, root, names, ARRAY_COUNT(names));
	if (root->kind != YAML_MAP)
		return ERR_OK;
	/* The first of each; a second one is reported already. */
	const struct yaml_node *site = yaml_member(root, "site");
	const struct yaml_node *operations = yaml_member(root, "operations");
	const struct yaml_node *crossings = yaml_member(root, "crossings");
	const struct yaml_node *collections = yaml_member(root, "collections");
	const struct yaml_node *notify = yaml_member(root, "notify");

	c->site = "site";
	if (site != NULL) {
		struct path here = { NULL, site->key };

		c->site = read_name(r, &here, site);
	}
	if (operations != NULL)
		err = read_operations(r, operations);
	else
		report_add(r->report, r->file, 0, 0, span_of("operations"),
			"this section is missing; a first one: operations: {quote.price: "
			"{kind: call}}");
	if (err == ERR_OK && crossings != NULL)
		err = read_crossings(r, crossings);
	if (collections != NULL &&
		read_named_maps(r, collections, collection_keys, ARRAY_COUNT(collection_keys)))
		c->collections = collections;
	if (notify != NULL && read_named_maps(r, notify, notify_keys, ARRAY_COUNT(notify_keys)))
		c->notify = notify;
	for (size_t i = 0; i < c->operation_count; i++)
		check_collection_of(r, &c->operations[i]);
	return err;
}

/* ---- public ---- */

enum err contract_parse(
	struct span source, const char *file, struct report *report, struct contract *out)
{
	struct reader r = { .file = file, .report = report, .out = out };
	size_t before = report->count + report->dropped;

	*out = (struct contract){ 0 };
	enum err err = yaml_open(source, file, report, &out->tree);

	if (out->tree.root == NULL)
		return err;
	char *copy = malloc(source.len + 1);

	if (copy != NULL) {
		memcpy(copy, source.at, source.len);
		out->source = (struct span){ .at = copy, .len = source.len };
		err = read_root(&r, out->tree.root);
	} else {
		err = ERR_NOMEM;
	}
	if (err == ERR_OK && report->count + report->dropped != before)
		err = ERR_INPUT;
	if (err != ERR_OK)
		contract_free(out);
	return err;
}

enum err contract_load(const char *path, struct report *report, struct contract *out)
{
	struct buf source;

	*out = (struct contract){ 0 };
	buf_init(&source, CONTRACT_MAX_BYTES);
	enum err err = file_read(path, &source);

	if (err == ERR_OK) {
		err = contract_parse(buf_span(&source), path, report, out);
	} else if (err != ERR_NOMEM) {
		report_add(report, path, 0, 0, (struct span){ 0 }, "cannot be read: %s",
			err == ERR_FULL ? "larger than 1 MiB" : file_why(err));
		err = ERR_INPUT;
	}
	buf_fini(&source);
	return err;
}

void contract_free(struct contract *c)
{
	for (size_t i = 0; i < c->operation_count; i++) {
		schema_destroy(c->operations[i].params);
		schema_destroy(c->operations[i].result);
		schedule_free(&c->operations[i].schedule);
	}
	free(c->operations);
	free(c->crossings);
	free(c->patterns);
	free((char *)(uintptr_t)c->source.at);
	yaml_close(&c->tree);
	*c = (struct contract){ 0 };
}

const struct operation *contract_find(const struct contract *c, struct span name)
{
	size_t low = 0;
	size_t high = c->operation_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct operation *op = &c->operations[middle];
		size_t len = op->name_span.len < name.len ? op->name_span.len : name.len;
		int order = len == 0 ? 0 : memcmp(op->name, name.at, len);

		if (order == 0 && op->name_span.len == name.len)
			return op;
		if (order < 0 || (order == 0 && op->name_span.len < name.len))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* `*` stands for any bytes, also none. Linear but for the pattern's length. */
static bool fits(struct span text, const char *pattern)
{
	const char *star = NULL;
	size_t star_at = 0;
	size_t at = 0;

	while (at < text.len) {
		if (*pattern == '*') {
			star = ++pattern;
			star_at = at;
		} else if (*pattern == text.at[at]) {
			pattern++;
			at++;
		} else if (star != NULL) {
			pattern = star;
			at = ++star_at;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static bool fits_any(struct span text, const char *const *patterns, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (fits(text, patterns[i]))
			return true;
	}
	return false;
}

static const struct contract_crossing *crossing_of(const struct contract *c, struct span host)
{
	const struct contract_crossing *best = NULL;

	for (size_t i = 0; i < c->crossing_count; i++) {
		const struct contract_crossing *x = &c->crossings[i];

		if (span_is(host, x->host))
			return x;
		if (fits(host, x->host) &&
			(best == NULL || strlen(x->host) > strlen(best->host)))
			best = x;
	}
	return best;
}

bool contract_allows(
	const struct contract *c, struct span host, const struct operation *operation)
{
	if (operation->kind == CONTRACT_TASK)
		return false;
	if (!c->has_crossings)
		return true;
	const struct contract_crossing *x = crossing_of(c, host);

	if (x == NULL || fits_any(operation->name_span, x->deny, x->deny_count))
		return false;
	return x->allow == NULL || fits_any(operation->name_span, x->allow, x->allow_count);
}

const char *contract_kind_text(enum contract_kind kind)
{
	BUG_ON((size_t)kind >= ARRAY_COUNT(kind_names));
	return kind_names[kind];
}
