/* json_tree.h - a JSON document as the tree that yaml.h gives: schemas are read from either.
 *
 * Layer: contract. Uses: base, json, yaml (the tree only). Thread: the owner's. */
#ifndef SALLYPORT_CONTRACT_JSON_TREE_H
#define SALLYPORT_CONTRACT_JSON_TREE_H

#include "base/err.h"
#include "base/macro.h"
#include "base/report.h"
#include "contract/json.h"
#include "contract/yaml.h"

/* The value at the token `at` and all below it. Texts are quoted scalars, what is else no array
 * and no object is a plain one, as it is written.
 *
 * Takes:   doc is borrowed for the call; the tree has copies.
 * Returns: ERR_OK and a tree to close; ERR_INPUT (a key stands in an object twice) with the
 *          mistake in the report, under the name `file`; ERR_NOMEM. */
WARN_UNUSED enum err json_tree_open(const struct json_doc *doc, uint32_t at, const char *file,
	struct report *report, struct yaml_tree *out);

#endif
