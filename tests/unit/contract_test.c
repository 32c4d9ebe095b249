/* The contract file: what it means, what it refuses, and who may use what. */
#include "contract/contract.h"

#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "unit/unit.h"

static struct report report;
static struct contract contract;
static struct buf shown;

static void setup(void)
{
	report_init(&report);
	buf_init(&shown, MIB(1));
}

static void teardown(void)
{
	report_fini(&report);
	contract_free(&contract);
	contract_free(&contract);
	buf_fini(&shown);
}

static const char *shown_report(void)
{
	buf_clear(&shown);
	report_format(&report, &shown);
	buf_byte(&shown, '\0');
	return shown.at;
}

static void must_parse(const char *text)
{
	enum err err = contract_parse(span_of(text), "c", &report, &contract);

	ck_assert_msg(err == ERR_OK, "%s", shown_report());
}

static const struct operation *must_find(const char *name)
{
	const struct operation *op = contract_find(&contract, span_of(name));

	ck_assert_ptr_nonnull(op);
	ck_assert_str_eq(op->name, name);
	return op;
}

/* The first site: ten lines are enough. */
static const char ten_lines[] =
	"site: shop\n"
	"operations:\n"
	"  quote.price: {kind: call, params: {sku: text(32), quantity: 1..1000}, result: "
	"{cents: "
	"int}}\n"
	"  order.place: {kind: send, key: customer, params: {customer: id, lines: "
	"list(50){sku: "
	"text(32), quantity: 1..1000}}}\n"
	"collections:\n"
	"  catalog: {key: sku, row: {sku: text(32), title: text(200), cents: int}}\n";

/* And everything that can be said. */
static const char in_full[] =
	"crossings:                          # which host may use what\n"
	"  web*:  {deny: [\"admin.*\"]}\n"
	"  admin: {allow: [\"admin.*\"], notify: none}\n"
	"operations:\n"
	"  quote.price:\n"
	"    kind: call                      # read | call | send | push | task\n"
	"    deadline: 250ms\n"
	"    fallback: last-answer(10m)      # or: collection(prices, sku) | send | none\n"
	"    quota: {per_host: 200/s, burst: 400, egress: 2MiB/h}\n"
	"    params: {schema: {type: object, required: [sku, quantity], properties: {\n"
	"      sku: {type: string, maxLength: 32}, quantity: {type: integer}}}}\n"
	"    result: {cents: int}\n"
	"  order.place:\n"
	"    kind: send\n"
	"    key: customer                   # order is kept per customer\n"
	"    subject: required               # a session token minted in the app realm\n"
	"    retry: {attempts: 8, first: 1s, longest: 1m, window: 10m}\n"
	"    ttl: 3d\n"
	"    quota: {per_host: 50/s, per_key: 10/min}\n"
	"    params: {customer: id, lines: list(50){sku: text(32)}}\n"
	"    result: {number: 1..999999}      # optional: arrives later as a push\n"
	"  product.show:   {kind: read, served: colocated-then-message, collection: catalog, "
	"strict: false, shadow: false}\n"
	"  order.status:   {kind: push, key: order, to: origin, params: {order: id}}\n"
	"  report.nightly: {kind: task, schedule: \"0 3 * * *\", zone: Europe/Berlin, params: "
	"{day?: text(10)}}\n"
	"  debug.dump:     {kind: send, canary: true}   # nobody calls this\n"
	"collections:\n"
	"  catalog: {key: sku, row: {\xe2\x80\xa6}, index: [title], max_rows: 100000, "
	"max_bytes: "
	"64MiB, max_age: 1h, canary_rows: 3}\n"
	"notify:\n"
	"  order_confirmation: {channel: mail, to: user, params: {order: id, total: text(20)}, "
	"quota: {per_user: 10/h, per_host: 200/h}}\n";

START_TEST(ten_lines_are_a_contract_and_the_rest_has_defaults)
{
	must_parse(ten_lines);
	ck_assert_str_eq(contract.site, "shop");
	ck_assert_uint_eq(contract.operation_count, 2);
	ck_assert(span_is(contract.source, ten_lines));
	ck_assert_ptr_nonnull(yaml_member(contract.collections, "catalog"));
	ck_assert_ptr_null(contract.notify);
	ck_assert(!contract.has_crossings);

	const struct operation *call = must_find("quote.price");

	ck_assert_int_eq(call->kind, CONTRACT_CALL);
	ck_assert_uint_eq(call->deadline_ms, 2000);
	ck_assert_uint_eq(call->concurrency, 16);
	ck_assert_ptr_null(call->key);
	ck_assert(!call->needs_subject && !call->is_canary);
	expect_span(yaml_member(yaml_member(call->node, "result"), "cents")->text, "int");

	const struct operation *send = must_find("order.place");

	ck_assert_int_eq(send->kind, CONTRACT_SEND);
	ck_assert_uint_eq(send->deadline_ms, 30000);
	ck_assert_str_eq(send->key, "customer");
	ck_assert_uint_eq(send->ttl_ms, 86400000);
	ck_assert_uint_eq(send->retry.attempts, 8);
	ck_assert_uint_eq(send->retry.first_ms, 1000);
	ck_assert_uint_eq(send->retry.longest_ms, 60000);
	ck_assert_uint_eq(send->retry.window_ms, 600000);
	ck_assert_ptr_nonnull(yaml_member(yaml_member(send->node, "params"), "lines")->tail);
}
END_TEST

START_TEST(everything_can_be_said_in_full)
{
	must_parse(in_full);
	ck_assert_uint_eq(contract.operation_count, 6);
	ck_assert_uint_eq(must_find("quote.price")->deadline_ms, 250);
	ck_assert_uint_eq(must_find("order.place")->ttl_ms, 259200000);
	ck_assert(must_find("order.place")->needs_subject);
	ck_assert(must_find("debug.dump")->is_canary);
	ck_assert_int_eq(must_find("product.show")->kind, CONTRACT_READ);
	ck_assert_int_eq(must_find("order.status")->kind, CONTRACT_PUSH);
	const struct operation *nightly = must_find("report.nightly");
	int64_t tick;

	ck_assert_int_eq(nightly->kind, CONTRACT_TASK);
	ck_assert(nightly->has_schedule && !must_find("debug.dump")->has_schedule);
	/* 2024-07-01, 03:00 in Berlin */
	ck_assert_int_eq(schedule_next(&nightly->schedule, 1719784800, &tick), ERR_OK);
	ck_assert_int_eq(tick, 1719795600);
	ck_assert_ptr_nonnull(yaml_member(contract.notify, "order_confirmation"));
	ck_assert_uint_eq(contract.crossing_count, 2);
	ck_assert_uint_eq(must_find("order.place")->deadline_ms, 30000);
}
END_TEST

START_TEST(a_contract_may_be_json)
{
	must_parse("{\"site\": \"shop\", \"operations\": {\"a.b\": {\"kind\": \"call\","
		   " \"deadline\": \"5s\", \"concurrency\": 3}, \"a.c\": {\"kind\": \"send\","
		   " \"canary\": true}}}");
	ck_assert_uint_eq(must_find("a.b")->deadline_ms, 5000);
	ck_assert_uint_eq(must_find("a.b")->concurrency, 3);
	ck_assert(must_find("a.c")->is_canary);
}
END_TEST

START_TEST(any_operation_is_found_and_no_other)
{
	struct buf text;

	buf_init(&text, MIB(1));
	buf_text(&text, "operations:\n");
	for (int i = 0; i < CONTRACT_MAX_OPERATIONS; i++)
		buf_format(&text, "  op%d.x: {kind: call, deadline: %dms}\n", i * 7919 % 1000,
			10 + i * 7919 % 1000);
	buf_byte(&text, '\0');
	must_parse(text.at);
	buf_fini(&text);
	for (int i = 0; i < CONTRACT_MAX_OPERATIONS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "op%d.x", i);
		ck_assert_uint_eq(must_find(name)->deadline_ms, (uint64_t)(10 + i));
		name[strlen(name) - 1] = '\0';
		ck_assert_ptr_null(contract_find(&contract, span_of(name)));
		name[0] = 'p';
		ck_assert_ptr_null(contract_find(&contract, span_of(name)));
	}
	ck_assert_ptr_null(contract_find(&contract, LITERAL("op1.xx")));
	ck_assert_ptr_null(contract_find(&contract, LITERAL("")));
	ck_assert_ptr_null(contract_find(&contract, (struct span){ 0 }));
	ck_assert_ptr_null(contract_find(&contract, LITERAL("op1.x\0")));
}
END_TEST

/* One mistake each, under operations a.b unless it begins with a section of its own. */
static const struct {
	const char *text;
	const char *said; /* the whole report */
} bad[] = {
	{ "operations: {a.b: {}}",
		"c:1:14: operations.a.b: has no kind; add \"kind: call\" (or read, send, push, "
		"task)\n" },
	{ "operations: {a.b: call}", "c:1:19: operations.a.b: must be a map: {key: value} or "
				     "indented lines of \"key: "
				     "value\"\n" },
	{ "operations: {a.b: {kind: cal}}",
		"c:1:26: operations.a.b.kind: \"cal\" is unknown; did you mean \"call\"?\n" },
	{ "operations: {a.b: {kind: rpc}}", "c:1:26: operations.a.b.kind: \"rpc\" is unknown; "
					    "one of: read, call, send, push, "
					    "task\n" },
	{ "operations: {a.b: {kind: call, dedline: 5s}}",
		"c:1:32: operations.a.b.dedline: unknown key; did you mean \"deadline\"?\n" },
	{ "operations: {a.b: {kind: push, colour: red}}",
		"c:1:32: operations.a.b.colour: unknown key; here may stand: kind, params, "
		"result, "
		"quota, key, retry, ttl, to\n" },
	{ "operations: {a.b: {kind: call, deadline: 250}}",
		"c:1:42: operations.a.b.deadline: \"250\" is not a duration; write a whole "
		"number "
		"with a unit: 250ms, 5s, 10m, 1h, 3d\n" },
	{ "operations: {a.b: {kind: call, deadline: 9ms}}",
		"c:1:42: operations.a.b.deadline: 9ms is out of range; from 10ms to 1m\n" },
	{ "operations: {a.b: {kind: call, deadline: 61s}}",
		"c:1:42: operations.a.b.deadline: 61s is out of range; from 10ms to 1m\n" },
	{ "operations: {a.b: {kind: call, deadline: }}",
		"c:1:42: operations.a.b.deadline: must be one value, for example 250ms\n" },
	{ "operations: {a.b: {kind: call, deadline: [5s]}}",
		"c:1:42: operations.a.b.deadline: must be one value, for example 250ms\n" },
	{ "operations: {a.b: {kind: call, ttl: 5m}}",
		"c:1:32: operations.a.b.ttl: means nothing on a call; remove it\n" },
	{ "operations: {a.b: {kind: read, concurrency: 5}}",
		"c:1:32: operations.a.b.concurrency: means nothing on a read; remove it\n" },
	{ "operations: {a.b: {kind: call, concurrency: 0}}",
		"c:1:45: operations.a.b.concurrency: 0 is out of range; from 1 to 1024\n" },
	{ "operations: {a.b: {kind: call, concurrency: \"5\"}}",
		"c:1:45: operations.a.b.concurrency: \"5\" is not a whole number\n" },
	{ "operations: {a.b: {kind: send, canary: yes}}",
		"c:1:40: operations.a.b.canary: \"yes\" is a word in YAML 1.2; write true or "
		"false\n" },
	{ "operations: {a.b: {kind: send, canary: Off}}",
		"c:1:40: operations.a.b.canary: \"Off\" is a word in YAML 1.2; write true or "
		"false\n" },
	{ "operations: {a.b: {kind: send, canary: 1}}",
		"c:1:40: operations.a.b.canary: \"1\" is not true or false\n" },
	{ "operations: {a.b: {kind: send, canary: 'true'}}",
		"c:1:40: operations.a.b.canary: quoted it is a text; write true or false "
		"without "
		"quotes\n" },
	{ "operations: {a.b: {kind: send, subject: require}}",
		"c:1:41: operations.a.b.subject: \"require\" is unknown; did you mean "
		"\"required\"?\n" },
	{ "operations: {a.b: {kind: send, key: a/b}}",
		"c:1:37: operations.a.b.key: \"a/b\" is not a name: 1 to 64 letters, digits, "
		"\"-\", \"_\" and \".\"\n" },
	{ "operations: {a.b: {kind: task, schedule: \"0 3 * *\"}}",
		"c:1:42: operations.a.b.schedule: \"0 3 * *\" has not five fields: minute, "
		"hour, day of the month, month, day of the week, for example \"0 3 * * *\"\n" },
	{ "operations: {a.b: {kind: task, schedule: \"0 3 30 2 *\"}}",
		"c:1:42: operations.a.b.schedule: \"0 3 30 2 *\" never comes due: these months "
		"have no such day\n" },
	{ "operations: {a.b: {kind: task, schedule: }}",
		"c:1:42: operations.a.b.schedule: must be one value, for example a text\n" },
	{ "operations: {a.b: {kind: task, schedule: \"@daily\", zone: Europe/Atlantis}}",
		"c:1:58: operations.a.b.zone: this machine knows no time zone "
		"\"Europe/Atlantis\"; one is named like Europe/Berlin or UTC\n" },
	{ "operations: {a.b: {kind: task, zone: UTC}}",
		"c:1:32: operations.a.b.zone: means nothing without a schedule; remove it, or "
		"add one\n" },
	{ "operations: {a.b: {kind: send, schedule: \"@daily\"}}",
		"c:1:32: operations.a.b.schedule: means nothing on a send; remove it\n" },
	{ "operations: {a.b: {kind: send, retry: {tries: 3}}}",
		"c:1:40: operations.a.b.retry.tries: unknown key; here may stand: attempts, "
		"first, "
		"longest, window\n" },
	{ "operations: {a.b: {kind: send, retry: {first: 5m}}}",
		"c:1:39: operations.a.b.retry: first (5m) is longer than longest (1m)\n" },
	{ "operations: {a.b: {kind: send, ttl: 5m}}",
		"c:1:19: operations.a.b.retry: window (10m) is longer than the operation's ttl "
		"(5m)\n" },
	{ "operations: {a.b: {kind: send, key: k, retry: {window: 61m}}}",
		"c:1:47: operations.a.b.retry: window is 61m; with a key it may be 1h at most, "
		"because followers wait\n" },
	{ "operations: {a.b: {kind: send, quota: {per_hots: 5/s}}}",
		"c:1:40: operations.a.b.quota.per_hots: unknown key; did you mean "
		"\"per_host\"?\n" },
	{ "operations: {a.b: {kind: send, params: x}}",
		"c:1:40: operations.a.b.params: must be a map: {key: value} or indented lines "
		"of "
		"\"key: value\"\n" },
	{ "operations: {a.b: {kind: send, params: {a: txt(3)}}}",
		"c:1:44: operations.a.b.params.a: no type \"txt(3)\"; did you mean "
		"\"text\"?\n" },
	{ "operations: {a.b: {kind: call, params: {a: int}, result: {schema: {typ: x}}}}",
		"c:1:67: operations.a.b.result.schema: anything would pass here; say what it "
		"is, "
		"for example {type: string, maxLength: 100}\n"
		"c:1:68: operations.a.b.result.schema.typ: unknown keyword; did you mean "
		"\"type\"?\n" },
	{ "operations: {a.b: {kind: send, key: k, params: {a: int}}}",
		"c:1:37: operations.a.b.key: params have no \"k\"\n" },
	{ "operations: {a.b: {kind: call, params: {schema: {type: integer}}}}",
		"c:1:40: operations.a.b.params: parameters are an object; say so: {schema: "
		"{type: object, …}}\n" },
	{ "operations: {A.b: {kind: send}}",
		"c:1:14: operations.A.b: an operation is named like noun.verb: 1 to 64 of a-z, "
		"0-9, \"_\" and \".\"\n" },
	{ "operations: {a..b: {kind: send}}", "c:1:14: operations.a..b: an operation is named "
					      "like noun.verb: 1 to 64 of a-z, "
					      "0-9, \"_\" and \".\"\n" },
	{ "operations: {sallyport.receipt: {kind: send}}",
		"c:1:14: operations.sallyport.receipt: names that begin with \"sallyport.\" "
		"are "
		"the daemons' own\n" },
	{ "operations: {a.b: {kind: read, collection: catalgo}}\ncollections: {catalog: {key: "
	  "k}}",
		"c:1:44: operations.a.b.collection: there is no collection \"catalgo\"; did "
		"you "
		"mean \"catalog\"?\n" },
	{ "operations: {a.b: {kind: read, collection: x}}",
		"c:1:44: operations.a.b.collection: there is no collection \"x\"; add it to "
		"collections\n" },
	{ "site: shop", "c: operations: this section is missing; a first one: operations: "
			"{quote.price: "
			"{kind: call}}\n" },
	{ "site: [shop]\noperations: {}",
		"c:1:7: site: must be one value, for example a name\n" },
	{ "operations: {}\ncolections: {}",
		"c:2:1: colections: unknown key; did you mean \"collections\"?\n" },
	{ "operations: {}\ncollections: {x: {rows: {}}}",
		"c:2:19: collections.x.rows: unknown key; did you mean \"row\"?\n" },
	{ "operations: {}\ncollections: []",
		"c:2:14: collections: must be a map: {key: value} or indented lines of \"key: "
		"value\"\n" },
	{ "operations: {}\ncrossings: {\"web 1\": {}}",
		"c:2:13: crossings.web 1: here stands the name of a host, with * for any part "
		"of "
		"it\n" },
	{ "operations: {}\ncrossings: {web1: {allow: x}}",
		"c:2:27: crossings.web1.allow: must be a list of at most 100 patterns, for "
		"example "
		"[\"admin.*\"]\n" },
	{ "operations: {}\ncrossings: {web1: {deny: [\"a b\"]}}",
		"c:2:27: crossings.web1.deny: \"a b\" is not a pattern: the name of an "
		"operation, "
		"with * for any part of it\n" },
	{ "operations: {}\ncrossings: {web1: {allow: []}}",
		"c:2:27: crossings.web1: an empty list; to forbid everything write deny: "
		"[\"*\"]\n" },
	{ "[]", "c:1:1: must be a map: {key: value} or indented lines of \"key: value\"\n" },
	/* twice the same section: the first counts, nothing leaks */
	{ "operations: {a.b: {kind: call}}\noperations: {a.c: {kind: call}}\ncrossings: {}\n"
	  "crossings: {}\n",
		"c:2:1: operations: this key is written already in line 1\n"
		"c:4:1: crossings: this key is written already in line 3\n" },
};

START_TEST(a_mistake_is_told_with_its_place_and_what_would_be_right)
{
	ck_assert_int_eq(
		contract_parse(span_of(bad[_i].text), "c", &report, &contract), ERR_INPUT);
	ck_assert_str_eq(shown_report(), bad[_i].said);
	ck_assert_ptr_null(contract.operations);
}
END_TEST

START_TEST(all_mistakes_are_told_at_once)
{
	ck_assert_int_eq(
		contract_parse(LITERAL("sitte: x\n"
				       "operations:\n"
				       "  a.b: {kind: send, ttl: 1s, ttl: 2s, canary: no}\n"
				       "  a.c: {kind: coll}\n"
				       "collections: {c: {key: &x k}}\n"),
			"c", &report, &contract),
		ERR_INPUT);
	ck_assert_uint_eq(report.count, 7);
}
END_TEST

START_TEST(without_crossings_a_host_may_use_all_but_tasks)
{
	must_parse(
		"operations: {a.call: {kind: call}, a.send: {kind: send}, a.read: {kind: read},"
		" a.push: {kind: push}, a.task: {kind: task}}");
	ck_assert(contract_allows(&contract, LITERAL("web1"), must_find("a.call")));
	ck_assert(contract_allows(&contract, LITERAL("web1"), must_find("a.send")));
	ck_assert(contract_allows(&contract, LITERAL("web1"), must_find("a.read")));
	ck_assert(contract_allows(&contract, LITERAL("web1"), must_find("a.push")));
	ck_assert(!contract_allows(&contract, LITERAL("web1"), must_find("a.task")));
}
END_TEST

static const char crossed[] =
	"operations: {shop.buy: {kind: call}, admin.see: {kind: call},"
	" admin.do: {kind: send}, admin.run: {kind: task}}\n"
	"crossings:\n"
	"  web*: {deny: [\"admin.*\"]}\n"
	"  web9*: {allow: [\"*.buy\"]}\n"
	"  web99: {deny: [\"*\"]}\n"
	"  admin: {allow: [\"admin.*\"], deny: [\"*.do\"], notify: none}\n"
	"  \"*.lab.*\": {}\n";

static const struct {
	const char *host;
	const char *operation;
	bool may;
} uses[] = {
	{ "web1", "shop.buy", true },
	{ "web1", "admin.see", false },
	{ "web", "shop.buy", true },
	{ "web91", "shop.buy", true }, /* the longer pattern decides alone */
	{ "web91", "admin.see", false },
	{ "web99", "shop.buy", false }, /* its own name before any pattern */
	{ "web999", "shop.buy", true },
	{ "admin", "admin.see", true },
	{ "admin", "admin.do", false }, /* deny wins over allow */
	{ "admin", "shop.buy", false },
	{ "admin", "admin.run", false },  /* a task, whatever the patterns say */
	{ "admin2", "admin.see", false }, /* no line fits */
	{ "Web1", "shop.buy", false },
	{ "", "shop.buy", false },
	{ "a.lab.b", "admin.do", true },
	{ ".lab.", "admin.do", true },
	{ "a.lab", "admin.do", false },
	{ "a.lab.b.lab.c", "shop.buy", true },
};

START_TEST(the_line_that_fits_a_host_best_decides)
{
	must_parse(crossed);
	ck_assert_int_eq(contract_allows(&contract, span_of(uses[_i].host),
				 must_find(uses[_i].operation)),
		uses[_i].may);
}
END_TEST

START_TEST(an_empty_crossings_section_lets_nobody_through)
{
	must_parse("operations: {a.b: {kind: call}}\ncrossings: {}\n");
	ck_assert(!contract_allows(&contract, LITERAL("web1"), must_find("a.b")));
}
END_TEST

START_TEST(a_file_is_loaded_and_one_that_is_not_there_is_a_mistake)
{
	char path[] = "/tmp/sallyport-contract-XXXXXX";
	int fd = mkstemp(path);
	char wanted[200];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, ten_lines, sizeof(ten_lines) - 1), sizeof(ten_lines) - 1);
	close(fd);
	ck_assert_int_eq(contract_load(path, &report, &contract), ERR_OK);
	contract_free(&contract);
	ck_assert_int_eq(truncate(path, 30), 0);
	ck_assert_int_eq(contract_load(path, &report, &contract), ERR_INPUT);
	report_fini(&report);
	unlink(path);
	ck_assert_int_eq(contract_load(path, &report, &contract), ERR_INPUT);
	snprintf(wanted, sizeof(wanted), "%s: cannot be read: No such file or directory\n",
		path);
	ck_assert_str_eq(shown_report(), wanted);
}
END_TEST

/* Every beginning of the full contract: an answer each time, and never a half-built contract.
 */
START_TEST(every_truncation_is_refused_or_is_a_contract)
{
	int good = 0;

	for (size_t len = 0; len < sizeof(in_full) - 1; len++) {
		char *copy = malloc(len == 0 ? 1 : len);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, in_full, len);
		enum err err = contract_parse(
			(struct span){ copy, len }, "c", &report, &contract);

		free(copy);
		ck_assert((err == ERR_OK) == report_is_empty(&report));
		ck_assert((err == ERR_OK) == (contract.tree.root != NULL));
		good += err == ERR_OK ? 1 : 0;
		contract_free(&contract);
		report_fini(&report);
	}
	ck_assert_int_gt(good, 5);
}
END_TEST

START_TEST(kinds_have_names)
{
	ck_assert_str_eq(contract_kind_text(CONTRACT_READ), "read");
	ck_assert_str_eq(contract_kind_text(CONTRACT_TASK), "task");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("contract");
	TCase *tc = tcase_create("contract");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, ten_lines_are_a_contract_and_the_rest_has_defaults);
	tcase_add_test(tc, everything_can_be_said_in_full);
	tcase_add_test(tc, a_contract_may_be_json);
	tcase_add_test(tc, any_operation_is_found_and_no_other);
	tcase_add_loop_test(tc, a_mistake_is_told_with_its_place_and_what_would_be_right, 0,
		(int)ARRAY_COUNT(bad));
	tcase_add_test(tc, all_mistakes_are_told_at_once);
	tcase_add_test(tc, without_crossings_a_host_may_use_all_but_tasks);
	tcase_add_loop_test(
		tc, the_line_that_fits_a_host_best_decides, 0, (int)ARRAY_COUNT(uses));
	tcase_add_test(tc, an_empty_crossings_section_lets_nobody_through);
	tcase_add_test(tc, a_file_is_loaded_and_one_that_is_not_there_is_a_mistake);
	tcase_add_test(tc, every_truncation_is_refused_or_is_a_contract);
	tcase_add_test(tc, kinds_have_names);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
