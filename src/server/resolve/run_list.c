/* SPDX-License-Identifier: MIT */
/* project.runs: a page of runs. Rows are written into the response while the cursor stands on them;
 * nothing is kept, so a page of 10,000 runs needs no more memory than its answer.
 *
 * Pages of the default order (age) are found by key, so runs that come in between neither repeat nor
 * hide others: a cursor is "created_at:id". Other orders use offsets: "@n". */
#include "base/number.h"
#include "server/resolve/fields.h"
#include "server/resolve/run_rows.h"

#include <stdio.h>

struct run_list {
    const struct project_row *project;
    int64_t first;
    unsigned columns;
    const char *order; /* an SQL expression; NULL: by age */
    bool descending;
    int64_t offset;             /* of the page, with `order` */
    int64_t after_us, after_id; /* by age: the last row of the page before */
    bool after;
    /* known once the rows were read */
    bool done, has_next;
    char start[2 * NUMBER_MAX], end[2 * NUMBER_MAX];
};

struct run_edge {
    const struct run_row *run;
    const char *cursor;
};

/* What `order` may name besides created_at. */
static const char *const orders[][2] = {
    {"heartbeat_at", "r.heartbeat_at"}, {"updated_at", "r.updated_at"}, {"state", "r.state"},
    {"display_name", "r.display_name"}, {"name", "r.name"},             {"group", "r.group_name"},
    {"job_type", "r.job_type"},         {"host", "r.host"},             {"username", "u.username"},
};

/* False: not an order that is known. */
static bool take_order(struct run_list *l, struct str order)
{
    if (!order.n)
        return true;
    l->descending = order.p[0] == '-';
    if (order.p[0] == '-' || order.p[0] == '+')
        order = str_make(order.p + 1, order.n - 1);
    if (str_eqz(order, "created_at") || str_eqz(order, "createdAt"))
        return true;
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        if (str_eqz(order, orders[i][0]))
            l->order = orders[i][1];
    return l->order != NULL;
}

static bool take_cursor(struct run_list *l, struct str cursor)
{
    if (!cursor.n)
        return true;
    if (cursor.p[0] == '@') {
        bool ok = number_parse_i64(cursor.p + 1, cursor.n - 1, &l->offset) == cursor.n - 1;
        l->offset++;
        return ok && l->order && l->offset > 0;
    }
    size_t n = number_parse_i64(cursor.p, cursor.n, &l->after_us);
    l->after = n && n + 1 < cursor.n && cursor.p[n] == ':' &&
               number_parse_i64(cursor.p + n + 1, cursor.n - n - 1, &l->after_id) == cursor.n - n - 1;
    return l->after && !l->order;
}

void resolve_Project_runs(struct gql_call *c, const void *obj)
{
    struct run_list l = {.project = obj, .columns = run_columns_wanted(c, "edges.node.")};
    l.first = page_size(c, "first", 50, 100000);
    if (!take_order(&l, gql_arg_str(c, "order")))
        gql_fail(c, 400, "runs cannot be ordered by \"%.*s\"", STR_ARG(gql_arg_str(c, "order")));
    else if (!take_cursor(&l, gql_arg_str(c, "after")))
        gql_fail(c, 400, "the cursor is not one of this list");
    else
        gql_object(c, TYPE_RunConnection, &l);
}

static int open_rows(struct run_list *l, struct accessor *a, unsigned columns, struct db_rows **rows)
{
    char where[600], sql[RUN_ROWS_SQL];
    const char *dir = l->descending ? "DESC" : "ASC";
    if (l->order)
        snprintf(where, sizeof where,
                 "r.project_id = $1 AND r.deleted_at IS NULL ORDER BY %s %s, r.id %s LIMIT $2 OFFSET $3", l->order,
                 dir, dir);
    else if (l->after)
        snprintf(where, sizeof where,
                 "r.project_id = $1 AND r.deleted_at IS NULL AND (r.created_at, r.id) %s ($3, $4)"
                 " ORDER BY r.created_at %s, r.id %s LIMIT $2",
                 l->descending ? "<" : ">", dir, dir);
    else
        snprintf(where, sizeof where,
                 "r.project_id = $1 AND r.deleted_at IS NULL ORDER BY r.created_at %s, r.id %s LIMIT $2", dir, dir);
    run_rows_sql(sql, columns, where);
    const struct db_value args[] = {db_i(l->project->id), db_i(l->first + 1),
                                    l->order ? db_i(l->offset) : db_i(l->after_us), db_i(l->after_id)};
    return db_query(a->db, a->e, rows, sql, args, l->order ? 3 : l->after ? 4 : 2);
}

static void put_cursor(const struct run_list *l, const struct run_row *r, int64_t i, char *to)
{
    if (l->order) {
        *to++ = '@';
        to += number_format_i64(to, l->offset + i);
    } else {
        to += number_format_i64(to, r->created_us);
        *to++ = ':';
        to += number_format_i64(to, r->id);
    }
    *to = 0;
}

/* Read the page; `emit` writes edges too. */
static void read_page(struct gql_call *c, struct run_list *l, bool emit)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    unsigned columns = emit ? l->columns : 0;
    int64_t n = 0;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = open_rows(l, &a, columns, &rows);
    while (rc >= 0 && !gql_failed(c) && (rc = db_next(rows, &e)) == 1 && n < l->first) {
        struct run_row r = {.project = l->project};
        run_rows_take(rows, columns, &r);
        put_cursor(l, &r, n, l->end);
        if (!n++)
            memcpy(l->start, l->end, sizeof l->start);
        if (emit)
            gql_object(c, TYPE_RunEdge, &(struct run_edge){&r, l->end});
    }
    l->has_next = rc == 1 && n >= l->first;
    l->done = true;
    if (rc < 0)
        fail_with(c, rc, &e);
}

void resolve_RunConnection_edges(struct gql_call *c, const void *obj)
{
    gql_list_begin(c);
    read_page(c, (struct run_list *)(uintptr_t)obj, true);
    gql_list_end(c);
}

void resolve_RunConnection_pageInfo(struct gql_call *c, const void *obj)
{
    struct run_list *l = (struct run_list *)(uintptr_t)obj;
    if (!l->done)
        read_page(c, l, false);
    struct page_info p = {l->has_next, l->after || l->offset > 0, l->start[0] ? l->start : NULL,
                          l->end[0] ? l->end : NULL};
    gql_object(c, TYPE_PageInfo, &p);
}

static void answer_count(struct gql_call *c, const struct project_row *p)
{
    struct err e;
    struct accessor a;
    int64_t n = 0;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = db_get_int(a.db, &e, &n, "SELECT count(*) FROM runs WHERE project_id = $1 AND deleted_at IS NULL",
                        DB_ARGS(db_i(p->id)));
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_int(c, n);
}

void resolve_RunConnection_totalCount(struct gql_call *c, const void *obj)
{
    answer_count(c, ((const struct run_list *)obj)->project);
}

void resolve_Project_runCount(struct gql_call *c, const void *obj)
{
    answer_count(c, obj);
}

FIELD_(RunEdge, node, gql_object(c, TYPE_Run, ROW_(run_edge)->run))
FIELD_(RunEdge, cursor, gql_strz(c, ROW_(run_edge)->cursor))
