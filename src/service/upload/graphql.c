/* SPDX-License-Identifier: MIT */
/* The life of a call:
 *
 *   ASKING (headers) ─► SENDING ─► DONE
 *      ▲                   │
 *      └──── RESTING ◄─────┘ tried again
 *
 * (peer: core/internal/api/gql_client.go, genqlient's client.go) */
#include "service/upload/graphql.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/json.h"
#include "base/random.h"
#include "service/limits.h"
#include "service/upload/backend_impl.h"
#include "service/upload/gql_words.h"
#include "service/upload/json_path.h"
#include "service/upload/retry.h"

#include <assert.h>
#include <stdio.h>
#include <utlist.h>

#define TO(state) (1u << (state))
#define OF(w, member) ((struct graphql_work *)((char *)(w) - offsetof(struct graphql_work, member)))

enum { ASKING, SENDING, RESTING, DONE };

static const struct {
    const char *name;
    unsigned to;
} states[] = {
    [ASKING] = {"asking", TO(SENDING) | TO(RESTING) | TO(DONE)},
    [SENDING] = {"sending", TO(RESTING) | TO(DONE)},
    [RESTING] = {"resting", TO(ASKING) | TO(DONE)},
    [DONE] = {"done", 0},
};

struct graphql_work {
    struct graphql_work *prev, *next;
    struct backend *backend;
    struct graphql_call *call;
    int state;
    bool cancelled;
    bool is_last; /* try: there is no more time than for this one */
    int error; /* to end with, from the timer */
    uint32_t n_tries;
    char *url;
    struct buf body, headers;
    struct backend_headers ask;
    struct http_request http;
    uv_timer_t timer;
};

static void move(struct graphql_work *w, int to)
{
    assert(states[w->state].to & TO(to));
    w->state = to;
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *t)
{
    struct graphql_work *w = t->data;
    buf_fini(&w->body);
    buf_fini(&w->headers);
    buf_fini(&w->ask.text);
    http_request_fini(&w->http);
    mem_free(w->url);
    mem_free(w);
}

static void end(struct graphql_work *w, int error)
{
    struct graphql_call *c = w->call;
    move(w, DONE);
    c->error = w->cancelled ? TARE_ECANCELLED : error;
    if (w->cancelled)
        snprintf(c->why, sizeof c->why, "%s", err_text(TARE_ECANCELLED));
    c->status = w->http.status;
    c->answer = w->http.answer;
    w->http.answer = (struct buf){0};
    bool has_data = c->status == 200 && error != TARE_EFORMAT;
    c->data = has_data ? json_at(buf_str(&c->answer), "data") : (struct str){0};
    c->work = NULL;
    DL_DELETE(*backend_calls(w->backend), w);
    uv_close((uv_handle_t *)&w->timer, on_closed);
    c->done(c);
}

static void ask(struct graphql_work *w);

static void on_timer(uv_timer_t *t)
{
    struct graphql_work *w = t->data;
    if (w->cancelled || w->error)
        end(w, w->error);
    else
        ask(w);
}

static void end_soon(struct graphql_work *w, int error)
{
    w->error = error;
    uv_timer_start(&w->timer, on_timer, 0, 0);
}

/* ---- answers ---- */

static const struct {
    int status, error;
} refusals[] = {
    {401, TARE_EPERM}, {403, TARE_EPERM}, {404, TARE_ENOTFOUND}, {409, TARE_ECONFLICT},
};

static int error_of_status(int status)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (refusals[i].status == status)
            return refusals[i].error;
    return TARE_EPROTO;
}

static void say(struct graphql_work *w, struct buf *words)
{
    while (words->len && words->data[words->len - 1] == '\n')
        words->len--;
    snprintf(w->call->why, sizeof w->call->why, "%.*s", STR_ARG(buf_str(words)));
}

static char first_char(struct str json)
{
    const char *end = json.p + json.n, *at = json.n ? json_skip_space(json.p, end) : end;
    return at < end ? *at : '\0';
}

/* An object (or null) whose errors are a list: what else a server says with status 200 must not pass for done. */
static bool is_answer(struct str body)
{
    char errors = first_char(json_at(body, "errors"));
    return json_valid(body) && strchr("{n", first_char(body)) && (errors == '\0' || strchr("[n", errors));
}

/* An answer that ends it. */
static void take_answer(struct graphql_work *w)
{
    struct str body = buf_str(&w->http.answer);
    AUTO_BUF words = {0};
    if (w->http.status != 200) {
        gql_put_messages(&words, body);
        say(w, &words);
        end(w, error_of_status(w->http.status));
    } else if (!is_answer(body)) {
        snprintf(w->call->why, sizeof w->call->why, "the answer is no %s: %.*s", json_valid(body) ? "GraphQL" : "JSON",
                 (int)(body.n < 200 ? body.n : 200), body.n ? body.p : "");
        end(w, TARE_EFORMAT);
    } else if (gql_has_errors(body)) {
        gql_put_list(&words, body);
        say(w, &words);
        end(w, TARE_EPROTO);
    } else {
        w->call->why[0] = '\0';
        end(w, 0);
    }
}

/* "429 encountered ({...}), retrying request", as the peer tells its users, or what the network did. */
static void explain_try(struct graphql_work *w)
{
    struct graphql_call *c = w->call;
    if (w->http.error) {
        snprintf(c->why, sizeof c->why, "%s", w->http.why);
    } else {
        AUTO_BUF words = {0};
        gql_put_messages(&words, buf_str(&w->http.answer));
        snprintf(c->why, sizeof c->why, "HTTP %d%s%.*s", w->http.status, words.len ? ": " : "",
                 STR_ARG(buf_str(&words)));
    }
}

static bool may_pass(const struct graphql_work *w)
{
    const struct retry_policy *p = backend_policy(w->backend, BACKEND_GRAPHQL);
    if (w->http.status == 429 && w->call->hands_back_429)
        return false;
    bool is_conflict = w->http.status == 409 && strcmp(w->call->operation, "UpsertBucket") == 0;
    return is_conflict || retry_again(p, &w->http) || backend_renews(w->backend, &w->http);
}

static bool is_again(const struct graphql_work *w)
{
    return w->n_tries <= backend_policy(w->backend, BACKEND_GRAPHQL)->max && may_pass(w);
}

/* Wait and try again, or until there is no time left. */
static void rest(struct graphql_work *w)
{
    struct graphql_call *c = w->call;
    const struct retry_policy *p = backend_policy(w->backend, BACKEND_GRAPHQL);
    uint64_t ms = retry_wait_ms(p, &w->http, w->n_tries, random_u32());
    move(w, RESTING);
    if (c->give_up_ns) {
        int64_t left = (c->give_up_ns - clock_mono_ns()) / 1000000;
        if (left < (int64_t)ms) {
            w->error = TARE_ETIMEOUT;
            ms = left > 0 ? (uint64_t)left : 0;
        }
    }
    uv_timer_start(&w->timer, on_timer, ms, 0);
    if (c->on_retry)
        c->on_retry(c, c->why);
}

static void on_answer(struct http_request *r)
{
    struct graphql_work *w = OF(r, http);
    if (w->cancelled) {
        end(w, TARE_ECANCELLED);
        return;
    }
    backend_note_answer(w->backend, r->status, buf_str(&r->answer));
    if (!r->error && r->status >= 200 && r->status < 400) {
        take_answer(w);
        return;
    }
    bool again = is_again(w);
    if (r->error == TARE_ETIMEOUT && w->is_last) {
        end(w, TARE_ETIMEOUT); /* `why` is the last try's */
        return;
    }
    if (!again && may_pass(w))
        w->call->n_tries = w->n_tries;
    if (!again && !r->error) {
        take_answer(w);
        return;
    }
    explain_try(w);
    diag_info("graphql: %s: %s (try %u)", w->call->operation, w->call->why, w->n_tries);
    if (again)
        rest(w);
    else
        end(w, r->error);
}

/* ---- tries ---- */

/* How long this one may take. */
static uint32_t try_ms(struct graphql_work *w)
{
    uint32_t ms = backend_policy(w->backend, BACKEND_GRAPHQL)->timeout_ms;
    if (!w->call->give_up_ns)
        return ms;
    int64_t left = (w->call->give_up_ns - clock_mono_ns()) / 1000000 + 1;
    w->is_last = ms == 0 || left <= (int64_t)ms;
    if (!w->is_last)
        return ms;
    return left < 1 ? 1 : left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

static void on_headers(struct backend_headers *h, int error, const char *why)
{
    struct graphql_work *w = OF(h, ask);
    buf_fini(&w->headers);
    w->headers = h->text;
    h->text = (struct buf){0};
    http_request_fini(&w->http);
    http_request_init(&w->http);
    if (error && !w->cancelled) {
        snprintf(w->call->why, sizeof w->call->why, "%s", why);
        w->http.error = error;
        if (error != TARE_EPERM && is_again(w)) {
            rest(w);
            return;
        }
    }
    if (error || w->cancelled) {
        end_soon(w, error ? error : TARE_ECANCELLED);
        return;
    }
    buf_puts(&w->headers, "Content-Type: application/json\n");
    w->http.method = "POST";
    w->http.url = w->url;
    w->http.route = backend_route(w->backend);
    w->http.headers = buf_z(&w->headers);
    w->http.body = buf_str(&w->body);
    w->http.keep_bytes = GRAPHQL_ANSWER_BYTES;
    w->http.timeout_ms = try_ms(w);
    w->http.done = on_answer;
    move(w, SENDING);
    http_send(backend_http(w->backend), &w->http);
}

static void ask(struct graphql_work *w)
{
    if (w->state == RESTING)
        move(w, ASKING);
    w->n_tries++;
    w->ask.ready = on_headers;
    backend_headers(w->backend, BACKEND_GRAPHQL, w->url, &w->ask);
}

/* ---- public ---- */

static void put_body(struct buf *to, const struct graphql_call *c)
{
    buf_puts(to, "{\"query\":");
    json_put_string(to, str_of(c->document));
    if (c->variables.n) {
        buf_puts(to, ",\"variables\":");
        buf_put_str(to, c->variables);
    }
    buf_puts(to, ",\"operationName\":");
    json_put_string(to, str_of(c->operation));
    buf_putc(to, '}');
}

void graphql_send(struct backend *b, struct graphql_call *c)
{
    struct graphql_work *w = xmem_calloc(1, sizeof *w);
    AUTO_BUF url = {0};
    buf_printf(&url, "%s/graphql", backend_url(b));
    w->url = xmem_strndup(url.data, url.len);
    w->backend = b;
    w->call = c;
    c->work = w;
    c->error = c->status = 0;
    c->why[0] = '\0';
    c->n_tries = 0;
    c->data = (struct str){0};
    c->answer = (struct buf){0};
    put_body(&w->body, c);
    http_request_init(&w->http);
    uv_timer_init(backend_loop(b), &w->timer);
    w->timer.data = w;
    DL_APPEND(*backend_calls(b), w);
    if (w->body.failed)
        end_soon(w, TARE_ENOMEM);
    else
        ask(w);
}

static void cancel(struct graphql_work *w)
{
    if (w->cancelled)
        return;
    w->cancelled = true;
    if (w->state == SENDING)
        http_cancel(backend_http(w->backend), &w->http);
    else if (w->state == RESTING)
        uv_timer_start(&w->timer, on_timer, 0, 0);
}

void graphql_cancel(struct backend *b, struct graphql_call *c)
{
    (void)b;
    if (c->work)
        cancel(c->work);
}

void graphql_cancel_all(struct backend *b)
{
    struct graphql_work *w, *next;
    DL_FOREACH_SAFE (*backend_calls(b), w, next)
        cancel(w);
}

void graphql_call_fini(struct graphql_call *c)
{
    buf_fini(&c->answer);
    c->data = (struct str){0};
}
