/* order.h - what a network is told to do to the bytes that pass it, as text and as a struct.
 *
 * Layer: tests. Uses: base. Pure. */
#ifndef SALLYPORT_TESTS_FAULT_ORDER_H
#define SALLYPORT_TESTS_FAULT_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macro.h"
#include "base/span.h"

enum order_kind {
	ORDER_PASS = 0, /* pass [DIR]           a good network */
	ORDER_DELAY,    /* delay DIR 20ms       every byte arrives that much later */
	ORDER_TRICKLE,  /* trickle DIR 100/s    so many bytes a second, one by one */
	ORDER_SWALLOW, /* swallow [DIR]        takes everything, delivers nothing, closes nothing */
	ORDER_CUT, /* cut [DIR N]          all connections end by FIN at once; or one after N bytes */
	ORDER_RESET,      /* reset [DIR N]        the same by RST */
	ORDER_HALF_CLOSE, /* half-close DIR [N]   one direction ends by FIN, the other goes on */
	ORDER_FLIP, /* flip DIR N           one bit of byte N (the next one is 0) is turned over */
	ORDER_REFUSE, /* refuse               new connections are closed at once */
	ORDER_DENY,   /* deny                 nobody listens: ECONNREFUSED */
	ORDER_ADMIT,  /* admit                and no longer */
	ORDER_HEAL, /* heal                 pass, admit, and whatever waits for byte N is forgotten */
};

enum { ORDER_KINDS = ORDER_HEAL + 1, ORDER_TEXT_ROOM = 64 };

/* The direction: up is from who connects to the target. */
enum order_way { ORDER_UP = 1, ORDER_DOWN = 2, ORDER_BOTH = 3 };

struct order {
	enum order_kind kind;
	enum order_way way;
	bool is_at_byte; /* cut, reset, half-close: not at once but after `amount` bytes */
	uint64_t amount; /* ms of delay, bytes a second of trickle, number of the byte */
};

/* Returns: ERR_OK; ERR_INPUT: no such order. */
WARN_UNUSED enum err order_parse(struct span text, struct order *out);

struct order_text {
	char at[ORDER_TEXT_ROOM];
};

/* What order_parse() reads as the same order. */
struct order_text order_format(const struct order *order);

const char *order_kind_text(enum order_kind kind);

#endif
