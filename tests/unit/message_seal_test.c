/* The seal against an independent implementation, and against everything that may not open it. */
#include "message/seal.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "unit/random.h"
#include "unit/unit.h"

#define BODY_TEXT "{\"sku\":\"A-1\",\"quantity\":2}"

static struct keyring ring; /* its present key is 00 01 02 … 1f */
static struct seal *seal;
static struct buf envelope;
static struct buf opened;

static struct seal_key key_from(uint8_t first)
{
	struct seal_key key;

	for (size_t i = 0; i < sizeof(key.byte); i++)
		key.byte[i] = (uint8_t)(first + i);
	return key;
}

static struct seal *must_create(
	const struct keyring *with, enum seal_direction direction, const char *crossing)
{
	struct seal *s = NULL;

	ck_assert_int_eq(seal_create(with, direction, span_of(crossing), &s), ERR_OK);
	return s;
}

static void setup(void)
{
	ring = (struct keyring){ .present = key_from(0) };
	seal = must_create(&ring, SEAL_FORAPP, "web1");
	buf_init(&envelope, SEAL_MAX_BYTES);
	buf_init(&opened, SEAL_MAX_BYTES);
}

static void teardown(void)
{
	seal_destroy(seal);
	buf_fini(&envelope);
	buf_fini(&opened);
}

static struct id must_id(const char *text)
{
	struct id id;

	ck_assert_int_eq(id_parse(span_of(text), &id), ERR_OK);
	return id;
}

static struct message request(void)
{
	return (struct message){
		.id = must_id("0190a1b2-c3d4-7e5f-8a6b-0123456789ab"),
		.type = span_of("quote.price"),
		.user_id = span_of("web.web1.g1"),
		.time_left_ms = 250,
		.sent_unix_us = 1780000000000000,
		.epoch = 4611686018427387903,
		.seq = 1,
		.body = span_of(BODY_TEXT),
	};
}

/* Every field has a value of its own. */
static struct message full_message(void)
{
	struct message m = request();

	m.has_correlation = true;
	m.correlation = must_id("0190a1b2-c3d5-7e5f-8a6b-ba9876543210");
	m.expires_unix_ms = 1780000259200;
	m.attempt = 2;
	m.turn = 12;
	m.prev = must_id("0190a1b2-c3d4-7e5f-8a6b-0000456789ab");
	m.has_prev = true;
	m.key = span_of("c-1");
	m.contract = span_of("9f86d081");
	m.traceparent = span_of("00-abab-cd-01");
	return m;
}

static void must_wrap(struct seal *s, const struct message *m)
{
	buf_clear(&envelope);
	ck_assert_int_eq(seal_wrap(s, m, &envelope), ERR_OK);
	ck_assert_uint_eq(envelope.len, m->body.len + SEAL_OVERHEAD_BYTES);
}

/* As it arrives: the properties of m around the envelope. */
static enum err open_as(struct seal *s, const struct message *m)
{
	struct message arrived = *m;

	arrived.body = buf_span(&envelope);
	buf_clear(&opened);
	return seal_open(s, &arrived, &opened);
}

static void must_open(struct seal *s, const struct message *m)
{
	ck_assert_int_eq(open_as(s, m), ERR_OK);
	ck_assert(span_equals(buf_span(&opened), m->body));
}

static void must_refuse(struct seal *s, const struct message *m)
{
	uint64_t refused = seal_counters(s)->refused;

	ck_assert_int_eq(open_as(s, m), ERR_SEAL);
	ck_assert_uint_eq(opened.len, 0);
	ck_assert_int_eq(buf_status(&opened), ERR_OK);
	ck_assert_uint_eq(seal_counters(s)->refused, refused + 1);
	/* The thread's queue of errors is also read by TLS. */
	ck_assert_uint_eq(ERR_peek_error(), 0);
}

/* ---- what opens ---- */

START_TEST(a_body_of_any_length_opens_as_it_was)
{
	static const size_t lengths[] = { 0, 1, 15, 16, 17, 300, 4096, MESSAGE_BODY_MAX_BYTES };
	char *body = malloc(MESSAGE_BODY_MAX_BYTES);
	struct message m = full_message();
	uint64_t state = 20261122;

	ck_assert_ptr_nonnull(body);
	for (size_t i = 0; i < MESSAGE_BODY_MAX_BYTES; i++)
		body[i] = (char)next_random(&state);
	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		m.body = (struct span){ body, lengths[i] };
		must_wrap(seal, &m);
		must_open(seal, &m);
	}
	ck_assert_uint_eq(seal_counters(seal)->wrapped, ARRAY_COUNT(lengths));
	ck_assert_uint_eq(seal_counters(seal)->opened, ARRAY_COUNT(lengths));
	ck_assert_uint_eq(seal_counters(seal)->opened_accepted, 0);
	free(body);
}
END_TEST

static void expect_hex(struct span bytes, const char *hex)
{
	char *text = calloc(bytes.len, 2 + 1);

	ck_assert_ptr_nonnull(text);
	for (size_t i = 0; i < bytes.len; i++)
		snprintf(text + 2 * i, 3, "%02x", (uint8_t)bytes.at[i]);
	ck_assert_str_eq(text, hex);
	free(text);
}

/* tests/unit/seal_vectors.py prints these envelopes; a ctest holds the two against each other. */
START_TEST(the_bytes_are_those_of_another_implementation)
{
	struct keyring inner_ring = { .present = key_from(64) };
	struct seal *forweb = must_create(&ring, SEAL_FORWEB, "web1");
	struct seal *inner = must_create(&inner_ring, SEAL_INNER, NULL);
	struct message m = request();

	must_wrap(seal, &m);
	expect_hex(buf_span(&envelope),
		"01ea87aefc9b578aba75c15017de55d2a4aa37d424047154640ec04987242104bf7291dd15"
		"43ec62ada6842504f40bc7a180aa089da6bf6a92426b156082b0");
	m = (struct message){
		.id = must_id("0190a1b2-c3d5-7e5f-8a6b-ba9876543210"),
		.has_correlation = true,
		.correlation = must_id("0190a1b2-c3d4-7e5f-8a6b-0123456789ab"),
		.content = MESSAGE_PROBLEM,
		.type = span_of("quote.price"),
		.user_id = span_of("app.app1.g2"),
		.time_left_ms = 201,
		.sent_unix_us = 1780000000050000,
		.epoch = 77,
		.seq = UINT64_C(1) << 40,
		.traceparent = span_of(
			"00-abababababababababababababababab-cdcdcdcdcdcdcdcd-01"),
		.body = span_of("{\"type\":\"urn:sallyport:problem:no\"}"),
	};
	must_wrap(forweb, &m);
	expect_hex(buf_span(&envelope),
		"01ea87aefc9b578aba457b5155fb4dbf1660a09de74a557066a277111f869e9008d72385ca"
		"0a6597e3d5379e896ba07a20ead883e6c97c9debb681105cdddaae1f31cdec79b6f58c");
	m = (struct message){
		.id = must_id("0190a1b2-c3d4-7e5f-8a6b-0123456789ab"),
		.durability = MESSAGE_PERSISTENT,
		.type = span_of("order.place"),
		.user_id = span_of("app.app1.g2"),
		.expires_unix_ms = 1780000259200,
		.sent_unix_us = 1780000000000001,
		.epoch = 77,
		.seq = 3,
		.attempt = 2,
		.key = span_of("c-1"),
		.contract = span_of("9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f"
				    "9f9f9f9f"),
	};
	must_wrap(inner, &m);
	expect_hex(buf_span(&envelope),
		"019a91389ed167acca0d49f4161388492519c344becf920059f7b05ae106b90d3e9f0c1057");
	m = (struct message){
		.id = must_id("0190a1b2-c3d5-7e5f-8a6b-ba9876543210"),
		.durability = MESSAGE_PERSISTENT,
		.type = span_of("order.place"),
		.user_id = span_of("web.web1.g1"),
		.expires_unix_ms = 1780000259200,
		.sent_unix_us = 1780000000000002,
		.epoch = 77,
		.seq = 4,
		.turn = 9,
		.prev = must_id("0190a1b2-c3d4-7e5f-8a6b-0123456789ab"),
		.has_prev = true,
		.key = span_of("c-1"),
		.body = span_of("{}"),
	};
	must_wrap(seal, &m);
	expect_hex(buf_span(&envelope),
		"01ea87aefc9b578abaea9d956af2b9db68646d1e6cc96cf8f713906b5c3207b76714464cef"
		"0b7b");
	seal_destroy(forweb);
	seal_destroy(inner);
}
END_TEST

START_TEST(what_nobody_acts_on_is_not_bound)
{
	struct message m = request();

	must_wrap(seal, &m);
	m.durability = MESSAGE_PERSISTENT;
	m.correlation = must_id("0190a1b2-c3d5-7e5f-8a6b-ba9876543210");
	must_open(seal, &m);
}
END_TEST

START_TEST(envelopes_and_bodies_are_appended)
{
	struct message m = request();
	size_t first_len;

	must_wrap(seal, &m);
	first_len = envelope.len;
	ck_assert_int_eq(seal_wrap(seal, &m, &envelope), ERR_OK);
	ck_assert_uint_eq(envelope.len, 2 * first_len);
	ck_assert_mem_eq(envelope.at, envelope.at + first_len, first_len);
	m.body = (struct span){ envelope.at, first_len };
	buf_text(&opened, "before:");
	ck_assert_int_eq(seal_open(seal, &m, &opened), ERR_OK);
	expect_span(buf_span(&opened), "before:" BODY_TEXT);
}
END_TEST

START_TEST(more_senders_than_are_kept_at_hand_are_served)
{
	enum { SENDERS = 50 };
	struct message m = request();
	char name[32];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < SENDERS; i++) {
			snprintf(name, sizeof(name), "web.web1.g%d", i + 1);
			m.user_id = span_of(name);
			struct seal *fresh = must_create(&ring, SEAL_FORAPP, "web1");

			must_wrap(seal, &m);
			must_open(seal, &m);
			must_open(fresh, &m);
			name[strlen(name) - 1]++;
			must_refuse(seal, &m);
			seal_destroy(fresh);
		}
	}
}
END_TEST

/* ---- what does not open ---- */

START_TEST(no_flipped_bit_of_an_envelope_passes)
{
	char body[300];
	struct message m = full_message();

	memset(body, 'b', sizeof(body));
	m.body = (struct span){ body, sizeof(body) };
	must_wrap(seal, &m);
	for (size_t bit = 0; bit < 8 * envelope.len; bit++) {
		envelope.at[bit / 8] = (char)(envelope.at[bit / 8] ^ 1 << bit % 8);
		must_refuse(seal, &m);
		/* What was decrypted before the tag was looked at is not left lying about. */
		if (opened.at != NULL)
			ck_assert_ptr_null(memmem(opened.at, opened.room, body, 16));
		envelope.at[bit / 8] = (char)(envelope.at[bit / 8] ^ 1 << bit % 8);
	}
	must_open(seal, &m);
}
END_TEST

START_TEST(no_truncated_or_longer_envelope_passes)
{
	struct message m = full_message();
	size_t len;

	must_wrap(seal, &m);
	len = envelope.len;
	for (envelope.len = 0; envelope.len < len; envelope.len++)
		must_refuse(seal, &m);
	buf_byte(&envelope, 0);
	must_refuse(seal, &m);
	envelope.len = len;
	must_open(seal, &m);
	envelope.at[0] = 0; /* no such version */
	must_refuse(seal, &m);
}
END_TEST

START_TEST(an_envelope_larger_than_any_is_refused_unread)
{
	struct message m = request();

	buf_fini(&envelope);
	buf_init(&envelope, SEAL_MAX_BYTES + 1);
	ck_assert_ptr_nonnull(buf_reserve(&envelope, SEAL_MAX_BYTES + 1));
	must_wrap(seal, &m);
	memset(envelope.at + envelope.len, 0, SEAL_MAX_BYTES + 1 - envelope.len);
	envelope.len = SEAL_MAX_BYTES + 1;
	must_refuse(seal, &m);
	ck_assert_ptr_null(opened.at);
}
END_TEST

START_TEST(noise_never_opens)
{
	enum { TRIES = 100000, NOISE_BYTES = 64 };
	struct message m = request();
	uint64_t state = 4711;
	size_t head = 1 + SEAL_KEY_ID_BYTES;

	must_wrap(seal, &m);
	for (int i = 0; i < TRIES; i++) {
		/* Under a key that is known, or it would be too easy. */
		for (size_t at = head; at < envelope.len; at++)
			envelope.at[at] = (char)next_random(&state);
		must_refuse(seal, &m);
	}
}
END_TEST

static void other_id(struct message *m)
{
	m->id.byte[15] ^= 1;
}

static void other_correlation(struct message *m)
{
	m->correlation.byte[0] ^= 0x80;
}

static void no_correlation(struct message *m)
{
	m->has_correlation = false;
}

static void other_content(struct message *m)
{
	m->content = MESSAGE_PROBLEM;
}

static void other_operation(struct message *m)
{
	m->type = span_of("quote.pric");
}

static void no_operation(struct message *m)
{
	m->type = (struct span){ 0 };
}

static void other_sender(struct message *m)
{
	m->user_id = span_of("web.web1.g2");
}

static void no_sender(struct message *m)
{
	m->user_id = (struct span){ 0 };
}

static void other_trace(struct message *m)
{
	m->traceparent = span_of("00-abab-cd-00");
}

static void other_key(struct message *m)
{
	m->key = span_of("c-2");
}

static void no_key(struct message *m)
{
	m->key = (struct span){ 0 };
}

static void other_contract(struct message *m)
{
	m->contract = span_of("9f86d082");
}

static void more_time(struct message *m)
{
	m->time_left_ms++;
}

static void no_time(struct message *m)
{
	m->time_left_ms = 0;
}

static void later_expiry(struct message *m)
{
	m->expires_unix_ms++;
}

static void no_expiry(struct message *m)
{
	m->expires_unix_ms = 0;
}

static void later(struct message *m)
{
	m->sent_unix_us += UINT64_C(1) << 56;
}

static void other_epoch(struct message *m)
{
	m->epoch ^= 1;
}

static void next_seq(struct message *m)
{
	m->seq++;
}

static void other_attempt(struct message *m)
{
	m->attempt = 0;
}

/* The same letters, but the border between two fields has moved. */
static void moved_border(struct message *m)
{
	m->key = span_of("c-19");
	m->contract = span_of("f86d081");
}

static void swapped_texts(struct message *m)
{
	struct span type = m->type;

	m->type = m->key;
	m->key = type;
}

static void swapped_numbers(struct message *m)
{
	m->attempt = m->seq;
	m->seq = 2;
}

static void swapped_ids(struct message *m)
{
	struct id id = m->id;

	m->id = m->correlation;
	m->correlation = id;
}

static char long_text[SEAL_FIELD_MAX_BYTES + 2];

static void too_long_operation(struct message *m)
{
	m->type = span_of(long_text);
}

static void too_long_sender(struct message *m)
{
	m->user_id = span_of(long_text);
}

static void other_turn(struct message *m)
{
	m->turn++;
}

static void no_turn(struct message *m)
{
	m->turn = 0;
}

static void other_prev(struct message *m)
{
	m->prev.byte[3] ^= 1;
}

static void no_prev(struct message *m)
{
	m->has_prev = false;
}

static void (*const changes[])(struct message *) = { other_id, other_correlation,
	no_correlation, other_content, other_operation, no_operation, other_sender, no_sender,
	other_trace, other_key, no_key, other_contract, more_time, no_time, later_expiry,
	no_expiry, later, other_epoch, next_seq, other_attempt, other_turn, no_turn, other_prev,
	no_prev, moved_border, swapped_texts, swapped_numbers, swapped_ids, too_long_operation,
	too_long_sender };

START_TEST(whatever_a_receiver_acts_on_cannot_be_changed)
{
	struct message m = full_message();
	struct message changed = m;

	memset(long_text, 'a', sizeof(long_text) - 1);
	must_wrap(seal, &m);
	changes[_i](&changed);
	must_refuse(seal, &changed);
	must_open(seal, &m);
}
END_TEST

START_TEST(a_message_opens_only_where_it_was_sealed_for)
{
	struct message m = full_message();
	struct seal *others[] = {
		must_create(&ring, SEAL_FORWEB, "web1"),
		must_create(&ring, SEAL_INNER, "web1"),
		must_create(&ring, SEAL_INNER, NULL),
		must_create(&ring, SEAL_FORAPP, "web2"),
		must_create(&ring, SEAL_FORAPP, "web"),
		must_create(&ring, SEAL_FORAPP, NULL),
	};

	for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
		must_wrap(seal, &m);
		must_refuse(others[i], &m);
		must_wrap(others[i], &m);
		must_refuse(seal, &m);
		seal_destroy(others[i]);
	}
}
END_TEST

START_TEST(another_key_opens_nothing)
{
	struct keyring other_ring = { .present = key_from(1) };
	struct seal *other = must_create(&other_ring, SEAL_FORAPP, "web1");
	struct message m = full_message();

	must_wrap(other, &m);
	must_refuse(seal, &m);
	/* Not even under the name of the right one. */
	ck_assert_int_eq(seal_key_id(&ring.present, (uint8_t *)envelope.at + 1), ERR_OK);
	must_refuse(seal, &m);
	seal_destroy(other);
}
END_TEST

/* ---- nonces ---- */

static struct span nonce(void)
{
	return (struct span){ envelope.at + 1 + SEAL_KEY_ID_BYTES, SEAL_NONCE_BYTES };
}

START_TEST(the_same_message_is_the_same_envelope_and_any_other_has_its_own_nonce)
{
	enum { BODIES = 2000 };
	char *seen = calloc(BODIES, SEAL_NONCE_BYTES);
	struct message m = request();
	char body[16];

	/* As if a machine had been put back to where it was: same id, same time, same count. */
	ck_assert_ptr_nonnull(seen);
	for (size_t i = 0; i < BODIES; i++) {
		snprintf(body, sizeof(body), "{\"n\":%zu}", i);
		m.body = span_of(body);
		must_wrap(seal, &m);
		for (size_t k = 0; k < i; k++)
			ck_assert_mem_ne(
				seen + k * SEAL_NONCE_BYTES, nonce().at, SEAL_NONCE_BYTES);
		memcpy(seen + i * SEAL_NONCE_BYTES, nonce().at, SEAL_NONCE_BYTES);
		must_wrap(seal, &m);
		ck_assert_mem_eq(seen + i * SEAL_NONCE_BYTES, nonce().at, SEAL_NONCE_BYTES);
	}
	m.seq++;
	must_wrap(seal, &m);
	ck_assert_mem_ne(seen + (BODIES - 1) * SEAL_NONCE_BYTES, nonce().at, SEAL_NONCE_BYTES);
	free(seen);
}
END_TEST

/* ---- two keys ---- */

START_TEST(a_key_is_replaced_without_losing_a_message)
{
	struct keyring steps[] = {
		{ .present = key_from(0) },
		{ .present = key_from(0), .accepted = key_from(100), .has_accepted = true },
		{ .present = key_from(100), .accepted = key_from(0), .has_accepted = true },
		{ .present = key_from(100) },
	};
	struct message m = full_message();

	/* The two sides are never more than one step apart. */
	for (size_t from = 0; from < ARRAY_COUNT(steps); from++) {
		for (size_t to = 0; to < ARRAY_COUNT(steps); to++) {
			struct seal *sender = must_create(&steps[from], SEAL_FORWEB, "web1");
			struct seal *receiver = must_create(&steps[to], SEAL_FORWEB, "web1");

			must_wrap(sender, &m);
			if (from <= to + 1 && to <= from + 1)
				must_open(receiver, &m);
			else if (from + to == 3 && from % 3 == 0)
				must_refuse(receiver, &m);
			seal_destroy(sender);
			seal_destroy(receiver);
		}
	}
}
END_TEST

START_TEST(keys_change_under_way)
{
	struct keyring both = {
		.present = key_from(100), .accepted = key_from(0), .has_accepted = true
	};
	struct keyring last = { .present = key_from(100) };
	struct message m = full_message();

	struct seal *ahead = must_create(&both, SEAL_FORAPP, "web1");

	must_wrap(seal, &m);
	must_open(ahead, &m);
	must_wrap(ahead, &m); /* of the same sender under the other key */
	must_open(ahead, &m);
	must_refuse(seal, &m);
	must_wrap(seal, &m);
	ck_assert_int_eq(seal_rekey(seal, &both), ERR_OK);
	must_open(seal, &m);
	ck_assert_uint_eq(seal_counters(seal)->opened_accepted, 1);
	must_wrap(seal, &m);
	must_open(ahead, &m);
	must_open(seal, &m);
	ck_assert_int_eq(seal_rekey(ahead, &last), ERR_OK);
	must_open(ahead, &m);
	must_wrap(ahead, &m);
	must_open(seal, &m);
	ck_assert_uint_eq(seal_counters(seal)->opened, 3);
	ck_assert_uint_eq(seal_counters(seal)->opened_accepted, 1);
	seal_destroy(ahead);
}
END_TEST

/* ---- limits ---- */

START_TEST(what_is_too_long_is_not_sealed)
{
	char text[SEAL_FIELD_MAX_BYTES + 2];
	char *body = calloc(1, MESSAGE_BODY_MAX_BYTES + 1);
	struct message m = full_message();
	struct seal *none = NULL;

	ck_assert_ptr_nonnull(body);
	memset(text, 'x', sizeof(text));
	m.key = (struct span){ text, SEAL_FIELD_MAX_BYTES };
	must_wrap(seal, &m);
	must_open(seal, &m);
	m.key.len++;
	ck_assert_int_eq(seal_wrap(seal, &m, &envelope), ERR_INPUT);
	m = full_message();
	m.body = (struct span){ body, MESSAGE_BODY_MAX_BYTES + 1 };
	ck_assert_int_eq(seal_wrap(seal, &m, &envelope), ERR_INPUT);
	m = full_message();
	m.user_id = (struct span){ 0 };
	ck_assert_int_eq(seal_wrap(seal, &m, &envelope), ERR_INPUT);
	ck_assert_int_eq(seal_create(&ring, SEAL_FORAPP,
				 (struct span){ text, SEAL_FIELD_MAX_BYTES + 1 }, &none),
		ERR_INPUT);
	ck_assert_ptr_null(none);
	seal_destroy(NULL);
	free(body);
}
END_TEST

START_TEST(an_output_without_room_is_full_and_nothing_is_counted)
{
	struct message m = full_message();
	struct buf small;

	buf_init(&small, m.body.len + SEAL_OVERHEAD_BYTES - 1);
	ck_assert_int_eq(seal_wrap(seal, &m, &small), ERR_FULL);
	ck_assert_uint_eq(small.len, 0);
	ck_assert_uint_eq(seal_counters(seal)->wrapped, 0);
	buf_fini(&small);
	must_wrap(seal, &m);
	m.body = buf_span(&envelope);
	buf_init(&small, 10);
	ck_assert_int_eq(seal_open(seal, &m, &small), ERR_FULL);
	ck_assert_uint_eq(seal_counters(seal)->opened, 0);
	ck_assert_uint_eq(seal_counters(seal)->refused, 0);
	buf_fini(&small);
}
END_TEST

START_TEST(a_key_has_a_public_name)
{
	uint8_t id[SEAL_KEY_ID_BYTES];
	uint8_t other[SEAL_KEY_ID_BYTES];
	struct seal_key key = key_from(1);

	ck_assert_int_eq(seal_key_id(&ring.present, id), ERR_OK);
	expect_hex((struct span){ (const char *)id, sizeof(id) }, "ea87aefc9b578aba");
	ck_assert_int_eq(seal_key_id(&key, other), ERR_OK);
	ck_assert_mem_ne(id, other, sizeof(id));
}
END_TEST

START_TEST(a_seal_names_its_keys)
{
	struct seal_key_names names = seal_key_names(seal);
	struct seal_key_name name;
	struct keyring two = ring;

	ck_assert_str_eq(names.present.at, "ea87aefc9b578aba");
	ck_assert_str_eq(names.accepted.at, "");
	two.accepted = ring.present;
	two.present = key_from(1);
	two.has_accepted = true;
	ck_assert_int_eq(seal_rekey(seal, &two), ERR_OK);
	ck_assert_int_eq(seal_key_name(&two.present, &name), ERR_OK);
	names = seal_key_names(seal);
	ck_assert_str_eq(names.present.at, name.at);
	ck_assert_str_eq(names.accepted.at, "ea87aefc9b578aba");
}
END_TEST

/* ---- memory that runs out ---- */

enum { SWEEP = 120 };

static struct {
	int countdown; /* -1: none fails */
	bool fired;
} fault = { .countdown = -1 };

static bool fails_now(void)
{
	if (fault.countdown < 0 || fault.countdown-- > 0)
		return false;
	fault.fired = true;
	return true;
}

static void *on_malloc(size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails_now() ? NULL : malloc(bytes);
}

static void *on_realloc(void *at, size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails_now() ? NULL : realloc(at, bytes);
}

static void on_free(void *at, const char *file, int line)
{
	(void)file;
	(void)line;
	free(at);
}

/* The _i-th allocation inside the library fails: an error or none, never half a message. */
START_TEST(every_allocation_of_the_library_may_fail)
{
	struct keyring both = {
		.present = key_from(100), .accepted = key_from(0), .has_accepted = true
	};
	struct message m = full_message();
	struct seal *s = NULL;
	bool has_fired;

	must_wrap(seal, &m); /* what the library makes once is made */
	must_open(seal, &m);
	fault.countdown = _i;
	fault.fired = false;
	enum err err = seal_create(&ring, SEAL_FORAPP, span_of("web1"), &s);

	ck_assert(err == ERR_OK || err == ERR_NOMEM);
	if (err == ERR_OK) {
		buf_clear(&envelope);
		err = seal_wrap(s, &m, &envelope);
		ck_assert(err == ERR_OK || (err == ERR_NOMEM && envelope.len == 0));
	}
	if (err == ERR_OK) {
		err = seal_rekey(s, &both);
		ck_assert(err == ERR_OK || err == ERR_NOMEM);
		err = open_as(s, &m);
		ck_assert(err == ERR_OK || (err == ERR_NOMEM && opened.len == 0));
	}
	ck_assert_uint_eq(ERR_peek_error(), 0);
	has_fired = fault.fired;
	fault.countdown = -1;
	if (s != NULL) {
		/* It has not been harmed. */
		must_wrap(s, &m);
		must_open(s, &m);
	}
	seal_destroy(s);
	if (_i == SWEEP - 1)
		ck_assert(!has_fired); /* the sweep was long enough */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message/seal");
	TCase *opens = tcase_create("opens");
	TCase *refuses = tcase_create("refuses");
	TCase *keys = tcase_create("keys");

	if (CRYPTO_set_mem_functions(on_malloc, on_realloc, on_free) != 1)
		return EXIT_FAILURE;
	tcase_add_checked_fixture(opens, setup, teardown);
	tcase_add_test(opens, a_body_of_any_length_opens_as_it_was);
	tcase_add_test(opens, the_bytes_are_those_of_another_implementation);
	tcase_add_test(opens, what_nobody_acts_on_is_not_bound);
	tcase_add_test(opens, envelopes_and_bodies_are_appended);
	tcase_add_test(opens, more_senders_than_are_kept_at_hand_are_served);
	tcase_add_test(opens, what_is_too_long_is_not_sealed);
	tcase_add_test(opens, an_output_without_room_is_full_and_nothing_is_counted);
	suite_add_tcase(suite, opens);

	tcase_add_checked_fixture(refuses, setup, teardown);
	tcase_add_test(refuses, no_flipped_bit_of_an_envelope_passes);
	tcase_add_test(refuses, no_truncated_or_longer_envelope_passes);
	tcase_add_test(refuses, an_envelope_larger_than_any_is_refused_unread);
	tcase_add_test(refuses, noise_never_opens);
	tcase_add_loop_test(refuses, whatever_a_receiver_acts_on_cannot_be_changed, 0,
		(int)ARRAY_COUNT(changes));
	tcase_add_test(refuses, a_message_opens_only_where_it_was_sealed_for);
	tcase_add_test(refuses, another_key_opens_nothing);
	tcase_set_timeout(refuses, 60);
	suite_add_tcase(suite, refuses);

	tcase_add_checked_fixture(keys, setup, teardown);
	tcase_add_test(
		keys, the_same_message_is_the_same_envelope_and_any_other_has_its_own_nonce);
	tcase_add_test(keys, a_key_is_replaced_without_losing_a_message);
	tcase_add_test(keys, keys_change_under_way);
	tcase_add_test(keys, a_key_has_a_public_name);
	tcase_add_test(keys, a_seal_names_its_keys);
	tcase_add_loop_test(keys, every_allocation_of_the_library_may_fail, 0, SWEEP);
	tcase_set_timeout(keys, 60);
	suite_add_tcase(suite, keys);
	return unit_run(suite);
}
