/* SPDX-License-Identifier: MIT */
/* What a resolver may do: read its arguments, look ahead, emit its value, or fail.
 *
 * A resolver answers one field of one object. It is called with the parent's object and must
 * emit exactly one value; emitting none means null. Values are written straight into the
 * response, so a resolver that lists 10,000 rows builds nothing in between:
 *
 *     void resolve_Project_runs(struct gql_call *c, const void *obj)
 *     {
 *         const struct project_row *p = obj;
 *         bool config = gql_wants(c, "edges.node.config");     // load only what is asked for
 *         struct run_list list;
 *         if (load_runs(gql_app(c), p->id, gql_arg_int(c, "first", 50), config, &list) < 0) {
 *             gql_fail(c, 500, "the runs could not be read");
 *             return;
 *         }
 *         gql_object(c, TYPE_RunConnection, &list);
 *     }
 *
 *     void resolve_Run_tags(struct gql_call *c, const void *obj)
 *     {
 *         const struct run_row *r = obj;
 *         gql_list_begin(c);
 *         for (size_t i = 0; i < r->n_tags; i++)
 *             gql_strz(c, r->tags[i]);
 *         gql_list_end(c);
 *     }
 *
 * Objects handed to gql_object need to live only until it returns; memory from gql_arena lives
 * until the response is done. A null for a field that the schema says is not null becomes an
 * error and the parent's null, up to the nearest field that may be null.
 * Everything here is called from the thread that executes the request. */
#ifndef TARE_SERVER_GRAPHQL_RESOLVER_H
#define TARE_SERVER_GRAPHQL_RESOLVER_H

#include "base/arena.h"
#include "base/buf.h"
#include "server/graphql/schema.h"

/* What gql_execute was given for the request: the server's own `struct request`. */
void *gql_app(struct gql_call *c);

/* Memory until the end of the request. */
struct arena *gql_arena(struct gql_call *c);

/* True for a field of the root Mutation below which this resolver runs. */
bool gql_in_mutation(struct gql_call *c);

/* ---- arguments ------------------------------------------------------------------------
 * Coerced to the schema's type, defaults filled in. `name` must be in the schema (asserted). */

/* NULL when it was not given or is null. */
const struct gql_value *gql_arg(struct gql_call *c, const char *name);
/* Text of a string, ID or enum; {NULL, 0} when not given or null. */
struct str gql_arg_str(struct gql_call *c, const char *name);
int64_t gql_arg_int(struct gql_call *c, const char *name, int64_t fallback);
bool gql_arg_bool(struct gql_call *c, const char *name, bool fallback);

/* Members of an input object, with the same rules; `object` may be NULL. An absent name is not
 * an error here. gql_in tells null from absent: it gives a GQL_NULL value for null. */
const struct gql_value *gql_in(const struct gql_value *object, const char *name);
struct str gql_in_str(const struct gql_value *object, const char *name);
int64_t gql_in_int(const struct gql_value *object, const char *name, int64_t fallback);
bool gql_in_bool(const struct gql_value *object, const char *name, bool fallback);
double gql_in_float(const struct gql_value *object, const char *name, double fallback);

/* Append `v` as JSON text. */
void gql_value_json(const struct gql_value *v, struct buf *to);

/* ---- look-ahead -----------------------------------------------------------------------
 * Does the request select `path` (field names of the schema, dots between) below this field,
 * on any type that it may turn out to be? */
bool gql_wants(struct gql_call *c, const char *path);

/* ---- emitting ------------------------------------------------------------------------- */

void gql_null(struct gql_call *c);
void gql_bool(struct gql_call *c, bool v);
void gql_int(struct gql_call *c, int64_t v);
void gql_float(struct gql_call *c, double v); /* NaN and infinities become strings "NaN" … */
void gql_str(struct gql_call *c, struct str v); /* p == NULL: null */
void gql_strz(struct gql_call *c, const char *v);
void gql_time(struct gql_call *c, int64_t unix_us); /* "2026-11-23T10:59:22.123"; 0: null */
void gql_json(struct gql_call *c, struct str v); /* strict JSON, as it is; n == 0: null */

/* An object of concrete type `type` (TYPE_… of the generated header), whose fields are then
 * answered by that type's resolvers. obj == NULL: null. */
void gql_object(struct gql_call *c, int type, const void *obj);

/* Between these two, every emitting call adds an item. */
void gql_list_begin(struct gql_call *c);
void gql_list_end(struct gql_call *c);

/* For long values that are written piece by piece: the response itself. What is appended between
 * the two calls must be one JSON value. */
struct buf *gql_raw_begin(struct gql_call *c);
void gql_raw_end(struct gql_call *c);

/* The field fails: its value is null, and `errors` gets the text with the field's path. If no
 * root field has a value in the end, the response has HTTP status `status` (200: leave it). */
void gql_fail(struct gql_call *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* True after gql_fail, or when the request is over a limit: long loops should end early. */
bool gql_failed(struct gql_call *c);

#endif
