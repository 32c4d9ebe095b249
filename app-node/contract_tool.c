#include "app-node/contract_tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/text.h"
#include "contract/json_tree.h"
#include "contract/schema.h"
#include "daemon/program.h"

enum { INPUT_MAX_BYTES = 256 * 1024 * 1024 };

enum verdict { VALID = 0, INVALID, MALFORMED, REFUSED, FAILED };

static const char *const verdict_names[] = { "valid", "invalid", "malformed", "refused",
	"failed" };

/* How it was asked. */
struct ask {
	enum schema_side side;
	struct json_limits limits;
};

static struct ask ask_of(const struct command_line *line)
{
	bool is_open = command_has(line, "--open");

	return (struct ask){
		.side = is_open ? SCHEMA_OPEN : SCHEMA_TO_APP,
		.limits = {
			.max_bytes = INPUT_MAX_BYTES,
			.max_depth = is_open ? JSON_DEEPEST : JSON_MAX_DEPTH,
			.rules = is_open ? JSON_OPEN : JSON_STRICT,
		},
	};
}

static enum verdict verdict_of(enum err err, enum verdict no)
{
	if (err == ERR_OK)
		return VALID;
	return err == ERR_NOMEM ? FAILED : no;
}

/* ---- files ---- */

static void print_report(const struct report *report)
{
	struct buf text;

	buf_init(&text, MIB(1));
	report_format(report, &text);
	fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&text)));
	buf_fini(&text);
}

/* Says on standard error why not. */
static enum err read_whole(const char *path, struct buf *out)
{
	buf_init(out, INPUT_MAX_BYTES);
	enum err err = file_read(path, out);

	if (err != ERR_OK)
		fprintf(stderr, "%s: cannot be read: %s\n", path,
			err == ERR_FULL ? "too large" : file_why(err));
	return err;
}

static bool is_json_name(const char *path)
{
	size_t len = strlen(path);

	return len >= 5 && strcmp(path + len - 5, ".json") == 0;
}

static void count_lines(struct span text, size_t at_byte, unsigned *line, unsigned *column)
{
	*line = 1;
	*column = 1;
	for (size_t i = 0; i < at_byte && i < text.len; i++) {
		*column = text.at[i] == '\n' ? 1 : *column + ((text.at[i] & 0xc0) != 0x80);
		*line += text.at[i] == '\n';
	}
}

/* JSON, or YAML where it is none. */
static enum err open_tree(const struct ask *ask, const char *path, struct span text,
	struct report *report, struct yaml_tree *out)
{
	struct json_failure failure;
	struct json_doc doc;
	unsigned line;
	unsigned column;
	enum err err = json_open(text, ask->limits, &doc, &failure);

	*out = (struct yaml_tree){ 0 };
	if (err == ERR_OK) {
		err = json_tree_open(&doc, 0, path, report, out);
		json_close(&doc);
		return err;
	}
	if (err == ERR_NOMEM)
		return err;
	if (!is_json_name(path))
		return yaml_open(text, path, report, out);
	count_lines(text, failure.at_byte, &line, &column);
	report_add(report, path, line, column, (struct span){ 0 }, "no JSON: %s", failure.text);
	return ERR_INPUT;
}

static enum err open_schema(const struct ask *ask, const char *path, struct span text,
	struct report *report, struct schema **out)
{
	struct yaml_tree tree;
	enum err err = open_tree(ask, path, text, report, &tree);

	*out = NULL;
	if (err == ERR_OK) {
		struct schema_source source = {
			.node = tree.root,
			.file = path,
			.report = report,
		};

		err = schema_create(&source, ask->side, out);
	}
	yaml_close(&tree);
	return err;
}

static enum verdict judge_text(
	const struct ask *ask, const struct schema *schema, const char *path, struct span text)
{
	struct schema_failure failure;
	struct json_failure malformed;
	struct json_doc doc;
	enum err err = json_open(text, ask->limits, &doc, &malformed);

	if (err != ERR_OK) {
		if (err != ERR_NOMEM)
			fprintf(stderr, "%s: no JSON: %s, at byte %zu\n", path, malformed.text,
				malformed.at_byte);
		return verdict_of(err, MALFORMED);
	}
	err = schema_check(schema, &doc, 0, &failure);
	if (err == ERR_INPUT)
		fprintf(stderr, "%s: %s: %s: %s\n", path,
			failure.pointer[0] == '\0' ? "the whole"
						   : text_show(span_of(failure.pointer)).at,
			failure.rule, failure.text);
	json_close(&doc);
	return verdict_of(err, INVALID);
}

static enum verdict judge_files(const struct ask *ask, const char *schema_path,
	const char *instance_path, bool *is_unreadable)
{
	struct schema *schema = NULL;
	struct buf instance = { 0 };
	struct buf text = { 0 };
	struct report report;
	enum verdict verdict = FAILED;

	report_init(&report);
	*is_unreadable = read_whole(schema_path, &text) != ERR_OK ||
			 read_whole(instance_path, &instance) != ERR_OK;
	if (!*is_unreadable) {
		enum err err = open_schema(ask, schema_path, buf_span(&text), &report, &schema);

		verdict = verdict_of(err, REFUSED);
		if (err == ERR_OK)
			verdict = judge_text(ask, schema, instance_path, buf_span(&instance));
	}
	print_report(&report);
	report_fini(&report);
	schema_destroy(schema);
	buf_fini(&instance);
	buf_fini(&text);
	return verdict;
}

static int validate_files(const struct ask *ask, const char *schema, const char *instance)
{
	bool is_unreadable;
	enum verdict verdict = judge_files(ask, schema, instance, &is_unreadable);

	if (is_unreadable)
		return EXIT_CALLED_WRONGLY;
	printf("%s\n", verdict_names[verdict]);
	switch (verdict) {
	case VALID:
		return CONTRACT_TOOL_YES;
	case INVALID:
	case MALFORMED:
		return CONTRACT_TOOL_NO;
	case REFUSED:
		return CONTRACT_TOOL_REFUSED;
	case FAILED:
		break;
	}
	return EXIT_SYSTEM_FAILED;
}

/* ---- lines ---- */

/* The token of a member's value; 0: there is none. */
static uint32_t find_member(const struct json_doc *doc, const char *name)
{
	const struct json_token *key = doc->tokens + 1;

	if (!json_top_is_object(doc))
		return 0;
	for (uint32_t i = 0; i < doc->tokens[0].size; i++) {
		if (json_text_is(doc, key, span_of(name)))
			return (uint32_t)(key + 1 - doc->tokens);
		if (i + 1 < doc->tokens[0].size)
			key = json_next_key(doc, key);
	}
	return 0;
}

static enum verdict judge_members(
	const struct ask *ask, const struct json_doc *doc, uint32_t schema_at, uint32_t data_at)
{
	struct schema *schema = NULL;
	struct schema_failure failure;
	struct yaml_tree tree;
	struct report report;

	report_init(&report);
	enum err err = json_tree_open(doc, schema_at, "schema", &report, &tree);

	if (err == ERR_OK) {
		struct schema_source source = {
			.node = tree.root,
			.file = "schema",
			.report = &report,
		};

		err = schema_create(&source, ask->side, &schema);
	}
	enum verdict verdict = verdict_of(err, REFUSED);

	if (err == ERR_OK)
		verdict = verdict_of(schema_check(schema, doc, data_at, &failure), INVALID);
	schema_destroy(schema);
	yaml_close(&tree);
	report_fini(&report);
	return verdict;
}

static enum verdict judge_line(const struct ask *ask, struct span line)
{
	struct json_limits limits = ask->limits;
	struct json_failure failure;
	struct json_doc doc;

	/* The line itself is one level. */
	if (limits.max_depth < JSON_DEEPEST)
		limits.max_depth++;
	enum err err = json_open(line, limits, &doc, &failure);

	if (err != ERR_OK)
		return verdict_of(err, MALFORMED);
	uint32_t schema_at = find_member(&doc, "schema");
	uint32_t data_at = find_member(&doc, "data");
	enum verdict verdict = MALFORMED;

	if (schema_at != 0 && data_at != 0)
		verdict = judge_members(ask, &doc, schema_at, data_at);
	json_close(&doc);
	return verdict;
}

static int validate_lines(const struct ask *ask)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	errno = 0;
	while ((len = getline(&line, &room, stdin)) >= 0) {
		struct span text = { line, (size_t)len };

		if (text.len > 0 && text.at[text.len - 1] == '\n')
			text.len--;
		printf("%s\n", verdict_names[judge_line(ask, text)]);
		fflush(stdout);
	}
	bool is_fine = errno == 0 || feof(stdin) != 0;

	free(line);
	return is_fine && ferror(stdout) == 0 ? CONTRACT_TOOL_YES : EXIT_SYSTEM_FAILED;
}

/* ---- public ---- */

int contract_tool(const struct command_line *line)
{
	const char *schema = command_value(line, "--schema");
	const char *instance = command_value(line, "--instance");
	struct ask ask = ask_of(line);

	if (strcmp(line->operands[0], "validate") != 0) {
		fprintf(stderr, "app-node contract: what is \"%s\"? There is validate\n",
			text_show(span_of(line->operands[0])).at);
		return EXIT_CALLED_WRONGLY;
	}
	if ((schema == NULL) != (instance == NULL)) {
		fprintf(stderr, "app-node contract validate: --schema FILE and --instance FILE "
				"belong together; without them lines of "
				"{\"schema\":…,\"data\":…} are read\n");
		return EXIT_CALLED_WRONGLY;
	}
	return schema == NULL ? validate_lines(&ask) : validate_files(&ask, schema, instance);
}
