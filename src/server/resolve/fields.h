/* SPDX-License-Identifier: MIT */
/* What every file of resolve/ includes: short ways to say "this field is that member", the shared
 * connection types, and how to reach the request.
 *
 * A resolver that only hands out a member of the row is one line:
 *     FIELD_STR(Run, displayName, run_row, display_name)
 * Lists whose nodes are in memory use struct connection with the schema's @as(name: "connection") and
 * @as(name: "edge"); lists that are read row by row while they are written have their own (run_list.c). */
#ifndef TARE_SERVER_RESOLVE_FIELDS_H
#define TARE_SERVER_RESOLVE_FIELDS_H

#include "schema_tables.h"
#include "server/graphql/resolver.h"
#include "server/ids.h"
#include "server/request.h"
#include "server/resolve/access.h"
#include "server/resolve/rows.h"

#define FIELD_(type, field, emit)                                          \
    void resolve_##type##_##field(struct gql_call *c, const void *obj)     \
    {                                                                      \
        emit;                                                              \
    }
#define ROW_(row) ((const struct row *)obj)
#define FIELD_STR(type, field, row, member) FIELD_(type, field, gql_str(c, ROW_(row)->member))
#define FIELD_INT(type, field, row, member) FIELD_(type, field, gql_int(c, (int64_t)ROW_(row)->member))
#define FIELD_BOOL(type, field, row, member) FIELD_(type, field, gql_bool(c, ROW_(row)->member))
#define FIELD_TIME(type, field, row, member) FIELD_(type, field, gql_time(c, ROW_(row)->member))
#define FIELD_ID(type, field, row, kind, member) FIELD_(type, field, gql_id(c, kind, ROW_(row)->member))
#define FIELD_NULL(type, field) FIELD_(type, field, (void)obj; gql_null(c))
#define FIELD_CONST_BOOL(type, field, v) FIELD_(type, field, (void)obj; gql_bool(c, v))
#define FIELD_CONST_STR(type, field, v) FIELD_(type, field, (void)obj; gql_strz(c, v))
#define FIELD_CONST_INT(type, field, v) FIELD_(type, field, (void)obj; gql_int(c, v))

/* A page of nodes that are in memory. */
struct connection {
    int edge_type, node_type; /* TYPE_… */
    const void *nodes;        /* the first; the next is `stride` bytes on */
    size_t n, stride;
    int64_t offset;           /* of the first node in the whole list: cursors are offsets */
    bool has_next;
    int64_t total;            /* -1: not known (null) */
};

struct edge {
    const struct connection *in;
    const void *node;
    int64_t offset;
};

struct page_info {
    bool has_next, has_previous;
    const char *start, *end; /* cursors; NULL: null */
};

/* For payloads that only say that it worked. */
struct success {
    bool ok;
};

/* `after` (a cursor of struct connection) as the offset where the page begins: 0 to PAGE_OFFSET_MAX, to which a page
 * may be added. */
#define PAGE_OFFSET_MAX (INT64_C(1) << 62)
int64_t page_offset(struct gql_call *c, const char *arg);
/* `first`, between 1 and `most`. */
int64_t page_size(struct gql_call *c, const char *arg, int64_t fallback, int64_t most);

/* The request, and its accessor on its snapshot. False: the field failed (and says so). */
struct request *request_of(struct gql_call *c);
bool accessor_of(struct gql_call *c, struct err *e, struct accessor *out);

/* The field fails with e's text and the status that fits `rc`. */
void fail_with(struct gql_call *c, int rc, const struct err *e);

/* For queries: what is not found is null, anything else fails. */
void null_or_fail(struct gql_call *c, int rc, const struct err *e);

/* The object if `rc` is 0; null or a failure as above if not. */
void answer_found(struct gql_call *c, int rc, const struct err *e, int type, const void *obj);

/* A mutation's job, with `arg`. False: the field has failed, and says so. */
bool write_job(struct gql_call *c, db_job_fn job, void *arg);

/* A list's rows: read by a query, shown as a connection. `take` makes a row of what the query gives, for the
 * object `of` whose list it is; TARE_ENOTFOUND from it leaves the row out: the asker may not see it. */
struct list_shape {
    int connection_type, edge_type, node_type;
    size_t stride; /* of a row, in bytes */
    int (*take)(const struct accessor *a, struct db_rows *rows, const void *of, void *to);
};

/* Append all rows to `all`. 0, or the first failure. */
int collect_rows(const struct accessor *a, struct buf *all, const struct list_shape *shape, const void *of,
                 const char *sql, const struct db_value *args, int n);

/* The same for a field, with an accessor of its request in *a (which keeps `e`). False: the field has failed. */
bool collect_for_field(struct gql_call *c, struct accessor *a, struct err *e, struct buf *all,
                       const struct list_shape *shape, const void *of, const char *sql, const struct db_value *args, int n);

/* Answer the field with the page of the rows that its arguments `first` and `after` ask for. */
void answer_list(struct gql_call *c, const struct list_shape *shape, const void *of, const char *sql,
                 const struct db_value *args, int n);

/* Answer the field with all of them, as a list without pages. */
void answer_whole_list(struct gql_call *c, const struct list_shape *shape, const void *of, const char *sql,
                       const struct db_value *args, int n);

/* Answer the field with a page for which one row more than `most` was asked for, or with the failure `rc` of that.
 * `page` has the rows in `nodes` and how many came in `n`. */
void answer_read_page(struct gql_call *c, int connection_type, struct connection *page, int64_t most, int rc,
                      const struct err *e);

/* Emit a page (arguments first, after) of rows in memory as a connection of these types. */
void answer_page(struct gql_call *c, int connection_type, int edge_type, int node_type, const void *rows,
                 size_t n, size_t stride);

/* The same of rows that were collected before, from a list of this shape. */
void answer_rows(struct gql_call *c, const struct list_shape *shape, const void *rows, size_t n);

/* A borrowed string as a NUL-terminated one in the request's arena; NULL for {NULL, 0}. */
const char *zstr(struct gql_call *c, struct str s);

/* What several files need to answer. */
void answer_user_id(struct gql_call *c, int64_t user_id);  /* a User, or null */
void answer_project(struct gql_call *c, struct str entity, struct str name);
int load_user(const struct accessor *a, int64_t id, struct user_row *out);

/* In a job: make a project in an entity (null: the default). TARE_EPERM, TARE_ENOTFOUND. */
int project_make(const struct accessor *a, struct str entity, struct str name, int64_t *id);

/* May a project or a run have this name? It becomes a part of URLs (clients take "." and ".." out of those) and of file
 * names. */
bool project_name_ok(struct str name);

#endif
