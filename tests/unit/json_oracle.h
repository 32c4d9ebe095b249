/* json_oracle.h - what another reader of JSON says of a text. Its names would clash with ours. */
#ifndef SALLYPORT_UNIT_JSON_ORACLE_H
#define SALLYPORT_UNIT_JSON_ORACLE_H

#include <stdbool.h>

#include "base/span.h"

/* JSON with no key twice, in jansson's view, which goes deeper than ours. */
bool is_json_to_another(struct span text);

#endif
