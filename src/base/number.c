/* SPDX-License-Identifier: MIT */
#include "base/number.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t put_literal(char *to, const char *z)
{
    size_t n = strlen(z);
    memcpy(to, z, n);
    return n;
}

/* Python's repr switches to exponent form below 1e-4 and from 1e16 on. */
size_t number_format_double(char *to, double v)
{
    if (isnan(v))
        return put_literal(to, "NaN");
    if (isinf(v))
        return put_literal(to, v < 0 ? "-Infinity" : "Infinity");
    char text[40];
    int prec = 1;
    for (; prec <= 17; prec++) {
        snprintf(text, sizeof text, "%.*e", prec - 1, v);
        if (strtod(text, NULL) == v)
            break;
    }
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent < -4 || exponent >= 16)
        return (size_t)snprintf(to, NUMBER_MAX, "%.*g", prec, v);
    int decimals = prec - 1 - exponent;
    return (size_t)snprintf(to, NUMBER_MAX, "%.*f", decimals > 1 ? decimals : 1, v);
}

size_t number_format_u64(char *to, uint64_t v)
{
    char tmp[NUMBER_MAX];
    size_t n = 0;
    do
        tmp[n++] = (char)('0' + v % 10);
    while (v /= 10);
    for (size_t i = 0; i < n; i++)
        to[i] = tmp[n - 1 - i];
    return n;
}

size_t number_format_i64(char *to, int64_t v)
{
    if (v >= 0)
        return number_format_u64(to, (uint64_t)v);
    to[0] = '-';
    return 1 + number_format_u64(to + 1, 0 - (uint64_t)v);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits(const char *p, size_t at, size_t n)
{
    while (at < n && is_digit(p[at]))
        at++;
    return at;
}

/* End of the integer part, 0 if there is none. */
static size_t scan_int(const char *p, size_t n)
{
    size_t at = n && p[0] == '-';
    if (at >= n || !is_digit(p[at]))
        return 0;
    return p[at] == '0' ? at + 1 : digits(p, at, n);
}

static size_t literal(const char *p, size_t n, const char *z, double value, double *v)
{
    size_t k = strlen(z);
    if (n < k || memcmp(p, z, k) != 0)
        return 0;
    *v = value;
    return k;
}

size_t number_parse_double(const char *p, size_t n, double *v)
{
    size_t at = scan_int(p, n);
    if (!at) {
        size_t k = literal(p, n, "NaN", (double)NAN, v);
        k = k ? k : literal(p, n, "Infinity", (double)INFINITY, v);
        return k ? k : literal(p, n, "-Infinity", (double)-INFINITY, v);
    }
    if (at + 1 < n && p[at] == '.' && is_digit(p[at + 1]))
        at = digits(p, at + 1, n);
    if (at < n && (p[at] == 'e' || p[at] == 'E')) {
        size_t e = at + 1;
        if (e < n && (p[e] == '+' || p[e] == '-'))
            e++;
        size_t end = digits(p, e, n);
        if (end > e)
            at = end;
    }
    char small[64];
    char *text = at < sizeof small ? small : malloc(at + 1);
    if (!text)
        return 0;
    memcpy(text, p, at);
    text[at] = 0;
    *v = strtod(text, NULL);
    if (text != small)
        free(text);
    return at;
}

size_t number_parse_i64(const char *p, size_t n, int64_t *v)
{
    size_t end = scan_int(p, n);
    if (!end || (end < n && (p[end] == '.' || p[end] == 'e' || p[end] == 'E')))
        return 0;
    bool neg = p[0] == '-';
    uint64_t u = 0, limit = neg ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    for (size_t i = neg; i < end; i++) {
        uint64_t d = (uint64_t)(p[i] - '0');
        if (u > (limit - d) / 10)
            return 0;
        u = u * 10 + d;
    }
    *v = neg ? (int64_t)(0 - u) : (int64_t)u;
    return end;
}
