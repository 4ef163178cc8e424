/* SPDX-License-Identifier: MIT */
#include "service/watch/tensorboard.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/path.h"
#include "record/setting_wire.h"
#include "service/stream/handler.h"
#include "service/stream/stream_settings.h"
#include "service/watch/tb_reader.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum { SET_START_TIME = 41, SET_HOST = 77 };

enum {
    TB_LOG_DIR = 1,
    TB_SAVE = 2,
    TB_ROOT_DIR = 3,
    TB_NAMESPACE = 4,
    TB_SAVE_PATH = 5,
    TB_IGNORE_TIMESTAMP = 6,
    TB_IGNORE_HOSTNAME = 7,
};

/* WAITING for a root -> READING, a job at a time -> DONE after finish. */
enum dir_state { WAITING, READING, DONE };

struct dir {
    struct dir *prev, *next;
    struct tensorboard *owner;
    enum dir_state state;
    int64_t due_ns;          /* of the state's next move */
    bool busy;               /* a job has `reader` */
    bool has_namespace;      /* given by the record: in the reader's converter */
    struct tb_reader reader; /* root: only what the record gave, until READING */
};

struct tensorboard {
    const struct stream_settings *settings;
    struct tensorboard_owner owner;
    struct dir *dirs;
    int n_dirs;
    char *root; /* of all folders, once two are known */
    bool finishing, idle_wanted;
};

struct job {
    struct handler_job base;
    struct dir *dir;
    int64_t now_ns;
    bool is_last, at_end;
    struct buf records;
};

struct tensorboard *tensorboard_new(const struct stream_settings *settings,
                                    const struct tensorboard_owner *owner)
{
    struct tensorboard *t = xmem_calloc(1, sizeof *t);
    t->settings = settings;
    t->owner = *owner;
    return t;
}

void tensorboard_free(struct tensorboard *t)
{
    if (!t)
        return;
    struct dir *d, *next;
    DL_FOREACH_SAFE(t->dirs, d, next)
    {
        tb_reader_fini(&d->reader);
        mem_free(d);
    }
    mem_free(t->root);
    mem_free(t);
}

/* ---- paths ---- */

/* Drop the last part of `to`, which begins with a slash. */
static void up(struct buf *to)
{
    while (to->len > 0 && to->data[--to->len] != '/')
        ;
}

/* `path` from the root on, with no ".", ".." or double slashes, from the current folder if it is
 * relative. Heap. */
static char *absolute(struct str path)
{
    char here[PATH_MAX] = "/";
    AUTO_BUF whole = {0}, to = {0};
    if (!str_starts(path, STR("/"))) {
        if (!getcwd(here, sizeof here))
            here[0] = 0;
        buf_puts(&whole, here);
        buf_putc(&whole, '/');
    }
    buf_put_str(&whole, path);
    for (size_t at = 0; at < whole.len;) {
        const char *p = whole.data + at, *slash = memchr(p, '/', whole.len - at);
        struct str part = {p, slash ? (size_t)(slash - p) : whole.len - at};
        at += part.n + 1;
        if (str_eqz(part, "..")) {
            up(&to);
        } else if (part.n > 0 && !str_eqz(part, ".")) {
            buf_putc(&to, '/');
            buf_put_str(&to, part);
        }
    }
    return to.len ? xmem_strndup(to.data, to.len) : xmem_strdup("/");
}

/* The whole parts that both begin with. Heap. */
static char *common_parts(const char *a, const char *b)
{
    size_t n = 0;
    for (size_t i = 0;; i++) {
        bool a_ends = a[i] == 0 || a[i] == '/', b_ends = b[i] == 0 || b[i] == '/';
        if (a_ends && b_ends)
            n = i;
        if (a[i] == 0 || b[i] == 0 || a[i] != b[i])
            break;
    }
    return xmem_strndup(a, n);
}

static bool is_in_cloud(struct str path)
{
    return str_starts(path, STR("s3://")) || str_starts(path, STR("gs://")) ||
           str_starts(path, STR("az://"));
}

/* `path` without `root` and the slashes behind it; "" if it does not begin with it. Heap. */
static char *without_root(const char *path, const char *root)
{
    struct str rest = str_of(path), prefix = str_of(root);
    if (!str_starts(rest, prefix))
        return xmem_strdup("");
    rest.p += prefix.n;
    rest.n -= prefix.n;
    while (rest.n > 0 && rest.p[0] == '/') {
        rest.p++;
        rest.n--;
    }
    return xmem_strndup(rest.p, rest.n);
}

/* ---- one folder ---- */

/* Decide root and namespace and read from now on. */
static void start_reading(struct dir *d, int64_t now_ns)
{
    struct tb_reader *r = &d->reader;
    bool has_root = true;
    if (!r->root && d->owner->root) {
        r->root = xmem_strdup(d->owner->root);
    } else if (!r->root) {
        r->root = absolute(STR("."));
        has_root = false; /* good enough for file names, too long for keys */
    }
    if (!d->has_namespace)
        r->converter.name_space = has_root ? without_root(r->dir, r->root) : xmem_strdup("");
    d->state = READING;
    d->due_ns = now_ns;
}

static void job_run(struct handler_job *base)
{
    struct job *job = (struct job *)base;
    job->at_end = tb_reader_read(&job->dir->reader, job->now_ns, job->is_last, &job->records);
}

static void step(struct dir *d, int64_t now_ns);

static void maybe_idle(struct tensorboard *t, int64_t now_ns)
{
    struct dir *d;
    DL_FOREACH(t->dirs, d)
        if (d->state != DONE)
            return;
    if (t->idle_wanted) {
        t->idle_wanted = false;
        t->owner.idle(t->owner.ctx, now_ns);
    }
}

static void job_done(struct handler_job *base, struct handler *h)
{
    (void)h;
    struct job *job = (struct job *)base;
    struct dir *d = job->dir;
    struct tensorboard *t = d->owner;
    struct str records = buf_str(&job->records), record;
    int64_t now_ns = clock_steady_ns();
    d->busy = false;
    d->due_ns = job->at_end ? now_ns + TENSORBOARD_POLL_NS : now_ns;
    if (job->at_end && job->is_last)
        d->state = DONE;
    while (tb_next_record(&records, &record))
        t->owner.feed(t->owner.ctx, record);
    buf_fini(&job->records);
    mem_free(job);
    step(d, now_ns);
    maybe_idle(t, now_ns);
}

static void start_job(struct dir *d, int64_t now_ns)
{
    struct job *job = xmem_calloc(1, sizeof *job);
    job->base.run = job_run;
    job->base.done = job_done;
    job->dir = d;
    job->now_ns = now_ns;
    job->is_last = d->owner->finishing;
    d->busy = true;
    d->owner->owner.work(d->owner->owner.ctx, &job->base);
}

static void step(struct dir *d, int64_t now_ns)
{
    bool due = now_ns >= d->due_ns || d->owner->finishing;
    if (d->state == WAITING && (due || d->owner->root))
        start_reading(d, now_ns);
    if (d->state == READING && !d->busy && (now_ns >= d->due_ns || d->owner->finishing))
        start_job(d, now_ns);
}

/* ---- all of them ---- */

static char *text_of(struct str s)
{
    return xmem_strndup(s.n ? s.p : "", s.n);
}

/* The last field TB_NAMESPACE, which may be there and empty. */
static bool find_namespace(struct str record, struct str *name)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f = {0};
    bool found = false;
    while (wire_next(&r, &f) > 0) {
        if (f.number == TB_NAMESPACE && f.type == WIRE_BYTES) {
            *name = f.bytes;
            found = true;
        }
    }
    return found;
}

static void fill_reader(struct dir *d, struct str record)
{
    const struct stream_settings *s = d->owner->settings;
    struct tb_reader *r = &d->reader;
    struct str root = wire_find_bytes(record, TB_ROOT_DIR), name;
    tb_reader_init(r);
    r->dir = absolute(wire_find_bytes(record, TB_LOG_DIR));
    r->files_dir = xmem_strdup(s->files_dir);
    tb_converter_init(&r->converter, r->files_dir);
    r->save = wire_find_varint(record, TB_SAVE) != 0 && *s->files_dir;
    r->save_path = text_of(wire_find_bytes(record, TB_SAVE_PATH));
    if (root.n > 0)
        r->root = absolute(root);
    bool any_host = wire_find_varint(record, TB_IGNORE_HOSTNAME) != 0;
    r->host = text_of(any_host ? STR("") : setting_wire_text(s->raw, SET_HOST));
    if (wire_find_varint(record, TB_IGNORE_TIMESTAMP) == 0)
        r->start_s = (int64_t)setting_wire_double(s->raw, SET_START_TIME);
    d->has_namespace = find_namespace(record, &name);
    if (d->has_namespace)
        r->converter.name_space = text_of(name);
}

void tensorboard_add(struct tensorboard *t, struct str record, int64_t now_ns)
{
    struct str path = wire_find_bytes(record, TB_LOG_DIR);
    if (path.n == 0 || is_in_cloud(path) || t->n_dirs >= TENSORBOARD_MAX_DIRS || t->finishing) {
        diag_warn("tensorboard: %.*s is not followed", STR_ARG(path));
        return;
    }
    struct dir *d = xmem_calloc(1, sizeof *d);
    d->owner = t;
    fill_reader(d, record);
    if (!t->root && t->dirs)
        t->root = common_parts(t->dirs->reader.dir, d->reader.dir);
    bool knows_all = d->reader.root || (d->has_namespace && (!d->reader.save || *d->reader.save_path));
    d->due_ns = knows_all ? now_ns : now_ns + TENSORBOARD_ROOT_NS;
    DL_APPEND(t->dirs, d);
    t->n_dirs++;
    tensorboard_tick(t, now_ns);
}

int64_t tensorboard_deadline(const struct tensorboard *t)
{
    int64_t due_ns = INT64_MAX;
    struct dir *d;
    DL_FOREACH(t->dirs, d)
        if (d->state != DONE && !d->busy && d->due_ns < due_ns)
            due_ns = d->due_ns;
    return due_ns;
}

void tensorboard_tick(struct tensorboard *t, int64_t now_ns)
{
    struct dir *d;
    DL_FOREACH(t->dirs, d)
        step(d, now_ns);
}

bool tensorboard_finish(struct tensorboard *t, int64_t now_ns)
{
    t->finishing = true;
    tensorboard_tick(t, now_ns);
    struct dir *d;
    DL_FOREACH(t->dirs, d)
        if (d->state != DONE)
            t->idle_wanted = true;
    return !t->idle_wanted;
}
