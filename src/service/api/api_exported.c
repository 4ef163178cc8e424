/* SPDX-License-Identifier: MIT */
/* With all keys, whole files are brought to the cache and read there; with some, the library reads
 * what it needs of them over the network by itself, as in the peer. */
#include "service/api/api_scan.h"

#include "base/alloc.h"
#include "base/os.h"
#include "base/path.h"
#include "service/api/parquet.h"

#include <stdlib.h>
#include <sys/stat.h>

#define OF(w, member) ((struct api_history_task *)((char *)(w) - offsetof(struct api_history_task, member)))

/* Heap; NULL: there is none. (peer: runhistoryreader.getUserRunHistoryCacheDir) */
static char *cache_dir(void)
{
    const char *set = getenv("WANDB_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (set && *set)
        return mem_strndup(set, strlen(set));
    if (xdg && *xdg)
        return path_join(xdg, "wandb/runhistory");
    return home && *home ? path_join(home, ".cache/wandb/runhistory") : NULL;
}

static char *cached_path(const struct api_scan *s, size_t nth)
{
    AUTO_FREE char *dir = cache_dir();
    AUTO_BUF name = {0};
    api_scan_put_name(&name, s, nth);
    return dir && buf_z(&name) ? path_join(dir, buf_z(&name)) : NULL;
}

static const char *url_behind(const struct api_scan *s, const char *url)
{
    url = url ? url + strlen(url) + 1 : s->urls.data;
    return url && url < s->urls.data + s->urls.len ? url : NULL;
}

/* ---- opening ---- */

static bool is_local(const struct api_history_task *t, size_t nth)
{
    return t->scan->columns.len == 0 || t->is_cached.data[nth];
}

static struct parquet_file *open_one(struct api_history_task *t, const char *url, size_t nth,
                                     const char **keys, size_t n_keys)
{
    AUTO_FREE char *path = is_local(t, nth) ? cached_path(t->scan, nth) : NULL;
    return parquet_open(path ? path : url, keys, n_keys, &t->err);
}

static void open_run(struct work *w)
{
    struct api_history_task *t = OF(w, work);
    struct api_scan *s = t->scan;
    size_t n_keys = 0, i = 0;
    AUTO_FREE const char **keys = xmem_calloc(s->columns.len + 1, sizeof *keys);
    for (size_t at = 0; at < s->columns.len; at += strlen(s->columns.data + at) + 1)
        keys[n_keys++] = s->columns.data + at;
    s->files = xmem_calloc(t->is_cached.len + 1, sizeof(struct parquet_file *));
    for (const char *url = url_behind(s, NULL); url; url = url_behind(s, url), i++)
        if (!(s->files[s->n_files] = open_one(t, url, i, keys, n_keys)))
            return;
        else
            s->n_files++;
}

static void open_done(struct work *w)
{
    struct api_history_task *t = OF(w, work);
    if (t->err.code)
        api_fail(&t->task, 0, "%s", t->err.text);
    else
        api_exported_opened(t);
}

static void start_work(struct api_history_task *t, void (*run)(struct work *), void (*done)(struct work *))
{
    t->work.run = run;
    t->work.done = done;
    work_start(t->task.api->loop, &t->work);
}

/* ---- bringing what is not there ---- */

static void next_file(struct api_history_task *t);

static void on_file(struct download *d)
{
    struct api_history_task *t = OF(d, download);
    t->is_downloading = false;
    if (d->error) {
        api_fail(&t->task, d->status, "%s", d->why[0] ? d->why : err_text(d->error));
        return;
    }
    next_file(t);
}

static void next_file(struct api_history_task *t)
{
    struct api_scan *s = t->scan;
    for (; t->at < s->urls.len && !t->task.api->closing; t->nth++) {
        const char *url = s->urls.data + t->at;
        t->at += strlen(url) + 1;
        if (s->columns.len || t->is_cached.data[t->nth])
            continue;
        mem_free(t->path);
        t->path = cached_path(s, t->nth++);
        t->download = (struct download){
            .backend = t->task.api->backend, .url = url, .path = t->path, .done = on_file};
        t->is_downloading = true;
        download_start(&t->download);
        return;
    }
    if (t->task.api->closing)
        api_fail(&t->task, 0, "cancelled");
    else
        start_work(t, open_run, open_done);
}

static void look_run(struct work *w)
{
    struct api_history_task *t = OF(w, work);
    AUTO_FREE char *dir = cache_dir();
    size_t i = 0;
    if (!parquet_is_there()) {
        err_set(&t->err, TARE_EUNSUPPORTED, "no library");
        return;
    }
    if (!dir || os_mkdirs(dir, 0755) != 0) {
        err_set(&t->err, TARE_EIO, "failed to create runhistory cache directory: %s", dir ? dir : "no HOME");
        return;
    }
    for (const char *url = url_behind(t->scan, NULL); url; url = url_behind(t->scan, url), i++) {
        struct stat st;
        AUTO_FREE char *path = cached_path(t->scan, i);
        buf_putc(&t->is_cached, t->use_cache && path && stat(path, &st) == 0);
    }
}

static void look_done(struct work *w)
{
    struct api_history_task *t = OF(w, work);
    if (t->err.code == TARE_EUNSUPPORTED)
        api_exported_opened(t); /* the backend reads them for us */
    else if (t->err.code)
        api_fail(&t->task, 0, "%s", t->err.text);
    else
        next_file(t);
}

void api_exported_open(struct api_history_task *t)
{
    start_work(t, look_run, look_done);
}

/* ---- scanning ---- */

static void scan_run(struct work *w)
{
    struct api_history_task *t = OF(w, work);
    struct api_scan *s = t->scan;
    uv_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_files && !t->err.code; i++)
        parquet_scan(s->files[i], t->min_step, t->max_step, &t->rows, &t->err);
    uv_mutex_unlock(&s->lock);
}

static void scan_done(struct work *w)
{
    struct api_history_task *t = OF(w, work);
    if (t->err.code)
        api_fail(&t->task, 0, "%s", t->err.text);
    else
        api_exported_scanned(t);
}

void api_exported_scan(struct api_history_task *t)
{
    start_work(t, scan_run, scan_done);
}

/* ---- closing ---- */

struct closing {
    struct work work;
    struct parquet_file **files;
    size_t n;
};

static void close_run(struct work *w)
{
    struct closing *c = (struct closing *)w;
    for (size_t i = 0; i < c->n; i++)
        parquet_close(c->files[i]);
}

static void close_done(struct work *w)
{
    struct closing *c = (struct closing *)w;
    mem_free(c->files);
    mem_free(c);
}

void api_exported_close(uv_loop_t *loop, struct parquet_file **files, size_t n)
{
    struct closing *c = xmem_calloc(1, sizeof *c);
    c->work.run = close_run;
    c->work.done = close_done;
    c->files = files;
    c->n = n;
    work_start(loop, &c->work);
}
