/* pki.h - authorities and certificates made on the spot, for tests that need no broker of
 * RabbitMQ's.
 *
 * EC P-256, valid from an hour ago for a day. Real sites get theirs from scripts/lib/pki.sh.
 * Layer: tests. Uses: must, OpenSSL. Thread: the test's. */
#ifndef SALLYPORT_TEST_PKI_H
#define SALLYPORT_TEST_PKI_H

#include <stddef.h>

struct pki_authority; /* opaque: its certificate and key */

/* Writes <folder>/<name>.pem, the certificate. */
struct pki_authority *must_pki_authority(const char *folder, const char *name);
void pki_authority_free(struct pki_authority *a); /* NULL is fine */

enum pki_use {
	PKI_CLIENT = 0, /* clientAuth */
	PKI_SERVER,     /* serverAuth for 127.0.0.1 and localhost */
	PKI_ELSEWHERE,  /* serverAuth for another host */
	PKI_EXPIRED,    /* clientAuth, ended an hour ago */
};

/* Writes <folder>/<name>.pem and <name>.key (0600) for the common name `name`. */
void must_pki_issue(
	const struct pki_authority *a, const char *folder, const char *name, enum pki_use use);

#endif
