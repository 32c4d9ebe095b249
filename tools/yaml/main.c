/* main.c - sallyport-yaml: a strict YAML file as JSON, each value with its place.
 *
 * What scripts read instead of YAML. Out comes {"value": …, "at": {"PATH": [LINE, COLUMN], …}}:
 * the file's contents, and where each of its values stands, so that whoever finds a mistake in
 * the meaning can name the line too. Paths are written hosts.web1.limits and list[0].
 * Layer: tools. Uses: base, contract. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json_writer.h"
#include "base/report.h"
#include "base/standard.h"
#include "base/text.h"
#include "contract/yaml.h"

enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* the file could not be read, or the answer not written */
	EXIT_WRONG = 2,  /* called wrongly, or mistakes in the file */

	PATH_MAX_BYTES = 1024,
	OUTPUT_MAX_BYTES = 64 * 1024 * 1024,
	DEPTH_MAX = 16,         /* below what the JSON writer can nest */
	INTEGER_MAX_DIGITS = 15 /* a double, which is what jq counts in, holds them exactly */
};

static const char usage[] =
	"usage: sallyport-yaml FILE\n"
	"\n"
	"Reads one strict YAML document and prints it as JSON, with the place of each value:\n"
	"{\"value\": ..., \"at\": {\"PATH\": [LINE, COLUMN], ...}}\n"
	"\n"
	"Exit: 0 done, 1 the file could not be read, 2 called wrongly or mistakes in the file\n"
	"(each a line on stderr: FILE:LINE:COLUMN: KEY: TEXT).\n";

/* A walk over the tree; the path is that of the node it stands at. */
struct walk {
	const char *file;
	struct report *report;
	struct json_writer json;
	struct buf path;
};

static bool is_integer(struct span text)
{
	uint64_t value;

	if (text.len > 0 && text.at[0] == '-') {
		text = span_after(text, 1);
		if (span_is(text, "0"))
			return false;
	}
	return text.len <= INTEGER_MAX_DIGITS && text_parse_u64(text, &value) == ERR_OK;
}

static void write_scalar(struct json_writer *json, const struct yaml_node *node)
{
	if (yaml_is_null(node))
		json_write_null(json);
	else if (node->is_quoted)
		json_write_text(json, node->text);
	else if (span_is(node->text, "true") || span_is(node->text, "false"))
		json_write_bool(json, span_is(node->text, "true"));
	else if (is_integer(node->text))
		json_write_raw(json, node->text);
	else
		json_write_text(json, node->text);
}

static void write_value(struct json_writer *json, const struct yaml_node *node)
{
	switch (node->kind) {
	case YAML_SCALAR:
		write_scalar(json, node);
		return;
	case YAML_LIST:
		json_write_array(json);
		for (const struct yaml_node *m = node->first; m != NULL; m = m->next)
			write_value(json, m);
		json_write_array_end(json);
		return;
	case YAML_MAP:
		json_write_object(json);
		for (const struct yaml_node *m = node->first; m != NULL; m = m->next) {
			json_write_key(json, m->key.at);
			write_value(json, m);
		}
		json_write_object_end(json);
		return;
	}
}

/* Extends the path by one member; the caller cuts it back to where it was. */
static void path_extend(struct buf *path, const struct yaml_node *member, size_t index)
{
	if (member->key.at == NULL) {
		buf_format(path, "[%zu]", index);
		return;
	}
	if (path->len > 0)
		buf_byte(path, '.');
	buf_append(path, member->key);
}

static void write_place(struct walk *w, const struct yaml_node *node)
{
	bool is_member = node->key.at != NULL;

	buf_byte(&w->path, '\0');
	if (buf_status(&w->path) != ERR_OK)
		return;
	json_write_key(&w->json, w->path.at);
	w->path.len--;
	json_write_array(&w->json);
	json_write_u64(&w->json, is_member ? node->key_line : node->line);
	json_write_u64(&w->json, is_member ? node->key_column : node->column);
	json_write_array_end(&w->json);
}

/* Notes the places of all members below the node, and what JSON cannot say. */
static void write_places(struct walk *w, const struct yaml_node *node, unsigned depth)
{
	size_t index = 0;
	size_t len = w->path.len;

	if (depth > DEPTH_MAX) {
		report_add(w->report, w->file, node->line, node->column, buf_span(&w->path),
			"nested deeper than %d", DEPTH_MAX);
		return;
	}
	if (node->tail != NULL)
		report_add(w->report, w->file, node->tail->line, node->tail->column,
			buf_span(&w->path), "braces behind a word mean nothing here");
	for (const struct yaml_node *m = node->first; m != NULL; m = m->next) {
		if (m->key.at != NULL && strlen(m->key.at) != m->key.len)
			report_add(w->report, w->file, m->key_line, m->key_column, m->key,
				"a key has no byte 0 in it");
		path_extend(&w->path, m, index++);
		write_place(w, m);
		write_places(w, m, depth + 1);
		w->path.len = len;
	}
}

static enum err write_document(
	const struct yaml_tree *tree, const char *file, struct report *report, struct buf *out)
{
	struct walk w = { .file = file, .report = report };

	buf_init(&w.path, PATH_MAX_BYTES);
	json_write_init(&w.json, out);
	json_write_object(&w.json);
	json_write_key(&w.json, "at");
	json_write_object(&w.json);
	write_places(&w, tree->root, 0);
	json_write_object_end(&w.json);
	if (buf_status(&w.path) != ERR_OK)
		report_add(report, file, 0, 0, (struct span){ 0 },
			"a key and those above it have more than %d characters",
			PATH_MAX_BYTES);
	else if (report_is_empty(report)) {
		json_write_key(&w.json, "value");
		write_value(&w.json, tree->root);
		json_write_object_end(&w.json);
	}
	buf_fini(&w.path);
	return report_is_empty(report) ? buf_status(out) : ERR_INPUT;
}

/* The exit code for what is in the report, or for the error alone. */
static int tell(const char *file, enum err err, const struct report *report)
{
	struct buf text;

	if (err != ERR_INPUT) {
		fprintf(stderr, "sallyport-yaml: %s: %s\n", file, err_text(err));
		return EXIT_FAILED;
	}
	buf_init(&text, MIB(1));
	report_format(report, &text);
	fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&text)));
	buf_fini(&text);
	return EXIT_WRONG;
}

static int print(struct buf *document)
{
	buf_byte(document, '\n');
	if (buf_status(document) != ERR_OK ||
		fwrite(document->at, 1, document->len, stdout) != document->len ||
		fflush(stdout) != 0) {
		fprintf(stderr, "sallyport-yaml: cannot write the answer\n");
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

static int convert(const char *file)
{
	struct buf source;
	struct buf document;
	struct report report;
	struct yaml_tree tree = { 0 };
	int code;

	buf_init(&source, YAML_MAX_BYTES);
	buf_init(&document, OUTPUT_MAX_BYTES);
	report_init(&report);
	enum err err = file_read(file, &source);

	if (err != ERR_OK) {
		fprintf(stderr, "sallyport-yaml: %s: %s\n", file,
			err == ERR_FULL ? "larger than 1 MiB" : file_why(err));
		code = EXIT_FAILED;
		goto done;
	}
	err = yaml_open(buf_span(&source), file, &report, &tree);
	if (err == ERR_OK)
		err = write_document(&tree, file, &report, &document);
	code = err == ERR_OK ? print(&document) : tell(file, err, &report);

done:
	yaml_close(&tree);
	report_fini(&report);
	buf_fini(&document);
	buf_fini(&source);
	return code;
}

int main(int argc, char **argv)
{
	if (standard_open() != ERR_OK)
		return EXIT_FAILED;
	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
		return fputs(usage, stdout) >= 0 && fflush(stdout) == 0 ? EXIT_DONE
									: EXIT_FAILED;
	}
	if (argc != 2 || argv[1][0] == '-') {
		fputs(usage, stderr);
		return EXIT_WRONG;
	}
	return convert(argv[1]);
}
