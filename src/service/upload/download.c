/* SPDX-License-Identifier: MIT */
#include "service/upload/download.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/number.h"
#include "base/random.h"
#include "service/limits.h"
#include "service/upload/retry.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#define TO(state) (1u << (state))
#define OF(w, member) ((struct download *)((char *)(w) - offsetof(struct download, member)))

static const struct {
    const char *name;
    unsigned to;
} states[] = {
    [DOWNLOAD_DONE] = {"done", TO(DOWNLOAD_OPENING) | TO(DOWNLOAD_ASKING)},
    [DOWNLOAD_OPENING] = {"opening", TO(DOWNLOAD_COPYING) | TO(DOWNLOAD_ASKING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_COPYING] = {"copying", TO(DOWNLOAD_ASKING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_ASKING] = {"asking", TO(DOWNLOAD_SENDING) | TO(DOWNLOAD_RESTING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_SENDING] = {"sending", TO(DOWNLOAD_RESTING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_RESTING] = {"resting", TO(DOWNLOAD_OPENING) | TO(DOWNLOAD_ASKING) | TO(DOWNLOAD_CLOSING)},
    [DOWNLOAD_CLOSING] = {"closing", TO(DOWNLOAD_RESTING) | TO(DOWNLOAD_DONE)},
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
    buf_fini(&d->headers);
    if (d->path)
        http_request_fini(&d->http);
    move(d, DOWNLOAD_DONE);
    d->done(d);
}

void download_fini(struct download *d)
{
    http_request_fini(&d->http);
}

static void finish(struct download *d)
{
    if (d->cancelled)
        d->error = TARE_ECANCELLED;
    uv_close((uv_handle_t *)&d->timer, on_closed);
}

static void try_again(struct download *d, uint32_t wait_ms);

static void close_run(struct work *w)
{
    struct download *d = OF(w, work);
    d->rc = d->error ? 0 : download_part_finish(d);
    if (d->error || d->rc)
        download_part_drop(d);
}

static void close_done(struct work *w)
{
    struct download *d = OF(w, work);
    /* the bytes that an earlier process left may have been the wrong ones */
    bool again = d->rc == TARE_ECONFLICT && d->was_continued && !d->cancelled;
    d->was_continued = false;
    if (again) {
        diag_info("download of %s: the part that was there is of no use", d->path);
        try_again(d, 0);
        return;
    }
    d->error = d->error ? d->error : d->rc;
    finish(d);
}

static void end(struct download *d, int error)
{
    d->error = d->cancelled ? TARE_ECANCELLED : error;
    d->rc = 0;
    move(d, DOWNLOAD_CLOSING);
    if (!d->path || (d->is_small && d->error)) {
        finish(d);
        return;
    }
    d->work.run = close_run;
    d->work.done = close_done;
    work_start(d->loop, &d->work);
}

/* ---- tries ---- */

static void open_part(struct download *d);
static void ask(struct download *d);

static void on_timer(uv_timer_t *t)
{
    struct download *d = t->data;
    if (d->cancelled)
        end(d, TARE_ECANCELLED);
    else if (d->path && !d->is_small && d->fd < 0)
        open_part(d);
    else
        ask(d);
}

static void try_again(struct download *d, uint32_t wait_ms)
{
    move(d, DOWNLOAD_RESTING);
    uv_timer_start(&d->timer, on_timer, wait_ms, 0);
}

/* Our own disk's: no use in asking the server again. */
static bool is_of_disk(int error)
{
    return error == UV_ENOSPC || error == -EDQUOT || error == UV_EFBIG || error == UV_EROFS || error == UV_EIO;
}

static void explain(struct download *d)
{
    AUTO_BUF text = {0};
    const struct http_request *r = &d->http;
    if (d->path && is_of_disk(r->error)) {
        snprintf(d->why, sizeof d->why, "write %s: %s", d->path, err_text(r->error));
        return;
    }
    if (r->error) {
        snprintf(d->why, sizeof d->why, "%s", r->why[0] ? r->why : err_text(r->error));
        return;
    }
    if (d->path)
        buf_puts(&text, "file transfer: download: failed to download: status: ");
    else
        buf_puts(&text, "download failed: status: ");
    download_put_status(&text, r->status);
    buf_printf(&text, d->path ? ": body: %.*s" : ", body: %.*s", (int)(r->answer.len < 1024 ? r->answer.len : 1024),
               r->answer.data ? r->answer.data : "");
    snprintf(d->why, sizeof d->why, "%.*s", STR_ARG(buf_str(&text)));
}

static void rest_or_end(struct download *d)
{
    int error = d->http.error ? d->http.error : TARE_EPROTO;
    const struct retry_policy *p = backend_policy(d->backend, BACKEND_FILE);
    if (d->cancelled || d->wrong_etag || is_of_disk(d->http.error) || d->n_tries > p->max ||
        !retry_again(p, &d->http)) {
        end(d, error);
        return;
    }
    diag_info("download of %s: %s (try %u)", d->path ? d->path : d->url, d->why, d->n_tries);
    try_again(d, retry_wait_ms(p, &d->http, d->n_tries, random_u32()));
}

/* ---- what comes ---- */

static struct str unquoted(struct str etag)
{
    if (str_starts(etag, STR("W/")))
        etag = str_make(etag.p + 2, etag.n - 2);
    if (etag.n >= 2 && etag.p[0] == '"' && etag.p[etag.n - 1] == '"')
        etag = str_make(etag.p + 1, etag.n - 2);
    return etag;
}

static bool is_good(int status)
{
    return status >= 200 && status < 300;
}

/* Is the answer of another state of the thing than what was asked for? */
static bool is_other(struct download *d)
{
    struct str etag = http_answer_header(&d->http, "etag");
    if (!d->etag || d->wrong_etag || str_eqz(unquoted(etag), d->etag) || str_eqz(etag, d->etag))
        return d->wrong_etag;
    snprintf(d->why, sizeof d->why, "digest/etag mismatch: etag %.*s does not match expected digest %s",
             STR_ARG(unquoted(etag)), d->etag);
    d->wrong_etag = true;
    return true;
}

/* "bytes 1000-1999/2000": does it begin where we stopped? */
static bool begins_at(struct str range, uint64_t at)
{
    int64_t first;
    return str_starts(range, STR("bytes ")) && number_parse_i64(range.p + 6, range.n - 6, &first) > 0 &&
           (uint64_t)first == at;
}

/* From the first bytes on: what is in the file is a state of the thing that this names. */
static void note_validator(struct download *d)
{
    const struct http_request *r = &d->http;
    struct str etag = http_answer_header(r, "etag"), date = http_answer_header(r, "last-modified");
    struct str use = etag.n && !str_starts(etag, STR("W/")) ? etag : date;
    bool as_stored = http_answer_header(r, "content-encoding").n == 0;
    if (r->status != 206)
        snprintf(d->validator, sizeof d->validator, "%.*s", as_stored && use.n < sizeof d->validator ? (int)use.n : 0,
                 use.n ? use.p : "");
}

/* On a worker. */
static void on_written(struct http_request *r, uint64_t at, const char *p, size_t n)
{
    download_part_add(OF(r, http), at, p, n);
}

static void on_progress(struct http_request *r)
{
    struct download *d = OF(r, http);
    uint64_t before = r->status == 206 ? r->to_at : 0;
    struct str length = http_answer_header(r, "content-length");
    int64_t n;
    if (!is_good(r->status))
        return;
    d->received = before + r->received;
    if (length.n && number_parse_i64(length.p, length.n, &n) == length.n && n >= 0)
        d->total = before + (uint64_t)n;
    bool is_elsewhere = r->status == 206 && !begins_at(http_answer_header(r, "content-range"), r->to_at);
    bool is_longer = d->digest.n > 0 && d->received > d->size;
    d->wrong_range = is_elsewhere;
    if (is_elsewhere || is_longer || is_other(d)) {
        http_cancel(backend_http(d->backend), r);
        return;
    }
    note_validator(d);
    if (d->moved)
        d->moved(d);
}

static void on_answer(struct http_request *r)
{
    struct download *d = OF(r, http);
    bool is_longer = d->digest.n > 0 && (d->received > d->size || (d->is_small && r->error == TARE_ELIMIT));
    bool cannot_resume = !r->error && r->status == 416;
    d->status = r->status;
    if (!r->error && is_good(r->status) && !is_other(d)) {
        d->received = d->path && !d->is_small ? d->have : r->received;
        end(d, 0);
        return;
    }
    if (is_longer)
        snprintf(d->why, sizeof d->why, "file hash mismatch: expected %llu bytes, more have come",
                 (unsigned long long)d->size);
    else if (!d->wrong_etag)
        explain(d);
    if (d->wrong_range && !d->cancelled) {
        d->have = 0; /* a part from elsewhere than was asked for */
        r->error = TARE_EPROTO;
        snprintf(d->why, sizeof d->why, "the server answered with another range than was asked for");
    } else if (cannot_resume && d->have > 0) {
        d->have = 0;
        r->error = TARE_EPROTO;
    }
    if (is_longer)
        r->error = TARE_ECONFLICT;
    if (is_longer && !d->cancelled)
        end(d, TARE_ECONFLICT);
    else
        rest_or_end(d);
}

/* ---- asking ---- */

/* The rest of what is there already: where the digest of the whole is known, whatever the server has
 * now; else only if it has not changed. */
static void put_range(struct download *d)
{
    struct http_request *r = &d->http;
    bool is_safe = d->digest.n > 0 || d->validator[0];
    if (!is_safe)
        d->have = 0;
    r->to_fd = d->fd;
    r->to_at = d->have;
    r->resumes = d->have > 0;
    if (d->have == 0)
        return;
    buf_printf(&d->headers, "Range: bytes=%llu-\n", (unsigned long long)d->have);
    if (d->validator[0])
        buf_printf(&d->headers, "If-Range: %s\n", d->validator);
}

static void send_it(struct download *d)
{
    struct http_request *r = &d->http;
    const struct retry_policy *p = backend_policy(d->backend, BACKEND_FILE);
    r->method = d->method ? d->method : "GET";
    r->url = d->url;
    r->body = d->body;
    r->keep_bytes = d->is_small ? (size_t)d->size + 1 : d->keep_bytes;
    if (d->path && !d->is_small) {
        put_range(d);
        r->written = on_written;
    }
    if (d->put_headers)
        d->put_headers(d, &d->headers);
    r->route = backend_route(d->backend);
    r->headers = buf_z(&d->headers);
    r->timeout_ms = p->timeout_ms;
    r->stall_ms = TRANSFER_STALL_MS;
    r->progress = on_progress;
    r->done = on_answer;
    move(d, DOWNLOAD_SENDING);
    http_send(backend_http(d->backend), r);
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
    send_it(d);
}

static void ask(struct download *d)
{
    move(d, DOWNLOAD_ASKING);
    d->n_tries++;
    d->wrong_range = false;
    d->ask.ready = on_headers;
    if (d->is_foreign)
        on_headers(&d->ask, 0, NULL);
    else
        backend_headers(d->backend, BACKEND_FILE, d->url, &d->ask);
}

/* ---- begin ---- */

static void copy_run(struct work *w)
{
    struct download *d = OF(w, work);
    d->rc = download_part_copy(d);
}

static void copy_on(struct download *d);

static void copy_done(struct work *w)
{
    struct download *d = OF(w, work);
    d->received = d->have;
    if (d->cancelled) {
        end(d, TARE_ECANCELLED);
    } else if (d->rc > 0) {
        if (d->moved)
            d->moved(d);
        copy_on(d);
    } else if (d->rc < 0) {
        diag_info("download of %s: %s is of no use: %s", d->path, d->here, err_text(d->rc));
        d->here = NULL;
        ask(d);
    } else {
        d->here = NULL;
        d->was_continued = true; /* if it is wrong, the server is asked */
        end(d, 0);
    }
}

static void copy_on(struct download *d)
{
    d->total = d->size;
    d->work.is_long = true;
    d->work.run = copy_run;
    d->work.done = copy_done;
    work_start(d->loop, &d->work);
}

static void open_run(struct work *w)
{
    struct download *d = OF(w, work);
    d->rc = download_part_open(d);
}

static void open_done(struct work *w)
{
    struct download *d = OF(w, work);
    if (d->rc < 0) {
        snprintf(d->why, sizeof d->why, "open %s: %s", d->path, err_text(d->rc));
        end(d, d->rc);
    } else if (d->cancelled) {
        end(d, TARE_ECANCELLED);
    } else if (d->here && d->digest.n > 0 && d->have == 0) {
        move(d, DOWNLOAD_COPYING);
        copy_on(d);
    } else {
        ask(d);
    }
}

static void open_part(struct download *d)
{
    move(d, DOWNLOAD_OPENING);
    d->validator[0] = '\0';
    d->is_ours = false;
    d->work.run = open_run;
    d->work.done = open_done;
    work_start(d->loop, &d->work);
}

void download_start(struct download *d)
{
    d->fd = d->from_fd = -1;
    d->is_small = d->path && d->digest.n > 0 && d->size <= TRANSFER_SMALL_BYTES;
    http_request_init(&d->http);
    d->loop = backend_loop(d->backend);
    d->backend_url = backend_url(d->backend);
    uv_timer_init(d->loop, &d->timer);
    d->timer.data = d;
    if (d->path && !d->is_small)
        open_part(d);
    else
        ask(d);
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
