/* SPDX-License-Identifier: MIT */
#include "fake_net.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "loop/worker.h"
#include "service/upload/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
/* after the others: */
#include <cmocka.h>
#include <utlist.h>

struct fake_net fake_net;

/* ---- timers: kept in a list, by their handle ---- */

struct alarm {
    struct alarm *next;
    uv_timer_t *timer;
    int64_t due_ns;
};

struct closing {
    struct closing *next;
    uv_handle_t *handle;
    uv_close_cb closed;
};

static struct alarm *alarms;
static struct closing *closings;
static struct backend_headers *waiting_headers;
static struct work *jobs[256];
static int n_jobs;

int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *t);
int __wrap_uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t ms, uint64_t repeat);
int __wrap_uv_timer_stop(uv_timer_t *t);
void __wrap_uv_close(uv_handle_t *h, uv_close_cb closed);

int __wrap_uv_timer_init(uv_loop_t *loop, uv_timer_t *t)
{
    memset(t, 0, sizeof *t);
    t->loop = loop;
    t->type = UV_TIMER;
    return 0;
}

int __wrap_uv_timer_stop(uv_timer_t *t)
{
    struct alarm *a, *next;
    LL_FOREACH_SAFE(alarms, a, next)
    {
        if (a->timer == t) {
            LL_DELETE(alarms, a);
            mem_free(a);
        }
    }
    return 0;
}

int __wrap_uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t ms, uint64_t repeat)
{
    assert_int_equal(repeat, 0);
    __wrap_uv_timer_stop(t);
    struct alarm *a = xmem_calloc(1, sizeof *a);
    t->timer_cb = cb;
    a->timer = t;
    a->due_ns = fake_net.mono_ns + (int64_t)ms * 1000000;
    LL_APPEND(alarms, a);
    return 0;
}

void __wrap_uv_close(uv_handle_t *h, uv_close_cb closed)
{
    if (h->type == UV_TIMER)
        __wrap_uv_timer_stop((uv_timer_t *)h);
    struct closing *c = xmem_calloc(1, sizeof *c);
    c->handle = h;
    c->closed = closed;
    LL_APPEND(closings, c);
}

static bool run_alarm(int64_t until_ns)
{
    struct alarm *a, *first = NULL;
    LL_FOREACH(alarms, a)
    if (a->due_ns <= until_ns && (!first || a->due_ns < first->due_ns))
        first = a;
    if (!first)
        return false;
    uv_timer_t *t = first->timer;
    if (first->due_ns > fake_net.mono_ns) {
        fake_net.wall_ns += first->due_ns - fake_net.mono_ns;
        fake_net.mono_ns = first->due_ns;
    }
    LL_DELETE(alarms, first);
    mem_free(first);
    t->timer_cb(t);
    return true;
}

static bool run_close(void)
{
    struct closing *c = closings;
    if (!c)
        return false;
    LL_DELETE(closings, c);
    if (c->closed)
        c->closed(c->handle);
    mem_free(c);
    return true;
}

/* It is not under way any more. */
static struct http_request *take_request(int i)
{
    struct http_request *r = fake_net.requests[i];
    fake_net.n_requests--;
    memmove(fake_net.requests + i, fake_net.requests + i + 1,
            (size_t)(fake_net.n_requests - i) * sizeof r);
    return r;
}

static struct graphql_call *take_call(int i)
{
    struct graphql_call *c = fake_net.calls[i];
    fake_net.n_calls--;
    memmove(fake_net.calls + i, fake_net.calls + i + 1, (size_t)(fake_net.n_calls - i) * sizeof c);
    return c;
}

static bool run_work(void)
{
    if (n_jobs == 0)
        return false;
    struct work *w = jobs[0];
    memmove(jobs, jobs + 1, (size_t)--n_jobs * sizeof w);
    w->run(w);
    w->busy = false;
    w->done(w);
    return true;
}

static bool run_cancelled(void)
{
    for (int i = 0; i < fake_net.n_calls; i++) {
        if (fake_net.calls[i]->error == TARE_ECANCELLED) {
            struct graphql_call *c = take_call(i);
            c->done(c);
            return true;
        }
    }
    for (int i = 0; i < fake_net.n_requests; i++) {
        if (fake_net.requests[i]->error == TARE_ECANCELLED) {
            struct http_request *r = take_request(i);
            r->done(r);
            return true;
        }
    }
    return false;
}

void fake_net_settle(void)
{
    for (int i = 0; run_close() || run_work() || run_cancelled() || run_alarm(fake_net.mono_ns); i++)
        assert_in_range(i, 0, 10000);
}

void fake_net_pass_ms(int64_t ms)
{
    int64_t until = fake_net.mono_ns + ms * 1000000;
    for (int i = 0; run_close() || run_work() || run_cancelled() || run_alarm(until); i++)
        assert_in_range(i, 0, 1000000);
    fake_net.wall_ns += until - fake_net.mono_ns;
    fake_net.mono_ns = until;
}

void fake_net_begin(void)
{
    fake_net = (struct fake_net){.wall_ns = INT64_C(1795000000000000000), .mono_ns = INT64_C(1000000000000),
                                 .url = "http://backend", .credentials = "Authorization: Basic x\n"};
    clock_fake(&fake_net.wall_ns, &fake_net.mono_ns);
}

void fake_net_end(void)
{
    fake_net_settle();
    assert_null(alarms);
    assert_null(closings);
    assert_int_equal(fake_net.n_requests, 0);
    assert_int_equal(fake_net.n_calls, 0);
    clock_fake(NULL, NULL);
}

/* ---- loop/http.h ---- */

void http_request_init(struct http_request *r)
{
    *r = (struct http_request){.body_fd = -1, .to_fd = -1};
}

void http_request_fini(struct http_request *r)
{
    buf_fini(&r->answer);
    buf_fini(&r->answer_headers);
}

void http_send(struct http *h, struct http_request *r)
{
    r->error = 0;
    r->status = 0;
    fake_net.n_sent++;
    assert_in_range(fake_net.n_requests, 0, 63);
    fake_net.requests[fake_net.n_requests++] = r;
}

void http_cancel(struct http *h, struct http_request *r)
{
    r->error = TARE_ECANCELLED;
}

struct str http_answer_header(const struct http_request *r, const char *name)
{
    char begin[64];
    snprintf(begin, sizeof begin, "%s: ", name);
    struct str all = buf_str(&r->answer_headers);
    const char *at = all.n ? memmem(all.p, all.n, begin, strlen(begin)) : NULL;
    if (!at)
        return (struct str){0};
    at += strlen(begin);
    return str_make(at, strcspn(at, "\n"));
}

struct http_request *fake_net_request(void)
{
    fake_net_settle();
    if (fake_net.n_requests == 0)
        fail_msg("no request is under way");
    return fake_net.requests[0];
}

void fake_net_answer_to(struct http_request *r, int status, const char *headers, const char *body)
{
    for (int i = 0; i < fake_net.n_requests; i++)
        if (fake_net.requests[i] == r)
            take_request(i);
    r->status = status;
    buf_puts(&r->answer_headers, headers);
    buf_putc(&r->answer_headers, 0);
    r->answer_headers.len--;
    buf_puts(&r->answer, body);
    r->done(r);
    fake_net_settle();
}

void fake_net_answer(int status, const char *body)
{
    fake_net_answer_to(fake_net_request(), status, "", body);
}

void fake_net_fail(int error, const char *why)
{
    fake_net_request();
    struct http_request *r = take_request(0);
    r->error = error;
    snprintf(r->why, sizeof r->why, "%s", why);
    r->done(r);
    fake_net_settle();
}

/* ---- service/upload/backend.h ---- */

const char *backend_url(const struct backend *b)
{
    return fake_net.url;
}

struct http *backend_http(struct backend *b)
{
    return NULL;
}

uv_loop_t *backend_loop(struct backend *b)
{
    return NULL;
}

const struct retry_policy *backend_policy(const struct backend *b, enum backend_use use)
{
    static struct retry_policy p;
    retry_policy_of(&p, (struct str){0}, use);
    return &p;
}

struct http_route *backend_route(struct backend *b)
{
    return NULL;
}

void backend_headers(struct backend *b, enum backend_use use, const char *url, struct backend_headers *h)
{
    h->text = (struct buf){0};
    if (fake_net.headers_wait) {
        LL_APPEND(waiting_headers, h);
        return;
    }
    if (!fake_net.headers_error)
        buf_puts(&h->text, fake_net.credentials);
    h->ready(h, fake_net.headers_error, fake_net.headers_error ? "no credentials" : NULL);
}

void fake_net_headers(void)
{
    struct backend_headers *h = waiting_headers;
    fake_net.headers_wait = false;
    assert_non_null(h);
    LL_DELETE(waiting_headers, h);
    backend_headers(NULL, BACKEND_FILESTREAM, "", h);
    fake_net_settle();
}

void backend_feature(struct backend *b, const char *feature, void (*ready)(void *ctx, bool has), void *ctx)
{
    ready(ctx, fake_net.has_feature);
}

void backend_note_answer(struct backend *b, int status, struct str body)
{
    fake_net.n_noted++;
}

bool backend_renews(struct backend *b, const struct http_request *r)
{
    return fake_net.renews && r->status == 401;
}

/* ---- loop/worker.h ---- */

void work_start(uv_loop_t *loop, struct work *w)
{
    assert_false(w->busy);
    assert_in_range(n_jobs, 0, 255);
    w->busy = true;
    jobs[n_jobs++] = w;
}

/* ---- service/upload/graphql.h ---- */

void graphql_send(struct backend *b, struct graphql_call *c)
{
    assert_in_range(fake_net.n_calls, 0, 15);
    c->error = 0;
    fake_net.calls[fake_net.n_calls++] = c;
}

void graphql_cancel(struct backend *b, struct graphql_call *c)
{
    c->error = TARE_ECANCELLED;
}

void graphql_call_fini(struct graphql_call *c)
{
    mem_free((char *)c->data.p);
    c->data = (struct str){0};
}

struct graphql_call *fake_net_call(void)
{
    fake_net_settle();
    if (fake_net.n_calls == 0)
        fail_msg("no call is under way");
    return fake_net.calls[0];
}

void fake_net_data(const char *data)
{
    fake_net_call();
    struct graphql_call *c = take_call(0);
    c->status = 200;
    c->data = str_of(xmem_strdup(data));
    c->done(c);
    fake_net_settle();
}

void fake_net_refuse(int error, const char *why)
{
    fake_net_call();
    struct graphql_call *c = take_call(0);
    c->error = error;
    snprintf(c->why, sizeof c->why, "%s", why);
    c->done(c);
    fake_net_settle();
}
