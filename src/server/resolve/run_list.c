/* SPDX-License-Identifier: MIT */
/* A page of runs. By age, rows are written into the response while the cursor stands on them; nothing is
 * kept, so a page of 10,000 runs needs no more memory than its answer. A filter passes over rows on the
 * way. Other orders read all rows, keep what the order needs, sort, and fetch the rows of the page.
 *
 * Pages by age are found by key, so runs that come in between neither repeat nor hide others: a cursor is
 * "created_at:id". In other orders a cursor is "@n:id": the page goes on behind that run wherever it stands now, or
 * at its old place if it is gone. */
#include "server/resolve/run_list.h"
#include "base/number.h"
#include "server/filter/filter.h"
#include "server/resolve/fields.h"
#include "server/resolve/run_filter.h"
#include "server/resolve/run_rows.h"

#include <stdio.h>
#include <stdlib.h>

struct run_list {
    struct run_scope scope;
    int64_t first;
    unsigned columns; /* that the answer needs */
    struct str filters, order_text;
    struct order order;
    bool by_age, descending;
    int64_t offset;             /* of the page, in other orders */
    int64_t after_us, after_id; /* the last row of the page before; the time only by age */
    bool after;
    /* known once the rows were read */
    bool done, has_next;
    char start[2 * NUMBER_MAX], end[2 * NUMBER_MAX];
};

struct run_edge {
    const struct run_row *run;
    const char *cursor;
};

/* ---- arguments ------------------------------------------------------------------------- */

static int take_order(struct run_list *l, struct str text, struct err *e)
{
    int rc = order_compile(text, "+created_at", &l->order, e);
    if (rc)
        return rc;
    l->order_text = text;
    l->by_age = str_eqz(l->order.keys[0].name, "created_at") || str_eqz(l->order.keys[0].name, "createdAt");
    l->descending = l->order.keys[0].descending;
    return 0;
}

static bool take_cursor(struct run_list *l, struct str cursor)
{
    if (!cursor.n)
        return true;
    if (cursor.p[0] == '@') {
        int64_t at = -1;
        size_t n = 1 + number_parse_i64(cursor.p + 1, cursor.n - 1, &at);
        bool ok = n > 1 && n + 1 < cursor.n && cursor.p[n] == ':' && at >= 0 && at < PAGE_OFFSET_MAX &&
                  number_parse_i64(cursor.p + n + 1, cursor.n - n - 1, &l->after_id) == cursor.n - n - 1;
        l->offset = ok ? at + 1 : 0;
        return ok && !l->by_age;
    }
    size_t n = number_parse_i64(cursor.p, cursor.n, &l->after_us);
    l->after = n && n + 1 < cursor.n && cursor.p[n] == ':' &&
               number_parse_i64(cursor.p + n + 1, cursor.n - n - 1, &l->after_id) == cursor.n - n - 1;
    return l->after && l->by_age;
}

void answer_run_list(struct gql_call *c, const struct run_scope *scope)
{
    struct run_list l = {.scope = *scope, .columns = run_columns_wanted(c, "edges.node.")};
    struct err e = {0};
    l.first = page_size(c, "first", 50, 100000);
    l.filters = gql_arg_str(c, "filters");
    int rc = take_order(&l, gql_arg_str(c, "order"), &e);
    if (rc)
        fail_with(c, rc, &e);
    else if (!take_cursor(&l, gql_arg_str(c, "after")))
        gql_fail(c, 400, "the cursor is not one of this list");
    else
        gql_object(c, TYPE_RunConnection, &l);
}

void resolve_Project_runs(struct gql_call *c, const void *obj)
{
    answer_run_list(c, &(struct run_scope){.project = obj});
}

/* ---- reading --------------------------------------------------------------------------- */

static int open_rows(const struct run_list *l, struct accessor *a, unsigned columns, int64_t limit,
                     struct db_rows **rows)
{
    char where[600], sql[RUN_ROWS_SQL];
    const char *dir = l->by_age && l->descending ? "DESC" : "ASC";
    snprintf(where, sizeof where,
             "r.project_id = $1 AND r.deleted_at IS NULL AND ($2 = 0 OR r.sweep_id = $2) AND"
             " ($3 = 0 OR r.agent_id = $3)%s%s%s ORDER BY r.created_at %s, r.id %s LIMIT $4",
             l->after ? " AND (r.created_at, r.id) " : "", l->after ? l->descending ? "<" : ">" : "",
             l->after ? " ($5, $6)" : "", dir, dir);
    run_rows_sql(sql, columns, where);
    const struct db_value args[] = {db_i(l->scope.project->id), db_i(l->scope.sweep_id), db_i(l->scope.agent_id),
                                    db_i(limit), db_i(l->after_us), db_i(l->after_id)};
    return db_query(a->db, a->e, rows, sql, args, l->after ? 6 : 4);
}

/* One walk over the runs of a scope, in the order of age, past those that do not match. */
struct walk {
    struct filter *filter;
    struct db_rows *rows;
    struct arena scratch; /* a row's unescaped texts */
    unsigned columns;
    struct run_row run;
};

static int walk_begin(struct walk *w, const struct run_list *l, struct accessor *a, unsigned columns, int64_t limit)
{
    *w = (struct walk){.columns = columns | run_filter_columns(l->filters)};
    arena_init(&w->scratch, 64 << 20);
    int rc = filter_compile(l->filters, a->arena, &w->filter, a->e);
    if (rc)
        return rc;
    return open_rows(l, a, w->columns, filter_is_all(w->filter) ? limit : INT64_MAX, &w->rows);
}

static void walk_end(struct walk *w)
{
    db_rows_end(w->rows);
    filter_fini(w->filter);
    arena_fini(&w->scratch);
}

/* 1 and w->run, or 0, or an error. */
static int walk_next(struct walk *w, const struct run_list *l, struct err *e)
{
    int rc;
    while ((rc = db_next(w->rows, e)) == 1) {
        arena_reset(&w->scratch);
        w->run = (struct run_row){.project = l->scope.project};
        run_rows_take(w->rows, w->columns, &w->run);
        struct run_filter_row row = {&w->run, &w->scratch};
        int match = filter_is_all(w->filter) ? 1 : filter_match(w->filter, run_filter_get, &row, e);
        if (match)
            return match;
    }
    return rc;
}

static void put_cursor(const struct run_list *l, const struct run_row *r, int64_t i, char *to)
{
    if (!l->by_age) {
        *to++ = '@';
        to += number_format_i64(to, l->offset + i);
    } else {
        to += number_format_i64(to, r->created_us);
    }
    *to++ = ':';
    to += number_format_i64(to, r->id);
    *to = 0;
}

static void put_edge(struct gql_call *c, struct run_list *l, const struct run_row *r, int64_t i, bool emit)
{
    put_cursor(l, r, i, l->end);
    if (!i)
        memcpy(l->start, l->end, sizeof l->start);
    if (emit)
        gql_object(c, TYPE_RunEdge, &(struct run_edge){r, l->end});
}

static int page_by_age(struct gql_call *c, struct run_list *l, struct accessor *a, bool emit)
{
    struct walk w;
    int64_t n = 0;
    int rc = walk_begin(&w, l, a, emit ? l->columns : 0, l->first + 1);
    while (rc >= 0 && !gql_failed(c) && (rc = walk_next(&w, l, a->e)) == 1 && n < l->first)
        put_edge(c, l, &w.run, n++, emit);
    l->has_next = rc == 1;
    walk_end(&w);
    return rc;
}

/* ---- other orders ---------------------------------------------------------------------- */

struct sortable {
    int64_t id, no; /* no: by age, to keep equals in order */
    struct filter_value *values;
};

static int compare(const void *x, const void *y, void *order)
{
    const struct sortable *a = x, *b = y;
    int d = order_compare(order, a->values, b->values);
    return d ? d : (a->no > b->no) - (a->no < b->no);
}

static struct str keep_text(struct arena *to, struct str s)
{
    char *p = s.p ? arena_strndup(to, s.p, s.n) : NULL;
    return p ? str_make(p, s.n) : (struct str){0};
}

static int take_values(const struct run_list *l, struct walk *w, struct arena *to, struct sortable *s, struct err *e)
{
    struct run_filter_row row = {&w->run, &w->scratch};
    s->id = w->run.id;
    s->values = arena_calloc(to, sizeof *s->values * (size_t)l->order.n);
    if (!s->values)
        return err_set(e, TARE_ENOMEM, "too many runs to sort");
    for (int i = 0; i < l->order.n; i++) {
        if (run_filter_get(&row, l->order.keys[i].name, &s->values[i]))
            return err_set(e, TARE_EINVAL, "runs cannot be ordered by \"%.*s\"", STR_ARG(l->order.keys[i].name));
        s->values[i].s = keep_text(to, s->values[i].s);
    }
    return 0;
}

/* Collect and sort; *n of them in *all. */
static int sort_all(struct run_list *l, struct accessor *a, struct arena *to, struct buf *all, size_t *n)
{
    struct walk w;
    int rc = walk_begin(&w, l, a, run_filter_columns(l->order_text), INT64_MAX);
    while (rc >= 0 && (rc = walk_next(&w, l, a->e)) == 1) {
        struct sortable s = {.no = (int64_t)*n};
        rc = take_values(l, &w, to, &s, a->e);
        if (!rc && buf_append(all, &s, sizeof s))
            rc = err_set(a->e, TARE_ENOMEM, "too many runs to sort");
        ++*n;
    }
    walk_end(&w);
    if (rc >= 0 && *n)
        qsort_r(all->data, *n, sizeof(struct sortable), compare, &l->order);
    return rc;
}

static int page_by_order(struct gql_call *c, struct run_list *l, struct accessor *a, bool emit)
{
    AUTO_BUF all = {0};
    struct arena values;
    size_t n = 0;
    arena_init(&values, 256 << 20);
    int rc = sort_all(l, a, &values, &all, &n);
    const struct sortable *sorted = (const void *)all.data;
    for (size_t i = 0; l->after_id && i < n; i++)
        if (sorted[i].id == l->after_id)
            l->offset = (int64_t)i + 1;
    int64_t end = l->offset + l->first < (int64_t)n ? l->offset + l->first : (int64_t)n;
    l->has_next = end < (int64_t)n;
    for (int64_t i = l->offset; i < end && rc >= 0 && !gql_failed(c); i++) {
        struct run_row r = {.id = sorted[i].id};
        if (emit)
            rc = access_run_row(a, sorted[i].id, l->columns, &r);
        r.project = l->scope.project;
        put_edge(c, l, &r, i - l->offset, emit);
    }
    arena_fini(&values);
    return rc;
}

/* Read the page; `emit` writes edges too. */
static void read_page(struct gql_call *c, struct run_list *l, bool emit)
{
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = l->by_age ? page_by_age(c, l, &a, emit) : page_by_order(c, l, &a, emit);
    l->done = true;
    if (rc < 0)
        fail_with(c, rc, &e);
}

/* ---- fields ---------------------------------------------------------------------------- */

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
    if (gql_failed(c))
        return;
    struct page_info p = {l->has_next, l->after || l->offset > 0, l->start[0] ? l->start : NULL,
                          l->end[0] ? l->end : NULL};
    gql_object(c, TYPE_PageInfo, &p);
}

static int count_all(struct accessor *a, const struct run_scope *s, int64_t *n)
{
    return db_get_int(a->db, a->e, n,
                      "SELECT count(*) FROM runs WHERE project_id = $1 AND deleted_at IS NULL AND"
                      " ($2 = 0 OR sweep_id = $2) AND ($3 = 0 OR agent_id = $3)",
                      DB_ARGS(db_i(s->project->id), db_i(s->sweep_id), db_i(s->agent_id)));
}

static int count_matching(struct accessor *a, const struct run_list *l, int64_t *n)
{
    struct walk w;
    int rc = walk_begin(&w, l, a, 0, INT64_MAX);
    while (rc >= 0 && (rc = walk_next(&w, l, a->e)) == 1)
        ++*n;
    walk_end(&w);
    return rc;
}

void answer_run_count(struct gql_call *c, const struct run_scope *scope, struct str filters)
{
    struct err e;
    struct accessor a;
    struct filter *f = NULL;
    struct run_list l = {.scope = *scope, .filters = filters, .by_age = true};
    int64_t n = 0;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = filter_compile(filters, a.arena, &f, &e);
    if (!rc)
        rc = filter_is_all(f) && !scope->sweep_id && !scope->agent_id
                 ? db_get_int(a.db, &e, &n, "SELECT count(*) FROM runs WHERE project_id = $1 AND deleted_at IS NULL",
                              DB_ARGS(db_i(scope->project->id)))
             : filter_is_all(f) ? count_all(&a, scope, &n)
                                : count_matching(&a, &l, &n);
    filter_fini(f);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_int(c, n);
}

void resolve_RunConnection_totalCount(struct gql_call *c, const void *obj)
{
    const struct run_list *l = obj;
    answer_run_count(c, &l->scope, l->filters);
}

void resolve_Project_runCount(struct gql_call *c, const void *obj)
{
    answer_run_count(c, &(struct run_scope){.project = obj}, gql_arg_str(c, "filters"));
}

FIELD_(RunEdge, node, gql_object(c, TYPE_Run, ROW_(run_edge)->run))
FIELD_(RunEdge, cursor, gql_strz(c, ROW_(run_edge)->cursor))
