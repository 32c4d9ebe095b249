#include "base/bug.h"

#include <stdlib.h>

#include "base/log.h"

void bug_report(const char *file, int line, const char *expression)
{
	log_error("event=bug at=%s:%d expression=\"%s\"", file, line, expression);
	abort();
}
