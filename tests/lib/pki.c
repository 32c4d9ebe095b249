#include "pki.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "must.h"

enum { HOUR_S = 3600, PATH_ROOM = 512 };

struct pki_authority {
	X509 *certificate;
	EVP_PKEY *key;
};

static void must_have(const void *thing, const char *what)
{
	if (thing == NULL)
		must_fail("OpenSSL made no %s", what);
}

static X509 *begin_certificate(const char *name, EVP_PKEY *key, long from_s, long until_s)
{
	X509 *x = X509_new();
	uint64_t serial = 0;

	must_have(x, "certificate");
	if (RAND_bytes((unsigned char *)&serial, sizeof serial) != 1)
		must_fail("OpenSSL has no random bytes");
	(void)X509_set_version(x, X509_VERSION_3);
	(void)ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(x), from_s);
	(void)X509_gmtime_adj(X509_getm_notAfter(x), until_s);
	(void)X509_set_pubkey(x, key);
	if (X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
		    (const unsigned char *)name, -1, -1, 0) != 1)
		must_fail("OpenSSL does not take the name %s", name);
	return x;
}

static void add_extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	must_have(extension, value);
	(void)X509_add_ext(x, extension, -1);
	X509_EXTENSION_free(extension);
}

static void finish_certificate(X509 *x, const X509 *issuer, EVP_PKEY *issuer_key)
{
	(void)X509_set_issuer_name(x, X509_get_subject_name(issuer));
	if (X509_sign(x, issuer_key, EVP_sha256()) == 0)
		must_fail("OpenSSL does not sign");
}

static FILE *must_open(const char *folder, const char *name, const char *ending, mode_t mode)
{
	char path[PATH_ROOM];

	must_format(path, sizeof path, "%s/%s.%s", folder, name, ending);
	FILE *file = fopen(path, "we");

	if (file == NULL || fchmod(fileno(file), mode) != 0)
		must_fail("%s cannot be written", path);
	return file;
}

static void write_certificate(const char *folder, const char *name, X509 *x)
{
	FILE *file = must_open(folder, name, "pem", 0644);

	if (PEM_write_X509(file, x) != 1 || fclose(file) != 0)
		must_fail("%s/%s.pem cannot be written", folder, name);
}

static void write_key(const char *folder, const char *name, EVP_PKEY *key)
{
	FILE *file = must_open(folder, name, "key", 0600);

	if (PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) != 1 ||
		fclose(file) != 0)
		must_fail("%s/%s.key cannot be written", folder, name);
}

struct pki_authority *must_pki_authority(const char *folder, const char *name)
{
	struct pki_authority *a = calloc(1, sizeof *a);

	must_have(a, "memory");
	a->key = EVP_EC_gen("P-256");
	must_have(a->key, "key");
	a->certificate = begin_certificate(name, a->key, -HOUR_S, 24 * HOUR_S);
	add_extension(a->certificate, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(a->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
	finish_certificate(a->certificate, a->certificate, a->key);
	write_certificate(folder, name, a->certificate);
	return a;
}

void pki_authority_free(struct pki_authority *a)
{
	if (a == NULL)
		return;
	X509_free(a->certificate);
	EVP_PKEY_free(a->key);
	free(a);
}

void must_pki_issue(
	const struct pki_authority *a, const char *folder, const char *name, enum pki_use use)
{
	bool is_server = use == PKI_SERVER || use == PKI_ELSEWHERE;
	EVP_PKEY *key = EVP_EC_gen("P-256");

	must_have(key, "key");
	X509 *x = begin_certificate(
		name, key, -2 * HOUR_S, use == PKI_EXPIRED ? -HOUR_S : 24 * HOUR_S);

	add_extension(x, NID_basic_constraints, "critical,CA:FALSE");
	add_extension(x, NID_ext_key_usage, is_server ? "serverAuth" : "clientAuth");
	if (use == PKI_SERVER)
		add_extension(x, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
	if (use == PKI_ELSEWHERE)
		add_extension(x, NID_subject_alt_name, "IP:192.0.2.1,DNS:elsewhere.example");
	finish_certificate(x, a->certificate, a->key);
	write_certificate(folder, name, x);
	write_key(folder, name, key);
	X509_free(x);
	EVP_PKEY_free(key);
}
