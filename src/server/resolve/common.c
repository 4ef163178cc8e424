/* SPDX-License-Identifier: MIT */
/* Connections, paging, failing. */
#include "base/number.h"
#include "server/quota.h"
#include "server/resolve/fields.h"

#include <errno.h>
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
    bool passes = rc == -EDQUOT && quota_may_ease(request_of(c)->server);
    gql_fail(c, access_status(passes ? TARE_ENOSPACE : rc), "%s", e->text[0] ? e->text : err_text(rc));
}

void null_or_fail(struct gql_call *c, int rc, const struct err *e)
{
    if (rc == TARE_ENOTFOUND)
        gql_null(c);
    else
        fail_with(c, rc, e);
}

void answer_found(struct gql_call *c, int rc, const struct err *e, int type, const void *obj)
{
    if (rc)
        null_or_fail(c, rc, e);
    else
        gql_object(c, type, obj);
}

bool write_job(struct gql_call *c, db_job_fn job, void *arg)
{
    struct err e = {0};
    int rc = request_write(request_of(c), job, arg, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    return rc >= 0;
}

int collect_rows(const struct accessor *a, struct buf *all, const struct list_shape *shape, const void *of,
                 const char *sql, const struct db_value *args, int n)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_query(a->db, a->e, &rows, sql, args, n);
    while (rc >= 0 && (rc = db_next(rows, a->e)) == 1) {
        char *to = buf_reserve(all, shape->stride);
        if (!to)
            return err_set(a->e, TARE_ENOMEM, "out of memory");
        memset(to, 0, shape->stride);
        rc = shape->take(a, rows, of, to);
        all->len += rc >= 0 ? shape->stride : 0;
        rc = rc == TARE_ENOTFOUND ? 0 : rc;
    }
    return rc < 0 ? rc : 0;
}

bool collect_for_field(struct gql_call *c, struct accessor *a, struct err *e, struct buf *all,
                       const struct list_shape *shape, const void *of, const char *sql, const struct db_value *args, int n)
{
    if (!accessor_of(c, e, a))
        return false;
    int rc = collect_rows(a, all, shape, of, sql, args, n);
    if (rc < 0)
        fail_with(c, rc, e);
    return rc == 0;
}

void answer_list(struct gql_call *c, const struct list_shape *shape, const void *of, const char *sql,
                 const struct db_value *args, int n)
{
    struct err e;
    struct accessor a;
    AUTO_BUF all = {0};
    if (collect_for_field(c, &a, &e, &all, shape, of, sql, args, n))
        answer_rows(c, shape, all.data, all.len / shape->stride);
}

void answer_whole_list(struct gql_call *c, const struct list_shape *shape, const void *of, const char *sql,
                       const struct db_value *args, int n)
{
    struct err e;
    struct accessor a;
    AUTO_BUF all = {0};
    if (!collect_for_field(c, &a, &e, &all, shape, of, sql, args, n))
        return;
    gql_list_begin(c);
    for (size_t i = 0; i < all.len; i += shape->stride)
        gql_object(c, shape->node_type, all.data + i);
    gql_list_end(c);
}

void answer_read_page(struct gql_call *c, int connection_type, struct connection *page, int64_t most, int rc,
                      const struct err *e)
{
    page->has_next = page->n > (size_t)most;
    page->n -= page->has_next;
    if (rc < 0)
        fail_with(c, rc, e);
    else
        gql_object(c, connection_type, page);
}

void answer_page(struct gql_call *c, int connection_type, int edge_type, int node_type, const void *rows,
                 size_t n, size_t stride)
{
    struct connection page = {edge_type, node_type, .stride = stride, .total = (int64_t)n};
    page.offset = page_offset(c, "after");
    size_t from = (size_t)page.offset < n ? (size_t)page.offset : n;
    int64_t size = page_size(c, "first", 50, 100000);
    page.n = n - from < (size_t)size ? n - from : (size_t)size;
    page.nodes = page.n ? (const char *)rows + from * stride : NULL;
    page.has_next = from + page.n < n;
    gql_object(c, connection_type, &page);
}

void answer_rows(struct gql_call *c, const struct list_shape *shape, const void *rows, size_t n)
{
    answer_page(c, shape->connection_type, shape->edge_type, shape->node_type, rows, n, shape->stride);
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
    return at < PAGE_OFFSET_MAX ? at + 1 : PAGE_OFFSET_MAX;
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
