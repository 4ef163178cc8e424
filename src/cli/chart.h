/* SPDX-License-Identifier: MIT */
/* Line charts made of characters: braille dots where the terminal speaks UTF-8, else ASCII. */
#ifndef TARE_CLI_CHART_H
#define TARE_CLI_CHART_H

#include "cli/series.h"
#include "cli/term.h"

enum { CHART_MIN_WIDTH = 30 };

/* Lines that a chart with `height` lines of plot takes. */
static inline int chart_lines(int height)
{
    return height + 2;
}

/* A chart that is drawn: a title with the last value, `height` lines of plot with the scale at
 * their left, the x axis. */
struct chart {
    int width, height;           /* in characters, scale included; lines of plot */
    const struct series *series; /* borrowed */
    const char *x_name;          /* what x counts; borrowed */
    unsigned char *dots;         /* a bit field for each character of the plot */
};

void chart_init(struct chart *c, const struct term *t, const struct series *s, const char *x_name,
                int width, int height);
void chart_fini(struct chart *c);

/* Append line `i` (from 0), exactly `width` columns, without a line end. */
void chart_put_line(const struct chart *c, const struct term *t, struct buf *to, int i);

/* A number in at most 9 columns. */
int chart_number(char *to, size_t size, double v);

#endif
