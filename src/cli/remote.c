/* SPDX-License-Identifier: MIT */
#include "cli/remote.h"

#include "base/clock.h"
#include "loop/http.h"
#include "service/upload/backend.h"
#include "service/upload/graphql.h"

#include <uv.h>

struct question {
    struct graphql_call call;
    struct backend *backend;
    struct http *http;
};

static void on_http_closed(void *ctx)
{
    (void)ctx;
}

static void on_done(struct graphql_call *c)
{
    struct question *q = (struct question *)c;
    backend_close(q->backend);
    http_close(q->http, on_http_closed, NULL);
}

int remote_query(const struct where *w, const char *operation, const char *document,
                 struct str variables, int wait_s, struct buf *data, struct err *e)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct question q = {.http = http_new(&loop)};
    q.backend = backend_new(q.http, &loop, (struct str){0}, w->url, w->key, e);
    if (q.backend) {
        q.call = (struct graphql_call){.operation = operation,
                                       .document = document,
                                       .variables = variables,
                                       .give_up_ns = clock_mono_ns() + wait_s * INT64_C(1000000000),
                                       .done = on_done};
        graphql_send(q.backend, &q.call);
    } else {
        http_close(q.http, on_http_closed, NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    if (!q.backend)
        return e->code;
    if (q.call.error)
        err_set(e, q.call.error, "%s: %s", w->url, *q.call.why ? q.call.why : err_text(q.call.error));
    else
        buf_put_str(data, q.call.data);
    graphql_call_fini(&q.call);
    return q.call.error;
}
