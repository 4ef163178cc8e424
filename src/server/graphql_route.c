/* SPDX-License-Identifier: MIT */
#include "server/graphql_route.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/spare.h"
#include "schema_tables.h"
#include "server/graphql/coerce.h"
#include "server/graphql/document.h"
#include "server/graphql/execute.h"
#include "server/graphql/resolver.h"
#include "server/request.h"

enum { ARENA_BYTES = 512 << 20 };

static const struct gql_limits base_limits = {.max_fields = 20000000, .max_bytes = 512u << 20};
static const int64_t deadline_ns = 60 * 1000000000ll;

static void reply_errors(struct http_request *r, int status, const char *text)
{
    struct buf b = {0};
    buf_puts(&b, "{\"errors\":[{\"message\":");
    json_put_string(&b, str_of(text));
    buf_puts(&b, "}],\"data\":null}");
    http_reply(r, status, "application/json", &b);
}

/* The three members of the body that matter. */
struct body {
    struct gql_value all;
    const struct gql_value *variables;
    struct str query, operation;
};

/* 0, TARE_EFORMAT, TARE_ENOMEM. */
static int take_body(struct http_request *r, struct arena *a, struct body *b)
{
    int rc = gql_value_from_json(a, buf_str(&r->body), &b->all);
    if (rc || b->all.kind != GQL_OBJECT)
        return rc == TARE_ENOMEM ? rc : TARE_EFORMAT;
    const struct gql_value *vars = gql_in(&b->all, "variables");
    b->query = gql_in_str(&b->all, "query");
    b->operation = gql_in_str(&b->all, "operationName");
    b->variables = vars && vars->kind == GQL_OBJECT ? vars : NULL;
    return b->query.p && (!vars || vars->kind == GQL_OBJECT || vars->kind == GQL_NULL) ? 0 : TARE_EFORMAT;
}

static void execute(struct http_request *r, struct gql_document *d, const struct gql_value *variables,
                    struct arena *a)
{
    struct server *s = r->app;
    struct gql_limits limits = base_limits;
    struct request q;
    struct buf out = {0};
    int status = 200;
    limits.deadline_mono_ns = clock_mono_ns() + deadline_ns;
    limits.memory = http_memory(r);
    limits.ending = &s->is_ending;
    spare_take(&out, d->answer_bytes);
    out.failed = false; /* only a guess */
    request_init(&q, s, r, a);
    int rc = gql_execute(&d->plan, variables, a, &q, &limits, &out, &status);
    request_fini(&q);
    if (rc) {
        buf_fini(&out);
        reply_errors(r, 503, "out of memory");
        return;
    }
    d->answer_bytes = out.len;
    http_reply(r, status, "application/json", &out);
}

void graphql_handle(struct http_request *r)
{
    struct server *s = r->app;
    struct gql_document *d = NULL;
    struct body body = {0};
    struct arena arena;
    struct err e = {0};
    arena_init(&arena, ARENA_BYTES);
    arena.budget = http_memory(r);
    int rc = take_body(r, &arena, &body);
    if (rc == TARE_ENOMEM && arena.used_bytes + r->body.len > ARENA_BYTES) /* its own limit, not that of all */
        reply_errors(r, 413, "the body has too many values");
    else if (rc == TARE_ENOMEM)
        reply_errors(r, 503, "the server is busy");
    else if (rc)
        reply_errors(r, 400, "the body is not a GraphQL request");
    else if (gql_document_get(s->documents, body.query, body.operation, &d, &e))
        reply_errors(r, e.code == TARE_ENOMEM ? 503 : 400, e.text);
    else
        execute(r, d, body.variables, &arena);
    gql_document_put(s->documents, d);
    arena_fini(&arena);
}
