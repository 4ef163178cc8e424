/* SPDX-License-Identifier: MIT */
/* Captured output: any bytes, cut anywhere, on two streams, trimmed at times. What comes out must
 * be the same wherever the input is cut, and short enough. */
#include "base/buf.h"
#include "service/stream/console_term.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct screen {
    struct console_lines lines;
    struct console_term out, err;
    struct buf all;
};

static void on_settled(void *owner, const struct console_line *line)
{
    struct screen *s = owner;
    console_line_write(line, &s->all);
    buf_putc(&s->all, '\n');
    if (line->is_cells && line->n_cells > CONSOLE_MAX_COLS)
        abort();
}

static struct screen *screen_new(void)
{
    struct screen *s = calloc(1, sizeof *s);
    s->lines.on_settled = on_settled;
    s->lines.owner = s;
    console_term_init(&s->out, &s->lines, false);
    console_term_init(&s->err, &s->lines, true);
    return s;
}

static void screen_free(struct screen *s)
{
    console_term_fini(&s->out);
    console_term_fini(&s->err);
    console_lines_fini(&s->lines);
    buf_fini(&s->all);
    free(s);
}

/* Bytes of ASCII only may be cut anywhere with the same result: but CR LF in one piece. */
static int may_be_cut(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] >= 0x80 || data[i] == '\r')
            return 0;
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct screen *whole = screen_new(), *cut = screen_new();
    console_term_write(&whole->out, (struct str){(const char *)data, size}, 1);
    for (size_t i = 0; i < size; i++)
        console_term_write(&cut->out, (struct str){(const char *)data + i, 1}, 1);
    console_lines_settle_all(&whole->lines);
    console_lines_settle_all(&cut->lines);
    if (may_be_cut(data, size) &&
        (whole->all.len != cut->all.len || (cut->all.len && memcmp(whole->all.data, cut->all.data, cut->all.len) != 0)))
        abort();
    screen_free(cut);

    /* The same on two streams, a few bytes each, with all memory given back now and then. */
    for (size_t at = 0; at < size;) {
        size_t n = 1 + data[at] % 13;
        if (n > size - at)
            n = size - at;
        console_term_write(at % 2 ? &whole->err : &whole->out, (struct str){(const char *)data + at, n}, 2);
        if (data[at] % 5 == 0) {
            console_term_trim(&whole->out);
            console_term_trim(&whole->err);
            console_lines_trim(&whole->lines);
        }
        at += n;
    }
    console_lines_settle_all(&whole->lines);
    screen_free(whole);
    return 0;
}
