/* SPDX-License-Identifier: MIT */
#include "service/upload/coreweave.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/random.h"
#include "base/utf8.h"
#include "loop/http.h"
#include "record/setting_wire.h"
#include "service/upload/graphql.h"
#include "service/upload/retry.h"

#include <stddef.h>

enum { SET_BASE_URL = 192, SET_ENDPOINT = 193 };
enum { MAX_ANSWER_BYTES = 1 << 20 };

static const struct retry_policy policy = {
    .use = BACKEND_FILE, .max = 3, .wait_min_ms = 1000, .wait_max_ms = 10000, .timeout_ms = 5000};

struct coreweave {
    struct backend *backend;
    enum { ASKING, GETTING, WAITING, OVER } state;
    struct graphql_call call;
    struct http_request http;
    uv_timer_t timer;
    struct buf variables, url;
    uint32_t n_failed;
    bool freed; /* it goes when nothing of it is under way */
    void (*done)(void *ctx, struct str info);
    void *ctx;
};

static const char question[] = "query OrganizationCoreWeaveOrganizationID ($entityName: String!) {\n"
                               "\tentity(name: $entityName) {\n"
                               "\t\torganization {\n"
                               "\t\t\tcoreWeaveOrganizationId\n"
                               "\t\t}\n"
                               "\t}\n"
                               "}\n";

/* ---- the answer ---- */

void coreweave_read(struct str answer, struct buf *info)
{
    static const char *const keys[] = {"cluster_name", "org_id", "region"};
    struct str found[3] = {{0}};
    while (answer.n > 0) {
        const char *newline = memchr(answer.p, '\n', answer.n);
        size_t n = newline ? (size_t)(newline - answer.p) : answer.n;
        struct str line = str_make(answer.p, n);
        const char *colon = n > 0 ? memchr(line.p, ':', n) : NULL;
        size_t at = colon ? (size_t)(colon - line.p) : 0;
        for (int i = 0; colon && i < 3; i++)
            if (str_eqz(str_trim(str_make(line.p, at)), keys[i]))
                found[i] = str_trim(str_make(colon + 1, n - at - 1));
        n += newline != NULL;
        answer = str_make(answer.p + n, answer.n - n);
    }
    for (uint32_t i = 0; i < 3; i++)
        if (found[i].n > 0 && utf8_valid(found[i].p, found[i].n))
            wire_buf_bytes(info, i + 1, found[i]);
}

/* ---- its life ---- */

static void on_closed(uv_handle_t *h)
{
    struct coreweave *c = h->data;
    http_request_fini(&c->http);
    buf_fini(&c->variables);
    buf_fini(&c->url);
    mem_free(c);
}

static void be_over(struct coreweave *c)
{
    c->state = OVER;
    if (c->freed)
        uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_answer(struct http_request *r);

static void get(struct coreweave *c)
{
    http_request_fini(&c->http);
    http_request_init(&c->http);
    c->http.method = "GET";
    c->http.url = buf_z(&c->url);
    c->http.keep_bytes = MAX_ANSWER_BYTES;
    c->http.timeout_ms = policy.timeout_ms;
    c->http.done = on_answer;
    c->state = GETTING;
    http_send(backend_http(c->backend), &c->http);
}

static void on_time(uv_timer_t *t)
{
    get(t->data);
}

static void on_answer(struct http_request *r)
{
    struct coreweave *c = (struct coreweave *)((char *)r - offsetof(struct coreweave, http));
    AUTO_BUF info = {0};
    if (!c->freed && (r->error || r->status != 200) && c->n_failed < policy.max && retry_again(&policy, r)) {
        c->state = WAITING;
        c->n_failed++;
        uv_timer_start(&c->timer, on_time, retry_wait_ms(&policy, r, c->n_failed, random_u32()), 0);
        return;
    }
    if (r->error || r->status != 200)
        diag_info("coreweave: no metadata: %s (status %d)", r->why, r->status);
    else
        coreweave_read(buf_str(&r->answer), &info);
    bool good = !c->freed && !r->error && r->status == 200 && !info.failed;
    be_over(c);
    if (good)
        c->done(c->ctx, buf_str(&info));
}

static void on_asked(struct graphql_call *call)
{
    struct coreweave *c = (struct coreweave *)((char *)call - offsetof(struct coreweave, call));
    char *id = call->error ? NULL : json_string_at(call->data, "entity.organization.coreWeaveOrganizationId");
    bool is_customer = id && *id;
    mem_free(id);
    graphql_call_fini(call);
    if (is_customer && !c->freed)
        get(c);
    else
        be_over(c);
}

struct coreweave *coreweave_ask(struct backend *b, struct str settings, struct str entity,
                                void (*done)(void *ctx, struct str info), void *ctx)
{
    struct coreweave *c = xmem_calloc(1, sizeof *c);
    struct str base = setting_wire_text(settings, SET_BASE_URL), path = setting_wire_text(settings, SET_ENDPOINT);
    c->backend = b;
    c->done = done;
    c->ctx = ctx;
    uv_timer_init(backend_loop(b), &c->timer);
    c->timer.data = c;
    http_request_init(&c->http);
    while (base.n > 0 && base.p[base.n - 1] == '/')
        base.n--;
    buf_put_str(&c->url, base);
    if (path.n > 0 && *path.p != '/')
        buf_putc(&c->url, '/');
    buf_put_str(&c->url, path);
    buf_puts(&c->variables, "{\"entityName\":");
    json_put_string(&c->variables, entity);
    buf_putc(&c->variables, '}');
    c->call = (struct graphql_call){.operation = "OrganizationCoreWeaveOrganizationID",
                                    .document = question,
                                    .variables = buf_str(&c->variables),
                                    .done = on_asked};
    graphql_send(b, &c->call);
    return c;
}

void coreweave_free(struct coreweave *c)
{
    if (!c)
        return;
    c->freed = true;
    switch (c->state) {
    case ASKING: graphql_cancel(c->backend, &c->call); break;
    case GETTING: http_cancel(backend_http(c->backend), &c->http); break;
    case WAITING: uv_timer_stop(&c->timer); be_over(c); break;
    case OVER: be_over(c); break;
    }
}
