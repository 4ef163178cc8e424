/* SPDX-License-Identifier: MIT */
/* What is refused before a route is looked for. RFC 9112: where two readers of one message could disagree about
 * where it ends or whom it is for, the message is an error (6.3, 3.2, 5.1); the library takes the first of two. */
#include "server/http/inner.h"

#include <errno.h>
#include <stdlib.h>

struct seen {
    int host, length, encoding;
    bool bad_name;
};

static bool is_token(const char *z)
{
    static const char chars[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *z && !z[strspn(z, chars)];
}

static enum MHD_Result see(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct seen *s = cls;
    (void)kind, (void)value;
    s->host += strcasecmp(name, "Host") == 0;
    s->length += strcasecmp(name, "Content-Length") == 0;
    s->encoding += strcasecmp(name, "Transfer-Encoding") == 0;
    s->bad_name |= !is_token(name);
    return MHD_YES;
}

static bool take_length(struct http_request *r)
{
    const char *text = http_header(r, "Content-Length");
    char *end = NULL;
    if (!text)
        return true;
    errno = 0;
    r->content_length = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : -1;
    return !errno && end && !*end;
}

int http_check_headers(struct http_request *r, const char **why)
{
    struct seen s = {0};
    const char *encoding = http_header(r, "Transfer-Encoding");
    MHD_get_connection_values(r->inner->conn, MHD_HEADER_KIND, see, &s);
    *why = "bad Content-Length";
    if (!take_length(r) || s.length > 1)
        return 400;
    *why = "Content-Length and Transfer-Encoding exclude each other";
    if (s.encoding > 1 || (s.encoding && s.length))
        return 400;
    *why = "this Transfer-Encoding is not supported";
    if (encoding && strcasecmp(encoding, "chunked") != 0)
        return 501;
    *why = "more than one Host";
    if (s.host > 1)
        return 400;
    *why = "a header has a bad name";
    return s.bad_name ? 400 : 0;
}

bool http_is_cross_site(const struct http_request *r)
{
    const char *site = http_header(r, "Sec-Fetch-Site"), *origin = http_header(r, "Origin");
    const char *host = http_header(r, "Host"), *own = r->inner->server->o.base_url;
    if (str_eq(r->method, STR("GET")) || str_eq(r->method, STR("HEAD")))
        return false;
    if (site)
        return strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
    if (!origin || (own && strcasecmp(origin, own) == 0))
        return false;
    const char *at = strstr(origin, "://");
    return !at || !host || strcasecmp(at + 3, host) != 0;
}
