/* SPDX-License-Identifier: MIT */
#include "uplink/certs.h"

#include "base/alloc.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static void read_run(struct work *w)
{
    struct certs *c = (struct certs *)((char *)w - offsetof(struct certs, work));
    X509_STORE *store = X509_STORE_new();
    bool ok = store && (!c->file || X509_STORE_load_file(store, c->file) == 1) &&
              (!c->dir || X509_STORE_load_path(store, c->dir) == 1);
    if (ok) /* as curl does */
        ok = X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN) == 1;
    if (!ok) {
        X509_STORE_free(store);
        store = NULL;
        ERR_clear_error();
    }
    c->store = store;
    OPENSSL_thread_stop(); /* what it keeps for this thread */
}

void certs_begin(struct certs *c)
{
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    const char *named = getenv("SSL_CERT_FILE");
    bool is_openssl = curl->ssl_version && strncmp(curl->ssl_version, "OpenSSL/3", 9) == 0;
    if (named && *named) {
        c->file = c->own_file = xmem_strdup(named);
#if LIBCURL_VERSION_NUM >= 0x074600
    } else if (curl->age >= CURLVERSION_SEVENTH) {
        c->file = curl->cainfo;
        c->dir = curl->capath;
#endif
    }
    c->state = is_openssl && (c->file || c->dir) ? CERTS_READING : CERTS_READ;
    c->work.run = read_run;
}

void certs_read(struct certs *c)
{
    c->state = CERTS_READ;
}

void certs_free(struct certs *c)
{
    X509_STORE_free(c->store);
    mem_free(c->own_file);
    *c = (struct certs){0};
}

static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *store)
{
    (void)easy;
    SSL_CTX_set1_cert_store(ssl_ctx, store);
    return CURLE_OK;
}

bool certs_give(const struct certs *c, void *easy)
{
    return curl_easy_setopt(easy, CURLOPT_CAINFO, NULL) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, c->store) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) == CURLE_OK;
}
