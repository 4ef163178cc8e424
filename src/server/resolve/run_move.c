/* SPDX-License-Identifier: MIT */
/* moveRuns: ended runs go to another project with their history, files and alerts, which hang on the run. What
 * belongs to the project stays: artifacts keep their collection (and say who logged them), and a sweep or its agent
 * forget the run. */
#include "base/buf.h"
#include "server/filter/filter.h"
#include "server/resolve/fields.h"
#include "server/resolve/run_filter.h"
#include "server/resolve/run_rows.h"

struct move {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    int64_t moved;
};

/* The ids of the project's runs that the filter takes. */
static int find_runs(const struct accessor *a, const struct project_row *p, struct str filters, struct buf *ids)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct filter *f = NULL;
    struct arena scratch;
    char sql[RUN_ROWS_SQL];
    unsigned columns = run_filter_columns(filters);
    int rc = filter_compile(filters, a->arena, &f, a->e);
    if (rc)
        return rc;
    arena_init(&scratch, 64 << 20);
    run_rows_sql(sql, columns, "r.project_id = $1 AND r.deleted_at IS NULL ORDER BY r.id");
    rc = db_query(a->db, a->e, &rows, sql, DB_ARGS(db_i(p->id)));
    while (rc >= 0 && (rc = db_next(rows, a->e)) == 1) {
        struct run_row run = {.project = p};
        arena_reset(&scratch);
        run_rows_take(rows, columns, &run);
        rc = filter_match(f, run_filter_get, &(struct run_filter_row){&run, &scratch}, a->e);
        if (rc == 1)
            rc = buf_append(ids, &run.id, sizeof run.id);
    }
    filter_fini(f);
    arena_fini(&scratch);
    return rc < 0 ? rc : 0;
}

static int move_one(const struct accessor *a, int64_t id, const struct project_row *to)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows,
                      "SELECT r.name, r.state, (SELECT COUNT(*) FROM runs o WHERE o.project_id = $2 AND o.name = r.name) "
                      "FROM runs r WHERE r.id = $1",
                      DB_ARGS(db_i(id), db_i(to->id)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "run not found");
    const char *state = db_text(rows, 1);
    if (strcmp(state, "running") == 0 || strcmp(state, "preempting") == 0)
        return err_set(a->e, TARE_ECONFLICT, "run %s is still running: runs are moved when they have ended", db_text(rows, 0));
    if (db_int(rows, 2))
        return err_set(a->e, TARE_ECONFLICT, "project %.*s has a run %s already", STR_ARG(to->name), db_text(rows, 0));
    return db_exec(a->db, a->e,
                   "UPDATE runs SET project_id = $2, sweep_id = NULL, agent_id = NULL, updated_at = $3 WHERE id = $1",
                   DB_ARGS(db_i(id), db_i(to->id), db_i(now_us())));
}

/* All of them or none. */
static int move_job(struct db_conn *db, void *arg, struct err *e)
{
    struct move *m = arg;
    const struct accessor a = {db, m->user, m->arena, e};
    struct project_row from, to;
    AUTO_BUF ids = {0};
    m->moved = 0;
    int rc = access_project(&a, gql_in_str(m->in, "sourceEntityName"), gql_in_str(m->in, "sourceProjectName"), ACCESS_WRITE, &from);
    if (!rc)
        rc = access_project(&a, gql_in_str(m->in, "destinationEntityName"), gql_in_str(m->in, "destinationProjectName"),
                            ACCESS_WRITE, &to);
    if (rc || from.id == to.id)
        return rc;
    rc = find_runs(&a, &from, gql_in_str(m->in, "filters"), &ids);
    for (size_t at = 0; rc >= 0 && at < ids.len; at += sizeof(int64_t), m->moved++) {
        int64_t id;
        memcpy(&id, ids.data + at, sizeof id);
        rc = move_one(&a, id, &to);
    }
    return rc < 0 ? rc : 0;
}

void resolve_Mutation_moveRuns(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct move m = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, move_job, &m, &e);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_MoveRunsPayload, &m);
}

FIELD_(MoveRunsPayload, success, gql_bool(c, true))
FIELD_(MoveRunsPayload, count, gql_int(c, ROW_(move)->moved))
FIELD_NULL(MoveRunsPayload, clientMutationId)
