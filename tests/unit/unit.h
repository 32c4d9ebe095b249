/* unit.h - what every unit test program begins and ends with.
 *
 * Layer: tests. Uses: check. */
#ifndef SALLYPORT_TESTS_UNIT_UNIT_H
#define SALLYPORT_TESTS_UNIT_UNIT_H

#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "base/span.h"

/* A span of a string literal, NUL bytes inside included. */
#define LITERAL(text) ((struct span){ .at = (text), .len = sizeof(text) - 1 })

/* Fails the test unless the bytes are those of the text. */
#define expect_span(bytes, text)                                                    \
	do {                                                                        \
		struct span seen_ = (bytes);                                        \
		ck_assert_msg(span_is(seen_, (text)), "\"%.*s\" instead of \"%s\"", \
			SPAN_ARG(seen_), (text));                                   \
	} while (0)

static inline int unit_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
