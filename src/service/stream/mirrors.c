/* SPDX-License-Identifier: MIT */
#include "service/stream/mirrors.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/os.h"
#include "base/path.h"
#include "record/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIRRORS_MOST = 8, ADDRESS_BYTES = 4096 };
enum { SET_INIT_TIMEOUT = 79, SET_FINISH_TIMEOUT = 206 };

struct mirror {
    struct mirrors *all;
    struct sender *sender; /* NULL: it could not be made */
    char *url;
    bool over;
};

struct mirrors {
    struct mirrors_owner owner;
    struct mirror at[MIRRORS_MOST];
    size_t n;
    bool told_over;
    struct buf settings; /* the run's, without how long the program waits for its own backend */
    char *folder;        /* of the run; NULL if it leaves none */
};

/* -- what the senders say ---------------------------------------------------------------------- */

static void tell(struct mirror *m, const char *text)
{
    char line[1200];
    snprintf(line, sizeof line, "[%.200s] %.900s", m->url, text);
    m->all->owner.tell(m->all->owner.ctx, line);
}

static void be_over(struct mirror *m)
{
    struct mirrors *all = m->all;
    m->over = true;
    if (all->told_over || !mirrors_are_over(all))
        return;
    all->told_over = true;
    all->owner.over(all->owner.ctx);
}

static void on_run_ready(void *ctx, struct str run)
{
    struct mirror *m = ctx;
    (void)run;
    diag_info("the run is known to %s", m->url);
}

static void tell_of_sync(struct mirror *m)
{
    char text[900];
    if (!m->all->folder)
        return;
    snprintf(text, sizeof text, "Not everything arrived there. To upload the rest later, run: "
             "tare sync --include-synced --to %.200s %.500s", m->url, m->all->folder);
    tell(m, text);
}

static void on_run_failed(void *ctx, int code, const char *message)
{
    struct mirror *m = ctx;
    (void)code;
    if (m->over)
        return;
    tell(m, message);
    tell_of_sync(m);
    be_over(m);
}

static void on_reached(void *ctx, uint64_t offset)
{
    (void)ctx, (void)offset;
}

static void on_tell(void *ctx, bool error, const char *text)
{
    (void)error;
    tell(ctx, text);
}

static void on_finished(void *ctx, int error)
{
    struct mirror *m = ctx;
    if (m->over)
        return;
    if (error)
        tell_of_sync(m);
    be_over(m);
}

static int on_writer_fd(void *ctx)
{
    struct mirror *m = ctx;
    return m->all->owner.writer_fd(m->all->owner.ctx);
}

static struct spill *on_spill(void *ctx)
{
    struct mirror *m = ctx;
    return m->all->owner.spill(m->all->owner.ctx);
}

/* -- which there are --------------------------------------------------------------------------- */

/* The first line of a file of the user's own server. */
static char *own_line(const char *name)
{
    AUTO_FREE char *dir = path_server_dir();
    AUTO_FREE char *path = dir ? path_join(dir, name) : NULL;
    AUTO_BUF b = {0};
    if (!path || os_read_file(path, ADDRESS_BYTES, &b) || !b.len)
        return NULL;
    const char *end = memchr(b.data, '\n', b.len);
    return xmem_strndup(b.data, end ? (size_t)(end - b.data) : b.len);
}

static void open_one(struct mirrors *m, const struct sender_options *base, const char *path,
                     const char *url, const char *key)
{
    struct err e = {0};
    struct mirror *mirror = &m->at[m->n];
    struct sender_options o = *base;
    const struct sender_owner owner = {
        .ctx = mirror,
        .run_ready = on_run_ready,
        .run_failed = on_run_failed,
        .reached = on_reached,
        .tell = on_tell,
        .finished = on_finished,
        .writer_fd = on_writer_fd,
        .spill = on_spill,
    };
    o.settings = buf_str(&m->settings);
    o.url = url;
    o.key = key;
    o.tells_retries = true;
    *mirror = (struct mirror){.all = m, .url = xmem_strdup(url)};
    mirror->sender = sender_new(&o, &owner, &e);
    m->n++;
    if (mirror->sender) {
        sender_follow(mirror->sender, path);
        return;
    }
    mirror->over = true;
    tell(mirror, e.text);
}

static void open_named(struct mirrors *m, const struct sender_options *base, const char *path,
                       char *words)
{
    char *rest = NULL;
    const char *url = strtok_r(words, " \t", &rest), *key = strtok_r(NULL, " \t", &rest);
    AUTO_FREE char *own_url = NULL;
    AUTO_FREE char *own_key = NULL;
    if (!url)
        return;
    if (strcmp(url, "own") == 0) {
        url = own_url = own_line("address");
        key = own_key = own_line("admin.key");
    }
    if (!key)
        key = getenv("TARE_MIRROR_KEY");
    if (!url || !key || !*key)
        m->owner.tell(m->owner.ctx, url ? "TARE_MIRROR: no key for it; write \"URL KEY\", or set TARE_MIRROR_KEY"
                                        : "TARE_MIRROR: your own server is not up; start it with `tare server`");
    else
        open_one(m, base, path, url, key);
}

/* A mirror that is away when the run begins may come while it goes on. */
static void copy_settings(struct mirrors *m, struct str from)
{
    struct wire_field f;
    const char *at = from.p;
    for (struct wire_reader r = wire_open(from); wire_next(&r, &f) > 0; at = r.p)
        if (f.number != SET_INIT_TIMEOUT && f.number != SET_FINISH_TIMEOUT)
            buf_append(&m->settings, at, (size_t)(r.p - at));
}

struct mirrors *mirrors_open(const struct sender_options *base, const char *path,
                             const struct mirrors_owner *owner)
{
    const char *named = getenv("TARE_MIRROR");
    if (!named || !*named)
        return NULL;
    struct mirrors *m = xmem_calloc(1, sizeof *m);
    m->owner = *owner;
    m->told_over = true; /* not from in here */
    copy_settings(m, base->settings);
    if (path) {
        struct str folder = path_dir(str_of(path));
        m->folder = xmem_strndup(folder.p, folder.n);
    }
    AUTO_FREE char *words = xmem_strdup(named);
    char *rest = NULL;
    for (char *one = strtok_r(words, ",", &rest); one && m->n < MIRRORS_MOST;
         one = strtok_r(NULL, ",", &rest))
        open_named(m, base, path, one);
    m->told_over = mirrors_are_over(m);
    return m;
}

void mirrors_free(struct mirrors *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++) {
        sender_free(m->at[i].sender);
        mem_free(m->at[i].url);
    }
    buf_fini(&m->settings); /* no sender asks for them once it is freed */
    mem_free(m->folder);
    mem_free(m);
}

/* -- all of them ------------------------------------------------------------------------------- */

void mirrors_more(struct mirrors *m, uint64_t end, bool final)
{
    for (size_t i = 0; m && i < m->n; i++)
        if (!m->at[i].over)
            sender_more(m->at[i].sender, end, final);
}

uint64_t mirrors_offset(const struct mirrors *m)
{
    uint64_t lowest = UINT64_MAX;
    for (size_t i = 0; m && i < m->n; i++)
        if (!m->at[i].over && sender_offset(m->at[i].sender) < lowest)
            lowest = sender_offset(m->at[i].sender);
    return lowest;
}

void mirrors_bound(struct mirrors *m, int64_t give_up_ns)
{
    for (size_t i = 0; m && i < m->n; i++)
        if (!m->at[i].over)
            sender_bound_finish(m->at[i].sender, give_up_ns);
}

void mirrors_abort(struct mirrors *m)
{
    for (size_t i = 0; m && i < m->n; i++)
        if (!m->at[i].over)
            sender_abort(m->at[i].sender);
}

void mirrors_leave_behind(struct mirrors *m, uint64_t below)
{
    for (size_t i = 0; m && i < m->n; i++)
        if (!m->at[i].over && sender_offset(m->at[i].sender) < below)
            sender_abort(m->at[i].sender);
}

void mirrors_operations(const struct mirrors *m, struct buf *to)
{
    for (size_t i = 0; m && i < m->n; i++)
        if (!m->at[i].over) {
            sender_operations(m->at[i].sender, to);
            return;
        }
}

bool mirrors_are_over(const struct mirrors *m)
{
    for (size_t i = 0; m && i < m->n; i++)
        if (!m->at[i].over)
            return false;
    return true;
}
