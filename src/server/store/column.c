/* SPDX-License-Identifier: MIT */
#include "server/store/column.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"

#include <math.h>

void column_fini(struct column *c)
{
    mem_free(c->rows);
    mem_free(c->kinds);
    mem_free(c->bits);
    buf_fini(&c->text);
    memset(c, 0, sizeof *c);
}

void column_clear(struct column *c)
{
    mem_free(c->rows);
    mem_free(c->kinds);
    c->rows = NULL;
    c->kinds = NULL;
    c->n = 0;
    c->failed = false;
    buf_clear(&c->text);
}

static bool grow(void **p, size_t n, size_t size)
{
    void *bigger = mem_realloc(*p, n * size);
    if (bigger)
        *p = bigger;
    return bigger;
}

int column_reserve(struct column *c, uint32_t n)
{
    if (n <= c->cap)
        return 0;
    uint32_t cap = c->cap ? c->cap : 8;
    while (cap < n)
        cap = cap < UINT32_MAX / 2 ? cap * 2 : n;
    if (!grow((void **)&c->bits, cap, sizeof *c->bits) ||
        (c->rows && !grow((void **)&c->rows, cap, sizeof *c->rows)) ||
        (c->kinds && !grow((void **)&c->kinds, cap, sizeof *c->kinds))) {
        c->failed = true;
        return TARE_ENOMEM;
    }
    c->cap = cap;
    return 0;
}

/* From here on rows (kinds) differ: give each value its own. */
static bool spread_rows(struct column *c)
{
    c->rows = mem_alloc(c->cap * sizeof *c->rows);
    if (!c->rows) {
        c->failed = true;
        return false;
    }
    for (uint32_t i = 0; i < c->n; i++)
        c->rows[i] = i;
    return true;
}

static bool spread_kinds(struct column *c)
{
    c->kinds = mem_alloc(c->cap);
    if (!c->kinds) {
        c->failed = true;
        return false;
    }
    memset(c->kinds, c->kind, c->n);
    return true;
}

static void set_value(struct column *c, uint32_t i, enum value_kind kind, uint64_t bits)
{
    if (i == 0 && !c->kinds)
        c->kind = (uint8_t)kind;
    else if (!c->kinds && kind != c->kind && !spread_kinds(c))
        return;
    if (c->kinds)
        c->kinds[i] = (uint8_t)kind;
    c->bits[i] = bits;
}

void column_add(struct column *c, uint32_t row, enum value_kind kind, uint64_t bits)
{
    if (c->n && column_row(c, c->n - 1) == row) { /* a key twice in one object: the last counts */
        if (c->n == 1 && !c->kinds)
            c->kind = (uint8_t)kind;
        set_value(c, c->n - 1, kind, bits);
        return;
    }
    if (c->n == c->cap && column_reserve(c, c->n + 1) != 0)
        return;
    if (row != c->n && !c->rows && !spread_rows(c))
        return;
    uint32_t i = c->n++;
    if (c->rows)
        c->rows[i] = row;
    set_value(c, i, kind, bits);
}

void column_add_text(struct column *c, uint32_t row, struct str json)
{
    uint64_t at = c->text.len;
    if (at + json.n > UINT32_MAX || buf_put_str(&c->text, json) != 0) {
        c->failed = true;
        return;
    }
    column_add(c, row, V_TEXT, at << 32 | json.n);
}

uint32_t column_find(const struct column *c, uint32_t row)
{
    if (!c->rows)
        return row < c->n ? row : c->n;
    uint32_t lo = 0, hi = c->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->rows[mid] < row)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void column_append(struct column *c, const struct column *src, uint32_t from, uint32_t to, int64_t shift)
{
    c->failed |= src->failed;
    for (uint32_t i = from; i < to; i++) {
        uint32_t row = (uint32_t)(column_row(src, i) + shift);
        if (column_kind(src, i) == V_TEXT)
            column_add_text(c, row, column_text(src, i));
        else
            column_add(c, row, column_kind(src, i), src->bits[i]);
    }
}

/* JSON text with NaN and infinities, where they are not inside strings, put in quotes. */
static int put_strict(struct buf *to, struct str json)
{
    bool in_string = false;
    for (size_t i = 0; i < json.n; i++) {
        char ch = json.p[i];
        if (in_string && ch == '\\' && i + 1 < json.n)
            buf_putc(to, json.p[i++]);
        else if (ch == '"')
            in_string = !in_string;
        struct str rest = str_make(json.p + i, json.n - i);
        size_t n = in_string                          ? 0
                   : str_starts(rest, STR("NaN"))       ? 3
                   : str_starts(rest, STR("Infinity"))  ? 8
                   : str_starts(rest, STR("-Infinity")) ? 9
                                                        : 0;
        if (n) {
            buf_putc(to, '"');
            buf_append(to, rest.p, n);
            buf_putc(to, '"');
            i += n - 1;
        } else {
            buf_putc(to, json.p[i]);
        }
    }
    return to->failed ? TARE_ENOMEM : 0;
}

bool text_number(struct str json, double *to)
{
    if (json.n == 0 || ((json.p[0] < '0' || json.p[0] > '9') && json.p[0] != '-'))
        return false;
    return number_parse_double(json.p, json.n, to) == json.n;
}

int column_put_json(struct buf *to, const struct column *c, uint32_t i, bool strict)
{
    char *at;
    switch (column_kind(c, i)) {
    case V_NULL:
        return buf_append(to, "null", 4);
    case V_FALSE:
        return buf_append(to, "false", 5);
    case V_TRUE:
        return buf_append(to, "true", 4);
    case V_INT:
        at = buf_reserve(to, NUMBER_MAX);
        if (at)
            to->len += number_format_i64(at, (int64_t)c->bits[i]);
        return at ? 0 : TARE_ENOMEM;
    case V_DOUBLE: {
        double d = double_of_bits(c->bits[i]);
        if (strict && !isfinite(d))
            return buf_puts(to, isnan(d) ? "\"NaN\"" : d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        at = buf_reserve(to, NUMBER_MAX);
        if (at)
            to->len += number_format_double(at, d);
        return at ? 0 : TARE_ENOMEM;
    }
    default: {
        struct str json = column_text(c, i);
        if (strict && json.n && json.p[0] != '"')
            return put_strict(to, json);
        return buf_put_str(to, json);
    }
    }
}
