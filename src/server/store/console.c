/* SPDX-License-Identifier: MIT */
/* Console lines in blocks.
 *
 * A block is a run of lines without a gap: varint length and bytes of each, compressed and checked by
 * codec.h. A write takes up the blocks it overlaps, and the one before it while that is small, puts the
 * new lines over the old and writes blocks of at most BLOCK_BYTES again. */
#include "server/store/console.h"

#include "base/alloc.h"
#include "base/json.h"
#include "server/store/codec.h"

#include <string.h>

enum { BLOCK_BYTES = 65536, JOIN_BYTES = 16384 };
#define MAX_BLOCK ((size_t)256 << 20)

struct lines {
    struct str *p;
    size_t n, cap;
};

static int lines_add(struct lines *to, struct str line)
{
    if (to->n == to->cap) {
        size_t cap = to->cap ? to->cap * 2 : 256;
        struct str *p = mem_realloc(to->p, cap * sizeof *p);
        if (!p)
            return TARE_ENOMEM;
        to->p = p;
        to->cap = cap;
    }
    to->p[to->n++] = line;
    return 0;
}

/* The lines of a decoded block; they point into `bytes`. */
static int split_block(struct str bytes, int64_t n, struct lines *to)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t len;
        if (!get_varint(&bytes, &len) || len > bytes.n)
            return TARE_EFORMAT;
        int rc = lines_add(to, str_make(bytes.p, len));
        if (rc)
            return rc;
        bytes = str_make(bytes.p + len, bytes.n - len);
    }
    return bytes.n ? TARE_EFORMAT : 0;
}

/* ---- writing ---- */

struct write {
    struct db_conn *c;
    struct codec *codec;
    int64_t run;
    struct buf old;     /* decoded bytes of the blocks taken up */
    struct lines lines; /* what the blocks will hold */
    int64_t first;      /* number of lines.p[0] */
};

struct taken {
    int64_t first, n;
    size_t at; /* in write.old */
};

/* Decode and delete the blocks that touch [from, to), and a small one that ends at `from`. */
static int take_blocks(struct write *w, int64_t from, int64_t to, struct taken **taken, size_t *n,
                       struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_query(w->c, e, &rows,
                      "SELECT first_line, n_lines, data FROM console_blocks WHERE run_id = $1 AND first_line < $3 "
                      "AND (first_line + n_lines > $2 OR (first_line + n_lines = $2 AND raw_bytes < $4)) "
                      "ORDER BY first_line",
                      DB_ARGS(db_i(w->run), db_i(from), db_i(to), db_i(JOIN_BYTES)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        struct taken *more = mem_realloc(*taken, (*n + 1) * sizeof *more);
        if (!more)
            return err_set(e, TARE_ENOMEM, "out of memory");
        *taken = more;
        more[(*n)++] = (struct taken){db_int(rows, 0), db_int(rows, 1), w->old.len};
        rc = codec_get_bytes(w->codec, db_blob(rows, 2), MAX_BLOCK, &w->old);
        if (rc)
            return err_set(e, rc, "console lines of run %lld: damaged", (long long)w->run);
    }
    for (size_t i = 0; i < *n && rc >= 0; i++)
        rc = db_exec(w->c, e, "DELETE FROM console_blocks WHERE run_id = $1 AND first_line = $2",
                     DB_ARGS(db_i(w->run), db_i((*taken)[i].first)));
    return rc < 0 ? rc : 0;
}

static int put_block(struct write *w, int64_t first, int64_t n, const struct buf *raw, struct err *e)
{
    AUTO_BUF block = {0};
    int rc = raw->failed ? TARE_ENOMEM : codec_put_bytes(w->codec, &block, buf_str(raw), 3);
    if (rc)
        return err_set(e, rc, "out of memory");
    rc = db_exec(w->c, e,
                 "INSERT INTO console_blocks (run_id, first_line, n_lines, raw_bytes, data) "
                 "VALUES ($1, $2, $3, $4, $5)",
                 DB_ARGS(db_i(w->run), db_i(first), db_i(n), db_i((int64_t)raw->len),
                         db_b(block.data, block.len)));
    return rc < 0 ? rc : 0;
}

static int put_blocks(struct write *w, struct err *e)
{
    AUTO_BUF raw = {0};
    int rc = 0;
    int64_t first = w->first, n = 0;
    for (size_t i = 0; i < w->lines.n && !rc; i++) {
        put_varint(&raw, w->lines.p[i].n);
        buf_put_str(&raw, w->lines.p[i]);
        n++;
        if (raw.len < BLOCK_BYTES && i + 1 < w->lines.n)
            continue;
        rc = put_block(w, first, n, &raw, e);
        first += n;
        n = 0;
        buf_clear(&raw);
    }
    return rc;
}

/* Old lines before `from`, the new ones, old lines after them: blocks taken up join without gaps,
 * because each touches the new range. */
static int combine(struct write *w, const struct taken *taken, size_t n_taken, int64_t from,
                   const struct str *lines, size_t n)
{
    struct lines old = {0};
    int64_t to = from + (int64_t)n;
    int rc = 0;
    w->first = from;
    for (size_t i = 0; i < n_taken && !rc; i++) {
        size_t end = i + 1 < n_taken ? taken[i + 1].at : w->old.len;
        rc = split_block(str_make(w->old.data + taken[i].at, end - taken[i].at), taken[i].n, &old);
    }
    size_t at = 0;
    for (size_t i = 0; i < n_taken && !rc; at += (size_t)taken[i++].n)
        for (int64_t k = 0; k < taken[i].n && taken[i].first + k < from && !rc; k++) {
            w->first = w->lines.n ? w->first : taken[i].first;
            rc = lines_add(&w->lines, old.p[at + (size_t)k]);
        }
    for (size_t i = 0; i < n && !rc; i++)
        rc = lines_add(&w->lines, lines[i]);
    at = 0;
    for (size_t i = 0; i < n_taken && !rc; at += (size_t)taken[i++].n)
        for (int64_t k = to > taken[i].first ? to - taken[i].first : 0; k < taken[i].n && !rc; k++)
            rc = lines_add(&w->lines, old.p[at + (size_t)k]);
    mem_free(old.p);
    return rc;
}

int console_write(struct db_conn *c, int64_t run, int64_t first_line, const struct str *lines,
                  size_t n, struct err *e)
{
    struct taken *taken = NULL;
    size_t n_taken = 0;
    struct write w = {.c = c, .codec = codec_take(), .run = run};
    if (!n) {
        codec_give(w.codec);
        return 0;
    }
    int rc = w.codec ? take_blocks(&w, first_line, first_line + (int64_t)n, &taken, &n_taken, e)
                     : err_set(e, TARE_ENOMEM, "out of memory");
    if (!rc) {
        rc = combine(&w, taken, n_taken, first_line, lines, n);
        if (rc)
            err_set(e, rc, "console lines of run %lld: %s", (long long)run, err_text(rc));
    }
    if (!rc)
        rc = put_blocks(&w, e);
    mem_free(taken);
    mem_free(w.lines.p);
    buf_fini(&w.old);
    codec_give(w.codec);
    return rc;
}

int console_clear(struct db_conn *c, int64_t run, struct err *e)
{
    int rc = db_exec(c, e, "DELETE FROM console_blocks WHERE run_id = $1", DB_ARGS(db_i(run)));
    if (rc >= 0)
        rc = db_exec(c, e, "DELETE FROM console_places WHERE run_id = $1", DB_ARGS(db_i(run)));
    if (rc >= 0)
        rc = db_exec(c, e, "UPDATE runs SET log_lines = 0 WHERE id = $1", DB_ARGS(db_i(run)));
    return rc < 0 ? rc : 0;
}

/* ---- reading ---- */

static int read_block(struct str bytes, int64_t first, int64_t n, int64_t from, int64_t *left,
                      console_line_fn on_line, void *arg)
{
    struct lines lines = {0};
    int rc = split_block(bytes, n, &lines);
    for (size_t i = 0; i < lines.n && rc >= 0 && *left > 0; i++) {
        int64_t number = first + (int64_t)i;
        if (number < from)
            continue;
        rc = on_line(arg, number, lines.p[i]);
        --*left;
    }
    mem_free(lines.p);
    return rc < 0 ? rc : 0;
}

int console_read(struct db_conn *c, int64_t run, int64_t from, int64_t max, console_line_fn on_line,
                 void *arg, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    AUTO_BUF bytes = {0};
    AUTO_CODEC *k = codec_take();
    if (!k)
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = db_query(c, e, &rows,
                      "SELECT first_line, n_lines, data FROM console_blocks WHERE run_id = $1 "
                      "AND first_line + n_lines > $2 ORDER BY first_line LIMIT $3",
                      DB_ARGS(db_i(run), db_i(from), db_i(max)));
    while (rc >= 0 && max > 0 && (rc = db_next(rows, e)) == 1) {
        buf_clear(&bytes);
        rc = codec_get_bytes(k, db_blob(rows, 2), MAX_BLOCK, &bytes);
        if (!rc)
            rc = read_block(buf_str(&bytes), db_int(rows, 0), db_int(rows, 1), from, &max, on_line, arg);
        if (rc == TARE_EFORMAT)
            err_set(e, rc, "console lines of run %lld: damaged", (long long)run);
    }
    return rc < 0 ? rc : 0;
}

/* ---- what a line says ---- */

/* A timestamp like 2026-11-23T10:58:13.610258 and a space: its length, or 0. */
static size_t timestamp_length(struct str line)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    size_t n = sizeof form - 1;
    if (line.n < n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (form[i] == 'd' ? (unsigned char)(line.p[i] - '0') > 9 : line.p[i] != form[i])
            return 0;
    while (n < line.n && (line.p[n] == '.' || (line.p[n] >= '0' && line.p[n] <= '9')))
        n++;
    return n == line.n || line.p[n] == ' ' ? n : 0;
}

static struct str rest_of(struct str s, size_t n)
{
    return n < s.n ? str_make(s.p + n, s.n - n) : STR("");
}

static void split_text(struct str line, struct console_parts *to)
{
    bool error = str_starts(line, STR("ERROR "));
    struct str rest = error ? rest_of(line, 6) : line;
    size_t n = timestamp_length(rest);
    to->text = line;
    if (!n)
        return;
    to->level = error ? STR("error") : (struct str){NULL, 0};
    to->timestamp = str_make(rest.p, n);
    rest = rest_of(rest, n + 1);
    const char *close = rest.n && rest.p[0] == '[' ? memchr(rest.p, ']', rest.n) : NULL;
    if (close && close + 1 < rest.p + rest.n && close[1] == ' ') {
        to->label = str_make(rest.p + 1, (size_t)(close - rest.p - 1));
        rest = rest_of(rest, (size_t)(close - rest.p) + 2);
    }
    to->text = rest;
}

static void split_json(struct str line, struct buf *scratch, struct console_parts *to)
{
    const char *at = json_skip_space(line.p, line.p + line.n) + 1, *end = line.p + line.n;
    struct json_item item;
    buf_clear(scratch);
    if (!buf_reserve(scratch, 3 * line.n + 16)) /* so that slices of it stay */
        return;
    while (json_next_member(&at, end, &item) == 1) {
        struct str *part = str_eqz(item.key, "ts")        ? &to->timestamp
                           : str_eqz(item.key, "level")   ? &to->level
                           : str_eqz(item.key, "label")   ? &to->label
                           : str_eqz(item.key, "content") ? &to->text
                                                          : NULL;
        if (!part || item.value.n < 2 || item.value.p[0] != '"')
            continue;
        size_t start = scratch->len;
        if (json_unescape(scratch, str_make(item.value.p + 1, item.value.n - 2)) == 0)
            *part = str_make(scratch->data + start, scratch->len - start);
    }
}

void console_split(struct str line, struct buf *scratch, struct console_parts *to)
{
    memset(to, 0, sizeof *to);
    if (line.n > 1 && line.p[0] == '{' && json_valid(line))
        split_json(line, scratch, to);
    else
        split_text(line, to);
    if (!to->text.p)
        to->text = line;
}
