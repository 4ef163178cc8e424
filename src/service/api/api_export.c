/* SPDX-License-Identifier: MIT */
/* Downloads of the Parquet files that a backend has exported a run's history to.
 *
 * (peer: core/internal/runhistoryreader/parquet/downloader.go) */
#include "service/api/api_scan.h"

#include "base/alloc.h"

#include <stdio.h>

enum { DOWNLOAD_INIT = 4, DOWNLOAD = 5, DOWNLOAD_STATUS = 6 }; /* of ReadRunHistoryResponse */
enum { INIT_DIR = 4, INIT_COMPLETE = 5 };
enum { INCOMPLETE_RUN_HISTORY = 1, ERROR_MESSAGE = 1, ERROR_TYPE = 2 };

void api_export_begin(struct api_history_task *t, struct str request, bool has_live)
{
    AUTO_BUF body = {0};
    struct api_scan *s = t->scan;
    struct str dir = wire_find_bytes(request, INIT_DIR);
    if (has_live && wire_find_varint(request, INIT_COMPLETE)) {
        wire_buf_bytes(&body, ERROR_MESSAGE,
                       STR("Run contains data that has not been exported to parquet files yet."));
        wire_buf_varint(&body, ERROR_TYPE, INCOMPLETE_RUN_HISTORY);
        api_reply_with(&t->task, API_ERROR, buf_str(&body));
        return;
    }
    t->is_new = false;
    s->is_download = true;
    s->dir = xmem_strndup(dir.n ? dir.p : ".", dir.n ? dir.n : 1);
    size_t mark = wire_buf_begin(&body, DOWNLOAD_INIT);
    wire_buf_varint(&body, 1, (uint64_t)s->id);
    if (has_live)
        wire_buf_varint(&body, 2, 1);
    wire_buf_end(&body, mark);
    api_reply_with(&t->task, API_HISTORY, buf_str(&body));
}

/* ---- the files, one after another ---- */

static void next_file(struct api_history_task *e);

static void put_error(struct buf *to, const char *path, const char *why)
{
    size_t mark = wire_buf_begin(to, 2); /* an entry of a map */
    wire_buf_bytes(to, 1, str_of(path));
    wire_buf_bytes(to, 2, str_of(why));
    wire_buf_end(to, mark);
}

static void on_file(struct download *d)
{
    struct api_history_task *e =
        (struct api_history_task *)((char *)d - offsetof(struct api_history_task, download));
    e->is_downloading = false;
    if (d->error)
        put_error(&e->files, e->path, d->why[0] ? d->why : err_text(d->error));
    else
        wire_buf_bytes(&e->files, 1, str_of(e->path));
    mem_free(e->path);
    e->path = NULL;
    if (d->cancelled)
        e->at = e->scan->urls.len;
    next_file(e);
}

static bool has_more(struct api_history_task *e)
{
    return !e->task.api->closing && e->at < e->scan->urls.len;
}

static void next_file(struct api_history_task *e)
{
    AUTO_BUF body = {0}, path = {0};
    const struct api_scan *s = e->scan;
    if (has_more(e)) {
        buf_printf(&path, "%s/", s->dir);
        api_scan_put_name(&path, s, e->nth++);
        e->path = xmem_strndup(path.data, path.len);
        e->download = (struct download){.backend = e->task.api->backend,
                                        .url = s->urls.data + e->at,
                                        .path = e->path,
                                        .done = on_file};
        e->at += strlen(s->urls.data + e->at) + 1;
        e->is_downloading = true;
        download_start(&e->download);
        return;
    }
    if (!e->scan->is_gone)
        api_scan_drop(e->task.api, e->scan);
    wire_buf_bytes(&body, DOWNLOAD, buf_str(&e->files));
    api_reply_with(&e->task, API_HISTORY, buf_str(&body));
}

static struct api_scan *scan_of(struct api_task *t, struct str request)
{
    return api_scan_find(t->api, (int32_t)wire_find_varint(request, 1), true);
}

/* The task that downloads them. */
static const struct api_history_task *task_of(const struct api_scan *s, struct api *api)
{
    for (struct api_task *t = api->tasks; t; t = t->next)
        if (t->kind == &api_history && ((struct api_history_task *)t)->scan == s)
            return (struct api_history_task *)t;
    return NULL;
}

void api_export_download(struct api_task *t, struct str request)
{
    struct api_history_task *e = (struct api_history_task *)t;
    struct api_scan *s = scan_of(t, request);
    if (!s || task_of(s, t->api)) {
        api_fail(t, 0, "Download operation not found.");
        return;
    }
    api_scan_hold(e, s);
    next_file(e);
}

/* ---- how far it is ---- */

void api_export_status(struct api_task *t, struct str request)
{
    AUTO_BUF body = {0};
    struct api_scan *s = scan_of(t, request);
    if (!s) {
        api_fail(t, 0, "Download operation not found.");
        return;
    }
    const struct api_history_task *e = task_of(s, t->api);
    size_t outer = wire_buf_begin(&body, DOWNLOAD_STATUS), stats = wire_buf_begin(&body, 1);
    if (e && e->is_downloading) {
        char progress[64];
        size_t operation = wire_buf_begin(&body, 1);
        wire_buf_bytes(&body, 1, STR("Downloading run history"));
        size_t file = wire_buf_begin(&body, 5);
        int n = snprintf(progress, sizeof progress, "%.1f MB", (double)e->download.received / 1e6);
        wire_buf_bytes(&body, 1, str_of(strrchr(e->path, '/') + 1));
        wire_buf_bytes(&body, 3, str_make(progress, (size_t)n));
        wire_buf_end(&body, file);
        wire_buf_end(&body, operation);
        wire_buf_varint(&body, 2, 1);
    }
    wire_buf_end(&body, stats);
    wire_buf_end(&body, outer);
    api_reply_with(t, API_HISTORY, buf_str(&body));
}
