/* SPDX-License-Identifier: MIT */
#include "service/stream/console_lines.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <string.h>

static void drop_notes(struct console_line *line)
{
    for (uint32_t i = 0; i < line->n_notes; i++)
        mem_free(line->notes[i].bytes);
    line->n_notes = 0;
}

/* Empty the line; it stays where it is. */
static void line_reset(struct console_line *line)
{
    drop_notes(line);
    mem_free(line->notes);
    mem_free(line->cells);
    buf_fini(&line->text);
    int64_t time_ns = line->time_ns;
    bool is_error = line->is_error;
    memset(line, 0, sizeof *line);
    line->time_ns = time_ns;
    line->is_error = is_error;
}

void console_lines_fini(struct console_lines *l)
{
    for (int i = 0; i < CONSOLE_WINDOW; i++)
        line_reset(&l->line[i]);
    l->first = l->next = 0;
}

static void settle_oldest(struct console_lines *l)
{
    struct console_line *line = &l->line[l->first % CONSOLE_WINDOW];
    if (l->on_settled)
        l->on_settled(l->owner, line);
    /* A short text keeps its memory for the line that takes the place. */
    if (line->is_cells || line->text.cap > 512)
        line_reset(line);
    buf_clear(&line->text);
    line->n_chars = line->n_hidden = 0;
    l->first++;
}

uint64_t console_lines_add(struct console_lines *l, bool is_error, int64_t time_ns)
{
    if (l->next - l->first == CONSOLE_WINDOW)
        settle_oldest(l);
    struct console_line *line = &l->line[l->next % CONSOLE_WINDOW];
    line->is_error = is_error;
    line->time_ns = time_ns;
    return l->next++;
}

struct console_line *console_lines_get(struct console_lines *l, uint64_t number)
{
    if (number < l->first || number >= l->next)
        return NULL;
    return &l->line[number % CONSOLE_WINDOW];
}

void console_lines_settle_all(struct console_lines *l)
{
    while (l->first < l->next)
        settle_oldest(l);
}

void console_line_append(struct console_line *line, struct str text, bool whole)
{
    size_t at = 0, n_chars = line->n_chars;
    if (text.n > CONSOLE_MAX_WHOLE)
        text.n = CONSOLE_MAX_WHOLE;
    while (at < text.n && (whole || n_chars < CONSOLE_MAX_COLS)) {
        at++;
        while (at < text.n && ((unsigned char)text.p[at] & 0xC0) == 0x80)
            at++;
        n_chars++;
    }
    line->n_chars = (uint32_t)n_chars;
    buf_append(&line->text, text.p, at);
    size_t n_blanks = 0;
    while (n_blanks < at && text.p[at - n_blanks - 1] == ' ')
        n_blanks++;
    line->n_hidden = (uint32_t)(whole ? 0 : n_blanks < at ? n_blanks : line->n_hidden + n_blanks);
}

void console_line_append_colour(struct console_line *line, struct str seq)
{
    if (line->n_notes < CONSOLE_MAX_NOTES && line->text.len < 16 * CONSOLE_MAX_COLS)
        buf_append(&line->text, seq.p, seq.n);
    line->n_hidden = 0;
}

/* Where the note (col, after) is, or would be. */
static uint32_t note_place(const struct console_line *line, uint32_t col, bool after)
{
    uint32_t i = line->n_notes;
    while (i > 0) {
        const struct console_note *n = &line->notes[i - 1];
        if (n->col < col || (n->col == col && n->after < after))
            break;
        i--;
    }
    return i;
}

static struct console_note *note_find(struct console_line *line, uint32_t col, bool after)
{
    uint32_t i = note_place(line, col, after);
    if (i < line->n_notes && line->notes[i].col == col && line->notes[i].after == after)
        return &line->notes[i];
    return NULL;
}

static void note_drop(struct console_line *line, struct console_note *note)
{
    mem_free(note->bytes);
    size_t i = (size_t)(note - line->notes);
    memmove(note, note + 1, (line->n_notes - i - 1) * sizeof *note);
    line->n_notes--;
}

static struct console_note *note_add(struct console_line *line, uint32_t col, bool after)
{
    if (line->n_notes >= CONSOLE_MAX_NOTES)
        return NULL;
    if (line->n_notes == line->cap_notes) {
        uint32_t cap = line->cap_notes ? 2 * line->cap_notes : 4;
        line->notes = xmem_realloc(line->notes, cap * sizeof *line->notes);
        line->cap_notes = cap;
    }
    uint32_t i = note_place(line, col, after);
    memmove(&line->notes[i + 1], &line->notes[i], (line->n_notes - i) * sizeof *line->notes);
    line->notes[i] = (struct console_note){.col = col, .after = after};
    line->n_notes++;
    return &line->notes[i];
}

/* Put `bytes` in the note at (col, after), behind what it has if `more`. */
static void note_put(struct console_line *line, uint32_t col, bool after, struct str bytes, bool more)
{
    struct console_note *note = note_find(line, col, after);
    size_t have = note && more ? note->n : 0;
    if (have + bytes.n > CONSOLE_MAX_NOTE_BYTES || (!note && !(note = note_add(line, col, after))))
        return;
    note->bytes = xmem_realloc(note->bytes, have + bytes.n + 1);
    memcpy(note->bytes + have, bytes.p, bytes.n);
    note->n = (uint8_t)(have + bytes.n);
}

static void drop_notes_in(struct console_line *line, uint32_t from, uint32_t to)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < line->n_notes; i++) {
        struct console_note *n = &line->notes[i];
        if (n->col >= from && n->col < to)
            mem_free(n->bytes);
        else
            line->notes[kept++] = *n;
    }
    line->n_notes = kept;
}

static void grow_cells(struct console_line *line, uint32_t n)
{
    if (n > line->cap_cells) {
        uint32_t cap = line->cap_cells ? line->cap_cells : 128;
        while (cap < n)
            cap *= 2;
        line->cells = xmem_realloc(line->cells, cap * sizeof *line->cells);
        line->cap_cells = cap;
    }
    while (line->n_cells < n)
        line->cells[line->n_cells++] = CELL_BLANK;
}

/* The bytes of the colour sequence at the start of `s`, 0 if there is none. */
static size_t colour_length(struct str s)
{
    if (s.n < 3 || s.p[0] != '\x1b' || s.p[1] != '[')
        return 0;
    size_t i = 2;
    while (i < s.n && (unsigned char)s.p[i] >= 0x20 && (unsigned char)s.p[i] < 0x40)
        i++;
    return i < s.n && s.p[i] == 'm' ? i + 1 : 0;
}

static uint32_t tab_stop(uint32_t col)
{
    return (col / 8 + 1) * 8;
}

/* Put one character of the text at `col`; returns the column after it. */
static uint32_t thaw_char(struct console_line *line, uint32_t col, uint32_t cp)
{
    int width = utf8_width(cp);
    if (width == 0 && col > 0) {
        console_line_combine(line, col - 1, cp);
        return col;
    }
    uint32_t next = cp == '\t' ? tab_stop(col) : col + (width == 2 ? 2 : 1);
    console_line_set(line, col, cp, next - col);
    return next;
}

static void thaw(struct console_line *line)
{
    if (line->is_cells)
        return;
    struct buf text = line->text;
    uint32_t n_hidden = line->n_hidden;
    line->text = (struct buf){0};
    line->is_cells = true;
    uint32_t col = 0;
    for (size_t at = 0; at < text.len;) {
        struct str rest = {text.data + at, text.len - at};
        size_t n = colour_length(rest);
        if (n > 0) {
            note_put(line, col, false, (struct str){rest.p, n}, true);
        } else {
            uint32_t cp;
            n = utf8_decode(rest.p, rest.n, &cp);
            col = thaw_char(line, col, cp);
        }
        at += n;
    }
    line->n_hidden = n_hidden;
    buf_fini(&text);
}

void console_lines_trim(struct console_lines *l)
{
    for (uint64_t i = l->first; i < l->next; i++) {
        struct console_line *line = console_lines_get(l, i);
        if (!line->is_cells)
            continue;
        struct buf text = {0};
        uint32_t n_chars = line->n_cells, n_hidden = line->n_hidden;
        line->n_hidden = 0;
        console_line_write(line, &text);
        line->n_hidden = n_hidden;
        if (text.failed) {
            buf_fini(&text);
            continue;
        }
        line_reset(line);
        line->text = text;
        line->n_chars = n_chars;
        line->n_hidden = n_hidden;
    }
}

uint32_t console_line_cols(struct console_line *line)
{
    thaw(line);
    return line->n_cells;
}

/* A character of more than one column loses a part: the rest of it becomes blank. */
static void break_char(struct console_line *line, uint32_t col)
{
    uint32_t from = col;
    while (from > 0 && line->cells[from] == CELL_MORE)
        from--;
    uint32_t to = col + 1;
    while (to < line->n_cells && line->cells[to] == CELL_MORE)
        to++;
    if (to - from < 2)
        return;
    for (uint32_t i = from; i < to; i++)
        line->cells[i] = CELL_BLANK;
}

void console_line_set(struct console_line *line, uint32_t col, uint32_t cp, uint32_t width)
{
    thaw(line);
    if (width == 0 || col + width > CONSOLE_MAX_COLS)
        return;
    uint32_t n_before = line->n_cells;
    grow_cells(line, col + width);
    bool same = cp == ' ' && (line->cells[col] == ' ' || line->cells[col] == CELL_BLANK);
    same |= line->cells[col] == cp && width == 1;
    line->n_hidden = same ? line->n_hidden + (line->n_cells - n_before) : 0;
    for (uint32_t i = col; i < col + width; i++) {
        break_char(line, i);
        line->cells[i] = i == col ? cp : CELL_MORE;
        struct console_note *note = line->n_notes ? note_find(line, i, true) : NULL;
        if (note)
            note_drop(line, note);
    }
}

void console_line_combine(struct console_line *line, uint32_t col, uint32_t cp)
{
    thaw(line);
    char bytes[UTF8_MAX];
    size_t n = utf8_encode(bytes, cp);
    while (col > 0 && col < line->n_cells && line->cells[col] == CELL_MORE)
        col--;
    if (col < line->n_cells)
        note_put(line, col, true, (struct str){bytes, n}, true);
    line->n_hidden = 0;
}

void console_line_set_colour(struct console_line *line, uint32_t col, struct str seq)
{
    thaw(line);
    if (col <= CONSOLE_MAX_COLS)
        note_put(line, col, false, seq, false);
    line->n_hidden = 0;
}

void console_line_drop_colour(struct console_line *line, uint32_t col)
{
    struct console_note *note = line->n_notes ? note_find(line, col, false) : NULL;
    if (note)
        note_drop(line, note);
}

void console_line_erase(struct console_line *line, uint32_t from, uint32_t to)
{
    thaw(line);
    if (to >= line->n_cells)
        drop_notes_in(line, from, UINT32_MAX);
    else
        drop_notes_in(line, from, to);
    if (from >= line->n_cells)
        return;
    if (to > line->n_cells)
        to = line->n_cells;
    for (uint32_t i = from; i < to; i++) {
        break_char(line, i);
        line->cells[i] = CELL_BLANK;
    }
    if (to == line->n_cells)
        line->n_cells = from;
    line->n_hidden = 0;
}

static uint32_t cell_at(const struct console_line *line, int64_t col, uint32_t from, uint32_t to)
{
    if (col < from || col >= to || col >= line->n_cells)
        return CELL_BLANK;
    uint32_t c = line->cells[col];
    return c == CELL_MORE || c == '\t' ? CELL_BLANK : c;
}

void console_line_shift(struct console_line *line, uint32_t from, uint32_t to, int by)
{
    thaw(line);
    if (to > CONSOLE_MAX_COLS)
        to = CONSOLE_MAX_COLS;
    if (from >= line->n_cells || from >= to)
        return;
    drop_notes_in(line, from, to); /* colours do not survive this */
    uint32_t grown = by < 0 ? line->n_cells + (uint32_t)-by : line->n_cells;
    if (to > grown)
        to = grown;
    if (to > line->n_cells)
        grow_cells(line, to);
    if (by > 0)
        for (uint32_t i = from; i < to; i++)
            line->cells[i] = cell_at(line, (int64_t)i + by, from, to);
    else
        for (uint32_t i = to; i-- > from;)
            line->cells[i] = cell_at(line, (int64_t)i + by, from, to);
    for (uint32_t i = to; i < line->n_cells && line->cells[i] == CELL_MORE; i++)
        line->cells[i] = CELL_BLANK;
    while (line->n_cells > 0 && line->cells[line->n_cells - 1] == CELL_BLANK)
        line->n_cells--;
    line->n_hidden = 0;
}

void console_line_swap(struct console_line *a, struct console_line *b)
{
    struct console_line was = *a;
    *a = *b;
    *b = was;
    b->time_ns = a->time_ns;
    b->is_error = a->is_error;
    a->time_ns = was.time_ns;
    a->is_error = was.is_error;
}

static void write_cell(struct buf *to, uint32_t cell)
{
    if (cell == CELL_BLANK) {
        buf_putc(to, ' ');
    } else if (cell != CELL_MORE) {
        char bytes[UTF8_MAX];
        buf_append(to, bytes, utf8_encode(bytes, cell));
    }
}

void console_line_write(const struct console_line *line, struct buf *to)
{
    if (!line->is_cells) {
        buf_append(to, line->text.data, line->text.len - line->n_hidden);
        return;
    }
    uint32_t note = 0, n_shown = line->n_cells - line->n_hidden;
    for (uint32_t col = 0;; col++) {
        while (note < line->n_notes && line->notes[note].col <= col && !line->notes[note].after) {
            buf_append(to, line->notes[note].bytes, line->notes[note].n);
            note++;
        }
        if (col >= n_shown)
            break;
        write_cell(to, line->cells[col]);
        while (note < line->n_notes && line->notes[note].col == col && line->notes[note].after) {
            buf_append(to, line->notes[note].bytes, line->notes[note].n);
            note++;
        }
    }
    for (; note < line->n_notes; note++)
        buf_append(to, line->notes[note].bytes, line->notes[note].n);
}
