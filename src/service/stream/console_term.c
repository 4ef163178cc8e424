/* SPDX-License-Identifier: MIT */
/* A terminal over the run's last lines.
 *
 * Most output is plain: text and newlines. It is appended to the newest line, and no terminal
 * exists. The first character that moves the cursor makes a libvterm *state* (2 KB; its screen
 * layer, which would hold 32 x 4096 cells, is not used): libvterm says which glyph stands where,
 * what is erased and what scrolls, and the lines themselves are the screen. When a newline
 * brings the cursor back below everything, output is plain again.
 *
 * Peer: core/internal/terminalemulator knows \r, \n, cursor up and cursor down, in a view of 32
 * rows whose lines are made when their first character comes (so a newline alone makes none, and
 * at most 31 blank lines stand between two others). All that is kept here. It lets every other
 * control character and sequence stand in the text; here they act as on a terminal, but for
 * colours, which are kept as they came: they take no column and stand before the character that
 * they colour. Tabs stay tabs.
 *
 * Taken out before libvterm sees them: colours; control strings (titles, links); questions to the
 * terminal, which nobody could answer; modes of keyboard, mouse and cursor shape. */
#include "service/stream/console_term.h"

#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vterm.h>

enum { GROUND, ESCAPE, ESCAPE_MORE, CSI, STRING, STRING_ESCAPE };
enum { STRING_MAX = 4096 }; /* a control string that does not end by then is none */

/* One row more than can be kept, so that a full line wraps nowhere. */
enum { ROWS = CONSOLE_WINDOW, COLS = CONSOLE_MAX_COLS + 1 };

void console_term_init(struct console_term *t, struct console_lines *lines, bool is_error)
{
    memset(t, 0, sizeof *t);
    t->lines = lines;
    t->is_error = is_error;
}

void console_term_fini(struct console_term *t)
{
    if (t->vt)
        vterm_free(t->vt);
    t->vt = NULL;
}

static void scroll_view(struct console_term *t)
{
    if (t->n_view > 0) {
        t->n_view--;
        memmove(t->view, t->view + 1, (size_t)t->n_view * sizeof *t->view);
    }
}

/* The line at `row`; it and those above it are made if need be. NULL if it has settled. */
static struct console_line *line_at(struct console_term *t, int row)
{
    while (t->n_view <= row)
        t->view[t->n_view++] = console_lines_add(t->lines, t->is_error, t->now_ns);
    return console_lines_get(t->lines, t->view[row]);
}

/* The same, NULL if it was not made yet. */
static struct console_line *line_if(struct console_term *t, int row)
{
    return row < t->n_view ? console_lines_get(t->lines, t->view[row]) : NULL;
}

/* ---- what libvterm tells us ---- */

static int on_putglyph(VTermGlyphInfo *info, VTermPos pos, void *user)
{
    struct console_term *t = user;
    if (t->other_screen || pos.row >= ROWS || pos.col >= CONSOLE_MAX_COLS)
        return 1;
    struct console_line *line = line_at(t, pos.row);
    if (!line)
        return 1;
    uint32_t col = (uint32_t)pos.col;
    console_line_set(line, col, info->chars[0], info->width > 1 ? 2 : 1);
    for (int i = 1; info->chars[0] && info->chars[i]; i++)
        console_line_combine(line, col, info->chars[i]);
    if (t->n_colour == 0 || t->colour_row != pos.row || t->colour_col != pos.col)
        console_line_drop_colour(line, col);
    t->n_colour = 0;
    return 1;
}

static int on_erase(VTermRect rect, int selective, void *user)
{
    struct console_term *t = user;
    for (int row = rect.start_row; row < rect.end_row && !t->other_screen; row++) {
        struct console_line *line = line_if(t, row);
        if (line)
            console_line_erase(line, (uint32_t)rect.start_col, (uint32_t)rect.end_col);
    }
    return 1;
}

/* What stands at `from` goes to `to`, whose own goes. */
static void move_row(struct console_term *t, int from, int to)
{
    struct console_line *a = line_if(t, from), *b = line_if(t, to);
    if (b)
        console_line_erase(b, 0, UINT32_MAX);
    if (a && !b && from < t->n_view && console_line_cols(a) > 0)
        b = line_at(t, to), a = line_if(t, from);
    if (a && b)
        console_line_swap(a, b);
}

static void scroll_rows(struct console_term *t, int top, int bottom, int down)
{
    if (down > 0) {
        for (int row = top; row + down < bottom; row++)
            move_row(t, row + down, row);
    } else {
        for (int row = bottom - 1; row + down >= top; row--)
            move_row(t, row + down, row);
    }
    int from = down > 0 ? bottom - down : top;
    int to = down > 0 ? bottom : top - down;
    for (int row = from < top ? top : from; row < to && row < bottom; row++)
        if (line_if(t, row))
            console_line_erase(line_if(t, row), 0, UINT32_MAX);
}

static int on_scrollrect(VTermRect rect, int downward, int rightward, void *user)
{
    struct console_term *t = user;
    if (t->other_screen)
        return 1;
    bool whole_rows = rect.start_col == 0 && rect.end_col >= COLS;
    if (whole_rows && rightward == 0 && downward > 0 && rect.start_row == 0 && rect.end_row >= ROWS) {
        for (int i = 0; i < downward && i < ROWS; i++)
            scroll_view(t);
    } else if (whole_rows && rightward == 0 && downward != 0) {
        scroll_rows(t, rect.start_row, rect.end_row, downward);
    } else if (downward == 0 && rightward != 0) {
        for (int row = rect.start_row; row < rect.end_row; row++)
            if (line_if(t, row))
                console_line_shift(line_if(t, row), (uint32_t)rect.start_col,
                                   (uint32_t)rect.end_col, rightward);
    }
    return 1;
}

static int on_termprop(VTermProp prop, VTermValue *val, void *user)
{
    struct console_term *t = user;
    if (prop == VTERM_PROP_ALTSCREEN)
        t->other_screen = val->boolean;
    return 1;
}

static const VTermStateCallbacks callbacks = {
    .putglyph = on_putglyph,
    .scrollrect = on_scrollrect,
    .erase = on_erase,
    .settermprop = on_termprop,
};

/* ---- plain and moving ---- */

static void feed(struct console_term *t, const char *p, size_t n)
{
    if (n > 0)
        vterm_input_write(t->vt, p, n);
}

static void start_vterm(struct console_term *t)
{
    t->vt = vterm_new(ROWS, COLS);
    vterm_set_utf8(t->vt, 1);
    t->state = vterm_obtain_state(t->vt);
    vterm_state_reset(t->state, 1);
    vterm_state_set_callbacks(t->state, &callbacks, t);
    feed(t, "\x1b[?7l", 5); /* no wrapping */
}

/* From here on libvterm has the cursor. */
static void start_moving(struct console_term *t)
{
    if (t->moving)
        return;
    if (!t->vt)
        start_vterm(t);
    struct console_line *line = line_if(t, t->row);
    uint32_t col = line ? console_line_cols(line) : 0;
    char to[32];
    int n = snprintf(to, sizeof to, "\x1b[%d;%uH", t->row + 1, col + 1);
    feed(t, to, (size_t)n);
    t->n_colour = 0;
    t->moving = true;
}

static void next_row(struct console_term *t)
{
    if (t->moving) {
        t->n_colour = 0;
        feed(t, "\r\n", 2);
        VTermPos pos;
        vterm_state_get_cursorpos(t->state, &pos);
        t->row = pos.row;
        t->moving = t->keep || t->row < t->n_view;
    } else if (++t->row >= ROWS) {
        scroll_view(t);
        t->row--;
    }
}

static void control(struct console_term *t, const char *p, size_t n)
{
    start_moving(t);
    t->n_colour = 0;
    feed(t, p, n);
}

static void tab(struct console_term *t)
{
    if (!t->moving) {
        struct console_line *line = line_at(t, t->row);
        if (line)
            console_line_append(line, STR("\t"), false);
        return;
    }
    VTermPos pos;
    vterm_state_get_cursorpos(t->state, &pos);
    struct console_line *line = t->other_screen ? NULL : line_at(t, pos.row);
    uint32_t col = (uint32_t)pos.col, stop = (col / 8 + 1) * 8;
    if (line && console_line_cols(line) <= col && stop <= CONSOLE_MAX_COLS)
        console_line_set(line, col, '\t', stop - col);
    control(t, "\t", 1);
}

static void text(struct console_term *t, const char *p, size_t n)
{
    if (t->moving) {
        feed(t, p, n);
        return;
    }
    struct console_line *line = line_at(t, t->row);
    if (line)
        console_line_append(line, (struct str){p, n}, false);
}

static void colour(struct console_term *t, struct str seq)
{
    if (!t->moving) {
        struct console_line *line = line_at(t, t->row);
        if (line)
            console_line_append_colour(line, seq);
        return;
    }
    VTermPos pos;
    vterm_state_get_cursorpos(t->state, &pos);
    struct console_line *line = t->other_screen ? NULL : line_at(t, pos.row);
    if (pos.row != t->colour_row || pos.col != t->colour_col ||
        (size_t)t->n_colour + seq.n > sizeof t->colour)
        t->n_colour = 0;
    memcpy(t->colour + t->n_colour, seq.p, seq.n);
    t->n_colour += (int)seq.n;
    t->colour_row = pos.row;
    t->colour_col = pos.col;
    if (line)
        console_line_set_colour(line, (uint32_t)pos.col,
                                (struct str){t->colour, (size_t)t->n_colour});
}

/* ---- escape sequences ---- */

/* Cursor down by `n` rows. Below the last row there is always another: to the program, the view's
 * end is not the terminal's. */
static void cursor_down(struct console_term *t, int n)
{
    VTermPos pos;
    char seq[16];
    start_moving(t);
    t->n_colour = 0;
    vterm_state_get_cursorpos(t->state, &pos);
    int in_view = n < ROWS - 1 - pos.row ? n : ROWS - 1 - pos.row;
    if (in_view > 0)
        feed(t, seq, (size_t)snprintf(seq, sizeof seq, "\x1b[%dB", in_view));
    for (int i = in_view; i < n && i < in_view + ROWS; i++)
        feed(t, "\n", 1);
}

static bool is_one_of(char c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

/* Modes that change what is shown: insert, origin, wrap, margins, the other screen. */
static bool mode_matters(struct str seq)
{
    static const char *const modes[] = {"\x1b[4", "\x1b[?6", "\x1b[?69", "\x1b[?47", "\x1b[?1047",
                                        "\x1b[?1048", "\x1b[?1049"};
    struct str body = {seq.p, seq.n - 1};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (str_eqz(body, modes[i]))
            return true;
    return memchr(seq.p, ';', seq.n) != NULL;
}

/* Whether the parameters are what libvterm can be trusted with: a few small numbers. Its own
 * parser writes past its array where there are more (0.1.4), and loops for large ones. */
static bool is_tame(struct str seq)
{
    int n_digits = 0, n_params = 0;
    for (size_t i = seq.p[2] == '?' ? 3 : 2; i + 1 < seq.n; i++) {
        n_digits = seq.p[i] == ';' ? 0 : n_digits + 1;
        n_params += seq.p[i] == ';';
        if (!is_one_of(seq.p[i], "0123456789;") || n_digits > 5 || n_params > 7)
            return false;
    }
    return true;
}

static void run_csi(struct console_term *t)
{
    struct str seq = {t->seq, (size_t)t->n_seq};
    char final = t->seq[t->n_seq - 1];
    bool plain = (t->seq[2] >= '0' && t->seq[2] <= ';') || t->n_seq == 3;
    if (plain && final == 'm') {
        colour(t, seq);
    } else if (!is_tame(seq)) {
        return;
    } else if (plain && final == 'B' && !t->keep) {
        int n = atoi(seq.p + 2);
        cursor_down(t, n > 0 ? n : 1);
    } else if (plain && is_one_of(final, "@ABCDEFGHIJKLMPSTXZ`adef")) {
        control(t, seq.p, seq.n);
    } else if ((is_one_of(final, "hl") && mode_matters(seq)) || (plain && is_one_of(final, "rsug"))) {
        control(t, seq.p, seq.n);
        t->keep = true;
    }
}

static void run_escape(struct console_term *t)
{
    char final = t->seq[t->n_seq - 1];
    if (t->n_seq == 2 && is_one_of(final, "78DEHMc")) {
        control(t, t->seq, 2);
        t->keep = true;
    } else if (t->n_seq == 3 && is_one_of(t->seq[1], "()") && is_one_of(final, "0AB")) {
        if (final == 'B' && !t->keep)
            return; /* the usual character set, in place of itself */
        control(t, t->seq, 3);
        t->keep = true;
    }
}

static void parse_to(struct console_term *t, int state)
{
    t->parse = state;
    if (state == GROUND)
        t->n_seq = 0;
}

static void parse_escape(struct console_term *t, char c)
{
    t->seq[t->n_seq++] = c;
    if (c == '[' && t->n_seq == 2) {
        parse_to(t, CSI);
    } else if (is_one_of(c, "]PX^_") && t->n_seq == 2) {
        t->n_string = 0;
        parse_to(t, STRING);
    } else if (c >= 0x20 && c < 0x30 && t->n_seq < 8) {
        parse_to(t, ESCAPE_MORE);
    } else {
        run_escape(t);
        parse_to(t, GROUND);
    }
}

static void parse_csi(struct console_term *t, char c)
{
    if (t->n_seq == CONSOLE_SEQ_MAX) {
        parse_to(t, GROUND);
        return;
    }
    t->seq[t->n_seq++] = c;
    if (c >= 0x40) {
        run_csi(t);
        parse_to(t, GROUND);
    }
}

static void parse_string(struct console_term *t, char c)
{
    if (t->parse == STRING_ESCAPE && c == '\\')
        parse_to(t, GROUND);
    else if (c == '\a' || ++t->n_string > STRING_MAX)
        parse_to(t, GROUND);
    else
        t->parse = c == '\x1b' ? STRING_ESCAPE : STRING;
}

/* One character inside a sequence; false if it ended the sequence and is to be read again. */
static bool parse_more(struct console_term *t, uint32_t cp)
{
    if (t->parse == STRING || t->parse == STRING_ESCAPE) {
        parse_string(t, cp < 0x80 ? (char)cp : '?');
        return true;
    }
    if (cp < 0x20 || cp >= 0x7f) { /* not part of any sequence */
        parse_to(t, GROUND);
        return false;
    }
    if (t->parse == CSI)
        parse_csi(t, (char)cp);
    else
        parse_escape(t, (char)cp);
    return true;
}

static void control_character(struct console_term *t, uint32_t cp, char next)
{
    char c = (char)cp;
    switch (cp) {
    case '\n':
        next_row(t);
        break;
    case '\r':
        if (next != '\n')
            control(t, "\r", 1);
        break;
    case '\t':
        tab(t);
        break;
    case '\x1b':
        t->seq[0] = c;
        t->n_seq = 1;
        t->parse = ESCAPE;
        break;
    case '\b':
    case '\v':
    case '\f':
        control(t, &c, 1);
        break;
    default: /* the bell and others that show nothing */
        break;
    }
}

static bool is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
}

/* How many bytes at the start of `s` are printable text. */
static size_t printable_length(struct str s)
{
    size_t at = 0;
    while (at < s.n) {
        if (s.p[at] >= 0x20 && s.p[at] < 0x7f) {
            at++;
            continue;
        }
        uint32_t cp;
        size_t n = utf8_decode(s.p + at, s.n - at, &cp);
        if (is_control(cp) || (cp == UTF8_BAD && n == 1))
            break;
        at += n;
    }
    return at;
}

void console_term_write(struct console_term *t, struct str input, int64_t now_ns)
{
    t->now_ns = now_ns;
    while (input.n > 0) {
        uint32_t cp;
        size_t n = t->parse == GROUND ? printable_length(input) : 0;
        if (n > 0) {
            text(t, input.p, n);
        } else {
            n = utf8_decode(input.p, input.n, &cp);
            if (t->parse != GROUND) {
                if (!parse_more(t, cp))
                    continue; /* the sequence was none: look at the character again */
            } else if (is_control(cp)) {
                control_character(t, cp, n < input.n ? input.p[n] : 0);
            } else {
                text(t, "\xef\xbf\xbd", 3);
            }
        }
        input.p += n;
        input.n -= n;
    }
}

void console_term_trim(struct console_term *t)
{
    if (!t->vt || t->keep || t->moving)
        return;
    vterm_free(t->vt);
    t->vt = NULL;
    t->state = NULL;
}
