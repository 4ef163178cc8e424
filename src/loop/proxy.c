/* SPDX-License-Identifier: MIT */
/* The words of NO_PROXY (peer: golang.org/x/net/http/httpproxy): "*" for all; an address; a range of
 * addresses "10.0.0.0/8"; a name for itself and all below it; ".name" or "*.name" for those below
 * it only. All but ranges may end in ":port". */
#include "loop/proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

static bool cut_port(struct str *host, int *port)
{
    const char *colon = host->n ? memrchr(host->p, ':', host->n) : NULL;
    if (!colon)
        return true;
    int n = 0;
    for (const char *p = colon + 1; p < host->p + host->n; p++) {
        if (*p < '0' || *p > '9' || n > 65535)
            return false;
        n = n * 10 + (*p - '0');
    }
    if (n > 65535)
        return false;
    if (n > 0)
        *port = n;
    host->n = (size_t)(colon - host->p);
    return true;
}

/* "host", "host:8080", "[::1]:8080", "::1" (the last only where `bare6`). */
static bool split_host(struct str text, bool bare6, struct str *host, int *port)
{
    *host = text;
    if (text.n && text.p[0] == '[') {
        const char *end = memchr(text.p, ']', text.n);
        if (!end)
            return false;
        struct str rest = str_make(end, (size_t)(text.p + text.n - end));
        *host = str_make(text.p + 1, (size_t)(end - text.p - 1));
        rest.p++, rest.n--;
        struct str before = rest;
        return cut_port(&rest, port) && (rest.n == 0 || before.n == 0);
    }
    if (bare6 && text.n && memchr(text.p, ':', text.n) != memrchr(text.p, ':', text.n))
        return true;
    return cut_port(host, port);
}

bool url_split(const char *url, struct url_parts *to)
{
    *to = (struct url_parts){0};
    size_t skip = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    if (skip == 0)
        return false;
    to->https = skip == 8;
    to->port = to->https ? 443 : 80;
    to->authority = str_make(url + skip, strcspn(url + skip, "/?#"));
    struct str rest = to->authority;
    const char *at = rest.n ? memrchr(rest.p, '@', rest.n) : NULL;
    if (at)
        rest = str_make(at + 1, (size_t)(rest.p + rest.n - at - 1));
    return split_host(rest, false, &to->host, &to->port) && to->host.n > 0;
}

/* ---- the environment ---- */

static const char *env(const char *upper, const char *lower)
{
    const char *v = getenv(upper);
    return v && *v ? v : (v = getenv(lower)) && *v ? v : "";
}

const char *proxy_from_environment(const struct url_parts *url)
{
    const char *proxy = url->https ? env("HTTPS_PROXY", "https_proxy") : env("HTTP_PROXY", "http_proxy");
    return *proxy && !proxy_is_skipped(url, env("NO_PROXY", "no_proxy")) ? proxy : "";
}

/* ---- NO_PROXY ---- */

struct address {
    int family; /* 0: a name */
    unsigned char bytes[16];
};

static struct address address_of(struct str host)
{
    struct address a = {0};
    char text[64];
    if (host.n >= sizeof text)
        return a;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, a.bytes) == 1)
        a.family = AF_INET;
    else if (inet_pton(AF_INET6, text, a.bytes) == 1)
        a.family = AF_INET6;
    return a;
}

static bool is_this_machine(struct str host, const struct address *a)
{
    static const unsigned char one[16] = {[15] = 1};
    if (a->family == AF_INET)
        return a->bytes[0] == 127;
    if (a->family == AF_INET6)
        return memcmp(a->bytes, one, sizeof one) == 0;
    return host.n == 9 && strncasecmp(host.p, "localhost", 9) == 0;
}

static bool in_range(const struct address *a, struct str net, int bits)
{
    struct address base = address_of(net);
    if (!base.family || base.family != a->family || bits > (base.family == AF_INET ? 32 : 128))
        return false;
    int whole = bits / 8, rest = bits % 8;
    if (memcmp(a->bytes, base.bytes, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((a->bytes[whole] ^ base.bytes[whole]) >> (8 - rest)) == 0;
}

static bool name_matches(struct str host, struct str word)
{
    bool below_only = false;
    if (word.n > 1 && word.p[0] == '*' && word.p[1] == '.')
        word.p++, word.n--;
    if (word.n && word.p[0] == '.')
        below_only = true, word.p++, word.n--;
    if (word.n == 0 || host.n < word.n || strncasecmp(host.p + host.n - word.n, word.p, word.n) != 0)
        return false;
    return host.n == word.n ? !below_only : host.p[host.n - word.n - 1] == '.';
}

static bool word_matches(const struct url_parts *url, const struct address *a, struct str word)
{
    if (str_eq(word, STR("*")))
        return true;
    const char *slash = word.n ? memchr(word.p, '/', word.n) : NULL;
    if (slash) {
        int bits = 0;
        const char *p = slash + 1, *end = word.p + word.n;
        for (; p < end && *p >= '0' && *p <= '9' && bits < 1000; p++)
            bits = bits * 10 + (*p - '0');
        struct str net = str_make(word.p, (size_t)(slash - word.p));
        return a->family && slash + 1 < end && in_range(a, net, bits);
    }
    struct str host;
    int port = 0;
    if (!split_host(word, true, &host, &port) || (port && port != url->port))
        return false;
    struct address named = address_of(host);
    if (named.family || a->family)
        return named.family == a->family && memcmp(named.bytes, a->bytes, sizeof a->bytes) == 0;
    return name_matches(url->host, host);
}

bool proxy_is_skipped(const struct url_parts *url, const char *no_proxy)
{
    struct address a = address_of(url->host);
    if (is_this_machine(url->host, &a))
        return true;
    for (const char *p = no_proxy; *p;) {
        struct str word = str_make(p, strcspn(p, ","));
        p += word.n + (p[word.n] == ',');
        while (word.n && (*word.p == ' ' || *word.p == '\t'))
            word.p++, word.n--;
        while (word.n && (word.p[word.n - 1] == ' ' || word.p[word.n - 1] == '\t'))
            word.n--;
        if (word.n && word_matches(url, &a, word))
            return true;
    }
    return false;
}
