#include "contract/number.h"

#include "base/bug.h"

static const int64_t EXPONENT_MAX = 9999999999;

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Behind the e. */
static int64_t read_exponent(const char *at, const char *end)
{
	bool is_negative = at < end && *at == '-';
	int64_t value = 0;

	if (at < end && (*at == '-' || *at == '+'))
		at++;
	for (; at < end; at++) {
		value = value * 10 + (*at - '0');
		if (value > EXPONENT_MAX)
			value = EXPONENT_MAX;
	}
	return is_negative ? -value : value;
}

struct number number_read(struct span text)
{
	struct number n = { .written = text };
	const char *at = text.at;
	const char *end = at + text.len;
	const char *first = NULL;
	const char *last = NULL;
	bool is_fraction = false;
	uint32_t seen = 0;       /* digits from the first that is no zero */
	int64_t zeros_least = 0; /* exponent of the digit seen last */

	if (at < end && *at == '-') {
		n.is_negative = true;
		at++;
	}
	for (; at < end && *at != 'e' && *at != 'E'; at++) {
		if (*at == '.') {
			is_fraction = true;
			continue;
		}
		/* Before the point every digit pushes the last significant one up. */
		if (is_fraction)
			zeros_least--;
		else if (last != NULL)
			n.exponent++;
		if (first != NULL || *at != '0')
			seen++;
		if (*at == '0')
			continue;
		if (first == NULL)
			first = at;
		last = at;
		n.count = seen;
		n.exponent = zeros_least;
	}
	if (first == NULL)
		return (struct number){ .written = text };
	if (at < end)
		n.exponent += read_exponent(at + 1, end);
	n.digits = (struct span){ first, (size_t)(last - first) + 1 };
	return n;
}

static size_t skip_digits(struct span text, size_t at)
{
	while (at < text.len && is_digit(text.at[at]))
		at++;
	return at;
}

bool number_is_written(struct span text)
{
	size_t at = text.len > 0 && text.at[0] == '-';
	size_t end = skip_digits(text, at);

	if (end == at || (text.at[at] == '0' && end > at + 1))
		return false;
	if (end < text.len && text.at[end] == '.') {
		at = end + 1;
		end = skip_digits(text, at);
		if (end == at)
			return false;
	}
	if (end < text.len && (text.at[end] == 'e' || text.at[end] == 'E')) {
		at = end + 1;
		if (at < text.len && (text.at[at] == '+' || text.at[at] == '-'))
			at++;
		end = skip_digits(text, at);
		if (end == at)
			return false;
	}
	return end == text.len;
}

/* Digit by digit, without the point. */
struct digits {
	const char *at;
	const char *end;
};

static struct digits digits_of(const struct number *n)
{
	return (struct digits){ n->digits.at, n->digits.at + n->digits.len };
}

/* 0 behind the last one. */
static int next_digit(struct digits *d)
{
	if (d->at < d->end && *d->at == '.')
		d->at++;
	return d->at < d->end ? *d->at++ - '0' : 0;
}

static int compare_sizes(const struct number *a, const struct number *b)
{
	int64_t top_a = a->exponent + a->count;
	int64_t top_b = b->exponent + b->count;
	struct digits x = digits_of(a);
	struct digits y = digits_of(b);

	if (top_a != top_b)
		return top_a < top_b ? -1 : 1;
	for (uint32_t left = a->count > b->count ? a->count : b->count; left > 0; left--) {
		int difference = next_digit(&x) - next_digit(&y);

		if (difference != 0)
			return difference;
	}
	return 0;
}

int number_compare(const struct number *a, const struct number *b)
{
	int sign_a = a->count == 0 ? 0 : a->is_negative ? -1 : 1;
	int sign_b = b->count == 0 ? 0 : b->is_negative ? -1 : 1;

	if (sign_a != sign_b)
		return sign_a - sign_b;
	return sign_a == 0 ? 0 : sign_a * compare_sizes(a, b);
}

static uint64_t multiply(uint64_t a, uint64_t b, uint64_t modulus)
{
	return (uint64_t)((unsigned __int128)a * b % modulus);
}

static uint64_t power_of_ten(uint64_t exponent, uint64_t modulus)
{
	uint64_t result = 1 % modulus;
	uint64_t base = 10 % modulus;

	for (; exponent > 0; exponent >>= 1) {
		if ((exponent & 1) != 0)
			result = multiply(result, base, modulus);
		base = multiply(base, base, modulus);
	}
	return result;
}

bool number_divides(const struct number *divisor, const struct number *n)
{
	struct digits d = digits_of(divisor);
	uint64_t modulus = 0;
	uint64_t rest = 0;

	BUG_ON(divisor->count == 0 || divisor->count > NUMBER_DIVISOR_DIGITS);
	if (n->count == 0)
		return true;
	/* The last digit of n is no zero: no tenth of it is whole. */
	if (n->exponent < divisor->exponent)
		return false;
	for (uint32_t i = 0; i < divisor->count; i++)
		modulus = modulus * 10 + (uint64_t)next_digit(&d);
	d = digits_of(n);
	for (uint32_t i = 0; i < n->count; i++)
		rest = (uint64_t)(((unsigned __int128)rest * 10 + (unsigned)next_digit(&d)) %
				  modulus);
	uint64_t more = (uint64_t)(n->exponent - divisor->exponent);

	return multiply(rest, power_of_ten(more, modulus), modulus) == 0;
}

uint64_t number_hash(const struct number *n)
{
	struct digits d = digits_of(n);
	uint64_t hash = (uint64_t)n->exponent * 2 + n->is_negative;

	for (uint32_t i = 0; i < n->count; i++)
		hash = hash * 31 + (uint64_t)next_digit(&d);
	return hash;
}

bool number_to_i64(const struct number *n, int64_t *out)
{
	enum { DIGITS_MAX = 19 };
	struct digits d = digits_of(n);
	unsigned __int128 size = 0;

	if (!number_is_whole(n) || n->exponent + n->count > DIGITS_MAX)
		return false;
	for (int64_t left = n->count == 0 ? 0 : n->exponent + n->count; left > 0; left--)
		size = size * 10 + (unsigned)next_digit(&d);
	if (size > (unsigned __int128)INT64_MAX + n->is_negative)
		return false;
	*out = n->is_negative ? (int64_t)(0 - (uint64_t)size) : (int64_t)size;
	return true;
}
