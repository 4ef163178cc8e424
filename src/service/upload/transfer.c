/* SPDX-License-Identifier: MIT */
#include "service/upload/transfer.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/json.h"
#include "base/os.h"
#include "base/random.h"
#include "service/limits.h"

#include <assert.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>

#define TO(state) (1u << (state))
#define OF(p, member) ((struct transfer *)((char *)(p) - offsetof(struct transfer, member)))

/* Cancelling ends any of them. */
static const struct {
    const char *name;
    unsigned to;
} states[] = {
    [TRANSFER_DONE] = {"done", TO(TRANSFER_WAITING)},
    [TRANSFER_WAITING] = {"waiting", TO(TRANSFER_OPENING) | TO(TRANSFER_ASKING) | TO(TRANSFER_DONE)},
    [TRANSFER_OPENING] = {"opening", TO(TRANSFER_ASKING) | TO(TRANSFER_CLOSING) | TO(TRANSFER_DONE)},
    [TRANSFER_ASKING] = {"asking", TO(TRANSFER_SENDING) | TO(TRANSFER_CLOSING)},
    [TRANSFER_SENDING] = {"sending", TO(TRANSFER_CLOSING)},
    [TRANSFER_CLOSING] = {"closing", TO(TRANSFER_RESTING) | TO(TRANSFER_DONE)},
    [TRANSFER_RESTING] = {"resting", TO(TRANSFER_WAITING) | TO(TRANSFER_DONE)},
};

static void move(struct transfer *t, enum transfer_state to)
{
    assert(states[t->state].to & TO(to));
    t->state = to;
}

struct file_stamp file_stamp_of(const struct stat *st)
{
    return (struct file_stamp){
        .size = (uint64_t)st->st_size,
        .inode = st->st_ino,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
    };
}

/* ---- the end, and what comes after a failed try ---- */

static void on_closed(uv_handle_t *timer)
{
    struct transfer *t = timer->data;
    buf_fini(&t->small);
    buf_fini(&t->all_headers);
    http_request_fini(&t->http);
    t->closed(t);
}

static void end(struct transfer *t)
{
    move(t, TRANSFER_DONE);
    uv_timer_stop(&t->timer);
    pool_leave(&t->slot);
    buf_fini(&t->small);
    if (t->cancelled)
        t->error = TARE_ECANCELLED;
    if (t->closing)
        uv_close((uv_handle_t *)&t->timer, on_closed);
    else
        t->done(t);
}

static void note(struct transfer *t, int error, const char *why)
{
    t->error = error;
    snprintf(t->why, sizeof t->why, "%s", why);
}

static void on_timer(uv_timer_t *timer)
{
    struct transfer *t = timer->data;
    if (t->cancelled) {
        end(t);
        return;
    }
    move(t, TRANSFER_WAITING);
    pool_enter(&t->slot);
}

static bool is_over(const struct transfer *t)
{
    return t->error == 0 || t->cancelled || t->n_failed > t->policy->max || !retry_again(t->policy, &t->http);
}

/* The file is closed: what the try has brought. */
static void settle(struct transfer *t)
{
    if (t->error != 0)
        t->n_failed++;
    if (is_over(t)) {
        end(t);
        return;
    }
    diag_info("upload of %s: %s (try %u)", t->path ? t->path : t->url, t->why, t->n_failed);
    move(t, TRANSFER_RESTING);
    pool_leave(&t->slot);
    uv_timer_start(&t->timer, on_timer, retry_wait_ms(t->policy, &t->http, t->n_failed, random_u32()), 0);
    if (t->moved)
        t->moved(t);
}

/* ---- closing: has the file changed meanwhile? ---- */

static void close_run(struct work *w)
{
    struct transfer *t = OF(w, work);
    struct stat st;
    int rc = os->fstat(t->fd, &st);
    struct file_stamp now = rc ? (struct file_stamp){0} : file_stamp_of(&st);
    t->has_changed = !file_stamp_eq(&now, &t->stamp);
    os->close(t->fd);
}

static void close_done(struct work *w)
{
    struct transfer *t = OF(w, work);
    t->fd = -1;
    settle(t);
}

static void close_file(struct transfer *t)
{
    move(t, TRANSFER_CLOSING);
    if (t->fd < 0) {
        settle(t);
        return;
    }
    t->work.run = close_run;
    t->work.done = close_done;
    work_start(t->loop, &t->work);
}

/* ---- sending ---- */

static void on_progress(struct http_request *r)
{
    struct transfer *t = OF(r, http);
    t->sent = r->sent;
    if (t->moved)
        t->moved(t);
}

static void on_answer(struct http_request *r)
{
    struct transfer *t = OF(r, http);
    char why[sizeof t->why];
    t->status = r->status;
    if (r->status >= 200 && r->status < 300) { /* the peer: whatever follows */
        note(t, 0, "");
        t->sent = t->total;
    } else if (r->error) {
        note(t, r->error, r->why[0] ? r->why : err_text(r->error));
    } else {
        snprintf(why, sizeof why, "HTTP %d: %.*s", r->status, STR_ARG(buf_str(&r->answer)));
        note(t, TARE_EPROTO, why);
    }
    close_file(t);
}

static void on_headers(struct backend_headers *h, int error, const char *why)
{
    struct transfer *t = OF(h, ask);
    buf_fini(&t->all_headers);
    t->all_headers = h->text;
    h->text = (struct buf){0};
    if (error || t->cancelled) {
        t->http.error = error ? error : TARE_ECANCELLED;
        note(t, t->http.error, why ? why : err_text(t->http.error));
        close_file(t);
        return;
    }
    buf_puts(&t->all_headers, t->headers ? t->headers : "");
    struct http_request *r = &t->http;
    r->method = "PUT";
    r->url = t->url;
    r->route = backend_route(t->backend);
    r->headers = buf_z(&t->all_headers);
    r->body_fd = t->fd;
    if (t->fd >= 0) {
        r->body_at = t->part_at;
        r->body_bytes = t->total;
    } else {
        r->body = t->path ? buf_str(&t->small) : t->body;
    }
    r->keep_bytes = TRANSFER_ANSWER_BYTES;
    r->timeout_ms = t->policy->timeout_ms;
    r->stall_ms = TRANSFER_STALL_MS;
    r->progress = on_progress;
    r->done = on_answer;
    move(t, TRANSFER_SENDING);
    http_send(backend_http(t->backend), r);
}

static void ask(struct transfer *t)
{
    move(t, TRANSFER_ASKING);
    t->ask.ready = on_headers;
    backend_headers(t->backend, BACKEND_FILE, t->url, &t->ask);
}

/* ---- opening ---- */

static int read_small(struct transfer *t)
{
    size_t want = (size_t)t->total, at = 0;
    char *to = buf_reserve(&t->small, want);
    if (!to)
        return TARE_ENOMEM;
    while (at < want) {
        ssize_t got = os->pread(t->fd, to + at, want - at, (off_t)(t->part_at + at));
        if (got <= 0)
            return got < 0 ? (int)got : UV_EOF; /* it has become shorter */
        at += (size_t)got;
    }
    t->small.len = want;
    return 0;
}

/* What can be known of the file before it is sent. */
static int measure(struct transfer *t)
{
    struct stat st;
    int rc = os->fstat(t->fd, &st);
    if (rc)
        return rc;
    if (S_ISDIR(st.st_mode))
        return UV_EISDIR;
    if (!S_ISREG(st.st_mode))
        return TARE_EUNSUPPORTED;
    t->stamp = file_stamp_of(&st);
    if (t->part_at > t->stamp.size || t->part_bytes > t->stamp.size - t->part_at)
        return UV_EOF;
    t->total = t->part_bytes ? t->part_bytes : t->stamp.size - t->part_at;
    return 0;
}

static void open_run(struct work *w)
{
    struct transfer *t = OF(w, work);
    /* O_NONBLOCK: a pipe must not hold up the worker */
    t->fd = os->open(t->path, O_RDONLY | O_NONBLOCK, 0);
    t->work_error = t->fd < 0 ? t->fd : measure(t);
    if (t->fd < 0)
        return;
    bool is_small = t->work_error == 0 && t->total <= TRANSFER_SMALL_BYTES;
    if (is_small)
        t->work_error = read_small(t);
    if (is_small || t->work_error) {
        os->close(t->fd);
        t->fd = -1;
    }
}

static void open_done(struct work *w)
{
    struct transfer *t = OF(w, work);
    if (t->work_error == 0 && !t->cancelled) {
        ask(t);
        return;
    }
    t->http.error = t->work_error == UV_EOF ? TARE_EIO : TARE_EINVAL; /* only a change may help */
    note(t, t->work_error ? t->work_error : TARE_ECANCELLED, err_text(t->work_error));
    close_file(t);
}

static void on_turn(struct pool_slot *s)
{
    struct transfer *t = OF(s, slot);
    if (t->cancelled) /* the timer ends it */
        return;
    buf_fini(&t->small);
    http_request_fini(&t->http);
    http_request_init(&t->http);
    t->sent = 0;
    t->has_changed = false;
    if (!t->path) {
        t->total = t->body.n;
        ask(t);
        return;
    }
    move(t, TRANSFER_OPENING);
    t->work.run = open_run;
    t->work.done = open_done;
    work_start(t->loop, &t->work);
}

/* ---- public ---- */

void transfer_start(struct transfer *t)
{
    uv_timer_init(t->loop, &t->timer);
    t->timer.data = t;
    t->fd = -1;
    t->began_ns = clock_mono_ns();
    t->slot.go = on_turn;
    http_request_init(&t->http);
    t->state = TRANSFER_RESTING; /* begin from the loop: `done` never comes from in here */
    uv_timer_start(&t->timer, on_timer, 0, 0);
}

void transfer_cancel(struct transfer *t)
{
    if (t->state == TRANSFER_DONE || t->cancelled)
        return;
    t->cancelled = true;
    if (t->state == TRANSFER_SENDING)
        http_cancel(backend_http(t->backend), &t->http);
    else if (t->state == TRANSFER_RESTING || t->state == TRANSFER_WAITING)
        uv_timer_start(&t->timer, on_timer, 0, 0);
}

void transfer_close(struct transfer *t, void (*closed)(struct transfer *t))
{
    t->closing = true;
    t->closed = closed;
    if (t->state == TRANSFER_DONE)
        uv_close((uv_handle_t *)&t->timer, on_closed);
    else
        transfer_cancel(t);
}

/* ---- headers ---- */

static bool is_token(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr("!#$%&'*+-.^_`|~", c))))
            return false;
    }
    return name.n > 0;
}

static bool is_value(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < ' ' && value.p[i] != '\t')
            return false;
    return true;
}

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
        s = str_make(s.p + 1, s.n - 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

void transfer_put_headers(struct buf *to, struct str json)
{
    const char *at = json.p, *end = json.p + json.n;
    struct json_item item;
    if (json.n == 0 || *at++ != '[')
        return;
    while (json_next_element(&at, end, &item) == 1) {
        AUTO_BUF text = {0};
        if (item.value.n < 2 || item.value.p[0] != '"' ||
            json_unescape(&text, str_make(item.value.p + 1, item.value.n - 2)))
            continue;
        char *colon = text.len ? memchr(text.data, ':', text.len) : NULL;
        if (!colon)
            continue;
        struct str name = str_make(text.data, (size_t)(colon - text.data));
        struct str value = trimmed(str_make(colon + 1, (size_t)(text.data + text.len - colon - 1)));
        if (is_token(name) && is_value(value))
            buf_printf(to, "%.*s: %.*s\n", STR_ARG(name), STR_ARG(value));
    }
}
