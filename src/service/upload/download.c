/* SPDX-License-Identifier: MIT */
#include "service/upload/download.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/number.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"
#include "service/limits.h"
#include "service/upload/retry.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>

#define TO(state) (1u << (state))
#define OF(w, member) ((struct download *)((char *)(w) - offsetof(struct download, member)))

static const struct {
    const char *name;
    unsigned to;
} states[] = {
    [DOWNLOAD_DONE] = {"done", TO(DOWNLOAD_OPENING)},
    [DOWNLOAD_OPENING] = {"opening", TO(DOWNLOAD_ASKING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_ASKING] = {"asking", TO(DOWNLOAD_SENDING) | TO(DOWNLOAD_RESTING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_SENDING] = {"sending", TO(DOWNLOAD_RESTING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_RESTING] = {"resting", TO(DOWNLOAD_ASKING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_CLOSING] = {"closing", TO(DOWNLOAD_DONE)},
};

static void move(struct download *d, enum download_state to)
{
    assert(states[d->state].to & TO(to));
    d->state = to;
}

void download_put_status(struct buf *to, int status)
{
    static const struct {
        int status;
        const char *words;
    } known[] = {
        {400, "Bad Request"},       {401, "Unauthorized"},
        {403, "Forbidden"},         {404, "Not Found"},
        {409, "Conflict"},          {410, "Gone"},
        {413, "Request Entity Too Large"}, {416, "Requested Range Not Satisfiable"},
        {429, "Too Many Requests"}, {500, "Internal Server Error"},
        {501, "Not Implemented"},   {502, "Bad Gateway"},
        {503, "Service Unavailable"}, {504, "Gateway Timeout"},
    };
    buf_printf(to, "%d", status);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == status)
            buf_printf(to, " %s", known[i].words);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *t)
{
    struct download *d = t->data;
    http_request_fini(&d->http);
    buf_fini(&d->headers);
    mem_free(d->part);
    move(d, DOWNLOAD_DONE);
    d->done(d);
}

static void close_run(struct work *w)
{
    struct download *d = OF(w, work);
    if (d->fd >= 0) {
        /* an earlier try may have been longer */
        int cut = d->error ? 0 : os->ftruncate(d->fd, (off_t)d->received);
        int closed = os->close(d->fd);
        d->rc = cut ? cut : closed;
    }
    if (d->part && !d->error && d->rc == 0)
        d->rc = os->rename(d->part, d->path);
    if (d->part && (d->error || d->rc))
        os->unlink(d->part);
}

static void close_done(struct work *w)
{
    struct download *d = OF(w, work);
    if (!d->error && d->rc) {
        d->error = d->rc;
        snprintf(d->why, sizeof d->why, "open %s: %s", d->path, err_text(d->rc));
    }
    uv_close((uv_handle_t *)&d->timer, on_closed);
}

static void end(struct download *d, int error)
{
    d->error = d->cancelled ? TARE_ECANCELLED : error;
    d->rc = 0;
    move(d, DOWNLOAD_CLOSING);
    d->work.run = close_run;
    d->work.done = close_done;
    work_start(d->loop, &d->work);
}

/* ---- tries ---- */

static void ask(struct download *d);

static void on_timer(uv_timer_t *t)
{
    struct download *d = t->data;
    if (d->cancelled)
        end(d, TARE_ECANCELLED);
    else
        ask(d);
}

static void explain(struct download *d)
{
    AUTO_BUF text = {0};
    const struct http_request *r = &d->http;
    if (r->error) {
        snprintf(d->why, sizeof d->why, "%s", r->why);
        return;
    }
    buf_puts(&text, "file transfer: download: failed to download: status: ");
    download_put_status(&text, r->status);
    buf_printf(&text, ": body: %.*s", (int)(r->answer.len < 1024 ? r->answer.len : 1024),
               r->answer.data ? r->answer.data : "");
    snprintf(d->why, sizeof d->why, "%.*s", STR_ARG(buf_str(&text)));
}

static void rest_or_end(struct download *d)
{
    int error = d->http.error ? d->http.error : TARE_EPROTO;
    if (d->cancelled) {
        end(d, TARE_ECANCELLED);
        return;
    }
    const struct retry_policy *p = backend_policy(d->backend, BACKEND_FILE);
    if (d->n_tries > p->max || !retry_again(p, &d->http)) {
        end(d, error);
        return;
    }
    move(d, DOWNLOAD_RESTING);
    uv_timer_start(&d->timer, on_timer, retry_wait_ms(p, &d->http, d->n_tries, random_u32()), 0);
}

static void on_answer(struct http_request *r)
{
    struct download *d = OF(r, http);
    d->status = r->status;
    d->received = r->received;
    if (!r->error && r->status >= 200 && r->status < 300) {
        end(d, 0);
        return;
    }
    explain(d);
    rest_or_end(d);
}

static void on_progress(struct http_request *r)
{
    struct download *d = OF(r, http);
    struct str length = http_answer_header(r, "content-length");
    int64_t n;
    d->received = r->received;
    if (length.n && number_parse_i64(length.p, length.n, &n) == length.n)
        d->total = (uint64_t)n;
    if (d->moved)
        d->moved(d);
}

static void on_headers(struct backend_headers *h, int error, const char *why)
{
    struct download *d = OF(h, ask);
    buf_fini(&d->headers);
    d->headers = h->text;
    h->text = (struct buf){0};
    http_request_fini(&d->http);
    http_request_init(&d->http);
    if (error || d->cancelled) {
        d->http.error = error ? error : TARE_ECANCELLED;
        snprintf(d->why, sizeof d->why, "%s", why ? why : err_text(error));
        rest_or_end(d);
        return;
    }
    struct http_request *r = &d->http;
    r->url = d->url;
    r->route = backend_route(d->backend);
    r->headers = buf_z(&d->headers);
    r->to_fd = d->fd;
    r->timeout_ms = backend_policy(d->backend, BACKEND_FILE)->timeout_ms;
    r->stall_ms = TRANSFER_STALL_MS;
    r->progress = on_progress;
    r->done = on_answer;
    move(d, DOWNLOAD_SENDING);
    http_send(backend_http(d->backend), r);
}

static void ask(struct download *d)
{
    move(d, DOWNLOAD_ASKING);
    d->n_tries++;
    d->ask.ready = on_headers;
    backend_headers(d->backend, BACKEND_FILE, d->url, &d->ask);
}

/* ---- begin ---- */

static void open_run(struct work *w)
{
    struct download *d = OF(w, work);
    struct str dir = path_dir(str_of(d->path));
    AUTO_FREE char *folder = mem_strndup(dir.p, dir.n);
    d->rc = folder ? os_mkdirs(folder, 0777) : TARE_ENOMEM;
    if (d->rc == 0)
        d->fd = d->rc = os->open(d->part, O_WRONLY | O_CREAT | O_EXCL, 0666);
}

static void open_done(struct work *w)
{
    struct download *d = OF(w, work);
    if (d->rc < 0) {
        snprintf(d->why, sizeof d->why, "open %s: %s", d->path, err_text(d->rc));
        mem_free(d->part);
        d->part = NULL;
        end(d, d->rc);
    } else if (d->cancelled) {
        end(d, TARE_ECANCELLED);
    } else {
        ask(d);
    }
}

void download_start(struct download *d)
{
    char id[9];
    AUTO_BUF part = {0};
    random_id(id, 8);
    id[8] = '\0';
    buf_printf(&part, "%s.%s.part", d->path, id);
    d->part = xmem_strndup(part.data, part.len);
    d->fd = -1;
    d->error = d->status = 0;
    http_request_init(&d->http);
    d->loop = backend_loop(d->backend);
    uv_timer_init(d->loop, &d->timer);
    d->timer.data = d;
    move(d, DOWNLOAD_OPENING);
    d->work.run = open_run;
    d->work.done = open_done;
    work_start(d->loop, &d->work);
}

void download_cancel(struct download *d)
{
    if (d->state == DOWNLOAD_DONE || d->cancelled)
        return;
    d->cancelled = true;
    if (d->state == DOWNLOAD_SENDING)
        http_cancel(backend_http(d->backend), &d->http);
    else if (d->state == DOWNLOAD_RESTING)
        uv_timer_start(&d->timer, on_timer, 0, 0);
}
