/* SPDX-License-Identifier: MIT */
#include "service/upload/transfer.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
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
    [TRANSFER_ASKING] = {"asking", TO(TRANSFER_PLACING) | TO(TRANSFER_LOOKING) | TO(TRANSFER_SENDING) | TO(TRANSFER_CLOSING)},
    [TRANSFER_PLACING] = {"placing", TO(TRANSFER_NAMING) | TO(TRANSFER_LOOKING) | TO(TRANSFER_SENDING) | TO(TRANSFER_CLOSING)},
    [TRANSFER_NAMING] = {"naming", TO(TRANSFER_LOOKING) | TO(TRANSFER_SENDING) | TO(TRANSFER_CLOSING)},
    [TRANSFER_LOOKING] = {"looking", TO(TRANSFER_HASHING) | TO(TRANSFER_SENDING) | TO(TRANSFER_CLOSING)},
    [TRANSFER_HASHING] = {"hashing", TO(TRANSFER_SENDING) | TO(TRANSFER_CLOSING)},
    [TRANSFER_SENDING] = {"sending", TO(TRANSFER_CLOSING)},
    [TRANSFER_CLOSING] = {"closing", TO(TRANSFER_RESTING) | TO(TRANSFER_DONE)},
    [TRANSFER_RESTING] = {"resting", TO(TRANSFER_WAITING) | TO(TRANSFER_DONE)},
};

static int n_placing; /* transfers that are at it */

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

/* What was there already was not wanted any more, or was wrong: once more, with all of it. */
static bool may_begin_again(struct transfer *t)
{
    if (t->error != TARE_EPROTO || t->come == 0 || (t->status != 308 && t->status != 400))
        return false;
    t->from_start = true;
    return true;
}

static bool is_over(struct transfer *t)
{
    if (t->error && !t->cancelled && may_begin_again(t))
        return false;
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
    place_drop(t);
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
    n_placing -= t->is_placing;
    t->is_placing = false;
    if (t->fd < 0) {
        settle(t);
        return;
    }
    t->work.is_long = false;
    t->work.run = close_run;
    t->work.done = close_done;
    work_start(t->loop, &t->work);
}

/* ---- sending ---- */

static void on_progress(struct http_request *r)
{
    struct transfer *t = OF(r, http);
    t->sent = t->come + r->sent;
    t->has_sent |= r->sent > 0;
    if (t->moved)
        t->moved(t);
}

/* The server has it, or why not. */
static void take_answer(struct transfer *t)
{
    struct http_request *r = &t->http;
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

static void on_answer(struct http_request *r)
{
    take_answer(OF(r, http));
}

/* All headers but those of going on, which change from request to request, and stand last. */
static void start_request(struct transfer *t, void (*done)(struct http_request *r))
{
    struct http_request *r = &t->http;
    http_request_fini(r);
    http_request_init(r);
    r->method = "PUT";
    r->url = t->url;
    r->route = backend_route(t->backend);
    r->headers = buf_z(&t->all_headers);
    r->keep_bytes = TRANSFER_ANSWER_BYTES;
    r->timeout_ms = t->policy->timeout_ms;
    r->stall_ms = TRANSFER_STALL_MS;
    r->done = done;
}

static void send_bytes(struct transfer *t)
{
    if (t->come > 0)
        buf_printf(&t->all_headers, "Content-Range: bytes %llu-%llu/%llu\n", (unsigned long long)t->come,
                   (unsigned long long)(t->total - 1), (unsigned long long)t->total);
    start_request(t, on_answer);
    struct http_request *r = &t->http;
    if (t->fd >= 0) {
        r->body_fd = t->fd;
        r->body_at = t->part_at + t->come;
        r->body_bytes = t->total - t->come;
    } else {
        r->body = t->path ? buf_str(&t->small) : t->body;
    }
    r->progress = on_progress;
    t->sent = t->come;
    move(t, TRANSFER_SENDING);
    http_send(backend_http(t->backend), r);
}

/* ---- going on where a try before broke off ---- */

static bool can_go_on(const struct transfer *t)
{
    return t->fd >= 0 && !t->from_start && transfer_has_header(t->headers, TRANSFER_RESUMABLE);
}

static bool is_worth_a_look(const struct transfer *t)
{
    return can_go_on(t) && (t->has_sent || t->total >= TRANSFER_LOOK_BYTES);
}

static bool wants_md5(const struct transfer *t)
{
    return !transfer_has_header(t->headers, "Content-MD5") && !(t->has_md5 && file_stamp_eq(&t->md5_stamp, &t->stamp));
}

static void put_md5(struct transfer *t)
{
    char base64[(MD5_BYTES + 2) / 3 * 4 + 1];
    base64_text(base64, t->md5, MD5_BYTES);
    if (t->has_md5 && !wants_md5(t) && !transfer_has_header(t->headers, "Content-MD5"))
        buf_printf(&t->all_headers, "Content-MD5: %s\n", base64);
}

static int hash(struct transfer *t)
{
    enum { BLOCK = 256 * 1024 };
    AUTO_FREE char *block = mem_alloc(BLOCK);
    struct digest d;
    md5_init(&d);
    for (uint64_t at = 0; block && at < t->total;) {
        uint64_t left = t->total - at;
        ssize_t got = os->pread(t->fd, block, left < BLOCK ? (size_t)left : BLOCK, (off_t)(t->part_at + at));
        if (got <= 0)
            return got < 0 ? (int)got : UV_EOF;
        md5_add(&d, block, (size_t)got);
        at += (uint64_t)got;
    }
    md5_end(&d, t->md5);
    t->md5_stamp = t->stamp;
    t->has_md5 = block != NULL;
    return block ? 0 : TARE_ENOMEM;
}

static void hash_run(struct work *w)
{
    struct transfer *t = OF(w, work);
    t->work_error = hash(t);
}

/* The file cannot be read, or has just become shorter: only a change of it helps. */
static void give_up_file(struct transfer *t)
{
    t->http.error = t->work_error == UV_EOF ? TARE_EIO : TARE_EINVAL;
    note(t, t->work_error ? t->work_error : TARE_ECANCELLED, err_text(t->work_error));
    close_file(t);
}

static void hash_done(struct work *w)
{
    struct transfer *t = OF(w, work);
    if (t->work_error || t->cancelled) {
        give_up_file(t);
        return;
    }
    put_md5(t);
    send_bytes(t);
}

static void note_come(struct transfer *t, uint64_t come)
{
    t->come = come < t->total ? come : 0; /* all of it, and yet not taken: that is not the file */
    if (t->come >= t->best + TRANSFER_STEP_BYTES) {
        t->best = t->come;
        t->n_failed = 0;
    }
    if (t->come > 0)
        diag_info("upload of %s goes on at byte %llu", t->path, (unsigned long long)t->come);
}

static void on_look(struct http_request *r)
{
    struct transfer *t = OF(r, http);
    bool is_there = r->status >= 200 && r->status < 300;
    if (r->error || is_there || r->status == 429 || r->status >= 500 || t->cancelled) {
        take_answer(t);
        return;
    }
    if (r->status == 308)
        note_come(t, transfer_range_bytes(http_answer_header(r, "range")));
    else
        t->from_start = true;
    /* the last line is that of the look */
    t->all_headers.len -= strlen("Content-Range: bytes */") + (size_t)snprintf(NULL, 0, "%llu\n", (unsigned long long)t->total);
    if (t->come > 0 && wants_md5(t)) {
        move(t, TRANSFER_HASHING);
        t->work.run = hash_run;
        t->work.done = hash_done;
        work_start(t->loop, &t->work);
        return;
    }
    send_bytes(t);
}

static void look(struct transfer *t)
{
    buf_printf(&t->all_headers, "Content-Range: bytes */%llu\n", (unsigned long long)t->total);
    start_request(t, on_look);
    move(t, TRANSFER_LOOKING);
    http_send(backend_http(t->backend), &t->http);
}

/* As ever: over the wire. */
static void look_or_send(struct transfer *t)
{
    if (!is_worth_a_look(t)) {
        send_bytes(t);
        return;
    }
    put_md5(t);
    look(t);
}

/* ---- a copy in the server's folder ---- */

static void on_named(struct http_request *r)
{
    struct transfer *t = OF(r, http);
    bool is_there = r->status >= 200 && r->status < 300;
    if (r->error || is_there || r->status == 429 || r->status >= 500 || t->cancelled) {
        take_answer(t);
        return;
    }
    diag_info("upload of %s: the server does not take the copy: HTTP %d", t->path, r->status);
    t->no_place = true;
    t->all_headers.len = t->headers_len;
    look_or_send(t);
}

static void name_it(struct transfer *t)
{
    t->headers_len = t->all_headers.len;
    buf_printf(&t->all_headers, "X-Tare-Local: %s %llu\n", strrchr(t->placed, '/') + 1, (unsigned long long)t->total);
    start_request(t, on_named);
    move(t, TRANSFER_NAMING);
    http_send(backend_http(t->backend), &t->http);
}

static void place_on(struct transfer *t);

static void place_run(struct work *w)
{
    struct transfer *t = OF(w, work);
    t->work_error = place_step(t);
}

static void place_done(struct work *w)
{
    struct transfer *t = OF(w, work);
    t->sent = t->n_placed;
    if (t->moved)
        t->moved(t);
    if (t->cancelled) {
        note(t, TARE_ECANCELLED, err_text(TARE_ECANCELLED));
        close_file(t);
    } else if (t->work_error > 0) {
        place_on(t);
    } else if (t->work_error == 0) {
        name_it(t);
    } else { /* another user's, another machine's, a full disk ... */
        t->no_place = true;
        look_or_send(t);
    }
}

static void place_on(struct transfer *t)
{
    t->work.is_long = true;
    t->work.run = place_run;
    t->work.done = place_done;
    work_start(t->loop, &t->work);
}

static void place(struct transfer *t)
{
    n_placing++;
    t->is_placing = true;
    t->backend_url = backend_url(t->backend);
    t->place_fd = -1;
    t->n_placed = 0;
    move(t, TRANSFER_PLACING);
    place_on(t);
}

/* ---- asking for the backend's headers ---- */

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
    if (can_go_on(t))
        transfer_put_key(&t->all_headers, &t->stamp, t->part_at, t->total);
    if (n_placing < PLACES && place_is_wanted(t))
        place(t);
    else
        look_or_send(t);
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
    else if (t->work_error == 0 && t->has_sent && can_go_on(t) && wants_md5(t))
        t->work_error = hash(t); /* all may be there, but for the answer */
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
    give_up_file(t);
}

static void on_turn(struct pool_slot *s)
{
    struct transfer *t = OF(s, slot);
    if (t->cancelled) /* the timer ends it */
        return;
    buf_fini(&t->small);
    http_request_fini(&t->http);
    http_request_init(&t->http);
    t->sent = t->come = 0;
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
    if (t->state == TRANSFER_SENDING || t->state == TRANSFER_LOOKING || t->state == TRANSFER_NAMING)
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
