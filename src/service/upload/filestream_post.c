/* SPDX-License-Identifier: MIT */
#include "service/upload/filestream_post.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/random.h"
#include "service/limits.h"
#include "service/upload/json_path.h"

#include <assert.h>
#include <libdeflate.h>
#include <stddef.h>
#include <stdio.h>

#define TO(state) (1u << (state))

/* Cancelling ends any of them. */
static const struct {
    const char *name;
    unsigned to;
} states[] = {
    [FS_POST_DONE] = {"done", TO(FS_POST_PACKING) | TO(FS_POST_ASKING) | TO(FS_POST_RESTING)},
    [FS_POST_PACKING] = {"packing", TO(FS_POST_ASKING) | TO(FS_POST_RESTING) | TO(FS_POST_DONE)},
    [FS_POST_ASKING] = {"asking", TO(FS_POST_SENDING) | TO(FS_POST_RESTING) | TO(FS_POST_DONE)},
    [FS_POST_SENDING] = {"sending", TO(FS_POST_RESTING) | TO(FS_POST_DONE)},
    [FS_POST_RESTING] = {"resting", TO(FS_POST_ASKING) | TO(FS_POST_DONE)},
};

static void move(struct fs_post *p, enum fs_post_state to)
{
    assert(states[p->state].to & TO(to));
    p->state = to;
}

static void ask(struct fs_post *p);

/* ---- the end of a request, or of all ---- */

static void on_closed(uv_handle_t *handle)
{
    struct fs_post *p = handle->data;
    buf_fini(&p->packed);
    buf_fini(&p->headers);
    http_request_fini(&p->http);
    p->closed(p);
}

static void end(struct fs_post *p, int error)
{
    move(p, FS_POST_DONE);
    uv_timer_stop(&p->timer);
    buf_fini(&p->packed);
    if (p->closing)
        uv_close((uv_handle_t *)&p->timer, on_closed);
    else
        p->done(p, error);
}

/* ---- tries ---- */

static void note_failure(struct fs_post *p, const char *why)
{
    if (p->failing_ns == 0)
        p->failing_ns = clock_mono_ns();
    snprintf(p->why, sizeof p->why, "%s", why);
    diag_info("file stream: %s: %s (try %u)", p->url, why, p->n_tries);
}

/* The server's own words if it gave any, as the peer shows them. */
static void explain_status(const struct http_request *r, char *to, size_t room)
{
    AUTO_FREE char *message = json_string_at(buf_str(&r->answer), "error.message");
    AUTO_FREE char *error = message ? NULL : json_string_at(buf_str(&r->answer), "error");
    AUTO_FREE char *first = message || error ? NULL : json_string_at(buf_str(&r->answer), "errors.0.message");
    const char *words = message ? message : error ? error : first;
    snprintf(to, room, "HTTP %d%s%.200s", r->status, words ? ": " : "", words ? words : "");
}

static void on_timer(uv_timer_t *timer)
{
    struct fs_post *p = timer->data;
    if (p->cancelled || p->error)
        end(p, p->cancelled ? TARE_ECANCELLED : p->error);
    else
        ask(p);
}

/* End from the timer: this may be inside fs_post_start. */
static void end_soon(struct fs_post *p, int error)
{
    p->error = error;
    uv_timer_start(&p->timer, on_timer, 0, 0);
}

static void rest_ms(struct fs_post *p, uint64_t ms)
{
    if (p->state != FS_POST_RESTING)
        move(p, FS_POST_RESTING);
    uv_timer_start(&p->timer, on_timer, ms, 0);
}

static void rest(struct fs_post *p)
{
    rest_ms(p, retry_wait_ms(&p->policy, &p->http, p->n_tries, random_u32()));
    if (p->on_retry)
        p->on_retry(p);
}

static void on_answer(struct http_request *r)
{
    struct fs_post *p = (struct fs_post *)((char *)r - offsetof(struct fs_post, http));
    pace_answer(&p->pace, r, clock_mono_ns());
    char why[sizeof p->why];
    /* An answer that is cut off, or too long to keep: the backend has taken the request. */
    bool is_taken = r->status >= 200 && r->status < 300;
    if (is_taken && !p->cancelled) {
        p->why[0] = 0;
        p->failing_ns = 0;
        end(p, 0);
        return;
    }
    if (r->error)
        snprintf(why, sizeof why, "%s", r->why[0] ? r->why : err_text(r->error));
    else
        explain_status(r, why, sizeof why);
    if (!is_taken)
        backend_note_answer(p->backend, r->status, buf_str(&r->answer));
    note_failure(p, why);
    if (p->cancelled) {
        end(p, TARE_ECANCELLED);
    } else if (p->n_tries <= p->policy.max &&
               (retry_again(&p->policy, r) || backend_renews(p->backend, r))) {
        rest(p);
    } else {
        end(p, r->error ? r->error : TARE_EPROTO);
    }
}

static void on_headers(struct backend_headers *h, int error, const char *why)
{
    struct fs_post *p = (struct fs_post *)((char *)h - offsetof(struct fs_post, ask));
    buf_fini(&p->headers);
    p->headers = h->text;
    h->text = (struct buf){0};
    http_request_fini(&p->http);
    http_request_init(&p->http);
    if (p->cancelled) {
        end_soon(p, TARE_ECANCELLED);
        return;
    }
    if (error) { /* no credentials */
        p->http.error = error;
        note_failure(p, why ? why : err_text(error));
        if (error == TARE_EPERM || p->n_tries > p->policy.max)
            end_soon(p, error);
        else
            rest(p);
        return;
    }
    buf_puts(&p->headers, "Content-Type: application/json\n");
    if (p->is_packed)
        buf_puts(&p->headers, "Content-Encoding: gzip\n");
    struct http_request *r = &p->http;
    r->method = "POST";
    r->url = p->url;
    r->route = backend_route(p->backend);
    r->headers = buf_z(&p->headers);
    r->body = p->is_packed ? buf_str(&p->packed) : p->body;
    r->keep_bytes = FILESTREAM_ANSWER_BYTES;
    r->timeout_ms = p->policy.timeout_ms;
    r->done = on_answer;
    move(p, FS_POST_SENDING);
    http_send(backend_http(p->backend), r);
}

static void ask(struct fs_post *p)
{
    int64_t wait_ns = p->is_paced ? 0 : pace_take_ns(&p->pace, clock_mono_ns());
    p->is_paced = wait_ns > 0;
    if (wait_ns > 0) {
        rest_ms(p, (uint64_t)(wait_ns + 999999) / 1000000);
        return;
    }
    move(p, FS_POST_ASKING);
    p->n_tries++;
    p->ask.ready = on_headers;
    backend_headers(p->backend, BACKEND_FILESTREAM, p->url, &p->ask);
}

/* ---- compressing ---- */

/* At a low level: a fifth of the size for a fifth of the time of the usual one. On failure the body
 * goes as it is. */
static void pack(struct fs_post *p)
{
    enum { LEVEL = 2 };
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(LEVEL);
    if (!c)
        return;
    size_t room = libdeflate_gzip_compress_bound(c, p->body.n);
    char *to = buf_reserve(&p->packed, room);
    size_t n = to ? libdeflate_gzip_compress(c, p->body.p, p->body.n, to, room) : 0;
    libdeflate_free_compressor(c);
    p->packed.len = n;
    p->is_packed = n > 0;
}

static void on_pack(struct work *w)
{
    pack((struct fs_post *)((char *)w - offsetof(struct fs_post, work)));
}

static void on_packed(struct work *w)
{
    struct fs_post *p = (struct fs_post *)((char *)w - offsetof(struct fs_post, work));
    if (p->cancelled)
        end(p, TARE_ECANCELLED);
    else
        ask(p);
}

/* ---- public ---- */

void fs_post_init(struct fs_post *p)
{
    uv_timer_init(p->loop, &p->timer);
    p->timer.data = p;
    p->work.run = on_pack;
    p->work.done = on_packed;
    pace_init(&p->pace, clock_mono_ns());
    http_request_init(&p->http);
}

void fs_post_start(struct fs_post *p, const char *url, struct str body, bool gzip)
{
    assert(p->state == FS_POST_DONE && !p->closing);
    p->url = url;
    p->body = body;
    p->n_tries = 0;
    p->error = 0;
    p->is_packed = p->is_paced = p->cancelled = false;
    if (!gzip) {
        ask(p);
        return;
    }
    move(p, FS_POST_PACKING);
    if (body.n > FILESTREAM_PACK_HERE_BYTES) {
        work_start(p->loop, &p->work);
    } else {
        pack(p);
        ask(p);
    }
}

void fs_post_cancel(struct fs_post *p)
{
    if (p->state == FS_POST_DONE || p->cancelled)
        return;
    p->cancelled = true;
    if (p->state == FS_POST_SENDING)
        http_cancel(backend_http(p->backend), &p->http);
    else if (p->state == FS_POST_RESTING)
        uv_timer_start(&p->timer, on_timer, 0, 0);
}

void fs_post_close(struct fs_post *p, void (*closed)(struct fs_post *p))
{
    p->closing = true;
    p->closed = closed;
    if (p->state == FS_POST_DONE)
        uv_close((uv_handle_t *)&p->timer, on_closed);
    else
        fs_post_cancel(p);
}
