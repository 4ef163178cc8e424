/* SPDX-License-Identifier: MIT */
#include "server/http/route.h"

bool route_decode(struct arena *a, struct str in, bool plus, struct str *out)
{
    char *to = arena_alloc(a, in.n + 1), *w = to;
    if (!to)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '%') {
            int hi = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
            int lo = i + 2 < in.n ? hex_digit(in.p[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            *w++ = (char)(hi * 16 + lo);
            i += 2;
        } else {
            *w++ = plus && in.p[i] == '+' ? ' ' : in.p[i];
        }
    }
    *w = 0;
    *out = str_make(to, (size_t)(w - to));
    return true;
}

/* Take the part of `s` up to the next slash. */
static struct str next_part(struct str *s)
{
    const char *slash = memchr(s->p, '/', s->n);
    struct str part = str_make(s->p, slash ? (size_t)(slash - s->p) : s->n);
    size_t gone = part.n + (slash ? 1 : 0);
    *s = str_make(s->p + gone, s->n - gone);
    return part;
}

static bool is_clean(struct str part)
{
    return part.n && !str_eq(part, STR(".")) && !str_eq(part, STR("..")) &&
           !memchr(part.p, 0, part.n);
}

/* All parts of what was decoded must be clean, and there must be one. */
static bool is_clean_path(struct str rest)
{
    if (!rest.n)
        return false;
    while (rest.n) {
        bool last = !memchr(rest.p, '/', rest.n);
        if (!is_clean(next_part(&rest)))
            return false;
        if (!last && !rest.n)
            return false; /* a slash at the end */
    }
    return true;
}

static bool match(const char *pattern, struct str path, struct arena *a, struct str *params, int *n)
{
    struct str want = str_of(pattern + 1), got = str_make(path.p + 1, path.n - 1);
    *n = 0;
    while (want.n) {
        struct str w = next_part(&want);
        if (w.p[0] != '{') {
            if (!str_eq(w, next_part(&got)))
                return false;
        } else if (str_ends(w, STR("...}"))) {
            return got.n && *n < HTTP_MAX_PARAMS && route_decode(a, got, false, &params[*n]) &&
                   is_clean_path(params[(*n)++]);
        } else {
            struct str part = next_part(&got);
            if (*n >= HTTP_MAX_PARAMS || !route_decode(a, part, false, &params[*n]) ||
                !is_clean_path(params[*n])) /* it may have slashes: %2F */
                return false;
            ++*n;
        }
    }
    return !got.n && path.p[path.n - 1] != '/' ? true : path.n == 1 && !pattern[1];
}

const struct http_route *route_find(const struct http_route *routes, struct str method, struct str path,
                                    struct arena *a, struct str *params, int *n_params,
                                    const struct http_route **other)
{
    if (str_eq(method, STR("HEAD")))
        method = STR("GET");
    *other = NULL;
    if (!path.n || path.p[0] != '/')
        return NULL;
    for (const struct http_route *r = routes; r->method; r++) {
        if (!match(r->pattern, path, a, params, n_params))
            continue;
        if (str_eqz(method, r->method))
            return r;
        *other = r;
    }
    return NULL;
}
