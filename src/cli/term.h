/* SPDX-License-Identifier: MIT */
/* What the terminal can show, and text made fit for it. Texts of a run come from outside: control
 * characters in them must not reach the terminal. One thread. */
#ifndef TARE_CLI_TERM_H
#define TARE_CLI_TERM_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdio.h>

struct term {
    bool tty;    /* standard output is a terminal */
    bool colour; /* a terminal that is not dumb, and NO_COLOR is not set */
    bool utf8;   /* the locale says UTF-8; else everything is plain ASCII */
    int width;   /* columns: COLUMNS, or the terminal's, or 80; 20 to 400 */
};

void term_init(struct term *t);

enum term_style { TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN, TERM_YELLOW, TERM_CYAN };

/* Switch a style on (nothing without colours); term_plain switches all off. */
void term_style(const struct term *t, struct buf *to, enum term_style style);
void term_plain(const struct term *t, struct buf *to);

/* Append `text` made safe, at most `max` columns wide (cut ends with an ellipsis). Control
 * characters, line ends among them, become spaces or a replacement. Returns its columns. */
int term_text(const struct term *t, struct buf *to, struct str text, int max);

/* The same, filled with spaces to exactly `columns`. */
void term_cell(const struct term *t, struct buf *to, struct str text, int columns);

/* Columns of `text` when shown whole. */
int term_columns(const struct term *t, struct str text);

void term_repeat(struct buf *to, const char *z, int times);

/* Write to standard output and empty `b`. */
void term_flush(struct buf *b);

#endif
