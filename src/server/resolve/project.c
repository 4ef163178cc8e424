/* SPDX-License-Identifier: MIT */
/* Projects ("models" in older words): reading, listing, making, deleting. */
#include "server/resolve/fields.h"

#include <stdio.h>

void answer_project(struct gql_call *c, struct str entity, struct str name)
{
    struct err e;
    struct accessor a;
    struct project_row p;
    if (!name.n || !accessor_of(c, &e, &a))
        return;
    int rc = access_project(&a, entity, name, ACCESS_READ, &p);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_Project, &p);
}

void resolve_Query_project(struct gql_call *c, const void *obj)
{
    answer_project(c, gql_arg_str(c, "entityName"), gql_arg_str(c, "name"));
}

void resolve_Query_model(struct gql_call *c, const void *obj)
{
    answer_project(c, gql_arg_str(c, "entityName"), gql_arg_str(c, "name"));
}

void resolve_Entity_project(struct gql_call *c, const void *obj)
{
    answer_project(c, ((const struct entity_row *)obj)->name, gql_arg_str(c, "name"));
}

/* Newest first; those that the asker may not read are passed over. */
static void answer_projects(struct gql_call *c, struct str entity)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct err e;
    struct accessor a;
    struct entity_row en;
    struct connection page = {TYPE_ProjectEdge, TYPE_Project, .stride = sizeof(struct project_row), .total = -1};
    int64_t n = page_size(c, "first", 50, 1000), seen = 0;
    struct project_row *all = arena_calloc(gql_arena(c), sizeof *all * (size_t)(n + 1));
    if (!accessor_of(c, &e, &a) || !all)
        return;
    int rc = access_entity(&a, entity, ACCESS_READ, &en);
    if (rc) {
        null_or_fail(c, rc, &e);
        return;
    }
    page.offset = page_offset(c, "after");
    rc = db_query(a.db, &e, &rows,
                  "SELECT id FROM projects WHERE entity_id = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id DESC",
                  DB_ARGS(db_i(en.id)));
    while (rc >= 0 && page.n <= (size_t)n && (rc = db_next(rows, &e)) == 1) {
        rc = access_project_id(&a, db_int(rows, 0), ACCESS_READ, &all[page.n]);
        if (!rc && seen++ >= page.offset)
            page.n++;
        rc = rc == TARE_ENOTFOUND ? 0 : rc;
    }
    page.nodes = all;
    answer_read_page(c, TYPE_ProjectConnection, &page, n, rc, &e);
}

void resolve_Query_projects(struct gql_call *c, const void *obj)
{
    answer_projects(c, gql_arg_str(c, "entityName"));
}

void resolve_Query_models(struct gql_call *c, const void *obj)
{
    answer_projects(c, gql_arg_str(c, "entityName"));
}

FIELD_ID(Project, id, project_row, "Project", id)
FIELD_ID(Project, internalId, project_row, "ProjectInternalId", id)
FIELD_STR(Project, name, project_row, name)
FIELD_STR(Project, entityName, project_row, entity.name)
FIELD_(Project, entity, gql_object(c, TYPE_Entity, &ROW_(project_row)->entity))
FIELD_STR(Project, description, project_row, description)
FIELD_STR(Project, views, project_row, views)
FIELD_TIME(Project, createdAt, project_row, created_us)
FIELD_TIME(Project, updatedAt, project_row, updated_us)
FIELD_(Project, readOnly, gql_bool(c, !ROW_(project_row)->can_write))
FIELD_BOOL(Project, isBenchmark, project_row, is_benchmark)
FIELD_(Project, user, answer_user_id(c, ROW_(project_row)->user_id))
FIELD_BOOL(Project, allowAllArtifactTypesInRegistry, project_row, all_types)

/* Clients' words for our access. */
static const char *const access_words[][2] = {
    {"private", "PRIVATE"}, {"restricted", "RESTRICTED"}, {"read", "ENTITY_READ"}, {"open", "USER_WRITE"},
    {"private", "ENTITY_WRITE"}, {"read", "USER_READ"},
};

void resolve_Project_access(struct gql_call *c, const void *obj)
{
    const struct project_row *p = obj;
    for (size_t i = 0; i < 4; i++)
        if (str_eqz(p->access, access_words[i][0]))
            gql_strz(c, access_words[i][1]);
}

/* ---- changes --------------------------------------------------------------------------- */

struct upsert {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    const char *access;
    struct project_row project;
    bool inserted;
};

bool project_name_ok(struct str s)
{
    return s.n && s.n <= 128 && !memchr(s.p, '/', s.n) && !memchr(s.p, '\\', s.n) && !memchr(s.p, 0, s.n) &&
           !str_eqz(s, ".") && !str_eqz(s, "..");
}

static int find_or_make(struct upsert *u, const struct accessor *a)
{
    struct str name = gql_in_str(u->in, "name"), entity = gql_in_str(u->in, "entityName");
    int64_t id = 0;
    if (gql_in_id(u->in, "id", "Project", &id))
        return access_project_id(a, id, ACCESS_WRITE, &u->project);
    if (!project_name_ok(name))
        return err_set(a->e, TARE_EINVAL, "invalid project name");
    int rc = access_project(a, entity, name, ACCESS_WRITE, &u->project);
    if (rc != TARE_ENOTFOUND)
        return rc;
    rc = project_make(a, entity, name, &id);
    u->inserted = rc >= 0;
    return rc < 0 ? rc : access_project_id(a, id, ACCESS_WRITE, &u->project);
}

/* The types that a registry takes; those that are there stay. */
static int add_types(const struct accessor *a, const struct upsert *u)
{
    const struct gql_value *types = gql_in(u->in, "artifactTypes");
    int rc = 0;
    for (const struct gql_value *v = types ? types->first : NULL; v && rc >= 0; v = v->next) {
        struct str name = gql_in_str(v, "name");
        if (!name.n || name.n > 128)
            return err_set(a->e, TARE_EINVAL, "an artifact type's name has 1 to 128 characters");
        rc = db_exec(a->db, a->e,
                     "INSERT INTO artifact_types (project_id, name, created_at) VALUES ($1, $2, $3)"
                     " ON CONFLICT (project_id, name) DO NOTHING",
                     DB_ARGS(db_i(u->project.id), db_s(name), db_i(now_us())));
    }
    return rc;
}

static int upsert_job(struct db_conn *db, void *arg, struct err *e)
{
    struct upsert *u = arg;
    const struct accessor a = {db, u->user, u->arena, e};
    u->inserted = false;
    int rc = find_or_make(u, &a);
    if (rc == 0)
        rc = add_types(&a, u);
    if (rc < 0)
        return rc;
    struct str description = gql_in_str(u->in, "description"), views = gql_in_str(u->in, "views");
    const struct gql_value *all_types = gql_in(u->in, "allowAllArtifactTypesInRegistry");
    bool has_types = all_types && all_types->kind == GQL_BOOL;
    return db_exec(db, e,
                   "UPDATE projects SET description = COALESCE($2, description), views = COALESCE($3, views),"
                   " access = COALESCE($4, access), all_types = COALESCE($5, all_types), updated_at = $6 WHERE id = $1",
                   DB_ARGS(db_i(u->project.id), db_s(description), db_s(views), db_t(u->access),
                           db_i_if(has_types, has_types && all_types->b), db_i(now_us())));
}

/* The project after the job, with what became of it. */
static void change_project(struct gql_call *c, struct upsert *u, db_job_fn job)
{
    struct err e;
    struct accessor a;
    if (!write_job(c, job, u) || !accessor_of(c, &e, &a))
        return;
    int rc = access_project_id(&a, u->project.id, ACCESS_READ, &u->project);
    if (rc)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_UpsertModelPayload, u);
}

void resolve_Mutation_upsertModel(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct upsert u = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    struct str access = gql_in_str(u.in, "access");
    for (size_t i = 0; access.p && i < sizeof access_words / sizeof *access_words; i++)
        if (str_eqz(access, access_words[i][1]))
            u.access = access_words[i][0];
    if (access.n && !u.access) {
        gql_fail(c, 400, "unknown access: %.*s", STR_ARG(access));
        return;
    }
    change_project(c, &u, upsert_job);
}

static int rename_job(struct db_conn *db, void *arg, struct err *e)
{
    struct upsert *u = arg;
    const struct accessor a = {db, u->user, u->arena, e};
    struct str name = gql_in_str(u->in, "newProjectName");
    if (!project_name_ok(name))
        return err_set(e, TARE_EINVAL, "invalid project name");
    int rc = access_project(&a, gql_in_str(u->in, "entityName"), gql_in_str(u->in, "oldProjectName"), ACCESS_ADMIN,
                            &u->project);
    if (rc)
        return rc;
    rc = db_exec(db, e, "UPDATE projects SET name = $2, updated_at = $3 WHERE id = $1",
                 DB_ARGS(db_i(u->project.id), db_s(name), db_i(now_us())));
    return rc == TARE_EEXIST ? err_set(e, rc, "there is already a project called '%.*s'", STR_ARG(name)) : rc;
}

void resolve_Mutation_renameProject(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct upsert u = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    change_project(c, &u, rename_job);
}

FIELD_(UpsertModelPayload, model, gql_object(c, TYPE_Project, &ROW_(upsert)->project))
FIELD_(UpsertModelPayload, project, gql_object(c, TYPE_Project, &ROW_(upsert)->project))
FIELD_BOOL(UpsertModelPayload, inserted, upsert, inserted)
FIELD_NULL(UpsertModelPayload, clientMutationId)

int project_make(const struct accessor *a, struct str entity, struct str name, int64_t *id)
{
    struct entity_row en;
    int rc = access_entity(a, entity, ACCESS_WRITE, &en);
    if (rc)
        return rc;
    rc = db_get_int(a->db, a->e, id, "SELECT id FROM projects WHERE entity_id = $1 AND name = $2 AND deleted_at IS NULL",
                    DB_ARGS(db_i(en.id), db_s(name)));
    if (rc) /* it is there, but the asker may not see it */
        return rc < 0 ? rc : err_set(a->e, TARE_EPERM, "permission denied");
    rc = db_get_int(a->db, a->e, id,
                    "INSERT INTO projects (entity_id, name, user_id, created_at, updated_at)"
                    " VALUES ($1, $2, $3, $4, $4) RETURNING id",
                    DB_ARGS(db_i(en.id), db_s(name), db_i(a->user->id), db_i(now_us())));
    if (rc < 0 || !str_starts(name, STR("wandb-registry-")))
        return rc;
    return db_exec(a->db, a->e, /* who makes a registry is its first admin */
                   "INSERT INTO project_members (project_id, user_id, role, created_at) VALUES ($1, $2, 'admin', $3)",
                   DB_ARGS(db_i(*id), db_i(a->user->id), db_i(now_us())));
}

/* The row stays, under a name that nobody can type, until its runs are cleared away. */
static int delete_job(struct db_conn *db, void *arg, struct err *e)
{
    struct upsert *u = arg;
    const struct accessor a = {db, u->user, u->arena, e};
    struct str name = gql_in_str(u->in, "name");
    int64_t id = 0;
    int rc;
    if (gql_in_id(u->in, "id", "Project", &id))
        rc = access_project_id(&a, id, ACCESS_ADMIN, &u->project);
    else
        rc = access_project(&a, gql_in_str(u->in, "entityName"), name, ACCESS_ADMIN, &u->project);
    if (rc)
        return rc;
    rc = db_exec(db, e,
                 "UPDATE runs SET deleted_at = $2, name = name || '/' || id WHERE project_id = $1 AND deleted_at IS NULL",
                 DB_ARGS(db_i(u->project.id), db_i(now_us())));
    if (rc < 0)
        return rc;
    return db_exec(db, e, "UPDATE projects SET deleted_at = $2, name = name || '/' || id WHERE id = $1",
                   DB_ARGS(db_i(u->project.id), db_i(now_us())));
}

void resolve_Mutation_deleteModel(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct upsert u = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, delete_job, &u, &e);
    if (rc >= 0)
        q->server->empty_soon = true;
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}
