#include "message/digest.h"

#include <openssl/evp.h>

enum err digest_of(struct span bytes, struct digest *out)
{
	unsigned len = 0;

	if (EVP_Digest(bytes.at, bytes.len, out->byte, &len, EVP_sha256(), NULL) != 1 ||
		len != DIGEST_BYTES)
		return ERR_NOMEM;
	return ERR_OK;
}
