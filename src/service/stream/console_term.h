/* SPDX-License-Identifier: MIT */
/* What a terminal would show of one captured stream (stdout or stderr).
 *
 * The text goes onto the run's lines as on a terminal of CONSOLE_WINDOW rows and
 * CONSOLE_MAX_COLS columns. Loop thread. */
#ifndef TARE_SERVICE_STREAM_CONSOLE_TERM_H
#define TARE_SERVICE_STREAM_CONSOLE_TERM_H

#include "service/stream/console_lines.h"

struct VTerm;
struct VTermState;

enum { CONSOLE_SEQ_MAX = 64 };

struct console_term {
    struct console_lines *lines;    /* borrowed, shared with the other stream */
    bool is_error;                  /* the lines it makes are stderr's */
    uint64_t view[CONSOLE_WINDOW];  /* numbers of the lines in view, from the top */
    int n_view;                     /* how many rows have a line yet */
    int row;                        /* of the cursor, while plain */
    bool moving;                    /* libvterm holds the cursor; else text is only appended */
    bool keep;                      /* it holds state beyond the cursor: never let it go */
    bool other_screen;              /* the alternate screen is shown: nothing reaches the lines */
    struct VTerm *vt;               /* NULL until something moves the cursor */
    struct VTermState *state;       /* part of vt */
    int64_t now_ns;                 /* during console_term_write */
    int parse;                      /* where in an escape sequence the last text ended */
    int n_string;                   /* bytes of a control string skipped so far */
    int n_seq;
    char seq[CONSOLE_SEQ_MAX];      /* the sequence so far */
    int colour_row, colour_col;     /* where the colours below stand */
    int n_colour;                   /* 0: none since the cursor moved */
    char colour[CONSOLE_MAX_NOTE_BYTES];
};

void console_term_init(struct console_term *t, struct console_lines *lines, bool is_error);
void console_term_fini(struct console_term *t);

/* Take captured output. `text` should be UTF-8 (what is not shows as U+FFFD) and may end anywhere,
 * but for the middle of a character. */
void console_term_write(struct console_term *t, struct str text, int64_t now_ns);

/* Nothing came for a while: free what can be made again. */
void console_term_trim(struct console_term *t);

#endif
