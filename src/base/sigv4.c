/* SPDX-License-Identifier: MIT */
#include "base/sigv4.h"

#include "base/digest.h"
#include "base/err.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void sigv4_time(int64_t unix_s, char to[SIGV4_TIME])
{
    struct tm tm;
    time_t t = (time_t)unix_s;
    gmtime_r(&t, &tm);
    strftime(to, SIGV4_TIME, "%Y%m%dT%H%M%SZ", &tm);
}

static void put_signed_names(const struct sigv4 *s, struct buf *to)
{
    for (int i = 0; i < s->n_headers; i++)
        buf_printf(to, "%s%s", i ? ";" : "", s->headers[i].name);
}

static void put_canonical_request(const struct sigv4 *s, struct buf *to)
{
    buf_printf(to, "%s\n%s\n%s\n", s->method, s->path, s->query);
    for (int i = 0; i < s->n_headers; i++)
        buf_printf(to, "%s:%s\n", s->headers[i].name, s->headers[i].value);
    buf_putc(to, '\n');
    put_signed_names(s, to);
    buf_printf(to, "\n%s", s->payload_hash);
}

/* The key of a day, region and service is derived step by step. */
static void derive_key(const struct sigv4 *s, const char *day, uint8_t key[SHA256_BYTES])
{
    AUTO_BUF start = {0};
    buf_printf(&start, "AWS4%s", s->secret);
    hmac_sha256(key, start.data, start.len, day, strlen(day));
    hmac_sha256(key, key, SHA256_BYTES, s->region, strlen(s->region));
    hmac_sha256(key, key, SHA256_BYTES, "s3", 2);
    hmac_sha256(key, key, SHA256_BYTES, "aws4_request", 12);
}

int sigv4_authorization(const struct sigv4 *s, struct buf *to)
{
    AUTO_BUF request = {0}, text = {0};
    char time[SIGV4_TIME], day[9], hash[2 * SHA256_BYTES + 1], signature[2 * SHA256_BYTES + 1];
    uint8_t key[SHA256_BYTES], mac[SHA256_BYTES];
    sigv4_time(s->unix_s, time);
    snprintf(day, sizeof day, "%.8s", time);
    put_canonical_request(s, &request);
    sha256_hex(hash, request.data, request.len);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s/%s/s3/aws4_request\n%s", time, day, s->region, hash);
    if (request.failed || text.failed)
        return TARE_ENOMEM;
    derive_key(s, day, key);
    hmac_sha256(mac, key, sizeof key, text.data, text.len);
    digest_hex(signature, mac, sizeof mac);
    buf_printf(to, "AWS4-HMAC-SHA256 Credential=%s/%s/%s/s3/aws4_request,SignedHeaders=", s->key_id, day, s->region);
    put_signed_names(s, to);
    return buf_printf(to, ",Signature=%s", signature);
}
