/* SPDX-License-Identifier: MIT */
/* Putting lines together: fields sorted by path, so that those of one object stand side by side; an
 * object is opened when the first of its fields has a value in the row. */
#include "server/store/rowset.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"

#include <stdlib.h>

enum { MAX_PARTS = MAX_NESTING + 2, SPARE = 16 };

struct field {
    const struct column *column;
    uint32_t at;       /* the next value */
    uint32_t next_row; /* its row; UINT32_MAX at the end */
    uint32_t n_parts;
    struct str parts[MAX_PARTS]; /* "key": of each component, ready to copy, in `text` */
};

struct row_writer {
    uint32_t n;
    bool strict;
    bool plain; /* every field stands in the line's own object and holds one kind of number */
    struct buf text;
    struct field fields[];
};

static int by_path(const void *a, const void *b)
{
    struct str p = ((const struct row_field *)a)->path, q = ((const struct row_field *)b)->path;
    AUTO_BUF scratch_p = {0};
    AUTO_BUF scratch_q = {0};
    for (;;) {
        struct str key_p, key_q;
        bool more_p = path_next_key(&p, &scratch_p, &key_p);
        bool more_q = path_next_key(&q, &scratch_q, &key_q);
        if (!more_p || !more_q)
            return more_p - more_q;
        int c = str_cmp(key_p, key_q);
        if (c)
            return c;
    }
}

static void set_next_row(struct field *f)
{
    f->next_row = f->at < f->column->n ? column_row(f->column, f->at) : UINT32_MAX;
}

static void add_part(struct row_writer *w, struct field *f, struct str key)
{
    size_t at = w->text.len;
    json_put_string(&w->text, key);
    buf_putc(&w->text, ':');
    f->parts[f->n_parts++] = (struct str){(const char *)at, w->text.len - at};
}

/* Render the parts; they are offsets until the text stands still. */
static void add_field(struct row_writer *w, struct field *f, struct str path, struct str name)
{
    AUTO_BUF scratch = {0};
    struct str key;
    f->n_parts = 0;
    if (name.p) {
        add_part(w, f, name);
        path = path_below(path, name);
    }
    while (f->n_parts < MAX_PARTS && path_next_key(&path, &scratch, &key))
        add_part(w, f, key);
}

struct row_writer *row_writer_new(const struct row_field *fields, uint32_t n, bool strict)
{
    struct row_writer *w = mem_calloc(1, sizeof *w + n * sizeof *w->fields);
    struct row_field *sorted = mem_alloc((n + 1) * sizeof *sorted);
    if (!w || !sorted) {
        mem_free(w);
        mem_free(sorted);
        return NULL;
    }
    memcpy(sorted, fields, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_path);
    w->n = n;
    w->strict = strict;
    w->plain = true;
    for (uint32_t i = 0; i < n; i++) {
        w->fields[i].column = sorted[i].column;
        set_next_row(&w->fields[i]);
        add_field(w, &w->fields[i], sorted[i].path, sorted[i].name);
        const struct column *c = sorted[i].column;
        w->plain &= w->fields[i].n_parts == 1 && !c->kinds && (c->kind == V_INT || c->kind == V_DOUBLE);
    }
    buf_append(&w->text, (char[SPARE]){0}, SPARE);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < w->fields[i].n_parts; k++)
            w->fields[i].parts[k].p = w->text.data + (size_t)w->fields[i].parts[k].p;
    mem_free(sorted);
    if (w->text.failed) {
        row_writer_free(w);
        return NULL;
    }
    return w;
}

void row_writer_free(struct row_writer *w)
{
    if (!w)
        return;
    buf_fini(&w->text);
    mem_free(w);
}

static void advance(struct field *f, uint32_t row)
{
    const struct column *c = f->column;
    if (!c->rows) {
        f->at = row;
    } else {
        while (f->at < c->n && c->rows[f->at] < row)
            f->at++;
    }
    set_next_row(f);
}

/* Close and open objects so that `f` can stand where `open` (or NULL) stood. */
static void move_to(const struct field *open, const struct field *f, struct buf *to)
{
    uint32_t same = 0, depth = open ? open->n_parts - 1 : 0;
    while (same < depth && same < f->n_parts - 1 && str_eq(open->parts[same], f->parts[same]))
        same++;
    for (uint32_t i = same; i < depth; i++)
        buf_putc(to, '}');
    if (open)
        buf_putc(to, ',');
    for (uint32_t i = same; i < f->n_parts - 1; i++) {
        buf_put_str(to, f->parts[i]);
        buf_putc(to, '{');
    }
}

static size_t put_quoted(char *to, double d)
{
    size_t n = number_format_double(to + 1, d);
    to[0] = to[n + 1] = '"';
    return n + 2;
}

/* Copy sixteen bytes at a time; what is read and written behind the end does not matter. */
static inline char *put_key(char *to, struct str key)
{
    for (size_t i = 0; i < key.n; i += SPARE)
        memcpy(to + i, key.p + i, SPARE);
    return to + key.n;
}

/* The value of `f` in the row; false if it has none. */
static inline bool take_bits(struct field *f, uint32_t row, uint64_t *bits)
{
    const struct column *c = f->column;
    if (!c->rows) {
        *bits = row < c->n ? c->bits[row] : 0;
        return row < c->n;
    }
    if (f->next_row < row)
        advance(f, row);
    if (f->next_row != row)
        return false;
    *bits = c->bits[f->at++];
    set_next_row(f);
    return true;
}

/* The usual row: numbers side by side. Room for all of it is made at once. */
static int put_plain(struct row_writer *w, uint32_t row, struct buf *to)
{
    char *p = buf_reserve(to, w->text.len + w->n * (size_t)(NUMBER_MAX + 2) + 2 + SPARE);
    int n = 0;
    if (!p)
        return TARE_ENOMEM;
    char *start = p;
    for (uint32_t i = 0; i < w->n; i++) {
        struct field *f = &w->fields[i];
        uint64_t bits;
        if (!take_bits(f, row, &bits))
            continue;
        n++;
        *p++ = ','; /* the first becomes the brace */
        p = put_key(p, f->parts[0]);
        if (f->column->kind == V_INT)
            p += number_format_i64(p, (int64_t)bits);
        else if (w->strict && (bits << 1) >= UINT64_C(0xffe) << 52) /* NaN, infinity */
            p += put_quoted(p, double_of_bits(bits));
        else
            p += number_format_double(p, double_of_bits(bits));
    }
    p += n == 0;
    *start = '{';
    *p++ = '}';
    to->len += (size_t)(p - start);
    return n;
}

int row_writer_put(struct row_writer *w, uint32_t row, struct buf *to)
{
    const struct field *open = NULL;
    int n = 0;
    if (w->plain)
        return put_plain(w, row, to);
    buf_putc(to, '{');
    for (uint32_t i = 0; i < w->n; i++) {
        struct field *f = &w->fields[i];
        if (f->next_row < row)
            advance(f, row);
        if (f->next_row != row)
            continue;
        move_to(open, f, to);
        buf_put_str(to, f->parts[f->n_parts - 1]);
        column_put_json(to, f->column, f->at, w->strict);
        f->at++;
        set_next_row(f);
        open = f;
        n++;
    }
    for (uint32_t i = 0; open && i + 1 < open->n_parts; i++)
        buf_putc(to, '}');
    buf_putc(to, '}');
    return to->failed ? TARE_ENOMEM : n;
}
