/* SPDX-License-Identifier: MIT */
#include "uplink/sign.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

/* No person is there who could be asked for a password. */
static int no_password(char *to, int size, int is_write, void *ctx)
{
    return -1;
}

int uplink_sign_rs256(const char *pem, size_t pem_n, const void *data, size_t data_n, unsigned char *to, size_t *n)
{
    BIO *in = pem_n < 1 << 20 ? BIO_new_mem_buf(pem, (int)pem_n) : NULL;
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;
    EVP_MD_CTX *sign = EVP_MD_CTX_new();
    bool ok = key && sign && EVP_PKEY_base_id(key) == EVP_PKEY_RSA &&
              EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(sign, to, n, data, data_n) == 1;
    EVP_MD_CTX_free(sign);
    EVP_PKEY_free(key);
    BIO_free(in);
    ERR_clear_error();
    return ok ? 0 : UPLINK_FAILED;
}
