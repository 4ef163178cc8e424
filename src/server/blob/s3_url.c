/* SPDX-License-Identifier: MIT */
#include "server/blob/s3_url.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20 };

static bool plain(struct str s, const char *more)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && (!c || !strchr(more, c)))
            return false;
    }
    return s.n > 0;
}

static void copy(char *to, size_t size, struct str s)
{
    snprintf(to, size, "%.*s", STR_ARG(s));
}

static int number_of(struct str s, int least, int most, const char *what, struct err *e)
{
    char text[16], *end;
    copy(text, sizeof text, s);
    long v = strtol(text, &end, 10);
    return *end || v < least || v > most ? err_set(e, TARE_EINVAL, "--blobs: %s is a number from %d to %d", what, least, most)
                                         : (int)v;
}

static int take_endpoint(struct s3 *s, struct str url, struct err *e)
{
    struct str scheme = str_starts(url, STR("https://")) ? STR("https://") : STR("http://");
    struct str host = str_make(url.p + scheme.n, url.n > scheme.n ? url.n - scheme.n : 0);
    if (host.n && host.p[host.n - 1] == '/')
        host.n--;
    if (!str_starts(url, scheme) || !plain(host, ".-:[]") || host.n >= sizeof s->host)
        return err_set(e, TARE_EINVAL, "--blobs: '%.*s' is no endpoint: http(s)://HOST[:PORT] is wanted", STR_ARG(url));
    struct str port = scheme.n == 8 ? STR(":443") : STR(":80");
    if (str_ends(host, port))
        host.n -= port.n; /* libcurl leaves it out of the Host header */
    copy(s->host, sizeof s->host, host);
    snprintf(s->origin, sizeof s->origin, "%.*s%s", STR_ARG(scheme), s->host);
    return 0;
}

static int take_parameter(struct s3 *s, struct str pair, struct str *endpoint, struct err *e)
{
    const char *eq = memchr(pair.p, '=', pair.n);
    struct str name = str_make(pair.p, eq ? (size_t)(eq - pair.p) : pair.n);
    struct str value = eq ? str_make(eq + 1, pair.n - name.n - 1) : STR("");
    int n = 0;
    if (str_eqz(name, "endpoint"))
        *endpoint = value;
    else if (str_eqz(name, "region") && plain(value, "-_") && value.n < sizeof s->region)
        copy(s->region, sizeof s->region, value);
    else if (str_eqz(name, "timeout") && (n = number_of(value, 1, 3600, "timeout", e)) > 0)
        s->stall_s = n;
    else if (str_eqz(name, "part") && (n = number_of(value, 5, 5000, "part", e)) > 0)
        s->part_bytes = (int64_t)n * MIB;
    else if (n == 0)
        return err_set(e, TARE_EINVAL, "--blobs: '%.*s' is not understood", STR_ARG(pair));
    return n < 0 ? n : 0;
}

static const char *env(const char *name, const char *other)
{
    const char *v = getenv(name);
    return v && *v ? v : other ? env(other, NULL) : NULL;
}

static int take_keys(struct s3 *s, struct err *e)
{
    const char *id = env("AWS_ACCESS_KEY_ID", NULL), *secret = env("AWS_SECRET_ACCESS_KEY", NULL);
    const char *token = env("AWS_SESSION_TOKEN", NULL), *region = env("AWS_REGION", "AWS_DEFAULT_REGION");
    if (!id || !secret || strlen(id) >= sizeof s->key_id || strlen(secret) >= sizeof s->secret ||
        (token && strlen(token) >= sizeof s->token))
        return err_set(e, TARE_EINVAL,
                       "--blobs s3://…: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the server's environment");
    strcpy(s->key_id, id);
    strcpy(s->secret, secret);
    strcpy(s->token, token ? token : "");
    if (!*s->region)
        copy(s->region, sizeof s->region, region ? str_of(region) : STR("us-east-1"));
    return 0;
}

static int take_place(struct s3 *s, struct str bucket, struct str prefix, struct str endpoint, struct err *e)
{
    char amazon[S3_NAME];
    const char *other = env("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL");
    if (!plain(bucket, ".-") || bucket.n > 63)
        return err_set(e, TARE_EINVAL, "--blobs: '%.*s' is no name of a bucket", STR_ARG(bucket));
    while (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    if (prefix.n && (!plain(prefix, "-_./") || prefix.n > 300))
        return err_set(e, TARE_EINVAL, "--blobs: a prefix has letters, digits and - _ . / only");
    if (prefix.n)
        snprintf(s->prefix, sizeof s->prefix, "%.*s/", STR_ARG(prefix));
    if (!endpoint.n && other)
        endpoint = str_of(other);
    if (endpoint.n) {
        snprintf(s->base, sizeof s->base, "/%.*s", STR_ARG(bucket));
        return take_endpoint(s, endpoint, e);
    }
    snprintf(amazon, sizeof amazon, "https://%.*s.s3.%s.amazonaws.com", STR_ARG(bucket), s->region);
    return take_endpoint(s, str_of(amazon), e);
}

int s3_parse(struct s3 *s, const char *url, struct err *e)
{
    *s = (struct s3){.stall_s = 30, .part_bytes = 64 * MIB};
    struct str rest = str_of(url + 5), endpoint = {0};
    size_t n = strcspn(rest.p, "?");
    struct str place = str_make(rest.p, n), query = str_make(rest.p + n, rest.n - n);
    while (query.n > 1) {
        size_t len = strcspn(query.p + 1, "&");
        int rc = take_parameter(s, str_make(query.p + 1, len), &endpoint, e);
        if (rc)
            return rc;
        query = str_make(query.p + 1 + len, query.n - 1 - len);
    }
    int rc = take_keys(s, e);
    const char *slash = memchr(place.p, '/', place.n);
    size_t bucket = slash ? (size_t)(slash - place.p) : place.n, skip = bucket + (slash ? 1 : 0);
    return rc ? rc : take_place(s, str_make(place.p, bucket), str_make(place.p + skip, place.n - skip), endpoint, e);
}
