#include "amqp/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bug.h"
#include "base/file.h"

struct tls_identity {
	SSL_CTX *ctx;
	unsigned holders;
	char name[TLS_NAME_MAX_BYTES + 1];
	int64_t ends_unix_s;
};

struct tls {
	SSL *ssl;
	BIO *in;  /* owned by ssl */
	BIO *out; /* owned by ssl */
	struct tls_why why;
};

/* OpenSSL's error queue is per thread: take what is there and leave it empty. file may be NULL. */
static void why_from_queue(struct tls_why *why, const char *file, const char *what)
{
	unsigned long code = ERR_get_error();
	const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);

	ERR_clear_error();
	snprintf(why->at, sizeof(why->at), "%s%s%s%s%s", file == NULL ? "" : file,
		file == NULL ? "" : ": ", what, reason == NULL ? "" : ": ",
		reason == NULL ? "" : reason);
	why->file = file;
}

static enum err input_error(struct tls_why *why, const char *file, const char *what)
{
	why_from_queue(why, file, what);
	return ERR_INPUT;
}

static enum err read_name(struct tls_identity *id, X509 *certificate)
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	int len = X509_NAME_get_text_by_NID(
		subject, NID_commonName, id->name, sizeof(id->name));

	/* A name cut by the buffer, or with a NUL inside, is no name of ours. */
	if (len <= 0 || len >= (int)sizeof(id->name) - 1 || strlen(id->name) != (size_t)len)
		return ERR_INPUT;
	return ERR_OK;
}

static enum err read_end(struct tls_identity *id, X509 *certificate)
{
	struct tm end;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
		return ERR_INPUT;
	id->ends_unix_s = (int64_t)timegm(&end);
	return ERR_OK;
}

/* OpenSSL would ask at the terminal, and a daemon would wait there for ever. */
static int no_passphrase(char *to, int room, int is_writing, void *was_asked)
{
	(void)to;
	(void)room;
	(void)is_writing;
	if (was_asked != NULL)
		*(bool *)was_asked = true;
	return -1;
}

static enum err read_key(struct tls_identity *id, const char *path, struct tls_why *why)
{
	bool was_asked = false;

	SSL_CTX_set_default_passwd_cb_userdata(id->ctx, &was_asked);
	bool is_read = SSL_CTX_use_PrivateKey_file(id->ctx, path, SSL_FILETYPE_PEM) == 1;

	SSL_CTX_set_default_passwd_cb_userdata(id->ctx, NULL);
	if (was_asked)
		return input_error(why, path,
			"has a pass phrase, and a daemon has nobody to type it; write the key "
			"without one");
	if (!is_read)
		return input_error(why, path,
			"no private key in PEM form of this certificate can be read");
	if (SSL_CTX_check_private_key(id->ctx) != 1)
		return input_error(why, path, "is not the key of the certificate");
	return ERR_OK;
}

static enum err identity_load(
	struct tls_identity *id, const struct tls_paths *paths, struct tls_why *why)
{
	const char *const files[] = { paths->ca, paths->certificate, paths->key };

	for (size_t i = 0; i < ARRAY_COUNT(files); i++)
		if (file_check(files[i]) == ERR_INPUT)
			return input_error(why, files[i], file_why(ERR_INPUT));
	id->ctx = SSL_CTX_new(TLS_client_method());
	if (id->ctx == NULL)
		return ERR_NOMEM;
	SSL_CTX_set_min_proto_version(id->ctx, TLS1_3_VERSION);
	SSL_CTX_set_verify(id->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(id->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE);
	/* A ticket would let a later handshake go without the certificate check of today. */
	SSL_CTX_set_session_cache_mode(id->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_default_passwd_cb(id->ctx, no_passphrase);
	if (SSL_CTX_load_verify_file(id->ctx, paths->ca) != 1)
		return input_error(why, paths->ca, "no CA certificate in PEM form can be read");
	if (SSL_CTX_use_certificate_chain_file(id->ctx, paths->certificate) != 1)
		return input_error(
			why, paths->certificate, "no certificate in PEM form can be read");
	if (X509_check_ca(SSL_CTX_get0_certificate(id->ctx)) == 1)
		return input_error(why, paths->certificate,
			"is the certificate of a CA; needed is the one that it signed for us");
	if (read_key(id, paths->key, why) != ERR_OK)
		return ERR_INPUT;
	X509 *certificate = SSL_CTX_get0_certificate(id->ctx);

	if (read_name(id, certificate) != ERR_OK)
		return input_error(why, paths->certificate,
			"the subject needs a common name of at most 63 bytes");
	if (read_end(id, certificate) != ERR_OK)
		return input_error(why, paths->certificate, "notAfter cannot be read");
	if (id->ends_unix_s <= (int64_t)time(NULL))
		return input_error(why, paths->certificate,
			"has expired; a new one comes from provisioning");
	return ERR_OK;
}

enum err tls_identity_open(
	const struct tls_paths *paths, struct tls_identity **out, struct tls_why *why)
{
	struct tls_identity *id = calloc(1, sizeof(*id));

	*why = (struct tls_why){ 0 };
	if (id == NULL)
		return ERR_NOMEM;
	id->holders = 1;
	ERR_clear_error();
	enum err err = identity_load(id, paths, why);

	if (err != ERR_OK) {
		tls_identity_close(id);
		return err;
	}
	*out = id;
	return ERR_OK;
}

struct tls_identity *tls_identity_hold(struct tls_identity *id)
{
	if (id != NULL)
		id->holders++;
	return id;
}

void tls_identity_close(struct tls_identity *id)
{
	if (id == NULL || --id->holders > 0)
		return;
	SSL_CTX_free(id->ctx);
	free(id);
}

const char *tls_identity_name(const struct tls_identity *id)
{
	return id->name;
}

int64_t tls_identity_ends_unix_s(const struct tls_identity *id)
{
	return id->ends_unix_s;
}

const char *tls_identity_stranger(const struct tls_identity *id)
{
	X509_STORE_CTX *chain = X509_STORE_CTX_new();
	STACK_OF(X509) *between = NULL;
	const char *why = NULL;

	SSL_CTX_get0_chain_certs(id->ctx, &between);
	if (chain != NULL &&
		X509_STORE_CTX_init(chain, SSL_CTX_get_cert_store(id->ctx),
			SSL_CTX_get0_certificate(id->ctx), between) == 1 &&
		X509_verify_cert(chain) != 1)
		why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(chain));
	X509_STORE_CTX_free(chain);
	ERR_clear_error();
	return why;
}

static bool is_ip_address(const char *name)
{
	unsigned char address[16];

	return inet_pton(AF_INET, name, address) == 1 ||
	       inet_pton(AF_INET6, name, address) == 1;
}

static bool expect_peer(SSL *ssl, const char *peer_name)
{
	if (is_ip_address(peer_name))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), peer_name) == 1;
	return SSL_set1_host(ssl, peer_name) == 1 &&
	       SSL_set_tlsext_host_name(ssl, peer_name) == 1;
}

enum err tls_create(const struct tls_identity *id, const char *peer_name, struct tls **out)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return ERR_NOMEM;
	t->ssl = SSL_new(id->ctx);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	if (t->ssl == NULL || t->in == NULL || t->out == NULL) {
		BIO_free(t->in);
		BIO_free(t->out);
		SSL_free(t->ssl);
		free(t);
		return ERR_NOMEM;
	}
	SSL_set_bio(t->ssl, t->in, t->out);
	SSL_set_connect_state(t->ssl);
	if (!expect_peer(t->ssl, peer_name)) {
		tls_destroy(t);
		return ERR_NOMEM;
	}
	*out = t;
	return ERR_OK;
}

void tls_destroy(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	free(t);
}

enum err tls_feed(struct tls *t, struct span cipher)
{
	BUG_ON(cipher.len > INT32_MAX);
	if (cipher.len > 0 && BIO_write(t->in, cipher.at, (int)cipher.len) != (int)cipher.len)
		return ERR_NOMEM;
	return ERR_OK;
}

static enum err fail(struct tls *t, const char *what)
{
	long verdict = SSL_get_verify_result(t->ssl);

	if (verdict == X509_V_OK) {
		why_from_queue(&t->why, NULL, what);
	} else {
		ERR_clear_error();
		snprintf(t->why.at, sizeof(t->why.at), "%s: the broker's certificate: %s", what,
			X509_verify_cert_error_string(verdict));
	}
	return ERR_TLS;
}

/* SSL_get_error() takes any error in the queue for one of this stream, whosever it is. Clearing an
 * empty queue costs more than looking at it. */
static void forget_errors(void)
{
	if (ERR_peek_error() != 0)
		ERR_clear_error();
}

enum err tls_handshake(struct tls *t)
{
	ERR_clear_error();
	int rc = SSL_do_handshake(t->ssl);

	if (rc == 1)
		return ERR_OK;
	int why = SSL_get_error(t->ssl, rc);

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return ERR_BUSY;
	return fail(t, "handshake");
}

enum err tls_read(struct tls *t, char *to, size_t room, size_t *got)
{
	*got = 0;
	forget_errors();
	if (SSL_read_ex(t->ssl, to, room, got) == 1)
		return ERR_OK;
	int why = SSL_get_error(t->ssl, 0);

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return ERR_OK;
	if (why == SSL_ERROR_ZERO_RETURN)
		return ERR_LINK;
	return fail(t, "read");
}

bool tls_has_more(const struct tls *t)
{
	return SSL_has_pending(t->ssl) == 1 || BIO_pending(t->in) > 0;
}

enum err tls_write(struct tls *t, struct span plain)
{
	while (plain.len > 0) {
		size_t taken = 0;

		forget_errors();
		if (SSL_write_ex(t->ssl, plain.at, plain.len, &taken) != 1)
			return fail(t, "write");
		plain = span_after(plain, taken);
	}
	return ERR_OK;
}

void tls_close(struct tls *t)
{
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

struct span tls_output(struct tls *t)
{
	char *at = NULL;
	long len = BIO_get_mem_data(t->out, &at);

	return (struct span){ .at = at, .len = len > 0 ? (size_t)len : 0 };
}

void tls_output_taken(struct tls *t, size_t bytes)
{
	char drop[4096];

	if (bytes == tls_output(t).len) {
		(void)BIO_reset(t->out);
		return;
	}
	while (bytes > 0) {
		size_t piece = bytes < sizeof(drop) ? bytes : sizeof(drop);

		BUG_ON(BIO_read(t->out, drop, (int)piece) != (int)piece);
		bytes -= piece;
	}
}

struct tls_why tls_why(const struct tls *t)
{
	return t->why;
}
