/* unicode.h - the general category of a character, and the names that patterns have for them.
 *
 * Layer: contract. Uses: base. Thread: any. */
#ifndef SALLYPORT_CONTRACT_UNICODE_H
#define SALLYPORT_CONTRACT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "base/span.h"

/* In groups: what \p{L}, \p{M} … mean stands together. */
enum unicode_category {
	UNICODE_LU = 0,
	UNICODE_LL,
	UNICODE_LT,
	UNICODE_LM,
	UNICODE_LO,
	UNICODE_MN,
	UNICODE_MC,
	UNICODE_ME,
	UNICODE_ND,
	UNICODE_NL,
	UNICODE_NO,
	UNICODE_PC,
	UNICODE_PD,
	UNICODE_PS,
	UNICODE_PE,
	UNICODE_PI,
	UNICODE_PF,
	UNICODE_PO,
	UNICODE_SM,
	UNICODE_SC,
	UNICODE_SK,
	UNICODE_SO,
	UNICODE_ZS,
	UNICODE_ZL,
	UNICODE_ZP,
	UNICODE_CC,
	UNICODE_CF,
	UNICODE_CS,
	UNICODE_CO,
	UNICODE_CN,
	UNICODE_CATEGORIES,
};

/* From `first` up to the next row's. */
struct unicode_range {
	uint32_t first : 24;
	enum unicode_category category : 8;
};

extern const struct unicode_range unicode_ranges[];
extern const unsigned unicode_range_count;

enum unicode_category unicode_category_of(uint32_t character);

/* A bit for each category that a name of ECMA-262 stands for: L, Letter, Lu, Uppercase_Letter,
 * digit, Any … 0: no such name. */
uint32_t unicode_named(struct span name);

#endif
