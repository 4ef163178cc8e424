/* SPDX-License-Identifier: MIT */
/* The last lines of a run's captured output, stdout and stderr together.
 *
 * A line is made when its first character appears and may change while it is one of the last
 * CONSOLE_WINDOW lines; then it is settled and leaves. (peer: core/internal/runconsolelogs keeps
 * the same number of lines, of the same length.)
 *
 * A line that was only ever appended to is plain UTF-8 text. One that a terminal rewrites is an
 * array of cells, a column each, with notes beside them for what has no column: colour sequences
 * (kept as they came) and combining characters. Blanks put behind the end of a line are there for
 * the cursor but not written, until something else changes in the line, as the peer has it. Loop
 * thread. */
#ifndef TARE_SERVICE_STREAM_CONSOLE_LINES_H
#define TARE_SERVICE_STREAM_CONSOLE_LINES_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CONSOLE_WINDOW = 32,          /* lines that may still change */
    CONSOLE_MAX_COLS = 4096,      /* characters of a line; what follows is dropped */
    CONSOLE_MAX_WHOLE = 4 << 20,  /* bytes of a line given by write_logs, which is not cut before */
    CONSOLE_MAX_NOTES = 4096,     /* of a line */
    CONSOLE_MAX_NOTE_BYTES = 255, /* of one note */
};

/* What stands beside a cell. */
struct console_note {
    uint32_t col;
    bool after;       /* follows the cell (combining) rather than precedes it (colour) */
    uint8_t n;        /* bytes */
    char *bytes;      /* owned */
};

struct console_line {
    int64_t time_ns; /* when the line was made */
    bool is_error;   /* from stderr */
    bool is_cells;   /* cells and notes hold the line, else text */
    uint32_t n_chars; /* of text, colour sequences not counted */
    uint32_t n_hidden; /* blanks at the end that changed nothing one can see: not written */
    struct buf text;
    uint32_t *cells; /* a code point, or CELL_BLANK, or CELL_MORE */
    uint32_t n_cells, cap_cells;
    struct console_note *notes; /* by column; before a cell's own character, then after */
    uint32_t n_notes, cap_notes;
};

struct console_lines {
    struct console_line line[CONSOLE_WINDOW]; /* line number i is at i % CONSOLE_WINDOW */
    uint64_t first, next;                     /* numbers of the oldest and of the line to come */
    /* A line leaves; `line` is valid during the call. */
    void (*on_settled)(void *owner, const struct console_line *line);
    void *owner;
};

enum {
    CELL_BLANK = 0,           /* nothing was ever written here */
    CELL_MORE = 0x7fffffff,   /* the second column of a wide character, or of a tab */
};

void console_lines_fini(struct console_lines *l);

/* Make a new line and return its number; the oldest settles if the window is full. */
uint64_t console_lines_add(struct console_lines *l, bool is_error, int64_t time_ns);

/* The line of that number, NULL once it has settled. */
struct console_line *console_lines_get(struct console_lines *l, uint64_t number);

/* Let all lines settle. */
void console_lines_settle_all(struct console_lines *l);

/* Back to text form where possible, to save memory. */
void console_lines_trim(struct console_lines *l);

/* Append printable text (no control characters but tabs), cut at CONSOLE_MAX_COLS characters
 * unless `whole`. The line must be in text form. */
void console_line_append(struct console_line *line, struct str text, bool whole);
/* Append a colour sequence to a line in text form. */
void console_line_append_colour(struct console_line *line, struct str seq);

/* The columns of the line; turns it into cells. */
uint32_t console_line_cols(struct console_line *line);

/* These turn the line into cells first. Columns at or over CONSOLE_MAX_COLS are ignored. */
void console_line_set(struct console_line *line, uint32_t col, uint32_t cp, uint32_t width);
void console_line_combine(struct console_line *line, uint32_t col, uint32_t cp);
void console_line_set_colour(struct console_line *line, uint32_t col, struct str seq);
void console_line_drop_colour(struct console_line *line, uint32_t col);
void console_line_erase(struct console_line *line, uint32_t from, uint32_t to);
/* Move the cells of [from, to) left by `by` columns (right if negative). */
void console_line_shift(struct console_line *line, uint32_t from, uint32_t to, int by);
/* Exchange what two lines show. */
void console_line_swap(struct console_line *a, struct console_line *b);

/* Append what the line shows, as UTF-8 with no newline. */
void console_line_write(const struct console_line *line, struct buf *to);

#endif
