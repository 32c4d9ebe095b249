#include "message/seal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"

/* All keys and everything derived are HMAC-SHA256, as HKDF-Expand (RFC 5869) with one block:
 *
 *   key id      = HMAC(key, "sallyport seal key id v1" 01), 8 bytes
 *   sender key  = HMAC(key, "sallyport seal sender v1" direction len crossing len sender 01)
 *   nonce       = HMAC(sender key, 01 bound body), 12 bytes
 *   message key = HMAC(sender key, 02 message-id nonce)
 *   envelope    = version, key id, nonce, AES-256-GCM(message key, nonce, bound, body), tag
 *
 * `bound` is what write_bound() writes. */

enum {
	MAC_BYTES = 32,
	SENDER_KEYS = 8, /* senders whose keys are kept at hand */
	BOUND_FIXED_BYTES = 2 + SEAL_KEY_ID_BYTES + 2 + 2 * ID_BYTES + 6 * 8,
	BOUND_TEXTS = 6,
	BOUND_LANE_BYTES = 8 + ID_BYTES,
	BOUND_MAX_BYTES = BOUND_FIXED_BYTES + BOUND_TEXTS * (1 + SEAL_FIELD_MAX_BYTES) +
			  BOUND_LANE_BYTES,
	LABEL_NONCE = 1,
	LABEL_MESSAGE_KEY = 2,
	RING_KEYS = 2,
	PRESENT = 0,
};

static const char key_id_info[] = "sallyport seal key id v1";
static const char sender_info[] = "sallyport seal sender v1";

struct ring_key {
	struct seal_key key;
	uint8_t id[SEAL_KEY_ID_BYTES];
};

/* HMAC under the key of one sender, ready to be used again and again. */
struct sender_key {
	EVP_MAC_CTX *mac; /* NULL: the place is free */
	const struct ring_key *from;
	uint64_t used_at; /* by the count of uses: the oldest gives way */
	size_t sender_len;
	char sender[SEAL_FIELD_MAX_BYTES];
};

struct seal {
	struct ring_key ring[RING_KEYS]; /* the first one seals */
	size_t ring_count;
	enum seal_direction direction;
	size_t crossing_len;
	char crossing[SEAL_FIELD_MAX_BYTES];
	EVP_MAC *hmac;
	EVP_CIPHER_CTX *gcm;
	struct sender_key senders[SENDER_KEYS];
	uint64_t uses;
	struct seal_counters counters;
	size_t bound_len;
	uint8_t bound[BOUND_MAX_BYTES]; /* of the message under way */
};

/* The reasons that the library keeps for this thread would be taken for those of TLS. */
static enum err without_reasons(enum err err)
{
	ERR_clear_error();
	return err;
}

/* ---- HMAC ---- */

static bool mac_start(EVP_MAC_CTX *mac, const struct seal_key *key)
{
	char sha256[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_init(mac, key->byte, sizeof(key->byte), params) == 1;
}

static bool mac_add(EVP_MAC_CTX *mac, const void *bytes, size_t len)
{
	return len == 0 || EVP_MAC_update(mac, bytes, len) == 1;
}

static bool mac_end(EVP_MAC_CTX *mac, uint8_t out[static MAC_BYTES])
{
	size_t len = 0;

	return EVP_MAC_final(mac, out, &len, MAC_BYTES) == 1 && len == MAC_BYTES;
}

/* Begins anew with the same key. */
static bool mac_again(EVP_MAC_CTX *mac, uint8_t label)
{
	return EVP_MAC_init(mac, NULL, 0, NULL) == 1 && mac_add(mac, &label, 1);
}

static bool derive_key_id(EVP_MAC *hmac, const struct seal_key *key, uint8_t *out)
{
	EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
	uint8_t last = 1;
	uint8_t all[MAC_BYTES];
	bool fine = mac != NULL && mac_start(mac, key) &&
		    mac_add(mac, key_id_info, strlen(key_id_info)) && mac_add(mac, &last, 1) &&
		    mac_end(mac, all);

	EVP_MAC_CTX_free(mac);
	if (fine)
		memcpy(out, all, SEAL_KEY_ID_BYTES);
	return fine;
}

enum err seal_key_id(const struct seal_key *key, uint8_t out[static SEAL_KEY_ID_BYTES])
{
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	bool fine = hmac != NULL && derive_key_id(hmac, key, out);

	EVP_MAC_free(hmac);
	return fine ? ERR_OK : without_reasons(ERR_NOMEM);
}

static struct seal_key_name name_of(const uint8_t id[static SEAL_KEY_ID_BYTES])
{
	struct seal_key_name name = { 0 };

	for (size_t i = 0; i < SEAL_KEY_ID_BYTES; i++)
		snprintf(name.at + 2 * i, 3, "%02x", id[i]);
	return name;
}

enum err seal_key_name(const struct seal_key *key, struct seal_key_name *out)
{
	uint8_t id[SEAL_KEY_ID_BYTES];
	enum err err = seal_key_id(key, id);

	*out = err == ERR_OK ? name_of(id) : (struct seal_key_name){ 0 };
	return err;
}

struct seal_key_names seal_key_names(const struct seal *s)
{
	struct seal_key_names names = { .present = name_of(s->ring[PRESENT].id) };

	if (s->ring_count > 1)
		names.accepted = name_of(s->ring[1].id);
	return names;
}

/* ---- the keys of senders ---- */

static bool add_text(EVP_MAC_CTX *mac, const void *text, size_t len)
{
	uint8_t len_byte = (uint8_t)len;

	return mac_add(mac, &len_byte, 1) && mac_add(mac, text, len);
}

static bool derive_sender_key(
	const struct seal *s, EVP_MAC_CTX *mac, const struct ring_key *from, struct span sender)
{
	uint8_t direction = (uint8_t)s->direction;
	uint8_t last = 1;
	struct seal_key key;
	bool fine = mac_start(mac, &from->key) &&
		    mac_add(mac, sender_info, strlen(sender_info)) &&
		    mac_add(mac, &direction, 1) &&
		    add_text(mac, s->crossing, s->crossing_len) &&
		    add_text(mac, sender.at, sender.len) && mac_add(mac, &last, 1) &&
		    mac_end(mac, key.byte) && mac_start(mac, &key);

	OPENSSL_cleanse(&key, sizeof(key));
	return fine;
}

static void forget(struct sender_key *k)
{
	EVP_MAC_CTX_free(k->mac);
	*k = (struct sender_key){ 0 };
}

/* The place of this sender's key, or the one that it should get. */
static struct sender_key *place_of(
	struct seal *s, const struct ring_key *from, struct span sender)
{
	struct sender_key *oldest = &s->senders[0];

	for (size_t i = 0; i < SENDER_KEYS; i++) {
		struct sender_key *k = &s->senders[i];
		struct span kept = { k->sender, k->sender_len };

		if (k->mac != NULL && k->from == from && span_equals(kept, sender))
			return k;
		if (k->used_at < oldest->used_at)
			oldest = k;
	}
	forget(oldest);
	return oldest;
}

/* NULL when memory is short. */
static EVP_MAC_CTX *sender_mac(struct seal *s, const struct ring_key *from, struct span sender)
{
	struct sender_key *k = place_of(s, from, sender);

	k->used_at = ++s->uses;
	if (k->mac != NULL)
		return k->mac;
	k->mac = EVP_MAC_CTX_new(s->hmac);
	if (k->mac == NULL || !derive_sender_key(s, k->mac, from, sender)) {
		forget(k);
		return NULL;
	}
	k->from = from;
	k->sender_len = sender.len;
	memcpy(k->sender, sender.at, sender.len);
	return k->mac;
}

/* ---- what is bound ---- */

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		*at++ = (uint8_t)(value >> shift);
	return at;
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t len)
{
	if (len > 0)
		memcpy(at, bytes, len);
	return at + len;
}

/* Its number in the bytes, which never changes. */
static uint8_t number_of(enum message_content content)
{
	switch (content) {
	case MESSAGE_JSON:
		return 0;
	case MESSAGE_PROBLEM:
		return 1;
	}
	return UINT8_MAX;
}

/* What is there and what is not: it says where `bound` ends, so that nothing of it can be taken for
 * the body that follows it in the nonce. */
static uint8_t flags_of(const struct message *m)
{
	return (uint8_t)((m->has_correlation ? 1 : 0) | (m->turn > 0 ? 2 : 0) |
			 (m->has_prev ? 4 : 0));
}

/* Everything a receiver acts on, each in its fixed place or behind its length: two messages
 * that differ in anything differ here. Returns false when a text is too long. */
static bool write_bound(struct seal *s, const struct ring_key *key, const struct message *m)
{
	static const struct id none = { { 0 } };
	const struct id *correlation = m->has_correlation ? &m->correlation : &none;
	const uint64_t numbers[] = { m->time_left_ms, m->expires_unix_ms, m->sent_unix_us,
		m->epoch, m->seq, m->attempt };
	const struct span texts[BOUND_TEXTS] = { { s->crossing, s->crossing_len }, m->user_id,
		m->type, m->key, m->contract, m->traceparent };
	uint8_t *at = s->bound;

	*at++ = SEAL_VERSION;
	*at++ = (uint8_t)s->direction;
	at = put_bytes(at, key->id, sizeof(key->id));
	*at++ = number_of(m->content);
	*at++ = flags_of(m);
	at = put_bytes(at, m->id.byte, ID_BYTES);
	at = put_bytes(at, correlation->byte, ID_BYTES);
	for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
		at = put_u64(at, numbers[i]);
	BUG_ON(at != s->bound + BOUND_FIXED_BYTES);
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		if (texts[i].len > SEAL_FIELD_MAX_BYTES)
			return false;
		*at++ = (uint8_t)texts[i].len;
		at = put_bytes(at, texts[i].at, texts[i].len);
	}
	if (m->turn > 0)
		at = put_u64(at, m->turn);
	if (m->has_prev)
		at = put_bytes(at, m->prev.byte, ID_BYTES);
	s->bound_len = (size_t)(at - s->bound);
	return m->user_id.len > 0;
}

/* ---- one message ---- */

static bool derive_nonce(const struct seal *s, EVP_MAC_CTX *mac, struct span body, uint8_t *out)
{
	uint8_t all[MAC_BYTES];
	bool fine = mac_again(mac, LABEL_NONCE) && mac_add(mac, s->bound, s->bound_len) &&
		    mac_add(mac, body.at, body.len) && mac_end(mac, all);

	if (fine)
		memcpy(out, all, SEAL_NONCE_BYTES);
	return fine;
}

enum way { WAY_OPEN = 0, WAY_WRAP = 1 /* as EVP_CipherInit_ex2() counts */ };

/* Sets key and nonce of this message, and what is bound to it. */
static bool gcm_start(struct seal *s, EVP_MAC_CTX *mac, const struct message *m,
	const uint8_t *nonce, enum way way)
{
	uint8_t key[MAC_BYTES];
	int len = 0;
	bool fine = mac_again(mac, LABEL_MESSAGE_KEY) && mac_add(mac, m->id.byte, ID_BYTES) &&
		    mac_add(mac, nonce, SEAL_NONCE_BYTES) && mac_end(mac, key) &&
		    EVP_CipherInit_ex2(s->gcm, NULL, key, nonce, (int)way, NULL) == 1 &&
		    EVP_CipherUpdate(s->gcm, NULL, &len, s->bound, (int)s->bound_len) == 1;

	OPENSSL_cleanse(key, sizeof(key));
	return fine;
}

static bool gcm_body(struct seal *s, const void *from, size_t len, uint8_t *to)
{
	int done = 0;

	return len == 0 || (EVP_CipherUpdate(s->gcm, to, &done, from, (int)len) == 1 &&
				   (size_t)done == len);
}

enum err seal_wrap(struct seal *s, const struct message *m, struct buf *out)
{
	const struct ring_key *key = &s->ring[PRESENT];
	uint8_t none[SEAL_TAG_BYTES]; /* GCM ends without output */
	int len = 0;

	if (m->body.len > MESSAGE_BODY_MAX_BYTES || !write_bound(s, key, m))
		return ERR_INPUT;
	uint8_t *at = (uint8_t *)buf_reserve(out, m->body.len + SEAL_OVERHEAD_BYTES);

	if (at == NULL)
		return buf_status(out);
	EVP_MAC_CTX *mac = sender_mac(s, key, m->user_id);
	uint8_t *nonce = at + 1 + SEAL_KEY_ID_BYTES;
	uint8_t *cipher = nonce + SEAL_NONCE_BYTES;

	*at = SEAL_VERSION;
	memcpy(at + 1, key->id, SEAL_KEY_ID_BYTES);
	if (mac == NULL || !derive_nonce(s, mac, m->body, nonce) ||
		!gcm_start(s, mac, m, nonce, WAY_WRAP) ||
		!gcm_body(s, m->body.at, m->body.len, cipher) ||
		EVP_CipherFinal_ex(s->gcm, none, &len) != 1 ||
		EVP_CIPHER_CTX_ctrl(s->gcm, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_BYTES,
			cipher + m->body.len) != 1)
		return without_reasons(ERR_NOMEM);
	buf_advance(out, m->body.len + SEAL_OVERHEAD_BYTES);
	s->counters.wrapped++;
	return ERR_OK;
}

/* Key ids are public: it may show which one is known. */
static const struct ring_key *find_key(const struct seal *s, const uint8_t *id)
{
	for (size_t i = 0; i < s->ring_count; i++) {
		if (memcmp(s->ring[i].id, id, SEAL_KEY_ID_BYTES) == 0)
			return &s->ring[i];
	}
	return NULL;
}

static enum err open_body(struct seal *s, const struct message *m, const struct ring_key *key,
	const uint8_t *nonce, struct span cipher, struct buf *out)
{
	uint8_t tag[SEAL_TAG_BYTES];
	uint8_t none[SEAL_TAG_BYTES]; /* GCM ends without output */
	int len = 0;
	uint8_t *at = (uint8_t *)buf_reserve(out, cipher.len);

	if (at == NULL)
		return buf_status(out);
	EVP_MAC_CTX *mac = sender_mac(s, key, m->user_id);

	memcpy(tag, cipher.at + cipher.len, sizeof(tag));
	if (mac == NULL || !gcm_start(s, mac, m, nonce, WAY_OPEN) ||
		!gcm_body(s, cipher.at, cipher.len, at) ||
		EVP_CIPHER_CTX_ctrl(s->gcm, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) != 1)
		return without_reasons(ERR_NOMEM);
	/* Compared in constant time; what does not hold is not kept. */
	if (EVP_CipherFinal_ex(s->gcm, none, &len) != 1) {
		OPENSSL_cleanse(at, cipher.len);
		return without_reasons(ERR_SEAL);
	}
	buf_advance(out, cipher.len);
	return ERR_OK;
}

enum err seal_open(struct seal *s, const struct message *m, struct buf *out)
{
	const uint8_t *at = (const uint8_t *)m->body.at;
	const struct ring_key *key = NULL;
	enum err err = ERR_SEAL;

	if (m->body.len >= SEAL_OVERHEAD_BYTES && m->body.len <= SEAL_MAX_BYTES &&
		at[0] == SEAL_VERSION)
		key = find_key(s, at + 1);
	if (key != NULL && write_bound(s, key, m)) {
		struct span cipher = span_after(m->body, SEAL_OVERHEAD_BYTES - SEAL_TAG_BYTES);

		cipher.len -= SEAL_TAG_BYTES;
		err = open_body(s, m, key, at + 1 + SEAL_KEY_ID_BYTES, cipher, out);
	}
	if (err == ERR_SEAL)
		s->counters.refused++;
	if (err != ERR_OK)
		return err;
	s->counters.opened++;
	if (key != &s->ring[PRESENT])
		s->counters.opened_accepted++;
	return ERR_OK;
}

/* ---- the whole ---- */

enum err seal_rekey(struct seal *s, const struct keyring *ring)
{
	struct ring_key keys[RING_KEYS] = { { .key = ring->present },
		{ .key = ring->accepted } };
	size_t count = ring->has_accepted ? RING_KEYS : 1;
	enum err err = ERR_OK;

	for (size_t i = 0; i < count; i++) {
		if (!derive_key_id(s->hmac, &keys[i].key, keys[i].id))
			err = without_reasons(ERR_NOMEM);
	}
	if (err == ERR_OK) {
		for (size_t i = 0; i < SENDER_KEYS; i++)
			forget(&s->senders[i]);
		memcpy(s->ring, keys, sizeof(keys));
		s->ring_count = count;
	}
	OPENSSL_cleanse(keys, sizeof(keys));
	return err;
}

static bool prepare(struct seal *s)
{
	EVP_CIPHER *gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	bool fine;

	s->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	s->gcm = EVP_CIPHER_CTX_new();
	fine = gcm != NULL && s->hmac != NULL && s->gcm != NULL &&
	       EVP_CipherInit_ex2(s->gcm, gcm, NULL, NULL, (int)WAY_WRAP, NULL) == 1;
	EVP_CIPHER_free(gcm); /* the context holds on to it */
	return fine;
}

enum err seal_create(const struct keyring *ring, enum seal_direction direction,
	struct span crossing, struct seal **out)
{
	*out = NULL;
	if (crossing.len > SEAL_FIELD_MAX_BYTES)
		return ERR_INPUT;
	struct seal *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return ERR_NOMEM;
	s->direction = direction;
	s->crossing_len = crossing.len;
	put_bytes((uint8_t *)s->crossing, crossing.at, crossing.len);
	if (!prepare(s) || seal_rekey(s, ring) != ERR_OK) {
		seal_destroy(s);
		return without_reasons(ERR_NOMEM);
	}
	*out = s;
	return ERR_OK;
}

void seal_destroy(struct seal *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < SENDER_KEYS; i++)
		forget(&s->senders[i]);
	EVP_CIPHER_CTX_free(s->gcm);
	EVP_MAC_free(s->hmac);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

const struct seal_counters *seal_counters(const struct seal *s)
{
	return &s->counters;
}
