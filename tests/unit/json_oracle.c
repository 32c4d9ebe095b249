#include "unit/json_oracle.h"

#include <jansson.h>

bool is_json_to_another(struct span text)
{
	json_error_t error;
	json_t *root = json_loadb(
		text.at, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

	json_decref(root);
	return root != NULL;
}
