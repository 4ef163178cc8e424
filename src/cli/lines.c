/* SPDX-License-Identifier: MIT */
#include "cli/lines.h"

enum { LINE_MAX_BYTES = 1 << 16 };
enum { OUTSIDE, AFTER_ESC, IN_CSI, IN_OSC };

void lines_fini(struct lines *l)
{
    buf_fini(&l->part[0]);
    buf_fini(&l->part[1]);
}

static void give(struct lines *l, int i)
{
    l->on_line(l->ctx, buf_str(&l->part[i]), i == 1);
    buf_clear(&l->part[i]);
    l->cr[i] = false;
}

/* True if `c` belongs to an escape sequence. */
static bool skip_escape(int *state, unsigned char c)
{
    switch (*state) {
    case OUTSIDE:
        if (c != 0x1b)
            return false;
        *state = AFTER_ESC;
        return true;
    case AFTER_ESC:
        *state = c == '[' ? IN_CSI : c == ']' ? IN_OSC : OUTSIDE;
        return true;
    case IN_CSI:
        if (c >= 0x40 && c <= 0x7e)
            *state = OUTSIDE;
        return true;
    default: /* ends with BEL, or with ESC and a backslash */
        if (c == 0x07)
            *state = OUTSIDE;
        if (c == 0x1b)
            *state = AFTER_ESC;
        return true;
    }
}

static void put_char(struct lines *l, int i, char c)
{
    if (c == '\n') {
        give(l, i);
        return;
    }
    if (c == '\r') {
        l->cr[i] = true;
        return;
    }
    if (l->cr[i])
        buf_clear(&l->part[i]);
    l->cr[i] = false;
    if (c == '\b') {
        if (l->part[i].len)
            l->part[i].len--;
        return;
    }
    buf_putc(&l->part[i], c);
    if (l->part[i].len >= LINE_MAX_BYTES)
        give(l, i);
}

void lines_put(struct lines *l, struct str bytes, bool is_stderr)
{
    for (size_t k = 0; k < bytes.n; k++)
        if (!skip_escape(&l->escape[is_stderr], (unsigned char)bytes.p[k]))
            put_char(l, is_stderr, bytes.p[k]);
}

void lines_end(struct lines *l)
{
    for (int i = 0; i < 2; i++)
        if (l->part[i].len)
            give(l, i);
}
