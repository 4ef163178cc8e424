/* SPDX-License-Identifier: MIT */
#include "cli/term.h"

#include "base/utf8.h"

#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 20, WIDTH_MAX = 400 };

static int find_width(void)
{
    const char *columns = getenv("COLUMNS");
    long n = columns ? strtol(columns, NULL, 10) : 0;
    struct winsize w;
    if (n <= 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0)
        n = w.ws_col;
    if (n <= 0)
        n = WIDTH_DEFAULT;
    return n < WIDTH_MIN ? WIDTH_MIN : n > WIDTH_MAX ? WIDTH_MAX : (int)n;
}

void term_init(struct term *t)
{
    const char *no_colour = getenv("NO_COLOR"), *kind = getenv("TERM");
    setlocale(LC_CTYPE, "");
    t->tty = isatty(STDOUT_FILENO);
    t->colour = t->tty && !(no_colour && *no_colour) && kind && strcmp(kind, "dumb") != 0;
    t->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    t->width = find_width();
}

void term_style(const struct term *t, struct buf *to, enum term_style style)
{
    static const char *const codes[] = {
        [TERM_BOLD] = "\033[1m",   [TERM_DIM] = "\033[2m",     [TERM_RED] = "\033[31m",
        [TERM_GREEN] = "\033[32m", [TERM_YELLOW] = "\033[33m", [TERM_CYAN] = "\033[36m",
    };
    if (t->colour)
        buf_puts(to, codes[style]);
}

void term_plain(const struct term *t, struct buf *to)
{
    if (t->colour)
        buf_puts(to, "\033[0m");
}

/* A character as it may be shown: its bytes in `to`, its columns. */
static int safe_char(const struct term *t, uint32_t cp, char to[UTF8_MAX], size_t *n)
{
    if (cp == '\n' || cp == '\t' || cp == '\r')
        cp = ' ';
    bool control = cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
    bool direction = (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
    if (control || direction)
        cp = UTF8_BAD;
    if (!t->utf8 && cp > 0x7e)
        cp = '?';
    *n = utf8_encode(to, cp);
    return utf8_width(cp);
}

int term_text(const struct term *t, struct buf *to, struct str text, int max)
{
    const char *ellipsis = t->utf8 ? "\u2026" : "~";
    size_t cut_at = to->len; /* where the ellipsis would go: the last place below max */
    int columns = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t cp;
        char bytes[UTF8_MAX];
        size_t n;
        i += utf8_decode(text.p + i, text.n - i, &cp);
        int w = safe_char(t, cp, bytes, &n);
        if (columns + w > max) {
            to->len = cut_at;
            buf_puts(to, ellipsis);
            return max;
        }
        buf_append(to, bytes, n);
        columns += w;
        if (columns < max)
            cut_at = to->len;
    }
    return columns;
}

int term_columns(const struct term *t, struct str text)
{
    int columns = 0;
    for (size_t i = 0; i < text.n && columns < INT_MAX - 2;) {
        uint32_t cp;
        char bytes[UTF8_MAX];
        size_t n;
        i += utf8_decode(text.p + i, text.n - i, &cp);
        columns += safe_char(t, cp, bytes, &n);
    }
    return columns;
}

void term_cell(const struct term *t, struct buf *to, struct str text, int columns)
{
    int used = term_text(t, to, text, columns);
    term_repeat(to, " ", columns - used);
}

void term_repeat(struct buf *to, const char *z, int times)
{
    while (times-- > 0)
        buf_puts(to, z);
}

void term_flush(struct buf *b)
{
    if (b->len)
        fwrite(b->data, 1, b->len, stdout);
    buf_clear(b);
}
