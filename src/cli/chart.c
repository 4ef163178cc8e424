/* SPDX-License-Identifier: MIT */
/* The plot is a grid of dots: with UTF-8 each character is a braille pattern of 2 x 4 dots, else
 * one dot ('*'). A point of the series sets the dots from its smallest to its largest value and is
 * joined with the point before by a straight line. */
#include "cli/chart.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCALE_COLUMNS = 10, BRAILLE = 0x2800 };

static int plot_columns(const struct chart *c)
{
    return c->width - SCALE_COLUMNS;
}

int chart_number(char *to, size_t size, double v)
{
    double a = fabs(v);
    if (v == 0)
        return snprintf(to, size, "0");
    if (a >= 1e6 || a < 1e-3)
        return snprintf(to, size, "%.2e", v);
    if (v == trunc(v))
        return snprintf(to, size, "%.0f", v);
    return snprintf(to, size, "%.4g", v);
}

struct canvas {
    unsigned char *dots;
    int columns, rows; /* of characters */
    int across, down;  /* dots in a character */
};

static void set_dot(const struct canvas *v, int x, int y)
{
    static const unsigned char bits[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    if (x < 0 || y < 0 || x >= v->columns * v->across || y >= v->rows * v->down)
        return;
    v->dots[(y / v->down) * v->columns + x / v->across] |= bits[y % v->down][x % v->across];
}

static void line(const struct canvas *v, int x0, int y0, int x1, int y1)
{
    int dx = abs(x1 - x0), dy = abs(y1 - y0), n = dx > dy ? dx : dy;
    for (int i = 0; i <= n; i++)
        set_dot(v, x0 + (n ? (x1 - x0) * i / n : 0), y0 + (n ? (y1 - y0) * i / n : 0));
}

static int place(double v, double lo, double hi, int n)
{
    double at = hi > lo ? (v - lo) / (hi - lo) : 0.5;
    return (int)lround(at * (n - 1));
}

static void draw(struct chart *c, const struct canvas *v)
{
    const struct series *s = c->series;
    int across = v->columns * v->across, down = v->rows * v->down, x0 = 0, y0 = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct series_point *p = &s->at[i];
        int x = place(p->x, s->x_lo, s->x_hi, across);
        int y = down - 1 - place(p->last, s->lo, s->hi, down);
        line(v, x, down - 1 - place(p->lo, s->lo, s->hi, down), x,
             down - 1 - place(p->hi, s->lo, s->hi, down));
        if (i)
            line(v, x0, y0, x, y);
        x0 = x;
        y0 = y;
    }
}

void chart_init(struct chart *c, const struct term *t, const struct series *s, const char *x_name,
                int width, int height)
{
    *c = (struct chart){width, height, s, x_name, NULL};
    int columns = plot_columns(c);
    c->dots = xmem_calloc((size_t)(columns * height), 1);
    struct canvas v = {c->dots, columns, height, t->utf8 ? 2 : 1, t->utf8 ? 4 : 1};
    draw(c, &v);
}

void chart_fini(struct chart *c)
{
    mem_free(c->dots);
    c->dots = NULL;
}

static void put_title(const struct chart *c, const struct term *t, struct buf *to)
{
    char last[40];
    int n = chart_number(last, sizeof last, c->series->last);
    term_style(t, to, TERM_BOLD);
    term_cell(t, to, str_of(c->series->name), c->width - n - 1);
    term_plain(t, to);
    buf_printf(to, " %s", last);
}

static void put_scale(const struct chart *c, const struct term *t, struct buf *to, int row)
{
    char label[40] = "";
    const struct series *s = c->series;
    if (row == 0)
        chart_number(label, sizeof label, s->hi);
    else if (row == c->height - 1)
        chart_number(label, sizeof label, s->lo);
    else if (row == c->height / 2 && c->height > 4)
        chart_number(label, sizeof label, s->hi - (s->hi - s->lo) * row / (c->height - 1));
    term_style(t, to, TERM_DIM);
    buf_printf(to, "%*.*s", SCALE_COLUMNS - 1, SCALE_COLUMNS - 1, label);
    if (t->utf8)
        buf_puts(to, *label ? "\u2524" : "\u2502");
    else
        buf_putc(to, *label ? '+' : '|');
    term_plain(t, to);
}

static void put_plot(const struct chart *c, const struct term *t, struct buf *to, int row)
{
    put_scale(c, t, to, row);
    term_style(t, to, TERM_CYAN);
    for (int i = 0; i < plot_columns(c); i++) {
        unsigned char dots = c->dots[row * plot_columns(c) + i];
        char bytes[UTF8_MAX];
        if (!dots)
            buf_putc(to, ' ');
        else if (!t->utf8)
            buf_putc(to, '*');
        else
            buf_append(to, bytes, utf8_encode(bytes, BRAILLE + dots));
    }
    term_plain(t, to);
}

static void put_axis(const struct chart *c, const struct term *t, struct buf *to)
{
    char lo[40], hi[40];
    int n = chart_number(lo, sizeof lo, c->series->x_lo);
    int m = chart_number(hi, sizeof hi, c->series->x_hi);
    int middle = plot_columns(c) - n - m;
    AUTO_BUF name = {0};
    buf_printf(&name, " %s ", c->x_name);
    int columns = term_columns(t, buf_str(&name));
    term_style(t, to, TERM_DIM);
    term_repeat(to, " ", SCALE_COLUMNS);
    buf_puts(to, lo);
    if (columns > middle) {
        term_repeat(to, " ", middle);
    } else {
        term_repeat(to, t->utf8 ? "\u2500" : "-", (middle - columns) / 2);
        term_text(t, to, buf_str(&name), columns);
        term_repeat(to, t->utf8 ? "\u2500" : "-", middle - columns - (middle - columns) / 2);
    }
    buf_puts(to, hi);
    term_plain(t, to);
}

void chart_put_line(const struct chart *c, const struct term *t, struct buf *to, int i)
{
    if (i == 0)
        put_title(c, t, to);
    else if (i <= c->height)
        put_plot(c, t, to, i - 1);
    else
        put_axis(c, t, to);
}
