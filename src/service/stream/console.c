/* SPDX-License-Identifier: MIT */
/* output.log is three runs of bytes:
 *
 *   0                 offset                        end
 *   | settled, on disk | settled since | lines that may still change |
 *
 * A write puts the last two at `offset` and cuts the file behind them; then `offset` moves past
 * what has settled. So a line that changed is written again, and nothing is ever read back.
 *
 * Facts (peer: core/internal/runconsolelogs): nothing is written before the first line; a label
 * becomes part of the name; in multipart mode a part ends after a write that brought it over its
 * size or age, and what later changes in it is dropped; no timestamps in the file; a line written
 * by write_logs is not cut. The last line ends with a newline like any other. */
#include "service/stream/console.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/os.h"
#include "base/path.h"
#include "base/utf8.h"
#include "service/stream/console_term.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

/* What exists once there is output. */
struct screens {
    struct console_lines lines;
    struct console_term out, err;
};

struct console {
    struct console_options options;
    struct screens *s;      /* NULL until something came */
    struct buf settled;     /* text that has left the window since the last write */
    char *path;             /* of the file being written, NULL before its first write */
    uint64_t offset;        /* bytes of the file that will not change */
    uint64_t file_first;    /* number of its first line */
    uint64_t n_lost;
    uint64_t counted;       /* what of total_bytes is ours */
    int64_t part_start_ns;  /* wall time of the file's first write */
    int64_t last_write_ns;  /* 0 for never */
    int64_t dirty_since_ns; /* something is not in the file; 0 if all is */
    bool writing, failed, reported;
    bool part_ends; /* the next write that succeeds is the last of this file */
};

/* Settled text of all runs that is not in its file yet. */
static _Atomic uint64_t total_bytes;

struct console *console_new(const struct console_options *options)
{
    struct console *c = xmem_calloc(1, sizeof *c);
    c->options = *options;
    return c;
}

void console_free(struct console *c)
{
    if (!c)
        return;
    if (c->s) {
        console_term_fini(&c->s->out);
        console_term_fini(&c->s->err);
        console_lines_fini(&c->s->lines);
        mem_free(c->s);
    }
    total_bytes -= c->counted;
    buf_fini(&c->settled);
    mem_free(c->path);
    mem_free(c);
}

static size_t backlog_limit(void)
{
    return total_bytes > CONSOLE_TOTAL_BACKLOG_BYTES ? CONSOLE_SCARCE_BACKLOG_BYTES
                                                     : CONSOLE_MAX_BACKLOG_BYTES;
}

static void on_settled(void *owner, const struct console_line *line)
{
    struct console *c = owner;
    if (c->s->lines.first < c->file_first)
        return; /* it is in a part that has ended */
    if (c->settled.len > backlog_limit()) {
        c->n_lost++;
        return;
    }
    size_t before = c->settled.len;
    console_line_write(line, &c->settled);
    buf_putc(&c->settled, '\n');
    c->counted += c->settled.len - before;
    total_bytes += c->settled.len - before;
}

static struct screens *screens(struct console *c)
{
    if (!c->s) {
        c->s = xmem_calloc(1, sizeof *c->s);
        c->s->lines.on_settled = on_settled;
        c->s->lines.owner = c;
        console_term_init(&c->s->out, &c->s->lines, false);
        console_term_init(&c->s->err, &c->s->lines, true);
    }
    return c->s;
}

static void mark_dirty(struct console *c, int64_t now_ns)
{
    if (c->dirty_since_ns == 0)
        c->dirty_since_ns = now_ns;
}

void console_output(struct console *c, bool is_error, struct str text, int64_t now_ns)
{
    if (!c->options.capture || text.n == 0)
        return;
    struct screens *s = screens(c);
    console_term_write(is_error ? &s->err : &s->out, text, now_ns);
    if (s->lines.next > 0)
        mark_dirty(c, now_ns);
}

void console_line(struct console *c, struct str text, int64_t now_ns)
{
    if (!c->options.capture)
        return;
    struct console_lines *lines = &screens(c)->lines;
    if (str_ends(text, STR("\n")))
        text.n--;
    for (;;) {
        const char *end = text.n ? memchr(text.p, '\n', text.n) : NULL;
        struct str one = {text.p, end ? (size_t)(end - text.p) : text.n};
        uint64_t number = console_lines_add(lines, false, now_ns);
        console_line_append(console_lines_get(lines, number), one, true);
        if (!end)
            break;
        text.n -= one.n + 1;
        text.p = end + 1;
    }
    mark_dirty(c, now_ns);
}

int64_t console_deadline(const struct console *c)
{
    if (c->writing || c->dirty_since_ns == 0)
        return INT64_MAX;
    if (c->settled.len >= CONSOLE_WRITE_NOW_BYTES && !c->failed)
        return 0;
    return c->last_write_ns ? c->last_write_ns + CONSOLE_WRITE_EVERY_NS
                            : c->dirty_since_ns + CONSOLE_FIRST_WRITE_NS;
}

/* ---- names ---- */

/* The label as part of a file name: no slash, no control characters, no dots at the end. */
static void put_label(struct buf *to, const char *label)
{
    struct str s = str_of(label);
    size_t start = to->len;
    while (s.n > 0) {
        uint32_t cp;
        size_t n = utf8_decode(s.p, s.n, &cp);
        if (cp == '/')
            buf_putc(to, '_');
        else if (cp >= 0x20 && (cp < 0x7f || cp > 0x9f))
            buf_append(to, s.p, n);
        s.p += n;
        s.n -= n;
    }
    while (to->len > start && to->data[to->len - 1] == '.')
        to->len--;
    while (to->len > start && to->data[to->len - 1] == ' ')
        to->len--;
    size_t blanks = 0;
    while (start + blanks < to->len && to->data[start + blanks] == ' ')
        blanks++;
    memmove(to->data + start, to->data + start + blanks, to->len - start - blanks);
    to->len -= blanks;
}

static void put_stem(struct buf *to, const char *label)
{
    buf_puts(to, "output");
    if (*label) {
        buf_putc(to, '_');
        put_label(to, label);
    }
}

void console_put_name(struct buf *to, const char *label)
{
    put_stem(to, label);
    buf_puts(to, ".log");
}

static char *new_path(const struct console *c, int64_t now_ns)
{
    AUTO_BUF name = {0};
    if (c->options.multipart)
        buf_puts(&name, "logs/");
    put_stem(&name, c->options.label);
    if (c->options.multipart) {
        time_t s = (time_t)(now_ns / 1000000000);
        struct tm tm;
        char text[32] = "";
        if (localtime_r(&s, &tm))
            strftime(text, sizeof text, "%Y%m%d_%H%M%S", &tm);
        buf_printf(&name, "_%s_%09d", text, (int)(now_ns % 1000000000));
    }
    buf_puts(&name, ".log");
    const char *z = buf_z(&name);
    return z ? path_join(c->options.files_dir, z) : NULL;
}

/* ---- writing ---- */

/* Whether a write that makes the file `size_bytes` long ends this part. */
static bool ends_part(const struct console *c, uint64_t size_bytes, int64_t now_ns)
{
    const struct console_options *o = &c->options;
    if (!o->multipart)
        return false;
    int64_t age_ns = now_ns - c->part_start_ns;
    return (o->chunk_max_bytes > 0 && size_bytes >= (uint64_t)o->chunk_max_bytes) ||
           (o->chunk_max_seconds > 0 && age_ns >= o->chunk_max_seconds * 1000000000LL);
}

/* Everything that is not on disk: what has settled, then the window. */
static void collect(struct console *c, struct console_write *w)
{
    w->bytes = c->settled;
    w->settled_bytes = w->bytes.len;
    c->settled = (struct buf){0};
    struct console_lines *lines = &c->s->lines;
    uint64_t first = lines->first > c->file_first ? lines->first : c->file_first;
    for (uint64_t i = first; i < lines->next; i++) {
        console_line_write(console_lines_get(lines, i), &w->bytes);
        buf_putc(&w->bytes, '\n');
    }
}

static void trim(struct console *c)
{
    console_term_trim(&c->s->out);
    console_term_trim(&c->s->err);
    if (!c->s->out.moving && !c->s->err.moving)
        console_lines_trim(&c->s->lines);
}

struct console_write *console_take_write(struct console *c, int64_t now_ns, bool is_last)
{
    if (c->writing || c->dirty_since_ns == 0)
        return NULL;
    if (!is_last && console_deadline(c) > now_ns)
        return NULL;
    trim(c);
    struct console_write *w = xmem_calloc(1, sizeof *w);
    collect(c, w);
    if (w->bytes.len == 0 && w->settled_bytes == 0 && !c->path) { /* only an ended part changed */
        buf_fini(&w->bytes);
        mem_free(w);
        c->dirty_since_ns = 0;
        return NULL;
    }
    if (!c->path) {
        c->path = new_path(c, clock_shown_ns(now_ns));
        c->part_start_ns = now_ns;
        w->is_first = true;
    }
    w->path = xmem_strdup(c->path ? c->path : "");
    w->offset = c->offset;
    w->is_first |= c->offset == 0 && c->failed;
    if (ends_part(c, w->offset + w->bytes.len, now_ns)) {
        w->settled_bytes = w->bytes.len;
        c->file_first = c->s->lines.next;
        c->part_ends = true;
    }
    c->dirty_since_ns = 0;
    c->last_write_ns = now_ns;
    c->writing = true;
    return w;
}

void console_write_run(struct console_write *w)
{
    if (w->is_first) {
        char *dir = mem_strndup(path_dir(str_of(w->path)).p, path_dir(str_of(w->path)).n);
        int rc = dir ? os_mkdirs(dir, 0777) : TARE_ENOMEM;
        mem_free(dir);
        if (rc < 0) {
            w->rc = rc;
            return;
        }
    }
    int fd = os->open(w->path, O_WRONLY | O_CREAT | (w->is_first ? O_TRUNC : 0), 0644);
    if (fd < 0) {
        w->rc = fd;
        return;
    }
    w->rc = w->bytes.failed ? TARE_ENOMEM : os_pwrite_all(fd, w->bytes.data, w->bytes.len, w->offset, NULL);
    if (w->rc == 0)
        w->rc = os->ftruncate(fd, (off_t)(w->offset + w->bytes.len));
    int rc = os->close(fd);
    if (w->rc == 0)
        w->rc = rc;
}

/* The write did not happen: what had settled waits again, before what has settled since. */
static void take_back(struct console *c, struct console_write *w, int64_t now_ns)
{
    struct buf since = c->settled;
    c->settled = w->bytes;
    w->bytes = (struct buf){0};
    c->settled.len = w->settled_bytes;
    c->settled.failed = false;
    buf_append(&c->settled, since.data, since.len);
    buf_fini(&since);
    mark_dirty(c, now_ns);
}

static void next_part(struct console *c)
{
    mem_free(c->path);
    c->path = NULL;
    c->offset = 0;
    c->part_ends = false;
}

int console_written(struct console *c, struct console_write *w, int64_t now_ns)
{
    int rc = w->rc;
    c->writing = false;
    c->failed = rc < 0;
    if (rc < 0) {
        take_back(c, w, now_ns);
    } else {
        c->offset += w->settled_bytes;
        total_bytes -= c->counted - c->settled.len;
        c->counted = c->settled.len;
        if (c->part_ends)
            next_part(c);
    }
    buf_fini(&w->bytes);
    mem_free(w->path);
    mem_free(w);
    bool report = rc < 0 && !c->reported;
    c->reported |= report;
    return report ? rc : 0;
}

uint64_t console_lines_lost(const struct console *c)
{
    return c->n_lost;
}
