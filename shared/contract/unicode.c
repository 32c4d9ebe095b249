#include "contract/unicode.h"

enum { ALL = (1 << UNICODE_CATEGORIES) - 1 };

/* From one category to another, both included. */
#define BITS(from, to) (((1u << (UNICODE_##to - UNICODE_##from + 1)) - 1) << UNICODE_##from)

static const struct {
	const char *names; /* with blanks around each */
	uint32_t bits;
} named[] = {
	{ " Any ", ALL },
	{ " Assigned ", ALL & ~(1u << UNICODE_CN) },
	{ " LC Cased_Letter ", BITS(LU, LT) },
	{ " L Letter ", BITS(LU, LO) },
	{ " M Mark Combining_Mark ", BITS(MN, ME) },
	{ " N Number ", BITS(ND, NO) },
	{ " P Punctuation punct ", BITS(PC, PO) },
	{ " S Symbol ", BITS(SM, SO) },
	{ " Z Separator ", BITS(ZS, ZP) },
	{ " C Other ", BITS(CC, CN) },
	{ " Lu Uppercase_Letter ", BITS(LU, LU) },
	{ " Ll Lowercase_Letter ", BITS(LL, LL) },
	{ " Lt Titlecase_Letter ", BITS(LT, LT) },
	{ " Lm Modifier_Letter ", BITS(LM, LM) },
	{ " Lo Other_Letter ", BITS(LO, LO) },
	{ " Mn Nonspacing_Mark ", BITS(MN, MN) },
	{ " Mc Spacing_Mark ", BITS(MC, MC) },
	{ " Me Enclosing_Mark ", BITS(ME, ME) },
	{ " Nd Decimal_Number digit ", BITS(ND, ND) },
	{ " Nl Letter_Number ", BITS(NL, NL) },
	{ " No Other_Number ", BITS(NO, NO) },
	{ " Pc Connector_Punctuation ", BITS(PC, PC) },
	{ " Pd Dash_Punctuation ", BITS(PD, PD) },
	{ " Ps Open_Punctuation ", BITS(PS, PS) },
	{ " Pe Close_Punctuation ", BITS(PE, PE) },
	{ " Pi Initial_Punctuation ", BITS(PI, PI) },
	{ " Pf Final_Punctuation ", BITS(PF, PF) },
	{ " Po Other_Punctuation ", BITS(PO, PO) },
	{ " Sm Math_Symbol ", BITS(SM, SM) },
	{ " Sc Currency_Symbol ", BITS(SC, SC) },
	{ " Sk Modifier_Symbol ", BITS(SK, SK) },
	{ " So Other_Symbol ", BITS(SO, SO) },
	{ " Zs Space_Separator ", BITS(ZS, ZS) },
	{ " Zl Line_Separator ", BITS(ZL, ZL) },
	{ " Zp Paragraph_Separator ", BITS(ZP, ZP) },
	{ " Cc Control cntrl ", BITS(CC, CC) },
	{ " Cf Format ", BITS(CF, CF) },
	{ " Cs Surrogate ", BITS(CS, CS) },
	{ " Co Private_Use ", BITS(CO, CO) },
	{ " Cn Unassigned ", BITS(CN, CN) },
};
#undef BITS

enum unicode_category unicode_category_of(uint32_t character)
{
	unsigned low = 0;
	unsigned high = unicode_range_count;

	while (high - low > 1) {
		unsigned middle = low + (high - low) / 2;

		if (unicode_ranges[middle].first <= character)
			low = middle;
		else
			high = middle;
	}
	return unicode_ranges[low].category;
}

static bool has_name(const char *names, struct span name)
{
	const char *at = memmem(names, strlen(names), name.at, name.len);

	return at != NULL && at[-1] == ' ' && at[name.len] == ' ';
}

uint32_t unicode_named(struct span name)
{
	if (name.len == 0 || memchr(name.at, ' ', name.len) != NULL)
		return 0;
	for (size_t i = 0; i < ARRAY_COUNT(named); i++)
		if (has_name(named[i].names, name))
			return named[i].bits;
	return 0;
}
