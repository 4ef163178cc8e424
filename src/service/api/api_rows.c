/* SPDX-License-Identifier: MIT */
#include "service/api/api_rows.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/number.h"
#include "record/wire.h"

#include <stdio.h>
#include <stdlib.h>

static int by_step(const void *a, const void *b)
{
    const struct api_row *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return x->nth < y->nth ? -1 : x->nth > y->nth;
}

struct api_row *api_rows_add(struct api_rows *rows)
{
    if (rows->n == rows->cap) {
        rows->cap = rows->cap ? rows->cap * 2 : 64;
        rows->v = xmem_realloc(rows->v, rows->cap * sizeof *rows->v);
    }
    struct api_row *r = &rows->v[rows->n];
    *r = (struct api_row){.nth = rows->n++};
    return r;
}

void api_row_put(struct api_row *row, struct str key, struct str value)
{
    char text[24];
    double step;
    if (str_eqz(key, "_step") && number_parse_double(value.p, value.n, &step) == value.n) {
        row->step = step > -9e18 && step < 9e18 ? (int64_t)step : 0;
        if (number_parse_i64(value.p, value.n, &row->step) != value.n)
            value = str_make(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)row->step));
    }
    size_t mark = wire_buf_begin(&row->items, 1);
    wire_buf_bytes(&row->items, 1, key);
    wire_buf_bytes(&row->items, 16, value);
    wire_buf_end(&row->items, mark);
}

bool api_rows_add_json(struct api_rows *rows, struct str object)
{
    const char *end = object.p + object.n, *at = object.n ? json_skip_space(object.p, end) : end;
    struct json_item item;
    int rc;
    if (at == end || *at++ != '{')
        return false;
    struct api_row *r = api_rows_add(rows);
    while ((rc = json_next_member(&at, end, &item)) == 1) {
        AUTO_BUF key = {0};
        json_unescape(&key, item.key);
        api_row_put(r, buf_str(&key), item.value);
    }
    return rc == 0;
}

void api_rows_put(struct buf *to, struct api_rows *rows)
{
    if (rows->n)
        qsort(rows->v, rows->n, sizeof *rows->v, by_step);
    for (size_t i = 0; i < rows->n; i++)
        wire_buf_bytes(to, 1, buf_str(&rows->v[i].items));
}

void api_rows_fini(struct api_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        buf_fini(&rows->v[i].items);
    mem_free(rows->v);
    *rows = (struct api_rows){0};
}
