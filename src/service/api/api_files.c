/* SPDX-License-Identifier: MIT */
/* One file up or down.
 *
 * (peer: core/internal/wbapi/filetransferhandler.go) */
#include "service/api/api_impl.h"

#include "base/alloc.h"
#include "service/upload/download.h"
#include "service/upload/transfer.h"

enum { PATH = 1, URL = 2, HEADERS = 3 };

static char *text_of(struct api_task *t, uint32_t number)
{
    struct str s = wire_find_bytes(buf_str(&t->request), number);
    return xmem_strndup(s.n ? s.p : "", s.n);
}

/* ---- down ---- */

struct download_task {
    struct api_task task;
    char *path, *url;
    struct download download;
};

static void on_downloaded(struct download *d)
{
    struct download_task *t = (struct download_task *)((char *)d - offsetof(struct download_task, download));
    if (d->error)
        api_fail(&t->task, d->status, "%s", d->why[0] ? d->why : err_text(d->error));
    else
        api_reply_with(&t->task, API_DOWNLOAD, (struct str){0});
}

static void start_download(struct api_task *task)
{
    struct download_task *t = (struct download_task *)task;
    t->path = text_of(task, PATH);
    t->url = text_of(task, URL);
    t->download = (struct download){
        .backend = task->api->backend, .url = t->url, .path = t->path, .done = on_downloaded};
    download_start(&t->download);
}

static void cancel_download(struct api_task *task)
{
    download_cancel(&((struct download_task *)task)->download);
}

static void fini_download(struct api_task *task)
{
    struct download_task *t = (struct download_task *)task;
    mem_free(t->path);
    mem_free(t->url);
}

const struct api_kind api_download = {5, sizeof(struct download_task), start_download, cancel_download,
                                      fini_download};

/* ---- up ---- */

struct upload_task {
    struct api_task task;
    char *path, *url;
    struct buf headers;
    struct buf why;
    struct transfer transfer;
};

static void on_upload_closed(struct transfer *x)
{
    struct upload_task *t = (struct upload_task *)((char *)x - offsetof(struct upload_task, transfer));
    if (x->error)
        api_fail(&t->task, x->status, "%.*s", STR_ARG(buf_str(&t->why)));
    else
        api_reply_with(&t->task, API_UPLOAD, (struct str){0});
}

static void on_uploaded(struct transfer *x)
{
    struct upload_task *t = (struct upload_task *)((char *)x - offsetof(struct upload_task, transfer));
    if (x->error && x->status >= 300) {
        buf_puts(&t->why, "file transfer: upload: failed to upload: status: ");
        download_put_status(&t->why, x->status);
        buf_printf(&t->why, ": body: %.1024s", x->http.answer.len ? buf_z(&x->http.answer) : "");
    } else if (x->work_error == UV_EISDIR) {
        buf_printf(&t->why, "file transfer: upload: cannot upload directory %s", t->path);
    } else if (x->error && x->work_error) {
        buf_printf(&t->why, "open %s: %s", t->path, err_text(x->work_error));
    } else if (x->error) {
        buf_puts(&t->why, x->why[0] ? x->why : err_text(x->error));
    }
    transfer_close(x, on_upload_closed);
}

static void put_headers(struct buf *to, struct str request)
{
    struct wire_field f;
    for (struct wire_reader r = wire_open(request); wire_next(&r, &f) > 0;) {
        if (f.number != HEADERS || f.type != WIRE_BYTES)
            continue;
        transfer_put_header(to, wire_find_bytes(f.bytes, 1), wire_find_bytes(f.bytes, 2));
    }
}

static void start_upload(struct api_task *task)
{
    struct upload_task *t = (struct upload_task *)task;
    t->path = text_of(task, PATH);
    t->url = text_of(task, URL);
    put_headers(&t->headers, buf_str(&task->request));
    t->transfer = (struct transfer){
        .backend = task->api->backend,
        .loop = backend_loop(task->api->backend),
        .policy = backend_policy(task->api->backend, BACKEND_FILE),
        .path = t->path,
        .url = t->url,
        .headers = t->headers.len ? buf_z(&t->headers) : NULL,
        .done = on_uploaded,
    };
    transfer_start(&t->transfer);
}

static void cancel_upload(struct api_task *task)
{
    transfer_cancel(&((struct upload_task *)task)->transfer);
}

static void fini_upload(struct api_task *task)
{
    struct upload_task *t = (struct upload_task *)task;
    mem_free(t->path);
    mem_free(t->url);
    buf_fini(&t->headers);
    buf_fini(&t->why);
}

const struct api_kind api_upload = {6, sizeof(struct upload_task), start_upload, cancel_upload, fini_upload};
