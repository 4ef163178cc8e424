/* SPDX-License-Identifier: MIT */
/* Connections, paging, failing. */
#include "base/number.h"
#include "server/resolve/fields.h"

#include <stdio.h>

struct request *request_of(struct gql_call *c)
{
    return gql_app(c);
}

bool accessor_of(struct gql_call *c, struct err *e, struct accessor *out)
{
    struct request *q = gql_app(c);
    *e = (struct err){0};
    *out = (struct accessor){request_reader(q, e), q->user, q->arena, e};
    if (!out->db)
        gql_fail(c, 503, "the store cannot be read: %s", e->text);
    return out->db != NULL;
}

void fail_with(struct gql_call *c, int rc, const struct err *e)
{
    gql_fail(c, access_status(rc), "%s", e->text[0] ? e->text : err_text(rc));
}

void null_or_fail(struct gql_call *c, int rc, const struct err *e)
{
    if (rc == TARE_ENOTFOUND)
        gql_null(c);
    else
        fail_with(c, rc, e);
}

const char *zstr(struct gql_call *c, struct str s)
{
    return s.p ? arena_strndup(gql_arena(c), s.p, s.n) : NULL;
}

int64_t page_offset(struct gql_call *c, const char *arg)
{
    struct str s = gql_arg_str(c, arg);
    int64_t at = -1;
    if (s.n && (number_parse_i64(s.p, s.n, &at) != s.n || at < 0))
        at = -1;
    return at + 1;
}

int64_t page_size(struct gql_call *c, const char *arg, int64_t fallback, int64_t most)
{
    int64_t n = gql_arg_int(c, arg, fallback);
    return n < 0 ? 0 : n > most ? most : n;
}

void resolve_connection_edges(struct gql_call *c, const void *obj)
{
    const struct connection *in = obj;
    gql_list_begin(c);
    for (size_t i = 0; i < in->n; i++) {
        struct edge e = {in, (const char *)in->nodes + i * in->stride, in->offset + (int64_t)i};
        gql_object(c, in->edge_type, &e);
    }
    gql_list_end(c);
}

void resolve_connection_pageInfo(struct gql_call *c, const void *obj)
{
    const struct connection *in = obj;
    char start[NUMBER_MAX + 1], end[NUMBER_MAX + 1];
    start[number_format_i64(start, in->offset)] = 0;
    end[number_format_i64(end, in->offset + (int64_t)in->n - 1)] = 0;
    struct page_info p = {in->has_next, in->offset > 0, in->n ? start : NULL, in->n ? end : NULL};
    gql_object(c, TYPE_PageInfo, &p);
}

void resolve_connection_totalCount(struct gql_call *c, const void *obj)
{
    const struct connection *in = obj;
    if (in->total >= 0)
        gql_int(c, in->total);
}

void resolve_edge_node(struct gql_call *c, const void *obj)
{
    const struct edge *e = obj;
    gql_object(c, e->in->node_type, e->node);
}

void resolve_edge_cursor(struct gql_call *c, const void *obj)
{
    char text[NUMBER_MAX];
    size_t n = number_format_i64(text, ((const struct edge *)obj)->offset);
    gql_str(c, str_make(text, n));
}

FIELD_BOOL(page_info, hasNextPage, page_info, has_next)
FIELD_BOOL(page_info, hasPreviousPage, page_info, has_previous)
FIELD_(page_info, startCursor, gql_strz(c, ROW_(page_info)->start))
FIELD_(page_info, endCursor, gql_strz(c, ROW_(page_info)->end))

FIELD_BOOL(success, success, success, ok)
FIELD_NULL(success, clientMutationId)
