/* SPDX-License-Identifier: MIT */
#include "server/http/range.h"
#include "base/number.h"

#include <stddef.h>
#include <string.h>

struct http_range http_range_parse(const char *text, int64_t size)
{
    struct http_range all = {0, size, HTTP_RANGE_ALL}, bad = {0, 0, HTTP_RANGE_BAD};
    int64_t a = -1, b = -1;
    if (!text || strncmp(text, "bytes=", 6) != 0 || strchr(text, ','))
        return all;
    const char *p = text + 6, *end = p + strlen(p);
    p += number_parse_i64(p, *p == '-' ? 0 : (size_t)(end - p), &a);
    if (*p++ != '-')
        return all;
    size_t used = p < end ? number_parse_i64(p, (size_t)(end - p), &b) : 0;
    if (p + used != end || (a < 0 && b < 0) || (used && b < 0))
        return all;
    if (a < 0) { /* the last b bytes */
        if (b == 0 || size == 0)
            return bad;
        a = b < size ? size - b : 0;
        b = size - 1;
    }
    if (a >= size)
        return bad;
    if (b < 0 || b >= size)
        b = size - 1;
    return b < a ? all : (struct http_range){a, b - a + 1, HTTP_RANGE_PART};
}

/* A decimal number at *p, which moves behind it; negative if there is none. */
static int64_t take_number(const char **p)
{
    int64_t n = -1;
    size_t used = **p >= '0' && **p <= '9' ? number_parse_i64(*p, strlen(*p), &n) : 0;
    *p += used;
    return used ? n : -1;
}

bool http_content_range_parse(const char *text, int64_t *first, int64_t *last, int64_t *total)
{
    if (strncmp(text, "bytes ", 6) != 0)
        return false;
    const char *p = text + 6;
    *first = *last = -1;
    if (*p == '*') {
        p++;
    } else {
        *first = take_number(&p);
        if (*first < 0 || *p++ != '-')
            return false;
        *last = take_number(&p);
        if (*last < *first)
            return false;
    }
    if (*p++ != '/')
        return false;
    *total = take_number(&p);
    return *total >= 0 && *p == 0 && *last < *total;
}
