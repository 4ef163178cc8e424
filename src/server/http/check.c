/* SPDX-License-Identifier: MIT */
/* What is refused before a route is looked for. RFC 9112: where two readers of one message could disagree about
 * where it ends or whom it is for, the message is an error (6.3, 3.2, 5.1); the library takes the first of two. */
#include "server/http/inner.h"

#include <errno.h>
#include <stdlib.h>

struct seen {
    int n_hosts, n_lengths, n_encodings;
    const char *length, *encoding;
    bool bad_name;
};

static bool is_token(const char *z)
{
    static const bool allowed[256] = {['!'] = true, ['#' ... '\''] = true, ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,
                                      ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['^' ... 'z'] = true, ['|'] = true, ['~'] = true};
    const char *p = z;
    while (allowed[(unsigned char)*p])
        p++;
    return p > z && !*p;
}

static enum MHD_Result see(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct seen *s = cls;
    (void)kind;
    switch (*name | 0x20) {
    case 'h':
        s->n_hosts += strcasecmp(name, "Host") == 0;
        break;
    case 'c':
        if (strcasecmp(name, "Content-Length") == 0 && s->n_lengths++ == 0)
            s->length = value ? value : "";
        break;
    case 't':
        if (strcasecmp(name, "Transfer-Encoding") == 0 && s->n_encodings++ == 0)
            s->encoding = value ? value : "";
        break;
    }
    s->bad_name |= !is_token(name);
    return MHD_YES;
}

static bool take_length(struct http_request *r, const char *text)
{
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
    MHD_get_connection_values(r->inner->conn, MHD_HEADER_KIND, see, &s);
    *why = "bad Content-Length";
    if (!take_length(r, s.length) || s.n_lengths > 1)
        return 400;
    *why = "Content-Length and Transfer-Encoding exclude each other";
    if (s.n_encodings > 1 || (s.n_encodings && s.n_lengths))
        return 400;
    *why = "this Transfer-Encoding is not supported";
    if (s.encoding && strcasecmp(s.encoding, "chunked") != 0)
        return 501;
    *why = "more than one Host";
    if (s.n_hosts > 1)
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
