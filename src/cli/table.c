/* SPDX-License-Identifier: MIT */
#include "cli/table.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "cli/value.h"

enum { MAX_ROWS = 20, MAX_COLUMNS = 64, MAX_CELL = 40, MIN_CELL = 1 };

struct cells {
    struct buf text[(MAX_ROWS + 1) * MAX_COLUMNS]; /* row 0 is the head */
    bool numeric[MAX_COLUMNS];
    int width[MAX_COLUMNS];
    size_t n_columns, n_rows, n_more; /* rows that are kept and those that are not */
};

/* One row of the grid from a JSON list. */
static int read_row(const struct term *t, struct cells *c, size_t row, struct str list)
{
    const char *at = json_skip_space(list.p, list.p + list.n), *end = list.p + list.n;
    struct json_item item;
    size_t i = 0;
    if (at >= end || *at++ != '[')
        return TARE_EFORMAT;
    int rc;
    while ((rc = json_next_element(&at, end, &item)) == 1 && i < MAX_COLUMNS) {
        struct buf *cell = &c->text[row * MAX_COLUMNS + i];
        value_put(cell, item.value, true, t->utf8);
        char first = item.value.n ? item.value.p[0] : ' ';
        if (row)
            c->numeric[i] &= first == '-' || (first >= '0' && first <= '9');
        int w = term_columns(t, buf_str(cell));
        if (w > MAX_CELL)
            w = MAX_CELL;
        if (w > c->width[i])
            c->width[i] = w;
        i++;
    }
    if (row == 0)
        c->n_columns = i;
    return rc < 0 ? rc : 0;
}

static int read_table(const struct term *t, struct cells *c, struct str json)
{
    struct str columns = value_member(json, "columns"), data = value_member(json, "data");
    if (!columns.n || !data.n)
        return TARE_EFORMAT;
    for (size_t i = 0; i < MAX_COLUMNS; i++) {
        c->numeric[i] = true;
        c->width[i] = MIN_CELL;
    }
    int rc = read_row(t, c, 0, columns);
    const char *at = json_skip_space(data.p, data.p + data.n), *end = data.p + data.n;
    struct json_item item;
    if (rc == 0 && (at >= end || *at++ != '['))
        rc = TARE_EFORMAT;
    while (rc == 0 && json_next_element(&at, end, &item) == 1) {
        if (c->n_rows == MAX_ROWS)
            c->n_more++;
        else
            rc = read_row(t, c, ++c->n_rows, item.value);
    }
    return rc;
}

static void put_row(const struct term *t, struct buf *to, const struct cells *c, size_t row,
                    size_t n_shown)
{
    buf_puts(to, "  ");
    if (row == 0)
        term_style(t, to, TERM_BOLD);
    for (size_t i = 0; i < n_shown; i++) {
        struct str text = buf_str(&c->text[row * MAX_COLUMNS + i]);
        if (i)
            buf_puts(to, "  ");
        int w = term_columns(t, text);
        if (c->numeric[i] && w < c->width[i])
            term_repeat(to, " ", c->width[i] - w);
        if (c->numeric[i])
            term_text(t, to, text, c->width[i]);
        else
            term_cell(t, to, text, c->width[i]);
    }
    if (row == 0)
        term_plain(t, to);
    buf_putc(to, '\n');
}

int table_put(const struct term *t, struct buf *to, struct str json)
{
    struct cells *c = xmem_calloc(1, sizeof *c);
    int rc = read_table(t, c, json);
    size_t n_shown = 0;
    for (int used = 2; n_shown < c->n_columns; n_shown++) {
        used += c->width[n_shown] + 2;
        if (used > t->width && n_shown)
            break;
    }
    if (rc == 0) {
        for (size_t row = 0; row <= c->n_rows; row++)
            put_row(t, to, c, row, n_shown);
        if (c->n_more)
            buf_printf(to, "  and %zu rows more\n", c->n_more);
        if (n_shown < c->n_columns)
            buf_printf(to, "  and %zu columns more\n", c->n_columns - n_shown);
    }
    for (size_t i = 0; i < sizeof c->text / sizeof *c->text; i++)
        buf_fini(&c->text[i]);
    mem_free(c);
    return rc;
}
