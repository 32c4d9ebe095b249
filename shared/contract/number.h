/* number.h - numbers of JSON as they are written: compared and divided exactly, of any size.
 *
 * 1, 1.0 and 10e-1 are the same number; 0.0075 is a multiple of 0.0001. Nothing is rounded, for
 * nothing becomes a double. Exponents beyond ten digits are taken as if they had ten.
 * Layer: contract. Uses: base. Thread: any. */
#ifndef SALLYPORT_CONTRACT_NUMBER_H
#define SALLYPORT_CONTRACT_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "base/span.h"

enum { NUMBER_DIVISOR_DIGITS = 18 }; /* of number_divides(), without zeros at both ends */

struct number {
	struct span written; /* borrowed: all of it */
	struct span digits; /* borrowed: from the first to the last that is no zero; a point may
			       stand between them */
	uint32_t count;     /* of these digits; 0: the number is zero */
	int64_t exponent;   /* of ten, for the last of them */
	bool is_negative;   /* never of zero */
};

/* The text must be a number of RFC 8259; it is borrowed. */
struct number number_read(struct span text);

/* The text is a number of RFC 8259. */
bool number_is_written(struct span text);

/* Below 0, 0, above 0. */
int number_compare(const struct number *a, const struct number *b);

/* Without a fraction. */
static inline bool number_is_whole(const struct number *n)
{
	return n->count == 0 || n->exponent >= 0;
}

/* The divisor must be above zero and have NUMBER_DIVISOR_DIGITS at most. */
bool number_divides(const struct number *divisor, const struct number *n);

/* Equal numbers have equal hashes. */
uint64_t number_hash(const struct number *n);

/* A whole number within 64 bits. False: it is none; *out is untouched. */
bool number_to_i64(const struct number *n, int64_t *out);

#endif
