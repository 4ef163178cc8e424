/* SPDX-License-Identifier: MIT */
#include "server/resolve/access.h"
#include "server/resolve/run_rows.h"

#include <errno.h>
#include <stdio.h>

struct str access_keep(const struct accessor *a, struct str s)
{
    if (!s.p)
        return s;
    char *copy = arena_strndup(a->arena, s.p, s.n);
    return copy ? str_make(copy, s.n) : (struct str){0};
}

static enum role role_of(struct str s)
{
    return !s.p                       ? ROLE_NONE
           : str_eqz(s, "admin")      ? ROLE_ADMIN
           : str_eqz(s, "owner")      ? ROLE_ADMIN
           : str_ends(s, STR("viewer")) ? ROLE_VIEWER
                                      : ROLE_MEMBER;
}

static enum role higher(enum role x, enum role y)
{
    return x > y ? x : y;
}

int access_route_run(const struct accessor *a, const struct http_request *r, enum access need, struct run_row *out)
{
    struct project_row *p = arena_calloc(a->arena, sizeof *p);
    int rc = p ? access_project(a, r->params[0], r->params[1], need, p) : TARE_ENOMEM;
    return rc ? rc : access_run(a, p, r->params[2], 0, out);
}

int access_status(int rc)
{
    switch (rc) {
    case TARE_ENOTFOUND:
        return 404;
    case TARE_EPERM:
        return 403;
    case TARE_EINVAL:
    case TARE_EFORMAT:
    case TARE_EUNSUPPORTED:
        return 400;
    case TARE_EEXIST:
    case TARE_ECONFLICT:
        return 400; /* 409 would be retried */
    case TARE_ELIMIT:
        return 422;
    case -EDQUOT:
        return 413;
    case TARE_ENOSPACE:
        return 507;
    case TARE_EFULL:
    case TARE_ECANCELLED:
        return 503;
    default:
        return 500;
    }
}

/* Columns of an entity, then those that give the asker's role in it; $1 is the asker. */
#define ENTITY_COLUMNS                                                                                  \
    "e.id, e.name, e.kind, e.photo_url, e.user_id, e.organization_id, tm.role, om.role"
#define ENTITY_JOINS                                                                                    \
    " LEFT JOIN team_members tm ON tm.entity_id = e.id AND tm.user_id = $1"                              \
    " LEFT JOIN organization_members om ON om.organization_id = e.organization_id AND om.user_id = $1"   \
    " AND e.kind = 'org'"
enum { N_ENTITY_COLUMNS = 8 };

static void take_entity(const struct accessor *a, struct db_rows *rows, int col, struct entity_row *out)
{
    out->id = db_int(rows, col);
    out->name = access_keep(a, db_str(rows, col + 1));
    out->kind = access_keep(a, db_str(rows, col + 2));
    out->photo_url = access_keep(a, db_str(rows, col + 3));
    out->user_id = db_int(rows, col + 4);
    out->organization_id = db_int(rows, col + 5);
    out->role = higher(role_of(db_str(rows, col + 6)), role_of(db_str(rows, col + 7)));
    if (a->user->admin || (out->user_id && out->user_id == a->user->id))
        out->role = ROLE_ADMIN;
}

static int judge_entity(const struct accessor *a, const struct entity_row *en, enum access need)
{
    static const enum role wanted[] = {[ACCESS_READ] = ROLE_NONE, [ACCESS_WRITE] = ROLE_MEMBER,
                                       [ACCESS_ADMIN] = ROLE_ADMIN};
    if (en->role >= wanted[need])
        return 0;
    return err_set(a->e, TARE_EPERM, "permission denied: you may not change entity %.*s", STR_ARG(en->name));
}

int access_entity(const struct accessor *a, struct str name, enum access need, struct entity_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct entity_row en = {0};
    int rc = db_first(a->db, a->e, &rows,
                      "SELECT " ENTITY_COLUMNS " FROM entities e" ENTITY_JOINS
                      " WHERE e.deleted_at IS NULL AND (e.name = $2 OR (CAST($2 AS TEXT) IS NULL AND e.id ="
                      " (SELECT entity_id FROM users WHERE id = $1)))",
                      DB_ARGS(db_i(a->user->id), db_s(name)));
    if (rc < 0)
        return rc;
    if (!rc)
        return err_set(a->e, TARE_ENOTFOUND, "entity %.*s not found", STR_ARG(name));
    take_entity(a, rows, 0, &en);
    rc = judge_entity(a, &en, need);
    if (!rc)
        *out = en;
    return rc;
}

/* What the asker is in the project, all ways together. */
static enum role project_role(const struct project_row *p, enum role named)
{
    enum role r = p->entity.role;
    if (str_eqz(p->access, "restricted") && r < ROLE_ADMIN)
        r = ROLE_NONE;
    r = higher(r, named);
    if (str_eqz(p->access, "read"))
        r = higher(r, ROLE_VIEWER);
    if (str_eqz(p->access, "open"))
        r = higher(r, ROLE_MEMBER);
    return r;
}

/* min(): "admin" < "member" < "viewer". */
#define PROJECT_COLUMNS                                                                                 \
    ", p.id, p.name, p.access, p.kind, p.description, p.views, p.is_benchmark, p.all_types, p.user_id,"  \
    " p.created_at, p.updated_at, pm.role,"                                                              \
    " (SELECT min(pt.role) FROM project_teams pt JOIN team_members tm2 ON tm2.entity_id = pt.entity_id"  \
    "  AND tm2.user_id = $1 WHERE pt.project_id = p.id)"
#define PROJECT_FROM                                                                                    \
    " FROM projects p JOIN entities e ON e.id = p.entity_id" ENTITY_JOINS                                \
    " LEFT JOIN project_members pm ON pm.project_id = p.id AND pm.user_id = $1"                          \
    " WHERE p.deleted_at IS NULL AND e.deleted_at IS NULL"

static enum role take_project(const struct accessor *a, struct db_rows *rows, struct project_row *out)
{
    int c = N_ENTITY_COLUMNS;
    take_entity(a, rows, 0, &out->entity);
    out->id = db_int(rows, c);
    out->name = access_keep(a, db_str(rows, c + 1));
    out->access = access_keep(a, db_str(rows, c + 2));
    out->kind = access_keep(a, db_str(rows, c + 3));
    out->description = access_keep(a, db_str(rows, c + 4));
    out->views = access_keep(a, db_str(rows, c + 5));
    out->is_benchmark = db_int(rows, c + 6) != 0;
    out->all_types = db_int(rows, c + 7) != 0;
    out->user_id = db_int(rows, c + 8);
    out->created_us = db_int(rows, c + 9);
    out->updated_us = db_int(rows, c + 10);
    enum role r = project_role(out, higher(role_of(db_str(rows, c + 11)), role_of(db_str(rows, c + 12))));
    out->can_write = r >= ROLE_MEMBER;
    return r;
}

static int judge_project(const struct accessor *a, struct db_rows *rows, enum access need,
                         struct project_row *out)
{
    static const enum role wanted[] = {[ACCESS_READ] = ROLE_VIEWER, [ACCESS_WRITE] = ROLE_MEMBER,
                                       [ACCESS_ADMIN] = ROLE_ADMIN};
    struct project_row p = {0};
    enum role r = take_project(a, rows, &p);
    if (r < ROLE_VIEWER)
        return err_set(a->e, TARE_ENOTFOUND, "project not found");
    if (r < wanted[need])
        return err_set(a->e, TARE_EPERM, "permission denied: you may not change project %.*s/%.*s",
                       STR_ARG(p.entity.name), STR_ARG(p.name));
    *out = p;
    return 0;
}

int access_project(const struct accessor *a, struct str entity, struct str name, enum access need,
                   struct project_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows,
                      "SELECT " ENTITY_COLUMNS PROJECT_COLUMNS PROJECT_FROM
                      " AND p.name = $3 AND p.entity_id = (SELECT x.id FROM entities x WHERE x.name = $2 OR"
                      " (CAST($2 AS TEXT) IS NULL AND x.id = (SELECT entity_id FROM users WHERE id = $1)))",
                      DB_ARGS(db_i(a->user->id), db_s(entity), db_s(name)));
    if (rc == 1)
        return judge_project(a, rows, need, out);
    return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "project not found");
}

int access_project_id(const struct accessor *a, int64_t id, enum access need, struct project_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows,
                      "SELECT " ENTITY_COLUMNS PROJECT_COLUMNS PROJECT_FROM " AND p.id = $2",
                      DB_ARGS(db_i(a->user->id), db_i(id)));
    if (rc == 1)
        return judge_project(a, rows, need, out);
    return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "project not found");
}

static void keep_run(const struct accessor *a, struct run_row *r)
{
    struct str *const all[] = {&r->name, &r->display_name, &r->state, &r->group, &r->job_type,
                               &r->sweep_name, &r->description, &r->notes, &r->tags, &r->commit,
                               &r->host, &r->program, &r->repo, &r->username, &r->user_name,
                               &r->config, &r->summary};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i] = access_keep(a, *all[i]);
}

static int one_run(const struct accessor *a, const char *where, unsigned columns,
                   const struct db_value *args, int n, struct run_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    char sql[RUN_ROWS_SQL];
    run_rows_sql(sql, columns, where);
    int rc = db_first(a->db, a->e, &rows, sql, args, n);
    if (rc <= 0)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "run not found");
    run_rows_take(rows, columns, out);
    keep_run(a, out);
    return 0;
}

int access_run(const struct accessor *a, const struct project_row *p, struct str name, unsigned columns,
               struct run_row *out)
{
    struct run_row r = {0};
    int rc = one_run(a, "r.project_id = $1 AND r.name = $2 AND r.deleted_at IS NULL", columns,
                     DB_ARGS(db_i(p->id), db_s(name)), &r);
    if (rc)
        return rc;
    r.project = p;
    *out = r;
    return 0;
}

int access_run_row(const struct accessor *a, int64_t id, unsigned columns, struct run_row *out)
{
    return one_run(a, "r.id = $1", columns, DB_ARGS(db_i(id)), out);
}

int access_run_id(const struct accessor *a, int64_t id, enum access need, unsigned columns,
                  struct run_row *out)
{
    struct run_row r = {0};
    struct project_row *p = arena_calloc(a->arena, sizeof *p);
    if (!p)
        return err_set(a->e, TARE_ENOMEM, "out of memory");
    int rc = one_run(a, "r.id = $1 AND r.deleted_at IS NULL", columns, DB_ARGS(db_i(id)), &r);
    if (!rc)
        rc = access_project_id(a, r.project_id, need, p);
    if (rc)
        return rc == TARE_ENOTFOUND ? err_set(a->e, rc, "run not found") : rc;
    r.project = p;
    *out = r;
    return 0;
}
