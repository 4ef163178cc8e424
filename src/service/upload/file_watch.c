/* SPDX-License-Identifier: MIT */
#include "service/upload/file_watch.h"

#include "base/alloc.h"
#include "loop/worker.h"
#include "service/limits.h"
#include "service/upload/transfer.h"

#include <stddef.h>
#include <sys/stat.h>

struct watched {
    struct watched *next;
    void *what;
    struct file_stamp seen; /* all zero while it does not exist */
    bool was_seen, has_changed;
    char path[];
};

struct file_watch {
    uv_loop_t *loop;
    void (*changed)(void *ctx, void *what);
    void *ctx;
    struct watched *first, *last; /* only ever appended to: the job may walk the first of them */
    int n_files;
    int n_looked; /* the job's share: those that were there when it began */
    bool is_freed, is_closed;
    struct work work;
    uv_timer_t timer;
};

/* Frees when the timer is closed and no job is under way. */
static void let_go(struct file_watch *w)
{
    if (!w->is_closed || w->work.busy)
        return;
    while (w->first) {
        struct watched *next = w->first->next;
        mem_free(w->first);
        w->first = next;
    }
    mem_free(w);
}

static void look(struct work *work)
{
    struct file_watch *w = (struct file_watch *)((char *)work - offsetof(struct file_watch, work));
    struct watched *f = w->first;
    for (int i = 0; i < w->n_looked; i++) {
        if (i > 0)
            f = f->next;
        struct stat st;
        struct file_stamp now = {0};
        if (stat(f->path, &st) == 0)
            now = file_stamp_of(&st);
        f->has_changed = f->was_seen && !file_stamp_eq(&now, &f->seen) && now.inode != 0;
        f->seen = now;
        f->was_seen = true;
    }
}

static void on_timer(uv_timer_t *timer);

static void looked(struct work *work)
{
    struct file_watch *w = (struct file_watch *)((char *)work - offsetof(struct file_watch, work));
    struct watched *f = w->first;
    for (int i = 0; i < w->n_looked && !w->is_freed; i++, f = f->next)
        if (f->has_changed)
            w->changed(w->ctx, f->what);
    if (w->is_freed)
        let_go(w);
    else
        uv_timer_start(&w->timer, on_timer, FILE_WATCH_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct file_watch *w = timer->data;
    w->n_looked = w->n_files;
    work_start(w->loop, &w->work);
}

struct file_watch *file_watch_new(uv_loop_t *loop, void (*changed)(void *ctx, void *what), void *ctx)
{
    struct file_watch *w = xmem_calloc(1, sizeof *w);
    w->loop = loop;
    w->changed = changed;
    w->ctx = ctx;
    w->work.run = look;
    w->work.done = looked;
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    return w;
}

static void on_closed(uv_handle_t *timer)
{
    struct file_watch *w = timer->data;
    w->is_closed = true;
    let_go(w);
}

void file_watch_free(struct file_watch *w)
{
    if (!w)
        return;
    w->is_freed = true;
    uv_close((uv_handle_t *)&w->timer, on_closed);
}

void file_watch_add(struct file_watch *w, const char *path, void *what)
{
    size_t n = strlen(path) + 1;
    struct watched *f = xmem_calloc(1, sizeof *f + n);
    memcpy(f->path, path, n);
    f->what = what;
    if (w->last)
        w->last->next = f;
    else
        w->first = f;
    w->last = f;
    w->n_files++;
    if (!w->work.busy)
        uv_timer_start(&w->timer, on_timer, 0, 0);
}
