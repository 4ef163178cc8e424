/* SPDX-License-Identifier: MIT */
/* What stands before and behind the module: the queue of requests that wait for it, or for their turn
 * (a host gets a bounded number at a time), and the list of those that have ended.
 *
 *   IDLE ─► WAITING ─► ACTIVE (in the module) ─► ENDED ─► IDLE, done
 *              └──────── cancelled ────────────────▲
 *
 * A request ends by being put on `ended`; an idle handle empties that list from the loop, so `done` never
 * runs inside a call of the caller's. */
#include "loop/http.h"

#include "base/alloc.h"
#include "base/err.h"
#include "loop/module.h"
#include "loop/proxy.h"
#include "loop/worker.h"

#include <assert.h>
#include <stdio.h>
#include <utlist.h>

#define NO_MODULE "tare-uplink.so, which talks to the network, cannot be loaded"

enum {
    ACTIVE_PER_HOST = 32, /* connections, or streams of one */
    ACTIVE_MAX = 96,
};

struct http_host {
    struct http_host *prev, *next;
    struct str authority;
    int n_requests; /* that point here */
    int n_active;
    char text[];
};

struct http {
    uv_loop_t *loop;
    struct work load;
    const struct uplink *uplink;
    struct uplink_http *module;
    bool loaded; /* or it cannot be: then `module` is NULL */
    struct http_host *hosts;
    struct http_request *waiting, *active, *ended; /* lists */
    int n_active;
    uv_idle_t deliver;
    int n_holds;
    bool delivering, closing, gone;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void start_waiting(struct http *h);

/* ---- hosts ---- */

static struct http_host *host_of(struct http *h, struct str authority)
{
    struct http_host *host;
    DL_FOREACH (h->hosts, host)
        if (str_eq(host->authority, authority))
            return host;
    host = xmem_calloc(1, sizeof *host + authority.n);
    memcpy(host->text, authority.p, authority.n);
    host->authority = str_make(host->text, authority.n);
    DL_APPEND(h->hosts, host);
    return host;
}

static void leave_host(struct http *h, struct http_request *r)
{
    struct http_host *host = r->host;
    r->host = NULL;
    if (host && --host->n_requests == 0) {
        DL_DELETE(h->hosts, host);
        mem_free(host);
    }
}

/* ---- the end of a request ---- */

static void end_close(struct http *h);

static void on_deliver(uv_idle_t *t)
{
    struct http *h = t->data;
    uv_idle_stop(t);
    struct http_request *r, *batch = h->ended;
    h->ended = NULL;
    h->delivering = true;
    while ((r = batch)) {
        DL_DELETE(batch, r);
        r->state = HTTP_IDLE;
        r->done(r);
    }
    h->delivering = false;
    start_waiting(h);
    end_close(h);
}

static void put_ended(struct http *h, struct http_request *r)
{
    r->state = HTTP_ENDED;
    leave_host(h, r);
    DL_APPEND(h->ended, r);
    uv_idle_start(&h->deliver, on_deliver);
}

static void fail(struct http *h, struct http_request *r, int error, const char *why)
{
    r->error = error;
    snprintf(r->why, sizeof r->why, "%s", why);
    put_ended(h, r);
}

/* From the module, at any time. */
static void on_ended(void *ctx, struct http_request *r)
{
    struct http *h = ctx;
    DL_DELETE(h->active, r);
    h->n_active--;
    r->host->n_active--;
    put_ended(h, r);
}

/* ---- the module ---- */

static void fail_waiting(struct http *h, int error, const char *why)
{
    struct http_request *r, *next;
    DL_FOREACH_SAFE (h->waiting, r, next) {
        DL_DELETE(h->waiting, r);
        fail(h, r, error, why);
    }
}

static void start_waiting(struct http *h)
{
    struct http_request *r, *next;
    if (!h->module)
        return;
    DL_FOREACH_SAFE (h->waiting, r, next) {
        if (h->n_active >= ACTIVE_MAX)
            return;
        if (r->host->n_active >= ACTIVE_PER_HOST)
            continue;
        DL_DELETE(h->waiting, r);
        DL_APPEND(h->active, r);
        r->state = HTTP_ACTIVE;
        h->n_active++;
        r->host->n_active++;
        h->uplink->http_send(h->module, r);
    }
}

static struct http *of_load(struct work *w)
{
    return (struct http *)((char *)w - offsetof(struct http, load));
}

static void load_run(struct work *w)
{
    of_load(w)->uplink = module_uplink();
}

static void load_done(struct work *w)
{
    struct http *h = of_load(w);
    h->loaded = true;
    if (h->uplink && !h->closing)
        h->module = h->uplink->http_open(h->loop, work_start, on_ended, h);
    if (!h->module)
        fail_waiting(h, TARE_EUNSUPPORTED, NO_MODULE);
    start_waiting(h);
    end_close(h);
}

static void load(struct http *h)
{
    if (h->loaded || h->load.busy)
        return;
    h->load.run = load_run;
    h->load.done = load_done;
    work_start(h->loop, &h->load);
}

/* ---- public ---- */

struct http *http_new(uv_loop_t *loop)
{
    struct http *h = xmem_calloc(1, sizeof *h);
    h->loop = loop;
    uv_idle_init(loop, &h->deliver);
    h->deliver.data = h;
    return h;
}

void http_request_init(struct http_request *r)
{
    *r = (struct http_request){.method = "GET", .body_fd = -1, .to_fd = -1};
}

void http_request_fini(struct http_request *r)
{
    assert(r->state == HTTP_IDLE);
    buf_fini(&r->answer);
    buf_fini(&r->answer_headers);
}

void http_send(struct http *h, struct http_request *r)
{
    struct url_parts url;
    assert(r->state == HTTP_IDLE && r->done);
    r->error = r->status = 0;
    r->why[0] = '\0';
    r->sent = r->received = 0;
    buf_clear(&r->answer);
    buf_clear(&r->answer_headers);
    if (h->closing) {
        fail(h, r, TARE_ECANCELLED, "the service is ending");
        return;
    }
    if (!url_split(r->url, &url)) {
        char why[sizeof r->why];
        snprintf(why, sizeof why, "\"%.200s\" is no http:// or https:// address", r->url);
        fail(h, r, TARE_EINVAL, why);
        return;
    }
    r->host = host_of(h, url.authority);
    r->host->n_requests++;
    if (h->loaded && !h->module) {
        fail(h, r, TARE_EUNSUPPORTED, NO_MODULE);
        return;
    }
    r->state = HTTP_WAITING;
    DL_APPEND(h->waiting, r);
    load(h);
    start_waiting(h);
}

void http_cancel(struct http *h, struct http_request *r)
{
    if (r->state == HTTP_WAITING) {
        DL_DELETE(h->waiting, r);
        fail(h, r, TARE_ECANCELLED, err_text(TARE_ECANCELLED));
    } else if (r->state == HTTP_ACTIVE) {
        h->uplink->http_cancel(h->module, r);
    }
}

struct str http_answer_header(const struct http_request *r, const char *name)
{
    size_t n = strlen(name);
    const char *p = r->answer_headers.data, *end = p + r->answer_headers.len;
    for (const char *line; p && p < end; p = line) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        line = nl ? nl + 1 : end;
        struct str s = str_make(p, (size_t)((nl ? nl : end) - p));
        if (s.n >= n + 2 && memcmp(s.p, name, n) == 0 && s.p[n] == ':')
            return str_make(s.p + n + 2, s.n - n - 2);
    }
    return (struct str){0};
}

/* ---- the end ---- */

static void on_deliver_closed(uv_handle_t *t)
{
    struct http *h = t->data;
    void (*closed)(void *ctx) = h->closed;
    void *ctx = h->closed_ctx;
    mem_free(h);
    if (closed)
        closed(ctx);
}

static void on_module_closed(void *ctx)
{
    struct http *h = ctx;
    uv_close((uv_handle_t *)&h->deliver, on_deliver_closed);
}

/* Nothing is left: go. */
static void end_close(struct http *h)
{
    if (!h->closing || h->gone || h->delivering || h->load.busy || h->waiting || h->active ||
        h->ended || h->n_holds > 0)
        return;
    h->gone = true;
    if (h->module)
        h->uplink->http_close(h->module, on_module_closed, h);
    else
        on_module_closed(h);
}

void http_close(struct http *h, void (*closed)(void *ctx), void *ctx)
{
    struct http_request *r, *next;
    h->closing = true;
    h->closed = closed;
    h->closed_ctx = ctx;
    fail_waiting(h, TARE_ECANCELLED, err_text(TARE_ECANCELLED));
    DL_FOREACH_SAFE (h->active, r, next)
        h->uplink->http_cancel(h->module, r);
    end_close(h);
}

void http_hold(struct http *h)
{
    h->n_holds++;
}

void http_release(struct http *h)
{
    h->n_holds--;
    end_close(h);
}

static bool has_route(const struct http_request *list, const struct http_route *route)
{
    const struct http_request *r;
    DL_FOREACH (list, r)
        if (r->route == route)
            return true;
    return false;
}

bool http_uses(const struct http *h, const struct http_route *route)
{
    return has_route(h->waiting, route) || has_route(h->active, route) || has_route(h->ended, route);
}
