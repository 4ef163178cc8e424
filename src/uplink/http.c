/* SPDX-License-Identifier: MIT */
/* curl's multi interface on libuv: curl says which sockets it waits for and when it wants to be
 * called; a poll handle for each socket, and a timer, call it back.
 *
 *   send ─► (parked until the certificates are read) ─► curl ─► over ─► (blocks on their way to the disk) ─► ended
 *
 * Nothing may be taken out of curl while one of its callbacks runs: what is cancelled there is
 * marked, and stopped when curl returns (leave_curl). */
#include "uplink/http.h"

#include "base/alloc.h"
#include "base/err.h"
#include "uplink/certs.h"

#include <assert.h>
#include <signal.h>
#include <utlist.h>

enum {
    KEPT_CONNECTIONS = 32,
    STALL_LOOKS = 4, /* in the time after which a transfer is given up */
};

struct uplink_http {
    uv_loop_t *loop;
    CURLM *curl;
    uv_timer_t timer;
    uv_idle_t soon; /* a timer of 0 ms: one that is started again and again would starve the sockets */
    void (*work_start)(uv_loop_t *loop, struct work *w);
    void (*ended)(void *ctx, struct http_request *r);
    void *ctx;
    struct http_work *works; /* list */
    struct certs certs;
    int n_big; /* transfers with large blocks */
    int in_curl;
    bool any_cancelled;
    int n_handles; /* of libuv, not yet closed */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

struct http_socket {
    uv_poll_t poll;
    struct uplink_http *m;
    curl_socket_t fd;
};

void http_start_work(struct uplink_http *m, struct work *w)
{
    m->work_start(m->loop, w);
}

bool http_take_big(struct http_work *w)
{
    bool can = w->m->n_big < MAX_BIG;
    w->m->n_big += can;
    return can;
}

void http_give_big(struct http_work *w)
{
    assert(w->m->n_big > 0);
    w->m->n_big--;
}

static void handle_closed(struct uplink_http *m)
{
    if (--m->n_handles > 0 || !m->closed)
        return;
    void (*closed)(void *ctx) = m->closed;
    void *ctx = m->closed_ctx;
    certs_free(&m->certs);
    mem_free(m);
    closed(ctx);
}

/* ---- the end of a transfer ---- */

static void on_stall_closed(uv_handle_t *t)
{
    struct http_work *w = t->data;
    struct uplink_http *m = w->m;
    mem_free(w);
    handle_closed(m);
}

static void end(struct http_work *w)
{
    struct uplink_http *m = w->m;
    struct http_request *r = w->r;
    if (w->easy)
        curl_easy_cleanup(w->easy);
    curl_slist_free_all(w->headers);
    curl_slist_free_all(w->proxy_headers);
    http_body_free(w);
    DL_DELETE(m->works, w);
    if (w->has_timer)
        uv_close((uv_handle_t *)&w->stall, on_stall_closed);
    else
        mem_free(w);
    r->work = NULL;
    m->ended(m->ctx, r);
}

/* Curl is done with it; when the disk is too, it has ended. What came of an answer that broke off is
 * kept as well: it can go on from there. */
static void settle(struct http_work *w)
{
    if (!w->over || http_body_busy(w) || http_body_flush(w))
        return;
    if (w->error && !w->r->error)
        http_explain(w, CURLE_OK);
    end(w);
}

static void take_out(struct http_work *w, CURLcode code)
{
    assert(!w->over && w->m->in_curl == 0);
    w->over = true;
    w->m->in_curl++; /* it may call back about sockets */
    curl_multi_remove_handle(w->m->curl, w->easy);
    w->m->in_curl--;
    http_explain(w, code);
    settle(w);
}

static void stop(struct http_work *w, int error)
{
    if (!w->error)
        w->error = error;
    if (w->over)
        settle(w);
    else
        take_out(w, CURLE_OK);
}

/* ---- in and out of curl ---- */

static void enter_curl(struct uplink_http *m)
{
    m->in_curl++;
}

static void leave_curl(struct uplink_http *m)
{
    CURLMsg *message;
    int left;
    if (--m->in_curl > 0)
        return;
    while ((message = curl_multi_info_read(m->curl, &left))) {
        struct http_work *w = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &w);
        if (code == CURLE_OK && !w->head_whole)
            code = CURLE_PARTIAL_FILE; /* curl is content with a head that broke off */
        if (w->cancelled && !w->error)
            w->error = TARE_ECANCELLED;
        take_out(w, code);
    }
    struct http_work *w, *next;
    bool look = m->any_cancelled;
    m->any_cancelled = false;
    if (look)
        DL_FOREACH_SAFE (m->works, w, next)
            if (w->cancelled)
                stop(w, TARE_ECANCELLED);
}

static void act(struct uplink_http *m, curl_socket_t fd, int events)
{
    int running;
    enter_curl(m);
    curl_multi_socket_action(m->curl, fd, events, &running);
    leave_curl(m);
}

void http_block_done(struct http_work *w)
{
    struct uplink_http *m = w->m;
    if (w->over) {
        settle(w);
        return;
    }
    if (w->error) {
        stop(w, w->error);
        return;
    }
    enter_curl(m);
    curl_easy_pause(w->easy, CURLPAUSE_CONT);
    leave_curl(m);
}

/* ---- curl's sockets and timer ---- */

static void on_poll_closed(uv_handle_t *p)
{
    struct http_socket *s = (struct http_socket *)p;
    struct uplink_http *m = s->m;
    mem_free(s);
    handle_closed(m);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct http_socket *s = (struct http_socket *)p;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    act(s->m, s->fd, flags);
}

static struct http_socket *watch(struct uplink_http *m, curl_socket_t fd)
{
    struct http_socket *s = xmem_calloc(1, sizeof *s);
    s->m = m;
    s->fd = fd;
    if (uv_poll_init_socket(m->loop, &s->poll, fd) != 0) {
        mem_free(s);
        return NULL;
    }
    m->n_handles++;
    curl_multi_assign(m->curl, fd, s);
    return s;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket)
{
    struct uplink_http *m = ctx;
    struct http_socket *s = socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s) {
            uv_poll_stop(&s->poll);
            uv_close((uv_handle_t *)&s->poll, on_poll_closed);
            curl_multi_assign(m->curl, fd, NULL);
        }
        return 0;
    }
    if (!s && !(s = watch(m, fd)))
        return -1;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&s->poll, events, on_poll);
    return 0;
}

static void on_time(uv_timer_t *t)
{
    act(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_soon(uv_idle_t *h)
{
    uv_idle_stop(h);
    act(h->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wanted(CURLM *curl, long ms, void *ctx)
{
    struct uplink_http *m = ctx;
    (void)curl;
    uv_timer_stop(&m->timer);
    uv_idle_stop(&m->soon);
    if (ms == 0)
        uv_idle_start(&m->soon, on_soon);
    else if (ms > 0)
        uv_timer_start(&m->timer, on_time, (uint64_t)ms, 0);
    return 0;
}

/* ---- transfers that stand still ---- */

static uint64_t moved_bytes(struct http_work *w)
{
    curl_off_t up = 0, down = 0;
    long headers = 0;
    curl_easy_getinfo(w->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(w->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    curl_easy_getinfo(w->easy, CURLINFO_HEADER_SIZE, &headers);
    return (uint64_t)up + (uint64_t)down + (uint64_t)headers;
}

static void on_stall_look(uv_timer_t *t)
{
    struct http_work *w = t->data;
    uint64_t moved = moved_bytes(w), now = uv_now(w->m->loop);
    if (moved != w->moved_bytes || http_body_busy(w)) {
        w->moved_bytes = moved;
        w->moved_ms = now;
    } else if (now - w->moved_ms >= w->r->stall_ms && !w->over) {
        stop(w, TARE_ETIMEOUT);
    }
}

static void watch_stall(struct http_work *w)
{
    uint64_t every = w->r->stall_ms / STALL_LOOKS + 1;
    if (w->r->stall_ms == 0)
        return;
    uv_timer_init(w->m->loop, &w->stall);
    w->m->n_handles++;
    w->has_timer = true;
    w->stall.data = w;
    w->moved_ms = uv_now(w->m->loop);
    uv_timer_start(&w->stall, on_stall_look, every, every);
}

/* ---- public ---- */

struct uplink_http *uplink_http_open(struct uv_loop_s *loop,
                                     void (*start)(struct uv_loop_s *loop, struct work *w),
                                     void (*ended)(void *ctx, struct http_request *r), void *ctx)
{
    struct sigaction pipe;
    /* 0.6 ms; on a worker thread it would leave OpenSSL's state of that thread behind */
    CURLM *curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_multi_init() : NULL;
    if (!curl)
        return NULL;
    struct uplink_http *m = xmem_calloc(1, sizeof *m);
    m->curl = curl;
    if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN); /* TLS writes with write(2) */
    m->loop = loop;
    m->work_start = start;
    m->ended = ended;
    m->ctx = ctx;
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    uv_timer_init(loop, &m->timer);
    uv_idle_init(loop, &m->soon);
    m->timer.data = m->soon.data = m;
    m->n_handles = 2;
    return m;
}

static void on_own_closed(uv_handle_t *t)
{
    handle_closed(t->data);
}

void uplink_http_close(struct uplink_http *m, void (*closed)(void *ctx), void *ctx)
{
    assert(!m->works && m->in_curl == 0);
    m->in_curl++;
    curl_multi_cleanup(m->curl);
    m->closed = closed;
    m->closed_ctx = ctx;
    uv_close((uv_handle_t *)&m->timer, on_own_closed);
    uv_close((uv_handle_t *)&m->soon, on_own_closed);
}

static void send_now(struct http_work *w)
{
    struct uplink_http *m = w->m;
    int rc = http_setup(w, &m->certs);
    if (rc == 0 && curl_multi_add_handle(m->curl, w->easy) == CURLM_OK) {
        watch_stall(w);
        return;
    }
    w->over = true;
    stop(w, rc ? rc : TARE_ENOMEM);
}

static void on_certs(struct work *work)
{
    struct uplink_http *m = (struct uplink_http *)((char *)work - offsetof(struct uplink_http, certs.work));
    struct http_work *w, *next;
    certs_read(&m->certs);
    DL_FOREACH_SAFE (m->works, w, next)
        if (w->parked) {
            w->parked = w->over = false;
            send_now(w);
        }
    handle_closed(m);
}

/* Does it have to wait for the certificates? They are read when the first asks for them. */
static bool park(struct http_work *w)
{
    struct uplink_http *m = w->m;
    if (m->certs.state == CERTS_READ || !http_wants_certs(w))
        return false;
    if (m->certs.state == CERTS_UNREAD) {
        certs_begin(&m->certs);
        if (m->certs.state == CERTS_READ)
            return false;
        m->certs.work.done = on_certs;
        m->n_handles++;
        http_start_work(m, &m->certs.work);
    }
    return w->parked = w->over = true;
}

void uplink_http_send(struct uplink_http *m, struct http_request *r)
{
    assert(m->in_curl == 0); /* not from `progress` */
    struct http_work *w = xmem_calloc(1, sizeof *w);
    w->r = r;
    w->m = m;
    r->work = w;
    DL_APPEND(m->works, w);
    if (!park(w))
        send_now(w);
}

void uplink_http_cancel(struct uplink_http *m, struct http_request *r)
{
    struct http_work *w = r->work;
    if (m->in_curl == 0) {
        stop(w, TARE_ECANCELLED);
    } else {
        w->cancelled = true;
        m->any_cancelled = true;
    }
}
