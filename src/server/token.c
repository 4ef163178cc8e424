/* SPDX-License-Identifier: MIT */
#include "server/token.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/err.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { MAC_BYTES = 16, MAC_TEXT = 22, MAX_TOKEN = 4096 };

static void put_mac(struct buf *to, const unsigned char secret[32], struct str text)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    HMAC(EVP_sha256(), secret, 32, (const unsigned char *)text.p, text.n, mac, &n);
    base64_put(to, BASE64_URL, mac, MAC_BYTES);
}

int token_put(struct buf *to, const unsigned char secret[32], struct str claims, int64_t expires_s)
{
    AUTO_BUF body = {0}, text = {0};
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_putc(&body, (char)((uint64_t)expires_s >> shift));
    buf_put_str(&body, claims);
    base64_put(&text, BASE64_URL, body.data, body.len);
    buf_put_str(to, buf_str(&text));
    buf_putc(to, '.');
    put_mac(to, secret, buf_str(&text));
    return body.failed || text.failed || to->failed ? TARE_ENOMEM : 0;
}

int token_check(struct arena *a, const unsigned char secret[32], struct str token, struct str *claims)
{
    if (token.n > MAX_TOKEN || token.n < MAC_TEXT + 2 || token.p[token.n - MAC_TEXT - 1] != '.')
        return TARE_EPERM;
    struct str text = str_make(token.p, token.n - MAC_TEXT - 1);
    AUTO_BUF mac = {0};
    put_mac(&mac, secret, text);
    if (mac.len != MAC_TEXT || CRYPTO_memcmp(mac.data, token.p + token.n - MAC_TEXT, MAC_TEXT) != 0)
        return TARE_EPERM;
    unsigned char *body = arena_alloc(a, text.n + 1);
    size_t n = 0;
    if (!body || !base64_get(text, BASE64_URL, body, text.n + 1, &n) || n < 8)
        return TARE_EPERM;
    uint64_t expires_s = 0;
    for (int i = 0; i < 8; i++)
        expires_s = expires_s << 8 | body[i];
    if ((int64_t)expires_s < clock_wall_ns() / 1000000000)
        return TARE_EPERM;
    *claims = str_make(body + 8, n - 8);
    return 0;
}
