/* Mutual TLS 1.3: by itself against OpenSSL's server side in memory (amqp/tls.h), then below a
 * whole connection. */
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/tls.h"
#include "amqp_world.h"
#include "fakebroker.h"
#include "must.h"
#include "pki.h"
#include "unit.h"

enum { PATH_ROOM = 256, SOON_MS = 10000, PLAIN_ROOM = 32 * 1024 };

static char folder[PATH_ROOM];
static struct pki_authority *authority;
static struct pki_authority *stranger;
static struct tls_identity *identity;

struct path {
	char at[PATH_ROOM];
};

static struct path path_of(const char *name, const char *ending)
{
	struct path p;

	must_format(p.at, sizeof(p.at), "%s/%s.%s", folder, name, ending);
	return p;
}

static enum err open_identity(const char *ca, const char *certificate, const char *key,
	struct tls_identity **out, struct tls_why *why)
{
	struct path ca_path = path_of(ca, "pem");
	struct path certificate_path = path_of(certificate, "pem");
	struct path key_path = path_of(key, "key");
	struct tls_paths paths = {
		.ca = ca_path.at,
		.certificate = certificate_path.at,
		.key = key_path.at,
	};

	return tls_identity_open(&paths, out, why);
}

static void set_up(void)
{
	struct tls_why why;

	must_enter_test();
	must_make_folder(folder, sizeof(folder));
	authority = must_pki_authority(folder, "ca");
	stranger = must_pki_authority(folder, "stranger");
	must_pki_issue(authority, folder, "web.web1.g1", PKI_CLIENT);
	must_pki_issue(authority, folder, "broker", PKI_SERVER);
	must_pki_issue(authority, folder, "elsewhere", PKI_ELSEWHERE);
	must_pki_issue(authority, folder, "web.old.g1", PKI_EXPIRED);
	must_pki_issue(stranger, folder, "web.evil.g1", PKI_CLIENT);
	must_pki_issue(stranger, folder, "other-broker", PKI_SERVER);
	ck_assert_int_eq(
		open_identity("ca", "web.web1.g1", "web.web1.g1", &identity, &why), ERR_OK);
}

static void tear_down(void)
{
	tls_identity_close(identity);
	pki_authority_free(authority);
	pki_authority_free(stranger);
	must_remove_folder(folder);
}

/* ---- certificates and keys ---- */

START_TEST(an_identity_knows_its_name_and_its_end)
{
	ck_assert_str_eq(tls_identity_name(identity), "web.web1.g1");
	int64_t left_s = tls_identity_ends_unix_s(identity) - (int64_t)time(NULL);

	ck_assert_int_gt(left_s, 23 * 3600);
	ck_assert_int_le(left_s, 24 * 3600);
	tls_identity_close(NULL);
}
END_TEST

START_TEST(what_cannot_be_an_identity_is_refused_with_the_name_of_the_file)
{
	static const struct {
		const char *ca;
		const char *certificate;
		const char *key;
		const char *blamed;
	} wrong[] = {
		{ "nowhere", "web.web1.g1", "web.web1.g1", "nowhere.pem" },
		{ "garbage", "web.web1.g1", "web.web1.g1", "garbage.pem" },
		{ "empty", "web.web1.g1", "web.web1.g1", "empty.pem" },
		{ "ca", "nowhere", "web.web1.g1", "nowhere.pem" },
		{ "ca", "garbage", "web.web1.g1", "garbage.pem" },
		{ "ca", "empty", "web.web1.g1", "empty.pem" },
		{ "ca", "web.web1.g1", "nowhere", "nowhere.key" },
		{ "ca", "web.web1.g1", "garbage", "garbage.key" },
		{ "ca", "web.web1.g1", "broker", "broker.key" }, /* of another certificate */
		{ "ca", "web.old.g1", "web.old.g1", "web.old.g1.pem" },
		{ "ca", "namenamenamenamenamenamenamenamenamenamenamenamenamenamenamename",
			"namenamenamenamenamenamenamenamenamenamenamenamenamenamenamename",
			"name.pem" },
	};
	struct path p = path_of("garbage", "pem");

	must_write_file(
		p.at, 0600, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	p = path_of("garbage", "key");
	must_write_file(
		p.at, 0600, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
	p = path_of("empty", "pem");
	must_write_file(p.at, 0600, "");
	must_pki_issue(authority, folder, wrong[10].certificate, PKI_CLIENT);
	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		struct tls_identity *id = NULL;
		struct tls_why why;

		ck_assert_int_eq(open_identity(wrong[i].ca, wrong[i].certificate, wrong[i].key,
					 &id, &why),
			ERR_INPUT);
		ck_assert_ptr_null(id);
		ck_assert_msg(strstr(why.at, wrong[i].blamed) != NULL, "%s: %s",
			wrong[i].blamed, why.at);
	}
}
END_TEST

START_TEST(a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it)
{
	struct path from = path_of("web.web1.g1", "key");
	struct path to = path_of("locked", "key");
	FILE *file = fopen(from.at, "re");
	char secret[] = "secret";
	struct tls_identity *id = NULL;
	struct tls_why why;
	int ends[2];

	ck_assert_ptr_nonnull(file);
	EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);

	fclose(file);
	ck_assert_ptr_nonnull(key);
	file = fopen(to.at, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(PEM_write_PrivateKey(file, key, EVP_aes_256_cbc(),
				 (unsigned char *)secret, sizeof(secret) - 1, NULL, NULL),
		1);
	fclose(file);
	EVP_PKEY_free(key);
	/* Without a terminal OpenSSL would ask standard input, which never says anything. */
	(void)setsid();
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
	ck_assert_int_eq(open_identity("ca", "web.web1.g1", "locked", &id, &why), ERR_INPUT);
	ck_assert_ptr_nonnull(strstr(why.at, "locked.key"));
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* ---- a server in memory ---- */

struct server {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in;
	BIO *out;
};

static void server_init(struct server *s, const char *certificate, int most)
{
	struct path ca = path_of("ca", "pem");
	struct path chain = path_of(certificate, "pem");
	struct path key = path_of(certificate, "key");

	s->ctx = SSL_CTX_new(TLS_server_method());
	ck_assert_ptr_nonnull(s->ctx);
	if (most != 0)
		SSL_CTX_set_max_proto_version(s->ctx, most);
	SSL_CTX_set_verify(s->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	ck_assert_int_eq(SSL_CTX_load_verify_file(s->ctx, ca.at), 1);
	ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(s->ctx, chain.at), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(s->ctx, key.at, SSL_FILETYPE_PEM), 1);
	s->ssl = SSL_new(s->ctx);
	s->in = BIO_new(BIO_s_mem());
	s->out = BIO_new(BIO_s_mem());
	SSL_set_bio(s->ssl, s->in, s->out);
	SSL_set_accept_state(s->ssl);
}

static void server_fini(struct server *s)
{
	SSL_free(s->ssl);
	SSL_CTX_free(s->ctx);
}

/* What the client said goes to the server. */
static void to_server(struct server *s, struct tls *t)
{
	struct span out = tls_output(t);

	if (out.len > 0)
		ck_assert_int_eq(BIO_write(s->in, out.at, (int)out.len), (int)out.len);
	tls_output_taken(t, out.len);
	ck_assert_uint_eq(tls_output(t).len, 0);
}

/* Takes what the server has to say, appends it to the buf. */
static void from_server(struct server *s, struct buf *to)
{
	char *at = NULL;
	long len = BIO_get_mem_data(s->out, &at);

	buf_append(to, (struct span){ .at = at, .len = (size_t)len });
	(void)BIO_reset(s->out);
}

/* Runs the handshake with the server's bytes in pieces; returns its end. */
static enum err shake_hands(struct server *s, struct tls *t, size_t piece)
{
	enum err err = tls_handshake(t);
	struct buf said;

	buf_init(&said, MIB(1));
	for (int round = 0; round < 10 && err == ERR_BUSY; round++) {
		to_server(s, t);
		(void)SSL_do_handshake(s->ssl);
		from_server(s, &said);
		for (struct span left = buf_span(&said); left.len > 0 && err == ERR_BUSY;
			left = span_after(left, piece)) {
			struct span now = { left.at, left.len < piece ? left.len : piece };

			ck_assert_int_eq(tls_feed(t, now), ERR_OK);
			err = tls_handshake(t);
			if (err == ERR_OK) /* the rest is not part of the handshake */
				ck_assert_int_eq(tls_feed(t, span_after(left, piece)), ERR_OK);
		}
		buf_clear(&said);
	}
	to_server(s, t);
	(void)SSL_do_handshake(s->ssl);
	buf_fini(&said);
	return err;
}

/* Plain text that the client can read now. */
static size_t read_plain(struct tls *t, char *to, size_t room, enum err *end)
{
	size_t len = 0;
	size_t got = 0;

	do {
		*end = tls_read(t, to + len, room - len, &got);
		len += got;
	} while (got > 0 && len < room);
	return len;
}

START_TEST(a_handshake_and_what_follows_come_in_pieces_of_every_size)
{
	static const size_t pieces[] = { 1, 2, 3, 5, 17, 100, 1000, 100000 };
	static const char hello[] = "from the server";

	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
		struct server s;
		struct tls *t;
		struct buf said;
		char plain[PLAIN_ROOM];
		enum err end;

		server_init(&s, "broker", 0);
		ck_assert_int_eq(tls_create(identity, "127.0.0.1", &t), ERR_OK);
		ck_assert_int_eq(shake_hands(&s, t, pieces[i]), ERR_OK);
		ck_assert(SSL_is_init_finished(s.ssl));
		ck_assert_str_eq(SSL_get_version(s.ssl), "TLSv1.3");
		ck_assert_uint_eq(read_plain(t, plain, sizeof(plain), &end), 0); /* tickets */
		ck_assert_int_eq(end, ERR_OK);
		ck_assert_int_eq(tls_write(t, span_of("from the client")), ERR_OK);
		to_server(&s, t);
		ck_assert_int_eq(SSL_read(s.ssl, plain, sizeof(plain)), 15);
		ck_assert_int_eq(SSL_write(s.ssl, hello, sizeof(hello)), sizeof(hello));
		buf_init(&said, MIB(1));
		from_server(&s, &said);
		size_t len = 0;

		for (struct span left = buf_span(&said); left.len > 0;
			left = span_after(left, pieces[i])) {
			struct span now = { left.at,
				left.len < pieces[i] ? left.len : pieces[i] };

			ck_assert_int_eq(tls_feed(t, now), ERR_OK);
			len += read_plain(t, plain + len, sizeof(plain) - len, &end);
			ck_assert_int_eq(end, ERR_OK);
		}
		ck_assert_uint_eq(len, sizeof(hello));
		ck_assert_str_eq(plain, hello);
		buf_fini(&said);
		tls_destroy(t);
		server_fini(&s);
	}
}
END_TEST

START_TEST(a_megabyte_goes_out_whole_and_may_be_taken_in_pieces)
{
	enum { LEN = 1024 * 1024, PIECE = 70001 };
	struct server s;
	struct tls *t;
	char *big = malloc(LEN);
	size_t seen = 0;
	int got;

	ck_assert_ptr_nonnull(big);
	for (size_t i = 0; i < LEN; i++)
		big[i] = (char)(i * 7);
	server_init(&s, "broker", 0);
	ck_assert_int_eq(tls_create(identity, "localhost", &t), ERR_OK);
	ck_assert_int_eq(shake_hands(&s, t, SIZE_MAX / 2), ERR_OK);
	ck_assert_int_eq(tls_write(t, (struct span){ big, LEN }), ERR_OK);
	while (tls_output(t).len > 0) {
		struct span out = tls_output(t);
		size_t now = out.len < PIECE ? out.len : PIECE;

		ck_assert_int_eq(BIO_write(s.in, out.at, (int)now), (int)now);
		tls_output_taken(t, now);
		ck_assert_uint_eq(tls_output(t).len, out.len - now);
	}
	char plain[PLAIN_ROOM];

	while ((got = SSL_read(s.ssl, plain, sizeof(plain))) > 0) {
		ck_assert_int_eq(memcmp(plain, big + seen, (size_t)got), 0);
		seen += (size_t)got;
	}
	ck_assert_uint_eq(seen, LEN);
	free(big);
	tls_destroy(t);
	server_fini(&s);
}
END_TEST

START_TEST(a_peer_that_says_goodbye_is_understood)
{
	struct server s;
	struct tls *t;
	struct buf said;
	char plain[64];
	enum err end;

	server_init(&s, "broker", 0);
	ck_assert_int_eq(tls_create(identity, "127.0.0.1", &t), ERR_OK);
	ck_assert_int_eq(shake_hands(&s, t, SIZE_MAX / 2), ERR_OK);
	ck_assert_int_eq(SSL_write(s.ssl, "last", 4), 4);
	(void)SSL_shutdown(s.ssl);
	buf_init(&said, MIB(1));
	from_server(&s, &said);
	ck_assert_int_eq(tls_feed(t, buf_span(&said)), ERR_OK);
	ck_assert_uint_eq(read_plain(t, plain, sizeof(plain), &end), 4);
	ck_assert_int_eq(end, ERR_LINK);
	tls_close(t); /* ours */
	to_server(&s, t);
	ck_assert_int_eq(SSL_read(s.ssl, plain, sizeof(plain)), 0);
	ck_assert_int_eq(SSL_get_error(s.ssl, 0), SSL_ERROR_ZERO_RETURN);
	buf_fini(&said);
	tls_destroy(t);
	server_fini(&s);
}
END_TEST

struct stranger_case {
	const char *certificate;
	const char *peer_name;
	int most;
	const char *why; /* NULL: is fine */
};

static const struct stranger_case strangers[] = {
	{ "broker", "127.0.0.1", 0, NULL },
	{ "broker", "localhost", 0, NULL },
	{ "broker", "LOCALHOST", 0, NULL },
	{ "broker", "127.0.0.2", 0, "IP address mismatch" },
	{ "broker", "::1", 0, "IP address mismatch" },
	{ "broker", "broker", 0, "hostname mismatch" }, /* a common name is no host name */
	{ "broker", "localhost.example", 0, "hostname mismatch" },
	{ "elsewhere", "127.0.0.1", 0, "IP address mismatch" },
	{ "elsewhere", "localhost", 0, "hostname mismatch" },
	{ "other-broker", "127.0.0.1", 0, "certificate" },
	{ "web.web1.g1", "127.0.0.1", 0, "certificate" }, /* a client's */
	{ "broker", "127.0.0.1", TLS1_2_VERSION, "handshake" },
};

START_TEST(only_the_broker_itself_is_believed_to_be_the_broker)
{
	const struct stranger_case *c = &strangers[_i];
	struct server s;
	struct tls *t;

	server_init(&s, c->certificate, c->most);
	ck_assert_int_eq(tls_create(identity, c->peer_name, &t), ERR_OK);
	enum err err = shake_hands(&s, t, SIZE_MAX / 2);

	if (c->why == NULL) {
		ck_assert_int_eq(err, ERR_OK);
	} else {
		struct tls_why why = tls_why(t);

		ck_assert_int_eq(err, ERR_TLS);
		ck_assert_msg(strstr(why.at, c->why) != NULL, "%s", why.at);
		ck_assert(!SSL_is_init_finished(s.ssl));
	}
	tls_destroy(t);
	server_fini(&s);
}
END_TEST

START_TEST(a_certificate_that_the_broker_refuses_shows_after_the_handshake)
{
	struct tls_identity *evil = NULL;
	struct tls_why why;
	struct server s;
	struct tls *t;
	struct buf said;
	char plain[64];
	enum err end;

	ck_assert_int_eq(
		open_identity("ca", "web.evil.g1", "web.evil.g1", &evil, &why), ERR_OK);
	server_init(&s, "broker", 0);
	ck_assert_int_eq(tls_create(evil, "127.0.0.1", &t), ERR_OK);
	ck_assert_int_eq(shake_hands(&s, t, SIZE_MAX / 2), ERR_OK);
	ck_assert(!SSL_is_init_finished(s.ssl));
	buf_init(&said, MIB(1));
	from_server(&s, &said);
	ck_assert_int_eq(tls_feed(t, buf_span(&said)), ERR_OK);
	ck_assert_uint_eq(read_plain(t, plain, sizeof(plain), &end), 0);
	ck_assert_int_eq(end, ERR_TLS);
	why = tls_why(t);
	ck_assert_msg(strstr(why.at, "unknown ca") != NULL, "%s", why.at);
	buf_fini(&said);
	tls_destroy(t);
	server_fini(&s);
	tls_identity_close(evil);
}
END_TEST

/* ---- anything at all ---- */

static uint64_t dice_state = 0x2545f4914f6cdd1d;

static uint64_t dice(void)
{
	dice_state ^= dice_state >> 12;
	dice_state ^= dice_state << 25;
	dice_state ^= dice_state >> 27;
	return dice_state * 2685821657736338717ull;
}

START_TEST(a_server_whose_bytes_are_damaged_is_refused_or_waited_for)
{
	unsigned refused = 0;

	for (int i = 0; i < 100; i++) {
		struct server s;
		struct tls *t;
		struct buf said;
		char plain[256];
		enum err err;
		enum err end;

		server_init(&s, "broker", 0);
		ck_assert_int_eq(tls_create(identity, "127.0.0.1", &t), ERR_OK);
		ck_assert_int_eq(tls_handshake(t), ERR_BUSY);
		to_server(&s, t);
		(void)SSL_do_handshake(s.ssl);
		buf_init(&said, MIB(1));
		from_server(&s, &said);
		said.at[dice() % said.len] ^= (char)(1 << dice() % 8);
		if (dice() % 2 == 0)
			said.len = dice() % said.len;
		ck_assert_int_eq(tls_feed(t, buf_span(&said)), ERR_OK);
		err = tls_handshake(t);
		ck_assert_msg(err == ERR_TLS || err == ERR_BUSY, "%s", err_text(err));
		refused += err == ERR_TLS;
		/* And it stays so, whatever comes. */
		ck_assert_int_eq(tls_feed(t, span_of("more")), ERR_OK);
		if (err == ERR_TLS) {
			ck_assert_int_eq(tls_handshake(t), ERR_TLS);
			ck_assert_uint_eq(read_plain(t, plain, sizeof(plain), &end), 0);
			ck_assert_int_ne(end, ERR_OK);
		}
		buf_fini(&said);
		tls_destroy(t);
		server_fini(&s);
	}
	ck_assert_uint_gt(refused, 30);
}
END_TEST

START_TEST(damaged_records_never_become_plain_text)
{
	for (int i = 0; i < 100; i++) {
		static const char hello[] = "the quick brown fox";
		struct server s;
		struct tls *t;
		struct buf said;
		char plain[256];
		enum err end;

		server_init(&s, "broker", 0);
		ck_assert_int_eq(tls_create(identity, "127.0.0.1", &t), ERR_OK);
		ck_assert_int_eq(shake_hands(&s, t, SIZE_MAX / 2), ERR_OK);
		(void)read_plain(t, plain, sizeof(plain), &end);
		ck_assert_int_eq(SSL_write(s.ssl, hello, sizeof(hello)), sizeof(hello));
		buf_init(&said, MIB(1));
		(void)BIO_reset(s.out);
		ck_assert_int_eq(SSL_write(s.ssl, hello, sizeof(hello)), sizeof(hello));
		from_server(&s, &said);
		size_t at = dice() % said.len;

		said.at[at] ^= (char)(1 << dice() % 8);
		ck_assert_int_eq(tls_feed(t, buf_span(&said)), ERR_OK);
		ck_assert_uint_eq(read_plain(t, plain, sizeof(plain), &end), 0);
		/* A longer length is waited for, anything else is refused. */
		ck_assert(end == ERR_TLS || (at >= 3 && at <= 4));
		buf_fini(&said);
		tls_destroy(t);
		server_fini(&s);
	}
}
END_TEST

/* ---- below a connection ---- */

static struct world w;
static struct fakebroker fake;

static void begin(const char *certificate, fake_script script)
{
	struct path ca = path_of("ca", "pem");
	struct path chain = path_of(certificate, "pem");
	struct path key = path_of(certificate, "key");

	world_init(&w, WORLD_BOTH);
	must_fakebroker_start(&fake, script, NULL, ca.at, chain.at, key.at);
	world_add_broker(&w, "127.0.0.1", fake.port);
	w.config.identity = identity;
	w.config.retry_first_ms = w.config.retry_longest_ms = 20;
}

static void end_world(void)
{
	must_fakebroker_stop(&fake);
	world_fini(&w);
}

static void serve(struct fake *f, void *arg)
{
	(void)arg;
	(void)fake_serve(f);
}

static void serve_bytewise(struct fake *f, void *arg)
{
	f->chunk_bytes = 1;
	serve(f, arg);
}

START_TEST(a_connection_over_tls_comes_up_and_publishes)
{
	begin("broker", _i == 0 ? serve : serve_bytewise);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 20);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	world_stop(&w);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	end_world();
}
END_TEST

static atomic_uint key_updates; /* of the client, as its broker saw them */

static void on_tls_message(int is_written, int version, int content_type, const void *at,
	size_t len, SSL *ssl, void *arg)
{
	(void)version;
	(void)ssl;
	(void)arg;
	if (is_written == 0 && content_type == SSL3_RT_HANDSHAKE && len > 0 &&
		*(const uint8_t *)at == SSL3_MT_KEY_UPDATE)
		atomic_fetch_add(&key_updates, 1);
}

static void ask_for_new_keys(struct fake *f, void *arg)
{
	if (!fake_polite(f, FAKE_READY))
		return;
	SSL_set_msg_callback(f->tls, on_tls_message);
	if (SSL_key_update(f->tls, SSL_KEY_UPDATE_REQUESTED) != 1 ||
		SSL_do_handshake(f->tls) != 1)
		(void)fake_fail(f, "no key update");
	serve(f, arg);
}

static bool has_new_keys(void *arg)
{
	(void)arg;
	return atomic_load(&key_updates) > 0;
}

START_TEST(a_broker_that_asks_for_new_keys_gets_them_with_the_next_word)
{
	atomic_store(&key_updates, 0);
	begin("broker", ask_for_new_keys);
	world_start(&w);
	must_reach(&w.stage, is_ready, &w, SOON_MS);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(world_publish(&w), ERR_OK);
	must_reach(&w.stage, is_done, &w, SOON_MS);
	must_reach(&w.stage, has_new_keys, NULL, SOON_MS);
	ck_assert_uint_eq(w.done_by[ERR_OK], 20);
	ck_assert_uint_eq(w.con.counters.failed, 0);
	end_world();
}
END_TEST

START_TEST(a_broker_of_another_authority_is_not_spoken_to)
{
	begin(_i == 0 ? "other-broker" : "elsewhere", serve);
	world_start(&w);
	must_reach(&w.stage, is_waiting, &w, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_TLS);
	ck_assert_ptr_nonnull(strstr(w.con.fault.text, "certificate"));
	ck_assert_uint_eq(w.con.counters.opened, 0);
	end_world();
	ck_assert_uint_eq(fake.reached[FAKE_TLS_DONE], 0);
}
END_TEST

static bool is_refused_by_tls(void *arg)
{
	return ((struct world *)arg)->con.fault.err == ERR_TLS;
}

START_TEST(a_client_of_another_authority_is_told_so_and_backs_off)
{
	struct tls_identity *evil = NULL;
	struct tls_why why;

	ck_assert_int_eq(
		open_identity("ca", "web.evil.g1", "web.evil.g1", &evil, &why), ERR_OK);
	begin("broker", serve);
	w.config.identity = evil;
	w.config.retry_first_ms = 1;
	world_start(&w);
	/* The alert may be lost in a reset now and then: each try has its chance. */
	must_reach(&w.stage, is_refused_by_tls, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.opened, 0);
	ck_assert_uint_gt(w.con.backoff.ceiling_ms, w.config.retry_first_ms);
	end_world();
	tls_identity_close(evil);
}
END_TEST

static void speak_plain(struct fake *f, void *arg)
{
	static const char garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

	(void)arg;
	if (f->index > 0 || !fake_polite(f, FAKE_READY)) {
		fake_be_silent(f, 60000);
		return;
	}
	/* Below TLS, where a record should begin. */
	(void)send(f->fd, garbage, sizeof(garbage) - 1, MSG_NOSIGNAL);
	(void)fake_expect_end(f, SOON_MS);
	fake_be_silent(f, 60000);
}

START_TEST(garbage_between_records_ends_the_connection)
{
	begin("broker", speak_plain);
	world_start(&w);
	must_reach(&w.stage, is_refused_by_tls, &w, SOON_MS);
	ck_assert_uint_eq(w.con.counters.failed, 1);
	end_world();
}
END_TEST

static void answer_plain(struct fake *f, void *arg)
{
	(void)arg;
	(void)send(f->fd, "AMQP\x00\x00\x09\x01", 8, MSG_NOSIGNAL);
	(void)fake_expect_end(f, SOON_MS);
}

static void say_nothing(struct fake *f, void *arg)
{
	(void)arg;
	fake_be_silent(f, 60000);
}

static bool is_in_tls(void *arg)
{
	return ((struct world *)arg)->con.state == CONNECTION_TLS;
}

START_TEST(a_broker_that_does_not_speak_tls_is_refused)
{
	begin("broker", answer_plain);
	world_start(&w);
	must_reach(&w.stage, is_refused_by_tls, &w, SOON_MS);
	end_world();
}
END_TEST

START_TEST(a_broker_that_is_silent_in_the_tls_handshake_is_given_up)
{
	begin("broker", say_nothing);
	w.config.handshake_timeout_ms = 100;
	world_start(&w);
	must_reach(&w.stage, is_waiting, &w, SOON_MS);
	ck_assert_int_eq(w.con.fault.err, ERR_TIMEOUT);
	end_world();
}
END_TEST

START_TEST(stopping_in_the_tls_handshake_ends_it)
{
	begin("broker", say_nothing);
	world_start(&w);
	must_reach(&w.stage, is_in_tls, &w, SOON_MS);
	world_stop(&w);
	must_reach(&w.stage, is_stopped, &w, SOON_MS);
	end_world();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls");
	TCase *identities = tcase_create("certificates and keys");
	TCase *memory = tcase_create("a server in memory");
	TCase *anything = tcase_create("anything at all");
	TCase *below = tcase_create("below a connection");
	TCase *all[] = { identities, memory, anything, below };

	for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
		tcase_add_checked_fixture(all[i], set_up, tear_down);
		tcase_set_timeout(all[i], 30);
		suite_add_tcase(s, all[i]);
	}
	tcase_add_test(identities, an_identity_knows_its_name_and_its_end);
	tcase_add_test(
		identities, what_cannot_be_an_identity_is_refused_with_the_name_of_the_file);
	tcase_add_test(
		identities, a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it);
	tcase_add_test(memory, a_handshake_and_what_follows_come_in_pieces_of_every_size);
	tcase_add_test(memory, a_megabyte_goes_out_whole_and_may_be_taken_in_pieces);
	tcase_add_test(memory, a_peer_that_says_goodbye_is_understood);
	tcase_add_loop_test(memory, only_the_broker_itself_is_believed_to_be_the_broker, 0,
		ARRAY_COUNT(strangers));
	tcase_add_test(memory, a_certificate_that_the_broker_refuses_shows_after_the_handshake);
	tcase_add_test(anything, a_server_whose_bytes_are_damaged_is_refused_or_waited_for);
	tcase_add_test(anything, damaged_records_never_become_plain_text);
	tcase_add_loop_test(below, a_connection_over_tls_comes_up_and_publishes, 0, 2);
	tcase_add_loop_test(below, a_broker_of_another_authority_is_not_spoken_to, 0, 2);
	tcase_add_test(below, a_broker_that_asks_for_new_keys_gets_them_with_the_next_word);
	tcase_add_test(below, a_client_of_another_authority_is_told_so_and_backs_off);
	tcase_add_test(below, garbage_between_records_ends_the_connection);
	tcase_add_test(below, a_broker_that_does_not_speak_tls_is_refused);
	tcase_add_test(below, a_broker_that_is_silent_in_the_tls_handshake_is_given_up);
	tcase_add_test(below, stopping_in_the_tls_handshake_ends_it);
	return unit_run(s);
}
