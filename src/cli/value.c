/* SPDX-License-Identifier: MIT */
#include "cli/value.h"

#include "base/json.h"
#include "base/number.h"

#include <stdio.h>

enum { NUMBER_LONG = 10, SPARK_MAX = 64 };

/* Behind the white space; an empty text may have no address at all. */
static const char *skip_space(struct str json)
{
    return json.n ? json_skip_space(json.p, json.p + json.n) : json.p;
}

static bool is_object(struct str json)
{
    const char *p = skip_space(json);
    return json.n && p < json.p + json.n && *p == '{';
}

struct str value_member(struct str json, const char *name)
{
    struct json_item item;
    if (!is_object(json))
        return (struct str){0};
    const char *at = skip_space(json) + 1;
    while (json_next_member(&at, json.p + json.n, &item) == 1)
        if (str_eqz(item.key, name))
            return item.value;
    return (struct str){0};
}

bool value_string(struct buf *to, struct str json)
{
    const char *p = json.p ? skip_space(json) : NULL;
    if (!p || p >= json.p + json.n || *p != '"')
        return false;
    const char *end = json_skip(p, json.p + json.n);
    return end && json_unescape(to, str_make(p + 1, (size_t)(end - p) - 2)) == 0;
}

bool value_is_type(struct str json, const char *type)
{
    AUTO_BUF b = {0};
    return value_string(&b, value_member(json, "_type")) && str_eqz(buf_str(&b), type);
}

static void put_field(struct buf *to, struct str json, const char *name, const char *before)
{
    AUTO_BUF b = {0};
    struct str v = value_member(json, name);
    if (!v.n)
        return;
    if (!value_string(&b, v))
        buf_put_str(&b, v);
    buf_puts(to, before);
    buf_put_str(to, buf_str(&b));
}

static size_t read_numbers(struct str list, double *to, size_t max)
{
    if (!list.n)
        return 0;
    const char *at = skip_space(list);
    struct json_item item;
    size_t n = 0;
    if (at >= list.p + list.n || *at++ != '[')
        return 0;
    while (n < max && json_next_element(&at, list.p + list.n, &item) == 1)
        if (!number_parse_double(item.value.p, item.value.n, &to[n++]))
            return 0;
    return n;
}

/* The counts of a histogram as a row of bars. */
static void put_histogram(struct buf *to, struct str json, bool utf8)
{
    static const char *const bars[2][8] = {
        {".", ".", ":", ":", "|", "|", "#", "#"},
        {"\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"},
    };
    double counts[SPARK_MAX], bins[2] = {0}, most = 0;
    struct str values = value_member(json, "values");
    size_t n = values.n ? read_numbers(values, counts, SPARK_MAX) : 0;
    for (size_t i = 0; i < n; i++)
        most = counts[i] > most ? counts[i] : most;
    buf_printf(to, "histogram, %zu bins ", n);
    if (read_numbers(value_member(json, "bins"), bins, 2) == 2)
        buf_printf(to, "from %.4g ", bins[0]);
    for (size_t i = 0; i < n; i++) {
        double part = counts[i] / most; /* not a number where both are infinite or zero */
        int h = part > 0 && part <= 1 ? (int)(part * 7.999) : 0;
        buf_puts(to, counts[i] > 0 ? bars[utf8][h] : " ");
    }
}

static bool put_media(struct buf *to, struct str json, bool utf8)
{
    AUTO_BUF type = {0};
    if (!value_string(&type, value_member(json, "_type")))
        return false;
    struct str t = buf_str(&type);
    if (str_eqz(t, "histogram")) {
        put_histogram(to, json, utf8);
        return true;
    }
    if (str_ends(t, STR("-file")))
        t.n -= 5;
    buf_put_str(to, t);
    put_field(to, json, "count", " x ");
    put_field(to, json, "width", " ");
    put_field(to, json, "height", " x ");
    put_field(to, json, "nrows", ", rows ");
    put_field(to, json, "ncols", ", columns ");
    put_field(to, json, "path", ", ");
    return true;
}

void value_put(struct buf *to, struct str json, bool round, bool utf8)
{
    double v;
    if (value_string(to, json))
        return;
    if (is_object(json) && put_media(to, json, utf8))
        return;
    bool whole = !memchr(json.p, '.', json.n) && !memchr(json.p, 'e', json.n);
    if (round && !whole && json.n > NUMBER_LONG &&
        number_parse_double(json.p, json.n, &v) == json.n)
        buf_printf(to, "%.6g", v);
    else
        buf_put_str(to, json);
}

static void each(struct str json, bool all, struct buf *name,
                 void (*put)(void *, struct str, struct str), void *ctx)
{
    const char *at = skip_space(json) + 1;
    struct json_item item;
    size_t len = name->len;
    while (json_next_member(&at, json.p + json.n, &item) == 1) {
        if (!all && len == 0 && item.key.n && item.key.p[0] == '_')
            continue;
        if (len)
            buf_putc(name, '.');
        json_unescape(name, item.key);
        bool tree =
            is_object(item.value) && !value_member(item.value, "_type").p &&
            *json_skip_space(skip_space(item.value) + 1, item.value.p + item.value.n) != '}';
        if (tree)
            each(item.value, all, name, put, ctx);
        else
            put(ctx, buf_str(name), item.value);
        name->len = len;
    }
}

void value_each(struct str json, bool all,
                void (*put)(void *ctx, struct str name, struct str value), void *ctx)
{
    AUTO_BUF name = {0};
    if (is_object(json))
        each(json, all, &name, put, ctx);
}
